package results

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

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
			if n, _ := outcome.Scan(line); n == 0 {
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

func foreignError(key string) error {
	return fmt.Errorf("%q has the name of an output of the import but was not written by it: move it away, or rename "+
		"the export", key)
}
