package mapping_test

import (
	"slices"
	"strings"
	"testing"

	"groupimport/pkg/mapping"
)

// TestBuiltIn_Members checks the members of groups that systems return together with the group. The owner is not among
// them, because import_group adds the owner.
func TestBuiltIn_Members(t *testing.T) {
	for _, row := range []struct{ system, record, want string }{
		{
			"easemob", `{"id":"1","name":"a","affiliations_count":3,"affiliations":[{"member":"u3"},{"owner":"u1"},{"member":"u2"}]}`,
			`"MemberList":[{"Member_Account":"u3","Role":"Member"},{"Member_Account":"u2","Role":"Member"}]`,
		},
		{"easemob", `{"id":"1","name":"a","affiliations_count":0,"affiliations":null}`, `"MemberList":[]`},
		{
			"yunxin", `{"tid":1,"tname":"a","owner":"u1","admins":["u2"],"members":["u3"]}`,
			`"MemberList":[{"Member_Account":"u2","Role":"Admin"},{"Member_Account":"u3","Role":"Member"}]`,
		},
		{
			"yunxin", `{"tinfo":{"tid":1,"tname":"a","owner":{"accid":"u1"},"admins":[{"accid":"u2","createtime":1542542404088}],"members":[null]}}`,
			`"MemberList":[{"JoinTime":1542542404,"Member_Account":"u2","Role":"Admin"}]`,
		},
		{ // a time that is none costs its member only
			"yunxin", `{"tinfo":{"tid":1,"tname":"a","members":[{"accid":"u2","createtime":"soon"}]}}`,
			`"MemberList":[{"JoinTime":"soon","Member_Account":"u2","Role":"Member"}]`,
		},
		{
			"easemob", `{"id":"1","name":"a","affiliations_count":2,"admins":["u2"],"affiliations":[{"owner":"u1"},{"member":"u2"}]}`,
			`"MemberList":[{"Member_Account":"u2","Role":"Admin"},{"Member_Account":"u2","Role":"Member"}],"Name":"a","Owner_Account":"u1"`,
		},
		{
			"rongcloud", `{"groupId":"1","name":"a","users":[{"id":"u1"},{"userId":"u2","time":"2025-01-10 09:00:00"},"u3"]}`,
			`"MemberList":[{"Member_Account":"u1","Role":"Member"},{"JoinTime":1736499600,"Member_Account":"u2","Role":"Member"},` +
				`{"Member_Account":"u3","Role":"Member"}]`,
		},
		{
			"stream", `{"channel":{"id":"1","type":"team"},"members":[{"user_id":"u1","channel_role":"channel_moderator",` +
				`"created_at":"2021-01-02T03:04:05Z"},{"user":{"id":"u2"}}]}`,
			`"MemberList":[{"JoinTime":1609556645,"Member_Account":"u1","Role":"Admin"},{"Member_Account":"u2","Role":"Member"}]`,
		},
		{
			"tencent", `{"GroupId":"1","Type":"Public","Name":"a","MemberList":[{"Member_Account":"u1","Role":"Owner","JoinTime":5,` +
				`"MsgSeq":1},{"Member_Account":"u2","Role":"Admin","JoinTime":0},null]}`,
			`"MemberList":[{"JoinTime":5,"Member_Account":"u1","Role":"Member"},{"Member_Account":"u2","Role":"Admin"}]`,
		},
	} {
		text, _ := mapping.Builtin(row.system)
		p, err := mapping.Compile(text, document)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := p.Map([]byte(row.record)); err != nil || !strings.Contains(string(m.Record), row.want) {
			t.Errorf("%s: got %s %s %v, want %s in it", row.system, m.Record, m.Skipped, err, row.want)
		}
	}
}

// A response is read as the API returns it, also several behind one another.
func TestBuiltIn_Responses(t *testing.T) {
	for system, text := range map[string]string{
		"easemob": `{"action":"get","data":[{"id":"1","name":"a","affiliations_count":1}],"count":1}`,
		"yunxin":  `{"code":200,"tinfos":[{"tid":1,"tname":"a"}]}`,
		"openim":  `{"errCode":0,"data":{"groupInfos":[{"groupID":"1","groupName":"a","groupType":2}]}}`,
	} {
		program, _ := mapping.Builtin(system)
		for _, name := range []string{"a.json", "a.jsonl"} {
			got := run(t, program, name, []byte(text+"\n"+text+"\n"))
			if len(got) != 2 || !strings.HasPrefix(got[1], `{"Type":"Private","GroupId":"1","Name":"a"}`) {
				t.Errorf("%s, %s: got %q", system, name, got)
			}
		}
	}
}

// Responses with the members of one group become member records.
func TestBuiltIn_MemberResponses(t *testing.T) {
	for _, row := range []struct {
		system, text string
		want         []string
	}{
		{
			"tencent", `{"GroupId":"@TGS#1","MemberNum":2,"MemberList":[{"Member_Account":"u1","Role":"Owner",` +
				`"JoinTime":1427976500,"MsgSeq":1},{"Member_Account":"u2","Role":"Admin","JoinTime":1427976600}]}`,
			[]string{
				`{"GroupId":"1","Member_Account":"u1","JoinTime":1427976500} of @TGS#1, changed [GroupId]`,
				`{"GroupId":"1","Member_Account":"u2","Role":"Admin","JoinTime":1427976600} of @TGS#1, changed [GroupId]`,
			},
		},
		{"tencent", `{"Member_Account":"u1","JoinTime":5}`, []string{
			`the mapping failed: error: the member has no GroupId, which get_group_member_info does not return: ` +
				`add the one that was asked for in {"foreign":{"Member_Account":"u1","JoinTime":5}}`,
		}},
		{
			"rongcloud", `{"groupId":"g","code":200,"users":[{"id":"u1"},"u2"]}`,
			[]string{`{"GroupId":"g","Member_Account":"u1"} of g`, `{"GroupId":"g","Member_Account":"u2"} of g`},
		},
		{"cometchat", `{"data":[{"uid":"u1","scope":"admin"}]}`, []string{
			`the mapping failed: error: the member has no guid, which the list of a group's members does not return: ` +
				`add the one that was asked for in {"foreign":{"uid":"u1","scope":"admin"}}`,
		}},
	} {
		program, _ := mapping.Builtin(row.system)
		if got := run(t, program, "a.jsonl", []byte(row.text)); !slices.Equal(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.system, got, row.want)
		}
	}
}

// A path that is not a path does not compile.
func TestCompile_Records(t *testing.T) {
	for _, path := range []string{`""`, `".data"`, `"a..b"`, `"*.a"`, `1`, `null`, `[1]`, `["a",""]`} {
		if _, err := mapping.Compile("module {records: "+path+"}; .", document); err == nil ||
			!strings.Contains(err.Error(), `"records" must be names with dots between them`) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}
