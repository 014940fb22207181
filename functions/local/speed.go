package main

import (
	"fmt"
	"time"

	"groupimport/pkg/importer"
)

const (
	// The rate is that of the last rateOver. The mean of a run would include the time before an outage.
	rateOver = 10 * time.Second
	minOver  = time.Second // before that the rate is not known
)

// A speed measures how fast calls are sent, and how fast the import comes closer to its end. Outcomes are the wrong
// thing to count: one response that hangs holds those behind it back, and outcomes that are carried over, or that an
// earlier run left, cost no call.
type speed struct {
	budget float64 // calls a second, which the rate limiter never exceeds
	marks  []mark  // of the last rateOver, oldest first
}

type mark struct {
	at       time.Time
	attempts int64
	offset   int64
}

// A pace is how fast an import is. What is not known is zero.
type pace struct {
	known bool
	rate  float64       // calls a second
	left  time.Duration // until the end
}

// add adds a mark and returns the pace. attempts is the number of calls that were sent so far.
func (s *speed) add(now time.Time, p importer.Progress, attempts int64) pace {
	s.marks = append(s.marks, mark{now, attempts, p.Work().Done})
	for len(s.marks) > 2 && now.Sub(s.marks[1].at) >= rateOver {
		s.marks = s.marks[1:]
	}
	first, last := s.marks[0], s.marks[len(s.marks)-1]
	over := last.at.Sub(first.at)
	if over < minOver {
		return pace{}
	}
	// Calls are spaced evenly, so that both ends of the time may hold a call: one more than the budget allows.
	is := pace{known: true, rate: min(s.budget, float64(last.attempts-first.attempts)/over.Seconds())}
	is.left = p.Work().Remaining(last.offset-first.offset, over)
	return is
}

// rateText returns the rate and the budget, empty while the rate is not known.
func (p pace) rateText(budget float64) string {
	switch {
	case !p.known:
		return ""
	case budget < 10:
		return fmt.Sprintf("%.1f/s of %g", p.rate, budget)
	}
	return fmt.Sprintf("%.0f/s of %g", p.rate, budget)
}

// leftText returns the time left, as exactly as it can be known, empty if it is not known.
func (p pace) leftText() string {
	d := p.left.Round(time.Second)
	switch {
	case p.left == 0:
		return ""
	case d < time.Minute:
		return fmt.Sprintf("%ds left", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds left", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%dh%02dm left", d/time.Hour, d%time.Hour/time.Minute)
}
