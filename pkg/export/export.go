// Package export reads exports: files with one record for each group, or for each member of a group.
//
// The name determines the format:
//
//	.jsonl .ndjson   one JSON object per line; blank lines are skipped
//	.json            an array of objects, or an object with such an array under a name of [Arrays];
//	                 several such values may follow each other; a mapping may name another place, see [Mapping]
//	.csv             a header with field names, then one record per row
//	.zip             files of JSON, for a mapping that names them, see [FileMapping]
//
// For JSON, the first value determines the layout, not the name: one object per line, a sequence of multi-line
// objects, or arrays.
//
// An export may be compressed with gzip or zstd. The content takes precedence over a name ending in .gz or .zst.
//
// Text is UTF-8, or UTF-16 with a byte-order mark. [Source.Encoding] selects another encoding. Text in an undeclared
// encoding is an error before the first record. Byte-order marks at the start of a line, row, cell or JSON value are
// skipped. An empty export has no records and is not an error.
//
// An invalid record does not affect the others: the Reader yields an [Entry] with its problems and continues. If later
// records cannot be located (a truncated or corrupt stream, a missing bracket), the Reader yields an error with the
// position and ends.
//
// A dead-letter file is an export too: each of its lines contains the record, see package outcome.
//
// The readers of JSON, CSV and zip archives are written here although libraries exist: memory must be bounded for every
// export, reading must resume at a byte, and an invalid record must not end it. encoding/csv and encoding/json keep a
// value whole and cannot continue after invalid input. archive/zip needs an io.ReaderAt: over an object store each
// small read would be a request.
package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

// MaxLine is the maximum length of a record in bytes. Longer records are rejected and not kept in memory. A valid body
// of import_group has at most 31 KB, with every byte of its custom values escaped. The rest has room for a MemberList
// of 10,000 to 40,000 members.
const MaxLine = 1 << 20

// A Position is the start of a record.
type Position struct {
	N    int64 `json:"n"`    // ordinal of the record, from 1
	Line int64 `json:"line"` // line of the text, from 1

	// Offset is the byte offset in the text, from 0, after decompression and conversion to UTF-8.
	Offset int64 `json:"offset"`

	// Read is the approximate number of bytes read from the object, if Offset does not count them; otherwise 0.
	Read int64 `json:"read,omitzero"`

	// In says where in a JSON document an [Entry] ends, because a Reader that resumes there must know. It has two words,
	// which may be absent. The first one is what contains the records: "object", "string", or "member" if the member
	// itself is the record; it is absent for an array. The second one is where a blank entry ends: "array" before the
	// first record, "comma" after the comma that follows a record, "between" two documents.
	In string `json:"in,omitzero"`

	// Sub is the number of records that precede this one in the next record of the text, which a mapping has made
	// several records of.
	Sub int `json:"sub,omitzero"`
}

// Done returns the number of bytes read from the object.
func (p Position) Done() int64 {
	if p.Read > 0 {
		return p.Read
	}
	return p.Offset
}

// Start is the position at the start of an export.
var Start = Position{N: 1, Line: 1}

// An Entry is one record of an export, valid or not.
type Entry struct {
	Pos  Position // start of the record
	Next Position // where to resume after the record

	// Failure is the outcome of a line of a dead-letter file, nil for other records.
	Failure *outcome.Outcome

	// Raw is the record in import_group's format: the original JSON, the mapping's result, a JSON object of the CSV
	// cells, or the record of a dead-letter line. A record that could not be mapped is {"foreign": …}, or the original
	// bytes if it is not JSON. A record with unknown accounts is {"untranslated": …} if [Source.StrictUsers] is set. Raw
	// is valid until the next entry is read. It is nil for a record longer than [MaxLine].
	Raw []byte

	// SameID is the line of an earlier valid record of a group with the same GroupId, 0 if there is none, and 0 for a
	// member record. The Reader remembers the most recent 50,000 GroupIds.
	SameID int64

	Record  group.Record // valid if Problem is nil, Skipped is empty, Ignored and Blank are false
	Problem *group.Error // the problems of an invalid record, otherwise nil
	Skipped string       // why the mapping skipped the record, empty if it did not

	// Ignored means that, according to the mapping, this is not a group but, for example, a message. An ignored entry
	// has no ordinal: Pos.N and Next.N are the ordinal of the next record. Only Pos, Next and Raw are set.
	Ignored bool

	// Blank means that there is no record: many MB before Next have none. A caller may store Next. Like an ignored entry,
	// a blank one has no ordinal. Only Pos and Next are set.
	Blank bool

	// Changed are the fields whose values the mapping truncated, altered or dropped, and Owner_Account or MemberList if
	// [Source.Users] does not have the owner or a member. They are in the order of [group.Fields].
	Changed []string
	Source  string // the group's ID in its source system, empty if unknown
}

// ErrFormat is wrapped by errors about exports in an unsupported format.
var ErrFormat = errors.New("unknown format")

// Formats are the supported name extensions. One of [Compressions] may follow.
var Formats = []string{".jsonl", ".ndjson", ".json", ".csv"}

// Compressions are the name extensions of compressed exports.
var Compressions = []string{".gz", ".zst"}

// Archives are the name extensions of archives, which some mappings read, see [FileMapping].
var Archives = []string{archiveFormat}

// FormatsText lists the supported extensions, for messages.
const FormatsText = ".jsonl, .ndjson, .json or .csv, optionally followed by .gz or .zst"

// NamesText lists the supported extensions, and those of archives, for messages.
const NamesText = FormatsText + ", or in .zip"

// IsExport reports whether name has the extension of an export.
func IsExport(name string) bool { return format(name) != "" }

// format returns the element of Formats or Archives in name, or "".
func format(name string) string {
	name = strings.ToLower(name)
	if strings.HasSuffix(name, archiveFormat) {
		return archiveFormat
	}
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

// A Source is an export in a store.
type Source struct {
	Name string // its extension determines the format

	// Open returns the bytes of the object from offset. The Reader calls it with 0 and, to resume in uncompressed
	// UTF-8, with the offset of a position. The Reader closes the result.
	Open func(offset int64) io.ReadCloser

	Size int64 // of the object in bytes; only archives need it

	Map Mapping // for records of another system; nil for import_group's format

	// Records is where a JSON document has its records, nil if it says so itself or the mapping does. It goes before the
	// mapping's paths. It is not for CSV and dead-letter files. A Reader that resumes must have the same Records.
	Records Path

	// Users translates the accounts of owners and members after the mapping, nil leaves them. Records of a dead-letter
	// file are translated already. An unknown owner or member is left out, see [Entry.Changed] and [Entry.Skipped]; if
	// StrictUsers is set, its record is invalid.
	Users       Users
	StrictUsers bool

	// Zone is the time zone of dates in CSV without an offset, nil if none is stated: such dates are invalid then.
	Zone *time.Location

	// Encoding is a result of [ParseEncoding], empty for UTF-8. The content takes precedence. Positions refer to the
	// UTF-8 text, so a Reader that resumes must have the same Encoding.
	Encoding string

	// Window is called before zstd data is decompressed, with the size in bytes of the window that its first frame needs
	// in memory. It may wait for the memory, and its error ends the reading. Nil does nothing.
	Window func(ctx context.Context, size uint64) error
}

// A Reader reads the records of one export. Its memory is bounded: a buffer of [MaxLine] bytes, the decompressor (up to
// [maxWindow]), one record, and 1.1 MB for [Entry.SameID].
type Reader struct {
	src     Source
	format  string
	at      Position
	group   *group.Decoder
	dropped map[string]int64
	notes   []string
	ids     recentIDs
	scratch []byte
	file    string // of an archive, see [FileMapping.InFile]
	members []byte // the MemberList of a get_group_info response

	translated, wrapped []byte // see decodeTranslated

	more    []Mapped // further records of the one that was read, see [Mapped.More]
	sub     int      // records of it that have been yielded, or that a Reader that resumes must leave out
	resumes bool     // the next record is the one of sub
	first   Entry    // the entry of the first of these records
	before  Position // where to resume to read it once more
	after   Position // the end of the record

	blanks blankLimits // defaultBlanks, except in tests
}

// NewReader returns a Reader that starts at a position: [Start], or the Next of an earlier entry. The error wraps
// [ErrFormat].
func NewReader(src Source, at Position, limits group.Limits) (*Reader, error) {
	f := format(src.Name)
	if f == "" {
		return nil, fmt.Errorf("%w: %q: the name must end in %s", ErrFormat, path.Base(src.Name), NamesText)
	}
	return &Reader{
		src: src, format: f, at: at, group: group.NewDecoder(limits), dropped: map[string]int64{}, blanks: defaultBlanks,
	}, nil
}

// Dropped returns, by field, the number of records of a get_group_info response in which the field was dropped because
// import_group does not accept it.
func (r *Reader) Dropped() map[string]int64 { return r.dropped }

// Notes returns warnings about the export as a whole, for operators: trailing data that was ignored, an encoding that
// was not applied. They are complete after the last record.
func (r *Reader) Notes() []string { return r.notes }

// Records yields the entries in order. An error ends the sequence. An invalid record is not an error, see
// [Entry.Problem]. If ctx is done, the sequence ends with its cause, at the latest at the next read of the export.
//
// Text without a record for more than 1 GiB is an error: a few KB of compressed blank lines can go on for hours.
func (r *Reader) Records(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		t, records, err := r.open(ctx)
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

// A finder locates the records of a text in one format.
type finder interface {
	// resume tells the finder that the text is now at a position after a record. in is its [Position.In].
	resume(in string)

	// next returns the next record, or [io.EOF].
	next(t *text) (found, error)
}

// A found is a located record.
type found struct {
	pos        Position
	raw        []byte       // nil if the record was too long
	head       []byte       // the first bytes of a record that was too long
	problem    *group.Error // nil if the record was located
	isResponse bool         // an element of a get_group_info response
	isLine     bool         // a JSON object that may be a line of a dead-letter file

	isBlank bool   // no record: the text has none up to its position
	in      string // of the next position, see [Position.In]
}

// open opens the text at the Reader's position.
func (r *Reader) open(ctx context.Context) (*text, finder, error) {
	t, err := openDecoded(ctx, r.src, r.at == Start)
	if err != nil {
		return t, nil, err
	}
	t.blanks = r.blanks
	records, err := r.begin(t)
	if err != nil {
		return t, nil, t.explain(err)
	}
	if r.at.Offset > t.at.Offset {
		if err := t.jump(r.src, r.at); err != nil {
			return t, nil, t.explain(err)
		}
		records.resume(r.at.In)
	}
	t.at.N, t.at.Sub = r.at.N, 0
	r.before, r.sub, r.resumes = r.at, r.at.Sub, r.at.Sub > 0
	return t, records, nil
}

// begin reads the start of the text, such as a CSV header, up to the first record. Resuming needs it too.
func (r *Reader) begin(t *text) (finder, error) {
	foreign := r.src.Map != nil
	if r.format == ".csv" {
		return (&rows{foreign: foreign, zone: r.src.Zone}).begin(t)
	}
	var paths []Path
	if foreign {
		paths = r.src.Map.Records()
	}
	if t.zip != nil { // whose files say where their records are
		return jsonFinder(t, false, foreign, nil, paths)
	}
	return jsonFinder(t, r.format != ".json", foreign, r.src.Records, paths)
}

// next returns the next entry.
func (r *Reader) next(t *text, records finder) (Entry, error) {
	if len(r.more) > 0 {
		e := Entry{Pos: r.first.Pos, Failure: r.first.Failure}
		e.Pos.N = t.at.N
		r.further(&e)
		return r.located(t, e), nil
	}
	f, err := records.next(t)
	if err != nil {
		return Entry{}, t.explain(err)
	}
	t.paused = t.at.Offset
	if f.isBlank {
		e := Entry{Pos: t.at, Next: t.position(), Blank: true}
		e.Next.In, e.Next.Sub = f.in, r.sub
		r.before = e.Next
		return e, nil
	}
	t.record = t.at.Offset
	r.enter(t, f.pos)
	e := Entry{Pos: f.pos, Raw: f.raw, Problem: f.problem}
	switch {
	case e.Problem == nil:
		if err := r.fill(&e, f); err != nil {
			return Entry{}, err
		}
	case f.head != nil && r.src.Map != nil && r.src.Map.Ignores(f.head):
		e.Problem, e.Ignored = nil, true
	}
	if r.resumes && len(r.more) >= r.sub {
		r.more = r.more[r.sub-1:]
		r.further(&e)
	}
	r.resumes = false
	r.first, r.after = Entry{Pos: e.Pos, Failure: e.Failure}, t.position()
	r.after.In = f.in
	return r.located(t, e), nil
}

// located completes an entry: its positions and what depends on other entries.
func (r *Reader) located(t *text, e Entry) Entry {
	if !e.Ignored {
		t.at.N++
	}
	if len(r.more) > 0 {
		r.sub++
		e.Next = r.before
		e.Next.Sub = r.sub
	} else {
		r.sub = 0
		r.before = r.after
		e.Next = r.after
	}
	e.Next.N = t.at.N
	r.before.N, r.before.Sub = t.at.N, 0
	if e.Problem == nil && e.Skipped == "" && !e.Ignored && !e.Record.IsMember {
		e.SameID = r.ids.note(e.Record.GroupID, e.Pos.Line)
	}
	if e.Problem != nil && r.format == ".csv" {
		r.adviseDates(e.Problem)
	}
	if e.Problem != nil && t.encoded != "" {
		for i, p := range e.Problem.Problems {
			if p.Rule == group.RuleUTF8 {
				e.Problem.Problems[i].Message += "; the export was read as " + t.encoded
			}
		}
	}
	return e
}

// adviseDates adds to problems of dates in CSV how to write them.
func (r *Reader) adviseDates(problem *group.Error) {
	for i, p := range problem.Problems {
		if p.Rule != group.RuleKind || !slices.Contains(timeFields, p.Field) || r.src.Map != nil {
			continue
		}
		advice := "; or write dates like 2024-01-31 09:00"
		if r.src.Zone == nil {
			advice += " and state their time zone with --tz (EXPORT_TIME_ZONE)"
		}
		problem.Problems[i].Message += advice
	}
}

// enter tells the mapping in which file of an archive a record is.
func (r *Reader) enter(t *text, at Position) {
	if t.zip == nil {
		return
	}
	if name := t.zip.file(at.Offset); name != r.file {
		r.file = name
		r.src.Map.(FileMapping).InFile(name) // openZip has checked the type
	}
}

// fill sets the record of an entry. It returns an error that wraps [ErrStop].
func (r *Reader) fill(e *Entry, f found) error {
	if r.src.Map != nil {
		if f.isLine {
			if ok, err := r.unwrap(e, f.raw); ok || err != nil {
				return err
			}
		}
		return r.translate(e)
	}
	if r.src.Users != nil {
		if f.isLine {
			if ok, err := r.unwrap(e, f.raw); ok || err != nil {
				return err
			}
		}
		if !f.isResponse {
			r.decodeTranslated(e)
			return nil
		}
	}
	if f.isResponse {
		r.convertResponse(e)
		return nil
	}
	if r.decode(e); e.Problem == nil || !f.isLine {
		return nil
	}
	wrapped := Entry{Pos: e.Pos}
	ok, err := r.unwrap(&wrapped, f.raw)
	if ok {
		*e = wrapped
	}
	return err
}

// decode sets the record of an entry, or its problem.
func (r *Reader) decode(e *Entry) {
	rec, err := r.group.Decode(e.Raw)
	if err != nil {
		e.Problem, _ = errors.AsType[*group.Error](err) // Decode returns no other type
		return
	}
	e.Record = rec
}

// unwrap sets an entry from a line of a dead-letter file, and reports whether it is such a line. It returns an error
// that wraps [ErrStop].
func (r *Reader) unwrap(e *Entry, line []byte) (ok bool, err error) {
	o, raw, ok, problem := unwrap(line)
	if !ok {
		return false, nil
	}
	e.Failure, e.Raw, e.Problem, e.Changed, e.Source = &o, raw, problem, o.Changed, o.Source
	if raw == nil { // a problem
		return true, nil
	}
	if inner, ok := untranslatedOf(raw); ok {
		if r.src.Users == nil {
			e.Problem = problemf(group.RuleMapping, "accounts of the record were not in the table of users: select a table "+
				"that has them")
			return true, nil
		}
		e.Raw = inner
		r.decodeTranslated(e)
		return true, nil
	}
	if inner, ok := foreignOf(raw); ok {
		if r.src.Map == nil {
			e.Problem = problemf(group.RuleMapping, "the record is from another system and its mapping failed: "+
				"select a mapping, or convert the record to import_group's format")
			return true, nil
		}
		e.Raw = inner
		return true, r.translate(e)
	}
	r.group.AnyGroupID = o.Status.HasGroup() // then the record has only the members that the group lacks
	r.decode(e)
	r.group.AnyGroupID = false
	return true, nil
}

// drop counts a dropped field.
func (r *Reader) drop(name string) {
	const maxNames = 100
	name = cut(name, maxName)
	if _, ok := r.dropped[name]; !ok && len(r.dropped) >= maxNames {
		name = "(others)"
	}
	r.dropped[name]++
}

// problemf returns a problem of a record as a whole.
func problemf(rule group.Rule, format string, args ...any) *group.Error {
	return &group.Error{Problems: []group.Problem{{Rule: rule, Message: fmt.Sprintf(format, args...)}}}
}

// tooLong returns the problem of a record longer than MaxLine, which starts with head.
func tooLong(what string, size int64, head []byte) *group.Error {
	advice := ""
	if bytes.Contains(head, []byte(memberList)) {
		advice = ": leave out MemberList, and write each member as a record of its own, with GroupId and Member_Account"
	}
	return problemf(group.RuleSize, "the %s is %d bytes, limit %d%s", what, size, MaxLine, advice)
}

// memberList is the field of a group's members.
const memberList = "MemberList"

// Arrays are the names of members that contain the records of an export. GroupInfo is from a get_group_info response;
// channels, group_channels and rooms are from other systems.
var Arrays = []string{"GroupInfo", "groups", "Groups", "channels", "group_channels", "rooms"}

func isArrayName(name string) bool { return slices.Contains(Arrays, name) }
