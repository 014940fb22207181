package group_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/group"
)

// withList returns a valid record, created at 1448357837 by leckie, with the entries of a MemberList.
func withList(entries string) string {
	return with(`"CreateTime":1448357837,"Owner_Account":"leckie","MemberList":[` + entries + `]`)
}

// shown returns the members as text: in wire format, or the problem.
func shown(r *group.Record) string {
	var parts []string
	for i := range r.Members {
		m := &r.Members[i]
		if p := m.Problem; p != nil {
			parts = append(parts, fmt.Sprintf("%s: %s %s: %s", m.Account, p.Field, p.Rule, p.Message))
			continue
		}
		parts = append(parts, string(m.AppendJSON(nil)))
	}
	return strings.Join(parts, " | ")
}

func TestDecoder_MemberList(t *testing.T) {
	const admin = `{"Member_Account":"u1","Role":"Admin","JoinTime":1448357838,"UnreadMsgNum":5}`
	for name, row := range map[string]struct{ entries, want string }{
		"all fields":       {admin, admin},
		"only the account": {`{"Member_Account":"u1"}`, `{"Member_Account":"u1"}`},
		"zero values": {
			`{"Member_Account":"u1","Role":"Member","JoinTime":0,"UnreadMsgNum":0}`, `{"Member_Account":"u1"}`,
		},
		"null and empty count as absent": {
			`{"Member_Account":"u1","Role":"","JoinTime":null,"UnreadMsgNum":null},{"Member_Account":"u2","Role":null}`,
			`{"Member_Account":"u1"} | {"Member_Account":"u2"}`,
		},
		"escapes": {`{"Member\u005fAccount":"u\u0031"}`, `{"Member_Account":"u1"}`},
		"joined with the group": {
			`{"Member_Account":"u1","JoinTime":1448357837}`, `{"Member_Account":"u1","JoinTime":1448357837}`,
		},
		"twice, once with an escape": {`{"Member_Account":"u1"},{"Member_Account":"\u00751"}`, `{"Member_Account":"u1"}`},
		"twice, the first counts":    {`{"Member_Account":"u1"},` + admin, `{"Member_Account":"u1"}`},
		"twice, the valid one counts": {
			`{"Member_Account":"u1","Role":"Boss"},` + admin + `,{"Member_Account":"u1"}`, admin,
		},
		"no account": {
			`{},{"Role":"Admin"},{"Member_Account":""}`, strings.TrimSuffix(strings.Repeat(
				": Member_Account missing: Member_Account is missing or empty | ", 3), " | "),
		},
		"an account that is a number": {
			`{"Member_Account":7}`, ": Member_Account kind: Member_Account must be a string, not the number 7",
		},
		"an account that is too long": {
			`{"Member_Account":"` + long(33) + `"}`,
			long(33) + ": Member_Account length: Member_Account is 33 bytes, limit 32",
		},
		"an account that is much too long": {
			`{"Member_Account":"` + long(100) + `"}`,
			long(64) + "…: Member_Account length: Member_Account is 100 bytes, limit 32",
		},
		"an account that is not ASCII": {
			`{"Member_Account":"jörg"}`,
			`jörg: Member_Account characters: Member_Account must be printable ASCII, is not at byte 1: "jörg"`,
		},
		"an account that a spreadsheet has rounded": {
			`{"Member_Account":"1.5E+11"}`, "1.5E+11: Member_Account value: Member_Account is 1.5E+11: a spreadsheet has " +
				"rounded this number: format the column as text, enter the original values and export again",
		},
		"an account that is not UTF-8": {
			"{\"Member_Account\":\"\xff\"}",
			`: Member_Account utf-8: Member_Account is not valid UTF-8 (or contains a lone surrogate): "\"\xff\""`,
		},
		"another role": {
			`{"Member_Account":"u1","Role":"admin"}`,
			`u1: Role value: Role "admin" is not one of Admin, Member, did you mean "Admin"?`,
		},
		"the role of an owner": {
			`{"Member_Account":"u1","Role":"Owner"}`,
			`u1: Role value: Role "Owner" is not one of Admin, Member: the owner is Owner_Account of the group`,
		},
		"a role that is a number": {
			`{"Member_Account":"u1","Role":1}`, "u1: Role kind: Role must be a string, not the number 1",
		},
		"joined before the group": {
			`{"Member_Account":"u1","JoinTime":1448357836}`,
			"u1: JoinTime range: JoinTime 1448357836 is before CreateTime 1448357837 of the group",
		},
		"joined in milliseconds": {
			`{"Member_Account":"u1","JoinTime":1448357838000}`, "u1: JoinTime range: JoinTime is 1448357838000, must be " +
				"0 to 4294967295: this looks like milliseconds, use seconds",
		},
		"negative unread": {
			`{"Member_Account":"u1","UnreadMsgNum":-1}`,
			"u1: UnreadMsgNum range: UnreadMsgNum is -1, must be 0 to 4294967295",
		},
		"an unknown field": {
			`{"Member_Account":"u1","role":"Admin"}`,
			`u1: role unknown: unknown field "role" in an entry of MemberList, did you mean "Role"?`,
		},
		"a field of another call": {
			`{"NameCard":{"a":[1]},"Member_Account":"u1"}`, `u1: NameCard unknown: unknown field "NameCard" in an entry of ` +
				"MemberList: import_group_member does not accept it, set it with modify_group_member_info after the import",
		},
		"a field's name that is not UTF-8": {
			"{\"Member_Account\":\"u1\",\"x\xff\":1}",
			`u1: MemberList utf-8: a field's name is not valid UTF-8: "x` + "\uFFFD" + `"`,
		},
		"a field twice": {
			`{"Member_Account":"u1","Member_Account":"u2"}`, "u1: Member_Account twice: duplicate field Member_Account",
		},
		"the first problem counts": {
			`{"Member_Account":"u1","Role":1,"JoinTime":-1}`, "u1: Role kind: Role must be a string, not the number 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := decode(t, withList(row.entries))
			if err != nil {
				t.Fatal(err)
			}
			if got := shown(&r); got != row.want || r.HasOwner || r.Demoted != 0 || r.IsMember {
				t.Errorf("got  %s\nwant %s\n%+v", got, row.want, r)
			}
			if got := string(r.AppendJSON(nil)); strings.Contains(got, "Member") {
				t.Errorf("got %s, want no members", got)
			}
		})
	}
}

func TestDecoder_InvalidMemberList(t *testing.T) {
	for name, row := range map[string]struct{ raw, want string }{
		"no array": {
			with(`"MemberList":{"a":1}`), "MemberList must be an array of objects with Member_Account, not an object",
		},
		"no objects": {
			withList(`"u1",{"Member_Account":"u2"},7`), `MemberList[0] must be an object with Member_Account, not the string ` +
				`"u1"; MemberList[2] must be an object with Member_Account, not the number 7`,
		},
		"twice":     {with(`"MemberList":[],"MemberList":null`), "duplicate field MemberList"},
		"cut short": {`{"MemberList":[{"Member_Account":"u1"`, "not a JSON object: unexpected end after 37 bytes"},
		"not JSON": {
			`{"MemberList":[{"Member_Account":u}]}`,
			"not a JSON object: invalid character 'u' at start of value at byte 33",
		},
		"too many": {
			withList("{}" + strings.Repeat(",{}", 50_000)),
			"MemberList has 50001 entries, limit 50000: write member records instead",
		},
		"outside": {
			with(`"Role":"Admin"`),
			"Role is a field of members, not of groups: a member record needs Member_Account",
		},
		"misspelled": {
			with(`"members":[]`), `unknown field "members": write the members as "MemberList": [{"Member_Account": …}]`,
		},
	} {
		if _, err := decode(t, row.raw); err == nil || err.Error() != row.want {
			t.Errorf("%s: got  %v\nwant %s", name, err, row.want)
		}
	}
	for name, raw := range map[string]string{
		"null": with(`"MemberList":null,"Member_Account":null,"Role":"","JoinTime":null`), "empty": with(`"MemberList":[]`),
	} {
		if r, err := decode(t, raw); err != nil || r.Members != nil {
			t.Errorf("%s: got %+v, %v, want no members", name, r, err)
		}
	}
}

func TestDecoder_MemberListOfGroup(t *testing.T) {
	const list = `"MemberList":[{"Member_Account":"u1","Role":"Admin"},{"Member_Account":"leckie","Role":"Owner",` +
		`"JoinTime":5},` +
		`{"Member_Account":"u1","Role":"Admin"},{"Member_Account":"u2"},{"Member_Account":"é","Role":"Admin"}]`
	const bad = `é: Member_Account characters: Member_Account must be printable ASCII, is not at byte 0: "é"`
	for name, row := range map[string]struct {
		head, want string
		owner      bool
		demoted    int
	}{
		"an owner": {
			`"Type":"Public","Owner_Account":"leckie"`,
			`{"Member_Account":"u1","Role":"Admin"} | {"Member_Account":"u2"} | ` + bad, true, 0,
		},
		"no owner": {
			`"Type":"Public"`, `{"Member_Account":"u1","Role":"Admin"} | leckie: Role value: Role "Owner" is not one of ` +
				`Admin, Member: the owner is Owner_Account of the group | {"Member_Account":"u2"} | ` + bad, false, 0,
		},
		"a Private group": {
			`"Type":"Work","Owner_Account":"leckie"`, `{"Member_Account":"u1"} | {"Member_Account":"u2"} | ` + bad, true, 1,
		},
	} {
		for _, raw := range []string{`{"Name":"a",` + row.head + `,` + list + `}`, `{` + list + `,"Name":"a",` + row.head +
			`}`} {
			r, err := decode(t, raw)
			if got := shown(&r); err != nil || got != row.want || r.HasOwner != row.owner || r.Demoted != row.demoted {
				t.Errorf("%s: got %+v %s, %v\nwant %s", name, r, got, err, row.want)
			}
		}
	}
	r, err := decode(t, with(`"Owner_Account":"u1","MemberList":[{"Member_Account":"u1"}]`))
	if err != nil || r.Members != nil || !r.HasOwner {
		t.Errorf("got %+v, %v, want only an owner", r, err)
	}
	r, err = decode(t, with(`"MemberList":[{"Member_Account":"u1","JoinTime":1448357837}]`))
	const young = "u1: JoinTime range: JoinTime needs CreateTime of the group: without it the group is as old as the " +
		"import, " +
		"and younger than its members"
	if got := shown(&r); err != nil || got != young || r.Members[0].JoinTime != 1448357837 {
		t.Errorf("got %s, %v, want %s", got, err, young)
	}
}

func TestDecoder_FutureJoinTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)))
		d := group.NewDecoder(group.DocumentLimits)
		const want = "JoinTime 1893542401 is 2030-01-02 00:00:01 UTC, later than now (2030-01-01 00:00:00 UTC): " +
			"use Unix time in seconds"
		r,
			err := d.Decode([]byte(withList(`{"Member_Account":"u1","JoinTime":1893542401},{"Member_Account":"u2",` +
			`"JoinTime":1893456000}`)))
		if err != nil || r.Members[0].Problem == nil || r.Members[0].Problem.Message != want || r.Members[1].Problem != nil {
			t.Errorf("got %s, %v, want %s", shown(&r), err, want)
		}
		_, err = d.Decode([]byte(`{"GroupId":"g","Member_Account":"u1","JoinTime":1893542401}`))
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestDecoder_MemberRecord(t *testing.T) {
	const full = `{"GroupId":"g","Member_Account":"u1","Role":"Admin","JoinTime":1448357837,"UnreadMsgNum":2}`
	for raw, want := range map[string]string{
		full: full,
		`{"UnreadMsgNum":2,"JoinTime":1448357837,"Role":"Admin","Member_Account":"u1","GroupId":"g"}`:                  full,
		`{"GroupId":"@TGS#2J4SZEAEL","Member_Account":"u1","Role":"Member","Name":null,"Type":null,"MemberList":null}`: `{"GroupId":"@TGS#2J4SZEAEL","Member_Account":"u1"}`,

		`{"GroupId":"g","Member_Account":""}`:   "Member_Account is missing or empty",
		`{"GroupId":"g","Member_Account":null}`: "Member_Account is missing or empty",
		`{"Member_Account":"u1"}`: "GroupId is missing or empty: a member record needs " +
			"that of its group",
		`{"GroupId":7,"Member_Account":"u1"}`:                  "GroupId must be a string, not the number 7",
		`{"GroupId":"` + long(49) + `","Member_Account":"u1"}`: "GroupId is 49 bytes, limit 48",
		`{"GroupId":"g","Member_Account":7}`:                   "Member_Account must be a string, not the number 7",
		`{"GroupId":"g","Member_Account":"` + long(33) + `"}`:  "Member_Account is 33 bytes, limit 32",
		`{"GroupId":"g","Member_Account":"u","Role":"Owner"}`: `Role "Owner" is not one of Admin, Member: the owner is ` +
			`Owner_Account of the group`,
		`{"GroupId":"g","Member_Account":"u","JoinTime":"x"}`: `JoinTime must be a number, not the string "x": use ` +
			`Unix time in seconds, such as 1448357837; in a spreadsheet, =(A2-DATE(1970,1,1))*86400 converts a UTC date in A2`,
		`{"GroupId":"g","Member_Account":"u","JoinTime":20240131}`: "JoinTime is 20240131, a date without separators: " +
			"use Unix time in seconds, such as 1448357837; in a spreadsheet, =(A2-DATE(1970,1,1))*86400 converts a UTC date " +
			"in A2",
		`{"GroupId":"g","Member_Account":"u","JoinTime":42332}`: "JoinTime is 42332, a spreadsheet's date serial number: " +
			"use Unix time in seconds, such as 1448357837; in a spreadsheet, =(A2-DATE(1970,1,1))*86400 converts a UTC date " +
			"in A2",
		`{"GroupId":"g","Member_Account":"u","Rolle":"Admin"}`: `unknown field "Rolle", did you mean "Role"?`,
		`{"GroupId":"g","Member_Account":"u","NameCard":"x"}`: `unknown field "NameCard": import_group_member does not ` +
			`accept it, set it with modify_group_member_info after the import`,
		`{"Name":"a","Type":"Public","Member_Account":"u"}`: "Type, Name: no field of a member record. A record with " +
			"Member_Account is one member: write its group as a record of its own; GroupId is missing or empty: a member " +
			"record needs that of its group",
		`{"GroupId":"g","Member_Account":"u","MemberList":[{}]}`: "MemberList: no field of a member record. A record with " +
			"Member_Account is one member: write its group as a record of its own",
	} {
		r, err := decode(t, raw)
		if err != nil {
			if err.Error() != want {
				t.Errorf("%s: got  %v\nwant %s", raw, err, want)
			}
			continue
		}
		if got := string(r.AppendJSON(nil)); got != want || !r.IsMember || len(r.Members) != 1 ||
			r.Members[0].Problem != nil {
			t.Errorf("%s: got %+v %s, want %s", raw, r, got, want)
		}
	}
	_, err := decode(t, `{"GroupId":"g","Member_Account":"é"}`)
	if e, ok := errors.AsType[*group.Error](err); !ok || e.GroupID != "g" || e.Field() != "Member_Account" ||
		e.Rule() != group.RuleCharacters {
		t.Errorf("got %+v, want the GroupId, the field and the rule", err)
	}
}

func TestRecord_MemberDigests(t *testing.T) {
	of := func(raw string) group.Record {
		r, err := decode(t, raw)
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		return r
	}
	plain, empty := of(withList("")), of(with(`"CreateTime":1448357837,"Owner_Account":"leckie"`))
	one, two := of(withList(`{"Member_Account":"u1"}`)), of(withList(`{"Member_Account":"u1","Role":"Admin"}`))
	if plain.Identity() != one.Identity() || plain.Sum() != two.Sum() || plain.Sum() != empty.Sum() {
		t.Error("got digests of a group that depend on its members")
	}
	if zero := (group.Digest{}); plain.MembersSum() != zero || one.MembersSum() == zero ||
		one.MembersSum() == two.MembersSum() {
		t.Errorf("got %v, %v, %v", plain.MembersSum(), one.MembersSum(), two.MembersSum())
	}
	same := of(withList(`{"Member_Account":"leckie"},{"Member_Account":"u1","Role":"Member"},{"Member_Account":"u1"},` +
		`{"Member_Account":"é"}`))
	if same.MembersSum() != one.MembersSum() {
		t.Error("got another digest for the owner, a duplicate or an invalid member")
	}
	var seen []group.Digest
	for _, raw := range []string{
		`{"GroupId":"g","Member_Account":"u1"}`, `{"GroupId":"g","Member_Account":"u2"}`,
		`{"GroupId":"h","Member_Account":"u1"}`,
	} {
		r := of(raw)
		seen = append(seen, r.Identity())
	}
	first, admin := of(`{"GroupId":"g","Member_Account":"u1"}`), of(`{"GroupId":"g","Member_Account":"u1","Role":"Admin"}`)
	ofGroup := of(with(`"GroupId":"g"`))
	if seen[0] == seen[1] || seen[0] == seen[2] || seen[0] != first.Identity() || first.Identity() != admin.Identity() ||
		first.Sum() == admin.Sum() || first.Identity() == ofGroup.Identity() {
		t.Error("got digests of member records that do not tell them apart")
	}
}

// kept is a record that is in memory: the compiler cannot tell that it is not used.
var kept group.Record

// A list as long as a record may be is decoded in linear time. Its memory is bounded, and what the record reports.
func TestDecoder_LongMemberList(t *testing.T) {
	d := group.NewDecoder(group.DocumentLimits)
	list := func(n int, entry func(i int) string) []byte {
		b := []byte(`{"Type":"Public","Name":"a","MemberList":[` + entry(0))
		for i := 1; i < n; i++ {
			b = append(append(b, ','), entry(i)...)
		}
		return append(b, "]}"...)
	}
	for name, row := range map[string]struct {
		raw  []byte
		want int
	}{
		"valid":      {list(38_000, func(i int) string { return fmt.Sprintf(`{"Member_Account":"%x"}`, i) }), 38_000},
		"duplicates": {list(40_000, func(i int) string { return fmt.Sprintf(`{"Member_Account":"%020x"}`, i%10) }), 10},
		"empty":      {list(50_000, func(int) string { return `{}` }), 50_000},
		"invalid":    {list(50_000, func(i int) string { return fmt.Sprintf(`{"%x":1}`, i) }), 50_000},
		"long accounts": {
			list(1000, func(i int) string { return fmt.Sprintf(`{"Member_Account":"%x%s"}`, i, long(1000)) }), 1000,
		},
	} {
		t.Run(name, func(t *testing.T) {
			memory := func() int {
				runtime.GC()
				runtime.GC() // also what pools hold
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return int(m.HeapAlloc)
			}
			d.Decode(row.raw) // the Decoder's own memory
			before, start := memory(), time.Now()
			var err error
			kept, err = d.Decode(row.raw)
			took := time.Since(start)
			held := memory() - before
			r := &kept
			if err != nil || len(r.Members) != row.want {
				t.Fatalf("got %d members, %v, want %d", len(r.Members), err, row.want)
			}
			if took > 2*time.Second { // quadratic work takes minutes
				t.Errorf("got it decoded in %v", took)
			}
			for i := range r.Members {
				if m := r.Members[i]; m.Account == "" && m.Problem == nil || len(m.Account) > 70 {
					t.Fatalf("got %+v", m)
				}
			}
			if size := r.Size(); held > size+64<<10 || held > 4<<20 {
				t.Errorf("got %d KiB in memory, and a size of %d KiB", held>>10, size>>10)
			}
			kept = group.Record{}
		})
	}
}

// The members of a record can be dropped without keeping their accounts in memory.
func TestRecord_Size(t *testing.T) {
	r, err := decode(t, sample)
	if n := r.Size(); err != nil || n < 500 || n > 1000 {
		t.Errorf("got %d bytes, %v", n, err)
	}
	one, err := decode(t, `{"GroupId":"g","Member_Account":"u1"}`)
	if n := one.Size(); err != nil || n < 200 || n > 400 {
		t.Errorf("got %d bytes, %v", n, err)
	}
}

// checkMembers checks what holds for the members of any record.
func checkMembers(t *testing.T, r *group.Record) {
	t.Helper()
	seen := map[string]bool{}
	for i := range r.Members {
		m := &r.Members[i]
		switch {
		case m.Account != "" && m.Account == r.OwnerAccount:
			t.Fatalf("got the owner among the members: %s", shown(r))
		case m.Account != "" && len(m.Account) <= 32 && seen[m.Account]:
			t.Fatalf("got %s twice: %s", m.Account, shown(r))
		case m.Problem != nil && (m.Problem.Message == "" || m.Problem.Rule == "" || m.Problem.Field == ""):
			t.Fatalf("got %+v of %s", m.Problem, m.Account)
		case m.Problem != nil:
			continue
		case m.IsAdmin && r.Type == group.Private:
			t.Fatalf("got an Admin of a Private group: %s", shown(r))
		}
		seen[m.Account] = true
		// A valid member is a valid member record, and one of a group of its own.
		wire := m.AppendJSON(nil)
		again, err := group.NewDecoder(group.DocumentLimits).Decode([]byte(`{"GroupId":"g",` + string(wire[1:])))
		if err != nil || again.Members[0] != *m {
			t.Fatalf("got %+v, %v of %s, want %+v", again.Members, err, wire, m)
		}
		var std struct {
			Account string `json:"Member_Account"`
		}
		if err := json.Unmarshal(wire, &std); err != nil || std.Account != m.Account {
			t.Fatalf("got %q, %v of %s", std.Account, err, wire)
		}
		if m.JoinTime != 0 && !r.IsMember && m.JoinTime < max(r.CreateTime, 1) {
			t.Fatalf("got a member older than the group: %s", shown(r))
		}
	}
	if (r.MembersSum() == group.Digest{}) != (len(seen) == 0) {
		t.Fatalf("got the digest %v of %s", r.MembersSum(), shown(r))
	}
}
