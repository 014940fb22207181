package dirblob

import (
	"io/fs"
	"syscall"
	"time"
)

// modified returns when the file was written or renamed: the later of its modification time, which a rename
// keeps and a copy may set to that of the original, and its change time, which only the system sets, also at
// a rename.
func modified(info fs.FileInfo) time.Time {
	t := info.ModTime()
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		if changed := time.Unix(s.Ctim.Unix()); changed.After(t) {
			return changed
		}
	}
	return t
}
