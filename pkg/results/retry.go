package results

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/outcome"
)

// A Round is one time that failed records were tried again.
type Round struct {
	Start  time.Time      `json:"start"`
	End    time.Time      `json:"end"`
	Counts outcome.Counts `json:"counts"` // what the records that were tried came to

	// Unsure says that the round was ended before its time, and that records without a GroupId may have
	// been sent that it has no outcome of.
	Unsure bool `json:"unsure,omitzero"`

	Runs []Run `json:"runs"`
}

// A RetryPolicy says how often failed records are tried again. Its zero value is the default.
type RetryPolicy struct {
	Unknown bool // unknown records are tried again too, whatever that makes twice
}

const (
	maxRounds = 10

	// The wait before a round is longer or shorter by up to this part at random, so that imports that failed
	// together do not come back together.
	roundJitter = 0.2
)

var roundWaits = backoff.Exponential{Base: 15 * time.Minute, Max: 24 * time.Hour}

// Retries reports whether a record with this outcome is tried again.
func (p RetryPolicy) Retries(s outcome.Status) bool {
	return s == outcome.Failed || s == outcome.Unknown && p.Unknown
}

// left is how many records would be tried again if there were rounds without end.
func (m *Manifest) left(p RetryPolicy) int64 {
	if m.Replaced {
		return 0
	}
	if p.Unknown {
		return m.Counts.Failed + m.Counts.Unknown
	}
	return m.Counts.Failed
}

// schedule sets when the next round is due.
func (m *Manifest) schedule(p RetryPolicy) {
	m.RetryAt, m.GivenUp = time.Time{}, 0
	left := m.left(p)
	switch n := len(m.Rounds); {
	case left == 0:
	case n >= maxRounds:
		m.GivenUp = left
	default:
		wait := float64(roundWaits.Limit(n + 1))
		wait *= 1 - roundJitter + 2*roundJitter*rand.Float64()
		m.RetryAt = m.Finished.Add(time.Duration(wait))
		if n > 0 {
			m.RetryAt = m.Rounds[n-1].End.Add(time.Duration(wait))
		}
	}
}

// Due reports whether a round of retries is due. With now, its wait is left out.
func (m *Manifest) Due(p RetryPolicy, now bool) bool {
	switch {
	case m.left(p) == 0 || len(m.Rounds) >= maxRounds:
		return false
	case m.RetryAt.IsZero(): // unknown ones, of an import that ended when they were not to be tried again
		return true
	}
	return now || !time.Now().Before(m.RetryAt)
}

// Merge puts what a round came to, as far as cp's parts and outcomes ahead say, into the results and
// failures, and then into the manifest, which it returns. It reads the results once. Interrupted at any
// instant and done again, it comes to the same. page may be nil.
func (d Dir) Merge(ctx context.Context, m Manifest, cp Checkpoint, p RetryPolicy, page Reporter) (Manifest, error) {
	if cp.Round != len(m.Rounds)+1 {
		return m, nil // merged before
	}
	ahead, err := d.LoadAhead(ctx, &cp)
	if err != nil {
		return m, err
	}
	var counts outcome.Counts
	before := d.finished(&m)
	m.Files = nil
	results, err := put(ctx, d.Bucket, d.Results(), replaced(Lines(ctx, d.Bucket, d.Results()), d.partLines(ctx, cp, false), ahead), func(line []byte) []byte {
		line = outcome.Bare(line)
		_, status := outcome.Scan(line)
		counts.Add(status)
		if page != nil {
			page.Result(line)
		}
		return line
	})
	if err != nil {
		return m, err
	}
	if counts.Records() != m.Counts.Records() {
		return m, fmt.Errorf("%q has %d records, the manifest says %d: has somebody changed it?", d.Results(), counts.Records(), m.Counts.Records())
	}
	m.Counts, m.Files = counts, append(m.Files, results)
	if err := m.putFailures(ctx, d, replaced(lenient(Lines(ctx, d.Bucket, d.Failures())), d.partLines(ctx, cp, false), ahead), page); err != nil {
		return m, err
	}
	m.Rounds = append(m.Rounds, Round{Unsure: !cp.Done && cp.Sent >= cp.Next.N, Start: cp.Runs[0].Start, End: time.Now().UTC(), Counts: cp.Counts, Runs: cp.Runs})
	m.schedule(p)
	if page != nil {
		page.Report(ctx, m)
	}
	if err := writeJSON(ctx, d.Bucket, d.Manifest(), m); err != nil {
		return m, err
	}
	last := cp
	last.Export, last.Counts = m.Export, m.Counts
	if err := d.SaveProgress(ctx, Finished, "", &last); err != nil {
		return m, err
	}
	if after := d.finished(&m); after != before {
		if err := d.Bucket.Delete(ctx, before); err != nil {
			return m, fmt.Errorf("remove %q: %w", before, err)
		}
	}
	return m, m.Mark(ctx, d)
}

// lenient takes a failures file that a person has removed for an empty one.
func lenient(lines iter.Seq2[[]byte, error]) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for line, err := range lines {
			if errors.Is(err, fs.ErrNotExist) || !yield(line, err) || err != nil {
				return
			}
		}
	}
}

// replaced yields lines, and instead of those whose record has a newer outcome, that. Both have to be in
// the order of their records, but for lines that are no outcomes, which stay.
func replaced(lines, newer iter.Seq2[[]byte, error], ahead map[int64][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		next, stop := iter.Pull2(newer)
		defer stop()
		var pending []byte
		pendingN := int64(0) // 0: none was read yet, -1: there are no more
		for line, err := range lines {
			if err != nil {
				yield(nil, err)
				return
			}
			n, _ := outcome.Scan(line)
			for n > 0 && pendingN >= 0 && pendingN < n {
				text, err, ok := next()
				if err != nil {
					yield(nil, err)
					return
				}
				pending = text
				pendingN, _ = outcome.Scan(text)
				if !ok {
					pendingN = -1
				}
			}
			switch text, isAhead := ahead[n]; {
			case n > 0 && n == pendingN:
				line = bytes.Clone(pending)
			case isAhead:
				line = bytes.Clone(text)
			}
			if !yield(line, nil) {
				return
			}
		}
	}
}
