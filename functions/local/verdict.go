package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"groupimport/pkg/group"
)

// writeVerdict writes the verdict about a file for people.
func writeVerdict(w io.Writer, c *verdict, took time.Duration) {
	left := ""
	if c.Skipped > 0 {
		left += fmt.Sprintf(", %s left out by the mapping", thousands(c.Skipped))
	}
	if c.Ignored > 0 {
		left += fmt.Sprintf(", %s not about groups", thousands(c.Ignored))
	}
	fmt.Fprintf(w, "%s: dry run: %s, %s valid, %s invalid%s (%.1f MB in %s)\n",
		shown(c.File), plural(c.Records, "record"), thousands(c.Valid), thousands(c.Invalid), left,
		float64(c.size)/1e6, took.Round(time.Millisecond))
	writeFindings(w, "", c.Rules)
	c.Live.write(w)
	c.Members.write(w)
	if c.Records == 0 && c.Error == "" {
		fmt.Fprintln(w, "note: the export is empty, there is no record in it")
	}
	for _, note := range c.Notes {
		fmt.Fprintf(w, "note: %s\n", oneLine(note))
	}
	writeDropped(w, c.Dropped)
	c.Duplicates.write(w)
	writeFindings(w, "warnings, the records are sent all the same:\n", c.Warnings)
	if c.WithoutGroupID > 0 {
		fmt.Fprintf(w, "note: %s without a GroupId: the service chooses one, and after a lost response nobody knows it. "+
			"ASSIGN_GROUP_IDS=true avoids that\n", plural(c.WithoutGroupID, "record"))
	}
	if c.WithoutCreateTime > 0 {
		fmt.Fprintf(w, "warning: %s of %s without a CreateTime: groups are created as of the import, "+
			"and members and messages from before can never be imported with their dates\n",
			thousands(c.WithoutCreateTime), plural(c.Valid, "valid record"))
	}
}

// writeFindings writes findings as a table, after a title. It writes nothing if there are none.
func writeFindings(w io.Writer, title string, list []*finding) {
	if len(list) == 0 {
		return
	}
	fmt.Fprint(w, title)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "  count\tfield\trule\tfirst examples\n")
	for _, f := range list {
		head := fmt.Sprintf("  %s\t%s\t%s", thousands(f.Count), shown(f.Field), f.Rule)
		for _, e := range f.Examples {
			fmt.Fprintf(table, "%s\t%s\n", head, oneLine(e.text(f.Rule)))
			head = "  \t\t"
		}
	}
	_ = table.Flush() // whoever reads the output is gone
}

// text describes an example in one line.
func (e *example) text(rule group.Rule) string {
	what, places := "line", e.Lines
	if e.Records[len(e.Records)-1] > e.Lines[len(e.Lines)-1] { // several share a line
		what, places = "record", e.Records
	}
	if len(places) > 1 {
		what += "s"
	}
	text := what + " " + strings.Trim(strings.ReplaceAll(fmt.Sprint(places), " ", ", "), "[]")
	if e.more {
		text += ", …"
	}
	text += ": " + e.Message
	if rule == group.RuleLength && e.Value != "" { // the other messages show the value
		text += ": " + e.Value
	}
	return text
}

func (l *lookups) write(w io.Writer) {
	if l == nil {
		return
	}
	fmt.Fprintf(w, "  live: %s looked up: %s free, %s exist and match the record, %s belong to another group\n",
		plural(l.Asked, "GroupId"), thousands(l.Free), thousands(l.Same), thousands(l.Others))
	for _, o := range l.First {
		fmt.Fprintf(w, "    line %d: another group has GroupId %q: %s\n", o.Line, o.GroupID, oneLine(o.Differs))
	}
}

func (d *duplicates) write(w io.Writer) {
	if d == nil {
		return
	}
	fmt.Fprintf(w, "warning: %s with the GroupId of an earlier record: import creates the first group only\n",
		plural(d.Count, "record"))
	for _, x := range d.First {
		fmt.Fprintf(w, "  line %d has the GroupId of line %d: %q\n", x.Line, x.Earlier, x.GroupID)
	}
}
