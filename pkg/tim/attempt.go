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
	"sync/atomic"
	"time"

	"groupimport/pkg/backoff"
)

// The commands of the service.
const (
	importGroup       = "import_group"
	createGroup       = "create_group"
	getGroupInfo      = "get_group_info"
	importGroupMember = "import_group_member"
	accountCheck      = "account_check"
	accountImport     = "multiaccount_import"
)

// services are the parts of the paths before the commands.
var services = map[string]string{
	importGroup:       "group_open_http_svc",
	createGroup:       "group_open_http_svc",
	getGroupInfo:      "group_open_http_svc",
	importGroupMember: "group_open_http_svc",
	accountCheck:      "im_open_login_svc",
	accountImport:     "im_open_login_svc",
}

// header is the header of every request: nobody writes to it.
var header = http.Header{"Content-Type": {"application/json"}}

// Limits of the body of a response in bytes. The bodies of all responses in flight share the memory of a function, 900
// of import_group at most. The service may send up to 1 MB (10018), but not for these requests: an import's response
// has four short fields, a look-up's five short fields of 50 groups.
const (
	maxImportResponse = 16 << 10
	maxLookUpResponse = 256 << 10
)

// A verdict is the end of one attempt.
type verdict int

const (
	unknown         verdict = iota // the service may have executed the request or not
	accepted                       // executed
	rejected                       // permanently rejected
	inUse                          // rejected, because a group with this ID already exists
	notSent                        // the service got no byte of the request
	tooManyRequests                // throttled
	sigRejected                    // rejected, because of the UserSig
	fatal                          // rejected, and no request will be accepted, see [Client.Fatal]
	ambiguous                      // rejected; a harmless request shows whether the service accepts others
)

// An attempt is the result of one HTTP exchange.
type attempt struct {
	verdict   verdict
	code      int    // the service's; 0 without a readable response
	message   string // for operators, empty if accepted
	groupID   string
	body      []byte // of the response
	took      time.Duration
	rejection *rejection // only if ambiguous
	since     int64      // Client.accepted when the attempt began
}

// attempt makes one exchange and releases its slot.
func (c *Client) attempt(ctx context.Context, p *permit, req request) attempt {
	p.lane.attempts.Add(1)
	c.share(ctx).attempts[p.lane.id].Add(1)
	sig, err := c.signer.sign()
	if err != nil {
		c.giveBack(p)
		c.fail(ctx, &FatalError{Reason: err.Error()})
		return attempt{verdict: fatal, message: err.Error()}
	}
	start := time.Now()
	since := c.accepted.Load()
	resp, sent, err := c.exchange(ctx, p, sig, req)
	took := time.Since(start)
	p.Sent()
	p.lane.limit.release(took)
	c.retryAfter(ctx, resp)
	a := c.judge(ctx, p.lane, req.command, resp, err, sig)
	a.took, a.since = took, since
	if !sent {
		a.verdict = notSent
	}
	if errors.Is(err, errGate) { // says nothing about the service
		if p.probe {
			c.breaker.cancelProbe()
		}
		return a
	}
	if a.verdict == accepted || a.verdict == inUse {
		c.accepted.Add(1)
		if req.command != getGroupInfo {
			p.lane.ambiguous.Store(0)
		}
	}
	if (a.verdict == unknown || a.verdict == notSent) && a.code == 0 {
		c.recordFailure(ctx, p, a.message)
	} else {
		c.breaker.recordSuccess()
	}
	return a
}

// recordFailure tells the breaker that an attempt got no readable response, for the reason in message.
func (c *Client) recordFailure(ctx context.Context, p *permit, message string) {
	opened, exhausted := c.breaker.recordFailure(p.probe)
	if opened {
		c.log.WarnContext(ctx, "service does not respond, waiting", "last", message)
	}
	if exhausted {
		c.fail(ctx, unreachable(message))
	}
}

// A response is an HTTP response. The zero value is the response of an exchange that failed.
type response struct {
	status int
	header http.Header
	body   []byte // empty unless status is 200
}

// exchange sends one request and reads its response. If the host cannot be connected to, the request is sent to the
// other host, with the same permit. sent is false if no byte of the request can have reached the service; then there is
// an error. The error contains no secrets.
func (c *Client) exchange(ctx context.Context, p *permit, sig string, q request) (
	resp response, sent bool, err error,
) {
	// The end of ctx does not cut off an attempt in flight, because that leaves open whether the group exists. But the
	// attempt ends within the drain timeout.
	attemptCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), AttemptTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if backoff.Sleep(attemptCtx, c.drain(ctx)) == nil {
			cancel()
		}
	})
	defer stop()

	c.dropStale()
	defer c.used()
	h := c.route.pick()
	resp, sent, err = c.roundTrip(attemptCtx, p, h, sig, q)
	if !sent && !errors.Is(err, errGate) && c.route.failed(h) && attemptCtx.Err() == nil {
		first := err
		h = h.other()
		if resp, sent, err = c.roundTrip(attemptCtx, p, h, sig, q); !sent {
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
func (c *Client) roundTrip(ctx context.Context, p *permit, h host, sig string, q request) (
	_ response, sent bool, err error,
) {
	var requested, connected atomic.Bool
	tracedCtx := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { requested.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil { // after an error the transport may write the request again, on another connection
				p.Sent()
			}
		},
	})
	u := *c.urls[h][q.command]
	u.RawQuery += url.QueryEscape(sig) + "&random=" + strconv.FormatUint(uint64(rand.Uint32()), 10)
	newBody := func() (io.ReadCloser, error) { return gatedBody{bytes.NewReader(q.body), gateOf(ctx)}, nil }
	reqBody, _ := newBody() // cannot fail
	req := (&http.Request{
		Method:        http.MethodPost,
		URL:           &u,
		Host:          u.Host,
		Header:        header,
		Body:          reqBody,
		GetBody:       newBody,
		ContentLength: int64(len(q.body)),
	}).WithContext(tracedCtx)

	resp, err := c.cfg.Transport.RoundTrip(req)
	if err != nil {
		// Nothing is sent without a connection, which includes its TLS handshake. A dial can also fail after a
		// connection: if a kept-alive connection turns out to be closed before a byte was written, the transport dials
		// again.
		dial, ok := errors.AsType[*net.OpError](err)
		never := requested.Load() && !connected.Load() || ok && dial.Op == "dial" || errors.Is(err, errGate)
		return response{}, !never, c.clean(ctx, err, sig)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	limit := q.maxResponse
	if resp.StatusCode != http.StatusOK { // then the status decides alone
		if resp.StatusCode >= 200 { // the body of a 101 is the connection
			_, _ = io.CopyN(io.Discard, resp.Body, limit) // so that the connection can be used again
		}
		return response{status: resp.StatusCode, header: resp.Header}, true, nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return response{}, true, c.clean(ctx, err, sig)
	}
	if int64(len(text)) > limit {
		return response{}, true, fmt.Errorf("the response is longer than %d KB", limit>>10)
	}
	return response{resp.StatusCode, resp.Header, text}, true, nil
}

// clean returns an error for operators without the secrets that a transport's error may quote. It does not wrap, or
// unwrapping would reveal the secrets. ctx is the attempt's.
func (c *Client) clean(ctx context.Context, err error, sig string) error {
	switch {
	case errors.Is(err, errGate):
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no response within %v", AttemptTimeout)
	case ctx.Err() != nil:
		return errors.New("no response when the run ended")
	default:
		return errors.New(excerpt(c.signer.hide(err.Error(), sig)))
	}
}
