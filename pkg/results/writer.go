package results

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/export"
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
)

const (
	// A part is written once it holds partBytes, or every flushEvery if there is anything to write.
	partBytes  = 1 << 20
	flushEvery = 5 * time.Second

	// While the store is slow or away outcomes gather up to heldMost; then nothing more is taken.
	heldMost = 4 << 20

	// block is how many records without a GroupId may be under way or not written at any time, and so
	// how many a kill can leave unknown. They are announced ("sent up to") with the part before, when
	// lookahead of the last block are left: at 200 a second that is a second for two small writes.
	block     = 500
	lookahead = 200
	waitEvery = 250 * time.Millisecond // how long a reader that waits for an announcement may wait for company

	// A write that the store refuses is repeated for patience.
	patience = 2 * time.Minute
)

var retryWaits = backoff.Exponential{Base: time.Second, Max: 30 * time.Second}

// A Writer writes the outcomes of one run as parts and checkpoints. Append and Announce may be called
// concurrently with each other.
type Writer struct {
	dir    Dir
	lease  *lease.Lease
	log    *slog.Logger
	cancel context.CancelFunc
	began  int64         // Sent, as the run before left it
	kick   chan struct{} // asks the flusher to look
	ended  chan struct{} // closed when the flusher has returned

	mu      sync.Mutex
	changed chan struct{} // closed when something below changes that others wait for, and then made anew
	cp      Checkpoint    // as it would be with held
	held    []byte        // outcomes that are in no part yet
	sent    int64         // what the durable checkpoint announces
	flushed time.Time     // when that was written
	moved   bool          // the position has changed since, without an outcome
	asked   int64         // the last record without a GroupId that was announced
	closing bool
	err     error

	told time.Time // when progress was last written; the flusher's
}

// NewWriter returns a Writer that goes on from cp, which it owns from then on, and whose last run is the
// one under way. Writes end with ctx. The caller must call Close.
func (d Dir) NewWriter(ctx context.Context, lease *lease.Lease, cp Checkpoint, log *slog.Logger) *Writer {
	ctx, cancel := context.WithCancel(ctx)
	w := &Writer{
		dir: d, lease: lease, log: log, cancel: cancel, began: cp.Sent, cp: cp,
		kick: make(chan struct{}, 1), ended: make(chan struct{}), changed: make(chan struct{}),
		sent: cp.Sent, flushed: time.Now(),
	}
	go w.flushing(ctx)
	return w
}

// Append adds the outcome of the next record, and the record as it came if it has no group. next is where the record
// behind it begins. Append waits while too much is held. Its error is why nothing can be written.
func (w *Writer) Append(ctx context.Context, o *outcome.Outcome, raw []byte, next export.Position, t Taken) error {
	w.mu.Lock()
	for len(w.held) >= heldMost && w.err == nil {
		if err := w.wait(ctx); err != nil {
			w.mu.Unlock()
			return err
		}
	}
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.held = append(o.AppendPartLine(w.held, raw), '\n')
	w.cp.Counts.Add(o.Status)
	w.cp.Runs[len(w.cp.Runs)-1].Counts.Add(o.Status)
	w.cp.Next = next
	if w.cp.Carry != nil {
		w.cp.Carry.count(o, t)
	}
	if w.due() {
		w.look()
	}
	return nil
}

// Advance moves the position over entries that are no records.
func (w *Writer) Advance(next export.Position, entries int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cp.Next, w.moved = next, true
	w.cp.Ignored += entries
}

// Announce says that record n, which has no GroupId, is about to be sent, and returns once that is
// durable. Mostly it is already.
func (w *Writer) Announce(ctx context.Context, n int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = max(w.asked, n)
	if w.due() {
		w.look()
	}
	for n > w.sent && w.err == nil {
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
	return w.err
}

// due reports whether the flusher has something to write now. mu is held.
func (w *Writer) due() bool {
	if len(w.held) >= partBytes || w.closing {
		return true
	}
	reach := w.cp.Next.N - 1 + block // what the next checkpoint could announce
	if w.asked > w.sent {
		// The reader waits. To serve it record by record would make a part of each.
		return reach >= w.asked && (reach >= w.sent+lookahead/2 || time.Since(w.flushed) >= waitEvery)
	}
	return w.asked > 0 && w.asked > w.sent-lookahead && reach >= w.sent+lookahead
}

// look wakes the flusher. mu is held.
func (w *Writer) look() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// wait returns when something has changed. mu is held, but not meanwhile.
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
		due, closing := w.due() || (len(w.held) > 0 || w.moved) && time.Since(w.flushed) >= flushEvery, w.closing
		w.mu.Unlock()
		if closing || ctx.Err() != nil {
			return // Close writes the rest itself
		}
		if !due {
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
	w.wake()
}

// wake lets those that wait look again. mu is held.
func (w *Writer) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// flush writes what is held as a part, and then the checkpoint that counts it. One flush is under way at
// a time.
func (w *Writer) flush(ctx context.Context) error {
	w.mu.Lock()
	held := w.held
	w.held, w.moved = nil, false
	if len(held) > 0 {
		if last := len(w.cp.Parts) - 1; last >= 0 && w.cp.Parts[last].Lease == w.lease.Number {
			w.cp.Parts[last].Count++
		} else {
			w.cp.Parts = append(w.cp.Parts, Parts{Lease: w.lease.Number, Count: 1})
		}
	}
	if w.asked > 0 && w.asked > w.sent-lookahead && !w.closing {
		w.cp.Sent = max(w.cp.Sent, w.cp.Next.N-1+block)
	}
	cp := w.cp.clone()
	w.mu.Unlock()

	if len(held) > 0 {
		key := w.dir.part(w.lease.Number, cp.Parts[len(cp.Parts)-1].Count)
		err := w.persist(ctx, "part", func() error { return w.dir.Bucket.Put(ctx, key, bytes.NewReader(held)) })
		if err != nil {
			return fmt.Errorf("write part %q: %w", key, err)
		}
	}
	if err := w.save(ctx, cp); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent, w.flushed = cp.Sent, time.Now()
	w.wake()
	return nil
}

// save writes a checkpoint, if the lease is still ours, and the progress from it.
func (w *Writer) save(ctx context.Context, cp Checkpoint) error {
	err := w.persist(ctx, "checkpoint", func() error {
		if err := w.lease.Check(ctx); err != nil {
			return err
		}
		return writeJSON(ctx, w.dir.Bucket, w.dir.checkpoint(w.lease.Number), cp)
	})
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	if time.Since(w.told) < progressEvery || !cp.Runs[len(cp.Runs)-1].End.IsZero() {
		return nil // what a run says at its end is the importer's
	}
	w.told = time.Now()
	p := ProgressOf(Running, "", &cp)
	p.Owner, p.Until = w.lease.Owner, w.lease.Until
	if err := writeJSON(ctx, w.dir.Bucket, w.dir.Progress(), p); err != nil {
		w.log.WarnContext(ctx, "progress not written", "err", err) // the checkpoint is what counts
	}
	return nil
}

// persist tries until the store takes it, for patience. A refusal for good is not repeated.
func (w *Writer) persist(ctx context.Context, what string, write func() error) error {
	start := time.Now()
	for n := 1; ; n++ {
		err, wait := write(), retryWaits.Limit(n)
		if err == nil || errors.Is(err, lease.ErrLost) || errors.Is(err, fs.ErrPermission) || ctx.Err() != nil || time.Since(start)+wait > patience {
			return err
		}
		w.log.WarnContext(ctx, "store refuses, trying again", "what", what, "err", err, "wait", wait)
		_ = backoff.Sleep(ctx, wait) // write fails if ctx is done
	}
}

// Close writes what is left, in good order: all outcomes, those behind a record that has none (as lines
// of a part, see [outcome.Outcome.AppendPartLine]; the record's own outcome is not among them), and the last checkpoint,
// which finish completes before. No call of Append or Announce may be under way.
func (w *Writer) Close(ctx context.Context, ahead []byte, finish func(*Checkpoint)) (Checkpoint, error) {
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	w.look()
	<-w.ended
	w.cancel()
	if w.err != nil {
		return w.cp, w.err
	}
	if len(ahead) > 0 {
		key := w.dir.ahead(w.lease.Number)
		err := w.persist(ctx, "outcomes ahead", func() error { return w.dir.Bucket.Put(ctx, key, bytes.NewReader(ahead)) })
		if err != nil {
			return w.cp, fmt.Errorf("write %q: %w", key, err)
		}
		w.cp.Ahead = w.lease.Number
	} else {
		w.cp.Ahead = 0
	}
	// All others that this run has sent are ahead. What a run before, which died, may have sent stays
	// so until this import has passed it.
	w.cp.Sent = max(w.cp.Next.N-1, w.began)
	finish(&w.cp)
	return w.cp, w.flush(ctx)
}

func (cp *Checkpoint) clone() Checkpoint {
	c := *cp
	c.Parts = append([]Parts(nil), cp.Parts...)
	c.Runs = append([]Run(nil), cp.Runs...)
	c.Carry = cp.Carry.clone()
	return c
}
