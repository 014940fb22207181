// Package httpapi is the HTTP API: one group, and how imports are doing. It is one [http.Handler] for all platforms, whose
// packages turn the events of their function URLs into requests.
//
//	POST /groups           imports one group: the body is one record
//	GET  /                 leads to /imports
//	GET  /imports          how imports are doing, a page of them: in JSON, or in HTML for browsers
//	GET  /imports/{key}    how the import of one export is doing, in JSON or HTML; and, under their own keys, the
//	                       report, the results and the dead-letter file, up to 4 MB
//	GET  /healthz          that the handler answers; it asks neither the service nor the bucket.
//	                       503 if the program is not set up, see [Unavailable]
//	GET  /openapi.json     all of this as OpenAPI 3.1
//
// # Who may
//
// Callers bear a token (Authorization: Bearer …), or the platform checks them. Browsers cannot bear one by
// themselves: for what is only read, the token also counts as the password of Basic authentication, with any
// user. What writes takes neither that nor a cookie, and JSON only, so that no other site's page can make a
// browser write. /healthz and /openapi.json hold nothing that is not in this repository, and are open.
//
// # Answers
//
// Every request gets one: handlers return an answer, which is written as a whole. What is not 2xx is a problem
// of RFC 9457. No answer holds a secret, nor an error of a library that might quote one.
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
	// A request is answered within requestTime, or deadlineMargin before its context's deadline: the platform
	// has its own way to say that time is up, which tells the caller nothing. 29 s is what gateways wait.
	requestTime    = 26 * time.Second
	deadlineMargin = time.Second

	// Requests at once above which callers are asked to come later. One that waits for its turn holds some
	// 50 KB, the connection's buffers included.
	atOnce = 600
)

// Config is what the handler needs.
type Config struct {
	Config  config.Config
	Bucket  blob.Bucket                 // of the exports
	Folder  string                      // the local folder that Bucket is, for the commands of pages; empty for an object store
	Clients func() (*tim.Client, error) // makes clients that share one rate limiter, see [config.Config.Clients]
	Log     *slog.Logger                // nil discards
}

// An api is the handler.
type api struct {
	config    config.Config
	bucket    blob.Bucket
	folder    string // see Config
	dialer    *dialer
	scheduler *scheduler.Scheduler // for the states of imports alone
	token     [sha256.Size]byte    // of the token; compared as hashes, so that not even its length shows in the time
	platform  bool
	log       *slog.Logger
	room      chan struct{} // for requests
	long      chan struct{} // for long bodies that are read
}

// New returns the handler. Its error says that nothing would check who calls.
func New(c Config) (http.Handler, error) {
	switch {
	case c.Config.HTTPToken == "" && !c.Config.HTTPPlatform:
		return nil, errors.New("nobody checks who calls: set HTTP_TOKEN (openssl rand -hex 24 makes one), " +
			"or HTTP_AUTH=platform where the platform checks callers")
	case c.Config.HTTPToken != "" && c.Config.HTTPPlatform:
		return nil, errors.New("HTTP_TOKEN and HTTP_AUTH=platform are both set: a request has room for one of them")
	case c.Config.HTTPToken != "" && len(c.Config.HTTPToken) < config.MinToken:
		return nil, errors.New("HTTP_TOKEN is too short: openssl rand -hex 24 makes one")
	}
	client, err := c.Clients()
	if err != nil {
		return nil, err
	}
	i := &importer.Importer{Config: c.Config, Bucket: c.Bucket, Log: c.Log}
	a := &api{
		config: c.Config, bucket: c.Bucket, folder: c.Folder, dialer: &dialer{dial: c.Clients, client: client}, scheduler: &scheduler.Scheduler{Importer: i},
		token: sha256.Sum256([]byte(c.Config.HTTPToken)), platform: c.Config.HTTPPlatform, log: c.Log,
		room: make(chan struct{}, atOnce), long: make(chan struct{}, longAtOnce),
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	return a, nil
}

// An answer is what a request gets.
type answer struct {
	status int
	header http.Header // besides what all have; may be nil
	kind   string      // of the body
	body   []byte
}

// with returns the answer with one more header.
func (ans answer) with(name, value string) answer {
	if ans.header == nil {
		ans.header = http.Header{}
	}
	ans.header.Set(name, value)
	return ans
}

// later returns the answer with a Retry-After of at least a second.
func (ans answer) later(after time.Duration) answer {
	seconds := max(1, int64((after+time.Second-1)/time.Second))
	return ans.with("Retry-After", strconv.FormatInt(seconds, 10))
}

// write writes the answer to a request with this method.
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
		_, _ = w.Write(ans.body) // the caller has gone
	}
}

// ServeHTTP implements [http.Handler].
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	ans := a.safely(r)
	ans.write(w, r.Method)
	level := slog.LevelDebug
	if ans.status >= 500 {
		level = slog.LevelWarn
	}
	a.log.Log(r.Context(), level, "http request", "method", r.Method, "path", r.URL.Path, "status", ans.status, "ms", time.Since(start).Milliseconds())
}

// safely answers a request also if that panics.
func (a *api) safely(r *http.Request) (ans answer) {
	defer func() {
		if p := recover(); p != nil {
			a.log.ErrorContext(r.Context(), "http request panics", "panic", p, "stack", string(debug.Stack()))
			ans = problem{Status: http.StatusInternalServerError, Detail: "a fault of this program: its log says more"}.answer()
		}
	}()
	return a.answer(r)
}

// busy is the answer to a request for which there is no room.
var busy = problem{
	Status: http.StatusServiceUnavailable, Detail: "too many requests at once; this one has done nothing", Retry: retrySafe,
}

// A route is what can be done at a path.
type route struct {
	methods []string // HEAD goes with GET
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
		return route{methods: read, do: func(ctx context.Context, r *http.Request) answer { return a.showImport(ctx, r, key) }}, true
	case path == "/healthz":
		return route{methods: read, open: true, do: healthz}, true
	case path == "/openapi.json":
		return route{methods: read, open: true, do: describe}, true
	}
	return route{}, false
}

// answer answers a request.
func (a *api) answer(r *http.Request) answer {
	route, ok := a.route(r.URL.Path)
	if !ok {
		return problem{Status: http.StatusNotFound, Detail: "there is POST /groups, GET /imports, GET /imports/{key}, GET /healthz and GET /openapi.json"}.answer()
	}
	allow := strings.Join(append(slices.Clone(route.methods), http.MethodOptions), ", ")
	switch {
	case r.Method == http.MethodOptions:
		return answer{status: http.StatusNoContent}.with("Allow", allow)
	case !slices.Contains(route.methods, r.Method):
		return problem{Status: http.StatusMethodNotAllowed, Detail: "this path takes " + allow}.answer().with("Allow", allow)
	case route.open:
		return route.do(r.Context(), r)
	}
	if refusal, ok := a.admit(r); !ok {
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

// BadRequest returns a handler that answers every request with 400 and detail, for what a platform hands over as a request
// and is none.
func BadRequest(detail string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problem{Status: http.StatusBadRequest, Detail: detail}.answer().write(w, r.Method)
	})
}

// admit says whether the caller may.
func (a *api) admit(r *http.Request) (refusal answer, ok bool) {
	if a.platform {
		if r.Context().Value(authenticated{}) != nil {
			return answer{}, true
		}
		return problem{
			Status: http.StatusForbidden,
			Detail: "HTTP_AUTH is platform, and the platform has not checked this request: give the function URL the AuthType AWS_IAM, or set HTTP_TOKEN",
		}.answer(), false
	}
	reads := r.Method != http.MethodPost
	if values := r.Header.Values("Authorization"); len(values) == 1 {
		scheme, token, _ := strings.Cut(values[0], " ")
		var borne bool
		switch {
		case strings.EqualFold(scheme, "Bearer"):
			borne = true
		case reads:
			_, token, borne = r.BasicAuth()
		}
		got := sha256.Sum256([]byte(token))
		if subtle.ConstantTimeCompare(got[:], a.token[:]) == 1 && borne {
			return answer{}, true
		}
	}
	challenge := `Bearer realm="groupimport"`
	if reads && wantsPage(r) {
		challenge = `Basic realm="groupimport: the token is the password", charset="UTF-8"`
	}
	return problem{
		Status: http.StatusUnauthorized, Detail: "the token is missing or wrong: send Authorization: Bearer, and then HTTP_TOKEN",
	}.answer().with("WWW-Authenticate", challenge), false
}

// toImports leads people from the root to the list of imports.
func toImports(context.Context, *http.Request) answer {
	return answer{status: http.StatusFound, kind: "text/plain; charset=utf-8", body: []byte(listPath + "\n")}.with("Location", listPath)
}

func healthz(context.Context, *http.Request) answer {
	return answer{status: http.StatusOK, kind: "application/json", body: []byte(`{"status":"ok"}` + "\n")}
}

//go:embed openapi.json
var openapi []byte

func describe(context.Context, *http.Request) answer {
	return answer{status: http.StatusOK, kind: "application/json", body: openapi}
}
