package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/blob/cosblob/costest"
)

// A fake is SCF, CAM, CLS and SSM behind the API, and COS behind its own protocol. It follows the descriptions that
// api.go names, and not the deployer: it refuses unknown actions and parameters, wrong types, values that the documents
// rule out, changes of a function that is being changed, and overlapping rules of a bucket.
type fake struct {
	mu        sync.Mutex
	functions map[string]map[string]any
	busy      map[string]int // polls until the function is active
	triggers  map[string][]map[string]any
	reserved  map[string]any
	roles     map[string]map[string]any
	newRoles  map[string]int // refusals until SCF knows the role
	policies  map[string]map[string]any
	attached  map[string]string // policy by role
	logsets   map[string]map[string]any
	topics    map[string]map[string]any
	secrets   map[string]string // status by name
	rules     int               // of other functions, on the bucket
	nextID    int

	bucket *blobtest.Bucket
	cos    *costest.Server

	failCreation int // so many creations of functions end in CreateFailed
	failUpdate   int // so many updates of code end in UpdateFailed

	problems []string        // requests that the documents rule out
	changes  []string        // actions that changed something
	called   map[string]bool // service:action
	requests int

	// fault returns what goes wrong with a request: "drop" loses its response, "kill" the request itself, and
	// anything else is the code of an error.
	fault func(request int, action string) string
}

const (
	fakeAppID = 1250000000
	fakeOwner = "100000000001"
)

func newFake() *fake {
	f := &fake{
		functions: map[string]map[string]any{}, busy: map[string]int{}, triggers: map[string][]map[string]any{},
		roles: map[string]map[string]any{"SCF_QcsRole": {"RoleName": "SCF_QcsRole"}}, newRoles: map[string]int{},
		policies: map[string]map[string]any{}, attached: map[string]string{}, reserved: map[string]any{},
		logsets: map[string]map[string]any{}, topics: map[string]map[string]any{}, secrets: map[string]string{},
		called: map[string]bool{}, nextID: 1000, bucket: &blobtest.Bucket{},
	}
	f.setCOS(costest.Options{})
	return f
}

// clone returns an account with the same resources, to which changes of f do not extend.
func (f *fake) clone() *fake {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := newFake()
	for _, field := range [][2]any{
		{f.functions, &c.functions},
		{f.busy, &c.busy},
		{f.triggers, &c.triggers},
		{f.reserved, &c.reserved},
		{f.roles, &c.roles},
		{f.newRoles, &c.newRoles},
		{f.policies, &c.policies},
		{f.attached, &c.attached},
		{f.logsets, &c.logsets},
		{f.topics, &c.topics},
		{f.secrets, &c.secrets},
	} {
		raw, err := json.Marshal(field[0]) // the values are what the API's JSON was read into
		if err == nil {
			err = json.Unmarshal(raw, field[1])
		}
		if err != nil {
			panic(err)
		}
	}
	c.rules, c.nextID, c.bucket = f.rules, f.nextID, f.bucket.Clone()
	c.setCOS(costest.Options{})
	return c
}

func (f *fake) setCOS(o costest.Options) {
	o.Objects, o.Keys = f.bucket, []costest.Key{{ID: "id", Secret: accountKey}}
	f.cos = costest.New(o)
}

// actions has the service of each action, and the parameters that its document has. "!" marks required ones. s is a
// string, n an integer, b a boolean, o:X an object X, a:X a list of those, as and an lists of strings and integers.
var actions = map[string]struct{ service, parameters string }{
	"GetFunction": {"scf", "FunctionName:s Qualifier:s Namespace:s ShowCode:s"},
	"CreateFunction": {"scf", "FunctionName!s Code!o:Code Handler:s Description:s MemorySize:n Timeout:n " +
		"Environment:o:Environment Runtime:s Namespace:s Role:s ClsLogsetId:s ClsTopicId:s Type:s CodeSource:s"},
	"UpdateFunctionCode": {"scf", "FunctionName!s Handler:s CosBucketName:s CosObjectName:s ZipFile:s Namespace:s " +
		"Code:o:Code CodeSource:s"},
	"UpdateFunctionConfiguration": {"scf", "FunctionName!s Description:s MemorySize:n Timeout:n Runtime:s " +
		"Environment:o:Environment Namespace:s Role:s ClsLogsetId:s ClsTopicId:s"},
	"DeleteFunction": {"scf", "FunctionName!s Namespace:s Qualifier:s"},
	"ListTriggers":   {"scf", "FunctionName!s Namespace:s Offset:n Limit:n OrderBy:s Order:s"},
	"CreateTrigger": {"scf", "FunctionName!s TriggerName!s Type!s TriggerDesc:s Namespace:s Qualifier:s Enable:s " +
		"CustomArgument:s Description:s"},
	"UpdateTrigger": {"scf", "FunctionName!s TriggerName!s Type!s Enable:s Qualifier:s Namespace:s TriggerDesc:s " +
		"Description:s CustomArgument:s"},
	"UpdateTriggerStatus": {"scf", "Enable!s FunctionName!s TriggerName!s Type!s Qualifier:s Namespace:s " +
		"TriggerDesc:s"},
	"DeleteTrigger": {"scf", "FunctionName!s TriggerName!s Type!s Namespace:s TriggerDesc:s Qualifier:s"},

	"GetReservedConcurrencyConfig":    {"scf", "FunctionName!s Namespace:s"},
	"PutReservedConcurrencyConfig":    {"scf", "FunctionName!s ReservedConcurrencyMem!n Namespace:s"},
	"DeleteReservedConcurrencyConfig": {"scf", "FunctionName!s Namespace:s"},

	"GetUserAppId":             {"cam", ""},
	"GetRole":                  {"cam", "RoleId:s RoleName:s"},
	"CreateRole":               {"cam", "RoleName!s PolicyDocument!s Description:s ConsoleLogin:n SessionDuration:n"},
	"UpdateAssumeRolePolicy":   {"cam", "PolicyDocument!s RoleId:s RoleName:s"},
	"DeleteRole":               {"cam", "RoleId:s RoleName:s"},
	"ListPolicies":             {"cam", "Rp:n Page:n Scope:s Keyword:s"},
	"GetPolicy":                {"cam", "PolicyId!n"},
	"CreatePolicy":             {"cam", "PolicyName!s PolicyDocument!s Description:s"},
	"UpdatePolicy":             {"cam", "PolicyId:n PolicyName:s Description:s PolicyDocument:s Alias:s"},
	"DeletePolicy":             {"cam", "PolicyId!an"},
	"ListAttachedRolePolicies": {"cam", "Page!n Rp!n RoleId:s RoleName:s PolicyType:s Keyword:s"},
	"AttachRolePolicy":         {"cam", "PolicyId:n AttachRoleId:s AttachRoleName:s PolicyName:s"},
	"DetachRolePolicy":         {"cam", "PolicyId:n DetachRoleId:s DetachRoleName:s PolicyName:s"},

	"DescribeLogsets": {"cls", "Filters:a:Filter Offset:n Limit:n"},
	"CreateLogset":    {"cls", "LogsetName!s LogsetId:s"},
	"DeleteLogset":    {"cls", "LogsetId!s"},
	"DescribeTopics":  {"cls", "Filters:a:Filter Offset:n Limit:n PreciseSearch:n BizType:n"},
	"CreateTopic": {"cls", "LogsetId!s TopicName!s PartitionCount:n AutoSplit:b MaxSplitPartitions:n StorageType:s " +
		"Period:n Describes:s HotPeriod:n BizType:n TopicId:s"},
	"DeleteTopic": {"cls", "TopicId!s"},
	"CreateIndex": {"cls", "TopicId!s Rule!o:RuleInfo Status:b IncludeInternalFields:b MetadataFlag:n CoverageField:s"},

	"DescribeSecret": {"ssm", "SecretName!s"},

	// data types
	"Code":             {"", "CosBucketName:s CosObjectName:s ZipFile:s CosBucketRegion:s"},
	"Environment":      {"", "Variables:a:Variable"},
	"Variable":         {"", "Key:s Value:s"},
	"Filter":           {"", "Key!s Values!as"},
	"RuleInfo":         {"", "FullText:o:FullTextInfo KeyValue:o:RuleKeyValueInfo"},
	"FullTextInfo":     {"", "CaseSensitive!b Tokenizer!s ContainZH:b"},
	"RuleKeyValueInfo": {"", "CaseSensitive!b KeyValues:a:KeyValueInfo"},
	"KeyValueInfo":     {"", "Key!s Value!o:ValueInfo"},
	"ValueInfo":        {"", "Type!s Tokenizer:s SqlFlag:b ContainZH:b Alias:s"},
}

var fakeVersions = map[string]string{"scf": "2018-04-16", "cam": "2019-01-16", "cls": "2020-10-16", "ssm": "2019-09-23"}

// wrongParameter returns the error code of parameters that an action or a data type does not have.
func wrongParameter(name string, p map[string]any) string {
	known := map[string]string{}
	for word := range strings.FieldsSeq(actions[name].parameters) {
		i := strings.IndexAny(word, "!:")
		known[word[:i]] = word[i+1:]
		if _, ok := p[word[:i]]; !ok && word[i] == '!' {
			return "MissingParameter"
		}
	}
	for parameter, value := range p {
		kind, ok := known[parameter]
		if !ok {
			return "UnknownParameter"
		}
		if code := wrongValue(kind, value); code != "" {
			return code
		}
	}
	return ""
}

func wrongValue(kind string, value any) string {
	kind, of, _ := strings.Cut(kind, ":")
	ok := false
	switch v := value.(type) {
	case string:
		ok = kind == "s"
	case bool:
		ok = kind == "b"
	case float64:
		ok = kind == "n" && v == math.Trunc(v) && v >= 0
	case map[string]any:
		if kind == "o" {
			return wrongParameter(of, v)
		}
	case []any:
		element := map[string]string{"a": "o:" + of, "as": "s", "an": "n"}[kind]
		for _, e := range v {
			if code := wrongValue(element, e); code != "" {
				return code
			}
		}
		ok = element != ""
	}
	if !ok {
		return "InvalidParameter"
	}
	return ""
}

// isChange reports whether an action changes something.
func isChange(action string) bool {
	for _, prefix := range []string{"Get", "List", "Describe", "HEAD", "GET"} {
		if strings.HasPrefix(action, prefix) {
			return false
		}
	}
	return true
}

// inject has fault decide about the requests from now on, which it counts from 1; nil lets all of them pass.
func (f *fake) inject(fault func(request int, action string) string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests, f.fault = 0, fault
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	action := r.Header.Get("X-TC-Action")
	if action == "" {
		f.serveCOS(w, r)
		return
	}
	raw, err := io.ReadAll(r.Body)
	var p map[string]any
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	known, ok := actions[action]
	if err != nil || !ok || known.service == "" || r.Header.Get("X-TC-Version") != fakeVersions[known.service] ||
		!strings.HasPrefix(r.Header.Get("Authorization"), "TC3-HMAC-SHA256 Credential=id/") ||
		!strings.Contains(r.Header.Get("Authorization"), "/"+known.service+"/tc3_request") ||
		r.Header.Get("X-TC-Region") != "ap-guangzhou" ||
		!strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		f.problems = append(f.problems, fmt.Sprintf("%s: version %s, %v", action, r.Header.Get("X-TC-Version"), err))
	}
	f.called[known.service+":"+action] = true
	fault := ""
	if f.fault != nil {
		fault = f.fault(f.requests, action)
	}
	if fault == "kill" {
		panic(http.ErrAbortHandler)
	}
	var response map[string]any
	code := wrongParameter(action, p)
	if len(raw) > 10_000_000 {
		code = "RequestSizeLimitExceeded"
	}
	if code != "" {
		f.problems = append(f.problems, fmt.Sprintf("%s: %s: %v", action, code, slices.Sorted(maps.Keys(p))))
	} else if fault != "" && fault != "drop" {
		code = fault
	} else {
		response, code = f.do(action, p)
		if code == "" && isChange(action) {
			f.changes = append(f.changes, action)
		}
		// Codes that say that a request is wrong in itself.
		if strings.HasPrefix(code, "InvalidParameterValue") && code != "InvalidParameterValue.CosNotifyRuleConflict" {
			f.problems = append(f.problems, fmt.Sprintf("%s: %s: %v", action, code, p))
		}
	}
	if fault == "drop" {
		panic(http.ErrAbortHandler)
	}
	if response == nil {
		response = map[string]any{}
	}
	if code != "" {
		response = map[string]any{"Error": map[string]any{"Code": code, "Message": "refused: " + string(raw)}}
	}
	response["RequestId"] = "1"
	_, _ = io.WriteString(w, compact(map[string]any{"Response": response}))
}

// serveCOS serves a request to the bucket. A response is recorded first, so that it can be lost.
func (f *fake) serveCOS(w http.ResponseWriter, r *http.Request) {
	action := r.Method + " object"
	fault := ""
	if f.fault != nil {
		fault = f.fault(f.requests, action)
	}
	if fault == "kill" {
		panic(http.ErrAbortHandler)
	}
	recorded := httptest.NewRecorder()
	f.cos.ServeHTTP(recorded, r)
	if isChange(action) && recorded.Code < 300 {
		f.changes = append(f.changes, action)
	}
	if fault != "" {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), recorded.Header())
	w.WriteHeader(recorded.Code)
	_, _ = w.Write(recorded.Body.Bytes())
}

func (f *fake) do(action string, p map[string]any) (map[string]any, string) {
	switch actions[action].service {
	case "cam":
		return f.cam(action, p)
	case "cls":
		return f.cls(action, p)
	case "ssm":
		status, ok := f.secrets[p["SecretName"].(string)]
		if !ok {
			return nil, "ResourceNotFound.SecretNotExist"
		}
		return map[string]any{"SecretName": p["SecretName"], "Status": status, "CreateUin": 100000000002, "SecretType": 0}, ""
	}
	return f.scf(action, p)
}

var (
	functionName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,58}[A-Za-z0-9]$`)
	description  = regexp.MustCompile(`^[A-Za-z0-9 ,.\n\p{Han}]{0,1000}$`)
)

// wrongFunction returns the error code of values that the documents of CreateFunction and UpdateFunctionConfiguration
// rule out.
func wrongFunction(p map[string]any) string {
	if text, ok := p["Description"].(string); ok && !description.MatchString(text) {
		return "InvalidParameterValue.Description"
	}
	if n, ok := p["MemorySize"].(float64); ok && n != 64 && (n < 128 || n > 3072 || int(n)%128 != 0) {
		return "InvalidParameterValue.MemorySize"
	}
	if n, ok := p["Timeout"].(float64); ok && (n < 1 || n > 900) {
		return "InvalidParameterValue.Timeout"
	}
	environment, _ := p["Environment"].(map[string]any)
	variables, _ := environment["Variables"].([]any)
	size := 0
	for _, v := range variables {
		key, _ := v.(map[string]any)["Key"].(string)
		value, _ := v.(map[string]any)["Value"].(string)
		if key == "" || value == "" {
			return "InvalidParameterValue.Environment"
		}
		for _, reserved := range []string{"SCF_", "QCLOUD_", "TENCENTCLOUD_"} {
			if strings.HasPrefix(key, reserved) {
				return "InvalidParameterValue.EnvironmentSystemProtect"
			}
		}
		size += len(key) + len(value)
	}
	if size > 4096 {
		return "InvalidParameterValue.EnvironmentExceededLimit"
	}
	return ""
}

// wrongCode returns the error code of the parameter Code.
func (f *fake) wrongCode(p map[string]any) string {
	code, ok := p["Code"].(map[string]any)
	zip, isZip := code["ZipFile"].(string)
	name, isCOS := code["CosObjectName"].(string)
	if !ok || isZip == isCOS {
		return "InvalidParameterValue.Code"
	}
	if isZip {
		if raw, err := base64.StdEncoding.DecodeString(zip); err != nil || len(raw) == 0 {
			return "InvalidParameterValue.ZipFileBase64BinasciiError"
		}
		return ""
	}
	if code["CosBucketName"] != "groups" { // without its APPID
		return "InvalidParameterValue.CosBucketName"
	}
	key, ok := strings.CutPrefix(name, "/")
	if !ok {
		return "InvalidParameterValue.CosObjectName"
	}
	if _, ok := f.bucket.Snapshot()[key]; !ok {
		return "ResourceNotFound.CosObject"
	}
	return ""
}

func (f *fake) wrongRole(p map[string]any) string {
	role, ok := p["Role"].(string)
	switch {
	case !ok:
		return ""
	case f.roles[role] == nil:
		return "ResourceNotFound.Role"
	case f.newRoles[role] > 0:
		f.newRoles[role]--
		return "ResourceNotFound.Role"
	}
	return ""
}

func (f *fake) wrongTopic(p map[string]any) string {
	id, ok := p["ClsTopicId"].(string)
	if ok && (f.topics[id] == nil || f.topics[id]["LogsetId"] != p["ClsLogsetId"]) {
		return "InvalidParameterValue.Cls"
	}
	return ""
}

func firstOf(codes ...string) string {
	for _, code := range codes {
		if code != "" {
			return code
		}
	}
	return ""
}

func (f *fake) scf(action string, p map[string]any) (map[string]any, string) {
	name, _ := p["FunctionName"].(string)
	if !functionName.MatchString(name) {
		return nil, "InvalidParameterValue.FunctionName"
	}
	state, ok := f.functions[name]
	if action == "CreateFunction" {
		if ok {
			return nil, "ResourceInUse.Function"
		}
		if f.roles["SCF_QcsRole"] == nil {
			return nil, "FailedOperation.QcsRoleNotFound"
		}
		if p["Runtime"] != "Go1" || p["Type"] != "Event" || p["Handler"] == nil {
			return nil, "InvalidParameterValue.Runtime"
		}
		if code := firstOf(wrongFunction(p), f.wrongCode(p), f.wrongTopic(p), f.wrongRole(p)); code != "" {
			return nil, code
		}
		if p["ClsTopicId"] == nil { // SCF's own: "default delivery" of "Log Delivery Configuration"
			p["ClsLogsetId"], p["ClsTopicId"] = "SCF_logset", "SCF_logtopic"
		}
		p["Status"] = "Active"
		if f.failCreation > 0 {
			f.failCreation--
			p["Status"] = "CreateFailed"
		}
		f.functions[name], f.busy[name] = p, 2
		return nil, ""
	}
	if !ok {
		return nil, "ResourceNotFound.Function"
	}
	busy := f.busy[name] > 0
	if action == "GetFunction" {
		r := maps.Clone(state)
		delete(r, "Code")
		r["StatusReasons"], r["CodeSize"], r["CodeInfo"] = []any{}, 100, ""
		if r["Status"] != "Active" {
			r["StatusReasons"] = []any{map[string]any{"ErrorCode": "x", "ErrorMessage": "a reason"}}
		}
		if busy {
			f.busy[name]--
			r["Status"] = "Updating"
			if f.busy[name] == 1 {
				r["Status"] = "Creating"
			}
		}
		return r, ""
	}
	if busy && isChange(action) {
		return nil, "FailedOperation.FunctionStatusError"
	}
	switch action {
	case "UpdateFunctionCode":
		if code := f.wrongCode(p); code != "" {
			return nil, code
		}
		maps.Copy(state, p)
		f.busy[name] = 1
		state["Status"] = "Active"
		if f.failUpdate > 0 {
			f.failUpdate--
			state["Status"] = "UpdateFailed"
		}
	case "UpdateFunctionConfiguration":
		if p["Runtime"] != nil { // "cannot be changed at present"
			return nil, "InvalidParameterValue.Runtime"
		}
		if code := firstOf(wrongFunction(p), f.wrongTopic(p), f.wrongRole(p)); code != "" {
			return nil, code
		}
		maps.Copy(state, p)
		f.busy[name] = 1
	case "DeleteFunction":
		delete(f.functions, name)
		delete(f.triggers, name)
		delete(f.reserved, name)
	case "ListTriggers":
		return f.listTriggers(name, p)
	case "GetReservedConcurrencyConfig":
		return map[string]any{"ReservedMem": f.reserved[name]}, "" // null without one
	case "PutReservedConcurrencyConfig":
		if n := p["ReservedConcurrencyMem"].(float64); n > 128_000-12_800 {
			return nil, "LimitExceeded.FunctionReservedConcurrencyMemory"
		}
		f.reserved[name] = p["ReservedConcurrencyMem"]
	case "DeleteReservedConcurrencyConfig":
		delete(f.reserved, name)
	default:
		return nil, f.trigger(action, name, p)
	}
	return nil, ""
}

// listTriggers returns triggers in the form of the example of ListTriggers.
func (f *fake) listTriggers(name string, p map[string]any) (map[string]any, string) {
	list := []map[string]any{}
	for _, tr := range f.triggers[name] {
		tr = maps.Clone(tr)
		text := tr["TriggerDesc"].(string)
		switch tr["Type"] {
		case "timer":
			text = `{"cron":"` + text + `"}`
		case "http":
			url := ""
			if strings.Contains(text, `"EnableExtranet":true`) {
				url = "https://1250000000-abc.ap-guangzhou.tencentscf.com"
			}
			text = strings.Replace(text, `"NetConfig":{`,
				`"NetConfig":{"IntranetUrl":"https://1250000000-abc.in.ap-guangzhou.tencentscf.com","ExtranetUrl":"`+url+`",`, 1)
		}
		tr["TriggerDesc"] = text
		tr["Enable"] = map[any]int{"OPEN": 1}[tr["Enable"]]
		tr["AvailableStatus"], tr["BindStatus"], tr["TriggerAttribute"] = "Available", "on", "single"
		list = append(list, tr)
	}
	total := len(list)
	offset, limit := 0, 20
	if n, ok := p["Offset"].(float64); ok {
		offset = min(int(n), len(list))
	}
	if n, ok := p["Limit"].(float64); ok {
		limit = int(n)
	}
	list = list[offset:min(offset+limit, len(list))]
	return map[string]any{"Triggers": list, "TotalCount": total}, ""
}

// A cosRule is the TriggerDesc of a COS trigger.
type cosRule struct {
	Event  string `json:"event"`
	Filter struct {
		Prefix string `json:"Prefix"`
		Suffix string `json:"Suffix"`
	} `json:"filter"`
}

func ruleOf(tr map[string]any) (r cosRule) {
	text, _ := tr["TriggerDesc"].(string)
	_ = json.Unmarshal([]byte(text), &r)
	return r
}

// overlaps reports whether an object can match both rules (583/9707, limits of COS triggers).
func (r cosRule) overlaps(o cosRule) bool {
	prefix := strings.HasPrefix(r.Filter.Prefix, o.Filter.Prefix) || strings.HasPrefix(o.Filter.Prefix, r.Filter.Prefix)
	suffix := strings.HasSuffix(r.Filter.Suffix, o.Filter.Suffix) || strings.HasSuffix(o.Filter.Suffix, r.Filter.Suffix)
	return prefix && suffix
}

var authType = regexp.MustCompile(`"AuthType":"(NONE|CAM)"`)

func (f *fake) trigger(action, name string, p map[string]any) (code string) {
	kind, _ := p["Type"].(string)
	allowed := map[string][]string{
		"CreateTrigger": {"cos", "timer", "http"}, "DeleteTrigger": {"cos", "timer", "http"},
		"UpdateTrigger": {"timer", "http"}, "UpdateTriggerStatus": {"timer", "cos"},
	}
	if !slices.Contains(allowed[action], kind) {
		return "InvalidParameterValue.Type"
	}
	text, _ := p["TriggerDesc"].(string)
	switch qualifier, isNew := p["Qualifier"], action == "CreateTrigger"; {
	case kind == "cos" && (!json.Valid([]byte(text)) || strings.Contains(text, " ") || ruleOf(p).Event == ""):
		return "InvalidParameterValue.TriggerDesc"
	case isNew && kind == "cos" && p["TriggerName"] != "groups-1250000000.cos.ap-guangzhou.myqcloud.com" &&
		p["TriggerName"] != "others-1250000000.cos.ap-guangzhou.myqcloud.com":
		return "InvalidParameterValue.TriggerName"
	case isNew && kind == "cos" && ruleOf(p).Filter.Suffix != "" && !strings.HasPrefix(ruleOf(p).Filter.Suffix, "."):
		return "InvalidParameterValue.TriggerDesc"
	case kind == "timer" && action != "DeleteTrigger" && len(strings.Fields(text)) != 7:
		return "InvalidParameterValue.TriggerDesc"
	case kind == "http" && action != "DeleteTrigger" && !authType.MatchString(text):
		return "InvalidParameterValue.TriggerDesc"
	case p["CustomArgument"] != nil && kind != "timer":
		return "InvalidParameterValue.CustomArgument"
	case qualifier != "$DEFAULT" && qualifier != "$LATEST":
		return "ResourceNotFound.Qualifier"
	}
	i := slices.IndexFunc(f.triggers[name], func(tr map[string]any) bool {
		return tr["Type"] == kind && tr["TriggerName"] == p["TriggerName"] && tr["Qualifier"] == p["Qualifier"] &&
			(kind != "cos" || ruleOf(tr) == ruleOf(p))
	})
	switch {
	case action == "CreateTrigger" && i >= 0:
		return "ResourceInUse.Trigger"
	case action != "CreateTrigger" && i < 0:
		return "ResourceNotFound.Trigger"
	case action == "UpdateTrigger":
		f.triggers[name][i] = p
	case action == "UpdateTriggerStatus":
		f.triggers[name][i]["Enable"] = p["Enable"]
	case action == "DeleteTrigger":
		f.triggers[name] = slices.Delete(f.triggers[name], i, i+1)
	default:
		return f.createTrigger(name, kind, p)
	}
	return ""
}

func (f *fake) createTrigger(name, kind string, p map[string]any) (code string) {
	ofKind, onBucket := 0, f.rules
	for _, tr := range f.triggers[name] {
		if tr["Type"] != kind {
			continue
		}
		ofKind++
		if kind == "http" {
			return "ResourceInUse.Trigger"
		}
		if kind == "cos" && tr["TriggerName"] == p["TriggerName"] {
			onBucket++
			if ruleOf(tr).overlaps(ruleOf(p)) {
				return "InvalidParameterValue.CosNotifyRuleConflict"
			}
		}
	}
	if ofKind >= 10 {
		return "LimitExceeded.Trigger"
	}
	if kind == "cos" && onBucket >= 10 {
		return "ResourceInsufficient.COS"
	}
	f.triggers[name] = append(f.triggers[name], p)
	return ""
}

// A policyDocument is a policy of CAM (598/10603), or who may assume a role.
type policyDocument struct {
	Version   string `json:"version"`
	Statement []struct {
		Effect    string              `json:"effect"`
		Action    oneOrMore           `json:"action"`
		Resource  oneOrMore           `json:"resource"`
		Principal map[string][]string `json:"principal"`
	} `json:"statement"`
}

// oneOrMore is a string or a list of strings: the examples of CreateRole and CreatePolicy have one of each.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(o))
}

var resource = regexp.MustCompile(
	`^(\*|qcs::(cos:ap-[a-z]+:uid/\d+:[a-z]+-\d+/|ssm:ap-[a-z]+:uin/\d+:secret/creatorUin/\d+/).+)$`)

func wrongPolicy(text string, isTrust bool) string {
	var d policyDocument
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil || d.Version != "2.0" || len(d.Statement) == 0 {
		return "InvalidParameter.PolicyDocumentError"
	}
	for _, s := range d.Statement {
		switch {
		case s.Effect != "allow":
			return "InvalidParameter.EffectError"
		case len(s.Action) == 0:
			return "InvalidParameter.ActionMiss"
		case isTrust != (len(s.Principal["service"]) > 0), isTrust == (len(s.Resource) > 0):
			return "InvalidParameter.PrincipalError"
		}
		for _, r := range s.Resource {
			if !resource.MatchString(r) {
				return "InvalidParameter.ResourceContentError"
			}
		}
	}
	return ""
}

var camName = regexp.MustCompile(`^[A-Za-z0-9+=,.@_-]{1,128}$`)

// policy returns the policy that a request names, by ID or by name but not by both.
func (f *fake) policy(p map[string]any) map[string]any {
	id, hasID := p["PolicyId"]
	if ids, ok := id.([]any); ok {
		id = ids[0]
	}
	name, hasName := p["PolicyName"]
	for _, candidate := range f.policies {
		if hasID != hasName && (candidate["PolicyId"] == id || candidate["PolicyName"] == name) {
			return candidate
		}
	}
	return nil
}

func (f *fake) cam(action string, p map[string]any) (map[string]any, string) {
	if text, ok := p["PolicyDocument"].(string); ok {
		if code := wrongPolicy(text, action == "CreateRole" || action == "UpdateAssumeRolePolicy"); code != "" {
			f.problems = append(f.problems, action+": "+code+": "+text)
			return nil, code
		}
	}
	if text, ok := p["Description"].(string); ok && len(text) > 300 {
		return nil, "InvalidParameter.DescriptionLengthOverlimit"
	}
	policy := f.policy(p)
	if policy == nil {
		switch action {
		case "GetPolicy", "UpdatePolicy", "DeletePolicy":
			return nil, "ResourceNotFound.PolicyIdNotFound"
		case "AttachRolePolicy", "DetachRolePolicy":
			return nil, "InvalidParameter.PolicyIdNotExist"
		}
	}
	name, _ := p["RoleName"].(string)
	for _, parameter := range []string{"AttachRoleName", "DetachRoleName"} {
		if n, ok := p[parameter].(string); ok {
			name = n
		}
	}
	if strings.Contains(action, "Role") && action != "CreateRole" && f.roles[name] == nil {
		return nil, "InvalidParameter.RoleNotExist"
	}
	switch action {
	case "GetUserAppId":
		return map[string]any{"Uin": "100000000002", "OwnerUin": fakeOwner, "AppId": fakeAppID}, ""
	case "GetRole":
		return map[string]any{"RoleInfo": f.roles[name]}, ""
	case "CreateRole":
		if !camName.MatchString(name) {
			return nil, "InvalidParameter.RoleNameError"
		}
		if f.roles[name] != nil {
			return nil, "InvalidParameter.RoleNameInUse"
		}
		f.roles[name] = p
		f.newRoles[name] = 1
	case "UpdateAssumeRolePolicy":
		f.roles[name]["PolicyDocument"] = p["PolicyDocument"]
	case "DeleteRole":
		delete(f.roles, name)
		delete(f.attached, name)
	case "ListPolicies":
		list := []any{}
		for n, candidate := range f.policies {
			if strings.Contains(n, p["Keyword"].(string)) && p["Scope"] == "Local" && p["Page"] == 1.0 {
				c := maps.Clone(candidate)
				delete(c, "PolicyDocument")
				list = append(list, c)
			}
		}
		return map[string]any{"List": list, "TotalNum": len(list)}, ""
	case "GetPolicy":
		r := maps.Clone(policy)
		delete(r, "PolicyId") // it is not in the response
		return r, ""
	case "CreatePolicy":
		n := p["PolicyName"].(string)
		if !camName.MatchString(n) {
			return nil, "InvalidParameter.PolicyNameError"
		}
		if f.policies[n] != nil {
			return nil, "FailedOperation.PolicyNameInUse"
		}
		f.nextID++
		p["PolicyId"] = float64(f.nextID)
		f.policies[n] = p
	case "UpdatePolicy":
		policy["PolicyDocument"] = p["PolicyDocument"]
	case "DeletePolicy":
		delete(f.policies, policy["PolicyName"].(string))
	case "ListAttachedRolePolicies":
		list := []any{}
		if f.attached[name] != "" {
			list = append(list, map[string]any{"PolicyName": f.attached[name], "PolicyType": "User"})
		}
		return map[string]any{"List": list, "TotalNum": len(list)}, ""
	case "AttachRolePolicy":
		f.attached[name] = policy["PolicyName"].(string)
	case "DetachRolePolicy":
		delete(f.attached, name)
	}
	return nil, ""
}

// filters returns the filters of a request by their keys.
func filters(p map[string]any) map[string]string {
	all := map[string]string{}
	list, _ := p["Filters"].([]any)
	for _, f := range list {
		filter := f.(map[string]any)
		all[filter["Key"].(string)] = filter["Values"].([]any)[0].(string)
	}
	return all
}

func (f *fake) cls(action string, p map[string]any) (map[string]any, string) {
	logset, _ := p["LogsetId"].(string)
	topic, _ := p["TopicId"].(string)
	switch action {
	case "DescribeLogsets":
		list := []any{}
		for _, l := range f.logsets {
			if strings.Contains(l["LogsetName"].(string), filters(p)["logsetName"]) {
				l = maps.Clone(l)
				n := 0
				for _, t := range f.topics {
					if t["LogsetId"] == l["LogsetId"] {
						n++
					}
				}
				l["TopicCount"], l["MetricTopicCount"] = n, 0
				list = append(list, l)
			}
		}
		return map[string]any{"Logsets": list, "TotalCount": len(list)}, ""
	case "CreateLogset":
		for _, l := range f.logsets {
			if l["LogsetName"] == p["LogsetName"] {
				return nil, "InvalidParameter.LogsetConflict"
			}
		}
		f.nextID++
		id := fmt.Sprint("logset-", f.nextID)
		p["LogsetId"] = id
		f.logsets[id] = p
		return map[string]any{"LogsetId": id}, ""
	case "DeleteLogset":
		if f.logsets[logset] == nil {
			return nil, "ResourceNotFound.LogsetNotExist"
		}
		for _, t := range f.topics {
			if t["LogsetId"] == logset {
				return nil, "FailedOperation.LogsetNotEmpty"
			}
		}
		delete(f.logsets, logset)
	case "DescribeTopics":
		list := []any{}
		by := filters(p)
		for _, t := range f.topics {
			name := t["TopicName"].(string)
			matches := name == by["topicName"] || p["PreciseSearch"] != 1.0 && strings.Contains(name, by["topicName"])
			if t["LogsetId"] == by["logsetId"] && matches {
				list = append(list, t)
			}
		}
		return map[string]any{"Topics": list, "TotalCount": len(list)}, ""
	case "CreateTopic":
		if f.logsets[logset] == nil {
			return nil, "ResourceNotFound.LogsetNotExist"
		}
		for _, t := range f.topics {
			if t["LogsetId"] == logset && t["TopicName"] == p["TopicName"] {
				return nil, "InvalidParameter.TopicConflict"
			}
		}
		if n, ok := p["Period"].(float64); ok && (n < 1 || n > 3600) && n != 3640 {
			return nil, "FailedOperation.InvalidPeriod"
		}
		f.nextID++
		id := fmt.Sprint("topic-", f.nextID)
		p["TopicId"], p["Index"] = id, false
		f.topics[id] = p
		return map[string]any{"TopicId": id}, ""
	default: // DeleteTopic, CreateIndex
		if f.topics[topic] == nil {
			return nil, "ResourceNotFound.TopicNotExist"
		}
		if action == "DeleteTopic" {
			delete(f.topics, topic)
			return nil, ""
		}
		if f.topics[topic]["Index"] == true {
			return nil, "InvalidParameter.IndexConflict"
		}
		if code := wrongIndex(p["Rule"].(map[string]any)); code != "" {
			f.problems = append(f.problems, code)
			return nil, code
		}
		f.topics[topic]["Index"], f.topics[topic]["Rule"] = true, p["Rule"]
	}
	return nil, ""
}

var indexKey = regexp.MustCompile(`^[A-Za-z0-9./@-][A-Za-z0-9_./@-]*$`)

func wrongIndex(rule map[string]any) string {
	kv, _ := rule["KeyValue"].(map[string]any)
	list, _ := kv["KeyValues"].([]any)
	for _, e := range list {
		field := e.(map[string]any)
		value := field["Value"].(map[string]any)
		kind, tokens := value["Type"], value["Tokenizer"]
		isNumber := kind == "long" || kind == "double"
		hasTokens := tokens != nil && tokens != ""
		if !indexKey.MatchString(field["Key"].(string)) || !isNumber && kind != "text" || isNumber && hasTokens {
			return "InvalidParameter"
		}
	}
	return ""
}

// snapshot returns all that exists, without the IDs, which depend on the order of creation. Triggers have no order.
func (f *fake) snapshot() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	triggers := []string{}
	for name, list := range f.triggers {
		for _, tr := range list {
			triggers = append(triggers, name+compact(tr))
		}
	}
	slices.Sort(triggers)
	raw, err := json.MarshalIndent([]any{
		f.functions, triggers, f.roles, f.policies, f.attached, f.reserved, slices.Collect(maps.Values(f.logsets)),
		slices.Collect(maps.Values(f.topics)), slices.Sorted(maps.Keys(f.bucket.Snapshot())),
	}, "", " ")
	if err != nil {
		panic(err)
	}
	ids := regexp.MustCompile(`("PolicyId": |logset-|topic-)\d+`)
	return ids.ReplaceAllString(string(raw), "${1}N")
}
