package tim_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tencentyun/tls-sig-api-v2-golang/tencentyun"

	"groupimport/pkg/group"
	"groupimport/pkg/tim"
)

func TestEndpoint_Hosts(t *testing.T) {
	want := map[string]string{
		"china":         "https://console.tim.qq.com",
		"singapore":     "https://adminapisgp.im.qcloud.com",
		"seoul":         "https://adminapikr.im.qcloud.com",
		"frankfurt":     "https://adminapiger.im.qcloud.com",
		"india":         "https://adminapiind.im.qcloud.com",
		"siliconvalley": "https://adminapiusa.im.qcloud.com",
		"jakarta":       "https://adminapiidn.im.qcloud.com",
		"tokyo":         "https://adminapijpn.im.qcloud.com",
	}
	for region, host := range want {
		if got, err := tim.Endpoint(region); got != host || err != nil {
			t.Errorf("%s: got %q, %v, want %q", region, got, err, host)
		}
	}
	if got := tim.Regions(); len(got) != len(want) || !slices.IsSorted(got) {
		t.Errorf("got %v", got)
	}
	_, err := tim.Endpoint("China")
	if err == nil || !strings.Contains(err.Error(), `"China" is not one of china, frankfurt`) {
		t.Errorf("got %v", err)
	}
}

func TestNew_InvalidEndpoints(t *testing.T) {
	for _, endpoint := range []string{
		"", "im.example", "im.example:443", "ftp://im.example", "https://", "https:/im.example", "https://u:hush@im.example",
		"https://im.example?x=1", "https://u:hush@im .example", "https://u:hush@im.example:port",
	} {
		_, err := tim.New(tim.Config{Endpoint: endpoint, Rate: 1})
		if err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: got %v", endpoint, err)
		}
	}
}

// A wire is a request as received.
type wire struct {
	method, path, proto, contentType, body string
	query                                  url.Values
}

// serve starts a server that responds OK, to import_group with code if it is not 0. It returns the received requests.
func serve(t *testing.T, code int) (*httptest.Server, func() []wire) {
	t.Helper()
	var mu sync.Mutex
	var seen []wire
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, wire{r.Method, r.URL.EscapedPath(), r.Proto, r.Header.Get("Content-Type"), string(body), query})
		if code != 0 && strings.HasSuffix(r.URL.Path, "/import_group") {
			fmt.Fprintf(w, `{"ActionStatus":"FAIL","ErrorCode":%d,"ErrorInfo":""}`, code)
			return
		}
		_, _ = io.WriteString(w, `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"from the service",`+
			`"GroupInfo":[{"GroupId":"g\"1","Type":"Public","Name":"another"}]}`)
	}))
	t.Cleanup(srv.Close)
	return srv, func() []wire {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

func TestRequest_MatchesDocument(t *testing.T) {
	t.Parallel()
	const admin = `a b+c&d=e/f?g%20~"`
	for _, path := range []string{"", "/", "/base/of%2Fa/proxy", "/base/"} {
		srv, seen := serve(t, 10021)
		c := newClient(t, nil, maxAttempts(1), func(cfg *tim.Config) { cfg.Endpoint, cfg.Admin = srv.URL+path, admin })
		rec := record(`g"1`, "名字 \x00\x01\x7f<>&\u2028")
		rec.AppDefinedData = []group.Datum{{Key: "k", Value: "abc\x00\x01\u0080ÿ"}}
		c.ImportGroup(t.Context(), rec).Wait()

		got := seen()
		if len(got) != 2 {
			t.Fatalf("got %d requests, want 2", len(got))
		}
		for i, command := range []string{"import_group", "get_group_info"} {
			r := got[i]
			if want := strings.TrimSuffix(path, "/") + "/v4/group_open_http_svc/" + command; r.path != want {
				t.Errorf("got path %s, want %s", r.path, want)
			}
			if r.method != "POST" || r.contentType != "application/json" || r.proto != "HTTP/1.1" {
				t.Errorf("got %s, %s, %s", r.method, r.contentType, r.proto)
			}
			random, err := strconv.ParseUint(r.query.Get("random"), 10, 32)
			if err != nil {
				t.Errorf("random %d: %v", random, err)
			}
			if err := tencentyun.VerifyUserSig(testApp, testKey, admin, r.query.Get("usersig"), time.Now()); err != nil {
				t.Errorf("usersig: %v", err)
			}
			r.query.Del("random")
			r.query.Del("usersig")
			if got, want := r.query.Encode(), (url.Values{
				"sdkappid": {strconv.Itoa(testApp)}, "identifier": {admin}, "contenttype": {"json"},
			}).Encode(); got != want {
				t.Errorf("got query %s, want %s and two more", got, want)
			}
		}
		if want := string(rec.AppendJSON(nil)); got[0].body != want {
			t.Errorf("got body %q, want %q", got[0].body, want)
		}
		// Package group tests the escapes. Here the bytes must arrive unchanged.
		want := `{"GroupIdList":["g\"1"],` +
			`"ResponseFilter":{"GroupBaseInfoFilter":["Type","Name","Owner_Account","CreateTime"]}}`
		if got[1].body != want {
			t.Errorf("got body %s, want %s", got[1].body, want)
		}
	}
}

func TestRequest_SpaceInIdentifier(t *testing.T) {
	var raw string
	c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
		raw = r.URL.RawQuery
		return respond(200, `{"ActionStatus":"OK","ErrorCode":0}`), nil
	}), func(cfg *tim.Config) { cfg.Admin = "a b+" })
	c.ImportGroup(t.Context(), record("g", "n")).Wait()
	if want := "&identifier=a%20b%2B&"; !strings.Contains(raw, want) {
		t.Errorf("got %s, want %s in it", raw, want)
	}
}

func TestRequest_Random(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]int)
	large := 0
	c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		random := r.URL.Query().Get("random")
		seen[random]++
		if n, err := strconv.ParseUint(random, 10, 32); err != nil {
			t.Error(err)
		} else if n >= 1<<31 {
			large++
		}
		return respond(200, `{"ActionStatus":"OK","ErrorCode":0}`), nil
	}), rate(10000))
	results := importAll(t.Context(), c, records(500, true))
	if got := countEnds(results)["imported"]; got != 500 || len(seen) < 499 {
		t.Errorf("got %v with %d values of random", countEnds(results), len(seen))
	}
	if large < 150 || large > 350 { // half of them have the 32nd bit
		t.Errorf("got %d of 500 above 31 bits", large)
	}
}

func TestImportGroup_GroupIDOfService(t *testing.T) {
	t.Parallel()
	srv, _ := serve(t, 0)
	c := newClient(t, nil, func(cfg *tim.Config) { cfg.Endpoint = srv.URL })
	got := short(c.ImportGroup(t.Context(), record("g", "n")).Wait())
	if want := `imported "from the service" code 0 attempts 1`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestConnection_KeptForAllInFlight(t *testing.T) {
	t.Parallel()
	const inFlight = 40
	var mu sync.Mutex
	waiting, opened := 0, 0
	release := make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		waiting++
		mine := release
		if waiting == inFlight { // all are in flight
			waiting, release = 0, make(chan struct{})
			close(mine)
		}
		mu.Unlock()
		<-mine
		_, _ = io.WriteString(w, `{"ActionStatus":"OK","ErrorCode":0}`)
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		if state == http.StateNew {
			opened++
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	c := newClient(t, nil, rate(1000), func(cfg *tim.Config) { cfg.Endpoint = srv.URL })
	for round := range 3 {
		results := importAll(t.Context(), c, records(inFlight, true))
		if got := countEnds(results)["imported"]; got != inFlight {
			t.Errorf("round %d: got %v", round, countEnds(results))
		}
		mu.Lock()
		if opened < inFlight || opened > inFlight+5 {
			t.Errorf("round %d: got %d connections so far, want %d or a few more", round, opened, inFlight)
		}
		mu.Unlock()
	}
}

func TestConnection_HTTP1Only(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"ActionStatus":"OK","ErrorCode":0,"GroupId":%q}`, r.Proto)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	standard := http.DefaultTransport.(*http.Transport) // the client clones it
	_ = standard.Clone()                                // initializes it, like its first use
	standard.TLSClientConfig.RootCAs = roots
	t.Cleanup(func() { standard.TLSClientConfig.RootCAs = nil })

	c := newClient(t, nil, maxAttempts(1), func(cfg *tim.Config) { cfg.Endpoint = srv.URL })
	got := c.ImportGroup(t.Context(), record("", "n")).Wait()
	if want := `imported "HTTP/1.1" code 0 attempts 1`; short(got) != want {
		t.Errorf("got %s %q, want %s", short(got), got.Message, want)
	}
}

func TestRedirect_NotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308, 401, 404} {
		target, seen := serve(t, 0)
		srv := httptest.NewServer(http.RedirectHandler(target.URL, status))
		c := newClient(t, nil, func(cfg *tim.Config) { cfg.Endpoint = srv.URL })
		got := c.ImportGroup(t.Context(), record("", "n")).Wait()
		srv.Close()
		if want := `incomplete "" code 0 attempts 1`; short(got) != want {
			t.Errorf("%d: got %s %q, want %s", status, short(got), got.Message, want)
		}
		if s := c.Fatal(); s == nil || !strings.Contains(s.Reason, fmt.Sprintf("HTTP %d instead of a response", status)) {
			t.Errorf("%d: got fatal error %+v", status, s)
		}
		if n := len(seen()); n != 0 {
			t.Errorf("%d: got %d requests at the target", status, n)
		}
	}
}

func TestResponse_TooLong(t *testing.T) {
	var read int
	c := newClient(t, transport(func(*http.Request) (*http.Response, error) {
		resp := respond(200, "")
		resp.Body = io.NopCloser(readFunc(func(p []byte) (int, error) {
			read += len(p)
			for i := range p {
				p[i] = ' '
			}
			return len(p), nil
		}))
		return resp, nil
	}))
	got := c.ImportGroup(context.Background(), record("", "n")).Wait()
	want := "response lost, the group may exist: the response is longer than 1 MB"
	if got.Message != want || read > 2<<20 {
		t.Errorf("got %q after %d bytes, want %q", got.Message, read, want)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
