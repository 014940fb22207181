package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/config"
	"groupimport/pkg/httpapi"
)

// echo responds with the request.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	w.Header().Add("X-Two", "1")
	w.Header().Add("X-Two", "2")
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, "%s %s %s %s %s %s %v", r.Method, r.URL.Path, r.URL.RawQuery, r.Host, r.Header.Get("X-A"), body, err)
})

func responseOf(t *testing.T, h http.Handler, event string) urlResponse {
	t.Helper()
	raw, err := serveURL(t.Context(), h, []byte(event))
	if err != nil {
		t.Fatal(err)
	}
	var a urlResponse
	if err := json.Unmarshal(raw, &a, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("got %s, %v", raw, err)
	}
	return a
}

// The fields are those at cloud.tencent.com/document/product/583/96099 (2025-08-12).
func TestServeURL_RequestsAndResponses(t *testing.T) {
	for _, test := range []struct{ name, event, want string }{
		{
			"text",
			`{"httpMethod":"POST","path":"/groups","queryString":{"b":"/","a":"1"},"headers":{"host":"h","x-a":"y"},` +
				`"body":"群"}`,
			"POST /groups a=1&b=%2F h y 群 <nil>",
		},
		{
			"base64", `{"httpMethod":"PUT","path":"/imports/a%2Fb%20c","headers":{},"body":"aGVsbG8=","isBase64Encoded":true}`,
			"PUT /imports/a/b c    hello <nil>",
		},
		{
			"other types, and a path that is not escaped",
			`{"httpMethod":"GET","path":"/%zz","queryString":{"a":1,"b":null},"headers":{"X-A":5},"body":null}`,
			"GET /%zz a=1&b=  5  <nil>",
		},
	} {
		got := responseOf(t, echo, test.event)
		if got.StatusCode != http.StatusAccepted || got.Body != test.want || got.Headers["x-two"] != "1, 2" {
			t.Errorf("%s: got  %d %v %s\nwant %s", test.name, got.StatusCode, got.Headers, got.Body, test.want)
		}
	}
	binary := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("\xff\x00")) })
	if got := responseOf(t, binary, `{"httpMethod":"GET","path":"/"}`); !got.Base64 || got.Body != "/wA=" {
		t.Errorf("got %+v, want base64", got)
	}
}

func TestServeURL_InvalidRequests(t *testing.T) {
	if _, err := serveURL(t.Context(), echo, []byte(`["a secret"]`)); err == nil ||
		strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error that does not quote the event", err)
	}
	for event, says := range map[string]string{
		`{"path":"/"}`:                    "no method",
		`{"httpMethod":"G T","path":"/"}`: "method",
		`{"httpMethod":"POST","path":"/","body":"*","isBase64Encoded":"true"}`: "base64",
	} {
		if got := responseOf(t, echo, event); got.StatusCode != http.StatusBadRequest || !strings.Contains(got.Body, says) {
			t.Errorf("%s: got %+v, want a problem that says %q", event, got, says)
		}
	}
}

func TestServeURL_CallersAreNotAuthenticated(t *testing.T) {
	h := httpapi.Unavailable(httpapi.Config{Config: config.Config{HTTPPlatform: true}}, "for authenticated callers")
	request := `{"httpMethod":"GET","path":"/imports","headers":{"authorization":"TC3-HMAC-SHA256 Credential=x"}}`
	if got := responseOf(t, h, request); strings.Contains(got.Body, "for authenticated callers") {
		t.Errorf("got %s, want no reason in the response", got.Body)
	}
}

// FuzzServeURL: every event gets a valid response, or an error.
func FuzzServeURL(f *testing.F) {
	f.Add([]byte(`{"httpMethod":"POST","path":"/groups","queryString":{"a":1,"b":[]},"headers":{"Accept":"x"},` +
		`"body":"e30=","isBase64Encoded":true}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, event []byte) {
		raw, err := serveURL(t.Context(), echo, event)
		var a urlResponse
		if err == nil && (json.Unmarshal(raw, &a) != nil || a.StatusCode < 200) {
			t.Errorf("got %s", raw)
		}
	})
}
