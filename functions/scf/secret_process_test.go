package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"groupimport/functions/internal/functest"
	"groupimport/pkg/results"
)

// An ssm emulates Secrets Manager over HTTP, as GetSecretValue of the API version 2019-09-23 is documented.
type ssm struct {
	mu       sync.Mutex
	role     string            // secret ID of the keys that may read
	token    string            // of these keys
	values   map[string]string // by name and version
	requests int
	problems []string
}

func (m *ssm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests++
	var p map[string]any
	err := json.NewDecoder(r.Body).Decode(&p)
	if err != nil || r.Header.Get("X-TC-Action") != "GetSecretValue" || r.Header.Get("X-TC-Version") != "2019-09-23" ||
		r.Header.Get("X-TC-Region") != "ap-guangzhou" || r.Method != http.MethodPost || len(p) != 2 {
		m.problems = append(m.problems, fmt.Sprintf("%s of version %s with %v, %v",
			r.Header.Get("X-TC-Action"), r.Header.Get("X-TC-Version"), p, err))
	}
	response := map[string]any{"RequestId": "1"}
	refuse := func(code string) { response["Error"] = map[string]string{"Code": code, "Message": "of the test"} }
	value, ok := m.values[fmt.Sprint(p["SecretName"], ":", p["VersionId"])]
	switch {
	case !strings.HasPrefix(r.Header.Get("Authorization"), "TC3-HMAC-SHA256 Credential="+m.role+"/") ||
		r.Header.Get("X-TC-Token") != m.token:
		refuse("AuthFailure.TokenFailure")
	case !ok:
		refuse("ResourceNotFound.SecretNotExist")
	default:
		response["SecretName"], response["VersionId"] = p["SecretName"], p["VersionId"]
		response["SecretString"], response["SecretBinary"] = value, ""
	}
	raw, err := json.Marshal(map[string]any{"Response": response})
	if err != nil {
		m.problems = append(m.problems, "encode the response: "+err.Error())
	}
	_, _ = w.Write(raw)
}

func (m *ssm) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests
}

// TestFunction_SecretsOfSecretsManager runs the built program with a key and a token that are only in Secrets Manager.
func TestFunction_SecretsOfSecretsManager(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	const token = "a-token-that-lies-in-ssm"
	m := &ssm{
		role: c.env["TENCENTCLOUD_SECRETID"], token: c.env["TENCENTCLOUD_SESSIONTOKEN"],
		values: map[string]string{"im-key:SSM_Current": secretKey, "http-token:v2": token + "\n"},
	}
	manager := httptest.NewServer(m)
	t.Cleanup(manager.Close)
	t.Cleanup(func() { c.log.Check(t, token) })
	c.env["SSM_ENDPOINT"] = manager.URL
	c.env["TIM_SECRET_KEY"], c.env["TIM_SECRET_KEY_PARAMETER"] = "", "im-key"

	c.put("exports/acme.jsonl", functest.Records(3)...)
	f := c.function(time.Minute, nil)
	p, failure := invoke(t, f, cosEvent(acme))
	if failure != nil || len(p.Done) != 1 || p.Done[0].State != results.Finished {
		t.Fatalf("got %+v, %+v, want it finished with the key of Secrets Manager", p, failure)
	}
	if _, failure := invoke(t, f, resumeEvent); failure != nil || m.count() != 1 {
		t.Errorf("got %+v and %d requests, want one in five minutes", failure, m.count())
	}

	c.env["HTTP_TOKEN"], c.env["HTTP_TOKEN_PARAMETER"], c.env["HTTP_AUTH"] = "", "http-token:v2", "NONE"
	for sent, want := range map[string]int{token: http.StatusOK, "another": http.StatusUnauthorized} {
		r := replyOf(t, f, []byte(`{"httpMethod":"GET","path":"/imports","headers":{"authorization":"Bearer `+sent+`"}}`))
		var got urlResponse
		if err := json.Unmarshal(r.Response, &got); err != nil || got.StatusCode != want {
			t.Errorf("%s: got %d, %v, want %d: %s", sent, got.StatusCode, err, want, r.Response)
		}
	}
	if n := m.count(); n != 2 {
		t.Errorf("got %d requests, want one for each secret", n)
	}

	// Another instance, whose role may not read: it imports nothing, and the error says what to do.
	m.mu.Lock()
	m.token = "renewed"
	m.mu.Unlock()
	c.put("exports/next.jsonl", functest.Records(3)...)
	before := c.service.Stats().Requests
	_, failure = invoke(t, c.function(time.Minute, nil), cosEvent("/1250000000/groups/exports/next.jsonl"))
	if failure == nil || failure.ErrorType != "SecretError" ||
		!strings.Contains(failure.Message, "AuthFailure.TokenFailure") {
		t.Errorf("got %+v, want a SecretError", failure)
	}
	if n := c.service.Stats().Requests; n != before {
		t.Errorf("got %d requests to the service, want none", n-before)
	}
	if len(m.problems) > 0 {
		t.Errorf("got requests that the document does not allow: %v", m.problems)
	}
}
