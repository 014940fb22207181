package tim

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// 10006 stands for a frequency, but create_group also returns it once the day's 10,000 new groups are used up
	// (trtc.io/document/33529). Nothing but 10006 for quotaPatience is the quota.
	quotaPatience = 5 * time.Minute
	quotaGap      = time.Minute // without a 10006, after which the next one is the first; longer than throttleWaits
)

// lenient are the options for reading responses. They accept what encoding/json accepts.
var lenient = json.JoinOptions(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))

// A reply has the common fields of all responses of the service.
type reply struct {
	ActionStatus string `json:"ActionStatus"`
	ErrorInfo    string `json:"ErrorInfo"`
	ErrorCode    *int   `json:"ErrorCode"`
	GroupID      string `json:"GroupId"`
}

// judge decides about an attempt.
func (c *Client) judge(ctx context.Context, l *lane, command string, resp response, err error, sig string) attempt {
	if err != nil {
		return attempt{message: err.Error()}
	}
	switch status := resp.status; {
	case status == http.StatusOK:
		return c.judgeBody(ctx, l, command, resp.body, sig)
	case status == http.StatusTooManyRequests:
		c.decreaseRate(ctx, l, 0, "HTTP 429")
		return attempt{verdict: tooManyRequests, message: "HTTP 429"}
	case status >= 300 && status < 500 && status != http.StatusRequestTimeout:
		return rejectedByStatus(resp)
	default:
		return attempt{message: fmt.Sprintf("HTTP %d", status)}
	}
}

// judgeBody decides about an attempt by the body of a response with status 200.
func (c *Client) judgeBody(ctx context.Context, l *lane, command string, body []byte, sig string) attempt {
	var re reply
	if err := json.Unmarshal(body, &re, lenient); err != nil || re.ErrorCode == nil {
		return attempt{message: "unreadable response: " + excerpt(c.signer.hide(string(body), sig))}
	}
	if !isValidID(re.GroupID) {
		return attempt{message: fmt.Sprintf("unreadable response: GroupId of %d bytes, or not printable", len(re.GroupID))}
	}
	a := attempt{code: *re.ErrorCode, groupID: re.GroupID, body: body}
	if (re.ActionStatus == "OK") != (a.code == 0) {
		status := excerpt(c.signer.hide(re.ActionStatus, sig))
		return attempt{message: fmt.Sprintf("contradictory response: ActionStatus %s with code %d", status, a.code)}
	}
	meaning := Explain(a.code)
	if meaning.Class == OK {
		c.authorized.Store(true)
		if command == importGroup || command == createGroup {
			c.quota.recordCreated()
		}
		a.verdict = accepted
		return a
	}
	info := excerpt(c.signer.hide(re.ErrorInfo, sig))
	a.message = describe(a.code, info, meaning)
	switch meaning.Class {
	case OK: // see above
	case Permanent:
		a.verdict = rejected
		if a.code == codeNoPermission && !c.isAuthorized(ctx) { // it may be about the caller
			a.verdict, a.rejection = ambiguous, &rejection{Rejected, &FatalError{a.code, a.message}}
		}
	case Unlisted:
		a.verdict, a.rejection = ambiguous, &rejection{Failed, &FatalError{a.code, a.message}}
	case InUse:
		a.verdict = inUse
	case Transient:
		a.verdict = unknown
	case Throttled:
		a.verdict = tooManyRequests
		if (command == importGroup || command == createGroup) && a.code == codeFrequency && c.quota.recordFrequency() {
			a.verdict = fatal
			reason := fmt.Sprintf("%s; it has lasted for %v: the day's quota of new groups is probably used up, "+
				"resume tomorrow or ask Tencent Cloud for more", a.message, quotaPatience)
			c.fail(ctx, &FatalError{Code: a.code, Reason: reason})
		}
		c.decreaseRate(ctx, l, a.code, info)
	case SignAgain:
		a.verdict = sigRejected
		c.signer.invalidate(sig)
		c.log.WarnContext(ctx, "user_sig rejected, signing again", "code", a.code, "info", info)
	case Fatal:
		if command == accountCheck && c.isAuthorized(ctx) && !c.cfg.ImportAccounts {
			a.verdict = rejected // it would only have said why members were not added
			if !c.checkRefused.Swap(true) {
				c.log.WarnContext(ctx, "account_check is refused: missing members have no reason", "code", a.code, "info", info)
			}
			return a
		}
		a.verdict = fatal
		c.fail(ctx, &FatalError{Code: a.code, Reason: a.message})
	}
	return a
}

// decreaseRate decreases the rate of a lane, because the service throttled a request.
func (c *Client) decreaseRate(ctx context.Context, l *lane, code int, info string) {
	before := l.pacer.Decreases()
	l.pacer.Decrease()
	if l.pacer.Decreases() > before {
		c.log.WarnContext(ctx, "throttled, rate decreased", "code", code, "info", info, "rate", l.pacer.Rate())
	}
}

// describe returns a sentence with a code, its meaning and the service's own message.
func describe(code int, info string, m Meaning) string {
	if info == "" {
		return fmt.Sprintf("code %d: %s", code, m.Text)
	}
	return fmt.Sprintf("code %d: %s (%s)", code, m.Text, info)
}

// maxGroupID limits a GroupId of the service in bytes. The document says 48
// (tencentcloud.com/document/product/1047/34967).
const maxGroupID = 64

// isValidID reports whether a GroupId of the service is short enough for results and printable, or empty.
func isValidID(id string) bool {
	return len(id) <= maxGroupID && !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' })
}

// excerpt returns the beginning of a text from outside, with spaces for characters that are not printable.
func excerpt(text string) string {
	const maxBytes = 200
	s := strings.ToValidUTF8(text[:min(len(text), maxBytes)], "\uFFFD")
	if len(text) > maxBytes {
		s += "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// A quotaWatch distinguishes a day's used-up quota from a temporary 10006.
type quotaWatch struct {
	mu    sync.Mutex
	since time.Time // of the first 10006 with no group created since
	last  time.Time // of the latest 10006
}

// recordCreated records that a group was created.
func (q *quotaWatch) recordCreated() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.since = time.Time{}
}

// recordFrequency records a 10006 and reports whether the quota is used up.
func (q *quotaWatch) recordFrequency() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if q.since.IsZero() || now.Sub(q.last) > quotaGap {
		q.since = now
	}
	q.last = now
	return now.Sub(q.since) >= quotaPatience
}
