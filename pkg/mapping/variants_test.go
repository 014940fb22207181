package mapping_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"groupimport/pkg/export"
	"groupimport/pkg/mapping"
)

// variants are responses and exports as people save them: single ones and pages, fields that are missing, null, of
// another type or twice, and members as strings and objects. The first word is the mapping. Want are the lines of
// [entriesOf].
var variants = []struct {
	name, system, text string
	want               []string
}{
	{
		"members and admins of every form", "easemob",
		`{"data":[{"id":"1","name":"a","membersonly":false,"public":true,"owner":"o","created":1682588716646,` +
			`"affiliations_count":3,"affiliations":[{"member":"u2"},{"owner":"o"},"u3",{"admin":"u4"},null],` +
			`"admins":["u2","u5"],"disabled":false}]}`,
		[]string{`1 1 {"Type":"Public","GroupId":"1","Owner_Account":"o","Name":"a","ApplyJoinOption":"FreeAccess",` +
			`"CreateTime":1682588716} of 1 {"Member_Account":"u2","Role":"Admin"} {"Member_Account":"u5","Role":"Admin"} ` +
			`{"Member_Account":"u3"} {"Member_Account":"u4","Role":"Admin"}`},
	},
	{
		"strings instead of numbers and flags, no name, no owner", "easemob",
		`{"data":[{"id":1,"name":null,"membersonly":"false","public":"true","owner":null,"created":"1682588716646",` +
			`"affiliations_count":"3","affiliations":[{"owner":"o"}],"disabled":"false"}]}`,
		[]string{`1 1 {"Type":"Private","GroupId":"1","Owner_Account":"o","Name":"1","CreateTime":1682588716} of 1`},
	},
	{
		"one group", "easemob",
		`{"data":{"id":"1","name":"a","membersonly":true,"public":true,"owner":"o","affiliations_count":0}}`,
		[]string{`1 1 {"Type":"Public","GroupId":"1","Owner_Account":"o","Name":"a"} of 1`},
	},
	{
		"public twice", "easemob",
		`{"data":[{"id":"1","name":"a","membersonly":false,"public":true,"public":false,"affiliations_count":0}]}`,
		[]string{`1 1 {"Type":"Private","GroupId":"1","Name":"a"} of 1`},
	},
	{
		"a string in a string", "yunxin",
		`{"code":200,"tinfos":"[{\"tid\":123,\"tname\":\"a\",\"joinmode\":\"0\",\"members\":\"[\\\"u1\\\"]\"}]"}`,
		[]string{`1 1 {"Type":"Private","GroupId":"123","Name":"a"} of 123 {"Member_Account":"u1"}`},
	},
	{
		"teams of a user", "yunxin", `{"code":200,"infos":[{"tid":"9","tname":"a","owner":"o","maxusers":200,"size":3}]}`,
		[]string{`1 1 {"Type":"Private","GroupId":"9","Owner_Account":"o","Name":"a"} of 9`},
	},
	{
		"a type of team as a string", "yunxin",
		`{"code":200,"data":{"team_info":{"team_id":"9","team_type":"1","owner_account_id":"o","name":"a"}}}`,
		[]string{`1 1 {"Type":"Private","GroupId":"9","Owner_Account":"o","Name":"a"} of 9`},
	},
	{
		"roles as strings, none, and an empty page", "yunxin",
		`{"code":200,"data":{"items":[{"team_id":9,"account_id":"u1","member_role":"2"},{"team_id":9,"account_id":"u2"}]}}` +
			"\n" + `{"code":200,"data":{"items":null}}` + "\n" +
			`{"code":200,"data":{"items":[{"team_id":9,"account_id":"u3","member_role":2}]}}`,
		[]string{
			`1 1 {"GroupId":"9","Member_Account":"u1","Role":"Admin"} of 9`, `2 1 {"GroupId":"9","Member_Account":"u2"} of 9`,
			`3 3 {"GroupId":"9","Member_Account":"u3","Role":"Admin"} of 9`,
		},
	},
	{
		"responses in an array", "yunxin", `[{"code":200,"tinfos":[{"tid":1,"tname":"a"}]}]`,
		[]string{`1 1 the mapping left out an object with records at tinfos, which are read only in a file that begins ` +
			`with such an object: take the objects out of their array (jq -c '.[]' FILE), or remove what is before them in ` +
			`{"foreign":{"code":200,"tinfos":[{"tid":1,"tname":"a"}]}}`},
	},
	{
		"a response behind an error", "openim",
		`{"errCode":1}` + "\n" + `{"data":{"members":[{"groupID":"g","userID":"u","roleLevel":60}]}}`,
		[]string{
			"1 1 skipped: not an OpenIM group",
			`2 2 the mapping left out an object with records at data.members, which are read only in a file that begins with ` +
				`such an object: take the objects out of their array (jq -c '.[]' FILE), or remove what is before them in ` +
				`{"foreign":{"data":{"members":[{"groupID":"g","userID":"u","roleLevel":60}]}}}`,
		},
	},
	{
		"anybody may join", "rongcloud",
		`{"code":200,"profiles":[{"groupId":"g","groupName":"a","groupProfile":"{\"introduction\":\"i\"}",` +
			`"permissions":"{\"joinPerm\":1}","owner":"o","createTime":1500000000000,"memberCount":2}]}`,
		[]string{`1 1 {"Type":"Public","GroupId":"g","Owner_Account":"o","Name":"a","Introduction":"i",` +
			`"ApplyJoinOption":"FreeAccess","CreateTime":1500000000} of g`},
	},
	{
		"permissions of other forms", "rongcloud",
		`{"code":200,"profiles":[{"groupId":"g","name":"a","permissions":"{\"joinPerm\":\"1\"}"},` +
			`{"groupId":"h","name":"a","permissions":"joinPerm 1"},{"groupId":"i","name":"a","permissions":{"joinPerm":0}}]}`,
		[]string{
			`1 1 {"Type":"Private","GroupId":"g","Name":"a"} of g`, `2 1 {"Type":"Private","GroupId":"h","Name":"a"} of h`,
			`3 1 {"Type":"Private","GroupId":"i","Name":"a"} of i`,
		},
	},
	{
		"all groups of an app", "rongcloud",
		`{"code":200,"pageToken":"x","groups":[{"groupId":"g","name":"a","creator":"c","owner":"o","time":1500000000000}]}`,
		[]string{`1 1 {"Type":"Private","GroupId":"g","Owner_Account":"o","Name":"a","CreateTime":1500000000} of g`},
	},
	{
		"members of a hosted group", "rongcloud",
		`{"groupId":"g","code":200,"totalCount":3,"members":[{"userId":"u1","role":"2","time":"1500000000000"},` +
			`{"userId":"o","role":3},{"userId":"u2","role":1},null]}`,
		[]string{
			`1 1 {"GroupId":"g","Member_Account":"u1","Role":"Admin","JoinTime":1500000000} of g`,
			`2 1 {"GroupId":"g","Member_Account":"o"} of g`, `3 1 {"GroupId":"g","Member_Account":"u2"} of g`,
		},
	},
	{
		"members without the group's ID", "rongcloud", `{"code":200,"users":[{"id":"u1"}]}`,
		[]string{`1 1 the mapping failed: error: the response has no groupId, which the list of a group's members does not ` +
			`return: add the one that was asked for in {"foreign":{"code":200,"users":[{"id":"u1"}]}}`},
	},
	{
		"a dismissed group, and the owner beside the group", "openim",
		`{"data":{"groups":[{"groupInfo":{"groupID":"f","groupName":"a","status":"2","groupType":2}},` +
			`{"groupInfo":{"groupID":"g","groupName":"a","ownerUserID":"","needVerification":"2"},"groupOwnerUserID":"o"}]}}`,
		[]string{
			"1 1 skipped: a dismissed group; INCLUDE_ARCHIVED=true imports it",
			`2 1 {"Type":"Private","GroupId":"g","Owner_Account":"o","Name":"a"} of g`,
		},
	},
	{
		"roles as strings, and none", "openim",
		`{"data":{"members":[{"groupID":"g","userID":"u","roleLevel":"60"},{"groupID":"g","userID":"v","joinTime":0}]}}`,
		[]string{
			`1 1 {"GroupId":"g","Member_Account":"u","Role":"Admin"} of g`,
			`2 1 {"GroupId":"g","Member_Account":"v"} of g`,
		},
	},
	{
		"who is only invited", "stream",
		`{"channels":[{"channel":{"id":"a","type":"t","cid":"t:a","created_by":{"id":"o"},"frozen":"false"},"members":[` +
			`{"user_id":"u1"},{"user_id":"u2","invited":true},{"user_id":"u3","invited":true,"invite_rejected_at":"2020"},` +
			`{"user":{"id":"u4"},"invited":true,"invite_accepted_at":"2020-01-02T00:00:00Z"}]}]}`,
		[]string{`1 1 {"Type":"Private","GroupId":"t:a","Owner_Account":"o","Name":"a"} of t:a {"Member_Account":"u1"} ` +
			`{"Member_Account":"u4"}`},
	},
	{
		"members without IDs", "stream",
		`{"type":"member","item":{"channel_id":"a","user_id":"u1"}}` + "\n" +
			`{"type":"member","item":{"channel_id":"a","channel_type":"t"}}` + "\n" +
			`{"type":"member","item":{"channel_id":"a","channel_type":"t","user_id":"u2","invited":true}}`,
		[]string{
			`1 1 the mapping failed: error: the member has no channel_type and channel_id in ` +
				`{"foreign":{"type":"member","item":{"channel_id":"a","user_id":"u1"}}}`,
			`2 2 the mapping failed: error: the member has no user_id in ` +
				`{"foreign":{"type":"member","item":{"channel_id":"a","channel_type":"t"}}}`,
			"3 3 skipped: only invited, not a member",
		},
	},
	{
		"a group without an ID", "cometchat", `{"groups":{"g2":{"name":"b","type":"public"}}}`,
		[]string{`1 1 the mapping failed: error: the group has no guid in {"foreign":{"name":"b","type":"public"}}`},
	},
	{
		"one group", "cometchat", `{"data":{"guid":"g1","name":"a","type":"public","owner":"o","createdAt":1673421419}}`,
		[]string{`1 1 {"Type":"Public","GroupId":"g1","Owner_Account":"o","Name":"a","ApplyJoinOption":"FreeAccess",` +
			`"CreateTime":1673421419} of g1`},
	},
	{
		"a banned user", "cometchat",
		`{"members":{"k":{"uid":"x","guid":"g1","scope":"participant","isBanned":true},"l":{"uid":"y","guid":"g1",` +
			`"isBanned":0}}}`,
		[]string{"1 1 skipped: a banned user, no member", `2 1 {"GroupId":"g1","Member_Account":"y"} of g1`},
	},
	{
		"the owner only in the list", "tencent",
		`{"GroupInfo":[{"GroupId":"g","Type":"Public","Name":"a","Owner_Account":"","MemberList":[{"Member_Account":"o",` +
			`"Role":"Owner"},{"Member_Account":"n","Role":"NotMember"},{"Member_Account":"u","Role":"Admin"}]}]}`,
		[]string{`1 1 {"Type":"Public","GroupId":"g","Owner_Account":"o","Name":"a"} of g ` +
			`{"Member_Account":"u","Role":"Admin"} and the owner`},
	},
	{
		"the owner only in the list", "get_group_info",
		`{"GroupInfo":[{"GroupId":"g","Type":"Public","Name":"a","Owner_Account":"","MemberList":[{"Member_Account":"o",` +
			`"Role":"Owner"},{"Member_Account":"m","Role":"Member"}]}]}`,
		[]string{`1 1 {"Type":"Public","GroupId":"g","Owner_Account":"o","Name":"a"} of g {"Member_Account":"m"} and the ` +
			`owner`},
	},
	{
		"members without the group's ID, and none", "tencent",
		`{"ErrorCode":0,"MemberList":[{"Member_Account":"u"}]}` + "\n" +
			`{"GroupId":"g","Member_Account":"n","Role":"NotMember"}`,
		[]string{
			`1 1 the mapping failed: error: the member has no GroupId, which get_group_member_info does not return: add the ` +
				`one that was asked for in {"foreign":{"ErrorCode":0,"MemberList":[{"Member_Account":"u"}]}}`,
			"2 2 skipped: no member of the group",
		},
	},
	{
		"operators without members", "sendbird",
		`{"channels":[{"channel_url":"x","name":"a","is_public":true,"operators":[{"user_id":"u1"}],"freeze":0}]}`,
		[]string{`1 1 {"Type":"Public","GroupId":"x","Name":"a"} of x {"Member_Account":"u1","Role":"Admin"}`},
	},
	{
		"members as objects, a topic as a string", "slack",
		`[{"id":"G1","name":"a","created":"1493960964","is_archived":0,"members":[{"id":"U1"},"U2"],"topic":"x"}]`,
		[]string{`1 1 {"Type":"Private","GroupId":"G1","Name":"a","Notification":"x","CreateTime":1493960964} of G1 ` +
			`{"Member_Account":"U1"} {"Member_Account":"U2"}`},
	},
	{
		"a role as a string", "rocketchat",
		`{"_id":"s","rid":"r","t":"c","u":{"_id":"u1"},"roles":"owner","ts":{"$date":"2020-01-01T00:00:00Z"}}`,
		[]string{`1 1 {"GroupId":"r","Member_Account":"u1","Role":"Admin","JoinTime":1577836800}`},
	},
}

// What people save is read in every form, or says why not: no owner, admin or member is lost, and nothing is public
// without the documented value.
func TestBuiltIn_Variants(t *testing.T) {
	for _, row := range variants {
		t.Run(row.system+"/"+row.name, func(t *testing.T) {
			text, _ := mapping.Builtin(row.system)
			got, _ := entriesOf(t, text, "groups.json", row.text, export.Start)
			if !slices.Equal(got, row.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(row.want, "\n"))
			}
		})
	}
}

// Numbers and flags as strings, single responses and lists of members tell the system too.
func TestDetectExport_Variants(t *testing.T) {
	for _, row := range []struct{ system, text string }{
		{"easemob", `{"data":[{"id":1,"name":"a","membersonly":"false","affiliations_count":"3"}]}`},
		{"easemob", `{"data":{"id":"1","name":"a","membersonly":true,"affiliations_count":3}}`},
		{"yunxin", `{"code":200,"infos":[{"tid":"9","tname":"a","owner":"o"}]}`},
		{"yunxin", `{"code":200,"tinfos":"[{\"tid\":\"123\",\"tname\":\"a\"}]"}`},
		{"openim", `{"data":{"groups":[{"groupInfo":{"groupID":"g","groupName":"a","groupType":2,"needVerification":""}}]}}`},
		{"openim", `{"data":{"members":[{"groupID":"g","userID":"u","roleLevel":"60"}]}}`},
		{"rongcloud", `{"groupId":"g","code":200,"members":[{"userId":"u1","role":2}]}`},
		{"rongcloud", `{"groups":[{"groupId":"g","name":"a","groupProfile":"{}","creator":"c","owner":"o","time":1}]}`},
		{"rongcloud", `{"profiles":[{"groupId":"g","groupName":"a","permissions":"{}"}]}`},
		{"cometchat", `{"data":{"guid":"g1","name":"a","type":"public"}}`},
		{"", `[{"id":"g","name":"a"}]`},
		{"", `{"groupId":"g","name":"a"}`},
	} {
		got, err := mapping.DetectExport(t.Context(), sourceOf("a.json", []byte(row.text)))
		if got != row.system || err != nil {
			t.Errorf("%s: got %q, %v, want %q", row.text, got, err, row.system)
		}
	}
}

// An object over several lines, as jq writes it, is a record although it holds an array of objects: the mapping says
// where records are.
func TestBuiltIn_PrettyRecords(t *testing.T) {
	for _, row := range []struct{ system, text, want string }{
		{
			"easemob", `{"id":"1","name":"a","membersonly":true,"affiliations_count":2,"affiliations":[{"member":"u"}],` +
				`"admins":["u"],"public":true}`,
			`1 1 {"Type":"Public","GroupId":"1","Name":"a"} of 1 {"Member_Account":"u","Role":"Admin"}`,
		},
		{
			"yunxin", `{"code":200,"tinfo":{"tid":1,"tname":"a","members":[{"accid":"u"}]}}`,
			`1 1 {"Type":"Private","GroupId":"1","Name":"a"} of 1 {"Member_Account":"u"}`,
		},
		{
			"rongcloud", `{"groupId":"g","code":200,"users":[{"id":"u"}]}`, `1 1 {"GroupId":"g","Member_Account":"u"} of g`,
		},
		{
			"tencent", `{"GroupId":"g","MemberNum":1,"MemberList":[{"Member_Account":"u","Role":"Admin"}]}`,
			`1 1 {"GroupId":"g","Member_Account":"u","Role":"Admin"} of g`,
		},
		{
			"stream", `{"channel":{"cid":"t:a","id":"a","type":"t"},"members":[{"user_id":"u"}]}`,
			`1 1 {"Type":"Private","GroupId":"t:a","Name":"a"} of t:a {"Member_Account":"u"}`,
		},
		{
			"cometchat", `{"guid":"g","uid":"u","scope":"admin","tags":[{"a":1}]}`,
			`1 1 {"GroupId":"g","Member_Account":"u","Role":"Admin"} of g`,
		},
	} {
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, []byte(row.text), "", "  "); err != nil {
			t.Fatal(err)
		}
		text, _ := mapping.Builtin(row.system)
		if got, _ := entriesOf(t, text, "a.json", pretty.String(), export.Start); !slices.Equal(got, []string{row.want}) {
			t.Errorf("%s: got %q, want %q", row.system, got, row.want)
		}
		if got, err := mapping.DetectExport(t.Context(), sourceOf("a.json", pretty.Bytes())); got != row.system ||
			err != nil {
			t.Errorf("%s: detected %q, %v", row.system, got, err)
		}
	}
}
