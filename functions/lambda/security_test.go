package main

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

const keyARN = "arn:aws:kms:eu-central-1:123456789012:key/0a-b"

// hardened returns the template as a security reviewer deploys it.
func hardened(t *testing.T) *template {
	t.Helper()
	return loadTemplate(t, map[string]any{
		"KmsKeyArn": keyARN, "AlarmEmail": "ops@example.com", "LogRetentionDays": 365,
	})
}

// ofType returns the names of the resources of a type.
func (tp *template) ofType(kind string) []string {
	var names []string
	for name := range tp.at("Resources").(map[string]any) {
		if tp.at("Resources", name, "Type") == kind {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// property returns the value of a property of a resource as text. path has the names, separated by spaces.
func (tp *template) property(resource, path string) string {
	return fmt.Sprint(tp.at(append([]string{"Resources", resource, "Properties"}, strings.Fields(path)...)...))
}

// statements returns the statements of a policy as text.
func (tp *template) statements(policy string) []string {
	var all []string
	for _, s := range tp.list("Resources", policy, "Properties", "PolicyDocument", "Statement") {
		s := s.(map[string]any)
		delete(s, "Sid")
		all = append(all, fmt.Sprint(s))
	}
	return all
}

func TestTemplateSecurity_NoRequestWithoutTLS(t *testing.T) {
	tp := hardened(t)
	const deny = "map[Action:%s Condition:map[Bool:map[aws:SecureTransport:false]] Effect:Deny Principal:* Resource:%s]"
	for _, kind := range []struct{ of, policy, field, action, resource string }{
		{"AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket", "s3:*", "[arn:aws:s3:::groups arn:aws:s3:::groups/*]"},
		{"AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues", "sqs:*", "FailureQueue.Arn"},
		{"AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "Topics", "sns:Publish", "Alarms"},
	} {
		var refuse []string
		for _, policy := range tp.ofType(kind.policy) {
			name := strings.Trim(tp.property(policy, kind.field), "[]")
			if got, want := tp.at("Resources", policy, "Condition"), tp.at("Resources", name, "Condition"); got != want {
				t.Errorf("%s has the condition %v, and %s has %v", policy, got, name, want)
			}
			if slices.Contains(tp.statements(policy), fmt.Sprintf(deny, kind.action, kind.resource)) {
				refuse = append(refuse, name)
			}
		}
		all := tp.ofType(kind.of)
		if slices.Sort(refuse); !slices.Equal(refuse, all) || len(all) == 0 {
			t.Errorf("%s: got TLS required by %v, want by %v", kind.of, refuse, all)
		}
	}
}

func TestTemplateSecurity_OneKeyForWhatTheStackCreates(t *testing.T) {
	plain, own := loadTemplate(t, nil), hardened(t)
	const rule = "BucketEncryption ServerSideEncryptionConfiguration"
	for _, c := range []struct{ kind, path, plain, own string }{
		{
			"AWS::S3::Bucket", rule, "[map[ServerSideEncryptionByDefault:map[SSEAlgorithm:AES256]]]",
			"[map[BucketKeyEnabled:true ServerSideEncryptionByDefault:map[KMSMasterKeyID:" + keyARN + " SSEAlgorithm:aws:kms]]]",
		},
		{"AWS::SQS::Queue", "KmsMasterKeyId", "<nil>", keyARN},
		{"AWS::SQS::Queue", "SqsManagedSseEnabled", "true", "<nil>"}, // both at once are refused
		{"AWS::SNS::Topic", "KmsMasterKeyId", "<nil>", keyARN},
		{"AWS::Logs::LogGroup", "KmsKeyId", "<nil>", keyARN},
	} {
		for _, name := range plain.ofType(c.kind) {
			if got, want := plain.property(name, c.path), c.plain; got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
			if got, want := own.property(name, c.path), c.own; got != want {
				t.Errorf("%s with a key: got %s, want %s", name, got, want)
			}
		}
	}
	for _, function := range own.functions() {
		for _, action := range []string{"kms:Decrypt", "kms:GenerateDataKey"} {
			if !own.allowed(function, action, keyARN) || plain.allowed(function, action, keyARN) {
				t.Errorf("%s must be allowed to %s with the key, only if the stack has a key", function, action)
			}
		}
		existing := loadTemplate(t, map[string]any{"BucketKmsKeyArn": keyARN, "CreateBucket": "false"})
		if !existing.allowed(function, "kms:GenerateDataKey", keyARN) {
			t.Errorf("%s may not use the key of an existing bucket", function)
		}
		secret := loadTemplate(t, map[string]any{"SecretKmsKeyArn": keyARN})
		if !secret.allowed(function, "kms:Decrypt", keyARN) || secret.allowed(function, "kms:GenerateDataKey", keyARN) {
			t.Errorf("%s must be allowed to decrypt with the key of the SSM parameters, and not to encrypt", function)
		}
	}
}

func TestTemplateSecurity_UndeliveredEventsAreQueued(t *testing.T) {
	tp := loadTemplate(t, nil)
	var rules []string
	for name := range tp.patterns("groups") {
		got := tp.property("ImportFunction", "Events "+name+" Properties DeadLetterConfig")
		if got != "map[Arn:FailureQueue.Arn]" {
			t.Errorf("%s: got the dead-letter queue %s", name, got)
		}
		rules = append(rules, "ImportFunction"+name+".Arn")
	}
	var senders []string
	for _, s := range tp.list("Resources", "FailureQueuePolicy", "Properties", "PolicyDocument", "Statement") {
		s := s.(map[string]any)
		if s["Effect"] != "Allow" {
			continue
		}
		text := fmt.Sprintf("%v %v %v", s["Principal"], s["Action"], s["Resource"])
		if want := "map[Service:events.amazonaws.com] sqs:SendMessage FailureQueue.Arn"; text != want {
			t.Errorf("got %s, want %s", text, want)
		}
		condition := s["Condition"].(map[string]any)["ArnEquals"].(map[string]any)
		for _, arn := range condition["aws:SourceArn"].([]any) {
			senders = append(senders, arn.(string))
		}
	}
	slices.Sort(rules)
	if slices.Sort(senders); !slices.Equal(rules, senders) {
		t.Errorf("got %v may send, want the rules %v", senders, rules)
	}
	// A policy of a topic replaces the default, which lets the account's alarms publish.
	const publish = "map[Action:sns:Publish Condition:map[StringEquals:map[aws:SourceAccount:123456789012]] " +
		"Effect:Allow Principal:map[Service:cloudwatch.amazonaws.com] Resource:Alarms]"
	if got := hardened(t).statements("AlarmsPolicy"); !slices.Contains(got, publish) {
		t.Errorf("got %v, want alarms published", got)
	}
}

func TestTemplateSecurity_DataOutlivesTheStackAndIsTagged(t *testing.T) {
	tp := hardened(t)
	tag := func(name string) string { return tp.property(name, "Tags") }
	const want = "[map[Key:application Value:groupimport]]"
	var kept []string
	for _, kind := range []string{"AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::SQS::Queue", "AWS::Logs::LogGroup"} {
		kept = append(kept, tp.ofType(kind)...)
	}
	for _, name := range kept {
		// A failed first deployment must remove the resource. Otherwise the next attempt fails because the name is in use.
		deletion, replace := tp.at("Resources", name, "DeletionPolicy"), tp.at("Resources", name, "UpdateReplacePolicy")
		if deletion != "RetainExceptOnCreate" || replace != "Retain" {
			t.Errorf("%s: got %v and %v, want it to outlive the stack", name, deletion, replace)
		}
		if name != "BucketPolicy" && tag(name) != want {
			t.Errorf("%s: got the tags %s, want %s", name, tag(name), want)
		}
	}
	if len(kept) != 6 || tag("Alarms") != want {
		t.Errorf("got %v and the topic with tags %s", kept, tag("Alarms"))
	}
	global := tp.at("Globals", "Function").(map[string]any)
	if fmt.Sprint(global["Tags"]) != "map[application:groupimport]" || global["PropagateTags"] != true {
		t.Errorf("got functions with the tags %v, propagated: %v", global["Tags"], global["PropagateTags"])
	}
	const public = "map[BlockPublicAcls:true BlockPublicPolicy:true IgnorePublicAcls:true RestrictPublicBuckets:true]"
	if got := tp.property("Bucket", "PublicAccessBlockConfiguration"); got != public {
		t.Errorf("got %s, want %s", got, public)
	}
}

func TestTemplateSecurity_NoSecretInAVariable(t *testing.T) {
	tp := loadTemplate(t, map[string]any{"HttpAuth": "NONE"})
	for _, function := range tp.functions() {
		env := tp.env(function)
		for _, secret := range []string{"TIM_SECRET_KEY", "HTTP_TOKEN", "NOTIFY_URL", "NOTIFY_SECRET"} {
			if env[secret] != "" {
				t.Errorf("%s: %s is set", function, secret)
			}
		}
	}
	for name, c := range tp.constraints {
		if c.(map[string]any)["NoEcho"] != nil {
			t.Errorf("%s: a parameter of the stack is no place for a secret", name)
		}
	}
}

// policies returns the policies that README.md shows.
func policies(t *testing.T) (callers, key string) {
	t.Helper()
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(raw, -1)
	if len(blocks) != 2 {
		t.Fatalf("got %d policies in README.md", len(blocks))
	}
	var texts [2]string
	for i, b := range blocks {
		var policy struct{ Statement []map[string]any }
		if err := json.Unmarshal(b[1], &policy); err != nil {
			t.Fatalf("%s: %v", b[1], err)
		}
		for _, s := range policy.Statement {
			texts[i] += fmt.Sprintln(s)
		}
	}
	return texts[0], texts[1]
}

func TestREADME_Policies(t *testing.T) {
	callers, key := policies(t)
	// Lambda guide, urls-auth: both actions are needed since October 2025, and the second only through the URL.
	var want strings.Builder
	for _, action := range []string{
		"InvokeFunctionUrl Condition:map[StringEquals:map[lambda:FunctionUrlAuthType:AWS_IAM]]",
		"InvokeFunction Condition:map[Bool:map[lambda:InvokedViaFunctionUrl:true]]",
	} {
		want.WriteString("map[Action:lambda:" + action + " Effect:Allow Resource:FUNCTION_ARN]\n")
	}
	if callers != want.String() {
		t.Errorf("got %s, want %s", callers, want.String())
	}
	if got := loadTemplate(t, nil).at("Outputs", "HttpFunctionArn", "Value"); got != "HttpFunction.Arn" {
		t.Errorf("got the output %v, want what the policy names", got)
	}
	// The key policy allows the services to use the key. The functions have policies of their own. CloudWatch Logs user
	// guide, encrypt-log-data-kms; EventBridge user guide, eb-rule-dlq; SNS guide, sns-key-management. Read 2026-11.
	tp := hardened(t)
	services := map[string]string{
		"AWS::Logs::LogGroup": "logs.eu-central-1.amazonaws.com",
		"AWS::SQS::Queue":     "events.amazonaws.com",
		"AWS::SNS::Topic":     "cloudwatch.amazonaws.com",
	}
	for _, kind := range slices.Sorted(maps.Keys(services)) {
		isEncrypted := slices.ContainsFunc(tp.ofType(kind), func(name string) bool {
			return strings.Contains(tp.property(name, ""), keyARN)
		})
		allowed := false
		for line := range strings.Lines(key) {
			if strings.Contains(line, "Service:"+services[kind]+"]") {
				allowed = strings.Contains(line, "kms:Decrypt") && strings.Contains(line, "kms:GenerateDataKey")
				if kind == "AWS::SQS::Queue" && strings.Contains(line, "Condition") {
					t.Errorf("got %s, want no Condition: EventBridge's requests to the key have no context to compare", line)
				}
			}
		}
		if isEncrypted != allowed {
			t.Errorf("%s is encrypted with the key: %v, and its service may use it: %v", kind, isEncrypted, allowed)
		}
	}
}

func TestTemplateSecurity_OnlyImportsReadTheWebhook(t *testing.T) {
	const arn = "arn:aws:ssm:eu-central-1:123456789012:parameter/groupimport/notify"
	with := loadTemplate(t, map[string]any{"NotifyParameter": "/groupimport/notify"})
	without := loadTemplate(t, nil)
	for _, function := range with.functions() {
		imports := function != "HttpFunction"
		if got := with.allowed(function, "ssm:GetParameter", arn); got != imports {
			t.Errorf("%s may read the webhook: got %v, want %v", function, got, imports)
		}
		if got := with.config(function).NotifyParameter != ""; got != imports {
			t.Errorf("%s has the name of the parameter: got %v, want %v", function, got, imports)
		}
		if without.allowed(function, "ssm:GetParameter", arn) || without.config(function).NotifyParameter != "" {
			t.Errorf("%s has access to a webhook, although none is configured", function)
		}
	}
}
