package mapping_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"groupimport/pkg/export"
	"groupimport/pkg/mapping"
)

func sourceOf(name string, text []byte) export.Source {
	return export.Source{Name: name, Open: func(offset int64) io.ReadCloser {
		return io.NopCloser(bytes.NewReader(text[offset:]))
	}}
}

// The first records of each sample tell its system, also compressed, and of an export that is longer than what is read.
func TestDetectExport_Samples(t *testing.T) {
	for file := range samples {
		want, _, _ := strings.Cut(file, "/")
		if want == "get_group_info" {
			want = "tencent" // reads the same and more
		}
		text := sample(t, file)
		long := text
		if strings.HasSuffix(file, ".jsonl") {
			long = bytes.Repeat(append(bytes.TrimSpace(text), '\n'), 1+2<<20/len(text))
		}
		var zipped bytes.Buffer
		w := gzip.NewWriter(&zipped)
		if _, err := w.Write(text); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		for name, object := range map[string][]byte{file: text, file + ".gz": zipped.Bytes(), "long." + file: long} {
			if got, err := mapping.DetectExport(t.Context(), sourceOf(name, object)); got != want || err != nil {
				t.Errorf("%s: got %q %v, want %s", name, got, err, want)
			}
		}
	}
}

// Nothing is detected in records of one's own, and in a mixture.
func TestDetectExport_Others(t *testing.T) {
	const channel = `{"guid":"a","name":"a","type":"public"}`
	for name, text := range map[string]string{
		"own records":             `{"Type":"Public","Name":"a","GroupId":"a"}`,
		"own members":             `{"GroupId":"a","Member_Account":"u","Role":"Admin"}`,
		"an own record among all": channel + "\n" + `{"Type":"Public","Name":"a"}`,
		"two systems":             channel + "\n" + `{"groupID":"1","userID":"u","roleLevel":60}`,
		"a dead-letter file":      `{"n":1,"status":"rejected","record":{"foreign":` + channel + `}}`,
		"nothing":                 "",
		"no JSON":                 "x",
	} {
		if got, err := mapping.DetectExport(t.Context(), sourceOf("a.jsonl", []byte(text))); got != "" || err != nil {
			t.Errorf("%s: got %q %v, want none", name, got, err)
		}
	}
	if got, err := mapping.DetectExport(t.Context(), sourceOf("a.csv", []byte("Type,Name\nPublic,a\n"))); got != "" || err != nil {
		t.Errorf("CSV: got %q %v, want none", got, err)
	}
	broken := errors.New("broken")
	src := export.Source{Name: "a.json", Open: func(int64) io.ReadCloser { return io.NopCloser(iotest.ErrReader(broken)) }}
	if _, err := mapping.DetectExport(t.Context(), src); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the store", err)
	}
}
