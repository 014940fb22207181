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

	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

const (
	// maxBody exceeds the size of any valid record without its members: some 31 KB, or twice that if its custom values are
	// escaped. A list of members may have what is left, some hundred at least.
	maxBody = 64 << 10

	// Few groups have a body longer than longBody. At most maxLongBodies of these are read at the same time. The others
	// wait up to maxLongWait.
	longBody      = 8 << 10
	maxLongBodies = 64
	maxLongWait   = 5 * time.Second

	// keepTime is the part of a request's time to save its response. overdue is the longest time that an attempt may
	// outlast its request.
	keepTime = time.Second
	overdue  = 20 * time.Second
)

// A done is the body of a 2xx response to POST /groups.
type done struct {
	Status   outcome.Status `json:"status"` // imported or exists
	GroupID  string         `json:"GroupId"`
	Member   string         `json:"Member_Account,omitzero"` // of a member record
	Members  *groupMembers  `json:"members,omitzero"`        // nil without a list of members
	Attempts int            `json:"attempts"`
	MS       int64          `json:"ms"`
	At       time.Time      `json:"at"`
	Retry    string         `json:"retry"`
	Note     string         `json:"note,omitzero"`
}

// Notes about members that another request may add.
const (
	missingNote  = "members are missing: the same request again adds those that can be added by then"
	assignedNote = "members are missing: send each as a record with this GroupId and its Member_Account"
)

const unsafeNote = "the request has neither a GroupId nor an Idempotency-Key: sending it again creates a second group"

// importGroup imports the group in the body.
func (a *api) importGroup(ctx context.Context, r *http.Request) response {
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
	switch {
	case a.config.NoMembers && rec.IsMember:
		return problem{
			Type: "urn:groupimport:not-added", Title: "The member was not added", Status: http.StatusUnprocessableEntity,
			Detail: "members are left out here: MEMBERS is false", GroupID: rec.GroupID, Retry: retryUseless,
		}.response()
	case a.config.NoMembers:
		rec.Members, rec.HasOwner, rec.Demoted = nil, false, 0
	}
	if key == "" {
		resp, _ := a.one(ctx, &rec, false)
		return resp
	}
	return a.once(ctx, key, digest, &rec)
}

// readGroup reads the record in a request's body, and the digest of the body if the request has a key. It limits the
// long bodies in memory, because a body is many times larger than its record.
func (a *api) readGroup(
	ctx context.Context, r *http.Request, keyed bool,
) (rec group.Record, digest string, refusal response, ok bool) {
	if r.ContentLength < 0 || r.ContentLength > longBody {
		waiting, cancel := context.WithTimeout(ctx, maxLongWait)
		defer cancel()
		select {
		case a.long <- struct{}{}:
			defer func() { <-a.long }()
		case <-waiting.Done():
			return group.Record{}, "", busy.response().later(time.Second), false
		}
	}
	body, refusal, ok := readBody(r)
	if !ok {
		return group.Record{}, "", refusal, false
	}
	rec, err := group.NewDecoder(a.config.Limits).Decode(body)
	// JSON that is not a valid record gets an error for each field.
	if e, ok := errors.AsType[*group.Error](err); ok {
		if jsontext.Value(body).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
			return group.Record{}, "", invalid(e).response(), false
		}
		return group.Record{}, "", problem{
			Type: "urn:groupimport:not-json", Title: "The body is not JSON", Status: http.StatusBadRequest,
			Detail: detailOf(e), Retry: retryUseless,
		}.response(), false
	}
	if keyed {
		digest = digestOf(body)
	}
	return rec, digest, response{}, true
}

// detailOf returns the problem of the JSON text, without the problems of the record.
func detailOf(e *group.Error) string {
	for _, p := range e.Problems {
		if p.Rule == group.RuleJSON {
			return p.Message
		}
	}
	return "not JSON"
}

// checkType rejects a request that is not JSON. The page of another site can make a browser send a form or plain
// text, but not JSON.
func checkType(r *http.Request) (refusal response, ok bool) {
	wrong := func(detail string) (response, bool) {
		return problem{Status: http.StatusUnsupportedMediaType, Detail: detail, Retry: retryUseless}.response(), false
	}
	values := r.Header.Values("Content-Type")
	if len(values) != 1 {
		return wrong("send one Content-Type header: application/json")
	}
	kind, params, err := mime.ParseMediaType(values[0])
	if err != nil || kind != "application/json" {
		return wrong("the Content-Type must be application/json")
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return wrong("the charset must be utf-8")
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		resp, _ := wrong("the body must not be compressed")
		return resp.with("Accept-Encoding", "identity"), false
	}
	return response{}, true
}

// readBody reads the body, of at most maxBody bytes.
func readBody(r *http.Request) (body []byte, refusal response, ok bool) {
	tooLarge := problem{
		Status: http.StatusRequestEntityTooLarge, Retry: retryUseless,
		Detail: "the body exceeds 64 KiB; no valid group is that large without its members: send the group without them, " +
			"and " +
			"then each as a record with GroupId and Member_Account, or import an export",
	}
	if r.ContentLength > maxBody {
		return nil, tooLarge.response(), false
	}
	var err error
	if r.ContentLength >= 0 {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, body)
	} else if body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1)); len(body) > maxBody {
		return nil, tooLarge.response(), false
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problem{
			Status: http.StatusRequestTimeout, Detail: "timeout while reading the body", Retry: retrySafe,
		}.response(), false
	case err != nil:
		p := problem{Status: http.StatusBadRequest, Detail: "the body is incomplete", Retry: retrySafe}
		return nil, p.response(), false
	}
	return body, response{}, true
}

// one imports a record or adds the member of a member record. final says that a repetition of the request gets the same
// response.
func (a *api) one(ctx context.Context, rec *group.Record, keyed bool) (resp response, final bool) {
	if rec.IsMember {
		return a.singleMember(ctx, rec)
	}
	return a.single(ctx, rec, keyed)
}

// single imports the group of a record, and then adds its members. final says that a repetition of the request gets the
// same response.
func (a *api) single(ctx context.Context, rec *group.Record, keyed bool) (resp response, final bool) {
	deadline, _ := ctx.Deadline()
	working, cancel := context.WithDeadline(ctx, deadline.Add(-min(keepTime, time.Until(deadline)/2)))
	defer cancel()
	o, err := a.dialer.importGroup(working, rec)
	if errors.Is(err, errNoShare) {
		a.log.WarnContext(ctx, "no share of the rate", "err", err)
	}
	if err != nil {
		return undone(err, rec), false
	}
	again := retrySafe // for requests that created a group, or may have
	if rec.GroupID == "" && !keyed {
		again = retryUnsafe
	}
	p := problem{Detail: o.Error, Code: o.Code, Outcome: o.Status, GroupID: o.GroupID}
	switch {
	case o.Status.HasGroup():
		d := done{
			Status: o.Status, GroupID: o.GroupID, Attempts: o.Attempts, MS: o.MS,
			At: o.At.UTC().Truncate(time.Millisecond), Retry: again,
		}
		status := http.StatusCreated
		if o.Status == outcome.Exists {
			status = http.StatusOK
		}
		if again == retryUnsafe {
			d.Note = unsafeNote
		}
		d.Members = a.addMembers(working, rec, o.GroupID)
		if d.Members == nil || d.Members.Retryable() == 0 {
			return d.response(status), true
		}
		if rec.GroupID != "" {
			d.Note = missingNote
			return d.response(status), false // a repetition finds the group and adds members
		}
		if d.Note != "" {
			d.Note += "; "
		}
		d.Note += assignedNote
		return d.response(status), true
	case o.Status == outcome.Unknown:
		p.Type, p.Status = "urn:groupimport:unknown", http.StatusGatewayTimeout
		p.Title = "Unknown whether the group was created"
		if p.Retry = again; keyed {
			p.Retry = retryUseless // it gets the same response
		}
	case isConflict(&o):
		p.Type, p.Title, p.Status = "urn:groupimport:taken", "Another group has this GroupId", http.StatusConflict
		p.Retry = retryUseless
	case o.Status == outcome.Rejected:
		p.Type, p.Title = "urn:groupimport:rejected", "The service rejected the group"
		p.Status, p.Retry = http.StatusUnprocessableEntity, retryUseless
	default: // failed, and no group was created
		p.Type, p.Title, p.Status = "urn:groupimport:failed", "The service failed", http.StatusBadGateway
		p.Retry = retrySafe
		return p.response().later(time.Second), false
	}
	return p.response(), true
}

// undone is the response for a record without an outcome.
func undone(err error, rec *group.Record) response {
	p := problem{Detail: err.Error(), GroupID: rec.GroupID, Retry: retrySafe}
	notSent, safe := "the group was not sent", "the group has a GroupId, so it is safe to send the request again"
	if rec.IsMember {
		notSent, safe = "the member was not sent", "it is safe to send the request again"
	}
	if e, ok := errors.AsType[*rateError](err); ok {
		p.Type, p.Title, p.Status, p.Code = "urn:groupimport:rate", "Rate limit exceeded", http.StatusTooManyRequests, e.Code
		if p.Detail += "; no group was created"; rec.IsMember {
			p.Detail = err.Error() + "; " + notSent
		}
		return p.response().later(e.After)
	}
	if e, ok := errors.AsType[*fatalError](err); ok {
		p.Type, p.Title, p.Status = "urn:groupimport:halt", "The service accepts no requests", http.StatusBadGateway
		p.Code = e.Code
		return p.response().later(e.After)
	}
	if e, ok := errors.AsType[*lostError](err); ok {
		p.Type, p.Title, p.Status = "urn:groupimport:lost", "Timeout, and the outcome is unknown", http.StatusGatewayTimeout
		p.Code = e.Code
		p.Outcome = outcome.Unknown
		p.Detail += "; " + safe
		return p.response().later(time.Second)
	}
	if errors.Is(err, errNoShare) {
		p.Status, p.Detail = http.StatusServiceUnavailable, errNoShare.Error()+"; "+notSent
		return p.response().later(time.Second)
	}
	p.Status, p.Detail = http.StatusInternalServerError, "internal error"
	return p.response()
}
