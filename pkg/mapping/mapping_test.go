package mapping_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/mapping"
)

// The samples in testdata have the structure of real exports, with invented content:
//
// slack channels.json, groups.json, mpims.json, dms.json, users.json and a day's messages as in the export that
//
//	github.com/mattermost/mmetl reads (services/slack), and as "How to read Slack data exports",
//
// slack.com/help/articles/220556107, lists them; api/ as docs.slack.dev/reference/methods/conversations.list
//
//	mattermost      docs.mattermost.com/onboard/bulk-loading-data-format.html; deleted_at as mmetl writes it
//	rocketchat      developer.rocket.chat/apidocs/get-all-room-admins (2026-06-01) and room-schema (2025-09-02)
//
// sendbird group_channels.json as in github.com/talkjs/talkjs-examples, rest-api/migrate-data-from-sendbird-to-talkjs
//
//	                (d9a2c858); channels.json as the API's "List group channels"
//	discord         discord.com/developers/docs/resources/channel, "Example Channel Payloads"
//	easemob         docs.agora.io/en/agora-chat/restful-api/chat-group-management/manage-chat-groups, "Get group details"
//	yunxin          github.com/netease-im/yunxin-server-sdk-golang; doc.yunxin.163.com/messaging2/server-apis/DI1Nzc3MDY
//	openim          docs.openim.io/restapi/apis/groupManagement/getGroupsInfo
//	rongcloud       github.com/rongcloud/server-sdk-go, sdk/entrust_group.go
//	stream          getstream.github.io/stream-cli/imports.html; getstream.io/chat/docs/rest, "Query channels"
//	cometchat       cometchat.com/docs/rest-api/data-import-apis, "Import Groups" and "Import Group Members"
//	tencent         as get_group_info, and tencentcloud.com/document/product/1047/34948
//	get_group_info  tencentcloud.com/document/product/1047/34962
var samples = map[string][]string{
	"slack/channels.json": {
		`{"Type":"Public","GroupId":"C58GTD2MP","Owner_Account":"U591XC8LT","Name":"general","Introduction":"This channel ` +
			`is for team-wide communication and announcements. All team members are in this channel.","Notification":"R&D <3,` +
			` and &lt;","ApplyJoinOption":"FreeAccess","CreateTime":1493960964} of C58GTD2MP`,
		`{"Type":"Public","GroupId":"C595H5LGL","Owner_Account":"U591XC8LT","Name":"项目-渠道-一二三四五","Introduction":"a > b",` +
			`"ApplyJoinOption":"FreeAccess","CreateTime":1493960999} of C595H5LGL, changed [Name]`,
		"skipped: an archived channel; INCLUDE_ARCHIVED=true imports it",
	},
	"slack/groups.json": {
		`{"Type":"Private","GroupId":"G0APRIV01","Owner_Account":"U0AAAA111","Name":"board-salaries","Introduction":"only ` +
			`the board","Notification":"Q3 raises","CreateTime":1456789012} of G0APRIV01`,
		`{"Type":"Private","GroupId":"C04NEWPRV","Owner_Account":"U0AAAA111","Name":"layoffs-2024",` +
			`"CreateTime":1656789012} of C04NEWPRV`,
		"skipped: a direct message, not a channel",
	},
	"slack/mpims.json": {"skipped: a direct message, not a channel"},
	"slack/dms.json":   {"skipped: a direct message, not a channel"},
	"slack/users.json": {"skipped: not a channel of a Slack export"},
	"slack/general/2024-01-01.json": {
		"skipped: not a channel of a Slack export",
		"skipped: not a channel of a Slack export",
	},
	"slack/api/channels.json": {
		`{"Type":"Public","GroupId":"C012AB3CD","Owner_Account":"U012A3CDE","Name":"general","Notification":"Company-wide ` +
			`announcements","ApplyJoinOption":"FreeAccess","CreateTime":1449252889} of C012AB3CD`,
		`{"Type":"Private","GroupId":"C061EG9T2","Owner_Account":"U061F7AUR","Name":"staff","CreateTime":1449252889} of ` +
			`C061EG9T2`,
	},
	"mattermost/export.jsonl": {
		"ignored",
		"ignored",
		`{"Type":"Public","GroupId":"core.town-square","Name":"Town Square","Introduction":"Everybody is here.",` +
			`"Notification":"Welcome. Read the [handbook](https://example.com/handbook) first.",` +
			`"ApplyJoinOption":"FreeAccess"} of core.town-square`,
		`{"Type":"Private","GroupId":"core.a-channel-with-a-handle-th-87f0ce306bb4b8de","Name":"Planning of the coming ` +
			`year, i"} of core.a-channel-with-a-handle-that-is-much-longer-than-an-id-may-be, changed [GroupId Name]`,
		`{"Type":"Public","GroupId":"core.sales","Name":"sales","ApplyJoinOption":"FreeAccess"} of core.sales`,
		`{"Type":"Private","GroupId":"core.ops","Name":"ops"} of core.ops`,
		`{"Type":"Private","GroupId":"core.ops2","Name":"Ops"} of core.ops2`,
		"skipped: an archived channel; INCLUDE_ARCHIVED=true imports it",
		`{"GroupId":"core.town-square","Member_Account":"kim"}`,
		"ignored",
		"ignored",
		"ignored",
	},
	"rocketchat/rooms.json": {
		`{"Type":"Private","GroupId":"654c9d1ca2f73c7460e1918b","Owner_Account":"CkCPNcvsvCDfmWLqC",` +
			`"Name":"animalGeography","Introduction":"Where the animals live","CreateTime":1699519740} of ` +
			`654c9d1ca2f73c7460e1918b`,
		`{"Type":"Public","GroupId":"GENERAL","Name":"general","Notification":"Be kind.","ApplyJoinOption":"FreeAccess",` +
			`"CreateTime":1612325106} of GENERAL`,
		"skipped: an archived room; INCLUDE_ARCHIVED=true imports it",
		`{"Type":"Private","GroupId":"dBWXYy4nyBHn8Q7dv","Name":"of-a-team","CreateTime":1612325106} of dBWXYy4nyBHn8Q7dv`,
		"skipped: a direct message",
	},
	"sendbird/channels.json": {
		`{"Type":"Private","GroupId":"sendbird_group_channel_25108471-90bf22ad1b6f9942","Owner_Account":"Jay",` +
			`"Name":"Marketing","FaceUrl":"https://sendbird.com/main/img/cover/cover_08.jpg","CreateTime":1543468122} of ` +
			`sendbird_group_channel_25108471_a1bc35f5f0d237207bc1rd343562c878fc2fd426, changed [GroupId]`,
		`{"Type":"Public","GroupId":"lobby","Name":"lobby","ApplyJoinOption":"FreeAccess","CreateTime":1600000000} of ` +
			`lobby, changed [FaceUrl]`,
	},
	"sendbird/group_channels.json": {
		`{"Type":"Private","GroupId":"sendbird_group_channel_22958395-0da5286d578256dc","Name":"Migration",` +
			`"FaceUrl":"https://static.sendbird.com/sample/cover/cover_15.jpg","CreateTime":1674850716} of ` +
			`sendbird_group_channel_229583953_53183fc50174e861b9a7d5c6684636dc94922349, changed [GroupId]`,
		"skipped: a frozen channel; INCLUDE_ARCHIVED=true imports it",
	},
	"discord/channels.json": {
		"skipped: a category",
		`{"Type":"Public","GroupId":"41771983423143937","Name":"general","Introduction":"24/7 chat about how to gank Mike ` +
			`#2","ApplyJoinOption":"FreeAccess","CreateTime":1430029616} of 41771983423143937`,
		`{"Type":"Private","GroupId":"399942396007890945","Name":"staff-only","CreateTime":1515424097} of 399942396007890945`,
		"skipped: a voice channel",
		`{"Type":"Public","GroupId":"960240226146021416","Name":"announcements","Introduction":"News",` +
			`"ApplyJoinOption":"FreeAccess","CreateTime":1649009510} of 960240226146021416`,
		`{"Type":"Private","GroupId":"1412345678901234567","Owner_Account":"80351110224678912","Name":"rollout",` +
			`"CreateTime":1756799849} of 1412345678901234567`,
		"skipped: an archived thread; INCLUDE_ARCHIVED=true imports it",
	},
	"easemob/groups.json": {
		`{"Type":"Public","GroupId":"66016455491585","Owner_Account":"user1","Name":"testgroup1","Introduction":"for ` +
			`testing","FaceUrl":"https://example.com/a.png","CreateTime":1542542403} of 66016455491585`,
		`{"Type":"Private","GroupId":"66021836783617","Owner_Account":"user1","Name":"board","CreateTime":1542542403} of ` +
			`66021836783617`,
		`{"Type":"Public","GroupId":"66021836783618","Owner_Account":"user2","Name":"66021836783618",` +
			`"ApplyJoinOption":"FreeAccess","CreateTime":1542542403} of 66021836783618`,
		`skipped: a disabled group; INCLUDE_ARCHIVED=true imports it`,
	},
	"yunxin/teams.jsonl": {
		`{"Type":"Private","GroupId":"4238567890","Owner_Account":"zhangsan","Name":"销售部-华东区-一二三","Introduction":"intro",` +
			`"Notification":"hello","CreateTime":1542542403} of 4238567890, changed [Name]`,
		`{"Type":"Public","GroupId":"4238567891","Owner_Account":"zhangsan","Name":"open","ApplyJoinOption":"FreeAccess",` +
			`"CreateTime":1542542403} of 4238567891`,
		`{"Type":"Private","GroupId":"4238567892","Owner_Account":"zhangsan","Name":"v2","Introduction":"i",` +
			`"CreateTime":1729000000} of 4238567892`,
	},
	"yunxin/members.json": {
		`{"GroupId":"4238567892","Member_Account":"zhangsan","JoinTime":1729000000} of 4238567892`,
		`{"GroupId":"4238567892","Member_Account":"lisi","Role":"Admin","JoinTime":1729000001} of 4238567892`,
		`{"GroupId":"4238567892","Member_Account":"wangwu","JoinTime":1729000002} of 4238567892`,
	},
	"openim/members.json": {
		`{"GroupId":"3621349865","Member_Account":"u1","JoinTime":1700000000} of 3621349865`,
		`{"GroupId":"3621349865","Member_Account":"u2","Role":"Admin","JoinTime":1700000001} of 3621349865`,
		`{"GroupId":"3621349865","Member_Account":"u3","JoinTime":1700000002} of 3621349865`,
	},
	"rongcloud/profiles.json": {
		`{"Type":"Private","GroupId":"rc1","Owner_Account":"u1","Name":"华东大区经销商与售后","Introduction":"介绍",` +
			`"Notification":"公告","FaceUrl":"https://example.com/p.png","CreateTime":1736404800} of rc1, changed [Name]`,
		`{"Type":"Private","GroupId":"rc2","Owner_Account":"u2","Name":"board","CreateTime":1736404800} of rc2`,
	},
	"stream/import.jsonl": {
		`ignored`,
		`{"Type":"Private","GroupId":"messaging:HQ","Owner_Account":"hannibal","Name":"Headquarters",` +
			`"CreateTime":1652691757} of messaging:HQ`,
		`{"Type":"Private","GroupId":"livestream:white-room","Owner_Account":"murdock","Name":"white-room",` +
			`"FaceUrl":"https://example.com/w.png","CreateTime":1652691757} of livestream:white-room`,
		`skipped: a frozen, disabled or deleted channel; INCLUDE_ARCHIVED=true imports it`,
		`{"GroupId":"messaging:HQ","Member_Account":"hannibal","Role":"Admin","JoinTime":1652691758} of messaging:HQ`,
		`{"GroupId":"messaging:HQ","Member_Account":"murdock"} of messaging:HQ`,
		`ignored`,
	},
	"stream/channels.json": {
		`{"Type":"Private","GroupId":"messaging:fun","Owner_Account":"u1","Name":"Fun","CreateTime":1609556645} of ` +
			`messaging:fun`,
	},
	"cometchat/groups.json": {
		`{"Type":"Public","GroupId":"guid1","Owner_Account":"superhero1","Name":"Lobby","ApplyJoinOption":"FreeAccess",` +
			`"CreateTime":1673421419} of guid1`,
		`{"Type":"Private","GroupId":"guid2","Owner_Account":"superhero2","Name":"Board","Introduction":"d",` +
			`"CreateTime":1673421419} of guid2`,
		`{"Type":"Private","GroupId":"guid3","Owner_Account":"superhero2","Name":"Vault",` +
			`"FaceUrl":"https://example.com/i.png","CreateTime":1673421419} of guid3`,
	},
	"cometchat/members.json": {
		`{"GroupId":"guid1","Member_Account":"uid2","Role":"Admin","JoinTime":1673421419} of guid1`,
		`{"GroupId":"guid2","Member_Account":"uid3","JoinTime":1673421420} of guid2`,
	},
	"tencent/groups.json": {
		`{"Type":"Public","GroupId":"1NVTZEAE4","Owner_Account":"leckie","Name":"MyFirstGroup","Introduction":"TestGroup",` +
			`"Notification":"TestGroup","FaceUrl":"https://this.is.face.url","MaxMemberCount":50,` +
			`"ApplyJoinOption":"FreeAccess","AppDefinedData":[{"Key":"GroupTestData1","Value":"xxxxx"}],` +
			`"CreateTime":1426976500} of @TGS#1NVTZEAE4, changed [GroupId]`,
		`{"Type":"Private","GroupId":"board","Owner_Account":"leckie","Name":"Board","MaxMemberCount":200,` +
			`"ApplyJoinOption":"DisableApply","CreateTime":1426976500} of board`,
		`skipped: get_group_info reported that the group does not exist (10010)`,
	},
	"tencent/members.jsonl": {
		`{"GroupId":"1NVTZEAE4","Member_Account":"bob","JoinTime":1427976500} of @TGS#1NVTZEAE4, changed [GroupId]`,
		`{"GroupId":"board","Member_Account":"peter","Role":"Admin","JoinTime":1427976600} of board`,
	},
	"openim/groups.json": {
		`{"Type":"Private","GroupId":"3621349865","Owner_Account":"u1","Name":"board","Introduction":"i",` +
			`"Notification":"n","CreateTime":1700000000} of 3621349865`,
		`{"Type":"Public","GroupId":"3621349866","Owner_Account":"u1","Name":"lobby","ApplyJoinOption":"FreeAccess",` +
			`"CreateTime":1700000000} of 3621349866`,
		`skipped: a dismissed group; INCLUDE_ARCHIVED=true imports it`,
	},
	"get_group_info/answer.json": {
		`{"Type":"Public","GroupId":"1NVTZEAE4","Owner_Account":"leckie","Name":"MyFirstGroup","Introduction":"TestGroup",` +
			`"Notification":"TestGroup","FaceUrl":"https://this.is.face.url","MaxMemberCount":50,` +
			`"ApplyJoinOption":"FreeAccess","AppDefinedData":[{"Key":"GroupTestData1","Value":"xxxxx"}],` +
			`"CreateTime":1426976500} of @TGS#1NVTZEAE4, changed [GroupId]`,
		`{"Type":"Private","GroupId":"1PRIVATE4","Owner_Account":"leckie","Name":"Board","MaxMemberCount":200,` +
			`"ApplyJoinOption":"DisableApply","CreateTime":1426976500} of @TGS#1PRIVATE4, changed [GroupId]`,
		"skipped: get_group_info reported that the group does not exist (10010)",
	},
}

// TestBuiltIn_Samples maps each file of testdata. The folder is the name of the mapping.
func TestBuiltIn_Samples(t *testing.T) {
	tried := map[string]bool{}
	for file, want := range samples {
		t.Run(file, func(t *testing.T) {
			name, _, _ := strings.Cut(file, "/")
			tried[name] = true
			program, _ := mapping.Builtin(name)
			head, _, _ := strings.Cut(program, "\nif ")
			if !strings.HasPrefix(head, "# ") || !strings.Contains(head, "https://") {
				t.Error("got no source at the program's head")
			}
			if got := run(t, program, "testdata/"+file, sample(t, file)); !slices.Equal(got, want) {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
			}
		})
	}
	if len(tried) != len(mapping.Names()) {
		t.Errorf("got samples of %d mappings, want of each of %q", len(tried), mapping.Names())
	}
}

func sample(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// IncludeArchived imports archived groups with their original type.
func TestBuiltIn_IncludeArchived(t *testing.T) {
	for file, want := range map[string]string{
		"slack/channels.json":          `{"Type":"Public","GroupId":"C5ARCHIVE1",`,
		"mattermost/export.jsonl":      `{"Type":"Public","GroupId":"core.gone",`,
		"rocketchat/rooms.json":        `{"Type":"Public","GroupId":"7jHqcrZ8FYXJBwgRB",`,
		"sendbird/group_channels.json": `{"Type":"Public","GroupId":"frozen-1",`,
		"discord/channels.json":        `{"Type":"Private","GroupId":"1412345678901234568",`,
		"easemob/groups.json":          `{"Type":"Public","GroupId":"66021836783619",`,
		"openim/groups.json":           `{"Type":"Public","GroupId":"3621349867",`,
		"stream/import.jsonl":          `{"Type":"Private","GroupId":"messaging:cold",`,
	} {
		name, _, _ := strings.Cut(file, "/")
		program, _ := mapping.Builtin(name)
		settings := mapping.Settings{Limits: group.DocumentLimits, Name: mapping.BaseName(file), IncludeArchived: true}
		got := strings.Join(runWith(t, program, settings, file, sample(t, file)), "\n")
		if !strings.Contains(got, want) || strings.Contains(got, "INCLUDE_ARCHIVED") {
			t.Errorf("%s: got %s, want %s in it", file, got, want)
		}
	}
}

// run maps an export and returns a line for each record.
func run(t *testing.T, program, name string, text []byte) []string {
	t.Helper()
	return runWith(t, program, mapping.Settings{Limits: group.DocumentLimits, Name: mapping.BaseName(name)}, name, text)
}

func runWith(t *testing.T, program string, settings mapping.Settings, name string, text []byte) []string {
	t.Helper()
	p, err := mapping.Compile(program, settings)
	if err != nil {
		t.Fatal(err)
	}
	src := export.Source{Name: name, Map: p, Open: func(offset int64) io.ReadCloser {
		return io.NopCloser(bytes.NewReader(text[offset:]))
	}}
	r, err := export.NewReader(src, export.Start, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	n := int64(1)
	for e, err := range r.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Pos.N != n {
			t.Errorf("got ordinal %d, want %d", e.Pos.N, n)
		}
		got = append(got, lineOf(&e))
		if n = e.Next.N; e.Ignored != (n == e.Pos.N) {
			t.Errorf("got %d after %d, ignored %v", n, e.Pos.N, e.Ignored)
		}
	}
	return got
}

func lineOf(e *export.Entry) string {
	switch {
	case e.Ignored:
		return "ignored"
	case e.Problem != nil:
		return e.Problem.Error() + " in " + string(e.Raw)
	case e.Skipped != "":
		return "skipped: " + e.Skipped
	}
	line := string(e.Record.AppendJSON(nil))
	if e.Source != "" {
		line += " of " + e.Source
	}
	if len(e.Changed) > 0 {
		line += fmt.Sprintf(", changed %v", e.Changed)
	}
	return line
}

// document are the settings for most programs.
var document = mapping.Settings{Limits: group.DocumentLimits}

func TestProgram_Results(t *testing.T) {
	const damaged = "a string that the mapping uses is not valid UTF-8, or contains a lone surrogate"
	const valid = `{Type:"Public",Name:"a"}`
	for name, row := range map[string]struct{ program, record, want string }{
		"a record": {valid, `{}`, `{"Type":"Public","Name":"a"}`},
		"an invalid record": {
			`{Type:"Public",Name:.n}`, `{"n":""}`,
			`Name is missing or empty in {"Name":"","Type":"Public"}`,
		},
		"nothing":             {`empty`, `{}`, "skipped: the mapping returned no record"},
		"select":              {`select(.ok) | ` + valid, `{}`, "skipped: the mapping returned no record"},
		"skip":                {`if .x then skip("no \(.x)") else . end`, `{"x":1}`, "skipped: no 1"},
		"skip without a word": {`skip("")`, `{}`, "skipped: skipped by the mapping"},
		"an error": {
			`error("bad")`, `{"x":1}`,
			`the mapping failed: error: bad in {"foreign":{"x":1}}`,
		},
		"a type error": {
			`.a.b`, `{"a":1}`,
			`the mapping failed: expected an object but got: number (1) in {"foreign":{"a":1}}`,
		},
		"two records": {
			valid + "," + valid, `{}`,
			`the mapping returned more than one record, and not all are members in {"foreign":{}}`,
		},
		"null":            {`null`, `{}`, "not a JSON object: found null in null"},
		"what is no JSON": {valid, `{"a":`, `not a JSON value: unexpected EOF at byte 5 in {"a":`},
		"of a name twice the last, as in jq": {
			`{Type:"Public",Name:.a}`, `{"a":"x","a":"y"}`,
			`{"Type":"Public","Name":"y"}`,
		},
		"half a surrogate pair in no field used": {valid, `{"a":"\ud800","\udc00":1}`, `{"Type":"Public","Name":"a"}`},
		"half a surrogate pair in a name that is used": {`{Type:"Public",Name:(keys[0])}`, `{"\udc00":1}`, damaged +
			` in {"foreign":{"\udc00":1}}`},
		"half a surrogate pair in a field used": {`{Type:"Public",Name:.a}`, `{"a":"\ud800"}`, damaged +
			` in {"foreign":{"a":"\ud800"}}`},
		"in a field used through a function that replaces it": {
			`{Type:"Public",Name:(.a|ascii_downcase)}`, `{"a":"\ud800"}`, damaged + ` in {"foreign":{"a":"\ud800"}}`,
		},
		"in a word of skip": {`skip(.a)`, `{"a":"\ud800"}`, damaged +
			` in {"foreign":{"a":"\ud800"}}`},
		"after what is cut": {
			`{Type:"Public",Name:(.a|cut_bytes(1))}`, `{"a":"x\ud800"}`,
			`{"Type":"Public","Name":"x"}, changed [Name]`,
		},
		"bytes that are no UTF-8 in no field used": {valid, "{\"a\":\"\xff\"}", `{"Type":"Public","Name":"a"}`},
		"the replacement character itself": {
			`{Type:"Public",Name:.a}`, `{"a":"\ufffd"}`,
			"{\"Type\":\"Public\",\"Name\":\"\ufffd\"}",
		},
		"ignore": {
			`if .x then ignore else ` + valid + ` end`, `{"x":1}`,
			"ignored",
		},
		"a function of the author's own goes before ours": {
			`def ignore: ` + valid + `; ignore`, `{}`,
			`{"Type":"Public","Name":"a"}`,
		},
		"a source": {
			`{Type:"Public",Name:"a",source:.id}`, `{"id":"C024BE91L"}`,
			`{"Type":"Public","Name":"a"} of C024BE91L`,
		},
		"a source that is a number": {
			`{Type:"Public",Name:"a",source:.id}`, `{"id":12345678901234567890123}`,
			`{"Type":"Public","Name":"a"} of 12345678901234567890123`,
		},
		"a source that cannot be printed": {
			`{Type:"Public",Name:"a",source:"a\u0000\n\u200bb"}`, `{}`, `{"Type":"Public","Name":"a"} of ab`,
		},
		"a source that is too long": {
			`{Type:"Public",Name:"a",source:("群" * 200)}`, `{}`,
			`{"Type":"Public","Name":"a"} of ` + strings.Repeat("群", 129),
		},
		"a source that is no text": {
			`{Type:"Public",Name:"a",source:[]}`, `{}`,
			`the mapping failed: source must be a string or an integer, not array in {"foreign":{}}`,
		},
		"changes by each function, in the order of the fields": {
			`{FaceUrl:(.u|fits(3)),Introduction:(.u|cut_bytes(3)),Type:"Public",Name:(.n|change(ltrimstr("x"))),` +
				`GroupId:("群"|fit_id),Notification:(.u|cut_bytes(9))}`,
			`{"u":"abcd","n":"xy"}`,
			`{"Type":"Public","GroupId":"-0df737cb62bb5175","Name":"y","Introduction":"abc","Notification":"abcd"}, changed ` +
				`[GroupId Name Introduction FaceUrl]`,
		},
		"a change that is used for another field": {
			`{Type:"Public",Name:((.u|fits(3)) // "other")}`, `{"u":"abcd"}`,
			`{"Type":"Public","Name":"other"}, changed [Name]`,
		},
		"a change that is not used": {
			`{Type:"Public",Name:((.u|cut_bytes(3)) as $x | "a")}`,
			`{"u":"abcd"}`, `{"Type":"Public","Name":"a"}`,
		},
		"a unit of time is no change": {
			`{Type:"Public",Name:"a",CreateTime:(.t|seconds)}`,
			`{"t":1500000000123}`, `{"Type":"Public","Name":"a","CreateTime":1500000000}`,
		},
		"whole numbers exactly": {
			`{Type:"Public",Name:"\(.a)"}`, `{"a":1234567890123456789012}`,
			`{"Type":"Public","Name":"1234567890123456789012"}`,
		},
		"a line of a failures file is no more mapped": {
			`error`, `{"n":1,"status":"failed","record":{"Type":"Public","Name":"b"}}`, `{"Type":"Public","Name":"b"}`,
		},
		"but one that was not mapped is": {
			`{Type:"Public",Name:.x}`,
			`{"n":1,"status":"rejected","record":{"foreign":{"x":"c"}}}`, `{"Type":"Public","Name":"c"}`,
		},
		"and again as often as it fails": {
			`error("e")`,
			`{"n":1,"status":"rejected","record":{"foreign":{"x":"c"}}}`,
			`the mapping failed: error: e in {"foreign":{"x":"c"}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, row.program, "a.jsonl", []byte(row.record))
			if len(got) != 1 || got[0] != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestProgram_Functions(t *testing.T) {
	for _, row := range []struct{ program, want string }{
		{`"群组" | cut_bytes(6)`, `"群组"`},
		{`"群组" | cut_bytes(5)`, `"群"`},
		{`"群组" | cut_bytes(2)`, `""`},
		{`"a😀b" | cut_bytes(4)`, `"a"`},
		{`null | cut_bytes(4)`, `null`},
		{`1 | cut_bytes(4)`, `the mapping failed: cut_bytes: the input must be a string, not number`},
		{`"a" | cut_bytes(-1)`, `the mapping failed: cut_bytes(-1): the argument must be a length in bytes`},
		{`"abc" | fits(3)`, `"abc"`},
		{`"abc" | fits(2)`, `null`},
		{`null | fits(2)`, `null`},
		{`"g-1" | fit_id`, `"g-1"`},
		{`17 | fit_id`, `"17"`},
		{`null | fit_id`, `null`},
		{`"@TGS#x" | fit_id`, `"x-2868bb78574a6f47"`},
		{`"群" | fit_id`, `"-0df737cb62bb5175"`},
		{`"群=5" | fit_id`, `"5-5512235e949a6651"`},
		{`"=5" | fit_id`, `"=5"`},
		{`1500000000 | seconds`, `1500000000`},
		{`1500000000123 | seconds`, `1500000000`},
		{`1500000000.9 | seconds`, `1500000000`},
		{`"1500000000123456" | seconds`, `1500000000`},
		{`"2017-07-14T02:40:00.5Z" | seconds`, `1500000000`},
		{`"2017-07-14T04:40:00+02:00" | seconds`, `1500000000`},
		{`"2017-07-14 02:40:00" | seconds`, `1500000000`},
		{`{"$date": {"$numberLong": "1500000000123"}} | seconds`, `1500000000`},
		{`null | seconds`, `null`},
		{`"" | seconds`, `null`},
		{
			`"20240131" | seconds`,
			`the mapping failed: seconds: "20240131" is a date of eight digits, or a day in 1970: write it with hyphens`,
		},
		{`"1.70666E+09" | seconds`, `the mapping failed: seconds: "1.70666E+09" is a number that a spreadsheet has rounded`},
		{`"soon" | seconds`, `the mapping failed: seconds: "soon" is not a time`},
		{`-1 | seconds`, `the mapping failed: seconds: -1 is not a time`},
		{`[] | seconds`, `the mapping failed: seconds: array is not a time`},
		{`$limits.Name`, `30`},
		{`env`, `{}`},
		{`$ENV.HOME`, `null`},
		{`try skip("x") catch .`, `"skipped: x"`},
	} {
		p, err := mapping.Compile(row.program, document)
		if err != nil {
			t.Fatal(err)
		}
		m, err := p.Map([]byte(`{}`))
		got := string(m.Record)
		if err != nil {
			got = err.Error()
		}
		if got != row.want || m.Skipped != "" {
			t.Errorf("%s: got %s %s, want %s", row.program, got, m.Skipped, row.want)
		}
	}
}

// fit_id makes IDs that the service accepts and that differ where the texts do.
func FuzzFitID(f *testing.F) {
	f.Add("@TGS#_@TGS#x", "群组")
	f.Add(strings.Repeat("a", 49), strings.Repeat("a", 50))
	p, err := mapping.Compile(`{Type:"Public",Name:"a",GroupId:(.|fit_id)}`, document)
	if err != nil {
		f.Fatal(err)
	}
	d := group.NewDecoder(group.DocumentLimits)
	damaged := regexp.MustCompile(`^(=|[0-9.,]+[eE]\+)`) // by a spreadsheet: the decoder rejects it
	f.Fuzz(func(t *testing.T, a, b string) {
		var ids []string
		for _, text := range []string{a, b} {
			if !utf8.ValidString(text) || text == "" || damaged.MatchString(text) {
				return
			}
			m, err := p.Map(fmt.Appendf(nil, "%q", text))
			if err != nil {
				return // Go's escapes are not all JSON's
			}
			r, err := d.Decode(m.Record)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			ids = append(ids, r.GroupID)
		}
		if (ids[0] == ids[1]) != (a == b) {
			t.Errorf("got %q for %q and %q", ids, a, b)
		}
	})
}

func TestProgram_Limits(t *testing.T) {
	for _, program := range []string{
		`def f: f; f`, `[range(1e9)] | length`, `last(range(1e12))`, `def f: [f]; f`,
		`reduce range(100) as $i ("xxxxxxxx"; . + .)`,
		`[limit(1e9; repeat(1))]`, `{}, (def f: f; f)`, `[recurse(if . < 1e9 then . + 1 else empty end)] | length`,
	} {
		p, err := mapping.Compile(program, document)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Map([]byte("1")); err == nil || !strings.Contains(err.Error(), "the mapping failed: more than ") {
			t.Errorf("%s: got %v, want it to be ended", program, err)
		}
		// It serves the next record as if nothing had been.
		if _, err := p.Map([]byte("{")); err == nil || !strings.Contains(err.Error(), "not a JSON value") {
			t.Errorf("%s: got %v", program, err)
		}
	}
}

func TestCompile_InvalidProgram(t *testing.T) {
	for program, want := range map[string]string{
		"{\n  Name: .name\n  Type: 1\n}": "the mapping is not a valid jq program: line 3: ",
		"nme(1)":                         "the mapping is not a valid jq program: function not defined: nme/1",
		`input`:                          "the mapping is not a valid jq program: input(s)/0 is not allowed",
		`include "a"; .`:                 "the mapping is not a valid jq program: ",
		strings.Repeat(" ", mapping.MaxProgram) + ".": "the mapping is 65537 bytes, limit 65536",
	} {
		if _, err := mapping.Compile(program, document); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", program, err, want)
		}
	}
}

func TestFind(t *testing.T) {
	read := func(name string) ([]byte, error) { return []byte("read " + name), nil }
	if got, err := mapping.Find("maps/own.jq", read); err != nil || got != "read maps/own.jq" {
		t.Errorf("got %q %v, want what the object holds", got, err)
	}
	if got, err := mapping.Find("slack", read); err != nil || !strings.HasPrefix(got, "# Slack") {
		t.Errorf("got %q %v, want the built-in one", got, err)
	}
	for _, name := range []string{"slak", "../slack", "", "a/slack"} {
		if _, err := mapping.Find(name, read); err == nil ||
			!strings.Contains(err.Error(),
				"cometchat, discord, easemob, get_group_info, mattermost, openim, rocketchat, rongcloud, sendbird, slack, "+
					"stream, tencent, yunxin") {
			t.Errorf("%q: got %v, want it to name what there is", name, err)
		}
	}
}

func BenchmarkMap(b *testing.B) {
	program, _ := mapping.Builtin("slack")
	p, err := mapping.Compile(program, document)
	if err != nil {
		b.Fatal(err)
	}
	raw := []byte(`{"id":"C58GTD2MP","name":"general","created":1493960964,"creator":"U591XC8LT","is_archived":false,` +
		`"is_general":true,"members":["U591XC8LT","U5A8GTD2M"],"topic":{"value":"Company-wide announcements","creator":"",` +
		`"last_set":0},"purpose":{"value":"For team-wide communication","creator":"","last_set":0}}`)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Map(raw); err != nil {
			b.Fatal(err)
		}
	}
}
