package tim

// A Class is the meaning of a code of the service for an import. The zero class is Permanent.
type Class int

const (
	// Permanent is a permanent rejection of this request.
	Permanent Class = iota
	// OK means that the service executed the request.
	OK
	// InUse means that a group with this ID already exists. A look-up shows whether it matches the record.
	InUse
	// Transient means that the service failed: try again. It may have executed the request.
	Transient
	// Throttled means that the service throttled the request and did not execute it. The rate of all calls decreases, and
	// no attempt is counted.
	Throttled
	// SignAgain means that the UserSig was not accepted. Sign again and try once more; after that it is Fatal.
	SignAgain
	// Fatal means that no request will be accepted until an operator acts: the run stops.
	Fatal
	// Unlisted is a code of access or account that is in no list. It is Fatal if a harmless request gets it too,
	// otherwise the record fails.
	Unlisted
)

// A Meaning is the meaning of a code.
type Meaning struct {
	Class Class
	Text  string // for operators; for Fatal and SignAgain with advice after a colon
}

// Codes that the client checks for.
const (
	codeNoPermission = 10007
	codeFrequency    = 10006
	codeInUse        = 10021
)

const (
	checkRegion  = "check TIM_REGION: the SDKAppID belongs to another data center"
	checkKey     = "check that TIM_SDKAPPID and TIM_SECRET_KEY are of the same app"
	raiseMembers = "MaxMemberNum with modify_group_base_info"
	checkAdmin   = "check that TIM_ADMIN is an app administrator in the console"
)

// codes are the service's codes with their meanings for an import. The first block is the table of import_group
// (tencentcloud.com/document/product/1047/34967, 2022-07-06). The others are from the error list
// (trtc.io/document/34348, as of 2026-11-27) and the table of create_group. The classes are this program's: the vendor
// publishes none.
var codes = map[int]Meaning{
	0:     {OK, "OK"},
	10002: {Transient, "internal error of the service"},
	10003: {Fatal, "the service does not know the command: check TIM_ENDPOINT"},
	10004: {Permanent, "a parameter is not valid"},
	// About the caller if a look-up gets it too, see judgeBody.
	codeNoPermission: {Permanent, "the group type does not support this operation, or no permission: " + checkAdmin},
	codeInUse:        {InUse, "the GroupId is in use"},
	80001:            {Permanent, "the text holds a sensitive word"},

	10005:         {Permanent, "too many accounts in one call"},
	codeFrequency: {Throttled, "too many operations; if it lasts, the day's quota of 10,000 new groups is used up"},
	10008:         {SignAgain, "the request or its signature is not valid: " + checkKey},
	10010:         {Permanent, "the group does not exist"},
	10011:         {Permanent, "the body is not valid JSON"},
	10012:         {Fatal, "the caller's UserID is not valid: check TIM_ADMIN"},
	10013:         {InUse, "the account is a member of the group already"},
	10014:         {Permanent, "the group is full"},
	10015:         {Permanent, "the GroupId is not valid"},
	10016:         {Permanent, "the app's own webhook rejected it"},
	10018:         {Permanent, "the response would exceed 1 MB"},
	10019:         {Permanent, "the account does not exist: import the owner first"},
	10023:         {Throttled, "messages to the group are too frequent"},
	10025:         {InUse, "the GroupId is in use, by a group of the caller"},
	10026:         {Fatal, "the command is disabled for this SDKAppID: ask Tencent Cloud to enable it"},
	10036:         {Permanent, "the quota of AVChatRooms is used up"},
	10037:         {Permanent, "the owner is in too many groups already"},
	10038:         {Permanent, "more members than the plan allows; after an upgrade raise " + raiseMembers},
	10058:         {Fatal, "the trial edition holds 100 groups at most: upgrade the plan"},
	10059:         {Permanent, "the feature needs a higher plan"},
	11000:         {Permanent, "communities are not enabled for this app: enable them in the console"},

	40005: {Permanent, "the account's profile holds a sensitive word"},
	40006: {Transient, "internal error of the service"},
	40601: {Permanent, "a value of the account's profile is longer than 500 bytes"},

	60002: {Fatal, "the request's URL could not be read: check TIM_ENDPOINT"},
	60003: {Permanent, "the body is not JSON"},
	60004: {SignAgain, "the UserSig was not accepted: " + checkKey},
	60005: {SignAgain, "the UserSig was not accepted: " + checkKey},
	60006: {Fatal, "the SDKAppID is not valid: check TIM_SDKAPPID"},
	60007: {Throttled, "the REST API is called too often"},
	60008: {Transient, "the service timed out"},
	60009: {Fatal, "wrong resource or URL: check TIM_ENDPOINT"},
	60010: {Fatal, "the caller is no administrator: " + checkAdmin},
	60011: {Throttled, "the SDKAppID's requests are too frequent"},
	60012: {Fatal, "the SDKAppID is missing: check TIM_SDKAPPID and TIM_ENDPOINT"},
	60013: {Transient, "the service could not read a response of its own"},
	60014: {Transient, "the service timed out checking the account"},
	60015: {Permanent, "an account is not a string"},
	60016: {Fatal, "the app is disabled: look at it in the console"},
	60017: {Fatal, "the request is disabled for this app: ask Tencent Cloud"},
	60018: {Throttled, "requests are too frequent"},
	60019: {Throttled, "requests are too frequent"},
	60020: {Fatal, "the plan has expired or is in arrears: renew it, then wait five minutes"},
	60021: {Fatal, "this IP address may not call: allow it in the console, or remove the list there"},
	60025: {Fatal, "sdkappid, identifier or UserSig of the request are not valid: " + checkKey},
	60026: {Fatal, checkRegion},
	60027: {Fatal, "the app has no access to this product: look at it in the console"},
	60028: {Fatal, "the trial edition's calls of 24 hours are used up: wait, or upgrade the plan"},

	70001: {SignAgain, "the UserSig has expired: check the clock of this machine"},
	70002: {Fatal, "the UserSig is empty: check TIM_SECRET_KEY and TIM_ENDPOINT"},
	70003: {SignAgain, "the UserSig is not valid: " + checkKey},
	70005: {Fatal, "the UserSig could not be checked: " + checkKey},
	70009: {Fatal, "the UserSig was made with another app's key: " + checkKey + "; " + checkRegion},
	70013: {Fatal, "the UserSig is of another account: check TIM_ADMIN"},
	70014: {Fatal, "the UserSig is of another app: check TIM_SDKAPPID"},
	70016: {Fatal, "the service finds no public key for the app: " + checkRegion},
	70020: {Fatal, "the SDKAppID is unknown: check TIM_SDKAPPID; " + checkRegion},
	70050: {Fatal, "a wrong UserSig was tried too often: " + checkKey + ", then wait a minute"},
	70051: {Fatal, "the caller is on a block list: " + checkAdmin},
	70052: {SignAgain, "the UserSig was revoked: see who logs out or kicks TIM_ADMIN"},
	70107: {Permanent, "the account does not exist: import the owner first"},
	70114: {Fatal, "security restriction: look at the app in the console"},
	70169: {Transient, "the service timed out"},
	70202: {Transient, "internal error of the service"},
	70206: {Permanent, "wrong number of accounts in one call"},
	70398: {Fatal, "the app has as many accounts as its plan allows: upgrade the plan"},
	70399: {Permanent, "the account was deleted and cannot come back for three months"},
	70402: {Permanent, "a parameter is not valid"},
	70403: {Fatal, "an administrator is needed: " + checkAdmin},
	70500: {Transient, "internal error of the service"},

	80002: {Permanent, "the body is too long"},
	80004: {Permanent, "an image was rejected"},
	80005: {Fatal, "the service is switched off, the plan has expired or is in arrears: renew it, then wait five minutes"},
	93000: {Permanent, "the body is too long"},
}

// Explain returns the meaning of a code. A code that is in no list is Unlisted if it belongs to accounts or to the
// access layer, otherwise Permanent.
func Explain(code int) Meaning {
	if m, ok := codes[code]; ok {
		return m
	}
	switch {
	case code >= 60000 && code < 80000:
		return Meaning{Unlisted, "an error of access or account that is in no list: see the service's own message"}
	default:
		return Meaning{Permanent, "an error that is in no list: see the service's own message"}
	}
}
