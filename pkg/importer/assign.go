package importer

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"groupimport/pkg/group"
)

// GroupIds for records without one are made from a seed. A seed that begins with seedPrefix is of the bucket and the
// key of the export, and the ID follows from the record's identity and its number among the records of the same identity:
// another version of the export makes the same IDs. Other seeds are of version 1, whose IDs follow from the export's
// version and the record's position.
const seedPrefix = "identity:"

func newSeed(bucket, key string) string {
	sum := sha256.Sum256([]byte(bucket + "\n" + key))
	return seedPrefix + hex.EncodeToString(sum[:])
}

const communityPrefix = "@TGS#_" // of the ID of a Community ("Group System", trtc.io/document/33529)

// maxKinds is how many different identities are told apart, some 12 MB of them. Of the records behind them the ID follows from
// the position too.
const maxKinds = 500_000

// An assigner makes GroupIds.
type assigner struct {
	seed string
	seen map[uint64]uint32 // how many records had an identity
	odd  map[string]bool   // IDs that were carried over, of another number than their record has
}

func newAssigner(seed string) *assigner {
	return &assigner{seed: seed, seen: map[uint64]uint32{}, odd: map[string]bool{}}
}

// byIdentity reports whether the IDs follow from identities.
func (a *assigner) byIdentity() bool { return strings.HasPrefix(a.seed, seedPrefix) }

// count counts a record of this identity, which is the n-th of the export and has this ID if one was assigned before.
func (a *assigner) count(id group.Digest, n int64, assigned string) {
	a.number(id)
	if assigned != "" && strings.TrimPrefix(assigned, communityPrefix) != a.id(id, n, a.seen[key(id)], group.Public) {
		a.odd[assigned] = true
	}
}

func key(id group.Digest) uint64 { return binary.BigEndian.Uint64(id[:8]) }

// number counts a record of this identity.
func (a *assigner) number(id group.Digest) {
	if _, ok := a.seen[key(id)]; ok || len(a.seen) < maxKinds {
		a.seen[key(id)]++
	}
}

// assign returns the ID of the record that was counted last.
func (a *assigner) assign(rec *group.Record, id group.Digest, n int64) string {
	if !a.byIdentity() {
		return idFrom(fmt.Sprintf("%s\n%d", a.seed, n), rec.Type)
	}
	for number := a.seen[key(id)]; ; number++ {
		if made := a.id(id, n, number, rec.Type); !a.odd[made] {
			return made
		}
	}
}

// id returns the ID of the number-th record of an identity. A number of 0 is that of one beyond maxKinds.
func (a *assigner) id(id group.Digest, n int64, number uint32, t group.Type) string {
	if number == 0 {
		return idFrom(fmt.Sprintf("%s\n%s\nat %d", a.seed, id, n), t)
	}
	return idFrom(fmt.Sprintf("%s\n%s\n%d", a.seed, id, number), t)
}

// idFrom returns an ID that follows from text: 28 bytes of the 48 that are allowed, 34 for a Community.
func idFrom(text string, t group.Type) string {
	sum := sha256.Sum256([]byte(text))
	id := "g-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:15]))
	if t == group.Community {
		id = communityPrefix + id
	}
	return id
}
