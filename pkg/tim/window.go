package tim

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// maxIdle is for how long connections may have been idle, all of them, before they are closed and not used again. The
// service documents no keep-alive. The transport closes connections that the service has closed, and idle ones by a
// timer, but neither happens while a function is frozen: then the first request after it would be lost.
const maxIdle = 5 * time.Second

// A window bounds the attempts in flight. To keep up R a second at a latency of L seconds, R × L must be
// in flight: the bound follows the longest latency seen lately, half as much again and a few more. So
// when the service stops answering, what has been sent and may be lost is little.
type window struct {
	rate float64
	most int

	mu     sync.Mutex
	flying int
	limit  int
	peak   time.Duration // longest latency seen, forgotten by 1 % with each answer
	freed  chan struct{} // closed when a place may be free; nil if nobody waits for that
}

const (
	windowStart  = 270 * time.Millisecond // latency assumed before any was seen
	windowExtra  = 16
	windowFactor = 1.5
	peakFades    = 0.99

	// The service gives up on a request after 3 s, so at full rate no more can be in flight for long;
	// 1,024 is the number of descriptors that SCF allows a process.
	slowestAnswer = 3 * time.Second
	mostInFlight  = 900

	// The service allows 200 a second. Who asks for more is not at risk with it, and need not wait at the start
	// until the first answers show a latency of half a second.
	serviceRate = 200
	testStart   = 400 * time.Millisecond

	// A rate above fastRate is a test of speed against a server nearby, which answers as soon as processors let
	// it. There more in flight makes each answer later, which would let still more in: 900 connections over TLS
	// brought 10,000 a second down to 4,000.
	fastRate     = 1000
	fastInFlight = 128
)

func maxInFlight(rate float64) int {
	if rate > fastRate {
		return fastInFlight
	}
	return min(mostInFlight, int(rate*slowestAnswer.Seconds())+windowExtra)
}

func newWindow(rate float64, most int) *window {
	w := &window{rate: rate, most: most, peak: windowStart}
	if rate > serviceRate {
		w.peak = testStart
	}
	w.follow()
	return w
}

// follow sets the limit from the latency. mu is held.
func (w *window) follow() {
	w.limit = min(w.most, int(w.rate*w.peak.Seconds()*windowFactor)+windowExtra)
}

// enter waits for a place. The error is ctx's cause, or stop's, and then it has none.
func (w *window) enter(ctx, stop context.Context) error {
	for {
		w.mu.Lock()
		if w.flying < w.limit {
			w.flying++
			w.mu.Unlock()
			return nil
		}
		if w.freed == nil {
			w.freed = make(chan struct{})
		}
		freed := w.freed
		w.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-stop.Done():
			return context.Cause(stop)
		}
	}
}

// leave gives the place back. took is the attempt's latency, zero if there was no attempt.
func (w *window) leave(took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying--
	if took > 0 {
		w.peak = max(took, time.Duration(float64(w.peak)*peakFades))
		w.follow()
	}
	if w.freed != nil {
		close(w.freed)
		w.freed = nil
	}
}

// newTransport returns one that keeps a connection alive for each of the attempts in flight; the
// default keeps two a host, and each further attempt would pay for a handshake. It speaks HTTP/1.1: with
// one attempt a connection a broken one costs one answer, and over HTTP/2 all that are in flight.
func newTransport(inFlight int) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns = 0 // no limit but the next
	t.MaxIdleConnsPerHost = inFlight
	t.IdleConnTimeout = 30 * time.Second
	t.ReadBufferSize, t.WriteBufferSize = 4<<10, 4<<10
	t.DisableCompression = true
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = []string{"http/1.1"} // a clone offers h2 all the same, and a server takes it at its word
	}
	return t
}

// dropStale closes the idle connections if there was no attempt for longer than maxIdle.
func (c *Client) dropStale() {
	c.useMu.Lock()
	defer c.useMu.Unlock()
	now := time.Now().Round(0) // the wall clock, which also counts while a function is frozen
	if !c.lastUse.IsZero() && now.Sub(c.lastUse) > maxIdle {
		c.Close()
	}
	c.lastUse = now
}

// used notes that an attempt has ended.
func (c *Client) used() {
	c.useMu.Lock()
	defer c.useMu.Unlock()
	c.lastUse = time.Now().Round(0)
}
