package export_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"groupimport/pkg/export"
)

// members reads an export and returns, for each record, the body of its group or the member record, and its members.
func members(t *testing.T, src export.Source) []string {
	t.Helper()
	var got []string
	for e, err := range mustRead(t, src) {
		switch {
		case err != nil:
			got = append(got, err.Error())
			continue
		case e.Problem != nil:
			got = append(got, e.Problem.Error())
			continue
		}
		var line strings.Builder
		line.WriteString(string(e.Record.AppendJSON(nil)))
		if !e.Record.IsMember {
			for i := range e.Record.Members {
				m := &e.Record.Members[i]
				line.WriteString(" " + string(m.AppendJSON(nil)))
				if m.Problem != nil {
					line.WriteString(": " + m.Problem.Message)
				}
			}
		}
		if e.SameID > 0 {
			fmt.Fprint(&line, " same as line ", e.SameID)
		}
		got = append(got, line.String())
	}
	return got
}

// Records of groups and of members may be mixed in any format.
func TestReader_Members(t *testing.T) {
	const (
		groupOut  = `{"Type":"Public","GroupId":"g","Name":"a","CreateTime":1448357837}`
		listOut   = groupOut + ` {"Member_Account":"u1","Role":"Admin"} {"Member_Account":"u2","JoinTime":1448357838}`
		memberOut = `{"GroupId":"g","Member_Account":"u3","Role":"Admin","JoinTime":1448357838,"UnreadMsgNum":4}`
		second    = `{"GroupId":"g","Member_Account":"u4"}`
		list      = `[{"Member_Account":"u1","Role":"Admin"},{"Member_Account":"u2","JoinTime":1448357838}]`
		record    = `{"Type":"Public","GroupId":"g","Name":"a","CreateTime":1448357837,"MemberList":` + list + `}`
		header    = "Type,GroupId,Name,CreateTime,MemberList,Member_Account,Role,JoinTime,UnreadMsgNum\n"
	)
	want := []string{listOut, memberOut, second}
	lines := []string{record, memberOut, second}
	cell := `"` + strings.ReplaceAll(list, `"`, `""`) + `"`
	for name, text := range map[string]string{
		"a.jsonl": strings.Join(lines, "\n"),
		"a.json":  "[" + strings.Join(lines, ",\n") + "]",
		"b.json":  `{"groups":[` + strings.Join(lines, ",") + "]}",
		"c.json":  strings.ReplaceAll(strings.Join(lines, "\n"), ",", ",\n"),
		"a.csv":   header + "Public,g,a,1448357837," + cell + ",,,,\n,g,,,,u3,Admin,1448357838,4\n,g,,,,u4,,,\n",
		"b.csv": strings.ReplaceAll(header, ",", ";") + "Public;g;a;1448357837;" + list +
			";;;;\n;g;;;;u3;Admin;1448357838;4\n;g;;;;u4;;;\n",
		"a.ndjson": `{"n":1,"status":"failed","record":` + record + "}\n" + memberOut + "\n" +
			`{"n":3,"status":"failed","record":` + second + "}",
	} {
		if got := members(t, in(name, []byte(text))); !slices.Equal(got, want) {
			t.Errorf("%s: got  %q\nwant %q", name, got, want)
		}
		checkResume(t, name, []byte(text))
	}
	// A file of members only.
	text := "GroupId,Member_Account\ng,u1\ng,u2\n"
	if got := members(t, in("a.csv", []byte(text))); !slices.Equal(got, []string{
		`{"GroupId":"g","Member_Account":"u1"}`, `{"GroupId":"g","Member_Account":"u2"}`,
	}) {
		t.Errorf("got %q", got)
	}
	// A group that is there twice is, its members are not.
	twice := rec("a")
	twice = twice[:len(twice)-1] + `,"GroupId":"g"}`
	if got := members(t, in("a.jsonl", []byte(twice+"\n"+second+"\n"+twice))); len(got) != 3 ||
		strings.Contains(got[1], "same") || !strings.HasSuffix(got[2], " same as line 1") {
		t.Errorf("got %q", got)
	}
}

func TestCSV_InvalidMemberList(t *testing.T) {
	const head = "Type,Name,MemberList\n"
	for cell, want := range map[string]string{
		`"[{""Member_Account"":""u1""}"`: `MemberList must be an array of objects with Member_Account, not the string ` +
			`"[{\"Member_Account\":\"u1\"}"`,
		`u1`:         `MemberList must be an array of objects with Member_Account, not the string "u1"`,
		`7`:          "MemberList must be an array of objects with Member_Account, not the number 7",
		`"[""u1""]"`: `MemberList[0] must be an object with Member_Account, not the string "u1"`,
	} {
		if got := members(t, in("a.csv", []byte(head+"Public,a,"+cell))); len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %q, want %s", cell, got, want)
		}
	}
}

// A group with too many members for one record is rejected with what to do.
func TestReader_LongMemberList(t *testing.T) {
	const advice = ": leave out MemberList, and write each member as a record of its own, with GroupId and Member_Account"
	list := `[{"Member_Account":"u0"}` + strings.Repeat(`,{"Member_Account":"u1"}`, 50_000) + "]"
	record := `{"Type":"Public","Name":"a","GroupId":"g","MemberList":` + list + "}"
	cell := `"` + strings.ReplaceAll(list, `"`, `""`) + `"`
	for name, text := range map[string]string{
		"a.jsonl": record + "\n" + rec("b"), "a.json": "[" + record + "," + rec("b") + "]", "b.json": record + "\n" +
			rec("b"),
		"c.json": rec("b") + "\n" + record, "d.json": strings.ReplaceAll(record, ",", ",\n") + rec("b"),
		"a.csv": "Type,Name,MemberList\nPublic,a," + cell + "\nPublic,b,",
	} {
		got := members(t, in(name, []byte(text)))
		slices.Sort(got)
		if len(got) != 2 || !strings.HasSuffix(got[0], advice) && !strings.HasSuffix(got[1], advice) {
			t.Errorf("%s: got %.300q, want one record and the advice", name, got)
		}
	}
	// Without a MemberList there is no such advice.
	if got := members(t, in("a.jsonl", []byte(`{"Name":"`+strings.Repeat("x", export.MaxLine)+`"}`))); len(got) != 1 ||
		!strings.HasSuffix(got[0], "limit 1048576") {
		t.Errorf("got %.300q", got)
	}
}

// The memory of a record with the longest list is what Size says, and small enough for the importer.
func TestReader_MembersSize(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"Type":"Public","Name":"a","MemberList":[{"Member_Account":"u"}`)
	n := 1
	for ; b.Len() < export.MaxLine-30; n++ {
		fmt.Fprintf(&b, `,{"Member_Account":"%x"}`, n)
	}
	b.WriteString("]}")
	for e, err := range mustRead(t, in("a.jsonl", []byte(b.String()))) {
		if err != nil || e.Problem != nil {
			t.Fatal(err, e.Problem)
		}
		if got := e.Record.Size(); len(e.Record.Members) != n || got < 48*n || got > 4<<20 {
			t.Errorf("got %d members, want %d, in %d bytes", len(e.Record.Members), n, got)
		}
	}
}
