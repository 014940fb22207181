package mapping

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// replacement replaces invalid UTF-8, such as a lone surrogate.
const replacement = "\uFFFD"

// maxText is the maximum length of a string in a record, in bytes. Some functions of jq take time that grows with the
// square of the length, such as gsub and tonumber: a few seconds for maxText.
const maxText = 64 << 10

// decode decodes JSON for gojq. Integers stay exact. Of duplicate names the last counts, as in jq. damage replaces
// invalid UTF-8; damaged reports whether there was any. The error wraps errLongText if a string is longer than maxText.
func decode(raw []byte, damage string) (v any, damaged bool, err error) {
	d := decoder{tolerantDecoder(raw), damage, false}
	if v, err = d.value(); err != nil {
		return nil, false, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, false, fmt.Errorf("unexpected data at byte %d", d.InputOffset())
	}
	return v, d.damaged, nil
}

func tolerantDecoder(raw []byte) *jsontext.Decoder {
	// A decoder reads a bytes.Buffer in place.
	return jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

type decoder struct {
	*jsontext.Decoder
	damage  string
	damaged bool
}

// errLongText does not depend on whether the program uses the string: any substitute could change a result.
var errLongText = fmt.Errorf("a string is longer than a mapping accepts, %d bytes", maxText)

func (d *decoder) value() (any, error) {
	switch d.PeekKind() {
	case '"':
		return d.text()
	case '[':
		return d.list()
	case '{':
		return d.object()
	default:
		return d.scalar()
	}
}

func (d *decoder) scalar() (any, error) {
	tok, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case 't', 'f':
		return tok.Bool(), nil
	case '0':
		return number(tok.String()), nil
	default:
		return nil, nil // null
	}
}

func (d *decoder) text() (string, error) {
	quoted, err := d.ReadValue()
	switch {
	case err != nil:
		return "", err
	case len(quoted) > len(`""`)+maxText:
		return "", errLongText
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	if err == nil {
		return string(text), nil
	}
	d.damaged = true // AppendUnquote has inserted the replacement character
	if d.damage == replacement {
		return string(text), nil
	}
	return strings.ReplaceAll(string(text), replacement, d.damage), nil
}

func (d *decoder) list() (any, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	list := []any{}
	for d.PeekKind() != ']' {
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.ReadToken()
	return list, err
}

func (d *decoder) object() (any, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	object := map[string]any{}
	for d.PeekKind() != '}' {
		name, err := d.text()
		if err != nil {
			return nil, err
		}
		if object[name], err = d.value(); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return object, err
}

func number(text string) any {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	if len(text) < 1000 {
		if n, ok := new(big.Int).SetString(text, 10); ok {
			return n
		}
	}
	n, _ := strconv.ParseFloat(text, 64) // infinite if too large, as in jq
	return n
}

// isOther reports whether a member named in only has another string. The error reports that the record is not JSON.
func (p *engine) isOther(raw []byte) (bool, error) {
	dec := tolerantDecoder(raw)
	other, err := p.scan(dec)
	if err == nil {
		if _, err = dec.ReadToken(); errors.Is(err, io.EOF) {
			return other, nil
		}
		err = fmt.Errorf("unexpected data at byte %d", dec.InputOffset())
	}
	return false, invalid(err)
}

// hasOther is isOther for the first bytes of a record.
func (p *engine) hasOther(head []byte) bool {
	other, _ := p.scan(tolerantDecoder(head))
	return other
}

// scan reads one value. Of duplicate names the last counts.
func (p *engine) scan(dec *jsontext.Decoder) (other bool, err error) {
	if dec.PeekKind() != '{' {
		_, err := dec.ReadValue()
		return false, err
	}
	if _, err := dec.ReadToken(); err != nil {
		return false, err
	}
	var otherNames []string
	for dec.PeekKind() == '"' {
		quoted, err := dec.ReadValue()
		if err != nil {
			return len(otherNames) > 0, err
		}
		name := p.declared(quoted)
		value, err := dec.ReadValue()
		if err != nil {
			return len(otherNames) > 0, err
		}
		if name == "" {
			continue
		}
		otherNames = slices.DeleteFunc(otherNames, func(seen string) bool { return seen == name })
		text, err := jsontext.AppendUnquote(nil, value)
		if value.Kind() == '"' && err == nil && !slices.Contains(p.only[name], string(text)) {
			otherNames = append(otherNames, name)
		}
	}
	_, err = dec.ReadToken()
	return len(otherNames) > 0, err
}

// declared unquotes a name. It returns "" if only does not contain the name.
func (p *engine) declared(quoted jsontext.Value) string {
	for name := range p.only {
		if text, err := jsontext.AppendUnquote(nil, quoted); err == nil && string(text) == name {
			return name
		}
	}
	return ""
}
