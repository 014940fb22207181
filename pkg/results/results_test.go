package results_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/export"
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

var at = time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC)

func TestIsOutput_KeysAndExports(t *testing.T) {
	for _, key := range []string{
		"a.jsonl.results.ndjson", "a.jsonl.failures.ndjson", "a.jsonl.report.html",
		"a.jsonl.0123456789ab.results.ndjson",
		"dir/a.jsonl.import/lease/000001", "a.jsonl.import/checkpoint/000001", "a.jsonl.import/parts/000001-000001",
		"a.jsonl.import/parts/000001-ahead", "a.jsonl.import/progress", "a.jsonl.import/manifest",
		"x.import/y.jsonl.import/manifest",
		".http/20261122/" + strings.Repeat("0a", 32), "dir/.http/20261122/" + strings.Repeat("0a", 32),
	} {
		if !results.IsOutput(key) {
			t.Errorf("got %q as an export, want an object of the program", key)
		}
	}
	for _, key := range []string{
		"a.jsonl", "dir/a.jsonl", "a.ndjson", "results.ndjson", "failures.jsonl", "a.jsonl.failures.jsonl",
		"x.import/a.jsonl",
		"x.import/parts/a.jsonl", "x.import/lease/b.ndjson", ".import/a.jsonl", "a.import",
		".http/a.jsonl", "x.http/20261122/a.jsonl", "x.http/20261322/" + strings.Repeat("0a", 32),
	} {
		if results.IsOutput(key) {
			t.Errorf("got %q as an object of the program, want an export", key)
		}
	}
}

var names = results.Names{Export: "dir/a.jsonl"}

func dir(b blob.Bucket) results.Dir { return results.Dir{Bucket: b, Names: names} }

// writer returns a Writer of a new import in b.
func writer(t testing.TB, b blob.Bucket) *results.Writer {
	t.Helper()
	return writerUntil(t.Context(), t, b)
}

// writerUntil returns a Writer of a new import in b whose writes end with ctx.
func writerUntil(ctx context.Context, t testing.TB, b blob.Bucket) *results.Writer {
	t.Helper()
	l, err := lease.Acquire(t.Context(), b, names.Work(), "me", nil)
	if err != nil {
		t.Fatal(err)
	}
	cp := results.Checkpoint{
		Export: results.Export{Key: names.Export, Version: "v1"}, Next: export.Start,
		Runs: []results.Run{{Lease: 1, Start: time.Now()}},
	}
	return dir(b).NewWriter(ctx, l, cp, 0)
}

// held returns a lease with this number.
func held(t testing.TB, b *blobtest.Bucket, number int) *lease.Lease {
	t.Helper()
	for {
		isDead := func(string) bool { return true }
		l, err := lease.Acquire(t.Context(), b, names.Work(), "test", isDead)
		if err != nil {
			t.Fatal(err)
		}
		if l.Number >= number {
			return l
		}
	}
}

func imported(n int64) *outcome.Outcome {
	return &outcome.Outcome{N: n, Line: n, Status: outcome.Imported, GroupID: fmt.Sprint("g", n), Attempts: 1, At: at}
}

func next(n int64) export.Position { return export.Position{N: n + 1, Line: n + 1, Offset: 100 * n} }

func TestWriter_Cost(t *testing.T) {
	for name, writeAhead := range map[string]bool{"with GroupIds": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &blobtest.Bucket{}
				w := writer(t, b)
				const seconds = 60
				for n := int64(1); n <= 200*seconds; n++ {
					if writeAhead {
						if err := w.WriteAhead(t.Context(), n); err != nil {
							t.Fatal(err)
						}
					}
					if err := w.Append(imported(n), nil, next(n), results.Origin{}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(5 * time.Millisecond)
				}
				cp, err := w.Close(results.RunEnd{})
				if err != nil {
					t.Fatal(err)
				}
				puts := b.Counts().Calls[blobtest.Put]
				parts := cp.Parts[0].Count
				// Each part and its checkpoint; the first and the last checkpoint, which may have no part; and the
				// progress every 5 s.
				if limit := 2*parts + 2 + seconds/5 + 1; puts > limit {
					t.Errorf("got %d puts for %d parts in %d s, want %d at most", puts, parts, seconds, limit)
				}
				if limit := map[bool]int{false: seconds/5 + 1, true: seconds + 1}[writeAhead]; parts > limit {
					t.Errorf("got %d parts in %d s, want %d at most", parts, seconds, limit)
				}
			})
		})
	}
}

func TestWriteAhead_IsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		w := writer(t, b)
		for n := int64(1); n <= 3000; n++ {
			if err := w.WriteAhead(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			cp, err := dir(b).LoadCheckpoint(t.Context(), 2)
			if err != nil || cp == nil {
				t.Fatalf("record %d: got %v, %v, want a checkpoint", n, cp, err)
			}
			if n > cp.Sent || cp.Sent-(cp.Next.N-1) > 500 {
				t.Fatalf("record %d: got high-water mark %d with outcomes up to %d, want it durable, and at most 500 beyond",
					n, cp.Sent, cp.Next.N-1)
			}
			if err := w.Append(imported(n), nil, next(n), results.Origin{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Close(results.RunEnd{}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWriteAhead_WaitsAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		w := writer(t, b)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.WriteAhead(ctx, 500); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteAhead(ctx, 501); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v with 500 records open, want it to wait", err)
		}
		if err := w.Append(imported(1), nil, next(1), results.Origin{}); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteAhead(t.Context(), 501); err != nil {
			t.Errorf("got %v, want it to return after the next outcome", err)
		}
		if _, err := w.Close(results.RunEnd{}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWriteAhead_CoalescesParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{Fail: func(blobtest.Op) blobtest.Fault { return blobtest.Fault{Delay: 20 * time.Millisecond} }}
		w := writer(t, b)
		// 200 records per second at a latency of 2.6 s would be 520 in flight. The limit is 500.
		const records, latency = 2000, 2600 * time.Millisecond
		var appends sync.WaitGroup
		ended := make(chan int64, records)
		start := time.Now()
		appends.Go(func() {
			for n := range ended {
				if err := w.Append(imported(n), nil, next(n), results.Origin{}); err != nil {
					t.Error(err)
				}
			}
		})
		var calls sync.WaitGroup
		done := make([]chan struct{}, records+1)
		for n := range done {
			done[n] = make(chan struct{})
		}
		calls.Go(func() {
			for n := int64(1); n <= records; n++ {
				<-done[n]
				ended <- n
			}
			close(ended)
		})
		for n := int64(1); n <= records; n++ {
			if err := w.WriteAhead(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(latency, func() { close(done[n]) })
			time.Sleep(5 * time.Millisecond)
		}
		calls.Wait()
		appends.Wait()
		cp, err := w.Close(results.RunEnd{})
		if err != nil {
			t.Fatal(err)
		}
		if got, limit := cp.Parts[0].Count, 60; got > limit {
			t.Errorf("got %d parts of %d records, want %d at most", got, records, limit)
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("got %v for %d records, want about 2,000/200 s and the latency", took, records)
		}
	})
}

func TestWriter_NoWriteAheadWithoutCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		w := writer(t, b)
		for n := int64(1); n <= 10; n++ {
			if err := w.Append(imported(n), nil, next(n), results.Origin{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if cp, err := dir(b).LoadCheckpoint(t.Context(), 2); err != nil || cp == nil || cp.Sent != 0 {
			t.Errorf("got %+v, %v, want no high-water mark", cp, err)
		}
		if _, err := w.Close(results.RunEnd{}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestScan_LinesOfOtherPrograms(t *testing.T) {
	for line, want := range map[string]string{
		`{"n":7,"line":7,"status":"failed"}`:         "7 failed",
		`{"n": 7, "line": 7, "status": "failed"}`:    "7 failed",
		`{"status":"failed","record":{"n":3},"n":7}`: "7 failed",
		`{"Type":"Public","Name":"a"}`:               "0 ",
		`a note`:                                     "0 ", ``: "0 ", `{"n":7`: "0 ",
	} {
		o := outcome.Scan([]byte(line))
		if got := fmt.Sprint(o.N, " ", o.Status); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

func TestWriter_StoreUnavailableForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		b := &blobtest.Bucket{Fail: func(op blobtest.Op) blobtest.Fault {
			if d := time.Since(start); op.Method == blobtest.Put && d > 10*time.Second && d < 70*time.Second {
				return blobtest.Fault{Err: errors.New("unavailable"), Applied: op.N%2 == 0}
			}
			return blobtest.Fault{}
		}}
		w := writer(t, b)
		for n := int64(1); n <= 2000; n++ {
			if err := w.Append(imported(n), nil, next(n), results.Origin{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		cp, err := w.Close(results.RunEnd{IsRead: true})
		if err != nil {
			t.Fatal(err)
		}
		m, err := dir(b).Finish(t.Context(), held(t, b, 1), cp, results.RetryPolicy{}, nil)
		if err != nil || m.Counts.Imported != 2000 {
			t.Errorf("got %+v, %v, want 2000 imported", m.Counts, err)
		}
		if got := bytes.Count(b.Snapshot()[names.Results()], []byte("\n")); got != 2000 {
			t.Errorf("got %d lines, want 2000", got)
		}
	})
}

// Nothing makes room for outcomes that come after the time for writes.
func TestWriter_FullAfterTheTimeForWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w := writerUntil(ctx, t, b)
		time.Sleep(2 * time.Minute)
		start := time.Now()
		var err error
		for n := int64(1); err == nil; n++ {
			o := imported(n)
			o.Status = outcome.Failed // its line has the record
			err = w.Append(o, bytes.Repeat([]byte("x"), 64<<10), next(n), results.Origin{})
		}
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 0 {
			t.Errorf("got %v after %v, want the end of the context at once", err, time.Since(start))
		}
		if _, err := w.Close(results.RunEnd{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v from Close, want the end of the context", err)
		}
	})
}

func TestWriter_LeaseLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		w := writer(t, b)
		isDead := func(string) bool { return true }
		_, err := lease.Acquire(t.Context(), b, names.Work(), "other", isDead)
		if err != nil {
			t.Fatal(err)
		}
		for n := int64(1); n < 1000 && err == nil; n++ {
			err = w.Append(imported(n), nil, next(n), results.Origin{})
			time.Sleep(time.Second)
		}
		if !errors.Is(err, lease.ErrLost) {
			t.Errorf("got %v, want %v", err, lease.ErrLost)
		}
		if _, err := w.Close(results.RunEnd{}); !errors.Is(err, lease.ErrLost) {
			t.Errorf("got %v, want %v", err, lease.ErrLost)
		}
		for key := range b.Snapshot() {
			if strings.Contains(key, "/checkpoint/") {
				t.Errorf("got %s after the lease was lost", key)
			}
		}
	})
}

func TestFinish_IsIdempotent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		w := writer(t, b)
		for n := int64(1); n <= 5000; n++ {
			o := imported(n)
			if n%7 == 0 {
				o.Status, o.GroupID, o.Error = outcome.Rejected, "", `odd text ,"at":" in it`
			}
			if err := w.Append(o, []byte(`{"odd":",\"at\":\""}`), next(n), results.Origin{}); err != nil {
				t.Fatal(err)
			}
			if n%900 == 0 {
				time.Sleep(6 * time.Second)
			}
		}
		cp, err := w.Close(results.RunEnd{IsRead: true})
		if err != nil {
			t.Fatal(err)
		}
		if cp.Parts[0].Count < 5 {
			t.Fatalf("got %d parts, want some", cp.Parts[0].Count)
		}
		var texts []string
		for range 2 {
			if _, err := dir(b).Finish(t.Context(), held(t, b, 1), cp, results.RetryPolicy{}, nil); err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(b.Snapshot()[names.Results()])+string(b.Snapshot()[names.Failures()]))
		}
		if texts[0] != texts[1] {
			t.Error("got other files the second time")
		}
		n := int64(0)
		for line := range strings.Lines(string(b.Snapshot()[names.Results()])) {
			n++
			o, raw, err := outcome.Parse([]byte(line))
			if err != nil || o.N != n || raw != nil {
				t.Fatalf("got %s, %v at line %d, want an outcome without a record", line, err, n)
			}
		}
		got := strings.Count(string(b.Snapshot()[names.Failures()]), `"record":{"odd":",\"at\":\""}`)
		if n != 5000 || got != 714 {
			t.Errorf("got %d results and %d failures with their records, want 5000 and 714", n, got)
		}
	})
}

func TestLoadManifest_MissingUntilFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{Fail: func(op blobtest.Op) blobtest.Fault {
			if op.Method == blobtest.Put && op.Key == names.Results() {
				return blobtest.Fault{Err: errors.New("no")}
			}
			return blobtest.Fault{}
		}}
		w := writer(t, b)
		cp, err := w.Close(results.RunEnd{IsRead: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dir(b).Finish(t.Context(), held(t, b, 1), cp, results.RetryPolicy{}, nil); err == nil {
			t.Error("got no error, want the store's")
		}
		if _, err := dir(b).LoadManifest(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want no manifest", err)
		}
	})
}

// Progress of earlier versions has no cause: the reason of its run tells.
func TestProgress_Why(t *testing.T) {
	t.Parallel()
	run := results.Run{Cause: results.CauseService, Code: 10006, Why: "code 10006: …"}
	type why struct {
		cause results.Cause
		code  int
	}
	of := func(state results.State, cause results.Cause, reason string) results.Progress {
		return results.Progress{State: state, Cause: cause, Reason: reason, Run: run}
	}
	for name, test := range map[string]struct {
		progress results.Progress
		want     why
	}{
		"of the run":         {of(results.Stopped, run.Cause, ""), why{run.Cause, 10006}},
		"of its own":         {of(results.Waiting, results.CauseResumed, ""), why{results.CauseResumed, 0}},
		"paused":             {of(results.Paused, results.CausePaused, ""), why{results.CausePaused, 0}},
		"earlier, of a run":  {of(results.Stopped, "", run.Why), why{run.Cause, 10006}},
		"earlier, paused":    {of(results.Paused, "", "paused by li"), why{results.CausePaused, 0}},
		"earlier, not known": {of(results.Waiting, "", "resumed by li"), why{}},
		"version 1":          {results.Progress{Reason: "x", Run: results.Run{Why: "x"}}, why{}},
	} {
		var got why
		if got.cause, got.code = test.progress.Why(); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
