// Package pacer is the rate limiter: it says when the next request may start.
//
// It keeps two rules at once. Permits are spaced evenly: a schedule hands out one each 1/rate seconds, saves up nothing
// while idle, and gives up time that was lost in a stall. And no second holds more than rate requests, counted by when
// they were sent and not by when they got their permit. Otherwise a request that waits for a TLS handshake, or whose
// process is stopped before its first byte, would arrive together with those of a second later.
//
// golang.org/x/time/rate does not serve, because it is a token bucket. With a burst of 1 a late timer is a lost token,
// so at 200 a second it stays some per cent below the rate. With a larger burst it lets that many go at once after
// every stall, on top of the second's own. And it does not know when a request was sent.
package pacer

import (
	"context"
	"math"
	"sync"
	"time"
)

const (
	// slack spreads the permits of one second over 1 s + slack, and costs 0.7 % of the rate. guard makes the window
	// that holds at most rate requests 1 s + guard long: requests may reach the service up to guard closer together
	// than they were sent. The difference of the two lets a late permit return to its schedule.
	slack = 7 * time.Millisecond
	guard = 6 * time.Millisecond

	// maxLag is how far the schedule may fall behind before the lost time is given up. It is longer than a timer or a
	// caller is late on a busy machine, and short enough that catching up is no burst: 2 permits at 200 a second.
	maxLag = 10 * time.Millisecond

	// After a throttled request no permit is given for throttlePause, so that a service that counts refused requests too
	// has forgotten the second that was too full. Then the rate is multiplied by decrease, and every increaseEvery
	// increase of the full rate is added again.
	throttlePause = time.Second
	decrease      = 0.5
	increaseEvery = time.Second
	increase      = 0.05
	minRate       = 1.0 // permits a second that a decrease leaves
)

// A Pacer hands out permits to send a request, spaced evenly, so that no second holds more requests than the service
// allows. It decreases the rate of all callers when a request was throttled. It may be used concurrently. Callers of
// [Pacer.Acquire] get their permits in the order in which they ask, and share them with each [Queue] in turn.
type Pacer struct {
	rate     float64       // requests a second
	interval time.Duration // between permits at the full rate
	window   time.Duration // in which at most cap(sent) requests are sent

	turns   turns         // whose permit is next
	own     Queue         // of callers without a Queue
	timer   *time.Timer   // of the caller whose turn it is
	changed chan struct{} // tells the caller whose turn it is that a request was sent

	mu          sync.Mutex
	next        time.Time   // when the schedule has the next permit
	sent        []time.Time // ring: when the latest requests were sent
	oldest      int         // index into sent
	unsent      int         // permits whose requests have not been sent yet
	full        bool        // the caller whose turn it is waits until one of these is sent
	share       float64     // of the full rate, at decreasedAt
	decreasedAt time.Time   // when share was last set
	decreases   int         // how often
}

// New returns a Pacer for rate requests a second, which must be positive. A second then holds at most rate requests,
// rounded up to a whole number.
func New(rate float64) *Pacer {
	n := int(math.Ceil(rate))
	period := time.Duration(float64(n) / rate * float64(time.Second)) // of n permits
	p := &Pacer{
		rate:     rate,
		interval: (period + slack) / time.Duration(n),
		window:   period + guard,
		sent:     make([]time.Time, n),
		changed:  make(chan struct{}, 1),
		share:    1,
	}
	p.own.p = p
	return p
}

// A Permit allows its owner to send one request.
type Permit struct {
	p    *Pacer
	once sync.Once
}

// Sent says that the request has been sent, or will not be. The owner must call it once the bytes are out: until then
// the request counts as one that may be sent at any moment. Further calls do nothing.
func (t *Permit) Sent() { t.once.Do(t.p.wasSent) }

func (p *Pacer) wasSent() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unsent--
	p.sent[p.oldest] = time.Now()
	p.oldest = (p.oldest + 1) % len(p.sent)
	if p.full {
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}
}

// Acquire waits for the next permit. The error is the cause of ctx or of stop, whichever ends first, and then no permit
// was taken.
func (p *Pacer) Acquire(ctx, stop context.Context) (*Permit, error) {
	return p.own.Acquire(ctx, stop)
}

// Queue returns a new Queue, without callers.
func (p *Pacer) Queue() *Queue { return &Queue{p: p} }

// Acquire is [Pacer.Acquire] for a caller in this queue.
func (q *Queue) Acquire(ctx, stop context.Context) (*Permit, error) {
	turn, err := q.Turn(ctx, stop)
	if err != nil {
		return nil, err
	}
	defer turn.Pass()
	return turn.Permit(ctx, stop)
}

// A Turn allows its owner to wait for a permit: no other caller gets one before Pass is called.
type Turn struct{ p *Pacer }

// Turn waits for the turn of a caller in this queue. The error is the cause of ctx or of stop, whichever ends first.
// Otherwise the caller must call Pass.
func (q *Queue) Turn(ctx, stop context.Context) (Turn, error) {
	return Turn{q.p}, q.p.turns.wait(ctx, stop, q)
}

// Pass ends the turn.
func (t Turn) Pass() { t.p.turns.pass() }

// Permit waits for the next permit, like [Pacer.Acquire].
func (t Turn) Permit(ctx, stop context.Context) (*Permit, error) {
	p := t.p
	for ctx.Err() == nil {
		wait, ok := p.take()
		if ok {
			return &Permit{p: p}, nil
		}
		if p.timer == nil {
			p.timer = time.NewTimer(wait)
		} else {
			p.timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
		case <-stop.Done():
			p.timer.Stop()
			return nil, context.Cause(stop)
		case <-p.timer.C:
		case <-p.changed:
		}
		p.timer.Stop()
	}
	return nil, context.Cause(ctx)
}

// take takes the next permit if it is due, or returns how long to wait before asking again.
func (p *Pacer) take() (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.next) > maxLag {
		p.next = now
	}
	at := p.next
	p.full = p.unsent >= len(p.sent)
	if p.full {
		return p.window, false // wasSent wakes the caller
	}
	// The requests of this permit and of the unsent ones may all be sent now. Together with the latest of sent they must
	// be no more than len(sent) within the window.
	if last := p.sent[(p.oldest+p.unsent)%len(p.sent)]; !last.IsZero() && at.Before(last.Add(p.window)) {
		at = last.Add(p.window)
	}
	if at.After(now) {
		return at.Sub(now), false
	}
	p.next = p.next.Add(time.Duration(float64(p.interval) / p.recovered(now)))
	p.unsent++
	return 0, true
}

// Ahead estimates how long a caller that asks now will wait for a permit with n others before it, at the rate that is
// allowed now.
func (p *Pacer) Ahead(n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	return max(0, p.next.Sub(now)) + time.Duration(float64(n)*float64(p.interval)/p.recovered(now))
}

// recovered returns the share of the full rate that is allowed now.
func (p *Pacer) recovered(now time.Time) float64 {
	if p.share >= 1 {
		return 1
	}
	steps := math.Floor(float64(now.Sub(p.decreasedAt)) / float64(increaseEvery))
	return min(1, p.share+steps*increase)
}

// Decrease halves the rate, because the service throttled a request. Requests that were in flight at the same time are
// throttled too, so that only the first call within a second counts.
func (p *Pacer) Decrease() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.decreases > 0 && now.Sub(p.decreasedAt) < throttlePause {
		return
	}
	p.share = min(1, max(p.recovered(now)*decrease, minRate/p.rate))
	p.decreasedAt = now
	p.decreases++
	if until := now.Add(throttlePause); p.next.Before(until) {
		p.next = until
	}
}

// Pause gives no permit within d from now. It does not take back earlier permits, and does not shorten a pause that
// ends later. Zero or less does nothing.
func (p *Pacer) Pause(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); d > 0 && p.next.Before(until) {
		p.next = until
	}
}

// AssumeFull gives no permit within the next window, which is 1 s and 6 ms at a rate of 1 or more. It is for a process
// that takes over from one that was killed: the killed process may have used up the current second, and nobody knows
// when in it, so that only an empty window keeps every second within the rate.
func (p *Pacer) AssumeFull() { p.Pause(p.window) }

// Decreases returns how often the rate was decreased.
func (p *Pacer) Decreases() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.decreases
}

// Rate returns how many requests a second are allowed now.
func (p *Pacer) Rate() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate * p.recovered(time.Now())
}
