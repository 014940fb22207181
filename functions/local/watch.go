package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/backoff"
	"groupimport/pkg/scheduler"
)

const (
	watchEvery = 2 * time.Second
	retryEvery = time.Minute // how often watch looks for rounds of retries that are due
)

// watch runs the scheduler over a folder until it is interrupted: it imports what is dropped into the folder,
// resumes unfinished imports and retries failed records.
func (t *tool) watch(ctx context.Context, c *cli.Command) error {
	s, err := t.newWatcher(c)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	defer announceInterrupt(ctx, s.meter)()
	s.resumed = "It is resumed automatically."
	fmt.Fprintf(s.meter, "%s: watching %s: drop exports into it; Ctrl-C stops gracefully\n", program, shown(s.dir))
	var retried time.Time
	next := func() scheduler.Action {
		action := scheduler.Action{Resume: true, Missed: settled, Whole: s.isReady(ctx)}
		if time.Since(retried) >= retryEvery {
			action.Retry, retried = true, time.Now()
		}
		return action
	}
	for {
		action := next()
		action.Join = next // what is dropped meanwhile is imported at once
		if _, err := s.pass(ctx, action); err != nil && ctx.Err() == nil {
			s.sayOnce("", fmt.Sprintf("%s: %v\n", program, err)) // it may pass: a folder on a network
		}
		if backoff.Sleep(ctx, watchEvery) != nil {
			return nil
		}
	}
}
