package export

import "github.com/cespare/xxhash/v2"

// maxRecentIDs is the number of GroupIds in a generation of recentIDs.
const maxRecentIDs = 50_000

// A recentIDs remembers the most recent GroupIds, at least maxRecentIDs and at most twice as many, in 1.1 MB. Eight
// imports of a process do so at the same time: maps took 18 MB of their 64. The zero value is empty.
type recentIDs struct{ young, old idTable }

// note adds a GroupId and returns the line of the latest earlier record with the same ID, 0 if there is none. It
// ignores an empty ID.
func (r *recentIDs) note(id string, line int64) int64 {
	if id == "" {
		return 0
	}
	hash := xxhash.Sum64String(id)
	same, ok := r.young.line(hash)
	if !ok {
		same, _ = r.old.line(hash)
	}
	if len(r.young.entries) >= maxRecentIDs {
		r.young, r.old = r.old, r.young
		r.young.reset()
	}
	r.young.set(hash, line)
	return same
}

// An idTable maps the hashes of GroupIds to lines, by open addressing. An entry is found by the lowest 16 bits of its
// hash and known by the highest 32. Of ten million GroupIds one is taken for another with a probability of 3 %: then a
// rejected record's error names a line in vain.
type idTable struct {
	slots   *[1 << 16]uint16 // 1 plus the index of an entry, 0 without one; nil before the first
	entries []idEntry        // at most maxRecentIDs
	base    int64            // line of the first entry
}

type idEntry struct {
	tag  uint32 // of the hash
	line int32  // minus base: an archive counts the lines of each of its files
}

// find returns the entry of a hash, nil if there is none, and its slot or the one to fill.
func (t *idTable) find(hash uint64) (*idEntry, *uint16) {
	for at := uint16(hash); ; at++ { // there is always an empty slot
		slot := &t.slots[at]
		if *slot == 0 {
			return nil, slot
		}
		if e := &t.entries[*slot-1]; e.tag == uint32(hash>>32) {
			return e, slot
		}
	}
}

func (t *idTable) line(hash uint64) (line int64, ok bool) {
	if t.slots == nil {
		return 0, false
	}
	e, _ := t.find(hash)
	if e == nil {
		return 0, false
	}
	return t.base + int64(e.line), true
}

func (t *idTable) set(hash uint64, line int64) {
	if t.slots == nil {
		t.slots = new([1 << 16]uint16)
	}
	if len(t.entries) == 0 {
		t.base = line
	}
	e, slot := t.find(hash)
	if e == nil {
		if len(t.entries) == maxRecentIDs/2 {
			t.entries = append(make([]idEntry, 0, maxRecentIDs), t.entries...) // append alone would take more
		}
		t.entries = append(t.entries, idEntry{tag: uint32(hash >> 32)})
		*slot = uint16(len(t.entries))
		e = &t.entries[len(t.entries)-1]
	}
	e.line = int32(line - t.base)
}

// reset removes all entries and keeps their memory.
func (t *idTable) reset() {
	t.entries = t.entries[:0]
	if t.slots != nil {
		clear(t.slots[:])
	}
}
