package emulator_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tencentyun/tls-sig-api-v2-golang/tencentyun"

	"groupimport/pkg/emulator"
)

const (
	app   = 1400000001
	key   = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
	admin = "administrator"
)

func newService() *emulator.Service {
	return &emulator.Service{SDKAppID: app, Key: key, Limit: -1}
}

func userSig(t *testing.T, app int, key, identifier string, expire int) string {
	t.Helper()
	sig, err := tencentyun.GenUserSig(app, key, identifier, expire)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// query returns a valid query, changed by edit.
func query(t *testing.T, edit func(url.Values)) string {
	t.Helper()
	q := url.Values{
		"sdkappid":    {fmt.Sprint(app)},
		"identifier":  {admin},
		"usersig":     {userSig(t, app, key, admin, 3600)},
		"random":      {"4294967295"},
		"contenttype": {"json"},
	}
	if edit != nil {
		edit(q)
	}
	return q.Encode()
}

// A result is a response of the service, decoded as by a client.
type result struct {
	ActionStatus string           `json:"ActionStatus"`
	ErrorInfo    string           `json:"ErrorInfo"`
	ErrorCode    int              `json:"ErrorCode"`
	GroupID      string           `json:"GroupId"`
	GroupInfo    []map[string]any `json:"GroupInfo"`
}

// A response is an HTTP response with its complete body.
type response struct {
	status            int
	contentType, body string
}

// do sends a request, in process or over the network.
func do(t *testing.T, by http.RoundTripper, req *http.Request) (response, error) {
	t.Helper()
	resp, err := by.RoundTrip(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{resp.StatusCode, resp.Header.Get("Content-Type"), string(data)}, nil
}

func read(t *testing.T, resp response) result {
	t.Helper()
	var res result
	if err := json.Unmarshal([]byte(resp.body), &res); err != nil {
		t.Fatalf("response %q: %v", resp.body, err)
	}
	if resp.status != http.StatusOK {
		t.Errorf("HTTP status %d, want 200", resp.status)
	}
	if want := map[bool]string{true: "OK", false: "FAIL"}[res.ErrorCode == 0]; res.ActionStatus != want {
		t.Errorf("ActionStatus %q with code %d, want %q", res.ActionStatus, res.ErrorCode, want)
	}
	return res
}

// newRequest returns a request that is valid except, possibly, for its body.
func newRequest(t *testing.T, host, command, body string) *http.Request {
	t.Helper()
	target := host + "/v4/group_open_http_svc/" + command + "?" + query(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// send posts a body in process.
func send(t *testing.T, s *emulator.Service, command, body string) (response, error) {
	t.Helper()
	return do(t, s, newRequest(t, "https://console.tim.qq.com", command, body))
}

// call posts a body in process and returns the response, which must not be missing.
func call(t *testing.T, s *emulator.Service, command, body string) result {
	t.Helper()
	resp, err := send(t, s, command, body)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

// callQuery imports a group with the given query.
func callQuery(t *testing.T, s *emulator.Service, query string) result {
	t.Helper()
	req := newRequest(t, "https://console.tim.qq.com", "import_group", `{"Type":"Public","Name":"n"}`)
	req.URL.RawQuery = query
	resp, err := do(t, s, req)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func groups(s *emulator.Service) []emulator.Group { return slices.Collect(s.Groups()) }

func TestImport_AllFields(t *testing.T) {
	s := newService()
	res := call(t, s, "import_group", `{"Owner_Account":"leckie","Type":"Public","GroupId":"my group","Name":"群组",
		"Introduction":"i","Notification":"n","FaceUrl":"http://this.is.face.url","MaxMemberCount":500,
		"ApplyJoinOption":"FreeAccess","AppDefinedData":[{"Key":"K_1","Value":"abc\u0000\u0001<\u2028ÿ"}],
		"CreateTime":1448357837}`)
	if res.ErrorCode != 0 || res.GroupID != "my group" {
		t.Fatalf("got %+v", res)
	}
	want := emulator.Group{
		GroupID: "my group", Type: "Public", Name: "群组", Owner: "leckie", Introduction: "i", Notification: "n",
		FaceURL: "http://this.is.face.url", MaxMemberCount: 500, ApplyJoinOption: "FreeAccess",
		AppDefinedData: []emulator.Pair{{Key: "K_1", Value: "abc\x00\x01<\u2028ÿ"}}, CreateTime: 1448357837,
		Created: 1, Requests: 1,
	}
	if got, ok := s.Group("my group"); !ok || fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

func TestImport_WithoutCreateTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		time.Sleep(time.Hour)
		call(t, s, "import_group", `{"Type":"Public","Name":"a","GroupId":"a"}`)
		call(t, s, "import_group", `{"Type":"Public","Name":"b","GroupId":"b","CreateTime":0}`)
		a, _ := s.Group("a")
		b, _ := s.Group("b")
		if a.CreateTime != time.Now().Unix() || b.CreateTime != 0 {
			t.Errorf("got %d and %d, want %d and 0", a.CreateTime, b.CreateTime, time.Now().Unix())
		}
	})
}

func TestImport_WithoutGroupID(t *testing.T) {
	s := newService()
	s.Put(emulator.Group{GroupID: "@TGS#200000002", Type: "Public"}) // the ID that the second group would get
	seen := map[string]bool{"@TGS#200000002": true}
	for _, kind := range []string{"Public", "Private", "ChatRoom", "Community"} {
		for range 3 {
			id := call(t, s, "import_group", `{"Type":"`+kind+`","Name":"twin"}`).GroupID
			prefix := "@TGS#"
			if kind == "Community" {
				prefix = "@TGS#_@TGS#"
			}
			if !strings.HasPrefix(id, prefix) || strings.HasPrefix(id, "@TGS#_") != (kind == "Community") || seen[id] {
				t.Errorf("%s: got %q, want an unused ID with the prefix %q", kind, id, prefix)
			}
			seen[id] = true
		}
	}
	if got := s.Names()["twin"]; got != 12 {
		t.Errorf("got %d groups named twin, want 12", got)
	}
}

func TestImport_GroupIDInUse(t *testing.T) {
	s := newService()
	s.Put(emulator.Group{GroupID: "theirs", Type: "Private", Name: "before", Owner: "bob"})
	s.Put(emulator.Group{GroupID: "admins", Type: "Private", Name: "before", Owner: admin})
	before := groups(s)
	for id, want := range map[string]int{"theirs": 10021, "admins": 10025} {
		for range 2 {
			if got := call(t, s, "import_group", `{"Type":"Public","Name":"after","GroupId":"`+id+`"}`).ErrorCode; got != want {
				t.Errorf("%s: got %d, want %d", id, got, want)
			}
		}
	}
	after := groups(s)
	for i := range after {
		if after[i].Requests != 2 {
			t.Errorf("%s: %d requests, want 2", after[i].GroupID, after[i].Requests)
		}
		after[i].Requests = 0
	}
	if fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("got  %+v\nwant %+v", after, before)
	}
}

func TestQuery(t *testing.T) {
	set := func(name, value string) func(url.Values) {
		return func(q url.Values) { q.Set(name, value) }
	}
	sig := func(app int, key, identifier string, expire int) func(url.Values) {
		return set("usersig", userSig(t, app, key, identifier, expire))
	}
	bob := func(q url.Values) {
		q.Set("identifier", "bob")
		sig(app, key, "bob", 3600)(q)
	}
	good := userSig(t, app, key, admin, 3600)
	for name, test := range map[string]struct {
		edit func(url.Values)
		want int
	}{
		"valid":                          {nil, 0},
		"sdkappid missing":               {func(q url.Values) { q.Del("sdkappid") }, 60012},
		"sdkappid in wrong case":         {func(q url.Values) { q["SdkAppId"] = q["sdkappid"]; q.Del("sdkappid") }, 60012},
		"sdkappid no number":             {set("sdkappid", "app"), 60006},
		"sdkappid of another app":        {set("sdkappid", "1400000002"), 70020},
		"sdkappid twice":                 {func(q url.Values) { q.Add("sdkappid", "1") }, 60002},
		"usersig missing":                {func(q url.Values) { q.Del("usersig") }, 70002},
		"usersig expired":                {sig(app, key, admin, -1), 70001},
		"usersig cut short":              {set("usersig", good[:len(good)-8]), 70003},
		"usersig no base64":              {set("usersig", "!"), 70003},
		"usersig of another key":         {sig(app, key+"0", admin, 3600), 70009},
		"usersig of another user":        {sig(app, key, "bob", 3600), 70013},
		"usersig of another app":         {sig(app+1, key, admin, 3600), 70014},
		"identifier missing":             {func(q url.Values) { q.Del("identifier") }, 70013},
		"identifier in wrong case":       {set("identifier", "Administrator"), 70013},
		"identifier signed but no admin": {bob, 60010},
		"random missing":                 {func(q url.Values) { q.Del("random") }, 60002},
		"random of zero":                 {set("random", "0"), 0},
		"random of 33 bits":              {set("random", "4294967296"), 60002},
		"random negative":                {set("random", "-1"), 60002},
		"contenttype missing":            {func(q url.Values) { q.Del("contenttype") }, 60025},
		"contenttype in wrong case":      {set("contenttype", "JSON"), 60025},
		"undocumented parameter":         {set("x", "y"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService()
			res := callQuery(t, s, query(t, test.edit))
			if res.ErrorCode != test.want {
				t.Errorf("got %d %q, want %d", res.ErrorCode, res.ErrorInfo, test.want)
			}
			if created := s.Stats().Created == 1; created != (test.want == 0) {
				t.Errorf("group created: %v", created)
			}
		})
	}
}

func TestUserSig_Expiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		q := query(t, nil) // valid for 3600 s
		for _, step := range []struct {
			sleep time.Duration
			want  int
		}{{time.Hour - 1, 0}, {1, 70001}} {
			time.Sleep(step.sleep)
			if got := callQuery(t, s, q).ErrorCode; got != step.want {
				t.Errorf("got %d, want %d", got, step.want)
			}
		}
	})
}

func TestUserSig_KeyReplaced(t *testing.T) {
	s := newService()
	q := query(t, nil)
	for _, step := range []struct {
		key  string
		want int
	}{{key, 0}, {key + "0", 70009}, {key, 0}} {
		s.Key = step.key
		if got := callQuery(t, s, q).ErrorCode; got != step.want {
			t.Errorf("with the key %q: got %d, want %d", step.key, got, step.want)
		}
	}
}

func TestUserSig_UnknownVersion(t *testing.T) {
	signs := strings.NewReplacer("*", "+", "-", "/", "_", "=")
	packed, err := base64.StdEncoding.DecodeString(signs.Replace(userSig(t, app, key, admin, 3600)))
	if err != nil {
		t.Fatal(err)
	}
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]int{"2.0": 0, "1.0": 70003} {
		var b bytes.Buffer
		w := zlib.NewWriter(&b)
		w.Write(bytes.Replace(doc, []byte(`"2.0"`), []byte(`"`+version+`"`), 1))
		w.Close()
		q := query(t, func(q url.Values) {
			signs := strings.NewReplacer("+", "*", "/", "-", "=", "_")
			q.Set("usersig", signs.Replace(base64.StdEncoding.EncodeToString(b.Bytes())))
		})
		if got := callQuery(t, newService(), q).ErrorCode; got != want {
			t.Errorf("version %s: got %d, want %d", version, got, want)
		}
	}
}

func TestService_ZeroValue(t *testing.T) {
	if got := call(t, new(emulator.Service), "import_group", `{"Type":"Public","Name":"n"}`).ErrorCode; got != 70020 {
		t.Errorf("got %d, want 70020", got)
	}
}

func TestService_PathAndMethod(t *testing.T) {
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{"POST", "/v4/group_open_http_svc/import_group", 0},
		{"POST", "/v4/group_open_http_svc/Import_group", 10003},
		{"POST", "/v4/group_open_http_svc/destroy_group", 10003},
		{"POST", "/v4/openim/import_group", 10003},
		{"POST", "/import_group", 10003},
		{"POST", "import_group", 10003},
		{"POST", "/emulator/stats", 10003},
		{"GET", "/v4/group_open_http_svc/import_group", 60002},
		{"PUT", "/v4/group_open_http_svc/import_group", 60002},
	} {
		req := newRequest(t, "", "", `{"Type":"Public","Name":"n"}`)
		req.Method, req.URL.Path = test.method, test.path
		resp, err := do(t, newService(), req)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, resp).ErrorCode; got != test.want {
			t.Errorf("%s %s: got %d, want %d", test.method, test.path, got, test.want)
		}
	}
}

func TestLimit_SlidingSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Limit = 0 // so 200
		codes := func(n int) (ok, throttled int) {
			for range n {
				switch call(t, s, "import_group", `{"Type":"Public","Name":"n"}`).ErrorCode {
				case 0:
					ok++
				case 60011:
					throttled++
				}
			}
			return ok, throttled
		}
		for _, step := range []struct {
			name          string
			sleep         time.Duration
			send          int
			ok, throttled int
		}{
			{"200 at once are within the limit", 0, 200, 200, 0},
			{"one more is over the limit", 0, 1, 0, 1},
			{"still over the limit a moment before the second ends", time.Second - 1, 1, 0, 1},
			{"after the second only the request throttled a moment ago counts", 1, 200, 199, 1},
			{"two calendar seconds share a sliding one", 600 * time.Millisecond, 1, 0, 1},
			{"after a second without requests", time.Second, 200, 200, 0},
		} {
			time.Sleep(step.sleep)
			if ok, throttled := codes(step.send); ok != step.ok || throttled != step.throttled {
				t.Errorf("%s: got %d created and %d throttled, want %d and %d", step.name, ok, throttled, step.ok, step.throttled)
			}
		}
		st := s.Stats()
		if st.Requests != 603 || st.Created != 599 || st.Throttled != 4 || st.BusiestSecond != 202 {
			t.Errorf("got %+v", st)
		}
	})
}

func TestLimit_AllCommandsBeforeSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Limit = 2
		s.Key = "another"
		var got []int
		for _, command := range []string{"import_group", "get_group_info", "import_group"} {
			got = append(got, call(t, s, command, `{}`).ErrorCode)
		}
		if want := []int{70009, 70009, 60011}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		st := s.Stats()
		if st.Imports != 2 || st.Lookups != 1 || !maps.Equal(st.Codes, map[int]int{70009: 2, 60011: 1}) {
			t.Errorf("got %+v", st)
		}
	})
}

func TestLatency_ResponsesAndErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Limit, s.Latency = 1, 50*time.Millisecond
		start := time.Now()
		for i, want := range []int{0, 60011, 60011} {
			if got := call(t, s, "import_group", `{"Type":"Public","Name":"n"}`).ErrorCode; got != want {
				t.Errorf("got %d, want %d", got, want)
			}
			if got, want := time.Since(start), time.Duration(i+1)*s.Latency; got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		if st := s.Stats(); st.First != start || st.Last != start.Add(2*s.Latency) {
			t.Errorf("got %v and %v, want the times of arrival", st.First, st.Last)
		}
	})
}

func TestJitter_Range(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Latency, s.Jitter = 50*time.Millisecond, 20*time.Millisecond
		seen := make(map[time.Duration]bool)
		for range 100 {
			start := time.Now()
			call(t, s, "import_group", `{"Type":"Public","Name":"n"}`)
			d := time.Since(start)
			if d < 50*time.Millisecond || d >= 70*time.Millisecond {
				t.Errorf("took %v", d)
			}
			seen[d] = true
		}
		if len(seen) < 90 {
			t.Errorf("got %d latencies, want about 100", len(seen))
		}
	})
}

func TestService_ConcurrentResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Latency = time.Second
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { call(t, s, "import_group", fmt.Sprintf(`{"Type":"Public","Name":"n","GroupId":"%d"}`, i)) })
		}
		wg.Wait()
		if got := time.Since(start); got != time.Second {
			t.Errorf("took %v, want 1s", got)
		}
		if got := len(groups(s)); got != 100 {
			t.Errorf("got %d groups, want 100", got)
		}
	})
}

func TestImport_ClientDisconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Latency = 5 * time.Second
		cause := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, cause)
		defer cancel()
		start := time.Now()
		_, err := do(t, s, newRequest(t, "", "import_group", groupG).WithContext(ctx))
		if !errors.Is(err, cause) || time.Since(start) != 3*time.Second {
			t.Errorf("got %v after %v, want %v after 3s", err, time.Since(start), cause)
		}
		if _, ok := s.Group("g"); !ok {
			t.Error("no group was created")
		}
		if _, err = do(t, s, newRequest(t, "", "import_group", groupG).WithContext(ctx)); !errors.Is(err, cause) {
			t.Errorf("got %v, want %v", err, cause)
		}
		if st := s.Stats(); st.Requests != 1 || st.Lost != 1 {
			t.Errorf("got %+v, want one request, lost", st)
		}
	})
}

func TestPages_NotCounted(t *testing.T) {
	s := newService()
	srv := httptest.NewServer(s)
	defer srv.Close()
	call(t, s, "import_group", `{"Type":"Public","Name":"一","GroupId":"a","CreateTime":5}`)
	call(t, s, "import_group", `{"Type":"Public","Name":"2","GroupId":"b","CreateTime":5,"Introduction":"i"}`)
	s.Put(emulator.Group{GroupID: "c", Type: "Private", Name: "3", Owner: "o"})

	for _, by := range []http.RoundTripper{s, srv.Client().Transport} {
		get := func(path string) string {
			req := httptest.NewRequest(http.MethodGet, srv.URL+path, nil)
			resp, err := do(t, by, req)
			if err != nil || resp.status != http.StatusOK || resp.contentType != "application/json" {
				t.Fatalf("got %+v, %v", resp, err)
			}
			return resp.body
		}
		want := `{"GroupId":"a","Type":"Public","Name":"一","CreateTime":5,"Made":1,"Asked":1}
{"GroupId":"b","Type":"Public","Name":"2","Introduction":"i","CreateTime":5,"Made":1,"Asked":1}
{"GroupId":"c","Type":"Private","Name":"3","Owner_Account":"o","CreateTime":0,"Made":0,"Asked":0}
`
		if got := get("/emulator/groups"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		want = `{"Requests":2,"Imports":2,"Lookups":0,"Refused":0,"Taken":2,"Lost":0,"BusiestSecond":`
		if got := get("/emulator/stats"); !strings.HasPrefix(got, want) || !strings.Contains(got, `"Codes":{"0":2}`) {
			t.Errorf("got  %s\nwant %s…", got, want)
		}
	}
}
