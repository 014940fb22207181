package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestEmulator_TLS uses the emulator over TLS with the variables that it prints. Without its certificate calls fail.
func TestEmulator_TLS(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 3, true)
	name, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cert := filepath.Join(d.dir, "a certificate.pem")
	server := exec.CommandContext(t.Context(), name,
		"emulator", "--listen", "127.0.0.1:0", "--latency", "1ms", "--tls", cert)
	stderr, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	var export string
	for lines := bufio.NewScanner(stderr); export == "" && lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "  export "); ok {
			export = text
		}
	}
	for _, want := range []string{"TIM_ENDPOINT=https://127.0.0.1:", " SSL_CERT_FILE='" + cert + "'"} {
		if !strings.Contains(export, want) {
			t.Errorf("got %q, want %s in it", export, want)
		}
	}
	run := func(settings, file string) (int, string) {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "export "+settings+`; exec "$0" import --quiet "$1"`, name, file)
		cmd.Dir, cmd.Env = d.dir, append(d.env, "MAX_ATTEMPTS=1")
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(out)
	}
	if code, out := run(export, "a.jsonl"); code != exitOK {
		t.Errorf("got status %d and %q", code, out)
	}
	record := []byte(`{"GroupId":"b","Type":"Public","Name":"B"}`)
	if err := os.WriteFile(filepath.Join(d.dir, "b.jsonl"), record, 0o600); err != nil {
		t.Fatal(err)
	}
	untrusting, _, _ := strings.Cut(export, " SSL_CERT_FILE=")
	if code, out := run(untrusting, "b.jsonl"); code == exitOK || !strings.Contains(out, "certificate") {
		t.Errorf("without the certificate: got status %d and %q, want a failure that names it", code, out)
	}
	server.Process.Signal(syscall.SIGINT)
	server.Wait()
}
