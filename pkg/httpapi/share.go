package httpapi

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/blob"
	"groupimport/pkg/config"
	"groupimport/pkg/results"
	"groupimport/pkg/tim"
)

const (
	// The shared rate has maxLanes lanes, or fewer if a lane would have less than one attempt a second. So many instances
	// can send at the same time.
	maxLanes = 5

	// laneSlack makes the period of a lane longer than its rate needs, so that no second holds one attempt more, also if
	// attempts are sent a little late.
	laneSlack = 1.05

	// An instance owns a lane for one window, which lasts minWindow, or windowPeriods attempts of a lane if that is
	// longer. Nothing is sent in the end of a window, for one period and clockSkew: so that the attempts of two owners
	// are a period apart although their clocks differ.
	minWindow     = 10 * time.Second
	windowPeriods = 10
	clockSkew     = 500 * time.Millisecond

	// A store that was given less than storeTime for a write, and did not respond, is not called down.
	storeTime = time.Second
)

// A sharedRate is one rate that the instances of a function share, which know nothing of each other. It consists of
// lanes. An instance creates an object in the bucket to own a lane until the current window of time ends, and each lane
// has one owner. So all instances together never exceed the rate, however many there are, and an instance that is alone
// gets all lanes but one. The last lane is left to an instance that has none. A lane has a whole number of attempts a
// second, unless the rate is below one.
//
// A lane costs a write each window. Instances must agree on the time within half a second. The methods are safe for
// concurrent use.
type sharedRate struct {
	bucket blob.Bucket
	prefix string
	lanes  int
	period time.Duration // between attempts in a lane
	window time.Duration

	turn    chan struct{} // held by the one caller that waits for a lane
	current int64         // number of the window that owned is about
	owned   []time.Time   // when each owned lane is free
	untried []int         // lanes that the instance has not tried to claim in the window, in random order
	mu      sync.Mutex
	retry   time.Time // when a lane may be free
}

// newSharedRate returns the share of an instance in the rate of c. It returns nil if [config.Config.OneAtATime] is not
// set: then the process has the rate alone.
func newSharedRate(c config.Config, bucket blob.Bucket) *sharedRate {
	if !c.OneAtATime {
		return nil
	}
	lanes := int(min(maxLanes, max(1, math.Floor(c.Rate))))
	each := min(c.Rate, max(1, math.Floor(c.Rate/float64(lanes)))) // attempts a second of a lane
	period := time.Duration(laneSlack / each * float64(time.Second))
	return &sharedRate{
		bucket: bucket, prefix: c.Prefix, lanes: lanes, period: period,
		window: max(minWindow, windowPeriods*period), turn: make(chan struct{}, 1),
	}
}

// apply makes a client wait for its lane before each attempt. It does nothing if s is nil.
func (s *sharedRate) apply(c *tim.Config) {
	if s != nil {
		c.Permit = s.acquire
	}
}

var (
	// errNoLane says that other instances use the whole rate for longer than the caller can wait.
	errNoLane = errors.New("other callers use the rate")

	// errNoShare is wrapped by an error of the store.
	errNoShare = errors.New("the bucket that shares the rate does not respond")
)

// reserve waits until the instance owns a lane. The error is errNoLane, or wraps errNoShare.
func (s *sharedRate) reserve(ctx context.Context) error {
	if s == nil {
		return nil
	}
	release, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	return s.own(ctx)
}

// acquire waits until the instance may send an attempt. The error is errNoLane or errNoShare.
func (s *sharedRate) acquire(ctx context.Context) error {
	release, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	for {
		if err := s.own(ctx); errors.Is(err, errNoShare) {
			return errNoShare // without the error of the store, which a response must not quote
		} else if err != nil {
			return err
		}
		next := 0
		for n, free := range s.owned {
			if free.Before(s.owned[next]) {
				next = n
			}
		}
		wait := time.Until(s.owned[next])
		if wait <= 0 {
			s.owned[next] = time.Now().Add(s.period)
			return nil
		}
		// Do not wait for an owned lane while another one may be free. First the instances without a lane claim one.
		begun := time.Since(s.next().Add(-s.window))
		if begun >= clockSkew && len(s.untried) > 0 && len(s.owned) < s.lanes-1 {
			_, _ = s.claim(ctx) // after an error there are still the owned lanes
			continue
		}
		if err := s.sleep(ctx, min(wait, time.Until(s.end()))); err != nil {
			return err
		}
	}
}

// lock makes callers of the instance wait one after another.
func (s *sharedRate) lock(ctx context.Context) (release func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, errNoLane
	}
}

// own returns once the instance owns a lane in a window that has not come to its silent end.
func (s *sharedRate) own(ctx context.Context) error {
	for {
		now := time.Now()
		if number := now.UnixNano() / int64(s.window); number != s.current {
			s.current, s.owned, s.untried = number, nil, mathrand.Perm(s.lanes)
		}
		end := s.end()
		switch {
		case !now.Before(end):
		case s.owned != nil:
			return nil
		default:
			for len(s.untried) > 0 {
				if isOurs, err := s.claim(ctx); err != nil || isOurs {
					return err
				}
			}
		}
		if err := s.sleep(ctx, time.Until(s.next())); err != nil {
			return err
		}
	}
}

// claim tries to claim the next untried lane in the current window. The error is errNoLane, or wraps errNoShare.
func (s *sharedRate) claim(ctx context.Context) (isOurs bool, err error) {
	lane := s.untried[0]
	s.untried = s.untried[1:]
	name := sha256.Sum256(fmt.Appendf(nil, "\nrate %d of %v, lane %d", s.current, s.window, lane))
	day := time.Unix(0, s.current*int64(s.window)).UTC().Format(results.DayFormat)
	key := results.ResponsesFolder(s.prefix) + day + "/" + hex.EncodeToString(name[:])
	begun := time.Now()
	err = s.bucket.Create(ctx, key, []byte(rand.Text()))
	switch {
	case errors.Is(err, fs.ErrExist):
		return false, nil
	case err != nil && ctx.Err() != nil && time.Since(begun) < storeTime:
		s.setRetry(s.next())
		return false, errNoLane
	case err != nil:
		return false, fmt.Errorf("%w: %w", errNoShare, err)
	}
	// The instance may have been stopped meanwhile: the callers look at the time again.
	s.owned = append(s.owned, time.Time{})
	return true, nil
}

// end returns when the silent end of the current window begins.
func (s *sharedRate) end() time.Time { return s.next().Add(-s.period - clockSkew) }

// next returns when the next window begins.
func (s *sharedRate) next() time.Time { return time.Unix(0, (s.current+1)*int64(s.window)) }

// sleep waits, unless ctx ends before.
func (s *sharedRate) sleep(ctx context.Context, wait time.Duration) error {
	at := time.Now().Add(wait)
	s.setRetry(at)
	if deadline, ok := ctx.Deadline(); ok && !at.Before(deadline) {
		return errNoLane
	}
	if backoff.Sleep(ctx, wait) != nil {
		return errNoLane
	}
	return nil
}

// setRetry sets when a lane may be free.
func (s *sharedRate) setRetry(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retry = at
}

// after returns how long to wait until a lane may be free.
func (s *sharedRate) after() time.Duration {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, time.Until(s.retry))
}
