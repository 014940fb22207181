// Command spent runs a command and writes to a file what its process has spent, as four numbers in a line: CPU
// time of the user and of the system and the time that passed, in microseconds, and its largest memory in kilobytes.
//
//	spent FILE COMMAND [ARGUMENT…]
//
// It exits as the command does, and passes on SIGTERM.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: spent FILE COMMAND [ARGUMENT…]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, os.Args[2], os.Args[3:]...) //nolint:gosec // that is what it is for
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "spent:", err)
		os.Exit(1)
	}
	usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage) // Linux tells kilobytes
	line := fmt.Sprintln(cmd.ProcessState.UserTime().Microseconds(), cmd.ProcessState.SystemTime().Microseconds(), took.Microseconds(), usage.Maxrss)
	if err := os.WriteFile(os.Args[1], []byte(line), 0o600); err != nil { //nolint:gosec // named by whoever runs it
		fmt.Fprintln(os.Stderr, "spent:", err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}
