package group

import (
	"fmt"
	"time"
)

// Limits are the lengths that the vendor's texts disagree about, in bytes.
type Limits struct {
	Name, Introduction, Notification, FaceURL int
}

// DocumentLimits are those of import_group's own page (1047/34967, 2022-07-06), which "Group System"
// and "Use Limits" (1047/34381, 2025-03-10) repeat.
var DocumentLimits = Limits{Name: 30, Introduction: 240, Notification: 300, FaceURL: 100}

// ExtendedLimits are those of the Web SDK's reference, version 3. Which ones a service enforces, only
// the service can say.
var ExtendedLimits = Limits{Name: 100, Introduction: 400, Notification: 400, FaceURL: 500}

// ParseLimits returns the limits that an operator named: "document" or "extended".
func ParseLimits(s string) (Limits, error) {
	switch s {
	case "document":
		return DocumentLimits, nil
	case "extended":
		return ExtendedLimits, nil
	}
	return Limits{}, fmt.Errorf("%q is neither document nor extended", s)
}

// What all texts agree about, or where the wider one stands; lengths in bytes.
const (
	maxGroupID        = 48 // the English text says "less than 48"; the Chinese one, 48
	maxAccount        = 32 // printable ASCII
	maxAppDefinedData = 20 // newer texts say 10, and a key is never deleted once made
	maxDatumKey       = 16
	maxDatumValue     = 512
	maxCreateTime     = 1<<32 - 1

	// No group that import_group takes may have more members: a Community has up to 100,000 or 1,000,000, by plan
	// ("Group System", trtc.io/document/33529, 2025).
	maxMemberCount = 1_000_000

	// The other types have up to 6,000 (1047/34967, 2022-07-06; "Group System" says 20 to 6,000, by plan). Above
	// that the service decides: Meeting groups of older apps have 10,000.
	documentedMemberCount = 6000

	codeNoPermission = 10007 // the service's own answer to an AVChatRoom
)

// A clock that is behind is no reason to reject a CreateTime: maxAhead is how far CreateTime may be ahead of
// it. clockFloor is older than this rule: a clock that shows an earlier time is wrong, and clockFloor counts.
const maxAhead = 24 * time.Hour

var clockFloor = time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
