package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"groupimport/functions/internal/functest"
)

func TestNotify_Commands(t *testing.T) {
	t.Parallel()
	h := functest.NewWebhook(t, nil)
	d := newWorkspace(t, 3, true)
	d.env = append(d.env, "NOTIFY_URL="+h.URL)
	name := filepath.Join(d.dir, "a.jsonl")
	want := "groupimport: " + name + ": finished. 3 imported. Report: " + name + ".report.html"
	if p := d.start("import", "--quiet", "a.jsonl"); p.end(t) != exitOK || h.Texts() != want {
		t.Errorf("got not told %q\n%s", want, p.stderr.String())
	}
	if p := d.start("import", "--quiet", "a.jsonl"); p.end(t) != exitOK || h.Texts() != "" {
		t.Errorf("got told of a finished import again\n%s", p.stderr.String())
	}
	d.env = append(d.env, "TIM_SECRET_KEY=another")
	d.drop("b.jsonl")
	if p := d.start("import", "--quiet", "b.jsonl"); p.end(t) != exitUnfinished {
		t.Errorf("got %s, want it stopped", p.stderr.String())
	}
	if got := h.Texts(); !strings.Contains(got, "b.jsonl: stopped: ") {
		t.Errorf("got %q, want it stopped", got)
	}
	d.env = append(d.env, "TIM_SECRET_KEY=key")
	if p := d.start("retry", "--now", "--quiet", "."); p.end(t) != exitOK {
		t.Errorf("got %s, want it finished", p.stderr.String())
	}
	if got := h.Texts(); !strings.Contains(got, "b.jsonl: finished. ") {
		t.Errorf("got %q, want it finished", got)
	}
}

// drop writes an export of one record.
func (d *workspace) drop(name string) {
	d.t.Helper()
	line := `{"GroupId":"of ` + name + `","Type":"Public","Name":"x"}` + "\n"
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(line), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// TestNotify_InterruptDoesNotWait interrupts an import while the webhook hangs.
func TestNotify_InterruptDoesNotWait(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	h := functest.NewWebhook(t, func(*http.Request) { <-release })
	defer close(release)
	d := newWorkspace(t, 2000, true)
	d.env = append(d.env, "NOTIFY_URL="+h.URL)
	d.drop("b.jsonl")
	p := d.start("import", "--quiet", "b.jsonl", "a.jsonl")
	for start := time.Now(); h.Texts() == ""; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatal("the webhook receives nothing")
		}
	}
	start := time.Now()
	p.signal(t, syscall.SIGINT)
	if status := p.end(t); status != exitUnfinished || time.Since(start) > soon {
		t.Errorf("got status %d after %v", status, time.Since(start))
	}
}

func TestNotify_ParameterIsNotRead(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 1, true)
	d.env = append(d.env, "NOTIFY_PARAMETER=/n")
	p := d.start("import", "a.jsonl")
	if p.end(t) != exitUsage || !strings.Contains(p.stderr.String(), "set NOTIFY_URL") {
		t.Errorf("got %s", p.stderr.String())
	}
}
