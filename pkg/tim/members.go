package tim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
)

const (
	// The documents disagree on how many members a call may have: 20 (cloud.tencent.com/document/product/269/1636,
	// 2026-01), 100 and 300 in older versions, 500 in 2018. The client learns from code 10005.
	defaultMembersPerCall = 20

	// maxBatches limits the calls of one list that are in flight.
	maxBatches = 8

	// maxHalvings limits how often the calls of one list are halved to find the members of a parameter that is not valid.
	maxHalvings = 64
)

// A MemberResult is what became of one member.
type MemberResult uint8

const (
	// MemberNotSent means that the call failed after all retries or is Incomplete, or that the group does not exist. The
	// member may be sent again.
	MemberNotSent MemberResult = iota
	// MemberAdded means that the service added the member.
	MemberAdded
	// MemberAlready means that the account was a member already.
	MemberAlready
	// MemberNoAccount means that the service did not add the member, and that no such account exists.
	MemberNoAccount
	// MemberNotAdded means that the service did not add the member and gave no reason.
	MemberNotAdded
	// MemberRejected means that the service permanently rejected the call with the member, see [MembersResult.Code].
	MemberRejected
)

// A MembersResult is the result of [Client.ImportMembers].
type MembersResult struct {
	// End is Imported if each member has a result of the service. It is Incomplete if the context or a fatal error ended
	// the call before all members were sent; the same list may be sent again. Otherwise it is Rejected or Failed, after
	// the first batch, in the order of the list, that was rejected or failed.
	End      End
	Members  []MemberResult // by index of the list
	Demoted  map[int]bool   // indexes of Admins that were sent as members because the group is Private; nil without any
	Code     int            // of the last batch that was not accepted, 0 if all were or if there was no response
	Message  string         // for operators: why that batch was not accepted
	NoCheck  string         // why account_check does not say whether accounts exist that were not added; "" if it does
	Attempts int            // of all batches, without throttled attempts and attempts with a rejected UserSig
	Took     time.Duration  // of the last attempt
	At       time.Time      // when the call ended
}

// A MembersCall is in progress until Wait returns.
type MembersCall struct {
	done   chan struct{}
	result MembersResult
}

// Wait returns the result of the call.
func (m *MembersCall) Wait() MembersResult {
	<-m.done
	return m.result
}

// Done is closed when the call has ended.
func (m *MembersCall) Done() <-chan struct{} { return m.done }

// ImportMembers starts the calls of import_group_member that add members to a group. members must not change before the
// end of the call, must not name the group's owner, and none of them may have a Problem.
//
// Batches of at most [Config.MembersPerCall] members are sent in the order of the list and overlap, in the rate and the
// in-flight limit of this command. Like [Client.ImportGroup], ImportMembers returns when the first batch has its
// permit, or when the call has ended without one. ctx, its [Share] and its gate mean what they mean to ImportGroup.
//
// A batch whose response is lost is sent again: the service names members that it has added already. If the service
// says that a batch has too many members (10005), the client sends batches of half as many from then on. If it rejects
// a batch because of one member, the client halves the batch until it has found the member. For members that the
// service does not add, account_check says whether the account exists. With [Config.ImportAccounts] it is then created.
//
// A Private group has no administrators. If the service does not add an Admin, or rejects the batch of one (10004,
// 10007), and get_group_info says that the group is Private, the Admins of the list are sent as members.
func (c *Client) ImportMembers(ctx context.Context, groupID string, members []group.Member) *MembersCall {
	call := &MembersCall{done: make(chan struct{})}
	call.result = MembersResult{End: Imported, Members: make([]MemberResult, len(members))}
	finish := func() {
		call.result.At = time.Now()
		close(call.done)
	}
	if len(members) == 0 {
		finish()
		return call
	}
	l := c.lanes[memberLane]
	l.enqueue()
	p, err := c.acquire(ctx, l)
	if err != nil {
		call.result.End, call.result.Message = Incomplete, err.Error()
		finish()
		return call
	}
	go func() {
		defer finish()
		imp := &memberImport{c: c, lane: l, groupID: groupID, members: members, result: &call.result, firstEnd: len(members)}
		imp.run(ctx, p)
	}()
	return call
}

// A memberImport is the work of one [MembersCall].
type memberImport struct {
	c       *Client
	lane    *lane
	groupID string
	members []group.Member

	mu       sync.Mutex
	result   *MembersResult
	firstEnd int  // index of the first member of the batch that End is of, unless Imported or Incomplete
	ended    bool // no further batch will be sent
	rest     MemberResult
	halvings int

	// Set by a look-up of the group: a Private one has no administrators, and its Admins are sent as members.
	noAdmins, hasAdmins bool
}

// run sends one batch after another. p is the permit of the first one.
func (m *memberImport) run(ctx context.Context, p *permit) {
	var batches sync.WaitGroup
	slots := make(chan struct{}, maxBatches)
	sent := 0
	for sent < len(m.members) {
		slots <- struct{}{}
		if p == nil {
			m.lane.enqueue()
			var err error
			if p, err = m.c.acquire(ctx, m.lane); err != nil {
				m.incomplete(err)
				break
			}
		}
		if m.hasEnded() {
			m.c.giveBack(p)
			break
		}
		batch := make([]int, 0, m.c.membersPerCall.Load())
		for ; sent < len(m.members) && len(batch) < cap(batch); sent++ {
			batch = append(batch, sent)
		}
		first := p
		p = nil
		batches.Go(func() {
			defer func() { <-slots }()
			m.send(ctx, batch, first, false)
		})
	}
	batches.Wait()
	for ; sent < len(m.members); sent++ {
		m.result.Members[sent] = m.rest
	}
}

// send sends a batch, indexes of members, until each member of it has a result or the call has failed. p is the permit
// of the first attempt, nil to wait for one. isAgain is true if the accounts of the batch have been created meanwhile.
func (m *memberImport) send(ctx context.Context, batch []int, p *permit, isAgain bool) {
	var t tries
	defer func() { m.add(t.attempts) }()
	isLast := false // no further attempt although nobody got a response
	pending := batch
	for {
		since := m.c.breaker.responses()
		noAdmins := m.hasNoAdmins()
		a, err := m.c.repeat(ctx, m.lane, p, m.request(pending, noAdmins), &t)
		p = nil
		m.took(a.took)
		if err == nil && a.verdict == accepted {
			var readErr error
			if pending, readErr = m.read(a, pending, noAdmins); readErr == nil {
				rest := slices.DeleteFunc(m.explain(ctx, batch, isAgain), func(i int) bool { return !m.members[i].IsAdmin })
				if !noAdmins && m.demote(ctx, rest) {
					m.send(ctx, rest, nil, true)
				}
				return
			}
			a = attempt{message: readErr.Error()} // as if the response was lost
			if t.attempts < m.c.cfg.MaxAttempts {
				if err = m.c.pause(ctx, unknown, t.attempts, 0); err == nil {
					continue
				}
			}
		}
		switch {
		case err != nil:
			m.incomplete(err)
		case (a.code == codeParameter || a.code == codeNoPermission) && !noAdmins && m.demote(ctx, pending):
			continue
		case (a.verdict == rejected || a.verdict == inUse) && m.split(ctx, a, pending, isAgain):
		case a.verdict == ambiguous:
			r := m.c.resolve(ctx, m.lane, Result{Code: a.code, Message: a.message}, a, false)
			m.end(pending, r.End, a.code, r.Message)
		case a.verdict == rejected, a.verdict == inUse:
			m.end(pending, Rejected, a.code, a.message)
		case !isLast && m.c.breaker.responses() == since && m.isOutage(ctx, a, since):
			isLast = true
			t.attempts--
			m.add(1)
			continue
		case m.c.Fatal() != nil:
			m.incomplete(m.c.Fatal())
		case ctx.Err() != nil:
			m.incomplete(context.Cause(ctx))
		default:
			m.end(pending, Failed, a.code, a.message)
		}
		return
	}
}

// isOutage is called when the attempts of a batch are used up and nobody got a response meanwhile. It reports whether
// the service accepts a harmless look-up now, so that another attempt is due. If it does not respond to that either,
// the error is fatal.
func (m *memberImport) isOutage(ctx context.Context, a attempt, since int64) bool {
	_, err := m.c.lookUp(ctx, []string{harmlessID})
	if err != nil && ctx.Err() == nil && m.c.Fatal() == nil && m.c.breaker.responses() == since {
		m.c.fail(ctx, unreachable(a.message))
	}
	return err == nil
}

// demote reports whether members, of which there is an Admin, are to be sent again without that role, because the group
// is Private.
func (m *memberImport) demote(ctx context.Context, members []int) bool {
	if !slices.ContainsFunc(members, func(i int) bool { return m.members[i].IsAdmin }) {
		return false
	}
	m.mu.Lock()
	isKnown := m.noAdmins || m.hasAdmins
	m.mu.Unlock()
	if !isKnown {
		found, err := m.c.LookUp(ctx, m.groupID) // batches at the same time share a request
		t, ok := group.ParseType(found.Type)
		m.mu.Lock()
		m.noAdmins = err == nil && found.Found && ok && t == group.Private
		m.hasAdmins = !m.noAdmins
		m.mu.Unlock()
	}
	return m.hasNoAdmins()
}

func (m *memberImport) hasNoAdmins() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.noAdmins
}

// request returns the request for a batch, with noAdmins without the role. An account that is in it twice is sent once.
func (m *memberImport) request(batch []int, noAdmins bool) request {
	body := make([]byte, 0, 64+len(batch)*64)
	body = append(body, `{"GroupId":`...)
	body, _ = jsontext.AppendQuote(body, m.groupID) // fails for invalid UTF-8 only, which no GroupId has
	body = append(body, `,"MemberList":[`...)
	sent := make(map[string]struct{}, len(batch))
	for _, i := range batch {
		if _, ok := sent[m.members[i].Account]; ok {
			continue
		}
		if len(sent) > 0 {
			body = append(body, ',')
		}
		sent[m.members[i].Account] = struct{}{}
		member := m.members[i]
		member.IsAdmin = member.IsAdmin && !noAdmins
		body = member.AppendJSON(body)
	}
	// An entry of the response has an account of 32 bytes, escaped up to 192.
	return request{importGroupMember, append(body, "]}"...), int64(4<<10 + len(batch)*256)}
}

// read reads the results of the members of a batch, and returns those that the response has no result for, with an
// error. With noAdmins the batch was sent without the role.
func (m *memberImport) read(a attempt, batch []int, noAdmins bool) (unread []int, err error) {
	results, err := readMembers(a.body)
	if err != nil {
		return batch, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, i := range batch {
		result, ok := results[m.members[i].Account]
		if !ok {
			unread = append(unread, i)
			continue
		}
		m.result.Members[i] = result
		if noAdmins && m.members[i].IsAdmin && result != MemberNotAdded {
			if m.result.Demoted == nil {
				m.result.Demoted = make(map[int]bool)
			}
			m.result.Demoted[i] = true
		}
	}
	if unread != nil {
		return unread, fmt.Errorf("%s: the response has no result for %d of %d members",
			importGroupMember, len(unread), len(batch))
	}
	return nil, nil
}

// readMembers reads the results by account from a response of import_group_member. It lacks accounts with a result that
// is not documented, and with several that differ.
func readMembers(body []byte) (map[string]MemberResult, error) {
	var re struct {
		MemberList []struct {
			Account string `json:"Member_Account"`
			Result  *int   `json:"Result"`
		} `json:"MemberList"`
	}
	if err := json.Unmarshal(body, &re, lenient); err != nil {
		return nil, errors.New(importGroupMember + ": unreadable response")
	}
	results := make(map[string]MemberResult, len(re.MemberList))
	for _, entry := range re.MemberList {
		result := MemberNotSent
		if entry.Result != nil {
			switch *entry.Result { // cloud.tencent.com/document/product/269/1636
			case 0:
				result = MemberNotAdded
			case 1:
				result = MemberAdded
			case 2:
				result = MemberAlready
			}
		}
		if before, ok := results[entry.Account]; ok && before != result {
			result = MemberNotSent
		}
		results[entry.Account] = result
	}
	for account, result := range results {
		if result == MemberNotSent {
			delete(results, account)
		}
	}
	return results, nil
}

// explain looks at the members of a batch that the service did not add. With ImportAccounts it creates the accounts
// that do not exist and sends their members again, once. It returns the members that were not added although their
// accounts exist or may exist.
func (m *memberImport) explain(ctx context.Context, batch []int, isAgain bool) (rest []int) {
	var ids []string
	for _, i := range batch {
		if m.result.Members[i] == MemberNotAdded { // nobody else writes to the members of this batch
			ids = append(ids, m.members[i].Account)
		}
	}
	if ids == nil {
		return nil
	}
	exist, err := m.c.gatherAccounts(ctx, &m.c.checks, ids)
	if err != nil {
		m.noCheck(err)
	}
	var missing []int
	ids = ids[:0]
	for _, i := range batch {
		if m.result.Members[i] != MemberNotAdded {
			continue
		}
		account := m.members[i].Account
		switch ok, known := exist[account]; {
		case known && !ok:
			m.result.Members[i] = MemberNoAccount
			missing, ids = append(missing, i), append(ids, account)
		case ok && m.c.imported.has(account): // since the batch was sent, for another group
			missing = append(missing, i)
		default:
			rest = append(rest, i)
		}
	}
	if missing == nil || isAgain || !m.c.cfg.ImportAccounts {
		return rest
	}
	created, _ := m.c.gatherAccounts(ctx, &m.c.imports, ids) // the others keep having no account
	missing = slices.DeleteFunc(missing, func(i int) bool {
		return m.result.Members[i] == MemberNoAccount && !created[m.members[i].Account]
	})
	if len(missing) > 0 {
		m.send(ctx, missing, nil, true)
	}
	return rest
}

// Codes of import_group_member that the client checks for. Others of class Permanent are about the batch.
const (
	codeParameter     = 10004
	codeTooMany       = 10005
	codeIsMember      = 10013
	codeNoAccount     = 10019
	codeNoLoginRecord = 70107
)

// split sends a rejected batch in smaller ones, and reports whether it did: if it has too many members, or if one of
// several may be the reason.
func (m *memberImport) split(ctx context.Context, a attempt, batch []int, isAgain bool) bool {
	if len(batch) == 1 {
		return false
	}
	size := (len(batch) + 1) / 2
	switch a.code {
	case codeTooMany:
		for { // concurrent batches of the same size halve it once
			now := m.c.membersPerCall.Load()
			if now <= int64(size) || m.c.membersPerCall.CompareAndSwap(now, int64(size)) {
				break
			}
		}
		size = min(size, int(m.c.membersPerCall.Load()))
		m.c.log.WarnContext(ctx, "too many members in one call, sending fewer", "code", a.code, "members", len(batch),
			"members_per_call", m.c.membersPerCall.Load())
	case codeIsMember, codeNoAccount, codeNoLoginRecord: // they say what becomes of the member
	case codeParameter:
		m.mu.Lock()
		m.halvings++
		tooMany := m.halvings > maxHalvings
		m.mu.Unlock()
		if tooMany {
			return false
		}
	default:
		return false
	}
	for from := 0; from < len(batch); from += size {
		piece := batch[from:min(from+size, len(batch))]
		if m.hasEnded() {
			m.mu.Lock()
			for _, i := range piece {
				m.result.Members[i] = m.rest
			}
			m.mu.Unlock()
			continue
		}
		m.send(ctx, piece, nil, isAgain)
	}
	return true
}

// end ends a batch that was not accepted. If the reason is the group, no further batch is sent.
func (m *memberImport) end(batch []int, end End, code int, message string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var result MemberResult // of each member
	isAboutGroup := false
	switch {
	case code == codeNoGroup && end == Rejected: // the group may be imported later
		end, isAboutGroup = Failed, true
	case end == Rejected && (code == codeNoAccount || code == codeNoLoginRecord) && len(batch) == 1:
		end, result = Imported, MemberNoAccount
	case end == Rejected && code == codeIsMember && len(batch) == 1:
		end, result = Imported, MemberAlready
	case end == Rejected:
		result = MemberRejected
		isAboutGroup = code == codeNoPermission || code == codeIllegalID
	}
	for _, i := range batch {
		m.result.Members[i] = result
	}
	m.result.Code, m.result.Message = code, message
	switch {
	case end == Incomplete:
		m.result.End, m.ended = Incomplete, true
	case end == Imported || m.result.End == Incomplete:
	case m.result.End == Imported || batch[0] < m.firstEnd:
		m.result.End, m.firstEnd = end, batch[0]
	}
	if isAboutGroup && !m.ended {
		m.ended, m.rest = true, result
	}
}

// incomplete ends the call because no further attempt will be made.
func (m *memberImport) incomplete(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.result.End, m.result.Code, m.result.Message = Incomplete, 0, err.Error()
	m.ended = true
}

// noCheck records why account_check does not explain members.
func (m *memberImport) noCheck(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.result.NoCheck = err.Error()
}

func (m *memberImport) hasEnded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ended
}

// add counts attempts.
func (m *memberImport) add(attempts int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.result.Attempts += attempts
}

// took records the duration of an attempt.
func (m *memberImport) took(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.result.Took = d
}

// MembersPerCall returns how many members a batch may have: [Config.MembersPerCall], or fewer once the service has
// rejected as many.
func (c *Client) MembersPerCall() int { return int(c.membersPerCall.Load()) }
