package s3blob

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Config returns what clients of an AWS service need, service being the name that its endpoint's
// variable ends in: S3, SSM. The error names every variable that is missing or wrong, one a line.
//
//	AWS_REGION, or AWS_DEFAULT_REGION    required
//	AWS_ACCESS_KEY_ID                    required
//	AWS_SECRET_ACCESS_KEY                required
//	AWS_SESSION_TOKEN                    with credentials that are temporary, as a function's are
//	AWS_ENDPOINT_URL_<service>, or AWS_ENDPOINT_URL
//	                                     another base URL than that of the service in the region
//
// Lambda sets the first four. Package config of the SDK would find more (profiles, instance roles), and
// takes longer to do so than everything else before the first request.
//
// Requests carry a CRC32 of what they write, which S3 checks and keeps. Servers at another base URL may know neither the
// checksum nor the encoding that sends it after the data (aws-chunked), so they do not get it.
//
// A request is sent up to 5 times, after random waits of up to 0.5, 1, 2 and 4 s: when it could not be
// sent, or there is no answer within 20 s, or it breaks off, on a status of 408, 429, 500, 502, 503 or
// 504, on SlowDown and other codes that ask for fewer requests, and on 409 where another writer is
// being served (ConditionalRequestConflict, OperationAborted). A condition that does not hold (412) is
// an answer and not repeated.
func Config(getenv func(string) string, service string) (aws.Config, error) {
	var errs []error
	value := func(names ...string) string {
		for _, name := range names {
			if v := strings.TrimSpace(getenv(name)); v != "" {
				return v
			}
		}
		return ""
	}

	region := value("AWS_REGION", "AWS_DEFAULT_REGION")
	if region == "" {
		errs = append(errs, errors.New("AWS_REGION is missing: the region of the bucket, for example eu-central-1"))
	}
	id, secret := value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY")
	for name, v := range map[string]string{"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret} {
		if v == "" {
			errs = append(errs, fmt.Errorf("%s is missing: Lambda sets it; elsewhere `aws configure export-credentials --format env` prints it", name))
		}
	}
	cfg := aws.Config{
		Region:                     region,
		Credentials:                credentials.NewStaticCredentialsProvider(id, secret, value("AWS_SESSION_TOKEN")),
		HTTPClient:                 newHTTPClient((&net.Dialer{Timeout: 5 * time.Second}).DialContext),
		Retryer:                    newRetryer,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		// S3 keeps checksums of whole objects, and what is read here are ranges.
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}

	endpointName := "AWS_ENDPOINT_URL_" + service
	if value(endpointName) == "" {
		endpointName = "AWS_ENDPOINT_URL"
	}
	if v := value(endpointName); v != "" {
		// The error of url.Parse quotes what it parses, which may hold a password.
		if u, err := url.Parse(v); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
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
