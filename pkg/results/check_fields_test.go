package results_test

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/blob/blobtest"
)

const (
	validRun = `{"lease":1,"start":"2026-11-22T10:00:00Z","attempts":1,"counts":{"imported":1}}`

	validManifest = `{"export":{"key":"a","version":"v","size":100},"complete":true,"counts":{"imported":1},` +
		`"files":[{"key":"a.results.ndjson","size":9,"sha256":""}],"runs":[` + validRun + `],` +
		`"rounds":[{"start":"2026-11-22T10:00:00Z","end":"2026-11-22T10:00:00Z","counts":{"failed":1},"runs":[` + validRun +
		`]}],"started":"2026-11-22T10:00:00Z","finished":"2026-11-22T10:00:00Z"}`

	validProgress = `{"state":"waiting","export":{"key":"a","version":"v","size":100},` +
		`"next":{"n":2,"line":2,"offset":50},"counts":{"imported":1},"runs":1,"run":` + validRun + `}`
)

// edit sets a member of a JSON text; path has the names of members and the indexes of elements that lead to it.
func edit(t *testing.T, text, path, value string) string {
	t.Helper()
	var root any
	if err := json.Unmarshal([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	at, names := root, strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		switch v := at.(type) {
		case map[string]any:
			at = v[name]
		case []any:
			at = v[0]
		}
	}
	at.(map[string]any)[names[len(names)-1]] = jsontext.Value(value)
	edited, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return string(edited)
}

// Each value that no run writes is found.
func TestLoad_ImpossibleValues(t *testing.T) {
	type row struct{ path, value, want string }
	const late = `"9999-12-31T23:59:59-01:00"` // Go reads it, and cannot write it in UTC
	times := func(paths ...string) (rows []row) {
		for _, path := range paths {
			rows = append(rows, row{path, late, "the year 10000"})
		}
		return rows
	}
	position := func(path string) []row {
		return []row{
			{path + ".n", "-1", "negative"},
			{path + ".line", "-1", "negative"},
			{path + ".offset", "-1", "negative"},
			{path + ".read", "-1", "negative"},
		}
	}
	export := append(times("export.modified"), row{"export.size", "-1", "the size of the export is -1"})
	run := func(path string) []row {
		return append(times(path+".start", path+".end"), []row{
			{path + ".lease", "-1", "fencing token is -1"},
			{path + ".counts", `{"failed":-1}`, "failed"},
			{path + ".attempts", "-1", "attempts is -1"},
			{path + ".slowed", "-1", "throttled attempts is -1"},
			{path + ".rate", "-1", "the rate is -1"},
		}...)
	}
	carry := []row{
		{"carry", `{"sources":[` + strings.Repeat(`{},`, 8) + `{}]}`, "9 sources"},
		{"carry", `{"sources":[{"tag":"00","file":"results"}]}`, "tag"},
		{"carry", `{"sources":[{"tag":"0123456789ab","file":"../a"}]}`, "no file"},
		{"carry", `{"inDoubt":-1}`, "count of earlier outcomes"},
		{"carry", `{"earlier":-1}`, "count of earlier outcomes"},
		{"carry", `{"carried":-1}`, "count of earlier outcomes"},
		{"carry", `{"differs":-1}`, "count of earlier outcomes"},
		{"carry", `{"created":-1}`, "count of earlier outcomes"},
	}
	all := func(tables ...[]row) (rows []row) {
		for _, table := range tables {
			rows = append(rows, table...)
		}
		return rows
	}
	for _, object := range []struct {
		key, valid string
		rows       []row
	}{
		{names.Work() + "checkpoint/000001", validCheckpoint, all(export, position("next"), run("runs.0"), carry, []row{
			{"next.n", "0", "next record is 0"},
			{"sent", "-1", "high-water mark is -1"},
			{"round", "-1", "the round is -1"},
			{"round", "99", "the round is 99"},
			{"ignored", "-1", "ignored entries is -1"},
			{"ahead", "2", "out-of-order outcomes is 2, want 0 to 1"},
			{"finishing", "2", "writing the results is 2, want 0 to 1"},
			{"parts", `[{"lease":1,"first":-1,"count":1}]`, "the first part is -1"},
			{"parts", `[{"lease":1,"count":-1}]`, "the number of parts is -1"},
			{"parts", `[{"lease":1,"count":-1},{"lease":1,"count":1}]`, "the number of parts is -1"},
			{"parts", `[{"lease":1,"count":16777216},{"lease":1,"count":1}]`, "the number of parts is 16777217"},
			{"parts", `[{"lease":1,"count":1,"members":true}]`, "belongs to the other pass"},
			{"members", `{"offset":-1}`, "offset of the member pass is -1"},
			{"members", `{"parts":[{"lease":2,"count":1,"members":true}]}`, "fencing token of parts is 2"},
			{"members", `{"parts":[{"lease":1,"count":1}]}`, "belongs to the other pass"},
			{"members", `{"read":{"imported":-1}}`, "imported"},
			{"members", `{"counts":{"imported":-1}}`, "imported"},
			{"members", `{"read":{"imported":1}}`, "has read 1 lines and written 0"},
			{"members", `{"isEnd":true}`, "ended before the last record"},
			{"members", `{"read":{"exists":1},"counts":{"imported":1}}`, "exists"},
			{"counts", `{"imported":1,"incomplete":2}`, "2 lack members"},
			{"counts", `{"imported":1,"members":{"added":-1}}`, "-1 is not a number of members"},
		})},
		{names.Manifest(), validManifest, all(export, run("runs.0"), run("rounds.0.runs.0"), carry,
			times("rounds.0.start", "rounds.0.end", "retryAt", "started", "finished"), []row{
				{"counts", `{"imported":-1}`, "imported"},
				{"runs", "[]", "there are no runs"},
				{"rounds.0.counts", `{"imported":-1}`, "imported"},
				{"rounds.0.runs", "[]", "there are no runs"},
				{"rounds", "[" + strings.Repeat(`{"runs":[`+validRun+`]},`, 50) + `{"runs":[` + validRun + `]}]`, "51 rounds"},
				{"files.0.size", "-1", "the size of a file is -1"},
				{"givenUp", "-1", "given up is -1"},
				{"ignored", "-1", "ignored entries is -1"},
			})},
		{names.Progress(), validProgress, all(export, position("next"), run("run"), times("until", "updated", "again"), []row{
			{"state", `"happy"`, "the state is unknown"},
			{"counts", `{"imported":-1}`, "imported"},
			{"ignored", "-1", "ignored entries is -1"},
			{"runs", "-1", "number of runs is -1"},
		})},
	} {
		load := func(text string) error {
			b := &blobtest.Bucket{}
			put(t, b, object.key, text)
			switch object.key {
			case names.Manifest():
				_, err := dir(b).LoadManifest(t.Context())
				return err
			case names.Progress():
				_, err := dir(b).LoadProgress(t.Context())
				return err
			}
			_, err := dir(b).LoadCheckpoint(t.Context(), 2)
			return err
		}
		if err := load(object.valid); err != nil {
			t.Fatalf("%s: %v", object.key, err)
		}
		for _, row := range object.rows {
			err := load(edit(t, object.valid, row.path, row.value))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%s with %s %.80s: got error %v, want %q", object.key, row.path, row.value, err, row.want)
			}
		}
	}
}
