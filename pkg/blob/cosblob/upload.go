package cosblob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/tencentyun/cos-go-sdk-v5"

	"groupimport/pkg/blob"
)

var _ blob.Uploader = (*Bucket)(nil)

// CreateUpload begins a multipart upload. The ID has the token that identifies the object as written by this upload,
// and the ID of COS.
func (b *Bucket) CreateUpload(ctx context.Context, key string) (string, error) {
	if err := check(ctx, key); err != nil {
		return "", err
	}
	writer := rand.Text()
	id, err := b.initiate(ctx, key, writer)
	if err != nil {
		return "", uploadError("create upload", key, err)
	}
	return writer + ":" + id, nil
}

// initiate begins a multipart upload and returns its ID.
func (b *Bucket) initiate(ctx context.Context, key, writer string) (string, error) {
	var res *cos.InitiateMultipartUploadResult
	_, err := b.call(ctx, "InitiateMultipartUpload", func(ctx context.Context) (*cos.Response, error) {
		var resp *cos.Response
		var err error
		res, resp, err = b.client.Object.InitiateMultipartUpload(ctx, key, &cos.InitiateMultipartUploadOptions{
			ObjectPutHeaderOptions: &cos.ObjectPutHeaderOptions{
				XOptionHeader: &http.Header{http.CanonicalHeaderKey(writerHeader): {writer}},
			},
		})
		if err == nil && res.UploadID == "" {
			err = errors.New("no UploadId")
		}
		return resp, err
	})
	if err != nil {
		return "", err
	}
	return res.UploadID, nil
}

func uploadError(op, key string, err error) error {
	if r, ok := errors.AsType[*refusal](err); ok && r.code == "NoSuchUpload" {
		err = blob.ErrNoUpload
	}
	return fmt.Errorf("%s %q: %w", op, key, err)
}

// UploadPart uploads a part. The tag is its ETag.
func (b *Bucket) UploadPart(ctx context.Context, key, id string, number int, data []byte) (string, error) {
	if err := check(ctx, key); err != nil {
		return "", err
	}
	_, id, _ = strings.Cut(id, ":")
	tag, err := b.uploadPart(ctx, key, id, number, data)
	if err != nil {
		return "", uploadError("upload part", key, err)
	}
	return tag, nil
}

func (b *Bucket) uploadPart(ctx context.Context, key, id string, number int, data []byte) (string, error) {
	resp, err := b.call(ctx, "UploadPart", func(ctx context.Context) (*cos.Response, error) {
		body := &attemptBody{rest: data, size: int64(len(data))}
		defer body.stop()
		return b.client.Object.UploadPart(ctx, key, id, number, body, &cos.ObjectUploadPartOptions{
			ContentMD5: digest(data), ContentLength: int64(len(data)),
		})
	})
	if err != nil {
		return "", err
	}
	return resp.Header.Get("ETag"), nil
}

// CompleteUpload writes the object. COS forgets a completed upload, and some servers (versitygw) report success for an
// upload that they do not have. The object's writer tells whether this upload has written it.
func (b *Bucket) CompleteUpload(ctx context.Context, key, id string, tags []string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	parts := make([]cos.Object, len(tags))
	for i, tag := range tags {
		parts[i] = cos.Object{PartNumber: i + 1, ETag: tag}
	}
	writer, id, _ := strings.Cut(id, ":")
	err := b.complete(ctx, key, id, writer, parts)
	if err == nil {
		_, header, headErr := b.head(ctx, key)
		if err = headErr; errors.Is(err, fs.ErrNotExist) || err == nil && header.Get(writerHeader) != writer {
			err = blob.ErrNoUpload
		}
	}
	if err != nil {
		return uploadError("complete upload", key, err)
	}
	return nil
}

// complete completes an upload. It succeeds also if the upload was completed before: the response to the first attempt
// may have been lost.
func (b *Bucket) complete(ctx context.Context, key, id, writer string, parts []cos.Object) error {
	_, err := b.call(ctx, "CompleteMultipartUpload", func(ctx context.Context) (*cos.Response, error) {
		_, resp, err := b.client.Object.CompleteMultipartUpload(ctx, key, id, &cos.CompleteMultipartUploadOptions{
			Parts: parts,
		})
		return resp, err
	})
	if r, ok := errors.AsType[*refusal](err); ok && r.code == "NoSuchUpload" {
		if _, header, headErr := b.head(ctx, key); headErr == nil && header.Get(writerHeader) == writer {
			return nil
		}
	}
	return err
}

// AbortUpload removes the parts.
func (b *Bucket) AbortUpload(ctx context.Context, key, id string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	_, id, _ = strings.Cut(id, ":")
	if err := b.abort(ctx, key, id); err != nil {
		return uploadError("abort upload", key, err)
	}
	return nil
}

func (b *Bucket) abort(ctx context.Context, key, id string) error {
	_, err := b.call(ctx, "AbortMultipartUpload", func(ctx context.Context) (*cos.Response, error) {
		return b.client.Object.AbortMultipartUpload(ctx, key, id)
	})
	if r, ok := errors.AsType[*refusal](err); ok && r.status == http.StatusNotFound {
		return nil
	}
	return err
}
