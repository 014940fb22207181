package tim_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/tim"
)

func importAccounts(c *tim.Config) { c.ImportAccounts = true }

func TestImportAccounts_Members(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemberService(20)
		s.OnlyAccounts = true
		s.RefusedAccounts = []string{"u55"}
		list := memberList(60)
		for _, m := range list[:30] {
			s.AddAccounts(m.Account)
		}
		s.Faults = emulator.Faults{Seed: 1, DropAfter: 0.05, InternalAfter: 0.05}
		c := newClient(t, s, importAccounts, maxAttempts(10))
		calls := make([]*tim.MembersCall, 20)
		for i := range calls {
			calls[i] = c.ImportMembers(t.Context(), fmt.Sprint("g", i), list)
		}
		for i, call := range calls {
			r := call.Wait()
			if r.End != tim.Imported || r.Members[55] != tim.MemberNoAccount {
				t.Errorf("got %s %q", shortMembers(r), r.Message)
			}
			g, _ := s.Group(fmt.Sprint("g", i))
			if len(g.Members) != 59 {
				t.Errorf("got %d members, want all but one", len(g.Members))
			}
			for n, m := range r.Members {
				if n != 55 && m != tim.MemberAdded && m != tim.MemberAlready {
					t.Errorf("member %d is %s", n, memberNames[m])
				}
			}
		}
		got := s.Stats().Commands["multiaccount_import"]
		if got.BusiestSecond > testRate/2 || got.Requests > 60 {
			t.Errorf("got %+v, want the accounts gathered", got)
		}
	})
	synctest.Test(t, func(t *testing.T) { // the service accepts the account, but then has none
		s := newMemberService(1)
		c := newClient(t, onBody(s, func(command, _ string) *http.Response {
			switch command {
			case memberCommand:
				return respond(200,
					`{"ActionStatus":"OK","ErrorCode":0,"MemberList":[{"Member_Account":"u0","Result":0}]}`)
			case "account_check":
				return respond(200,
					`{"ActionStatus":"OK","ErrorCode":0,"ResultItem":[{"UserID":"u0","AccountStatus":"NotImported"}]}`)
			}
			return nil
		}), importAccounts)
		r := c.ImportMembers(t.Context(), "g0", memberList(1)).Wait()
		if got, want := shortMembers(r), "imported code 0 map[no account:1]"; got != want || c.MemberAttempts() != 5 {
			t.Errorf("got %s after %d attempts, want %s after 5", got, c.MemberAttempts(), want)
		}
	})
}

// One account spoils a request of multiaccount_import.
func TestImportAccounts_OneIsRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemberService(1)
		s.OnlyAccounts = true
		c := newClient(t, onBody(s, func(command, body string) *http.Response {
			if command == "multiaccount_import" && strings.Contains(body, `"u7"`) {
				return respond(200, `{"ActionStatus":"FAIL","ErrorCode":70399,"ErrorInfo":"deleted"}`)
			}
			return nil
		}), importAccounts)
		r := c.ImportMembers(t.Context(), "g0", memberList(20)).Wait()
		if got, want := shortMembers(r), "imported code 0 map[added:19 no account:1]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// Owners are created before their groups, which are sent in their order and at the full rate.
func TestImportAccounts_Owners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const groups = 2000
		s := newService()
		s.Latency = 100 * time.Millisecond
		s.OnlyAccounts = true
		s.AddAccounts("owner 3", "owner 4")
		s.RefusedAccounts = []string{"owner 7"}
		c := newClient(t, s, importAccounts)
		start := time.Now()
		recs := records(groups, true)
		for i, rec := range recs {
			rec.OwnerAccount = fmt.Sprint("owner ", i)
			if i%4 == 1 {
				rec.OwnerAccount = "owner 3"
			}
		}
		recs[9].OwnerAccount = ""
		for i, r := range importAll(t.Context(), c, recs) {
			want := tim.Imported
			if i == 7 {
				want = tim.Failed
			}
			if r.End != want {
				t.Errorf("record %d: got %s %q", i, short(r), r.Message)
			}
		}
		if took := time.Since(start); took > 12*time.Second {
			t.Errorf("took %v, want about %v at the full rate", took, groups*time.Second/testRate)
		}
		n := 0
		for g := range s.Groups() {
			if n == 7 {
				n++
			}
			if g.GroupID != recs[n].GroupID {
				t.Fatalf("group %d is %q, want %q", n, g.GroupID, recs[n].GroupID)
			}
			n++
		}
		stats := s.Stats()
		if stats.Codes[10019] != 0 || stats.BusiestSecond > testRate {
			t.Errorf("got %v, %d in the busiest second", stats.Codes, stats.BusiestSecond)
		}
		for _, command := range []string{"account_check", "multiaccount_import"} {
			if got := stats.Commands[command]; got.BusiestSecond > testRate/2 || got.Requests > 400 {
				t.Errorf("%s: got %+v", command, got)
			}
		}
	})
}

// The owners of one import do not keep another one waiting.
func TestImportAccounts_Shares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		c := newClient(t, onBody(s, func(command, body string) *http.Response {
			if command == "account_check" && strings.Contains(body, `"slow"`) {
				time.Sleep(5 * time.Second)
			}
			return nil
		}), importAccounts)
		slow, fast := record("g0", "n"), record("g1", "n")
		slow.OwnerAccount = "slow"
		first := c.ImportGroup(tim.WithShare(t.Context(), c.NewShare(tim.ShareConfig{DrainTimeout: time.Second})), slow)
		time.Sleep(time.Second)
		start := time.Now()
		r := c.ImportGroup(tim.WithShare(t.Context(), c.NewShare(tim.ShareConfig{DrainTimeout: time.Second})), fast).Wait()
		if took := time.Since(start); r.End != tim.Imported || took > time.Second {
			t.Errorf("got %s after %v", short(r), took)
		}
		if r := first.Wait(); r.End != tim.Imported {
			t.Errorf("got %s %q", short(r), r.Message)
		}
	})
}

func TestImportAccounts_Ends(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault emulator.Fault
		want  tim.End
	}{
		{"account_check is rejected", 10004, tim.Failed},
		{"fatal", 70009, tim.Incomplete},
		{"the context ends", emulator.Hang, tim.Incomplete},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
					if r.Command == "account_check" {
						return test.fault
					}
					return emulator.None
				}}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				c := newClient(t, s, importAccounts)
				calls := []*tim.Call{
					c.ImportGroup(ctx, record("a", "n")), c.ImportGroup(ctx, record("b", "n")),
					c.Try(ctx, record("c", "n")),
				}
				for _, call := range calls {
					if r := call.Wait(); r.End != test.want || r.Message == "" {
						t.Errorf("got %s %q", short(r), r.Message)
					}
				}
				if got := s.Stats().Imports; got != 0 {
					t.Errorf("got %d groups sent", got)
				}
			})
		})
	}
}
