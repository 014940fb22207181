package report

const (
	enAdmin  = "check that TIM_ADMIN is an app administrator in the console"
	zhAdmin  = "请在控制台检查 TIM_ADMIN 是否为应用管理员账号"
	enKey    = "check that TIM_SDKAPPID and TIM_SECRET_KEY are of the same app"
	zhKey    = "请检查 TIM_SDKAPPID 与 TIM_SECRET_KEY 是否属于同一应用"
	enRegion = "check TIM_REGION: the SDKAppID belongs to another data center"
	zhRegion = "请检查 TIM_REGION：该 SDKAppID 属于其他数据中心"
)

// codeLabels say what the codes of the service mean for an import. The English is that of package tim, which lists the
// sources; a test holds the two together.
var codeLabels = map[int]label{
	0: {"OK", "成功"},

	10002: {"internal error of the service", "服务内部错误"},
	10003: {"the service does not know the command: check TIM_ENDPOINT", "服务不认识该命令：请检查 TIM_ENDPOINT"},
	10004: {"a parameter is not valid", "参数无效"},
	10005: {"too many accounts in one call", "单次调用的账号过多"},
	10006: {
		"too many operations; if it lasts, the day's quota of 10,000 new groups is used up",
		"触发频率限制；若持续出现，则当日 10,000 个新群组的额度已用完",
	},
	10007: {
		"the group type does not support this operation, or no permission: " + enAdmin,
		"群组类型不支持该操作，或没有权限：" + zhAdmin,
	},
	10008: {"the request or its signature is not valid: " + enKey, "请求或签名无效：" + zhKey},
	10010: {"the group does not exist", "群组不存在"},
	10011: {"the body is not valid JSON", "请求体不是有效的 JSON"},
	10012: {"the caller's UserID is not valid: check TIM_ADMIN", "管理员账号的 UserID 无效：请检查 TIM_ADMIN"},
	10013: {"the account is a member of the group already", "账号已是群成员"},
	10014: {"the group is full", "群组已满员"},
	10015: {"the GroupId is not valid", "GroupId 无效"},
	10016: {"the app's own webhook rejected it", "被应用自己的回调拒绝"},
	10018: {"the response would exceed 1 MB", "响应将超过 1 MB"},
	10019: {"the account does not exist: import the owner first", "账号不存在：请先导入群主账号"},
	10021: {"the GroupId is in use", "GroupId 已被使用"},
	10023: {"messages to the group are too frequent", "群消息触发频率限制"},
	10025: {"the GroupId is in use, by a group of the caller", "GroupId 已被管理员账号的群组使用"},
	10026: {
		"the command is disabled for this SDKAppID: ask Tencent Cloud to enable it",
		"该 SDKAppID 未开放此命令：请联系腾讯云开通",
	},
	10036: {"the quota of AVChatRooms is used up", "直播群（AVChatRoom）数量已达上限"},
	10037: {"the owner is in too many groups already", "群主加入的群组过多"},
	10038: {
		"more members than the plan allows; after an upgrade raise MaxMemberNum with modify_group_base_info",
		"成员数超过套餐上限；升级套餐后请用 modify_group_base_info 调高 MaxMemberNum",
	},
	10058: {"the trial edition holds 100 groups at most: upgrade the plan", "体验版最多 100 个群组：请升级套餐"},
	10059: {"the feature needs a higher plan", "该功能需要更高的套餐"},
	11000: {"communities are not enabled for this app: enable them in the console", "应用未开通社群：请在控制台开通"},

	40005: {"the account's profile holds a sensitive word", "账号资料含有敏感词"},
	40006: {"internal error of the service", "服务内部错误"},
	40601: {"a value of the account's profile is longer than 500 bytes", "账号资料字段超过 500 字节"},

	60002: {"the request's URL could not be read: check TIM_ENDPOINT", "请求的 URL 无法解析：请检查 TIM_ENDPOINT"},
	60003: {"the body is not JSON", "请求体不是 JSON"},
	60004: {"the UserSig was not accepted: " + enKey, "UserSig 未被接受：" + zhKey},
	60005: {"the UserSig was not accepted: " + enKey, "UserSig 未被接受：" + zhKey},
	60006: {"the SDKAppID is not valid: check TIM_SDKAPPID", "SDKAppID 无效：请检查 TIM_SDKAPPID"},
	60007: {"the REST API is called too often", "REST API 触发频率限制"},
	60008: {"the service timed out", "服务超时"},
	60009: {"wrong resource or URL: check TIM_ENDPOINT", "资源或 URL 错误：请检查 TIM_ENDPOINT"},
	60010: {"the caller is no administrator: " + enAdmin, "调用账号不是管理员账号：" + zhAdmin},
	60011: {"the SDKAppID's requests are too frequent", "该 SDKAppID 触发频率限制"},
	60012: {
		"the SDKAppID is missing: check TIM_SDKAPPID and TIM_ENDPOINT",
		"缺少 SDKAppID：请检查 TIM_SDKAPPID 和 TIM_ENDPOINT",
	},
	60013: {"the service could not read a response of its own", "服务无法解析其内部响应"},
	60014: {"the service timed out checking the account", "服务校验账号超时"},
	60015: {"an account is not a string", "账号不是字符串"},
	60016: {"the app is disabled: look at it in the console", "应用已停用：请在控制台查看"},
	60017: {"the request is disabled for this app: ask Tencent Cloud", "该应用禁止此请求：请联系腾讯云"},
	60018: {"requests are too frequent", "触发频率限制"},
	60019: {"requests are too frequent", "触发频率限制"},
	60020: {"the plan has expired or is in arrears: renew it, then wait five minutes", "套餐已到期或欠费：请续费，五分钟后再试"},
	60021: {
		"this IP address may not call: allow it in the console, or remove the list there",
		"此 IP 地址不允许调用：请在控制台加入白名单，或删除白名单",
	},
	60025: {
		"sdkappid, identifier or UserSig of the request are not valid: " + enKey,
		"请求的 sdkappid、identifier 或 UserSig 无效：" + zhKey,
	},
	60026: {enRegion, zhRegion},
	60027: {"the app has no access to this product: look at it in the console", "应用未开通此产品：请在控制台查看"},
	60028: {
		"the trial edition's calls of 24 hours are used up: wait, or upgrade the plan",
		"体验版 24 小时内的调用次数已用完：请等待或升级套餐",
	},

	70001: {"the UserSig has expired: check the clock of this machine", "UserSig 已过期：请检查本机时钟"},
	70002: {
		"the UserSig is empty: check TIM_SECRET_KEY and TIM_ENDPOINT",
		"UserSig 为空：请检查 TIM_SECRET_KEY 和 TIM_ENDPOINT",
	},
	70003: {"the UserSig is not valid: " + enKey, "UserSig 无效：" + zhKey},
	70005: {"the UserSig could not be checked: " + enKey, "UserSig 无法校验：" + zhKey},
	70009: {
		"the UserSig was made with another app's key: " + enKey + "; " + enRegion,
		"UserSig 由其他应用的密钥生成：" + zhKey + "；" + zhRegion,
	},
	70013: {"the UserSig is of another account: check TIM_ADMIN", "UserSig 属于其他账号：请检查 TIM_ADMIN"},
	70014: {"the UserSig is of another app: check TIM_SDKAPPID", "UserSig 属于其他应用：请检查 TIM_SDKAPPID"},
	70016: {"the service finds no public key for the app: " + enRegion, "服务找不到应用的公钥：" + zhRegion},
	70020: {
		"the SDKAppID is unknown: check TIM_SDKAPPID; " + enRegion,
		"SDKAppID 不存在：请检查 TIM_SDKAPPID；" + zhRegion,
	},
	70050: {
		"a wrong UserSig was tried too often: " + enKey + ", then wait a minute",
		"错误的 UserSig 尝试过多：" + zhKey + "，并等待一分钟",
	},
	70051: {"the caller is on a block list: " + enAdmin, "管理员账号在黑名单中：" + zhAdmin},
	70052: {
		"the UserSig was revoked: see who logs out or kicks TIM_ADMIN",
		"UserSig 已失效：请查明是谁登出或踢出了 TIM_ADMIN",
	},
	70107: {"the account does not exist: import the owner first", "账号不存在：请先导入群主账号"},
	70114: {"security restriction: look at the app in the console", "安全限制：请在控制台查看应用"},
	70169: {"the service timed out", "服务超时"},
	70202: {"internal error of the service", "服务内部错误"},
	70206: {"wrong number of accounts in one call", "单次调用的账号数量错误"},
	70398: {"the app has as many accounts as its plan allows: upgrade the plan", "应用账号数已达套餐上限：请升级套餐"},
	70399: {"the account was deleted and cannot come back for three months", "账号已被删除，三个月内无法恢复"},
	70402: {"a parameter is not valid", "参数无效"},
	70403: {"an administrator is needed: " + enAdmin, "需要管理员账号：" + zhAdmin},
	70500: {"internal error of the service", "服务内部错误"},

	80001: {"the text holds a sensitive word", "文本含有敏感词"},
	80002: {"the body is too long", "请求体过长"},
	80004: {"an image was rejected", "图片被拒绝"},
	80005: {
		"the service is switched off, the plan has expired or is in arrears: renew it, then wait five minutes",
		"服务已停用，或套餐到期、欠费：请续费，五分钟后再试",
	},

	93000: {"the body is too long", "请求体过长"},
}

// unlisted is for codes that are in no list.
var unlisted = label{"an error that is in no list: see the service's own message", "未列出的错误：请看服务的原文说明"}

// codeLabel returns what a code means.
func codeLabel(code int) label {
	if l, ok := codeLabels[code]; ok {
		return l
	}
	return unlisted
}
