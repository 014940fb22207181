package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	sdkerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"
	tchttp "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/http"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
)

// versions of the API, by service.
var versions = map[string]string{"scf": "2018-04-16", "cam": "2019-01-16"}

// An api calls actions of Tencent Cloud by name.
type api struct{ client *common.Client }

// newAPI returns an api that signs with these keys. token is empty for keys that are not temporary.
func newAPI(id, key, token, region, endpoint string) *api {
	p := profile.NewClientProfile()
	p.HttpProfile.ReqTimeout = 60 // seconds
	if endpoint != "" {
		p.HttpProfile.Endpoint, p.HttpProfile.Scheme = endpoint, "HTTP"
	}
	p.DisableRegionBreaker = true
	return &api{common.NewCommonClient(common.NewTokenCredential(id, key, token), region, p)}
}

// call calls an action, and decodes its response into result, which may be nil. It makes one attempt.
func (a *api) call(ctx context.Context, service, action string, parameters map[string]any, result any) error {
	request := tchttp.NewCommonRequest(service, versions[service], action)
	request.SetContext(ctx)
	if err := request.SetActionParameters(parameters); err != nil {
		return err
	}
	response := tchttp.NewCommonResponse()
	if err := a.client.Send(request, response); err != nil {
		return &callError{action, err}
	}
	if result == nil {
		return nil
	}
	body := struct {
		Response any `json:"Response"`
	}{result}
	if err := json.Unmarshal(response.GetBody(), &body); err != nil {
		return &callError{action, err}
	}
	return nil
}

// A callError says that an action failed.
type callError struct {
	action string
	err    error
}

func (e *callError) Error() string {
	text := e.action + ": " + e.err.Error()
	switch code := e.code(); {
	case strings.HasPrefix(code, "AuthFailure.UnauthorizedOperation"), strings.HasPrefix(code, "UnauthorizedOperation"):
		text += "\nThe account lacks a right: go run ./scripts/deploy --rights prints the policy that it needs."
	case e.action == "CreateTrigger" && strings.HasPrefix(code, "LimitExceeded"):
		text += "\nA bucket has at most ten trigger rules, those of other functions included: remove some, or use --one-rule."
	}
	return text
}

func (e *callError) Unwrap() error { return e.err }

// code returns the error code of the service, or "" if there was no response.
func (e *callError) code() string {
	if failure, ok := errors.AsType[*sdkerrors.TencentCloudSDKError](e.err); ok && !strings.HasPrefix(failure.Code, "ClientError") {
		return failure.Code
	}
	return ""
}

// isMissing reports whether the service says that something does not exist.
func isMissing(err error) bool {
	failure, ok := errors.AsType[*callError](err)
	return ok && (strings.HasPrefix(failure.code(), "ResourceNotFound") ||
		strings.HasPrefix(failure.code(), "InvalidParameter.RoleNotExist"))
}

// isTransient reports whether reading the state once more may help: the response was lost, the service throttles, the
// function is being updated, or an earlier attempt had succeeded.
func isTransient(err error) bool {
	failure, ok := errors.AsType[*callError](err)
	if !ok {
		return false
	}
	code := failure.code()
	for _, prefix := range []string{
		"RequestLimitExceeded", "InternalError", "ResourceInUse", "FailedOperation", "ResourceNotFound",
		"InvalidParameter.RoleNameInUse", "InvalidParameter.RoleNotExist", "InvalidParameterValue.Role",
	} {
		if strings.HasPrefix(code, prefix) {
			return true
		}
	}
	return code == ""
}
