package invocation_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"groupimport/functions/internal/functest"
	"groupimport/functions/internal/invocation"
)

func (p *platform) export(key string) invocation.Event {
	p.t.Helper()
	if err := p.store.Put(p.t.Context(), key, strings.NewReader(record)); err != nil {
		p.t.Fatal(err)
	}
	return invocation.Event{Objects: []invocation.Object{{Bucket: bucketName, Keys: []string{key}}}}
}

const record = `{"Type":"Public","Name":"x","GroupId":"g"}`

func TestHandler_Notifies(t *testing.T) {
	h := functest.NewWebhook(t, nil)
	p := newPlatform(t)
	p.Scheme, p.env["NOTIFY_URL"] = "s3", h.URL
	ev := p.export("exports/a.jsonl")
	if _, err := p.pass(ev); err != nil {
		t.Fatal(err)
	}
	const want = "groupimport: s3://groups/exports/a.jsonl: finished. 1 imported. " +
		"Report: s3://groups/exports/a.jsonl.report.html"
	if got := h.Texts(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for range 2 { // a duplicate event, and a pass
		if _, err := p.pass(ev); err != nil {
			t.Fatal(err)
		}
		if _, err := p.pass(resume); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.Texts(); got != "" {
		t.Errorf("got %q once more", got)
	}

	p.env["TIM_SECRET_KEY"] = "another key"
	ev = p.export("exports/b.jsonl")
	for range 3 { // the platform retries
		if _, err := p.pass(ev); err == nil {
			t.Error("got no error with a wrong key")
		}
	}
	if got := h.Texts(); strings.Count(got, "\n") != 0 || !strings.Contains(got, "b.jsonl: stopped: ") {
		t.Errorf("got %q, want it stopped once", got)
	}
	p.env["TIM_SECRET_KEY"] = key
	p.env["MAPPING"] = "own.jq" // there is none
	ev = p.export("exports/c.jsonl")
	for range 3 {
		if _, err := p.pass(ev); err == nil {
			t.Error("got no error without the mapping")
		}
	}
	if got := h.Texts(); strings.Count(got, "\n") != 0 || !strings.Contains(got, "c.jsonl: stopped: ") ||
		!strings.Contains(got, "own.jq") {
		t.Errorf("got %q, want it stopped once because of the mapping", got)
	}
	if log := p.log.String(); strings.Contains(log, h.URL) {
		t.Errorf("got a log with the URL:\n%s", log)
	}
}

// TestHandler_WebhookThatHangs has a webhook that never responds. The import does not wait for the webhook. The
// invocation waits until a second before its deadline.
func TestHandler_WebhookThatHangs(t *testing.T) {
	release := make(chan struct{})
	h := functest.NewWebhook(t, func(*http.Request) { <-release })
	defer close(release)
	p := newPlatform(t)
	p.env["NOTIFY_URL"] = h.URL
	p.event = p.export("exports/a.jsonl")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	start := time.Now()
	response, err := p.Do(ctx, invocation.ID{Request: "request-1"}, nil)
	took := time.Since(start)
	if err != nil || !strings.Contains(string(response), `"state":"finished"`) {
		t.Errorf("got %s, %v, want it finished", response, err)
	}
	if took > 3500*time.Millisecond || ctx.Err() != nil {
		t.Errorf("got an invocation of %v, want it to end a second before its deadline of 4 s", took)
	}
}

func TestHandler_WebhookFromSecretStore(t *testing.T) {
	signed := make(chan bool, 10)
	h := functest.NewWebhook(t, func(r *http.Request) { signed <- r.Header.Get("X-Groupimport-Signature") != "" })
	p := newPlatform(t)
	p.env["NOTIFY_PARAMETER"] = "/n"
	content, failure := h.URL+"\nthe secret\n", error(nil)
	asked := 0
	p.Secret = func(_ context.Context, name string) (string, error) {
		if asked++; name != "/n" {
			t.Errorf("got a request for %q", name)
		}
		return content, failure
	}
	if _, err := p.pass(resume); err != nil || asked > 0 {
		t.Errorf("got %v and %d requests to the store without a notification, want none", err, asked)
	}
	if _, err := p.pass(p.export("exports/a.jsonl")); err != nil {
		t.Fatal(err)
	}
	if got := h.Texts(); !strings.Contains(got, "a.jsonl: finished") || !<-signed {
		t.Errorf("got %q, want it finished, and signed", got)
	}
	content = "not a URL"
	if _, err := p.pass(p.export("exports/b.jsonl")); err != nil {
		t.Errorf("got %v, want it imported without a webhook", err)
	}
	content, failure = "", errors.New("the secret store is down")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	p.event = p.export("exports/c.jsonl")
	if _, err := p.Do(ctx, invocation.ID{}, nil); err != nil {
		t.Errorf("got %v, want it imported without a webhook", err)
	}

	p = newPlatform(t)
	p.env["NOTIFY_PARAMETER"] = "/n"
	if _, err := p.pass(p.export("exports/a.jsonl")); err != nil ||
		!strings.Contains(p.log.String(), "NOTIFY_PARAMETER is not read on this platform") {
		t.Errorf("got %v and the log %s", err, p.log.String())
	}
}
