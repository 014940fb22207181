package main

import "strings"

// trustPolicy lets functions of SCF assume a role.
const trustPolicy = `{"version":"2.0","statement":[{"action":"name/sts:AssumeRole","effect":"allow",` +
	`"principal":{"service":["scf.qcloud.com"]}}]}`

// deployerPolicy has the rights that the deploying account needs: the actions that this command calls, and PassRole.
const deployerPolicy = `{"version": "2.0", "statement": [
  {"effect": "allow", "resource": ["*"],
   "action": ["scf:GetFunction", "scf:CreateFunction", "scf:UpdateFunctionCode", "scf:UpdateFunctionConfiguration",
              "scf:DeleteFunction", "scf:ListTriggers", "scf:CreateTrigger", "scf:UpdateTrigger", "scf:DeleteTrigger",
              "scf:GetReservedConcurrencyConfig", "scf:PutReservedConcurrencyConfig",
              "scf:DeleteReservedConcurrencyConfig",
              "cam:GetRole", "cam:CreateRole", "cam:DeleteRole", "cam:PassRole",
              "cam:ListPolicies", "cam:GetPolicy", "cam:CreatePolicy", "cam:UpdatePolicy", "cam:DeletePolicy",
              "cam:ListAttachedRolePolicies", "cam:AttachRolePolicy", "cam:DetachRolePolicy"]}]}`

// policy returns the policy of the role of the HTTP function, or of the other functions. functions/scf/README.md
// explains both.
func (t *target) policy(isHTTP bool) string {
	appID := t.bucket[strings.LastIndexByte(t.bucket, '-')+1:]
	bucket := "qcs::cos:" + t.region + ":uid/" + appID + ":" + t.bucket + "/"
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
			}, p+"*.results.ndjson", p+"*.failures.ndjson", p+"*.report.html", p+"*.finished-*", p+"*.import/*"),
			allow([]string{"DeleteObject"}, p+"*.failures.ndjson", p+"*.finished-*", p+"*.import/*"))
	}
	statements = append(statements, allow([]string{"GetBucket", "GetBucketVersioning"}, "*"))
	return compact(map[string]any{"version": "2.0", "statement": statements})
}
