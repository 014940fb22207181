package scheduler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/emulator"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

func TestPass_StartsAndResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Config.Prefix = "exports/"
		w.Put(importertest.WithIDs(3000)...)
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		if s, err := w.Run(ctx); err != nil || s.State != results.Waiting {
			t.Fatalf("got %+v, %v, want time to be up", s, err)
		}
		for _, key := range []string{
			"exports/missed.jsonl", "exports/sub/deep.ndjson", "exports/other.txt", "elsewhere/x.jsonl", "exports/.hidden.jsonl",
		} {
			if err := w.Store.Put(t.Context(), key, strings.NewReader(`{"Type":"Public","Name":"x"}`)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if got, want := importertest.Text(w.Pass(resume)), "resume exports/acme.jsonl finished"; got != want {
			t.Errorf("got %q, want %q: the others are too young", got, want)
		}
		time.Sleep(scheduler.MissedAfter)
		if got, want := importertest.Text(w.Pass(resume)), "start exports/missed.jsonl finished, start "+
			"exports/sub/deep.ndjson finished"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := importertest.Text(w.Pass(resume)); got != "" {
			t.Errorf("got %q, want nothing left", got)
		}
		w.Put(importertest.WithIDs(10)...) // a new version whose event was missed
		time.Sleep(scheduler.MissedAfter)
		if got, want := importertest.Text(w.Pass(resume)), "start exports/acme.jsonl finished"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestPass_StoppedImportBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Service.Key = "another key"
		w.Put(importertest.WithIDs(10)...)
		time.Sleep(scheduler.MissedAfter)
		tries := 0
		for range 24 * 60 {
			if p := w.Pass(resume); len(p.Done) > 0 {
				tries++
				if d := p.Done[0]; d.State != results.Stopped || !strings.Contains(d.Reason, "TIM_SECRET_KEY") {
					t.Fatalf("got %+v, want it stopped because of the key", d)
				}
			}
			time.Sleep(time.Minute)
		}
		if tries < 24 || tries > 35 {
			t.Errorf("got %d tries in a day, want about one an hour", tries)
		}
		w.Service.Key = importertest.Sign
		if got, want := importertest.Text(w.Pass(scheduler.Action{Resume: true, Now: true})), "resume exports/acme.jsonl "+
			"finished"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestRetry_UntilImported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		off := w.Failing()
		w.Put(append(importertest.WithIDs(1000), `{"Type":"Public"}`)...)
		s := w.Finish()
		if s.Counts.Failed != 100 || s.Counts.Rejected != 1 {
			t.Fatalf("got %+v, want 100 failed", s.Counts)
		}
		if got := importertest.Text(w.Pass(retry)); got != "" {
			t.Errorf("got %q before 15 minutes were over, want nothing", got)
		}
		time.Sleep(19 * time.Minute) // 15 minutes, a fifth more, and the rest of the minute, see the mark's name
		if got, want := importertest.Text(w.Pass(retry)), "retry exports/acme.jsonl finished"; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		off()
		time.Sleep(37 * time.Minute)
		p := w.Pass(retry)
		if len(p.Done) != 1 || p.Done[0].Counts.Imported != 1000 || p.Done[0].Counts.Failed != 0 {
			t.Fatalf("got %+v, want 1000 imported", p)
		}
		all := w.Outcomes(importertest.Names)
		for n, o := range all {
			if o.N != int64(n+1) || o.Status.HasGroup() == (n == 1000) {
				t.Fatalf("got %+v at line %d", o, n+1)
			}
			if want := 11; strings.HasSuffix(o.GroupID, "7") && o.Attempts != want {
				t.Fatalf("got %+v, want %d attempts in all", o, want)
			}
		}
		failures := w.Store.Snapshot()[importertest.Names.Failures()]
		if got := bytes.Count(failures, []byte("\n")); got != 1 || len(all) != 1001 {
			t.Errorf("got %d lines of failures and %d results, want 1 and 1001", got, len(all))
		}
		m, err := (results.Dir{Bucket: w.Store, Names: importertest.Names}).LoadManifest(t.Context())
		if err != nil || len(m.Rounds) != 2 || m.Counts != p.Done[0].Counts || !m.RetryAt.IsZero() ||
			m.Rounds[0].Counts.Failed != 100 || m.Rounds[1].Counts.Imported != 100 {
			t.Errorf("got %+v, %v, want two rounds in it", m, err)
		}
		if got := importertest.Text(w.Pass(scheduler.Action{Retry: true, Now: true})); got != "" {
			t.Errorf("got %q, want nothing left", got)
		}
	})
}

func TestRetry_RemovesEmptyDeadLetterFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		off := w.Failing()
		w.Put(importertest.WithIDs(20)...)
		w.Finish()
		off()
		w.Pass(scheduler.Action{Retry: true, Now: true})
		if got, ok := w.Store.Snapshot()[importertest.Names.Failures()]; ok {
			t.Errorf("got %s, want it gone", got)
		}
	})
}

func TestRetry_GivesUpAfterAllRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Failing()
		w.Put(importertest.WithIDs(20)...)
		w.Finish()
		start := time.Now()
		var gaps []time.Duration
		for last := start; time.Since(start) < 14*24*time.Hour; time.Sleep(time.Minute) {
			if importertest.Text(w.Pass(retry)) != "" {
				gaps = append(gaps, time.Since(last))
				last = time.Now()
			}
		}
		if len(gaps) != 10 {
			t.Fatalf("got %d rounds, want 10", len(gaps))
		}
		for n, gap := range gaps {
			if want := min(24*time.Hour, 15*time.Minute<<n); gap < want*79/100 || gap > want*121/100+2*time.Minute {
				t.Errorf("got round %d after %v, want about %v", n+1, gap, want)
			}
		}
		m, err := (results.Dir{Bucket: w.Store, Names: importertest.Names}).LoadManifest(t.Context())
		if err != nil || m.GivenUp != 2 || m.Counts.Failed != 2 || !m.RetryAt.IsZero() {
			t.Errorf("got %+v, %v, want 2 given up and still in the files", m, err)
		}
	})
}

func TestRetry_UnknownRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Service.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
			if r.Name == "n-5" && r.Ordinal < 20 {
				return emulator.DropBefore
			}
			return emulator.None
		}}
		w.Put(importertest.WithoutIDs(10)...)
		if s := w.Finish(); s.Counts.Unknown != 1 {
			t.Fatalf("got %+v, want 1 unknown", s.Counts)
		}
		if got := importertest.Text(w.Pass(scheduler.Action{Retry: true, Now: true})); got != "" {
			t.Errorf("got %q, want unknown left alone", got)
		}
		w.Service.SetFaults(emulator.Faults{})
		w.Config.RetryUnknown = true
		if p := w.Pass(retry); len(p.Done) != 1 || p.Done[0].Counts.Imported != 10 {
			t.Errorf("got %+v, want 10 imported", p)
		}
	})
}

func TestRetry_DeadLetterFileEdited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		off := w.Failing()
		w.Put(append(importertest.WithIDs(100), `{"Type":"Public","Name":""}`)...) // 10 failed, 1 rejected
		w.Finish()
		off()
		lines := strings.Split(strings.TrimSpace(string(w.Store.Snapshot()[importertest.Names.Failures()])), "\n")
		lines[0], lines[1] = lines[1], lines[0]                                 // out of order: the second waits
		lines[2] = strings.Replace(lines[2], `"n-27"`, `"fixed"`, 1)            // another name
		lines[3] = "a note to myself"                                           // n 37 is gone
		lines[10] = strings.Replace(lines[10], `"Name":""`, `"Name":"ok"`, 1)   // rejected ones are left alone
		lines = append(lines, "", `{"Type":"Public","Name":"dropped in here"}`) // no outcome
		if err := w.Store.Put(t.Context(), importertest.Names.Failures(),
			strings.NewReader(strings.Join(lines, "\n"))); err != nil {
			t.Fatal(err)
		}
		now := scheduler.Action{Retry: true, Now: true}
		p := w.Pass(now)
		if len(p.Done) != 1 || p.Done[0].Counts.Imported != 98 || p.Done[0].Counts.Failed != 2 ||
			p.Done[0].Counts.Rejected != 1 {
			t.Errorf("got %+v, want 98 imported, 2 failed and 1 rejected", p)
		}
		if w.Service.Names()["fixed"] != 1 || w.Service.Names()["ok"] != 0 || w.Service.Names()["dropped in here"] != 0 {
			t.Error("got other groups than the failures file has")
		}
		left := string(w.Store.Snapshot()[importertest.Names.Failures()])
		for _, want := range []string{"a note to myself", `"Name":"ok"`, "dropped in here", `"n":7,`} {
			if !strings.Contains(left, want) {
				t.Errorf("got failures without %q:\n%s", want, left)
			}
		}
		if p := w.Pass(now); len(p.Done) != 1 || p.Done[0].Counts.Imported != 99 {
			t.Errorf("got %+v, want the one out of order now", p)
		}
		if got := w.Outcomes(importertest.Names); len(got) != 101 {
			t.Errorf("got %d results, want 101", len(got))
		}
	})
}

func TestPass_RecoversFromAnOutage(t *testing.T) {
	const records = 2000 // the first half of them before the outage
	for name, fault := range map[string]emulator.Fault{
		"10002": emulator.Internal, "502": emulator.BadGateway, "no response": emulator.Hang, "broken": emulator.DropBefore,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := importertest.New(t)
				start := time.Now()
				w.Service.Faults = emulator.Faults{Plan: func(emulator.Request) emulator.Fault {
					if d := time.Since(start); d > 5*time.Second && d < time.Hour {
						return fault
					}
					return emulator.None
				}}
				w.Put(importertest.WithIDs(records)...)
				for time.Since(start) < 6*time.Hour {
					w.Pass(scheduler.Action{Resume: true, Retry: true, Missed: time.Second})
					time.Sleep(time.Minute)
				}
				m, err := (results.Dir{Bucket: w.Store, Names: importertest.Names}).LoadManifest(t.Context())
				if err != nil || m.Counts.Imported+m.Counts.Exists != records {
					t.Errorf("got %+v, %v, want all %d imported", m.Counts, err, records)
				}
			})
		})
	}
}

func TestPass_ConcurrentSchedulers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Service.Limit = 1000 // each process has a budget of its own
		for n := range 5 {
			if err := w.Store.Put(t.Context(), fmt.Sprintf("exports/%d.jsonl", n),
				strings.NewReader(strings.Join(importertest.WithIDs(300)[n*50:n*50+50], "\n"))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(scheduler.MissedAfter)
		done := make(chan scheduler.Result)
		for range 2 {
			go func() { done <- w.Pass(resume) }()
		}
		<-done
		<-done
		if got := w.Service.Stats().Imports; got != 250 {
			t.Errorf("got %d calls, want 250", got)
		}
	})
}

func TestPass_CostOfFinishedImports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Config.Rate = 10_000
		w.Service.Limit = -1
		w.Service.Latency = 0
		const imports = 1000
		i := w.Importer()
		for n := range imports {
			key := fmt.Sprintf("exports/%04d.jsonl", n)
			if err := w.Store.Put(t.Context(), key,
				strings.NewReader(fmt.Sprintf(`{"Type":"Public","Name":"x","GroupId":"g%d"}`, n))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			if _, err := i.Import(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		before := w.Store.Counts().Calls
		if p := w.Pass(scheduler.Action{Resume: true, Retry: true}); len(p.Done) != 0 || p.Imports != imports {
			t.Errorf("got %+v, want %d imports looked at and nothing to do", p, imports)
		}
		after := w.Store.Counts().Calls
		for _, method := range []string{blobtest.Stat, blobtest.ReadRange, blobtest.Put, blobtest.Create, blobtest.Delete} {
			if got := after[method] - before[method]; got != 0 {
				t.Errorf("got %d of %s, want none", got, method)
			}
		}
		if got := after[blobtest.List] - before[blobtest.List]; got > 6 {
			t.Errorf("got %d list requests for %d imports, want 6 at most: five keys each, and one page to begin with", got,
				imports)
		}
	})
}

var errGone = errors.New("gone")

func TestPass_StoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Put(importertest.WithIDs(10)...)
		w.Store.Fail = func(op blobtest.Op) blobtest.Fault {
			if op.Method == blobtest.List {
				return blobtest.Fault{Err: errGone}
			}
			return blobtest.Fault{}
		}
		if _, err := importertest.Scheduler(w.Importer()).Pass(t.Context(), resume); !errors.Is(err, errGone) {
			t.Errorf("got %v, want %v", err, errGone)
		}
	})
}

func TestPass_FolderNamedLikeAWorkFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		if err := w.Store.Put(t.Context(), "old.import/x.jsonl", strings.NewReader(importertest.WithIDs(1)[0])); err != nil {
			t.Fatal(err)
		}
		time.Sleep(scheduler.MissedAfter)
		if got, want := importertest.Text(w.Pass(resume)), "start old.import/x.jsonl finished"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestScheduler_ExportReplacedDuringARound replaces an export while failed records are retried. The round writes the
// results again, so that they are newer than the export.
func TestScheduler_ExportReplacedDuringARound(t *testing.T) {
	for _, at := range []time.Duration{
		0, 10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := importertest.New(t)
			off := w.Failing()
			w.Put(importertest.WithIDs(200)...)
			w.Finish()
			off()
			time.Sleep(time.Hour)
			done := make(chan scheduler.Result)
			go func() { done <- w.Pass(scheduler.Action{Resume: true, Retry: true}) }()
			time.Sleep(at)
			w.Put(append(importertest.WithIDs(200), `{"Type":"Public","Name":"new"}`)...)
			<-done
			time.Sleep(time.Hour)
			w.Pass(resume)
			if got := w.Outcomes(importertest.Names); len(got) != 201 || w.Service.Names()["new"] != 1 {
				t.Errorf("replaced after %v: got %d outcomes, want those of the new version", at, len(got))
			}
			if got := importertest.Text(w.Pass(scheduler.Action{Resume: true, Retry: true, Now: true})); got != "" &&
				!strings.Contains(got, "retry") {
				t.Errorf("replaced after %v: got %q, want nothing left to begin", at, got)
			}
		})
	}
}

// TestList_DamagedWorkFiles plants unusable objects in the work folder of one import. The others must still be shown
// and worked on.
func TestList_DamagedWorkFiles(t *testing.T) {
	for _, damage := range []string{"{}", "<html>", strings.Repeat(" ", 9<<20), `{"state":"finished","runs":-1}`} {
		for _, key := range []string{importertest.Names.Progress(), importertest.Names.Manifest()} {
			synctest.Test(t, func(t *testing.T) {
				w := importertest.New(t)
				w.Put(importertest.WithIDs(1)...)
				w.Finish()
				w.PutAt("exports/other.jsonl", `{"Type":"Public","Name":"other","GroupId":"other"}`)
				w.PutAt(key, damage)
				time.Sleep(scheduler.MissedAfter)
				s := importertest.Scheduler(w.Importer())
				all, _, err := s.List(t.Context(), "exports/", false, scheduler.Place{}, 10)
				if err != nil || len(all) != 2 {
					t.Fatalf("got %d imports, %v, want both", len(all), err)
				}
				if d := all[0]; d.State != results.Stopped || !strings.Contains(d.Reason, key+`" is not usable`) {
					t.Errorf("got %s, %q, want it stopped because of %s", d.State, d.Reason, key)
				}
				if got, want := importertest.Text(w.Pass(resume)), "start exports/other.jsonl finished"; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
	}
}
