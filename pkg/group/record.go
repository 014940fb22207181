// Package group knows one group to import: its fields, the rules that Tencent Cloud IM's document
// sets for them, and its JSON on the wire.
//
// Decoding and checking are one step: a [Record] that [Decoder.Decode] returns without an error
// keeps every rule, and an error names all that is wrong at once. Names of fields are matched with
// their case, an unknown or doubled name is a mistake, and bytes that are not UTF-8 are refused and
// never replaced.
//
// The rules are those of "Importing a Group Profile" (tencentcloud.com/document/product/1047/34967,
// dated 2022-07-06), of "Group System" for IDs and custom fields (trtc.io/document/33529) and of
// "Feature configuration" for the keys of AppDefinedData (trtc.io/document/34419). Where two of the
// vendor's texts disagree, the wider rule stands here and the service decides.
//
// What a group without a MaxMemberCount may hold is told in two ways: 2,000 (1047/34967, 2022-07-06), or as many as
// the app's plan allows (trtc.io/document/33529, 2025): Trial 20, Standard 500, Pro 2,000, Pro Plus 5,000, Enterprise
// 6,000; a Community 100,000 or 1,000,000.
package group

import (
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// A Type is one of the kinds of group that import_group takes.
type Type string

// The types on the wire. The newer words Work and Meeting are read as Private and ChatRoom and sent
// as those, because whether import_group knows the newer words is documented nowhere.
const (
	Private   Type = "Private"
	Public    Type = "Public"
	ChatRoom  Type = "ChatRoom"
	Community Type = "Community"
)

// ParseType returns the wire's word for s, which may be the newer word for it.
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

// A Record is one group to import. One that [Decoder.Decode] returns without an error is valid.
// Lengths are in bytes of UTF-8: a Chinese character counts 3. A zero field is absent and is not
// sent.
type Record struct {
	GroupID         string  // at most 48 bytes; if empty the service chooses one, so a second call makes a second group
	Type            Type    // required
	OwnerAccount    string  // at most 32 bytes; if empty the group has no owner
	Name            string  // required
	Introduction    string  // Name, Introduction, Notification and FaceURL: see [Limits]
	Notification    string  //
	FaceURL         string  //
	MaxMemberCount  int64   // 1 to 1,000,000, see [Record.Warnings]; if zero the service's default, see above
	ApplyJoinOption string  // FreeAccess, NeedPermission (the service's default) or DisableApply
	AppDefinedData  []Datum // at most 20
	CreateTime      int64   // Unix time in seconds, at most a day ahead; if zero the call's, and older history is refused
	SupportTopic    bool    // Community only
}

// A Datum is one custom field of a group. Its key has to be created in the console first.
type Datum struct {
	Key   string `json:"Key"`   // 1 to 16 bytes of A-Z, a-z, 0-9 and _, not a digit first
	Value string `json:"Value"` // at most 512 bytes, control characters included
}

// A Warning is about a number above the highest that the vendor documents. The record is sent all the same, and
// the service decides.
type Warning struct {
	Field string // name of the field
	Rule  Rule   // [RuleRange]
	Value int64
	Limit int64 // the highest documented
}

// String returns a sentence for people that begins with the field's name.
func (w Warning) String() string {
	return fmt.Sprintf("%s is %d, documented is %d at most: the service decides", w.Field, w.Value, w.Limit)
}

// Warnings returns the warnings about a valid record, nil if there are none.
func (r *Record) Warnings() []Warning {
	if r.Type != Community && r.MaxMemberCount > documentedMemberCount {
		return []Warning{{fieldMaxMemberCount, RuleRange, r.MaxMemberCount, documentedMemberCount}}
	}
	return nil
}

// AppendJSON appends r to dst as the body of an import_group call.
func (r *Record) AppendJSON(dst []byte) []byte {
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
	// The error is about invalid UTF-8 alone, which no valid record holds.
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}
