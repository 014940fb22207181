package scheduler

import (
	"context"
	"errors"
	"fmt"

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

// acquireRate acquires the lease on the shared rate if [config.Config.OneAtATime] is set. held is for what uses the
// rate, see [importer.Importer.Hold]. The error is a [*RateBusyError] if another process has the lease. Acquiring it
// again before release does nothing.
//
// The concurrency limits of platforms are not enough: not every account has them, and they never cover two functions.
func (s *Scheduler) acquireRate(ctx context.Context) (held context.Context, release func(), err error) {
	if !s.Importer.Config.OneAtATime || s.rate != nil {
		return ctx, func() {}, nil
	}
	until := importer.RunUntil(ctx)
	reserve := importer.FinalizeReserve(importer.Reserved(until))
	folder := results.RateNames(s.Importer.Config.Prefix).Work()
	s.rate, err = lease.Acquire(ctx, s.Importer.Bucket, folder, s.Importer.OwnerName(), s.Importer.IsDead)
	if busy, ok := errors.AsType[*lease.BusyError](err); ok {
		return nil, nil, &RateBusyError{busy}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("acquire the shared rate: %w", err)
	}
	held, stop := s.Importer.Hold(ctx, s.rate)
	return held, func() {
		stop()
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), until.Add(-reserve/2))
		defer cancel()
		if err := s.rate.Release(ctx); err != nil {
			s.log().WarnContext(ctx, "shared rate not released", "expires", s.rate.Until(), "err", err)
		}
		s.rate = nil
	}, nil
}
