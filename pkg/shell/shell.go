// Package shell quotes text for the commands that messages and pages show, to be copied into a shell.
package shell

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quote quotes text for a shell if it needs that. Bytes that are not UTF-8, and characters that are hidden or could
// change what a terminal shows, are written like $'\302\233', which POSIX has since 2024 (shell command language,
// 2.2.4) and bash, zsh and ksh have always had.
func Quote(text string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@,+"
	switch {
	case text != "" && strings.Trim(text, plain) == "":
		return text
	case utf8.ValidString(text) && !strings.ContainsFunc(text, isHidden):
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == '\'' || r == '\\':
			b.WriteString(`\` + text[:n])
		case r == utf8.RuneError && n == 1, isHidden(r):
			for _, c := range []byte(text[:n]) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		default:
			b.WriteString(text[:n])
		}
		text = text[n:]
	}
	return b.String() + "'"
}

// File quotes the name of a file for a shell. No command takes it for an option.
func File(name string) string {
	if strings.HasPrefix(name, "-") {
		name = "./" + name
	}
	return Quote(name)
}

// isHidden reports whether a reader may not see r: controls, marks of the direction, separators of lines, and spaces
// but the usual one.
func isHidden(r rune) bool { return !unicode.IsPrint(r) }
