package main

import (
	"encoding/json"
	"slices"
	"strings"
)

// trustPolicy lets functions of SCF assume a role.
const trustPolicy = `{"version":"2.0","statement":[{"action":"name/sts:AssumeRole","effect":"allow",` +
	`"principal":{"service":["scf.qcloud.com"]}}]}`

// isTrusted reports whether functions of SCF may assume a role with this trust policy, which an operator may have
// extended.
func isTrusted(document string) bool {
	for _, s := range statements(document) {
		principal, _ := s["principal"].(map[string]any)
		mayAssume := slices.ContainsFunc(texts(s["action"]), func(action string) bool {
			return strings.TrimPrefix(action, "name/") == "sts:AssumeRole"
		})
		if mayAssume && s["effect"] == "allow" && slices.Contains(texts(principal["service"]), "scf.qcloud.com") {
			return true
		}
	}
	return false
}

// isSamePolicy reports whether two policies have the same statements, of whose lists the order does not matter. A list
// of one may be a string.
func isSamePolicy(got, want string) bool {
	normal := func(document string) (all []string) {
		for _, s := range statements(document) {
			for _, key := range []string{"action", "resource"} {
				s[key] = slices.Sorted(slices.Values(texts(s[key])))
			}
			all = append(all, compact(s))
		}
		slices.Sort(all)
		return all
	}
	return slices.Equal(normal(got), normal(want))
}

// statements returns the statements of a policy, none if it cannot be read.
func statements(document string) []map[string]any {
	var p struct {
		Statement []map[string]any `json:"statement"`
	}
	if json.Unmarshal([]byte(document), &p) != nil {
		return nil
	}
	return p.Statement
}

// texts returns a list of strings, or the one string instead of a list.
func texts(v any) (all []string) {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	for _, e := range list {
		if s, ok := e.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// rights returns the policy that the deploying account needs: the actions that this command calls, cam:PassRole,
// without which no function gets a role, and what SCF does on the bucket for a trigger. bucket is a name with its
// APPID; empty for any.
//
// Actions have their names in the API, as in an error of SCF that Serverless Framework's FAQ quotes ("not authorized to
// perform operation (scf:CreateFunction)"). SCF's own list of 2020-09-21 (tencentcloud.com/document/product/583/18014)
// has UpdateFunction and SetTrigger instead of several: the policy has both. The names of CLS are in its policy
// templates (614/45004), those of SSM in 1078/38612, those of COS in 598/57092, and those of COS's notifications in
// CloudAudit's list of COS.
func rights(bucket, region string) string {
	code := `["*"]`
	if bucket != "" {
		code = `["qcs::cos:` + region + `:uid/` + bucket[strings.LastIndexByte(bucket, '-')+1:] + `:` + bucket + `/*"]`
	}
	return strings.ReplaceAll(`{"version": "2.0", "statement": [
  {"effect": "allow", "resource": ["*"],
   "action": ["scf:GetFunction", "scf:CreateFunction", "scf:UpdateFunctionCode", "scf:UpdateFunctionConfiguration",
              "scf:UpdateFunction", "scf:DeleteFunction", "scf:ListTriggers", "scf:CreateTrigger", "scf:UpdateTrigger",
              "scf:UpdateTriggerStatus", "scf:SetTrigger", "scf:DeleteTrigger", "scf:GetReservedConcurrencyConfig",
              "scf:PutReservedConcurrencyConfig", "scf:DeleteReservedConcurrencyConfig",
              "cam:GetUserAppId", "cam:GetRole", "cam:CreateRole", "cam:UpdateAssumeRolePolicy",
              "cam:DeleteRole", "cam:PassRole",
              "cam:ListPolicies", "cam:GetPolicy", "cam:CreatePolicy", "cam:UpdatePolicy", "cam:DeletePolicy",
              "cam:ListAttachedRolePolicies", "cam:AttachRolePolicy", "cam:DetachRolePolicy",
              "cls:DescribeLogsets", "cls:CreateLogset", "cls:DeleteLogset", "cls:DescribeTopics", "cls:CreateTopic",
              "cls:DeleteTopic", "cls:CreateIndex", "ssm:DescribeSecret"]},
  {"effect": "allow", "resource": BUCKET,
   "action": ["cos:HeadBucket", "cos:GetBucketNotification", "cos:PutBucketNotification", "cos:HeadObject",
              "cos:GetObject", "cos:PutObject", "cos:InitiateMultipartUpload", "cos:UploadPart",
              "cos:CompleteMultipartUpload", "cos:AbortMultipartUpload", "cos:DeleteObject"]}]}`, "BUCKET", code)
}

// policy returns the policy of the role of the HTTP function, or of the other functions, who read these secrets.
// functions/scf/README.md explains both.
func (t *target) policy(isHTTP bool, secrets []string) string {
	bucket := "qcs::cos:" + t.region + ":uid/" + t.appID() + ":" + t.bucket + "/"
	type statement struct {
		Action   []string `json:"action"`
		Effect   string   `json:"effect"`
		Resource []string `json:"resource"`
	}
	allow := func(actions []string, keys ...string) statement {
		s := statement{Effect: "allow"}
		for _, a := range actions {
			s.Action = append(s.Action, "name/cos:"+a)
		}
		for _, k := range keys {
			s.Resource = append(s.Resource, bucket+k)
		}
		return s
	}
	p := t.prefix
	statements := []statement{allow([]string{"HeadObject", "GetObject"}, p+"*")}
	if isHTTP {
		statements = append(statements, allow([]string{"PutObject", "DeleteObject"}, p+".http/*"))
	} else {
		statements = append(statements,
			allow([]string{
				"PutObject", "InitiateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload",
			}, p+"*.results.ndjson", p+"*.failures.ndjson", p+"*.report.html", p+".check.html", p+"*.finished-*",
				p+"*.import/*"),
			allow([]string{"DeleteObject"}, p+"*.failures.ndjson", p+"*.finished-*", p+"*.import/*"))
	}
	statements = append(statements, allow([]string{"GetBucket", "GetBucketVersioning"}, "*"))
	if len(secrets) > 0 {
		statements = append(statements, statement{[]string{"ssm:GetSecretValue"}, "allow", secrets})
	}
	return compact(map[string]any{"version": "2.0", "statement": statements})
}
