package importer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/lease"
	"groupimport/pkg/mapping"
	"groupimport/pkg/outcome"
	"groupimport/pkg/report"
	"groupimport/pkg/results"
	"groupimport/pkg/tim"
)

// headBytes is how much of an export the first request reads: all of an export of some hundred records.
const headBytes = 256 << 10

// A start is what an importer knows of an import before it has the lease.
type start struct {
	exp  results.Export
	head []byte // the export, if headBytes have all of it
	work *lease.Folder

	// isNew waits for the response to the question whether there are no results of an earlier import. It is nil if there
	// are, or may be.
	isNew func() (bool, error)
}

// open reads the beginning of the export, and lists the objects beside it.
func (i *Importer) open(ctx context.Context, dir results.Dir) (start, error) {
	var s start
	// A folder would have to be listed with all its exports for the objects beside one. Requests cost nothing there.
	isFolder := i.Folder != ""
	prefix := dir.Export + "."
	if isFolder {
		prefix = dir.Work()
	}
	look := async(func() (*lease.Folder, error) { return lease.Look(ctx, i.Bucket, dir.Work(), prefix) })
	head, info, err := blob.ReadHead(ctx, i.Bucket, dir.Export, headBytes)
	var listErr error
	if s.work, listErr = look(); err != nil {
		return start{}, fmt.Errorf("find the export: %w", err)
	} else if listErr != nil {
		return start{}, listErr
	}
	s.exp = results.Export{Key: dir.Export, Version: info.Version, Size: info.Size, Modified: info.Modified}
	if int64(len(head)) == info.Size {
		s.head = head
	}
	hasOutputs := slices.ContainsFunc(s.work.Beside, func(key string) bool {
		return key == dir.Results() || key == dir.Failures() || key == dir.Report()
	})
	if !s.work.IsEmpty || hasOutputs {
		return s, nil
	}
	s.isNew = async(func() (bool, error) { return dir.CheckNew(ctx, s.work.Beside == nil) })
	return s, nil
}

// async calls f in the background. The function that it returns waits for the result.
func async[T any](f func() (T, error)) func() (T, error) {
	var result T
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		result, err = f()
	}()
	return func() (T, error) {
		<-done
		return result, err
	}
}

// withLease acquires the lease of an import, calls work, and releases the lease.
func (i *Importer) withLease(
	ctx context.Context, dir results.Dir, folder *lease.Folder, work func(context.Context, *run) (Summary, error),
) (Summary, error) {
	until := RunUntil(ctx)
	held, err := folder.Acquire(ctx, i.OwnerName(), i.IsDead)
	if err != nil {
		return Summary{}, err
	}
	ctx, stopRenewing := i.Hold(ctx, held)
	defer stopRenewing() // work may panic
	dir.Bucket = held.Guard(i.Bucket)
	// The last writes must not fail because the run was interrupted. They end before the deadline, because the platform
	// kills the process at the deadline without a report.
	reserve := Reserved(until)
	writing, cancel := context.WithDeadline(context.WithoutCancel(ctx), until.Add(-FinalizeReserve(reserve)))
	defer cancel()
	working, stop := context.WithDeadlineCause(ctx, until.Add(-reserve), ErrTimeUp)
	defer stop()
	forFiles := min(writeTime, reserve/2)
	summary, err := work(working, &run{
		imp: i, dir: dir, lease: held, writing: writing, finishBy: until.Add(-forFiles),
		drainTimeout: min(cmp.Or(i.DrainTimeout, tim.AttemptTimeout), reserve-forFiles),
	})
	stopRenewing()
	if errors.Is(err, lease.ErrLost) && held.CheckSuccessor(writing) == nil {
		err = nil // the lease could not be renewed, but no other run owns it: the next run resumes
	}
	if releaseErr := held.Release(writing); releaseErr != nil {
		i.log().WarnContext(ctx, "lease not released", "key", dir.Export, "expires", held.Until(), "err", releaseErr)
	}
	return summary, err
}

// importExport does one run of an import.
func (r *run) importExport(ctx context.Context, s start) (Summary, error) {
	r.head = s.head
	cp, finished, err := r.begin(ctx, s)
	if err != nil || finished != nil {
		return summaryOf(finished), err
	}
	return r.work(ctx, cp)
}

// summaryOf returns the summary of an import that was finished before.
func summaryOf(m *results.Manifest) Summary {
	if m == nil {
		return Summary{}
	}
	return Summary{State: results.Finished, Already: true, Counts: m.Counts, Manifest: *m}
}

// begin returns the checkpoint that the run starts with: the latest checkpoint of this version of the export, or the
// checkpoint of a new import after archiving the earlier one. The manifest is not nil if another run has finished the
// version since Import read the manifest.
func (r *run) begin(ctx context.Context, s start) (results.Checkpoint, *results.Manifest, error) {
	var none results.Checkpoint
	exp := s.exp
	if r.lease.IsFirst && s.isNew != nil {
		isNew, err := s.isNew()
		if err != nil {
			return none, nil, err
		}
		if r.dir.IsNew, r.dir.IsListed = isNew, s.work.Beside != nil; isNew {
			program, settings, err := r.imp.current(r.writing, exp, r.head)
			return r.first(exp, program, settings), nil, err
		}
	}
	last, err := r.dir.LoadLast(r.writing, r.lease)
	if err != nil {
		return none, nil, err
	}
	program, settings, programErr := r.imp.current(r.writing, exp, r.head)
	isLatest := last != nil && last.Export.Version == exp.Version
	if isLatest && didNothing(last) && programErr == nil {
		last.Mapping, last.Settings = program, settings // the operator may have set another mapping
	}
	m, err := r.dir.LoadManifest(r.writing)
	switch {
	case err == nil && m.Export.Version == exp.Version &&
		(programErr != nil || r.imp.hasSettings(r.writing, r.dir, &m, settings)):
		return none, &m, nil //nolint:nilerr // no import can start without its mapping
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return none, nil, err
	}
	isFinished := err == nil && last != nil && m.Started.Equal(last.Runs[0].Start)
	if isLatest && !isFinished && last.Round == 0 && (programErr != nil || resumes(last, program, settings)) {
		if programErr != nil || program != last.Mapping {
			r.log().WarnContext(ctx, "the mapping has changed: the import resumes with its first mapping")
		}
		if ok, err := r.canResume(ctx, last, exp); ok || err != nil {
			return *last, nil, err
		}
	}
	if programErr != nil {
		return none, nil, programErr
	}
	cp := r.first(exp, program, settings)
	if last == nil && err != nil { // there is no work folder
		if err := r.dir.CheckForeign(r.writing); err != nil {
			return none, nil, err
		}
	}
	archived, carry, err := r.dir.Archive(r.writing, r.lease, last)
	if err != nil {
		return none, nil, fmt.Errorf("archive the results of the earlier version: %w", err)
	}
	if carry != nil {
		r.log().InfoContext(ctx, "new version of the export", "version", exp.Version, "archived", archived.Results())
		r.imp.remakeReport(r.writing, results.Dir{Bucket: r.dir.Bucket, Names: archived, Log: r.dir.Log})
		cp.Carry = carry
	}
	return cp, nil, nil
}

// first returns the checkpoint of an import that starts now.
func (r *run) first(exp results.Export, program string, settings results.Settings) results.Checkpoint {
	cp := results.Checkpoint{
		Export: exp, Next: export.Start, Mapping: program, Encoding: r.imp.Config.Encoding, Settings: settings,
	}
	if r.imp.Config.AssignGroupIDs {
		cp.Assign = newSeed(r.imp.BucketName, exp.Key)
	}
	return cp
}

// canResume reports whether all parts that the checkpoint counts exist. It updates the checkpoint for a run that
// resumes.
func (r *run) canResume(ctx context.Context, cp *results.Checkpoint, exp results.Export) (bool, error) {
	cp.Export.Key = exp.Key // the bucket may have been opened at another directory
	if cp.Next == export.Start && cp.Sent == 0 {
		cp.Encoding = r.imp.Config.Encoding // no record was read: the operator may have set the encoding
	}
	if !cp.Done {
		return true, nil
	}
	isMissing, err := r.dir.IsMissingPart(r.writing, cp)
	if isMissing {
		r.log().WarnContext(ctx, "parts were removed before the results were written: the import starts again and carries "+
			"over the remaining outcomes")
	}
	return !isMissing, err
}

// heldTime limits the time in which outcomes are in memory only while the results are written from them. With the time
// in which [results.Writer] holds them, it is a few seconds.
const heldTime = 2 * time.Second

// work does a run from cp on.
func (r *run) work(ctx context.Context, cp results.Checkpoint) (Summary, error) {
	defer r.unreserve()
	if err := r.prepare(ctx, &cp); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			return Summary{State: results.Waiting, Reason: err.Error(), Counts: cp.Total()}, nil
		}
		return Summary{}, err
	}
	if r.earlier != nil {
		defer r.earlier.close()
	}
	end := r.execute(ctx, cp)
	r.unreserve()
	return r.conclude(ctx, end)
}

// prepare prepares the run for its first record.
func (r *run) prepare(ctx context.Context, cp *results.Checkpoint) (err error) {
	if len(cp.Runs) > maxRuns {
		cp.Runs = append(cp.Runs[:1:1], cp.Runs[len(cp.Runs)-maxRuns/2:]...)
	}
	cp.Runs = append(cp.Runs, results.Run{Lease: r.lease.Number, Start: time.Now().UTC(), Rate: r.imp.Config.Rate})
	r.exp, r.round, r.began, r.encoding = cp.Export, cp.Round, cp.Sent, cp.Encoding
	if r.zone, err = export.ParseTimeZone(cp.Settings.TimeZone); err != nil {
		return fmt.Errorf("the time zone of the import %w", err)
	}
	if cp.Round == 0 {
		if r.records, err = export.ParsePath(cp.Settings.Records); err != nil {
			return fmt.Errorf("the path of the records %w", err)
		}
	}
	if cp.Mapping != "" {
		r.program, err = mapping.Compile(cp.Mapping, mapping.Settings{
			Limits: r.imp.Config.Limits, Name: mapping.BaseName(r.dir.Export),
			IncludeArchived: cp.Settings.IncludeArchived, Zone: r.zone,
		})
		if err != nil {
			return err
		}
	}
	if cp.Round == 0 && !cp.Done {
		if r.users, err = r.imp.loadUsers(ctx); err != nil {
			return err
		}
		if r.users != nil && r.imp.usersSetting(r.users) != cp.Settings.Users {
			r.log().WarnContext(ctx, "the table of users has changed: the rest of the import uses the new one")
		}
	}
	// Load them before the first checkpoint, which no longer refers to them.
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
	if err := r.openEarlier(ctx, cp); err != nil {
		return err
	}
	return r.openAssigner(cp)
}

// openEarlier opens the outcomes of earlier versions, if there are any.
func (r *run) openEarlier(ctx context.Context, cp *results.Checkpoint) (err error) {
	if cp.Carry == nil {
		return nil
	}
	if err := r.reserveEarlier(ctx, cp.Carry); err != nil {
		return err
	}
	if r.earlier, err = openEarlier(r.writing, r.dir, cp.Carry, r.imp.Config.CreateUnmatched); err != nil {
		return err
	}
	if cp.Carry.Assign != "" && cp.Carry.Assign == cp.Assign {
		r.earlier.inDoubt = 0 // records in doubt get the same IDs again
	}
	if cp.Carry.Earlier == 0 { // in the first run
		cp.Carry.Earlier = r.earlier.total
	}
	return nil
}

// openAssigner counts the records that this import has outcomes for, because the next IDs depend on them.
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

// An ending is the result of a run and its last checkpoint.
type ending struct {
	endState

	cp  results.Checkpoint
	err error
}

// An endState is the state of an import after a run, and its cause.
type endState struct {
	state  results.State
	cause  results.Cause // empty if the import is finished
	code   int           // the service's, with CauseService
	reason string        // the cause in words
}

// execute imports records until the end of the export or of the run, and writes all outcomes.
func (r *run) execute(ctx context.Context, cp results.Checkpoint) (end ending) {
	i := r.imp
	r.share = i.Client.NewShare(tim.ShareConfig{
		DrainTimeout: r.drainTimeout, Authorized: cp.Round > 0 || cp.Counts.Imported > 0 && cp.Carry == nil,
	})
	ctx = tim.WithShare(ctx, r.share)
	r.log().InfoContext(ctx, "run starts",
		"records_done", cp.Counts.Records(), "offset", cp.Next.Offset, "size", cp.Export.Size)
	died := r.saveStart(ctx, &cp)
	r.writer = r.dir.NewWriter(r.writing, r.lease, cp, died)
	i.begin(r.dir.Export, cp.Export, r.share, r.writer)
	defer i.end(r.dir.Export)
	r.budget = i.memory().newBudget()
	defer r.budget.close()
	r.queue = make(chan *item, maxAheadRecords)
	slowed := i.Client.RateDecreases()
	var why error
	if !cp.IsComplete() {
		r.isRead, r.follows = cp.Done, cp.Members != nil && !cp.Members.IsEnd
		why, end.err = r.importRecords(ctx, cp.Next)
	}
	end.endState = r.ended(why, end.err)
	last := results.RunEnd{
		Why: end.reason, Cause: end.cause, Code: end.code, IsRead: r.isRead, Ahead: r.behind,
		Attempts: r.share.Attempts(), Slowed: i.Client.RateDecreases() - slowed,
	}
	if end.state == results.Stopped {
		last.Stop = end.reason
	}
	var closeErr error
	end.cp, closeErr = r.writer.Close(last)
	if closeErr != nil {
		// Outcomes that were not written do not count.
		end.state, end.reason, end.err = results.Stopped, closeErr.Error(), cmp.Or(end.err, closeErr)
	}
	return end
}

// finishing returns the context of writing the results. It ends before the last writes of the run, and when the run is
// interrupted.
func (r *run) finishing(working context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithDeadline(r.writing, r.finishBy)
	stop := context.AfterFunc(working, func() {
		if !errors.Is(context.Cause(working), ErrTimeUp) {
			cancel()
		}
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

// saveStart writes the progress of a run that starts, and returns [results.Progress.Died] of the run. If nothing
// replaces the progress, the run has died before its first outcome. The first run of an import writes no progress: most
// are over before anybody reads it. The [results.Writer] writes it after a second.
func (r *run) saveStart(ctx context.Context, cp *results.Checkpoint) (died int) {
	if r.dir.IsNew {
		return 1
	}
	last, err := r.dir.LoadProgress(r.writing)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		r.before = last
		if died = last.Died + 1; last.Runs == 0 && r.lease.TookOver {
			died++ // the first run has died before it wrote progress
		}
		p := results.ProgressOf(results.Running, "", "", cp)
		p.Owner, p.Until, p.Died = r.lease.Owner, r.lease.Until(), died
		err = p.Save(r.writing, r.dir)
	}
	if err != nil {
		r.log().WarnContext(ctx, "progress not written", "err", err) // the checkpoint is enough
	}
	return died
}

// writeResults writes the results of the import or, in a round of retries, merges the outcomes of the round into them.
func (r *run) writeResults(ctx context.Context, cp results.Checkpoint) (results.Manifest, error) {
	page := report.New(r.imp.options())
	if cp.Round > 0 {
		return r.dir.Merge(ctx, r.merges, cp, r.imp.Policy(), page)
	}
	return r.dir.Finish(ctx, r.lease, cp, r.imp.Policy(), page)
}

// finish writes the results. It writes the outcomes of cp that are in memory as a part if that fails, or takes longer
// than heldTime.
func (r *run) finish(ctx context.Context, cp *results.Checkpoint) (results.Manifest, error) {
	if !cp.IsHeld() {
		return r.writeResults(ctx, *cp)
	}
	short, cancel := context.WithTimeout(ctx, heldTime)
	defer cancel()
	m, err := r.writeResults(short, *cp)
	if err == nil {
		return m, nil
	}
	r.log().WarnContext(ctx, "results not written at once", "err", err)
	if *cp, err = r.writer.Flush(); err != nil {
		return m, err
	}
	return r.writeResults(ctx, *cp)
}

// conclude writes the results if all records have outcomes, else the progress.
func (r *run) conclude(ctx context.Context, end ending) (Summary, error) {
	err := end.err
	summary := Summary{
		State: end.state, Reason: end.reason, Counts: end.cp.Total(), Run: end.cp.Runs[len(end.cp.Runs)-1],
		Dropped: r.dropped,
	}
	switch {
	case err == nil && end.cp.IsComplete():
		finishing, cancel := r.finishing(ctx)
		defer cancel()
		summary.Manifest, err = r.finish(finishing, &end.cp)
		switch {
		case err == nil:
			summary.Counts = summary.Manifest.Counts
			if !end.cp.IsHeld() {
				r.dir.RemoveWork(finishing, &end.cp)
			}
		case finishing.Err() != nil:
			// The next run continues to write the results.
			summary.State, summary.Reason = results.Waiting, "the results are being written: the next run continues"
			err = r.dir.SaveProgress(r.writing, summary.State, results.CauseWriting, summary.Reason, &end.cp)
		default:
			summary.State, summary.Reason = results.Stopped, err.Error()
		}
	case !errors.Is(err, lease.ErrLost):
		var sofar *report.Builder
		if err == nil && end.state == results.Cancelled && end.cp.Round == 0 {
			sofar = r.finishPart(&end)
			summary.State, summary.Reason, summary.Counts = end.state, end.reason, end.cp.Total()
		}
		saveErr := r.dir.SaveProgress(r.writing, end.state, end.cause, end.reason, &end.cp)
		if saveErr == nil && end.cp.Round == 0 { // in a round, the report of the whole import stays
			r.imp.reportProgress(r.writing, r.dir, &end, sofar)
		}
		err = cmp.Or(err, saveErr)
	}
	if errors.Is(err, lease.ErrLost) {
		summary.State, summary.Reason = results.Waiting, err.Error()
	}
	c, metrics := end.cp.Total(), r.metrics(&end.cp, summary.State, summary.Reason)
	metrics.GivenUp, metrics.MembersMissing = summary.Manifest.GivenUp, summary.Manifest.Counts.Members.Failed
	attrs := []slog.Attr{slog.Any("state", summary.State), slog.String("reason", summary.Reason), slog.Any("err", err)}
	r.log().LogAttrs(ctx, slog.LevelInfo, "run ends", append(append(attrs, countAttrs(&c)...),
		slog.Int64("members_added", c.Members.Added), slog.Int64("members_failed", c.Members.Failed),
		slog.Int64("members_pending", c.Members.Pending+c.Pending), slog.Any("run", metrics))...)
	if r.imp.OnRunEnd != nil {
		r.imp.OnRunEnd(metrics)
	}
	r.changed(&summary, &end.cp)
	return summary, err
}
