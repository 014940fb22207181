package scheduler

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/results"
)

// HandleEvent imports the exports that an event names, one after another, until ctx ends. The escaping of a key in an
// event may be ambiguous: each element of names lists the possible keys, most likely first. HandleEvent imports the
// first key at which an object exists.
//
// HandleEvent skips an object that is not an export, or is not below [config.Config.Prefix]. The Result gives the
// reason. An export that remains when time is up, or while another process uses the rate, is marked as waiting: the
// next scheduler pass starts it.
func (s *Scheduler) HandleEvent(ctx context.Context, names ...[]string) Result {
	pass := Result{Imports: len(names)}
	var todo []job
	for _, keys := range names {
		key, reason, err := s.resolve(ctx, keys)
		switch {
		case err != nil:
			pass.Done = append(pass.Done, JobResult{Key: key, What: doStart, Error: err.Error()})
		case reason != "":
			pass.Done = append(pass.Done, skipped(key, reason))
		default:
			todo = append(todo, job{entry: entry{key: key}, what: doStart})
		}
	}
	s.runJobs(ctx, &pass, todo, func(j job) {
		done, already := s.runJob(ctx, j, Action{})
		if already {
			done.Reason = "already imported"
		}
		pass.Done = append(pass.Done, done)
	})
	for _, j := range todo[len(todo)-pass.Left:] {
		s.markWaiting(ctx, j.key, pass.Reason)
	}
	return pass
}

const markTimeout = 5 * time.Second // to write the progress of a waiting export

// markWaiting marks an export as waiting, so that the next scheduler pass starts it without waiting for MissedAfter.
func (s *Scheduler) markWaiting(ctx context.Context, key, reason string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTimeout)
	defer cancel()
	dir := s.Importer.Dir(key)
	info, err := s.Importer.Bucket.Stat(ctx, key)
	if err != nil {
		return // the export was removed, or the store does not respond
	}
	p, err := dir.LoadProgress(ctx)
	isFinished := p.State == results.Finished && p.Export.Version != info.Version // an earlier version
	if !errors.Is(err, fs.ErrNotExist) && (err != nil || !isFinished) {
		return
	}
	p = results.Progress{
		State: results.Waiting, Reason: reason, Next: export.Start, Updated: time.Now().UTC(),
		Export: results.Export{Key: key, Version: info.Version, Size: info.Size, Modified: info.Modified},
	}
	if err := p.Save(ctx, dir); err != nil {
		s.log().WarnContext(ctx, "cannot mark the import as waiting", "key", key, "err", err)
	}
}

// resolve returns the first of keys at which an object exists. reason is why none of the keys can be imported, else
// empty.
func (s *Scheduler) resolve(ctx context.Context, keys []string) (key, reason string, err error) {
	var denied error
	for _, key := range keys {
		switch bad := s.unreadable(key); {
		case bad != "":
			reason = cmp.Or(reason, bad)
		case results.IsOutput(key):
			reason = cmp.Or(reason, "this program wrote the object")
		case !export.IsExport(key):
			reason = cmp.Or(reason, "the name must end in one of: "+strings.Join(export.Formats, " "))
		case strings.HasPrefix(path.Base(key), "."):
			reason = cmp.Or(reason, "the name starts with a dot: hidden objects are never imported")
		case !strings.HasPrefix(key, s.Importer.Config.Prefix):
			reason = cmp.Or(reason, "the key is not below EXPORT_PREFIX, "+s.Importer.Config.Prefix)
		default:
			if err := s.Importer.Fits(results.Names{Export: key}); err != nil {
				reason = cmp.Or(reason, err.Error())
				continue
			}
			_, err := s.Importer.Bucket.Stat(ctx, key)
			switch {
			case errors.Is(err, fs.ErrPermission): // perhaps another of keys is the right one
				denied = cmp.Or(denied, err)
			case !errors.Is(err, fs.ErrNotExist):
				return key, "", err
			}
		}
	}
	if denied != nil || reason != "" {
		return keys[0], reason, denied
	}
	return keys[0], "object not found: it was removed after the event", nil
}

// superseded reports whether a run ended with err because its export was replaced or removed, or the dead-letter file
// in a round of retries. No operator needs to act: the new version has its own event, and the scheduler finds it too.
func (s *Scheduler) superseded(ctx context.Context, j job, sum importer.Summary, err error) bool {
	switch {
	case errors.Is(err, blob.ErrChanged):
		return true
	case !errors.Is(err, fs.ErrNotExist):
		return false
	case j.what == doRetry:
		return sum.State == results.Waiting
	}
	_, err = s.Importer.Bucket.Stat(ctx, j.key) // a missing mapping is an error
	return errors.Is(err, fs.ErrNotExist)
}

// A RunError names the imports that failed with an error of the store, the platform or the program, or the error that
// failed the whole pass. An operator must act.
type RunError struct{ err error }

func (e *RunError) Error() string { return e.err.Error() }

func (e *RunError) Unwrap() error { return e.err }

// A StoppedError names the imports that are stopped until an operator acts, and the reasons.
type StoppedError struct{ text string }

func (e *StoppedError) Error() string { return e.text }

// Err returns the error that the platform should count as a failure, so that its alarms notify an operator: a
// [*RunError] or a [*StoppedError]. It returns nil for a run that ended because time was up, or because another
// process has the lease: the next run resumes.
func (r *Result) Err() error {
	var failed, stopped []string
	for _, d := range r.Done {
		switch {
		case d.Error != "":
			failed = append(failed, d.Key+": "+d.Error)
		case d.State == results.Stopped:
			stopped = append(stopped, d.Key+": "+d.Reason)
		}
	}
	switch {
	case failed != nil:
		return &RunError{errors.New(strings.Join(append(failed, stopped...), "; "))}
	case stopped != nil:
		return &StoppedError{strings.Join(stopped, "; ")}
	}
	return nil
}
