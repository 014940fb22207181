package backoff_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/backoff"
)

func TestSleep_EndsWithTimeOrContext(t *testing.T) {
	errTime := errors.New("time is up")
	for _, test := range []struct {
		name    string
		sleep   time.Duration
		timeout time.Duration
		took    time.Duration
		err     error
	}{
		{"the time passes first", time.Second, time.Minute, time.Second, nil},
		{"the context ends first", time.Minute, time.Second, time.Second, errTime},
		{"no time", 0, time.Second, 0, nil},
		{"no time, and the context is done", 0, -1, 0, errTime},
		{"the context is done", time.Minute, -1, 0, errTime},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeoutCause(t.Context(), test.timeout, errTime)
				defer cancel()
				start := time.Now()
				if err := backoff.Sleep(ctx, test.sleep); !errors.Is(err, test.err) {
					t.Errorf("error %v, want %v", err, test.err)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
			})
		})
	}
}

func TestExponential_DoublesUpToMax(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		e    backoff.Exponential
		n    int
		want time.Duration
	}{
		{backoff.Exponential{Base: 200 * ms, Max: time.Second}, 1, 200 * ms},
		{backoff.Exponential{Base: 200 * ms, Max: time.Second}, 2, 400 * ms},
		{backoff.Exponential{Base: 200 * ms, Max: time.Second}, 3, 800 * ms},
		{backoff.Exponential{Base: 200 * ms, Max: time.Second}, 4, time.Second},
		{backoff.Exponential{Base: 200 * ms, Max: time.Second}, math.MaxInt, time.Second},
		{backoff.Exponential{Base: time.Minute, Max: time.Second}, 1, time.Second},
		{backoff.Exponential{}, 3, 0},
	} {
		if got := test.e.Limit(test.n); got != test.want {
			t.Errorf("%+v.Limit(%d) = %v, want %v", test.e, test.n, got, test.want)
		}
		var longest, shortest time.Duration = 0, math.MaxInt64
		for range 500 {
			wait := test.e.Wait(test.n)
			longest, shortest = max(longest, wait), min(shortest, wait)
		}
		// Random over the whole range: 500 waits all miss a tenth of it once in 10^22 times.
		if longest > test.want || longest < test.want*9/10 || shortest > test.want/10 {
			t.Errorf("%+v.Wait(%d) is between %v and %v, want 0 to %v", test.e, test.n, shortest, longest, test.want)
		}
	}
}
