package group

import "fmt"

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
	maxGroupID        = 48   // the English text says "less than 48"; the Chinese one, 48
	maxAccount        = 32   // printable ASCII
	maxMemberCount    = 6000 //
	maxAppDefinedData = 20   // newer texts say 10, and a key is never deleted once made
	maxDatumKey       = 16   //
	maxDatumValue     = 512  //
	maxCreateTime     = 1<<32 - 1

	codeNoPermission = 10007 // the service's own answer to an AVChatRoom
)
