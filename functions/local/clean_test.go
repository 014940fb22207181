package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

func TestClean(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"plain text and Chinese", "a.jsonl: 群组 é 👥\n\tx\n", "a.jsonl: 群组 é 👥\n\tx\n"},
		{"an escape that clears the screen", "a\x1b[2Jb", `a\u001b[2Jb`},
		{"a carriage return", "rejected\rimported", `rejected\u000dimported`},
		{"backspaces and a bell", "a\b\a", `a\u0008\u0007`},
		{"C1 in UTF-8", "a\u009b2J", `a\u009b2J`},
		{"C1 as a byte", "a\x9b2J", `a\x9b2J`},
		{"another direction", "a\u202etxt.exe\u2066", `a\u202etxt.exe\u2066`},
		{"separators of lines", "a\u2028b\u2029c", `a\u2028b\u2029c`},
		{"half a character", "群"[:2], `\xe7\xbe`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := string(clean([]byte(row.text))); got != row.want {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
		})
	}
}

func FuzzClean(f *testing.F) {
	for _, text := range []string{"", "a\x1b]0;x\x07\n", "\u009b\u202e\u2028\x9b\xff", "\\u001b", "\"\r\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := string(clean([]byte(text)))
		if !utf8.ValidString(got) || strings.ContainsFunc(got, isUnsafe) {
			t.Errorf("%q becomes %q, which is unsafe", text, got)
		}
		if again := string(clean([]byte(got))); again != got {
			t.Errorf("%q becomes %q the second time", got, again)
		}
		if utf8.ValidString(text) && !strings.ContainsFunc(text, isUnsafe) && got != text {
			t.Errorf("%q becomes %q", text, got)
		}
		var line bytes.Buffer
		writeLine(cleanWriter{&line}, map[string]string{text: text})
		var back map[string]string
		if err := json.Unmarshal(line.Bytes(), &back); err != nil {
			t.Fatalf("%q is no JSON: %v", line.String(), err)
		}
		want := string([]rune(text)) // replaces bytes that are not UTF-8
		if back[want] != want || strings.ContainsFunc(line.String(), isUnsafe) {
			t.Errorf("got %q in JSON, want %q", back, want)
		}
	})
}
