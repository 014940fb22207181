package check

// Checks returns all checks in the order in which [Run] runs them.
func Checks() []Check {
	const on = Function | HTTP
	return []Check{
		{
			"function memory",
			Words{"the function has the memory that the program needs", "函数内存足够程序使用"},
			"lambda: Lambda's own speed at 192 MB", on, false, checkMemory,
		},
		{
			"function time",
			Words{"the time limit leaves time for work", "函数超时时间足够工作"},
			"scf: whether clocks and limits of the timer and the function are as documented", on, false, checkTimeLimit,
		},
		{
			"function deadline",
			Words{"the platform tells when the time ends", "平台会下发截止时间"},
			"scf: whether SCF always sends a deadline", on, false, checkDeadline,
		},
		{
			"function temporary folder",
			Words{"the temporary folder can be written", "临时目录可写"},
			"lambda: a deployment", on, false, checkTemp,
		},
		{
			"function region",
			Words{"the function and the bucket are in one region", "函数与存储桶在同一地域"},
			"scf: a deployment", on, false, checkRegion,
		},
		{
			"function role",
			Words{"the function has a role, and which", "函数已配置角色及其身份"},
			"lambda: a deployment; scf: a deployment", on, false, checkRole,
		},
		{
			"function secret",
			Words{"the function may read the key of the app", "函数可读取应用密钥"},
			"lambda: the key policy", on, false, checkSecret,
		},
		{
			"function cpu",
			Words{"the share of a processor suffices for the rate", "函数分得的 CPU 足以支撑频率"},
			"lambda: Lambda's own speed at 192 MB", on, false, checkCPU,
		},
		{
			"bucket versioning",
			Words{"the bucket never had versioning where that makes conditional writes overwrite", "存储桶从未开启版本控制（开启后条件写会覆盖对象）"},
			"scf: never turn on versioning", everywhere, true, checkVersioning,
		},
		{
			"bucket write",
			Words{"objects can be written, and are read and described as written", "对象可写入，读取和描述与写入一致"},
			"lambda, scf: the policies are compared with the calls of the code", everywhere, true, checkWrite,
		},
		{
			"bucket list",
			Words{"a list shows a new object, and how late", "列表能列出新对象，及其延迟"},
			"scf: lagging lists", everywhere, true, checkList,
		},
		{
			"bucket range",
			Words{"a range is read of one version only", "范围读取只读到同一版本"},
			"scf: COS through a server of the tests that is as strict as the documents", everywhere, false, checkRange,
		},
		{
			"bucket create",
			Words{"an existing object is not overwritten by a conditional write", "条件写不会覆盖已有对象"},
			"scf: leases rest on \"put if absent\"", everywhere, false, checkCreate,
		},
		{
			"bucket races",
			Words{"of two conditional writes at the same moment one succeeds, ten times over", "两个同时的条件写只有一个成功，重复十次"},
			"scf: FileAlreadyExists, in a server of the tests", everywhere, false, checkRaces,
		},
		{
			"bucket create after delete",
			Words{"a key can be created again once its object is deleted", "对象删除后可再次条件创建"},
			"scf: FileAlreadyExists, in a server of the tests", everywhere, false, checkCreateAfterDelete,
		},
		{
			"bucket upload",
			Words{"a multipart upload can be completed, and an aborted one leaves nothing", "分块上传可完成，中止后不留残余"},
			"scf: wildcards in the middle of a resource of a CAM policy", Local | Function, false, checkUpload,
		},
		{
			"bucket keys",
			Words{"keys with spaces, +, % and Chinese characters are kept as they are", "含空格、+、% 和中文的键保持原样"},
			"scf: COS through a server of the tests that is as strict as the documents", Local | Function, false, checkKeys,
		},
		{
			"bucket lease",
			Words{"a second run finds the lease taken, and gets it once it is released", "租约被占用时另一次运行无法取得，释放后可取得"},
			"lambda, scf: one run at a time", Local | Function, false, checkLease,
		},
		{
			"trigger export",
			Words{"a new export with any name reaches the function", "新导出文件无论名称如何都能触发函数"},
			"lambda: how EventBridge escapes keys, and its limit on wildcards; scf: how COS escapes keys in events, and " +
				"whether several COS triggers of one bucket are accepted", Function, false, checkTrigger,
		},
		{
			"trigger own objects",
			Words{"what the program writes starts no invocation", "程序自身写入的对象不会触发函数"},
			"lambda: EventBridge's limit on wildcards; scf: several COS triggers of one bucket",
			Function, false, checkOwnObjects,
		},
		{
			"trigger two invocations",
			Words{"of two invocations at once one waits for the other's lease", "两次同时的调用中只有一次取得租约"},
			"lambda, scf: one run at a time", Function, false, checkTwoInvocations,
		},
		{
			"bucket delete",
			Words{"a deleted object is gone, and nothing of this check is left", "对象可删除，本次检查不留残余"},
			"scf: wildcards in the middle of a resource of a CAM policy", everywhere, false, checkDelete,
		},
		{
			"im host",
			Words{"the service's host resolves, connects and has valid TLS", "服务主域名可解析、可连接且 TLS 有效"},
			"lambda: a deployment", everywhere, false, checkHost,
		},
		{
			"im backup host",
			Words{"the backup host resolves, connects and has valid TLS", "备用域名可解析、可连接且 TLS 有效"},
			"pkg: the backup host is used if the main host does not connect", everywhere, false, checkBackup,
		},
		{
			"im addresses",
			Words{"the hosts can be reached over IPv4, and over IPv6 if they have such addresses", "可通过 IPv4 连接，若有 IPv6 地址也可连接"},
			"lambda: a deployment", everywhere, false, checkAddresses,
		},
		{
			"im access",
			Words{"the service accepts the app, the key, the administrator and the plan", "服务接受应用、密钥、管理员账号和套餐"},
			"pkg: the wrong key, app, region or administrator stops the run", everywhere, false, checkAccess,
		},
		{
			"im unknown group",
			Words{"the service says that a group does not exist by the documented code 10010", "群组不存在时服务返回文档所述的 10010"},
			"pkg: a lost response is looked up by get_group_info", everywhere, false, checkUnknown,
		},
		{
			"im commands",
			Words{"the account may call each command that imports need", "账号可调用导入所需的每个接口"},
			"pkg: 10007, no permission", everywhere, false, checkCommands,
		},
		{
			"im latency",
			Words{"responses arrive early enough for the rate", "响应时间足以支撑频率"},
			"scripts: latency of the service is emulated", everywhere, false, checkLatency,
		},
		{
			"im clock",
			Words{"the clocks of this machine and of the service agree", "本机与服务的时钟一致"},
			"lambda: instances must agree on the time within half a second", everywhere, false, checkClock,
		},
		{
			"rate",
			Words{"all that call the app's service stay below its limit of 200 a second together", "应用的全部调用合计不超过每秒 200 次"},
			"lambda, scf: one run at a time, 180 calls a second, and 10 over HTTP", everywhere, false, checkRate,
		},
		{
			"export custom fields",
			Words{"the custom fields of the sample export are enabled in the app", "示例导出文件的自定义字段已在应用中开通"},
			"pkg/export: custom fields must be enabled in the console", Local, false, checkCustomFields,
		},
	}
}
