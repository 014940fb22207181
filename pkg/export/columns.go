package export

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"groupimport/pkg/group"
)

// synonyms are names that people give to columns, by field: in the words of the vendor's documents and console in
// English and Chinese. Spaces, underscores, hyphens and upper case do not matter.
var synonyms = map[string][]string{
	"GroupId":         {"群ID", "群组ID", "群号", "群编号", "群组编号"},
	"Type":            {"Group type", "群类型", "群组类型"},
	"Owner_Account":   {"Owner", "Owner ID", "Group owner", "群主", "群主ID", "群主账号", "群主帐号", "群主UserID"},
	"Name":            {"Group name", "群名", "群名称", "群组名", "群组名称"},
	"Introduction":    {"Group introduction", "Description", "群简介", "群组简介", "群介绍"},
	"Notification":    {"Announcement", "Notice", "Group notice", "群公告", "群组公告"},
	"FaceUrl":         {"Avatar", "Avatar URL", "Group avatar", "群头像", "群头像URL", "群头像地址", "群组头像"},
	"MaxMemberCount":  {"Max members", "Max member num", "最大成员数", "最大群成员数", "最大成员数量", "群人数上限", "群成员上限"},
	"ApplyJoinOption": {"Join option", "加群方式", "加群选项", "申请加群方式", "申请加群选项"},
	"CreateTime":      {"Created", "Created at", "Creation time", "创建时间", "群创建时间", "建群时间"},
	"SupportTopic":    {"支持话题", "是否支持话题"},
	"Member_Account": {
		"Member", "Member ID", "成员", "成员ID", "成员账号", "成员帐号", "群成员账号", "群成员ID",
		"User ID", "用户ID", "用户账号", "用户帐号", "成员UserID",
	},
	"Role":         {"Member role", "角色", "成员角色", "群内角色", "群成员角色"},
	"JoinTime":     {"Joined", "Joined at", "入群时间", "加群时间", "加入时间"},
	"UnreadMsgNum": {"Unread", "未读数", "未读消息数"},
}

// words are the vendor's Chinese words for values, by field.
var words = map[string]map[string]string{
	"Type": {
		"公开群": "Public", "陌生人社交群": "Public", "私有群": "Private", "好友工作群": "Private", "聊天室": "ChatRoom",
		"临时会议群": "ChatRoom", "社群": "Community",
	},
	"ApplyJoinOption": {"自由加入": "FreeAccess", "需要验证": "NeedPermission", "禁止加群": "DisableApply"},
	"Role":            {"管理员": "Admin", "普通成员": "Member", "成员": "Member"},
	"SupportTopic":    {"是": "1", "否": "0"},
}

// plain removes what does not matter in a column's name.
func plain(name string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "", "\u3000", "").Replace(name))
}

// fieldNames are the fields by their plain names.
var fieldNames = func() map[string]string {
	fields := map[string]string{}
	for _, name := range group.Fields() {
		fields[plain(name)] = name
	}
	for field, names := range synonyms {
		for _, name := range names {
			fields[plain(name)] = field
		}
	}
	return fields
}()

// fieldOf returns the field that a column is for, "" for none.
func fieldOf(column string) string {
	if group.IsField(column) {
		return column
	}
	return fieldNames[plain(column)]
}

// timeFields are the fields that a date may be in.
var timeFields = []string{"CreateTime", "JoinTime"}

// ParseTimeZone returns a time zone: UTC, an offset such as +08:00, or a name such as Asia/Shanghai that the system's
// time zone database has. It is nil for an empty text.
func ParseTimeZone(text string) (*time.Location, error) {
	if text == "" {
		return nil, nil // none is stated
	}
	if text == "UTC" {
		return time.UTC, nil
	}
	if at, err := time.Parse("-07:00", text); err == nil && isOffset.MatchString(text) {
		_, seconds := at.Zone()
		return time.FixedZone(text, seconds), nil
	}
	if strings.Contains(text, "/") {
		if zone, err := time.LoadLocation(text); err == nil {
			return zone, nil
		}
	}
	return nil,
		fmt.Errorf("is %q, it must be an offset such as +08:00, UTC, or a name such as Asia/Shanghai that this system knows",
			cut(text, maxName))
}

var isOffset = regexp.MustCompile(`^[+-](0[0-9]|1[0-4]):[0-5][0-9]$`)

// date matches a date as spreadsheets write it, with the year first: the order of day and month in other forms differs
// by country.
var date = regexp.MustCompile(`^(\d{4})(?:-(\d{1,2})-(\d{1,2})|/(\d{1,2})/(\d{1,2})|\.(\d{1,2})\.(\d{1,2})|年(\d{1,` +
	`2})月(\d{1,2})日)` +
	`(?:[T ] ?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d{1,9})?)?)? ?(Z|[+-]\d{2}:\d{2})?$`)

// IsCompactDate reports whether a text is a date of eight digits, such as 20240131. As Unix seconds each is a day in
// August 1970.
func IsCompactDate(text string) bool {
	at, err := time.Parse("20060102", text)
	return err == nil && at.Year() >= 1980 && at.Year() < 2100
}

// ParseDate returns the Unix time of a date with the year first, and a time of day or none. A date without an offset is
// in zone. ok is false for another text, for a date without an offset if zone is nil, and for a time that zone has
// twice or not at all.
func ParseDate(text string, zone *time.Location) (unix int64, ok bool) {
	m := date.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return 0, false
	}
	var numbers []int
	for _, digits := range m[1:13] {
		if digits != "" {
			n, _ := strconv.Atoi(digits) // matched
			numbers = append(numbers, n)
		}
	}
	numbers = append(numbers, 0, 0, 0)
	if offset := m[13]; offset != "" {
		if zone = time.UTC; offset != "Z" {
			var err error
			if zone, err = ParseTimeZone(offset); err != nil {
				return 0, false
			}
		}
	}
	if zone == nil {
		return 0, false
	}
	at := time.Date(numbers[0], time.Month(numbers[1]), numbers[2], numbers[3], numbers[4], numbers[5], 0, zone)
	got := []int{at.Year(), int(at.Month()), at.Day(), at.Hour(), at.Minute(), at.Second()}
	if !slices.Equal(got, numbers[:6]) {
		return 0, false // no such date, or a time that the change to summer time skips
	}
	for _, shift := range []time.Duration{-time.Hour, time.Hour, -30 * time.Minute, 30 * time.Minute} {
		if other := at.Add(shift); other.Format(time.DateTime) == at.Format(time.DateTime) {
			return 0, false // the hour that the end of summer time repeats
		}
	}
	return at.Unix(), true
}
