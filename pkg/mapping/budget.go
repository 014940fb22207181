package mapping

import (
	"context"
	"fmt"
	"runtime/metrics"
)

// What a program may do for one record: operations, of which the built-in ones need some hundred, and
// bytes it may allocate. A single operation can allocate as much again, and a string times a number up to
// 2 GB: that much the author of a program is trusted.
const (
	maxSteps  = 2_000_000
	maxBytes  = 32 << 20
	lookEvery = 16 // operations between two looks at the bytes
)

// A budget is a context that ends when a program has done too much. gojq offers no other hook: it asks the context
// before each operation. The operations are the program's own; the bytes are those of the whole process.
type budget struct {
	context.Context //nolint:containedctx // it is one
	steps           int
	bytes           uint64
	sample          [1]metrics.Sample
	spent           error
}

var closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func newBudget() *budget {
	b := &budget{Context: context.TODO()}
	b.sample[0].Name = "/gc/heap/allocs:bytes"
	b.bytes = b.allocated() + maxBytes
	return b
}

func (b *budget) allocated() uint64 {
	metrics.Read(b.sample[:])
	return b.sample[0].Value.Uint64()
}

// Done implements [context.Context].
func (b *budget) Done() <-chan struct{} {
	b.steps++
	switch {
	case b.spent != nil:
	case b.steps > maxSteps:
		b.spent = fmt.Errorf("it does not end within %d operations", maxSteps)
	case b.steps%lookEvery == 0 && b.allocated() > b.bytes:
		b.spent = fmt.Errorf("it needs more than %d MiB", maxBytes>>20)
	default:
		return nil
	}
	return closed
}

// Err implements [context.Context].
func (b *budget) Err() error { return b.spent }
