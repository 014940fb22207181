package tim_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"groupimport/pkg/emulator"
	"groupimport/pkg/group"
	"groupimport/pkg/tim"
)

func chatRoom(id string) *group.Record {
	rec := record(id, "n "+id)
	rec.Type, rec.Introduction, rec.MaxMemberCount = group.AVChatRoom, "i", 500
	rec.AppDefinedData = []group.Datum{{Key: "k", Value: "v"}}
	return rec
}

// A group of Type AVChatRoom is created with all fields but its CreateTime.
func TestImportGroup_AVChatRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		c := newClient(t, s)
		r := c.ImportGroup(t.Context(), chatRoom("live")).Wait()
		if r.End != tim.Imported || !r.Created || r.GroupID != "live" {
			t.Errorf("got %+v", r)
		}
		g, _ := s.Group("live")
		if g.Type != "AVChatRoom" || g.Name != "n live" || g.Owner != "leckie" || g.Introduction != "i" ||
			g.MaxMemberCount != 500 || len(g.AppDefinedData) != 1 || g.CreateTime == 1448357837 {
			t.Errorf("got %+v", g)
		}
		if got := s.Stats(); got.Imports != 0 || got.Commands["create_group"].Requests != 1 {
			t.Errorf("got %+v, want one request of create_group", got)
		}
		r = c.ImportGroup(t.Context(), chatRoom("live")).Wait()
		if r.End != tim.Exists || r.Created {
			t.Errorf("again: got %+v", r)
		}
		other := chatRoom("live")
		other.Name = "other"
		if r = c.ImportGroup(t.Context(), other).Wait(); r.End != tim.Rejected {
			t.Errorf("another group: got %+v", r)
		}
		r = c.ImportGroup(t.Context(), record("g", "n")).Wait()
		if r.End != tim.Imported || r.Created || s.Stats().Imports != 1 {
			t.Errorf("another type: got %+v", r)
		}
	})
}

func TestImportGroup_AVChatRoomLostResponses(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			s := newService()
			s.Faults = emulator.Faults{
				Seed: seed, DropBefore: 0.1, DropAfter: 0.1, HangAfter: 0.05, BadGatewayAfter: 0.1, InternalAfter: 0.1,
			}
			c := newClient(t, s, maxAttempts(10))
			calls := make([]*tim.Call, 100)
			for i := range calls {
				calls[i] = c.ImportGroup(t.Context(), chatRoom(fmt.Sprint("live", i)))
			}
			for _, call := range calls {
				if r := call.Wait(); r.End != tim.Imported && r.End != tim.Exists {
					t.Errorf("seed %d: got %s %q", seed, short(r), r.Message)
				}
			}
			checkNoDuplicates(t, s)
			if got := s.Stats(); got.Created != 100 || got.Commands["create_group"].BusiestSecond > testRate {
				t.Errorf("seed %d: got %+v", seed, got)
			}
		})
	}
}
