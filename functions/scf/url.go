package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/httpapi"
)

// A urlRequest is the event of a function URL (cloud.tencent.com/document/product/583/96099, 2025-08-12). Whether the
// platform encodes bodies is not documented; isBase64Encoded decides.
type urlRequest struct {
	Method  string                    `json:"httpMethod"`
	Path    string                    `json:"path"`
	Query   map[string]jsontext.Value `json:"queryString"`
	Headers map[string]jsontext.Value `json:"headers"`
	Body    jsontext.Value            `json:"body"`
	Base64  jsontext.Value            `json:"isBase64Encoded"`
}

// A urlResponse is the response of a function to its URL.
type urlResponse struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body"`
	Base64     bool              `json:"isBase64Encoded"`
}

// serveURL serves a request of a function URL with h. Requests do not show whether the platform has authenticated the
// caller (authType CAM). The error says that the event is not a request.
func serveURL(ctx context.Context, h http.Handler, raw []byte) ([]byte, error) {
	var e urlRequest
	if err := json.Unmarshal(raw, &e, lax); err != nil {
		return nil, errors.New("the event is not a request of a function URL") // err would quote it
	}
	r, err := e.request(ctx)
	if err != nil {
		h, r = httpapi.BadRequest(err.Error()), httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	resp := urlResponse{StatusCode: w.Code, Headers: make(map[string]string), Body: w.Body.String()}
	for name, values := range w.Result().Header {
		resp.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if !utf8.ValidString(resp.Body) {
		resp.Body, resp.Base64 = base64.StdEncoding.EncodeToString(w.Body.Bytes()), true
	}
	return json.Marshal(resp)
}

// request returns the request of the event.
func (e *urlRequest) request(ctx context.Context) (*http.Request, error) {
	if e.Method == "" {
		return nil, errors.New("the event has no method")
	}
	query := url.Values{}
	for name, v := range e.Query {
		query.Set(name, text(v))
	}
	u := &url.URL{Path: e.Path, RawQuery: query.Encode()}
	// Whether paths are escaped is not documented.
	if plain, err := url.PathUnescape(e.Path); err == nil {
		u.Path, u.RawPath = plain, e.Path
	}
	body := []byte(text(e.Body))
	if text(e.Base64) == "true" {
		var err error
		if body, err = base64.StdEncoding.DecodeString(string(body)); err != nil {
			return nil, errors.New("the body of the event is not valid base64")
		}
	}
	r, err := http.NewRequestWithContext(ctx, e.Method, "/", bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the method of the event is not valid") // err would quote it
	}
	r.URL = u
	for name, v := range e.Headers {
		r.Header.Add(name, text(v))
	}
	r.Host = r.Header.Get("Host")
	return r, nil
}

// text returns the text of a JSON string, or the JSON of another value.
func text(v jsontext.Value) string {
	switch v.Kind() {
	case '"':
		plain, _ := jsontext.AppendUnquote(nil, v) // bytes that are not UTF-8 become U+FFFD
		return string(plain)
	case 'n', jsontext.KindInvalid:
		return ""
	default:
		return string(v)
	}
}
