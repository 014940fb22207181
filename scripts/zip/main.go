// Command zip packs programs into an archive for a cloud function: the same bytes for the same programs,
// on every machine. Its arguments are the archive and the files, which lie at its root and may be executed.
//
// It is a module of its own, for the sake of its compressor. Zopfli takes the better part of a minute where
// compress/flate takes a second, and leaves 5 % less.
package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/foobaz/go-zopfli/zopfli"
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
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return &deflater{to: w}, nil })
	for _, file := range files {
		// The first time that a zip can tell; both platforms need the mode, which some packers lose.
		h := &zip.FileHeader{Name: filepath.Base(file), Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
		h.SetMode(0o755)
		entry, err := w.CreateHeader(h)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(file) //nolint:gosec // named by whoever builds
		if err != nil {
			return err
		}
		if _, err := entry.Write(content); err != nil {
			return err
		}
	}
	if err := errors.Join(w.Close(), out.Close()); err != nil {
		return err
	}
	return check(archive)
}

// A deflater compresses what is written to it once it is closed.
type deflater struct {
	bytes.Buffer
	to io.Writer
}

func (d *deflater) Close() error {
	options := zopfli.DefaultOptions()
	options.NumIterations = 1       // 5 take half as long again and leave 0.2 % less
	options.BlockSplittingMax = 200 // by default 15 blocks, which is too few for a whole program: 1.5 % more
	return zopfli.DeflateCompress(&options, d.Bytes(), d.to)
}

// check reads the archive to its end, with the checksums, as whoever gets it will.
func check(archive string) error {
	r, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, f := range r.File {
		content, err := f.Open()
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, content); err != nil { //nolint:gosec // it was just made
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		content.Close()
	}
	return nil
}
