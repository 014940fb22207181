package main

import (
	"os"
	"strings"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/mapping"
)

// encodingOf returns the canonical name of the encoding that --encoding names, otherwise if it names none.
func encodingOf(c *cli.Command, otherwise string) (string, error) {
	if c.String(flagEncoding) == "" {
		return otherwise, nil
	}
	name, err := export.ParseEncoding(c.String(flagEncoding))
	if err != nil {
		return "", usageError("--%s %v", flagEncoding, err)
	}
	return name, nil
}

// recordsOf returns the place of the records that --records names, otherwise if it names none.
func recordsOf(c *cli.Command, otherwise string) (string, error) {
	text := c.String(flagRecords)
	if text == "" {
		return otherwise, nil
	}
	if _, err := export.ParsePath(text); err != nil {
		return "", usageError("--%s %v", flagRecords, err)
	}
	return text, nil
}

// timeZoneOf returns the time zone that --tz states, otherwise if it states none.
func timeZoneOf(c *cli.Command, otherwise string) (string, error) {
	text := c.String(flagTimeZone)
	if text == "" {
		return otherwise, nil
	}
	if _, err := export.ParseTimeZone(text); err != nil {
		return "", usageError("--%s %v", flagTimeZone, err)
	}
	return text, nil
}

// detects reports whether --map leaves it to the first records of an export which mapping it needs.
func detects(c *cli.Command) bool { return c.String(flagMap) == mapping.Auto }

// usersOf returns the table of users of --users, or else of the file that USERS names; nil if neither is set. strict is
// --users-strict or USERS_STRICT.
func (t *tool) usersOf(c *cli.Command, strict bool) (table *mapping.Users, isStrict bool, err error) {
	name, strict := strings.TrimSpace(t.getenv("USERS")), strict || c.Bool(flagStrict)
	source := "USERS"
	if c.String(flagUsers) != "" {
		name, source = c.String(flagUsers), "--"+flagUsers
	}
	if name == "" {
		if c.Bool(flagStrict) {
			return nil, false, usageError("--%s needs --%s", flagStrict, flagUsers)
		}
		return nil, false, nil
	}
	f, err := openRegular(name)
	if err != nil {
		return nil, false, usageError("%s: %v", source, err)
	}
	defer f.Close()
	if table, err = mapping.ReadUsers(f); err != nil {
		return nil, false, usageError("%s: %s: %v", source, shown(name), err)
	}
	return table, strict, nil
}

// mappingOf returns the text of the mapping that --map names, empty if it names none.
func mappingOf(c *cli.Command, limits group.Limits) (string, error) {
	if c.String(flagMap) == "" {
		return "", nil
	}
	text, err := mapping.Find(c.String(flagMap), os.ReadFile)
	if err == nil {
		_, err = mapping.Compile(text, mapping.Settings{Limits: limits})
	}
	if err != nil {
		return "", usageError("--%s: %v", flagMap, err)
	}
	return text, nil
}
