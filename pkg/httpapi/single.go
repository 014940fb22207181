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
	// A caller without a deadline is answered after singleTime at the latest. No attempt starts in the last
	// singleReserve before the deadline, or the last half of the time if that is shorter; one that is under way
	// then is waited for. The service answers within 3 s or not at all.
	singleTime    = 25 * time.Second
	singleReserve = 5 * time.Second
)

// haltWaits are the waits after a stop before a call may find out whether the cause is fixed. They grow,
// because the service blocks callers that try a wrong UserSig too often (70050).
var haltWaits = backoff.Exponential{Base: 2 * time.Second, Max: time.Minute}

// A rateError says that a record was not imported because of the rate. Nothing was made.
type rateError struct {
	Code   int           // the service's, if it says so
	Reason string        // for people
	After  time.Duration // it is worth trying again after this
}

func (e *rateError) Error() string { return e.Reason }

// A haltError says that the service takes nothing until a person acts. Nothing was made.
type haltError struct {
	Code   int           // the service's, 0 if it does not answer at all
	Reason string        // for people: what is wrong and what to do
	After  time.Duration // it is asked again after this
}

func (e *haltError) Error() string { return e.Reason }

// A lostError says that time ran out before it was known what became of a record that has a GroupId. It may
// be sent again.
type lostError struct {
	Code   int
	Reason string
}

func (e *lostError) Error() string { return e.Reason }

// isTaken reports whether the record was rejected because another group has its GroupId.
func isTaken(o *outcome.Outcome) bool {
	return o.Status == outcome.Rejected && tim.Explain(o.Code).Class == tim.Exists
}

// A dialer holds the client that requests share, and makes a new one a while after the service has stopped it.
type dialer struct {
	dial func() (*tim.Client, error)

	mu     sync.Mutex
	client *tim.Client
	halts  int       // in a row
	again  time.Time // when a new client is made; zero if the service has not stopped the client
}

// importGroup imports one record for a caller who waits: until ctx's deadline, or for 25 s. What became of the
// record is the outcome, whose N and Line are zero; if nothing did, or nobody knows, the error is a
// [*rateError], a [*haltError] or a [*lostError]. A record without a GroupId of which nobody knows has an
// outcome, Unknown.
//
// Calls may be concurrent, and share the rate; nothing else may use the Client then. When the service has
// stopped it, a new one takes its place after a while, so that a key that is mended counts without a
// restart. What a caller who goes away has under way is not cut off.
func (d *dialer) importGroup(ctx context.Context, rec *group.Record) (outcome.Outcome, error) {
	client, err := d.living()
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
	client.SetGrace(singleReserve)
	call := client.Try(working, rec)
	end := time.NewTimer(time.Until(until))
	defer end.Stop()
	select {
	case <-call.Done():
		return d.outcome(client, rec, call.Wait())
	case <-end.C: // the attempt goes on for a moment, for nobody
	}
	return d.outcome(client, rec, tim.Result{Lost: true, Message: "no answer before the time was up", At: time.Now()})
}

// outcome says what a call came to.
func (d *dialer) outcome(client *tim.Client, rec *group.Record, r tim.Result) (outcome.Outcome, error) {
	o := outcome.Outcome{
		Status: importer.StatusOf(r.End), GroupID: cmp.Or(r.GroupID, rec.GroupID), Code: r.Code, Error: r.Message,
		Attempts: r.Attempts, MS: r.Took.Milliseconds(), At: r.At,
	}
	if r.End != tim.Undone {
		if r.End != tim.Failed && r.End != tim.Unknown {
			d.resetHalts(client)
		}
		return o, nil
	}
	switch {
	case r.Lost && rec.GroupID == "":
		o.Status = outcome.Unknown
		return o, nil
	case r.Lost:
		return outcome.Outcome{}, &lostError{r.Code, r.Message}
	case r.Rate:
		return outcome.Outcome{}, &rateError{r.Code, r.Message, client.Ahead()}
	case client.Stopped() != nil:
		_, err := d.living()
		if halt, ok := errors.AsType[*haltError](err); ok {
			return outcome.Outcome{}, halt
		}
		return outcome.Outcome{}, &haltError{r.Code, r.Message, 0} // another call has made a new client since
	}
	o.Status = outcome.Failed // the service does not answer
	return o, nil
}

// living returns a client that the service has not stopped, or a [*haltError].
func (d *dialer) living() (*tim.Client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.client.Stopped()
	if s == nil {
		return d.client, nil
	}
	if d.again.IsZero() {
		d.halts++
		d.again = time.Now().Add(haltWaits.Limit(d.halts))
	}
	if after := time.Until(d.again); after > 0 {
		return nil, &haltError{s.Code, s.Reason, after}
	}
	client, err := d.dial()
	if err != nil {
		return nil, fmt.Errorf("make a new client: %w", err)
	}
	d.client = client
	d.again = time.Time{}
	return d.client, nil
}

// resetHalts is called after a definitive response: credentials and configuration are valid.
func (d *dialer) resetHalts(client *tim.Client) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if client == d.client {
		d.halts = 0
	}
}
