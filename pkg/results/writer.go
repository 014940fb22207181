package results

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/export"
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
)

const (
	// The writer flushes a part at partBytes, or after flushEvery.
	partBytes  = 1 << 20
	flushEvery = 5 * time.Second

	// While the store is slow or unavailable, the writer buffers up to maxHeld bytes. Append waits beyond it.
	maxHeld = 4 << 20

	// block limits the records without a GroupId that are in flight or not written. It is the number of unknown records
	// that a kill can cause. The writer raises the high-water mark together with the previous part, when lookahead
	// records of the last block are left. At 200 records per second, this leaves one second for two small writes.
	block     = 500
	lookahead = 200
	waitEvery = 250 * time.Millisecond // longest wait of WriteAhead for further records before a flush

	// A failed write is retried for up to patience.
	patience = 2 * time.Minute

	// The first progress of a new import is written after this time.
	progressAfter = time.Second
)

var retryWaits = backoff.Exponential{Base: time.Second, Max: 30 * time.Second}

// A Writer writes the outcomes of one run as parts and checkpoints. Append, Advance and WriteAhead are safe for
// concurrent use.
type Writer struct {
	ctx    context.Context // of all writes, which may continue after the working time of the run
	dir    Dir
	lease  *lease.Lease
	cancel context.CancelFunc
	began  int64         // Sent of the previous run
	kick   chan struct{} // wakes the flusher
	ended  chan struct{} // closed when the flusher has returned

	mu          sync.Mutex
	changed     chan struct{} // closed and replaced when a field below changes that callers wait for
	cp          Checkpoint    // includes held
	held        []byte        // outcomes that are in no part yet
	heldMembers []byte        // the same of the member pass
	isFlushing  bool          // held is being written
	isRead      bool          // see EndRecords
	isDurable   bool          // all outcomes of the first pass are in parts
	isStarved   bool          // the member pass waits for outcomes
	sent        int64         // high-water mark of the durable checkpoint
	flushed     time.Time     // when the durable checkpoint was written
	moved       bool          // Advance has moved the position since
	asked       int64         // the last record that WriteAhead was called for
	closing     bool
	err         error
	died        int       // see [Progress.Died], until the first outcome of the run is durable
	pending     time.Time // when to write the first progress; zero if it is written

	progressAt time.Time // when the progress was last written; used by the flusher only
	written    [2]int    // parts that this run has written, of both passes; used by the flusher only

	merger merger
}

// NewWriter returns a Writer that resumes from cp. The Writer owns cp, whose last run is the one in progress. All its
// writes, and the waits for them, end with ctx. died is [Progress.Died] of the run until an outcome of the run is
// durable. The caller must call Close.
//
// With [Dir.IsNew], Close leaves the outcomes in memory if they are all outcomes of the import and fit in one part. The
// caller must then call [Dir.Finish] with the checkpoint and, if that fails, Flush. Not so for an import that a run has
// worked on before: a run that resumes takes results without a manifest for those of an earlier import. And the first
// progress is written after a second, unless the Writer is closed before.
func (d Dir) NewWriter(ctx context.Context, lease *lease.Lease, cp Checkpoint, died int) *Writer {
	background, cancel := context.WithCancel(ctx)
	w := &Writer{
		ctx: ctx, dir: d, lease: lease, cancel: cancel, began: cp.Sent, cp: cp,
		kick: make(chan struct{}, 1), ended: make(chan struct{}), changed: make(chan struct{}),
		sent: cp.Sent, flushed: time.Now(), progressAt: time.Now().Add(-progressEvery), died: died,
	}
	if d.IsNew {
		w.pending = time.Now().Add(progressAfter)
	}
	w.merger = merger{
		sizes: map[partName]int64{}, kick: make(chan struct{}, 1), ended: make(chan struct{}), listed: len(cp.Parts) == 0,
		durable: cp.Parts,
	}
	if cp.Members != nil {
		w.merger.durableMembers = cp.Members.Parts
		w.merger.listed = w.merger.listed && len(cp.Members.Parts) == 0
	}
	go w.flushing(background)
	go w.merging(background)
	return w
}

// Append adds the outcome of the next record. raw is the record as it is in the export. The line of an outcome without
// a group includes raw. next is the position after the record. Append waits while the buffer is full. The error is why
// the Writer cannot write.
func (w *Writer) Append(o *outcome.Outcome, raw []byte, next export.Position, from Origin) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.held) >= maxHeld && w.err == nil {
		if err := w.wait(w.ctx); err != nil {
			return err
		}
	}
	if w.err != nil {
		return w.err
	}
	w.held = append(o.AppendPartLine(w.held, raw), '\n')
	w.cp.Counts.Add(o)
	w.cp.Runs[len(w.cp.Runs)-1].Counts.AddSent(o)
	if o.IsPending() && w.cp.Members == nil {
		w.cp.Members = &MemberPass{}
	}
	w.cp.Next = next
	if w.cp.Carry != nil {
		w.cp.Carry.count(o, from)
	}
	if w.isDue() {
		w.wakeFlusher()
	}
	return nil
}

// Now returns the position, and the counts of the import and of the run, with what is not durable yet.
func (w *Writer) Now() (next export.Position, total, run outcome.Counts) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cp.Next, w.cp.Total(), w.cp.Runs[len(w.cp.Runs)-1].Counts
}

// Advance moves the position past entries that are not records.
func (w *Writer) Advance(next export.Position, entries int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cp.Next, w.moved = next, true
	w.cp.Ignored += entries
}

// WriteAhead raises the high-water mark to record n, which has no GroupId, before the record is sent. It returns once
// the mark is durable, in most cases at once. ctx is that of the record's call.
func (w *Writer) WriteAhead(ctx context.Context, n int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = max(w.asked, n)
	if w.isDue() {
		w.wakeFlusher()
	}
	for n > w.sent && w.err == nil {
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
	return w.err
}

// isDue reports whether the flusher must write now. The caller holds mu.
func (w *Writer) isDue() bool {
	if len(w.held) >= partBytes || len(w.heldMembers) >= partBytes || w.closing {
		return true
	}
	if len(w.held) > 0 && (w.isRead || w.isStarved && time.Since(w.flushed) >= starvedFlush) {
		return true
	}
	reach := w.cp.Next.N - 1 + block // high-water mark of the next checkpoint
	if w.asked > w.sent {
		// WriteAhead waits. Flush for several records together, not for each.
		return reach >= w.asked && (reach >= w.sent+lookahead/2 || time.Since(w.flushed) >= waitEvery)
	}
	return w.asked > 0 && w.asked > w.sent-lookahead && reach >= w.sent+lookahead
}

// wakeFlusher wakes the flusher. The caller holds mu.
func (w *Writer) wakeFlusher() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// wait waits for the next broadcast. The caller holds mu; wait unlocks it while it waits.
func (w *Writer) wait(ctx context.Context) error {
	changed := w.changed
	w.mu.Unlock()
	defer w.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *Writer) flushing(ctx context.Context) {
	defer close(w.ended)
	tick := time.NewTicker(waitEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.kick:
		case <-tick.C:
		case <-ctx.Done():
		}
		w.mu.Lock()
		due := w.isDue() || (len(w.held) > 0 || len(w.heldMembers) > 0 || w.moved) && time.Since(w.flushed) >= flushEvery
		closing := w.closing
		w.mu.Unlock()
		if closing || ctx.Err() != nil {
			return // Close writes the rest
		}
		if !due {
			w.refreshProgress(ctx)
			continue
		}
		if err := w.flush(ctx); err != nil {
			w.fail(err)
			return
		}
	}
}

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	w.broadcast()
}

// broadcast wakes all callers of wait. The caller holds mu.
func (w *Writer) broadcast() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// flush writes the buffer as a part, and then the checkpoint that counts the part. It is not safe for concurrent use.
func (w *Writer) flush(ctx context.Context) error {
	w.mu.Lock()
	held, heldMembers := w.held, w.heldMembers
	w.held, w.heldMembers, w.moved, w.isFlushing = nil, nil, false, true
	part := partName{token: w.lease.Number, number: w.written[0] + 1}
	if len(held) > 0 {
		w.written[0]++
		w.cp.Parts = appendPart(w.cp.Parts, part)
	}
	memberPart := partName{token: w.lease.Number, number: w.written[1] + 1, isMembers: true}
	if len(heldMembers) > 0 {
		w.written[1]++
		w.cp.Members.Parts = appendPart(w.cp.Members.Parts, memberPart)
	}
	replaced := w.merger.replaced
	w.merger.replaced = nil
	if w.asked > 0 && w.asked > w.sent-lookahead && !w.closing {
		w.cp.Sent = max(w.cp.Sent, w.cp.Next.N-1+block)
	}
	cp := w.cp.clone()
	w.mu.Unlock()

	if err := w.putPart(ctx, part, held); err != nil {
		return err
	}
	if err := w.putPart(ctx, memberPart, heldMembers); err != nil {
		return err
	}
	if err := w.save(ctx, cp); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent, w.flushed = cp.Sent, time.Now()
	if len(held) > 0 {
		w.merger.sizes[part] = int64(len(held))
	}
	w.merger.durable, w.merger.removable = cp.Parts, append(w.merger.removable, replaced...)
	if cp.Members != nil {
		w.merger.durableMembers = cp.Members.Parts
	}
	if len(heldMembers) > 0 {
		w.merger.sizes[memberPart] = int64(len(heldMembers))
	}
	w.isFlushing = false
	w.isDurable = w.isRead && len(w.held) == 0
	w.merger.wake()
	w.broadcast()
	return nil
}

// putPart writes a part, unless it is empty.
func (w *Writer) putPart(ctx context.Context, part partName, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	key := w.dir.part(part)
	err := w.persist(ctx, "part", func() error { return w.dir.Bucket.Put(ctx, key, bytes.NewReader(data)) })
	if err != nil {
		return fmt.Errorf("write part %q: %w", key, err)
	}
	return nil
}

// save writes a checkpoint and the progress from it, unless the lease is lost.
func (w *Writer) save(ctx context.Context, cp Checkpoint) error {
	err := w.persist(ctx, "checkpoint", func() error {
		// The name has the fencing token, so the lease may have expired while the store did not respond.
		if err := w.lease.CheckAgain(ctx); err != nil {
			return err
		}
		return writeJSON(ctx, w.dir.Bucket, w.dir.checkpoint(w.lease.Number), cp)
	})
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	last := &cp.Runs[len(cp.Runs)-1]
	if time.Since(w.progressAt) < progressEvery || !last.End.IsZero() || last.Counts == (outcome.Counts{}) {
		return nil // before the first outcome and at the end of the run, others write the progress
	}
	w.saveProgress(ctx, &cp)
	return nil
}

// refreshProgress writes the progress of a run that has had no outcome for a while, because it is throttled or the
// service does not respond. Otherwise readers would take the run for dead once the lease in the progress has ended.
func (w *Writer) refreshProgress(ctx context.Context) {
	w.mu.Lock()
	isPending := !w.pending.IsZero() && !time.Now().Before(w.pending)
	if !isPending && time.Since(w.progressAt) < refreshEvery {
		w.mu.Unlock()
		return
	}
	cp := w.cp.clone()
	w.mu.Unlock()
	before := w.progressAt
	w.saveProgress(ctx, &cp)
	if isPending {
		w.progressAt = before // the first durable outcome is written at once
	}
}

func (w *Writer) saveProgress(ctx context.Context, cp *Checkpoint) {
	w.progressAt = time.Now()
	p := ProgressOf(Running, "", "", cp)
	p.Owner, p.Until = w.lease.Owner, w.lease.Until()
	w.mu.Lock()
	if w.written == [2]int{} {
		p.Died = w.died
	}
	w.pending = time.Time{}
	w.mu.Unlock()
	if err := writeJSON(ctx, w.dir.Bucket, w.dir.Progress(), p); err != nil {
		w.dir.log().WarnContext(ctx, "progress not written", "err", err) // the checkpoint is enough
	}
}

// persist repeats write until it succeeds, for up to patience. It does not repeat permanent errors.
func (w *Writer) persist(ctx context.Context, what string, write func() error) error {
	start := time.Now()
	for n := 1; ; n++ {
		err, wait := write(), retryWaits.Limit(n)
		isPermanent := errors.Is(err, lease.ErrLost) || errors.Is(err, fs.ErrPermission)
		if err == nil || isPermanent || ctx.Err() != nil || time.Since(start)+wait > patience {
			return err
		}
		w.dir.log().WarnContext(ctx, "store write failed, retrying", "what", what, "err", err, "wait", wait)
		_ = backoff.Sleep(ctx, wait) // write fails if ctx is done
	}
}

// A RunEnd is what a run says of itself at its end. The fields that [Run] has too mean the same.
type RunEnd struct {
	Why, Stop string
	Cause     Cause
	Code      int
	Attempts  int64
	Slowed    int

	IsRead bool   // every record has an outcome
	Ahead  []byte // out-of-order outcomes, lines as of [outcome.Outcome.AppendPartLine]
}

// end ends the run in progress. An export that was read to its end stays so.
func (cp *Checkpoint) end(e *RunEnd) {
	run := &cp.Runs[len(cp.Runs)-1]
	run.End, run.Why, run.Stop, run.Cause, run.Code = time.Now().UTC(), e.Why, e.Stop, e.Cause, e.Code
	run.Attempts, run.Slowed = e.Attempts, e.Slowed
	run.clip()
	cp.Done = cp.Done || e.IsRead
}

// Close writes the buffered and the out-of-order outcomes, and then the last checkpoint, which it returns. No call of
// another method but Now may be in progress.
func (w *Writer) Close(end RunEnd) (Checkpoint, error) {
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	w.wakeFlusher()
	<-w.ended
	w.cancel()
	<-w.merger.ended
	if w.err != nil {
		return w.cp, w.err
	}
	ahead := 0
	if len(end.Ahead) > 0 {
		ahead = w.lease.Number
		key := w.dir.ahead(ahead)
		err := w.persist(w.ctx, "out-of-order outcomes", func() error {
			return w.dir.Bucket.Put(w.ctx, key, bytes.NewReader(end.Ahead))
		})
		if err != nil {
			return w.cp, fmt.Errorf("write %q: %w", key, err)
		}
	}
	w.mu.Lock()
	w.cp.Ahead = ahead
	// Every record that this run has sent has an outcome. Records that an earlier, killed run may have sent stay below
	// the mark until the import has passed them.
	w.cp.Sent = max(w.cp.Next.N-1, w.began)
	w.cp.end(&end)
	w.mu.Unlock()
	isAll := w.cp.Done && w.cp.Members == nil && len(w.cp.Parts) == 0 && len(end.Ahead) == 0
	if w.dir.IsNew && isAll && len(w.held) <= partBytes {
		cp := w.cp.clone()
		cp.held, cp.isHeld, cp.isSaved = w.held, true, w.sent > 0
		return cp, nil
	}
	return w.Flush()
}

// Flush writes the outcomes that Close has left in memory, and the last checkpoint.
func (w *Writer) Flush() (Checkpoint, error) {
	if err := w.flush(w.ctx); err != nil {
		return w.cp, err
	}
	w.removeMerged(w.ctx)
	return w.cp, nil
}

func (cp *Checkpoint) clone() Checkpoint {
	c := *cp
	c.Parts = append([]Parts(nil), cp.Parts...)
	c.Runs = append([]Run(nil), cp.Runs...)
	c.Carry, c.Members = cp.Carry.Clone(), cp.Members.clone()
	return c
}
