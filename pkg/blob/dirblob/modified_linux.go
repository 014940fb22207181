package dirblob

import (
	"io/fs"
	"syscall"
	"time"
)

// modified is when the file was written or came to its name, whichever is later: its modification time,
// which a rename keeps and a copy may set to that of the original, or its change time, which the system
// alone sets, at a rename too.
func modified(info fs.FileInfo) time.Time {
	t := info.ModTime()
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		if changed := time.Unix(s.Ctim.Unix()); changed.After(t) {
			return changed
		}
	}
	return t
}
