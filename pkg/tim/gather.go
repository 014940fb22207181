package tim

import (
	"context"
	"sync"
	"time"
)

// gatherTime is how long a request for several IDs waits for more of them.
const gatherTime = 50 * time.Millisecond

// A gatherer gathers the IDs of concurrent callers into one request.
type gatherer[T any] struct {
	max int // IDs a request
	ask func(ctx context.Context, ids []string) (map[string]T, error)

	mu        sync.Mutex
	gathering *batch[T]
}

type batch[T any] struct {
	ids     []string
	waiting int                     // callers whose context has not ended
	cancel  context.CancelCauseFunc // ends the request when no caller waits
	full    chan struct{}           // closed when ids is full
	done    chan struct{}           // closed when found and err are set
	found   map[string]T
	err     error
}

// join adds id to the gathering batch. If there is none, it begins a batch. The caller must call wait.
func (g *gatherer[T]) join(ctx context.Context, id string) *batch[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.gathering
	if b == nil {
		b = &batch[T]{full: make(chan struct{}), done: make(chan struct{})}
		g.gathering = b
		// The batch belongs to all its callers, so it does not end with the context of the first one.
		ctx, b.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		go g.send(ctx, b)
	}
	b.ids = append(b.ids, id)
	b.waiting++
	if len(b.ids) == g.max {
		close(b.full)
		g.gathering = nil
	}
	return b
}

// wait waits for the result of a batch, for a caller that has joined it. When ctx ends, it waits for a request in
// flight for at most drain.
func (g *gatherer[T]) wait(ctx context.Context, b *batch[T], drain time.Duration) (map[string]T, error) {
	select {
	case <-b.done:
	case <-ctx.Done():
		var drained <-chan time.Time
		if !g.leave(ctx, b) { // otherwise the batch ends by itself
			timer := time.NewTimer(drain)
			defer timer.Stop()
			drained = timer.C
		}
		select {
		case <-b.done:
		case <-drained:
			return nil, context.Cause(ctx)
		}
	}
	return b.found, b.err
}

// leave removes a caller whose context has ended, and reports whether it was the last one.
func (g *gatherer[T]) leave(ctx context.Context, b *batch[T]) (last bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b.waiting--
	if b.waiting > 0 {
		return false
	}
	if g.gathering == b {
		g.gathering = nil
	}
	b.cancel(context.Cause(ctx))
	return true
}

// send gathers IDs for gatherTime and sends their request.
func (g *gatherer[T]) send(ctx context.Context, b *batch[T]) {
	timer := time.NewTimer(gatherTime)
	select {
	case <-timer.C:
	case <-b.full:
	case <-ctx.Done():
	}
	timer.Stop()
	g.close(b)
	b.found, b.err = g.ask(ctx, b.ids)
	b.cancel(nil)
	close(b.done)
}

// close ends the gathering of b.
func (g *gatherer[T]) close(b *batch[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gathering == b {
		g.gathering = nil
	}
}
