package group

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// A Member is an entry of a record's MemberList, or the one member of a member record. The rules are those of
// import_group_member (cloud.tencent.com/document/product/269/1636, 2026-01-27).
type Member struct {
	Account  string   // Member_Account, 1 to 32 bytes, the rules of Owner_Account; shortened if it is too long
	IsAdmin  bool     // Role "Admin"; "Member" or absent is false
	JoinTime int64    // Unix seconds; 0 if absent, then the time of the call
	Unread   int64    // UnreadMsgNum; 0 if absent
	Problem  *Problem // why this member cannot be sent; nil for a valid one
}

// AppendJSON appends m to dst as an entry of import_group_member's MemberList.
func (m *Member) AppendJSON(dst []byte) []byte { return m.appendFields(append(dst, '{')) }

// appendFields appends the fields of m and the closing brace.
func (m *Member) appendFields(dst []byte) []byte {
	dst = appendQuoted(append(dst, `"Member_Account":`...), m.Account)
	if m.IsAdmin {
		dst = append(dst, `,"Role":"Admin"`...)
	}
	if m.JoinTime != 0 {
		dst = strconv.AppendInt(append(dst, `,"JoinTime":`...), m.JoinTime, 10)
	}
	if m.Unread != 0 {
		dst = strconv.AppendInt(append(dst, `,"UnreadMsgNum":`...), m.Unread, 10)
	}
	return append(dst, '}')
}

// MembersSum returns a digest of the members of r that have no problem, in their order and in wire format. It is the
// zero Digest if there are none.
func (r *Record) MembersSum() Digest {
	sum := sha256.New()
	var buf []byte
	for i := range r.Members {
		if m := &r.Members[i]; m.Problem == nil {
			buf = m.AppendJSON(buf[:0])
			sum.Write(buf)
		}
	}
	if buf == nil {
		return Digest{}
	}
	return Digest(sum.Sum(nil)[:9])
}

const (
	// maxMembers is the maximum number of entries in a MemberList. It bounds memory: a record of 1 MiB has room for
	// 43,690 of the shortest valid entries, but for 350,000 empty objects.
	maxMembers = 50_000

	// maxMemberProblems is the number of members of a list whose problems contain values. Further problems have a general
	// message, to bound memory.
	maxMemberProblems = 1000
	// maxKeptValue is the maximum number of bytes of [Problem.Value].
	maxKeptValue = 256

	// maxIdle is the number of entries whose memory a Decoder keeps for the next record.
	maxIdle = 4096
)

// memberFields are the fields of a member, also of a member record.
var memberFields = []string{fieldMemberAccount, fieldRole, fieldJoinTime, fieldUnread}

// memberHints explain fields of members that other calls of the service accept.
var memberHints = map[string]string{
	"NameCard":             setMemberLater,
	"AppMemberDefinedData": setMemberLater,
	"MsgFlag":              setMemberLater,
	"ShutUpTime":           setMemberLater,
	"ShutUpUntil":          setMemberLater,
}

const setMemberLater = "import_group_member does not accept it, set it with modify_group_member_info after the import"

// A memberList collects the entries of a MemberList while they are read.
type memberList struct {
	entries []memberEntry
	text    []byte // the accounts, concatenated
	role    []byte // scratch
	seed    maphash.Seed
	index   map[uint64]int // 1 plus the index of the entry, by the hash of its account
	count   int            // entries, with duplicates

	next    memberEntry  // the entry that is read
	current *memberEntry // the entry whose problems are reported, nil outside of the list
	details int          // problems that contain values
	general map[Problem]*Problem
}

// A memberEntry is an entry of a memberList. Its account is text[start:end].
type memberEntry struct {
	Member
	start, end int
}

// reset prepares l for the next record.
func (l *memberList) reset() {
	if cap(l.entries) > maxIdle {
		*l = memberList{seed: l.seed}
	}
	l.entries, l.text, l.count, l.current, l.details, l.general = l.entries[:0], l.text[:0], 0, nil, 0, nil
	clear(l.index)
}

// fail sets the problem of the current entry. The first problem counts.
func (l *memberList) fail(field string, rule Rule, format string, args ...any) {
	if l.current.Problem != nil {
		return
	}
	if l.details++; l.details <= maxMemberProblems {
		l.current.Problem = &Problem{Field: field, Rule: rule, Message: fmt.Sprintf(format, args...)}
		return
	}
	if !slices.Contains(memberFields, field) {
		field = fieldMemberList
	}
	key := Problem{Field: field, Rule: rule}
	p, ok := l.general[key]
	if !ok {
		if l.general == nil {
			l.general = map[Problem]*Problem{}
		}
		p = &Problem{Field: field, Rule: rule, Message: fmt.Sprintf("%s breaks the rule %q", field, rule)}
		l.general[key] = p
	}
	l.current.Problem = p
}

// members reads the array of members.
func (d *Decoder) members() error {
	l := &d.list
	l.reset()
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	for ; d.dec.PeekKind() != ']'; l.count++ {
		var err error
		switch kind := d.dec.PeekKind(); {
		case kind != '{':
			var v jsontext.Value
			if v, err = d.dec.ReadValue(); err == nil {
				d.problem(fieldMemberList, RuleKind, "MemberList[%d] must be an object with Member_Account, not %s",
					l.count, describe(v))
			}
		case l.count >= maxMembers:
			err = d.dec.SkipValue()
		default:
			err = d.member()
		}
		if err != nil {
			return err
		}
	}
	if l.count > maxMembers {
		d.problem(fieldMemberList, RuleCount, "MemberList has %d entries, limit %d: write member records instead",
			l.count, maxMembers)
	}
	_, err := d.dec.ReadToken()
	return err
}

// member reads one entry and adds it to the list, unless the list has its account already.
func (d *Decoder) member() error {
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	l := &d.list
	l.next = memberEntry{start: len(l.text), end: len(l.text)}
	l.current = &l.next
	defer func() { l.current = nil }()
	var seen uint32
	for d.dec.PeekKind() != '}' {
		quoted, err := d.dec.ReadValue()
		if err != nil {
			return err
		}
		field := memberField(quoted)
		before := l.current.Problem
		if field < 0 {
			l.unknown(quoted)
		} else if seen&(1<<field) != 0 {
			l.fail(memberFields[field], RuleDuplicate, "duplicate field %s", memberFields[field])
		}
		v, err := d.dec.ReadValue()
		switch {
		case err != nil:
			return err
		case field >= 0 && seen&(1<<field) == 0 && v.Kind() != 'n':
			d.memberValue(memberFields[field], v)
		}
		isOwn := l.current.Problem != before && l.details <= maxMemberProblems // and not shared by many members
		if isOwn && (field < 0 || seen&(1<<field) == 0) {
			l.current.Problem.keep(v)
		}
		if field >= 0 {
			seen |= 1 << field
		}
	}
	l.add(&l.next)
	_, err := d.dec.ReadToken()
	return err
}

// keep sets Value.
func (p *Problem) keep(v jsontext.Value) {
	if len(v) > maxKeptValue {
		return
	}
	v = slices.Clone(v)
	if v.Compact() == nil { // and it is valid UTF-8
		p.Value = string(v)
	}
}

// memberField returns the index of a quoted name in memberFields, -1 if it is unknown.
func memberField(quoted jsontext.Value) int {
	bare := quoted[1 : len(quoted)-1]
	for i, name := range memberFields {
		if string(bare) == name {
			return i
		}
	}
	if bytes.IndexByte(bare, '\\') < 0 {
		return -1
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return -1
	}
	return slices.Index(memberFields, string(text))
}

// unknown sets the problem of an unknown field.
func (l *memberList) unknown(quoted jsontext.Value) {
	if l.current.Problem != nil {
		return
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	name := clip(string(text))
	if err != nil {
		l.fail(fieldMemberList, RuleUTF8, "a field's name is not valid UTF-8: %q", name)
		return
	}
	hint := ""
	if h, ok := memberHints[name]; ok {
		hint = ": " + h
	} else if l.details < maxMemberProblems {
		if near := nearest(name, memberFields); near != "" {
			hint = fmt.Sprintf(", did you mean %q?", near)
		}
	}
	l.fail(name, RuleUnknown, "unknown field %q in an entry of MemberList%s", name, hint)
}

// memberValue reads a field of the current entry.
func (d *Decoder) memberValue(name string, v jsontext.Value) {
	l := &d.list
	m := l.current
	switch name {
	case fieldJoinTime:
		d.number(name, v, &m.JoinTime)
	case fieldUnread:
		d.number(name, v, &m.Unread)
	case fieldRole:
		if v.Kind() != '"' {
			d.problem(name, RuleKind, "%s must be a string, not %s", name, describe(v))
			return
		}
		l.role, _ = jsontext.AppendUnquote(l.role[:0], v) // invalid UTF-8 is not a role either
		switch string(l.role) {
		case roleAdmin:
			m.IsAdmin = true
		case "", roleMember:
		default:
			d.role(string(l.role))
		}
	case fieldMemberAccount:
		if v.Kind() != '"' {
			d.problem(name, RuleKind, "%s must be a string, not %s", name, describe(v))
			return
		}
		text, err := jsontext.AppendUnquote(l.text, v)
		if err != nil {
			d.problem(name, RuleUTF8, "%s is not valid UTF-8 (or contains a lone surrogate): %s",
				name, clip(strconv.QuoteToASCII(string(v))))
			return
		}
		l.text, m.end = text, len(text)
		if n := m.end - m.start; n > maxAccount {
			d.problem(name, RuleLength, "%s is %d bytes, limit %d", name, n, maxAccount)
			l.text = append(l.text[:m.start], clip(string(l.text[m.start:]))...)
			m.end = len(l.text)
		}
	}
}

// role reports a role that import_group_member does not accept.
func (d *Decoder) role(text string) {
	hint := ""
	switch near := nearest(text, roles); {
	case text == "Owner":
		hint = ": the owner is Owner_Account of the group"
	case near != "":
		hint = fmt.Sprintf(", did you mean %q?", near)
	}
	d.problem(fieldRole, RuleValue, "Role %q is not one of %s%s", clip(text), strings.Join(roles, ", "), hint)
}

// add adds an entry to the list. Of entries with the same account the first counts, or the first without a problem.
func (l *memberList) add(e *memberEntry) {
	account := l.text[e.start:e.end]
	if len(account) == 0 || len(account) > maxAccount {
		l.entries = append(l.entries, *e)
		return
	}
	if l.index == nil {
		l.index, l.seed = map[uint64]int{}, maphash.MakeSeed()
	}
	for hash := maphash.Bytes(l.seed, account); ; hash++ { // two accounts may share a hash
		i := l.index[hash] - 1
		if i < 0 {
			l.entries = append(l.entries, *e)
			l.index[hash] = len(l.entries)
			return
		}
		if earlier := &l.entries[i]; bytes.Equal(l.text[earlier.start:earlier.end], account) {
			if earlier.Problem != nil && e.Problem == nil {
				earlier.Member = e.Member
			}
			l.text = l.text[:e.start]
			return
		}
	}
}

// takeMembers sets the members of a valid record.
func (d *Decoder) takeMembers(r *Record) {
	l := &d.list
	if len(l.entries) == 0 {
		return
	}
	text := string(l.text)
	r.Members = make([]Member, 0, len(l.entries))
	for i := range l.entries {
		e := &l.entries[i]
		e.Account = text[e.start:e.end]
		if e.Account != "" && e.Account == r.OwnerAccount {
			r.HasOwner = true
			continue
		}
		l.current = e
		d.checkMember(r, &e.Member)
		if r.Type == Private && e.IsAdmin {
			e.IsAdmin = false
			if e.Problem == nil {
				r.Demoted++
			}
		}
		r.Members = append(r.Members, e.Member)
		e.Member = Member{} // keeps no text in memory
	}
	l.current = nil
	if len(r.Members) == 0 {
		r.Members = nil
	}
	if cap(l.entries) > maxIdle {
		l.reset()
	}
}

// checkMember enforces the rules that need the complete record.
func (d *Decoder) checkMember(r *Record, m *Member) {
	if m.Problem != nil {
		return
	}
	if r.Type == AVChatRoom {
		d.problem(fieldMemberList, RuleAVChatRoom, "an AVChatRoom has no members that can be imported")
		return
	}
	if m.Account == "" {
		d.problem(fieldMemberAccount, RuleMissing, "Member_Account is missing or empty")
		return
	}
	d.printable(fieldMemberAccount, m.Account)
	d.spreadsheetID(fieldMemberAccount, m.Account)
	d.checkJoinTime(m.JoinTime)
	switch {
	case m.JoinTime == 0:
	case r.CreateTime == 0:
		d.problem(fieldJoinTime, RuleRange, "JoinTime needs CreateTime of the group: "+
			"without it the group is as old as the import, and younger than its members")
	case m.JoinTime < r.CreateTime:
		d.problem(fieldJoinTime, RuleRange, "JoinTime %d is before CreateTime %d of the group", m.JoinTime, r.CreateTime)
	}
}

// checkJoinTime rejects a time in the future.
func (d *Decoder) checkJoinTime(joined int64) {
	if now, ok := d.isAhead(joined); ok {
		d.problem(fieldJoinTime, RuleRange, "JoinTime %d is %s UTC, later than now (%s UTC): use Unix time in seconds",
			joined, time.Unix(joined, 0).UTC().Format(time.DateTime), now.UTC().Format(time.DateTime))
	}
}

// A single is the member of a member record while it is read.
type single struct {
	Member

	account, role string
}

// isMember reports whether the record is a member record: it has Member_Account, or an empty one and neither Type nor
// Name.
func (d *Decoder) isMember() bool {
	return d.present.has(fieldMemberAccount) ||
		d.seen.has(fieldMemberAccount) && !d.present.has(fieldType) && !d.present.has(fieldName)
}

// refuseMemberFields rejects a group record with fields of a member.
func (d *Decoder) refuseMemberFields() {
	for _, name := range memberFields {
		if d.present.has(name) {
			d.problem(name, RuleUnknown, "%s is a field of members, not of groups: a member record needs Member_Account", name)
		}
	}
}

// takeMember makes r a member record and enforces its rules.
func (d *Decoder) takeMember(r *Record) {
	var others []string
	for _, name := range fieldNames {
		if d.present.has(name) && name != fieldGroupID && !slices.Contains(memberFields, name) {
			others = append(others, name)
		}
	}
	if len(others) > 0 {
		d.problem(others[0], RuleUnknown, "%s: no field of a member record. A record with Member_Account is one member: "+
			"write its group as a record of its own", strings.Join(others, ", "))
	}
	*r = Record{GroupID: r.GroupID, IsMember: true}
	m := d.single.Member
	m.Account = d.single.account
	switch d.single.role {
	case roleAdmin:
		m.IsAdmin = true
	case "", roleMember:
	default:
		d.role(d.single.role)
	}
	if r.GroupID == "" && !d.mentions(fieldGroupID) {
		d.problem(fieldGroupID, RuleMissing, "GroupId is missing or empty: a member record needs that of its group")
	}
	d.length(fieldGroupID, r.GroupID, maxGroupID)
	d.printable(fieldGroupID, r.GroupID)
	d.spreadsheetID(fieldGroupID, r.GroupID)
	if m.Account == "" && !d.mentions(fieldMemberAccount) {
		d.problem(fieldMemberAccount, RuleMissing, "Member_Account is missing or empty")
	}
	d.length(fieldMemberAccount, m.Account, maxAccount)
	d.printable(fieldMemberAccount, m.Account)
	d.spreadsheetID(fieldMemberAccount, m.Account)
	d.checkJoinTime(m.JoinTime)
	r.Members = []Member{m}
}
