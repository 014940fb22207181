package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"groupimport/pkg/config"
)

func TestHelpConfig_NamesEveryVariable(t *testing.T) {
	var out bytes.Buffer
	tool := &tool{getenv: func(string) string { return "" }, stdout: &out, stderr: &out}
	if err := tool.run(t.Context(), []string{"help", "config"}); err != nil {
		t.Fatal(err)
	}
	for _, f := range config.Fields() {
		if !strings.Contains(out.String(), "\n"+f.Name) || !strings.Contains(out.String(), f.Help[:10]) {
			t.Errorf("got no %s", f.Name)
		}
	}
}

func TestHelp_FitsInEightyColumns(t *testing.T) {
	commands := []string{
		"", "demo", "import", "validate", "watch", "retry", "status", "pause", "resume", "cancel", "report", "serve",
		"emulator", "completion", "config",
	}
	for _, command := range commands {
		var out bytes.Buffer
		tool := &tool{getenv: func(string) string { return "" }, stdout: &out, stderr: &out}
		args := []string{"help", command}
		if command == "" {
			args = args[:1]
		}
		if err := tool.run(t.Context(), args); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, " \n")); n > 80 {
				t.Errorf("help %s: got %d columns: %s", command, n, line)
			}
		}
	}
}

func TestVersionOf(t *testing.T) {
	setting := func(pairs ...string) (settings []debug.BuildSetting) {
		for i := 0; i < len(pairs); i += 2 {
			settings = append(settings, debug.BuildSetting{Key: pairs[i], Value: pairs[i+1]})
		}
		return settings
	}
	for _, row := range []struct {
		name string
		info debug.BuildInfo
		want string
	}{
		{
			"a checkout with changes",
			debug.BuildInfo{GoVersion: "go1.26.0", Settings: setting(
				"GOOS", "linux", "GOARCH", "arm64", "vcs.revision", "0123456789abcdef", "vcs.time", "2026-11-22T10:00:00Z",
				"vcs.modified", "true")},
			"(devel), revision 0123456789ab of 2026-11-22T10:00:00Z, with local changes, go1.26.0 linux/arm64",
		},
		{
			"a release without a checkout",
			debug.BuildInfo{
				GoVersion: "go1.26.0", Main: debug.Module{Version: "v1.2.3"}, Settings: setting("GOOS", "linux", "GOARCH", "arm64"),
			},
			"v1.2.3, go1.26.0 linux/arm64",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := versionOf(&row.info); got != row.want {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
		})
	}
}

func TestWorse_InTheDocumentedOrder(t *testing.T) {
	order := []int{exitOK, exitNotImported, exitUnfinished, exitError}
	for i, a := range order {
		for j, b := range order {
			if got, want := worse(a, b), order[max(i, j)]; got != want {
				t.Errorf("%d and %d: got %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestWantsJSON(t *testing.T) {
	for line, want := range map[string]bool{
		"import --json a": true, "import a -json": true, "import --json=true": true,
		"import a": false, "import json": false, "import -- --json": false, "import --json=false": false,
	} {
		if got := wantsJSON(strings.Fields(line)); got != want {
			t.Errorf("%s: got %v, want %v", line, got, want)
		}
	}
}

func TestExportOf(t *testing.T) {
	for key, want := range map[string]string{
		"a.jsonl.results.ndjson":                          "a.jsonl",
		"d/a.jsonl.failures.ndjson":                       "d/a.jsonl",
		"a.jsonl.report.html":                             "a.jsonl",
		"a.jsonl.import/":                                 "a.jsonl",
		"a.jsonl.import/parts/":                           "a.jsonl",
		"d/a.jsonl.import/parts/000001-000002":            "d/a.jsonl",
		"a.jsonl.0123456789ab.results.ndjson":             "a.jsonl",
		"a.jsonl.0123456789ab.import/manifest":            "a.jsonl",
		"a.jsonl.finished-0123456789ab0123456789ab":       "a.jsonl",
		"a.jsonl.finished-0123456789ab0123456789ab-retry": "a.jsonl",
		"backup.import/":                                  "", // another folder of this name
		"backup.import/kept.jsonl":                        "",
		"backup.import/kept.jsonl.results.ndjson":         "backup.import/kept.jsonl",
		"backup.import/kept.jsonl.import/progress":        "backup.import/kept.jsonl",
		"a.jsonl":                   "",
		".http/20261122/0123456789": "",
	} {
		if got := exportOf(key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

func TestScan_FilesBesideAnExport(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"new.jsonl",
		"running.jsonl", "running.jsonl.import/progress",
		"done.jsonl", "done.jsonl.import/manifest", "done.jsonl.results.ndjson", "done.jsonl.failures.ndjson",
		"done.jsonl.finished-0123456789ab0123456789ab",
		"2026/below.csv", "2027/elsewhere.csv",
		"backup.import/kept.jsonl", // a user's own folder
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := slices.Collect(scan(t.Context(), dir, ""))
	want := []candidate{
		{key: "2026/below.csv"},
		{key: "2027/elsewhere.csv"},
		{key: "backup.import/kept.jsonl"},
		{key: "done.jsonl", begun: true, deadLetter: true},
		{key: "new.jsonl"},
		{key: "running.jsonl", begun: true, unfinished: true},
	}
	if !slices.Equal(all, want) {
		t.Errorf("got  %+v\nwant %+v", all, want)
	}
	if got := slices.Collect(scan(t.Context(), dir, "2026/")); !slices.Equal(got, want[:1]) {
		t.Errorf("below a prefix: got %+v, want %+v", got, want[:1])
	}
}

func TestCompletion_Scripts(t *testing.T) {
	output := func(args ...string) string {
		var out bytes.Buffer
		tool := &tool{getenv: func(string) string { return "" }, stdout: &out, stderr: &out}
		if err := tool.run(t.Context(), args); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for shell := range completionRepairs {
		script := output("completion", shell)
		if !strings.Contains(script, "complete ") || completionRepairs[shell].Replace(script) != script {
			t.Errorf("%s: got a script that is not repaired:\n%s", shell, script)
		}
	}
	if script := output("completion", "bash"); !strings.Contains(script, "elif declare -F _get_comp_words_by_ref") {
		t.Errorf("got a script that needs the package bash-completion:\n%s", script)
	}
	if script := output("completion", "fish"); !strings.Contains(script, "complete -c groupimport -a '(") {
		t.Errorf("got a script that completes no names of files:\n%s", script)
	}
}
