// Package notify tells a webhook what became of an import.
//
// A notification is sent at most once: it is retried while the process lives, and lost if the process is killed. It
// never holds up an import. The states of all imports are in the bucket, see package scheduler.
//
// # Signature
//
// With a secret, a request has the headers X-Groupimport-Timestamp, the seconds since 1970, and X-Groupimport-Signature:
// "sha256=" and the HMAC-SHA256 (RFC 2104), in hex, of the timestamp, a full stop and the body. A receiver computes the
// same, compares both in constant time, and rejects old timestamps.
package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/backoff"
	"groupimport/pkg/outcome"
)

// A Message says what became of an import.
type Message struct {
	State   string         `json:"state"` // finished, stopped or cancelled
	Bucket  string         `json:"bucket"`
	Key     string         `json:"key"` // of the export
	Reason  string         `json:"reason,omitzero"`
	Counts  outcome.Counts `json:"counts"` // of the whole import
	GivenUp int64          `json:"givenUp,omitzero"`
	Report  string         `json:"report"` // key of the HTML report
	At      time.Time      `json:"at"`
	Text    string         `json:"text"` // all this for people; Send sets it
}

// The formats of a body, for the webhooks of chats. Their documents: api.slack.com/messaging/webhooks,
// developer.work.weixin.qq.com/document/path/91770, open.dingtalk.com/document/orgapp/custom-robot-access,
// open.feishu.cn/document/client-docs/bot-v3/add-custom-bot.
var formats = map[string]func(Message) any{
	"json":  func(m Message) any { return m },
	"slack": func(m Message) any { return map[string]string{"text": m.Text} },
	"wecom": func(m Message) any {
		return map[string]any{"msgtype": "text", "text": map[string]string{"content": m.Text}}
	},
	"dingtalk": func(m Message) any {
		return map[string]any{"msgtype": "text", "text": map[string]string{"content": m.Text}}
	},
	"feishu": func(m Message) any {
		return map[string]any{"msg_type": "text", "content": map[string]string{"text": m.Text}}
	},
}

// Formats returns the names of the formats, the default first.
func Formats() []string { return []string{"json", "slack", "wecom", "dingtalk", "feishu"} }

// CheckURL returns an error if messages to a URL would be sent in clear text to another machine. The error does not
// quote the URL: the path of a webhook is a secret.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return errors.New("must be a URL like https://host/path")
	}
	host := u.Hostname()
	if u.Scheme == "http" && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return errors.New("must begin with https://, except on this machine")
	}
	return nil
}

const (
	maxAttempts    = 5
	attemptTimeout = 5 * time.Second
	maxPending     = 100 // messages that are not sent; further ones are dropped
	maxText        = 1000
)

var waits = backoff.Exponential{Base: time.Second, Max: 8 * time.Second}

// A Notifier sends messages to one URL. It may be used concurrently. A nil Notifier sends nothing.
type Notifier struct {
	url    string
	secret string
	body   func(Message) any
	client *http.Client
	log    *slog.Logger

	slots chan struct{} // of requests at the same time

	mu      sync.Mutex
	pending int
	idle    chan struct{} // closed when nothing is pending; nil without waiters
}

// New returns a Notifier, or nil without a URL. address must pass [CheckURL]. Without a secret, requests are not
// signed. An unknown format is the default.
func New(address, secret, format string, log *slog.Logger) *Notifier {
	if address == "" {
		return nil
	}
	body := formats[format]
	if body == nil {
		body = formats["json"]
	}
	return &Notifier{
		url: address, secret: secret, body: body, log: log, slots: make(chan struct{}, 4),
		client: &http.Client{
			// A redirect could lead to another host, without TLS.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Send sends a message in the background. The caller may wait for it with [Notifier.Wait].
func (n *Notifier) Send(m Message) {
	if n == nil {
		return
	}
	m.Text = text(&m)
	body, err := json.Marshal(n.body(m), json.Deterministic(true))
	if err != nil {
		n.log.Warn("no notification", "key", m.Key, "err", err) //nolint:sloglint // there is no context
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pending >= maxPending {
		n.log.Warn("no notification: too many wait to be sent", "key", m.Key) //nolint:sloglint // there is no context
		return
	}
	n.pending++
	go func() {
		n.slots <- struct{}{}
		if err := n.deliver(body); err != nil {
			n.log.Warn("notification not delivered", "key", m.Key, "err", err) //nolint:sloglint // there is no context
		}
		<-n.slots
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.pending--; n.pending == 0 && n.idle != nil {
			close(n.idle)
			n.idle = nil
		}
	}()
}

// Wait waits until all messages are sent or ctx is done.
func (n *Notifier) Wait(ctx context.Context) {
	if n == nil {
		return
	}
	n.mu.Lock()
	if n.pending == 0 {
		n.mu.Unlock()
		return
	}
	if n.idle == nil {
		n.idle = make(chan struct{})
	}
	idle := n.idle
	n.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// deliver makes attempts until one succeeds. The error does not quote the URL.
func (n *Notifier) deliver(body []byte) error {
	for attempt := 1; ; attempt++ {
		isFinal, err := n.post(body)
		if err == nil || isFinal || attempt == maxAttempts {
			return err
		}
		if err := backoff.Sleep(context.Background(), waits.Wait(attempt)); err != nil {
			return err
		}
	}
}

// post makes one attempt. isFinal says that another one is of no use.
func (n *Notifier) post(body []byte) (isFinal bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, bytes.NewReader(body))
	if err != nil {
		return true, errors.New("NOTIFY_URL is not a URL")
	}
	r.Header.Set("Content-Type", "application/json")
	if n.secret != "" {
		at := strconv.FormatInt(time.Now().Unix(), 10)
		r.Header.Set("X-Groupimport-Timestamp", at)
		r.Header.Set("X-Groupimport-Signature", Signature(n.secret, at, body))
	}
	resp, err := n.client.Do(r)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // without the URL
		}
		return false, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return true, nil
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return false, fmt.Errorf("the webhook responds with HTTP %d", code)
	default:
		return true, fmt.Errorf("the webhook responds with HTTP %d: check NOTIFY_URL and NOTIFY_FORMAT", code)
	}
}

// Signature returns the value of X-Groupimport-Signature.
func Signature(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp))
	mac.Write([]byte("."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// text describes a message in one line.
func text(m *Message) string {
	var parts []string
	for status, n := range m.Counts.All() {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, status))
		}
	}
	line := "groupimport: " + m.Key + " in " + m.Bucket + ": " + m.State
	if m.Reason != "" {
		line += ": " + m.Reason
	}
	if len(parts) > 0 {
		line += ". " + strings.Join(parts, ", ")
	}
	if m.GivenUp > 0 {
		line += fmt.Sprintf(", %d given up after all retries", m.GivenUp)
	}
	line = strings.ToValidUTF8(line, "\uFFFD")
	if runes := []rune(line); len(runes) > maxText {
		line = string(runes[:maxText]) + "…"
	}
	return line + ". Report: " + m.Report
}
