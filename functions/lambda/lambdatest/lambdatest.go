// Package lambdatest runs the program of a Lambda function on this machine, as the platform does: it
// serves the Runtime API on the loopback, starts the process, hands it one event after another, kills it
// at its deadline and starts another one for the next event.
//
// The protocol: docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. Not like the platform are the
// speed of the processor and the memory, of which there is as much as this machine has; [Runtime.Usage]
// tells what was used.
package lambdatest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/functions/internal/sandbox"
)

// A Config says what to run.
type Config struct {
	Binary  string        // the program, named bootstrap on the platform
	Env     []string      // as name=value; the process has no other than these and the platform's
	Timeout time.Duration // of an invocation, 1 s to 15 min on the platform
	Log     io.Writer     // what the process writes to its standard outputs; nil discards
}

// A Runtime runs one instance of a function. Its methods may be called concurrently; one invocation is
// under way at a time.
type Runtime struct {
	sandbox.Sandbox
	config Config

	invoking sync.Mutex // held during an invocation
	process  *process   // the latest; guarded by invoking
}

// A process is one life of the program. It has a server of its own, so that nothing that a dead one has
// sent is taken for another's.
type process struct {
	*sandbox.Process
	ready  chan struct{} // receives each time the process asks for an event
	events chan *invocation
	gone   chan struct{} // closed once it has ended; the server has it before there is a process

	mu      sync.Mutex
	current *invocation
}

type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
	response []byte
	failure  *FunctionError
}

// A Result is what an invocation came to.
type Result struct {
	Response []byte         // what the function answered; nil if it did not
	Error    *FunctionError // what it reported, or what became of its process
	Took     time.Duration
	Start    time.Duration // from the start of the process to its first question; 0 if it ran already
}

// A FunctionError is the error of an invocation, as the platform shows it.
type FunctionError struct {
	Message string `json:"errorMessage"`
	Type    string `json:"errorType"`
}

// The types of errors that the function does not report itself.
const (
	TimedOut = "Sandbox.Timedout"
	Exited   = "Runtime.ExitError"
)

// New returns a Runtime. It starts the program when it is invoked. Close it.
func New(config Config) *Runtime { return &Runtime{config: config} }

// Invoke gives the program an event and waits until it has done with it: until it asks for the next one,
// exits, or is killed because its time is up. A done ctx kills it too, at any moment.
func (r *Runtime) Invoke(ctx context.Context, payload []byte) (Result, error) {
	r.invoking.Lock()
	defer r.invoking.Unlock()
	var result Result
	p, fresh, err := r.running()
	if err != nil {
		return result, err
	}
	select { // on a process that has just answered this is immediate
	case <-p.ready:
	case <-p.Exited:
		return Result{Error: &FunctionError{"the process exited before it asked for an event", Exited}}, nil
	case <-time.After(10 * time.Second): // the platform's limit of the init phase
		p.End()
		return Result{Error: &FunctionError{"the process did not ask for an event within 10 seconds", TimedOut}}, nil
	}
	if fresh {
		result.Start = time.Since(p.Started)
	}
	began := time.Now()
	inv := &invocation{id: strings.ToLower(rand.Text()), payload: payload, deadline: began.Add(r.config.Timeout)}
	p.events <- inv
	killed := time.NewTimer(r.config.Timeout)
	defer killed.Stop()
	select {
	case <-p.ready:
		p.ready <- struct{}{} // for the next invocation
		result.Response, result.Error = inv.response, inv.failure
	case <-p.Exited:
		result.Response, result.Error = inv.response, inv.failure
		if result.Response == nil && result.Error == nil {
			result.Error = &FunctionError{fmt.Sprintf("RequestId: %s Error: Runtime exited", inv.id), Exited}
		}
	case <-killed.C:
		p.End()
		result.Error = &FunctionError{fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", inv.id, r.config.Timeout.Seconds()), TimedOut}
	case <-ctx.Done():
		p.End()
		return result, context.Cause(ctx)
	}
	result.Took = time.Since(began)
	p.Weigh()
	return result, nil
}

// running returns the process, which is started if there is none, with the server that it talks to.
func (r *Runtime) running() (p *process, fresh bool, err error) {
	if r.Process() != nil {
		return r.process, false, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // the loopback does not take long
	if err != nil {
		return nil, false, err
	}
	p = &process{ready: make(chan struct{}, 1), events: make(chan *invocation), gone: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", p.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", p.response)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", p.failure)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener) //nolint:errcheck // it ends with the process
	p.Process, err = r.Start(r.config.Binary, append([]string{
		"AWS_LAMBDA_RUNTIME_API=" + listener.Addr().String(),
		"AWS_LAMBDA_FUNCTION_NAME=local", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"LAMBDA_TASK_ROOT=/var/task", "_HANDLER=bootstrap", "TZ=:UTC",
	}, r.config.Env...), r.config.Log, func() {
		close(p.gone)
		server.Close()
	})
	if err != nil {
		server.Close()
		return nil, false, err
	}
	r.process = p
	return p, true, nil
}

// next hands out the event of the invocation that comes next.
func (p *process) next(w http.ResponseWriter, req *http.Request) {
	p.mu.Lock()
	p.current = nil
	p.mu.Unlock()
	p.ready <- struct{}{}
	select {
	case inv := <-p.events:
		p.mu.Lock()
		p.current = inv
		p.mu.Unlock()
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:local")
		w.Write(inv.payload) //nolint:errcheck // a process that is gone reads nothing
	case <-p.gone:
	case <-req.Context().Done():
	}
}

func (p *process) response(w http.ResponseWriter, req *http.Request) {
	p.answer(w, req, func(inv *invocation, body []byte) { inv.response = body })
}

func (p *process) failure(w http.ResponseWriter, req *http.Request) {
	p.answer(w, req, func(inv *invocation, body []byte) {
		inv.failure = &FunctionError{}
		if err := json.Unmarshal(body, inv.failure); err != nil {
			inv.failure.Message = string(body)
		}
	})
}

// answer takes what the process says about the invocation under way. The platform refuses what is about
// another.
func (p *process) answer(w http.ResponseWriter, req *http.Request, set func(*invocation, []byte)) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 6<<20+1)) // 6 MB is what the platform takes
	if err == nil && len(body) > 6<<20 {
		err = errors.New("the answer has more than 6 MB")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	inv := p.current
	if err != nil || inv == nil || inv.id != req.PathValue("id") {
		http.Error(w, `{"errorMessage":"no such invocation","errorType":"InvalidRequestID"}`, http.StatusBadRequest)
		return
	}
	set(inv, body)
	w.WriteHeader(http.StatusAccepted)
}
