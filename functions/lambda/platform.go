package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"groupimport/pkg/blob/s3blob"
	"groupimport/pkg/check"
)

// platform returns a function that returns what Lambda's variables say of the function
// (docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, 2026-11). Lambda always sends the deadline.
func platform(getenv func(string) string) func(context.Context) check.Platform {
	return func(ctx context.Context) check.Platform {
		p := check.Platform{
			Name: "AWS Lambda", Function: getenv("AWS_LAMBDA_FUNCTION_NAME"), HasDeadline: true, Region: getenv("AWS_REGION"),
			Role: func(ctx context.Context) (string, error) { return role(ctx, getenv) },
		}
		p.Memory, _ = strconv.Atoi(getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")) // 0 without
		if lc, ok := lambdacontext.FromContext(ctx); ok {
			p.Invoked = lc.AwsRequestID
		}
		return p
	}
}

// role asks STS who the caller is, which needs no permission
// (docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html, 2026-11). Package sts of the SDK would be
// half a megabyte for this request.
func role(ctx context.Context, getenv func(string) string) (string, error) {
	const timeout, body, maxBody = 5 * time.Second, "Action=GetCallerIdentity&Version=2011-06-15", 16 << 10
	config, err := s3blob.Config(getenv, "STS")
	if err != nil {
		return "", err
	}
	endpoint := "https://sts." + config.Region + ".amazonaws.com"
	if strings.HasPrefix(config.Region, "cn-") {
		endpoint += ".cn"
	}
	if config.BaseEndpoint != nil {
		endpoint = *config.BaseEndpoint
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/", strings.NewReader(body))
	if err != nil {
		return "", errors.New("the URL of STS is not valid") // err would quote it
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	keys, err := config.Credentials.Retrieve(ctx)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(body))
	err = v4.NewSigner().SignHTTP(ctx, keys, req, hex.EncodeToString(sum[:]), "sts", config.Region, time.Now())
	if err != nil {
		return "", err
	}
	resp, err := config.HTTPClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("sts does not respond: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return "", err
	}
	_, rest, ok := strings.Cut(string(text), "<Arn>")
	arn, _, isWhole := strings.Cut(rest, "</Arn>")
	if resp.StatusCode != http.StatusOK || !ok || !isWhole {
		return "", fmt.Errorf("sts responds HTTP %d without an Arn", resp.StatusCode)
	}
	return arn, nil
}
