package tim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxAnswer is the most that the service sends (10018 says that an answer would have been larger).
const maxAnswer = 1 << 20

// A verdict is the end of one attempt.
type verdict int

const (
	dontKnow  verdict = iota // the service may have done it or not
	yes                      // it did
	no                       // it did not and never will
	stands                   // it did not, because a group with this ID stands
	notSent                  // it got no byte of it
	tooFast                  // it did not, because of the rate
	signAgain                // it did not, because of the UserSig
	halt                     // it did not, and takes nothing else either; Stopped says why
)

// An attempt is what one HTTP exchange came to.
type attempt struct {
	verdict verdict
	code    int    // the service's; 0 if there is no readable answer
	info    string // its ErrorInfo
	message string // for people, empty for yes
	groupID string
	body    []byte // the answer
	took    time.Duration
}

// answer is what all answers of the service have in common.
type answer struct {
	ActionStatus string `json:"ActionStatus"`
	ErrorInfo    string `json:"ErrorInfo"`
	ErrorCode    *int   `json:"ErrorCode"`
	GroupID      string `json:"GroupId"`
}

// attempt makes one exchange. The turn's place is given back.
func (c *Client) attempt(ctx context.Context, t *turn, command string, body []byte) attempt {
	c.attempts.Add(1)
	sig, err := c.signer.sign("")
	if err != nil {
		t.Sent()
		c.window.leave(0)
		if t.probe {
			c.breaker.abandoned()
		}
		c.stopWith(&Stop{Reason: err.Error()})
		return attempt{verdict: halt, message: err.Error()}
	}
	start := time.Now()
	status, text, sent, err := c.exchange(ctx, t, command, sig, body)
	took := time.Since(start)
	t.Sent()
	c.window.leave(took)
	a := c.judge(status, text, err, sig)
	a.took = took
	if err != nil && !sent {
		a.verdict = notSent
	}
	switch a.verdict {
	case dontKnow, notSent:
		if a.code != 0 {
			c.breaker.answer()
			break
		}
		opened, gone := c.breaker.silence(t.probe)
		if opened {
			c.log.Warn("service does not answer, waiting", "last", a.message)
		}
		if gone {
			c.stopWith(unreachable(a.message))
		}
	case yes, no, stands, tooFast, signAgain, halt:
		c.breaker.answer()
	}
	return a
}

// exchange sends one request and reads its answer. sent is false if no byte of it can have reached the
// service. The error is free of secrets.
func (c *Client) exchange(ctx context.Context, t *turn, command, sig string, body []byte) (
	status int, answer []byte, sent bool, err error,
) {
	// An attempt under way is not cut off when ctx ends, because that leaves open whether the group
	// exists; but it does not go on for longer than the grace.
	attemptCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), AttemptTimeout)
	defer cancel()
	var last *time.Timer
	var lastMu sync.Mutex
	stop := context.AfterFunc(ctx, func() {
		lastMu.Lock()
		defer lastMu.Unlock()
		last = time.AfterFunc(c.cfg.Grace, cancel)
	})
	defer func() {
		stop()
		lastMu.Lock()
		defer lastMu.Unlock()
		if last != nil {
			last.Stop()
		}
	}()

	var connected atomic.Bool
	attemptCtx = httptrace.WithClientTrace(attemptCtx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { connected.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) { t.Sent() },
	})
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + "/v4/group_open_http_svc/" + command
	u.RawQuery = "sdkappid=" + strconv.Itoa(c.cfg.SDKAppID) +
		"&identifier=" + url.QueryEscape(c.cfg.Admin) +
		"&usersig=" + url.QueryEscape(sig) +
		"&random=" + strconv.FormatUint(uint64(rand.Uint32()), 10) +
		"&contenttype=json"
	req := (&http.Request{
		Method:        http.MethodPost,
		URL:           &u,
		Host:          u.Host,
		Header:        http.Header{"Content-Type": {"application/json"}},
		Body:          io.NopCloser(bytes.NewReader(body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
		ContentLength: int64(len(body)),
	}).WithContext(attemptCtx)

	resp, err := c.cfg.Transport.RoundTrip(req)
	if err != nil {
		dial, ok := errors.AsType[*net.OpError](err)
		sent := connected.Load() && (!ok || dial.Op != "dial")
		return 0, nil, sent, c.clean(err, attemptCtx, sig)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, true, c.clean(err, attemptCtx, sig)
	}
	if len(answer) > maxAnswer {
		return 0, nil, true, errors.New("the answer is longer than 1 MB")
	}
	return resp.StatusCode, answer, true, nil
}

// clean makes of a transport's error one for people that holds no secret, whatever the transport wrote
// into it. It does not wrap: what it hides must not be found by unwrapping.
func (c *Client) clean(err error, attemptCtx context.Context, sig string) error {
	if attemptCtx.Err() != nil {
		if errors.Is(attemptCtx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("no answer within %v", AttemptTimeout)
		}
		return errors.New("no answer when the run ended")
	}
	text := err.Error()
	for _, secret := range []string{sig, url.QueryEscape(sig), c.cfg.SecretKey} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "(secret)")
		}
	}
	return errors.New(text)
}

// judge says what an answer means.
func (c *Client) judge(status int, text []byte, err error, sig string) attempt {
	if err != nil {
		return attempt{message: err.Error()}
	}
	switch {
	case status == http.StatusOK:
	case status == http.StatusTooManyRequests:
		c.slowDown(0, "HTTP 429")
		return attempt{verdict: tooFast, message: "HTTP 429"}
	case status >= 300 && status < 500 && status != http.StatusRequestTimeout:
		// Not the service's own word: it answers 200. A proxy or a wrong address.
		c.stopWith(&Stop{Reason: fmt.Sprintf("HTTP %d instead of an answer of the service: check TIM_ENDPOINT", status)})
		return attempt{verdict: halt, message: fmt.Sprintf("HTTP %d", status)}
	default:
		return attempt{message: fmt.Sprintf("HTTP %d", status)}
	}
	var ans answer
	if err := json.Unmarshal(text, &ans, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)); err != nil || ans.ErrorCode == nil {
		return attempt{message: "an answer that cannot be read: " + excerpt(text)}
	}
	a := attempt{code: *ans.ErrorCode, info: ans.ErrorInfo, groupID: ans.GroupID, body: text}
	if (ans.ActionStatus == "OK") != (a.code == 0) {
		return attempt{message: fmt.Sprintf("an answer that contradicts itself: %s with code %d", excerpt([]byte(ans.ActionStatus)), a.code)}
	}
	meaning := Explain(a.code)
	if a.code == codeNoPermission && !c.taken.Load() {
		meaning.Class = Halt // nothing was ever taken: it is about the caller and not about this record
	}
	a.message = describe(a.code, a.info, meaning)
	switch meaning.Class {
	case OK:
		c.taken.Store(true)
		c.quota.taken()
		a.verdict, a.message = yes, ""
	case Permanent:
		a.verdict = no
	case Exists:
		a.verdict = stands
	case Transient:
		a.verdict = dontKnow
	case Throttled:
		a.verdict = tooFast
		if c.quota.refused(a.code) {
			a.verdict = halt
			c.stopWith(&Stop{Code: a.code, Reason: fmt.Sprintf("%s; it has lasted for %v: the day's quota of new groups is probably used up, "+
				"go on tomorrow or ask Tencent Cloud for more", a.message, quotaPatience)})
		}
		c.slowDown(a.code, a.info)
	case SignAgain:
		a.verdict = signAgain
		if _, err := c.signer.sign(sig); err != nil {
			a.verdict = halt
			c.stopWith(&Stop{Reason: err.Error()})
		}
		c.log.Warn("user_sig refused, signing again", "code", a.code, "info", a.info)
	case Halt:
		a.verdict = halt
		c.stopWith(&Stop{Code: a.code, Reason: stopReason(a.code, a.info)})
	}
	return a
}

func (c *Client) slowDown(code int, info string) {
	before := c.cfg.Pacer.Slowdowns()
	c.cfg.Pacer.SlowDown()
	if c.cfg.Pacer.Slowdowns() > before {
		c.log.Warn("service says too fast, slowing down", "code", code, "info", info, "rate", c.cfg.Pacer.Rate())
	}
}

// describe puts a code, its meaning and the service's own words into a sentence.
func describe(code int, info string, m Meaning) string {
	if info == "" {
		return fmt.Sprintf("code %d: %s", code, m.Text)
	}
	return fmt.Sprintf("code %d: %s (%s)", code, m.Text, excerpt([]byte(info)))
}

func stopReason(code int, info string) string { return describe(code, info, Explain(code)) }

// excerpt quotes the beginning of foreign text.
func excerpt(text []byte) string {
	const most = 200
	s := strings.ToValidUTF8(string(text[:min(len(text), most)]), "\uFFFD")
	if len(text) > most {
		s += "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
}

// A quotaWatch tells 10006 for a moment from 10006 for the rest of the day.
type quotaWatch struct {
	mu    sync.Mutex
	since time.Time // of the first 10006 with no OK behind it
}

func (q *quotaWatch) taken() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.since = time.Time{}
}

// refused reports whether it has lasted too long.
func (q *quotaWatch) refused(code int) bool {
	if code != codeFrequency {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.since.IsZero() {
		q.since = time.Now()
	}
	return time.Since(q.since) >= quotaPatience
}
