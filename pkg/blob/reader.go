package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"time"
)

const (
	maxFailures = 8                      // in a row, without a byte in between
	firstWait   = 200 * time.Millisecond // at most, before the first reopening; doubled with each failure
	longestWait = 10 * time.Second
	stallAfter  = 30 * time.Second // a read that brings no byte for so long is a hang-up
)

var errStalled = fmt.Errorf("no byte came for %v", stallAfter)

// A Reader reads one version of an object and survives hang-ups. A store closes a body that is read
// slowly, and that looks like an error, like a clean end too early, or like nothing at all; the known
// size and a limit of 30 s for one read tell them from the real end. The Reader then opens the object
// again where it was, after a random wait of up to 0.2 s, and up to 0.4, 0.8, 1.6, 3.2, 6.4 and 10 s
// if that brings no byte either. At the eighth failure in a row (after 23 s of waiting at most, 11 on
// average) it gives up.
//
// An error that wraps [ErrChanged], [fs.ErrNotExist] or [fs.ErrPermission] ends it at once, and so
// does its context. Errors name the key and the byte.
type Reader struct {
	ctx          context.Context //nolint:containedctx // Read takes none
	bucket       Bucket
	key, version string
	offset, size int64
	body         io.ReadCloser // nil before the first Read and after a failure
	cancel       context.CancelCauseFunc
	failures     int   // in a row
	err          error // the end, for good
}

// NewReader returns a Reader of the object at key from offset to size, the size that [Bucket.Stat] told
// along with version. With an empty version the bytes may be of several. It opens the object at the
// first Read. The caller must close it.
func NewReader(ctx context.Context, b Bucket, key, version string, offset, size int64) *Reader {
	r := &Reader{ctx: ctx, bucket: b, key: key, version: version, offset: offset, size: size}
	if offset < 0 || offset > size {
		r.end(fmt.Errorf("it has %d bytes", size))
	}
	return r
}

// Read implements [io.Reader].
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil && r.offset < r.size {
		n, err := r.try(p[:min(int64(len(p)), r.size-r.offset)])
		r.offset += int64(n)
		if n > 0 {
			r.failures = 0
		}
		if err != nil && r.offset < r.size {
			r.fail(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	if r.err != nil {
		return 0, r.err
	}
	return 0, io.EOF
}

// Close implements [io.Closer]. It always succeeds.
func (r *Reader) Close() error {
	r.hangUp()
	r.end(fs.ErrClosed)
	return nil
}

// try reads once, on a new body if there is none.
func (r *Reader) try(p []byte) (int, error) {
	if r.body == nil {
		if err := r.wait(); err != nil {
			return 0, err
		}
		ctx, cancel := context.WithCancelCause(r.ctx)
		body, err := r.bucket.Open(ctx, r.key, r.version, r.offset)
		if err != nil {
			cancel(nil)
			return 0, err
		}
		r.body, r.cancel = body, cancel
	}

	cancel := r.cancel
	stall := time.AfterFunc(stallAfter, func() { cancel(errStalled) })
	n, err := r.body.Read(p)
	stall.Stop()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // unless it is the end, which Read knows
	}
	return n, err
}

// wait waits before a reopening. It is random over the whole range, so that readers that were hung up
// on together do not come back together.
func (r *Reader) wait() error {
	if r.failures == 0 {
		return nil
	}
	t := time.NewTimer(rand.N(min(firstWait<<(r.failures-1), longestWait)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// fail takes note of a failed read, and decides whether it was the last.
func (r *Reader) fail(err error) {
	r.hangUp()
	r.failures++
	switch {
	case r.ctx.Err() != nil:
		r.end(context.Cause(r.ctx))
	case errors.Is(err, ErrChanged), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		r.end(err)
	case r.failures == maxFailures:
		r.end(fmt.Errorf("%d failures in a row: %w", r.failures, err))
	}
}

func (r *Reader) end(err error) {
	r.err = fmt.Errorf("read %q at byte %d: %w", r.key, r.offset, err)
}

func (r *Reader) hangUp() {
	if r.body != nil {
		r.body.Close()
		r.cancel(nil)
		r.body = nil
	}
}
