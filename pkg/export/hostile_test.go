package export_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

// blanks are exports with a record, many bytes without a record, and a second record.
var blanks = []struct{ name, head, piece, tail string }{
	{"blank lines.jsonl", rec("a") + "\n", "\n", rec("b")},
	{"lines of white space.jsonl", rec("a") + "\n", " \t\r\n", rec("b")},
	{"blank rows.csv", "Name,Type\na,Public\n", "\r\n", "b,Public"},
	{"rows of separators.csv", "Name,Type\na,Public\n", ",,,,\n", "b,Public"},
	{"repeated headers.csv", "Name,Type\na,Public\n", "Name,Type\n", "b,Public"},
	{"space before a comma.json", "[" + rec("a"), " ", "," + rec("b") + "]"},
	{"space after a comma.json", "[" + rec("a") + ",", "\n", rec("b") + "]"},
	{"space between arrays.json", "[" + rec("a") + "]", "\t", "[" + rec("b") + "]"},
	{"space in a second array.json", "[" + rec("a") + "][", " ", rec("b") + "]"},
	{"empty arrays.json", "[" + rec("a") + "]", "[]\n", "[" + rec("b") + "]"},
	{"empty objects.json", `{"groups":[` + rec("a") + "]}", `{"groups":[]} `, `{"groups":[` + rec("b") + "]}"},
	{"space between objects.json", "{\n" + rec("a")[1:], "\n", "{\n" + rec("b")[1:]},
}

func open(t *testing.T, src export.Source, at export.Position) *export.Reader {
	t.Helper()
	r, err := export.NewReader(src, at, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A repeater reads a piece again and again, without an end.
type repeater struct {
	piece []byte
	at    int
}

func (r *repeater) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.piece[(r.at+i)%len(r.piece)]
	}
	r.at = (r.at + len(p)) % len(r.piece)
	return len(p), nil
}

func repeat(piece string, size int64) io.Reader {
	block := []byte(strings.Repeat(piece, 1+64<<10/len(piece)))
	return io.LimitReader(&repeater{piece: block}, size/int64(len(piece))*int64(len(piece)))
}

// compressedBlanks returns an export with size bytes between its records, compressed with zstd.
func compressedBlanks(t *testing.T, head, piece, tail string, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	text := io.MultiReader(strings.NewReader(head), repeat(piece, size), strings.NewReader(tail))
	if _, err := io.Copy(w, text); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return b.Bytes()
}

func TestReader_BlankEntries(t *testing.T) {
	for _, row := range blanks {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			object := compressedBlanks(t, row.head, row.piece, row.tail, 5<<19)
			src := in(row.name+".zst", object)
			r := open(t, src, export.Start)
			r.SetBlanks(1<<20, 1<<30)
			var at []export.Position
			var names []string
			for e, err := range r.Records(t.Context()) {
				switch {
				case err != nil:
					t.Fatal(err)
				case e.Blank:
					at = append(at, e.Next)
				default:
					names = append(names, e.Record.Name)
				}
			}
			if got := strings.Join(names, ""); got != "ab" || len(at) != 2 {
				t.Fatalf("got records %q and %d blank entries, want %q and 2", got, len(at), "ab")
			}
			lines, _ := all(t, src, at[1])
			if len(lines) != 1 || !strings.HasPrefix(lines[0], "2 ") || !strings.HasSuffix(lines[0], " valid b") {
				t.Errorf("got %q after %+v, want record b", lines, at[1])
			}
		})
	}
}

// The context is checked although only a few KB of the object are read.
func TestReader_ContextInBlanks(t *testing.T) {
	errEnd := errors.New("time is up")
	for _, row := range blanks {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			src := in(row.name+".zst", compressedBlanks(t, row.head, row.piece, row.tail, 1<<20))
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			read := 0
			for e, err := range open(t, src, export.Start).Records(ctx) {
				if read++; read == 1 {
					cancel(errEnd)
					continue
				}
				if !errors.Is(err, errEnd) {
					t.Fatalf("got %+v, %v after the context was done, want %v", e, err, errEnd)
				}
			}
			if read != 2 {
				t.Errorf("got %d entries, want a record and an error", read)
			}
		})
	}
}

func TestReader_BlankLimit(t *testing.T) {
	const limit, size = 2 << 20, 5 << 20
	long := []struct{ name, head, piece, tail string }{
		{"a quoted cell.csv", "Name,Type\na,Public\n\"", "x", "\",Public\nb,Public"},
		{"a string.json", "[" + rec("a") + `,{"x":"`, "x", `"},` + rec("b") + "]"},
		{"a line.jsonl", rec("a") + "\n", "x", "\n" + rec("b")},
		{"space before the first record.json", "", " ", "[" + rec("a") + "]"},
		{"a string before the first record.json", `{"x":"`, "x", `","groups":[` + rec("a") + "]}"},
	}
	for _, row := range append(long, blanks...) {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			src := in(row.name+".zst", compressedBlanks(t, row.head, row.piece, row.tail, size))
			r := open(t, src, export.Start)
			r.SetBlanks(1<<19, limit)
			var got error
			for e, err := range r.Records(t.Context()) {
				if got = err; err == nil && !e.Blank && e.Record.Name != "a" {
					t.Errorf("got record %+v", e)
				}
			}
			if got == nil || !strings.Contains(got.Error(), fmt.Sprintf("limit %d: remove blank lines", limit)) {
				t.Errorf("got %v, want the limit", got)
			}
		})
	}
}

// What earlier runs have read does not count.
func TestReader_BlankLimitAfterResume(t *testing.T) {
	object := compressedBlanks(t, rec("a")+"\n", rec("x")+"\n", rec("b")+"\n", 1<<20)
	_, next := all(t, in("a.jsonl.zst", object), export.Start)
	r := open(t, in("a.jsonl.zst", object), next[len(next)-2])
	r.SetBlanks(1<<16, 1<<18)
	for e, err := range r.Records(t.Context()) {
		if err != nil || e.Record.Name != "b" {
			t.Errorf("got %+v, %v, want record b", e, err)
		}
	}
}
