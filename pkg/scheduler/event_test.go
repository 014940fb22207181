package scheduler_test

import (
	"context"
	"errors"
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

func TestHandleEvent_SkipsOtherObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Config.Prefix = "exports/"
		w.Put(importertest.WithIDs(30)...)
		w.PutAt("exports/a b+c.jsonl", `{"Type":"Public","Name":"x","GroupId":"x"}`)
		w.PutAt("elsewhere/acme.jsonl", `{"Type":"Public","Name":"y","GroupId":"y"}`)
		for _, c := range []struct {
			keys               []string
			what, reason, name string
			state              results.State
		}{
			{[]string{acme}, "start", "", "the first time", results.Finished},
			{[]string{acme}, "start", "already imported", "the same event again", results.Finished},
			{
				[]string{"exports/a b c.jsonl", "exports/a b+c.jsonl"},
				"start", "", "the second reading of the key is meant",
				results.Finished,
			},
			{
				[]string{"exports/gone.jsonl"},
				"skip", "object not found: it was removed after the event",
				"removed before its event came", "",
			},
			{[]string{importertest.Names.Results()}, "skip", "this program wrote the object", "the program's own", ""},
			{[]string{"exports/photo.jpg"}, "skip", "the name must end in one of: ", "not an export", ""},
			{[]string{"exports/.acme.jsonl"}, "skip", "the name starts with a dot", "hidden", ""},
			{
				[]string{"exports%2Facme.jsonl", acme},
				"start", "already imported",
				"the second reading is the one below the prefix", results.Finished,
			},
			{[]string{"exports/a\nb.jsonl"}, "skip", `key "exports/a\nb.jsonl" has a control character`, "a newline", ""},
			{
				[]string{`exports/a\b.jsonl`, "exports/a%5Cb.jsonl"},
				"skip", `key "exports/a\\b.jsonl" has a backslash`,
				"a backslash", "",
			},
			{
				[]string{"exports//a.jsonl"},
				"skip", `key "exports//a.jsonl" is not UTF-8, or has an empty, "." or ".." name`,
				"two slashes", "",
			},
			{[]string{"exports/../a.jsonl"}, "skip", `key "exports/../a.jsonl" is not UTF-8, or has an empty`, "two dots", ""},
			{
				[]string{"exports/\xff.jsonl", "exports/%FF.jsonl"},
				"skip", `key "exports/\xff.jsonl" is not UTF-8`,
				"no UTF-8", "",
			},
			{
				[]string{"exports/\xff.jsonl", acme},
				"start", "already imported", "the second reading is one that can be",
				results.Finished,
			},
			{[]string{"elsewhere/acme.jsonl"}, "skip", "the key is not below EXPORT_PREFIX, exports/", "outside", ""},
		} {
			p := w.Event(c.keys)
			if len(p.Done) != 1 || p.Done[0].What != c.what || !strings.HasPrefix(p.Done[0].Reason, c.reason) ||
				p.Done[0].State != c.state || p.Err() != nil {
				t.Errorf("%s: got %+v, %v, want %s %q %s", c.name, p, p.Err(), c.what, c.reason, c.state)
			}
		}
		if got := w.Service.Stats().Imports; got != 31 {
			t.Errorf("got %d calls, want 31", got)
		}
	})
}

func TestHandleEvent_TimeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Put(importertest.WithIDs(3000)...)
		w.PutAt("exports/b.jsonl", importertest.WithIDs(10)...)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		p := importertest.Scheduler(w.Importer()).HandleEvent(ctx, []string{acme}, []string{"exports/b.jsonl"})
		if len(p.Done) != 1 || p.Done[0].State != results.Waiting || p.Left != 1 || p.Err() != nil {
			t.Errorf("got %+v, %v, want one waiting, one left and no error", p, p.Err())
		}
	})
}

func TestResultErr_StoppedImport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Put(importertest.WithIDs(3)...)
		w.Config.SecretKey = "wrong"
		p := w.Event([]string{acme})
		if _, ok := errors.AsType[*scheduler.StoppedError](p.Err()); !ok || !strings.Contains(p.Err().Error(), acme) {
			t.Errorf("got %v, want a StoppedError that names the export", p.Err())
		}
		w.Config.SecretKey = importertest.Sign
		broken := errors.New("the store is broken")
		w.Store.Fail = func(op blobtest.Op) blobtest.Fault {
			if strings.HasPrefix(op.Key, acme+".import/parts/") {
				return blobtest.Fault{Err: broken}
			}
			return blobtest.Fault{}
		}
		p = w.Event([]string{acme})
		if _, ok := errors.AsType[*scheduler.RunError](p.Err()); !ok || !strings.Contains(p.Err().Error(), broken.Error()) {
			t.Errorf("got %v, want a RunError that says why", p.Err())
		}
	})
}

func TestImport_ExportReplacedOrRemovedMeanwhile(t *testing.T) {
	for name, change := range map[string]func(w *importertest.World){
		"replaced": func(w *importertest.World) { w.Put(`{"Type":"Public","Name":"new","GroupId":"new"}`) },
		"removed": func(w *importertest.World) {
			if err := w.Store.Delete(w.T.Context(), acme); err != nil {
				w.T.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := importertest.New(t)
				w.Put(importertest.WithIDs(5000)...)
				time.AfterFunc(300*time.Millisecond, func() { change(w) })
				p := w.Event([]string{acme})
				if len(p.Done) != 1 || p.Done[0].State != results.Waiting || !strings.Contains(p.Done[0].Reason, name) ||
					p.Err() != nil {
					t.Errorf("got %+v, %v, want no error: no operator needs to act", p, p.Err())
				}
				if name == "removed" {
					return
				}
				if p := w.Event([]string{acme}); len(p.Done) != 1 || p.Done[0].State != results.Finished ||
					p.Done[0].Counts.Imported != 1 {
					t.Errorf("got %+v, want the new version imported by its own event", p)
				}
			})
		})
	}
}

func TestImport_MissingMappingIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Put(importertest.WithIDs(1)...)
		w.Config.Mapping = "exports/missing.jq"
		p := w.Event([]string{acme})
		if _, ok := errors.AsType[*scheduler.RunError](p.Err()); !ok || !strings.Contains(p.Err().Error(), "missing.jq") {
			t.Errorf("got %+v, %v, want a RunError that names the mapping", p, p.Err())
		}
	})
}

func TestScheduler_SharedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Config.OneAtATime = true
		w.Config.Prefix = "exports/"
		w.Put(importertest.WithIDs(1000)...)
		w.PutAt("exports/b.jsonl", importertest.WithIDs(1000)...)
		var first scheduler.Result
		var wait sync.WaitGroup
		wait.Go(func() { first = w.Event([]string{acme}) })
		time.Sleep(time.Second)
		for _, second := range []scheduler.Result{
			w.Event([]string{"exports/b.jsonl"}), w.Pass(scheduler.Action{Resume: true, Missed: time.Nanosecond}),
		} {
			if second.Left == 0 || len(second.Done) != 0 || !strings.Contains(second.Reason, "uses the shared rate") ||
				second.Err() != nil {
				t.Errorf("got %+v, %v, want it left because another run has the rate, and no error", second, second.Err())
			}
		}
		wait.Wait()
		// The event that could not acquire the rate has written a marker, and so has the pass.
		if got := importertest.Text(first); got != "start exports/acme.jsonl finished, start exports/b.jsonl finished" {
			t.Errorf("got %q, want the owner of the rate to import both", got)
		}
		for info, err := range w.Store.List(t.Context(), results.WaitingFolder("exports/"), "") {
			t.Errorf("got %q, %v, want no marker left", info.Key, err)
		}
		if got := importertest.Text(w.Pass(scheduler.Action{Resume: true, Missed: time.Nanosecond})); got != "" {
			t.Errorf("got %q, want nothing left to do", got)
		}
		if s := w.Service.Stats(); s.BusiestSecond > importertest.Rate {
			t.Errorf("got %d calls in the busiest second, want at most %d", s.BusiestSecond, importertest.Rate)
		}
	})
}
