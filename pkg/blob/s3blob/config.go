package s3blob

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Config returns the configuration of the clients of an AWS service: S3 or SSM, as at the end of the name of
// its endpoint's variable. The error names every missing or invalid variable, one on each line.
//
//	AWS_REGION, or AWS_DEFAULT_REGION    required
//	AWS_ACCESS_KEY_ID                    required
//	AWS_SECRET_ACCESS_KEY                required
//	AWS_SESSION_TOKEN                    with temporary credentials, such as those of a function
//	AWS_ENDPOINT_URL_<service>, or AWS_ENDPOINT_URL
//	                                     a base URL other than that of the service in the region
//
// Lambda sets the first four. Package s3chain also reads profiles and instance roles: its library takes longer than
// everything else before the first request, and 3 MB.
//
// Requests have a CRC32 of the data they write, which S3 checks and stores. Servers at another base URL may not
// support it, nor the encoding that sends it after the data (aws-chunked), so they do not receive it.
//
// A request is sent up to 5 times, after random waits of up to 0.5, 1, 2 and 4 s: if it could not be sent,
// if no byte comes or goes for 20 s, if the response breaks off, on the statuses 408, 429, 500, 502, 503 and
// 504, on SlowDown and similar codes, and on 409 during the request of another writer
// (ConditionalRequestConflict, OperationAborted). A failed condition (412) is not repeated.
func Config(getenv func(string) string, service string) (aws.Config, error) {
	return config(getenv, service, Defaults{})
}

// Defaults replace variables that are missing.
type Defaults struct {
	Region      string
	Credentials aws.CredentialsProvider // nil for none
}

// HasCredentials reports whether the variables name credentials.
func HasCredentials(getenv func(string) string) bool {
	return strings.TrimSpace(getenv("AWS_ACCESS_KEY_ID")) != "" && strings.TrimSpace(getenv("AWS_SECRET_ACCESS_KEY")) != ""
}

func config(getenv func(string) string, service string, d Defaults) (aws.Config, error) {
	var errs []error
	value := func(names ...string) string {
		for _, name := range names {
			if v := strings.TrimSpace(getenv(name)); v != "" {
				return v
			}
		}
		return ""
	}

	region := cmp.Or(value("AWS_REGION", "AWS_DEFAULT_REGION"), d.Region)
	if region == "" {
		errs = append(errs, errors.New("AWS_REGION is missing: the region of the bucket, for example eu-central-1"))
	}
	id, secret := value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY")
	var provider aws.CredentialsProvider = credentials.NewStaticCredentialsProvider(id, secret, value("AWS_SESSION_TOKEN"))
	isDefault := d.Credentials != nil && !HasCredentials(getenv)
	if isDefault {
		provider = d.Credentials
	}
	for name, v := range map[string]string{"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret} {
		if v == "" && !isDefault {
			errs = append(errs, fmt.Errorf("%s is missing: Lambda sets it; elsewhere "+
				"`aws configure export-credentials --format env` prints it", name))
		}
	}
	cfg := aws.Config{
		Region:                     region,
		Credentials:                provider,
		HTTPClient:                 newHTTPClient((&net.Dialer{Timeout: 5 * time.Second}).DialContext),
		Retryer:                    newRetryer,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		// S3 stores checksums of whole objects, and requests here read ranges.
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}

	endpointName := "AWS_ENDPOINT_URL_" + service
	if value(endpointName) == "" {
		endpointName = "AWS_ENDPOINT_URL"
	}
	if v := value(endpointName); v != "" {
		// The error of url.Parse quotes the URL, which may contain a password.
		u, err := url.Parse(v)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
			errs = append(errs, fmt.Errorf("%s is wrong: it must be like https://host or http://127.0.0.1:7070", endpointName))
		}
		cfg.BaseEndpoint = &v
		cfg.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	}
	if len(errs) > 0 {
		return aws.Config{}, errors.Join(errs...)
	}
	return cfg, nil
}
