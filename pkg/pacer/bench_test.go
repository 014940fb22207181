package pacer_test

import (
	"testing"

	"groupimport/pkg/pacer"
)

// BenchmarkAcquire measures a permit without its wait, at a rate that the loop does not reach.
func BenchmarkAcquire(b *testing.B) {
	p := pacer.New(10_000_000)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		permit, err := p.Acquire(ctx, ctx)
		if err != nil {
			b.Fatal(err)
		}
		permit.Sent()
	}
}
