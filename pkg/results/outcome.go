// Package results knows all that is written beside an export: outcomes, parts, checkpoint, lease,
// progress, manifest, and the files for people.
//
//	exports/acme.jsonl                          the export, never touched
//	exports/acme.jsonl.results.ndjson           every record's outcome, in order
//	exports/acme.jsonl.failures.ndjson          those that are not in, each with its record as it came
//	exports/acme.jsonl.import/lease/000001      who worked on the import, and until when; one a run
//	exports/acme.jsonl.import/parts/000001-000001   outcomes, a piece: the lease's number, then the part's
//	exports/acme.jsonl.import/parts/000001-ahead    outcomes behind a record that has none yet
//	exports/acme.jsonl.import/checkpoint/000001 how far the parts reach, as that run left it
//	exports/acme.jsonl.import/progress          how the import is doing, for whoever looks
//	exports/acme.jsonl.import/manifest          what it came to; written last
//
// A part is written first and the checkpoint that counts it afterwards, so a run that dies in between
// leaves a part that counts for nothing. Every run writes to names that carry its lease's number and
// to no other's, so one that has been given up for dead and goes on cannot spoil what its successor
// writes.
package results

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/export"
)

// A Status says what became of a record.
type Status string

// The statuses; records = imported + exists + rejected + failed + unknown + skipped.
const (
	Imported Status = "imported" // the service said OK
	Exists   Status = "exists"   // a group with this GroupId stands already and is this record's
	Rejected Status = "rejected" // it will never go in as it is: a person mends it
	Failed   Status = "failed"   // the service or the network would not, after all attempts: the schedule tries again
	Unknown  Status = "unknown"  // no GroupId, and an answer was lost: the group may exist; a person looks
	Skipped  Status = "skipped"  // the mapping leaves it out: nothing was sent, and nothing is to be done
)

// In reports whether the record's group stands.
func (s Status) In() bool { return s == Imported || s == Exists }

// Settled reports whether nothing is left to do about the record: its group stands, or it was left out on purpose.
func (s Status) Settled() bool { return s.In() || s == Skipped }

// An Outcome is what became of one record.
type Outcome struct {
	N        int64     `json:"n"`        // the record's ordinal, from 1
	Line     int64     `json:"line"`     // where it begins, from 1
	Status   Status    `json:"status"`   //
	GroupID  string    `json:"GroupId"`  // the one in force, or the record's own
	Assigned bool      `json:"assigned"` // the GroupId was made up by this program
	Code     int       `json:"code"`     // the service's last answer, 0 if there was none or it was OK
	Field    string    `json:"field"`    // the first field that breaks a rule
	Error    string    `json:"error"`    // why the record is not in, or was left out, for people
	Attempts int       `json:"attempts"` //
	MS       int64     `json:"ms"`       // milliseconds that the last attempt took
	At       time.Time `json:"at"`       //
}

const atFormat = "2006-01-02T15:04:05.000Z"

// AppendJSON appends o as one line without its end. The order of its fields is fixed, and absent ones
// are left out, but for code and attempts.
func (o *Outcome) AppendJSON(dst []byte) []byte {
	return append(o.appendOpen(dst), '}')
}

// AppendFailure appends o like [Outcome.AppendJSON], and within it the record as it came; raw is nil if
// it was not kept.
func (o *Outcome) AppendFailure(dst, raw []byte) []byte {
	return export.AppendRecord(o.appendOpen(dst), raw)
}

// appendOpen appends o without its closing brace.
func (o *Outcome) appendOpen(dst []byte) []byte {
	str := func(name, value string) {
		if value != "" {
			dst = append(append(append(dst, `,"`...), name...), `":`...)
			dst, _ = jsontext.AppendQuote(dst, value) // invalid UTF-8 becomes U+FFFD, and there is none
		}
	}
	num := func(name string, value int64) {
		dst = append(append(append(dst, `,"`...), name...), `":`...)
		dst = strconv.AppendInt(dst, value, 10)
	}
	dst = strconv.AppendInt(append(dst, `{"n":`...), o.N, 10)
	num("line", o.Line)
	str("status", string(o.Status))
	str("GroupId", o.GroupID)
	if o.Assigned {
		dst = append(dst, `,"assigned":true`...)
	}
	num("code", int64(o.Code))
	str("field", o.Field)
	str("error", o.Error)
	num("attempts", int64(o.Attempts))
	if o.Attempts > 0 {
		num("ms", o.MS)
	}
	dst = append(dst, `,"at":"`...)
	return append(o.At.UTC().AppendFormat(dst, atFormat), '"')
}

// Counts says how many records came to what.
type Counts struct {
	Imported int64 `json:"imported"`
	Exists   int64 `json:"exists"`
	Rejected int64 `json:"rejected"`
	Failed   int64 `json:"failed"`
	Unknown  int64 `json:"unknown"`
	Skipped  int64 `json:"skipped,omitzero"`
}

// Add counts one more record of this status.
func (c *Counts) Add(s Status) {
	switch s {
	case Imported:
		c.Imported++
	case Exists:
		c.Exists++
	case Rejected:
		c.Rejected++
	case Failed:
		c.Failed++
	case Unknown:
		c.Unknown++
	case Skipped:
		c.Skipped++
	}
}

// Records is the sum of all.
func (c *Counts) Records() int64 {
	return c.Imported + c.Exists + c.Rejected + c.Failed + c.Unknown + c.Skipped
}

// NotIn is how many records' groups do not stand, or may not, though they should.
func (c *Counts) NotIn() int64 { return c.Rejected + c.Failed + c.Unknown }
