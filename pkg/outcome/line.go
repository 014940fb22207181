package outcome

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
)

const atFormat = "2006-01-02T15:04:05.000Z"

// AppendLine appends o as a results line without its end.
func (o *Outcome) AppendLine(dst []byte) []byte { return o.append(dst, nil) }

// AppendRecordLine appends o as a line of the dead-letter file without its end. raw is the record as it came,
// nil if it was not kept.
func (o *Outcome) AppendRecordLine(dst, raw []byte) []byte { return o.append(dst, raw) }

// AppendPartLine appends o as a line of a part: with the record unless nothing is left to do about it
// and its members.
func (o *Outcome) AppendPartLine(dst, raw []byte) []byte {
	if o.IsDone() {
		raw = nil
	}
	return o.append(dst, raw)
}

func (o *Outcome) append(dst, raw []byte) []byte {
	dst = strconv.AppendInt(append(dst, `{"n":`...), o.N, 10)
	dst = appendInt(dst, "line", o.Line)
	dst = appendString(dst, "status", string(o.Status))
	dst = appendString(dst, "GroupId", o.GroupID)
	dst = appendString(dst, "member", o.Member)
	dst = appendTrue(dst, "assigned", o.Assigned)
	dst = appendInt(dst, "code", int64(o.Code))
	dst = o.appendMembers(dst)
	dst = appendTrue(dst, "created", o.Created)
	dst = appendTrue(dst, "carried", o.Carried)
	dst = appendTrue(dst, "differs", o.Differs)
	dst = appendString(dst, "field", o.Field)
	dst = appendString(dst, "rule", string(o.Rule))
	dst = appendRecord(dst, raw)
	dst = appendString(dst, "error", o.Error)
	for i, name := range o.Changed {
		if i == 0 {
			dst = append(dst, `,"changed":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst, _ = jsontext.AppendQuote(dst, name)
		if i == len(o.Changed)-1 {
			dst = append(dst, ']')
		}
	}
	dst = appendString(dst, "source", o.Source)
	if !o.Carried || o.Attempts > 0 {
		dst = appendInt(dst, "attempts", int64(o.Attempts))
	}
	if o.Attempts > 0 {
		dst = appendInt(dst, "ms", o.MS)
	}
	dst = append(o.At.UTC().AppendFormat(append(dst, `,"at":"`...), atFormat), '"')
	if o.ID != (group.Digest{}) {
		dst = append(o.ID.Append(append(dst, `,"id":"`...)), '"')
		dst = append(o.Sum.Append(append(dst, `,"sum":"`...)), '"')
	}
	return append(dst, '}')
}

// memberNames are the names of the counts of [Members], in the order of its fields.
var memberNames = [...]string{"added", "already", "failed", "noAccount", "invalid", "refused", "pending", "demoted"}

// memberPrefix returns what is before a count, with the comma unless it is the first.
func memberPrefix(name string, isFirst bool) string {
	if isFirst {
		return memberPrefixes[name][1:]
	}
	return memberPrefixes[name]
}

var memberPrefixes = func() map[string]string {
	all := map[string]string{}
	for _, name := range memberNames {
		all[name] = `,"` + name + `":`
	}
	return all
}()

func (o *Outcome) appendMembers(dst []byte) []byte {
	if o.Members == (Members{}) && o.MembersSum == (group.Digest{}) {
		return dst
	}
	dst = append(dst, `,"members":`...)
	begin := len(dst)
	for i, n := range o.Members.all() {
		if *n != 0 {
			dst = appendInt(dst, memberNames[i], *n)
		}
	}
	if o.MembersSum != (group.Digest{}) {
		dst = append(o.MembersSum.Append(append(dst, `,"sum":"`...)), '"')
	}
	dst[begin] = '{' // instead of the first comma
	return append(dst, '}')
}

func appendInt(dst []byte, name string, value int64) []byte {
	return strconv.AppendInt(append(append(append(dst, `,"`...), name...), `":`...), value, 10)
}

func appendString(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	dst, _ = jsontext.AppendQuote(dst, value) // invalid UTF-8 becomes U+FFFD; no caller passes any
	return dst
}

func appendTrue(dst []byte, name string, value bool) []byte {
	if !value {
		return dst
	}
	return append(append(append(dst, `,"`...), name...), `":true`...)
}

// appendRecord appends the record as it came. raw is nil if it was not kept.
func appendRecord(dst, raw []byte) []byte {
	switch {
	case raw == nil:
		return dst
	case jsontext.Value(raw).IsValid(jsontext.AllowDuplicateNames(true)):
		value := jsontext.Value(bytes.TrimSpace(raw))
		if bytes.ContainsAny(value, "\r\n") {
			value = value.Clone()
			_ = value.Compact(jsontext.AllowDuplicateNames(true)) // fails on invalid JSON only
		}
		return append(append(dst, `,"record":`...), value...)
	case utf8.Valid(raw):
		dst, _ = jsontext.AppendQuote(append(dst, `,"text":`...), raw) // fails on invalid UTF-8 only
		return dst
	}
	return append(base64.StdEncoding.AppendEncode(append(dst, `,"bytes":"`...), raw), '"')
}

// wire is an outcome's line as any reader of JSON sees it.
type wire struct {
	N        int64          `json:"n"`
	Line     int64          `json:"line"`
	Status   Status         `json:"status"`
	GroupID  string         `json:"GroupId"`
	Member   string         `json:"member"`
	Assigned bool           `json:"assigned"`
	Code     int            `json:"code"`
	Members  wireMembers    `json:"members"`
	Created  bool           `json:"created"`
	Carried  bool           `json:"carried"`
	Differs  bool           `json:"differs"`
	Field    string         `json:"field"`
	Rule     group.Rule     `json:"rule"`
	Error    string         `json:"error"`
	Changed  []string       `json:"changed"`
	Source   string         `json:"source"`
	Attempts int            `json:"attempts"`
	MS       int64          `json:"ms"`
	At       string         `json:"at"`
	ID       string         `json:"id"`
	Sum      string         `json:"sum"`
	Record   jsontext.Value `json:"record"`
	Text     *string        `json:"text"`
	Bytes    []byte         `json:"bytes"`
}

type wireMembers struct {
	Members

	Sum string `json:"sum"`
}

// ErrNoOutcome is wrapped by [Parse] for a line that is JSON, or not even that, but no outcome.
var ErrNoOutcome = errors.New("not an outcome")

// Parse returns the outcome that a line of results, of a dead-letter file or of a part holds, and the record as
// it came, nil if the line has none. The error wraps [ErrNoOutcome].
func Parse(line []byte) (Outcome, []byte, error) {
	if o, ok := parseFast(line); ok {
		return o, nil, nil
	}
	var w wire
	// The record inside may hold duplicate names: that may be what is wrong with it.
	if err := json.Unmarshal(line, &w, jsontext.AllowDuplicateNames(true)); err != nil {
		return Outcome{}, nil, fmt.Errorf("%w: %w", ErrNoOutcome, err)
	}
	if w.N <= 0 || w.Status == "" {
		return Outcome{}, nil, fmt.Errorf(`%w: it has no "n" or no "status"`, ErrNoOutcome)
	}
	o := Outcome{
		N: w.N, Line: w.Line, Status: w.Status, GroupID: w.GroupID, Member: w.Member, Assigned: w.Assigned, Code: w.Code,
		Members: w.Members.Members, Created: w.Created, Carried: w.Carried, Differs: w.Differs,
		Field: w.Field, Rule: w.Rule, Error: w.Error, Changed: w.Changed,
		Source: w.Source, Attempts: w.Attempts, MS: w.MS,
	}
	// A time or a digest that an edit has spoiled is as good as none: the line still holds its record.
	o.At, _ = time.Parse(time.RFC3339, w.At)
	o.ID, _ = group.ParseDigest(w.ID)
	o.Sum, _ = group.ParseDigest(w.Sum)
	o.MembersSum, _ = group.ParseDigest(w.Members.Sum)
	switch {
	case w.Record != nil:
		return o, w.Record, nil
	case w.Text != nil:
		return o, []byte(*w.Text), nil
	}
	return o, w.Bytes, nil
}

// Scan returns what counts need of an outcome's line: the ordinal, the status, whether it is a member record, its
// members, and whether create_group created the group. In most cases it does not decode the rest. The ordinal is 0 if
// the line is no outcome.
func Scan(line []byte) (o Outcome) {
	f := fast{rest: line}
	f.head(&o)
	if !f.bad {
		return o
	}
	var w struct {
		N       int64   `json:"n"`
		Status  Status  `json:"status"`
		Member  string  `json:"member"`
		Members Members `json:"members"`
		Created bool    `json:"created"`
	}
	if json.Unmarshal(line, &w, jsontext.AllowDuplicateNames(true)) != nil || w.N <= 0 || w.Status == "" {
		return Outcome{}
	}
	return Outcome{N: w.N, Status: w.Status, Member: w.Member, Members: w.Members, Created: w.Created}
}

// recordNames begin the record in a line that this program wrote. Within a string the quotes would be escaped, so
// the first occurrence is the field.
var recordNames = [][]byte{[]byte(`,"record":`), []byte(`,"text":`), []byte(`,"bytes":`)}

// Bare returns a line of a part without the record. It changes the line.
func Bare(line []byte) []byte {
	for _, name := range recordNames {
		i := bytes.Index(line, name)
		if i < 0 {
			continue
		}
		dec := jsontext.NewDecoder(bytes.NewReader(line[i+len(name):]), jsontext.AllowDuplicateNames(true))
		if dec.SkipValue() != nil {
			return line
		}
		return append(line[:i], line[i+len(name)+int(dec.InputOffset()):]...)
	}
	return line
}

// A fast reads a results line in the order in which this program writes it. It gives up on the first surprise.
type fast struct {
	rest []byte
	bad  bool
}

// parseFast parses a line without a record, as this program writes it. Millions of lines are read for a report, and
// a general decoder takes ten times as long.
func parseFast(line []byte) (o Outcome, ok bool) {
	f := fast{rest: line}
	o.N = f.first()
	o.Line = f.int(`,"line":`)
	o.Status = f.status(`,"status":"`)
	o.GroupID = f.string(`,"GroupId":"`)
	o.Member = f.string(`,"member":"`)
	o.Assigned = f.cut(`,"assigned":true`)
	o.Code = int(f.int(`,"code":`))
	f.members(&o)
	o.Created = f.cut(`,"created":true`)
	o.Carried = f.cut(`,"carried":true`)
	o.Differs = f.cut(`,"differs":true`)
	o.Field = f.string(`,"field":"`)
	o.Rule = group.Rule(f.string(`,"rule":"`))
	o.Error = f.string(`,"error":"`)
	if f.cut(`,"changed":[`) {
		for more := true; more && !f.bad; more = f.cut(`,`) {
			o.Changed = append(o.Changed, f.string(`"`))
		}
		f.bad = f.bad || !f.cut(`]`)
	}
	o.Source = f.string(`,"source":"`)
	o.Attempts = int(f.int(`,"attempts":`))
	o.MS = f.int(`,"ms":`)
	at, err := time.Parse(time.RFC3339, f.string(`,"at":"`))
	o.At = at
	o.ID = f.digest(`,"id":"`)
	o.Sum = f.digest(`,"sum":"`)
	return o, !f.bad && err == nil && o.N > 0 && o.Status != "" && string(f.rest) == "}"
}

// head reads the fields up to the members, and sets those of [Scan].
func (f *fast) head(o *Outcome) {
	o.N = f.first()
	f.int(`,"line":`)
	o.Status = f.status(`,"status":"`)
	f.skipString(`,"GroupId":"`)
	o.Member = f.string(`,"member":"`)
	f.cut(`,"assigned":true`)
	f.int(`,"code":`)
	f.members(o)
	// A line that somebody edited may have its members elsewhere.
	isMoved := o.Members == (Members{}) && bytes.Contains(f.rest, []byte(`"members"`))
	o.Created = f.cut(`,"created":true`)
	f.bad = f.bad || o.N <= 0 || o.Status == "" || isMoved
}

// members reads the counts of members.
func (f *fast) members(o *Outcome) {
	if f.bad || !f.cut(`,"members":{`) {
		return
	}
	isFirst := true
	for i, n := range o.Members.all() {
		if *n = f.int(memberPrefix(memberNames[i], isFirst)); *n != 0 {
			isFirst = false
		}
	}
	if isFirst {
		o.MembersSum = f.digest(`"sum":"`)
	} else {
		o.MembersSum = f.digest(`,"sum":"`)
	}
	f.bad = f.bad || !f.cut(`}`)
}

func (f *fast) first() int64 {
	n := f.int(`{"n":`)
	f.bad = f.bad || n <= 0
	return n
}

// cut consumes prefix and reports whether the rest began with it.
func (f *fast) cut(prefix string) bool {
	if len(f.rest) < len(prefix) || string(f.rest[:len(prefix)]) != prefix {
		return false
	}
	f.rest = f.rest[len(prefix):]
	return true
}

// int returns the number behind prefix, 0 if the rest does not begin with prefix.
func (f *fast) int(prefix string) int64 {
	if f.bad || !f.cut(prefix) {
		return 0
	}
	n, digits := int64(0), 0
	negative := f.cut("-")
	for digits < len(f.rest) && digits < 18 && f.rest[digits] >= '0' && f.rest[digits] <= '9' {
		n = n*10 + int64(f.rest[digits]-'0')
		digits++
	}
	f.bad = digits == 0 || digits == 18 || f.rest[0] == '0' && (digits > 1 || negative)
	f.rest = f.rest[digits:]
	if negative {
		return -n
	}
	return n
}

// status returns the status behind prefix. It allocates nothing for those that are known.
func (f *fast) status(prefix string) Status {
	for _, s := range Statuses() {
		n := len(prefix) + len(s)
		if len(f.rest) > n && f.rest[n] == '"' && string(f.rest[len(prefix):n]) == string(s) && f.cut(prefix) {
			f.rest = f.rest[len(s)+1:]
			return s
		}
	}
	return Status(f.string(prefix))
}

// string returns the string behind prefix, which ends in its opening quote; "" if the rest does not begin so.
func (f *fast) string(prefix string) string {
	if f.bad || !f.cut(prefix) {
		return ""
	}
	end := 0
	for end < len(f.rest) && isPlain[f.rest[end]] {
		end++
	}
	if end < len(f.rest) && f.rest[end] == '"' {
		s := string(f.rest[:end])
		f.rest = f.rest[end+1:]
		return s
	}
	end = closingQuote(f.rest)
	if end < 0 {
		f.bad = true
		return ""
	}
	s, err := jsontext.AppendUnquote(nil, append(append([]byte{'"'}, f.rest[:end]...), '"'))
	f.bad = err != nil
	f.rest = f.rest[end+1:]
	return string(s)
}

// skipString is string for a string that is not needed.
func (f *fast) skipString(prefix string) {
	if f.bad || !f.cut(prefix) {
		return
	}
	end := closingQuote(f.rest)
	if f.bad = end < 0; !f.bad {
		f.rest = f.rest[end+1:]
	}
}

// isPlain says of each byte whether it is a character of a string by itself.
var isPlain = func() (t [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// closingQuote returns the index of the first quote in s that is not escaped, or -1.
func closingQuote(s []byte) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

func (f *fast) digest(prefix string) group.Digest {
	text := f.string(prefix)
	if text == "" {
		return group.Digest{}
	}
	d, err := group.ParseDigest(text)
	f.bad = f.bad || err != nil
	return d
}
