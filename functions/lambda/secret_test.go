package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/go-json-experiment/json"

	"groupimport/functions/internal/functest"
	"groupimport/pkg/blob/s3blob"
	"groupimport/pkg/notify"
	"groupimport/pkg/results"
)

// parameterStore returns variables with the endpoint of moto, which emulates the Parameter Store. All tests use the
// same server, so each test has parameters of its own.
func parameterStore(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		"AWS_ENDPOINT_URL_SSM": moto(t), "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s",
	}
}

func TestSecretKey_ReadFromParameterStore(t *testing.T) {
	t.Parallel()
	env := parameterStore(t)
	config, err := s3blob.Config(func(name string) string { return env[name] }, "SSM")
	if err != nil {
		t.Fatal(err)
	}
	store := ssm.NewFromConfig(config)
	put := func(name, value string) {
		t.Helper()
		_, err := store.PutParameter(t.Context(), &ssm.PutParameterInput{
			Name: &name, Value: &value, Type: types.ParameterTypeSecureString,
			Overwrite: aws.Bool(true),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c := newCloud(t)
	c.env["AWS_ENDPOINT_URL_SSM"] = env["AWS_ENDPOINT_URL_SSM"]
	c.env["TIM_SECRET_KEY"], c.env["TIM_SECRET_KEY_PARAMETER"] = "", "/groupimport/secret-key"
	c.put("exports/acme.jsonl", functest.Records(3)...)

	f := c.function(time.Minute)
	if _, failure := invoke(t, f, s3Event("exports/acme.jsonl")); failure == nil || failure.ErrorType != "SecretError" ||
		!strings.Contains(failure.Message, "/groupimport/secret-key") {
		t.Errorf("without the parameter: got %+v, want a SecretError that names it", failure)
	}
	put("/groupimport/secret-key", secretKey)
	if p, failure := invoke(t, f, s3Event("exports/acme.jsonl")); failure != nil || len(p.Done) != 1 ||
		p.Done[0].State != results.Finished {
		t.Errorf("got %+v, %+v, want it finished by the same process", p, failure)
	}

	const token = "a-token-that-lies-in-ssm"
	put("/groupimport/http-token", token)
	c.env["HTTP_TOKEN_PARAMETER"] = "/groupimport/http-token"
	f = c.function(time.Minute)
	for sent, want := range map[string]int{token: http.StatusOK, "another": http.StatusUnauthorized} {
		r := replyOf(t, f, []byte(`{"version":"2.0","rawPath":"/imports","headers":{"authorization":"Bearer `+sent+`"},`+
			`"requestContext":{"http":{"method":"GET","path":"/imports","sourceIp":"10.0.0.1"}}}`))
		var response urlResponse
		if err := json.Unmarshal(r.Response, &response); err != nil || response.StatusCode != want {
			t.Errorf("%s: got %d, %v, want %d: %s", sent, response.StatusCode, err, want, r.Response)
		}
	}
	c.log.Check(t, token)
}

func TestSecretKey_KeptWhileStoreIsDown(t *testing.T) {
	t.Parallel()
	env := parameterStore(t)
	s := newSecrets(func(name string) string { return env[name] }, slog.New(slog.DiscardHandler))
	expire := func() { s.Life = time.Nanosecond }
	store := func() *ssm.Client {
		config, err := s3blob.Config(func(name string) string { return env[name] }, "SSM")
		if err != nil {
			t.Fatal(err)
		}
		return ssm.NewFromConfig(config)
	}()
	for _, value := range []string{"first", "second\n"} {
		if _, err := store.PutParameter(t.Context(), &ssm.PutParameterInput{
			Name: aws.String("/k"), Value: &value, Type: types.ParameterTypeSecureString, Overwrite: aws.Bool(true),
		}); err != nil {
			t.Fatal(err)
		}
		expire()
		if got, err := s.Get(t.Context(), "/k"); got != strings.TrimSpace(value) || err != nil {
			t.Errorf("got %q, %v, want %q without its line break", got, err, value)
		}
	}
	// The token of callers is another parameter.
	token := "a token"
	if _, err := store.PutParameter(t.Context(), &ssm.PutParameterInput{
		Name: aws.String("/t"), Value: &token, Type: types.ParameterTypeSecureString,
	}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "/t"); got != token || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, token)
	}
	expire()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := s.Get(ctx, "/k"); got != "second" || err != nil {
		t.Errorf("got %q, %v, want the key that is known", got, err)
	}
	// An operator has deleted the parameter on purpose.
	if _, err := store.DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: aws.String("/k")}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "/k"); err == nil {
		t.Errorf("got %q, want an error once the parameter is deleted", got)
	}
}

func TestWebhook_ReadFromParameterStore(t *testing.T) {
	t.Parallel()
	env := parameterStore(t)
	config, err := s3blob.Config(func(name string) string { return env[name] }, "SSM")
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		at := r.Header.Get("X-Groupimport-Timestamp")
		if r.Header.Get("X-Groupimport-Signature") != notify.Signature("the secret", at, body) {
			t.Errorf("got the headers %v, want a signature", r.Header)
		}
		told <- string(body)
	}))
	t.Cleanup(hook.Close)
	if _, err := ssm.NewFromConfig(config).PutParameter(t.Context(), &ssm.PutParameterInput{
		Name: aws.String("/groupimport/notify"), Value: aws.String(hook.URL + "/a-token\nthe secret\n"),
		Type: types.ParameterTypeSecureString,
	}); err != nil {
		t.Fatal(err)
	}
	c := newCloud(t)
	c.env["AWS_ENDPOINT_URL_SSM"], c.env["NOTIFY_PARAMETER"] = env["AWS_ENDPOINT_URL_SSM"], "/groupimport/notify"
	c.put("exports/acme.jsonl", functest.Records(3)...)
	f := c.function(time.Minute)
	if p, failure := invoke(t, f, s3Event("exports/acme.jsonl")); failure != nil || len(p.Done) != 1 {
		t.Fatalf("got %+v, %+v, want it finished", p, failure)
	}
	select {
	case body := <-told:
		if !strings.Contains(body, `"report":"s3://`+bucketName+`/exports/acme.jsonl.report.html"`) {
			t.Errorf("got %s, want the address of the report", body)
		}
	default:
		t.Error("got no notification before the end of the invocation")
	}
	c.log.Check(t, "a-token", "the secret")
}
