package tim

import (
	"context"
	"sync/atomic"
	"time"

	"groupimport/pkg/pacer"
)

// A Share is what one import has of a client that several imports use: its turn among those that wait for permits, its
// own settings, and its own count of attempts.
type Share struct {
	cfg      ShareConfig
	queues   [laneCount]*pacer.Queue
	attempts [laneCount]atomic.Int64
	owners   line
}

// ShareConfig has the settings of a Share.
type ShareConfig struct {
	DrainTimeout time.Duration // replaces the DrainTimeout of the Config; zero leaves no time

	// Authorized says that the service has created groups for this caller before, so that 10007 is about a record and not
	// about the caller. Otherwise a look-up decides.
	Authorized bool
}

type shareKey struct{}

// NewShare returns a Share for the calls with the context that [WithShare] returns.
func (c *Client) NewShare(cfg ShareConfig) *Share {
	s := &Share{cfg: cfg, owners: newLine()}
	for id, l := range c.lanes {
		s.queues[id] = l.pacer.Queue()
	}
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

// isAuthorized reports whether the service is known to accept requests of this caller.
func (c *Client) isAuthorized(ctx context.Context) bool {
	return c.authorized.Load() || c.share(ctx).cfg.Authorized
}

// drain returns how long an attempt in flight may continue if its context has just ended.
func (c *Client) drain(ctx context.Context) time.Duration {
	limit := c.share(ctx).cfg.DrainTimeout
	if in, ok := ctx.Value(shareKey{}).(*sharing); ok {
		if ended := in.ended.Load(); ended != nil {
			return max(0, limit-time.Since(*ended))
		}
	}
	return limit
}
