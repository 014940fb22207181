package export_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"groupimport/pkg/export"
	"groupimport/pkg/outcome"
)

// Names of 1 MB each must not accumulate in the counts of dropped fields.
func TestReader_DroppedNames(t *testing.T) {
	var text strings.Builder
	text.WriteString(`{"GroupInfo":[`)
	for i := range 20 {
		fmt.Fprintf(&text, `{"Type":"Public","Name":"a","%02d%s":1},`, i, strings.Repeat("x", 1_000_000))
	}
	text.WriteString(rec("b") + "]}")
	r := open(t, in("a.json", []byte(text.String())), export.Start)
	for e, err := range r.Records(t.Context()) {
		if err != nil || e.Problem != nil {
			t.Fatal(err, e.Problem)
		}
	}
	if len(r.Dropped()) != 20 {
		t.Errorf("got %d names, want 20", len(r.Dropped()))
	}
	for name := range r.Dropped() {
		if len(name) > 70 {
			t.Errorf("got a name of %d bytes", len(name))
		}
	}
}

// Errors quote little of any export.
func TestReader_ErrorsAreShort(t *testing.T) {
	long := strings.Repeat("x", 60_000)
	for name, row := range map[string]struct{ file, text, want string }{
		"16,000 wrong columns": {"a.csv", strings.Repeat("é,", 16_000) + "Name\n", "; and 15990 more; known columns are "},
		"a long column":        {"a.csv", long + ",Name\n", `unknown column "xxx`},
		"a long column, twice": {"a.csv", long[:30_000] + ",Name," + long[:30_000] + "\n", "duplicate column"},
		"a long array name":    {"a.json", `{"` + long + `":[{}]}`, "convert another array with jq -c '.[\"xxx"},
	} {
		lines, _ := all(t, in(row.file, []byte(row.text)), export.Start)
		if len(lines) != 1 || !strings.Contains(lines[0], row.want) || len(lines[0]) > 2<<10 {
			t.Errorf("%s: got %d bytes: %.2000q, want %q in 2 KB at most", name, len(lines[0]), lines, row.want)
		}
	}
}

func TestReader_ProblemsAreShort(t *testing.T) {
	long := strings.Repeat("x", 500_000)
	fails := func([]byte) (export.Mapped, error) { return export.Mapped{}, errors.New(long) }
	for name, src := range map[string]export.Source{
		"a formula":          in("a.csv", []byte("Name,Type,AppDefinedData."+long[:1000]+"\na,Public,=\""+long+"\"\n")),
		"a long name":        in("a.jsonl", []byte(`{"`+long+`":1}`)),
		"many long names":    in("a.jsonl", []byte(`{"a`+strings.Repeat(long[:5000]+`":1,"`, 100)+`":1}`)),
		"a long value":       in("a.jsonl", []byte(`{"Type":"`+long+`","Name":"`+long+`"}`)),
		"a failing mapping":  {Name: "a.jsonl", Open: in("a.jsonl", []byte("{}")).Open, Map: mapFunc(fails)},
		"a long escape":      in("a.jsonl", []byte(`{"a":"\`+long+`"}`)),
		"a long bare word":   in("a.jsonl", []byte(`{"a":`+long+`}`)),
		"a long ErrorCode":   in("a.json", []byte(`{"GroupInfo":[{"ErrorCode":`+strings.Repeat("1", 500_000)+`}]}`)),
		"a number in a cell": in("a.csv", []byte("Name,Type,CreateTime\na,Public,"+strings.Repeat("1", 500_000)+"\n")),
	} {
		e := entries(t, src, export.Start)[0]
		if e.Problem == nil || len(e.Problem.Error()) > 4<<10 {
			t.Errorf("%s: got %.300v, want a problem in 4 KB at most", name, e.Problem)
		}
	}
}

// Anybody can edit a line of a dead-letter file.
func TestReader_DeadLetterStringsAreShort(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	o := outcome.Outcome{
		N: 1, Status: outcome.Failed, GroupID: long, Assigned: true, Error: long, Source: long, Field: long,
		Changed: append(strings.Fields(strings.Repeat("Name ", 1000)), long),
	}
	e := entries(t, in("a.jsonl", o.AppendRecordLine(nil, []byte(rec("a")))), export.Start)[0]
	got := fmt.Sprintf("%+v %v %s", *e.Failure, e.Changed, e.Source)
	if e.Record.Name != "a" || e.Failure.Assigned || len(got) > 4<<10 {
		t.Errorf("got %d bytes: %.500s, want record a and 4 KB at most", len(got), got)
	}
}
