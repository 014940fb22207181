package tim_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
			share := c.NewShare(time.Second)
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
