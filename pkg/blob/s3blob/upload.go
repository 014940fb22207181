package s3blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"groupimport/pkg/blob"
)

var _ blob.Uploader = (*Bucket)(nil)

// CreateUpload begins a multipart upload. The ID has the name that identifies the object as written by this upload,
// and the ID of S3.
func (b *Bucket) CreateUpload(ctx context.Context, key string) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	name := rand.Text()
	out, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &b.name, Key: &key, ContentType: contentType(key), Metadata: map[string]string{uploadKey: name},
	})
	if err != nil {
		return "", b.fail(ctx, writing, "create upload", key, err)
	}
	return name + ":" + aws.ToString(out.UploadId), nil
}

func (b *Bucket) resume(key, id string) (upload, error) {
	name, id, ok := strings.Cut(id, ":")
	if !ok || id == "" {
		return upload{}, fmt.Errorf("upload %q of %q: %w", id, key, blob.ErrNoUpload)
	}
	return upload{b, key, name, &id}, checkKey(key)
}

// uploadError returns an error of the SDK about an upload.
func (u upload) uploadError(ctx context.Context, op string, err error) error {
	if code(err) == codeNoSuchUpload {
		return fmt.Errorf("%s %q: %w", op, u.key, blob.ErrNoUpload)
	}
	return u.fail(ctx, writing, op, u.key, err)
}

// UploadPart uploads a part. The tag is its ETag.
func (b *Bucket) UploadPart(ctx context.Context, key, id string, number int, data []byte) (string, error) {
	u, err := b.resume(key, id)
	if err != nil {
		return "", err
	}
	out, err := b.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &b.name, Key: &key, UploadId: u.id, PartNumber: aws.Int32(int32(number)), // at most 10,000
		Body: bytes.NewReader(data),
	})
	if err != nil {
		return "", u.uploadError(ctx, "upload part", err)
	}
	return aws.ToString(out.ETag), nil
}

// CompleteUpload writes the object. S3 forgets a completed upload, and some servers (versitygw) report success for an
// upload that they do not have. The object's metadata tells whether this upload has written it.
func (b *Bucket) CompleteUpload(ctx context.Context, key, id string, tags []string) error {
	u, err := b.resume(key, id)
	if err != nil {
		return err
	}
	parts := make([]types.CompletedPart, len(tags))
	for i, tag := range tags {
		parts[i] = types.CompletedPart{ETag: aws.String(tag), PartNumber: aws.Int32(int32(i + 1))}
	}
	_, err = b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &b.name, Key: &key, UploadId: u.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil && code(err) != codeNoSuchUpload {
		return u.uploadError(ctx, "complete upload", err)
	}
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: &key})
	switch {
	case err == nil && out.Metadata[uploadKey] == u.name:
		return nil
	case err == nil || status(err) == http.StatusNotFound:
		return fmt.Errorf("complete upload %q: %w", key, blob.ErrNoUpload)
	}
	return b.fail(ctx, reading, "complete upload", key, err)
}

// AbortUpload removes the parts.
func (b *Bucket) AbortUpload(ctx context.Context, key, id string) error {
	u, err := b.resume(key, id)
	if err != nil {
		return nil //nolint:nilerr // there is no such upload
	}
	_, err = b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: &key, UploadId: u.id})
	if err == nil || code(err) == codeNoSuchUpload {
		return nil
	}
	return u.uploadError(ctx, "abort upload", err)
}
