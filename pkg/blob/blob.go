// Package blob defines the object store of this program and a reader that survives failed requests.
//
// A [Bucket] has six methods and asks of a store only what all of them can do: whole objects, ranges of
// bytes, and "put if absent" ([Bucket.Create]), which the leases need. It has no rename, no append and
// no compare-and-swap. The packages below this one implement it for one store each. Package blobtest has
// the test suite that each of them passes.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"
)

// ErrChanged is wrapped by errors about an object that is no longer the requested version.
var ErrChanged = errors.New("object changed")

// Info describes the object at a key.
type Info struct {
	Key string

	// Version identifies these bytes: an ETag, a version ID, or a hash of the content. The same bytes
	// written again may have another version. In [Bucket.List] it is empty if the store's list lacks it.
	Version string

	Size     int64     // in bytes
	Modified time.Time // when it was written, by the store's clock; some stores round it to seconds
}

// A Bucket holds objects by key. Its methods may be called concurrently. Every store accepts the keys
// that [CheckKey] accepts, except that a folder cannot hold both "a" and "a/b". A store may accept more.
//
// Except for ReadRange, the methods retry what the service calls transient. An error then means that an
// immediate retry is of no use, or that ctx is done; in that case it wraps [context.Cause]. After an
// error of a method that writes, the data may be there or not: the response may have been lost.
type Bucket interface {
	// Stat describes the object at key. If there is none, the error wraps [fs.ErrNotExist].
	Stat(ctx context.Context, key string) (Info, error)

	// ReadRange appends up to n bytes of the object at key, from byte off on, to buf. It returns the
	// extended buffer and describes the object. It may read fewer bytes than there are, but at least one;
	// none without an error means that off is at the end of the object or beyond it.
	//
	// A non-empty version must match [Info.Version], or the error wraps [ErrChanged]. If there is no
	// object, the error wraps [fs.ErrNotExist]. All bytes are of the version in Info.
	//
	// ReadRange makes one attempt. Bytes that arrived before it failed are returned with the error, and
	// are valid if Info.Version is set. [IsPermanent] reports whether another attempt is of no use.
	// [Reader] makes the other attempts.
	ReadRange(ctx context.Context, key, version string, off, n int64, buf []byte) ([]byte, Info, error)

	// Create writes the object at key if there is none. Otherwise the error wraps [fs.ErrExist] and the
	// object does not change. It may hold the data of this very call, sent twice because the first
	// response was lost: let data name its writer, and read the object after such an error. Of concurrent
	// calls one succeeds. The object is durable when Create returns.
	Create(ctx context.Context, key string, data []byte) error

	// Put writes or replaces the object at key with the bytes of body. Its memory does not grow with
	// their number. Nobody sees a half-written object, and it is durable when Put returns. If reading
	// body fails, nothing is written and the error wraps the one of body.
	Put(ctx context.Context, key string, body io.Reader) error

	// List yields the objects whose keys begin with prefix, which need not end in a slash, in the order
	// of the bytes of their keys, including keys that [ValidKey] rejects. An error is yielded last.
	// Objects that are created or deleted meanwhile may be included or not, and some stores list new
	// objects late: use Stat for what must not be missed.
	//
	// With a delimiter, all keys that agree up to the first delimiter after prefix are yielded as one Info that has only
	// Key, set to their common beginning, delimiter included; see [CommonPrefix]. This costs the same for any number of
	// keys. A store with real folders yields empty folders whose keys have the delimiter, too.
	List(ctx context.Context, prefix, delimiter string) iter.Seq2[Info, error]

	// Delete removes the object at key. It succeeds if there is none.
	Delete(ctx context.Context, key string) error
}

// A permanentError is an error that another attempt would not change.
type permanentError struct{ error }

// Unwrap returns the error.
func (e *permanentError) Unwrap() error { return e.error }

// Permanent marks an error of [Bucket.ReadRange] that another attempt would not change.
func Permanent(err error) error { return &permanentError{err} }

// IsPermanent reports whether another attempt is of no use after err: it is marked by [Permanent], or
// wraps [ErrChanged], [fs.ErrNotExist] or [fs.ErrPermission].
func IsPermanent(err error) bool {
	_, marked := errors.AsType[*permanentError](err)
	return marked || errors.Is(err, ErrChanged) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

// CheckRange returns an error unless n bytes from byte off on are a range that an object can have.
func CheckRange(off, n int64) error {
	if off < 0 || n < 1 {
		return Permanent(fmt.Errorf("invalid range: %d bytes from byte %d on", n, off))
	}
	return nil
}

// CheckVersion returns an error that wraps [ErrChanged] unless got is the version wanted. An empty want
// accepts every version.
func CheckVersion(want, got string) error {
	if want != "" && want != got {
		return fmt.Errorf("%w: version %s requested, version %s found", ErrChanged, want, got)
	}
	return nil
}

// CheckKey returns an error unless every store accepts key: names separated by single slashes, none of
// them "." or "..", no slash at either end, UTF-8, no backslash, no control characters.
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

// A KeyFitter is a [Bucket] whose store limits the length of keys, or of the names in them.
type KeyFitter interface {
	// FitsKey returns an error if key is too long for the store.
	FitsKey(key string) error
}

// FitsKey returns an error if key is too long for the store of b, and nil if b is no [KeyFitter].
func FitsKey(b Bucket, key string) error {
	if f, ok := b.(KeyFitter); ok {
		return f.FitsKey(key)
	}
	return nil
}

// FitsBytes returns an error if key has more than limit bytes of UTF-8.
func FitsBytes(key string, limit int) error {
	if len(key) > limit {
		return fmt.Errorf("key %q is %d bytes, limit %d", key, len(key), limit)
	}
	return nil
}

// A Peeker is a [Bucket] whose Stat reads the object, which may take long.
type Peeker interface {
	// Peek is Stat, but leaves [Info.Version] empty if the Bucket would have to read an object of more than limit
	// bytes for it.
	Peek(ctx context.Context, key string, limit int64) (Info, error)
}

// Peek describes the object at key as [Bucket.Stat] does, for callers that must not wait. If b is a [Peeker], the
// version is missing if it would have to read an object of more than limit bytes.
func Peek(ctx context.Context, b Bucket, key string, limit int64) (Info, error) {
	if p, ok := b.(Peeker); ok {
		return p.Peek(ctx, key, limit)
	}
	return b.Stat(ctx, key)
}

// ValidKey returns an error if an object at key cannot be read or written in b. Other programs may have
// created such objects, and List yields them. Most stores accept the keys that [CheckKey] accepts. A store
// that accepts others has a method CheckKey(key string) error.
func ValidKey(b Bucket, key string) error {
	if own, ok := b.(interface{ CheckKey(key string) error }); ok {
		return own.CheckKey(key)
	}
	return CheckKey(key)
}

// CommonPrefix returns what [Bucket.List] yields in place of key: the key up to the first delimiter after prefix,
// delimiter included. ok is false if key does not begin with prefix, or has no delimiter after it.
func CommonPrefix(key, prefix, delimiter string) (common string, ok bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	i := strings.Index(rest, delimiter)
	if !ok || delimiter == "" || i < 0 {
		return "", false
	}
	return key[:len(prefix)+i+len(delimiter)], true
}

// ListAfter yields what [Bucket.List] yields after the key after. Most stores have a method for it; else it costs as
// much as the whole list.
func ListAfter(ctx context.Context, b Bucket, prefix, delimiter, after string) iter.Seq2[Info, error] {
	type lister interface {
		ListAfter(ctx context.Context, prefix, delimiter, after string) iter.Seq2[Info, error]
	}
	if l, ok := b.(lister); ok {
		return l.ListAfter(ctx, prefix, delimiter, after)
	}
	return func(yield func(Info, error) bool) {
		for info, err := range b.List(ctx, prefix, delimiter) {
			if err == nil && info.Key <= after {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// ErrTooLarge is wrapped by errors of [ReadAll].
var ErrTooLarge = errors.New("object too large")

// ReadAll returns the object at key, all of one version. The error wraps [ErrTooLarge] if the object has more than
// limit bytes.
// It makes one request for an object of up to 8 MiB.
//
// Like [Reader] it survives failed requests, but gives up at the sixth failure in a row, after about as
// long as other methods of a Bucket: it waits up to 0.2, 0.4, 0.8, 1.6 and 3.2 s in between. If the
// object is replaced between two requests it starts again, up to four times; the error then wraps
// [ErrChanged].
func ReadAll(ctx context.Context, b Bucket, key string, limit int64) ([]byte, error) {
	const tries = 5
	for try := 1; ; try++ {
		data, err := readAll(ctx, b, key, limit)
		if try == tries || !errors.Is(err, ErrChanged) {
			return data, err
		}
	}
}

func readAll(ctx context.Context, b Bucket, key string, limit int64) ([]byte, error) {
	tooLarge := func(size int64) error {
		return fmt.Errorf("read %q: %w: %d bytes, limit %d", key, ErrTooLarge, size, limit)
	}
	if p, ok := b.(Peeker); ok { // the first range would read the whole object for its version
		if info, err := p.Peek(ctx, key, 0); err == nil && info.Size > limit {
			return nil, tooLarge(info.Size)
		}
	}
	r := NewReader(ctx, b, key, "", 0, -1)
	defer r.Close()
	r.maxFailures = maxFailuresSmall
	r.rangeSize = min(rangeSize, limit+1) // enough to learn the size
	r.fillBuffer()
	switch {
	case r.err != nil:
		return nil, r.err
	case r.size > limit:
		return nil, tooLarge(r.size)
	case int64(len(r.buffered)) == r.size:
		return slices.Clip(r.buffered), nil
	}
	data := make([]byte, r.size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	return data, nil
}
