package importer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/importer"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/tim"
)

// mapped returns an importer with a mapping of its own.
func (w *world) mapped(mapping string) *importer.Importer {
	w.T.Helper()
	i := &importer.Importer{Config: w.Config, Bucket: w.Store, BucketName: "bucket", Owner: w.Owner, Mapping: mapping}
	if err := importertest.Dial(i, func(c *tim.Config) { c.Transport = w.Service }); err != nil {
		w.T.Fatal(err)
	}
	return i
}

func TestMapping_RetryAndDeadLetterFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Config.MaxAttempts = 1
		w.Put(`{"title":"a"}`, `{"title":"down"}`, `{"title":""}`, `{"title":7}`, `{"other":1}`)
		failing := true
		w.Service.Faults = emulator.Faults{Plan: func(req emulator.Request) emulator.Fault {
			if req.Name == "down" && failing {
				return emulator.Internal
			}
			return emulator.None
		}}
		const program = `if .other then skip("another kind")
			else {Type:"Public",Name:(.title|cut_bytes(30)),GroupId:"g-\(.title)"} end`
		s, err := w.mapped(program).Import(t.Context(), simKey)
		if err != nil {
			t.Fatal(err)
		}
		want := outcome.Counts{Imported: 1, Failed: 1, Rejected: 2, Skipped: 1}
		if s.Counts != want || s.Counts.Records() != 5 || s.Counts.Missing() != 3 {
			t.Errorf("got counts %+v, want %+v", s.Counts, want)
		}
		failures := string(w.Store.Object(simNames.Failures()))
		for _, part := range []string{
			`"record":{"GroupId":"g-down","Name":"down","Type":"Public"},"error"`,
			`"record":{"GroupId":"g-","Name":"","Type":"Public"},"error"`,
			`"error":"the mapping failed: cut_bytes: the input must be a string, not number","attempts":0,`,
			`"record":{"foreign":{"title":7}},"error"`,
		} {
			if !strings.Contains(failures, part) {
				t.Errorf("got failures %s, want %s in it", failures, part)
			}
		}
		if line := w.Outcomes(simNames)[4]; line.Status != outcome.Skipped || line.Error != "another kind" ||
			strings.Contains(failures, "another kind") {
			t.Errorf("got %+v, want it skipped and in no failures file", line)
		}

		for key, object := range w.Store.Snapshot() {
			if strings.Contains(key, "/parts/") && strings.Contains(string(object), `"other"`) {
				t.Errorf("got a part with the record that was left out: %s", object)
			}
		}

		// A round of retries sends it as it was mapped, even if another mapping is set now.
		failing = false
		time.Sleep(time.Hour)
		if s, err = w.mapped(`error("not again")`).RetryRound(t.Context(), simKey, false); err != nil ||
			s.Counts.Imported != 2 || s.Counts.Skipped != 1 {
			t.Errorf("got %+v %v, want the failed record imported", s, err)
		}

		// The dead-letter file, fixed and dropped under another name, is an export, with a mapping set and without. What
		// could not be mapped is mapped again.
		const again = "exports/again.ndjson"
		text := strings.Replace(string(w.Store.Object(simNames.Failures())), `"Name":""`, `"Name":"fixed"`, 1)
		if err := w.Store.Put(t.Context(), again, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		s, err = w.mapped(`{Type:"Public",Name:"seven",GroupId:"g-\(.title)"}`).Import(t.Context(), again)
		if err != nil || s.Counts != (outcome.Counts{Imported: 2}) {
			t.Errorf("got %+v %v, want both imported", s, err)
		}
		if made := fmt.Sprint(w.Service.Names()); made != "map[a:1 down:1 fixed:1 seven:1]" {
			t.Errorf("got groups %s", made)
		}
	})
}

func TestMapping_ResumesWithTheFirstMapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var lines []string
		for n := range 2000 {
			lines = append(lines, fmt.Sprintf(`{"title":"%d"}`, n+1))
		}
		w.Put(lines...)
		w.Config.Mapping = "maps/own.jq"
		put := func(program string) {
			if err := w.Store.Put(t.Context(), w.Config.Mapping, strings.NewReader(program)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.mapped("").Import(t.Context(), simKey); err == nil ||
			!strings.Contains(err.Error(), `read the mapping "maps/own.jq"`) {
			t.Errorf("got %v, want it to say that the mapping is missing", err)
		}
		put(`{Type:"Public",Name:"one \(.title)"`)
		if _, err := w.mapped("").Import(t.Context(), simKey); err == nil ||
			!strings.Contains(err.Error(), "the mapping is not a valid jq program") {
			t.Errorf("got %v, want it to say that the mapping is none", err)
		}
		put(`{Type:"Public",Name:"one \(.title)"}`)
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		if s, err := w.mapped("").Import(ctx, simKey); err != nil || s.State != results.Waiting || s.Counts.Imported == 0 {
			t.Fatalf("got %+v %v, want a part imported", s, err)
		}
		put(`{Type:"Public",Name:"two \(.title)"}`)
		if s, err := w.mapped("").Import(t.Context(), simKey); err != nil || s.Counts.Imported != 2000 {
			t.Fatalf("got %+v %v, want all imported", s, err)
		}
		for name := range w.Service.Names() {
			if !strings.HasPrefix(name, "one ") {
				t.Fatalf("got a group %q, want all as the first mapping makes them", name)
			}
		}
	})
}

func TestImport_TruncatedThenFixedExport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const key = "exports/acme.jsonl.gz"
		whole := simZip([]byte(strings.Join(withIDs(3000), "\n")))
		put := func(object []byte) {
			if err := w.Store.Put(t.Context(), key, strings.NewReader(string(object))); err != nil {
				t.Fatal(err)
			}
		}
		put(whole[:len(whole)/2])
		s, err := w.mapped("").Import(t.Context(), key)
		if err == nil || !strings.Contains(err.Error(), "the gzip stream is truncated after byte") ||
			s.State != results.Stopped || s.Counts.Imported < 100 {
			t.Fatalf("got %+v %v, want what could be read imported, and the reason", s, err)
		}
		had := s.Counts.Imported
		put(whole)
		s, err = w.mapped("").Import(t.Context(), key)
		if err != nil || s.Counts != (outcome.Counts{Imported: 3000}) || s.Manifest.Carry.Carried != had ||
			s.Run.Attempts != 3000-had {
			t.Fatalf("got %+v %v, want 3,000 imported, %d of them carried over", s, err, had)
		}
		for name, n := range w.Service.Names() {
			if n != 1 {
				t.Errorf("%s was made %d times", name, n)
			}
		}
	})
}
