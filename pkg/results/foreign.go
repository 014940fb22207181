package results

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"groupimport/pkg/blob"
	"groupimport/pkg/outcome"
)

const (
	reportMark = "groupimport" // in the footer of every report
	maxReport  = 2 << 20       // bytes; a report has at most 1.5 MB
)

// CheckForeign returns an error if an object has the name of an output but was not written by this program. It is for
// an export without a work folder: an import would replace or remove the object. Results without their work folder
// are not foreign: their outcomes are carried over.
func (d Dir) CheckForeign(ctx context.Context) error {
	for _, key := range []string{d.Results(), d.Failures()} {
		for line, err := range Lines(ctx, d.Bucket, key) {
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err != nil {
				return err
			}
			if outcome.Scan(line).N == 0 {
				return foreignError(key)
			}
			break
		}
	}
	page, _, err := blob.ReadSlice(ctx, d.Bucket, d.Report(), "", 0, maxReport, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !bytes.Contains(page, []byte(reportMark)) {
		err = foreignError(d.Report())
	}
	return err
}

// CheckNew reports whether there are neither results nor, with all, a dead-letter file or a report. It requests all of
// them at the same time.
func (d Dir) CheckNew(ctx context.Context, all bool) (isNew bool, err error) {
	keys := []string{d.Results()}
	if all {
		keys = append(keys, d.Failures(), d.Report())
	}
	var found atomic.Bool
	group := errgroup.Group{}
	for _, key := range keys {
		group.Go(func() error {
			_, err := d.Bucket.Stat(ctx, key)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			found.Store(true)
			return err
		})
	}
	err = group.Wait()
	return !found.Load(), err
}

// PutReport writes the report, of a limited size, with the text that write writes. It logs errors, also if the object
// at its key is of another program, because an import must not fail without its report: the next round of retries, or
// another event for the same version, writes it again.
func (d Dir) PutReport(ctx context.Context, write func(io.Writer) error) {
	var page bytes.Buffer
	err := write(&page)
	if err == nil {
		err = d.put(ctx, d.Report(), page.Bytes(), func(data []byte) bool {
			return bytes.Contains(data, []byte(reportMark))
		})
	}
	if err != nil {
		d.log().WarnContext(ctx, "report not written", "key", d.Report(), "err", err)
	}
}

// putLetters writes the dead-letter file. With [Dir.IsListed], the error says so if the object at its key is of another
// program.
func (d Dir) putLetters(ctx context.Context, lines []byte) error {
	return d.put(ctx, d.Failures(), lines, func(data []byte) bool {
		first, _, _ := bytes.Cut(data, []byte("\n"))
		n := outcome.Scan(first).N
		return n > 0
	})
}

// put writes an output. With [Dir.IsListed], it replaces only an output that this program wrote.
func (d Dir) put(ctx context.Context, key string, data []byte, isOwn func([]byte) bool) error {
	if d.IsNew && d.IsListed {
		if err := d.Bucket.Create(ctx, key, data); !errors.Is(err, fs.ErrExist) {
			return err
		}
		found, _, err := blob.ReadSlice(ctx, d.Bucket, key, "", 0, maxReport, nil)
		switch {
		case err != nil:
			return err
		case !isOwn(found):
			return foreignError(key)
		}
	}
	return d.Bucket.Put(ctx, key, bytes.NewReader(data))
}

func foreignError(key string) error {
	return fmt.Errorf("%q has the name of an output of the import but was not written by it: move it away, or rename "+
		"the export", key)
}
