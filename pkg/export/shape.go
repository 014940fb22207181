package export

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
)

// values finds a record in each of the JSON objects that stand one behind the other, over as many lines as they take.
type values struct{}

func (values) resume() {}

func (values) next(t *text) (found, error) {
	c, err := t.space()
	switch {
	case err != nil:
		return found{}, err
	case c != '{':
		return found{}, t.broken(t.at, "%s stands where a record is expected, which begins with {", quoteByte(c))
	}
	pos := t.at
	scan := scanner{}
	raw, size, err := t.take(scan.end)
	switch {
	case errors.Is(err, io.EOF):
		return found{}, t.broken(pos, "it ends too early, inside of the record that begins here")
	case err != nil:
		return found{}, err
	case raw == nil || len(raw) > MaxLine:
		return found{pos: pos, head: t.headOf(raw), problem: tooLong("record", size)}, nil
	}
	return found{pos: pos, raw: raw, line: true}, nil
}

// finderOfJSON returns what finds the records of a text that is JSON by its name, or JSONL. Its first value tells: an
// array; an object that holds one under a name of [Arrays]; or a record, on one line or over several.
func finderOfJSON(t *text, jsonl, foreign bool) (finder, error) {
	if !jsonl {
		if _, err := t.space(); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	first, err := firstOf(t)
	if err != nil {
		return nil, err
	}
	isArray := bytes.HasPrefix(first.raw, []byte("["))
	switch {
	case len(first.raw) == 0, jsonl && !isArray && first.raw[0] != '{':
		return lines{}, nil
	case jsonl && isArray && !first.opensArray(), jsonl && !isArray && !first.isPretty():
		return lines{}, nil // a record that is damaged, or all is well
	case first.isRecord(foreign) && first.oneLine():
		return lines{}, nil
	case first.isRecord(foreign):
		return values{}, nil
	}
	return (&arrays{}).begin(t)
}

// A firstValue is the first value of a text.
type firstValue struct {
	raw    []byte // of it, as much as is held of it
	behind []byte // what follows on its last line
	whole  bool
}

// firstOf returns the first value of a text, as far as it lies in the window, without taking it.
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
			return firstValue{}, t.err // what the text is must not depend on how far it could be read
		case ends:
			return firstValue{raw: window}, nil
		}
	}
}

// firstIn returns the first value of a window, if it is known without more of the text, of which none follows if ends
// is set.
func firstIn(window []byte, ends bool) (v firstValue, ok bool) {
	if bytes.HasPrefix(window, []byte("[")) {
		return firstValue{raw: window}, true
	}
	var s scanner
	end := s.end(window)
	if end < 0 {
		return v, false
	}
	behind := window[end:]
	i := bytes.IndexByte(behind, '\n')
	if i < 0 {
		i = len(behind)
	}
	return firstValue{raw: window[:end], behind: behind[:i], whole: true}, ends || i < len(behind)
}

// trimStart returns a text without white space and byte-order marks before it.
func trimStart(text []byte) []byte {
	for {
		rest := bytes.TrimPrefix(bytes.TrimLeft(text, jsonSpace), []byte(utf8Mark))
		if len(rest) == len(text) {
			return text
		}
		text = rest
	}
}

// oneLine reports whether the value is all that its line holds.
func (v *firstValue) oneLine() bool {
	return !bytes.ContainsRune(v.raw, '\n') && len(bytes.Trim(v.behind, jsonSpace)) == 0
}

// opensArray reports whether an array holds objects, or nothing on its first line, so that it is not a damaged record.
func (v *firstValue) opensArray() bool {
	inside := v.raw[1:]
	rest := bytes.TrimLeft(inside, jsonSpace)
	return bytes.HasPrefix(rest, []byte("{")) || bytes.ContainsRune(inside[:len(inside)-len(rest)], '\n') ||
		bytes.HasPrefix(rest, []byte("]")) && len(trimStart(rest[1:])) == 0
}

// isPretty reports whether the value stands on several lines, and is not a damaged line and those behind it.
func (v *firstValue) isPretty() bool {
	if v.whole {
		return bytes.ContainsRune(v.raw, '\n') && jsontext.Value(v.raw).IsValid(tolerant)
	}
	line, rest, _ := bytes.Cut(v.raw, []byte("\n"))
	rest = bytes.TrimLeft(rest, jsonSpace)
	return string(bytes.Trim(line, jsonSpace)) == "{" && bytes.HasPrefix(rest, []byte(`"`))
}

// isRecord reports whether an object is a record and not one that holds them: it has a field of a record, or is a line
// of a failures file, or, where another could be meant, holds no array of objects.
func (v *firstValue) isRecord(foreign bool) bool {
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
		return !holdsObjects
	}
	_, _, isFailure, _ := unwrap(v.raw)
	return isFailure
}
