package importer_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/outcome"
)

func TestImport_WithoutMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Config.NoMembers = true
		w.Put(`{"GroupId":"g","Type":"Public","Name":"n","MemberList":[{"Member_Account":"a"}]}`,
			`{"GroupId":"g","Member_Account":"b"}`)
		w.Finish()
		got := w.Outcomes(simNames)
		if len(got) != 2 || got[0].Status != outcome.Imported || got[0].Members != (outcome.Members{}) ||
			got[1].Status != outcome.Skipped || !strings.Contains(got[1].Error, "MEMBERS=false") {
			t.Errorf("got %+v", got)
		}
		if g, _ := w.Service.Group("g"); len(g.Members) != 0 || w.Service.Stats().Commands != nil {
			t.Errorf("got %v, want no calls about members", w.Service.Stats().Commands)
		}
	})
}
