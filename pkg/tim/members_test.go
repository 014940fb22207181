package tim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/group"
	"groupimport/pkg/tim"
)

const memberCommand = "import_group_member"

// newMemberService returns an emulator with the Public groups g0 to g(n-1).
func newMemberService(n int) *emulator.Service {
	s := newService()
	for i := range n {
		s.Put(emulator.Group{GroupID: fmt.Sprint("g", i), Type: "Public", Name: "n", Owner: "leckie", CreateTime: 1000})
	}
	return s
}

func memberList(n int) []group.Member {
	list := make([]group.Member, n)
	for i := range list {
		list[i] = group.Member{
			Account: fmt.Sprint("u", i), IsAdmin: i%10 == 0, JoinTime: int64(2000 + i), Unread: int64(i % 3),
		}
	}
	return list
}

var memberNames = map[tim.MemberResult]string{
	tim.MemberNotSent: "not sent", tim.MemberAdded: "added", tim.MemberAlready: "already",
	tim.MemberNoAccount: "no account", tim.MemberNotAdded: "not added", tim.MemberRejected: "rejected",
}

// shortMembers formats the end, the code and the numbers of results.
func shortMembers(r tim.MembersResult) string {
	counts := map[string]int{}
	for _, m := range r.Members {
		counts[memberNames[m]]++
	}
	return fmt.Sprintf("%s code %d %v", endNames[r.End], r.Code, counts)
}

// onMembers plans faults of import_group_member.
func onMembers(f func(r emulator.Request) emulator.Fault) emulator.Faults {
	return emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
		if r.Command == memberCommand {
			return f(r)
		}
		return emulator.None
	}}
}

// checkMembers checks that a group has exactly these members, as they were sent.
func checkMembers(t *testing.T, s *emulator.Service, groupID string, want []group.Member) {
	t.Helper()
	g, _ := s.Group(groupID)
	got := map[string]emulator.Member{}
	for _, m := range g.Members {
		if m.Added != 1 {
			t.Errorf("%s: got %+v, want it added once", groupID, m)
		}
		got[m.Account] = m
	}
	if len(got) != len(want) || len(g.Members) != len(want) {
		t.Errorf("%s: got %d members, want %d", groupID, len(g.Members), len(want))
	}
	for _, m := range want {
		has := got[m.Account]
		if (has.Role == "Admin") != m.IsAdmin || has.JoinTime != m.JoinTime || has.Unread != m.Unread {
			t.Errorf("%s: got %+v, want %+v", groupID, has, m)
		}
	}
}

func TestImportMembers_EachAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemberService(1)
		c := newClient(t, s)
		list := memberList(45)
		r := c.ImportMembers(t.Context(), "g0", list).Wait()
		if got, want := shortMembers(r), "imported code 0 map[added:45]"; got != want || r.Attempts != 3 || r.Message != "" {
			t.Errorf("got %s, %d attempts, %q, want %s in 3", got, r.Attempts, r.Message, want)
		}
		checkMembers(t, s, "g0", list)
		g, _ := s.Group("g0")
		for i, m := range g.Members {
			if m.Account != list[i].Account {
				t.Fatalf("member %d is %q, want %q", i, m.Account, list[i].Account)
			}
		}
		r = c.ImportMembers(t.Context(), "g0", list).Wait()
		if got, want := shortMembers(r), "imported code 0 map[already:45]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if r = c.ImportMembers(t.Context(), "g0", nil).Wait(); r.End != tim.Imported || r.At.IsZero() {
			t.Errorf("got %+v, want an empty list imported", r)
		}
		if c.MemberAttempts() != 6 || c.Attempts() != 0 {
			t.Errorf("got %d and %d attempts, want 6 and 0", c.MemberAttempts(), c.Attempts())
		}
	})
}

// Responses are lost in all ways. Each member ends as added or as a member already, and is in its group once.
func TestImportMembers_LostResponses(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			const groups, members = 40, 50
			s := newMemberService(groups)
			s.Faults = emulator.Faults{
				Seed: seed, DropBefore: 0.05, DropAfter: 0.1, HangAfter: 0.02, BadGatewayAfter: 0.05, InternalAfter: 0.05,
				GarbageAfter: 0.05, Throttle: 0.01,
			}
			c := newClient(t, s, maxAttempts(20))
			list := memberList(members)
			calls := make([]*tim.MembersCall, groups)
			for i := range calls {
				calls[i] = c.ImportMembers(t.Context(), fmt.Sprint("g", i), list)
			}
			for i, call := range calls {
				r := call.Wait()
				if r.End != tim.Imported {
					t.Errorf("seed %d: got %s %q", seed, shortMembers(r), r.Message)
				}
				for n, m := range r.Members {
					if m != tim.MemberAdded && m != tim.MemberAlready {
						t.Errorf("seed %d: member %d is %s", seed, n, memberNames[m])
					}
				}
				checkMembers(t, s, fmt.Sprint("g", i), list)
			}
			if got := s.Stats().Members; got != groups*members {
				t.Errorf("seed %d: got %d members, want %d", seed, got, groups*members)
			}
		})
	}
}

// Groups and members each have their own rate: neither waits for the other, and no second holds more than either.
func TestImportMembers_RatePerCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const seconds = 10
		s := newMemberService(1)
		s.OnlyAccounts = true
		s.AddAccounts("leckie")
		for i := range 20 {
			if i%2 == 0 {
				s.AddAccounts(fmt.Sprint("u", i))
			}
		}
		s.Jitter = 300 * time.Millisecond
		s.Faults = emulator.Faults{DropAfter: 0.01, InternalAfter: 0.01}
		c := newClient(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
		defer cancel()
		var work sync.WaitGroup
		work.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				c.ImportGroup(ctx, record(fmt.Sprint("r", n), "n"))
			}
		})
		work.Go(func() {
			for ctx.Err() == nil {
				c.ImportMembers(ctx, "g0", memberList(20))
			}
		})
		work.Wait()
		time.Sleep(time.Minute)
		stats := s.Stats()
		members, checks := stats.Commands[memberCommand], stats.Commands["account_check"]
		if members.BusiestSecond > testRate || stats.BusiestSecond > testRate || checks.BusiestSecond > testRate/2 {
			t.Errorf("busiest seconds: got %d, %d and %d, want at most %d, %d and %d", stats.BusiestSecond,
				members.BusiestSecond, checks.BusiestSecond, testRate, testRate, testRate/2)
		}
		want := testRate * seconds * 98 / 100
		if members.Requests < want || stats.Imports+stats.Lookups < want {
			t.Errorf("got %d requests for members and %d for groups, want %d each",
				members.Requests, stats.Imports+stats.Lookups, want)
		}
		if got := c.MemberAttempts(); got != int64(members.Requests+checks.Requests) {
			t.Errorf("got %d attempts, want %d and %d", got, members.Requests, checks.Requests)
		}
	})
}

// A platform allows a process 1,024 open files.
func TestImportMembers_InFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemberService(1)
		s.Latency = 9 * time.Second
		rec := &recorder{next: s}
		c := newClient(t, rec)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var work sync.WaitGroup
		work.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				c.ImportGroup(ctx, record(fmt.Sprint("r", n), "n"))
			}
		})
		work.Go(func() {
			for ctx.Err() == nil {
				c.ImportMembers(ctx, "g0", memberList(20))
			}
		})
		work.Wait()
		time.Sleep(time.Minute)
		rec.mu.Lock()
		defer rec.mu.Unlock()
		if rec.maxInFlight > 900 || rec.maxInFlight < 700 {
			t.Errorf("got %d attempts in flight, want as many as the rates need, and at most 900", rec.maxInFlight)
		}
	})
}

func TestImportMembers_TooManyInOneCall(t *testing.T) {
	for _, limit := range []int{1, 3, 7} {
		synctest.Test(t, func(t *testing.T) {
			s := newMemberService(10)
			s.MembersPerCall = limit
			c := newClient(t, s)
			list := memberList(50)
			learned := 0
			for i := range 10 {
				r := c.ImportMembers(t.Context(), fmt.Sprint("g", i), list).Wait()
				if got, want := shortMembers(r), "imported code 0 map[added:50]"; got != want {
					t.Errorf("limit %d: got %s %q, want %s", limit, got, r.Message, want)
				}
				checkMembers(t, s, fmt.Sprint("g", i), list)
				if got := s.Stats().Codes[10005]; i == 0 {
					learned = got
				} else if got > learned {
					t.Errorf("limit %d: got %d calls with too many members after %d taught the limit", limit, got, learned)
				}
			}
			// The first batches of 20 are in flight at the same time.
			if got := s.Stats().Codes[10005]; got > 3*20/limit {
				t.Errorf("limit %d: got %d calls with too many members", limit, got)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // the service accepts not even one
		s := newMemberService(1)
		s.Faults = onMembers(func(emulator.Request) emulator.Fault { return 10005 })
		r := newClient(t, s).ImportMembers(t.Context(), "g0", memberList(5)).Wait()
		if got, want := shortMembers(r), "rejected code 10005 map[rejected:5]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestImportMembers_Codes(t *testing.T) {
	for _, test := range []struct {
		code        int
		want        string
		maxRequests int
	}{
		{10010, "failed code 10010 map[not sent:380]", 8},    // the other batches are not sent
		{10007, "rejected code 10007 map[rejected:380]", 16}, // while a look-up shows that the caller may call
		{10015, "rejected code 10015 map[rejected:380]", 8},
		{10014, "rejected code 10014 map[rejected:380]", 19},
		{80001, "rejected code 80001 map[rejected:380]", 19},
		{10002, "failed code 10002 map[not sent:380]", 95},
		{10019, "imported code 10019 map[no account:380]", 800},
		{10013, "imported code 10013 map[already:380]", 800},
		{70009, "incomplete code 0 map[not sent:380]", 8}, // fatal
		{70001, "incomplete code 0 map[not sent:380]", 20},
		{60099, "failed code 60099 map[not sent:380]", 19}, // in no list
	} {
		t.Run(fmt.Sprint(test.code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newMemberService(1)
				s.Faults = onMembers(func(emulator.Request) emulator.Fault { return emulator.Fault(test.code) })
				c := newClient(t, s)
				r := c.ImportMembers(t.Context(), "g0", memberList(380)).Wait()
				if got := shortMembers(r); got != test.want || r.Message == "" {
					t.Errorf("got %s %q, want %s", got, r.Message, test.want)
				}
				if got := s.Stats().Commands[memberCommand].Requests; got > test.maxRequests {
					t.Errorf("got %d requests, want at most %d", got, test.maxRequests)
				}
				if isFatal := strings.HasPrefix(test.want, "incomplete"); (c.Fatal() != nil) != isFatal {
					t.Errorf("got fatal error %v, want one: %v", c.Fatal(), isFatal)
				}
			})
		})
	}
}

// The service rejects a batch because of some of its members.
func TestImportMembers_OneIsRejected(t *testing.T) {
	for _, code := range []int{10004, 10019} {
		synctest.Test(t, func(t *testing.T) {
			s := newMemberService(1)
			bad := []string{`"u7"`, `"u33"`}
			isBad := func(body string) bool {
				return slices.ContainsFunc(bad, func(account string) bool { return strings.Contains(body, account) })
			}
			c := newClient(t, onBody(s, func(command, body string) *http.Response {
				if command == memberCommand && isBad(body) {
					return respond(200, fmt.Sprintf(`{"ActionStatus":"FAIL","ErrorCode":%d,"ErrorInfo":"bad"}`, code))
				}
				return nil
			}))
			list := memberList(45)
			r := c.ImportMembers(t.Context(), "g0", list).Wait()
			want, result := "rejected code 10004 map[added:43 rejected:2]", tim.MemberRejected
			if code == 10019 {
				want, result = "imported code 10019 map[added:43 no account:2]", tim.MemberNoAccount
			}
			if got := shortMembers(r); got != want || r.Members[7] != result || r.Members[33] != result {
				t.Errorf("got %s, want %s of members 7 and 33", got, want)
			}
			checkMembers(t, s, "g0", slices.Concat(list[:7], list[8:33], list[34:]))
		})
	}
}

// onBody returns a transport that responds by f, or as s if f returns nil.
func onBody(s http.RoundTripper, f func(command, body string) *http.Response) transport {
	return func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if resp := f(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], string(body)); resp != nil {
			time.Sleep(20 * time.Millisecond)
			return resp, nil
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		return s.RoundTrip(r)
	}
}

func TestImportMembers_Throttled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemberService(1)
		start := time.Now()
		s.Faults = onMembers(func(emulator.Request) emulator.Fault {
			if time.Since(start) < 10*time.Minute {
				return 60011
			}
			return emulator.None
		})
		c := newClient(t, s)
		call := c.ImportMembers(t.Context(), "g0", memberList(45))
		for n := range 100 { // groups are not slowed down
			if got := c.ImportGroup(t.Context(), record(fmt.Sprint("r", n), "n")).Wait(); got.End != tim.Imported {
				t.Errorf("got %s", short(got))
			}
		}
		if time.Since(start) > 10*time.Second {
			t.Errorf("100 groups took %v while members were throttled", time.Since(start))
		}
		if r := call.Wait(); shortMembers(r) != "imported code 0 map[added:45]" || r.Attempts != 3 {
			t.Errorf("got %s in %d attempts", shortMembers(r), r.Attempts)
		}
		if c.RateDecreases() == 0 {
			t.Error("the rate was not decreased")
		}
	})
}

func TestImportMembers_UserSigExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{next: newMemberService(1)}
		c := newClient(t, rec)
		for range 5 {
			r := c.ImportMembers(t.Context(), "g0", memberList(20)).Wait()
			if r.End != tim.Imported {
				t.Errorf("got %s %q", shortMembers(r), r.Message)
			}
			time.Sleep(25 * time.Hour)
		}
		if len(rec.sigs) < 4 {
			t.Errorf("got %d UserSigs in 100 hours", len(rec.sigs))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := newMemberService(1)
		s.Faults = first(1, 70001)
		r := newClient(t, s).ImportMembers(t.Context(), "g0", memberList(2)).Wait()
		if r.End != tim.Imported || r.Attempts != 1 {
			t.Errorf("got %s in %d attempts", shortMembers(r), r.Attempts)
		}
	})
}

func TestImportMembers_Outage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemberService(100)
		s.Faults = always(emulator.DropBefore)
		c := newClient(t, s)
		if r := c.ImportMembers(t.Context(), "g0", memberList(2)).Wait(); r.End != tim.Incomplete || c.Fatal() == nil {
			t.Errorf("got %s, fatal error %v", shortMembers(r), c.Fatal())
		}
	})
	synctest.Test(t, func(t *testing.T) { // for a minute
		s := newMemberService(100)
		start := time.Now()
		s.Faults = emulator.Faults{Plan: func(emulator.Request) emulator.Fault {
			if time.Since(start) < 15*time.Second {
				return emulator.DropBefore
			}
			return emulator.None
		}}
		c := newClient(t, s)
		var calls sync.WaitGroup
		for i := range 100 {
			calls.Go(func() {
				r := c.ImportMembers(t.Context(), fmt.Sprint("g", i), memberList(45)).Wait()
				if got, want := shortMembers(r), "imported code 0 map[added:45]"; got != want {
					t.Errorf("got %s %q", got, r.Message)
				}
			})
		}
		calls.Wait()
		if got := s.Stats().Commands[memberCommand].Requests; got > 400 {
			t.Errorf("got %d requests: the breaker did not open", got)
		}
	})
}

func TestImportMembers_ContextEnds(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			draw := rand.New(rand.NewPCG(seed, 0))
			s := newMemberService(1)
			s.Latency = 200 * time.Millisecond
			s.Faults = emulator.Faults{Seed: seed, InternalAfter: 0.2, DropAfter: 0.2}
			c := newClient(t, s)
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(draw.IntN(2000))*time.Millisecond)
			defer cancel()
			list := memberList(400)
			r := c.ImportMembers(ctx, "g0", list).Wait()
			g, _ := s.Group("g0")
			in := map[string]bool{}
			for _, m := range g.Members {
				in[m.Account] = true
			}
			notSent := 0
			for i, m := range r.Members {
				switch m {
				case tim.MemberNotSent:
					notSent++
				case tim.MemberAdded, tim.MemberAlready:
					if !in[list[i].Account] {
						t.Errorf("seed %d: member %d is %s, but not in the group", seed, i, memberNames[m])
					}
				default:
					t.Errorf("seed %d: member %d is %s", seed, i, memberNames[m])
				}
			}
			if (r.End == tim.Incomplete) != (notSent > 0) {
				t.Errorf("seed %d: got %s", seed, shortMembers(r))
			}
			r = c.ImportMembers(t.Context(), "g0", list).Wait()
			if r.End == tim.Imported {
				checkMembers(t, s, "g0", list)
			} else if r.End != tim.Failed {
				t.Errorf("seed %d: again: got %s", seed, shortMembers(r))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // before it begins
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := newClient(t, newMemberService(1)).ImportMembers(ctx, "g0", memberList(3)).Wait()
		if got, want := shortMembers(r), "incomplete code 0 map[not sent:3]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// What the service says about u0 and u1.
func TestImportMembers_HostileResponses(t *testing.T) {
	const added, failed = "imported code 0 map[added:2]", "failed code 0 map[not sent:2]"
	for _, test := range []struct{ name, list, want string }{
		{"as documented", `[{"Member_Account":"u0","Result":1},{"Member_Account":"u1","Result":1}]`, added},
		{"another order", `[{"Member_Account":"u1","Result":1},{"Member_Account":"u0","Result":1}]`, added},
		{"other fields", `[{"Member_Account":"u1","Result":1,"X":{}},{"Member_Account":"u0","Result":1}]`, added},
		{
			"an unknown account",
			`[{"Member_Account":"u1","Result":1},{"Member_Account":"u0","Result":1},{"Member_Account":"x","Result":0}]`, added,
		},
		{"said twice", `[{"Member_Account":"u0","Result":1},{"Member_Account":"u0","Result":1},
			{"Member_Account":"u1","Result":1}]`, added},
		{"contradictory", `[{"Member_Account":"u0","Result":1},{"Member_Account":"u0","Result":0},
			{"Member_Account":"u1","Result":1}]`, "failed code 0 map[added:1 not sent:1]"},
		{"one is missing", `[{"Member_Account":"u0","Result":1}]`, "failed code 0 map[added:1 not sent:1]"},
		{"all are missing", `[]`, failed},
		{"no list", `null`, failed},
		{"a wrong list", `{}`, failed},
		{"no results", `[{"Member_Account":"u0"},{"Member_Account":"u1"}]`, failed},
		{"an unknown result", `[{"Member_Account":"u0","Result":3},{"Member_Account":"u1","Result":-1}]`, failed},
		{"a huge result", `[{"Member_Account":"u0","Result":1e99},{"Member_Account":"u1","Result":1}]`, failed},
		{"a result of more than 64 bits", `[{"Member_Account":"u0","Result":18446744073709551617},
			{"Member_Account":"u1","Result":1}]`, failed},
		{"a result as text", `[{"Member_Account":"u0","Result":"1"},{"Member_Account":"u1","Result":1}]`, failed},
		{"other names", `[{"member_account":"u0","result":1},{"member_account":"u1","result":1}]`, failed},
		{"entries that are no objects", `["u0","u1"]`, failed},
		{"too long", `["` + strings.Repeat("x", 10<<10) + `"]`, failed},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newMemberService(1)
				c := newClient(t, onBody(s, func(command, _ string) *http.Response {
					if command != memberCommand {
						return nil
					}
					return respond(200, `{"ActionStatus":"OK","ErrorCode":0,"MemberList":`+test.list+`}`)
				}))
				r := c.ImportMembers(t.Context(), "g0", memberList(2)).Wait()
				if got := shortMembers(r); got != test.want {
					t.Errorf("got %s %q, want %s", got, r.Message, test.want)
				}
				if wantAttempts := map[bool]int{true: 1, false: 5}[r.End == tim.Imported]; r.Attempts < wantAttempts ||
					r.Attempts > wantAttempts+1 { // one more after responses that are too long, as in an outage
					t.Errorf("got %d attempts, want %d", r.Attempts, wantAttempts)
				}
			})
		})
	}
}

// The second response has what the first one lacks.
func TestImportMembers_MissingResultIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bodies []string
		c := newClient(t, onBody(newMemberService(1), func(_, body string) *http.Response {
			bodies = append(bodies, body)
			if len(bodies) > 1 {
				return nil
			}
			return respond(200, `{"ActionStatus":"OK","ErrorCode":0,"MemberList":[{"Member_Account":"u1","Result":2}]}`)
		}))
		r := c.ImportMembers(t.Context(), "g0", memberList(3)).Wait()
		if got, want := shortMembers(r), "imported code 0 map[added:2 already:1]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if len(bodies) != 2 || strings.Contains(bodies[1], `"u1"`) {
			t.Errorf("got %q, want u1 not sent again", bodies)
		}
	})
}

// A firewall refuses some requests, or all of import_group_member.
func TestImportMembers_Firewall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemberService(3)
		s.Faults = onMembers(func(r emulator.Request) emulator.Fault {
			if r.GroupID == "g1" {
				return emulator.Forbidden
			}
			return emulator.None
		})
		c := newClient(t, s)
		for i, want := range []string{
			"imported code 0 map[added:20]", "failed code 0 map[not sent:20]", "imported code 0 map[added:20]",
		} {
			if r := c.ImportMembers(t.Context(), fmt.Sprint("g", i), memberList(20)).Wait(); shortMembers(r) != want {
				t.Errorf("got %s %q, want %s", shortMembers(r), r.Message, want)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := newMemberService(100)
		s.Faults = onMembers(func(emulator.Request) emulator.Fault { return emulator.Forbidden })
		c := newClient(t, s)
		for i := range 100 {
			c.ImportMembers(t.Context(), fmt.Sprint("g", i), memberList(20)).Wait()
		}
		if got := s.Stats().Commands[memberCommand].Requests; c.Fatal() == nil || got > 25 {
			t.Errorf("got fatal error %v after %d requests, want one after 20", c.Fatal(), got)
		}
	})
}

func TestImportMembers_Reasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemberService(20)
		s.OnlyAccounts = true
		list := memberList(60)
		for _, m := range list[:30] {
			s.AddAccounts(m.Account)
		}
		list[0].JoinTime = 999 // before the group was created: the service gives no reason
		c := newClient(t, s)
		calls := make([]*tim.MembersCall, 20)
		for i := range calls {
			calls[i] = c.ImportMembers(t.Context(), fmt.Sprint("g", i), list)
		}
		for _, call := range calls {
			r := call.Wait()
			if got, want := shortMembers(r), "imported code 0 map[added:29 no account:30 not added:1]"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if r.Members[0] != tim.MemberNotAdded || r.Members[59] != tim.MemberNoAccount {
				t.Errorf("got %v", r.Members)
			}
		}
		if got := s.Stats().Commands["account_check"].Requests; got > 20 {
			t.Errorf("got %d requests of account_check for 620 members, want them gathered", got)
		}
	})
	synctest.Test(t, func(t *testing.T) { // account_check is rejected
		s := newMemberService(1)
		s.OnlyAccounts = true
		s.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
			if r.Command == "account_check" {
				return 10004
			}
			return emulator.None
		}}
		r := newClient(t, s).ImportMembers(t.Context(), "g0", memberList(3)).Wait()
		if got, want := shortMembers(r), "imported code 0 map[not added:3]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// account_check is disabled for the app: the run continues, and these members have no reason. With ImportAccounts the
// error is fatal, because nothing would be right without it.
func TestImportMembers_CheckIsRefused(t *testing.T) {
	for _, code := range []emulator.Fault{10003, 10026, 60017, 70403} {
		for _, importAccounts := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := newMemberService(1)
				s.OnlyAccounts = true
				s.AddAccounts("u0")
				s.Faults = emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
					if r.Command == "account_check" {
						return code
					}
					return emulator.None
				}}
				c := newClient(t, s, func(cfg *tim.Config) { cfg.ImportAccounts = importAccounts })
				r := c.ImportMembers(t.Context(), "g0", memberList(30)).Wait()
				if (c.Fatal() != nil) != importAccounts {
					t.Errorf("code %d, ImportAccounts %v: got fatal error %v", code, importAccounts, c.Fatal())
				}
				want := "imported code 0 map[added:1 not added:29]"
				if got := shortMembers(r); !importAccounts && (got != want || !strings.Contains(r.NoCheck, fmt.Sprint(int(code)))) {
					t.Errorf("code %d: got %s %q, want %s", code, got, r.NoCheck, want)
				}
			})
		}
	}
}

// Before the service has accepted any request, a code that is about the caller is fatal, also of account_check.
func TestCheckAccounts_FirstRequestIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Faults = always(70403)
		c := newClient(t, s)
		if _, err := c.CheckAccounts(t.Context(), []string{"a"}); err == nil || c.Fatal() == nil {
			t.Errorf("got %v and fatal error %v, want one", err, c.Fatal())
		}
	})
}

// A Private group has no administrators: once the service has not added an Admin, Admins are sent as members.
func TestImportMembers_AdminsOfPrivateGroup(t *testing.T) {
	for _, code := range []int{0, 10004, 10007} { // 0: Result 0
		synctest.Test(t, func(t *testing.T) {
			s := newService()
			s.Put(emulator.Group{GroupID: "private", Type: "Private", Name: "n", Owner: "o", CreateTime: 1000})
			s.Put(emulator.Group{GroupID: "public", Type: "Public", Name: "n", Owner: "o", CreateTime: 1000})
			c := newClient(t, onBody(s, func(command, body string) *http.Response {
				isAdmin := strings.Contains(body, `"private"`) && strings.Contains(body, `"Admin"`)
				if code != 0 && command == memberCommand && isAdmin {
					return respond(200, fmt.Sprintf(`{"ActionStatus":"FAIL","ErrorCode":%d,"ErrorInfo":"bad"}`, code))
				}
				return nil
			}))
			list := memberList(50) // u0, u10, … are Admins
			r := c.ImportMembers(t.Context(), "private", list).Wait()
			const want = "imported code 0 map[added:50]"
			if got := shortMembers(r); got != want || len(r.Demoted) != 5 || !r.Demoted[10] {
				t.Errorf("code %d: got %s %q %v, want %s with 5 demoted", code, got, r.Message, r.Demoted, want)
			}
			g, _ := s.Group("private")
			if len(g.Members) != 50 || slices.ContainsFunc(g.Members, func(m emulator.Member) bool { return m.Role != "" }) {
				t.Errorf("code %d: got %d members, want 50 without a role", code, len(g.Members))
			}
			r = c.ImportMembers(t.Context(), "public", list).Wait()
			if got := shortMembers(r); got != "imported code 0 map[added:50]" || r.Demoted != nil {
				t.Errorf("code %d: another type: got %s %v", code, got, r.Demoted)
			}
			checkMembers(t, s, "public", list)
		})
	}
}

// The limit of members in a call that the client has learned (10005) holds for the rest of its life.
func TestImportMembers_LearnedLimitHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemberService(20)
		s.MembersPerCall = 5
		c := newClient(t, s)
		for i := range 20 {
			if r := c.ImportMembers(t.Context(), fmt.Sprint("g", i), memberList(40)).Wait(); r.End != tim.Imported {
				t.Errorf("got %s", shortMembers(r))
			}
			if got := c.MembersPerCall(); got != 5 {
				t.Fatalf("after %d lists: got %d members a call, want 5", i+1, got)
			}
			time.Sleep(time.Hour)
		}
	})
}

func TestCheckAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.OnlyAccounts = true
		var ids, want []string
		for i := range 2500 {
			id := fmt.Sprint("u", i%1250)
			ids = append(ids, id)
			if i%3 == 0 && i < 1250 {
				want = append(want, id)
			} else if i < 1250 {
				s.AddAccounts(id)
			}
		}
		s.Faults = emulator.Faults{DropAfter: 0.1, Throttle: 0.05}
		c := newClient(t, s, maxAttempts(10))
		got, err := c.CheckAccounts(t.Context(), ids)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %d missing accounts, %v, want %d", len(got), err, len(want))
		}
		if got, err := c.CheckAccounts(t.Context(), nil); got != nil || err != nil {
			t.Errorf("got %v, %v for no accounts", got, err)
		}
		if n := s.Stats().Commands["account_check"].BusiestSecond; n > testRate/2 {
			t.Errorf("got %d requests in the busiest second, want at most %d", n, testRate/2)
		}
	})
	for _, test := range []struct{ name, items string }{
		{"missing", `[]`},
		{"an error", `[{"UserID":"a","ResultCode":70169,"AccountStatus":"NotImported"}]`},
		{"no status", `[{"UserID":"a","ResultCode":0}]`},
		{"contradictory", `[{"UserID":"a","AccountStatus":"Imported"},{"UserID":"a","AccountStatus":"NotImported"}]`},
		{"another account", `[{"UserID":"b","AccountStatus":"NotImported"}]`},
		{"unreadable", `[1]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t, transport(func(*http.Request) (*http.Response, error) {
				return respond(200, `{"ActionStatus":"OK","ErrorCode":0,"ResultItem":`+test.items+`}`), nil
			}))
			if got, err := c.CheckAccounts(t.Context(), []string{"a"}); got != nil || err == nil {
				t.Errorf("got %v, %v, want an error", got, err)
			}
		})
	}
}

func FuzzMembersResponse(f *testing.F) {
	for _, body := range []string{
		`{"ActionStatus":"OK","ErrorCode":0,"MemberList":[{"Member_Account":"u0","Result":1},{"Member_Account":"u1",` +
			`"Result":0}]}`,
		`{"ActionStatus":"OK","ErrorCode":0,"MemberList":[{"Member_Account":"u0","Result":2}]}`,
		`{"ActionStatus":"OK","ErrorCode":0,"MemberList":[{"Member_Account":"u0","Result":1e99}]}`,
		`{"ActionStatus":"OK","ErrorCode":0,"MemberList":[{"Member_Account":"\ud800","Result":1}]}`,
		`{"ActionStatus":"OK","ErrorCode":0,"ResultItem":[{"UserID":"u1","AccountStatus":"NotImported"}]}`,
		`{"ActionStatus":"FAIL","ErrorCode":10005}`, `{"ActionStatus":"FAIL","ErrorCode":10004}`,
		`{"ActionStatus":"FAIL","ErrorCode":10013}`, `[]`, ``, `{"`,
	} {
		f.Add(200, []byte(body))
	}
	f.Add(403, []byte(``))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			c := newClient(t, transport(func(*http.Request) (*http.Response, error) {
				return respond(status, string(body)), nil
			}), maxAttempts(2))
			r := c.ImportMembers(ctx, "g0", memberList(3)).Wait()
			if len(r.Members) != 3 || len(r.Message) > 1024 || strings.ContainsAny(r.Message, "\r\n\x00") {
				t.Errorf("got %+v of %d %q", r, status, body)
			}
			for i, m := range r.Members {
				if (m == tim.MemberAdded || m == tim.MemberNotAdded) && !says(status, body, fmt.Sprint("u", i)) {
					t.Errorf("member %d is %s of %d %q", i, memberNames[m], status, body)
				}
				if (m == tim.MemberNotSent) == (r.End == tim.Imported) && m == tim.MemberNotSent {
					t.Errorf("got %s of %d %q", shortMembers(r), status, body)
				}
			}
			if r.Message == "" && r.End != tim.Imported {
				t.Errorf("got %s without a message", shortMembers(r))
			}
		})
	})
}

// says reads with another package than the client whether a response has a result for an account.
func says(status int, body []byte, account string) bool {
	var re struct {
		MemberList []struct {
			Account string `json:"Member_Account"`
		} `json:"MemberList"`
	}
	if !saysOK(status, body) || json.Unmarshal(body, &re) != nil {
		return false
	}
	for _, m := range re.MemberList {
		if m.Account == account {
			return true
		}
	}
	return false
}
