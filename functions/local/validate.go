package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/config"
	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/mapping"
	"groupimport/pkg/tim"
)

// validate is the dry run: it reads exports and says what import would reject, and sends nothing. It needs no
// credentials, except for --live, which asks the service which groups exist already.
func (t *tool) validate(ctx context.Context, c *cli.Command) error {
	args, err := arguments(c, 1, anyNumber)
	if err != nil {
		return err
	}
	v, err := t.newValidation(c)
	if err != nil {
		return err
	}
	if slices.Contains(args, standardInput) && (!export.IsExport("."+v.format) ||
		slices.Contains(export.Archives, "."+strings.ToLower(v.format))) {
		return usageError("standard input has no name that tells its format: --%s must be one of %s",
			flagFormat, strings.ReplaceAll(export.FormatsText, ".", ""))
	}
	if c.Bool(flagLive) {
		cfg, _, err := t.config(c)
		if err != nil {
			return err
		}
		if v.client, err = cfg.Clients(nil, nil)(); err != nil {
			return err
		}
		defer v.client.Close()
	}
	// The GroupIds of maxIDs records need more than the limit of an import: collecting garbage took most of the time.
	debug.SetMemoryLimit(idsHeap)
	m := newMeter(t.stderr, manner{quiet: true, json: c.Bool(flagJSON)})
	if args, err = t.expandAddresses(ctx, config.Config{}, args); err != nil {
		return err
	}
	files, err := expand(ctx, m, args)
	if err != nil {
		return err
	}
	worst := exitOK
	for n, file := range files {
		status := v.validateFile(ctx, file, m)
		worst = worse(worst, status)
		if status == exitUnfinished {
			if rest := files[n+1:]; len(rest) > 0 {
				fmt.Fprintf(m, "%s: not started: %s\n", program, strings.Join(shownAll(rest), " "))
			}
			break
		}
	}
	return exitWith(worst)
}

// A validation is what all files are checked with.
type validation struct {
	*tool
	limits   group.Limits
	program  string         // text of the mapping that --map names, empty if none
	mapping  string         // MAPPING
	detects  bool           // --map auto
	archived bool           // INCLUDE_ARCHIVED
	encoding string         // of files that are not UTF-8, empty if none is named
	zone     *time.Location // of dates, nil if none is stated
	records  export.Path    // of JSON files, nil if none is named
	format   string         // of standard input, such as csv.gz
	groups   bool           // only groups: members are left out, with --no-members or MEMBERS=false
	users    *mapping.Users
	strict   bool        // of users: --users-strict
	client   *tim.Client // of --live, nil without
}

// newValidation reads the variables and flags that need no credentials.
func (t *tool) newValidation(c *cli.Command) (*validation, error) {
	cfg, err := config.ReadingFromEnv(t.getenv)
	if err != nil {
		return nil, configError(err)
	}
	v := &validation{
		tool: t, limits: cfg.Limits, format: strings.TrimPrefix(c.String(flagFormat), "."), archived: cfg.IncludeArchived,
		groups: cfg.NoMembers || c.Bool(flagNoMembers), mapping: cfg.Mapping,
	}
	if v.format != "" && !slices.Contains(c.Args().Slice(), standardInput) {
		return nil, usageError("--%s is the format of standard input: the name of a file tells its format", flagFormat)
	}
	if v.encoding, err = encodingOf(c, cfg.Encoding); err != nil {
		return nil, err
	}
	records, err := recordsOf(c, cfg.Records)
	if err != nil {
		return nil, err
	}
	if v.records, err = export.ParsePath(records); err != nil {
		return nil, usageError("--%s %v", flagRecords, err)
	}
	zone, err := timeZoneOf(c, cfg.TimeZone)
	if err != nil {
		return nil, err
	}
	if v.zone, err = export.ParseTimeZone(zone); err != nil {
		return nil, usageError("--%s %v", flagTimeZone, err)
	}
	if v.users, v.strict, err = t.usersOf(c, cfg.UsersStrict); err != nil {
		return nil, err
	}
	if v.detects = detects(c); v.detects {
		return v, nil
	}
	v.program, err = mappingOf(c, v.limits)
	return v, err
}

// validateFile checks one file, writes its verdict, and returns the exit status.
func (v *validation) validateFile(ctx context.Context, file string, m *meter) int {
	start := time.Now()
	c, err := v.check(ctx, file)
	status := exitOK
	switch {
	case err != nil && ctx.Err() != nil:
		err = fmt.Errorf("stopped before its end: %w. Run the same command again", err)
		status = exitUnfinished
	case err != nil:
		status = exitError
	case c.Invalid > 0 || c.Live != nil && c.Live.Others > 0 || c.Members.isLacking():
		status = exitNotImported
	}
	if err != nil {
		c.Error = err.Error()
		fmt.Fprintf(m, "%s: %s: %s\n", program, shown(file), oneLine(err.Error()))
	}
	switch {
	case m.json:
		writeLine(v.stdout, c)
	case err == nil || c.Records > 0:
		writeVerdict(v.stdout, c, time.Since(start))
	}
	return status
}
