package mapping_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/mapping"
)

// TestBuiltIns maps the samples in testdata, which have the shapes that the documents named at the head of each program
// show, with made-up content.
func TestBuiltIns(t *testing.T) {
	want := map[string][]string{
		"slack": {
			`{"Type":"Public","GroupId":"C58GTD2MP","Owner_Account":"U591XC8LT","Name":"general","Introduction":"This channel is for team-wide communication and announcements. All team members are in this channel.","Notification":"Company-wide announcements and work-based matters","ApplyJoinOption":"FreeAccess","CreateTime":1493960964}`,
			`{"Type":"Public","GroupId":"C595H5LGL","Owner_Account":"U591XC8LT","Name":"项目-渠道-一二三四五","ApplyJoinOption":"FreeAccess","CreateTime":1493960999}`,
			`{"Type":"Private","GroupId":"G01PRIVATE1","Owner_Account":"U5A8GTD2M","Name":"leads","CreateTime":1593960964}`,
			"skipped: a direct message, not a channel",
		},
		"mattermost": {
			"skipped: a line of type version, not a channel",
			"skipped: a line of type team, not a channel",
			`{"Type":"Public","GroupId":"core.town-square","Name":"Town Square","Introduction":"Everybody is here.","Notification":"Welcome. Read the [handbook](https://example.com/handbook) first.","ApplyJoinOption":"FreeAccess"}`,
			`{"Type":"Private","GroupId":"core.a-channel-with-a-handle-th-87f0ce306bb4b8de","Name":"Planning of the coming year, i"}`,
			"skipped: a line of type user, not a channel",
			"skipped: a line of type post, not a channel",
			"skipped: a line of type direct_channel, not a channel",
		},
		"rocketchat": {
			`{"Type":"Private","GroupId":"654c9d1ca2f73c7460e1918b","Owner_Account":"CkCPNcvsvCDfmWLqC","Name":"animalGeography","Introduction":"Where the animals live","CreateTime":1699519740}`,
			`{"Type":"Public","GroupId":"GENERAL","Name":"general","Notification":"Be kind.","ApplyJoinOption":"FreeAccess","CreateTime":1612325106}`,
			"skipped: a direct message",
		},
		"sendbird": {
			`{"Type":"Private","GroupId":"sendbird_group_channel_25108471-90bf22ad1b6f9942","Owner_Account":"Jay","Name":"Marketing","FaceUrl":"https://sendbird.com/main/img/cover/cover_08.jpg","CreateTime":1543468122}`,
			`{"Type":"Public","GroupId":"lobby","Name":"lobby","ApplyJoinOption":"FreeAccess","CreateTime":1600000000}`,
		},
		"discord": {
			"skipped: a category",
			`{"Type":"Public","GroupId":"41771983423143937","Name":"general","Introduction":"24/7 chat about how to gank Mike #2","ApplyJoinOption":"FreeAccess","CreateTime":1430029616}`,
			`{"Type":"Private","GroupId":"399942396007890945","Name":"staff-only","CreateTime":1515424097}`,
			"skipped: a voice channel",
			`{"Type":"Public","GroupId":"960240226146021416","Name":"announcements","Introduction":"News","ApplyJoinOption":"FreeAccess","CreateTime":1649009510}`,
		},
		"get_group_info": {
			`{"Type":"Public","GroupId":"1NVTZEAE4","Owner_Account":"leckie","Name":"MyFirstGroup","Introduction":"TestGroup","Notification":"TestGroup","FaceUrl":"https://this.is.face.url","MaxMemberCount":50,"ApplyJoinOption":"FreeAccess","AppDefinedData":[{"Key":"GroupTestData1","Value":"xxxxx"}],"CreateTime":1426976500}`,
			"skipped: get_group_info answered that there is no such group (10010)",
		},
	}
	if got := mapping.Names(); len(got) != len(want) {
		t.Errorf("got programs %q, want a sample of each", got)
	}
	for _, name := range mapping.Names() {
		t.Run(name, func(t *testing.T) {
			files, err := filepath.Glob("testdata/" + name + ".json*")
			if err != nil || len(files) != 1 {
				t.Fatalf("got samples %q, want one", files)
			}
			text, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			program, _ := mapping.Builtin(name)
			if head, _, _ := strings.Cut(program, "\n\n"); !strings.HasPrefix(head, "# ") || !strings.Contains(head, "https://") {
				t.Error("got no source at the program's head")
			}
			got := run(t, program, files[0], text)
			if !slices.Equal(got, want[name]) {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want[name], "\n     "))
			}
		})
	}
}

// run maps an export and returns what becomes of each record.
func run(t *testing.T, program, name string, text []byte) []string {
	t.Helper()
	p, err := mapping.Compile(program, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	src := export.Source{Name: name, Map: p.Map, Open: func(offset int64) io.ReadCloser { return io.NopCloser(bytes.NewReader(text[offset:])) }}
	r, err := export.NewReader(src, export.Start, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e, err := range r.Records() {
		switch {
		case err != nil:
			t.Fatal(err)
		case e.Problem != nil:
			got = append(got, e.Problem.Error()+" in "+string(e.Raw))
		case e.Skipped != "":
			got = append(got, "skipped: "+e.Skipped)
		default:
			got = append(got, string(e.Record.AppendJSON(nil)))
		}
	}
	return got
}

func TestWhatAProgramComesTo(t *testing.T) {
	const valid = `{Type:"Public",Name:"a"}`
	for name, row := range map[string]struct{ program, record, want string }{
		"a record":              {valid, `{}`, `{"Type":"Public","Name":"a"}`},
		"an invalid record":     {`{Type:"Public",Name:.n}`, `{"n":""}`, `Name is missing or empty in {"Name":"","Type":"Public"}`},
		"nothing":               {`empty`, `{}`, "skipped: the mapping yields nothing for it"},
		"select":                {`select(.ok) | ` + valid, `{}`, "skipped: the mapping yields nothing for it"},
		"skip":                  {`if .x then skip("no \(.x)") else . end`, `{"x":1}`, "skipped: no 1"},
		"skip without a word":   {`skip("")`, `{}`, "skipped: the mapping leaves it out"},
		"an error":              {`error("bad")`, `{"x":1}`, `the mapping fails: error: bad in {"foreign":{"x":1}}`},
		"a type error":          {`.a.b`, `{"a":1}`, `the mapping fails: expected an object but got: number (1) in {"foreign":{"a":1}}`},
		"two records":           {valid + "," + valid, `{}`, `the mapping yields more than one record: it must yield one for each in {"foreign":{}}`},
		"null":                  {`null`, `{}`, "not a JSON object: it is null in null"},
		"what is no JSON":       {valid, `{"a":`, `not a JSON value: unexpected EOF at byte 5 in {"a":`},
		"a name twice":          {valid, `{"a":1,"a":2}`, `not a JSON value: duplicate object member name at byte 7 in {"foreign":{"a":1,"a":2}}`},
		"half a surrogate pair": {valid, `{"a":"\ud800"}`, ``},
		"whole numbers exactly": {`{Type:"Public",Name:"\(.a)"}`, `{"a":1234567890123456789012}`, `{"Type":"Public","Name":"1234567890123456789012"}`},
		"a line of a failures file is no more mapped": {`error`, `{"n":1,"status":"failed","record":{"Type":"Public","Name":"b"}}`, `{"Type":"Public","Name":"b"}`},
		"but one that was not mapped is":              {`{Type:"Public",Name:.x}`, `{"n":1,"status":"rejected","record":{"foreign":{"x":"c"}}}`, `{"Type":"Public","Name":"c"}`},
		"and again as often as it fails":              {`error("e")`, `{"n":1,"status":"rejected","record":{"foreign":{"x":"c"}}}`, `the mapping fails: error: e in {"foreign":{"x":"c"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, row.program, "a.jsonl", []byte(row.record))
			if row.want == "" {
				if len(got) != 1 || !strings.Contains(got[0], "not a JSON value") {
					t.Errorf("got %q, want it to be refused", got)
				}
				return
			}
			if len(got) != 1 || got[0] != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestHelpers(t *testing.T) {
	for _, row := range []struct{ program, want string }{
		{`"群组" | cut_bytes(6)`, `"群组"`},
		{`"群组" | cut_bytes(5)`, `"群"`},
		{`"群组" | cut_bytes(2)`, `""`},
		{`"a😀b" | cut_bytes(4)`, `"a"`},
		{`null | cut_bytes(4)`, `null`},
		{`1 | cut_bytes(4)`, `the mapping fails: cut_bytes is for texts, not for number`},
		{`"a" | cut_bytes(-1)`, `the mapping fails: cut_bytes(-1): a length in bytes is wanted`},
		{`"abc" | fits(3)`, `"abc"`},
		{`"abc" | fits(2)`, `null`},
		{`null | fits(2)`, `null`},
		{`"g-1" | fit_id`, `"g-1"`},
		{`17 | fit_id`, `"17"`},
		{`null | fit_id`, `null`},
		{`"@TGS#x" | fit_id`, `"x-2868bb78574a6f47"`},
		{`"群" | fit_id`, `"-0df737cb62bb5175"`},
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
		{`"soon" | seconds`, `the mapping fails: seconds: "soon" is no time`},
		{`-1 | seconds`, `the mapping fails: seconds: -1 is no time`},
		{`[] | seconds`, `the mapping fails: seconds: array is no time`},
		{`$limits.Name`, `30`},
		{`env`, `{}`},
		{`$ENV.HOME`, `null`},
		{`try skip("x") catch .`, `"skipped: x"`},
	} {
		p, err := mapping.Compile(row.program, group.DocumentLimits)
		if err != nil {
			t.Fatal(err)
		}
		out, skipped, err := p.Map([]byte(`{}`))
		got := string(out)
		if err != nil {
			got = err.Error()
		}
		if got != row.want || skipped != "" {
			t.Errorf("%s: got %s %s, want %s", row.program, got, skipped, row.want)
		}
	}
}

// fit_id makes IDs that the service takes and that differ where the texts do.
func FuzzFitID(f *testing.F) {
	f.Add("@TGS#_@TGS#x", "群组")
	f.Add(strings.Repeat("a", 49), strings.Repeat("a", 50))
	p, err := mapping.Compile(`{Type:"Public",Name:"a",GroupId:(.|fit_id)}`, group.DocumentLimits)
	if err != nil {
		f.Fatal(err)
	}
	d := group.NewDecoder(group.DocumentLimits)
	f.Fuzz(func(t *testing.T, a, b string) {
		var ids []string
		for _, text := range []string{a, b} {
			if !utf8.ValidString(text) || text == "" {
				return
			}
			out, _, err := p.Map(fmt.Appendf(nil, "%q", text))
			if err != nil {
				return // Go's escapes are not all JSON's
			}
			r, err := d.Decode(out)
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

func TestAProgramIsBounded(t *testing.T) {
	for _, program := range []string{
		`def f: f; f`, `[range(1e9)] | length`, `last(range(1e12))`, `def f: [f]; f`, `reduce range(100) as $i ("xxxxxxxx"; . + .)`,
		`[limit(1e9; repeat(1))]`, `{}, (def f: f; f)`, `[recurse(if . < 1e9 then . + 1 else empty end)] | length`,
	} {
		p, err := mapping.Compile(program, group.DocumentLimits)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.Map([]byte("1")); err == nil || !strings.Contains(err.Error(), "the mapping fails: it ") {
			t.Errorf("%s: got %v, want it to be ended", program, err)
		}
		// It serves the next record as if nothing had been.
		if _, _, err := p.Map([]byte("{")); err == nil || !strings.Contains(err.Error(), "not a JSON value") {
			t.Errorf("%s: got %v", program, err)
		}
	}
}

func TestAProgramThatIsNoneSaysWhere(t *testing.T) {
	for program, want := range map[string]string{
		"{\n  Name: .name\n  Type: 1\n}": "the mapping is no jq program: in line 3: ",
		"nme(1)":                         "the mapping is no jq program: function not defined: nme/1",
		`input`:                          "the mapping is no jq program: input(s)/0 is not allowed",
		`include "a"; .`:                 "the mapping is no jq program: ",
		strings.Repeat(" ", mapping.MaxProgram) + ".": "the mapping has 65537 bytes",
	} {
		if _, err := mapping.Compile(program, group.DocumentLimits); err == nil || !strings.HasPrefix(err.Error(), want) {
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
		if _, err := mapping.Find(name, read); err == nil || !strings.Contains(err.Error(), "discord, get_group_info, mattermost, rocketchat, sendbird, slack") {
			t.Errorf("%q: got %v, want it to name what there is", name, err)
		}
	}
}

func BenchmarkMap(b *testing.B) {
	program, _ := mapping.Builtin("slack")
	p, err := mapping.Compile(program, group.DocumentLimits)
	if err != nil {
		b.Fatal(err)
	}
	raw := []byte(`{"id":"C58GTD2MP","name":"general","created":1493960964,"creator":"U591XC8LT","is_archived":false,"is_general":true,"members":["U591XC8LT","U5A8GTD2M"],"topic":{"value":"Company-wide announcements","creator":"","last_set":0},"purpose":{"value":"For team-wide communication","creator":"","last_set":0}}`)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := p.Map(raw); err != nil {
			b.Fatal(err)
		}
	}
}
