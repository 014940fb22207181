package tim_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/group"
	"groupimport/pkg/pacer"
	"groupimport/pkg/tim"
)

const (
	testApp  = 1400000001
	testKey  = "5f0b3c1d9e8a7264aa55d0c2b19e77f3f0d1c2b3a4958677"
	testRate = 190
)

// newService returns an emulator with a latency of 20 ms.
func newService() *emulator.Service {
	return &emulator.Service{SDKAppID: testApp, Key: testKey, Latency: 20 * time.Millisecond}
}

// newClient returns a client with this transport, at testRate unless tune changes it.
func newClient(t testing.TB, transport http.RoundTripper, tune ...func(*tim.Config)) *tim.Client {
	t.Helper()
	cfg := tim.Config{
		SDKAppID: testApp, Admin: "administrator", SecretKey: testKey, Endpoint: "https://im.example",
		Rate: testRate, Transport: transport,
	}
	for _, f := range tune {
		f(&cfg)
	}
	if cfg.Pacer == nil {
		cfg.Pacer = pacer.New(cfg.Rate)
	}
	c, err := tim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// record returns a record.
func record(id, name string) *group.Record {
	return &group.Record{GroupID: id, Type: group.Public, Name: name, OwnerAccount: "leckie", CreateTime: 1448357837}
}

func records(n int, withID bool) []*group.Record {
	recs := make([]*group.Record, n)
	for i := range recs {
		recs[i] = record("", fmt.Sprint("name ", i))
		if withID {
			recs[i].GroupID = fmt.Sprint("g", i)
		}
	}
	return recs
}

// importAll starts a call for each record, one after another, and waits for all results.
func importAll(ctx context.Context, c *tim.Client, recs []*group.Record) []tim.Result {
	calls := make([]*tim.Call, len(recs))
	for i, rec := range recs {
		calls[i] = c.ImportGroup(ctx, rec)
	}
	results := make([]tim.Result, len(recs))
	for i, call := range calls {
		results[i] = call.Wait()
	}
	return results
}

var endNames = map[tim.End]string{
	tim.Incomplete: "incomplete", tim.Imported: "imported", tim.Exists: "exists",
	tim.Rejected: "rejected", tim.Failed: "failed", tim.Unknown: "unknown",
}

// short formats the fields of a result that a test compares.
func short(r tim.Result) string {
	return fmt.Sprintf("%s %q code %d attempts %d", endNames[r.End], r.GroupID, r.Code, r.Attempts)
}

func countEnds(results []tim.Result) map[string]int {
	ends := make(map[string]int)
	for _, r := range results {
		ends[endNames[r.End]]++
	}
	return ends
}

func maxAttemptsOf(results []tim.Result) int {
	n := 0
	for _, r := range results {
		n = max(n, r.Attempts)
	}
	return n
}

// checkNoDuplicates checks that no two groups have the same name.
func checkNoDuplicates(t *testing.T, s *emulator.Service) {
	t.Helper()
	for name, n := range s.Names() {
		if n > 1 {
			t.Errorf("%q: got %d groups, want 1", name, n)
		}
	}
}

// A transport is a fake service as a function.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func respond(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}}
}

// A recorder records the requests that it passes on.
type recorder struct {
	next http.RoundTripper

	mu          sync.Mutex
	sigs        []string // without repetitions, in order
	sent        []sent
	inFlight    int
	maxInFlight int // at the same time
}

type sent struct {
	at   time.Time
	path string
	sig  string
}

func (rec *recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	rec.mu.Lock()
	sig := r.URL.Query().Get("usersig")
	rec.sent = append(rec.sent, sent{time.Now(), r.URL.Path, sig})
	rec.inFlight++
	rec.maxInFlight = max(rec.maxInFlight, rec.inFlight)
	known := false
	for _, s := range rec.sigs {
		known = known || s == sig
	}
	if !known {
		rec.sigs = append(rec.sigs, sig)
	}
	rec.mu.Unlock()
	defer func() {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		rec.inFlight--
	}()
	return rec.next.RoundTrip(r)
}

func always(f emulator.Fault) emulator.Faults {
	return emulator.Faults{Plan: func(emulator.Request) emulator.Fault { return f }}
}

// imports plans f for all requests of import_group.
func imports(f emulator.Fault) emulator.Faults {
	return emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
		if r.Command == "import_group" {
			return f
		}
		return emulator.None
	}}
}

// first plans f for the first n requests.
func first(n int, f emulator.Fault) emulator.Faults {
	return emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
		if r.Ordinal <= n {
			return f
		}
		return emulator.None
	}}
}

func maxAttempts(n int) func(*tim.Config) { return func(c *tim.Config) { c.MaxAttempts = n } }

func rate(r float64) func(*tim.Config) { return func(c *tim.Config) { c.Rate = r } }

func insecure(c *tim.Config) { c.Insecure = true }
