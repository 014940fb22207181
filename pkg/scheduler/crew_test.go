package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// lines returns n records with GroupIds of their own.
func lines(name string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`{"Type":"Public","Name":"n","GroupId":"%s-%d"}`, name, i+1)
	}
	return all
}

func newCrewWorld(t *testing.T) *importertest.World {
	t.Helper()
	w := importertest.New(t)
	w.Config.Prefix, w.Config.OneAtATime, w.Config.ParallelImports = "exports/", true, 8
	return w
}

// checkCalls checks that no second had more calls than the rate, and that no call was refused.
func checkCalls(t *testing.T, w *importertest.World) {
	t.Helper()
	if s := w.Service.Stats(); s.BusiestSecond > importertest.Rate || s.Throttled > 0 {
		t.Errorf("got %d calls in the busiest second and %d throttled, want at most %d and none",
			s.BusiestSecond, s.Throttled, importertest.Rate)
	}
}

func TestPass_EightLargeExportsShareTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCrewWorld(t)
		w.Config.ParallelImports = 8
		for n := range 8 {
			w.PutAt(fmt.Sprintf("exports/%d.jsonl", n), lines(fmt.Sprint(n), 5000)...)
		}
		time.Sleep(time.Second)
		i := w.Importer()
		ctx, cancel := context.WithCancel(t.Context())
		var working sync.WaitGroup
		working.Go(func() {
			_, _ = importertest.Scheduler(i).Pass(ctx, scheduler.Action{Resume: true, Missed: time.Nanosecond})
		})
		time.Sleep(10 * time.Second)
		before := map[string]int64{}
		for n := range 8 {
			p := i.Progress(fmt.Sprintf("exports/%d.jsonl", n))
			before[p.Export.Key] = p.Attempts
		}
		const seconds = 100
		time.Sleep(seconds * time.Second)
		total := int64(0)
		for export := range 8 {
			p := i.Progress(fmt.Sprintf("exports/%d.jsonl", export))
			n := p.Attempts - before[p.Export.Key]
			total += n
			if want := int64(importertest.Rate * seconds / 8); n < want*9/10 || n > want*11/10 {
				t.Errorf("%s: got %d calls, want an eighth, %d, within 10 %%", p.Export.Key, n, want)
			}
		}
		if total < importertest.Rate*seconds*99/100 {
			t.Errorf("got %d calls, want 99 %% of %d", total, importertest.Rate*seconds)
		}
		checkCalls(t, w)
		cancel()
		working.Wait()
	})
}

// A thousand small exports take no longer than one export with the same records, within 5 %.
func TestPass_ThousandSmallExports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCrewWorld(t)
		for n := range 1000 {
			w.PutAt(fmt.Sprintf("exports/%d.jsonl", n), lines(fmt.Sprint(n), 10)...)
		}
		time.Sleep(time.Second)
		start := time.Now()
		p := w.Pass(scheduler.Action{Resume: true, Missed: time.Nanosecond})
		if took := time.Since(start); took > 56*time.Second {
			t.Errorf("got %v for 10,000 records, want 56s, 95 %% of the rate", took)
		}
		for _, d := range p.Done {
			if d.State != results.Finished || d.Counts.Imported != 10 {
				t.Fatalf("got %+v, want it finished", d)
			}
		}
		if len(p.Done) != 1000 || p.Left != 0 {
			t.Errorf("got %d imports and %d left, want 1000 and none", len(p.Done), p.Left)
		}
		checkCalls(t, w)
	})
}

// A small export is done within seconds of its event, although eight large ones use the rate of another process.
func TestHandleEvent_SmallBesideLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCrewWorld(t)
		for n := range 8 {
			w.PutAt(fmt.Sprintf("exports/%d.jsonl", n), lines(fmt.Sprint(n), 3000)...)
		}
		var names [][]string
		for n := range 8 {
			names = append(names, []string{fmt.Sprintf("exports/%d.jsonl", n)})
		}
		var working sync.WaitGroup
		var first scheduler.Result
		working.Go(func() { first = w.Event(names...) })
		for n := range 4 {
			time.Sleep(7 * time.Second)
			key := fmt.Sprintf("exports/small-%d.jsonl", n)
			w.PutAt(key, lines(key, 10)...)
			if p := w.Event([]string{key}); p.Left != 1 || p.Err() != nil {
				t.Errorf("got %+v, want its job left without an error", p)
			}
			time.Sleep(15 * time.Second)
			if _, err := w.Dir(key).LoadManifest(t.Context()); err != nil {
				t.Errorf("%s is not finished 15 s after its event: %v", key, err)
			}
		}
		working.Wait()
		if got := importertest.Text(first); strings.Count(got, "finished") < 4 {
			t.Errorf("got %q, want the small exports among the results", got)
		}
		checkCalls(t, w)
	})
}

// An event is not missed if it arrives at any moment while the owner of the rate ends.
func TestHandleEvent_AtTheEndOfAnother(t *testing.T) {
	world := func(t *testing.T) *importertest.World {
		t.Helper()
		w := newCrewWorld(t)
		w.Store.Fail = func(op blobtest.Op) blobtest.Fault {
			if strings.HasPrefix(op.Key, results.WaitingFolder("exports/")) && op.Method == "Create" {
				return blobtest.Fault{Delay: 20 * time.Millisecond}
			}
			return blobtest.Fault{Delay: 5 * time.Millisecond}
		}
		w.PutAt("exports/a.jsonl", lines("a", 10)...)
		w.PutAt("exports/b.jsonl", lines("b", 10)...)
		return w
	}
	var took time.Duration
	synctest.Test(t, func(t *testing.T) {
		w := world(t)
		start := time.Now()
		w.Event([]string{"exports/a.jsonl"})
		took = time.Since(start)
	})
	left := 0
	for offset := took - 150*time.Millisecond; offset < took; offset += time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			w := world(t)
			var working sync.WaitGroup
			working.Go(func() { w.Event([]string{"exports/a.jsonl"}) })
			time.Sleep(offset)
			working.Go(func() { left += w.Event([]string{"exports/b.jsonl"}).Left })
			working.Wait()
			for _, key := range []string{"exports/a.jsonl", "exports/b.jsonl"} {
				if _, err := w.Dir(key).LoadManifest(t.Context()); err != nil {
					t.Errorf("%v before the end: %s is not finished: %v", took-offset, key, err)
				}
			}
			checkCalls(t, w)
		})
	}
	if left == 0 || left == 150 {
		t.Errorf("%d of 150 events left their jobs to the owner of the rate, want some", left)
	}
}

// A process that dies leaves its own exports and the markers. The next pass finds them, however young the exports are.
func TestPass_MarkersOfADeadOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCrewWorld(t)
		w.PutAt("exports/a.jsonl", lines("a", 5000)...)
		w.PutAt("exports/b.jsonl", lines("b", 10)...)
		dead := &mortal{Bucket: w.Store}
		i := w.Importer()
		i.Bucket, i.Owner = dead, "dead"
		var working sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		working.Go(func() { importertest.Scheduler(i).HandleEvent(ctx, []string{"exports/a.jsonl"}) })
		time.Sleep(4 * time.Second)
		dead.die() // before its next look
		if p := w.Event([]string{"exports/b.jsonl"}); p.Left != 1 {
			t.Errorf("got %+v, want its job left", p)
		}
		cancel()
		working.Wait()
		time.Sleep(70 * time.Second) // until the leases are free
		got := importertest.Text(w.Pass(scheduler.Action{Resume: true}))
		if !strings.Contains(got, "resume exports/a.jsonl finished") ||
			!strings.Contains(got, "start exports/b.jsonl finished") {
			t.Errorf("got %q, want both imported by the next pass", got)
		}
	})
}

// A mortal bucket is that of a process which may die.
type mortal struct {
	blob.Bucket

	dead atomic.Bool
}

var errDead = errors.New("the process is dead")

func (m *mortal) die() { m.dead.Store(true) }

func (m *mortal) Create(ctx context.Context, key string, data []byte) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Bucket.Create(ctx, key, data)
}

func (m *mortal) Put(ctx context.Context, key string, body io.Reader) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Bucket.Put(ctx, key, body)
}

func (m *mortal) Delete(ctx context.Context, key string) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Bucket.Delete(ctx, key)
}

func (m *mortal) List(ctx context.Context, prefix, delimiter string) iter.Seq2[blob.Info, error] {
	if m.dead.Load() {
		return func(yield func(blob.Info, error) bool) { yield(blob.Info{}, errDead) }
	}
	return m.Bucket.List(ctx, prefix, delimiter)
}
