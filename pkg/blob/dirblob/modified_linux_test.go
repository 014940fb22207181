package dirblob_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"groupimport/pkg/blob"
)

func TestModified_RenameWithOlderTime(t *testing.T) {
	b, dir := open(t)
	longAgo := time.Now().Add(-time.Hour)
	writeFile(t, dir, "copy", "data")
	must(t, os.Chtimes(filepath.Join(dir, "copy"), longAgo, longAgo))
	must(t, b.Put(t.Context(), "before", strings.NewReader("data")))
	before := listed(t, b, "before")
	time.Sleep(20 * time.Millisecond) // the clock of a file system may tick every 10 ms
	must(t, os.Rename(filepath.Join(dir, "copy"), filepath.Join(dir, "object")))

	info, err := b.Stat(t.Context(), "object")
	must(t, err)
	if got := listed(t, b, "object"); !got.After(before) || !info.Modified.Equal(got) {
		t.Errorf("modified at %v, Stat says %v, want both alike and after %v", got, info.Modified, before)
	}
	later := time.Now().Add(time.Hour)
	must(t, os.Chtimes(filepath.Join(dir, "object"), later, later))
	if got := listed(t, b, "object"); !got.Equal(later) {
		t.Errorf("modified at %v, want %v", got, later)
	}
}

func TestReadRange_NewLinkToTheFile(t *testing.T) {
	b, dir := open(t)
	path := filepath.Join(dir, "object")
	writeFile(t, dir, "object", "data")
	info, err := b.Stat(t.Context(), "object")
	must(t, err)
	time.Sleep(20 * time.Millisecond)
	must(t, os.Link(path, filepath.Join(dir, "link")))
	if got := listed(t, b, "object"); !got.After(info.Modified) {
		t.Skip("a new link does not change the change time on this file system")
	}
	got, _, err := b.ReadRange(t.Context(), "object", info.Version, 0, 100, nil)
	if string(got) != "data" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestList_DoesNotOpenCollapsedFolders(t *testing.T) {
	b, dir := open(t)
	writeFile(t, dir, "exports/a.import/part", "data")
	folder := filepath.Join(dir, "exports/a.import")
	must(t, os.Chmod(folder, 0))
	defer os.Chmod(folder, 0o700)
	if os.Geteuid() == 0 { // who may open any folder
		runtime.LockOSThread() // and never unlocked, so that the thread ends with the test
		must(t, syscall.Setfsuid(65534))
		defer syscall.Setfsuid(0)
	}
	if got, want := keys(t, b, "exports/", "/"), []string{"exports/a.import/"}; !slices.Equal(got, want) {
		t.Errorf("List yields %q, want %q", got, want)
	}
	for _, err := range b.List(t.Context(), "exports/", "") {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got %v from the folder itself, want fs.ErrPermission", err)
		}
	}
}

// listed is the time at which the list says that the object was modified.
func listed(t *testing.T, b blob.Bucket, key string) time.Time {
	t.Helper()
	for info, err := range b.List(t.Context(), key, "") {
		must(t, err)
		if info.Key == key {
			return info.Modified
		}
	}
	t.Fatalf("%q is not listed", key)
	return time.Time{}
}
