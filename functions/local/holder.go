package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// holder names this process in leases, so that a later one on the same machine can tell whether it still
// lives: "host HOST boot BOOT pid PID start START".
func holder() string {
	return fmt.Sprintf("host %s boot %s pid %d start %s", hostname(), boot(), os.Getpid(), startOf(os.Getpid()))
}

// dead reports whether the holder of a lease certainly does not live any more. Of another machine, or
// another container, nothing can be told.
func dead(holder string) bool {
	fields := strings.Fields(holder)
	if len(fields) != 8 || fields[1] != hostname() {
		return false
	}
	if fields[3] != boot() {
		return !strings.Contains(fields[3]+boot(), "unknown") && sameSpace(fields[3], boot())
	}
	pid, err := strconv.Atoi(fields[5])
	if err != nil {
		return false
	}
	if err := syscall.Kill(pid, 0); err != nil {
		return errors.Is(err, syscall.ESRCH)
	}
	return startOf(pid) != fields[7] // the number went to another process
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil || strings.ContainsAny(name, " \t\n") || name == "" {
		return "unknown"
	}
	return name
}

// boot names the start of this machine and the space in which its process numbers count, "unknown" where
// the system does not tell.
func boot() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	space, err2 := os.Readlink("/proc/self/ns/pid")
	if err != nil || err2 != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(id)) + "/" + space
}

// sameSpace reports whether two boots differ in the start of the machine and not in the space alone.
func sameSpace(a, b string) bool {
	first, _, _ := strings.Cut(a, "/")
	second, _, _ := strings.Cut(b, "/")
	return first != second
}

// startOf tells when a process began, in clock ticks since the machine did (proc_pid_stat(5), field 22),
// "unknown" where the system does not tell.
func startOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "unknown"
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return "unknown"
	}
	return string(fields[19])
}
