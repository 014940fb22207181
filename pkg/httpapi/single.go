package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/group"
	"groupimport/pkg/importer"
	"groupimport/pkg/outcome"
	"groupimport/pkg/tim"
)

const (
	// A call without a deadline ends after singleTime. No attempt starts in the last singleReserve before the deadline,
	// or the last half of the time if that is shorter. An attempt in flight may end meanwhile: the service responds
	// within 3 s or not at all.
	singleTime    = 25 * time.Second
	singleReserve = 5 * time.Second
)

// fatalWaits are the waits after a fatal error until the next call is allowed. They grow, because the service blocks a
// caller that repeats a wrong UserSig too often (70050).
var fatalWaits = backoff.Exponential{Base: 2 * time.Second, Max: time.Minute}

// A rateError says that a record was not sent because of the rate limit. No group was created.
type rateError struct {
	Code   int // ErrorCode of the service, 0 without a response
	Reason string
	After  time.Duration // wait before the next request
}

func (e *rateError) Error() string { return e.Reason }

// A fatalError is fatal: the service accepts no request until an operator acts. No group was created.
type fatalError struct {
	Code   int           // ErrorCode of the service, 0 without a response
	Reason string        // what is wrong and what to do
	After  time.Duration // wait before the next call is allowed
}

func (e *fatalError) Error() string { return e.Reason }

// A lostError says that time was up before the outcome of a record with a GroupId was known. It is safe to send the
// record again.
type lostError struct {
	Code   int
	Reason string
}

func (e *lostError) Error() string { return e.Reason }

// isConflict reports whether the record was rejected because another group has its GroupId.
func isConflict(o *outcome.Outcome) bool {
	return o.Status == outcome.Rejected && tim.Explain(o.Code).Class == tim.InUse
}

// A dialer holds the client that requests share. It replaces the client some time after a fatal error.
type dialer struct {
	dial  func() (*tim.Client, error) // the clients share one rate limiter
	share *sharedRate                 // nil if the process has the rate alone

	mu     sync.Mutex
	client *tim.Client
	fatals int       // consecutive fatal errors
	again  time.Time // when to create a new client; zero without a fatal error
}

// newDialer returns a dialer with a client.
func newDialer(c *Config) (*dialer, error) {
	d := &dialer{share: newSharedRate(c.Config, c.Bucket)}
	d.dial = c.Config.Clients(c.Log, func(t *tim.Config) {
		t.Transport, t.DrainTimeout = c.Transport, singleReserve
		d.share.apply(t)
	})
	var err error
	d.client, err = d.dial()
	return d, err
}

// importGroup imports one record until ctx's deadline, or for up to singleTime. N and Line of the outcome are zero.
// Without an outcome the error is a [*rateError], a [*fatalError] or a [*lostError], or wraps errNoShare. If the
// response for a record without a GroupId is lost, the outcome is Unknown.
//
// Calls may be concurrent and share the rate. After a fatal error, a new client
// replaces the client after some time, so a fixed key works without a restart. An attempt in flight continues if its
// caller disconnects.
func (d *dialer) importGroup(ctx context.Context, rec *group.Record) (outcome.Outcome, error) {
	client, err := d.usable()
	if err != nil {
		return outcome.Outcome{}, err
	}
	until := time.Now().Add(singleTime)
	if deadline, ok := ctx.Deadline(); ok {
		until = deadline
	}
	left := min(singleReserve, time.Until(until)/2)
	working, stop := context.WithDeadlineCause(ctx, until.Add(-left), importer.ErrTimeUp)
	defer stop()
	if err := d.share.reserve(working); errors.Is(err, errNoLane) {
		return outcome.Outcome{}, &rateError{Reason: err.Error(), After: d.share.after()}
	} else if err != nil {
		return outcome.Outcome{}, err
	}
	call := client.Try(working, rec)
	end := time.NewTimer(time.Until(until))
	defer end.Stop()
	select {
	case <-call.Done():
		return d.outcome(client, rec, call.Wait())
	case <-end.C: // the attempt may still be in flight
	}
	return d.outcome(client, rec, tim.Result{Lost: true, Message: "no response before the time was up", At: time.Now()})
}

// importMembers adds members to a group until ctx's deadline, or for up to singleTime. Without an error, each member
// has a result. After an error, which is one of importGroup's, the result has no Code, its Message is the error, and
// members that are not sent, or that may have been added, are MemberNotSent. It is safe to send these again.
func (d *dialer) importMembers(
	ctx context.Context, groupID string, members []group.Member,
) (tim.MembersResult, error) {
	undone := func(err error) (tim.MembersResult, error) {
		message := err.Error()
		if errors.Is(err, errNoShare) {
			message = errNoShare.Error() // without the error of the store, which a response must not quote
		}
		return tim.MembersResult{Members: make([]tim.MemberResult, len(members)), Message: message}, err
	}
	client, err := d.usable()
	if err != nil {
		return undone(err)
	}
	until := time.Now().Add(singleTime)
	if deadline, ok := ctx.Deadline(); ok {
		until = deadline
	}
	working, stop := context.WithDeadlineCause(
		ctx, until.Add(-min(singleReserve, time.Until(until)/2)), importer.ErrTimeUp)
	defer stop()
	if err := d.share.reserve(working); errors.Is(err, errNoLane) {
		return undone(&rateError{Reason: err.Error(), After: d.share.after()})
	} else if err != nil {
		return undone(err)
	}
	call := client.ImportMembers(working, groupID, members)
	end := time.NewTimer(time.Until(until))
	defer end.Stop()
	select {
	case <-call.Done():
	case <-end.C: // attempts may still be in flight
		return undone(&lostError{Reason: "no response before the time was up"})
	}
	res := call.Wait()
	if res.End != tim.Incomplete {
		d.resetFatals(client)
		return res, nil
	}
	switch {
	case client.Fatal() != nil:
		if _, err = d.usable(); err == nil {
			err = &fatalError{Reason: res.Message} // another call has replaced the client
		}
	case res.Attempts == 0:
		err = &rateError{Reason: res.Message, After: max(client.Ahead(), d.share.after())}
	default:
		err = &lostError{Reason: res.Message}
	}
	res.Code = 0
	return res, err
}

// outcome returns the outcome of a call.
func (d *dialer) outcome(client *tim.Client, rec *group.Record, r tim.Result) (outcome.Outcome, error) {
	o := outcome.Outcome{
		Status: importer.StatusOf(r.End), GroupID: cmp.Or(r.GroupID, rec.GroupID), Code: r.Code, Error: r.Message,
		Attempts: r.Attempts, MS: r.Took.Milliseconds(), At: r.At,
	}
	if r.End != tim.Incomplete {
		if r.End != tim.Failed && r.End != tim.Unknown {
			d.resetFatals(client)
		}
		return o, nil
	}
	switch {
	case r.Lost && rec.GroupID == "":
		o.Status = outcome.Unknown
		return o, nil
	case r.Lost:
		return outcome.Outcome{}, &lostError{r.Code, r.Message}
	case r.RateLimited:
		return outcome.Outcome{}, &rateError{r.Code, r.Message, max(client.Ahead(), d.share.after())}
	case client.Fatal() != nil:
		_, err := d.usable()
		if fatal, ok := errors.AsType[*fatalError](err); ok {
			return outcome.Outcome{}, fatal
		}
		return outcome.Outcome{}, &fatalError{r.Code, r.Message, 0} // another call has replaced the client
	}
	o.Status = outcome.Failed // the service does not respond
	return o, nil
}

// usable returns a client without a fatal error, or a [*fatalError].
func (d *dialer) usable() (*tim.Client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.client.Fatal()
	if s == nil {
		return d.client, nil
	}
	if d.again.IsZero() {
		d.fatals++
		d.again = time.Now().Add(fatalWaits.Limit(d.fatals))
	}
	if after := time.Until(d.again); after > 0 {
		return nil, &fatalError{s.Code, s.Reason, after}
	}
	client, err := d.dial()
	if err != nil {
		return nil, fmt.Errorf("create a client: %w", err)
	}
	d.client = client
	d.again = time.Time{}
	return d.client, nil
}

// resetFatals is called after a definitive response: credentials and configuration are valid.
func (d *dialer) resetFatals(client *tim.Client) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if client == d.client {
		d.fatals = 0
	}
}
