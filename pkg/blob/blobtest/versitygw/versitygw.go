// Package versitygw runs versitygw, a real S3 server over a folder, for tests.
package versitygw

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Version is the one that tests were written against.
const Version = "v1.8.0"

const install = "go install github.com/versity/versitygw/cmd/versitygw@" + Version

// What a [Server] takes.
const (
	Region    = "us-east-1"
	AccessKey = "versitygw-test-key"
	SecretKey = "versitygw-test-secret" //nolint:gosec // of a server for one test
)

// A Server is versitygw on a port of this machine.
type Server struct {
	Endpoint string // its base URL, the same after Restart
	Dir      string // a bucket is a folder in it, an object a file; the file system must have extended attributes

	t      testing.TB
	path   string
	args   []string
	cmd    *exec.Cmd
	stderr bytes.Buffer
	exited chan struct{} // closed when cmd has ended
}

// Start starts a server that ends with the test, which is skipped if versitygw is neither in PATH nor
// where go install puts it. args are further flags, as --event-webhook-url, URL.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	path, err := find(t)
	if err != nil {
		t.Skipf("versitygw is not installed, which takes some minutes: %s", install)
	}
	s := &Server{t: t, path: path, Dir: TempDir(t)}
	// Somebody else may take the port before versitygw does.
	for range 5 {
		address := freeAddress(t)
		s.Endpoint = "http://" + address
		s.args = append([]string{
			"--port", address, "--region", Region, "--health", "/health", "--quiet", "--keep-alive",
		}, args...)
		if err = s.start(); err == nil {
			t.Cleanup(s.Kill)
			return s
		}
	}
	t.Fatal(err)
	return nil
}

func find(t testing.TB) (string, error) {
	if path, err := exec.LookPath("versitygw"); err == nil {
		return filepath.Abs(path)
	}
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOBIN", "GOPATH").Output()
	if err != nil {
		return "", err
	}
	bin, gopath, _ := strings.Cut(strings.TrimRight(string(out), "\n"), "\n")
	first := filepath.SplitList(gopath)
	if bin == "" && len(first) > 0 {
		bin = filepath.Join(first[0], "bin")
	}
	name := "versitygw"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	path := filepath.Join(bin, name)
	_, err = os.Stat(path)
	return path, err
}

func freeAddress(t testing.TB) string {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start starts the server and waits until it responds.
func (s *Server) start() error {
	// The end of the test's context must not end it, cleanups may still want it.
	s.cmd = exec.CommandContext(context.WithoutCancel(s.t.Context()), s.path,
		append(s.args, "posix", s.Dir)...)
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+AccessKey, "ROOT_SECRET_ACCESS_KEY="+SecretKey)
	s.cmd.SysProcAttr = endsWithTest()
	s.stderr.Reset()
	s.cmd.Stderr = &s.stderr
	if err := s.cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	s.exited = exited
	go func() {
		_ = s.cmd.Wait()
		close(exited)
	}()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) { // the server does not report when it is ready
		if s.healthy() {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("versitygw ended: %s", cmp.Or(strings.TrimSpace(s.stderr.String()), s.cmd.ProcessState.String()))
		default:
		}
		if time.Since(start) > time.Minute {
			s.Kill()
			return fmt.Errorf("versitygw does not respond: %s", s.stderr.String())
		}
	}
}

func (s *Server) healthy() bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/health", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Kill ends the process at once, as SIGKILL does, and returns when the process has ended.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// Restart starts it again after Kill, on the same port and folder.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// MakeBucket makes a bucket.
func (s *Server) MakeBucket(name string) {
	s.t.Helper()
	if err := os.Mkdir(filepath.Join(s.Dir, name), 0o750); err != nil {
		s.t.Fatal(err)
	}
}

// Getenv is an environment in which the usual AWS variables lead to the server.
func (s *Server) Getenv(name string) string {
	return map[string]string{
		"AWS_REGION":            Region,
		"AWS_ACCESS_KEY_ID":     AccessKey,
		"AWS_SECRET_ACCESS_KEY": SecretKey,
		"AWS_ENDPOINT_URL_S3":   s.Endpoint,
	}[name]
}
