package shell_test

import (
	"os/exec"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"groupimport/pkg/shell"
)

func TestFile(t *testing.T) {
	for name, want := range map[string]string{
		"acme.jsonl":      "acme.jsonl",
		"/srv/acme.jsonl": "/srv/acme.jsonl",
		"-rf.jsonl":       "./-rf.jsonl",
		"- x.jsonl":       "'./- x.jsonl'",
		"":                "''",
		"it's.jsonl":      `'it'\''s.jsonl'`,
		"a\u202Eb.jsonl":  `$'a\342\200\256b.jsonl'`,
		"-\n'.jsonl":      `$'./-\012\'.jsonl'`,
	} {
		if got := shell.File(name); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}

func FuzzFile(f *testing.F) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		f.Skip("there is no bash on this machine")
	}
	for _, name := range []string{
		"a.jsonl", "a b'c\"d.jsonl", "-rf", "--", "a\nb", "a\x1b[2J\\'", "群\u202e组", "\xff\x9b",
		"$(x)`y`", "!!", "~", "*", "#a",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" || strings.Contains(name, "\x00") {
			t.Skip("no file has such a name")
		}
		quoted := shell.File(name)
		if strings.ContainsFunc(quoted, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(quoted) {
			t.Errorf("%q is quoted as %q, which is unsafe", name, quoted)
		}
		out, err := exec.CommandContext(t.Context(), bash, "-c", "printf %s "+quoted).Output()
		if got := strings.TrimPrefix(string(out), "./"); err != nil || got != strings.TrimPrefix(name, "./") {
			t.Errorf("%s: got %q, %v, want %q", quoted, got, err, name)
		}
		if strings.HasPrefix(string(out), "-") {
			t.Errorf("%s: begins with a dash", quoted)
		}
	})
}
