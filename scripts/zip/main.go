// Command zip packs files into an archive for a cloud function: the same bytes for the same files, on every machine
// with the same Go.
//
//	go run ./scripts/zip ARCHIVE FILE…
//
// The files lie at the root of the archive and are executable.
package main

import (
	"archive/zip"
	"cmp"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: zip ARCHIVE FILE…")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "zip:", err)
		os.Exit(1)
	}
}

// pack writes a temporary file and renames it, so that archive is never incomplete.
func pack(archive string, files []string) error {
	out, err := os.CreateTemp(filepath.Dir(archive), "."+filepath.Base(archive)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) // which is gone after the rename
	err = write(out, files)
	err = cmp.Or(err, out.Chmod(0o644))
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), archive)
}

func write(to io.Writer, files []string) error {
	w := zip.NewWriter(to)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		// 1980 is the first year of the format. Both platforms need the mode.
		h := &zip.FileHeader{
			Name: filepath.Base(file), Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC),
		}
		h.SetMode(0o755)
		entry, err := w.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := entry.Write(content); err != nil {
			return err
		}
	}
	return w.Close()
}
