package export_test

import (
	"slices"
	"strings"
	"testing"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

// zoned returns CSV with a stated time zone.
func zoned(t *testing.T, text, zone string) export.Source {
	t.Helper()
	src := in("a.csv", []byte(text))
	var err error
	if src.Zone, err = export.ParseTimeZone(zone); err != nil {
		t.Fatal(err)
	}
	return src
}

// jsonOf returns the records of an export in import_group's format, or their problems, and the notes.
func jsonOf(t *testing.T, src export.Source) (records, notes []string) {
	t.Helper()
	r := open(t, src, export.Start)
	for e, err := range r.Records(t.Context()) {
		switch {
		case err != nil:
			records = append(records, err.Error())
		case e.Problem != nil:
			records = append(records, e.Problem.Error())
		default:
			records = append(records, string(e.Record.AppendJSON(nil)))
		}
	}
	return records, r.Notes()
}

// Columns and values may have the vendor's Chinese words, and columns those of its documents. Notes say so.
func TestCSV_Synonyms(t *testing.T) {
	for name, row := range map[string]struct{ text, want, note string }{
		"Chinese": {
			"群ID,群名称,群主,群类型,群简介,群公告,群头像,最大成员数,加群方式,创建时间\n" +
				"g1,销售部,u1,公开群,介绍,公告,https://x/y.png,200,自由加入,2024年1月31日 9:05\n",
			`{"Type":"Public","GroupId":"g1","Owner_Account":"u1","Name":"销售部","Introduction":"介绍","Notification":"公告",` +
				`"FaceUrl":"https://x/y.png","MaxMemberCount":200,"ApplyJoinOption":"FreeAccess","CreateTime":1706663100}`,
			`columns were read as fields: "群ID" as GroupId, "群名称" as Name, "群主" as Owner_Account, `,
		},
		"English": {
			"group_id;Group Name;owner;group type;Created at\ng1;a;u1;Work;2024/1/31 09:05:00\n",
			`{"Type":"Private","GroupId":"g1","Owner_Account":"u1","Name":"a","CreateTime":1706663100}`,
			`"group_id" as GroupId, "Group Name" as Name, "owner" as Owner_Account, "group type" as Type, "Created at" as ` +
				`CreateTime`,
		},
		"members": {
			"群组ID,成员账号,成员角色,入群时间\ng1,u1,管理员,2024-01-31T09:05:00\n",
			`{"GroupId":"g1","Member_Account":"u1","Role":"Admin","JoinTime":1706663100}`, `"成员角色" as Role`,
		},
		"fields themselves": {"Type,Name\nPublic,公开群\n", `{"Type":"Public","Name":"公开群"}`, ""},
		"a word that is none": {
			"群类型,群名\n公开,a\n", `Type "公开" is not one of Private, Public, ChatRoom, Community`, `"群类型" as Type`,
		},
		"one field twice":   {"Name,群名称,Type\na,b,Public\n", `duplicate column "群名称"`, ""},
		"an unknown column": {"群名称,群类型,备注\na,公开群,x\n", `unknown column "备注"`, ""},
		"a live room":       {"群类型,群名\nAVChatRoom,a\n", "Type AVChatRoom cannot be imported", ""},
	} {
		records, notes := jsonOf(t, zoned(t, row.text, "+08:00"))
		if got := strings.Join(notes, "\n"); len(records) != 1 || !strings.Contains(records[0], row.want) ||
			!strings.Contains(got, row.note) || name == "fields themselves" && got != "" {
			t.Errorf("%s: got %q %q, want %s, %s", name, records, notes, row.want, row.note)
		}
		checkResume(t, "a.csv", []byte(row.text))
	}
}

// A date is read only in a stated time zone and with the year first, and never if it can be two times or none.
func TestParseDate(t *testing.T) {
	for _, row := range []struct {
		text, zone string
		want       int64 // -1 for none
	}{
		{"2024-01-31 09:05:00", "+08:00", 1706663100},
		{"2024-01-31 09:05:00", "UTC", 1706691900},
		{"2024-01-31 09:05:00", "-05:30", 1706711700},
		{"2024-01-31T09:05:00.999", "UTC", 1706691900},
		{" 2024/1/31 9:05 ", "UTC", 1706691900},
		{"2024.1.31", "UTC", 1706659200},
		{"2024年1月31日", "+08:00", 1706630400},
		{"2024年01月31日 09:05", "UTC", 1706691900},
		{"2024-01-31T09:05:00Z", "", 1706691900},
		{"2024-01-31T09:05:00+08:00", "", 1706663100},
		{"2024-01-31 09:05:00 +08:00", "UTC", 1706663100},
		{"2024-01-31 09:05:00", "", -1},
		{"31/1/2024", "UTC", -1},
		{"1/31/2024 9:05", "UTC", -1},
		{"31.01.2024", "UTC", -1},
		{"24-01-31", "UTC", -1},
		{"2024-02-30", "UTC", -1},
		{"2024-13-01", "UTC", -1},
		{"2024-01-31 24:00", "UTC", -1},
		{"2024-01-31 9:05 PM", "UTC", -1},
		{"2024-01/31", "UTC", -1},
		{"2024-01-31 09:05:00+99:00", "UTC", -1},
		{"1706691900", "UTC", -1},
		{"", "UTC", -1},
		{"2024-03-31 01:59:59", "Europe/Berlin", 1711846799},
		{"2024-03-31 02:30:00", "Europe/Berlin", -1}, // skipped
		{"2024-10-27 02:30:00", "Europe/Berlin", -1}, // twice
		{"2024-10-27 03:00:00", "Europe/Berlin", 1729994400},
	} {
		zone, err := export.ParseTimeZone(row.zone)
		if err != nil {
			if strings.Contains(row.zone, "/") {
				continue // this system has no such database
			}
			t.Fatal(err)
		}
		got, ok := export.ParseDate(row.text, zone)
		if ok != (row.want >= 0) || ok && got != row.want {
			t.Errorf("%q in %q: got %d %v, want %d", row.text, row.zone, got, ok, row.want)
		}
	}
	for _, zone := range []string{
		"CST", "8", "+8", "+15:00", "+08:60", "08:00", "Local", "Asia/Nowhere", "../etc/passwd", "utc",
	} {
		if at, err := export.ParseTimeZone(zone); err == nil {
			t.Errorf("%q: got %v, want an error", zone, at)
		}
	}
	if zone, err := export.ParseTimeZone(""); zone != nil || err != nil {
		t.Errorf("got %v %v, want none", zone, err)
	}
}

// Without a time zone a date rejects its record, and says how to state one.
func TestCSV_DateWithoutZone(t *testing.T) {
	records, _ := jsonOf(t, zoned(t, "Type,Name,CreateTime\nPublic,a,2024-01-31 09:05\nPublic,b,1706691900\n", ""))
	if len(records) != 2 || !strings.Contains(records[0], "state their time zone with --tz (EXPORT_TIME_ZONE)") ||
		!strings.Contains(records[1], `"CreateTime":1706691900`) {
		t.Errorf("got %q", records)
	}
}

// A date of eight digits is no Unix time, with and without a time zone. Other numbers of eight digits are.
func TestCSV_CompactDate(t *testing.T) {
	for zone, advice := range map[string]string{"": " and state their time zone", "+08:00": ""} {
		records, _ := jsonOf(t, zoned(t, "Type,Name,CreateTime\nPublic,a,20240131\nPublic,b,31241331\n", zone))
		first, last := `the string "20240131": use Unix time`, `; or write dates like 2024-01-31 09:00`+advice
		if len(records) != 2 || !strings.Contains(records[0], first) || !strings.Contains(records[0], last) ||
			!strings.Contains(records[1], `"CreateTime":31241331`) {
			t.Errorf("%q: got %q, want %q and %q", zone, records, first, last)
		}
	}
}

// Every synonym is one of a field, and of no other.
func TestSynonyms_AreFields(t *testing.T) {
	seen := map[string]string{}
	for field, names := range export.Synonyms() {
		if !group.IsField(field) {
			t.Errorf("%s is no field", field)
		}
		for _, name := range append(slices.Clone(names), field) {
			if other, ok := seen[export.Plain(name)]; ok {
				t.Errorf("%q is of %s and %s", name, other, field)
			}
			seen[export.Plain(name)] = field
		}
	}
}
