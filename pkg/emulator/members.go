package emulator

import (
	"slices"
	"strconv"
	"time"
)

// A Member is a member of a [Group], without the owner.
type Member struct {
	Account  string `json:"Member_Account"`
	Role     string `json:",omitzero"` // Admin, or empty for an ordinary member
	JoinTime int64  // Unix time in seconds
	Unread   int64  `json:"UnreadMsgNum,omitzero"`

	Added    int `json:"-"` // 1 if import_group_member added the member, 0 if [Service.Put] or create_group did
	Requests int `json:"-"` // how often import_group_member named the account
}

// members are the members of a group in the order in which they were added.
type members struct {
	list  []Member
	index map[string]int // into list, by account
}

func (m *members) find(account string) *Member {
	if m == nil {
		return nil
	}
	if i, ok := m.index[account]; ok {
		return &m.list[i]
	}
	return nil
}

func (m *members) add(member Member) {
	if m.index == nil {
		m.index = make(map[string]int)
	}
	m.index[member.Account] = len(m.list)
	m.list = append(m.list, member)
}

// snapshot returns a copy of the list.
func (m *members) snapshot() []Member {
	if m == nil {
		return nil
	}
	return slices.Clone(m.list)
}

// A memberResult is an entry of the response to import_group_member.
type memberResult struct {
	Account string `json:"Member_Account"`
	Result  int    // see the results
}

// The values of Result (cloud.tencent.com/document/product/269/1636, 2026-01).
const (
	notAdded = 0
	added    = 1
	isMember = 2
)

// importMembers implements import_group_member.
//
// The documents say that a member fails if JoinTime is not after the group's CreateTime and before now, and that Role
// may be Admin and nothing else. They do not say what becomes of these members, for which Result is 0 here: an account
// that does not exist, an Admin of a Private group, which has no administrators, and one more than the group may hold.
// What becomes of the owner is not documented either: add_group_member names it a member already, and so does this.
func (s *Service) importMembers(body []byte) (reply, error) {
	o := readObject(body, "GroupId", "MemberList")
	id := o.text("GroupId", maxBody)
	list := s.readMembers(o)
	if limit := s.membersPerCall(); len(list) > limit {
		return reply{}, codeErrorf(10005, "MemberList has %d members, limit %d", len(list), limit)
	}
	if len(list) == 0 {
		o.fail("MemberList is missing or empty")
	}
	if o.err != nil {
		return reply{}, o.err
	}
	if id == "" || len(id) > 48 || !printable(id) {
		return reply{}, codeErrorf(10015, "GroupId is invalid")
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.groups.byID[id]
	if !ok || s.groups.entries[i].disbanded {
		return reply{}, codeErrorf(10010, "the group does not exist")
	}
	e := &s.groups.entries[i]
	if e.kind.Value() == "AVChatRoom" {
		return reply{}, codeErrorf(10007, "groups of Type AVChatRoom cannot import members")
	}
	results := make([]memberResult, len(list))
	for n, m := range list {
		results[n] = memberResult{m.Account, s.addMember(e, m)}
	}
	return reply{MemberList: results}, nil
}

// addMember adds a member and returns its Result. The caller holds mu.
func (s *Service) addMember(e *entry, m Member) int {
	if known := e.members.find(m.Account); known != nil {
		known.Requests++
		return isMember
	}
	now := time.Now().Unix()
	switch {
	case m.Account == e.owner():
		return isMember
	case !s.hasAccount(m.Account):
		return notAdded
	case m.JoinTime != 0 && (m.JoinTime <= e.createTime || m.JoinTime >= now):
		return notAdded
	case m.Role == "Admin" && e.kind.Value() == "Private":
		return notAdded
	case e.memberNum() >= e.maxMembers():
		return notAdded
	}
	if m.JoinTime == 0 {
		m.JoinTime = now
	}
	m.Added, m.Requests = 1, 1
	if e.members == nil {
		e.members = new(members)
	}
	e.members.add(m)
	s.stats.Members++
	return added
}

// membersPerCall returns the limit of import_group_member. The newest document says 20
// (cloud.tencent.com/document/product/269/1636, 2026-01), older ones say 100, 300 and 500.
func (s *Service) membersPerCall() int {
	if s.MembersPerCall == 0 {
		return 20
	}
	return s.MembersPerCall
}

// readMembers reads the MemberList of import_group_member. It is stricter than the documents: a Role of Member, which
// they give as what an absent one means, is rejected.
func (s *Service) readMembers(o *object) []Member {
	var list []Member
	for i, v := range o.list("MemberList") {
		at := "MemberList[" + strconv.Itoa(i) + "]"
		element := readObject(v, "Member_Account", "Role", "JoinTime", "UnreadMsgNum")
		m := Member{
			Account:  element.text("Member_Account", 32),
			Role:     element.text("Role", 32),
			JoinTime: element.integer("JoinTime", 0, 1<<32-1),
			Unread:   element.integer("UnreadMsgNum", 0, 1<<32-1),
		}
		switch {
		case element.err != nil:
			o.fail(at + ": " + element.err.Error())
		case m.Account == "" || !printable(m.Account):
			o.fail(at + ": Member_Account is missing or not printable ASCII")
		case element.has("Role") && m.Role != "Admin":
			o.fail(at + ": Role is not Admin")
		}
		list = append(list, m)
	}
	return list
}

// createMembers reads the MemberList of create_group.
func (o *object) createMembers() []Member {
	var list []Member
	for i, v := range o.list("MemberList") {
		at := "MemberList[" + strconv.Itoa(i) + "]"
		element := readObject(v, "Member_Account", "Role")
		m := Member{Account: element.text("Member_Account", 32), Role: element.text("Role", 32)}
		if element.err != nil || m.Account == "" || !printable(m.Account) || m.Role != "" && m.Role != "Admin" {
			o.fail(at + " is invalid")
		}
		list = append(list, m)
	}
	if len(list) > 100 {
		o.fail("MemberList has " + strconv.Itoa(len(list)) + " members, limit 100")
	}
	return list
}

// AddAccounts adds accounts that exist if [Service.OnlyAccounts] is set.
func (s *Service) AddAccounts(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addAccounts(ids)
}

// addAccounts is AddAccounts for a caller that holds mu.
func (s *Service) addAccounts(ids []string) {
	if s.accounts == nil {
		s.accounts = make(map[string]struct{})
	}
	for _, id := range ids {
		s.accounts[id] = struct{}{}
	}
}

// HasAccount reports whether an account exists.
func (s *Service) HasAccount(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hasAccount(id)
}

// hasAccount is HasAccount for a caller that holds mu.
func (s *Service) hasAccount(id string) bool {
	if !s.OnlyAccounts || id == s.admin() {
		return true
	}
	_, ok := s.accounts[id]
	return ok
}

const maxAccounts = 100 // a call of account_check and multiaccount_import

// A checkResult is an entry of the response to account_check.
type checkResult struct {
	UserID        string
	ResultCode    int
	ResultInfo    string
	AccountStatus string
}

// checkAccounts implements account_check (cloud.tencent.com/document/product/269/38417, 2025-12). It returns the
// accounts in reverse order, because no order is documented.
func (s *Service) checkAccounts(body []byte) (reply, error) {
	o := readObject(body, "CheckItem")
	var ids []string
	for i, v := range o.list("CheckItem") {
		element := readObject(v, "UserID")
		id := element.text("UserID", 32)
		if element.err != nil || id == "" {
			o.fail("CheckItem[" + strconv.Itoa(i) + "] is invalid")
		}
		ids = append(ids, id)
	}
	if err := accountsError(o, len(ids)); err != nil {
		return reply{}, err
	}
	results := make([]checkResult, 0, len(ids))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range slices.Backward(ids) {
		r := checkResult{UserID: id, AccountStatus: "NotImported"}
		if s.hasAccount(id) {
			r.AccountStatus = "Imported"
		}
		results = append(results, r)
	}
	return reply{ResultItem: results}, nil
}

// importAccounts implements multiaccount_import, with the body of 2024 (AccountList) and the older one (Accounts).
func (s *Service) importAccounts(body []byte) (reply, error) {
	o := readObject(body, "AccountList", "Accounts")
	ids := o.texts("Accounts")
	for i, v := range o.list("AccountList") {
		element := readObject(v, "UserID", "Nick", "FaceUrl")
		ids = append(ids, element.text("UserID", maxBody))
		element.text("Nick", 500)
		element.text("FaceUrl", 500)
		if element.err != nil {
			o.fail("AccountList[" + strconv.Itoa(i) + "]: " + element.err.Error())
		}
	}
	if o.has("AccountList") && o.has("Accounts") {
		o.fail("AccountList and Accounts exclude each other")
	}
	if err := accountsError(o, len(ids)); err != nil {
		return reply{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := []string{}
	for _, id := range ids {
		if id == "" || len(id) > 32 || !printable(id) || slices.Contains(s.RefusedAccounts, id) {
			failed = append(failed, id)
			continue
		}
		s.addAccounts([]string{id})
	}
	return reply{FailAccounts: failed}, nil
}

// accountsError returns the error of a request with n accounts. Its codes are those of the account commands.
func accountsError(o *object, n int) error {
	switch {
	case o.err != nil && o.members == nil:
		return o.err // not JSON
	case o.err != nil:
		return codeErrorf(70402, "%s", o.err.Error())
	case n == 0 || n > maxAccounts:
		return codeErrorf(70206, "%d accounts, must be 1 to %d", n, maxAccounts)
	}
	return nil
}

// createGroup implements create_group (cloud.tencent.com/document/product/269/1615, 2025-11): the fields of
// import_group without CreateTime, with InviteJoinOption and MemberList. A group of Type AVChatRoom has no members.
func (s *Service) createGroup(body []byte) (reply, error) {
	o := readObject(body, append(slices.Clone(createFields), "Type", "MaxMemberCount", "InviteJoinOption",
		"MemberList", "Owner_Account", "SupportTopic")...)
	g := s.readFields(o)
	list := o.createMembers()
	o.option("InviteJoinOption")
	if g.Type == "AVChatRoom" && len(list) > 0 {
		return reply{}, codeErrorf(10007, "groups of Type AVChatRoom have no members")
	}
	if g.Type != "AVChatRoom" {
		o.checkType(g.Type)
	}
	if err := s.checkGroup(o, g); err != nil {
		return reply{}, err
	}
	g.CreateTime = time.Now().Unix()
	for _, m := range list {
		if m.Account != g.Owner && s.HasAccount(m.Account) {
			g.Members = append(g.Members, m)
		}
	}
	id, err := s.create(g)
	return reply{GroupID: id}, err
}

// createFields are the fields that create_group and modify_group_base_info share.
var createFields = []string{
	"GroupId", "Name", "Introduction", "Notification", "FaceUrl", "ApplyJoinOption", "AppDefinedData",
}

// modifyGroup implements modify_group_base_info. An empty Value deletes a key of AppDefinedData.
func (s *Service) modifyGroup(body []byte) error {
	o := readObject(body, append(slices.Clone(createFields), "MaxMemberNum", "InviteJoinOption", "ShutUpAllMember")...)
	o.rename("MaxMemberNum", "MaxMemberCount")
	change := s.readFields(o)
	o.option("InviteJoinOption")
	if mute := o.text("ShutUpAllMember", 3); o.has("ShutUpAllMember") && mute != "On" && mute != "Off" {
		o.fail("ShutUpAllMember is not On or Off")
	}
	if o.has("Name") && change.Name == "" {
		o.fail("Name is empty")
	}
	if o.err != nil {
		return o.err
	}
	if change.GroupID == "" || len(change.GroupID) > 48 || !printable(change.GroupID) {
		return codeErrorf(10015, "GroupId is invalid")
	}
	if s.isSensitive(change) {
		return codeErrorf(80001, "sensitive words")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.groups.byID[change.GroupID]
	if !ok || s.groups.entries[i].disbanded {
		return codeErrorf(10010, "the group does not exist")
	}
	e := s.groups.entries[i]
	g := e.group()
	if limit := maxMembers(g.Type); change.MaxMemberCount > limit {
		return codeErrorf(10004, "MaxMemberNum is more than %d", limit)
	}
	for name, set := range map[string]func(){
		"Name":            func() { g.Name = change.Name },
		"Introduction":    func() { g.Introduction = change.Introduction },
		"Notification":    func() { g.Notification = change.Notification },
		"FaceUrl":         func() { g.FaceURL = change.FaceURL },
		"MaxMemberCount":  func() { g.MaxMemberCount = change.MaxMemberCount },
		"ApplyJoinOption": func() { g.ApplyJoinOption = change.ApplyJoinOption },
		"AppDefinedData":  func() { g.AppDefinedData = merge(g.AppDefinedData, change.AppDefinedData) },
	} {
		if o.has(name) {
			set()
		}
	}
	changed := s.groups.put(g, restOf(g))
	changed.created, changed.requests, changed.createdAt, changed.members = e.created, e.requests, e.createdAt, e.members
	return nil
}

// merge changes keys, and deletes those with an empty Value.
func merge(pairs, changes []Pair) []Pair {
	pairs = slices.Clone(pairs)
	for _, change := range changes {
		isKey := func(p Pair) bool { return p.Key == change.Key }
		if i := slices.IndexFunc(pairs, isKey); i >= 0 {
			pairs[i] = change
		} else {
			pairs = append(pairs, change)
		}
	}
	return slices.DeleteFunc(pairs, func(p Pair) bool { return p.Value == "" })
}

// rename gives a field another name.
func (o *object) rename(from, to string) {
	if v := o.value(from); v != nil {
		o.members = slices.DeleteFunc(o.members, func(m member) bool { return m.name == from || m.name == to })
		o.members = append(o.members, member{to, v})
	}
}

// option checks a field with the values of ApplyJoinOption.
func (o *object) option(name string) {
	value := o.text(name, 32)
	if o.has(name) && !slices.Contains([]string{"FreeAccess", "NeedPermission", "DisableApply"}, value) {
		o.fail(name + " is not FreeAccess, NeedPermission or DisableApply")
	}
}
