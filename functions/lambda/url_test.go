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

// The fields are those of the example at docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html.
const urlEvent = `{"version":"2.0","routeKey":"$default","rawPath":%q,"rawQueryString":%q,"cookies":["a=b"],` +
	`"headers":{"content-type":"application/json","x-two":"1, 2"},"requestContext":{"accountId":"anonymous",` +
	`"apiId":"urlid","authorizer":%s,"domainName":"urlid.lambda-url.eu-west-1.on.aws","domainPrefix":"urlid",` +
	`"http":{"method":%q,"path":"/","protocol":"HTTP/1.1","sourceIp":"192.0.2.1","userAgent":"test"},` +
	`"requestId":"id","routeKey":"$default","stage":"$default",` +
	`"time":"12/Mar/2020:19:03:58 +0000","timeEpoch":1583348638390},"body":%q,"isBase64Encoded":%v}`

type urlResponse struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body"`
	Base64     bool              `json:"isBase64Encoded"`
}

// echo responds with the request.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	w.Header().Set("X-Query", r.URL.RawQuery)
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, "%s %s %s %s %s %s %v", r.Method, r.URL.Path, r.Host, r.RemoteAddr, r.Header.Get("X-Two"), body, err)
})

func responseOf(t *testing.T, h http.Handler, event string) urlResponse {
	t.Helper()
	raw, err := serveURL(t.Context(), h, []byte(event))
	if err != nil {
		t.Fatal(err)
	}
	var a urlResponse
	if err := json.Unmarshal(raw, &a); err != nil {
		t.Fatalf("got %s, %v", raw, err)
	}
	return a
}

func TestServeURL_RequestsAndResponses(t *testing.T) {
	for _, test := range []struct{ name, event, want string }{
		{
			"text", fmt.Sprintf(urlEvent, "/groups", "a=1&b=%2F", "null", "POST", `{"x":"群"}`, false),
			`POST /groups urlid.lambda-url.eu-west-1.on.aws 192.0.2.1 1, 2 {"x":"群"} <nil>`,
		},
		{
			"base64", fmt.Sprintf(urlEvent, "/imports/a%2Fb%20c", "", "null", "PUT", "aGVsbG8=", true),
			`PUT /imports/a/b c urlid.lambda-url.eu-west-1.on.aws 192.0.2.1 1, 2 hello <nil>`,
		},
	} {
		got := responseOf(t, echo, test.event)
		if got.StatusCode != http.StatusAccepted || got.Body != test.want {
			t.Errorf("%s: got  %d %s\nwant %s", test.name, got.StatusCode, got.Body, test.want)
		}
	}
	got := responseOf(t, echo, fmt.Sprintf(urlEvent, "/", "a=1&b=%2F", "null", "GET", "", false))
	if got.Headers["X-Query"] != "a=1&b=%2F" {
		t.Errorf("got headers %v", got.Headers)
	}
	binary := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("\xff\x00")) })
	if got := responseOf(t, binary, fmt.Sprintf(urlEvent, "/", "", "null", "GET", "", false)); !got.Base64 ||
		got.Body != "/wA=" {
		t.Errorf("got %+v, want base64", got)
	}
}

func TestServeURL_InvalidRequests(t *testing.T) {
	if _, err := serveURL(t.Context(), echo, []byte(`["a secret"]`)); err == nil ||
		strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error that does not quote the event", err)
	}
	for _, event := range []string{
		fmt.Sprintf(urlEvent, "/%zz", "", "null", "GET", "", false), fmt.Sprintf(urlEvent, "/", "", "null", "G T", "", false),
	} {
		if got := responseOf(t, echo, event); got.StatusCode != http.StatusBadRequest ||
			!strings.Contains(got.Body, `"status":400`) {
			t.Errorf("got %+v, want a problem with status 400", got)
		}
	}
	// The handler reads the body, and fails there.
	got := responseOf(t, echo, fmt.Sprintf(urlEvent, "/", "", "null", "POST", "****", true))
	if !strings.Contains(got.Body, "illegal base64") {
		t.Errorf("got %+v, want a body that cannot be read", got)
	}
}

func TestServeURL_AuthenticatedCallers(t *testing.T) {
	h := httpapi.Unavailable(httpapi.Config{Config: config.Config{HTTPPlatform: true}}, "for authenticated callers")
	const iam = `{"iam":{"accessKey":"AKIA","accountId":"111122223333","callerId":"AIDA",` +
		`"userArn":"arn:aws:iam::111122223333:user/x"}}`
	for authorizer, told := range map[string]bool{"null": false, "{}": false, iam: true} {
		got := responseOf(t, h, fmt.Sprintf(urlEvent, "/imports", "", authorizer, "GET", "", false))
		if strings.Contains(got.Body, "for authenticated callers") != told {
			t.Errorf("%s: got %s, want the reason in the response: %v", authorizer, got.Body, told)
		}
	}
}

func TestServeURL_SessionsOfARole(t *testing.T) {
	for arn, want := range map[string]string{
		"arn:aws:iam::111122223333:user/team/x":                   "arn:aws:iam::111122223333:user/team/x",
		"arn:aws:sts::111122223333:assumed-role/app/i-0a":         "arn:aws:sts::111122223333:assumed-role/app",
		"arn:aws:sts::111122223333:assumed-role/app/i-0b":         "arn:aws:sts::111122223333:assumed-role/app",
		"arn:aws-cn:sts::111122223333:assumed-role/other/session": "arn:aws-cn:sts::111122223333:assumed-role/other",
		"arn:aws:sts::111122223333:federated-user/x":              "arn:aws:sts::111122223333:federated-user/x",
	} {
		if got := principal(arn); got != want {
			t.Errorf("%s: got %s, want %s", arn, got, want)
		}
	}
}

// FuzzServeURL: every event gets a valid response, or an error.
func FuzzServeURL(f *testing.F) {
	f.Add(fmt.Appendf(nil, urlEvent, "/groups", "a=1", "null", "POST", "e30=", true))
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
