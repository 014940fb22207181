package check_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode"

	"groupimport/pkg/check"
)

var update = flag.Bool("update", false, "write the table of README.md")

// README.md has the table of all checks.
func TestREADME_Table(t *testing.T) {
	const begin, end = "-run README -update -->\n", "<!-- end of checks -->"
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(raw), begin)
	got, tail, isWhole := strings.Cut(rest, end)
	if !ok || !isWhole {
		t.Fatal("README.md has no place for the table")
	}
	var b strings.Builder
	b.WriteString("| check | where | proves that | instead of |\n|---|---|---|---|\n")
	for _, c := range check.Checks() {
		var where strings.Builder
		for n, letter := range "lfh" {
			if c.IsIn(check.Place(1 << n)) {
				where.WriteString(string(letter))
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Name, where.String(), c.Proves.EN, c.Replaces)
	}
	if *update {
		if err := os.WriteFile("README.md", []byte(head+begin+b.String()+end+tail), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != b.String() {
		t.Errorf("got the table\n%s\nwant\n%s\ngo test ./pkg/check -run README -update writes it", got, b.String())
	}
}

// Each check has a name of its own, and says in both languages what it proves, and what it replaces.
func TestChecks_AreComplete(t *testing.T) {
	names := map[string]bool{}
	for _, c := range check.Checks() {
		isChinese := strings.ContainsFunc(c.Proves.ZH, func(r rune) bool { return unicode.Is(unicode.Han, r) })
		if names[c.Name] || c.Replaces == "" || c.Proves.EN == "" || !isChinese || len(c.Name) > 26 {
			t.Errorf("%+v: the name is taken or too long for the table, or a text is missing", c)
		}
		names[c.Name] = true
	}
}
