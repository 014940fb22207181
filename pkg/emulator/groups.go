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

// A Group is one that stands. Its JSON names are those of the body of import_group.
type Group struct {
	GroupID         string `json:"GroupId"`
	Type            string
	Name            string
	Owner           string `json:"Owner_Account,omitzero"`
	Introduction    string `json:",omitzero"`
	Notification    string `json:",omitzero"`
	FaceURL         string `json:"FaceUrl,omitzero"`
	MaxMemberCount  int64  `json:",omitzero"` // if zero, it was not given
	ApplyJoinOption string `json:",omitzero"` // if empty, it was not given
	AppDefinedData  []Pair `json:",omitzero"`
	CreateTime      int64  // Unix time in seconds
	SupportTopic    int64  `json:",omitzero"`

	Made  int // 1 if import_group made it, 0 if [Service.Put] did
	Asked int // how often import_group was asked for this GroupId, the refusals because it stands included
}

// A Pair is an entry of AppDefinedData.
type Pair struct{ Key, Value string }

// Put puts in a group that stands already because somebody else made it, without regard to rules and
// limits. If it has no GroupID it gets one; one with the same GroupID is replaced. Made and Asked begin at 0.
// It panics if g holds invalid UTF-8.
func (s *Service) Put(g Group) {
	rest := restOf(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.GroupID == "" {
		g.GroupID = s.groups.freshID(g.Type)
	}
	s.groups.put(g, rest)
}

// Disband removes the group with this GroupId, or one that was removed earlier. The ID stays taken: import_group
// refuses it with 10021, and get_group_info finds no group. Users report that (suixinbo_doc 18 and 24); a text of
// create_group lets an ID be used again, which is easier for the client.
func (s *Service) Disband(id string) { s.disband(id, true) }

// disband does [Service.Disband], of a group that is there only if all is set.
func (s *Service) disband(id string, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.groups.byID[id]
	switch {
	case !ok:
		s.groups.put(Group{GroupID: id}, "").disbanded = true
	case all:
		s.groups.entries[i].disbanded = true
	}
}

// Group returns the group with this GroupId and whether there is one.
func (s *Service) Group(id string) (Group, bool) { return s.shown(id, 0) }

// shown returns the group with this GroupId and whether there is one that was not made within lag.
func (s *Service) shown(id string, lag time.Duration) (Group, bool) {
	s.mu.Lock()
	i, ok := s.groups.byID[id]
	if !ok {
		s.mu.Unlock()
		return Group{}, false
	}
	e := s.groups.entries[i]
	s.mu.Unlock()
	if e.disbanded || e.made && lag > 0 && time.Since(time.Unix(0, e.madeAt)) < lag {
		return Group{}, false
	}
	return e.group(), true
}

// Groups yields the groups in the order in which they were made. Those made meanwhile come too.
func (s *Service) Groups() iter.Seq[Group] {
	return func(yield func(Group) bool) {
		for i := 0; ; i++ {
			s.mu.Lock()
			if i >= len(s.groups.entries) {
				s.mu.Unlock()
				return
			}
			e := s.groups.entries[i]
			s.mu.Unlock()
			if e.disbanded {
				continue
			}
			if !yield(e.group()) {
				return
			}
		}
	}
}

// Names returns how many groups there are of each Name. A record without a GroupId that was sent twice shows
// here as 2.
func (s *Service) Names() map[string]int {
	names := make(map[string]int)
	for g := range s.Groups() {
		names[g.Name]++
	}
	return names
}

// take makes a group, or says that its GroupId is in use.
func (s *Service) take(g Group) (id string, err error) {
	rest := restOf(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.groups.byID[g.GroupID]; ok {
		e := &s.groups.entries[i]
		e.asked++
		if e.owner() == s.admin() && !e.disbanded {
			return "", refuse(10025, "GroupId is in use, and identifier owns the group")
		}
		return "", refuse(10021, "GroupId is in use")
	}
	if g.GroupID == "" {
		g.GroupID = s.groups.freshID(g.Type)
	}
	e := s.groups.put(g, rest)
	e.made, e.asked, e.madeAt = true, 1, time.Now().UnixNano()
	s.stats.Taken++
	return g.GroupID, nil
}

// A store keeps groups in little memory, some 200 bytes for a usual one: a million in a process is a usual
// run.
type store struct {
	entries []entry
	byID    map[string]int32 // the keys lie in the entries' text
	fresh   uint64
}

// An entry is a packed group.
type entry struct {
	text                     string // GroupId, Name, Owner_Account and the rest, see restOf
	idEnd, nameEnd, ownerEnd uint32
	asked                    uint32
	made, disbanded          bool
	madeAt                   int64 // Unix time in nanoseconds, of those made
	kind                     unique.Handle[string]
	created                  int64
}

func (e *entry) owner() string { return e.text[e.nameEnd:e.ownerEnd] }

// restOf packs what few groups have: JSON, or nothing at all.
func restOf(g Group) string {
	g.GroupID, g.Type, g.Name, g.Owner, g.CreateTime, g.Made, g.Asked = "", "", "", "", 0, 0, 0
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
	g.CreateTime = e.created
	g.Asked = int(e.asked)
	if e.made {
		g.Made = 1
	}
	return g
}

// put adds or replaces a group, made by nobody and asked for by nobody.
func (st *store) put(g Group, rest string) *entry {
	idEnd := len(g.GroupID)
	nameEnd := idEnd + len(g.Name)
	ownerEnd := nameEnd + len(g.Owner)
	e := entry{
		text:  g.GroupID + g.Name + g.Owner + rest,
		idEnd: uint32(idEnd), nameEnd: uint32(nameEnd), ownerEnd: uint32(ownerEnd), //nolint:gosec // no group has 4 GB
		kind:    unique.Make(g.Type),
		created: g.CreateTime,
	}
	if st.byID == nil {
		st.byID = make(map[string]int32)
	}
	i, ok := st.byID[g.GroupID]
	if ok {
		st.entries[i] = e
	} else {
		i = int32(len(st.entries)) //nolint:gosec // two billion of them fit in no memory
		st.entries = append(st.entries, e)
		st.byID[e.text[:idEnd]] = i
	}
	return &st.entries[i]
}

// freshID returns a GroupId as the service makes them, which no group has yet.
func (st *store) freshID(kind string) string {
	prefix := "@TGS#"
	if kind == "Community" {
		prefix = "@TGS#_@TGS#"
	}
	for {
		st.fresh++
		id := prefix + fmt.Sprintf("2%08s", strings.ToUpper(strconv.FormatUint(st.fresh, 36)))
		if _, taken := st.byID[id]; !taken {
			return id
		}
	}
}
