package group

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// A Digest is the first 9 bytes of a SHA-256 sum, 12 characters as text. With a million records on either side the
// chance that two different records share one is about 1 in 5 billion.
type Digest [9]byte

// Append appends d as text in the URL-safe base64 alphabet (RFC 4648, section 5).
func (d Digest) Append(dst []byte) []byte { return base64.RawURLEncoding.AppendEncode(dst, d[:]) }

// String returns d as text.
func (d Digest) String() string { return string(d.Append(nil)) }

// MarshalText returns d as text.
func (d Digest) MarshalText() ([]byte, error) { return d.Append(nil), nil }

// UnmarshalText parses text. Empty text is the zero Digest.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	*d = Digest{}
	if len(text) > 0 {
		*d, err = ParseDigest(string(text))
	}
	return err
}

// ParseDigest parses the text of a digest.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	n, err := base64.RawURLEncoding.Decode(d[:], []byte(s[:min(len(s), 12)]))
	if err != nil || n != len(d) || len(s) != 12 {
		return Digest{}, fmt.Errorf("invalid digest %q: must be 12 characters of base64", clip(s))
	}
	return d, nil
}

// Identity returns a digest of the fields that identify a group across versions of its export: the GroupId if r has
// one, else Type, Name, Owner_Account and CreateTime. The lookup of a GroupId that already exists compares the same
// four fields. Two fields identify a member: GroupId and Member_Account.
func (r *Record) Identity() Digest {
	if r.IsMember {
		return digestOf("member\x00" + r.GroupID + "\x00" + r.Members[0].Account)
	}
	if r.GroupID != "" {
		return digestOf("id\x00" + r.GroupID)
	}
	return digestOf(fmt.Sprintf("%s\x00%s\x00%s\x00%d", r.Type, r.OwnerAccount, r.Name, r.CreateTime))
}

// Sum returns a digest of the whole record in wire format: of the group without its members, see [Record.MembersSum],
// or of the member of a member record.
func (r *Record) Sum() Digest {
	if r.IsMember {
		return r.MembersSum()
	}
	sum := sha256.Sum256(r.AppendJSON(make([]byte, 0, 512)))
	return Digest(sum[:9])
}

func digestOf(text string) Digest {
	sum := sha256.Sum256([]byte(text))
	return Digest(sum[:9])
}
