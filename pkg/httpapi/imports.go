package httpapi

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/blob"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

const (
	defaultLimit = 50
	maxLimit     = 200
)

// A list is the body of the response to GET /imports.
type list struct {
	Imports []scheduler.Status `json:"imports"`
	Next    string             `json:"next,omitzero"` // path and query of the next page
}

// listImports handles GET /imports?prefix=…&after=…&limit=…. It sorts JSON by key, and HTML newest first.
func (a *api) listImports(ctx context.Context, r *http.Request) response {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problem{Status: http.StatusBadRequest, Detail: "invalid query string"}.response()
	}
	limit := defaultLimit
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxLimit {
			return problem{
				Status: http.StatusBadRequest, Detail: "limit must be a number from 1 to " + strconv.Itoa(maxLimit),
			}.response()
		}
	}
	prefix := query.Get("prefix")
	if prefix == "" {
		prefix = a.config.Prefix
	}
	after := scheduler.Place{Key: query.Get("after")}
	if text := query.Get("modified"); text != "" {
		if after.Modified, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return problem{
				Status: http.StatusBadRequest, Detail: "modified must be a time of RFC 3339, as in next",
			}.response()
		}
	}
	newest := wantsPage(r) && (after.Key == "" || query.Has("modified"))
	imports, next, err := a.scheduler.List(ctx, prefix, newest, after, limit)
	if err != nil {
		return a.unread(ctx, err, "no imports below this prefix")
	}
	l := list{Imports: imports}
	if next != (scheduler.Place{}) {
		behind := url.Values{"after": {next.Key}, "limit": {strconv.Itoa(limit)}}
		if query.Get("prefix") != "" {
			behind.Set("prefix", prefix)
		}
		if newest {
			behind.Set("modified", next.Modified.UTC().Format(time.RFC3339Nano))
		}
		l.Next = listPath + "?" + behind.Encode()
	}
	if wantsPage(r) {
		return a.listPage(imports, l.Next)
	}
	return readable(l)
}

// showImport handles GET /imports/{key}. key may also be the key of a file beside an export.
func (a *api) showImport(ctx context.Context, r *http.Request, key string) response {
	if _, kind := results.Sidecar(key); kind != results.NotSidecar {
		return a.showFile(ctx, key)
	}
	im, err := a.scheduler.Status(ctx, key)
	if err != nil {
		return a.unread(ctx, err, "no export or import with this key")
	}
	if wantsPage(r) {
		return a.importPage(&im)
	}
	return readable(im)
}

// unread is the response if the status cannot be read from the bucket.
func (a *api) unread(ctx context.Context, err error, missing string) response {
	// Files that cannot be opened: links that lead out of the folder or in a circle, and names that are too long.
	isLink := a.folder != "" && blob.IsPermanent(err) &&
		!errors.Is(err, fs.ErrPermission) && !errors.Is(err, blob.ErrChanged) || errors.Is(err, syscall.ELOOP)
	switch {
	case errors.Is(err, fs.ErrNotExist), isLink, errors.Is(err, syscall.ENAMETOOLONG):
		return problem{Status: http.StatusNotFound, Detail: missing}.response()
	case errors.Is(err, blob.ErrTooLarge):
		return problem{
			Status: http.StatusNotFound, Detail: "the file is too large: download it from the bucket",
		}.response()
	case ctx.Err() != nil:
		return problem{
			Status: http.StatusGatewayTimeout, Detail: "the bucket took too long: set a prefix to list fewer keys",
		}.response()
	}
	a.log.WarnContext(ctx, "cannot read the bucket", "err", err)
	return problem{
		Status: http.StatusServiceUnavailable, Detail: "the bucket cannot be read: see the log",
	}.response().later(0)
}

func readable(v any) response {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // a key that is not UTF-8; List leaves them out
	}
	return response{status: http.StatusOK, kind: "application/json", body: append(body, '\n')}.with("Vary", "Accept")
}

// wantsPage reports whether the caller is a browser: the request accepts HTML, and not JSON before it.
func wantsPage(r *http.Request) bool {
	for accepted := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		kind, _, _ := strings.Cut(accepted, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "text/html", "application/xhtml+xml":
			return true
		case "application/json":
			return false // it comes first
		}
	}
	return false
}
