package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// TestStatusWatch_WritesAgain follows an import until it is finished.
func TestStatusWatch_WritesAgain(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 300, true)
	text := d.start("status", "--watch", ".")
	lines := d.start("status", "--watch", "--json", "a.jsonl")
	text.stdout.waitFor(t, "a.jsonl")
	lines.stdout.waitFor(t, "\n")
	if p := d.start("import", "--quiet", "a.jsonl"); p.end(t) != exitOK {
		t.Fatalf("got %s", p.stderr.String())
	}
	text.stdout.waitFor(t, "finished")
	lines.stdout.waitFor(t, `"state":"finished"`)
	for _, p := range []*process{text, lines} {
		start := time.Now()
		p.signal(t, syscall.SIGINT)
		if got := p.end(t); got != exitOK || time.Since(start) > soon {
			t.Errorf("got status %d %v after Ctrl-C\n%s", got, time.Since(start), p.stderr.String())
		}
	}
	if got := text.stdout.String(); strings.Contains(got, "\x1b") || !strings.Contains(got, "waiting") ||
		!strings.Contains(got, "300 imported") {
		t.Errorf("got %q, want it waiting, and then finished, without escape sequences", got)
	}
	var states []results.State
	for line := range strings.Lines(lines.stdout.String()) {
		var im scheduler.Status
		if err := json.Unmarshal([]byte(line), &im); err != nil {
			t.Fatalf("got the line %q: %v", line, err)
		}
		states = append(states, im.State)
	}
	if n := len(states); n < 2 || states[0] != results.Waiting || states[n-1] != results.Finished {
		t.Errorf("got the states %q, want from waiting to finished", states)
	}
}

// TestStatusWatch_InATerminal checks that the terminal is cleared before the status is written again.
func TestStatusWatch_InATerminal(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 3, true)
	got := d.terminal(100, func(cmd *exec.Cmd) {
		time.Sleep(statusEvery * 3 / 2)
		_ = cmd.Process.Signal(os.Interrupt)
	}, "status", "--watch", ".")
	screens := strings.Split(got, "\x1b[H\x1b[J")
	if len(screens) < 2 {
		t.Fatalf("got %q, want it written again from the first line on", got)
	}
	for _, screen := range screens {
		if strings.Count(screen, "a.jsonl") != 1 || strings.Count(screen, "\n") != 1 {
			t.Errorf("got the screen %q, want one line", screen)
		}
	}
}
