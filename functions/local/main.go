// Command local is the program over a folder, for people and scripts: the folder is the bucket.
//
//	local demo                 an emulated IM service, a folder as the bucket, and a sample export
//	local import FILE…         import now; Ctrl-C stops in good order, the same command goes on
//	local validate FILE…       check every record, send nothing
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
	"syscall"
)

const usage = `Usage: local COMMAND [ARGUMENT…]

  demo                 everything at once: an emulated IM service, a folder as the bucket, a sample export
  import FILE…         import now; Ctrl-C stops in good order, the same command goes on
  validate FILE…       check every record, send nothing
  emulator             an IM service on a port of this machine

local COMMAND -h tells the options of a command. Exit status: 0 all in, 1 error, 2 usage or configuration,
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
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
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
		return nil
	}
	command, ok := commands[args[0]]
	if !ok {
		return usageError("unknown command %q\n%s", args[0], usage)
	}
	return command(ctx, args[1:])
}

// A tool is what all commands need.
type tool struct {
	getenv         func(string) string
	stdout, stderr io.Writer
}

// flags returns the options of a command, which prints them with this line of usage.
func (t *tool) flags(line string) *flag.FlagSet {
	fs := flag.NewFlagSet("local", flag.ContinueOnError)
	fs.SetOutput(t.stderr)
	fs.Usage = func() {
		fmt.Fprintf(t.stderr, "Usage: local %s\n", line)
		fs.PrintDefaults()
	}
	return fs
}

// parse parses a command's arguments. done says that there is nothing more to do.
func parse(fs *flag.FlagSet, args []string) (done bool, err error) {
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return true, nil
	case err != nil:
		return true, &exit{status: exitUsage} // the flag package has said why
	}
	return false, nil
}
