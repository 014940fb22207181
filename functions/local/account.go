package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/check"
)

func (t *tool) checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check", ArgsUsage: "[DIR|ADDRESS]",
		Usage: "try out the service and the bucket before the first import",
		Description: `It says in one line each what holds, and what to do about the rest. It
creates no group and no account, makes some 25 look-ups within TIM_RATE, and
removes what it writes into DIR, by default the current folder.

Exit status: 0 all is ok, 1 a check failed, 4 there are warnings.

` + addressHelp + "\n" + variablesHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: flagJSON, Usage: "write one JSON object a line, one for each check"},
			insecureFlag(),
		},
		Action: t.checkAccount,
	}
}

// checkAccount runs all checks of package check.
func (t *tool) checkAccount(ctx context.Context, c *cli.Command) error {
	args, err := arguments(c, 0, 1)
	if err != nil {
		return err
	}
	arg := "."
	if len(args) == 1 {
		arg = args[0]
	}
	if !isAddress(arg) {
		if err := checkFolder(arg); err != nil {
			return err
		}
	}
	cfg, _, err := t.config(c)
	if err != nil {
		return err
	}
	p, err := t.openPlace(arg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer p.close()
	env := check.Env{Config: cfg, Bucket: p.bucket, Prefix: p.key[:strings.LastIndex(p.key, "/")+1]}
	if p.key == "" && p.folder == "" {
		env.Prefix = cfg.Prefix
	}
	if p.folder != "" {
		defer removeEmpty(filepath.Join(p.folder, filepath.FromSlash(check.Folder(env.Prefix))))
	}
	found, err := check.Run(ctx, env)
	writeChecks(t.stdout, found, c.Bool(flagJSON))
	if err != nil {
		return err
	}
	switch check.Worst(found) {
	case check.Failed:
		return exitWith(exitError)
	case check.Warning:
		return exitWith(exitNotImported)
	case check.OK:
	}
	return nil
}

// removeEmpty removes a folder of the checks and the one above it, unless something is in them.
func removeEmpty(folder string) {
	for _, name := range []string{folder, filepath.Dir(folder)} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
}

// writeChecks writes a line for each result, and one for what to do.
func writeChecks(w io.Writer, found []check.Result, asJSON bool) {
	for _, r := range found {
		if asJSON {
			writeLine(w, r)
			continue
		}
		fmt.Fprintf(w, "%-8s %-27s %s\n", r.State, r.Name, oneLine(r.Seen))
		if r.Do != "" {
			fmt.Fprintf(w, "%-8s %-27s   to do: %s\n", "", "", r.Do)
		}
	}
}
