package export

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
)

// values locates the records in a sequence of JSON objects, each on one or more lines.
type values struct{}

func (values) resume(string) {}

func (values) next(t *text) (found, error) {
	c, err := t.spaceOrPause(true)
	switch {
	case errors.Is(err, errPause):
		return found{isBlank: true}, nil
	case err != nil:
		return found{}, err
	case c != '{':
		return found{}, t.broken(t.at, "unexpected %s, expected a record, which starts with '{'", quoteByte(c))
	}
	pos := t.at
	scan := scanner{}
	raw, size, err := t.next(scan.end)
	switch {
	case errors.Is(err, io.EOF):
		return found{}, t.broken(pos, "unexpected end inside the record that starts here")
	case err != nil:
		return found{}, err
	case raw == nil || len(raw) > MaxLine:
		head := t.headOf(raw)
		return found{pos: pos, head: head, problem: tooLong("record", size, head)}, nil
	}
	return found{pos: pos, raw: raw, isLine: true}, nil
}

// jsonFinder returns the finder for a text named .json, or .jsonl if jsonl is set. The first value determines it: an
// array, an object with an array under a name of [Arrays], or a record on one or more lines.
//
// stated is the path of [Source.Records], which a text that is not empty or a dead-letter file must have. paths are
// where a mapping expects the records. The first value decides which of them the text has, if any: a file may also
// contain the records themselves.
func jsonFinder(t *text, jsonl, foreign bool, stated Path, paths []Path) (finder, error) {
	if !jsonl {
		if _, err := t.space(); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	first, err := firstOf(t)
	if err != nil {
		return nil, err
	}
	if stated != nil && len(first.raw) > 0 && !first.isFailure() {
		return (&arrays{path: stated}).begin(t)
	}
	if i := slices.IndexFunc(paths, first.has); i >= 0 && stated == nil {
		return (&arrays{path: paths[i]}).begin(t)
	}
	isArray := bytes.HasPrefix(first.raw, []byte("["))
	switch {
	case len(first.raw) == 0, jsonl && !isArray && first.raw[0] != '{':
		return lines{}, nil
	case jsonl && isArray && !first.opensArray(), jsonl && !isArray && !first.isPretty():
		return lines{}, nil // JSONL, the first record may be malformed
	case first.isRecord(foreign, len(paths) > 0) && first.oneLine():
		return lines{}, nil
	case first.isRecord(foreign, len(paths) > 0), !first.whole && first.cutMember() == memberList:
		return values{}, nil
	}
	return (&arrays{}).begin(t)
}

// A firstValue is the first JSON value of a text.
type firstValue struct {
	raw   []byte // the value, or its first bytes
	after []byte // the rest of its last line
	whole bool   // raw is complete
}

// firstOf returns the first value of a text, as far as it fits into the buffer, without consuming it.
func firstOf(t *text) (firstValue, error) {
	for n := 4 << 10; ; n = bufSize {
		window := t.head(n)
		ends := len(window) < n || n == bufSize
		failed := len(window) < n && !errors.Is(t.err, io.EOF)
		window = trimStart(window)
		if v, ok := firstIn(window, ends && !failed); ok {
			return v, nil
		}
		switch {
		case failed:
			return firstValue{}, t.err // a read error must not affect the detection
		case ends:
			return firstValue{raw: window}, nil
		}
	}
}

// firstIn returns the first value of a window. ok is false if more text is needed. ends means that the window is all
// there is.
func firstIn(window []byte, ends bool) (v firstValue, ok bool) {
	if bytes.HasPrefix(window, []byte("[")) {
		return firstValue{raw: window}, true
	}
	var s scanner
	end := s.end(window)
	if end < 0 {
		return v, false
	}
	after := window[end:]
	i := bytes.IndexByte(after, '\n')
	if i < 0 {
		i = len(after)
	}
	return firstValue{raw: window[:end], after: after[:i], whole: true}, ends || i < len(after)
}

// trimStart removes leading white space and byte-order marks.
func trimStart(text []byte) []byte {
	for {
		rest := bytes.TrimPrefix(bytes.TrimLeft(text, jsonSpace), []byte(utf8Mark))
		if len(rest) == len(text) {
			return text
		}
		text = rest
	}
}

// oneLine reports whether the value occupies exactly one line.
func (v *firstValue) oneLine() bool {
	return !bytes.ContainsRune(v.raw, '\n') && len(bytes.Trim(v.after, jsonSpace)) == 0
}

// opensArray reports whether an array starts with an object, is empty, or has nothing else on its first line.
// Otherwise it is a malformed record.
func (v *firstValue) opensArray() bool {
	inside := v.raw[1:]
	rest := bytes.TrimLeft(inside, jsonSpace)
	return bytes.HasPrefix(rest, []byte("{")) || bytes.ContainsRune(inside[:len(inside)-len(rest)], '\n') ||
		bytes.HasPrefix(rest, []byte("]")) && len(trimStart(rest[1:])) == 0
}

// isPretty reports whether the value is a valid object on several lines, as opposed to a malformed line.
func (v *firstValue) isPretty() bool {
	if v.whole {
		return bytes.ContainsRune(v.raw, '\n') && jsontext.Value(v.raw).IsValid(tolerant)
	}
	line, rest, _ := bytes.Cut(v.raw, []byte("\n"))
	rest = bytes.TrimLeft(rest, jsonSpace)
	return string(bytes.Trim(line, jsonSpace)) == "{" && bytes.HasPrefix(rest, []byte(`"`))
}

// isFailure reports whether the value is a line of a dead-letter file.
func (v *firstValue) isFailure() bool {
	_, _, ok, _ := unwrap(v.raw)
	return ok
}

// has reports whether the value, or its first bytes, is an object with records at path: an array or a string with an
// array, and with a star an object. Anything else may be a part of a record.
func (v *firstValue) has(path Path) bool {
	dec := jsontext.NewDecoder(bytes.NewReader(v.raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	return enters(dec, v.raw, path)
}

// enters reports whether the next value of dec, which reads raw, has records at path.
func enters(dec *jsontext.Decoder, raw []byte, path Path) bool {
	if len(path.names()) == 0 {
		kind := dec.PeekKind()
		if kind == '"' {
			value := bytes.TrimLeft(raw[dec.InputOffset():], jsonSpace+":")
			return len(path) == 0 && len(value) > 0 && holdsArray(value[1:])
		}
		return kind == '[' && len(path) == 0 || kind == '{' && path.isMap()
	}
	if dec.PeekKind() != '{' {
		return false
	}
	if _, err := dec.ReadToken(); err != nil {
		return false
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return false
		}
		isNext := name.String() == path[0]
		depth := dec.StackDepth()
		if isNext && enters(dec, raw, path[1:]) {
			return true
		}
		for dec.StackDepth() > depth { // inside a member that does not have the rest of the path
			if _, err := dec.ReadToken(); err != nil {
				return false
			}
		}
		if n, length := dec.StackIndex(depth); n == '{' && length%2 == 0 {
			continue // the member's value has been read
		}
		if err := dec.SkipValue(); err != nil {
			return false
		}
	}
	if dec.PeekKind() == '}' {
		_, _ = dec.ReadToken()
	}
	return false
}

// holdsArray reports whether the rest of a JSON string starts the JSON text of an array.
func holdsArray(text []byte) bool {
	for {
		c, n := unescaped(text)
		if n == 0 || strings.IndexByte(jsonSpace, c) < 0 {
			return c == '['
		}
		text = text[n:]
	}
}

// cutMember returns the name of the member whose value is incomplete, "" if there is none.
func (v *firstValue) cutMember() string {
	dec := jsontext.NewDecoder(bytes.NewReader(v.raw), tolerant)
	if _, err := dec.ReadToken(); err != nil {
		return ""
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return ""
		}
		text := name.String() // valid until the next call
		if dec.SkipValue() != nil {
			return text
		}
	}
	return ""
}

// isRecord reports whether an object is a record and not a container of records: it has a field of a record, is a line
// of a dead-letter file or, in ambiguous cases, has no array of objects. placed means that the mapping says where
// records are: an object without such a place is a record.
func (v *firstValue) isRecord(foreign, placed bool) bool {
	if !v.whole || v.raw[0] != '{' {
		return false
	}
	members, err := membersOf(v.raw)
	isField, holdsObjects := false, false
	for _, m := range members {
		isList := m.value.Kind() == '['
		if isList && isArrayName(m.name) {
			return false
		}
		isField = isField || group.IsField(m.name)
		holdsObjects = holdsObjects || isList && bytes.HasPrefix(bytes.TrimLeft(m.value[1:], jsonSpace), []byte("{"))
	}
	switch {
	case isField:
		return true
	case v.oneLine():
		return err == nil && (foreign || !holdsObjects)
	case foreign:
		return placed || !holdsObjects
	}
	return v.isFailure()
}
