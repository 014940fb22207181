package mapping

import (
	"context"
	"errors"
	"fmt"
	"runtime/metrics"
	"sync/atomic"
)

// Limits of a program for one record. The built-in programs need a few hundred operations. A single operation can still
// allocate more than maxBytes, and multiplying a string up to 2 GB: the author of a program is trusted that far. See
// maxTime for the time.
const (
	maxSteps    = 2_000_000
	maxBytes    = 32 << 20
	sampleEvery = 16 // operations between two readings of the allocated bytes
)

// A budget is a context that is done when a program exceeds a limit. gojq checks the context before each operation and
// has no other hook. The bytes are those allocated by the whole process, so that a program is tried again.
type budget struct {
	context.Context // a budget is a context
	steps           int
	bytes           uint64 // limit of the process's allocated bytes
	sample          [1]metrics.Sample
	abandoned       *atomic.Bool
	spent           error // the exceeded limit, nil if there is none
}

var errMemory = fmt.Errorf("more than %d MiB of memory", maxBytes>>20)

var closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func newBudget(abandoned *atomic.Bool) *budget {
	b := &budget{Context: context.TODO(), abandoned: abandoned}
	b.sample[0].Name = "/gc/heap/allocs:bytes"
	b.bytes = b.allocated() + maxBytes
	return b
}

func (b *budget) allocated() uint64 {
	metrics.Read(b.sample[:])
	return b.sample[0].Value.Uint64()
}

func (b *budget) Done() <-chan struct{} {
	b.steps++
	switch {
	case b.spent != nil:
	case b.abandoned.Load():
		b.spent = errors.New("took too long")
	case b.steps > maxSteps:
		b.spent = fmt.Errorf("more than %d operations", maxSteps)
	case b.steps%sampleEvery == 0 && b.allocated() > b.bytes:
		b.spent = errMemory
	default:
		return nil
	}
	return closed
}

func (b *budget) Err() error { return b.spent }
