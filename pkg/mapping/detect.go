package mapping

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/itchyny/gojq"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

// A system is one whose records a built-in mapping reads.
type system struct {
	mapping string
	records string // of an export, for messages
	has     func(record) bool
}

var systems = []system{
	{"slack", "a Slack export", isSlack},
	{"mattermost", "a Mattermost bulk export", isMattermost},
	{"discord", "an answer of Discord", isDiscord},
	{"rocketchat", "rooms of Rocket.Chat", isRocketChat},
	{"sendbird", "a Sendbird export", isSendbird},
	{"get_group_info", "groups of an answer of get_group_info", isGetGroupInfo},
}

// Detect returns the built-in mapping of the system that a record has the shape of, "" if it has none of theirs.
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
		if systems[i].has(object) {
			return &systems[i]
		}
	}
	return nil
}

// A record is a JSON object.
type record map[string]any

// is reports whether the values under all names are of a jq type, such as "string".
func (r record) is(kind string, names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		v, ok := r[name]
		return !ok || gojq.TypeOf(v) != kind
	})
}

// any reports whether the value under one of the names is of a jq type.
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

// isSlack tells channels, users and messages.
func isSlack(r record) bool {
	return r.matches("id", slackChannel) && r.is("number", "created") &&
		(r.any("object", "topic", "purpose") || r.is("array", "members")) ||
		r.matches("id", slackUser) && r.is("object", "profile") ||
		r["type"] == "message" && r.matches("ts", slackTime)
}

// mattermostTypes are those of a bulk export's lines; each has its object under the type's name.
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

// A Guard looks at the first records of an export and tells when all of them belong to another system than the import
// expects. Nothing may be done about a record while the Guard doubts. The first record that can be imported ends the
// doubt, so that exports that are right cost nothing. The zero value never doubts.
type Guard struct {
	mapping string // a built-in one, "" if there is none
	system  *system
	records int
	bytes   int
	watches bool
}

// How much of an export a [Guard] looks at: records, and bytes of them.
const (
	maxGuarded      = 20
	maxGuardedBytes = 256 << 10
)

// NewGuard returns the Guard of an export that is read from its beginning. program is the text of the mapping, empty
// without. The author of a program of their own knows what it leaves out: its Guard never doubts.
func NewGuard(program string) *Guard {
	name := nameOf(program)
	return &Guard{mapping: name, watches: program == "" || name != ""}
}

// Doubts reports whether all records so far look like another system's.
func (g *Guard) Doubts() bool { return g.watches && g.records > 0 }

// See looks at the next entry. The error says which mapping to use.
func (g *Guard) See(e *export.Entry) error {
	if !g.watches {
		return nil
	}
	var s *system
	if g.isUnusable(e) {
		s = systemOf(e.Raw)
	}
	if s == nil || s.mapping == g.mapping || g.system != nil && g.system != s {
		g.watches = false
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

// isUnusable reports whether an entry holds a record that cannot be imported because of what it is.
func (g *Guard) isUnusable(e *export.Entry) bool {
	switch {
	case e.Raw == nil || e.Failure != nil:
		return false
	case g.mapping != "":
		return e.Skipped != "" || e.Ignored
	default: // an answer of get_group_info needs no mapping
		return e.Problem != nil && e.Problem.Problems[0].Rule != group.RuleAnswer
	}
}

// End says that the export ends here. The error says which mapping to use.
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
