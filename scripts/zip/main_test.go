package main

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestPack_SameBytesAndExecutable(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "bootstrap")
	content := bytes.Repeat([]byte("a program "), 10_000)
	if err := os.WriteFile(program, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var packed [2][]byte
	for i := range packed {
		archive := filepath.Join(dir, "a.zip")
		if err := pack(archive, []string{program}); err != nil {
			t.Fatal(err)
		}
		var err error
		if packed[i], err = os.ReadFile(archive); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(packed[0], packed[1]) {
		t.Error("got other bytes the second time")
	}
	r, err := zip.NewReader(bytes.NewReader(packed[0]), int64(len(packed[0])))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.File) != 1 || r.File[0].Name != "bootstrap" || r.File[0].Mode() != 0o755 {
		t.Fatalf("got %+v, want bootstrap alone, executable", r.File)
	}
	f, err := r.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes and %v, want the program's %d", len(got), err, len(content))
	}
}

func TestPack_KeepsTheOldArchiveIfItFails(t *testing.T) {
	dir := t.TempDir()
	archive := filepath.Join(dir, "a.zip")
	if err := os.WriteFile(archive, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(dir, "good")
	if err := os.WriteFile(good, []byte("good"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := pack(archive, []string{good, filepath.Join(dir, "missing")}); err == nil {
		t.Error("got no error for a missing file")
	}
	if got, err := os.ReadFile(archive); err != nil || string(got) != "old" {
		t.Errorf("got %q, %v, want the old archive", got, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".a.zip*")); left != nil {
		t.Errorf("got %q left behind", left)
	}
}
