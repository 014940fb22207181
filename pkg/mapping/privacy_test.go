package mapping_test

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/mapping"
)

// publicValues are the documented values of public channels. No other value of these fields may make a private record
// public.
var publicValues = map[string]string{
	"slack .is_private":                              "false", // of the API's records in channels.json
	"sendbird .is_public":                            "true",
	"discord .permission_overwrites":                 "[]",
	"discord .permission_overwrites[0].deny":         `"0"`,
	"rocketchat .teamId":                             "null", // or absent: only a room of a team has it
	"easemob .public":                                "true",
	"cometchat .type":                                `"public"`,
	"yunxin .joinmode":                               "0", // anybody may join
	"yunxin .data.team_info.configuration.join_mode": "0",
}

// odd are values that replace each field: of each type, and strings that resemble documented values.
var odd = []any{
	nil, true, false, 0, 1, -1, 2.5, 1e300,
	"", "x", "o", "p", "P", "public", "Open", "private", "true", "false", "0", "1024x",
	[]any{},
	[]any{nil},
	[]any{map[string]any{}},
	map[string]any{},
	map[string]any{"value": 1},
}

// otherNames are possible names of a renamed Slack export.
var otherNames = []string{
	"", ".json", "channels", "groups (1).json", "acme-groups.json.gz", "private-channels.json", "acme-channels.json",
	"channels.private.json", "channels-private.json", "channels.json.bak", "xchannels.json", "channel.json", "mychannels (1).json",
	"channels ().json", "export.json", "channels.json/export.json", "mpims (2).json", "dms.json", "频道.json",
}

// TestBuiltIn_PrivateStaysPrivate removes and changes each field, also nested fields, of each private record of the
// samples, and the export's name. No change may make the record public.
func TestBuiltIn_PrivateStaysPrivate(t *testing.T) {
	private := map[string]int{}
	for file := range samples {
		system, _, _ := strings.Cut(file, "/")
		names := []string{mapping.BaseName(file)}
		if system == "slack" {
			names = append(names, otherNames...)
		}
		for _, raw := range rawOf(t, file) {
			if !becomes(t, system, names[0], raw, group.Private) {
				continue
			}
			private[system]++
			var record any
			if err := json.Unmarshal(raw, &record); err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				never(t, system, name, "", raw)
			}
			vary(record, "", record, func(path string, value any, changed []byte) {
				if text, err := json.Marshal(value); err == nil && publicValues[system+" "+path] != string(text) {
					never(t, system, names[0], path, changed)
				}
			})
		}
	}
	for _, system := range mapping.Names() {
		if private[system] == 0 {
			t.Errorf("%s: got no private record in the samples", system)
		}
	}
}

// rawOf returns the unmapped records of a sample.
func rawOf(t *testing.T, file string) (raws [][]byte) {
	t.Helper()
	system, _, _ := strings.Cut(file, "/")
	text, _ := mapping.Builtin(system)
	p, err := mapping.Compile(text, document)
	if err != nil {
		t.Fatal(err)
	}
	src := export.Source{Name: file, Map: &capture{&raws, p.Records()}, Open: func(int64) io.ReadCloser {
		return io.NopCloser(strings.NewReader(string(sample(t, file))))
	}}
	r, err := export.NewReader(src, export.Start, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range r.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
	}
	return raws
}

// A capture is a mapping that stores the records.
type capture struct {
	raws  *[][]byte
	paths []export.Path
}

func (c *capture) Map(raw []byte) (export.Mapped, error) {
	*c.raws = append(*c.raws, slices.Clone(raw))
	return export.Mapped{Ignored: true}, nil
}

func (c *capture) Ignores([]byte) bool { return false }

func (c *capture) Records() []export.Path { return c.paths }

// programs caches compiled programs by system and name of the export.
var programs = map[string]*mapping.Program{}

// mappedTo maps and decodes a record. ok is false if it does not become a valid group.
func mappedTo(t *testing.T, system, name string, raw []byte) (r group.Record, ok bool) {
	t.Helper()
	key := system + " " + name
	if programs[key] == nil {
		text, _ := mapping.Builtin(system)
		p, err := mapping.Compile(text, mapping.Settings{Limits: group.DocumentLimits, Name: mapping.BaseName(name), IncludeArchived: true})
		if err != nil {
			t.Fatal(err)
		}
		programs[key] = p
	}
	m, err := programs[key].Map(raw)
	if err != nil || m.Skipped != "" || m.Ignored {
		return r, false
	}
	r, err = group.NewDecoder(group.DocumentLimits).Decode(m.Record)
	return r, err == nil
}

func becomes(t *testing.T, system, name string, raw []byte, want group.Type) bool {
	t.Helper()
	r, ok := mappedTo(t, system, name, raw)
	return ok && r.Type == want
}

// never checks that a record does not become a public group.
func never(t *testing.T, system, name, path string, raw []byte) {
	t.Helper()
	if r, ok := mappedTo(t, system, name, raw); ok && !r.IsMember && (r.Type != group.Private || r.ApplyJoinOption == "FreeAccess") {
		t.Errorf("%s, %q, %s: got %s %s of %s", system, name, path, r.Type, r.ApplyJoinOption, raw)
	}
}

// vary calls try with the whole record for each change of a field in v.
func vary(v any, path string, whole any, try func(path string, value any, changed []byte)) {
	encoded := func() []byte {
		raw, err := json.Marshal(whole)
		if err != nil {
			panic(err)
		}
		return raw
	}
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			at := path + "." + name
			delete(v, name)
			try(at, nil, encoded()) // removed
			for _, other := range odd {
				v[name] = other
				try(at, other, encoded())
			}
			v[name] = value
			vary(value, at, whole, try)
		}
	case []any:
		for i, value := range v {
			at := fmt.Sprintf("%s[%d]", path, i)
			for _, other := range odd {
				v[i] = other
				try(at, other, encoded())
			}
			v[i] = value
			vary(value, at, whole, try)
		}
	}
}

// Only channels.json is public, also as a second download, as JSONL, and compressed.
func TestBuiltIn_SlackFileNames(t *testing.T) {
	record := rawOf(t, "slack/groups.json")[0]
	for name, want := range map[string]string{
		"channels.json": "Public", "a/channels.json.gz": "Public", "channels (1).json": "Public", "channels(12).json": "Public",
		"Channels.JSON": "Public", "channels.jsonl": "Public", "channels.ndjson.zst": "Public",
		"mpims.json": "skipped", "dms.json.gz": "skipped", "mpims (1).json": "skipped", "acme-dms.json": "skipped",
		"acme_mpims.json": "skipped", "acme dms.json": "skipped", "roadms.json": "Private", "dms-team.json": "Private",
		"groups.json": "Private", "acme-channels.json": "Private", "": "Private",
	} {
		got := "skipped"
		if r, ok := mappedTo(t, "slack", name, record); ok {
			got = string(r.Type)
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}

// A channel that is visible only to some is private, even if no field says so explicitly.
func TestBuiltIn_ImplicitlyPrivate(t *testing.T) {
	const guild = `{"id":"41771983423143938","guild_id":"41771983423143937","name":"a","type":0,"permission_overwrites":[`
	const slack = `{"id":"C0A","name":"a","created":1456789012,"members":[],`
	for _, row := range []struct{ system, name, record, want string }{
		{"discord", "", guild + `]}`, "Public"},
		{"discord", "", guild + `{"id":"41771983423143937","type":0,"allow":"1024","deny":"0"}]}`, "Public"},
		{"discord", "", guild + `{"id":"7","type":0,"allow":"1024","deny":"0"}]}`, "Private"},
		{"discord", "", guild + `{"id":"7","type":1,"allow":"0","deny":"1024"}]}`, "Private"},
		{"discord", "", `{"id":"41771983423143938","name":"a","type":0,"permission_overwrites":[]}`, "Private"},
		{"discord", "", `{"id":"41771983423143938","guild_id":"41771983423143937","name":"a","type":0}`, "Private"},
		{"rocketchat", "", `{"_id":"a","t":"c","name":"a","teamId":"b"}`, "Private"},
		{"sendbird", "", `{"channel_url":"a","name":"a","is_public":"true"}`, "Private"},
		{"cometchat", "", `{"guid":"a","name":"a","type":"password"}`, "Private"},
		{"stream", "", `{"type":"channel","item":{"id":"a","type":"livestream","is_public":true}}`, "Private"},
		{"rongcloud", "", `{"groupId":"a","name":"a","permissions":"{\"joinPerm\":0}"}`, "Private"},
		{"tencent", "", `{"GroupId":"a","Name":"a","Type":"Work"}`, "Private"},
		{"mattermost", "", `{"type":"channel","channel":{"team":"t","name":"a","type":"o"}}`, "Private"},
		{"slack", "channels.json", slack + `"is_archived":false}`, "Public"},
		{"slack", "channels.json", slack + `"is_channel":true}`, "Private"},
		{"slack", "channels.json", slack + `"is_channel":true,"is_private":false}`, "Public"},
		{"slack", "channels.json", slack + `"is_group":true}`, "Private"},
		{"slack", "groups.json", slack + `"is_private":false}`, "Private"},
	} {
		if !becomes(t, row.system, row.name, []byte(row.record), group.Type(row.want)) {
			t.Errorf("%s, %q: got another type of %s, want %s", row.system, row.name, row.record, row.want)
		}
	}
	// A public channel does not get FreeAccess if it requires a code, or does not say that it requires none.
	for system, record := range map[string]string{
		"rocketchat": `{"_id":"a","t":"c","name":"a","joinCodeRequired":"yes"}`,
		"sendbird":   `{"channel_url":"a","name":"a","is_public":true}`,
	} {
		if r, ok := mappedTo(t, system, "", []byte(record)); !ok || r.ApplyJoinOption != "" {
			t.Errorf("%s: got %+v", system, r)
		}
	}
}
