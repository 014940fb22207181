package tim

import (
	"context"
	"sync"
	"time"

	"groupimport/pkg/backoff"
)

// A breaker is a circuit breaker. After maxFailures attempts in a row without a readable response, calls wait, and one
// probe at a time is sent, with exponential backoff. The first response closes the breaker. Without it, an outage of a
// minute would use up the attempts of thousands of records, and leave thousands without a GroupId unknown.
type breaker struct {
	mu        sync.Mutex
	failures  int           // attempts in a row without a response
	successes int64         // attempts with a response
	probing   bool          // a probe is in flight
	probes    int           // without a response since the breaker opened
	retryAt   time.Time     // of the next probe
	changed   chan struct{} // closed and replaced to wake waiting calls
}

const (
	maxFailures = 10
	maxProbes   = 6 // after 0.5, 1, 2, 4, 8 and 10 s: half a minute and the time-outs
)

// The waits before probes, without jitter: only one call waits.
var probeWaits = backoff.Exponential{Base: 500 * time.Millisecond, Max: 10 * time.Second}

func newBreaker() *breaker { return &breaker{changed: make(chan struct{})} }

// responses returns the number of attempts with a readable response, also of an error.
func (b *breaker) responses() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.successes
}

// isOpen reports whether the breaker allows nothing but a probe.
func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures >= maxFailures
}

// allow waits until the breaker allows an attempt. probe is true if the attempt is a probe, which must end in
// recordSuccess, recordFailure or cancelProbe. The error is the cause of ctx or of done.
func (b *breaker) allow(ctx, done context.Context) (probe bool, err error) {
	for ctx.Err() == nil {
		b.mu.Lock()
		if b.failures < maxFailures {
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
		case <-done.Done():
			timer.Stop()
			return false, context.Cause(done)
		}
		timer.Stop()
	}
	return false, context.Cause(ctx)
}

// recordSuccess records an attempt with a readable response.
func (b *breaker) recordSuccess() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.successes++
	if b.failures == 0 {
		return
	}
	b.failures, b.probing, b.probes = 0, false, 0
	b.wake()
}

// recordFailure records an attempt without a readable response. opened is true if this failure opened the breaker,
// exhausted if the client should give up.
func (b *breaker) recordFailure(probe bool) (opened, exhausted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	if probe && b.failures > maxFailures { // otherwise a late response to another attempt closed the breaker
		b.probing = false
		b.probes++
		b.retryAt = time.Now().Add(probeWaits.Limit(b.probes + 1))
		b.wake()
	} else if b.failures == maxFailures {
		b.probes = 0
		b.retryAt = time.Now().Add(probeWaits.Limit(1))
		opened = true
	}
	return opened, b.probes >= maxProbes
}

// cancelProbe ends a probe that was not sent.
func (b *breaker) cancelProbe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	b.wake()
}

func (b *breaker) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// unreachable returns the fatal error for a service that does not respond.
func unreachable(text string) *FatalError {
	return &FatalError{
		Reason: "the service does not respond: " + text + "; check TIM_ENDPOINT, TIM_REGION and the network",
	}
}
