//go:build unix

package dirblob_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestBucket_FoldersAndPipesAreNoObjects(t *testing.T) {
	b, dir := open(t)
	must(t, os.MkdirAll(filepath.Join(dir, "folder"), 0o777))
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666))
	for _, key := range []string{"folder", "pipe"} {
		if _, err := b.Stat(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Stat(%q): error %v, want fs.ErrNotExist", key, err)
		}
		if _, _, err := b.ReadRange(t.Context(), key, "", 0, 1, nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadRange(%q): error %v, want fs.ErrNotExist", key, err)
		}
	}
	if got := keys(t, b, "", ""); got != nil {
		t.Errorf("List yields %q", got)
	}
	must(t, b.Delete(t.Context(), "folder"))
	if _, err := os.Stat(filepath.Join(dir, "folder")); err != nil {
		t.Error(err)
	}
}
