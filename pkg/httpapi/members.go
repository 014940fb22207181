package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
	"groupimport/pkg/tim"
)

// maxNamed limits the missing members that a response names. A saved response must fit into maxClaim.
const maxNamed = 1000

const codeNoGroup = 10010 // of import_group_member: the group does not exist

// groupMembers says in a response what became of the members of a group.
type groupMembers struct {
	outcome.Members

	Missing []missingMember `json:"missing,omitzero"` // the first maxNamed that are not members
	More    int64           `json:"more,omitzero"`    // further ones
}

// A missingMember is not a member of the group.
type missingMember struct {
	Account string     `json:"Member_Account"`
	Rule    group.Rule `json:"rule,omitzero"` // that it breaks
	Code    int        `json:"code,omitzero"` // ErrorCode of the service
	Error   string     `json:"error"`
}

// add names a member that is missing.
func (m *groupMembers) add(missing missingMember) {
	if len(m.Missing) >= maxNamed {
		m.More++
		return
	}
	m.Missing = append(m.Missing, missing)
}

// addMembers adds the members of rec to the group with this ID until ctx's deadline. It returns nil if rec has none.
// Members that were not sent in time are pending: another request may add them.
func (a *api) addMembers(ctx context.Context, rec *group.Record, groupID string) *groupMembers {
	if len(rec.Members) == 0 && !rec.HasOwner {
		return nil
	}
	all := &groupMembers{}
	all.Demoted = int64(rec.Demoted)
	if rec.HasOwner {
		all.Added++
	}
	var valid []group.Member
	for i := range rec.Members {
		if m := &rec.Members[i]; m.Problem == nil {
			valid = append(valid, *m)
		} else {
			all.Failed++
			all.Invalid++
			all.add(missingMember{Account: m.Account, Rule: m.Problem.Rule, Error: m.Problem.Message})
		}
	}
	if len(valid) == 0 {
		return all
	}
	res, err := a.dialer.importMembers(ctx, groupID, valid)
	if errors.Is(err, errNoShare) {
		a.log.WarnContext(ctx, "no share of the rate", "err", err)
	}
	all.Demoted += int64(len(res.Demoted))
	for i, result := range res.Members {
		missing := missingMember{Account: valid[i].Account, Error: reasonOf(result, &res)}
		switch result {
		case tim.MemberAdded:
			all.Added++
			continue
		case tim.MemberAlready:
			all.Already++
			continue
		case tim.MemberNoAccount:
			all.Failed++
			all.NoAccount++
		case tim.MemberRejected:
			all.Failed++
			all.Refused++
			missing.Code = res.Code
		case tim.MemberNotAdded:
			all.Failed++
		case tim.MemberNotSent:
			if err != nil {
				all.Pending++
			} else {
				all.Failed++
			}
			missing.Code = res.Code
		}
		all.add(missing)
	}
	return all
}

// reasonOf returns why a member was not added.
func reasonOf(result tim.MemberResult, res *tim.MembersResult) string {
	switch result {
	case tim.MemberNoAccount:
		return "the account does not exist: import the account first"
	case tim.MemberNotAdded:
		return "not added, and the service gives no reason"
	default:
		return res.Message
	}
}

// singleMember adds the one member of a member record. final says that a repetition of the request gets the same
// response.
func (a *api) singleMember(ctx context.Context, rec *group.Record) (resp response, final bool) {
	deadline, _ := ctx.Deadline()
	working, cancel := context.WithDeadline(ctx, deadline.Add(-min(keepTime, time.Until(deadline)/2)))
	defer cancel()
	res, err := a.dialer.importMembers(working, rec.GroupID, rec.Members)
	if errors.Is(err, errNoShare) {
		a.log.WarnContext(ctx, "no share of the rate", "err", err)
	}
	if err != nil {
		return undone(err, rec), false
	}
	p := problem{Detail: reasonOf(res.Members[0], &res), Code: res.Code, GroupID: rec.GroupID, Retry: retrySafe}
	switch result := res.Members[0]; {
	case result == tim.MemberAdded, result == tim.MemberAlready:
		d := done{
			Status: outcome.Imported, GroupID: rec.GroupID, Member: rec.Members[0].Account, Attempts: res.Attempts,
			MS: res.Took.Milliseconds(), At: res.At.UTC().Truncate(time.Millisecond), Retry: retrySafe,
		}
		status := http.StatusCreated
		if result == tim.MemberAlready {
			d.Status, status = outcome.Exists, http.StatusOK
		}
		return d.response(status), true
	case result == tim.MemberRejected:
		p.Type, p.Title = "urn:groupimport:rejected", "The service rejected the member"
		p.Status, p.Outcome, p.Retry = http.StatusUnprocessableEntity, outcome.Rejected, retryUseless
		return p.response(), true
	case result == tim.MemberNoAccount, result == tim.MemberNotAdded, res.Code == codeNoGroup:
		p.Type, p.Title = "urn:groupimport:not-added", "The member was not added"
		p.Status, p.Outcome = http.StatusUnprocessableEntity, outcome.Failed
		return p.response(), false
	}
	p.Type, p.Title, p.Status, p.Outcome = "urn:groupimport:failed", "The service failed", http.StatusBadGateway,
		outcome.Failed
	return p.response().later(time.Second), false
}

// response returns the response with the body d.
func (d *done) response(status int) response {
	body, err := json.Marshal(d, jsontext.AllowInvalidUTF8(true)) // an account may have been shortened
	if err != nil {
		panic(err)
	}
	return response{status: status, kind: "application/json", body: append(body, '\n')}
}
