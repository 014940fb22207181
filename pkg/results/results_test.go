package results_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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

func TestOwnNamesAreToldFromExports(t *testing.T) {
	for _, key := range []string{
		"a.jsonl.results.ndjson", "a.jsonl.failures.ndjson", "a.jsonl.report.html", "a.jsonl.0123456789ab.results.ndjson",
		"dir/a.jsonl.import/lease/000001", "a.jsonl.import/checkpoint/000001", "a.jsonl.import/parts/000001-000001",
		"a.jsonl.import/parts/000001-ahead", "a.jsonl.import/progress", "a.jsonl.import/manifest", "x.import/y.jsonl.import/manifest",
		".http/20261122/" + strings.Repeat("0a", 32), "dir/.http/20261122/" + strings.Repeat("0a", 32),
	} {
		if !results.Own(key) {
			t.Errorf("got %q as an export, want it as the program's own", key)
		}
	}
	for _, key := range []string{
		"a.jsonl", "dir/a.jsonl", "a.ndjson", "results.ndjson", "failures.jsonl", "a.jsonl.failures.jsonl", "x.import/a.jsonl",
		"x.import/parts/a.jsonl", "x.import/lease/b.ndjson", ".import/a.jsonl", "a.import",
		".http/a.jsonl", "x.http/20261122/a.jsonl", "x.http/20261322/" + strings.Repeat("0a", 32),
	} {
		if results.Own(key) {
			t.Errorf("got %q as the program's own, want it as an export", key)
		}
	}
}

var names = results.Names{Export: "dir/a.jsonl"}

func TestLeaseHasOneHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		ctx := t.Context()
		first, err := lease.Acquire(ctx, b, names.Work(), "first", time.Now().Add(time.Minute), nil)
		if err != nil || first.Number != 1 {
			t.Fatalf("got %+v, %v", first, err)
		}
		_, err = lease.Acquire(ctx, b, names.Work(), "second", time.Now().Add(time.Minute), nil)
		if busy, ok := errors.AsType[*lease.BusyError](err); !ok || busy.Owner != "first" || !busy.Until.Equal(first.Until) {
			t.Errorf("got %v, want who holds it and until when", err)
		}
		if err := first.Check(ctx); err != nil {
			t.Errorf("got %v, want the lease still held", err)
		}
		if _, err := lease.Acquire(ctx, b, names.Work(), "second", time.Now().Add(time.Minute), func(h string) bool { return h == "first" }); err != nil {
			t.Errorf("got %v, want a dead holder's lease taken over at once", err)
		}
		if err := first.Check(ctx); !errors.Is(err, lease.ErrLost) {
			t.Errorf("got %v, want %v", err, lease.ErrLost)
		}
		time.Sleep(time.Minute)
		third, err := lease.Acquire(ctx, b, names.Work(), "third", time.Now().Add(time.Minute), nil)
		if err != nil || third.Number != 3 {
			t.Fatalf("got %+v, %v, want an expired lease taken over", third, err)
		}
		if err := third.Release(ctx); err != nil {
			t.Fatal(err)
		}
		fourth, err := lease.Acquire(ctx, b, names.Work(), "fourth", time.Now().Add(time.Minute), nil)
		if err != nil || fourth.Number != 4 {
			t.Errorf("got %+v, %v, want a released lease taken over", fourth, err)
		}
		time.Sleep(time.Minute)
		if err := fourth.Check(ctx); !errors.Is(err, lease.ErrLost) {
			t.Errorf("got %v after its end, want %v", err, lease.ErrLost)
		}
	})
}

func TestOneOfManyWinsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for i := range 20 {
			wg.Go(func() {
				_, err := lease.Acquire(t.Context(), b, names.Work(), fmt.Sprint(i), time.Now().Add(time.Minute), nil)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else if _, ok := errors.AsType[*lease.BusyError](err); !ok {
					t.Errorf("got %v, want a BusyError", err)
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Errorf("got %d winners, want 1", won)
		}
	})
}

func TestOnesOwnLeaseIsKnownThoughTheAnswerWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, lost := range []error{fs.ErrExist, errors.New("no answer")} {
			b := &blobtest.Bucket{Fail: func(op blobtest.Op) blobtest.Fault {
				if op.Method == blobtest.Create {
					return blobtest.Fault{Err: lost, Applied: true}
				}
				return blobtest.Fault{}
			}}
			if _, err := lease.Acquire(t.Context(), b, names.Work(), "me", time.Now().Add(time.Minute), nil); err != nil {
				t.Errorf("after %v: got %v, want the lease", lost, err)
			}
		}
	})
}

func TestTheNewestLeaseIsFoundWithFewRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		for n := range 1000 {
			l, err := lease.Acquire(t.Context(), b, names.Work(), "x", time.Now().Add(time.Minute), nil)
			if err != nil || l.Number != n+1 {
				t.Fatalf("got %+v, %v, want number %d", l, err, n+1)
			}
			if err := l.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		before := b.Counts().Calls[blobtest.Stat]
		if _, err := lease.Acquire(t.Context(), b, names.Work(), "x", time.Now().Add(time.Minute), nil); err != nil {
			t.Fatal(err)
		}
		if got := b.Counts().Calls[blobtest.Stat] - before; got > 25 {
			t.Errorf("got %d requests to find lease 1000, want 25 at most", got)
		}
	})
}

// writer returns one on a new import in b, and its lease.
func writer(t testing.TB, b blob.Bucket) *results.Writer {
	t.Helper()
	l, err := lease.Acquire(t.Context(), b, names.Work(), "me", time.Now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	cp := results.Checkpoint{Export: results.Export{Key: names.Export, Version: "v1"}, Next: export.Start, Runs: []results.Run{{Lease: 1, Start: time.Now()}}}
	return (results.Dir{Bucket: b, Names: names}).NewWriter(t.Context(), l, cp, slog.New(slog.DiscardHandler))
}

func imported(n int64) *outcome.Outcome {
	return &outcome.Outcome{N: n, Line: n, Status: outcome.Imported, GroupID: fmt.Sprint("g", n), Attempts: 1, At: at}
}

func next(n int64) export.Position { return export.Position{N: n + 1, Line: n + 1, Offset: 100 * n} }

func TestCostOfSafety(t *testing.T) {
	for name, announce := range map[string]bool{"with GroupIds": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &blobtest.Bucket{}
				w := writer(t, b)
				const seconds = 60
				for n := int64(1); n <= 200*seconds; n++ {
					if announce {
						if err := w.Announce(t.Context(), n); err != nil {
							t.Fatal(err)
						}
					}
					if err := w.Append(t.Context(), imported(n), nil, next(n), results.Taken{}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(5 * time.Millisecond)
				}
				cp, err := w.Close(t.Context(), nil, func(cp *results.Checkpoint) { cp.Runs[0].End = time.Now() })
				if err != nil {
					t.Fatal(err)
				}
				puts := b.Counts().Calls[blobtest.Put]
				parts := cp.Parts[0].Count
				// One for each part and one checkpoint for each; the first and the last checkpoint, which
				// may have no part; and the progress each 5 s.
				if most := 2*parts + 2 + seconds/5 + 1; puts > most {
					t.Errorf("got %d puts for %d parts in %d s, want %d at most", puts, parts, seconds, most)
				}
				if most := map[bool]int{false: seconds/5 + 1, true: seconds + 1}[announce]; parts > most {
					t.Errorf("got %d parts in %d s, want %d at most", parts, seconds, most)
				}
			})
		})
	}
}

func TestAnnouncementsAreDurableBeforeTheirRecordsAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		w := writer(t, b)
		for n := int64(1); n <= 3000; n++ {
			if err := w.Announce(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			cp, err := (results.Dir{Bucket: b, Names: names}).LoadCheckpoint(t.Context(), 2)
			if err != nil || cp == nil {
				t.Fatalf("record %d: got %v, %v, want a checkpoint", n, cp, err)
			}
			if n > cp.Sent || cp.Sent-(cp.Next.N-1) > 500 {
				t.Fatalf("record %d: got sent up to %d with outcomes up to %d, want it announced, and 500 at most open", n, cp.Sent, cp.Next.N-1)
			}
			if err := w.Append(t.Context(), imported(n), nil, next(n), results.Taken{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Close(t.Context(), nil, func(*results.Checkpoint) {}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAnnounceWaitsWhileTooManyAreOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		w := writer(t, b)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.Announce(ctx, 500); err != nil {
			t.Fatal(err)
		}
		if err := w.Announce(ctx, 501); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v with 500 open, want it to wait", err)
		}
		if err := w.Append(t.Context(), imported(1), nil, next(1), results.Taken{}); err != nil {
			t.Fatal(err)
		}
		if err := w.Announce(t.Context(), 501); err != nil {
			t.Errorf("got %v, want it to go on once an outcome is there", err)
		}
		if _, err := w.Close(t.Context(), nil, func(*results.Checkpoint) {}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAReaderThatWaitsMakesNoStormOfParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{Fail: func(blobtest.Op) blobtest.Fault { return blobtest.Fault{Delay: 20 * time.Millisecond} }}
		w := writer(t, b)
		// 200 a second at a latency of 2.6 s would be 520 in flight; 500 may be.
		const records, latency = 2000, 2600 * time.Millisecond
		var flying sync.WaitGroup
		turn := make(chan int64, records)
		start := time.Now()
		flying.Go(func() {
			for n := range turn {
				if err := w.Append(t.Context(), imported(n), nil, next(n), results.Taken{}); err != nil {
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
				turn <- n
			}
			close(turn)
		})
		for n := int64(1); n <= records; n++ {
			if err := w.Announce(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(latency, func() { close(done[n]) })
			time.Sleep(5 * time.Millisecond)
		}
		calls.Wait()
		flying.Wait()
		cp, err := w.Close(t.Context(), nil, func(*results.Checkpoint) {})
		if err != nil {
			t.Fatal(err)
		}
		if got, most := cp.Parts[0].Count, 60; got > most {
			t.Errorf("got %d parts of %d records, want %d at most", got, records, most)
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("got %v for %d records, want about 2,000/200 s and the latency", took, records)
		}
	})
}

func TestNothingIsAnnouncedThatIsNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		w := writer(t, b)
		for n := int64(1); n <= 10; n++ {
			if err := w.Append(t.Context(), imported(n), nil, next(n), results.Taken{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if cp, err := (results.Dir{Bucket: b, Names: names}).LoadCheckpoint(t.Context(), 2); err != nil || cp == nil || cp.Sent != 0 {
			t.Errorf("got %+v, %v, want none announced", cp, err)
		}
		if _, err := w.Close(t.Context(), nil, func(*results.Checkpoint) {}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLinesThatAnotherProgramHasWritten(t *testing.T) {
	for line, want := range map[string]string{
		`{"n":7,"line":7,"status":"failed"}`:         "7 failed",
		`{"n": 7, "line": 7, "status": "failed"}`:    "7 failed",
		`{"status":"failed","record":{"n":3},"n":7}`: "7 failed",
		`{"Type":"Public","Name":"a"}`:               "0 ",
		`a note`:                                     "0 ", ``: "0 ", `{"n":7`: "0 ",
	} {
		n, status := outcome.Scan([]byte(line))
		if got := fmt.Sprint(n, " ", status); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

func TestAStoreThatIsAwayForAMinuteLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		b := &blobtest.Bucket{Fail: func(op blobtest.Op) blobtest.Fault {
			if d := time.Since(start); op.Method == blobtest.Put && d > 10*time.Second && d < 70*time.Second {
				return blobtest.Fault{Err: errors.New("away"), Applied: op.N%2 == 0}
			}
			return blobtest.Fault{}
		}}
		w := writer(t, b)
		for n := int64(1); n <= 2000; n++ {
			if err := w.Append(t.Context(), imported(n), nil, next(n), results.Taken{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		cp, err := w.Close(t.Context(), nil, func(cp *results.Checkpoint) { cp.Done = true })
		if err != nil {
			t.Fatal(err)
		}
		m, err := (results.Dir{Bucket: b, Names: names}).Finish(t.Context(), names, cp, results.RetryPolicy{}, nil)
		if err != nil || m.Counts.Imported != 2000 {
			t.Errorf("got %+v, %v, want 2000 imported", m.Counts, err)
		}
		if got := bytes.Count(b.Snapshot()[names.Results()], []byte("\n")); got != 2000 {
			t.Errorf("got %d lines, want 2000", got)
		}
	})
}

func TestAWriterWhoseLeaseIsTakenOverStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		w := writer(t, b)
		if _, err := lease.Acquire(t.Context(), b, names.Work(), "other", time.Now().Add(time.Hour), func(string) bool { return true }); err != nil {
			t.Fatal(err)
		}
		var err error
		for n := int64(1); n < 1000 && err == nil; n++ {
			err = w.Append(t.Context(), imported(n), nil, next(n), results.Taken{})
			time.Sleep(time.Second)
		}
		if !errors.Is(err, lease.ErrLost) {
			t.Errorf("got %v, want %v", err, lease.ErrLost)
		}
		if _, err := w.Close(t.Context(), nil, func(*results.Checkpoint) {}); !errors.Is(err, lease.ErrLost) {
			t.Errorf("got %v, want %v", err, lease.ErrLost)
		}
		for key := range b.Snapshot() {
			if strings.Contains(key, "/checkpoint/") {
				t.Errorf("got %s after the lease was lost", key)
			}
		}
	})
}

func TestFinishTwiceWritesTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		w := writer(t, b)
		for n := int64(1); n <= 5000; n++ {
			o := imported(n)
			if n%7 == 0 {
				o.Status, o.GroupID, o.Error = outcome.Rejected, "", `odd text ,"at":" in it`
			}
			if err := w.Append(t.Context(), o, []byte(`{"odd":",\"at\":\""}`), next(n), results.Taken{}); err != nil {
				t.Fatal(err)
			}
			if n%900 == 0 {
				time.Sleep(6 * time.Second)
			}
		}
		cp, err := w.Close(t.Context(), nil, func(cp *results.Checkpoint) { cp.Done = true })
		if err != nil {
			t.Fatal(err)
		}
		if cp.Parts[0].Count < 5 {
			t.Fatalf("got %d parts, want some", cp.Parts[0].Count)
		}
		var texts []string
		for range 2 {
			if _, err := (results.Dir{Bucket: b, Names: names}).Finish(t.Context(), names, cp, results.RetryPolicy{}, nil); err != nil {
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
		if got := strings.Count(string(b.Snapshot()[names.Failures()]), `"record":{"odd":",\"at\":\""}`); n != 5000 || got != 714 {
			t.Errorf("got %d results and %d failures with their records, want 5000 and 714", n, got)
		}
	})
}

func TestNothingIsFinishedBeforeTheManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{Fail: func(op blobtest.Op) blobtest.Fault {
			if op.Method == blobtest.Put && op.Key == names.Results() {
				return blobtest.Fault{Err: errors.New("no")}
			}
			return blobtest.Fault{}
		}}
		w := writer(t, b)
		cp, err := w.Close(t.Context(), nil, func(cp *results.Checkpoint) { cp.Done = true })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (results.Dir{Bucket: b, Names: names}).Finish(t.Context(), names, cp, results.RetryPolicy{}, nil); err == nil {
			t.Error("got no error, want the store's")
		}
		if _, err := (results.Dir{Bucket: b, Names: names}).LoadManifest(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want no manifest", err)
		}
	})
}
