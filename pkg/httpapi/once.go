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

// idempotencyKey returns the Idempotency-Key of a request, or "". The draft requires a quoted string
// (datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header-07, section 2.1); most clients send it without
// quotes.
func idempotencyKey(r *http.Request) (key string, refusal response, ok bool) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", response{}, true
	}
	key, fits := parseKey(values[0])
	if len(values) > 1 || !fits {
		return "", problem{
			Type: "urn:groupimport:idempotency-key", Title: "The Idempotency-Key is not valid", Status: http.StatusBadRequest,
			Detail: `send one Idempotency-Key of 1 to 255 printable ASCII characters in quotes, ` +
				`for example "8e03978e-40d5-43dd-bc93-6894a57f9324"`,
			Retry: retryUseless,
		}.response(), false
	}
	return key, response{}, true
}

// parseKey parses a string of RFC 8941, or an unquoted word without its special characters. It is written here because
// many clients send the key without quotes, which libraries for RFC 8941 refuse.
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

// once imports a record under an Idempotency-Key. A repetition of the request gets the first response and creates no
// group. once saves the claim in the bucket before it sends the group, so a request that dies is not sent twice.
func (a *api) once(ctx context.Context, key, digest string, rec *group.Record) response {
	store := problem{
		Status: http.StatusServiceUnavailable, Retry: retrySafe,
		Detail: "the bucket that stores Idempotency-Keys does not respond; the group was not sent",
	}
	deadline, _ := ctx.Deadline()
	until := deadline.Add(overdue)
	claimed, ours, err := claimKey(ctx, a.bucket, a.names(ctx, key), digest, until)
	if err != nil {
		a.log.WarnContext(ctx, "idempotency_key not claimed", "err", err)
		return store.response().later(time.Second)
	}
	if !ours {
		switch again, ok := earlier(claimed, digest, rec); {
		case ok:
			return again
		default: // the first request died, and the record has a GroupId
			if err := claimed.takeOver(ctx, until); err != nil {
				a.log.WarnContext(ctx, "idempotency_key not claimed", "err", err)
				return store.response().later(time.Second)
			}
		}
	}
	resp, final := a.one(ctx, rec, true)
	// The caller may have disconnected.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(keepTime, time.Until(deadline)))
	defer cancel()
	if final {
		err = claimed.keep(ctx, resp.status, resp.body)
	} else {
		err = claimed.forget(ctx)
	}
	if err == nil {
		a.cleanUp(ctx)
	} else {
		a.log.WarnContext(ctx, "response of an idempotency_key not saved", "status", resp.status, "err", err)
	}
	return resp
}

// earlier is the response to a request whose key an earlier request has. ok is false if the earlier request died and
// it is safe to send the record again.
func earlier(e *claim, digest string, rec *group.Record) (resp response, ok bool) {
	p := problem{Type: "urn:groupimport:idempotency-key", GroupID: rec.GroupID}
	left := time.Until(e.Until)
	switch {
	case e.Body != digest:
		p.Title, p.Status = "The Idempotency-Key was used for another request", http.StatusUnprocessableEntity
		p.Retry = retryUseless
		p.Detail = "an earlier request had this Idempotency-Key and another body: use a new key for each group"
	case e.Status != 0:
		resp = response{status: e.Status, kind: "application/json", body: append([]byte(e.Text), '\n')}
		if e.Status >= 300 {
			resp.kind = "application/problem+json"
		}
		return resp.with("Idempotency-Replayed", "true"), true
	case left > 0:
		p.Title, p.Status, p.Retry = "The first request is in progress", http.StatusConflict, retrySafe
		p.Detail = "a request with this Idempotency-Key is in progress: send the request again later to get the response"
		return p.response().later(min(left, 2*time.Second)), true
	case rec.GroupID != "":
		return response{}, false
	default:
		p.Type, p.Status = "urn:groupimport:unknown", http.StatusGatewayTimeout
		p.Title = "Unknown whether the group was created"
		p.Outcome, p.Retry = outcome.Unknown, retryUseless
		p.Detail = "the first request with this Idempotency-Key ended without a response, and the group has no GroupId: " +
			"check whether the group exists; if not, send it with a new key"
	}
	return p.response(), true
}
