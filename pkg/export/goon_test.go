package export_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

var goonSize = flag.Int64("goon.size", 4<<20, "bytes of the exports that TestGoingOnNearTheEnd goes on in")

// TestGoingOnNearTheEnd reads what a record near the end of a large export costs: a plain one a range and the head, not all
// that stands before. With -v it tells how long it took.
func TestGoingOnNearTheEnd(t *testing.T) {
	texts := sample(1000)
	for _, form := range []string{"jsonl", "json", "csv", "jsonl.gz", "jsonl.zst"} {
		format, compression, _ := strings.Cut(form, ".")
		name := filepath.Join(t.TempDir(), "big."+form)
		write(t, name, format, compression, texts[format])
		src := &onDisk{name: name}
		records := func(at export.Position) func(func(export.Entry, error) bool) {
			r, err := export.NewReader(export.Source{Name: name, Open: src.open}, at, group.DocumentLimits)
			if err != nil {
				t.Fatal(err)
			}
			return r.Records()
		}
		var last [10]export.Position
		n := 0
		start := time.Now()
		for e, err := range records(export.Start) {
			if err != nil || e.Problem != nil {
				t.Fatal(form, err, e.Problem)
			}
			last[n%len(last)] = e.Next
			n++
		}
		whole := time.Since(start)
		at := last[n%len(last)] // behind the tenth record from the end
		src.read = 0
		start = time.Now()
		rest := 0
		for e, err := range records(at) {
			if err != nil || e.Problem != nil {
				t.Fatal(form, err, e.Problem)
			}
			rest++
		}
		t.Logf("%-9s %d records of %d bytes of text: read in %v; going on at byte %d in %v, with %d bytes read", form, n, *goonSize,
			whole.Round(time.Millisecond), at.Offset, time.Since(start).Round(10*time.Microsecond), src.read)
		if rest != len(last)-1 {
			t.Errorf("%s: got %d records from %+v, want %d", form, rest, at, len(last)-1)
		}
		if compression == "" && src.read > 256<<10 {
			t.Errorf("%s: got %d bytes read to go on at byte %d, want a range", form, src.read, at.Offset)
		}
	}
}

// write writes an export of goonSize bytes of text that repeats the records of text.
func write(t *testing.T, name, format, compression string, text []byte) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var w io.WriteCloser = f
	switch compression {
	case "gz":
		w, _ = gzip.NewWriterLevel(f, gzip.BestSpeed)
	case "zst":
		w, _ = zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest))
	}
	out := bufio.NewWriterSize(w, 1<<20)
	head, body, separator, tail := "", string(text), "", ""
	switch format {
	case "json":
		head, body, separator, tail = "[", body[1:len(body)-1], ",", "]"
	case "csv":
		first, rest, _ := strings.Cut(body, "\n")
		head, body = first+"\n", rest
	}
	fmt.Fprint(out, head, body)
	for size := int64(len(body)); size < *goonSize; size += int64(len(body)) {
		fmt.Fprint(out, separator, body)
	}
	fmt.Fprint(out, tail)
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	if compression != "" {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// An onDisk is an export in a file, and how many bytes of it have been read.
type onDisk struct {
	name string
	read int64
}

func (d *onDisk) open(offset int64) io.ReadCloser {
	f, err := os.Open(d.name)
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		panic(err)
	}
	return &counted{f, d}
}

type counted struct {
	*os.File
	of *onDisk
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	c.of.read += int64(n)
	return n, err
}
