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

// GroupIds for records without one are hashes of a seed. A seed with seedPrefix depends on the bucket and the key of
// the export. The ID then depends on the record's identity and its number among the records of the same identity, so
// another version of the export gets the same IDs. A seed without seedPrefix is of version 1: the ID depends on the
// export's version and the record's position.
const seedPrefix = "identity:"

func newSeed(bucket, key string) string {
	sum := sha256.Sum256([]byte(bucket + "\n" + key))
	return seedPrefix + hex.EncodeToString(sum[:])
}

const communityPrefix = "@TGS#_" // of the GroupId of a Community ("Group System", trtc.io/document/33529)

// maxIdentities limits the identities that an assigner counts, to some 12 MB. The IDs of records beyond the limit
// also depend on the position.
const maxIdentities = 500_000

// An assigner assigns GroupIds.
type assigner struct {
	seed string
	seen map[uint64]uint32 // records by identity
	odd  map[string]bool   // carried-over IDs whose number differs from the number of their record
}

func newAssigner(seed string) *assigner {
	return &assigner{seed: seed, seen: map[uint64]uint32{}, odd: map[string]bool{}}
}

// byIdentity reports whether the IDs depend on the identities of the records.
func (a *assigner) byIdentity() bool { return strings.HasPrefix(a.seed, seedPrefix) }

// count counts the n-th record of the export. assigned is the ID that the record was assigned before, or empty.
func (a *assigner) count(id group.Digest, n int64, assigned string) {
	a.number(id)
	if assigned != "" && strings.TrimPrefix(assigned, communityPrefix) != a.id(id, n, a.seen[key(id)], group.Public) {
		a.odd[assigned] = true
	}
}

func key(id group.Digest) uint64 { return binary.BigEndian.Uint64(id[:8]) }

// number counts a record with this identity.
func (a *assigner) number(id group.Digest) {
	if _, ok := a.seen[key(id)]; ok || len(a.seen) < maxIdentities {
		a.seen[key(id)]++
	}
}

// assign returns an ID for the record that was counted last.
func (a *assigner) assign(rec *group.Record, id group.Digest, n int64) string {
	if !a.byIdentity() {
		return idFrom(fmt.Sprintf("%s\n%d", a.seed, n), rec.Type)
	}
	for number := a.seen[key(id)]; ; number++ {
		if assigned := a.id(id, n, number, rec.Type); !a.odd[assigned] {
			return assigned
		}
	}
}

// id returns the ID of the number-th record with an identity. number is 0 for a record beyond maxIdentities.
func (a *assigner) id(id group.Digest, n int64, number uint32, t group.Type) string {
	if number == 0 {
		return idFrom(fmt.Sprintf("%s\n%s\nat %d", a.seed, id, n), t)
	}
	return idFrom(fmt.Sprintf("%s\n%s\n%d", a.seed, id, number), t)
}

// idFrom returns an ID that is a hash of text. It has 28 bytes, or 34 for a Community. The limit is 48.
func idFrom(text string, t group.Type) string {
	sum := sha256.Sum256([]byte(text))
	id := "g-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:15]))
	if t == group.Community {
		id = communityPrefix + id
	}
	return id
}
