package invocation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"

	"groupimport/pkg/scheduler"
)

func TestLog_LongValues(t *testing.T) {
	long := func(n int) []scheduler.JobResult {
		all := make([]scheduler.JobResult, n)
		for i := range all {
			key := fmt.Sprintf("exports/%d/acme.jsonl", i)
			all[i] = scheduler.JobResult{Key: key, What: "start", State: "finished", Reason: "already imported"}
		}
		return all
	}
	for _, c := range []struct {
		name string
		args []any
		cut  []string
	}{
		{"a short line", []any{"done", long(2), "left", 3}, nil},
		{"a pass over 80 imports", []any{"imports", 80, "done", long(80), "left", 3}, []string{"done"}},
		{"a long text", []any{"err", strings.Repeat("x", 100_000)}, []string{"err"}},
		{"an error", []any{"err", errors.New(strings.Repeat("群", 10_000))}, []string{"err"}},
		{"text that grows in JSON", []any{"err", strings.Repeat("\x01", 3000)}, []string{"err"}},
		{"a group", []any{slog.Group("run", "why", strings.Repeat("y", 9000), "imported", 7)}, []string{"why"}},
		{
			"several",
			[]any{"a", strings.Repeat("a", 4000), "b", strings.Repeat("b", 4000), "c", strings.Repeat("c", 100)},
			[]string{"a", "b"},
		},
	} {
		var out bytes.Buffer
		log := NewLog(&out, "time").With("key", "exports/acme.jsonl")
		log.InfoContext(withInvocation(context.Background(), ID{Request: "the-request"}, false), "a message", c.args...)
		line := out.String()
		var got struct {
			Msg       string   `json:"msg"`
			Level     string   `json:"level"`
			Key       string   `json:"key"`
			Cut       []string `json:"cut"`
			RequestID string   `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil || strings.Count(line, "\n") != 1 || len(line) > 8000 {
			t.Errorf("%s: got %d bytes, %v, want at most 8000 and one line of JSON: %.200s", c.name, len(line), err, line)
		}
		isComplete := got.Msg == "a message" && got.Level == "INFO" && got.Key == "exports/acme.jsonl" &&
			got.RequestID == "the-request"
		if !isComplete || !slices.Equal(got.Cut, c.cut) {
			t.Errorf("%s: got %+v, want the rest as it was, and cut %v", c.name, got, c.cut)
		}
		if c.cut != nil && !strings.Contains(line, " bytes)") {
			t.Errorf("%s: the line does not say how much was cut: %.200s", c.name, line)
		}
	}
}

func TestLog_GroupsAndLevels(t *testing.T) {
	var out bytes.Buffer
	log := NewLog(&out, "time")
	log.With("a", 1).WithGroup("g").With("b", 2).InfoContext(t.Context(), "m", "c", 3)
	log.DebugContext(t.Context(), "not shown")
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if fmt.Sprint(got["a"], got["g"]) != "1 map[b:2 c:3]" {
		t.Errorf("got %v", got)
	}
}

func TestLog_InvocationFields(t *testing.T) {
	const start = `{"ts":"","level":"INFO","msg":"m","request_id":"r"`
	for _, c := range []struct {
		name    string
		id      ID
		isFirst bool
		want    string
	}{
		{"the first invocation", ID{"r", "Root=1-5"}, true, start + `,"trace_id":"Root=1-5","cold_start":true}`},
		{"a later one", ID{"r", "Root=1-5"}, false, start + `,"trace_id":"Root=1-5"}`},
		{"without tracing", ID{"r", ""}, false, start + `}`},
	} {
		var out bytes.Buffer
		NewLog(&out, "ts").InfoContext(withInvocation(t.Context(), c.id, c.isFirst), "m")
		got := regexp.MustCompile(`"ts":"[^"]*"`).ReplaceAllString(strings.TrimSpace(out.String()), `"ts":""`)
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}
