package importer_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/importer"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

// withMembers returns n records with GroupIds g-1 and so on, each with the members m-1 to m-<members>.
func withMembers(n, members int) []string {
	lines := make([]string, n)
	for i := range lines {
		list := make([]string, members)
		for j := range list {
			list[j] = fmt.Sprintf(`{"Member_Account":"m-%d","JoinTime":910000000}`, j+1)
		}
		lines[i] = fmt.Sprintf(`{"Type":"Public","Name":"n-%d","GroupId":"g-%d","CreateTime":900000000,"MemberList":[%s]}`,
			i+1, i+1, strings.Join(list, ","))
	}
	return lines
}

// accounts returns the accounts m-1 to m-<n>.
func accounts(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("m-%d", i+1)
	}
	return all
}

// memberNames returns the accounts of the members of a group in the service, sorted.
func (w *world) memberNames(id string) []string {
	var names []string
	for g := range w.Service.Groups() {
		if g.GroupID == id {
			for _, m := range g.Members {
				names = append(names, m.Account)
			}
		}
	}
	slices.Sort(names)
	return names
}

// The progress counts members while they are added, and agrees with the summary at the end.
func TestMembers_Progress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withMembers(30, 45)...)
		i := w.Importer()
		var before importer.Progress
		seen := map[string]bool{}
		stop := make(chan struct{})
		var polling sync.WaitGroup
		polling.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				p := i.Progress(simNames.Export)
				m, last := p.Counts.Members, before.Counts.Members
				if m.Added < last.Added || p.Counts.Records() < before.Counts.Records() || p.Next.N < before.Next.N {
					t.Errorf("got %+v after %+v, want no step back", p, before)
				}
				seen["pending"] = seen["pending"] || m.Pending > 0
				seen["part"] = seen["part"] || m.Added > 0 && m.Pending > 0
				before = p
			}
		})
		s, err := i.Import(t.Context(), simNames.Export)
		close(stop)
		polling.Wait()
		if err != nil || !seen["pending"] || !seen["part"] {
			t.Errorf("got %v %v, want members that are pending and some that are added meanwhile", seen, err)
		}
		p := i.Progress(simNames.Export)
		if p.Counts != s.Counts || p.Run != s.Run.Counts || p.Next.N != 31 || p.Attempts != s.Run.Attempts {
			t.Errorf("got %+v at the end, want the counts of %+v", p, s)
		}
	})
}

func TestMembers_Added(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withMembers(30, 45)...)
		s := w.Finish()
		want := outcome.Counts{Imported: 30, Members: outcome.Members{Added: 30 * 45}}
		if s.Counts != want || !s.Counts.IsWhole() {
			t.Errorf("got %+v, want %+v", s.Counts, want)
		}
		for i := range 30 {
			if got := w.memberNames(fmt.Sprintf("g-%d", i+1)); len(got) != 45 {
				t.Errorf("group %d has %d members, want 45", i+1, len(got))
			}
		}
		for _, o := range w.Outcomes(simNames) {
			if o.Status != outcome.Imported || o.Members != (outcome.Members{Added: 45}) || o.MembersSum.String() == "" {
				t.Errorf("got %+v", o)
			}
		}
		if _, ok := w.Store.Snapshot()[simNames.Failures()]; ok {
			t.Error("there is a dead-letter file")
		}
	})
}

// only keeps the accounts that exist.
func (w *world) only(ids ...string) {
	w.Service.OnlyAccounts = true
	w.Service.AddAccounts(ids...)
}

// letters returns the outcomes and records of the dead-letter file.
func (w *world) letters() (all []outcome.Outcome, records []string) {
	for line := range strings.Lines(string(w.Store.Object(simNames.Failures()))) {
		o, raw, err := outcome.Parse([]byte(strings.TrimSuffix(line, "\n")))
		if err != nil {
			w.T.Fatal(err)
		}
		all, records = append(all, o), append(records, string(raw))
	}
	return all, records
}

// requests returns how often a command was called.
func (w *world) requests(command string) int { return w.Service.Stats().Commands[command].Requests }

// A group's status does not depend on its members. The dead-letter file names those that are missing, and a round of
// retries adds them once they have accounts; the group is not sent again.
func TestMembers_MissingAreNamedAndRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.only(accounts(2)...)
		w.Put(
			`{"Type":"Public","Name":"a","CreateTime":900000000,"Owner_Account":"m-1","MemberList":[{"Member_Account":"m-1"},`+
				`{"Member_Account":"m-2","JoinTime":910000000},{"Member_Account":"m-3","Role":"Admin","UnreadMsgNum":4},`+
				`{"Member_Account":"m-2"},{"Member_Account":"m-4","JoinTime":800000000},{"Member_Account":"m-5","NameCard":"x"},`+
				`{"Member_Account":"m-6","JoinTime":7},{"Member_Account":"m-7","Role":"Boss"},`+
				`{"Member_Account":"m-8","UnreadMsgNum":"?"},{"Member_Account":9,"Role":"Admin","JoinTime":910000000},`+
				`{"Member_Account":"m-9","NameCard":{ "a" : [1]}},{"Member_Account":"m-10","Role":"\ud800"}]}`,
			`{"Type":"Public","Name":"b"}`,
		)
		s := w.Finish()
		want := outcome.Counts{
			Imported: 2, Incomplete: 1, Members: outcome.Members{Added: 2, Failed: 9, NoAccount: 1, Invalid: 8},
		}
		if s.Counts != want || s.Counts.IsWhole() {
			t.Errorf("got %+v, want %+v", s.Counts, want)
		}
		all, records := w.letters()
		if len(all) != 1 {
			t.Fatalf("got %d lines in the dead-letter file, want 1", len(all))
		}
		o := all[0]
		for _, part := range []string{
			"9 of 11 members are missing", "m-3 (the account does not exist", "m-4 (JoinTime", "m-5 (unknown field",
		} {
			if !strings.Contains(o.Error, part) {
				t.Errorf("got %q, want %q in it", o.Error, part)
			}
		}
		wantRecord := `{"Type":"Public","GroupId":"` + o.GroupID +
			`","Owner_Account":"m-1","Name":"a","CreateTime":900000000,` +
			`"MemberList":[{"Member_Account":"m-3","Role":"Admin","UnreadMsgNum":4},` +
			`{"Member_Account":"m-4","JoinTime":800000000},`
		if o.Status != outcome.Imported || !strings.HasPrefix(records[0], wantRecord) ||
			strings.Contains(records[0], "m-2") {
			t.Errorf("got %s, want %s…", records[0], wantRecord)
		}
		for _, part := range []string{ // an invalid value is kept as it was written
			`{"Member_Account":"m-5","NameCard":"x"}`, `{"Member_Account":"m-6","JoinTime":7}`,
			`{"Member_Account":"m-7","Role":"Boss"}`, `{"Member_Account":"m-8","UnreadMsgNum":"?"}`,
			`{"Member_Account":9,"Role":"Admin","JoinTime":910000000}`, `{"Member_Account":"m-9","NameCard":{"a":[1]}}`,
			`{"Member_Account":"m-10","Role":"\ud800"}`,
		} {
			if !strings.Contains(records[0], part) {
				t.Errorf("got %s, want %s in it", records[0], part)
			}
		}

		w.Service.AddAccounts("m-3", "m-4", "m-5", "m-6", "m-7", "m-8")
		time.Sleep(time.Hour)
		imports := w.Service.Stats().Imports
		if p := w.Pass(retry); len(p.Done) != 1 ||
			p.Done[0].Counts.Members != (outcome.Members{Added: 3, Failed: 8, Invalid: 8}) {
			t.Errorf("got %+v after a round", p.Done)
		}
		if got := w.memberNames(o.GroupID); !slices.Equal(got, []string{"m-2", "m-3"}) {
			t.Errorf("got members %v", got)
		}
		if got := w.Service.Stats().Imports; got != imports {
			t.Errorf("got %d calls of import_group in a round for members", got-imports)
		}
		if _, records = w.letters(); len(records) != 1 || strings.Contains(records[0], "m-3") ||
			!strings.Contains(records[0], "m-4") || !strings.Contains(records[0], "m-5") {
			t.Errorf("got %v in the dead-letter file after the round", records)
		}
		// What is left breaks rules: no further round is due.
		time.Sleep(48 * time.Hour)
		if p := w.Pass(retry); len(p.Done) != 0 {
			t.Errorf("got %+v, want no further round", p.Done)
		}
	})
}

// A member record whose group does not exist is retried: the group's export may come later.
func TestMembers_RecordsBeforeTheirGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.only("m-1", "m-2", "m-3")
		w.Put(
			`{"Type":"Public","Name":"a","GroupId":"g-1"}`, `{"GroupId":"g-1","Member_Account":"m-1"}`,
			`{"GroupId":"g-1","Member_Account":"m-2","Role":"Admin"}`, `{"GroupId":"g-2","Member_Account":"m-3"}`,
			`{"GroupId":"g-1","Member_Account":"m-9"}`, `{"GroupId":"g-1","Member_Account":"m-1"}`,
			`{"GroupId":"g-1","Member_Account":""}`,
		)
		s := w.Finish()
		want := outcome.Counts{Imported: 3, Exists: 1, Failed: 2, Rejected: 1, MemberRecords: 5}
		if s.Counts != want {
			t.Errorf("got %+v, want %+v", s.Counts, want)
		}
		var got []string
		for _, o := range w.Outcomes(simNames) {
			got = append(got, strings.TrimSpace(fmt.Sprint(o.Status, " ", o.GroupID, " ", o.Member)))
		}
		wantLines := []string{
			"imported g-1", "imported g-1 m-1", "imported g-1 m-2", "failed g-2 m-3", "failed g-1 m-9", "exists g-1 m-1",
			"rejected g-1",
		}
		if !slices.Equal(got, wantLines) {
			t.Errorf("got %q, want %q", got, wantLines)
		}
		w.Service.Put(emulator.Group{GroupID: "g-2", Type: "Public", Name: "from another export"})
		w.Service.AddAccounts("m-9")
		time.Sleep(time.Hour)
		w.Pass(retry)
		if got := w.memberNames("g-2"); !slices.Equal(got, []string{"m-3"}) {
			t.Errorf("got members %v", got)
		}
		if got := w.memberNames("g-1"); !slices.Equal(got, []string{"m-1", "m-2", "m-9"}) {
			t.Errorf("got members %v", got)
		}
	})
}

// A member record does not have the type of its group: an Admin of a Private group is sent as a member once the service
// has not added the Admin.
func TestMembers_AdminRecordOfPrivateGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Service.Put(emulator.Group{GroupID: "g", Type: "Private", Name: "n", Owner: "o", CreateTime: 1000})
		w.Put(`{"GroupId":"g","Member_Account":"u1","Role":"Admin"}`, `{"GroupId":"g","Member_Account":"u2"}`)
		w.Finish()
		got := w.Outcomes(simNames)
		if len(got) != 2 || got[0].Status != outcome.Imported || !slices.Equal(got[0].Changed, []string{"Role"}) ||
			got[1].Status != outcome.Imported || got[1].Changed != nil {
			t.Errorf("got %+v", got)
		}
	})
}

// Consecutive member records of a group share calls.
func TestMembers_RecordsShareCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lines := []string{`{"Type":"Public","Name":"a","GroupId":"g-1"}`, `{"Type":"Public","Name":"b","GroupId":"g-2"}`}
		for n := range 100 {
			lines = append(lines, fmt.Sprintf(`{"GroupId":"g-%d","Member_Account":"m-%d"}`, 1+n/50, n))
		}
		w.Put(lines...)
		s := w.Finish()
		if s.Counts != (outcome.Counts{Imported: 102, MemberRecords: 100}) {
			t.Errorf("got %+v", s.Counts)
		}
		if got := w.requests("import_group_member"); got != 6 {
			t.Errorf("got %d calls for two times 50 members, want 6", got)
		}
	})
}

// A corrected export adds what is new, and sends nothing for lists that have not changed.
func TestMembers_CarriedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, id := range map[string]string{"with a GroupId": `"GroupId":"g-1",`, "without": ""} {
			w := newWorld(t)
			line := func(members string) string {
				return `{` + id + `"Type":"Public","Name":"a","MemberList":[` + members + `]}`
			}
			other := `{"Type":"Public","Name":"b","GroupId":"g-b"}`
			w.Put(line(`{"Member_Account":"m-1"}`), other, `{"GroupId":"g-b","Member_Account":"m-1"}`)
			w.Finish()
			before := w.requests("import_group_member")

			w.Put(line(`{"Member_Account":"m-1"}`), other, `{"GroupId":"g-b","Member_Account":"m-1"}`,
				`{"Type":"Public","Name":"new"}`)
			s := w.Finish()
			if got := w.requests("import_group_member"); got != before || s.Counts.Members != (outcome.Members{Added: 1}) {
				t.Errorf("%s: got %d calls for members that have not changed, %+v", name, got-before, s.Counts)
			}

			w.Put(line(`{"Member_Account":"m-1"},{"Member_Account":"m-2"}`), other)
			s = w.Finish()
			all := w.Outcomes(simNames)
			if s.Counts.Members != (outcome.Members{Added: 1, Already: 1}) || !all[0].Carried || all[0].Differs {
				t.Errorf("%s: got %+v, %+v", name, s.Counts, all[0])
			}
			if got := w.memberNames(all[0].GroupID); !slices.Equal(got, []string{"m-1", "m-2"}) {
				t.Errorf("%s: got members %v", name, got)
			}
			if w.Service.Names()["a"] != 1 {
				t.Errorf("%s: the group was created %d times", name, w.Service.Names()["a"])
			}
		}
	})
}

// A dead-letter file dropped as an export adds what is missing, and creates no group again.
func TestMembers_DeadLetterFileAsExport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.only("m-1")
		w.Put(`{"Type":"Private","Name":"a","MemberList":[{"Member_Account":"m-1"},{"Member_Account":"m-2","Role":"Admin"}]}`,
			`{"GroupId":"none","Member_Account":"m-1"}`)
		w.Finish()
		letters := string(w.Store.Object(simNames.Failures()))
		w.Service.AddAccounts("m-2")
		w.Put(strings.Split(strings.TrimSpace(letters), "\n")...)
		s := w.Finish()
		want := outcome.Counts{Imported: 1, Failed: 1, MemberRecords: 1, Members: outcome.Members{Added: 2, Demoted: 1}}
		if s.Counts != want || w.Service.Names()["a"] != 1 {
			t.Errorf("got %+v, want %+v; the group was created %d times", s.Counts, want, w.Service.Names()["a"])
		}
		all := w.Outcomes(simNames)
		if got := w.memberNames(all[0].GroupID); !all[0].Carried || !slices.Equal(got, []string{"m-1", "m-2"}) {
			t.Errorf("got members %v, %+v", got, all[0])
		}
	})
}

// checkAdded checks the counts of an import that a run has interrupted: members of calls without an outcome are sent
// again, and were members already.
func checkAdded(t *testing.T, got, want outcome.Counts, members int64) {
	t.Helper()
	want.Members.Already = min(got.Members.Already, members/100)
	want.Members.Added = members - want.Members.Already
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Groups do not wait for members: while members take three calls a group, groups use their whole rate. Neither rate is
// exceeded, and what the member pass has left when time is up, the next run adds.
func TestMembers_TwoRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const groups, members = 4000, 50
		w.Put(withMembers(groups, members)...)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
		defer cancel()
		s, err := w.Run(ctx)
		if err != nil || s.State != results.Waiting || s.Counts.Imported != groups || s.Counts.Members.Pending == 0 {
			t.Fatalf("got %+v, %v, want all groups and members pending", s, err)
		}
		s = w.Finish()
		took := time.Since(start)
		checkAdded(t, s.Counts, outcome.Counts{Imported: groups}, groups*members)
		stats := w.Service.Stats()
		if c := stats.Commands["import_group_member"]; c.BusiestSecond > simRate || stats.BusiestSecond > simRate ||
			c.Throttled > 0 {
			t.Errorf("got %d and %d requests in the busiest second, want at most %d", stats.BusiestSecond, c.BusiestSecond,
				simRate)
		}
		calls := stats.Commands["import_group_member"].Requests
		if best := time.Duration(calls) * time.Second / simRate; took > best*100/90 || calls > 3*groups+100 {
			t.Errorf("took %v for %d calls, want at most 1/0.9 of %v", took, calls, best)
		}
	})
}

// What is pending when an import is cancelled is said, and resumed.
func TestMembers_Cancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(append(withMembers(400, 60), `{"GroupId":"g-1","Member_Account":"last"}`)...)
		go func() {
			time.Sleep(3 * time.Second)
			if _, err := w.Dir(simKey).Control(t.Context(), results.Cancel, "li"); err != nil {
				t.Error(err)
			}
		}()
		s, err := w.Run(t.Context())
		if err != nil || s.State != results.Cancelled || s.Counts.Imported != 400 || s.Counts.Members.Pending == 0 {
			t.Fatalf("got %+v, %v", s, err)
		}
		var counts outcome.Counts
		for _, o := range w.Outcomes(simNames) {
			counts.Add(&o)
		}
		if counts != s.Counts || counts.Pending != 1 {
			t.Errorf("the results have %+v, the summary has %+v", counts, s.Counts)
		}
		if all, _ := w.letters(); len(all) == 0 || !all[0].IsPending() {
			t.Error("the dead-letter file lacks members that are pending")
		}
		if _, err := w.Dir(simKey).Control(t.Context(), results.Resume, "li"); err != nil {
			t.Fatal(err)
		}
		s = w.Finish()
		checkAdded(t, s.Counts, outcome.Counts{Imported: 401, MemberRecords: 1}, 400*60)
	})
}
