package httpapi_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/results"
)

// withMembers returns a record of a group with these members, as JSON.
func withMembers(fields string, members ...string) string {
	return `{"Type":"Public","Name":"N",` + fields + `"MemberList":[` + strings.Join(members, ",") + `]}`
}

func account(name string) string { return fmt.Sprintf(`{"Member_Account":%q}`, name) }

// The group's own outcome does not depend on its members, whose results the response has.
func TestMembers_Outcomes(t *testing.T) {
	t.Parallel()
	missing := func(account, rule, err string) map[string]any {
		m := map[string]any{"Member_Account": account, "error": err}
		if rule != "" {
			m["rule"] = rule
		}
		return m
	}
	const noAccount = "the account does not exist: import the account first"
	const again = "members are missing: the same request again adds those that can be added by then"
	const twice = "the request has neither a GroupId nor an Idempotency-Key: sending it again creates a second group; "
	const allOfU3, withNick = `"GroupId":"all","Owner_Account":"u3",`, `{"Member_Account":"u2","Nick":"x"}`
	const admin = `{"Type":"Private","Name":"P","GroupId":"p","MemberList":[{"Member_Account":"u1","Role":"Admin"}]}`
	invalid := map[string]any{"type": "urn:groupimport:invalid"}
	rows := []struct {
		about, body string
		status      int
		want        map[string]any // members of the body
	}{
		{"all are added", withMembers(allOfU3, account("u1"), account("u2"), account("u3")), 201, map[string]any{
			"status": "imported", "members": map[string]any{"added": 3.0}, "note": nil,
		}},
		{"all were members before", withMembers(allOfU3, account("u1"), account("u2")), 200, map[string]any{
			"status": "exists", "members": map[string]any{"already": 2.0},
		}},
		{"some are missing", withMembers(`"GroupId":"some",`, account("gone"), account("u1"), withNick), 201, map[string]any{
			"status": "imported", "retry": "safe", "note": again, "members": map[string]any{
				"added": 1.0, "failed": 2.0, "noAccount": 1.0, "invalid": 1.0, "missing": []any{
					missing("u2", "unknown", `unknown field "Nick" in an entry of MemberList`), missing("gone", "", noAccount),
				},
			},
		}},
		{"the others break a rule", withMembers(`"GroupId":"rule",`, `{}`, account("u1")), 201, map[string]any{
			"note": nil, "members": map[string]any{"added": 1.0, "failed": 1.0, "invalid": 1.0, "missing": []any{
				missing("", "missing", "Member_Account is missing or empty"),
			}},
		}},
		{"the service assigns the ID", withMembers("", account("u1"), account("gone")), 201, map[string]any{
			"retry": "unsafe",
			"note":  twice + "members are missing: send each as a record with this GroupId and its Member_Account",
		}},
		{"Admins of a Private group", admin, 201, map[string]any{
			"members": map[string]any{"added": 1.0, "demoted": 1.0},
		}},
		{"no list", `{"Type":"Public","Name":"N","GroupId":"none"}`, 201, map[string]any{"members": nil}},
		{"an empty list", withMembers(`"GroupId":"empty",`), 201, map[string]any{"members": nil}},
		{"a list that is none", `{"Type":"Public","Name":"N","GroupId":"x","MemberList":"u1"}`, 422, invalid},
		{"a member", `{"GroupId":"some","Member_Account":"u2","Role":"Admin"}`, 201, map[string]any{
			"status": "imported", "GroupId": "some", "Member_Account": "u2", "retry": "safe", "members": nil,
		}},
		{"a member again", `{"GroupId":"some","Member_Account":"u2","Role":"Admin"}`, 200, map[string]any{
			"status": "exists",
		}},
		{"a member without an account", `{"GroupId":"some","Member_Account":"gone"}`, 422, map[string]any{
			"type": "urn:groupimport:not-added", "detail": noAccount, "outcome": "failed", "retry": "safe",
		}},
		{"a member of no group", `{"GroupId":"nowhere","Member_Account":"u1"}`, 422, map[string]any{
			"type": "urn:groupimport:not-added", "code": 10010.0, "outcome": "failed", "retry": "safe",
		}},
		{"a member that breaks a rule", `{"GroupId":"some","Member_Account":"u1","Name":"x"}`, 422, invalid},
		{"a member without a GroupId", `{"Member_Account":"u1"}`, 422, invalid},
	}
	over(t, func(t *testing.T, w *world, c *caller) {
		w.service.OnlyAccounts = true
		w.service.AddAccounts("u1", "u2", "u3")
		for _, row := range rows {
			r := c.post(row.body)
			if r.status != row.status {
				t.Errorf("%s: got %d, want %d: %s", row.about, r.status, row.status, r.body)
			}
			for name, want := range row.want {
				if got := r.member(name); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %s: got %v, want %v", row.about, name, got, want)
				}
			}
		}
		if g, _ := w.service.Group("some"); len(g.Members) != 2 || g.Members[1].Role != "Admin" {
			t.Errorf("got %+v, want u1, and u2 as Admin", g.Members)
		}
	})
}

// With a GroupId, a response that members are missing is not kept: a repetition adds them. Without a GroupId it is, or
// a repetition would create a second group.
func TestMembers_IdempotencyKey(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		w.service.OnlyAccounts = true
		w.service.AddAccounts("u1")
		check := func(r reply, status int, isReplayed bool, members map[string]any) {
			t.Helper()
			if replayed := r.Header.Get("Idempotency-Replayed") != ""; r.status != status || replayed != isReplayed {
				t.Errorf("got %d, replayed %v, want %d, %v: %s", r.status, replayed, status, isReplayed, r.body)
			}
			got, _ := r.member("members").(map[string]any)
			delete(got, "missing")
			if !reflect.DeepEqual(got, members) {
				t.Errorf("got %v, want %v", got, members)
			}
		}
		withID := withMembers(`"GroupId":"g",`, account("u1"), account("u2"))
		withoutID := withMembers("", account("u1"), account("u2"))
		lacking := map[string]any{"added": 1.0, "failed": 1.0, "noAccount": 1.0}
		check(c.post(withID, "Idempotency-Key", "k1"), 201, false, lacking)
		check(c.post(withoutID, "Idempotency-Key", "k2"), 201, false, lacking)
		w.service.AddAccounts("u2")
		whole := map[string]any{"added": 1.0, "already": 1.0}
		check(c.post(withID, "Idempotency-Key", "k1"), 200, false, whole)
		check(c.post(withID, "Idempotency-Key", "k1"), 200, true, whole)
		check(c.post(withoutID, "Idempotency-Key", "k2"), 201, true, lacking)
		if got := w.service.Stats().Created; got != 2 {
			t.Errorf("got %d groups, want 2", got)
		}
		member := `{"GroupId":"g","Member_Account":"u3"}`
		check(c.post(member, "Idempotency-Key", "k3"), 422, false, nil)
		w.service.AddAccounts("u3")
		check(c.post(member, "Idempotency-Key", "k3"), 201, false, nil)
		check(c.post(member, "Idempotency-Key", "k3"), 201, true, nil)
	})
}

// The response arrives in time: unsent members are pending, and the same request adds them when it is repeated.
func TestMembers_TimeUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.config.MemberRate, w.config.MembersPerCall = 2, 1
		c := w.caller(direct)
		var all []string
		for n := range 60 {
			all = append(all, account(fmt.Sprint("u", n)))
		}
		body := withMembers(`"GroupId":"g",`, all...)
		begun := time.Now()
		r := c.post(body, "Idempotency-Key", "k")
		members, _ := r.member("members").(map[string]any)
		added, _ := members["added"].(float64)
		pending, _ := members["pending"].(float64)
		isRest := added >= 35 && pending != 0 && added+pending == 60
		if took := time.Since(begun); r.status != 201 || took > 26*time.Second || !isRest {
			t.Errorf("got %d after %v, %v added and %v pending, want 201 and the rest of 60 pending: %s",
				r.status, took, added, pending, r.body)
		}
		r = c.post(body, "Idempotency-Key", "k")
		members, _ = r.member("members").(map[string]any)
		if already, _ := members["already"].(float64); r.status != 200 || already < added {
			t.Errorf("got %d, %v, want the first %v as members before", r.status, members, added)
		}
	})
}

func TestMembers_ServiceFails(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about  string
		faults emulator.Faults
		want   int
		kind   string
	}{
		{"throttled", emulator.Faults{Throttle: 1}, 429, "urn:groupimport:rate"},
		{"an internal error", emulator.Faults{Internal: 1}, 502, "urn:groupimport:failed"},
		{"no response", emulator.Faults{DropAfter: 1}, 502, "urn:groupimport:halt"},
	} {
		t.Run(row.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				c := w.caller(direct)
				c.post(one)
				w.service.SetFaults(row.faults)
				r := c.post(`{"GroupId":"g1","Member_Account":"u1"}`, "Idempotency-Key", "k")
				if r.status != row.want || r.member("type") != row.kind || r.member("retry") != "safe" {
					t.Errorf("got %d, want %d, %s: %s", r.status, row.want, row.kind, r.body)
				}
				w.service.SetFaults(emulator.Faults{})
				time.Sleep(time.Minute)
				if r := c.post(`{"GroupId":"g1","Member_Account":"u1"}`, "Idempotency-Key", "k"); r.status > 201 {
					t.Errorf("got %d afterwards, want the member: %s", r.status, r.body)
				}
			})
		})
	}
}

// A response names some of many members, so that it can be kept.
func TestMembers_NamesAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all []string
	for n := range 3000 {
		all = append(all, account(strings.Repeat("x", 33)[:n%2*33])+"")
	}
	r := w.caller(direct).post(withMembers(`"GroupId":"g",`, all[:1200]...), "Idempotency-Key", "k")
	members, _ := r.member("members").(map[string]any)
	missing, _ := members["missing"].([]any)
	failed, _ := members["failed"].(float64)
	more, _ := members["more"].(float64)
	if r.status != 201 || len(missing) != 1000 || failed != 1000+more || len(r.body) > 1<<19 {
		t.Errorf("got %d, %d named of %v and %v more, %d bytes, want 1000 named",
			r.status, len(missing), failed, more, len(r.body))
	}
}

func TestMembers_LeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.NoMembers = true
	c := w.caller(direct)
	if r := c.post(withMembers(`"GroupId":"g",`, account("u1"))); r.status != 201 || r.member("members") != nil {
		t.Errorf("got %d, want 201 without members: %s", r.status, r.body)
	}
	r := c.post(`{"GroupId":"g","Member_Account":"u1"}`)
	if r.status != 422 || !strings.Contains(r.body, "MEMBERS is false") {
		t.Errorf("got %d, want 422: %s", r.status, r.body)
	}
	if g, _ := w.service.Group("g"); len(g.Members) != 0 {
		t.Errorf("got members %v, want none", g.Members)
	}
}

// The status of an import counts members, as its description says.
func TestImports_Members(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.service.OnlyAccounts = true
	w.service.AddAccounts("u1")
	const key = "exports/a.jsonl"
	put(t, w, key, withMembers(`"GroupId":"g",`, account("u1"), account("u2")), `{"GroupId":"g","Member_Account":"u1"}`)
	if _, err := w.importer().Import(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	c := w.caller(direct)
	im := look(c, key)
	n := im.Counts.Members
	if im.State != results.Finished || n.Added != 1 || n.NoAccount != 1 ||
		im.Counts.MemberRecords != 1 || im.Counts.Incomplete != 1 {
		t.Errorf("got %+v, want one member added and one missing", im.Counts)
	}
	if r := c.get("/imports/"+key, "Accept", "text/html"); !strings.Contains(r.body, "1 member missing") {
		t.Errorf("the page does not say that a member is missing: %d", r.status)
	}
}
