package group

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Field names as documented for import_group, and for import_group_member from MemberList on.
const (
	fieldGroupID         = "GroupId"
	fieldType            = "Type"
	fieldOwnerAccount    = "Owner_Account"
	fieldName            = "Name"
	fieldIntroduction    = "Introduction"
	fieldNotification    = "Notification"
	fieldFaceURL         = "FaceUrl"
	fieldMaxMemberCount  = "MaxMemberCount"
	fieldApplyJoinOption = "ApplyJoinOption"
	fieldAppDefinedData  = "AppDefinedData"
	fieldCreateTime      = "CreateTime"
	fieldSupportTopic    = "SupportTopic"

	fieldMemberList    = "MemberList"
	fieldMemberAccount = "Member_Account"
	fieldRole          = "Role"
	fieldJoinTime      = "JoinTime"
	fieldUnread        = "UnreadMsgNum"
)

// fieldNames lists the fields in wire order: those of a group, then those of a member record.
var fieldNames = []string{
	fieldGroupID, fieldType, fieldOwnerAccount, fieldName, fieldIntroduction, fieldNotification, fieldFaceURL,
	fieldMaxMemberCount, fieldApplyJoinOption, fieldAppDefinedData, fieldCreateTime, fieldSupportTopic, fieldMemberList,
	fieldMemberAccount, fieldRole, fieldJoinTime, fieldUnread,
}

// A Decoder decodes records, one JSON object at a time. It is not safe for concurrent use.
type Decoder struct {
	// AnyGroupID also accepts a GroupId that the service has assigned, for records of groups that exist.
	AnyGroupID bool

	limits   Limits
	src      bytes.Reader
	dec      *jsontext.Decoder
	text     []byte // the current record's strings, concatenated
	spans    []span // the position of each string in text
	data     [maxAppDefinedData]Datum
	problems []Problem
	more     int   // problems beyond maxProblems
	latest   int64 // the latest CreateTime or JoinTime that is valid without reading the clock

	list    memberList
	single  single
	seen    fieldSet
	present fieldSet // fields with a value other than null and ""
}

// A fieldSet has a bit for each index in fieldNames.
type fieldSet uint32

func (s fieldSet) has(name string) bool { return s&(1<<slices.Index(fieldNames, name)) != 0 }

// maxProblems is the number of problems reported per record. Further problems are only counted: a line of 1 MiB can
// have a hundred thousand.
const maxProblems = 20

// A span is the position of a string in Decoder.text. Strings are created after the whole record has been read, with
// one allocation for all of them.
type span struct {
	to         *string
	start, end int
}

// Fields returns the field names of a record.
func Fields() []string { return slices.Clone(fieldNames) }

// IsField reports whether name is a field of a record.
func IsField(name string) bool { return slices.Contains(fieldNames, name) }

// IsNumber reports whether the field name is numeric.
func IsNumber(name string) bool {
	_, _, ok := Range(name)
	return ok
}

// NewDecoder returns a Decoder that enforces l.
func NewDecoder(l Limits) *Decoder {
	d := &Decoder{limits: l}
	d.dec = jsontext.NewDecoder(&d.src)
	return d
}

// Decode decodes and validates raw, which must be exactly one JSON object. null and the empty string count as absent.
// An error is always an [*Error] and lists all problems.
func (d *Decoder) Decode(raw []byte) (Record, error) {
	d.text, d.spans, d.problems, d.more = d.text[:0], d.spans[:0], nil, 0
	d.single, d.seen, d.present = single{}, 0, 0
	d.list.reset()
	d.src.Reset(raw)
	// Duplicate names and invalid UTF-8 are allowed here and reported per field below.
	d.dec.Reset(&d.src, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

	var r Record
	whole := false
	if err := d.object(&r); err != nil {
		d.problem("", RuleJSON, "not a JSON object: %s", syntax(err, raw))
	} else {
		whole = true
		if _, err := d.dec.ReadToken(); !errors.Is(err, io.EOF) {
			d.problem("", RuleJSON, "more than one JSON value: unexpected data at byte %d", d.dec.InputOffset())
		}
	}

	text := string(d.text)
	for _, s := range d.spans {
		*s.to = text[s.start:s.end]
	}
	clear(d.spans)                                    // they would keep the record in memory
	r.AppDefinedData = slices.Clone(r.AppDefinedData) // the Decoder reuses its array
	switch {
	case !whole:
	case d.isMember():
		d.takeMember(&r)
	default:
		d.check(&r)
		if len(d.problems) == 0 {
			d.takeMembers(&r)
		}
	}
	if d.more > 0 {
		d.problems = append(d.problems, Problem{Message: fmt.Sprintf("and %d more", d.more)})
	}
	if len(d.problems) > 0 {
		return Record{}, &Error{Problems: d.problems, GroupID: clip(r.GroupID)}
	}
	return r, nil
}

// syntax describes a parser error without the parser's prefix.
func syntax(err error, raw []byte) string {
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(s.Err, io.ErrUnexpectedEOF) {
			return fmt.Sprintf("unexpected end after %d bytes", len(raw))
		}
		return fmt.Sprintf("%v at byte %d", s.Err, s.ByteOffset)
	}
	if errors.Is(err, io.EOF) {
		return "the record is empty"
	}
	return err.Error()
}

// problem adds a problem of the record, or of the member that is current.
func (d *Decoder) problem(field string, rule Rule, format string, args ...any) {
	if d.list.current != nil {
		d.list.fail(field, rule, format, args...)
		return
	}
	if !d.full() {
		d.problems = append(d.problems, Problem{Field: field, Rule: rule, Message: fmt.Sprintf(format, args...)})
	}
}

// full reports whether maxProblems is reached. If so, it counts one more unreported problem.
func (d *Decoder) full() bool {
	if len(d.problems) < maxProblems {
		return false
	}
	d.more++
	return true
}

// object reads the members of the record. The error is a syntax error; an invalid field is a problem instead.
func (d *Decoder) object(r *Record) error {
	if kind := d.dec.PeekKind(); kind != '{' {
		v, err := d.dec.ReadValue()
		switch {
		case err != nil:
			return err
		case kind == 'n':
			return errors.New("found null")
		}
		return fmt.Errorf("found %s", describe(v))
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	for d.dec.PeekKind() != '}' {
		name, err := d.dec.ReadValue()
		if err != nil {
			return err
		}
		field := d.field(name)
		if field >= 0 {
			if d.seen&(1<<field) != 0 {
				d.problem(fieldNames[field], RuleDuplicate, "duplicate field %s", fieldNames[field])
			}
			d.seen |= 1 << field
			err = d.value(r, field)
		} else {
			err = d.dec.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	_, err := d.dec.ReadToken()
	return err
}

// field returns the index of a quoted field name. If the field is unknown, it records a problem and returns -1.
func (d *Decoder) field(quoted jsontext.Value) int {
	bare := quoted[1 : len(quoted)-1]
	for i, name := range fieldNames {
		if string(bare) == name {
			return i
		}
	}
	text, err := jsontext.AppendUnquote(nil, quoted) // a name may contain escapes
	if err != nil {
		d.problem("", RuleUTF8, "a field's name is not valid UTF-8: %q", clip(string(text)))
		return -1
	}
	for i, name := range fieldNames {
		if string(text) == name {
			return i
		}
	}
	if !d.full() {
		d.problems = append(d.problems, UnknownField("field", string(text)))
	}
	return -1
}

// value reads the value of a field into r, or into d for a member record.
func (d *Decoder) value(r *Record, field int) error {
	name := fieldNames[field]
	if d.dec.PeekKind() == '[' && (name == fieldAppDefinedData || name == fieldMemberList) {
		d.present |= 1 << field
		if name == fieldMemberList {
			return d.members()
		}
		return d.appDefinedData(r)
	}
	v, err := d.dec.ReadValue()
	if err != nil {
		return err
	}
	if v.Kind() == 'n' {
		return nil
	}
	if string(v) != `""` {
		d.present |= 1 << field
	}
	switch name {
	case fieldGroupID:
		d.str(name, v, &r.GroupID)
	case fieldType:
		d.typ(r, v)
	case fieldOwnerAccount:
		d.str(name, v, &r.OwnerAccount)
	case fieldName:
		d.str(name, v, &r.Name)
	case fieldIntroduction:
		d.str(name, v, &r.Introduction)
	case fieldNotification:
		d.str(name, v, &r.Notification)
	case fieldFaceURL:
		d.str(name, v, &r.FaceURL)
	case fieldMaxMemberCount:
		d.number(name, v, &r.MaxMemberCount)
	case fieldApplyJoinOption:
		d.str(name, v, &r.ApplyJoinOption)
	case fieldAppDefinedData:
		d.problem(name, RuleKind, "%s must be an array of {Key, Value}, not %s", name, describe(v))
	case fieldCreateTime:
		d.number(name, v, &r.CreateTime)
	case fieldSupportTopic:
		var flag int64
		d.number(name, v, &flag)
		r.SupportTopic = flag == 1
	case fieldMemberList:
		d.problem(name, RuleKind, "%s must be an array of objects with Member_Account, not %s", name, describe(v))
	case fieldMemberAccount:
		d.str(name, v, &d.single.account)
	case fieldRole:
		d.str(name, v, &d.single.role)
	case fieldJoinTime:
		d.number(name, v, &d.single.JoinTime)
	case fieldUnread:
		d.number(name, v, &d.single.Unread)
	}
	return nil
}

// str reads a string field, see [span].
func (d *Decoder) str(name string, v jsontext.Value, to *string) {
	if v.Kind() != '"' {
		d.problem(name, RuleKind, "%s must be a string, not %s", name, describe(v))
		return
	}
	if !d.keep(v, to) {
		d.problem(name, RuleUTF8, "%s is not valid UTF-8 (or contains a lone surrogate): %s",
			name, clip(strconv.QuoteToASCII(string(v))))
	}
}

// keep adds a quoted string to the spans and reports whether it is valid UTF-8.
func (d *Decoder) keep(v jsontext.Value, to *string) bool {
	start := len(d.text)
	text, err := jsontext.AppendUnquote(d.text, v)
	if err != nil {
		return false
	}
	d.text = text
	if i := len(d.spans) - 1; i >= 0 && d.spans[i].to == to {
		d.spans = d.spans[:i]
	}
	d.spans = append(d.spans, span{to: to, start: start, end: len(d.text)})
	return true
}

func (d *Decoder) typ(r *Record, v jsontext.Value) {
	if v.Kind() != '"' {
		d.problem(fieldType, RuleKind, "Type must be a string, not %s", describe(v))
		return
	}
	word, _ := jsontext.AppendUnquote(nil, v) // invalid UTF-8 is not a type either
	known, ok := ParseType(string(word))
	switch {
	case ok:
		r.Type = known
	case string(word) == "AVChatRoom" && d.limits.CreateAVChatRoom:
		r.Type = AVChatRoom
	case string(word) == "AVChatRoom":
		d.problem(fieldType, RuleAVChatRoom, "Type AVChatRoom cannot be imported: "+
			"with AVCHATROOM=create the group is created with create_group, which sets the time of its creation to now")
		r.Type = "AVChatRoom" // not reported as missing too
	case len(word) == 0:
		d.problem(fieldType, RuleMissing, "Type is empty, must be Private, Public, ChatRoom or Community")
		r.Type = "?"
	default:
		hint := ""
		if near := nearest(string(word), slices.Concat(types, []string{"Work", "Meeting"})); near != "" {
			hint = fmt.Sprintf(", did you mean %q?", near)
		}
		d.problem(fieldType, RuleValue, "Type %q is not one of %s%s",
			clip(string(word)), strings.Join(types, ", "), hint)
		r.Type = "?"
	}
}

// number reads an integer within [Range]. 500.0 and 5e2 are valid: databases and spreadsheets write integers so. An
// integer out of range is kept, with its problem.
func (d *Decoder) number(name string, v jsontext.Value, to *int64) {
	low, high, _ := Range(name)
	if v.Kind() != '0' {
		d.problem(name, RuleKind, "%s must be a number, not %s%s", name, describe(v), numberHint(name, v))
		return
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(string(v), 64)
		switch {
		case ferr == nil && f != math.Trunc(f):
			d.problem(name, RuleKind, "%s must be an integer, not %s", name, clip(string(v)))
			return
		case ferr != nil || math.Abs(f) > 1<<53:
			d.problem(name, RuleRange, "%s is %s, must be %d to %d", name, clip(string(v)), low, high)
			return
		}
		n = int64(f)
	}
	*to = n
	if n < low || n > high {
		hint := ""
		if isTime(name) && n/1000 > 0 && n/1000 <= high {
			hint = ": this looks like milliseconds, use seconds"
		}
		d.problem(name, RuleRange, "%s is %d, must be %d to %d%s", name, n, low, high, hint)
		return
	}
	if isTime(name) && n > 0 && n < maxDateSerial {
		d.problem(name, RuleRange, "%s is %d, a spreadsheet's date serial number: %s", name, n, useUnixTime)
	}
	if isTime(name) && n >= minPlainDate && n <= maxPlainDate {
		d.problem(name, RuleRange, "%s is %d, a date without separators: %s", name, n, useUnixTime)
	}
}

// isTime reports whether a field is a time in Unix seconds.
func isTime(name string) bool { return name == fieldCreateTime || name == fieldJoinTime }

// Dates without separators, such as 20240131. As Unix seconds they are in 1970, older than any group.
const (
	minPlainDate = 19_700_101
	maxPlainDate = 21_001_231
)

// isPlainDate reports whether a text is a date without separators.
func isPlainDate(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= minPlainDate && n <= maxPlainDate
}

// maxDateSerial is above the date serial numbers of spreadsheets (days since 1899-12-30): 100,000 is in the year 2173.
// As Unix time it is 1970-01-02.
const maxDateSerial = 100_000

// appDefinedData reads the array of custom fields.
func (d *Decoder) appDefinedData(r *Record) error {
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	// Spans point into data. Entries beyond the limit are counted and not stored.
	data := d.data[:0]
	count := 0
	var spare Datum
	for d.dec.PeekKind() != ']' {
		if d.dec.PeekKind() != '{' {
			v, err := d.dec.ReadValue()
			if err != nil {
				return err
			}
			d.problem(fieldAppDefinedData, RuleKind, "AppDefinedData[%d] must be an object of Key and Value, not %s",
				count, describe(v))
			count++
			continue
		}
		to := &spare
		if len(data) < maxAppDefinedData {
			data = append(data, Datum{})
			to = &data[len(data)-1]
		}
		if err := d.datum(to, count); err != nil {
			return err
		}
		count++
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	if count > maxAppDefinedData {
		d.problem(fieldAppDefinedData, RuleCount, "AppDefinedData has %d entries, limit %d", count, maxAppDefinedData)
	}
	if len(data) > 0 {
		r.AppDefinedData = data
	}
	return nil
}

// datum reads the i-th custom field.
func (d *Decoder) datum(to *Datum, i int) error {
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	var key, value bool
	for d.dec.PeekKind() != '}' {
		quoted, err := d.dec.ReadValue()
		if err != nil {
			return err
		}
		name, invalid := datumName(quoted)
		v, err := d.dec.ReadValue()
		switch {
		case err != nil:
			return err
		case invalid:
			d.problem(fieldAppDefinedData, RuleUTF8, "a name in %s is not valid UTF-8", datumAt(i))
		case name == "Key" && key, name == "Value" && value:
			d.problem(fieldAppDefinedData, RuleDuplicate, "duplicate field %s.%s", datumAt(i), name)
		case name == "Key":
			key = true
			d.datumString(i, name, v, &to.Key)
		case name == "Value":
			value = true
			d.datumString(i, name, v, &to.Value)
		default:
			hint := ""
			if near := nearest(name, []string{"Key", "Value"}); near != "" {
				hint = fmt.Sprintf(", did you mean %q?", near)
			}
			d.problem(fieldAppDefinedData, RuleUnknown, "unknown field %q in %s%s", clip(name), datumAt(i), hint)
		}
	}
	if !key {
		d.problem(fieldAppDefinedData, RuleMissing, "%s has no Key", datumAt(i))
	}
	if !value {
		d.problem(fieldAppDefinedData, RuleMissing, "%s has no Value", datumAt(i))
	}
	_, err := d.dec.ReadToken()
	return err
}

// datumAt returns the name of the i-th custom field for messages.
func datumAt(i int) string { return "AppDefinedData[" + strconv.Itoa(i) + "]" }

// datumName unquotes the name of a member of a custom field.
func datumName(quoted jsontext.Value) (name string, invalid bool) {
	switch string(quoted) {
	case `"Key"`:
		return "Key", false
	case `"Value"`:
		return "Value", false
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	return string(text), err != nil
}

// datumString reads the Key or the Value of the i-th custom field.
func (d *Decoder) datumString(i int, part string, v jsontext.Value, to *string) {
	if v.Kind() == '"' && d.keep(v, to) {
		return
	}
	before := len(d.problems)
	d.str(datumAt(i)+"."+part, v, to)
	for i := before; i < len(d.problems); i++ {
		d.problems[i].Field = fieldAppDefinedData
	}
}

// check enforces the rules that need the complete strings of r.
func (d *Decoder) check(r *Record) {
	d.refuseMemberFields()
	if r.Type == "" && !d.mentions(fieldType) {
		d.problem(fieldType, RuleMissing, "Type is missing")
	}
	if r.Type == AVChatRoom && d.limits.CreateAVChatRoom && r.GroupID == "" && !d.mentions(fieldGroupID) {
		d.problem(fieldGroupID, RuleMissing, "GroupId is missing: an AVChatRoom needs one, "+
			"so that the group is not created twice if a response is lost")
	}
	d.checkGroupID(r)
	if r.Name == "" && !d.mentions(fieldName) {
		d.problem(fieldName, RuleMissing, "Name is missing or empty")
	}
	d.length(fieldName, r.Name, d.limits.Name)
	d.length(fieldIntroduction, r.Introduction, d.limits.Introduction)
	d.length(fieldNotification, r.Notification, d.limits.Notification)
	d.length(fieldFaceURL, r.FaceURL, d.limits.FaceURL)
	d.length(fieldOwnerAccount, r.OwnerAccount, maxAccount)
	d.printable(fieldOwnerAccount, r.OwnerAccount)
	d.spreadsheetID(fieldOwnerAccount, r.OwnerAccount)
	if r.ApplyJoinOption != "" && !slices.Contains(joinOptions, r.ApplyJoinOption) {
		hint := ""
		if near := nearest(r.ApplyJoinOption, joinOptions); near != "" {
			hint = fmt.Sprintf(", did you mean %q?", near)
		}
		d.problem(fieldApplyJoinOption, RuleValue, "ApplyJoinOption %q is not one of %s%s",
			clip(r.ApplyJoinOption), strings.Join(joinOptions, ", "), hint)
	}
	if r.SupportTopic && r.Type != Community {
		d.problem(fieldSupportTopic, RuleValue, "SupportTopic requires Type Community")
	}
	d.checkCreateTime(r.CreateTime)
	for i := range r.AppDefinedData {
		d.checkDatum(r.AppDefinedData, i)
	}
}

// checkCreateTime rejects a time in the future: the service refuses members and messages older than their group.
func (d *Decoder) checkCreateTime(created int64) {
	if now, ok := d.isAhead(created); ok {
		d.problem(fieldCreateTime, RuleRange,
			"CreateTime %d is %s UTC, later than now (%s UTC): use Unix time in seconds",
			created, time.Unix(created, 0).UTC().Format(time.DateTime), now.UTC().Format(time.DateTime))
	}
}

// isAhead reports whether a time in Unix seconds is in the future, and the current time. It reads the clock only for a
// time later than all earlier ones. Times out of range are reported by number.
func (d *Decoder) isAhead(at int64) (now time.Time, ok bool) {
	if at <= d.latest || at > maxCreateTime {
		return time.Time{}, false
	}
	if now = time.Now(); now.Before(clockFloor) {
		now = clockFloor
	}
	d.latest = now.Add(maxAhead).Unix()
	return now, at > d.latest
}

func (d *Decoder) checkGroupID(r *Record) {
	d.length(fieldGroupID, r.GroupID, maxGroupID)
	d.printable(fieldGroupID, r.GroupID)
	d.spreadsheetID(fieldGroupID, r.GroupID)
	switch {
	case r.GroupID == "":
	case r.Type == Community:
		if !strings.HasPrefix(r.GroupID, "@TGS#_") {
			d.problem(fieldGroupID, RulePrefix, "GroupId of a Community must start with @TGS#_")
		}
	case strings.HasPrefix(r.GroupID, "@TGS#") && !d.AnyGroupID:
		d.problem(fieldGroupID, RulePrefix, "GroupId must not start with @TGS#: the service reserves this prefix")
	}
}

func (d *Decoder) checkDatum(data []Datum, i int) {
	key := data[i].Key
	switch {
	case key == "":
		if !d.mentions(fieldAppDefinedData) {
			d.problem(fieldAppDefinedData, RuleMissing, "%s.Key is empty", datumAt(i))
		}
	case len(key) > maxDatumKey:
		d.problem(fieldAppDefinedData, RuleLength, "%s.Key is %d bytes, limit %d", datumAt(i), len(key), maxDatumKey)
	case key[0] >= '0' && key[0] <= '9':
		d.problem(fieldAppDefinedData, RuleCharacters, "%s.Key %q must not start with a digit", datumAt(i), key)
	}
	if strings.IndexFunc(key, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_'
	}) >= 0 {
		d.problem(fieldAppDefinedData, RuleCharacters, "%s.Key %q must consist of letters, digits and _",
			datumAt(i), clip(key))
	}
	if n := len(data[i].Value); n > maxDatumValue {
		d.problem(fieldAppDefinedData, RuleLength, "%s.Value is %d bytes, limit %d", datumAt(i), n, maxDatumValue)
	}
	for j := range i {
		if data[j].Key == key && key != "" {
			d.problem(fieldAppDefinedData, RuleDuplicate, "%s.Key %q is a duplicate", datumAt(i), clip(key))
			return
		}
	}
}

func (d *Decoder) length(name, value string, maxBytes int) {
	if len(value) > maxBytes {
		d.problem(name, RuleLength, "%s is %d bytes, limit %d", name, len(value), maxBytes)
	}
}

func (d *Decoder) printable(name, value string) {
	for i := range len(value) {
		if c := value[i]; c < 0x20 || c > 0x7e {
			d.problem(name, RuleCharacters, "%s must be printable ASCII, is not at byte %d: %q", name, i, clip(value))
			return
		}
	}
}

// mentions reports whether field has a problem already. Such a field is not reported as missing too.
func (d *Decoder) mentions(field string) bool {
	for _, p := range d.problems {
		if p.Field == field {
			return true
		}
	}
	return false
}

// Numbers as programs format them. A spreadsheet rounds a long number for display, so longNumber is never accepted.
var (
	longNumber  = regexp.MustCompile(`^[0-9]([.,][0-9]+)?[eE]\+[0-9]{2,3}$`)
	scientific  = regexp.MustCompile(`^[+-]?[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+$`)
	grouped     = regexp.MustCompile(`^[+-]?[0-9]{1,3}([., '_\x{a0}\x{202f}][0-9]{3})+$`)
	wholeNumber = regexp.MustCompile(`^[+-]?[0-9]+(\.0+)?$`)
)

// Hints for messages.
const (
	lostDigits = "a spreadsheet has rounded this number: " +
		"format the column as text, enter the original values and export again"
	useUnixTime = "use Unix time in seconds, such as 1448357837; " +
		"in a spreadsheet, =(A2-DATE(1970,1,1))*86400 converts a UTC date in A2"
)

// numberHint returns a hint for a value that should be a number, "" if it has none.
func numberHint(name string, v jsontext.Value) string {
	if v.Kind() != '"' {
		return ""
	}
	text := strings.TrimSpace(string(bytes.Trim(v, `"`)))
	switch {
	case grouped.MatchString(text):
		return ": remove thousands separators and decimals"
	case wholeNumber.MatchString(text) && (!isTime(name) || !isPlainDate(text)):
		return ": remove the quotes"
	case scientific.MatchString(text):
		return ": " + lostDigits
	case strings.HasPrefix(text, "="):
		return ": this is a formula, export its value"
	case isTime(name):
		return ": " + useUnixTime
	}
	return ""
}

// spreadsheetID rejects an ID that a spreadsheet has changed: a rounded number such as 1.00123E+11, or a formula. An ID
// like 1E5 is valid: no spreadsheet formats a number so.
func (d *Decoder) spreadsheetID(name, value string) {
	switch {
	case strings.IndexByte(value, '+') > 0 && longNumber.MatchString(value):
		d.problem(name, RuleValue, "%s is %s: %s", name, value, lostDigits)
	case strings.HasPrefix(value, "="):
		d.problem(name, RuleValue, "%s is a formula, %s: format the column as text and export its values",
			name, clip(value))
	}
}

// describe returns the kind of a JSON value, and a scalar itself, for messages.
func describe(v jsontext.Value) string {
	switch v.Kind() {
	case 'n':
		return "null"
	case 't', 'f':
		return string(v)
	case '"':
		return "the string " + clip(strings.ToValidUTF8(string(v), "\uFFFD"))
	case '0':
		return "the number " + clip(string(v))
	case '{':
		return "an object"
	case '[':
		return "an array"
	default:
		return "something else"
	}
}
