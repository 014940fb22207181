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

// A located is a mapping that returns each record as it is and names places of the records.
type located []export.Path

func (located) Map(raw []byte) (export.Mapped, error) {
	return export.Mapped{Record: slices.Clone(raw)}, nil
}

func (located) Ignores([]byte) bool { return false }

func (l located) Records() []export.Path { return l }

// at returns a path.
func at(t *testing.T, text string) export.Path {
	t.Helper()
	path, err := export.ParsePath(text)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

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
		"an object of objects": {"groups.*", `{"n":1,"groups" : {"g1": ` + rec("a") + `,"\u0067" :` + rec("b") +
			` , "":` + rec("c") + `} ,"x":{}}`, 3},
		"several of them": {"groups.*", `{"groups":{}} {"groups":{"a":` + rec("a") + "}}\n{\"groups\":{\"b\":" +
			rec("b") + `,}}`, 2},
		"a star over an array": {"groups.*", `{"groups":` + page("a", "b") + `}{"groups":{"c":` + rec("c") + `}}`, 3},
		"a star alone":         {"*", `{"g1":` + rec("a") + `, "g2":` + rec("b") + `} {} {"x":` + rec("c") + `}`, 3},
		"a string": {"tinfos", `{"code":200,"tinfos":` +
			fmt.Sprintf("%q", " \n"+page("a", "b", `\\c\"`)+" ") + `,"z":1}`, 3},
		"a string with all escaped": {"tinfos", `{"tinfos":"` + escaped(page("a", "b")+"\r\n") + `"}`, 2},
		"strings and arrays": {"d.t", `{"d":{"t":"[]"}} {"d":{"t":` + fmt.Sprintf("%q", page("a")) + `}} {"d":{"t":` +
			page("b") + `,"x":{}}}`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			for wrapping, wrap := range wrappings {
				for _, format := range []string{"a.json", "a.jsonl"} {
					if format == "a.jsonl" && strings.HasPrefix(row.text, "[") {
						continue // a malformed line
					}
					object := wrap([]byte(row.text))
					src := in(format+strings.TrimPrefix(wrapping, "wide"), object)
					src.Map = located{at(t, "nowhere"), at(t, row.path)}
					if name != "a star over an array" { // a record of a mapping's system may have such a member
						checkRecords(t, src, row.want)
					}
					if strings.Contains(name, "without a document") || strings.HasPrefix(row.text, "[") {
						continue
					}
					src.Map, src.Records = nil, at(t, row.path)
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
	for _, later := range []string{`{"data":7}`, `{"code":500}`, `{"data":null}`} {
		src := in("a.json", []byte(`{"data":[`+rec("a")+`]} `+later))
		src.Map = located{at(t, "data")}
		got, _ := all(t, src, export.Start)
		if len(got) != 2 || !strings.Contains(got[1], "has no records at data") {
			t.Errorf("%s: got %q", later, got)
		}
	}
}

// escaped returns text with each byte as an escape of a JSON string.
func escaped(text string) string {
	var s strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&s, `\u%04x`, text[i])
	}
	return s.String()
}

// An object at the end of a stated path is the only record of its document.
func TestReader_RecordsMember(t *testing.T) {
	page := `{"code":0,"data" : {"x":[],"group": ` + rec("a") + "  ,  \"y\" : 1  }  }\n"
	for wrapping, wrap := range wrappings {
		src := in("a.json"+strings.TrimPrefix(wrapping, "wide"), wrap([]byte(page+page+page)))
		src.Records = at(t, "data.group")
		checkRecords(t, src, 3)
	}
}

// A stated path that a document lacks ends the reading. Files that state their layout themselves need none.
func TestReader_StatedRecords(t *testing.T) {
	failure := `{"n":1,"status":"failed","record":` + rec("a") + `}`
	for name, row := range map[string]struct{ file, path, text, want string }{
		"another name": {
			"a.json", "dta", `{"data":[` + rec("a") + `]}`,
			"the object that starts here has no records at dta",
		},
		"an array": {
			"a.json", "data", `[` + rec("a") + `]`,
			"unexpected '[', expected an object with the records at data",
		},
		"no JSON":          {"a.jsonl", "data", `x`, "unexpected 'x', expected an object with the records at data"},
		"a string of text": {"a.json", "data", `{"data":"all \"of\" them"}`, "has no records at data"},
		"half a string": {
			"a.json", "data", `{"data":"[` + strings.ReplaceAll(rec("a"), `"`, `\"`),
			"unexpected end inside the JSON value that starts on line 1",
		},
		"a string that ends":  {"a.json", "data", `{"data":"[{"}`, "unexpected end inside the record that starts here"},
		"text after an array": {"a.json", "data", `{"data":"[]x"}`, "unexpected 'x' after the array in a string"},
		"a dead-letter file":  {"a.ndjson", "data", failure, "valid a"},
		"CSV":                 {"a.csv", "data", "Name,Type\na,Public\n", "valid a"},
		"nothing":             {"a.json", "data", " ", ""},
		"damage in a string": {
			"a.json", "data", `{"data":"[{\"a\":\"\ud800\"}]"}`,
			"the record is in a string that is not valid JSON",
		},
	} {
		src := in(row.file, []byte(row.text))
		src.Records = at(t, row.path)
		got, _ := all(t, src, export.Start)
		if text := strings.Join(got, "\n"); !strings.Contains(text, row.want) || (text == "") != (row.want == "") {
			t.Errorf("%s: got %q, want %q", name, got, row.want)
		}
	}
}

// A record in a string may not be longer than any other, and costs itself only.
func TestReader_RecordsLongString(t *testing.T) {
	long := strings.Repeat("x", 2*export.MaxLine)
	src := in("a.json", fmt.Appendf(nil, `{"data":%q}`, `[{"x":"`+long+`"},`+rec("b")+`]`))
	src.Records = at(t, "data")
	if got, _ := all(t, src, export.Start); len(got) != 2 || !strings.Contains(got[0], "limit 1048576") ||
		!strings.Contains(got[1], "valid b") {
		t.Errorf("got %.300q", got)
	}
}

func TestParsePath(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true, "data": true, "data.群.x y": true, "groups.*": true, "*": true, "**": true,
		".": false, "a.": false, "a..b": false, "*.a": false, "a\xff": false,
		strings.Repeat("a", 257): false, strings.Repeat("a.", 16) + "a": false,
	} {
		path, err := export.ParsePath(text)
		if (err == nil) != ok || ok && path.String() != text {
			t.Errorf("%q: got %q, %v", text, path, err)
		}
	}
}
