package scheduler_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// hasMarker reports whether a marker is among objects.
func hasMarker(objects map[string][]byte) bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(objects)), func(key string) bool {
		return strings.Contains(key, ".rate.import/waiting/")
	})
}

var now = scheduler.Action{Resume: true, Missed: time.Nanosecond}

// TestPass_JoinsNewExports imports a small export that is dropped while a large one is imported.
func TestPass_JoinsNewExports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Put(importertest.WithIDs(10_000)...)
		time.Sleep(time.Second)
		w.Config.ParallelImports = 8
		s := importertest.Scheduler(w.Importer())
		ended := map[string]time.Time{}
		var dropped time.Time
		time.AfterFunc(10*time.Second, func() {
			w.PutAt("exports/small.jsonl", lines("small", 10)...)
			dropped = time.Now()
		})
		a := now
		a.Join = func() scheduler.Action { return now }
		a.OnJob = func(key string) func(scheduler.JobResult, bool) {
			return func(scheduler.JobResult, bool) { ended[key] = time.Now() }
		}
		p, err := s.Pass(t.Context(), a)
		if got := importertest.Text(p); err != nil ||
			got != "start exports/small.jsonl finished, start exports/acme.jsonl finished" {
			t.Errorf("got %q, %v", got, err)
		}
		if took := ended["exports/small.jsonl"].Sub(dropped); took > 5*time.Second {
			t.Errorf("got %v until the small export was finished, want 5 s", took)
		}
	})
}

// TestHandleEvent_PanicDoesNotStopTheOthers breaks one of two exports.
func TestHandleEvent_PanicDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Config.ParallelImports = 8
		w.Put(importertest.WithIDs(500)...)
		w.PutAt("exports/b.jsonl", lines("b", 500)...)
		w.Store.Fail = func(op blobtest.Op) blobtest.Fault {
			if strings.HasPrefix(op.Key, "exports/b.jsonl.import/lease/") {
				panic("a fault for the test")
			}
			return blobtest.Fault{}
		}
		p := w.Event([]string{acme}, []string{"exports/b.jsonl"})
		if got := importertest.Text(p); !strings.HasPrefix(got, "start exports/b.jsonl  a fault") ||
			!strings.Contains(got, "start exports/acme.jsonl finished") {
			t.Errorf("got %q, want the error of the second and the first finished", got)
		}
	})
}

// TestHandleEvent_Markers drops exports, one event each, while the first is imported, and puts and removes markers at
// every phase of the owner's end.
func TestHandleEvent_Markers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Config.OneAtATime, w.Config.Prefix, w.Config.ParallelImports = true, "exports/", 8
		w.Put(importertest.WithIDs(1000)...) // 5 to 6 s
		var events sync.WaitGroup
		handle := func(key string) {
			w.PutAt(key, lines(key, 10)...)
			events.Go(func() { w.Event([]string{key}) })
		}
		events.Go(func() { w.Event([]string{acme}) })
		time.Sleep(time.Millisecond)
		const exports = 120
		for n := range exports {
			time.Sleep(97 * time.Millisecond)
			handle(fmt.Sprintf("exports/%03d.jsonl", n))
		}
		events.Wait()
		objects := w.Store.Snapshot()
		for n := range exports {
			if key := (results.Names{Export: fmt.Sprintf("exports/%03d.jsonl", n)}).Results(); objects[key] == nil {
				t.Errorf("got no %s after the last event, want all imported", key)
			}
		}
		if hasMarker(objects) {
			t.Error("got a marker, want all removed")
		}
		s := w.Service.Stats()
		if s.BusiestSecond > importertest.Rate || s.Imports != 1000+10*exports {
			t.Errorf("got %d calls, %d in the busiest second, want %d and at most %d",
				s.Imports, s.BusiestSecond, 1000+10*exports, importertest.Rate)
		}
	})
}

// TestPass_RunsMarkers imports the export of a marker whose owner was killed, however young the export is.
func TestPass_RunsMarkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Config.OneAtATime, w.Config.Prefix, w.Config.ParallelImports = true, "exports/", 8
		w.Put(importertest.WithIDs(100_000)...)
		ctx, kill := context.WithCancel(t.Context())
		w.Store.Fail = func(blobtest.Op) blobtest.Fault { // the process is killed: none of its writes arrive
			if ctx.Err() != nil {
				return blobtest.Fault{Err: context.Canceled}
			}
			return blobtest.Fault{}
		}
		var owner sync.WaitGroup
		owner.Go(func() { importertest.Scheduler(w.Importer()).HandleEvent(ctx, []string{acme}) })
		time.Sleep(time.Second)
		w.PutAt("exports/b.jsonl", lines("b", 10)...)
		p := w.Event([]string{"exports/b.jsonl"})
		kill()
		owner.Wait()
		w.Store.Fail = nil
		if p.Left != 1 || !hasMarker(w.Store.Snapshot()) {
			t.Fatalf("got %+v, want a marker", p)
		}
		time.Sleep(2 * time.Minute) // until the lease has expired
		if err := w.Store.Delete(t.Context(), acme); err != nil {
			t.Fatal(err)
		}
		if got := importertest.Text(w.Pass(scheduler.Action{Resume: true})); !strings.Contains(got,
			"start exports/b.jsonl finished") {
			t.Errorf("got %q, want the export of the marker imported", got)
		}
		if hasMarker(w.Store.Snapshot()) {
			t.Error("got a marker, want it removed")
		}
	})
}
