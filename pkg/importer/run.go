package importer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

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
	share   *tim.Share
	before  results.Progress // of the run before; zero if it is unknown
	writing context.Context  // of writes, which may continue after the working time

	finishBy     time.Time      // when to stop writing the results
	drainTimeout time.Duration  // see [tim.ShareConfig]
	head         []byte         // the object to read, if it is small and was read before
	exp          results.Export // the object to read: the export, or the dead-letter file in a round of retries
	round        int            // round of retries; 0 for the import itself
	began        int64          // high-water mark of the previous run
	writer       *results.Writer
	assigner     *assigner        // nil if no GroupIds are assigned
	earlier      *earlier         // outcomes of earlier versions; nil if there are none
	encoding     string           // see [results.Checkpoint]
	records      export.Path      // see [export.Source]; nil in a round of retries
	zone         *time.Location   // see [export.Source]
	program      *mapping.Program // nil without a mapping
	users        *mapping.Users   // nil without a table of users
	guard        *mapping.Guard   // of the first records
	ignored      int64            // entries before the next item that are not records, see [export.Entry.Ignored]
	dropped      map[string]int64 // see [export.Reader.Dropped]
	assigned     bool             // this run has assigned a GroupId
	ahead        map[int64][]byte // out-of-order outcomes of earlier runs, by ordinal
	budget       *budget
	isHeavy      bool // see [run.reserve]
	queue        chan *item
	stop         context.CancelCauseFunc // ends the run
	found        blob.Info               // of the export when the run began; zero in a round of retries
	merges       results.Manifest        // that a round of retries merges its outcomes into; zero in an import
	control      *results.Control        // that the run begins with; nil unless the import is paused or cancelled

	read      int64           // the last record read
	end       export.Position // after the last entry that is not a record
	latencies latencies
	behind    []byte // out-of-order outcomes of this run, as lines of a part
	isRead    bool   // every record has an outcome
	follows   bool   // an earlier run has begun the member pass

	startMembers  sync.Once
	hasMemberPass bool           // it has started
	memberErr     error          // why it failed
	memberPass    sync.WaitGroup // its goroutines
}

// An item is a record on its way from the reader to the writer. One of known, call and outcome is set. None is set if
// the item only moves the position past entries that are not records.
type item struct {
	next     export.Position
	pos      export.Position
	n, line  int64  // of the outcome; in a round of retries they differ from pos
	before   int    // attempts in earlier rounds
	raw      []byte // nil if the reader did not keep the text
	groupID  string
	assigned bool
	id, sum  group.Digest // of the mapped record; zero if the record is invalid
	origin   results.Origin
	changed  []string // see [export.Entry.Changed]
	source   string   // see [export.Entry.Source]
	sameID   int64    // see [export.Entry.SameID]

	member     string          // the account of a member record
	members    outcome.Members // of a group that exists, before any is sent
	membersSum group.Digest
	earlier    *earlierMembers // with an outcome that was carried over; nil if it has no members
	isMissing  bool            // the outcome has its members, see [run.startMissing]

	cost int64

	known   []byte           // the line of the outcome, from an earlier run
	call    *tim.Call        // in flight
	outcome *outcome.Outcome // known without a call
	ignored int64            // entries before the record that are not records; the item may have no record
}

// advanceEvery is the number of entries that are not records after which the position moves.
const advanceEvery = 1000

func (r *run) log() *slog.Logger {
	return r.imp.log().With("key", r.dir.Export, "lease", r.lease.Number, "round", r.round)
}

// importRecords imports records until the end of the export or until ctx ends. why is why the run ends, nil at the
// end of the export.
func (r *run) importRecords(ctx context.Context, at export.Position) (why, err error) {
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.stop = stop
	var writing, watching sync.WaitGroup
	var writeErr error
	writing.Go(func() { writeErr = r.write(working) })
	if r.follows {
		r.followMembers(working)
	}
	done := make(chan struct{})
	watching.Go(func() { r.watch(working, done) })
	watching.Go(func() { r.watchControl(working, done) })
	if r.control != nil {
		stop(&controlError{r.control})
	}
	readErr := func() error {
		defer close(r.queue) // readAll may panic
		if r.isRead {
			return nil
		}
		return r.readAll(working, at)
	}()
	writing.Wait()
	why = context.Cause(working)
	if why == nil && readErr == nil {
		why = r.replaced(ctx)
	}
	if why == nil && len(r.behind) > 0 {
		why = errUndone
	}
	r.isRead = r.isRead || why == nil && readErr == nil && writeErr == nil
	r.endMembers(r.isRead)
	if r.isRead && why == nil {
		why = context.Cause(working)
	}
	close(done)
	watching.Wait()
	for n, line := range r.ahead {
		if n > r.read {
			r.behind = append(append(r.behind, line...), '\n') // this run has not reached the record either
		}
	}
	switch {
	case writeErr != nil:
		return why, writeErr
	case errors.Is(why, blob.ErrChanged), errors.Is(why, fs.ErrNotExist):
		return nil, why
	case readErr != nil && why == nil:
		return nil, readErr
	case r.memberErr != nil:
		return nil, r.memberErr
	}
	return why, nil
}

// watch ends the run if the export is replaced or removed. The reader does not always notice: it may have read
// everything, or the store may still return the old bytes.
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

// replaced returns an error if the export was replaced or removed. It returns nil if the store fails: watch checks
// again.
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

// readAll starts a call for each record, in order, until the end of the export or until ctx ends.
func (r *run) readAll(ctx context.Context, at export.Position) error {
	src := r.imp.source(ctx, r.exp, r.head)
	src.Encoding, src.Records, src.Zone, src.Window = r.encoding, r.records, r.zone, r.reserveWindow
	if r.program != nil {
		src.Map = r.program
	}
	if r.users != nil {
		src.Users, src.StrictUsers = r.users, r.imp.Config.UsersStrict
	}
	records, err := export.NewReader(src, at, r.imp.Config.Limits)
	if err != nil {
		return err
	}
	r.dropped = records.Dropped()
	defer func() {
		for _, note := range records.Notes() {
			r.log().WarnContext(ctx, "the export is unusual", "note", note)
		}
	}()
	var held []*item // while the guard doubts that the mapping fits; none of them has a call
	for e, err := range records.Records(ctx) {
		if ctx.Err() != nil {
			return nil // the cause says why
		}
		if err != nil {
			r.put(held)
			return r.guard.Explain(ctx, err, src)
		}
		if e.Blank {
			if len(held) == 0 {
				r.queue <- &item{pos: e.Next, ignored: r.ignored}
				r.ignored = 0
			}
			r.end = e.Next
			continue
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
			n: e.Pos.N, line: e.Pos.Line, pos: e.Pos, next: e.Next, ignored: r.ignored,
			cost: min(int64(len(e.Raw)+recordCost), maxAheadBytes),
		}
		r.ignored = 0
		if r.round > 0 && !r.isRetried(it, &e) {
			continue
		}
		it.raw, it.changed, it.source = bytes.Clone(e.Raw), e.Changed, e.Source
		it.sameID = e.SameID
		if r.budget.acquire(ctx, it.cost) != nil || !r.start(ctx, it, &e) {
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

// put passes items to the writer, which always drains the queue.
func (r *run) put(items []*item) {
	for _, it := range items {
		r.read = it.n
		r.queue <- it
	}
}

// start sets the outcome of the record or starts its call. It returns false if the run ends before the record.
func (r *run) start(ctx context.Context, it *item, e *export.Entry) bool {
	if e.Ignored { // in a round of retries: the record already has an outcome
		e.Skipped = "not a group by the mapping"
	}
	if e.Problem == nil && e.Skipped == "" {
		it.id, it.sum = e.Record.Identity(), e.Record.Sum()
	}
	if line, ok := r.ahead[it.n]; ok {
		return r.startKnown(it, line)
	}
	isValid := e.Problem == nil && e.Skipped == "" && !r.imp.Config.NoMembers
	if r.startMissing(it, &e.Record, e.Failure, isValid) {
		return true
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
	if r.imp.Config.NoMembers && leaveOut(it, &e.Record) {
		return true
	}
	if e.Record.IsMember {
		it.groupID, it.member = e.Record.GroupID, e.Record.Members[0].Account
	} else {
		it.members, it.membersSum = pendingOf(&e.Record), e.Record.MembersSum()
	}
	switch done, err := r.carryOver(it, e); {
	case err != nil:
		r.stop(err)
		return false
	case done:
		return true
	}
	rec := e.Record
	if rec.IsMember {
		it.outcome = &outcome.Outcome{Status: outcome.Pending, At: time.Now()}
		return true
	}
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
			Error: "an earlier run died after it may have sent this record, which has no GroupId: the group may exist",
		}
		return true
	}
	// The seed of assigned GroupIds must also be durable before the first is sent.
	if rec.GroupID == "" || it.assigned && !r.assigned {
		if err := r.writer.WriteAhead(ctx, it.pos.N); err != nil {
			r.stop(err) // unless there is a cause already
			return false
		}
		r.assigned = r.assigned || it.assigned
	}
	if rec.Type == group.AVChatRoom && rec.CreateTime != 0 {
		it.changed = append(slices.Clone(it.changed), "CreateTime") // create_group does not keep it
	}
	rec.Members = nil // the member pass decodes them again: they need not stay in memory
	it.call = r.imp.Client.ImportGroup(ctx, &rec)
	return true
}

// carryOver sets the outcome of a record whose group was created, or may have been created, from an earlier version
// of the export. It reports whether it set the outcome.
func (r *run) carryOver(it *item, e *export.Entry) (done bool, err error) {
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
	s, found, err := r.earlier.match(it.id)
	hasID := e.Record.GroupID != ""
	if _, uncertain := errors.AsType[*reorderedError](err); uncertain && (hasID || r.imp.Config.CreateUnmatched) {
		err = nil
	}
	if err != nil || !found {
		it.origin.New = !hasID
		return false, err
	}
	it.origin = s.origin
	it.earlier = s.members
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

// startKnown sets the outcome of a record from a line of an earlier run.
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
		it.origin, err = r.earlier.rematch(&o)
		if err != nil {
			r.stop(err)
			return false
		}
	}
	return true
}

// assignedID returns the GroupId of an outcome if this program assigned it, else "".
func assignedID(o *outcome.Outcome) string {
	if o.Assigned {
		return o.GroupID
	}
	return ""
}

// write waits for the calls in order and writes their outcomes. After a record without an outcome, it keeps the
// following outcomes as out-of-order outcomes.
func (r *run) write(ctx context.Context) error {
	var err error
	gap := false
	share := stopShare{max: r.imp.Config.StopShare}
	for it := range r.queue {
		if (it.ignored > 0 || it.n == 0) && !gap && err == nil {
			r.writer.Advance(it.pos, it.ignored)
		}
		if it.n == 0 {
			continue
		}
		o, line := r.outcome(it)
		switch {
		case o == nil && line == nil: // no outcome
			gap = true
			if s := r.imp.Client.Fatal(); s != nil {
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
			if err = r.writer.Append(o, raw, it.next, it.origin); err != nil {
				r.stop(err)
				break
			}
			if o.IsPending() {
				r.followMembers(ctx)
			}
			if reason := share.add(o); reason != nil {
				r.stop(reason)
			}
		}
		r.budget.release(it.cost)
	}
	return err
}

// outcome waits for the outcome of a record. It returns a line for a known outcome, else the outcome. Both are nil if
// the record has no outcome.
func (r *run) outcome(it *item) (*outcome.Outcome, []byte) {
	if it.known != nil {
		return nil, it.known
	}
	o := it.outcome
	if it.call != nil {
		res := it.call.Wait()
		if res.End == tim.Incomplete {
			return nil, nil
		}
		r.latencies.add(res.Took.Milliseconds())
		o = &outcome.Outcome{
			Status: statuses[res.End], GroupID: res.GroupID, Code: res.Code, Error: res.Message,
			Attempts: res.Attempts, MS: res.Took.Milliseconds(), At: res.At, Created: res.Created,
		}
		if it.sameID > 0 && o.Status == outcome.Rejected && tim.Explain(o.Code).Class == tim.InUse {
			o.Error += fmt.Sprintf("; line %d of the export has the same GroupId", it.sameID)
		}
	}
	o.N, o.Line = it.n, it.line
	o.Attempts += it.before
	o.GroupID = cmp.Or(o.GroupID, it.groupID)
	o.Assigned, o.Changed, o.Source = it.assigned, it.changed, it.source
	o.ID, o.Sum = it.id, it.sum
	if o.Member = it.member; o.Member == "" && o.Status.HasGroup() && !it.isMissing {
		it.setMembers(o, r.imp.Config.Limits)
	}
	return o, nil
}

// StatusOf returns the status of a record by the end of its call, "" for [tim.Incomplete].
func StatusOf(e tim.End) outcome.Status { return statuses[e] }

var statuses = map[tim.End]outcome.Status{
	tim.Imported:   outcome.Imported,
	tim.Exists:     outcome.Exists,
	tim.Rejected:   outcome.Rejected,
	tim.Failed:     outcome.Failed,
	tim.Unknown:    outcome.Unknown,
	tim.Incomplete: "",
}

// A stopShare counts the rejected calls of a run.
type stopShare struct {
	max             float64
	calls, rejected int
}

// A shareError says that the service rejects too large a share of an export.
type shareError struct{ text string }

func (e *shareError) Error() string { return e.text }

// add counts an outcome and returns a [*shareError] if the run must end. It does not count records that the program
// rejects without a call.
func (s *stopShare) add(o *outcome.Outcome) error {
	if o.Attempts == 0 {
		return nil
	}
	s.calls++
	if o.Status == outcome.Rejected {
		s.rejected++
	}
	if s.max >= 1 || s.calls < minShareCalls || float64(s.rejected) <= s.max*float64(s.calls) {
		return nil
	}
	return &shareError{fmt.Sprintf("the service rejected %d of %d calls, the last with: %s; check the file and the "+
		"settings. To import it anyway, set STOP_SHARE=1", s.rejected, s.calls, o.Error)}
}

// ended returns the state of the import after a run. why is the cause that ended the reading, err an error of
// reading.
func (r *run) ended(why, err error) endState {
	fatal, _ := errors.AsType[*tim.FatalError](why)
	rejected, _ := errors.AsType[*shareError](why)
	reordered, _ := errors.AsType[*reorderedError](why)
	stopped := func(cause results.Cause, reason string) endState { return endState{results.Stopped, cause, 0, reason} }
	control, _ := errors.AsType[*controlError](why)
	switch {
	case control != nil && err == nil:
		return endState{control.State(), control.Cause(), 0, control.Reason()}
	case r.round > 0 && (errors.Is(err, blob.ErrChanged) || errors.Is(err, fs.ErrNotExist)):
		return endState{
			results.Waiting, results.CauseEdited, 0,
			"the dead-letter file was edited during a round of retries; the next run retries the rest",
		}
	case err != nil && errors.Is(err, blob.ErrChanged):
		return endState{
			results.Waiting, results.CauseReplaced, 0,
			"the export was replaced while it was read; the new version is a new import",
		}
	case err != nil && errors.Is(err, fs.ErrNotExist):
		return stopped(results.CauseRemoved, "the export was removed while it was read")
	case err != nil:
		return stopped(results.CauseError, err.Error())
	case fatal != nil:
		return endState{results.Stopped, results.CauseService, fatal.Code, fatal.Reason}
	case rejected != nil:
		return stopped(results.CauseRefused, rejected.Error())
	case reordered != nil:
		return stopped(results.CauseReordered, reordered.Error())
	case why == nil:
		return endState{state: results.Finished}
	case errors.Is(why, ErrTimeUp):
		return endState{results.Waiting, results.CauseTimeUp, 0, why.Error()}
	case errors.Is(why, errUndone):
		return endState{results.Waiting, results.CauseUndone, 0, why.Error()}
	default:
		return endState{results.Waiting, results.CauseInterrupted, 0, why.Error()}
	}
}
