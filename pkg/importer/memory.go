package importer

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"groupimport/pkg/results"
)

// A Memory limits the memory of the imports of one process: eight imports stay within 64 MB. Most imports need little
// more than their records without outcomes, which share [maxAheadBytes]. Only one import
// at a time reads with a large zstd window or with many earlier outcomes, and only one writes large results.
type Memory struct {
	reading *semaphore.Weighted
	writing *semaphore.Weighted

	mu      sync.Mutex
	runs    int64         // number of budgets
	changed chan struct{} // closed when a budget may have free space; nil without waiters
}

const (
	lightWindow  = 2 << 20 // bytes of a zstd window; zstd uses 2 MiB by default, and 8 MiB at its highest levels
	lightEarlier = 1 << 20 // bytes of earlier results, some 7,000 outcomes
)

// NewMemory returns the Memory of a process.
func NewMemory() *Memory {
	return &Memory{reading: semaphore.NewWeighted(1), writing: semaphore.NewWeighted(1)}
}

// reserve waits until the run may use much memory to read. The error is the cause of ctx.
func (r *run) reserve(ctx context.Context) error {
	if r.isHeavy {
		return nil
	}
	if r.imp.memory().reading.Acquire(ctx, 1) != nil {
		return context.Cause(ctx)
	}
	r.isHeavy = true
	return nil
}

// unreserve ends what reserve began, once the run has read its records.
func (r *run) unreserve() {
	if r.isHeavy {
		r.imp.memory().reading.Release(1)
		r.isHeavy = false
	}
}

// reserveWindow is reserve for zstd data with a window of this size in bytes.
func (r *run) reserveWindow(ctx context.Context, size uint64) error {
	if size <= lightWindow {
		return nil
	}
	return r.reserve(ctx)
}

// reserveEarlier is reserve for the earlier outcomes of c.
func (r *run) reserveEarlier(ctx context.Context, c *results.Carry) error {
	total := int64(0)
	for i := range c.Sources {
		size, err := c.Sources[i].Size(ctx, r.dir)
		if err != nil {
			return err
		}
		total += size
	}
	if total <= lightEarlier {
		return nil
	}
	return r.reserve(ctx)
}

// A budget bounds the memory of a run's records without outcomes to an equal share of maxAheadBytes. One record always
// fits.
type budget struct {
	of   *Memory
	used int64
}

func (m *Memory) newBudget() *budget {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs++
	return &budget{of: m}
}

// close returns the share of b to the other budgets.
func (b *budget) close() {
	b.of.mu.Lock()
	defer b.of.mu.Unlock()
	b.of.runs--
	b.of.wake()
}

// acquire waits for n bytes. The error is the cause of ctx.
func (b *budget) acquire(ctx context.Context, n int64) error {
	for {
		b.of.mu.Lock()
		if b.used == 0 || b.used+n <= maxAheadBytes/b.of.runs {
			b.used += n
			b.of.mu.Unlock()
			return nil
		}
		if b.of.changed == nil {
			b.of.changed = make(chan struct{})
		}
		changed := b.of.changed
		b.of.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// release frees n bytes.
func (b *budget) release(n int64) {
	b.of.mu.Lock()
	defer b.of.mu.Unlock()
	b.used -= n
	b.of.wake()
}

// wake wakes the goroutines that wait for space. The caller holds mu.
func (m *Memory) wake() {
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}
