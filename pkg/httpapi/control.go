package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"groupimport/pkg/results"
)

// A controlled is the body of the response to POST /imports/{key}/pause, resume or cancel.
type controlled struct {
	Key   string        `json:"key"`
	State results.State `json:"state"` // Running if a run in progress is about to obey
}

// controlOf returns the export and the action that a path below /imports/ names. The last segment of the key of an
// export is never an action, because it ends in a suffix.
func controlOf(path string) (key string, a results.Action, ok bool) {
	for _, a := range []results.Action{results.Pause, results.Resume, results.Cancel} {
		if key, ok := strings.CutSuffix(path, "/"+string(a)); ok {
			return key, a, true
		}
	}
	return "", "", false
}

// controlImport handles POST /imports/{key}/pause, resume and cancel. Like POST /groups it accepts JSON only, so that
// the page of another site cannot make a browser send it. It ignores the body.
func (a *api) controlImport(ctx context.Context, r *http.Request, key string, action results.Action) response {
	if refusal, ok := checkType(r); !ok {
		return refusal
	}
	who := "HTTP"
	if caller := a.caller(ctx); caller != "" {
		who = "HTTP: " + caller
	}
	state, err := a.scheduler.Control(ctx, key, action, who)
	switch {
	case errors.Is(err, results.ErrFinished), errors.Is(err, results.ErrNotPaused):
		return problem{Status: http.StatusConflict, Detail: err.Error(), Retry: retryUseless}.response()
	case err != nil:
		return a.unread(ctx, err, "no export with this key")
	}
	a.log.InfoContext(ctx, "an import is controlled", "key", key, "action", action, "who", who, "state", state)
	resp := readable(controlled{key, state})
	delete(resp.header, "Vary")
	return resp
}
