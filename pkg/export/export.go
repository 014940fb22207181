// Package export reads exports: the files that a user drops, one group a record.
//
// The format is told from the name:
//
//	.jsonl .ndjson   a JSON object a line; blank lines are no records
//	.json            an array of objects, or an object that holds one under a name of [Arrays]; several such
//	                 values may follow one another
//	.csv             a header line with the names of fields, then a record a row
//
// JSON is read as what its first value shows it to be, whichever of its names it has: an object a line, objects over
// several lines one behind the other, or arrays.
//
// Each may be compressed: .gz or .zst stands behind the name, but what the bytes say goes before. A text is in UTF-8,
// or, with a byte-order mark, in UTF-16. Another encoding is read if [Source.Encoding] names it, and otherwise refused
// before the first record. Byte-order marks where a line, a row, a cell or a JSON value begins are skipped. An export
// without a byte, or without a record, has no records, which is no error.
//
// What is no group costs that record only: it comes out as an [Entry] with its problems, and the next
// one follows. Where the records behind it cannot be found again (a stream is cut off or corrupt, a bracket is
// missing) an error ends the export and says where.
//
// A dead-letter file that this program wrote is an export too: each of its lines holds the record, see package
// outcome.
package export

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strings"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

// MaxLine is the length in bytes above which a record is rejected without being held in memory. A legal
// body of import_group has 31 KB at most, with every byte of its custom values escaped.
const MaxLine = 1 << 20

// A Position says where a record begins.
type Position struct {
	N    int64 `json:"n"`    // ordinal of the record, from 1
	Line int64 `json:"line"` // line of the text, from 1

	// Offset is a byte of the text, from 0: of the object itself, or of what it becomes when it is
	// decompressed and UTF-16 is made UTF-8.
	Offset int64 `json:"offset"`

	// Read is about how many bytes of the object have been read up to here, if Offset does not count those.
	Read int64 `json:"read,omitzero"`
}

// Done is how many bytes of the object have been read up to here, of as many as the object has.
func (p Position) Done() int64 {
	if p.Read > 0 {
		return p.Read
	}
	return p.Offset
}

// Start is where the first record of an export begins, or what stands before it.
var Start = Position{N: 1, Line: 1}

// An Entry is one record of an export, valid or not.
type Entry struct {
	Pos  Position // where it begins
	Next Position // where to read on behind it

	// Failure is the outcome that the line holds if it is one of a dead-letter file, whose record Raw is; otherwise
	// nil.
	Failure *outcome.Outcome

	// Raw is the record in import_group's words: as it came, as the mapping made it, or as a JSON object of the
	// cells of its row. If none of these could be had it is the record as it came, in {"foreign": …} if it is JSON
	// that could not be mapped. It is valid until the next entry is read, and nil for a record longer than
	// [MaxLine].
	Raw []byte

	// SameID is the line of an earlier record with this one's GroupId, both of them valid; 0 if none is known. The
	// latest 50,000 GroupIds are, of those that this Reader has read.
	SameID int64

	Record  group.Record // valid if Problem is nil, Skipped is empty and Ignored is false
	Problem *group.Error // what is wrong with the record, nil if nothing is
	Skipped string       // why the mapping leaves the record out, empty if it does not

	// Ignored says that the mapping takes this for no record of a group, such as a message. An ignored entry has no
	// ordinal: Pos.N and Next.N are those of the record behind it. Only Pos, Next and Raw are set.
	Ignored bool

	Changed []string // fields whose value the mapping cut, altered or dropped, in the order of [group.Fields]
	Source  string   // the group's ID in the system that it comes from, empty if that is not known
}

// ErrFormat is wrapped when an export is in no format that this package reads.
var ErrFormat = errors.New("unknown format")

// Formats are the endings of names that are read; each also with one of [Compressions] behind it.
var Formats = []string{".jsonl", ".ndjson", ".json", ".csv"}

// Compressions are what may stand behind a name's format.
var Compressions = []string{".gz", ".zst"}

// FormatsText says which names are read, for messages.
const FormatsText = ".jsonl, .ndjson, .json or .csv, or in one of these and .gz or .zst"

// Reads reports whether the name ends as an export's does.
func Reads(name string) bool { return format(name) != "" }

// format returns which of Formats the name has, or "".
func format(name string) string {
	name = strings.ToLower(name)
	for _, c := range Compressions {
		if plain, ok := strings.CutSuffix(name, c); ok {
			name = plain
			break
		}
	}
	for _, f := range Formats {
		if strings.HasSuffix(name, f) {
			return f
		}
	}
	return ""
}

// A Source is an export that lies somewhere.
type Source struct {
	Name string // its end tells the format

	// Open returns the bytes of the object from an offset on. It is called with 0, and for an export in plain UTF-8
	// that is gone on with once more, with a position's offset. The caller closes what it returns.
	Open func(offset int64) io.ReadCloser

	Map Mapping // of records that are another system's; nil if there are none

	// Encoding is what the text is in if it is not UTF-8, a name that [ParseEncoding] has returned. What the bytes say
	// goes before. Positions are of the text in UTF-8, so whoever reads on must name the same one.
	Encoding string
}

// A Reader reads the records of one export. Its memory does not depend on the export: a window of [MaxLine] bytes,
// what a decompressor needs (up to [maxWindow]), a record, and up to 3 MB for [Entry.SameID].
type Reader struct {
	src     Source
	format  string
	at      Position
	group   *group.Decoder
	dropped map[string]int64
	notes   []string
	ids     recentIDs
	scratch []byte
}

// NewReader returns a Reader of an export. at is [Start] or the Next of an entry read before. The error
// wraps [ErrFormat].
func NewReader(src Source, at Position, limits group.Limits) (*Reader, error) {
	f := format(src.Name)
	if f == "" {
		return nil, fmt.Errorf("%w: %q: its name must end in %s", ErrFormat, path.Base(src.Name), FormatsText)
	}
	return &Reader{src: src, format: f, at: at, group: group.NewDecoder(limits), dropped: map[string]int64{}}, nil
}

// Dropped says which fields of an answer of get_group_info were dropped because import_group does not know
// them, and of how many records.
func (r *Reader) Dropped() map[string]int64 { return r.dropped }

// Notes says, for people, what is odd about the export as a whole and cost no record, as far as it has been read: bytes
// behind its end that were not read, an encoding that was named and not applied.
func (r *Reader) Notes() []string { return r.notes }

// Records yields the entries in order. An error ends the export: it cannot be read on. What is wrong
// with a single record is no error but its [Entry.Problem].
func (r *Reader) Records() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		t, records, err := r.open()
		if t != nil {
			defer func() { t.close(); r.notes = t.notes }()
		}
		for err == nil {
			var e Entry
			if e, err = r.next(t, records); err == nil && !yield(e, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(Entry{}, err)
		}
	}
}

// A finder finds the records of a text in one format.
type finder interface {
	// resume says that the text now stands where a position says, behind a record.
	resume()

	// next returns the next record; [io.EOF] if there is none.
	next(t *text) (found, error)
}

// A found is a record as it stands in the text.
type found struct {
	pos     Position
	raw     []byte       // nil if it was too long to be kept
	head    []byte       // the first bytes of a record that was too long
	problem *group.Error // what is wrong with it already here
	answer  bool         // it is of an answer of get_group_info
	line    bool         // it is a line of JSONL, and perhaps of a failures file
}

// open opens the text at the Reader's position.
func (r *Reader) open() (*text, finder, error) {
	t, err := openDecoded(r.src, r.at == Start)
	if err != nil {
		return t, nil, err
	}
	records, err := r.begin(t)
	if err != nil {
		return t, nil, t.explain(err)
	}
	if r.at.Offset > t.at.Offset {
		if err := t.jump(r.src, r.at); err != nil {
			return t, nil, t.explain(err)
		}
		records.resume()
	}
	t.at.N = r.at.N
	return t, records, nil
}

// begin reads what stands before the first record and is needed to understand those behind it, also when records are
// read from further on.
func (r *Reader) begin(t *text) (finder, error) {
	foreign := r.src.Map != nil
	if r.format == ".csv" {
		return (&rows{foreign: foreign}).begin(t)
	}
	return finderOfJSON(t, r.format != ".json", foreign)
}

// next returns the next entry.
func (r *Reader) next(t *text, records finder) (Entry, error) {
	f, err := records.next(t)
	if err != nil {
		return Entry{}, t.explain(err)
	}
	e := Entry{Pos: f.pos, Raw: f.raw, Problem: f.problem}
	switch {
	case e.Problem == nil:
		r.fill(&e, f)
	case f.head != nil && r.src.Map != nil && r.src.Map.Ignores(f.head):
		e.Problem, e.Ignored = nil, true
	}
	if !e.Ignored {
		t.at.N++
	}
	e.Next = t.at
	if !t.plain {
		e.Next.Read = t.read()
	}
	if e.Problem == nil && e.Skipped == "" && !e.Ignored {
		e.SameID = r.ids.note(e.Record.GroupID, e.Pos.Line)
	}
	if e.Problem != nil && t.encoded != "" {
		for i, p := range e.Problem.Problems {
			if p.Rule == group.RuleUTF8 {
				e.Problem.Problems[i].Message += "; the export was read as " + t.encoded
			}
		}
	}
	return e, nil
}

// fill sets the record of an entry from what was found.
func (r *Reader) fill(e *Entry, f found) {
	foreign := r.src.Map != nil
	switch {
	case foreign && f.line && r.unwrap(e, f.raw):
	case foreign:
		r.translate(e)
	case f.answer:
		r.answer(e)
	default:
		r.decode(e)
		if e.Problem == nil || !f.line {
			break
		}
		if wrapped := (Entry{Pos: e.Pos}); r.unwrap(&wrapped, f.raw) {
			*e = wrapped
		}
	}
}

// decode sets the record of an entry, or what is wrong with it.
func (r *Reader) decode(e *Entry) {
	rec, err := r.group.Decode(e.Raw)
	if err != nil {
		e.Problem, _ = errors.AsType[*group.Error](err) // Decode returns no other
		return
	}
	e.Record = rec
}

// unwrap sets the entry to what a line of a failures file holds, and reports whether it is such a line.
func (r *Reader) unwrap(e *Entry, line []byte) bool {
	o, raw, ok, problem := unwrap(line)
	if !ok {
		return false
	}
	e.Failure, e.Raw, e.Problem, e.Changed, e.Source = &o, raw, problem, o.Changed, o.Source
	if problem != nil {
		return true
	}
	if inner, ok := foreignOf(raw); ok {
		if r.src.Map == nil {
			e.Problem = problemf(group.RuleMapping, "the record is another system's, and its mapping failed: name a mapping, or write it in import_group's words")
			return true
		}
		e.Raw = inner
		r.translate(e)
		return true
	}
	r.decode(e)
	return true
}

// drop counts a field that is left out of a record.
func (r *Reader) drop(name string) {
	const most = 100 // names
	if _, ok := r.dropped[name]; !ok && len(r.dropped) >= most {
		name = "(others)"
	}
	r.dropped[name]++
}

// problemf returns what is wrong with a record as a whole.
func problemf(rule group.Rule, format string, args ...any) *group.Error {
	return &group.Error{Problems: []group.Problem{{Rule: rule, Message: fmt.Sprintf(format, args...)}}}
}

// tooLong says that a record was not kept.
func tooLong(what string, size int64) *group.Error {
	return problemf(group.RuleSize, "the %s has %d bytes, at most %d are read", what, size, MaxLine)
}

// Arrays are the names under which an object holds the records of an export. Under GroupInfo they are those
// of an answer of get_group_info; channels, group_channels and rooms are other systems' words.
var Arrays = []string{"GroupInfo", "groups", "Groups", "channels", "group_channels", "rooms"}

func isArrayName(name string) bool { return slices.Contains(Arrays, name) }
