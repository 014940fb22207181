// Package blobtest has a [Bucket] in memory that fails as real stores do, and [TestBucket], the test
// suite that every [blob.Bucket] passes.
package blobtest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"groupimport/pkg/backoff"
	"groupimport/pkg/blob"
)

// The methods of a bucket, as named in [Op] and [Counts].
const (
	Stat      = "Stat"
	ReadRange = "ReadRange"
	Create    = "Create"
	Put       = "Put"
	List      = "List"
	Delete    = "Delete"
)

const pageSize = 1000 // entries in a response to List, as on S3 and COS

// A Bucket is a [blob.Bucket] in memory. Its zero value is empty and never fails. Versions are hashes of
// the content. It holds no lock while it waits, so it works in virtual time.
type Bucket struct {
	// Fail returns the fault of an operation. Nil and the zero Fault mean none. Fail is called before the
	// operation has an effect, concurrently for concurrent operations, and must not change meanwhile.
	Fail func(Op) Fault

	// MaxKey is the limit of a key's length in bytes, 0 for none. See [blob.KeyFitter].
	MaxKey int

	mu      sync.Mutex
	objects map[string]object
	sorted  []string          // the keys of objects, nil before the first list
	uploads map[string]upload // by ID
	counts  Counts
	calls   map[Op]int // by method and key
	seq     int
}

// FitsKey checks the key against MaxKey.
func (b *Bucket) FitsKey(key string) error {
	if b.MaxKey == 0 {
		return nil
	}
	return blob.FitsBytes(key, b.MaxKey)
}

// An object is never changed, only replaced.
type object struct {
	data     []byte
	version  string
	modified time.Time
}

func (o object) info(key string) blob.Info {
	return blob.Info{Key: key, Version: o.version, Size: int64(len(o.data)), Modified: o.modified}
}

func versionOf(data []byte) string { return fmt.Sprintf("%016x-%d", xxhash.Sum64(data), len(data)) }

// An Op is one call of a method, or one page of a list.
type Op struct {
	Method string
	Key    string // the prefix of List
	N      int    // from 1, among the operations of this method with this key
	Seq    int    // from 1, among all operations
}

// A Fault describes how an operation fails.
type Fault struct {
	Delay time.Duration // before the operation, unless its context is done earlier

	// Err is returned by the operation. With Applied the operation has its effect all the same, as if the
	// response was lost: a Create that is sent again and finds its own data is {Err: fs.ErrExist, Applied:
	// true}. A Put that is not applied has read its body. A page of a list that is applied is yielded.
	Err     error
	Applied bool

	// ReadRange fails after it has read so many bytes, or before the first if this is negative. With
	// CutAfter the connection breaks: the error is io.ErrUnexpectedEOF. With EOFAfter the response looks
	// complete. With HangAfter nothing comes until the context is done.
	CutAfter  int64
	EOFAfter  int64
	HangAfter int64
}

// Counts counts the operations of a [Bucket], failed ones included.
type Counts struct {
	Calls   map[string]int // by method; a list has one for each page of 1,000
	Read    int64          // bytes returned by ReadRange
	Written int64          // bytes of Create, Put and UploadPart
}

var _ blob.Bucket = (*Bucket)(nil)

// Counts returns the counts of b so far.
func (b *Bucket) Counts() Counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.counts
	c.Calls = maps.Clone(c.Calls)
	return c
}

// Snapshot returns a copy of all objects by key.
func (b *Bucket) Snapshot() map[string][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := make(map[string][]byte, len(b.objects))
	for key, o := range b.objects {
		m[key] = bytes.Clone(o.data)
	}
	return m
}

// Object returns a copy of the object at key, nil if there is none.
func (b *Bucket) Object(key string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.objects[key].data)
}

// Clone returns an independent bucket with the same objects, without faults and with counts of zero.
func (b *Bucket) Clone() *Bucket {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &Bucket{objects: maps.Clone(b.objects), uploads: maps.Clone(b.uploads), seq: b.seq}
}

// Stat describes the object at key.
func (b *Bucket) Stat(ctx context.Context, key string) (blob.Info, error) {
	fault, err := b.begin(ctx, Stat, key)
	if err != nil {
		return blob.Info{}, err
	}
	if fault.Err != nil {
		return blob.Info{}, fault.Err
	}
	o, err := b.get(Stat, key)
	if err != nil {
		return blob.Info{}, err
	}
	return o.info(key), nil
}

// ReadRange reads all n bytes, as far as the object has them.
func (b *Bucket) ReadRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	if err := blob.CheckRange(off, n); err != nil {
		return buf, blob.Info{}, err
	}
	fault, err := b.begin(ctx, ReadRange, key)
	if err == nil {
		err = fault.Err
	}
	if err != nil {
		return buf, blob.Info{}, err
	}
	o, err := b.get(ReadRange, key)
	if err != nil {
		return buf, blob.Info{}, err
	}
	info := o.info(key)
	if err := blob.CheckVersion(version, info.Version); err != nil {
		return buf, blob.Info{}, fmt.Errorf("read %q: %w", key, err)
	}
	data := o.data[min(off, info.Size):min(off+n, info.Size)]
	data, err = fault.cut(ctx, data)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts.Read += int64(len(data))
	return append(buf, data...), info, err
}

// cut returns the part of data that arrives, and the error.
func (f Fault) cut(ctx context.Context, data []byte) ([]byte, error) {
	size := int64(len(data))
	isCut := func(after int64) bool { return after != 0 && after < size }
	for _, after := range []int64{f.CutAfter, f.EOFAfter, f.HangAfter} {
		if isCut(after) {
			data = data[:min(int64(len(data)), max(after, 0))]
		}
	}
	reached := func(after int64) bool { return isCut(after) && int64(len(data)) == max(after, 0) }
	switch {
	case reached(f.CutAfter):
		return data, io.ErrUnexpectedEOF
	case reached(f.HangAfter) && !reached(f.EOFAfter):
		<-ctx.Done()
		return data, context.Cause(ctx)
	}
	return data, nil
}

// Create writes the object at key if there is none.
func (b *Bucket) Create(ctx context.Context, key string, data []byte) error {
	fault, err := b.begin(ctx, Create, key)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts.Written += int64(len(data))
	if fault.Err != nil && !fault.Applied {
		return fault.Err
	}
	if _, ok := b.objects[key]; ok {
		return cmp.Or(fault.Err, fmt.Errorf("create %q: %w", key, fs.ErrExist))
	}
	b.set(key, bytes.Clone(data))
	return fault.Err
}

// Put writes or replaces the object at key.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader) error {
	fault, err := b.begin(ctx, Put, key)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts.Written += int64(len(data))
	if fault.Err == nil || fault.Applied {
		b.set(key, data)
	}
	return fault.Err
}

// Delete removes the object at key.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	fault, err := b.begin(ctx, Delete, key)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if fault.Err == nil || fault.Applied {
		delete(b.objects, key)
		if at, ok := slices.BinarySearch(b.sorted, key); ok {
			b.sorted = slices.Delete(b.sorted, at, at+1)
		}
	}
	return fault.Err
}

// List yields objects without versions. A page shows the bucket as it is when the page is requested.
func (b *Bucket) List(ctx context.Context, prefix, delimiter string) iter.Seq2[blob.Info, error] {
	return b.ListAfter(ctx, prefix, delimiter, "")
}

// ListAfter is List from a key on, see [blob.ListAfter].
func (b *Bucket) ListAfter(ctx context.Context, prefix, delimiter, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		after := after
		for {
			fault, err := b.begin(ctx, List, prefix)
			if err == nil && !fault.Applied {
				err = fault.Err
			}
			if err != nil {
				yield(blob.Info{}, err)
				return
			}
			page, more := b.page(prefix, delimiter, after)
			for _, info := range page {
				if !yield(info, nil) {
					return
				}
				after = info.Key
			}
			if fault.Err != nil {
				yield(blob.Info{}, fault.Err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// page returns the first entries of a list behind the last key or folder yielded, and whether there are
// more.
func (b *Bucket) page(prefix, delimiter, after string) (page []blob.Info, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sorted == nil {
		b.sorted = slices.Sorted(maps.Keys(b.objects))
	}
	first, _ := slices.BinarySearch(b.sorted, max(prefix, after))
	for _, key := range b.sorted[first:] {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		if key <= after {
			continue
		}
		o := b.objects[key]
		info := blob.Info{Key: key, Size: int64(len(o.data)), Modified: o.modified}
		if common, ok := blob.CommonPrefix(key, prefix, delimiter); ok {
			info = blob.Info{Key: common}
			if common <= after {
				continue
			}
		}
		if len(page) == pageSize {
			return page, true
		}
		page = append(page, info)
		after = info.Key
	}
	return page, false
}

// begin counts an operation and returns its fault after its delay.
func (b *Bucket) begin(ctx context.Context, method, key string) (Fault, error) {
	if method != List { // the prefix is not checked
		if err := blob.CheckKey(key); err != nil {
			return Fault{}, err
		}
	}
	b.mu.Lock()
	if b.counts.Calls == nil {
		b.counts.Calls, b.calls = make(map[string]int), make(map[Op]int)
	}
	op := Op{Method: method, Key: key}
	b.counts.Calls[method]++
	b.calls[op]++
	b.seq++
	op.N, op.Seq = b.calls[op], b.seq
	b.mu.Unlock()

	var fault Fault
	if b.Fail != nil {
		fault = b.Fail(op)
	}
	if err := backoff.Sleep(ctx, fault.Delay); err != nil {
		return Fault{}, err
	}
	return fault, nil
}

func (b *Bucket) get(method, key string) (object, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.objects[key]
	if !ok {
		return object{}, fmt.Errorf("%s %q: %w", strings.ToLower(method), key, fs.ErrNotExist)
	}
	return o, nil
}

// set replaces an object. The caller holds the lock.
func (b *Bucket) set(key string, data []byte) {
	if b.objects == nil {
		b.objects = make(map[string]object)
	}
	if at, ok := slices.BinarySearch(b.sorted, key); !ok && b.sorted != nil {
		b.sorted = slices.Insert(b.sorted, at, key)
	}
	b.objects[key] = object{data, versionOf(data), time.Now()}
}
