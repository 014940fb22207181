// Package dirblob is a [blob.Bucket] in a folder. A key is the path of a file below it.
//
// An object is written to a temporary file, .0123456789abcdef.tmp, synced, and then renamed ([Bucket.Put])
// or linked ([Bucket.Create]) to its name. The folder is synced last. If the process dies at any time, the
// object is complete or missing. The temporary file is beside the object, or where [Bucket.KeepTempFilesIn]
// says. List omits temporary files, and reading removes nothing.
//
// A version is a hash of the content and its length, so a file that is copied, moved or touched keeps its
// version. Computing it reads the file. The version of a file of more than 64 KiB is remembered while its
// size, modification time and identity (the inode) do not change. Smaller files are read again, because
// that costs little and there are many of them. [Bucket.Peek] does not read large files, and
// [Bucket.Identify] reports how far it has read.
//
// [blob.Info.Modified] is the later of the modification time of a file and, on Linux, its change time: a
// file that is renamed over another may have any modification time.
//
// Other programs may write to the folder. If they replace or rewrite a file while it is read, reads fail
// with [blob.ErrChanged], as far as its size, modification time and identity show it. Pipes, devices and
// sockets are no objects, and nothing waits for them.
//
// No key leaves the folder, not even by a symbolic link: see [os.Root]. Links inside the folder are
// followed, except that List does not walk through links to folders.
package dirblob

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"

	"groupimport/pkg/blob"
)

const (
	// Within this time of a write another write may leave the modification time as it is: the clocks of
	// file systems are coarse. That of FAT ticks every 2 s.
	settleTime = 2 * time.Second

	small    = 64 << 10  // bytes up to which the version of a file is not remembered
	maxRange = 256 << 10 // bytes of one ReadRange, which costs little here

	leftover = 24 * time.Hour // the age at which the writer of a temporary file is considered dead
)

// A Bucket is a folder. It is a [blob.Bucket].
//
// Create needs hard links. On a file system without them it creates the file under its own name: one of
// several concurrent calls still succeeds, but others may see the file half-written, and it stays so if
// the process dies.
type Bucket struct {
	root *os.Root
	link func(oldname, newname string) error // root.Link, except in tests

	owner func(key string) string // see InheritPermissions; nil if nothing is inherited
	umask fs.FileMode             // applied to what is inherited
	temps func(key string) string // see KeepTempFilesIn; nil for beside the object

	mu       sync.Mutex
	versions map[string]hashed // by key, of files of more than small bytes; a few hundred bytes each
	cleaned  map[string]bool   // folders of temporary files without leftovers
}

// A hashed is the version of a file as it was with this info.
type hashed struct {
	info    fs.FileInfo
	version string    // empty before the file was read
	seen    time.Time // when the file was first seen like this
	settled bool      // a later write changes the info
}

var (
	_ blob.Bucket    = (*Bucket)(nil)
	_ blob.KeyFitter = (*Bucket)(nil)
	_ blob.Peeker    = (*Bucket)(nil)
)

// Open returns the bucket in the folder dir, which must exist.
func Open(dir string) (*Bucket, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Bucket{
		root: root, link: root.Link, versions: make(map[string]hashed), cleaned: make(map[string]bool),
	}, nil
}

// Close closes the folder.
func (b *Bucket) Close() error { return b.root.Close() }

// FitsKey asks the file system of the folder. Most accept names of 255 bytes, some, such as encrypted ones,
// fewer.
func (b *Bucket) FitsKey(key string) error {
	for name := range strings.SplitSeq(key, "/") {
		if len(name) <= minMaxName {
			continue
		}
		if _, err := b.root.Lstat(name); errors.Is(err, syscall.ENAMETOOLONG) {
			return fmt.Errorf("name %q is %d bytes, too long for the file system", name, len(name))
		}
	}
	return nil
}

// minMaxName is the length in bytes of a name that every file system accepts. The limit of eCryptfs is 143.
const minMaxName = 100

// Stat reads the file if its version is not remembered. If the file is written to meanwhile, the error wraps
// [blob.ErrChanged].
func (b *Bucket) Stat(ctx context.Context, key string) (blob.Info, error) {
	return b.Identify(ctx, key, nil)
}

// Identify is Stat and calls progress, unless it is nil, with the number of bytes read of the size.
func (b *Bucket) Identify(ctx context.Context, key string, progress func(read, size int64)) (blob.Info, error) {
	f, info, err := b.open(ctx, key)
	if err != nil {
		return blob.Info{}, err
	}
	defer f.Close()
	v, err := b.version(ctx, key, f, info, progress)
	if err != nil {
		return blob.Info{}, err
	}
	return blob.Info{Key: key, Version: v, Size: info.Size(), Modified: modified(info)}, nil
}

// Peek is Stat, but returns no version if that is not remembered and the file has more than limit bytes.
func (b *Bucket) Peek(ctx context.Context, key string, limit int64) (blob.Info, error) {
	f, info, err := b.open(ctx, key)
	if err != nil {
		return blob.Info{}, err
	}
	defer f.Close()
	found := blob.Info{Key: key, Size: info.Size(), Modified: modified(info)}
	if known := b.recall(key, info); known.settled || info.Size() <= limit {
		found.Version, err = b.version(ctx, key, f, info, nil)
	}
	return found, err
}

// ReadRange reads at most 256 KiB. It reads the whole file first if its version is not remembered. If the
// file is written to meanwhile, the error wraps [blob.ErrChanged].
func (b *Bucket) ReadRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	if err := blob.CheckRange(off, n); err != nil {
		return buf, blob.Info{}, fmt.Errorf("read %q: %w", key, err)
	}
	f, info, err := b.open(ctx, key)
	if err != nil {
		return buf, blob.Info{}, err
	}
	defer f.Close()
	v, err := b.version(blob.Untimed(ctx), key, f, info, nil)
	if err != nil {
		return buf, blob.Info{}, err
	}
	if err := blob.CheckVersion(version, v); err != nil {
		return buf, blob.Info{}, fmt.Errorf("read %q: %w", key, err)
	}
	n = max(min(n, maxRange, info.Size()-off), 0)
	start := len(buf)
	buf = slices.Grow(buf, int(n))
	_, err = f.ReadAt(buf[start:start+int(n)], off)
	if changed := unchanged(f, info); changed != nil {
		err = changed
	}
	if err != nil {
		return buf, blob.Info{}, fmt.Errorf("read %q: %w", key, err)
	}
	return buf[:start+int(n)], blob.Info{Key: key, Version: v, Size: info.Size(), Modified: modified(info)}, nil
}

// Create writes the object at key if there is none.
func (b *Bucket) Create(ctx context.Context, key string, data []byte) error {
	temp, err := b.writeTemp(ctx, key, bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer func() { _ = b.root.Remove(temp) }()
	err = b.link(temp, key)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// The temporary file could be written, so this file system has no hard links.
		err = b.writeFile(key, key, bytes.NewReader(data))
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create %q: %w", key, fs.ErrExist)
	}
	if err != nil {
		return err
	}
	return b.syncDir(path.Dir(key))
}

// Put writes or replaces the object at key.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader) error {
	temp, err := b.writeTemp(ctx, key, body)
	if err != nil {
		return err
	}
	if err := b.root.Rename(temp, key); err != nil {
		_ = b.root.Remove(temp)
		return err
	}
	return b.syncDir(path.Dir(key))
}

// Delete removes the file at key. Its folder stays, even if it is empty.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	b.mu.Lock()
	delete(b.versions, key)
	b.mu.Unlock()
	// Remove would also remove an empty folder.
	if info, err := b.root.Lstat(key); isMissing(err) || err == nil && info.IsDir() {
		return nil
	}
	if err := b.root.Remove(key); err != nil {
		if isMissing(err) {
			return nil
		}
		return err
	}
	return b.syncDir(path.Dir(key))
}

// List holds the names in one folder and in those above it in memory.
func (b *Bucket) List(ctx context.Context, prefix, delimiter string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if ctx.Err() != nil {
			yield(blob.Info{}, context.Cause(ctx))
			return
		}
		dir := prefix[:strings.LastIndex(prefix, "/")+1]
		if dir != "" && (!fs.ValidPath(strings.TrimSuffix(dir, "/")) || strings.ContainsRune(dir, 0)) {
			return // no key has this prefix
		}
		l := lister{b, prefix, delimiter, yield, ""}
		l.walk(ctx, dir)
	}
}

type lister struct {
	*Bucket

	prefix, delimiter string
	yield             func(blob.Info, error) bool
	common            string // the last common prefix yielded
}

// walk yields the entries of dir, the beginning of a key that is empty or ends in a slash. It reports
// whether to continue.
func (l *lister) walk(ctx context.Context, dir string) bool {
	names, err := l.names(dir)
	if err != nil {
		l.yield(blob.Info{}, err)
		return false
	}
	for _, name := range names {
		if ctx.Err() != nil {
			l.yield(blob.Info{}, context.Cause(ctx))
			return false
		}
		key := dir + name
		if !strings.HasPrefix(key, l.prefix) {
			continue
		}
		common, ok := blob.CommonPrefix(key, l.prefix, l.delimiter)
		switch {
		case ok && common == l.common:
		case ok:
			l.common = common
			if !l.yield(blob.Info{Key: common}, nil) {
				return false
			}
		case strings.HasSuffix(name, "/"):
			if !l.walk(ctx, key) {
				return false
			}
		default:
			info, err := l.root.Stat(key)
			if err != nil || !info.Mode().IsRegular() {
				continue // deleted meanwhile, a link to nowhere or outside, or a device
			}
			if !l.yield(blob.Info{Key: key, Size: info.Size(), Modified: modified(info)}, nil) {
				return false
			}
		}
	}
	return true
}

// names returns the names in dir in the order of the keys. Those of folders end in a slash. A missing folder
// has none. It omits temporary files.
func (l *lister) names(dir string) ([]string, error) {
	entries, err := l.readDir(cmp.Or(strings.TrimSuffix(dir, "/"), "."))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		switch name := e.Name(); {
		case e.IsDir():
			names = append(names, name+"/")
		case !isTemp(name):
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// readDir returns the entries of the folder dir, none if there is no such folder.
func (b *Bucket) readDir(dir string) ([]fs.DirEntry, error) {
	f, err := b.openDir(dir)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// openDir opens a folder. It does not wait for a pipe in its place.
func (b *Bucket) openDir(dir string) (*os.File, error) {
	return b.root.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
}

// open opens the file at key, if there is one.
func (b *Bucket) open(ctx context.Context, key string) (*os.File, fs.FileInfo, error) {
	if err := check(ctx, key); err != nil {
		return nil, nil, err
	}
	// Without O_NONBLOCK, open waits for the other end of a pipe.
	f, err := b.root.OpenFile(key, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, openError(key, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = openError(key, fs.ErrNotExist)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// openError returns the error of opening the file at key as a [blob.Bucket] returns it.
func openError(key string, err error) error {
	if isMissing(err) {
		return &fs.PathError{Op: "open", Path: key, Err: fs.ErrNotExist}
	}
	if errno, ok := errors.AsType[syscall.Errno](err); !ok || errno == syscall.ELOOP {
		return blob.Permanent(err) // a link that leads out of the folder, or in a circle
	}
	return err // of a network file system it may be transient
}

// version returns the version of f, the file at key with this info. It moves the offset of f. progress is as in
// [Bucket.Identify].
func (b *Bucket) version(
	ctx context.Context, key string, f *os.File, info fs.FileInfo, progress func(read, size int64),
) (string, error) {
	start := time.Now()
	known := b.recall(key, info)
	if known.settled {
		return known.version, nil
	}
	h := xxhash.New()
	size, err := io.Copy(h, &checkedReader{ctx: ctx, file: f, info: info, progress: progress})
	if err != nil {
		return "", fmt.Errorf("read %q: %w", key, err)
	}
	known.version = fmt.Sprintf("%016x-%d", h.Sum64(), size)
	known.settled = start.Sub(info.ModTime()) > settleTime || start.Sub(known.seen) > settleTime
	b.remember(key, known)
	return known.version, nil
}

// recall returns the remembered version of the file at key with this info. Without one, it remembers that the file was
// first seen like this now.
func (b *Bucket) recall(key string, info fs.FileInfo) hashed {
	b.mu.Lock()
	known, ok := b.versions[key]
	b.mu.Unlock()
	if ok && same(known.info, info) {
		return known
	}
	known = hashed{info: info, seen: time.Now()}
	b.remember(key, known)
	return known
}

// remember remembers the version of a file, unless the file is small.
func (b *Bucket) remember(key string, known hashed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known.info.Size() > small {
		b.versions[key] = known
	} else {
		delete(b.versions, key)
	}
}

// same reports whether a and b describe one file that was not written to in between.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// unchanged returns an error that wraps [blob.ErrChanged] if f was written to since info was read.
func unchanged(f *os.File, info fs.FileInfo) error {
	now, err := f.Stat()
	if err == nil && !same(now, info) {
		err = fmt.Errorf("%w while it was read", blob.ErrChanged)
	}
	return err
}

// A checkedReader reads a file and fails once ctx is done or the file was written to since info was read.
type checkedReader struct {
	ctx      context.Context // Read has no context parameter
	file     *os.File
	info     fs.FileInfo
	read     int64
	progress func(read, size int64) // may be nil
}

func (r *checkedReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.file.Read(p)
	if changed := unchanged(r.file, r.info); changed != nil {
		return 0, changed
	}
	r.read += int64(n)
	if r.progress != nil {
		r.progress(r.read, r.info.Size())
	}
	return n, err
}

// writeTemp writes body to a new temporary file and returns its name. It creates the folder of key.
func (b *Bucket) writeTemp(ctx context.Context, key string, body io.Reader) (string, error) {
	if err := check(ctx, key); err != nil {
		return "", err
	}
	dir := path.Dir(key)
	if err := b.makeDir(dir); err != nil {
		return "", err
	}
	temp := path.Join(b.tempDir(key), fmt.Sprintf(".%016x.tmp", rand.Uint64()))
	if err := b.writeFile(temp, key, &contextReader{ctx, body}); err != nil {
		return "", fmt.Errorf("write %q: %w", key, err)
	}
	return temp, nil
}

// writeFile writes the object at key to a new file of this name. After an error there is no such file.
func (b *Bucket) writeFile(name, key string, body io.Reader) error {
	access := b.access(key)
	f, err := b.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, access.initial())
	if err != nil {
		return err
	}
	err = access.apply(f, access.mode)
	if err == nil {
		_, err = io.Copy(f, body)
	}
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		_ = b.root.Remove(name)
	}
	return err
}

// A contextReader fails once ctx is done.
type contextReader struct {
	ctx context.Context // Read has no context parameter
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// makeDir creates dir and the missing folders above it durably.
func (b *Bucket) makeDir(dir string) error {
	if dir == "." {
		return nil
	}
	if _, err := b.root.Stat(dir); err == nil {
		return nil
	}
	above := path.Dir(dir)
	if err := b.makeDir(above); err != nil {
		return err
	}
	access := b.access(dir + "/")
	err := b.root.Mkdir(dir, access.initialFolder())
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err == nil {
		if err := b.applyToFolder(dir, access); err != nil {
			return err
		}
	}
	return b.syncDir(above)
}

// syncDir makes the names in dir durable.
func (b *Bucket) syncDir(dir string) error {
	f, err := b.openDir(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	err = f.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		return nil // some network file systems cannot sync a folder
	}
	return err
}

func check(ctx context.Context, key string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := blob.CheckKey(key); err != nil {
		return blob.Permanent(err)
	}
	if isTemp(path.Base(key)) {
		return blob.Permanent(fmt.Errorf("key %q has the form of a temporary file's name", key))
	}
	return nil
}

// isMissing reports whether err says that there is no file, also because a folder in its path is a file, because it is
// a socket, or because no file can have the name.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENXIO) ||
		errors.Is(err, syscall.ENAMETOOLONG)
}
