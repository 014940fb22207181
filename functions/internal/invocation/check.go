package invocation

import (
	"context"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/check"
	"groupimport/pkg/config"
	"groupimport/pkg/scheduler"
)

// checkReserve is the time before the deadline for removing the objects of the checks and for writing the page.
const checkReserve = 15 * time.Second

type startKey struct{} // of the time at which an invocation began, in its context

// platform returns the properties of the function and of the invocation with this context.
func (h *Handler) platform(ctx context.Context, config config.Config) *check.Platform {
	var p check.Platform
	if h.Platform != nil {
		p = h.Platform(ctx)
	}
	start, hasStart := ctx.Value(startKey{}).(time.Time)
	if deadline, ok := ctx.Deadline(); ok && hasStart {
		p.TimeLimit = deadline.Sub(start)
	}
	if h.Secret != nil {
		p.Secret = config.SecretKeyParameter
	}
	return &p
}

// check runs all checks that a function can run, and returns the report as JSON. It writes the page beside the exports.
// A check that fails is no error of the invocation.
func (h *Handler) check(ctx context.Context, id ID, config config.Config) ([]byte, error) {
	b, err := h.bucket(config.Bucket)
	if err != nil {
		return nil, &ConfigError{err}
	}
	p := h.platform(ctx, config)
	p.Invoked = id.Request
	config, p.SecretErr = h.withKey(ctx, config)
	limited := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		limited, cancel = context.WithDeadline(ctx, deadline.Add(-checkReserve))
		defer cancel()
	}
	report, err := check.Run(limited, check.Env{
		Place: check.Function, Config: config, Bucket: b, Prefix: config.Prefix, Platform: p, Log: h.Log,
		Where: config.Bucket + "/" + config.Prefix,
	})
	if err != nil && limited.Err() == nil {
		return nil, &ConfigError{err}
	}
	if err := report.PutPage(ctx, b, config.Prefix); err != nil {
		h.Log.WarnContext(ctx, "page of the check not written", "err", err)
	}
	for _, c := range report.Checks {
		if c.State != check.OK {
			h.Log.WarnContext(ctx, "check", "check", c.Name, "state", c.State, "seen", c.Seen, "do", c.Do)
		}
	}
	h.Log.InfoContext(ctx, "check ends", "state", report.State, "page", report.Page)
	return json.Marshal(report, jsontext.AllowInvalidUTF8(true))
}

// recordProbe reports whether an object is a probe of a check. If so, it records the event for the check.
func (h *Handler) recordProbe(ctx context.Context, s *scheduler.Scheduler, o *Object) bool {
	id := strings.TrimPrefix(s.Importer.Owner, ownerPrefix)
	isProbe, err := check.Answer(ctx, s.Importer.Bucket, s.Importer.Config.Prefix, o.Raw, o.Keys, id)
	if err != nil {
		h.Log.ErrorContext(ctx, "cannot record the event of a probe", "key", o.Raw, "err", err)
	}
	return isProbe
}
