package results

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/bits"
	"slices"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
)

// A Carry lists the outcomes of earlier versions of an export that an import carries over, and counts them.
type Carry struct {
	Sources []Source `json:"sources"`

	// InDoubt counts the records without a GroupId that a killed run of an earlier version may have sent without writing
	// an outcome. It is not known which records these are, because their version of the export is gone. Assign is the
	// seed of their GroupIds, see [Checkpoint.Assign]: the same seed assigns the same GroupIds again.
	InDoubt int64  `json:"inDoubt,omitzero"`
	Assign  string `json:"assign,omitzero"`

	Earlier int64 `json:"earlier"`          // outcomes of the sources that can be carried over
	Carried int64 `json:"carried"`          // records whose outcome was carried over
	Differs int64 `json:"differs,omitzero"` // carried-over records whose other fields have changed
	Created int64 `json:"created,omitzero"` // records without a GroupId and without an earlier outcome, which were sent
}

// NotFound returns the number of earlier outcomes that belong to no record so far.
func (c *Carry) NotFound() int64 {
	used := int64(0)
	for _, s := range c.Sources {
		used += int64(s.Used.Count()) // lines of a file
	}
	return max(0, c.Earlier-used)
}

// A Source is a file of earlier outcomes beside an export, in the order of the earlier version.
type Source struct {
	Tag  string  `json:"tag"`  // of the archived version, see [Names.Archived]
	File string  `json:"file"` // "results", or "earlier": outcomes that the archived version itself had not carried over
	Used LineSet `json:"used"` // lines of the file that were carried over

	// Unsure is set if a round of retries of the archived version was cut short: failed records without a GroupId may
	// have been sent.
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

// All yields the outcomes of the source that can still be carried over, with their line numbers, from 1.
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
				yield(EarlierOutcome{}, fmt.Errorf("line %d of %q is not an outcome: restore the file, or move it away",
					n, s.key(d.Names)))
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

// Size returns the size of the file in bytes, or 0 if the file was removed.
func (s *Source) Size(ctx context.Context, d Dir) (int64, error) {
	info, err := d.Bucket.Stat(ctx, s.key(d.Names))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return info.Size, err
}

// An EarlierOutcome is an outcome that can be carried over to a record.
type EarlierOutcome struct {
	Line    uint
	Outcome outcome.Outcome
}

// A LineSet is a set of line numbers, from 1. The zero value is empty. Its text is a run-length encoding: the lengths
// of the runs outside and inside the set, alternating, as varints in base64. The text is a few bytes long if the
// lines are added in order.
//
// It is no bitset of a library, because net/rpc makes the linker keep all methods of a type that JSON can reach: 0.03
// MB of the SCF function's zip.
type LineSet struct{ words []uint64 }

const maxLines = 1 << 30 // limits the memory to 128 MiB

// Add adds a line.
func (l *LineSet) Add(n uint) { l.addRange(n, n+1) }

// addRange adds the lines from first up to, but not including, end.
func (l *LineSet) addRange(first, end uint) {
	if missing := int((end+63)/64) - len(l.words); missing > 0 {
		l.words = append(l.words, make([]uint64, missing)...)
	}
	for first < end {
		next := first/64*64 + 64
		mask := ^uint64(0) << (first % 64)
		if end < next {
			mask &= 1<<(end%64) - 1
		}
		l.words[first/64] |= mask
		first = next
	}
}

// Test reports whether a line is in the set.
func (l *LineSet) Test(n uint) bool { return n/64 < uint(len(l.words)) && l.words[n/64]>>(n%64)&1 == 1 }

// Count returns the number of lines in the set.
func (l *LineSet) Count() uint {
	n := 0
	for _, w := range l.words {
		n += bits.OnesCount64(w)
	}
	return uint(n)
}

func (l *LineSet) clone() LineSet { return LineSet{slices.Clone(l.words)} }

// next returns the first line from at on that is in the set, or outside it. It returns a line behind all words if
// there is none.
func (l *LineSet) next(at uint, inside bool) uint {
	for i := at / 64; i < uint(len(l.words)); i++ {
		w := l.words[i]
		if !inside {
			w = ^w
		}
		if i == at/64 {
			w &= ^uint64(0) << (at % 64)
		}
		if w != 0 {
			return i*64 + uint(bits.TrailingZeros64(w))
		}
	}
	return uint(len(l.words)) * 64
}

// MarshalText returns the set as text.
func (l *LineSet) MarshalText() ([]byte, error) {
	var runs []byte
	at := uint(0)
	for inside := false; ; inside = !inside {
		next := l.next(at, !inside)
		if !inside && next == uint(len(l.words))*64 {
			return base64.StdEncoding.AppendEncode(nil, runs), nil
		}
		runs = binary.AppendUvarint(runs, uint64(next-at))
		at = next
	}
}

// UnmarshalText sets l from its text.
func (l *LineSet) UnmarshalText(text []byte) error {
	*l = LineSet{}
	runs, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("set of lines: %w", err)
	}
	at := uint64(0)
	for inside := false; len(runs) > 0; inside = !inside {
		length, n := binary.Uvarint(runs)
		if n <= 0 || length > maxLines || at+length > maxLines {
			return errors.New("set of lines: invalid run length")
		}
		if inside {
			l.addRange(uint(at), uint(at+length))
		}
		at += length
		runs = runs[n:]
	}
	return nil
}

// An Origin says which earlier outcome was carried over to a record, or that the record is new.
type Origin struct {
	Source int  // index into [Carry.Sources]
	Line   uint // 0 if no outcome was carried over
	New    bool // the record has no GroupId and no earlier outcome, and was sent
}

// count counts the outcome of one more record.
func (c *Carry) count(o *outcome.Outcome, from Origin) {
	if from.Line > 0 {
		c.Sources[from.Source].Used.Add(from.Line)
	}
	if o.Carried {
		c.Carried++
	}
	if o.Differs {
		c.Differs++
	}
	if from.New {
		c.Created++
	}
}

// Clone returns a copy of c that shares nothing with it.
func (c *Carry) Clone() *Carry {
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

// Archive moves the results of an earlier import of the export to archived names, see [Names.Archived]. last is the
// latest checkpoint, nil if there is none. Archive also archives the outcomes of an unfinished import. It is
// idempotent. It returns the archived names and the Carry that the next import starts with. The Carry is nil if there
// is nothing to archive.
func (d Dir) Archive(ctx context.Context, l *lease.Lease, last *Checkpoint) (Names, *Carry, error) {
	m, err := d.LoadManifest(ctx)
	hasManifest := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Names{}, nil, err
	}
	isFinished := hasManifest && (last == nil || last.Round > 0 || m.Started.Equal(last.Runs[0].Start))
	hasParts := !isFinished && last != nil && last.Round == 0
	if hasParts && last.Done { // the parts are removed once the manifest is written
		if hasParts, err = d.hasPart(ctx, last); err != nil {
			return Names{}, nil, err
		}
	}
	if hasParts && last.mayHaveResults() {
		_, err := d.Bucket.Stat(ctx, d.Results())
		if hasParts = errors.Is(err, fs.ErrNotExist); err != nil && !hasParts {
			return Names{}, nil, err
		}
	}
	var archived Names
	carry := &Carry{Sources: []Source{{File: fileResults}}}
	switch {
	case isFinished:
		if last != nil && last.Round > 0 { // a round of retries was in progress: its outcomes belong to the import
			if m, err = d.Merge(ctx, m, *last, RetryPolicy{}, nil); err != nil {
				return Names{}, nil, err
			}
		}
		archived = d.Archived(m.Export.Version, m.Started)
		if err := m.removeMarks(ctx, d); err != nil {
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
		if m, err = d.finishAs(ctx, l, archived, last, RetryPolicy{}, nil); err == nil {
			lost := last.Counts.Records() + m.ahead - m.Counts.Records() // outcomes in parts that were removed
			carry.InDoubt, carry.Assign = max(0, last.Sent-last.Next.N+1)+lost, last.Assign
		}
	default: // the work folder or its manifest was removed, or not yet written: archive the results file alone
		archived, err = d.archiveBare(ctx)
		if err == nil && archived == (Names{}) {
			if last == nil || last.Counts.Records() == 0 {
				return Names{}, nil, nil
			}
			return d.Names, &Carry{InDoubt: last.Counts.Records()}, nil // imported, but no outcome is left
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
	hasRest, err := d.putRest(ctx, archived, m.Carry)
	if err != nil {
		return Names{}, nil, err
	}
	if hasRest {
		carry.Sources = append(carry.Sources, Source{Tag: carry.Sources[0].Tag, File: fileEarlier})
	}
	return archived, carry, nil
}

// archiveFiles copies the files of a finished import to the archived names.
func (d Dir) archiveFiles(ctx context.Context, archived Names, m *Manifest) error {
	for i, f := range m.Files {
		// By kind, not by key: the bucket may have been opened at another directory.
		from, to := d.Results(), archived.Results()
		if _, kind := Sidecar(f.Key); kind == SidecarFailures {
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

// archiveBare copies results without a manifest to archived names. It returns zero Names if there are no results.
func (d Dir) archiveBare(ctx context.Context) (Names, error) {
	info, err := d.Bucket.Stat(ctx, d.Results())
	if errors.Is(err, fs.ErrNotExist) {
		return Names{}, nil
	}
	if err != nil {
		return Names{}, err
	}
	if err := d.CheckForeign(ctx); err != nil {
		return Names{}, err
	}
	archived := d.Archived(info.Version, time.Time{})
	if err := copyObject(ctx, d.Bucket, d.Results(), archived.Results()); err != nil {
		return Names{}, err
	}
	return archived, copyObject(ctx, d.Bucket, d.Failures(), archived.Failures())
}

// putRest writes the earlier outcomes that an archived import has not carried over, and reports whether there are
// any. A later version may contain their records again.
func (d Dir) putRest(ctx context.Context, archived Names, c *Carry) (bool, error) {
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
		return nil // an operator has removed the object
	}
	if err != nil {
		return fmt.Errorf("archive %q as %q: %w", from, to, err)
	}
	return nil
}
