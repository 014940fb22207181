// Package outcome defines the outcome of a record, and the one codec of a results line.
//
// The codec is written here: an import encodes a line for each record, and a report decodes a million of them. The fast
// path reads lines as this package writes them; any other line is decoded by a JSON library.
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
// A record with members has their counts behind the code, see [Members]. The line of a member record has its account
// behind the GroupId:
//
//	{"n":19,"line":19,"status":"imported","GroupId":"g19","code":0,"members":{"added":48,"already":1,"sum":"…"},…}
//	{"n":20,"line":20,"status":"exists","GroupId":"g19","member":"u1","code":0,…}
//
// Members that are missing belong into the dead-letter file, although their group exists. The record then has its
// GroupId, and only these members.
//
// Version 1 wrote the record at the end of the line and had no rule, carried, differs, changed, source, id, sum and
// members. [Parse] reads both, also after an edit that moved fields or added spaces.
package outcome

import (
	"fmt"
	"iter"
	"time"

	"groupimport/pkg/group"
)

// A Status is the result of a record.
type Status string

// The statuses; records = imported + exists + rejected + failed + unknown + skipped + pending. For a member record,
// read member for group: imported means that the service added the member, exists that it was a member before.
const (
	Imported Status = "imported" // the service created the group
	Exists   Status = "exists"   // a group with this GroupId already exists and matches the record
	Rejected Status = "rejected" // invalid, or permanently rejected by the service: an operator fixes the record
	Failed   Status = "failed"   // failed after all retries: the scheduler retries the record in rounds
	Unknown  Status = "unknown"  // no GroupId, and a response was lost: the group may exist; an operator checks
	Skipped  Status = "skipped"  // the mapping leaves the record out: nothing was sent, nothing is left to do
	Pending  Status = "pending"  // a member record that was not sent yet; not in the results of a finished import
)

// Statuses returns all statuses in the order in which people read them.
func Statuses() []Status {
	return []Status{Imported, Exists, Rejected, Failed, Unknown, Skipped, Pending}
}

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
	Member   string     // the account of a member record
	Assigned bool       // this program assigned the GroupId
	Code     int        // the service's last code; 0 if there was none or it was OK
	Members  Members    // of the group; zero if the record has none, or has no group
	Created  bool       // by create_group, which does not keep the CreateTime
	Carried  bool       // carried over from an earlier version of the export; nothing was sent
	Differs  bool       // with Carried: the rest of the record has changed since, and was not updated
	Field    string     // the first field that breaks a rule
	Rule     group.Rule // the rule that it breaks
	Error    string     // why the record has no group, lacks members, or was left out, for people
	Changed  []string   // fields that the mapping cut, altered or dropped, in the order of the document
	Source   string     // the source system's own ID of the group
	Attempts int        // calls of import_group
	MS       int64      // milliseconds that the last attempt took
	At       time.Time  // when the outcome was known

	// ID and Sum are digests of the record as it would be sent, see [group.Record.Identity]. They let a later
	// version of the export find this outcome. Zero if the record could not be decoded.
	ID, Sum group.Digest

	// MembersSum is the digest of the record's members, see [group.Record.MembersSum]. Zero if it has none.
	MembersSum group.Digest
}

// IsDone reports whether nothing is left to do about the record and its members.
func (o *Outcome) IsDone() bool {
	return o.Status.IsDone() && o.Members.Failed == 0 && o.Members.Pending == 0
}

// IsPending reports whether members of the record were not sent yet.
func (o *Outcome) IsPending() bool { return o.Status == Pending || o.Members.Pending > 0 }

// Lacks reports whether the record's group exists, and a later call may add members that it lacks.
func (o *Outcome) Lacks() bool { return o.Status.HasGroup() && o.Members.Retryable() > 0 }

// Members counts the members of groups. NoAccount, Invalid and Refused are parts of Failed; the service gave no reason
// for the others, or the call failed after all retries.
type Members struct {
	Added     int64 `json:"added,omitzero"`     // by a call, and owners who are in the list of members
	Already   int64 `json:"already,omitzero"`   // were members before
	Failed    int64 `json:"failed,omitzero"`    // are not members
	NoAccount int64 `json:"noAccount,omitzero"` // have no account
	Invalid   int64 `json:"invalid,omitzero"`   // break a rule; nothing was sent
	Refused   int64 `json:"refused,omitzero"`   // were in a call that the service permanently rejected
	Pending   int64 `json:"pending,omitzero"`   // were not sent yet; none in the results of a finished import
	Demoted   int64 `json:"demoted,omitzero"`   // are Admins of a Private group, and were sent without the role
}

// Total returns the number of members.
func (m *Members) Total() int64 { return m.Added + m.Already + m.Failed + m.Pending }

// Retryable returns the number of members that a later call may add.
func (m *Members) Retryable() int64 { return m.Failed - m.Invalid - m.Refused + m.Pending }

// Counts counts outcomes by status, and members.
type Counts struct {
	Imported int64 `json:"imported"`
	Exists   int64 `json:"exists"`
	Rejected int64 `json:"rejected"`
	Failed   int64 `json:"failed"`
	Unknown  int64 `json:"unknown"`
	Skipped  int64 `json:"skipped,omitzero"`
	Pending  int64 `json:"pending,omitzero"`

	// Incomplete counts the records whose group exists and lacks members that a later call may add.
	Incomplete int64 `json:"incomplete,omitzero"`

	// Created counts the groups that create_group created: import_group does not accept their Type.
	Created int64 `json:"created,omitzero"`

	// MemberRecords counts the member records among the records.
	MemberRecords int64 `json:"memberRecords,omitzero"`

	// Members counts the members in the lists of groups that exist.
	Members Members `json:"members,omitzero"`
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
	case Pending:
		return &c.Pending
	}
	return nil
}

// Add counts one more outcome. A word that is no status is not counted.
func (c *Counts) Add(o *Outcome) { c.add(o, 1) }

// Remove is the opposite of Add.
func (c *Counts) Remove(o *Outcome) { c.add(o, -1) }

func (c *Counts) add(o *Outcome, by int64) {
	n := c.of(o.Status)
	if n == nil {
		return
	}
	*n += by
	if o.Member != "" {
		c.MemberRecords += by
	}
	if o.Created {
		c.Created += by
	}
	if o.Lacks() {
		c.Incomplete += by
	}
	c.Members.addTimes(&o.Members, by)
}

// AddSent counts what a run has done for a record: nothing that is pending.
func (c *Counts) AddSent(o *Outcome) {
	if o.Status != Pending {
		now := *o
		now.Members.Pending = 0
		c.Add(&now)
	}
}

// AddMembers counts what a run has done for a record whose members were pending in before.
func (c *Counts) AddMembers(before, o *Outcome) {
	switch {
	case before.Status == Pending:
		c.Add(o)
	case before.IsPending():
		c.Members.Added += o.Members.Added - before.Members.Added
		c.Members.Already += o.Members.Already - before.Members.Already
	}
}

// Plus adds d.
func (c *Counts) Plus(d *Counts) { c.addTimes(d, 1) }

// Minus subtracts d.
func (c *Counts) Minus(d *Counts) { c.addTimes(d, -1) }

func (c *Counts) addTimes(d *Counts, by int64) {
	for s, n := range d.All() {
		*c.of(s) += by * n
	}
	c.Incomplete += by * d.Incomplete
	c.MemberRecords += by * d.MemberRecords
	c.Created += by * d.Created
	c.Members.addTimes(&d.Members, by)
}

func (m *Members) addTimes(d *Members, by int64) {
	from := d.all()
	for i, n := range m.all() {
		*n += by * *from[i]
	}
}

func (m *Members) all() [8]*int64 {
	return [...]*int64{
		&m.Added, &m.Already, &m.Failed, &m.NoAccount, &m.Invalid, &m.Refused, &m.Pending, &m.Demoted,
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
	records := c.Records()
	if c.Incomplete < 0 || c.Incomplete > records || c.MemberRecords < 0 || c.MemberRecords > records {
		return fmt.Errorf("of %d records %d lack members and %d are members", records, c.Incomplete, c.MemberRecords)
	}
	if c.Created < 0 || c.Created > records {
		return fmt.Errorf("of %d records %d were created by create_group", records, c.Created)
	}
	for _, n := range c.Members.all() {
		if *n < 0 || *n > maxCount {
			return fmt.Errorf("%d is not a number of members", *n)
		}
	}
	if m := &c.Members; m.NoAccount+m.Invalid+m.Refused > m.Failed {
		return fmt.Errorf("more members failed for a reason than the %d that failed", m.Failed)
	}
	return nil
}

// Missing returns how many records have no group, or may have none, though they should.
func (c *Counts) Missing() int64 { return c.Rejected + c.Failed + c.Unknown }

// IsWhole reports whether no group and no member is missing.
func (c *Counts) IsWhole() bool { return c.Missing() == 0 && c.Members.Failed == 0 }
