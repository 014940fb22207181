package results_test

import (
	"math/rand/v2"
	"testing"

	"groupimport/pkg/results"
)

func TestLineSet_Text(t *testing.T) {
	for _, row := range []struct {
		about string
		lines [][2]uint // ranges
		want  string
	}{
		{"none", nil, ""},
		{"two runs", [][2]uint{{1, 3}, {5, 5}}, "AQMBAQ=="},
		{"up to the end of a word", [][2]uint{{1, 63}}, "AT8="},
		{"over words", [][2]uint{{60, 200}}, "PI0B"},
	} {
		var l results.LineSet
		for _, r := range row.lines {
			for n := r[0]; n <= r[1]; n++ {
				l.Add(n)
			}
		}
		if got, err := l.MarshalText(); err != nil || string(got) != row.want {
			t.Errorf("%s: got %q, %v, want %q", row.about, got, err, row.want)
		}
	}
}

func TestLineSet_Random(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		limit := uint(1 + r.IntN(400))
		var l, read results.LineSet
		want := map[uint]bool{}
		for range r.IntN(300) {
			n := 1 + r.UintN(limit)
			l.Add(n)
			want[n] = true
		}
		text, err := l.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if err := read.UnmarshalText(text); err != nil {
			t.Fatal(err)
		}
		for n := range 2 * limit {
			if l.Test(n) != want[n] || read.Test(n) != want[n] {
				t.Fatalf("seed %d, line %d: got %v, read again %v, want %v", seed, n, l.Test(n), read.Test(n), want[n])
			}
		}
		if l.Count() != uint(len(want)) || read.Count() != l.Count() {
			t.Fatalf("seed %d: got %d and %d lines, want %d", seed, l.Count(), read.Count(), len(want))
		}
	}
}
