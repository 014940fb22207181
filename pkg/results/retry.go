package results

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/outcome"
)

// A Round is one round of retries of failed records.
type Round struct {
	Start  time.Time      `json:"start"`
	End    time.Time      `json:"end"`
	Counts outcome.Counts `json:"counts"` // of the records that were retried

	// Unsure says that the round was cut short: records without a GroupId may have been sent without an outcome.
	Unsure bool `json:"unsure,omitzero"`

	Runs []Run `json:"runs"`
}

// A RetryPolicy says how often failed records are retried. The zero value is the default.
type RetryPolicy struct {
	Unknown bool // also retry unknown records; this may create groups twice
}

const (
	maxRounds = 10

	// The jitter, in both directions, spreads the retries of imports that failed at the same time.
	roundJitter = 0.2
)

var roundWaits = backoff.Exponential{Base: 15 * time.Minute, Max: 24 * time.Hour}

// Retries reports whether a record with this status is retried.
func (p RetryPolicy) Retries(s outcome.Status) bool {
	return s == outcome.Failed || s == outcome.Pending || s == outcome.Unknown && p.Unknown
}

// RetriesOutcome reports whether a record with this outcome is retried: the record, or the members that it lacks.
func (p RetryPolicy) RetriesOutcome(o *outcome.Outcome) bool { return p.Retries(o.Status) || o.Lacks() }

// left returns the number of records to retry, without a limit of rounds.
func (m *Manifest) left(p RetryPolicy) int64 {
	if m.Replaced {
		return 0
	}
	left := m.Counts.Failed + m.Counts.Pending + m.Counts.Incomplete
	if p.Unknown {
		left += m.Counts.Unknown
	}
	return left
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

// Due reports whether a round of retries is due. With now, it ignores the wait.
func (m *Manifest) Due(p RetryPolicy, now bool) bool {
	switch {
	case m.left(p) == 0 || len(m.Rounds) >= maxRounds:
		return false
	case m.RetryAt.IsZero(): // unknown records of an import that ended without p.Unknown
		return true
	}
	return now || !time.Now().Before(m.RetryAt)
}

// Merge merges the outcomes of a round, from cp's parts and out-of-order outcomes, into the results and the
// dead-letter file, and then updates the manifest, which it returns. It reads the results once. Merge is idempotent,
// also after an interruption. page may be nil.
func (d Dir) Merge(ctx context.Context, m Manifest, cp Checkpoint, p RetryPolicy, page Reporter) (Manifest, error) {
	if cp.Round != len(m.Rounds)+1 {
		return m, nil // already merged
	}
	ahead, err := d.LoadAhead(ctx, &cp)
	if err != nil {
		return m, err
	}
	var counts outcome.Counts
	before := m
	m.Files = nil
	lines := replaced(Lines(ctx, d.Bucket, d.Results()), d.finalLines(ctx, &cp), ahead)
	results, err := put(ctx, d.Bucket, d.Results(), lines, func(line []byte) []byte {
		line = outcome.Bare(line)
		o := outcome.Scan(line)
		counts.Add(&o)
		if page != nil {
			page.Result(line)
		}
		return line
	})
	if err != nil {
		return m, err
	}
	if counts.Records() != m.Counts.Records() {
		return m, fmt.Errorf("%q has %d records, the manifest counts %d: was the file changed?",
			d.Results(), counts.Records(), m.Counts.Records())
	}
	m.Counts, m.Files = counts, append(m.Files, results)
	failures := replaced(ignoreMissing(Lines(ctx, d.Bucket, d.Failures())), d.finalLines(ctx, &cp), ahead)
	if err := m.putFailures(ctx, d, failures, page); err != nil {
		return m, err
	}
	m.Rounds = append(m.Rounds, Round{
		Unsure: !cp.Done && cp.Sent >= cp.Next.N,
		Start:  cp.Runs[0].Start, End: time.Now().UTC(), Counts: cp.Total(), Runs: cp.Runs,
	})
	m.schedule(p)
	if page != nil {
		d.PutReport(ctx, func(w io.Writer) error { return page.Write(w, d.Names, &m) })
	}
	if err := writeJSON(ctx, d.Bucket, d.Manifest(), m); err != nil {
		return m, err
	}
	last := cp
	last.Export, last.Counts, last.Members = m.Export, m.Counts, nil
	if err := before.removeMarks(ctx, d); err != nil {
		return m, err
	}
	return m, d.saveFinished(ctx, &m, &last)
}

// ignoreMissing treats a removed dead-letter file as empty.
func ignoreMissing(lines iter.Seq2[[]byte, error]) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for line, err := range lines {
			if errors.Is(err, fs.ErrNotExist) || !yield(line, err) || err != nil {
				return
			}
		}
	}
}

// replaced yields lines with newer outcomes in place of the outcomes of the same records. lines and newer must be in
// record order. Lines that are not outcomes stay as they are.
func replaced(lines, newer iter.Seq2[[]byte, error], ahead map[int64][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		next, stop := iter.Pull2(newer)
		defer stop()
		var pending []byte
		pendingN := int64(0) // 0: no line read yet, -1: no lines left
		for line, err := range lines {
			if err != nil {
				yield(nil, err)
				return
			}
			n := outcome.Scan(line).N
			for n > 0 && pendingN >= 0 && pendingN < n {
				text, err, ok := next()
				if err != nil {
					yield(nil, err)
					return
				}
				pending = text
				pendingN = outcome.Scan(text).N
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
