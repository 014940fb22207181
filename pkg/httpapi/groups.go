package httpapi

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

const (
	// maxBody is more than a legal record has: some 31 KB, twice that if its custom values are written as
	// escapes.
	maxBody = 64 << 10

	// Of bodies longer than longBody, which few groups have, longAtOnce are read at once; the others wait, for
	// longWait at most, which is less than a body may take to come.
	longBody   = 8 << 10
	longAtOnce = 64
	longWait   = 5 * time.Second

	// keepTime is what remains of a request's time to remember its answer, and overdue by how much an attempt
	// may outlast the request that started it.
	keepTime = time.Second
	overdue  = 20 * time.Second
)

// A done is the body of a 2xx answer to POST /groups.
type done struct {
	Status   outcome.Status `json:"status"` // imported or exists
	GroupID  string         `json:"GroupId"`
	Attempts int            `json:"attempts"`
	MS       int64          `json:"ms"`
	At       time.Time      `json:"at"`
	Retry    string         `json:"retry"`
	Note     string         `json:"note,omitzero"`
}

const unsafeNote = "the request had neither a GroupId nor an Idempotency-Key: sent again, it makes a second group"

// importGroup imports the group in the body.
func (a *api) importGroup(ctx context.Context, r *http.Request) answer {
	if refusal, ok := checkType(r); !ok {
		return refusal
	}
	key, refusal, ok := idempotencyKey(r)
	if !ok {
		return refusal
	}
	rec, digest, refusal, ok := a.readGroup(ctx, r, key != "")
	if !ok {
		return refusal
	}
	if key == "" {
		ans, _ := a.single(ctx, &rec, false)
		return ans
	}
	return a.once(ctx, key, digest, &rec)
}

// readGroup reads a request's body and the record in it, and its digest if the request has a key. A long body is
// many times the record, so only some are held at once; this is over when the record waits for its turn.
func (a *api) readGroup(ctx context.Context, r *http.Request, keyed bool) (rec group.Record, digest string, refusal answer, ok bool) {
	if r.ContentLength < 0 || r.ContentLength > longBody {
		waiting, cancel := context.WithTimeout(ctx, longWait)
		defer cancel()
		select {
		case a.long <- struct{}{}:
			defer func() { <-a.long }()
		case <-waiting.Done():
			return group.Record{}, "", busy.answer().later(time.Second), false
		}
	}
	body, refusal, ok := readBody(r)
	if !ok {
		return group.Record{}, "", refusal, false
	}
	rec, err := group.NewDecoder(a.config.Limits).Decode(body)
	// What is JSON but no valid record is refused field by field.
	if e, ok := errors.AsType[*group.Error](err); ok {
		if jsontext.Value(body).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
			return group.Record{}, "", invalid(e).answer(), false
		}
		return group.Record{}, "", problem{
			Type: "urn:groupimport:not-json", Title: "The body is not JSON", Status: http.StatusBadRequest,
			Detail: detailOf(e), Retry: retryUseless,
		}.answer(), false
	}
	if keyed {
		digest = digestOf(body)
	}
	return rec, digest, answer{}, true
}

// detailOf says what is wrong with the JSON, and not what was found out about the record before that.
func detailOf(e *group.Error) string {
	for _, p := range e.Problems {
		if p.Field == "" && strings.Contains(p.Message, "JSON") {
			return p.Message
		}
	}
	return "not JSON"
}

// checkType refuses what is not JSON. Pages of other sites can make a browser send a form or plain text, but not
// this.
func checkType(r *http.Request) (refusal answer, ok bool) {
	wrong := func(detail string) (answer, bool) {
		return problem{Status: http.StatusUnsupportedMediaType, Detail: detail, Retry: retryUseless}.answer(), false
	}
	values := r.Header.Values("Content-Type")
	if len(values) != 1 {
		return wrong("one Content-Type is needed, application/json")
	}
	kind, params, err := mime.ParseMediaType(values[0])
	if err != nil || kind != "application/json" {
		return wrong("the Content-Type must be application/json")
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return wrong("JSON is UTF-8, so the charset can be nothing else")
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		ans, _ := wrong("the body must not be compressed")
		return ans.with("Accept-Encoding", "identity"), false
	}
	return answer{}, true
}

// readBody reads the body, of at most maxBody bytes.
func readBody(r *http.Request) (body []byte, refusal answer, ok bool) {
	tooLarge := problem{
		Status: http.StatusRequestEntityTooLarge, Detail: "the body has more than 64 KiB; no valid group is that large", Retry: retryUseless,
	}
	if r.ContentLength > maxBody {
		return nil, tooLarge.answer(), false
	}
	var err error
	if r.ContentLength >= 0 {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, body)
	} else if body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1)); len(body) > maxBody {
		return nil, tooLarge.answer(), false
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problem{Status: http.StatusRequestTimeout, Detail: "the body came too slowly", Retry: retrySafe}.answer(), false
	case err != nil:
		return nil, problem{Status: http.StatusBadRequest, Detail: "the body ends too early", Retry: retrySafe}.answer(), false
	}
	return body, answer{}, true
}

// single imports a record. final says that the answer stays what it is if the request comes again.
func (a *api) single(ctx context.Context, rec *group.Record, keyed bool) (ans answer, final bool) {
	deadline, _ := ctx.Deadline()
	working, cancel := context.WithDeadline(ctx, deadline.Add(-min(keepTime, time.Until(deadline)/2)))
	defer cancel()
	o, err := a.dialer.importGroup(working, rec)
	if err != nil {
		return undone(err, rec), false
	}
	again := retrySafe // what makes a group, or may have
	if rec.GroupID == "" && !keyed {
		again = retryUnsafe
	}
	p := problem{Detail: o.Error, Code: o.Code, Outcome: o.Status, GroupID: o.GroupID}
	switch {
	case o.Status.HasGroup():
		d := done{Status: o.Status, GroupID: o.GroupID, Attempts: o.Attempts, MS: o.MS, At: o.At.UTC().Truncate(time.Millisecond), Retry: again}
		status := http.StatusCreated
		if o.Status == outcome.Exists {
			status = http.StatusOK
		}
		if again == retryUnsafe {
			d.Note = unsafeNote
		}
		body, err := json.Marshal(d)
		if err != nil {
			panic(err) // a GroupId of the service's that is not UTF-8
		}
		return answer{status: status, kind: "application/json", body: append(body, '\n')}, true
	case o.Status == outcome.Unknown:
		p.Type, p.Title, p.Status = "urn:groupimport:unknown", "It is unknown whether the group was made", http.StatusGatewayTimeout
		if p.Retry = again; keyed {
			p.Retry = retryUseless // it gets this answer again
		}
	case isTaken(&o):
		p.Type, p.Title, p.Status, p.Retry = "urn:groupimport:taken", "Another group has this GroupId", http.StatusConflict, retryUseless
	case o.Status == outcome.Rejected:
		p.Type, p.Title, p.Status = "urn:groupimport:rejected", "The service rejects the group", http.StatusUnprocessableEntity
		p.Retry = retryUseless
	default: // failed, and nothing was made
		p.Type, p.Title, p.Status = "urn:groupimport:failed", "The service would not", http.StatusBadGateway
		p.Retry = retrySafe
		return p.answer().later(time.Second), false
	}
	return p.answer(), true
}

// undone is the answer when a record has no outcome.
func undone(err error, rec *group.Record) answer {
	p := problem{Detail: err.Error(), GroupID: rec.GroupID, Retry: retrySafe}
	if e, ok := errors.AsType[*rateError](err); ok {
		p.Type, p.Title, p.Status, p.Code = "urn:groupimport:rate", "Too fast", http.StatusTooManyRequests, e.Code
		p.Detail += "; nothing was made"
		return p.answer().later(e.After)
	}
	if e, ok := errors.AsType[*haltError](err); ok {
		p.Type, p.Title, p.Status, p.Code = "urn:groupimport:halt", "The service takes nothing", http.StatusBadGateway, e.Code
		return p.answer().later(e.After)
	}
	if e, ok := errors.AsType[*lostError](err); ok {
		p.Type, p.Title, p.Status, p.Code = "urn:groupimport:lost", "Time ran out and the answer is unknown", http.StatusGatewayTimeout, e.Code
		p.Outcome = outcome.Unknown
		p.Detail += "; the group has a GroupId, so that it can be sent again and is not made twice"
		return p.answer().later(time.Second)
	}
	p.Status, p.Detail = http.StatusInternalServerError, "a fault of this program"
	return p.answer()
}
