package export

import "strconv"

// escapeSize is the length of the longest escape in a JSON string.
const escapeSize = len(`\u0000`)

// unescaped returns the first byte that the rest of a JSON string holds, and the number of bytes that it takes there:
// 0 bytes if text ends within it. The byte is 0 for the quote that ends the string, and 0xff for a character that is
// neither ASCII nor part of JSON's syntax.
func unescaped(text []byte) (c byte, n int) {
	switch {
	case len(text) == 0:
		return 0, 0
	case text[0] == '"':
		return 0, 1
	case text[0] != '\\':
		return max(text[0], 1), 1
	case len(text) == 1:
		return 0, 0
	case text[1] != 'u':
		return escapes[text[1]], 2
	case len(text) < escapeSize:
		return 0, 0
	}
	return unicodeEscape(text[2:escapeSize]), escapeSize
}

// unicodeEscape returns the byte of four hexadecimal digits, see [unescaped].
func unicodeEscape(digits []byte) byte {
	if n, err := strconv.ParseUint(string(digits), 16, 16); err == nil && n < 0x80 {
		return max(byte(n), 1)
	}
	return 0xff
}

// escapes are the escapes of two bytes, RFC 8259, section 7. Others are 0xff.
var escapes = func() (table [256]byte) {
	for i := range table {
		table[i] = 0xff
	}
	for escape, c := range map[byte]byte{
		'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
	} {
		table[escape] = c
	}
	return table
}()

// An escapedScanner is a [scanner] for a JSON value in a JSON string.
type escapedScanner struct {
	inner  scanner
	digits []byte // of an escape \u that has begun
	state  escapeState
	closed bool // the string has ended before the value
}

type escapeState int

const (
	noEscape escapeState = iota
	inEscape             // after a backslash
	inDigits             // after \u
)

// end implements the end function of [text.next].
func (s *escapedScanner) end(chunk []byte) int {
	for i, c := range chunk {
		switch s.state {
		case inEscape:
			if s.state = noEscape; c == 'u' {
				s.state, s.digits = inDigits, s.digits[:0]
				continue
			}
			c = escapes[c]
		case inDigits:
			if s.digits = append(s.digits, c); len(s.digits) < 4 {
				continue
			}
			s.state = noEscape
			c = unicodeEscape(s.digits)
		case noEscape:
			switch {
			case c == '"':
				s.closed = true
				return i
			case c == '\\' && s.inner.isScalar():
				return i // white space, or no scalar
			case c == '\\':
				s.state = inEscape
				continue
			}
		}
		var one [1]byte
		one[0] = c
		switch s.inner.end(one[:]) {
		case 0: // a delimiter after a scalar
			return i
		case 1:
			return i + 1
		}
	}
	return -1
}

// isScalar reports whether the value is neither an object, an array nor a string.
func (s *scanner) isScalar() bool {
	return s.kind != 0 && s.kind != '{' && s.kind != '[' && s.kind != '"'
}
