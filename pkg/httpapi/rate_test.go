package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/config"
	"groupimport/pkg/emulator"
	"groupimport/pkg/httpapi"
)

// after returns the seconds of a Retry-After.
func after(t *testing.T, r reply) int {
	t.Helper()
	n, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil || n < 1 {
		t.Errorf("got Retry-After %q with %d, want seconds", r.Header.Get("Retry-After"), r.status)
	}
	return n
}

func TestGroups_Throttled(t *testing.T) {
	t.Parallel()
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.caller(s)
			w.service.SetFaults(emulator.Faults{Plan: func(emulator.Request) emulator.Fault { return 60011 }})
			r := c.post(noID)
			if r.status != 429 || r.member("code") != 60011.0 || r.member("retry") != "safe" {
				t.Errorf("got %d %s, want 429 with the service's code", r.status, r.body)
			}
			after(t, r)
			if got := w.service.Stats().Requests; got != 1 {
				t.Errorf("got %d requests, want 1: the caller decides about another", got)
			}
		})
	}
}

func TestGroups_SharedRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.config.Rate = 10
		c := w.caller(direct)
		var made, later int
		var mu sync.Mutex
		var wg sync.WaitGroup
		start := time.Now()
		for n := range 500 {
			wg.Go(func() {
				r := c.post(fmt.Sprintf(`{"Type":"Public","Name":"n","GroupId":"g%d"}`, n))
				mu.Lock()
				defer mu.Unlock()
				switch r.status {
				case 201:
					made++
				case 429:
					later++
					if took := time.Since(start); took > 100*time.Millisecond {
						t.Errorf("got 429 after %v, want it at once", took)
					}
					if got := after(t, r); got < 15 || got > 30 {
						t.Errorf("got Retry-After %d, want the time that the queue takes", got)
					}
				default:
					t.Errorf("got %d: %s", r.status, r.body)
				}
			})
		}
		wg.Wait()
		if made < 190 || made+later != 500 || w.service.Stats().Created != made {
			t.Errorf("got %d made and %d sent away, want 20 s × 10 of them made and a response for each", made, later)
		}
		if got := w.service.Stats().BusiestSecond; got > 10 {
			t.Errorf("got %d in the busiest second, want 10", got)
		}
		if took := time.Since(start); took > 26*time.Second {
			t.Errorf("got %v for all, want 26s at most", took)
		}
	})
}

func TestGroups_Deadline(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about, body string
		faults      emulator.Faults
		rate        float64
		want        int
		member      string
		value       string
	}{
		{"no response, with an ID", one, emulator.Faults{HangAfter: 1}, 190, 504, "retry", "safe"},
		{"no response, without an ID", noID, emulator.Faults{HangAfter: 1}, 190, 504, "retry", "unsafe"},
		{"lost responses, with an ID", one, emulator.Faults{DropBefore: 1}, 190, 504, "retry", "safe"},
		{"a lost response, without an ID", noID, emulator.Faults{DropAfter: 1}, 190, 504, "type", "urn:groupimport:unknown"},
		{"faults of the service, with an ID", one, emulator.Faults{Internal: 1}, 190, 504, "outcome", "unknown"},
		{"no permit", one, emulator.Faults{}, 0.1, 429, "retry", "safe"},
	} {
		t.Run(row.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.config.Rate = row.rate
				c := w.caller(direct)
				if row.rate < 1 {
					c.post(`{"Type":"Public","Name":"before","GroupId":"b"}`) // takes the permit
				}
				w.service.SetFaults(row.faults)
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
				defer cancel()
				r, err := c.try(ctx, "POST", "/groups", headers(), row.body)
				if err != nil {
					t.Fatal(err)
				}
				if r.status != row.want || r.member(row.member) != row.value {
					t.Errorf("got %d %s, want %d with %s %s", r.status, r.body, row.want, row.member, row.value)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("got the response after %v, want it a second before the deadline", took)
				}
				time.Sleep(time.Minute) // the attempt in flight ends
			})
		})
	}
}

func TestGroups_WrongKeyThenFixed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.caller(direct)
		w.service.SetFaults(emulator.Faults{Plan: func(emulator.Request) emulator.Fault { return 70009 }})
		var requests []int
		for start := time.Now(); time.Since(start) < 5*time.Minute; time.Sleep(100 * time.Millisecond) {
			r := c.post(noID)
			if r.status != 502 || r.member("type") != "urn:groupimport:halt" || r.member("code") != 70009.0 ||
				!strings.Contains(r.body, "TIM_SECRET_KEY") {
				t.Fatalf("got %d %s, want 502 with what to do", r.status, r.body)
			}
			if n := after(t, r); n > 61 {
				t.Errorf("got Retry-After %d, want a minute at most", n)
			}
			requests = append(requests, w.service.Stats().Requests)
		}
		if got := requests[len(requests)-1]; got < 5 || got > 12 {
			t.Errorf("got %d requests in five minutes, want ever fewer", got)
		}
		w.service.SetFaults(emulator.Faults{})
		time.Sleep(time.Minute)
		if r := c.post(noID); r.status != 201 {
			t.Errorf("got %d after the key was fixed, want 201: %s", r.status, r.body)
		}
	})
}

func TestGroups_ServiceDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.caller(direct)
		w.service.SetFaults(emulator.Faults{BadGateway: 1})
		for range 40 {
			if r := c.post(one); r.status != 502 && r.status != 504 || r.member("retry") != "safe" {
				t.Errorf("got %d %s, want 502 or 504", r.status, r.body)
			}
		}
		w.service.SetFaults(emulator.Faults{})
		time.Sleep(time.Minute)
		if r := c.post(one); r.status != 201 {
			t.Errorf("got %d when it was back, want 201: %s", r.status, r.body)
		}
	})
}

func TestGroups_500Concurrent(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		var wg sync.WaitGroup
		for n := range 500 {
			wg.Go(func() {
				body := fmt.Sprintf(`{"Type":"Public","Name":"n%d"}`, n)
				if r := c.post(body, "Idempotency-Key", strconv.Itoa(n)); r.status != 201 {
					t.Errorf("got %d: %s", r.status, r.body)
				}
			})
		}
		wg.Wait()
		names := map[string]bool{}
		for g := range w.service.Groups() {
			names[g.Name] = true
		}
		if got := w.service.Stats(); got.Created != 500 || len(names) != 500 || got.Requests != 500 {
			t.Errorf("got %d groups with %d names of %d requests, want 500 of each", got.Created, len(names), got.Requests)
		}
	})
}

func TestGroups_TooManyConcurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.service.Latency = time.Second
		c := w.caller(direct)
		var mu sync.Mutex
		statuses := map[int]int{}
		var wg sync.WaitGroup
		for n := range 700 {
			wg.Go(func() {
				r := c.post(fmt.Sprintf(`{"Type":"Public","Name":"n","GroupId":"g%d"}`, n))
				if r.status == 503 {
					after(t, r)
				}
				mu.Lock()
				defer mu.Unlock()
				statuses[r.status]++
			})
		}
		wg.Wait()
		if statuses[503] != 100 || statuses[201] != 600 {
			t.Errorf("got %v, want 600 made and 100 sent away", statuses)
		}
		if r := c.post(noID); r.status != 201 {
			t.Errorf("got %d afterwards, want room: %s", r.status, r.body)
		}
	})
}

func TestNew_NoAuthentication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for about, c := range map[string]config.Config{
		"neither":     {},
		"both":        {HTTPToken: token, HTTPPlatform: true},
		"a short one": {HTTPToken: "0123456789abcde"},
	} {
		if h, err := httpapi.New(httpapi.Config{Config: c, Bucket: w.store, Transport: w.service}); err == nil || h != nil {
			t.Errorf("%s: got no error", about)
		} else if strings.Contains(err.Error(), "0123456789abcde") {
			t.Errorf("%s: got %v, want no token in it", about, err)
		}
	}
}

func TestAuthorize_Platform(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.HTTPToken, w.config.HTTPPlatform = "", true
	h := w.handler()
	for _, s := range servers {
		c := &caller{t, s.open(t, h)}
		if r := c.post(one, "Authorization", ""); r.status != http.StatusForbidden {
			t.Errorf("%s: got %d, want 403: %s", s.name, r.status, r.body)
		}
	}
	authenticated := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(httpapi.Authenticated(r.Context(), "")))
	})
	for _, s := range servers {
		c := &caller{t, s.open(t, authenticated)}
		if r := c.post(one, "Authorization", ""); r.status != http.StatusCreated && r.status != http.StatusOK {
			t.Errorf("%s: got %d for an authenticated caller, want 201 or 200: %s", s.name, r.status, r.body)
		}
	}
}

func TestHandler_Panic(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		w.store.Fail = func(op blobtest.Op) blobtest.Fault {
			if op.Method == blobtest.List {
				panic("a fault")
			}
			return blobtest.Fault{Err: errors.New("down")}
		}
		if r := c.get("/imports"); r.status != 500 || strings.Contains(r.body, "a fault\n") {
			t.Errorf("got %d, want 500: %s", r.status, r.body)
		}
		if r := c.get("/imports/exports/a.jsonl"); r.status != 503 || strings.Contains(r.body, "down") {
			t.Errorf("got %d, want 503: %s", r.status, r.body)
		}
		if r := c.get("/healthz"); r.status != 200 {
			t.Errorf("got %d, want 200: %s", r.status, r.body)
		}
	})
}

func TestHandler_Log(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		w.service.SetFaults(emulator.Faults{Plan: func(emulator.Request) emulator.Fault { return 70009 }})
		ids := []string{
			c.post(noID).Header.Get("X-Request-Id"),
			c.get("/imports/exports/" + token).Header.Get("X-Request-Id"),
			c.do("GET", "/"+token, headers(), "").Header.Get("X-Request-Id"),
			c.post(noID, "Authorization", "Bearer x"+token).Header.Get("X-Request-Id"),
			c.do("M"+token, "/groups", headers(), "").Header.Get("X-Request-Id"),
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		log := w.log.String()
		for n, want := range []string{
			`level=WARN msg="http request" method=POST path=/groups status=502 id=%s ms=\d+ code=70009 ` +
				`detail=".*TIM_SECRET_KEY.*"`,
			`level=DEBUG msg="http request" method=GET path=/imports/{key} status=404 id=%s ms=\d+ code=0 detail="no export .*"`,
			`level=DEBUG msg="http request" method=GET path=other status=404 id=%s `,
			`level=DEBUG msg="http request" method=POST path=/groups status=401 id=%s `,
			`level=DEBUG msg="http request" method=other path=/groups status=405 id=%s `,
		} {
			if line := fmt.Sprintf(want, ids[n]); ids[n] == "" || !regexp.MustCompile(line).MatchString(log) {
				t.Errorf("no line %s in:\n%s", line, log)
			}
		}
		if strings.Contains(log, token) || strings.Contains(log, key) {
			t.Errorf("got a log with secrets:\n%s", log)
		}
	})
}

func TestAuthorize_WrongTokensAreCountedAndLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var denied atomic.Int64
		h, err := httpapi.New(httpapi.Config{
			Config: w.config, Bucket: w.store, Transport: w.service, Log: w.importer().Log, OnDenied: func() { denied.Add(1) },
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &caller{t, recorded{h}}
		const message = "http requests with wrong credentials"
		for second := range 90 {
			for range 10 {
				c.get("/imports", "Authorization", "Bearer wrong")
				c.post(noID, "Authorization", "Basic dXNlcjpub3BlCg==")
			}
			c.get("/imports", "Authorization", "") // as browsers begin
			c.get("/imports")
			if want := int64(second+1) * 20; denied.Load() != want {
				t.Fatalf("got %d denied requests, want %d", denied.Load(), want)
			}
			time.Sleep(time.Second)
		}
		log := w.log.String()
		if n := strings.Count(log, message); n != 2 {
			t.Errorf("got %d lines in 90 s, want 2, one a minute", n)
		}
		for _, want := range []string{`level=WARN msg="` + message + `" requests=1`, message + `" requests=1200`} {
			if !strings.Contains(log, want) {
				t.Errorf("no line %s", want)
			}
		}
	})
}

func TestGroups_SlowLongBodies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.handler()
		post := func(body io.Reader, length int64) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/groups", body)
			r.ContentLength, r.Header = length, headers()
			got := httptest.NewRecorder()
			h.ServeHTTP(got, r)
			return got
		}
		var slow sync.WaitGroup
		ends := make([]*io.PipeWriter, 64)
		for n := range ends {
			var body *io.PipeReader
			body, ends[n] = io.Pipe()
			slow.Go(func() {
				if got := post(body, 10_000); got.Code != http.StatusCreated {
					t.Errorf("got %d for a body that came slowly, want 201: %s", got.Code, got.Body)
				}
			})
		}
		synctest.Wait()
		if got := post(strings.NewReader(noID), int64(len(noID))); got.Code != http.StatusCreated {
			t.Errorf("got %d for a short body meanwhile, want 201: %s", got.Code, got.Body)
		}
		long := fmt.Sprintf("%-10000s", noID)
		for _, length := range []int64{int64(len(long)), -1} {
			start := time.Now()
			if got := post(strings.NewReader(long), length); got.Code != http.StatusServiceUnavailable ||
				got.Header().Get("Retry-After") != "1" {
				t.Errorf("got %d for one more long body, want 503: %s", got.Code, got.Body)
			}
			if took := time.Since(start); took != 5*time.Second {
				t.Errorf("got it after %v, want 5s", took)
			}
		}
		var next sync.WaitGroup
		next.Go(func() {
			if got := post(strings.NewReader(long), int64(len(long))); got.Code != http.StatusCreated {
				t.Errorf("got %d once there was room, want 201: %s", got.Code, got.Body)
			}
		})
		for _, end := range ends {
			_, _ = io.WriteString(end, long)
			end.Close()
		}
		slow.Wait()
		next.Wait()
	})
}
