package export

import "github.com/cespare/xxhash/v2"

// maxRecentIDs is the number of GroupIds in a generation of recentIDs, at about 30 bytes each.
const maxRecentIDs = 50_000

// A recentIDs remembers the most recent GroupIds, at least maxRecentIDs and at most twice as many: a 64-bit hash and
// the line. The zero value is empty.
type recentIDs struct{ young, old map[uint64]int64 }

// note adds a GroupId and returns the line of the latest earlier record with the same ID, 0 if there is none. It
// ignores an empty ID.
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
