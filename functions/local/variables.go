package main

import (
	"fmt"
	"io"
	"strings"

	"groupimport/pkg/config"
)

// variablesHelp is part of the help on commands that read variables.
const variablesHelp = `Variables of the environment configure it: see "help config".`

// writeVariables lists all variables.
func writeVariables(w io.Writer) {
	fmt.Fprintln(w, "groupimport reads these variables of the environment:")
	for _, f := range config.Fields() {
		fmt.Fprintf(w, "\n%s%s\n", f.Name, defaultText(f))
		fmt.Fprintf(w, "   %s\n", strings.ReplaceAll(wrap(f.Help, 76), "\n", "\n   "))
	}
}

// defaultText says which value a variable has if it is not set.
func defaultText(f config.Field) string {
	switch {
	case f.Required != "" || f.Name == "TIM_SECRET_KEY": // or, on AWS, TIM_SECRET_KEY_PARAMETER
		return " (required)"
	case f.Name == "LOG_LEVEL":
		return " (default warn)" // see [tool.config]
	case f.Default != "":
		return " (default " + f.Default + ")"
	}
	return ""
}

// wrap breaks text at spaces into lines of at most width bytes.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
