package tim_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/group"
	"groupimport/pkg/tim"
)

func TestGroupThatStandsIsTheRecordsOwnOrAnother(t *testing.T) {
	own := emulator.Group{GroupID: "g", Type: "Public", Name: "n", Owner: "leckie", CreateTime: 1448357837}
	for _, test := range []struct {
		name   string
		change func(*emulator.Group, *group.Record)
		want   string
		says   string
	}{
		{
			"own", func(*emulator.Group, *group.Record) {},
			`standing "g" code 10021 attempts 1`, "",
		},
		{
			"own, of the administrator", func(g *emulator.Group, r *group.Record) { g.Owner, r.OwnerAccount = "administrator", "administrator" },
			`standing "g" code 10025 attempts 1`, "",
		},
		{
			"own, with the newer word for Private", func(g *emulator.Group, r *group.Record) { g.Type, r.Type = "Work", group.Private },
			`standing "g" code 10021 attempts 1`, "",
		},
		{
			"own, with the newer word for ChatRoom", func(g *emulator.Group, r *group.Record) { g.Type, r.Type = "Meeting", group.ChatRoom },
			`standing "g" code 10021 attempts 1`, "",
		},
		{
			"record without a CreateTime", func(_ *emulator.Group, r *group.Record) { r.CreateTime = 0 },
			`standing "g" code 10021 attempts 1`, "",
		},
		{
			"another type", func(g *emulator.Group, _ *group.Record) { g.Type = "Work" },
			`rejected "" code 10021 attempts 1`, `another group has this GroupId: Type is "Work" there and "Public" in the record`,
		},
		{
			"a type that cannot be imported", func(g *emulator.Group, _ *group.Record) { g.Type = "AVChatRoom" },
			`rejected "" code 10021 attempts 1`, `another group has this GroupId: Type is "AVChatRoom" there and "Public" in the record`,
		},
		{
			"another name", func(g *emulator.Group, _ *group.Record) { g.Name = "N" },
			`rejected "" code 10021 attempts 1`, `another group has this GroupId: Name is "N" there and "n" in the record`,
		},
		{
			"another owner", func(g *emulator.Group, _ *group.Record) { g.Owner = "administrator" },
			`rejected "" code 10025 attempts 1`, `another group has this GroupId: Owner_Account is "administrator" there and "leckie" in the record`,
		},
		{
			"another time and name", func(g *emulator.Group, _ *group.Record) { g.Name, g.CreateTime = "m", 7 },
			`rejected "" code 10021 attempts 1`,
			`another group has this GroupId: Name is "m" there and "n" in the record, CreateTime is "7" there and "1448357837" in the record`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				g, rec := own, record("g", "n")
				test.change(&g, rec)
				s.Put(g)
				got := newClient(t, s).ImportGroup(t.Context(), rec).Wait()
				if short(got) != test.want || got.Message != test.says {
					t.Errorf("got %s %q, want %s %q", short(got), got.Message, test.want, test.says)
				}
			})
		})
	}
}

func TestGroupThatCannotBeLookedUpIsNeitherOwnNorAnother(t *testing.T) {
	const inUse = `{"ActionStatus":"FAIL","ErrorCode":10021,"ErrorInfo":"in use"}`
	for _, test := range []struct {
		name   string
		answer string // of get_group_info
		says   string
	}{
		{"an error of its own", `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[{"GroupId":"g","ErrorCode":10007,"ErrorInfo":"no"}]}`, "code 10007"},
		{"refused", `{"ActionStatus":"FAIL","ErrorCode":10004,"ErrorInfo":"no"}`, "code 10004"},
		{"of another form", `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":{"g":1}}`, "cannot be read"},
		{"garbage for ever", `<html>`, "cannot be read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
					if strings.HasSuffix(r.URL.Path, "/import_group") {
						return respond(200, inUse), nil
					}
					return respond(200, test.answer), nil
				}))
				got := c.ImportGroup(t.Context(), record("g", "n")).Wait()
				if want := `failed "" code 10021 attempts 1`; short(got) != want || !strings.Contains(got.Message, test.says) {
					t.Errorf("got %s %q, want %s with %q", short(got), got.Message, want, test.says)
				}
			})
		})
	}
}

func TestReconcile_GroupThatIsInUseAndNotShown(t *testing.T) {
	const inUse = `{"ActionStatus":"FAIL","ErrorCode":10021,"ErrorInfo":"in use"}`
	const rejected = "the GroupId belongs to a group that was disbanded or is not visible: choose another GroupId"
	for name, answer := range map[string]string{
		"an error in its entry":     `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[{"GroupId":"g","ErrorCode":10010}]}`,
		"not in the answer":         `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[]}`,
		"another one in the answer": `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[{"GroupId":"G","Type":"Public","Name":"n"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
					if strings.HasSuffix(r.URL.Path, "/import_group") {
						return respond(200, inUse), nil
					}
					return respond(200, answer), nil
				}))
				got := c.ImportGroup(t.Context(), record("g", "n")).Wait()
				if want := `rejected "" code 10021 attempts 1`; short(got) != want || got.Message != rejected {
					t.Errorf("got %s %q, want %s %q", short(got), got.Message, want, rejected)
				}
			})
		})
	}
}

func TestReconcile_DisbandedGroupCostsTwoLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		recs := records(500, true)
		for _, rec := range recs[:400] {
			s.Disband(rec.GroupID)
		}
		c := newClient(t, s)
		time.Sleep(time.Minute) // an earlier process has long been forgotten
		start := time.Now()
		results := importAll(t.Context(), c, recs)
		if got := countEnds(results); got["rejected"] != 400 || got["imported"] != 100 {
			t.Errorf("got %v", got)
		}
		if took := time.Since(start); took > 7*time.Second {
			t.Errorf("got %v, want 500 records and a second look", took)
		}
	})
}

// Reads lag, and the record's own attempt, or one of the process before this one, has created the group.
func TestReconcile_OwnGroupIsNeverRejectedThoughReadsLag(t *testing.T) {
	for _, test := range []struct {
		name  string
		lag   time.Duration
		older bool // an earlier process has created it
		lost  bool // the answer to the first attempt
		want  string
	}{
		{"response lost, shown at the second look", time.Second, false, true, `standing "g" code 10021 attempts 2`},
		{"response lost, shown at the third look", 8 * time.Second, false, true, `standing "g" code 10021 attempts 2`},
		{"response lost, not shown in time", time.Hour, false, true, `failed "" code 10021 attempts 2`},
		{"earlier process, shown at the third look", 8 * time.Second, true, false, `standing "g" code 10021 attempts 1`},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.ReadLag = test.lag
				if test.older {
					newClient(t, s).ImportGroup(t.Context(), record("g", "n")).Wait()
				}
				if test.lost {
					s.Faults = first(1, emulator.DropAfter)
				}
				c := newClient(t, s)
				if !test.older {
					time.Sleep(time.Minute)
				}
				got := c.ImportGroup(t.Context(), record("g", "n")).Wait()
				if short(got) != test.want {
					t.Errorf("got %s %q, want %s", short(got), got.Message, test.want)
				}
			})
		})
	}
}

// The loss of other records' answers must not put off the last look for ever.
func TestReconcile_EndsWhileOthersLoseAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Disband("gone")
		s.Faults.Plan = func(r emulator.Request) emulator.Fault {
			if r.Command == "import_group" && r.Name == "lost" {
				return emulator.Internal
			}
			return emulator.None
		}
		c := newClient(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		var others sync.WaitGroup
		others.Go(func() {
			for ctx.Err() == nil {
				c.ImportGroup(ctx, record("lost", "lost")).Wait()
			}
		})
		start := time.Now()
		got := c.ImportGroup(t.Context(), record("gone", "n")).Wait()
		cancel()
		others.Wait()
		if took := time.Since(start); got.End != tim.Rejected || took > 15*time.Second {
			t.Errorf("got %s after %v, want rejected within 15s", short(got), took)
		}
	})
}

func TestLookUpsOfAMomentShareARequestOfFiftyAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		for i := range 120 {
			s.Put(emulator.Group{GroupID: fmt.Sprint("g", i), Type: "Public", Name: fmt.Sprint("name ", i)})
		}
		c := newClient(t, s)
		var done sync.WaitGroup
		for i := range 120 {
			done.Go(func() {
				got, err := c.LookUp(t.Context(), fmt.Sprint("g", i))
				if want := (tim.Group{Found: true, Type: "Public", Name: fmt.Sprint("name ", i)}); err != nil || got != want {
					t.Errorf("got %v, %v, want %v", got, err, want)
				}
			})
		}
		done.Wait()
		if got, want := s.Stats().Lookups, 3; got != want {
			t.Errorf("got %d requests, want %d", got, want)
		}
	})
}

func TestLookUpOutlivesWhoBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Put(emulator.Group{GroupID: "b", Type: "Public", Name: "n"})
		s.Faults = first(3, 60007)
		c := newClient(t, s, func(cfg *tim.Config) { cfg.Grace = time.Millisecond })
		ctx, cancel := context.WithCancelCause(t.Context())
		errEnd := errors.New("the end")
		var done sync.WaitGroup
		done.Go(func() {
			if _, err := c.LookUp(ctx, "a"); !errors.Is(err, errEnd) {
				t.Errorf("who began it: got %v, want %v", err, errEnd)
			}
		})
		time.Sleep(time.Millisecond)
		done.Go(func() {
			if got, err := c.LookUp(t.Context(), "b"); err != nil || !got.Found {
				t.Errorf("the other: got %v, %v", got, err)
			}
		})
		time.Sleep(time.Millisecond)
		cancel(errEnd)
		done.Wait()
	})
}

func TestLookUpThatOthersWaitForIsLeftAfterTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Faults = always(60007)
		c := newClient(t, s, func(cfg *tim.Config) { cfg.Grace = 3 * time.Second })
		patient, end := context.WithTimeout(t.Context(), time.Hour)
		defer end()
		hasty, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		var done sync.WaitGroup
		for ctx, ends := range map[context.Context]time.Duration{patient: time.Hour, hasty: time.Minute} {
			done.Go(func() {
				_, err := c.LookUp(ctx, "a")
				if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took < ends || took > ends+3*time.Second {
					t.Errorf("got %v after %v, want the deadline after %v and the grace at most", err, took, ends)
				}
			})
		}
		done.Wait()
	})
}

func TestLookUpIsNotBlamedForItsNeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Put(emulator.Group{GroupID: "good", Type: "Public", Name: "n"})
		c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
			body := make([]byte, r.ContentLength)
			_, _ = r.Body.Read(body)
			if strings.Contains(string(body), `"bad"`) {
				return respond(200, `{"ActionStatus":"FAIL","ErrorCode":10015,"ErrorInfo":"illegal"}`), nil
			}
			r.Body, _ = r.GetBody()
			return s.RoundTrip(r)
		}))
		var done sync.WaitGroup
		done.Go(func() {
			if _, err := c.LookUp(t.Context(), "bad"); err == nil || !strings.Contains(err.Error(), "code 10015") {
				t.Errorf("bad: got %v", err)
			}
		})
		done.Go(func() {
			if g, err := c.LookUp(t.Context(), "good"); err != nil || !g.Found {
				t.Errorf("good: got %v, %v", g, err)
			}
		})
		done.Wait()
	})
}
