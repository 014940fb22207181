package tim_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/pacer"
	"groupimport/pkg/tim"
)

func TestThrottled_ForAnHour(t *testing.T) {
	for _, code := range []emulator.Fault{60007, 60011, 60018, 60019, 429} {
		t.Run(fmt.Sprint(int(code)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				until := time.Now().Add(time.Hour)
				if code >= 10000 {
					s.Faults.Plan = func(emulator.Request) emulator.Fault {
						if time.Now().Before(until) {
							return code
						}
						return emulator.None
					}
				}
				p := pacer.New(testRate)
				c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
					if code == 429 && time.Now().Before(until) {
						return respond(429, "throttled"), nil
					}
					return s.RoundTrip(r)
				}), func(cfg *tim.Config) { cfg.Pacer = p })
				calls := make([]*tim.Call, 0, 20)
				for _, rec := range append(records(10, true), records(10, false)...) {
					calls = append(calls, c.ImportGroup(t.Context(), rec))
				}
				time.Sleep(10 * time.Minute)
				if got := p.Rate(); got > testRate/2 {
					t.Errorf("got a rate of %v after ten minutes, want at most half of it", got)
				}
				for i, call := range calls {
					if got := call.Wait(); got.End != tim.Imported || got.Attempts != 1 {
						t.Errorf("record %d: got %s %q", i, short(got), got.Message)
					}
				}
				if got := c.Attempts(); got > 3700 {
					t.Errorf("got %d requests, want at most one a second", got)
				}
			})
		})
	}
}

func TestThrottled_DailyQuota(t *testing.T) {
	for _, test := range []struct {
		name  string
		plan  func(since time.Duration, r emulator.Request) emulator.Fault
		fatal bool
	}{
		{"for less than five minutes", func(since time.Duration, _ emulator.Request) emulator.Fault {
			if since < 290*time.Second {
				return 10006
			}
			return emulator.None
		}, false},
		{"forever", func(time.Duration, emulator.Request) emulator.Fault { return 10006 }, true},
		{"forever, while look-ups are accepted", func(_ time.Duration, r emulator.Request) emulator.Fault {
			switch {
			case r.Command == "get_group_info":
				return emulator.None
			case r.GroupID == "g0":
				return 10021
			}
			return 10006
		}, true},
		{"of look-ups for ten minutes", func(since time.Duration, r emulator.Request) emulator.Fault {
			switch {
			case r.Command == "import_group":
				return 10021
			case since < 10*time.Minute:
				return 10006
			}
			return emulator.None
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				start := time.Now()
				s.Faults.Plan = func(r emulator.Request) emulator.Fault { return test.plan(time.Since(start), r) }
				c := newClient(t, s)
				done := make(chan struct{})
				go func() { // imports an existing group all the time, like an import that is repeated
					defer close(done)
					for c.Fatal() == nil && time.Since(start) < 11*time.Minute {
						c.ImportGroup(t.Context(), record("g0", "n")).Wait()
						time.Sleep(time.Second)
					}
				}()
				results := importAll(t.Context(), c, records(10, true))
				<-done
				err := c.Fatal()
				if (err != nil) != test.fatal {
					t.Errorf("got fatal error %v, want one: %v", err, test.fatal)
				}
				if !test.fatal {
					return
				}
				if !strings.Contains(err.Reason, "quota") || err.Code != 10006 || time.Since(start) > 6*time.Minute {
					t.Errorf("got fatal error %+v after %v", err, time.Since(start))
				}
				for i, r := range results[1:] {
					if r.End != tim.Incomplete {
						t.Errorf("record %d: got %s", i+1, short(r))
					}
				}
			})
		})
	}
}

func TestQuota_FrequencyCodesFarApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Faults = imports(10006)
		c := newClient(t, s)
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			c.ImportGroup(ctx, record("g", "n")).Wait()
			cancel()
			time.Sleep(time.Hour)
		}
		if c.Fatal() != nil {
			t.Errorf("got fatal error %v", c.Fatal())
		}
	})
}

func TestStopEndsEveryWaitAtOnce(t *testing.T) {
	for _, r := range []float64{0.1, testRate} {
		t.Run(fmt.Sprint("rate ", r), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				stopAt := time.Now().Add(time.Minute)
				s.Faults.Plan = func(emulator.Request) emulator.Fault {
					if time.Now().Before(stopAt) {
						return 60007
					}
					return 60010
				}
				c := newClient(t, s, rate(r))
				var calls sync.WaitGroup
				var mu sync.Mutex
				var ends []time.Time
				for _, rec := range records(100, true) {
					calls.Go(func() {
						got := c.ImportGroup(t.Context(), rec).Wait()
						mu.Lock()
						defer mu.Unlock()
						ends = append(ends, time.Now())
						if got.End != tim.Incomplete {
							t.Errorf("got %s", short(got))
						}
					})
				}
				calls.Wait()
				slices.SortFunc(ends, time.Time.Compare)
				if got := ends[len(ends)-1].Sub(ends[0]); got > s.Latency {
					t.Errorf("got %v between the first and the last end, want at most %v", got, s.Latency)
				}
			})
		})
	}
}

func TestRate_BusiestSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Limit, s.Latency, s.Jitter = 50, 20*time.Millisecond, 200*time.Millisecond
		s.Faults = emulator.Faults{
			Seed: 7, DropBefore: 0.05, DropAfter: 0.05, Hang: 0.005, HangAfter: 0.005, BadGateway: 0.05, InternalAfter: 0.05,
			GarbageAfter: 0.05,
		}
		c := newClient(t, s, rate(50))
		results := importAll(t.Context(), c, records(3000, true))
		st := s.Stats()
		if st.Throttled != 0 || st.BusiestSecond > 50 {
			t.Errorf("got %d throttled, %d in the busiest second", st.Throttled, st.BusiestSecond)
		}
		if st.Requests < 3500 || st.Lookups == 0 || int64(st.Requests) != c.Attempts() {
			t.Errorf("got %d requests, %d look-ups, %d attempts", st.Requests, st.Lookups, c.Attempts())
		}
		if ends := countEnds(results); ends["imported"]+ends["exists"] < 2950 {
			t.Errorf("got %v", ends)
		}
		checkNoDuplicates(t, s)
	})
}

func TestRate_UsedAtEveryLatency(t *testing.T) {
	for _, latency := range []time.Duration{20 * time.Millisecond, 400 * time.Millisecond, 2500 * time.Millisecond} {
		t.Run(latency.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Latency = latency
				rec := &recorder{next: s}
				c := newClient(t, rec)
				importAll(t.Context(), c, records(200, true)) // until the client knows the latency
				start := time.Now()
				results := importAll(t.Context(), c, records(2200, true)[200:])
				took := time.Since(start) - latency
				if got := float64(len(results)) / took.Seconds(); got < 0.99*testRate || got > testRate {
					t.Errorf("got %v a second, want 0.99 to 1 times %v", got, testRate)
				}
				if got, want := rec.maxInFlight, int(testRate*latency.Seconds())+1; got > want {
					t.Errorf("got %d in flight, want at most %d", got, want)
				}
			})
		})
	}
}

func TestInFlightLimit_FastServiceHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		c := newClient(t, s)
		importAll(t.Context(), c, records(1000, false))
		s.SetFaults(always(emulator.Hang))
		before := s.Stats().Requests
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		importAll(ctx, c, records(2000, false)[1000:])
		if got := s.Stats().Requests - before; got > 25 { // 190/s × 20 ms × 1.5 and 16 more
			t.Errorf("got %d requests without a response, want at most 25", got)
		}
	})
}

func TestInFlightLimit_NeverExceeded(t *testing.T) {
	for _, test := range []struct {
		name        string
		rate        float64
		maxInFlight int
		want        int
	}{
		{"SCF allows 1,024 descriptors", 1000, 0, 900},
		{"the need of the service's rate for 3 s", 200, 0, 616},
		{"no budget: as fast as possible, in little memory", 50_000, 0, 128},
		{"set by the caller", 1000, 128, 128},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Limit, s.Latency = -1, 4*time.Second
				rec := &recorder{next: s}
				c := newClient(t, rec, rate(test.rate), func(cfg *tim.Config) { cfg.MaxInFlight = test.maxInFlight })
				importAll(t.Context(), c, records(3000, true))
				if rec.maxInFlight != test.want {
					t.Errorf("got %d in flight, want %d", rec.maxInFlight, test.want)
				}
			})
		})
	}
}

func TestUserSig_Rejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Faults = first(1, 70001)
		rec := &recorder{next: s}
		c := newClient(t, rec)
		for i, rec := range records(100, false) {
			if got := c.ImportGroup(t.Context(), rec).Wait(); got.End != tim.Imported {
				t.Errorf("record %d: got %s %q", i, short(got), got.Message)
			}
		}
		if got := len(rec.sigs); got != 2 {
			t.Errorf("got %d UserSigs, want 2", got)
		}
	})
}

func TestUserSig_RevokedDuringManyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Latency = 500 * time.Millisecond
		bad := ""
		rec := &recorder{next: transport(func(r *http.Request) (*http.Response, error) {
			if sig := r.URL.Query().Get("usersig"); sig == bad {
				return respond(200, `{"ActionStatus":"FAIL","ErrorCode":70052,"ErrorInfo":"revoked"}`), nil
			}
			return s.RoundTrip(r)
		})}
		c := newClient(t, rec)
		importAll(t.Context(), c, records(10, true))
		bad = rec.sigs[0]
		results := importAll(t.Context(), c, records(500, true)[10:])
		if got := countEnds(results)["imported"]; got != 490 || len(rec.sigs) != 2 {
			t.Errorf("got %v with %d UserSigs", countEnds(results), len(rec.sigs))
		}
	})
}

func TestUserSig_Renewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{next: newService()}
		c := newClient(t, rec)
		for i, r := range records(10*24, true) { // ten days
			if got := c.ImportGroup(t.Context(), r).Wait(); got.End != tim.Imported {
				t.Fatalf("hour %d: got %s %q", i, short(got), got.Message)
			}
			time.Sleep(time.Hour)
		}
		if got := len(rec.sigs); got != 10 {
			t.Errorf("got %d UserSigs in ten days, want 10", got)
		}
	})
}

// http.Transport writes a request again if a kept-alive connection turns out to be closed.
func TestRate_RequestWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Limit = 10
		var n atomic.Int64
		c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
			if n.Add(1)%20 < 10 {
				httptrace.ContextClientTrace(r.Context()).WroteRequest(httptrace.WroteRequestInfo{Err: io.ErrClosedPipe})
				time.Sleep(900 * time.Millisecond)
			}
			return s.RoundTrip(r)
		}), rate(10))
		results := importAll(t.Context(), c, records(100, true))
		if got := s.Stats(); got.Throttled != 0 || countEnds(results)["imported"] != 100 {
			t.Errorf("got %d throttled, %v", got.Throttled, countEnds(results))
		}
	})
}
