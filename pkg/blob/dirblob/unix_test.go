//go:build unix

package dirblob_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// within fails the test if f does not return: an open that waits for the other end of a pipe never returns.
func within(t *testing.T, name string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s hangs", name)
	}
}

func TestBucket_OnlyFilesAreObjects(t *testing.T) {
	b, dir := open(t)
	must(t, os.MkdirAll(filepath.Join(dir, "folder.jsonl"), 0o777))
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe.jsonl"), 0o666))
	must(t, os.Symlink("pipe.jsonl", filepath.Join(dir, "link.jsonl")))
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "socket.jsonl"))
	must(t, err)
	defer socket.Close()
	all := []string{"folder.jsonl", "pipe.jsonl", "link.jsonl", "socket.jsonl"}
	if err := syscall.Mknod(filepath.Join(dir, "device.jsonl"), syscall.S_IFCHR|0o666, 1<<8|5); err == nil { // /dev/zero
		all = append(all, "device.jsonl")
	}
	for _, key := range all {
		within(t, key, func() {
			_, statErr := b.Stat(t.Context(), key)
			_, peekErr := b.Peek(t.Context(), key, 0)
			_, _, readErr := b.ReadRange(t.Context(), key, "", 0, 1, nil)
			for method, err := range map[string]error{"Stat": statErr, "Peek": peekErr, "ReadRange": readErr} {
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s(%q): error %v, want fs.ErrNotExist", method, key, err)
				}
			}
			if got := keys(t, b, key+"/", ""); got != nil {
				t.Errorf("List(%q) yields %q", key+"/", got)
			}
			if err := b.Put(t.Context(), key+"/below", strings.NewReader("data")); err == nil && key != "folder.jsonl" {
				t.Errorf("Put below %q: no error", key)
			}
		})
	}
	if got, want := keys(t, b, "", ""), []string{"folder.jsonl/below"}; !slices.Equal(got, want) {
		t.Errorf("List yields %q, want %q", got, want)
	}
	must(t, b.Delete(t.Context(), "folder.jsonl"))
	if _, err := os.Stat(filepath.Join(dir, "folder.jsonl")); err != nil {
		t.Error(err)
	}
}

// TestBucket_PipeTakesTheFilesPlace exchanges a file and a pipe all the time.
func TestBucket_PipeTakesTheFilesPlace(t *testing.T) {
	b, dir := open(t)
	path := filepath.Join(dir, "a.jsonl")
	must(t, syscall.Mkfifo(path+".pipe", 0o666))
	writeFile(t, dir, "a.jsonl.file", "data")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			for _, from := range []string{".pipe", ".file"} {
				select {
				case <-stop:
					return
				default:
				}
				if os.Link(path+from, path+".new") == nil {
					_ = os.Rename(path+".new", path)
				}
			}
		}
	}()
	within(t, "reading", func() {
		for range 3000 {
			_, err := b.Stat(t.Context(), "a.jsonl")
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got error %v", err)
				return
			}
		}
	})
	close(stop)
	<-stopped
}
