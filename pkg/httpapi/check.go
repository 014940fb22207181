package httpapi

import (
	"context"
	"io"
	"net/http"
	"time"

	"groupimport/pkg/check"
)

const checkPath = "/check"

// check handles POST /check. It writes and removes objects below PREFIX.http/, where the door's role may write. Like
// POST /groups it accepts JSON only, so that the page of another site cannot make a browser send it. It ignores the
// body. One check runs at a time: each takes a part of the rate.
func (a *api) check(ctx context.Context, r *http.Request) response {
	if refusal, ok := checkType(r); !ok {
		return refusal
	}
	if !a.checking.TryLock() {
		p := problem{Status: http.StatusConflict, Detail: "another check is under way", Retry: retrySafe}
		return p.response().later(requestTime)
	}
	defer a.checking.Unlock()
	// The last second is for removing what the checks wrote.
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-checkMargin))
		defer cancel()
	}
	env := check.Env{
		Place: check.HTTP, Config: a.config, Bucket: a.bucket, Prefix: a.config.Prefix, Log: a.log,
		Where: a.config.Bucket + "/" + a.config.Prefix,
	}
	if share := a.dialer.share; share != nil {
		env.Change = share.apply
	}
	a.checks(ctx, &env)
	report, err := check.Run(ctx, env)
	if err != nil && ctx.Err() == nil {
		a.log.ErrorContext(ctx, "check fails", "err", err)
		return problem{Status: http.StatusInternalServerError, Detail: "internal error: see the log"}.response()
	}
	if wantsPage(r) {
		return page(func(w io.Writer) error { return report.WritePage(w) })
	}
	return readable(report)
}

const checkMargin = 3 * time.Second
