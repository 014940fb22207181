package export_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

// in returns an export in memory.
func in(name string, text []byte) export.Source {
	return export.Source{Name: name, Open: func(offset int64) io.ReadCloser {
		return io.NopCloser(bytes.NewReader(text[min(offset, int64(len(text))):]))
	}}
}

// from returns an export that is read from the reader that open returns.
func from(name string, open func() io.Reader) export.Source {
	return export.Source{Name: name, Open: func(int64) io.ReadCloser { return io.NopCloser(open()) }}
}

// bySingleBytes returns an export that is read byte by byte.
func bySingleBytes(name, text string) export.Source {
	src := in(name, []byte(text))
	open := src.Open
	src.Open = func(offset int64) io.ReadCloser { return io.NopCloser(iotest.OneByteReader(open(offset))) }
	return src
}

// all returns a line for each entry of an export, and the positions after the entries. The last line is the error, if
// any.
func all(t *testing.T, src export.Source, at export.Position) (lines []string, next []export.Position) {
	t.Helper()
	r, err := export.NewReader(src, at, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range r.Records(t.Context()) {
		if err != nil {
			return append(lines, err.Error()), next
		}
		if e.Blank {
			continue
		}
		what := "valid " + e.Record.Name
		switch {
		case e.Problem != nil:
			what = e.Problem.Error()
		case e.Skipped != "":
			what = "skipped: " + e.Skipped
		}
		lines = append(lines, fmt.Sprintf("%d %d %d %s", e.Pos.N, e.Pos.Line, e.Pos.Offset, what))
		next = append(next, e.Next)
	}
	return lines, next
}

// read returns the lines of all for a JSONL export.
func read(t *testing.T, text string) []string {
	t.Helper()
	lines, _ := all(t, in("a.jsonl", []byte(text)), export.Start)
	return lines
}

func rec(name string) string { return `{"Type":"Public","Name":"` + name + `"}` }

func TestReader_Positions(t *testing.T) {
	for name, row := range map[string]struct {
		text string
		want []string
	}{
		"empty":                  {"", nil},
		"only blank lines":       {"\n\r\n  \t\n", nil},
		"one line without end":   {rec("a"), []string{"1 1 0 valid a"}},
		"two lines":              {rec("a") + "\n" + rec("b") + "\n", []string{"1 1 0 valid a", "2 2 29 valid b"}},
		"Windows line ends":      {rec("a") + "\r\n" + rec("b") + "\r\n", []string{"1 1 0 valid a", "2 2 30 valid b"}},
		"blank lines are none":   {"\n" + rec("a") + "\n\n \n" + rec("b"), []string{"1 2 1 valid a", "2 5 33 valid b"}},
		"byte-order mark":        {"\xef\xbb\xbf" + rec("a") + "\n" + rec("b"), []string{"1 1 3 valid a", "2 2 32 valid b"}},
		"only a byte-order mark": {"\xef\xbb\xbf", nil},
		"a bad line costs itself": {rec("a") + "\nnonsense\n" + rec("c"), []string{
			"1 1 0 valid a", "2 2 29 not a JSON object: invalid character 'o' in literal null (expecting 'u') at byte 1",
			"3 3 38 valid c",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, row.text)
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", row.want) {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
			checkResume(t, "a.jsonl", []byte(row.text))
			single, _ := all(t, bySingleBytes("a.jsonl", row.text), export.Start)
			if fmt.Sprintf("%q", single) != fmt.Sprintf("%q", row.want) {
				t.Errorf("by single bytes: got  %q\nwant %q", single, row.want)
			}
		})
	}
}

func TestReader_LineLength(t *testing.T) {
	for _, over := range []int{-1, 0, 1, 2, 3, export.MaxLine} {
		for _, end := range []string{"\n", "\r\n", ""} {
			n := export.MaxLine + over
			line := rec("a") + strings.Repeat(" ", n-len(rec("a")))
			got := read(t, line+end+end+rec("b"))
			first, rest := "1 1 0 valid a", 1
			if over > 0 {
				first = fmt.Sprintf("1 1 0 the line is %d bytes, limit 1048576", n+len(end))
			}
			if end == "" { // both records are on one line
				first, rest = "", 0
			}
			if len(got) != 1+rest || first != "" && got[0] != first {
				t.Errorf("%d bytes over, end %q: got %q, want %q", over, end, got, first)
			}
		}
	}
}

func TestNewReader_UnknownFormat(t *testing.T) {
	_, err := export.NewReader(in("dir/a.txt", nil), export.Start, group.DocumentLimits)
	if !errors.Is(err, export.ErrFormat) {
		t.Errorf("got %v, want %v", err, export.ErrFormat)
	}
}

func TestReader_ReadError(t *testing.T) {
	broken := errors.New("broken")
	src := from("a.jsonl", func() io.Reader {
		return io.MultiReader(strings.NewReader(rec("a")+"\n"+rec("b")[:5]), iotest.ErrReader(broken))
	})
	r, err := export.NewReader(src, export.Start, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e, err := range r.Records(t.Context()) {
		if err != nil {
			got = append(got, err.Error())
			if !errors.Is(err, broken) {
				t.Errorf("got %v, want it to wrap %v", err, broken)
			}
			continue
		}
		got = append(got, e.Record.Name)
	}
	if want := `["a" "read export at byte 34: broken"]`; fmt.Sprintf("%q", got) != want {
		t.Errorf("got %q, want %s", got, want)
	}
}

func TestReader_DeadLetterFile(t *testing.T) {
	wrap := func(raw []byte) string {
		o := outcome.Outcome{N: 3, Line: 3, Status: outcome.Failed, Error: "no response", Attempts: 5}
		return string(o.AppendRecordLine(nil, raw))
	}
	for name, row := range map[string]struct{ raw, want string }{
		"a record":           {rec("a"), "valid a"},
		"with spaces around": {" " + rec("a") + "\t", "valid a"},
		"with a name twice":  {`{"Type":"Public","Name":"a","Name":"b"}`, "duplicate field Name"},
		"no JSON":            {`{"Type":`, "not a JSON object: unexpected end after 8 bytes"},
		"not UTF-8": {
			"{\"Type\":\"Public\",\"Name\":\"\xff\"}",
			`Name is not valid UTF-8 (or contains a lone surrogate): "\"\xff\""`,
		},
		"half a surrogate pair": {
			`{"Type":"Public","Name":"\ud800"}`,
			`Name is not valid UTF-8 (or contains a lone surrogate): "\"\\ud800\""`,
		},
		"with members of its own": {
			`{"n":1,"status":"x"}`,
			`unknown field "n"; unknown field "status"; Type is missing; Name is missing or empty`,
		},
		"with line ends within it": {"{\"Type\":\r\"Public\",\"Name\":\"a\"}", "valid a"},
	} {
		t.Run(name, func(t *testing.T) {
			line := wrap([]byte(row.raw))
			if strings.ContainsAny(line, "\r\n") {
				t.Errorf("got %q, want one line", line)
			}
			r, err := export.NewReader(in("f.jsonl", []byte(line)), export.Start, group.DocumentLimits)
			if err != nil {
				t.Fatal(err)
			}
			for e, err := range r.Records(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				got := "valid " + e.Record.Name
				if e.Problem != nil {
					got = e.Problem.Error()
				}
				if got != row.want {
					t.Errorf("got %q, want %q", got, row.want)
				}
				if got, want := strings.Join(strings.Fields(string(e.Raw)), ""),
					strings.Join(strings.Fields(row.raw), ""); got != want {
					t.Errorf("got raw %q, want %q", got, want)
				}
			}
		})
	}
	got := read(t, wrap(nil))
	if want := "1 1 0 the dead-letter line has no record: the record was too long to store"; len(got) != 1 ||
		got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
