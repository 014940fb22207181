package export_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"groupimport/pkg/export"
)

// table is a table of users.
type table map[string]string

func (t table) Account(id string) (string, bool) {
	account, ok := t[id]
	return account, ok
}

// translated reads an export with a table of users and returns a line for each record.
func translated(t *testing.T, src export.Source, users export.Users, strict bool) []string {
	t.Helper()
	src.Users, src.StrictUsers = users, strict
	var got []string
	for e, err := range mustRead(t, src) {
		switch {
		case err != nil:
			t.Fatal(err)
		case e.Skipped != "":
			got = append(got, "skipped: "+e.Skipped)
			continue
		case e.Problem != nil:
			got = append(got, fmt.Sprintf("%s %s: %s in %s", e.Problem.Field(), e.Problem.Rule(), e.Problem, e.Raw))
			continue
		}
		var line strings.Builder
		line.WriteString(string(e.Record.AppendJSON(nil)))
		for i := range e.Record.Members {
			if m := &e.Record.Members[i]; m.Problem != nil {
				line.WriteString(" " + m.Problem.Message)
			} else if !e.Record.IsMember {
				line.WriteString(" " + string(m.AppendJSON(nil)))
			}
		}
		if len(e.Changed) > 0 {
			fmt.Fprint(&line, " changed ", e.Changed)
		}
		got = append(got, line.String())
	}
	return got
}

func TestReader_Users(t *testing.T) {
	users := table{"U1": "ann", "U2": "ben", `U"3`: "cem", "U4": "ben"}
	const open, member = `{"Type":"Public","Name":"a"`, `{"GroupId":"g","Member_Account":`
	for name, row := range map[string]struct{ raw, want, strict string }{
		"an owner":           {open + `,"Owner_Account":"U1"}`, `{"Type":"Public","Owner_Account":"ann","Name":"a"}`, ""},
		"no account":         {open + `,"GroupId":"U1"}`, `{"Type":"Public","GroupId":"U1","Name":"a"}`, ""},
		"an account of null": {open + `,"Owner_Account":null}`, open + "}", ""},
		"an empty account":   {open + `,"Owner_Account":""}`, open + "}", ""},
		"an unknown owner": {
			open + `,"Owner_Account":"U9"}`, open + "} changed [Owner_Account]",
			`Owner_Account mapping: not in the table of users: "U9": add them, and import this record again in ` +
				`{"untranslated":` + open + `,"Owner_Account":"U9"}}`,
		},
		"members": {
			open + `,"MemberList":[{"Role":"Admin","Member_Account":"U1"},{"Member_Account":"U\"3"},{}]}`,
			open + `} {"Member_Account":"ann","Role":"Admin"} {"Member_Account":"cem"} Member_Account is missing or empty`, "",
		},
		"members who are one, and the owner": {
			open +
				`,"Owner_Account":"U1","MemberList":[{"Member_Account":"U1"},{"Member_Account":"U2"},{"Member_Account":"U4"}]}`,
			`{"Type":"Public","Owner_Account":"ann","Name":"a"} {"Member_Account":"ben"}`, "",
		},
		"unknown members": {
			open +
				`,"MemberList":[{"Member_Account":"a"},{"Member_Account":"U1"},{"Member_Account":"b"},{"Member_Account":"c"},` +
				`{"Member_Account":"d"}]}`,
			open + `} {"Member_Account":"ann"} changed [MemberList]`,
			`MemberList mapping: not in the table of users: "a", "b", "c" and 1 more: add them, and import this record again ` +
				`in ` +
				`{"untranslated":` + open +
				`,"MemberList":[{"Member_Account":"a"},{"Member_Account":"U1"},{"Member_Account":"b"},{"Member_Account":"c"},` +
				`{"Member_Account":"d"}]}}`,
		},
		"only unknown members": {open + `,"MemberList":[{"Member_Account":"a"}]}`, open + `} changed [MemberList]`, "-"},
		"an owner and a member unknown": {
			open + `,"Owner_Account":"x","MemberList":[{"Member_Account":"y"}]}`, open + `} changed [Owner_Account MemberList]`,
			"-",
		},
		"a member record": {member + `"U2"}`, member + `"ben"}`, ""},
		"an unknown member": {
			member + `"U9"}`, `skipped: the account "U9" is not in the table of users`,
			`Member_Account mapping: not in the table of users: "U9": add them, and import this record again in ` +
				`{"untranslated":` + member + `"U9"}}`,
		},
		"what is malformed": {
			open + `,"Owner_Account":7,"MemberList":[7,{"Member_Account":7}]}`,
			`Owner_Account kind: Owner_Account must be a string, not the number 7; MemberList[0] must be an object with ` +
				`Member_Account, not the number 7 in ` + open + `,"Owner_Account":7,"MemberList":[7,{"Member_Account":7}]}`, "",
		},
		"no JSON": {open, " json: not a JSON object: unexpected end after 27 bytes in " + open, ""},
		"a dead-letter file's record, which is translated": {
			`{"n":1,"status":"failed","record":` + open + `,"Owner_Account":"ann"}}`,
			`{"Type":"Public","Owner_Account":"ann","Name":"a"}`, "",
		},
		"one that was not": {
			`{"n":1,"status":"rejected","record":{"untranslated":` + open + `,"Owner_Account":"U1"}}}`,
			`{"Type":"Public","Owner_Account":"ann","Name":"a"}`, "",
		},
		"one that still cannot be": {
			`{"n":1,"status":"rejected","record":{"untranslated":` + member + `"U9"}}}`,
			`skipped: the account "U9" is not in the table of users`, "-",
		},
	} {
		for _, strict := range []bool{false, true} {
			want := row.want
			if strict && row.strict != "" {
				want = row.strict
			}
			got := translated(t, in("a.jsonl", []byte(row.raw)), users, strict)
			if want == "-" {
				if len(got) != 1 || !strings.Contains(got[0], "not in the table of users") {
					t.Errorf("%s: got %q, want it refused", name, got)
				}
			} else if !slices.Equal(got, []string{want}) {
				t.Errorf("%s, strict %v: got  %s\nwant %s", name, strict, got, want)
			}
		}
	}
	// Without a table such a record is not sent as it is.
	line := `{"n":1,"status":"rejected","record":{"untranslated":` + open + `,"Owner_Account":"U1"}}}`
	if got := translated(t, in("a.jsonl", []byte(line)), nil, false); len(got) != 1 ||
		!strings.Contains(got[0], "accounts of the record were not in the table of users: select a table") {
		t.Errorf("got %q", got)
	}
}

// Users are translated in every format and after a mapping.
func TestReader_UsersOfFormats(t *testing.T) {
	users := table{"U1": "ann", "U2": "ben"}
	want := []string{
		`{"Type":"Public","Owner_Account":"ann","Name":"a"} {"Member_Account":"ben"}`,
		`{"GroupId":"g","Member_Account":"ben"}`,
	}
	for name, text := range map[string]string{
		"a.csv": "Type,Name,Owner_Account,MemberList,GroupId,Member_Account\n" +
			"Public,a,U1,\"[{\"\"Member_Account\"\":\"\"U2\"\"}]\",,\n,,,,g,U2\n",
		"a.json": `[{"Type":"Public","Name":"a","Owner_Account":"U1","MemberList":[{"Member_Account":"U2"}]},` +
			`{"GroupId":"g","Member_Account":"U2"}]`,
	} {
		if got := translated(t, in(name, []byte(text)), users, true); !slices.Equal(got, want) {
			t.Errorf("%s: got  %q\nwant %q", name, got, want)
		}
	}
	answer := `{"GroupInfo":[{"GroupId":"@TGS#1NV","ErrorCode":0,"Type":"Public","Name":"a","Owner_Account":"U1",` +
		`"MemberList":[` +
		`{"Member_Account":"U2","MsgSeq":1},{"Member_Account":"x"}]}]}`
	got := translated(t, in("answer.json", []byte(answer)), users, false)
	if want := `{"Type":"Public","GroupId":"1NV","Owner_Account":"ann","Name":"a"} {"Member_Account":"ben"} changed ` +
		`[GroupId MemberList]`; len(got) != 1 || got[0] != want {
		t.Errorf("got  %q\nwant %s", got, want)
	}
	src := in("a.jsonl", []byte(`{"x":1}`))
	src.Map = mapFunc(func([]byte) (export.Mapped, error) {
		second := export.Mapped{Record: []byte(`{"GroupId":"g","Member_Account":"U9"}`)}
		third := export.Mapped{Record: []byte(`{"GroupId":"g","Member_Account":"U2"}`), Changed: []string{"GroupId"}}
		return export.Mapped{
			Record: []byte(`{"GroupId":"g","Member_Account":"U1"}`),
			More:   []export.Mapped{second, third},
		}, nil
	})
	got = translated(t, src, users, false)
	if want := []string{
		`{"GroupId":"g","Member_Account":"ann"}`, `skipped: the account "U9" is not in the table of users`,
		`{"GroupId":"g","Member_Account":"ben"} changed [GroupId]`,
	}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
