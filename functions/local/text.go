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

// writeLine writes v as a line of JSON. Bytes that are not UTF-8 are replaced. If that fails, nobody reads the output
// any more.
func writeLine(w io.Writer, v any) {
	if data, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true)); err == nil {
		_, _ = w.Write(append(data, '\n'))
	}
}
