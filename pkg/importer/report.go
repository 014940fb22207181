package importer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"groupimport/pkg/report"
	"groupimport/pkg/results"
)

// options returns the options of the reports of this importer.
func (i *Importer) options() report.Options {
	return report.Options{Root: cmp.Or(i.Folder, i.Address), Prefix: i.Config.Prefix}
}

// reportProgress writes the report of an unfinished import at the end of a run. sofar has the results of a cancelled
// one, else it is nil.
func (i *Importer) reportProgress(
	ctx context.Context, dir results.Dir, end *ending, sofar *report.Builder,
) {
	cp := &end.cp
	s := report.Status{
		Key: dir.Export, Progress: results.ProgressOf(end.state, end.cause, end.reason, cp), All: cp.Runs,
	}
	dir.PutReport(ctx, func(w io.Writer) error {
		if sofar != nil {
			return sofar.WriteCancelled(w, &s, cp.Settings.Limits)
		}
		return report.WriteProgress(w, &s, i.options())
	})
}

// remakeReport writes the report of a finished import from its results, if the report is missing.
func (i *Importer) remakeReport(ctx context.Context, dir results.Dir) {
	if _, err := i.Bucket.Stat(ctx, dir.Report()); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	dir.PutReport(ctx, func(w io.Writer) error { return WriteReport(ctx, dir, w, i.options()) })
}

// WriteReport writes the report of an import from the objects beside its export. The export itself need not exist.
// The report of an unfinished import is shorter, unless it is cancelled. The error wraps [fs.ErrNotExist] if there is
// no import.
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
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // archived results have no progress
		return err
	}
	_, kind := results.Sidecar(p.Export.Key)
	newer := err == nil && p.State != results.Finished && kind != results.SidecarFailures &&
		p.Export.Version != m.Export.Version
	if none || newer {
		s := report.Status{Key: dir.Export, Progress: p}
		cp, err := dir.LoadCheckpoint(ctx, p.Run.Lease+1)
		if err != nil || cp == nil {
			return report.WriteProgress(w, &s, o)
		}
		s.All = cp.Runs
		if p.State == results.Cancelled && p.Counts.Records() > 0 {
			sofar, err := read(ctx, dir, o)
			if err == nil {
				return sofar.WriteCancelled(w, &s, cp.Settings.Limits)
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return report.WriteProgress(w, &s, o)
	}
	builder, err := read(ctx, dir, o)
	if err != nil {
		return err
	}
	return builder.Write(w, dir.Names, &m)
}

// read reads the results and the dead-letter file for a report.
func read(ctx context.Context, dir results.Dir, o report.Options) (*report.Builder, error) {
	builder := report.New(o)
	for line, err := range results.Lines(ctx, dir.Bucket, dir.Results()) {
		if err != nil {
			return nil, fmt.Errorf("read the results: %w", err)
		}
		builder.Result(line)
	}
	for line, err := range results.Lines(ctx, dir.Bucket, dir.Failures()) {
		if errors.Is(err, fs.ErrNotExist) {
			break // every record is imported, or the file was removed
		}
		if err != nil {
			return nil, fmt.Errorf("read the dead-letter file: %w", err)
		}
		builder.Failure(line)
	}
	return builder, nil
}
