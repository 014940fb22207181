// Package scftest runs the program of an SCF function locally, as the platform does: it starts the process, calls it
// with net/rpc and gob, gives it one event after another with an environment and a deadline, kills it at its deadline
// and starts another one for the next event.
//
// The protocol is that of github.com/tencentyun/scf-go-lib, package messages. gob matches fields by name, so this
// package defines its own structs. Unlike on the platform, the process has all of the CPU and memory of this machine;
// [Runtime.Usage] tells what it used.
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

// A Config is the configuration of a function.
type Config struct {
	Binary  string        // the program, named main on the platform
	Env     []string      // name=value, in addition to the variables of the platform
	Timeout time.Duration // of an invocation, 1 s to 15 min on the platform
	Log     io.Writer     // what the process writes to its standard outputs; nil discards

	// Environment returns the variables that the platform sends with each event, such as the role's temporary keys. The
	// library sets them in the process. If Environment is nil, the Runtime sends none.
	Environment func() map[string]string

	// NoDeadline omits the deadline from the request; then only TimeLimitInMs holds the timeout. The documents do not
	// say whether the platform always sends the deadline.
	NoDeadline bool
}

// A Runtime runs one instance of a function. Its methods are safe for concurrent use; it runs one invocation at a time.
type Runtime struct {
	sandbox.Sandbox
	config Config

	invoking sync.Mutex  // held during an invocation
	client   *rpc.Client // of the latest process; guarded by invoking
}

// A Result is the result of an invocation.
type Result struct {
	Response []byte         // nil without a response
	Error    *FunctionError // reported by the function, or about its process
	Took     time.Duration
	Start    time.Duration // from the start of the process to its response to a ping; 0 if it ran already
}

// A FunctionError is the error of an invocation.
type FunctionError struct {
	Message    string
	Type       string
	ShouldExit bool
}

// The types of errors that the platform reports, named after its codes 433 and 439:
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

// New returns a Runtime. The first invocation starts the program. The caller must close the Runtime.
func New(config Config) *Runtime { return &Runtime{config: config} }

// Invoke gives the program an event and waits until it responds, exits, or is killed at its deadline. If ctx ends,
// Invoke kills the process.
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
	p.RecordPeakMemory()
	return result, nil
}

// running returns the process. If there is none, running starts one and also returns how long the start took.
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

// errExited says that the process exited before it responded to a ping.
var errExited = errors.New("the process exited")

// dial connects to the process once it listens, and pings it.
func dial(p *sandbox.Process, port string) (*rpc.Client, error) {
	// The process does not report when it listens.
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
			continue // the process is exiting
		}
		return client, nil
	}
	return nil, errors.New("the process does not listen or does not respond to a ping")
}
