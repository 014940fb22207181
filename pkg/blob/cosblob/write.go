package cosblob

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5" // what COS compares a body with
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/tencentyun/cos-go-sdk-v5"

	"groupimport/pkg/backoff"
)

const (
	partSize = 8 << 20
	maxParts = 10_000 // cloud.tencent.com/document/product/436/14518, so an object has at most 78 GiB

	// Between creating an object and reading the token of its writer: time for concurrent writers that COS
	// admitted too to finish.
	settle = 500 * time.Millisecond

	abortTimeout = 15 * time.Second

	writerHeader = "x-cos-meta-writer" // a random token of the writer of an object
)

// Create writes the object at key if there is none. The package comment states its limits.
func (b *Bucket) Create(ctx context.Context, key string, data []byte) error {
	if err := b.create(ctx, key, data); err != nil {
		return fmt.Errorf("create %q: %w", key, err)
	}
	return nil
}

func (b *Bucket) create(ctx context.Context, key string, data []byte) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	if err := b.checkVersioning(ctx); err != nil {
		return err
	}
	writer := rand.Text()
	err := b.putObject(ctx, key, data, http.Header{
		"X-Cos-Forbid-Overwrite": {"true"}, http.CanonicalHeaderKey(writerHeader): {writer},
	})
	refused := errors.Is(err, fs.ErrExist)
	if err != nil && !refused {
		return err
	}
	if refused {
		// The object may be our own, if the response to the first attempt was lost.
		if err := b.holds(ctx, key, writer, data); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return fs.ErrExist // it was deleted meanwhile
			}
			return err
		}
	}
	if err := backoff.Sleep(ctx, settle); err != nil {
		return err
	}
	if err := b.holds(ctx, key, writer, data); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return errors.New("the object was written, and is missing half a second later")
		}
		return err
	}
	return nil
}

// holds checks that writer wrote the object at key. If another writer did, the error is [fs.ErrExist].
func (b *Bucket) holds(ctx context.Context, key, writer string, data []byte) error {
	info, header, err := b.head(ctx, key)
	if err != nil {
		return err
	}
	if header.Get(writerHeader) != writer {
		return fs.ErrExist
	}
	crc := header.Get(crcHeader)
	if info.Size != int64(len(data)) || crc != "" && crc != strconv.FormatUint(crc64.Checksum(data, crcTable), 10) {
		return errors.New("the object differs from the data that was sent: remove it")
	}
	return nil
}

// CheckVersioning returns an error unless the bucket never had versioning. It asks COS each time.
func (b *Bucket) CheckVersioning(ctx context.Context) error {
	b.unversed.Store(false)
	return b.checkVersioning(ctx)
}

// checkVersioning returns an error if COS would ignore x-cos-forbid-overwrite on the bucket. It asks COS
// until the response is no.
func (b *Bucket) checkVersioning(ctx context.Context) error {
	if b.unversed.Load() {
		return nil
	}
	var res *cos.BucketGetVersionResult
	_, err := b.call(ctx, "GetBucketVersioning", func(ctx context.Context) (*cos.Response, error) {
		var resp *cos.Response
		var err error
		res, resp, err = b.client.Bucket.GetVersioning(ctx)
		return resp, err
	})
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("cannot tell whether the bucket ever had versioning, with which COS overwrites leases: %w", err)
	}
	if err != nil {
		return err
	}
	if res.Status != "" {
		return fmt.Errorf("versioning of bucket %s is %s: on a bucket that has or ever had versioning COS overwrites "+
			"existing leases, and two runs could work on one import; use a bucket that never had versioning",
			b.config.Bucket, res.Status)
	}
	b.unversed.Store(true)
	return nil
}

// putObject writes data in one request.
func (b *Bucket) putObject(ctx context.Context, key string, data []byte, header http.Header) error {
	_, err := b.call(ctx, "PutObject", func(ctx context.Context) (*cos.Response, error) {
		opt := &cos.ObjectPutOptions{ObjectPutHeaderOptions: &cos.ObjectPutHeaderOptions{
			ContentMD5: digest(data), ContentLength: int64(len(data)), XOptionHeader: &header,
		}}
		if len(data) == 0 {
			return b.client.Object.Put(ctx, key, bytes.NewReader(nil), opt) // the SDK recognizes it as empty
		}
		body := &attemptBody{rest: data, size: int64(len(data))}
		defer body.stop()
		return b.client.Object.Put(ctx, key, body, opt)
	})
	return err
}

// Put holds up to 8 MiB in memory. It writes a body of up to 8 MiB by one request, and a longer one in up to
// 10,000 parts.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader) error {
	if err := b.put(ctx, key, body); err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	return nil
}

func (b *Bucket) put(ctx context.Context, key string, body io.Reader) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	src := bufio.NewReader(body)
	data, more, err := b.nextPart(ctx, src, nil)
	if err != nil {
		return err
	}
	if !more {
		return b.putObject(ctx, key, data, nil)
	}
	return b.upload(ctx, key, src, data)
}

// nextPart reads one part into buf, which grows to the size of a part at most. more reports whether another
// part follows.
func (b *Bucket) nextPart(
	ctx context.Context, src *bufio.Reader, buf []byte,
) (part []byte, more bool, err error) {
	part = buf[:0]
	for len(part) < b.partSize && err == nil {
		if ctx.Err() != nil {
			return nil, false, context.Cause(ctx)
		}
		if len(part) == cap(part) {
			grown := make([]byte, len(part), min(max(64<<10, 2*cap(part)), b.partSize))
			copy(grown, part)
			part = grown
		}
		var n int
		n, err = src.Read(part[len(part):cap(part)])
		part = part[:len(part)+n]
	}
	if err == nil {
		_, err = src.Peek(1)
		more = err == nil
	}
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	return part, more, nil
}

// upload writes data and the rest of src in parts.
func (b *Bucket) upload(ctx context.Context, key string, src *bufio.Reader, data []byte) error {
	writer := rand.Text()
	id, err := b.initiate(ctx, key, writer)
	if err != nil {
		return err
	}
	err = b.parts(ctx, key, id, writer, src, data)
	if err == nil {
		return nil
	}
	abort, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	aborted := b.abort(abort, key, id)
	if aborted != nil {
		err = fmt.Errorf("%w; the parts that were sent stay in the bucket and are charged, because aborting failed: %w",
			err, aborted)
	}
	return err
}

// parts sends data and the non-empty rest of src as the parts of an upload, and completes it.
func (b *Bucket) parts(ctx context.Context, key, id, writer string, src *bufio.Reader, data []byte) error {
	var sent []cos.Object
	for more := true; ; {
		if len(sent) == b.partsLimit {
			return fmt.Errorf("the object has more than %d parts of %d MiB, the limit of COS", b.partsLimit, b.partSize>>20)
		}
		number := len(sent) + 1
		tag, err := b.uploadPart(ctx, key, id, number, data)
		if err != nil {
			return fmt.Errorf("part %d: %w", number, err)
		}
		sent = append(sent, cos.Object{PartNumber: number, ETag: tag})
		if !more {
			break
		}
		if data, more, err = b.nextPart(ctx, src, data); err != nil {
			return err
		}
	}
	return b.complete(ctx, key, id, writer, sent)
}

// digest returns the Content-MD5 of data, with which COS rejects a damaged body.
func digest(data []byte) string {
	sum := md5.Sum(data)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// An attemptBody is the body of one attempt. The HTTP client may still read it when the attempt is over and
// the buffer is reused, so it ends with the attempt.
type attemptBody struct {
	mu   sync.Mutex
	rest []byte
	size int64
	over bool
}

func (a *attemptBody) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return 0, errors.New("the attempt is over")
	}
	if len(a.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Size returns the length for the SDK.
func (a *attemptBody) Size() int64 { return a.size }

func (a *attemptBody) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
}
