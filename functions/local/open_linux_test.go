package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withoutLeases calls f on a thread that may take leases on its user's own files only.
func withoutLeases(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&header, &data[0])
		if err == nil {
			data[0].Effective &^= 1 << unix.CAP_LEASE
			err = unix.Capset(&header, &data[0])
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skip(err)
	}
}

func TestIsComplete_FileOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a file of somebody else")
	}
	dir := t.TempDir()
	s := &watcher{dir: dir}
	name := filepath.Join(dir, "a.jsonl")
	for _, row := range []struct {
		name  string
		owner int
		age   time.Duration
		want  bool
	}{
		{"one's own", 0, 2 * settled, true},
		{"somebody else's", 65534, 2 * settled, false},
		{"somebody else's, old", 65534, quiet + time.Second, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			at := time.Now().Add(-row.age)
			for _, err := range []error{
				os.WriteFile(name, nil, 0o600), os.Chown(name, row.owner, -1), os.Chtimes(name, at, at),
			} {
				if err != nil {
					t.Skip(err)
				}
			}
			withoutLeases(t, func() {
				if got := s.isComplete("a.jsonl"); got != row.want {
					t.Errorf("got %v, want %v", got, row.want)
				}
			})
		})
	}
}
