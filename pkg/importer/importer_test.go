package importer_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/emulator"
	"groupimport/pkg/importer"
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

func TestImport_AllRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withIDs(5000)...)
		start := time.Now()
		s := w.Finish()
		if s.Counts.Imported != 5000 || w.Service.Stats().Imports != 5000 {
			t.Errorf("got %+v and %d calls, want 5000 of each", s.Counts, w.Service.Stats().Imports)
		}
		if rate := 5000 / time.Since(start).Seconds(); rate < 0.985*simRate {
			t.Errorf("got %.1f a second in all, want %v", rate, simRate)
		}
	})
}

func TestImport_SameVersionAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withoutIDs(100)...)
		w.Finish()
		before, objects := w.Service.Stats().Requests, w.Store.Snapshot()
		s, err := w.Run(t.Context())
		if err != nil || !s.Already || s.Counts.Imported != 100 {
			t.Errorf("got %+v, %v, want it said that the import was finished before", s, err)
		}
		if got := w.Service.Stats().Requests; got != before {
			t.Errorf("got %d requests more, want none", got-before)
		}
		if got := w.Store.Snapshot(); len(got) != len(objects) {
			t.Errorf("got %d objects, want the same %d", len(got), len(objects))
		}
		w.Put(withoutIDs(100)...) // the same version dropped again
		if s, err := w.Run(t.Context()); err != nil || !s.Already {
			t.Errorf("got %+v, %v, want it said that the import was finished before", s, err)
		}
	})
}

func TestLeaseBusy_ConcurrentRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withIDs(1000)...)
		done := make(chan importer.Summary)
		go func() { done <- w.Finish() }()
		time.Sleep(time.Second)
		w2 := *w.World
		w2.Owner = "another"
		_, err := w2.Run(t.Context())
		busy, ok := errors.AsType[*lease.BusyError](err)
		if !ok || busy.Owner != "a test" || time.Until(busy.Until) > 16*time.Minute {
			t.Errorf("got %v, want the owner of the lease and its expiry", err)
		}
		if s := <-done; s.Counts.Imported != 1000 || w.Service.Stats().Imports != 1000 {
			t.Errorf("got %+v, want 1000 imported", s.Counts)
		}
	})
}

func TestImport_NewVersionArchivesTheOldResults(t *testing.T) {
	for name, finishFirst := range map[string]bool{"after the end": true, "in the middle": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Put(append(withoutIDs(1000), `{"Type":"Public"}`)...)
				old, err := w.Store.Stat(t.Context(), simKey)
				if err != nil {
					t.Fatal(err)
				}
				if finishFirst {
					w.Finish()
				} else {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					defer cancel()
					if s, err := w.Run(ctx); err != nil || s.State != results.Waiting {
						t.Fatalf("got %+v, %v, want time to be up", s, err)
					}
				}
				made := w.Service.Stats().Created
				w.Put(withIDs(10)...)
				if s := w.Finish(); s.Counts.Imported != 10 {
					t.Errorf("got %+v, want 10 imported", s.Counts)
				}
				if got := w.Outcomes(simNames); len(got) != 10 {
					t.Errorf("got %d outcomes of the new version, want 10", len(got))
				}
				kept := w.archived()
				imported := 0
				for i, o := range w.Outcomes(kept) {
					if o.N != int64(i+1) {
						t.Fatalf("got %+v at line %d", o, i+1)
					}
					if o.Status == outcome.Imported {
						imported++
					}
				}
				if imported != made {
					t.Errorf("got %d groups in the results that were kept, want the %d that were made", imported, made)
				}
				m, err := (results.Dir{Bucket: w.Store, Names: kept}).LoadManifest(t.Context())
				if err != nil || m.Complete != finishFirst || m.Export.Version != old.Version {
					t.Errorf("got %+v, %v, want the old version's, complete: %v", m, err, finishFirst)
				}
			})
		})
	}
}

func TestImport_ExportReplacedDuringTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lines := withIDs(3000)
		w.Store.Fail = func(op blobtest.Op) blobtest.Fault {
			if op.Method == blobtest.ReadRange && op.Key == simKey && op.N == 1 {
				return blobtest.Fault{CutAfter: 60_000} // so that another request is needed
			}
			return blobtest.Fault{}
		}
		w.Put(lines...)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s, err := w.Run(t.Context())
			if !errors.Is(err, blob.ErrChanged) || s.State != results.Waiting || !strings.Contains(s.Reason, "replaced") {
				t.Errorf("got %+v, %v, want it waiting because the export was replaced", s, err)
			}
		}()
		time.Sleep(10 * time.Millisecond)
		w.Put(`{"Type":"Public","Name":"new","GroupId":"new"}`)
		<-done
		if s := w.Finish(); s.Counts.Imported != 1 {
			t.Errorf("got %+v, want the one record of the new version", s.Counts)
		}
	})
}

func TestImport_ExportRemovedDuringTheRun(t *testing.T) {
	for name, row := range map[string]struct {
		change func(w *world)
		want   error
		word   string
	}{
		"replaced": {func(w *world) { w.Put(`{"Type":"Public","Name":"new"}`) }, blob.ErrChanged, "replaced"},
		"removed": {func(w *world) {
			if err := w.Store.Delete(w.T.Context(), simKey); err != nil {
				w.T.Fatal(err)
			}
		}, fs.ErrNotExist, "removed"},
	} {
		for _, records := range []int{100, 5000} { // the shorter one has been sent by then
			t.Run(fmt.Sprint(name, " ", records), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.Put(withoutIDs(records)...)
					time.AfterFunc(300*time.Millisecond, func() { row.change(w) })
					start := time.Now()
					s, err := w.Run(t.Context())
					state := results.Stopped
					if errors.Is(row.want, blob.ErrChanged) {
						state = results.Waiting // for the event of the new version
					}
					if !errors.Is(err, row.want) || s.State != state || !strings.Contains(s.Reason, row.word) {
						t.Errorf("got %+v, %v, want it %s with a word about %q", s, err, state, row.word)
					}
					if took := time.Since(start); took > 7*time.Second {
						t.Errorf("got an end after %v, want one soon after", took)
					}
					if int(s.Counts.Imported) != w.Service.Stats().Created {
						t.Errorf("got %+v, want the %d groups that were made", s.Counts, w.Service.Stats().Created)
					}
				})
			})
		}
	}
}

func TestImport_ExportMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if _, err := w.Run(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want %v", err, fs.ErrNotExist)
		}
		if got := len(w.Store.Snapshot()); got != 0 {
			t.Errorf("got %d objects written, want none", got)
		}
	})
}

func TestImport_EmptyExport(t *testing.T) {
	for name, text := range map[string]string{"no byte": "", "a line end": "\n", "a byte-order mark": "\xef\xbb\xbf"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Put(text)
				if s := w.Finish(); s.Counts.Records() != 0 {
					t.Errorf("got %+v, want no record", s.Counts)
				}
				if got, ok := w.Store.Snapshot()[simNames.Results()]; !ok || len(got) != 0 {
					t.Errorf("got results %q, want an empty file", got)
				}
			})
		})
	}
}

func TestImport_FatalCodes(t *testing.T) {
	for code, word := range map[emulator.Fault]string{
		70009: "TIM_SECRET_KEY", 60026: "TIM_REGION", 60010: "TIM_ADMIN", 10007: "TIM_ADMIN",
		10058: "upgrade", 60028: "wait", 60020: "arrears",
		70003: "TIM_SECRET_KEY", 10006: "tomorrow",
	} {
		for name, lines := range map[string][]string{"with GroupIds": withIDs(500), "without": withoutIDs(500)} {
			t.Run(fmt.Sprint(int(code), " ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					after := 100
					if code == 10007 { // stops only if nothing was ever taken
						after = 0
					}
					w.Service.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
						if r.Ordinal > after {
							return code
						}
						return emulator.None
					}}
					w.Put(lines...)
					s, err := w.Run(t.Context())
					if err != nil || s.State != results.Stopped || !strings.Contains(s.Reason, word) {
						t.Fatalf("got %+v, %v, want it stopped with a word about %q", s, err, word)
					}
					if s.Counts.Missing() != 0 || int(s.Counts.Imported) != after {
						t.Errorf("got %+v, want %d imported and none blamed", s.Counts, after)
					}
					p, err := (results.Dir{Bucket: w.Store, Names: simNames}).LoadProgress(t.Context())
					if err != nil || p.State != results.Stopped || p.Reason != s.Reason {
						t.Errorf("got %+v, %v, want the reason in the progress", p, err)
					}
					w.Service.SetFaults(emulator.Faults{})
					if s := w.Finish(); s.Counts.Imported != 500 || s.Manifest.Runs[0].Stop == "" {
						t.Errorf("got %+v, want 500 imported and the reason in the manifest", s)
					}
					for name, made := range w.Service.Names() {
						if made != 1 {
							t.Errorf("%s was made %d times", name, made)
						}
					}
				})
			})
		}
	}
}

func TestImport_StopShare(t *testing.T) {
	for _, row := range []struct {
		share   float64
		refused int // of ten calls
		stops   bool
	}{{0.5, 6, true}, {0.5, 4, false}, {0.9, 6, false}, {1, 10, false}, {0, 1, true}} {
		t.Run(fmt.Sprintf("share %v, %d of 10 refused", row.share, row.refused), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Config.StopShare = row.share
				w.Service.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
					if r.Ordinal%10 < row.refused {
						return 10004
					}
					return emulator.None
				}}
				var lines []string
				for i, line := range withIDs(3000) {
					if lines = append(lines, line); i%3 == 0 {
						lines = append(lines, `{"our own rules":"do not count"}`)
					}
				}
				w.Put(lines...)
				s, err := w.Run(t.Context())
				if err != nil || (s.State == results.Stopped) != row.stops {
					t.Fatalf("got %v %q, %v, want stopped: %v", s.State, s.Reason, err, row.stops)
				}
				calls, says := w.Service.Stats().Imports, strings.Contains(s.Reason, "STOP_SHARE")
				if row.stops && (calls < 1000 || calls > 1100 || !says) {
					t.Errorf("got %d calls and %q, want 1000 and some, and STOP_SHARE named", calls, s.Reason)
				}
			})
		})
	}
}

func TestAssign_SameIDsAfterAKill(t *testing.T) {
	var first []outcome.Outcome
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.Config.AssignGroupIDs = true
			w.Config.MaxAttempts = 10
			w.Service.Faults = emulator.Faults{Seed: 3, DropAfter: 0.1, BadGatewayAfter: 0.1, HangAfter: 0.02}
			w.Put(append(withoutIDs(500),
				`{"Type":"Community","Name":"c"}`, `{"Type":"Public","Name":"own","GroupId":"own"}`)...)
			s := w.Finish()
			if s.Counts.Imported+s.Counts.Exists != 502 {
				t.Errorf("got %+v, want all in", s.Counts)
			}
			all := w.Outcomes(simNames)
			for i, o := range all {
				if o.Assigned != (i != 501) {
					t.Errorf("got %+v, want it said whether the ID was assigned", o)
				}
				if first != nil && o.GroupID != first[i].GroupID {
					t.Errorf("got ID %q the second time and %q the first", o.GroupID, first[i].GroupID)
				}
			}
			first = all
		})
	}
}

func TestImport_ThrottledForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		start := time.Now()
		w.Service.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
			if d := time.Since(start); d > 2*time.Second && d < time.Hour {
				return emulator.Fault([]int{60007, 60011, 60018, 60019}[r.Ordinal%4])
			}
			return emulator.None
		}}
		w.Put(withoutIDs(2000)...)
		if s := w.Finish(); s.Counts.Imported != 2000 {
			t.Errorf("got %+v, want 2000 imported", s.Counts)
		}
		for _, o := range w.Outcomes(simNames) {
			if o.Attempts != 1 {
				t.Fatalf("got %+v, want throttling to cost no attempt", o)
			}
		}
		if got := w.Service.Stats().Requests; got > 2000+2*3600 {
			t.Errorf("got %d requests, want patience", got)
		}
	})
}

func TestImport_DeadlineThenResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Service.Latency = 2 * time.Second
		w.Put(withoutIDs(20_000)...)
		runs := 0
		for state := results.Waiting; state != results.Finished; runs++ {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			start := time.Now()
			s, err := w.Run(ctx)
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 26*time.Second {
				t.Errorf("got an end after %v, want time to spare before 30s", took)
			}
			state = s.State
		}
		if got := w.Service.Stats().Imports; got != 20_000 || runs < 5 {
			t.Errorf("got %d calls in %d runs, want 20000 in several", got, runs)
		}
		if got := w.Service.Stats().Lost; got != 0 {
			t.Errorf("got %d attempts cut off, want none", got)
		}
	})
}

// archived returns the names under which the version before the present one is archived, for an import that has begun.
func (w *world) archived() results.Names {
	w.T.Helper()
	for key := range w.Store.Snapshot() {
		if owner, kind := results.Sidecar(key); kind == results.SidecarResults && results.ArchivedFrom(owner) == simKey {
			return results.Names{Export: owner}
		}
	}
	w.T.Fatal("got no archived results")
	return results.Names{}
}
