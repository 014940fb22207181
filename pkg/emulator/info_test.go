package emulator_test

import (
	"encoding/json"
	"strings"
	"testing"

	"groupimport/pkg/emulator"
)

func encode(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func newLookupService() *emulator.Service {
	s := newService()
	s.Put(emulator.Group{GroupID: "a", Type: "Public", Name: "A", CreateTime: 7})
	s.Put(emulator.Group{
		GroupID: "b", Type: "Private", Name: "B", Owner: "bob", CreateTime: 8, MaxMemberCount: 9,
		AppDefinedData: []emulator.Pair{{Key: "k", Value: "\x00"}, {Key: "l", Value: ""}},
	})
	return s
}

// The keys of an entry are sorted here. They have no order in the response.
func TestGetGroupInfo(t *testing.T) {
	for _, test := range []struct{ name, body, want string }{
		{
			"without a filter all fields, in reverse order",
			`{"GroupIdList":["a","b"]}`,
			`[{"AppDefinedData":[{"Key":"k","Value":"\u0000"},{"Key":"l","Value":""}],"ApplyJoinOption":"NeedPermission",` +
				`"CreateTime":8,"ErrorCode":0,"ErrorInfo":"","FaceUrl":"","GroupId":"b","Introduction":"","LastInfoTime":0,` +
				`"LastMsgTime":0,"MaxMemberNum":9,"MemberList":[{"Member_Account":"bob","Role":"Owner"}],"MemberNum":1,` +
				`"Name":"B","NextMsgSeq":0,"Notification":"","Owner_Account":"bob","ShutUpAllMember":"Off","SupportTopic":0,` +
				`"Type":"Private"},` +
				`{"ApplyJoinOption":"NeedPermission","CreateTime":7,"ErrorCode":0,"ErrorInfo":"","FaceUrl":"","GroupId":"a",` +
				`"Introduction":"","LastInfoTime":0,"LastMsgTime":0,"MaxMemberNum":2000,"MemberNum":0,"Name":"A","NextMsgSeq":0,` +
				`"Notification":"","Owner_Account":"","ShutUpAllMember":"Off","SupportTopic":0,"Type":"Public"}]`,
		},
		{
			"with a filter only its fields",
			`{"GroupIdList":["b"],"ResponseFilter":{"GroupBaseInfoFilter":["Type","Name","Owner_Account","CreateTime"],` +
				`"AppDefinedDataFilter_Group":["k"]}}`,
			`[{"AppDefinedData":[{"Key":"k","Value":"\u0000"}],"CreateTime":8,"ErrorCode":0,"ErrorInfo":"","GroupId":"b",` +
				`"Name":"B","Owner_Account":"bob","Type":"Private"}]`,
		},
		{
			"a missing group has an error in its entry",
			`{"GroupIdList":["c","a"],"ResponseFilter":{"GroupBaseInfoFilter":["Name"]}}`,
			`[{"ErrorCode":0,"ErrorInfo":"","GroupId":"a","Name":"A"},` +
				`{"ErrorCode":10010,"ErrorInfo":"the group does not exist","GroupId":"c"}]`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			res := call(t, newLookupService(), "get_group_info", test.body)
			if got := encode(t, res.GroupInfo); got != test.want || res.ErrorCode != 0 {
				t.Errorf("got  %d %s\nwant %s", res.ErrorCode, got, test.want)
			}
		})
	}
}

func TestGetGroupInfo_InvalidRequests(t *testing.T) {
	ids := func(n int) string { return `{"GroupIdList":["a"` + strings.Repeat(`,"a"`, n-1) + `]}` }
	filter := func(f string) string { return `{"GroupIdList":["a"],"ResponseFilter":` + f + `}` }
	for _, test := range []struct {
		name, body string
		want       int
	}{
		{"50 GroupIds", ids(50), 0},
		{"51 GroupIds", ids(51), 10004},
		{"no GroupIds", `{"GroupIdList":[]}`, 10004},
		{"no list", `{}`, 10004},
		{"a list of numbers", `{"GroupIdList":[1]}`, 10004},
		{"an unknown member", `{"GroupIdList":["a"],"GroupID":1}`, 10004},
		{"no JSON", `[`, 60003},
		{"an unknown filter", filter(`{"BaseInfoFilter":[]}`), 10004},
		{"an unknown field", filter(`{"GroupBaseInfoFilter":["MaxMemberCount"]}`), 10004},
		{"a filter that is not an object", filter(`[]`), 10004},
	} {
		if got := call(t, newLookupService(), "get_group_info", test.body); got.ErrorCode != test.want {
			t.Errorf("%s: got %d %q, want %d", test.name, got.ErrorCode, got.ErrorInfo, test.want)
		}
	}
}
