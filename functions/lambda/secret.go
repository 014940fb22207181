package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"groupimport/pkg/blob/s3blob"
)

// secretLife is how long a key that was read is used. A new one counts after that time at the latest; and
// one function asks a few times an hour and not once an invocation.
const secretLife = 5 * time.Minute

// A SecretError says that the key could not be read. It never holds the key.
type SecretError struct {
	name string
	err  error
}

func (e *SecretError) Error() string {
	return fmt.Sprintf("read the key from the SSM parameter %s (TIM_SECRET_KEY_PARAMETER): %v", e.name, e.err)
}

func (e *SecretError) Unwrap() error { return e.err }

// secrets reads SecureStrings of SSM's Parameter Store.
type secrets struct {
	getenv func(string) string
	log    *slog.Logger

	mu     sync.Mutex // instances may be given several events at once
	client *ssm.Client
	value  string
	read   time.Time
}

func newSecrets(getenv func(string) string, log *slog.Logger) *secrets {
	return &secrets{getenv: getenv, log: log}
}

// get returns the decrypted value of the parameter. One that was read before goes on to count while the
// store does not answer, and not when it says that there is none, or that nobody may read it. Its error is a [*SecretError].
func (s *secrets) get(ctx context.Context, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.value != "" && time.Since(s.read) < secretLife {
		return s.value, nil
	}
	if s.client == nil {
		config, err := s3blob.Config(s.getenv, "SSM")
		if err != nil {
			return "", &SecretError{name, err}
		}
		s.client = ssm.NewFromConfig(config)
	}
	out, err := s.client.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(name), WithDecryption: aws.Bool(true)})
	if refused, ok := errors.AsType[smithy.APIError](err); err != nil && s.value != "" && (!ok || refused.ErrorFault() != smithy.FaultClient) {
		s.log.WarnContext(ctx, "the key could not be read again, the one before is used", "parameter", name, "err", err)
		return s.value, nil
	}
	s.value = ""
	if err != nil {
		return "", &SecretError{name, err}
	}
	if out.Parameter != nil {
		s.value = strings.TrimSpace(aws.ToString(out.Parameter.Value)) // as from a file that ends in a line break
	}
	if s.value == "" {
		return "", &SecretError{name, errors.New("it is empty")}
	}
	s.read = time.Now()
	return s.value, nil
}
