// Package s3blob is a [blob.Bucket] on Amazon S3, or on a server with the same protocol.
//
// A version is the ETag of the object without its quotes. Every response has it, lists included, whether
// the bucket keeps old versions or not. A read names it in If-Match. An object written again with the same
// bytes may keep its ETag, and so its version.
//
// An object of less than 8 MiB is written by one request, a larger one by a multipart upload of parts of
// 8 MiB. Put holds one part in memory, or the whole object if that is smaller.
//
// [Bucket.Create] uses If-None-Match: "*", which S3 supports since August 2024. With a server that ignores
// it two runs could own one lease. Test a server with package blobtest before you use it.
package s3blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"

	"groupimport/pkg/blob"
)

// A Bucket is a bucket on S3. It is a [blob.Bucket].
//
// ReadRange makes one attempt, [blob.Reader] the others. Other methods make up to 5, see [Config]. A key is
// UTF-8. It has no "." and ".." between its slashes, which some servers resolve, and does not end in a
// slash: the console creates such objects to show folders, and List omits them.
//
// The caller needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on the
// objects, and s3:ListBucket on the bucket: without it the response to a request for a missing object is
// 403. Errors of denied requests wrap [fs.ErrPermission]. The error of a missing bucket does not wrap
// [fs.ErrNotExist].
type Bucket struct {
	client  *s3.Client
	retryer aws.Retryer
	name    string
	region  string
	log     *slog.Logger // or nil
	seen    atomic.Bool  // the bucket is known to exist
}

var (
	_ blob.Bucket    = (*Bucket)(nil)
	_ blob.KeyFitter = (*Bucket)(nil)
)

// Open returns the bucket with this name, configured by [Config] for S3. It sends no request. log receives
// failed requests that are repeated. It may be nil.
func Open(getenv func(string) string, name string, log *slog.Logger) (*Bucket, error) {
	return OpenWith(getenv, Defaults{}, name, log)
}

// OpenWith is Open with defaults for variables that are missing.
func OpenWith(getenv func(string) string, d Defaults, name string, log *slog.Logger) (*Bucket, error) {
	cfg, err := config(getenv, "S3", d)
	if err != nil {
		return nil, err
	}
	if log != nil {
		cfg.ClientLogMode, cfg.Logger = aws.LogRetries, retryLog{context.Background(), log}
	}
	b, err := open(cfg, name)
	if err != nil {
		return nil, err
	}
	b.log = log
	return b, nil
}

// A retryLog logs the operation and the number of an attempt when the SDK repeats a request. It logs nothing
// of the request.
type retryLog struct {
	ctx context.Context // passed by the SDK with WithContext
	log *slog.Logger
}

// WithContext returns a logger with ctx, for the SDK.
func (l retryLog) WithContext(ctx context.Context) logging.Logger { return retryLog{ctx, l.log} }

// Logf logs that a request is repeated, and drops other messages of the SDK.
func (l retryLog) Logf(_ logging.Classification, format string, v ...any) {
	if !strings.HasPrefix(format, "retrying request") {
		return // the SDK also logs what it does not repeat, such as 404, which is no failure
	}
	l.log.WarnContext(l.ctx, "retrying store request", "what", fmt.Sprintf(format, v...))
}

func open(cfg aws.Config, name string) (*Bucket, error) {
	if name == "" {
		return nil, errors.New("the name of the bucket is empty")
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		// A custom endpoint is the name of one server. It seldom has a subdomain for each bucket.
		o.UsePathStyle = cfg.BaseEndpoint != nil
	})
	return &Bucket{client: client, retryer: newRetryer(), name: name, region: cfg.Region}, nil
}

// maxKey is the limit of a key in bytes of UTF-8
// (docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html, 2026-11).
const maxKey = 1024

// FitsKey checks the length of key in bytes.
func (*Bucket) FitsKey(key string) error { return blob.FitsBytes(key, maxKey) }

// errNoETag is the error for an object without a version. A gateway to a file system has such objects, if a file was
// written past it.
var errNoETag = errors.New("the response has no ETag: write the object through the store's API")

// Stat makes one HEAD, and a GET if the reason of a failure is unclear.
func (b *Bucket) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := checkKey(key); err != nil {
		return blob.Info{}, err
	}
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return blob.Info{}, b.fail(ctx, reading, "stat", key, b.reason(ctx, key, err))
	}
	b.seen.Store(true)
	info := blob.Info{
		Key: key, Version: etag(out.ETag), Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified),
	}
	if info.Version == "" {
		return blob.Info{}, fmt.Errorf("stat %q: %w", key, errNoETag)
	}
	return info, nil
}

// reason returns why a HEAD failed. The response to a HEAD has no body, so a missing object looks like a
// missing bucket, and a missing permission like a wrong secret. A GET tells them apart. It is not needed for
// a missing object in a bucket that is known to exist.
func (b *Bucket) reason(ctx context.Context, key string, err error) error {
	s := status(err)
	if s < 300 || s >= 500 || s == http.StatusNotFound && b.seen.Load() {
		return err
	}
	out, getErr := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: &key, Range: aws.String("bytes=0-0")})
	if getErr == nil {
		_ = out.Body.Close()
	}
	if s := status(getErr); s < 300 || s >= 500 || s == http.StatusRequestedRangeNotSatisfiable {
		return err // no response, or the object was written meanwhile
	}
	if code(getErr) == codeNoSuchKey {
		b.seen.Store(true)
	}
	return getErr
}

// Create writes the object at key if there is none, by one request.
func (b *Bucket) Create(ctx context.Context, key string, data []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	err := b.putObject(ctx, key, data, aws.String("*"))
	if status(err) == http.StatusPreconditionFailed {
		return fmt.Errorf("create %q: %w", key, fs.ErrExist)
	}
	if err != nil {
		return b.fail(ctx, writing, "create", key, err)
	}
	return nil
}

// putObject writes data by one request. It returns the error of the SDK.
func (b *Bucket) putObject(ctx context.Context, key string, data []byte, ifNoneMatch *string) error {
	_, err := b.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &b.name, Key: &key, Body: bytes.NewReader(data), ContentType: contentType(key), IfNoneMatch: ifNoneMatch,
	})
	return err
}

// contentType returns the type with which a browser shows a page instead of saving it.
func contentType(key string) *string {
	switch path.Ext(key) {
	case ".html":
		return aws.String("text/html; charset=utf-8")
	case ".ndjson":
		return aws.String("application/x-ndjson")
	default:
		return aws.String("application/octet-stream")
	}
}

// Delete removes the object at key.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: &key})
	if err != nil && code(err) != codeNoSuchKey { // S3 returns 204 for a missing object, some servers do not
		return b.fail(ctx, deleting, "delete", key, err)
	}
	return nil
}

// List holds a page of 1,000 entries in memory.
func (b *Bucket) List(ctx context.Context, prefix, delimiter string) iter.Seq2[blob.Info, error] {
	return b.ListAfter(ctx, prefix, delimiter, "")
}

// ListAfter is List from a key on, see [blob.ListAfter].
func (b *Bucket) ListAfter(ctx context.Context, prefix, delimiter, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		// Keys are URL-encoded because XML cannot represent every character of a key.
		in := &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: &prefix, EncodingType: types.EncodingTypeUrl}
		if delimiter != "" {
			in.Delimiter = &delimiter
		}
		if after != "" {
			in.StartAfter = &after
		}
		for {
			out, err := b.client.ListObjectsV2(ctx, in)
			if err != nil {
				yield(blob.Info{}, b.fail(ctx, listing, "list", prefix, err))
				return
			}
			b.seen.Store(true)
			page, err := entries(out)
			if err != nil {
				yield(blob.Info{}, fmt.Errorf("list %q: %w", prefix, err))
				return
			}
			for _, info := range page {
				if info.Key <= after {
					continue // a folder that not every server leaves out
				}
				if !yield(info, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			if aws.ToString(out.NextContinuationToken) == "" {
				yield(blob.Info{}, fmt.Errorf("list %q: the response has no token of the next page", prefix))
				return
			}
			in.ContinuationToken = out.NextContinuationToken
		}
	}
}

// entries returns the objects and folders of a page in the order of their keys.
func entries(out *s3.ListObjectsV2Output) ([]blob.Info, error) {
	page := make([]blob.Info, 0, len(out.Contents)+len(out.CommonPrefixes))
	for _, o := range out.Contents {
		key, err := decode(out, o.Key)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(key, "/") {
			continue // created by the console to show folders
		}
		page = append(page, blob.Info{
			Key: key, Version: etag(o.ETag), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified),
		})
	}
	for _, p := range out.CommonPrefixes {
		key, err := decode(out, p.Prefix)
		if err != nil {
			return nil, err
		}
		page = append(page, blob.Info{Key: key})
	}
	slices.SortFunc(page, func(a, b blob.Info) int { return strings.Compare(a.Key, b.Key) })
	return page, nil
}

// decode returns a key of a list. The response says whether the server encoded its keys.
func decode(out *s3.ListObjectsV2Output, s *string) (string, error) {
	if out.EncodingType != types.EncodingTypeUrl {
		return aws.ToString(s), nil
	}
	return url.QueryUnescape(aws.ToString(s))
}

func etag(etag *string) string { return strings.Trim(aws.ToString(etag), `"`) }

func quoted(version string) *string { return aws.String(`"` + version + `"`) }

// CheckKey returns an error if an object at key cannot be read or written here. See [blob.ValidKey].
func (*Bucket) CheckKey(key string) error { return checkKey(key) }

// checkKey is CheckKey. S3 itself rejects other invalid keys, such as those of more than 1024 bytes.
func checkKey(key string) error {
	switch {
	case key == "":
		return errors.New("key is empty")
	case strings.HasSuffix(key, "/"):
		return fmt.Errorf("key %q ends in a slash", key)
	case !utf8.ValidString(key):
		return fmt.Errorf("key %q is not UTF-8", key)
	}
	for name := range strings.SplitSeq(key, "/") {
		if name == "." || name == ".." {
			return fmt.Errorf("key %q has the name %q in it", key, name)
		}
	}
	return nil
}
