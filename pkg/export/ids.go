package export

import "github.com/cespare/xxhash/v2"

// maxRecentIDs is how many GroupIds a generation of recentIDs holds, at some 30 bytes each.
const maxRecentIDs = 50_000

// A recentIDs remembers, of the latest GroupIds, a hash of 64 bits and the line: of at least maxRecentIDs, and at most
// twice as many. The zero value remembers none.
type recentIDs struct{ young, old map[uint64]int64 }

// note returns the line of the latest record noted with this GroupId, 0 if there is none, and notes this one. An empty
// ID is none.
func (r *recentIDs) note(id string, line int64) int64 {
	if id == "" {
		return 0
	}
	hash := xxhash.Sum64String(id)
	same, ok := r.young[hash]
	if !ok {
		same = r.old[hash]
	}
	if r.young == nil || len(r.young) >= maxRecentIDs {
		r.young, r.old = map[uint64]int64{}, r.young
	}
	r.young[hash] = line
	return same
}
