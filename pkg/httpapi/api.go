// Package httpapi is the HTTP API: it imports single groups and shows the status of imports. One [http.Handler]
// serves all platforms. The packages of the platforms convert the events of their function URLs into requests.
//
//	POST /groups           imports one group; the body is one record
//	GET  /                 redirects to /imports
//	GET  /imports          lists the status of imports, page by page, as JSON or HTML
//	GET  /imports/{key}    shows the status of one import, as JSON or HTML. With the key of a report, a results file
//	                       or a dead-letter file: returns the file, up to 4 MB
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
	"context"
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
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/config"
	"groupimport/pkg/importer"
	"groupimport/pkg/scheduler"
	"groupimport/pkg/tim"
)

const (
	// A request gets its response within requestTime, or deadlineMargin before its context's deadline: the response of
	// the platform at the deadline has no details. Gateways wait 29 s.
	requestTime    = 26 * time.Second
	deadlineMargin = time.Second

	// maxRequests limits the concurrent requests. A request that waits for a permit needs some 50 KB, including the
	// buffers of the connection.
	maxRequests = 600
)

// Config is the configuration of the handler.
type Config struct {
	Config  config.Config
	Bucket  blob.Bucket                 // of the exports
	Folder  string                      // local folder of Bucket, for the commands in pages; empty for an object store
	Clients func() (*tim.Client, error) // returns clients that share one rate limiter, see [config.Config.Clients]
	Share   *Share                      // that Clients applies; nil if the process has the rate alone
	Log     *slog.Logger                // nil discards
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
	room      chan struct{} // limits requests
	long      chan struct{} // limits long bodies
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
	client, err := c.Clients()
	if err != nil {
		return nil, err
	}
	i := &importer.Importer{Config: c.Config, Bucket: c.Bucket, Log: c.Log}
	a := &api{
		config: c.Config, bucket: c.Bucket, folder: c.Folder, dialer: &dialer{dial: c.Clients, share: c.Share, client: client},
		scheduler: &scheduler.Scheduler{Importer: i},
		token:     sha256.Sum256([]byte(c.Config.HTTPToken)), platform: c.Config.HTTPPlatform, log: c.Log,
		room: make(chan struct{}, maxRequests), long: make(chan struct{}, maxLongBodies),
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	return a, nil
}

// An answer is the response to a request.
type answer struct {
	status int
	header http.Header // besides the headers of all responses; may be nil
	kind   string      // Content-Type of the body
	body   []byte

	code   int    // ErrorCode of the service, for the log
	detail string // of a problem, for the log
}

// with returns the response with one more header.
func (ans answer) with(name, value string) answer {
	if ans.header == nil {
		ans.header = http.Header{}
	}
	ans.header.Set(name, value)
	return ans
}

// later returns the response with a Retry-After of after, rounded up to whole seconds, at least one.
func (ans answer) later(after time.Duration) answer {
	seconds := max(1, int64((after+time.Second-1)/time.Second))
	return ans.with("Retry-After", strconv.FormatInt(seconds, 10))
}

// write writes the response to a request with this method.
func (ans answer) write(w http.ResponseWriter, method string) {
	h := w.Header()
	maps.Copy(h, ans.header)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if h.Get("Content-Security-Policy") == "" {
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	}
	if ans.status != http.StatusNoContent {
		h.Set("Content-Type", ans.kind)
		h.Set("Content-Length", strconv.Itoa(len(ans.body)))
	}
	w.WriteHeader(ans.status)
	if method != http.MethodHead {
		_, _ = w.Write(ans.body) // an error means that the caller has disconnected
	}
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	ans := a.safely(r)
	ans.write(w, r.Method)
	level := slog.LevelDebug
	if ans.status >= 500 {
		level = slog.LevelWarn
	}
	attrs := []any{
		"method", r.Method, "path", r.URL.Path, "status", ans.status, "ms", time.Since(start).Milliseconds(),
	}
	if ans.code != 0 {
		attrs = append(attrs, "code", ans.code)
	}
	if ans.detail != "" {
		attrs = append(attrs, "detail", ans.detail)
	}
	a.log.Log(r.Context(), level, "http request", attrs...)
}

// safely handles a request, also if the handler panics.
func (a *api) safely(r *http.Request) (ans answer) {
	defer func() {
		if p := recover(); p != nil {
			a.log.ErrorContext(r.Context(), "http request panics", "panic", p, "stack", string(debug.Stack()))
			ans = problem{Status: http.StatusInternalServerError, Detail: "internal error: see the log"}.answer()
		}
	}()
	return a.answer(r)
}

// busy is the response to a request beyond a limit.
var busy = problem{
	Status: http.StatusServiceUnavailable, Retry: retrySafe,
	Detail: "too many concurrent requests; this request had no effect",
}

// A route is the handler of a path.
type route struct {
	methods []string // without OPTIONS
	open    bool     // without authorization
	do      func(context.Context, *http.Request) answer
}

func (a *api) route(path string) (route, bool) {
	read := []string{http.MethodGet, http.MethodHead}
	key, one := strings.CutPrefix(path, "/imports/")
	switch {
	case path == "/groups":
		return route{methods: []string{http.MethodPost}, do: a.importGroup}, true
	case path == "/":
		return route{methods: read, open: true, do: toImports}, true
	case path == listPath:
		return route{methods: read, do: a.listImports}, true
	case one && key != "":
		return route{methods: read, do: func(ctx context.Context, r *http.Request) answer {
			return a.showImport(ctx, r, key)
		}}, true
	case path == "/healthz":
		return route{methods: read, open: true, do: healthz}, true
	case path == "/openapi.json":
		return route{methods: read, open: true, do: describe}, true
	}
	return route{}, false
}

// answer handles a request.
func (a *api) answer(r *http.Request) answer {
	route, ok := a.route(r.URL.Path)
	if !ok {
		return problem{
			Status: http.StatusNotFound,
			Detail: "no such path: use POST /groups, GET /imports, GET /imports/{key}, GET /healthz or GET /openapi.json",
		}.answer()
	}
	allow := strings.Join(append(slices.Clone(route.methods), http.MethodOptions), ", ")
	switch {
	case r.Method == http.MethodOptions:
		return answer{status: http.StatusNoContent}.with("Allow", allow)
	case !slices.Contains(route.methods, r.Method):
		return problem{Status: http.StatusMethodNotAllowed, Detail: "allowed methods: " + allow}.answer().with("Allow", allow)
	case route.open:
		return route.do(r.Context(), r)
	}
	if refusal, ok := a.authorize(r); !ok {
		return refusal
	}
	select {
	case a.room <- struct{}{}:
		defer func() { <-a.room }()
	default:
		return busy.answer().later(time.Second)
	}
	until := time.Now().Add(requestTime)
	if deadline, ok := r.Context().Deadline(); ok && deadline.Add(-deadlineMargin).Before(until) {
		until = deadline.Add(-deadlineMargin)
	}
	ctx, cancel := context.WithDeadline(r.Context(), until)
	defer cancel()
	return route.do(ctx, r)
}

type authenticated struct{}

// Authenticated returns the context of a request whose caller the platform has authenticated, see [config.Config].
func Authenticated(ctx context.Context) context.Context {
	return context.WithValue(ctx, authenticated{}, true)
}

// BadRequest returns a handler whose response is always 400 with detail, for events of a platform that are not valid
// requests.
func BadRequest(detail string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problem{Status: http.StatusBadRequest, Detail: detail}.answer().write(w, r.Method)
	})
}

// authorize checks the request's credentials. If they are missing or wrong, it returns the response.
func (a *api) authorize(r *http.Request) (refusal answer, ok bool) {
	if a.platform {
		if r.Context().Value(authenticated{}) != nil {
			return answer{}, true
		}
		return problem{
			Status: http.StatusForbidden,
			Detail: "HTTP_AUTH is platform, but the platform has not authenticated this request: set the AuthType of the " +
				"function URL to AWS_IAM, or set HTTP_TOKEN",
		}.answer(), false
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
			return answer{}, true
		}
	}
	challenge := `Bearer realm="groupimport"`
	if reads && wantsPage(r) {
		challenge = `Basic realm="groupimport: the token is the password", charset="UTF-8"`
	}
	return problem{
		Status: http.StatusUnauthorized, Detail: "the token is missing or wrong: send Authorization: Bearer <HTTP_TOKEN>",
	}.answer().with("WWW-Authenticate", challenge), false
}

// toImports leads people from the root to the list of imports.
func toImports(context.Context, *http.Request) answer {
	ans := answer{status: http.StatusFound, kind: "text/plain; charset=utf-8", body: []byte(listPath + "\n")}
	return ans.with("Location", listPath)
}

func healthz(context.Context, *http.Request) answer {
	return answer{status: http.StatusOK, kind: "application/json", body: []byte(`{"status":"ok"}` + "\n")}
}

//go:embed openapi.json
var openapi []byte

func describe(context.Context, *http.Request) answer {
	return answer{status: http.StatusOK, kind: "application/json", body: openapi}
}
