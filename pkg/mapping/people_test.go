package mapping_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/mapping"
)

// entriesOf maps an export from a position and returns a line and the next position for each record.
func entriesOf(t *testing.T, program, name, text string, at export.Position) (lines []string, next []export.Position) {
	t.Helper()
	p, err := mapping.Compile(program, mapping.Settings{Limits: group.DocumentLimits, Name: mapping.BaseName(name)})
	if err != nil {
		t.Fatal(err)
	}
	src := export.Source{Name: name, Map: p, Open: func(offset int64) io.ReadCloser {
		return io.NopCloser(strings.NewReader(text[offset:]))
	}}
	r, err := export.NewReader(src, at, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range r.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Appendf(nil, "%d %d %s", e.Pos.N, e.Pos.Line, lineOf(&e))
		if !e.Record.IsMember && e.Problem == nil {
			for i := range e.Record.Members {
				m := &e.Record.Members[i]
				line = m.AppendJSON(append(line, ' '))
				if m.Problem != nil {
					line = append(append(line, ": "...), m.Problem.Message...)
				}
			}
			if e.Record.HasOwner {
				line = append(line, " and the owner"...)
			}
		}
		lines, next = append(lines, string(line)), append(next, e.Next)
	}
	return lines, next
}

// The built-in mappings carry the members that the exports of a system have.
func TestBuiltIn_CarriesMembers(t *testing.T) {
	for _, row := range []struct {
		name, system, file, record string
		want                       []string
	}{
		{
			"Slack", "slack", "groups.json",
			`[{"id":"C58GTD2MP","name":"a","created":1493960964,"creator":"U1","members":["U1","U2",null,"U2","W3"]}]`,
			[]string{`1 1 {"Type":"Private","GroupId":"C58GTD2MP","Owner_Account":"U1","Name":"a","CreateTime":1493960964} of ` +
				`C58GTD2MP {"Member_Account":"U2"} {"Member_Account":"W3"} and the owner`},
		},
		{
			"Sendbird's API", "sendbird", "a.json",
			`{"channels":[{"channel_url":"x","name":"a","is_public":true,"created_at":1500000000,"created_by":{"user_id":"o"},` +
				`"operators":[{"user_id":"u1"}],"members":[{"user_id":"o","role":"operator","state":"joined"},{"user_id":"u1"},` +
				`{"user_id":"u2","role":"operator"},{"user_id":"u3","state":"invited","role":""},{"user_id":"u4","role":""},` +
				`null]}]}`,
			[]string{`1 1 {"Type":"Public","GroupId":"x","Owner_Account":"o","Name":"a","CreateTime":1500000000} of x ` +
				`{"Member_Account":"u1","Role":"Admin"} {"Member_Account":"u2","Role":"Admin"} {"Member_Account":"u4"} and the ` +
				`owner`},
		},
		{
			"Sendbird's export", "sendbird", "a.json",
			`{"group_channels":[{"channel_url":"x","name":"a","created_at":1500000000,"members":[{"user_id":"1",` +
				`"name":"Ann"}]}]}`,
			[]string{`1 1 {"Type":"Private","GroupId":"x","Name":"a","CreateTime":1500000000} of x {"Member_Account":"1"}`},
		},
		{
			"get_group_info", "get_group_info", "a.jsonl",
			`{"GroupId":"g","Type":"Public","Name":"a","Owner_Account":"o","CreateTime":1448357837,"ErrorCode":0,` +
				`"MemberList":[` +
				`{"Member_Account":"o","Role":"Owner","JoinTime":5},{"Member_Account":"u1","Role":"Admin","JoinTime":1448357838,` +
				`"MsgSeq":1},{"Member_Account":"u2","Role":"Member"},{"Member_Account":"u3","Role":"NotMember"}]}`,
			[]string{`1 1 {"Type":"Public","GroupId":"g","Owner_Account":"o","Name":"a","CreateTime":1448357837} of g ` +
				`{"Member_Account":"u1","Role":"Admin","JoinTime":1448357838} {"Member_Account":"u2"} and the owner`},
		},
		{
			"Rocket.Chat's usernames", "rocketchat", "a.jsonl",
			`{"_id":"r","t":"p","name":"a","ts":{"$date":"2024-01-31T09:00:00Z"},"u":{"_id":"id1","username":"kim"},` +
				`"usernames":["kim","lee"]}`,
			[]string{`1 1 {"Type":"Private","GroupId":"r","Owner_Account":"id1","Name":"a","CreateTime":1706691600} of r ` +
				`{"Member_Account":"lee"} and the owner`},
		},
		{
			"Rocket.Chat's subscriptions", "rocketchat", "a.jsonl",
			`{"_id":"s1","t":"c","rid":"r-` + strings.Repeat("x", 50) +
				`","u":{"_id":"id1","username":"kim"},"roles":["moderator"],` +
				`"ts":{"$date":"2024-01-31T09:00:00Z"},"unread":3}` + "\n" +
				`{"_id":"s2","t":"d","rid":"id1id2","u":{"_id":"id1"}}` + "\n" +
				`{"_id":"s3","t":"p","rid":"r","u":{"_id":"id2"},"roles":null,"unread":0}` + "\n" +
				`{"_id":"m","t":"uj","rid":"r","u":{"_id":"id2"},"msg":"lee"}`,
			[]string{
				`1 1 {"GroupId":"r-xxxxxxxxxxxxxxxxxxxxxxxxxxxxx-1b66231b2ad25402","Member_Account":"id1","Role":"Admin",` +
					`"JoinTime":1706691600,"UnreadMsgNum":3}, changed [GroupId]`,
				"2 2 skipped: a member of a direct message or livechat",
				`3 3 {"GroupId":"r","Member_Account":"id2"}`, "4 4 skipped: a member of a room of type uj",
			},
		},
		{
			"Mattermost", "mattermost", "a.jsonl",
			`{"type":"channel","channel":{"team":"core","name":"` + strings.Repeat("x", 60) +
				`","type":"O","display_name":"X"}}` + "\n" +
				`{"type":"user","user":{"username":"kim","teams":[{"name":"core","channels":[{"name":"` + strings.Repeat("x", 60) +
				`","roles":"channel_user channel_admin"},{"name":"b","roles":"channel_user"},{},null]},{"name":"t2","channels":` +
				`[{"name":"c"}]},{"name":"t3"},null]}}` + "\n" + `{"type":"user","user":{"username":"bot"}}` + "\n" +
				`{"type":"post","post":{}}` + "\n" +
				`{"type":"user","user":{"username":"é","teams":[{"name":"core","channels":[{"name":"b"}]}]}}`,
			[]string{
				`1 1 {"Type":"Public","GroupId":"core.xxxxxxxxxxxxxxxxxxxxxxxxxx-2f7c4905841bd863","Name":"X",` +
					`"ApplyJoinOption":"FreeAccess"} of core.` + strings.Repeat("x", 60) + `, changed [GroupId]`,
				`2 2 {"GroupId":"core.xxxxxxxxxxxxxxxxxxxxxxxxxx-2f7c4905841bd863","Member_Account":"kim","Role":"Admin"}, ` +
					`changed [GroupId]`,
				`3 2 {"GroupId":"core.b","Member_Account":"kim"}`, `4 2 {"GroupId":"t2.c","Member_Account":"kim"}`,
				"5 3 ignored", "5 4 ignored",
				`5 5 Member_Account must be printable ASCII, is not at byte 0: "é" in {"GroupId":"core.b","Member_Account":"é",` +
					`"Role":null}`,
			},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			program, _ := mapping.Builtin(row.system)
			if got, _ := entriesOf(t, program, row.file, row.record, export.Start); !slices.Equal(got, row.want) {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(row.want, "\n     "))
			}
		})
	}
}

// Members that are not a list, or not as documented, never break the group.
func TestBuiltIn_OddMembers(t *testing.T) {
	for _, row := range []struct{ system, record, field string }{
		{"slack", `{"id":"C58GTD2MP","name":"a","created":1493960964,"topic":{},"members":%s}`, ""},
		{"sendbird", `{"channel_url":"x","name":"a","created_at":1500000000,"members":%s}`, ""},
		{"sendbird", `{"channel_url":"x","name":"a","created_at":1500000000,"members":[{"user_id":"1"}],"operators":%s}`, ""},
		{"get_group_info", `{"GroupId":"g","Type":"Public","Name":"a","ErrorCode":0,"MemberList":%s}`, ""},
		{"rocketchat", `{"_id":"r","t":"p","name":"a","u":{"_id":"1"},"usernames":%s}`, ""},
	} {
		program, _ := mapping.Builtin(row.system)
		for _, odd := range []string{`null`, `7`, `"x"`, `{}`, `[]`, `[null,7,"",{},[[]]]`, `[{"user_id":7}]`} {
			got := run(t, program, "a.jsonl", fmt.Appendf(nil, row.record, odd))
			if len(got) != 1 || !strings.HasPrefix(got[0], `{"Type":"P`) {
				t.Errorf("%s with %s: got %q", row.system, odd, got)
			}
		}
	}
}

// A large channel is mapped within the limits of a program.
func TestSlack_ManyMembers(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`{"id":"C58GTD2MP","name":"a","created":1493960964,"topic":{},"members":["U0"`)
	members := 49_999 // and one: as many as a list may have
	if isRace {
		members = 10_000
	}
	for i := range members {
		fmt.Fprintf(&b, `,"U%09d"`, i)
	}
	b.WriteString("]}")
	program, _ := mapping.Builtin("slack")
	got, _ := entriesOf(t, program, "channels.jsonl", b.String(), export.Start)
	if n := strings.Count(strings.Join(got, ""), "Member_Account"); n != members+1 {
		t.Errorf("got %d members and %.300q, want %d", n, got, members+1)
	}
}

// A record that becomes several records is resumed after any of them, in any format.
func TestReader_ResumesSeveral(t *testing.T) {
	const program = `if .skip then skip("x") elif .ignore then ignore
		else .users as $users | .id as $id | if $users then {GroupId: $id, Member_Account: $users[]} else {Type: "Public", Name: .id} end end`
	records := []string{
		`{"id":"g1"}`, `{"id":"g1","users":["u1","u2","u3"]}`, `{"skip":true}`, `{"id":"g2","users":["é","u5"]}`,
		`{"ignore":true}`, `{"id":"g3","users":["u6"]}`, `{"id":"g4","users":["u7","u8"]}`,
	}
	var longest []string
	for name, text := range map[string]string{
		"a.jsonl": strings.Join(records, "\n") + "\n", "a.json": "[" + strings.Join(records, " ,\n") + "]\n[" + records[6] +
			"]",
		"b.json": "{\"groups\":[" + strings.Join(records, ",") + "]}",
		"c.json": strings.ReplaceAll(strings.Join(records, "\n"), ",", ",\n"),
		"d.json": "[" + records[1] + "]", "a.csv": "id\ng\n",
	} {
		all, next := entriesOf(t, program, name, text, export.Start)
		longest = append(longest, all...)
		n := int64(1)
		for i, at := range next {
			rest, _ := entriesOf(t, program, name, text, at)
			if !slices.Equal(rest, all[i+1:]) {
				t.Errorf("%s, after %s at %+v: got %q, want %q", name, all[i], at, rest, all[i+1:])
			}
			if !strings.Contains(all[i], "ignored") {
				n++
			}
			if at.N != n {
				t.Errorf("%s, after %s: got ordinal %d, want %d", name, all[i], at.N, n)
			}
		}
	}
	if !slices.ContainsFunc(longest, func(line string) bool { return strings.HasPrefix(line, "12 ") }) {
		t.Errorf("got %q", longest)
	}
}

func TestProgram_Several(t *testing.T) {
	const member = `{GroupId:"g",Member_Account:"u"}`
	for program, want := range map[string]string{
		member + `,{Type:"Public",Name:"a"}`: "the mapping returned more than one record, and not all are members",
		`{Type:"Public",Name:"a"},` +
			member: "the mapping returned more than one record, and not all are members",
		member + `,7`: "the mapping returned more than one record, and not all are members",
		`range(10001) | {GroupId:"g",Member_Account:"u\(.)"}`: "the mapping returned more than 10000 records",
		member + `,error("e")`:                                "the mapping failed: error: e",
		member +
			`,({GroupId:"g",Member_Account:"u",source:[]})`: "the mapping failed: source must be a string or an integer, not " +
			"array",
	} {
		if isRace && strings.HasPrefix(program, "range") {
			continue
		}
		if got := run(t, program, "a.jsonl", []byte("{}")); len(got) != 1 || got[0] != want+` in {"foreign":{}}` {
			t.Errorf("%s: got %q, want %s", program, got, want)
		}
	}
	got := run(t, `("ab","c") | {GroupId:"g",Member_Account:cut_bytes(1),source:.}`, "a.jsonl", []byte("{}"))
	if want := []string{
		`{"GroupId":"g","Member_Account":"a"} of ab, changed [Member_Account]`, `{"GroupId":"g","Member_Account":"c"} of c`,
	}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// The record of a dead-letter line that could not be mapped before.
	line := `{"n":1,"status":"rejected","record":{"foreign":{"x":1}}}`
	if got := run(t, member+`,`+member, "a.jsonl", []byte(line)); len(got) != 2 {
		t.Errorf("got %q, want both members", got)
	}
	if got := run(t, `module {only: {type: ["a", "b"]}}; `+
		member, "a.jsonl", []byte(`{"type":"a"}`+"\n"+`{"type":"c"}`+"\n"+`{"type":"b"}`)); len(got) != 3 ||
		got[1] != "ignored" || got[2] == "ignored" {
		t.Errorf("got %q, want the second one ignored", got)
	}
}
