package importer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"groupimport/pkg/export"
	"groupimport/pkg/lease"
	"groupimport/pkg/results"
)

// RetryRound runs a round of retries for the import of the export at key, if a round is due. It sends the failed
// records of the dead-letter file again and replaces their outcomes. With now, it ignores the wait before the round.
// Like an import, a round may take several runs.
//
// Summary.Already is set if no round is due.
func (i *Importer) RetryRound(ctx context.Context, key string, now bool) (Summary, error) {
	dir := i.Dir(key)
	m, err := dir.LoadManifest(ctx)
	if err != nil {
		return Summary{}, err
	}
	nothing := Summary{State: results.Finished, Already: true, Counts: m.Counts, Manifest: m}
	if !m.Due(i.Policy(), now) {
		return nothing, nil
	}
	info, err := i.Bucket.Stat(ctx, key)
	switch {
	case err == nil && info.Version != m.Export.Version:
		return nothing, nil // the import of the newer version archives these results
	case err != nil && !errors.Is(err, fs.ErrNotExist): // without the export, the dead-letter file has the records
		return Summary{}, err
	}
	control, err := dir.LoadControl(ctx, info)
	if err != nil {
		return Summary{}, err
	}
	if control != nil {
		return Summary{State: control.State(), Reason: control.Reason(), Counts: m.Counts, Manifest: m}, nil
	}
	folder, err := lease.Look(ctx, i.Bucket, dir.Work(), dir.Work())
	if err != nil {
		return Summary{}, err
	}
	return i.withLease(ctx, dir, folder, func(ctx context.Context, r *run) (Summary, error) { return r.retry(ctx, now) })
}

// retry does one run of a round of retries.
func (r *run) retry(ctx context.Context, now bool) (Summary, error) {
	m, err := r.dir.LoadManifest(r.writing) // again: it may have changed before the lease was acquired
	if err != nil {
		return Summary{}, err
	}
	last, err := r.dir.LoadLast(r.writing, r.lease)
	if err != nil {
		return Summary{}, err
	}
	r.merges = m
	isResumed := last != nil && last.Round == len(m.Rounds)+1
	info, err := r.imp.Bucket.Stat(r.writing, r.dir.Failures())
	// If the dead-letter file was edited during the round, the outcomes so far end the round. The next round retries the
	// rest.
	edited := isResumed && !last.Done &&
		(errors.Is(err, fs.ErrNotExist) || err == nil && info.Version != last.Export.Version)
	switch {
	case isResumed && (last.IsComplete() || edited): // Done: a run died before or during the merge
		m, err := r.writeResults(r.writing, *last)
		return Summary{State: results.Finished, Counts: m.Counts, Manifest: m}, err
	case !isResumed && !m.Due(r.imp.Policy(), now):
		return Summary{State: results.Finished, Already: true, Counts: m.Counts, Manifest: m}, nil
	case errors.Is(err, fs.ErrNotExist):
		return Summary{}, fmt.Errorf("records of %q failed, but the dead-letter file was removed: %w", r.dir.Export, err)
	case err != nil:
		return Summary{}, err
	}
	cp := results.Checkpoint{
		Export: results.Export{Key: r.dir.Failures(), Version: info.Version, Size: info.Size},
		Next:   export.Start, Round: len(m.Rounds) + 1,
	}
	if n := len(m.Rounds); n > 0 && m.Rounds[n-1].Unsure {
		cp.Sent = math.MaxInt64 // any record without a GroupId may have been sent in the last round
	}
	if isResumed {
		cp = *last
		cp.Export.Key = r.dir.Failures() // the bucket may have been opened at another directory
	}
	return r.work(ctx, cp)
}

// isRetried reports whether a line of the dead-letter file is to be retried, and sets the item's place in the export.
// It returns false for lines that were reordered, and for lines that are not outcomes: they stay as they are.
func (r *run) isRetried(it *item, e *export.Entry) bool {
	o := e.Failure
	if o == nil || !r.imp.Policy().RetriesOutcome(o) || o.N <= r.read {
		return false
	}
	it.n, it.line, it.before = o.N, o.Line, o.Attempts
	it.groupID, it.assigned = o.GroupID, o.Assigned
	return true
}
