package main

import (
	"flag"
	"os"
	"strings"

	"groupimport/pkg/group"
	"groupimport/pkg/mapping"
)

// A mapOption is what -map names: a built-in mapping, or a file with a jq program.
type mapOption struct{ name *string }

func mapFlag(flags *flag.FlagSet) mapOption {
	return mapOption{flags.String("map", "", "for records of another system: "+strings.Join(mapping.Names(), ", ")+", or a file that ends in .jq; default MAPPING")}
}

// text returns the text of the mapping, empty if none is named. Its error is one of usage.
func (m mapOption) text(limits group.Limits) (string, error) {
	if *m.name == "" {
		return "", nil
	}
	text, err := mapping.Find(*m.name, os.ReadFile)
	if err == nil {
		_, err = mapping.Compile(text, mapping.Settings{Limits: limits})
	}
	if err != nil {
		return "", usageError("-map: %v", err)
	}
	return text, nil
}
