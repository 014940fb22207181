package importer_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/outcome"
)

// With IMPORT_ACCOUNTS the owners and the members of an export need not exist before.
func TestImport_ImportAccounts(t *testing.T) {
	for _, isSet := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			const groups = 300
			w := importertest.New(t)
			w.Service.OnlyAccounts = true
			w.Config.ImportAccounts = isSet
			var lines []string
			for i := range groups {
				lines = append(lines, fmt.Sprintf(`{"GroupId":"g%d","Type":"Public","Name":"n","Owner_Account":"o%d",`+
					`"CreateTime":1448357837,"MemberList":[{"Member_Account":"a%d"},{"Member_Account":"b"}]}`, i, i, i))
			}
			w.Put(lines...)
			w.Finish()
			got := w.Outcomes(simNames)
			if len(got) != groups {
				t.Fatalf("got %d outcomes", len(got))
			}
			for i, o := range got {
				id := fmt.Sprintf("g%d", i)
				want := outcome.Outcome{Status: outcome.Rejected, Code: 10019}
				if isSet {
					want = outcome.Outcome{Status: outcome.Imported, Members: outcome.Members{Added: 2}}
				}
				if o.GroupID != id || o.Status != want.Status || o.Code != want.Code || o.Members != want.Members {
					t.Fatalf("IMPORT_ACCOUNTS=%v: got %+v, want %+v", isSet, o, want)
				}
				if g, _ := w.Service.Group(id); isSet && len(g.Members) != 2 {
					t.Fatalf("got %+v", g)
				}
			}
		})
	}
}
