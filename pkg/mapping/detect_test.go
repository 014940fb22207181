package mapping_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/mapping"
	"groupimport/pkg/results"
)

// guarded reads an export as an import does and returns what its guard says, and how many records were held back.
func guarded(t *testing.T, program, name string, text []byte) (held int, err error) {
	t.Helper()
	src := export.Source{Name: name, Open: func(offset int64) io.ReadCloser {
		return io.NopCloser(bytes.NewReader(text[offset:]))
	}}
	if program != "" {
		p, err := mapping.Compile(program, mapping.Settings{Limits: group.DocumentLimits, Name: mapping.BaseName(name)})
		if err != nil {
			t.Fatal(err)
		}
		src.Map = p
	}
	r, err := export.NewReader(src, export.Start, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	guard := mapping.NewGuard(program)
	for e, err := range r.Records(t.Context()) {
		if err != nil {
			return held, guard.Explain(t.Context(), err, src)
		}
		if err := guard.See(&e); err != nil {
			return held, err
		}
		if guard.Doubts() {
			held++
		}
	}
	return held, guard.End()
}

// Each sample without a mapping, and with each of another system, ends with the name of its own.
func TestGuard_OtherSystem(t *testing.T) {
	for file := range samples {
		own, _, _ := strings.Cut(file, "/")
		if own == "get_group_info" {
			own = "tencent" // reads the same and more
		}
		for _, used := range append(mapping.Names(), "") {
			text, _ := mapping.Builtin(used)
			if used == "" {
				text = ""
			}
			held, err := guarded(t, text, file, sample(t, file))
			switch {
			case used == own || isTencent(used) && isTencent(own):
				if held > 0 || err != nil {
					t.Errorf("%s as %s: got %d held, %v", file, used, held, err)
				}
			case strings.HasSuffix(file, ".json") && isTencent(own) && used == "": // needs no mapping
				if err != nil {
					t.Errorf("%s: got %v", file, err)
				}
			case err == nil || !strings.Contains(err.Error(), fmt.Sprintf("set MAPPING=%s (locally: --map %s)", own, own)):
				t.Errorf("%s as %q: got %v, want %s named", file, used, err, own)
			}
		}
	}
}

func isTencent(system string) bool { return system == "tencent" || system == "get_group_info" }

func TestGuard_Messages(t *testing.T) {
	slack := sample(t, "slack/channels.json")
	if _, err := guarded(t, "", "a.json", slack); err == nil ||
		err.Error() != "it looks like a Slack export: set MAPPING=slack (locally: --map slack)" {
		t.Errorf("got %v", err)
	}
	sendbird, _ := mapping.Builtin("sendbird")
	if _, err := guarded(t, sendbird, "a.json", slack); err == nil ||
		err.Error() != "it looks like a Slack export, and the mapping is sendbird: set MAPPING=slack (locally: --map slack)" {
		t.Errorf("got %v", err)
	}
}

// Documents that wrap the records have none themselves: the error names the place.
func TestGuard_WrappedRecords(t *testing.T) {
	sendbird, _ := mapping.Builtin("sendbird")
	const channel = `{"channel_url":"a","name":"A","is_public":false,"members":[{"user_id":"u"}]}`
	for _, row := range []struct{ program, text, want string }{
		{sendbird, `{"response":{"channels":[` + channel + `]}}`, "response.channels"},
		{sendbird, `{"code":200,"data":{"page":1,"list":[` + channel + `]}}`, "data.list"},
		{sendbird, `{"response":` + channel + `}`, "response"},
		{sendbird, `{"results":[` + channel + `]}`, "results"},
		{"", `{"data":{"groups":[{"Type":"Private","Name":"A","GroupId":"a"}]}}`, "data.groups"},
		{"", `{"data":{"Type":"Private","Name":"A","GroupId":"a","MemberList":[{"Member_Account":"u"}]}}`, "data"},
		{"", `{"data":{"count":2}}`, ""},
		{"", `{"data":[1,2]}`, ""},
		{"", `{"Type":"Private","Name":"A","data":{"groups":[{"a":1}]}}`, ""},
	} {
		_, err := guarded(t, row.program, "a.jsonl", []byte(row.text))
		const text = "its records seem to be within %[1]q: name their place with RECORDS=%[1]s (locally: --records %[1]s)"
		want := fmt.Sprintf(text, row.want)
		if row.want == "" && err != nil || row.want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: got %v, want %q", row.text, err, row.want)
		}
	}
}

func TestGuard_ValidExports(t *testing.T) {
	channel := `{"id":"C58GTD2MP","name":"general","created":1493960964,"members":[]}`
	many := strings.Repeat(channel+"\n", 30)
	good := `{"Type":"Public","Name":"a"}`
	slack, _ := mapping.Builtin("slack")
	for name, row := range map[string]struct {
		program, text string
		held          int
	}{
		"a good record first":                      {"", good + "\n" + many, 0},
		"a good record after others":               {"", channel + "\n" + channel + "\n" + good, 2},
		"records that look like nothing known":     {"", `{"id":1}` + "\n" + `{"id":2}`, 0},
		"records of two systems":                   {"", channel + "\n" + `{"type":"version","version":1}`, 1},
		"no record":                                {"", "", 0},
		"a program of the author's own that skips": {`empty`, many, 0},
		"archived channels only": {
			slack,
			strings.ReplaceAll(many, `"members"`, `"is_archived":true,"members"`), 0,
		},
		"errors of get_group_info": {
			"",
			`{"GroupInfo":[{"GroupId":"a","ErrorCode":10007,"ErrorInfo":"no"}]}`, 0,
		},
		"a line of a dead-letter file": {"", `{"n":1,"status":"rejected","record":{"foreign":` + channel +
			`}}`, 0},
	} {
		file := "groups.jsonl"
		if strings.Contains(row.text, "GroupInfo") {
			file = "groups.json"
		}
		if held, err := guarded(t, row.program, file, []byte(row.text)); held != row.held || err != nil {
			t.Errorf("%s: got %d held and %v, want %d", name, held, err, row.held)
		}
	}
	if held, err := guarded(t, "", "groups.jsonl", []byte(many)); held != 19 || err == nil {
		t.Errorf("got %d held and %v, want an end at the 20th", held, err)
	}
}

// import_group's own records, and those of the demo, are nobody else's.
func TestDetect_OwnRecords(t *testing.T) {
	for _, raw := range []string{
		`{"Type":"Public","Name":"a","GroupId":"g1","CreateTime":1448357837}`, `{"GroupId":"g1","Member_Account":"u1"}`,
		`{"id":"1","name":"a","type":"x"}`, `{"id":"CHANNEL1","name":"a"}`, `{"type":"channel","channel":"c"}`, `[]`, `null`,
		`x`, ``,
	} {
		if got := mapping.Detect([]byte(raw)); got != "" {
			t.Errorf("%s: got %s", raw, got)
		}
	}
	if got := mapping.Detect([]byte(`{"type":"post","post":{},"x":"\ud800","x":1}`)); got != "mattermost" {
		t.Errorf("got %q", got)
	}
}

func TestBaseName(t *testing.T) {
	for key, want := range map[string]string{
		"groups.json":                      "groups.json",
		"exports/acme/groups.json":         "groups.json",
		"exports/groups.json.gz":           "groups.json",
		"groups.JSON.ZST":                  "groups.JSON",
		"groups (1).json":                  "groups (1).json",
		".gz":                              ".gz",
		"a/channels.json.failures.jsonl":   "channels.json",
		"groups.json.0123456789ab.json":    "groups.json.0123456789ab.json",
		"failures.ndjson":                  "failures.ndjson",
		"groups.json.gz.failures.ndjson":   "groups.json",
		"2024.0123456789ab.failures.jsonl": "2024",
	} {
		if got := mapping.BaseName(key); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
	names := results.Names{Export: "exports/groups.json.gz"}
	for _, key := range []string{names.Failures(), names.Archived("version", time.Unix(1e9, 0)).Failures()} {
		if got := mapping.BaseName(key); got != "groups.json" {
			t.Errorf("%s: got %s, want groups.json", key, got)
		}
	}
}

// A record that could not be mapped is mapped again with the name of its export.
func TestBuiltIn_SlackDeadLetter(t *testing.T) {
	program, _ := mapping.Builtin("slack")
	record := `{"id":"C04NEWPRV","name":"layoffs","created":1656789012,"members":[]}`
	line := `{"n":1,"status":"rejected","record":{"foreign":` + record + `}}`
	for name, want := range map[string]string{
		"groups.json.failures.ndjson": "Private", "channels.json.failures.ndjson": "Public", "again.ndjson": "Private",
	} {
		if got := run(t, program, name, []byte(line)); len(got) != 1 || !strings.HasPrefix(got[0], `{"Type":"`+want) {
			t.Errorf("%s: got %q, want it %s", name, got, want)
		}
	}
}

// The contents of a post do not affect other lines. Invalid JSON is rejected.
func TestMattermost_OtherTypes(t *testing.T) {
	program, _ := mapping.Builtin("mattermost")
	long := strings.Repeat("x", export.MaxLine)
	channel := `{"type":"channel","channel":{"team":"t","name":"okc","display_name":"OK","type":"O"}}`
	ok := `{"Type":"Public","GroupId":"t.okc","Name":"OK","ApplyJoinOption":"FreeAccess"} of t.okc`
	for name, row := range map[string]struct{ line, want string }{
		"a channel":             {channel, ok},
		"half a surrogate pair": {`{"type":"post","post":{"message":"cut \ud83d"}}`, "ignored"},
		"a doubled name":        {`{"type":"post","post":{"create_at":1,"create_at":2}}`, "ignored"},
		"no UTF-8":              {"{\"type\":\"post\",\"post\":{\"message\":\"\xff\"}}", "ignored"},
		"more than 1 MiB":       {`{"type":"post","post":{"message":"` + long + `"}}`, "ignored"},
		"more than the window":  {`{"type":"post","post":{"message":"` + long + long + `"}}`, "ignored"},
		"a long channel": {
			`{"type":"channel","channel":{"purpose":"` + long + `"}}`, "the line is 1048620 bytes, limit 1048576 in ",
		},
		"a long line that does not tell its type": {
			`{"message":"` + long + `","type":"post"}`, "the line is 1048605 bytes, limit 1048576 in ",
		},
		"no JSON": {
			`{"type":"post","post":{`, `not a JSON value: unexpected EOF at byte 23 in {"type":"post","post":{`,
		},
		"something after it": {
			`{"type":"post"} x`, `not a JSON value: unexpected data at byte 15 in {"type":"post"} x`,
		},
		"a type given twice, the last counts":  {`{"type":"post",` + channel[1:], ok},
		"likewise":                             {channel[:len(channel)-1] + `,"type":"post"}`, "ignored"},
		"a type with escapes":                  {`{"\u0074ype":"p\u006fst"}`, "ignored"},
		"a type that is no text":               {`{"type":1}`, "skipped: not a line of a Mattermost bulk export"},
		"no type":                              {`{"channel":{}}`, "skipped: not a line of a Mattermost bulk export"},
		"no object":                            {`["post"]`, "skipped: not a line of a Mattermost bulk export"},
		"a channel with damage in unused text": {strings.Replace(channel, `"name"`, `"x":"\udc00","name"`, 1), ok},
	} {
		text := row.line + "\n" + channel + "\n"
		got := run(t, program, "a.jsonl", []byte(text))
		if want := []string{row.want, ok}; !slices.Equal(got, want) {
			t.Errorf("%s: got %.300q, want %q", name, got, want)
		}
	}
	// The same in an array.
	if got := run(t, program, "a.json", []byte(`[{"type":"post","post":"`+long+`"},`+channel+
		`]`)); !slices.Equal(got, []string{"ignored", ok}) {
		t.Errorf("got %.300q", got)
	}
}

func TestCompile_Only(t *testing.T) {
	for program, want := range map[string]string{
		`module {only: {a: "x", b: "y"}}; {Type:"Public",Name:"n"}`: `{"Type":"Public","Name":"n"}`,
		`module {only: {a: "z"}}; {Type:"Public",Name:"n"}`:         "ignored",
		`module {only: {b: "z", a: "x"}}; {Type:"Public",Name:"n"}`: "ignored",
		`module {name: "mine"}; {Type:"Public",Name:"n"}`:           `{"Type":"Public","Name":"n"}`,
	} {
		if got := run(t, program, "a.jsonl", []byte(`{"a":"x","b":"y"}`)); len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %q, want %s", program, got, want)
		}
	}
	if _, err := mapping.Compile(`module {only: {type: 1}}; .`, document); err == nil ||
		!strings.Contains(err.Error(), "must be an object of strings") {
		t.Errorf("got %v", err)
	}
}

// TestCompile_Version1 runs each built-in program of version 1, which checkpoints of that version contain.
func TestCompile_Version1(t *testing.T) {
	files, err := os.ReadDir("testdata/version1")
	if err != nil || len(files) != 6 {
		t.Fatalf("got %v %v, want the 6 programs of version 1", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file.Name(), ".jq")
		text, err := os.ReadFile("testdata/version1/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for file := range samples {
			if system, _, _ := strings.Cut(file, "/"); system != name {
				continue
			}
			for _, line := range run(t, string(text), file, sample(t, file)) {
				if strings.Contains(line, "ignored") || strings.Contains(line, "mapping failed") {
					t.Errorf("%s: got %s", file, line)
				}
			}
		}
	}
}

func BenchmarkMap_Post(b *testing.B) {
	program, _ := mapping.Builtin("mattermost")
	p, err := mapping.Compile(program, document)
	if err != nil {
		b.Fatal(err)
	}
	raw := []byte(`{"type":"post","post":{"team":"core","channel":"town-square","user":"kim","type":"","message":"` +
		strings.Repeat("Hello everybody. ", 10) +
		`","props":{},"create_at":1709373600000,"edit_at":0,"reactions":[],"replies":[],"attachments":[]}}`)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if m, err := p.Map(raw); err != nil || !m.Ignored {
			b.Fatal(m, err)
		}
	}
}
