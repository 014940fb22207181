// Package scheduler resumes unfinished imports, starts exports whose event was missed, and runs the rounds of retries
// that are due. It also reports the status of imports.
package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"math"
	"path"
	"runtime/debug"
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

// A Scheduler imports the exports of one importer's bucket, up to [config.Config.ParallelImports] at the same time. It
// may be used concurrently.
type Scheduler struct {
	Importer *importer.Importer

	rate sharedRate
}

func (s *Scheduler) log() *slog.Logger {
	if s.Importer.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Importer.Log
}

// Import imports the export at key, see [importer.Importer.Import]. The error is a [*RateBusyError] if another
// process uses the shared rate.
func (s *Scheduler) Import(ctx context.Context, key string) (importer.Summary, error) {
	held, release, err := s.acquireRate(ctx)
	if err != nil {
		return importer.Summary{}, err
	}
	defer release()
	sum, err := s.Importer.Import(held, key)
	_, isBusy := errors.AsType[*lease.BusyError](err)
	if err != nil && sum.State == "" && !isBusy && ctx.Err() == nil && !errors.Is(err, lease.ErrLost) {
		s.Importer.Fail(key, err.Error())
	}
	return sum, err
}

// MissedAfter is the age from which an export without an import counts as missed by events. Events usually arrive
// within seconds.
const MissedAfter = 5 * time.Minute

// An Action says what one scheduler pass does.
type Action struct {
	Resume bool          // resume unfinished imports, and start missed exports
	Retry  bool          // run the rounds of retries that are due
	Now    bool          // ignore backoff delays
	Missed time.Duration // replaces MissedAfter unless zero

	// Whole reports whether an export has been written to its end and can be worked on now. Nil means that all can. An
	// export that cannot is left for a later pass.
	Whole func(key string) bool

	// Join returns an Action by which the pass looks for further jobs while jobs run. It is for a local folder: in an
	// object store, a list costs money, and events leave markers. Nil does not look.
	Join func() Action

	// OnJob is called when a job starts. The function that it returns is called when the job has ended; already says that
	// there was nothing to do. Calls do not overlap. OnJob may be nil.
	OnJob func(key string) (ended func(done JobResult, already bool))

	isEvent bool // the jobs are those of an event
}

// A Result is the result of one pass or one event.
type Result struct {
	Imports int         `json:"imports"`         // exports found
	Done    []JobResult `json:"done"`            // in order
	Left    int         `json:"left"`            // jobs that are due and were not started
	Stopped int         `json:"stopped"`         // imports that wait for an operator, also if they are not due yet
	Held    int         `json:"held,omitzero"`   // imports that an operator has paused or cancelled
	Reason  string      `json:"reason,omitzero"` // why jobs are left

	// OldestDue is how many seconds ago the job was due that has waited longest, 0 if none is due. A missed export is due
	// from its upload on, an unfinished import from its last progress on, and a round of retries from its time on.
	OldestDue float64 `json:"oldestDueSeconds,omitzero"`
}

// A JobResult is what a pass did for one import.
type JobResult struct {
	Key    string         `json:"key"`
	What   string         `json:"what"` // start, resume, retry, skip
	State  results.State  `json:"state,omitzero"`
	Reason string         `json:"reason,omitzero"`
	Owner  string         `json:"holder,omitzero"` // other owner of the lease, if the job was not started because of it
	Error  string         `json:"error,omitzero"`
	Counts outcome.Counts `json:"counts"` // of the whole import
}

// The values of [JobResult.What].
const (
	doStart  = "start"
	doResume = "resume"
	doRetry  = "retry"

	// Skip means that the export is not imported under its present name, for the Reason.
	Skip = "skip"
)

// An entry is an export and the objects that the list shows beside it.
type entry struct {
	key      string
	info     blob.Info // of the export, from the list; zero if the export was removed
	work     bool      // has a work folder
	results  bool      // has a results file
	failures bool      // has a dead-letter file
	finished bool      // has a mark for this version
	mark     results.Mark
	markKey  string
}

func (f *entry) isGone() bool { return f.info.Key == "" }

// A job is one import that a pass is to work on.
type job struct {
	entry
	due

	markers []string // keys of its markers, see [marker]
	joined  bool     // another process left a marker for it
}

// A due says what is to be done for an import.
type due struct {
	what    string    // empty for nothing
	since   time.Time // when it became due, or a run last worked on it; zero if unknown
	stopped bool      // the import is stopped, and its next attempt is not due yet
	held    bool      // an operator has paused or cancelled the import
	died    int       // see [results.Progress.Died]
	running bool      // a run works on it, according to the progress
}

// maxDied is the number of runs in a row that die before their first outcome after which an import is stopped for
// diedWait. One is enough for it to go after the others.
const (
	maxDied  = 5
	diedWait = time.Hour
)

// Pass runs the jobs that are due for all exports below [config.Config.Prefix], oldest export first, until ctx ends.
//
// The list costs one request for each 1,000 keys, in any number of folders. An import has five or six keys: the export,
// the results, the report, the work folder (one key), the mark of the finished version, and perhaps a dead-letter file.
// A finished import costs no further request until a round of retries is due. Other imports cost a few requests each.
//
// The error is a [*RunError] about the list. The Result has the errors of single imports.
func (s *Scheduler) Pass(ctx context.Context, a Action) (Result, error) {
	var pass Result
	todo, err := s.find(ctx, a, &pass)
	if err != nil {
		return pass, err
	}
	s.runJobs(ctx, &pass, todo, a)
	s.log().InfoContext(ctx, "schedule pass", "resume", a.Resume, "retry", a.Retry,
		"imports", pass.Imports, "done", len(pass.Done), "left", pass.Left, "stopped", pass.Stopped,
		"oldest_due_seconds", pass.OldestDue)
	return pass, nil
}

// find returns the jobs that are due, the oldest first, and adds to pass what else it finds.
func (s *Scheduler) find(ctx context.Context, a Action, pass *Result) (todo []job, err error) {
	group := errgroup.Group{}
	group.SetLimit(maxConcurrent)
	var mu sync.Mutex
	for f, err := range s.exports(ctx, s.Importer.Config.Prefix) {
		if err != nil {
			_ = group.Wait() // its functions return no error
			return nil, &RunError{fmt.Errorf("list exports: %w", err)}
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
		if f.finished && (!a.Retry || !f.mark.Due(s.Importer.Policy(), a.Now)) {
			continue
		}
		group.Go(func() error {
			d, err := s.dueJob(ctx, f, a)
			mu.Lock()
			defer mu.Unlock()
			if d.held {
				pass.Held++
			}
			if d.stopped {
				pass.Stopped++
			}
			starts := d.what == doStart || d.what == doResume
			switch long := s.Importer.Dir(f.key).Fits(); {
			case err != nil:
				pass.Done = append(pass.Done, JobResult{Key: f.key, What: d.what, Error: err.Error()})
				s.Importer.Fail(f.key, err.Error())
			case starts && long != nil: // in every pass until the export is renamed
				pass.Done = append(pass.Done, JobResult{Key: f.key, What: Skip, Reason: long.Error()})
			case d.what != "":
				todo = append(todo, job{entry: f, due: d})
				if !d.since.IsZero() {
					pass.OldestDue = max(pass.OldestDue, math.Round(time.Since(d.since).Seconds()))
				}
			}
			return nil
		})
	}
	_ = group.Wait() // its functions return no error
	slices.SortFunc(pass.Done, func(a, b JobResult) int { return cmp.Compare(a.Key, b.Key) })
	slices.SortFunc(todo, func(a, b job) int {
		return cmp.Or(
			cmp.Compare(min(a.died, 1), min(b.died, 1)), a.info.Modified.Compare(b.info.Modified), cmp.Compare(a.key, b.key))
	})
	return todo, nil
}

// runJob runs one job. already is true if there was nothing left to do.
func (s *Scheduler) runJob(ctx context.Context, j job, a Action) (done JobResult, already bool) {
	done = JobResult{Key: j.key, What: j.what}
	s.log().InfoContext(ctx, "job starts", "key", j.key, "what", j.what)
	sum, err := s.importOrRetry(ctx, j, a)
	done.State, done.Reason, done.Counts = sum.State, sum.Reason, sum.Counts
	busy, isBusy := errors.AsType[*lease.BusyError](err)
	switch {
	case isBusy:
		done.State, done.Reason, done.Owner = results.Running, busy.Error(), busy.Owner
	case s.superseded(ctx, j, sum, err):
		done.State, done.Reason = results.Waiting, cmp.Or(sum.Reason, "the export was replaced or removed")
	case errors.Is(err, lease.ErrLost):
		done.State, done.Reason = results.Waiting, err.Error()
	case err != nil:
		done.Error = err.Error()
	}
	return done, sum.Already && err == nil
}

// importOrRetry runs a job. A panic becomes its error, so that the other jobs of the pass run.
func (s *Scheduler) importOrRetry(ctx context.Context, j job, a Action) (sum importer.Summary, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log().ErrorContext(ctx, "panic", "key", j.key, "panic", p, "stack", string(debug.Stack()))
			sum, err = importer.Summary{}, fmt.Errorf("a fault of the program, please report it with the log: panic: %v", p)
		}
	}()
	if j.what == doRetry {
		return s.Importer.RetryRound(ctx, j.key, a.Now)
	}
	return s.Importer.Import(ctx, j.key)
}

// skipped returns the result of an object that is not imported. It replaces bytes of the key that are not UTF-8: JSON
// cannot hold them.
func skipped(key, reason string) JobResult {
	return JobResult{Key: strings.ToValidUTF8(key, "\uFFFD"), What: Skip, Reason: reason}
}

// unreadable returns why the bucket cannot read an export at key, and what to do. It returns "" if the bucket can.
func (s *Scheduler) unreadable(key string) string {
	if err := blob.ValidKey(s.Importer.Bucket, key); err != nil {
		return err.Error() + ": give the object another key"
	}
	return ""
}

// dueJob returns the job that is due for an export and can be done now.
func (s *Scheduler) dueJob(ctx context.Context, f entry, a Action) (due, error) {
	d, err := s.due(ctx, f, a)
	if d.what != "" && err == nil && !a.isWhole(f) {
		return due{stopped: d.stopped}, nil
	}
	return d, err
}

// isWhole reports whether an export can be worked on now.
func (a *Action) isWhole(f entry) bool { return a.Whole == nil || f.isGone() || a.Whole(f.key) }

// due is dueJob, also for exports that cannot be worked on now.
func (s *Scheduler) due(ctx context.Context, f entry, a Action) (due, error) {
	if a.Resume && !f.isGone() && !f.finished {
		d, err := s.unfinished(ctx, f, a)
		if d.what != "" || d.stopped || d.held || err != nil {
			return d, err
		}
	}
	if !a.Retry || !f.failures || !f.results {
		return due{}, nil
	}
	m, err := s.Importer.Dir(f.key).LoadManifest(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return due{}, nil // not finished
	case err != nil:
		return due{what: doRetry}, err
	case !m.Due(s.Importer.Policy(), a.Now):
		if f.finished && !a.Now { // an earlier form, or a run died before it replaced the mark
			err = m.ReplaceMark(ctx, s.Importer.Dir(f.key), f.markKey)
		}
		return due{}, err
	}
	p, err := s.Importer.Dir(f.key).LoadProgress(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return due{what: doRetry}, err
	}
	return s.next(ctx, f, &p, due{what: doRetry, since: latest(m.RetryAt, m.Finished, p.Again, p.Updated)}, a)
}

// next returns d, or that the import is stopped, or nothing if it is paused or cancelled. It stops an import whose runs
// die again and again.
func (s *Scheduler) next(ctx context.Context, f entry, p *results.Progress, d due, a Action) (due, error) {
	isBetween := p.State == results.Finished && d.what == doRetry // a finished import keeps its state
	if p.State == results.Paused || p.State == results.Cancelled || isBetween {
		// The control object decides: it may have been removed while the run wrote the state.
		c, err := s.Importer.Dir(f.key).LoadControl(ctx, f.info)
		if c != nil || err != nil {
			return due{held: c != nil}, err
		}
	}
	d.died = p.Died
	hasEnded := p.State == results.Running && time.Now().After(p.Until)
	d.running = p.State == results.Running && !hasEnded
	if hasEnded && p.Died >= maxDied && !a.Now {
		p.State, p.Cause, p.Again = results.Stopped, results.CauseDiedOften, time.Now().Add(diedWait).UTC()
		p.Reason = fmt.Sprintf("%d runs in a row died before their first outcome: the log says why, perhaps there was "+
			"not enough memory. The next run is in an hour. To give up, remove the export", p.Died)
		if err := p.Save(ctx, s.Importer.Dir(f.key)); err != nil {
			return due{}, err
		}
		if p.Died == maxDied { // later runs stop it again
			s.Importer.Fail(f.key, p.Reason)
		}
	}
	if p.State == results.Stopped && !a.Now && time.Now().Before(p.Again) {
		return due{stopped: true}, nil
	}
	return d, nil
}

// unfinished returns whether to start or to resume an import.
func (s *Scheduler) unfinished(ctx context.Context, f entry, a Action) (due, error) {
	age := time.Since(f.info.Modified)
	missed := age >= cmp.Or(a.Missed, MissedAfter) || age < -MissedAfter // the clock of the store may be wrong
	resume := due{what: doResume, since: f.info.Modified}
	start := func(ok bool) (due, error) {
		if ok && missed {
			return due{what: doStart, since: f.info.Modified}, nil
		}
		return due{}, nil
	}
	if !f.work {
		return start(true) // an import carries over the outcomes of existing results
	}
	if f.results {
		m, err := s.Importer.Dir(f.key).LoadManifest(ctx)
		if err == nil {
			same, err := s.isOf(ctx, &m.Export, f, a)
			if same && err == nil { // the mark is missing: version 1 wrote none, and a newer version removes it
				err = s.Importer.MarkFinished(ctx, s.Importer.Dir(f.key), &m)
			}
			if same || err != nil {
				return due{}, err
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return resume, err
		}
	}
	// There are no results of this version yet.
	p, err := s.Importer.Dir(f.key).LoadProgress(ctx)
	resume.since = latest(f.info.Modified, p.Again, p.Updated)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		resume.died = 1 // the first run died before it wrote any progress
		return resume, nil
	case err != nil:
		return resume, err
	case p.State != results.Finished:
		return s.next(ctx, f, &p, resume, a)
	}
	same, err := s.isOf(ctx, &p.Export, f, a)
	if err != nil {
		return due{}, err
	}
	return start(!same || f.results) // results without a manifest: a new import carries over their outcomes
}

// latest returns the latest of times.
func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// isOf reports whether an export is the version that e names. It asks the store if the list is not conclusive, see
// [results.Export.Is], unless the export cannot be worked on now: a later pass checks it.
func (s *Scheduler) isOf(ctx context.Context, e *results.Export, f entry, a Action) (bool, error) {
	same, sure := e.Is(f.info)
	if sure || !a.isWhole(f) {
		return same, nil
	}
	info, err := s.Importer.Bucket.Stat(ctx, f.key)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // the export was removed meanwhile
	}
	return info.Version == e.Version, err
}

// exports yields the exports below prefix, each with the objects beside it. The list has an export before the objects
// beside it, because their names begin with its name. Other exports whose names begin with it may be listed in
// between.
func (s *Scheduler) exports(ctx context.Context, prefix string) func(yield func(entry, error) bool) {
	root := s.Importer.Config.Prefix
	return func(yield func(entry, error) bool) {
		var open []*entry // further objects beside these may follow; each key is a prefix of the next key
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
		for info, err := range s.list(ctx, prefix) {
			if err != nil {
				yield(entry{}, err)
				return
			}
			if !flush(info.Key) {
				return
			}
			// A folder named x.import/ is a work folder only if x is an export or an archived version.
			if of, mark, ok := results.ParseMark(info.Key); ok {
				f := openAt(&open, of)
				if mark.IsOf(f.info) {
					f.finished, f.mark, f.markKey = true, mark, info.Key
				}
				continue
			}
			of, kind := results.Sidecar(info.Key)
			if kind != results.NotSidecar &&
				(kind != results.SidecarWork || export.IsExport(of) || export.IsExport(results.ArchivedFrom(of))) {
				f := openAt(&open, of)
				switch kind {
				case results.SidecarWork:
					f.work = true
				case results.SidecarResults:
					f.results = true
				case results.SidecarFailures:
					f.failures = true
				case results.SidecarReport, results.NotSidecar:
				}
				continue
			}
			if info.Key == results.RateNames(root).Work() {
				continue // holds no exports
			}
			if strings.HasSuffix(info.Key, results.WorkSuffix) { // a folder of the user
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

// list yields the objects below prefix in all folders, and work folders as one entry each. It leaves out the saved
// responses, which grow.
func (s *Scheduler) list(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	responses := results.ResponsesFolder(s.Importer.Config.Prefix)
	return func(yield func(blob.Info, error) bool) {
		for after := ""; ; {
			var skip string
			for info, err := range blob.ListAfter(ctx, s.Importer.Bucket, prefix, results.WorkSuffix, after) {
				if err == nil && strings.HasPrefix(info.Key, responses) {
					skip = strings.TrimSuffix(responses, "/") + "0" // the key after all that begin with the folder
					break
				}
				if !yield(info, err) {
					return
				}
			}
			if after = skip; after == "" {
				return
			}
		}
	}
}

// openAt returns the open entry with this key. It opens an entry for an export that was removed.
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
