package importer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
	"groupimport/pkg/tim"
)

const (
	// A caller without a deadline is answered after singleTime at the latest. No attempt starts in the last
	// singleReserve before the deadline, or the last half of the time if that is shorter; one that is under way
	// then is waited for. The service answers within 3 s or not at all.
	singleTime    = 25 * time.Second
	singleReserve = 5 * time.Second

	// After a stop the next call that is let through finds out whether what was wrong has been mended: after
	// haltBase, and then ever more rarely. The service blocks who tries a wrong UserSig too often (70050).
	haltBase = 2 * time.Second
	haltMost = time.Minute
)

// A RateError says that a record was not imported because of the rate. Nothing was made.
type RateError struct {
	Code   int           // the service's, if it says so
	Reason string        // for people
	After  time.Duration // it is worth trying again after this
}

func (e *RateError) Error() string { return e.Reason }

// A HaltError says that the service takes nothing until a person acts. Nothing was made.
type HaltError struct {
	Code   int           // the service's, 0 if it does not answer at all
	Reason string        // for people: what is wrong and what to do
	After  time.Duration // it is asked again after this
}

func (e *HaltError) Error() string { return e.Reason }

// A LostError says that time ran out before it was known what became of a record that has a GroupId. It may
// be sent again.
type LostError struct {
	Code   int
	Reason string
}

func (e *LostError) Error() string { return e.Reason }

// Taken reports whether the record was rejected because another group has its GroupId.
func Taken(o *outcome.Outcome) bool {
	return o.Status == outcome.Rejected && tim.Explain(o.Code).Class == tim.Exists
}

// halts is what is known about a service that takes nothing.
type halts struct {
	count int       // in a row
	again time.Time // when a new client is made; zero if it has not stopped
}

// Single imports one record for a caller who waits: until ctx's deadline, or for 25 s. What became of the
// record is the outcome, whose N and Line are zero; if nothing did, or nobody knows, the error is a
// [*RateError], a [*HaltError] or a [*LostError]. A record without a GroupId of which nobody knows has an
// outcome, Unknown.
//
// Calls may be concurrent, and share the rate; nothing else may use the Client then. When the service has
// stopped it, a new one takes its place after a while, so that a key that is mended counts without a
// restart. What a caller who goes away has under way is not cut off.
func (i *Importer) Single(ctx context.Context, rec *group.Record) (outcome.Outcome, error) {
	client, err := i.living()
	if err != nil {
		return outcome.Outcome{}, err
	}
	until := time.Now().Add(singleTime)
	if deadline, ok := ctx.Deadline(); ok {
		until = deadline
	}
	left := min(singleReserve, time.Until(until)/2)
	working, stop := context.WithDeadlineCause(ctx, until.Add(-left), errTimeUp)
	defer stop()
	client.SetGrace(singleReserve)
	call := client.Try(working, rec)
	end := time.NewTimer(time.Until(until))
	defer end.Stop()
	select {
	case <-call.Done():
		return i.single(client, rec, call.Wait())
	case <-end.C: // the attempt goes on for a moment, for nobody
	}
	return i.single(client, rec, tim.Result{Lost: true, Message: "no answer before the time was up", At: time.Now()})
}

// single says what a call came to.
func (i *Importer) single(client *tim.Client, rec *group.Record, r tim.Result) (outcome.Outcome, error) {
	o := outcome.Outcome{
		Status: statuses[r.End], GroupID: cmp.Or(r.GroupID, rec.GroupID), Code: r.Code, Error: r.Message,
		Attempts: r.Attempts, MS: r.Took.Milliseconds(), At: r.At,
	}
	if r.End != tim.Undone {
		if r.End != tim.Failed && r.End != tim.Unknown {
			i.mends(client)
		}
		return o, nil
	}
	switch {
	case r.Lost && rec.GroupID == "":
		o.Status = outcome.Unknown
		return o, nil
	case r.Lost:
		return outcome.Outcome{}, &LostError{r.Code, r.Message}
	case r.Rate:
		return outcome.Outcome{}, &RateError{r.Code, r.Message, client.Ahead()}
	case client.Stopped() != nil:
		_, err := i.living()
		if halt, ok := errors.AsType[*HaltError](err); ok {
			return outcome.Outcome{}, halt
		}
		return outcome.Outcome{}, &HaltError{r.Code, r.Message, 0} // another call has made a new client since
	}
	o.Status = outcome.Failed // the service does not answer
	return o, nil
}

// living returns a client that the service has not stopped, or a [*HaltError].
func (i *Importer) living() (*tim.Client, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.Client.Stopped()
	if s == nil {
		return i.Client, nil
	}
	if i.halts.again.IsZero() {
		i.halts.again = time.Now().Add(min(haltMost, haltBase<<min(i.halts.count, 10)))
		i.halts.count++
	}
	if after := time.Until(i.halts.again); after > 0 {
		return nil, &HaltError{s.Code, s.Reason, after}
	}
	if err := i.Dial(i.tune); err != nil {
		return nil, fmt.Errorf("make a new client: %w", err)
	}
	i.halts.again = time.Time{}
	return i.Client, nil
}

// mends notes that the service has answered about a record, so that nothing is wrong with the caller.
func (i *Importer) mends(client *tim.Client) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if client == i.Client {
		i.halts.count = 0
	}
}
