package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// An event is a request as function URLs hand it over. What it has in both clouds' forms:
//
//   - AWS, payload 2.0 (docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html): rawPath, rawQueryString, headers
//     with doubled ones joined by commas, cookies apart, body, isBase64Encoded, and the method and the
//     caller's identity in requestContext.
//   - Tencent (cloud.tencent.com/document/product/583/96099, 2025-08-12): httpMethod, path, queryString, headers,
//     body. Whether it encodes bodies is not documented; if it says so, it is believed.
type event struct {
	RawPath        string                    `json:"rawPath"`
	RawQueryString string                    `json:"rawQueryString"`
	Headers        map[string]jsontext.Value `json:"headers"`
	Body           jsontext.Value            `json:"body"`
	Base64         jsontext.Value            `json:"isBase64Encoded"`
	RequestContext struct {
		HTTP struct {
			Method   string `json:"method"`
			SourceIP string `json:"sourceIp"`
		} `json:"http"`
		Authorizer struct {
			IAM jsontext.Value `json:"iam"`
		} `json:"authorizer"`
	} `json:"requestContext"`

	HTTPMethod  string                    `json:"httpMethod"`
	Path        string                    `json:"path"`
	QueryString map[string]jsontext.Value `json:"queryString"`
}

// A response is what function URLs take, in both clouds.
type response struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body"`
	Base64     bool              `json:"isBase64Encoded"`
}

// ServeLambda answers the event of a function URL of AWS Lambda with h. What the platform has checked (AuthType
// AWS_IAM) counts as such. The error is about an event that is no request.
func ServeLambda(ctx context.Context, h http.Handler, raw []byte) ([]byte, error) {
	return serveEvent(ctx, h, raw, func(e *event) bool { return e.RequestContext.Authorizer.IAM.Kind() == '{' })
}

// ServeSCF answers the event of a function URL of Tencent SCF with h. Its events do not tell whether the
// platform has checked the caller (AuthType CAM), so that the setting HTTP_AUTH=platform alone says so. The
// error is about an event that is no request.
func ServeSCF(ctx context.Context, h http.Handler, raw []byte) ([]byte, error) {
	return serveEvent(ctx, h, raw, func(*event) bool { return true })
}

func serveEvent(ctx context.Context, h http.Handler, raw []byte, platform func(*event) bool) ([]byte, error) {
	var e event
	lax := json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err := json.Unmarshal(raw, &e, lax); err != nil {
		return nil, errors.New("the event is no request of a function URL") // err would quote it
	}
	if platform(&e) {
		ctx = context.WithValue(ctx, checked{}, true)
	}
	var b buffer
	r, err := e.request(ctx)
	if err != nil {
		problem{Status: http.StatusBadRequest, Detail: err.Error()}.answer().write(&b, "")
	} else {
		h.ServeHTTP(&b, r)
	}
	return json.Marshal(b.response())
}

// request returns the request that the event tells of. The error is for the caller.
func (e *event) request(ctx context.Context) (*http.Request, error) {
	method, path := e.RequestContext.HTTP.Method, e.RawPath
	if method == "" {
		method, path = e.HTTPMethod, e.Path
	}
	if method == "" {
		return nil, errors.New("the event names no method")
	}
	u := &url.URL{Path: path, RawQuery: e.RawQueryString}
	// Whether paths come escaped is documented nowhere; AWS's do.
	if plain, err := url.PathUnescape(path); err == nil {
		u.Path, u.RawPath = plain, path
	}
	if u.RawQuery == "" {
		query := url.Values{}
		for name, v := range e.QueryString {
			query.Set(name, text(v))
		}
		u.RawQuery = query.Encode()
	}
	body := []byte(text(e.Body))
	if text(e.Base64) == "true" {
		var err error
		if body, err = base64.StdEncoding.DecodeString(string(body)); err != nil {
			return nil, errors.New("the event's body is not the base64 that it says it is")
		}
	}
	r := (&http.Request{
		Method: method, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), RemoteAddr: e.RequestContext.HTTP.SourceIP,
	}).WithContext(ctx)
	for name, v := range e.Headers {
		r.Header.Add(name, text(v))
	}
	r.Host = r.Header.Get("Host")
	return r, nil
}

// text is a JSON string's text, or what else stands there as it is.
func text(v jsontext.Value) string {
	switch v.Kind() {
	case '"':
		plain, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return string(plain) // bytes that are not UTF-8 became U+FFFD
		}
		return string(plain)
	case 'n', jsontext.KindInvalid:
		return ""
	default:
		return string(v)
	}
}

// A buffer is an [http.ResponseWriter] in memory.
type buffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (b *buffer) Header() http.Header {
	if b.header == nil {
		b.header = http.Header{}
	}
	return b.header
}

// WriteHeader implements [http.ResponseWriter].
func (b *buffer) WriteHeader(status int) {
	if b.status == 0 {
		b.status = status
	}
}

// Write implements [http.ResponseWriter].
func (b *buffer) Write(p []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	return b.body.Write(p)
}

func (b *buffer) response() response {
	r := response{StatusCode: b.status, Headers: make(map[string]string, len(b.header)), Body: b.body.String()}
	for name, values := range b.header {
		r.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if !utf8.Valid(b.body.Bytes()) {
		r.Body, r.Base64 = base64.StdEncoding.EncodeToString(b.body.Bytes()), true
	}
	return r
}
