// Package group decodes, validates and encodes one group to import.
//
// [Decoder.Decode] returns a valid [Record] or an [*Error] that lists all problems. Field names are case-sensitive.
// Unknown fields, duplicate fields and invalid UTF-8 are errors.
//
// Sources of the rules:
//
//   - "Importing a Group Profile", tencentcloud.com/document/product/1047/34967, 2022-07-06
//   - IDs and custom fields: "Group System", trtc.io/document/33529, 2025
//   - keys of AppDefinedData: "Feature configuration", trtc.io/document/34419
//
// Where the vendor's documents disagree, this package applies the wider rule and the service decides.
//
// The documents disagree on the default of MaxMemberCount: 2,000 (1047/34967, 2022-07-06), or a limit by plan
// (trtc.io/document/33529, 2025): Trial 20, Standard 500, Pro 2,000, Pro Plus 5,000, Enterprise 6,000; for a Community
// 100,000 or 1,000,000.
package group

import (
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// A Type is a group type that import_group accepts.
type Type string

// The types in wire format. The newer names Work and Meeting are sent as Private and ChatRoom, because no document says
// that import_group accepts the newer names.
const (
	Private   Type = "Private"
	Public    Type = "Public"
	ChatRoom  Type = "ChatRoom"
	Community Type = "Community"

	// AVChatRoom is created by create_group, because import_group rejects it. It has no members that can be imported.
	AVChatRoom Type = "AVChatRoom"
)

// ParseType parses a type, which may have its newer name.
func ParseType(s string) (Type, bool) {
	switch s {
	case "Private", "Work":
		return Private, true
	case "Public":
		return Public, true
	case "ChatRoom", "Meeting":
		return ChatRoom, true
	case "Community":
		return Community, true
	}
	return "", false
}

// A Record is one group to import, or one member of a group, see [Record.IsMember]. A Record that [Decoder.Decode]
// returns without an error is valid. Lengths are in bytes of UTF-8: a Chinese character is 3 bytes. A zero field is
// absent and is not sent.
type Record struct {
	GroupID         string  // at most 48 bytes; if empty the service assigns one, so a second call creates a duplicate
	Type            Type    // required
	OwnerAccount    string  // at most 32 bytes; if empty the group has no owner
	Name            string  // required
	Introduction    string  // Name, Introduction, Notification and FaceURL: see [Limits]
	Notification    string  //
	FaceURL         string  //
	MaxMemberCount  int64   // 1 to 1,000,000, see [Record.Warnings]; if zero the default, see above
	ApplyJoinOption string  // FreeAccess, NeedPermission (the service's default) or DisableApply
	AppDefinedData  []Datum // at most 20
	CreateTime      int64   // Unix seconds, at most a day ahead; if zero the time of the call; older history is rejected
	SupportTopic    bool    // Community only

	Members  []Member // of MemberList, without duplicates and without the owner; invalid ones have a Problem
	HasOwner bool     // MemberList names the owner, who is no entry of Members
	Demoted  int      // Admins of a Private group, which are entries of Members without the role
	IsMember bool     // a member record: only GroupID and Members[0] are set
}

// A Datum is one custom field of a group. The operator must create its key in the console first.
type Datum struct {
	Key   string `json:"Key"`   // 1 to 16 bytes of A-Z, a-z, 0-9 and _, not a digit first
	Value string `json:"Value"` // at most 512 bytes, control characters allowed
}

// A Warning reports a number above the documented maximum. The record is sent and the service decides.
type Warning struct {
	Field string // name of the field
	Rule  Rule   // [RuleRange]
	Value int64
	Limit int64 // the documented maximum
}

// String returns a message for operators that starts with the field's name.
func (w Warning) String() string {
	return fmt.Sprintf("%s is %d, above the documented maximum %d: the service decides", w.Field, w.Value, w.Limit)
}

// Warnings returns the warnings for a valid record, nil if there are none.
func (r *Record) Warnings() []Warning {
	if r.Type != Community && r.MaxMemberCount > documentedMemberCount {
		return []Warning{{fieldMaxMemberCount, RuleRange, r.MaxMemberCount, documentedMemberCount}}
	}
	return nil
}

// Size returns the approximate memory of r in bytes.
func (r *Record) Size() int {
	const record, datum, member, problem = 256, 32, 48, 48 // the structs, rounded up
	n := record + len(r.GroupID) + len(r.Type) + len(r.OwnerAccount) + len(r.Name) + len(r.Introduction) +
		len(r.Notification) + len(r.FaceURL) + len(r.ApplyJoinOption) + datum*cap(r.AppDefinedData) + member*cap(r.Members)
	for _, d := range r.AppDefinedData {
		n += len(d.Key) + len(d.Value)
	}
	for i := range r.Members {
		n += len(r.Members[i].Account)
		if p := r.Members[i].Problem; p != nil {
			n += problem + len(p.Field) + len(p.Rule) + len(p.Message)
		}
	}
	return n
}

// AppendJSON appends r to dst: the body of an import_group call, without members, or a member record.
func (r *Record) AppendJSON(dst []byte) []byte {
	if r.IsMember {
		dst = appendQuoted(append(dst, `{"GroupId":`...), r.GroupID)
		return r.Members[0].appendFields(append(dst, ','))
	}
	dst = append(dst, `{"Type":"`...)
	dst = append(append(dst, r.Type...), '"')
	str := func(name, value string) {
		if value != "" {
			dst = append(append(append(dst, `,"`...), name...), `":`...)
			dst = appendQuoted(dst, value)
		}
	}
	num := func(name string, value int64) {
		if value != 0 {
			dst = append(append(append(dst, `,"`...), name...), `":`...)
			dst = strconv.AppendInt(dst, value, 10)
		}
	}
	str(fieldGroupID, r.GroupID)
	str(fieldOwnerAccount, r.OwnerAccount)
	str(fieldName, r.Name)
	str(fieldIntroduction, r.Introduction)
	str(fieldNotification, r.Notification)
	str(fieldFaceURL, r.FaceURL)
	num(fieldMaxMemberCount, r.MaxMemberCount)
	str(fieldApplyJoinOption, r.ApplyJoinOption)
	if len(r.AppDefinedData) > 0 {
		dst = append(dst, `,"AppDefinedData":`...)
		sep := byte('[')
		for _, d := range r.AppDefinedData {
			dst = append(append(dst, sep), `{"Key":`...)
			dst = append(appendQuoted(dst, d.Key), `,"Value":`...)
			dst = append(appendQuoted(dst, d.Value), '}')
			sep = ','
		}
		dst = append(dst, ']')
	}
	num(fieldCreateTime, r.CreateTime)
	if r.SupportTopic {
		num(fieldSupportTopic, 1)
	}
	return append(dst, '}')
}

func appendQuoted(dst []byte, s string) []byte {
	// The only error is invalid UTF-8, which a valid record does not contain.
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}
