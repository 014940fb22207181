package main

import (
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/outcome"
)

// thousands formats n with commas.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural formats a number of things.
func plural(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return thousands(n) + " " + thing + "s"
}

// fileURL is a link to a file of this machine.
func fileURL(name string) string {
	if absolute, err := filepath.Abs(name); err == nil {
		name = absolute
	}
	name = filepath.ToSlash(name)
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	return (&url.URL{Scheme: "file", Path: name}).String()
}

// meaning explains a status in the summary.
func meaning(s outcome.Status) string {
	switch s {
	case outcome.Imported:
		return "created"
	case outcome.Exists:
		return "already exists and matches the record"
	case outcome.Rejected:
		return "invalid, or permanently rejected by the service: fix the record"
	case outcome.Failed:
		return "failed after all retries"
	case outcome.Unknown:
		return "no GroupId and the response was lost: check whether the group exists"
	case outcome.Skipped:
		return "left out by the mapping"
	case outcome.Pending:
		return "members that were not sent yet"
	}
	return ""
}

// countsText lists the counts that are not zero, and always that of imported records. Members follow, if there are any.
func countsText(c outcome.Counts) string {
	var parts []string
	for status, n := range c.All() {
		if n > 0 || status == outcome.Imported {
			parts = append(parts, thousands(n)+" "+string(status))
		}
	}
	text := strings.Join(parts, ", ")
	if c.Members.Total() > 0 {
		text += "; members: " + membersText(&c.Members)
	}
	return text
}

// membersText lists the counts of members that are not zero, and always that of added members.
func membersText(m *outcome.Members) string {
	text := thousands(m.Added) + " added"
	if m.Already > 0 {
		text += ", " + thousands(m.Already) + " already"
	}
	if m.Failed > 0 {
		text += ", " + thousands(m.Failed) + " missing"
	}
	if m.Pending > 0 {
		text += ", " + thousands(m.Pending) + " pending"
	}
	return text
}

// reasonsText says why members are missing; empty if none is.
func reasonsText(m *outcome.Members) string {
	var parts []string
	for _, p := range []struct {
		n    int64
		text string
	}{
		{m.NoAccount, "without an account"},
		{m.Invalid, "break a rule"},
		{m.Refused, "refused by the service"},
		{m.Failed - m.NoAccount - m.Invalid - m.Refused, "not added, or failed after all retries"},
	} {
		if p.n > 0 {
			parts = append(parts, thousands(p.n)+" "+p.text)
		}
	}
	return strings.Join(parts, ", ")
}

// writeLine writes v as a line of JSON. Bytes that are not UTF-8 are replaced. If that fails, nobody reads the output
// any more.
func writeLine(w io.Writer, v any) {
	if data, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true)); err == nil {
		_, _ = w.Write(append(data, '\n'))
	}
}
