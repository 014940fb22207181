package cosblob

import (
	"context"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tencentyun/cos-go-sdk-v5"

	"groupimport/pkg/blob"
)

const crcHeader = "x-cos-hash-crc64ecma"

var (
	crcTable    = crc64.MakeTable(crc64.ECMA)
	errChecksum = errors.New("the bytes do not match the " + crcHeader + " of the response")
)

// ReadRange makes one GET. At the end of the object, or behind it, it makes a HEAD too. It checks the
// CRC-64 of COS if the range is the whole object.
func (b *Bucket) ReadRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	err := errors.Join(check(ctx, key), blob.CheckRange(off, n))
	var info blob.Info
	if err == nil {
		buf, info, err = b.readRange(ctx, key, version, off, n, buf)
	}
	if err == nil {
		return buf, info, nil
	}
	if ctx.Err() != nil {
		return buf, info, fmt.Errorf("read %q: %w", key, context.Cause(ctx))
	}
	err = fmt.Errorf("read %q: %w", key, err)
	if !transient(err) {
		err = blob.Permanent(err)
	} else if b.config.Log != nil {
		b.config.Log.WarnContext(ctx, "store request failed", "what", "GetObject", "err", err)
	}
	return buf, info, err
}

func (b *Bucket) readRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	var info blob.Info
	_, err := b.attempt(ctx, "GetObject", func(ctx context.Context) (*cos.Response, error) {
		header := make(http.Header)
		if version != "" {
			header.Set("If-Match", `"`+version+`"`)
		}
		resp, err := b.client.Object.Get(ctx, key, &cos.ObjectGetOptions{
			Range: fmt.Sprintf("bytes=%d-%d", off, off+n-1), XOptionHeader: &header,
		})
		if err != nil {
			return resp, err
		}
		defer resp.Body.Close()
		info, err = infoOf(key, resp.Response, off)
		if err == nil {
			err = blob.CheckVersion(version, info.Version)
		}
		if err != nil {
			info = blob.Info{}
			return resp, &broken{err}
		}
		buf, err = readBody(resp.Response, buf, off, min(n, info.Size-off), info.Size)
		return resp, err
	})
	if e, ok := errors.AsType[*refusal](err); ok && e.status == http.StatusRequestedRangeNotSatisfiable {
		info, err = b.atEnd(ctx, key, version, off)
	}
	return buf, info, err
}

// readBody appends the n bytes of a response to buf.
func readBody(resp *http.Response, buf []byte, off, n, size int64) ([]byte, error) {
	start := len(buf)
	buf = slices.Grow(buf, int(n))
	read, err := io.ReadFull(resp.Body, buf[start:start+int(n)])
	buf = buf[:start+read]
	if err != nil {
		return buf, &lost{"GetObject", fmt.Errorf("the response broke off after %d bytes: %w", read, err)}
	}
	// The header has the CRC-64 of the object, also if the response is a range of it.
	if crc := resp.Header.Get(crcHeader); crc != "" && off == 0 && n == size {
		if crc != strconv.FormatUint(crc64.Checksum(buf[start:], crcTable), 10) {
			return buf[:start], &lost{"GetObject", errChecksum}
		}
	}
	return buf, nil
}

// atEnd describes the object, which has no byte at off. It checks the version: COS does not document
// whether it checks the range or the version first.
func (b *Bucket) atEnd(ctx context.Context, key, version string, off int64) (blob.Info, error) {
	info, _, err := b.head(ctx, key)
	if err == nil {
		err = blob.CheckVersion(version, info.Version)
	}
	if err == nil && off < info.Size {
		err = &lost{"GetObject", errors.New("the object was written meanwhile")}
	}
	if err != nil {
		return blob.Info{}, err
	}
	return info, nil
}

// infoOf describes the object in a response, whose bytes must begin at off.
func infoOf(key string, resp *http.Response, off int64) (blob.Info, error) {
	start, size := int64(0), resp.ContentLength
	if resp.StatusCode == http.StatusPartialContent { // an empty object is sent with 200
		var end int64
		contentRange := strings.ToLower(resp.Header.Get("Content-Range"))
		if _, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &start, &end, &size); err != nil {
			return blob.Info{}, fmt.Errorf("the Content-Range of the response is %q", contentRange)
		}
	}
	modified, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	info := blob.Info{Key: key, Version: version(resp.Header.Get("ETag")), Size: size, Modified: modified}
	if err != nil || info.Version == "" || info.Size < 0 {
		return blob.Info{}, errors.New("the response lacks ETag, Content-Length or Last-Modified")
	}
	if start != off {
		return blob.Info{}, fmt.Errorf("bytes from %d on were requested, the response begins at %d", off, start)
	}
	return info, nil
}

// A broken response makes no sense, or is about another version. Another attempt does not help.
type broken struct{ err error }

func (b *broken) Error() string { return b.err.Error() }
func (b *broken) Unwrap() error { return b.err }
