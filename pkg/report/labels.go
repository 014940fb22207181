package report

import (
	"fmt"
	"slices"
	"strings"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

// statusLabels are what pages say of a status.
var statusLabels = map[outcome.Status]struct {
	name, meaning label
	mixed         label // the meaning where there are member records too; empty if it is the same
	title         label // of records whose kind tells no more than the status
	advice        label
}{
	outcome.Imported: {
		name: label{"imported", "已导入"}, meaning: label{"the group was created", "群组已创建"},
		mixed: label{"the group was created, or the member was added", "群组已创建，或成员已添加"},
	},
	outcome.Exists: {
		name:    label{"exists", "已存在"},
		meaning: label{"the group already existed and matches the record", "群组此前已存在，且与记录一致"},
		mixed: label{
			"the group already existed and matches the record, or the member already was one",
			"群组此前已存在且与记录一致，或此前已是成员",
		},
	},
	outcome.Rejected: {
		name:    label{"rejected", "被拒绝"},
		meaning: label{"invalid, or permanently rejected by the service: fix the record", "记录无效，或被服务永久拒绝：请修正记录"},
		title:   label{"the record is invalid or was rejected", "记录无效或被拒绝"},
		advice: label{
			"The service rejected the record permanently. Fix the record, or what it depends on, and import it again.",
			"服务永久拒绝了该记录。请修正记录或其依赖的内容后重新导入。",
		},
	},
	outcome.Failed: {
		name:    label{"failed", "失败"},
		meaning: label{"failed after all retries: the record can be sent again as it is", "多次重试后仍失败：记录可原样重新发送"},
		title:   label{"the service did not accept the record after all retries", "多次重试后服务仍未接受该记录"},
		advice:  label{"Nothing is wrong with the record. It can be sent again as it is.", "记录本身没有问题，可原样重新发送。"},
	},
	outcome.Unknown: {
		name:    label{"unknown", "待确认"},
		meaning: label{"no GroupId, and the response was lost: the group may exist", "没有 GroupId 且响应丢失：群组可能已存在"},
		title:   label{"the response was lost: the group may exist", "响应丢失：群组可能已存在"},
		advice: label{
			"Look in the console whether the group exists before you import the record again.",
			"重新导入之前，请先在控制台确认群组是否存在。",
		},
	},
	outcome.Skipped: {
		name: label{"skipped", "已跳过"}, meaning: label{"left out by the mapping", "映射规则将其排除"},
		mixed: label{"left out by the mapping, or because members are left out", "映射规则将其排除，或未启用成员导入"},
	},
	outcome.Pending: {
		name: label{"pending", "待发送"}, meaning: label{"a member that was not sent yet", "尚未发送的成员"},
		title:  label{"the member was not sent yet", "成员尚未发送"},
		advice: label{"The next run or round of retries sends it.", "下一次运行或重试会发送。"},
	},
}

// statusName returns a status as people read it.
func statusName(s outcome.Status) label {
	if l, ok := statusLabels[s]; ok {
		return l.name
	}
	return label{shown(string(s), 32), shown(string(s), 32)}
}

// statusClass returns the style class of a status.
func statusClass(s outcome.Status) string {
	if _, ok := statusLabels[s]; ok {
		return string(s)
	}
	return "other"
}

// stateLabels are what pages say of a state.
var stateLabels = map[results.State]label{
	results.Running:  {"running", "进行中"},
	results.Waiting:  {"waiting", "等待中"},
	results.Stopped:  {"stopped", "已停止"},
	results.Finished: {"finished", "已完成"},

	results.Paused:    {"paused", "已暂停"},
	results.Cancelled: {"cancelled", "已取消"},
}

// stateClass returns the style class of a state.
func stateClass(s results.State) string {
	if _, ok := stateLabels[s]; ok {
		return string(s)
	}
	return "other"
}

// stateText returns the state of an import, and for a finished one how many records need attention and how many members
// are missing.
func stateText(s results.State, counts []tallied, missing int64) text {
	t := say("%s", "%s", stateLabels[s])
	if s != results.Finished {
		return t
	}
	for _, c := range counts {
		if c.count > 0 && !c.status.IsDone() {
			t = join(", ", "，", t, say("%s %s", "%[2]s %[1]s", c.count, statusName(c.status)))
		}
	}
	if missing > 0 {
		t = join(", ", "，", t, say(plural(missing, "%s member missing", "%s members missing"), "缺少 %s 名成员", missing))
	}
	return t
}

// badgeClass returns the style class of the state of an import with these counts and missing members.
func badgeClass(s results.State, counts []tallied, missing int64) string {
	isMissing := func(c tallied) bool { return c.count > 0 && !c.status.IsDone() }
	if s == results.Finished && (missing > 0 || slices.ContainsFunc(counts, isMissing)) {
		return "missing"
	}
	return stateClass(s)
}

// causeLabels are what pages say of why an import is not running. With details, the message follows: it holds values.
var causeLabels = map[results.Cause]struct {
	label
	details bool
}{
	results.CauseTimeUp:      {label: label{"the working time ended", "工作时间用尽"}},
	results.CauseInterrupted: {label: label{"it was interrupted", "运行被中断"}},
	results.CauseUndone:      {label: label{"a record could not be completed", "有一条记录未能完成"}},
	results.CauseEdited: {label: label{
		"the dead-letter file was edited during a round of retries; the next round reads it again",
		"重试期间失败记录文件被修改；下一轮将按修改后的内容继续",
	}},
	results.CauseReplaced: {label: label{
		"the export was replaced while it was read; the new version is a new import",
		"读取时导出文件被替换；新版本将作为新的导入",
	}},
	results.CauseRemoved: {label: label{"the export was removed while it was read", "读取时导出文件被删除"}},
	results.CauseService: {label{"the service accepts no requests", "服务不接受任何请求"}, true},
	results.CauseRefused: {label{
		"the service rejects too many records: wrong file or wrong setting",
		"服务拒绝了过多记录：文件或设置有误",
	}, true},
	results.CauseReordered: {label{"the new version does not match the earlier one", "新版本与此前版本不一致"}, true},
	results.CauseError:     {label{"the export or the store could not be read or written", "无法读写导出文件或存储"}, true},
	results.CauseNotBegun:  {label: label{"the import has not begun", "导入尚未开始"}},
	results.CauseNewVersion: {label: label{
		"the import of a new version has not begun; the counts are those of the earlier version",
		"新版本尚未开始导入；以下数字属于此前版本",
	}},
	results.CausePaused:    {label{"an operator paused the import", "操作员已暂停导入"}, true},
	results.CauseCancelled: {label{"an operator cancelled the import", "操作员已取消导入"}, true},
	results.CauseResumed:   {label{"an operator resumed the import", "操作员已恢复导入"}, true},
	results.CauseWriting: {label: label{
		"the results are being written: the next run continues", "正在写入结果：下一次运行会继续",
	}},
	results.CauseDiedOften: {label{
		"several runs in a row died before their first outcome", "连续多次运行在产生第一个结果之前异常终止",
	}, true},
	results.CauseDied: {label: label{"the last run died; the next one resumes", "上一次运行异常终止；下一次运行会继续"}},
}

// causeText returns why an import is not running. message is the same in English; runs of version 1 have only that.
func causeText(cause results.Cause, number int, message string) text {
	known, ok := causeLabels[cause]
	switch {
	case !ok:
		return english(message)
	case cause == results.CauseService && number != 0:
		known.label = codeLabel(number)
	}
	t := say("%s", "%s", known.label)
	if !known.details || message == "" {
		return t
	}
	message = shown(message, 3*maxText)
	return text{english(message).EN, join("", "：", t, english(message)).ZH}
}

// kindTitle returns what is wrong with records of a kind. limits are those that the import checked.
func kindTitle(k outcome.Kind, limits group.Limits) text {
	switch {
	case k.Rule != "":
		return ruleTitle(k.Rule, k.Field, limits)
	case k.Code != 0:
		return say("%s", "%s", codeLabel(k.Code))
	}
	t := say("%s", "%s", statusLabels[k.Status].title)
	if k.Member && k.Status == outcome.Failed {
		t = say("the member could not be added", "未能添加成员")
	}
	if k.Field != "" {
		t = join("", "", say("%s: ", "%s：", foreign(shown(k.Field, maxField))), t)
	}
	return t
}

// kindAdvice returns what to do about records of a kind.
func kindAdvice(k outcome.Kind) text {
	switch {
	case k.Status == outcome.Rejected && k.Code == 0 && k.Field != "":
		return say("It was not sent. Fix %s and import the record again.", "未发送。请修正 %s 后重新导入。",
			code(shown(k.Field, maxField)))
	case k.Status == outcome.Rejected && k.Code == 0:
		return say("It was not sent. Fix the record and import it again.", "未发送。请修正该记录后重新导入。")
	}
	if k.Member && k.Status == outcome.Failed {
		return say(
			"If the account does not exist, import the account first. If the group does not exist, import its export first. "+
				"The record can then be sent again as it is.",
			"如果账号不存在，请先导入账号；如果群组不存在，请先导入其所在的导出文件。之后该记录可原样重新发送。",
		)
	}
	return say("%s", "%s", statusLabels[k.Status].advice)
}

// ruleLabels are what pages say of a rule; %s is the field, or the record as a whole.
var ruleLabels = map[group.Rule]label{
	group.RuleMissing:    {"%s is missing or empty", "缺少 %s，或其值为空"},
	group.RuleUnknown:    {"unknown field %s", "未知字段 %s"},
	group.RuleDuplicate:  {"%s occurs more than once", "%s 重复出现"},
	group.RuleKind:       {"%s has the wrong JSON type", "%s 的 JSON 类型不正确"},
	group.RuleValue:      {"%s has a value that is not allowed", "%s 的值不在允许的范围内"},
	group.RuleAVChatRoom: {"%s is AVChatRoom, which import_group cannot import", "%s 为 AVChatRoom，import_group 不能导入此类群组"},
	group.RuleRange:      {"%s is out of range", "%s 超出允许的范围"},
	group.RuleLength:     {"%s is too long", "%s 过长"},
	group.RuleCount:      {"%s has too many entries", "%s 的项数过多"},
	group.RuleCharacters: {"%s has characters that are not allowed", "%s 含有不允许的字符"},
	group.RulePrefix:     {"%s has a prefix that is not allowed", "%s 的前缀不符合要求"},
	group.RuleUTF8:       {"%s is not valid UTF-8", "%s 不是有效的 UTF-8"},
	group.RuleJSON:       {"%s is not a JSON object", "%s不是 JSON 对象"},
	group.RuleRow:        {"%s does not have the cells of the header", "%s的单元格与表头不一致"},
	group.RuleSize:       {"%s is too long to be read", "%s过长，无法读取"},
	group.RuleMapping:    {"the mapping could not convert %s", "映射规则无法转换%s"},
	group.RuleResponse:   {"get_group_info returned an error instead of %s", "get_group_info 返回了错误而非%s"},
}

// ruleTitle returns what is wrong with records that break a rule, with the rule's values.
func ruleTitle(rule group.Rule, field string, limits group.Limits) text {
	subject := say("the record", "记录")
	if field != "" {
		subject = say("%s", "%s", foreign(shown(field, maxField)))
	}
	l, ok := ruleLabels[rule]
	if !ok { // of a later version of this program
		return say("%s breaks the rule %s", "%s 不符合规则 %s", subject, foreign(shown(string(rule), maxField)))
	}
	t := say(l.EN, l.ZH, subject)
	values := ruleValues(rule, field, limits)
	if values == (label{}) {
		return t
	}
	return join(": ", "：", t, say("%s", "%s", values))
}

// ruleValues returns what a rule allows; empty if the rule has no values.
func ruleValues(rule group.Rule, field string, limits group.Limits) label {
	switch rule { // the others have no values
	case group.RuleLength:
		switch n := limits.MaxBytes(field); len(n) {
		case 1:
			return label{fmt.Sprintf("at most %d bytes", n[0]), fmt.Sprintf("最多 %d 字节", n[0])}
		case 2:
			return label{
				fmt.Sprintf("at most %d bytes for a Key, %d for a Value", n[0], n[1]),
				fmt.Sprintf("Key 最多 %d 字节，Value 最多 %d 字节", n[0], n[1]),
			}
		}
	case group.RuleRange:
		if lowest, highest, ok := group.Range(field); ok && field == "CreateTime" {
			return label{"seconds since 1970-01-01 UTC, not in the future", "应为自 1970-01-01 UTC 起的秒数，且不晚于当前时间"}
		} else if ok {
			low, high := thousands(lowest), thousands(highest)
			return label{fmt.Sprintf("%s to %s", low, high), fmt.Sprintf("%s 到 %s", low, high)}
		}
	case group.RuleValue:
		if words := group.Values(field); words != nil {
			return label{"allowed are " + strings.Join(words, ", "), "可选值为 " + strings.Join(words, "、")}
		}
	case group.RuleCount:
		if field == "AppDefinedData" {
			return label{
				fmt.Sprintf("at most %d custom fields", group.MaxEntries),
				fmt.Sprintf("最多 %d 个自定义字段", group.MaxEntries),
			}
		}
	case group.RuleAVChatRoom:
		return label{
			"set AVCHATROOM=create: the group is then created now, with create_group",
			"设置 AVCHATROOM=create 后，程序会用 create_group 新建此类群组（不保留创建时间）",
		}
	case group.RulePrefix:
		return label{
			"GroupId must not begin with @TGS#, and that of a Community must begin with @TGS#_",
			"GroupId 不能以 @TGS# 开头；Community 的 GroupId 必须以 @TGS#_ 开头",
		}
	default:
	}
	return label{}
}
