package importer

import (
	"time"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

// leaveOut removes the members of a group's record, for MEMBERS=false. A member record is skipped, and then leaveOut
// returns true.
func leaveOut(it *item, rec *group.Record) bool {
	if !rec.IsMember {
		rec.Members, rec.HasOwner, rec.Demoted = nil, false, 0
		return false
	}
	it.groupID, it.member = rec.GroupID, rec.Members[0].Account
	it.outcome = &outcome.Outcome{Status: outcome.Skipped, Error: "MEMBERS=false leaves out members", At: time.Now()}
	return true
}
