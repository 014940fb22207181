package emulator

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
	"unique"

	"github.com/go-json-experiment/json"
)

// A Group is a group of the service. Its JSON names are those of the body of import_group.
type Group struct {
	GroupID         string `json:"GroupId"`
	Type            string
	Name            string
	Owner           string   `json:"Owner_Account,omitzero"`
	Introduction    string   `json:",omitzero"`
	Notification    string   `json:",omitzero"`
	FaceURL         string   `json:"FaceUrl,omitzero"`
	MaxMemberCount  int64    `json:",omitzero"` // zero if not given
	ApplyJoinOption string   `json:",omitzero"` // empty if not given
	AppDefinedData  []Pair   `json:",omitzero"`
	CreateTime      int64    // Unix time in seconds
	SupportTopic    int64    `json:",omitzero"`
	Members         []Member `json:"MemberList,omitzero"` // without the owner, in the order in which they were added

	Created  int `json:"Made"`  // 1 if import_group or create_group created the group, 0 if [Service.Put] did
	Requests int `json:"Asked"` // their requests for this GroupId, including errors because it already exists
}

// A Pair is an entry of AppDefinedData.
type Pair struct{ Key, Value string }

// Put adds a group that already exists because another client created it. Put checks no rules and limits. It assigns a
// missing GroupID, replaces a group with the same GroupID, and sets Created and Requests to 0. It panics if g contains
// invalid UTF-8.
func (s *Service) Put(g Group) {
	rest := restOf(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.GroupID == "" {
		g.GroupID = s.groups.freshID(g.Type)
	}
	s.groups.put(g, rest)
}

// Disband disbands the group with this GroupId; the group need not exist. The ID stays reserved: import_group rejects
// it with 10021, and get_group_info finds no group. Users report this behavior (suixinbo_doc 18 and 24). The document
// of create_group allows reuse of an ID, which is easier for the client.
func (s *Service) Disband(id string) { s.disband(id, true) }

// disband reserves an ID as Disband does. It disbands an existing group only if existing is set.
func (s *Service) disband(id string, existing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.groups.byID[id]
	switch {
	case !ok:
		s.groups.put(Group{GroupID: id}, "").disbanded = true
	case existing:
		s.groups.entries[i].disbanded = true
	}
}

// Group returns the group with this GroupId. ok is false if there is none.
func (s *Service) Group(id string) (g Group, ok bool) { return s.shown(id, 0) }

// shown returns the group with this GroupId unless import_group created it less than lag ago.
func (s *Service) shown(id string, lag time.Duration) (Group, bool) {
	s.mu.Lock()
	i, ok := s.groups.byID[id]
	if !ok {
		s.mu.Unlock()
		return Group{}, false
	}
	e := s.groups.entries[i]
	list := e.members.snapshot()
	s.mu.Unlock()
	if e.disbanded || e.created && lag > 0 && time.Since(time.Unix(0, e.createdAt)) < lag {
		return Group{}, false
	}
	g := e.group()
	g.Members = list
	return g, true
}

// Groups yields the groups in order of creation, including groups created during the iteration.
func (s *Service) Groups() iter.Seq[Group] {
	return func(yield func(Group) bool) {
		for i := 0; ; i++ {
			s.mu.Lock()
			if i >= len(s.groups.entries) {
				s.mu.Unlock()
				return
			}
			e := s.groups.entries[i]
			list := e.members.snapshot()
			s.mu.Unlock()
			if e.disbanded {
				continue
			}
			g := e.group()
			g.Members = list
			if !yield(g) {
				return
			}
		}
	}
}

// Names returns the number of groups for each Name. A count of 2 reveals a record without a GroupId that was created
// twice.
func (s *Service) Names() map[string]int {
	names := make(map[string]int)
	for g := range s.Groups() {
		names[g.Name]++
	}
	return names
}

// create creates a group. The error reports a GroupId that is in use.
func (s *Service) create(g Group) (id string, err error) {
	rest := restOf(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.groups.byID[g.GroupID]; ok {
		e := &s.groups.entries[i]
		e.requests++
		if e.owner() == s.admin() && !e.disbanded {
			return "", codeErrorf(10025, "GroupId is in use, and identifier owns the group")
		}
		return "", codeErrorf(10021, "GroupId is in use")
	}
	if g.GroupID == "" {
		g.GroupID = s.groups.freshID(g.Type)
	}
	e := s.groups.put(g, rest)
	e.created, e.requests, e.createdAt = true, 1, time.Now().UnixNano()
	s.stats.Created++
	return g.GroupID, nil
}

// A store stores groups compactly, in about 200 bytes for a typical group, because a typical run has a million.
type store struct {
	entries []entry
	byID    map[string]int // index into entries; the keys are substrings of the entries' text
	fresh   uint64
}

// An entry is a packed group.
type entry struct {
	text                     string // GroupId, Name, Owner_Account and the rest, see restOf
	idEnd, nameEnd, ownerEnd int
	requests                 int
	created, disbanded       bool  // created by import_group
	createdAt                int64 // Unix time in nanoseconds, if created is set
	kind                     unique.Handle[string]
	createTime               int64 // Unix time in seconds
	members                  *members
}

// memberNum returns the number of members with the owner.
func (e *entry) memberNum() int64 {
	n := int64(0)
	if e.members != nil {
		n = int64(len(e.members.list))
	}
	if e.owner() != "" {
		n++
	}
	return n
}

// maxMembers returns how many members the group may have. The default is that of the document of 2022; a Community has
// that of the smaller plan (trtc.io/document/33529, 2025).
func (e *entry) maxMembers() int64 {
	g := e.group()
	switch {
	case g.MaxMemberCount > 0:
		return g.MaxMemberCount
	case g.Type == "Community":
		return 100_000
	}
	return 2000
}

func (e *entry) owner() string { return e.text[e.nameEnd:e.ownerEnd] }

// restOf returns the less common fields as JSON, "" if all are zero.
func restOf(g Group) string {
	g.GroupID, g.Type, g.Name, g.Owner, g.CreateTime, g.Created, g.Requests = "", "", "", "", 0, 0, 0
	g.Members = nil
	if g.MaxMemberCount == 0 && g.SupportTopic == 0 && len(g.AppDefinedData) == 0 &&
		g.Introduction+g.Notification+g.FaceURL+g.ApplyJoinOption == "" {
		return ""
	}
	data, err := json.Marshal(g, json.OmitZeroStructFields(true))
	if err != nil {
		panic(err)
	}
	return string(data)
}

func (e *entry) group() Group {
	var g Group
	if rest := e.text[e.ownerEnd:]; rest != "" {
		if err := json.Unmarshal([]byte(rest), &g); err != nil {
			panic(err) // restOf wrote it
		}
	}
	g.GroupID = e.text[:e.idEnd]
	g.Name = e.text[e.idEnd:e.nameEnd]
	g.Owner = e.owner()
	g.Type = e.kind.Value()
	g.CreateTime = e.createTime
	g.Requests = e.requests
	if e.created {
		g.Created = 1
	}
	return g
}

// put adds or replaces a group that no request has created.
func (st *store) put(g Group, rest string) *entry {
	idEnd := len(g.GroupID)
	nameEnd := idEnd + len(g.Name)
	ownerEnd := nameEnd + len(g.Owner)
	e := entry{
		text:       g.GroupID + g.Name + g.Owner + rest,
		idEnd:      idEnd,
		nameEnd:    nameEnd,
		ownerEnd:   ownerEnd,
		kind:       unique.Make(g.Type),
		createTime: g.CreateTime,
	}
	for _, m := range g.Members {
		if e.members == nil {
			e.members = new(members)
		}
		e.members.add(m)
	}
	if st.byID == nil {
		st.byID = make(map[string]int)
	}
	i, ok := st.byID[g.GroupID]
	if ok {
		st.entries[i] = e
	} else {
		i = len(st.entries)
		st.entries = append(st.entries, e)
		st.byID[e.text[:idEnd]] = i
	}
	return &st.entries[i]
}

// freshID returns an unused GroupId in the format of the service.
func (st *store) freshID(kind string) string {
	prefix := "@TGS#"
	if kind == "Community" {
		prefix = "@TGS#_@TGS#"
	}
	for {
		st.fresh++
		id := prefix + fmt.Sprintf("2%08s", strings.ToUpper(strconv.FormatUint(st.fresh, 36)))
		if _, used := st.byID[id]; !used {
			return id
		}
	}
}
