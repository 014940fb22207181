package main

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// retry runs the scheduler once.
func (t *tool) retry(ctx context.Context, c *cli.Command) error {
	if args := c.Args().Slice(); len(args) == 1 && isAddress(args[0]) {
		return t.retryAddress(ctx, c, args[0])
	}
	s, err := t.newWatcher(c)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	defer announceInterrupt(ctx, s.meter)()
	action := scheduler.Action{
		Resume: true, Retry: true, Now: c.Bool(flagNow), Missed: settled, Whole: s.isReady(ctx),
	}
	worked := tally{}
	var pass scheduler.Result
	for {
		if pass, err = s.pass(ctx, action); err != nil {
			return err
		}
		again := worked.add(pass)
		if pass.Left > 0 {
			fmt.Fprintf(s.meter, "%s: %d more are due: %s. %s\n",
				program, pass.Left, trimStop(leftReason(ctx, pass)), s.resumed)
		}
		if again {
			action.Now = false // resumes what a run of 15 minutes left
		}
		again = s.reading.wait() || again // exports that were read can be imported now
		if !again || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() == nil && pass.Left == 0 {
		s.tellIncomplete(ctx, worked)
	}
	if len(worked) == 0 && !s.meter.json {
		fmt.Fprintf(t.stdout, "%s: nothing is due\n", s.dir)
	}
	s.meter.writeHeld(t.stdout, pass, s.dir)
	return exitWith(worked.worst())
}

// writeHeld writes how many imports of a folder or an address wait for an operator, if there are any.
func (m *meter) writeHeld(w io.Writer, pass scheduler.Result, where string) {
	if pass.Held > 0 && !m.json {
		fmt.Fprintf(w, "%s: %d paused or cancelled: see %s status %s\n", where, pass.Held, program, where)
	}
}

// tellIncomplete says which exports were not started because they may still be written, and adds them to what was
// worked on.
func (s *watcher) tellIncomplete(ctx context.Context, worked tally) {
	for c := range scan(ctx, s.dir, s.cfg.Prefix) {
		if _, ok := worked[c.key]; ok || c.begun || c.ignored != "" {
			continue
		}
		s.say(c.key, "not started: it changed less than %v ago, or somebody has it open for writing. %s",
			settled, s.resumed)
		worked[c.key] = exitUnfinished
	}
}

// A tally holds the exit status of each import that was worked on, by key. At [unfinishedKey] it says that the last
// pass left some, or that some are stopped.
type tally map[string]int

// unfinishedKey is the key of no export.
const unfinishedKey = ""

// add adds what a pass did, and reports whether an import is resumed at once.
func (t tally) add(pass scheduler.Result) (again bool) {
	for _, d := range pass.Done {
		t[d.Key] = jobStatus(d)
		again = again || d.State == results.Waiting
	}
	delete(t, unfinishedKey)
	if pass.Left > 0 || pass.Stopped > 0 {
		t[unfinishedKey] = exitUnfinished
	}
	return again
}

func (t tally) worst() int {
	worst := exitOK
	for _, status := range t {
		worst = worse(worst, status)
	}
	return worst
}

// leftReason says why a pass left something.
func leftReason(ctx context.Context, pass scheduler.Result) string {
	if ctx.Err() != nil {
		return context.Cause(ctx).Error()
	}
	return pass.Reason
}

// jobStatus is the exit status of what a pass did about one import.
func jobStatus(d scheduler.JobResult) int {
	switch {
	case d.Error != "":
		return exitError
	case d.What == scheduler.Skip:
		return exitNotImported
	case d.State != results.Finished:
		return exitUnfinished
	case !d.Counts.IsWhole():
		return exitNotImported
	}
	return exitOK
}
