package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v3"
)

// completionRepairs are replacements in the completion scripts of urfave/cli 3.14, by shell: bash without the package
// bash-completion, as on macOS, printed an error at each Tab; fish did not complete the names of files.
var completionRepairs = map[string]*strings.Replacer{
	"bash": strings.NewReplacer("  else\n    _get_comp_words_by_ref \"$@\"",
		"  elif declare -F _get_comp_words_by_ref >/dev/null 2>&1; then\n    _get_comp_words_by_ref \"$@\""),
	"fish": strings.NewReplacer(" -f -a '(__", " -a '(__"),
}

// setUpCompletion shows the command that prints completion scripts, and repairs these.
func setUpCompletion(c *cli.Command) {
	c.Hidden, c.Usage = false, "print a completion script for a shell"
	c.ArgsUsage, c.Action = "SHELL", unknownSubcommand
	for _, shell := range c.Commands {
		if repairs := completionRepairs[shell.Name]; repairs != nil {
			shell.Action = repaired(shell.Action, repairs)
		}
	}
	handleErrors(c)
}

// repaired returns an action that replaces texts in what another action writes.
func repaired(action cli.ActionFunc, repairs *strings.Replacer) cli.ActionFunc {
	return func(ctx context.Context, c *cli.Command) error {
		var script bytes.Buffer
		out := c.Root().Writer
		c.Root().Writer = &script
		err := action(ctx, c)
		c.Root().Writer = out
		if err != nil {
			return err
		}
		_, err = repairs.WriteString(out, script.String())
		return err
	}
}

// completeTopic writes what "help" may be asked about.
func completeTopic(_ context.Context, c *cli.Command) {
	for _, topic := range c.Root().VisibleCommands() {
		fmt.Fprintf(c.Root().Writer, "%s:%s\n", topic.Name, topic.Usage)
	}
	fmt.Fprintln(c.Root().Writer, "config:the variables")
}
