package tim

import (
	"cmp"
	"sync/atomic"

	"groupimport/pkg/pacer"
)

// A laneID is an index of [Client.lanes].
type laneID int

const (
	groupLane   laneID = iota // import_group, create_group and get_group_info
	memberLane                // import_group_member
	checkLane                 // account_check
	accountLane               // multiaccount_import
	laneCount
)

// A lane is what requests that share a rate have of their own. The service limits each command by itself, so that
// groups never wait for members.
type lane struct {
	id        laneID
	pacer     *pacer.Pacer
	limit     *inFlightLimit
	waiting   atomic.Int64 // for a permit
	attempts  atomic.Int64
	ambiguous atomic.Int64 // requests in a row with an ambiguous rejection while look-ups were accepted
}

// enqueue registers a waiter for a permit and returns the number ahead of it. Register before checking the length, or
// concurrent callers all see an empty queue.
func (l *lane) enqueue() (ahead int) { return int(l.waiting.Add(1)) - 1 }

// DefaultMemberRate is the rate of import_group_member without [Config.MemberPacers]. The service allows 200 a second
// (cloud.tencent.com/document/product/269/1636, 2026-01).
const DefaultMemberRate = 190

// MemberPacers are the rate limiters of the commands about members and accounts. Clients of one process share them.
type MemberPacers struct {
	rate     float64
	pacers   [laneCount]*pacer.Pacer // none of groupLane
	accounts float64
}

// NewMemberPacers returns rate limiters for rate calls of import_group_member a second, which must be positive.
// account_check and multiaccount_import have half of that each, as the service allows half as many of them: 100 a
// second (cloud.tencent.com/document/product/269/38417, 2025-12). So rates of several processes that add up to 200 keep
// each of the limits.
func NewMemberPacers(rate float64) *MemberPacers {
	m := &MemberPacers{rate: rate, accounts: rate / 2}
	m.pacers[memberLane] = pacer.New(m.rate)
	m.pacers[checkLane] = pacer.New(m.accounts)
	m.pacers[accountLane] = pacer.New(m.accounts)
	return m
}

// The slots of the lanes together are limited by maxInFlight, as far as groups leave some. Accounts need few: a request
// holds 100 of them.
const (
	accountSlots   = 32
	minMemberSlots = 48
)

// newLanes returns the lanes of a client.
func newLanes(cfg *Config) [laneCount]*lane {
	m := cfg.MemberPacers
	groups := newInFlightLimit(cfg.Rate, cfg.MaxInFlight)
	free := max(minMemberSlots, maxInFlight-groups.max-2*accountSlots)
	needed := int(m.rate*maxLatency.Seconds()) + extraSlots
	limits := [laneCount]*inFlightLimit{
		groupLane:   groups,
		memberLane:  newInFlightLimit(m.rate, min(free, needed)),
		checkLane:   newInFlightLimit(m.accounts, accountSlots),
		accountLane: newInFlightLimit(m.accounts, accountSlots),
	}
	var lanes [laneCount]*lane
	for id, limit := range limits {
		lanes[id] = &lane{id: laneID(id), pacer: cmp.Or(m.pacers[id], cfg.Pacer), limit: limit}
	}
	return lanes
}
