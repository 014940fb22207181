package outcome_test

import (
	"fmt"
	"testing"
	"time"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

func TestOutcomeKind(t *testing.T) {
	for _, row := range []struct {
		name string
		o    outcome.Outcome
		want outcome.Kind
	}{
		{
			"the service decided: its code alone",
			outcome.Outcome{Status: outcome.Rejected, Code: 10019, Attempts: 1, Field: "Name", Rule: group.RuleLength},
			outcome.Kind{Status: outcome.Rejected, Code: 10019},
		},
		{
			"a rule decided, though the service has a code for it",
			outcome.Outcome{Status: outcome.Rejected, Code: 10007, Field: "Type", Rule: group.RuleAVChatRoom},
			outcome.Kind{Status: outcome.Rejected, Field: "Type", Rule: group.RuleAVChatRoom},
		},
		{
			"a rule about the record as a whole",
			outcome.Outcome{Status: outcome.Rejected, Rule: group.RuleJSON},
			outcome.Kind{Status: outcome.Rejected, Rule: group.RuleJSON},
		},
		{
			"version 1: field and code, with any message",
			outcome.Outcome{Status: outcome.Rejected, Code: 10007, Field: "Type", Error: "Type AVChatRoom cannot …"},
			outcome.Kind{Status: outcome.Rejected, Code: 10007, Field: "Type"},
		},
		{
			"a member record",
			outcome.Outcome{Status: outcome.Failed, Member: "u1", Code: 10010, Attempts: 1},
			outcome.Kind{Status: outcome.Failed, Code: 10010, Member: true},
		},
		{
			"a lost response",
			outcome.Outcome{Status: outcome.Unknown, Attempts: 1, Error: "no answer within 10s"},
			outcome.Kind{Status: outcome.Unknown},
		},
	} {
		if got := row.o.Kind(); got != row.want {
			t.Errorf("%s: got %+v, want %+v", row.name, got, row.want)
		}
	}
}

func TestTally_ManyKinds(t *testing.T) {
	var tally outcome.Tally[int]
	const records = 20_000
	for i := range records {
		k := outcome.Kind{Status: outcome.Rejected, Field: fmt.Sprint("x", i), Rule: group.RuleUnknown}
		if i%10 == 9 {
			k = outcome.Kind{Status: outcome.Rejected, Field: "Name", Rule: group.RuleLength}
		}
		if g := tally.Add(k); len(g.Examples) < 3 {
			g.Examples = append(g.Examples, i)
		}
	}
	groups, others := tally.Groups(40)
	sum := others
	for _, g := range groups {
		sum += g.Count
	}
	if len(groups) != 40 || sum != records {
		t.Errorf("got %d groups and %d records, want 40 and %d", len(groups), sum, records)
	}
	if g := groups[0]; g.Kind.Field != "Name" || g.Count != records/10 || fmt.Sprint(g.Examples) != "[9 19 29]" {
		t.Errorf("got %+v first, want Name %d times", g, records/10)
	}
	if all, others := tally.Groups(1000); len(all) > 256 || others == 0 {
		t.Errorf("got %d groups and %d others, want at most 256", len(all), others)
	}
}

func TestProgress(t *testing.T) {
	for _, row := range []struct {
		name     string
		p        outcome.Progress
		fraction float64
		percent  int
		left     time.Duration // after 100 bytes in 10 s
	}{
		{"nothing", outcome.Progress{}, 0, 0, 0},
		{"the beginning", outcome.Progress{Size: 1000}, 0, 0, 100 * time.Second},
		{"half", outcome.Progress{Done: 500, Size: 1000}, 0.5, 50, 50 * time.Second},
		{"nearly all is not all", outcome.Progress{Done: 999_999, Size: 1_000_000}, 0.999999, 99, 100 * time.Millisecond},
		{"all", outcome.Progress{Done: 1000, Size: 1000}, 1, 100, 0},
		{"more than all", outcome.Progress{Done: 1001, Size: 1000}, 1, 100, 0},
		{"a size that nobody has", outcome.Progress{Size: 1 << 62}, 0, 0, 1e9 * time.Second},
	} {
		left := row.p.Remaining(100, 10*time.Second)
		if f, n := row.p.Fraction(), row.p.Percent(); f != row.fraction || n != row.percent || left != row.left {
			t.Errorf("%s: got %v, %d %%, %v, want %v, %d %%, %v", row.name, f, n, left, row.fraction, row.percent, row.left)
		}
	}
	for _, row := range []struct {
		name string
		c    outcome.Counts
		done int64 // of 1000 bytes, all read
	}{
		{"no members", outcome.Counts{Imported: 10}, 1000},
		{"all members are added", outcome.Counts{Imported: 10, Members: outcome.Members{Added: 85, Failed: 5}}, 1000},
		{
			"half of the members are pending",
			outcome.Counts{Imported: 10, Members: outcome.Members{Added: 35, Failed: 10, Pending: 45}},
			550,
		},
		{"member records are pending", outcome.Counts{Imported: 10, Pending: 90}, 100},
		{"nearly all is not all", outcome.Counts{Imported: 1_000_000, Pending: 1}, 999},
		{"a count that nobody has", outcome.Counts{Imported: -10, Pending: 11}, 0},
	} {
		p := outcome.Progress{Done: 1000, Size: 1000}.Of(&row.c)
		if want := row.done; p.Done != want || p.Percent() == 100 && want != 1000 {
			t.Errorf("%s: got %d bytes, %d %%, want %d bytes", row.name, p.Done, p.Percent(), want)
		}
	}
	p := outcome.Progress{Size: 1000}
	if a, b := p.Remaining(0, time.Second), p.Remaining(1, 0); a != 0 || b != 0 {
		t.Errorf("got %v and %v at an unknown rate, want 0", a, b)
	}
}
