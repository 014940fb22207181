package group

import (
	"fmt"
	"time"
)

// Limits are the length limits, in bytes, on which the vendor's documents disagree, and what else an operator allows.
type Limits struct {
	Name, Introduction, Notification, FaceURL int

	// CreateAVChatRoom accepts records of Type AVChatRoom, which need a GroupId. Otherwise they are an error.
	CreateAVChatRoom bool `json:",omitzero"`
}

// DocumentLimits are the limits of the import_group page (1047/34967, 2022-07-06). "Group System" and "Use Limits"
// (1047/34381, 2025-03-10) repeat them.
var DocumentLimits = Limits{Name: 30, Introduction: 240, Notification: 300, FaceURL: 100}

// ExtendedLimits are the limits of the Web SDK reference, version 3. Which limits the service enforces is not
// documented.
var ExtendedLimits = Limits{Name: 100, Introduction: 400, Notification: 400, FaceURL: 500}

// ParseLimits returns the limits with the name "document" or "extended".
func ParseLimits(s string) (Limits, error) {
	switch s {
	case "document":
		return DocumentLimits, nil
	case "extended":
		return ExtendedLimits, nil
	}
	return Limits{}, fmt.Errorf("%q is neither document nor extended", s)
}

// Limits on which all documents agree, or else the wider limit. Lengths are in bytes.
const (
	maxGroupID        = 48 // the English document says "less than 48", the Chinese one 48
	maxAccount        = 32 // printable ASCII
	maxAppDefinedData = 20 // newer documents say 10, but a key can never be deleted
	maxDatumKey       = 16
	maxDatumValue     = 512
	maxCreateTime     = 1<<32 - 1
	maxUnread         = 1<<32 - 1 // no document has a limit

	// The highest limit of all types that import_group accepts: a Community has up to 100,000 or 1,000,000 members,
	// depending on the plan ("Group System", trtc.io/document/33529, 2025).
	maxMemberCount = 1_000_000

	// The other types have up to 6,000 (1047/34967, 2022-07-06; "Group System": 20 to 6,000, depending on the plan).
	// A larger count is sent and the service decides: Meeting groups of older apps have up to 10,000.
	documentedMemberCount = 6000

	codeNoPermission = 10007 // the service's response to an AVChatRoom
)

// maxAhead is the maximum of CreateTime minus the local clock, which may be slow. clockFloor replaces an earlier clock
// reading, which is certainly wrong.
const maxAhead = 24 * time.Hour

var clockFloor = time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
