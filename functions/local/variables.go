package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"groupimport/pkg/config"
)

// Commands by what they do.
var (
	readingCommands = []string{"import", "validate", "watch", "retry"}
	importCommands  = []string{"import", "watch", "retry"}
	folderCommands  = []string{"watch", "retry", "serve"}
	callingCommands = []string{"import", "validate", "watch", "retry", "serve"}
	loggingCommands = []string{"demo", "import", "watch", "retry", "serve"}
	serveCommands   = []string{"serve"}
)

// readBy says which commands read a variable. Those that are read in the cloud only have none.
var readBy = map[string][]string{
	"TIM_SDKAPPID":             callingCommands,
	"TIM_ADMIN":                callingCommands,
	"TIM_SECRET_KEY":           callingCommands,
	"TIM_SECRET_KEY_PARAMETER": nil,
	"TIM_REGION":               callingCommands,
	"TIM_ENDPOINT":             callingCommands,
	"TIM_RATE":                 append([]string{"demo"}, callingCommands...),
	"FIELD_LIMITS":             callingCommands,
	"ASSIGN_GROUP_IDS":         importCommands,
	"MAX_ATTEMPTS":             append([]string{"demo"}, callingCommands...),
	"RETRY_UNKNOWN":            importCommands,
	"CREATE_UNMATCHED":         importCommands,
	"MAPPING":                  readingCommands,
	"INCLUDE_ARCHIVED":         readingCommands,
	"EXPORT_ENCODING":          readingCommands,
	"EXPORT_BUCKET":            nil,
	"EXPORT_PREFIX":            folderCommands,
	"ONE_AT_A_TIME":            importCommands,
	"HTTP_TOKEN":               serveCommands,
	"HTTP_TOKEN_PARAMETER":     nil,
	"HTTP_AUTH":                serveCommands,
	"STOP_SHARE":               append([]string{"demo"}, importCommands...),
	"LOG_LEVEL":                loggingCommands,
}

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

// variablesOf names the variables that a command reads, in lines of a help text.
func variablesOf(command string) string {
	var names []string
	for _, f := range config.Fields() {
		if slices.Contains(readBy[f.Name], command) {
			names = append(names, f.Name)
		}
	}
	return "Variables, explained by \"help config\":\n" + wrap(strings.Join(names, ", "), 76)
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
