package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/results"
)

// HandleEvent imports the exports that an event names, one after another until ctx ends. An event may be
// ambiguous about a key, because of how it is escaped: each of names holds the keys that are possible,
// likeliest first, and the first at which an object stands is meant.
//
// What is no export, or not below [config.Config.Prefix], is left out, and the Result says why. What is left when time is up, or
// while another process uses the rate, is noted as waiting, and the next pass begins it.
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
			done.Reason = "it was imported before"
		}
		pass.Done = append(pass.Done, done)
	})
	for _, j := range todo[len(todo)-pass.Left:] {
		s.leaveWaiting(ctx, j.key, pass.Reason)
	}
	return pass
}

const noteTime = 5 * time.Second // to leave a note in the store

// leaveWaiting notes that the import of an export is to begin, so that the scheduler need not wait until the event counts
// as missed. If the note cannot be written it waits.
func (s *Scheduler) leaveWaiting(ctx context.Context, key, reason string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	dir := s.Importer.Dir(key)
	info, err := s.Importer.Bucket.Stat(ctx, key)
	if err != nil {
		return // it was removed, or the store is away
	}
	p, err := dir.LoadProgress(ctx)
	isFinished := p.State == results.Finished && p.Export.Version != info.Version // a version before
	if !errors.Is(err, fs.ErrNotExist) && (err != nil || !isFinished) {
		return
	}
	p = results.Progress{
		State: results.Waiting, Reason: reason, Next: export.Start, Updated: time.Now().UTC(),
		Export: results.Export{Key: key, Version: info.Version, Size: info.Size, Modified: info.Modified},
	}
	if err := p.Save(ctx, dir); err != nil {
		s.log().WarnContext(ctx, "the import was not noted as waiting", "key", key, "err", err)
	}
}

// resolve returns the first of keys at which an object stands, and why it is not imported, if it is not.
func (s *Scheduler) resolve(ctx context.Context, keys []string) (key, reason string, err error) {
	var refused error
	for _, key := range keys {
		switch bad := s.unreadable(key); {
		case bad != "":
			reason = cmp.Or(reason, bad)
		case results.Own(key):
			reason = cmp.Or(reason, "this program wrote it")
		case !export.IsExport(key):
			reason = cmp.Or(reason, fmt.Sprintf("its name does not end as an export's does: %s", strings.Join(export.Formats, " ")))
		case strings.HasPrefix(path.Base(key), "."):
			reason = cmp.Or(reason, "its name begins with a dot: the schedule would not look at it either")
		case !strings.HasPrefix(key, s.Importer.Config.Prefix):
			reason = cmp.Or(reason, fmt.Sprintf("it does not lie below EXPORT_PREFIX, %s", s.Importer.Config.Prefix))
		default:
			if err := s.Importer.Fits(results.Names{Export: key}); err != nil {
				reason = cmp.Or(reason, err.Error())
				continue
			}
			_, err := s.Importer.Bucket.Stat(ctx, key)
			switch {
			case errors.Is(err, fs.ErrPermission): // perhaps only because this is not how the key is meant
				refused = cmp.Or(refused, err)
			case !errors.Is(err, fs.ErrNotExist):
				return key, "", err
			}
		}
	}
	if refused != nil || reason != "" {
		return keys[0], reason, refused
	}
	return keys[0], "there is no such object: it was removed since", nil
}

// superseded reports whether a run ended with err because its export, or in a round of retries the dead-letter file,
// was replaced or removed. No operator needs to act: the new version has an event of its own, and the schedule finds
// it too.
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

// A RunError says which imports could not be worked on, or that none could, and why: the store, the platform or the program
// needs a person.
type RunError struct{ err error }

func (e *RunError) Error() string { return e.err.Error() }

func (e *RunError) Unwrap() error { return e.err }

// A StoppedError says which imports are stopped until a person acts, and why.
type StoppedError struct{ text string }

func (e *StoppedError) Error() string { return e.text }

// Err returns what a platform should count as a failure, so that its alarms tell somebody: a [*RunError]
// or a [*StoppedError]. A run that ended in good order because time was up is none, nor is one that found
// another at work: the next goes on.
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
