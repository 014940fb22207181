package main

import (
	"context"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/functions/internal/functest"
	"groupimport/functions/scf/scftest"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/blob/cosblob/costest"
	"groupimport/pkg/emulator"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

var program = functest.Program{Name: "main", Tags: "nethttpomithttp2"}

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

const (
	bucketName = "groups-1250000000"
	secretKey  = functest.SecretKey
)

// A cloud has a bucket on a server of COS's protocol, an IM service behind TLS, and the environment of the function.
type cloud struct {
	t       *testing.T
	bucket  *blobtest.Bucket
	cos     *costest.Server
	service *emulator.Service
	env     map[string]string // sent with each event
	process []string          // of the process from its start
	log     functest.Log
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{t: t, bucket: &blobtest.Bucket{}}
	key := costest.Key{ID: "AKID-role", Secret: "role-secret-one", Token: "role-token-one"}
	c.cos = costest.New(costest.Options{Objects: c.bucket, Keys: []costest.Key{key}})
	t.Cleanup(func() { c.cos.Close() })
	store := httptest.NewServer(c.cos)
	t.Cleanup(store.Close)
	var certificate string
	c.service, c.env, certificate = functest.Service(t)
	c.process = []string{"SSL_CERT_FILE=" + certificate}
	maps.Copy(c.env, map[string]string{
		"EXPORT_BUCKET": bucketName, "COS_ENDPOINT": store.URL, "TENCENTCLOUD_REGION": "ap-guangzhou",
		"TENCENTCLOUD_SECRETID": key.ID, "TENCENTCLOUD_SECRETKEY": key.Secret, "TENCENTCLOUD_SESSIONTOKEN": key.Token,
	})
	t.Cleanup(func() { c.log.Check(t, secretKey, headerSecret, "role-secret", "role-token") })
	return c
}

// function returns one instance of the function. tune may change its settings; it may be nil.
func (c *cloud) function(timeout time.Duration, tune func(*scftest.Config)) *scftest.Runtime {
	c.t.Helper()
	config := scftest.Config{
		Binary: program.File(c.t), Timeout: timeout, Log: &c.log, Env: c.process,
		Environment: func() map[string]string { return c.env },
	}
	if tune != nil {
		tune(&config)
	}
	f := scftest.New(config)
	c.t.Cleanup(f.Close)
	return f
}

func (c *cloud) put(key string, lines ...string) {
	c.t.Helper()
	functest.Put(c.t, c.bucket, key, lines...)
}

// replyOf returns the reply of the function to an event.
func replyOf(t *testing.T, f *scftest.Runtime, payload []byte) functest.Reply {
	t.Helper()
	r, err := f.Invoke(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	if r.Start > 0 {
		t.Logf("the process responded for the first time after %v", r.Start)
	}
	reply := functest.Reply{Response: r.Response}
	if r.Error != nil {
		reply.ErrorType, reply.Message = r.Error.Type, r.Error.Message
	}
	return reply
}

// invoke invokes the function with an event that is not an HTTP request.
func invoke(t *testing.T, f *scftest.Runtime, payload []byte) (pass scheduler.Result, failure *functest.Reply) {
	t.Helper()
	r := replyOf(t, f, payload)
	return r.Pass(t)
}

// importOf returns the import of exports/acme.jsonl with n records, which it puts into the bucket.
func (c *cloud) importOf(n int, f *scftest.Runtime) *functest.Import {
	c.t.Helper()
	c.put("exports/acme.jsonl", functest.Records(n)...)
	return &functest.Import{
		Bucket: c.bucket, Key: "exports/acme.jsonl", Records: n, Service: c.service,
		Created: cosEvent(acme), Resume: resumeEvent,
		Invoke: func(event []byte) functest.Reply { return replyOf(c.t, f, event) },
	}
}

func (c *cloud) outcomes(key string) []outcome.Outcome {
	c.t.Helper()
	return functest.Outcomes(c.t, c.bucket, key)
}

const acme = "/1250000000/groups/exports/acme.jsonl"

var resumeEvent = []byte(`{"Type":"Timer","TriggerName":"resume","Time":"2026-11-22T10:00:00Z","Message":"resume"}`)

func TestFunction_ImportOverInvocations(t *testing.T) {
	t.Parallel()
	functest.Patiently(t, func(timeout time.Duration) bool {
		const rate = 200
		n := int(timeout.Seconds() * rate * 15 / 8) // two and a half times the records that one invocation can import
		c := newCloud(t)
		c.env["TIM_RATE"] = strconv.Itoa(rate)
		f := c.function(timeout, nil)
		invocations, ok := c.importOf(n, f).OverInvocations(t)
		if !ok {
			return false
		}
		f.Close()
		functest.CheckUsage(t, f.Usage(), invocations, n)
		for _, field := range []string{
			`"msg":"run ends"`, `"state":"finished"`, `"run":{"imported":`, `"p99_ms":`, `"request_id":"`,
		} {
			if !c.log.Await(field) {
				t.Errorf("got no %s in the log, which operators rely on", field)
			}
		}
		return true
	})
}

func TestFunction_KilledProcesses(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.env["TIM_RATE"] = "500"
	f := c.function(time.Minute, nil)
	// The program writes a part of the results every 1.5 s. The first kill is before the first part, the second one
	// after it.
	c.importOf(2000, f).DespiteKills(t, f.Kill, 150, 1100)
}

func TestFunction_KeysRawOrEscaped(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.env["ONE_AT_A_TIME"] = "false"
	for key, inEvent := range map[string]string{
		"exports/plain.jsonl":      "exports/plain.jsonl",
		"exports/with space.jsonl": "exports/with space.jsonl",
		"exports/two words.jsonl":  "exports/two%20words.jsonl",
		"exports/a+b.jsonl":        "exports/a+b.jsonl",
		"exports/100%.jsonl":       "exports/100%.jsonl",
		"exports/50%25.jsonl":      "exports/50%25.jsonl",
		"exports/群组/导出.jsonl":      "exports/群组/导出.jsonl",
		"exports/群.jsonl":          "exports/%E7%BE%A4.jsonl",
	} {
		c.put(key, `{"Type":"Public","Name":"x"}`)
		f := c.function(time.Minute, nil)
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			p, failure := invoke(t, f, cosEvent("/1250000000/groups/"+inEvent))
			if failure != nil || len(p.Done) != 1 || p.Done[0].Key != key || p.Done[0].State != results.Finished {
				t.Errorf("got %+v, %+v, want it finished", p, failure)
			}
		})
	}
}

func TestFunction_RenewedCredentials(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	f := c.function(time.Minute, nil)
	c.put("exports/acme.jsonl", functest.Records(3)...)
	c.put("exports/next.jsonl", functest.Records(3)...)
	if p, failure := invoke(t, f, cosEvent(acme)); failure != nil || len(p.Done) != 1 ||
		p.Done[0].State != results.Finished {
		t.Fatalf("got %+v, %+v", p, failure)
	}
	renewed := costest.Key{ID: "AKID-role", Secret: "role-secret-two", Token: "role-token-two"}
	c.cos.SetKeys(costest.Key{ID: "AKID-role", Secret: "role-secret-one", Token: "role-token-one", Expired: true})
	next := cosEvent("/1250000000/groups/exports/next.jsonl")
	if _, failure := invoke(t, f, next); failure == nil || failure.ErrorType != "RunError" ||
		!strings.Contains(failure.Message, "have expired") ||
		strings.Contains(failure.Message, "allow name/cos:") {
		t.Errorf("with keys that have expired: got %+v, want a RunError about it, and none about the policy", failure)
	}
	c.cos.SetKeys(renewed)
	c.env["TENCENTCLOUD_SECRETKEY"], c.env["TENCENTCLOUD_SESSIONTOKEN"] = renewed.Secret, renewed.Token
	if p, failure := invoke(t, f, next); failure != nil || len(p.Done) != 1 || p.Done[0].State != results.Finished {
		t.Errorf("got %+v, %+v, want the same process to use the renewed ones", p, failure)
	}
	f.Close()
	if u := f.Usage(); u.Processes != 1 {
		t.Errorf("got %d processes, want one", u.Processes)
	}
}

func TestFunction_InvalidRecordsInAnEvent(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.put("exports/acme.jsonl", functest.Records(3)...)
	f := c.function(time.Minute, nil)
	good := strings.TrimSuffix(strings.TrimPrefix(string(cosEvent(acme)), `{"Records":[`), `]}`)
	p, failure := invoke(t, f, []byte(`{"Records":[{"CMQ":{}},`+good+`,7]}`))
	if failure != nil || len(p.Done) != 3 || p.Done[0].State != results.Finished || p.Done[1].What != "skip" ||
		!strings.Contains(p.Done[2].Reason, "not a record of COS") {
		t.Errorf("got %+v, %+v, want the good one finished, and the others skipped with a reason", p, failure)
	}
	// The same with an object in another bucket.
	c.put("exports/next.jsonl", functest.Records(3)...)
	other := strings.ReplaceAll(strings.ReplaceAll(good, `"name":"groups"`, `"name":"others"`), "/groups/", "/others/")
	next := strings.ReplaceAll(good, "acme.jsonl", "next.jsonl")
	p, failure = invoke(t, f, []byte(`{"Records":[`+other+`,`+next+`]}`))
	if failure != nil || len(p.Done) != 2 || !strings.Contains(p.Done[1].Reason, "others-1250000000") {
		t.Errorf("got %+v, %+v, want a reason that names the other bucket", p, failure)
	}
	if got := len(c.outcomes("exports/next.jsonl")); got != 3 {
		t.Errorf("got %d outcomes, want the good one imported", got)
	}
}

func TestFunction_KeysThatCOSCannotRead(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	f := c.function(time.Minute, nil)
	for _, key := range []string{
		`exports/back\\slash.jsonl`, "exports//empty.jsonl", "exports/../up.jsonl", "exports/%FF.jsonl",
	} {
		p, failure := invoke(t, f, cosEvent("/1250000000/groups/"+key))
		if failure != nil || len(p.Done) != 1 || p.Done[0].What != "skip" || p.Done[0].Reason == "" {
			t.Errorf("%s: got %+v, %+v, want it skipped with a reason", key, p, failure)
		}
	}
}

func TestFunction_NoDeadlineInTheRequest(t *testing.T) {
	t.Parallel()
	functest.Patiently(t, func(timeout time.Duration) bool {
		c := newCloud(t)
		c.put("exports/acme.jsonl", functest.Records(int(timeout.Seconds()*200))...)
		f := c.function(timeout, func(config *scftest.Config) { config.NoDeadline = true })
		p, failure := invoke(t, f, cosEvent(acme))
		if failure != nil {
			t.Logf("got %s: %s", failure.ErrorType, failure.Message)
			return false
		}
		if len(p.Done) != 1 || p.Done[0].State != results.Waiting || p.Done[0].Counts.Imported == 0 {
			t.Errorf("got %+v, want some records imported before the time limit", p)
		}
		return true
	})
}

func TestFunction_ErrorTypes(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.put("exports/acme.jsonl", functest.Records(3)...)
	f := c.function(time.Minute, nil)
	for _, x := range []struct {
		name       string
		env        map[string]string
		payload    []byte
		kind, says string
	}{
		{"an unknown format", nil, []byte(`{"hello":"world"}`), "EventError", "timers whose message"},
		{
			"another bucket",
			map[string]string{"EXPORT_BUCKET": "other-1250000000"},
			cosEvent(acme), "ConfigError",
			"other-1250000000",
		},
		{
			"settings that are missing",
			map[string]string{"TIM_SDKAPPID": "", "TIM_RATE": "x"},
			resumeEvent, "ConfigError",
			"TIM_SDKAPPID",
		},
		{
			"a secret whose name is wrong",
			map[string]string{"TIM_SECRET_KEY": "", "TIM_SECRET_KEY_PARAMETER": "/x"},
			resumeEvent, "SecretError", "TIM_SECRET_KEY_PARAMETER",
		},
		{
			"no role",
			map[string]string{"TENCENTCLOUD_SECRETID": "", "EXPORT_BUCKET": "fourth-1250000000"},
			resumeEvent,
			"ConfigError", "the function has no role",
		},
		{
			"a region that is none",
			map[string]string{"COS_REGION": "Guangzhou", "EXPORT_BUCKET": "fifth-1250000000"},
			resumeEvent, "ConfigError", "COS_REGION",
		},
		{
			"a prefix that is no folder",
			map[string]string{"EXPORT_PREFIX": "exports"},
			resumeEvent, "ConfigError",
			"EXPORT_PREFIX",
		},
		{
			"a request that is none",
			map[string]string{"HTTP_TOKEN": "a-token-of-some-length"},
			[]byte(`{"httpMethod":"GET","path":"/","headers":5}`), "EventError", "not a request of a function URL",
		},
		{"a secret key that is wrong", map[string]string{"TENCENTCLOUD_SECRETKEY": "wrong"}, cosEvent(acme), "RunError", ""},
		{
			"a key that the service refuses",
			map[string]string{"TIM_SECRET_KEY": "wrong"},
			cosEvent(acme), "StoppedError",
			"exports/acme.jsonl",
		},
		{"and fixed", nil, cosEvent(acme), "", ""},
	} {
		saved := map[string]string{}
		for name, value := range x.env {
			saved[name] = c.env[name] // a variable that is no longer sent keeps its value in the process
			c.env[name] = value
		}
		p, failure := invoke(t, f, x.payload)
		maps.Copy(c.env, saved)
		switch {
		case x.kind == "" && (failure != nil || len(p.Done) != 1 || p.Done[0].State != results.Finished):
			t.Errorf("%s: got %+v, %+v, want it finished", x.name, p, failure)
		case x.kind != "" && (failure == nil || failure.ErrorType != x.kind || !strings.Contains(failure.Message, x.says)):
			t.Errorf("%s: got %+v, %+v, want a %s with %q", x.name, p, failure, x.kind, x.says)
		}
	}
}

func TestFunction_BucketThatHadVersioning(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.cos = costest.New(costest.Options{
		Objects: c.bucket, Versioning: "Suspended",
		Keys: []costest.Key{{ID: "AKID-role", Secret: "role-secret-one", Token: "role-token-one"}},
	})
	t.Cleanup(func() { c.cos.Close() })
	store := httptest.NewServer(c.cos)
	t.Cleanup(store.Close)
	c.env["COS_ENDPOINT"] = store.URL
	c.put("exports/acme.jsonl", functest.Records(3)...)
	if _, failure := invoke(t, c.function(time.Minute, nil), cosEvent(acme)); failure == nil ||
		failure.ErrorType != "RunError" || !strings.Contains(failure.Message, "versioning") {
		t.Errorf("got %+v, want a RunError about versioning", failure)
	}
	if got := c.service.Stats().Requests; got != 0 {
		t.Errorf("got %d requests to the service, want none", got)
	}
	c.env["COS_VERSIONED_OK"] = "true" // which version 1 knew
	_, failure := invoke(t, c.function(time.Minute, nil), cosEvent(acme))
	if failure == nil || failure.ErrorType != "RunError" ||
		!c.log.Await("COS_VERSIONED_OK is no longer used") {
		t.Errorf("got %+v, want a RunError, and the variable named in the log", failure)
	}
}

func TestFunction_ProcessThatExits(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	f := c.function(time.Minute, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c.put("exports/acme.jsonl", functest.Records(2000)...)
	go func() {
		for c.service.Stats().Imports < 100 {
			time.Sleep(10 * time.Millisecond)
		}
		f.Kill() // like a panic in a goroutine
	}()
	if r, err := f.Invoke(ctx, cosEvent(acme)); err != nil || r.Error == nil || r.Error.Type != scftest.Exited {
		t.Errorf("got %+v, %v, want the platform to see that the process exited", r, err)
	}
	if p, failure := invoke(t, f, resumeEvent); failure != nil || p.Left != 1 ||
		!strings.Contains(p.Reason, "uses the shared rate") {
		t.Errorf("got %+v, %+v, want the dead run's lease respected", p, failure)
	}
}

func TestMain_WithoutThePlatform(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(program.File(t))
	cmd.Env = []string{"PATH=/nowhere"}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "_LAMBDA_SERVER_PORT") {
		t.Errorf("got %q, %v, want an error that names the variable", out, err)
	}
}

func TestFunction_HTTPRequests(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	const token = "a-token-of-some-length"
	c.env["HTTP_TOKEN"] = token
	f := c.function(30*time.Second, nil)
	const group = `{"Type":"Public","Name":"x","GroupId":"x"}`
	for _, x := range []struct {
		method, path, body, token string
		status                    int
		says                      string
	}{
		{"GET", "/healthz", "", "", 200, ""},
		{"POST", "/groups", group, "", 401, ""},
		{"POST", "/groups", group, "a-token-of-some-lengti", 401, ""},
		{"POST", "/groups", group, token, 201, `"imported"`},
		{"POST", "/groups", group, token, 200, `"exists"`},
		{"GET", "/imports", "", token, 200, ""},
	} {
		raw, err := json.Marshal(map[string]any{
			"httpMethod": x.method, "path": x.path, "queryString": map[string]string{}, "body": x.body,
			"headers": map[string]string{
				"content-type": "application/json", "authorization": "Bearer " + x.token, "x-scf-remote-addr": "10.0.0.1",
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		r, err := f.Invoke(t.Context(), raw)
		if err != nil || r.Error != nil {
			t.Fatalf("got %+v, %v", r.Error, err)
		}
		var response struct {
			StatusCode int    `json:"statusCode"`
			Body       string `json:"body"`
		}
		if err := json.Unmarshal(r.Response, &response); err != nil || response.StatusCode != x.status ||
			!strings.Contains(response.Body, x.says) {
			t.Errorf("%s %s: got %s, %v, want %d with %s", x.method, x.path, r.Response, err, x.status, x.says)
		}
	}
	if strings.Contains(c.log.String(), token) {
		t.Error("the log contains the token")
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
	if _, failure := invoke(t, c.function(time.Minute, nil), cosEvent(acme)); failure != nil {
		t.Errorf("got %+v, want no error", failure)
	}
	hostile.Check(t, &c.log)
}

func TestFunction_ManyExportsAtOnce(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	functest.Together(t, c.bucket, c.service, func(key string) functest.Reply {
		return replyOf(t, c.function(time.Minute, nil), cosEvent("/1250000000/groups/"+key))
	})
}

func TestFunction_ResultsInParts(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	functest.FinishInParts(t, c.bucket, func(key string) functest.Reply {
		return replyOf(t, c.function(time.Minute, nil), cosEvent("/1250000000/groups/"+key))
	})
}
