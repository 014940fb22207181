package s3blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	partSize  = 8 << 20  // bytes; the minimum of S3 is 5 MiB, except for the last part
	maxParts  = 10_000   // of an upload (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)
	minBuffer = 64 << 10 // bytes

	abortTimeout = 5 * time.Second

	uploadKey = "upload" // of the metadata that name the upload of an object
)

// Put writes a body of at most 78 GiB: 10,000 parts of 8 MiB.
//
// It aborts a failed multipart upload, also when ctx is done, which takes at most 5 s. The parts of a
// process that dies are not visible, and are charged until a lifecycle rule removes them
// (AbortIncompleteMultipartUpload).
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader) error {
	if err := checkKey(key); err != nil {
		return err
	}
	parts := &partReader{ctx: ctx, body: body}
	if l, ok := body.(interface{ Len() int }); ok {
		parts.buffer = make([]byte, min(l.Len()+1, partSize)) // one more to detect the end
	}
	part, err := parts.next()
	if err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	if parts.end {
		if err := b.putObject(ctx, key, part, nil); err != nil {
			return b.fail(ctx, writing, "put", key, err)
		}
		return nil
	}

	name := rand.Text()
	out, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &b.name, Key: &key, ContentType: contentType(key), Metadata: map[string]string{uploadKey: name},
	})
	if err != nil {
		return b.fail(ctx, writing, "put", key, err)
	}
	u := upload{b, key, name, out.UploadId}
	if err := u.send(ctx, part, parts); err != nil {
		return u.abort(ctx, err)
	}
	return nil
}

// An upload is a multipart upload.
type upload struct {
	*Bucket

	key, name string
	id        *string
}

// send uploads a part and those that follow it, and completes the upload.
func (u upload) send(ctx context.Context, part []byte, parts *partReader) error {
	var done []types.CompletedPart // up to 10,000, of about 100 bytes each
	for len(part) > 0 {
		if len(done) == maxParts {
			return fmt.Errorf("put %q: the object has more than %d bytes", u.key, int64(maxParts)*partSize)
		}
		number := aws.Int32(int32(len(done) + 1)) // at most 10,000
		out, err := u.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &u.Bucket.name, Key: &u.key, UploadId: u.id, PartNumber: number, Body: bytes.NewReader(part),
		})
		if err != nil {
			return u.fail(ctx, writing, "put", u.key, err)
		}
		done = append(done, types.CompletedPart{ETag: out.ETag, PartNumber: number})
		if part, err = parts.next(); err != nil {
			return fmt.Errorf("put %q: %w", u.key, err)
		}
	}
	_, err := u.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &u.Bucket.name, Key: &u.key, UploadId: u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	if code(err) == codeNoSuchUpload && u.isDone(ctx) {
		return nil
	}
	if err != nil {
		return u.fail(ctx, writing, "put", u.key, err)
	}
	return nil
}

// isDone reports whether this upload wrote the object. It did if the response to the completion was lost and
// the completion was sent again: a completed upload disappears, on some servers at once. ETags cannot tell
// because they depend on the encryption.
func (u upload) isDone(ctx context.Context) bool {
	out, err := u.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &u.Bucket.name, Key: &u.key})
	return err == nil && out.Metadata[uploadKey] == u.name
}

// abort removes the parts of an upload that failed with err, and returns err.
func (u upload) abort(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_, abortErr := u.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &u.Bucket.name, Key: &u.key, UploadId: u.id,
	})
	if abortErr == nil || code(abortErr) == codeNoSuchUpload || errors.Is(abortErr, context.DeadlineExceeded) {
		return err
	}
	if status(abortErr) == http.StatusForbidden {
		return fmt.Errorf("%w; its parts stay and are charged, the permission s3:AbortMultipartUpload is missing", err)
	}
	return fmt.Errorf("%w; its parts stay and are charged: %s", err, describe(abortErr))
}

// A partReader reads a body part by part.
type partReader struct {
	ctx    context.Context // next has no context parameter
	body   io.Reader
	buffer []byte // grows with the body, up to the size of a part
	end    bool   // of the body
}

// next returns the next part, which has the full size unless it is the last. At the end it is empty. It is
// valid until the next call.
func (r *partReader) next() ([]byte, error) {
	n := 0
	for n < partSize && !r.end {
		if n == len(r.buffer) {
			grown := make([]byte, min(max(8*n, minBuffer), partSize))
			copy(grown, r.buffer)
			r.buffer = grown
		}
		if r.ctx.Err() != nil {
			return nil, context.Cause(r.ctx)
		}
		m, err := r.body.Read(r.buffer[n:])
		n += m
		if err != nil && err != io.EOF {
			return nil, err
		}
		r.end = err == io.EOF
	}
	return r.buffer[:n], nil
}
