package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const (
	one   = `{"Type":"Public","Name":"One","GroupId":"g1"}`
	other = `{"Type":"Public","Name":"Other","GroupId":"g1"}`
	noID  = `{"Type":"Public","Name":"One"}`
)

func TestGroups_Outcomes(t *testing.T) {
	t.Parallel()
	large := `{"Type":"Public","Name":"x","AppDefinedData":[` +
		strings.Repeat(`{"Key":"k","Value":"`+strings.Repeat("v", 500)+`"},`, 140) + `{"Key":"k","Value":""}]}`
	rows := []struct {
		about  string
		body   string
		header []string
		status int
		want   map[string]any // members of the body
	}{
		{
			"made", `{"Type":"Public","Name":"N","GroupId":"n1"}`, nil, 201,
			map[string]any{"status": "imported", "GroupId": "n1", "retry": "safe"},
		},
		{"there, and the same", one, nil, 200, map[string]any{"status": "exists", "GroupId": "g1", "retry": "safe"}},
		{
			"another has its ID", other, nil, 409,
			map[string]any{"type": "urn:groupimport:taken", "code": 10021.0, "GroupId": "g1", "retry": "useless"},
		},
		{"without an ID it says what that means", noID, nil, 201, map[string]any{
			"retry": "unsafe",
			"note":  "the request has neither a GroupId nor an Idempotency-Key: sending it again creates a second group",
		}},
		{
			"without an ID and with a key", noID,
			[]string{"Idempotency-Key", `"k"`},
			201,
			map[string]any{"retry": "safe", "note": nil},
		},
		{
			"refused by the service", `{"Type":"Public","Name":"bad word"}`, nil, 422,
			map[string]any{"code": 80001.0, "outcome": "rejected"},
		},
		{"invalid", `{"Typ":"Public","Name":""}`, nil, 422, map[string]any{"retry": "useless", "errors": []any{
			map[string]any{"pointer": "#/Typ", "rule": "unknown", "detail": `unknown field "Typ", did you mean "Type"?`},
			map[string]any{"pointer": "#/Type", "rule": "missing", "detail": "Type is missing"},
			map[string]any{"pointer": "#/Name", "rule": "missing", "detail": "Name is missing or empty"},
		}}},
		{"a rule that has a code", `{"Type":"AVChatRoom","Name":"a"}`, nil, 422, map[string]any{"code": 10007.0}},
		{"JSON that is no object", `[` + one + `]`, nil, 422, map[string]any{"type": "urn:groupimport:invalid"}},
		{
			"bytes that are not UTF-8", "{\"Type\":\"Public\",\"Name\":\"\\ud800\"}", nil, 422,
			map[string]any{"type": "urn:groupimport:invalid"},
		},
		{
			"a field twice", `{"Type":"Public","Type":"Public","Name":"a"}`, nil, 422,
			map[string]any{"detail": "duplicate field Type"},
		},
		{
			"not JSON", `{"Type":`, nil, 400,
			map[string]any{"type": "urn:groupimport:not-json", "detail": "not a JSON object: unexpected end after 8 bytes"},
		},
		{"nothing", "", nil, 400, map[string]any{"type": "urn:groupimport:not-json"}},
		{"two values", one + one, nil, 400, map[string]any{"type": "urn:groupimport:not-json"}},
		{"a form", "Type=Public", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, nil},
		{"text, as another site's page could send it", one, []string{"Content-Type", "text/plain"}, 415, nil},
		{"no type", one, []string{"Content-Type", ""}, 415, nil},
		{"another charset", one, []string{"Content-Type", "application/json; charset=gbk"}, 415, nil},
		{"UTF-8 by name", one, []string{"Content-Type", "Application/JSON; charset=UTF-8"}, 200, nil},
		{"compressed", one, []string{"Content-Encoding", "gzip"}, 415, nil},
		{"over 64 KiB", large, nil, 413, nil},
		{"a key of nothing", one, []string{"Idempotency-Key", `""`}, 400, nil},
		{"a key too long", one, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, nil},
		{
			"a key of the longest", `{"Type":"Public","Name":"K"}`,
			[]string{"Idempotency-Key", strings.Repeat("k", 255)},
			201,
			nil,
		},
		{"a key with a quote open", one, []string{"Idempotency-Key", `"k`}, 400, nil},
		{"two keys in one", one, []string{"Idempotency-Key", `"k1", "k2"`}, 400, nil},
	}
	over(t, func(t *testing.T, w *world, c *caller) {
		w.service.SensitiveWords = []string{"bad"}
		c.post(one)
		c.t = t
		for _, row := range rows {
			r := c.post(row.body, row.header...)
			if r.status != row.status {
				t.Errorf("%s: got %d, want %d: %s", row.about, r.status, row.status, r.body)
			}
			for name, want := range row.want {
				if got := r.member(name); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: got %s %v, want %v", row.about, name, got, want)
				}
			}
			kind := "application/json"
			if row.status >= 300 {
				kind = "application/problem+json"
				if got := r.member("status"); got != float64(row.status) {
					t.Errorf("%s: got status %v in the body, want %d", row.about, got, row.status)
				}
			}
			if got := r.Header.Get("Content-Type"); got != kind {
				t.Errorf("%s: got Content-Type %q, want %q", row.about, got, kind)
			}
		}
		for g := range w.service.Groups() {
			if g.GroupID == "g1" && g.Name != "One" {
				t.Errorf("got %q under g1, want the first", g.Name)
			}
		}
	})
}

func TestGroups_RepeatedHeaders(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		for name, row := range map[string]struct {
			values []string
			status int
		}{
			"Authorization":   {[]string{"Bearer " + token, "Bearer " + token}, 401},
			"Content-Type":    {[]string{"application/json", "application/json"}, 415},
			"Idempotency-Key": {[]string{"k", "k"}, 400},
		} {
			h := headers()
			h[name] = row.values
			if got := c.do("POST", "/groups", h, one).status; got != row.status {
				t.Errorf("%s twice: got %d, want %d", name, got, row.status)
			}
		}
		if got := w.service.Stats().Requests; got != 0 {
			t.Errorf("got %d requests to the service, want none", got)
		}
	})
}

func TestAuthorize_Credentials(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		put(t, w, "exports/a.jsonl", one)
		basic := "Basic dXNlcjowMTIzNDU2Nzg5YWJjZGVmLXRoZS10b2tlbg==" // user, and the token
		for _, row := range []struct {
			about, header string
			post, get     int
		}{
			{"the token", "Bearer " + token, 201, 200},
			{"the scheme in another case", "bearer " + token, 200, 200},
			{"nothing", "", 401, 401},
			{"no token", "Bearer ", 401, 401},
			{"one character less", "Bearer " + token[:len(token)-1], 401, 401},
			{"one character more", "Bearer " + token + "x", 401, 401},
			{"another case", "Bearer " + strings.ToUpper(token), 401, 401},
			{"the token alone", token, 401, 401},
			{"as a browser sends it, for reading only", basic, 401, 200},
			{"a browser's with another password", "Basic dXNlcjpub3BlCg==", 401, 401},
			{"not base64", "Basic " + token, 401, 401},
		} {
			h := headers("Authorization", row.header)
			if got := c.do("POST", "/groups", h, one); got.status != row.post {
				t.Errorf("%s: got %d for a group, want %d", row.about, got.status, row.post)
			} else if got.status == 401 && got.Header.Get("WWW-Authenticate") != `Bearer realm="groupimport"` {
				t.Errorf("%s: got WWW-Authenticate %q, want Bearer", row.about, got.Header.Get("WWW-Authenticate"))
			}
			for _, path := range []string{"/imports", "/imports/exports/a.jsonl", "/imports/exports/none.jsonl"} {
				want := row.get
				if want == 200 && strings.Contains(path, "none") {
					want = 404
				}
				if got := c.do("GET", path, h, "").status; got != want {
					t.Errorf("%s: got %d for %s, want %d", row.about, got, path, want)
				}
			}
			for _, path := range []string{"/healthz", "/openapi.json"} {
				if got := c.do("GET", path, h, "").status; got != 200 {
					t.Errorf("%s: got %d for %s, want it open", row.about, got, path)
				}
			}
		}
		h := http.Header{"Accept": {"text/html,application/xhtml+xml,*/*;q=0.8"}}
		if got := c.do("GET", "/imports", h, "").Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic ") {
			t.Errorf("got WWW-Authenticate %q for a browser, want Basic, so that it asks", got)
		}
	})
}

func TestHandler_PathsAndMethods(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		put(t, w, "exports/a.jsonl", one)
		for _, row := range []struct {
			method, path string
			status       int
			allow        string
		}{
			{"GET", "/", 302, ""},
			{"POST", "/", 405, "GET, HEAD, OPTIONS"},
			{"GET", "/groups/", 404, ""},
			{"GET", "/import", 404, ""},
			{"GET", "/imports/", 404, ""},
			{"POST", "//groups", 404, ""},
			{"GET", "/groups", 405, "POST, OPTIONS"},
			{"HEAD", "/groups", 405, "POST, OPTIONS"},
			{"DELETE", "/groups", 405, "POST, OPTIONS"},
			{"POST", "/imports", 405, "GET, HEAD, OPTIONS"},
			{"PUT", "/imports/exports/a.jsonl", 405, "GET, HEAD, OPTIONS"},
			{"POST", "/healthz", 405, "GET, HEAD, OPTIONS"},
			{"OPTIONS", "/groups", 204, "POST, OPTIONS"},
			{"OPTIONS", "/imports", 204, "GET, HEAD, OPTIONS"},
			{"OPTIONS", "/none", 404, ""},
			{"HEAD", "/imports", 200, ""},
			{"HEAD", "/imports/exports/a.jsonl", 200, ""},
			{"HEAD", "/healthz", 200, ""},
			{"HEAD", "/none", 404, ""},
		} {
			r := c.do(row.method, row.path, headers(), "")
			if r.status != row.status || r.Header.Get("Allow") != row.allow {
				t.Errorf("%s %s: got %d and Allow %q, want %d and %q", row.method, row.path, r.status, r.Header.Get("Allow"),
					row.status, row.allow)
			}
			if row.method == "HEAD" && (r.body != "" || r.Header.Get("Content-Length") == "") {
				t.Errorf("%s %s: got %q and Content-Length %q, want a length and no body", row.method, row.path, r.body,
					r.Header.Get("Content-Length"))
			}
		}
	})
}
