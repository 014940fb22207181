package importer

import "math"

// Bins are on a logarithmic scale from 1 ms to 100 s. With 20 bins a decade, the error of a percentile is at most
// 6 %.
const (
	binsPerDecade = 20
	binsAll       = 5 * binsPerDecade
)

// latencies is a histogram of the durations of calls, of constant size. The zero value is empty.
type latencies [binsAll]uint32

// add counts a call of ms milliseconds.
func (l *latencies) add(ms int64) { l[binOf(ms)]++ }

func binOf(ms int64) int {
	if ms <= 1 {
		return 0
	}
	return min(binsAll-1, int(math.Log10(float64(ms))*binsPerDecade))
}

// percentile returns the duration in milliseconds that the given share of the calls, 0 to 1, did not exceed. It
// returns 0 if there are no calls.
func (l *latencies) percentile(share float64) float64 {
	var all uint64
	for _, n := range l {
		all += uint64(n)
	}
	if all == 0 {
		return 0
	}
	want := uint64(math.Ceil(share * float64(all)))
	var sum uint64
	for i, n := range l {
		if sum += uint64(n); sum >= want && n > 0 {
			return math.Pow(10, (float64(i)+0.5)/binsPerDecade) // the middle of the bin
		}
	}
	return 0
}
