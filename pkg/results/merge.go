package results

import "context"

// Parts of less than half of mergedBytes are merged when there are enough for mergedBytes, or maxSmallParts. So an
// import of any size has a few hundred parts, and each outcome is merged once: 8 MiB are 40,000 outcomes. Tests lower
// the limits.
var (
	mergedBytes   int64 = 8 << 20
	maxSmallParts       = 512
)

// A merger merges the parts of a Writer while it runs.
//
// The order of writes is: the merged part, the checkpoint that names it, the removal of the small parts. The lease is
// checked before the removal: a run that takes over later reads that checkpoint or a later one.
type merger struct {
	kick  chan struct{}
	ended chan struct{} // closed when merging has returned

	// Of the merging goroutine:
	listed bool // sizes has the parts of earlier runs
	merged int  // merged parts that this run has written

	// Guarded by the mutex of the Writer:
	sizes          map[partName]int64
	durable        []Parts    // of the last checkpoint
	durableMembers []Parts    // the same of the member pass
	replaced       []partName // not named by the next checkpoint
	removable      []partName // not named by the last checkpoint
}

func (m *merger) wake() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// merging merges and removes parts after each flush. If that fails, the next run tries again.
func (w *Writer) merging(ctx context.Context) {
	defer close(w.merger.ended)
	for {
		select {
		case <-w.merger.kick:
		case <-ctx.Done():
			return
		}
		w.removeMerged(ctx)
		if err := w.merge(ctx); err != nil {
			if ctx.Err() == nil {
				w.dir.log().WarnContext(ctx, "parts not merged", "err", err)
			}
			return
		}
	}
}

// merge merges the last small parts if there are enough.
func (w *Writer) merge(ctx context.Context) error {
	m := &w.merger
	if !m.listed {
		sizes, err := w.dir.partSizes(ctx)
		if err != nil {
			return err
		}
		w.mu.Lock()
		for p, size := range sizes {
			if p.token != w.lease.Number {
				m.sizes[p] = size
			}
		}
		w.mu.Unlock()
		m.listed = true
	}
	w.mu.Lock()
	names := m.due(m.durable)
	if names == nil {
		names = m.due(m.durableMembers)
	}
	sizes := make(map[partName]int64, len(names))
	for _, p := range names {
		sizes[p] = m.sizes[p]
	}
	w.mu.Unlock()
	if len(names) == 0 || !w.dir.tryMemory() {
		return nil
	}
	defer w.dir.freeMemory()
	to := partName{w.lease.Number, m.merged + 1, true, names[0].isMembers}
	size, err := w.dir.mergeParts(ctx, names, sizes, to)
	if err != nil {
		return err
	}
	m.merged++
	w.mu.Lock()
	defer w.mu.Unlock()
	if all := &w.cp.Parts; !to.isMembers {
		*all = replaceParts(*all, names, to)
	} else {
		w.cp.Members.Parts = replaceParts(w.cp.Members.Parts, names, to)
	}
	w.moved = true // so that a checkpoint names the merged part soon
	m.replaced = append(m.replaced, names...)
	for _, p := range names {
		delete(m.sizes, p)
	}
	m.sizes[to] = size
	return nil
}

// due returns the parts among durable to merge next. The caller holds the mutex of the Writer.
func (m *merger) due(durable []Parts) []partName {
	var small []partName
	total := int64(0)
	for p := range parts(durable) {
		size, ok := m.sizes[p]
		if !ok || size >= mergedBytes/2 {
			small, total = small[:0], 0
			continue
		}
		if total+size > mergedBytes || len(small) == maxSmallParts {
			return small
		}
		small = append(small, p)
		total += size
	}
	return nil
}

// replaceParts returns all with one part in place of names, which are consecutive.
func replaceParts(all []Parts, names []partName, by partName) []Parts {
	var now []Parts
	skip := 0
	for p := range parts(all) {
		if p == names[0] {
			now = appendPart(now, by)
			skip = len(names)
		}
		if skip > 0 {
			skip--
			continue
		}
		now = appendPart(now, p)
	}
	return now
}

// removeMerged removes small parts that the last checkpoint does not name.
func (w *Writer) removeMerged(ctx context.Context) {
	w.mu.Lock()
	names := w.merger.removable
	w.merger.removable = nil
	w.mu.Unlock()
	if len(names) == 0 || w.lease.Check(ctx) != nil {
		return
	}
	keys := make([]string, len(names))
	for i, p := range names {
		keys[i] = w.dir.part(p)
	}
	w.dir.remove(ctx, keys)
}
