package s3blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"groupimport/pkg/blob"
)

const (
	rangeSize = 8 << 20 // bytes

	// A range ends early when so much time has passed since its first byte, so that on a slow line no
	// Read takes long before it returns something. A [blob.Reader] takes 30 s for a hang-up.
	rangeTime = 10 * time.Second

	maxCuts = 4 // in a row, without a byte in between
)

// Open implements [blob.Bucket]. It reads the first range.
func (b *Bucket) Open(ctx context.Context, key, version string, offset int64) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fmt.Errorf("open %q: offset %d is negative", key, offset)
	}
	r := &reader{ctx: ctx, bucket: b, key: key, version: version, offset: offset, size: -1}
	if err := r.fill(); err != nil {
		return nil, err
	}
	return r, nil
}

// A reader reads an object range by range.
type reader struct {
	ctx     context.Context //nolint:containedctx // Read takes none
	bucket  *Bucket
	key     string
	version string // empty until the first answer
	offset  int64  // where the next range begins
	size    int64  // of the object, -1 until the first answer
	buffer  []byte // of the ranges
	rest    []byte // of buffer, not yet read
	err     error  // the end, for good
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	if r.err == nil && r.ctx.Err() != nil {
		r.err = fmt.Errorf("read %q: %w", r.key, context.Cause(r.ctx))
	}
	if r.err != nil {
		return 0, r.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.rest) == 0 {
		if r.offset >= r.size {
			return 0, io.EOF
		}
		if r.err = r.fill(); r.err != nil {
			return 0, r.err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close implements [io.Closer]. It always succeeds.
func (r *reader) Close() error {
	r.err = fs.ErrClosed
	r.buffer, r.rest = nil, nil
	return nil
}

// fill reads a range, or as much of it as comes: the rest is asked for once that is used up. Where
// nothing comes, it tries again.
func (r *reader) fill() error {
	for cuts := 1; ; cuts++ {
		err := r.fetch()
		if err == nil {
			return nil
		}
		// Anything else than a cut has been tried again by the client, as far as that makes sense.
		if _, ok := errors.AsType[*cutError](err); !ok || r.ctx.Err() != nil || cuts == maxCuts {
			return r.bucket.fail(r.ctx, reading, "read", r.key, err)
		}
		select {
		case <-time.After(rand.N(firstWait << (cuts - 1))):
		case <-r.ctx.Done():
			return r.bucket.fail(r.ctx, reading, "read", r.key, err)
		}
	}
}

// A cutError says that an answer ended before its first byte.
type cutError struct{ err error }

// Error implements error.
func (e *cutError) Error() string { return fmt.Sprintf("the answer broke off: %v", e.err) }

// Unwrap is for [errors.Is].
func (e *cutError) Unwrap() error { return e.err }

// fetch asks for a range once, and leaves in rest what comes of it.
func (r *reader) fetch() error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	in := &s3.GetObjectInput{
		Bucket: &r.bucket.name, Key: &r.key,
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", r.offset, r.offset+rangeSize-1)),
	}
	if r.version != "" {
		in.IfMatch = quoted(r.version)
	}
	out, err := r.bucket.client.GetObject(ctx, in)
	switch {
	case status(err) == http.StatusPreconditionFailed:
		return fmt.Errorf("%w: it is no longer version %s", blob.ErrChanged, r.version)
	case status(err) == http.StatusRequestedRangeNotSatisfiable:
		return r.beyond()
	case err != nil:
		return err
	}
	defer out.Body.Close()
	v := version(out.ETag)
	if r.version != "" && v != r.version { // from a server that ignores If-Match
		return fmt.Errorf("%w: version %s is asked for, %s is there", blob.ErrChanged, r.version, v)
	}
	size, length, err := r.extent(out)
	if err != nil {
		return err
	}
	r.version, r.size = v, size

	if int64(cap(r.buffer)) < length {
		r.buffer = make([]byte, length)
	}
	timer := time.AfterFunc(rangeTime, cancel)
	defer timer.Stop()
	n, err := io.ReadFull(out.Body, r.buffer[:length])
	r.offset += int64(n)
	r.rest = r.buffer[:n]
	if n == 0 && length > 0 {
		return &cutError{err}
	}
	return nil
}

// extent returns how large the object is, and how many bytes of it are in the answer and wanted.
func (r *reader) extent(out *s3.GetObjectOutput) (size, length int64, err error) {
	length = aws.ToInt64(out.ContentLength)
	from, size := int64(0), length
	if contentRange := aws.ToString(out.ContentRange); contentRange != "" { // bytes 0-9/100
		begin, rest, _ := strings.Cut(strings.TrimPrefix(contentRange, "bytes "), "-")
		_, all, _ := strings.Cut(rest, "/")
		from, err = strconv.ParseInt(begin, 10, 64)
		if err == nil {
			size, err = strconv.ParseInt(all, 10, 64)
		}
	}
	if err != nil || from != r.offset || length < 0 || from+length > size {
		return 0, 0, fmt.Errorf("the answer to a request for bytes from %d on has %d bytes, and its Content-Range is %q",
			r.offset, length, aws.ToString(out.ContentRange))
	}
	return size, min(length, rangeSize), nil
}

// beyond is called when the object has no byte at offset. It makes r one that is at the end, if there is
// the version asked for: which of the two mistakes a server tells first is not documented.
func (r *reader) beyond() error {
	info, err := r.bucket.Stat(r.ctx, r.key)
	if err != nil {
		return err
	}
	if r.version != "" && r.version != info.Version {
		return fmt.Errorf("%w: version %s is asked for, %s is there", blob.ErrChanged, r.version, info.Version)
	}
	if r.offset < info.Size {
		return &cutError{errors.New("the object was written meanwhile")}
	}
	r.version, r.size = info.Version, info.Size
	return nil
}
