// Package scheduler finds the exports that have work and lets an importer do it: it resumes unfinished imports, begins
// exports whose event was missed, and runs due rounds of retries. It also says how imports are doing.
package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"groupimport/pkg/blob"
	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

// A Scheduler works on the exports of one importer's bucket, one after another. Its methods that import anything are not
// safe for concurrent use.
type Scheduler struct {
	Importer *importer.Importer

	rate *lease.Lease // held, see [Scheduler.holdRate]
}

func (s *Scheduler) log() *slog.Logger {
	if s.Importer.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Importer.Log
}

// Import imports the export at key as [importer.Importer.Import] does, while no other process uses the rate.
func (s *Scheduler) Import(ctx context.Context, key string) (importer.Summary, error) {
	release, err := s.holdRate(ctx)
	if err != nil {
		return importer.Summary{}, err
	}
	defer release()
	return s.Importer.Import(ctx, key)
}

// MissedAfter is how old an export without an import must be before the schedule takes it that its event
// was missed. Events usually come within seconds.
const MissedAfter = 5 * time.Minute

// An Action is what one pass of the schedule does.
type Action struct {
	Resume bool          // unfinished imports go on, and exports without one are started
	Retry  bool          // rounds of retries that are due are done
	Now    bool          // the waits before them, and those of stopped imports, are left out
	Missed time.Duration // age of an export without an import from which on it is started; zero means MissedAfter

	// Whole says whether an export that is to be started has been written to its end; nil means that the
	// store shows only whole ones.
	Whole func(key string) bool
}

// A Result is what one pass, or one event, did.
type Result struct {
	Imports int         `json:"imports"` // exports that were looked at
	Done    []JobResult `json:"done"`    // what was worked on, in that order
	Left    int         `json:"left"`    // due, but time was up
	Stopped int         `json:"stopped"` // imports that wait for a person, also those that are not due yet
	Reason  string      `json:"reason,omitzero"`
}

// A JobResult is what a pass did for one import.
type JobResult struct {
	Key    string         `json:"key"`
	What   string         `json:"what"` // start, resume, retry, skip
	State  results.State  `json:"state,omitzero"`
	Reason string         `json:"reason,omitzero"`
	Owner  string         `json:"holder,omitzero"` // of the lease, if that is why nothing was done; Reason names it
	Error  string         `json:"error,omitzero"`
	Counts outcome.Counts `json:"counts"` // of the whole import
}

// The whats of a JobResult.
const (
	doStart  = "start"
	doResume = "resume"
	doRetry  = "retry"

	// Skip says that the export is left out, for the Reason, until it has another name.
	Skip = "skip"
)

// An entry is an export and what the list shows beside it.
type entry struct {
	key      string
	info     blob.Info // of the export, as the list shows it; zero if it is gone
	work     bool      // it has a work folder
	results  bool
	failures bool
	finished bool // the list says so of this version
	retry    bool // with finished: records are left to retry
}

func (f *entry) isGone() bool { return f.info.Key == "" }

// A job is work that a pass is to do.
type job struct {
	entry
	what string
}

// Pass does one pass over all exports below [config.Config.Prefix]: what is due is worked on in order of
// age until ctx ends. It goes by a list, which costs a request for each 1,000 keys, and an import has
// five or six of them: the export, its results, its report, its work folder, which counts as one however much is in it, an
// empty object whose name says that this version is finished, and perhaps a dead-letter file. A finished import costs
// nothing more, unless records of it are left to retry. Others cost a few requests.
//
// Its error is a [*RunError] about the list; what happens to a single import is told in the Result.
func (s *Scheduler) Pass(ctx context.Context, a Action) (Result, error) {
	var pass Result
	var todo []job
	looking := errgroup.Group{}
	looking.SetLimit(maxLooks)
	var mu sync.Mutex
	for f, err := range s.exports(ctx, s.Importer.Config.Prefix) {
		if err != nil {
			_ = looking.Wait() // its functions return no error
			return pass, &RunError{fmt.Errorf("list exports: %w", err)}
		}
		pass.Imports++
		if reason := s.unreadable(f.key); reason != "" {
			if !f.isGone() {
				mu.Lock()
				pass.Done = append(pass.Done, skipped(f.key, reason))
				mu.Unlock()
			}
			continue
		}
		if f.finished && (!a.Retry || !f.retry) {
			continue
		}
		looking.Go(func() error {
			what, stopped, err := s.dueJob(ctx, f, a)
			mu.Lock()
			defer mu.Unlock()
			if stopped {
				pass.Stopped++
			}
			begins := what == doStart || what == doResume
			switch long := s.Importer.Fits(results.Names{Export: f.key}); {
			case err != nil:
				pass.Done = append(pass.Done, JobResult{Key: f.key, What: what, Error: err.Error()})
			case begins && long != nil: // as in every pass, until it is renamed
				pass.Done = append(pass.Done, JobResult{Key: f.key, What: Skip, Reason: long.Error()})
			case what != "":
				todo = append(todo, job{f, what})
			}
			return nil
		})
	}
	_ = looking.Wait() // its functions return no error
	slices.SortFunc(pass.Done, func(a, b JobResult) int { return cmp.Compare(a.Key, b.Key) })
	slices.SortFunc(todo, func(a, b job) int { return cmp.Or(a.info.Modified.Compare(b.info.Modified), cmp.Compare(a.key, b.key)) })
	s.runJobs(ctx, &pass, todo, func(j job) {
		if done, already := s.runJob(ctx, j, a); !already {
			pass.Done = append(pass.Done, done)
			if done.State == results.Stopped {
				pass.Stopped++
			}
		}
	})
	s.log().InfoContext(ctx, "schedule pass", "imports", pass.Imports, "done", len(pass.Done), "left", pass.Left, "stopped", pass.Stopped)
	return pass, nil
}

// runJobs calls do for what is due, one after another, while there is time for more.
func (s *Scheduler) runJobs(ctx context.Context, pass *Result, todo []job, do func(job)) {
	if len(todo) == 0 {
		return
	}
	left := func(n int, reason string) { pass.Left, pass.Reason = len(todo)-n, reason }
	if ctx.Err() != nil {
		left(0, "time is up")
		return
	}
	release, err := s.holdRate(ctx)
	if busy, ok := errors.AsType[*RateBusyError](err); ok {
		left(0, busy.Error())
		return
	} else if err != nil {
		pass.Done = append(pass.Done, JobResult{Key: todo[0].key, What: todo[0].what, Error: err.Error()})
		left(0, err.Error())
		return
	}
	defer release()
	for n, j := range todo {
		deadline, ok := ctx.Deadline()
		switch stop := s.Importer.Client.Stopped(); {
		case stop != nil:
			left(n, stop.Reason)
			return
		case ctx.Err() != nil, n > 0 && ok && time.Until(deadline) < 2*importer.Reserve:
			left(n, "time is up")
			return
		}
		do(j)
	}
}

// runJob works on one import. already says that there was nothing to do after all.
func (s *Scheduler) runJob(ctx context.Context, j job, a Action) (done JobResult, already bool) {
	done = JobResult{Key: j.key, What: j.what}
	var sum importer.Summary
	var err error
	if j.what == doRetry {
		sum, err = s.Importer.RetryRound(ctx, j.key, a.Now)
	} else {
		sum, err = s.Importer.Import(ctx, j.key)
	}
	done.State, done.Reason, done.Counts = sum.State, sum.Reason, sum.Counts
	busy, isBusy := errors.AsType[*lease.BusyError](err)
	switch {
	case isBusy:
		done.State, done.Reason, done.Owner = results.Running, busy.Error(), busy.Owner
	case s.superseded(ctx, j, sum, err):
		done.State, done.Reason = results.Waiting, cmp.Or(sum.Reason, "the export was replaced or removed")
	case err != nil:
		done.Error = err.Error()
	}
	return done, sum.Already && err == nil
}

// skipped returns what is told of an object that is not imported. Not every key is UTF-8, and JSON is.
func skipped(key, reason string) JobResult {
	return JobResult{Key: strings.ToValidUTF8(key, "\uFFFD"), What: Skip, Reason: reason}
}

// unreadable returns why the bucket cannot read an export at key, and what to do, or "" if it can. HandleEvent,
// Pass, List and Status all go by it.
func (s *Scheduler) unreadable(key string) string {
	if err := blob.ValidKey(s.Importer.Bucket, key); err != nil {
		return err.Error() + ": give the object another key"
	}
	return ""
}

// dueJob returns what there is to do about an export, "" if nothing. stopped says that this is because its
// import is stopped, and it is too early to try it again.
func (s *Scheduler) dueJob(ctx context.Context, f entry, a Action) (what string, stopped bool, err error) {
	if a.Resume && !f.isGone() && !f.finished {
		what, stopped, err = s.unfinished(ctx, f, a)
	}
	if what != "" || stopped || err != nil || !a.Retry || !f.failures || !f.results {
		return what, stopped, err
	}
	m, err := s.Importer.Dir(f.key).LoadManifest(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", false, nil // not finished
	case err != nil:
		return doRetry, false, err
	case !m.Due(s.Importer.Policy(), a.Now):
		return "", false, nil
	}
	p, err := s.Importer.Dir(f.key).LoadProgress(ctx)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return doRetry, false, err
	case p.State == results.Stopped && !a.Now && time.Now().Before(p.Again):
		return "", true, nil
	}
	return doRetry, false, nil
}

// unfinished returns whether an export is to be started or resumed, or is stopped, as dueJob does.
func (s *Scheduler) unfinished(ctx context.Context, f entry, a Action) (what string, stopped bool, err error) {
	age := time.Since(f.info.Modified)
	missed := age >= cmp.Or(a.Missed, MissedAfter) || age < -MissedAfter // the time of an export may be anything
	whole := func() bool { return missed && (a.Whole == nil || a.Whole(f.key)) }
	start := func(ok bool) (string, bool, error) {
		if ok && whole() {
			return doStart, false, nil
		}
		return "", false, nil
	}
	if !f.work {
		return start(true) // if there are results, their outcomes are carried over
	}
	if f.results {
		m, err := s.Importer.Dir(f.key).LoadManifest(ctx)
		if err == nil {
			same, err := s.isOf(ctx, &m.Export, f)
			if same && err == nil { // its mark is missing: version 1 left none, and a newer version takes it away
				err = s.Importer.Settle(ctx, s.Importer.Dir(f.key), &m)
			}
			if same || err != nil {
				return "", false, err
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return doResume, false, err
		}
	}
	// There are no results of this version yet.
	p, err := s.Importer.Dir(f.key).LoadProgress(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return doResume, false, nil // its first run died before it said anything
	case err != nil:
		return doResume, false, err
	case p.State == results.Stopped && !a.Now && time.Now().Before(p.Again):
		return "", true, nil
	case p.State != results.Finished:
		return doResume, false, nil
	}
	same, err := s.isOf(ctx, &p.Export, f)
	if err != nil {
		return "", false, err
	}
	return start(!same || f.results) // with results and without a manifest, what is left of the import is taken over
}

// isOf reports whether an export is the version that e names. Times alone do not tell: a store may show when an upload
// began, and results are written again by rounds of retries.
func (s *Scheduler) isOf(ctx context.Context, e *results.Export, f entry) (bool, error) {
	same, sure := e.Is(f.info)
	if sure {
		return same, nil
	}
	info, err := s.Importer.Bucket.Stat(ctx, f.key)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // it was removed since
	}
	return info.Version == e.Version, err
}

// exports yields the exports below prefix and what lies beside each. An export comes before what lies
// beside it, because their names begin with its own; in between there may be others, whose names begin
// with it too.
func (s *Scheduler) exports(ctx context.Context, prefix string) func(yield func(entry, error) bool) {
	return func(yield func(entry, error) bool) {
		var open []*entry // whose neighbours may still come, each one's key a prefix of the next one's
		flush := func(key string) bool {
			for len(open) > 0 && !strings.HasPrefix(key, open[len(open)-1].key) {
				f := open[len(open)-1]
				open = open[:len(open)-1]
				if !yield(*f, nil) {
					return false
				}
			}
			return true
		}
		var folders []string
		for info, err := range s.Importer.Bucket.List(ctx, prefix, "/") {
			if err != nil {
				yield(entry{}, err)
				return
			}
			if !flush(info.Key) {
				return
			}
			// A folder named x.import/ is a user's own unless x is an export, or an older version of one.
			if owner, finished, ok := results.ParseMark(info.Key); ok {
				f := openAt(&open, owner)
				if finished.IsOf(f.info) {
					f.finished, f.retry = true, finished.Retry
				}
				continue
			}
			owner, kind := results.Beside(info.Key)
			if kind != results.NotBeside && (kind != results.BesideWork || export.IsExport(owner) || export.IsExport(results.ArchivedFrom(owner))) {
				f := openAt(&open, owner)
				switch kind {
				case results.BesideWork:
					f.work = true
				case results.BesideResults:
					f.results = true
				case results.BesideFailures:
					f.failures = true
				case results.BesideReport, results.NotBeside:
				}
				continue
			}
			if info.Key == results.RateNames(s.Importer.Config.Prefix).Work() || info.Key == results.AnswersFolder(s.Importer.Config.Prefix) {
				continue // the more, the longer the program is in use
			}
			if strings.HasSuffix(info.Key, "/") {
				folders = append(folders, info.Key)
				continue
			}
			if export.IsExport(info.Key) && !strings.HasPrefix(path.Base(info.Key), ".") {
				open = append(open, &entry{key: info.Key, info: info})
			}
		}
		if !flush("\xff") {
			return
		}
		for _, folder := range folders {
			for f, err := range s.exports(ctx, folder) {
				if !yield(f, err) {
					return
				}
			}
		}
	}
}

// openAt returns the open export with this key. One that is gone is opened now.
func openAt(open *[]*entry, key string) *entry {
	for _, f := range *open {
		if f.key == key {
			return f
		}
	}
	f := &entry{key: key}
	*open = append(*open, f)
	return f
}
