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

func TestReconcile_ExistingGroup(t *testing.T) {
	own := emulator.Group{GroupID: "g", Type: "Public", Name: "n", Owner: "leckie", CreateTime: 1448357837}
	for _, test := range []struct {
		name    string
		change  func(*emulator.Group, *group.Record)
		want    string
		differs string // the end of the message
	}{
		{
			"matches the record", func(*emulator.Group, *group.Record) {},
			`exists "g" code 10021 attempts 1`, "",
		},
		{
			"matches, owned by the administrator",
			func(g *emulator.Group, r *group.Record) { g.Owner, r.OwnerAccount = "administrator", "administrator" },
			`exists "g" code 10025 attempts 1`, "",
		},
		{
			"matches, with the newer name of Private",
			func(g *emulator.Group, r *group.Record) { g.Type, r.Type = "Work", group.Private },
			`exists "g" code 10021 attempts 1`, "",
		},
		{
			"matches, with the newer name of ChatRoom",
			func(g *emulator.Group, r *group.Record) { g.Type, r.Type = "Meeting", group.ChatRoom },
			`exists "g" code 10021 attempts 1`, "",
		},
		{
			"record without a CreateTime", func(_ *emulator.Group, r *group.Record) { r.CreateTime = 0 },
			`exists "g" code 10021 attempts 1`, "",
		},
		{
			"another type", func(g *emulator.Group, _ *group.Record) { g.Type = "Work" },
			`rejected "" code 10021 attempts 1`, `Type is "Work" there and "Public" in the record`,
		},
		{
			"a type that cannot be imported", func(g *emulator.Group, _ *group.Record) { g.Type = "AVChatRoom" },
			`rejected "" code 10021 attempts 1`, `Type is "AVChatRoom" there and "Public" in the record`,
		},
		{
			"another name", func(g *emulator.Group, _ *group.Record) { g.Name = "N" },
			`rejected "" code 10021 attempts 1`, `Name is "N" there and "n" in the record`,
		},
		{
			"another owner", func(g *emulator.Group, _ *group.Record) { g.Owner = "administrator" },
			`rejected "" code 10025 attempts 1`, `Owner_Account is "administrator" there and "leckie" in the record`,
		},
		{
			"another time and name", func(g *emulator.Group, _ *group.Record) { g.Name, g.CreateTime = "m", 7 },
			`rejected "" code 10021 attempts 1`,
			`Name is "m" there and "n" in the record, CreateTime is "7" there and "1448357837" in the record`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				g, rec := own, record("g", "n")
				test.change(&g, rec)
				s.Put(g)
				got := newClient(t, s).ImportGroup(t.Context(), rec).Wait()
				message := ""
				if test.differs != "" {
					message = "another group has this GroupId: " + test.differs
				}
				if short(got) != test.want || got.Message != message {
					t.Errorf("got %s %q, want %s %q", short(got), got.Message, test.want, message)
				}
			})
		})
	}
}

func TestReconcile_LookUpFails(t *testing.T) {
	const inUse = `{"ActionStatus":"FAIL","ErrorCode":10021,"ErrorInfo":"in use"}`
	for _, test := range []struct {
		name     string
		response string // of get_group_info
		message  string
	}{
		{
			"an error in its entry",
			`{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[{"GroupId":"g","ErrorCode":10007,"ErrorInfo":"no"}]}`,
			"code 10007",
		},
		{"rejected", `{"ActionStatus":"FAIL","ErrorCode":10004,"ErrorInfo":"no"}`, "code 10004"},
		{"of another type", `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":{"g":1}}`, "unreadable response"},
		{"garbage forever", `<html>`, "unreadable response"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
					if strings.HasSuffix(r.URL.Path, "/import_group") {
						return respond(200, inUse), nil
					}
					return respond(200, test.response), nil
				}))
				got := c.ImportGroup(t.Context(), record("g", "n")).Wait()
				if want := `failed "" code 10021 attempts 1`; short(got) != want || !strings.Contains(got.Message, test.message) {
					t.Errorf("got %s %q, want %s with %q", short(got), got.Message, want, test.message)
				}
			})
		})
	}
}

func TestReconcile_NotFound(t *testing.T) {
	const inUse = `{"ActionStatus":"FAIL","ErrorCode":10021,"ErrorInfo":"in use"}`
	const rejected = "the GroupId belongs to a group that was disbanded or is not visible: choose another GroupId"
	for name, body := range map[string]string{
		"an error in its entry":   `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[{"GroupId":"g","ErrorCode":10010}]}`,
		"not in the response":     `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[]}`,
		"another in the response": `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[{"GroupId":"G","Type":"Public"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
					if strings.HasSuffix(r.URL.Path, "/import_group") {
						return respond(200, inUse), nil
					}
					return respond(200, body), nil
				}))
				got := c.ImportGroup(t.Context(), record("g", "n")).Wait()
				if want := `rejected "" code 10021 attempts 1`; short(got) != want || got.Message != rejected {
					t.Errorf("got %s %q, want %s %q", short(got), got.Message, want, rejected)
				}
			})
		})
	}
}

func TestReconcile_DisbandedGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		recs := records(500, true)
		for _, rec := range recs[:400] {
			s.Disband(rec.GroupID)
		}
		c := newClient(t, s)
		time.Sleep(time.Minute) // longer than the read lag after an earlier process
		start := time.Now()
		results := importAll(t.Context(), c, recs)
		if got := countEnds(results); got["rejected"] != 400 || got["imported"] != 100 {
			t.Errorf("got %v", got)
		}
		if took := time.Since(start); took > 7*time.Second {
			t.Errorf("got %v, want the time of 500 records and a second look-up", took)
		}
	})
}

// Reads lag, and an attempt of this process or of an earlier one created the record's group.
func TestReconcile_ReadLag(t *testing.T) {
	for _, test := range []struct {
		name  string
		lag   time.Duration
		older bool // an earlier process created the group
		lost  bool // the response to the first attempt
		want  string
	}{
		{"response lost, shown by the second look-up", time.Second, false, true, `exists "g" code 10021 attempts 2`},
		{"response lost, shown by the third look-up", 8 * time.Second, false, true, `exists "g" code 10021 attempts 2`},
		{"response lost, not shown in time", time.Hour, false, true, `failed "" code 10021 attempts 2`},
		{"earlier process, shown by the third look-up", 8 * time.Second, true, false, `exists "g" code 10021 attempts 1`},
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

// Lost responses of other records must not postpone the last look-up forever.
func TestReconcile_OthersLoseResponses(t *testing.T) {
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

func TestLookUp_Batches(t *testing.T) {
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

func TestLookUp_FirstCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Put(emulator.Group{GroupID: "b", Type: "Public", Name: "n"})
		s.Faults = first(3, 60007)
		c := newClient(t, s, func(cfg *tim.Config) { cfg.DrainTimeout = time.Millisecond })
		ctx, cancel := context.WithCancelCause(t.Context())
		errEnd := errors.New("the end")
		var done sync.WaitGroup
		done.Go(func() {
			if _, err := c.LookUp(ctx, "a"); !errors.Is(err, errEnd) {
				t.Errorf("first caller: got %v, want %v", err, errEnd)
			}
		})
		time.Sleep(time.Millisecond)
		done.Go(func() {
			if got, err := c.LookUp(t.Context(), "b"); err != nil || !got.Found {
				t.Errorf("second caller: got %v, %v", got, err)
			}
		})
		time.Sleep(time.Millisecond)
		cancel(errEnd)
		done.Wait()
	})
}

func TestLookUp_LeftAfterDrainTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Faults = always(60007)
		c := newClient(t, s, func(cfg *tim.Config) { cfg.DrainTimeout = 3 * time.Second })
		patient, end := context.WithTimeout(t.Context(), time.Hour)
		defer end()
		hasty, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		var done sync.WaitGroup
		for ctx, ends := range map[context.Context]time.Duration{patient: time.Hour, hasty: time.Minute} {
			done.Go(func() {
				_, err := c.LookUp(ctx, "a")
				took := time.Since(start)
				if !errors.Is(err, context.DeadlineExceeded) || took < ends || took > ends+3*time.Second {
					t.Errorf("got %v after %v, want the deadline after %v and at most the drain timeout", err, took, ends)
				}
			})
		}
		done.Wait()
	})
}

func TestLookUp_AnotherIDRejected(t *testing.T) {
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
