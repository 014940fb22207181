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

// maxEarlier is how many earlier outcomes are held at a time that no record has taken over yet, about 100 bytes
// each. Within as many records an export may be reordered, and nothing is created twice. Tests lower it.
var maxEarlier = 100_000

const (
	// The identities of the earlier outcomes that are not held are in a Bloom filter of filterBits bits each, at most
	// maxFilter bytes in all. With 32 bits (up to 4 million outcomes) it errs once in 5 million times.
	filterBits = 32
	maxFilter  = 16 << 20
	minLine    = 100 // bytes of a results line with digests

)

// An earlier holds the outcomes of earlier versions of an export, for records to take over. It is not safe for
// concurrent use.
//
// The files of earlier outcomes are read alongside the export, in their order, and only as far as records need it: up to
// maxEarlier outcomes are held by identity. The identities of all behind them are in the filter, so that a record that is
// in neither is known to be new.
type earlier struct {
	files  []*earlierFile
	held   map[group.Digest]int32 // first slot of a chain
	slots  []slot
	free   []int32
	filter *bloom.BloomFilter // nil if all are held

	total        int64 // outcomes that can be taken over
	incomparable int64 // of version 1, which wrote no digests, of records without a GroupId
	inDoubt      int64 // see [results.Carry]
}

// A slot is an outcome that no record has taken over yet.
type slot struct {
	id, sum  group.Digest
	groupID  string
	status   outcome.Status
	assigned bool
	at       results.Taken
	next     int32 // slot of the same identity, -1 if there is none
}

type earlierFile struct {
	index int
	next  func() (results.EarlierOutcome, error, bool)
	stop  func()
	ended bool
	held  int  // outcomes that are held
	read  uint // line that was read last
}

// openEarlier opens the earlier outcomes that c names, without those that were taken over. With ignoreMissing, a file that
// was removed is taken for an empty one. The caller must close what it returns.
func openEarlier(ctx context.Context, dir results.Dir, c *results.Carry, ignoreMissing bool) (*earlier, error) {
	x := &earlier{held: map[group.Digest]int32{}, inDoubt: c.InDoubt}
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

// count counts an outcome, or one that cannot be compared.
func (x *earlier) count(isComparable bool) {
	if isComparable {
		x.total++
	} else {
		x.incomparable++
	}
}

// filterRest counts the outcomes that are not held and puts their identities into the filter.
func (x *earlier) filterRest(ctx context.Context, dir results.Dir, c *results.Carry) error {
	bits := uint(0)
	for i := range x.files {
		size, err := c.Sources[i].Size(ctx, dir)
		if err != nil {
			return err
		}
		bits += uint(max(0, size)) / minLine * filterBits //nolint:gosec // not negative
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

// read holds as many more outcomes of a file as there is room for, and returns how many it has read.
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
		if x.filter == nil { // else the outcome is counted
			x.count(ok)
		}
		if !ok {
			continue
		}
		x.hold(slot{
			id: id, sum: e.Outcome.Sum, groupID: strings.Clone(e.Outcome.GroupID), status: e.Outcome.Status,
			assigned: e.Outcome.Assigned, at: results.Taken{Source: f.index, Line: e.Line},
		})
	}
	return n, nil
}

// identityOf returns what an earlier outcome is found by. ok is false if a record that was not sent again for its sake could
// not be told from others: version 1 wrote no digests.
func identityOf(o *outcome.Outcome) (id group.Digest, ok bool) {
	switch {
	case o.ID != group.Digest{}:
		return o.ID, true
	case o.Status == outcome.Unknown, o.Assigned, isServiceMade(o.GroupID):
		return group.Digest{}, false
	}
	own := group.Record{GroupID: o.GroupID}
	return own.Identity(), true
}

// isServiceMade reports whether the service chose an ID: only its own begin with @TGS#, or @TGS#_@TGS# for a Community
// ("Group System", trtc.io/document/33529).
func isServiceMade(id string) bool {
	rest, ok := strings.CutPrefix(id, "@TGS#")
	return ok && (!strings.HasPrefix(rest, "_") || strings.HasPrefix(rest, "_@TGS#"))
}

func (x *earlier) hold(s slot) {
	at := int32(len(x.slots)) //nolint:gosec // at most maxEarlier
	if n := len(x.free); n > 0 {
		at, x.free = x.free[n-1], x.free[:n-1]
		x.slots[at] = s
	} else {
		x.slots = append(x.slots, s)
	}
	x.files[s.at.Source].held++
	x.slots[at].next = -1
	first, ok := x.held[s.id]
	if !ok {
		x.held[s.id] = at
		return
	}
	for x.slots[first].next >= 0 {
		first = x.slots[first].next
	}
	x.slots[first].next = at
}

// A reorderedError says that a record without a GroupId cannot be sent, because its group may have been created from an
// earlier version of the export.
type reorderedError struct{ text string }

func (e *reorderedError) Error() string {
	return e.text + "; nothing is created twice for it: to create every record without a GroupId that is not found among the " +
		"earlier results, set CREATE_UNMATCHED=true"
}

// take returns the earlier outcome that a record takes over. found is false if there is none: the record is new. The
// error is a [*reorderedError] if that is not certain.
func (x *earlier) take(id group.Digest) (s slot, found bool, err error) {
	if s, ok := x.unhold(id, ""); ok {
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
				if s, ok := x.unhold(id, ""); ok {
					return s, true, nil
				}
				read += n
			}
		}
		if !x.isRead() {
			return slot{}, false, &reorderedError{fmt.Sprintf("a record without a GroupId is more than %d records away from its place in the "+
				"earlier version of the export: sort the export as it was", maxEarlier)}
		}
	}
	switch {
	case x.incomparable > 0:
		return slot{}, false, &reorderedError{fmt.Sprintf("the earlier results have %d groups without a GroupId of their own and were written by "+
			"version 1, which kept nothing to compare records with", x.incomparable)}
	case x.inDoubt > 0:
		return slot{}, false, &reorderedError{fmt.Sprintf("the import of the earlier version of the export was interrupted, and up to %d records without "+
			"a GroupId may have been created that its results do not tell of", x.inDoubt)}
	}
	return slot{}, false, nil
}

// retake takes the outcome again that a record has taken over in a run before.
func (x *earlier) retake(o *outcome.Outcome) (results.Taken, error) {
	for read := 1; read > 0; {
		if s, ok := x.unhold(o.ID, o.GroupID); ok {
			return s.at, nil
		}
		read = 0
		for _, f := range x.files {
			n, err := x.read(f)
			if err != nil {
				return results.Taken{}, err
			}
			read += n
		}
	}
	return results.Taken{}, nil
}

func (x *earlier) isRead() bool {
	for _, f := range x.files {
		if !f.ended {
			return false
		}
	}
	return true
}

// unhold returns an outcome of this identity, and of this GroupId unless that is empty, and holds it no longer. One whose
// group exists is taken before one that is unknown.
func (x *earlier) unhold(id group.Digest, groupID string) (slot, bool) {
	first, ok := x.held[id]
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
		x.held[id] = s.next
	default:
		delete(x.held, id)
	}
	x.slots[best] = slot{}
	x.free = append(x.free, best)
	x.files[s.at.Source].held--
	return s, true
}
