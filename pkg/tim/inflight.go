package tim

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// maxIdle is how long all connections may be idle before the client closes them instead of using them again. The
// service documents no keep-alive. The transport closes connections that the service has closed, and idle connections
// by a timer, but not while a function is frozen: the first request after a freeze would be lost.
const maxIdle = 5 * time.Second

// An inFlightLimit limits the attempts in flight. R attempts a second at a latency of L seconds need R × L in flight.
// The limit follows the longest recent latency times latencyFactor, plus extraSlots: when the service stops responding,
// few requests are in flight whose responses may be lost.
type inFlightLimit struct {
	rate float64
	max  int

	mu       sync.Mutex
	inFlight int
	limit    int
	peak     time.Duration // longest recent latency, reduced by 1 % with each response
	released chan struct{} // closed when a slot may be free; nil without waiters
}

const (
	startLatency  = 270 * time.Millisecond // assumed before the first response
	latencyFactor = 1.5
	extraSlots    = 16
	peakDecay     = 0.99

	// The service gives up on a request after 3 s (REST API FAQ), so that a full rate never needs more in flight for
	// long. 1,024 is the number of file descriptors that SCF allows a process.
	maxLatency  = 3 * time.Second
	maxInFlight = 900

	// A rate above maxBudget is no app's: it asks for as fast as possible. Then the latency is what the attempts in flight
	// cause, and would let more and more in. With unlimitedSlots a call costs 185 µs of CPU time, with 900 slots 590 µs,
	// and eight imports need 30 MB more, at the same rate (2 cores, responses after 50 to 70 ms).
	maxBudget      = 1000
	unlimitedSlots = 128
)

// newInFlightLimit returns a limit for attempts at rate a second, of at most maxSlots slots; zero means what the rate
// needs.
func newInFlightLimit(rate float64, maxSlots int) *inFlightLimit {
	switch {
	case maxSlots != 0:
	case rate > maxBudget:
		maxSlots = unlimitedSlots
	default:
		maxSlots = min(maxInFlight, int(rate*maxLatency.Seconds())+extraSlots)
	}
	l := &inFlightLimit{rate: rate, max: maxSlots, peak: startLatency}
	l.follow()
	return l
}

// follow sets the limit from the latency. The caller holds mu.
func (l *inFlightLimit) follow() {
	l.limit = min(l.max, int(l.rate*l.peak.Seconds()*latencyFactor)+extraSlots)
}

// acquire waits for a slot. The error is the cause of ctx or of done; then the caller has no slot.
func (l *inFlightLimit) acquire(ctx, done context.Context) error {
	for {
		l.mu.Lock()
		if l.inFlight < l.limit {
			l.inFlight++
			l.mu.Unlock()
			return nil
		}
		if l.released == nil {
			l.released = make(chan struct{})
		}
		released := l.released
		l.mu.Unlock()
		select {
		case <-released:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-done.Done():
			return context.Cause(done)
		}
	}
}

// release frees a slot. took is the latency of the attempt, zero without an attempt.
func (l *inFlightLimit) release(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight--
	if took > 0 {
		l.peak = max(took, time.Duration(float64(l.peak)*peakDecay))
		l.follow()
	}
	if l.released != nil {
		close(l.released)
		l.released = nil
	}
}

// maxHeader limits the header of a response in bytes, with all 1xx responses before it.
const maxHeader = 64 << 10

// newTransport returns a transport that keeps a connection alive for each attempt in flight. The default transport
// keeps two a host, and every further attempt would need a handshake. The transport speaks HTTP/1.1, one attempt a
// connection: a broken connection loses one response, over HTTP/2 it would lose all in flight.
func newTransport(inFlight int) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns = 0 // no limit except the next
	t.MaxIdleConnsPerHost = inFlight
	t.IdleConnTimeout = 30 * time.Second
	t.ReadBufferSize, t.WriteBufferSize = 4<<10, 4<<10
	t.DisableCompression = true // a compressed response is unreadable instead of growing in memory
	t.MaxResponseHeaderBytes = maxHeader
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = []string{"http/1.1"} // the clone still offers h2
	}
	return t
}

// dropStale closes the idle connections if the last attempt ended more than maxIdle ago.
func (c *Client) dropStale() {
	c.useMu.Lock()
	defer c.useMu.Unlock()
	now := time.Now().Round(0) // the wall clock, which also counts while a function is frozen
	if !c.lastUse.IsZero() && now.Sub(c.lastUse) > maxIdle {
		c.Close()
	}
	c.lastUse = now
}

// used records that an attempt has ended.
func (c *Client) used() {
	c.useMu.Lock()
	defer c.useMu.Unlock()
	c.lastUse = time.Now().Round(0)
}
