package mapping_test

import (
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

// A path that is not a path does not compile.
func TestCompile_Records(t *testing.T) {
	for _, path := range []string{`""`, `".data"`, `"a..b"`, `"*.a"`, `1`, `null`, `[1]`, `["a",""]`} {
		if _, err := mapping.Compile("module {records: "+path+"}; .", document); err == nil ||
			!strings.Contains(err.Error(), `"records" must be names with dots between them`) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}
