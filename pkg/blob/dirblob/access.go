package dirblob

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// InheritPermissions makes each object that is written get the permissions of another object, so that what is
// written about a file is not readable by more people than the file itself. owner returns the key of that
// object, empty if there is none; of a folder it gets the key with a slash at its end. Call InheritPermissions
// before the Bucket is used.
//
// The process's umask removes permissions, and without an owner it alone decides. If the owner is missing, an existing
// object keeps its permissions, and a new object is for its user only. The user of the process may always read and
// write. The group is the owner's; if it cannot be set, the group gets no permissions.
func (b *Bucket) InheritPermissions(owner func(key string) string) { b.owner, b.umask = owner, umask() }

// umask returns the process's umask. A file that is created meanwhile is for its user only.
func umask() fs.FileMode {
	mask := syscall.Umask(0o077)
	syscall.Umask(mask)
	return fs.FileMode(mask) // nine bits
}

// An access says who may read and write a file.
type access struct {
	inherited bool
	mode      fs.FileMode // of a file: bits for reading and writing
	gid       int         // -1 if it is not known
}

const (
	private     = 0o600 // the user's own
	readOrWrite = 0o666
)

// access returns who may read and write the object at key.
func (b *Bucket) access(key string) access {
	if b.owner == nil {
		return access{}
	}
	owner := b.owner(key)
	if owner == "" {
		return access{}
	}
	for _, name := range []string{owner, strings.TrimSuffix(key, "/")} {
		if info, err := b.root.Stat(name); err == nil {
			return access{true, info.Mode()&readOrWrite&^b.umask | private, groupOf(info)}
		}
	}
	return access{true, private, -1}
}

// initial is the mode to create a file with, before [access.apply].
func (a access) initial() fs.FileMode {
	if a.inherited {
		return private
	}
	return readOrWrite
}

// initialFolder is the mode to create a folder with.
func (a access) initialFolder() fs.FileMode { return searchable(a.initial()) }

// searchable returns the mode of a folder for the users who may read or write files with this mode.
func searchable(mode fs.FileMode) fs.FileMode { return mode | mode>>2&0o111 | mode>>1&0o111 }

// apply gives a new file the access, with this mode.
func (a access) apply(f *os.File, mode fs.FileMode) error {
	if !a.inherited {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if groupOf(info) != a.gid && (a.gid < 0 || f.Chown(-1, a.gid) != nil) {
		mode &^= 0o070
	}
	return f.Chmod(mode)
}

// applyToFolder gives a new folder the access.
func (b *Bucket) applyToFolder(dir string, a access) error {
	if !a.inherited {
		return nil
	}
	f, err := b.openDir(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return a.apply(f, searchable(a.mode))
}

// groupOf returns the group of a file, -1 if the system does not report it.
func groupOf(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Gid)
	}
	return -1
}
