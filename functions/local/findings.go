package main

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

// A finding is a rule that records break, or a warning.
type finding struct {
	Field    string     `json:"field"` // "(record)" if it is about the record as a whole
	Rule     group.Rule `json:"rule"`
	Count    int64      `json:"count"`
	Examples []*example `json:"examples"` // the first
}

// An example is a message and the first records that it is about.
type example struct {
	Message string  `json:"message"`
	Value   string  `json:"value,omitzero"` // of the first record, as JSON, shortened
	Records []int64 `json:"records"`
	Lines   []int64 `json:"lines"`
	more    bool    // there are others
}

const (
	maxExamples = 3
	maxFindings = 1000 // then rules are counted together: an export may have any number of unknown fields
	maxValue    = 40   // characters
)

// findings aggregates by field and rule. The zero value is empty.
type findings map[findingKey]*finding

type findingKey struct {
	field string
	rule  group.Rule
}

// add counts one message about an entry.
func (f *findings) add(field string, rule group.Rule, message string, e *export.Entry) {
	if *f == nil {
		*f = findings{}
	}
	key := findingKey{field, rule}
	if (*f)[key] == nil && len(*f) >= maxFindings {
		key.field = "(others)"
	}
	if (*f)[key] == nil {
		(*f)[key] = &finding{Field: key.field, Rule: rule}
	}
	(*f)[key].add(e, field, message)
}

// sorted returns the findings, the most frequent first.
func (f *findings) sorted() []*finding {
	return slices.SortedFunc(maps.Values(*f), func(a, b *finding) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Field, b.Field), cmp.Compare(a.Rule, b.Rule))
	})
}

func (f *finding) add(e *export.Entry, field, message string) {
	f.Count++
	i := slices.IndexFunc(f.Examples, func(x *example) bool { return x.Message == message })
	if i < 0 {
		if len(f.Examples) == maxExamples {
			return
		}
		i = len(f.Examples)
		f.Examples = append(f.Examples, &example{Message: message, Value: valueOf(e.Raw, field)})
	}
	if x := f.Examples[i]; len(x.Lines) < maxExamples {
		x.Records, x.Lines = append(x.Records, e.Pos.N), append(x.Lines, e.Pos.Line)
	} else {
		x.more = true
	}
}

// valueOf returns the value of a field of a record as JSON, shortened, empty if the record has no such field.
func valueOf(raw []byte, field string) string {
	dec := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if _, err := dec.ReadToken(); err != nil {
		return ""
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return ""
		}
		wanted := name.String() == field
		value, err := dec.ReadValue()
		if err != nil {
			return ""
		}
		if wanted {
			text := []rune(strings.ToValidUTF8(string(value), "\uFFFD"))
			if len(text) > maxValue {
				text = append(text[:maxValue], '…')
			}
			return string(text)
		}
	}
	return ""
}
