package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	sdkerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"
	tchttp "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/http"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
)

// The names of actions, parameters and error codes are those of Tencent Cloud's own description of its API, release
// v1.3.166 of 2026-08-21: tencentcloud/{scf/v20180416,cam/v20190116,cls/v20201016,ssm/v20190923}/{models,errors}.go of
// github.com/TencentCloud/tencentcloud-sdk-go, and tccli/services/*/*/{api,examples}.json of
// github.com/TencentCloud/tencentcloud-cli.

// versions of the API, by service.
var versions = map[string]string{"scf": "2018-04-16", "cam": "2019-01-16", "cls": "2020-10-16", "ssm": "2019-09-23"}

// An api calls actions of Tencent Cloud by name.
type api struct {
	client *common.Client
	redact *strings.Replacer // of errors: a message of the service may quote a parameter
}

// access has the keys of an account, and the addresses of the API.
type access struct {
	id, key, token string // token is empty for keys that are not temporary
	domain         string // behind the name of the service; empty for tencentcloudapi.com
	endpoint       string // HOST:PORT instead, by plain HTTP, for the API and for COS
}

// newAPI returns an api whose errors hold none of these secrets.
func newAPI(a access, region string, secrets []string) *api {
	p := profile.NewClientProfile()
	p.HttpProfile.ReqTimeout = 60 // seconds
	p.HttpProfile.RootDomain = a.domain
	if a.endpoint != "" {
		p.HttpProfile.Endpoint, p.HttpProfile.Scheme = a.endpoint, "HTTP"
	}
	p.DisableRegionBreaker = true
	var pairs []string
	for _, secret := range append(secrets, a.key, a.token) {
		if secret == "" {
			continue
		}
		pairs = append(pairs, secret, "…")
		if quoted := strings.Trim(compact(secret), `"`); quoted != secret { // as in a request
			pairs = append(pairs, quoted, "…")
		}
	}
	client := common.NewCommonClient(common.NewTokenCredential(a.id, a.key, a.token), region, p)
	return &api{client, strings.NewReplacer(pairs...)}
}

// call calls an action, and decodes its response into result, which may be nil. It makes one attempt.
func (a *api) call(ctx context.Context, service, action string, parameters map[string]any, result any) error {
	request := tchttp.NewCommonRequest(service, versions[service], action)
	request.SetContext(ctx)
	if parameters == nil {
		parameters = map[string]any{}
	}
	if err := request.SetActionParameters(parameters); err != nil {
		return err
	}
	response := tchttp.NewCommonResponse()
	if err := a.client.Send(request, response); err != nil {
		return &callError{service, action, err, a.redact}
	}
	if result == nil {
		return nil
	}
	body := struct {
		Response any `json:"Response"`
	}{result}
	if err := json.Unmarshal(response.GetBody(), &body); err != nil {
		return &callError{service, action, err, a.redact}
	}
	return nil
}

// A callError says that an action failed.
type callError struct {
	service, action string
	err             error
	redact          *strings.Replacer
}

func (e *callError) Error() string {
	text := e.action + ": " + e.redact.Replace(e.err.Error())
	for _, hint := range hints {
		if slices.Contains(hint.actions, e.action) || len(hint.actions) == 0 {
			if startsWith(e.code(), hint.codes...) {
				return text + "\n" + strings.ReplaceAll(hint.text, "RIGHT", e.right())
			}
		}
	}
	return text
}

func (e *callError) Unwrap() error { return e.err }

// right names what the account may lack. A function gets its role only from who may pass it.
func (e *callError) right() string {
	right := e.service + ":" + e.action
	if e.action == "CreateFunction" || e.action == "UpdateFunctionConfiguration" {
		right += ", or cam:PassRole for the function's role"
	}
	return right
}

// hints say what to do about an error code. The first that fits is shown. RIGHT is the right of the action.
var hints = []struct {
	actions []string // none for all
	codes   []string
	text    string
}{
	{
		nil,
		[]string{
			"AuthFailure.SecretIdNotFound", "AuthFailure.SignatureFailure", "AuthFailure.TokenFailure",
			"AuthFailure.InvalidSecretId",
		},
		"The keys are wrong or have expired: check TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY and TENCENTCLOUD_TOKEN.",
	},
	{
		nil,
		[]string{"UnauthorizedOperation.Role"}, // SCF: "no right to access your COS resources"
		"The service role SCF_QcsRole lacks rights for COS: open the SCF console once and confirm the authorization.",
	},
	{
		nil,
		[]string{"AuthFailure", "UnauthorizedOperation", "OperationDenied.ACLFailed"}, // the last one of CLS
		"The account lacks the right RIGHT: give the user of these keys the policy that go run ./scripts/deploy --rights " +
			"prints.",
	},
	{
		[]string{"CreateTrigger"},
		[]string{"LimitExceeded", "ResourceInsufficient.COS"},
		"A bucket has at most ten trigger rules, those of other functions included, and a function at most ten triggers " +
			"of a type: remove rules in the COS console, or use --one-rule, which needs a single one.",
	},
	{
		[]string{"CreateTrigger", "UpdateTriggerStatus"},
		[]string{"InvalidParameterValue.CosNotifyRuleConflict", "ResourceInUse.Cos"},
		"Another function has a COS trigger for the same bucket whose prefix or suffix overlaps: remove that trigger, or " +
			"choose another ExportPrefix.",
	},
	{
		[]string{"CreateFunction"},
		[]string{"FailedOperation.QcsRoleNotFound", "FailedOperation.UnOpenedService", "FailedOperation.OpenService"},
		"Open the SCF console once and confirm the authorization, which creates the service role SCF_QcsRole.",
	},
	{
		nil,
		[]string{"FailedOperation.ClsServiceUnregistered", "OperationDenied.AccountNotExists"},
		"Open the console of Cloud Log Service (CLS) once, which activates it, or use --log-days 0.",
	},
	{
		nil,
		[]string{
			"FailedOperation.AccountInsufficient", "FailedOperation.InsufficientBalance", "OperationDenied.AccountIsolate",
		},
		"The account is in arrears: top it up.",
	},
	{
		[]string{"PutReservedConcurrencyConfig"},
		[]string{"LimitExceeded"},
		"The region's memory for concurrency, less 12,800 MB, is not enough: choose a smaller --http-memory, or 0.",
	},
}

// startsWith reports whether code is one of these, or begins with one and a dot.
func startsWith(code string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return code == p || strings.HasPrefix(code, p+".") })
}

// code returns the error code of the service, or "" if there was no response.
func (e *callError) code() string {
	failure, ok := errors.AsType[*sdkerrors.TencentCloudSDKError](e.err)
	if !ok || strings.HasPrefix(failure.Code, "ClientError") {
		return ""
	}
	return failure.Code
}

// isMissing reports whether the service says that something does not exist. CAM says so of a role by
// InvalidParameter.RoleNotExist.
func isMissing(err error) bool {
	failure, ok := errors.AsType[*callError](err)
	return ok && startsWith(failure.code(), "ResourceNotFound", "InvalidParameter.RoleNotExist")
}

// permanent are codes below those of isTransient that another attempt does not change.
var permanent = []string{
	"FailedOperation.QcsRoleNotFound", "FailedOperation.UnOpenedService", "FailedOperation.OpenService",
	"FailedOperation.AccountInsufficient", "FailedOperation.InsufficientBalance", "FailedOperation.PolicyFull",
	"FailedOperation.ClsServiceUnregistered", "FailedOperation.InvalidPeriod", "ResourceNotFound.Cos", "ResourceInUse.Cos",
	"FailedOperation.ServiceClosed",
}

// isTransient reports whether reading the state once more may help: the response was lost, the service throttles, the
// function is being updated, the role is too new for SCF, or an earlier attempt had succeeded.
func isTransient(err error) bool {
	failure, ok := errors.AsType[*callError](err)
	if !ok {
		return false
	}
	code := failure.code()
	return code == "" || !startsWith(code, permanent...) && startsWith(code,
		"RequestLimitExceeded", "LimitExceeded.IndexOperating", "InternalError", "ResourceInUse", "FailedOperation",
		"ResourceNotFound", "InvalidParameter.RoleNameInUse", "InvalidParameter.RoleNotExist",
		"InvalidParameter.PolicyIdNotExist", "InvalidParameter.LogsetConflict", "InvalidParameter.TopicConflict",
		"InvalidParameter.IndexConflict")
}
