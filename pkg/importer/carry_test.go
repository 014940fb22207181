package importer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/blob"
	"groupimport/pkg/emulator"
	"groupimport/pkg/group"
	"groupimport/pkg/importer"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

func named(name string) string { return fmt.Sprintf(`{"Type":"Public","Name":%q}`, name) }

// versions imports one version of an export after another and returns the summary of the last.
func (w *world) versions(versions ...[]string) (s importer.Summary) {
	w.T.Helper()
	for _, lines := range versions {
		w.Put(lines...)
		s = w.Finish()
	}
	return s
}

// created fails if a group of this name was created another number of times.
func (w *world) created(want map[string]int) {
	w.T.Helper()
	got := w.Service.Names()
	for name, n := range want {
		if got[name] != n {
			w.T.Errorf("%q was created %d times, want %d", name, got[name], n)
		}
	}
	if len(got) != len(want) {
		w.T.Errorf("got groups %v, want %v", got, want)
	}
}

func TestCarry_VersionsOfAnExport(t *testing.T) {
	const withID = `{"Type":"Public","Name":"own","GroupId":"own","Introduction":%q}`
	for _, row := range []struct {
		name     string
		versions [][]string
		groups   map[string]int
		carry    results.Carry // counts of the last version
		want     outcome.Counts
	}{
		{
			"the same records once more, reformatted",
			[][]string{{named("a"), named("b")}, {`{ "Name" : "a", "Type" : "Public" }`, named("b"), ""}},
			map[string]int{"a": 1, "b": 1},
			results.Carry{Earlier: 2, Carried: 2},
			outcome.Counts{Imported: 2},
		},
		{
			"a record is corrected",
			[][]string{{named("a"), `{"Type":"Publik","Name":"b"}`, named("c")}, {named("a"), named("b"), named("c")}},
			map[string]int{"a": 1, "b": 1, "c": 1},
			results.Carry{Earlier: 2, Carried: 2, Created: 1},
			outcome.Counts{Imported: 3},
		},
		{
			"records are added in front, and one is removed",
			[][]string{{named("a"), named("b")}, {named("x"), named("y"), named("b")}},
			map[string]int{"a": 1, "b": 1, "x": 1, "y": 1},
			results.Carry{Earlier: 2, Carried: 1, Created: 2},
			outcome.Counts{Imported: 3},
		},
		{
			"the other way round",
			[][]string{{named("a"), named("b"), named("c")}, {named("c"), named("b"), named("a")}},
			map[string]int{"a": 1, "b": 1, "c": 1},
			results.Carry{Earlier: 3, Carried: 3},
			outcome.Counts{Imported: 3},
		},
		{
			"equal records are counted",
			[][]string{{named("a"), named("a")}, {named("a"), named("a"), named("a")}},
			map[string]int{"a": 3},
			results.Carry{Earlier: 2, Carried: 2, Created: 1},
			outcome.Counts{Imported: 3},
		},
		{
			"a field beside the identity changes",
			[][]string{{named("a")}, {`{"Type":"Public","Name":"a","Introduction":"new"}`}},
			map[string]int{"a": 1},
			results.Carry{Earlier: 1, Carried: 1, Differs: 1},
			outcome.Counts{Imported: 1},
		},
		{
			"a record with a GroupId stays: nothing is sent",
			[][]string{{fmt.Sprintf(withID, "x")}, {fmt.Sprintf(withID, "x"), ""}},
			map[string]int{"own": 1},
			results.Carry{Earlier: 1, Carried: 1},
			outcome.Counts{Imported: 1},
		},
		{
			"a record with a GroupId changes: it is sent",
			[][]string{{fmt.Sprintf(withID, "x")}, {fmt.Sprintf(withID, "y")}},
			map[string]int{"own": 1},
			results.Carry{Earlier: 1},
			outcome.Counts{Exists: 1},
		},
		{
			"what a version lacks is remembered for the next",
			[][]string{{named("a"), named("b"), named("c")}, {named("b")}, {named("c"), named("a"), named("b")}},
			map[string]int{"a": 1, "b": 1, "c": 1},
			results.Carry{Earlier: 3, Carried: 3},
			outcome.Counts{Imported: 3},
		},
		{
			"and for the one after that",
			[][]string{{named("a"), named("b")}, {named("b")}, {named("x")}, {named("a"), named("x"), named("b")}},
			map[string]int{"a": 1, "b": 1, "x": 1},
			results.Carry{Earlier: 3, Carried: 3},
			outcome.Counts{Imported: 3},
		},
	} {
		for _, assign := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/assign=%v", row.name, assign), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.Config.AssignGroupIDs = assign
					s := w.versions(row.versions...)
					w.created(row.groups)
					got := *s.Manifest.Carry
					got.Sources = nil
					if fmt.Sprint(got) != fmt.Sprint(row.carry) || s.Counts != row.want {
						t.Errorf("got %+v, %+v, want %+v, %+v", got, s.Counts, row.carry, row.want)
					}
					for _, o := range w.Outcomes(simNames) {
						if o.Carried && (o.Attempts != 0 || o.GroupID == "" || o.Assigned != (assign && o.GroupID != "own")) {
							t.Errorf("got %+v, want an outcome without attempts and with its GroupId", o)
						}
					}
				})
			})
		}
	}
}

func TestCarry_SameBytesOtherVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.versions(withoutIDs(5), append(withoutIDs(5), "")) // another version of the object, the same records
		if s.Counts.Imported != 5 || s.Run.Attempts != 0 || w.Service.Stats().Imports != 5 {
			t.Errorf("got %+v and %d calls, want nothing sent again", s, w.Service.Stats().Imports)
		}
	})
}

func TestCarry_UnknownStaysUnknown(t *testing.T) {
	for _, again := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.Service.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
				if r.Ordinal == 1 {
					return emulator.DropAfter
				}
				return emulator.None
			}}
			w.Put(named("a"), named("b"))
			w.Finish()
			w.Config.RetryUnknown = again
			s := w.versions([]string{named("a"), named("b"), named("c")})
			want, times := outcome.Counts{Imported: 2, Unknown: 1}, 1
			if again {
				want, times = outcome.Counts{Imported: 3}, 2
			}
			if w.created(map[string]int{"a": times, "b": 1, "c": 1}); s.Counts != want {
				t.Errorf("RETRY_UNKNOWN=%v: got %+v, want %+v", again, s.Counts, want)
			}
		})
	}
}

// TestCarry_DeadLetterFileAsExport drops the dead-letter file under a name of its own, as the README recommends.
func TestCarry_DeadLetterFileAsExport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Service.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
			switch r.Name {
			case "lost":
				return emulator.DropAfter
			case "failing":
				return emulator.Internal
			}
			return emulator.None
		}}
		w.Put(named("lost"), `{"Type":"Public","Name":"failing","GroupId":"f"}`, `{"Type":"Publik","Name":"wrong"}`)
		if s := w.Finish(); s.Counts != (outcome.Counts{Rejected: 1, Failed: 1, Unknown: 1}) {
			t.Fatalf("got %+v, want one of each", s.Counts)
		}
		w.Service.SetFaults(emulator.Faults{})
		fixed := strings.ReplaceAll(string(w.Store.Object(simNames.Failures())), "Publik", "Public")
		for _, row := range []struct {
			retryUnknown bool
			want         outcome.Counts
			groups       map[string]int
		}{
			{false, outcome.Counts{Imported: 2, Unknown: 1}, map[string]int{"lost": 1, "failing": 1, "wrong": 1}},
			{true, outcome.Counts{Imported: 2, Exists: 1}, map[string]int{"lost": 2, "failing": 1, "wrong": 2}},
		} {
			w.Config.RetryUnknown = row.retryUnknown
			key := fmt.Sprintf("exports/fixed-%v.jsonl", row.retryUnknown)
			w.PutAt(key, strings.TrimSpace(fixed))
			s, err := w.Importer().Import(t.Context(), key)
			if w.created(row.groups); err != nil || s.Counts != row.want {
				t.Errorf("RETRY_UNKNOWN=%v: got %+v, %v, want %+v", row.retryUnknown, s.Counts, err, row.want)
			}
		}
	})
}

// asVersion1 takes the digests out of the results, as version 1 left them.
func (w *world) asVersion1() {
	w.T.Helper()
	var b bytes.Buffer
	for _, o := range w.Outcomes(simNames) {
		o.ID, o.Sum = group.Digest{}, group.Digest{}
		b.Write(append(o.AppendLine(nil), '\n'))
	}
	if err := w.Store.Put(w.T.Context(), simNames.Results(), &b); err != nil {
		w.T.Fatal(err)
	}
}

func TestCarry_ResultsOfVersion1(t *testing.T) {
	own := `{"Type":"Public","Name":"own","GroupId":"own"}`
	for _, row := range []struct {
		name            string
		before, after   []string
		createUnmatched bool
		state           results.State
		groups          map[string]int
	}{
		{
			"records without GroupIds stop the import",
			[]string{named("a"), own},
			[]string{named("a"), own},
			false,
			results.Stopped,
			map[string]int{"a": 1, "own": 1},
		},
		{
			"with CREATE_UNMATCHED they are created",
			[]string{named("a"), own},
			[]string{named("a"), own},
			true, results.Finished,
			map[string]int{"a": 2, "own": 1},
		},
		{"records with GroupIds are sent again", []string{own}, []string{
			own,
			`{"Type":"Public","Name":"b","GroupId":"b"}`,
		}, false, results.Finished, map[string]int{"own": 1, "b": 1}},
		{
			"a new record without one is certainly new",
			[]string{own},
			[]string{own, named("b")},
			false, results.Finished,
			map[string]int{"own": 1, "b": 1},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Put(row.before...)
				w.Finish()
				w.asVersion1()
				w.Config.CreateUnmatched = row.createUnmatched
				w.Put(append(row.after, "")...)
				s, err := w.Run(t.Context())
				if err != nil || s.State != row.state {
					t.Errorf("got %s, %s, %v, want %s", s.State, s.Reason, err, row.state)
				}
				if row.state == results.Stopped && !strings.Contains(s.Reason, "CREATE_UNMATCHED=true") {
					t.Errorf("got %q, want the way out in it", s.Reason)
				}
				w.created(row.groups)
			})
		})
	}
}

// TestCarry_WorkFolderRemoved removes any subset of the objects beside a finished export, and imports it again.
func TestCarry_WorkFolderRemoved(t *testing.T) {
	for subset := range 1 << 5 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.Put(withoutIDs(50)...)
			w.Finish()
			for key := range w.Store.Snapshot() {
				for bit, part := range []string{"/manifest", "/checkpoint/", "/lease/", "/parts/", "/progress"} {
					if subset&(1<<bit) != 0 && strings.Contains(key, simNames.Work()[:len(simNames.Work())-1]+part) {
						if err := w.Store.Delete(t.Context(), key); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			time.Sleep(time.Hour)
			w.Pass(scheduler.Action{Resume: true})
			time.Sleep(time.Hour)
			w.Pass(scheduler.Action{Resume: true})
			if _, err := w.Run(t.Context()); err != nil {
				t.Errorf("subset %05b: %v", subset, err)
			}
			if n := w.Service.Stats().Imports; n != 50 || len(w.Outcomes(simNames)) != 50 {
				t.Errorf("subset %05b: got %d calls and %d outcomes, want 50", subset, n, len(w.Outcomes(simNames)))
			}
		})
	}
}

// TestCarry_OnlyCheckpointsLeft removes all objects of an import but the export and the checkpoints.
func TestCarry_OnlyCheckpointsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withoutIDs(50)...)
		w.Finish()
		for key := range w.Store.Snapshot() {
			if key != simKey && !strings.Contains(key, "/checkpoint/") {
				if err := w.Store.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
		}
		s, err := w.Run(t.Context())
		if err != nil || s.State != results.Stopped || w.Service.Stats().Imports != 50 {
			t.Errorf("got %s, %v and %d calls, want it to stop before it sends anything", s.State, err,
				w.Service.Stats().Imports)
		}
	})
}

func TestImport_ForeignFileWithTheNameOfAnOutput(t *testing.T) {
	for _, key := range []string{simNames.Results(), simNames.Failures(), simNames.Report()} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.Put(withoutIDs(5)...)
			const mine = "my own notes\n"
			if err := w.Store.Put(t.Context(), key, strings.NewReader(mine)); err != nil {
				t.Fatal(err)
			}
			s, err := w.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "move it away") {
				t.Errorf("got %+v, %v, want a refusal that names %s", s, err, key)
			}
			if w.Service.Stats().Imports != 0 {
				t.Errorf("got %d calls, want none", w.Service.Stats().Imports)
			}
			if got := string(w.Store.Snapshot()[key]); got != mine {
				t.Errorf("got %q, want the file as it was", got)
			}
		})
	}
}

func TestCarry_OtherMappingIsANewVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(`{"Type":"Public","Name":"a"}`, `{"title":"b"}`)
		if s := w.Finish(); s.Counts != (outcome.Counts{Imported: 1, Rejected: 1}) {
			t.Fatalf("got %+v", s.Counts)
		}
		i := w.mapped(`if .title then {Type: "Public", Name: .title} else . end`)
		s, err := i.Import(t.Context(), simKey)
		if err != nil || s.Already || s.Counts != (outcome.Counts{Imported: 2}) || s.Manifest.Carry.Carried != 1 {
			t.Errorf("got %+v, %v, want a new import that carries one outcome over", s, err)
		}
		if s, err := i.Import(t.Context(), simKey); err != nil || !s.Already {
			t.Errorf("got %+v, %v, want nothing to do", s, err)
		}
		w.created(map[string]int{"a": 1, "b": 1})
	})
}

func TestCarry_MoreThanAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer importer.SetMaxEarlier(100)()
		w := newWorld(t)
		all := withoutIDs(1000)
		w.Put(all...)
		w.Finish()
		changed := slices.Concat([]string{named("x"), named("y")}, all[:300], all[350:600], []string{named("z")}, all[600:])
		s := w.versions(changed)
		if s.Counts.Imported != 953 || s.Manifest.Carry.Carried != 950 || s.Manifest.Carry.Created != 3 ||
			s.Manifest.Carry.NotFound() != 50 {
			t.Errorf("got %+v, %+v, want 950 carried over, 3 created, 50 not found", s.Counts, s.Manifest.Carry)
		}
		s = w.versions(all)
		if s.Counts.Imported != 1000 || w.Service.Stats().Imports != 1003 {
			t.Errorf("got %+v and %d calls, want all carried over", s.Counts, w.Service.Stats().Imports)
		}
		// In an order that is too different nothing is sent, rather than created twice.
		shuffled := slices.Clone(all)
		rand.New(rand.NewPCG(1, 1)).Shuffle(len(shuffled), func(i, j int) {
			shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
		})
		w.Put(shuffled...)
		s, err := w.Run(t.Context())
		if err != nil || s.State != results.Stopped ||
			!strings.Contains(s.Reason, "restore the order of the earlier version") || w.Service.Stats().Imports != 1003 {
			t.Errorf("got %s %s, %v and %d calls, want it stopped", s.State, s.Reason, err, w.Service.Stats().Imports)
		}
	})
}

func TestRun_ManifestUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		off := w.Failing()
		w.Put(withoutIDs(10)...)
		w.Finish()
		off()
		w.Pass(scheduler.Action{Retry: true, Now: true}) // the latest checkpoint is that of a round now
		before := w.Service.Stats().Imports
		i := w.Importer()
		i.Bucket = &manifestFails{Bucket: i.Bucket, from: 2}
		if s, err := i.Import(t.Context(), simKey); err != nil && w.Service.Stats().Imports != before {
			t.Errorf("got %+v, %v and %d calls more, want none", s, err, w.Service.Stats().Imports-before)
		}
		for key := range w.Store.Snapshot() {
			if owner, kind := results.Sidecar(key); kind == results.SidecarResults && results.ArchivedFrom(owner) != "" {
				t.Errorf("got %q: the results were archived because of an error", key)
			}
		}
	})
}

func TestCarry_KilledAtAnyInstant(t *testing.T) {
	var own []string
	for n := range 50 {
		own = append(own, fmt.Sprintf(`{"Type":"Public","Name":"own-%d","GroupId":"own-%[1]d"}`, n))
	}
	first := slices.Concat(withoutIDs(300), []string{`{"Type":"Publik"}`}, own)
	second := slices.Concat([]string{named("new")}, withoutIDs(300)[50:], []string{named("fixed")}, own)
	for kill := range 40 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.Put(first...)
			w.Finish()
			w.Put(second...)
			dead := ""
			for n := range 3 {
				ctx, cancel := context.WithCancel(t.Context())
				i := w.Importer()
				i.Owner = fmt.Sprint("process ", n)
				i.IsDead = func(owner string) bool { return owner == dead }
				if n == 0 {
					i.Bucket = newKiller(i.Bucket, 1+kill, func() { dead = i.Owner; cancel() })
				}
				_, _ = i.Import(ctx, simKey)
				cancel()
			}
			if got := w.Outcomes(simNames); len(got) != len(second) {
				t.Errorf("killed at %d: got %d outcomes, want %d", kill, len(got), len(second))
			}
			for name, n := range w.Service.Names() {
				if n != 1 {
					t.Errorf("killed at %d: %q was created %d times", kill, name, n)
				}
			}
		})
	}
}

// A killer is a store whose user dies at its after-th operation: nothing of it reaches the store any more.
type killer struct {
	blob.Bucket
	after atomic.Int64
	die   func()
	n     atomic.Int64
}

func newKiller(b blob.Bucket, after int, die func()) *killer {
	k := &killer{Bucket: b, die: die}
	k.after.Store(int64(after))
	return k
}

func (k *killer) step() error {
	switch n, after := k.n.Add(1), k.after.Load(); {
	case n == after:
		k.die()
		return errKilled
	case n > after:
		return errKilled
	}
	return nil
}

func (k *killer) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := k.step(); err != nil {
		return blob.Info{}, err
	}
	return k.Bucket.Stat(ctx, key)
}

func (k *killer) ReadRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	if err := k.step(); err != nil {
		return buf, blob.Info{}, err
	}
	return k.Bucket.ReadRange(ctx, key, version, off, n, buf)
}

func (k *killer) Create(ctx context.Context, key string, data []byte) error {
	if err := k.step(); err != nil {
		return err
	}
	return k.Bucket.Create(ctx, key, data)
}

func (k *killer) Put(ctx context.Context, key string, body io.Reader) error {
	if err := k.step(); err != nil {
		return err
	}
	return k.Bucket.Put(ctx, key, body)
}

func (k *killer) Delete(ctx context.Context, key string) error {
	if err := k.step(); err != nil {
		return err
	}
	return k.Bucket.Delete(ctx, key)
}

// A manifestFails is a store that fails transiently at the from-th look for a manifest.
type manifestFails struct {
	blob.Bucket
	from int
	n    int
}

func (m *manifestFails) Stat(ctx context.Context, key string) (blob.Info, error) {
	if strings.HasSuffix(key, "/manifest") {
		if m.n++; m.n >= m.from {
			return blob.Info{}, errStore
		}
	}
	return m.Bucket.Stat(ctx, key)
}

// TestLeaseTakeover_PausesForASecond kills a process, and another takes its lease over at once: what the killed one
// has sent within the last second counts.
func TestLeaseTakeover_PausesForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withIDs(1000)...)
		first := w.Importer()
		ctx, cancel := context.WithCancel(t.Context())
		k := newKiller(first.Bucket, 1<<30, cancel)
		first.Bucket = k
		done := make(chan struct{})
		go func() { defer close(done); _, _ = first.Import(ctx, simKey) }()
		time.Sleep(2500 * time.Millisecond)
		k.after.Store(k.n.Load() + 1) // it dies at its next write
		<-done
		took := time.Now()
		var sent time.Time
		w.Service.SetFaults(emulator.Faults{Plan: func(emulator.Request) emulator.Fault {
			if sent.IsZero() {
				sent = time.Now()
			}
			return emulator.None
		}})
		second := w.Importer()
		second.IsDead = func(string) bool { return true }
		if s, err := second.Import(t.Context(), simKey); err != nil || s.State != results.Finished {
			t.Errorf("got %+v, %v", s, err)
		}
		if wait := sent.Sub(took); wait < time.Second {
			t.Errorf("got the first call %v after the takeover, want it a second later", wait)
		}
	})
}

func TestRun_UnfinishedImportWithAnotherMapping(t *testing.T) {
	const begin = `{Type: "Public", Name: .Name}`
	for _, row := range []struct {
		name          string
		before, after string
		calls         int // of both imports
	}{
		{"it began without one, and nothing matches", "", `{Type: "Public", Name: ("x" + .Name)}`, 2000},
		{"it began without one, and everything matches", "", begin, 1000},
		{"it began with another: it resumes with that", begin, `{Type: "Public", Name: ("x" + .Name)}`, 1000},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Put(withoutIDs(1000)...)
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				if s, err := w.mapped(row.before).Import(ctx, simKey); err != nil || s.State != results.Waiting {
					t.Fatalf("got %+v, %v, want time to be up", s, err)
				}
				done := w.Service.Stats().Imports
				s, err := w.mapped(row.after).Import(t.Context(), simKey)
				want := row.calls
				if want > 1000 {
					want = done + 1000
				}
				if err != nil || s.Counts.Imported != 1000 || w.Service.Stats().Imports != want {
					t.Errorf("got %+v, %v and %d calls, want %d", s.Counts, err, w.Service.Stats().Imports, want)
				}
			})
		})
	}
}

// TestRun_BuiltInMappingOfVersion1 resumes an import that version 1 began: its Slack mapping made private channels
// public.
func TestRun_BuiltInMappingOfVersion1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		program, err := os.ReadFile("../mapping/testdata/version1/slack.jq")
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t)
		const key = "exports/groups.json"
		w.PutAt(key, `[{"id":"G1","name":"salaries","created":1456789012,"creator":"U1","is_archived":false,`+
			`"members":["U1"]}]`)
		info, err := w.Store.Stat(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		cp, err := json.Marshal(map[string]any{
			"export":  map[string]any{"key": key, "version": info.Version, "size": info.Size},
			"next":    map[string]any{"n": 1, "line": 1, "offset": 1},
			"mapping": string(program), "parts": []any{}, "counts": map[string]any{}, "sent": 0,
			"runs": []any{map[string]any{"lease": 1, "start": "2026-11-01T00:00:00Z"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		work := map[string]string{"checkpoint/000001": string(cp), "lease/000001": `{"number":1,"released":true}`}
		for name, text := range work {
			if err := w.Store.Put(t.Context(), key+".import/"+name, strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
		}
		w.Config.Mapping = "slack"
		s, err := w.Importer().Import(t.Context(), key)
		groups := slices.Collect(w.Service.Groups())
		if err != nil || s.Counts.Imported != 1 || len(groups) != 1 || groups[0].Type != "Private" {
			t.Errorf("got %+v, %v and groups %+v, want one private group", s, err, groups)
		}
	})
}
