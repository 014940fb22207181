package scheduler

import (
	"context"
	"errors"
	"slices"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/importer"
	"groupimport/pkg/lease"
	"groupimport/pkg/results"
)

const (
	// smallExport is the size in bytes up to which an export counts as small. Beside the slots of PARALLEL_IMPORTS there
	// is one for a small export, so that it does not wait until a large one is done. 64 KiB are some 300 records, which
	// take less than 15 s at an eighth of 190 a second.
	smallExport = 64 << 10

	// againAfter is how long a rescan ignores the same version of an export after the end of its job.
	againAfter = time.Minute
)

// A crew works on up to [config.Config.ParallelImports] jobs at the same time. Only the goroutine that calls work uses
// it.
type crew struct {
	*Scheduler
	Action

	pass    *Result
	queue   []job // oldest first
	running map[string]bool
	started int
	ended   chan endedJob
	known   map[string]bool // keys of the markers of the jobs
	seen    map[string]seen // exports of the jobs
}

// A seen is the version of an export that had a job, as the list showed it.
type seen struct {
	info  blob.Info
	ended time.Time // zero before
}

// An endedJob is a job that has ended. already is true if there was nothing left to do.
type endedJob struct {
	job

	result  JobResult
	already bool
	onEnd   func(JobResult, bool) // or nil
}

// runJobs runs the jobs of a pass or of an event, and jobs that arrive meanwhile, while it has the shared rate. It
// writes markers for the jobs of an event that it does not start.
func (s *Scheduler) runJobs(ctx context.Context, pass *Result, todo []job, a Action) {
	c := &crew{
		Scheduler: s, Action: a, pass: pass, running: map[string]bool{}, ended: make(chan endedJob),
		known: map[string]bool{}, seen: map[string]seen{},
	}
	c.add(todo)
	if a.Resume {
		c.addWaiting(ctx)
	}
	if len(c.queue) == 0 {
		return
	}
	pass.Reason = c.workWithRate(ctx)
	c.queue = slices.DeleteFunc(c.queue, func(j job) bool { return j.joined }) // their markers remain
	if pass.Left = len(c.queue); pass.Left == 0 {
		pass.Reason = ""
	} else if a.isEvent {
		c.leaveMarkers(ctx)
	}
}

// leaveMarkers writes markers for the jobs in the queue that have none.
func (c *crew) leaveMarkers(ctx context.Context) {
	c.leave(ctx, c.queue, c.Action)
	for _, j := range c.queue {
		for _, key := range j.markers {
			c.known[key] = true
		}
	}
}

// workWithRate works while it has the shared rate. It returns why jobs are left.
func (c *crew) workWithRate(ctx context.Context) (reason string) {
	if ctx.Err() != nil {
		return "time is up"
	}
	for hasLeft := false; ; {
		held, release, err := c.acquireRate(ctx)
		busy, isBusy := errors.AsType[*RateBusyError](err)
		switch {
		case isBusy && hasLeft:
			return busy.Error()
		case isBusy:
			c.leaveMarkers(ctx)
			hasLeft = true
			continue
		case err != nil:
			first := c.queue[0]
			c.finish(endedJob{job: first, result: JobResult{Key: first.key, What: first.what, Error: err.Error()}})
			return err.Error()
		}
		reason = c.work(held)
		release()
		if reason != "" || !c.Importer.Config.OneAtATime {
			return reason
		}
		if c.addWaiting(ctx); len(c.queue) == 0 || c.stopped(ctx) != "" {
			return c.stopped(ctx)
		}
	}
}

// work runs the jobs in the queue and jobs that arrive meanwhile, until the queue is empty or no further job may start.
// It returns why jobs are left in the queue.
func (c *crew) work(ctx context.Context) (reason string) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		for reason = c.stopped(ctx); reason == "" && c.startNext(ctx); {
			reason = c.stopped(ctx)
		}
		if len(c.running) == 0 {
			return reason
		}
		select {
		case e := <-c.ended:
			c.finish(e)
		case <-look.C:
			if c.stopped(ctx) == "" {
				c.look(ctx)
			}
		}
	}
}

// stopped returns why no further job may start, or "".
func (c *crew) stopped(ctx context.Context) string {
	deadline, ok := ctx.Deadline()
	switch fatal := c.Importer.Client.Fatal(); {
	case fatal != nil:
		return fatal.Reason
	case errors.Is(context.Cause(ctx), lease.ErrLost):
		return "the lease of the shared rate could not be renewed"
	case ctx.Err() != nil, c.started > 0 && ok && time.Until(deadline) < 2*importer.Reserve:
		return "time is up"
	}
	return ""
}

// startNext starts the next job if a slot is free. It reports whether it started a job.
func (c *crew) startNext(ctx context.Context) bool {
	slots := max(c.Importer.Config.ParallelImports, 1)
	next := slices.IndexFunc(c.queue, func(j job) bool {
		hasSlot := len(c.running) < slots || len(c.running) == slots && slots > 1 && j.isSmall()
		return hasSlot && !c.running[j.key]
	})
	if next < 0 {
		return false
	}
	j := c.queue[next]
	c.queue = slices.Delete(c.queue, next, next+1)
	c.running[j.key] = true
	c.started++
	var onEnd func(JobResult, bool)
	if c.OnJob != nil {
		onEnd = c.OnJob(j.key)
	}
	go func() {
		result, already := c.runJob(ctx, j, c.Action)
		c.ended <- endedJob{j, result, already, onEnd}
	}()
	return true
}

// isSmall reports whether the export is known to be small.
func (j *job) isSmall() bool { return j.info.Key != "" && j.info.Size <= smallExport }

// finish reports a job that has ended, and removes its markers.
func (c *crew) finish(e endedJob) {
	delete(c.running, e.key)
	if s, ok := c.seen[e.key]; ok {
		s.ended = time.Now()
		c.seen[e.key] = s
	}
	c.removeMarkers(c.known, e.markers)
	if e.result.Error != "" && e.result.State == "" { // otherwise the run has reported the error
		c.Importer.Fail(e.key, e.result.Error)
	}
	if e.onEnd != nil {
		e.onEnd(e.result, e.already)
	}
	if e.already {
		if !c.isEvent || e.joined {
			return // another process was faster
		}
		e.result.Reason = "already imported"
	}
	c.pass.Done = append(c.pass.Done, e.result)
	if e.result.State == results.Stopped && !c.isEvent {
		c.pass.Stopped++
	}
}

// add adds jobs to the queue. A job that is in the queue already gets the markers of the new job.
func (c *crew) add(jobs []job) {
	for _, j := range jobs {
		n := slices.IndexFunc(c.queue, func(q job) bool { return q.key == j.key && q.what == j.what })
		if n >= 0 {
			c.queue[n].markers = append(c.queue[n].markers, j.markers...)
			continue
		}
		c.queue = append(c.queue, j)
		if j.info.Key != "" {
			c.seen[j.key] = seen{info: j.info}
		}
	}
}

// look adds the jobs that have arrived since the last call.
func (c *crew) look(ctx context.Context) {
	if c.Importer.Config.OneAtATime {
		c.addWaiting(ctx)
	}
	if c.Join == nil {
		return
	}
	var pass Result
	found, err := c.find(ctx, c.Join(), &pass)
	if err != nil {
		c.log().WarnContext(ctx, "cannot list the folder", "err", err)
		return
	}
	if c.OnJob != nil {
		for _, d := range pass.Done {
			c.OnJob(d.Key)(d, false)
		}
	}
	c.add(slices.DeleteFunc(found, func(j job) bool {
		s, ok := c.seen[j.key]
		isSame := s.info.Size == j.info.Size && s.info.Modified.Equal(j.info.Modified)
		return c.running[j.key] || ok && isSame && (s.ended.IsZero() || time.Since(s.ended) < againAfter)
	}))
}

// addWaiting adds the jobs of new markers.
func (c *crew) addWaiting(ctx context.Context) {
	jobs, err := c.waiting(ctx, c.known)
	if err != nil {
		c.log().WarnContext(ctx, "cannot list the markers of waiting exports", "err", err)
	}
	c.add(jobs)
}
