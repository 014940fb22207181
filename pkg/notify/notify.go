// Package notify tells a webhook what became of imports. README.md describes the requests.
//
// # Promise
//
// Each change of an import is sent while the process lives, with retries, and never holds up an import. It is lost if
// the process is killed before, or if the webhook fails for longer than the retries last: at most once, but for one
// case. If the response to a request is lost, the webhook gets the same request again, with the same Message.ID. The
// states of all imports are in the bucket, see package scheduler.
package notify

import (
	"bytes"
	"cmp"
	"context"
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
	ID      string         `json:"id"`    // the same in repeated requests, and unique otherwise
	State   string         `json:"state"` // finished, stopped or cancelled
	Bucket  string         `json:"bucket"`
	Key     string         `json:"key"`              // of the export
	Reason  string         `json:"reason,omitzero"`  // why the import is not finished
	Counts  outcome.Counts `json:"counts"`           // of the whole import
	GivenUp int64          `json:"givenUp,omitzero"` // records that are not retried any more
	Export  string         `json:"export"`           // address, like s3://bucket/key, or name of a local file
	Report  string         `json:"report,omitzero"`  // address of the HTML report; empty if there is none
	At      time.Time      `json:"at"`
	Text    string         `json:"text"` // all this for people; Send sets it
}

// isFine reports whether nobody has to act.
func (m *Message) isFine() bool { return m.State == "finished" && m.Counts.IsWhole() }

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

// A Target is where messages go, and how.
type Target struct {
	URL    string // must pass [CheckURL]
	Secret string // signs requests; empty for none
}

// ErrInvalid is about the content of a secret that does not say where messages go.
var ErrInvalid = errors.New("it does not hold the URL of a webhook")

// ParseTarget parses the content of a secret: the URL in the first line, and the secret, if any, in the second. The
// error is an [ErrInvalid] and quotes neither.
func ParseTarget(content string) (Target, error) {
	address, secret, _ := strings.Cut(strings.TrimSpace(content), "\n")
	t := Target{URL: strings.TrimSpace(address), Secret: strings.TrimSpace(secret)}
	if err := CheckURL(t.URL); err != nil {
		return Target{}, fmt.Errorf("%w: the first line %w", ErrInvalid, err)
	}
	if strings.Contains(t.Secret, "\n") {
		return Target{}, fmt.Errorf("%w: there may be two lines at most, the URL and the secret", ErrInvalid)
	}
	return t, nil
}

const (
	maxAttempts    = 5
	attemptTimeout = 5 * time.Second
	maxRetryAfter  = 30 * time.Second
	maxPending     = 1000 // messages that are not sent; further ones are dropped
	maxResponse    = 64 << 10

	// repeatAfter is how long a message that an import is stopped is not repeated by one process.
	repeatAfter = time.Hour
)

var waits = backoff.Exponential{Base: time.Second, Max: 8 * time.Second}

// A Notifier sends messages to one webhook. It may be used concurrently. A nil Notifier sends nothing.
type Notifier struct {
	load   func(context.Context) (Target, error)
	format format
	client *http.Client
	log    *slog.Logger
	limit  time.Duration // of an attempt
	pause  time.Duration // between two requests
	waits  backoff.Exponential

	mu      sync.Mutex
	queue   []Message
	workers int
	idle    chan struct{}        // closed when nothing is pending; nil without waiters
	dropped int                  // messages since the last that was queued
	stopped map[string]time.Time // when a message with this text was queued
	sent    time.Time            // the end of the last request
}

// New returns a Notifier. It calls load before requests, perhaps concurrently, so that an import never waits for a
// store of secrets. An error of load that is not an [ErrInvalid] is tried again. An unknown name of a format is the
// default.
func New(load func(context.Context) (Target, error), name string, log *slog.Logger) *Notifier {
	f, ok := formats[name]
	if !ok {
		f = formats[Formats()[0]]
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSHandshakeTimeout: attemptTimeout,
		IdleConnTimeout:     attemptTimeout, // a function may be frozen for longer than the webhook keeps a connection
		ForceAttemptHTTP2:   true,
	}
	return &Notifier{
		load: load, format: f, log: log, stopped: map[string]time.Time{}, limit: attemptTimeout, pause: f.pause, waits: waits,
		client: &http.Client{
			Transport: transport,
			// A redirect could lead to another host, without TLS.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Fixed returns a function for [New] that always returns one target.
func Fixed(t Target) func(context.Context) (Target, error) {
	return func(context.Context) (Target, error) { return t, nil }
}

// Send sends a message in the background. The caller may wait for it with [Notifier.Wait]. Send drops a message that an
// import is stopped if it has sent the same within the last hour: an import that cannot begin is tried every minute.
func (n *Notifier) Send(m Message) {
	if n == nil {
		return
	}
	m.Reason = clip(m.Reason, maxText)
	m.Text = text(&m)
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.State == "stopped" && !n.isNews(m.Text) {
		return
	}
	if len(n.queue) >= maxPending {
		if n.dropped++; n.dropped == 1 {
			n.log.Warn("no notification: too many wait to be sent", "key", m.Key)
		}
		return
	}
	n.dropped = 0
	if n.queue = append(n.queue, m); n.workers < n.format.workers {
		n.workers++
		go n.work()
	}
}

// isNews reports whether a text was not queued within repeatAfter.
func (n *Notifier) isNews(text string) bool {
	now := time.Now()
	if at, ok := n.stopped[text]; ok && now.Sub(at) < repeatAfter {
		return false
	}
	if len(n.stopped) >= maxPending {
		clear(n.stopped)
	}
	n.stopped[text] = now
	return true
}

// Wait waits until all messages are sent, or given up, or ctx is done.
func (n *Notifier) Wait(ctx context.Context) {
	if n == nil {
		return
	}
	n.mu.Lock()
	if n.workers == 0 {
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

// work sends messages until none is queued.
func (n *Notifier) work() {
	for {
		n.mu.Lock()
		if len(n.queue) == 0 {
			if n.workers--; n.workers == 0 && n.idle != nil {
				close(n.idle)
				n.idle = nil
			}
			n.mu.Unlock()
			return
		}
		pause := n.pause - time.Since(n.sent)
		n.mu.Unlock()
		_ = backoff.Sleep(context.Background(), pause)
		batch := n.take()
		if len(batch) == 0 {
			continue
		}
		if err := n.deliver(batch); err != nil {
			n.log.Warn("notification not delivered", "key", batch[0].Key,
				"messages", len(batch), "err", err)
		}
	}
}

// take returns the messages of the next request.
func (n *Notifier) take() []Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := len(n.queue)
	if !n.format.isChat {
		count = min(count, 1)
	}
	batch := n.queue[:count:count]
	n.queue = n.queue[count:]
	return batch
}

// deliver makes attempts until one succeeds.
func (n *Notifier) deliver(batch []Message) error {
	for attempt := 1; ; attempt++ {
		wait, err := n.attempt(batch)
		n.mu.Lock()
		n.sent = time.Now()
		n.mu.Unlock()
		if err == nil || wait < 0 || attempt == maxAttempts {
			return err
		}
		_ = backoff.Sleep(context.Background(), max(min(wait, maxRetryAfter), n.waits.Wait(attempt), n.pause))
	}
}

// attempt makes one attempt. If it fails, wait is what the webhook asks to wait before the next one, or negative if
// another one is of no use. The error does not quote the URL.
func (n *Notifier) attempt(batch []Message) (wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), n.limit)
	defer cancel()
	target, err := n.load(ctx)
	switch {
	case errors.Is(err, ErrInvalid):
		return -1, err
	case err != nil:
		return 0, err
	}
	address, body, err := n.format.request(batch, target, time.Now())
	if err != nil {
		return -1, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return -1, errors.New("the URL is invalid")
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("User-Agent", "groupimport")
	r.Header.Set("Idempotency-Key", batch[0].ID)
	if target.Secret != "" && !n.format.isSigned {
		at := strconv.FormatInt(time.Now().Unix(), 10)
		r.Header.Set(headerTimestamp, at)
		r.Header.Set(headerSignature, Signature(target.Secret, at, body))
	}
	resp, err := n.client.Do(r)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // without the URL
		}
		return 0, err
	}
	defer resp.Body.Close()
	// All of it is read, so that the connection can be used again.
	response, readErr := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // a date counts as no time
	wait = time.Duration(max(seconds, 0)) * time.Second
	switch code := resp.StatusCode; {
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return wait, fmt.Errorf("the webhook responds with HTTP %d", code)
	case code < 200 || code >= 300:
		return -1, fmt.Errorf("the webhook responds with HTTP %d: check NOTIFY_URL and NOTIFY_FORMAT", code)
	case !n.format.isChat:
		return 0, nil
	case readErr != nil:
		return 0, fmt.Errorf("read the response: %w", readErr)
	}
	return n.format.accepted(response)
}

// accepted returns the error of a response with HTTP 200, in which some chats have a code. The results are those of
// attempt.
func (f *format) accepted(response []byte) (wait time.Duration, err error) {
	var r struct {
		ErrCode int    `json:"errcode"` // WeCom, DingTalk
		ErrMsg  string `json:"errmsg"`
		Code    int    `json:"code"` // Feishu
		Msg     string `json:"msg"`
	}
	if f.hasCode {
		_ = json.Unmarshal(response, &r) // what is no JSON has no code
	}
	code, why := cmp.Or(r.ErrCode, r.Code), clip(oneLine(cmp.Or(r.ErrMsg, r.Msg)), maxLine)
	switch code {
	case 0:
		return 0, nil
	case -1, 45009, 130101, 11232, 99991400: // busy; too many messages: WeCom, DingTalk, Feishu twice
		return maxRetryAfter, fmt.Errorf("the chat responds with code %d: %s", code, why)
	}
	return -1, fmt.Errorf("the chat responds with code %d: %s; check NOTIFY_URL, NOTIFY_SECRET and NOTIFY_FORMAT",
		code, why)
}
