package results

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"groupimport/pkg/export"
	"groupimport/pkg/outcome"
)

// The objects in a work folder are read back by later runs, and everyone with write access below the prefix may have
// changed them. Each object is checked before it is used.

// maxReason limits the reason of a stop in bytes: the message of an error may list thousands of fields, and an import
// has hundreds of runs.
const maxReason = 1 << 10

// clipReason cuts a reason to maxReason bytes, between characters.
func clipReason(s string) string {
	if len(s) <= maxReason {
		return s
	}
	const ellipsis = "…"
	end := maxReason - len(ellipsis)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// clip cuts the reasons of a run.
func (r *Run) clip() { r.Why, r.Stop = clipReason(r.Why), clipReason(r.Stop) }

const (
	maxNumber  = 1 << 40 // of records, bytes of text, fencing tokens
	maxAllPart = 1 << 24 // parts of an import
	maxSources = 8       // of a Carry; an archived version has at most two
)

// A checker collects the first thing that is wrong.
type checker struct{ err error }

func (c *checker) that(ok bool, format string, args ...any) {
	if !ok && c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *checker) number(name string, n, limit int64) {
	c.that(n >= 0 && n <= limit, "%s is %d, want 0 to %d", name, n, limit)
}

func (c *checker) counts(n outcome.Counts) {
	if err := n.Check(); err != nil && c.err == nil {
		c.err = err
	}
}

// time checks that a time can be written again, in its zone and in UTC.
func (c *checker) time(t time.Time) {
	const maxYear = 9999
	year := t.UTC().Year()
	c.that(year >= 0 && year <= maxYear, "a time is in the year %d", year)
}

func (c *checker) run(r *Run) {
	c.number("a run's fencing token", int64(r.Lease), maxNumber)
	c.time(r.Start)
	c.time(r.End)
	c.counts(r.Counts)
	c.number("attempts", r.Attempts, math.MaxInt64)
	c.number("throttled attempts", int64(r.Slowed), math.MaxInt64)
	c.that(r.Rate >= 0 && !math.IsInf(r.Rate, 0), "the rate is %v", r.Rate)
}

func (c *checker) runs(all []Run) {
	c.that(len(all) > 0, "there are no runs")
	for i := range all {
		c.run(&all[i])
	}
}

func (c *checker) export(e *Export) {
	c.number("the size of the export", e.Size, math.MaxInt64)
	c.time(e.Modified)
}

func (c *checker) position(p export.Position) {
	c.that(p.N >= 0 && p.Line >= 0 && p.Offset >= 0 && p.Read >= 0, "the position %+v is negative", p)
}

func (c *checker) carry(x *Carry) {
	if x == nil {
		return
	}
	c.that(len(x.Sources) <= maxSources, "there are %d sources of earlier outcomes, limit %d", len(x.Sources), maxSources)
	for _, s := range x.Sources {
		tag, err := hex.DecodeString(s.Tag)
		c.that(err == nil && len(tag) == tagBytes, "the tag %q of an archived version is invalid", clipReason(s.Tag))
		c.that(s.File == fileResults || s.File == fileEarlier, "there is no file %q of earlier outcomes", clipReason(s.File))
	}
	for _, n := range []int64{x.InDoubt, x.Earlier, x.Carried, x.Differs, x.Created} {
		c.number("a count of earlier outcomes", n, maxNumber)
	}
}

// mapping checks that the text of a mapping is the one that the settings name. A built-in mapping may have another
// text in another release. Settings are zero in version 1.
func (c *checker) mapping(text string, s Settings) {
	if s == (Settings{}) {
		return
	}
	isNone := s.Mapping == NoMapping
	c.that((text == "") == isNone, "the mapping is not the one of the settings, %q", clipReason(s.Mapping))
	if want, ok := strings.CutPrefix(s.Mapping, ProgramPrefix); ok {
		sum := sha256.Sum256([]byte(text))
		c.that(want == hex.EncodeToString(sum[:]), "the mapping was changed: its digest is not the one of the settings")
	}
}

// check returns an error if no run can have written cp with this fencing token.
func (cp *Checkpoint) check(token int) error {
	c := &checker{}
	c.export(&cp.Export)
	c.position(cp.Next)
	c.that(cp.Next.N > 0, "the next record is %d", cp.Next.N)
	size, done := cp.Export.Size, cp.Next.Done()
	c.that(size == 0 || done <= size, "%d bytes were read of an export of %d bytes", done, size)
	c.number("the high-water mark", cp.Sent, math.MaxInt64)
	c.number("the round", int64(cp.Round), maxRounds)
	c.number("the number of ignored entries", cp.Ignored, maxNumber)
	c.number("the fencing token of out-of-order outcomes", int64(cp.Ahead), int64(token))
	c.number("the fencing token of the state of writing the results", int64(cp.Finishing), int64(token))
	c.parts(cp.Parts, token, false)
	c.counts(cp.Counts)
	records := cp.Counts.Records()
	c.that(cp.Round > 0 || records < cp.Next.N, "there are %d outcomes before record %d", records, cp.Next.N)
	c.members(cp, token)
	c.runs(cp.Runs)
	c.carry(cp.Carry)
	c.mapping(cp.Mapping, cp.Settings)
	return c.err
}

// parts checks a list of parts.
func (c *checker) parts(all []Parts, token int, isMembers bool) {
	total := int64(0)
	for _, p := range all {
		c.number("the fencing token of parts", int64(p.Lease), int64(token))
		c.number("the first part", int64(p.First), maxAllPart)
		c.number("the number of parts", int64(p.Count), maxAllPart)
		c.that(p.Members == isMembers, "a part belongs to the other pass")
		total = min(total+int64(p.Count), 2*maxAllPart)
	}
	c.number("the number of parts", total, maxAllPart)
}

// members checks the state of the member pass.
func (c *checker) members(cp *Checkpoint, token int) {
	m := cp.Members
	if m == nil {
		return
	}
	c.number("the offset of the member pass", m.Offset, math.MaxInt64)
	c.parts(m.Parts, token, true)
	c.counts(m.Read)
	c.counts(m.Counts)
	c.that(m.Read.Records() == m.Counts.Records(), "the member pass has read %d lines and written %d",
		m.Read.Records(), m.Counts.Records())
	c.that(!m.IsEnd || m.Read == cp.Counts, // an archived import is not Done
		"the member pass has ended before the last record")
	c.counts(cp.Total())
}

// check returns an error if no run can have written m.
func (m *Manifest) check() error {
	c := &checker{}
	c.export(&m.Export)
	c.counts(m.Counts)
	c.runs(m.Runs)
	for i := range m.Rounds {
		r := &m.Rounds[i]
		c.time(r.Start)
		c.time(r.End)
		c.counts(r.Counts)
		c.runs(r.Runs)
	}
	c.that(len(m.Rounds) <= maxRounds, "there are %d rounds of retries, limit %d", len(m.Rounds), maxRounds)
	for _, f := range m.Files {
		c.number("the size of a file", f.Size, math.MaxInt64)
	}
	c.number("the number of records given up", m.GivenUp, maxNumber)
	c.number("the number of ignored entries", m.Ignored, maxNumber)
	for _, t := range []time.Time{m.RetryAt, m.Started, m.Finished} {
		c.time(t)
	}
	c.carry(m.Carry)
	return c.err
}

// check returns an error if no run can have written p.
func (p *Progress) check() error {
	c := &checker{}
	switch p.State {
	case Running, Waiting, Stopped, Finished, Paused, Cancelled:
	default:
		c.err = errors.New("the state is unknown")
	}
	c.export(&p.Export)
	c.position(p.Next)
	c.counts(p.Counts)
	c.number("the number of ignored entries", p.Ignored, maxNumber)
	c.number("the number of runs", int64(p.Runs), maxNumber)
	c.run(&p.Run)
	for _, t := range []time.Time{p.Until, p.Updated, p.Again} {
		c.time(t)
	}
	return c.err
}
