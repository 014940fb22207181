package results_test

import (
	"strings"
	"testing"
	"time"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/results"
)

const validCheckpoint = `{"export":{"key":"a","version":"v","size":100},"next":{"n":2,"line":2,"offset":50},` +
	`"done":false,"sent":0,"parts":[{"lease":1,"count":1}],"counts":{"imported":1},` +
	`"runs":[{"lease":1,"start":"2026-11-22T10:00:00Z","attempts":1,"counts":{"imported":1}}]}`

func put(t testing.TB, b *blobtest.Bucket, key, text string) {
	t.Helper()
	if err := b.Put(t.Context(), key, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

func TestLoadCheckpoint_Hostile(t *testing.T) {
	for name, edit := range map[string][2]string{
		"no runs":                     {`"runs":[{`, `"runs":[],"x":[{`},
		"a negative count":            {`"counts":{"imported":1},"runs"`, `"counts":{"imported":-1},"runs"`},
		"more outcomes than records":  {`"counts":{"imported":1},"runs"`, `"counts":{"imported":7},"runs"`},
		"a position beyond the end":   {`"offset":50`, `"offset":500`},
		"a part of a later run":       {`{"lease":1,"count":1}`, `{"lease":9,"count":1}`},
		"a billion parts":             {`"count":1}`, `"count":1000000000}`},
		"a mapping that is not named": {`"done"`, `"mapping":".","settings":{"mapping":"none"},"done"`},
		"a mapping that was changed":  {`"done"`, `"mapping":".","settings":{"mapping":"sha256:00"},"done"`},
		"a source of another folder":  {`"done"`, `"carry":{"sources":[{"tag":"/../b","file":"results"}]},"done"`},
		"no JSON":                     {`{"export"`, `"export"`},
	} {
		b := &blobtest.Bucket{}
		put(t, b, names.Work()+"checkpoint/000001", validCheckpoint)
		if _, err := dir(b).LoadCheckpoint(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		put(t, b, names.Work()+"checkpoint/000001", strings.Replace(validCheckpoint, edit[0], edit[1], 1))
		_, err := dir(b).LoadCheckpoint(t.Context(), 2)
		if err == nil || !strings.Contains(err.Error(), "checkpoint/000001") || !strings.Contains(err.Error(), "restore") {
			t.Errorf("%s: got %v, want an error that names the object and says what to do", name, err)
		}
	}
}

func TestReason_IsBounded(t *testing.T) {
	cp := results.Checkpoint{Runs: []results.Run{{Lease: 1, Start: time.Now(), Stop: "x"}}}
	p := results.ProgressOf(results.Stopped, results.CauseError, strings.Repeat("列", 100_000), &cp)
	if len(p.Reason) > 1024 || !strings.HasSuffix(p.Reason, "列…") {
		t.Errorf("got a reason of %d bytes, want at most 1024", len(p.Reason))
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(validCheckpoint))
	f.Add([]byte(`{"state":"running","runs":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := &blobtest.Bucket{}
		for _, key := range []string{names.Work() + "checkpoint/000001", names.Manifest(), names.Progress()} {
			put(t, b, key, string(data))
		}
		if cp, err := dir(b).LoadCheckpoint(t.Context(), 2); err == nil {
			p := results.ProgressOf(results.Waiting, "", "", cp)
			p.Pace(cp.Runs)
		}
		_, _ = dir(b).LoadManifest(t.Context())
		if p, err := dir(b).LoadProgress(t.Context()); err == nil {
			p.Pace(nil)
		}
	})
}

func FuzzParseMark(f *testing.F) {
	f.Add("a.jsonl.finished-0123456789ab0123456789ab-retry")
	f.Fuzz(func(t *testing.T, key string) {
		if export, _, ok := results.ParseMark(key); ok && (!strings.HasPrefix(key, export) || !results.IsOutput(key)) {
			t.Errorf("got the export %q of %q", export, key)
		}
	})
}
