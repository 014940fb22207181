package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"groupimport/pkg/blob"
	"groupimport/pkg/export"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

// A Status is the status of the import of one export.
type Status struct {
	Key     string          `json:"key"`
	State   results.State   `json:"state"`            // Waiting if the import has not started
	Cause   results.Cause   `json:"cause,omitzero"`   // why the import is stopped or waiting; may be empty
	Code    int             `json:"code,omitzero"`    // ErrorCode of the service, with CauseService
	Reason  string          `json:"reason,omitzero"`  // why the import is stopped or waiting, as text
	Again   time.Time       `json:"again,omitzero"`   // earliest next run of a stopped import
	Gone    bool            `json:"gone,omitzero"`    // the export was removed
	Size    int64           `json:"size"`             // of the export, in bytes
	Next    export.Position `json:"next,omitzero"`    // the first record without an outcome; zero if finished
	Done    float64         `json:"done"`             // part of the export that has outcomes, from 0 to 1
	Counts  outcome.Counts  `json:"counts"`           // so far
	Ignored int64           `json:"ignored,omitzero"` // entries so far that are not groups by the mapping
	Round   int             `json:"round,omitzero"`   // round of retries in progress, from 1
	Rate    float64         `json:"rate,omitzero"`    // records per second of the run in progress
	Left    float64         `json:"left,omitzero"`    // estimated seconds until the end of the export
	Runs    int             `json:"runs"`
	Updated time.Time       `json:"updated,omitzero"`

	Run  results.Run      `json:"-"` // the latest
	Work outcome.Progress `json:"-"` // of the export, or in a round of retries of the dead-letter file

	// Of a finished import:
	Finished time.Time      `json:"finished,omitzero"`
	RetryAt  time.Time      `json:"retryAt,omitzero"` // when the next round of retries is due
	GivenUp  int64          `json:"givenUp,omitzero"` // records that failed after all rounds of retries
	Files    []results.File `json:"files,omitzero"`   // written beside the export
}

const (
	// maxConcurrent limits the imports of a list that are read at the same time.
	maxConcurrent = 8

	// maxPeek is the most, in bytes, that a status reads of an export to learn its version: some milliseconds.
	maxPeek = 16 << 20
)

// A Place is the start of a page of [Scheduler.List]: after the export with this key and time. The zero Place is the
// start of the list.
type Place struct {
	Key      string
	Modified time.Time // used with newest only; zero if the export was removed
}

func (p Place) isZero() bool { return p.Key == "" && p.Modified.IsZero() }

// List returns the status of up to limit imports below prefix, starting after the place after. They are sorted by
// key, or with newest by the time of the export, latest first and removed exports last. next is the start of the next
// page, zero if there is none. prefix must be below [config.Config.Prefix], else the error wraps [fs.ErrNotExist].
//
// List costs one request for each 1,000 keys below prefix and two requests for each import that it returns, three if a
// round of retries is to come. It keeps at most limit imports in memory.
func (s *Scheduler) List(
	ctx context.Context, prefix string, newest bool, after Place, limit int,
) (imports []Status, next Place, err error) {
	root, bare := s.Importer.Config.Prefix, strings.TrimSuffix(prefix, "/")
	if !strings.HasPrefix(prefix, root) || prefix != "" && blob.ValidKey(s.Importer.Bucket, bare) != nil {
		return nil, Place{}, fmt.Errorf("%q is not below EXPORT_PREFIX, %q: %w", prefix, root, fs.ErrNotExist)
	}
	order := func(f entry, p Place) int { return cmp.Compare(f.key, p.Key) }
	if newest {
		order = func(f entry, p Place) int {
			return cmp.Or(p.Modified.Compare(f.info.Modified), cmp.Compare(f.key, p.Key))
		}
	}
	var first []entry
	more := false
	for f, err := range s.exports(ctx, prefix) {
		if err != nil {
			return nil, Place{}, fmt.Errorf("list exports: %w", err)
		}
		isBefore := !after.isZero() && order(f, after) <= 0
		if isBefore || !export.IsExport(f.key) || !utf8.ValidString(f.key) || f.isGone() && !f.work {
			continue // not yet, or an archived version, or JSON cannot hold the key
		}
		at, _ := slices.BinarySearchFunc(first, Place{f.key, f.info.Modified}, order)
		if at < limit {
			first = slices.Insert(first, at, f)
		}
		if at == limit || len(first) > limit {
			first, more = first[:limit], true
		}
	}
	if more {
		last := first[len(first)-1]
		next = Place{last.key, last.info.Modified}
	}
	imports = make([]Status, len(first))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxConcurrent)
	for n, f := range first {
		group.Go(func() (err error) {
			imports[n], err = s.statusOf(ctx, f)
			return err
		})
	}
	return imports, next, group.Wait()
}

// Status returns the status of the import of the export at key. The error wraps [fs.ErrNotExist] if there is neither
// an export nor an import, if key is not below [config.Config.Prefix], or if key is not the key of an export.
func (s *Scheduler) Status(ctx context.Context, key string) (Status, error) {
	missing := fmt.Errorf("import of %q: %w", key, fs.ErrNotExist)
	if !strings.HasPrefix(key, s.Importer.Config.Prefix) || results.IsOutput(key) || !export.IsExport(key) {
		return Status{}, missing
	}
	f := entry{key: key}
	if reason := s.unreadable(key); reason != "" {
		return Status{}, fmt.Errorf("%w: %s", missing, reason)
	}
	info, err := blob.Peek(ctx, s.Importer.Bucket, key, maxPeek)
	switch {
	case err == nil:
		f.info = info
	case errors.Is(err, blob.ErrChanged):
		f.info.Key = key // the export is being written
	case !errors.Is(err, fs.ErrNotExist):
		return Status{}, err
	}
	im, err := s.statusOf(ctx, f)
	if err == nil && im.Gone && im.Updated.IsZero() {
		return Status{}, missing
	}
	return im, err
}

// File returns a file that an import wrote beside its export, and what it is: results, dead-letter file or report. The
// error wraps [fs.ErrNotExist] if there is none, or key is not that of such a file below [config.Config.Prefix]; and
// [blob.ErrTooLarge] if it has more than limit bytes.
func (s *Scheduler) File(ctx context.Context, key string, limit int64) ([]byte, results.Kind, error) {
	owner, kind := results.Sidecar(key)
	isExport := export.IsExport(owner) || export.IsExport(results.ArchivedFrom(owner))
	if !isExport || kind == results.SidecarWork ||
		!strings.HasPrefix(key, s.Importer.Config.Prefix) || s.unreadable(key) != "" {
		return nil, kind, fmt.Errorf("file %q: %w", key, fs.ErrNotExist)
	}
	info, err := blob.Peek(ctx, s.Importer.Bucket, key, 0)
	switch {
	case err != nil:
		return nil, kind, err
	case info.Size > limit:
		return nil, kind, fmt.Errorf("%w: %q has %d bytes, limit %d", blob.ErrTooLarge, key, info.Size, limit)
	}
	body, err := blob.ReadAll(ctx, s.Importer.Bucket, key, limit)
	return body, kind, err
}

// statusOf returns the status of an export's import from the objects that the last run wrote.
func (s *Scheduler) statusOf(ctx context.Context, f entry) (Status, error) {
	im := Status{
		Key: f.key, State: results.Waiting, Cause: results.CauseNotBegun, Reason: "not started",
		Gone: f.isGone(), Size: f.info.Size,
	}
	if reason := s.unreadable(f.key); reason != "" {
		im.State, im.Cause, im.Reason = results.Stopped, results.CauseError, reason
		return im, nil
	}
	dir := s.Importer.Dir(f.key)
	p, err := dir.LoadProgress(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return im, nil
	case err != nil:
		return im, im.damaged(err)
	}
	im.addProgress(&p, dir.Names)
	if im.State != results.Finished && im.Round == 0 {
		return im, nil
	}
	m, err := dir.LoadManifest(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist): // an operator has deleted it
		return im, nil
	case err != nil:
		return im, im.damaged(err)
	}
	im.addManifest(&m)
	if !im.Gone {
		if s.isOther(ctx, &m.Export, f) {
			im.State, im.Cause, im.Code = results.Waiting, results.CauseNewVersion, 0
			im.Reason = "the new version of the export is not started; the counts are those of the earlier version"
		}
	}
	if im.State == results.Finished && !im.RetryAt.IsZero() {
		return im, im.addControl(ctx, dir, f.info)
	}
	return im, nil
}

// damaged sets the state if err is about a damaged object, so that one import cannot hide the others. It returns other
// errors.
func (im *Status) damaged(err error) error {
	if !errors.Is(err, results.ErrUnusable) {
		return err
	}
	im.State, im.Cause, im.Reason = results.Stopped, results.CauseError, err.Error()
	return nil
}

// isOther reports whether an export is certainly another version than the one that e names. It does not read a large
// export of the same size: a scheduler pass checks it.
func (s *Scheduler) isOther(ctx context.Context, e *results.Export, f entry) bool {
	same, sure := e.Is(f.info)
	if sure {
		return !same
	}
	info, err := blob.Peek(ctx, s.Importer.Bucket, f.key, maxPeek)
	return err == nil && info.Version != "" && info.Version != e.Version
}

// addProgress sets the fields that the progress of the last run determines.
func (im *Status) addProgress(p *results.Progress, names results.Names) {
	im.State, im.Reason, im.Again = p.State, p.Reason, p.Again
	im.Cause, im.Code = p.Why()
	im.Counts, im.Ignored, im.Run, im.Runs, im.Updated = p.Counts, p.Ignored, p.Run, p.Runs, p.Updated
	if im.Gone {
		im.Size = p.Export.Size
	}
	retry := p.Export.Key != "" && strings.HasSuffix(p.Export.Key, nameOf(names.Failures()))
	if retry {
		im.Round = 1 // addManifest sets the number
	}
	if p.State == results.Finished {
		im.Done = 1
		return
	}
	im.Next, im.Work, im.Done = p.Next, p.Work(), p.Work().Fraction()
	if p.State != results.Running {
		return
	}
	if time.Now().After(p.Until) {
		im.State, im.Cause = results.Waiting, results.CauseDied
		im.Reason = "the last run ended unexpectedly; the next run will resume"
		return
	}
	rate, left := p.Pace(nil)
	im.Rate, im.Left = rate, left.Seconds()
}

// addManifest sets the fields that the manifest determines. The manifest is about the whole import, also during a
// round of retries.
func (im *Status) addManifest(m *results.Manifest) {
	im.Counts, im.Ignored, im.GivenUp = m.Counts, m.Ignored, m.GivenUp
	folder := im.Key[:len(im.Key)-len(nameOf(im.Key))]
	for _, f := range m.Files {
		f.Key = folder + nameOf(f.Key) // the bucket may have been opened at another directory
		im.Files = append(im.Files, f)
	}
	if im.Round > 0 {
		im.Round = len(m.Rounds) + 1
		return
	}
	im.Finished, im.RetryAt = m.Finished, m.RetryAt
}

// addControl sets the state of a finished import whose rounds of retries are paused or cancelled: none is due.
func (im *Status) addControl(ctx context.Context, dir results.Dir, info blob.Info) error {
	c, err := dir.LoadControl(ctx, info)
	if err != nil {
		return im.damaged(err)
	}
	if c != nil {
		im.State, im.Cause, im.Reason, im.RetryAt = c.State(), c.Cause(), c.Reason(), time.Time{}
	}
	return nil
}

func nameOf(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }
