package importer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/emulator"
	"groupimport/pkg/importer"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
	"groupimport/pkg/tim"
)

// version1 returns an importer over a copy of what version 1 left in a folder: testdata/version1 was written by its
// binary, and killed.jsonl's process was ended with SIGKILL after 85 of 300 records.
func version1(t *testing.T) (*importer.Importer, *emulator.Service, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "version1"))); err != nil {
		t.Fatal(err)
	}
	bucket, err := dirblob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bucket.Close() })
	w := newWorld(t)
	w.Config.Rate, w.Service.Limit, w.Service.Latency = 2000, -1, 0
	i := &importer.Importer{
		Config: w.Config, Bucket: bucket, BucketName: "bucket", IsDead: func(string) bool { return true },
	}
	if err := importertest.Dial(i, func(c *tim.Config) { c.Transport = w.Service }); err != nil {
		t.Fatal(err)
	}
	return i, w.Service, dir
}

func TestVersion1_ResumesAKilledImport(t *testing.T) {
	i, service, _ := version1(t)
	s, err := i.Import(t.Context(), "killed.jsonl")
	// 85 outcomes were durable. Of the other records those without a GroupId may have been sent: "sent" is 500.
	want := outcome.Counts{Imported: 84 + 72, Rejected: 1, Unknown: 143}
	if err != nil || s.State != results.Finished || s.Counts != want || service.Stats().Imports != 72 {
		t.Errorf("got %s %+v, %v and %d calls, want %+v and 72", s.State, s.Counts, err, service.Stats().Imports, want)
	}
}

func TestVersion1_FinishedStaysFinished(t *testing.T) {
	i, service, dir := version1(t)
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"finished.jsonl", "assigned.jsonl"} {
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
		if s, err := i.Import(t.Context(), name); err != nil || !s.Already {
			t.Errorf("%s: got %+v, %v, want it finished before", name, s, err)
		}
	}
	// The pass leaves the marks that version 1 did not know.
	r, err := importertest.Scheduler(i).Pass(t.Context(), scheduler.Action{Resume: true})
	if err != nil || len(r.Done) != 1 || r.Done[0].Key != "killed.jsonl" {
		t.Errorf("got %+v, %v, want the killed import alone", r, err)
	}
	if r, err := importertest.Scheduler(i).Pass(t.Context(), resume); err != nil || len(r.Done) != 0 {
		t.Errorf("got %+v, %v, want nothing left to do", r, err)
	}
	if n := service.Stats().Imports; n != 72 {
		t.Errorf("got %d calls, want those of the killed import alone", n)
	}
}

func TestVersion1_RetriesFailedRecords(t *testing.T) {
	i, service, dir := version1(t)
	s, err := i.RetryRound(t.Context(), "failed.jsonl", true)
	want := outcome.Counts{Imported: 21 + 9, Rejected: 1, Unknown: 9}
	if err != nil || s.Counts != want || service.Stats().Imports != 9 {
		t.Errorf("got %+v, %v and %d calls, want %+v and 9", s.Counts, err, service.Stats().Imports, want)
	}
	text, err := os.ReadFile(filepath.Join(dir, "failed.jsonl.results.ndjson"))
	if err != nil || strings.Count(string(text), "\n") != 40 {
		t.Errorf("got %d results, %v, want 40", strings.Count(string(text), "\n"), err)
	}
}

func TestVersion1_DeadLetterFileIsAnExport(t *testing.T) {
	i, service, dir := version1(t)
	if err := os.Rename(filepath.Join(dir, "failed.jsonl.failures.ndjson"),
		filepath.Join(dir, "again.ndjson")); err != nil {
		t.Fatal(err)
	}
	s, err := i.Import(t.Context(), "again.ndjson")
	want := outcome.Counts{Imported: 9, Rejected: 1, Unknown: 9}
	if err != nil || s.Counts != want || service.Stats().Imports != 9 {
		t.Errorf("got %+v, %v and %d calls, want %+v and 9", s.Counts, err, service.Stats().Imports, want)
	}
}

func TestVersion1_CorrectedExportIsNotCreatedAgain(t *testing.T) {
	for _, name := range []string{"finished.jsonl", "assigned.jsonl", "failed.jsonl", "killed.jsonl"} {
		t.Run(name, func(t *testing.T) {
			i, service, dir := version1(t)
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			corrected := strings.NewReplacer(`"Publik"`, `"Public"`, `"Name":""`, `"Name":"now named"`).Replace(string(text))
			if err := os.WriteFile(filepath.Join(dir, name), []byte(corrected), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := i.Import(t.Context(), name)
			if err != nil || s.State != results.Stopped || !strings.Contains(s.Reason, "CREATE_UNMATCHED=true") ||
				service.Stats().Imports > 1 {
				t.Errorf("got %s %s, %v and %d calls, want it stopped before a record without a GroupId is sent", s.State,
					s.Reason, err, service.Stats().Imports)
			}
		})
	}
}
