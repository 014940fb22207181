// Package backoff waits: until a time has passed or a context is done, and longer after each failure.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Sleep waits for d, or until ctx is done. It returns nil after d, and otherwise the cause of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Exponential is an exponential backoff: the limit of the wait doubles with each failure.
type Exponential struct {
	Base time.Duration // the limit after the first failure
	Max  time.Duration // the largest limit
}

// Limit returns the longest wait after the n-th failure in a row, n counting from 1.
func (e Exponential) Limit(n int) time.Duration {
	limit := min(e.Base, e.Max)
	for ; n > 1 && limit < e.Max; n-- {
		limit = min(2*limit, e.Max)
	}
	return limit
}

// Wait returns the wait after the n-th failure in a row with full jitter: a random time from zero up to
// Limit(n), so that callers that failed together do not come back together.
func (e Exponential) Wait(n int) time.Duration {
	if limit := e.Limit(n); limit > 0 {
		return rand.N(limit)
	}
	return 0
}
