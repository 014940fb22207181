package importer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/importer"
	"groupimport/pkg/outcome"
	"groupimport/pkg/report"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// control does an action of an operator about the export of the tests.
func (w *world) control(a results.Action) results.State {
	w.T.Helper()
	state, err := w.Dir(simKey).Control(w.T.Context(), a, "li@desk")
	if err != nil {
		w.T.Fatal(err)
	}
	return state
}

// until runs the import in the background, does an action 10 s later, and returns the summary and how long it took the
// run to obey.
func (w *world) until(a results.Action) (importer.Summary, time.Duration) {
	w.T.Helper()
	done := make(chan importer.Summary)
	go func() {
		s, err := w.Run(w.T.Context())
		if err != nil {
			w.T.Error(err)
		}
		done <- s
	}()
	time.Sleep(10 * time.Second)
	if got := w.control(a); got != results.Running {
		w.T.Errorf("got the state %q of a run in progress, want %q", got, results.Running)
	}
	start := time.Now()
	return <-done, time.Since(start)
}

func TestControl_RunInProgress(t *testing.T) {
	for action, want := range map[results.Action]results.State{
		results.Pause: results.Paused, results.Cancel: results.Cancelled,
	} {
		t.Run(string(action), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Put(withoutIDs(6000)...)
				s, took := w.until(action)
				if s.State != want || !strings.Contains(s.Reason, "by li@desk at 20") || took > 5*time.Second {
					t.Fatalf("got %q, %q after %v, want %q by li@desk within 5 s", s.State, s.Reason, took, want)
				}
				sent := w.Service.Stats().Imports
				if n := s.Counts.Records(); n < 1500 || n > 3500 || n != int64(sent) {
					t.Errorf("got %d outcomes of %d calls, want as many, about 2000", n, sent)
				}
				wantLines := 0
				if action == results.Cancel {
					wantLines = int(s.Counts.Records())
					if !strings.Contains(s.Reason, "bytes of the export were not read") {
						t.Errorf("got the reason %q, want what was not read", s.Reason)
					}
				}
				if got := len(w.Outcomes(simNames)); got != wantLines {
					t.Errorf("got %d results, want %d", got, wantLines)
				}
				if report := string(w.Store.Object(simNames.Report())); !strings.Contains(report, "li@desk") {
					t.Error("the report does not say who did it")
				}

				// Nothing starts it but the operator.
				if s, err := w.Run(t.Context()); err != nil || s.State != want {
					t.Errorf("got %+v, %v, want %q", s, err, want)
				}
				time.Sleep(time.Hour)
				if p := w.Pass(scheduler.Action{Resume: true, Retry: true, Now: true}); len(p.Done) != 0 || p.Left != 0 {
					t.Errorf("got %+v of a pass, want nothing", p)
				}
				if p := w.Event([]string{simKey}); p.Done[0].State != want || p.Err() != nil {
					t.Errorf("got %+v of an event, want %q", p, want)
				}
				im, err := (&scheduler.Scheduler{Importer: w.Importer()}).Status(t.Context(), simKey)
				if err != nil || im.State != want || im.Cause != results.CauseOf(want) {
					t.Errorf("got the status %+v, %v, want %q", im, err, want)
				}
				if got := w.Service.Stats().Imports; got != sent {
					t.Errorf("got %d calls more, want none", got-sent)
				}

				if got := w.control(results.Resume); got != results.Waiting {
					t.Errorf("got %q after resume, want %q", got, results.Waiting)
				}
				im, err = (&scheduler.Scheduler{Importer: w.Importer()}).Status(t.Context(), simKey)
				if err != nil || im.State != results.Waiting || im.Cause != results.CauseResumed {
					t.Errorf("got the status %+v, %v, want it waiting because it was resumed", im, err)
				}
				p := w.Pass(scheduler.Action{Resume: true})
				if len(p.Done) != 1 || p.Done[0].State != results.Finished {
					t.Fatalf("got %+v of a pass after resume, want it finished", p)
				}
				if got := w.Outcomes(simNames); len(got) != 6000 || w.Service.Stats().Created != 6000 {
					t.Errorf("got %d results and %d groups, want 6000", len(got), w.Service.Stats().Created)
				}
				if _, err := w.Dir(simKey).Control(t.Context(), results.Pause, "x"); !errors.Is(err, results.ErrFinished) {
					t.Errorf("got %v, want that it is finished", err)
				}
			})
		})
	}
}

// TestControl_ReportOfCancelled checks that the report of a cancelled import lists the records that failed until then,
// also when it is written again, and that its counts are those of the results, which have out-of-order outcomes.
func TestControl_ReportOfCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Service.Faults = emulator.Faults{Seed: 1, CodeShare: 0.4, Code: 10002}
		w.Put(append([]string{`{"Type":"Public","Name":"","GroupId":"nameless"}`}, withIDs(6000)...)...)
		s, _ := w.until(results.Cancel)
		if s.State != results.Cancelled || s.Counts.Rejected != 1 {
			t.Fatalf("got %+v, want it cancelled with 1 rejected", s)
		}
		lines := w.Outcomes(simNames)
		var counts outcome.Counts
		for i := range lines {
			counts.Add(&lines[i])
		}
		p, err := w.Dir(simKey).LoadProgress(t.Context())
		if said := fmt.Sprintf("; %d records have outcomes", len(lines)); err != nil || s.Counts != counts ||
			p.Counts != counts || p.Reason != s.Reason || !strings.Contains(s.Reason, said) {
			t.Errorf("got %+v, and %+v in the progress, %v, want the counts %+v of the results", s, p, err, counts)
		}
		var again bytes.Buffer
		if err := importer.WriteReport(t.Context(), w.Dir(simKey), &again, report.Options{}); err != nil {
			t.Fatal(err)
		}
		for name, page := range map[string]string{
			"of the run": string(w.Store.Snapshot()[simNames.Report()]), "again": again.String(),
		} {
			for _, want := range []string{"li@desk", "were not imported", "<td>nameless</td>", "What is wrong"} {
				if !strings.Contains(page, want) {
					t.Errorf("the report %s lacks %q", name, want)
				}
			}
		}
	})
}

func TestControl_CancelledThenDroppedAgain(t *testing.T) {
	for name, lines := range map[string][]string{
		"same": withoutIDs(6000), "other": append(withoutIDs(6000), withIDs(1)...),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Put(withoutIDs(6000)...)
				w.until(results.Cancel)
				time.Sleep(time.Minute)
				w.Put(lines...)
				time.Sleep(time.Hour)
				p := w.Pass(scheduler.Action{Resume: true})
				if len(p.Done) != 1 || p.Done[0].State != results.Finished {
					t.Fatalf("got %+v of a pass after the export was dropped again, want it finished", p)
				}
				if got := w.Service.Stats().Created; got != len(lines) || len(w.Outcomes(simNames)) != len(lines) {
					t.Errorf("got %d groups and %d results, want %d", got, len(w.Outcomes(simNames)), len(lines))
				}
			})
		})
	}
}

func TestControl_NoRunInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withoutIDs(1000)...)
		if _, err := w.Dir(simKey).Control(t.Context(), results.Resume, "x"); !errors.Is(err, results.ErrNotPaused) {
			t.Errorf("got %v, want that it is not paused", err)
		}
		if got := w.control(results.Pause); got != results.Paused {
			t.Errorf("got %q, want %q", got, results.Paused)
		}
		time.Sleep(time.Hour)
		if p := w.Pass(scheduler.Action{Resume: true}); len(p.Done) != 0 || w.Service.Stats().Requests != 0 {
			t.Errorf("got %+v of a pass, want nothing", p)
		}
		w.control(results.Resume)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		s, err := w.Run(ctx)
		if err != nil || s.State != results.Waiting || s.Counts.Records() == 0 {
			t.Fatalf("got %+v, %v, want time to be up", s, err)
		}
		sent := w.Service.Stats().Imports
		if got := w.control(results.Cancel); got != results.Waiting {
			t.Errorf("got %q, want %q: there are outcomes to write", got, results.Waiting)
		}
		p := w.Pass(scheduler.Action{Resume: true})
		if len(p.Done) != 1 || p.Done[0].State != results.Cancelled || w.Service.Stats().Imports != sent {
			t.Errorf("got %+v of a pass, want it cancelled without a call", p)
		}
		if got := len(w.Outcomes(simNames)); got != int(s.Counts.Records()) {
			t.Errorf("got %d results, want %d", got, s.Counts.Records())
		}
		w.control(results.Resume)
		if s := w.Finish(); s.Counts.Imported != 1000 || w.Service.Stats().Created != 1000 {
			t.Errorf("got %+v, want 1000 imported", s.Counts)
		}
	})
}

func TestControl_RoundOfRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withIDs(300)...)
		off := w.Failing()
		w.Finish()
		done := make(chan importer.Summary)
		go func() {
			s, _ := w.Importer().RetryRound(t.Context(), simKey, true)
			done <- s
		}()
		time.Sleep(time.Second) // the run looks after 3 s, and its retries take longer
		w.control(results.Pause)
		if s := <-done; s.State != results.Paused {
			t.Fatalf("got %q, want %q", s.State, results.Paused)
		}
		time.Sleep(24 * time.Hour)
		if p := w.Pass(scheduler.Action{Retry: true, Resume: true}); len(p.Done) != 0 {
			t.Errorf("got %+v of a pass, want nothing", p)
		}
		off()
		w.control(results.Resume)
		p := w.Pass(scheduler.Action{Retry: true, Resume: true})
		if len(p.Done) != 1 || p.Done[0].State != results.Finished {
			t.Errorf("got %+v of a pass, want the round finished", p)
		}
		if p = w.Pass(scheduler.Action{Retry: true, Now: true}); p.Done[0].Counts.Imported != 300 {
			t.Errorf("got %+v of a pass, want all imported", p)
		}
	})
}

// TestControl_BetweenRoundsOfRetries pauses and cancels the retries of a finished import, before the first round and
// after it.
func TestControl_BetweenRoundsOfRetries(t *testing.T) {
	for action, want := range map[results.Action]results.State{
		results.Pause: results.Paused, results.Cancel: results.Cancelled,
	} {
		t.Run(string(action), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Put(withIDs(30)...)
				off := w.Failing()
				w.Finish()
				all := scheduler.Action{Retry: true, Resume: true, Now: true}
				state := func() results.State {
					t.Helper()
					im, err := (&scheduler.Scheduler{Importer: w.Importer()}).Status(t.Context(), simKey)
					if err != nil || im.Counts.Failed == 0 || im.Done != 1 {
						t.Errorf("got the status %+v, %v, want it complete with failed records", im, err)
					}
					return im.State
				}
				for round := range 2 {
					calls := w.Service.Stats().Imports
					if got := w.control(action); got != want || state() != want {
						t.Errorf("round %d: got %q and the status %q, want %q", round, got, state(), want)
					}
					time.Sleep(24 * time.Hour)
					if p := w.Pass(all); len(p.Done) != 0 || w.Service.Stats().Imports != calls {
						t.Errorf("round %d: got %+v of a pass, want nothing", round, p)
					}
					if s, err := w.Run(t.Context()); err != nil || s.State != results.Finished || !s.Already {
						t.Errorf("round %d: got %+v, %v of the import, want it finished", round, s, err)
					}
					if got := w.control(results.Resume); got != results.Finished || state() != results.Finished {
						t.Errorf("round %d: got %q and the status %q, want it finished", round, got, state())
					}
					if _, err := w.Dir(simKey).Control(t.Context(), results.Resume, "x"); err == nil {
						t.Errorf("round %d: resumed twice", round)
					}
					if round == 1 {
						off()
					}
					if p := w.Pass(all); len(p.Done) != 1 || p.Done[0].State != results.Finished {
						t.Errorf("round %d: got %+v of a pass, want a round", round, p)
					}
				}
				if _, err := w.Dir(simKey).Control(t.Context(), action, "x"); !errors.Is(err, results.ErrFinished) {
					t.Errorf("got %v, want %v", err, results.ErrFinished)
				}
				if got := w.Service.Stats().Created; got != 30 {
					t.Errorf("got %d groups, want 30", got)
				}
			})
		})
	}
}

// The results so far are large enough to be uploaded in parts, and the next ones are of other parts.
func TestControl_CancelledWithLargeResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const large, small = 300, 4000
		lines := slices.Repeat([]string{`{"Type":"Public","Name":"` + strings.Repeat("x", 40_000) + `"}`}, large)
		w.Put(append(lines, withoutIDs(small)...)...)
		s, _ := w.until(results.Cancel)
		letters := w.Store.Snapshot()[simNames.Failures()]
		if s.State != results.Cancelled || s.Counts.Rejected != large || len(letters) < 40_000*large {
			t.Fatalf("got %+v and a dead-letter file of %d bytes, want %d records in it", s, len(letters), large)
		}
		if got := len(w.Outcomes(simNames)); got != int(s.Counts.Records()) {
			t.Errorf("got %d results, want %d", got, s.Counts.Records())
		}
		w.control(results.Resume)
		if s := w.Finish(); s.Counts.Imported != small || s.Counts.Rejected != large {
			t.Errorf("got %+v, want %d imported and %d rejected", s.Counts, small, large)
		}
		if got := len(w.Outcomes(simNames)); got != large+small || w.Service.Stats().Created != small {
			t.Errorf("got %d results and %d groups, want %d and %d", got, w.Service.Stats().Created, large+small, small)
		}
	})
}

// A process is killed at one of its next operations after the operator has cancelled its import. The next run obeys.
func TestControl_KilledWhileItObeys(t *testing.T) {
	const records, rate = 900, 50 // many are left after 10 s
	for left := range 14 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.Config.Rate = rate
			w.Put(withIDs(records)...)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			i := w.Importer()
			const after = 1 << 20
			k := newKiller(i.Bucket, after, cancel)
			i.Bucket = k
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = i.Import(ctx, simKey)
			}()
			time.Sleep(10 * time.Second)
			w.control(results.Cancel)
			k.n.Store(int64(after - left - 1))
			<-ended
			time.Sleep(time.Hour)
			sent := w.Service.Stats().Imports
			w.Pass(scheduler.Action{Resume: true})
			p, err := w.Dir(simKey).LoadProgress(t.Context())
			if err != nil || p.State != results.Cancelled || w.Service.Stats().Imports != sent {
				t.Fatalf("killed at operation %d: got %+v, %v, want it cancelled without a call", left, p, err)
			}
			if got := len(w.Outcomes(simNames)); got == 0 || got != int(p.Counts.Records()) {
				t.Errorf("killed at operation %d: got %d results, want %d", left, got, p.Counts.Records())
			}
			w.control(results.Resume)
			if s := w.Finish(); s.Counts.Imported+s.Counts.Exists != records || w.Service.Stats().Created != records {
				t.Errorf("killed at operation %d: got %+v and %d groups, want %d", left, s.Counts, w.Service.Stats().Created,
					records)
			}
		})
	}
}
