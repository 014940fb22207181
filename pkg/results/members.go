package results

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"time"

	"groupimport/pkg/outcome"
)

// A MemberPass is the state of the second pass of an import, which adds the members of its groups. It reads the lines
// of the parts, with records whose members are pending, and writes each again as a part of its own: with the outcome
// of the members, or as it is.
//
// The parts are read only once they are durable. So a group's outcome is durable before its first member is sent, and
// groups do not wait for members.
type MemberPass struct {
	Offset int64   `json:"offset"` // bytes of all parts of the first pass up to the first line without an outcome here
	Parts  []Parts `json:"parts"`  // of this pass, in order

	Read   outcome.Counts `json:"read"`   // of the lines up to Offset, as they were read
	Counts outcome.Counts `json:"counts"` // of the parts of this pass

	IsEnd bool `json:"isEnd,omitzero"` // every line has an outcome
}

func (m *MemberPass) clone() *MemberPass {
	if m == nil {
		return nil
	}
	c := *m
	c.Parts = slices.Clone(m.Parts)
	return &c
}

// Total returns the counts of both passes.
func (cp *Checkpoint) Total() outcome.Counts {
	total := cp.Counts
	if m := cp.Members; m != nil {
		total.Minus(&m.Read)
		total.Plus(&m.Counts)
	}
	return total
}

// IsComplete reports whether every record has an outcome, and no member is pending.
func (cp *Checkpoint) IsComplete() bool { return cp.Done && (cp.Members == nil || cp.Members.IsEnd) }

// final returns the parts with the outcomes of both passes, in order. Lines of the first pass that the member pass has
// written again may follow.
func (cp *Checkpoint) final() []Parts {
	switch m := cp.Members; {
	case m == nil:
		return cp.Parts
	case m.IsEnd:
		return m.Parts
	default:
		return slices.Concat(m.Parts, cp.Parts)
	}
}

// isRewritten reports whether a line of the final parts, of record n after record last, was there before: the member
// pass has written the record again.
func (cp *Checkpoint) isRewritten(n, last int64) bool { return cp.Members != nil && n > 0 && n <= last }

// finalLines yields the lines of the final parts, each record once. A line is valid until the next iteration.
func (d Dir) finalLines(ctx context.Context, cp *Checkpoint) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		sizes, err := d.sizesAhead(ctx, cp.final())
		if err != nil {
			yield(nil, err)
			return
		}
		last := int64(0)
		for l, err := range readLines(ctx, d.Bucket, d.sources(parts(cp.final()), 0, 0, sizes), false) {
			if err == nil {
				n := outcome.Scan(l.text).N
				if cp.isRewritten(n, last) {
					continue
				}
				last = n
			}
			if !yield(l.text, err) || err != nil {
				return
			}
		}
	}
}

// starvedFlush is how long outcomes wait for a flush while the member pass has nothing to read.
const starvedFlush = time.Second

// A PartLine is a line of the parts of the first pass. Its text is valid until the next iteration. It is empty at the
// end of a part: the next line may take a while.
type PartLine struct {
	Text []byte
	End  int64 // where the next line begins, in bytes of all parts
}

// Follow yields the lines of the first pass that the member pass has no outcomes for, as they become durable, until
// EndRecords. It must have ended before Close.
func (w *Writer) Follow(ctx context.Context) iter.Seq2[PartLine, error] {
	return func(yield func(PartLine, error) bool) {
		if err := w.learnSizes(ctx); err != nil {
			yield(PartLine{}, err)
			return
		}
		w.mu.Lock()
		at := w.cp.Members.Offset
		w.mu.Unlock()
		missing := ""
		for {
			s, ok, err := w.partAt(ctx, at)
			if err != nil {
				yield(PartLine{}, err)
			}
			if err != nil || !ok {
				return
			}
			begin := at - s.from
			for l, err := range readLinesAhead(ctx, w.dir.Bucket, slices.Values([]source{s}), false, followAhead) {
				if errors.Is(err, fs.ErrNotExist) && s.key != missing {
					missing = s.key // it was merged into another part
					break
				}
				if err != nil {
					yield(PartLine{}, fmt.Errorf("read the outcomes of groups: %w", err))
					return
				}
				at = begin + l.end
				if !yield(PartLine{l.text, at}, nil) {
					return
				}
			}
			if !yield(PartLine{nil, at}, nil) {
				return
			}
		}
	}
}

// followAhead is how many slices Follow reads ahead.
const followAhead = 2

// learnSizes finds the sizes of the parts of earlier runs.
func (w *Writer) learnSizes(ctx context.Context) error {
	w.mu.Lock()
	durable := w.merger.durable
	w.mu.Unlock()
	if len(durable) == 0 {
		return nil
	}
	sizes, err := w.dir.partSizes(ctx)
	if err != nil {
		return err
	}
	for p := range parts(durable) {
		size, ok := sizes[p]
		if !ok { // the list may be old
			info, err := w.dir.Bucket.Stat(ctx, w.dir.part(p))
			if err != nil {
				return fmt.Errorf("find a part of the import: %w", err)
			}
			size = info.Size
		}
		w.mu.Lock()
		if _, ok := w.merger.sizes[p]; !ok {
			w.merger.sizes[p] = size
		}
		w.mu.Unlock()
	}
	return nil
}

// partAt returns the rest of the durable part that has byte at of all parts. It waits until there is one. ok is false
// if the first pass has ended before.
func (w *Writer) partAt(ctx context.Context, at int64) (s source, ok bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.isStarved = false }()
	for {
		end := int64(0)
		for p := range parts(w.merger.durable) {
			size := w.merger.sizes[p]
			if at < end+size {
				return source{key: w.dir.part(p), from: at - end, size: size}, true, nil
			}
			end += size
		}
		switch {
		case w.err != nil:
			return source{}, false, w.err
		case w.isRead && w.isDurable && at != end:
			return source{}, false, fmt.Errorf("the parts of %q have %d bytes, the checkpoint counts %d: was a part changed?",
				w.dir.Export, end, at)
		case w.isRead && w.isDurable:
			return source{}, false, nil
		}
		w.isStarved = true
		if err := w.wait(ctx); err != nil {
			return source{}, false, err
		}
	}
}

// EndRecords says that every record has an outcome, so that Follow ends.
func (w *Writer) EndRecords() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isRead = true
	w.isDurable = len(w.held) == 0 && !w.isFlushing
	w.broadcast()
	w.wakeFlusher()
}

// AppendMembers adds the outcome of the next line that Follow has yielded. read is its outcome as Follow has yielded
// it, and end its end. raw is the record for the dead-letter file, and only used if members are missing. It waits and
// fails like Append.
func (w *Writer) AppendMembers(read, o *outcome.Outcome, raw []byte, end int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.heldMembers) >= maxHeld && w.err == nil {
		if err := w.wait(w.ctx); err != nil {
			return err
		}
	}
	if w.err != nil {
		return w.err
	}
	w.heldMembers = append(o.AppendPartLine(w.heldMembers, raw), '\n')
	m := w.cp.Members
	m.Offset = end
	m.Read.Add(read)
	m.Counts.Add(o)
	w.cp.Runs[len(w.cp.Runs)-1].Counts.AddMembers(read, o)
	if w.isDue() {
		w.wakeFlusher()
	}
	return nil
}

// EndMembers says that every line has an outcome of the member pass.
func (w *Writer) EndMembers() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cp.Members.IsEnd = true
}
