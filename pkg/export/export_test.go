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
)

// read returns what an export holds, one line an entry, and the entries' positions.
func read(t *testing.T, src io.Reader, at export.Position) (lines []string, next []export.Position) {
	t.Helper()
	r, err := export.NewReader("a.jsonl", src, at, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range r.Records() {
		if err != nil {
			t.Fatal(err)
		}
		what := "valid " + e.Record.Name
		if e.Problem != nil {
			what = e.Problem.Error()
		}
		lines = append(lines, fmt.Sprintf("%d %d %d %s", e.Pos.N, e.Pos.Line, e.Pos.Offset, what))
		next = append(next, e.Next)
	}
	return lines, next
}

func rec(name string) string { return `{"Type":"Public","Name":"` + name + `"}` }

func TestRecordsComeWithTheirPositions(t *testing.T) {
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
			"1 1 0 valid a", "2 2 29 not a JSON object: invalid character 'o' in literal null (expecting 'u') at byte 1", "3 3 38 valid c",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := read(t, strings.NewReader(row.text), export.Start)
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", row.want) {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
			single, _ := read(t, iotest.OneByteReader(strings.NewReader(row.text)), export.Start)
			if fmt.Sprintf("%q", single) != fmt.Sprintf("%q", row.want) {
				t.Errorf("by single bytes: got  %q\nwant %q", single, row.want)
			}
		})
	}
}

func TestLineAroundTheLimit(t *testing.T) {
	for _, over := range []int{-1, 0, 1, 2, 3, export.MaxLine} {
		for _, end := range []string{"\n", "\r\n", ""} {
			n := export.MaxLine + over
			line := rec("a") + strings.Repeat(" ", n-len(rec("a")))
			got, _ := read(t, strings.NewReader(line+end+end+rec("b")), export.Start)
			first, rest := "1 1 0 valid a", 1
			if over > 0 {
				first = fmt.Sprintf("1 1 0 the line has %d bytes, at most 1048576 are read", n+len(end))
			}
			if end == "" { // both records stand on one line
				first, rest = "", 0
			}
			if len(got) != 1+rest || first != "" && got[0] != first {
				t.Errorf("%d bytes over, end %q: got %q, want %q", over, end, got, first)
			}
		}
	}
}

func TestUTF16IsRefusedByName(t *testing.T) {
	r, err := export.NewReader("a.jsonl", strings.NewReader("\xff\xfe{\x00}\x00"), export.Start, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range r.Records() {
		if !errors.Is(err, export.ErrFormat) || !strings.Contains(err.Error(), "UTF-16") {
			t.Errorf("got %v, want a refusal that names UTF-16", err)
		}
	}
}

func TestUnknownFormatIsRefused(t *testing.T) {
	_, err := export.NewReader("dir/a.txt", strings.NewReader(""), export.Start, group.DocumentLimits)
	if !errors.Is(err, export.ErrFormat) {
		t.Errorf("got %v, want %v", err, export.ErrFormat)
	}
}

func TestReadErrorEndsTheExportWithItsPlace(t *testing.T) {
	broken := errors.New("broken")
	src := io.MultiReader(strings.NewReader(rec("a")+"\n"+rec("b")[:5]), iotest.ErrReader(broken))
	r, err := export.NewReader("a.jsonl", src, export.Start, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e, err := range r.Records() {
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

func TestAFailuresFileIsAnExport(t *testing.T) {
	wrap := func(raw []byte) string {
		return string(export.AppendRecord([]byte(`{"n":3,"line":3,"status":"failed","code":0,"attempts":5`), raw))
	}
	for name, row := range map[string]struct{ raw, want string }{
		"a record":                 {rec("a"), "valid a"},
		"with spaces around":       {" " + rec("a") + "\t", "valid a"},
		"with a name twice":        {`{"Type":"Public","Name":"a","Name":"b"}`, "Name stands more than once"},
		"no JSON":                  {`{"Type":`, "not a JSON object: it ends too early, after 8 bytes"},
		"not UTF-8":                {"{\"Type\":\"Public\",\"Name\":\"\xff\"}", `Name is not valid UTF-8 (or holds half of a surrogate pair): "\"\xff\""`},
		"half a surrogate pair":    {`{"Type":"Public","Name":"\ud800"}`, `Name is not valid UTF-8 (or holds half of a surrogate pair): "\"\\ud800\""`},
		"with members of its own":  {`{"n":1,"status":"x"}`, `unknown field "n"; unknown field "status"; Type is missing; Name is missing or empty`},
		"with line ends within it": {"{\"Type\":\r\"Public\",\"Name\":\"a\"}", "valid a"},
	} {
		t.Run(name, func(t *testing.T) {
			line := wrap([]byte(row.raw))
			if strings.ContainsAny(line, "\r\n") {
				t.Errorf("got %q, want one line", line)
			}
			r, err := export.NewReader("f.jsonl", strings.NewReader(line), export.Start, group.DocumentLimits)
			if err != nil {
				t.Fatal(err)
			}
			for e, err := range r.Records() {
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
				if got, want := strings.TrimSpace(string(e.Raw)), strings.TrimSpace(row.raw); got != want {
					t.Errorf("got raw %q, want %q", got, want)
				}
			}
		})
	}
	got, _ := read(t, strings.NewReader(wrap(nil)), export.Start)
	if want := "1 1 0 this line of a failures file holds no record: the line was too long to be kept"; len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzReader: reading on from any position gives the rest, whatever the bytes are and however they come.
func FuzzReader(f *testing.F) {
	f.Add([]byte(rec("a") + "\n\n" + rec("b") + "\r\nnonsense\n" + rec("c")))
	f.Add([]byte("\xef\xbb\xbf" + rec("a") + "\n\xff\n\x00\n"))
	f.Add([]byte(`{"n":1,"status":"failed","record":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
			return
		}
		all, next := read(t, bytes.NewReader(text), export.Start)
		for i, at := range next {
			if at.Offset > int64(len(text)) {
				t.Fatalf("got position %+v behind the end at %d", at, len(text))
			}
			rest, _ := read(t, iotest.HalfReader(bytes.NewReader(text[at.Offset:])), at)
			if fmt.Sprintf("%q", rest) != fmt.Sprintf("%q", all[i+1:]) {
				t.Errorf("from %+v: got %q, want %q", at, rest, all[i+1:])
			}
		}
	})
}

func BenchmarkReader(b *testing.B) {
	var text bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&text, `{"GroupId":"g-%05d","Type":"Public","Owner_Account":"leckie","Name":"Team %d","Introduction":"Where team %d talks about what it does and does not do.","MaxMemberCount":500,"ApplyJoinOption":"FreeAccess","CreateTime":1448357837}`+"\n", i, i, i)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		r, err := export.NewReader("a.jsonl", bytes.NewReader(text.Bytes()), export.Start, group.DocumentLimits)
		if err != nil {
			b.Fatal(err)
		}
		for e, err := range r.Records() {
			if err != nil || e.Problem != nil {
				b.Fatal(err, e.Problem)
			}
		}
	}
}
