package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/config"
	"groupimport/pkg/emulator"
	"groupimport/pkg/group"
	"groupimport/pkg/httpapi"
	"groupimport/pkg/importer"
	"groupimport/pkg/tim"
)

const (
	app    = 1400000001
	key    = "a key for tests"
	token  = "0123456789abcdef-the-token"
	prefix = "exports/"
)

// A world is a store and a service, and a handler between them.
type world struct {
	t       *testing.T
	store   *blobtest.Bucket
	service *emulator.Service
	config  config.Config
	log     bytes.Buffer
	mu      sync.Mutex // of log
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{
		t: t, store: &blobtest.Bucket{},
		service: &emulator.Service{SDKAppID: app, Key: key, Latency: 20 * time.Millisecond, Limit: -1},
		config: config.Config{
			SDKAppID: app, Admin: "administrator", SecretKey: key, Endpoint: "https://im.invalid", Rate: 190,
			Limits: group.DocumentLimits, MaxAttempts: 5, StopShare: 0.5, Prefix: prefix, HTTPToken: token,
		},
	}
}

func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *world) importer() *importer.Importer {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
	i := &importer.Importer{Config: w.config, Bucket: w.store, BucketName: "bucket", Owner: "a test", Log: log}
	var err error
	if i.Client, err = w.config.Clients(log, func(c *tim.Config) { c.Transport = w.service })(); err != nil {
		w.t.Fatal(err)
	}
	return i
}

func (w *world) handler() http.Handler {
	w.t.Helper()
	h, err := httpapi.New(httpapi.Config{Config: w.config, Bucket: w.store, Transport: w.service, Log: w.importer().Log})
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// A server is one way to reach the handler.
type server struct {
	name string
	open func(*testing.T, http.Handler) http.RoundTripper
}

var servers = []server{
	{"net/http", func(t *testing.T, h http.Handler) http.RoundTripper {
		t.Helper()
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return wire{s.URL}
	}},
	direct,
}

// direct needs no network, so that it works under virtual time.
var direct = server{"direct", func(_ *testing.T, h http.Handler) http.RoundTripper { return recorded{h} }}

// over runs a test against each server, with a world of its own.
func over(t *testing.T, test func(t *testing.T, w *world, c *caller)) {
	t.Helper()
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(t)
			test(t, w, w.caller(s))
		})
	}
}

// wire sends requests to a server.
type wire struct{ base string }

func (s wire) RoundTrip(r *http.Request) (*http.Response, error) {
	base, err := url.Parse(s.base)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = base.Scheme, base.Host
	return http.DefaultTransport.RoundTrip(r)
}

// recorded calls the handler itself, as the packages of the platforms do.
type recorded struct{ http.Handler }

func (s recorded) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r = r.Clone(r.Context())
	r.Host, r.RequestURI = "url.invalid", r.URL.RequestURI()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	s.ServeHTTP(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// A caller sends requests and checks every response against the description.
type caller struct {
	t  *testing.T
	rt http.RoundTripper
}

func (w *world) caller(s server) *caller {
	w.t.Helper()
	return &caller{w.t, s.open(w.t, w.handler())}
}

// A reply is a response with its whole body.
type reply struct {
	*http.Response

	status int
	body   string
}

// member returns a member of a JSON body, nil if there is none.
func (r reply) member(name string) any {
	var all map[string]any
	if json.Unmarshal([]byte(r.body), &all) != nil {
		return nil
	}
	return all[name]
}

// headers returns the headers of a request with a record and the token, and others; a value "" removes a header.
func headers(more ...string) http.Header {
	h := http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
	for i := 0; i < len(more); i += 2 {
		if more[i+1] == "" {
			h.Del(more[i])
		} else {
			h.Set(more[i], more[i+1])
		}
	}
	return h
}

func (c *caller) do(method, path string, header http.Header, body string) reply {
	c.t.Helper()
	r, err := c.try(c.t.Context(), method, path, header, body)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c *caller) try(ctx context.Context, method, path string, header http.Header, body string) (reply, error) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://url.invalid"+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	maps.Copy(r.Header, header)
	resp, err := c.rt.RoundTrip(r)
	if err != nil {
		return reply{}, err
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return reply{}, err
	}
	c.check(r, body, resp, text)
	return reply{resp, resp.StatusCode, string(text)}, nil
}

func (c *caller) post(body string, more ...string) reply {
	c.t.Helper()
	return c.do("POST", "/groups", headers(more...), body)
}

func (c *caller) get(path string, more ...string) reply {
	c.t.Helper()
	return c.do("GET", path, headers(append([]string{"Content-Type", ""}, more...)...), "")
}

// description is the OpenAPI document that the handler serves.
var description = sync.OnceValues(func() (validator.Validator, error) {
	w := &world{
		service: &emulator.Service{},
		config:  config.Config{Rate: 1, Endpoint: "https://im.invalid", HTTPToken: token},
	}
	h, err := httpapi.New(httpapi.Config{Config: w.config, Bucket: &blobtest.Bucket{}, Transport: w.service})
	if err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	doc, err := libopenapi.NewDocument(rec.Body.Bytes())
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		return nil, fmt.Errorf("%v", errs)
	}
	return v, nil
})

// actionOf returns the last segment of the path of a request that controls an import, with its slash, else "".
func actionOf(r *http.Request) string {
	for _, action := range []string{"/pause", "/resume", "/cancel"} {
		if strings.HasSuffix(r.URL.Path, ".jsonl"+action) {
			return action
		}
	}
	return ""
}

// check checks a response against the description, and its headers.
func (c *caller) check(r *http.Request, body string, resp *http.Response, text []byte) {
	c.t.Helper()
	h := resp.Header
	if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" ||
		h.Get("Referrer-Policy") != "no-referrer" ||
		!strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'") {
		c.t.Errorf("%s %s: got headers %v, want those that protect", r.Method, r.URL, h)
	}
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") || name == "Set-Cookie" {
			c.t.Errorf("got header %s, want none of its kind", name)
		}
	}
	if strings.Contains(string(text), token) || strings.Contains(string(text), key) {
		c.t.Errorf("got a secret in %s", text)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost || resp.StatusCode == http.StatusNotFound &&
		!strings.HasPrefix(r.URL.Path, "/imports") {
		return // not described
	}
	v, err := description()
	if err != nil {
		c.t.Fatal(err)
	}
	again := r.Clone(context.Background())
	again.Body = io.NopCloser(strings.NewReader(body))
	if resp.StatusCode < 300 && again.Header.Get("Authorization") != "" { // without one the platform has checked
		if strings.HasPrefix(again.Header.Get("Authorization"), "Basic") {
			again.Header.Set("Authorization", "Bearer "+token)
		}
		again.RequestURI = again.URL.RequestURI()
		if strings.HasPrefix(again.URL.Path, "/imports/") {
			again.URL.Path, again.URL.RawPath = "/imports/x"+actionOf(r), "" // the library takes a key for one segment
		}
		if ok, errs := v.ValidateHttpRequest(again); !ok {
			c.t.Errorf("%s %s was accepted, but does not fit the description: %v %s", r.Method, r.URL, errs[0].Message,
				errs[0].Reason)
		}
	}
	if resp.StatusCode == http.StatusMethodNotAllowed {
		return
	}
	copied := *resp
	copied.Body = io.NopCloser(bytes.NewReader(text))
	if strings.HasPrefix(again.URL.Path, "/imports/") {
		again.URL.Path, again.URL.RawPath = "/imports/x"+actionOf(r), ""
	}
	if ok, errs := v.ValidateHttpResponse(again, &copied); !ok {
		for _, e := range errs {
			c.t.Errorf("%s %s: the response %d does not fit the description: %s %s %v\n%s", r.Method, r.URL, resp.StatusCode,
				e.Message, e.Reason, e.SchemaValidationErrors, text)
		}
	}
}
