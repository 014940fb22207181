// Package report makes HTML pages about imports: the report of an import, which lies beside its export, and the pages
// that package httpapi serves. A page is one file that needs no network; its Content-Security-Policy allows it none.
// It holds its texts in English and Chinese, and shows one of them.
//
// A [Builder] receives each line of the results and of the dead-letter file, mostly while they are written, and keeps a
// bounded amount: counts, a series over time in buckets that grow, the kinds of failures with examples, and the first
// records that were not imported. Texts follow from statuses, codes, rules and causes, never from messages: those are
// shown as they came.
package report

import (
	"io"
	"path"
	"strings"
	"time"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

const (
	// The report lists the first maxRows records that were not imported, or as many as fit into maxRowBytes: the whole
	// page stays below 1.5 MB.
	maxRows     = 5000
	maxRowBytes = 1_200_000

	maxExamples = 3
	maxLacking  = 6 // examples of groups that lack members
	maxGroups   = 40
)

// Options say where a page is shown. The zero value is a file in a bucket that a scheduler looks after.
type Options struct {
	// Root is the folder or the address of the bucket (s3://BUCKET) that the command line imports from, for the page's
	// commands. It is empty in a function.
	Root string

	// Prefix is the folder of a bucket that the commands of retries name. If it is empty, they name that of the export.
	Prefix string

	Refresh time.Duration // how often the page loads itself again, in whole seconds; 0 is never
	List    string        // address of the list of imports; empty if there is none
}

// isBucket reports whether the command line imports from a bucket.
func (o Options) isBucket() bool { return strings.Contains(o.Root, "://") }

// at names a key below Root.
func (o Options) at(key string) string {
	if o.isBucket() {
		return strings.TrimSuffix(o.Root, "/") + "/" + key
	}
	return path.Join(o.Root, key)
}

// A Builder gathers what the report says of a finished import. Create it with New. It is not safe for concurrent use.
type Builder struct {
	options Options
	counts  map[outcome.Status]int64
	series  series
	kinds   outcome.Tally[example]
	rows    []row
	size    int   // of rows in the page, in bytes
	missing int64 // calls of Failure
	full    bool  // no more rows

	members members
}

// members is what a Builder knows of members.
type members struct {
	Counts  outcome.Counts           `json:"counts"`  // of all records
	Records map[outcome.Status]int64 `json:"records"` // member records
	Lacking int64                    `json:"lacking"` // groups that lack members

	Examples []example `json:"examples"` // of groups that lack members
}

func newMembers() members { return members{Records: make(map[outcome.Status]int64)} }

// New returns an empty Builder for a page that is shown as o says.
func New(o Options) *Builder {
	return &Builder{options: o, counts: make(map[outcome.Status]int64), members: newMembers()}
}

// An example is a record of a kind, as it came.
type example struct {
	Line    int64
	GroupID string
	Value   string // of the field, or else the record
	Message string // what is wrong with the value
}

// A row is a record that was not imported.
type row struct {
	Line    int64
	GroupID string
	Name    string
	Status  outcome.Status
	Kind    int // number of its group
	Message string
}

// Result adds a line of the results; they come in any order. It does not retain the line. A line that is no outcome is
// passed over.
func (b *Builder) Result(line []byte) {
	o, _, err := outcome.Parse(line)
	if err != nil {
		return
	}
	status := b.known(o.Status)
	b.counts[status]++
	b.members.Counts.Add(&o)
	if o.Member != "" {
		b.members.Records[status]++
	}
	if o.Attempts > 0 {
		b.series.add(o.At)
	}
}

// Failure adds a line of the dead-letter file, in their order. The group of a line may exist: it lacks members. It does
// not retain the line. A line that is no outcome, as an edit may have left it, is passed over.
func (b *Builder) Failure(line []byte) {
	o, raw, err := outcome.Parse(line)
	if err != nil {
		return
	}
	if o.Status.HasGroup() {
		b.lacking(&o, raw)
		return
	}
	b.missing++
	o.Status = b.known(o.Status)
	kind := b.kinds.Add(o.Kind())
	if len(kind.Examples) < maxExamples {
		kind.Examples = append(kind.Examples, newExample(&o, raw, o.Field))
	}
	if b.full {
		return
	}
	r := row{
		Line: o.Line, GroupID: shown(o.GroupID, maxValue), Status: o.Status, Kind: kind.Number,
		Message: shown(o.Error, maxText),
	}
	if name, ok := member(raw, "Name"); ok {
		r.Name = shown(unquote(name), maxValue)
	} else {
		r.Name = shown(o.Member, maxValue)
	}
	size := r.size()
	if b.full = len(b.rows) >= maxRows || b.size+size > maxRowBytes; b.full {
		return
	}
	b.rows, b.size = append(b.rows, r), b.size+size
}

// lacking adds a line of the dead-letter file whose group exists and lacks members.
func (b *Builder) lacking(o *outcome.Outcome, raw []byte) {
	m := &b.members
	m.Lacking++
	if len(m.Examples) < maxLacking {
		m.Examples = append(m.Examples, newExample(o, raw, "MemberList"))
	}
}

// newExample returns an example with the value of a field, or with the record.
func newExample(o *outcome.Outcome, raw []byte, field string) example {
	e := example{
		Line: o.Line, GroupID: shown(o.GroupID, maxValue), Message: shown(o.Error, maxText),
		Value: shown(string(raw), maxValue),
	}
	if value, ok := member(raw, field); ok {
		e.Value = shown(string(value), maxValue)
	}
	return e
}

// known returns the status, or "other" if a results file has more of them than there can be.
func (b *Builder) known(s outcome.Status) outcome.Status {
	const maxStatuses = 30
	if _, ok := b.counts[s]; ok || len(s) <= 32 && len(b.counts) < maxStatuses {
		return s
	}
	return "other"
}

// size returns about how many bytes the row takes in the page, at most.
func (r *row) size() int {
	const markup = 110
	return markup + escapedLen(r.GroupID) + escapedLen(r.Name) + escapedLen(r.Message)
}

// Write writes the report of a finished import. names are those of its files.
func (b *Builder) Write(w io.Writer, names results.Names, m *results.Manifest) error {
	return b.page(names, m, b.options).write(w)
}

// A Status says how an import is doing.
type Status struct {
	results.Progress

	Key    string        // of the export
	All    []results.Run // all runs; nil if only the latest, Progress.Run, is at hand
	Gone   bool          // the export was deleted
	Round  int           // of retries in progress, from 1; 0 if there is none
	Link   string        // address of the page about this import, for a list
	Report string        // address of its report; empty if there is none

	// Of a finished import:
	Finished time.Time
	RetryAt  time.Time // when failed records are due again; zero if there are none
	GivenUp  int64     // records that stay failed
	Files    []File
}

// A File is one that an import wrote beside its export.
type File struct {
	results.File

	Link string // its address; empty if it has none
}

// isOver reports whether every record has an outcome: between two rounds of retries also if these are paused or
// cancelled.
func (s *Status) isOver() bool {
	isControlled := s.State == results.Paused || s.State == results.Cancelled
	return s.State == results.Finished || isControlled && !s.Finished.IsZero()
}

// why returns why the import is not running.
func (s *Status) why() text {
	cause, code := s.Why()
	return causeText(cause, code, s.Reason)
}

// WriteProgress writes the page about an import that may not be finished: how far it is and what it waits for.
func WriteProgress(w io.Writer, s *Status, o Options) error {
	return progressPage(s, nil, group.Limits{}, o).write(w)
}

// WriteCancelled writes the report of a cancelled import: its progress, and what became of the records so far. limits
// are those that it was run with.
func (b *Builder) WriteCancelled(w io.Writer, s *Status, limits group.Limits) error {
	return progressPage(s, b, limits, b.options).write(w)
}

// WriteList writes a page of imports. next is the address of the next page, empty if this is the last.
func WriteList(w io.Writer, imports []Status, next string, o Options) error {
	return listPage(imports, next, o).write(w)
}
