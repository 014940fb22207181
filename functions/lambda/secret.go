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

// secretLife is how long a secret that was read is used. A new one counts after that time at the latest; and
// one function asks a few times an hour and not once an invocation.
const secretLife = 5 * time.Minute

// A SecretError says that a secret could not be read. It never holds the secret.
type SecretError struct {
	name string
	err  error
}

func (e *SecretError) Error() string {
	return fmt.Sprintf("read the SSM parameter %s (TIM_SECRET_KEY_PARAMETER, HTTP_TOKEN_PARAMETER or "+
		"NOTIFY_PARAMETER): %v", e.name, e.err)
}

func (e *SecretError) Unwrap() error { return e.err }

// secrets reads SecureStrings of SSM's Parameter Store.
type secrets struct {
	getenv func(string) string
	log    *slog.Logger

	mu     sync.Mutex // instances may be given several events at once
	client *ssm.Client
	known  map[string]secret // by the name of the parameter
}

// A secret is the value of a parameter, and when it was read.
type secret struct {
	value string
	read  time.Time
}

func newSecrets(getenv func(string) string, log *slog.Logger) *secrets {
	return &secrets{getenv: getenv, log: log, known: map[string]secret{}}
}

// get returns the decrypted value of the parameter. A value that was read before stays valid while the
// store does not answer, and not when it says that there is none, or that nobody may read it. Its error is a
// [*SecretError].
func (s *secrets) get(ctx context.Context, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.known[name]
	if known.value != "" && time.Since(known.read) < secretLife {
		return known.value, nil
	}
	if s.client == nil {
		config, err := s3blob.Config(s.getenv, "SSM")
		if err != nil {
			return "", &SecretError{name, err}
		}
		s.client = ssm.NewFromConfig(config)
	}
	out, err := s.client.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(name), WithDecryption: aws.Bool(true)})
	refused, ok := errors.AsType[smithy.APIError](err)
	unavailable := err != nil && (!ok || refused.ErrorFault() != smithy.FaultClient)
	if unavailable && known.value != "" {
		s.log.WarnContext(ctx, "the secret could not be read again, the one before is used", "parameter", name, "err", err)
		return known.value, nil
	}
	delete(s.known, name)
	if err != nil {
		return "", &SecretError{name, err}
	}
	value := ""
	if out.Parameter != nil {
		value = strings.TrimSpace(aws.ToString(out.Parameter.Value)) // as from a file that ends in a line break
	}
	if value == "" {
		return "", &SecretError{name, errors.New("it is empty")}
	}
	s.known[name] = secret{value, time.Now()}
	return value, nil
}
