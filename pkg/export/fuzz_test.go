package export_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"groupimport/pkg/export"
)

// wrappings are the ways in which a text comes as an object.
var wrappings = map[string]func(text []byte) []byte{
	"":     func(text []byte) []byte { return text },
	".gz":  func(text []byte) []byte { return append(zipped(text[:len(text)/2]), zipped(text[len(text)/2:])...) },
	".zst": zstded,
	"wide": func(text []byte) []byte { return wide(string(text), len(text)%2 == 0) },
}

// goesOn checks that reading on from any position gives the rest, however the bytes come.
func goesOn(t *testing.T, name string, object []byte) {
	t.Helper()
	whole, next := all(t, in(name, object), export.Start)
	if slow, _ := all(t, from(name, iotest.HalfReader(bytes.NewReader(object))), export.Start); !slices.Equal(slow, whole) {
		t.Errorf("%s, in halves: got %q, want %q", name, slow, whole)
	}
	for i, at := range next {
		src := in(name, object)
		open := src.Open
		src.Open = func(offset int64) io.ReadCloser {
			if offset > int64(len(object)) {
				t.Fatalf("%s: got a range from byte %d of %d", name, offset, len(object))
			}
			// By single bytes, so that little stands in the window and the rest is a range.
			return io.NopCloser(iotest.OneByteReader(open(offset)))
		}
		rest, _ := all(t, src, at)
		want := slices.Clone(whole[i+1:])
		// How far into its line an error lies is not known from a position in the middle of it.
		for _, lines := range [][]string{rest, want} {
			if n := len(lines) - 1; n >= 0 {
				lines[n] = withoutColumn(lines[n])
			}
		}
		if fmt.Sprintf("%q", rest) != fmt.Sprintf("%q", want) {
			t.Errorf("%s from %+v: got %q, want %q", name, at, rest, want)
		}
		if at.N != int64(i+2) {
			t.Errorf("%s: got position %+v behind record %d", name, at, i+1)
		}
	}
}

func withoutColumn(line string) string {
	before, rest, ok := strings.Cut(line, ", column ")
	if !ok {
		return line
	}
	_, after, _ := strings.Cut(rest, ", ")
	return before + ", " + after
}

// TestReaderInEveryWrapping is FuzzReader's property for sound exports in all wrappings.
func TestReaderInEveryWrapping(t *testing.T) {
	for format, text := range sample(40) {
		for wrapping, wrap := range wrappings {
			goesOn(t, "a."+format+strings.TrimPrefix(wrapping, "wide"), wrap(text))
		}
	}
}

// FuzzReader: reading on from any position gives the rest, whatever the bytes are, however they come, and in whatever
// they are wrapped; and no bytes make it panic or hang.
func FuzzReader(f *testing.F) {
	for format, text := range sample(3) {
		f.Add("."+format[strings.LastIndexByte(format, '.')+1:], text)
	}
	f.Add(".jsonl", []byte(rec("a")+"\n\n"+rec("b")+"\r\nnonsense\n"+rec("c")))
	f.Add(".jsonl", []byte("\xef\xbb\xbf"+rec("a")+"\n\xff\n\x00\n"))
	f.Add(".jsonl", []byte(`{"n":1,"status":"failed","record":{}}`))
	f.Add(".json", []byte("["+rec("a")+",nul, \""+`\"x],",[1,{"a":[]}],`+rec("b")+"]"))
	f.Add(".json", []byte(`{"a":{"groups":[]},"GroupInfo":[{"GroupId":"a","MaxMemberNum":5},{"ErrorCode":10010}],"b":1} {"GroupInfo":[`+rec("b")+`,{]}`))
	f.Add(".json", []byte(rec("a")+"\n"+rec("b")))
	f.Add(".csv", []byte("Name,Type\n\"a\nb\",Public\n,,\n\"\"\"\",x\n\"a\"b,c\n\xff,\""))
	f.Add(".csv", []byte("sep=;\r\nName;Type;\r\na;Public;\r\n;;\r\nb;Public;x\r\n"))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		if !export.Reads(name) {
			return
		}
		goesOn(t, name, text) // with a compression in its name too, though there is none
		format, wrapping := name, ""
		if len(text) > 0 { // one of the wrappings, by chance
			wrapping = []string{".gz", ".zst", "wide"}[len(text)%3]
		}
		switch {
		case wrapping == "wide" && utf8.Valid(text):
			goesOn(t, format, wrappings[wrapping](text))
		case strings.HasPrefix(wrapping, "."):
			goesOn(t, format+wrapping, wrappings[wrapping](text))
		}
	})
}

// Cut at any byte, an export yields what stands before the cut and nothing else.
func TestCutAtAnyByte(t *testing.T) {
	for format, text := range sample(6) {
		name := "a." + format
		whole, _ := all(t, in(name, text), export.Start)
		// One gzip member: between two a cut cannot be told from the end.
		for wrapping, object := range map[string][]byte{"": text, ".gz": zipped(text), ".zst": zstded(text)} {
			for n := range len(object) {
				got, next := all(t, in(name+wrapping, object[:n]), export.Start)
				sound := len(next)
				if wrapping == "" && sound > 0 && format != "json" && format != "pretty.json" {
					sound-- // the last line may be cut without anybody being able to tell
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
