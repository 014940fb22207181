package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestIsDead_CertainDeathOnly(t *testing.T) {
	if boot() == unknown {
		t.Skip("this system does not tell when it was started")
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Skip(err)
	}
	me, start := os.Getpid(), startOf(os.Getpid())
	machine, rest, _ := strings.Cut(boot(), "/")
	_, space, _ := strings.Cut(rest, "/")
	host, dead := hostname(), gone.Process.Pid
	owner := func(host, boot string, pid int, start string) string {
		return fmt.Sprintf("host %s boot %s pid %d start %s", host, boot, pid, start)
	}
	for _, row := range []struct {
		name, owner string
		want        bool
	}{
		{"this process is alive", leaseOwner(), false},
		{"a process that exited", owner(host, boot(), dead, "1"), true},
		{"another process has its PID", owner(host, boot(), me, "1"), true},
		{"the machine was rebooted", owner(host, machine+"/other/"+space, me, start), machine != unknown},
		{"another machine of this name", owner(host, "other/other/"+space, me, start), false},
		{"another container of this machine", owner(host, boot()+"0", dead, "1"), false},
		{"another machine", owner("not-"+host, boot(), dead, "1"), false},
		{"a machine that does not tell its boot", owner(host, unknown, dead, "1"), false},
		{"a machine that does not tell its name", owner(unknown, boot(), dead, "1"), false},
		{"a function", "lambda 1234", false},
		{"nobody", "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := isDead(row.owner); got != row.want {
				t.Errorf("%q: got %v, want %v", row.owner, got, row.want)
			}
		})
	}
}

func TestIsDead_Zombie(t *testing.T) {
	if boot() == unknown {
		t.Skip("this system does not tell how a process is doing")
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer cmd.Wait()
	held := fmt.Sprintf("host %s boot %s pid %d start %s", hostname(), boot(), cmd.Process.Pid, startOf(cmd.Process.Pid))
	if isDead(held) {
		t.Errorf("got %q dead, want it alive", held)
	}
	_ = cmd.Process.Kill()
	for start := time.Now(); !isDead(held); time.Sleep(time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("got %q alive, want it dead: nobody has waited for it", held)
		}
	}
}
