package invocation

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
)

// maxLine limits a log line to this many bytes, with the newline. CLS, which stores the logs of SCF, truncates a line
// after 8 KB; the rest is not valid JSON. The limit of Lambda is 256 KB.
const maxLine = 8000

// level is the LOG_LEVEL of the latest invocation: some platforms send the environment with each event.
var level slog.LevelVar

// NewLog returns the logger of a function. It writes lines of JSON with the time in the field timeKey, from LOG_LEVEL
// on. The lines of an invocation have request_id, trace_id if the platform has one, and cold_start if the process was
// started for the invocation. A line has at most 8,000 bytes: the logger truncates long values and lists them in the
// field cut.
func NewLog(w io.Writer, timeKey string) *slog.Logger {
	return slog.New(&handler{out: &output{w: w, timeKey: timeKey}})
}

type invocationKey struct{}

// withInvocation returns a context that adds the ID of an invocation to log lines, and whether it is the first of its
// process.
func withInvocation(ctx context.Context, id ID, isFirst bool) context.Context {
	attrs := []slog.Attr{slog.String("request_id", id.Request)}
	if id.Trace != "" {
		attrs = append(attrs, slog.String("trace_id", id.Trace))
	}
	if isFirst {
		attrs = append(attrs, slog.Bool("cold_start", true))
	}
	return context.WithValue(ctx, invocationKey{}, attrs)
}

// A handler adds the ID of the invocation and truncates long values. The ID is in the context, because some loggers,
// such as a bucket's, outlive an invocation.
type handler struct {
	out   *output
	outer []slog.Attr // of the logger
	group string      // of further attributes
	in    *handler    // parent of the group; nil without a group
}

func (*handler) Enabled(_ context.Context, l slog.Level) bool { return l >= level.Level() }

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.outer = append(slices.Clip(h.outer), attrs...)
	return &with
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{out: h.out, group: name, in: h}
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	var attrs []slog.Attr
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	for at := h; at != nil; at = at.in {
		attrs = slices.Concat(at.outer, attrs)
		if at.in != nil {
			attrs = []slog.Attr{slog.GroupAttrs(at.group, attrs...)}
		}
	}
	if id, ok := ctx.Value(invocationKey{}).([]slog.Attr); ok {
		attrs = append(attrs, id...)
	}
	line, err := h.out.encode(ctx, r, attrs)
	for limit := maxLine / 2; err == nil && len(line) > maxLine && limit > 0; limit /= 2 {
		var cut []string
		line, err = h.out.encode(ctx, r, append(clip(attrs, limit, &cut), slog.Any("cut", cut)))
	}
	if err != nil {
		return err
	}
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err = h.out.w.Write(line)
	return err
}

// An output serializes the lines of all loggers.
type output struct {
	timeKey string

	mu sync.Mutex
	w  io.Writer
}

// encode returns the log line of a record with these attributes.
func (o *output) encode(ctx context.Context, r slog.Record, attrs []slog.Attr) ([]byte, error) {
	var line bytes.Buffer
	rename := func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			a.Key = o.timeKey
		}
		return a
	}
	with := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	with.AddAttrs(attrs...)
	err := slog.NewJSONHandler(&line, &slog.HandlerOptions{ReplaceAttr: rename}).Handle(ctx, with)
	return line.Bytes(), err
}

// clip returns attrs with values of at most limit bytes. It replaces a longer value by its first limit bytes as text
// and its length, and appends its name to cut.
func clip(attrs []slog.Attr, limit int, cut *[]string) []slog.Attr {
	all := make([]slog.Attr, len(attrs))
	for n, a := range attrs {
		v := a.Value.Resolve()
		var text string
		switch v.Kind() {
		case slog.KindGroup:
			all[n] = slog.GroupAttrs(a.Key, clip(v.Group(), limit, cut)...)
			continue
		case slog.KindAny:
			text = textOf(v.Any())
		default:
			text = v.String()
		}
		if all[n] = a; len(text) > limit {
			*cut = append(*cut, a.Key)
			all[n] = slog.String(a.Key, fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(text[:limit], ""), len(text)))
		}
	}
	return all
}

// textOf returns the text of a value in a log line.
func textOf(v any) string {
	if err, ok := v.(error); ok {
		return err.Error()
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}
