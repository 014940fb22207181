package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/backoff"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// statusEvery is how often status --watch reads the status: a list, and two requests for each import.
const statusEvery = 5 * time.Second

func (t *tool) statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", ArgsUsage: "FILE|DIR|ADDRESS…",
		Usage: "list imports: state, counts, rate, time left",
		Description: `A folder stands for all exports in it. With --json each line is an import, as
GET /imports of serve has it.

` + addressHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: flagJSON, Usage: "write one JSON object a line, one for each import"},
			&cli.BoolFlag{Name: "watch", Usage: "read it again every 5 s until Ctrl-C"},
		},
		Action: t.statusOf,
	}
}

// statusOf lists imports. It needs no credentials of the service.
func (t *tool) statusOf(ctx context.Context, c *cli.Command) error {
	args, err := arguments(c, 1, anyNumber)
	if err != nil {
		return err
	}
	var places []place
	for _, arg := range args {
		p, err := t.openPlace(arg, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		defer p.close()
		places = append(places, p)
	}
	screen := newMeter(t.stdout, manner{json: c.Bool(flagJSON)})
	for first := true; ; first = false {
		var out bytes.Buffer
		for n, p := range places {
			imports, err := p.statuses(ctx)
			if err != nil && ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s: %w", shown(args[n]), err)
			}
			writeStatus(cleanWriter{&out}, &p, imports, screen.json)
		}
		switch {
		case first || screen.json:
		case screen.width != nil:
			const home = "\x1b[H\x1b[J" // to the first line, and empties the screen
			fmt.Fprint(screen.raw, home)
		default:
			fmt.Fprintln(screen.raw)
		}
		_, _ = screen.raw.Write(out.Bytes()) // if it fails, nobody reads the output any more
		if !c.Bool("watch") || backoff.Sleep(ctx, statusEvery) != nil {
			return nil
		}
	}
}

// writeStatus writes the status of the imports of a place.
func writeStatus(w io.Writer, p *place, imports []scheduler.Status, asJSON bool) {
	if asJSON {
		for _, im := range imports {
			writeLine(w, im)
		}
		return
	}
	if len(imports) == 0 {
		fmt.Fprintf(w, "%s: there is no export\n", shown(p.name(p.key)))
		return
	}
	const gap = 2
	table := tabwriter.NewWriter(w, 0, 0, gap, ' ', 0)
	for _, im := range imports {
		fmt.Fprintf(table, "%s\t%s\t%d%%\t%s\t%s\n",
			shown(p.name(im.Key)), im.State, int(100*im.Done), countsText(im.Counts), statusNote(&im))
	}
	_ = table.Flush()
}

// statusNote says what else there is to say of an import: its rate and time left, or why it is not running.
func statusNote(im *scheduler.Status) string {
	switch {
	case im.State == results.Running && im.Rate > 0:
		note := fmt.Sprintf("%.0f/s", im.Rate)
		if left := (pace{left: time.Duration(im.Left * float64(time.Second))}).leftText(); left != "" {
			note += ", " + left
		}
		return note
	case im.State == results.Finished && !im.RetryAt.IsZero():
		return "retry at " + im.RetryAt.Local().Format("2006-01-02 15:04:05 MST")
	case im.State == results.Stopped && !im.Again.IsZero():
		return oneLine(trimStop(im.Reason)) + "; " + againText(im.Again)
	}
	return oneLine(im.Reason)
}
