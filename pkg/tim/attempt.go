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

	"groupimport/pkg/backoff"
)

const (
	importGroup  = "import_group"
	getGroupInfo = "get_group_info"
)

// header is every request's: nobody writes to it.
var header = http.Header{"Content-Type": {"application/json"}}

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
	doubtful                 // it did not; whether it takes others a harmless request finds out, see doubt
)

// An attempt is what one HTTP exchange came to.
type attempt struct {
	verdict verdict
	code    int    // the service's; 0 if there is no readable answer
	message string // for people, empty for yes
	groupID string
	body    []byte // the answer
	took    time.Duration
	doubt   *doubt // of doubtful alone
	since   int64  // what accepted was when it began
}

// answer is what all answers of the service have in common.
type answer struct {
	ActionStatus string `json:"ActionStatus"`
	ErrorInfo    string `json:"ErrorInfo"`
	ErrorCode    *int   `json:"ErrorCode"`
	GroupID      string `json:"GroupId"`
}

// attempt makes one exchange and releases its slot.
func (c *Client) attempt(ctx context.Context, t *turn, command string, body []byte) attempt {
	c.attempts.Add(1)
	sig, err := c.signer.sign()
	if err != nil {
		t.Sent()
		c.limit.release(0)
		if t.probe {
			c.breaker.abandoned()
		}
		c.stopWith(ctx, &Stop{Reason: err.Error()})
		return attempt{verdict: halt, message: err.Error()}
	}
	start := time.Now()
	since := c.accepted.Load()
	resp, sent, err := c.exchange(ctx, t, command, sig, body)
	took := time.Since(start)
	t.Sent()
	c.limit.release(took)
	c.retryAfter(ctx, resp)
	a := c.judge(ctx, command, resp, err, sig)
	a.took, a.since = took, since
	if !sent {
		a.verdict = notSent
	}
	if errors.Is(err, errGate) { // says nothing about the service
		if t.probe {
			c.breaker.abandoned()
		}
		return a
	}
	if a.verdict == yes || a.verdict == stands {
		c.accepted.Add(1)
		if command == importGroup {
			c.doubts.Store(0)
		}
	}
	switch a.verdict {
	case dontKnow, notSent:
		if a.code != 0 {
			c.breaker.answer()
			break
		}
		opened, gone := c.breaker.silence(t.probe)
		if opened {
			c.log.WarnContext(ctx, "service does not answer, waiting", "last", a.message)
		}
		if gone {
			c.stopWith(ctx, unreachable(a.message))
		}
	case yes, no, stands, tooFast, signAgain, halt, doubtful:
		c.breaker.answer()
	}
	return a
}

// A response is what came back over HTTP. Its zero value is that of an exchange that failed.
type response struct {
	status int
	header http.Header
	body   []byte
}

// exchange sends one request and reads its response. If no connection to a host comes about, the request goes to
// the other host, within the same turn. sent is false if no byte of it can have reached the service; then there
// is an error. The error is free of secrets.
func (c *Client) exchange(ctx context.Context, t *turn, command, sig string, body []byte) (
	resp response, sent bool, err error,
) {
	// An attempt under way is not cut off when ctx ends, because that leaves open whether the group
	// exists; but it does not go on for longer than the grace.
	attemptCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), AttemptTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if backoff.Sleep(attemptCtx, time.Duration(c.grace.Load())) == nil {
			cancel()
		}
	})
	defer stop()

	c.dropStale()
	defer c.used()
	h := c.route.pick()
	resp, sent, err = c.roundTrip(attemptCtx, t, h, command, sig, body)
	if !sent && !errors.Is(err, errGate) && c.route.failed(h) && attemptCtx.Err() == nil {
		first := err
		h = h.other()
		if resp, sent, err = c.roundTrip(attemptCtx, t, h, command, sig, body); !sent {
			c.route.failed(h)
			err = fmt.Errorf("%w; the other host: %w", first, err)
		}
	}
	if sent && c.route.reached(h) {
		c.log.WarnContext(ctx, "host changed, as the other could not be reached", "backup", h == backupHost)
	}
	return resp, sent, err
}

// roundTrip sends one request to a host and reads its response.
func (c *Client) roundTrip(ctx context.Context, t *turn, h host, command, sig string, body []byte) (
	_ response, sent bool, err error,
) {
	var asked, connected atomic.Bool
	tracedCtx := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil { // or the transport may write it once more, on another connection
				t.Sent()
			}
		},
	})
	u := *c.urls[h][command]
	u.RawQuery += url.QueryEscape(sig) + "&random=" + strconv.FormatUint(uint64(rand.Uint32()), 10)
	newBody := func() (io.ReadCloser, error) { return gatedBody{bytes.NewReader(body), gateOf(ctx)}, nil }
	reqBody, _ := newBody() // cannot fail
	req := (&http.Request{
		Method:        http.MethodPost,
		URL:           &u,
		Host:          u.Host,
		Header:        header,
		Body:          reqBody,
		GetBody:       newBody,
		ContentLength: int64(len(body)),
	}).WithContext(tracedCtx)

	resp, err := c.cfg.Transport.RoundTrip(req)
	if err != nil {
		// Nothing is sent without a connection, which includes its TLS handshake. A dial that fails can also come
		// after one: if that had been kept alive and turned out to be closed before a byte was written, the
		// transport dials anew.
		dial, ok := errors.AsType[*net.OpError](err)
		never := asked.Load() && !connected.Load() || ok && dial.Op == "dial" || errors.Is(err, errGate)
		return response{}, !never, c.clean(ctx, err, sig)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close() // it was only read
	if err != nil {
		return response{}, true, c.clean(ctx, err, sig)
	}
	if len(text) > maxAnswer {
		return response{}, true, errors.New("the answer is longer than 1 MB")
	}
	return response{resp.StatusCode, resp.Header, text}, true, nil
}

// clean makes of a transport's error one for people that holds no secret, whatever the transport wrote
// into it. It does not wrap: what it hides must not be found by unwrapping. ctx is the attempt's.
func (c *Client) clean(ctx context.Context, err error, sig string) error {
	switch {
	case errors.Is(err, errGate):
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v", AttemptTimeout)
	case ctx.Err() != nil:
		return errors.New("no answer when the run ended")
	default:
		return errors.New(excerpt([]byte(c.signer.hide(err.Error(), sig))))
	}
}

// judge says what an answer means.
func (c *Client) judge(ctx context.Context, command string, resp response, err error, sig string) attempt {
	if err != nil {
		return attempt{message: err.Error()}
	}
	switch status := resp.status; {
	case status == http.StatusOK:
	case status == http.StatusTooManyRequests:
		c.slowDown(ctx, 0, "HTTP 429")
		return attempt{verdict: tooFast, message: "HTTP 429"}
	case status >= 300 && status < 500 && status != http.StatusRequestTimeout:
		return doubtStatus(resp)
	default:
		return attempt{message: fmt.Sprintf("HTTP %d", status)}
	}
	text := resp.body
	var ans answer
	if err := json.Unmarshal(text, &ans, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)); err != nil || ans.ErrorCode == nil {
		return attempt{message: "an answer that cannot be read: " + excerpt([]byte(c.signer.hide(string(text), sig)))}
	}
	a := attempt{code: *ans.ErrorCode, groupID: ans.GroupID, body: text}
	if (ans.ActionStatus == "OK") != (a.code == 0) {
		return attempt{message: fmt.Sprintf("an answer that contradicts itself: %s with code %d", excerpt([]byte(c.signer.hide(ans.ActionStatus, sig))), a.code)}
	}
	meaning := Explain(a.code)
	if meaning.Class == OK {
		c.taken.Store(true)
		if command == importGroup {
			c.quota.taken()
		}
		a.verdict = yes
		return a
	}
	info := excerpt([]byte(c.signer.hide(ans.ErrorInfo, sig)))
	a.message = describe(a.code, info, meaning)
	switch meaning.Class {
	case OK: // it is above
	case Permanent:
		a.verdict = no
		if a.code == codeNoPermission && !c.taken.Load() { // nothing was ever taken: it may be about the caller
			a.verdict, a.doubt = doubtful, &doubt{end: Rejected, stop: &Stop{Code: a.code, Reason: a.message}}
		}
	case Unlisted:
		a.verdict, a.doubt = doubtful, &doubt{end: Failed, stop: &Stop{Code: a.code, Reason: a.message}}
	case Exists:
		a.verdict = stands
	case Transient:
		a.verdict = dontKnow
	case Throttled:
		a.verdict = tooFast
		if command == importGroup && a.code == codeFrequency && c.quota.refused() {
			a.verdict = halt
			c.stopWith(ctx, &Stop{Code: a.code, Reason: fmt.Sprintf("%s; it has lasted for %v: the day's quota of new groups is probably used up, "+
				"go on tomorrow or ask Tencent Cloud for more", a.message, quotaPatience)})
		}
		c.slowDown(ctx, a.code, info)
	case SignAgain:
		a.verdict = signAgain
		c.signer.refused(sig)
		c.log.WarnContext(ctx, "user_sig refused, signing again", "code", a.code, "info", info)
	case Halt:
		a.verdict = halt
		c.stopWith(ctx, &Stop{Code: a.code, Reason: a.message})
	}
	return a
}

func (c *Client) slowDown(ctx context.Context, code int, info string) {
	before := c.cfg.Pacer.Slowdowns()
	c.cfg.Pacer.SlowDown()
	if c.cfg.Pacer.Slowdowns() > before {
		c.log.WarnContext(ctx, "service says too fast, slowing down", "code", code, "info", info, "rate", c.cfg.Pacer.Rate())
	}
}

// describe puts a code, its meaning and the service's own words into a sentence.
func describe(code int, info string, m Meaning) string {
	if info == "" {
		return fmt.Sprintf("code %d: %s", code, m.Text)
	}
	return fmt.Sprintf("code %d: %s (%s)", code, m.Text, info)
}

// excerpt quotes the beginning of foreign text.
func excerpt(text []byte) string {
	const most = 200
	s := strings.ToValidUTF8(string(text[:min(len(text), most)]), "\uFFFD")
	if len(text) > most {
		s += "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// A quotaWatch tells 10006 for a moment from 10006 for the rest of the day.
type quotaWatch struct {
	mu    sync.Mutex
	since time.Time // of the first 10006 with no group taken since
	last  time.Time // of the latest one
}

// taken notes that a group was taken.
func (q *quotaWatch) taken() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.since = time.Time{}
}

// refused notes a 10006 and reports whether they have lasted too long.
func (q *quotaWatch) refused() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if q.since.IsZero() || now.Sub(q.last) > quotaGap {
		q.since = now
	}
	q.last = now
	return now.Sub(q.since) >= quotaPatience
}
