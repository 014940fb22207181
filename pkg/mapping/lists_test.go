package mapping_test

import (
	"fmt"
	"strings"
	"testing"

	"groupimport/pkg/export"
	"groupimport/pkg/mapping"
)

// Members are read from an array of IDs and from a string of JSON. An object rejects the record and names the
// field, and any other value does so or is an invalid member: no member is lost without a note.
func TestBuiltIn_ListsOfMembers(t *testing.T) {
	for _, row := range []struct{ system, field, record string }{
		{"sendbird", "members", `{"channel_url":"x","name":"a","members":%s}`},
		{"sendbird", "operators", `{"channel_url":"x","name":"a","operators":%s}`},
		{"slack", "members", `{"id":"C1","name":"a","created":1493960964,"topic":{},"members":%s}`},
		{"rocketchat", "usernames", `{"_id":"r","t":"p","name":"a","usernames":%s}`},
		{"get_group_info", "MemberList", `{"GroupId":"g","Type":"Public","Name":"a","MemberList":%s}`},
		{"tencent", "MemberList", `{"GroupId":"g","Type":"Public","Name":"a","MemberList":%s}`},
		{"easemob", "affiliations", `{"id":"1","name":"a","affiliations_count":2,"affiliations":%s}`},
		{"yunxin", "members", `{"tid":1,"tname":"a","members":%s}`},
		{"yunxin", "admins", `{"tid":1,"tname":"a","admins":%s}`},
		{"rongcloud", "users", `{"groupId":"1","name":"a","users":%s}`},
		{"rongcloud", "members", `{"groupId":"1","name":"a","members":%s}`},
		{"stream", "members", `{"channel":{"id":"1","type":"team","name":"a"},"members":%s}`},
		{"easemob", "admins", `{"id":"1","name":"a","affiliations_count":2,"admins":%s}`},
	} {
		program, _ := mapping.Builtin(row.system)
		mapped := func(list string) string {
			lines, _ := entriesOf(t, program, "a.jsonl", fmt.Sprintf(row.record, list), export.Start)
			return strings.Join(lines, "\n")
		}
		for _, list := range []string{`["u1",null,"u2"]`, `"[\"u1\",\"u2\"]"`} {
			got := mapped(list)
			if !strings.Contains(got, `{"Member_Account":"u1"`) || !strings.Contains(got, `{"Member_Account":"u2"`) {
				t.Errorf("%s, %s %s: got %s, want u1 and u2", row.system, row.field, list, got)
			}
		}
		for _, list := range []string{`{"u1":{"role":"operator"}}`, `"u1,u2"`, `7`, `true`} {
			got := mapped(list)
			rejected := strings.HasPrefix(got, "1 1 the mapping failed: ") &&
				strings.Contains(got, row.field+" must be an array")
			invalid := list[0] != '{' && strings.Contains(got, "Member_Account must be a string, not an array")
			if !rejected && !invalid {
				t.Errorf("%s, %s %s: got %s, want a rejected record or an invalid member", row.system, row.field, list, got)
			}
		}
		for _, list := range []string{`null`, `[]`, `""`, `{}`} {
			if got := mapped(list); !strings.Contains(got, `"Name":"a"`) || strings.Contains(got, "Member_Account") {
				t.Errorf("%s, %s %s: got %s, want a group without members", row.system, row.field, list, got)
			}
		}
	}
}

// The memberships of a Mattermost user are all read, or the record is rejected with the reason.
func TestBuiltIn_MattermostMemberships(t *testing.T) {
	program, _ := mapping.Builtin("mattermost")
	for _, row := range []struct{ teams, want string }{
		{`[{"name":"t","channels":[{"name":"a"},null,{}]},{"name":"u"},{}]`, `{"GroupId":"t.a","Member_Account":"kim"}`},
		{`null`, "ignored"},
		{`{"t":{"channels":[{"name":"a"}]}}`, "teams of the user must be an array, not object"},
		{`[{"name":"t","channels":"a"}]`, "channels of the user must be an array, not string"},
		{`[{"name":"t","channels":["a"]}]`, "an entry in channels of the user has no name"},
		{`[{"channels":[{"name":"a"}]}]`, "an entry in teams of the user has no name"},
	} {
		text := fmt.Sprintf(`{"type":"user","user":{"username":"kim","teams":%s}}`, row.teams)
		lines, _ := entriesOf(t, program, "a.jsonl", text, export.Start)
		if got := strings.Join(lines, "\n"); !strings.Contains(got, row.want) {
			t.Errorf("%s: got %s, want %s", row.teams, got, row.want)
		}
	}
}
