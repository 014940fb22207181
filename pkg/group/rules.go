package group

import "slices"

// Rules returns all rules.
func Rules() []Rule {
	return []Rule{
		RuleMissing, RuleUnknown, RuleTwice, RuleKind, RuleValue, RuleAVChatRoom, RuleRange, RuleLength, RuleCount,
		RuleCharacters, RulePrefix, RuleUTF8, RuleJSON, RuleRow, RuleSize, RuleMapping, RuleAnswer,
	}
}

// MaxBytes returns how many bytes the value of a field may have, see [RuleLength]: two numbers for AppDefinedData, of
// Key and of Value, and none for a field without such a limit.
func (l Limits) MaxBytes(field string) []int {
	switch field {
	case fieldName:
		return []int{l.Name}
	case fieldIntroduction:
		return []int{l.Introduction}
	case fieldNotification:
		return []int{l.Notification}
	case fieldFaceURL:
		return []int{l.FaceURL}
	case fieldGroupID:
		return []int{maxGroupID}
	case fieldOwnerAccount:
		return []int{maxAccount}
	case fieldAppDefinedData:
		return []int{maxDatumKey, maxDatumValue}
	}
	return nil
}

// Range returns the lowest and the highest number that a field may hold, see [RuleRange]. ok is false if the field is
// no number.
func Range(field string) (lowest, highest int64, ok bool) {
	switch field {
	case fieldMaxMemberCount:
		return 1, maxMemberCount, true
	case fieldCreateTime:
		return 0, maxCreateTime, true
	case fieldSupportTopic:
		return 0, 1, true
	}
	return 0, 0, false
}

// MaxEntries is how many custom fields AppDefinedData may hold, see [RuleCount].
const MaxEntries = maxAppDefinedData

var (
	types       = []string{string(Private), string(Public), string(ChatRoom), string(Community)}
	joinOptions = []string{"FreeAccess", "NeedPermission", "DisableApply"}
)

// Values returns the words that a field may hold, see [RuleValue], and nil for a field that takes others.
func Values(field string) []string {
	switch field {
	case fieldType:
		return slices.Clone(types)
	case fieldApplyJoinOption:
		return slices.Clone(joinOptions)
	}
	return nil
}
