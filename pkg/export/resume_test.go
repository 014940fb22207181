package export_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
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

var resumeSize = flag.Int64("resume.size", 4<<20, "size in bytes of the exports of TestReader_ResumeCost")

// TestReader_ResumeCost measures the cost of the first record after resuming at 10 %, 50 % and 99 % of a large export
// and before its last ten records. In an uncompressed export, resuming must read only the head and a range. -v shows
// the times.
func TestReader_ResumeCost(t *testing.T) {
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
			return r.Records(t.Context())
		}
		const each = 1000          // keep a position after each 1000 records
		var some []export.Position // kept positions
		var last [10]export.Position
		n := 0
		start := time.Now()
		for e, err := range records(export.Start) {
			if err != nil || e.Problem != nil {
				t.Fatal(form, err, e.Problem)
			}
			if n%each == 0 {
				some = append(some, e.Next)
			}
			last[n%len(last)] = e.Next
			n++
		}
		t.Logf("%s: %d records of %d bytes of text: read in %v", form, n, *resumeSize,
			time.Since(start).Round(time.Millisecond))
		for _, row := range []struct {
			where string
			at    export.Position
		}{
			{"10 %", some[len(some)/10]},
			{"50 %", some[len(some)/2]},
			{"99 %", some[len(some)*99/100]},
			{"the end", last[n%len(last)]},
		} {
			src.read = 0
			rest := 0
			var took time.Duration
			read := int64(0)
			start := time.Now()
			for e, err := range records(row.at) {
				if err != nil || e.Problem != nil {
					t.Fatal(form, err, e.Problem)
				}
				if rest == 0 {
					took, read = time.Since(start), src.read
				}
				rest++
				if rest == len(last) {
					break
				}
			}
			t.Logf("%s: resuming at %s took %.2f ms and %d bytes", form, row.where, float64(took.Microseconds())/1000, read)
			if want := min(int64(n)-row.at.N+1, int64(len(last))); int64(rest) != want {
				t.Errorf("%s: got %d records from %+v of %d, want %d", form, rest, row.at, n, want)
			}
			if compression == "" && read > 256<<10 {
				t.Errorf("%s: got %d bytes read to resume at byte %d, want a range", form, read, row.at.Offset)
			}
		}
	}
}

// write writes an export of resumeSize bytes that repeats the records of text.
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
	for size := int64(len(body)); size < *resumeSize; size += int64(len(body)) {
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

// An onDisk is an export in a file. It counts the bytes read.
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

// Progress is read from positions. A position in a compressed export counts the bytes of the object that were
// decompressed, not those that were read: a small export is read at once.
func TestPosition_DoneOfCompressedExport(t *testing.T) {
	var b bytes.Buffer
	random := rand.New(rand.NewPCG(1, 2))
	for range 12_000 {
		fmt.Fprintf(&b, `{"Type":"Public","Name":"%016x","Owner_Account":"u%d"}`+"\n", random.Uint64(), random.IntN(999))
	}
	const ahead = 192 << 10 // bytes of text that are decompressed before they are needed, at most
	most := 100*ahead/b.Len() + 1
	for name, object := range map[string][]byte{"a.jsonl.gz": zipped(b.Bytes()), "a.jsonl.zst": zstded(b.Bytes())} {
		_, next := all(t, in(name, object), export.Start)
		for want := 10; want <= 100; want += 10 {
			got := int(100 * next[len(next)*want/100-1].Done() / int64(len(object)))
			if got < want-1 || got > min(100, want+most) {
				t.Errorf("%s: after %d %% of the records, got %d %% done, want at most %d more", name, want, got, most)
			}
		}
	}
}
