package emulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
)

const groupG = `{"Type":"Public","Name":"n","GroupId":"g"}`

func always(f emulator.Fault) emulator.Faults {
	return emulator.Faults{Plan: func(emulator.Request) emulator.Fault { return f }}
}

func TestFaults_BeforeOrAfterEffect(t *testing.T) {
	for _, test := range []struct {
		fault   emulator.Fault
		name    string
		created bool
		want    string // what the client sees
	}{
		{emulator.None, "none", true, "200 code 0"},
		{emulator.DropBefore, "drop before", false, "connection reset"},
		{emulator.DropAfter, "drop after", true, "connection reset"},
		{emulator.Hang, "hang", false, "context deadline exceeded"},
		{emulator.HangAfter, "hang after", true, "context deadline exceeded"},
		{emulator.BadGateway, "bad gateway", false, "502 html"},
		{emulator.BadGatewayAfter, "bad gateway after", true, "502 html"},
		{emulator.Internal, "internal", false, "200 code 10002"},
		{emulator.InternalAfter, "internal after", true, "200 code 10002"},
		{emulator.Garbage, "garbage", false, "200 garbage"},
		{emulator.GarbageAfter, "garbage after", true, "200 garbage"},
		{emulator.Forbidden, "forbidden", false, "403 html"},
		{emulator.TooLarge, "too large", false, "413 html"},
		{emulator.Unavailable, "unavailable", false, "503 html"},
		{emulator.Disbanded, "disbanded", false, "200 code 10021"},
		{70009, "a code", false, "200 code 70009"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				s.Faults = always(test.fault)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				resp, err := do(t, s, newRequest(t, "", "import_group", groupG).WithContext(ctx))
				if got := see(t, resp, err); got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
				if _, created := s.Group("g"); created != test.created {
					t.Errorf("group created: %v, want %v", created, test.created)
				}
				responded := strings.HasPrefix(test.want, "200 code")
				if st := s.Stats(); (st.Lost == 0) != responded || (len(st.Codes) == 1) != responded {
					t.Errorf("got %+v", st)
				}
			})
		})
	}
}

// see describes a response as a client sees it.
func see(t *testing.T, resp response, err error) string {
	t.Helper()
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case err != nil:
		return err.Error()
	case resp.status != http.StatusOK:
		return fmt.Sprint(resp.status, " ", strings.TrimPrefix(resp.contentType, "text/"))
	}
	var a map[string]any
	if json.Unmarshal([]byte(resp.body), &a) != nil {
		return "200 garbage"
	}
	status, ok := a["ActionStatus"]
	code, there := a["ErrorCode"]
	if !ok || !there || (status == "OK") != (code == 0.) {
		return "200 garbage"
	}
	return fmt.Sprint("200 code ", code)
}

func TestGarbage_NotAResponse(t *testing.T) {
	s := newService()
	s.Faults = always(emulator.Garbage)
	for range 200 {
		resp, err := send(t, s, "import_group", groupG)
		if got := see(t, resp, err); got != "200 garbage" {
			t.Errorf("got %s", got)
		}
	}
}

func TestDrop_OverNetwork(t *testing.T) {
	for _, test := range []struct {
		name    string
		fault   emulator.Fault
		created bool
	}{
		{"before", emulator.DropBefore, false},
		{"after", emulator.DropAfter, true},
	} {
		for _, protocol := range []int{1, 2} {
			t.Run(fmt.Sprint(test.name, " HTTP/", protocol), func(t *testing.T) {
				s := newService()
				srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.ProtoMajor != protocol {
						t.Errorf("got a request over %s", r.Proto)
					}
					s.ServeHTTP(w, r)
				}))
				srv.EnableHTTP2 = protocol == 2
				srv.StartTLS()
				defer srv.Close()
				post := func(body string) error {
					resp, err := do(t, srv.Client().Transport, newRequest(t, srv.URL, "import_group", body))
					if err == nil {
						read(t, resp)
					}
					return err
				}
				if err := post(`{"Type":"Public","Name":"n"}`); err != nil { // so that the next one finds a connection
					t.Fatal(err)
				}
				s.SetFaults(always(test.fault))
				if err := post(groupG); err == nil {
					t.Error("got a response")
				}
				if _, created := s.Group("g"); created != test.created {
					t.Errorf("group created: %v, want %v", created, test.created)
				}
				if st := s.Stats(); st.Requests != 2 || st.Lost != 1 {
					t.Errorf("got %+v, want 2 requests, one of them lost", st)
				}
				s.SetFaults(emulator.Faults{})
				if err := post(`{"Type":"Public","Name":"n"}`); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		}
	}
}

func TestHang_ClientDisconnects(t *testing.T) {
	s := newService()
	s.Faults = always(emulator.HangAfter)
	srv := httptest.NewServer(s)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for s.Stats().Created == 0 && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	})
	req := newRequest(t, srv.URL, "import_group", groupG).WithContext(ctx)
	if _, err := do(t, srv.Client().Transport, req); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	wg.Wait()
	srv.Close() // waits for the handler
	if st := s.Stats(); st.Created != 1 || st.Lost != 1 {
		t.Errorf("got %+v", st)
	}
}

func TestLimit_WithoutFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.Limit = 1
		planned := 0
		s.Faults.Plan = func(emulator.Request) emulator.Fault { planned++; return emulator.DropBefore }
		send(t, s, "import_group", groupG)
		if got := call(t, s, "import_group", groupG).ErrorCode; got != 60011 || planned != 1 {
			t.Errorf("got %d after %d plans, want 60011 after 1", got, planned)
		}
	})
}

func TestFaults_Plan(t *testing.T) {
	s := newService()
	var got []emulator.Request
	s.Faults.Plan = func(r emulator.Request) emulator.Fault {
		got = append(got, r)
		return emulator.None
	}
	call(t, s, "import_group", groupG)
	call(t, s, "get_group_info", `{"GroupIdList":["g"]}`)
	call(t, s, "import_group", `no JSON`)
	want := []emulator.Request{
		{Command: "import_group", Ordinal: 1, GroupID: "g", Name: "n"},
		{Command: "get_group_info", Ordinal: 2},
		{Command: "import_group", Ordinal: 3},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestFaults_Shares(t *testing.T) {
	faults := emulator.Faults{
		Seed: 7, DropBefore: .1, DropAfter: .1, BadGateway: .1, Internal: .1, InternalAfter: .1, Throttle: .1,
		CodeShare: .2, Code: 70009,
	}
	throttleCodes := []string{"200 code 60007", "200 code 60011", "200 code 60018", "200 code 60019", "200 code 10006"}
	run := func(n int) (map[string]float64, string) {
		s := newService()
		s.Faults = faults
		shares := make(map[string]float64)
		var order strings.Builder
		for range n {
			resp, err := send(t, s, "import_group", `{"Type":"Public","Name":"n"}`)
			what := see(t, resp, err)
			order.WriteString(what)
			if slices.Contains(throttleCodes, what) {
				shares["throttle"] += 1 / float64(n)
			}
			shares[what] += 1 / float64(n)
		}
		shares["created"] = float64(s.Stats().Created) / float64(n)
		return shares, order.String()
	}
	got, order := run(4000)
	for what, want := range map[string]float64{
		"connection reset": .2, "502 html": .1, "200 code 10002": .2, "throttle": .1, "200 code 60018": .02,
		"200 code 70009": .2, "200 code 0": .2, "created": .4,
	} {
		if math.Abs(got[what]-want) > .02 {
			t.Errorf("%s: got a share of %.3f, want %.3f", what, got[what], want)
		}
	}
	if _, again := run(500); !strings.HasPrefix(order, again) {
		t.Error("the same seed gave other faults")
	}
	faults.Seed++
	if _, other := run(500); strings.HasPrefix(order, other) {
		t.Error("another seed gave the same faults")
	}
}

func TestParseFaults(t *testing.T) {
	for _, test := range []struct {
		line string
		want emulator.Faults
	}{
		{"", emulator.Faults{}},
		{"seed=7", emulator.Faults{Seed: 7}},
		{
			"drop-after=0.01,internal=0.02,code=70009:1e-2,seed=7",
			emulator.Faults{DropAfter: .01, Internal: .02, Code: 70009, CodeShare: .01, Seed: 7},
		},
		{
			"drop-before=.1, hang=.1, hang-after=.1, bad-gateway=.1, bad-gateway-after=.1, internal-after=.1, " +
				"garbage=.1, garbage-after=.1, throttle=.1, drop-after=.1",
			emulator.Faults{
				DropBefore: .1, DropAfter: .1, Hang: .1, HangAfter: .1, BadGateway: .1, BadGatewayAfter: .1,
				InternalAfter: .1, Garbage: .1, GarbageAfter: .1, Throttle: .1,
			},
		},
		{"forbidden=.1,too-large=.2,unavailable=.3,disbanded=.4,retry-after=5", emulator.Faults{
			Forbidden: .1, TooLarge: .2, Unavailable: .3, Disbanded: .4, RetryAfter: 5 * time.Second,
		}},
	} {
		got, err := emulator.ParseFaults(test.line)
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", test.want) {
			t.Errorf("%q: got %+v, %v, want %+v", test.line, got, err, test.want)
		}
	}
}

func TestParseFaults_Mistakes(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"drop=0.1", `unknown fault "drop", must be one of drop-before, drop-after, hang, hang-after, bad-gateway, ` +
			"bad-gateway-after, internal, internal-after, garbage, garbage-after, throttle, code, forbidden, too-large, " +
			"unavailable, disbanded, seed, retry-after"},
		{"hang", `hang: "" is not a share from 0 to 1`},
		{"hang=NaN", `hang: "NaN" is not a share from 0 to 1`},
		{"hang=1.1,internal=-1", "hang: \"1.1\" is not a share from 0 to 1\ninternal: \"-1\" is not a share from 0 to 1"},
		{"hang=.1,hang=.1", `duplicate fault hang`},
		{"hang=.6,internal=.6", `the sum of the shares is 1.2, must be at most 1`},
		{"code=70009", `code: "" is not a share from 0 to 1`},
		{"code=9:1", `code: "9:1" is not a code of 10000 or more, a colon and a share`},
		{"retry-after=1.5", `retry-after: "1.5" is not a number of seconds from 0 to 65535`},
		{"seed=x", `seed: "x" is not an integer of 0 or more`},
	} {
		if _, err := emulator.ParseFaults(test.line); err == nil || err.Error() != test.want {
			t.Errorf("%q: got %v, want %s", test.line, err, test.want)
		}
	}
}

func TestUnavailable_RetryAfter(t *testing.T) {
	for _, test := range []struct {
		after time.Duration
		want  string
	}{{0, "2"}, {90 * time.Second, "90"}} {
		s := newService()
		s.Faults = always(emulator.Unavailable)
		s.Faults.RetryAfter = test.after
		inProcess, err := s.RoundTrip(newRequest(t, "", "import_group", groupG))
		if err != nil || inProcess.Header.Get("Retry-After") != test.want {
			t.Errorf("in process: got %v, %v, want %s", inProcess.Header, err, test.want)
		}
		_ = inProcess.Body.Close()
		srv := httptest.NewServer(s)
		overNetwork, err := srv.Client().Do(newRequest(t, srv.URL, "import_group", groupG))
		if err != nil || overNetwork.Header.Get("Retry-After") != test.want {
			t.Errorf("over the network: got %v, %v, want %s", overNetwork.Header, err, test.want)
		}
		_ = overNetwork.Body.Close()
		srv.Close()
	}
}

func TestDisband_IDReserved(t *testing.T) {
	s := newService()
	s.Put(emulator.Group{GroupID: "own", Type: "Public", Name: "n", Owner: "administrator"})
	call(t, s, "import_group", groupG)
	for _, id := range []string{"g", "own", "never created"} {
		s.Disband(id)
		body := fmt.Sprintf(`{"Type":"Public","Name":"n","GroupId":%q}`, id)
		if got := call(t, s, "import_group", body).ErrorCode; got != 10021 {
			t.Errorf("%s: got code %d, want 10021", id, got)
		}
		if got := info(t, s, id); !strings.Contains(got, `"ErrorCode":10010`) {
			t.Errorf("%s: got %s, want 10010", id, got)
		}
	}
	if got := s.Names(); len(got) != 0 {
		t.Errorf("got %v, want no group", got)
	}
	s.Put(emulator.Group{GroupID: "g", Type: "Public", Name: "back"})
	if got, ok := s.Group("g"); !ok || got.Name != "back" {
		t.Errorf("got %+v, %v, want the group of Put", got, ok)
	}
}

func TestDisbanded_ExistingGroup(t *testing.T) {
	s := newService()
	call(t, s, "import_group", groupG)
	s.SetFaults(always(emulator.Disbanded))
	if got := call(t, s, "import_group", groupG).ErrorCode; got != 10021 || s.Names()["n"] != 1 {
		t.Errorf("got code %d and %v", got, s.Names())
	}
	if got := call(t, s, "import_group", `{"Type":"Public","Name":"without"}`).ErrorCode; got != 0 {
		t.Errorf("without a GroupId: got code %d, want 0", got)
	}
	s.SetFaults(emulator.Faults{})
	if got := call(t, s, "import_group", groupG).ErrorCode; got != 10021 {
		t.Errorf("afterwards: got code %d, want 10021", got)
	}
}

func TestReadLag_NewGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.ReadLag = 5 * time.Second
		s.Put(emulator.Group{GroupID: "old", Type: "Public", Name: "o"})
		call(t, s, "import_group", groupG)
		if got := info(t, s, "g"); !strings.Contains(got, `"ErrorCode":10010`) {
			t.Errorf("immediately: got %s, want 10010", got)
		}
		if got := info(t, s, "old"); strings.Contains(got, "10010") {
			t.Errorf("a group of Put: got %s", got)
		}
		time.Sleep(5 * time.Second)
		if got := info(t, s, "g"); strings.Contains(got, "10010") {
			t.Errorf("5 s later: got %s", got)
		}
	})
}

// info looks up one GroupId and returns the body of the response.
func info(t *testing.T, s *emulator.Service, id string) string {
	t.Helper()
	resp, err := send(t, s, "get_group_info", fmt.Sprintf(`{"GroupIdList":[%q]}`, id))
	if err != nil {
		t.Fatal(err)
	}
	return resp.body
}
