package importer

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"groupimport/pkg/results"
)

// A Memory is what the imports of one process share, so that eight of them stay within 64 MB. Most imports need little
// more than the records that are read and have no outcome; these share [maxAheadBytes]. What needs much more takes
// turns: reading with a large window of zstd data or with many earlier outcomes, and writing large results.
type Memory struct {
	reading *semaphore.Weighted
	writing *semaphore.Weighted

	mu      sync.Mutex
	runs    int64         // that have a room
	changed chan struct{} // closed when a room may have more space; nil without waiters
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

// A room bounds the memory of a run's records that are read and have no outcome: to an equal share of maxAheadBytes.
// One record always fits.
type room struct {
	of   *Memory
	used int64
}

func (m *Memory) newRoom() *room {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs++
	return &room{of: m}
}

// close gives the share of a room to the others.
func (r *room) close() {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.of.runs--
	r.of.wake()
}

// acquire waits for n bytes. The error is the cause of ctx.
func (r *room) acquire(ctx context.Context, n int64) error {
	for {
		r.of.mu.Lock()
		if r.used == 0 || r.used+n <= maxAheadBytes/r.of.runs {
			r.used += n
			r.of.mu.Unlock()
			return nil
		}
		if r.of.changed == nil {
			r.of.changed = make(chan struct{})
		}
		changed := r.of.changed
		r.of.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// release frees n bytes.
func (r *room) release(n int64) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	r.used -= n
	r.of.wake()
}

// wake wakes those that wait for space. The caller holds mu.
func (m *Memory) wake() {
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}
