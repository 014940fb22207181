// Package invocation handles one invocation of a cloud function on any cloud. The packages of the platforms parse
// their events into an [Event] and return the result of [Handler.Do].
package invocation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/blob"
	"groupimport/pkg/check"
	"groupimport/pkg/config"
	"groupimport/pkg/httpapi"
	"groupimport/pkg/importer"
	"groupimport/pkg/notify"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// An Event is the task of an invocation: Objects to import, or one of Action, Request and Check. The zero Event has no
// task.
type Event struct {
	Objects []Object
	Action  *scheduler.Action
	Request []byte // event of an HTTP request, in the platform's format
	Check   bool   // check the account, see package check

	// Skipped has the records of the event that name no object. The other records are imported.
	Skipped []Skipped

	// IsBatch says that messages of a queue name the objects: the response names the messages that failed, see
	// [Handler.Batch].
	IsBatch bool
}

// An Object is an object that was created in a bucket.
type Object struct {
	Bucket  string
	Keys    []string // possible keys, most likely first
	Raw     string   // key as the event has it
	Message string   // ID of the message that names the object, in a batch
}

// A Skipped is a record that names no object.
type Skipped struct {
	Reason  string
	Message string // ID of the message that holds the record, in a batch
}

// An ID identifies an invocation in the log.
type ID struct {
	Request string
	Trace   string // "" if the platform has none
}

// An EventError says that the event has an unknown format.
type EventError struct {
	Text  string
	Known string // which events the function handles, with a colon before; may be empty
}

func (e *EventError) Error() string { return e.Text + e.Known }

// A ConfigError names the settings of the function that are missing or wrong.
type ConfigError struct{ err error }

func (e *ConfigError) Error() string { return "invalid configuration: " + e.err.Error() }

func (e *ConfigError) Unwrap() error { return e.err }

// A Handler handles events. It is safe for concurrent use.
type Handler struct {
	Getenv func(string) string // called by each invocation: platforms may change the environment in between
	Log    *slog.Logger

	// Parse parses an event. Its error is an [*EventError].
	Parse func(raw []byte) (Event, error)

	// Open opens a bucket by its name. Its error is an error of the configuration. The Handler keeps the bucket for
	// later invocations.
	Open func(bucket string) (blob.Bucket, error)

	// Secret returns the key or the token that is stored under a name, see [config.Config]. It is nil if the platform has
	// no store of secrets.
	Secret func(ctx context.Context, name string) (string, error)

	// Scheme begins the addresses of objects in notifications: s3 or cos.
	Scheme string

	// Batch returns the response to a batch of messages of which these failed, perhaps none. It is nil if no event of the
	// platform is a batch.
	Batch func(failed []string) any

	// HidesCallers says that the requests of the platform do not show whether it has authenticated the caller. Then
	// HTTP_AUTH=platform is refused, and with platform-unverified every caller counts as authenticated.
	HidesCallers bool

	// Serve serves an HTTP request with the handler; see package httpapi.
	Serve func(ctx context.Context, handler http.Handler, request []byte) ([]byte, error)

	// Platform returns the properties of the function and of the invocation, for package check. It may omit those that
	// the Handler sets: the time limit, and whether the key of the app could be read. It may be nil.
	Platform func(ctx context.Context) check.Platform

	// OnRunEnd is called with the metrics of each run. OnPass is called with the result of each scheduler pass. Both may
	// be nil.
	OnRunEnd func(importer.Metrics)
	OnPass   func(bucket string, a scheduler.Action, p scheduler.Result)

	// OnDenied is called for each HTTP request with wrong credentials. It may be nil.
	OnDenied func(bucket string)

	bucketsMu sync.Mutex
	buckets   map[string]blob.Bucket

	apiMu sync.Mutex // held while api is created, so that concurrent first requests share one rate limiter
	api   http.Handler
	apiOf config.Config // what api was created with

	notifierMu       sync.Mutex
	notifier         *notify.Notifier
	notifierOfConfig notifierConfig // what notifier was created with

	warm atomic.Bool // the process has begun an invocation
}

// Do handles an event in the invocation with this ID, until ctx's deadline. It returns a [scheduler.Result] as JSON,
// the response to an HTTP request, or that to a batch. The platform counts, retries and alarms on the error: a
// [*ConfigError], an [*EventError], an error of Secret, or an error of [scheduler.Result.Err].
//
// An HTTP request always gets a response, a 503 if the configuration is invalid or the key cannot be read. The error
// is only logged, because some platforms show the error of a function to any caller. A batch has an error only if all
// of its messages failed.
func (h *Handler) Do(ctx context.Context, id ID, raw []byte) ([]byte, error) {
	ctx = context.WithValue(withInvocation(ctx, id, !h.warm.Swap(true)), startKey{}, time.Now())
	response, err := h.do(ctx, id, raw)
	if err != nil {
		h.logFailure(ctx, err)
	}
	return response, err
}

func (h *Handler) logFailure(ctx context.Context, err error) {
	h.Log.ErrorContext(ctx, "invocation fails", "error_type", fmt.Sprintf("%T", err), "err", err)
}

func (h *Handler) do(ctx context.Context, id ID, raw []byte) ([]byte, error) {
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
	if ev.Action == nil && ev.Objects == nil && ev.Skipped == nil && !ev.Check {
		h.Log.InfoContext(ctx, "the event has no task")
		return json.Marshal(scheduler.Result{})
	}
	if config.Bucket == "" {
		return nil, errNoBucket
	}
	if ev.Check {
		return h.check(ctx, id, config)
	}
	if config, err = h.withKey(ctx, config); err != nil {
		return nil, err
	}
	notifier := h.notifierOf(ctx, config)
	s, err := h.scheduler(config, id.Request, notifier)
	if err != nil {
		return nil, err
	}
	defer s.Importer.Client.Close()
	defer waitFor(ctx, notifier)
	var pass scheduler.Result
	if ev.Action != nil {
		pass, err = h.schedule(ctx, s, *ev.Action)
	} else {
		pass, err = h.objects(ctx, s, &ev)
	}
	if err != nil {
		return nil, err
	}
	response, err := json.Marshal(pass, jsontext.AllowInvalidUTF8(true)) // keys of events may hold any bytes
	if err != nil {
		return nil, err
	}
	h.Log.InfoContext(ctx, "invocation ends",
		"imports", pass.Imports, "done", pass.Done, "left", pass.Left, "reason", pass.Reason)
	failure := pass.Err()
	if !ev.IsBatch {
		return response, failure
	}
	failed, all := ev.failed(config.Bucket, &pass)
	if slices.Contains(failed, "") {
		failure = cmp.Or[error](failure, &EventError{Text: "a record that failed has no message ID"})
		all = true
	}
	if all && failure != nil {
		return nil, failure
	}
	if failed != nil {
		h.Log.ErrorContext(ctx, "messages fail", "message_ids", failed, "err", failure)
	}
	return json.Marshal(h.Batch(failed))
}

// failed returns the messages of a batch that failed, in the order of their IDs, and whether all did. A message failed
// if it holds a record that names no object, or an object in another bucket, or if an import of it failed.
func (ev *Event) failed(bucket string, pass *scheduler.Result) (failed []string, all bool) {
	failures := map[string]bool{} // of imports, by key
	for _, d := range pass.Done {
		failures[d.Key] = failures[d.Key] || d.Error != "" || d.State == results.Stopped
	}
	messages := map[string]bool{} // whether each failed
	for _, skipped := range ev.Skipped {
		messages[skipped.Message] = true
	}
	for _, o := range ev.Objects {
		isFailure := o.Bucket != bucket || slices.ContainsFunc(o.Keys, func(key string) bool { return failures[key] })
		messages[o.Message] = messages[o.Message] || isFailure
	}
	for _, id := range slices.Sorted(maps.Keys(messages)) {
		if messages[id] {
			failed = append(failed, id)
		}
	}
	return failed, len(failed) == len(messages)
}

var errUnverified = &ConfigError{errors.New("HTTP_AUTH is platform, but the requests of this platform do not show " +
	"whether it has authenticated the caller: set HTTP_AUTH=token and HTTP_TOKEN. If the function URL authenticates all " +
	"callers (authType CAM), set HTTP_AUTH=platform-unverified instead: with authType NONE anybody could then create " +
	"groups")}

var errNoBucket = &ConfigError{errors.New("EXPORT_BUCKET is missing: the bucket that holds the exports")}

// configure reads the configuration, without the key of Secret. With an error, it also returns the settings that it
// could read.
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
		return config, &ConfigError{errors.New("time is up before the invocation started: " +
			"the platform sent a deadline that has passed, or none")}
	}
	if config.Bucket == "" && len(objects) > 0 {
		config.Bucket = objects[0].Bucket
	}
	return config, nil
}

// withKey returns the configuration with the key of Secret, if one is configured. Its error is an error of Secret.
func (h *Handler) withKey(ctx context.Context, config config.Config) (config.Config, error) {
	if config.SecretKeyParameter == "" || h.Secret == nil {
		return config, nil
	}
	var err error
	config.SecretKey, err = h.Secret(ctx, config.SecretKeyParameter)
	return config, err
}

// withToken is withKey for the token of callers over HTTP.
func (h *Handler) withToken(ctx context.Context, config config.Config) (config.Config, error) {
	if config.HTTPTokenParameter == "" || h.Secret == nil {
		return config, nil
	}
	var err error
	config.HTTPToken, err = h.Secret(ctx, config.HTTPTokenParameter)
	return config, err
}

func (h *Handler) schedule(ctx context.Context, s *scheduler.Scheduler, a scheduler.Action) (scheduler.Result, error) {
	pass, err := s.Pass(ctx, a)
	if err == nil && h.OnPass != nil {
		h.OnPass(s.Importer.BucketName, a, pass)
	}
	return pass, err
}

// objects imports the objects of an event. It skips objects in another bucket, and records that name no object. If
// all objects are in another bucket, the configuration is wrong.
func (h *Handler) objects(ctx context.Context, s *scheduler.Scheduler, ev *Event) (scheduler.Result, error) {
	var names [][]string
	var skipped []scheduler.JobResult
	skip := func(key, reason, message string) {
		skipped = append(skipped, scheduler.JobResult{Key: key, What: scheduler.Skip, Reason: reason})
		attrs := []any{"reason", reason}
		if key != "" {
			attrs = append(attrs, "key", key)
		}
		if message != "" {
			attrs = append(attrs, "message_id", message)
		}
		h.Log.WarnContext(ctx, "record skipped", attrs...)
	}
	isProbe := false
	for _, o := range ev.Objects {
		if o.Bucket == s.Importer.BucketName {
			if h.recordProbe(ctx, s, &o) {
				isProbe = true
				continue
			}
			names = append(names, o.Keys)
			continue
		}
		skip(o.Keys[0], fmt.Sprintf("the event is of bucket %q, but EXPORT_BUCKET is %q", o.Bucket, s.Importer.BucketName),
			o.Message)
	}
	if names == nil && skipped != nil {
		return scheduler.Result{}, &ConfigError{errors.New(skipped[0].Reason)}
	}
	for _, record := range ev.Skipped {
		skip("", record.Reason, record.Message)
	}
	if isProbe && names == nil {
		return scheduler.Result{Done: skipped}, nil
	}
	pass := s.HandleEvent(ctx, names...)
	for _, d := range pass.Done {
		switch {
		case d.Error != "":
			h.Log.ErrorContext(ctx, "import fails", "key", d.Key, "err", d.Error)
		case d.What == scheduler.Skip:
			h.Log.WarnContext(ctx, "object skipped", "key", d.Key, "reason", d.Reason)
		}
	}
	pass.Done = append(pass.Done, skipped...)
	return pass, nil
}

// serve serves an HTTP request. It ignores MAPPING, which is for exports only.
func (h *Handler) serve(ctx context.Context, request []byte) ([]byte, error) {
	getenv := func(name string) string {
		if name == "MAPPING" {
			return ""
		}
		return h.Getenv(name)
	}
	var api http.Handler
	config, err := h.configure(ctx, getenv, nil)
	switch {
	case err != nil:
	case h.HidesCallers && config.HTTPPlatform && !config.HTTPUnverified:
		err = errUnverified
	default:
		api, err = h.handler(ctx, config)
	}
	if h.HidesCallers && config.HTTPUnverified {
		ctx = httpapi.Authenticated(ctx, "") // its requests do not name the caller either
	}
	if err != nil {
		h.logFailure(ctx, err)
		api = httpapi.Unavailable(httpapi.Config{Config: config}, err.Error())
	}
	response, err := h.Serve(ctx, api, request)
	if err != nil {
		return nil, &EventError{Text: err.Error()}
	}
	return response, nil
}

const ownerPrefix = "invocation " // of the owner of a lease

// notifierOf returns the notifier of a configuration, nil without a webhook. It keeps the notifier while the
// configuration of notifications is the same, because the notifier knows what it has sent.
func (h *Handler) notifierOf(ctx context.Context, c config.Config) *notify.Notifier {
	h.notifierMu.Lock()
	defer h.notifierMu.Unlock()
	of := notifierConfig{notify.Target{URL: c.NotifyURL, Secret: c.NotifySecret}, c.NotifyParameter, c.NotifyFormat}
	if of == h.notifierOfConfig {
		return h.notifier
	}
	h.notifier, h.notifierOfConfig = nil, of
	switch {
	case of.parameter != "" && h.Secret == nil:
		h.Log.ErrorContext(ctx, "no notifications: NOTIFY_PARAMETER is not read on this platform, set NOTIFY_URL")
	case of.parameter != "":
		h.notifier = notify.New(func(ctx context.Context) (notify.Target, error) {
			content, err := h.Secret(ctx, of.parameter)
			if err != nil {
				return notify.Target{}, err
			}
			t, err := notify.ParseTarget(content)
			if err != nil {
				err = fmt.Errorf("the SSM parameter %s (NOTIFY_PARAMETER): %w", of.parameter, err)
			}
			return t, err
		}, of.format, h.Log)
	case of.URL != "":
		h.notifier = notify.New(notify.Fixed(of.Target), of.format, h.Log)
	}
	return h.notifier
}

// A notifierConfig is the part of the configuration that is about notifications.
type notifierConfig struct {
	notify.Target

	parameter, format string
}

// message returns the notification of a change.
func (h *Handler) message(bucket string, c *importer.Change) notify.Message {
	root := cmp.Or(h.Scheme, "bucket") + "://" + bucket + "/"
	m := notify.Message{
		ID: c.ID, State: string(c.State), Bucket: bucket, Key: c.Key, Reason: c.Reason, Counts: c.Counts,
		GivenUp: c.GivenUp, Export: root + c.Key, At: c.At,
	}
	if c.Report != "" {
		m.Report = root + c.Report
	}
	return m
}

// waitFor waits for notifications that are not sent, because the platform freezes the process after an invocation. It
// ends a second before the deadline. Notifications that are left are sent during the next invocation of this process,
// if there is one.
func waitFor(ctx context.Context, n *notify.Notifier) {
	deadline, ok := ctx.Deadline()
	if limit := time.Now().Add(maxNotify); !ok || deadline.Add(-time.Second).After(limit) {
		deadline = limit
	} else {
		deadline = deadline.Add(-time.Second)
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	n.Wait(ctx)
}

// maxNotify is how long the end of an invocation waits for notifications.
const maxNotify = 10 * time.Second

// scheduler returns a scheduler for this invocation. It has a new client, because a client does not recover from a
// fatal error.
func (h *Handler) scheduler(config config.Config, id string, n *notify.Notifier) (*scheduler.Scheduler, error) {
	b, err := h.bucket(config.Bucket)
	if err != nil {
		return nil, &ConfigError{err}
	}
	i := &importer.Importer{
		Config: config, Bucket: b, BucketName: config.Bucket, Owner: ownerPrefix + id, Log: h.Log, OnRunEnd: h.OnRunEnd,
	}
	if n != nil {
		i.OnChange = func(c importer.Change) { n.Send(h.message(config.Bucket, &c)) }
	}
	if i.Client, err = config.Clients(h.Log, nil)(); err != nil {
		return nil, &ConfigError{err}
	}
	return &scheduler.Scheduler{Importer: i}, nil
}

// handler returns the handler of HTTP requests. It keeps the handler while the configuration is the same, because all
// requests share the rate of one client.
func (h *Handler) handler(ctx context.Context, config config.Config) (http.Handler, error) {
	if config.Bucket == "" {
		return nil, errNoBucket
	}
	config, err := h.withKey(ctx, config)
	if err == nil {
		config, err = h.withToken(ctx, config)
	}
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
	c := httpapi.Config{Config: config, Bucket: b, Log: h.Log}
	c.Check = func(ctx context.Context, env *check.Env) { env.Platform = h.platform(ctx, config) }
	if h.OnDenied != nil {
		c.OnDenied = func() { h.OnDenied(config.Bucket) }
	}
	api, err := httpapi.New(c)
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
