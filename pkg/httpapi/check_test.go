package httpapi_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/check"
	"groupimport/pkg/httpapi"
	"groupimport/pkg/results"
)

// checking returns a caller of a function whose instances share a rate of 10.
func (w *world) checking() *caller {
	w.t.Helper()
	w.config.Rate, w.config.OneAtATime, w.config.Bucket = 10, true, "bucket"
	h, err := httpapi.New(httpapi.Config{
		Config: w.config, Bucket: w.store, Transport: w.service, Log: w.importer().Log,
		Check: func(_ context.Context, env *check.Env) {
			env.Transport = w.service
			env.Dial = func(context.Context, string, string) (net.Conn, error) {
				here, there := net.Pipe()
				there.Close()
				return here, nil
			}
			env.Platform = &check.Platform{
				Memory: 192, TimeLimit: 30 * time.Second, HasDeadline: true, Region: "x", TempDir: w.t.TempDir(),
				Role: func(context.Context) (string, error) { return "", errors.New("nobody tells") },
				CPU:  func() (float64, error) { return 1, nil },
			}
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return &caller{w.t, recorded{h}}
}

// A check over HTTP writes only where the door's role may write, keeps to the rate and to the time of a request, and
// leaves only the claims of its share.
func TestCheck_Report(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.checking()
		claims := map[string]bool{}
		w.store.Fail = func(op blobtest.Op) blobtest.Fault {
			if !strings.HasPrefix(op.Key, results.ResponsesFolder(prefix)) || op.Method != blobtest.List &&
				!results.IsOutput(op.Key) {
				t.Errorf("%s of %q", op.Method, op.Key)
			}
			return blobtest.Fault{}
		}
		start := time.Now()
		got := c.do("POST", "/check", headers(), "{}")
		if took := time.Since(start); got.status != 200 || took > 26*time.Second {
			t.Fatalf("got %d after %v: %s", got.status, took, got.body)
		}
		var report check.Report
		if err := json.Unmarshal([]byte(got.body), &report); err != nil {
			t.Fatal(err)
		}
		states := map[string]check.State{}
		for _, r := range report.Checks {
			states[r.Name] = r.State
			if wants := map[string]check.State{
				"function role": check.Warning,
				"im clock":      check.Warning,
			}; r.State != wants[r.Name] && r.State != check.OK {
				t.Errorf("got %+v", r)
			}
		}
		if report.State != check.Warning || states["function role"] != check.Warning || states["im latency"] != check.OK {
			t.Errorf("got %+v", report)
		}
		if peak := w.service.Stats().BusiestSecond; peak > 10 {
			t.Errorf("got %d attempts in the busiest second, want 10 at most", peak)
		}
		for key := range maps.Keys(w.store.Snapshot()) {
			claims[key] = true
		}
		if len(claims) > 5*4 { // five lanes, in each window of ten seconds
			t.Errorf("left behind: %v", slices.Sorted(maps.Keys(claims)))
		}
		page := c.do("POST", "/check", headers("Accept", "text/html"), "{}")
		if page.status != 200 || !strings.Contains(page.body, "nobody tells") || !strings.Contains(page.body, "可以导入") {
			t.Errorf("got %d %s, want a page in both languages", page.status, page.body)
		}
		if n := w.service.Stats().Created; n != 0 {
			t.Errorf("%d groups were created", n)
		}
	})
}

// A check takes a part of the rate: only one runs at a time, and a request that ends early gets the steps so far.
func TestCheck_OneAtATimeWithinTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.service.Latency = 2 * time.Second
		c := w.checking()
		first := make(chan reply)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
			defer cancel()
			got, err := c.try(ctx, "POST", "/check", headers(), "{}")
			if err != nil {
				t.Error(err)
			}
			first <- got
		}()
		time.Sleep(time.Second)
		second := c.do("POST", "/check", headers(), "{}")
		if second.status != 409 || second.Header.Get("Retry-After") != "26" || second.member("retry") != "safe" {
			t.Errorf("got %d %s, want 409", second.status, second.body)
		}
		start := time.Now()
		got := <-first
		if took := time.Since(start); got.status != 200 || took > 11*time.Second ||
			!strings.Contains(got.body, "not checked: ") {
			t.Errorf("got %d after %v: %s, want what was seen before the deadline", got.status, took, got.body)
		}
	})
}

// The page of another site cannot make a browser start a check, and a caller without the token learns nothing.
func TestCheck_Authorization(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.checking()
	basic := "Basic dXNlcjowMTIzNDU2Nzg5YWJjZGVmLXRoZS10b2tlbg=="
	for _, row := range []struct {
		method, header, value string
		status                int
	}{
		{"POST", "Authorization", "", 401},
		{"POST", "Authorization", "Bearer wrong", 401},
		{"POST", "Authorization", basic, 401},
		{"POST", "Content-Type", "", 415},
		{"POST", "Content-Type", "application/x-www-form-urlencoded", 415},
		{"GET", "Accept", "*/*", 405},
		{"PUT", "Accept", "*/*", 405},
	} {
		if got := c.do(row.method, "/check", headers(row.header, row.value), "{}").status; got != row.status {
			t.Errorf("%s with %s %q: got %d, want %d", row.method, row.header, row.value, got, row.status)
		}
	}
	if got := w.service.Stats().Requests; got != 0 || len(w.store.Snapshot()) != 0 {
		t.Errorf("a refused request has made %d requests, or written %v", got, w.store.Snapshot())
	}
}

// Errors of the store and the service get into the response without secrets.
func TestCheck_NoSecretOfAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.SecretKey = "another key"
	w.store.Fail = func(blobtest.Op) blobtest.Fault {
		return blobtest.Fault{Err: errors.New("put https://store.invalid/?usersig=eJwtzE0LgkAUheH\xff")}
	}
	h, err := httpapi.New(httpapi.Config{
		Config: w.config, Bucket: w.store, Transport: w.service,
		Check: func(_ context.Context, env *check.Env) { env.Transport = w.service },
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	got := (&caller{t, wire{server.URL}}).do("POST", "/check", headers(), "{}")
	if got.status != http.StatusOK || !strings.Contains(got.body, `"state":"failed"`) ||
		strings.Contains(got.body, "eJwtz") {
		t.Errorf("got %d %s, want failures without the UserSig", got.status, got.body)
	}
}
