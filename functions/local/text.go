package main

import (
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

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

// shown is a name as messages show it: as it is, or quoted if it would break the line.
func shown(name string) string {
	if strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name) {
		return fmt.Sprintf("%q", name)
	}
	return name
}

func shownAll(names []string) []string {
	all := make([]string, 0, len(names))
	for _, name := range names {
		all = append(all, shown(name))
	}
	return all
}

// shellQuote quotes text for a shell where it needs that.
func shellQuote(text string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@,+"
	if text != "" && strings.Trim(text, plain) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
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
	}
	return ""
}

// countsText lists the counts that are not zero, and always that of imported records.
func countsText(c outcome.Counts) string {
	var parts []string
	for status, n := range c.All() {
		if n > 0 || status == outcome.Imported {
			parts = append(parts, thousands(n)+" "+string(status))
		}
	}
	return strings.Join(parts, ", ")
}

// writeLine writes v as a line of JSON. If that fails, nobody reads the output any more.
func writeLine(w io.Writer, v any) {
	if data, err := json.Marshal(v, json.Deterministic(true)); err == nil {
		_, _ = w.Write(append(data, '\n'))
	}
}
