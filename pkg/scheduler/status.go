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
	State   results.State   `json:"state"`           // an import that has not begun is waiting
	Reason  string          `json:"reason,omitzero"` // why it is stopped or waiting
	Again   time.Time       `json:"again,omitzero"`  // when a stopped one is tried again at the earliest
	Gone    bool            `json:"gone,omitzero"`   // the export is not there any more
	Size    int64           `json:"size"`            // of the export, in bytes
	Next    export.Position `json:"next,omitzero"`   // the first record without an outcome, while it is not finished
	Counts  outcome.Counts  `json:"counts"`          // so far
	Round   int             `json:"round,omitzero"`  // of retries under way, from 1
	Rate    float64         `json:"rate,omitzero"`   // records a second of the run under way
	Left    float64         `json:"left,omitzero"`   // seconds until the end at that rate
	Runs    int             `json:"runs"`
	Updated time.Time       `json:"updated,omitzero"`

	// Of a finished import:
	Finished time.Time      `json:"finished,omitzero"`
	RetryAt  time.Time      `json:"retryAt,omitzero"` // when records that failed are due again
	GivenUp  int64          `json:"givenUp,omitzero"` // records that stay failed
	Files    []results.File `json:"files,omitzero"`   // what was written beside the export
}

// maxLooks is how many imports of a list are looked at at the same time.
const maxLooks = 8

// List returns how the imports of up to limit exports below prefix are doing, in the order of their keys
// from behind the key after; more says that there are others behind. Only what lies below [config.Config.Prefix] is
// shown: the error about another prefix wraps [fs.ErrNotExist].
//
// It costs a list of all that lies below prefix, one request for each 1,000 keys, and two requests for each
// import that is returned. It holds no more than these in memory.
func (s *Scheduler) List(ctx context.Context, prefix, after string, limit int) (imports []Status, more bool, err error) {
	if !strings.HasPrefix(prefix, s.Importer.Config.Prefix) || prefix != "" && blob.ValidKey(s.Importer.Bucket, strings.TrimSuffix(prefix, "/")) != nil {
		return nil, false, fmt.Errorf("%q does not lie below EXPORT_PREFIX, %q: %w", prefix, s.Importer.Config.Prefix, fs.ErrNotExist)
	}
	var first []entry // in the order of their keys
	for f, err := range s.exports(ctx, prefix) {
		if err != nil {
			return nil, false, fmt.Errorf("list exports: %w", err)
		}
		if f.key <= after || !export.Reads(f.key) || !utf8.ValidString(f.key) || f.isGone() && !f.work {
			continue // not yet, or it is what was kept of an older version, or JSON cannot hold the key
		}
		at, _ := slices.BinarySearchFunc(first, f.key, func(f entry, key string) int { return cmp.Compare(f.key, key) })
		if at < limit {
			first = slices.Insert(first, at, f)
		}
		if at == limit || len(first) > limit {
			first, more = first[:limit], true
		}
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
	return imports, more, looking.Wait()
}

// Status returns how the import of the export at key is doing. If there is neither an export nor a trace of
// its import, or key does not lie below [config.Config.Prefix] or is no export's, the error wraps [fs.ErrNotExist].
func (s *Scheduler) Status(ctx context.Context, key string) (Status, error) {
	missing := fmt.Errorf("import of %q: %w", key, fs.ErrNotExist)
	if !strings.HasPrefix(key, s.Importer.Config.Prefix) || results.Own(key) || !export.Reads(key) {
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

// statusOf returns how an export's import is doing, by what its last run has written.
func (s *Scheduler) statusOf(ctx context.Context, f entry) (Status, error) {
	im := Status{Key: f.key, State: results.Waiting, Reason: "it has not begun", Gone: f.isGone(), Size: f.info.Size}
	if reason := s.unreadable(f.key); reason != "" {
		im.State, im.Reason = results.Stopped, reason
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
			im.State, im.Reason = results.Waiting, "a new version of the export has not begun; the figures are of the one before"
		}
	}
	return im, nil
}

// follow takes over what the last run has said.
func (im *Status) follow(p *results.Progress, names results.Names) {
	im.State, im.Reason, im.Again = p.State, p.Reason, p.Again
	im.Counts, im.Runs, im.Updated = p.Counts, p.Runs, p.Updated
	if im.Gone {
		im.Size = p.Export.Size
	}
	retry := p.Export.Key != "" && strings.HasSuffix(p.Export.Key, nameOf(names.Failures()))
	if retry {
		im.Round = 1 // the manifest knows better
	}
	if p.State == results.Finished {
		return
	}
	im.Next = p.Next
	if p.State != results.Running {
		return
	}
	if time.Now().After(p.Until) {
		im.State, im.Reason = results.Waiting, "its run ended without a word; the next goes on"
		return
	}
	took := p.Updated.Sub(p.Run.Start).Seconds()
	done := float64(p.Run.Counts.Records())
	if took <= 0 || done == 0 {
		return
	}
	im.Rate = done / took
	if done := p.Next.Done(); done > 0 && p.Next.N > 1 {
		perByte := float64(p.Next.N-1) / float64(done)
		im.Left = max(0, perByte*float64(p.Export.Size-done)/im.Rate)
	}
}

// settle takes over what the manifest says, which is about the whole import also during a round of retries.
func (im *Status) settle(m *results.Manifest) {
	im.Counts, im.GivenUp = m.Counts, m.GivenUp
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
