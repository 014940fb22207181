package main

import (
	"bytes"
	"io"
	"log/slog"
	"sync/atomic"

	"groupimport/functions/internal/invocation"
)

// newLog returns the logger of the function. With the log format JSON, Lambda reads the fields level and timestamp of a
// line, to filter lines by level: docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html, read
// 2026-11.
func newLog(w io.Writer) *slog.Logger { return invocation.NewLog(w, "timestamp") }

// A failureFilter drops the lines that aws-lambda-go v1.55.1 (lambda/invoke_loop.go, reportFailure) prints by the
// standard logger for each error of an invocation: the response to the Runtime API, after a date, so that the line is
// not JSON. The function's own logger has written these errors by then. Panics and errors of the library are not
// dropped.
type failureFilter struct {
	w      io.Writer
	logged atomic.Int64 // errors whose line has not been dropped yet
}

func (f *failureFilter) Write(line []byte) (int, error) {
	isPanic := bytes.Contains(line, []byte(`"stackTrace":[`))
	if bytes.Contains(line, []byte(`{"errorMessage":`)) && !isPanic && f.logged.Load() > 0 {
		f.logged.Add(-1)
		return len(line), nil
	}
	return f.w.Write(line)
}
