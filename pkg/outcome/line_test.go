package outcome_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

var at = time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC)

func record() *group.Record { return &group.Record{Type: group.Public, Name: "a"} }

func TestAppendLine_FieldOrder(t *testing.T) {
	id, sum := record().Identity(), record().Sum()
	for _, row := range []struct {
		name string
		o    outcome.Outcome
		raw  string // as it came; "" if it was not kept
		want string
	}{
		{
			"imported",
			outcome.Outcome{N: 17, Line: 17, Status: outcome.Imported, GroupID: "@TGS#2J4SZEAEL", Attempts: 1, MS: 43, At: at},
			"", `{"n":17,"line":17,"status":"imported","GroupId":"@TGS#2J4SZEAEL","code":0,"attempts":1,"ms":43,` +
				`"at":"2026-11-22T10:00:00.123Z"}`,
		},
		{
			"with an assigned ID",
			outcome.Outcome{
				N: 1, Line: 2, Status: outcome.Exists, GroupID: "g-x", Assigned: true, Code: 10021, Attempts: 2,
				At: at,
			},
			"", `{"n":1,"line":2,"status":"exists","GroupId":"g-x","assigned":true,"code":10021,"attempts":2,"ms":0,` +
				`"at":"2026-11-22T10:00:00.123Z"}`,
		},
		{
			"with digests",
			outcome.Outcome{N: 1, Line: 2, Status: outcome.Imported, GroupID: "g", Attempts: 1, At: at, ID: id, Sum: sum},
			"", `{"n":1,"line":2,"status":"imported","GroupId":"g","code":0,"attempts":1,"ms":0,` +
				`"at":"2026-11-22T10:00:00.123Z","id":"` + id.String() + `","sum":"` + sum.String() + `"}`,
		},
		{
			"carried over",
			outcome.Outcome{
				N: 19, Line: 19, Status: outcome.Imported, GroupID: "g19", Carried: true, Differs: true, At: at,
				ID: id, Sum: sum,
			},
			"", `{"n":19,"line":19,"status":"imported","GroupId":"g19","code":0,"carried":true,"differs":true,` +
				`"at":"2026-11-22T10:00:00.123Z","id":"` + id.String() + `","sum":"` + sum.String() + `"}`,
		},
		{
			"changed by the mapping",
			outcome.Outcome{
				N: 1, Line: 1, Status: outcome.Imported, GroupID: "g", Changed: []string{"GroupId", "Name"},
				Source: "C024BE91L", Attempts: 1, At: at,
			},
			"", `{"n":1,"line":1,"status":"imported","GroupId":"g","code":0,"changed":["GroupId","Name"],` +
				`"source":"C024BE91L","attempts":1,"ms":0,"at":"2026-11-22T10:00:00.123Z"}`,
		},
		{
			"rejected, the record before the error",
			outcome.Outcome{
				N: 18, Line: 18, Status: outcome.Rejected, GroupID: "g18", Field: "Name", Rule: group.RuleLength,
				Error: "Name is 31 bytes, limit 30", At: at,
			},
			`{"Name": "x","error":"mine"}`, `{"n":18,"line":18,"status":"rejected","GroupId":"g18","code":0,"field":"Name",` +
				`"rule":"length","record":{"Name": "x","error":"mine"},"error":"Name is 31 bytes, limit 30","attempts":0,` +
				`"at":"2026-11-22T10:00:00.123Z"}`,
		},
		{
			"not JSON",
			outcome.Outcome{N: 1, Line: 1, Status: outcome.Rejected, Error: `odd text ,"record": in it`, At: at},
			"\x01", `{"n":1,"line":1,"status":"rejected","code":0,"text":"\u0001","error":"odd text ,\"record\": in it",` +
				`"attempts":0,"at":"2026-11-22T10:00:00.123Z"}`,
		},
		{
			"not UTF-8",
			outcome.Outcome{N: 1, Line: 1, Status: outcome.Rejected, At: at},
			"\xff", `{"n":1,"line":1,"status":"rejected","code":0,"bytes":"/w==","attempts":0,"at":"2026-11-22T10:00:00.123Z"}`,
		},
		{
			"with members",
			outcome.Outcome{
				N: 20, Line: 20, Status: outcome.Imported, GroupID: "g20", Attempts: 1, At: at, ID: id, Sum: sum, MembersSum: sum,
				Members: outcome.Members{Added: 48, Already: 1, Failed: 2, NoAccount: 1, Invalid: 1, Demoted: 3},
				Error:   "2 of 51 members are missing",
			},
			`{"GroupId":"g20","members":{"added":9}}`, `{"n":20,"line":20,"status":"imported","GroupId":"g20","code":0,` +
				`"members":{"added":48,"already":1,"failed":2,"noAccount":1,"invalid":1,"demoted":3,"sum":"` + sum.String() +
				`"},"record":{"GroupId":"g20","members":{"added":9}},"error":"2 of 51 members are missing","attempts":1,"ms":0,` +
				`"at":"2026-11-22T10:00:00.123Z","id":"` + id.String() + `","sum":"` + sum.String() + `"}`,
		},
		{
			"with one count of members",
			outcome.Outcome{
				N: 20, Line: 20, Status: outcome.Imported, GroupID: "g\"20", At: at, Members: outcome.Members{Pending: 2},
			},
			"", `{"n":20,"line":20,"status":"imported","GroupId":"g\"20","code":0,"members":{"pending":2},"attempts":0,` +
				`"at":"2026-11-22T10:00:00.123Z"}`,
		},
		{
			"a member record",
			outcome.Outcome{N: 21, Line: 21, Status: outcome.Exists, GroupID: "g20", Member: "u1", At: at},
			"", `{"n":21,"line":21,"status":"exists","GroupId":"g20","member":"u1","code":0,"attempts":0,` +
				`"at":"2026-11-22T10:00:00.123Z"}`,
		},
		{
			"created by create_group",
			outcome.Outcome{
				N: 1, Line: 1, Status: outcome.Imported, GroupID: "live", Created: true, Carried: true, Attempts: 1, At: at,
				Changed: []string{"CreateTime"},
			},
			"", `{"n":1,"line":1,"status":"imported","GroupId":"live","code":0,"created":true,"carried":true,` +
				`"changed":["CreateTime"],"attempts":1,"ms":0,"at":"2026-11-22T10:00:00.123Z"}`,
		},
		{
			"in another time zone",
			outcome.Outcome{N: 1, Line: 1, Status: outcome.Imported, At: at.In(time.FixedZone("", 8*3600))},
			"", `{"n":1,"line":1,"status":"imported","code":0,"attempts":0,"at":"2026-11-22T10:00:00.123Z"}`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			var raw []byte
			if row.raw != "" {
				raw = []byte(row.raw)
			}
			line := row.o.AppendRecordLine(nil, raw)
			if string(line) != row.want {
				t.Errorf("got  %s\nwant %s", line, row.want)
			}
			back, backRaw, err := outcome.Parse(line)
			if err != nil || string(backRaw) != row.raw {
				t.Fatalf("got record %q, %v back, want %q", backRaw, err, row.raw)
			}
			if again := back.AppendRecordLine(nil, backRaw); string(again) != row.want {
				t.Errorf("got %s after parsing, want %s", again, row.want)
			}
			if got := outcome.Scan(line); got.N != row.o.N || got.Status != row.o.Status || got.Members != row.o.Members ||
				got.Created != row.o.Created {
				t.Errorf("Scan: got %+v, want %d, %s, %+v", got, row.o.N, row.o.Status, row.o.Members)
			}
			if got, want := string(outcome.Bare(line)), string(row.o.AppendLine(nil)); got != want {
				t.Errorf("Bare: got %s, want %s", got, want)
			}
		})
	}
}

func TestParse_LinesOfVersion1(t *testing.T) {
	for _, row := range []struct{ name, line, raw, bare string }{
		{
			"without a record", `{"n":1,"line":2,"status":"exists","GroupId":"g-x","assigned":true,"code":10021,"attempts":2,` +
				`"ms":0,"at":"2026-11-22T10:00:00.123Z"}`,
			"", `{"n":1,"line":2,"status":"exists","GroupId":"g-x","assigned":true,"code":10021,"attempts":2,"ms":0,` +
				`"at":"2026-11-22T10:00:00.123Z"}`,
		},
		{
			"the record at the end", `{"n":18,"line":18,"status":"rejected","code":0,"field":"Name","error":"long",` +
				`"attempts":0,"at":"2026-11-22T10:00:00.123Z","record":{"Name": "x","at":"y"}}`,
			`{"Name": "x","at":"y"}`, `{"n":18,"line":18,"status":"rejected","code":0,"field":"Name","error":"long",` +
				`"attempts":0,"at":"2026-11-22T10:00:00.123Z"}`,
		},
		{
			"text at the end", `{"n":1,"line":1,"status":"rejected","code":0,"attempts":0,"at":"2026-11-22T10:00:00.123Z",` +
				`"text":"\u0001"}`,
			"\x01", `{"n":1,"line":1,"status":"rejected","code":0,"attempts":0,"at":"2026-11-22T10:00:00.123Z"}`,
		},
		{
			"edited: spaces and another order", `{"status": "failed", "n": 3, "record": {"Name":"a"}, "error": "why"}`,
			`{"Name":"a"}`, `{"status": "failed", "n": 3, "record": {"Name":"a"}, "error": "why"}`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			o, raw, err := outcome.Parse([]byte(row.line))
			if err != nil || string(raw) != row.raw || o.N == 0 || o.Status == "" {
				t.Errorf("got %+v, %q, %v, want record %q", o, raw, err, row.raw)
			}
			if got := outcome.Scan([]byte(row.line)); got.N != o.N || got.Status != o.Status || got.Members != o.Members ||
				got.Created != o.Created {
				t.Errorf("Scan: got %+v, want %d, %s, %+v", got, o.N, o.Status, o.Members)
			}
			if got := string(outcome.Bare([]byte(row.line))); got != row.bare {
				t.Errorf("Bare: got %s, want %s", got, row.bare)
			}
		})
	}
}

func TestParse_NoOutcome(t *testing.T) {
	for _, line := range []string{
		"", "{}", "x", `{"n":1}`, `{"status":"failed"}`, `{"n":0,"status":"failed"}`,
		`{"n":-1,"status":"failed"}`, `[1]`, `{"Name":"a","Type":"Public"}`,
	} {
		if _, _, err := outcome.Parse([]byte(line)); !errors.Is(err, outcome.ErrNoOutcome) {
			t.Errorf("Parse(%q): got %v, want %v", line, err, outcome.ErrNoOutcome)
		}
		if o := outcome.Scan([]byte(line)); o.N != 0 || o.Status != "" {
			t.Errorf("Scan(%q): got %d, %q, want neither", line, o.N, o.Status)
		}
	}
}

func TestCounts_EveryStatus(t *testing.T) {
	var c outcome.Counts
	for i, s := range outcome.Statuses() {
		for range i + 1 {
			c.Add(&outcome.Outcome{Status: s})
		}
	}
	c.Add(&outcome.Outcome{Status: "no status"})
	i := 0
	for s, n := range c.All() {
		if s != outcome.Statuses()[i] || n != int64(i+1) {
			t.Errorf("got %s %d at %d", s, n, i)
		}
		i++
	}
	const others = 4 // fields that count no status
	fields := reflect.TypeFor[outcome.Counts]().NumField() - others
	if i != fields || c.Records() != 28 || c.Missing() != 3+4+5 {
		t.Errorf("got %d statuses of %d fields, %d records, %d missing", i, fields, c.Records(), c.Missing())
	}
}

// Each field counts for itself: what Plus adds, Minus and Remove take away.
func TestCounts_Members(t *testing.T) {
	imported := outcome.Outcome{
		Status: outcome.Imported, Created: true,
		Members: outcome.Members{
			Added: 1, Already: 2, Failed: 30, NoAccount: 4, Invalid: 5, Refused: 6, Pending: 7, Demoted: 8,
		},
	}
	member := outcome.Outcome{Status: outcome.Exists, Member: "u1"}
	var c outcome.Counts
	c.Add(&imported)
	c.Add(&member)
	want := outcome.Counts{
		Imported: 1, Exists: 1, Incomplete: 1, Created: 1, MemberRecords: 1, Members: imported.Members,
	}
	if c != want || c.Check() != nil || c.Members.Total() != 40 || c.Members.Retryable() != 26 || c.IsWhole() {
		t.Errorf("got %+v, %v, %d members, %d retryable", c, c.Check(), c.Members.Total(), c.Members.Retryable())
	}
	twice := c
	twice.Plus(&c)
	if twice == c || twice.Records() != 4 || twice.Members.Refused != 12 {
		t.Errorf("got %+v", twice)
	}
	twice.Minus(&c)
	if twice != c {
		t.Errorf("got %+v, want %+v", twice, c)
	}
	c.Remove(&imported)
	c.Remove(&member)
	if c != (outcome.Counts{}) {
		t.Errorf("got %+v, want nothing", c)
	}
	for _, broken := range []outcome.Counts{
		{Incomplete: 1},
		{Incomplete: -1},
		{MemberRecords: 1},
		{Created: 1},
		{Created: -1},
		{MemberRecords: -1},
		{Members: outcome.Members{Added: -1}},
		{Members: outcome.Members{Pending: 1 << 51}},
		{Members: outcome.Members{Failed: 1, NoAccount: 1, Invalid: 1}},
	} {
		if broken.Check() == nil {
			t.Errorf("%+v is accepted", broken)
		}
	}
}

// A run counts what it has done: nothing that is pending, and of members only those that it has added.
func TestCounts_OfARun(t *testing.T) {
	pending := outcome.Outcome{Status: outcome.Imported, Members: outcome.Members{Added: 1, Pending: 9}}
	done := pending
	done.Members = outcome.Members{Added: 7, Already: 2, Failed: 1}
	var run outcome.Counts
	run.AddSent(&pending)
	run.AddSent(&outcome.Outcome{Status: outcome.Pending, Member: "u1"})
	run.AddMembers(&pending, &done)
	run.AddMembers(&outcome.Outcome{Status: outcome.Pending, Member: "u1"},
		&outcome.Outcome{Status: outcome.Exists, Member: "u1"})
	run.AddMembers(&outcome.Outcome{Status: outcome.Rejected}, &outcome.Outcome{Status: outcome.Rejected})
	want := outcome.Counts{Imported: 1, Exists: 1, MemberRecords: 1, Members: outcome.Members{Added: 7, Already: 2}}
	if run != want {
		t.Errorf("got %+v, want %+v", run, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"n":17,"line":17,"status":"imported","GroupId":"@TGS#2J4SZEAEL","code":0,"attempts":1,"ms":43,` +
		`"at":"2026-11-22T10:00:00.123Z","id":"AAAAAAAAAAAB","sum":"AAAAAAAAAAAC"}`))
	f.Add([]byte(`{"n":1,"line":1,"status":"rejected","code":0,"field":"Name","rule":"length","record":{"a":1},` +
		`"error":"\u0001\"","changed":["Name"],"source":"x","attempts":0,"at":"2026-11-22T10:00:00.123Z"}`))
	f.Add([]byte(`{"n":18,"line":18,"status":"rejected","code":0,"attempts":0,"at":"2026-11-22T10:00:00.123Z",` +
		`"record":{"Name": "x","at":"y"}}`))
	f.Add([]byte(`{"n":20,"line":20,"status":"imported","GroupId":"g","member":"u","code":0,"members":{"added":1,` +
		`"failed":2,` +
		`"sum":"AAAAAAAAAAAC"},"attempts":0,"at":"2026-11-22T10:00:00.123Z"}`))
	f.Add([]byte(`{"n":20,"status":"imported","x":1,"members":{"added":1},"at":"2026-11-22T10:00:00.123Z"}`))
	f.Add([]byte(`{"n":2,"line":2,"status":"odd","GroupId":"群` + "\x7f" + `","code":0,"error":"\u00e9","attempts":0,` +
		`"at":"2026-11-22T10:00:00.123Z"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		o, raw, err := outcome.Parse(line)
		scanned := outcome.Scan(line)
		if err != nil {
			return
		}
		if scanned.N != o.N || scanned.Status != o.Status || scanned.Member != o.Member || scanned.Members != o.Members {
			t.Errorf("Scan: got %+v, Parse: got %+v", scanned, o)
		}
		// A space before the closing brace sends the line past the fast path.
		if slow, ok := strings.CutSuffix(string(line), "}"); ok {
			o2, raw2, err := outcome.Parse([]byte(slow + " }"))
			if err != nil || string(raw2) != string(raw) || !o2.At.Equal(o.At) {
				t.Fatalf("slow path: got %+v, %q, %v, want %+v, %q", o2, raw2, err, o, raw)
			}
			if o2.At = o.At; !reflect.DeepEqual(o, o2) {
				t.Errorf("slow path: got %+v, want %+v", o2, o)
			}
		}
		if o.At.Year() < 0 || o.At.Year() > 9999 {
			return
		}
		written := o.AppendRecordLine(nil, raw)
		back, rawBack, err := outcome.Parse(written)
		if err != nil || back.N != o.N || back.Status != o.Status || back.Error != o.Error {
			t.Errorf("got %+v, %v from %s, want %+v", back, err, written, o)
		}
		if raw != nil && rawBack == nil {
			t.Errorf("got no record back from %s", written)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	rec := record()
	o := outcome.Outcome{
		N: 17, Line: 17, Status: outcome.Imported, GroupID: "@TGS#2J4SZEAEL", Attempts: 1, MS: 43,
		At: at, ID: rec.Identity(), Sum: rec.Sum(),
	}
	line := o.AppendLine(nil)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, _, err := outcome.Parse(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendLine(b *testing.B) {
	rec := record()
	o := outcome.Outcome{
		N: 17, Line: 17, Status: outcome.Imported, GroupID: "@TGS#2J4SZEAEL", Attempts: 1, MS: 43,
		At: at, ID: rec.Identity(), Sum: rec.Sum(),
	}
	buf := make([]byte, 0, 1<<10)
	for b.Loop() {
		buf = o.AppendLine(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}
