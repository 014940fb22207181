package cosblob

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/tencentyun/cos-go-sdk-v5"

	"groupimport/pkg/backoff"
	"groupimport/pkg/blob"
)

const (
	maxAttempts = 5 // of a request

	// An attempt that takes longer fails. Completing an upload "may take minutes"
	// (cloud.tencent.com/document/product/436/7742).
	attemptTimeout  = 2 * time.Minute
	completeTimeout = 10 * time.Minute

	maxResponse = 1 << 20 // bytes that are read of the response to completing an upload
)

var (
	waits = backoff.Exponential{Base: 250 * time.Millisecond, Max: 2 * time.Second}

	errNoCredentials = errors.New("no credentials: secret ID or key is empty")
	errTimeout       = errors.New("the attempt took too long")
)

// call makes attempts at a request until one has a final result.
func (b *Bucket) call(ctx context.Context, action string,
	try func(context.Context) (*cos.Response, error),
) (*cos.Response, error) {
	for n := 1; ; n++ {
		resp, err := b.attempt(ctx, action, try)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if n == maxAttempts || !transient(err) {
			return nil, err
		}
		wait := waits.Wait(n)
		if b.config.Log != nil {
			b.config.Log.WarnContext(ctx, "retrying store request",
				"what", action, "attempt", n+1, "err", err, "wait", wait)
		}
		if err := backoff.Sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// attempt makes one attempt at a request. The action is what a policy calls it, without name/cos:. try
// has read the response when it returns.
func (b *Bucket) attempt(ctx context.Context, action string,
	try func(context.Context) (*cos.Response, error),
) (*cos.Response, error) {
	timeout := attemptTimeout
	if action == "CompleteMultipartUpload" {
		timeout = completeTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	resp, err := try(ctx)
	return resp, b.judge(ctx, action, resp, err)
}

// judge returns the result of an attempt. It drops everything from errors of the SDK that may contain a
// header or a URL.
func (b *Bucket) judge(ctx context.Context, action string, resp *cos.Response, err error) error {
	if err == nil {
		b.seen.Store(true)
		return nil
	}
	if _, ok := errors.AsType[*lost](err); ok {
		return err
	}
	if _, ok := errors.AsType[*broken](err); ok {
		return err
	}
	if e, ok := errors.AsType[*cos.ErrorResponse](err); ok {
		r := &refusal{
			action: action, status: e.Response.StatusCode, code: e.Code,
			requestID: e.Response.Header.Get("x-cos-request-id"), expired: strings.Contains(e.Message, "expired"),
			bucket: fmt.Sprintf("%s in %s", b.config.Bucket, b.config.Region),
		}
		if e.Response.Request != nil {
			r.bare = e.Response.Request.Method == http.MethodHead
		}
		if r.code == "NoSuchKey" {
			b.seen.Store(true)
		}
		return r
	}
	if ctx.Err() != nil {
		return &lost{action, context.Cause(ctx)}
	}
	if errs, ok := errors.AsType[*cos.RetryError](err); ok && len(errs.Errs) > 0 {
		err = errs.Errs[len(errs.Errs)-1]
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if errors.Is(err, errNoCredentials) {
		return err
	}
	if resp != nil && (action == "PutObject" || action == "UploadPart") {
		if resp.Header.Get(crcHeader) == "" {
			return errors.New("the response to " + action + " has no " + crcHeader + ": the endpoint is not COS")
		}
		return &lost{action, errChecksum}
	}
	if resp != nil {
		err = errors.New("the response cannot be read") // the message of the SDK contains all of it
	}
	return &lost{action, err}
}

// A lost attempt had no response. It may have had its effect.
type lost struct {
	action string
	err    error
}

func (l *lost) Error() string { return fmt.Sprintf("no response to %s: %v", l.action, l.err) }

func (l *lost) Unwrap() error { return l.err }

// A refusal is an error response of COS. Its message omits the message of COS, which may quote the signed
// request.
//
// The codes are from cloud.tencent.com/document/product/436/7730, 2023-12-20.
type refusal struct {
	action, bucket  string
	status          int
	code, requestID string
	bare            bool // the response to a HEAD, which has no code
	expired         bool // by the message of COS; the code may be AccessDenied (436/40105, 2021-05-08)
}

func (r *refusal) Error() string {
	s := fmt.Sprintf("COS returned %d", r.status)
	if plain.MatchString(r.code) {
		s += " " + r.code
	}
	s += " to " + r.action
	if a := r.advice(); a != "" {
		s += ": " + a
	}
	if plain.MatchString(r.requestID) {
		s += " (request " + r.requestID + ")"
	}
	return s
}

// accessDenied is the code of a request that the policy does not allow.
const accessDenied = "AccessDenied"

// plain matches codes and request IDs.
var plain = regexp.MustCompile(`^[A-Za-z0-9._=+/-]{1,100}$`)

// advice returns what to do about a refusal.
func (r *refusal) advice() string {
	if r.expired || r.code == "ExpiredToken" {
		return "the temporary keys of the role, or the signature, have expired: " +
			"the next event brings new keys; otherwise check the clock"
	}
	switch r.code {
	case "NoSuchBucket":
		return "there is no bucket " + r.bucket
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken":
		return "the credentials are wrong: not those of the role, or changed since"
	case "RequestTimeTooSkewed":
		return "the clock of this machine is wrong"
	case "InvalidObjectState":
		return "the object is archived; restore it first"
	case "PathConflict":
		return "another object has this key, or a part of it, as its folder"
	}
	switch {
	case r.status == http.StatusForbidden && r.bare && r.code == "":
		return "allow name/cos:" + r.action + " on " + r.bucket + " to the role or key, " +
			"or check the credentials and the clock"
	case r.status == http.StatusForbidden:
		return "allow name/cos:" + r.action + " on " + r.bucket + " to the role or key"
	case r.status >= 300 && r.status < 400:
		return "the bucket is not at this endpoint; is the region right?"
	}
	return ""
}

// Unwrap returns the error of [blob.Bucket] that matches the refusal, or nil.
func (r *refusal) Unwrap() error {
	switch {
	case r.code == "NoSuchKey", r.status == http.StatusNotFound && r.bare:
		return fs.ErrNotExist
	case r.code == "FileAlreadyExists":
		return fs.ErrExist
	case r.status == http.StatusPreconditionFailed:
		return blob.ErrChanged
	case r.status == http.StatusForbidden, r.code == "ExpiredToken", r.code == "InvalidToken":
		return fs.ErrPermission
	}
	return nil
}

// transient reports whether another attempt may have another result.
func transient(err error) bool {
	if _, ok := errors.AsType[*lost](err); ok {
		return true
	}
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return false
	}
	switch r.code {
	case "FileAlreadyExists", "PathConflict":
		return false
	case "BadDigest", "IncompleteBody", "RequestTimeout":
		return true
	}
	switch r.status {
	case http.StatusConflict, http.StatusTooManyRequests, http.StatusRequestTimeout:
		return true
	}
	return r.status >= 500
}

// A signer signs each request with the credentials valid at that time.
type signer struct {
	credentials func() (id, key, token string)
	next        http.RoundTripper
}

// RoundTrip signs the request and sends it.
func (s *signer) RoundTrip(req *http.Request) (*http.Response, error) {
	id, key, token := s.credentials()
	if id == "" || key == "" {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, errNoCredentials // the SDK would send the request without a signature
	}
	t := cos.CredentialTransport{Transport: s.next, Credential: cos.NewTokenCredential(id, key, token)}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if req.Method == http.MethodPost && resp.StatusCode == http.StatusOK {
		if err := unmask(resp); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// unmask gives a response with status 200 and an error in its body the status of an error. COS sends such
// responses if it began to assemble parts before it failed (cloud.tencent.com/document/product/436/7742).
func unmask(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	resp.Body.Close()
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	if rootOf(data) == "Error" {
		resp.StatusCode = http.StatusInternalServerError
	}
	return nil
}

// rootOf returns the name of the root element, "" if data is not XML, which the SDK reports.
func rootOf(data []byte) string {
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.Token()
		if err != nil {
			return ""
		}
		if root, ok := token.(xml.StartElement); ok {
			return root.Name.Local
		}
	}
}

func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       30 * time.Second,
		DisableCompression:    true, // bytes must arrive as they are stored
	}
}
