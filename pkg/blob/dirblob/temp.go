package dirblob

import (
	"io/fs"
	"path"
	"strings"
	"syscall"
	"time"
)

// KeepTempFilesIn makes the temporary file of an object be written to a folder of the program's own, so that no
// temporary file is left among the files of others if the process dies. folder returns its key for the key of the
// object, empty for beside the object, as it also is if there is no such folder or it is on another file system. Call
// KeepTempFilesIn before the Bucket is used.
//
// The first object that is written through such a folder removes the temporary files in it and the folders below it
// that were not modified for a day, because their writers must have died.
func (b *Bucket) KeepTempFilesIn(folder func(key string) string) { b.temps = folder }

// tempDir returns the folder for the temporary file of the object at key, whose own folder exists.
func (b *Bucket) tempDir(key string) string {
	beside := path.Dir(key)
	if b.temps == nil {
		return beside
	}
	dir := strings.TrimSuffix(b.temps(key), "/")
	if dir == "" {
		return beside
	}
	info, err := b.root.Lstat(dir) // a link may lead to a folder of others
	if err != nil || !info.IsDir() {
		return beside
	}
	target, err := b.root.Stat(beside)
	if err != nil || deviceOf(info) != deviceOf(target) {
		return beside
	}
	b.mu.Lock()
	isClean := b.cleaned[dir]
	b.cleaned[dir] = true
	b.mu.Unlock()
	if !isClean {
		b.clean(dir)
	}
	return dir
}

// clean removes leftovers from dir and the folders below it, as far as it can.
func (b *Bucket) clean(dir string) {
	entries, err := b.readDir(dir)
	if err != nil {
		return // the next process tries again
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case e.IsDir():
			b.clean(name)
		case e.Type().IsRegular() && isTemp(e.Name()):
			if info, err := b.root.Lstat(name); err == nil && time.Since(info.ModTime()) > leftover {
				_ = b.root.Remove(name)
			}
		}
	}
}

// isTemp reports whether name has the form of a temporary file's name.
func isTemp(name string) bool {
	digits, ok := strings.CutSuffix(name, ".tmp")
	return ok && len(digits) == 17 && digits[0] == '.' && strings.Trim(digits[1:], "0123456789abcdef") == ""
}

// deviceOf returns the file system of a file, 0 if the system does not report it.
func deviceOf(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Dev) //nolint:unconvert // an int32 on some systems
	}
	return 0
}
