//go:build !linux

package dirblob

import (
	"io/fs"
	"time"
)

// modified is when the file was written, according to its modification time: a rename keeps it, and a
// copy may set it to that of the original.
func modified(info fs.FileInfo) time.Time { return info.ModTime() }
