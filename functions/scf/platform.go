package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/tencentyun/scf-go-lib/functioncontext"

	"groupimport/pkg/check"
)

type noDeadlineKey struct{} // set in the context of an invocation for which the platform sent no deadline

// platform returns a function that returns what SCF says of the function, with each event and by its variables
// (cloud.tencent.com/document/product/583/30228, 2026-11).
func platform(getenv func(string) string) func(context.Context) check.Platform {
	return func(ctx context.Context) check.Platform {
		p := check.Platform{
			Name: "Tencent Cloud SCF", Function: getenv("SCF_FUNCTIONNAME"), Region: getenv("TENCENTCLOUD_REGION"),
			BucketRegion: getenv("COS_REGION"), HasDeadline: ctx.Value(noDeadlineKey{}) == nil,
			Role: func(context.Context) (string, error) { return role(getenv) },
		}
		if fc, ok := functioncontext.FromContext(ctx); ok {
			p.Memory, p.Invoked = int(fc.MemoryLimitInMb), fc.RequestID
			p.Function, p.Region = cmp.Or(p.Function, fc.FunctionName), cmp.Or(p.Region, fc.TencentcloudRegion)
		}
		return p
	}
}

// role says of which account the keys of the function's role are. The name of the role is in no variable.
func role(getenv func(string) string) (string, error) {
	if getenv("TENCENTCLOUD_SESSIONTOKEN") == "" {
		return "", errors.New("the platform sends no temporary keys: the function has no role")
	}
	return fmt.Sprintf("temporary keys of a role of the account %s, APPID %s",
		cmp.Or(getenv("TENCENTCLOUD_UIN"), "unknown"), cmp.Or(getenv("TENCENTCLOUD_APPID"), "unknown")), nil
}
