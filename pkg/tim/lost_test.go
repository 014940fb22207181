package tim_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/tim"
)

var losses = []struct {
	name    string
	fault   emulator.Fault
	created bool // the group, before the response is lost
	code    int
}{
	{"drop before", emulator.DropBefore, false, 0},
	{"drop after", emulator.DropAfter, true, 0},
	{"hang", emulator.Hang, false, 0},
	{"hang after", emulator.HangAfter, true, 0},
	{"bad gateway", emulator.BadGateway, false, 0},
	{"bad gateway after", emulator.BadGatewayAfter, true, 0},
	{"internal error", emulator.Internal, false, 10002},
	{"internal error after", emulator.InternalAfter, true, 10002},
	{"garbage", emulator.Garbage, false, 0},
	{"garbage after", emulator.GarbageAfter, true, 0},
}

func TestLostResponse_WithGroupID(t *testing.T) {
	for _, test := range losses {
		for _, times := range []int{1, 4, 5} {
			t.Run(fmt.Sprint(test.name, " ", times, " times"), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService()
					s.Faults = first(times, test.fault)
					got := newClient(t, s).ImportGroup(t.Context(), record("g", "n")).Wait()
					want := fmt.Sprintf(`imported "g" code 0 attempts %d`, times+1)
					switch {
					case test.created && times < 5:
						want = fmt.Sprintf(`exists "g" code 10021 attempts %d`, times+1)
					case test.created:
						want = fmt.Sprintf(`exists "g" code %d attempts 5`, test.code)
					case test.code != 0 && times == 5:
						want = fmt.Sprintf(`failed "" code %d attempts 5`, test.code)
					}
					if short(got) != want {
						t.Errorf("got %s %q, want %s", short(got), got.Message, want)
					}
					checkNoDuplicates(t, s)
				})
			})
		}
	}
}

func TestLostResponse_WithoutGroupID(t *testing.T) {
	for _, test := range losses {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Faults = first(1, test.fault)
				got := newClient(t, s).ImportGroup(t.Context(), record("", "n")).Wait()
				want := fmt.Sprintf(`unknown "" code %d attempts 1`, test.code)
				if short(got) != want || !strings.HasPrefix(got.Message, "response lost, the group may exist: ") {
					t.Errorf("got %s %q, want %s", short(got), got.Message, want)
				}
				groups := 0
				if test.created {
					groups = 1
				}
				if s.Names()["n"] != groups || s.Stats().Requests != 1 {
					t.Errorf("got %d groups, %d requests, want %d, 1", s.Names()["n"], s.Stats().Requests, groups)
				}
			})
		})
	}
}

// A third of all requests fails, in every way.
func TestLostResponse_NoDuplicates(t *testing.T) {
	faults := emulator.Faults{
		Seed: 1, DropBefore: 0.04, DropAfter: 0.04, Hang: 0.01, HangAfter: 0.01, BadGateway: 0.04, BadGatewayAfter: 0.04,
		Internal: 0.04, InternalAfter: 0.04, Garbage: 0.03, GarbageAfter: 0.03, Throttle: 0.002,
	}
	for _, withID := range []bool{true, false} {
		t.Run(fmt.Sprint("with GroupId ", withID), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Faults = faults
				recs := records(1000, withID)
				results := importAll(t.Context(), newClient(t, s, maxAttempts(20)), recs)
				checkNoDuplicates(t, s)
				names := s.Names()
				for i, r := range results {
					exists := names[recs[i].Name] == 1
					switch {
					case r.End == tim.Imported && exists, r.End == tim.Exists && exists && withID:
					case r.End == tim.Unknown && !withID && r.Attempts == 1:
					default:
						t.Errorf("record %d: got %s, exists %v", i, short(r), exists)
					}
				}
			})
		})
	}
}

func TestDial_RefusedIsNeverUnknown(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	for _, id := range []string{"g", ""} {
		t.Run("GroupId "+id, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, nil, maxAttempts(2), func(cfg *tim.Config) { cfg.Endpoint = "http://" + l.Addr().String() })
			got := c.ImportGroup(t.Context(), record(id, "n")).Wait()
			if want := `incomplete "" code 0 attempts 2`; short(got) != want {
				t.Errorf("got %s %q, want %s", short(got), got.Message, want)
			}
			if s := c.Fatal(); s == nil || !strings.Contains(s.Reason, "connection refused") {
				t.Errorf("got fatal error %+v", s)
			}
		})
	}
}

func TestDial_RefusedIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		dials := 0
		c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
			if dials++; dials <= 4 {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
			}
			return s.RoundTrip(r)
		}))
		got := c.ImportGroup(t.Context(), record("", "n")).Wait()
		if want := `imported "@TGS#200000001" code 0 attempts 5`; short(got) != want {
			t.Errorf("got %s %q, want %s", short(got), got.Message, want)
		}
	})
}

// Without a trace of the connection nothing proves that no byte was sent.
func TestTransport_ErrorWithoutTraceIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, transport(func(*http.Request) (*http.Response, error) { return nil, errors.New("broken") }))
		got := c.ImportGroup(t.Context(), record("", "n")).Wait()
		if want := `unknown "" code 0 attempts 1`; short(got) != want {
			t.Errorf("got %s, want %s", short(got), want)
		}
	})
}

func TestConnection_ClosedWhileIdle(t *testing.T) {
	t.Parallel()
	s := newService()
	srv := httptest.NewServer(s)
	defer srv.Close()
	c := newClient(t, nil, func(cfg *tim.Config) { cfg.Endpoint = srv.URL })
	for i := range 5 {
		got := c.ImportGroup(t.Context(), record("", fmt.Sprint(i))).Wait()
		if got.End != tim.Imported || got.Attempts != 1 {
			t.Errorf("got %s %q", short(got), got.Message)
		}
		srv.CloseClientConnections()
		time.Sleep(5 * time.Millisecond) // the transport notices the closed connection
	}
}

func TestOutage_IsFatal(t *testing.T) {
	for _, test := range []struct {
		name     string
		fault    emulator.Fault
		requests int // limit: until the breaker opens, in flight, and the probes
	}{
		{"drops", emulator.DropBefore, 30},
		{"hangs", emulator.Hang, 110},
		{"proxy without a service", emulator.BadGateway, 30},
	} {
		for _, withID := range []bool{true, false} {
			t.Run(fmt.Sprint(test.name, ", GroupId ", withID), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService()
					s.Faults = always(test.fault)
					c := newClient(t, s)
					results := importAll(t.Context(), c, records(1000, withID))
					sent := s.Stats().Requests
					if sent > test.requests {
						t.Errorf("got %d requests, want at most %d", sent, test.requests)
					}
					ends := countEnds(results)
					unknown := ends["unknown"]
					if ends["incomplete"]+unknown != len(results) || withID && unknown > 0 || unknown > sent {
						t.Errorf("got %v of %d requests", ends, sent)
					}
					if stop := c.Fatal(); stop == nil || stop.Code != 0 || !strings.Contains(stop.Reason, "check TIM_ENDPOINT") {
						t.Errorf("got fatal error %+v", stop)
					}
				})
			})
		}
	}
}

func TestOutage_Recovery(t *testing.T) {
	for _, r := range []float64{1, testRate} {
		for _, test := range losses {
			t.Run(fmt.Sprint(test.name, " at ", r), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService()
					end := time.Now().Add(20 * time.Second)
					s.Faults.Plan = func(emulator.Request) emulator.Fault {
						if time.Now().Before(end) {
							return test.fault
						}
						return emulator.None
					}
					results := importAll(t.Context(), newClient(t, s, rate(r)), records(int(r)+9, true))
					ends := countEnds(results)
					// Responses with codes do not open the breaker: a call uses up its attempts during the outage.
					if failed := ends["failed"]; failed > 0 && test.code == 0 {
						t.Errorf("got %v", ends)
					}
					if got := ends["imported"] + ends["exists"] + ends["failed"]; got != len(results) {
						t.Errorf("got %v", ends)
					}
					if got := maxAttemptsOf(results); got > 6 {
						t.Errorf("got %d attempts", got)
					}
					checkNoDuplicates(t, s)
				})
			})
		}
	}
}

func TestOutage_OfOneRecord(t *testing.T) {
	poison := func(r emulator.Request) emulator.Fault {
		if r.Command == "import_group" && r.Name == "poison" {
			return emulator.DropBefore
		}
		return emulator.None
	}
	for _, others := range []int{0, 20, 2000} {
		t.Run(fmt.Sprint(others, " others"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Faults.Plan = poison
				c := newClient(t, s)
				recs := records(others+1, true)
				recs[0].Name = "poison"
				results := importAll(t.Context(), c, recs)
				want := `failed "" code 0 attempts 5`
				if others == 0 { // one more, because it could have been an outage
					want = `failed "" code 0 attempts 6`
				}
				if got := short(results[0]); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				if got := countEnds(results)["imported"]; got != others || c.Fatal() != nil {
					t.Errorf("got %v; fatal: %v", countEnds(results), c.Fatal())
				}
			})
		})
	}
}

func TestContext_EndWaitsForAttemptInFlight(t *testing.T) {
	errEnd := errors.New("time is up")
	for _, id := range []string{"g", ""} {
		t.Run("GroupId "+id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Latency = 2 * time.Second
				c := newClient(t, s)
				ctx, cancel := context.WithCancelCause(t.Context())
				start := time.Now()
				call := c.ImportGroup(ctx, record(id, "n"))
				time.Sleep(time.Second)
				cancel(errEnd)
				late := c.ImportGroup(ctx, record("late", "late")).Wait()
				want := `incomplete "" code 0 attempts 0`
				if short(late) != want || late.Message != errEnd.Error() || time.Since(start) != time.Second {
					t.Errorf("late: got %s %q after %v", short(late), late.Message, time.Since(start))
				}
				if got := call.Wait(); got.End != tim.Imported || time.Since(start) != 2*time.Second {
					t.Errorf("got %s after %v", short(got), time.Since(start))
				}
				if got := s.Stats().Requests; got != 1 {
					t.Errorf("got %d requests, want 1", got)
				}
			})
		})
	}
}

func TestDrainTimeout_HangingAttempt(t *testing.T) {
	for _, test := range []struct {
		id, want string
	}{
		{"g", `incomplete "" code 0 attempts 1`},
		{"", `unknown "" code 0 attempts 1`},
	} {
		for _, set := range []bool{true, false} {
			t.Run(fmt.Sprintf("GroupId %s, Share %v", test.id, set), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService()
					s.Faults = always(emulator.Hang)
					c := newClient(t, s, func(cfg *tim.Config) { cfg.DrainTimeout = 3 * time.Second })
					want := 4 * time.Second
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					if set {
						ctx = tim.WithShare(ctx, c.NewShare(tim.ShareConfig{DrainTimeout: time.Second}))
						want = 2 * time.Second
					}
					start := time.Now()
					got := c.ImportGroup(ctx, record(test.id, "n")).Wait()
					if short(got) != test.want || time.Since(start) != want {
						t.Errorf("got %s after %v, want %s after %v", short(got), time.Since(start), test.want, want)
					}
				})
			})
		}
	}
}

func TestContext_EndsEveryWait(t *testing.T) {
	errEnd := errors.New("time is up")
	for _, test := range []struct {
		name string
		plan emulator.Faults
		rate float64
	}{
		{"for the breaker", always(emulator.DropBefore), testRate},
		{"for the decreased rate", always(60007), testRate},
		{"for a permit", emulator.Faults{}, 0.1},
		{"for an in-flight slot", always(emulator.Hang), 1000},
		{"for a look-up", emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
			if r.Command == "import_group" {
				return 10021
			}
			return 60011
		}}, testRate},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Faults = test.plan
				c := newClient(t, s, rate(test.rate), func(cfg *tim.Config) { cfg.DrainTimeout = time.Second })
				ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errEnd)
				defer cancel()
				start := time.Now()
				results := importAll(ctx, c, records(1000, true))
				if took := time.Since(start); took > 6*time.Second {
					t.Errorf("got %v after the end, want at most the drain timeout", took-5*time.Second)
				}
				if c.Fatal() != nil {
					t.Errorf("got fatal error %v", c.Fatal())
				}
				ends := countEnds(results)
				if ends["incomplete"]+ends["imported"] != len(results) || ends["incomplete"] < 900 {
					t.Errorf("got %v", ends)
				}
				if got, want := results[999].Message, errEnd.Error(); got != want {
					t.Errorf("got message %q, want %q", got, want)
				}
			})
		})
	}
}

func TestBreaker_OpensBeforeWaitingCallsAreSent(t *testing.T) {
	for _, withID := range []bool{true, false} {
		t.Run(fmt.Sprint("GroupId ", withID), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				end := time.Now().Add(20 * time.Second)
				inOutage := 0
				s.Faults.Plan = func(r emulator.Request) emulator.Fault {
					if time.Now().Before(end) {
						inOutage = r.Ordinal
						return emulator.DropBefore
					}
					return emulator.None
				}
				c := newClient(t, s, rate(1)) // so that 16 calls wait for permits when the breaker opens
				results := make([]tim.Result, 60)
				var calls sync.WaitGroup
				for i, rec := range records(len(results), withID) {
					calls.Go(func() { results[i] = c.ImportGroup(t.Context(), rec).Wait() })
				}
				calls.Wait()
				if inOutage > 16 { // 10 and the probes
					t.Errorf("got %d requests in the outage, want at most 16", inOutage)
				}
				ends := countEnds(results)
				if got := ends["imported"] + ends["unknown"]; got != len(results) || ends["unknown"] > inOutage {
					t.Errorf("got %v", ends)
				}
			})
		})
	}
}

func TestBreaker_CanceledProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Faults = first(10, emulator.DropBefore)
		c := newClient(t, s, rate(0.1))
		importAll(t.Context(), c, records(10, false)) // one attempt each
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // less than the wait for a permit
			if got := c.ImportGroup(ctx, record("", "canceled")).Wait(); got.End != tim.Incomplete {
				t.Errorf("got %s", short(got))
			}
			cancel()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if got := c.ImportGroup(ctx, record("", "n")).Wait(); got.End != tim.Imported {
			t.Errorf("got %s %q", short(got), got.Message)
		}
	})
}

func TestInFlightLimit_CanceledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		c := newClient(t, s, rate(0.1))
		c.ImportGroup(t.Context(), record("", "first")).Wait()
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			c.ImportGroup(ctx, record("", "canceled")).Wait()
			cancel()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if got := c.ImportGroup(ctx, record("", "n")).Wait(); got.End != tim.Imported {
			t.Errorf("got %s %q", short(got), got.Message)
		}
	})
}
