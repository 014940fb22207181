// Package pacer says when the next attempt may start.
//
// It keeps two rules at once. Turns are spaced evenly: a schedule hands out one each 1/rate seconds,
// saves up nothing while idle, and lets go of the time that was lost in a stall. And no second holds
// more than rate attempts, counted by when they were really sent and not by when they were allowed to:
// an attempt that waits for a TLS handshake, or whose process is stopped between its turn and its
// first byte, would otherwise arrive together with those of a second later.
//
// golang.org/x/time/rate does not serve: it is a token bucket. With a burst of 1 a late timer is a lost
// token, so at 200 a second it stays some per cent below the rate; with more it lets that many go at
// once after every stall, on top of the second's own. And it knows nothing of when an attempt was sent.
package pacer

import (
	"context"
	"math"
	"sync"
	"time"
)

const (
	// slack is by how much R turns take longer than a second, and guard by how much longer than a
	// second the window is in which no more than R attempts are sent. What reaches the service is
	// spread by the network on the way, and by the service's own lateness; guard is how much of that
	// spread cannot break the limit. slack costs 0.7 % of the rate. The difference lets a turn that came
	// late get back into its schedule.
	slack = 7 * time.Millisecond
	guard = 6 * time.Millisecond

	// catchUp is how far a schedule may lag behind before the time is lost: longer than a caller takes
	// between two turns on a busy machine, shorter than anything that would be felt as a burst (2 turns at
	// 200/s). Time in which a caller waited, and was woken late or held back by attempts that were sent
	// late, is caught up to lateMost: those add up, because a turn that was late keeps the one of a second
	// later behind too.
	catchUp  = 10 * time.Millisecond
	lateMost = 25 * time.Millisecond

	// The first request on a connection finds everything cold, here and at the service, and arrives later than
	// others by up to cold: at 1,000 a second those of the first half second were seen 9 to 18 ms late.
	cold = 18 * time.Millisecond

	// So does, on any connection, the first one after a stall, of stalled or more; settle keeps those behind it
	// from arriving with it.
	stalled = 100 * time.Millisecond
	settle  = 25 * time.Millisecond

	// After a refusal nothing starts for pause, so that a service that counts refused calls too has
	// forgotten the second that was too full. Then the rate is halved, and each recoverEvery gets back
	// recoverStep of the full rate.
	pause        = time.Second
	slowFactor   = 0.5
	recoverEvery = time.Second
	recoverStep  = 0.05
	slowest      = 1.0 // attempts a second below which slowing down does not go
)

// A Pacer spaces attempts evenly, so that no second holds more of them than the service allows, and
// slows down for all when told that it was too fast. It may be used concurrently; turns are handed
// out in the order in which they were asked for.
type Pacer struct {
	rate     float64       // attempts a second
	interval time.Duration // between turns at the full rate
	window   time.Duration // in which at most cap(sent) attempts are sent

	head    chan struct{} // held by the one caller whose turn is next, and by nobody for longer than its wait
	timer   *time.Timer   // of whoever holds head
	changed chan struct{} // tells whoever holds head that an attempt was sent

	mu     sync.Mutex
	next   time.Time     // when the schedule has the next turn
	late   time.Duration // by how much it may lag behind beyond catchUp; what was caught up does not come back
	sent   []time.Time   // ring: when the latest attempts were sent
	oldest int           // index into sent
	unsent int           // turns that were given and whose attempts have not been sent yet
	full   bool          // whoever holds head waits until one of these is sent
	share  float64       // of the full rate, as of slowed
	slowed time.Time     // when share was last set
	slows  int           // how often
}

// New returns a Pacer for rate attempts a second, which must be positive. A second then holds at most
// rate attempts, rounded up to a whole number.
func New(rate float64) *Pacer {
	n := int(math.Ceil(rate))
	period := time.Duration(float64(n) / rate * float64(time.Second)) // of n turns
	return &Pacer{
		rate:     rate,
		interval: (period + slack) / time.Duration(n),
		window:   period + guard,
		head:     make(chan struct{}, 1),
		sent:     make([]time.Time, n),
		changed:  make(chan struct{}, 1),
		share:    1,
	}
}

// A Turn is the permission to start one attempt.
type Turn struct {
	p    *Pacer
	once sync.Once
}

// Sent says that the attempt has been sent, or will not be. It must be called once the bytes are out,
// because until then the turn counts as one that may be sent at any moment. More calls do nothing.
func (t *Turn) Sent() { t.once.Do(func() { t.p.wasSent(time.Now()) }) }

// SentCold is [Turn.Sent] for the first request on a connection, which arrives late.
func (t *Turn) SentCold() { t.once.Do(func() { t.p.wasSent(time.Now().Add(cold)) }) }

func (p *Pacer) wasSent(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unsent--
	p.sent[p.oldest] = at
	p.oldest = (p.oldest + 1) % len(p.sent)
	if p.full {
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}
}

// Wait takes the next turn and returns when it has come. The error is ctx's cause, or stop's, whichever ends
// first, and then no turn was taken.
func (p *Pacer) Wait(ctx, stop context.Context) (*Turn, error) {
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-stop.Done():
		return nil, context.Cause(stop)
	case p.head <- struct{}{}:
	}
	defer func() { <-p.head }()
	for waited := false; ctx.Err() == nil; waited = true {
		wait, ok := p.take(waited)
		if ok {
			return &Turn{p: p}, nil
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

// take takes a turn if it has come, or says how long to wait before asking again. waited says that the caller
// has done that.
func (p *Pacer) take(waited bool) (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	afterStall := !p.next.IsZero() && p.next.Before(now.Add(-stalled))
	lag := now.Sub(p.next)
	if waited {
		p.late = max(p.late, min(lag, lateMost))
	}
	if lag > max(catchUp, p.late) {
		p.next, lag = now, 0
	}
	p.late = min(p.late, max(lag, 0))
	at := p.next
	p.full = p.unsent >= len(p.sent)
	if p.full {
		return p.window, false // wasSent wakes the caller
	}
	// This turn and the unsent ones may all be sent now; with the latest of sent they must be no more
	// than len(sent) within the window.
	if last := p.sent[(p.oldest+p.unsent)%len(p.sent)]; !last.IsZero() && at.Before(last.Add(p.window)) {
		at = last.Add(p.window)
	}
	if at.After(now) {
		return at.Sub(now), false
	}
	p.next = p.next.Add(time.Duration(float64(p.interval) / p.recovered(now)))
	if afterStall {
		p.next = p.next.Add(settle)
	}
	p.unsent++
	return 0, true
}

// Ahead returns how long a caller who asks now will wait for a turn, with n others before it, at the rate
// that is allowed now. It is an estimate: the service may call for less in between.
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
	steps := math.Floor(float64(now.Sub(p.slowed)) / float64(recoverEvery))
	return min(1, p.share+steps*recoverStep)
}

// SlowDown says that the service called an attempt too fast. What was under way at the same time is
// refused too, so within the pause only the first call counts.
func (p *Pacer) SlowDown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.slows > 0 && now.Sub(p.slowed) < pause {
		return
	}
	p.share = min(1, max(p.recovered(now)*slowFactor, slowest/p.rate))
	p.slowed = now
	p.slows++
	if until := now.Add(pause); p.next.Before(until) {
		p.next = until
	}
}

// Pause lets no attempt start within d from now. Turns that were given before are not taken back. A pause
// that is in force and ends later stays. Zero or less does nothing.
func (p *Pacer) Pause(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); d > 0 && p.next.Before(until) {
		p.next = until
	}
}

// AssumeFull lets no attempt start within the next window, which is 1 s and 6 ms at a rate of 1 or more. It
// is for a process that takes over from one that was killed: the killed process may have used up the current
// second, and nobody knows when in it, so that only an empty window keeps every second within the rate.
func (p *Pacer) AssumeFull() { p.Pause(p.window) }

// Slowdowns returns how often the service made this Pacer slow down.
func (p *Pacer) Slowdowns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slows
}

// Rate returns the attempts a second that are allowed now.
func (p *Pacer) Rate() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate * p.recovered(time.Now())
}
