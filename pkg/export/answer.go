package export

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
)

// Fields of an answer of get_group_info (tencentcloud.com/document/product/1047/34962).
const (
	answerMaxMembers = "MaxMemberNum" // import_group's MaxMemberCount
	answerCode       = "ErrorCode"    // of this group: not 0 if the service has not told of it
	answerID         = "GroupId"
	codeNoGroup      = 10010

	// ownPrefix begins the IDs that the service gave. No other may: import_group refuses them.
	ownPrefix = "@TGS#"
)

// answer makes of an element of an answer of get_group_info a record, and decodes it: what import_group does not know is
// dropped and counted, MaxMemberNum is renamed, and an ID that the service gave loses its prefix, so that the group keeps
// one of its own. A group that the service says it does not have is left out.
func (r *Reader) answer(e *Entry) {
	members, err := membersOf(e.Raw)
	if err != nil {
		r.decode(e) // which says what is wrong
		return
	}
	community := false
	for _, m := range members {
		switch {
		case m.name == answerCode && string(m.value) != "0" && m.value.Kind() == '0':
			if string(m.value) == fmt.Sprint(codeNoGroup) {
				e.Skipped = "get_group_info answered that there is no such group (10010)"
			} else {
				e.Problem = &group.Error{Problems: []group.Problem{{
					Field: answerCode, Rule: group.RuleAnswer, Message: "get_group_info has no profile of this group, its ErrorCode is " + string(m.value),
				}}}
			}
			return
		case m.name == "Type" && string(m.value) == `"Community"`:
			community = true
		}
	}
	out := append(r.scratch[:0], '{')
	source, cut := "", false
	for _, m := range members {
		switch {
		case m.name == answerMaxMembers:
			m.name, m.quoted = "MaxMemberCount", []byte(`"MaxMemberCount"`)
			if string(m.value) == "0" {
				continue // no limit of its own
			}
		case m.name == answerID:
			source = strings.Trim(string(m.value), `"`)
			if rest, ok := strings.CutPrefix(string(m.value), `"`+ownPrefix); ok && rest != `"` && !community {
				m.value, cut = jsontext.Value(`"`+rest), true
				r.drop("the prefix " + ownPrefix + " of GroupId")
			}
		case !group.IsField(m.name):
			r.drop(m.name)
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, m.quoted...), ':'), m.value...)
	}
	r.scratch = append(out, '}')
	e.Raw = r.scratch
	r.decode(e)
	if e.Problem == nil {
		e.Source = source
		if cut {
			e.Changed = []string{answerID}
		}
	}
}

// A member is one of a JSON object.
type member struct {
	name   string
	quoted []byte
	value  jsontext.Value
}

// membersOf returns the members of a JSON object, as pieces of raw: those before the error if there is one.
func membersOf(raw []byte) ([]member, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return nil, errors.New("no object")
	}
	piece := func() (jsontext.Value, error) {
		v, err := dec.ReadValue()
		end := dec.InputOffset()
		return raw[end-int64(len(v)) : end], err
	}
	var members []member
	for dec.PeekKind() == '"' {
		quoted, err := piece()
		if err != nil {
			return members, err
		}
		value, err := piece()
		if err != nil {
			return members, err
		}
		name, _ := jsontext.AppendUnquote(nil, quoted) // what is not UTF-8 is no field's name
		members = append(members, member{string(name), quoted, value})
	}
	_, err := dec.ReadToken()
	return members, err
}
