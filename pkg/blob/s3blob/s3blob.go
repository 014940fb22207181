// Package s3blob is a [blob.Bucket] on Amazon S3, or on a server that speaks its protocol.
//
// A version is the object's ETag without its quotes. It stands in every answer, lists included, whether
// the bucket keeps old versions or not, and S3 holds a read to it (If-Match). An object written again
// with the same bytes may keep its ETag; it is the same version then.
//
// Objects are read in ranges of 8 MiB, each held in memory until it is used up, because S3 resets a
// connection that is read slowly. They are written by one request, or from 8 MiB on by a multipart
// upload of parts of 8 MiB. An open reader and a Put hold one such buffer each, smaller for small
// objects.
//
// [Bucket.Create] rests on If-None-Match: "*", which S3 has since August 2024. A server that ignores it
// would let two runs hold a lease at once: test one with package blobtest before it is used.
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
// It tries requests up to 5 times, see [Config]. A key is UTF-8 without "." and ".." between its
// slashes, which some servers resolve, and not at its end a slash: the console makes such objects to
// show folders, and List leaves them out.
//
// The caller needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on the
// objects, and s3:ListBucket on the bucket: without it S3 answers 403 where an object is missing.
// Errors of refused requests wrap [fs.ErrPermission]. A missing bucket is not taken for a missing
// object.
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

// Open returns the bucket of this name. Configuration is that of [Config] for S3; no request is sent. log
// is told of requests that are sent again; it may be nil.
func Open(getenv func(string) string, name string, log *slog.Logger) (*Bucket, error) {
	cfg, err := Config(getenv, "S3")
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

// A retryLog hands on what the SDK says when it sends a request again: the operation and the attempt's
// number, and nothing of the request.
type retryLog struct {
	ctx context.Context //nolint:containedctx // the SDK's way to pass it
	log *slog.Logger
}

// WithContext implements [logging.ContextLogger].
func (l retryLog) WithContext(ctx context.Context) logging.Logger { return retryLog{ctx, l.log} }

// Logf implements [logging.Logger].
func (l retryLog) Logf(_ logging.Classification, format string, v ...any) {
	if !strings.HasPrefix(format, "retrying request") {
		return // the SDK also tells of what it does not send again, and that is an answer: nothing stands there
	}
	l.log.WarnContext(l.ctx, "store asked again", "what", fmt.Sprintf(format, v...))
}

func open(cfg aws.Config, name string) (*Bucket, error) {
	if name == "" {
		return nil, errors.New("the bucket has no name")
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		// The host of a custom endpoint is the name of one server, seldom of one below it for each bucket.
		o.UsePathStyle = cfg.BaseEndpoint != nil
	})
	return &Bucket{client: client, retryer: newRetryer(), name: name, region: cfg.Region}, nil
}

// maxKey is how many bytes of UTF-8 a key may have
// (docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html, 2026-11).
const maxKey = 1024

// FitsKey implements [blob.KeyFitter].
func (*Bucket) FitsKey(key string) error { return blob.FitsBytes(key, maxKey) }

// Stat implements [blob.Bucket].
func (b *Bucket) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := checkKey(key); err != nil {
		return blob.Info{}, err
	}
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return blob.Info{}, b.fail(ctx, reading, "stat", key, b.reason(ctx, key, err))
	}
	b.seen.Store(true)
	info := blob.Info{Key: key, Version: etag(out.ETag), Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified)}
	if info.Version == "" {
		return blob.Info{}, fmt.Errorf("stat %q: the answer has no ETag", key)
	}
	return info, nil
}

// reason returns why a HEAD was refused. The answer to one has no body, so it looks alike whether the
// object is missing or the bucket, and whether a permission or the right secret: the answer to a GET
// tells. A missing object in a bucket that has been seen is not asked about.
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
		return err // no answer, or the object has come meanwhile
	}
	if code(getErr) == codeNoSuchKey {
		b.seen.Store(true)
	}
	return getErr
}

// Create implements [blob.Bucket].
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

// putObject writes data by one request. The error is the service's.
func (b *Bucket) putObject(ctx context.Context, key string, data []byte, ifNoneMatch *string) error {
	_, err := b.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &b.name, Key: &key, Body: bytes.NewReader(data), ContentType: contentType(key), IfNoneMatch: ifNoneMatch,
	})
	return err
}

// contentType is what a browser is told, so that it shows a page and does not store it.
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

// Delete implements [blob.Bucket].
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: &key})
	if err != nil && code(err) != codeNoSuchKey { // S3 says 204 to that, some servers do not
		return b.fail(ctx, deleting, "delete", key, err)
	}
	return nil
}

// List implements [blob.Bucket]. It holds a page of 1,000 in memory.
func (b *Bucket) List(ctx context.Context, prefix, delimiter string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := blob.CheckDelimiter(delimiter); err != nil {
			yield(blob.Info{}, fmt.Errorf("list %q: %w", prefix, err))
			return
		}
		// Keys come url-encoded, because XML cannot hold every character that a key can.
		in := &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: &prefix, EncodingType: types.EncodingTypeUrl}
		if delimiter != "" {
			in.Delimiter = &delimiter
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
				if !yield(info, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			if aws.ToString(out.NextContinuationToken) == "" {
				yield(blob.Info{}, fmt.Errorf("list %q: the answer says that there is more, and not how to ask for it", prefix))
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
			continue // the console makes these to show folders
		}
		page = append(page, blob.Info{Key: key, Version: etag(o.ETag), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)})
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

// decode returns a key of a list. The answer says whether its server has followed the wish to encode.
func decode(out *s3.ListObjectsV2Output, s *string) (string, error) {
	if out.EncodingType != types.EncodingTypeUrl {
		return aws.ToString(s), nil
	}
	return url.QueryUnescape(aws.ToString(s))
}

func etag(etag *string) string { return strings.Trim(aws.ToString(etag), `"`) }

func quoted(version string) *string { return aws.String(`"` + version + `"`) }

// CheckKey says what keeps key from being one that is read and written here; see [blob.ValidKey].
func (*Bucket) CheckKey(key string) error { return checkKey(key) }

// checkKey says what keeps key from being one that is read and written here. Others that S3 does not
// take, such as one of more than 1024 bytes, it refuses itself.
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
