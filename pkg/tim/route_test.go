package tim_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/emulator"
	"groupimport/pkg/tim"
)

// closedPort returns the base URL of a port without a listener.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return "http://" + l.Addr().String()
}

func backup(url string) func(*tim.Config) { return func(c *tim.Config) { c.Backup = url } }

func endpoint(url string) func(*tim.Config) { return func(c *tim.Config) { c.Endpoint = url } }

// dialer returns a transport that dials with f.
func dialer(f func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Transport {
	return &http.Transport{DialContext: f, MaxIdleConnsPerHost: 10}
}

func TestBackup_Hosts(t *testing.T) {
	want := map[string]string{
		"china":         "https://adminapi.my-imcloud.com",
		"singapore":     "https://adminapisgp.my-imcloud.com",
		"seoul":         "https://adminapikr.my-imcloud.com",
		"frankfurt":     "https://adminapiger.my-imcloud.com",
		"india":         "https://adminapiind.my-imcloud.com",
		"siliconvalley": "https://adminapiusa.my-imcloud.com",
		"jakarta":       "https://adminapiidn.my-imcloud.com",
		"tokyo":         "", // no document of the vendor names one
	}
	for _, region := range tim.Regions() {
		main, err := tim.Endpoint(region)
		if got, known := want[region]; tim.Backup(main) != got || !known || err != nil {
			t.Errorf("%s: got %q, want %q", region, tim.Backup(main), got)
		}
	}
	if got := tim.Backup("https://proxy.example"); got != "" {
		t.Errorf("another endpoint: got %q, want none", got)
	}
	_, err := tim.New(tim.Config{Endpoint: "https://im.example", Backup: "ftp://u:hush@im.example", Rate: 1})
	if err == nil || !strings.HasPrefix(err.Error(), "backup: ") || strings.Contains(err.Error(), "hush") {
		t.Errorf("got %v", err)
	}
}

func TestBackup_MainHostUnreachable(t *testing.T) {
	t.Parallel()
	tlsMain := httptest.NewTLSServer(newService()) // its certificate is not trusted
	t.Cleanup(tlsMain.Close)
	unresolved := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, "main.example") {
			err := &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	for _, test := range []struct {
		name      string
		main      string
		transport http.RoundTripper
	}{
		{"its port is closed", closedPort(t), nil},
		{"its certificate is not trusted", tlsMain.URL, nil},
		{"its name does not resolve", "http://main.example", dialer(unresolved)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newService()
			srv := httptest.NewServer(s)
			t.Cleanup(srv.Close)
			var log bytes.Buffer
			c := newClient(t, test.transport, endpoint(test.main), backup(srv.URL), func(cfg *tim.Config) {
				cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
			})
			for i := range 20 {
				got := c.ImportGroup(t.Context(), record("", fmt.Sprint(i))).Wait()
				if got.End != tim.Imported || got.Attempts != 1 {
					t.Errorf("got %s %q, want imported by the first attempt", short(got), got.Message)
				}
			}
			if got := s.Stats().Requests; got != 20 || len(s.Names()) != 20 {
				t.Errorf("got %d requests and %d groups, want 20", got, len(s.Names()))
			}
			if n := strings.Count(log.String(), "host changed"); n != 1 {
				t.Errorf("got %d log lines about the host, want 1:\n%s", n, &log)
			}
		})
	}
}

func TestBackup_UnusedAfterLostResponse(t *testing.T) {
	t.Parallel()
	for _, fault := range []emulator.Fault{
		emulator.DropBefore, emulator.DropAfter, emulator.BadGatewayAfter, emulator.Garbage, emulator.Forbidden,
	} {
		t.Run(fmt.Sprint(int(fault)), func(t *testing.T) {
			t.Parallel()
			main, second := newService(), newService()
			main.Faults = imports(fault)
			mainSrv, secondSrv := httptest.NewServer(main), httptest.NewServer(second)
			t.Cleanup(mainSrv.Close)
			t.Cleanup(secondSrv.Close)
			c := newClient(t, nil, maxAttempts(2), endpoint(mainSrv.URL), backup(secondSrv.URL))
			for _, id := range []string{"", "g"} {
				c.ImportGroup(t.Context(), record(id, "n"+id)).Wait()
			}
			if got := second.Stats().Requests; got != 0 {
				t.Errorf("got %d requests at the backup, want none", got)
			}
		})
	}
}

func TestBackup_BothHostsDown(t *testing.T) {
	t.Parallel()
	c := newClient(t, nil, maxAttempts(2), endpoint(closedPort(t)), backup(closedPort(t)))
	got := c.ImportGroup(t.Context(), record("", "n")).Wait()
	if want := `incomplete "" code 0 attempts 2`; short(got) != want {
		t.Errorf("got %s %q, want %s", short(got), got.Message, want)
	}
	if s := c.Fatal(); s == nil || strings.Count(s.Reason, "connection refused") != 2 {
		t.Errorf("got fatal error %+v, want both hosts' errors", s)
	}
}

// hosts is an in-process transport with unreachable hosts. It counts the requests by host.
type hosts struct {
	service *emulator.Service
	down    func(host string) bool
	hang    bool // connecting to a host that is down hangs instead of failing
	dials   map[string]int
}

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	h.dials[r.URL.Host]++
	if !h.down(r.URL.Host) {
		return h.service.RoundTrip(r)
	}
	if h.hang {
		<-r.Context().Done()
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: io.ErrUnexpectedEOF}
}

func TestBackup_MainHostTriedEveryFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		h := &hosts{service: newService(), dials: map[string]int{}, down: func(host string) bool {
			return host == "main.example" && time.Since(start) < 12*time.Minute
		}}
		c := newClient(t, h, endpoint("https://main.example"), backup("https://backup.example"))
		for i := 0; time.Since(start) < 30*time.Minute; i++ {
			got := c.ImportGroup(t.Context(), record("", fmt.Sprint(i))).Wait()
			if got.End != tim.Imported || got.Attempts != 1 {
				t.Fatalf("after %v: got %s %q", time.Since(start), short(got), got.Message)
			}
			switch since := time.Since(start); {
			case since < 12*time.Minute:
				if got, limit := h.dials["main.example"], 1+int(since/(5*time.Minute)); got > limit {
					t.Fatalf("after %v: got %d attempts at the main host, want at most %d", since, got, limit)
				}
			case since > 16*time.Minute && h.dials["main.example"] < 2:
				t.Fatalf("after %v: got no attempt at the main host", since)
			}
			time.Sleep(time.Second)
		}
		if got := h.dials["backup.example"]; got > 15*60+60 {
			t.Errorf("got %d attempts at the backup, want none after some 15 minutes", got)
		}
	})
}

func TestBackup_MainHostHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hosts{service: newService(), dials: map[string]int{}, hang: true}
		h.down = func(host string) bool { return host == "main.example" }
		c := newClient(t, h, endpoint("https://main.example"), backup("https://backup.example"))
		got := c.ImportGroup(t.Context(), record("", "n")).Wait()
		if got.End != tim.Imported || got.Attempts != 2 {
			t.Errorf("got %s %q, want imported by the second attempt", short(got), got.Message)
		}
	})
}

// A frozenConn is the client's end of a connection while its process is frozen: nothing notices that the service closed
// the connection. After the freeze, the first write goes into the socket's buffer before a read finds the end.
type frozenConn struct {
	net.Conn
	frozen atomic.Bool
	thawed chan struct{}
	thaw   sync.Once
}

func (c *frozenConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.frozen.Load() {
		<-c.thawed
	}
	return n, err
}

func (c *frozenConn) Write(p []byte) (int, error) {
	if c.frozen.Load() {
		c.thaw.Do(func() { close(c.thawed) })
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *frozenConn) Close() error {
	c.thaw.Do(func() { close(c.thawed) })
	return c.Conn.Close()
}

// serveConn lets s serve the requests of a connection.
func serveConn(s *emulator.Service, conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		resp, err := s.RoundTrip(req)
		if err != nil {
			return
		}
		err = resp.Write(conn)
		_ = resp.Body.Close()
		if err != nil {
			return
		}
	}
}

func TestConnection_IdleAfterFreeze(t *testing.T) {
	for _, test := range []struct {
		name   string
		pause  time.Duration
		closed bool // the service closes the connection meanwhile
		dials  int
	}{
		{"frozen for a minute", time.Minute, true, 2},
		{"frozen for six seconds", 6 * time.Second, true, 2},
		{"idle for four seconds", 4 * time.Second, false, 1},
	} {
		for _, id := range []string{"", "g"} {
			t.Run(test.name+", GroupId "+id, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService()
					var conns []*frozenConn
					var far []net.Conn
					transport := dialer(func(context.Context, string, string) (net.Conn, error) {
						near, service := net.Pipe()
						go serveConn(s, service)
						conns = append(conns, &frozenConn{Conn: near, thawed: make(chan struct{})})
						far = append(far, service)
						return conns[len(conns)-1], nil
					})
					transport.IdleConnTimeout = 0 // its timer does not run during a freeze
					c := newClient(t, transport, endpoint("http://im.example"))
					if got := c.ImportGroup(t.Context(), record(id, "before")).Wait(); got.End != tim.Imported {
						t.Fatalf("got %s %q", short(got), got.Message)
					}
					if test.closed {
						conns[0].frozen.Store(true)
						_ = far[0].Close()
					}
					time.Sleep(test.pause)
					after := record(id, "after")
					after.GroupID += id
					got := c.ImportGroup(t.Context(), after).Wait()
					if got.End != tim.Imported || got.Attempts != 1 || len(conns) != test.dials {
						t.Errorf("got %s %q over %d connections, want imported over %d", short(got), got.Message, len(conns), test.dials)
					}
					c.Close()
				})
			})
		}
	}
}
