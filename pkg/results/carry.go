package results

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"github.com/bits-and-blooms/bitset"

	"groupimport/pkg/blob"
	"groupimport/pkg/outcome"
)

// A Carry says which outcomes of earlier versions of an export an import takes over, and how many it has.
type Carry struct {
	Sources []Source `json:"sources"`

	// InDoubt is how many records without a GroupId a killed run of an earlier version may have sent without leaving
	// an outcome. Which ones is not known, since their version of the export is gone.
	// With Assign, their GroupIds were made from that, see [Checkpoint.Assign], and the same ones are made again.
	InDoubt int64  `json:"inDoubt,omitzero"`
	Assign  string `json:"assign,omitzero"`

	Earlier int64 `json:"earlier"`          // outcomes of the sources that can be taken over
	Carried int64 `json:"carried"`          // records that took one over
	Differs int64 `json:"differs,omitzero"` // those of them whose other fields have changed
	Created int64 `json:"created,omitzero"` // records without a GroupId that took none over and were sent
}

// NotFound returns how many earlier outcomes no record has taken over so far.
func (c *Carry) NotFound() int64 {
	used := int64(0)
	for _, s := range c.Sources {
		used += int64(s.Used.Count()) //nolint:gosec // lines of a file
	}
	return max(0, c.Earlier-used)
}

// A Source is a file of earlier outcomes beside an export, in the order of their version of the export.
type Source struct {
	Tag  string  `json:"tag"`  // of the archived version, see [Names.Archived]
	File string  `json:"file"` // "results", or "earlier": what that version itself had not taken over
	Used LineSet `json:"used"` // lines of the file that were taken over

	// Unsure is set if a round of retries of that version was ended before its time: failed records without a
	// GroupId may have been sent.
	Unsure bool `json:"unsure,omitzero"`
}

// The values of [Source.File].
const (
	fileResults = "results"
	fileEarlier = "earlier"
)

func (s *Source) key(names Names) string {
	archived := Names{Export: names.Export + "." + s.Tag}
	if s.File == fileEarlier {
		return archived.earlier()
	}
	return archived.Results()
}

// All yields the outcomes of the source that can be taken over and have not been, with their line numbers, from 1.
func (s *Source) All(ctx context.Context, d Dir) iter.Seq2[EarlierOutcome, error] {
	return func(yield func(EarlierOutcome, error) bool) {
		n := uint(0)
		for line, err := range Lines(ctx, d.Bucket, s.key(d.Names)) {
			if err != nil {
				yield(EarlierOutcome{}, fmt.Errorf("read earlier outcomes: %w", err))
				return
			}
			n++
			if s.Used.Test(n) {
				continue
			}
			o, _, err := outcome.Parse(line)
			if err != nil {
				yield(EarlierOutcome{}, fmt.Errorf("line %d of %q is no outcome: restore the file, or move it away", n, s.key(d.Names)))
				return
			}
			if s.Unsure && o.Status == outcome.Failed && o.GroupID == "" {
				o.Status = outcome.Unknown
			}
			if (o.Status.HasGroup() || o.Status == outcome.Unknown) && !yield(EarlierOutcome{n, o}, nil) {
				return
			}
		}
	}
}

// Size returns the size of the file in bytes, 0 if it was removed.
func (s *Source) Size(ctx context.Context, d Dir) (int64, error) {
	info, err := d.Bucket.Stat(ctx, s.key(d.Names))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return info.Size, err
}

// An EarlierOutcome is an outcome that a record may take over.
type EarlierOutcome struct {
	Line    uint
	Outcome outcome.Outcome
}

// A LineSet is a set of line numbers, from 1. Its zero value is empty. As text it is the lengths of the runs outside and
// inside the set, in turn, as varints in base64: a few bytes as long as lines are taken over in order.
type LineSet struct{ bits bitset.BitSet }

// Add adds a line.
func (l *LineSet) Add(n uint) { l.bits.Set(n) }

// Test reports whether a line is in the set.
func (l *LineSet) Test(n uint) bool { return l.bits.Test(n) }

// Count returns how many lines are in the set.
func (l *LineSet) Count() uint { return l.bits.Count() }

func (l *LineSet) clone() LineSet { return LineSet{*l.bits.Clone()} }

// MarshalText returns the set as text.
func (l *LineSet) MarshalText() ([]byte, error) {
	var runs []byte
	at := uint(0)
	for inside := false; ; inside = !inside {
		next, ok := l.bits.NextSet(at)
		if inside {
			next, ok = l.bits.NextClear(at)
			if !ok {
				next, ok = l.bits.Len(), true
			}
		}
		if !ok {
			return base64.StdEncoding.AppendEncode(nil, runs), nil
		}
		runs = binary.AppendUvarint(runs, uint64(next-at))
		at = next
	}
}

// UnmarshalText sets l from its text.
func (l *LineSet) UnmarshalText(text []byte) error {
	*l = LineSet{}
	const maxLines = 1 << 30 // 128 MiB of bits; a work file is not trusted with more
	runs, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("set of lines: %w", err)
	}
	at := uint64(0)
	for inside := false; len(runs) > 0; inside = !inside {
		length, n := binary.Uvarint(runs)
		if n <= 0 || length > maxLines || at+length > maxLines {
			return errors.New("set of lines: not the text of one")
		}
		if inside && length > 0 {
			l.bits.Set(uint(at + length - 1))
			l.bits.FlipRange(uint(at), uint(at+length-1))
		}
		at += length
		runs = runs[n:]
	}
	return nil
}

// A Taken says which earlier outcome a record has taken over, or that it is new.
type Taken struct {
	Source int  // index into [Carry.Sources]
	Line   uint // 0 if none was taken
	New    bool // the record has no GroupId, took none over, and was sent
}

// count notes what became of one more record.
func (c *Carry) count(o *outcome.Outcome, t Taken) {
	if t.Line > 0 {
		c.Sources[t.Source].Used.Add(t.Line)
	}
	if o.Carried {
		c.Carried++
	}
	if o.Differs {
		c.Differs++
	}
	if t.New {
		c.Created++
	}
}

func (c *Carry) clone() *Carry {
	if c == nil {
		return nil
	}
	d := *c
	d.Sources = make([]Source, len(c.Sources))
	for i, s := range c.Sources {
		s.Used = s.Used.clone()
		d.Sources[i] = s
	}
	return &d
}

// Archive puts the results of an earlier import of the export out of the way, under names of their own, so that those
// of the next one can take their place. last is the latest checkpoint, nil if there is none. An import that was not
// finished is archived as far as it got. Done twice, it writes the same again. It returns the archived names and the Carry
// that the next import begins with; nil if there is nothing to archive.
func (d Dir) Archive(ctx context.Context, last *Checkpoint) (Names, *Carry, error) {
	m, err := d.LoadManifest(ctx)
	hasManifest := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Names{}, nil, err
	}
	hasParts := last != nil && last.Round == 0
	if hasParts && last.Done { // once the manifest is written they are not needed
		missing, total, err := d.MissingParts(ctx, last)
		if err != nil {
			return Names{}, nil, err
		}
		hasParts = missing < total
	}
	var archived Names
	carry := &Carry{Sources: []Source{{File: fileResults}}}
	switch {
	case hasManifest && (last == nil || last.Round > 0 || m.Started.Equal(last.Runs[0].Start)):
		if last != nil && last.Round > 0 { // the outcomes of the round belong to the import
			if m, err = d.Merge(ctx, m, *last, RetryPolicy{}, nil); err != nil {
				return Names{}, nil, err
			}
		}
		archived = d.Archived(m.Export.Version, m.Started)
		if err := d.Bucket.Delete(ctx, d.finished(&m)); err != nil {
			return Names{}, nil, err
		}
		if n := len(m.Rounds); n > 0 {
			carry.Sources[0].Unsure = m.Rounds[n-1].Unsure
		}
		err = d.archiveFiles(ctx, archived, &m)
	case hasParts:
		last := *last
		last.Done, last.Export.Key = false, d.Export
		archived = d.Archived(last.Export.Version, last.Runs[0].Start)
		if m, err = d.Finish(ctx, archived, last, RetryPolicy{}, nil); err == nil {
			lost := last.Counts.Records() + m.ahead - m.Counts.Records() // of parts that were removed
			carry.InDoubt, carry.Assign = max(0, last.Sent-last.Next.N+1)+lost, last.Assign
		}
	default: // the work folder, or what matters of it, was removed: the results are enough
		archived, err = d.archiveBare(ctx)
		if err == nil && archived == (Names{}) {
			if last == nil || last.Counts.Records() == 0 {
				return Names{}, nil, nil
			}
			return d.Names, &Carry{InDoubt: last.Counts.Records()}, nil // they were imported, and no outcome is left
		}
		carry.Sources[0].Unsure = last != nil && last.Round > 0 && !last.Done
	}
	if err != nil {
		return Names{}, nil, err
	}
	carry.Sources[0].Tag = archived.Export[len(d.Export)+1:]
	if m.Carry == nil {
		return archived, carry, nil
	}
	if m.Carry.InDoubt > 0 {
		carry.InDoubt += m.Carry.InDoubt
		if carry.Assign != m.Carry.Assign {
			carry.Assign = ""
		}
	}
	left, err := d.putLeft(ctx, archived, m.Carry)
	if err != nil {
		return Names{}, nil, err
	}
	if left {
		carry.Sources = append(carry.Sources, Source{Tag: carry.Sources[0].Tag, File: fileEarlier})
	}
	return archived, carry, nil
}

// archiveFiles copies the files of a finished import to the archived names.
func (d Dir) archiveFiles(ctx context.Context, archived Names, m *Manifest) error {
	for i, f := range m.Files {
		// By what the file is and not by its key: the folder may have been opened further up or down then.
		from, to := d.Results(), archived.Results()
		if _, kind := Beside(f.Key); kind == BesideFailures {
			from, to = d.Failures(), archived.Failures()
		}
		if err := copyObject(ctx, d.Bucket, from, to); err != nil {
			return err
		}
		m.Files[i].Key = to
	}
	m.Replaced = true
	return writeJSON(ctx, d.Bucket, archived.Manifest(), m)
}

// archiveBare copies results that have no manifest any more to archived names; it returns none if there are no results.
func (d Dir) archiveBare(ctx context.Context) (Names, error) {
	info, err := d.Bucket.Stat(ctx, d.Results())
	if errors.Is(err, fs.ErrNotExist) {
		return Names{}, nil
	}
	if err != nil {
		return Names{}, err
	}
	for line, err := range Lines(ctx, d.Bucket, d.Results()) {
		if err != nil {
			return Names{}, err
		}
		if n, _ := outcome.Scan(line); n == 0 {
			return Names{}, fmt.Errorf("%q has the name of this program's results and does not hold any: move it away", d.Results())
		}
		break
	}
	archived := d.Archived(info.Version, time.Time{})
	if err := copyObject(ctx, d.Bucket, d.Results(), archived.Results()); err != nil {
		return Names{}, err
	}
	return archived, copyObject(ctx, d.Bucket, d.Failures(), archived.Failures())
}

// MissingParts returns how many of the parts that cp counts were removed. It costs a request a part.
func (d Dir) MissingParts(ctx context.Context, cp *Checkpoint) (missing, total int, err error) {
	for _, run := range cp.Parts {
		for n := 1; n <= run.Count; n++ {
			total++
			_, err := d.Bucket.Stat(ctx, d.part(run.Lease, n))
			if errors.Is(err, fs.ErrNotExist) {
				missing++
			} else if err != nil {
				return missing, total, err
			}
		}
	}
	return missing, total, nil
}

// putLeft writes the earlier outcomes that an archived import has not taken over itself, and reports whether there are
// any: a later version may hold their records again.
func (d Dir) putLeft(ctx context.Context, archived Names, c *Carry) (bool, error) {
	found := false
	lines := func(yield func([]byte, error) bool) {
		var buf []byte
		for _, s := range c.Sources {
			for e, err := range s.All(ctx, d) {
				if err != nil {
					yield(nil, err)
					return
				}
				found = true
				if buf = e.Outcome.AppendLine(buf[:0]); !yield(buf, nil) {
					return
				}
			}
		}
	}
	if c.NotFound() == 0 {
		return false, nil
	}
	_, err := put(ctx, d.Bucket, archived.earlier(), lines, func(line []byte) []byte { return line })
	return found, err
}

func copyObject(ctx context.Context, b blob.Bucket, from, to string) error {
	r := blob.NewReader(ctx, b, from, "", 0, -1)
	defer r.Close()
	err := b.Put(ctx, to, r)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // an operator has removed it
	}
	if err != nil {
		return fmt.Errorf("archive %q as %q: %w", from, to, err)
	}
	return nil
}
