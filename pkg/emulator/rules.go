package emulator

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// readGroup reads and validates the body of import_group. Lengths are in bytes of UTF-8.
//
// It is stricter than the documents: it rejects unlisted members, null, and numbers not written as integers with 10004.
func (s *Service) readGroup(body []byte) (Group, error) {
	o := readObject(body, "Owner_Account", "Type", "GroupId", "Name", "Introduction", "Notification", "FaceUrl",
		"MaxMemberCount", "ApplyJoinOption", "AppDefinedData", "CreateTime", "SupportTopic")
	g := s.readFields(o)
	g.CreateTime = o.integer("CreateTime", 0, 1<<63-1) // no document forbids a time in the future
	if g.Type == "AVChatRoom" {
		return g, codeErrorf(10007, "groups of Type AVChatRoom cannot be imported")
	}
	o.checkType(g.Type)
	if err := s.checkGroup(o, g); err != nil {
		return g, err
	}
	if !o.has("CreateTime") {
		g.CreateTime = time.Now().Unix()
	}
	return g, nil
}

// readFields reads the fields that several commands have. An absent field is zero.
func (s *Service) readFields(o *object) Group {
	name, introduction, notification, face := 30, 240, 300, 100
	if s.ExtendedLengths {
		name, introduction, notification, face = 100, 400, 400, 500
	}
	g := Group{
		Type:            o.text("Type", 32),
		GroupID:         o.text("GroupId", maxBody),
		Name:            o.text("Name", name),
		Owner:           o.text("Owner_Account", 32),
		Introduction:    o.text("Introduction", introduction),
		Notification:    o.text("Notification", notification),
		FaceURL:         o.text("FaceUrl", face),
		MaxMemberCount:  o.integer("MaxMemberCount", 1, 1_000_000),
		ApplyJoinOption: o.text("ApplyJoinOption", 32),
		AppDefinedData:  o.pairs("AppDefinedData"),
		SupportTopic:    o.integer("SupportTopic", 0, 1), // in the examples of 2024, not in the document of 2022
	}
	o.option("ApplyJoinOption")
	return g
}

func (o *object) checkType(kind string) {
	switch kind {
	case "Public", "Private", "ChatRoom", "Community":
	default: // also Work and Meeting: no document says that import_group accepts these newer names
		o.fail("Type is not Public, Private, ChatRoom or Community")
	}
}

// checkGroup checks the rules of a new group.
func (s *Service) checkGroup(o *object, g Group) error {
	if limit := maxMembers(g.Type); g.MaxMemberCount > limit {
		o.fail("MaxMemberCount is more than " + strconv.FormatInt(limit, 10))
	}
	if g.Name == "" {
		o.fail("Name is missing")
	}
	if !printable(g.Owner) {
		o.fail("Owner_Account is not printable ASCII")
	}
	if o.has("SupportTopic") && g.Type != "Community" {
		o.fail("SupportTopic requires a Community")
	}
	if o.err != nil {
		return o.err
	}
	if !isValidID(g.GroupID, g.Type) {
		return codeErrorf(10015, "GroupId is invalid")
	}
	if s.isSensitive(g) {
		return codeErrorf(80001, "sensitive words")
	}
	if g.Owner != "" && !s.HasAccount(g.Owner) { // no document says that import_group checks it: the stricter reading
		return codeErrorf(10019, "Owner_Account does not exist")
	}
	return nil
}

func (s *Service) isSensitive(g Group) bool {
	return slices.ContainsFunc(s.SensitiveWords, func(word string) bool {
		return strings.Contains(g.Name+"\n"+g.Introduction+"\n"+g.Notification, word)
	})
}

// maxMembers returns the maximum MaxMemberCount of a type, in the highest plan (trtc.io/document/33529, 2025). The
// service's response to a higher count is not documented.
func maxMembers(kind string) int64 {
	switch kind {
	case "Community":
		return 1_000_000
	case "ChatRoom":
		return 10_000 // the limit of Meeting groups in older apps; 6,000 today
	}
	return 6000
}

// isValidID reports whether a GroupId is valid for a type of group. An empty ID is valid.
func isValidID(id, kind string) bool {
	switch {
	case id == "":
		return true
	case len(id) > 48 || !printable(id): // the English document says "less than 48", the Chinese one 48
		return false
	case kind == "Community":
		return strings.HasPrefix(id, "@TGS#_")
	}
	return !strings.HasPrefix(id, "@TGS#")
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

// isValidKey reports whether a key of AppDefinedData is valid.
func isValidKey(key string) bool {
	if key == "" || len(key) > 16 || key[0] >= '0' && key[0] <= '9' {
		return false
	}
	return !strings.ContainsFunc(key, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// An object reads the members of a JSON object. err is the first error.
type object struct {
	members []member
	err     error
}

// A member is a member of a JSON object.
type member struct {
	name  string
	value jsontext.Value
}

// readObject parses an object that may have only the known members, in exact case. Invalid UTF-8, lone surrogates and
// duplicate names are syntax errors.
func readObject(data []byte, known ...string) *object {
	var o object
	switch {
	case json.Unmarshal(data, &o) == nil:
	case !jsontext.Value(data).IsValid():
		o = object{err: codeErrorf(60003, "the body is not JSON")}
	default:
		o = object{}
		o.fail("the body is not a JSON object")
	}
	unknown := "" // the first in alphabetical order
	for _, m := range o.members {
		if !slices.Contains(known, m.name) && (unknown == "" || m.name < unknown) {
			unknown = m.name
		}
	}
	if unknown != "" {
		o.fail("unknown member " + unknown)
	}
	return &o
}

var errNoObject = errors.New("not a JSON object")

// UnmarshalJSONFrom reads the members without their values.
func (o *object) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '{' {
		return errNoObject
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		m := member{name: name.String()}
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		m.value = value.Clone()
		o.members = append(o.members, m)
	}
	_, err := dec.ReadToken()
	return err
}

// value returns the value of a member, nil if absent.
func (o *object) value(name string) jsontext.Value {
	for _, m := range o.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

func (o *object) fail(info string) {
	if o.err == nil {
		o.err = codeErrorf(10004, "%s", info)
	}
}

func (o *object) has(name string) bool { return o.value(name) != nil }

// text returns a string of at most maxBytes bytes, empty if absent.
func (o *object) text(name string, maxBytes int) string {
	if !o.has(name) {
		return ""
	}
	var s string
	switch v := o.value(name); {
	case v.Kind() != '"':
		o.fail(name + " is not a string")
	case !bytes.ContainsRune(v, '\\'):
		s = string(v[1 : len(v)-1])
	case json.Unmarshal(v, &s) != nil:
		o.fail(name + " is not a string")
	}
	if len(s) > maxBytes {
		o.fail(name + " is " + strconv.Itoa(len(s)) + " bytes, limit " + strconv.Itoa(maxBytes))
	}
	return s
}

// integer returns an integer from low to high, zero if absent.
func (o *object) integer(name string, low, high int64) int64 {
	if !o.has(name) {
		return 0
	}
	n, err := strconv.ParseInt(string(o.value(name)), 10, 64)
	if err != nil {
		o.fail(name + " is not an integer")
	} else if n < low || n > high {
		o.fail(name + " is not from " + strconv.FormatInt(low, 10) + " to " + strconv.FormatInt(high, 10))
	}
	return n
}

// list returns the elements of an array, nil if absent.
func (o *object) list(name string) []jsontext.Value {
	if !o.has(name) {
		return nil
	}
	var values []jsontext.Value
	if v := o.value(name); v.Kind() != '[' || json.Unmarshal(v, &values) != nil {
		o.fail(name + " is not an array")
	}
	return values
}

// texts returns the elements of an array of strings, nil if absent.
func (o *object) texts(name string) []string {
	var texts []string
	for i, v := range o.list(name) {
		element := object{members: []member{{name, v}}}
		texts = append(texts, element.text(name, maxBody))
		if element.err != nil {
			o.fail(name + "[" + strconv.Itoa(i) + "] is not a string")
		}
	}
	return texts
}

// pairs returns an array of keys and values. The limit of 10 is from 2025; older documents say 20.
func (o *object) pairs(name string) []Pair {
	var pairs []Pair
	for i, v := range o.list(name) {
		at := name + "[" + strconv.Itoa(i) + "]"
		element := readObject(v, "Key", "Value")
		p := Pair{element.text("Key", 16), element.text("Value", 512)}
		switch {
		case element.err != nil:
			o.fail(at + ": " + element.err.Error())
		case !element.has("Value"):
			o.fail(at + ": Value is missing")
		case !isValidKey(p.Key):
			o.fail(at + ": Key is invalid")
		case slices.ContainsFunc(pairs, func(q Pair) bool { return q.Key == p.Key }):
			o.fail(at + ": duplicate Key")
		}
		pairs = append(pairs, p)
	}
	if len(pairs) > 10 {
		o.fail(name + " has " + strconv.Itoa(len(pairs)) + " keys, limit 10")
	}
	return pairs
}

// peek returns the GroupId and the Name in a body, for [Faults.Plan]. They are empty if the body is invalid.
func peek(body []byte) (id, name string) {
	var b struct {
		GroupID string `json:"GroupId"`
		Name    string
	}
	if json.Unmarshal(body, &b) != nil {
		return "", ""
	}
	return b.GroupID, b.Name
}
