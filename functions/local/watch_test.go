package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestWatch_ImportsOnceAFileIsComplete drops one file by rename and another by a slow copy. The copy pauses for longer
// than watch waits after the last change.
func TestWatch_ImportsOnceAFileIsComplete(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 200, true)
	p := d.start("watch", "--quiet", ".")
	line := func(name string, n int) string {
		return fmt.Sprintf(`{"GroupId":"%s%d","Type":"Public","Name":"%s %d"}`+"\n", name, n, name, n)
	}
	slow, err := os.Create(filepath.Join(d.dir, "slow.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fmt.Fprint(slow, line("slow", 1), line("slow", 2)[:20])

	moved := filepath.Join(d.dir, "moved.tmp")
	if err := os.WriteFile(moved, []byte(line("moved", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(moved, filepath.Join(d.dir, "moved.jsonl")); err != nil {
		t.Fatal(err)
	}
	d.waitFor(201) // a.jsonl and moved.jsonl
	time.Sleep(settled + 2*watchEvery)
	if got := d.service.Stats().Requests; got != 201 {
		t.Errorf("got %d requests, want 201: the slow copy is not whole yet", got)
	}
	fmt.Fprint(slow, line("slow", 2)[20:], line("slow", 3))
	if err := slow.Close(); err != nil {
		t.Fatal(err)
	}
	d.waitForFile(p, "slow.jsonl.import/manifest")
	p.stdout.waitFor(t, "slow.jsonl: start: finished") // the line comes after the file
	p.signal(t, syscall.SIGINT)
	if got := p.end(t); got != exitOK {
		t.Errorf("got exit status %d, want %d\n%s", got, exitOK, p.stderr.String())
	}
	for _, want := range []string{
		"a.jsonl: start: finished: 200 imported\n", "moved.jsonl: start: finished: 1 imported\n",
		"slow.jsonl: start: finished: 3 imported\n",
	} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("got %q, want %q in it", p.stdout.String(), want)
		}
	}
	d.checkNames(204)
}

// TestWatch_ResumesAKilledImport kills an import and leaves the rest to watch.
func TestWatch_ResumesAKilledImport(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 300, true)
	killed := d.start("import", "--quiet", "a.jsonl")
	d.waitFor(100)
	killed.signal(t, os.Kill)
	killed.end(t)
	p := d.start("watch", "--quiet", ".")
	d.waitForFile(p, "a.jsonl.import/manifest")
	p.signal(t, syscall.SIGTERM)
	p.end(t)
	d.checkOnce()
}

// waitForFile returns once the file exists in the folder.
func (d *workspace) waitForFile(p *process, name string) {
	d.t.Helper()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(d.dir, filepath.FromSlash(name))); err == nil {
			return
		}
		if time.Since(start) > patience {
			d.t.Fatalf("got no %s\n%s", name, p.stderr.String())
		}
	}
}

// checkNames checks that this many groups exist and that none was created twice.
func (d *workspace) checkNames(want int) {
	d.t.Helper()
	names := d.service.Names()
	if len(names) != want {
		d.t.Errorf("got %d groups, want %d", len(names), want)
	}
	for name, n := range names {
		if n != 1 {
			d.t.Errorf("got %d groups %q, want 1", n, name)
		}
	}
}

// TestWatch_InterruptSaysHowToResume interrupts an import: after watch ends, nothing is resumed automatically.
func TestWatch_InterruptSaysHowToResume(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 2000, true)
	p := d.start("watch", "--quiet", ".")
	d.waitFor(50)
	p.signal(t, syscall.SIGINT)
	if got := p.end(t); got != exitOK {
		t.Errorf("got exit status %d, want %d", got, exitOK)
	}
	want := "groupimport: a.jsonl: start: stopped: interrupt signal received. Progress is saved. " +
		"Run the same command again to resume.\n"
	if got := p.stderr.String(); !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}
