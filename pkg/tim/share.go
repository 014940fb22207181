package tim

import (
	"context"
	"sync/atomic"
	"time"

	"groupimport/pkg/pacer"
)

// A Share is what one import has of a client that several imports use: its turn among those that wait for permits, its
// own drain timeout, and its own count of attempts.
type Share struct {
	queue        *pacer.Queue
	drainTimeout atomic.Int64 // a time.Duration
	attempts     atomic.Int64
}

type shareKey struct{}

// NewShare returns a Share for the calls with the context that [WithShare] returns. drainTimeout replaces the
// DrainTimeout of the Config.
func (c *Client) NewShare(drainTimeout time.Duration) *Share {
	s := &Share{queue: c.cfg.Pacer.Queue()}
	s.drainTimeout.Store(int64(drainTimeout))
	return s
}

// drain returns how long an attempt in flight may continue after the end of its context.
func (s *Share) drain() time.Duration { return time.Duration(s.drainTimeout.Load()) }

// Attempts returns the number of attempts of all calls and look-ups of the Share. Imports may look up groups in one
// request, which counts for one of them.
func (s *Share) Attempts() int64 { return s.attempts.Load() }

// WithShare returns a context for the calls of a Share.
func WithShare(ctx context.Context, s *Share) context.Context {
	return context.WithValue(ctx, shareKey{}, s)
}

// share returns the Share of a context, or the client's own.
func (c *Client) share(ctx context.Context) *Share {
	if s, ok := ctx.Value(shareKey{}).(*Share); ok {
		return s
	}
	return c.own
}
