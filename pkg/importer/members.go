package importer

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
	"groupimport/pkg/tim"
)

// maxNamed is how many missing members the error of an outcome names. The dead-letter file has all.
const maxNamed = 10

// pendingOf returns the counts of the members of a group that exists, before any is sent.
func pendingOf(rec *group.Record) outcome.Members {
	m := outcome.Members{Demoted: int64(rec.Demoted)}
	if rec.HasOwner {
		m.Added++ // the owner is a member, and is not sent
	}
	for i := range rec.Members {
		if rec.Members[i].Problem != nil {
			m.Failed++
			m.Invalid++
		} else {
			m.Pending++
		}
	}
	return m
}

// setMembers sets the members of the outcome of a record whose group exists: as an earlier version of the export has
// left them, or pending.
func (it *item) setMembers(o *outcome.Outcome, limits group.Limits) {
	o.MembersSum = it.membersSum
	o.Members = it.members
	if e := it.earlier; e != nil && e.sum == it.membersSum && e.members.Failed == 0 && e.members.Pending == 0 {
		o.Members = e.members
	}
	if o.Members.Pending > 0 || o.Members.Failed == 0 {
		return
	}
	// All members that are not there yet break a rule: nothing is to be sent.
	if rec, err := group.NewDecoder(limits).Decode(it.raw); err == nil {
		invalid := memberItem{rec: rec}
		it.raw = invalid.setList(o, &tim.MembersResult{})
	}
}

// earlierMembers are the members of the outcome of an earlier version of the export.
type earlierMembers struct {
	members outcome.Members
	sum     group.Digest
}

// earlierMembersOf returns nil for a record without members.
func earlierMembersOf(o *outcome.Outcome) *earlierMembers {
	if o.Members == (outcome.Members{}) {
		return nil
	}
	return &earlierMembers{o.Members, o.MembersSum}
}

// startMissing sets the outcome of a line of a dead-letter file whose group exists: its record has the members that
// are missing. isValid is whether they may be sent. It reports whether the entry is such a line.
func (r *run) startMissing(it *item, rec *group.Record, f *outcome.Outcome, isValid bool) bool {
	if f == nil || !f.Status.HasGroup() {
		return false
	}
	o := *f
	it.id, it.sum, it.groupID = f.ID, f.Sum, f.GroupID
	it.isMissing = true
	o.At, o.Attempts = time.Now(), 0
	if r.round == 0 {
		o.Carried = true
	}
	if isValid {
		pending := pendingOf(rec)
		o.Members.Failed, o.Members.Invalid, o.Members.Pending = pending.Failed, pending.Invalid, pending.Pending
		o.Members.NoAccount, o.Members.Refused = 0, 0
		if pending.Pending > 0 {
			o.Error = ""
		}
	}
	it.outcome = &o
	return true
}

// A memberItem is a line of the first pass that the member pass works on.
type memberItem struct {
	read outcome.Outcome
	raw  []byte // nil if the line has none
	end  int64  // see [results.PartLine]
	cost int64

	rec  group.Record // with pending members
	call *tim.MembersCall
	at   int // index of a member record in the call's members
}

// followMembers starts the member pass, unless it has started.
func (r *run) followMembers(ctx context.Context) {
	r.startMembers.Do(func() {
		r.hasMemberPass = true
		r.memberPass.Go(func() {
			if r.memberErr = r.addMembers(ctx); r.memberErr != nil {
				r.stop(r.memberErr)
			}
		})
	})
}

// addMembers adds the members of groups, from the outcomes of the first pass, until the end of the first pass or of
// the run.
func (r *run) addMembers(ctx context.Context) error {
	budget := r.imp.memory().newBudget()
	defer budget.close()
	queue := make(chan *memberItem, maxAheadRecords)
	var readErr error
	r.memberPass.Go(func() {
		defer close(queue)
		readErr = r.readMembers(ctx, budget, queue)
	})
	isWhole := true
	var err error
	for it := range queue {
		if isWhole && err == nil {
			if isWhole, err = r.writeMembers(it); err != nil {
				r.stop(err)
			}
		} else if it.call != nil {
			it.call.Wait()
		}
		budget.release(it.cost)
	}
	switch {
	case err != nil:
		return err
	case readErr != nil && ctx.Err() == nil:
		return readErr
	case isWhole && ctx.Err() == nil:
		r.writer.EndMembers()
	}
	return nil
}

// readMembers starts a call for the members of each line, in order.
func (r *run) readMembers(ctx context.Context, budget *budget, queue chan<- *memberItem) error {
	decoder := group.NewDecoder(r.imp.Config.Limits)
	decoder.AnyGroupID = true
	var batch []*memberItem // member records of one group, which share a call
	send := func() {
		if len(batch) == 0 {
			return
		}
		members := make([]group.Member, len(batch))
		for i, it := range batch {
			members[i] = it.rec.Members[0]
			it.at = i
		}
		call := r.imp.Client.ImportMembers(ctx, batch[0].read.GroupID, members)
		for _, it := range batch {
			it.call = call
			queue <- it
		}
		batch = nil
	}
	for line, err := range r.writer.Follow(ctx) {
		if ctx.Err() != nil {
			return nil // the cause says why; the records of batch have no outcome
		}
		if err != nil {
			return err
		}
		if len(line.Text) == 0 { // the next line may take a while
			send()
			continue
		}
		it := &memberItem{end: line.End, cost: min(int64(2*len(line.Text)+recordCost), maxAheadBytes)}
		if it.read, it.raw, err = outcome.Parse(line.Text); err != nil {
			return fmt.Errorf("a part of %q was changed: %w", r.dir.Export, err)
		}
		it.raw = bytes.Clone(it.raw)
		if it.read.IsPending() {
			if it.rec, err = decoder.Decode(it.raw); err != nil {
				return fmt.Errorf("a part of %q was changed: record %d: %w", r.dir.Export, it.read.N, err)
			}
			it.cost = min(it.cost+int64(it.rec.Size()), maxAheadBytes)
		}
		isSame := len(batch) > 0 && it.rec.IsMember && batch[0].read.GroupID == it.read.GroupID
		if !isSame || len(batch) >= r.imp.Client.MembersPerCall() {
			send()
		}
		if budget.acquire(ctx, it.cost) != nil {
			return nil
		}
		switch {
		case !it.read.IsPending():
			queue <- it
		case it.rec.IsMember:
			batch = append(batch, it)
		default:
			var valid []group.Member
			for i := range it.rec.Members {
				if it.rec.Members[i].Problem == nil {
					valid = append(valid, it.rec.Members[i])
				}
			}
			it.call = r.imp.Client.ImportMembers(ctx, it.read.GroupID, valid)
			queue <- it
		}
	}
	send()
	return nil
}

// writeMembers waits for the call of a line and writes the outcome. It returns false if the line has none, because the
// run ends.
func (r *run) writeMembers(it *memberItem) (bool, error) {
	o, raw := it.read, it.raw
	if it.call != nil {
		res := it.call.Wait()
		if res.End == tim.Incomplete {
			if s := r.imp.Client.Fatal(); s != nil {
				r.stop(s)
			}
			r.stop(errUndone) // unless there is a cause already
			return false, nil
		}
		if it.rec.IsMember {
			it.setMember(&o, &res)
		} else {
			raw = it.setList(&o, &res)
		}
	}
	if err := r.writer.AppendMembers(&it.read, &o, raw, it.end); err != nil {
		return false, err
	}
	return true, nil
}

// setMember sets the outcome of a member record.
func (it *memberItem) setMember(o *outcome.Outcome, res *tim.MembersResult) {
	o.Attempts += res.Attempts
	o.MS, o.At = res.Took.Milliseconds(), res.At
	switch res.Members[it.at] {
	case tim.MemberAdded:
		o.Status = outcome.Imported
	case tim.MemberAlready:
		o.Status = outcome.Exists
	case tim.MemberRejected:
		o.Status, o.Code, o.Error = outcome.Rejected, res.Code, res.Message
	case tim.MemberNotSent:
		o.Status, o.Code, o.Error = outcome.Failed, res.Code, res.Message
	case tim.MemberNoAccount, tim.MemberNotAdded:
		o.Status, o.Error = outcome.Failed, reasonOf(res.Members[it.at], &it.rec.Members[0], res)
	}
	if res.Demoted[it.at] {
		o.Changed = append(slices.Clone(o.Changed), "Role")
	}
}

// setList sets the members of the outcome of a group. It returns the record of the dead-letter file, with the members
// that are missing; nil if none is.
func (it *memberItem) setList(o *outcome.Outcome, res *tim.MembersResult) []byte {
	m := &o.Members
	m.Pending = 0
	m.Demoted += int64(len(res.Demoted))
	var missing []group.Member
	var reasons []string
	next := 0
	for i := range it.rec.Members {
		member := &it.rec.Members[i]
		reason := ""
		if member.Problem != nil {
			reason = member.Problem.Message
		} else {
			switch result := res.Members[next]; result {
			case tim.MemberAdded:
				m.Added++
			case tim.MemberAlready:
				m.Already++
			case tim.MemberNoAccount, tim.MemberNotAdded, tim.MemberNotSent, tim.MemberRejected:
				m.Failed++
				if result == tim.MemberNoAccount {
					m.NoAccount++
				}
				if result == tim.MemberRejected {
					m.Refused++
				}
				reason = reasonOf(result, member, res)
			}
			next++
		}
		if reason != "" {
			missing, reasons = append(missing, *member), append(reasons, reason)
		}
	}
	if len(missing) == 0 {
		o.Error = ""
		return nil
	}
	o.Error = describe(missing, reasons, m.Total())
	rec := it.rec
	rec.GroupID = o.GroupID
	return appendMissing(&rec, missing)
}

// reasonOf returns why a member was not added, for operators.
func reasonOf(result tim.MemberResult, member *group.Member, res *tim.MembersResult) string {
	switch result {
	case tim.MemberNoAccount:
		return "the account does not exist: import the account first"
	case tim.MemberNotAdded:
		text := "not added, and the service gives no reason"
		if member.JoinTime != 0 {
			text += ": JoinTime must be after the group's CreateTime"
		}
		if res.NoCheck != "" {
			text += "; whether the account exists is not known, because account_check failed"
		}
		return text
	default:
		return res.Message
	}
}

// describe says which members are missing, and why.
func describe(missing []group.Member, reasons []string, total int64) string {
	var b strings.Builder
	verb := "are"
	if len(missing) == 1 {
		verb = "is"
	}
	fmt.Fprintf(&b, "%d of %d members %s missing", len(missing), total, verb)
	for i := range missing[:min(maxNamed, len(missing))] {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s (%s)", sep, cmp.Or(missing[i].Account, "no account"), reasons[i])
	}
	if more := len(missing) - maxNamed; more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	return b.String()
}

// appendMissing returns a record in import_group's format whose MemberList has only the members that are missing. What
// is wrong with a member is wrong with it again when the record is decoded.
func appendMissing(rec *group.Record, missing []group.Member) []byte {
	raw := bytes.TrimSuffix(rec.AppendJSON(nil), []byte("}"))
	raw = append(raw, `,"MemberList":[`...)
	for i := range missing {
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = appendMember(raw, &missing[i])
	}
	return append(raw, ']', '}')
}

func appendMember(dst []byte, m *group.Member) []byte {
	p := m.Problem
	if p == nil || p.Value == "" && (p.Field == "Member_Account" || p.Field == "JoinTime" && m.JoinTime != 0) {
		return m.AppendJSON(dst)
	}
	member := *m
	switch p.Field {
	case "Member_Account":
		member.Account = ""
		rest, _ := bytes.CutPrefix(member.AppendJSON(nil), []byte(`{"Member_Account":""`))
		return append(append(append(dst, `{"Member_Account":`...), p.Value...), rest...)
	case "JoinTime":
		member.JoinTime = 0
	case "UnreadMsgNum":
		member.Unread = 0
	}
	dst = bytes.TrimSuffix(member.AppendJSON(dst), []byte("}"))
	dst, _ = jsontext.AppendQuote(append(dst, ','), p.Field) // valid UTF-8, like the message
	dst = append(dst, ':')
	if p.Value != "" {
		return append(append(dst, p.Value...), '}')
	}
	dst, _ = jsontext.AppendQuote(dst, p.Message)
	return append(dst, '}')
}

// endMembers ends the first pass for the member pass, and waits for it. isRead is whether every record has an outcome.
func (r *run) endMembers(isRead bool) {
	if !r.hasMemberPass {
		return
	}
	if isRead {
		r.writer.EndRecords()
	} else {
		r.stop(errUndone) // unless there is a cause already
	}
	r.memberPass.Wait()
}
