package importer_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/export"
	"groupimport/pkg/lease"
	"groupimport/pkg/mapping"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

const slackGroups = `{"id":"G0APRIV01","name":"board-of-directors-and-everybody-else","created":1456789012,` +
	`"is_archived":false,"members":[]}
{"id":"G0APRIV02","name":"old","created":1456789012,"is_archived":true,"members":[]}
`

// A private channel arrives as a private group.
func TestImport_SlackGroupsStayPrivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for include, want := range map[bool]outcome.Counts{false: {Imported: 1, Skipped: 1}, true: {Imported: 2}} {
			w := newWorld(t)
			w.Config.Mapping, w.Config.IncludeArchived = "slack", include
			const key = "exports/groups.jsonl"
			if err := w.Store.Put(t.Context(), key, strings.NewReader(slackGroups)); err != nil {
				t.Fatal(err)
			}
			s, err := w.mapped("").Import(t.Context(), key)
			if err != nil || s.Counts != want {
				t.Errorf("include %v: got %+v %v, want %+v", include, s.Counts, err, want)
			}
			if o := w.Outcomes(results.Names{Export: key})[0]; o.Source != "G0APRIV01" ||
				!slices.Equal(o.Changed, []string{"Name"}) {
				t.Errorf("got %+v, want the source's ID and what the mapping changed", o)
			}
			for g := range w.Service.Groups() {
				if g.Type != "Private" || g.ApplyJoinOption == "FreeAccess" {
					t.Errorf("got %+v, want it private", g)
				}
			}
		}
	})
}

// A resumed import keeps to the INCLUDE_ARCHIVED that it began with.
func TestImport_KeepsIncludeArchived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var lines []string
		for n := range 2000 {
			lines = append(lines, fmt.Sprintf(`{"channel_url":"g%d","name":"g","is_public":false,"freeze":true}`, n))
		}
		w.Put(lines...)
		w.Config.Mapping, w.Config.IncludeArchived = "sendbird", true
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		if s, err := w.mapped("").Import(ctx, simKey); err != nil || s.State != results.Waiting || s.Counts.Imported == 0 {
			t.Fatalf("got %+v %v, want a part imported", s, err)
		}
		w.Config.IncludeArchived = false
		if s, err := w.mapped("").Import(t.Context(), simKey); err != nil || s.Counts != (outcome.Counts{Imported: 2000}) {
			t.Errorf("got %+v %v, want all imported", s, err)
		}
	})
}

// An export of another system ends before anything is written about its records; the right mapping imports it.
func TestImport_ForeignExportNamesItsMapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(strings.Split(strings.Repeat(strings.TrimSpace(slackGroups)+"\n", 40), "\n")...)
		for _, used := range []string{"", "sendbird"} {
			w.Config.Mapping = used
			s, err := w.mapped("").Import(t.Context(), simKey)
			if err == nil || !strings.Contains(err.Error(), "looks like a Slack export") ||
				!strings.Contains(err.Error(), "set MAPPING=slack") ||
				s.State != results.Stopped || s.Counts.Records() != 0 {
				t.Errorf("%q: got %+v %v, want it stopped with the mapping's name", used, s, err)
			}
		}
		w.Config.Mapping = "slack"
		if s, err := w.mapped("").Import(t.Context(), simKey); err != nil || s.Counts.Imported != 1 ||
			s.Counts.Skipped != 40 || s.Counts.Exists != 39 {
			t.Errorf("got %+v %v, want it imported", s, err)
		}
	})
}

// TestImport_GuardReleasesRecords checks that records that the guard held back get their outcomes, in order.
func TestImport_GuardReleasesRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		channel, _, _ := strings.Cut(slackGroups, "\n")
		w.Put(channel, channel, `{"Type":"Public","Name":"a"}`, channel)
		s, err := w.mapped("").Import(t.Context(), simKey)
		if err != nil || s.Counts != (outcome.Counts{Imported: 1, Rejected: 3}) {
			t.Fatalf("got %+v %v", s, err)
		}
		for i, o := range w.Outcomes(simNames) {
			if o.N != int64(i+1) {
				t.Errorf("got outcome %d in line %d", o.N, i+1)
			}
		}
	})
}

// Lines of other types are no outcomes, and move the position: a run that ends among them does not read them again.
func TestImport_IgnoredLinesMoveThePosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		program, _ := mapping.Builtin("mattermost")
		const posts = 5000
		lines := []string{
			`{"type":"version","version":1}`,
			`{"type":"channel","channel":{"team":"t","name":"a","type":"O"}}`,
		}
		for n := range posts {
			lines = append(lines, fmt.Sprintf(`{"type":"post","post":{"n":%d,"n":1}}`, n))
		}
		lines = append(lines, `{"type":"channel","channel":{"team":"t","name":"b","type":"O"}}`)
		w.Put(lines...)
		s, err := w.mapped(program).Import(t.Context(), simKey)
		if err != nil || s.Counts != (outcome.Counts{Imported: 2}) {
			t.Fatalf("got %+v %v, want both channels", s, err)
		}
		if got := w.Outcomes(simNames); len(got) != 2 || got[1].N != 2 || got[1].Line != posts+3 {
			t.Errorf("got %+v, want two outcomes, numbered 1 and 2", got)
		}
	})
}

// A run that ends among such lines leaves its position there, and the next one resumes behind them.
func TestImport_EndsAmongIgnoredLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		program, _ := mapping.Builtin("mattermost")
		const key = "exports/posts.json"
		text := `[{"type":"channel","channel":{"team":"t","name":"a","type":"O"}}` +
			strings.Repeat(`,`+"\n"+`{"type":"post","post":{}}`, 2500)
		if err := w.Store.Put(t.Context(), key, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if s, err := w.mapped(program).Import(t.Context(), key); err == nil || s.Counts.Imported != 1 {
			t.Fatalf("got %+v %v, want an export that is cut off", s, err)
		}
		cp, err := (results.Dir{Bucket: w.Store, Names: results.Names{Export: key}}).LoadCheckpoint(t.Context(), 2)
		if err != nil || cp == nil || cp.Next.N != 2 || cp.Next.Line != 2001 {
			t.Errorf("got %+v %v, want the position behind 2000 posts", cp, err)
		}
	})
}

// TestWriter_AdvanceIsDurable: what moved the position reaches the checkpoint without an outcome.
func TestWriter_AdvanceIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lease, err := lease.Acquire(t.Context(), w.Store, simNames.Work(), "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		cp := results.Checkpoint{Next: export.Start, Runs: []results.Run{{Lease: lease.Number}}}
		writer := (results.Dir{Bucket: w.Store, Names: simNames}).NewWriter(t.Context(), lease, cp, 0)
		next := export.Position{N: 1, Line: 1001, Offset: 5000}
		writer.Advance(next, 1)
		time.Sleep(10 * time.Second)
		got, err := (results.Dir{Bucket: w.Store, Names: simNames}).LoadCheckpoint(t.Context(), lease.Number+1)
		if err != nil || got == nil || got.Next != next {
			t.Errorf("got %+v %v, want the position", got, err)
		}
		if _, err := writer.Close(results.RunEnd{}); err != nil {
			t.Error(err)
		}
	})
}
