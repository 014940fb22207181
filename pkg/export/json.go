package export

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// arrays finds the records of JSON: the elements of an array, or of those that objects hold under one name.
// Where an element ends is told by its brackets and strings alone, so that one which is broken inside costs itself.
type arrays struct {
	objects bool   // the values are objects, not arrays
	name    string // of the member that holds the records, once it is known
	state   arraysState
	held    bool     // the object at hand has held records
	other   string   // the first member of that object that is an array of something else, "" if none is
	opened  Position // where the object at hand begins
	scan    scanner
}

type arraysState int

const (
	between     arraysState = iota // values
	inObject                       // before its first member
	behind                         // a member
	inArray                        // before its first element
	behindOne                      // an element
	unseenValue                    // before the first value
)

const jsonSpace = " \t\r\n"

// begin reads up to the first element, to know where the others are to be looked for.
func (a *arrays) begin(t *text) (finder, error) {
	c, err := t.space()
	switch {
	case err != nil:
		return a, err
	case c != '[' && c != '{':
		return a, t.broken(t.at, "it begins with %q, which is neither an array nor an object", c)
	}
	a.objects, a.state = c == '{', unseenValue
	for a.state != inArray {
		done, err := a.outside(t)
		if done || err != nil {
			return a, err
		}
	}
	return a, nil
}

func (a *arrays) resume() { a.state = behindOne }

// next returns the next element.
func (a *arrays) next(t *text) (found, error) {
	for {
		c, err := t.space()
		switch {
		case err != nil && (a.state == between && errors.Is(err, io.EOF)):
			return found{}, io.EOF
		case errors.Is(err, io.EOF):
			return found{}, t.broken(t.at, "it ends too early, inside of the JSON value that begins in line %d", a.opened.Line)
		case err != nil:
			return found{}, err
		}
		switch {
		case a.state != inArray && a.state != behindOne:
			if _, err := a.outside(t); err != nil {
				return found{}, err
			}
			continue
		case c == ']':
			a.close(t)
			continue
		case a.state == behindOne && c != ',':
			return found{}, t.broken(t.at, "%s stands behind a record, where , or ] is expected", quoteByte(c))
		case a.state == behindOne:
			t.advance(1)
			if c, err = t.space(); err != nil && !errors.Is(err, io.EOF) {
				return found{}, err
			}
			if err == nil && c == ']' { // a comma too many, as people leave it
				a.close(t)
				continue
			}
		}
		return a.element(t, c)
	}
}

// close takes the bracket that closes the array.
func (a *arrays) close(t *text) {
	t.advance(1)
	a.state = between
	if a.objects {
		a.state = behind
	}
}

// element takes an element that begins with c.
func (a *arrays) element(t *text, c byte) (found, error) {
	pos := t.at
	if strings.IndexByte(",]}:", c) >= 0 || c == 0 && t.r == t.w {
		if t.r == t.w {
			return found{}, t.broken(pos, "it ends too early, where a record is expected")
		}
		return found{}, t.broken(pos, "%s stands where a record is expected", quoteByte(c))
	}
	a.scan = scanner{}
	raw, size, err := t.take(a.scan.end)
	switch {
	case errors.Is(err, io.EOF):
		return found{}, t.broken(pos, "it ends too early, inside of the record that begins here")
	case err != nil:
		return found{}, err
	}
	a.state = behindOne
	if raw == nil || len(raw) > MaxLine {
		return found{pos: pos, head: t.headOf(raw), problem: tooLong("record", size)}, nil
	}
	return found{pos: pos, raw: raw, answer: a.name == "GroupInfo"}, nil
}

// outside reads one step of what is no element: the begin of a value, or a member of an object. done says that the
// text is at its end.
func (a *arrays) outside(t *text) (done bool, err error) {
	c, err := t.space()
	switch {
	case errors.Is(err, io.EOF) && a.state == between:
		return true, io.EOF
	case errors.Is(err, io.EOF):
		return false, t.broken(t.at, "it ends too early, inside of the JSON value that begins in line %d", a.opened.Line)
	case err != nil:
		return false, err
	}
	switch a.state {
	case unseenValue, between:
		want := byte('[')
		if a.objects {
			want = '{'
		}
		if c != want {
			return false, t.broken(t.at, "%s stands behind the end of the JSON value", quoteByte(c))
		}
		a.opened, a.held, a.other = t.at, false, ""
		t.advance(1)
		a.state = inArray
		if a.objects {
			a.state = inObject
		}
		return false, nil
	case inObject, behind:
		return false, a.member(t, c)
	case inArray, behindOne:
	}
	return false, nil
}

// member reads a member of an object, or its end; c stands next.
func (a *arrays) member(t *text, c byte) error {
	if c == '}' {
		return a.end(t)
	}
	if a.state == behind {
		if c != ',' {
			return t.broken(t.at, "%s stands where , or } is expected", quoteByte(c))
		}
		t.advance(1)
		var err error
		if c, err = a.must(t); err != nil {
			return err
		}
		if c == '}' { // a comma too many
			return a.end(t)
		}
	}
	if c != '"' {
		return t.broken(t.at, "%s stands where the name of a member is expected", quoteByte(c))
	}
	at := t.at
	quoted, err := a.value(t, at)
	if err != nil {
		return err
	}
	name := ""
	if unquoted, err := jsontext.AppendUnquote(nil, quoted); err == nil {
		name = string(unquoted)
	}
	if c, err = a.must(t); err != nil {
		return err
	}
	if c != ':' {
		return t.broken(t.at, "%s stands where : is expected", quoteByte(c))
	}
	t.advance(1)
	if c, err = a.must(t); err != nil {
		return err
	}
	if c == '[' && slices.Contains(a.names(), name) {
		t.advance(1)
		a.name, a.held, a.state = name, true, inArray
		return nil
	}
	if strings.IndexByte(",]}:", c) >= 0 {
		return t.broken(t.at, "%s stands where a value is expected", quoteByte(c))
	}
	if c == '[' && a.other == "" {
		a.other = name
	}
	if _, err = a.value(t, t.at); err != nil {
		return err
	}
	a.state = behind
	return nil
}

// end takes the brace that ends an object.
func (a *arrays) end(t *text) error {
	t.advance(1)
	if a.held {
		a.state = between
		return nil
	}
	name := ".NAME"
	if a.other != "" {
		name = jqPath(a.other)
	}
	return t.broken(a.opened, "the object that begins here holds no array under %s: jq -c '%s[]' FILE > OUT.jsonl "+
		"writes the records of another one a line each, and jq -c . FILE > OUT.jsonl objects that are records themselves", strings.Join(a.names(), ", "), name)
}

var jqName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// jqPath returns the jq program for a member of an object, to stand in single quotes of a shell.
func jqPath(name string) string {
	if jqName.MatchString(name) {
		return "." + name
	}
	return ".[" + strings.ReplaceAll(string(appendQuoted(nil, []byte(shorten([]byte(name))))), "'", `'\''`) + "]"
}

// names are those under which records are looked for: all of [Arrays], or the first one that was found.
func (a *arrays) names() []string {
	if a.name != "" {
		return []string{a.name}
	}
	return Arrays
}

// value takes a value that is no record. It is nil if it was too long to be kept.
func (a *arrays) value(t *text, at Position) ([]byte, error) {
	a.scan = scanner{}
	raw, _, err := t.take(a.scan.end)
	if errors.Is(err, io.EOF) {
		return nil, t.broken(at, "it ends too early, inside of the value that begins here")
	}
	return raw, err
}

// space takes white space and byte-order marks, and returns what stands behind them.
func (t *text) space() (byte, error) {
	for {
		if t.r == t.w {
			if err := t.fill(); err != nil {
				return 0, err
			}
		}
		window := t.buf[t.r:t.w]
		n := len(window) - len(bytes.TrimLeft(window, jsonSpace))
		t.advance(n)
		if n == len(window) {
			continue
		}
		at := t.at.Offset
		if t.skipMarks(); t.at.Offset == at {
			return t.buf[t.r], nil
		}
	}
}

// must is space where the text must not end.
func (a *arrays) must(t *text) (byte, error) {
	c, err := t.space()
	if errors.Is(err, io.EOF) {
		return 0, t.broken(t.at, "it ends too early, inside of the JSON value that begins in line %d", a.opened.Line)
	}
	return c, err
}

// quoteByte shows a byte in messages.
func quoteByte(c byte) string {
	if c < ' ' || c >= 0x7f {
		return "the byte 0x" + string("0123456789abcdef"[c>>4]) + string("0123456789abcdef"[c&15])
	}
	return string(c)
}

// A scanner finds where a JSON value ends: one in brackets at the bracket that closes it, a string at its quote, and
// anything else before white space, a comma or a bracket.
type scanner struct {
	kind    byte // the first byte; 0 before that
	depth   int
	text    bool // in a string
	escaped bool // behind a backslash in a string
}

// end is for [text.take].
func (s *scanner) end(chunk []byte) int {
	i := 0
	if s.kind == 0 {
		if len(chunk) == 0 {
			return -1
		}
		s.kind = chunk[0]
		i = 1
		switch s.kind {
		case '{', '[':
			s.depth = 1
		case '"':
			s.text = true
		}
	}
	switch s.kind {
	case '{', '[', '"':
	default:
		if n := bytes.IndexAny(chunk[i:], jsonSpace+",]}[{\""); n >= 0 {
			return i + n
		}
		return -1
	}
	for i < len(chunk) {
		if s.text {
			if s.escaped {
				s.escaped = false
				i++
				continue
			}
			for i < len(chunk) && chunk[i] != '"' && chunk[i] != '\\' {
				i++
			}
			if i == len(chunk) {
				return -1
			}
			if chunk[i] == '\\' {
				s.escaped = true
			} else if s.text = false; s.depth == 0 {
				return i + 1
			}
			i++
			continue
		}
		switch chunk[i] {
		case '"':
			s.text = true
		case '{', '[':
			s.depth++
		case '}', ']':
			s.depth--
			if s.depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return -1
}
