package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/emulator"
)

// A usage is what a process has used.
type usage struct {
	cpu, took time.Duration
	memory    float64 // MB, at most
}

// start starts a process with additional variables.
func (b *bench) start(env []string, out io.Writer, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(b.ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	check(cmd.Start())
	b.started = append(b.started, cmd)
	return cmd
}

// stopAll kills the processes that still run, after a failure: one that was stopped would not see SIGTERM.
func (b *bench) stopAll() {
	for _, cmd := range b.started {
		if cmd.ProcessState == nil && cmd.Process.Kill() == nil {
			_ = cmd.Wait()
		}
	}
}

// run runs a process to its end.
func (b *bench) run(env []string, name string, args ...string) usage {
	var out bytes.Buffer
	began := time.Now()
	return wait(b.start(env, &out, name, args...), &out, began)
}

// wait waits for the end of a process. Exit status 4 says that some records are not imported.
func wait(cmd *exec.Cmd, out *bytes.Buffer, began time.Time) usage {
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != 4 {
		check(fmt.Errorf("%s: %w\n%s", cmd, err, out))
	}
	rusage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return usage{
		cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), took: time.Since(began),
		memory: float64(rusage.Maxrss) / 1024, // Linux counts kilobytes
	}
}

// child has what this program does in a process of its own, whose CPU time and memory are measured.
var child = map[string]func(args []string) error{"child-import": importFile, "child-baseline": baseline}

func (b *bench) child(env []string, name string, args ...string) usage {
	return b.run(env, must(os.Executable()), append([]string{"child-" + name}, args...)...)
}

// A service is an emulated IM service in a process of its own.
type service struct {
	cmd    *exec.Cmd
	env    []string // for its clients
	client *http.Client
}

// emulator starts a service with these options. With TLS it has a certificate of its own.
func (b *bench) emulator(withTLS bool, options ...string) *service {
	args := append([]string{"emulator", "-addr", "127.0.0.1:0"}, options...)
	if withTLS {
		args = append(args, "-tls", b.path("cert.pem"))
	}
	out, in := io.Pipe()
	s := &service{cmd: b.start(nil, in, b.path("local"), args...), client: http.DefaultClient}
	lines := bufio.NewScanner(out)
	for s.env == nil && lines.Scan() {
		if text, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "export "); ok {
			s.env = strings.Fields(strings.ReplaceAll(text, "'", ""))
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // until the process ends
	if withTLS {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(must(os.ReadFile(b.path("cert.pem"))))
		s.client = &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		}}
	}
	return s
}

// against runs something against a service, and returns what the service has seen too.
func (b *bench) against(withTLS bool, options []string, run func(*service) usage) (usage, emulator.Stats) {
	s := b.emulator(withTLS, options...)
	u := run(s)
	return u, s.stop()
}

// getenv returns a variable for clients of the service.
func (s *service) getenv(name string) string {
	i := slices.IndexFunc(s.env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	return strings.TrimPrefix(s.env[i], name+"=")
}

// stop asks what the service has seen, and ends it.
func (s *service) stop() (stats emulator.Stats) {
	defer func() { _ = s.cmd.Wait() }() // its output was discarded
	defer func() { check(s.cmd.Process.Signal(syscall.SIGTERM)) }()
	resp, err := s.client.Get(s.getenv("TIM_ENDPOINT") + "/emulator/stats") // on this machine
	check(err)
	defer resp.Body.Close()
	check(json.UnmarshalRead(resp.Body, &stats))
	return stats
}

// rate returns the requests a second that the service saw, without the time in which nothing could be sent.
func rate(s emulator.Stats, lost time.Duration) float64 {
	return float64(s.Requests-1) / (s.Last.Sub(s.First) - lost).Seconds()
}

// makeCgroup makes a cgroup with a share of a core and a limit on memory.
func (b *bench) makeCgroup(share float64, memory int) error {
	const root, period = "/sys/fs/cgroup", 100_000 // µs
	name := fmt.Sprintf("groupimport-bench-%d", os.Getpid())
	quota := int(share * period)
	settings := map[string]string{
		filepath.Join("cpu", name, "cpu.cfs_period_us"):        strconv.Itoa(period),
		filepath.Join("cpu", name, "cpu.cfs_quota_us"):         strconv.Itoa(quota),
		filepath.Join("memory", name, "memory.limit_in_bytes"): strconv.Itoa(memory),
	}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil { // version 2
		settings = map[string]string{
			"cgroup.subtree_control":          "+cpu +memory",
			filepath.Join(name, "cpu.max"):    fmt.Sprint(quota, " ", period),
			filepath.Join(name, "memory.max"): strconv.Itoa(memory),
		}
	}
	for _, file := range slices.Sorted(maps.Keys(settings)) { // subtree_control first
		path := filepath.Join(root, file)
		if dir := filepath.Dir(path); filepath.Base(dir) == name && !slices.Contains(b.cgroups, dir) {
			if err := os.Mkdir(dir, 0o750); err != nil {
				return err
			}
			b.cgroups = append(b.cgroups, dir)
		}
		if err := os.WriteFile(path, []byte(settings[file]), 0); err != nil {
			return err
		}
	}
	return nil
}

// runInCgroup is run in the cgroup.
func (b *bench) runInCgroup(env []string, name string, args ...string) usage {
	script := `for dir in $CGROUPS; do echo $$ >"$dir/cgroup.procs" || exit 1; done; exec "$0" "$@"`
	env = append(env, "CGROUPS="+strings.Join(b.cgroups, " "))
	return b.run(env, "sh", append([]string{"-c", script, name}, args...)...)
}
