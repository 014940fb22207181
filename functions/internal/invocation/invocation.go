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
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/blob"
	"groupimport/pkg/config"
	"groupimport/pkg/httpapi"
	"groupimport/pkg/importer"
	"groupimport/pkg/scheduler"
)

// An Event is what an invocation is asked to do: to import Objects, or to do one of Action and Request. If all fields
// are empty, there is nothing to do.
type Event struct {
	Objects []Object
	Action  *scheduler.Action
	Request []byte // over HTTP, as the platform put it

	// Skipped says of each record of the event that names no object why it is left out. Such a record does not keep the
	// others from being imported.
	Skipped []string
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

	// Secret returns the key that stands under a name, see [config.Config]; nil if the platform has no such
	// place.
	Secret func(ctx context.Context, name string) (string, error)

	// Serve answers a request over HTTP with the handler; see package httpapi.
	Serve func(ctx context.Context, handler http.Handler, request []byte) ([]byte, error)

	// Measured is told what each run in a bucket came to, and Passed what the schedule has found there when it
	// looked for unfinished imports; nil tells nobody.
	Measured func(bucket string, n importer.Metrics)
	Passed   func(bucket string, p scheduler.Result)

	bucketsMu sync.Mutex
	buckets   map[string]blob.Bucket

	apiMu sync.Mutex // held while api is created, so that concurrent first requests share one rate limiter
	api   http.Handler
	apiOf config.Config // what api was created with
}

// Do does what an event asks for, in the invocation with this ID until ctx's deadline. It returns an
// [scheduler.Result] as JSON, or the answer to a request. Its error is what the platform is to count, to
// retry and to alarm about: a [*ConfigError], a [*EventError], one of Secret, or one of [scheduler.Result.Err].
//
// A request over HTTP always gets an answer, a 503 if the configuration is wrong or the key cannot be read: what a
// function returns as an error, some platforms show to the caller, who may be anybody. The log has that error.
func (h *Handler) Do(ctx context.Context, id string, raw []byte) ([]byte, error) {
	ctx = withRequest(ctx, id)
	answer, err := h.do(ctx, id, raw)
	if err != nil {
		h.logFailure(ctx, err)
	}
	return answer, err
}

func (h *Handler) logFailure(ctx context.Context, err error) {
	h.Log.ErrorContext(ctx, "invocation fails", "error_type", fmt.Sprintf("%T", err), "err", err)
}

func (h *Handler) do(ctx context.Context, id string, raw []byte) ([]byte, error) {
	ev, err := h.Parse(raw)
	if err != nil {
		return nil, err
	}
	if ev.Request != nil {
		return h.serve(ctx, ev.Request)
	}
	config, err := h.configure(ctx, h.Getenv, ev.Objects)
	if err != nil {
		return nil, err
	}
	if ev.Action == nil && ev.Objects == nil && ev.Skipped == nil {
		h.Log.InfoContext(ctx, "the event asks for nothing")
		return json.Marshal(scheduler.Result{})
	}
	if config.Bucket == "" {
		return nil, errNoBucket
	}
	if config, err = h.withKey(ctx, config); err != nil {
		return nil, err
	}
	s, err := h.scheduler(config, id)
	if err != nil {
		return nil, err
	}
	defer s.Importer.Client.Close()
	var pass scheduler.Result
	if ev.Action != nil {
		pass, err = h.schedule(ctx, s, *ev.Action)
	} else {
		pass, err = h.objects(ctx, s, &ev)
	}
	if err != nil {
		return nil, err
	}
	answer, err := json.Marshal(pass, jsontext.AllowInvalidUTF8(true)) // keys of events may hold any bytes
	if err != nil {
		return nil, err
	}
	h.Log.InfoContext(ctx, "invocation ends", "imports", pass.Imports, "done", pass.Done, "left", pass.Left, "reason", pass.Reason)
	return answer, pass.Err()
}

var errNoBucket = &ConfigError{errors.New("EXPORT_BUCKET is missing: the bucket that holds the exports")}

// configure reads the configuration, without the key that is kept elsewhere. With an error, what could be read is
// returned too.
func (h *Handler) configure(ctx context.Context, getenv func(string) string, objects []Object,
) (config.Config, error) {
	for _, line := range config.Removed(getenv) {
		h.Log.WarnContext(ctx, "variable of an earlier version", "reason", line)
	}
	config, err := config.FromEnv(getenv)
	if err != nil {
		return config, &ConfigError{err}
	}
	level.Set(config.LogLevel)
	if ctx.Err() != nil {
		return config, &ConfigError{errors.New("the time is up before anything began: " +
			"the platform sent a deadline that has passed, or none")}
	}
	if config.Bucket == "" && len(objects) > 0 {
		config.Bucket = objects[0].Bucket
	}
	return config, nil
}

// withKey returns the configuration with the key that the platform keeps, if it keeps one. Its error is one of Secret.
func (h *Handler) withKey(ctx context.Context, config config.Config) (config.Config, error) {
	if config.SecretKeyParameter == "" || h.Secret == nil {
		return config, nil
	}
	var err error
	config.SecretKey, err = h.Secret(ctx, config.SecretKeyParameter)
	return config, err
}

func (h *Handler) schedule(ctx context.Context, s *scheduler.Scheduler, a scheduler.Action) (scheduler.Result, error) {
	pass, err := s.Pass(ctx, a)
	if err == nil && h.Passed != nil && a.Resume {
		h.Passed(s.Importer.BucketName, pass)
	}
	return pass, err
}

// objects imports what an event names. What lies in another bucket is skipped, unless everything does: then the
// configuration is wrong.
func (h *Handler) objects(ctx context.Context, s *scheduler.Scheduler, ev *Event) (scheduler.Result, error) {
	var names [][]string
	var skipped []scheduler.JobResult
	for _, o := range ev.Objects {
		if o.Bucket == s.Importer.BucketName {
			names = append(names, o.Keys)
			continue
		}
		reason := fmt.Sprintf("the event is of bucket %q, and EXPORT_BUCKET is %q", o.Bucket, s.Importer.BucketName)
		skipped = append(skipped, scheduler.JobResult{Key: o.Keys[0], What: skip, Reason: reason})
	}
	if names == nil && skipped != nil {
		return scheduler.Result{}, &ConfigError{errors.New(skipped[0].Reason)}
	}
	for _, reason := range ev.Skipped {
		skipped = append(skipped, scheduler.JobResult{What: skip, Reason: reason})
	}
	pass := s.HandleEvent(ctx, names...)
	pass.Done = append(pass.Done, skipped...)
	return pass, nil
}

const skip = "skip" // as in [scheduler.JobResult]

// serve answers a request over HTTP. MAPPING is for exports: a wrong one is no reason to refuse requests.
func (h *Handler) serve(ctx context.Context, request []byte) ([]byte, error) {
	getenv := func(name string) string {
		if name == "MAPPING" {
			return ""
		}
		return h.Getenv(name)
	}
	var api http.Handler
	config, err := h.configure(ctx, getenv, nil)
	if err == nil {
		api, err = h.handler(ctx, config)
	}
	if err != nil {
		h.logFailure(ctx, err)
		api = httpapi.Unavailable(httpapi.Config{Config: config}, err.Error())
	}
	answer, err := h.Serve(ctx, api, request)
	if err != nil {
		return nil, &EventError{err.Error()}
	}
	return answer, nil
}

// scheduler returns one for this invocation. The client is new, because one that the service has stopped
// stays stopped.
func (h *Handler) scheduler(config config.Config, id string) (*scheduler.Scheduler, error) {
	b, err := h.bucket(config.Bucket)
	if err != nil {
		return nil, &ConfigError{err}
	}
	i := &importer.Importer{Config: config, Bucket: b, BucketName: config.Bucket, Owner: "invocation " + id, Log: h.Log}
	if h.Measured != nil {
		i.OnRunEnd = func(n importer.Metrics) { h.Measured(config.Bucket, n) }
	}
	if i.Client, err = config.Clients(h.Log, nil)(); err != nil {
		return nil, &ConfigError{err}
	}
	return &scheduler.Scheduler{Importer: i}, nil
}

// handler returns the handler of requests over HTTP. It lives as long as the configuration stays the same: one client
// shares its rate among all requests.
func (h *Handler) handler(ctx context.Context, config config.Config) (http.Handler, error) {
	if config.Bucket == "" {
		return nil, errNoBucket
	}
	config, err := h.withKey(ctx, config)
	if err != nil {
		return nil, err
	}
	h.apiMu.Lock()
	defer h.apiMu.Unlock()
	if h.api != nil && h.apiOf == config {
		return h.api, nil
	}
	b, err := h.bucket(config.Bucket)
	if err != nil {
		return nil, &ConfigError{err}
	}
	api, err := httpapi.New(httpapi.Config{Config: config, Bucket: b, Clients: config.Clients(h.Log, nil), Log: h.Log})
	if err != nil {
		return nil, &ConfigError{err}
	}
	h.api, h.apiOf = api, config
	return api, nil
}

func (h *Handler) bucket(name string) (blob.Bucket, error) {
	h.bucketsMu.Lock()
	defer h.bucketsMu.Unlock()
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
