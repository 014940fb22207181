package importer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"groupimport/pkg/blob"
)

// An import translates accounts by the table in the bucket. Another table is another import, which sends what has
// changed and carries over the rest.
func TestImport_Users(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Config.Users = "tables/acme.users"
		w.Put(
			`{"Type":"Public","Name":"a","GroupId":"g1","Owner_Account":"U1",`+
				`"MemberList":[{"Member_Account":"U2"},{"Member_Account":"U9"}]}`,
			`{"Type":"Public","Name":"b","GroupId":"g2","Owner_Account":"U9"}`,
			`{"Type":"Public","Name":"c","GroupId":"g3","Owner_Account":"U1"}`,
		)
		lines := func() (got []string) {
			for _, o := range w.Outcomes(w.Dir(simKey).Names) {
				got = append(got, fmt.Sprintf("%s %s %v %v %d", o.GroupID, o.Status, o.Changed, o.Carried, o.Members.Added))
			}
			return got
		}
		refuses := func(want string) {
			if _, err := w.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("got %v, want %s", err, want)
			}
		}
		refuses(`read the table of users "tables/acme.users"`)
		put := func(table string) {
			if err := w.Store.Put(t.Context(), "tables/acme.users", strings.NewReader(table)); err != nil {
				t.Fatal(err)
			}
		}
		put("U1,ann\nU2\n")
		refuses("line 2 of the table of users: got 1 cells")
		put("U1,ann\nU2,ben\n")
		w.Finish()
		want := []string{"g1 imported [MemberList] false 1", "g2 imported [Owner_Account] false 0", "g3 imported [] false 0"}
		if got := lines(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if g, _ := w.Service.Group("g1"); g.Owner != "ann" || w.Finish().Already != true {
			t.Errorf("got %+v", g)
		}
		put("U1,ann\nU2,ben\nU9,zoe\n")
		if s := w.Finish(); s.Already {
			t.Error("got no import with the new table")
		}
		want = []string{"g1 imported [] true 2", "g2 exists [] false 0", "g3 imported [] true 0"}
		if got := lines(); len(got) != 3 || got[2] != want[2] || !strings.HasPrefix(got[0], "g1 imported []") {
			t.Errorf("got %q, want like %q", got, want)
		}

		// A strict import rejects what it cannot translate, and translates it once the table is complete.
		put("U1,ann\n")
		w.Config.UsersStrict = true
		if s := w.Finish(); s.Counts.Rejected != 2 {
			t.Errorf("got %+v, want 2 rejected", s.Counts)
		}
		failures, err := blob.ReadAll(t.Context(), w.Store, w.Dir(simKey).Failures(), 1<<20)
		if err != nil || strings.Count(string(failures), `"record":{"untranslated":{`) != 2 {
			t.Fatalf("got %s, %v, want both records untranslated", failures, err)
		}
		put("U1,ann\nU2,ben\nU9,zoe\n")
		if err := w.Store.Put(t.Context(), "exports/again.ndjson", strings.NewReader(string(failures))); err != nil {
			t.Fatal(err)
		}
		s, err := w.Importer().Import(t.Context(), "exports/again.ndjson")
		if err != nil || s.Counts.Records() != 2 || s.Counts.Rejected > 1 {
			t.Errorf("got %+v, %v", s.Counts, err)
		}
	})
}
