package s3blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"groupimport/pkg/blob"
)

// ReadRange makes one GET. At the end of the object, or behind it, it makes a HEAD too.
func (b *Bucket) ReadRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	if err := errors.Join(checkKey(key), blob.CheckRange(off, n)); err != nil {
		return buf, blob.Info{}, blob.Permanent(err)
	}
	buf, info, err := b.readRange(ctx, key, version, off, n, buf)
	if err == nil {
		return buf, info, nil
	}
	isTransient := info.Version != "" || b.retryer.IsErrorRetryable(err)
	err = b.fail(ctx, reading, "read", key, err)
	switch {
	case ctx.Err() != nil:
	case !isTransient:
		err = blob.Permanent(err)
	case b.log != nil:
		b.log.WarnContext(ctx, "store request failed", "what", "GetObject", "err", err)
	}
	return buf, info, err
}

func (b *Bucket) readRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	in := &s3.GetObjectInput{
		Bucket: &b.name, Key: &key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1)),
	}
	if version != "" {
		in.IfMatch = quoted(version)
	}
	out, err := b.client.GetObject(ctx, in, func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
	switch {
	case status(err) == http.StatusPreconditionFailed:
		return buf, blob.Info{}, fmt.Errorf("%w: it is no longer version %s", blob.ErrChanged, version)
	case status(err) == http.StatusRequestedRangeNotSatisfiable:
		info, err := b.atEnd(ctx, key, version, off)
		return buf, info, err
	case err != nil:
		return buf, blob.Info{}, err
	}
	defer out.Body.Close()
	b.seen.Store(true)
	size, length, err := extent(out, off)
	if err != nil {
		return buf, blob.Info{}, err
	}
	info := blob.Info{Key: key, Version: etag(out.ETag), Size: size, Modified: aws.ToTime(out.LastModified)}
	if err := blob.CheckVersion(version, info.Version); err != nil { // the server ignores If-Match
		return buf, blob.Info{}, err
	}
	if info.Version == "" {
		return buf, blob.Info{}, errNoETag
	}
	buf = slices.Grow(buf, int(min(length, n)))
	end := len(buf) + int(min(length, n))
	read, err := io.ReadFull(out.Body, buf[len(buf):end])
	if err != nil {
		err = fmt.Errorf("the response broke off after %d bytes: %w", read, err)
	}
	return buf[:len(buf)+read], info, err
}

// extent returns the size of the object and the number of bytes in the response to a request for bytes
// from off on.
func extent(out *s3.GetObjectOutput, off int64) (size, length int64, err error) {
	length = aws.ToInt64(out.ContentLength)
	from, size := int64(0), length
	if contentRange := aws.ToString(out.ContentRange); contentRange != "" { // bytes 0-9/100
		first, rest, _ := strings.Cut(strings.TrimPrefix(contentRange, "bytes "), "-")
		_, all, _ := strings.Cut(rest, "/")
		from, err = strconv.ParseInt(first, 10, 64)
		if err == nil {
			size, err = strconv.ParseInt(all, 10, 64)
		}
	}
	if err != nil || from != off || length < 0 || from+length > size {
		return 0, 0, fmt.Errorf("the response to a request for bytes from %d on has %d bytes, and its Content-Range is %q",
			off, length, aws.ToString(out.ContentRange))
	}
	return size, length, nil
}

// atEnd describes the object, which has no byte at off. It checks the version: S3 does not document
// whether it checks the range or the version first.
func (b *Bucket) atEnd(ctx context.Context, key, version string, off int64) (blob.Info, error) {
	info, err := b.Stat(ctx, key)
	if err != nil {
		return blob.Info{}, err
	}
	if err := blob.CheckVersion(version, info.Version); err != nil {
		return blob.Info{}, err
	}
	if off < info.Size {
		return blob.Info{}, fmt.Errorf("the object was written meanwhile: %w", io.ErrUnexpectedEOF)
	}
	return info, nil
}
