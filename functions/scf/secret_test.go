package main

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"groupimport/functions/internal/invocation"
)

// A secretsManager emulates SSM as GetSecretValue is documented.
type secretsManager struct {
	t        *testing.T
	values   map[string]string // by name and version
	failure  string            // code of an error; "none" for no response
	requests []*http.Request
}

func (m *secretsManager) RoundTrip(r *http.Request) (*http.Response, error) {
	m.requests = append(m.requests, r)
	for name, want := range map[string]string{
		"X-TC-Action": "GetSecretValue", "X-TC-Version": "2019-09-23", "X-TC-Region": "ap-guangzhou",
	} {
		if got := r.Header.Get(name); got != want {
			m.t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
	if r.URL.Host != "ssm.tencentcloudapi.com" || r.URL.Scheme != "https" {
		m.t.Errorf("got a request to %s", r.URL)
	}
	var p struct {
		SecretName string `json:"SecretName"`
		VersionID  string `json:"VersionId"`
	}
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		m.t.Error(err)
	}
	value, ok := m.values[p.SecretName+":"+p.VersionID]
	response := map[string]any{
		"SecretName": p.SecretName, "VersionId": p.VersionID, "SecretString": value, "RequestId": "1",
	}
	switch {
	case m.failure == "none":
		return nil, errors.New("connection reset")
	case m.failure != "":
		response = map[string]any{"Error": map[string]any{"Code": m.failure, "Message": "x"}, "RequestId": "1"}
	case !ok:
		response = map[string]any{
			"Error": map[string]any{"Code": "ResourceNotFound.SecretNotExist", "Message": "x"}, "RequestId": "1",
		}
	}
	raw, err := json.Marshal(map[string]any{"Response": response})
	if err != nil {
		m.t.Error(err)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(string(raw))), Request: r,
	}, nil
}

func TestSecrets_ReadWithTheRenewedKeysOfTheRole(t *testing.T) {
	t.Parallel()
	m := &secretsManager{t: t, values: map[string]string{"key:SSM_Current": "first", "key:v2": "second\n", "empty:v1": ""}}
	env := map[string]string{
		"TENCENTCLOUD_SECRETID": "id-1", "TENCENTCLOUD_SECRETKEY": "k", "TENCENTCLOUD_SESSIONTOKEN": "token-1",
		"TENCENTCLOUD_REGION": "ap-guangzhou",
	}
	store := &secrets{getenv: func(name string) string { return env[name] }, transport: m}
	s := newSecrets(store, slog.New(slog.DiscardHandler))
	get := func(name, want string) {
		t.Helper()
		if got, err := s.Get(t.Context(), name); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	get("key", "first")
	get("key:v2", "second")
	get("key", "first")
	if len(m.requests) != 2 {
		t.Errorf("got %d requests, want one for each secret in five minutes", len(m.requests))
	}
	s.Life = time.Nanosecond
	env["TENCENTCLOUD_SECRETID"], env["TENCENTCLOUD_SESSIONTOKEN"] = "id-2", "token-2"
	m.values["key:SSM_Current"] = "third"
	get("key", "third")
	last := m.requests[2].Header
	if last.Get("X-TC-Token") != "token-2" || !strings.Contains(last.Get("Authorization"), "Credential=id-2/") {
		t.Errorf("got %v, want the renewed keys", last)
	}
	for _, failure := range []string{"none", "InternalError", "RequestLimitExceeded"} {
		m.failure = failure
		get("key", "third")
	}
	for _, failure := range []string{
		"UnauthorizedOperation", "ResourceNotFound.SecretNotExist", "ResourceUnavailable.ResourceDisabled",
	} {
		m.failure = ""
		get("key", "third")
		m.failure = failure
		got, err := s.Get(t.Context(), "key")
		refused, ok := errors.AsType[*invocation.SecretError](err)
		if !ok || got != "" || !strings.Contains(refused.Error(), failure) || strings.Contains(refused.Error(), "third") {
			t.Errorf("%s: got %q, %v, want a SecretError", failure, got, err)
		}
	}
	m.failure = ""
	for _, endpoint := range []string{
		"http://ssm.tencentcloudapi.com", "ftp://127.0.0.1", "https://u:p@x.example", "https://x.example/path", "://",
	} {
		env["SSM_ENDPOINT"] = endpoint
		if got, err := s.Get(t.Context(), "other"); err == nil || !strings.Contains(err.Error(), "SSM_ENDPOINT") {
			t.Errorf("%s: got %q, %v, want an error with SSM_ENDPOINT", endpoint, got, err)
		}
	}
	env["SSM_ENDPOINT"] = ""
	for _, name := range []string{"empty:v1", "missing", "/x", "a:b:c"} {
		if got, err := s.Get(t.Context(), name); err == nil {
			t.Errorf("%s: got %q, want an error", name, got)
		}
	}
}
