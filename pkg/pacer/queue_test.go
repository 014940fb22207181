package pacer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/pacer"
)

// serve lets callers of a queue acquire permits one after another until ctx ends, and counts them.
func serve(ctx context.Context, q *pacer.Queue, callers int, count *int, mu *sync.Mutex, working *sync.WaitGroup) {
	for range callers {
		working.Go(func() {
			for {
				permit, err := q.Acquire(ctx, context.Background())
				if err != nil {
					return
				}
				permit.Sent()
				mu.Lock()
				*count++
				mu.Unlock()
			}
		})
	}
}

// A queue gets its share, however many callers wait in the others.
func TestQueue_SharesAreEqual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer.New(190)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		counts := make([]int, 8)
		var mu sync.Mutex
		var working sync.WaitGroup
		for i, callers := range []int{1, 1, 2, 3, 10, 100, 500, 1000} {
			serve(ctx, p.Queue(), callers, &counts[i], &mu, &working)
		}
		working.Wait()
		total := 0
		for i, n := range counts {
			total += n
			if n < 2351 || n > 2399 { // 19,000 permits, an eighth each, within 1 %
				t.Errorf("queue %d got %d permits of 19,000, want 2,375 within 1 %%", i, n)
			}
		}
		if total < 18_810 {
			t.Errorf("got %d permits, want 99 %% of 19,000", total)
		}
	})
}

// A queue whose callers come now and then waits for one round of the others, not for their lines.
func TestQueue_NewQueueDoesNotWaitForLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer.New(10)
		ctx, cancel := context.WithCancel(t.Context())
		var n int
		var mu sync.Mutex
		var working sync.WaitGroup
		serve(ctx, p.Queue(), 100, &n, &mu, &working)
		time.Sleep(10 * time.Second)
		start := time.Now()
		permit, err := p.Queue().Acquire(ctx, ctx)
		if err != nil {
			t.Fatal(err)
		}
		permit.Sent()
		if took := time.Since(start); took > 300*time.Millisecond {
			t.Errorf("got a permit after %v, want it after two others at most: 300ms", took)
		}
		cancel()
		working.Wait()
	})
}

// Callers that leave, before their turn or in it, take no turn from the others.
func TestQueue_CallersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer.New(10)
		errGone := errors.New("gone")
		q := p.Queue()
		var waiting sync.WaitGroup
		for i := range 50 {
			ctx, leave := context.WithCancelCause(t.Context())
			t.Cleanup(func() { leave(nil) })
			waiting.Go(func() {
				if permit, err := q.Acquire(ctx, t.Context()); err == nil {
					permit.Sent()
				} else if !errors.Is(err, errGone) {
					t.Errorf("got %v, want %v", err, errGone)
				}
			})
			if i%2 == 0 {
				time.AfterFunc(time.Duration(i)*50*time.Millisecond, func() { leave(errGone) })
			}
		}
		waiting.Wait()
		start := time.Now()
		permit, err := q.Acquire(t.Context(), t.Context())
		if err != nil {
			t.Fatal(err)
		}
		permit.Sent()
		if took := time.Since(start); took > 150*time.Millisecond {
			t.Errorf("got a permit after %v, want it after 100ms", took)
		}
	})
}
