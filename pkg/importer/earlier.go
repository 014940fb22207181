package importer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/bits-and-blooms/bloom/v3"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

// maxEarlier limits the earlier outcomes in memory, about 100 bytes each. A record can be found if it has moved by at
// most as many records in the new version of the export. Tests lower the limit.
var maxEarlier = 100_000

const (
	// A Bloom filter has the identities of the earlier outcomes that are not in memory: filterBits bits each, at most
	// maxFilter bytes. With 32 bits each (up to 4 million outcomes) the false positive rate is 1 in 5 million.
	filterBits = 32
	maxFilter  = 16 << 20
	minLine    = 100 // bytes of a results line with digests
)

// An earlier has the outcomes of earlier versions of an export that can be carried over. It is not safe for
// concurrent use.
//
// It reads the files of earlier outcomes in order, alongside the export, as far as records need it, and keeps up to
// maxEarlier outcomes by identity. The filter has the identities of the outcomes that are not read yet. A record that
// is in neither is new.
type earlier struct {
	files  []*earlierFile
	first  map[group.Digest]int32 // first slot of a chain
	slots  []slot
	free   []int32
	filter *bloom.BloomFilter // nil if all outcomes are in memory

	total        int64 // outcomes that can be carried over
	incomparable int64 // outcomes of version 1, without digests, of records without a GroupId
	inDoubt      int64 // see [results.Carry]
}

// A slot is an outcome that belongs to no record so far.
type slot struct {
	id, sum  group.Digest
	groupID  string
	status   outcome.Status
	assigned bool
	origin   results.Origin
	members  *earlierMembers // nil if it has none
	next     int32           // next slot with the same identity, -1 if there is none
}

type earlierFile struct {
	index int
	next  func() (results.EarlierOutcome, error, bool)
	stop  func()
	ended bool
	held  int  // outcomes in memory
	read  uint // last line that was read
}

// openEarlier opens the earlier outcomes of c that were not carried over yet. With ignoreMissing, it treats a removed
// file as empty. The caller must call close.
func openEarlier(ctx context.Context, dir results.Dir, c *results.Carry, ignoreMissing bool) (*earlier, error) {
	c = c.Clone() // the writer adds to the sets of c while the sources are read
	x := &earlier{first: map[group.Digest]int32{}, inDoubt: c.InDoubt}
	for i := range c.Sources {
		all := c.Sources[i].All(ctx, dir)
		if ignoreMissing {
			all = withoutMissing(all)
		}
		f := &earlierFile{index: i}
		f.next, f.stop = iter.Pull2(all)
		x.files = append(x.files, f)
	}
	for _, f := range x.files {
		if _, err := x.read(f); err != nil {
			x.close()
			return nil, err
		}
	}
	if err := x.filterRest(ctx, dir, c); err != nil {
		x.close()
		return nil, err
	}
	return x, nil
}

func withoutMissing(all iter.Seq2[results.EarlierOutcome, error]) iter.Seq2[results.EarlierOutcome, error] {
	return func(yield func(results.EarlierOutcome, error) bool) {
		for e, err := range all {
			if errors.Is(err, fs.ErrNotExist) || !yield(e, err) {
				return
			}
		}
	}
}

// count counts an outcome that is comparable or not.
func (x *earlier) count(isComparable bool) {
	if isComparable {
		x.total++
	} else {
		x.incomparable++
	}
}

// filterRest counts the outcomes that are not in memory and adds their identities to the filter.
func (x *earlier) filterRest(ctx context.Context, dir results.Dir, c *results.Carry) error {
	bits := uint(0)
	for i := range x.files {
		size, err := c.Sources[i].Size(ctx, dir)
		if err != nil {
			return err
		}
		bits += uint(max(0, size)) / minLine * filterBits
	}
	for i, f := range x.files {
		if f.ended {
			continue
		}
		if x.filter == nil {
			x.filter = bloom.New(min(bits, 8*maxFilter), 16)
		}
		for e, err := range c.Sources[i].All(ctx, dir) {
			if err != nil {
				return err
			}
			if e.Line <= f.read {
				continue
			}
			id, ok := identityOf(&e.Outcome)
			if x.count(ok); ok {
				x.filter.Add(id[:])
			}
		}
	}
	return nil
}

func (x *earlier) close() {
	for _, f := range x.files {
		f.stop()
	}
}

// read reads outcomes of a file while there is room in memory, and returns their number.
func (x *earlier) read(f *earlierFile) (n int, err error) {
	for ; !f.ended && f.held < maxEarlier/len(x.files); n++ {
		e, err, ok := f.next()
		if err != nil {
			return n, err
		}
		if f.ended = !ok; f.ended {
			return n, nil
		}
		f.read = e.Line
		id, ok := identityOf(&e.Outcome)
		if x.filter == nil { // else filterRest has counted the outcome
			x.count(ok)
		}
		if !ok {
			continue
		}
		x.add(slot{
			id: id, sum: e.Outcome.Sum, groupID: strings.Clone(e.Outcome.GroupID), status: e.Outcome.Status,
			assigned: e.Outcome.Assigned, origin: results.Origin{Source: f.index, Line: e.Line}, members: earlierMembersOf(&e.Outcome),
		})
	}
	return n, nil
}

// identityOf returns the identity of the record of an earlier outcome. ok is false if the outcome has no identity:
// version 1 wrote no digests.
func identityOf(o *outcome.Outcome) (id group.Digest, ok bool) {
	switch {
	case o.ID != group.Digest{}:
		return o.ID, true
	case o.Status == outcome.Unknown, o.Assigned, isServerAssigned(o.GroupID):
		return group.Digest{}, false
	}
	own := group.Record{GroupID: o.GroupID}
	return own.Identity(), true
}

// isServerAssigned reports whether the service assigned a GroupId. Only those start with @TGS#, or @TGS#_@TGS# for a
// Community ("Group System", trtc.io/document/33529).
func isServerAssigned(id string) bool {
	rest, ok := strings.CutPrefix(id, "@TGS#")
	return ok && (!strings.HasPrefix(rest, "_") || strings.HasPrefix(rest, "_@TGS#"))
}

func (x *earlier) add(s slot) {
	at := int32(len(x.slots)) // at most maxEarlier
	if n := len(x.free); n > 0 {
		at, x.free = x.free[n-1], x.free[:n-1]
		x.slots[at] = s
	} else {
		x.slots = append(x.slots, s)
	}
	x.files[s.origin.Source].held++
	x.slots[at].next = -1
	first, ok := x.first[s.id]
	if !ok {
		x.first[s.id] = at
		return
	}
	for x.slots[first].next >= 0 {
		first = x.slots[first].next
	}
	x.slots[first].next = at
}

// A reorderedError says that a record without a GroupId cannot be sent, because an import of an earlier version of
// the export may have created its group.
type reorderedError struct{ text string }

func (e *reorderedError) Error() string {
	return e.text + "; the import stopped to prevent duplicate groups. To create every record without a GroupId that is " +
		"not in the earlier results, set CREATE_UNMATCHED=true"
}

// match returns the earlier outcome of the record with this identity, and removes it. found is false if the record is
// new. The error is a [*reorderedError] if that is not certain.
func (x *earlier) match(id group.Digest) (s slot, found bool, err error) {
	if s, ok := x.remove(id, ""); ok {
		return s, true, nil
	}
	if x.filter != nil && x.filter.Test(id[:]) {
		for read := 1; read > 0; {
			read = 0
			for _, f := range x.files {
				n, err := x.read(f)
				if err != nil {
					return slot{}, false, err
				}
				if s, ok := x.remove(id, ""); ok {
					return s, true, nil
				}
				read += n
			}
		}
		if !x.isRead() {
			return slot{}, false, &reorderedError{fmt.Sprintf("a record without a GroupId has moved by more than %d "+
				"records since the earlier version of the export: restore the order of the earlier version", maxEarlier)}
		}
	}
	switch {
	case x.incomparable > 0:
		return slot{}, false, &reorderedError{fmt.Sprintf("version 1 wrote the earlier results of %d records without "+
			"a GroupId, without digests to match records with", x.incomparable)}
	case x.inDoubt > 0:
		return slot{}, false, &reorderedError{fmt.Sprintf("the import of the earlier version of the export was "+
			"interrupted: it may have created up to %d groups without a GroupId that are not in its results", x.inDoubt)}
	}
	return slot{}, false, nil
}

// rematch removes the earlier outcome that an earlier run carried over as o, and returns its origin.
func (x *earlier) rematch(o *outcome.Outcome) (results.Origin, error) {
	for read := 1; read > 0; {
		if s, ok := x.remove(o.ID, o.GroupID); ok {
			return s.origin, nil
		}
		read = 0
		for _, f := range x.files {
			n, err := x.read(f)
			if err != nil {
				return results.Origin{}, err
			}
			read += n
		}
	}
	return results.Origin{}, nil
}

func (x *earlier) isRead() bool {
	for _, f := range x.files {
		if !f.ended {
			return false
		}
	}
	return true
}

// remove removes and returns an outcome with this identity, and with this GroupId unless groupID is empty. It prefers
// an outcome whose group exists to an unknown one.
func (x *earlier) remove(id group.Digest, groupID string) (slot, bool) {
	first, ok := x.first[id]
	if !ok {
		return slot{}, false
	}
	best, before, previous := int32(-1), int32(-1), int32(-1)
	for at := first; at >= 0; previous, at = at, x.slots[at].next {
		s := &x.slots[at]
		if groupID != "" && s.groupID != groupID {
			continue
		}
		if best < 0 || s.status.HasGroup() && !x.slots[best].status.HasGroup() {
			best, before = at, previous
		}
	}
	if best < 0 {
		return slot{}, false
	}
	s := x.slots[best]
	switch {
	case before >= 0:
		x.slots[before].next = s.next
	case s.next >= 0:
		x.first[id] = s.next
	default:
		delete(x.first, id)
	}
	x.slots[best] = slot{}
	x.free = append(x.free, best)
	x.files[s.origin.Source].held--
	return s, true
}
