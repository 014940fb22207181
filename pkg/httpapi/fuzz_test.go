package httpapi_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/pb33f/libopenapi"
)

func TestOpenAPI_IsValid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.caller(direct).do("GET", "/openapi.json", nil, "")
	doc, err := libopenapi.NewDocument([]byte(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if got := doc.GetVersion(); got != "3.1.0" {
		t.Errorf("got version %s, want 3.1.0", got)
	}
	v, err := description()
	if err != nil {
		t.Fatal(err)
	}
	if ok, errs := v.ValidateDocument(); !ok {
		t.Errorf("got %v", errs)
	}
}

// checkResponse checks that a response has a status, and a body of its Content-Type.
func checkResponse(t *testing.T, status int, header http.Header, body string) {
	t.Helper()
	if status < 200 || status > 599 || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("got status %d and headers %v", status, header)
	}
	if status == http.StatusInternalServerError {
		t.Errorf("got a fault: %s", body)
	}
	switch kind := header.Get("Content-Type"); kind {
	case "application/json", "application/problem+json":
		if body != "" && !jsontext.Value(body).IsValid() {
			t.Errorf("got %q, want JSON", body)
		}
	case "text/html; charset=utf-8":
		if !strings.HasPrefix(body, "<!doctype html>") {
			t.Errorf("got %q, want a page", body)
		}
	case "text/plain; charset=utf-8":
		if status != http.StatusFound || strings.TrimSpace(body) != header.Get("Location") {
			t.Errorf("got status %d and %q, want a redirect", status, body)
		}
	case "":
		if body != "" {
			t.Errorf("got %q of no kind", body)
		}
	default:
		t.Errorf("got Content-Type %q", kind)
	}
}

// FuzzRequest: every request gets a valid response.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "/groups", "Bearer "+token, "application/json", `"k"`, "", []byte(one))
	f.Add("GET", "/imports?limit=1&after=x", "Bearer "+token, "", "", "text/html", []byte(nil))
	f.Add("GET", "/imports/exports%2Fa.jsonl", "Basic eDp5", "", "", "application/json", []byte(nil))
	f.Add("GET", "/?limit=1", "Bearer "+token, "", "", "text/html", []byte(nil))
	f.Add("OPTIONS", "*", "", "", "", "", []byte(nil))
	f.Add("HEAD", "/imports/exports/<b>.jsonl", "bearer "+token, "application/json;charset", "k;a", "a,b;q", []byte("{"))
	f.Fuzz(func(t *testing.T, method, target, auth, kind, key, accept string, body []byte) {
		w := newWorld(t)
		w.service.Latency = 0
		w.config.Rate = 10_000
		h := w.handler()
		put(t, w, "exports/a.jsonl", one)
		r, err := http.NewRequestWithContext(t.Context(), method, "http://url.invalid/", strings.NewReader(string(body)))
		if err != nil {
			return
		}
		path, query, _ := strings.Cut(target, "?")
		r.URL.Path, r.URL.RawQuery = path, query
		for name, value := range map[string]string{
			"Authorization": auth, "Content-Type": kind, "Idempotency-Key": key, "Accept": accept,
		} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		checkResponse(t, rec.Code, rec.Header(), rec.Body.String())
	})
}

// FuzzBody checks that for any body, the response says what is wrong with it, or the group was created.
func FuzzBody(f *testing.F) {
	for _, body := range []string{
		one, noID, "", "{", one + one, "[]", `{"Type":"Publ"}`, strings.Repeat("[", 20_000), strings.Repeat(`{"a":`, 9_000),
		`{"Type":"Public","Name":"\ud800"}`, "{\"Type\":\"Public\",\"Name\":\"\xff\"}", "\xef\xbb\xbf" + one,
		strings.Repeat(" ", 70_000),
		`{"Type":"Public","Name":"a","AppDefinedData":[{"Key":"k","Value":1e999}]}`, `{"Type":"Public","CreateTime":1e400}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		w := newWorld(t)
		w.service.Latency = 0
		c := w.caller(direct)
		r := c.post(string(body))
		checkResponse(t, r.status, r.Header, r.body)
		isCreated := r.status == http.StatusCreated
		isWrong := slices.Contains([]int{400, 413, 422}, r.status)
		if made := w.service.Stats().Created == 1; made != isCreated || isWrong == isCreated {
			t.Errorf("got %d, and a group %v: %s", r.status, made, r.body)
		}
	})
}

// FuzzClaim: for any object under the name of a claim, the response is valid and no group is created twice.
func FuzzClaim(f *testing.F) {
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(noID)))
	claim := func(more string) []byte {
		return fmt.Appendf(nil, `{"body":"%s","token":"t","began":"2026-11-22T10:00:00Z",%s}`, digest, more)
	}
	f.Add(claim(`"until":"2026-11-22T10:00:00Z"`))
	f.Add(claim(`"until":"2999-11-22T10:00:00Z"`))
	f.Add(claim(`"until":"2026-11-22T10:00:00Z","status":201,"text":{"status":"imported"}`))
	f.Add(claim(`"until":"2026-11-22T10:00:00Z","status":42,"text":{}`))
	f.Add([]byte(`{"body":"another"}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(``))
	f.Add([]byte(strings.Repeat("[", 20_000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWorld(t)
		w.service.Latency = 0
		sum := sha256.Sum256([]byte("k"))
		put(t, w, fmt.Sprintf("exports/.http/%s/%x", time.Now().UTC().Format("20060102"), sum), string(data))
		h := w.handler()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/groups", strings.NewReader(noID))
		r.Header = headers("Idempotency-Key", "k")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		checkResponse(t, rec.Code, rec.Header(), rec.Body.String())
		if got := w.service.Stats().Created; got != 0 {
			t.Errorf("got %d, and the service created a group: %s", rec.Code, rec.Body)
		}
	})
}

// BenchmarkGroup measures what this program adds to a call of the service, which responds at once here.
func BenchmarkGroup(b *testing.B) {
	for name, key := range map[string]string{"bare": "", "with a key": "k"} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(&testing.T{})
			w.service.Latency = 0
			w.config.Rate = 1e6
			h := w.handler()
			n := 0
			for b.Loop() {
				n++
				r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/groups", strings.NewReader(noID))
				r.Header = headers("Idempotency-Key", key)
				if key != "" {
					r.Header.Set("Idempotency-Key", strconv.Itoa(n))
				}
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				if rec.Code != http.StatusCreated {
					b.Fatal(rec.Body)
				}
			}
		})
	}
}
