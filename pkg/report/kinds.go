package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"groupimport/pkg/outcome"
)

const (
	// Of what is wrong at most kindsMost kinds are kept apart; when there are more, the half with the fewest
	// records goes to the others of their status. What is frequent stays, however many kinds there are.
	kindsMost = 256

	kindsShown   = 40
	examplesMost = 3
)

// A kind is one thing that is wrong with records: a rule that they break, or a code that the service
// answered.
type kind struct {
	status   outcome.Status
	code     int  // the service's, 0 if none or if they differ
	sent     bool // the service said so
	key      string
	words    []string
	field    string // empty if none or if they differ
	count    int64
	examples []example
	number   int // in order of the first record, from 1
}

// An example is a record that is not in.
type example struct {
	line        int64
	groupID     string
	field       string
	value, text string // of the field, or the record; what is wrong with it
}

// title says what is wrong: the first message, with "…" where that of others differs.
func (k *kind) title() string { return strings.Join(k.words, "") }

// A kinds groups records by what is wrong with them. Its zero value is empty.
type kinds struct {
	byKey  map[string]*kind
	others map[outcome.Status]int64
	seen   int
}

// add counts a record and returns its kind.
func (s *kinds) add(o *outcome.Outcome) *kind {
	if s.byKey == nil {
		s.byKey, s.others = map[string]*kind{}, map[outcome.Status]int64{}
	}
	sent := o.Attempts > 0 && o.Code != 0
	words := wordsOf(o.Error)
	key := string(o.Status) + "\x00" + keyOf(words)
	if sent {
		key = fmt.Sprintf("%s\x00%d", o.Status, o.Code)
	}
	k := s.byKey[key]
	if k == nil {
		if len(s.byKey) >= kindsMost {
			s.fold()
		}
		s.seen++
		k = &kind{status: o.Status, code: o.Code, sent: sent, key: key, words: words, field: o.Field, number: s.seen}
		s.byKey[key] = k
	}
	k.count++
	if k.code != o.Code {
		k.code = 0
	}
	if k.field != o.Field {
		k.field = ""
	}
	if len(k.words) == len(words) {
		for i := range words {
			if k.words[i] != words[i] {
				k.words[i] = "…"
			}
		}
	}
	return k
}

// fold gives the half with the fewest records to the others.
func (s *kinds) fold() {
	for _, k := range s.sorted()[kindsMost/2:] {
		s.others[k.status] += k.count
		delete(s.byKey, k.key)
	}
}

// sorted returns the kinds, most frequent first.
func (s *kinds) sorted() []*kind {
	return slices.SortedFunc(maps.Values(s.byKey), func(a, b *kind) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.number, b.number))
	})
}

// list returns the kinds, most frequent first, and how many records are of kinds that are not among them.
func (s *kinds) list() ([]*kind, int64) {
	list := s.sorted()
	var others int64
	for _, n := range s.others {
		others += n
	}
	if len(list) > kindsShown {
		for _, k := range list[kindsShown:] {
			others += k.count
		}
		list = list[:kindsShown]
	}
	return list, others
}

// wordsOf cuts a message into what its rule always says, at even places, and what differs by record, at
// odd ones: numbers and quoted text. Only what stands before the first semicolon counts: behind it
// follow further mistakes.
func wordsOf(message string) []string {
	const most = 400 // bytes
	words := []string{}
	start := 0
	put := func(from, to int) {
		words = append(words, message[start:from], message[from:to])
		start = to
	}
	for i := 0; i < len(message) && i < most; {
		switch c := message[i]; {
		case c == '"':
			end := i + 1
			for end < len(message) && message[end] != '"' {
				if message[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end+1, len(message))
			put(i, end)
			i = end
		case c >= '0' && c <= '9':
			end := i + 1
			for end < len(message) && (message[end] >= '0' && message[end] <= '9' || message[end] == '.' && end+1 < len(message) && message[end+1] >= '0' && message[end+1] <= '9') {
				end++
			}
			put(i, end)
			i = end
		case c == ';':
			return append(words, message[start:i])
		default:
			i++
		}
	}
	return append(words, clip(message[start:], most))
}

// keyOf is the same for messages of one rule.
func keyOf(words []string) string {
	var b strings.Builder
	for i := 0; i < len(words); i += 2 {
		b.WriteString(words[i])
		b.WriteByte(0)
	}
	return b.String()
}
