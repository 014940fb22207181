package cosblob

import (
	"context"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tencentyun/cos-go-sdk-v5"

	"groupimport/pkg/blob"
)

const (
	rangeSize = 8 << 20 // bytes of one GET
	crcHeader = "x-cos-hash-crc64ecma"

	// A GET that brings no byte for stallAfter is lost. One that has brought some and is slow ends after
	// slowAfter with what it has: a caller like [blob.Reader] takes a Read of 30 s for a hang-up.
	stallAfter = 20 * time.Second
	slowAfter  = 10 * time.Second
)

var (
	crcTable    = crc64.MakeTable(crc64.ECMA)
	errStalled  = fmt.Errorf("no byte came for %v", stallAfter)
	errChecksum = errors.New("the bytes have another " + crcHeader + " than COS says")
)

// Open implements [blob.Bucket]. The reader asks for 8 MiB at a time and holds them in memory, or what
// there is if that is less, so that one who reads slowly keeps no connection waiting. An object of one
// range is checked against COS's CRC-64.
func (b *Bucket) Open(ctx context.Context, key, version string, offset int64) (io.ReadCloser, error) {
	r, err := b.open(ctx, key, version, offset)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", key, err)
	}
	return r, nil
}

func (b *Bucket) open(ctx context.Context, key, version string, offset int64) (*reader, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fmt.Errorf("offset %d is negative", offset)
	}
	r := &reader{bucket: b, ctx: ctx, key: key, version: version, offset: offset, size: -1}
	err := r.fill()
	if e, ok := errors.AsType[*refusal](err); ok && e.status == http.StatusRequestedRangeNotSatisfiable {
		// There is nothing at offset, whatever the version: which of the two COS looks at first is not
		// documented.
		r.size = offset
		if version == "" {
			return r, nil
		}
		info, _, err := b.head(ctx, key)
		if err == nil && info.Version != version {
			err = changed(version, info.Version)
		}
		return r, err
	}
	return r, err
}

func changed(want, got string) error {
	return fmt.Errorf("%w: version %s is asked for, %s is there", blob.ErrChanged, want, got)
}

// A reader reads one version of an object, a range at a time.
type reader struct {
	bucket       *Bucket
	ctx          context.Context //nolint:containedctx // Read takes none
	key, version string
	offset       int64  // of what comes after rest
	size         int64  // of the object; -1 before it is known
	buf          []byte // reused for each range
	rest         []byte // of buf, not read yet
	closed       bool
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	switch {
	case r.closed:
		return 0, fs.ErrClosed
	case r.ctx.Err() != nil:
		return 0, fmt.Errorf("read %q: %w", r.key, context.Cause(r.ctx))
	case len(p) == 0:
		return 0, nil
	}
	if len(r.rest) == 0 {
		if r.offset >= r.size {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			if e, ok := errors.AsType[*refusal](err); ok && e.status == http.StatusRequestedRangeNotSatisfiable {
				err = fmt.Errorf("%w: it has become shorter", blob.ErrChanged)
			}
			return 0, fmt.Errorf("read %q at byte %d: %w", r.key, r.offset, err)
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close implements [io.Closer].
func (r *reader) Close() error {
	r.closed = true
	r.buf, r.rest = nil, nil
	return nil
}

// fill gets the next range, or the beginning of it: what came before an answer broke off is kept.
func (r *reader) fill() error {
	_, err := r.bucket.call(r.ctx, "GetObject", func(ctx context.Context) (*cos.Response, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		stall := time.AfterFunc(stallAfter, func() { cancel(errStalled) })
		defer stall.Stop()

		header := make(http.Header)
		if r.version != "" {
			header.Set("If-Match", `"`+r.version+`"`)
		}
		resp, err := r.bucket.client.Object.Get(ctx, r.key, &cos.ObjectGetOptions{
			Range:         fmt.Sprintf("bytes=%d-%d", r.offset, r.offset+rangeSize-1),
			XOptionHeader: &header,
		})
		if err == nil {
			defer resp.Body.Close()
			err = r.take(resp.Response, stall)
		}
		if err != nil && ctx.Err() != nil {
			err = &lost{"GetObject", context.Cause(ctx)}
		}
		return resp, err
	})
	return err
}

// take reads what an answer holds of the range.
func (r *reader) take(resp *http.Response, stall *time.Timer) error {
	etag := version(resp.Header.Get("ETag"))
	start, size, err := rangeOf(resp)
	if err != nil {
		return &broken{err}
	}
	if size < 0 || etag == "" {
		return &broken{errors.New("the answer lacks Content-Length or ETag")}
	}
	if start != r.offset {
		return &broken{fmt.Errorf("byte %d was asked for, the answer begins at %d", r.offset, start)}
	}
	if r.version != "" && etag != r.version {
		return &broken{changed(r.version, etag)}
	}
	want := int(min(size-start, rangeSize))
	if len(r.buf) < want {
		r.buf = make([]byte, want)
	}

	began := time.Now()
	n := 0
	for n < want && (n == 0 || time.Since(began) < slowAfter) {
		stall.Reset(stallAfter)
		var m int
		m, err = resp.Body.Read(r.buf[n:want])
		n += m
		if err != nil {
			break
		}
	}
	if n == 0 && want > 0 {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return &lost{"GetObject", err}
	}
	// Of the range or of the object, the CRC-64 is that of an object that is one range.
	if crc := resp.Header.Get(crcHeader); crc != "" && start == 0 && int64(n) == size {
		if crc != strconv.FormatUint(crc64.Checksum(r.buf[:n], crcTable), 10) {
			return &lost{"GetObject", errChecksum}
		}
	}
	r.version, r.size = etag, size
	r.rest = r.buf[:n]
	r.offset += int64(n)
	return nil
}

// rangeOf says at which byte of an object an answer begins, and how many the object has.
func rangeOf(resp *http.Response) (start, size int64, err error) {
	if resp.StatusCode != http.StatusPartialContent { // also what an empty object is answered with
		return 0, resp.ContentLength, nil
	}
	var end int64
	contentRange := resp.Header.Get("Content-Range")
	if _, err := fmt.Sscanf(strings.ToLower(contentRange), "bytes %d-%d/%d", &start, &end, &size); err != nil {
		return 0, 0, fmt.Errorf("the answer's Content-Range is %q", contentRange)
	}
	return start, size, nil
}

// broken is an answer that makes no sense, or is about another version. Asking again does not help.
type broken struct{ err error }

// Error implements error.
func (b *broken) Error() string { return b.err.Error() }

// Unwrap returns what is wrong with the answer.
func (b *broken) Unwrap() error { return b.err }
