package importer_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/outcome"
)

// With AVCHATROOM=create a record of this type ends as created, and names the CreateTime that was not kept.
func TestImport_CreatesAVChatRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := importertest.New(t)
		w.Config.Limits.CreateAVChatRoom = true
		w.Put(`{"GroupId":"live","Type":"AVChatRoom","Name":"n","Owner_Account":"a","CreateTime":1448357837}`,
			`{"GroupId":"now","Type":"AVChatRoom","Name":"n","MemberList":[{"Member_Account":"b"}]}`,
			`{"Type":"AVChatRoom","Name":"n"}`)
		if got := w.Finish().Counts; got.Created != 2 {
			t.Errorf("got %d groups created by create_group, want 2", got.Created)
		}
		got := w.Outcomes(simNames)
		if len(got) != 3 || got[0].Status != outcome.Imported || !got[0].Created ||
			!slices.Equal(got[0].Changed, []string{"CreateTime"}) || !got[1].Created || got[1].Changed != nil ||
			got[1].Members.Invalid != 1 || got[2].Status != outcome.Rejected || got[2].Field != "GroupId" {
			t.Errorf("got %+v", got)
		}
	})
}
