package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"groupimport/functions/internal/invocation"
	"groupimport/pkg/blob/s3blob"
)

// newSecrets keeps what it reads of the SecureStrings of SSM's Parameter Store.
func newSecrets(getenv func(string) string, log *slog.Logger) *invocation.Secrets {
	client := sync.OnceValues(func() (*ssm.Client, error) {
		config, err := s3blob.Config(getenv, "SSM")
		if err != nil {
			return nil, err
		}
		return ssm.NewFromConfig(config), nil
	})
	read := func(ctx context.Context, name string) (string, error) {
		c, err := client()
		if err != nil {
			return "", err
		}
		out, err := c.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(name), WithDecryption: aws.Bool(true)})
		if err != nil || out.Parameter == nil {
			return "", err
		}
		return aws.ToString(out.Parameter.Value), nil
	}
	return &invocation.Secrets{Store: "SSM parameter", Log: log, Read: read, IsUnavailable: isUnavailable}
}

// isUnavailable reports whether the store has not decided about the request.
func isUnavailable(err error) bool {
	refused, ok := errors.AsType[smithy.APIError](err)
	return !ok || refused.ErrorFault() != smithy.FaultClient
}
