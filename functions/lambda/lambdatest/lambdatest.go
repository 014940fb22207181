// Package lambdatest runs the program of a Lambda function locally, as the platform does: it serves the Runtime API on
// the loopback, starts the process, gives it one event after another, kills it at its deadline and starts another one
// for the next event.
//
// The protocol: docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. Unlike on the platform, the process has all of
// the CPU and memory of this machine; [Runtime.Usage] tells what it used.
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

// A Config is the configuration of a function.
type Config struct {
	Binary  string        // the program, named bootstrap on the platform
	Env     []string      // name=value, in addition to the variables of the platform
	Timeout time.Duration // of an invocation, 1 s to 15 min on the platform
	Log     io.Writer     // what the process writes to its standard outputs; nil discards
}

// A Runtime runs one instance of a function. Its methods are safe for concurrent use; it runs one invocation at a time.
type Runtime struct {
	sandbox.Sandbox
	config Config

	invoking sync.Mutex // held during an invocation
	process  *process   // the latest; guarded by invoking
}

// A process is one process of the program. It has its own server, so that late requests of a dead process do not reach
// the next one.
type process struct {
	*sandbox.Process
	ready  chan struct{} // receives each time the process asks for an event
	events chan *invocation
	gone   chan struct{} // closed once the process has exited; the server uses it before there is a process

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

// A Result is the result of an invocation.
type Result struct {
	Response []byte         // nil without a response
	Error    *FunctionError // reported by the function, or about its process
	Took     time.Duration
	Start    time.Duration // from the start of the process to its first request for an event; 0 if it ran already
}

// A FunctionError is the error of an invocation, as the platform shows it.
type FunctionError struct {
	Message string `json:"errorMessage"`
	Type    string `json:"errorType"`
}

// TraceID is the X-Ray trace ID of every invocation.
const TraceID = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0"

// The types of errors that the platform reports.
const (
	TimedOut = "Sandbox.Timedout"
	Exited   = "Runtime.ExitError"
)

// New returns a Runtime. The first invocation starts the program. The caller must close the Runtime.
func New(config Config) *Runtime { return &Runtime{config: config} }

// Invoke gives the program an event and waits until the program asks for the next one, exits, or is killed at its
// deadline. If ctx ends, Invoke kills the program.
func (r *Runtime) Invoke(ctx context.Context, payload []byte) (Result, error) {
	r.invoking.Lock()
	defer r.invoking.Unlock()
	var result Result
	p, fresh, err := r.running()
	if err != nil {
		return result, err
	}
	select { // a process that has just responded is ready at once
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
		message := fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", inv.id, r.config.Timeout.Seconds())
		result.Error = &FunctionError{message, TimedOut}
	case <-ctx.Done():
		p.End()
		return result, context.Cause(ctx)
	}
	result.Took = time.Since(began)
	p.RecordPeakMemory()
	return result, nil
}

// running returns the process, and starts it and its server if there is none.
func (r *Runtime) running() (p *process, fresh bool, err error) {
	if r.Process() != nil {
		return r.process, false, nil
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, false, err
	}
	p = &process{ready: make(chan struct{}, 1), events: make(chan *invocation), gone: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", p.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", p.response)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", p.failure)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // it ends with the process
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

// next responds with the event of the next invocation.
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
		h.Set("Lambda-Runtime-Trace-Id", TraceID)
		h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:local")
		_, _ = w.Write(inv.payload) // an error means that the process is gone
	case <-p.gone:
	case <-req.Context().Done():
	}
}

func (p *process) response(w http.ResponseWriter, req *http.Request) {
	p.record(w, req, func(inv *invocation, body []byte) { inv.response = body })
}

func (p *process) failure(w http.ResponseWriter, req *http.Request) {
	p.record(w, req, func(inv *invocation, body []byte) {
		inv.failure = &FunctionError{}
		if err := json.Unmarshal(body, inv.failure); err != nil {
			inv.failure.Message = string(body)
		}
	})
}

// record stores the response or the error that the process reports for the current invocation. Like the platform, it
// refuses reports for other invocations.
func (p *process) record(w http.ResponseWriter, req *http.Request, set func(*invocation, []byte)) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 6<<20+1)) // the limit of the platform is 6 MB
	if err == nil && len(body) > 6<<20 {
		err = errors.New("the response exceeds 6 MB")
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
