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

// only plans a fault for the imports of some records.
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

func TestDoubt_OneRecordIsRefusedAndTheOthersGoOn(t *testing.T) {
	for _, test := range []struct {
		fault emulator.Fault
		want  string
		says  string
	}{
		{emulator.Forbidden, `failed "" code 0 attempts 1`, "HTTP 403 instead of an answer of the service: a proxy or firewall refuses this record"},
		{emulator.TooLarge, `rejected "" code 0 attempts 1`, "HTTP 413 instead of an answer of the service: a proxy or firewall refuses this record"},
		{60099, `failed "" code 60099 attempts 1`, "code 60099: an error of access or account that is in no list: see the service's own words"},
		{79999, `failed "" code 79999 attempts 1`, "code 79999: an error of access or account that is in no list: see the service's own words"},
		{10007, `rejected "" code 10007 attempts 1`, "code 10007: the group type does not support this operation, or no permission: "},
	} {
		for _, at := range []int{0, 50, 99} { // the first record of all, too: nothing was taken before it
			for _, withID := range []bool{true, false} {
				t.Run(fmt.Sprint(int(test.fault), " at ", at, ", GroupId ", withID), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := newService()
						s.Faults = only(test.fault, fmt.Sprint("name ", at))
						c := newClient(t, s)
						results := importAll(t.Context(), c, records(100, withID))
						if got := results[at]; short(got) != test.want || !strings.HasPrefix(got.Message, test.says) {
							t.Errorf("got %s %q, want %s %q", short(got), got.Message, test.want, test.says)
						}
						if got := countEnds(results)["imported"]; got != 99 || c.Stopped() != nil {
							t.Errorf("got %v, stop %v", countEnds(results), c.Stopped())
						}
					})
				})
			}
		}
	}
}

func TestDoubt_StatusesByWhatTheySayAboutARecord(t *testing.T) {
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
				if endNames[got.End] != test.want || c.Stopped() != nil {
					t.Errorf("got %s %q, stop %v, want %s", short(got), got.Message, c.Stopped(), test.want)
				}
			})
		})
	}
}

func TestDoubt_WhatRefusesAllStopsAndBlamesNoRecord(t *testing.T) {
	for _, fault := range []emulator.Fault{emulator.Forbidden, emulator.TooLarge, 60099, 79999, 10007} {
		t.Run(fmt.Sprint(int(fault)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Faults = always(fault)
				c := newClient(t, s)
				results := importAll(t.Context(), c, records(100, false))
				if got := countEnds(results)["undone"]; got != 100 || c.Stopped() == nil {
					t.Errorf("got %v, stop %v", countEnds(results), c.Stopped())
				}
			})
		})
	}
}

// A firewall that refuses nothing but import_group lets the look-up through.
func TestDoubt_RunOfRefusedRecordsStops(t *testing.T) {
	for _, test := range []struct {
		fault emulator.Fault
		ends  string
		says  string
	}{
		{emulator.Forbidden, "failed", "HTTP 403 instead of an answer of the service: check TIM_ENDPOINT (20 records in a row were refused)"},
		{emulator.TooLarge, "rejected", "HTTP 413 instead of an answer of the service: check TIM_ENDPOINT (20 records in a row were refused)"},
		{60099, "failed", "(20 records in a row were refused)"},
	} {
		t.Run(fmt.Sprint(int(test.fault)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Faults = imports(test.fault)
				c := newClient(t, s)
				results := importAll(t.Context(), c, records(100, true))
				if ends := countEnds(results); ends[test.ends] != 19 || ends["undone"] != 81 {
					t.Errorf("got %v, want 19 %s", ends, test.ends)
				}
				if stop := c.Stopped(); stop == nil || !strings.HasSuffix(stop.Reason, test.says) {
					t.Errorf("got stop %v, want %s", stop, test.says)
				}
			})
		})
	}
}

func TestDoubt_RefusedRecordsAmongAcceptedOnesNeverStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Faults = emulator.Faults{Seed: 3, Forbidden: 0.2, TooLarge: 0.2}
		c := newClient(t, s)
		results := importAll(t.Context(), c, records(2000, true))
		ends := countEnds(results)
		if c.Stopped() != nil || ends["imported"] < 1000 || ends["failed"] == 0 || ends["rejected"] == 0 {
			t.Errorf("got %v, stop %v", ends, c.Stopped())
		}
	})
}

// An earlier attempt may have made the group: what refuses the next one does not undo that.
func TestDoubt_LostResponseBeforeItIsNeverRejected(t *testing.T) {
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

func TestLookUp_RefusedForOneIDFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
			body, _ := r.GetBody()
			if text, _ := io.ReadAll(body); strings.Contains(string(text), "bad") {
				return respond(403, "<html>"), nil
			}
			return s.RoundTrip(r)
		}))
		if _, err := c.LookUp(t.Context(), "bad"); err == nil || c.Stopped() != nil {
			t.Errorf("got %v, stop %v", err, c.Stopped())
		}
		if _, err := c.LookUp(t.Context(), "good"); err != nil {
			t.Errorf("got %v", err)
		}
		s.SetFaults(always(emulator.Forbidden))
		if _, err := c.LookUp(t.Context(), "good"); err == nil || c.Stopped() == nil || err.Error() != c.Stopped().Reason {
			t.Errorf("got %v, stop %v", err, c.Stopped())
		}
	})
}

func TestRetryAfter_AllCallsWaitAndNoLongerThanAMinute(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		value  func() string
		want   time.Duration // until the first attempt after the response
	}{
		{"seconds", 503, func() string { return "7" }, 7 * time.Second},
		{"a date", 503, func() string { return time.Now().Add(7 * time.Second).UTC().Format(http.TimeFormat) }, 7 * time.Second},
		{"too fast", 429, func() string { return "7" }, 7 * time.Second},
		{"bad gateway", 502, func() string { return "7" }, 7 * time.Second},
		{"too large, for now", 413, func() string { return "7" }, 7 * time.Second},
		{"an hour", 503, func() string { return "3600" }, time.Minute},
		{"a number without end", 503, func() string { return "9223372036854775807" }, time.Minute},
		{"a date in a year", 503, func() string { return time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat) }, time.Minute},
		{"a date that is over", 503, func() string { return time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat) }, 0},
		{"not a wait", 503, func() string { return "soon" }, 0},
		{"negative", 503, func() string { return "-5" }, 0},
		{"none", 503, func() string { return "" }, 0},
		{"with an answer of the service", 200, func() string { return "7" }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Latency = 0
				n := 0
				var answered, next time.Time
				c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
					if n++; n == 1 {
						answered = time.Now()
						resp := respond(test.status, `{"ActionStatus":"OK","ErrorCode":0}`)
						resp.Header.Set("Retry-After", test.value())
						return resp, nil
					}
					if next.IsZero() {
						next = time.Now()
					}
					return s.RoundTrip(r)
				}))
				c.ImportGroup(t.Context(), record("", "first")).Wait() // no retry of its own, as it has no GroupId
				got := c.ImportGroup(t.Context(), record("g", "second")).Wait()
				if got.End != tim.Imported {
					t.Errorf("got %s %q", short(got), got.Message)
				}
				most := test.want + 3*time.Second // a Retry-After of 429 comes with a slower rate
				if waited := next.Sub(answered); waited < test.want || waited > most {
					t.Errorf("got the next attempt after %v, want %v", waited, test.want)
				}
			})
		})
	}
}
