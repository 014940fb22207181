package outcome

import "time"

// A Progress is how much of an export has outcomes, in bytes of the object as it is stored: compressed bytes if it is
// compressed.
type Progress struct {
	Done int64 // bytes that have been read and whose records have outcomes
	Size int64 // bytes of the object
}

// Of returns p for an import with the outcomes c. Groups are read before their members are sent: while members are
// pending, only a part of what was read is done, namely as large a part as that of the records and members which are
// not pending. It is less than everything.
func (p Progress) Of(c *Counts) Progress {
	pending, all := c.Pending+c.Members.Pending, c.Records()+c.Members.Total()
	if pending <= 0 || all <= 0 {
		return p
	}
	done := float64(p.Done) * float64(max(0, all-pending)) / float64(all)
	p.Done = max(0, min(int64(done), p.Size-1))
	return p
}

// Fraction returns the part of the export that is done, from 0 to 1. It is 0 if Size is not positive.
func (p Progress) Fraction() float64 {
	if p.Size <= 0 {
		return 0
	}
	return min(1, max(0, float64(p.Done)/float64(p.Size)))
}

// Percent returns Fraction in whole percent, rounded down: 100 means that nothing is left.
func (p Progress) Percent() int { return int(100 * p.Fraction()) }

// Remaining estimates how long the rest of the export takes at the rate at which the last done bytes were processed,
// which took took. It is 0 if nothing is left, or if done or took is not positive: the rate is unknown.
func (p Progress) Remaining(done int64, took time.Duration) time.Duration {
	left := p.Size - p.Done
	if left <= 0 || done <= 0 || took <= 0 {
		return 0
	}
	const maxSeconds = 1e9 // 30 years: more does not fit into a Duration
	seconds := float64(left) / float64(done) * took.Seconds()
	return max(1, time.Duration(min(seconds, maxSeconds)*float64(time.Second)))
}
