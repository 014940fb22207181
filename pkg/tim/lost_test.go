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
	name  string
	fault emulator.Fault
	made  bool // the group, before the answer gets lost
	code  int
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

func TestLostAnswerToARecordWithAGroupIDIsFoundOut(t *testing.T) {
	for _, test := range losses {
		for _, times := range []int{1, 4, 5} {
			t.Run(fmt.Sprint(test.name, " ", times, " times"), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService()
					s.Faults = first(times, test.fault)
					got := newClient(t, s).ImportGroup(t.Context(), record("g", "n")).Wait()
					want := fmt.Sprintf(`imported "g" code 0 attempts %d`, times+1)
					switch {
					case test.made && times < 5:
						want = fmt.Sprintf(`standing "g" code 10021 attempts %d`, times+1)
					case test.made:
						want = fmt.Sprintf(`standing "g" code %d attempts 5`, test.code)
					case test.code != 0 && times == 5:
						want = fmt.Sprintf(`failed "" code %d attempts 5`, test.code)
					}
					if short(got) != want {
						t.Errorf("got %s %q, want %s", short(got), got.Message, want)
					}
					noneTwice(t, s)
				})
			})
		}
	}
}

func TestLostAnswerToARecordWithoutAGroupIDIsUnknownAfterOneAttempt(t *testing.T) {
	for _, test := range losses {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Faults = first(1, test.fault)
				got := newClient(t, s).ImportGroup(t.Context(), record("", "n")).Wait()
				want := fmt.Sprintf(`unknown "" code %d attempts 1`, test.code)
				if short(got) != want || !strings.HasPrefix(got.Message, "the answer was lost, the group may exist: ") {
					t.Errorf("got %s %q, want %s", short(got), got.Message, want)
				}
				groups := 0
				if test.made {
					groups = 1
				}
				if s.Names()["n"] != groups || s.Stats().Requests != 1 {
					t.Errorf("got %d groups, %d requests, want %d, 1", s.Names()["n"], s.Stats().Requests, groups)
				}
			})
		})
	}
}

// A third of all requests goes wrong, in every way.
func TestManyLostAnswersMakeNothingTwice(t *testing.T) {
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
				noneTwice(t, s)
				names := s.Names()
				for i, r := range results {
					stands := names[recs[i].Name] == 1
					switch {
					case r.End == tim.Imported && stands, r.End == tim.Standing && stands && withID:
					case r.End == tim.Unknown && !withID && r.Attempts == 1:
					default:
						t.Errorf("record %d: got %s, stands %v", i, short(r), stands)
					}
				}
			})
		})
	}
}

func TestRefusedDialIsNotSentAndNeverUnknown(t *testing.T) {
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
			if want := `undone "" code 0 attempts 2`; short(got) != want {
				t.Errorf("got %s %q, want %s", short(got), got.Message, want)
			}
			if s := c.Stopped(); s == nil || !strings.Contains(s.Reason, "connection refused") {
				t.Errorf("got stop %+v", s)
			}
		})
	}
}

func TestRefusedDialIsRetriedAlsoWithoutAGroupID(t *testing.T) {
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

// A transport that says nothing about connections cannot prove that nothing was sent.
func TestErrorOfATransportThatTracesNothingIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, transport(func(*http.Request) (*http.Response, error) { return nil, errors.New("broken") }))
		got := c.ImportGroup(t.Context(), record("", "n")).Wait()
		if want := `unknown "" code 0 attempts 1`; short(got) != want {
			t.Errorf("got %s, want %s", short(got), want)
		}
	})
}

func TestConnectionThatWasClosedWhileIdleCostsNoRecord(t *testing.T) {
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
		time.Sleep(5 * time.Millisecond) // the transport reads the end of the connection on its own
	}
}

func TestServiceThatIsDownStopsTheClientAndBlamesNoRecord(t *testing.T) {
	for _, test := range []struct {
		name     string
		fault    emulator.Fault
		requests int // at most: those until the breaker opens, in flight, and the probes
	}{
		{"drops", emulator.DropBefore, 30},
		{"hangs", emulator.Hang, 110},
		{"is a proxy without a service", emulator.BadGateway, 30},
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
						t.Errorf("got %d requests, want %d at most", sent, test.requests)
					}
					ends := countEnds(results)
					unknown := ends["unknown"]
					if ends["undone"]+unknown != len(results) || withID && unknown > 0 || unknown > sent {
						t.Errorf("got %v of %d requests", ends, sent)
					}
					if stop := c.Stopped(); stop == nil || stop.Code != 0 || !strings.Contains(stop.Reason, "check TIM_ENDPOINT") {
						t.Errorf("got stop %+v", stop)
					}
				})
			})
		}
	}
}

func TestServiceThatComesBackGetsAllRecords(t *testing.T) {
	for _, r := range []float64{1, testRate} {
		for _, test := range losses {
			t.Run(fmt.Sprint(test.name, " at ", r), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService()
					back := time.Now().Add(20 * time.Second)
					s.Faults.Plan = func(emulator.Request) emulator.Fault {
						if time.Now().Before(back) {
							return test.fault
						}
						return emulator.None
					}
					results := importAll(t.Context(), newClient(t, s, rate(r)), records(int(r)+9, true))
					ends := countEnds(results)
					// Codes are answers: without a breaker, a call uses up its attempts in less than the time.
					if failed := ends["failed"]; failed > 0 && test.code == 0 {
						t.Errorf("got %v", ends)
					}
					if got := ends["imported"] + ends["standing"] + ends["failed"]; got != len(results) {
						t.Errorf("got %v", ends)
					}
					if got := mostAttempts(results); got > 6 {
						t.Errorf("got %d attempts", got)
					}
					noneTwice(t, s)
				})
			})
		}
	}
}

func TestRecordThatTheServiceNeverAnswersFailsAlone(t *testing.T) {
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
				if others == 0 { // one more, as it could have been an outage
					want = `failed "" code 0 attempts 6`
				}
				if got := short(results[0]); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				if got := countEnds(results)["imported"]; got != others || c.Stopped() != nil {
					t.Errorf("got %v, stop %v", countEnds(results), c.Stopped())
				}
			})
		})
	}
}

func TestEndOfTheContextStartsNothingAndWaitsForWhatIsUnderWay(t *testing.T) {
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
				if want := `undone "" code 0 attempts 0`; short(late) != want || late.Message != errEnd.Error() || time.Since(start) != time.Second {
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

func TestGraceCutsOffWhatHangs(t *testing.T) {
	for _, test := range []struct {
		id, want string
	}{
		{"g", `undone "" code 0 attempts 1`},
		{"", `unknown "" code 0 attempts 1`},
	} {
		for _, set := range []bool{true, false} {
			t.Run(fmt.Sprintf("GroupId %s, SetGrace %v", test.id, set), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService()
					s.Faults = always(emulator.Hang)
					c := newClient(t, s, func(cfg *tim.Config) { cfg.Grace = 3 * time.Second })
					want := 4 * time.Second
					if set {
						c.SetGrace(time.Second)
						want = 2 * time.Second
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
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

func TestEndOfTheContextEndsEveryWait(t *testing.T) {
	errEnd := errors.New("time is up")
	for _, test := range []struct {
		name string
		plan emulator.Faults
		rate float64
	}{
		{"for the service to answer", always(emulator.DropBefore), testRate},
		{"for a slower rate", always(60007), testRate},
		{"for a turn", emulator.Faults{}, 0.1},
		{"for a place in flight", always(emulator.Hang), 1000},
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
				c := newClient(t, s, rate(test.rate), func(cfg *tim.Config) { cfg.Grace = time.Second })
				ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errEnd)
				defer cancel()
				start := time.Now()
				results := importAll(ctx, c, records(1000, true))
				if took := time.Since(start); took > 6*time.Second {
					t.Errorf("got %v after the end, want the grace at most", took-5*time.Second)
				}
				if c.Stopped() != nil {
					t.Errorf("got stop %v", c.Stopped())
				}
				ends := countEnds(results)
				if ends["undone"]+ends["imported"] != len(results) || ends["undone"] < 900 {
					t.Errorf("got %v", ends)
				}
				if got, want := results[999].Message, errEnd.Error(); got != want {
					t.Errorf("got message %q, want %q", got, want)
				}
			})
		})
	}
}

func TestOutageIsFoundOutBeforeThoseThatWaitAreSent(t *testing.T) {
	for _, withID := range []bool{true, false} {
		t.Run(fmt.Sprint("GroupId ", withID), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				back := time.Now().Add(20 * time.Second)
				inOutage := 0
				s.Faults.Plan = func(r emulator.Request) emulator.Fault {
					if time.Now().Before(back) {
						inOutage = r.Ordinal
						return emulator.DropBefore
					}
					return emulator.None
				}
				c := newClient(t, s, rate(1)) // so that 16 wait for their turn while the tenth finds out
				results := make([]tim.Result, 60)
				var calls sync.WaitGroup
				for i, rec := range records(len(results), withID) {
					calls.Go(func() { results[i] = c.ImportGroup(t.Context(), rec).Wait() })
				}
				calls.Wait()
				if inOutage > 16 { // 10 and the probes
					t.Errorf("got %d requests in the outage, want 16 at most", inOutage)
				}
				ends := countEnds(results)
				if got := ends["imported"] + ends["unknown"]; got != len(results) || ends["unknown"] > inOutage {
					t.Errorf("got %v", ends)
				}
			})
		})
	}
}

func TestProbeThatIsGivenUpIsLeftToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Faults = first(10, emulator.DropBefore)
		c := newClient(t, s, rate(0.1))
		importAll(t.Context(), c, records(10, false)) // one attempt each
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // in which its turn does not come
			if got := c.ImportGroup(ctx, record("", "given up")).Wait(); got.End != tim.Undone {
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

func TestWaitThatIsGivenUpTakesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		c := newClient(t, s, rate(0.1))
		c.ImportGroup(t.Context(), record("", "first")).Wait()
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			c.ImportGroup(ctx, record("", "given up")).Wait()
			cancel()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if got := c.ImportGroup(ctx, record("", "n")).Wait(); got.End != tim.Imported {
			t.Errorf("got %s %q", short(got), got.Message)
		}
	})
}
