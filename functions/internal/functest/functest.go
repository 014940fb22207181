// Package functest has the parts of the tests that both cloud functions share.
package functest

import (
	"bytes"
	"context"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/functions/internal/sandbox"
	"groupimport/pkg/blob"
	"groupimport/pkg/emulator"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// SecretKey is the key of the app. It must appear in no log.
const SecretKey = "the-key-that-nobody-may-see"

// A Program is built from the package in the current folder, once, when a test first needs it.
type Program struct {
	Name string // of the file
	Tags string // for go build

	dir   string
	built func() (string, error)
}

// parallel is how many tests run at the same time. Most of the time they wait for a rate or for a process, so more of
// them than processors do not slow each other down.
const parallel = "8"

// Main runs the tests, and removes the program afterwards. It returns the exit status.
func (p *Program) Main(m *testing.M) int {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	err := error(nil)
	if !set {
		err = flag.Set("test.parallel", parallel)
	}
	if err == nil {
		p.dir, err = os.MkdirTemp("", p.Name)
	}
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(p.dir)
	p.built = sync.OnceValues(func() (string, error) {
		name := filepath.Join(p.dir, p.Name)
		return name, build(name, p.Tags)
	})
	return m.Run()
}

// build builds the program in the current folder as scripts/build does, but for this machine.
func build(name, tags string) error {
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-buildvcs=false", "-tags", tags,
		"-ldflags", "-s -w -buildid=", "-o", name, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// File returns the path of the program.
func (p *Program) File(t *testing.T) string {
	t.Helper()
	file, err := p.built()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Service starts an emulated IM service behind TLS. It returns the variables that a function needs for it, and the file
// with its certificate.
func Service(t *testing.T) (service *emulator.Service, env map[string]string, certificate string) {
	t.Helper()
	service = &emulator.Service{SDKAppID: 1400000000, Key: SecretKey, Limit: -1, Latency: 20 * time.Millisecond}
	server := httptest.NewUnstartedServer(service)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // processes that are killed break off handshakes
	server.StartTLS()
	t.Cleanup(server.Close)
	certificate = filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(certificate, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return service, map[string]string{
		"EXPORT_PREFIX": "exports/", "ONE_AT_A_TIME": "true",
		"TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": SecretKey, "TIM_ENDPOINT": server.URL, "TIM_RATE": "190",
	}, certificate
}

// An Unsolicited is a broken proxy. It responds to each request with Body, and then sends an unsolicited second
// response that quotes the request.
type Unsolicited struct {
	Body string // JSON

	mu   sync.Mutex
	sigs []string
}

func (u *Unsolicited) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sig := r.URL.Query().Get("usersig")
	u.mu.Lock()
	u.sigs = append(u.sigs, sig)
	u.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	// Send both responses at once, so that the client reads the second one as soon as the connection is idle, before it
	// sends another request. Then the number of attempts that fail does not depend on timing.
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"+
		"%s HTTP/1.1 400 Bad Request\r\n\r\nbad request: %s\r\n", len(u.Body), u.Body, sig[20:], r.URL)
	time.Sleep(50 * time.Millisecond) // until it is read
}

// Check waits until the second response is in the log and checks that the log holds no secret.
func (u *Unsolicited) Check(t *testing.T, l *Log) {
	t.Helper()
	if !l.Await("Unsolicited response") {
		t.Fatalf("got no message about an unsolicited response in the log:\n%s", l)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	sig := u.sigs[0] // of all requests, unless the requests were signed in different seconds
	l.Check(t, SecretKey, sig[:20], sig[20:40], sig[len(sig)-20:])
}

// Put writes an object of lines.
func Put(t *testing.T, bucket blob.Bucket, key string, lines ...string) {
	t.Helper()
	if err := bucket.Put(t.Context(), key, strings.NewReader(strings.Join(lines, "\n"))); err != nil {
		t.Fatal(err)
	}
}

// Outcomes returns the results of an export.
func Outcomes(t *testing.T, bucket blob.Bucket, key string) []outcome.Outcome {
	t.Helper()
	data, err := blob.ReadAll(t.Context(), bucket, results.Names{Export: key}.Results(), 100<<20)
	if err != nil {
		t.Fatal(err)
	}
	var all []outcome.Outcome
	for line := range bytes.Lines(data) {
		o, _, err := outcome.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

// Records returns n records as JSON, half of which have a GroupId.
func Records(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		id := ""
		if i%2 == 0 {
			id = fmt.Sprintf(`,"GroupId":"g%d"`, i+1)
		}
		lines[i] = fmt.Sprintf(`{"Type":"Public","Name":"n%d"%s}`, i+1, id)
	}
	return lines
}

// FinishInParts imports an export whose dead-letter file is so large that it is written in several parts. invoke
// handles the event of a key.
func FinishInParts(t *testing.T, bucket blob.Bucket, invoke func(key string) Reply) {
	t.Helper()
	const key, n = "exports/parts.jsonl", 100
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf(`{"Type":"Public","Name":"g%d","Introduction":"%0*d"}`, i, 2*blob.UploadPartSize/n, i)
	}
	Put(t, bucket, key, lines...)
	reply := invoke(key)
	pass, failure := reply.Pass(t)
	if failure != nil || len(pass.Done) != 1 || pass.Done[0].Counts.Rejected != n {
		t.Fatalf("got %+v, %+v, want every record rejected", pass, failure)
	}
	data, err := blob.ReadAll(t.Context(), bucket, results.Names{Export: key}.Failures(), 100<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range slices.Collect(bytes.Lines(data)) {
		_, record, err := outcome.Parse(line)
		if err != nil || string(record) != lines[i] {
			t.Fatalf("line %d of the dead-letter file has %d bytes, error %v, want the record", i+1, len(line), err)
		}
	}
	if got := bytes.Count(data, []byte("\n")); got != n {
		t.Errorf("got %d lines in the dead-letter file, want %d", got, n)
	}
}

// A Reply is the result of an invocation.
type Reply struct {
	Response  []byte
	ErrorType string // "" without an error
	Message   string // of the error
}

// Pass returns what a scheduler pass or an event did, or the failure of the invocation.
func (r *Reply) Pass(t *testing.T) (pass scheduler.Result, failure *Reply) {
	t.Helper()
	if r.ErrorType != "" {
		return pass, r
	}
	return r.Result(t), nil
}

// Result returns the response as the result of a scheduler pass. It fails the test if the response is none.
func (r *Reply) Result(t *testing.T) scheduler.Result {
	t.Helper()
	var pass scheduler.Result
	if err := json.Unmarshal(r.Response, &pass); err != nil {
		t.Fatalf("got response %q: %v", r.Response, err)
	}
	return pass
}

// isFinished reports whether the import of an event has finished.
func (r *Reply) isFinished(t *testing.T) bool {
	t.Helper()
	pass := r.Result(t)
	return len(pass.Done) == 1 && pass.Done[0].State == results.Finished
}

// isBusy reports whether another invocation has the lease of the import.
func (r *Reply) isBusy(t *testing.T) bool {
	t.Helper()
	pass := r.Result(t)
	return len(pass.Done) == 1 && pass.Done[0].Owner != ""
}

// Patiently calls try with a timeout of invocations of 4 s. If try returns false, because this machine was too slow for
// the timeout, Patiently doubles it, up to 32 s. A program that ignores its deadline fails with every timeout.
func Patiently(t *testing.T, try func(timeout time.Duration) bool) {
	t.Helper()
	for timeout := 4 * time.Second; !try(timeout); timeout *= 2 {
		if timeout == 32*time.Second {
			t.Fatalf("got an invocation that did not end within %v", timeout)
		}
		t.Logf("an invocation did not end within %v: try a longer timeout", timeout)
	}
}

// An Import is the import of one export by a function.
type Import struct {
	Bucket  blob.Bucket
	Key     string // of the export
	Records int
	Service *emulator.Service
	Created []byte // event: the export was created
	Resume  []byte // event of the schedule
	Invoke  func(event []byte) Reply
}

// OverInvocations imports the export in several invocations that end at their deadline, and checks that each record was
// sent once. It returns the number of invocations, and false if an invocation or a response took too long.
func (i *Import) OverInvocations(t *testing.T) (invocations int, ok bool) {
	t.Helper()
	event := i.Created
	for finished := false; !finished; invocations++ {
		if invocations > 20 {
			t.Fatal("got no end after 20 invocations")
		}
		r := i.Invoke(event)
		if r.ErrorType != "" {
			t.Logf("got %s: %s", r.ErrorType, r.Message)
			return invocations, false
		}
		if finished = r.isFinished(t); invocations > 0 && r.isBusy(t) {
			t.Log("an invocation had no time left to release its lease")
			return invocations, false
		}
		event = i.Resume
	}
	outcomes := Outcomes(t, i.Bucket, i.Key)
	if len(outcomes) != i.Records || invocations < 3 {
		t.Errorf("got %d outcomes in %d invocations, want %d in several", len(outcomes), invocations, i.Records)
	}
	for n, o := range outcomes {
		// A response came later than the reserve allows. A record with a GroupId is then sent again.
		if o.Status == outcome.Unknown || o.Status == outcome.Exists {
			t.Logf("got %+v", o)
			return invocations, false
		}
		if o.N != int64(n+1) || o.Status != outcome.Imported {
			t.Fatalf("got %+v, want record %d imported", o, n+1)
		}
	}
	if s := i.Service.Stats(); s.Imports != i.Records || s.Created != i.Records {
		t.Errorf("got %d calls and %d groups, want %d of each: no call interrupted, no group created twice",
			s.Imports, s.Created, i.Records)
	}
	return invocations, true
}

// DespiteKills imports the export while kill ends the process: each time when the service has received that many calls.
// It checks that a run respects the leases of the killed one, that every record has one outcome, and that no group was
// created twice.
func (i *Import) DespiteKills(t *testing.T, kill func(), calls ...int) {
	t.Helper()
	for n, at := range calls {
		done := make(chan struct{})
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			for i.Service.Stats().Imports < at {
				select {
				case <-done:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
			kill()
		}()
		r := i.Invoke(i.Created)
		close(done)
		<-killed
		if r.ErrorType == "" {
			t.Fatalf("got %s, want kill %d before the end", r.Response, n+1)
		}
		looked := i.Invoke(i.Resume)
		if looked.ErrorType != "" || !strings.Contains(string(looked.Response), "uses the shared rate") {
			t.Errorf("got %+v, want the lease of the killed run respected", looked)
		}
		ExpireLeases(t, i.Bucket)
	}
	if r := i.Invoke(i.Created); r.ErrorType != "" || !r.isFinished(t) {
		t.Fatalf("got %s %s, want it finished", r.ErrorType, r.Message)
	}
	unknown := 0
	outcomes := Outcomes(t, i.Bucket, i.Key)
	seen := map[string]bool{}
	for n, o := range outcomes {
		if o.N != int64(n+1) {
			t.Fatalf("got %+v, want record %d", o, n+1)
		}
		switch o.Status {
		case outcome.Imported, outcome.Exists:
			if seen[o.GroupID] {
				t.Errorf("got %s twice", o.GroupID)
			}
			seen[o.GroupID] = true
		case outcome.Unknown:
			unknown++
		case outcome.Rejected, outcome.Failed, outcome.Skipped, outcome.Pending:
			t.Errorf("got %+v, want it imported", o)
		}
	}
	if len(outcomes) != i.Records || unknown > len(calls)*1000 {
		t.Errorf("got %d outcomes, %d of them unknown after %d kills", len(outcomes), unknown, len(calls))
	}
	if s := i.Service.Stats(); s.Created > i.Records {
		t.Errorf("got %d groups of %d records", s.Created, i.Records)
	}
}

// ExpireLeases moves the expiry of all leases into the past, so that a test need not wait until the lease of a killed
// run expires.
func ExpireLeases(t *testing.T, bucket blob.Bucket) {
	t.Helper()
	for info, err := range bucket.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(info.Key, "/lease/") {
			continue
		}
		data, err := blob.ReadAll(t.Context(), bucket, info.Key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var lease map[string]any
		if err := json.Unmarshal(data, &lease); err != nil {
			t.Fatal(err)
		}
		lease["until"] = time.Now().Add(-time.Hour)
		if data, err = json.Marshal(lease); err != nil {
			t.Fatal(err)
		}
		if err := bucket.Put(t.Context(), info.Key, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
}

// CheckUsage checks the memory of processes that made n calls, and logs their usage.
func CheckUsage(t *testing.T, u sandbox.Usage, invocations, n int) {
	t.Helper()
	t.Logf("%d invocations in %d processes, %v of CPU = %v a call with TLS, at most %d MB",
		invocations, u.Processes, u.CPU, u.CPU/time.Duration(n), u.MaxRSS>>20)
	if u.MaxRSS == 0 || u.MaxRSS > 64<<20 {
		t.Errorf("got %d bytes of memory, want at most 64 MB", u.MaxRSS)
	}
}

// A Log collects the output of several processes. Its zero value is empty.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Await waits until the log contains the text, because the output of a process can arrive later than its response. It
// returns false after 10 s.
func (l *Log) Await(text string) bool {
	for start := time.Now(); !strings.Contains(l.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			return false
		}
	}
	return true
}

// Check writes the log if the test has failed, and fails it if one of these texts is in the log.
func (l *Log) Check(t *testing.T, secrets ...string) {
	t.Helper()
	if t.Failed() {
		t.Logf("the log:\n%s", l)
	}
	for _, secret := range secrets {
		if strings.Contains(l.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// Together creates several exports at the same moment and one later. A new instance of the function handles the event
// of each export. Together checks that all exports are imported without the schedule, although only one instance has
// the rate at a time. invoke invokes a new instance with the event of an export.
func Together(t *testing.T, bucket blob.Bucket, service *emulator.Service, invoke func(key string) Reply) {
	t.Helper()
	const large, small = 1500, 10
	var invocations sync.WaitGroup
	drop := func(key string, n int) {
		records := make([]string, n)
		for i := range records {
			records[i] = fmt.Sprintf(`{"Type":"Public","Name":"n","GroupId":"%s-%d"}`, filepath.Base(key), i)
		}
		Put(t, bucket, key, records...)
		invocations.Go(func() {
			if r := invoke(key); r.ErrorType != "" {
				t.Errorf("%s: got %s: %s, want no error although another instance has the rate", key, r.ErrorType, r.Message)
			}
		})
	}
	keys := []string{"exports/large.jsonl"}
	drop(keys[0], large)
	for n := range 4 {
		keys = append(keys, fmt.Sprintf("exports/small-%d.jsonl", n))
		drop(keys[n+1], small)
	}
	for service.Stats().Imports < large/4 {
		time.Sleep(10 * time.Millisecond)
	}
	late := "exports/late.jsonl"
	drop(late, small)
	start, took := time.Now(), time.Duration(0)
	dir := results.Dir{Bucket: bucket, Names: results.Names{Export: late}}
	for took == 0 && time.Since(start) < time.Minute {
		if _, err := dir.LoadManifest(t.Context()); err == nil {
			took = time.Since(start)
		}
		time.Sleep(50 * time.Millisecond)
	}
	duringLarge := service.Stats().Imports < large
	invocations.Wait()
	t.Logf("the late export was finished after %v, during the large one: %v", took, duringLarge)
	for _, key := range append(keys, late) {
		dir.Names.Export = key
		if _, err := dir.LoadManifest(t.Context()); err != nil {
			t.Errorf("%s is not finished after all invocations: %v", key, err)
		}
	}
	if s := service.Stats(); s.Created != large+5*small || s.Imports != s.Created {
		t.Errorf("got %d groups of %d calls, want %d of each", s.Created, s.Imports, large+5*small)
	}
}
