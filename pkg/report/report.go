// Package report makes the page for people: one HTML file that tells what became of an import. It needs no
// network, and its Content-Security-Policy allows it none.
//
// A [Builder] is told of each line of the results and of the failures, mostly while they are written, and
// keeps a bounded amount: counts, a series over time in buckets that grow, latencies in bins, the kinds
// of mistakes with examples, and the first records that are not in.
package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

const (
	// The page lists the first rowsMost records that are not in, or as many as fit into rowsBytes: the
	// whole page stays below 1.5 MB.
	rowsMost  = 5000
	rowsBytes = 1_200_000

	// Foreign text is cut to so many bytes in the page. The failures file has all of it.
	textMost  = 400
	valueMost = 160
)

// A Builder gathers what the page tells of an import that is through. Make one by [New].
type Builder struct {
	explain func(code int) string
	counts  map[outcome.Status]int64
	tries   [7]int64 // records by attempts; the last: that many and more
	series  series
	kinds   kinds
	rows    []row
	size    int   // of rows in the page, in bytes
	missing int64 // records that are not in, told by Failure
	full    bool  // no more rows
}

// New returns a Builder. explain says what a code of the service means and what to do about it, in a few
// words; it may be nil.
func New(explain func(code int) string) *Builder {
	b := &Builder{explain: explain, counts: map[outcome.Status]int64{}}
	if b.explain == nil {
		b.explain = func(int) string { return "" }
	}
	return b
}

// A row is a record that is not in.
type row struct {
	Line    int64
	GroupID string
	Name    string
	Status  outcome.Status
	Kind    int
	Why     string
}

// Result adds a line of the results; they come in any order. It does not keep the line.
func (b *Builder) Result(line []byte) {
	o, _, err := outcome.Parse(line)
	if err != nil {
		return
	}
	o.Status = b.known(o.Status)
	b.counts[o.Status]++
	if o.Attempts > 0 {
		b.series.add(o.At, int64(o.Attempts), o.MS)
	}
	b.tries[max(0, min(o.Attempts, len(b.tries)-1))]++
}

// Failure adds a line of the failures, in their order. It does not keep the line. A line that is no
// outcome, as a person may have left it, is passed over.
func (b *Builder) Failure(line []byte) {
	o, raw, err := outcome.Parse(line)
	if err != nil {
		return
	}
	b.missing++
	o.Status = b.known(o.Status)
	k := b.kinds.add(&o)
	if len(k.examples) < examplesMost {
		e := example{line: o.Line, groupID: shown(o.GroupID, valueMost), text: shown(o.Error, textMost), field: shown(o.Field, 64)}
		if value, ok := member(raw, o.Field); ok {
			e.value = shown(value, valueMost)
		} else {
			e.field, e.value = "", shown(string(raw), valueMost)
		}
		k.examples = append(k.examples, e)
	}
	if b.full {
		return
	}
	r := row{Line: o.Line, GroupID: shown(o.GroupID, valueMost), Status: o.Status, Kind: k.number, Why: shown(o.Error, textMost)}
	if name, ok := member(raw, "Name"); ok {
		if text, err := jsontext.AppendUnquote(nil, name); err == nil {
			name = string(text)
		}
		r.Name = shown(name, valueMost)
	}
	size := r.size()
	if b.full = len(b.rows) >= rowsMost || b.size+size > rowsBytes; b.full {
		return
	}
	b.rows, b.size = append(b.rows, r), b.size+size
}

// known returns the status, or "other" if a results file has more of them than anybody has thought of.
func (b *Builder) known(s outcome.Status) outcome.Status {
	const most = 30
	if _, ok := b.counts[s]; ok || len(s) <= 32 && len(b.counts) < most {
		return s
	}
	return "other"
}

// size is about how many bytes the row takes in the page, at most.
func (r row) size() int {
	const markup = 110
	return markup + escapedLen(r.GroupID) + escapedLen(r.Name) + escapedLen(r.Why)
}

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

func textOf(v jsontext.Value) string {
	if v.Kind() != '"' {
		return ""
	}
	t, _ := jsontext.AppendUnquote(nil, v)
	return string(t)
}

// member returns the JSON of a member of an object.
func member(raw []byte, name string) (value string, ok bool) {
	if name == "" || len(raw) == 0 {
		return "", false
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return "", false
	}
	for dec.PeekKind() == '"' {
		v, err := dec.ReadValue()
		if err != nil {
			return "", false
		}
		this := textOf(v) == name
		if v, err = dec.ReadValue(); err != nil {
			return "", false
		}
		if this {
			return string(v), true
		}
	}
	return "", false
}

// clip cuts foreign text to about most bytes, between characters.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// shown is foreign text as it stands in the page: cut, and with characters that cannot be seen, or that
// change the direction of what follows them, written as their numbers.
func shown(s string, most int) string {
	s = clip(s, most)
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&b, "‹U+%04X›", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// hidden reports whether a character is a control or one that orders directions, or breaks lines. Joiners
// and selectors of variants belong to emoji and scripts, and stay.
func hidden(r rune) bool {
	switch {
	case r < ' ', r >= 0x7F && r <= 0x9F, r == 0xAD, r == 0x61C, r == 0x200B, r == 0x200E, r == 0x200F,
		r >= 0x2028 && r <= 0x202E, r >= 0x2060 && r <= 0x206F, r == 0xFEFF, r == utf8.RuneError,
		r >= 0xE0000 && r <= 0xE007F:
		return true
	}
	return false
}

// Write writes the page of an import that is through, whose files have these names.
func (b *Builder) Write(w io.Writer, names results.Names, m *results.Manifest) error {
	return b.view(names, m).write(w)
}

// WriteProgress writes the page of an import that is not through: how far it is and what it waits for.
// runs may be nil if they are not at hand. With refresh, the page loads itself again that often.
func WriteProgress(w io.Writer, names results.Names, p *results.Progress, runs []results.Run, refresh time.Duration) error {
	return progressView(names, p, runs, refresh).write(w)
}
