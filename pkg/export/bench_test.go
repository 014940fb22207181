package export_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

// sample returns an export of n records in each format.
func sample(n int) map[string][]byte {
	var jsonl, array, pretty, rows bytes.Buffer
	rows.WriteString("GroupId,Type,Owner_Account,Name,Introduction,MaxMemberCount,ApplyJoinOption," +
		"AppDefinedData.source,CreateTime\r\n")
	for i := range n {
		record := fmt.Sprintf(`{"GroupId":"g-%08d","Type":"Public","Owner_Account":"user-%d","Name":"Team %d",`+
			`"Introduction":"Where team %d talks about what it does and what it does not do.","MaxMemberCount":500,`+
			`"ApplyJoinOption":"FreeAccess","AppDefinedData":[{"Key":"source","Value":"measure"}],"CreateTime":1448357837}`, i,
			i%500, i, i)
		jsonl.WriteString(record + "\n")
		if i > 0 {
			array.WriteByte(',')
		}
		array.WriteString(record)
		fmt.Fprintf(&rows,
			"g-%08d,Public,user-%d,Team %d,\"Where team %d talks about what it does, and what it does not "+
				"do.\",500,FreeAccess,measure,1448357837\r\n", i, i%500, i, i)
	}
	if err := json.Indent(&pretty, append(append([]byte("["), array.Bytes()...), ']'), "", "  "); err != nil {
		panic(err)
	}
	return map[string][]byte{
		"jsonl": jsonl.Bytes(), "json": append(append([]byte("["), array.Bytes()...), ']'), "csv": rows.Bytes(),
		"pretty.json": pretty.Bytes(),
	}
}

func zipped(text []byte) []byte {
	var b bytes.Buffer
	w, _ := stdgzip.NewWriterLevel(&b, stdgzip.DefaultCompression)
	w.Write(text)
	w.Close()
	return b.Bytes()
}

var zstdWriter, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))

func zstded(text []byte) []byte { return zstdWriter.EncodeAll(text, nil) }

// BenchmarkReader reads valid records, in MB/s of text.
func BenchmarkReader(b *testing.B) {
	texts := sample(20000)
	for _, format := range []string{"jsonl", "json", "pretty.json", "csv"} {
		for _, compression := range []string{"", ".gz", ".zst"} {
			text := texts[format]
			object := text
			switch compression {
			case ".gz":
				object = zipped(text)
			case ".zst":
				object = zstded(text)
			}
			b.Run(format+compression, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					r, err := export.NewReader(in("a."+format+compression, object), export.Start, group.DocumentLimits)
					if err != nil {
						b.Fatal(err)
					}
					for e, err := range r.Records(b.Context()) {
						if err != nil || e.Problem != nil {
							b.Fatal(err, e.Problem)
						}
					}
				}
			})
		}
	}
}

// BenchmarkStandardLibrary reads the same files with encoding/json and encoding/csv, without validation, and measures
// the decompressors alone.
func BenchmarkStandardLibrary(b *testing.B) {
	texts := sample(20000)
	type datum struct {
		Key   string `json:"Key"`
		Value string `json:"Value"`
	}
	type record struct {
		GroupID         string  `json:"GroupId"`
		Type            string  `json:"Type"`
		OwnerAccount    string  `json:"Owner_Account"`
		Name            string  `json:"Name"`
		Introduction    string  `json:"Introduction"`
		ApplyJoinOption string  `json:"ApplyJoinOption"`
		MaxMemberCount  int64   `json:"MaxMemberCount"`
		CreateTime      int64   `json:"CreateTime"`
		AppDefinedData  []datum `json:"AppDefinedData"`
	}
	run := func(name string, size int, f func() error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("json", len(texts["json"]), func() error {
		dec := json.NewDecoder(bytes.NewReader(texts["json"]))
		if _, err := dec.Token(); err != nil {
			return err
		}
		for dec.More() {
			var r record
			if err := dec.Decode(&r); err != nil {
				return err
			}
		}
		return nil
	})
	run("csv", len(texts["csv"]), func() error {
		r := csv.NewReader(bytes.NewReader(texts["csv"]))
		for {
			if _, err := r.Read(); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
	for _, format := range []string{"jsonl", "csv"} {
		gz, zst := zipped(texts[format]), zstded(texts[format])
		run("gzip alone "+format, len(texts[format]), func() error {
			r, err := gzip.NewReader(bytes.NewReader(gz))
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			return err
		})
		run("zstd alone "+format, len(texts[format]), func() error {
			r, err := zstd.NewReader(bytes.NewReader(zst), zstd.WithDecoderConcurrency(1))
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = io.Copy(io.Discard, r)
			return err
		})
	}
}
