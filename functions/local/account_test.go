package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCheck_InterruptLeavesNothing interrupts a check at several moments. It leaves no file beside the exports.
func TestCheck_InterruptLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, calls := range []int{0, 1, 5} { // to the service, which come after the checks of the folder
		d := newWorkspace(t, 1, true)
		p := d.start("check", ".")
		folder := filepath.Join(d.dir, ".check.import")
		for start := time.Now(); time.Since(start) < patience; time.Sleep(time.Millisecond) {
			_, err := os.Stat(folder)
			if calls == 0 && err == nil || calls > 0 && d.service.Stats().Requests >= calls {
				break
			}
		}
		p.signal(t, syscall.SIGINT)
		if got := p.end(t); got != exitError {
			t.Errorf("after %d calls: got the status %d, want %d", calls, got, exitError)
		}
		if out := p.stdout.String(); !strings.Contains(out, "not checked") {
			t.Errorf("after %d calls: got %s, want what was not checked", calls, out)
		}
		if _, err := os.Stat(folder); err == nil {
			t.Errorf("after %d calls: %s is left", calls, folder)
		}
	}
}
