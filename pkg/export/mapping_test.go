package export_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

// A mapFunc is a mapping that ignores records whose first bytes contain "post".
type mapFunc func(raw []byte) (export.Mapped, error)

func (f mapFunc) Map(raw []byte) (export.Mapped, error) {
	if f.Ignores(raw) {
		return export.Mapped{Ignored: true}, nil
	}
	return f(raw)
}

func (mapFunc) Ignores(head []byte) bool { return bytes.Contains(head, []byte("post")) }

func (mapFunc) Records() []export.Path { return nil }

// Ignored entries have no ordinal. The Reader resumes after any of them, even a too long one.
func TestReader_IgnoredEntries(t *testing.T) {
	mapped := mapFunc(func(raw []byte) (export.Mapped, error) {
		return export.Mapped{Record: raw, Changed: []string{"Name"}, Source: "s"}, nil
	})
	long := strings.Repeat("x", 2*export.MaxLine)
	records := []string{`{"post":1}`, rec("a"), `{"post":"` + long + `"}`, `{"x":"` + long + `"}`, rec("b"), `{"post":2}`}
	for name, text := range map[string]string{
		"a.jsonl": strings.Join(records, "\n"), "a.json": "[" + strings.Join(records, ",\n") + "]",
	} {
		src := in(name, []byte(text))
		src.Map = mapped
		whole := entries(t, src, export.Start)
		want := []string{"1 ignored", "1 a [Name] s", "2 ignored", "2 problem", "3 b [Name] s", "4 ignored"}
		if got := texts(whole); !slices.Equal(got, want) {
			t.Fatalf("%s: got %q, want %q", name, got, want)
		}
		for i, e := range whole {
			rest := entries(t, src, e.Next)
			if got := texts(rest); !slices.Equal(got, want[i+1:]) {
				t.Errorf("%s after entry %d: got %q, want %q", name, i+1, got, want[i+1:])
			}
		}
	}
}

func entries(t *testing.T, src export.Source, at export.Position) (all []export.Entry) {
	t.Helper()
	r, err := export.NewReader(src, at, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range r.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func texts(all []export.Entry) (lines []string) {
	for _, e := range all {
		what := fmt.Sprintf("%s %v %s", e.Record.Name, e.Changed, e.Source)
		switch {
		case e.Ignored:
			what = "ignored"
		case e.Problem != nil:
			what = "problem"
		}
		lines = append(lines, fmt.Sprintf("%d %s", e.Pos.N, what))
	}
	return lines
}

// A record that could not be mapped is mapped again when its dead-letter file is imported, even with invalid UTF-8.
func TestReader_DamagedForeignRecord(t *testing.T) {
	for _, raw := range []string{`{"a":1}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{"a":1,"a":2}`} {
		src := in("a.jsonl", []byte(raw))
		src.Map = mapFunc(func([]byte) (export.Mapped, error) { return export.Mapped{}, errors.New("no") })
		rejected := entries(t, src, export.Start)[0]
		o := outcome.Outcome{N: 1, Status: outcome.Rejected}
		line := o.AppendRecordLine(nil, rejected.Raw)

		again := in("a.jsonl", line)
		var got string
		again.Map = mapFunc(func(raw []byte) (export.Mapped, error) {
			got = string(raw)
			return export.Mapped{Record: []byte(rec("a"))}, nil
		})
		if e := entries(t, again, export.Start)[0]; got != raw || e.Record.Name != "a" {
			t.Errorf("%q: got %q mapped, %v", raw, got, e.Problem)
		}
	}
}

// A line of a dead-letter file keeps the record's Changed and Source.
func TestReader_DeadLetterSource(t *testing.T) {
	o := outcome.Outcome{N: 1, Status: outcome.Failed, Changed: []string{"Name"}, Source: "s"}
	for _, mapped := range []export.Mapping{nil, mapFunc(nil)} {
		src := in("a.jsonl", o.AppendRecordLine(nil, []byte(rec("a"))))
		src.Map = mapped
		if got := texts(entries(t, src, export.Start)); !slices.Equal(got, []string{"1 a [Name] s"}) {
			t.Errorf("got %q", got)
		}
	}
}
