package importer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sync/semaphore"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/lease"
	"groupimport/pkg/mapping"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/tim"
)

// withLease takes the lease of an import and does some work on it, until ctx ends.
func (i *Importer) withLease(ctx context.Context, dir results.Dir, work func(context.Context, *run) (Summary, error)) (Summary, error) {
	until := RunUntil(ctx)
	held, err := lease.Acquire(ctx, i.Bucket, dir.Work(), i.OwnerName(), until.Add(LeaseMargin), i.IsDead)
	if err != nil {
		return Summary{}, err
	}
	i.TookOver(held)
	// What is written at the end must not fail because the run was interrupted. Writing ends a little before the time: a
	// platform kills at that very moment, and then nothing is reported.
	left := Reserved(until)
	writing, cancel := context.WithDeadline(context.WithoutCancel(ctx), until.Add(-LastMoment(left)))
	defer cancel()
	working, stop := context.WithDeadlineCause(ctx, until.Add(-left), ErrTimeUp)
	defer stop()
	i.Client.SetGrace(min(cmp.Or(i.Grace, tim.AttemptTimeout), left-min(writeTime, left/2)))
	summary, err := work(working, &run{imp: i, dir: dir, lease: held, writing: writing})
	if errors.Is(err, lease.ErrLost) {
		return summary, err // what follows is the successor's
	}
	if releaseErr := held.Release(writing); releaseErr != nil {
		i.log().WarnContext(ctx, "lease not released", "key", dir.Export, "expires", held.Until, "err", releaseErr)
	}
	return summary, err
}

// importExport does a run on an export.
func (r *run) importExport(ctx context.Context, exp results.Export) (Summary, error) {
	cp, finished, err := r.begin(ctx, exp)
	if err != nil || finished != nil {
		return summaryOf(finished), err
	}
	return r.work(ctx, cp, func(cp results.Checkpoint) (results.Manifest, error) {
		return r.dir.Finish(r.writing, r.dir.Names, cp, r.imp.Policy(), r.imp.page(r.dir))
	})
}

// summaryOf returns the summary of an import that was finished before.
func summaryOf(m *results.Manifest) Summary {
	if m == nil {
		return Summary{}
	}
	return Summary{State: results.Finished, Already: true, Counts: m.Counts, Manifest: *m}
}

// begin returns the checkpoint that the run begins with: the latest one of this version of the export, or that of a new
// import, after the one before was archived. The manifest is not nil if the version was finished after Import had looked.
func (r *run) begin(ctx context.Context, exp results.Export) (results.Checkpoint, *results.Manifest, error) {
	var none results.Checkpoint
	last, err := r.dir.LoadCheckpoint(r.writing, r.lease.Number)
	if err != nil {
		return none, nil, err
	}
	program, programErr := r.imp.program(r.writing)
	settings := r.imp.settings(program)
	isLatest := last != nil && last.Export.Version == exp.Version
	if isLatest && didNothing(last) && programErr == nil {
		last.Mapping, last.Settings = program, settings // so another mapping may be named
	}
	m, err := r.dir.LoadManifest(r.writing)
	switch {
	case err == nil && m.Export.Version == exp.Version && (programErr != nil || r.imp.beganWith(r.writing, r.dir, &m, settings)):
		return none, &m, nil //nolint:nilerr // without a mapping nothing could be imported anyway
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return none, nil, err
	}
	if isLatest && last.Round == 0 && (programErr != nil || resumes(last, program, settings)) {
		if programErr != nil || program != last.Mapping {
			r.log().WarnContext(ctx, "the import resumes with the mapping that it began with")
		}
		if ok, err := r.canResume(ctx, last, exp); ok || err != nil {
			return *last, nil, err
		}
	}
	if programErr != nil {
		return none, nil, programErr
	}
	cp := results.Checkpoint{Export: exp, Next: export.Start, Mapping: program, Encoding: r.imp.Config.Encoding, Settings: settings}
	if r.imp.Config.AssignGroupIDs {
		cp.Assign = newSeed(r.imp.BucketName, exp.Key)
	}
	archived, carry, err := r.dir.Archive(r.writing, last)
	if err != nil {
		return none, nil, fmt.Errorf("archive the results of the earlier version: %w", err)
	}
	if carry != nil {
		r.log().InfoContext(ctx, "a new version of the export", "version", exp.Version, "archived", archived.Results())
		r.imp.remakeReport(r.writing, results.Dir{Bucket: r.dir.Bucket, Names: archived}) // it names the archived files
		cp.Carry = carry
	}
	return cp, nil, nil
}

// canResume reports whether everything that the checkpoint counts is there, and completes it for a run that resumes.
func (r *run) canResume(ctx context.Context, cp *results.Checkpoint, exp results.Export) (bool, error) {
	cp.Export.Key = exp.Key // the folder may have been opened further up or down
	if cp.Next == export.Start && cp.Sent == 0 {
		cp.Encoding = r.imp.Config.Encoding // nothing was read: the export was refused, and its encoding may be named now
	}
	if !cp.Done {
		return true, nil
	}
	missing, _, err := r.dir.MissingParts(r.writing, cp)
	if missing > 0 && err == nil {
		r.log().WarnContext(ctx, "parts were removed before the results were written: the import begins again and carries over what is left",
			"missing", missing)
	}
	return missing == 0, err
}

// work does a run from cp on. finish is called once all records have outcomes.
func (r *run) work(ctx context.Context, cp results.Checkpoint, finish func(results.Checkpoint) (results.Manifest, error)) (Summary, error) {
	if err := r.prepare(&cp); err != nil {
		return Summary{}, err
	}
	if r.earlier != nil {
		defer r.earlier.close()
	}
	end := r.execute(ctx, cp)
	return r.conclude(ctx, end, finish)
}

// prepare reads what the run needs before its first record.
func (r *run) prepare(cp *results.Checkpoint) (err error) {
	if len(cp.Runs) > maxRuns {
		cp.Runs = append(cp.Runs[:1:1], cp.Runs[len(cp.Runs)-maxRuns/2:]...)
	}
	cp.Runs = append(cp.Runs, results.Run{Lease: r.lease.Number, Start: time.Now().UTC(), Rate: r.imp.Config.Rate})
	r.exp, r.round, r.began, r.encoding = cp.Export, cp.Round, cp.Sent, cp.Encoding
	if cp.Mapping != "" {
		r.program, err = mapping.Compile(cp.Mapping, mapping.Settings{
			Limits: r.imp.Config.Limits, Name: mapping.BaseName(r.dir.Export), IncludeArchived: cp.Settings.IncludeArchived,
		})
		if err != nil {
			return err
		}
	}
	// Before anything is written that would forget them.
	if r.ahead, err = r.dir.LoadAhead(r.writing, cp); err != nil {
		return err
	}
	r.guard = &mapping.Guard{}
	if cp.Round == 0 && cp.Next == export.Start && len(r.ahead) == 0 {
		r.guard = mapping.NewGuard(cp.Mapping)
	}
	if cp.Round > 0 || cp.Done {
		return nil
	}
	if err := r.openEarlier(cp); err != nil {
		return err
	}
	return r.openAssigner(cp)
}

// openEarlier opens the outcomes of earlier versions, if there are any.
func (r *run) openEarlier(cp *results.Checkpoint) (err error) {
	if cp.Carry == nil {
		return nil
	}
	if r.earlier, err = openEarlier(r.writing, r.dir, cp.Carry, r.imp.Config.CreateUnmatched); err != nil {
		return err
	}
	if cp.Carry.Assign != "" && cp.Carry.Assign == cp.Assign {
		r.earlier.inDoubt = 0 // they would get the same IDs again
	}
	if cp.Carry.Earlier == 0 { // at the beginning
		cp.Carry.Earlier = r.earlier.total
	}
	return nil
}

// openAssigner counts the records that this import has done already, for the IDs of the next ones.
func (r *run) openAssigner(cp *results.Checkpoint) error {
	if cp.Assign == "" {
		return nil
	}
	r.assigner = newAssigner(cp.Assign)
	if !r.assigner.byIdentity() {
		return nil
	}
	for line, err := range r.dir.PartLines(r.writing, cp) {
		if err != nil {
			return err
		}
		if o, _, err := outcome.Parse(line); err == nil && o.ID != (group.Digest{}) {
			r.assigner.count(o.ID, o.N, assignedID(&o))
		}
	}
	return nil
}

// An ending is how a run ended, and its last checkpoint.
type ending struct {
	leaving

	cp  results.Checkpoint
	err error
}

// A leaving is in which state a run leaves its import, and why.
type leaving struct {
	state  results.State
	cause  results.Cause // empty if the import is finished
	code   int           // the service's, with CauseService
	reason string        // the cause in words
}

// execute imports records until there are none left or the run ends, and writes all outcomes.
func (r *run) execute(ctx context.Context, cp results.Checkpoint) (end ending) {
	i := r.imp
	i.show(&cp)
	r.log().InfoContext(ctx, "run starts", "records_done", cp.Counts.Records(), "offset", cp.Next.Offset, "size", cp.Export.Size)
	if cp.Round > 0 || cp.Counts.Imported > 0 && cp.Carry == nil {
		i.Client.Trust()
	}
	r.writer = r.dir.NewWriter(r.writing, r.lease, cp, i.log())
	r.room = semaphore.NewWeighted(aheadBytes)
	r.queue = make(chan *item, aheadRecords)
	attempts, slowed := i.Client.Attempts(), i.Client.Slowdowns()
	var why error
	if !cp.Done {
		why, end.err = r.importRecords(ctx, cp.Next)
	}
	end.leaving = r.ended(why, end.err)
	var closeErr error
	end.cp, closeErr = r.writer.Close(r.writing, r.behind, func(cp *results.Checkpoint) {
		last := &cp.Runs[len(cp.Runs)-1]
		last.End, last.Why, last.Cause, last.Code = time.Now().UTC(), end.reason, end.cause, end.code
		if end.state == results.Stopped {
			last.Stop = end.reason
		}
		last.Attempts, last.Slowed = i.Client.Attempts()-attempts, i.Client.Slowdowns()-slowed
		cp.Done = end.state == results.Finished
	})
	if closeErr != nil {
		// What could not be written is as if it had not been done.
		end.state, end.reason, end.err = results.Stopped, closeErr.Error(), cmp.Or(end.err, closeErr)
	}
	i.show(&end.cp)
	return end
}

// conclude writes the results if all records have outcomes, or else how far the import is.
func (r *run) conclude(ctx context.Context, end ending, finish func(results.Checkpoint) (results.Manifest, error)) (Summary, error) {
	err := end.err
	summary := Summary{State: end.state, Reason: end.reason, Counts: end.cp.Counts, Run: end.cp.Runs[len(end.cp.Runs)-1], Dropped: r.dropped}
	switch {
	case err == nil && end.cp.Done:
		summary.Manifest, err = finish(end.cp)
		switch {
		case err == nil:
			summary.Counts = summary.Manifest.Counts
			r.dir.RemoveWork(r.writing, &end.cp)
		case errors.Is(err, context.DeadlineExceeded) && r.writing.Err() != nil:
			// The next run has only this left to do.
			summary.State, summary.Reason, err = results.Waiting, "time is up while the results are written", nil
		default:
			summary.State, summary.Reason = results.Stopped, err.Error()
		}
	case !errors.Is(err, lease.ErrLost):
		saveErr := r.dir.SaveProgress(r.writing, end.state, end.reason, &end.cp)
		if saveErr == nil && end.cp.Round == 0 { // in a round, the report of the whole import stays
			r.imp.reportProgress(r.writing, r.dir, end.state, end.reason, &end.cp)
		}
		err = cmp.Or(err, saveErr)
	}
	c, metrics := end.cp.Counts, r.metrics(&end.cp, summary.State, summary.Reason)
	r.log().InfoContext(ctx, "run ends", "state", summary.State, "reason", summary.Reason, "err", err, "imported", c.Imported, "exists", c.Exists,
		"rejected", c.Rejected, "failed", c.Failed, "unknown", c.Unknown, "skipped", c.Skipped, "run", metrics)
	if r.imp.OnRunEnd != nil {
		r.imp.OnRunEnd(metrics)
	}
	return summary, err
}
