package tim_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"groupimport/pkg/tim"
)

// TestWithGate_ClosedWhileConnecting connects slowly to a server over a network and closes the gate meanwhile.
func TestWithGate_ClosedWhileConnecting(t *testing.T) {
	var whole atomic.Int64 // requests that arrived with their bodies
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			whole.Add(1)
		}
	}))
	t.Cleanup(srv.Close)
	var closed atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	dialer := net.Dialer{}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		closed.Store(true)
		cancel()
		return conn, err
	}}
	c := newClient(t, transport, func(cfg *tim.Config) { cfg.Endpoint = srv.URL })
	ctx = tim.WithGate(ctx, func() error {
		if closed.Load() {
			return errors.New("the lease has ended")
		}
		return nil
	})
	if r := c.ImportGroup(ctx, record("", "no ID")).Wait(); r.End != tim.Incomplete || r.Lost {
		t.Errorf("got %+v, want it not sent", r)
	}
	srv.Close() // waits for the handlers
	if got := whole.Load(); got != 0 {
		t.Errorf("got %d requests, want none", got)
	}
}

func TestWithGate_GatesAddUp(t *testing.T) {
	s := newService()
	c := newClient(t, s)
	var first, second atomic.Bool
	gate := func(closed *atomic.Bool) func() error {
		return func() error {
			if closed.Load() {
				return errors.New("closed")
			}
			return nil
		}
	}
	ctx := tim.WithGate(tim.WithGate(t.Context(), gate(&first)), gate(&second))
	if r := c.ImportGroup(ctx, record("a", "a")).Wait(); r.End != tim.Imported {
		t.Fatalf("got %+v with open gates, want it imported", r)
	}
	for _, closed := range []*atomic.Bool{&first, &second} {
		closed.Store(true)
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		if r := c.ImportGroup(ctx, record("b", "b")).Wait(); r.End != tim.Incomplete {
			t.Errorf("got %+v with a closed gate, want it not sent", r)
		}
		cancel()
		closed.Store(false)
	}
	if got := s.Stats().Imports; got != 1 {
		t.Errorf("got %d requests, want 1", got)
	}
	if r := c.ImportGroup(ctx, record("b", "b")).Wait(); r.End != tim.Imported {
		t.Errorf("got %+v after the gate opened, want it imported", r)
	}
}
