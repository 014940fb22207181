package results_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/export"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

// memberPassRun appends outcomes up to record last from cp on, with members pending in every third, and follows them,
// until it is killed. It returns the checkpoint that it left.
func memberPassRun(
	t *testing.T, b *blobtest.Bucket, cp results.Checkpoint, number int, last int64, r *rand.Rand,
) results.Checkpoint {
	t.Helper()
	b.Fail = nil
	l := held(t, b, number)
	dead := &atomic.Bool{}
	b.Fail = func(blobtest.Op) blobtest.Fault {
		if dead.Load() {
			return blobtest.Fault{Err: blob.Permanent(errors.New("killed"))}
		}
		return blobtest.Fault{Delay: 20 * time.Millisecond}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	life := time.Duration(r.Int64N(int64(40 * time.Second)))
	time.AfterFunc(life, func() {
		dead.Store(true)
		cancel()
	})
	slow := time.Duration(r.IntN(15)) * time.Millisecond
	w := dir(b).NewWriter(ctx, l, cp, 0)
	hasMembers := cp.Members != nil
	var passes sync.WaitGroup
	follow := func() {
		for line, err := range w.Follow(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("run %d: %v", number, err)
				}
				return
			}
			if line.Text == nil {
				continue
			}
			read, raw, err := outcome.Parse(line.Text)
			if err != nil {
				t.Errorf("run %d: %v", number, err)
				return
			}
			o := read
			if o.Members.Pending > 0 {
				o.Members = outcome.Members{Added: o.Members.Pending}
				time.Sleep(slow)
			}
			if w.AppendMembers(&read, &o, raw, line.End) != nil {
				return
			}
		}
		if ctx.Err() == nil {
			w.EndMembers()
		}
	}
	if hasMembers {
		passes.Go(follow)
	}
	n := cp.Next.N
	for ; n <= last; n++ {
		o := imported(n)
		if n%3 == 0 {
			o.Members.Pending = 7
		}
		if w.Append(o, []byte(`{"Type":"Public"}`), next(n), results.Origin{}) != nil {
			break
		}
		if o.Members.Pending > 0 && !hasMembers {
			hasMembers = true
			passes.Go(follow)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n > last {
		w.EndRecords()
	}
	passes.Wait()
	_, _ = w.Close(results.RunEnd{IsRead: n > last})
	b.Fail = nil
	saved, err := dir(b).LoadCheckpoint(t.Context(), number+1)
	if err != nil {
		t.Fatal(err)
	}
	if saved == nil {
		return cp
	}
	return *saved
}

// The member pass has each outcome once and in order, while parts are merged below it and runs are killed.
func TestWriter_FollowsParts(t *testing.T) {
	results.LowerMergeLimits(t, 200_000, 20)
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, seed))
			b := &blobtest.Bucket{}
			const records = 4000
			cp := results.Checkpoint{
				Export: results.Export{Key: names.Export, Version: "v1"}, Next: export.Start,
				Runs: []results.Run{{Lease: 1, Start: time.Now()}},
			}
			run := 0
			for ; !cp.IsComplete(); run++ {
				if run == 40 {
					t.Fatalf("seed %d: not complete after %d runs: %+v", seed, run, cp)
				}
				cp = memberPassRun(t, b, cp, run+1, records, r)
				total := cp.Total()
				if total.Records() != cp.Next.N-1 || total.Members.Added+total.Members.Pending != 7*((cp.Next.N-1)/3) {
					t.Fatalf("seed %d, run %d: got %+v before record %d", seed, run, total, cp.Next.N)
				}
			}
			m, err := dir(b).Finish(t.Context(), held(t, b, run+1), cp, results.RetryPolicy{}, nil)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if want := (outcome.Counts{
				Imported: records,
				Members:  outcome.Members{Added: 7 * (records / 3)},
			}); m.Counts != want {
				t.Errorf("seed %d: got %+v, want %+v", seed, m.Counts, want)
			}
			n := int64(0)
			for line, err := range results.Lines(t.Context(), b, names.Results()) {
				if err != nil {
					t.Fatal(err)
				}
				n++
				o := outcome.Scan(line)
				if want := fmt.Sprint(n%3 == 0); o.N != n || fmt.Sprint(o.Members.Added == 7) != want {
					t.Fatalf("seed %d: got %s, want outcome %d", seed, line, n)
				}
			}
			if n != records {
				t.Errorf("seed %d: got %d results, want %d", seed, n, records)
			}
		})
	}
}

// A part that was removed is an error, not a shorter list of members.
func TestWriter_FollowsNoMissingPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		l := held(t, b, 1)
		cp := results.Checkpoint{
			Export: results.Export{Key: names.Export, Version: "v1"}, Next: export.Start,
			Runs: []results.Run{{Lease: 1, Start: time.Now()}},
		}
		w := dir(b).NewWriter(t.Context(), l, cp, 0)
		o := imported(1)
		o.Members.Pending = 1
		if err := w.Append(o, []byte(`{}`), next(1), results.Origin{}); err != nil {
			t.Fatal(err)
		}
		w.EndRecords()
		time.Sleep(time.Second)
		if err := b.Delete(t.Context(), names.Work()+"parts/000001-000001"); err != nil {
			t.Fatal(err)
		}
		var found error
		for _, err := range w.Follow(t.Context()) {
			found = err
		}
		if found == nil {
			t.Error("a missing part was accepted")
		}
		if _, err := w.Close(results.RunEnd{}); err != nil {
			t.Error(err)
		}
	})
}
