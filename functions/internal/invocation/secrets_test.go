package invocation_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/functions/internal/invocation"
)

var (
	errDown    = errors.New("no response")
	errRefused = errors.New("access denied")
)

func TestSecrets_CachedForFiveMinutesAndDuringOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		value, failure, reads := "first\n", error(nil), map[string]int{}
		var log bytes.Buffer
		s := &invocation.Secrets{
			Store: "parameter", Log: slog.New(slog.NewTextHandler(&log, nil)),
			Read: func(_ context.Context, name string) (string, error) {
				reads[name]++
				return value, failure
			},
			IsUnavailable: func(err error) bool { return errors.Is(err, errDown) },
		}
		get := func(want string) {
			t.Helper()
			if got, err := s.Get(t.Context(), "k"); got != want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		}
		refused := func(want error) {
			t.Helper()
			got, err := s.Get(t.Context(), "k")
			secretError, ok := errors.AsType[*invocation.SecretError](err)
			if got != "" || !ok || want != nil && !errors.Is(err, want) ||
				!strings.HasPrefix(secretError.Error(), "read the parameter k (") {
				t.Errorf("got %q, %v, want a SecretError about %v", got, err, want)
			}
		}
		failure = errDown
		refused(errDown) // no value is cached yet
		failure = nil
		get("first")
		value = "second"
		time.Sleep(5*time.Minute - 1)
		get("first")
		time.Sleep(time.Nanosecond)
		get("second")
		if _, err := s.Get(t.Context(), "another"); err != nil || reads["k"] != 3 || reads["another"] != 1 {
			t.Errorf("got %v and the reads %v, want one of each secret in five minutes", err, reads)
		}
		failure = errDown
		time.Sleep(time.Hour)
		get("second")
		if text := log.String(); !strings.Contains(text, "the cached value is used") || strings.Contains(text, "second") {
			t.Errorf("got the log %q", text)
		}
		failure = errRefused
		refused(errRefused)
		failure = errDown
		refused(errDown) // a secret that was removed from the store is not used again
		failure, value = nil, " \n"
		refused(nil)
	})
}

// Instances that serve several requests at once read a secret once.
func TestSecrets_Concurrent(t *testing.T) {
	t.Parallel()
	reads := 0
	s := &invocation.Secrets{Log: slog.New(slog.DiscardHandler), Read: func(context.Context, string) (string, error) {
		reads++
		// In real time: synctest's clock does not advance while a goroutine waits for a mutex.
		time.Sleep(10 * time.Millisecond)
		return "value", nil
	}}
	var requests sync.WaitGroup
	for range 10 {
		requests.Go(func() {
			if got, err := s.Get(t.Context(), "k"); got != "value" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	requests.Wait()
	if reads != 1 {
		t.Errorf("got %d reads, want 1", reads)
	}
}
