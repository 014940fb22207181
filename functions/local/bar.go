package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cheggaaa/pb/v3"

	"groupimport/pkg/importer"
	"groupimport/pkg/outcome"
)

const minBarWidth = 60 // columns; in fewer the numbers are more use than a bar

// text describes the progress in one line.
func (v view) text() string {
	parts := []string{percent(v.Progress), countsText(v.Counts)}
	for _, part := range []string{v.pace.rateText(v.budget), v.pace.leftText()} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ", ")
}

// bar describes the progress in at most width columns, with a bar if there is room for one. If there is none, the
// name goes first, then what follows from the rest.
func (v view) bar(width int) string {
	text := v.text()
	if room := width - len("[=========>]  ") - pb.CellCount(text); width >= minBarWidth && room >= 8 {
		// The bar counts bytes, because the number of records is known at the end of the export only.
		return pb.ProgressBarTemplate(`{{string . "name"}} {{bar . "[" "=" ">" " " "]"}} {{string . "text"}}`).New(0).
			SetTotal(v.Export.Size).SetCurrent(v.Work().Done).Set("name", clip(filepath.Base(v.name), room)).
			Set("text", text).SetWidth(width).String()
	}
	done, left := percent(v.Progress), v.pace.leftText()
	short := fmt.Sprintf("%s imported, %s not", thousands(v.Counts.Imported+v.Counts.Exists),
		thousands(v.Counts.Missing()))
	if m := &v.Counts.Members; m.Total() > 0 {
		short += fmt.Sprintf(", %s of %s members", thousands(m.Added+m.Already), thousands(m.Total()))
	}
	for _, parts := range [][]string{
		{text}, {done, short, v.pace.rateText(v.budget), left}, {done, short, left}, {done, short},
	} {
		if t := strings.TrimSpace(strings.Join(parts, " ")); pb.CellCount(t) <= width {
			return t
		}
	}
	return clip(done, width)
}

// totalText describes n imports together in at most width columns. rate is empty if it is not known.
func totalText(n int, counts outcome.Counts, rate string, width int) string {
	text := fmt.Sprintf("total of %d imports: %s", n, countsText(counts))
	if rate != "" {
		text += ", " + rate
	}
	return clip(text, max(0, width))
}

// clip shortens text to width columns by cutting out its middle: names differ at their ends. A Chinese character
// takes two columns.
func clip(text string, width int) string {
	if pb.CellCount(text) <= width {
		return text
	}
	runes := []rune(text)
	for n := len(runes) - 1; n > 0; n-- {
		short := string(runes[:n/2]) + "…" + string(runes[len(runes)-(n-n/2):])
		if pb.CellCount(short) <= width {
			return short
		}
	}
	return ""
}

// percent is how much of the export has outcomes. It is 100 % only at the end.
func percent(p importer.Progress) string {
	if p.Export.Size == 0 {
		return "100%"
	}
	return fmt.Sprintf("%d%%", p.Work().Percent())
}
