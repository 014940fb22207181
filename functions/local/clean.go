package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A cleanWriter is where the command writes its outputs: they hold names, fields and messages of others, which must not
// control the reader's terminal.
type cleanWriter struct{ w io.Writer }

// Write writes p after [clean].
func (c cleanWriter) Write(p []byte) (int, error) {
	if _, err := c.w.Write(clean(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// clean replaces what is unsafe on a terminal by escapes: \u001b, or \x9b for a byte that is not UTF-8. A line of JSON
// remains the same value: only strings hold unsafe characters, and there the escape is JSON's own.
func clean(p []byte) []byte {
	if utf8.Valid(p) && !bytes.ContainsFunc(p, isUnsafe) {
		return p
	}
	cleaned := make([]byte, 0, len(p)+16)
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		switch {
		case r == utf8.RuneError && n == 1:
			cleaned = fmt.Appendf(cleaned, `\x%02x`, p[0])
		case isUnsafe(r):
			cleaned = fmt.Appendf(cleaned, `\u%04x`, r)
		default:
			cleaned = append(cleaned, p[:n]...)
		}
		p = p[n:]
	}
	return cleaned
}

// isUnsafe reports whether a terminal may take r for a command, or show the text around it in another order or on
// another line: control characters, also those of C1 (ECMA-48), marks of the direction (Unicode Standard Annex #9, table
// 3), and separators of lines and paragraphs. The lines of the command itself need line feeds and tabs.
func isUnsafe(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' ||
		unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

// isBreaking reports whether r would break a line, or is unsafe.
func isBreaking(r rune) bool { return r == '\n' || r == '\t' || isUnsafe(r) }

// shown is a name as messages show it: as it is, or quoted if it would break the line.
func shown(name string) string {
	if strings.ContainsFunc(name, isBreaking) || !utf8.ValidString(name) {
		return fmt.Sprintf("%q", name)
	}
	return name
}

func shownAll(names []string) []string {
	all := make([]string, 0, len(names))
	for _, name := range names {
		all = append(all, shown(name))
	}
	return all
}

var lineBreaks = strings.NewReplacer("\n", `\n`, "\t", `\t`)

// oneLine returns a message that may hold text of others as one line.
func oneLine(text string) string { return lineBreaks.Replace(text) }
