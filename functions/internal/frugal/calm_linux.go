package frugal

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Asked for a line about the scheduler every so many milliseconds, the runtime keeps its monitor out of deep
// sleep (runtime/proc.go, sysmon). traceMS is the most it takes, 24 days.
const (
	trace   = "schedtrace"
	traceMS = 1<<31 - 1
	longest = 24 * time.Hour // that a process lives
)

// Calm keeps the runtime's monitor from waking all the time, for a process that works until it ends or is frozen.
// Out of its deep sleep each first system call wakes the monitor, which then looks about every 20 µs until the
// process sleeps again; otherwise it looks every 10 ms. At 200 calls a second over TLS those were three of four
// context switches, and a call costs 332 µs instead of 496 without them (medians of five; least 245 and 392).
//
// Only GODEBUG sets this, before the runtime starts. So this starts the program once more in the same process,
// which takes some milliseconds, with the same arguments, and does not return. It is to be the first thing that
// main does. If it returns it has done nothing, which does no harm.
func Calm() {
	settings := os.Getenv("GODEBUG")
	if strings.Contains(settings, trace+"=") {
		return
	}
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return
	}
	// The runtime counts from the start of the machine; a process that lives then would print such a line.
	if up := time.Duration(info.Uptime) * time.Second; up+longest > traceMS*time.Millisecond {
		return
	}
	self, err := os.Executable()
	if err != nil {
		return
	}
	env := []string{"GODEBUG=" + strings.TrimPrefix(settings+","+trace+"="+strconv.Itoa(traceMS), ",")}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GODEBUG=") {
			env = append(env, v)
		}
	}
	_ = syscall.Exec(self, os.Args, env) //nolint:gosec // this program; it does not return if it succeeds
}
