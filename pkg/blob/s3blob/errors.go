package s3blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Error codes of S3
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
const (
	codeNoSuchBucket = "NoSuchBucket"
	codeNoSuchKey    = "NoSuchKey"
	codeNoSuchUpload = "NoSuchUpload"
)

// A purpose of a request: what may be missing if it is denied.
type purpose string

const (
	reading purpose = "the object is missing and so is the permission s3:ListBucket on the bucket (without it S3 " +
		"returns 403 for a missing object, not 404), or the permission s3:GetObject on the object is missing"
	writing  purpose = "the permission s3:PutObject on the object is missing"
	listing  purpose = "the permission s3:ListBucket on the bucket is missing"
	deleting purpose = "the permission s3:DeleteObject on the object is missing"
)

// A serviceError is an error of the SDK with advice.
type serviceError struct {
	text string
	kind error // also wrapped, or nil
	err  error
}

func (e *serviceError) Error() string { return e.text }

func (e *serviceError) Unwrap() []error {
	if e.kind == nil {
		return []error{e.err}
	}
	return []error{e.kind, e.err}
}

// fail returns an error of the SDK as an error of [blob.Bucket].
func (b *Bucket) fail(ctx context.Context, p purpose, op, key string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s %q: %w", op, key, context.Cause(ctx))
	}
	return fmt.Errorf("%s %q: %w", op, key, b.explain(p, err))
}

func (b *Bucket) explain(p purpose, err error) error {
	e := &serviceError{text: describe(err), err: err}
	advise := func(format string, args ...any) { e.text = fmt.Sprintf(format, args...) + ": " + e.text }
	s, c := status(err), code(err)
	switch c {
	case codeNoSuchBucket:
		advise("there is no bucket %q", b.name)
		return e
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		e.kind = fs.ErrPermission
		advise("the credentials have expired or their AWS_SESSION_TOKEN is wrong")
		return e
	case "InvalidAccessKeyId", "SignatureDoesNotMatch":
		e.kind = fs.ErrPermission
		advise("AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is wrong")
		return e
	case "InvalidObjectState":
		e.kind = fs.ErrPermission
		advise("the object is archived, restore it first")
		return e
	}
	if region := bucketRegion(err); region != "" && region != b.region {
		advise("bucket %q is in region %s, set AWS_REGION to that", b.name, region)
		return e
	}
	switch s {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect:
		advise("bucket %q is in another region than %s, set AWS_REGION", b.name, b.region)
	case http.StatusForbidden:
		e.kind = fs.ErrPermission
		if c == "AccessDenied" || c == "Forbidden" {
			advise("%s", p)
		}
	case http.StatusNotFound:
		if c == codeNoSuchKey || c == "NotFound" {
			e.kind = fs.ErrNotExist
			e.text = fs.ErrNotExist.Error()
		}
	}
	return e
}

// describe returns a shorter message than the SDK, without the URL. AWS support asks for the request ID.
func describe(err error) string {
	text := err.Error()
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		text = api.ErrorCode()
		if m := api.ErrorMessage(); m != "" && m != text {
			text += ": " + strings.TrimSuffix(m, ".")
		}
		text += fmt.Sprintf(" (HTTP %d", status(err))
		if r, ok := errors.AsType[interface {
			error
			ServiceRequestID() string
		}](err); ok && r.ServiceRequestID() != "" {
			text += ", request " + r.ServiceRequestID()
		}
		text += ")"
	} else if u, ok := errors.AsType[*url.Error](err); ok {
		text = u.Err.Error()
	}
	if m, ok := errors.AsType[*retry.MaxAttemptsError](err); ok {
		text += fmt.Sprintf(", %d times", m.Attempt)
	}
	return text
}

// code returns the error code of S3, or "".
func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// status returns the status of the response, or 0 if there was none.
func status(err error) int {
	if r, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && r.Response != nil {
		return r.HTTPStatusCode()
	}
	return 0
}

// bucketRegion returns the region in a response, or "". S3 names it if the request was sent to another region.
func bucketRegion(err error) string {
	if r, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && r.Response != nil {
		return r.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}
