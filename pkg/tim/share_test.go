package tim_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/group"
	"groupimport/pkg/tim"
)

// The calls of one import fail and are retried, so that many of them wait for permits. The other import still gets
// half of the rate.
func TestShare_RetriesTakeNoMoreThanTheirShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			if strings.Contains(string(body), `"bad-`) {
				time.Sleep(20 * time.Millisecond)
				return respond(200, `{"ActionStatus":"FAIL","ErrorCode":10002,"ErrorInfo":"internal error"}`), nil
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			return s.RoundTrip(r)
		}))
		var mu sync.Mutex
		imported := 0
		const seconds = 60
		ctx, stop := t.Context(), time.Now().Add(seconds*time.Second)
		shares := map[string]*tim.Share{}
		var working sync.WaitGroup
		for _, name := range []string{"good", "bad"} {
			share := c.NewShare(tim.ShareConfig{DrainTimeout: time.Second})
			shares[name] = share
			working.Go(func() {
				ctx := tim.WithShare(ctx, share)
				var calls sync.WaitGroup
				for n := 0; time.Now().Before(stop); n++ {
					rec := &group.Record{GroupID: fmt.Sprintf("%s-%d", name, n), Type: group.Public, Name: "n"}
					call := c.ImportGroup(ctx, rec)
					calls.Go(func() {
						if call.Wait().End == tim.Imported {
							mu.Lock()
							imported++
							mu.Unlock()
						}
					})
				}
				calls.Wait()
			})
		}
		working.Wait()
		if want := testRate * seconds / 2; imported < want*95/100 {
			t.Errorf("got %d groups imported beside calls that fail, want %d", imported, want)
		}
		if got := shares["good"].Attempts() + shares["bad"].Attempts(); got != c.Attempts() {
			t.Errorf("got %d attempts of the shares, want all %d", got, c.Attempts())
		}
	})
}

// The drain timeout is that of all requests together: calls that wait for one after another must not outlast the run.
// Here the accounts of some calls are in two requests of account_check, neither of which gets a response.
func TestShare_DrainOfSeveralRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemberService(1)
		s.OnlyAccounts = true
		s.Faults.Plan = func(r emulator.Request) emulator.Fault {
			if r.Command == "account_check" {
				return emulator.Hang
			}
			return emulator.None
		}
		c := newClient(t, s, func(cfg *tim.Config) { cfg.MembersPerCall = 15 })
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		ctx = tim.WithShare(ctx, c.NewShare(tim.ShareConfig{DrainTimeout: time.Second}))
		start := time.Now()
		members := memberList(600)
		var calls []*tim.MembersCall
		for from := 0; from < len(members); from += 15 {
			calls = append(calls, c.ImportMembers(ctx, "g0", members[from:from+15]))
		}
		for _, call := range calls {
			call.Wait()
		}
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("got an end after %v, want it within 4 s", took)
		}
		if n := s.Stats().Commands["account_check"].Requests; n < 2 {
			t.Errorf("got %d requests of account_check, want several in flight", n)
		}
	})
}
