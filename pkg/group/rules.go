package group

import "slices"

// Rules returns all rules.
func Rules() []Rule {
	return []Rule{
		RuleMissing, RuleUnknown, RuleDuplicate, RuleKind, RuleValue, RuleAVChatRoom, RuleRange, RuleLength, RuleCount,
		RuleCharacters, RulePrefix, RuleUTF8, RuleJSON, RuleRow, RuleSize, RuleMapping, RuleResponse,
	}
}

// MaxBytes returns the maximum length of a field's value in bytes, see [RuleLength]: two numbers for AppDefinedData,
// for Key and Value, and nil for a field without a limit.
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
	case fieldOwnerAccount, fieldMemberAccount:
		return []int{maxAccount}
	case fieldAppDefinedData:
		return []int{maxDatumKey, maxDatumValue}
	}
	return nil
}

// Range returns the minimum and the maximum of a numeric field, see [RuleRange]. ok is false for other fields.
func Range(field string) (lowest, highest int64, ok bool) {
	switch field {
	case fieldMaxMemberCount:
		return 1, maxMemberCount, true
	case fieldCreateTime, fieldJoinTime:
		return 0, maxCreateTime, true
	case fieldUnread:
		return 0, maxUnread, true
	case fieldSupportTopic:
		return 0, 1, true
	}
	return 0, 0, false
}

// MaxEntries is the maximum number of custom fields in AppDefinedData, see [RuleCount].
const MaxEntries = maxAppDefinedData

var (
	types       = []string{string(Private), string(Public), string(ChatRoom), string(Community)}
	joinOptions = []string{"FreeAccess", "NeedPermission", "DisableApply"}
	roles       = []string{roleAdmin, roleMember}
)

const (
	roleAdmin  = "Admin"
	roleMember = "Member"
)

// Values returns the allowed values of a field, see [RuleValue], nil for a field without such a list.
func Values(field string) []string {
	switch field {
	case fieldType:
		return slices.Clone(types)
	case fieldApplyJoinOption:
		return slices.Clone(joinOptions)
	case fieldRole:
		return slices.Clone(roles)
	}
	return nil
}
