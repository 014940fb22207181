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
	queues       [laneCount]*pacer.Queue
	drainTimeout atomic.Int64 // a time.Duration
	attempts     [laneCount]atomic.Int64
	owners       line
}

type shareKey struct{}

// NewShare returns a Share for the calls with the context that [WithShare] returns. drainTimeout replaces the
// DrainTimeout of the Config.
func (c *Client) NewShare(drainTimeout time.Duration) *Share {
	s := &Share{owners: newLine()}
	for id, l := range c.lanes {
		s.queues[id] = l.pacer.Queue()
	}
	s.drainTimeout.Store(int64(drainTimeout))
	return s
}

// Attempts returns the number of attempts of all calls and look-ups of groups of the Share. Imports may look up groups
// in one request, which counts for one of them.
func (s *Share) Attempts() int64 { return s.attempts[groupLane].Load() }

// A sharing is a Share in a context.
type sharing struct {
	*Share

	ended atomic.Pointer[time.Time] // when the context ended, nil before
}

// WithShare returns a context for the calls of a Share. Its drain timeout is that of all requests of a call together,
// counted from the end of ctx: a call may send several, one after another.
func WithShare(ctx context.Context, s *Share) context.Context {
	in := &sharing{Share: s}
	context.AfterFunc(ctx, func() {
		now := time.Now()
		in.ended.Store(&now)
	})
	return context.WithValue(ctx, shareKey{}, in)
}

// share returns the Share of a context, or the client's own.
func (c *Client) share(ctx context.Context) *Share {
	if in, ok := ctx.Value(shareKey{}).(*sharing); ok {
		return in.Share
	}
	return c.own
}

// drain returns how long an attempt in flight may continue if its context has just ended.
func (c *Client) drain(ctx context.Context) time.Duration {
	limit := time.Duration(c.share(ctx).drainTimeout.Load())
	if in, ok := ctx.Value(shareKey{}).(*sharing); ok {
		if ended := in.ended.Load(); ended != nil {
			return max(0, limit-time.Since(*ended))
		}
	}
	return limit
}
