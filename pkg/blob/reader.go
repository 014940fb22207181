package blob

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"time"

	"groupimport/pkg/backoff"
)

const (
	// A range is held in memory until it is used up: a store closes a connection that is read slowly.
	// Its size weighs memory against the number of requests, of which a GB takes 120.
	rangeSize = 8 << 20 // bytes

	// A request that takes longer fails. The bytes that have arrived are used. The stores have limits of their own, for
	// requests that write or list; none of these is shorter.
	rangeTimeout = 20 * time.Second

	maxFailures      = 12 // in a row, without a byte in between
	maxFailuresSmall = 6  // of ReadAll
)

var (
	waits = backoff.Exponential{Base: 200 * time.Millisecond, Max: 10 * time.Second}

	errTimeout = fmt.Errorf("the store sent nothing within %v", rangeTimeout)
)

// A Reader reads one version of an object, in ranges of 8 MiB, and survives failed requests. It holds
// one range in memory, or the whole object if that is smaller.
//
// A request fails if the store returns an error, or closes the connection, or does not complete it
// within 20 s. If bytes arrived before, the Reader continues behind them. It waits a random time of up
// to 0.2 s first, and up to 0.4, 0.8, 1.6, 3.2, 6.4 and then 10 s after more failures without a byte in
// between. At the twelfth failure in a row it gives up: after 31 s of waiting on average and 63 s at
// most, and 4.5 to 5 minutes if the store does not respond at all.
//
// An error that [IsPermanent] reports ends it immediately, and so does its context. Errors name the key
// and the byte.
type Reader struct {
	ctx          context.Context // Read has no context parameter
	bucket       Bucket
	key, version string // version is empty until the first response if any is accepted
	offset       int64  // of the first byte that is not buffered
	size         int64  // where to stop; negative until the first response if it is not known
	full         int64  // bytes of the object, after the first response
	modified     time.Time
	rangeSize    int64
	maxFailures  int
	failures     int    // in a row
	buffer       []byte // reused for each range
	buffered     []byte // the part of buffer that is not yet read
	err          error  // the final error
}

// NewReader returns a Reader of the object at key from offset up to size, the size that [Bucket.Stat]
// returned with version. With an empty version it reads the version that its first request finds. With
// a negative size it reads up to the end of the object. It sends its first request at the first Read.
// The caller must close it.
func NewReader(ctx context.Context, b Bucket, key, version string, offset, size int64) *Reader {
	r := &Reader{
		ctx: ctx, bucket: b, key: key, version: version, offset: offset, size: size,
		rangeSize: rangeSize, maxFailures: maxFailures,
	}
	if offset < 0 || size >= 0 && offset > size {
		r.end(fmt.Errorf("the object is %d bytes", size))
	}
	return r
}

// Read reads from the buffered range, and requests the next range if there is none.
func (r *Reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		r.buffered = nil
		if r.err == nil {
			r.end(context.Cause(r.ctx))
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	r.fillBuffer()
	if len(r.buffered) > 0 {
		n := copy(p, r.buffered)
		r.buffered = r.buffered[n:]
		return n, nil
	}
	if r.err != nil {
		return 0, r.err
	}
	return 0, io.EOF
}

// Close frees the buffer. It always succeeds.
func (r *Reader) Close() error {
	r.buffer, r.buffered = nil, nil
	r.end(fs.ErrClosed)
	return nil
}

// fillBuffer makes requests until there are bytes in the buffer, or none to come.
func (r *Reader) fillBuffer() {
	for r.err == nil && len(r.buffered) == 0 && !r.atEnd() {
		if r.failures > 0 {
			if err := backoff.Sleep(r.ctx, waits.Wait(r.failures)); err != nil {
				r.end(err)
				return
			}
		}
		if err := r.requestRange(); err != nil && !r.atEnd() {
			r.fail(err)
		}
	}
}

func (r *Reader) atEnd() bool { return r.size >= 0 && r.offset >= r.size }

// requestRange makes one request for the next range.
func (r *Reader) requestRange() error {
	n := r.rangeSize
	if r.size >= 0 {
		n = min(n, r.size-r.offset)
	}
	ctx, cancel := context.WithTimeoutCause(context.WithValue(r.ctx, untimedKey{}, r.ctx), rangeTimeout, errTimeout)
	defer cancel()
	data, info, err := r.bucket.ReadRange(ctx, r.key, r.version, r.offset, n, r.buffer[:0])
	if info.Version != "" {
		r.version, r.full, r.modified = info.Version, info.Size, info.Modified
		if r.size < 0 {
			r.size = info.Size
		}
		r.buffer, r.buffered = data, data
		r.offset += int64(len(data))
	}
	if len(r.buffered) > 0 {
		r.failures = 0
	} else if err == nil {
		return io.ErrUnexpectedEOF // unless it is the end, which the caller knows
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// fail records a failed request and decides whether it was the last one.
func (r *Reader) fail(err error) {
	r.failures++
	switch {
	case r.ctx.Err() != nil:
		r.end(context.Cause(r.ctx))
	case IsPermanent(err):
		r.end(err)
	case r.failures == r.maxFailures:
		r.end(fmt.Errorf("%d failures in a row: %w", r.failures, err))
	}
}

func (r *Reader) end(err error) {
	r.err = fmt.Errorf("read %q at byte %d: %w", r.key, r.offset, err)
}

type untimedKey struct{}

// Untimed returns the context of the [Reader] that made ctx for one request: it has no timeout for that
// request. Otherwise it returns ctx. It is for stores that cannot hang but may need long, such as a
// folder that reads a whole file to compute its version.
func Untimed(ctx context.Context) context.Context {
	if parent, ok := ctx.Value(untimedKey{}).(context.Context); ok {
		return parent
	}
	return ctx
}
