package export

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
)

// A Mapping converts records of another system.
type Mapping interface {
	// Map converts one record, a JSON value. An error describes the problem of the record, or ends the export if it
	// wraps [ErrStop].
	Map(raw []byte) (Mapped, error)

	// Ignores reports whether a record is not a group, judged by its first bytes. The Reader calls it for records that
	// are too long to be mapped.
	Ignores(head []byte) bool

	// Records returns the paths of the records in a JSON document, the first of which that the document has counts. It is
	// nil if the mapping names none; then [Arrays] apply. The result must not change during an import, because positions
	// depend on it.
	Records() []Path
}

// ErrStop is wrapped by errors of a [Mapping] that is of no use for further records.
var ErrStop = errors.New("the mapping cannot be used")

// A Mapped is the result of mapping one record.
type Mapped struct {
	Record  []byte   // in import_group's format; nil if Skipped or Ignored is set; valid until the next call
	Skipped string   // why the mapping skipped the record, empty if it did not
	Ignored bool     // the record is not a group
	Changed []string // see [Entry.Changed]
	Source  string   // see [Entry.Source]
	More    []Mapped // further member records of the same record, each with Record, Changed and Source
}

// headSize is the number of bytes of a too long record that are kept for [Mapping.Ignores].
const headSize = 4 << 10

// translate maps the record of an entry and decodes it. It returns an error that wraps [ErrStop].
func (r *Reader) translate(e *Entry) error {
	m, err := r.src.Map.Map(e.Raw)
	switch {
	case errors.Is(err, ErrStop):
		return fmt.Errorf("line %d of the export: %w", e.Pos.Line, err)
	case err != nil:
		e.Problem = problemf(group.RuleMapping, "%s", cut(err.Error(), maxMessage))
		r.scratch = appendForeign(r.scratch[:0], e.Raw)
		e.Raw = r.scratch
	case m.Ignored:
		e.Ignored = true
	case m.Skipped != "":
		e.Skipped = m.Skipped
	default:
		e.Raw, e.Changed, e.Source = m.Record, m.Changed, m.Source
		r.decodeTranslated(e)
		r.more = m.More
	}
	return nil
}

// further sets an entry to the next of the records in r.more. Each is an entry with an ordinal of its own. All but the
// last end where the one before the first ended, see [Position.Sub].
func (r *Reader) further(e *Entry) {
	m := r.more[0]
	r.more = r.more[1:]
	e.Raw, e.Changed, e.Source, e.Problem, e.Skipped, e.SameID = m.Record, m.Changed, m.Source, nil, "", 0
	r.decodeTranslated(e)
}

// tolerant allows duplicate names and lone surrogates. A mapping rejects them only where it uses them.
var tolerant = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// appendForeign appends a record that could not be mapped: as {"foreign": …} if it is JSON, otherwise unchanged.
func appendForeign(dst, raw []byte) []byte {
	if !jsontext.Value(raw).IsValid(tolerant) {
		return append(dst, raw...)
	}
	return append(append(append(dst, `{"foreign":`...), raw...), '}')
}

// foreignOf returns the record in the result of [appendForeign].
func foreignOf(raw []byte) ([]byte, bool) {
	var f struct {
		Foreign jsontext.Value `json:"foreign"`
	}
	err := json.Unmarshal(raw, &f, tolerant, json.RejectUnknownMembers(true))
	return f.Foreign, err == nil && f.Foreign != nil
}
