package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os/user"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/results"
)

// controlCommands returns the commands pause, resume and cancel.
func (t *tool) controlCommands() []*cli.Command {
	command := func(a results.Action, usage, help string) *cli.Command {
		return &cli.Command{
			Name: string(a), ArgsUsage: "FILE|ADDRESS…", Usage: usage, Description: help + "\n\n" + addressHelp,
			Action: func(ctx context.Context, c *cli.Command) error { return t.control(ctx, c, a) },
		}
	}
	return []*cli.Command{
		command(results.Pause, "pause the import of an export",
			`A run in progress stops within 5 s, wherever it runs. Nothing starts the
import until it is resumed.`),
		command(results.Resume, "resume a paused or cancelled import",
			`The next import, watch, retry or scheduler pass continues it.`),
		command(results.Cancel, "end an import with the results so far",
			`A run in progress stops within 5 s, wherever it runs. The results so far are
written and kept. resume, or dropping the export again, continues the import.`),
	}
}

// control pauses, resumes or cancels the imports that the arguments name. It needs no credentials of the service.
func (t *tool) control(ctx context.Context, c *cli.Command, a results.Action) error {
	args, err := arguments(c, 1, anyNumber)
	if err != nil {
		return err
	}
	for _, arg := range args { // all before the first action, so that wrong usage does nothing
		p, err := t.openPlace(arg, slog.New(slog.DiscardHandler))
		if usage, ok := errors.AsType[*exit](err); ok {
			return usage
		}
		if err != nil {
			continue // an error of this argument alone
		}
		p.close()
		if !p.isOne {
			return usageError("%s: it is a folder: name the exports\n\n%s", shown(arg), usageOf(c))
		}
	}
	worst := exitOK
	for _, arg := range args {
		state, err := t.controlOne(ctx, arg, a)
		if err != nil {
			fmt.Fprintf(t.stderr, "%s: %s: %s\n", program, shown(arg), oneLine(err.Error()))
			worst = exitError
			continue
		}
		fmt.Fprintf(t.stdout, "%s: %s\n", shown(arg), controlText(a, state))
	}
	return exitWith(worst)
}

// controlText says what an action did.
func controlText(a results.Action, state results.State) string {
	switch {
	case state == results.Running && a == results.Resume:
		return "running, and no longer asked to stop"
	case state == results.Running:
		return "running; it stops within some seconds"
	case a == results.Cancel && state == results.Waiting:
		return "cancelled; the next run only writes the results so far"
	case a == results.Resume:
		return "resumed; the next run continues it"
	}
	return string(state)
}

func (t *tool) controlOne(ctx context.Context, arg string, a results.Action) (results.State, error) {
	p, err := t.openPlace(arg, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer p.close()
	who := cmp.Or(t.getenv("USER"), t.getenv("LOGNAME"), userName(), unknown) + "@" + hostname()
	state, err := p.scheduler().Control(ctx, p.key, a, who)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("there is no such export")
	}
	return state, err
}

// userName returns the name of the user of this process, empty if the system does not tell.
func userName() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}
