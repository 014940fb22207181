package group

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
)

// A Rule identifies a validation rule. The values are part of the results format.
type Rule string

// Rules for fields.
const (
	RuleMissing    Rule = "missing"    // required field missing
	RuleUnknown    Rule = "unknown"    // unknown field name
	RuleDuplicate  Rule = "twice"      // duplicate field
	RuleKind       Rule = "kind"       // wrong JSON type
	RuleValue      Rule = "value"      // not one of the allowed values
	RuleAVChatRoom Rule = "avchatroom" // a Type that cannot be imported
	RuleRange      Rule = "range"      // number out of range
	RuleLength     Rule = "length"     // too many bytes
	RuleCount      Rule = "count"      // too many entries
	RuleCharacters Rule = "characters" // invalid characters
	RulePrefix     Rule = "prefix"     // forbidden prefix, or required prefix missing
	RuleUTF8       Rule = "utf-8"      // not valid UTF-8
)

// Rules for the record as a whole.
const (
	RuleJSON     Rule = "json"    // not a JSON object
	RuleRow      Rule = "row"     // CSV row does not match the header
	RuleSize     Rule = "size"    // record too long
	RuleMapping  Rule = "mapping" // the mapping failed
	RuleResponse Rule = "answer"  // get_group_info returned an error for this group
)

// A Problem is one violation of a rule.
type Problem struct {
	Field   string // name of the field, empty for the record as a whole
	Rule    Rule   // empty if Message only counts further problems
	Message string // for operators; names the field

	// Value is the field's value, in JSON without spaces. It is only that of a member in a list, and empty if it is
	// longer than 256 bytes, is not valid UTF-8, or the field occurs more than once.
	Value string
}

// An Error lists the problems of an invalid record. It has at least one problem.
type Error struct {
	Problems []Problem
	GroupID  string // the record's GroupId, valid or not; empty if unknown
}

// Error joins the problems' messages.
func (e *Error) Error() string {
	messages := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		messages[i] = p.Message
	}
	return strings.Join(messages, "; ")
}

// Field returns the field of the first problem that has one, "" if none has.
func (e *Error) Field() string {
	for _, p := range e.Problems {
		if p.Field != "" {
			return p.Field
		}
	}
	return ""
}

// Rule returns the rule of the first problem that has a field, else of the first problem.
func (e *Error) Rule() Rule {
	for _, p := range e.Problems {
		if p.Field != "" {
			return p.Rule
		}
	}
	return e.Problems[0].Rule
}

// Code returns the service's documented error code for the problems, 0 if there is none.
func (e *Error) Code() int {
	for _, p := range e.Problems {
		if p.Rule == RuleAVChatRoom {
			return codeNoPermission
		}
	}
	return 0
}

// hints explain field names that other calls of the service accept.
var hints = map[string]string{
	"members":                `write the members as "MemberList": [{"Member_Account": …}]`,
	"Members":                `write the members as "MemberList": [{"Member_Account": …}]`,
	"MemberNum":              "the service counts the members itself",
	"InviteJoinOption":       "create_group accepts it, import_group does not document it",
	"AppMemberDefinedData":   setMemberLater,
	"NameCard":               setMemberLater,
	"ShutUpAllMember":        "set it with modify_group_base_info after the import",
	"ErrorCode":              "this looks like a get_group_info response",
	"Appid":                  "this looks like a get_group_info response",
	"LastInfoTime":           "this looks like a get_group_info response",
	"GroupInfo":              "this looks like a get_group_info response",
	"MaxMemberNum":           `import_group calls it "MaxMemberCount"`,
	"NextMsgSeq":             "this looks like a get_group_info response",
	"LastMsgTime":            "this looks like a get_group_info response",
	"AVChatRoomMaxMemberNum": "import_group does not accept AVChatRoom groups",
}

// UnknownField returns the problem of an unknown field, with the most similar known name. The export calls it a noun:
// field or column.
func UnknownField(noun, name string) Problem {
	p := Problem{Field: clip(name), Rule: RuleUnknown, Message: fmt.Sprintf("unknown %s %q", noun, clip(name))}
	if hint, ok := hints[name]; ok {
		p.Message += ": " + hint
		return p
	}
	if known := nearest(name, fieldNames); known != "" {
		p.Message += fmt.Sprintf(", did you mean %q?", known)
	}
	return p
}

// nearest returns the name in known that is most similar to name, "" if none is similar enough.
func nearest(name string, known []string) string {
	if len(name) > 64 {
		return ""
	}
	folded := strings.ToLower(name)
	best, at := "", max(2, len(name)/3)+1
	for _, k := range known {
		d := levenshtein.ComputeDistance(folded, strings.ToLower(k))
		if len(folded) >= 4 && strings.HasPrefix(strings.ToLower(k), folded) {
			d = 1
		}
		if d < at {
			best, at = k, d
		}
	}
	return best
}

// clip shortens input text for messages and outcomes.
func clip(s string) string {
	const maxClip = 64 // bytes
	if len(s) <= maxClip {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	cut := strings.ToValidUTF8(s[:maxClip], "")
	return cut + "…"
}
