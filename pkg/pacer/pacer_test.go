package pacer_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/pacer"
)

// take takes n permits, sends each request at once, and returns when.
func take(t *testing.T, p *pacer.Pacer, n int) []time.Time {
	t.Helper()
	times := make([]time.Time, n)
	for i := range times {
		permit, err := p.Acquire(t.Context(), t.Context())
		if err != nil {
			t.Fatal(err)
		}
		times[i] = time.Now()
		permit.Sent()
	}
	return times
}

// busiest returns the maximum number of times in any second [t, t+1s).
func busiest(times []time.Time) int {
	maxCount, from := 0, 0
	for to, at := range times {
		for at.Sub(times[from]) >= time.Second {
			from++
		}
		maxCount = max(maxCount, to-from+1)
	}
	return maxCount
}

func TestPacer_EvenSpacing(t *testing.T) {
	for _, rate := range []float64{0.1, 1, 2.5, 50, 190, 200, 1000} {
		synctest.Test(t, func(t *testing.T) {
			n := max(int(rate*10), 3)
			p := pacer.New(rate)
			take(t, p, 1) // the window is empty
			times := take(t, p, n+1)
			for i := 2; i < len(times); i++ {
				if got, want := times[i].Sub(times[i-1]), times[1].Sub(times[0]); got != want {
					t.Fatalf("rate %v, permit %d: got %v after the one before, want %v", rate, i, got, want)
				}
			}
			if got := float64(n) / times[n].Sub(times[0]).Seconds(); got > rate || got < 0.99*rate {
				t.Errorf("got %v a second, want 0.99 to 1 times %v", got, rate)
			}
		})
	}
}

func TestPacer_NoBurstAfterIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer.New(200)
		take(t, p, 100)
		time.Sleep(time.Hour)
		times := take(t, p, 400)
		if got := busiest(times); got > 200 {
			t.Errorf("got %d in the busiest second, want 200 at most", got)
		}
		if got, want := times[1].Sub(times[0]), 5*time.Millisecond; got < want {
			t.Errorf("got %v between the first two, want %v at least", got, want)
		}
	})
}

// Requests count by when they are sent. A new connection, a process that is stopped or a response that blocks delays
// some of them.
func TestPacer_LateRequestsNeverExceedRate(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			p := pacer.New(100)
			var mu sync.Mutex
			var sent []time.Time
			var sending sync.WaitGroup
			for i := range 1000 {
				permit, err := p.Acquire(t.Context(), t.Context())
				if err != nil {
					t.Fatal(err)
				}
				delay := time.Duration(r.ExpFloat64() * float64(2*time.Millisecond))
				if i < 50 || r.IntN(100) == 0 {
					delay += time.Duration(r.IntN(400)) * time.Millisecond // a new connection
				}
				if r.IntN(300) == 0 {
					time.Sleep(2 * time.Second) // the caller was stopped
				}
				sending.Go(func() {
					time.Sleep(delay)
					mu.Lock()
					sent = append(sent, time.Now())
					mu.Unlock()
					permit.Sent()
				})
			}
			sending.Wait()
			if got := busiest(sent); got > 100 {
				t.Errorf("seed %d: got %d in the busiest second, want 100 at most", seed, got)
			}
		})
	}
}

func TestPacer_NoBurstAfterStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer.New(200)
		before := take(t, p, 100)
		time.Sleep(2 * time.Second)
		after := take(t, p, 200)
		if got := busiest(append(before, after...)); got > 200 {
			t.Errorf("got %d in the busiest second, want 200 at most", got)
		}
		if got := after[199].Sub(after[0]); got < 995*time.Millisecond {
			t.Errorf("got 200 permits in %v, want no burst", got)
		}
	})
}

func TestPacer_SmallDelaysCostNoRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer.New(200)
		r := rand.New(rand.NewPCG(1, 2))
		start := time.Now()
		for range 2000 {
			permit, err := p.Acquire(t.Context(), t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(r.IntN(1000)) * time.Microsecond) // a timer or a scheduler that is late
			permit.Sent()
		}
		if got := 2000 / time.Since(start).Seconds(); got < 198 {
			t.Errorf("got %v a second, want 198 at least", got)
		}
	})
}

func TestPacerAcquire_WaitsForUnsentRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer.New(2)
		first, _ := p.Acquire(t.Context(), t.Context())
		second, _ := p.Acquire(t.Context(), t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := p.Acquire(ctx, t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v while two of two were unsent, want %v", err, context.DeadlineExceeded)
		}
		first.Sent()
		first.Sent() // does nothing
		sentAt := time.Now()
		second.Sent()
		take(t, p, 1)
		if got := time.Since(sentAt); got < time.Second {
			t.Errorf("got the third %v after the first, want a second at least", got)
		}
	})
}

func TestPacerAcquire_Order(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer.New(100)
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				permit, err := p.Acquire(t.Context(), t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				permit.Sent()
			})
			synctest.Wait()
		}
		wg.Wait()
		for i, got := range order {
			if got != i {
				t.Fatalf("got %v, want the order in which they asked", order)
			}
		}
	})
}

func TestPacerAcquire_CanceledTakesNoPermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer.New(1)
		take(t, p, 1)
		cause := errors.New("time is up")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, cause)
		defer cancel()
		start := time.Now()
		if _, err := p.Acquire(ctx, t.Context()); !errors.Is(err, cause) {
			t.Errorf("got %v, want %v", err, cause)
		}
		if got := time.Since(start); got != 100*time.Millisecond {
			t.Errorf("got an error after %v, want 100ms", got)
		}
		take(t, p, 1)
		if got := time.Since(start); got > 1100*time.Millisecond {
			t.Errorf("got the next permit after %v, want it as if nobody had waited", got)
		}
	})
}

func TestPacerDecrease_PauseAndRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer.New(100)
		take(t, p, 10)
		p.Decrease()
		for range 20 {
			p.Decrease() // requests in flight are throttled too
		}
		start := time.Now()
		first := take(t, p, 1)[0]
		if got := first.Sub(start); got != time.Second {
			t.Errorf("got a permit after %v, want a pause of 1s", got)
		}
		if got := p.Rate(); got < 50 || got > 56 {
			t.Errorf("got rate %v, want about half", got)
		}
		if got := p.Decreases(); got != 1 {
			t.Errorf("got %d decreases, want 1", got)
		}
		time.Sleep(11 * time.Second)
		if got := p.Rate(); got != 100 {
			t.Errorf("got rate %v after 12s, want 100", got)
		}
	})
}

func TestPacerDecrease_MinRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, rate := range []float64{0.5, 200} {
			p := pacer.New(rate)
			for range 100 {
				p.Decrease()
				time.Sleep(time.Second)
			}
			if got, want := p.Rate(), min(rate, 1.0); got < want {
				t.Errorf("got %v, want %v at least", got, want)
			}
		}
	})
}

func TestPacerAhead_Estimate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer.New(10)
		if got := p.Ahead(0); got != 0 {
			t.Errorf("got %v before the first permit, want none", got)
		}
		take(t, p, 1)
		for _, slow := range []bool{false, true} {
			if slow {
				p.Decrease()
			}
			const others = 5
			want := p.Ahead(others)
			start := time.Now()
			take(t, p, others+1)
			if got := time.Since(start); got < want*8/10 || got > want*11/10+50*time.Millisecond {
				t.Errorf("got a permit behind %d others after %v, want it after %v", others, got, want)
			}
		}
	})
}

// A request that is sent late, as on a new connection, delays the permit of a second later.
func TestPacer_RecoversFromLateRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer.New(200)
		start := time.Now()
		for n := range 6001 {
			permit, err := p.Acquire(t.Context(), t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n < 100 {
				time.AfterFunc(18*time.Millisecond, permit.Sent)
			} else {
				permit.Sent()
			}
		}
		// The schedule recovers the 18 ms within 30 s.
		if got := 6000 / time.Since(start).Seconds(); got < 0.992*200 {
			t.Errorf("got %v a second, want %v at least", got, 0.992*200)
		}
	})
}

func TestPacerAssumeFull_AfterKilledProcess(t *testing.T) {
	for _, test := range []struct {
		name   string
		rate   float64
		spread time.Duration // before its end, in which the killed process sent as many requests as a second may hold
	}{
		{"evenly within the second", 200, 995 * time.Millisecond},
		{"all at the moment of its end", 200, 0},
		{"in the last tenth of the second", 190, 100 * time.Millisecond},
		{"a rate that is not whole", 2.5, 500 * time.Millisecond},
		{"a rate above the service's", 800, 500 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := int(math.Ceil(test.rate))
				var times []time.Time
				for i := range n {
					times = append(times, time.Now().Add(-test.spread*time.Duration(n-1-i)/time.Duration(n)))
				}
				p := pacer.New(test.rate)
				p.AssumeFull()
				start := time.Now()
				times = append(times, take(t, p, 2*n)...)
				if got := busiest(times); got > n {
					t.Errorf("got %d in the busiest second, want %d at most", got, n)
				}
				window := time.Duration(float64(n) / test.rate * float64(time.Second))
				if got := times[n].Sub(start); got > window+10*time.Millisecond {
					t.Errorf("got the first permit after %v, want about %v", got, window)
				}
			})
		})
	}
}

func TestPacerPause_Durations(t *testing.T) {
	for _, test := range []struct {
		name   string
		pauses []time.Duration
		want   time.Duration
	}{
		{"one", []time.Duration{3 * time.Second}, 3 * time.Second},
		{"a shorter one does not end a longer one", []time.Duration{3 * time.Second, time.Second}, 3 * time.Second},
		{"a longer one extends a shorter one", []time.Duration{time.Second, 3 * time.Second}, 3 * time.Second},
		{"none at all", []time.Duration{0, -time.Second}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pacer.New(100)
				take(t, p, 50)
				time.Sleep(time.Minute)
				start := time.Now()
				for _, d := range test.pauses {
					p.Pause(d)
				}
				if got := p.Ahead(0); got != test.want {
					t.Errorf("got %v ahead, want %v", got, test.want)
				}
				times := take(t, p, 100)
				if got := times[0].Sub(start); got != test.want {
					t.Errorf("got the first after %v, want %v", got, test.want)
				}
				if got := times[99].Sub(times[0]); got < 990*time.Millisecond {
					t.Errorf("got 100 permits in %v after the pause, want no burst", got)
				}
			})
		})
	}
}

func TestPacerPause_WaitingCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer.New(1)
		take(t, p, 1)
		start := time.Now()
		var waiting sync.WaitGroup
		waiting.Go(func() { take(t, p, 1) })
		synctest.Wait()
		p.Pause(10 * time.Second)
		waiting.Wait()
		if got := time.Since(start); got != 10*time.Second {
			t.Errorf("got a permit after %v, want 10s", got)
		}
	})
}
