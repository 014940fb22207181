package importer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"groupimport/pkg/export"
	"groupimport/pkg/results"
)

// RetryRound does a round of retries on the import of the export at key, if one is due: the records of the
// failures file that failed are sent again, and what they come to takes the place of their outcomes. With
// now, the wait before the round is left out. A round takes as many runs as it needs, like an import.
//
// If nothing is due, Already is set in what it returns.
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
		return nothing, nil // a newer version waits, whose import keeps these results
	case err != nil && !errors.Is(err, fs.ErrNotExist): // the records stand in the failures file
		return Summary{}, err
	}
	return i.withLease(ctx, dir, func(ctx context.Context, r *run) (Summary, error) { return r.retry(ctx, now) })
}

// retry does a run on a round of retries.
func (r *run) retry(ctx context.Context, now bool) (Summary, error) {
	m, err := r.dir.LoadManifest(r.writing) // it may have changed before the lease was ours
	if err != nil {
		return Summary{}, err
	}
	last, err := r.dir.LoadCheckpoint(r.writing, r.lease.Number)
	if err != nil {
		return Summary{}, err
	}
	merge := func(cp results.Checkpoint) (results.Manifest, error) {
		return r.dir.Merge(r.writing, m, cp, r.imp.Policy(), r.imp.page(r.dir))
	}
	goesOn := last != nil && last.Round == len(m.Rounds)+1
	info, err := r.imp.Bucket.Stat(r.writing, r.dir.Failures())
	// Has somebody edited the failures file in the middle of the round? Then what it came to so far ends it,
	// and the rest is for the next.
	edited := goesOn && !last.Done && (errors.Is(err, fs.ErrNotExist) || err == nil && info.Version != last.Export.Version)
	switch {
	case goesOn && (last.Done || edited): // or it died before the merge, or in it
		m, err := merge(*last)
		return Summary{State: results.Finished, Counts: m.Counts, Manifest: m}, err
	case !goesOn && !m.Due(r.imp.Policy(), now):
		return Summary{State: results.Finished, Already: true, Counts: m.Counts, Manifest: m}, nil
	case errors.Is(err, fs.ErrNotExist):
		return Summary{}, fmt.Errorf("records of %q failed, but their file is gone: %w", r.dir.Export, err)
	case err != nil:
		return Summary{}, err
	}
	cp := results.Checkpoint{
		Export: results.Export{Key: r.dir.Failures(), Version: info.Version, Size: info.Size},
		Next:   export.Start, Round: len(m.Rounds) + 1,
	}
	if n := len(m.Rounds); n > 0 && m.Rounds[n-1].Unsure {
		cp.Sent = math.MaxInt64 // records without a GroupId are not sent: which of them were is not known
	}
	if goesOn {
		cp = *last
		cp.Export.Key = r.dir.Failures() // the folder may have been opened further up or down
	}
	return r.work(ctx, cp, merge)
}

// again reports whether a line of the failures file is to be tried again, and makes its item that of the
// record in the export. Lines that a person has put out of order, or that are no outcomes, stay as they
// are.
func (r *run) again(it *item, e *export.Entry) bool {
	o := e.Failure
	if o == nil || !r.imp.Policy().Retries(o.Status) || o.N <= r.read {
		return false
	}
	it.n, it.line, it.before = o.N, o.Line, o.Attempts
	it.groupID, it.assigned = o.GroupID, o.Assigned
	return true
}
