// Package blobtest has a [Bucket] in memory that fails as real stores do, and [TestBucket], the test
// that every [blob.Bucket] passes.
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

	"groupimport/pkg/blob"
)

// The methods of a bucket, as they are named in [Op] and [Counts].
const (
	Stat   = "Stat"
	Open   = "Open"
	Create = "Create"
	Put    = "Put"
	List   = "List"
	Delete = "Delete"
)

const pageSize = 1000 // of lists, on S3 and on COS

// A Bucket is a [blob.Bucket] in memory. Its zero value is an empty one that never fails. Versions are
// hashes of the content. It holds no lock while it waits, so it works under virtual time.
type Bucket struct {
	// Fail says what goes wrong with an operation; nil and the zero Fault mean nothing. It is called
	// before the operation does anything, concurrently if operations are, and must not change while
	// they are.
	Fail func(Op) Fault

	// MaxKey is how many bytes a key may have, 0 for any number. See [blob.KeyFitter].
	MaxKey int

	mu      sync.Mutex
	objects map[string]object
	counts  Counts
	calls   map[Op]int // by method and key
	seq     int
}

// FitsKey implements [blob.KeyFitter].
func (b *Bucket) FitsKey(key string) error {
	if b.MaxKey == 0 {
		return nil
	}
	return blob.FitsBytes(key, b.MaxKey)
}

// An object is never changed, only replaced.
type object struct {
	data     []byte
	modified time.Time
}

func (o object) info(key string) blob.Info {
	version := fmt.Sprintf("%016x-%d", xxhash.Sum64(o.data), len(o.data))
	return blob.Info{Key: key, Version: version, Size: int64(len(o.data)), Modified: o.modified}
}

// An Op is one call of a method, or one page of a list.
type Op struct {
	Method string
	Key    string // of List, the prefix
	N      int    // from 1, among those of this method with this key
	Seq    int    // from 1, among all
}

// A Fault is what goes wrong with an operation.
type Fault struct {
	Delay time.Duration // passes first, unless the context is done earlier

	// Err is what the operation returns. If Applied, it has its effect all the same, as when an answer
	// gets lost: a Create that is sent again and finds its own data is {Err: fs.ErrExist, Applied:
	// true}. A Put that is not applied has read its body; a list's page that is applied is yielded.
	Err     error
	Applied bool

	// A body from Open goes wrong after so many bytes of it, or before the first if this is negative: it
	// breaks off with io.ErrUnexpectedEOF, ends as if it were complete, or hangs until its context is
	// done.
	CutAfter  int64
	EOFAfter  int64
	HangAfter int64
}

// Counts is what was asked of a [Bucket], failures included.
type Counts struct {
	Calls    map[string]int // by method; a list has one for each page of 1,000
	Read     int64          // bytes read from bodies
	Written  int64          // bytes of Create and Put
	Unclosed int            // bodies that are not closed
}

var _ blob.Bucket = (*Bucket)(nil)

// Counts returns what was asked of b so far.
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

// Clone returns a bucket of its own that holds the same objects. It does not fail and has counted
// nothing.
func (b *Bucket) Clone() *Bucket {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &Bucket{objects: maps.Clone(b.objects)}
}

// Stat implements [blob.Bucket].
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

// Open implements [blob.Bucket].
func (b *Bucket) Open(ctx context.Context, key, version string, offset int64) (io.ReadCloser, error) {
	fault, err := b.begin(ctx, Open, key)
	if err != nil {
		return nil, err
	}
	if fault.Err != nil {
		return nil, fault.Err
	}
	if offset < 0 {
		return nil, fmt.Errorf("open %q: offset %d is negative", key, offset)
	}
	o, err := b.get(Open, key)
	if err != nil {
		return nil, err
	}
	if v := o.info(key).Version; version != "" && version != v {
		return nil, fmt.Errorf("open %q: %w: version %s is asked for, %s is there", key, blob.ErrChanged, version, v)
	}
	b.mu.Lock()
	b.counts.Unclosed++
	b.mu.Unlock()
	return &body{bucket: b, ctx: ctx, fault: fault, rest: o.data[min(offset, int64(len(o.data))):]}, nil
}

// Create implements [blob.Bucket].
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

// Put implements [blob.Bucket].
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

// Delete implements [blob.Bucket].
func (b *Bucket) Delete(ctx context.Context, key string) error {
	fault, err := b.begin(ctx, Delete, key)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if fault.Err == nil || fault.Applied {
		delete(b.objects, key)
	}
	return fault.Err
}

// List implements [blob.Bucket]. A page shows what is there when it is asked for, without versions.
func (b *Bucket) List(ctx context.Context, prefix, delimiter string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := blob.CheckDelimiter(delimiter); err != nil {
			yield(blob.Info{}, fmt.Errorf("list %q: %w", prefix, err))
			return
		}
		after := ""
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

// page returns the first entries of a list after the key or folder last yielded, and whether there are
// more.
func (b *Bucket) page(prefix, delimiter, after string) (page []blob.Info, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(b.objects)) {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok || key <= after {
			continue
		}
		o := b.objects[key]
		info := blob.Info{Key: key, Size: int64(len(o.data)), Modified: o.modified}
		if i := strings.Index(rest, "/"); delimiter != "" && i >= 0 {
			info = blob.Info{Key: prefix + rest[:i+1]}
			if info.Key == after {
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

// begin counts an operation, and lets it go wrong as far as it does so before it begins.
func (b *Bucket) begin(ctx context.Context, method, key string) (Fault, error) {
	if method != List { // whose prefix may be any
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
	if fault.Delay > 0 {
		t := time.NewTimer(fault.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return Fault{}, context.Cause(ctx)
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
	b.objects[key] = object{data, time.Now()}
}

// A body is what Open returns.
type body struct {
	bucket *Bucket
	ctx    context.Context //nolint:containedctx // Read takes none
	fault  Fault
	rest   []byte
	read   int64
	closed bool
}

// Read implements [io.Reader].
func (r *body) Read(p []byte) (int, error) {
	switch {
	case r.closed:
		return 0, fs.ErrClosed
	case r.ctx.Err() != nil:
		return 0, context.Cause(r.ctx)
	case len(p) == 0:
		return 0, nil
	}
	for _, after := range []int64{r.fault.CutAfter, r.fault.EOFAfter, r.fault.HangAfter} {
		if after != 0 {
			p = p[:min(int64(len(p)), max(after-r.read, 0))]
		}
	}
	if len(p) == 0 {
		return 0, r.fail()
	}
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.read += int64(n)
	r.bucket.mu.Lock()
	r.bucket.counts.Read += int64(n)
	r.bucket.mu.Unlock()
	return n, nil
}

// fail is how a body goes wrong where it does.
func (r *body) fail() error {
	reached := func(after int64) bool { return after != 0 && r.read >= after }
	switch {
	case reached(r.fault.CutAfter):
		return io.ErrUnexpectedEOF
	case reached(r.fault.EOFAfter):
		return io.EOF
	default:
		<-r.ctx.Done()
		return context.Cause(r.ctx)
	}
}

// Close implements [io.Closer].
func (r *body) Close() error {
	if !r.closed {
		r.closed = true
		r.bucket.mu.Lock()
		r.bucket.counts.Unclosed--
		r.bucket.mu.Unlock()
	}
	return nil
}
