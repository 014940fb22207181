package emulator

import "time"

// A window counts the requests of the second that ends now. It holds as many times as the busiest second
// had requests, or about twice that.
type window struct {
	times   []time.Time // those of less than a second ago, in order
	busiest int
}

// add puts in a request at t, which must not lie before those added earlier, and returns how many the
// second that ends with it holds. One of exactly a second ago is not among them.
func (w *window) add(t time.Time) int {
	old := 0
	for old < len(w.times) && t.Sub(w.times[old]) >= time.Second {
		old++
	}
	w.times = append(w.times[old:], t)
	w.busiest = max(w.busiest, len(w.times))
	return len(w.times)
}
