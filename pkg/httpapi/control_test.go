package httpapi_test

import (
	"strings"
	"testing"

	"groupimport/pkg/results"
)

func TestControl_PauseResumeCancel(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		put(t, w, "exports/a.jsonl", one)
		const path = "/imports/exports/a.jsonl"
		for _, row := range []struct {
			path   string
			status int
			body   string // part of it
			state  string // of the import afterwards
		}{
			{path + "/resume", 409, "neither paused nor cancelled", "waiting"},
			{path + "/pause", 200, `"state":"paused"`, "paused"},
			{path + "/pause", 200, `"state":"paused"`, "paused"},
			{path + "/cancel", 200, `"state":"cancelled"`, "cancelled"},
			{path + "/resume", 200, `"state":"waiting"`, "waiting"},
			{"/imports/exports%2Fa.jsonl/pause", 200, `"key":"exports/a.jsonl"`, "paused"},
			{"/imports/exports/none.jsonl/pause", 404, "no export with this key", "paused"},
			{"/imports/elsewhere/a.jsonl/pause", 404, "no export with this key", "paused"},
		} {
			got := c.do("POST", row.path, headers(), "{}")
			if got.status != row.status || !strings.Contains(got.body, row.body) {
				t.Errorf("POST %s: got %d %s, want %d and %s", row.path, got.status, got.body, row.status, row.body)
			}
			if got := c.get(path).body; !strings.Contains(got, `"state":"`+row.state+`"`) {
				t.Errorf("after POST %s: got %s, want the state %s", row.path, got, row.state)
			}
		}
		if got := c.get(path).body; !strings.Contains(got, "paused by HTTP at 20") {
			t.Errorf("got %s, want who paused it and when", got)
		}
		page := c.get(path, "Accept", "text/html").body
		if !strings.Contains(page, "by HTTP at 20") || !strings.Contains(page, "已暂停") {
			t.Error("the page does not say in both languages that the import is paused, and by whom")
		}
		if got := w.service.Stats().Requests; got != 0 {
			t.Errorf("got %d requests to the service, want none", got)
		}
	})
}

// A browser must not be made to pause an import by the page of another site: it may send what a form can, with the
// credentials of Basic authentication.
func TestControl_Authorization(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		put(t, w, "exports/a.jsonl", one)
		basic := "Basic dXNlcjowMTIzNDU2Nzg5YWJjZGVmLXRoZS10b2tlbg=="
		for _, action := range []string{"pause", "resume", "cancel"} {
			path := "/imports/exports/a.jsonl/" + action
			for _, row := range []struct {
				method, header, value string
				status                int
			}{
				{"POST", "Authorization", "", 401},
				{"POST", "Authorization", "Bearer wrong", 401},
				{"POST", "Authorization", basic, 401},
				{"POST", "Content-Type", "", 415},
				{"POST", "Content-Type", "text/plain", 415},
				{"POST", "Content-Type", "application/x-www-form-urlencoded", 415},
				{"GET", "Accept", "*/*", 405},
				{"PUT", "Accept", "*/*", 405},
			} {
				if got := c.do(row.method, path, headers(row.header, row.value), "{}").status; got != row.status {
					t.Errorf("%s %s with %s %q: got %d, want %d", row.method, path, row.header, row.value, got, row.status)
				}
			}
		}
		if _, ok := w.store.Snapshot()[(results.Names{Export: "exports/a.jsonl"}).ControlKey()]; ok {
			t.Error("a refused request has written the control object")
		}
	})
}
