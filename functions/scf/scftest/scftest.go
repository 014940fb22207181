// Package scftest runs the program of an SCF function on this machine, as the platform does: it starts the
// process, speaks net/rpc with gob to it, hands it one event after another with an environment and a
// deadline, kills it when that is over and starts another one for the next event.
//
// The protocol is that of github.com/tencentyun/scf-go-lib, package messages; gob matches fields by name,
// so the structs here are its own. Not like the platform are the speed of the processor and the memory, of
// which there is as much as this machine has; [Runtime.Usage] tells what was used.
package scftest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// A Config says what to run.
type Config struct {
	Binary  string        // the program, named main on the platform
	Env     []string      // as name=value, of the process; it has no other than these and the platform's
	Timeout time.Duration // of an invocation, 1 s to 15 min on the platform
	Log     io.Writer     // what the process writes to its standard outputs; nil discards

	// Environment returns what the platform sends with each event, which the library puts into the
	// process's own; nil sends nothing. The role's temporary keys come this way.
	Environment func() map[string]string

	// NoDeadline leaves the deadline out, and Timeout stands in TimeLimitInMs alone: whether the platform
	// always sends it is documented nowhere.
	NoDeadline bool
}

// A Runtime runs one instance of a function. Its methods may be called concurrently; one invocation is
// under way at a time.
type Runtime struct {
	config Config

	invoking sync.Mutex // held during an invocation
	mu       sync.Mutex
	process  *process
	usage    Usage
}

// A process is one life of the program.
type process struct {
	cmd    *exec.Cmd
	client *rpc.Client
	exited chan struct{} // closed once it has
}

// A Result is what an invocation came to.
type Result struct {
	Response []byte         // what the function answered; nil if it did not
	Error    *FunctionError // what it reported, or what became of its process
	Took     time.Duration
	Start    time.Duration // from the start of the process to its first answer; 0 if it ran already
}

// A FunctionError is the error of an invocation.
type FunctionError struct {
	Message    string
	Type       string
	ShouldExit bool
}

// The types of errors that the function does not report itself, after the platform's codes 433 and 439:
// cloud.tencent.com/document/product/583/42611.
const (
	TimedOut = "FunctionTimeout"
	Exited   = "ProcessExit"
)

// Usage is what the processes needed.
type Usage struct {
	Processes int
	CPU       time.Duration // of all that have ended
	MaxRSS    int64         // bytes, the largest of any process at the end of its invocations; Linux only
}

// The messages of the protocol.
type (
	pingRequest   struct{}
	pingResponse  struct{}
	invokeRequest struct {
		Payload               []byte
		RequestId             string //nolint:staticcheck // the library's name
		TraceId               string //nolint:staticcheck // the library's name
		Deadline              timestamp
		Namespace             string
		FunctionName          string
		FunctionVersion       string
		MemoryLimitInMb       int
		TimeLimitInMs         int
		Environment           string
		InvokedFunctionUnique string
		TencentcloudRegion    string
	}
	timestamp      struct{ Seconds, Nanos int64 }
	invokeResponse struct {
		Payload []byte
		Error   *FunctionError
	}
)

// New returns a Runtime. It starts the program when it is invoked. Close it.
func New(config Config) *Runtime { return &Runtime{config: config} }

// Invoke gives the program an event and waits until it has answered, has exited, or is killed because its
// time is up. A done ctx kills it too, at any moment.
func (r *Runtime) Invoke(ctx context.Context, payload []byte) (Result, error) {
	r.invoking.Lock()
	defer r.invoking.Unlock()
	var result Result
	p, start, err := r.running()
	if err != nil {
		return result, err
	}
	result.Start = start
	began := time.Now()
	req := invokeRequest{
		Payload: payload, RequestId: strings.ToLower(rand.Text()), Namespace: "default", FunctionName: "local", FunctionVersion: "$LATEST",
		MemoryLimitInMb: 128, TimeLimitInMs: int(r.config.Timeout.Milliseconds()), TencentcloudRegion: "ap-guangzhou",
	}
	if deadline := began.Add(r.config.Timeout); !r.config.NoDeadline {
		req.Deadline = timestamp{deadline.Unix(), int64(deadline.Nanosecond())}
	}
	if r.config.Environment != nil {
		env, err := json.Marshal(r.config.Environment())
		if err != nil {
			return result, err
		}
		req.Environment = string(env)
	}
	var resp invokeResponse
	killed := time.NewTimer(r.config.Timeout)
	defer killed.Stop()
	call := p.client.Go("Function.Invoke", &req, &resp, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		result.Response, result.Error = resp.Payload, resp.Error
		if call.Error != nil {
			r.end(p)
			result.Error = &FunctionError{Message: fmt.Sprintf("RequestId: %s the process exited: %v", req.RequestId, call.Error), Type: Exited}
		}
	case <-killed.C:
		r.end(p)
		result.Error = &FunctionError{Message: fmt.Sprintf("RequestId: %s timed out after %v", req.RequestId, r.config.Timeout), Type: TimedOut}
	case <-ctx.Done():
		r.end(p)
		return result, context.Cause(ctx)
	}
	result.Took = time.Since(began)
	r.weigh(p)
	return result, nil
}

// running returns the process, which is started if there is none, and then how long that took.
func (r *Runtime) running() (*process, time.Duration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.process; p != nil {
		select {
		case <-p.exited:
		default:
			return p, 0, nil
		}
	}
	began := time.Now()
	p, port, err := start(r.config)
	if err != nil {
		return nil, 0, err
	}
	r.process = p
	r.usage.Processes++
	go func() {
		p.cmd.Wait() //nolint:errcheck // how it ended is what the invocation tells
		r.mu.Lock()
		defer r.mu.Unlock()
		r.usage.CPU += p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
		close(p.exited)
	}()
	if p.client, err = dial(p, port); err != nil {
		p.cmd.Process.Kill() //nolint:errcheck // it may have ended by itself
		return nil, 0, err
	}
	return p, time.Since(began), nil
}

func start(config Config) (*process, string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // the loopback does not take long
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(config.Binary) //nolint:gosec,noctx // the caller's program, killed by end
	cmd.Env = append([]string{
		"_LAMBDA_SERVER_PORT=" + port, "TENCENTCLOUD_RUNENV=SCF", "SCF_FUNCTIONNAME=local", "SCF_FUNCTIONVERSION=$LATEST", "TZ=UTC",
	}, config.Env...)
	cmd.Stdout, cmd.Stderr = config.Log, config.Log
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	return &process{cmd: cmd, exited: make(chan struct{})}, port, nil
}

// dial connects to the process once it listens, and pings it.
func dial(p *process, port string) (*rpc.Client, error) {
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(time.Millisecond) { // it does not say when it listens
		client, err := rpc.Dial("tcp", "localhost:"+port)
		if err != nil {
			continue
		}
		if err := client.Call("Function.Ping", &pingRequest{}, &pingResponse{}); err != nil {
			return nil, fmt.Errorf("ping: %w", err)
		}
		return client, nil
	}
	return nil, fmt.Errorf("%s does not listen", p.cmd.Path)
}

// weigh notes the most memory that the process has had. Its rusage would not do: there the memory of whoever
// started it counts too.
func (r *Runtime) weigh(p *process) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return // it has ended
	}
	for line := range strings.Lines(string(status)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			r.mu.Lock()
			r.usage.MaxRSS = max(r.usage.MaxRSS, kb*1024)
			r.mu.Unlock()
		}
	}
}

// end kills the process and waits until it has ended.
func (r *Runtime) end(p *process) {
	r.weigh(p)
	p.client.Close()
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended by itself
	<-p.exited
}

// Kill ends the process under way at once, if there is one, as a fault of the platform would. The
// invocation under way ends with [Exited].
func (r *Runtime) Kill() {
	r.mu.Lock()
	p := r.process
	r.mu.Unlock()
	if p != nil {
		r.end(p)
	}
}

// Close kills the process.
func (r *Runtime) Close() { r.Kill() }

// Usage returns what all processes that have ended needed; after [Runtime.Close] these are all.
func (r *Runtime) Usage() Usage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.usage
}
