// Command groupimport works on a folder as on a bucket, for people and scripts.
//
//	groupimport demo                  import a sample export into an emulated IM service
//	groupimport import FILE|DIR|ADDRESS…     import exports now; Ctrl-C stops gracefully
//	groupimport validate FILE|DIR|ADDRESS…   dry run: check every record, send nothing
//	groupimport check [DIR|ADDRESS]   try out the service and the folder before the first import
//	groupimport watch DIR             import what is dropped into a folder, retry what failed
//	groupimport retry DIR|ADDRESS     run the scheduler once: resume, start missed, retry
//	groupimport status FILE|DIR|ADDRESS…       list imports with state, counts, rate and time left
//	groupimport pause|resume|cancel FILE|ADDRESS…   control one import, wherever it runs
//	groupimport report FILE|DIR|ADDRESS…   write the HTML report of an import again
//	groupimport serve DIR             import single groups over HTTP, show all imports
//	groupimport emulator              serve an emulated IM service on this machine
//	groupimport help [COMMAND]        help on a command; "help config" lists the variables
//	groupimport completion SHELL      print a completion script for bash, zsh, fish or pwsh
//
// Results go to the folder, beside the export. Messages and progress go to standard error, summaries to
// standard output, and nothing is ever coloured.
//
// Exit status:
//
//	0  every record is imported or left out by the mapping (validate: every record is valid)
//	1  an error: fix the cause first
//	2  wrong usage or configuration: nothing was done
//	3  unfinished: run the same command again to resume
//	4  finished, but records are not imported or members are missing (validate: records are not valid; check: warnings)
//
// Of several files the worst status counts, in the order 0, 4, 3, 1. watch, serve and emulator end with 0 when
// they are interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"groupimport/functions/internal/frugal"
	"groupimport/functions/internal/stdlog"
	"groupimport/pkg/blob/s3blob"
)

// program is the name of the command. Messages begin with it.
const program = "groupimport"

// Exit statuses; see the package comment.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitUnfinished  = 3
	exitNotImported = 4 // or members are missing
)

// severity orders exit statuses from best to worst. Usage errors are not in it, because they come before any file.
var severity = map[int]int{exitOK: 0, exitNotImported: 1, exitUnfinished: 2, exitError: 3}

// worse returns the worse of two exit statuses.
func worse(a, b int) int {
	if severity[b] > severity[a] {
		return b
	}
	return a
}

// An exit is an error that sets the exit status. Without text it is silent.
type exit struct {
	status int
	text   string
}

func (e *exit) Error() string { return e.text }

// exitWith returns an error with this status and no text, nil for exitOK.
func exitWith(status int) error {
	if status == exitOK {
		return nil
	}
	return &exit{status: status}
}

func usageError(format string, args ...any) error {
	return &exit{exitUsage, fmt.Sprintf(format, args...)}
}

// configError is the error about variables, one a line.
func configError(err error) error {
	return usageError("the configuration is wrong; %q explains the variables:\n  %s", program+" help config",
		strings.ReplaceAll(err.Error(), "\n", "\n  "))
}

func main() {
	frugal.LimitMemory()
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signals = append(signals, syscall.SIGHUP) // the terminal was closed
	}
	interrupted, stop := signal.NotifyContext(context.Background(), signals...)
	ctx, cancel := context.WithCancelCause(context.Background())
	context.AfterFunc(interrupted, func() {
		stop() // first, so that a second Ctrl-C exits as soon as the first shows
		cancel(context.Cause(interrupted))
	})
	t := newTool(os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	libraries := newMeter(t.stderr, manner{quiet: true, json: wantsJSON(os.Args[1:])})
	stdlog.Redirect(libraries.logger(slog.LevelWarn))
	os.Exit(t.status(t.run(ctx, os.Args[1:])))
}

// A tool is what all commands need.
type tool struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	json           bool // errors are JSON, see [wantsJSON]

	aws *awsUser
}

// An awsUser keeps the region and the credentials of a user of AWS, once they are found.
type awsUser struct {
	mu    sync.Mutex
	found *s3blob.Defaults // nil before the first bucket of S3
}

// newTool returns a tool whose outputs are safe on a terminal.
func newTool(getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) *tool {
	return &tool{
		getenv: getenv, stdin: stdin, stdout: cleanWriter{stdout}, stderr: cleanWriter{stderr}, aws: &awsUser{},
	}
}

// status writes the error and returns the exit status.
func (t *tool) status(err error) int {
	if err == nil {
		return exitOK
	}
	e, ok := errors.AsType[*exit](err)
	if !ok {
		e = &exit{exitError, oneLine(err.Error())}
	}
	switch {
	case e.text == "":
	case t.json:
		writeLine(t.stderr, struct {
			Message string `json:"message"`
			Status  int    `json:"status"`
		}{program + ": " + firstParagraph(e.text), e.status})
	default:
		fmt.Fprintf(t.stderr, "%s: %s\n", program, e.text)
	}
	return e.status
}

// firstParagraph is a text without the usage that may follow it.
func firstParagraph(text string) string {
	first, _, _ := strings.Cut(text, "\n\n")
	return first
}

// run does what the arguments say. It is main without the process.
func (t *tool) run(ctx context.Context, args []string) error {
	t.json = wantsJSON(args)
	return t.commandLine().Run(ctx, append([]string{program}, args...))
}

// wantsJSON reports whether the arguments ask for JSON. Errors of usage must know before the arguments are parsed.
func wantsJSON(args []string) bool {
	for _, arg := range args {
		if arg == "--" {
			return false
		}
		if name := strings.TrimLeft(arg, "-"); name != arg && (name == "json" || name == "json=true") {
			return true
		}
	}
	return false
}
