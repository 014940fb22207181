package tim

import (
	"context"
	"errors"
	"sync"
	"time"

	"groupimport/pkg/group"
)

// maxOwners is how many calls of one [Share] may look at their owners at the same time. At 190 groups a second it is
// enough for requests that take a second each.
const maxOwners = 512

// A line lets callers go on in the order in which they have joined it.
type line struct {
	slots chan struct{}
	mu    sync.Mutex
	last  chan struct{} // closed when the latest caller has gone on; nil without one
}

func newLine() line { return line{slots: make(chan struct{}, maxOwners)} }

// join joins the line once it has room. The caller must call leave when before is closed and it has gone on. The error
// is the cause of ctx or of done.
func (l *line) join(ctx, done context.Context) (before <-chan struct{}, leave func(), err error) {
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	case <-done.Done():
		return nil, nil, context.Cause(done)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before, mine := l.last, make(chan struct{})
	if before == nil {
		first := make(chan struct{})
		close(first)
		before = first
	}
	l.last = mine
	return before, func() {
		close(mine)
		<-l.slots
	}, nil
}

// importWithOwner is [Client.ImportGroup] with a look at the owner before the first attempt.
func (c *Client) importWithOwner(ctx context.Context, rec *group.Record) *Call {
	before, leave, err := c.share(ctx).owners.join(ctx, c.done)
	if err != nil {
		return ended(Result{Message: err.Error()})
	}
	call := &Call{done: make(chan struct{})}
	go func() {
		defer close(call.done)
		r, ok := c.ensureOwner(ctx, rec)
		<-before // so that records are sent in their order
		var p *permit
		if ok {
			l := c.lanes[groupLane]
			l.enqueue()
			if p, err = c.acquire(ctx, l); err != nil {
				r, ok = Result{Message: err.Error(), RateLimited: c.Fatal() == nil && !c.breaker.isOpen()}, false
			}
		}
		leave()
		if ok {
			r = c.importGroup(ctx, rec, bodyOf(rec), p, false)
		}
		call.result = r
		call.result.At = time.Now()
	}()
	return call
}

// ensureOwner creates the account of a record's owner if it does not exist. If it cannot, the call has ended with r.
func (c *Client) ensureOwner(ctx context.Context, rec *group.Record) (r Result, ok bool) {
	if rec.OwnerAccount == "" {
		return Result{}, true
	}
	err := c.ensureAccount(ctx, rec.OwnerAccount)
	_, isFatal := errors.AsType[*FatalError](err)
	switch {
	case err == nil:
		return Result{}, true
	case ctx.Err() != nil || isFatal:
		return Result{Message: err.Error()}, false // Incomplete
	default:
		return Result{End: Failed, Message: "the group's owner: " + err.Error()}, false
	}
}
