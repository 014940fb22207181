package importer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/emulator"
	"groupimport/pkg/importer"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
	"groupimport/pkg/tim"
)

// within runs the import for so long, which must leave something to do.
func (w *world) within(d time.Duration) importer.Summary {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), d)
	defer cancel()
	s, err := w.Run(ctx)
	if err != nil || s.State == results.Finished {
		w.T.Fatalf("got %+v, %v, want something left to do", s, err)
	}
	return s
}

func TestImport_OutcomesNotWritable(t *testing.T) {
	for name, lines := range map[string][]string{"with GroupIds": withIDs(1500), "without": withoutIDs(1500)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Store.Fail = func(op blobtest.Op) blobtest.Fault {
					if op.Method == blobtest.Put && strings.Contains(op.Key, "/parts/") && time.Since(synctestEpoch) < time.Hour {
						return blobtest.Fault{Err: errors.New("the disk is full")}
					}
					return blobtest.Fault{}
				}
				w.Put(lines...)
				s, err := w.Run(t.Context())
				if err == nil || s.State != results.Stopped {
					t.Errorf("got %v, %v, want it stopped with an error", s.State, err)
				}
				if p, err := (results.Dir{Bucket: w.Store, Names: simNames}).LoadProgress(t.Context()); err != nil ||
					p.State == results.Finished {
					t.Errorf("got %+v, %v, want anything but finished", p, err)
				}
				time.Sleep(time.Hour)
				if got, want := importertest.Text(w.Pass(resume)), "resume exports/acme.jsonl finished"; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if got := len(w.Outcomes(simNames)); got != 1500 {
					t.Errorf("got %d results, want 1500", got)
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

// synctestEpoch is when each bubble's time begins.
var synctestEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestAssign_SeedOfTheFirstRun(t *testing.T) {
	for _, first := range []bool{false, true} {
		t.Run(fmt.Sprint("assigned at first: ", first), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Config.AssignGroupIDs = first
				w.Put(withoutIDs(2000)...)
				s := &sim{killed: map[string]bool{}, attempts: map[string]int{}, store: w.Store, service: w.Service}
				p := newProcess(s, "killed", 700)
				i := &importer.Importer{Config: w.Config, Bucket: p, BucketName: "here", Owner: p.name}
				if err := importertest.Dial(i, func(c *tim.Config) { c.Transport = p }); err != nil {
					t.Fatal(err)
				}
				if _, err := i.Import(t.Context(), simKey); err == nil {
					t.Fatal("got no error, want the process killed")
				}
				time.Sleep(time.Hour)
				w.Config.AssignGroupIDs = !first // and the bucket has another name now
				w.Finish()
				for name, made := range w.Service.Names() {
					if made != 1 {
						t.Errorf("%s was made %d times", name, made)
					}
				}
				for _, o := range w.Outcomes(simNames) {
					if o.Assigned != first {
						t.Fatalf("got %+v, want it assigned: %v", o, first)
					}
				}
			})
		})
	}
}

// A sub is what lies below a folder of a bucket, as a bucket.
type sub struct {
	blob.Bucket
	dir string
}

func (s sub) Stat(ctx context.Context, key string) (blob.Info, error) {
	return s.Bucket.Stat(ctx, s.dir+key)
}

func (s sub) ReadRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	return s.Bucket.ReadRange(ctx, s.dir+key, version, off, n, buf)
}

func (s sub) Create(ctx context.Context, key string, data []byte) error {
	return s.Bucket.Create(ctx, s.dir+key, data)
}

func (s sub) Put(ctx context.Context, key string, body io.Reader) error {
	return s.Bucket.Put(ctx, s.dir+key, body)
}

func (s sub) List(ctx context.Context, prefix, delimiter string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range s.Bucket.List(ctx, s.dir+prefix, delimiter) {
			info.Key = strings.TrimPrefix(info.Key, s.dir)
			if !yield(info, err) {
				return
			}
		}
	}
}

func (s sub) Delete(ctx context.Context, key string) error { return s.Bucket.Delete(ctx, s.dir+key) }

// TestImport_BucketOpenedAtAnotherDirectory: import sub/x.jsonl and retry DIR work on the same import.
func TestImport_BucketOpenedAtAnotherDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		off := w.Failing()
		w.Put(withIDs(1000)...)
		below := func(ctx context.Context) (importer.Summary, error) {
			i := w.Importer()
			i.Bucket = sub{w.Store, "exports/"}
			return i.Import(ctx, "acme.jsonl")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if s, err := below(ctx); err != nil || s.State != results.Waiting {
			t.Fatalf("got %+v, %v, want time to be up", s, err)
		}
		if got, want := importertest.Text(w.Pass(resume)), "resume exports/acme.jsonl finished"; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		off()
		i := w.Importer()
		i.Bucket = sub{w.Store, "exports/"}
		if s, err := i.RetryRound(t.Context(), "acme.jsonl", true); err != nil || s.Counts.Imported != 1000 {
			t.Errorf("got %+v, %v, want 1000 imported", s, err)
		}
		w.Put(withIDs(1)...)
		time.Sleep(time.Hour)
		w.Pass(resume)
		if got := len(w.Outcomes(w.archived())); got != 1000 {
			t.Errorf("got %d results that were kept, want 1000", got)
		}
	})
}

func TestRetry_DeadLetterFileOfAnotherProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Service.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
			if r.Ordinal <= 3 {
				return emulator.DropBefore
			}
			return emulator.None
		}}
		w.Put(withoutIDs(10)...)
		if s := w.Finish(); s.Counts.Unknown != 3 {
			t.Fatalf("got %+v, want 3 unknown", s.Counts)
		}
		failures := string(w.Store.Object(simNames.Failures()))
		failures = strings.NewReplacer(`{"n":`, `{"n": `, `,"line":`, `, "line": `, `"status":`,
			`"status": `).Replace(failures)
		if err := w.Store.Put(t.Context(), simNames.Failures(), strings.NewReader(failures)); err != nil {
			t.Fatal(err)
		}
		w.Config.RetryUnknown = true
		for range 2 {
			w.Pass(scheduler.Action{Retry: true, Now: true})
		}
		if got := w.Service.Stats().Created; got != 10 {
			t.Errorf("got %d groups, want 10", got)
		}
		if got, ok := w.Store.Snapshot()[simNames.Failures()]; ok {
			t.Errorf("got failures %s, want none left", got)
		}
	})
}

func TestArchive_OutOfOrderOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Service.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
			if r.Name == "n-100" {
				return 60007 // always, while the other records are imported
			}
			return emulator.None
		}}
		w.Put(withoutIDs(500)...)
		w.within(20 * time.Second)
		made := w.Service.Stats().Created
		if made < 150 {
			t.Fatalf("got %d groups, want some behind the one that waits", made)
		}
		w.Service.SetFaults(emulator.Faults{})
		w.Put(withIDs(1)...)
		w.Finish()
		if got := len(w.Outcomes(w.archived())); got != made {
			t.Errorf("got %d results that were kept, want the %d that were made", got, made)
		}
	})
}

func TestRetry_DeadLetterFileEditedAfterAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Service.Faults = emulator.Faults{Seed: 1, DropBefore: 0.3}
		w.Put(withoutIDs(500)...)
		w.Finish()
		w.Service.SetFaults(emulator.Faults{})
		w.Config.RetryUnknown = true
		s := &sim{killed: map[string]bool{}, attempts: map[string]int{}, store: w.Store, service: w.Service}
		p := newProcess(s, "killed", 60)
		i := &importer.Importer{Config: w.Config, Bucket: p, Owner: p.name}
		if err := importertest.Dial(i, func(c *tim.Config) { c.Transport = p }); err != nil {
			t.Fatal(err)
		}
		if _, err := i.RetryRound(t.Context(), simKey, true); err == nil {
			t.Fatal("got no error, want the process killed")
		}
		failures := string(w.Store.Object(simNames.Failures()))
		if err := w.Store.Put(t.Context(), simNames.Failures(), strings.NewReader(failures+"edited\n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		for range 2 {
			w.Pass(scheduler.Action{Retry: true, Now: true})
		}
		for name, made := range w.Service.Names() {
			if made != 1 {
				t.Errorf("%s was made %d times", name, made)
			}
		}
	})
}

func TestRetry_StoppedRoundBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Failing()
		w.Put(withIDs(10)...)
		w.Finish()
		w.Service.Key = "another key"
		tries := 0
		for range 24 * 60 {
			tries += len(w.Pass(retry).Done)
			time.Sleep(time.Minute)
		}
		if tries < 20 || tries > 35 {
			t.Errorf("got %d tries in a day, want about one an hour", tries)
		}
	})
}

func TestImport_EarlierVersionRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withIDs(5)...)
		w.Finish()
		time.Sleep(time.Minute)
		w.Put(withIDs(2000)...)
		w.within(2 * time.Second)
		w.Put(withIDs(5)...)
		time.Sleep(scheduler.MissedAfter)
		for n := range 3 {
			if got := importertest.Text(w.Pass(resume)); got != "" {
				t.Errorf("pass %d: got %q, want nothing to do", n, got)
			}
		}
		if p, err := (results.Dir{Bucket: w.Store, Names: simNames}).LoadProgress(t.Context()); err != nil ||
			p.State != results.Finished {
			t.Errorf("got %+v, %v, want it finished", p, err)
		}
	})
}

func TestImport_NoPermissionForOneRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Service.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
			if r.GroupID == "g-500" {
				return 10007
			}
			return emulator.None
		}}
		w.Put(withIDs(1000)...)
		for w.within(2*time.Second).Counts.Imported < 400 { // a process of its own each time
			continue
		}
		if s := w.Finish(); s.Counts.Imported != 999 || s.Counts.Rejected != 1 {
			t.Errorf("got %+v, want all but one", s.Counts)
		}
	})
}
