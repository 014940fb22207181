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
	"groupimport/pkg/emulator"
	"groupimport/pkg/httpapi"
	"groupimport/pkg/results"
)

func TestOnce_Replay(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		w.service.SensitiveWords = []string{"bad"}
		c.post(one)
		made := w.service.Stats().Created
		for about, body := range map[string]string{
			"made": noID, "rejected": `{"Type":"Public","Name":"bad"}`, "taken": other,
		} {
			first := c.post(body, "Idempotency-Key", `"`+about+`"`)
			requests := w.service.Stats().Requests
			for _, key := range []string{`"` + about + `"`, about} { // in quotes and bare it is the same
				again := c.post(body, "Idempotency-Key", key)
				if again.status != first.status || again.body != first.body ||
					again.Header.Get("Content-Type") != first.Header.Get("Content-Type") {
					t.Errorf("%s: got  %d %s\nwant %d %s", about, again.status, again.body, first.status, first.body)
				}
				if again.Header.Get("Idempotency-Replayed") != "true" || first.Header.Get("Idempotency-Replayed") != "" {
					t.Errorf("%s: got no word of which response is the first", about)
				}
			}
			if got := w.service.Stats().Requests; got != requests {
				t.Errorf("%s: got %d more requests to the service, want none", about, got-requests)
			}
		}
		if got := w.service.Stats().Created; got != made+1 {
			t.Errorf("got %d groups made, want 1", got-made)
		}
		r := c.post(`{"Type":"Public","Name":"Two"}`, "Idempotency-Key", "made")
		if r.status != 422 || r.member("type") != "urn:groupimport:idempotency-key" {
			t.Errorf("got %d %s for another body, want 422", r.status, r.body)
		}
	})
}

func TestOnce_ConcurrentRequests(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		statuses := make([]int, 20)
		var wg sync.WaitGroup
		for n := range statuses {
			wg.Go(func() { statuses[n] = c.post(noID, "Idempotency-Key", "k").status })
		}
		wg.Wait()
		for _, status := range statuses {
			if status != 201 && status != 409 {
				t.Errorf("got %d, want the group or 409", status)
			}
		}
		if got := w.service.Stats().Created; got != 1 {
			t.Errorf("got %d groups, want 1", got)
		}
		if got := c.post(noID, "Idempotency-Key", "k"); got.status != 201 {
			t.Errorf("got %d afterwards, want 201: %s", got.status, got.body)
		}
	})
}

func TestOnce_KeyReusableAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.caller(direct)
		w.service.SetFaults(emulator.Faults{Throttle: 1})
		if r := c.post(noID, "Idempotency-Key", "k"); r.status != 429 {
			t.Errorf("got %d, want 429: %s", r.status, r.body)
		}
		w.service.SetFaults(emulator.Faults{})
		time.Sleep(2 * time.Second)
		if r := c.post(noID, "Idempotency-Key", "k"); r.status != 201 || r.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("got %d, want 201 for the first time: %s", r.status, r.body)
		}
	})
}

func TestOnce_UnknownIsReplayed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.caller(direct)
		w.service.SetFaults(emulator.Faults{DropAfter: 1})
		for range 2 {
			if r := c.post(noID, "Idempotency-Key", "k"); r.status != 504 || r.member("outcome") != "unknown" ||
				r.member("retry") != "useless" {
				t.Errorf("got %d %s, want 504", r.status, r.body)
			}
			w.service.SetFaults(emulator.Faults{})
		}
		if got := w.service.Stats(); got.Requests != 1 || got.Created != 1 {
			t.Errorf("got %+v, want one request", got)
		}
	})
}

func TestOnce_KeyExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // which begins at midnight
		w := newWorld(t)
		c := w.caller(direct)
		for _, row := range []struct {
			after time.Duration
			made  int
		}{
			{0, 1},
			{23*time.Hour + 58*time.Minute, 1}, // clocks of others may say that it is tomorrow
			{4 * time.Minute, 1},               // it is
			{23 * time.Hour, 1},
			{time.Hour, 2},
			{time.Hour, 2},
		} {
			time.Sleep(row.after)
			if r := c.post(noID, "Idempotency-Key", "k"); r.status != 201 {
				t.Errorf("got %d, want 201: %s", r.status, r.body)
			}
			if got := w.service.Stats().Created; got != row.made {
				t.Errorf("at %s: got %d groups, want %d", time.Now().UTC().Format(time.DateTime), got, row.made)
			}
		}
	})
}

func TestOnce_ClockSkew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.caller(direct)
		time.Sleep(time.Hour)
		c.post(noID, "Idempotency-Key", "k")
		// As an instance would leave it whose clock is two minutes ahead, around the next midnight.
		for key, data := range w.store.Snapshot() {
			if err := w.store.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			ahead := strings.Replace(key, time.Now().UTC().Format("/20060102/"),
				time.Now().UTC().AddDate(0, 0, 1).Format("/20060102/"), 1)
			put(t, w, ahead, string(data))
		}
		time.Sleep(22*time.Hour + 59*time.Minute)
		if r := c.post(noID, "Idempotency-Key", "k"); r.Header.Get("Idempotency-Replayed") != "true" ||
			w.service.Stats().Created != 1 {
			t.Errorf("got %d and %d groups, want the first response: %s", r.status, w.service.Stats().Created, r.body)
		}
		if n := len(w.store.Snapshot()); n != 1 {
			t.Errorf("got %d objects, want the one", n)
		}
	})
}

// TestOnce_RequestDied kills a request, as seen from the store, at each of its writes.
func TestOnce_RequestDied(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about, body string
		keeps       bool // the intent gets into the store
		want        int
		made        int
	}{
		{"before the service, without an ID", noID, false, 201, 1},
		{"after the service, without an ID", noID, true, 504, 1},
		{"after the service, with an ID", one, true, 200, 1},
	} {
		t.Run(row.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				down := errors.New("down")
				w.store.Fail = func(op blobtest.Op) blobtest.Fault {
					switch {
					case op.Method == blobtest.Create && !row.keeps, op.Method == blobtest.Stat && !row.keeps && op.N == 1:
						return blobtest.Fault{Err: down}
					case op.Method == blobtest.Put:
						return blobtest.Fault{Err: down}
					}
					return blobtest.Fault{}
				}
				first := w.caller(direct).post(row.body, "Idempotency-Key", "k")
				if want := map[bool]int{true: 201, false: 503}[row.keeps]; first.status != want {
					t.Errorf("got %d, want %d: %s", first.status, want, first.body)
				}
				w.store = w.store.Clone()
				c := w.caller(direct)
				if row.keeps {
					if r := c.post(row.body, "Idempotency-Key", "k"); r.status != 409 || r.Header.Get("Retry-After") == "" {
						t.Errorf("got %d at once, want 409: the first may live: %s", r.status, r.body)
					}
					time.Sleep(time.Minute)
				}
				for range 2 {
					if r := c.post(row.body, "Idempotency-Key", "k"); r.status != row.want {
						t.Errorf("got %d, want %d: %s", r.status, row.want, r.body)
					}
				}
				if got := w.service.Stats().Created; got != row.made {
					t.Errorf("got %d groups, want %d", got, row.made)
				}
			})
		})
	}
}

func TestOnce_LostResponseOfTheBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Fail = func(op blobtest.Op) blobtest.Fault {
		if op.Method == blobtest.Create {
			return blobtest.Fault{Err: errors.New("lost"), Applied: true}
		}
		return blobtest.Fault{}
	}
	if r := w.caller(direct).post(noID, "Idempotency-Key", "k"); r.status != 201 {
		t.Errorf("got %d, want 201: %s", r.status, r.body)
	}
}

func TestOnce_CallerDisconnects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.service.Latency = time.Second
		c := w.caller(direct)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(500*time.Millisecond, cancel)
		if _, err := c.try(ctx, "POST", "/groups", headers("Idempotency-Key", "k"), noID); err != nil {
			t.Fatal(err)
		}
		r := c.post(noID, "Idempotency-Key", "k")
		if r.status != 201 || r.Header.Get("Idempotency-Replayed") != "true" || w.service.Stats().Created != 1 {
			t.Errorf("got %d and %d groups, want the first response: %s", r.status, w.service.Stats().Created, r.body)
		}
	})
}

func TestOnce_ClaimIsNotAnExport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // at noon: around midnight another day is looked at
		time.Sleep(12 * time.Hour)
		w := newWorld(t)
		c := w.caller(direct)
		c.post(noID, "Idempotency-Key", "k")
		n := 0
		for key := range w.store.Snapshot() {
			n++
			if !results.IsOutput(key) || !strings.HasPrefix(key, prefix+".http/") || strings.Contains(key, `"k"`) {
				t.Errorf("got %q, want a name of the program's own", key)
			}
		}
		if n != 1 {
			t.Errorf("got %d objects, want 1", n)
		}
		if got := fmt.Sprint(w.store.Counts().Calls); got != "map[Create:1 List:1 Put:1 ReadRange:1]" {
			t.Errorf("got %s, want three requests to the store, and a list for outdated claims", got)
		}
		for n := range 3000 {
			key := fmt.Sprintf("%s%s/%064x", results.ResponsesFolder(prefix), time.Now().Format(results.DayFormat), n)
			if err := w.store.Put(t.Context(), key, strings.NewReader("{}")); err != nil {
				t.Fatal(err)
			}
		}
		c.get("/imports")
		if got := w.store.Counts().Calls[blobtest.List]; got != 3 {
			t.Errorf("got %d lists, want the one above, and two before and after the claims, which may be many", got)
		}
	})
}

// as returns a caller that the platform has authenticated under this identity.
func (w *world) as(identity string) *caller {
	w.t.Helper()
	w.config.HTTPToken, w.config.HTTPPlatform = "", true
	h := w.handler()
	return &caller{w.t, recorded{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(httpapi.Authenticated(r.Context(), identity)))
	})}}
}

func TestOnce_CallersHaveTheirOwnKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.as("alice"), w.as("bob")
	for _, row := range []struct {
		about  string
		caller *caller
		body   string
		status int
		made   int
	}{
		{"the first caller", alice, noID, 201, 1},
		{"another caller with the same key and body", bob, noID, 201, 2},
		{"the first caller again", alice, noID, 201, 2},
		{"the first caller with another body", alice, `{"Type":"Public","Name":"Two"}`, 422, 2},
	} {
		r := row.caller.post(row.body, "Authorization", "", "Idempotency-Key", "k")
		if got := w.service.Stats().Created; r.status != row.status || got != row.made {
			t.Errorf("%s: got %d and %d groups, want %d and %d: %s", row.about, r.status, got, row.status, row.made, r.body)
		}
	}
}

// An earlier release saved responses under one name for all callers.
func TestOnce_ResponsesOfEarlierRelease(t *testing.T) {
	t.Parallel()
	for about, after := range map[string]time.Duration{"on the same day": time.Hour, "on the next day": 25 * time.Hour} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first := w.as("").post(noID, "Authorization", "", "Idempotency-Key", "k")
				time.Sleep(after)
				again := w.as("alice").post(noID, "Authorization", "", "Idempotency-Key", "k")
				if again.body != first.body || w.service.Stats().Created != 1 {
					t.Errorf("got %d, %d groups, want the saved response: %s", again.status, w.service.Stats().Created, again.body)
				}
				time.Sleep(48 * time.Hour)
				later := w.as("alice").post(noID, "Authorization", "", "Idempotency-Key", "k")
				if later.status != 201 || w.service.Stats().Created != 2 {
					t.Errorf("got %d, %d groups two days later, want a new group", later.status, w.service.Stats().Created)
				}
			})
		})
	}
}

func TestOnce_DamagedClaim(t *testing.T) {
	t.Parallel()
	for about, damage := range map[string][2]string{
		"a status that HTTP does not have": {`"status":201`, `"status":42`},
		"a status of three digits":         {`"status":201`, `"status":999`},
		"an informational status":          {`"status":201`, `"status":101`},
		"a negative status":                {`"status":201`, `"status":-1`},
		"no text":                          {`"text":`, `"other":`},
		"text that is no object":           {`"text":{`, `"text":"<script>","other":{`},
		"no JSON":                          {`{`, `<`},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.caller(direct)
			c.post(noID, "Idempotency-Key", "k")
			for key, data := range w.store.Snapshot() {
				damaged := strings.Replace(string(data), damage[0], damage[1], 1)
				if damaged == string(data) {
					t.Fatalf("%s has no %s", data, damage[0])
				}
				put(t, w, key, damaged)
			}
			r := c.post(noID, "Idempotency-Key", "k")
			if got := w.service.Stats().Created; r.status != 503 || got != 1 {
				t.Errorf("got %d and %d groups, want 503 and the first group: %s", r.status, got, r.body)
			}
		})
	}
}

func TestOnce_OutdatedClaimsAreRemoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.caller(direct)
		now := time.Now().UTC()
		var kept []string
		claim := func(daysAgo, n int) string {
			return fmt.Sprintf("exports/.http/%s/%064x", now.AddDate(0, 0, -daysAgo).Format("20060102"), n)
		}
		for n := range 120 {
			put(t, w, claim(10, n), "{}")
		}
		put(t, w, claim(4, 1), "{}")
		for _, key := range []string{
			claim(3, 1), claim(2, 1), claim(0, 1), "exports/.http/19990101/a.jsonl", "exports/.http/x", "exports/a.jsonl",
			"exports/.http/1999/" + strings.Repeat("9f", 32), "other/.http/19990101/" + strings.Repeat("9f", 32),
		} {
			put(t, w, key, "{}")
			kept = append(kept, key)
		}
		claims := func() (outdated int) {
			all := w.store.Snapshot()
			for _, key := range kept {
				if _, ok := all[key]; !ok {
					t.Errorf("%s is missing", key)
				}
			}
			for key := range all {
				if strings.HasPrefix(key, claim(10, 0)[:len("exports/.http/20261122/")]) || key == claim(4, 1) {
					outdated++
				}
			}
			return outdated
		}
		for n, want := range []int{21, 21, 0} {
			if n == 2 {
				time.Sleep(time.Hour)
			}
			if r := c.post(noID, "Idempotency-Key", fmt.Sprint("k", n)); r.status != 201 {
				t.Errorf("got %d: %s", r.status, r.body)
			}
			if got := claims(); got != want {
				t.Errorf("got %d outdated claims after request %d, want %d", got, n, want)
			}
		}
	})
}
