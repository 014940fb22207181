package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/importer"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
	"groupimport/pkg/tim"
)

// A panicking bucket panics when a run reads one export, after the first request for it.
type panicking struct {
	blob.Bucket

	key string
}

func (p panicking) ReadRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	if key == p.key && version != "" {
		panic("a fault")
	}
	return p.Bucket.ReadRange(ctx, key, version, off, n, buf)
}

// TestPass_PanicOfOneImport lets the oldest import panic in each pass.
func TestPass_PanicOfOneImport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.PutAt("a.jsonl", append(importertest.WithIDs(3), strings.Repeat("\n", 1<<20))...)
		time.Sleep(time.Second)
		pass := func() scheduler.Result {
			i := &importer.Importer{Config: w.Config, Bucket: panicking{w.Store, "a.jsonl"}, BucketName: "bucket"}
			if err := importertest.Dial(i, func(c *tim.Config) { c.Transport = w.Service }); err != nil {
				t.Fatal(err)
			}
			p, err := importertest.Scheduler(i).Pass(t.Context(), scheduler.Action{Resume: true, Retry: true})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		stopped := false
		for n := range 8 {
			w.PutAt(fmt.Sprintf("b%d.jsonl", n), importertest.WithIDs(3)...)
			time.Sleep(scheduler.MissedAfter)
			p := pass()
			last := p.Done[len(p.Done)-1]
			if d := p.Done[0]; n > 0 && (d.Key != fmt.Sprintf("b%d.jsonl", n) || d.State != results.Finished) {
				t.Errorf("pass %d: got %+v first, want the new export imported before the one that fails", n, d)
			}
			if n == 0 {
				last = p.Done[0] // it has not died before
			}
			if n < 5 && !strings.Contains(last.Error, "a fault") {
				t.Errorf("pass %d: got %+v, want the panic as the error of one import", n, p.Done)
			}
			if _, ok := errors.AsType[*scheduler.RunError](p.Err()); n < 5 && !ok {
				t.Errorf("pass %d: got %v, want a RunError", n, p.Err())
			}
			if n >= 5 && last.Key != "a.jsonl" {
				stopped = stopped || p.Stopped == 1
			}
		}
		if p, err := w.Dir("a.jsonl").LoadProgress(t.Context()); !stopped || err != nil ||
			p.State != results.Stopped || p.Cause != results.CauseDiedOften || !strings.Contains(p.Reason, "5 runs in a row") {
			t.Errorf("got %+v, %v, want it stopped with the reason", p, err)
		}
		time.Sleep(time.Hour)
		if got, want := importertest.Text(w.Pass(resume)), "resume a.jsonl finished"; got != want {
			t.Errorf("got %q once the fault was fixed, want %q", got, want)
		}
		if p, err := w.Dir("a.jsonl").LoadProgress(t.Context()); err != nil || p.Died != 0 {
			t.Errorf("got %+v, %v, want no run counted that died", p, err)
		}
	})
}

func TestPass_OldestDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		if got := w.Pass(resume).OldestDue; got != 0 {
			t.Errorf("got %v without an export, want 0", got)
		}
		w.PutAt("a.jsonl", importertest.WithIDs(1)...)
		time.Sleep(time.Minute)
		w.PutAt("b.jsonl", importertest.WithIDs(1)...)
		time.Sleep(time.Hour)
		if got := w.Pass(resume).OldestDue; got != 3660 {
			t.Errorf("got %v, want the age of the older export", got)
		}
		off := w.Failing()
		w.PutAt("c.jsonl", importertest.WithIDs(10)...)
		time.Sleep(time.Hour)
		w.Pass(resume)
		off()
		time.Sleep(24 * time.Hour)
		if got := w.Pass(retry).OldestDue; got < 23*3600 || got > 24*3600 {
			t.Errorf("got %v, want how long the round of retries has been due", got)
		}
	})
}
