// Package invocation does what one invocation of a cloud function is asked to do, whatever the cloud. The
// platforms' packages turn their events into an [Event], and hand on what [Handler.Do] returns.
package invocation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/blob"
	"groupimport/pkg/httpapi"
	"groupimport/pkg/importer"
)

// An Event is what an invocation is asked to do. At most one of its fields is set; if none is, there is
// nothing to do.
type Event struct {
	Objects []Object
	Action  *importer.Action
	Request []byte // over HTTP, as the platform put it
}

// An Object is one that has been created.
type Object struct {
	Bucket string
	Keys   []string // those that may be meant, likeliest first
}

// An EventError says that an event has none of the shapes that the function knows.
type EventError struct{ Text string }

func (e *EventError) Error() string { return e.Text }

// A ConfigError says which settings of the function are missing or wrong.
type ConfigError struct{ err error }

func (e *ConfigError) Error() string { return "the configuration is wrong: " + e.err.Error() }

func (e *ConfigError) Unwrap() error { return e.err }

// A Handler does what events ask for. Its methods may be called concurrently.
type Handler struct {
	Getenv func(string) string // read by each invocation: platforms may change it in between
	Log    *slog.Logger

	// Parse tells what an event asks for. Its error is an [*EventError].
	Parse func(raw []byte) (Event, error)

	// Open returns the bucket of a name. Its error is one of configuration. A bucket is kept for later
	// invocations.
	Open func(bucket string) (blob.Bucket, error)

	// Secret returns the key that stands under a name, see [importer.Config]; nil if the platform has no such
	// place.
	Secret func(ctx context.Context, name string) (string, error)

	// Serve answers a request over HTTP with the handler; see package httpapi.
	Serve func(ctx context.Context, handler http.Handler, request []byte) ([]byte, error)

	// Measured is told what each run in a bucket came to, and Passed what the schedule has found there when it
	// looked for unfinished imports; nil tells nobody.
	Measured func(bucket string, n importer.Numbers)
	Passed   func(bucket string, p importer.Pass)

	mu      sync.Mutex
	buckets map[string]blob.Bucket
	api     http.Handler
	apiOf   importer.Config // what api was made with
}

// Do does what an event asks for, in the invocation with this ID until ctx's deadline. It returns an
// [importer.Pass] as JSON, or the answer to a request. Its error is what the platform is to count, to
// retry and to alarm about: a [*ConfigError], a [*EventError], one of Secret, or one of [importer.Pass.Err].
func (h *Handler) Do(ctx context.Context, id string, raw []byte) ([]byte, error) {
	ctx = withRequest(ctx, id)
	answer, err := h.do(ctx, id, raw)
	if err != nil {
		h.Log.ErrorContext(ctx, "invocation fails", "error_type", fmt.Sprintf("%T", err), "err", err)
	}
	return answer, err
}

func (h *Handler) do(ctx context.Context, id string, raw []byte) ([]byte, error) {
	ev, err := h.Parse(raw)
	if err != nil {
		return nil, err
	}
	config, err := importer.ConfigFromEnv(h.Getenv)
	if err != nil {
		return nil, &ConfigError{err}
	}
	level.Set(config.LogLevel)
	if ctx.Err() != nil {
		return nil, &ConfigError{errors.New("the time is up before anything began: the platform sent a deadline that has passed, or none")}
	}
	if ev.Action == nil && ev.Objects == nil && ev.Request == nil {
		h.Log.InfoContext(ctx, "the event asks for nothing")
		return json.Marshal(importer.Pass{})
	}
	if config.Bucket == "" && len(ev.Objects) > 0 {
		config.Bucket = ev.Objects[0].Bucket
	}
	if config.Bucket == "" {
		return nil, &ConfigError{errors.New("EXPORT_BUCKET is missing: the bucket that holds the exports")}
	}
	if config.SecretKeyParameter != "" && h.Secret != nil {
		if config.SecretKey, err = h.Secret(ctx, config.SecretKeyParameter); err != nil {
			return nil, err
		}
	}
	if ev.Request != nil {
		api, err := h.handler(config, id)
		if err != nil {
			return nil, err
		}
		return h.Serve(ctx, api, ev.Request)
	}
	i, err := h.importer(config, id)
	if err != nil {
		return nil, err
	}
	defer i.Client.Close()
	var pass importer.Pass
	if ev.Action != nil {
		if pass, err = i.Schedule(ctx, *ev.Action); err != nil {
			return nil, err
		}
		if h.Passed != nil && ev.Action.Resume {
			h.Passed(config.Bucket, pass)
		}
	} else {
		var names [][]string
		for _, o := range ev.Objects {
			if o.Bucket != config.Bucket {
				return nil, &ConfigError{fmt.Errorf("the event is of bucket %q, and EXPORT_BUCKET is %q", o.Bucket, config.Bucket)}
			}
			names = append(names, o.Keys)
		}
		pass = i.Import(ctx, names...)
	}
	answer, err := json.Marshal(pass)
	if err != nil {
		return nil, err
	}
	h.Log.InfoContext(ctx, "invocation ends", "imports", pass.Imports, "done", pass.Done, "left", pass.Left, "reason", pass.Reason)
	return answer, pass.Err()
}

// importer returns one for this invocation. The client is new, because one that the service has stopped
// stays stopped.
func (h *Handler) importer(config importer.Config, id string) (*importer.Importer, error) {
	b, err := h.bucket(config.Bucket)
	if err != nil {
		return nil, &ConfigError{err}
	}
	i := &importer.Importer{Config: config, Bucket: b, BucketName: config.Bucket, Holder: "invocation " + id, Log: h.Log}
	if h.Measured != nil {
		i.Measured = func(n importer.Numbers) { h.Measured(config.Bucket, n) }
	}
	if err := i.Dial(nil); err != nil {
		return nil, &ConfigError{err}
	}
	return i, nil
}

// handler returns that of requests over HTTP, which lives as long as the configuration stays: one importer
// shares its rate among them.
func (h *Handler) handler(config importer.Config, id string) (http.Handler, error) {
	h.mu.Lock()
	api, of := h.api, h.apiOf
	h.mu.Unlock()
	if api != nil && of == config {
		return api, nil
	}
	i, err := h.importer(config, id)
	if err != nil {
		return nil, err
	}
	api, err = httpapi.New(httpapi.Config{Importer: i, Token: config.HTTPToken, Platform: config.HTTPPlatform, Log: h.Log})
	if err != nil {
		return nil, &ConfigError{err}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.api, h.apiOf = api, config
	return api, nil
}

func (h *Handler) bucket(name string) (blob.Bucket, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b, ok := h.buckets[name]; ok {
		return b, nil
	}
	b, err := h.Open(name)
	if err != nil {
		return nil, err
	}
	if h.buckets == nil {
		h.buckets = make(map[string]blob.Bucket)
	}
	h.buckets[name] = b
	return b, nil
}
