package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// An api emulates Tencent's API of functions, version 2018-04-16. It stores the parameters of the requests, and refuses
// requests that the documents do not allow.
type api struct {
	t         *testing.T
	functions map[string]map[string]any   // by name, the parameters of the latest requests
	triggers  map[string][]map[string]any // by name of the function, in the order of their creation
	actions   []string                    // of all requests that change something
	urls      int                         // number of function URLs created so far
}

func newAPI(t *testing.T) *api {
	return &api{t: t, functions: map[string]map[string]any{}, triggers: map[string][]map[string]any{}}
}

// ServeHTTP responds to one request, a JSON object with its Action.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req map[string]any
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	response, code := a.respond(req)
	if code != "" {
		response = map[string]any{"Error": map[string]any{"Code": code, "Message": code}}
	}
	if err := json.NewEncoder(w).Encode(map[string]any{"Response": response}); err != nil {
		a.t.Error(err)
	}
}

// respond returns the response to a request, or an error code.
func (a *api) respond(req map[string]any) (response map[string]any, code string) {
	action, _ := req["Action"].(string)
	name, _ := req["FunctionName"].(string)
	delete(req, "Version")
	if !strings.HasPrefix(action, "Get") && !strings.HasPrefix(action, "List") {
		a.actions = append(a.actions, action+" "+name)
	}
	f, ok := a.functions[name]
	switch action {
	case "CreateFunction":
		if ok {
			return nil, "ResourceInUse.FunctionName"
		}
		delete(req, "Action")
		a.functions[name] = req
		return nil, a.wrong(req)
	case "GetAlias":
		return nil, "ResourceNotFound.Alias"
	}
	if !ok {
		return nil, "ResourceNotFound.Function"
	}
	switch action {
	case "GetFunction":
		return map[string]any{"FunctionName": name, "Namespace": "default", "Status": "Active", "Runtime": f["Runtime"]}, ""
	case "UpdateFunctionCode", "UpdateFunctionConfiguration":
		delete(req, "Action")
		maps.Copy(f, req)
		return nil, a.wrong(f)
	case "ListTriggers":
		all := a.list(name, req["Filters"])
		return map[string]any{"Triggers": all, "TotalCount": len(all)}, ""
	case "CreateTrigger", "UpdateTrigger":
		return a.trigger(action, req)
	case "DeleteTrigger":
		before := len(a.triggers[name])
		a.triggers[name] = slices.DeleteFunc(a.triggers[name], func(tr map[string]any) bool {
			return isSame(tr, req, "Type", "TriggerName", "TriggerDesc")
		})
		if len(a.triggers[name]) != before-1 {
			return nil, "ResourceNotFound.Trigger"
		}
		return nil, ""
	}
	a.t.Errorf("unknown action %q", action)
	return nil, "InvalidAction"
}

// isSame reports whether two triggers have the same values of these fields.
func isSame(one, other map[string]any, fields ...string) bool {
	for _, name := range fields {
		if one[name] != other[name] {
			return false
		}
	}
	return true
}

// wrong returns the error code for settings of a function that the platform does not accept, or "": 583/18580 and
// 583/11637, 2025-10-16.
func (a *api) wrong(f map[string]any) (code string) {
	timeout, _ := f["Timeout"].(float64)
	memory, _ := f["MemorySize"].(float64)
	size := 0
	e, _ := f["Environment"].(map[string]any)
	variables, _ := e["Variables"].([]any)
	for _, v := range variables {
		size += len(fmt.Sprint(v))
	}
	switch {
	case timeout < 1 || timeout > 900:
		code = "InvalidParameterValue.Timeout"
	case memory != 64 && (memory < 128 || memory > 3072 || int(memory)%128 != 0):
		code = "InvalidParameterValue.MemorySize"
	case len(fmt.Sprint(f["FunctionName"])) > 60:
		code = "InvalidParameterValue.FunctionName"
	case size > 4096:
		code = "InvalidParameterValue.EnvironmentExceededLimit"
	}
	if code != "" {
		a.t.Errorf("the platform would respond %s to %v", code, f)
	}
	return code
}

// list returns the triggers of a function as the platform does: a timer's description becomes JSON, and Enable a
// number.
func (a *api) list(name string, filters any) []map[string]any {
	all := []map[string]any{}
	for _, tr := range a.triggers[name] {
		if !matches(tr, filters) {
			continue
		}
		tr = maps.Clone(tr)
		if tr["Type"] == "timer" {
			tr["TriggerDesc"] = fmt.Sprintf(`{"cron":"%s"}`, tr["TriggerDesc"])
		}
		tr["Enable"] = 1
		all = append(all, tr)
	}
	return all
}

// matches reports whether a trigger has one of the values of each filter. A filter without a value matches no trigger.
// The toolkit sends such a filter for a missing parameter.
func matches(trigger map[string]any, filters any) bool {
	list, _ := filters.([]any)
	for _, f := range list {
		filter, _ := f.(map[string]any)
		name, _ := filter["Name"].(string)
		values, _ := filter["Values"].([]any)
		if !slices.Contains(values, trigger[name]) {
			return false
		}
	}
	return true
}

func (a *api) trigger(action string, req map[string]any) (response map[string]any, code string) {
	name, _ := req["FunctionName"].(string)
	delete(req, "Action")
	if req["Enable"] != "OPEN" {
		a.t.Errorf("trigger %v of %s is off", req["TriggerName"], name)
	}
	same := slices.IndexFunc(a.triggers[name], func(tr map[string]any) bool {
		return isSame(tr, req, "Type", "TriggerName") && (tr["Type"] != "cos" || isSame(tr, req, "TriggerDesc"))
	})
	switch {
	case action == "UpdateTrigger" && same < 0:
		return nil, "ResourceNotFound.Trigger"
	case action == "UpdateTrigger":
		a.triggers[name][same] = req
	case same >= 0:
		a.t.Errorf("trigger %v of %s is created again", req["TriggerName"], name)
		return nil, "ResourceInUse.Trigger"
	default:
		if req["Type"] == "http" {
			a.urls++
		}
		a.triggers[name] = append(a.triggers[name], req)
	}
	return map[string]any{"TriggerInfo": req}, ""
}

// toolkit is Tencent's code, which npm ci in scripts/toolkit installs.
const toolkit = "../../scripts/toolkit/node_modules/tencent-component-toolkit/package.json"

// deploy deploys serverless.yml with these parameters.
func (a *api) deploy(p map[string]string) {
	a.t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		a.t.Skip("without Node.js: scripts/setup says what tests need")
	}
	if _, err := os.Stat(toolkit); err != nil {
		a.t.Skip("without tencent-component-toolkit: npm ci in scripts/toolkit gets it, or scripts/setup")
	}
	var deployment any
	if err := yaml.Unmarshal([]byte(filledIn(a.t, p)), &deployment); err != nil {
		a.t.Fatal(err)
	}
	raw, err := json.Marshal(deployment)
	if err != nil {
		a.t.Fatal(err)
	}
	server := httptest.NewServer(a)
	defer server.Close()
	cmd := exec.CommandContext(a.t.Context(), node, filepath.FromSlash("../../scripts/toolkit/deploy.js"), server.URL)
	cmd.Stdin = bytes.NewReader(raw)
	if out, err := cmd.CombinedOutput(); err != nil {
		a.t.Fatalf("%v\n%s", err, out)
	}
}

// environment returns the variables of a function.
func (a *api) environment(name string) map[string]string {
	a.t.Helper()
	raw, err := json.Marshal(a.functions["groupimport-prod-groupimport-"+name]["Environment"])
	if err != nil {
		a.t.Fatal(err)
	}
	var e struct {
		Variables []struct {
			Key   string `json:"Key"`
			Value string `json:"Value"`
		} `json:"Variables"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		a.t.Fatal(err)
	}
	env := map[string]string{}
	for _, v := range e.Variables {
		env[v.Key] = v.Value
	}
	return env
}

// state returns the deployed functions and triggers, without the order in which triggers were created.
func (a *api) state() map[string]any {
	triggers := map[string]map[string]any{}
	for name, all := range a.triggers {
		triggers[name] = map[string]any{}
		for _, tr := range all {
			triggers[name][fmt.Sprint(tr["Type"], tr["TriggerName"], tr["TriggerDesc"])] = tr
		}
	}
	return map[string]any{"functions": a.functions, "triggers": triggers}
}

// snapshot returns a state that later deployments do not change.
func (a *api) snapshot() string {
	a.t.Helper()
	raw, err := json.MarshalIndent(a.state(), "", " ")
	if err != nil {
		a.t.Fatal(err)
	}
	return string(raw)
}

func TestDeploy_SendsWhatTheFileSays(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.deploy(parameters(t))
	d := load(t, parameters(t))
	for key, f := range d.Inputs.Functions {
		got := a.functions["groupimport-prod-groupimport-"+key]
		want := map[string]any{
			"Type": "Event", "Runtime": "Go1", "Handler": "main", "Namespace": "default",
			"Role": f.Role, "Description": f.Description,
			"Timeout": float64(f.Timeout), "MemorySize": float64(f.MemorySize),
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s: got %s %v, want %v", key, name, got[name], value)
			}
		}
		if got, want := a.environment(key), d.environment(key); len(want) == 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got variables %v, want %v", key, got, want)
		}
	}
	var triggers []string
	for name, all := range a.triggers {
		for _, tr := range all {
			triggers = append(triggers, fmt.Sprintf("%s %s %s %s %v %s",
				strings.TrimPrefix(name, "groupimport-prod-groupimport-"), tr["Type"], tr["TriggerName"],
				tr["TriggerDesc"], tr["CustomArgument"], tr["Qualifier"]))
		}
	}
	want := []string{
		`http http url-trigger {"AuthType":"NONE","NetConfig":{"EnableIntranet":false,"EnableExtranet":true}} <nil> $DEFAULT`,
		`schedule timer resume 0 * * * * * * resume $DEFAULT`,
	}
	for _, suffix := range []string{".CSV", ".JSON", ".JSONL", ".csv", ".gz", ".json", ".jsonl", ".zst"} {
		description := `{"event":"cos:ObjectCreated:*","filter":{"Prefix":"exports/","Suffix":"` + suffix + `"}}`
		want = append(want, `import cos `+bucketName+`.cos.ap-guangzhou.myqcloud.com `+description+` <nil> $DEFAULT`)
	}
	slices.Sort(triggers)
	slices.Sort(want)
	if !slices.Equal(triggers, want) {
		t.Errorf("got triggers\n%s\nwant\n%s", strings.Join(triggers, "\n"), strings.Join(want, "\n"))
	}
}

func TestDeploy_SecondTimeChangesNothing(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.deploy(parameters(t))
	before := a.snapshot()
	a.actions = nil
	a.deploy(parameters(t))
	if after := a.snapshot(); after != before {
		t.Errorf("got\n%s\nwant the state before it:\n%s", after, before)
	}
	for _, action := range a.actions {
		if !strings.HasPrefix(action, "Update") {
			t.Errorf("got %s, want only updates", action)
		}
	}
}

func TestDeploy_ChangedParametersReplaceTheOldOnes(t *testing.T) {
	t.Parallel()
	changed := parameters(t)
	for name, value := range map[string]string{
		"BucketName": "others-1250000000", "Region": "ap-singapore", "ExportPrefix": "a/b/", "Role": "other",
		"HttpRole": "other-http", "SdkAppId": "1400000001", "Admin": "admin2", "SecretKey": "k2",
		"TimRegion": "singapore", "Rate": "100", "Members": "false", "MembersPerCall": "50", "MemberRate": "110",
		"ImportAccounts": "true", "AvChatRoom": "create",
		"FieldLimits": "extended", "AssignGroupIds": "true", "MaxAttempts": "3",
		"ParallelImports": "4",
		"StopShare":       "1", "RetryUnknown": "true", "CreateUnmatched": "true", "ExportEncoding": "gbk",
		"IncludeArchived": "true", "UsersStrict": "true", "LogLevel": "debug", "HttpToken": "fedcba9876543210fedc",
		"HttpAuth": "CAM",
		// read by scripts/deploy alone
		"SecretKeyParameter": "im-key", "HttpTokenParameter": "http-token",
	} {
		if _, ok := changed[name]; !ok {
			t.Errorf("%s is no parameter", name)
		}
		changed[name] = value
	}
	for name, value := range parameters(t) {
		if changed[name] == value && !strings.HasPrefix(name, "TENCENT_") {
			t.Errorf("%s is not changed by this test", name)
		}
	}
	fresh := newAPI(t)
	fresh.deploy(changed)
	a := newAPI(t)
	a.deploy(parameters(t))
	a.deploy(changed)
	if got, want := a.snapshot(), fresh.snapshot(); got != want {
		t.Errorf("got\n%s\nwant the same as a new deployment:\n%s", got, want)
	}
	if a.urls != 1 {
		t.Errorf("got %d function URLs, want one that stays", a.urls)
	}
	old := slices.Collect(maps.Values(parameters(t)))
	for _, name := range []string{"import", "schedule", "http"} {
		for variable, value := range a.environment(name) {
			isRate := variable == "TIM_RATE" || variable == "TIM_MEMBER_RATE"
			fixed := variable == "ONE_AT_A_TIME" || name == "http" && isRate
			// MEMBERS changes from true to false, which is the old value of other variables.
			known := value == "true" || value == "5" || variable == "MEMBERS" && value == "false"
			if slices.Contains(old, value) && !fixed && !known {
				t.Errorf("%s: %s is %q, which is not the value of a parameter", name, variable, value)
			}
		}
	}
}
