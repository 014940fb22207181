package emulator

import "time"

// A window counts the requests of the last second. Its size is at most about twice the number of requests in the
// busiest second.
type window struct {
	times   []time.Time // requests less than a second old, in order
	busiest int
}

// add adds a request at t, which must not be before earlier requests. It returns the number of requests in (t-1s, t].
func (w *window) add(t time.Time) int {
	old := 0
	for old < len(w.times) && t.Sub(w.times[old]) >= time.Second {
		old++
	}
	w.times = append(w.times[old:], t)
	w.busiest = max(w.busiest, len(w.times))
	return len(w.times)
}
