package importer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"groupimport/pkg/blob"
	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/lease"
	"groupimport/pkg/mapping"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/tim"
)

// A run is one invocation's work on one export.
type run struct {
	imp     *Importer
	dir     results.Dir
	lease   *lease.Lease
	writing context.Context //nolint:containedctx // of what is written, which outlives the working time

	exp      results.Export // what is read
	round    int            // of retries, 0 for the import itself; then exp is the failures file
	began    int64          // "sent up to" of the run before
	writer   *results.Writer
	assigner *assigner        // of GroupIds for records without one; nil if none are assigned
	earlier  *earlier         // outcomes of earlier versions, for records to take over; nil if there are none
	encoding string           // see [results.Checkpoint]
	program  *mapping.Program // of records that are another system's; nil if there are none
	guard    *mapping.Guard   // of the first records
	ignored  int64            // entries before the next item that are no records, see [export.Entry.Ignored]
	dropped  map[string]int64 // see [export.Reader.Dropped]
	assigned bool             // some record of this run was assigned an ID
	ahead    map[int64][]byte // outcomes of earlier runs behind the first record without one
	room     *semaphore.Weighted
	queue    chan *item
	stop     context.CancelCauseFunc // ends the run

	read      int64           // the last record read
	end       export.Position // behind the last entry that is no record
	latencies results.Latencies
	behind    []byte // outcomes of this run behind a record that could not be done, as lines of a part
}

// An item is a record between its reading and its outcome. One of known, call and outcome is set, or none if the item
// only moves the position over entries that are no records.
type item struct {
	next     export.Position
	pos      export.Position
	n, line  int64  // of the outcome; in a round of retries not those of pos
	before   int    // attempts in earlier rounds
	raw      []byte // nil if it was not kept
	groupID  string
	assigned bool
	id, sum  group.Digest  // of the record as it would be sent; zero if it is invalid
	taken    results.Taken // the earlier outcome that it takes over
	changed  []string      // see [export.Entry.Changed]
	source   string        // see [export.Entry.Source]
	sameID   int64         // see [export.Entry.SameID]
	cost     int64

	known   []byte           // the outcome's line, from an earlier run
	call    *tim.Call        // under way
	outcome *outcome.Outcome // without a call
	ignored int64            // entries before the record that are no records; alone if there is no record, only pos
}

// advanceEvery is how many entries that are no records move the position together.
const advanceEvery = 1000

func (r *run) log() *slog.Logger {
	return r.imp.log().With("key", r.dir.Export, "lease", r.lease.Number, "round", r.round)
}

// importRecords reads, calls and writes until the end of the export or of ctx. It returns why the run
// ends, nil at the end of the export.
func (r *run) importRecords(ctx context.Context, at export.Position) (why, err error) {
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.stop = stop
	var writing, watching sync.WaitGroup
	var writeErr error
	writing.Go(func() { writeErr = r.write(working) })
	done := make(chan struct{})
	watching.Go(func() { r.watch(working, done) })
	readErr := r.readAll(working, at)
	close(r.queue)
	writing.Wait()
	close(done)
	watching.Wait()
	why = context.Cause(working)
	if why == nil && readErr == nil {
		why = r.replaced(ctx)
	}
	if why == nil && len(r.behind) > 0 {
		why = errUndone
	}
	for n, line := range r.ahead {
		if n > r.read {
			r.behind = append(append(r.behind, line...), '\n') // known, and not reached by this run either
		}
	}
	switch {
	case writeErr != nil:
		return why, writeErr
	case errors.Is(why, blob.ErrChanged), errors.Is(why, fs.ErrNotExist):
		return nil, why
	case readErr != nil && why == nil:
		return nil, readErr
	}
	return why, nil
}

// watch ends the run when the export is no longer the one that it began with: what has been read may
// be all there was to read, or a store may go on giving the old bytes.
func (r *run) watch(ctx context.Context, done <-chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := r.replaced(ctx); err != nil {
				r.stop(err)
			}
		case <-ctx.Done():
			return
		case <-done:
			return
		}
	}
}

// replaced returns why the export is not what it was, or nil; a store that does not tell now is asked
// again the next time.
func (r *run) replaced(ctx context.Context) error {
	info, err := r.imp.Bucket.Stat(ctx, r.exp.Key)
	switch {
	case err == nil && info.Version == r.exp.Version:
		return nil
	case err == nil:
		return fmt.Errorf("%q: %w", r.exp.Key, blob.ErrChanged)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, blob.ErrChanged):
		return err
	}
	return nil
}

// readAll starts a call for each record, in order, until the end of the export or of ctx.
func (r *run) readAll(ctx context.Context, at export.Position) error {
	src := export.Source{Name: r.exp.Key, Encoding: r.encoding, Open: func(offset int64) io.ReadCloser {
		return blob.NewReader(ctx, r.imp.Bucket, r.exp.Key, r.exp.Version, offset, r.exp.Size)
	}}
	if r.program != nil {
		src.Map = r.program
	}
	records, err := export.NewReader(src, at, r.imp.Config.Limits)
	if err != nil {
		return err
	}
	r.dropped = records.Dropped()
	defer func() {
		for _, note := range records.Notes() {
			r.log().WarnContext(ctx, "the export is odd as a whole", "key", r.exp.Key, "note", note)
		}
	}()
	var held []*item // while the guard doubts; none of them has a call
	for e, err := range records.Records() {
		if ctx.Err() != nil {
			return nil // the cause says why
		}
		if err != nil {
			r.put(held)
			return err
		}
		if err := r.guard.See(&e); err != nil {
			return err
		}
		if !r.guard.Doubts() {
			r.put(held)
			held = nil
		}
		if e.Ignored && r.round == 0 {
			if r.ignored++; r.ignored >= advanceEvery && len(held) == 0 {
				r.queue <- &item{pos: e.Next, ignored: r.ignored}
				r.ignored = 0
			}
			r.end = e.Next
			continue
		}
		it := &item{
			n: e.Pos.N, line: e.Pos.Line, pos: e.Pos, next: e.Next, ignored: r.ignored, cost: min(int64(len(e.Raw)+recordCost), aheadBytes),
		}
		r.ignored = 0
		if r.round > 0 && !r.again(it, &e) {
			continue
		}
		it.raw, it.changed, it.source = bytes.Clone(e.Raw), e.Changed, e.Source
		it.sameID = e.SameID
		if r.room.Acquire(ctx, it.cost) != nil || !r.start(ctx, it, &e) {
			return nil
		}
		if r.guard.Doubts() {
			held = append(held, it)
			continue
		}
		r.put([]*item{it})
	}
	if err := r.guard.End(); err != nil {
		return err
	}
	r.put(held)
	if r.ignored > 0 {
		r.queue <- &item{pos: r.end, ignored: r.ignored}
	}
	return nil
}

// put hands items to the writer, which drains the queue to the end, whatever happens.
func (r *run) put(items []*item) {
	for _, it := range items {
		r.read = it.n
		r.queue <- it
	}
}

// start sets what will become of the record. It returns false if the run ends before it.
func (r *run) start(ctx context.Context, it *item, e *export.Entry) bool {
	if e.Ignored { // in a round of retries: its record has an outcome already
		e.Skipped = "the mapping takes it for no record of a group"
	}
	if e.Problem == nil && e.Skipped == "" {
		it.id, it.sum = e.Record.Identity(), e.Record.Sum()
	}
	if line, ok := r.ahead[it.n]; ok {
		return r.startKnown(it, line)
	}
	if e.Skipped != "" {
		it.outcome = &outcome.Outcome{Status: outcome.Skipped, Error: e.Skipped, At: time.Now()}
		return true
	}
	if e.Problem != nil {
		it.groupID = e.Problem.GroupID
		it.outcome = &outcome.Outcome{
			Status: outcome.Rejected, Code: e.Problem.Code(), Field: e.Problem.Field(), Rule: e.Problem.Rule(),
			Error: e.Problem.Error(), At: time.Now(),
		}
		return true
	}
	switch done, err := r.takeOver(it, e); {
	case err != nil:
		r.stop(err)
		return false
	case done:
		return true
	}
	rec := e.Record
	switch {
	case rec.GroupID == "" && it.assigned: // in an earlier round
		rec.GroupID = it.groupID
	case rec.GroupID == "" && r.assigner != nil:
		r.assigner.number(it.id)
		rec.GroupID, it.assigned = r.assigner.assign(&rec, it.id, it.n), true
	}
	it.groupID = rec.GroupID
	if rec.GroupID == "" && it.pos.N <= r.began {
		it.outcome = &outcome.Outcome{
			Status: outcome.Unknown, At: time.Now(),
			Error: "the run before died when this record, which has no GroupId, may have been sent: the group may exist",
		}
		return true
	}
	// That IDs are assigned, and what from, must be durable before the first is sent too.
	if rec.GroupID == "" || it.assigned && !r.assigned {
		if err := r.writer.Announce(ctx, it.pos.N); err != nil {
			r.stop(err) // unless there is a cause already
			return false
		}
		r.assigned = r.assigned || it.assigned
	}
	it.call = r.imp.Client.ImportGroup(ctx, &rec)
	return true
}

// takeOver sets the outcome of a record for which nothing may or need be sent, and reports whether it did: its group was
// created from an earlier version of the export, or may have been.
func (r *run) takeOver(it *item, e *export.Entry) (done bool, err error) {
	if r.round > 0 {
		return false, nil
	}
	if f := e.Failure; f != nil && f.Status == outcome.Unknown && !r.imp.Config.RetryUnknown {
		it.outcome = &outcome.Outcome{Status: outcome.Unknown, Error: f.Error, At: time.Now()}
		return true, nil
	} else if f != nil && f.Assigned && e.Record.GroupID == "" {
		it.groupID, it.assigned = f.GroupID, true // the group may exist under this ID
		return false, nil
	}
	if r.earlier == nil {
		return false, nil
	}
	s, found, err := r.earlier.take(it.id)
	hasID := e.Record.GroupID != ""
	if _, uncertain := errors.AsType[*reorderedError](err); uncertain && (hasID || r.imp.Config.CreateUnmatched) {
		err = nil
	}
	if err != nil || !found {
		it.taken.New = !hasID
		return false, err
	}
	it.taken = s.at
	same := s.sum == it.sum
	if hasID && !same || s.status == outcome.Unknown && r.imp.Config.RetryUnknown {
		return false, nil
	}
	it.assigned = s.assigned
	it.outcome = &outcome.Outcome{Status: s.status, GroupID: s.groupID, Carried: true, Differs: !same, At: time.Now()}
	if s.status == outcome.Unknown {
		it.outcome.Error = "the response was lost when an earlier version of the export was imported: the group may exist"
	}
	if r.assigner != nil {
		r.assigner.count(it.id, it.n, assignedID(&outcome.Outcome{Assigned: s.assigned, GroupID: s.groupID}))
	}
	return true, nil
}

// startKnown sets the outcome of a record to a line of an earlier run.
func (r *run) startKnown(it *item, line []byte) bool {
	it.known = line
	o, _, err := outcome.Parse(line)
	if err != nil {
		r.stop(err)
		return false
	}
	if r.assigner != nil && it.id != (group.Digest{}) {
		r.assigner.count(it.id, it.n, assignedID(&o))
	}
	if r.earlier != nil && o.Carried {
		it.taken, err = r.earlier.retake(&o)
		if err != nil {
			r.stop(err)
			return false
		}
	}
	return true
}

// assignedID returns the GroupId of an outcome if this program made it up, or else "".
func assignedID(o *outcome.Outcome) string {
	if o.Assigned {
		return o.GroupID
	}
	return ""
}

// write waits for the calls in order and writes their outcomes. Once one could not be done, the outcomes
// behind it are kept aside.
func (r *run) write(ctx context.Context) error {
	var err error
	gap := false
	share := stopShare{most: r.imp.Config.StopShare}
	for it := range r.queue {
		if it.ignored > 0 && !gap && err == nil {
			r.writer.Advance(it.pos, it.ignored)
		}
		if it.n == 0 {
			continue
		}
		o, line := r.outcome(it)
		switch {
		case o == nil && line == nil: // undone
			gap = true
			if s := r.imp.Client.Stopped(); s != nil {
				r.stop(s)
			}
			r.stop(errUndone) // unless there is a cause already
		case gap && line == nil:
			line = o.AppendPartLine(nil, it.raw)
			fallthrough
		case gap:
			r.behind = append(append(r.behind, line...), '\n')
		case err == nil:
			raw := it.raw
			if line != nil {
				var known outcome.Outcome
				if known, raw, err = outcome.Parse(line); err != nil {
					r.stop(err)
					break
				}
				o = &known
			}
			// Not ctx: what is known is written, whatever ends the run. The writer's own context ends it.
			if err = r.writer.Append(context.WithoutCancel(ctx), o, raw, it.next, it.taken); err != nil {
				r.stop(err)
				break
			}
			r.imp.count(o.Status, it.next)
			if reason := share.add(o); reason != nil {
				r.stop(reason)
			}
		}
		r.room.Release(it.cost)
	}
	return err
}

// outcome waits for what became of a record. Both are nil if nothing did.
func (r *run) outcome(it *item) (*outcome.Outcome, []byte) {
	if it.known != nil {
		return nil, it.known
	}
	o := it.outcome
	if it.call != nil {
		res := it.call.Wait()
		if res.End == tim.Undone {
			return nil, nil
		}
		r.latencies.Add(res.Took.Milliseconds())
		o = &outcome.Outcome{
			Status: statuses[res.End], GroupID: res.GroupID, Code: res.Code, Error: res.Message,
			Attempts: res.Attempts, MS: res.Took.Milliseconds(), At: res.At,
		}
		if it.sameID > 0 && o.Status == outcome.Rejected && tim.Explain(o.Code).Class == tim.Exists {
			o.Error += fmt.Sprintf("; line %d of the export has the same GroupId", it.sameID)
		}
	}
	o.N, o.Line = it.n, it.line
	o.Attempts += it.before
	o.GroupID = cmp.Or(o.GroupID, it.groupID)
	o.Assigned, o.Changed, o.Source = it.assigned, it.changed, it.source
	o.ID, o.Sum = it.id, it.sum
	return o, nil
}

// StatusOf returns the status of a record whose call ended so; "" for [tim.Undone].
func StatusOf(e tim.End) outcome.Status { return statuses[e] }

var statuses = map[tim.End]outcome.Status{
	tim.Imported: outcome.Imported,
	tim.Standing: outcome.Exists,
	tim.Rejected: outcome.Rejected,
	tim.Failed:   outcome.Failed,
	tim.Unknown:  outcome.Unknown,
}

// A stopShare watches how many of a run's calls the service rejects.
type stopShare struct {
	most            float64
	calls, rejected int
}

// A refusal says that the service rejects too large a share of an export.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// add counts an outcome and returns why the run must end, or nil. What our own rules reject does not
// count: validate is for those.
func (s *stopShare) add(o *outcome.Outcome) error {
	if o.Attempts == 0 {
		return nil
	}
	s.calls++
	if o.Status == outcome.Rejected {
		s.rejected++
	}
	if s.most >= 1 || s.calls < stopCalls || float64(s.rejected) <= s.most*float64(s.calls) {
		return nil
	}
	return &refusal{fmt.Sprintf("the service rejected %d of %d calls, the last with: %s; it is the wrong file or a wrong setting; "+
		"to go on all the same set STOP_SHARE=1", s.rejected, s.calls, o.Error)}
}

// ended returns how the run leaves the import. why is the cause that ended the reading, err an error of reading.
func (r *run) ended(why, err error) leaving {
	halt, _ := errors.AsType[*tim.Stop](why)
	refused, _ := errors.AsType[*refusal](why)
	reordered, _ := errors.AsType[*reorderedError](why)
	stopped := func(cause results.Cause, reason string) leaving { return leaving{results.Stopped, cause, 0, reason} }
	switch {
	case r.round > 0 && (errors.Is(err, blob.ErrChanged) || errors.Is(err, fs.ErrNotExist)):
		return leaving{
			results.Waiting, results.CauseEdited, 0,
			"the failures file was edited during a round of retries; the next goes on with it",
		}
	case err != nil && errors.Is(err, blob.ErrChanged):
		return leaving{
			results.Waiting, results.CauseReplaced, 0,
			"the export was replaced while it was read; the new version is a new import",
		}
	case err != nil && errors.Is(err, fs.ErrNotExist):
		return stopped(results.CauseRemoved, "the export was removed while it was read")
	case err != nil:
		return stopped(results.CauseError, err.Error())
	case halt != nil:
		return leaving{results.Stopped, results.CauseService, halt.Code, halt.Reason}
	case refused != nil:
		return stopped(results.CauseRefused, refused.Error())
	case reordered != nil:
		return stopped(results.CauseReordered, reordered.Error())
	case why == nil:
		return leaving{state: results.Finished}
	case errors.Is(why, ErrTimeUp):
		return leaving{results.Waiting, results.CauseTimeUp, 0, why.Error()}
	case errors.Is(why, errUndone):
		return leaving{results.Waiting, results.CauseUndone, 0, why.Error()}
	default:
		return leaving{results.Waiting, results.CauseInterrupted, 0, why.Error()}
	}
}
