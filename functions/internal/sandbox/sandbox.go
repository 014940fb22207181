// Package sandbox keeps the process of a function on this machine, one life after another, for the packages
// that play a cloud's platform. They bring the protocol; this knows when a process lives and what it needed.
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

// Usage is what the processes needed.
type Usage struct {
	Processes int
	CPU       time.Duration // of all that have ended
	MaxRSS    int64         // bytes, the largest of any process at the end of its invocations; Linux only
}

// A Sandbox keeps one process at a time. Its zero value has none. Its methods may be called concurrently.
type Sandbox struct {
	mu      sync.Mutex
	process *Process
	usage   Usage
}

// A Process is one life of the program.
type Process struct {
	Started time.Time
	Exited  chan struct{} // closed once it has

	cmd     *exec.Cmd
	sandbox *Sandbox
	freed   func()
}

// Process returns the process that lives, nil if there is none.
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

// Start starts the program with no other environment than env, while no process lives. Its standard outputs
// go to log; nil discards. freed is called once it has ended; it may be nil.
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
	_ = p.cmd.Wait() // how it ended is what the invocation tells
	if p.freed != nil {
		p.freed()
	}
	p.sandbox.mu.Lock()
	defer p.sandbox.mu.Unlock()
	p.sandbox.usage.CPU += p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	close(p.Exited)
}

// Weigh notes the most memory that the process has had. Its rusage would not do: there the memory of whoever
// started it counts too.
func (p *Process) Weigh() {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return // it has ended
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

// End kills the process and waits until it has ended.
func (p *Process) End() {
	p.Weigh()
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.Exited
}

// Kill ends the process under way at once, if there is one, as a fault of the platform would. The
// invocation under way ends with it.
func (s *Sandbox) Kill() {
	if p := s.Process(); p != nil {
		p.End()
	}
}

// Close kills the process.
func (s *Sandbox) Close() { s.Kill() }

// Usage returns what all processes that have ended needed; after [Sandbox.Close] these are all.
func (s *Sandbox) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage
}
