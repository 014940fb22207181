package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"groupimport/pkg/blob/cosblob/costest"
)

func TestMain(m *testing.M) {
	if os.Getenv("DEPLOY_TEST_RUN") != "" { // the command itself, for the test of kills
		pause, maxZip = 5*time.Millisecond, testMaxZip
		os.Args = append(os.Args[:1], strings.Split(os.Getenv("DEPLOY_TEST_RUN"), "\n")...)
		main()
		os.Exit(0)
	}
	if maxZip*4/3 > 9_500_000 {
		panic("a request has at most 10 MB")
	}
	pause, maxZip = time.Millisecond, testMaxZip
	os.Exit(m.Run())
}

const testMaxZip = 10_000 // so that a large program costs no time

const (
	secretKey  = `the-key"of-the-app`
	token      = "the-token-of-callers"
	accountKey = "the-key-of-the-account"
)

// An operator has an account, which is a fake, a program, and .env.
type operator struct {
	*fake
	t      *testing.T
	server *httptest.Server
	dir    string
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	return operatorOf(t, newFake())
}

// operatorOf returns an operator of an account.
func operatorOf(t *testing.T, account *fake) *operator {
	t.Helper()
	a := &operator{fake: account, t: t, dir: t.TempDir()}
	a.server = httptest.NewServer(a.fake)
	t.Cleanup(a.server.Close)
	a.setEnv(nil)
	a.write("scf.zip", "a program")
	return a
}

func (a *operator) write(name, text string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// setEnv writes .env, which is .env.example with these values.
func (a *operator) setEnv(more map[string]string) {
	a.t.Helper()
	raw, err := os.ReadFile("../../.env.example")
	if err != nil {
		a.t.Fatal(err)
	}
	values := map[string]string{
		"BucketName": "groups-1250000000", "SdkAppId": "1400000000", "SecretKey": secretKey, "HttpToken": token,
		"TENCENT_SECRET_ID": "id", "TENCENT_SECRET_KEY": accountKey,
	}
	maps.Copy(values, more)
	text := string(raw)
	for k, v := range values {
		text = regexp.MustCompile(`(?m)^`+k+`=.*$`).ReplaceAllString(text, k+"="+v)
	}
	a.write(".env", text)
}

func (a *operator) args(more ...string) []string {
	return append([]string{
		"--file", "../../serverless.yml", "--env", filepath.Join(a.dir, ".env"), "--zip", filepath.Join(a.dir, "scf.zip"),
		"--endpoint", strings.TrimPrefix(a.server.URL, "http://"),
	}, more...)
}

// deploy runs the command, and checks what must always be so.
func (a *operator) deploy(more ...string) (string, error) {
	a.t.Helper()
	var out bytes.Buffer
	err := run(a.t.Context(), a.args(more...), func(string) string { return "" }, &out)
	text := out.String()
	if err != nil {
		text += err.Error()
	}
	for _, secret := range []string{secretKey, token, accountKey} {
		if strings.Contains(text, secret) || strings.Contains(text, strings.Trim(compact(secret), `"`)) {
			a.t.Errorf("the output holds a secret:\n%s", text)
		}
	}
	if len(a.problems) > 0 {
		a.t.Fatalf("the documents rule out: %v", a.problems)
	}
	return text, err
}

func (a *operator) mustDeploy(more ...string) string {
	a.t.Helper()
	text, err := a.deploy(more...)
	if err != nil {
		a.t.Fatalf("%v\n%s", err, text)
	}
	return text
}

const (
	importFunction   = "groupimport-prod-groupimport-import"
	scheduleFunction = "groupimport-prod-groupimport-schedule"
	httpFunction     = "groupimport-prod-groupimport-http"
)

// suffixes returns how many COS triggers serverless.yml has.
func suffixes(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile("../../serverless.yml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(raw), "- type: cos")
}

func TestDeploy_MakesEverythingAndThenNothing(t *testing.T) {
	a := newOperator(t)
	if text := a.mustDeploy("--plan"); len(a.changes) > 0 || !strings.Contains(text, "create") {
		t.Errorf("--plan made %v and printed %s", a.changes, text)
	}
	text := a.mustDeploy()
	if !strings.Contains(text, "https://1250000000-abc.ap-guangzhou.tencentscf.com/imports") {
		t.Errorf("got %s, want a curl to try", text)
	}
	if len(a.functions) != 3 || len(a.roles) != 3 || len(a.policies) != 2 || len(a.attached) != 2 || len(a.topics) != 1 {
		t.Errorf("got %s", a.snapshot())
	}
	for name, rules := range map[string]int{importFunction: suffixes(t), scheduleFunction: 1, httpFunction: 1} {
		if got := a.triggers[name]; len(got) != rules {
			t.Errorf("%s: got triggers %v, want %d", name, got, rules)
		}
		if topic := a.topics[a.functions[name]["ClsTopicId"].(string)]; topic == nil || topic["Index"] != true {
			t.Errorf("%s: got log topic %v, want one with an index", name, topic)
		}
	}
	if got := a.reserved[httpFunction]; got != 2560.0 {
		t.Errorf("got %v MB reserved", got)
	}
	if n := a.requests; n > 200 {
		t.Errorf("got %d requests for two runs", n)
	}
	a.changes = nil
	if text := a.mustDeploy(); len(a.changes) > 0 || !strings.Contains(text, "done, 0 changes") {
		t.Errorf("the second time made %v\n%s", a.changes, text)
	}
	if text := a.mustDeploy("--plan"); !strings.Contains(text, "nothing to change") {
		t.Errorf("the second time plans %s", text)
	}
}

func TestDeploy_RepairsDrift(t *testing.T) {
	a := newOperator(t)
	a.mustDeploy()
	want := a.snapshot()
	f := a.functions[importFunction]
	for name, change := range map[string]func(){
		"variables":   func() { f["Environment"] = map[string]any{} },
		"description": func() { f["Description"] = "mine" },
		"handler":     func() { f["Handler"] = "index.main" },
		"timeout":     func() { f["Timeout"] = 3.0 },
		"memory":      func() { f["MemorySize"] = 128.0 },
		"role":        func() { f["Role"] = "SCF_QcsRole" },
		"log topic":   func() { f["ClsLogsetId"], f["ClsTopicId"] = "SCF_logset", "SCF_logtopic" },
		"index":       func() { a.topics[f["ClsTopicId"].(string)]["Index"] = false },
		"rules":       func() { a.triggers[importFunction] = a.triggers[importFunction][3:] },
		"a rule off":  func() { a.triggers[importFunction][2]["Enable"] = "CLOSE" },
		"timer":       func() { a.triggers[scheduleFunction][0]["Enable"] = "CLOSE" },
		"cron":        func() { a.triggers[scheduleFunction][0]["TriggerDesc"] = "0 0 * * * * *" },
		"url": func() {
			tr := a.triggers[httpFunction][0]
			tr["TriggerDesc"] = strings.Replace(tr["TriggerDesc"].(string), `"EnableExtranet":true`, `"EnableExtranet":false`, 1)
		},
		"policy": func() { a.policies["groupimport"]["PolicyDocument"] = `{}` },
		"trust": func() {
			role := a.roles["groupimport-http"]
			role["PolicyDocument"] = strings.Replace(role["PolicyDocument"].(string), "scf.qcloud.com", "cvm.qcloud.com", 1)
		},
		"attachment":   func() { delete(a.attached, "groupimport-http") },
		"instances":    func() { delete(a.reserved, httpFunction) },
		"update fails": func() { f["Status"] = "UpdateFailed" },
		"function": func() {
			delete(a.functions, httpFunction)
			delete(a.triggers, httpFunction)
			delete(a.reserved, httpFunction)
		},
	} {
		change()
		if a.snapshot() == want {
			t.Errorf("%s: nothing was changed", name)
		}
		a.mustDeploy()
		if got := a.snapshot(); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestDeploy_KeepsTheNameOfAURL(t *testing.T) {
	a := newOperator(t)
	a.mustDeploy()
	a.triggers[httpFunction][0]["TriggerName"] = "hulrzrbh9f" // as one made in the console
	a.setEnv(map[string]string{"HttpAuth": "CAM", "HttpToken": ""})
	a.changes = nil
	text := a.mustDeploy()
	if got := a.triggers[httpFunction]; len(got) != 1 || got[0]["TriggerName"] != "hulrzrbh9f" ||
		!strings.Contains(got[0]["TriggerDesc"].(string), `"AuthType":"CAM"`) ||
		!slices.Contains(a.changes, "UpdateTrigger") {
		t.Errorf("got %v by %v, want the same URL for callers that sign", got, a.changes)
	}
	if strings.Contains(text, "Bearer") || !strings.Contains(text, "TC3-HMAC-SHA256") {
		t.Errorf("got %s, want no curl with a token", text)
	}
	env := fmt.Sprint(a.functions[httpFunction]["Environment"])
	if !strings.Contains(env, "HTTP_AUTH Value:CAM") || strings.Contains(env, "HTTP_TOKEN") {
		t.Errorf("got %s", env)
	}
}

func TestDeploy_ChangedParametersEqualANewDeployment(t *testing.T) {
	change := map[string]string{
		"ExportPrefix": "a/b/", "Rate": "100", "HttpToken": "another-token-of-callers", "LogLevel": "debug",
		"BucketName": "others-1250000000",
	}
	fresh := newOperator(t)
	fresh.setEnv(change)
	fresh.write("scf.zip", "a new program")
	fresh.mustDeploy("--one-rule")
	a := newOperator(t)
	a.mustDeploy()
	a.setEnv(change)
	a.write("scf.zip", "a new program")
	a.changes = nil
	a.mustDeploy("--one-rule")
	if got, want := a.snapshot(), fresh.snapshot(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if n := strings.Count(fmt.Sprint(a.changes), "UpdateFunctionCode"); n != 3 {
		t.Errorf("got %d updates of the code in %v, want 3", n, a.changes)
	}
	if got := a.triggers[importFunction]; len(got) != 1 || ruleOf(got[0]).Filter.Suffix != "" {
		t.Errorf("got %v, want one rule", got)
	}
}

func TestDeploy_TakesOverWhatSCFMade(t *testing.T) {
	a := newOperator(t)
	a.mustDeploy()
	want := a.snapshot()
	for _, f := range a.functions { // as the component leaves them
		f["Description"] = "Created by Serverless"
		f["ClsLogsetId"], f["ClsTopicId"] = "SCF_logset", "SCF_logtopic"
	}
	a.changes = nil
	a.mustDeploy()
	if got := a.snapshot(); got != want || slices.Contains(a.changes, "CreateFunction") {
		t.Errorf("got %v and\n%s\nwant\n%s", a.changes, got, want)
	}
}

func TestDeploy_LargeProgramGoesThroughTheBucket(t *testing.T) {
	a := newOperator(t)
	a.write("scf.zip", strings.Repeat("large ", maxZip/6+1))
	a.mustDeploy()
	code := a.functions[importFunction]["Code"].(map[string]any)
	name, _ := code["CosObjectName"].(string)
	if !strings.HasPrefix(name, "/groupimport-code/") || code["ZipFile"] != nil {
		t.Errorf("got code %v, want it from the bucket", code)
	}
	if n := strings.Count(fmt.Sprint(a.changes), "PUT object"); n != 1 {
		t.Errorf("got %d uploads in %v, want one for three functions", n, a.changes)
	}
	if got := a.bucket.Snapshot(); len(got) != 0 {
		t.Errorf("got %d objects left in the bucket", len(got))
	}
	a.changes = nil
	if a.mustDeploy(); len(a.changes) > 0 {
		t.Errorf("the second time made %v", a.changes)
	}
	a.setEnv(map[string]string{"ExportPrefix": ""})
	if text, err := a.deploy(); err == nil || !strings.Contains(text, "ExportPrefix") {
		t.Errorf("got %s, want no code among exports", text)
	}
}

func TestDeploy_SecretsOfSecretsManager(t *testing.T) {
	a := newOperator(t)
	a.setEnv(map[string]string{
		"SecretKey": "", "SecretKeyParameter": "im-key:v1", "HttpToken": "", "HttpTokenParameter": "http-token",
	})
	text, err := a.deploy()
	if err == nil || !strings.Contains(text, "the secret im-key does not exist") || len(a.changes) > 0 {
		t.Errorf("got %s and %v, want an error before any change", text, a.changes)
	}
	a.secrets["im-key"], a.secrets["http-token"] = "Enabled", "Disabled"
	if text, err := a.deploy(); err == nil || !strings.Contains(text, "http-token is Disabled") {
		t.Errorf("got %s", text)
	}
	a.secrets["http-token"] = "Enabled"
	a.mustDeploy()
	const key = "qcs::ssm:ap-guangzhou:uin/100000000001:secret/creatorUin/100000000002/"
	for role, want := range map[string][]string{
		"groupimport": {key + "im-key"}, "groupimport-http": {key + "im-key", key + "http-token"},
	} {
		document, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := a.policies[role]["PolicyDocument"].(string)
		if !strings.Contains(got, `{"action":["ssm:GetSecretValue"],"effect":"allow","resource":`+string(document)+`}`) {
			t.Errorf("%s: got %s, want the right to read %v", role, got, want)
		}
	}
	for name, want := range map[string]bool{importFunction: false, httpFunction: true} {
		env := fmt.Sprint(a.functions[name]["Environment"])
		if !strings.Contains(env, "TIM_SECRET_KEY_PARAMETER Value:im-key:v1") ||
			strings.Contains(env, "Key:TIM_SECRET_KEY ") ||
			strings.Contains(env, "HTTP_TOKEN_PARAMETER Value:http-token") != want {
			t.Errorf("%s: got %s", name, env)
		}
	}
	a.changes = nil
	if a.mustDeploy(); len(a.changes) > 0 {
		t.Errorf("the second time made %v", a.changes)
	}
}

func TestDeploy_LogsOfTheOperator(t *testing.T) {
	a := newOperator(t)
	a.mustDeploy("--log-days", "0")
	if len(a.topics) != 0 || a.functions[importFunction]["ClsTopicId"] != "SCF_logtopic" {
		t.Errorf("got %s, want the logs left to SCF", a.snapshot())
	}
	a.topics["topic-mine"] = map[string]any{"TopicId": "topic-mine", "LogsetId": "logset-mine", "TopicName": "mine"}
	a.logsets["logset-mine"] = map[string]any{"LogsetId": "logset-mine", "LogsetName": "mine"}
	a.mustDeploy("--logset", "logset-mine", "--topic", "topic-mine")
	if got := a.functions[httpFunction]["ClsTopicId"]; got != "topic-mine" || len(a.topics) != 1 {
		t.Errorf("got topic %v of %v", got, a.topics)
	}
	a.mustDeploy("--remove")
	if len(a.topics) != 1 || len(a.logsets) != 1 {
		t.Errorf("got %v, want the operator's topic left", a.topics)
	}
}

func TestPolicy_IsThatOfTheREADME(t *testing.T) {
	to := &target{region: "ap-guangzhou", bucket: "groups-1250000000", prefix: "exports/"}
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		raw, err := os.ReadFile("../../functions/scf/" + name)
		if err != nil {
			t.Fatal(err)
		}
		policies := regexp.MustCompile("(?s)`(groupimport(?:-http)?)` (?:is the role|是).*?```json\n(.*?)```")
		blocks := policies.FindAllStringSubmatch(string(raw), -1)
		if len(blocks) != 2 {
			t.Fatalf("%s: got %d policies, want 2", name, len(blocks))
		}
		for _, block := range blocks {
			policy := to.policy(block[1] == "groupimport-http", nil)
			if !holds(block[2], policy) || !holds(policy, block[2]) {
				t.Errorf("%s: %s: got\n%s\nit has\n%s", name, block[1], policy, block[2])
			}
		}
	}
}

// TestRights_AreTheActionsCalled compares the policy of the deploying account with what deployments call.
func TestRights_AreTheActionsCalled(t *testing.T) {
	a := newOperator(t)
	a.secrets["im-key"] = "Enabled"
	a.mustDeploy()
	a.triggers[importFunction][0]["Enable"] = "CLOSE"
	a.triggers[scheduleFunction][0]["Enable"] = "CLOSE"
	a.roles["groupimport"]["PolicyDocument"] = "{}"
	a.setEnv(map[string]string{"ExportPrefix": "a/", "SecretKey": "", "SecretKeyParameter": "im-key"})
	a.write("scf.zip", strings.Repeat("large ", maxZip/6+1))
	a.mustDeploy("--http-memory", "0")
	a.triggers[importFunction][0]["Enable"] = "CLOSE"
	a.mustDeploy()
	a.mustDeploy("--remove")
	for action, spec := range actions {
		if spec.service != "" && !a.called[spec.service+":"+action] {
			t.Errorf("this test does not call %s", action)
		}
	}
	text := a.mustDeploy("--rights")
	if code := wrongPolicy(text, false); code != "" {
		t.Fatalf("%s: %s", code, text)
	}
	var d policyDocument
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	granted := map[string]bool{}
	for _, s := range d.Statement {
		for _, action := range s.Action {
			granted[action] = true
		}
	}
	for action := range a.called {
		if !granted[action] {
			t.Errorf("%s is called, and the policy lacks it", action)
		}
		delete(granted, action)
	}
	// What calls need besides: of SCF and COS for a trigger, and of cosblob for an object.
	for _, action := range []string{
		"cam:PassRole", "scf:UpdateFunction", "scf:SetTrigger",
		"cos:HeadBucket", "cos:GetBucketNotification", "cos:PutBucketNotification",
		"cos:HeadObject", "cos:GetObject", "cos:PutObject", "cos:InitiateMultipartUpload", "cos:UploadPart",
		"cos:CompleteMultipartUpload", "cos:AbortMultipartUpload", "cos:DeleteObject",
	} {
		if !granted[action] {
			t.Errorf("the policy lacks %s", action)
		}
		delete(granted, action)
	}
	if len(granted) > 0 {
		t.Errorf("the policy grants %v, which nothing needs", granted)
	}
	if !strings.Contains(text, "qcs::cos:ap-guangzhou:uid/1250000000:groups-1250000000/*") {
		t.Errorf("got %s, want the rights on objects in the bucket alone", text)
	}
}

func TestDeploy_SurvivesFaults(t *testing.T) {
	want := newOperator(t)
	want.mustDeploy()
	for _, fault := range []string{
		"drop", "kill", "RequestLimitExceeded", "RequestLimitExceeded.UinLimitExceeded", "InternalError.System",
		"FailedOperation",
	} {
		t.Run(fault, func(t *testing.T) {
			a := newOperator(t)
			a.fault = everySecondChange(fault)
			a.mustDeploy()
			if got := a.snapshot(); got != want.snapshot() {
				t.Errorf("got\n%s\nwant\n%s", got, want.snapshot())
			}
			a.fault = everySecondChange(fault)
			a.mustDeploy("--remove")
			if len(a.functions)+len(a.topics)+len(a.logsets)+len(a.policies) > 0 {
				t.Errorf("got %s, want it removed", a.snapshot())
			}
		})
	}
}

// everySecondChange returns a fault for every second request that changes something, and for every seventh other one.
func everySecondChange(fault string) func(int, string) string {
	n := 0
	return func(request int, action string) string {
		if !isChange(action) {
			if request%7 == 0 {
				return fault
			}
			return ""
		}
		if n++; n%2 == 1 {
			return fault
		}
		return ""
	}
}

func TestDeploy_FailedFunctions(t *testing.T) {
	want := newOperator(t)
	want.mustDeploy()
	a := newOperator(t)
	a.failCreation = 1
	a.mustDeploy()
	if got := a.snapshot(); got != want.snapshot() {
		t.Errorf("got\n%s\nwant\n%s", got, want.snapshot())
	}
	a = newOperator(t)
	a.failCreation = 100
	if text, err := a.deploy(); err == nil || !strings.Contains(text, "CreateFailed, a reason") {
		t.Errorf("got %s, want an error with the reason", text)
	}
	a = newOperator(t)
	a.mustDeploy()
	a.write("scf.zip", "a new program")
	a.failUpdate = 100
	if text, err := a.deploy(); err == nil || !strings.Contains(text, "UpdateFailed, a reason") {
		t.Errorf("got %s, want an error with the reason", text)
	}
	a.failUpdate = 0
	a.mustDeploy()
	a.busy[importFunction] = 1 << 30
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := run(ctx, a.args(), func(string) string { return "" }, io.Discard); err == nil {
		t.Error("a function that is updated for ever ends in no error")
	}
}

func TestDeploy_EndsIfAChangeIsNotKept(t *testing.T) {
	a := newOperator(t)
	a.mustDeploy()
	a.fault = func(_ int, action string) string {
		if action == "GetFunction" {
			a.functions[importFunction]["Timeout"] = 3.0
		}
		return ""
	}
	if text, err := a.deploy(); err == nil || !strings.Contains(text, "made 3 times") {
		t.Errorf("got %s, want an error", text)
	}
}

// TestDeploy_RunAgainAfterKill kills the process of the command before its first request that changes something, and
// after each such request has arrived. A kill between two such requests leaves the same state. The test covers a new
// deployment, an update and a removal.
func TestDeploy_RunAgainAfterKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	large := func(t *testing.T) *operator { // with a program that goes through the bucket
		a := newOperator(t)
		a.write("scf.zip", strings.Repeat("large ", maxZip/6+1))
		return a
	}
	first := newOperator(t)
	first.mustDeploy()
	deployed := func(t *testing.T) *operator {
		a := operatorOf(t, first.clone())
		if got, want := a.snapshot(), first.snapshot(); got != want {
			t.Fatalf("got\n%s\nin a clone, want\n%s", got, want)
		}
		return a
	}
	changed := func(a *operator) *operator {
		a.write("scf.zip", "a new program")
		a.setEnv(map[string]string{"ExportPrefix": "a/", "Rate": "100"})
		return a
	}
	update := []string{"--one-rule", "--http-memory", "1280"}
	fresh := changed(newOperator(t))
	fresh.mustDeploy(update...)
	for name, tt := range map[string]struct {
		prepare func(*testing.T) *operator
		args    []string
		want    string // if it is known without the run that is killed
	}{
		"new":     {large, nil, ""},
		"update":  {func(t *testing.T) *operator { return changed(deployed(t)) }, update, fresh.snapshot()},
		"removal": {deployed, []string{"--remove"}, newOperator(t).snapshot()},
	} {
		whole := tt.prepare(t)
		var all []string
		whole.inject(func(_ int, action string) string { all = append(all, action); return "" })
		whole.mustDeploy(tt.args...)
		want := cmp.Or(tt.want, whole.snapshot())
		start := slices.IndexFunc(all, isChange)
		for n, action := range all {
			for _, fault := range []string{"kill", "drop"} {
				if !isChange(action) || fault == "kill" && n > start {
					continue
				}
				t.Run(fmt.Sprintf("%s %s %d %s", name, fault, n+1, action), func(t *testing.T) {
					t.Parallel()
					a := tt.prepare(t)
					cmd := exec.CommandContext(t.Context(), exe)
					cmd.Env = append(os.Environ(), "DEPLOY_TEST_RUN="+strings.Join(a.args(tt.args...), "\n"))
					var out bytes.Buffer
					cmd.Stdout, cmd.Stderr = &out, &out
					started := make(chan *os.Process, 1)
					a.inject(func(request int, _ string) string {
						if request == n+1 {
							_ = (<-started).Kill()
							return fault
						}
						return ""
					})
					if err := cmd.Start(); err != nil {
						t.Fatal(err)
					}
					started <- cmd.Process
					if err := cmd.Wait(); err == nil {
						t.Fatalf("it was not killed: %s", &out)
					}
					a.inject(nil)
					a.mustDeploy(tt.args...)
					if got := a.snapshot(); got != want {
						t.Errorf("got\n%s\nwant\n%s", got, want)
					}
				})
			}
		}
	}
}

func TestDeploy_RemovesOnlyWhatItMade(t *testing.T) {
	a := newOperator(t)
	a.roles["groupimport"] = map[string]any{"RoleName": "groupimport", "Description": "by hand"}
	a.attached["groupimport"] = "mine"
	a.functions["other"] = map[string]any{"Description": "of somebody else"}
	if err := a.bucket.Put(t.Context(), "exports/acme.jsonl", strings.NewReader("{}")); err != nil {
		t.Fatal(err)
	}
	before := a.snapshot()
	text := a.mustDeploy()
	if a.attached["groupimport"] != "mine" || !strings.Contains(text, "role groupimport: not made by this command") {
		t.Errorf("a role of the operator was changed, or nothing is said: %s", text)
	}
	a.changes = nil
	if text := a.mustDeploy("--remove", "--plan"); len(a.changes) > 0 || !strings.Contains(text, "delete") {
		t.Errorf("--plan made %v: %s", a.changes, text)
	}
	a.mustDeploy("--remove")
	if got := a.snapshot(); strings.ReplaceAll(got, "[]", "null") != strings.ReplaceAll(before, "[]", "null") {
		t.Errorf("got\n%s\nwant\n%s", got, before)
	}
	if text := a.mustDeploy("--remove"); !strings.Contains(text, "done, 0 changes") {
		t.Errorf("the second time: %s", text)
	}
}

// Roles are those of the account: a second deployment must not take away the rights of the first one.
func TestDeploy_TwoInOneAccount(t *testing.T) {
	a := newOperator(t)
	first := a.mustDeploy()
	before := a.snapshot()
	raw, err := os.ReadFile("../../serverless.yml")
	if err != nil {
		t.Fatal(err)
	}
	a.write("test.yml", strings.Replace(string(raw), "stage: prod", "stage: test", 1))
	file := filepath.Join(a.dir, "test.yml")
	a.setEnv(map[string]string{"ExportPrefix": "test/"})
	for _, args := range [][]string{{"--file", file}, {"--file", file, "--plan"}} {
		text, err := a.deploy(args...)
		if err == nil || !strings.Contains(text, "is that of the deployment groupimport-prod-groupimport in ap-guangzhou") ||
			!strings.Contains(text, "HttpRole") {
			t.Errorf("got %s, want the role refused", text)
		}
	}
	a.mustDeploy("--file", file, "--remove")
	if got := a.snapshot(); got != before {
		t.Errorf("the first deployment is now\n%s\nwant\n%s", got, before)
	}
	a.setEnv(map[string]string{"ExportPrefix": "test/", "Role": "gi-test", "HttpRole": "gi-test-http"})
	a.mustDeploy("--file", file, "--one-rule") // the rules of both deployments exceed the limit of a bucket
	if len(a.functions) != 6 || len(a.roles) != 5 || len(a.policies) != 4 || len(a.topics) != 2 {
		t.Errorf("got %s, want both", a.snapshot())
	}
	a.mustDeploy("--file", file, "--remove")
	if got := a.snapshot(); got != before {
		t.Errorf("the first deployment is now\n%s\nwant\n%s\nmade by\n%s", got, before, first)
	}
}

// CAM may return a policy in other words than it was given.
func TestIsSamePolicy(t *testing.T) {
	const want = `{"statement":[{"action":["b","a"],"effect":"allow","resource":["r"]},` +
		`{"action":["c"],"effect":"allow","resource":["s"]}],"version":"2.0"}`
	for got, isSame := range map[string]bool{
		want: true,
		`{"version":"2.0", "statement":[{"effect":"allow","resource":"s","action":"c"},
		  {"effect":"allow","resource":["r"],"action":["a","b"]}]}`: true,
		strings.Replace(want, `"b",`, "", 1):                                                    false,
		strings.Replace(want, "allow", "deny", 1):                                               false,
		strings.Replace(want, `"r"`, `"r","all"`, 1):                                            false,
		strings.Replace(want, `[{`, `[{"action":["*"],"effect":"allow","resource":["*"]},{`, 1): false,
		"{}": false, "": false,
	} {
		if isSamePolicy(got, want) != isSame {
			t.Errorf("%s: got %v", got, !isSame)
		}
	}
}

// Without a right, the error names it.
func TestDeploy_NamesTheRightThatIsMissing(t *testing.T) {
	a := newOperator(t)
	a.secrets["im-key"] = "Enabled"
	a.setEnv(map[string]string{"SecretKey": "", "SecretKeyParameter": "im-key"})
	tried := map[string]bool{}
	for more := true; more; { // the next action that is called once those before are allowed
		more = false
		a.fault = func(_ int, action string) string {
			service := actions[action].service
			if more || tried[action] || service == "" {
				return ""
			}
			more, tried[action] = true, true
			return map[string]string{
				"scf": "UnauthorizedOperation.CAM", "cam": "AuthFailure.UnauthorizedOperation",
				"cls": "OperationDenied.ACLFailed", "ssm": "UnauthorizedOperation",
			}[service]
		}
		denied := maps.Clone(tried)
		text, err := a.deploy()
		for action := range tried {
			if !denied[action] && (err == nil || !strings.Contains(text, "the right "+actions[action].service+":"+action)) {
				t.Errorf("%s is denied: got %s", action, text)
			}
		}
	}
	if len(tried) < 18 {
		t.Errorf("only %d actions were denied: %v", len(tried), tried)
	}
}

func TestDeploy_HidesTheSecretsOfAWebhook(t *testing.T) {
	a := newOperator(t)
	raw, err := os.ReadFile("../../serverless.yml")
	if err != nil {
		t.Fatal(err)
	}
	const address, secret = "https://hooks.example/robot/send?access_token=hidden", "signs-notifications"
	const line = "    - {key: LOG_LEVEL, value: '${env:LogLevel}'}\n"
	a.write("notify.yml", strings.Replace(string(raw), line,
		line+"    - {key: NOTIFY_URL, value: '"+address+"'}\n    - {key: NOTIFY_SECRET, value: "+secret+"}\n", 1))
	a.fault = func(_ int, action string) string {
		if action != "CreateFunction" || a.functions[httpFunction] == nil { // that of HTTP notifies nobody
			return ""
		}
		return "InvalidParameterValue.Param" // the fake quotes the request
	}
	text, err := a.deploy("--file", filepath.Join(a.dir, "notify.yml"))
	if err == nil || !strings.Contains(text, "NOTIFY_URL") || strings.Contains(text, "hidden") ||
		strings.Contains(text, secret) {
		t.Errorf("got %s, want an error without the values", text)
	}
}

func TestDeploy_OneRuleAfterTheBucketWasFull(t *testing.T) {
	a := newOperator(t)
	a.rules = 5
	if text, err := a.deploy(); err == nil || !strings.Contains(text, "--one-rule") {
		t.Errorf("got %s, want the way out", text)
	}
	a.mustDeploy("--one-rule")
	if got := a.triggers[importFunction]; len(got) != 1 {
		t.Errorf("got %v, want one rule", got)
	}
}

func TestDeploy_SaysWhatToDo(t *testing.T) {
	refuse := func(action, code string) func(*operator) {
		return func(a *operator) {
			a.fault = func(_ int, called string) string {
				if called == action || action == "" {
					return code
				}
				return ""
			}
		}
	}
	set := func(name, value string) func(*operator) {
		return func(a *operator) { a.setEnv(map[string]string{name: value}) }
	}
	for name, tt := range map[string]struct {
		prepare func(*operator)
		args    []string
		want    string
	}{
		"a right is missing": {refuse("", "AuthFailure.UnauthorizedOperation"), nil, "--rights"},
		"and one of SCF":     {refuse("CreateFunction", "UnauthorizedOperation.CAM"), nil, "--rights"},
		"keys that expired":  {refuse("", "AuthFailure.TokenFailure"), nil, "have expired"},
		"no service role":    {func(a *operator) { delete(a.roles, "SCF_QcsRole") }, nil, "SCF console"},
		"no rights of it":    {refuse("CreateTrigger", "UnauthorizedOperation.Role"), nil, "SCF_QcsRole"},
		"no CLS":             {refuse("DescribeLogsets", "OperationDenied.AccountNotExists"), nil, "--log-days 0"},
		"no money":           {refuse("CreateFunction", "FailedOperation.AccountInsufficient"), nil, "arrears"},
		"another's trigger": {
			refuse("CreateTrigger", "InvalidParameterValue.CosNotifyRuleConflict"), nil, "Another function",
		},
		"not enough memory": {func(*operator) {}, []string{"--http-memory", "128000"}, "smaller --http-memory"},
		"no bucket": {
			func(a *operator) { a.setCOS(costest.Options{NoBucket: true}) }, nil, "there is no bucket groups-1250000000",
		},
		"another account": {set("BucketName", "groups-1250000001"), nil, "APPID 1250000000"},
		"no APPID":        {set("BucketName", "groups"), nil, "APPID"},
		"a role for both": {set("HttpRole", "groupimport"), nil, "role of its own"},
		"no key":          {set("SecretKey", ""), nil, "SecretKeyParameter"},
		"two keys":        {set("SecretKeyParameter", "x"), nil, "are both set"},
		"no token":        {set("HttpToken", ""), nil, "openssl rand"},
		"a token for CAM": {set("HttpAuth", "CAM"), nil, "empty HttpToken"},
		"unknown auth":    {set("HttpAuth", "token"), nil, "want NONE or CAM"},
		"no app":          {set("SdkAppId", ""), nil, "SDKAppID"},
		"a short token":   {set("HttpToken", "short"), nil, "HTTP_TOKEN"},
		"no number":       {set("Rate", "fast"), nil, "TIM_RATE"},
		"too fast":        {set("Rate", "300"), nil, "TIM_RATE"},
		"a parameter lacks": {func(a *operator) {
			a.write(".env", "TENCENT_SECRET_ID=a\nTENCENT_SECRET_KEY="+accountKey)
		}, nil, ".env lacks"},
		"no equals sign":  {func(a *operator) { a.write(".env", "Region ap-guangzhou") }, nil, "line 1"},
		"no account":      {set("TENCENT_SECRET_ID", ""), nil, "TENCENTCLOUD_SECRET_ID"},
		"half a topic":    {func(*operator) {}, []string{"--topic", "x"}, "--logset"},
		"odd memory":      {func(*operator) {}, []string{"--http-memory", "100"}, "multiple of 128"},
		"another machine": {func(*operator) {}, []string{"--endpoint", "192.0.2.1:80"}, "this machine"},
		"an argument":     {func(*operator) {}, []string{"plan"}, "unknown argument"},
		"a policy by hand": {func(a *operator) {
			a.policies["groupimport"] = map[string]any{"PolicyName": "groupimport", "PolicyId": 1.0, "Description": "mine"}
		}, nil, "rename it"},
		"another runtime": {func(a *operator) {
			a.functions[importFunction] = map[string]any{"Runtime": "Nodejs18.15", "Status": "Active", "Description": ""}
		}, nil, "has runtime Nodejs18.15"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newOperator(t)
			tt.prepare(a)
			if text, err := a.deploy(tt.args...); err == nil || !strings.Contains(text, tt.want) {
				t.Errorf("got %s, want an error with %q", text, tt.want)
			}
		})
	}
}
