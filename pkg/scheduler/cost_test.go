package scheduler_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/export"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// finishedAt writes what a finished import leaves.
func finishedAt(w *importertest.World, key string, counts outcome.Counts, retryAt time.Time) {
	w.T.Helper()
	w.PutAt(key, "{}")
	info, err := w.Store.Stat(w.T.Context(), key)
	if err != nil {
		w.T.Fatal(err)
	}
	dir := results.Dir{Bucket: w.Store, Names: results.Names{Export: key}}
	own := []string{
		dir.Results(), dir.Report(), dir.Manifest(), dir.Progress(),
		dir.Work() + "lease/000001", dir.Work() + "lease/000002", dir.Work() + "checkpoint/000002",
	}
	if counts.Missing() > 0 {
		own = append(own, dir.Failures())
	}
	for _, key := range own {
		w.PutAt(key, "{}")
	}
	m := results.Manifest{
		Counts: counts, RetryAt: retryAt, Finished: time.Now(),
		Export: results.Export{Key: key, Version: info.Version, Size: info.Size, Modified: info.Modified},
	}
	if err := m.Mark(w.T.Context(), dir); err != nil {
		w.T.Fatal(err)
	}
}

// TestPass_CostInManyFolders counts the requests that functions/lambda/README.md has the price of.
func TestPass_CostInManyFolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Config.Prefix = "exports/"
		const imports, days, withFailures = 10_000, 365, 500
		day := time.Date(2025, 12, 1, 0, 0, 0, 0, time.UTC)
		for n := range imports {
			counts, retryAt := outcome.Counts{Imported: 1}, time.Time{}
			if n%(imports/withFailures) == 0 {
				switch counts.Rejected = 1; n % 3 {
				case 0:
					counts.Failed, retryAt = 1, time.Now().Add(time.Hour)
				case 1:
					counts.Unknown = 1
				}
			}
			folder := day.AddDate(0, 0, n%days).Format(time.DateOnly)
			finishedAt(w, fmt.Sprintf("exports/%s/%05d.jsonl", folder, n), counts, retryAt)
		}
		for n := range 3000 { // of HTTP requests, and leases of the rate
			w.PutAt(fmt.Sprintf("%s20261128/%064x", results.ResponsesFolder("exports/"), n), "{}")
			w.PutAt(fmt.Sprintf("%slease/%06d", results.RateNames("exports/").Work(), n+1), "{}")
		}
		before := w.Store.Counts().Calls
		p := w.Pass(scheduler.Action{Resume: true, Retry: true})
		if len(p.Done) != 0 || p.Imports != imports {
			t.Errorf("got %d imports and %v, want %d and nothing to do", p.Imports, p.Done, imports)
		}
		after := w.Store.Counts().Calls
		for method, calls := range after {
			got, most := calls-before[method], 0
			if method == blobtest.List {
				most = 60
			}
			if got > most {
				t.Errorf("got %d of %s a pass, want %d at most", got, method, most)
			}
		}
		t.Logf("%d lists a pass", after[blobtest.List]-before[blobtest.List])
	})
}

// TestPass_MarkOfAnEarlierForm reads the manifest once, because the mark does not say when a round of retries is due.
func TestPass_MarkOfAnEarlierForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Failing()
		w.Put(importertest.WithIDs(20)...)
		w.Finish()
		var mark string
		for key := range w.Store.Snapshot() {
			if _, _, ok := results.ParseMark(key); ok {
				mark = key
			}
		}
		earlier, _, ok := strings.Cut(mark, "_")
		if !ok {
			t.Fatalf("got mark %q, want that it says when the next round is due", mark)
		}
		earlier += "-retry"
		if err := w.Store.Delete(t.Context(), mark); err != nil {
			t.Fatal(err)
		}
		w.PutAt(earlier)
		both := scheduler.Action{Resume: true, Retry: true}
		if got := importertest.Text(w.Pass(both)); got != "" {
			t.Errorf("got %q, want nothing due", got)
		}
		objects := w.Store.Snapshot()
		if _, ok := objects[mark]; !ok {
			t.Errorf("got no %q, want the mark replaced", mark)
		}
		if _, ok := objects[earlier]; ok {
			t.Errorf("got %q, want the mark replaced", earlier)
		}
		before := w.Store.Counts().Calls[blobtest.ReadRange]
		w.Pass(both)
		if got := w.Store.Counts().Calls[blobtest.ReadRange] - before; got != 0 {
			t.Errorf("got %d reads, want none", got)
		}
		time.Sleep(20 * time.Minute)
		if got, want := importertest.Text(w.Pass(both)), "retry exports/acme.jsonl finished"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestPass_ExportsInFoldersNamedLikeWorkFolders finds exports of users whose folders have unfortunate names.
func TestPass_ExportsInFoldersNamedLikeWorkFolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, prefix := range []string{"", "exports/"} {
			w := importertest.New(t)
			w.Config.Prefix = prefix
			var want []string
			for n, name := range []string{
				".import/a.jsonl", "a.jsonl/b.jsonl", "old.import/a.jsonl", "old.import/b.import/c.jsonl", "x.http/a.jsonl",
				"z.jsonl",
			} {
				w.PutAt(prefix+name, importertest.WithIDs(1)[0])
				want = append(want, "start "+prefix+name+" finished")
				time.Sleep(time.Duration(n+1) * time.Second)
			}
			time.Sleep(scheduler.MissedAfter)
			both := scheduler.Action{Resume: true, Retry: true}
			if got := importertest.Text(w.Pass(both)); got != strings.Join(want, ", ") {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := importertest.Text(w.Pass(both)); got != "" {
				t.Errorf("got %q, want nothing left", got)
			}
		}
	})
}

func TestMarkDue_RecordsLeft(t *testing.T) {
	const key = "a.jsonl.finished-0123456789ab0123456789ab"
	const past, future = "00001", "zzzzz"
	for suffix, want := range map[string]string{
		"": "never", "-retry": "always", "_" + past: "always", "_" + future: "with now",
		"!" + past: "with RETRY_UNKNOWN", "!" + future: "with both",
	} {
		of, m, ok := results.ParseMark(key + suffix)
		if !ok || of != "a.jsonl" || !results.IsOutput(key+suffix) || export.IsExport(key+suffix) {
			t.Errorf("%s: got %q, %v, want a mark", suffix, of, ok)
		}
		all := []bool{
			m.Due(results.RetryPolicy{}, false), m.Due(results.RetryPolicy{}, true),
			m.Due(results.RetryPolicy{Unknown: true}, false), m.Due(results.RetryPolicy{Unknown: true}, true),
		}
		got := map[string]string{
			"[false false false false]": "never", "[true true true true]": "always", "[false true false true]": "with now",
			"[false false true true]": "with RETRY_UNKNOWN", "[false false false true]": "with both",
		}[fmt.Sprint(all)]
		if got != want {
			t.Errorf("%s: got it due %s %v, want %s", suffix, got, all, want)
		}
	}
	for _, suffix := range []string{"_", "!", "-retry-", "_1", "_000001", "_0000*", "-" + past, past, "x", ".jsonl"} {
		if _, _, ok := results.ParseMark(key + suffix); ok {
			t.Errorf("%s: got a mark, want none", suffix)
		}
	}
}
