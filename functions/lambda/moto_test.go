package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/blob/s3blob"
	"groupimport/pkg/export"
	"groupimport/pkg/results"
)

// A motoServer is a process of moto_server, an emulation of AWS. All tests use the same process, because its start
// takes seconds: each test has names of its own for what it creates there.
type motoServer struct {
	cmd *exec.Cmd // nil if the process was never started
	log bytes.Buffer
}

var (
	sharedMoto motoServer
	startMoto  = sync.OnceValues(sharedMoto.start)
)

// moto returns the base URL of moto_server, which it starts for the first test. Without moto_server it skips the test.
func moto(t *testing.T) string {
	t.Helper()
	base, err := startMoto()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip(`moto_server is not installed: pip install "moto[server]==5.2.1"`)
	}
	if err != nil {
		t.Fatal(err)
	}
	return base
}

func (m *motoServer) start() (base string, err error) {
	path, err := exec.LookPath("moto_server")
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr := listener.Addr().(*net.TCPAddr)
	listener.Close()
	m.cmd = exec.CommandContext(context.Background(), path, "-H", "127.0.0.1", "-p", strconv.Itoa(addr.Port))
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	if err := m.cmd.Start(); err != nil {
		m.cmd = nil
		return "", err
	}
	base = "http://" + addr.String()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) { // moto_server does not report when it is ready
		resp, err := http.Get(base + "/moto-api/")
		if err == nil {
			resp.Body.Close()
			return base, nil
		}
		if time.Since(start) > time.Minute {
			m.stop() // the log is complete then
			return "", fmt.Errorf("moto_server does not respond: %s", m.log.String())
		}
	}
}

// stop kills the process, if there is one.
func (m *motoServer) stop() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill() // it may have exited
		_ = m.cmd.Wait()         // the status is that of a killed process
		m.cmd = nil
	}
}

// call calls a service that speaks JSON, and returns its response.
func call(t *testing.T, base, service, target string, in map[string]any) (out struct {
	Queue    string `json:"QueueUrl"`
	Messages []struct{ Body, ReceiptHandle string }
},
) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, base, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("X-Amz-Target", target)
	scope := "a/20261101/us-east-1/" + service + "/aws4_request"
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+scope+", SignedHeaders=host, Signature=0")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %s %s, %v", target, resp.Status, text, err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%s: got %s, %v", target, text, err)
	}
	return out
}

// The test creates the template's rules in an emulated EventBridge with a queue as the target instead of the function.
// The events in the queue have passed the notifications of an emulated S3 and an independent implementation of the
// matcher.
func TestTemplate_RulesInAnEmulatedEventBridge(t *testing.T) {
	t.Parallel()
	base := moto(t)
	for _, put := range []struct{ path, body string }{
		{"/groups", ""},
		{"/groups?notification", `<NotificationConfiguration><EventBridgeConfiguration/></NotificationConfiguration>`},
	} {
		r, err := http.NewRequest(http.MethodPut, base+put.path, strings.NewReader(put.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("PUT %s: got %v, %v", put.path, resp, err)
		}
		resp.Body.Close()
	}
	env := map[string]string{
		"AWS_ENDPOINT_URL_S3": base, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s",
	}
	bucket, err := s3blob.Open(func(name string) string { return env[name] }, "groups", nil)
	if err != nil {
		t.Fatal(err)
	}
	queue := call(t, base, "sqs", "AmazonSQS.CreateQueue", map[string]any{"QueueName": "function"}).Queue
	tp := loadTemplate(t, nil)
	for name := range tp.patterns("groups") {
		at := []string{"Resources", "ImportFunction", "Properties", "Events", name, "Properties", "Pattern"}
		pattern, err := json.Marshal(tp.at(at...))
		if err != nil {
			t.Fatal(err)
		}
		call(t, base, "events", "AWSEvents.PutRule", map[string]any{"Name": name, "EventPattern": string(pattern)})
		call(t, base, "events", "AWSEvents.PutTargets", map[string]any{
			"Rule": name, "Targets": []map[string]any{{"Id": "1", "Arn": "arn:aws:sqs:us-east-1:123456789012:function"}},
		})
	}
	var keys []string
	for _, format := range export.Formats {
		for _, compression := range []string{"", ".gz", ".zst"} {
			suffix := format + compression
			keys = append(keys, "exports/a"+suffix, "exports/A"+strings.ToUpper(suffix), "elsewhere/a"+suffix)
		}
	}
	names := results.Names{Export: "exports/a.jsonl"}
	own := []string{
		names.Results(), names.Failures(), names.Report(), names.Progress(), names.Manifest(),
		names.Work() + "parts/000001-000001",
	}
	for _, key := range append(keys, own...) {
		if err := bucket.Put(t.Context(), key, strings.NewReader("{}")); err != nil {
			t.Fatal(err)
		}
	}
	started := map[string]int{}
	for {
		got := call(t, base, "sqs", "AmazonSQS.ReceiveMessage", map[string]any{"QueueUrl": queue, "MaxNumberOfMessages": 10})
		if len(got.Messages) == 0 {
			break
		}
		for _, m := range got.Messages {
			ev, err := parse([]byte(m.Body))
			if err != nil || len(ev.Objects) != 1 || ev.Objects[0].Bucket != "groups" {
				t.Fatalf("got %s, which is %+v, %v", m.Body, ev, err)
			}
			started[ev.Objects[0].Keys[0]]++
			call(t, base, "sqs", "AmazonSQS.DeleteMessage", map[string]any{"QueueUrl": queue, "ReceiptHandle": m.ReceiptHandle})
		}
	}
	for _, key := range append(keys, own...) {
		want := 0
		if tp.triggers("groups", key) {
			want = 1
		}
		if started[key] != want {
			t.Errorf("%s: got %d events, want %d", key, started[key], want)
		}
	}
	if len(started) < 20 {
		t.Errorf("got events about %d objects, want most of the exports below the prefix", len(started))
	}
}
