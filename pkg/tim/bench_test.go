package tim_test

import (
	"net/http"
	"net/http/httptrace"
	"testing"

	"groupimport/pkg/tim"
)

// BenchmarkImportGroup measures the client alone: the service responds at once and without a network.
func BenchmarkImportGroup(b *testing.B) {
	const body = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"GroupId":"g"}`
	c := newClient(b, transport(func(r *http.Request) (*http.Response, error) {
		if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
			trace.GotConn(httptrace.GotConnInfo{})
			trace.WroteRequest(httptrace.WroteRequestInfo{})
		}
		return respond(200, body), nil
	}), rate(50_000), func(cfg *tim.Config) { cfg.MaxInFlight = 64 })
	rec := record("g", "a name")
	calls := make(chan *tim.Call, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for call := range calls {
			if r := call.Wait(); r.End != tim.Imported {
				b.Errorf("got %s %q", short(r), r.Message)
			}
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		calls <- c.ImportGroup(b.Context(), rec)
	}
	close(calls)
	<-done
}
