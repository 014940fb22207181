package emulator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
)

// ask posts a body to a command of any service and returns the response's code and body.
func ask(t *testing.T, s *emulator.Service, command, body string) (code int, text string) {
	t.Helper()
	req := newRequest(t, "https://console.tim.qq.com", command, body)
	if strings.Contains(command, "account") {
		req.URL.Path = "/v4/im_open_login_svc/" + command
	}
	resp, err := do(t, s, req)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp).ErrorCode, resp.body
}

// newMemberService has the accounts a, b, c, owner and late, and a group of each type, created at 1000.
func newMemberService() *emulator.Service {
	s := newService()
	s.OnlyAccounts = true
	s.AddAccounts("a", "b", "c", "owner")
	for _, kind := range []string{"Public", "Private", "ChatRoom", "Community", "AVChatRoom"} {
		s.Put(emulator.Group{GroupID: kind, Type: kind, Name: kind, Owner: "owner", CreateTime: 1000})
	}
	s.Put(emulator.Group{GroupID: "small", Type: "Public", Owner: "owner", CreateTime: 1000, MaxMemberCount: 2})
	return s
}

func TestImportMembers(t *testing.T) {
	later := time.Now().Add(time.Hour).Unix()
	twenty := strings.TrimSuffix(strings.Repeat(`{"Member_Account":"a"},`, 20), ",")
	for _, test := range []struct {
		name, body string
		code       int
		want       string // Results, or the members that the Public group then has
	}{
		{"two members", `{"GroupId":"Public","MemberList":[{"Member_Account":"a","Role":"Admin","JoinTime":1001,
			"UnreadMsgNum":2},{"Member_Account":"b","JoinTime":1002}]}`, 0, "a=1 b=1"},
		{"twice", `{"GroupId":"Public","MemberList":[{"Member_Account":"a"},{"Member_Account":"a"}]}`, 0, "a=1 a=2"},
		{"the owner", `{"GroupId":"Public","MemberList":[{"Member_Account":"owner"}]}`, 0, "owner=2"},
		{"no account", `{"GroupId":"Public","MemberList":[{"Member_Account":"x"},{"Member_Account":"a"}]}`, 0, "x=0 a=1"},
		{"JoinTime of the creation", `{"GroupId":"Public","MemberList":[{"Member_Account":"a","JoinTime":1000}]}`, 0, "a=0"},
		{"JoinTime in the future", fmt.Sprintf(
			`{"GroupId":"Public","MemberList":[{"Member_Account":"a","JoinTime":%d}]}`, later), 0, "a=0"},
		{
			"an administrator of a Private group",
			`{"GroupId":"Private","MemberList":[{"Member_Account":"a","Role":"Admin"}]}`, 0, "a=0",
		},
		{"a full group", `{"GroupId":"small","MemberList":[{"Member_Account":"a"},{"Member_Account":"b"}]}`, 0, "a=1 b=0"},
		{"20 members", `{"GroupId":"Public","MemberList":[` + twenty + `]}`, 0, "a=1" + strings.Repeat(" a=2", 19)},
		{"21 members", `{"GroupId":"Public","MemberList":[` + twenty + `,{"Member_Account":"b"}]}`, 10005, ""},
		{"no members", `{"GroupId":"Public","MemberList":[]}`, 10004, ""},
		{"no MemberList", `{"GroupId":"Public"}`, 10004, ""},
		{"role of a member", `{"GroupId":"Public","MemberList":[{"Member_Account":"a","Role":"Member"}]}`, 10004, ""},
		{
			"an account of 33 bytes",
			`{"GroupId":"Public","MemberList":[{"Member_Account":"` + strings.Repeat("a", 33) + `"}]}`, 10004, "",
		},
		{"unknown field", `{"GroupId":"Public","MemberList":[{"Member_Account":"a","NameCard":"n"}]}`, 10004, ""},
		{"JoinTime as text", `{"GroupId":"Public","MemberList":[{"Member_Account":"a","JoinTime":"1001"}]}`, 10004, ""},
		{"no group", `{"GroupId":"other","MemberList":[{"Member_Account":"a"}]}`, 10010, ""},
		{"no GroupId", `{"MemberList":[{"Member_Account":"a"}]}`, 10015, ""},
		{"AVChatRoom", `{"GroupId":"AVChatRoom","MemberList":[{"Member_Account":"a"}]}`, 10007, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newMemberService()
			code, body := ask(t, s, "import_group_member", test.body)
			if code != test.code || test.want != "" && results(body) != test.want {
				t.Errorf("got code %d, %s %s\nwant code %d, %s", code, results(body), body, test.code, test.want)
			}
		})
	}
}

// results returns the results of a response to import_group_member.
func results(body string) string {
	_, list, _ := strings.Cut(body, `"MemberList":[`)
	return strings.NewReplacer(`{"Member_Account":"`, "", `","Result":`, "=", "},", " ", "}", "", "]", "").Replace(list)
}

func TestImportMembers_AgainAddsNobody(t *testing.T) {
	s := newMemberService()
	body := `{"GroupId":"Public","MemberList":[{"Member_Account":"a","Role":"Admin","JoinTime":1001,"UnreadMsgNum":2}]}`
	for _, want := range []string{"a=1", "a=2"} {
		if _, got := ask(t, s, "import_group_member", body); results(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	g, _ := s.Group("Public")
	want := []emulator.Member{{Account: "a", Role: "Admin", JoinTime: 1001, Unread: 2, Added: 1, Requests: 2}}
	if fmt.Sprint(g.Members) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", g.Members, want)
	}
	if got := s.Stats(); got.Members != 1 || got.Commands["import_group_member"].Requests != 2 {
		t.Errorf("got %+v, want 1 member by 2 requests", got)
	}
	_, got := ask(t, s, "get_group_info", `{"GroupIdList":["Public"]}`)
	if !strings.Contains(got, `"MemberNum":2`) || !strings.Contains(got, `"Role":"Admin"`) {
		t.Errorf("got %s, want the owner and an Admin", got)
	}
}

func TestAccounts(t *testing.T) {
	s := newMemberService()
	s.RefusedAccounts = []string{"bad"}
	many := strings.TrimSuffix(strings.Repeat(`{"UserID":"a"},`, 101), ",")
	for _, test := range []struct {
		name, command, body string
		code                int
		want                string // in the response
	}{
		{
			"check", "account_check", `{"CheckItem":[{"UserID":"x"},{"UserID":"a"}]}`, 0,
			`"ResultItem":[{"UserID":"a","ResultCode":0,"ResultInfo":"","AccountStatus":"Imported"},` +
				`{"UserID":"x","ResultCode":0,"ResultInfo":"","AccountStatus":"NotImported"}]`,
		},
		{"check none", "account_check", `{"CheckItem":[]}`, 70206, ""},
		{"check 101", "account_check", `{"CheckItem":[` + many + `]}`, 70206, ""},
		{"check another field", "account_check", `{"CheckItem":[{"UserId":"a"}]}`, 70402, ""},
		{
			"import", "multiaccount_import", `{"AccountList":[{"UserID":"x"},{"UserID":"bad","Nick":"n"}]}`, 0,
			`"FailAccounts":["bad"]`,
		},
		{"then it exists", "account_check", `{"CheckItem":[{"UserID":"x"}]}`, 0, `"AccountStatus":"Imported"`},
		{"import by the older body", "multiaccount_import", `{"Accounts":["y"]}`, 0, `"FailAccounts":[]`},
		{"import by both", "multiaccount_import", `{"Accounts":["y"],"AccountList":[{"UserID":"x"}]}`, 70402, ""},
		{"import 101", "multiaccount_import", `{"AccountList":[` + many + `]}`, 70206, ""},
		{"no JSON", "multiaccount_import", `{`, 60003, ""},
		{"an owner that exists", "import_group", `{"Type":"Public","Name":"n","Owner_Account":"y"}`, 0, ""},
		{"an owner that does not", "import_group", `{"Type":"Public","Name":"n","Owner_Account":"z"}`, 10019, ""},
	} {
		if code, body := ask(t, s, test.command, test.body); code != test.code || !strings.Contains(body, test.want) {
			t.Errorf("%s: got code %d, %s\nwant code %d, %s", test.name, code, body, test.code, test.want)
		}
	}
}

func TestCreateGroup(t *testing.T) {
	s := newMemberService()
	for _, test := range []struct {
		name, command, body string
		code                int
	}{
		{"an AVChatRoom", "create_group", `{"Type":"AVChatRoom","Name":"n","GroupId":"av","Owner_Account":"a"}`, 0},
		{"again", "create_group", `{"Type":"AVChatRoom","Name":"n","GroupId":"av","Owner_Account":"a"}`, 10021},
		{
			"members of an AVChatRoom", "create_group",
			`{"Type":"AVChatRoom","Name":"n","MemberList":[{"Member_Account":"b"}]}`, 10007,
		},
		{"CreateTime", "create_group", `{"Type":"AVChatRoom","Name":"n","CreateTime":1}`, 10004},
		{
			"members", "create_group",
			`{"Type":"Public","GroupId":"p","Name":"n","MemberList":[{"Member_Account":"b"}],"InviteJoinOption":"FreeAccess"}`, 0,
		},
		{"no such owner", "create_group", `{"Type":"AVChatRoom","Name":"n","Owner_Account":"x"}`, 10019},
		{"modify", "modify_group_base_info", `{"GroupId":"av","Introduction":"i","MaxMemberNum":7,"ShutUpAllMember":"On",
			"AppDefinedData":[{"Key":"k","Value":"v"}]}`, 0},
		{"the import's name of MaxMemberNum", "modify_group_base_info", `{"GroupId":"av","MaxMemberCount":7}`, 10004},
		{"modify no group", "modify_group_base_info", `{"GroupId":"other","Name":"n"}`, 10010},
		{"an empty name", "modify_group_base_info", `{"GroupId":"av","Name":""}`, 10004},
	} {
		if code, body := ask(t, s, test.command, test.body); code != test.code {
			t.Errorf("%s: got code %d, %s, want %d", test.name, code, body, test.code)
		}
	}
	av, _ := s.Group("av")
	if av.Type != "AVChatRoom" || av.Introduction != "i" || av.MaxMemberCount != 7 || len(av.AppDefinedData) != 1 ||
		av.Created != 1 || time.Since(time.Unix(av.CreateTime, 0)) > time.Minute {
		t.Errorf("got %+v", av)
	}
	if p, _ := s.Group("p"); len(p.Members) != 1 || p.Members[0].Account != "b" {
		t.Errorf("got %+v, want a member", p)
	}
	ask(t, s, "modify_group_base_info", `{"GroupId":"av","AppDefinedData":[{"Key":"k","Value":""}]}`)
	if av, _ = s.Group("av"); len(av.AppDefinedData) != 0 {
		t.Errorf("got %+v, want the key deleted", av.AppDefinedData)
	}
}

// Each command has its own limit.
func TestLimit_PerCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemberService()
		s.Limit = 0
		for command, limit := range map[string]int{
			"import_group": 200, "import_group_member": 200, "create_group": 200, "modify_group_base_info": 200,
			"account_check": 100, "multiaccount_import": 100,
		} {
			for n := range limit + 1 {
				if code, _ := ask(t, s, command, `{}`); (code == 60011) != (n == limit) {
					t.Fatalf("%s: request %d got code %d, limit %d", command, n+1, code, limit)
				}
			}
			if command == "import_group" {
				continue
			}
			got := s.Stats().Commands[command]
			if got.Requests != limit+1 || got.Throttled != 1 || got.BusiestSecond != limit+1 {
				t.Errorf("%s: got %+v", command, got)
			}
		}
		if got := s.Stats(); got.BusiestSecond != 201 || got.Throttled != 6 {
			t.Errorf("got %+v, want 201 requests to import_group in a second", got)
		}
	})
}

// All commands have the faults of import_group: a member whose response is lost is added.
func TestImportMembers_LostResponse(t *testing.T) {
	s := newMemberService()
	s.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
		if r.Command == "import_group_member" && r.GroupID == "Public" {
			return emulator.BadGatewayAfter
		}
		return emulator.None
	}}
	req := newRequest(t, "https://console.tim.qq.com", "import_group_member",
		`{"GroupId":"Public","MemberList":[{"Member_Account":"a"}]}`)
	if resp, err := do(t, s, req); err != nil || resp.status != http.StatusBadGateway {
		t.Fatalf("got %v, %v", resp, err)
	}
	if g, _ := s.Group("Public"); len(g.Members) != 1 {
		t.Errorf("got %v, want a member", g.Members)
	}
}
