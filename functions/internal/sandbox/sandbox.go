// Package sandbox runs the process of a function locally, for the packages that emulate a cloud platform. Those
// packages implement the protocol. This package starts and kills the processes, one at a time, and measures their CPU
// time and memory.
package sandbox

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Usage is the CPU time and memory that the processes used.
type Usage struct {
	Processes int
	CPU       time.Duration // of all processes that have exited
	MaxRSS    int64         // bytes, the largest of any process at the end of its invocations; Linux only
}

// A Sandbox runs one process at a time. Its zero value has no process. Its methods are safe for concurrent use.
type Sandbox struct {
	mu      sync.Mutex
	process *Process
	usage   Usage
}

// A Process is one process of the program.
type Process struct {
	Started time.Time
	Exited  chan struct{} // closed after the process has exited

	cmd     *exec.Cmd
	sandbox *Sandbox
	freed   func()
}

// Process returns the running process, or nil if there is none.
func (s *Sandbox) Process() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		select {
		case <-s.process.Exited:
		default:
			return s.process
		}
	}
	return nil
}

// Start starts the program with env as its whole environment. No other process may be running. The program's standard
// output and standard error go to log; nil discards them. Start calls freed after the process has exited; freed may be
// nil.
func (s *Sandbox) Start(binary string, env []string, log io.Writer, freed func()) (*Process, error) {
	cmd := exec.CommandContext(context.Background(), binary) // the caller's program, killed by End
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	p := &Process{Started: time.Now(), Exited: make(chan struct{}), cmd: cmd, sandbox: s, freed: freed}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.process = p
	s.usage.Processes++
	s.mu.Unlock()
	go p.wait()
	return p, nil
}

func (p *Process) wait() {
	_ = p.cmd.Wait() // the invocation reports how the process exited
	if p.freed != nil {
		p.freed()
	}
	p.sandbox.mu.Lock()
	defer p.sandbox.mu.Unlock()
	p.sandbox.usage.CPU += p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	close(p.Exited)
}

// RecordPeakMemory records the peak memory of the process. It does not use rusage, which includes the memory of the
// parent process.
func (p *Process) RecordPeakMemory() {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return // the process has exited
	}
	for line := range strings.Lines(string(status)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			p.sandbox.mu.Lock()
			p.sandbox.usage.MaxRSS = max(p.sandbox.usage.MaxRSS, kb*1024)
			p.sandbox.mu.Unlock()
		}
	}
}

// End kills the process and waits until it has exited.
func (p *Process) End() {
	p.RecordPeakMemory()
	_ = p.cmd.Process.Kill() // the process may have exited by itself
	<-p.Exited
}

// Kill kills the running process, if there is one, as a fault of the platform would. The current invocation fails.
func (s *Sandbox) Kill() {
	if p := s.Process(); p != nil {
		p.End()
	}
}

// Close kills the process.
func (s *Sandbox) Close() { s.Kill() }

// Usage returns the usage of the processes that have exited. After [Sandbox.Close] these are all processes.
func (s *Sandbox) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage
}
