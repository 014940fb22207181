package invocation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// secretLife is how long a secret that was read is used. A new value counts after that time at the latest, and a
// function reads its secrets a few times an hour and not in each invocation.
const secretLife = 5 * time.Minute

// A SecretError says that a secret could not be read. It never holds the secret.
type SecretError struct {
	store, name string
	err         error
}

func (e *SecretError) Error() string {
	return fmt.Sprintf("read the %s %s (TIM_SECRET_KEY_PARAMETER, HTTP_TOKEN_PARAMETER or NOTIFY_PARAMETER): %v",
		e.store, e.name, e.err)
}

func (e *SecretError) Unwrap() error { return e.err }

// Secrets keeps the secrets that it has read from a store. It is safe for concurrent use.
type Secrets struct {
	Store string // kind of secret in messages, such as SSM parameter
	Log   *slog.Logger

	// Read reads a secret. Its error must not hold it.
	Read func(ctx context.Context, name string) (string, error)

	// IsUnavailable reports whether an error of Read says that the store has not decided about the request.
	IsUnavailable func(error) bool

	// Life is how long a secret is used before it is read again. Zero means five minutes.
	Life time.Duration

	mu    sync.Mutex // an instance may handle several events at once
	known map[string]secret
}

// A secret is a value and the time at which it was read.
type secret struct {
	value string
	read  time.Time
}

// Get returns the secret with this name, without white space around it. While the store is unavailable, Get returns the
// value that it read before. If the store responds that the secret does not exist or that the function may not read it,
// Get returns an error. The error is a [*SecretError].
func (s *Secrets) Get(ctx context.Context, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	life := s.Life
	if life == 0 {
		life = secretLife
	}
	known, isKnown := s.known[name]
	if isKnown && time.Since(known.read) < life {
		return known.value, nil
	}
	value, err := s.Read(ctx, name)
	if err != nil && isKnown && s.IsUnavailable(err) {
		s.Log.WarnContext(ctx, "cannot read the secret again: the cached value is used", "parameter", name, "err", err)
		return known.value, nil
	}
	value = strings.TrimSpace(value) // as from a file that ends in a line break
	if err == nil && value == "" {
		err = errors.New("the value is empty")
	}
	if err != nil {
		delete(s.known, name)
		return "", &SecretError{s.Store, name, err}
	}
	if s.known == nil {
		s.known = map[string]secret{}
	}
	s.known[name] = secret{value, time.Now()}
	return value, nil
}
