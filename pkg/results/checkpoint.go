package results

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/blob"
	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
)

// An Export is one version of an export.
type Export struct {
	Key     string `json:"key"`
	Version string `json:"version"`
	Size    int64  `json:"size"` // bytes

	// Modified is when the version was written, by the store's clock. Version 1 did not keep it.
	Modified time.Time `json:"modified,omitzero"`
}

// Is reports whether what a list shows of an object may be this version. sure is false if the list does not hold
// versions and the size and the time of writing do not tell either.
func (e *Export) Is(listed blob.Info) (same, sure bool) {
	switch {
	case listed.Version != "":
		return listed.Version == e.Version, true
	case listed.Size != e.Size:
		return false, true
	}
	return true, !e.Modified.IsZero() && listed.Modified.Equal(e.Modified)
}

// marks returns two short digests of the version: of its name, and of its size and time for stores whose lists do not
// hold that.
func (e *Export) marks() (version, stat string) {
	return mark(e.Version), mark(fmt.Sprint(e.Size, e.Modified.UnixNano()))
}

func mark(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:markBytes])
}

// A Checkpoint says how far the parts of an import reach.
type Checkpoint struct {
	Export Export          `json:"export"`
	Next   export.Position `json:"next"` // the first record without an outcome
	Done   bool            `json:"done"` // there is none any more

	// Sent is the last record that may have been sent though it has no outcome: one up to it that has no
	// GroupId must not be sent again.
	Sent int64 `json:"sent"`

	// Round is the round of retries that this is about, from 1; then Export is the failures file. Zero
	// is the import itself.
	Round int `json:"round,omitzero"`

	// Assign is what GroupIds for records without one are made from, as the import's first run set it,
	// empty if none are assigned. Later runs keep to it, whatever their configuration and wherever the
	// bucket has moved: another ID would make another group.
	Assign string `json:"assign,omitzero"`

	// Mapping is the text of the jq program that makes import_group's records of the export's, as the import's
	// first run found it, empty if there is none. Later runs keep to it too: another could give a record that
	// may have been sent another ID.
	Mapping string `json:"mapping,omitzero"`

	// Settings are those that the import began with. Another value of one of them makes a new version of the import, as
	// another version of the export does. Zero in a checkpoint of version 1.
	Settings Settings `json:"settings,omitzero"`

	// Ignored counts the entries up to Next that the mapping takes for no records of a group. They have no outcome.
	Ignored int64 `json:"ignored,omitzero"`

	// Carry says which outcomes of earlier versions are taken over; nil if there are none.
	Carry *Carry `json:"carry,omitzero"`

	// Encoding is the character encoding that was named for the export when the import's first run began to read it, see
	// [export.Source], empty if none was. Later runs keep to it: positions are of the text in UTF-8.
	Encoding string `json:"encoding,omitzero"`

	Parts  []Parts        `json:"parts"`          // in order
	Ahead  int            `json:"ahead,omitzero"` // the lease whose run left outcomes behind Next, or 0
	Counts outcome.Counts `json:"counts"`         // of the parts
	Runs   []Run          `json:"runs"`           // in order; the last one may be under way
}

// Settings are what decides which records an export holds and how they are checked.
type Settings struct {
	Mapping string       `json:"mapping"` // the name of a built-in one, or "sha256:…" of a jq program; "none" if there is none
	Limits  group.Limits `json:"limits"`

	// IncludeArchived is what the mapping was told about archived groups; false without a mapping.
	IncludeArchived bool `json:"includeArchived,omitzero"`
}

// Parts are those that one run has written.
type Parts struct {
	Lease int `json:"lease"`
	Count int `json:"count"` // numbered from 1
}

// A Run is one invocation's work on the import.
type Run struct {
	Lease    int            `json:"lease"`
	Start    time.Time      `json:"start"`
	End      time.Time      `json:"end,omitzero"`   // zero while it is under way, or if it died
	Why      string         `json:"why,omitzero"`   // it ended, in a few words
	Cause    Cause          `json:"cause,omitzero"` // the same as data; version 1 did not write it
	Code     int            `json:"code,omitzero"`  // the service's, with CauseService
	Stop     string         `json:"stop,omitzero"`  // what a person has to act on, if that is why
	Rate     float64        `json:"rate,omitzero"`  // its budget, attempts a second
	Attempts int64          `json:"attempts"`
	Slowed   int            `json:"slowed,omitzero"` // how often the service said too fast
	Counts   outcome.Counts `json:"counts"`          // of this run
}

// LoadCheckpoint returns the newest checkpoint of those that runs with a lease before the given one have
// written, or nil if none has written any.
func (d Dir) LoadCheckpoint(ctx context.Context, before int) (*Checkpoint, error) {
	for n := before - 1; n > 0; n-- {
		cp := &Checkpoint{}
		err := readJSON(ctx, d.Bucket, d.checkpoint(n), cp)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it died before its first
		}
		return cp, err
	}
	return nil, nil //nolint:nilnil // nothing written is what there is before the first run
}

// LoadImportCheckpoint returns the latest checkpoint of a finished import that is not one of a round of retries, nil if there
// is none any more.
func (d Dir) LoadImportCheckpoint(ctx context.Context, m *Manifest) (*Checkpoint, error) {
	if len(m.Runs) == 0 {
		return nil, nil //nolint:nilnil // none
	}
	return d.LoadCheckpoint(ctx, m.Runs[len(m.Runs)-1].Lease+1)
}

// maxSmall bounds what is read as a whole: checkpoints, manifests, progress.
const maxSmall = 8 << 20

func readJSON(ctx context.Context, b blob.Bucket, key string, v any) error {
	data, err := blob.ReadAll(ctx, b, key, maxSmall)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %q: %w", key, err)
	}
	return nil
}

func writeJSON(ctx context.Context, b blob.Bucket, key string, v any) error {
	data, err := json.Marshal(v, jsontext.Multiline(true))
	if err != nil {
		return err
	}
	if err := b.Put(ctx, key, bytes.NewReader(append(data, '\n'))); err != nil {
		return fmt.Errorf("write %q: %w", key, err)
	}
	return nil
}
