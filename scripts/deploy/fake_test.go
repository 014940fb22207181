package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// A fake is SCF and CAM, after their API documents: it refuses unknown actions and parameters, wrong types, changes of a
// function that is being changed, and overlapping triggers.
type fake struct {
	mu        sync.Mutex
	functions map[string]map[string]any
	busy      map[string]int // polls until the function is active
	triggers  map[string][]map[string]any
	roles     map[string]map[string]any
	policies  map[string]map[string]any
	attached  map[string]string // policy by role
	reserved  map[string]any
	rules     int // of other functions, on the bucket
	nextID    float64

	problems []string                              // requests that the documents rule out
	changes  []string                              // actions that changed something
	fault    func(n int, action string) (f string) // "drop" loses the response; else the code of an error
	requests int
}

func newFake() *fake {
	return &fake{
		functions: map[string]map[string]any{}, busy: map[string]int{}, triggers: map[string][]map[string]any{},
		roles: map[string]map[string]any{}, policies: map[string]map[string]any{}, attached: map[string]string{},
		reserved: map[string]any{}, nextID: 1000,
	}
}

// parameters has the types of each action's parameters; "!" marks required ones. s string, n number, o object, a array.
var parameters = map[string]string{
	"GetFunction": "FunctionName!s Namespace:s ShowCode:s",
	"CreateFunction": "FunctionName!s Code!o Handler:s Description:s MemorySize:n Timeout:n Environment:o Runtime:s " +
		"Namespace:s Role:s Type:s ClsLogsetId:s ClsTopicId:s",
	"UpdateFunctionCode": "FunctionName!s Handler:s Code:o Namespace:s",
	"UpdateFunctionConfiguration": "FunctionName!s Description:s MemorySize:n Timeout:n Environment:o Namespace:s Role:s " +
		"ClsLogsetId:s ClsTopicId:s",
	"DeleteFunction":                  "FunctionName!s Namespace:s",
	"ListTriggers":                    "FunctionName!s Namespace:s Offset:n Limit:n",
	"CreateTrigger":                   "FunctionName!s TriggerName!s Type!s TriggerDesc:s Namespace:s Qualifier:s Enable:s CustomArgument:s",
	"UpdateTrigger":                   "FunctionName!s TriggerName!s Type!s TriggerDesc:s Namespace:s Qualifier:s Enable:s CustomArgument:s",
	"DeleteTrigger":                   "FunctionName!s TriggerName!s Type!s Namespace:s TriggerDesc:s Qualifier:s",
	"GetReservedConcurrencyConfig":    "FunctionName!s Namespace:s",
	"PutReservedConcurrencyConfig":    "FunctionName!s ReservedConcurrencyMem!n Namespace:s",
	"DeleteReservedConcurrencyConfig": "FunctionName!s Namespace:s",
	"GetRole":                         "RoleName:s",
	"CreateRole":                      "RoleName!s PolicyDocument!s Description:s",
	"DeleteRole":                      "RoleName:s",
	"ListPolicies":                    "Rp:n Page:n Scope:s Keyword:s",
	"GetPolicy":                       "PolicyId!n",
	"CreatePolicy":                    "PolicyName!s PolicyDocument!s Description:s",
	"UpdatePolicy":                    "PolicyId:n PolicyName:s PolicyDocument:s",
	"DeletePolicy":                    "PolicyId!a",
	"ListAttachedRolePolicies":        "Page!n Rp!n RoleName:s",
	"AttachRolePolicy":                "PolicyId:n AttachRoleName:s PolicyName:s",
	"DetachRolePolicy":                "PolicyId:n DetachRoleName:s PolicyName:s",
}

func wrongParameter(action string, p map[string]any) string {
	spec, ok := parameters[action]
	if !ok {
		return "InvalidAction"
	}
	known := map[string]string{}
	for word := range strings.FieldsSeq(spec) {
		i := strings.IndexAny(word, "!:")
		known[word[:i]] = word[i+1:]
		if _, ok := p[word[:i]]; !ok && word[i] == '!' {
			return "MissingParameter"
		}
	}
	for name, value := range p {
		kind := map[string]string{"string": "s", "float64": "n", "map[string]interface {}": "o", "[]interface {}": "a"}[fmt.Sprintf("%T", value)]
		if known[name] == "" {
			return "UnknownParameter"
		}
		if known[name] != kind {
			return "InvalidParameter"
		}
	}
	return ""
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	action := r.Header.Get("X-TC-Action")
	var p map[string]any
	err := json.NewDecoder(r.Body).Decode(&p)
	want := "2018-04-16"
	if strings.Contains(action, "Role") || strings.Contains(action, "Polic") {
		want = "2019-01-16"
	}
	if err != nil || r.Header.Get("X-TC-Version") != want || !strings.HasPrefix(r.Header.Get("Authorization"), "TC3-HMAC-SHA256 ") {
		f.problems = append(f.problems, fmt.Sprintf("%s: version %s, %v", action, r.Header.Get("X-TC-Version"), err))
	}
	fault := ""
	if f.fault != nil {
		fault = f.fault(f.requests, action)
	}
	var response map[string]any
	code := wrongParameter(action, p)
	if code != "" {
		f.problems = append(f.problems, fmt.Sprintf("%s: %s: %v", action, code, slices.Sorted(maps.Keys(p))))
	} else if fault != "" && fault != "drop" {
		code = fault
	} else {
		response, code = f.do(action, p)
		if code == "" && !strings.HasPrefix(action, "Get") && !strings.HasPrefix(action, "List") {
			f.changes = append(f.changes, action)
		}
	}
	if fault == "drop" {
		panic(http.ErrAbortHandler)
	}
	if response == nil {
		response = map[string]any{}
	}
	if code != "" {
		response = map[string]any{"Error": map[string]any{"Code": code, "Message": "of the fake"}}
	}
	response["RequestId"] = "1"
	_ = json.NewEncoder(w).Encode(map[string]any{"Response": response}) //nolint:errchkjson // maps of JSON values
}

func (f *fake) do(action string, p map[string]any) (map[string]any, string) {
	if strings.Contains(action, "Role") || strings.Contains(action, "Polic") {
		return f.cam(action, p)
	}
	name := p["FunctionName"].(string)
	state, ok := f.functions[name]
	if action == "CreateFunction" {
		if ok {
			return nil, "ResourceInUse.FunctionName"
		}
		role, _ := p["Role"].(string)
		if f.roles[role] == nil || f.attached[role] == "" {
			return nil, "InvalidParameterValue.Role"
		}
		if p["Code"].(map[string]any)["ZipFile"] == "" {
			return nil, "InvalidParameterValue.Code"
		}
		f.functions[name], f.busy[name] = p, 2
		return nil, ""
	}
	if !ok {
		return nil, "ResourceNotFound.Function"
	}
	busy := f.busy[name] > 0
	if action == "GetFunction" {
		status := "Active"
		if busy {
			f.busy[name]--
			status = "Updating"
		}
		r := maps.Clone(state)
		delete(r, "Code")
		r["Status"] = status
		return r, ""
	}
	if busy && !strings.HasPrefix(action, "List") && !strings.Contains(action, "Reserved") {
		return nil, "FailedOperation.FunctionStatusError"
	}
	switch action {
	case "UpdateFunctionCode", "UpdateFunctionConfiguration":
		maps.Copy(state, p)
		f.busy[name] = 1
	case "DeleteFunction":
		delete(f.functions, name)
		delete(f.triggers, name)
		delete(f.reserved, name)
	case "ListTriggers":
		list := []map[string]any{}
		for _, tr := range f.triggers[name] {
			tr = maps.Clone(tr)
			switch tr["Type"] {
			case "timer":
				tr["TriggerDesc"] = fmt.Sprintf(`{"cron":"%s"}`, tr["TriggerDesc"])
			case "http":
				tr["TriggerDesc"] = strings.Replace(tr["TriggerDesc"].(string), `"NetConfig":{`,
					`"NetConfig":{"ExtranetUrl":"https://1250000000-abc.ap-guangzhou.tencentscf.com",`, 1)
			}
			tr["Enable"] = map[any]int{"OPEN": 1}[tr["Enable"]]
			list = append(list, tr)
		}
		return map[string]any{"Triggers": list, "TotalCount": len(list)}, ""
	case "CreateTrigger", "UpdateTrigger", "DeleteTrigger":
		return nil, f.trigger(action, name, p)
	case "GetReservedConcurrencyConfig":
		return map[string]any{"ReservedMem": f.reserved[name]}, ""
	case "PutReservedConcurrencyConfig":
		f.reserved[name] = p["ReservedConcurrencyMem"]
	case "DeleteReservedConcurrencyConfig":
		delete(f.reserved, name)
	}
	return nil, ""
}

func (f *fake) trigger(action, name string, p map[string]any) (code string) {
	i := slices.IndexFunc(f.triggers[name], func(tr map[string]any) bool {
		return tr["Type"] == p["Type"] && tr["TriggerName"] == p["TriggerName"] &&
			(p["Type"] != "cos" || tr["TriggerDesc"] == p["TriggerDesc"])
	})
	switch {
	case action == "CreateTrigger" && i >= 0:
		return "ResourceInUse.Trigger"
	case action != "CreateTrigger" && i < 0:
		return "ResourceNotFound.Trigger"
	case action == "UpdateTrigger":
		f.triggers[name][i] = p
	case action == "DeleteTrigger":
		f.triggers[name] = slices.Delete(f.triggers[name], i, i+1)
	default:
		used := f.rules
		for _, tr := range f.triggers[name] {
			if tr["Type"] == "cos" && p["Type"] == "cos" {
				used++
				if suffix(tr) == "" || suffix(p) == "" || strings.HasSuffix(suffix(tr), suffix(p)) || strings.HasSuffix(suffix(p), suffix(tr)) {
					return "InvalidParameterValue.TriggerDesc"
				}
			}
		}
		if p["Type"] == "cos" && used >= 10 {
			return "LimitExceeded.Trigger"
		}
		f.triggers[name] = append(f.triggers[name], p)
	}
	return ""
}

func suffix(tr map[string]any) string {
	var d struct {
		Filter struct {
			Suffix string `json:"Suffix"`
		} `json:"filter"`
	}
	_ = json.Unmarshal([]byte(tr["TriggerDesc"].(string)), &d)
	return d.Filter.Suffix
}

func (f *fake) cam(action string, p map[string]any) (map[string]any, string) {
	for _, document := range []any{p["PolicyDocument"]} {
		if text, ok := document.(string); ok && !json.Valid([]byte(text)) {
			return nil, "InvalidParameter.PolicyDocument"
		}
	}
	id, _ := p["PolicyId"].(float64)
	if ids, ok := p["PolicyId"].([]any); ok {
		id = ids[0].(float64)
	}
	var policy map[string]any
	for _, candidate := range f.policies {
		if candidate["PolicyId"] == id {
			policy = candidate
		}
	}
	isPolicy := action == "GetPolicy" || action == "UpdatePolicy" || action == "DeletePolicy" ||
		action == "AttachRolePolicy" || action == "DetachRolePolicy"
	if isPolicy && policy == nil {
		return nil, "ResourceNotFound.PolicyIdNotFound"
	}
	name, _ := p["RoleName"].(string)
	if attach, ok := p["AttachRoleName"].(string); ok {
		name = attach
	}
	if detach, ok := p["DetachRoleName"].(string); ok {
		name = detach
	}
	if strings.Contains(action, "Role") && action != "CreateRole" && f.roles[name] == nil {
		return nil, "InvalidParameter.RoleNotExist"
	}
	switch action {
	case "GetRole":
		return map[string]any{"RoleInfo": f.roles[name]}, ""
	case "CreateRole":
		if f.roles[name] != nil {
			return nil, "InvalidParameter.RoleNameInUse"
		}
		f.roles[name] = p
	case "DeleteRole":
		delete(f.roles, name)
		delete(f.attached, name)
	case "ListPolicies":
		list := []any{}
		for n, candidate := range f.policies {
			if strings.Contains(n, p["Keyword"].(string)) {
				c := maps.Clone(candidate)
				delete(c, "PolicyDocument")
				list = append(list, c)
			}
		}
		return map[string]any{"List": list, "TotalNum": len(list)}, ""
	case "GetPolicy":
		return policy, ""
	case "CreatePolicy":
		if f.policies[p["PolicyName"].(string)] != nil {
			return nil, "FailedOperation.PolicyNameInUse"
		}
		f.nextID++
		p["PolicyId"] = f.nextID
		f.policies[p["PolicyName"].(string)] = p
	case "UpdatePolicy":
		policy["PolicyDocument"] = p["PolicyDocument"]
	case "DeletePolicy":
		delete(f.policies, policy["PolicyName"].(string))
	case "ListAttachedRolePolicies":
		list := []any{}
		if f.attached[name] != "" {
			list = append(list, map[string]any{"PolicyName": f.attached[name]})
		}
		return map[string]any{"List": list, "TotalNum": len(list)}, ""
	case "AttachRolePolicy":
		f.attached[name] = policy["PolicyName"].(string)
	case "DetachRolePolicy":
		delete(f.attached, name)
	}
	return nil, ""
}

// snapshot returns all that exists. Triggers have no order.
func (f *fake) snapshot() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	triggers := []string{}
	for name, list := range f.triggers {
		for _, tr := range list {
			raw, _ := json.Marshal(tr) //nolint:errchkjson // maps of JSON values
			triggers = append(triggers, name+string(raw))
		}
	}
	slices.Sort(triggers)
	for _, p := range f.policies {
		p["PolicyId"] = float64(0) // which depends on the order of creation
	}
	raw, _ := json.MarshalIndent([]any{f.functions, triggers, f.roles, f.policies, f.attached, f.reserved}, "", " ") //nolint:errchkjson // maps of JSON values
	id := float64(1)
	for _, name := range slices.Sorted(maps.Keys(f.policies)) {
		f.policies[name]["PolicyId"] = id
		id++
	}
	return string(raw)
}
