package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// A trap is a file that somebody may put into a folder of exports.
type trap struct {
	key   string
	put   func(name string) error // creates it
	words string                  // in the message of watch about it, empty for no message
}

// content returns a put that writes a file with this content.
func content(text string) func(string) error {
	return func(name string) error { return os.WriteFile(name, []byte(text), 0o600) }
}

const good = `{"Type":"Public","Name":"N","GroupId":"n"}` + "\n"

// planted returns a put that writes a file into a work folder.
func planted(text string) func(string) error {
	return func(name string) error {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		return content(text)(name)
	}
}

// blank returns a put that writes 1.5 GiB of blank lines in a few MB: the same compressed stream many times.
func blank(compress func(io.Writer) io.WriteCloser) func(string) error {
	return func(name string) error {
		var stream bytes.Buffer
		w := compress(&stream)
		if _, err := w.Write(bytes.Repeat([]byte("\n"), 8<<20)); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		return os.WriteFile(name, bytes.Repeat(stream.Bytes(), 192), 0o600)
	}
}

const notRegular = "ignored: not a regular file"

// traps must not harm the import of a good export beside them: each may cause a message and nothing else.
var traps = []trap{
	{"pipe.jsonl", func(name string) error { return syscall.Mkfifo(name, 0o600) }, notRegular},
	{"pipe.jsonl.results.ndjson", func(name string) error { return syscall.Mkfifo(name, 0o600) }, ""},
	{"socket.jsonl", func(name string) error {
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: name})
		if err == nil {
			listener.SetUnlinkOnClose(false)
			err = listener.Close()
		}
		return err
	}, notRegular},
	{"folder.jsonl", func(name string) error { return os.Mkdir(name, 0o700) }, ""},
	{"sparse.jsonl", func(name string) error {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			return err
		}
		return os.Truncate(name, 8e12)
	}, "reading it to see whether it has changed, 0% of 8.0 TB"},
	{"columns.csv", content(strings.Repeat("c,", 16_000) + "Type\n"), "the CSV header, line 1: unknown column"},
	{
		"deep.jsonl", content(`{"Type":"Public","Name":` + strings.Repeat("[", 100_000) + "\n"),
		"finished: 0 imported, 1 rejected",
	},
	{"zeros.json", content(strings.Repeat("\x00", 10_000)), "zeros.json: start: "},
	{"escape\x1b[2J\u202e\u009b.jsonl", content("x"), `escape\x1b[2J\u202e\u009b.jsonl": `},
	{"line\nbreak.jsonl", content("x"), `"line\nbreak.jsonl": `},
	{"-rf.jsonl", content("x"), "-rf.jsonl: start: "},
	{
		"field.jsonl", content(`{"a\u001b[2J\u202e\n":1,"Type":"Public","Name":"F"}` + "\n"),
		"field.jsonl: start: finished: 0 imported, 1 rejected",
	},
	{strings.Repeat("n", 249) + ".jsonl", content("x"), "name too long for the names of the results"},
	{"unreadable.jsonl", func(name string) error { return os.WriteFile(name, []byte("x"), 0) }, "unreadable.jsonl: "},
	{
		"out.jsonl", func(name string) error { return os.Symlink("/etc/passwd", name) },
		"ignored: it is a link to outside its folder",
	},
	{"circle.jsonl", func(name string) error { return os.Symlink("circle.jsonl", name) }, ""},
	{"report.jsonl.report.html", content("<script>"), ""},
	{
		"blank.jsonl.gz", blank(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }),
		"blank.jsonl.gz: start: cannot parse the export beyond line",
	},
	{"blank.jsonl.zst", blank(func(w io.Writer) io.WriteCloser {
		z, err := zstd.NewWriter(w)
		if err != nil {
			panic(err)
		}
		return z
	}), "blank.jsonl.zst: start: cannot parse the export beyond line"},
	{"runs.jsonl", content(good), ""},
	{"runs.jsonl.import/checkpoint/000001", planted(`{"runs":[]}`), "runs.jsonl.import/checkpoint/000001\" is not usable"},
	{"progress.jsonl", content(good), "progress.jsonl: resume: "},
	{"progress.jsonl.import/progress", planted(`{"state":"running","runs":-1}`), ""},
	{"lease.jsonl", content(good), "lease.jsonl: x is working on it"},
	{"lease.jsonl.import/lease/000001", planted(`{"number":1,"holder":"x","until":"2999-01-01T00:00:00Z"}`), ""},
	{".cache.tmp", content("of another program"), ""},
	{".0123456789abcdef.tmp", content("of another program"), ""},
}

// setTraps puts all traps into a folder.
func setTraps(t *testing.T, dir string) {
	t.Helper()
	for _, trap := range traps {
		if err := trap.put(filepath.Join(dir, trap.key)); err != nil {
			t.Fatalf("%q: %v", trap.key, err)
		}
	}
	longAgo := time.Now().Add(-48 * time.Hour)
	for _, name := range []string{".cache.tmp", ".0123456789abcdef.tmp"} {
		if err := os.Chtimes(filepath.Join(dir, name), longAgo, longAgo); err != nil {
			t.Fatal(err)
		}
	}
}

// checkTraps checks that all traps still exist.
func checkTraps(t *testing.T, dir string) {
	t.Helper()
	for _, trap := range traps {
		if _, err := os.Lstat(filepath.Join(dir, trap.key)); err != nil {
			t.Errorf("%q: got %v, want it left alone", trap.key, err)
		}
	}
}

func TestWatch_HostileFolder(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 3, true)
	setTraps(t, d.dir)
	p := d.start("watch", "--quiet", ".")
	d.waitForFile(p, "a.jsonl.report.html")
	p.stdout.waitFor(t, "a.jsonl: start: finished: 3 imported\n")
	for _, trap := range traps {
		if trap.words == "" {
			continue
		}
		for start := time.Now(); !strings.Contains(p.stdout.String()+p.stderr.String(), trap.words); {
			if time.Since(start) > patience {
				t.Fatalf("%q: got no words %q in\n%s%s", trap.key, trap.words, p.stdout.String(), p.stderr.String())
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if peak := peakMemory(t, p.Process.Pid); peak > 64<<10 {
		t.Errorf("got a peak of %d kB, want 64 MB at most", peak)
	} else {
		t.Logf("peak memory %d kB", peak)
	}
	sent := time.Now()
	p.signal(t, syscall.SIGINT)
	if got := p.end(t); got != exitOK {
		t.Errorf("got exit status %d, want %d", got, exitOK)
	}
	if took := time.Since(sent); took > soon {
		t.Errorf("got %v until the end, want about 2s", took)
	}
	checkSafe(t, "watch", p.stdout.String()+p.stderr.String())
	checkTraps(t, d.dir)
	d.checkNames(3)
}

func TestServe_HostileFolder(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 3, true)
	setTraps(t, d.dir)
	p, address := d.serve()
	get := func(path string, want int) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+serveToken)
		start := time.Now()
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if took := time.Since(start); resp.StatusCode != want || took > soon {
			t.Errorf("%.60s: got %d after %v, want %d at once: %.200s", path, resp.StatusCode, took, want, body)
		}
	}
	get("/imports", http.StatusOK)
	get("/imports?prefix=pipe.jsonl/", http.StatusOK)
	get("/imports/sparse.jsonl", http.StatusOK)
	get("/imports/pipe.jsonl", http.StatusNotFound)
	get("/imports/socket.jsonl", http.StatusNotFound)
	get("/imports/folder.jsonl", http.StatusNotFound)
	get("/imports/"+strings.Repeat("n", 300)+".jsonl", http.StatusNotFound)
	p.signal(t, syscall.SIGINT)
	if got := p.end(t); got != exitOK {
		t.Errorf("got exit status %d, want %d", got, exitOK)
	}
	checkTraps(t, d.dir)
}

// checkSafe checks that an output of a command cannot control a terminal.
func checkSafe(t *testing.T, name, text string) {
	t.Helper()
	if strings.ContainsFunc(text, isUnsafe) || !utf8.ValidString(text) {
		t.Errorf("%s: got an unsafe output %q", name, text)
	}
}

func TestCommands_HostileNamesAreSafeOnATerminal(t *testing.T) {
	t.Parallel()
	const bad = "\x1b[2J\r\u009b\u202e\u2028\x9b"
	d := newWorkspace(t, 1, true)
	env := map[string]string{}
	for _, line := range d.env {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	dir := filepath.Join(t.TempDir(), "folder"+bad)
	for name, text := range map[string]string{
		"a" + bad + ".jsonl":    `{"f\u001b\u202e":1,"Type":"\u001b[2J\u009b","Name":"\u2028"}`,
		"notes" + bad:           "",
		bad + ".jq":             `{Type: error("\u001b[2J")}`,
		"header" + bad + ".csv": "column" + bad + "\n",
	} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Skip("such names are not possible here: ", err)
		}
	}
	for _, args := range [][]string{
		{"validate", dir},
		{"validate", "--json", dir},
		{"validate", "--map", filepath.Join(dir, bad+".jq"), dir},
		{"validate", "--encoding", bad, dir},
		{"validate", "--map", bad, dir},
		{"validate", "--" + bad},
		{bad},
		{"import", dir},
		{"import", "--json", dir},
		{"import", filepath.Join(dir, bad)},
		{"retry", "--now", dir},
		{"retry", bad},
		{"watch", bad},
		{"serve", bad},
		{"report", dir},
		{"report", bad},
		{"demo", "--groups", "1", "--dir", filepath.Join(dir, bad)},
		{"emulator", "--faults", bad},
		{"help", bad},
		{"completion", bad},
	} {
		var stdout, stderr bytes.Buffer
		tool := newTool(func(name string) string { return env[name] }, strings.NewReader(""), &stdout, &stderr)
		tool.status(tool.run(t.Context(), args))
		if stdout.Len()+stderr.Len() == 0 {
			t.Errorf("%q: got no words", args)
		}
		checkSafe(t, fmt.Sprintf("%q", args), stdout.String()+stderr.String())
	}
}

// TestImport_PermissionsOfTheExport imports a private export in every way and checks the permissions of all files
// beside it.
func TestImport_PermissionsOfTheExport(t *testing.T) {
	t.Parallel()
	d := newWorkspace(t, 2, true)
	for _, key := range []string{"b.jsonl", "backup.import/b.jsonl"} {
		name := filepath.Join(d.dir, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(`{"Type":"Public","Name":""}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A file that everybody may read. By its name the folder could be its work folder.
	if err := os.WriteFile(filepath.Join(d.dir, "backup"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"import", "--quiet", "."}, {"report", "."}, {"retry", "--quiet", "--now", "."}} {
		p := d.start(args...)
		if got := p.end(t); got == exitError || got == exitUsage {
			t.Errorf("%q: got exit status %d: %s", args, got, p.stderr.String())
		}
	}
	seen := 0
	err := filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(entry.Name(), ".jsonl") && !strings.Contains(path, ".jsonl.import/") {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		seen++
		if got := info.Mode().Perm(); got&0o077 != 0 {
			t.Errorf("%s: got %v, want it for its user only", path, got)
		}
		return nil
	})
	if err != nil || seen < 15 {
		t.Errorf("got %d files, %v", seen, err)
	}
}
