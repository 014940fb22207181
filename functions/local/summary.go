package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"groupimport/pkg/importer"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

// summarize writes the summary of a file's import, for people or as a line of JSON.
func (t *tool) summarize(file string, s importer.Summary, took time.Duration, how manner) {
	switch {
	case how.json:
		writeSummaryLine(t.stdout, file, s, took)
		return
	case how.brief:
		fmt.Fprintf(t.stdout, "%s: %s: %s\n", shown(file), headline(s, took), countsText(s.Counts))
		return
	}
	writeSummary(t.stdout, file, s, took)
}

// summarizeError writes the line of a file whose import has no summary, if summaries are lines of JSON. People see the
// message.
func (t *tool) summarizeError(file, text string, m *meter) {
	if !m.json {
		return
	}
	m.print(func() {
		writeLine(t.stdout, struct {
			File  string `json:"file"`
			Error string `json:"error"`
		}{file, text})
	})
}

// writeSummary writes the summary for people.
func writeSummary(w io.Writer, file string, s importer.Summary, took time.Duration) {
	fmt.Fprintf(w, "%s: %s\n", shown(file), headline(s, took))
	if s.State == results.Finished && s.Counts.Records() == 0 {
		fmt.Fprintln(w, "  the export is empty, there is no record in it")
	}
	writeTable(w, summaryRows(s), writtenBeside(file, s.Manifest))
	writeDropped(w, s.Dropped)
}

// headline says how an import ended.
func headline(s importer.Summary, took time.Duration) string {
	switch {
	case s.Already:
		return "already imported, nothing to do: this version of the export was finished at " +
			s.Manifest.Finished.Local().Format("2006-01-02 15:04:05 MST")
	case s.State == results.Finished:
		return "finished in " + took.Round(100*time.Millisecond).String()
	}
	return "not finished, after " + took.Round(100*time.Millisecond).String()
}

// A row is a number of the summary with what it counts.
type row struct {
	name  string
	count int64
	text  string // empty for a number that needs no explanation
}

// summaryRows returns the rows of the summary: a row for each status, the sum, and what was carried over.
func summaryRows(s importer.Summary) []row {
	var rows []row
	for status, n := range s.Counts.All() {
		if n == 0 && (status == outcome.Skipped || status == outcome.Pending) {
			continue // there is no mapping, and no member record
		}
		text := meaning(status)
		if status.HasGroup() && s.Counts.MemberRecords > 0 {
			if status == outcome.Imported {
				text += ", or the member was added"
			} else {
				text += ", or was a member before"
			}
		}
		if n == 0 {
			text = ""
		}
		if status == outcome.Skipped && s.Counts.MemberRecords > 0 {
			text += ", or because members are left out"
		}
		rows = append(rows, row{string(status), n, text})
	}
	rows = append(rows, row{"records", s.Counts.Records(), ""})
	if n := s.Counts.Created; n > 0 {
		rows = append(rows, row{"AVChatRooms", n, "created by create_group: webhooks fired, CreateTime is not kept"})
	}
	if n := s.Manifest.Ignored; n > 0 {
		rows = append(rows, row{"ignored", n, "entries of other kinds, such as messages: not among the records"})
	}
	rows = append(rows, memberRows(&s.Counts)...)
	c := s.Manifest.Carry
	if c == nil || s.Already {
		return rows
	}
	rows = append(rows, row{"carried", c.Carried, "carried over from an earlier version of the export, not sent"})
	for _, r := range []row{
		{"missing", c.NotFound(), "groups of an earlier version that are not in this one"},
		{"new", c.Created, "records without a GroupId that no earlier version had"},
		{"differs", c.Differs, "carried over, but changed since: existing groups are not updated"},
	} {
		if r.count > 0 {
			rows = append(rows, r)
		}
	}
	return rows
}

// memberRows returns the rows of the summary about members: none if there are no members.
func memberRows(c *outcome.Counts) (rows []row) {
	if m := &c.Members; m.Total() > 0 {
		text := membersText(m)
		if m.Failed > 0 {
			text += " (" + reasonsText(m) + ")"
		}
		rows = append(rows, row{"members", m.Total(), text})
		if m.Demoted > 0 {
			rows = append(rows, row{"demoted", m.Demoted, "Admins of Private groups, which have none: sent as members"})
		}
	}
	if c.MemberRecords > 0 {
		rows = append(rows, row{"member records", c.MemberRecords, "among the records: one member each"})
	}
	return rows
}

// writeTable writes the numbers and the files as a table. Numbers are aligned at their last digit, which tabwriter can
// do for all columns or none.
func writeTable(w io.Writer, rows []row, files []written) {
	digits := 0
	for _, r := range rows {
		digits = max(digits, len(thousands(r.count)))
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		text := ""
		if r.text != "" {
			text = "  " + r.text
		}
		fmt.Fprintf(table, "  %s\t%*s%s\n", r.name, digits, thousands(r.count), text)
	}
	for _, f := range files {
		gone := ""
		if f.gone {
			gone = "  deleted or moved since"
		}
		fmt.Fprintf(table, "  %s\t%s%s\n", f.label(), shown(f.name), gone)
	}
	_ = table.Flush() // whoever reads the output is gone
}

// A written is a file that an import wrote beside its export.
type written struct {
	kind results.Kind
	name string
	gone bool // deleted or moved since
}

// label names the file in the summary.
func (f written) label() string {
	switch f.kind {
	case results.SidecarFailures:
		return "dead-letter"
	case results.SidecarReport:
		return "report"
	case results.SidecarResults, results.SidecarWork, results.NotSidecar:
	}
	return "results"
}

// member names the file in JSON.
func (f written) member() string {
	if f.kind == results.SidecarFailures {
		return "failures"
	}
	return f.label()
}

// writtenBeside returns what an import wrote: the files of the manifest, and the report if there is one.
func writtenBeside(file string, m results.Manifest) []written {
	dir, name := filepath.Split(file)
	var all []written
	add := func(key string, must bool) {
		// The folder may have been opened further up or down when the key was written; the file is here.
		f := written{name: dir + path.Base(key)}
		_, f.kind = results.Sidecar(key)
		var err error
		if !isAddress(file) {
			_, err = os.Lstat(f.name)
		}
		f.gone = errors.Is(err, fs.ErrNotExist)
		if must || !f.gone {
			all = append(all, f)
		}
	}
	for _, f := range m.Files {
		add(f.Key, true)
	}
	add(results.Names{Export: name}.Report(), false)
	return all
}

// writeSummaryLine writes the summary as a line of JSON.
func writeSummaryLine(w io.Writer, file string, s importer.Summary, took time.Duration) {
	line := struct {
		File    string            `json:"file"`
		State   results.State     `json:"state"`
		Reason  string            `json:"reason,omitzero"`
		Already bool              `json:"already,omitzero"` // it was finished before, and nothing was done
		Records int64             `json:"records"`
		Ignored int64             `json:"ignored,omitzero"` // entries of other kinds, see [results.Manifest.Ignored]
		Counts  outcome.Counts    `json:"counts"`
		Seconds float64           `json:"seconds"`
		Files   map[string]string `json:"files"` // results, failures, report
	}{
		file, s.State, s.Reason, s.Already, s.Counts.Records(), s.Manifest.Ignored, s.Counts,
		took.Round(time.Millisecond).Seconds(),
		map[string]string{},
	}
	for _, f := range writtenBeside(file, s.Manifest) {
		if !f.gone {
			line.Files[f.member()] = f.name
		}
	}
	writeLine(w, line)
}

// writeDropped says which fields of get_group_info import_group does not know.
func writeDropped(w io.Writer, fields map[string]int64) {
	if len(fields) == 0 {
		return
	}
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		texts = append(texts, fmt.Sprintf("%s %s", shown(name), thousands(fields[name])))
	}
	fmt.Fprintf(w, "note: fields dropped because import_group has no such field, with the number of records: %s\n",
		strings.Join(texts, ", "))
}
