package emulator_test

import (
	"fmt"
	"strings"
	"testing"

	"groupimport/pkg/emulator"
)

func TestImport_Rules(t *testing.T) {
	han := func(n int) string { return strings.Repeat("汉", n) }
	with := func(members string) string { return `{"Type":"Public","Name":"n",` + members + `}` }
	data := func(pairs ...string) string { return with(`"AppDefinedData":[` + strings.Join(pairs, ",") + `]`) }
	var ten []string
	for i := range 10 {
		ten = append(ten, fmt.Sprintf(`{"Key":"k%d","Value":""}`, i))
	}
	for _, test := range []struct {
		rule string
		body string
		code int
		info string // part of ErrorInfo
	}{
		{"only the required fields", `{"Type":"Public","Name":"n"}`, 0, ""},
		{"no body", ``, 60003, ""},
		{"no JSON", `{"Type":`, 60003, ""},
		{"something after the object", `{"Type":"Public","Name":"n"}{}`, 60003, ""},
		{"invalid UTF-8", with("\"Introduction\":\"\xff\""), 60003, ""},
		{"lone surrogate", with(`"Introduction":"\ud800"`), 60003, ""},
		{"duplicate member", with(`"Name":"m"`), 60003, ""},
		{"duplicate member in an entry", data(`{"Key":"k","Value":"1","Value":"2"}`), 60003, ""},
		{"an array", `[]`, 10004, "object"},
		{"null", `null`, 10004, "object"},
		{"unknown member", with(`"MemberList":[]`), 10004, "MemberList"},
		{"member in wrong case", `{"Type":"Public","name":"n"}`, 10004, "unknown member name"},

		{"Type missing", `{"Name":"n"}`, 10004, "Type"},
		{"Private", `{"Type":"Private","Name":"n"}`, 0, ""},
		{"ChatRoom", `{"Type":"ChatRoom","Name":"n"}`, 0, ""},
		{"Community", `{"Type":"Community","Name":"n"}`, 0, ""},
		{"Work", `{"Type":"Work","Name":"n"}`, 10004, "Type"},
		{"Meeting", `{"Type":"Meeting","Name":"n"}`, 10004, "Type"},
		{"Type in wrong case", `{"Type":"public","Name":"n"}`, 10004, "Type"},
		{"AVChatRoom", `{"Type":"AVChatRoom","Name":"n"}`, 10007, "AVChatRoom"},

		{"Name missing", `{"Type":"Public"}`, 10004, "Name is missing"},
		{"Name empty", `{"Type":"Public","Name":""}`, 10004, "Name is missing"},
		{"Name null", `{"Type":"Public","Name":null}`, 10004, "Name is not a string"},
		{"Name a number", `{"Type":"Public","Name":1}`, 10004, "Name is not a string"},
		{"Name of 30 bytes in 10 characters", `{"Type":"Public","Name":"` + han(10) + `"}`, 0, ""},
		{"Name of 31 bytes in 11 characters", `{"Type":"Public","Name":"` + han(10) + `x"}`, 10004, "Name is 31 bytes"},
		{"Name of 30 bytes in 180 of JSON", `{"Type":"Public","Name":"` + strings.Repeat(`\u003c`, 30) + `"}`, 0, ""},
		{"Introduction of 240 bytes", with(`"Introduction":"` + han(80) + `"`), 0, ""},
		{"Introduction of 241 bytes", with(`"Introduction":"` + han(80) + `x"`), 10004, "Introduction"},
		{"Notification of 300 bytes", with(`"Notification":"` + han(100) + `"`), 0, ""},
		{"Notification of 301 bytes", with(`"Notification":"` + han(100) + `x"`), 10004, "Notification"},
		{"FaceUrl of 100 bytes", with(`"FaceUrl":"` + strings.Repeat("x", 100) + `"`), 0, ""},
		{"FaceUrl of 101 bytes", with(`"FaceUrl":"` + strings.Repeat("x", 101) + `"`), 10004, "FaceUrl"},

		{"Owner_Account of 32 bytes", with(`"Owner_Account":"` + strings.Repeat("~", 32) + `"`), 0, ""},
		{"Owner_Account of 33 bytes", with(`"Owner_Account":"` + strings.Repeat("~", 33) + `"`), 10004, "Owner_Account"},
		{"Owner_Account in Chinese", with(`"Owner_Account":"汉"`), 10004, "Owner_Account"},
		{"MaxMemberCount of 1", with(`"MaxMemberCount":1`), 0, ""},
		{"MaxMemberCount of 0", with(`"MaxMemberCount":0`), 10004, "MaxMemberCount"},
		{"MaxMemberCount of 6000", with(`"MaxMemberCount":6000`), 0, ""},
		{"MaxMemberCount of 6001", with(`"MaxMemberCount":6001`), 10004, "MaxMemberCount"},
		{"MaxMemberCount of 1000000, Community", `{"Type":"Community","Name":"n","MaxMemberCount":1000000}`, 0, ""},
		{"MaxMemberCount of 1000001", `{"Type":"Community","Name":"n","MaxMemberCount":1000001}`, 10004, "MaxMemberCount"},
		{"MaxMemberCount of 10000, ChatRoom", `{"Type":"ChatRoom","Name":"n","MaxMemberCount":10000}`, 0, ""},
		{"MaxMemberCount of 10001", `{"Type":"ChatRoom","Name":"n","MaxMemberCount":10001}`, 10004, "MaxMemberCount"},
		{"MaxMemberCount as text", with(`"MaxMemberCount":"500"`), 10004, "MaxMemberCount is not an integer"},
		{"MaxMemberCount as a fraction", with(`"MaxMemberCount":500.0`), 10004, "MaxMemberCount is not an integer"},
		{"CreateTime of 2038", with(`"CreateTime":2147483648`), 0, ""},
		{"CreateTime negative", with(`"CreateTime":-1`), 10004, "CreateTime"},
		{"CreateTime as a power", with(`"CreateTime":1e9`), 10004, "CreateTime"},
		{"FreeAccess", with(`"ApplyJoinOption":"FreeAccess"`), 0, ""},
		{"NeedPermission", with(`"ApplyJoinOption":"NeedPermission"`), 0, ""},
		{"DisableApply", with(`"ApplyJoinOption":"DisableApply"`), 0, ""},
		{"ApplyJoinOption empty", with(`"ApplyJoinOption":""`), 10004, "ApplyJoinOption"},
		{"ApplyJoinOption unknown", with(`"ApplyJoinOption":"DisableInvite"`), 10004, "ApplyJoinOption"},
		{"SupportTopic of a Community", `{"Type":"Community","Name":"n","SupportTopic":1}`, 0, ""},
		{"SupportTopic of another", with(`"SupportTopic":0`), 10004, "SupportTopic"},

		{"GroupId of 48 bytes", with(`"GroupId":"` + strings.Repeat(" ", 48) + `"`), 0, ""},
		{"GroupId of 49 bytes", with(`"GroupId":"` + strings.Repeat(" ", 49) + `"`), 10015, ""},
		{"GroupId in Chinese", with(`"GroupId":"汉"`), 10015, ""},
		{"GroupId with a tab", with(`"GroupId":"\t"`), 10015, ""},
		{"GroupId with DEL", with(`"GroupId":"\u007f"`), 10015, ""},
		{"GroupId a number", with(`"GroupId":1`), 10004, "GroupId"},
		{"GroupId of the service's form", with(`"GroupId":"@TGS#1"`), 10015, ""},
		{"GroupId of a Community's form", with(`"GroupId":"@TGS#_1"`), 10015, ""},
		{"GroupId of a Community", `{"Type":"Community","Name":"n","GroupId":"@TGS#_1"}`, 0, ""},
		{"GroupId of a Community without the prefix", `{"Type":"Community","Name":"n","GroupId":"@TGS#1"}`, 10015, ""},

		{"no data", data(), 0, ""},
		{"ten keys", data(ten...), 0, ""},
		{"eleven keys", data(append(ten, `{"Key":"k10","Value":""}`)...), 10004, "AppDefinedData"},
		{"data no array", with(`"AppDefinedData":{}`), 10004, "AppDefinedData is not an array"},
		{"data null", with(`"AppDefinedData":null`), 10004, "AppDefinedData is not an array"},
		{"an entry null", data(`null`), 10004, "AppDefinedData[0]"},
		{"an entry with more", data(`{"Key":"k","Value":"","More":1}`), 10004, "AppDefinedData[0]: unknown member More"},
		{"Value missing", data(`{"Key":"k"}`), 10004, "Value is missing"},
		{"Value a number", data(`{"Key":"k","Value":1}`), 10004, "Value is not a string"},
		{"Value of 512 bytes", data(`{"Key":"k","Value":"` + strings.Repeat("\\u0000", 512) + `"}`), 0, ""},
		{"Value of 513 bytes", data(`{"Key":"k","Value":"` + han(171) + `"}`), 10004, "Value is 513 bytes"},
		{"Key missing", data(`{"Value":""}`), 10004, "Key is invalid"},
		{"Key of 16 bytes", data(`{"Key":"_bcdefghijklmn16","Value":""}`), 0, ""},
		{"Key of 17 bytes", data(`{"Key":"_bcdefghijklmno17","Value":""}`), 10004, "Key is 17 bytes"},
		{"Key with a leading digit", data(`{"Key":"1k","Value":""}`), 10004, "Key is invalid"},
		{"Key with a leading space", data(`{"Key":" k","Value":""}`), 10004, "Key is invalid"},
		{"Key twice", data(`{"Key":"k","Value":"1"}`, `{"Key":"k","Value":"2"}`), 10004, "AppDefinedData[1]: duplicate Key"},

		{"sensitive word in Name", `{"Type":"Public","Name":"so rude"}`, 80001, ""},
		{"sensitive word in Introduction", with(`"Introduction":"rude"`), 80001, ""},
		{"sensitive word in Notification", with(`"Notification":"rude"`), 80001, ""},
		{"sensitive word in FaceUrl", with(`"FaceUrl":"rude"`), 0, ""},
	} {
		t.Run(test.rule, func(t *testing.T) {
			s := newService()
			s.SensitiveWords = []string{"rude"}
			res := call(t, s, "import_group", test.body)
			if res.ErrorCode != test.code || !strings.Contains(res.ErrorInfo, test.info) {
				t.Errorf("got %d %q, want %d %q", res.ErrorCode, res.ErrorInfo, test.code, test.info)
			}
			if created := len(groups(s)) == 1; created != (test.code == 0) || created != (res.GroupID != "") {
				t.Errorf("group created: %v, GroupId %q", created, res.GroupID)
			}
		})
	}
}

func TestImport_ExtendedLengths(t *testing.T) {
	s := newService()
	s.ExtendedLengths = true
	for field, limit := range map[string]int{"Name": 100, "Introduction": 400, "Notification": 400, "FaceUrl": 500} {
		for over, want := range []int{0, 10004} {
			members := map[string]string{"Name": "n", "Type": "Public"}
			members[field] = strings.Repeat("x", limit+over)
			if res := call(t, s, "import_group", encode(t, members)); res.ErrorCode != want {
				t.Errorf("%s of %d bytes: got %d %q, want %d", field, limit+over, res.ErrorCode, res.ErrorInfo, want)
			}
		}
	}
}

func TestPut_WithoutRules(t *testing.T) {
	s := newService()
	long := strings.Repeat("long", 1000)
	s.Put(emulator.Group{GroupID: "@TGS#1", Type: "AVChatRoom", Name: "first"})
	s.Put(emulator.Group{GroupID: "@TGS#1", Type: "AVChatRoom", Name: long})
	s.Put(emulator.Group{Type: "Public", Name: "second"})
	got := groups(s)
	if len(got) != 2 || got[0].Name != long || got[0].Type != "AVChatRoom" || got[1].GroupID == "" || got[1].Created != 0 {
		t.Errorf("got %+v", got)
	}
}
