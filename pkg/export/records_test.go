package export_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"groupimport/pkg/export"
)

// A located is a mapping that returns each record as it is and names the place of the records.
type located []string

func (located) Map(raw []byte) (export.Mapped, error) {
	return export.Mapped{Record: slices.Clone(raw)}, nil
}

func (located) Ignores([]byte) bool { return false }

func (l located) Records() []string { return l }

// TestReader_RecordsPath reads documents in which a mapping names the place of the records, resumes at each record and
// at each blank entry, plain and in all wrappings.
func TestReader_RecordsPath(t *testing.T) {
	page := func(ids ...string) string {
		var records []string
		for _, id := range ids {
			records = append(records, rec(id))
		}
		return "[" + strings.Join(records, ",\n ") + "]"
	}
	deep := func(ids ...string) string {
		return `{"code":0, "groupInfos":[{"GroupId":"wrong"}], "data" : {"total":1,"x":{"groupInfos":[1]},"groupInfos":` +
			page(ids...) + `,"data":{"groupInfos":[2]}},"z":[]}`
	}
	for name, row := range map[string]struct {
		path, text string
		want       int
	}{
		"one level":                  {"data", `{"action":"get","data":` + page("a", "b") + `,"count":2}`, 2},
		"before other members":       {"tinfos", `{"tinfos":` + page("a", "b") + `,"code":200}`, 2},
		"two levels":                 {"data.groupInfos", deep("a", "b", "c"), 3},
		"pages behind one another":   {"data.groupInfos", deep("a") + "\n" + deep("b", "c") + deep("d"), 4},
		"an empty page first":        {"data.groupInfos", deep() + deep("a") + "\n", 1},
		"the first object lacks it":  {"data.groupInfos", `{"data":{"x":{}},"data":{"groupInfos":` + page("a") + `}}`, 1},
		"records without a document": {"data.groupInfos", rec("a") + "\n" + rec("b") + "\n", 2},
		"an array of records":        {"data", page("a", "b"), 2},
		"no record":                  {"data", `{"data":[]}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for wrapping, wrap := range wrappings {
				for _, format := range []string{"a.json", "a.jsonl"} {
					if format == "a.jsonl" && strings.HasPrefix(row.text, "[") {
						continue // a malformed line
					}
					object := wrap([]byte(row.text))
					src := in(format+strings.TrimPrefix(wrapping, "wide"), object)
					src.Map = located(strings.Split(row.path, "."))
					checkRecords(t, src, row.want)
				}
			}
		})
	}
}

func checkRecords(t *testing.T, src export.Source, want int) {
	t.Helper()
	whole, next := all(t, src, export.Start)
	if len(whole) != want || len(next) != want || strings.Contains(strings.Join(whole, ""), "wrong") {
		t.Fatalf("%s: got %q, want %d records", src.Name, whole, want)
	}
	checkBlanks(t, src, whole)
	slowly := src
	slowly.Open = func(offset int64) io.ReadCloser { return io.NopCloser(iotest.OneByteReader(src.Open(offset))) }
	for i, at := range next {
		if rest, _ := all(t, slowly, at); fmt.Sprintf("%q", rest) != fmt.Sprintf("%q", whole[i+1:]) {
			t.Errorf("%s from %+v: got %q, want %q", src.Name, at, rest, whole[i+1:])
		}
	}
}

// A later document without the array ends the reading: its records would be missing.
func TestReader_RecordsPathMissing(t *testing.T) {
	src := in("a.json", []byte(`{"data":[`+rec("a")+`]} {"data":null}`))
	src.Map = located{"data"}
	got, _ := all(t, src, export.Start)
	if len(got) != 2 || !strings.Contains(got[1], "has no array at data, where the mapping expects the records") {
		t.Errorf("got %q", got)
	}
}
