package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/importer"
	"groupimport/pkg/results"
)

const (
	// A file that is dropped into a folder counts as whole once nobody has it open for writing, where the
	// system tells, and it has not changed for settled.
	settled = 3 * time.Second

	watchEvery = 2 * time.Second
	retryEvery = time.Minute // how often watch looks for rounds of retries that are due
)

// retry does what the schedule does, once.
func (t *tool) retry(ctx context.Context, args []string) error {
	flags := newFlags("retry [-now] [-quiet] DIR")
	now := flags.Bool("now", false, "leave out the waits: of records that failed, and of imports that are stopped")
	quiet := flags.Bool("quiet", false, "no progress, only messages and the summary")
	if done, err := t.parse(flags, args, true); done {
		return err
	}
	s, err := t.schedule(flags.Args(), *quiet)
	if err != nil {
		return err
	}
	defer s.close()
	action := importer.Action{Resume: true, Retry: true, Now: *now, Missed: settled, Whole: s.whole}
	worst, worked := exitOK, false
	for {
		pass, err := s.pass(ctx, action)
		if err != nil {
			return err
		}
		again := false
		for _, d := range pass.Done {
			status := doingStatus(d)
			if rank[status] > rank[worst] {
				worst = status
			}
			worked = true
			again = again || d.State == results.Waiting
		}
		if pass.Left > 0 {
			fmt.Fprintf(s.meter, "local: %d more are due: %s\n", pass.Left, pass.Reason)
			worst = max(worst, exitUnfinished)
		}
		if !again || ctx.Err() != nil {
			break
		}
		worst, action.Now = exitOK, false // what a run of 15 minutes has left goes on
	}
	if !worked && worst == exitOK {
		fmt.Fprintf(t.stdout, "%s: nothing is due\n", s.dir)
	}
	if worst != exitOK {
		return &exit{status: worst}
	}
	return nil
}

// watch takes a folder for the bucket: what is dropped into it is imported, what is unfinished goes on, and
// what failed is tried again, until it is interrupted.
func (t *tool) watch(ctx context.Context, args []string) error {
	flags := newFlags("watch [-quiet] DIR")
	quiet := flags.Bool("quiet", false, "no progress, only messages and summaries")
	if done, err := t.parse(flags, args, true); done {
		return err
	}
	s, err := t.schedule(flags.Args(), *quiet)
	if err != nil {
		return err
	}
	defer s.close()
	fmt.Fprintf(s.meter, "local: watching %s: drop exports into it; Ctrl-C ends in good order\n", s.dir)
	var retried time.Time
	for {
		action := importer.Action{Resume: true, Missed: settled, Whole: s.whole}
		if time.Since(retried) >= retryEvery {
			action.Retry, retried = true, time.Now()
		}
		if _, err := s.pass(ctx, action); err != nil && ctx.Err() == nil {
			fmt.Fprintf(s.meter, "local: %v\n", err) // it may pass: a folder on a network
		}
		timer := time.NewTimer(watchEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// A scheduler does passes of the schedule over a folder.
type scheduler struct {
	*tool
	dir    string
	bucket *dirblob.Bucket
	cfg    importer.Config
	log    *slog.Logger
	meter  *meter
	client *importer.Importer // holds the client; nil before the first pass and after a stop
}

// schedule returns a scheduler over the one folder that is named.
func (t *tool) schedule(args []string, quiet bool) (*scheduler, error) {
	if len(args) != 1 {
		return nil, usageError("name one folder")
	}
	cfg, level, err := t.config()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(args[0])
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s: there is no such folder", args[0])
	}
	bucket, err := dirblob.Open(dir)
	if err != nil {
		return nil, err
	}
	m := newMeter(t.stderr, quiet)
	log := slog.New(slog.NewTextHandler(m, &slog.HandlerOptions{Level: level}))
	return &scheduler{tool: t, dir: args[0], bucket: bucket, cfg: cfg, log: log, meter: m}, nil
}

func (s *scheduler) close() {
	if s.client != nil {
		s.client.Client.Close()
	}
	s.bucket.Close()
}

// pass does one pass and says what it did.
func (s *scheduler) pass(ctx context.Context, a importer.Action) (importer.Pass, error) {
	absolute, err := filepath.Abs(s.dir)
	if err != nil {
		return importer.Pass{}, err
	}
	i := &importer.Importer{
		Config: s.cfg, Bucket: s.bucket, BucketName: absolute, Holder: holder(), Dead: dead, Grace: grace, Log: s.log,
	}
	if s.client == nil || s.client.Client.Stopped() != nil {
		// A client that was stopped stays so; what stopped it may be mended by now.
		if err := i.Dial(nil); err != nil {
			return importer.Pass{}, err
		}
		s.client = i
	}
	i.Client = s.client.Client
	stop := s.meter.watch(i, s.dir)
	pass, err := i.Schedule(ctx, a)
	stop()
	for _, d := range pass.Done {
		s.tell(d)
	}
	return pass, err
}

// tell says what was done about one import.
func (s *scheduler) tell(d importer.Doing) {
	file := filepath.Join(s.dir, filepath.FromSlash(d.Key))
	switch {
	case d.Error != "":
		fmt.Fprintf(s.meter, "local: %s: %s: %s\n", file, d.What, d.Error)
	case d.State == results.Running:
		fmt.Fprintf(s.meter, "local: %s: %s\n", file, d.Reason)
	case d.State == results.Finished:
		fmt.Fprintf(s.stdout, "%s: %s: finished: %s\n", file, d.What, countsText(d.Counts))
	default:
		fmt.Fprintf(s.meter, "local: %s: %s: unfinished: %s; nothing is lost, it goes on later\n", file, d.What, d.Reason)
	}
}

// whole reports whether the file at key has been written to its end, as far as the system tells.
func (s *scheduler) whole(key string) bool {
	return !openForWriting(filepath.Join(s.dir, filepath.FromSlash(key)))
}

// doingStatus is the exit status of what a pass did about one import.
func doingStatus(d importer.Doing) int {
	switch {
	case d.Error != "":
		return exitError
	case d.State != results.Finished:
		return exitUnfinished
	case d.Counts.NotIn() > 0:
		return exitNotIn
	}
	return exitOK
}
