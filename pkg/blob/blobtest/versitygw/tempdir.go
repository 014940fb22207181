package versitygw

import (
	"os"
	"testing"
)

// TempDir returns a new folder that is removed at the end of the test. On Linux the folder is in memory if /dev/shm has
// room and extended attributes, so that a test of thousands of objects does not wait for a disk. Otherwise TempDir is
// [testing.TB.TempDir].
func TempDir(t testing.TB) string {
	t.Helper()
	if !hasMemory() {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "versitygw") //nolint:usetesting // TempDir of testing is on the disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if !hasAttributes(dir) {
		return t.TempDir()
	}
	return dir
}
