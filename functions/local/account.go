package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/check"
	"groupimport/pkg/export"
	"groupimport/pkg/results"
)

const (
	flagHTML = "html"

	tableWidth = 96 // of the table of checks, in characters
	nameWidth  = 26 // of the longest name of a check

	maxSample = 1000 // records of an export that are read for its custom fields
)

func (t *tool) checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check", ArgsUsage: "[DIR|FILE|ADDRESS]",
		Usage: "try out the service and the bucket before the first import",
		Description: `It says in one line each what holds, and what to do about the rest. It
creates no group and no account, makes some 30 look-ups within TIM_RATE, and
removes what it writes into DIR, by default the current folder. Of FILE, an
export, it also lists the custom fields.

What only a function can see, it checks itself: invoke the schedule function
with {"action":"check"}, or send POST /check to the HTTP function.

Exit status: 0 all is ok, 1 a check failed, 4 there are warnings.

` + addressHelp + "\n" + variablesHelp,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: flagJSON, Usage: "write one JSON object a line, one for each check"},
			&cli.StringFlag{Name: flagHTML, Usage: "write the results as a page to `FILE` too"},
		}, readingFlags()...),
		Action: t.checkAccount,
	}
}

// checkAccount runs the checks of package check that need no function.
func (t *tool) checkAccount(ctx context.Context, c *cli.Command) error {
	args, err := arguments(c, 0, 1)
	if err != nil {
		return err
	}
	arg := "."
	if len(args) == 1 {
		arg = args[0]
	}
	cfg, _, err := t.config(c)
	if err != nil {
		return err
	}
	env := check.Env{Place: check.Local, Config: cfg, Where: arg, Owner: leaseOwner(), IsDead: isDead}
	if isFile(arg) {
		if env.Sample, err = t.sample(ctx, c, arg); err != nil {
			return fmt.Errorf("%s: %w", shown(arg), err)
		}
	} else if !isAddress(arg) {
		if err := checkFolder(arg); err != nil {
			return err
		}
	}
	p, err := t.openPlace(arg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer p.close()
	env.Bucket, env.Prefix = p.bucket, p.key[:strings.LastIndex(p.key, "/")+1]
	if p.key == "" && p.folder == "" {
		env.Prefix = cfg.Prefix
	}
	if p.folder != "" {
		defer removeEmpty(filepath.Join(p.folder, filepath.FromSlash(results.CheckFolder(env.Prefix))))
	}
	report, err := check.Run(ctx, env)
	writeChecks(t.stdout, &report, c.Bool(flagJSON))
	if name := c.String(flagHTML); name != "" {
		err = errors.Join(err, writePage(name, &report))
	}
	if err != nil {
		return err
	}
	switch report.State {
	case check.Failed:
		return exitWith(exitError)
	case check.Warning:
		return exitWith(exitNotImported)
	case check.OK:
	}
	return nil
}

// isFile reports whether an argument names a local file or an object that is an export.
func isFile(arg string) bool {
	if isAddress(arg) {
		return export.IsExport(arg)
	}
	info, err := os.Stat(arg)
	return err == nil && !info.IsDir()
}

// sample reads the beginning of an export.
func (t *tool) sample(ctx context.Context, c *cli.Command, file string) (*check.Sample, error) {
	v, err := t.newValidation(c)
	if err != nil {
		return nil, err
	}
	src, _, err := v.source(ctx, file)
	if err != nil {
		return nil, err
	}
	r, err := export.NewReader(src, export.Start, v.limits)
	if err != nil {
		return nil, err
	}
	s := &check.Sample{Name: shown(filepath.Base(file))}
	fields := map[string]bool{}
	for e, err := range r.Records(ctx) {
		if err != nil {
			return nil, err
		}
		if e.Blank || e.Ignored {
			continue
		}
		s.Records++
		if e.Problem == nil && e.Skipped == "" {
			for _, d := range e.Record.AppDefinedData {
				fields[d.Key] = true
			}
		}
		if s.Records == maxSample {
			break
		}
	}
	s.CustomFields = slices.Sorted(maps.Keys(fields))
	return s, nil
}

// removeEmpty removes a folder of the checks with the empty folders in it, and the one above it, unless files are
// there.
func removeEmpty(folder string) {
	var folders []string
	_ = filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, name)
		}
		return err
	})
	slices.Reverse(folders) // what is in a folder comes before it
	for _, name := range append(folders, filepath.Dir(folder)) {
		_ = os.Remove(name) // it fails if something is in it
	}
}

// writePage writes the report as a page into a file.
func writePage(name string, report *check.Report) error {
	var page bytes.Buffer
	if err := report.WritePage(&page); err != nil {
		return err
	}
	return os.WriteFile(name, page.Bytes(), 0o600)
}

// writeChecks writes a table of the results for people, or a line of JSON for each.
func writeChecks(w io.Writer, report *check.Report, asJSON bool) {
	counts := make(map[check.State]int64)
	for _, r := range report.Checks {
		counts[r.State]++
		if asJSON {
			writeLine(w, r)
			continue
		}
		writeColumns(w, string(r.State), r.Name, r.Seen)
		if r.Do != "" {
			writeColumns(w, "", "", "→ "+r.Do)
		}
	}
	if !asJSON && len(report.Checks) > 0 {
		fmt.Fprintf(w, "%d ok, %s, %d failed\n", counts[check.OK], plural(counts[check.Warning], "warning"),
			counts[check.Failed])
	}
}

// writeColumns writes a row of the table of checks. The last column is wrapped at spaces.
func writeColumns(w io.Writer, state, name, text string) {
	const width = tableWidth - 8 - nameWidth - 2 // of the last column
	line, indent := "", ""
	flush := func() {
		fmt.Fprintf(w, "%-8s %-*s %s%s\n", state, nameWidth, name, indent, line)
		state, name, line = "", "", ""
		if strings.HasPrefix(text, "→ ") {
			indent = "  "
		}
	}
	for word := range strings.FieldsSeq(oneLine(text)) {
		if line != "" && utf8.RuneCountInString(indent+line+" "+word) > width {
			flush()
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	flush()
}
