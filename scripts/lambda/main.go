// Command lambda runs functions/lambda locally as AWS does: versitygw is the S3 server over a folder, package
// lambdatest is the platform, and an emulated IM service creates the groups.
//
//	go run ./scripts/lambda [-timeout 1m] DIR
//
// Put exports into the bucket through the server: files that are copied into DIR have no events. Ctrl-C ends
// everything.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/functions/lambda/lambdatest"
	"groupimport/pkg/emulator"
	"groupimport/pkg/export"
	"groupimport/pkg/results"
)

const (
	bucket      = "groups"
	prefix      = "exports/"
	accessKey   = "local"
	storeSecret = "local-secret"
)

func main() {
	timeout := flag.Duration("timeout", time.Minute, "of an invocation; AWS allows up to 15m")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: go run ./scripts/lambda [-timeout 1m] DIR")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, flag.Arg(0), *timeout); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "lambda:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, timeout time.Duration) error {
	dir, err := filepath.Abs(dir) // versitygw changes its working directory
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, bucket, prefix), 0o750); err != nil {
		return err
	}
	program := filepath.Join(os.TempDir(), fmt.Sprintf("bootstrap-%d", os.Getpid()))
	defer os.Remove(program)
	args := []string{"build", "-tags", "lambda.norpc,nethttpomithttp2", "-o", program, "./functions/lambda"}
	build := exec.CommandContext(ctx, "go", args...)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}

	events := make(chan []byte, 10_000)
	hook, err := serve(ctx, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if event, err := io.ReadAll(r.Body); err == nil {
			events <- event
		}
	}))
	if err != nil {
		return err
	}
	service, err := serve(ctx, &emulator.Service{SDKAppID: 1400000000, Key: "local-key", Latency: 30 * time.Millisecond})
	if err != nil {
		return err
	}
	store, err := storeServer(ctx, dir, hook)
	if err != nil {
		return err
	}
	env := []string{
		"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + storeSecret,
		"AWS_ENDPOINT_URL=" + store,
	}
	fmt.Printf("the bucket is s3://%s at %s, in %s\n", bucket, store, filepath.Join(dir, bucket))
	fmt.Printf("put an export there:  %s aws s3 cp acme.jsonl s3://%s/%s\n", strings.Join(env, " "), bucket, prefix)
	fmt.Printf("imported groups:      curl %s/emulator/groups\n", service)

	config := lambdatest.Config{Binary: program, Timeout: timeout, Log: os.Stderr, Env: append([]string{
		"EXPORT_BUCKET=" + bucket, "EXPORT_PREFIX=" + prefix, "ONE_AT_A_TIME=true", "TIM_SDKAPPID=1400000000",
		"TIM_SECRET_KEY=local-key", "TIM_ENDPOINT=" + service,
	}, env...)}
	imports, schedule := lambdatest.New(config), lambdatest.New(config)
	defer imports.Close()
	defer schedule.Close()
	go func() {
		for {
			select {
			case event := <-events:
				if triggers(event) {
					invoke(ctx, "event", imports, event)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	resume, retry := time.NewTicker(time.Minute), time.NewTicker(5*time.Minute)
	for {
		select {
		case <-resume.C:
			invoke(ctx, "resume", schedule, []byte(`{"action":"resume"}`))
		case <-retry.C:
			invoke(ctx, "retry", schedule, []byte(`{"action":"retry"}`))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// triggers reports whether the filter of the trigger passes an event.
func triggers(event []byte) bool {
	var e struct {
		Records []struct {
			S3 struct {
				Object struct {
					Key string `json:"key"`
				} `json:"object"`
			} `json:"s3"`
		}
	}
	if json.Unmarshal(event, &e) != nil || len(e.Records) != 1 {
		return false
	}
	key := e.Records[0].S3.Object.Key
	return export.IsExport(key) && !results.IsOutput(key)
}

func invoke(ctx context.Context, what string, f *lambdatest.Runtime, payload []byte) {
	r, err := f.Invoke(ctx, payload)
	switch {
	case err != nil:
		fmt.Printf("%s: %v\n", what, err)
	case r.Error != nil:
		fmt.Printf("%s: %s: %s\n", what, r.Error.Type, r.Error.Message)
	default:
		fmt.Printf("%s: %s\n", what, r.Response)
	}
}

// serve serves h on a port of this machine until ctx ends, and returns its base URL.
func serve(ctx context.Context, h http.Handler) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	go func() { _ = server.Serve(listener) }() // ctx ends it
	return "http://" + listener.Addr().String(), nil
}

// storeServer starts versitygw and returns its base URL once it responds.
func storeServer(ctx context.Context, dir, hook string) (string, error) {
	path, err := exec.LookPath("versitygw")
	if err != nil {
		return "", errors.New("versitygw is not in PATH: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr := listener.Addr().String()
	listener.Close()
	args := []string{"--port", addr, "--quiet", "--health", "/health", "--event-webhook-url", hook, "posix", dir}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+accessKey, "ROOT_SECRET_ACCESS_KEY="+storeSecret)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return "", err
	}
	go func() { _ = cmd.Wait() }() // ctx ends it
	for range 500 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/health", nil)
		if err != nil {
			return "", err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			return "http://" + addr, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return "", errors.New("versitygw does not respond")
}
