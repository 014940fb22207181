// Package blob is what this program needs of an object store, and a reader that survives hang-ups.
//
// A [Bucket] has six methods, and asks of a store only what all of them can do: whole objects,
// readable from any byte on, replaced as a whole, and "put if absent" ([Bucket.Create]), on which
// leases rest. It has no rename, no append and no compare-and-swap. Packages below this one implement
// it for one store each, and package blobtest has the test that each of them passes.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"time"
)

// ErrChanged is wrapped by errors about an object that is no longer the version asked for.
var ErrChanged = errors.New("object changed")

// Info says what object stands at a key.
type Info struct {
	Key string

	// Version names these very bytes: an ETag, a version ID, or a hash of the content. The same bytes
	// written again may have another one. From [Bucket.List] it is empty where the store's list does
	// not hold it.
	Version string

	Size     int64     // in bytes
	Modified time.Time // when it was written, by the store's clock; some stores round it to seconds
}

// A Bucket holds objects by key. Its methods may be called concurrently. Every store takes the keys
// that [CheckKey] passes, save that a folder cannot hold both "a" and "a/b"; more is up to the store.
//
// A Bucket retries what its service calls transient, so an error means that trying again at once would
// not help, or that ctx is done; it wraps [context.Cause] then. After an error of a method that
// writes, what it was to write may stand there or not: the answer may have been lost.
type Bucket interface {
	// Stat says what stands at key. If nothing does, the error wraps [fs.ErrNotExist].
	Stat(ctx context.Context, key string) (Info, error)

	// Open returns the bytes of the object at key from offset to its end; none, if offset is at the
	// end or beyond. A non-empty version must match [Info.Version], or the error wraps [ErrChanged]; a
	// missing object wraps [fs.ErrNotExist]. All bytes are of one version: where an object that is
	// replaced cannot be read on, reads fail, and if that is why, with ErrChanged. Reads fail once ctx
	// is done. The caller must close the reader.
	Open(ctx context.Context, key, version string, offset int64) (io.ReadCloser, error)

	// Create writes the object at key, which must hold nothing yet; if it does, the error wraps
	// [fs.ErrExist] and the object stays as it was. That may be the data of this very call, sent twice
	// because the first answer got lost: so data names its writer, and a caller who is refused reads
	// the object back. Of concurrent calls one wins. The object is durable once Create returns.
	Create(ctx context.Context, key string, data []byte) error

	// Put writes or replaces the object at key with all that body holds, of any size, in memory that
	// does not grow with it. Nobody sees a half-written object, and it is durable once Put returns. If
	// reading body fails, nothing is written and the error wraps body's.
	Put(ctx context.Context, key string, body io.Reader) error

	// List yields the objects whose keys begin with prefix, which need not end at a slash, in the
	// order of their keys' bytes, also those of which [ValidKey] says that they cannot be read. An error
	// is yielded last. Objects that come or go meanwhile may be
	// there or not, and some stores show new ones late: what must not be missed is found by Stat.
	//
	// delimiter is empty or "/". With "/", all keys that agree up to the first slash after prefix are
	// yielded as one Info, in which only Key is set, to what they agree in, slash included. They cost
	// nothing, however many they are. A store with real folders yields empty ones too.
	List(ctx context.Context, prefix, delimiter string) iter.Seq2[Info, error]

	// Delete removes the object at key. If there is none, that is no error.
	Delete(ctx context.Context, key string) error
}

// CheckKey says what keeps key from being one that every store takes: names separated by single
// slashes, none of them "." or "..", no slash at either end, UTF-8, no backslash, no control
// characters.
func CheckKey(key string) error {
	isControl := func(r rune) bool { return r < ' ' || r == 0x7f }
	switch {
	case key == "":
		return errors.New("key is empty")
	case strings.HasPrefix(key, "/"):
		return fmt.Errorf("key %q begins with a slash", key)
	case strings.HasSuffix(key, "/"):
		return fmt.Errorf("key %q ends in a slash", key)
	case strings.Contains(key, `\`):
		return fmt.Errorf("key %q has a backslash", key)
	case strings.ContainsFunc(key, isControl):
		return fmt.Errorf("key %q has a control character", key)
	case key == "." || !fs.ValidPath(key):
		return fmt.Errorf(`key %q is not UTF-8, or has an empty, "." or ".." name in it`, key)
	}
	return nil
}

// A KeyFitter is a [Bucket] whose store limits how long keys, or the names in them, may be.
type KeyFitter interface {
	// FitsKey returns why nothing can be written at key because it is too long, nil if it is not.
	FitsKey(key string) error
}

// FitsKey returns why nothing can be written at key because it is too long, nil if it is not or b does not tell.
func FitsKey(b Bucket, key string) error {
	if f, ok := b.(KeyFitter); ok {
		return f.FitsKey(key)
	}
	return nil
}

// FitsBytes returns why key does not fit where keys have at most limit bytes of UTF-8, nil if it does.
func FitsBytes(key string, limit int) error {
	if len(key) > limit {
		return fmt.Errorf("key %q has %d bytes, at most %d are allowed", key, len(key), limit)
	}
	return nil
}

// ValidKey says what keeps an object at key from being read or written in b. A list may show such keys: other
// programs can write them. Most stores take the keys that [CheckKey] passes; a store that takes others has a
// method CheckKey(key string) error of its own.
func ValidKey(b Bucket, key string) error {
	if own, ok := b.(interface{ CheckKey(key string) error }); ok {
		return own.CheckKey(key)
	}
	return CheckKey(key)
}

// CheckDelimiter says that a delimiter is none that [Bucket.List] takes.
func CheckDelimiter(delimiter string) error {
	if delimiter != "" && delimiter != "/" {
		return fmt.Errorf("delimiter %q is neither empty nor a slash", delimiter)
	}
	return nil
}

// ReadAll returns the small object at key, all of one version. One of more than limit bytes is an
// error. It hides hang-ups as [Reader] does, and begins again if the object is replaced meanwhile,
// but not for ever: then the error wraps [ErrChanged]. It costs a Stat and an Open.
func ReadAll(ctx context.Context, b Bucket, key string, limit int64) ([]byte, error) {
	const tries = 5
	for try := 1; ; try++ {
		data, err := readOnce(ctx, b, key, limit)
		if try == tries || !errors.Is(err, ErrChanged) {
			return data, err
		}
	}
}

func readOnce(ctx context.Context, b Bucket, key string, limit int64) ([]byte, error) {
	info, err := b.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	if info.Size > limit {
		return nil, fmt.Errorf("read %q: it has %d bytes, more than %d", key, info.Size, limit)
	}
	r := NewReader(ctx, b, key, info.Version, 0, info.Size)
	defer r.Close()
	data := make([]byte, info.Size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	return data, nil
}
