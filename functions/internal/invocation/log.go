package invocation

import (
	"context"
	"io"
	"log/slog"
)

// level is LOG_LEVEL as the latest invocation has it: some platforms tell it with each event.
var level slog.LevelVar

// NewLog returns what functions log to: lines of JSON, in each the ID of the platform's request that it
// was written in. LOG_LEVEL says which.
func NewLog(w io.Writer) *slog.Logger {
	return slog.New(requestHandler{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: &level})})
}

type requestKey struct{}

// withRequest marks what is logged with ctx.
func withRequest(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestKey{}, id)
}

// A requestHandler adds the ID of the request. It comes by the context, since some of what logs lives
// longer than one invocation, as a bucket does.
type requestHandler struct{ slog.Handler }

// Handle implements [slog.Handler].
func (h requestHandler) Handle(ctx context.Context, r slog.Record) error {
	if id, ok := ctx.Value(requestKey{}).(string); ok {
		r.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h requestHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h requestHandler) WithGroup(name string) slog.Handler {
	return requestHandler{h.Handler.WithGroup(name)}
}
