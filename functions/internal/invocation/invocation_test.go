package invocation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/functions/internal/invocation"
	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/emulator"
	"groupimport/pkg/httpapi"
	"groupimport/pkg/scheduler"
)

const (
	bucketName = "groups"
	key        = "a key for tests"
	token      = "0123456789abcdef-the-token"
)

// A platform is a Handler with an IM service, a bucket and the function's environment.
type platform struct {
	*invocation.Handler
	t       *testing.T
	service *emulator.Service
	store   *blobtest.Bucket
	event   invocation.Event // what Parse returns
	log     bytes.Buffer

	mu     sync.Mutex
	env    map[string]string
	served map[string]int // how many requests each handler served, by its address
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	p := &platform{
		t: t, store: &blobtest.Bucket{}, served: map[string]int{},
		service: &emulator.Service{SDKAppID: 1400000000, Key: key, Limit: -1},
	}
	server := httptest.NewServer(p.service)
	t.Cleanup(server.Close)
	p.env = map[string]string{
		"TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": key, "TIM_ENDPOINT": server.URL, "EXPORT_BUCKET": bucketName,
		"EXPORT_PREFIX": "exports/", "HTTP_TOKEN": token,
	}
	p.Handler = &invocation.Handler{
		Getenv: func(name string) string {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.env[name]
		},
		Log:   invocation.NewLog(&p.log, "time"),
		Parse: func([]byte) (invocation.Event, error) { return p.event, nil },
		Open:  func(string) (blob.Bucket, error) { return p.store, nil },
		Serve: func(ctx context.Context, h http.Handler, request []byte) ([]byte, error) {
			p.mu.Lock()
			p.served[fmt.Sprintf("%p", h)]++
			p.mu.Unlock()
			return serve(ctx, h, request)
		},
	}
	return p
}

func (p *platform) do() ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	return p.Do(ctx, invocation.ID{Request: "request-1"}, nil)
}

// pass handles an event that is not an HTTP request.
func (p *platform) pass(ev invocation.Event) (pass scheduler.Result, err error) {
	p.t.Helper()
	p.event = ev
	response, err := p.do()
	if response != nil {
		if err := json.Unmarshal(response, &pass); err != nil {
			p.t.Fatalf("got the response %q: %v", response, err)
		}
	}
	return pass, err
}

// A urlEvent is a request in the format of a platform.
type urlEvent struct {
	Path, Authorization string
	Authenticated       bool
}

func serve(ctx context.Context, h http.Handler, raw []byte) ([]byte, error) {
	var e urlEvent
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, err
	}
	if e.Authenticated {
		ctx = httpapi.Authenticated(ctx, "")
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, e.Path, nil)
	r.Header.Set("Authorization", e.Authorization)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return json.Marshal(map[string]any{"statusCode": w.Code, "body": w.Body.String()})
}

func request(path, authorization string, authenticated bool) invocation.Event {
	raw, err := json.Marshal(urlEvent{path, authorization, authenticated})
	if err != nil {
		panic(err)
	}
	return invocation.Event{Request: raw}
}

// get handles an event that is an HTTP request.
func (p *platform) get(ev invocation.Event) (status int, body string) {
	p.t.Helper()
	p.event = ev
	response, err := p.do()
	if err != nil {
		p.t.Fatalf("got %v, want a response", err)
	}
	var r struct {
		StatusCode int    `json:"statusCode"`
		Body       string `json:"body"`
	}
	if err := json.Unmarshal(response, &r); err != nil {
		p.t.Fatalf("got the response %q: %v", response, err)
	}
	return r.StatusCode, r.Body
}

var resume = invocation.Event{Action: &scheduler.Action{Resume: true}}

func TestHandler_ConcurrentFirstRequests(t *testing.T) {
	p := newPlatform(t)
	p.event = request("/healthz", "", false)
	p.Open = func(string) (blob.Bucket, error) {
		time.Sleep(100 * time.Millisecond) // so that all requests find no handler
		return p.store, nil
	}
	var start, end sync.WaitGroup
	start.Add(1)
	for range 64 {
		end.Go(func() {
			start.Wait()
			if _, err := p.do(); err != nil {
				t.Error(err)
			}
		})
	}
	start.Done()
	end.Wait()
	if len(p.served) != 1 {
		t.Errorf("got %d handlers for 64 requests, each with its own rate limiter, want one", len(p.served))
	}
}

func TestHandler_ConfigErrorThenFixed(t *testing.T) {
	p := newPlatform(t)
	opened := errors.New("no region")
	open := p.Open
	for _, c := range []struct {
		name     string
		set      map[string]string
		open     error
		mentions string
	}{
		{
			"no settings",
			map[string]string{"TIM_SDKAPPID": "", "TIM_SECRET_KEY": "", "EXPORT_BUCKET": ""},
			nil,
			"TIM_SDKAPPID",
		},
		{"no bucket", map[string]string{"EXPORT_BUCKET": ""}, nil, "EXPORT_BUCKET"},
		{"a bucket that cannot be opened", nil, opened, "no region"},
		{"a wrong mapping", map[string]string{"MAPPING": "telegram"}, nil, "MAPPING"},
		{
			"a platform without a store of secrets",
			map[string]string{"TIM_SECRET_KEY": "", "TIM_SECRET_KEY_PARAMETER": "/k"},
			nil, "TIM_SECRET_KEY",
		},
	} {
		good := maps.Clone(p.env)
		maps.Copy(p.env, c.set)
		if c.open != nil {
			p.Open = func(string) (blob.Bucket, error) { return nil, c.open }
		}
		_, err := p.pass(resume)
		if _, ok := errors.AsType[*invocation.ConfigError](err); !ok || !strings.Contains(err.Error(), c.mentions) {
			t.Errorf("%s: got %v, want a ConfigError that mentions %s", c.name, err, c.mentions)
		}
		p.env, p.Open = good, open
	}
	if _, err := p.pass(resume); err != nil {
		t.Errorf("got %v, want no error once the configuration is right", err)
	}
}

func TestHandler_SecretOfEachInvocation(t *testing.T) {
	p := newPlatform(t)
	p.env["TIM_SECRET_KEY"], p.env["TIM_SECRET_KEY_PARAMETER"] = "", "/k"
	secret, failure := "first", error(nil)
	p.Secret = func(context.Context, string) (string, error) { return secret, failure }
	health := func() int {
		status, _ := p.get(request("/healthz", "", false))
		return status
	}
	for range 2 {
		if got := health(); got != 200 {
			t.Errorf("got %d, want 200", got)
		}
	}
	if len(p.served) != 1 {
		t.Errorf("got %d handlers for one key, want one", len(p.served))
	}
	secret = "second"
	if health() != 200 || len(p.served) != 2 {
		t.Errorf("got %d handlers after a new key, want another", len(p.served))
	}
	failure = errors.New("the key store does not respond")
	if _, err := p.pass(resume); !errors.Is(err, failure) {
		t.Errorf("got %v, want the error of Secret", err)
	}
	status, body := p.get(request("/healthz", "", false))
	if status != 503 || strings.Contains(body, "key store") || !strings.Contains(p.log.String(), "key store") {
		t.Errorf("got %d %s, want a 503 without the error, which is logged", status, body)
	}
	if failure = nil; health() != 200 {
		t.Error("got no response once the key can be read again")
	}
}

func TestHandler_TokenOfEachInvocation(t *testing.T) {
	p := newPlatform(t)
	p.env["HTTP_TOKEN"], p.env["HTTP_TOKEN_PARAMETER"] = "", "/t"
	stored, failure := token, error(nil)
	p.Secret = func(_ context.Context, name string) (string, error) {
		if name != "/t" {
			t.Errorf("got a request for %q", name)
		}
		return stored, failure
	}
	for _, step := range []struct {
		about, stored string
		failure       error
		sent          string
		want          int
	}{
		{"the token", token, nil, token, 200},
		{"no token", token, nil, "", 401},
		{"a new token counts", "fedcba9876543210", nil, "fedcba9876543210", 200},
		{"the earlier token no longer counts", "fedcba9876543210", nil, token, 401},
		{"a token that is too short does not count", "short", nil, "short", 503},
		{"the store does not respond", "", errors.New("no response"), token, 503},
	} {
		stored, failure = step.stored, step.failure
		if status, body := p.get(request("/imports", "Bearer "+step.sent, false)); status != step.want {
			t.Errorf("%s: got %d %s, want %d", step.about, status, body, step.want)
		}
	}
	// Imports need no token.
	if _, err := p.pass(resume); err != nil {
		t.Errorf("got %v, want no error without the token", err)
	}
}

func TestHandler_RequestsWithInvalidConfiguration(t *testing.T) {
	for _, c := range []struct {
		name          string
		set           map[string]string
		authorization string
		authenticated bool
		named         bool
	}{
		{"anonymous", nil, "", false, false},
		{"with the token", nil, "Bearer " + token, false, true},
		{"with a wrong token", nil, "Bearer 0123456789abcdef-another", false, false},
		{"checked by the platform, which is not asked to", nil, "", true, false},
		{"checked by the platform", map[string]string{"HTTP_TOKEN": "", "HTTP_AUTH": "platform"}, "", true, true},
		{"not checked by the platform", map[string]string{"HTTP_TOKEN": "", "HTTP_AUTH": "platform"}, "", false, false},
		{"a token and the platform", map[string]string{"HTTP_AUTH": "platform"}, "Bearer " + token, true, false},
		{"no token is set", map[string]string{"HTTP_TOKEN": ""}, "Bearer ", false, false},
		{"a token that is too short", map[string]string{"HTTP_TOKEN": "short"}, "Bearer short", false, false},
	} {
		p := newPlatform(t)
		p.env["TIM_SDKAPPID"] = ""
		maps.Copy(p.env, c.set)
		for _, path := range []string{"/healthz", "/imports", "/openapi.json", "/"} {
			status, body := p.get(request(path, c.authorization, c.authenticated))
			if named := strings.Contains(body, "TIM_SDKAPPID is missing"); status != 503 || named != c.named {
				t.Errorf("%s, %s: got %d %s, want 503 that names the missing variables: %v", c.name, path, status, body, c.named)
			}
			if !strings.Contains(p.log.String(), "TIM_SDKAPPID is missing") {
				t.Errorf("%s: got log %s, want the names of the missing variables", c.name, p.log.String())
			}
		}
		if strings.Contains(p.log.String(), key) || strings.Contains(p.log.String(), token) {
			t.Errorf("%s: the log contains a secret", c.name)
		}
		p.env["TIM_SDKAPPID"], p.env["HTTP_AUTH"], p.env["HTTP_TOKEN"] = "1400000000", "token", token
		if status, body := p.get(request("/healthz", "", false)); status != 200 {
			t.Errorf("%s: got %d %s once the configuration is right", c.name, status, body)
		}
	}
}

func TestHandler_RequestsNeedNoMapping(t *testing.T) {
	p := newPlatform(t)
	p.env["MAPPING"] = "telegram"
	if status, body := p.get(request("/healthz", "", false)); status != 200 {
		t.Errorf("got %d %s, want 200: only exports are mapped", status, body)
	}
}

func TestHandler_OnPass(t *testing.T) {
	p := newPlatform(t)
	var passes []scheduler.Action
	p.OnPass = func(_ string, a scheduler.Action, _ scheduler.Result) { passes = append(passes, a) }
	actions := []scheduler.Action{{Resume: true}, {Retry: true}, {Resume: true, Retry: true}}
	for _, a := range actions {
		if _, err := p.pass(invocation.Event{Action: &a}); err != nil {
			t.Fatal(err)
		}
	}
	if len(passes) != 3 || passes[0].Retry || !passes[1].Retry || !passes[2].Resume {
		t.Errorf("got %+v, want %+v", passes, actions)
	}
}

func TestHandler_EventThatIsNotARequest(t *testing.T) {
	p := newPlatform(t)
	p.event = invocation.Event{Request: []byte("x")}
	_, err := p.do()
	if _, ok := errors.AsType[*invocation.EventError](err); !ok {
		t.Errorf("got %v, want an EventError", err)
	}
}

func TestHandler_InvalidObjectsBesideValidOnes(t *testing.T) {
	p := newPlatform(t)
	if err := p.store.Put(t.Context(), "exports/a.jsonl", strings.NewReader(`{"Type":"Public","Name":"x"}`)); err != nil {
		t.Fatal(err)
	}
	objects := []invocation.Object{{Bucket: "another", Keys: []string{"exports/b.jsonl"}}}
	strange := map[string]string{
		"exports/a\nb.jsonl": "control character", `exports/a\b.jsonl`: "backslash", "exports//a.jsonl": "empty",
		"exports/./a.jsonl": `"."`, "exports/../a.jsonl": `".."`, "exports/\xff.jsonl": "UTF-8", "/exports/a.jsonl": "slash",
	}
	for name := range strange {
		objects = append(objects, invocation.Object{Bucket: bucketName, Keys: []string{name}})
	}
	objects = append(objects, invocation.Object{Bucket: bucketName, Keys: []string{"exports/a.jsonl"}})
	skipped := []invocation.Skipped{{Reason: "record 3 of the event: unknown"}}
	pass, err := p.pass(invocation.Event{Objects: objects, Skipped: skipped})
	if err != nil {
		t.Fatalf("got %v, want no error", err)
	}
	seen := map[string]scheduler.JobResult{}
	for _, d := range pass.Done {
		seen[d.Key] = d
	}
	if d := seen["exports/a.jsonl"]; d.What != "start" || d.Counts.Imported != 1 {
		t.Errorf("got %+v, want the export imported", d)
	}
	for name, reason := range strange {
		name = strings.ToValidUTF8(name, "\uFFFD")
		if d := seen[name]; d.What != "skip" || !strings.Contains(d.Reason, reason) {
			t.Errorf("%q: got %+v, want it skipped because of %q", name, d, reason)
		}
	}
	if d := seen["exports/b.jsonl"]; d.What != "skip" || !strings.Contains(d.Reason, `bucket "another"`) {
		t.Errorf("got %+v, want the object in another bucket skipped", d)
	}
	if d := seen[""]; d.What != "skip" || d.Reason != "record 3 of the event: unknown" {
		t.Errorf("got %+v, want the unreadable record skipped", d)
	}
	logged := strings.Count(p.log.String(), `"msg":"record skipped"`)
	logged += strings.Count(p.log.String(), `"msg":"object skipped"`)
	if want := len(strange) + 2; logged != want {
		t.Errorf("got %d log lines about skipped records, want %d:\n%s", logged, want, p.log.String())
	}
	pass, err = p.pass(invocation.Event{Objects: objects[:1]})
	if _, ok := errors.AsType[*invocation.ConfigError](err); !ok {
		t.Errorf("got %+v, %v, want a ConfigError if all objects are in another bucket", pass, err)
	}
}

func TestHandler_NoTask(t *testing.T) {
	p := newPlatform(t)
	if pass, err := p.pass(invocation.Event{}); err != nil || pass.Imports != 0 || len(pass.Done) != 0 {
		t.Errorf("got %+v, %v", pass, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.event = resume
	if _, err := p.Do(ctx, invocation.ID{Request: "request-2"}, nil); !strings.Contains(fmt.Sprint(err), "time is up") {
		t.Errorf("got %v, want an error about the deadline", err)
	}
}

func TestHandler_ClearTextEndpoint(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	p.env["TIM_ENDPOINT"] = "http://192.0.2.1"
	_, err := p.pass(invocation.Event{Action: &scheduler.Action{}})
	if _, ok := errors.AsType[*invocation.ConfigError](err); !ok || !strings.Contains(err.Error(), "clear text") {
		t.Errorf("got %v, want a *ConfigError about clear text", err)
	}
}

func TestHandler_Batch(t *testing.T) {
	object := func(message, bucket, key string) invocation.Object {
		return invocation.Object{Bucket: bucket, Keys: []string{key}, Message: message}
	}
	good, next := object("good", bucketName, "exports/a.jsonl"), object("next", bucketName, "exports/b.jsonl")
	foreign := object("foreign", "another", "exports/a.jsonl")
	unreadable := []invocation.Skipped{{Reason: "record 2 of the event: unreadable", Message: "unreadable"}}
	down, gone := object("down", bucketName, "exports/down.jsonl"), object("gone", bucketName, "exports/gone.jsonl")
	for _, c := range []struct {
		name    string
		objects []invocation.Object
		skipped []invocation.Skipped
		want    string // response
		fails   bool
	}{
		{"all messages succeed", []invocation.Object{good, next}, nil, `[]`, false},
		{"a message that cannot be read", []invocation.Object{good}, unreadable, `["unreadable"]`, false},
		{"an object in another bucket", []invocation.Object{foreign, good}, nil, `["foreign"]`, false},
		{"an import that fails", []invocation.Object{good, down, next}, nil, `["down"]`, false},
		{"an object that was removed", []invocation.Object{gone}, nil, `[]`, false},
		{"every message fails", []invocation.Object{down}, unreadable, ``, true},
		{"a message without an ID", []invocation.Object{good}, []invocation.Skipped{{Reason: "unreadable"}}, ``, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlatform(t)
			p.Batch = func(failed []string) any { return append([]string{}, failed...) }
			for _, key := range []string{"exports/a.jsonl", "exports/b.jsonl", "exports/down.jsonl"} {
				if err := p.store.Put(t.Context(), key, strings.NewReader(`{"Type":"Public","Name":"x"}`)); err != nil {
					t.Fatal(err)
				}
			}
			p.store.Fail = func(op blobtest.Op) blobtest.Fault {
				if op.Key == "exports/down.jsonl" {
					return blobtest.Fault{Err: errors.New("the store is down")}
				}
				return blobtest.Fault{}
			}
			p.event = invocation.Event{Objects: c.objects, Skipped: c.skipped, IsBatch: true}
			response, err := p.do()
			if string(response) != c.want || (err != nil) != c.fails {
				t.Errorf("got %s, %v, want %s, error: %v", response, err, c.want, c.fails)
			}
			hasGood := slices.ContainsFunc(c.objects, func(o invocation.Object) bool { return o.Message == "good" })
			if hasGood && p.service.Stats().Created == 0 {
				t.Error("got no group, want the good message imported")
			}
			if c.want != "" && c.want != "[]" && !strings.Contains(p.log.String(), `"message_ids":`+c.want) {
				t.Errorf("got a log without the messages that failed:\n%s", p.log.String())
			}
		})
	}
}

func TestHandler_PlatformThatHidesCallers(t *testing.T) {
	for _, c := range []struct {
		auth   string
		status int
		says   string // log
	}{
		{"platform", 503, "HTTP_AUTH=platform-unverified"},
		{"platform-unverified", 404, ""},
	} {
		p := newPlatform(t)
		p.HidesCallers = true
		p.env["HTTP_TOKEN"], p.env["HTTP_AUTH"] = "", c.auth
		status, body := p.get(request("/imports/exports/none.jsonl", "", false))
		if status != c.status || !strings.Contains(p.log.String(), c.says) {
			t.Errorf("%s: got %d %s, want %d, and %q in the log:\n%s", c.auth, status, body, c.status, c.says, p.log.String())
		}
		if strings.Contains(body, "HTTP_AUTH") {
			t.Errorf("%s: got %s, want the reason in the log only", c.auth, body)
		}
	}
}
