package dirblob_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// beside is the owner of what the tests write: the export a.jsonl.
func beside(key string) string {
	if strings.HasPrefix(key, "a.jsonl.") {
		return "a.jsonl"
	}
	return ""
}

func TestInheritPermissions_ObjectsGetTheOwners(t *testing.T) {
	for _, row := range []struct{ umask, export, file, folder fs.FileMode }{
		{0, 0o600, 0o600, 0o700},
		{0, 0o640, 0o640, 0o750},
		{0, 0o644, 0o644, 0o755},
		{0, 0o664, 0o664, 0o775},
		{0, 0o755, 0o644, 0o755}, // data is never executable
		{0, 0o400, 0o600, 0o700}, // the user can edit a dead-letter file
		{0, 0o200, 0o600, 0o700},
		{0o022, 0o664, 0o644, 0o755}, // the umask removes permissions, and adds none
		{0o077, 0o644, 0o600, 0o700},
		{0o022, 0o600, 0o600, 0o700},
	} {
		t.Run(fmt.Sprintf("%v without %v", row.export, row.umask), func(t *testing.T) {
			defer syscall.Umask(syscall.Umask(int(row.umask)))
			b, dir := open(t)
			b.InheritPermissions(beside)
			writeFile(t, dir, "a.jsonl", "export")
			must(t, os.Chmod(filepath.Join(dir, "a.jsonl"), row.export))
			must(t, b.Put(t.Context(), "a.jsonl.results", strings.NewReader("data")))
			must(t, b.Create(t.Context(), "a.jsonl.import/parts/1", []byte("data")))
			for name, want := range map[string]fs.FileMode{
				"a.jsonl.results": row.file, "a.jsonl.import/parts/1": row.file,
				"a.jsonl.import": row.folder, "a.jsonl.import/parts": row.folder,
			} {
				if got := permissions(t, dir, name); got != want {
					t.Errorf("%s: got %v, want %v", name, got, want)
				}
			}
		})
	}
}

func TestInheritPermissions_OwnerIsGone(t *testing.T) {
	b, dir := open(t)
	b.InheritPermissions(beside)
	must(t, b.Put(t.Context(), "a.jsonl.new", strings.NewReader("data")))
	writeFile(t, dir, "a.jsonl.old", "data")
	must(t, os.Chmod(filepath.Join(dir, "a.jsonl.old"), 0o644))
	must(t, b.Put(t.Context(), "a.jsonl.old", strings.NewReader("other data")))
	for name, want := range map[string]fs.FileMode{"a.jsonl.new": 0o600, "a.jsonl.old": 0o644} {
		if got := permissions(t, dir, name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestInheritPermissions_NoOwnerLeavesTheUmask(t *testing.T) {
	b, dir := open(t)
	must(t, b.Put(t.Context(), "before", strings.NewReader("data")))
	b.InheritPermissions(beside)
	must(t, b.Put(t.Context(), "other", strings.NewReader("data")))
	if got, want := permissions(t, dir, "other"), permissions(t, dir, "before"); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestInheritPermissions_GroupIsTheOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to a group that it is not in")
	}
	b, dir := open(t)
	b.InheritPermissions(beside)
	writeFile(t, dir, "a.jsonl", "export")
	must(t, os.Chown(filepath.Join(dir, "a.jsonl"), -1, 12345))
	must(t, os.Chmod(filepath.Join(dir, "a.jsonl"), 0o640))
	must(t, b.Create(t.Context(), "a.jsonl.import/progress", []byte("data")))
	for _, name := range []string{"a.jsonl.import", "a.jsonl.import/progress"} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if got := info.Sys().(*syscall.Stat_t).Gid; got != 12345 {
			t.Errorf("%s: got group %d, want that of the export", name, got)
		}
	}
}

func permissions(t *testing.T, dir, name string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, name))
	must(t, err)
	return info.Mode().Perm()
}
