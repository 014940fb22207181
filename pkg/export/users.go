package export

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
)

// Users translates the accounts of another system to accounts of the app.
type Users interface {
	// Account returns the account of the user with an ID in the other system. ok is false if the user is unknown.
	Account(id string) (account string, ok bool)
}

// Fields of a record that are accounts.
const (
	ownerAccount  = "Owner_Account"
	memberAccount = "Member_Account"
)

// decodeTranslated translates the accounts of a record in import_group's format and decodes the record. If the Source is
// strict, a record with an unknown account is {"untranslated": …}, so that it is translated when it is read again.
// Otherwise an unknown owner and unknown members are left out.
func (r *Reader) decodeTranslated(e *Entry) {
	if r.src.Users == nil {
		r.decode(e)
		return
	}
	tr := translation{users: r.src.Users, out: r.translated[:0]}
	if err := tr.record(e.Raw); err != nil {
		r.decode(e) // reports the problem
		return
	}
	r.translated = tr.out
	switch {
	case len(tr.unknown) > 0 && r.src.StrictUsers:
		e.Problem = tr.problem()
		r.wrapped = append(append(append(r.wrapped[:0], `{"untranslated":`...), e.Raw...), '}')
		e.Raw = r.wrapped
	case tr.isLeftOut:
		e.Skipped = fmt.Sprintf("the account %q is not in the table of users", tr.unknown[0])
	default:
		e.Raw = tr.out
		e.Changed = inOrder(e.Changed, tr.changed)
		r.decode(e)
	}
}

// inOrder returns the fields of both lists in the order of [group.Fields], each once.
func inOrder(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	return slices.DeleteFunc(group.Fields(), func(name string) bool { return !slices.Contains(a, name) && !slices.Contains(b, name) })
}

// untranslatedOf returns the record in {"untranslated": …}.
func untranslatedOf(raw []byte) ([]byte, bool) {
	var u struct {
		Untranslated jsontext.Value `json:"untranslated"`
	}
	err := json.Unmarshal(raw, &u, tolerant, json.RejectUnknownMembers(true))
	return u.Untranslated, err == nil && u.Untranslated != nil
}

// A translation is the translation of one record.
type translation struct {
	users     Users
	out       []byte
	changed   []string // fields without the unknown accounts
	unknown   []string // the first unknown accounts
	count     int      // unknown accounts
	isLeftOut bool     // the record is an unknown member
	scratch   []byte
}

// record appends a record to out with its accounts translated and without unknown ones. What is malformed stays as it is:
// the decoder reports it.
func (tr *translation) record(raw []byte) error {
	fields, err := membersOf(raw)
	if err != nil {
		return err
	}
	tr.out = append(tr.out, '{')
	for _, f := range fields {
		switch {
		case f.name == ownerAccount || f.name == memberAccount:
			start := len(tr.out)
			tr.name(f.quoted)
			if !tr.account(f.value) {
				tr.out = tr.out[:start]
				tr.changed = append(tr.changed, f.name)
				tr.isLeftOut = tr.isLeftOut || f.name == memberAccount
			}
		case f.name == memberList && f.value.Kind() == '[':
			tr.name(f.quoted)
			if err := tr.list(f.value); err != nil {
				return err
			}
		default:
			tr.name(f.quoted)
			tr.out = append(tr.out, f.value...)
		}
	}
	tr.out = append(tr.out, '}')
	return nil
}

// name appends the name of a member of an object.
func (tr *translation) name(quoted []byte) {
	if tr.out[len(tr.out)-1] != '{' {
		tr.out = append(tr.out, ',')
	}
	tr.out = append(append(tr.out, quoted...), ':')
}

// list appends a MemberList without the entries of unknown accounts.
func (tr *translation) list(list jsontext.Value) error {
	var entries []jsontext.Value
	if err := json.Unmarshal(list, &entries, tolerant); err != nil {
		return err
	}
	tr.out = append(tr.out, '[')
	isShorter := false
	for _, entry := range entries {
		start := len(tr.out)
		if tr.out[start-1] != '[' {
			tr.out = append(tr.out, ',')
		}
		if entry.Kind() != '{' {
			tr.out = append(tr.out, entry...)
			continue
		}
		fields, err := membersOf(entry)
		if err != nil {
			return err
		}
		tr.out = append(tr.out, '{')
		isKnown := true
		for _, f := range fields {
			tr.name(f.quoted)
			if f.name != memberAccount {
				tr.out = append(tr.out, f.value...)
			} else if !tr.account(f.value) {
				isKnown = false
			}
		}
		if tr.out = append(tr.out, '}'); !isKnown {
			tr.out, isShorter = tr.out[:start], true
		}
	}
	tr.out = append(tr.out, ']')
	if isShorter {
		tr.changed = append(tr.changed, memberList)
	}
	return nil
}

// account appends the translation of a value. It reports false for an unknown account, and appends what is no account.
func (tr *translation) account(v jsontext.Value) bool {
	id, err := jsontext.AppendUnquote(tr.scratch[:0], v)
	tr.scratch = id
	if v.Kind() != '"' || err != nil || len(id) == 0 {
		tr.out = append(tr.out, v...)
		return true
	}
	account, ok := tr.users.Account(string(id))
	if ok {
		tr.out = appendQuoted(tr.out, []byte(account))
		return true
	}
	const maxUnknown = 3
	if tr.count++; len(tr.unknown) < maxUnknown {
		tr.unknown = append(tr.unknown, cut(string(id), maxName))
	}
	return false
}

// problem returns the problem of a record with unknown accounts.
func (tr *translation) problem() *group.Error {
	quoted := make([]string, len(tr.unknown))
	for i, id := range tr.unknown {
		quoted[i] = strconv.Quote(id)
	}
	message := strings.Join(quoted, ", ")
	if more := tr.count - len(tr.unknown); more > 0 {
		message += fmt.Sprintf(" and %d more", more)
	}
	return &group.Error{Problems: []group.Problem{{
		Field: tr.changed[0], Rule: group.RuleMapping,
		Message: "not in the table of users: " + message + ": add them, and import this record again",
	}}}
}
