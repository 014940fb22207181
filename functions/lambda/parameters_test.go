package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"groupimport/pkg/config"
	"groupimport/pkg/mapping"
	"groupimport/pkg/results"
)

// A parameter is a parameter of the template, with values that a deployment accepts and values that it refuses.
type parameter struct {
	variable      string // that it sets; empty if the platform alone uses it
	good, refused []string
}

// parameters returns all parameters of the template.
func parameters() map[string]parameter {
	yesNo := []string{"true", "false"}
	notYesNo := []string{"", "yes", "1", "TRUE"}
	key := parameter{
		"",
		[]string{
			"", "arn:aws:kms:eu-central-1:123456789012:key/0a-b", "arn:aws-cn:kms:cn-north-1:123456789012:key/mrk-1",
		},
		[]string{
			"arn:aws:kms:eu-central-1:123456789012:alias/mine", "alias/mine", "0a-b", "arn:aws:kms:eu-central-1:1:key/k",
			"arn:aws:kms:eu-central-1:123456789012:key/" + strings.Repeat("a", 2048),
		},
	}
	ofSSM := []string{
		"", "k", "/", "/a/", "//a", "/a b", "arn:aws:ssm:eu-central-1:123456789012:parameter/k",
		strings.Repeat("/a", 16), "/" + strings.Repeat("a", 1011),
	}
	return map[string]parameter{
		"BucketName": {
			"EXPORT_BUCKET",
			[]string{"groups", "a.b-c", "a--b", "123", strings.Repeat("a", 63)},
			[]string{"", "ab", "Groups", "-ab", "ab-", "a..b", "a_b", strings.Repeat("a", 64), "arn:aws:s3:::groups"},
		},
		"CreateBucket": {"", yesNo, notYesNo},
		"ExportPrefix": {
			"EXPORT_PREFIX",
			[]string{"", "exports/", "a/b/", "Team (1)/2026!/"},
			[]string{
				"exports", "/", "/exports/", "a//b/", "a/./", "../", ".hidden/", "a*/", `a\b/`, "a?/", " a/",
				strings.Repeat("a", 256) + "/",
			},
		},
		"BucketKmsKeyArn": key,
		"SecretKmsKeyArn": key,
		"KmsKeyArn":       key,
		"SdkAppId": {
			"TIM_SDKAPPID",
			[]string{"1", "20000001", "1400000000"},
			[]string{"", "0", "-1", "1.5", "1e9", "x", "01", "14000000000"},
		},
		"Admin": {
			"TIM_ADMIN",
			[]string{"administrator", "the admin", strings.Repeat("a", 32)},
			[]string{"", " ", " a", "a ", "管理员", strings.Repeat("a", 33)},
		},
		"SecretKeyParameter": {"TIM_SECRET_KEY_PARAMETER", []string{"/groupimport/secret-key", "/k"}, ofSSM},
		"ExportEncoding": {
			"EXPORT_ENCODING",
			[]string{"utf-8", "gbk", "gb18030", "big5", "shift_jis", "windows-1252"},
			[]string{"", "klingon", "gbk "},
		},
		"TimeZone": {
			"EXPORT_TIME_ZONE",
			[]string{"", "UTC", "+08:00", "-03:30", "+14:59"},
			[]string{"8", "+8", "+08", "+15:00", "+08:60", "utc", "CST", "Local"},
		},
		"Records": {
			"RECORDS",
			[]string{"", "data", "data.groupInfos", "groups.*", "*", "数据.群", "**"},
			[]string{".", "a.", ".a", "a..b", "*.a", strings.Repeat("a", 257), strings.Repeat("a.", 16) + "a"},
		},
		"TimRegion": {"TIM_REGION", []string{"china", "siliconvalley"}, []string{"", "China", "usa"}},
		"TimEndpoint": {
			"TIM_ENDPOINT",
			[]string{"", "https://im.example.com", "https://10.0.0.1:8443/im/"},
			[]string{
				"http://im.example.com", "im.example.com", "https://", "https://u:p@im.example.com",
				"https://im.example.com?x=1", "https://im.example.com#x", "ftp://im.example.com",
				"https://" + strings.Repeat("a", 256),
			},
		},
		"Mapping": {
			"MAPPING", append(mapping.Names(), "", "auto", "exports/own.jq", "群/own.jq"),
			[]string{
				"telegram", "Slack", "slack ", ".jq", "own.js", "/own.jq", "a//own.jq", "*.jq", `a\b.jq`, "slack.jq\n",
				strings.Repeat("a", 1022) + ".jq",
			},
		},
		"Rate":       {"TIM_RATE", []string{"0.1", "180", "190", "12.5"}, []string{"", "0", "191", "-1", "fast"}},
		"MemberRate": {"TIM_MEMBER_RATE", []string{"0.1", "180", "190", "12.5"}, []string{"", "0", "191", "-1", "fast"}},
		"MembersPerCall": {
			"MEMBERS_PER_CALL", []string{"1", "20", "99", "100", "299", "300"}, []string{"", "0", "301", "2.5", "-1", "05"},
		},
		"Members":        {"MEMBERS", yesNo, notYesNo},
		"ImportAccounts": {"IMPORT_ACCOUNTS", yesNo, notYesNo},
		"FieldLimits":    {"FIELD_LIMITS", []string{"document", "extended"}, []string{"", "Document", "none"}},
		"AvChatRoom":     {"AVCHATROOM", []string{"reject", "create"}, []string{"", "Create", "true"}},
		"AssignGroupIds": {"ASSIGN_GROUP_IDS", yesNo, notYesNo},
		"MaxAttempts": {
			"MAX_ATTEMPTS",
			[]string{"1", "9", "10", "19", "20"},
			[]string{"", "0", "21", "2.5", "-1", "05"},
		},
		"ParallelImports": {
			"PARALLEL_IMPORTS",
			[]string{"1", "8", "9", "10", "29", "32"},
			[]string{"", "0", "33", "2.5", "-1", "05"},
		},
		"StopShare":       {"STOP_SHARE", []string{"0", "0.25", "1"}, []string{"", "-0.1", "1.1", "50%"}},
		"RetryUnknown":    {"RETRY_UNKNOWN", yesNo, notYesNo},
		"CreateUnmatched": {"CREATE_UNMATCHED", yesNo, notYesNo},
		"IncludeArchived": {"INCLUDE_ARCHIVED", yesNo, notYesNo},
		"UsersStrict":     {"USERS_STRICT", yesNo, notYesNo},
		"Users": {
			"USERS",
			[]string{"", "users.users", "tables/群.txt", "exports/a.tsv"},
			[]string{
				"users.csv", "users", ".txt", "/a.txt", "a//b.txt", "*.txt", "a.users\n", strings.Repeat("a", 1021) + ".txt",
			},
		},
		"ReserveConcurrency": {"", yesNo, notYesNo},
		"Memory":             {"", []string{"128", "10240"}, []string{"", "127", "10241", "x"}},
		"HttpAuth":           {"", []string{"AWS_IAM", "NONE"}, []string{"", "iam"}},
		"HttpTokenParameter": {"HTTP_TOKEN_PARAMETER", []string{"/groupimport/http-token", "/t"}, ofSSM},
		"NotifyParameter": {
			"NOTIFY_PARAMETER",
			[]string{"", "/groupimport/notify", "/n"},
			append(slices.Clone(ofSSM[1:]), "/"+strings.Repeat("a", 128)),
		},
		"NotifyFormat":     {"NOTIFY_FORMAT", []string{"json", "slack", "wecom", "dingtalk", "feishu"}, []string{"", "xml"}},
		"LogLevel":         {"LOG_LEVEL", []string{"debug", "info", "warn", "error"}, []string{"", "trace"}},
		"LogRetentionDays": {"", []string{"1", "3653"}, []string{"", "2", "0"}},
		"AlarmEmail": {
			"",
			[]string{"", "ops@example.com"},
			[]string{"ops", "a@b@c", "ops@example.com, b@example.com", "@", strings.Repeat("a", 254) + "@b"},
		},
	}
}

// The program must accept every value that a deployment accepts. Otherwise every invocation fails.
func TestTemplate_ParametersAgreeWithTheProgram(t *testing.T) {
	tp := loadTemplate(t, nil)
	all := parameters()
	if got, want := slices.Sorted(maps.Keys(tp.constraints)), slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
		t.Fatalf("got the parameters %v, want %v", got, want)
	}
	for name, p := range all {
		set := map[string]any{}
		if name == "HttpTokenParameter" {
			set["HttpAuth"] = "NONE"
		}
		for _, value := range p.refused {
			if tp.accepts(name, value) {
				t.Errorf("the template accepts %s=%q", name, value)
			}
		}
		for _, value := range p.good {
			set[name] = value
			with := loadTemplate(t, set) // says if it refuses one
			for _, function := range with.functions() {
				env := with.env(function)
				isFixed := function == "HttpFunction" && (p.variable == "TIM_RATE" || p.variable == "TIM_MEMBER_RATE")
				if got, ok := env[p.variable]; p.variable != "" && ok && got != value && !isFixed {
					t.Errorf("%s: got %s=%q, want %q", function, p.variable, got, value)
				}
				with.config(function) // says if it refuses any
			}
		}
		defaults, _ := tp.constraints[name].(map[string]any)["Default"]
		required := defaults == nil
		if want := name == "BucketName" || name == "SdkAppId"; required != want {
			t.Errorf("%s: required: %v, want %v", name, required, want)
		}
		if !required && !tp.accepts(name, fmt.Sprint(defaults)) {
			t.Errorf("the template refuses the default of %s, %v", name, defaults)
		}
	}
}

// Each parameter has a description and bounds. The variables of a function have at most 4 KB together, even with the
// longest values (Lambda quotas, read 2026-11).
func TestTemplate_ParametersAreBounded(t *testing.T) {
	tp := loadTemplate(t, nil)
	longest := map[string]int{} // by variable
	for name, p := range parameters() {
		c := tp.constraints[name].(map[string]any)
		if c["Description"] == nil {
			t.Errorf("%s has no description", name)
		}
		values, _ := c["AllowedValues"].([]any)
		for _, v := range values {
			longest[p.variable] = max(longest[p.variable], len(fmt.Sprint(v)))
		}
		switch most, ok := c["MaxLength"].(int); {
		case c["Type"] == "Number" && values == nil:
			if c["MinValue"] == nil || c["MaxValue"] == nil {
				t.Errorf("%s: got %v, want bounds", name, c)
			}
			longest[p.variable] = 10
		case values == nil:
			if c["AllowedPattern"] == nil || c["ConstraintDescription"] == nil || !ok {
				t.Errorf("%s: got %v, want a pattern, its description, and a maximum length", name, c)
			}
			longest[p.variable] = most
		}
	}
	token := loadTemplate(t, map[string]any{"HttpAuth": "NONE"})
	for _, function := range tp.functions() {
		size := 0
		for variable, value := range token.env(function) {
			size += len(variable) + max(longest[variable], len(value))
		}
		if size > 4096 {
			t.Errorf("%s: got up to %d bytes of variables", function, size)
		}
	}
}

// The template refuses every value that the program refuses.
func TestTemplate_RefusesInvalidParameters(t *testing.T) {
	tp := loadTemplate(t, nil)
	samples := map[string]bool{}
	for _, p := range parameters() {
		for _, value := range append(slices.Clone(p.good), p.refused...) {
			samples[value] = true
		}
	}
	for name, p := range parameters() {
		if p.variable == "" {
			continue
		}
		for value := range samples {
			env := tp.env("ImportFunction")
			env[p.variable] = value
			if _, err := config.FromEnv(func(name string) string { return env[name] }); err != nil && tp.accepts(name, value) {
				t.Errorf("the template accepts %s=%q: %v", name, value, err)
			}
		}
	}
}

func TestTemplate_TokenIsReadWithoutIAMOnly(t *testing.T) {
	const name = "/my/token"
	with := loadTemplate(t, map[string]any{"HttpAuth": "NONE", "HttpTokenParameter": name})
	if c := with.config("HttpFunction"); c.HTTPTokenParameter != name || c.HTTPPlatform {
		t.Errorf("got the token of %q, platform %v, want the token", c.HTTPTokenParameter, c.HTTPPlatform)
	}
	// A deployment without a parameter keeps the value of the previous deployment.
	iam := loadTemplate(t, map[string]any{"HttpAuth": "AWS_IAM", "HttpTokenParameter": name})
	if c := iam.config("HttpFunction"); c.HTTPTokenParameter != "" || !c.HTTPPlatform {
		t.Errorf("got the token of %q, platform %v, want the platform", c.HTTPTokenParameter, c.HTTPPlatform)
	}
}

func TestTemplate_PrefixIsAFolderOfThePolicies(t *testing.T) {
	for _, prefix := range []string{"", "exports/", "a/b/"} {
		tp := loadTemplate(t, map[string]any{"ExportPrefix": prefix, "Mapping": "own/slack.jq"})
		if got := tp.config("ImportFunction").Prefix; got != prefix {
			t.Errorf("got the prefix %q, want %q", got, prefix)
		}
		n := results.Names{Export: prefix + "a.jsonl"}
		for _, key := range []string{results.RateNames(prefix).Work() + "lease/000001", n.Results()} {
			if !tp.allowed("ImportFunction", "s3:PutObject", "arn:aws:s3:::groups/"+key) {
				t.Errorf("%s may not be written", key)
			}
		}
		if !tp.allowed("ScheduleFunction", "s3:GetObject", "arn:aws:s3:::groups/own/slack.jq") {
			t.Error("the mapping may not be read")
		}
	}
}
