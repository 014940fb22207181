package report

import (
	"github.com/go-json-experiment/json"

	"groupimport/pkg/outcome"
)

// A state is the durable state of a Builder, of at most some MB.
type state struct {
	Counts  map[outcome.Status]int64 `json:"counts"`
	Width   int64                    `json:"width"`   // of the buckets, in milliseconds
	Buckets map[int64][3]int64       `json:"buckets"` // records, times of the first and the last
	Kinds   outcome.Tally[example]   `json:"kinds"`
	Rows    []row                    `json:"rows"`
	Size    int                      `json:"size"`
	Missing int64                    `json:"missing"`
	Full    bool                     `json:"full"`
	Members members                  `json:"members"`
}

// State returns the state of b, for Restore.
func (b *Builder) State() ([]byte, error) {
	s := state{
		Counts: b.counts, Width: b.series.width, Buckets: map[int64][3]int64{}, Kinds: b.kinds, Rows: b.rows, Size: b.size,
		Missing: b.missing, Full: b.full, Members: b.members,
	}
	for n, x := range b.series.buckets {
		s.Buckets[n] = [3]int64{x.records, x.first, x.last}
	}
	return json.Marshal(&s)
}

// Restore replaces the state of b. After an error, and with an empty state, b is empty.
func (b *Builder) Restore(data []byte) error {
	*b = *New(b.options)
	if len(data) == 0 {
		return nil
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	if s.Counts == nil {
		s.Counts = b.counts
	}
	if s.Members.Records == nil {
		s.Members.Records = newMembers().Records
	}
	*b = Builder{
		options: b.options,
		counts:  s.Counts, kinds: s.Kinds, rows: s.Rows, size: s.Size, missing: s.Missing, full: s.Full, members: s.Members,
	}
	if s.Width >= minWidth {
		b.series = series{width: s.Width, buckets: map[int64]*bucket{}}
		for n, x := range s.Buckets {
			b.series.buckets[n] = &bucket{records: x[0], first: x[1], last: x[2]}
		}
	}
	return nil
}
