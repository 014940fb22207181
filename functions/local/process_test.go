package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/functions/internal/functest"
	"groupimport/pkg/emulator"
)

// binary builds the command once.
var binary = sync.OnceValues(func() (string, error) {
	name := filepath.Join(binaryDir, "groupimport")
	if out, err := exec.Command("go", "build", "-o", name, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return name, nil
})

// A workspace is a folder with an export, and an IM service.
type workspace struct {
	t       *testing.T
	dir     string
	records int
	service *emulator.Service
	env     []string
}

// newWorkspace returns a workspace whose export has this many records. With ids all of them have a GroupId, otherwise
// every second record has one.
func newWorkspace(t *testing.T, records int, ids bool) *workspace {
	t.Helper()
	d := &workspace{t: t, dir: t.TempDir(), records: records, service: &emulator.Service{
		SDKAppID: 1400000000, Key: "key", Limit: -1, Latency: 20 * time.Millisecond,
	}}
	url, stop, err := serveEmulator(t.Context(), d.service, "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	d.env = append(os.Environ(), "TIM_ENDPOINT="+url, "TIM_SDKAPPID=1400000000", "TIM_SECRET_KEY=key", "TIM_RATE=190",
		"TERM=xterm")
	var b strings.Builder
	for n := range records {
		id := fmt.Sprintf(`"GroupId":"g%d",`, n+1)
		if !ids && n%2 == 1 {
			id = ""
		}
		fmt.Fprintf(&b, `{%s"Type":"Public","Name":"%s"}`+"\n", id, nameOf(int64(n+1)))
	}
	if err := os.WriteFile(filepath.Join(d.dir, "a.jsonl"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// nameOf is the name of record n of a workspace's export.
func nameOf(n int64) string { return fmt.Sprint("Name ", n) }

// A process is a running command.
type process struct {
	*exec.Cmd
	stdout, stderr output
}

// An output is the text that a process has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// waitFor returns once the process has written the text.
func (o *output) waitFor(t *testing.T, text string) {
	t.Helper()
	for start := time.Now(); !strings.Contains(o.String(), text); time.Sleep(2 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("got %q, want %q in it", o.String(), text)
		}
	}
}

func (d *workspace) start(args ...string) *process {
	d.t.Helper()
	name, err := binary()
	if err != nil {
		d.t.Fatal(err)
	}
	p := &process{Cmd: exec.CommandContext(d.t.Context(), name, args...)}
	p.Dir, p.Env, p.Stdout, p.Stderr = d.dir, d.env, &p.stdout, &p.stderr
	if err := p.Start(); err != nil {
		d.t.Fatal(err)
	}
	return p
}

// signal sends a signal. A sandbox that forbids signals skips the test.
func (p *process) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		_ = p.Process.Kill()
		t.Skip("signals cannot be sent here:", err)
	}
}

// end waits until the process ends and returns its exit status, -1 if a signal ended it.
func (p *process) end(t *testing.T) int {
	t.Helper()
	err := p.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

// patience is how long tests wait for an event that must happen, also on a busy machine.
const patience = 2 * time.Minute

// soon is the limit for what takes a moment, or two seconds after Ctrl-C. Without [drainTimeout] an attempt would take
// [tim.AttemptTimeout], 10 s.
const soon = 9 * time.Second

// waitFor returns once the service has seen so many requests.
func (d *workspace) waitFor(requests int) {
	d.t.Helper()
	for start := time.Now(); d.service.Stats().Requests < requests; time.Sleep(2 * time.Millisecond) {
		if time.Since(start) > patience {
			d.t.Fatalf("got %d requests, want %d", d.service.Stats().Requests, requests)
		}
	}
}

// checkOnce checks that the outcomes are those of the records, in order, and that no group was created twice.
func (d *workspace) checkOnce() {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "a.jsonl.results.ndjson"))
	if err != nil {
		d.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != d.records {
		d.t.Errorf("got %d results, want %d", len(lines), d.records)
	}
	for i, line := range lines {
		if want := fmt.Sprintf(`{"n":%d,"line":%d,`, i+1, i+1); !strings.HasPrefix(line, want) {
			d.t.Fatalf("got %s, want it to begin with %s", line, want)
		}
		if !strings.Contains(line, `"status":"imported"`) && !strings.Contains(line, `"status":"exists"`) {
			d.t.Errorf("got %s, want a record that is in", line)
		}
	}
	d.checkNames(d.records)
}

func TestImport_SignalStopsGracefullyAndTheSameCommandResumes(t *testing.T) {
	t.Parallel()
	for sig, text := range map[syscall.Signal]string{
		syscall.SIGINT: "interrupt", syscall.SIGTERM: "terminated", syscall.SIGHUP: "hangup",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			if signal.Ignored(sig) { // by nohup; if this process handles a signal, a new process has the default action
				signal.Notify(make(chan os.Signal, 1), sig)
			}
			d := newWorkspace(t, 300, false)
			d.env = append(d.env, "PARALLEL_IMPORTS=1")
			p := d.start("import", "a.jsonl", "b.jsonl")
			d.waitFor(100)
			p.signal(t, sig)
			sent := time.Now()
			if got := p.end(t); got != exitUnfinished {
				t.Errorf("got exit status %d, want %d", got, exitUnfinished)
			}
			if took := time.Since(sent); took > soon {
				t.Errorf("got %v until the end, want about 2s", took)
			}
			want := "groupimport: " + text + " signal received: stopping gracefully; Ctrl-C again exits\n" +
				"groupimport: a.jsonl: stopped: " + text + " signal received. Progress is saved. " +
				"Run the same command again to resume.\n" +
				"groupimport: not started: b.jsonl\n"
			if got := p.stderr.String(); got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			p = d.start("import", "a.jsonl")
			if got := p.end(t); got != exitOK {
				t.Errorf("got exit status %d, want %d: %s", got, exitOK, p.stderr.String())
			}
			d.checkOnce()
			if got := d.service.Stats().Requests; got != d.records {
				t.Errorf("got %d requests, want %d", got, d.records)
			}
		})
	}
}

func TestImport_NohupIgnoresTheHangup(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 100, true)
	name, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `trap "" HUP; exec "$0" import --quiet a.jsonl`, name)
	p := &process{Cmd: cmd}
	p.Dir, p.Env, p.Stdout, p.Stderr = d.dir, d.env, &p.stdout, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	d.waitFor(10)
	p.signal(t, syscall.SIGHUP)
	if got := p.end(t); got != exitOK {
		t.Errorf("got exit status %d, want %d: %s", got, exitOK, p.stderr.String())
	}
	d.checkOnce()
}

func TestImport_AnotherProcessIsWorking(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 200, false)
	first := d.start("import", "--quiet", "a.jsonl")
	d.waitFor(20)
	second := d.start("import", "--quiet", "a.jsonl")
	if got := second.end(t); got != exitUnfinished {
		t.Errorf("got exit status %d, want %d", got, exitUnfinished)
	}
	want := regexp.MustCompile(fmt.Sprintf(
		`^groupimport: a.jsonl: process %d on \S+ is working on it. `+
			`Wait, or stop that process and run this command again\n$`,
		first.Process.Pid))
	if got := second.stderr.String(); !want.MatchString(got) {
		t.Errorf("got %q, want %s", got, want)
	}
	if got := first.end(t); got != exitOK {
		t.Errorf("got exit status %d, want %d: %s", got, exitOK, first.stderr.String())
	}
	d.checkOnce()
}

func TestImport_KilledIsResumedAtOnce(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 300, true)
	p := d.start("import", "--quiet", "a.jsonl")
	d.waitFor(150)
	p.signal(t, os.Kill)
	p.end(t)
	p = d.start("import", "--quiet", "a.jsonl")
	if got := p.end(t); got != exitOK {
		t.Errorf("got exit status %d, want %d: %s", got, exitOK, p.stderr.String())
	}
	d.checkOnce()
}

func TestImport_InterruptWithHangingResponses(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 60, true)
	d.service.SetFaults(emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
		if r.Ordinal > 20 {
			return emulator.HangAfter
		}
		return emulator.None
	}})
	p := d.start("import", "--quiet", "a.jsonl")
	d.waitFor(25)
	sent := time.Now()
	p.signal(t, syscall.SIGINT)
	if got := p.end(t); got != exitUnfinished {
		t.Errorf("got exit status %d, want %d: %s", got, exitUnfinished, p.stderr.String())
	}
	if took := time.Since(sent); took > soon {
		t.Errorf("got %v until the end, want about 2s", took)
	}
	d.service.SetFaults(emulator.Faults{})
	p = d.start("import", "--quiet", "a.jsonl")
	if got := p.end(t); got != exitOK {
		t.Errorf("got exit status %d, want %d: %s", got, exitOK, p.stderr.String())
	}
	d.checkOnce()
}

func TestImport_SecondInterruptExits(t *testing.T) {
	t.Parallel()
	for range 5 { // on a busy machine the process may end gracefully before the second signal arrives
		d := newWorkspace(t, 20, true)
		d.service.SetFaults(emulator.Faults{Hang: 1})
		p := d.start("import", "--quiet", "a.jsonl")
		d.waitFor(5)
		p.signal(t, syscall.SIGINT)
		p.stderr.waitFor(t, "Ctrl-C again exits\n")
		p.signal(t, syscall.SIGINT)
		switch got := p.end(t); got {
		case -1: // the signal ended it
			return
		case exitUnfinished:
		default:
			t.Fatalf("got exit status %d, want an end by the signal: %s", got, p.stderr.String())
		}
	}
	t.Error("got five graceful ends, want an end by the second signal")
}

// terminal runs the command in a terminal and returns all that it wrote, of both outputs.
func (d *workspace) terminal(columns uint16, act func(*exec.Cmd), args ...string) string {
	d.t.Helper()
	name, err := binary()
	if err != nil {
		d.t.Fatal(err)
	}
	cmd := exec.CommandContext(d.t.Context(), name, args...)
	cmd.Dir, cmd.Env = d.dir, d.env
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: columns})
	if err != nil {
		d.t.Skip(err) // no pseudo-terminals here
	}
	defer tty.Close()
	var out bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = out.ReadFrom(tty) }) // ends with EIO once the process has
	act(cmd)
	_ = cmd.Wait() // the output shows how
	reading.Wait()
	return strings.ReplaceAll(out.String(), "\r\n", "\n")
}

func TestBar_InATerminal(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 500, true)
	d.service.SetFaults(emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
		if r.Ordinal == 100 {
			return 60011 // so that a warning comes in between
		}
		return emulator.None
	}})
	first := d.terminal(100, func(cmd *exec.Cmd) {
		d.waitFor(250)
		_ = cmd.Process.Signal(os.Interrupt)
	}, "import", "a.jsonl")
	second := d.terminal(40, func(*exec.Cmd) {}, "import", "a.jsonl")

	drawn := regexp.MustCompile(`^a\.jsonl \[=*>? *\] \d+%, \d+ imported(, \d+/s of \d+(, (\d+m)?\d+s left)?)?$`)
	bars := checkScreen(t, first, 98, drawn)
	if len(bars) < 4 || !strings.Contains(strings.Join(bars, "\n"), "s left") {
		t.Errorf("got bars %q, want some that tell the time left", bars)
	}
	if !strings.Contains(first, "level=WARN") || !strings.Contains(first, "groupimport: interrupt signal received: ") {
		t.Errorf("got %q, want a warning and the interrupt in it", first)
	}
	short := regexp.MustCompile(`^\d+%(, \d+ imported(, \d+/s of \d+(, (\d+m)?\d+s left)?)?| \d+ imported, 0 not.*)$`)
	bars = checkScreen(t, second, 38, short)
	var percent int
	if len(bars) == 0 {
		t.Fatal("got no bar in a narrow terminal")
	}
	if _, err := fmt.Sscanf(bars[0], "%d%%", &percent); err != nil || percent < 30 {
		t.Errorf("got %q first after resuming, want it to begin where the run before ended", bars[0])
	}
	d.checkOnce()
}

// checkScreen returns the bars that were drawn. It checks that the lines of bars hold nothing else and fit the width,
// and that other lines are complete.
func checkScreen(t *testing.T, text string, width int, bar *regexp.Regexp) (bars []string) {
	t.Helper()
	message := regexp.MustCompile(`^(time=|groupimport: |a\.jsonl: |  [a-z]+ |$)`)
	for line := range strings.SplitSeq(text, "\n") {
		drawings := strings.Split(line, eraseLine)
		for i, drawing := range drawings {
			drawing = strings.ReplaceAll(drawing, "^C", "")
			switch {
			case i == 0 && drawing == "":
			case bar.MatchString(drawing):
				bars = append(bars, drawing)
				if n := len([]rune(drawing)); n > width {
					t.Errorf("got a bar of %d columns, want %d at most: %q", n, width, drawing)
				}
			case i == len(drawings)-1 && message.MatchString(drawing):
			default:
				t.Errorf("got %q in %q, want a bar or a message", drawing, line)
			}
		}
	}
	return bars
}

func TestImport_UnsolicitedResponses(t *testing.T) {
	t.Parallel()
	hostile := &functest.Unsolicited{Body: `{"ActionStatus":"OK","ErrorCode":0}`}
	server := httptest.NewServer(hostile)
	t.Cleanup(server.Close)
	d := newWorkspace(t, 100, true)
	d.env = append(d.env, "TIM_ENDPOINT="+server.URL, "TIM_SECRET_KEY="+functest.SecretKey)
	p := d.start("import", "--json", "a.jsonl")
	if status := p.end(t); status != exitOK {
		t.Errorf("got status %d, want %d", status, exitOK)
	}
	for line := range strings.Lines(p.stderr.String()) {
		if !jsontext.Value(line).IsValid() {
			t.Errorf("got %q, want JSON", line)
		}
	}
	var log functest.Log
	log.Write([]byte(p.stdout.String()))
	log.Write([]byte(p.stderr.String()))
	hostile.Check(t, &log)
}
