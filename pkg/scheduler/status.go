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

// A Status is how the import of one export is doing, for whoever asks.
type Status struct {
	Key     string          `json:"key"`
	State   results.State   `json:"state"`            // an import that has not begun is waiting
	Cause   results.Cause   `json:"cause,omitzero"`   // why it is stopped or waiting; empty if only Reason tells
	Code    int             `json:"code,omitzero"`    // the service's, with the cause service
	Reason  string          `json:"reason,omitzero"`  // the cause in words
	Again   time.Time       `json:"again,omitzero"`   // when a stopped one is tried again at the earliest
	Gone    bool            `json:"gone,omitzero"`    // the export is not there any more
	Size    int64           `json:"size"`             // of the export, in bytes
	Next    export.Position `json:"next,omitzero"`    // the first record without an outcome, while it is not finished
	Done    float64         `json:"done"`             // part of the export that has outcomes, from 0 to 1
	Counts  outcome.Counts  `json:"counts"`           // so far
	Ignored int64           `json:"ignored,omitzero"` // entries so far that are no records of a group, for the mapping
	Round   int             `json:"round,omitzero"`   // of retries under way, from 1
	Rate    float64         `json:"rate,omitzero"`    // records a second of the run under way
	Left    float64         `json:"left,omitzero"`    // seconds until the end at that rate
	Runs    int             `json:"runs"`
	Updated time.Time       `json:"updated,omitzero"`

	Run  results.Run      `json:"-"` // the latest
	Work outcome.Progress `json:"-"` // of the export, or in a round of retries of the dead-letter file

	// Of a finished import:
	Finished time.Time      `json:"finished,omitzero"`
	RetryAt  time.Time      `json:"retryAt,omitzero"` // when records that failed are due again
	GivenUp  int64          `json:"givenUp,omitzero"` // records that stay failed
	Files    []results.File `json:"files,omitzero"`   // what was written beside the export
}

// maxLooks is how many imports of a list are looked at at the same time.
const maxLooks = 8

// A Place is where a page of [Scheduler.List] begins: behind an export with this key, which was written at this time.
// The zero Place is the beginning.
type Place struct {
	Key      string
	Modified time.Time // matters for the newest first only; zero if the export is gone
}

func (p Place) isZero() bool { return p.Key == "" && p.Modified.IsZero() }

// List returns how the imports of up to limit exports below prefix are doing. They come in the order of their keys or,
// with newest, of the times at which the exports were written, the latest first; exports that are gone come last. after
// is where they begin, next where the next page begins; next is zero if there is none. Only what lies below
// [config.Config.Prefix] is shown: the error about another prefix wraps [fs.ErrNotExist].
//
// It costs a list of all that lies below prefix, one request for each 1,000 keys, and two requests for each import that
// is returned. It holds no more than these in memory.
func (s *Scheduler) List(
	ctx context.Context, prefix string, newest bool, after Place, limit int,
) (imports []Status, next Place, err error) {
	bare := strings.TrimSuffix(prefix, "/")
	if !strings.HasPrefix(prefix, s.Importer.Config.Prefix) || prefix != "" && blob.ValidKey(s.Importer.Bucket, bare) != nil {
		return nil, Place{}, fmt.Errorf("%q does not lie below EXPORT_PREFIX, %q: %w", prefix, s.Importer.Config.Prefix, fs.ErrNotExist)
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
		if !after.isZero() && order(f, after) <= 0 || !export.IsExport(f.key) || !utf8.ValidString(f.key) || f.isGone() && !f.work {
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
	looking, ctx := errgroup.WithContext(ctx)
	looking.SetLimit(maxLooks)
	for n, f := range first {
		looking.Go(func() (err error) {
			imports[n], err = s.statusOf(ctx, f)
			return err
		})
	}
	return imports, next, looking.Wait()
}

// Status returns how the import of the export at key is doing. If there is neither an export nor a trace of
// its import, or key does not lie below [config.Config.Prefix] or is no export's, the error wraps [fs.ErrNotExist].
func (s *Scheduler) Status(ctx context.Context, key string) (Status, error) {
	missing := fmt.Errorf("import of %q: %w", key, fs.ErrNotExist)
	if !strings.HasPrefix(key, s.Importer.Config.Prefix) || results.Own(key) || !export.IsExport(key) {
		return Status{}, missing
	}
	f := entry{key: key}
	if reason := s.unreadable(key); reason != "" {
		return Status{}, fmt.Errorf("%w: %s", missing, reason)
	}
	info, err := s.Importer.Bucket.Stat(ctx, key)
	switch {
	case err == nil:
		f.info = info
	case errors.Is(err, blob.ErrChanged):
		f.info.Key = key // it is being written
	case !errors.Is(err, fs.ErrNotExist):
		return Status{}, err
	}
	im, err := s.statusOf(ctx, f)
	if err == nil && im.Gone && im.Updated.IsZero() {
		return Status{}, missing
	}
	return im, err
}

// ErrTooLarge is wrapped by [Scheduler.File].
var ErrTooLarge = errors.New("file too large")

// File returns a file that an import wrote beside its export, and what it is: results, dead-letter file or report. The
// error wraps [fs.ErrNotExist] if there is none, or key is not that of such a file below [config.Config.Prefix]; and
// [ErrTooLarge] if it has more than limit bytes.
func (s *Scheduler) File(ctx context.Context, key string, limit int64) ([]byte, results.Kind, error) {
	owner, kind := results.Beside(key)
	isExport := export.IsExport(owner) || export.IsExport(results.ArchivedFrom(owner))
	if !isExport || kind == results.BesideWork || !strings.HasPrefix(key, s.Importer.Config.Prefix) || s.unreadable(key) != "" {
		return nil, kind, fmt.Errorf("file %q: %w", key, fs.ErrNotExist)
	}
	info, err := s.Importer.Bucket.Stat(ctx, key)
	switch {
	case err != nil:
		return nil, kind, err
	case info.Size > limit:
		return nil, kind, fmt.Errorf("%w: %q has %d bytes, limit %d", ErrTooLarge, key, info.Size, limit)
	}
	body, err := blob.ReadAll(ctx, s.Importer.Bucket, key, limit)
	return body, kind, err
}

// statusOf returns how an export's import is doing, by what its last run has written.
func (s *Scheduler) statusOf(ctx context.Context, f entry) (Status, error) {
	im := Status{
		Key: f.key, State: results.Waiting, Cause: results.CauseNotBegun, Reason: "it has not begun", Gone: f.isGone(), Size: f.info.Size,
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
		return im, err
	}
	im.follow(&p, dir.Names)
	if im.State != results.Finished && im.Round == 0 {
		return im, nil
	}
	m, err := dir.LoadManifest(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a person has deleted it
		return im, nil
	case err != nil:
		return im, err
	}
	im.settle(&m)
	if !im.Gone {
		if same, err := s.isOf(ctx, &m.Export, f); err == nil && !same {
			im.State, im.Cause, im.Code = results.Waiting, results.CauseNewVersion, 0
			im.Reason = "a new version of the export has not begun; the figures are of the one before"
		}
	}
	return im, nil
}

// follow takes over what the last run has said.
func (im *Status) follow(p *results.Progress, names results.Names) {
	im.State, im.Cause, im.Reason, im.Again = p.State, "", p.Reason, p.Again
	if p.Reason == p.Run.Why {
		im.Cause, im.Code = p.Run.Cause, p.Run.Code
	}
	im.Counts, im.Ignored, im.Run, im.Runs, im.Updated = p.Counts, p.Ignored, p.Run, p.Runs, p.Updated
	if im.Gone {
		im.Size = p.Export.Size
	}
	retry := p.Export.Key != "" && strings.HasSuffix(p.Export.Key, nameOf(names.Failures()))
	if retry {
		im.Round = 1 // the manifest knows better
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
		im.State, im.Cause, im.Reason = results.Waiting, results.CauseDied, "its run ended without a word; the next goes on"
		return
	}
	rate, left := p.Pace(nil)
	im.Rate, im.Left = rate, left.Seconds()
}

// settle takes over what the manifest says, which is about the whole import also during a round of retries.
func (im *Status) settle(m *results.Manifest) {
	im.Counts, im.Ignored, im.GivenUp = m.Counts, m.Ignored, m.GivenUp
	folder := im.Key[:len(im.Key)-len(nameOf(im.Key))]
	for _, f := range m.Files {
		f.Key = folder + nameOf(f.Key) // the folder may have been opened further up or down then
		im.Files = append(im.Files, f)
	}
	if im.Round > 0 {
		im.Round = len(m.Rounds) + 1
		return
	}
	im.Finished, im.RetryAt = m.Finished, m.RetryAt
}

func nameOf(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }
