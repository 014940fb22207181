package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"groupimport/pkg/importer"
	"groupimport/pkg/lease"
	"groupimport/pkg/results"
)

// A RateBusyError says that another process uses the shared rate, see [config.Config.OneAtATime].
type RateBusyError struct {
	*lease.BusyError
}

func (e *RateBusyError) Error() string {
	return e.Owner + " uses the shared rate"
}

// Unwrap returns the [*lease.BusyError].
func (e *RateBusyError) Unwrap() error { return e.BusyError }

// A sharedRate is the lease on the shared rate, which all imports of one process use together.
type sharedRate struct {
	mu    sync.Mutex
	users int
	lease *lease.Lease    // nil unless acquired
	held  context.Context // ends when the lease is lost
	stop  func()
}

// acquireRate acquires the lease on the shared rate if [config.Config.OneAtATime] is set, unless this process has it.
// held is for what uses the rate, see [importer.Importer.Hold]. The error is a [*RateBusyError] if another process has
// the lease.
//
// The concurrency limits of platforms are not enough: not every account has them, and they never cover two functions.
func (s *Scheduler) acquireRate(ctx context.Context) (held context.Context, release func(), err error) {
	if !s.Importer.Config.OneAtATime {
		return ctx, func() {}, nil
	}
	r := &s.rate
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lease == nil {
		folder := results.RateNames(s.Importer.Config.Prefix).Work()
		l, err := lease.Acquire(ctx, s.Importer.Bucket, folder, s.Importer.OwnerName(), s.Importer.IsDead)
		if busy, ok := errors.AsType[*lease.BusyError](err); ok {
			return nil, nil, &RateBusyError{busy}
		}
		if err != nil {
			return nil, nil, fmt.Errorf("acquire the shared rate: %w", err)
		}
		r.lease = l
		r.held, r.stop = s.Importer.Hold(context.WithoutCancel(ctx), l)
	}
	r.users++
	held, cancel := context.WithCancelCause(importer.Gated(ctx, r.lease))
	lost := r.held
	stop := context.AfterFunc(lost, func() { cancel(context.Cause(lost)) })
	until := importer.RunUntil(ctx)
	reserve := importer.FinalizeReserve(importer.Reserved(until))
	return held, func() {
		stop()
		cancel(nil)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.users--; r.users > 0 {
			return
		}
		r.stop()
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), until.Add(-reserve/2))
		defer cancel()
		if err := r.lease.Release(ctx); err != nil {
			s.log().WarnContext(ctx, "shared rate not released", "expires", r.lease.Until(), "err", err)
		}
		r.lease = nil
	}, nil
}
