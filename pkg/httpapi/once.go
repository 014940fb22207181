package httpapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

const maxKey = 255 // characters of an Idempotency-Key

// idempotencyKey returns the key of a request, empty if it has none. The draft wants a string in quotes
// (datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header-07, section 2.1); most clients send it
// bare.
func idempotencyKey(r *http.Request) (key string, refusal answer, ok bool) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", answer{}, true
	}
	key, fits := parseKey(values[0])
	if len(values) > 1 || !fits {
		return "", problem{
			Type: "urn:groupimport:idempotency-key", Title: "The Idempotency-Key is not valid", Status: http.StatusBadRequest,
			Detail: `send one Idempotency-Key of 1 to 255 printable ASCII characters in quotes, for example "8e03978e-40d5-43dd-bc93-6894a57f9324"`,
			Retry:  retryUseless,
		}.answer(), false
	}
	return key, answer{}, true
}

// parseKey reads a string of RFC 8941, or a bare word without anything that has a meaning there.
func parseKey(value string) (key string, ok bool) {
	value = strings.TrimSpace(value)
	inner, quoted := strings.CutPrefix(value, `"`)
	if !quoted {
		return value, value != "" && len(value) <= maxKey && !strings.ContainsFunc(value, func(r rune) bool {
			return r <= ' ' || r > '~' || strings.ContainsRune(`",;\`, r)
		})
	}
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		c := inner[i]
		switch {
		case c == '"':
			return b.String(), i == len(inner)-1 && b.Len() > 0 && b.Len() <= maxKey
		case c == '\\':
			i++
			if i == len(inner) || inner[i] != '"' && inner[i] != '\\' {
				return "", false
			}
			c = inner[i]
		case c < ' ' || c > '~':
			return "", false
		}
		b.WriteByte(c)
	}
	return "", false
}

// once imports a record under an Idempotency-Key: the same request again gets the first answer and makes
// nothing. The bucket remembers that the request is sent before it is, so that what dies in between is never
// sent twice.
func (a *api) once(ctx context.Context, key, digest string, rec *group.Record) answer {
	store := problem{
		Status: http.StatusServiceUnavailable, Detail: "the bucket that remembers the Idempotency-Key does not answer; nothing was sent", Retry: retrySafe,
	}
	deadline, _ := ctx.Deadline()
	until := deadline.Add(overdue)
	claimed, ours, err := claimKey(ctx, a.bucket, a.config.Prefix, key, digest, until)
	if err != nil {
		a.log.WarnContext(ctx, "idempotency_key not claimed", "err", err)
		return store.answer().later(time.Second)
	}
	if !ours {
		switch again, ok := earlier(claimed, digest, rec); {
		case ok:
			return again
		default: // the request before has died, and the record has a GroupId
			if err := claimed.takeOver(ctx, until); err != nil {
				a.log.WarnContext(ctx, "idempotency_key not claimed", "err", err)
				return store.answer().later(time.Second)
			}
		}
	}
	ans, final := a.single(ctx, rec, true)
	// The caller may have gone meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(keepTime, time.Until(deadline)))
	defer cancel()
	if final {
		err = claimed.keep(ctx, ans.status, ans.body)
	} else {
		err = claimed.forget(ctx)
	}
	if err != nil {
		a.log.WarnContext(ctx, "what came of an idempotency_key is not remembered", "status", ans.status, "err", err)
	}
	return ans
}

// earlier is the answer to a request whose key an earlier one has. It is not ok if that one has died and this
// one may do it again.
func earlier(e *claim, digest string, rec *group.Record) (ans answer, ok bool) {
	p := problem{Type: "urn:groupimport:idempotency-key", GroupID: rec.GroupID}
	left := time.Until(e.Until)
	switch {
	case e.Body != digest:
		p.Title, p.Status, p.Retry = "The Idempotency-Key was used for another request", http.StatusUnprocessableEntity, retryUseless
		p.Detail = "a request with this Idempotency-Key and another body came before: each group needs a key of its own"
	case e.Status != 0:
		ans = answer{status: e.Status, kind: "application/json", body: append([]byte(e.Text), '\n')}
		if e.Status >= 300 {
			ans.kind = "application/problem+json"
		}
		return ans.with("Idempotency-Replayed", "true"), true
	case left > 0:
		p.Title, p.Status, p.Retry = "The first request is under way", http.StatusConflict, retrySafe
		p.Detail = "a request with this Idempotency-Key is under way: send this one again later for its answer"
		return p.answer().later(min(left, 2*time.Second)), true
	case rec.GroupID != "":
		return answer{}, false
	default:
		p.Type, p.Title, p.Status = "urn:groupimport:unknown", "It is unknown whether the group was made", http.StatusGatewayTimeout
		p.Outcome, p.Retry = outcome.Unknown, retryUseless
		p.Detail = "the first request with this Idempotency-Key died before its answer was known, and the group has no GroupId: " +
			"it may exist; look, and if it does not send it with a new key"
	}
	return p.answer(), true
}
