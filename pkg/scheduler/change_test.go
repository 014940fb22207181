package scheduler_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/importer"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// A recorder records changes.
type recorder struct {
	mu  sync.Mutex
	all []importer.Change
}

func (o *recorder) add(c importer.Change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, c)
}

// texts returns the state of each change with its reason up to a colon, and forgets the changes.
func (o *recorder) texts() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, c := range o.all {
		reason, _, _ := strings.Cut(c.Reason, ":")
		all = append(all, strings.TrimSpace(fmt.Sprint(c.State, " ", reason)))
	}
	o.all = nil
	return all
}

// recording returns a world whose changes are recorded.
func recording(t *testing.T) (*importertest.World, *recorder) {
	t.Helper()
	w, o := importertest.New(t), &recorder{}
	w.Config.Prefix, w.OnChange = "exports/", o.add
	return w, o
}

// passes runs a pass each minute.
func passes(w *importertest.World, n int) {
	for range n {
		w.Pass(scheduler.Action{Resume: true, Retry: true})
		time.Sleep(time.Minute)
	}
}

func TestChange_Finished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o := recording(t)
		w.Put(importertest.WithIDs(10)...)
		w.Event([]string{importertest.Key})
		want := importer.Change{
			Key: importertest.Key, State: results.Finished, Counts: outcome.Counts{Imported: 10},
			Report: importertest.Names.Report(),
		}
		if len(o.all) == 1 {
			want.ID, want.At = o.all[0].ID, o.all[0].At
		}
		if len(o.all) != 1 || o.all[0] != want || want.ID == "" || want.At.IsZero() {
			t.Errorf("got %+v, want %+v", o.all, want)
		}
		o.texts()
		w.Event([]string{importertest.Key}) // a duplicate event
		passes(w, 10)
		if got := o.texts(); got != nil {
			t.Errorf("got %q once more", got)
		}
		w.Put(importertest.WithIDs(11)...)
		w.Event([]string{importertest.Key})
		if got := o.texts(); !slices.Equal(got, []string{"finished"}) {
			t.Errorf("got %q of another version, want it finished", got)
		}
	})
}

// wrongKey is the code of a UserSig that another key has signed, see [emulator.Service].
const wrongKey emulator.Fault = 70009

// TestChange_Stopped stops an import for two days, and then once more after some progress.
func TestChange_Stopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o := recording(t)
		w.Put(importertest.WithIDs(3000)...)
		expect := func(when string, want ...string) {
			t.Helper()
			var got []string
			for _, text := range o.texts() {
				state, _, _ := strings.Cut(text, " ")
				got = append(got, state)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", when, got, want)
			}
		}
		w.Service.Key = "another key"
		time.Sleep(scheduler.MissedAfter)
		passes(w, 2*24*60)
		expect("the key is wrong for two days", "stopped")
		w.Service.Key = importertest.Sign
		go func() {
			time.Sleep(8 * time.Second)
			w.Service.SetFaults(emulator.Faults{Plan: func(emulator.Request) emulator.Fault { return wrongKey }})
		}()
		w.Pass(scheduler.Action{Resume: true, Now: true})
		expect("it stops for the same cause after some progress", "stopped")
		passes(w, 24*60)
		expect("another day", []string(nil)...)
		w.Service.SetFaults(emulator.Faults{})
		passes(w, 61)
		expect("the key is right", "finished")
	})
}

func TestChange_RoundsOfRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o := recording(t)
		w.Put(importertest.WithIDs(10)...)
		off := w.Failing()
		w.Event([]string{importertest.Key})
		if got := o.all; len(got) != 1 || got[0].Counts.Failed != 1 || got[0].GivenUp != 0 {
			t.Errorf("got %+v, want it finished with a failure", got)
		}
		o.texts()
		for range 12 {
			w.Pass(scheduler.Action{Retry: true, Now: true})
		}
		if len(o.all) != 1 || o.all[0].GivenUp != 1 {
			t.Errorf("got %+v after all rounds, want one record given up", o.all)
		}
		off()

		w, o = recording(t)
		w.Put(importertest.WithIDs(10)...)
		off = w.Failing()
		w.Event([]string{importertest.Key})
		off()
		o.texts()
		passes(w, 24*60)
		if got := o.all; len(got) != 1 || got[0].Counts != (outcome.Counts{Imported: 10}) {
			t.Errorf("got %+v, want it finished without a failure", got)
		}
	})
}

func TestChange_PausedAndCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o := recording(t)
		control := func(a results.Action) {
			t.Helper()
			if _, err := w.Dir(importertest.Key).Control(t.Context(), a, "li@desk"); err != nil {
				t.Fatal(err)
			}
		}
		during := func(a results.Action) {
			t.Helper()
			go func() {
				time.Sleep(5 * time.Second)
				control(a)
			}()
			w.Pass(scheduler.Action{Resume: true, Missed: time.Second})
		}
		w.Put(importertest.WithIDs(4000)...)
		time.Sleep(time.Minute)
		during(results.Pause)
		passes(w, 10)
		if got := o.texts(); got != nil {
			t.Errorf("got %q of a paused import, want nothing", got)
		}
		control(results.Resume)
		during(results.Cancel)
		passes(w, 10)
		if got := o.texts(); len(got) != 1 || !strings.HasPrefix(got[0], "cancelled cancelled by li@desk") {
			t.Errorf("got %q, want it cancelled", got)
		}
	})
}

// TestChange_CannotBegin has imports that no run can begin.
func TestChange_CannotBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o := recording(t)
		w.Config.Mapping = "own.jq" // there is no such object
		w.Put(importertest.WithIDs(10)...)
		time.Sleep(scheduler.MissedAfter)
		for name, do := range map[string]func(){
			"pass":  func() { w.Pass(scheduler.Action{Resume: true}) },
			"event": func() { w.Event([]string{importertest.Key}) },
			"import": func() {
				if _, err := importertest.Scheduler(w.Importer()).Import(t.Context(), importertest.Key); err == nil {
					t.Error("got no error, want one of the mapping")
				}
			},
		} {
			do()
			if len(o.all) != 1 || o.all[0].State != results.Stopped || !strings.Contains(o.all[0].Reason, "own.jq") ||
				o.all[0].Report != "" {
				t.Errorf("%s: got %+v, want that the mapping is missing", name, o.all)
			}
			o.texts()
		}
	})
}

// TestChange_BusyOrReplaced has runs that end without a need to act.
func TestChange_BusyOrReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o := recording(t)
		w.Put(importertest.WithIDs(4000)...)
		go func() {
			time.Sleep(4 * time.Second)
			w.Event([]string{importertest.Key}) // another process works on it
			_, _ = importertest.Scheduler(w.Importer()).Import(t.Context(), importertest.Key)
			if err := w.Store.Delete(t.Context(), importertest.Key); err != nil {
				t.Error(err)
			}
		}()
		w.Event([]string{importertest.Key})
		if got := o.texts(); got != nil {
			t.Errorf("got %q of an export that was removed, want nothing", got)
		}
	})
}
