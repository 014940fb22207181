package report

import (
	"maps"
	"slices"
	"time"
)

const (
	// Time is cut into buckets of one width, at first minWidth. When more than maxBuckets hold anything, the width
	// doubles and neighbours become one. So an import of a second and one of a month take the same memory, and nothing
	// has to be known beforehand.
	minWidth   = 250 // milliseconds
	maxBuckets = 240
)

// A bucket is what happened in one stretch of time.
type bucket struct {
	records     int64 // whose outcome became known
	first, last int64 // the times of the first and the last, Unix milliseconds
}

func (b *bucket) merge(other *bucket) {
	b.records += other.records
	b.first, b.last = min(b.first, other.first), max(b.last, other.last)
}

// A series counts records over time. Its zero value is empty.
type series struct {
	width   int64 // of a bucket, in milliseconds
	buckets map[int64]*bucket
	at      int64 // of current
	current *bucket
}

// add counts a record that was sent.
func (s *series) add(at time.Time) {
	if s.buckets == nil {
		s.width, s.buckets = minWidth, map[int64]*bucket{}
	}
	unix := at.UnixMilli()
	if n := floorDiv(unix, s.width); s.current == nil || n != s.at {
		b := s.buckets[n]
		if b == nil {
			b = &bucket{first: unix, last: unix}
			s.buckets[n] = b
		}
		s.at, s.current = n, b
	}
	s.current.merge(&bucket{1, unix, unix})
	for len(s.buckets) > maxBuckets {
		s.widen()
	}
}

// widen doubles the width.
func (s *series) widen() {
	old := s.buckets
	s.buckets = make(map[int64]*bucket, maxBuckets)
	s.width *= 2
	s.current = nil
	for n, b := range old {
		if there := s.buckets[floorDiv(n, 2)]; there != nil {
			there.merge(b)
		} else {
			s.buckets[floorDiv(n, 2)] = b
		}
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// A stretch is a time in which something happened all along, as points a width apart.
type stretch []point

// A point is a bucket as it is drawn.
type point struct {
	from, to int64 // Unix milliseconds
	*bucket
}

// apart returns the time from one record to the next.
func (b *bucket) apart() int64 { return (b.last - b.first) / max(1, b.records-1) }

// rate returns records a second.
func (p *point) rate() float64 { return float64(p.records) / (float64(p.to-p.from) / 1000) }

// maxPause is how long nothing may happen within a stretch. A longer time is left out of the plot: a night between two
// runs, the wait before a round of retries.
const maxPause = time.Minute

// stretches returns the series in order. The first and the last bucket of a stretch are as long as something happened
// in them: else the rate would seem to sink at its ends.
func (s *series) stretches() []stretch {
	var all []stretch
	for _, n := range slices.Sorted(maps.Keys(s.buckets)) {
		p := point{from: n * s.width, to: (n + 1) * s.width, bucket: s.buckets[n]}
		if i := len(all) - 1; i >= 0 && p.from-all[i].to() <= max(maxPause.Milliseconds(), 2*s.width) {
			all[i] = append(all[i], p)
			continue
		}
		all = append(all, stretch{p})
	}
	for i, points := range all {
		if len(points) > 1 {
			first, last := &points[0], &points[len(points)-1]
			first.from = max(first.from, first.first-first.apart())
			last.to = min(last.to, last.last+last.apart())
			all[i] = s.trim(points)
		}
	}
	return all
}

// trim makes one bucket of a very short one at an end and its neighbour.
func (s *series) trim(points stretch) stretch {
	join := func(a, b point) point {
		sum := *a.bucket
		sum.merge(b.bucket)
		return point{from: a.from, to: b.to, bucket: &sum}
	}
	if n := len(points); n > 2 && points[n-1].to-points[n-1].from < s.width/2 && points[n-2].to == points[n-1].from {
		points = append(points[:n-2:n-2], join(points[n-2], points[n-1]))
	}
	if n := len(points); n > 2 && points[0].to-points[0].from < s.width/2 && points[0].to == points[1].from {
		points = append(stretch{join(points[0], points[1])}, points[2:]...)
	}
	if n := len(points); points[n-1].to <= points[n-1].from {
		points[n-1].to = points[n-1].from + s.width
	}
	return points
}
