package results_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
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

// TestWriter_MergesParts kills runs at random moments while parts are merged. Every checkpoint names all outcomes.
func TestWriter_MergesParts(t *testing.T) {
	results.LowerMergeLimits(t, 200_000, 20)
	merged, small := 0, 0
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, seed))
			b := &blobtest.Bucket{}
			cp := results.Checkpoint{
				Export: results.Export{Key: names.Export, Version: "v1"}, Next: export.Start,
				Runs: []results.Run{{Lease: 1, Start: time.Now()}},
			}
			for run := 1; run <= 4; run++ {
				cp = mergingRun(t, b, cp, run, r)
				n := int64(0)
				for line, err := range dir(b).PartLines(t.Context(), &cp) {
					if err != nil {
						t.Fatalf("seed %d, run %d: %v", seed, run, err)
					}
					n++
					if got := outcome.Scan(line).N; got != n {
						t.Fatalf("seed %d, run %d: got outcome %d, want %d", seed, run, got, n)
					}
				}
				if n != cp.Next.N-1 || n != cp.Counts.Imported {
					t.Fatalf("seed %d, run %d: got %d outcomes, want %d as the checkpoint says", seed, run, n, cp.Next.N-1)
				}
			}
			for _, p := range cp.Parts {
				if p.Merged {
					merged += p.Count
				} else {
					small += p.Count
				}
			}
			if run := len(cp.Parts); run > 60 {
				t.Errorf("seed %d: got %d series of parts, want few", seed, run)
			}
		})
	}
	if merged < 100 || small > 40*20 {
		t.Errorf("got %d merged and %d small parts after 40 imports, want most merged", merged, small)
	}
}

// mergingRun appends outcomes from cp on until it is killed, and returns the checkpoint that it left.
func mergingRun(
	t *testing.T, b *blobtest.Bucket, cp results.Checkpoint, number int, r *rand.Rand,
) results.Checkpoint {
	t.Helper()
	b.Fail = nil
	l := held(t, b, number)
	dead := &atomic.Bool{}
	applied := r.IntN(2) == 0 // the request during which the process dies has its effect
	b.Fail = func(op blobtest.Op) blobtest.Fault {
		if dead.Load() {
			return blobtest.Fault{Err: blob.Permanent(errors.New("killed"))}
		}
		if op.Method == blobtest.Delete && strings.Contains(op.Key, "/lease/") {
			t.Error("a lease was removed")
		}
		return blobtest.Fault{Delay: 20 * time.Millisecond}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	life := time.Duration(r.Int64N(int64(100 * time.Second)))
	time.AfterFunc(life, func() {
		dead.Store(true)
		if !applied {
			cancel()
		}
	})
	start := time.Now()
	w := dir(b).NewWriter(ctx, l, cp, 0)
	for n := cp.Next.N; time.Since(start) < life; n++ {
		if w.WriteAhead(ctx, n) != nil || w.Append(imported(n), nil, next(n), results.Origin{}) != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	_, _ = w.Close(results.RunEnd{})
	b.Fail = nil
	last, err := dir(b).LoadCheckpoint(t.Context(), number+1)
	if err != nil {
		t.Fatal(err)
	}
	if last == nil {
		return cp
	}
	return *last
}
