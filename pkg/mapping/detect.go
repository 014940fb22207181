package mapping

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/itchyny/gojq"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

// A system is a source system with a built-in mapping.
type system struct {
	mapping string
	records string // description of its exports, for messages
	matches func(record) bool
}

var systems = []system{
	{"slack", "a Slack export", isSlack},
	{"mattermost", "a Mattermost bulk export", isMattermost},
	{"discord", "a response of Discord's API", isDiscord},
	{"rocketchat", "Rocket.Chat rooms", isRocketChat},
	{"sendbird", "a Sendbird export", isSendbird},
	{"easemob", "a response of Easemob or Agora Chat", isEasemob},
	{"yunxin", "a response of NetEase Yunxin", isYunxin},
	{"openim", "a response of OpenIM", isOpenIM},
	{"rongcloud", "a response of RongCloud", isRongCloud},
	{"stream", "an export of Stream Chat", isStream},
	{"cometchat", "an export of CometChat", isCometChat},
	{tencent, "a response of get_group_info or get_group_member_info", isTencent},
}

// tencent is the mapping that reads what get_group_info does, and members.
const tencent = "tencent"

// isOf reports whether a mapping reads the records of s.
func (s *system) isOf(mapping string) bool {
	return s.mapping == mapping || s.mapping == tencent && mapping == "get_group_info"
}

// Detect returns the name of the built-in mapping that matches a record, "" if none does.
func Detect(raw []byte) string {
	if s := systemOf(raw); s != nil {
		return s.mapping
	}
	return ""
}

// systemOf returns the system of a record, or of a document with records. It is nil if it knows none.
func systemOf(raw []byte) *system {
	object, ok := objectOf(raw)
	if !ok {
		return nil
	}
	for _, isOf := range []func(*system, record) bool{
		func(s *system, r record) bool { return s.matches(r) }, (*system).holds,
	} {
		for i := range systems {
			if isOf(&systems[i], object) {
				return &systems[i]
			}
		}
	}
	return nil
}

// objectOf decodes a JSON object.
func objectOf(raw []byte) (record, bool) {
	v, _, err := decode(raw, replacement)
	object, ok := v.(map[string]any)
	return object, ok && err == nil
}

// A record is a JSON object.
type record map[string]any

// is reports whether all named members have a jq type, such as "string".
func (r record) is(kind string, names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		v, ok := r[name]
		return !ok || gojq.TypeOf(v) != kind
	})
}

// any reports whether at least one of the named members has a jq type.
func (r record) any(kind string, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return r.is(kind, name) })
}

// has reports whether all named members are neither absent nor null.
func (r record) has(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return r[name] == nil })
}

func (r record) matches(name string, pattern *regexp.Regexp) bool {
	text, _ := r[name].(string)
	return pattern.MatchString(text)
}

var (
	slackChannel = regexp.MustCompile(`^[CGD][A-Z0-9]{6,}$`)
	slackUser    = regexp.MustCompile(`^[UW][A-Z0-9]{6,}$`)
	slackTime    = regexp.MustCompile(`^[0-9]+\.[0-9]+$`)
	snowflake    = regexp.MustCompile(`^[0-9]{15,20}$`)
)

// isSlack reports whether a record is a channel, a user or a message.
func isSlack(r record) bool {
	return r.matches("id", slackChannel) && r.is("number", "created") &&
		(r.any("object", "topic", "purpose") || r.is("array", "members")) ||
		r.matches("id", slackUser) && r.is("object", "profile") ||
		r["type"] == "message" && r.matches("ts", slackTime)
}

// mattermostTypes are the types of lines in a bulk export. Each line has its object under the type's name.
var mattermostTypes = []string{
	"scheme", "role", "emoji", "team", "channel", "user", "bot", "post", "direct_channel", "direct_post",
}

func isMattermost(r record) bool {
	kind, _ := r["type"].(string)
	return kind == "version" && r.is("number", "version") || slices.Contains(mattermostTypes, kind) && r.is("object", kind)
}

func isDiscord(r record) bool {
	return r.matches("id", snowflake) && r.matches("guild_id", snowflake) && r.is("number", "type")
}

// isRocketChat reports whether a record is a room or a subscription.
func isRocketChat(r record) bool {
	kind, _ := r["t"].(string)
	return r.is("string", "_id") && slices.Contains([]string{"c", "p", "d", "l", "v"}, kind) &&
		(r.any("number", "msgs", "usersCount") || r.is("object", "u"))
}

func isSendbird(r record) bool {
	return r.is("string", "channel_url") && r.any("boolean", "is_public", "is_distinct", "freeze")
}

func isEasemob(r record) bool {
	if data, ok := r["data"].(map[string]any); ok {
		r = data
	}
	return r.has("id", "name", "affiliations_count", "membersonly")
}

// isYunxin reports whether a record is a team, a member of one, or a response with one team.
func isYunxin(r record) bool {
	team := r
	if inner, ok := r["tinfo"].(map[string]any); ok {
		team = inner
	}
	if data, ok := r["data"].(map[string]any); ok {
		if inner, ok := data["team_info"].(map[string]any); ok {
			team = inner
		}
	}
	return r.has("team_id", "account_id", "member_role", "join_time") || team.has("tid", "tname") ||
		team.has("team_id", "team_type", "name")
}

func isOpenIM(r record) bool {
	if inner, ok := r["groupInfo"].(map[string]any); ok {
		r = inner
	}
	return r.has("groupID", "groupName", "groupType", "needVerification") || r.has("groupID", "userID", "roleLevel")
}

// isRongCloud reports whether a record is a hosted group, or a response with the members of one.
func isRongCloud(r record) bool {
	return r.is("string", "groupId") && r.any("string", "name", "groupName") &&
		r.any("string", "groupProfile", "groupExtProfile", "permissions") ||
		r.is("string", "groupId", "name") && r.has("createTime", "memberCount") ||
		r.is("string", "groupId") && r.has("code") && r.any("array", "users", "members")
}

// streamTypes are the types of lines in an import file. Each line has its object under "item".
var streamTypes = []string{"channel", "device", "member", "message", "reaction", "user"}

// isStream reports whether a record is a line of an import file, or a channel of a response.
func isStream(r record) bool {
	kind, _ := r["type"].(string)
	channel, _ := r["channel"].(map[string]any)
	return slices.Contains(streamTypes, kind) && r.is("object", "item") ||
		r.is("string", "cid", "type", "id") || record(channel).is("string", "cid", "type", "id")
}

// cometChatTypes are the types of groups.
var cometChatTypes = []string{"public", "private", "password"}

func isCometChat(r record) bool {
	if data, ok := r["data"].(map[string]any); ok {
		r = data
	}
	kind, _ := r["type"].(string)
	return r.is("string", "guid", "name") && slices.Contains(cometChatTypes, kind) ||
		r.is("string", "guid", "uid", "scope")
}

// isTencent reports whether a record is a group of get_group_info, or a member with fields that member records do not
// have.
func isTencent(r record) bool {
	return r.is("string", "GroupId") && r.is("number", "ErrorCode", "MemberNum") ||
		r.is("string", "GroupId") && r.is("array", "MemberList") && r.is("number", "MemberNum") && r["Type"] == nil ||
		r.is("string", "GroupId", "ErrorInfo") && r.is("number", "ErrorCode") ||
		r.is("string", "GroupId", "Member_Account", "Role") && r.any("number", "MsgSeq", "LastSendMsgTime", "ShutUpUntil")
}

// A Guard inspects the first records of an export and detects an export of another system than the mapping expects, or
// documents that wrap the records.
// The caller must not process a record while [Guard.Doubts] returns true. The first record that can be imported
// disables the Guard. The zero value is a disabled Guard.
type Guard struct {
	mapping string  // name of the built-in mapping, "" if there is none
	system  *system // of the records so far, nil if they are within a document
	within  string  // the place of the records in a document that wraps them, empty if they are no such documents
	records int
	bytes   int
	seen    bool // there was an entry
	enabled bool
}

// Limits of what a [Guard] inspects.
const (
	maxGuarded      = 20        // records
	maxGuardedBytes = 256 << 10 // bytes of records
)

// NewGuard returns a Guard for an export that is read from its start. program is the text of the mapping, empty if
// there is none. The Guard of a program that is not built in is disabled: such a program may skip any records.
func NewGuard(program string) *Guard {
	name := nameOf(program)
	return &Guard{mapping: name, enabled: program == "" || name != ""}
}

// Doubts reports whether all records so far match another system, or are documents that wrap records.
func (g *Guard) Doubts() bool { return g.enabled && g.records > 0 }

// See inspects the next entry. The error names the mapping to use, or the place of the records.
func (g *Guard) See(e *export.Entry) error {
	g.seen = true
	if !g.enabled {
		return nil
	}
	var s *system
	within := ""
	if g.isUnusable(e) {
		if s = systemOf(e.Raw); s == nil {
			within = placeWithin(e.Raw)
		}
	}
	isOther := g.records > 0 && (g.system != s || g.within != within)
	if s == nil && within == "" || s != nil && s.isOf(g.mapping) || isOther {
		g.enabled = false
		return nil
	}
	g.system, g.within = s, within
	g.records++
	g.bytes += len(e.Raw)
	if g.records >= maxGuarded || g.bytes >= maxGuardedBytes {
		return g.End()
	}
	return nil
}

// Explain returns err, the error of reading an export before its first record. If the export's records are those of
// another system than the mapping expects, the error names the mapping to use.
func (g *Guard) Explain(ctx context.Context, err error, src export.Source) error {
	if !g.enabled || g.seen || ctx.Err() != nil || errors.Is(err, export.ErrFormat) {
		return err
	}
	name, detectErr := DetectExport(ctx, src)
	for i := range systems {
		if s := &systems[i]; detectErr == nil && name != "" && s.mapping == name && !s.isOf(g.mapping) {
			return g.looksLike(s)
		}
	}
	return err
}

// isUnusable reports whether an entry cannot be imported because it is not in the expected format.
func (g *Guard) isUnusable(e *export.Entry) bool {
	switch {
	case e.Raw == nil || e.Failure != nil:
		return false
	case g.mapping != "":
		return e.Skipped != "" || e.Ignored
	default: // a get_group_info response needs no mapping
		return e.Problem != nil && e.Problem.Problems[0].Rule != group.RuleResponse
	}
}

// End tells the Guard that the export has ended. The error is as that of See.
func (g *Guard) End() error {
	if !g.Doubts() {
		return nil
	}
	if g.system == nil {
		return fmt.Errorf("its records seem to be within %q: name their place with RECORDS=%s (locally: --records %s)",
			g.within, g.within, g.within)
	}
	return g.looksLike(g.system)
}

// wrappers are names that responses of APIs give to what they hold.
var wrappers = []string{"data", "response", "result", "results", "payload", "body", "items", "list"}

// placeWithin returns the place of the records in a document that wraps them, such as response.channels in
// {"code":200,"response":{"channels":[…]}}. It is empty if raw is no such document.
func placeWithin(raw []byte) string {
	object, _ := objectOf(raw)
	if object.has("Name") {
		return "" // a group with a field too many
	}
	for _, name := range wrappers {
		switch v := object[name].(type) {
		case []any:
			if isObjects(v) {
				return name
			}
		case map[string]any:
			isSystem := func(s system) bool { return s.matches(v) }
			if record(v).is("string", "Type", "Name") || slices.ContainsFunc(systems, isSystem) {
				return name // one record
			}
			for _, inner := range slices.Sorted(maps.Keys(v)) {
				if list, ok := v[inner].([]any); ok && isObjects(list) && plainName.MatchString(inner) {
					return name + "." + inner
				}
			}
		}
	}
	return ""
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)

// isObjects reports whether a list has only objects, and at least one.
func isObjects(list []any) bool {
	return len(list) > 0 && !slices.ContainsFunc(list, func(v any) bool { _, ok := v.(map[string]any); return !ok })
}

// looksLike returns the error that names the mapping of s.
func (g *Guard) looksLike(s *system) error {
	used := ""
	if g.mapping != "" {
		used = fmt.Sprintf(", and the mapping is %s", g.mapping)
	}
	return fmt.Errorf("it looks like %s%s: set MAPPING=%s (locally: --map %s)",
		s.records, used, s.mapping, s.mapping)
}
