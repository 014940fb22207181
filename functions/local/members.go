package main

import (
	"context"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/tim"
)

// members is what a dry run says of the members in a file. Nil if there are none.
type members struct {
	Listed      int64      `json:"listed"`            // valid, in MemberLists
	Records     int64      `json:"records"`           // valid member records
	Invalid     int64      `json:"invalid"`           // in MemberLists; they are left out
	BeforeGroup int64      `json:"beforeGroup"`       // of Invalid, with a JoinTime before the group's CreateTime
	Dateless    int64      `json:"groupsWithoutTime"` // groups without CreateTime whose members have a JoinTime
	Demoted     int64      `json:"demoted,omitzero"`  // admins of Private groups
	Rules       []*finding `json:"rules,omitzero"`    // of Invalid, the most frequent first
	Accounts    *accounts  `json:"accounts,omitzero"` // of --live
}

// accounts is what the service says of the accounts of a file.
type accounts struct {
	Asked   int64             `json:"asked"`
	Missing int64             `json:"missing"`
	First   []*missingAccount `json:"examples,omitzero"`

	client *tim.Client
	batch  []string
	places map[string]missingAccount // of the batch
	seen   map[uint64]struct{}
}

// A missingAccount is an account that does not exist, where it occurs first.
type missingAccount struct {
	Line    int64  `json:"line"`
	Account string `json:"account"`
	IsOwner bool   `json:"owner,omitzero"`
}

const (
	// accountBatch is how many accounts are checked together: ten calls of 100.
	accountBatch = 1000

	// maxSeen is how many accounts are remembered, so that each is asked for once: some 40 MB.
	maxSeen = 1_000_000
)

// add counts the members of a valid record.
func (p *members) add(e *export.Entry, rules *findings) {
	if e.Record.IsMember {
		p.Records++
		return
	}
	r := &e.Record
	p.Demoted += int64(r.Demoted)
	isDateless := false
	for i := range r.Members {
		m := &r.Members[i]
		isDateless = isDateless || r.CreateTime == 0 && m.JoinTime > 0
		if m.Problem == nil {
			p.Listed++
			continue
		}
		p.Invalid++
		if m.JoinTime > 0 && m.JoinTime < r.CreateTime {
			p.BeforeGroup++
		}
		rules.add(m.Problem.Field, m.Problem.Rule, m.Problem.Message, e)
	}
	if isDateless {
		p.Dateless++
	}
}

func (p *members) write(w io.Writer) {
	if p == nil {
		return
	}
	fmt.Fprintf(w, "  members: %s in lists, %s, %s in lists\n",
		thousands(p.Listed)+" valid", plural(p.Records, "member record"), thousands(p.Invalid)+" invalid")
	if p.BeforeGroup > 0 {
		fmt.Fprintf(w, "  %s joined before the group was created\n", plural(p.BeforeGroup, "member"))
	}
	writeFindings(w, "invalid members, their groups are imported without them:\n", p.Rules)
	if p.Dateless > 0 {
		fmt.Fprintf(w, "warning: %s without a CreateTime, whose members have a JoinTime: these members cannot be imported. "+
			"Set CreateTime, or leave out JoinTime\n", plural(p.Dateless, "group"))
	}
	if p.Demoted > 0 {
		fmt.Fprintf(w, "note: %s of Private groups become members: such groups have no admins\n", plural(p.Demoted, "admin"))
	}
	a := p.Accounts
	if a == nil {
		return
	}
	fmt.Fprintf(w, "  live: %s looked up: %s do not exist\n", plural(a.Asked, "account"), thousands(a.Missing))
	for _, x := range a.First {
		what := "member"
		if x.IsOwner {
			what = "owner"
		}
		fmt.Fprintf(w, "    line %d: the account of the %s does not exist: %q\n", x.Line, what, x.Account)
	}
}

// add looks up the accounts of a valid record, together with others. Members that are not sent are left out.
func (a *accounts) add(ctx context.Context, line int64, r *group.Record) error {
	if err := a.one(ctx, missingAccount{line, r.OwnerAccount, true}); err != nil {
		return err
	}
	for i := range r.Members {
		if m := &r.Members[i]; m.Problem == nil {
			if err := a.one(ctx, missingAccount{line, m.Account, false}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *accounts) one(ctx context.Context, place missingAccount) error {
	if place.Account == "" {
		return nil
	}
	hash := xxhash.Sum64String(place.Account)
	if _, ok := a.seen[hash]; ok {
		return nil
	}
	if a.seen == nil || len(a.seen) >= maxSeen {
		a.seen = map[uint64]struct{}{}
	}
	if a.places == nil {
		a.places = map[string]missingAccount{}
	}
	a.seen[hash] = struct{}{}
	a.batch = append(a.batch, place.Account)
	a.places[place.Account] = place
	if len(a.batch) < accountBatch {
		return nil
	}
	return a.flush(ctx)
}

// flush looks up what was added.
func (a *accounts) flush(ctx context.Context) error {
	if a == nil || len(a.batch) == 0 {
		return nil
	}
	missing, err := a.client.CheckAccounts(ctx, a.batch)
	if err != nil {
		if stop := a.client.Fatal(); stop != nil {
			return stop
		}
		return fmt.Errorf("look up accounts: %w", err)
	}
	a.Asked += int64(len(a.batch))
	a.Missing += int64(len(missing))
	for _, account := range missing {
		if len(a.First) < maxExamples {
			place := a.places[account]
			a.First = append(a.First, &place)
		}
	}
	a.batch = a.batch[:0]
	clear(a.places)
	return nil
}

// isLacking reports whether members or owners cannot be imported.
func (p *members) isLacking() bool {
	return p != nil && (p.Invalid > 0 || p.Accounts != nil && p.Accounts.Missing > 0)
}
