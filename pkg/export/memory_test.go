package export_test

import (
	"archive/zip"
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"

	"groupimport/pkg/export"
)

// peakOf reads a whole export and returns its number of records, the largest live heap above the one before in bytes,
// and the last error.
func peakOf(t *testing.T, src export.Source) (records int, peak int64, last error) {
	t.Helper()
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := live()
	r := open(t, src, export.Start)
	next := int64(0)
	for e, err := range r.Records(t.Context()) {
		if last = err; err != nil {
			break
		}
		if !e.Blank {
			records++
		}
		if e.Next.Offset >= next { // a collection for each 4 MiB
			next = e.Next.Offset + 4<<20
			peak = max(peak, live()-before)
		}
	}
	runtime.KeepAlive(r)
	return records, max(peak, live()-before), last
}

// Memory does not grow with a document, its place of the records, or a string that holds them.
func TestReader_MemoryOfDocuments(t *testing.T) {
	const size = 12 << 20
	record := rec("a")
	document := `{"data":{"group":` + record + `}}`
	quoted := strings.ReplaceAll(record, `"`, `\"`)
	for name, row := range map[string]struct{ path, head, piece, tail string }{
		"an array":         {"data.groups", `{"data":{"x":[` + record + `],"groups":[`, record + ",\n", record + `]},"z":1}`},
		"an object":        {"groups.*", `{"x":[1],"groups":{`, `"a":` + record + ",", `"b":` + record + `}}`},
		"a string":         {"tinfos", `{"code":200,"tinfos":"[`, quoted + `,\n`, quoted + `]"}`},
		"many documents":   {"data.group", "", document + "\n", document},
		"a long way there": {"data.groups", `{"x":[`, record + ",", `1],"data":{"groups":[` + record + `]}}`},
		"a long rest":      {"data.groups", `{"data":{"groups":[` + record + `],"x":"`, "0123456789abcdef", `"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			src := from("a.json", func() io.Reader {
				return io.MultiReader(strings.NewReader(row.head), repeat(row.piece, size), strings.NewReader(row.tail))
			})
			src.Records = at(t, row.path)
			records, peak, err := peakOf(t, src)
			want := size/len(row.piece) + 1
			if strings.HasPrefix(name, "a long") {
				want = 1
			}
			if err != nil || records != want {
				t.Errorf("got %d records, %v, want %d", records, err, want)
			}
			if peak > 6<<20 {
				t.Errorf("got %d MiB, want 6 at most", peak>>20)
			}
		})
	}
}

// Memory does not grow with a file of an archive, or with what a bomb holds: records, blanks, or one record.
func TestReader_MemoryOfZip(t *testing.T) {
	const size = 12 << 20
	record := rec("a")
	for name, row := range map[string]struct {
		head, piece, tail string
		want              int
	}{
		"records":    {"[", record + ",", record + "]", size/(len(record)+1) + 1},
		"one record": {`[{"a":"`, "x", `"},` + record + "]", 2},
		"no array":   {"", "x", "", 0},
		"a string":   {`["`, "x", `",` + record + "]", 2},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := zip.NewWriter(&b)
			out, err := w.Create("channels.json")
			if err == nil {
				_, err = io.Copy(out, io.MultiReader(
					strings.NewReader(row.head), repeat(row.piece, size), strings.NewReader(row.tail)))
			}
			if err != nil || w.Close() != nil {
				t.Fatal(err)
			}
			src := archive(b.Bytes())
			records, peak, err := peakOf(t, src)
			if records != row.want || (err == nil) != (row.want > 0) {
				t.Errorf("got %d records, %v, want %d", records, err, row.want)
			}
			if peak > 6<<20 {
				t.Errorf("got %d MiB, want 6 at most", peak>>20)
			}
		})
	}
}
