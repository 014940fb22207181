package export_test

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

// wrappings convert a text to an object: plain, compressed, or as UTF-16.
var wrappings = map[string]func(text []byte) []byte{
	"":     func(text []byte) []byte { return text },
	".gz":  func(text []byte) []byte { return append(zipped(text[:len(text)/2]), zipped(text[len(text)/2:])...) },
	".zst": zstded,
	"wide": func(text []byte) []byte { return wide(string(text), len(text)%2 == 0) },
}

// checkResume checks that resuming at each position returns the remaining entries, for different sizes of reads.
func checkResume(t *testing.T, name string, object []byte) {
	t.Helper()
	checkResumeAs(t, name, "", object)
}

// checkResumeAs is checkResume with a named encoding.
func checkResumeAs(t *testing.T, name, encoding string, object []byte) {
	t.Helper()
	source := in(name, object)
	source.Encoding = encoding
	whole, next := all(t, source, export.Start)
	checkBlanks(t, source, whole)
	slowly := from(name, func() io.Reader { return iotest.HalfReader(bytes.NewReader(object)) })
	slowly.Encoding = encoding
	if slow, _ := all(t, slowly, export.Start); !slices.Equal(slow, whole) {
		t.Errorf("%s, in halves: got %q, want %q", name, slow, whole)
	}
	for i, at := range next {
		src := source
		open := src.Open
		src.Open = func(offset int64) io.ReadCloser {
			if offset > int64(len(object)) {
				t.Fatalf("%s: got a range from byte %d of %d", name, offset, len(object))
			}
			// By single bytes, so that the buffer holds little and the Reader opens a range.
			return io.NopCloser(iotest.OneByteReader(open(offset)))
		}
		rest, _ := all(t, src, at)
		want := slices.Clone(whole[i+1:])
		// The column of an error is unknown after resuming inside the line.
		for _, lines := range [][]string{rest, want} {
			if n := len(lines) - 1; n >= 0 {
				lines[n] = withoutColumn(lines[n])
			}
		}
		if fmt.Sprintf("%q", rest) != fmt.Sprintf("%q", want) {
			t.Errorf("%s from %+v: got %q, want %q", name, at, rest, want)
		}
		if at.N != int64(i+2) {
			t.Errorf("%s: got position %+v after record %d", name, at, i+1)
		}
	}
}

var startOfValue = regexp.MustCompile(`inside the JSON value that starts on line \d+`)

// checkBlanks checks that resuming at the position of each blank entry returns the remaining entries.
func checkBlanks(t *testing.T, src export.Source, whole []string) {
	t.Helper()
	r, err := export.NewReader(src, export.Start, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBlanks(1, 1<<30)
	read := 0
	for e, err := range r.Records(t.Context()) {
		switch {
		case err != nil:
			return
		case !e.Blank:
			read++
			continue
		}
		rest, _ := all(t, src, e.Next)
		want := slices.Clone(whole[read:])
		for _, lines := range [][]string{rest, want} {
			if n := len(lines) - 1; n >= 0 {
				lines[n] = withoutColumn(lines[n])
			}
		}
		if !slices.Equal(rest, want) || e.Next.N != int64(read+1) {
			t.Errorf("%s from blank %+v: got %q, want %q", src.Name, e.Next, rest, want)
		}
	}
}

// withoutColumn removes from an error what is unknown after a resume: the column, and where a JSON value starts.
func withoutColumn(line string) string {
	line = startOfValue.ReplaceAllString(line, "inside a JSON value")
	before, rest, ok := strings.Cut(line, ", column ")
	if !ok {
		return line
	}
	_, after, _ := strings.Cut(rest, ", ")
	return before + ", " + after
}

// checkPath checks that resuming at each position of the records at a path returns the remaining entries: of a stated
// path, and of one of a mapping.
func checkPath(t *testing.T, name string, object []byte, path export.Path) {
	t.Helper()
	stated, mapped := in(name, object), in(name, object)
	stated.Records, mapped.Map = path, located{path}
	for _, src := range []export.Source{stated, mapped} {
		whole, next := all(t, src, export.Start)
		checkBlanks(t, src, whole)
		for i, at := range next {
			rest, _ := all(t, src, at)
			want := slices.Clone(whole[i+1:])
			for _, lines := range [][]string{rest, want} {
				if n := len(lines) - 1; n >= 0 {
					lines[n] = withoutColumn(lines[n])
				}
			}
			if !slices.Equal(rest, want) {
				t.Errorf("%s at %s from %+v: got %q, want %q", name, path, at, rest, want)
			}
		}
	}
}

// TestReader_Wrappings checks the property of FuzzReader for valid exports in all wrappings.
func TestReader_Wrappings(t *testing.T) {
	for format, text := range samples(16) {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			for wrapping, wrap := range wrappings {
				checkResume(t, "a."+format+strings.TrimPrefix(wrapping, "wide"), wrap(text))
			}
			checkResumeAs(t, "a."+format, "gb18030", encoded(t, "gb18030", text)) // it also has a byte-order mark
			unmarked := bytes.ReplaceAll(text, []byte(utf8Mark), nil)
			checkResumeAs(t, "a."+format+".gz", "gbk", zipped(encoded(t, "gbk", unmarked)))
			checkResumeAs(t, "a."+format, "gbk", text) // it is UTF-8 nevertheless
		})
	}
}

// samples returns the texts of sample with Chinese names, and variants that other programs write.
func samples(n int) map[string][]byte {
	forms := sample(n)
	for format, text := range forms {
		forms[format] = bytes.ReplaceAll(text, []byte("Team "), []byte("销售部 "))
	}
	rows := forms["csv"]
	head, _, _ := bytes.Cut(rows, []byte("\n"))
	forms["crcrlf.csv"] = bytes.ReplaceAll(rows, []byte("\r\n"), []byte("\r\r\n"))
	forms["joined.csv"] = slices.Concat(rows, []byte(utf8Mark), rows, []byte(utf8Mark), rows[len(head)+1:])
	forms["joined.jsonl"] = slices.Concat([]byte(utf8Mark), forms["jsonl"], []byte(utf8Mark+utf8Mark), forms["jsonl"])
	forms["joined.json"] = slices.Concat([]byte(utf8Mark), forms["json"], []byte("\n"+utf8Mark), forms["pretty.json"])
	forms["comma.json"] = append(bytes.TrimSuffix(forms["pretty.json"], []byte("]")), ",\n]\n"...)
	objects := bytes.ReplaceAll(forms["pretty.json"], []byte("\n  },\n"), []byte("\n  }\n"))
	forms["objects.json"] = objects[1 : len(objects)-1]
	forms["objects.jsonl"] = forms["objects.json"]
	forms["array.jsonl"] = forms["pretty.json"]
	return forms
}

const utf8Mark = "\xef\xbb\xbf"

// FuzzReader checks that resuming at each position returns the remaining entries, for any bytes, sizes of reads and
// wrappings, and that no input makes the Reader panic or hang.
func FuzzReader(f *testing.F) {
	for format, text := range samples(3) {
		f.Add("."+format[strings.LastIndexByte(format, '.')+1:], text)
	}
	f.Add(".jsonl.gz", append(zipped([]byte(rec("a")+"\n"+rec("b"))), 0, 0, 0))
	f.Add(".jsonl.gz", append(zipped([]byte(rec("a"))), "garbage"...))
	f.Add(".csv", []byte("GroupId,Type,Name\r\nm1,Public,\xd0\xa3\xd4\xb0\r\nm4,Public,\xb2\xe2\xca\xd4\r\n"))
	f.Add(".csv", []byte("Name,Type\r\r\n\xef\xbb\xbf\"a\"\r\r\n\xef\xbb,\xef\xbb\xbf\"Public\"\r\r\n"))
	f.Add(".json", []byte("[\xef\xbb\xbf"+rec("a")+",]\xef\xbb\xbf[]"))
	f.Add(".jsonl", []byte("{\n\"Type\":\"Public\",\n\"Name\":\"a\"}\n{\"Name\""))
	f.Add(".jsonl", []byte(rec("a")+"\n\n"+rec("b")+"\r\nnonsense\n"+rec("c")))
	f.Add(".jsonl", []byte("\xef\xbb\xbf"+rec("a")+"\n\xff\n\x00\n"))
	f.Add(".jsonl", []byte(`{"n":1,"status":"failed","record":{}}`))
	f.Add(".json", []byte("["+rec("a")+",nul, \""+`\"x],",[1,{"a":[]}],`+rec("b")+"]"))
	f.Add(".json",
		[]byte(`{"a":{"groups":[]},"GroupInfo":[{"GroupId":"a","MaxMemberNum":5},{"ErrorCode":10010}],"b":1} {"GroupInfo":[`+
			rec("b")+`,{]}`))
	f.Add(".json", []byte(rec("a")+"\n"+rec("b")))
	f.Add(".csv", []byte("Name,Type\n\"a\nb\",Public\n,,\n\"\"\"\",x\n\"a\"b,c\n\xff,\""))
	f.Add(".json",
		[]byte(`{"x":"[1]","data" : "[`+strings.ReplaceAll(rec("a"), `"`, `\"`)+`\n,\u007b},3 ]" , "y":[]}  {"data":[`+
			rec("b")+`,]}`))
	f.Add(".json", []byte(`{"data":{"a":`+rec("a")+`,"groups":[`+rec("b")+`],"c":1}, "z":{}}{"data":{"groups":{"x":[]}}}`))
	f.Add(".json", []byte(`{"a":`+rec("a")+`, "b" :{"groups":[]},"data":`+rec("b")+`} {}`))
	f.Add(".csv", []byte("群名称,群类型,创建时间\na,公开群,2024/1/31 9:05\n"))
	f.Add(".json", []byte("{ }\n{\"\"")) // at *
	f.Add(".csv", []byte("sep=;\r\nName;Type;\r\na;Public;\r\n;;\r\nb;Public;x\r\n"))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		if !export.IsExport(name) {
			return
		}
		checkResume(t, name, text) // also with the name of compressed data, which it is not
		checkResumeAs(t, name, []string{"gbk", "gb18030", "big5", "shift_jis", "euc-kr", "windows-1252"}[len(text)%6], text)
		checkPath(t, name, text, []export.Path{{"data"}, {"data", "groups"}, {"data", "*"}, {"*"}}[len(text)%4])
		format, wrapping := name, ""
		if len(text) > 0 { // one of the wrappings, by chance
			wrapping = []string{".gz", ".zst", "wide"}[len(text)%3]
		}
		switch {
		case wrapping == "wide" && utf8.Valid(text):
			checkResume(t, format, wrappings[wrapping](text))
		case strings.HasPrefix(wrapping, ".") && export.IsExport(format+wrapping):
			checkResume(t, format+wrapping, wrappings[wrapping](text))
		}
	})
}

// A truncated export yields exactly the records before the end.
func TestReader_TruncatedAtEachByte(t *testing.T) {
	for format, text := range sample(6) {
		name := "a." + format
		whole, _ := all(t, in(name, text), export.Start)
		// One gzip member, because truncation between two members is undetectable.
		for wrapping, object := range map[string][]byte{"": text, ".gz": zipped(text), ".zst": zstded(text)} {
			for n := 1; n < len(object); n++ { // an object of 0 bytes is an empty export
				got, next := all(t, in(name+wrapping, object[:n]), export.Start)
				sound := len(next)
				if wrapping == "" && sound > 0 && format != "json" && format != "pretty.json" {
					sound-- // truncation of the last line is undetectable
				}
				if !slices.Equal(got[:sound], whole[:sound]) {
					t.Fatalf("%s%s cut at byte %d: got %q, want %q", name, wrapping, n, got[:sound], whole[:sound])
				}
				if (wrapping != "" || strings.HasSuffix(format, "json")) && len(got) == len(next) {
					t.Fatalf("%s%s cut at byte %d: got no error", name, wrapping, n)
				}
			}
		}
	}
}
