package tim_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/tim"
)

// only plans a fault for the imports of the records with these names.
func only(f emulator.Fault, names ...string) emulator.Faults {
	return emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
		for _, name := range names {
			if r.Command == "import_group" && r.Name == name {
				return f
			}
		}
		return emulator.None
	}}
}

func TestAmbiguous_OneRecord(t *testing.T) {
	const byProxy = " instead of a response of the service: a proxy or firewall rejects this record"
	for _, test := range []struct {
		fault   emulator.Fault
		want    string
		message string
	}{
		{emulator.Forbidden, `failed "" code 0 attempts 1`, "HTTP 403" + byProxy},
		{emulator.TooLarge, `rejected "" code 0 attempts 1`, "HTTP 413" + byProxy},
		{60099, `failed "" code 60099 attempts 1`, "code 60099: an error of access or account that is in no list: "},
		{79999, `failed "" code 79999 attempts 1`, "code 79999: an error of access or account that is in no list: "},
		{10007, `rejected "" code 10007 attempts 1`, "code 10007: the group type does not support this operation"},
	} {
		for _, at := range []int{0, 50, 99} { // also the very first record, before any was accepted
			for _, withID := range []bool{true, false} {
				t.Run(fmt.Sprint(int(test.fault), " at ", at, ", GroupId ", withID), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := newService()
						s.Faults = only(test.fault, fmt.Sprint("name ", at))
						c := newClient(t, s)
						results := importAll(t.Context(), c, records(100, withID))
						if got := results[at]; short(got) != test.want || !strings.HasPrefix(got.Message, test.message) {
							t.Errorf("got %s %q, want %s %q", short(got), got.Message, test.want, test.message)
						}
						if got := countEnds(results)["imported"]; got != 99 || c.Fatal() != nil {
							t.Errorf("got %v; fatal: %v", countEnds(results), c.Fatal())
						}
					})
				})
			}
		}
	}
}

func TestAmbiguous_Statuses(t *testing.T) {
	for _, test := range []struct {
		status     int
		retryAfter string
		want       string
	}{
		{400, "", "rejected"},
		{413, "", "rejected"},
		{422, "", "rejected"},
		{413, "1", "failed"}, // it is temporary
		{302, "", "failed"},
		{401, "", "failed"},
		{403, "", "failed"},
		{404, "", "failed"},
		{451, "", "failed"},
	} {
		t.Run(fmt.Sprint(test.status, test.retryAfter), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
					if !strings.HasSuffix(r.URL.Path, "/import_group") {
						return s.RoundTrip(r)
					}
					resp := respond(test.status, "<html>")
					if test.retryAfter != "" {
						resp.Header.Set("Retry-After", test.retryAfter)
					}
					return resp, nil
				}))
				got := c.ImportGroup(t.Context(), record("g", "n")).Wait()
				if endNames[got.End] != test.want || c.Fatal() != nil {
					t.Errorf("got %s %q; fatal: %v, want %s", short(got), got.Message, c.Fatal(), test.want)
				}
			})
		})
	}
}

func TestAmbiguous_AllRequests(t *testing.T) {
	for _, fault := range []emulator.Fault{emulator.Forbidden, emulator.TooLarge, 60099, 79999, 10007} {
		t.Run(fmt.Sprint(int(fault)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Faults = always(fault)
				c := newClient(t, s)
				results := importAll(t.Context(), c, records(100, false))
				if got := countEnds(results)["incomplete"]; got != 100 || c.Fatal() == nil {
					t.Errorf("got %v; fatal: %v", countEnds(results), c.Fatal())
				}
			})
		})
	}
}

// A firewall that rejects nothing but import_group accepts the look-up.
func TestAmbiguous_ManyRecordsInARow(t *testing.T) {
	const rest = " of a response of the service: check TIM_ENDPOINT (20 records in a row were rejected)"
	for _, test := range []struct {
		fault   emulator.Fault
		ends    string
		message string
	}{
		{emulator.Forbidden, "failed", "HTTP 403 instead" + rest},
		{emulator.TooLarge, "rejected", "HTTP 413 instead" + rest},
		{60099, "failed", "(20 records in a row were rejected)"},
	} {
		t.Run(fmt.Sprint(int(test.fault)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Faults = imports(test.fault)
				c := newClient(t, s)
				results := importAll(t.Context(), c, records(100, true))
				if ends := countEnds(results); ends[test.ends] != 19 || ends["incomplete"] != 81 {
					t.Errorf("got %v, want 19 %s", ends, test.ends)
				}
				if stop := c.Fatal(); stop == nil || !strings.HasSuffix(stop.Reason, test.message) {
					t.Errorf("got stop %v, want %s", stop, test.message)
				}
			})
		})
	}
}

func TestAmbiguous_AmongAcceptedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Faults = emulator.Faults{Seed: 3, Forbidden: 0.2, TooLarge: 0.2}
		c := newClient(t, s)
		results := importAll(t.Context(), c, records(2000, true))
		ends := countEnds(results)
		if c.Fatal() != nil || ends["imported"] < 1000 || ends["failed"] == 0 || ends["rejected"] == 0 {
			t.Errorf("got %v; fatal: %v", ends, c.Fatal())
		}
	})
}

// An earlier attempt may have created the group. A rejection of the next attempt does not change that.
func TestAmbiguous_AfterLostResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		n := 0
		s.Faults.Plan = func(r emulator.Request) emulator.Fault {
			if r.Command != "import_group" {
				return emulator.None
			}
			if n++; n == 1 {
				return emulator.DropAfter
			}
			return emulator.TooLarge
		}
		got := newClient(t, s).ImportGroup(t.Context(), record("g", "n")).Wait()
		if want := `failed "" code 0 attempts 2`; short(got) != want {
			t.Errorf("got %s %q, want %s", short(got), got.Message, want)
		}
	})
}

func TestLookUp_OneIDRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
			body, _ := r.GetBody()
			if text, _ := io.ReadAll(body); strings.Contains(string(text), "bad") {
				return respond(403, "<html>"), nil
			}
			return s.RoundTrip(r)
		}))
		if _, err := c.LookUp(t.Context(), "bad"); err == nil || c.Fatal() != nil {
			t.Errorf("got %v; fatal: %v", err, c.Fatal())
		}
		if _, err := c.LookUp(t.Context(), "good"); err != nil {
			t.Errorf("got %v", err)
		}
		s.SetFaults(always(emulator.Forbidden))
		if _, err := c.LookUp(t.Context(), "good"); err == nil || c.Fatal() == nil || err.Error() != c.Fatal().Reason {
			t.Errorf("got %v; fatal: %v", err, c.Fatal())
		}
	})
}

func TestRetryAfter_Waits(t *testing.T) {
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, test := range []struct {
		name   string
		status int
		value  func() string
		want   time.Duration // until the first attempt after the response
	}{
		{"seconds", 503, func() string { return "7" }, 7 * time.Second},
		{"a date", 503, func() string { return date(7 * time.Second) }, 7 * time.Second},
		{"throttled", 429, func() string { return "7" }, 7 * time.Second},
		{"bad gateway", 502, func() string { return "7" }, 7 * time.Second},
		{"temporarily too large", 413, func() string { return "7" }, 7 * time.Second},
		{"an hour", 503, func() string { return "3600" }, time.Minute},
		{"a huge number", 503, func() string { return "9223372036854775807" }, time.Minute},
		{"a date in a year", 503, func() string { return date(366 * 24 * time.Hour) }, time.Minute},
		{"a date in the past", 503, func() string { return date(-time.Hour) }, 0},
		{"neither number nor date", 503, func() string { return "soon" }, 0},
		{"negative", 503, func() string { return "-5" }, 0},
		{"none", 503, func() string { return "" }, 0},
		{"in a response of the service", 200, func() string { return "7" }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Latency = 0
				n := 0
				var responded, next time.Time
				c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
					if n++; n == 1 {
						responded = time.Now()
						resp := respond(test.status, `{"ActionStatus":"OK","ErrorCode":0}`)
						resp.Header.Set("Retry-After", test.value())
						return resp, nil
					}
					if next.IsZero() {
						next = time.Now()
					}
					return s.RoundTrip(r)
				}))
				c.ImportGroup(t.Context(), record("", "first")).Wait() // not retried, because it has no GroupId
				got := c.ImportGroup(t.Context(), record("g", "second")).Wait()
				if got.End != tim.Imported {
					t.Errorf("got %s %q", short(got), got.Message)
				}
				limit := test.want + 3*time.Second // a 429 also decreases the rate
				if waited := next.Sub(responded); waited < test.want || waited > limit {
					t.Errorf("got the next attempt after %v, want %v", waited, test.want)
				}
			})
		})
	}
}
