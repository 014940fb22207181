package tim_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"groupimport/pkg/emulator"
	"groupimport/pkg/tim"
)

// The codes of the service by class: from the page of import_group (tencentcloud.com/document/product/1047/34967), the
// error list (trtc.io/document/34348), and some that are in no list.
var (
	permanent = []emulator.Fault{
		10004, 80001, 10005, 10010, 10011, 10014, 10015, 10016, 10018, 10019, 10036, 10037, 10038, 10059, 11000, 60003,
		60015, 70107, 70206, 70399, 70402, 80002, 80004, 93000, 40005, 40601,
		10999, 19999, 20004, 99999, // in no list
	}
	transient = []emulator.Fault{10002, 40006, 60008, 60013, 60014, 70169, 70202, 70500}
	throttled = []emulator.Fault{60007, 60011, 60018, 60019, 10006, 10023}
	signAgain = []emulator.Fault{10008, 60004, 60005, 70001, 70003, 70052}
	fatal     = []emulator.Fault{
		10003, 10012, 10026, 10058, 60002, 60006, 60009, 60010, 60012, 60016, 60017, 60020, 60021, 60025, 60026, 60027, 60028,
		70002, 70005, 70009, 70013, 70014, 70016, 70020, 70050, 70051, 70114, 70398, 70403, 80005,
		60099, 79999, // in no list, also for look-ups
		10007, // before any request was accepted, also for look-ups
	}
)

func TestImportGroup_EveryCode(t *testing.T) {
	withID, without := "g", ""
	for _, class := range []struct {
		name  string
		codes []emulator.Fault
		plan  func(emulator.Fault) emulator.Faults
		id    string
		want  string // %d is the code
		fatal bool
	}{
		{"permanent", permanent, always, withID, `rejected "" code %d attempts 1`, false},
		{"permanent", permanent, always, without, `rejected "" code %d attempts 1`, false},
		{"transient once", transient, once, withID, `imported "g" code 0 attempts 2`, false},
		{"transient once", transient, once, without, `unknown "" code %d attempts 1`, false},
		{"transient forever", transient, imports, withID, `failed "" code %d attempts 5`, false},
		{"throttled three times", throttled, thrice, withID, `imported "g" code 0 attempts 1`, false},
		{"throttled three times", throttled, thrice, without, `imported "@TGS#200000001" code 0 attempts 1`, false},
		{"sign again once", signAgain, once, withID, `imported "g" code 0 attempts 1`, false},
		{"sign again once", signAgain, once, without, `imported "@TGS#200000001" code 0 attempts 1`, false},
		{"sign again forever", signAgain, always, withID, `incomplete "" code %d attempts 1`, true},
		{"sign again forever", signAgain, always, without, `incomplete "" code %d attempts 1`, true},
		{"fatal", fatal, always, withID, `incomplete "" code %d attempts 1`, true},
		{"fatal", fatal, always, without, `incomplete "" code %d attempts 1`, true},
	} {
		for _, code := range class.codes {
			t.Run(fmt.Sprint(class.name, "/", int(code), "/GroupId ", class.id), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService()
					s.Faults = class.plan(code)
					c := newClient(t, s)
					got := c.ImportGroup(t.Context(), record(class.id, "n")).Wait()
					want := class.want
					if strings.Contains(want, "%d") {
						want = fmt.Sprintf(want, int(code))
					}
					if short(got) != want {
						t.Errorf("got %s, want %s", short(got), want)
					}
					// The message quotes the service's own message.
					if quoted := strings.Contains(got.Message, "(configured fault)"); quoted != (got.End != tim.Imported) {
						t.Errorf("got message %q", got.Message)
					}
					if err := c.Fatal(); (err != nil) != class.fatal || err != nil && err.Code != int(code) {
						t.Errorf("got fatal error %+v, want one: %v", err, class.fatal)
					}
				})
			})
		}
	}
}

func once(f emulator.Fault) emulator.Faults   { return first(1, f) }
func thrice(f emulator.Fault) emulator.Faults { return first(3, f) }

func TestExplain_FatalCodesHaveAdvice(t *testing.T) {
	for code := range 100000 {
		m := tim.Explain(code)
		if m.Class != tim.Fatal && m.Class != tim.SignAgain {
			continue
		}
		if _, advice, ok := strings.Cut(m.Text, ": "); !ok || advice == "" {
			t.Errorf("%d: got %q, want advice after a colon", code, m.Text)
		}
	}
}

func TestExplain_Texts(t *testing.T) {
	for code, want := range map[int]tim.Meaning{
		10007: {Class: tim.Permanent, Text: "the group type does not support this operation, or no permission: " +
			"check that TIM_ADMIN is an app administrator in the console"},
		10013: {Class: tim.InUse, Text: "the account is a member of the group already"},
		10023: {Class: tim.Throttled, Text: "messages to the group are too frequent"},
		10038: {Class: tim.Permanent, Text: "more members than the plan allows; " +
			"after an upgrade raise MaxMemberNum with modify_group_base_info"},
		60099: {Class: tim.Unlisted, Text: "an error of access or account that is in no list: see the service's own message"},
		19999: {Class: tim.Permanent, Text: "an error that is in no list: see the service's own message"},
	} {
		if got := tim.Explain(code); got != want {
			t.Errorf("%d: got %+v, want %+v", code, got, want)
		}
	}
}

func TestImportGroup_NoPermissionAfterSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		c := newClient(t, s)
		check := func(id, want string) {
			t.Helper()
			if got := short(c.ImportGroup(t.Context(), record(id, id)).Wait()); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		check("a", `imported "a" code 0 attempts 1`)
		s.SetFaults(always(10007))
		check("b", `rejected "" code 10007 attempts 1`)
		if c.Fatal() != nil {
			t.Errorf("got fatal error %v", c.Fatal())
		}
	})
}

// 10007 is the first response of a run that resumes: an earlier run has created groups, so it is about the record, and
// nothing is looked up.
func TestFatal_Authorized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Faults = always(10007)
		c := newClient(t, s)
		ctx := tim.WithShare(t.Context(), c.NewShare(tim.ShareConfig{Authorized: true}))
		const want = `rejected "" code 10007 attempts 1`
		if got := short(c.ImportGroup(ctx, record("a", "a")).Wait()); got != want || s.Stats().Requests != 1 {
			t.Errorf("got %s with %d requests, want %s with one", got, s.Stats().Requests, want)
		}
		if c.ImportGroup(t.Context(), record("b", "b")).Wait(); c.Fatal() == nil {
			t.Error("got no fatal error for another caller")
		}
	})
}

func TestFatal_NoRecordBlamedAndNoMoreRequests(t *testing.T) {
	for _, code := range fatal {
		synctest.Test(t, func(t *testing.T) {
			s := newService()
			s.Faults = always(code)
			c := newClient(t, s)
			results := importAll(t.Context(), c, records(50, false))
			if got := countEnds(results)["incomplete"]; got != len(results) {
				t.Errorf("%d: got %v", code, countEnds(results))
			}
			sent := s.Stats().Requests
			if sent > 10 { // within the 20 ms of the first response
				t.Errorf("%d: got %d requests", code, sent)
			}
			if got, want := results[49].Message, c.Fatal().Reason; got != want {
				t.Errorf("%d: got message %q, want %q", code, got, want)
			}
			if s.Stats().Requests != sent {
				t.Errorf("%d: got requests after the fatal error", code)
			}
		})
	}
}
