package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"groupimport/pkg/emulator"
)

const serveToken = "0123456789abcdef"

// serve starts the command serve for the workspace's folder and returns its address.
func (d *workspace) serve(flags ...string) (p *process, address string) {
	d.t.Helper()
	d.env = append(d.env, "HTTP_TOKEN="+serveToken)
	name, err := binary()
	if err != nil {
		d.t.Fatal(err)
	}
	p = &process{Cmd: exec.CommandContext(d.t.Context(), name,
		append([]string{"serve", "--listen", "127.0.0.1:0", "."}, flags...)...)}
	p.Dir, p.Env = d.dir, d.env
	out, err := p.StderrPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		d.t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		d.t.Fatal(err)
	}
	serving := regexp.MustCompile(`^groupimport: serving \. at https?://(127\.0\.0\.1:\d+); Ctrl-C stops gracefully\n$`)
	found := serving.FindStringSubmatch(line)
	if found == nil {
		d.t.Fatalf("got %q, want the address", line)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }() // ends with the process
	return p, found[1]
}

// sendGroup sends one group.
func sendGroup(t *testing.T, client *http.Client, address, body string) (status int, answer string) {
	t.Helper()
	url := "http://" + address + "/groups"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+serveToken)
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(text)
}

// TestServe_FiveHundredRequestsIn64MB is not parallel: it uses all processors.
func TestServe_FiveHundredRequestsIn64MB(t *testing.T) {
	d := newWorkspace(t, 1, true)
	p, address := d.serve()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 500}}
	defer client.CloseIdleConnections()
	// Each body is almost as long as serve accepts, and its group almost as large as the service accepts.
	var custom []string
	for n := range 10 {
		custom = append(custom, fmt.Sprintf(`{"Key":"k%d","Value":"%s"}`, n, strings.Repeat(`\u0001`, 500)))
	}
	start := time.Now()
	for round := range 2 {
		var wg sync.WaitGroup
		for n := range 500 {
			wg.Go(func() {
				body := fmt.Sprintf(`{"Type":"Public","Name":"n%d-%d","AppDefinedData":[%s]%s}`,
					round, n, strings.Join(custom, ","), strings.Repeat(" ", 30_000))
				status, answer := sendGroup(t, client, address, body)
				for status == http.StatusServiceUnavailable && strings.Contains(answer, `"retry":"safe"`) {
					// On a busy machine it waited too long for a permit, or a request of the first round has not ended.
					status, answer = sendGroup(t, client, address, body)
				}
				if status != http.StatusCreated {
					t.Errorf("got %d: %s", status, answer)
				}
			})
		}
		wg.Wait()
	}
	// The rate is that of all requests, from before the first until after the last: on a busy machine it is lower. Tests
	// in virtual time check each second.
	rate := 999 / time.Since(start).Seconds()
	if got := d.service.Stats(); got.Created != 1000 || got.Requests != 1000 || rate > 190 {
		t.Errorf("got %d groups of %d requests at %v a second, want 1000 of 1000 at 190", got.Created, got.Requests, rate)
	}
	if peak := peakMemory(t, p.Process.Pid); peak > 64<<10 {
		t.Errorf("got a peak of %d kB, want 64 MB at most", peak)
	} else {
		t.Logf("peak memory %d kB", peak)
	}
	p.signal(t, syscall.SIGINT)
	if got := p.end(t); got != exitOK {
		t.Errorf("got exit status %d, want %d", got, exitOK)
	}
}

// peakMemory returns the largest resident size of a process so far, in kB; 0 on systems without /proc.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		return 0
	}
	peak, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return peak
}

func TestServe_SignalStopsGracefully(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 1, true)
	d.service.SetFaults(emulator.Faults{Plan: func(emulator.Request) emulator.Fault {
		time.Sleep(500 * time.Millisecond)
		return emulator.None
	}})
	p, address := d.serve()
	var wg sync.WaitGroup
	wg.Go(func() {
		status, body := sendGroup(t, http.DefaultClient, address, `{"Type":"Public","Name":"in flight"}`)
		if status != http.StatusCreated {
			t.Errorf("got %d, want the response to the request in flight: %s", status, body)
		}
	})
	d.waitFor(1)
	p.signal(t, syscall.SIGTERM)
	if got := p.end(t); got != exitOK {
		t.Errorf("got exit status %d, want %d", got, exitOK)
	}
	wg.Wait()
}

func TestServe_TLS(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 1, true)
	for _, args := range [][]string{
		{
			"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
			"-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem",
		},
	} {
		cmd := exec.CommandContext(t.Context(), "openssl", args...)
		cmd.Dir = d.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("openssl cannot make a certificate here: %v %s", err, out)
		}
	}
	p, address := d.serve("--tls-cert", "cert.pem", "--tls-key", "key.pem")
	certificate, err := os.ReadFile(filepath.Join(d.dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	get := func(url string, config *tls.Config) (int, error) {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		defer client.CloseIdleConnections()
		resp, err := client.Get(url + "/healthz")
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		return resp.StatusCode, nil
	}
	if status, err := get("https://"+address, &tls.Config{RootCAs: roots}); status != http.StatusOK {
		t.Errorf("got %d, %v, want 200", status, err)
	}
	if _, err := get("https://"+address, nil); err == nil {
		t.Error("a client that does not trust the certificate: got no error")
	}
	if status, err := get("http://"+address, nil); status == http.StatusOK {
		t.Errorf("without TLS: got %d, %v, want a refusal", status, err)
	}
	p.signal(t, syscall.SIGINT)
	if got := p.end(t); got != exitOK {
		t.Errorf("got exit status %d, want %d", got, exitOK)
	}
}

func TestIsLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:0": true, "127.1.2.3:80": true, "[::1]:80": true, "localhost:80": true,
		":80": false, "0.0.0.0:80": false, "[::]:80": false, "192.0.2.1:80": false, "[fe80::1]:80": false,
	} {
		if got := isLoopback(t.Context(), address); got != want {
			t.Errorf("%s: got %v, want %v", address, got, want)
		}
	}
}

func TestServe_SlowClients(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 1, true)
	p, address := d.serve()
	open := func(text string) net.Conn {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	head := open("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	body := open("POST /groups HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + serveToken +
		"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	large := open("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: " + strings.Repeat("x", 40<<10))
	for name, row := range map[string]struct {
		conn net.Conn
		want string
	}{
		"a slow header": {head, ""}, "a slow body": {body, "HTTP/1.1 408 "}, "a large header": {large, "HTTP/1.1 431 "},
	} {
		_ = row.conn.SetReadDeadline(time.Now().Add(patience))
		text, err := io.ReadAll(row.conn) // until the server closes it
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection is still open", name)
		}
		if !strings.HasPrefix(string(text), row.want) {
			t.Errorf("%s: got %q, want %q", name, text, row.want)
		}
	}
	if got := d.service.Stats().Requests; got != 0 {
		t.Errorf("got %d requests to the service, want none", got)
	}
	p.signal(t, syscall.SIGINT)
	if got := p.end(t); got != exitOK {
		t.Errorf("got exit status %d, want %d", got, exitOK)
	}
}
