package notify_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/notify"
	"groupimport/pkg/outcome"
)

const secret = "a secret that no log may hold"

// A request is one that a webhook got.
type request struct {
	at     time.Time
	method string
	url    *url.URL
	header http.Header
	body   []byte
}

// A webhook is a server on this machine that keeps what it gets.
type webhook struct {
	*httptest.Server

	respond func(n int, w http.ResponseWriter, r *http.Request) // nil accepts everything; n counts from 1

	mu  sync.Mutex
	got []request
}

// path is that of the webhook. It is a secret.
const path = "/services/T0/B0/token-in-the-path"

func newWebhook(t *testing.T, respond func(n int, w http.ResponseWriter, r *http.Request)) *webhook {
	t.Helper()
	w := &webhook{respond: respond}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		w.got = append(w.got, request{time.Now(), r.Method, r.URL, r.Header, body})
		n := len(w.got)
		w.mu.Unlock()
		if w.respond != nil {
			w.respond(n, rw, r)
		}
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *webhook) requests() []request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

// notifier returns a notifier of the webhook, and its log.
func (w *webhook) notifier(format, secret string) (*notify.Notifier, *lockedBuffer) {
	log := &lockedBuffer{}
	target := notify.Target{URL: w.URL + path + "?key=token-in-the-query", Secret: secret}
	return notify.New(notify.Fixed(target), format, slog.New(slog.NewTextHandler(log, nil))), log
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func message(n int) notify.Message {
	key := fmt.Sprintf("exports/%d.jsonl", n)
	return notify.Message{
		ID: fmt.Sprint("id-", n), State: "finished", Bucket: "groups", Key: key, Export: "s3://groups/" + key,
		Report: "s3://groups/" + key + ".report.html", Counts: outcome.Counts{Imported: 9, Rejected: 1},
		At: time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC),
	}
}

// wait waits until everything is sent.
func wait(t *testing.T, n *notify.Notifier) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n.Wait(ctx)
	if ctx.Err() != nil {
		t.Fatal("the notifier is not idle after a minute")
	}
}

// verify is the function of README.md.
func verify(secret string, r *http.Request, body []byte) bool {
	at := r.Header.Get("X-Groupimport-Timestamp")
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s", at, body)
	want := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	seconds, err := strconv.ParseInt(at, 10, 64)
	return err == nil && time.Since(time.Unix(seconds, 0)).Abs() < 5*time.Minute &&
		hmac.Equal([]byte(want), []byte(r.Header.Get("X-Groupimport-Signature")))
}

// guide returns the blocks of README.md in a language.
func guide(t *testing.T, lang string) []string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range regexp.MustCompile("(?s)```"+lang+"\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		all = append(all, m[1])
	}
	if len(all) == 0 {
		t.Fatalf("README.md has no block in %s", lang)
	}
	return all
}

func TestNotifier_Signature(t *testing.T) {
	w := newWebhook(t, nil)
	n, _ := w.notifier("json", secret)
	n.Send(message(1))
	wait(t, n)
	got := w.requests()
	if len(got) != 1 || got[0].method != http.MethodPost || got[0].url.Path != path {
		t.Fatalf("got %+v, want one request", got)
	}
	r := &http.Request{Header: got[0].header}
	if !verify(secret, r, got[0].body) {
		t.Errorf("got headers %v, want a valid signature", got[0].header)
	}
	if verify(secret, r, append(got[0].body, ' ')) || verify("another secret", r, got[0].body) {
		t.Error("another body or another secret passes")
	}
	source, err := os.ReadFile("notify_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(source, []byte(guide(t, "go")[0])) {
		t.Error("the function in README.md is not the one that this test runs")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "body.json"), got[0].body, 0o600); err != nil {
		t.Fatal(err)
	}
	shell := func(signature, timestamp string) error {
		c := exec.CommandContext(t.Context(), "bash", "-c", guide(t, "bash")[0])
		c.Dir = dir
		c.Env = append(os.Environ(), "secret="+secret, "signature="+signature, "timestamp="+timestamp)
		return c.Run()
	}
	signature, at := got[0].header.Get("X-Groupimport-Signature"), got[0].header.Get("X-Groupimport-Timestamp")
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	if err := shell(signature, at); err != nil {
		t.Errorf("the shell of README.md refuses a valid request: %v", err)
	}
	old := strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
	for name, err := range map[string]error{
		"another signature": shell(strings.ToUpper(signature), at),
		"an old request":    shell(notify.Signature(secret, old, got[0].body), old),
	} {
		if err == nil {
			t.Errorf("the shell of README.md accepts %s", name)
		}
	}
}

func TestNotifier_WithoutSecret(t *testing.T) {
	w := newWebhook(t, nil)
	n, _ := w.notifier("json", "")
	n.Send(message(1))
	wait(t, n)
	for _, r := range w.requests() {
		if r.header.Get("X-Groupimport-Signature") != "" || r.header.Get("Idempotency-Key") != "id-1" {
			t.Errorf("got headers %v, want the ID and no signature", r.header)
		}
	}
}

// TestNotifier_JSON compares the members with README.md.
func TestNotifier_JSON(t *testing.T) {
	w := newWebhook(t, nil)
	n, _ := w.notifier("json", "")
	n.Send(message(1))
	wait(t, n)
	var got, want map[string]any
	if err := json.Unmarshal(w.requests()[0].body, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(guide(t, "json")[0]), &want); err != nil {
		t.Fatal(err)
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("got no %q in %v", name, got)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("README.md has no %q", name)
		}
	}
	const text = "groupimport: s3://groups/exports/1.jsonl: finished. 9 imported, 1 rejected. " +
		"Report: s3://groups/exports/1.jsonl.report.html"
	if got["text"] != text || got["key"] != "exports/1.jsonl" || got["bucket"] != "groups" {
		t.Errorf("got %v, want the text %q", got, text)
	}
}

// TestNotifier_Retries counts the attempts by how the webhook responds.
func TestNotifier_Retries(t *testing.T) {
	status := func(code int) func(int, http.ResponseWriter, *http.Request) {
		return func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	hangUp := func(_ int, w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}
	for _, test := range []struct {
		name      string
		respond   func(n int, w http.ResponseWriter, r *http.Request)
		want      int
		delivered bool
	}{
		{"accepted", status(http.StatusNoContent), 1, true},
		{"a wrong address", status(http.StatusNotFound), 1, false},
		{"a wrong body", status(http.StatusBadRequest), 1, false},
		{"down", status(http.StatusServiceUnavailable), 5, false},
		{"too many", status(http.StatusTooManyRequests), 5, false},
		{"the connection breaks", hangUp, 5, false},
		{"up again", func(n int, w http.ResponseWriter, r *http.Request) {
			if n < 3 {
				hangUp(n, w, r)
			}
		}, 3, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWebhook(t, test.respond)
			n, log := w.notifier("json", secret)
			n.Hurry(5 * time.Second)
			n.Send(message(1))
			wait(t, n)
			got := w.requests()
			if len(got) != test.want {
				t.Errorf("got %d requests, want %d", len(got), test.want)
			}
			for _, r := range got {
				if r.header.Get("Idempotency-Key") != "id-1" || !bytes.Equal(r.body, got[0].body) {
					t.Errorf("got %v %s, want the first request again", r.header, r.body)
				}
			}
			if isLogged := strings.Contains(log.String(), "not delivered"); isLogged == test.delivered {
				t.Errorf("got the log %q", log)
			}
			noSecrets(t, log.String())
		})
	}
}

func noSecrets(t *testing.T, log string) {
	t.Helper()
	for _, text := range []string{"token-in-the", secret, "services"} {
		if strings.Contains(log, text) {
			t.Errorf("the log has %q: %s", text, log)
		}
	}
}

// roundTrip is an [http.RoundTripper].
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestNotifier_Backoff measures the waits between attempts in virtual time.
func TestNotifier_Backoff(t *testing.T) {
	for _, after := range []int{0, 3, 3600} {
		synctest.Test(t, func(t *testing.T) {
			var at []time.Time
			n := notify.New(notify.Fixed(notify.Target{URL: "https://hooks.invalid"}), "json", slog.New(slog.DiscardHandler))
			n.Use(roundTrip(func(*http.Request) (*http.Response, error) {
				at = append(at, time.Now())
				return &http.Response{
					StatusCode: http.StatusTooManyRequests, Body: http.NoBody,
					Header: http.Header{"Retry-After": {strconv.Itoa(after)}},
				}, nil
			}))
			n.Send(message(1))
			n.Wait(t.Context())
			if len(at) != 5 {
				t.Fatalf("got %d attempts, want 5", len(at))
			}
			asked := min(time.Duration(after)*time.Second, 30*time.Second)
			for i, limit := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
				took := at[i+1].Sub(at[i])
				if took < asked || took > max(asked, limit) {
					t.Errorf("Retry-After %d: got a wait of %v before attempt %d", after, took, i+2)
				}
			}
		})
	}
}

func TestNotifier_HangingWebhook(t *testing.T) {
	release := make(chan struct{})
	w := newWebhook(t, func(int, http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	n, log := w.notifier("json", secret)
	n.Hurry(50 * time.Millisecond)
	start := time.Now()
	for i := range 2000 {
		n.Send(message(i))
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("Send took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start = time.Now()
	if n.Wait(ctx); time.Since(start) > 2*time.Second {
		t.Errorf("Wait took %v, want 300 ms", time.Since(start))
	}
	if !strings.Contains(log.String(), "too many wait") {
		t.Errorf("got the log %q, want that messages were dropped", log)
	}
	noSecrets(t, log.String())
}

func TestNotifier_RedirectsAreNotFollowed(t *testing.T) {
	other := newWebhook(t, nil)
	w := newWebhook(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	n, log := w.notifier("json", secret)
	n.Send(message(1))
	wait(t, n)
	if got := other.requests(); len(got) > 0 || len(w.requests()) != 1 || !strings.Contains(log.String(), "HTTP 307") {
		t.Errorf("got %d requests elsewhere and the log %q", len(got), log)
	}
}

// TestNotifier_Unreachable has errors of the network that would quote the URL.
func TestNotifier_Unreachable(t *testing.T) {
	w := newWebhook(t, nil)
	w.Close()
	n, log := w.notifier("json", secret)
	n.Hurry(5 * time.Second)
	n.Send(message(1))
	wait(t, n)
	if !strings.Contains(log.String(), "refused") {
		t.Errorf("got the log %q", log)
	}
	noSecrets(t, log.String())
}

// TestNotifier_Chats compares bodies with the shapes in the chats' documents, read 2026-11:
//
//   - Slack: docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, {"text":"Hello, world."}
//   - WeCom: developer.work.weixin.qq.com/document/path/91770, {"msgtype":"text","text":{"content":"…"}}
//   - DingTalk: open.dingtalk.com/document/orgapp/custom-robot-access, the same, with timestamp and sign in the URL
//   - Feishu: open.feishu.cn/document/client-docs/bot-v3/add-custom-bot,
//     {"timestamp":"1599360473","sign":"…","msg_type":"text","content":{"text":"request example"}}
func TestNotifier_Chats(t *testing.T) {
	const text = "groupimport: s3://groups/exports/1.jsonl: finished. 9 imported, 1 rejected. " +
		"Report: s3://groups/exports/1.jsonl.report.html"
	for _, test := range []struct{ format, want, response string }{
		{"slack", `{"text":"` + text + `"}`, "ok"},
		{"wecom", `{"msgtype":"text","text":{"content":"` + text + `"}}`, `{"errcode":0,"errmsg":"ok"}`},
		{"dingtalk", `{"msgtype":"text","text":{"content":"` + text + `"}}`, `{"errcode":0,"errmsg":"ok"}`},
		{
			"feishu", `{"timestamp":"AT","sign":"SIGN","msg_type":"text","content":{"text":"` + text + `"}}`,
			`{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}`,
		},
	} {
		t.Run(test.format, func(t *testing.T) {
			w := newWebhook(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, test.response) })
			n, log := w.notifier(test.format, secret)
			n.Send(message(1))
			wait(t, n)
			got := w.requests()
			if len(got) != 1 || log.String() != "" {
				t.Fatalf("got %d requests and the log %q, want one request", len(got), log)
			}
			var body struct{ Timestamp, Sign string }
			if err := json.Unmarshal(got[0].body, &body, json.MatchCaseInsensitiveNames(true)); err != nil {
				t.Fatal(err)
			}
			want := strings.NewReplacer("AT", body.Timestamp, "SIGN", body.Sign).Replace(test.want)
			if string(got[0].body) != want {
				t.Errorf("got the body %s, want %s", got[0].body, want)
			}
			query := got[0].url.Query()
			if query.Get("key") != "token-in-the-query" {
				t.Errorf("got the query %v, want that of the URL too", query)
			}
			if at := query.Get("timestamp"); test.format == "dingtalk" {
				isSigned(t, query.Get("sign"), at, secret, at+"\n"+secret, time.Millisecond)
			}
			if test.format == "feishu" {
				isSigned(t, body.Sign, body.Timestamp, body.Timestamp+"\n"+secret, "", time.Second)
			}
		})
	}
}

// isSigned checks a signature as a chat does, and that its time, in units since 1970, is now.
func isSigned(t *testing.T, sign, at, key, message string, unit time.Duration) {
	t.Helper()
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(message))
	n, err := strconv.ParseInt(at, 10, 64)
	isNow := err == nil && time.Since(time.Unix(0, 0).Add(time.Duration(n)*unit)).Abs() < time.Minute
	if want := base64.StdEncoding.EncodeToString(mac.Sum(nil)); sign != want || !isNow {
		t.Errorf("got the signature %q of %q, want %q of now", sign, at, want)
	}
}

// TestNotifier_ErrorsOfChats has responses with HTTP 200 that refuse a message.
func TestNotifier_ErrorsOfChats(t *testing.T) {
	for _, test := range []struct {
		format, response string
		want             int // requests
	}{
		{"wecom", `{"errcode":93000,"errmsg":"invalid webhook url"}`, 1},
		{"wecom", `{"errcode":45009,"errmsg":"api freq out of limit"}`, 5},
		{"dingtalk", `{"errcode":310000,"errmsg":"sign not match"}`, 1},
		{"dingtalk", `{"errcode":130101,"errmsg":"send too fast, exceed 20 times per minute"}`, 5},
		{"feishu", `{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}`, 1},
		{"feishu", `{"code":11232,"msg":"frequency limited"}`, 5},
	} {
		synctest.Test(t, func(t *testing.T) {
			log := &lockedBuffer{}
			n := notify.New(notify.Fixed(notify.Target{URL: "https://hooks.invalid"}), test.format,
				slog.New(slog.NewTextHandler(log, nil)))
			got := 0
			n.Use(roundTrip(func(*http.Request) (*http.Response, error) {
				got++
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(test.response))}, nil
			}))
			n.Send(message(1))
			n.Wait(t.Context())
			if got != test.want || !strings.Contains(log.String(), "the chat responds with code") {
				t.Errorf("%s: got %d requests and the log %s, want %d", test.response, got, log, test.want)
			}
		})
	}
}

// TestNotifier_ManyMessagesToAChat sends a thousand messages, more than a chat takes.
func TestNotifier_ManyMessagesToAChat(t *testing.T) {
	for _, format := range []string{"slack", "wecom", "dingtalk", "feishu"} {
		synctest.Test(t, func(t *testing.T) {
			n := notify.New(notify.Fixed(notify.Target{URL: "https://hooks.invalid"}), format, slog.New(slog.DiscardHandler))
			var at []time.Time
			var texts []string
			n.Use(roundTrip(func(r *http.Request) (*http.Response, error) {
				at = append(at, time.Now())
				body, _ := io.ReadAll(r.Body)
				text := regexp.MustCompile(`"(?:text|content)":"([^"]+)"`).FindSubmatch(body)
				texts = append(texts, string(text[1]))
				if len(body) > 2048+100 {
					t.Errorf("%s: got a body of %d bytes", format, len(body))
				}
				return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
			}))
			start := time.Now()
			for i := range 1000 {
				m := message(i)
				if m.Counts.Rejected = 0; i == 700 {
					m.State, m.Reason = "stopped", "the key is wrong"
				}
				n.Send(m)
				time.Sleep(50 * time.Millisecond)
			}
			n.Wait(t.Context())
			if took := time.Since(start); took > 55*time.Second {
				t.Errorf("%s: got the last request after %v", format, took)
			}
			pause := time.Second
			if format == "wecom" || format == "dingtalk" {
				pause = 3 * time.Second
			}
			for i := 1; i < len(at); i++ {
				if took := at[i].Sub(at[i-1]); took < pause {
					t.Errorf("%s: got two requests within %v", format, took)
				}
			}
			told := 0
			for _, text := range texts {
				for line := range strings.SplitSeq(text, `\n`) {
					var more int
					if _, err := fmt.Sscanf(line, "groupimport: and more: %d finished", &more); err == nil {
						told += more
						continue
					}
					told++
				}
				stopped := strings.Index(text, "stopped")
				if stopped > 0 && strings.Index(text, "finished") < stopped && strings.Contains(text, "finished") {
					t.Errorf("%s: got %q, want the stopped import first", format, text)
				}
			}
			if told != 1000 {
				t.Errorf("%s: got %d imports in %d texts, want 1,000", format, told, len(texts))
			}
		})
	}
}

// TestNotifier_NamesMentionNobody has the name of an export that would notify a whole chat.
func TestNotifier_NamesMentionNobody(t *testing.T) {
	for format, tag := range map[string]string{
		"slack": "<!channel>", "feishu": `<at user_id="all">`, "wecom": "<@all>", "dingtalk": "<@all>",
	} {
		w := newWebhook(t, nil)
		n, _ := w.notifier(format, "")
		m := message(1)
		m.Export += tag + "\n" + strings.Repeat("群", 2000)
		n.Send(m)
		wait(t, n)
		got := w.requests()
		if len(got) != 1 || bytes.Contains(got[0].body, []byte("<")) || bytes.Contains(got[0].body, []byte(`\n`)) ||
			len(got[0].body) > 2100 {
			t.Errorf("%s: got %s", format, got[0].body)
		}
	}
}

// TestNotifier_StoppedIsSaidOnce repeats the message of an import that cannot begin.
func TestNotifier_StoppedIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := notify.New(notify.Fixed(notify.Target{URL: "https://hooks.invalid"}), "json", slog.New(slog.DiscardHandler))
		got := 0
		n.Use(roundTrip(func(*http.Request) (*http.Response, error) {
			got++
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}))
		for i := range 180 {
			m := message(1)
			m.ID, m.State, m.Reason = fmt.Sprint(i), "stopped", "there is no mapping"
			n.Send(m)
			time.Sleep(time.Minute)
		}
		n.Wait(t.Context())
		if got != 3 {
			t.Errorf("got %d requests in three hours, want 3", got)
		}
		for range 2 {
			n.Send(message(2)) // another version may finish within the hour
			n.Wait(t.Context())
		}
		if got != 5 {
			t.Errorf("got %d requests, want both imports told", got-3)
		}
	})
}

// TestNotifier_SecretThatCannotBeRead tries again to read where to send.
func TestNotifier_SecretThatCannotBeRead(t *testing.T) {
	w := newWebhook(t, nil)
	log := &lockedBuffer{}
	loads := 0
	n := notify.New(func(context.Context) (notify.Target, error) {
		if loads++; loads < 3 {
			return notify.Target{}, errors.New("the store of secrets does not respond")
		}
		return notify.Target{URL: w.URL}, nil
	}, "json", slog.New(slog.NewTextHandler(log, nil)))
	n.Hurry(5 * time.Second)
	n.Send(message(1))
	wait(t, n)
	if len(w.requests()) != 1 || log.String() != "" {
		t.Errorf("got %d requests and the log %q, want one", len(w.requests()), log)
	}
}

func TestParseTarget(t *testing.T) {
	for content, want := range map[string]notify.Target{
		"https://a/b":                      {URL: "https://a/b"},
		"https://a/b\n":                    {URL: "https://a/b"},
		" https://a/b \r\n a secret \r\n":  {URL: "https://a/b", Secret: "a secret"},
		"https://a/b\nSEC0\n\n":            {URL: "https://a/b", Secret: "SEC0"},
		"http://127.0.0.1:8090/b\nSEC0":    {URL: "http://127.0.0.1:8090/b", Secret: "SEC0"},
		"https://hooks.example.com:8/b?c=": {URL: "https://hooks.example.com:8/b?c="},
	} {
		if got, err := notify.ParseTarget(content); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", content, got, err, want)
		}
	}
	for _, content := range []string{
		"", "token-in-the-path", "http://a/token-in-the-path", "ftp://a/b", "https:///b", "https://a/b\nx\ny",
		"https://a b/token-in-the-path",
	} {
		got, err := notify.ParseTarget(content)
		if err == nil || strings.Contains(err.Error(), "token") {
			t.Errorf("%q: got %+v, %v, want an error without the content", content, got, err)
		}
	}
}

func TestNotifier_Nil(t *testing.T) {
	var n *notify.Notifier
	n.Send(message(1))
	n.Wait(t.Context())
}
