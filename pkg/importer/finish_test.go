package importer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/tim"
)

// A largeImport is a work folder as earlier releases left it when all records had outcomes: thousands of small parts,
// which were not merged.
type largeImport struct {
	world   *world
	results []byte // as they must be written
	letters []byte
}

const linesPerPart = 10

func newLargeImport(t *testing.T, parts int) *largeImport {
	t.Helper()
	l := &largeImport{world: newWorld(t), results: make([]byte, 0, parts*3000), letters: make([]byte, 0, parts*1000)}
	w := l.world
	w.Put(`{"Type":"Public","Name":"n"}`)
	info, err := w.Store.Stat(t.Context(), simKey)
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string, body []byte) {
		if err := w.Store.Put(t.Context(), simKey+".import/"+key, bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	var counts outcome.Counts
	n := int64(0)
	var body []byte
	for part := range parts {
		body = body[:0]
		for range linesPerPart {
			n++
			o := outcome.Outcome{
				N: n, Line: n, Status: outcome.Imported, GroupID: fmt.Sprintf("@TGS#%09d", n), Attempts: 1, MS: 43,
				At: time.Unix(1_800_000_000+n/200, 0), Source: strings.Repeat("s", 100),
			}
			if n%3 == 0 {
				o.Status, o.GroupID, o.Error = outcome.Rejected, "", "no such type"
			}
			body = append(o.AppendPartLine(body, []byte(`{"Type":"Publik"}`)), '\n')
			counts.Add(&o)
			l.results = append(o.AppendLine(l.results), '\n')
			if o.Status == outcome.Rejected {
				l.letters = append(o.AppendPartLine(l.letters, []byte(`{"Type":"Publik"}`)), '\n')
			}
		}
		put(fmt.Sprintf("parts/000001-%06d", part+1), body)
	}
	cp := results.Checkpoint{
		Export: results.Export{Key: simKey, Version: info.Version, Size: info.Size},
		Next:   export.Position{N: n + 1, Line: n + 1, Offset: info.Size}, Done: true, Counts: counts,
		Parts: []results.Parts{{Lease: 1, Count: parts}},
		Runs: []results.Run{
			{Lease: 1, Start: time.Now().Add(-time.Hour).UTC(), End: time.Now().UTC(), Attempts: n, Counts: counts},
		},
		Settings: results.Settings{Mapping: "none", Limits: w.Config.Limits},
	}
	text, err := json.Marshal(&cp) //nolint:musttag // its fields have tags
	if err != nil {
		t.Fatal(err)
	}
	put("checkpoint/000001", text)
	put("lease/000001", []byte(`{"number":1,"holder":"a","until":"2000-01-01T00:00:00Z","released":true}`))
	return l
}

// run imports with a process of a function with this time limit that dies after life.
func (l *largeImport) run(t *testing.T, limit, life time.Duration) (importer.Summary, error) {
	t.Helper()
	w := l.world
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	dead := &atomic.Bool{}
	w.Store.Fail = func(blobtest.Op) blobtest.Fault {
		if dead.Load() {
			return blobtest.Fault{Err: blob.Permanent(errKilled)}
		}
		return blobtest.Fault{Delay: 20 * time.Millisecond}
	}
	timer := time.AfterFunc(life, func() {
		dead.Store(true)
		cancel()
	})
	defer timer.Stop()
	i := &importer.Importer{
		Config: w.Config, Bucket: w.Store, BucketName: "bucket", Owner: "a process",
		IsDead: func(string) bool { return true },
	}
	if err := importertest.Dial(i, func(c *tim.Config) { c.Transport = w.Service }); err != nil {
		t.Fatal(err)
	}
	return i.Import(ctx, simKey)
}

func (l *largeImport) check(t *testing.T, m results.Manifest) {
	t.Helper()
	store := l.world.Store
	if text := store.Object(simNames.Results()); !bytes.Equal(text, l.results) {
		got := len(text)
		t.Errorf("got results of %d bytes, want those of the parts, %d bytes", got, len(l.results))
	}
	if text := store.Object(simNames.Failures()); !bytes.Equal(text, l.letters) {
		t.Errorf("got a dead-letter file of %d bytes, want %d", len(text), len(l.letters))
	}
	for _, f := range m.Files {
		text := store.Object(f.Key)
		if f.Size != int64(len(text)) || f.SHA256 != fmt.Sprintf("%x", sha256.Sum256(text)) {
			t.Errorf("got %+v in the manifest, want size and hash of the file", f)
		}
	}
	if n := store.Uploads(); n != 0 {
		t.Errorf("got %d uploads that were not completed, want none", n)
	}
}

var times = regexp.MustCompile(`<time.*?</time>`)

// TestFinish_KilledAtAnyMoment finishes 8,000 parts at 20 ms a request by functions of 12 s that are killed at random
// moments.
func TestFinish_KilledAtAnyMoment(t *testing.T) {
	const (
		parts = 8_000
		limit = 12 * time.Second
	)
	synctest.Test(t, func(t *testing.T) {
		l := newLargeImport(t, parts)
		var whole string
		total := 0 // kills
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, seed))
			w := *l.world.World
			w.Store = l.world.Store.Clone()
			one := &largeImport{&world{&w}, l.results, l.letters}
			worked, kills, waits := time.Duration(0), 0, 0
			for done := false; !done; {
				if kills > 50 {
					t.Fatal("not finished after 50 runs")
				}
				life := time.Hour // of the first seed: never killed
				if seed > 0 {
					life = time.Second + time.Duration(r.Int64N(int64(limit)))
				}
				start := time.Now()
				s, err := one.run(t, limit, life)
				took := time.Since(start)
				worked += min(took, life)
				done = err == nil && s.State == results.Finished
				switch {
				case done:
					one.check(t, s.Manifest)
				case took >= life:
					kills++
				case err != nil || s.State != results.Waiting:
					t.Fatalf("got %s %s, %v, want it to wait for the next run", s.State, s.Reason, err)
				case limit-took < time.Second:
					t.Errorf("got the end %v before the deadline, want more", limit-took)
				}
				if !done && took < life {
					waits++
					if p, err := w.Dir(simKey).LoadProgress(t.Context()); err != nil || p.Cause != results.CauseWriting {
						t.Errorf("got the progress %+v, %v, want the cause %s", p, err, results.CauseWriting)
					}
				}
			}
			calls := one.world.Store.Counts().Calls
			reads := calls[blobtest.ReadRange]
			report := string(one.world.Store.Object(simNames.Report()))
			report = times.ReplaceAllString(report[:strings.Index(report, "How it went")], "")
			if seed == 0 {
				whole = report
				for key := range one.world.Store.Snapshot() {
					if strings.Contains(key, "/parts/") {
						t.Fatalf("got %s after the end, want it removed", key)
					}
				}
			}
			if report != whole {
				t.Error("got another report after kills, want the same")
			}
			t.Logf("%v with %d kills: %d reads, %d HEADs, %d other requests", worked, kills, reads, calls[blobtest.Stat],
				calls[blobtest.Put]+calls[blobtest.UploadPart]+calls[blobtest.List]+calls[blobtest.CreateUpload])
			if limit := 18*time.Second + time.Duration(kills)*10*time.Second; worked > limit {
				t.Errorf("got %v of work with %d kills, want %v at most", worked, kills, limit)
			}
			if limit := parts + 200 + waits*1500 + kills*5000; reads > limit {
				t.Errorf("got %d reads of %d parts with %d kills, want %d at most", reads, parts, kills, limit)
			}
			if total += kills; seed == 0 && waits == 0 {
				t.Error("got no run that waits for the next one, want the time limit to matter")
			}
		}
		if total < 3 {
			t.Errorf("got %d kills, want some", total)
		}
	})
}

// TestFinish_UploadForgotten removes the unfinished uploads between two runs, and the state, as lifecycle rules do.
func TestFinish_UploadForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, remove := range map[string]func(b *blobtest.Bucket){
			"the uploads": func(b *blobtest.Bucket) { b.ForgetUploads() },
			"the state": func(b *blobtest.Bucket) {
				b.ForgetUploads() // two rules
				if err := b.Delete(t.Context(), simKey+".import/parts/000002-finish"); err != nil {
					t.Fatal(err)
				}
			},
		} {
			l := newLargeImport(t, 6000)
			if s, err := l.run(t, time.Minute, 8*time.Second); err == nil && s.State == results.Finished {
				t.Fatal("finished before it was killed")
			}
			l.world.Store.Fail = nil
			if l.world.Store.Uploads() == 0 {
				t.Fatal("got no upload of the killed run")
			}
			remove(l.world.Store)
			s, err := l.run(t, time.Minute, time.Hour)
			if err != nil || s.State != results.Finished {
				t.Fatalf("without %s: got %s %s, %v, want it finished", name, s.State, s.Reason, err)
			}
			l.check(t, s.Manifest)
		}
	})
}

// TestFinish_PartsRemoved removes parts before the results are written. Nothing is created twice.
func TestFinish_PartsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLargeImport(t, 200)
		for n := 1; n <= 200; n += 7 {
			if err := l.world.Store.Delete(t.Context(), fmt.Sprintf("%s.import/parts/000001-%06d", simKey, n)); err != nil {
				t.Fatal(err)
			}
		}
		s, err := l.run(t, time.Minute, time.Hour)
		if err != nil || s.State != results.Stopped || l.world.Service.Stats().Imports != 0 {
			t.Errorf("got %s %s, %v and %d calls, want it to stop before it sends anything",
				s.State, s.Reason, err, l.world.Service.Stats().Imports)
		}
		for range 3 { // and no run makes it worse
			if s, err = l.run(t, time.Minute, time.Hour); err != nil || s.State != results.Stopped {
				t.Fatalf("got %s %s, %v, want it to stay stopped", s.State, s.Reason, err)
			}
		}
	})
}
