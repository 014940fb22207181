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

// unknown stands where the system does not tell.
const unknown = "unknown"

// holder names this process in leases, so that a later one on the same machine can tell whether it still
// lives: "host HOST boot BOOT pid PID start START".
func holder() string {
	return fmt.Sprintf("host %s boot %s pid %d start %s", hostname(), boot(), os.Getpid(), startOf(os.Getpid()))
}

// dead reports whether the holder of a lease certainly does not live any more. Of another machine, or
// another container, nothing can be told.
func dead(holder string) bool {
	fields := strings.Fields(holder)
	if len(fields) != 8 || fields[1] != hostname() || fields[1] == unknown {
		return false
	}
	if fields[3] != boot() {
		return rebooted(fields[3], boot())
	}
	pid, err := strconv.Atoi(fields[5])
	if err != nil {
		return false
	}
	if err := syscall.Kill(pid, 0); err != nil {
		return errors.Is(err, syscall.ESRCH)
	}
	start := startOf(pid)
	return start != unknown && fields[7] != unknown && start != fields[7] // the number went to another process
}

// who names the holder of a lease for people.
func who(holder string) string {
	fields := strings.Fields(holder)
	if len(fields) != 8 {
		return holder
	}
	return "process " + fields[5] + " on " + fields[1]
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil || strings.ContainsAny(name, " \t\n") || name == "" {
		return unknown
	}
	return name
}

// boot names this machine, its start, and the space in which its process numbers count, or unknown.
func boot() string {
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(bytes.TrimSpace(machine)) == 0 {
		machine = []byte(unknown)
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	space, err2 := os.Readlink("/proc/self/ns/pid")
	if err != nil || err2 != nil {
		return unknown
	}
	return string(bytes.TrimSpace(machine)) + "/" + strings.TrimSpace(string(id)) + "/" + space
}

// rebooted reports whether two boots are of one machine that was started anew in between. Two machines
// may have the same name, so that alone does not tell.
func rebooted(then, now string) bool {
	a, b := strings.Split(then, "/"), strings.Split(now, "/")
	return len(a) == 3 && len(b) == 3 && a[0] == b[0] && a[0] != unknown && a[1] != b[1]
}

// startOf tells when a process began, in clock ticks since the machine did (proc_pid_stat(5), field 22), or
// unknown. Of one that has ended, and whose parent has not asked yet, it says so.
func startOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return unknown
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return unknown
	}
	if state := string(fields[0]); state == "Z" || state == "X" {
		return "ended"
	}
	return string(fields[19])
}
