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

// maxLine is the length in bytes of a log line, with its end. CLS, which takes the logs of SCF, cuts a line after
// 8 KB, and what is left of it is no JSON; Lambda takes 256 KB.
const maxLine = 8000

// level is LOG_LEVEL as the latest invocation has it: some platforms tell it with each event.
var level slog.LevelVar

// NewLog returns what functions log to: lines of JSON, in each the ID of the platform's request that it
// was written in. LOG_LEVEL says which. No line has more than 8,000 bytes: values are cut until it fits, and cut
// names them.
func NewLog(w io.Writer) *slog.Logger { return slog.New(&handler{out: &output{w: w}}) }

type requestKey struct{}

// withRequest marks what is logged with ctx.
func withRequest(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestKey{}, id)
}

// A handler adds the ID of the request, and keeps lines short. The ID comes by the context, since some of what logs
// lives longer than one invocation, as a bucket does.
type handler struct {
	out   *output
	outer []slog.Attr // of the logger
	group string      // that further attributes are in
	in    *handler    // what the group is in; nil if there is none
}

// Enabled implements [slog.Handler].
func (*handler) Enabled(_ context.Context, l slog.Level) bool { return l >= level.Level() }

// WithAttrs implements [slog.Handler].
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.outer = append(slices.Clip(h.outer), attrs...)
	return &with
}

// WithGroup implements [slog.Handler].
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{out: h.out, group: name, in: h}
}

// Handle implements [slog.Handler].
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
	if id, ok := ctx.Value(requestKey{}).(string); ok {
		attrs = append(attrs, slog.String("request_id", id))
	}
	line, err := encode(ctx, r, attrs)
	for limit := maxLine / 2; err == nil && len(line) > maxLine && limit > 0; limit /= 2 {
		var cut []string
		line, err = encode(ctx, r, append(clip(attrs, limit, &cut), slog.Any("cut", cut)))
	}
	if err != nil {
		return err
	}
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err = h.out.w.Write(line)
	return err
}

// An output is where loggers write one line after another.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

// encode returns a record with these attributes as a line.
func encode(ctx context.Context, r slog.Record, attrs []slog.Attr) ([]byte, error) {
	var line bytes.Buffer
	with := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	with.AddAttrs(attrs...)
	err := slog.NewJSONHandler(&line, nil).Handle(ctx, with)
	return line.Bytes(), err
}

// clip returns attrs with values of at most limit bytes: of longer ones the beginning as text, and how long they
// are. It appends the names of these to cut.
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

// textOf returns a value as it stands in a line.
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
