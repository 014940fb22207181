package scheduler

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"groupimport/pkg/blob"
	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/results"
)

// HandleEvent imports the exports that an event names, and exports that arrive meanwhile, until ctx ends. The escaping
// of a key in an event may be ambiguous: each element of names lists the possible keys, most likely first. HandleEvent
// imports the first key at which an object exists.
//
// HandleEvent skips an object that is not an export, or is not below [config.Config.Prefix]. The Result gives the
// reason. For an export that remains when time is up, or while another process uses the rate, it writes a marker: that
// process or the next scheduler pass starts it.
func (s *Scheduler) HandleEvent(ctx context.Context, names ...[]string) Result {
	pass := Result{Imports: len(names)}
	var todo []job
	for _, keys := range names {
		info, reason, err := s.resolve(ctx, keys)
		switch {
		case err != nil:
			pass.Done = append(pass.Done, JobResult{Key: info.Key, What: doStart, Error: err.Error()})
			s.Importer.Fail(info.Key, err.Error())
		case reason != "":
			pass.Done = append(pass.Done, skipped(info.Key, reason))
		default:
			todo = append(todo, job{entry: entry{key: info.Key, info: info}, due: due{what: doStart}})
		}
	}
	s.runJobs(ctx, &pass, todo, Action{isEvent: true})
	return pass
}

// resolve returns the first object that exists at one of keys. reason is why none of the keys can be imported, else
// empty; then only the key of the object is set.
func (s *Scheduler) resolve(ctx context.Context, keys []string) (info blob.Info, reason string, err error) {
	var denied error
	for _, key := range keys {
		if bad := s.unfit(key); bad != "" {
			reason = cmp.Or(reason, bad)
			continue
		}
		info, err := s.Importer.Bucket.Stat(ctx, key)
		switch {
		case errors.Is(err, fs.ErrPermission): // perhaps another of keys is the right one
			denied = cmp.Or(denied, err)
		case !errors.Is(err, fs.ErrNotExist):
			info.Key = key
			return info, "", err
		}
	}
	info.Key = keys[0]
	if denied != nil || reason != "" {
		return info, reason, denied
	}
	return info, "object not found: it was removed after the event", nil
}

// unfit returns why the object at key cannot be imported, by its key. It returns "" if it can.
func (s *Scheduler) unfit(key string) string {
	if bad := s.unreadable(key); bad != "" {
		return bad
	}
	switch {
	case results.IsOutput(key):
		return "this program wrote the object"
	case !export.IsExport(key):
		return "the name must end in one of: " + strings.Join(export.Formats, " ")
	case strings.HasPrefix(path.Base(key), "."):
		return "the name starts with a dot: hidden objects are never imported"
	case !strings.HasPrefix(key, s.Importer.Config.Prefix):
		return "the key is not below EXPORT_PREFIX, " + s.Importer.Config.Prefix
	}
	if err := s.Importer.Dir(key).Fits(); err != nil {
		return err.Error()
	}
	return ""
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
