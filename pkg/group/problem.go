package group

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
)

// A Rule is what a record may break, a word for programs.
type Rule string

// The rules. Those of the last group are not about a field but about how the record stands in its export.
const (
	RuleMissing    Rule = "missing"    // the field is required
	RuleUnknown    Rule = "unknown"    // no field has this name
	RuleTwice      Rule = "twice"      // it stands more than once
	RuleKind       Rule = "kind"       // a string where a number is wanted, and the like
	RuleValue      Rule = "value"      // it is none of those that are allowed
	RuleAVChatRoom Rule = "avchatroom" // a Type that cannot be imported
	RuleRange      Rule = "range"      // the number is too low or too high
	RuleLength     Rule = "length"     // it has too many bytes
	RuleCount      Rule = "count"      // it has too many entries
	RuleCharacters Rule = "characters" // it holds some that are not allowed
	RulePrefix     Rule = "prefix"     // it begins with what it must not, or not with what it must
	RuleUTF8       Rule = "utf-8"      // it is none

	RuleJSON    Rule = "json"    // it is no JSON object
	RuleRow     Rule = "row"     // its row has not the cells of the header
	RuleSize    Rule = "size"    // it is too long to be read
	RuleMapping Rule = "mapping" // the mapping made no record of it
	RuleAnswer  Rule = "answer"  // get_group_info has an error in its place
)

// A Problem is one rule that a record breaks.
type Problem struct {
	Field   string // name of the field, empty if the record as a whole is meant
	Rule    Rule   // empty for what only counts others
	Message string // a sentence for people that begins with the field's name
}

// An Error is all that is wrong with a record. It holds at least one problem.
type Error struct {
	Problems []Problem
	GroupID  string // the record's, if it has one that can be read, valid or not
}

// Error joins the problems' messages.
func (e *Error) Error() string {
	messages := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		messages[i] = p.Message
	}
	return strings.Join(messages, "; ")
}

// Field returns the field of the first problem that names one.
func (e *Error) Field() string {
	for _, p := range e.Problems {
		if p.Field != "" {
			return p.Field
		}
	}
	return ""
}

// Rule returns the rule of the first problem that names a field, or else of the first problem.
func (e *Error) Rule() Rule {
	for _, p := range e.Problems {
		if p.Field != "" {
			return p.Rule
		}
	}
	return e.Problems[0].Rule
}

// Code returns the service's own code for what is wrong where the document names one, or 0.
func (e *Error) Code() int {
	for _, p := range e.Problems {
		if p.Rule == RuleAVChatRoom {
			return codeNoPermission
		}
	}
	return 0
}

// hints are for names that people write because other calls of the service know them.
var hints = map[string]string{
	"MemberList":             "import_group takes no members, import_group_member does",
	"MemberNum":              "import_group takes no members, import_group_member does",
	"InviteJoinOption":       "create_group knows it, import_group's document does not",
	"AppMemberDefinedData":   "it belongs to members, not to groups",
	"ShutUpAllMember":        "modify_group_base_info sets it afterwards",
	"ErrorCode":              "this looks like an answer of get_group_info",
	"Appid":                  "this looks like an answer of get_group_info",
	"LastInfoTime":           "this looks like an answer of get_group_info",
	"GroupInfo":              "this looks like an answer of get_group_info",
	"MaxMemberNum":           `import_group calls it "MaxMemberCount"`,
	"NextMsgSeq":             "this looks like an answer of get_group_info",
	"LastMsgTime":            "this looks like an answer of get_group_info",
	"AVChatRoomMaxMemberNum": "import_group takes no AVChatRoom",
}

// UnknownField says that name is no field, and which one is probably meant.
func UnknownField(name string) Problem {
	p := Problem{Field: clip(name), Rule: RuleUnknown, Message: fmt.Sprintf("unknown field %q", clip(name))}
	if hint, ok := hints[name]; ok {
		p.Message += ": " + hint
		return p
	}
	if known := nearest(name, fieldNames); known != "" {
		p.Message += fmt.Sprintf(", did you mean %q?", known)
	}
	return p
}

// nearest returns the one of known that name is probably a slip of, or "".
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

// clip shortens foreign text so that a message stays readable and an outcome small.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	cut := strings.ToValidUTF8(s[:most], "")
	return cut + "…"
}
