package importer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/emulator"
	"groupimport/pkg/importer"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
	"groupimport/pkg/tim"
)

// importer returns one of a process of its own.
func (w *world) importer() *importer.Importer {
	w.t.Helper()
	i := &importer.Importer{Config: w.config, Bucket: w.store, BucketName: "bucket", Owner: w.holder}
	if err := dial(i, func(c *tim.Config) { c.Transport = w.service }); err != nil {
		w.t.Fatal(err)
	}
	return i
}

// pass does one pass of the schedule.
func (w *world) pass(a scheduler.Action) scheduler.Result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 15*time.Minute)
	defer cancel()
	p, err := scheduling(w.importer()).Pass(ctx, a)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

var (
	resume = scheduler.Action{Resume: true}
	retry  = scheduler.Action{Retry: true}
)

// text says what a pass did.
func text(p scheduler.Result) string {
	var all []string
	for _, d := range p.Done {
		all = append(all, strings.TrimSpace(fmt.Sprint(d.What, " ", d.Key, " ", d.State, " ", d.Error)))
	}
	return strings.Join(all, ", ")
}

func TestPass_StartsAndResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.config.Prefix = "exports/"
		w.put(withIDs(3000)...)
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		if s, err := w.run(ctx); err != nil || s.State != results.Waiting {
			t.Fatalf("got %+v, %v, want time to be up", s, err)
		}
		for _, key := range []string{"exports/missed.jsonl", "exports/sub/deep.ndjson", "exports/other.txt", "elsewhere/x.jsonl", "exports/.hidden.jsonl"} {
			if err := w.store.Put(t.Context(), key, strings.NewReader(`{"Type":"Public","Name":"x"}`)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if got, want := text(w.pass(resume)), "resume exports/acme.jsonl finished"; got != want {
			t.Errorf("got %q, want %q: the others are too young", got, want)
		}
		time.Sleep(scheduler.MissedAfter)
		if got, want := text(w.pass(resume)), "start exports/missed.jsonl finished, start exports/sub/deep.ndjson finished"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := text(w.pass(resume)); got != "" {
			t.Errorf("got %q, want nothing left", got)
		}
		w.put(withIDs(10)...) // a new version whose event was missed
		time.Sleep(scheduler.MissedAfter)
		if got, want := text(w.pass(resume)), "start exports/acme.jsonl finished"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestPass_StoppedImportBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.service.Key = "another key"
		w.put(withIDs(10)...)
		time.Sleep(scheduler.MissedAfter)
		tries := 0
		for range 24 * 60 {
			if p := w.pass(resume); len(p.Done) > 0 {
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
		w.service.Key = simSign
		if got, want := text(w.pass(scheduler.Action{Resume: true, Now: true})), "resume exports/acme.jsonl finished"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// failing makes the service refuse with a transient code while it is on.
func (w *world) failing() (off func()) {
	w.service.SetFaults(emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
		if r.Command == "import_group" && strings.HasSuffix(r.GroupID, "7") {
			return emulator.Internal
		}
		return emulator.None
	}})
	return func() { w.service.SetFaults(emulator.Faults{}) }
}

func TestRetry_UntilImported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		off := w.failing()
		w.put(append(withIDs(1000), `{"Type":"Public"}`)...)
		s := w.finish()
		if s.Counts.Failed != 100 || s.Counts.Rejected != 1 {
			t.Fatalf("got %+v, want 100 failed", s.Counts)
		}
		if got := text(w.pass(retry)); got != "" {
			t.Errorf("got %q before 15 minutes were over, want nothing", got)
		}
		time.Sleep(18 * time.Minute)
		if got, want := text(w.pass(retry)), "retry exports/acme.jsonl finished"; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		off()
		time.Sleep(36 * time.Minute)
		p := w.pass(retry)
		if len(p.Done) != 1 || p.Done[0].Counts.Imported != 1000 || p.Done[0].Counts.Failed != 0 {
			t.Fatalf("got %+v, want 1000 imported", p)
		}
		all := w.outcomes(simNames)
		for n, o := range all {
			if o.N != int64(n+1) || o.Status.HasGroup() == (n == 1000) {
				t.Fatalf("got %+v at line %d", o, n+1)
			}
			if want := 11; strings.HasSuffix(o.GroupID, "7") && o.Attempts != want {
				t.Fatalf("got %+v, want %d attempts in all", o, want)
			}
		}
		failures := w.store.Snapshot()[simNames.Failures()]
		if got := bytes.Count(failures, []byte("\n")); got != 1 || len(all) != 1001 {
			t.Errorf("got %d lines of failures and %d results, want 1 and 1001", got, len(all))
		}
		m, err := (results.Dir{Bucket: w.store, Names: simNames}).LoadManifest(t.Context())
		if err != nil || len(m.Rounds) != 2 || m.Counts != p.Done[0].Counts || !m.RetryAt.IsZero() || m.Rounds[0].Counts.Failed != 100 || m.Rounds[1].Counts.Imported != 100 {
			t.Errorf("got %+v, %v, want two rounds in it", m, err)
		}
		if got := text(w.pass(scheduler.Action{Retry: true, Now: true})); got != "" {
			t.Errorf("got %q, want nothing left", got)
		}
	})
}

func TestRetry_RemovesEmptyDeadLetterFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		off := w.failing()
		w.put(withIDs(20)...)
		w.finish()
		off()
		w.pass(scheduler.Action{Retry: true, Now: true})
		if got, ok := w.store.Snapshot()[simNames.Failures()]; ok {
			t.Errorf("got %s, want it gone", got)
		}
	})
}

func TestRetry_GivesUpAfterAllRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.failing()
		w.put(withIDs(20)...)
		w.finish()
		start := time.Now()
		var gaps []time.Duration
		for last := start; time.Since(start) < 14*24*time.Hour; time.Sleep(time.Minute) {
			if text(w.pass(retry)) != "" {
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
		m, err := (results.Dir{Bucket: w.store, Names: simNames}).LoadManifest(t.Context())
		if err != nil || m.GivenUp != 2 || m.Counts.Failed != 2 || !m.RetryAt.IsZero() {
			t.Errorf("got %+v, %v, want 2 given up and still in the files", m, err)
		}
	})
}

func TestRetry_UnknownRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.service.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
			if r.Name == "n-5" && r.Ordinal < 20 {
				return emulator.DropBefore
			}
			return emulator.None
		}}
		w.put(withoutIDs(10)...)
		if s := w.finish(); s.Counts.Unknown != 1 {
			t.Fatalf("got %+v, want 1 unknown", s.Counts)
		}
		if got := text(w.pass(scheduler.Action{Retry: true, Now: true})); got != "" {
			t.Errorf("got %q, want unknown left alone", got)
		}
		w.service.SetFaults(emulator.Faults{})
		w.config.RetryUnknown = true
		if p := w.pass(retry); len(p.Done) != 1 || p.Done[0].Counts.Imported != 10 {
			t.Errorf("got %+v, want 10 imported", p)
		}
	})
}

func TestRetry_DeadLetterFileEdited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		off := w.failing()
		w.put(append(withIDs(100), `{"Type":"Public","Name":""}`)...) // 10 failed, 1 rejected
		w.finish()
		off()
		lines := strings.Split(strings.TrimSpace(string(w.store.Snapshot()[simNames.Failures()])), "\n")
		lines[0], lines[1] = lines[1], lines[0]                                 // out of order: the second waits
		lines[2] = strings.Replace(lines[2], `"n-27"`, `"mended"`, 1)           // another name
		lines[3] = "a note to myself"                                           // n 37 is gone
		lines[10] = strings.Replace(lines[10], `"Name":""`, `"Name":"ok"`, 1)   // rejected ones are left alone
		lines = append(lines, "", `{"Type":"Public","Name":"dropped in here"}`) // no outcome
		if err := w.store.Put(t.Context(), simNames.Failures(), strings.NewReader(strings.Join(lines, "\n"))); err != nil {
			t.Fatal(err)
		}
		now := scheduler.Action{Retry: true, Now: true}
		p := w.pass(now)
		if len(p.Done) != 1 || p.Done[0].Counts.Imported != 98 || p.Done[0].Counts.Failed != 2 || p.Done[0].Counts.Rejected != 1 {
			t.Errorf("got %+v, want 98 imported, 2 failed and 1 rejected", p)
		}
		if w.service.Names()["mended"] != 1 || w.service.Names()["ok"] != 0 || w.service.Names()["dropped in here"] != 0 {
			t.Error("got other groups than the failures file has")
		}
		left := string(w.store.Snapshot()[simNames.Failures()])
		for _, want := range []string{"a note to myself", `"Name":"ok"`, "dropped in here", `"n":7,`} {
			if !strings.Contains(left, want) {
				t.Errorf("got failures without %q:\n%s", want, left)
			}
		}
		if p := w.pass(now); len(p.Done) != 1 || p.Done[0].Counts.Imported != 99 {
			t.Errorf("got %+v, want the one out of order now", p)
		}
		if got := w.outcomes(simNames); len(got) != 101 {
			t.Errorf("got %d results, want 101", len(got))
		}
	})
}

func TestPass_RecoversFromAnOutage(t *testing.T) {
	for name, fault := range map[string]emulator.Fault{"10002": emulator.Internal, "502": emulator.BadGateway, "no answer": emulator.Hang, "broken": emulator.DropBefore} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				start := time.Now()
				w.service.Faults = emulator.Faults{Plan: func(emulator.Request) emulator.Fault {
					if d := time.Since(start); d > 10*time.Second && d < time.Hour {
						return fault
					}
					return emulator.None
				}}
				w.put(withIDs(5000)...)
				for time.Since(start) < 6*time.Hour {
					w.pass(scheduler.Action{Resume: true, Retry: true, Missed: time.Second})
					time.Sleep(time.Minute)
				}
				m, err := (results.Dir{Bucket: w.store, Names: simNames}).LoadManifest(t.Context())
				if err != nil || m.Counts.Imported+m.Counts.Exists != 5000 {
					t.Errorf("got %+v, %v, want all 5000 in", m.Counts, err)
				}
			})
		})
	}
}

// TestRetry_KilledAtAnyInstant kills rounds of retries at every operation in turn.
func TestRetry_KilledAtAnyInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		off := w.failing()
		w.put(append(withIDs(300), `{"Type":"Public","Name":""}`)...)
		w.finish()
		off()
		before := w.store.Clone()
		for killAfter := int64(1); ; killAfter++ {
			s := &sim{rand: rand.New(rand.NewPCG(1, 1)), killed: map[string]bool{}, attempts: map[string]int{}, store: before.Clone()}
			s.service = &emulator.Service{SDKAppID: simApp, Key: simSign, Latency: 20 * time.Millisecond}
			ended := false
			for n := range 3 { // the first is killed
				p := newProcess(s, fmt.Sprint("process ", n), map[bool]int64{true: killAfter}[n == 0])
				i := &importer.Importer{Config: w.config, Bucket: p, Owner: p.name, IsDead: func(h string) bool { return s.killed[h] }}
				if err := dial(i, func(c *tim.Config) { c.Transport = p }); err != nil {
					t.Fatal(err)
				}
				_, err := i.RetryRound(p.ctx, simKey, true)
				if n == 0 {
					ended = p.ctx.Err() == nil
				} else if err != nil && !ended {
					t.Fatalf("killed after %d: %v", killAfter, err)
				}
				p.die()
			}
			w2 := *w
			w2.store = s.store
			all := w2.outcomes(simNames)
			if len(all) != 301 {
				t.Fatalf("killed after %d: got %d results, want 301", killAfter, len(all))
			}
			for n, o := range all {
				if o.N != int64(n+1) || o.Status.HasGroup() == (n == 300) {
					t.Fatalf("killed after %d: got %+v at line %d", killAfter, o, n+1)
				}
			}
			if got := bytes.Count(s.store.Snapshot()[simNames.Failures()], []byte("\n")); got != 1 {
				t.Fatalf("killed after %d: got %d lines of failures, want 1", killAfter, got)
			}
			for name, made := range s.service.Names() {
				if made > 1 {
					t.Fatalf("killed after %d: %s was made %d times", killAfter, name, made)
				}
			}
			if ended {
				t.Logf("%d instants to be killed at", killAfter-1)
				return
			}
		}
	})
}

func TestPass_ConcurrentSchedulers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.service.Limit = 1000 // each process has a budget of its own
		for n := range 5 {
			if err := w.store.Put(t.Context(), fmt.Sprintf("exports/%d.jsonl", n), strings.NewReader(strings.Join(withIDs(300)[n*50:n*50+50], "\n"))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(scheduler.MissedAfter)
		done := make(chan scheduler.Result)
		for range 2 {
			go func() { done <- w.pass(resume) }()
		}
		<-done
		<-done
		if got := w.service.Stats().Imports; got != 250 {
			t.Errorf("got %d calls, want 250", got)
		}
	})
}

func TestPass_CostOfFinishedImports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.config.Rate = 10_000
		w.service.Limit = -1
		w.service.Latency = 0
		const imports = 1000
		i := w.importer()
		for n := range imports {
			key := fmt.Sprintf("exports/%04d.jsonl", n)
			if err := w.store.Put(t.Context(), key, strings.NewReader(fmt.Sprintf(`{"Type":"Public","Name":"x","GroupId":"g%d"}`, n))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			if _, err := i.Import(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		before := w.store.Counts().Calls
		if p := w.pass(scheduler.Action{Resume: true, Retry: true}); len(p.Done) != 0 || p.Imports != imports {
			t.Errorf("got %+v, want %d imports looked at and nothing to do", p, imports)
		}
		after := w.store.Counts().Calls
		for _, method := range []string{blobtest.Stat, blobtest.ReadRange, blobtest.Put, blobtest.Create, blobtest.Delete} {
			if got := after[method] - before[method]; got != 0 {
				t.Errorf("got %d of %s, want none", got, method)
			}
		}
		if got := after[blobtest.List] - before[blobtest.List]; got > 6 {
			t.Errorf("got %d list requests for %d imports, want 6 at most: five keys each, and one page to begin with", got, imports)
		}
	})
}

var errGone = errors.New("gone")

func TestPass_StoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(withIDs(10)...)
		w.store.Fail = func(op blobtest.Op) blobtest.Fault {
			if op.Method == blobtest.List {
				return blobtest.Fault{Err: errGone}
			}
			return blobtest.Fault{}
		}
		if _, err := scheduling(w.importer()).Pass(t.Context(), resume); !errors.Is(err, errGone) {
			t.Errorf("got %v, want %v", err, errGone)
		}
	})
}
