package report

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// Foreign text is cut to so many bytes in a page. The dead-letter file has all of it.
	maxText  = 400
	maxValue = 160
	maxField = 64
)

// member returns the JSON of a member of an object. ok is false if raw is no object or has no such member.
func member(raw []byte, name string) (value jsontext.Value, ok bool) {
	if name == "" || len(raw) == 0 {
		return nil, false
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, false
	}
	for dec.PeekKind() == '"' {
		v, err := dec.ReadValue()
		if err != nil {
			return nil, false
		}
		found := unquote(v) == name
		if v, err = dec.ReadValue(); err != nil {
			return nil, false
		}
		if found {
			return v, true
		}
	}
	return nil, false
}

// unquote returns the text of a JSON string, and other values as they are.
func unquote(v jsontext.Value) string {
	if v.Kind() != '"' {
		return string(v)
	}
	text, _ := jsontext.AppendUnquote(nil, v) // what is not UTF-8 becomes U+FFFD
	return string(text)
}

// clip cuts text to about limit bytes, between characters.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// shown returns foreign text as a page shows it: cut, with invisible characters, and those that change the direction of
// what follows them, written as their numbers.
func shown(s string, limit int) string {
	s = clip(s, limit)
	if !strings.ContainsFunc(s, isHidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isHidden(r) {
			fmt.Fprintf(&b, "‹U+%04X›", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isHidden reports whether a character is a control, sets a direction or breaks lines. Joiners and variation selectors
// belong to emoji and scripts, and stay.
func isHidden(r rune) bool {
	switch {
	case r < ' ', r >= 0x7F && r <= 0x9F, r == 0xAD, r == 0x61C, r == 0x200B, r == 0x200E, r == 0x200F,
		r >= 0x2028 && r <= 0x202E, r >= 0x2060 && r <= 0x206F, r == 0xFEFF, r == utf8.RuneError,
		r >= 0xE0000 && r <= 0xE007F:
		return true
	}
	return false
}

// escapedLen returns how many bytes a text takes in HTML.
func escapedLen(s string) int {
	n := len(s)
	for _, c := range []byte(s) {
		switch c {
		case '"', '\'', '&', '<', '>':
			n += 4
		}
	}
	return n
}

// isPlain reports whether a character of a name needs no escape in a link.
func isPlain(r rune) bool {
	return r == '-' || r == '.' || r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// linkBeside returns a relative link to a file in the folder of the page.
func linkBeside(name string) string {
	b := []byte("./")
	for _, c := range []byte(name) {
		if isPlain(rune(c)) {
			b = append(b, c)
		} else {
			b = fmt.Appendf(b, "%%%02X", c)
		}
	}
	return string(b)
}

// baseOf returns the last part of a key.
func baseOf(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }
