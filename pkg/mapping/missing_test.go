package mapping_test

import (
	"strings"
	"testing"

	"groupimport/pkg/export"
	"groupimport/pkg/mapping"
)

// A group or a member without its ID is rejected: it is no record of another kind, and no group without a GroupId,
// which each import would create again.
func TestBuiltIn_MissingID(t *testing.T) {
	const noID, empty = "the group has no ", "the ID is empty"
	for _, row := range []struct{ system, record, want string }{
		{"easemob", `{"name":"a","public":true,"membersonly":false,"affiliations_count":0}`, noID + "id"},
		{"easemob", `{"id":"","name":"a","public":true,"membersonly":false,"affiliations_count":0}`, empty},
		{"yunxin", `{"tname":"a","joinmode":0}`, "the team has no tid"},
		{"yunxin", `{"tid":"","tname":"a","joinmode":0}`, empty},
		{"yunxin", `{"team_type":1,"name":"a","owner_account_id":"o"}`, "the team has no team_id"},
		{"yunxin", `{"team_id":1,"team_type":1,"account_id":null,"member_role":2}`, "no account_id"},
		{"yunxin", `{"team_type":1,"account_id":"u","member_role":2}`, "no team_id"},
		{"openim", `{"groupName":"a","groupType":2,"needVerification":2}`, noID + "groupID"},
		{"openim", `{"groupID":"g","roleLevel":60,"joinTime":1}`, "no userID"},
		{"openim", `{"groupID":null,"userID":"u","roleLevel":60}`, "no groupID"},
		{"cometchat", `{"guid":"","name":"a","type":"public"}`, empty},
		{"cometchat", `{"guid":"g","uid":null,"scope":"admin"}`, "the member has no uid"},
		{"rongcloud", `{"groupId":"","name":"a","owner":"o"}`, empty},
		{"rocketchat", `{"_id":"","t":"c","name":"a"}`, empty},
		{"rocketchat", `{"_id":"s","rid":null,"t":"c","name":"a","u":{"_id":"u"},"unread":0}`, "the member has no rid"},
		{"rocketchat", `{"_id":"s","rid":7,"t":"c","name":"a","u":{"_id":"u"}}`, "the member has no rid"},
		{"rocketchat", `{"_id":"s","rid":"r","t":"c","name":"a","u":null}`, "the member has no rid, no u._id"},
		{"rocketchat", `{"_id":"s","rid":"r","u":{"_id":"u"}}`, "or no t"},
		{"sendbird", `{"name":"a","is_public":true,"is_distinct":false}`, "the channel has no channel_url"},
		{"sendbird", `{"channel_url":"","name":"a","is_public":true}`, empty},
		{"tencent", `{"GroupId":"","Type":"Public","Name":"a","ErrorCode":0}`, noID + "GroupId"},
		{"get_group_info", `{"GroupId":null,"Type":"Public","Name":"a"}`, noID + "GroupId"},
	} {
		text, _ := mapping.Builtin(row.system)
		lines, _ := entriesOf(t, text, "a.jsonl", row.record, export.Start)
		got := strings.Join(lines, "\n")
		if !strings.HasPrefix(got, "1 1 the mapping failed: ") || !strings.Contains(got, row.want) {
			t.Errorf("%s: %s: got %s, want %q", row.system, row.record, got, row.want)
		}
	}
}

// Responses are found in each line, as other systems' are, and a channel without an ID says what it is.
func TestBuiltIn_ResponsesPerLine(t *testing.T) {
	for _, row := range []struct{ system, response string }{
		{"sendbird", `{"channels":[{"channel_url":"x","name":"a"}],"next":""}`},
		{"sendbird", `{"group_channels":[{"channel_url":"x","name":"a"}]}`},
		{"rocketchat", `{"rooms":[{"_id":"r","t":"p","name":"a"}],"success":true}`},
		{"slack", `{"ok":true,"channels":[{"id":"C1","name":"a","created":1,"members":[]}]}`},
	} {
		text, _ := mapping.Builtin(row.system)
		lines, _ := entriesOf(t, text, "a.jsonl", row.response+"\n"+row.response+"\n", export.Start)
		if len(lines) != 2 || !strings.Contains(lines[1], `"Name":"a"`) {
			t.Errorf("%s: got %q, want 2 groups", row.response, lines)
		}
	}
	text, _ := mapping.Builtin("stream")
	lines, _ := entriesOf(t, text, "a.jsonl", `{"type":"channel","item":{"type":"messaging","member_ids":["a"]}}`,
		export.Start)
	if len(lines) != 1 || !strings.Contains(lines[0], "skipped: a channel without an ID") {
		t.Errorf("got %q", lines)
	}
}
