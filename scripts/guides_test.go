//go:build unix

// Package scripts_test checks the README and the guides beside the code: every command in them runs, every output that
// they show is what the command prints, and every link leads somewhere.
package scripts_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"groupimport/pkg/config"
	"groupimport/pkg/emulator"
)

var update = flag.Bool("update", false, "write the table of variables into functions/README.md")

const (
	root = ".."

	// A README that is longer is not read. Tables and code may be wider.
	maxReadmeLines = 250
	maxColumns     = 100
)

// guides are the documents that this test holds, by their names below root.
var guides = []string{
	"README.md",
	"functions/README.md",
	"functions/lambda/README.md",
	"functions/scf/README.md",
	"functions/scf/README.zh-CN.md",
	"pkg/README.md",
	"pkg/check/README.md",
	"pkg/export/README.md",
	"pkg/httpapi/README.md",
	"pkg/mapping/README.md",
	"pkg/notify/README.md",
	"pkg/results/README.md",
	"scripts/README.md",
}

// notRun are the commands that the test does not run, with the reason. A command that is neither here nor runs fails
// the test.
var notRun = map[string]string{
	// They need an account of a cloud, or a person.
	"aws ssm put-parameter":   "AWS account",
	"sam deploy":              "AWS account",
	"sam delete":              "AWS account",
	"aws s3":                  "AWS account",
	"aws lambda":              "AWS account",
	"aws logs":                "AWS account",
	"go run ./scripts/deploy": "Tencent Cloud account; its own test runs each line against the API of its tests",
	"coscli cp":               "Tencent Cloud account",
	"cp .env":                 "part of the deployment on Tencent Cloud",
	"sed 's/^stage: prod/":    "part of the deployment on Tencent Cloud",
	"\"${EDITOR:-vi}\"":       "interactive",

	// They take minutes, install software, or run this test.
	"scripts/build":                           "a minute; scripts/check runs it",
	"scripts/check":                           "minutes; CI runs it",
	"scripts/setup":                           "installs software; CI runs it",
	"scripts/soak":                            "hours",
	"go run ./scripts/bench":                  "an hour",
	"go test ./...":                           "it runs this test",
	"go test ./pkg":                           "part of go test ./...",
	"go test -v ./functions":                  "part of go test ./...",
	"go test ./scripts":                       "this test",
	"go install github.com/versity/versitygw": "minutes; scripts/setup runs it",
	"go run ./scripts/lambda":                 "serves until Ctrl-C; the tests of functions/lambda cover it",
	"go run ./scripts/scf":                    "serves until Ctrl-C; the tests of functions/scf cover it",
}

// servers are the commands that serve until they are stopped, with what is added to them: a free port instead of the
// default one, which commands after them name.
var servers = map[string]struct{ listen, port string }{
	"groupimport emulator &":      {"--listen", "8090"},
	"groupimport serve exports &": {"--listen", "8080"},
	"groupimport watch exports &": {},
}

// A block is a fenced block of a guide.
type block struct {
	line int // of its fence, from 1
	lang string
	text string
}

var fence = regexp.MustCompile("^( *)```(\\w*)$")

// parse returns the blocks of a guide, and its lines without them.
func parse(t *testing.T, name string) (blocks []block, prose []string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	var open *block
	indent := ""
	for i, line := range strings.Split(string(content), "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case m != nil && open == nil:
			open, indent = &block{line: i + 1, lang: m[2]}, m[1]
		case m != nil:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		}
		if open != nil || m != nil {
			line = ""
		}
		prose = append(prose, line)
	}
	if open != nil {
		t.Fatalf("%s:%d: the block does not end", name, open.line)
	}
	return blocks, prose
}

var heredoc = regexp.MustCompile(`<<'?(\w+)'?`)

// commands splits a block into commands: a line each, with the lines that it continues on.
func commands(text string) []string {
	var all []string
	command, end := "", ""
	for line := range strings.Lines(text) {
		if command == "" && (strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#")) {
			continue
		}
		command += line
		line = strings.TrimSuffix(line, "\n")
		switch m := heredoc.FindStringSubmatch(line); {
		case end != "" && line != end:
			continue
		case end == "" && m != nil:
			end = m[1]
			continue
		case end == "" && strings.HasSuffix(line, `\`):
			continue
		}
		all = append(all, strings.TrimSuffix(command, "\n"))
		command, end = "", ""
	}
	return all
}

// reasonNotToRun returns why a command is not run, "" if it is.
func reasonNotToRun(command string) string {
	for begin, reason := range notRun {
		if strings.HasPrefix(command, begin) {
			return reason
		}
	}
	return ""
}

var exitStatus = regexp.MustCompile(`# exit status (\d)`)

// script returns a script of bash that runs commands one after another and prints a mark after each with its number and
// exit status. Commands that are not run only have their mark.
func script(commands []string, ports map[string]string) string {
	var b strings.Builder
	for i, command := range commands {
		if reasonNotToRun(command) == "" {
			run := command
			server, isServer := servers[command]
			if isServer {
				run = strings.TrimSuffix(run, "&")
				if server.port != "" {
					run += server.listen + " 127.0.0.1:" + server.port
				}
				run += " >server.log 2>&1 &"
			}
			for port, free := range ports {
				run = strings.ReplaceAll(run, "127.0.0.1:"+port, "127.0.0.1:"+free)
			}
			fmt.Fprintf(&b, "{ %s\n}\n", run)
			if isServer && server.port != "" {
				const wait = "until (echo >/dev/tcp/127.0.0.1/%s) 2>/dev/null; do sleep 0.1; done; true\n"
				fmt.Fprintf(&b, wait, ports[server.port])
			}
		} else {
			b.WriteString("true\n")
		}
		fmt.Fprintf(&b, "printf '\\001%d %%d\\n' $?\n", i)
	}
	return b.String()
}

var mark = regexp.MustCompile(`\x01(\d+) (\d+)\n`)

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// copySources copies what the program is built from.
func copySources(t *testing.T, to string) {
	t.Helper()
	for _, name := range []string{"functions", "pkg"} {
		if err := os.CopyFS(filepath.Join(to, name), os.DirFS(filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGuides_CommandsRun runs the commands of each guide, word for word, in one shell for each guide.
func TestGuides_CommandsRun(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "groupimport"), "./functions/local")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	used := map[string]bool{}
	for _, guide := range guides {
		blocks, _ := parse(t, guide)
		for _, b := range blocks {
			for _, command := range commands(b.text) {
				for begin := range notRun {
					used[begin] = used[begin] || b.lang == "sh" && strings.HasPrefix(command, begin)
				}
			}
		}
		t.Run(guide, func(t *testing.T) {
			t.Parallel()
			runGuide(t, guide, bin, blocks)
		})
	}
	for begin := range notRun {
		if !used[begin] {
			t.Errorf("no guide has the command %q any more", begin)
		}
	}
}

func runGuide(t *testing.T, guide, bin string, blocks []block) {
	t.Helper()
	var all []string
	first := make([]int, len(blocks)) // command of each block
	for i, b := range blocks {
		first[i] = len(all)
		if b.lang == "sh" {
			all = append(all, commands(b.text)...)
		}
	}
	if !slices.ContainsFunc(all, func(c string) bool { return reasonNotToRun(c) == "" }) {
		return
	}
	dir := t.TempDir()
	copySources(t, dir)
	service := httptest.NewServer(&emulator.Service{SDKAppID: 1400000000, Key: "key"})
	t.Cleanup(service.Close)

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash")
	cmd.Dir, cmd.WaitDelay = dir, 5*time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that what it started ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	ports := map[string]string{"8080": freePort(t), "8090": freePort(t)}
	cmd.Args = append(cmd.Args, "-c", "trap 'kill $(jobs -p) 2>/dev/null' EXIT\n"+script(all, ports))
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "TMPDIR="+t.TempDir(),
		"TIM_ENDPOINT="+service.URL, "TIM_SDKAPPID=1400000000", "TIM_SECRET_KEY=key", "LANG=C.UTF-8",
		"GOFLAGS=-trimpath") // so that the cache has the packages, although their folder is new each time
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && ctx.Err() != nil {
		t.Fatalf("%v: %v\n%s", err, context.Cause(ctx), out.String())
	}
	outputs, statuses := split(out.String())
	if len(outputs) != len(all) {
		t.Fatalf("got %d of %d commands done:\n%s", len(outputs), len(all), out.String())
	}
	for i, command := range all {
		want := "0"
		if m := exitStatus.FindStringSubmatch(command); m != nil {
			want = m[1]
		}
		if reasonNotToRun(command) == "" && statuses[i] != want {
			t.Errorf("%s: got exit status %s, want %s:\n%s\n%s", guide, statuses[i], want, command, outputs[i])
		}
	}
	for i, b := range blocks {
		if b.lang != "text" || i == 0 || blocks[i-1].lang != "sh" {
			continue
		}
		got := strings.Join(outputs[first[i-1]:first[i]], "")
		if ok, err := matches(b.text, got); err != nil || !ok {
			t.Errorf("%s:%d: got this output (%v):\n%s", guide, b.line, err, got)
		}
	}
}

// split returns the output of each command and its exit status.
func split(out string) (outputs, statuses []string) {
	at := 0
	for _, m := range mark.FindAllStringSubmatchIndex(out, -1) {
		outputs = append(outputs, out[at:m[0]])
		statuses = append(statuses, out[m[4]:m[5]])
		at = m[1]
	}
	return outputs, statuses
}

// volatile is what differs from run to run: times, durations, ports, sizes, names that are chosen at random.
var volatile = []struct{ pattern, instead string }{
	{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[A-Z]+)?`, "TIME"},
	{`"ms":\d+`, `"ms":0`},
	{`\b\d+(\.\d+)?(ms|s)\b`, "0s"},
	{`127\.0\.0\.1:\d+`, "127.0.0.1:0"},
	{`busiest second:? \d+`, "busiest second 0"},
	{`/tmp/[\w./-]*/`, "/tmp/"},
	{`@TGS#[0-9A-Z]+`, "@TGS#0"},
	{` {2,}`, "  "}, // the width of a column follows from what is in it
}

func masked(text string) string {
	for _, v := range volatile {
		text = regexp.MustCompile(v.pattern).ReplaceAllString(text, v.instead)
	}
	return text
}

// matches reports whether got is what a guide shows. A line of … there stands for any number of lines, … in a line for
// any text.
func matches(shown, got string) (bool, error) {
	pattern := regexp.QuoteMeta(masked(shown))
	pattern = regexp.MustCompile(`(?m)^ *…\n`).ReplaceAllString(pattern, `(.*\n)*`)
	return regexp.MatchString(`^`+strings.ReplaceAll(pattern, "…", ".*")+`$`, masked(got))
}

func TestReadme_Length(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(content, []byte("\n")); n > maxReadmeLines {
		t.Errorf("got %d lines, want at most %d: move details beside the code", n, maxReadmeLines)
	}
}

func TestGuides_Columns(t *testing.T) {
	for _, guide := range guides {
		_, prose := parse(t, guide)
		for i, line := range prose {
			if n := utf8.RuneCountInString(line); n > maxColumns && !strings.HasPrefix(strings.TrimSpace(line), "|") {
				t.Errorf("%s:%d: got %d columns, want at most %d", guide, i+1, n, maxColumns)
			}
		}
	}
}

// TestGuides_AllListed finds guides that this test does not hold.
func TestGuides_AllListed(t *testing.T) {
	var found []string
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && name != "." && (e.Name()[0] == '.' || e.Name() == "node_modules" || e.Name() == "testdata"):
			return fs.SkipDir
		case strings.HasSuffix(name, ".md"):
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(slices.Values(guides))
	slices.Sort(found)
	if !slices.Equal(found, want) {
		t.Errorf("got %q, want %q", found, want)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`^#+ +(.*)$`)
)

// anchor returns the name that GitHub gives a heading: small letters, without punctuation, with hyphens for spaces.
func anchor(text string) string {
	text = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(text), "")
	return strings.ReplaceAll(text, " ", "-")
}

func anchors(t *testing.T, guide string) map[string]bool {
	t.Helper()
	_, prose := parse(t, guide)
	all := map[string]bool{}
	for _, line := range prose {
		if m := heading.FindStringSubmatch(line); m != nil {
			if all[anchor(m[1])] {
				t.Errorf("%s has the heading %q twice", guide, m[1])
			}
			all[anchor(m[1])] = true
		}
	}
	return all
}

func TestGuides_Links(t *testing.T) {
	for _, guide := range guides {
		_, prose := parse(t, guide)
		for i, line := range prose {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				file, fragment, _ := strings.Cut(m[1], "#")
				target := guide
				if file != "" {
					target = filepath.Join(filepath.Dir(guide), file)
				}
				if _, err := os.Stat(filepath.Join(root, target)); err != nil {
					t.Errorf("%s:%d: the link %s leads nowhere", guide, i+1, m[1])
				} else if fragment != "" && !anchors(t, target)[fragment] {
					t.Errorf("%s:%d: the link %s leads to no heading", guide, i+1, m[1])
				}
			}
		}
	}
}

const (
	tableBegin = "<!-- variables: written by go test ./scripts -run Variables -update -->\n"
	tableEnd   = "<!-- end of variables -->\n"
)

// TestVariables_InGuide compares the table of variables with the program's own.
func TestVariables_InGuide(t *testing.T) {
	var table strings.Builder
	table.WriteString("| variable | default | meaning |\n|---|---|---|\n")
	for _, f := range config.Fields() {
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", f.Name, shownDefault(f), strings.ReplaceAll(f.Help, "|", `\|`))
	}
	name := filepath.Join(root, "functions", "README.md")
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(content), tableBegin)
	got, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		t.Fatal("functions/README.md lacks the marks around its table of variables")
	}
	if *update {
		text := before + tableBegin + table.String() + tableEnd + after
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != table.String() {
		t.Errorf("functions/README.md: got\n%s\nwant\n%s\nrun go test ./scripts -run Variables -update", got, &table)
	}
}

func shownDefault(f config.Field) string {
	switch {
	case f.Default != "":
		return "`" + f.Default + "`"
	case f.Required != "":
		return "required"
	}
	return ""
}

var (
	variableRow = regexp.MustCompile("^\\| `([A-Z][A-Z_]+)` \\| ([^|]*) \\|")
	upperCase   = regexp.MustCompile(`\b(?:TIM|EXPORT|HTTP|RETRY|FIELD|ASSIGN|CREATE|STOP|MAX|INCLUDE|LOG|ONE)_[A-Z_]+\b`)
)

// TestVariables_InAllGuides finds variables that the program does not know, and other defaults than its own.
func TestVariables_InAllGuides(t *testing.T) {
	fields := map[string]config.Field{}
	for _, f := range config.Fields() {
		fields[f.Name] = f
	}
	for _, guide := range guides {
		_, prose := parse(t, guide)
		for i, line := range prose {
			for _, name := range upperCase.FindAllString(line, -1) {
				if _, ok := fields[name]; !ok {
					t.Errorf("%s:%d: the program does not know the variable %s", guide, i+1, name)
				}
			}
			m := variableRow.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			if f, ok := fields[m[1]]; ok && strings.TrimSpace(m[2]) != shownDefault(f) {
				t.Errorf("%s:%d: got default %q of %s, want %q", guide, i+1, m[2], m[1], shownDefault(f))
			}
		}
	}
}

func TestMatches(t *testing.T) {
	for _, row := range []struct {
		name, shown, got string
		want             bool
	}{
		{"the same", "a\nb\n", "a\nb\n", true},
		{"another count", "imported  2\n", "imported  3\n", false},
		{"another duration", "finished in 5.4s\n", "finished in 300ms\n", true},
		{"lines left out", "a\n…\nd\n", "a\nb\nc\nd\n", true},
		{"nothing left out", "a\n…\nd\n", "a\nd\n", true},
		{"text left out", "a … d\n", "a b c d\n", true},
		{"a line more at the end", "a\n", "a\nb\n", false},
		{"no pattern", "a.c\n", "abc\n", false},
	} {
		if got, err := matches(row.shown, row.got); err != nil || got != row.want {
			t.Errorf("%s: got %v, %v, want %v", row.name, got, err, row.want)
		}
	}
}

func TestCommands(t *testing.T) {
	got := commands("# a comment\na\n\nb \\\n  c\ncat >x <<'EOF'\n# d\ny\nEOF\nz # exit status 4\n")
	want := []string{"a", "b \\\n  c", "cat >x <<'EOF'\n# d\ny\nEOF", "z # exit status 4"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
