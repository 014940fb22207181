package report

import (
	"regexp"
	"strings"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// translated is what another part of the program says, in English, with its Chinese if there is one. What
// has none stays English in both languages: it is better read than left out.
func translated(english string) text {
	t := same(english)
	if zh, ok := inChinese(english); ok {
		t.ZH = same(zh).ZH
	} else {
		t.ZH = g.Group{h.Span(h.Lang("en"), t.ZH)}
	}
	return t
}

// inChinese returns the Chinese of a rule's message, of a code's meaning, or of why a run ended.
func inChinese(english string) (string, bool) {
	if zh, ok := chinese[english]; ok {
		return zh, true
	}
	if m := withCode.FindStringSubmatch(english); m != nil {
		words := ""
		zh, ok := chinese[m[2]]
		for i := len(m[2]); !ok && i > 0; { // behind the meaning stand the service's own words, in brackets
			if i = strings.LastIndex(m[2][:i], " ("); i < 0 {
				break
			}
			zh, ok = chinese[m[2][:i]]
			words = m[2][i:]
		}
		return "代码 " + m[1] + "：" + zh + words, ok
	}
	for _, r := range rules {
		if !r.english.MatchString(english) {
			continue
		}
		return r.english.ReplaceAllString(english, r.chinese), true
	}
	return "", false
}

var withCode = regexp.MustCompile(`^code (\d+): (.*)$`)

// rules are what the record's rules say, the first that fits.
var rules = []struct {
	english *regexp.Regexp
	chinese string
}{
	{regexp.MustCompile(`^(\S+) has (\S+) bytes, at most (\S+) are allowed$`), "$1 长度为 $2 字节，最多 $3 字节"},
	{regexp.MustCompile(`^(\S+) has (\S+) entries, at most (\S+) are allowed$`), "$1 有 $2 项，最多 $3 项"},
	{regexp.MustCompile(`^(\S+) is missing or empty$`), "缺少 $1，或其值为空"},
	{regexp.MustCompile(`^(\S+) is missing$`), "缺少 $1"},
	{regexp.MustCompile(`^(\S+) is empty\b.*$`), "$1 为空"},
	{regexp.MustCompile(`^(\S+) is (\S+), allowed is (\S+) to (\S+?)(,? .*)?$`), "$1 为 $2，允许范围是 $3 到 $4"},
	{regexp.MustCompile(`^unknown field (.+), did you mean (.+)\?$`), "未知字段 $1，是否应为 $2？"},
	{regexp.MustCompile(`^unknown field (\S+): .*$`), "未知字段 $1"},
	{regexp.MustCompile(`^unknown field (.+)$`), "未知字段 $1"},
	{regexp.MustCompile(`^(\S+) must be a whole number, not (.*)$`), "$1 必须是整数，而不是 $2"},
	{regexp.MustCompile(`^(\S+) must be a number, not .*$`), "$1 必须是数字"},
	{regexp.MustCompile(`^(\S+) must be a string, not .*$`), "$1 必须是字符串"},
	{regexp.MustCompile(`^(\S+) must be an array of .*$`), "$1 必须是由 {Key, Value} 组成的数组"},
	{regexp.MustCompile(`^(\S+) must be an object of .*$`), "$1 必须是由 Key 和 Value 组成的对象"},
	{regexp.MustCompile(`^Type (\S+) cannot be imported.*$`), "$1 类型的群组不能导入：请用 create_group 创建，再用 modify_group_base_info 设置资料"},
	{regexp.MustCompile(`^(\S+) (.+) is not one of ([A-Za-z, ]+?)(, did you mean .*|: .*)?$`), "$1 的值 $2 不在 $3 之中"},
	{regexp.MustCompile(`^not a JSON object.*$`), "不是 JSON 对象"},
	{regexp.MustCompile(`^more than one JSON value.*$`), "一行中有多个 JSON 值"},
	{regexp.MustCompile(`^(\S+(?: \S+)?) stands more than once$`), "$1 重复出现"},
	{regexp.MustCompile(`^(.+) is not valid UTF-8.*$`), "$1 不是有效的 UTF-8"},
	{regexp.MustCompile(`^(\S+) may hold printable ASCII only.*$`), "$1 只能包含可打印的 ASCII 字符"},
	{regexp.MustCompile(`^(\S+ \S+) may hold letters, digits and _ only$`), "$1 只能包含字母、数字和 _"},
	{regexp.MustCompile(`^(\S+ \S+) must not start with a digit$`), "$1 不能以数字开头"},
	{regexp.MustCompile(`^(\S+) has no (Key|Value)$`), "$1 缺少 $2"},
	{regexp.MustCompile(`^GroupId of a Community must start with @TGS#_$`), "Community 的 GroupId 必须以 @TGS#_ 开头"},
	{regexp.MustCompile(`^GroupId must not start with @TGS#.*$`), "GroupId 不能以 @TGS# 开头：这类 ID 由服务分配"},
	{regexp.MustCompile(`^SupportTopic is for groups of Type Community only$`), "SupportTopic 仅适用于 Community 类型"},
	{regexp.MustCompile(`^the line has .* bytes?, .*$`), "该行过长"},
	{regexp.MustCompile(`^another group has this GroupId: .*$`), "该 GroupId 已被另一个群组使用"},
	{regexp.MustCompile(`^the answer was lost, the group may exist: no answer within (.*)$`), "应答丢失，群组可能已存在：$1 内没有应答"},
	{regexp.MustCompile(`^the answer was lost, the group may exist: (.*)$`), "应答丢失，群组可能已存在：$1"},
	{regexp.MustCompile(`^no answer within (.*)$`), "$1 内没有应答"},
	{regexp.MustCompile(`^HTTP (\S+) instead of an answer of the service: a proxy or firewall refuses this record$`), "返回 HTTP $1 而非服务的应答：代理或防火墙拒绝了此记录"},
	{regexp.MustCompile(`^HTTP (\S+) instead of an answer of the service: check TIM_ENDPOINT.*$`), "返回 HTTP $1 而非服务的应答：请检查 TIM_ENDPOINT"},
	{regexp.MustCompile(`^CreateTime (\S+) is (.*) UTC, later than now \((.*) UTC\): .*$`), "CreateTime $1 为 $2 UTC，晚于当前时间（$3 UTC）：应为自 1970-01-01 UTC 起的秒数"},
	{regexp.MustCompile(`^the run before died when this record.*$`), "上一次运行在可能已发送此记录时异常终止，而该记录没有 GroupId：群组可能已存在"},
	{regexp.MustCompile(`^the service rejected (\S+) of (\S+) calls, .*$`), "服务拒绝了 $2 次调用中的 $1 次：文件或设置有误；若仍要继续，请设置 STOP_SHARE=1"},
}

const (
	zhRegion = "请检查 TIM_REGION：该 SDKAppID 属于其他数据中心"
	zhKey    = "请检查 TIM_SDKAPPID 与 TIM_SECRET_KEY 是否属于同一应用"
	zhAdmin  = "请在控制台检查 TIM_ADMIN 是否为应用管理员"
)

// chinese is by English text: why a run ends, and what the service's codes mean.
//
//nolint:gosec // these are words about keys, and no keys
var chinese = map[string]string{
	"it was through": "已全部处理",
	"time is up":     "时间用尽",
	"time is up while the results are written":                                         "写结果时时间用尽",
	"a record could not be done":                                                       "有一条记录未能完成",
	"interrupt signal received":                                                        "被用户中断",
	"terminated signal received":                                                       "进程被要求结束",
	"the export was removed while it was read":                                         "读取时导出文件被删除",
	"the export was replaced while it was read; the new version is a new import":       "读取时导出文件被替换；新版本将作为新的导入",
	"the failures file was edited during a round of retries; the next goes on with it": "重试期间失败文件被修改；下一轮将按修改后的内容继续",

	"OK":                                                 "成功",
	"internal error of the service":                      "服务内部错误",
	"a parameter is not valid":                           "参数无效",
	"the GroupId is in use":                              "GroupId 已被使用",
	"the text holds a sensitive word":                    "文本含有敏感词",
	"too many accounts in one call":                      "单次调用的账号过多",
	"the group does not exist":                           "群组不存在",
	"the body is not valid JSON":                         "请求体不是有效的 JSON",
	"the account is a member of the group already":       "账号已是群成员",
	"messages to the group are too frequent":             "群消息过于频繁",
	"the group is full":                                  "群组已满员",
	"the GroupId is not valid":                           "GroupId 无效",
	"the app's own webhook refused it":                   "被应用自己的回调拒绝",
	"the answer would exceed 1 MB":                       "应答将超过 1 MB",
	"the account does not exist: import the owner first": "账号不存在：请先导入群主账号",
	"the GroupId is in use, by a group of the caller":    "GroupId 已被调用者自己的群组使用",
	"the quota of AVChatRooms is used up":                "直播群数量已达上限",
	"the owner is in too many groups already":            "群主加入的群组过多",
	"more members than the plan allows; after an upgrade raise MaxMemberNum with modify_group_base_info": "成员数超过套餐上限；升级套餐后请用 modify_group_base_info 调高 MaxMemberNum",
	"the GroupId belongs to a group that was disbanded or is not visible: choose another GroupId":        "该 GroupId 属于已解散或不可见的群组：请换用其他 GroupId",
	"the feature needs a higher plan":                                      "该功能需要更高的套餐",
	"communities are not enabled for this app: enable them in the console": "应用未开通社群：请在控制台开通",
	"the group type does not support this operation, or no permission: check that TIM_ADMIN is an app administrator in the console": "群组类型不支持该操作，或没有权限：" + zhAdmin,
	"too many operations; if it lasts, the day's quota of 10,000 new groups is used up":                                             "操作过于频繁；若持续出现，则当日 10,000 个新群组的额度已用完",
	"the request or its signature is not valid: check that TIM_SDKAPPID and TIM_SECRET_KEY are of the same app":                     "请求或签名无效：" + zhKey,
	"the service does not know the command: check TIM_ENDPOINT":                                                                     "服务不认识该命令：请检查 TIM_ENDPOINT",
	"the caller's UserID is not valid: check TIM_ADMIN":                                                                             "调用者的 UserID 无效：请检查 TIM_ADMIN",
	"the command is disabled for this SDKAppID: ask Tencent Cloud to enable it":                                                     "该 SDKAppID 未开放此命令：请联系腾讯云开通",
	"the trial edition holds 100 groups at most: upgrade the plan":                                                                  "体验版最多 100 个群组：请升级套餐",

	"the request's URL could not be read: check TIM_ENDPOINT": "请求的 URL 无法解析：请检查 TIM_ENDPOINT",
	"the body is not JSON": "请求体不是 JSON",
	"the UserSig was not accepted: check that TIM_SDKAPPID and TIM_SECRET_KEY are of the same app": "UserSig 未被接受：" + zhKey,
	"the SDKAppID is not valid: check TIM_SDKAPPID":                                                "SDKAppID 无效：请检查 TIM_SDKAPPID",
	"the REST API is called too often":                                                             "REST API 调用过于频繁",
	"the service timed out":                                                                        "服务超时",
	"wrong resource or URL: check TIM_ENDPOINT":                                                    "资源或 URL 错误：请检查 TIM_ENDPOINT",
	"the caller is no administrator: check that TIM_ADMIN is an app administrator in the console":  "调用者不是管理员：" + zhAdmin,
	"the SDKAppID's requests are too frequent":                                                     "该 SDKAppID 的请求过于频繁",
	"the SDKAppID is missing: check TIM_SDKAPPID and TIM_ENDPOINT":                                 "缺少 SDKAppID：请检查 TIM_SDKAPPID 和 TIM_ENDPOINT",
	"the service could not read an answer of its own":                                              "服务无法解析其内部应答",
	"the service timed out checking the account":                                                   "服务校验账号超时",
	"an account is not a string":                                                                   "账号不是字符串",
	"the app is disabled: look at it in the console":                                               "应用已停用：请在控制台查看",
	"the request is disabled for this app: ask Tencent Cloud":                                      "该应用禁止此请求：请联系腾讯云",
	"requests are too frequent":                                                                    "请求过于频繁",
	"the plan has expired or is in arrears: renew it, then wait five minutes":                      "套餐已到期或欠费：请续费，五分钟后再试",
	"this IP address may not call: allow it in the console, or remove the list there":              "此 IP 地址不允许调用：请在控制台加入白名单，或删除白名单",
	"sdkappid, identifier or UserSig of the request are not valid: check that TIM_SDKAPPID and TIM_SECRET_KEY are of the same app": "请求的 sdkappid、identifier 或 UserSig 无效：" + zhKey,
	"check TIM_REGION: the SDKAppID belongs to another data centre":                                                                zhRegion,
	"the app has no access to this product: look at it in the console":                                                             "应用未开通此产品：请在控制台查看",
	"the trial edition's calls of 24 hours are used up: wait, or upgrade the plan":                                                 "体验版 24 小时内的调用次数已用完：请等待或升级套餐",
	"an error of access or account that is in no list: see the service's own words":                                                "未列出的接入或账号错误：请看服务的原文说明",
	"an error that is in no list: see the service's own words":                                                                     "未列出的错误：请看服务的原文说明",

	"the UserSig has expired: check the clock of this machine":                                                                                                                   "UserSig 已过期：请检查本机时钟",
	"the UserSig is empty: check TIM_SECRET_KEY and TIM_ENDPOINT":                                                                                                                "UserSig 为空：请检查 TIM_SECRET_KEY 和 TIM_ENDPOINT",
	"the UserSig is not valid: check that TIM_SDKAPPID and TIM_SECRET_KEY are of the same app":                                                                                   "UserSig 无效：" + zhKey,
	"the UserSig could not be checked: check that TIM_SDKAPPID and TIM_SECRET_KEY are of the same app":                                                                           "UserSig 无法校验：" + zhKey,
	"the UserSig was made with another app's key: check that TIM_SDKAPPID and TIM_SECRET_KEY are of the same app; check TIM_REGION: the SDKAppID belongs to another data centre": "UserSig 由其他应用的密钥生成：" + zhKey + "；" + zhRegion,
	"the UserSig is of another account: check TIM_ADMIN":                                                                                                                         "UserSig 属于其他账号：请检查 TIM_ADMIN",
	"the UserSig is of another app: check TIM_SDKAPPID":                                                                                                                          "UserSig 属于其他应用：请检查 TIM_SDKAPPID",
	"the service finds no public key for the app: check TIM_REGION: the SDKAppID belongs to another data centre":                                                                 "服务找不到应用的公钥：" + zhRegion,
	"the SDKAppID is unknown: check TIM_SDKAPPID; check TIM_REGION: the SDKAppID belongs to another data centre":                                                                 "SDKAppID 不存在：请检查 TIM_SDKAPPID；" + zhRegion,
	"a wrong UserSig was tried too often: check that TIM_SDKAPPID and TIM_SECRET_KEY are of the same app, then wait a minute":                                                    "错误的 UserSig 尝试过多：" + zhKey + "，并等待一分钟",
	"the caller is on a block list: check that TIM_ADMIN is an app administrator in the console":                                                                                 "调用者在黑名单中：" + zhAdmin,
	"the UserSig was revoked: see who logs out or kicks TIM_ADMIN":                                                                                                               "UserSig 已失效：请查明是谁登出或踢出了 TIM_ADMIN",
	"security restriction: look at the app in the console":                                                                                                                       "安全限制：请在控制台查看应用",
	"wrong number of accounts in one call":                                                                                                                                       "单次调用的账号数量错误",
	"the app has as many accounts as its plan allows: upgrade the plan":                                                                                                          "应用账号数已达套餐上限：请升级套餐",
	"the account was deleted and cannot come back for three months":                                                                                                              "账号已被删除，三个月内无法恢复",
	"an administrator is needed: check that TIM_ADMIN is an app administrator in the console":                                                                                    "需要管理员：" + zhAdmin,
	"the body is too long": "请求体过长",
	"an image was refused": "图片被拒绝",
	"the service is switched off, the plan has expired or is in arrears: renew it, then wait five minutes": "服务已停用，或套餐到期、欠费：请续费，五分钟后再试",
}
