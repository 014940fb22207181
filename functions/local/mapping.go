package main

import (
	"flag"
	"os"
	"strings"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/mapping"
)

// A mapOption is what -map names: a built-in mapping, or a file with a jq program.
type mapOption struct{ name *string }

func mapFlag(flags *flag.FlagSet) mapOption {
	return mapOption{flags.String("map", "", "for records of another system: "+strings.Join(mapping.Names(), ", ")+", or a file that ends in .jq; default MAPPING")}
}

// An encodingOption is what -encoding names.
type encodingOption struct{ name *string }

func encodingFlag(flags *flag.FlagSet) encodingOption {
	const help = "of files that are not UTF-8: gbk, gb18030, big5, shift_jis, euc-kr, windows-1252, …; default EXPORT_ENCODING"
	return encodingOption{flags.String("encoding", "", help)}
}

// parse returns the encoding's canonical name, otherwise if none is named. Its error is one of usage.
func (e encodingOption) parse(otherwise string) (string, error) {
	if *e.name == "" {
		return otherwise, nil
	}
	name, err := export.ParseEncoding(*e.name)
	if err != nil {
		return "", usageError("-encoding: it %v", err)
	}
	return name, nil
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
