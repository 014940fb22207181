package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/httpapi"
)

// instance returns an instance of the function, which handles one request at a time.
func (w *world) instance() *caller {
	w.t.Helper()
	h, err := httpapi.New(httpapi.Config{Config: w.config, Bucket: w.store, Transport: w.service})
	if err != nil {
		w.t.Fatal(err)
	}
	return &caller{w.t, direct.open(w.t, h)}
}

// call calls the instance until the end, one request after another, and returns how often each status came.
func call(t *testing.T, c *caller, name string, end time.Time) map[int]int {
	t.Helper()
	statuses := map[int]int{}
	for n := 0; time.Now().Before(end); n++ {
		body := fmt.Sprintf(`{"Type":"Public","Name":"n","GroupId":"%s-%d"}`, name, n)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		r, err := c.try(ctx, "POST", "/groups", headers(), body)
		cancel()
		if err != nil {
			t.Error(err)
			return statuses
		}
		statuses[r.status]++
		if r.status == http.StatusTooManyRequests {
			time.Sleep(time.Duration(after(t, r)) * time.Second)
		}
	}
	return statuses
}

func TestShare_Instances(t *testing.T) {
	for _, row := range []struct {
		instances int
		latency   time.Duration // of the bucket
		rate      float64
		each, all int // groups in a minute, at least: of each instance, and of all together
	}{
		{1, 30 * time.Millisecond, 10, 380, 380},
		{1, 600 * time.Millisecond, 10, 250, 250}, // COS, whose Create waits half a second
		{2, 30 * time.Millisecond, 10, 90, 400},
		{5, 30 * time.Millisecond, 10, 50, 450},
		{12, 30 * time.Millisecond, 10, 0, 450},
		{3, 30 * time.Millisecond, 0.5, 0, 20},
		{3, 30 * time.Millisecond, 2.5, 0, 80},
	} {
		t.Run(fmt.Sprintf("%d instances at %v, %v", row.instances, row.rate, row.latency), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.config.Rate, w.config.OneAtATime = row.rate, true
				w.store.Fail = func(blobtest.Op) blobtest.Fault { return blobtest.Fault{Delay: row.latency} }
				end := time.Now().Add(time.Minute)
				var wg sync.WaitGroup
				for n := range row.instances {
					c := w.instance()
					wg.Go(func() {
						time.Sleep(time.Duration(n) * 1300 * time.Millisecond)
						statuses := call(t, c, fmt.Sprint(n), end)
						t.Logf("instance %d: %v", n, statuses)
						if got := statuses[201]; got < row.each {
							t.Errorf("got %v from instance %d, want at least %d groups", statuses, n, row.each)
						}
						if len(statuses) > 2 || len(statuses) == 2 && statuses[429] == 0 {
							t.Errorf("got %v, want 201 and 429 only", statuses)
						}
					})
				}
				wg.Wait()
				got := w.service.Stats()
				if got.Created < row.all {
					t.Errorf("got %d groups in a minute, want at least %d", got.Created, row.all)
				}
				if float64(got.BusiestSecond) > max(1, row.rate) {
					t.Errorf("got %d calls in the busiest second, want at most %v", got.BusiestSecond, row.rate)
				}
			})
		})
	}
}

func TestShare_NewcomerBesideABusyInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.config.Rate, w.config.OneAtATime = 10, true
		busy, newcomer := w.instance(), w.instance()
		end := time.Now().Add(30 * time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { call(t, busy, "busy", end) })
		time.Sleep(3 * time.Second)
		start := time.Now()
		if r := newcomer.post(one); r.status != 201 {
			t.Errorf("got %d: %s", r.status, r.body)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("got the response after %v, want a lane left to a newcomer", took)
		}
		wg.Wait()
	})
}

// A request that waited for a lane, and whose time is up while it claims one, is not the fault of the store.
func TestShare_TimeUpDuringClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.config.Rate, w.config.OneAtATime = 1, true
		w.store.Fail = func(blobtest.Op) blobtest.Fault { return blobtest.Fault{Delay: 700 * time.Millisecond} }
		busy, other := w.instance(), w.instance()
		end := time.Now().Add(time.Minute)
		var wg sync.WaitGroup
		wg.Go(func() { call(t, busy, "busy", end) })
		time.Sleep(3 * time.Second)
		for wait := 4 * time.Second; wait < 20*time.Second; wait += 200 * time.Millisecond {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			body := fmt.Sprintf(`{"Type":"Public","Name":"n","GroupId":"other-%v"}`, wait.Milliseconds())
			r, err := other.try(ctx, "POST", "/groups", headers(), body)
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			if r.status != 201 && r.status != 429 {
				t.Errorf("%v: got %d %s, want a 201 or a 429", wait, r.status, r.body)
			}
		}
		wg.Wait()
	})
}

func TestShare_StoreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.config.Rate, w.config.OneAtATime = 10, true
		w.store.Fail = func(blobtest.Op) blobtest.Fault { return blobtest.Fault{Err: errors.New("a secret")} }
		r := w.instance().post(one)
		if r.status != 503 || strings.Contains(r.body, "a secret") || r.member("retry") != "safe" {
			t.Errorf("got %d %s, want a 503 without the error of the store", r.status, r.body)
		}
		after(t, r)
		if got := w.service.Stats().Requests; got != 0 {
			t.Errorf("got %d requests to the service, want none", got)
		}
	})
}
