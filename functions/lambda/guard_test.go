package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// guardPackage has AWS's Control Tower rules and cfn-guard, which checks them, after npm ci in scripts/guard. The file
// needs no node: AWS ships it as a program for each platform.
const guardPackage = "../../scripts/guard/node_modules/@cdklabs/cdk-validator-cfnguard"

// The deployments that the rules are applied to.
const (
	defaults = "defaults"
	reviewed = "reviewed" // by a security reviewer: hardened
	withURL  = "token"    // the function checks the callers of a URL that is public
)

// An argument explains why a failing rule of Control Tower is acceptable.
type argument struct {
	in        string // deployments
	resources string
	because   string
}

// arguments has every rule that fails. A rule that begins to fail, or no longer fails, fails the test.
var arguments = map[string]argument{
	"CT.LAMBDA.PR.2": {
		withURL, "HttpInvokePublic HttpUrlPublic",
		"HttpAuth=NONE asks for a public URL, and the function checks a token; AWS_IAM is the default",
	},
	"CT.LAMBDA.PR.3": {
		defaults + " " + reviewed + " " + withURL, "HttpFunction ImportFunction ScheduleFunction",
		"the functions call the IM service on the internet and nothing in a VPC, where they would need a NAT gateway",
	},
	"CT.LAMBDA.PR.5": {
		withURL, "HttpFunctionUrl",
		"as CT.LAMBDA.PR.2",
	},
	"CT.S3.PR.2": {
		defaults + " " + reviewed + " " + withURL, "Bucket",
		"access logs need another bucket; an account that wants them has CloudTrail's data events for all buckets",
	},
	"CT.S3.PR.9": {
		defaults + " " + reviewed + " " + withURL, "Bucket",
		"the program deletes finished work and outdated dead-letter files, which a lock would forbid",
	},
	"CT.S3.PR.10": {
		defaults + " " + withURL, "Bucket",
		"S3's own encryption is the default; KmsKeyArn sets a key",
	},
	"CT.S3.PR.11": {
		defaults + " " + reviewed + " " + withURL, "Bucket",
		"progress is written every 5 s, each time a version to pay for; results of older exports are archived by name",
	},
	"CT.SQS.PR.1": {
		defaults + " " + reviewed + " " + withURL, "FailureQueue",
		"it is a dead-letter queue itself, and nothing consumes it",
	},
	"CT.CLOUDWATCH.PR.1": {
		defaults + " " + withURL, "every alarm",
		"there is no default address; AlarmEmail sets one",
	},
	"CT.CLOUDWATCH.PR.2": {
		defaults + " " + withURL, "HttpLog ImportLog ScheduleLog",
		"30 days are enough to find a fault, and results stay in the bucket; LogRetentionDays=365 keeps a year",
	},
	"CT.CLOUDWATCH.PR.3": {
		defaults + " " + withURL, "HttpLog ImportLog ScheduleLog",
		"CloudWatch's own encryption is the default; KmsKeyArn sets a key",
	},
}

// expanded returns the resources that a deployment creates. It expands functions as SAM does, but only to the resources
// that rules check: functions, their URLs and roles.
func (tp *template) expanded() map[string]any {
	resources := map[string]any{}
	for name, r := range tp.at("Resources").(map[string]any) {
		r := r.(map[string]any)
		if condition, ok := r["Condition"].(string); ok && !tp.conditions[condition] {
			continue
		}
		resources[name] = r
		if r["Type"] != "AWS::Serverless::Function" {
			continue
		}
		resource := func(kind string, properties any) map[string]any {
			return map[string]any{"Type": kind, "Properties": properties}
		}
		properties := map[string]any{}
		for _, from := range []any{tp.at("Globals", "Function"), r["Properties"]} {
			maps.Copy(properties, from.(map[string]any))
		}
		resources[name] = resource("AWS::Lambda::Function", properties)
		resources[name+"Role"] = resource("AWS::IAM::Role", map[string]any{
			"AssumeRolePolicyDocument": map[string]any{}, "ManagedPolicyArns": properties["Policies"],
		})
		if url := properties["FunctionUrlConfig"]; url != nil {
			resources[name+"Url"] = resource("AWS::Lambda::Url", url)
		}
	}
	return resources
}

// guard returns the rules that fail for resources, and the names of the resources that each fails for. passed is the
// number of rules that are about resources of these types and pass.
func guard(t *testing.T, resources map[string]any) (failing map[string][]string, passed int) {
	t.Helper()
	platform := map[string]string{"linux": "ubuntu", "darwin": "macos"}[runtime.GOOS]
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	program := filepath.Join(guardPackage, "bin", platform, machine, "cfn-guard")
	if _, err := os.Stat(program); err != nil {
		t.Skip("without cfn-guard and Control Tower's rules: npm ci in scripts/guard gets them, or scripts/setup")
	}
	document, err := json.Marshal(map[string]any{"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "template.json")
	if err := os.WriteFile(file, document, 0o600); err != nil {
		t.Fatal(err)
	}
	// The status is 19 if a rule fails, 0 if none does.
	out, err := exec.CommandContext(t.Context(), program, "validate", "--data", file, "--structured",
		"--rules", filepath.Join(guardPackage, "rules/control-tower/cfn-guard"),
		"--output-format", "json", "--show-summary", "none").Output()
	var reports []struct {
		Failing []struct {
			Rule struct {
				Name   string           `json:"name"`
				Checks []map[string]any `json:"checks"`
			} `json:"Rule"`
		} `json:"not_compliant"`
		Passing []string `json:"compliant"`
	}
	if decodeErr := json.Unmarshal(out, &reports); decodeErr != nil || len(reports) != 1 {
		t.Fatalf("got %s, %v, %v", out, decodeErr, err)
	}
	failing = map[string][]string{}
	for _, f := range reports[0].Failing {
		text := fmt.Sprint(f.Rule.Checks)
		id := regexp.MustCompile(`\[(CT\.[A-Z0-9]+\.PR\.[0-9]+)\]`).FindStringSubmatch(text)
		if id == nil {
			t.Fatalf("%s fails without saying its number: %s", f.Rule.Name, text)
		}
		for _, m := range regexp.MustCompile(`path:/Resources/(\w+)/`).FindAllStringSubmatch(text, -1) {
			if !slices.Contains(failing[id[1]], m[1]) {
				failing[id[1]] = append(failing[id[1]], m[1])
			}
		}
		slices.Sort(failing[id[1]])
	}
	return failing, len(reports[0].Passing)
}

func TestTemplateGuard_FailingRulesAreArgued(t *testing.T) {
	t.Parallel()
	for name, tp := range map[string]*template{
		defaults: loadTemplate(t, nil),
		reviewed: hardened(t),
		withURL:  loadTemplate(t, map[string]any{"HttpAuth": "NONE"}),
	} {
		failing, passed := guard(t, tp.expanded())
		if passed < 8 {
			t.Errorf("%s: only %d rules pass: are they all there?", name, passed)
		}
		for rule, resources := range failing {
			a, argued := arguments[rule]
			got := strings.Join(resources, " ")
			if slices.Equal(resources, tp.ofType("AWS::CloudWatch::Alarm")) {
				got = "every alarm"
			}
			if !argued || !slices.Contains(strings.Fields(a.in), name) || got != a.resources {
				t.Errorf("%s: %s fails for %s. Satisfy it, or say in arguments why not", name, rule, got)
			}
		}
		for rule, a := range arguments {
			if failing[rule] == nil && slices.Contains(strings.Fields(a.in), name) {
				t.Errorf("%s: %s does not fail: its argument is out of date", name, rule)
			}
			if a.because == "" {
				t.Errorf("%s has no argument", rule)
			}
		}
	}
}
