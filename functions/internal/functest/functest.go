// Package functest has what the tests of both cloud functions need.
package functest

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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

// Main runs the tests, and removes the program afterwards. It returns the exit status.
func (p *Program) Main(m *testing.M) int {
	var err error
	if p.dir, err = os.MkdirTemp("", p.Name); err != nil {
		panic(err)
	}
	defer os.RemoveAll(p.dir)
	p.built = sync.OnceValues(p.build)
	return m.Run()
}

// build builds as scripts/build does, but for this machine.
func (p *Program) build() (string, error) {
	name := filepath.Join(p.dir, p.Name)
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", p.Tags, "-ldflags", "-s -w -buildid=", //nolint:gosec,noctx // a test's
		"-o", name, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return name, nil
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

// An Unsolicited is a broken proxy. To each request it responds with Body, and then with a second response, which nobody
// asked for and which quotes the request.
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
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(u.Body), u.Body)
	time.Sleep(50 * time.Millisecond) // until the connection is idle
	fmt.Fprintf(conn, "%s HTTP/1.1 400 Bad Request\r\n\r\nbad request: %s\r\n", sig[20:], r.URL)
	time.Sleep(50 * time.Millisecond)
}

// Check waits until the second response is in the log and checks that the log holds no secret.
func (u *Unsolicited) Check(t *testing.T, l *Log) {
	t.Helper()
	for start := time.Now(); !strings.Contains(l.String(), "Unsolicited response"); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("got no message about an unsolicited response in the log:\n%s", l)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	sig := u.sigs[0] // of all requests, unless two seconds signed them
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

// ImportOverInvocations imports an export of n records that are in the bucket, in several invocations that end at their
// deadline, and checks that each record was sent once.
func ImportOverInvocations(t *testing.T, n int, bucket blob.Bucket, key string, service *emulator.Service,
	created, resume []byte, invoke func(event []byte) scheduler.Result,
) (invocations int) {
	t.Helper()
	event := created
	for finished := false; !finished; invocations++ {
		if invocations > 20 {
			t.Fatal("not finished after 20 invocations")
		}
		p := invoke(event)
		if len(p.Done) > 1 {
			t.Fatalf("got %+v, want one import", p)
		}
		finished = len(p.Done) == 1 && p.Done[0].State == results.Finished
		event = resume
	}
	outcomes := Outcomes(t, bucket, key)
	if len(outcomes) != n || invocations < 3 {
		t.Errorf("got %d outcomes in %d invocations, want %d in several", len(outcomes), invocations, n)
	}
	for i, o := range outcomes {
		if o.N != int64(i+1) || o.Status != outcome.Imported {
			t.Fatalf("got %+v, want record %d imported", o, i+1)
		}
	}
	if s := service.Stats(); s.Imports != n || s.Created != n {
		t.Errorf("got %d calls and %d groups, want %d of each: none cut off, none created twice", s.Imports, s.Created, n)
	}
	return invocations
}

// CheckUsage checks what the processes of n calls used.
func CheckUsage(t *testing.T, u sandbox.Usage, invocations, n int) {
	t.Helper()
	t.Logf("%d invocations in %d processes, %v of CPU = %v a call with TLS, at most %d MB",
		invocations, u.Processes, u.CPU, u.CPU/time.Duration(n), u.MaxRSS>>20)
	if u.MaxRSS == 0 || u.MaxRSS > 64<<20 {
		t.Errorf("got %d bytes of memory, want at most 64 MB", u.MaxRSS)
	}
}

// A Log takes what several processes write. Its zero value is empty.
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
