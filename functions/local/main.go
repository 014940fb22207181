// Command local is the program over a folder, for people and scripts: the folder is the bucket.
//
//	local demo                 an emulated IM service, a folder as the bucket, and a sample export
//	local import FILE…         import now; Ctrl-C stops in good order, the same command goes on
//	local validate FILE…       check every record, send nothing
//	local watch DIR            a folder as the bucket: what is dropped is imported, what failed is tried again
//	local retry DIR            what the schedule does, once: unfinished goes on, missed is found, failed is tried again
//	local report FILE|DIR…     make the page for people anew, from the results beside an export
//	local serve DIR            the way in over HTTP: one group a request, and how the imports in the folder are doing
//	local emulator             an IM service on a port of this machine
//
// Results go to the folder beside the export, messages and progress to standard error, a summary to
// standard output. Exit status:
//
//	0  all records are in (validate: all are valid)
//	1  an error: nothing further is possible before it is mended
//	2  wrong usage or configuration
//	3  unfinished: the same command goes on
//	4  finished, with records that are not in (validate: that are not valid)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"groupimport/functions/internal/frugal"
)

const usage = `Usage: local COMMAND [ARGUMENT…]

  demo                 everything at once: an emulated IM service, a folder as the bucket, a sample export
  import FILE…         import now; Ctrl-C stops in good order, the same command goes on
  validate FILE…       check every record, send nothing; -live asks which groups stand already
  watch DIR            a folder as the bucket: what is dropped is imported, what failed is tried again
  retry DIR            what the schedule does, once: unfinished goes on, missed is found, failed is tried again
  report FILE|DIR…     make the page for people anew, from the results beside an export
  serve DIR            the way in over HTTP: one group a request, and how the imports in the folder are doing
  emulator             an IM service on a port of this machine

An export is JSONL, JSON or CSV, plain or with gzip or zstd; -map reads those of other systems. local COMMAND -h
tells the options of a command. Exit status: 0 all in, 1 error, 2 usage or configuration,
3 unfinished, 4 finished with records that are not in.
`

// Exit statuses; see the package comment.
const (
	exitOK         = 0
	exitError      = 1
	exitUsage      = 2
	exitUnfinished = 3
	exitNotIn      = 4
)

// An exit is an error that sets the exit status. Without text it is silent.
type exit struct {
	status int
	text   string
}

func (e *exit) Error() string { return e.text }

func usageError(format string, args ...any) error {
	return &exit{exitUsage, fmt.Sprintf(format, args...)}
}

func main() {
	frugal.LimitMemory()
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signals = append(signals, syscall.SIGHUP) // the terminal was closed
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	// The second Ctrl-C ends the program at once.
	context.AfterFunc(ctx, stop)
	os.Exit(status(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr), os.Stderr))
}

// status writes the error and returns the exit status.
func status(err error, stderr io.Writer) int {
	if err == nil {
		return exitOK
	}
	e, ok := errors.AsType[*exit](err)
	if !ok {
		e = &exit{exitError, err.Error()}
	}
	if e.text != "" {
		fmt.Fprintf(stderr, "local: %s\n", e.text)
	}
	return e.status
}

// run does what the arguments say. It is main without the process.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return &exit{status: exitUsage}
	}
	t := &tool{getenv: getenv, stdout: stdout, stderr: stderr}
	commands := map[string]func(context.Context, []string) error{
		"demo": t.demo, "import": t.importFiles, "validate": t.validate, "emulator": t.emulator,
		"watch": t.watch, "retry": t.retry, "report": t.report, "serve": t.serve,
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
		return nil
	}
	command, ok := commands[args[0]]
	if !ok {
		return usageError("unknown command %q\n\n%s", args[0], strings.TrimSuffix(usage, "\n"))
	}
	return command(ctx, args[1:])
}

// A tool is what all commands need.
type tool struct {
	getenv         func(string) string
	stdout, stderr io.Writer
}

// newFlags returns the options of a command; line is its usage.
func newFlags(line string) *flag.FlagSet {
	fs := flag.NewFlagSet(line, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs
}

// parse parses a command's arguments, which name files or must not. done says that there is nothing
// more to do.
func (t *tool) parse(fs *flag.FlagSet, args []string, files bool) (done bool, err error) {
	err = fs.Parse(args)
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: local %s\n", fs.Name())
	fs.SetOutput(&b)
	fs.PrintDefaults()
	wrong := func(format string, args ...any) (bool, error) {
		return true, usageError(format+"\n\n%s", append(args, strings.TrimSuffix(b.String(), "\n"))...)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(t.stdout, b.String())
		return true, nil
	case err != nil:
		return wrong("%v", err)
	case !files && fs.NArg() > 0:
		return wrong("unexpected argument %q", fs.Arg(0))
	case files && fs.NArg() == 0:
		return wrong("no file is named")
	}
	for _, arg := range fs.Args() {
		if strings.HasPrefix(arg, "-") {
			return wrong("%q stands behind a file: options go before them, and a file of that name is ./%s", arg, arg)
		}
	}
	return false, nil
}
