// Package httpapi is the HTTP API: it imports single groups and shows the status of imports. One [http.Handler]
// serves all platforms. The packages of the platforms convert the events of their function URLs into requests.
//
//	POST /groups           imports one group; the body is one record
//	GET  /                 redirects to /imports
//	GET  /imports          lists the status of imports, page by page, as JSON or HTML
//	GET  /imports/{key}    shows the status of one import, as JSON or HTML. With the key of a report, a results file
//	                       or a dead-letter file: returns the file, up to 4 MB
//	POST /imports/{key}/pause, /resume and /cancel: pause, resume or cancel one import
//	POST /check            runs the checks of package check that the HTTP function can run, as JSON or HTML
//	GET  /healthz          reports that the handler runs; it calls neither the service nor the bucket.
//	                       503 if the configuration is incomplete, see [Unavailable]
//	GET  /openapi.json     describes this API as OpenAPI 3.1
//
// # Authentication
//
// Callers send a token (Authorization: Bearer …), or the platform authenticates them. A browser cannot send a bearer
// token by itself: GET also accepts the token as the password of Basic authentication, with any user name. POST
// accepts neither Basic authentication nor cookies, and JSON only, so another site's page cannot make a browser
// write. /healthz and /openapi.json are public.
//
// # Responses
//
// Handlers return a response, which is written as a whole. A response that is not 2xx is a problem of RFC 9457. A
// response never contains a secret, nor an error of a library that might quote one.
package httpapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/check"
	"groupimport/pkg/config"
	"groupimport/pkg/importer"
	"groupimport/pkg/scheduler"
)

const (
	// A request gets its response within requestTime, or deadlineMargin before its context's deadline: the response of
	// the platform at the deadline has no details. Gateways wait 29 s.
	requestTime    = 26 * time.Second
	deadlineMargin = time.Second

	// maxRequests limits the concurrent requests. A request that waits for a permit needs some 50 KB, including the
	// buffers of the connection.
	maxRequests = 600

	// deniedInterval is the least time between two log lines about wrong credentials.
	deniedInterval = time.Minute
)

// Config is the configuration of the handler.
type Config struct {
	Config config.Config
	Bucket blob.Bucket  // of the exports
	Folder string       // local folder of Bucket, for the commands in pages; empty for an object store
	Log    *slog.Logger // nil discards

	// Transport sends the requests to the service, see [tim.Config].
	Transport http.RoundTripper

	// Check may adjust what POST /check checks: it sets the platform of a function. It may be nil.
	Check func(ctx context.Context, env *check.Env)

	// OnDenied is called for each request with wrong credentials. It must be safe for concurrent use. It may be nil.
	OnDenied func()
}

// An api is the handler.
type api struct {
	config    config.Config
	bucket    blob.Bucket
	folder    string // see Config
	dialer    *dialer
	scheduler *scheduler.Scheduler // only for the status of imports
	token     [sha256.Size]byte    // hash of the token: comparing hashes does not leak its length
	platform  bool
	log       *slog.Logger
	onDenied  func()
	denied    occasional    // log lines about wrong credentials
	cleanup   occasional    // removals of outdated claims
	room      chan struct{} // limits requests
	long      chan struct{} // limits long bodies

	checks   func(ctx context.Context, env *check.Env)
	checking sync.Mutex // held during a check
}

// New returns the handler. The error says that the configuration would not authenticate callers, or that no client
// can be created.
func New(c Config) (http.Handler, error) {
	switch {
	case c.Config.HTTPToken == "" && !c.Config.HTTPPlatform:
		return nil, errors.New("callers are not authenticated: set HTTP_TOKEN (create one with openssl rand -hex 24), " +
			"or HTTP_AUTH=platform if the platform authenticates callers")
	case c.Config.HTTPToken != "" && c.Config.HTTPPlatform:
		return nil, errors.New("HTTP_TOKEN and HTTP_AUTH=platform are both set: set only one of them")
	case c.Config.HTTPToken != "" && len(c.Config.HTTPToken) < config.MinToken:
		return nil, errors.New("HTTP_TOKEN is too short: create one with openssl rand -hex 24")
	}
	dialer, err := newDialer(&c)
	if err != nil {
		return nil, err
	}
	if c.OnDenied == nil {
		c.OnDenied = func() {}
	}
	if c.Check == nil {
		c.Check = func(context.Context, *check.Env) {}
	}
	i := &importer.Importer{Config: c.Config, Bucket: c.Bucket, Log: c.Log}
	a := &api{
		config: c.Config, bucket: c.Bucket, folder: c.Folder,
		dialer: dialer, scheduler: &scheduler.Scheduler{Importer: i},
		token: sha256.Sum256([]byte(c.Config.HTTPToken)), platform: c.Config.HTTPPlatform, log: c.Log,
		onDenied: c.OnDenied, denied: occasional{interval: deniedInterval}, cleanup: occasional{interval: cleanupInterval},
		room: make(chan struct{}, maxRequests), long: make(chan struct{}, maxLongBodies),
		checks: c.Check,
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	return a, nil
}

// A response is the response to a request.
type response struct {
	status int
	header http.Header // besides the headers of all responses; may be nil
	kind   string      // Content-Type of the body
	body   []byte

	problem *problem // for the log; nil if the response is no problem
}

// with returns the response with one more header.
func (resp response) with(name, value string) response {
	if resp.header == nil {
		resp.header = http.Header{}
	}
	resp.header.Set(name, value)
	return resp
}

// later returns the response with a Retry-After of after, rounded up to whole seconds, at least one.
func (resp response) later(after time.Duration) response {
	seconds := max(1, int64((after+time.Second-1)/time.Second))
	return resp.with("Retry-After", strconv.FormatInt(seconds, 10))
}

// write writes the response to a request with this method.
func (resp response) write(w http.ResponseWriter, method string) {
	h := w.Header()
	maps.Copy(h, resp.header)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if h.Get("Content-Security-Policy") == "" {
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	}
	if resp.status != http.StatusNoContent {
		h.Set("Content-Type", resp.kind)
		h.Set("Content-Length", strconv.Itoa(len(resp.body)))
	}
	w.WriteHeader(resp.status)
	if method != http.MethodHead {
		_, _ = w.Write(resp.body) // an error means that the caller has disconnected
	}
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	id := rand.Text()
	resp := a.safely(r)
	resp.with("X-Request-Id", id).write(w, r.Method)
	a.logRequest(r, &resp, id, time.Since(start))
}

// logRequest logs a request and its response. The line has nothing of the request but its method and the pattern of
// its path: a caller may send a token in the wrong place.
func (a *api) logRequest(r *http.Request, resp *response, id string, took time.Duration) {
	level := slog.LevelDebug
	if resp.status >= 500 {
		level = slog.LevelWarn
	}
	method := "other"
	if slices.Contains(methods, r.Method) {
		method = r.Method
	}
	route, _ := a.route(r.URL.Path)
	attrs := []slog.Attr{
		slog.String("method", method), slog.String("path", cmp.Or(route.pattern, "other")),
		slog.Int("status", resp.status), slog.String("id", id), slog.Int64("ms", took.Milliseconds()),
	}
	if p := resp.problem; p != nil {
		attrs = append(attrs, slog.Int("code", p.Code), slog.String("detail", p.Detail))
	}
	a.log.LogAttrs(r.Context(), level, "http request", attrs...)
}

// methods are the methods of RFC 9110, section 9, and RFC 5789.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodConnect, http.MethodOptions, http.MethodTrace,
}

// An occasional limits how often something is done. It is safe for concurrent use.
type occasional struct {
	interval time.Duration // least time between two

	mu     sync.Mutex
	next   time.Time
	passed int // calls of due since the last that returned true
}

// due reports whether it is time to do it again, and how many calls asked since the last time, with this one.
func (o *occasional) due() (calls int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.passed++
	now := time.Now()
	if now.Before(o.next) {
		return 0, false
	}
	calls = o.passed
	o.next, o.passed = now.Add(o.interval), 0
	return calls, true
}

// safely handles a request, also if the handler panics.
func (a *api) safely(r *http.Request) (resp response) {
	defer func() {
		if p := recover(); p != nil {
			a.log.ErrorContext(r.Context(), "http request panics", "panic", p, "stack", string(debug.Stack()))
			resp = problem{Status: http.StatusInternalServerError, Detail: "internal error: see the log"}.response()
		}
	}()
	return a.respond(r)
}

// busy is the response to a request beyond a limit.
var busy = problem{
	Status: http.StatusServiceUnavailable, Retry: retrySafe,
	Detail: "too many concurrent requests; this request had no effect",
}

// A route is the handler of a path.
type route struct {
	pattern string   // of the path, for the log
	methods []string // without OPTIONS
	open    bool     // without authorization
	do      func(context.Context, *http.Request) response
}

func (a *api) route(path string) (route, bool) {
	read := []string{http.MethodGet, http.MethodHead}
	key, one := strings.CutPrefix(path, "/imports/")
	controlKey, action, isControl := controlOf(key)
	switch {
	case path == "/groups":
		return route{pattern: path, methods: []string{http.MethodPost}, do: a.importGroup}, true
	case path == "/":
		return route{pattern: path, methods: read, open: true, do: toImports}, true
	case path == listPath:
		return route{pattern: path, methods: read, do: a.listImports}, true
	case one && isControl:
		pattern := listPath + "/{key}/" + string(action)
		do := func(ctx context.Context, r *http.Request) response {
			return a.controlImport(ctx, r, controlKey, action)
		}
		return route{pattern: pattern, methods: []string{http.MethodPost}, do: do}, true
	case one && key != "":
		return route{pattern: listPath + "/{key}", methods: read, do: func(ctx context.Context, r *http.Request) response {
			return a.showImport(ctx, r, key)
		}}, true
	case path == checkPath:
		return route{pattern: path, methods: []string{http.MethodPost}, do: a.check}, true
	case path == "/healthz":
		return route{pattern: path, methods: read, open: true, do: healthz}, true
	case path == "/openapi.json":
		return route{pattern: path, methods: read, open: true, do: describe}, true
	}
	return route{}, false
}

// respond handles a request.
func (a *api) respond(r *http.Request) response {
	route, ok := a.route(r.URL.Path)
	if !ok {
		return problem{
			Status: http.StatusNotFound,
			Detail: "no such path: use POST /groups, GET /imports, GET /imports/{key}, POST /check, GET /healthz or GET " +
				"/openapi.json",
		}.response()
	}
	allow := strings.Join(append(slices.Clone(route.methods), http.MethodOptions), ", ")
	switch {
	case r.Method == http.MethodOptions:
		return response{status: http.StatusNoContent}.with("Allow", allow)
	case !slices.Contains(route.methods, r.Method):
		p := problem{Status: http.StatusMethodNotAllowed, Detail: "allowed methods: " + allow}
		return p.response().with("Allow", allow)
	case route.open:
		return route.do(r.Context(), r)
	}
	if refusal, ok := a.authorize(r); !ok {
		a.logDenied(r)
		return refusal
	}
	select {
	case a.room <- struct{}{}:
		defer func() { <-a.room }()
	default:
		return busy.response().later(time.Second)
	}
	until := time.Now().Add(requestTime)
	if deadline, ok := r.Context().Deadline(); ok && deadline.Add(-deadlineMargin).Before(until) {
		until = deadline.Add(-deadlineMargin)
	}
	ctx, cancel := context.WithDeadline(r.Context(), until)
	defer cancel()
	return route.do(ctx, r)
}

type callerKey struct{}

// Authenticated returns the context of a request whose caller the platform has authenticated, see [config.Config].
// caller identifies the caller among those of the function: each has Idempotency-Keys of its own. It is empty if the
// platform does not tell.
func Authenticated(ctx context.Context, caller string) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// caller returns the identity of an authorized caller. All who have the token are one caller, "".
func (a *api) caller(ctx context.Context) string {
	if !a.platform {
		return ""
	}
	caller, _ := ctx.Value(callerKey{}).(string)
	return caller
}

// BadRequest returns a handler whose response is always 400 with detail, for events of a platform that are not valid
// requests.
func BadRequest(detail string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problem{Status: http.StatusBadRequest, Detail: detail}.response().write(w, r.Method)
	})
}

// authorize checks the request's credentials. If they are missing or wrong, it returns the response.
func (a *api) authorize(r *http.Request) (refusal response, ok bool) {
	if a.platform {
		if r.Context().Value(callerKey{}) != nil {
			return response{}, true
		}
		return problem{
			Status: http.StatusForbidden,
			Detail: "HTTP_AUTH is platform, but the platform has not authenticated this request: set the AuthType of the " +
				"function URL to AWS_IAM, or set HTTP_TOKEN",
		}.response(), false
	}
	reads := r.Method != http.MethodPost
	if values := r.Header.Values("Authorization"); len(values) == 1 {
		scheme, token, _ := strings.Cut(values[0], " ")
		var hasToken bool
		switch {
		case strings.EqualFold(scheme, "Bearer"):
			hasToken = true
		case reads:
			_, token, hasToken = r.BasicAuth()
		}
		got := sha256.Sum256([]byte(token))
		if subtle.ConstantTimeCompare(got[:], a.token[:]) == 1 && hasToken {
			return response{}, true
		}
	}
	challenge := `Bearer realm="groupimport"`
	if reads && wantsPage(r) {
		challenge = `Basic realm="groupimport: the token is the password", charset="UTF-8"`
	}
	return problem{
		Status: http.StatusUnauthorized, Detail: "the token is missing or wrong: send Authorization: Bearer <HTTP_TOKEN>",
	}.response().with("WWW-Authenticate", challenge), false
}

// logDenied counts and logs a request with wrong credentials. A request without credentials is not counted: browsers
// send one before they ask for the password.
func (a *api) logDenied(r *http.Request) {
	if !a.platform && r.Header.Get("Authorization") == "" {
		return
	}
	a.onDenied()
	if n, ok := a.denied.due(); ok {
		a.log.WarnContext(r.Context(), "http requests with wrong credentials", "requests", n)
	}
}

// toImports leads people from the root to the list of imports.
func toImports(context.Context, *http.Request) response {
	resp := response{status: http.StatusFound, kind: "text/plain; charset=utf-8", body: []byte(listPath + "\n")}
	return resp.with("Location", listPath)
}

func healthz(context.Context, *http.Request) response {
	return response{status: http.StatusOK, kind: "application/json", body: []byte(`{"status":"ok"}` + "\n")}
}

//go:embed openapi.json
var openapi []byte

func describe(context.Context, *http.Request) response {
	return response{status: http.StatusOK, kind: "application/json", body: openapi}
}
