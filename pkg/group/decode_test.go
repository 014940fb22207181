package group_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/group"
)

func decode(t *testing.T, raw string) (group.Record, error) {
	t.Helper()
	return group.NewDecoder(group.DocumentLimits).Decode([]byte(raw))
}

// with returns a valid record with more members.
func with(members string) string { return `{"Type":"Public","Name":"a",` + members + `}` }

// long returns a string of n bytes.
func long(n int) string { return strings.Repeat("x", n) }

func TestDecoder_AllFields(t *testing.T) {
	got, err := decode(t, sample)
	if err != nil {
		t.Fatal(err)
	}
	want := group.Record{
		GroupID: "g-00017", Type: group.Public, OwnerAccount: "leckie", Name: "项目组 seventeen",
		Introduction: "Where the seventeenth team talks about what it does and does not do.",
		Notification: "Meeting on Tuesday at ten, room 4. Bring your own chair.",
		FaceURL:      "https://img.example.com/faces/17.png", MaxMemberCount: 500, ApplyJoinOption: "FreeAccess",
		AppDefinedData: []group.Datum{{Key: "GroupTestData1", Value: "xxxxx"}, {Key: "GroupTestData2", Value: "abc\x00\x01"}},
		CreateTime:     1448357837,
	}
	if string(got.AppendJSON(nil)) != string(want.AppendJSON(nil)) {
		t.Errorf("got  %s\nwant %s", got.AppendJSON(nil), want.AppendJSON(nil))
	}
}

func TestDecoder_ValidRecords(t *testing.T) {
	for name, raw := range map[string]string{
		"only the required fields":               `{"Type":"Public","Name":"a"}`,
		"name of 30 bytes in 10 characters":      `{"Type":"Public","Name":"一二三四五六七八九十"}`,
		"the newer name Work":                    `{"Type":"Work","Name":"a"}`,
		"the newer name Meeting":                 `{"Type":"Meeting","Name":"a"}`,
		"GroupId of 48 bytes":                    with(`"GroupId":"` + long(48) + `"`),
		"GroupId with a space":                   with(`"GroupId":"a b~"`),
		"community with its prefix":              `{"Type":"Community","Name":"a","GroupId":"@TGS#_c1","SupportTopic":1}`,
		"null counts as absent":                  with(`"GroupId":null,"AppDefinedData":null,"MaxMemberCount":null`),
		"empty counts as absent":                 with(`"GroupId":"","Owner_Account":"","ApplyJoinOption":""`),
		"whole numbers as spreadsheets write":    with(`"MaxMemberCount":500.0,"CreateTime":1.448357837e9`),
		"IDs in the form of numbers":             `{"Type":"Public","Name":"=a","GroupId":"1E5","Owner_Account":"12E+5"}`,
		"IDs with plus signs and hex digits":     with(`"GroupId":"1E+5+E","Owner_Account":"00123"`),
		"custom value of 512 bytes":              with(`"AppDefinedData":[{"Key":"k","Value":"` + long(512) + `"}]`),
		"no custom fields":                       with(`"AppDefinedData":[]`),
		"white space around it":                  " {\t\"Type\" : \"Public\" , \"Name\" : \"a\" } \r",
		"a field's name written with an escape":  `{"T\u0079pe":"Public","Name":"a"}`,
		"a surrogate pair":                       `{"Type":"Public","Name":"\ud83d\ude00"}`,
		"lengths count the value, not its JSON":  `{"Type":"Public","Name":"` + strings.Repeat(`\u0041`, 30) + `"}`,
		"largest member count of a community":    `{"Type":"Community","Name":"a","MaxMemberCount":1000000}`,
		"member count of an older Meeting group": `{"Type":"Meeting","Name":"a","MaxMemberCount":10000}`,
	} {
		if _, err := decode(t, raw); err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
		}
	}
}

func TestDecoder_InvalidRecords(t *testing.T) {
	for _, row := range []struct {
		rule, raw, field, message string
	}{
		{"empty", ``, "", "not a JSON object: the record is empty"},
		{"cut short", `{"Type":"Public","Na`, "", "not a JSON object: unexpected end after 20 bytes"},
		{"not JSON", `{"Type":Public}`, "", "not a JSON object: invalid character 'P' at start of value at byte 8"},
		{"an array", `[{"Type":"Public","Name":"a"}]`, "", "not a JSON object: found an array"},
		{"null", `null`, "", "not a JSON object: found null"},
		{"two values", `{"Type":"Public","Name":"a"} {}`, "", "more than one JSON value: unexpected data at byte 30"},
		{"no members", `{}`, "Type", "Type is missing; Name is missing or empty"},
		{"no type", `{"Name":"a"}`, "Type", "Type is missing"},
		{"null type", `{"Name":"a","Type":null}`, "Type", "Type is missing"},
		{"no name", `{"Type":"Public"}`, "Name", "Name is missing or empty"},
		{"empty name", `{"Type":"Public","Name":""}`, "Name", "Name is missing or empty"},
		{
			"name of 33 bytes in 11 characters", `{"Type":"Public","Name":"一二三四五六七八九十一"}`, "Name",
			"Name is 33 bytes, limit 30",
		},
		{"name not a string", `{"Type":"Public","Name":7}`, "Name", "Name must be a string, not the number 7"},
		{
			"introduction too long", with(`"Introduction":"` + long(241) + `"`), "Introduction",
			"Introduction is 241 bytes, limit 240",
		},
		{
			"notification too long", with(`"Notification":"` + long(301) + `"`), "Notification",
			"Notification is 301 bytes, limit 300",
		},
		{"face URL too long", with(`"FaceUrl":"` + long(101) + `"`), "FaceUrl", "FaceUrl is 101 bytes, limit 100"},
		{
			"owner too long", with(`"Owner_Account":"` + long(33) + `"`), "Owner_Account", "Owner_Account is 33 bytes, limit 32",
		},
		{
			"owner not ASCII", with(`"Owner_Account":"jörg"`), "Owner_Account",
			`Owner_Account must be printable ASCII, is not at byte 1: "jörg"`,
		},
		{
			"type unknown", `{"Type":"Pubic","Name":"a"}`, "Type",
			`Type "Pubic" is not one of Private, Public, ChatRoom, Community, did you mean "Public"?`,
		},
		{
			"type in the wrong case", `{"Type":"public","Name":"a"}`, "Type",
			`Type "public" is not one of Private, Public, ChatRoom, Community, did you mean "Public"?`,
		},
		{
			"type AVChatRoom", `{"Type":"AVChatRoom","Name":"a"}`, "Type",
			"Type AVChatRoom cannot be imported: with AVCHATROOM=create the group is created with create_group, " +
				"which sets the time of its creation to now",
		},
		{"GroupId of 49 bytes", with(`"GroupId":"` + long(49) + `"`), "GroupId", "GroupId is 49 bytes, limit 48"},
		{"GroupId not ASCII", with(`"GroupId":"组"`), "GroupId", `GroupId must be printable ASCII, is not at byte 0: "组"`},
		{
			"GroupId with a control character", with(`"GroupId":"a\tb"`), "GroupId",
			`GroupId must be printable ASCII, is not at byte 1: "a\tb"`,
		},
		{
			"GroupId of the service's own", with(`"GroupId":"@TGS#2J4"`), "GroupId",
			"GroupId must not start with @TGS#: the service reserves this prefix",
		},
		{
			"community without its prefix", `{"Type":"Community","Name":"a","GroupId":"c1"}`, "GroupId",
			"GroupId of a Community must start with @TGS#_",
		},
		{
			"member count too large", `{"Type":"Community","Name":"a","MaxMemberCount":1000001}`, "MaxMemberCount",
			"MaxMemberCount is 1000001, must be 1 to 1000000",
		},
		{"a member count of zero", with(`"MaxMemberCount":0`), "MaxMemberCount", "MaxMemberCount is 0, must be 1 to 1000000"},
		{
			"member count as text", with(`"MaxMemberCount":"500"`), "MaxMemberCount",
			`MaxMemberCount must be a number, not the string "500": remove the quotes`,
		},
		{
			"a date without separators as text", with(`"CreateTime":"20240131"`), "CreateTime",
			`CreateTime must be a number, not the string "20240131": use Unix time in seconds, such as 1448357837; ` +
				`in a spreadsheet, =(A2-DATE(1970,1,1))*86400 converts a UTC date in A2`,
		},
		{"a fractional count", with(`"MaxMemberCount":0.5`), "MaxMemberCount", "MaxMemberCount must be an integer, not 0.5"},
		{
			"a huge member count", with(`"MaxMemberCount":1e300`), "MaxMemberCount",
			"MaxMemberCount is 1e300, must be 1 to 1000000",
		},
		{
			"join option unknown", with(`"ApplyJoinOption":"FreeAcess"`), "ApplyJoinOption",
			`ApplyJoinOption "FreeAcess" is not one of FreeAccess, NeedPermission, DisableApply, did you mean "FreeAccess"?`,
		},
		{
			"creation time in milliseconds", with(`"CreateTime":1448357837000`), "CreateTime",
			"CreateTime is 1448357837000, must be 0 to 4294967295: this looks like milliseconds, use seconds",
		},
		{"creation time before 1970", with(`"CreateTime":-1`), "CreateTime", "CreateTime is -1, must be 0 to 4294967295"},
		{
			"creation time as a date", with(`"CreateTime":"2015-11-24"`), "CreateTime",
			`CreateTime must be a number, not the string "2015-11-24": use Unix time in seconds, such as 1448357837; in a ` +
				`spreadsheet, =(A2-DATE(1970,1,1))*86400 converts a UTC date in A2`,
		},
		{
			"creation time as a spreadsheet's number of a date", with(`"CreateTime":42332`), "CreateTime",
			`CreateTime is 42332, a spreadsheet's date serial number: use Unix time in seconds, such as 1448357837; in a ` +
				`spreadsheet, =(A2-DATE(1970,1,1))*86400 converts a UTC date in A2`,
		},
		{
			"member count as text with separators", with(`"MaxMemberCount":"1.000"`), "MaxMemberCount",
			`MaxMemberCount must be a number, not the string "1.000": remove thousands separators and decimals`,
		},
		{
			"member count as a formula", with(`"MaxMemberCount":"=5"`), "MaxMemberCount",
			`MaxMemberCount must be a number, not the string "=5": this is a formula, export its value`,
		},
		{
			"GroupId rounded by a spreadsheet", with(`"GroupId":"1.00123E+11"`), "GroupId",
			"GroupId is 1.00123E+11: a spreadsheet has rounded this number: format the column as text, enter the original " +
				"values and export again",
		},
		{
			"owner rounded by a spreadsheet, with a decimal comma", with(`"Owner_Account":"1,5e+11"`), "Owner_Account",
			"Owner_Account is 1,5e+11: a spreadsheet has rounded this number: format the column as text, enter the " +
				"original values and export again",
		},
		{
			"GroupId a formula", with(`"GroupId":"=\"00123\""`), "GroupId",
			`GroupId is a formula, ="00123": format the column as text and export its values`,
		},
		{"topics outside of a community", with(`"SupportTopic":1`), "SupportTopic", "SupportTopic requires Type Community"},
		{
			"topics neither 0 nor 1", `{"Type":"Community","Name":"a","SupportTopic":2}`, "SupportTopic",
			"SupportTopic is 2, must be 0 to 1",
		},
		{"unknown field", with(`"GroupID":"g"`), "GroupID", `unknown field "GroupID", did you mean "GroupId"?`},
		{
			"field of another call", with(`"MaxMemberNum":5`), "MaxMemberNum",
			`unknown field "MaxMemberNum": import_group calls it "MaxMemberCount"`,
		},
		{"unknown field, not similar to a known one", with(`"colour":{"x":[1]}`), "colour", `unknown field "colour"`},
		{"field twice", with(`"Name":"b"`), "Name", "duplicate field Name"},
		{"field twice, once with an escape", with(`"N\u0061me":"b"`), "Name", "duplicate field Name"},
		{"field twice, with nulls", with(`"GroupId":null,"GroupId":null`), "GroupId", "duplicate field GroupId"},
		{
			"not UTF-8", "{\"Type\":\"Public\",\"Name\":\"caf\xe9\"}", "Name",
			`Name is not valid UTF-8 (or contains a lone surrogate): "\"caf\xe9\""`,
		},
		{
			"half a surrogate pair", `{"Type":"Public","Name":"\ud800"}`, "Name",
			`Name is not valid UTF-8 (or contains a lone surrogate): "\"\\ud800\""`,
		},
		{
			"field's name not UTF-8", "{\"Type\":\"Public\",\"Name\":\"a\",\"x\xff\":1}", "",
			`a field's name is not valid UTF-8: "x` + "\uFFFD" + `"`,
		},
		{
			"custom data no array", with(`"AppDefinedData":{"k":"v"}`), "AppDefinedData",
			"AppDefinedData must be an array of {Key, Value}, not an object",
		},
		{
			"custom entry no object", with(`"AppDefinedData":["k"]`), "AppDefinedData",
			`AppDefinedData[0] must be an object of Key and Value, not the string "k"`,
		},
		{"custom key missing", with(`"AppDefinedData":[{"Value":"v"}]`), "AppDefinedData", "AppDefinedData[0] has no Key"},
		{"custom value missing", with(`"AppDefinedData":[{"Key":"k"}]`), "AppDefinedData", "AppDefinedData[0] has no Value"},
		{
			"custom value a number", with(`"AppDefinedData":[{"Key":"k","Value":1}]`), "AppDefinedData",
			"AppDefinedData[0].Value must be a string, not the number 1",
		},
		{
			"custom value too long", with(`"AppDefinedData":[{"Key":"k","Value":"` + long(513) + `"}]`), "AppDefinedData",
			"AppDefinedData[0].Value is 513 bytes, limit 512",
		},
		{
			"custom key too long", with(`"AppDefinedData":[{"Key":"` + long(17) + `","Value":""}]`), "AppDefinedData",
			"AppDefinedData[0].Key is 17 bytes, limit 16",
		},
		{
			"custom key empty", with(`"AppDefinedData":[{"Key":"","Value":""}]`), "AppDefinedData",
			"AppDefinedData[0].Key is empty",
		},
		{
			"custom key with a space", with(`"AppDefinedData":[{"Key":" k","Value":""}]`), "AppDefinedData",
			`AppDefinedData[0].Key " k" must consist of letters, digits and _`,
		},
		{
			"custom key with a digit first", with(`"AppDefinedData":[{"Key":"1k","Value":""}]`), "AppDefinedData",
			`AppDefinedData[0].Key "1k" must not start with a digit`,
		},
		{
			"custom key twice", with(`"AppDefinedData":[{"Key":"k","Value":""},{"Key":"k","Value":""}]`), "AppDefinedData",
			`AppDefinedData[1].Key "k" is a duplicate`,
		},
		{
			"custom member unknown", with(`"AppDefinedData":[{"key":"k","Key":"k","Value":""}]`), "AppDefinedData",
			`unknown field "key" in AppDefinedData[0], did you mean "Key"?`,
		},
		{
			"custom member twice", with(`"AppDefinedData":[{"Key":"k","Key":"l","Value":""}]`), "AppDefinedData",
			"duplicate field AppDefinedData[0].Key",
		},
		{
			"too many custom fields", with(`"AppDefinedData":[` + custom(21) + `]`), "AppDefinedData",
			"AppDefinedData has 21 entries, limit 20",
		},
		{
			"everything at once", `{"Type":"X","Name":"` + long(31) + `","MaxMemberCount":-1,"Foo":1}`, "Type",
			`Type "X" is not one of Private, Public, ChatRoom, Community; MaxMemberCount is -1, must be 1 to 1000000; ` +
				`unknown field "Foo"; Name is 31 bytes, limit 30`,
		},
	} {
		t.Run(row.rule, func(t *testing.T) {
			_, err := decode(t, row.raw)
			e, ok := errors.AsType[*group.Error](err)
			if !ok {
				t.Fatalf("got %v, want a *group.Error", err)
			}
			if e.Error() != row.message {
				t.Errorf("got  %s\nwant %s", e, row.message)
			}
			if e.Field() != row.field {
				t.Errorf("got field %q, want %q", e.Field(), row.field)
			}
		})
	}
}

func custom(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"Key":"k` + string(rune('a'+i)) + `","Value":"v"}`)
	}
	return b.String()
}

func TestErrorCode_AVChatRoom(t *testing.T) {
	_, err := decode(t, `{"Type":"AVChatRoom","Name":"a"}`)
	if e, ok := errors.AsType[*group.Error](err); !ok || e.Code() != 10007 {
		t.Errorf("got %#v, want code 10007", err)
	}
}

func TestDecoder_CreateAVChatRoom(t *testing.T) {
	limits := group.DocumentLimits
	limits.CreateAVChatRoom = true
	decoder := group.NewDecoder(limits)
	rec, err := decoder.Decode([]byte(`{"Type":"AVChatRoom","GroupId":"live","Name":"a","CreateTime":1448357837}`))
	if err != nil || rec.Type != group.AVChatRoom || rec.GroupID != "live" || rec.CreateTime != 1448357837 {
		t.Errorf("got %+v, %v", rec, err)
	}
	_, err = decoder.Decode([]byte(`{"Type":"AVChatRoom","Name":"a"}`))
	if e, ok := errors.AsType[*group.Error](err); !ok || e.Field() != "GroupId" || e.Rule() != group.RuleMissing {
		t.Errorf("got %v, want a GroupId missing", err)
	}
}

func TestDecoder_TooManyProblems(t *testing.T) {
	_, err := decode(t, `{`+strings.Repeat(`"Nam":1,`, 10_000)+`"Type":"Public","Name":"a"}`)
	e, ok := errors.AsType[*group.Error](err)
	if !ok || len(e.Problems) != 21 || e.Problems[20].Message != "and 9980 more" {
		t.Errorf("got %d problems, want 20 and the count of the others", len(e.Problems))
	}
}

func TestError_GroupID(t *testing.T) {
	_, err := decode(t, `{"Type":"Public","Name":"","GroupId":"g18"}`)
	if e, ok := errors.AsType[*group.Error](err); !ok || e.GroupID != "g18" {
		t.Errorf("got %#v, want GroupID g18", err)
	}
}

func TestDecoder_ExtendedLimits(t *testing.T) {
	raw := []byte(`{"Type":"Public","Name":"` + long(100) + `","Introduction":"` + long(400) +
		`","Notification":"` + long(400) + `","FaceUrl":"` + long(500) + `"}`)
	if _, err := group.NewDecoder(group.ExtendedLimits).Decode(raw); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	_, err := group.NewDecoder(group.DocumentLimits).Decode(raw)
	if e, ok := errors.AsType[*group.Error](err); !ok || len(e.Problems) != 4 {
		t.Errorf("got %v, want four problems", err)
	}
}

func TestDecoder_Reuse(t *testing.T) {
	d := group.NewDecoder(group.DocumentLimits)
	first, err := d.Decode([]byte(`{"Type":"Public","Name":"first","GroupId":"g1"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Decode([]byte(`{"Type":"Public","Name":`)); err == nil {
		t.Error("got no error for a truncated record")
	}
	if _, err := d.Decode([]byte(`{"Type":"Public","Name":"other","GroupId":"g3"}`)); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	if first.Name != "first" || first.GroupID != "g1" {
		t.Errorf("got %+v, want the first record unchanged", first)
	}
}

// FuzzDecode checks that a valid record encodes to JSON that decodes to the same record, and that encoding/json
// decodes to the same strings.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"Type":"Work","Name":"\ud83d\ude00<>&\u2028","AppDefinedData":[{"Key":"k","Value":"\u0000\u007f"}]}`))
	f.Add([]byte("{\"Type\":\"Public\",\"Name\":\"\xff\"}"))
	f.Add([]byte(`{"GroupId":"g","Member_Account":"u1","Role":"Admin","JoinTime":1448357837,"UnreadMsgNum":2}`))
	f.Add([]byte(withList(`{"Member_Account":"u1","Role":"Admin","JoinTime":1448357838},{"Member_Account":"leckie"},{}`)))
	f.Add([]byte(withList(`{"Member_Account":"u1","JoinTime":1},{"Member_Account":"u1"},{"Member_Account":"u2","x":1}`)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := group.NewDecoder(group.DocumentLimits)
		r, err := d.Decode(raw)
		if err != nil {
			if e, ok := errors.AsType[*group.Error](err); !ok || len(e.Problems) == 0 {
				t.Fatalf("got %#v, want a *group.Error with problems", err)
			}
			return
		}
		checkMembers(t, &r)
		sent := r.AppendJSON(nil)
		again, err := d.Decode(sent)
		if err != nil {
			t.Fatalf("%s: %v", sent, err)
		}
		if got := string(again.AppendJSON(nil)); got != string(sent) {
			t.Errorf("got %s, want %s", got, sent)
		}
		var std struct {
			Name           string        `json:"Name"`
			AppDefinedData []group.Datum `json:"AppDefinedData"`
		}
		if err := json.Unmarshal(sent, &std); err != nil {
			t.Fatal(err)
		}
		if std.Name != r.Name {
			t.Errorf("got name %q, want %q", std.Name, r.Name)
		}
		for i, d := range r.AppDefinedData {
			if std.AppDefinedData[i] != d {
				t.Errorf("got %q, want %q", std.AppDefinedData[i], d)
			}
		}
	})
}

func TestRecordWarnings_MaxMemberCount(t *testing.T) {
	for _, row := range []struct {
		kind  string
		count int64
		want  string
	}{
		{"Public", 0, "[]"},
		{"Public", 6000, "[]"},
		{"Public", 6001, "[MaxMemberCount is 6001, above the documented maximum 6000: the service decides]"},
		{"Private", 1000000, "[MaxMemberCount is 1000000, above the documented maximum 6000: the service decides]"},
		{"Meeting", 10000, "[MaxMemberCount is 10000, above the documented maximum 6000: the service decides]"},
		{"Community", 1000000, "[]"},
	} {
		raw := fmt.Sprintf(`{"Type":%q,"Name":"a"}`, row.kind)
		if row.count > 0 {
			raw = fmt.Sprintf(`{"MaxMemberCount":%d,"Type":%q,"Name":"a"}`, row.count, row.kind)
		}
		r, err := decode(t, raw)
		if got := fmt.Sprint(r.Warnings()); err != nil || got != row.want {
			t.Errorf("%s of %d: got %s, %v, want %s", row.kind, row.count, got, err, row.want)
		}
	}
	r, _ := decode(t, `{"Type":"Public","Name":"a","MaxMemberCount":9000}`)
	want := group.Warning{Field: "MaxMemberCount", Rule: group.RuleRange, Value: 9000, Limit: 6000}
	if got := r.Warnings(); len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestDecoder_FutureCreateTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock starts at 2000-01-01
		d := group.NewDecoder(group.DocumentLimits)
		try := func(at time.Time) string {
			_, err := d.Decode(fmt.Appendf(nil, `{"Type":"Public","Name":"a","CreateTime":%d}`, at.Unix()))
			return fmt.Sprint(err)
		}
		if got := try(time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)); got != "<nil>" {
			t.Errorf("clock of 2000: got %s, want none, because the clock is wrong", got)
		}
		time.Sleep(time.Until(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)))
		now := time.Now()
		for _, row := range []struct {
			name string
			at   time.Time
			want string
		}{
			{"now", now, "<nil>"},
			{"a day ahead", now.Add(24 * time.Hour), "<nil>"},
			{
				"more than a day ahead", now.Add(24*time.Hour + time.Second),
				"CreateTime 1893542401 is 2030-01-02 00:00:01 UTC, later than now (2030-01-01 00:00:00 UTC): " +
					"use Unix time in seconds",
			},
			{
				"a macOS time, in seconds since 1904", time.Unix(3531202637, 0),
				"CreateTime 3531202637 is 2081-11-24 09:37:17 UTC, later than now (2030-01-01 00:00:00 UTC): " +
					"use Unix time in seconds",
			},
		} {
			if got := try(row.at); got != row.want {
				t.Errorf("%s: got %s, want %s", row.name, got, row.want)
			}
		}
		time.Sleep(time.Second)
		if got := try(now.Add(24*time.Hour + time.Second)); got != "<nil>" {
			t.Errorf("a second later: got %s, want none", got)
		}
	})
}
