package tim

import (
	"context"
	"sync"
	"time"

	"groupimport/pkg/backoff"
)

// A breaker notices that the service does not answer at all. After opensAt attempts in a row without a
// readable answer the calls wait, and one at a time tries again, later and later; the first answer lets
// all go on. Without it, an outage of a minute would use up the attempts of thousands of records, and
// leave thousands without a GroupId unknown.
type breaker struct {
	mu      sync.Mutex
	silent  int           // attempts in a row without an answer
	answers int64         // attempts with one
	probing bool          // one call tries while the breaker is open
	probes  int           // that stayed without an answer since it opened
	retryAt time.Time     // of the next probe
	changed chan struct{} // closed when waiting calls should look again, and then made anew
}

const (
	opensAt    = 10
	probesMost = 6 // after 0.5, 1, 2, 4, 8 and 10 s: half a minute and the time-outs
)

// The waits before probes, without jitter: one call waits.
var probeWaits = backoff.Exponential{Base: 500 * time.Millisecond, Max: 10 * time.Second}

func newBreaker() *breaker { return &breaker{changed: make(chan struct{})} }

// answered counts the attempts that got a readable answer, whatever it said.
func (b *breaker) answered() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.answers
}

// open reports whether only a probe makes sense.
func (b *breaker) open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.silent >= opensAt
}

// pass waits until an attempt makes sense. probe says that this one is to find out whether the service
// is back; it must end in answer, silence or abandoned. The error is ctx's cause, or stop's.
func (b *breaker) pass(ctx, stop context.Context) (probe bool, err error) {
	for ctx.Err() == nil {
		b.mu.Lock()
		if b.silent < opensAt {
			b.mu.Unlock()
			return false, nil
		}
		wait := time.Until(b.retryAt)
		if !b.probing && wait <= 0 {
			b.probing = true
			b.mu.Unlock()
			return true, nil
		}
		if b.probing {
			wait = time.Hour // changed comes first
		}
		changed := b.changed
		b.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		case <-stop.Done():
			timer.Stop()
			return false, context.Cause(stop)
		}
		timer.Stop()
	}
	return false, context.Cause(ctx)
}

// answer notes that an attempt got a readable answer.
func (b *breaker) answer() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers++
	if b.silent == 0 {
		return
	}
	b.silent, b.probing, b.probes = 0, false, 0
	b.wake()
}

// silence notes that an attempt got none. opened says that it was the one that opened the breaker, gone
// that the service is to be given up.
func (b *breaker) silence(probe bool) (opened, gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.silent++
	if probe && b.silent > opensAt { // or a late answer to another attempt has ended the outage it was for
		b.probing = false
		b.probes++
		b.retryAt = time.Now().Add(probeWaits.Limit(b.probes + 1))
		b.wake()
	} else if b.silent == opensAt {
		b.probes = 0
		b.retryAt = time.Now().Add(probeWaits.Limit(1))
		opened = true
	}
	return opened, b.probes >= probesMost
}

// abandoned gives the probe back unused.
func (b *breaker) abandoned() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	b.wake()
}

func (b *breaker) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// unreachable is the Stop for a service that answers nobody.
func unreachable(text string) *Stop {
	return &Stop{Reason: "the service does not answer: " + text + "; check TIM_ENDPOINT, TIM_REGION and the network"}
}
