package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/functions/internal/functest"
	"groupimport/functions/lambda/lambdatest"
	"groupimport/pkg/blob/blobtest/versitygw"
	"groupimport/pkg/blob/s3blob"
	"groupimport/pkg/emulator"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

var program = functest.Program{Name: "bootstrap", Tags: "lambda.norpc,nethttpomithttp2"}

func TestMain(m *testing.M) {
	status := program.Main(m)
	sharedMoto.stop()
	os.Exit(status)
}

const (
	bucketName = "groups"
	secretKey  = functest.SecretKey
)

// A cloud has a bucket on a real S3 server, an IM service behind TLS, and the environment of the function.
type cloud struct {
	t       *testing.T
	s3      *versitygw.Server
	bucket  *s3blob.Bucket
	service *emulator.Service
	env     map[string]string
	log     functest.Log
	events  chan []byte // of the store, about changed objects
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{t: t, events: make(chan []byte, 1000)}
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		event, err := io.ReadAll(r.Body)
		if err == nil {
			c.events <- event
		}
	}))
	t.Cleanup(hook.Close)
	c.s3 = versitygw.Start(t, "--event-webhook-url", hook.URL)
	c.s3.MakeBucket(bucketName)
	var err error
	if c.bucket, err = s3blob.Open(c.s3.Getenv, bucketName, nil); err != nil {
		t.Fatal(err)
	}
	var certificate string
	c.service, c.env, certificate = functest.Service(t)
	c.env["SSL_CERT_FILE"], c.env["EXPORT_BUCKET"] = certificate, bucketName
	for _, name := range []string{"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3"} {
		c.env[name] = c.s3.Getenv(name)
	}
	t.Cleanup(func() { c.log.Check(t, secretKey, versitygw.SecretKey) })
	return c
}

// function returns one instance of the function.
func (c *cloud) function(timeout time.Duration) *lambdatest.Runtime {
	c.t.Helper()
	config := lambdatest.Config{Binary: program.File(c.t), Timeout: timeout, Log: &c.log}
	for name, value := range c.env {
		config.Env = append(config.Env, name+"="+value)
	}
	f := lambdatest.New(config)
	c.t.Cleanup(f.Close)
	return f
}

func (c *cloud) put(key string, lines ...string) {
	c.t.Helper()
	functest.Put(c.t, c.bucket, key, lines...)
}

// event returns the store's event about the object.
func (c *cloud) event(key string) []byte {
	c.t.Helper()
	late := time.After(30 * time.Second)
	for {
		select {
		case event := <-c.events:
			var e struct {
				Records []struct {
					S3 struct{ Object struct{ Key string } }
				}
			}
			err := json.Unmarshal(event, &e, json.MatchCaseInsensitiveNames(true))
			if err == nil && len(e.Records) == 1 && e.Records[0].S3.Object.Key == key {
				return event
			}
		case <-late:
			c.t.Fatalf("no event about %s", key)
		}
	}
}

// s3Event returns an event as S3 sends it.
func s3Event(key string) []byte {
	escaped := strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
	return []byte(`{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put",` +
		`"s3":{"bucket":{"name":"` + bucketName + `"},"object":{"key":"` + escaped + `"}}}]}`)
}

// replyOf returns the reply of the function to an event.
func replyOf(t *testing.T, f *lambdatest.Runtime, payload []byte) functest.Reply {
	t.Helper()
	r, err := f.Invoke(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	if r.Start > 0 {
		t.Logf("the process asked for its first event after %v", r.Start)
	}
	reply := functest.Reply{Response: r.Response}
	if r.Error != nil {
		reply.ErrorType, reply.Message = r.Error.Type, r.Error.Message
	}
	return reply
}

// invoke invokes the function with an event that is not an HTTP request.
func invoke(t *testing.T, f *lambdatest.Runtime, payload []byte) (pass scheduler.Result, failure *functest.Reply) {
	t.Helper()
	r := replyOf(t, f, payload)
	return r.Pass(t)
}

// importOf returns the import of an export of n records, which it puts into the bucket.
func (c *cloud) importOf(key string, n int, f *lambdatest.Runtime) *functest.Import {
	c.t.Helper()
	c.put(key, functest.Records(n)...)
	return &functest.Import{
		Bucket: c.bucket, Key: key, Records: n, Service: c.service, Created: c.event(key), Resume: resumeEvent,
		Invoke: func(event []byte) functest.Reply { return replyOf(c.t, f, event) },
	}
}

func (c *cloud) outcomes(key string) []outcome.Outcome {
	c.t.Helper()
	return functest.Outcomes(c.t, c.bucket, key)
}

var resumeEvent, retryEvent = []byte(`{"action":"resume"}`), []byte(`{"action":"retry"}`)

func TestFunction_ImportOverInvocations(t *testing.T) {
	t.Parallel()
	functest.Patiently(t, func(timeout time.Duration) bool {
		const rate = 200
		n := int(timeout.Seconds() * rate * 15 / 8) // two and a half times the records that one invocation can import
		c := newCloud(t)
		c.env["TIM_RATE"] = strconv.Itoa(rate)
		f := c.function(timeout)
		invocations, ok := c.importOf("exports/acme.jsonl", n, f).OverInvocations(t)
		if !ok {
			return false
		}
		f.Close()
		functest.CheckUsage(t, f.Usage(), invocations, n)
		for _, field := range []string{
			`"msg":"run ends"`, `"state":"finished"`, `"run":{"imported":`, `"request_id":"`,
			`"CloudWatchMetrics":[{"Namespace":"groupimport"`, `"StoppedImports":0`,
		} {
			if !c.log.Await(field) {
				t.Errorf("got no %s in the log, which operators and alarms rely on", field)
			}
		}
		return true
	})
}

func TestFunction_KilledProcesses(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.env["TIM_RATE"] = "500"
	f := c.function(time.Minute)
	// The program writes a part of the results every 1.5 s. The first kill is before the first part, the second one
	// after it.
	c.importOf("exports/acme.jsonl", 2000, f).DespiteKills(t, f.Kill, 150, 1100, 1500)
}

func TestFunction_KeysOfAllKinds(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	f := c.function(time.Minute)
	for _, key := range []string{
		"exports/plain.jsonl", "exports/with space.jsonl", "exports/a+b.jsonl", "exports/100%.jsonl", "exports/50%25.jsonl",
		"exports/群组/导出.jsonl", "exports/q?a=1&b#c.jsonl", "exports/x.jsonl.import/y.jsonl",
	} {
		c.put(key, `{"Type":"Public","Name":"x"}`)
		for name, payload := range map[string][]byte{"the store's event": c.event(key), "as S3 sends it": s3Event(key)} {
			p, failure := invoke(t, f, payload)
			if failure != nil || len(p.Done) != 1 || p.Done[0].Key != key || p.Done[0].State != results.Finished {
				t.Errorf("%s, %s: got %+v, %+v, want it finished", key, name, p, failure)
			}
		}
		if got := c.outcomes(key); len(got) != 1 || got[0].Status != outcome.Imported {
			t.Errorf("%s: got %+v, want it imported", key, got)
		}
	}
	if s := c.service.Stats(); s.Imports != 8 {
		t.Errorf("got %d calls, want one for each export", s.Imports)
	}
	// The function ignores events about the objects that the program writes. Triggers do not send them.
	before := c.service.Stats().Requests
	for len(c.events) > 0 {
		if _, failure := invoke(t, f, <-c.events); failure != nil {
			t.Errorf("got %+v", failure)
		}
	}
	if got := c.service.Stats().Requests; got != before {
		t.Errorf("got %d requests to the service for events about the program's own objects", got-before)
	}
}

func TestFunction_TwoInstancesAtOnce(t *testing.T) {
	t.Parallel()
	const n = 300
	c := newCloud(t)
	c.put("exports/acme.jsonl", functest.Records(n)...)
	var wait sync.WaitGroup
	states := make([]string, 2)
	for i := range states {
		f := c.function(time.Minute)
		wait.Go(func() {
			r, err := f.Invoke(t.Context(), s3Event("exports/acme.jsonl"))
			states[i] = fmt.Sprint(string(r.Response), r.Error, err)
		})
	}
	wait.Wait()
	if s := c.service.Stats(); s.Imports != n {
		t.Errorf("got %d calls, want %d", s.Imports, n)
	}
	if !slices.ContainsFunc(states, func(s string) bool { return strings.Contains(s, `"state":"finished"`) }) ||
		!slices.ContainsFunc(states, func(s string) bool { return strings.Contains(s, "uses the shared rate") }) {
		t.Errorf("got %q, want one that imports and one that names the owner of the lease", states)
	}
}

func TestFunction_StoreDownForAWhile(t *testing.T) {
	t.Parallel()
	const n = 800
	c := newCloud(t)
	c.put("exports/acme.jsonl", functest.Records(n)...)
	f := c.function(time.Minute)
	done := make(chan lambdatest.Result, 1)
	go func() {
		r, err := f.Invoke(context.WithoutCancel(t.Context()), s3Event("exports/acme.jsonl"))
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	for c.service.Stats().Imports < n/3 {
		time.Sleep(10 * time.Millisecond)
	}
	c.s3.Kill()
	time.Sleep(2 * time.Second) // the program retries for longer
	c.s3.Restart()
	r := <-done
	if r.Error != nil || !strings.Contains(string(r.Response), `"state":"finished"`) {
		t.Logf("got %s, %+v: the run has given up", r.Response, r.Error)
		p, failure := invoke(t, f, resumeEvent)
		if failure != nil || len(p.Done) != 1 || p.Done[0].State != results.Finished {
			t.Fatalf("got %+v, %+v, want it finished by the schedule", p, failure)
		}
	}
	if s := c.service.Stats(); len(c.outcomes("exports/acme.jsonl")) != n || s.Created != n {
		t.Errorf("got %d outcomes and %d groups, want %d", len(c.outcomes("exports/acme.jsonl")), s.Created, n)
	}
}

func TestFunction_ErrorTypes(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.put("exports/acme.jsonl", functest.Records(3)...)
	acme := s3Event("exports/acme.jsonl")
	for _, x := range []struct {
		name       string
		env        map[string]string
		payload    []byte
		kind, says string // of the error; "" without an error
	}{
		{"an unknown format", nil, []byte(`{"hello":"world"}`), "EventError", `{"action":"retry"}`},
		{"another bucket", map[string]string{"EXPORT_BUCKET": "other"}, acme, "ConfigError", "other"},
		{
			"missing settings",
			map[string]string{"TIM_SDKAPPID": "", "TIM_RATE": "x"},
			resumeEvent, "ConfigError",
			"TIM_SDKAPPID",
		},
		{"no bucket for the schedule", map[string]string{"EXPORT_BUCKET": ""}, resumeEvent, "ConfigError", "EXPORT_BUCKET"},
		{"no region", map[string]string{"AWS_REGION": ""}, resumeEvent, "ConfigError", "AWS_REGION"},
		{"a bucket that does not exist", map[string]string{"EXPORT_BUCKET": "nowhere"}, resumeEvent, "RunError", "nowhere"},
		{"wrong credentials", map[string]string{"AWS_SECRET_ACCESS_KEY": "wrong"}, acme, "RunError", ""},
		{"a wrong key", map[string]string{"TIM_SECRET_KEY": "wrong"}, acme, "StoppedError", "exports/acme.jsonl"},
		{"fixed", nil, acme, "", ""},
		{"the schedule without work", nil, retryEvent, "", ""},
	} {
		saved := map[string]string{}
		for name, value := range x.env {
			saved[name] = c.env[name]
			c.env[name] = value
		}
		p, failure := invoke(t, c.function(time.Minute), x.payload)
		maps.Copy(c.env, saved)
		switch {
		case x.kind == "" && failure != nil:
			t.Errorf("%s: got %+v, want no error", x.name, failure)
		case x.kind != "" &&
			(failure == nil || failure.ErrorType != x.kind || !strings.Contains(failure.Message, x.says)):
			t.Errorf("%s: got %+v, %+v, want a %s with %q", x.name, p, failure, x.kind, x.says)
		}
	}
	c.checkLog(`"error_type":"*invocation.ConfigError"`, `"cold_start":true`, `"trace_id":"`+lambdatest.TraceID+`"`)
}

// checkLog checks that every line is a JSON object, with a time that Lambda can read unless it holds metrics, and that
// the log has these texts.
func (c *cloud) checkLog(texts ...string) {
	c.t.Helper()
	for _, text := range texts {
		if !c.log.Await(text) {
			c.t.Errorf("got no %s in the log", text)
		}
	}
	for line := range strings.Lines(c.log.String()) {
		if !strings.HasSuffix(line, "\n") {
			break // the rest of it has not arrived
		}
		var fields struct {
			Timestamp time.Time      `json:"timestamp"`
			Metrics   jsontext.Value `json:"_aws"`
		}
		if err := json.Unmarshal([]byte(line), &fields); err != nil || fields.Timestamp.IsZero() && fields.Metrics == nil {
			c.t.Errorf("got log line %q, %v, want JSON with a timestamp", line, err)
		}
	}
}

func TestFunction_BatchOfSQS(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.put("exports/acme.jsonl", functest.Records(3)...)
	foreign := strings.ReplaceAll(string(s3Event("exports/acme.jsonl")), `"`+bucketName+`"`, `"another"`)
	var records []string
	for id, body := range []string{"hello", string(s3Event("exports/acme.jsonl")), foreign} {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, fmt.Sprintf(`{"eventSource":"aws:sqs","messageId":"m%d","body":%s}`, id, text))
	}
	r := replyOf(t, c.function(time.Minute), []byte(`{"Records":[`+strings.Join(records, ",")+`]}`))
	const want = `{"batchItemFailures":[{"itemIdentifier":"m0"},{"itemIdentifier":"m2"}]}`
	if string(r.Response) != want || r.ErrorType != "" {
		t.Errorf("got %s, %s %s, want %s", r.Response, r.ErrorType, r.Message, want)
	}
	if got := len(c.outcomes("exports/acme.jsonl")); got != 3 {
		t.Errorf("got %d outcomes, want the valid message imported", got)
	}
	c.checkLog(`"message_ids":["m0","m2"]`, `"message_id":"m0"`, `"message_id":"m2"`)
}

func TestFunction_HTTPRequests(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.env["HTTP_AUTH"], c.env["LOG_LEVEL"] = "platform", "debug"
	c.put("exports/acme.jsonl", functest.Records(2)...)
	f := c.function(30 * time.Second)
	request := func(method, path, body, identity string) (status int, text string) {
		t.Helper()
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		r := replyOf(t, f, []byte(`{"version":"2.0","rawPath":"`+path+`","rawQueryString":"",`+
			`"headers":{"content-type":"application/json"},"requestContext":{`+identity+
			`"http":{"method":"`+method+`","path":"`+path+`","sourceIp":"10.0.0.1"}},"body":`+string(b)+
			`,"isBase64Encoded":false}`))
		if r.ErrorType != "" {
			t.Fatalf("got %+v", r)
		}
		var response urlResponse
		if err := json.Unmarshal(r.Response, &response); err != nil {
			t.Fatalf("got response %q: %v", r.Response, err)
		}
		return response.StatusCode, response.Body
	}
	const authenticated = `"authorizer":{"iam":{"userArn":"arn:aws:iam::111122223333:user/x"}},`
	const group = `{"Type":"Public","Name":"x","GroupId":"x"}`
	for _, x := range []struct {
		method, path, body, identity string
		status                       int
		says                         string
	}{
		{"GET", "/healthz", "", "", 200, ""},
		{"POST", "/groups", group, "", 403, "AWS_IAM"},
		{"POST", "/groups", group, authenticated, 201, `"imported"`},
		{"POST", "/groups", group, authenticated, 200, `"exists"`},
		{"POST", "/groups", `{"Type":"None","Name":"x"}`, authenticated, 422, "Type"},
		{"GET", "/imports/exports/acme.jsonl", "", authenticated, 200, `"waiting"`},
	} {
		if status, text := request(x.method, x.path, x.body, x.identity); status != x.status ||
			!strings.Contains(text, x.says) {
			t.Errorf("%s %s: got %d %s, want %d with %s", x.method, x.path, status, text, x.status, x.says)
		}
	}
	if got := c.service.Stats().Created; got != 1 {
		t.Errorf("got %d groups, want one", got)
	}
	for line := range strings.Lines(c.log.String()) {
		isRefusal := strings.Contains(line, `"msg":"http request"`) && strings.Contains(line, `"status":422`)
		if isRefusal && (!strings.Contains(line, `"detail":"`) || !strings.Contains(line, `"request_id":"`)) {
			t.Errorf("got log line %s, want the detail and the ID of the request", line)
		}
	}
	c.checkLog(`"msg":"http request"`, `"status":422`)
	// Without a configuration the response to a caller without credentials does not name the missing variable.
	delete(c.env, "HTTP_AUTH")
	f = c.function(30 * time.Second)
	status, text := request("GET", "/healthz", "", authenticated)
	if status != 503 || strings.Contains(text, "HTTP_TOKEN") || !c.log.Await("HTTP_TOKEN") {
		t.Errorf("got %d %s, want a 503, and HTTP_TOKEN named in the log only", status, text)
	}
	c.env = map[string]string{"HTTP_AUTH": "platform"}
	f = c.function(30 * time.Second)
	for identity, told := range map[string]bool{"": false, authenticated: true} {
		status, text := request("GET", "/healthz", "", identity)
		if status != 503 || strings.Contains(text, "TIM_SDKAPPID") != told {
			t.Errorf("got %d %s, want a 503 that names the missing variable: %v", status, text, told)
		}
	}
}

func TestLog_UnsolicitedResponses(t *testing.T) {
	t.Parallel()
	hostile := &functest.Unsolicited{Body: `{"ActionStatus":"OK","ErrorCode":0}`}
	server := httptest.NewTLSServer(hostile) // with the certificate of all servers of httptest
	t.Cleanup(server.Close)
	c := newCloud(t)
	c.env["TIM_ENDPOINT"] = server.URL
	c.put("exports/acme.jsonl", functest.Records(100)...)
	if _, failure := invoke(t, c.function(time.Minute), s3Event("exports/acme.jsonl")); failure != nil {
		t.Errorf("got %+v, want no error", failure)
	}
	hostile.Check(t, &c.log)
}

func TestFunction_ManyExportsAtOnce(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	functest.Together(t, c.bucket, c.service, func(key string) functest.Reply {
		return replyOf(t, c.function(time.Minute), s3Event(key))
	})
}

func TestFunction_ResultsInParts(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	functest.FinishInParts(t, c.bucket, func(key string) functest.Reply {
		return replyOf(t, c.function(time.Minute), s3Event(key))
	})
}
