package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
)

// arrays locates the elements of JSON arrays: top-level arrays, arrays under one name in top-level objects, or what a
// [Path] leads to. Only brackets and strings determine the end of an element, so that a malformed element does not
// affect the others.
type arrays struct {
	objects bool      // the top-level values are objects, not arrays
	path    Path      // leads to the records, nil for one of [Arrays]
	depth   int       // number of objects of path that are open below the top-level object
	kind    container // what contains the records of the current object
	name    string    // of the member that contains the records, "" until it is found
	state   arraysState
	held    bool     // the current object contains the records
	other   string   // the first other member of the current object that is an array, "" if there is none
	opened  Position // start of the current object
	scan    scanner
	width   int // bytes of the text that the last byte of peek takes
	quoted  []byte
	record  []byte
}

// A container is what contains records. Its value starts the [Position.In] of a position within it.
type container string

const (
	inList   container = ""       // an array
	inMap    container = "object" // an object: its members' values are the records
	inString container = "string" // a string with the JSON text of an array
	inMember container = "member" // an object that is itself the record
)

type arraysState int

const (
	between      arraysState = iota // between top-level values
	inObject                        // before the first member
	afterMember                     // after a member
	inArray                         // before the first element
	afterElement                    // after an element
	afterComma                      // after the comma that follows an element
	unseenValue                     // before the first top-level value
)

// resumable are the states in which reading can resume, with their names in [Position.In].
var resumable = map[arraysState]string{afterElement: "", afterComma: "comma", inArray: "array", between: "between"}

const jsonSpace = " \t\r\n"

// begin reads up to the first element, to find the name of the array.
func (a *arrays) begin(t *text) (finder, error) {
	c, err := t.space()
	switch {
	case err != nil:
		return a, err
	case c != '{' && a.path != nil:
		return a, t.broken(t.at, "unexpected %s, expected an object with the records at %s", quoteByte(c), a.path)
	case c != '[' && c != '{':
		return a, t.broken(t.at, "unexpected %s, expected an array or an object", quoteByte(c))
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

// in returns the [Position.In] of the current state, and whether reading can resume there.
func (a *arrays) in() (string, bool) {
	name, ok := resumable[a.state]
	switch {
	case a.kind == inMember && a.state == afterMember:
		return string(inMember), a.held && a.depth == len(a.path.names())-1
	case a.kind == inMember || a.state == between:
		return name, a.state == between
	}
	return strings.TrimSpace(string(a.kind) + " " + name), ok
}

func (a *arrays) resume(in string) {
	a.opened = Position{} // of the first object, where begin has found the name of the array
	if in == string(inMember) {
		a.kind, a.state, a.depth = inMember, afterMember, len(a.path.names())-1
		return
	}
	a.kind, a.state = inList, afterElement
	for _, kind := range []container{inMap, inString} {
		if rest, ok := strings.CutPrefix(in, string(kind)); ok {
			a.kind, in = kind, strings.TrimSpace(rest)
		}
	}
	for state, name := range resumable {
		if name == in {
			a.state = state
		}
	}
	a.depth = max(0, len(a.path.names())-1)
	if a.state == between {
		a.depth = 0
	}
}

// peek consumes white space and returns the next byte without consuming it: 0 for the end of the string, in one.
func (a *arrays) peek(t *text, mayPause bool) (byte, error) {
	a.width = 1
	inside := a.state == inArray || a.state == afterElement || a.state == afterComma
	if a.kind != inString || !inside {
		return t.spaceOrPause(mayPause)
	}
	for {
		if mayPause && t.isDue() {
			return 0, errPause
		}
		c, n := unescaped(t.head(escapeSize))
		switch {
		case n == 0 && t.err != nil && !errors.Is(t.err, io.EOF):
			return 0, t.err
		case n == 0:
			return 0, io.EOF
		case strings.IndexByte(jsonSpace, c) < 0:
			a.width = n
			return c, nil
		}
		t.advance(n)
	}
}

// next returns the next element.
func (a *arrays) next(t *text) (found, error) {
	for {
		in, isResumable := a.in()
		c, err := a.peek(t, isResumable)
		switch {
		case errors.Is(err, errPause):
			return found{isBlank: true, in: in}, nil
		case a.state == between && errors.Is(err, io.EOF):
			return found{}, io.EOF
		case errors.Is(err, io.EOF) && a.state == afterComma:
			return found{}, t.broken(t.at, "unexpected end, expected a record")
		case errors.Is(err, io.EOF):
			return found{}, a.unended(t)
		case err != nil:
			return found{}, err
		}
		switch {
		case a.state != inArray && a.state != afterElement && a.state != afterComma:
			if _, err := a.outside(t); err != nil {
				return found{}, err
			}
		case a.kind != inMember && c == a.bracket(): // also after a trailing comma
			if err := a.close(t); err != nil {
				return found{}, err
			}
		case a.state == afterElement && c != ',':
			return found{},
				t.broken(t.at, "unexpected %s after a record, expected ',' or %s", quoteByte(c), quoteByte(a.bracket()))
		case a.state == afterElement:
			t.advance(a.width)
			a.state = afterComma
		case a.kind == inMap:
			if c, err = a.key(t, c); err != nil {
				return found{}, err
			}
			return a.element(t, c)
		default:
			return a.element(t, c)
		}
	}
}

// bracket returns the byte that closes the container.
func (a *arrays) bracket() byte {
	if a.kind == inMap {
		return '}'
	}
	return ']'
}

// close consumes the bracket that closes the container, and the quote that closes its string.
func (a *arrays) close(t *text) error {
	t.advance(a.width)
	if a.kind == inString {
		switch c, err := a.peek(t, false); {
		case errors.Is(err, io.EOF):
			return a.unended(t)
		case err != nil:
			return err
		case c != 0:
			return t.broken(t.at, "unexpected %s after the array in a string", quoteByte(c))
		}
		t.advance(1)
	}
	a.state = between
	if a.objects && (a.path == nil || len(a.path.names()) > 0) {
		a.state = afterMember
	}
	return nil
}

// key consumes the name of a member whose value is a record, and returns the first byte of the value.
func (a *arrays) key(t *text, c byte) (byte, error) {
	if c != '"' {
		return 0, t.broken(t.at, "unexpected %s, expected the name of a member", quoteByte(c))
	}
	if _, err := a.value(t, t.at); err != nil {
		return 0, err
	}
	return a.colon(t)
}

// colon consumes a colon, and returns the first byte of the value that follows.
func (a *arrays) colon(t *text) (byte, error) {
	c, err := a.must(t)
	if err != nil {
		return 0, err
	}
	if c != ':' {
		return 0, t.broken(t.at, "unexpected %s, expected ':'", quoteByte(c))
	}
	t.advance(1)
	return a.must(t)
}

// element consumes an element that starts with c.
func (a *arrays) element(t *text, c byte) (found, error) {
	pos := t.at
	if strings.IndexByte(",]}:\x00", c) >= 0 {
		return found{}, t.broken(pos, "unexpected %s, expected a record", quoteByte(c))
	}
	a.scan = scanner{}
	end := a.scan.end
	escaped := escapedScanner{}
	if a.kind == inString {
		end = escaped.end
	}
	raw, size, err := t.next(end)
	switch {
	case errors.Is(err, io.EOF), escaped.closed:
		return found{}, t.broken(pos, "unexpected end inside the record that starts here")
	case err != nil:
		return found{}, err
	}
	a.state = afterElement
	if a.kind == inMember {
		a.state = afterMember
	}
	in, _ := a.in()
	if raw == nil || len(raw) > MaxLine {
		head := t.headOf(raw)
		return found{pos: pos, in: in, head: head, problem: tooLong("record", size, head)}, nil
	}
	f := found{pos: pos, in: in, raw: raw, isResponse: a.name == "GroupInfo"}
	if a.kind == inString {
		a.quoted = append(append(append(a.quoted[:0], '"'), raw...), '"')
		if a.record, err = jsontext.AppendUnquote(a.record[:0], a.quoted); err != nil {
			f.problem = problemf(group.RuleUTF8, "the record is in a string that is not valid JSON: %v", err)
			return f, nil
		}
		f.raw = a.record
	}
	return f, nil
}

// outside reads one token outside the elements: the start of a value, or a member of an object. done reports the end of
// the text.
func (a *arrays) outside(t *text) (done bool, err error) {
	c, err := t.space()
	switch {
	case errors.Is(err, io.EOF) && a.state == between:
		return true, io.EOF
	case errors.Is(err, io.EOF):
		return false, a.unended(t)
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
			return false, t.broken(t.at, "unexpected %s after the JSON value", quoteByte(c))
		}
		a.opened, a.held, a.other, a.kind = t.at, false, "", inList
		t.advance(1)
		a.state = inArray
		switch {
		case a.objects && a.path != nil && len(a.path.names()) == 0:
			a.kind, a.held = inMap, true
		case a.objects:
			a.state = inObject
		}
		return false, nil
	case inObject, afterMember:
		return false, a.member(t, c)
	case inArray, afterElement, afterComma:
	}
	return false, nil
}

// member reads a member of an object, or the end of the object. c is the next byte.
func (a *arrays) member(t *text, c byte) error {
	if c == '}' {
		return a.end(t)
	}
	if a.state == afterMember {
		if c != ',' {
			return t.broken(t.at, "unexpected %s, expected ',' or '}'", quoteByte(c))
		}
		t.advance(1)
		var err error
		if c, err = a.must(t); err != nil {
			return err
		}
		if c == '}' { // trailing comma
			return a.end(t)
		}
	}
	if c != '"' {
		return t.broken(t.at, "unexpected %s, expected the name of a member", quoteByte(c))
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
	if c, err = a.colon(t); err != nil {
		return err
	}
	if names := a.path.names(); c == '{' && a.depth < len(names)-1 && name == names[a.depth] {
		t.advance(1)
		a.depth++
		a.state = inObject
		return nil
	}
	a.scan = scanner{}
	if opened, err := a.enter(t, name, c); opened || err != nil {
		return err
	}
	if strings.IndexByte(",]}:", c) >= 0 {
		return t.broken(t.at, "unexpected %s, expected a value", quoteByte(c))
	}
	if c == '[' && a.other == "" {
		a.other = name
	}
	if _, err = a.rest(t, t.at); err != nil {
		return err
	}
	a.state = afterMember
	return nil
}

// enter opens the container of the records, if the member's value, which starts with c, is that.
func (a *arrays) enter(t *text, name string, c byte) (opened bool, err error) {
	if a.depth < len(a.path.names())-1 || !slices.Contains(a.names(), name) {
		return false, nil
	}
	kind := inList
	switch {
	case c == '[':
		t.advance(1)
	case a.path == nil:
		return false, nil
	case c == 'n' && len(a.path.names()) > 1:
		a.held = true // null in an object that is there, an empty list as some services write it: on the last page
		return false, nil
	case c == '{' && a.path.isMap():
		kind = inMap
		t.advance(1)
	case c == '{':
		kind = inMember
	case c == '"' && !a.path.isMap():
		kind = inString
		t.advance(1)
		a.kind, a.state = inString, inArray
		first, err := a.peek(t, false)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if first != '[' {
			a.scan = scanner{kind: '"', text: true} // the rest of a string that holds no array
			a.kind, a.state = inList, afterMember
			return false, nil
		}
		t.advance(a.width)
	default:
		return false, nil
	}
	a.kind, a.name, a.held, a.state = kind, name, true, inArray
	return true, nil
}

// end consumes the brace that closes an object.
func (a *arrays) end(t *text) error {
	t.advance(1)
	if a.depth > 0 {
		a.depth--
		a.state = afterMember
		return nil
	}
	if a.held {
		a.state = between
		return nil
	}
	if a.path != nil {
		return t.broken(a.opened, "the object that starts here has no records at %s", a.path)
	}
	name := ".NAME"
	if a.other != "" {
		name = jqPath(a.other)
	}
	return t.broken(a.opened, "the object that starts here has no array named %s: "+
		"name the place of the records with --records (RECORDS), "+
		"convert another array with jq -c '%s[]' FILE > OUT.jsonl, "+
		"or objects that are records with jq -c . FILE > OUT.jsonl", strings.Join(a.names(), ", "), name)
}

var jqName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// jqPath returns a jq path for a member, for use inside single quotes in a shell.
func jqPath(name string) string {
	if len(name) <= maxName && jqName.MatchString(name) {
		return "." + name
	}
	return ".[" + strings.ReplaceAll(string(appendQuoted(nil, []byte(cut(name, maxName)))), "'", `'\''`) + "]"
}

// names returns the names of the member that contains the records: all of [Arrays], or the name found first.
func (a *arrays) names() []string {
	switch names := a.path.names(); {
	case a.path != nil:
		return names[max(0, len(names)-1):]
	case a.name != "":
		return []string{a.name}
	}
	return Arrays
}

// value consumes a value that is not a record. The result is nil if the value was too long.
func (a *arrays) value(t *text, at Position) ([]byte, error) {
	a.scan = scanner{}
	return a.rest(t, at)
}

// rest is value for a value whose first bytes scan has seen.
func (a *arrays) rest(t *text, at Position) ([]byte, error) {
	raw, _, err := t.next(a.scan.end)
	if errors.Is(err, io.EOF) {
		return nil, t.broken(at, "unexpected end inside the value that starts here")
	}
	return raw, err
}

// space consumes white space and byte-order marks, and returns the next byte without consuming it.
func (t *text) space() (byte, error) { return t.spaceOrPause(false) }

// errPause is returned by spaceOrPause if the Reader should yield the position.
var errPause = errors.New("pause")

// spaceOrPause is space. If mayPause is set, it returns errPause when the position is due.
func (t *text) spaceOrPause(mayPause bool) (byte, error) {
	for {
		if mayPause && t.isDue() {
			return 0, errPause
		}
		if t.r == t.w {
			if err := t.fill(); err != nil {
				return 0, err
			}
		}
		if c := t.buf[t.r]; c > ' ' && c < utf8.RuneSelf {
			return c, nil
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

// unended returns the error of a text that ends within a top-level value. After a resume, where that value starts is
// unknown.
func (a *arrays) unended(t *text) error {
	if a.opened.Line == 0 {
		return t.broken(t.at, "unexpected end inside a JSON value")
	}
	return t.broken(t.at, "unexpected end inside the JSON value that starts on line %d", a.opened.Line)
}

// must is space with an error at the end of the text.
func (a *arrays) must(t *text) (byte, error) {
	c, err := t.space()
	if errors.Is(err, io.EOF) {
		return 0, a.unended(t)
	}
	return c, err
}

// quoteByte formats a byte for messages.
func quoteByte(c byte) string {
	if c < ' ' || c >= 0x7f {
		return fmt.Sprintf("byte 0x%02x", c)
	}
	return "'" + string(c) + "'"
}

// A scanner finds the end of a JSON value: the closing bracket of an array or object, the closing quote of a string.
// Any other value ends before white space, a comma or a bracket.
type scanner struct {
	kind    byte // the first byte, 0 before it is read
	depth   int
	text    bool // in a string
	escaped bool // after a backslash in a string
}

// end implements the end function of [text.next].
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
