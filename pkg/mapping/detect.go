package mapping

import (
	"fmt"
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
	{"get_group_info", "a get_group_info response", isGetGroupInfo},
}

// Detect returns the name of the built-in mapping that matches a record, "" if none does.
func Detect(raw []byte) string {
	if s := systemOf(raw); s != nil {
		return s.mapping
	}
	return ""
}

func systemOf(raw []byte) *system {
	v, _, err := decode(raw, replacement)
	object, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil
	}
	for i := range systems {
		if systems[i].matches(object) {
			return &systems[i]
		}
	}
	return nil
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

func isGetGroupInfo(r record) bool {
	return r.is("string", "GroupId") && r.is("number", "ErrorCode", "MemberNum") ||
		r.is("string", "GroupId", "ErrorInfo") && r.is("number", "ErrorCode")
}

// A Guard inspects the first records of an export and detects an export of another system than the mapping expects.
// The caller must not process a record while [Guard.Doubts] returns true. The first record that can be imported
// disables the Guard. The zero value is a disabled Guard.
type Guard struct {
	mapping string  // name of the built-in mapping, "" if there is none
	system  *system // of the records so far
	records int
	bytes   int
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

// Doubts reports whether all records so far match another system.
func (g *Guard) Doubts() bool { return g.enabled && g.records > 0 }

// See inspects the next entry. The error names the mapping to use.
func (g *Guard) See(e *export.Entry) error {
	if !g.enabled {
		return nil
	}
	var s *system
	if g.isUnusable(e) {
		s = systemOf(e.Raw)
	}
	if s == nil || s.mapping == g.mapping || g.system != nil && g.system != s {
		g.enabled = false
		return nil
	}
	g.system = s
	g.records++
	g.bytes += len(e.Raw)
	if g.records >= maxGuarded || g.bytes >= maxGuardedBytes {
		return g.End()
	}
	return nil
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

// End tells the Guard that the export has ended. The error names the mapping to use.
func (g *Guard) End() error {
	if !g.Doubts() {
		return nil
	}
	used := ""
	if g.mapping != "" {
		used = fmt.Sprintf(", and the mapping is %s", g.mapping)
	}
	return fmt.Errorf("it looks like %s%s: set MAPPING=%s (locally: --map %s)",
		g.system.records, used, g.system.mapping, g.system.mapping)
}
