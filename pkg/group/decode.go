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

// The names of the fields, as the document writes them.
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
)

// fieldNames are in the order in which they are sent.
var fieldNames = []string{
	fieldGroupID, fieldType, fieldOwnerAccount, fieldName, fieldIntroduction, fieldNotification, fieldFaceURL,
	fieldMaxMemberCount, fieldApplyJoinOption, fieldAppDefinedData, fieldCreateTime, fieldSupportTopic,
}

// A Decoder reads records, one JSON object at a time. It may not be used concurrently.
type Decoder struct {
	limits   Limits
	src      bytes.Reader
	dec      *jsontext.Decoder
	text     []byte // the strings of the record at hand, one behind the other
	spans    []span // where in text each of them lies
	data     [maxAppDefinedData]Datum
	problems []Problem
	more     int   // problems beyond maxProblems
	latest   int64 // CreateTime up to which the clock need not be asked
}

// maxProblems is how many problems of one record are told; the rest are counted. A line of 1 MiB has
// room for a hundred thousand.
const maxProblems = 20

// A span is a string that becomes one once the whole record has been read, so that a record costs one
// allocation for all its strings.
type span struct {
	to         *string
	start, end int
}

// Fields returns the names of the fields that a record may have.
func Fields() []string { return slices.Clone(fieldNames) }

// IsField reports whether a record may have a field of this name.
func IsField(name string) bool { return slices.Contains(fieldNames, name) }

// IsNumber reports whether the field of this name is a number.
func IsNumber(name string) bool {
	_, _, ok := Range(name)
	return ok
}

// NewDecoder returns a Decoder that holds records to l.
func NewDecoder(l Limits) *Decoder {
	d := &Decoder{limits: l}
	d.dec = jsontext.NewDecoder(&d.src)
	return d
}

// Decode returns the record that raw holds: one JSON object and nothing behind it. null and the empty
// string count as absent. An error is always an [*Error] and names everything that is wrong.
func (d *Decoder) Decode(raw []byte) (Record, error) {
	d.text, d.spans, d.problems, d.more = d.text[:0], d.spans[:0], nil, 0
	d.src.Reset(raw)
	// Doubled names and invalid UTF-8 are let through here, to be reported by field below.
	d.dec.Reset(&d.src, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

	var r Record
	whole := false
	if err := d.object(&r); err != nil {
		d.problem("", RuleJSON, "not a JSON object: %s", syntax(err, raw))
	} else {
		whole = true
		if _, err := d.dec.ReadToken(); !errors.Is(err, io.EOF) {
			d.problem("", RuleJSON, "more than one JSON value: something follows at byte %d", d.dec.InputOffset())
		}
	}

	text := string(d.text)
	for _, s := range d.spans {
		*s.to = text[s.start:s.end]
	}
	r.AppDefinedData = slices.Clone(r.AppDefinedData) // it was the Decoder's
	if whole {
		d.check(&r)
	}
	if d.more > 0 {
		d.problems = append(d.problems, Problem{Message: fmt.Sprintf("and %d more", d.more)})
	}
	if len(d.problems) > 0 {
		return Record{}, &Error{Problems: d.problems, GroupID: clip(r.GroupID)}
	}
	return r, nil
}

// syntax says what the parser found, without its own name for itself.
func syntax(err error, raw []byte) string {
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(s.Err, io.ErrUnexpectedEOF) {
			return fmt.Sprintf("it ends too early, after %d bytes", len(raw))
		}
		return fmt.Sprintf("%v at byte %d", s.Err, s.ByteOffset)
	}
	if errors.Is(err, io.EOF) {
		return "it is empty"
	}
	return err.Error()
}

func (d *Decoder) problem(field string, rule Rule, format string, args ...any) {
	if !d.full() {
		d.problems = append(d.problems, Problem{Field: field, Rule: rule, Message: fmt.Sprintf(format, args...)})
	}
}

// full reports whether no more problems are told, and counts the one that is not.
func (d *Decoder) full() bool {
	if len(d.problems) < maxProblems {
		return false
	}
	d.more++
	return true
}

// object reads the members of the record. Its error is about the JSON; what is wrong with a field is a
// problem and not an error.
func (d *Decoder) object(r *Record) error {
	if kind := d.dec.PeekKind(); kind != '{' {
		v, err := d.dec.ReadValue()
		switch {
		case err != nil:
			return err
		case kind == 'n':
			return errors.New("it is null")
		}
		return fmt.Errorf("it is %s", describe(v))
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	var seen uint32
	for d.dec.PeekKind() != '}' {
		name, err := d.dec.ReadValue()
		if err != nil {
			return err
		}
		field := d.field(name)
		if field >= 0 {
			if seen&(1<<field) != 0 {
				d.problem(fieldNames[field], RuleTwice, "%s stands more than once", fieldNames[field])
			}
			seen |= 1 << field
			err = d.value(r, fieldNames[field])
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

// field returns the index of the field that a quoted name stands for, or -1 after noting the problem.
func (d *Decoder) field(quoted jsontext.Value) int {
	bare := quoted[1 : len(quoted)-1]
	for i, name := range fieldNames {
		if string(bare) == name {
			return i
		}
	}
	text, err := jsontext.AppendUnquote(nil, quoted) // a name may be written with escapes
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
		d.problems = append(d.problems, UnknownField(string(text)))
	}
	return -1
}

// value reads the value of the field with this name into r.
func (d *Decoder) value(r *Record, name string) error {
	if name == fieldAppDefinedData && d.dec.PeekKind() == '[' {
		return d.appDefinedData(r)
	}
	v, err := d.dec.ReadValue()
	if err != nil {
		return err
	}
	if v.Kind() == 'n' {
		return nil
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
	}
	return nil
}

// str notes a string for later, see [span].
func (d *Decoder) str(name string, v jsontext.Value, to *string) {
	if v.Kind() != '"' {
		d.problem(name, RuleKind, "%s must be a string, not %s", name, describe(v))
		return
	}
	if !d.keep(v, to) {
		d.problem(name, RuleUTF8, "%s is not valid UTF-8 (or holds half of a surrogate pair): %s", name, clip(strconv.QuoteToASCII(string(v))))
	}
}

// keep notes what a quoted string holds, and reports whether it is valid.
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
	word, _ := jsontext.AppendUnquote(nil, v) // what is not UTF-8 is no type either
	known, ok := ParseType(string(word))
	switch {
	case ok:
		r.Type = known
	case string(word) == "AVChatRoom":
		d.problem(fieldType, RuleAVChatRoom,
			"Type AVChatRoom cannot be imported: create the group with create_group, then set its profile with modify_group_base_info")
		r.Type = "AVChatRoom" // so that it is not reported as missing too
	case len(word) == 0:
		d.problem(fieldType, RuleMissing, "Type is empty, it must be Private, Public, ChatRoom or Community")
		r.Type = "?"
	default:
		hint := ""
		if near := nearest(string(word), []string{"Private", "Public", "ChatRoom", "Community", "Work", "Meeting"}); near != "" {
			hint = fmt.Sprintf(", did you mean %q?", near)
		}
		d.problem(fieldType, RuleValue, "Type %q is not one of %s%s", clip(string(word)), strings.Join(types, ", "), hint)
		r.Type = "?"
	}
}

// number reads a whole number within [Range]. 500.0 and 5e2 are whole, as databases and
// spreadsheets write them.
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
			d.problem(name, RuleKind, "%s must be a whole number, not %s", name, clip(string(v)))
			return
		case ferr != nil || math.Abs(f) > 1<<53:
			d.problem(name, RuleRange, "%s is %s, allowed is %d to %d", name, clip(string(v)), low, high)
			return
		}
		n = int64(f)
	}
	if n < low || n > high {
		hint := ""
		if name == fieldCreateTime && n/1000 > 0 && n/1000 <= high {
			hint = ": it looks like milliseconds, seconds are wanted"
		}
		d.problem(name, RuleRange, "%s is %d, allowed is %d to %d%s", name, n, low, high, hint)
		return
	}
	if name == fieldCreateTime && n > 0 && n < maxDateSerial {
		d.problem(name, RuleRange, "%s is %d, a spreadsheet's number of a date: %s", name, n, acceptedOfDate)
		return
	}
	*to = n
}

// maxDateSerial is above the numbers that spreadsheets have for dates, days since 1899-12-30: 100,000 is in 2173. As Unix
// time it is on the second day of 1970.
const maxDateSerial = 100_000

// appDefinedData reads the array of custom fields.
func (d *Decoder) appDefinedData(r *Record) error {
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	// Spans point into data; more than a record may have are counted and not kept.
	data := d.data[:0]
	count := 0
	var spare Datum
	for d.dec.PeekKind() != ']' {
		if d.dec.PeekKind() != '{' {
			v, err := d.dec.ReadValue()
			if err != nil {
				return err
			}
			d.problem(fieldAppDefinedData, RuleKind, "AppDefinedData[%d] must be an object of Key and Value, not %s", count, describe(v))
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
		d.problem(fieldAppDefinedData, RuleCount, "AppDefinedData has %d entries, at most %d are allowed", count, maxAppDefinedData)
	}
	if len(data) > 0 {
		r.AppDefinedData = data
	}
	return nil
}

// datum reads one custom field, the i-th of its record.
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
			d.problem(fieldAppDefinedData, RuleTwice, "%s.%s stands more than once", datumAt(i), name)
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

// datumAt names a custom field in messages.
func datumAt(i int) string { return "AppDefinedData[" + strconv.Itoa(i) + "]" }

// datumName returns the name that a quoted one stands for.
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

// datumString notes the Key or the Value of the i-th custom field.
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

// check holds r to the rules that need its strings whole.
func (d *Decoder) check(r *Record) {
	if r.Type == "" && !d.mentions(fieldType) {
		d.problem(fieldType, RuleMissing, "Type is missing")
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
		d.problem(fieldSupportTopic, RuleValue, "SupportTopic is for groups of Type Community only")
	}
	d.checkCreateTime(r.CreateTime)
	for i := range r.AppDefinedData {
		d.checkDatum(r.AppDefinedData, i)
	}
}

// checkCreateTime rejects a time in the future: the service refuses members and messages from before it, so
// that the group could never have any. The clock is asked only for a time later than any accepted before.
func (d *Decoder) checkCreateTime(created int64) {
	if created <= d.latest {
		return
	}
	now := time.Now()
	if now.Before(clockFloor) {
		now = clockFloor
	}
	if d.latest = now.Add(maxAhead).Unix(); created > d.latest {
		const layout = "2006-01-02 15:04:05"
		d.problem(fieldCreateTime, RuleRange,
			"CreateTime %d is %s UTC, later than now (%s UTC): seconds since 1970-01-01 UTC are wanted",
			created, time.Unix(created, 0).UTC().Format(layout), now.UTC().Format(layout))
	}
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
	case strings.HasPrefix(r.GroupID, "@TGS#"):
		d.problem(fieldGroupID, RulePrefix, "GroupId must not start with @TGS#: such IDs are the service's own to give")
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
		d.problem(fieldAppDefinedData, RuleLength, "%s.Key has %d bytes, at most %d are allowed", datumAt(i), len(key), maxDatumKey)
	case key[0] >= '0' && key[0] <= '9':
		d.problem(fieldAppDefinedData, RuleCharacters, "%s.Key %q must not start with a digit", datumAt(i), key)
	}
	if strings.IndexFunc(key, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_'
	}) >= 0 {
		d.problem(fieldAppDefinedData, RuleCharacters, "%s.Key %q may hold letters, digits and _ only", datumAt(i), clip(key))
	}
	if n := len(data[i].Value); n > maxDatumValue {
		d.problem(fieldAppDefinedData, RuleLength, "%s.Value has %d bytes, at most %d are allowed", datumAt(i), n, maxDatumValue)
	}
	for j := range i {
		if data[j].Key == key && key != "" {
			d.problem(fieldAppDefinedData, RuleTwice, "%s.Key %q stands more than once", datumAt(i), clip(key))
			return
		}
	}
}

func (d *Decoder) length(name, value string, most int) {
	if len(value) > most {
		d.problem(name, RuleLength, "%s has %d bytes, at most %d are allowed", name, len(value), most)
	}
}

func (d *Decoder) printable(name, value string) {
	for i := range len(value) {
		if c := value[i]; c < 0x20 || c > 0x7e {
			d.problem(name, RuleCharacters, "%s may hold printable ASCII only, not what stands at its byte %d: %q", name, i, clip(value))
			return
		}
	}
}

// mentions reports whether a problem with the field has been noted, so that it is not called missing too.
func (d *Decoder) mentions(field string) bool {
	for _, p := range d.problems {
		if p.Field == field {
			return true
		}
	}
	return false
}

// Numbers as programs show them. What a spreadsheet shows of a long number has lost digits: it is never read.
var (
	longNumber  = regexp.MustCompile(`^[0-9]([.,][0-9]+)?[eE]\+[0-9]{2,3}$`)
	scientific  = regexp.MustCompile(`^[+-]?[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+$`)
	grouped     = regexp.MustCompile(`^[+-]?[0-9]{1,3}([., '_\x{a0}\x{202f}][0-9]{3})+$`)
	wholeNumber = regexp.MustCompile(`^[+-]?[0-9]+(\.0+)?$`)
)

// What to do about them.
const (
	lostDigits = "a spreadsheet shows long numbers like this, and digits are lost: " +
		"format the column as text before its values come in, and export it again"
	acceptedOfDate = "Unix time in seconds is wanted, such as 1448357837: " +
		"in a spreadsheet, =(A2-DATE(1970,1,1))*86400 makes it of a date in A2 in UTC"
)

// numberHint says what to do about a string where a number is wanted.
func numberHint(name string, v jsontext.Value) string {
	if v.Kind() != '"' {
		return ""
	}
	text := strings.TrimSpace(string(bytes.Trim(v, `"`)))
	switch {
	case grouped.MatchString(text):
		return ": write it without separators between thousands, and without decimals"
	case wholeNumber.MatchString(text):
		return ": leave out the quotes"
	case scientific.MatchString(text):
		return ": " + lostDigits
	case strings.HasPrefix(text, "="):
		return ": it is a formula: export its value"
	case name == fieldCreateTime:
		return ": " + acceptedOfDate
	}
	return ""
}

// spreadsheetID notes an ID that a spreadsheet has changed: a number whose last digits are lost, 1.00123E+11, or a
// formula. An ID like 1E5 is left alone: no spreadsheet shows a number so.
func (d *Decoder) spreadsheetID(name, value string) {
	switch {
	case strings.IndexByte(value, '+') > 0 && longNumber.MatchString(value):
		d.problem(name, RuleValue, "%s is %s: %s", name, value, lostDigits)
	case strings.HasPrefix(value, "="):
		d.problem(name, RuleValue, "%s is a formula, %s: format the column as text and export its values", name, clip(value))
	}
}

// describe says what kind of JSON a value is, for messages.
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
