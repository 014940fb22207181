// Package outcome defines the outcome of a record, and the one codec of a results line.
//
// A results line is one JSON object with a fixed field order, here in two lines. Absent fields are left out:
//
//	{"n":17,"line":17,"status":"imported","GroupId":"g17","code":0,"attempts":1,"ms":43,
//	 "at":"2026-11-22T10:00:00.123Z","id":"…","sum":"…"}
//
// A line of the dead-letter file holds the record too, before the error, so that search and replace
// reaches the record first:
//
//	{"n":18,"line":18,"status":"rejected","GroupId":"g18","code":0,"field":"Name","rule":"length","record":{…},
//	 "error":"…","attempts":0,"at":"…"}
//
// The record has one of three names: "record" is the JSON value itself, "text" is a string if the record
// is no JSON but UTF-8, "bytes" is base64 if it is neither. A record too long to be kept has none.
//
// Version 1 wrote the record at the end of the line and had no rule, carried, differs, changed, source, id and
// sum. [Parse] reads both, also after an edit that moved fields or added spaces.
package outcome

import (
	"fmt"
	"iter"
	"time"

	"groupimport/pkg/group"
)

// A Status is the result of a record.
type Status string

// The statuses; records = imported + exists + rejected + failed + unknown + skipped.
const (
	Imported Status = "imported" // the service created the group
	Exists   Status = "exists"   // a group with this GroupId already exists and matches the record
	Rejected Status = "rejected" // invalid, or permanently rejected by the service: an operator fixes the record
	Failed   Status = "failed"   // failed after all retries: the scheduler retries the record in rounds
	Unknown  Status = "unknown"  // no GroupId, and a response was lost: the group may exist; an operator checks
	Skipped  Status = "skipped"  // the mapping leaves the record out: nothing was sent, nothing is left to do
)

// Statuses returns all statuses in the order in which people read them.
func Statuses() []Status { return []Status{Imported, Exists, Rejected, Failed, Unknown, Skipped} }

// HasGroup reports whether the record's group exists.
func (s Status) HasGroup() bool { return s == Imported || s == Exists }

// IsDone reports whether nothing is left to do about the record: its group exists, or the mapping left it out.
func (s Status) IsDone() bool { return s.HasGroup() || s == Skipped }

// An Outcome is the result of one record. A zero field is absent from the line, except n, line, status, code and
// at, and except attempts unless Carried is set.
type Outcome struct {
	N        int64      // ordinal of the record, from 1
	Line     int64      // line at which the record begins, from 1
	Status   Status     //
	GroupID  string     // the one in force, or the record's own
	Assigned bool       // this program assigned the GroupId
	Code     int        // the service's last code; 0 if there was none or it was OK
	Carried  bool       // carried over from an earlier version of the export; nothing was sent
	Differs  bool       // with Carried: the rest of the record has changed since, and was not updated
	Field    string     // the first field that breaks a rule
	Rule     group.Rule // the rule that it breaks
	Error    string     // why the record has no group, or was left out, for people
	Changed  []string   // fields that the mapping cut, altered or dropped, in the order of the document
	Source   string     // the source system's own ID of the group
	Attempts int        // calls of import_group
	MS       int64      // milliseconds that the last attempt took
	At       time.Time  // when the outcome was known

	// ID and Sum are digests of the record as it would be sent, see [group.Record.Identity]. They let a later
	// version of the export find this outcome. Zero if the record could not be decoded.
	ID, Sum group.Digest
}

// Counts counts outcomes by status.
type Counts struct {
	Imported int64 `json:"imported"`
	Exists   int64 `json:"exists"`
	Rejected int64 `json:"rejected"`
	Failed   int64 `json:"failed"`
	Unknown  int64 `json:"unknown"`
	Skipped  int64 `json:"skipped,omitzero"`
}

// of returns the counter of a status, nil for a word that is none.
func (c *Counts) of(s Status) *int64 {
	switch s {
	case Imported:
		return &c.Imported
	case Exists:
		return &c.Exists
	case Rejected:
		return &c.Rejected
	case Failed:
		return &c.Failed
	case Unknown:
		return &c.Unknown
	case Skipped:
		return &c.Skipped
	}
	return nil
}

// Add counts one more outcome. A word that is no status is not counted.
func (c *Counts) Add(s Status) {
	if n := c.of(s); n != nil {
		*n++
	}
}

// All yields each status with its count, in the order of [Statuses].
func (c *Counts) All() iter.Seq2[Status, int64] {
	return func(yield func(Status, int64) bool) {
		for _, s := range Statuses() {
			if !yield(s, *c.of(s)) {
				return
			}
		}
	}
}

// Records returns the sum of all counts.
func (c *Counts) Records() int64 {
	n := int64(0)
	for _, k := range c.All() {
		n += k
	}
	return n
}

// maxCount is more records than any import has. Sums of counts up to maxCount do not overflow.
const maxCount = 1 << 50

// Check returns an error if a count is not a number of records.
func (c *Counts) Check() error {
	for s, n := range c.All() {
		if n < 0 || n > maxCount {
			return fmt.Errorf("%d records are %s", n, s)
		}
	}
	return nil
}

// Missing returns how many records have no group, or may have none, though they should.
func (c *Counts) Missing() int64 { return c.Rejected + c.Failed + c.Unknown }
