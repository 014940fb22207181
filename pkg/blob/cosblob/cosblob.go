// Package cosblob is a [blob.Bucket] in a bucket of Tencent Cloud Object Storage (COS).
//
// # Put if absent
//
// [Bucket.Create] uses the header x-cos-forbid-overwrite, and checks its effect. COS ignores the header
// and overwrites on a bucket that has or had versioning (cloud.tencent.com/document/product/436/7749;
// lance issue 6595 reports a loss of data). The first Create therefore asks for the versioning of the
// bucket, and fails if there is or was any. Concurrent writers have both succeeded (opendal issue 7526,
// 2026-05, for copies). Each Create therefore writes a random token of its writer into the metadata of
// the object, and reads the token half a second later. If several writers succeeded, the one whose token
// it reads has created the object. This costs one HEAD and half a second for each successful Create. It
// does not detect a writer whose request takes longer than that between the check of COS and its write.
//
// # Attempts
//
// The retries of the SDK are disabled. ReadRange makes one attempt, [blob.Reader] the others. The other
// methods repeat a request up to four times if its response was lost or broken, or is transient (429,
// 5xx, conflicts of writers), after a random wait of up to 0.25, 0.5, 1 and 2 s.
//
// # Permissions
//
// The policy of the role or key must allow, by method:
//
//	Stat       name/cos:HeadObject, name/cos:GetObject
//	ReadRange  name/cos:GetObject, name/cos:HeadObject
//	Create     name/cos:PutObject, name/cos:HeadObject, name/cos:GetBucketVersioning
//	Put        name/cos:PutObject; of more than 8 MiB also name/cos:InitiateMultipartUpload,
//	           name/cos:UploadPart, name/cos:CompleteMultipartUpload, name/cos:AbortMultipartUpload,
//	           name/cos:HeadObject
//	List       name/cos:GetBucket
//	Delete     name/cos:DeleteObject
package cosblob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tencentyun/cos-go-sdk-v5"

	"groupimport/pkg/blob"
)

// Config has the name of a bucket and how to reach it.
type Config struct {
	Bucket string // with its APPID at the end: name-1250000000
	Region string // ap-guangzhou

	// Endpoint replaces the base URL https://BUCKET.cos.REGION.myqcloud.com, for tests and proxies: http or
	// https, host and port, no path. Bucket and Region are then used in messages only.
	Endpoint string

	// Credentials returns a secret ID and key, and their token if they are temporary. It is called for
	// each request, concurrently for concurrent requests: the platform renews temporary credentials between
	// invocations.
	Credentials func() (id, key, token string)

	// NoCRC64 does not require the checksum in responses, for servers other than COS.
	NoCRC64 bool

	Log *slog.Logger // of failed requests that are repeated; nil discards

	Transport http.RoundTripper // nil: one with timeouts for connecting and for the headers of a response
}

// A Bucket is a bucket of COS. It is a [blob.Bucket]. A version is an ETag, without its quotes.
type Bucket struct {
	config     Config
	client     *cos.Client
	seen       atomic.Bool // the bucket is known to exist
	unversed   atomic.Bool // the bucket is known to have never had versioning
	ungrouped  atomic.Bool // the service is known not to take a delimiter of several characters
	partsLimit int         // maxParts, except in tests
	partSize   int         // partSize, except in tests
}

var (
	_ blob.Bucket    = (*Bucket)(nil)
	_ blob.KeyFitter = (*Bucket)(nil)
)

var (
	bucketName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?-[0-9]+$`)
	regionName = regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)+$`)
)

// Open returns the bucket of config. It sends no request: a missing bucket is reported at its first use.
func Open(config Config) (*Bucket, error) {
	var errs []error
	if !bucketName.MatchString(config.Bucket) {
		errs = append(errs, fmt.Errorf(
			"bucket %q (EXPORT_BUCKET) is not a name with the APPID at its end, like name-1250000000", config.Bucket))
	}
	if !regionName.MatchString(config.Region) {
		errs = append(errs, fmt.Errorf("region %q (COS_REGION) is not of the form ap-guangzhou", config.Region))
	}
	if config.Credentials == nil {
		errs = append(errs, errors.New("credentials are missing"))
	}
	base, err := url.Parse(cmp.Or(config.Endpoint, "https://"+config.Bucket+".cos."+config.Region+".myqcloud.com"))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil ||
		strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.Fragment != "" {
		// The URL may contain a password.
		errs = append(errs, errors.New(
			"the endpoint (COS_ENDPOINT) must be http:// or https:// with a host, an optional port, and nothing else"))
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("open COS bucket: %w", errors.Join(errs...))
	}

	if config.Transport == nil {
		config.Transport = newTransport()
	}
	signer := &signer{credentials: config.Credentials, next: config.Transport}
	client := cos.NewClient(&cos.BaseURL{BucketURL: base}, &http.Client{Transport: signer})
	client.Conf.EnableCRC = !config.NoCRC64
	client.Conf.RetryOpt = cos.RetryOptions{Count: 1}
	return &Bucket{config: config, client: client, partsLimit: maxParts, partSize: partSize}, nil
}

// maxKey is the limit of a key in bytes of UTF-8 (tencentcloud.com/document/product/436/13324, 2024-03-25).
const maxKey = 850

// FitsKey checks the length of key in bytes.
func (*Bucket) FitsKey(key string) error { return blob.FitsBytes(key, maxKey) }

// Stat makes one HEAD, and a GET if the reason of a failure is unclear.
func (b *Bucket) Stat(ctx context.Context, key string) (blob.Info, error) {
	info, _, err := b.head(ctx, key)
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat %q: %w", key, err)
	}
	return info, nil
}

// head is Stat, and also returns the header of the response.
func (b *Bucket) head(ctx context.Context, key string) (blob.Info, http.Header, error) {
	if err := check(ctx, key); err != nil {
		return blob.Info{}, nil, err
	}
	resp, err := b.call(ctx, "HeadObject", func(ctx context.Context) (*cos.Response, error) {
		return b.client.Object.Head(ctx, key, nil)
	})
	if err != nil {
		if err = b.headFailure(ctx, key, err); err != nil {
			return blob.Info{}, nil, err
		}
		return b.head(ctx, key) // written in between
	}
	info, err := infoOf(key, resp.Response, 0)
	return info, resp.Header, err
}

// headFailure returns the reason why a HEAD failed with err, or nil if the object was written meanwhile. The
// response to a HEAD has no body, so a missing object looks like a missing bucket, and expired keys look
// like a wrong policy. A GET tells them apart.
func (b *Bucket) headFailure(ctx context.Context, key string, err error) error {
	missing := errors.Is(err, fs.ErrNotExist)
	r, refused := errors.AsType[*refusal](err)
	unclear := refused && r.bare && (r.status == http.StatusBadRequest || r.status == http.StatusForbidden)
	if !unclear && (!missing || b.seen.Load()) {
		return err
	}
	_, getErr := b.call(ctx, "GetObject", func(ctx context.Context) (*cos.Response, error) {
		resp, err := b.client.Object.Get(ctx, key, &cos.ObjectGetOptions{Range: "bytes=0-0"})
		if err == nil {
			resp.Body.Close()
		}
		return resp, err
	})
	if missing {
		return getErr
	}
	get, getRefused := errors.AsType[*refusal](getErr)
	isDenied := getRefused && (get.status == http.StatusBadRequest || get.status == http.StatusForbidden)
	if isDenied && (get.code != accessDenied || get.expired) {
		return getErr
	}
	if r.status == http.StatusForbidden && (getRefused || getErr == nil) {
		r.code = accessDenied // the credentials are valid
	}
	return err
}

// Delete removes the object at key. On a bucket with versioning the older versions stay.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	err := check(ctx, key)
	if err == nil {
		_, err = b.call(ctx, "DeleteObject", func(ctx context.Context) (*cos.Response, error) {
			return b.client.Object.Delete(ctx, key)
		})
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	return nil
}

// List may include new or deleted objects late. It omits objects whose keys end in a slash, which the
// console creates for folders.
//
// The documents call the delimiter a single character (cloud.tencent.com/document/product/436/7734, 2024-06-03), the
// service's model, S3, takes any string. If the service does not take a longer one, List lists all objects and groups
// them itself.
func (b *Bucket) List(ctx context.Context, prefix, delimiter string) iter.Seq2[blob.Info, error] {
	return b.ListAfter(ctx, prefix, delimiter, "")
}

// ListAfter is List from a key on, see [blob.ListAfter].
func (b *Bucket) ListAfter(ctx context.Context, prefix, delimiter, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		marker, last := after, after
		for {
			p, err := b.groupedPage(ctx, prefix, delimiter, marker)
			if err == nil && p.more && p.next <= marker {
				err = fmt.Errorf("the page after %q has no marker of the next page", marker)
			}
			if err != nil {
				yield(blob.Info{}, fmt.Errorf("list %q: %w", prefix, err))
				return
			}
			for _, info := range p.infos {
				if common, ok := blob.CommonPrefix(info.Key, prefix, delimiter); ok {
					info = blob.Info{Key: common}
				}
				if info.Key <= last {
					continue // the folder at the end of the previous page, or one that List groups itself
				}
				if ctx.Err() != nil {
					yield(blob.Info{}, fmt.Errorf("list %q: %w", prefix, context.Cause(ctx)))
					return
				}
				if !yield(info, nil) {
					return
				}
				last = info.Key
			}
			if !p.more {
				return
			}
			marker = p.next
		}
	}
}

// groupedPage returns a page of a list. It asks without the delimiter if the service does not take it.
func (b *Bucket) groupedPage(ctx context.Context, prefix, delimiter, marker string) (page, error) {
	if len(delimiter) > 1 && b.ungrouped.Load() {
		return b.page(ctx, prefix, "", marker)
	}
	p, err := b.page(ctx, prefix, delimiter, marker)
	if len(delimiter) <= 1 || err == nil && p.isGrouped(prefix, delimiter) {
		return p, err
	}
	refused, ok := errors.AsType[*refusal](err)
	if err != nil && (!ok || refused.status != http.StatusBadRequest) {
		return p, err
	}
	b.ungrouped.Store(true)
	return b.page(ctx, prefix, "", marker)
}

// isGrouped reports whether the service has grouped all objects of the page by the delimiter.
func (p *page) isGrouped(prefix, delimiter string) bool {
	return !slices.ContainsFunc(p.infos, func(info blob.Info) bool {
		isFolder := info == blob.Info{Key: info.Key}
		common, ok := blob.CommonPrefix(info.Key, prefix, delimiter)
		return ok != isFolder || isFolder && common != info.Key
	})
}

// A page is one response of a list.
type page struct {
	infos []blob.Info // in the order of their keys' bytes
	more  bool
	next  string // the marker of the next page, if there is more
}

func (b *Bucket) page(ctx context.Context, prefix, delimiter, marker string) (page, error) {
	if ctx.Err() != nil {
		return page{}, context.Cause(ctx)
	}
	var res *cos.BucketGetResult
	_, err := b.call(ctx, "GetBucket", func(ctx context.Context) (*cos.Response, error) {
		var resp *cos.Response
		var err error
		res, resp, err = b.client.Bucket.Get(ctx, &cos.BucketGetOptions{
			Prefix: prefix, Delimiter: delimiter, Marker: marker, MaxKeys: 1000,
			EncodingType: "url", // XML cannot represent every key
		})
		return resp, err
	})
	if err != nil {
		return page{}, err
	}

	p := page{more: res.IsTruncated}
	decode := func(s string) string {
		if res.EncodingType != "url" || err != nil {
			return s
		}
		var decoded string
		decoded, err = url.QueryUnescape(s)
		return decoded
	}
	p.next = decode(res.NextMarker)
	for _, o := range res.Contents {
		// One unreadable date is no reason to omit the object.
		modified, _ := time.Parse(time.RFC3339, o.LastModified)
		p.infos = append(p.infos, blob.Info{Key: decode(o.Key), Version: version(o.ETag), Size: o.Size, Modified: modified})
	}
	for _, folder := range res.CommonPrefixes {
		p.infos = append(p.infos, blob.Info{Key: decode(folder)})
	}
	if err != nil {
		return page{}, fmt.Errorf("a key in the response is not URL-encoded: %w", err)
	}
	slices.SortFunc(p.infos, func(a, b blob.Info) int { return strings.Compare(a.Key, b.Key) })
	if p.next == "" && len(p.infos) > 0 {
		p.next = p.infos[len(p.infos)-1].Key
	}
	p.infos = slices.DeleteFunc(p.infos, func(i blob.Info) bool {
		return strings.HasSuffix(i.Key, "/") && i != blob.Info{Key: i.Key}
	})
	return p, nil
}

func check(ctx context.Context, key string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return blob.CheckKey(key)
}

func version(etag string) string { return strings.Trim(etag, `"`) }
