package main

import (
	"bytes"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv("DEPLOY_TEST_RUN") != "" { // the command itself, for the test of kills
		pause = 5 * time.Millisecond
		os.Args = append(os.Args[:1], strings.Split(os.Getenv("DEPLOY_TEST_RUN"), "\n")...)
		main()
		os.Exit(0)
	}
	pause = time.Millisecond
	os.Exit(m.Run())
}

const (
	secretKey  = "the-key-of-the-app"
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
	a := &operator{fake: newFake(), t: t, dir: t.TempDir()}
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
	text := out.String() + fmt.Sprint(err)
	for _, secret := range []string{secretKey, token, accountKey} {
		if strings.Contains(text, secret) {
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

func TestDeploy_MakesEverythingAndThenNothing(t *testing.T) {
	a := newOperator(t)
	if text := a.mustDeploy("--plan"); len(a.changes) > 0 || !strings.Contains(text, "create") {
		t.Errorf("--plan made %v and printed %s", a.changes, text)
	}
	text := a.mustDeploy()
	if !strings.Contains(text, "https://1250000000-abc.ap-guangzhou.tencentscf.com/imports") {
		t.Errorf("got %s, want a curl to try", text)
	}
	if len(a.functions) != 3 || len(a.roles) != 2 || len(a.policies) != 2 || len(a.attached) != 2 {
		t.Errorf("got %s", a.snapshot())
	}
	for name, rules := range map[string]int{"import": 8, "schedule": 1, "http": 1} {
		if got := a.triggers["groupimport-prod-groupimport-"+name]; len(got) != rules {
			t.Errorf("%s: got triggers %v, want %d", name, got, rules)
		}
	}
	if got := a.reserved["groupimport-prod-groupimport-http"]; got != 2560.0 {
		t.Errorf("got %v MB reserved", got)
	}
	a.changes = nil
	if text := a.mustDeploy(); len(a.changes) > 0 {
		t.Errorf("the second time made %v\n%s", a.changes, text)
	}
}

func TestDeploy_RepairsDrift(t *testing.T) {
	a := newOperator(t)
	a.mustDeploy()
	want := a.snapshot()
	f := a.functions["groupimport-prod-groupimport-import"]
	for name, change := range map[string]func(){
		"variables": func() { f["Environment"] = map[string]any{} },
		"timeout":   func() { f["Timeout"] = 3.0 },
		"memory":    func() { f["MemorySize"] = 128.0 },
		"role":      func() { f["Role"] = "other" },
		"rules": func() {
			a.triggers["groupimport-prod-groupimport-import"] = a.triggers["groupimport-prod-groupimport-import"][3:]
		},
		"timer":      func() { a.triggers["groupimport-prod-groupimport-schedule"][0]["Enable"] = "CLOSE" },
		"policy":     func() { a.policies["groupimport"]["PolicyDocument"] = `{}` },
		"attachment": func() { delete(a.attached, "groupimport-http") },
		"instances":  func() { delete(a.reserved, "groupimport-prod-groupimport-http") },
	} {
		change()
		a.mustDeploy()
		if got := a.snapshot(); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
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
	if got := a.triggers["groupimport-prod-groupimport-import"]; len(got) != 1 || suffix(got[0]) != "" {
		t.Errorf("got %v, want one rule", got)
	}
}

func TestPolicy_IsThatOfTheREADME(t *testing.T) {
	raw, err := os.ReadFile("../../functions/scf/README.md")
	if err != nil {
		t.Fatal(err)
	}
	to := &target{region: "ap-guangzhou", bucket: "groups-1250000000", prefix: "exports/"}
	blocks := regexp.MustCompile("(?s)`(groupimport(?:-http)?)` is the role.*?```json\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	if len(blocks) != 2 {
		t.Fatalf("got %d policies in README.md, want 2", len(blocks))
	}
	for _, block := range blocks {
		policy := to.policy(block[1] == "groupimport-http")
		if !holds(block[2], policy) || !holds(policy, block[2]) {
			t.Errorf("%s: got\n%s\nREADME.md has\n%s", block[1], policy, block[2])
		}
	}
}

func TestDeploy_SurvivesFaults(t *testing.T) {
	want := newOperator(t)
	want.mustDeploy()
	for _, fault := range []string{"drop", "RequestLimitExceeded", "InternalError", "FailedOperation"} {
		t.Run(fault, func(t *testing.T) {
			a := newOperator(t)
			a.fault = everySecondChange(fault)
			a.mustDeploy()
			if got := a.snapshot(); got != want.snapshot() {
				t.Errorf("got\n%s\nwant\n%s", got, want.snapshot())
			}
		})
	}
}

// everySecondChange returns a fault for every second request that changes something.
func everySecondChange(fault string) func(int, string) string {
	n := 0
	return func(_ int, action string) string {
		if strings.HasPrefix(action, "Get") || strings.HasPrefix(action, "List") {
			return ""
		}
		if n++; n%2 == 1 {
			return fault
		}
		return ""
	}
}

func TestDeploy_KilledAnywhereIsHealed(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	want := newOperator(t)
	want.mustDeploy()
	for kill := 1; kill <= len(want.changes); kill += 3 {
		a := newOperator(t)
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), "DEPLOY_TEST_RUN="+strings.Join(a.args(), "\n"))
		seen := 0
		a.fault = func(_ int, action string) string {
			if !strings.HasPrefix(action, "Get") && !strings.HasPrefix(action, "List") {
				if seen++; seen == kill {
					_ = cmd.Process.Kill()
					return "drop"
				}
			}
			return ""
		}
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Fatalf("it was not killed: %s", out)
		}
		a.mustDeploy()
		if got := a.snapshot(); got != want.snapshot() {
			t.Errorf("killed at change %d: got\n%s\nwant\n%s", kill, got, want.snapshot())
		}
	}
}

func TestDeploy_RemovesOnlyWhatItMade(t *testing.T) {
	a := newOperator(t)
	a.roles["groupimport"] = map[string]any{"RoleName": "groupimport", "Description": "by hand"}
	a.attached["groupimport"] = "mine"
	a.functions["other"] = map[string]any{"Description": "of somebody else"}
	before := a.snapshot()
	a.mustDeploy()
	if a.attached["groupimport"] != "mine" {
		t.Error("a role of the operator was changed")
	}
	a.mustDeploy("--remove")
	if got := a.snapshot(); strings.ReplaceAll(got, "[]", "null") != strings.ReplaceAll(before, "[]", "null") {
		t.Errorf("got\n%s\nwant\n%s", got, before)
	}
	if text := a.mustDeploy("--remove"); !strings.Contains(text, "done, 0 changes") {
		t.Errorf("the second time: %s", text)
	}
}

func TestDeploy_SaysWhatToDo(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*operator)
		want    string
	}{
		"too few rules left": {func(a *operator) { a.rules = 5 }, "--one-rule"},
		"a right is missing": {func(a *operator) {
			a.fault = func(int, string) string { return "AuthFailure.UnauthorizedOperation" }
		}, "--rights"},
		"no APPID":          {func(a *operator) { a.setEnv(map[string]string{"BucketName": "groups"}) }, "APPID"},
		"a role for both":   {func(a *operator) { a.setEnv(map[string]string{"HttpRole": "groupimport"}) }, "role of its own"},
		"a parameter lacks": {func(a *operator) { a.write(".env", "TENCENT_SECRET_ID=a\nTENCENT_SECRET_KEY="+accountKey) }, ".env lacks"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newOperator(t)
			tt.prepare(a)
			if text, err := a.deploy(); err == nil || !strings.Contains(text, tt.want) {
				t.Errorf("got %s, want an error with %q", text, tt.want)
			}
		})
	}
}
