// Command zip packs programs into an archive for a cloud function: the same bytes for the same programs,
// on every machine. Its arguments are the archive and the files, which lie at its root and may be executed.
package main

import (
	"archive/zip"
	"compress/flate"
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

func pack(archive string, files []string) error {
	out, err := os.Create(archive) //nolint:gosec // named by whoever builds
	if err != nil {
		return err
	}
	defer out.Close()
	w := zip.NewWriter(out)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	for _, file := range files {
		// The first time that a zip can tell; both platforms need the mode, which some packers lose.
		h := &zip.FileHeader{Name: filepath.Base(file), Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
		h.SetMode(0o755)
		entry, err := w.CreateHeader(h)
		if err != nil {
			return err
		}
		src, err := os.Open(file) //nolint:gosec // named by whoever builds
		if err != nil {
			return err
		}
		defer src.Close()
		if _, err := io.Copy(entry, src); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return out.Close()
}
