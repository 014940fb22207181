package pacer_test

import (
	"testing"

	"groupimport/pkg/pacer"
)

// BenchmarkTurn is what a turn costs beyond its wait: taken and sent at a rate that this loop does not reach.
func BenchmarkTurn(b *testing.B) {
	p := pacer.New(10_000_000)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		turn, err := p.Wait(ctx, ctx)
		if err != nil {
			b.Fatal(err)
		}
		turn.Sent()
	}
}
