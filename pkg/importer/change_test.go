package importer_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/importer"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// TestChange_KilledAtAnyRequest kills the first process at each of its requests, before and after the request has its
// effect. All processes together notify of the change once. It is lost if the first process dies after its manifest.
func TestChange_KilledAtAnyRequest(t *testing.T) {
	for _, row := range smallCases[:3] {
		for _, applied := range []bool{false, true} {
			t.Run(fmt.Sprint(row.name, " applied=", applied), func(t *testing.T) {
				isKilled, lost, at := true, 0, 0
				for isKilled {
					at++
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t)
						if row.rejected {
							w.rejecting()
						}
						var changes []results.State
						w.OnChange = func(c importer.Change) { changes = append(changes, c.State) }
						w.Put(row.lines...)
						isKilled = (&mortal{World: w.World, left: at, applied: applied}).run()
						_, err := w.Dir(simKey).LoadManifest(t.Context())
						hasManifest := err == nil
						time.Sleep(2 * time.Minute)
						w.Finish()
						w.Finish()
						finished := 0
						for _, state := range changes {
							if state == results.Finished {
								finished++
							}
						}
						switch {
						case finished == 0 && hasManifest:
							lost++
						case finished != 1:
							t.Errorf("killed at request %d: got %q, want it finished once", at, changes)
						}
					})
				}
				t.Logf("lost at %d requests of %d", lost, at)
				if lost > 5 {
					t.Errorf("lost at %d requests of %d, want only those after the manifest", lost, at)
				}
			})
		}
	}
}

// TestChange_RunsDie kills runs before their first outcome. An operator has to know once.
func TestChange_RunsDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var changes []importer.Change
		w.OnChange = func(c importer.Change) { changes = append(changes, c) }
		w.Config.Prefix = "exports/"
		w.Put(withIDs(40)...)
		for n := range 8 {
			left := 17 + max(0, n-2) // up to the first call: each run reads more checkpoints
			if !(&mortal{World: w.World, left: left}).run() {
				t.Fatal("got a run that ended, want it killed")
			}
			time.Sleep(2 * time.Minute)
			if n < 4 {
				continue
			}
			if p := w.Pass(scheduler.Action{Resume: true}); p.Stopped != 1 {
				t.Fatalf("got %+v after %d runs that died, want it stopped", p, n+1)
			}
			time.Sleep(time.Hour)
		}
		if len(changes) != 1 || changes[0].State != results.Stopped {
			t.Errorf("got %+v, want one change to stopped", changes)
		}
	})
}
