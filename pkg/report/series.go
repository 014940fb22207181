package report

import (
	"maps"
	"slices"
	"time"

	"groupimport/pkg/results"
)

const (
	// Time is cut into buckets of one width, at first widthFirst; when there are more than bucketsMost that
	// hold anything, it doubles and neighbours become one. So an import of a second and one of a month take
	// the same memory, and nothing has to be known beforehand.
	widthFirst  = 250 // milliseconds
	bucketsMost = 240
)

// A bucket is what happened in one stretch of time.
type bucket struct {
	records     int64 // sent, and known what became of them
	again       int64 // of these, those that took more than one attempt
	first, last int64 // the times of the first and the last, Unix milliseconds
	latency     results.Latencies
}

func (b *bucket) merge(other *bucket) {
	b.records += other.records
	b.again += other.again
	b.first, b.last = min(b.first, other.first), max(b.last, other.last)
	b.latency.Merge(&other.latency)
}

// A series is what happened when. Its zero value is empty.
type series struct {
	width   int64 // of a bucket, in milliseconds
	buckets map[int64]*bucket
	at      int64 // of current
	current *bucket
}

// add counts a record that was sent.
func (s *series) add(at time.Time, attempts, ms int64) {
	if s.buckets == nil {
		s.width, s.buckets = widthFirst, map[int64]*bucket{}
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
	b := s.current
	b.records++
	if attempts > 1 {
		b.again++
	}
	b.first, b.last = min(b.first, unix), max(b.last, unix)
	b.latency.Add(ms)
	for len(s.buckets) > bucketsMost {
		s.widen()
	}
}

// widen doubles the width.
func (s *series) widen() {
	old := s.buckets
	s.buckets = make(map[int64]*bucket, bucketsMost)
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
type stretch struct {
	points []point
}

// A point is a bucket as it is drawn.
type point struct {
	from, to int64 // Unix milliseconds
	*bucket
}

// apart is how long it takes from one record to the next.
func (b *bucket) apart() int64 { return (b.last - b.first) / max(1, b.records-1) }

// rate is records a second.
func (p *point) rate() float64 {
	return float64(p.records) / (float64(p.to-p.from) / 1000)
}

// pause is how long nothing may happen within a stretch. A longer time is left out of the plots: a night
// between two runs, the wait before a round of retries.
const pause = time.Minute

// stretches returns the series in order. The first and the last bucket of a stretch are as long as
// something happened in them: else the rate would seem to sink at its ends.
func (s *series) stretches() []stretch {
	var all []stretch
	for _, n := range slices.Sorted(maps.Keys(s.buckets)) {
		p := point{from: n * s.width, to: (n + 1) * s.width, bucket: s.buckets[n]}
		if last := len(all) - 1; last >= 0 {
			if before := all[last].points[len(all[last].points)-1]; p.from-before.to <= max(pause.Milliseconds(), 2*s.width) {
				all[last].points = append(all[last].points, p)
				continue
			}
		}
		all = append(all, stretch{points: []point{p}})
	}
	for i := range all {
		points := all[i].points
		if len(points) > 1 {
			first, last := &points[0], &points[len(points)-1]
			first.from = max(first.from, first.first-first.apart())
			last.to = min(last.to, last.last+last.apart())
			all[i].points = s.trim(points)
		}
	}
	return all
}

// trim makes one bucket of a very short one at an end and its neighbour.
func (s *series) trim(points []point) []point {
	join := func(a, b point) point {
		sum := *a.bucket
		sum.merge(b.bucket)
		return point{from: a.from, to: b.to, bucket: &sum}
	}
	if n := len(points); n > 2 && points[n-1].to-points[n-1].from < s.width/2 && points[n-2].to == points[n-1].from {
		points = append(points[:n-2:n-2], join(points[n-2], points[n-1]))
	}
	if n := len(points); n > 2 && points[0].to-points[0].from < s.width/2 && points[0].to == points[1].from {
		points = append([]point{join(points[0], points[1])}, points[2:]...)
	}
	if n := len(points); points[n-1].to <= points[n-1].from {
		points[n-1].to = points[n-1].from + s.width
	}
	return points
}
