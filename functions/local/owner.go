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

// unknown takes the place of what the system does not tell.
const unknown = "unknown"

// leaseOwner names this process in leases, so that a later process on the same machine can tell whether it is
// still alive: "host HOST boot BOOT pid PID start START".
func leaseOwner() string {
	return fmt.Sprintf("host %s boot %s pid %d start %s", hostname(), boot(), os.Getpid(), startOf(os.Getpid()))
}

// isDead reports whether the owner of a lease is certainly dead. Nothing is known of another machine or another
// container.
func isDead(owner string) bool {
	fields := strings.Fields(owner)
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
	return start != unknown && fields[7] != unknown && start != fields[7] // the PID belongs to another process
}

// ownerName names the owner of a lease for people.
func ownerName(owner string) string {
	fields := strings.Fields(owner)
	if len(fields) != 8 {
		return owner
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

// boot names this machine, its boot, and the PID namespace: "MACHINE/BOOT/NAMESPACE", or unknown.
func boot() string {
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(bytes.TrimSpace(machine)) == 0 {
		machine = []byte(unknown)
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	namespace, err2 := os.Readlink("/proc/self/ns/pid")
	if err != nil || err2 != nil {
		return unknown
	}
	return string(bytes.TrimSpace(machine)) + "/" + strings.TrimSpace(string(id)) + "/" + namespace
}

// rebooted reports whether one machine was rebooted between two boots. The host name is not enough, because two
// machines may have the same.
func rebooted(then, now string) bool {
	a, b := strings.Split(then, "/"), strings.Split(now, "/")
	return len(a) == 3 && len(b) == 3 && a[0] == b[0] && a[0] != unknown && a[1] != b[1]
}

// startOf returns when a process started, in clock ticks since the boot (proc_pid_stat(5), field 22), or unknown.
// For a zombie it returns "ended".
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
