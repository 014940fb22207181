package export

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
)

// Fields of a get_group_info response (tencentcloud.com/document/product/1047/34962).
const (
	responseMaxMembers = "MaxMemberNum" // import_group's MaxMemberCount
	responseCode       = "ErrorCode"    // of this group; 0 means success
	responseID         = "GroupId"
	codeNoGroup        = 10010

	maxMemberNames = 100 // dropped fields of members that are counted

	// servicePrefix starts the IDs that the service assigned. import_group rejects other IDs with this prefix.
	servicePrefix = "@TGS#"
)

// convertResponse converts an element of a get_group_info response to a record and decodes it. It drops and counts
// fields unknown to import_group, renames MaxMemberNum and cuts the prefix of an ID that the service assigned. It skips
// a group that does not exist.
func (r *Reader) convertResponse(e *Entry) {
	members, err := membersOf(e.Raw)
	if err != nil {
		r.decode(e) // reports the problem
		return
	}
	community := false
	for _, m := range members {
		switch {
		case m.name == responseCode && string(m.value) != "0" && m.value.Kind() == '0':
			if string(m.value) == fmt.Sprint(codeNoGroup) {
				e.Skipped = "get_group_info reported that the group does not exist (10010)"
			} else {
				e.Problem = &group.Error{Problems: []group.Problem{{
					Field: responseCode, Rule: group.RuleResponse,
					Message: "get_group_info reported ErrorCode " + cut(string(m.value), maxName) + " for this group",
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
		case m.name == responseMaxMembers:
			m.name, m.quoted = "MaxMemberCount", []byte(`"MaxMemberCount"`)
			if string(m.value) == "0" {
				continue // the group has no limit
			}
		case m.name == responseID:
			source = strings.Trim(string(m.value), `"`)
			if rest, ok := strings.CutPrefix(string(m.value), `"`+servicePrefix); ok && rest != `"` && !community {
				m.value, cut = jsontext.Value(`"`+rest), true
				r.drop("the prefix " + servicePrefix + " of GroupId")
			}
		case m.name == memberList && m.value.Kind() == '[':
			m.value = r.convertMembers(m.value)
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
	if cut {
		e.Changed = []string{responseID}
	}
	r.decodeTranslated(e)
	if e.Problem != nil {
		e.Changed = nil
		return
	}
	e.Source = source
}

// convertMembers returns the MemberList of a response without the fields that import_group_member does not accept,
// which it counts.
func (r *Reader) convertMembers(list jsontext.Value) jsontext.Value {
	var entries []jsontext.Value
	if err := json.Unmarshal(list, &entries, tolerant); err != nil {
		return list // the decoder reports the problem
	}
	out := append(r.members[:0], '[')
	dropped := map[string]bool{} // in this record
	for i, entry := range entries {
		if i > 0 {
			out = append(out, ',')
		}
		fields, err := membersOf(entry)
		if err != nil {
			out = append(out, entry...)
			continue
		}
		out = append(out, '{')
		first := true
		for _, f := range fields {
			switch f.name {
			case "Member_Account", "Role", "JoinTime":
			default:
				if !dropped[f.name] && len(dropped) < maxMemberNames {
					dropped[f.name] = true
					r.drop(memberList + "." + f.name)
				}
				continue
			}
			if !first {
				out = append(out, ',')
			}
			out, first = append(append(append(out, f.quoted...), ':'), f.value...), false
		}
		out = append(out, '}')
	}
	r.members = append(out, ']')
	return r.members
}

// A member is a member of a JSON object.
type member struct {
	name   string
	quoted []byte
	value  jsontext.Value
}

// membersOf returns the members of a JSON object as slices of raw. On error, it returns the members before the error.
func membersOf(raw []byte) ([]member, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return nil, errors.New("not an object")
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
		name, _ := jsontext.AppendUnquote(nil, quoted) // no field name has invalid UTF-8
		members = append(members, member{string(name), quoted, value})
	}
	_, err := dec.ReadToken()
	return members, err
}
