package blob

import (
	"context"
	"errors"
)

// ErrNoUpload is wrapped by errors about an upload that the store does not have: a lifecycle rule removed it, or it
// was aborted.
var ErrNoUpload = errors.New("no such upload")

const (
	// UploadPartSize is the size in bytes of every part of an upload except the last. S3 requires at least 5 MiB
	// (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html, 2026-11), COS 1 MiB
	// (cloud.tencent.com/document/product/436/14112, 2026-11).
	UploadPartSize = 8 << 20

	// MaxUploadParts is the limit of S3 and COS (same pages).
	MaxUploadParts = 10_000
)

// An Uploader is a [Bucket] whose store keeps the parts of an upload until it is completed, so that another process
// can resume it. All stores of this program are Uploaders. The object at the key changes only with CompleteUpload.
//
// The methods retry like those of a Bucket. If the store does not have the upload, their errors wrap [ErrNoUpload].
type Uploader interface {
	// CreateUpload begins an upload of the object at key and returns its ID, which is printable.
	CreateUpload(ctx context.Context, key string) (id string, err error)

	// UploadPart uploads or replaces a part, 1 to [MaxUploadParts], and returns its tag. Every part except the last
	// has [UploadPartSize] bytes. No part is empty.
	UploadPart(ctx context.Context, key, id string, number int, data []byte) (tag string, err error)

	// CompleteUpload writes or replaces the object with the parts from 1 on that have these tags. It succeeds also if
	// this upload has written the object before.
	CompleteUpload(ctx context.Context, key, id string, tags []string) error

	// AbortUpload removes the parts. It succeeds if there is no such upload.
	AbortUpload(ctx context.Context, key, id string) error
}
