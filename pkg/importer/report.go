package importer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"groupimport/pkg/report"
	"groupimport/pkg/results"
)

// A page makes the report of an import that is through, while its results are written.
type page struct {
	*report.Builder
	*Importer
	dir results.Dir
}

func (i *Importer) page(dir results.Dir) *page {
	return &page{report.New(), i, dir}
}

// options are those of the reports that this importer writes.
func (i *Importer) options() report.Options { return report.Options{Folder: i.Folder} }

// Report implements [results.Reporter].
func (p *page) Report(ctx context.Context, m results.Manifest) {
	p.putReport(ctx, p.dir, func(w io.Writer) error { return p.Write(w, p.dir.Names, &m, p.options()) })
}

// putReport writes the report. An import does not fail for want of it: it is made anew by the next round,
// when the same version of the export is dropped again, or by [WriteReport].
func (i *Importer) putReport(ctx context.Context, dir results.Dir, write func(io.Writer) error) {
	var b bytes.Buffer // bounded by the page's size
	err := write(&b)
	if err == nil {
		err = i.Bucket.Put(ctx, dir.Report(), &b)
	}
	if err != nil {
		i.log().WarnContext(ctx, "report not written", "key", dir.Report(), "err", err)
	}
}

// reportProgress writes the report of an import that is not through, at the end of a run.
func (i *Importer) reportProgress(ctx context.Context, dir results.Dir, state results.State, reason string, cp *results.Checkpoint) {
	s := report.Status{Key: dir.Export, Progress: results.ProgressOf(state, reason, cp), All: cp.Runs}
	i.putReport(ctx, dir, func(w io.Writer) error { return report.WriteProgress(w, &s, i.options()) })
}

// remakeReport writes the report of an import that is through from its results, if there is none.
func (i *Importer) remakeReport(ctx context.Context, dir results.Dir) {
	if _, err := i.Bucket.Stat(ctx, dir.Report()); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	i.putReport(ctx, dir, func(w io.Writer) error { return WriteReport(ctx, dir, w, i.options()) })
}

// WriteReport makes the report of an import anew from what lies beside its export, which may itself be gone.
// An import that is not through has a small one. If nothing lies there, the error wraps [fs.ErrNotExist].
func WriteReport(ctx context.Context, dir results.Dir, w io.Writer, o report.Options) error {
	m, err := dir.LoadManifest(ctx)
	none := errors.Is(err, fs.ErrNotExist)
	if err != nil && !none {
		return err
	}
	p, err := dir.LoadProgress(ctx)
	if none && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no import of %q: %w", dir.Export, err)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // older results that are kept have none
		return err
	}
	_, kind := results.Beside(p.Export.Key)
	newer := err == nil && p.State != results.Finished && kind != results.BesideFailures && p.Export.Version != m.Export.Version
	if none || newer {
		var runs []results.Run
		if cp, err := dir.LoadCheckpoint(ctx, p.Run.Lease+1); err == nil && cp != nil {
			runs = cp.Runs
		}
		return report.WriteProgress(w, &report.Status{Key: dir.Export, Progress: p, All: runs}, o)
	}
	builder := report.New()
	for line, err := range results.Lines(ctx, dir.Bucket, dir.Results()) {
		if err != nil {
			return fmt.Errorf("read the results: %w", err)
		}
		builder.Result(line)
	}
	for line, err := range results.Lines(ctx, dir.Bucket, dir.Failures()) {
		if errors.Is(err, fs.ErrNotExist) {
			break // all are in, or somebody has taken it away
		}
		if err != nil {
			return fmt.Errorf("read the failures: %w", err)
		}
		builder.Failure(line)
	}
	return builder.Write(w, dir.Names, &m, o)
}
