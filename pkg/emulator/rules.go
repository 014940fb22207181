package emulator

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// readGroup reads the body of import_group and holds it against the rules. Lengths are in bytes of UTF-8.
//
// Beyond the documents it refuses with 10004 what a careful client would not send: members that the
// document does not list, null, numbers that are not written as integers.
func (s *Service) readGroup(body []byte) (Group, error) {
	name, introduction, notification, face := 30, 240, 300, 100
	if s.ExtendedLengths {
		name, introduction, notification, face = 100, 400, 400, 500
	}
	o := readObject(body, "Owner_Account", "Type", "GroupId", "Name", "Introduction", "Notification", "FaceUrl",
		"MaxMemberCount", "ApplyJoinOption", "AppDefinedData", "CreateTime", "SupportTopic")
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
		CreateTime:      o.integer("CreateTime", 0, 1<<63-1), // no text forbids a time in the future
		SupportTopic:    o.integer("SupportTopic", 0, 1),     // not in the document of 2022, in the examples of 2024
	}
	switch g.Type {
	case "Public", "Private", "ChatRoom", "Community":
	case "AVChatRoom":
		return g, refuse(10007, "groups of Type AVChatRoom cannot be imported")
	default: // also Work and Meeting: whether import_group takes these newer names is nowhere said
		o.fail("Type is not Public, Private, ChatRoom or Community")
	}
	if most := maxMembers(g.Type); g.MaxMemberCount > most {
		o.fail("MaxMemberCount is more than " + strconv.FormatInt(most, 10))
	}
	if g.Name == "" {
		o.fail("Name is missing")
	}
	if !printable(g.Owner) {
		o.fail("Owner_Account has other than printable ASCII")
	}
	if o.has("ApplyJoinOption") &&
		!slices.Contains([]string{"FreeAccess", "NeedPermission", "DisableApply"}, g.ApplyJoinOption) {
		o.fail("ApplyJoinOption is not FreeAccess, NeedPermission or DisableApply")
	}
	if o.has("SupportTopic") && g.Type != "Community" {
		o.fail("SupportTopic is for a Community only")
	}
	if o.err != nil {
		return g, o.err
	}
	if !legalID(g.GroupID, g.Type) {
		return g, refuse(10015, "GroupId is illegal")
	}
	for _, word := range s.SensitiveWords {
		if strings.Contains(g.Name+"\n"+g.Introduction+"\n"+g.Notification, word) {
			return g, refuse(80001, "sensitive words")
		}
	}
	if !o.has("CreateTime") {
		g.CreateTime = time.Now().Unix()
	}
	return g, nil
}

// maxMembers returns the highest MaxMemberCount of a type: that of the highest plan (trtc.io/document/33529, 2025).
// What the service answers to a higher one is nowhere said.
func maxMembers(kind string) int64 {
	switch kind {
	case "Community":
		return 1_000_000
	case "ChatRoom":
		return 10_000 // of older apps, where it was the limit of Meeting groups; 6,000 today
	}
	return 6000
}

// legalID says whether a group of this type may have this GroupId. None at all is legal.
func legalID(id, kind string) bool {
	switch {
	case id == "":
		return true
	case len(id) > 48 || !printable(id): // a translation says "less than 48", the Chinese text 48
		return false
	case kind == "Community":
		return strings.HasPrefix(id, "@TGS#_")
	}
	return !strings.HasPrefix(id, "@TGS#")
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

// legalKey says whether AppDefinedData may have this key.
func legalKey(key string) bool {
	if key == "" || len(key) > 16 || key[0] >= '0' && key[0] <= '9' {
		return false
	}
	return !strings.ContainsFunc(key, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// An object is a JSON object whose members are taken out one by one. The first mistake stays in err.
type object struct {
	members map[string]jsontext.Value
	err     error
}

// readObject takes an object with no other members than those known, exactly as they are written. Invalid
// UTF-8, also as a lone surrogate, and doubled names are not JSON.
func readObject(data []byte, known ...string) *object {
	var o object
	if !jsontext.Value(data).IsValid() {
		o.err = refuse(60003, "the body is not JSON")
	} else if json.Unmarshal(data, &o.members) != nil || o.members == nil {
		o.fail("the body is no JSON object")
	}
	for _, name := range slices.Sorted(maps.Keys(o.members)) {
		if !slices.Contains(known, name) {
			o.fail(name + " is not known")
		}
	}
	return &o
}

func (o *object) fail(info string) {
	if o.err == nil {
		o.err = refuse(10004, "%s", info)
	}
}

func (o *object) has(name string) bool { return o.members[name] != nil }

// text returns a string of at most so many bytes, empty if absent.
func (o *object) text(name string, most int) string {
	if !o.has(name) {
		return ""
	}
	var s string
	if o.members[name].Kind() != '"' || json.Unmarshal(o.members[name], &s) != nil {
		o.fail(name + " is not a string")
	}
	if len(s) > most {
		o.fail(name + " has " + strconv.Itoa(len(s)) + " bytes, at most " + strconv.Itoa(most) + " are allowed")
	}
	return s
}

// integer returns an integer in a range, zero if absent.
func (o *object) integer(name string, least, most int64) int64 {
	if !o.has(name) {
		return 0
	}
	n, err := strconv.ParseInt(string(o.members[name]), 10, 64)
	if err != nil {
		o.fail(name + " is not an integer")
	} else if n < least || n > most {
		o.fail(name + " is not of " + strconv.FormatInt(least, 10) + " to " + strconv.FormatInt(most, 10))
	}
	return n
}

// list returns the elements of an array, none if absent.
func (o *object) list(name string) []jsontext.Value {
	if !o.has(name) {
		return nil
	}
	var values []jsontext.Value
	if o.members[name].Kind() != '[' || json.Unmarshal(o.members[name], &values) != nil {
		o.fail(name + " is not an array")
	}
	return values
}

// texts returns an array of strings.
func (o *object) texts(name string) []string {
	var texts []string
	for i, v := range o.list(name) {
		element := object{members: map[string]jsontext.Value{name: v}}
		texts = append(texts, element.text(name, maxBody))
		if element.err != nil {
			o.fail(name + "[" + strconv.Itoa(i) + "] is not a string")
		}
	}
	return texts
}

// pairs returns an array of keys and values. How many there may be is of 2025; older texts say 20.
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
		case !legalKey(p.Key):
			o.fail(at + ": Key is illegal")
		case slices.ContainsFunc(pairs, func(q Pair) bool { return q.Key == p.Key }):
			o.fail(at + ": Key is there twice")
		}
		pairs = append(pairs, p)
	}
	if len(pairs) > 10 {
		o.fail(name + " has " + strconv.Itoa(len(pairs)) + " keys, at most 10 are allowed")
	}
	return pairs
}

// peek returns what a body says about the group, for those who plan faults; nothing if it cannot be read.
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
