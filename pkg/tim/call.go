package tim

import (
	"cmp"
	"context"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/group"
	"groupimport/pkg/pacer"
)

const (
	// get_group_info may lag behind import_group; no document says by how much. A group that it does not show within
	// readLag after its creation counts as missing.
	secondLookup = 2 * time.Second
	readLag      = 10 * time.Second
)

// The waits between attempts, with full jitter: up to 0.5, 1, 2, 4, 8 and then 10 s. After a throttled attempt they
// start higher, because a retry within the same second is throttled again.
var (
	retryWaits    = backoff.Exponential{Base: 500 * time.Millisecond, Max: 10 * time.Second}
	throttleWaits = backoff.Exponential{Base: 2 * time.Second, Max: 30 * time.Second}
)

// An End says how a call ended.
type End int

const (
	// Incomplete means that the call ended early, because its context has ended or because of a fatal error. Either the
	// service has not created the group, or the record has a GroupId and may be sent again.
	Incomplete End = iota
	// Imported means that the service created the group.
	Imported
	// Exists means that a group with this GroupId already exists and matches the record.
	Exists
	// Rejected means that the record is permanently rejected.
	Rejected
	// Failed means that the call failed after all retries. The record may be sent again.
	Failed
	// Unknown means that the record has no GroupId and a response was lost: the group may exist.
	Unknown
)

// A Result is the result of a call.
type Result struct {
	End      End
	GroupID  string        // the group's, from the service
	Created  bool          // with Imported: by create_group, so that the group does not have the CreateTime of the record
	Code     int           // of the last response; 0 if there was none
	Message  string        // for operators: the reason, unless Imported or Exists
	Attempts int           // to import the record, without throttled attempts and attempts with a rejected UserSig
	Took     time.Duration // of the last attempt
	At       time.Time     // when the call ended

	// Only of Incomplete:
	RateLimited bool // the reason is the rate, and nothing was created
	Lost        bool // a response was lost or the look-up of an existing group failed: the group may be the record's
}

// A Call is in progress until Wait returns.
type Call struct {
	done   chan struct{}
	result Result
}

// Wait returns the result of the call.
func (c *Call) Wait() Result {
	<-c.done
	return c.result
}

// Done is closed when the call has ended.
func (c *Call) Done() <-chan struct{} { return c.done }

// ImportGroup starts a call that imports rec. A record of Type AVChatRoom, which import_group does not accept, is
// created with create_group, which takes all fields but CreateTime. create_group fires the app's webhooks. ImportGroup
// returns when the first attempt has its permit, or when the call has ended without one. Calls that are started one
// after another are therefore sent in that order.
//
// With [Config.ImportAccounts], ImportGroup returns before that, while it looks at the group's owner, for at most
// maxOwners calls of a [Share]. Their records are sent in the same order.
//
// ctx decides whether another attempt starts. An attempt in flight continues after ctx has ended, within
// [AttemptTimeout] and the DrainTimeout of the Config. rec must not change before the end of the call.
func (c *Client) ImportGroup(ctx context.Context, rec *group.Record) *Call {
	if c.cfg.ImportAccounts {
		return c.importWithOwner(ctx, rec)
	}
	c.lanes[groupLane].enqueue()
	return c.start(ctx, rec, false)
}

// Try is [Client.ImportGroup] for a caller that waits for the response. It does not wait for the rate: if the first
// permit would come after ctx's deadline, or the service throttles the request, the call ends immediately, Incomplete
// and with RateLimited set.
func (c *Client) Try(ctx context.Context, rec *group.Record) *Call {
	if c.cfg.ImportAccounts {
		if r, ok := c.ensureOwner(ctx, rec); !ok {
			return ended(r)
		}
	}
	ahead := c.lanes[groupLane].enqueue()
	deadline, ok := ctx.Deadline()
	if ok && c.Fatal() == nil && c.cfg.Pacer.Ahead(ahead) >= time.Until(deadline) {
		c.lanes[groupLane].waiting.Add(-1)
		return ended(Result{Message: "too many calls are waiting for a permit", RateLimited: true})
	}
	return c.start(ctx, rec, true)
}

// ended returns a call that has ended with r.
func ended(r Result) *Call {
	r.At = time.Now()
	call := &Call{done: make(chan struct{}), result: r}
	close(call.done)
	return call
}

// start starts a call that is enqueued.
func (c *Client) start(ctx context.Context, rec *group.Record, try bool) *Call {
	p, err := c.acquire(ctx, c.lanes[groupLane])
	if err != nil {
		return ended(Result{Message: err.Error(), RateLimited: c.Fatal() == nil && !c.breaker.isOpen()})
	}
	call := &Call{done: make(chan struct{})}
	body := bodyOf(rec)
	go func() {
		defer close(call.done)
		call.result = c.importGroup(ctx, rec, body, p, try)
		call.result.At = time.Now()
	}()
	return call
}

// bodyOf returns the body of the request for a record.
func bodyOf(rec *group.Record) []byte {
	body := make([]byte, 0, 512) // enough for most records
	if rec.Type == group.AVChatRoom {
		created := *rec
		created.CreateTime = 0 // create_group has no such field (cloud.tencent.com/document/product/269/1615, 2025-11)
		rec = &created
	}
	return rec.AppendJSON(body)
}

// importGroup makes one attempt after another. p is the permit of the first one.
func (c *Client) importGroup(ctx context.Context, rec *group.Record, body []byte, p *permit, try bool) (r Result) {
	lost := false // a response may have been lost
	defer func() { r.Lost = r.End == Incomplete && (r.Lost || lost) }()
	throttled := 0  // how often
	signed := false // again, after the service rejected the UserSig
	since := c.breaker.responses()
	command := importGroup
	if rec.Type == group.AVChatRoom {
		command = createGroup
		defer func() { r.Created = r.End == Imported }()
	}
	for {
		if p != nil {
			a := c.attempt(ctx, p, request{command, body, maxImportResponse})
			r.Attempts++
			r.Took, r.Code, r.Message = a.took, a.code, a.message
			if a.code != 0 || a.verdict == accepted {
				r.GroupID = a.groupID
			}
			switch a.verdict {
			case accepted:
				r.End, r.Message = Imported, ""
				r.GroupID = cmp.Or(a.groupID, rec.GroupID)
				return r
			case rejected:
				r.End = Rejected
				return r
			case inUse:
				return c.reconcile(ctx, rec, r, lost)
			case ambiguous:
				return c.resolve(ctx, p.lane, r, a, lost)
			case fatal:
				return r // Incomplete
			case tooManyRequests:
				r.Attempts--
				throttled++
				if try {
					r.RateLimited = !lost
					return r
				}
			case sigRejected:
				if signed {
					c.fail(ctx, &FatalError{Code: a.code, Reason: a.message})
					return r
				}
				signed = true
				r.Attempts--
			case notSent:
			case unknown:
				lost = true
				c.lostAt.Store(int64(time.Since(c.created)))
				if rec.GroupID == "" {
					r.End = Unknown
					r.Message = "response lost, the group may exist: " + r.Message
					return r
				}
			}
			if r.Attempts >= c.cfg.MaxAttempts {
				end, again := c.exhausted(ctx, rec, r, lost, since)
				if !again {
					return end
				}
			} else if err := c.pause(ctx, a.verdict, r.Attempts, throttled); err != nil {
				r.Message = err.Error()
				return r // Incomplete
			}
		}
		c.lanes[groupLane].enqueue()
		var err error
		if p, err = c.acquire(ctx, c.lanes[groupLane]); err != nil {
			r.Message = err.Error()
			return r // Incomplete
		}
	}
}

// pause waits before the next attempt. The error says why there will be none.
func (c *Client) pause(ctx context.Context, v verdict, attempts, throttled int) error {
	switch v {
	case tooManyRequests:
		return c.sleep(ctx, throttleWaits.Wait(throttled))
	case sigRejected:
		return c.sleep(ctx, time.Second) // within the same second the UserSig would be the same
	default:
		return c.sleep(ctx, retryWaits.Wait(attempts))
	}
}

// sleep waits for d, or until ctx ends or a fatal error occurs. The error is the cause.
func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(c.done, func() { cancel(context.Cause(c.done)) })
	defer stop()
	return backoff.Sleep(ctx, d)
}

// A permit allows one attempt and holds its in-flight slot.
type permit struct {
	*pacer.Permit
	lane  *lane
	probe bool // see [breaker.allow]
}

// giveBack ends a permit without an attempt.
func (c *Client) giveBack(p *permit) {
	p.Sent()
	p.lane.limit.release(0)
	if p.probe {
		c.breaker.cancelProbe()
	}
}

// acquire waits for a permit of a lane, for a caller that is enqueued there, and removes the caller from the queue. The
// error is the cause of ctx or the [*FatalError].
func (c *Client) acquire(ctx context.Context, l *lane) (*permit, error) {
	defer l.waiting.Add(-1)
	for {
		if e := c.Fatal(); e != nil {
			return nil, e
		}
		probe, err := c.breaker.allow(ctx, c.done)
		if err != nil {
			return nil, err
		}
		p, err := c.acquireSlot(ctx, l)
		// The breaker may have opened while this caller waited for its slot.
		if err == nil && c.Fatal() == nil && (probe || !c.breaker.isOpen()) {
			return &permit{Permit: p, lane: l, probe: probe}, nil
		}
		if probe {
			c.breaker.cancelProbe()
		}
		if err != nil {
			return nil, err
		}
		p.Sent()
		l.limit.release(0)
	}
}

// acquireSlot waits for the caller's turn in its [Share], then for an in-flight slot, and then for a permit of the
// pacer and of the Config. Those that wait for their turn hold no slot: otherwise the retries of one import could hold
// all.
func (c *Client) acquireSlot(ctx context.Context, l *lane) (*pacer.Permit, error) {
	turn, err := c.share(ctx).queues[l.id].Turn(ctx, c.done)
	if err != nil {
		return nil, err
	}
	if err := l.limit.acquire(ctx, c.done); err != nil {
		turn.Pass()
		return nil, err
	}
	p, err := turn.Permit(ctx, c.done)
	turn.Pass()
	if err == nil && c.cfg.Permit != nil {
		if err = c.cfg.Permit(ctx); err != nil {
			p.Sent()
		}
	}
	if err != nil {
		l.limit.release(0)
		return nil, err
	}
	return p, nil
}
