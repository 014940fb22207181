package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/blob/blobtest/versitygw"
	"groupimport/pkg/check"
	"groupimport/pkg/results"
)

var checkEvent = []byte(`{"action":"check"}`)

// The check needs only the permissions of the import functions, or over HTTP those of HttpFunction. Of its objects only
// the loud probe starts the function.
func TestTemplatePolicies_CoverTheCheck(t *testing.T) {
	actions := map[string]string{
		blobtest.Stat: "s3:GetObject", blobtest.ReadRange: "s3:GetObject", blobtest.Create: "s3:PutObject",
		blobtest.Put: "s3:PutObject", blobtest.Delete: "s3:DeleteObject", blobtest.List: "s3:ListBucket",
		blobtest.CreateUpload: "s3:PutObject", blobtest.UploadPart: "s3:PutObject", blobtest.CompleteUpload: "s3:PutObject",
		blobtest.AbortUpload: "s3:AbortMultipartUpload",
	}
	for place, functions := range map[check.Place][]string{
		check.Function: {"ImportFunction", "ScheduleFunction"}, check.HTTP: {"HttpFunction"},
	} {
		synctest.Test(t, func(t *testing.T) {
			tp := loadTemplate(t, nil)
			e := newEnvironment(t, tp)
			starting := map[string]bool{}
			seen := map[string]bool{}
			var mu sync.Mutex
			var events sync.WaitGroup
			defer events.Wait()
			e.store.Fail = func(op blobtest.Op) blobtest.Fault {
				mu.Lock()
				defer mu.Unlock()
				seen[op.Method] = true
				resource := "arn:aws:s3:::groups/" + op.Key
				if op.Method == blobtest.List {
					resource = "arn:aws:s3:::groups"
				} else if tp.triggers("groups", op.Key) {
					starting[op.Key] = true
					if op.Method == blobtest.Put {
						events.Go(func() {
							time.Sleep(time.Second)
							if _, err := check.Answer(t.Context(), e.store, e.config.Prefix, op.Key, []string{op.Key}, "two"); err != nil {
								t.Error(err)
							}
						})
					}
				}
				for _, function := range functions {
					if !tp.allowed(function, actions[op.Method], resource) {
						t.Errorf("%s may not %s %s, which the check does", function, actions[op.Method], resource)
					}
				}
				return blobtest.Fault{}
			}
			report, err := check.Run(t.Context(), check.Env{
				Place: place, Config: e.config, Bucket: e.store, Prefix: e.config.Prefix, Transport: e.service,
				Platform: &check.Platform{CPU: func() (float64, error) { return 1, nil }},
				Dial:     func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network here") },
			})
			if err != nil || len(seen) < 5 || place == check.Function && len(seen) != len(actions) {
				t.Errorf("got %v and only %v", err, seen)
			}
			want := 0
			if place == check.Function {
				want = 1
				if err := report.PutPage(t.Context(), e.store, e.config.Prefix); err != nil {
					t.Error(err)
				}
			}
			if len(starting) != want {
				t.Errorf("got %v, which start the function, want %d", starting, want)
			}
		})
	}
}

// sts starts a server that returns the identity of the caller if the request is signed for STS.
func sts(t *testing.T) (endpoint string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != "Action=GetCallerIdentity&Version=2011-06-15" ||
			!strings.Contains(r.Header.Get("Authorization"), "/sts/aws4_request") {
			http.Error(w, "<Error><Code>AccessDenied</Code></Error>", http.StatusForbidden)
			return
		}
		_,
			_ = io.WriteString(w,
			"<GetCallerIdentityResult><Arn>arn:aws:sts::1:assumed-role/schedule/x</Arn></GetCallerIdentityResult>")
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestFunction_Check(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	tp := loadTemplate(t, nil)
	c.env["AWS_ENDPOINT_URL_STS"] = sts(t)
	schedule, imports := c.function(time.Minute), c.function(time.Minute)
	stop := make(chan struct{})
	var events sync.WaitGroup
	events.Go(func() { // EventBridge, which has the rules of the template
		for {
			select {
			case <-stop:
				return
			case event := <-c.events:
				var e struct {
					Records []struct {
						S3 struct{ Object struct{ Key string } }
					}
				}
				err := json.Unmarshal(event, &e, json.MatchCaseInsensitiveNames(true))
				if err == nil && len(e.Records) == 1 && tp.triggers(bucketName, e.Records[0].S3.Object.Key) {
					if p, failure := invoke(t, imports, event); failure != nil || len(p.Done) > 0 {
						t.Errorf("got %+v, %+v, want no import of the probe of a check", p, failure)
					}
				}
			}
		}
	})
	r := replyOf(t, schedule, checkEvent)
	close(stop)
	events.Wait()
	report := reportOf(t, r.Response)
	for _, found := range report.Checks {
		// This machine may be busy.
		if found.State != check.OK && !slices.Contains([]string{"function cpu", "im latency"}, found.Name) {
			t.Errorf("got %+v", found)
		}
	}
	for name, says := range map[string]string{
		"function role": "arn:aws:sts::1:assumed-role/schedule/x", "function time": "1m0s", "function memory": "128 MB",
		"trigger export": "群组.jsonl", "trigger two invocations": "was refused the lease",
	} {
		i := slices.IndexFunc(report.Checks, func(r check.Result) bool { return r.Name == name })
		if i < 0 || !strings.Contains(report.Checks[i].Seen, says) {
			t.Errorf("%s: got %+v, want %q", name, report.Checks, says)
		}
	}
	var left []string
	for info, err := range c.bucket.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, info.Key)
	}
	if want := results.CheckPage("exports/"); len(left) != 1 || left[0] != want || report.Page != want {
		t.Errorf("got %v left, and the page %q, want only %s", left, report.Page, want)
	}
	if got := c.service.Stats().Created; got != 0 {
		t.Errorf("got %d groups, want none", got)
	}
	c.checkLog(`"msg":"check ends"`)
}

func reportOf(t *testing.T, response []byte) (report check.Report) {
	t.Helper()
	if err := json.Unmarshal(response, &report); err != nil {
		t.Fatalf("got %q: %v", response, err)
	}
	return report
}

// The check reports missing triggers, missing permissions of the role and a wrong key. The invocation has no error.
func TestFunction_CheckFindsFaults(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.env["AWS_ENDPOINT_URL_STS"], c.env["AWS_SECRET_ACCESS_KEY"] = "http://127.0.0.1:9", "not-"+versitygw.SecretKey
	c.env["TIM_SECRET_KEY"] = "wrong"
	r := replyOf(t, c.function(time.Minute), checkEvent)
	if r.ErrorType != "" {
		t.Fatalf("got %+v", r)
	}
	report := reportOf(t, r.Response)
	states := map[string]check.State{}
	for _, found := range report.Checks {
		states[found.Name] = found.State
	}
	for name, want := range map[string]check.State{
		"bucket write": check.Failed, "im access": check.Failed, "function role": check.Warning, "im host": check.OK,
	} {
		if states[name] != want {
			t.Errorf("%s: got %s, want %s", name, states[name], want)
		}
	}
	if report.State != check.Failed || report.Page != "" {
		t.Errorf("got %s and the page %q, want failures and no page", report.State, report.Page)
	}
	c.checkLog(`"msg":"page of the check not written"`)
}
