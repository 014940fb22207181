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
	for _, row := range []struct {
		name, owner string
		want        bool
	}{
		{"this process lives", leaseOwner(), false},
		{"a process that ended", fmt.Sprintf("host %s boot %s pid %d start 1", hostname(), boot(), gone.Process.Pid), true},
		{"its number went to another", fmt.Sprintf("host %s boot %s pid %d start 1", hostname(), boot(), me), true},
		{"the machine was started again", fmt.Sprintf("host %s boot %s/other/%s pid %d start %s", hostname(), machine, space, me, start), machine != unknown},
		{"another machine of this name", fmt.Sprintf("host %s boot other/other/%s pid %d start %s", hostname(), space, me, start), false},
		{"another container of this machine", fmt.Sprintf("host %s boot %s0 pid %d start 1", hostname(), boot(), gone.Process.Pid), false},
		{"another machine", fmt.Sprintf("host not-%s boot %s pid %d start 1", hostname(), boot(), gone.Process.Pid), false},
		{"a machine that does not tell its start", fmt.Sprintf("host %s boot unknown pid %d start 1", hostname(), gone.Process.Pid), false},
		{"a machine that does not tell its name", fmt.Sprintf("host unknown boot %s pid %d start 1", boot(), gone.Process.Pid), false},
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
		if time.Since(start) > 5*time.Second {
			t.Fatalf("got %q alive, want it dead: nobody has waited for it", held)
		}
	}
}
