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
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/functions/internal/sandbox"
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
	sandbox.Sandbox
	config Config

	invoking sync.Mutex  // held during an invocation
	client   *rpc.Client // of the latest process; guarded by invoking
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

// The messages of the protocol.
type (
	pingRequest   struct{}
	pingResponse  struct{}
	invokeRequest struct {
		Payload               []byte
		RequestId             string //nolint:staticcheck // the library's name
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
	if errors.Is(err, errExited) {
		result.Error = &FunctionError{Message: err.Error(), Type: Exited}
		return result, nil
	} else if err != nil {
		return result, err
	}
	result.Start = start
	began := time.Now()
	req := invokeRequest{
		Payload: payload, RequestId: strings.ToLower(rand.Text()), Namespace: "default", FunctionName: "local",
		FunctionVersion: "$LATEST",
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
	call := r.client.Go("Function.Invoke", &req, &resp, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		result.Response, result.Error = resp.Payload, resp.Error
		if call.Error != nil {
			p.End()
			result.Error = &FunctionError{Message: fmt.Sprintf("RequestId: %s the process exited: %v", req.RequestId,
				call.Error), Type: Exited}
		}
	case <-killed.C:
		p.End()
		result.Error = &FunctionError{Message: fmt.Sprintf("RequestId: %s timed out after %v", req.RequestId,
			r.config.Timeout), Type: TimedOut}
	case <-ctx.Done():
		p.End()
		return result, context.Cause(ctx)
	}
	result.Took = time.Since(began)
	p.Weigh()
	return result, nil
}

// running returns the process, which is started if there is none, and then how long that took.
func (r *Runtime) running() (*sandbox.Process, time.Duration, error) {
	if p := r.Process(); p != nil {
		return p, 0, nil
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, 0, err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	if err != nil {
		return nil, 0, err
	}
	p, err := r.Start(r.config.Binary, append([]string{
		"_LAMBDA_SERVER_PORT=" + port, "TENCENTCLOUD_RUNENV=SCF", "SCF_FUNCTIONNAME=local", "SCF_FUNCTIONVERSION=$LATEST",
		"TZ=UTC",
	}, r.config.Env...), r.config.Log, nil)
	if err != nil {
		return nil, 0, err
	}
	if r.client, err = dial(p, port); err != nil {
		p.End()
		return nil, 0, fmt.Errorf("%s: %w", r.config.Binary, err)
	}
	return p, time.Since(p.Started), nil
}

// errExited says that the process has exited before it answered.
var errExited = errors.New("the process exited")

// dial connects to the process once it listens, and pings it.
func dial(p *sandbox.Process, port string) (*rpc.Client, error) {
	// It does not say when it listens.
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(time.Millisecond) {
		select {
		case <-p.Exited:
			return nil, errExited
		default:
		}
		client, err := rpc.Dial("tcp", "localhost:"+port)
		if err != nil {
			continue
		}
		if err := client.Call("Function.Ping", &pingRequest{}, &pingResponse{}); err != nil {
			client.Close()
			continue // it exits
		}
		return client, nil
	}
	return nil, errors.New("it does not listen, or does not answer a ping")
}
