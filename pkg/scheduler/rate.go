package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"groupimport/pkg/importer"
	"groupimport/pkg/lease"
	"groupimport/pkg/results"
)

// A RateBusyError says that another process uses the rate that all runs share, see [config.Config.OneAtATime].
type RateBusyError struct {
	*lease.BusyError
}

func (e *RateBusyError) Error() string {
	return fmt.Sprintf("%s uses the rate that all runs share, until %s at the latest", e.Owner, e.Until.UTC().Format(time.RFC3339))
}

// Unwrap tells that it is a [*lease.BusyError].
func (e *RateBusyError) Unwrap() error { return e.BusyError }

// holdRate takes the rate that all runs share, if they do, or returns a [*RateBusyError]. It is held until
// release is called; within, it may be taken again, which does nothing. Platforms limit how many instances
// of a function run at once, but not in every account, and never over two functions.
func (s *Scheduler) holdRate(ctx context.Context) (release func(), err error) {
	if !s.Importer.Config.OneAtATime || s.rate != nil {
		return func() {}, nil
	}
	until := importer.RunUntil(ctx)
	moment := importer.LastMoment(importer.Reserved(until))
	s.rate, err = lease.Acquire(ctx, s.Importer.Bucket, results.RateNames(s.Importer.Config.Prefix).Work(), s.Importer.OwnerName(), until.Add(importer.LeaseMargin), s.Importer.IsDead)
	if busy, ok := errors.AsType[*lease.BusyError](err); ok {
		return nil, &RateBusyError{busy}
	}
	if err != nil {
		return nil, fmt.Errorf("take the rate that all runs share: %w", err)
	}
	s.Importer.TookOver(s.rate)
	return func() {
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), until.Add(-moment/2))
		defer cancel()
		if err := s.rate.Release(ctx); err != nil {
			s.log().WarnContext(ctx, "the rate that all runs share stays taken for a while", "until", s.rate.Until, "err", err)
		}
		s.rate = nil
	}, nil
}
