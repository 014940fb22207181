package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// shellQuote quotes text for a shell where it needs that. What is unsafe on a terminal is written as $'\302\233', which
// POSIX has since 2024 (shell command language, 2.2.4) and bash, zsh and ksh have always had.
func shellQuote(text string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@,+"
	switch {
	case text != "" && strings.Trim(text, plain) == "":
		return text
	case utf8.ValidString(text) && !strings.ContainsFunc(text, isBreaking):
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == '\'' || r == '\\':
			b.WriteString(`\` + text[:n])
		case r == utf8.RuneError && n == 1, isBreaking(r):
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

// shellFile quotes the name of a file for a shell. No command takes it for an option.
func shellFile(name string) string {
	if strings.HasPrefix(name, "-") {
		name = "./" + name
	}
	return shellQuote(name)
}
