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
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
)

// An Export is one version of an export.
type Export struct {
	Key     string `json:"key"`
	Version string `json:"version"`
	Size    int64  `json:"size"` // bytes

	// Modified is the time of the version by the store's clock. It is zero if version 1 wrote the object.
	Modified time.Time `json:"modified,omitzero"`
}

// Is reports whether a listed object is this version. sure is false if the list has no versions and neither the size
// nor the time is conclusive.
func (e *Export) Is(listed blob.Info) (same, sure bool) {
	switch {
	case listed.Version != "":
		return listed.Version == e.Version, true
	case listed.Size != e.Size:
		return false, true
	}
	return true, !e.Modified.IsZero() && listed.Modified.Equal(e.Modified)
}

// marks returns two short digests: of the version, and of the size and time for stores whose lists have no versions.
func (e *Export) marks() (version, stat string) {
	return mark(e.Version), mark(fmt.Sprint(e.Size, e.Modified.UnixNano()))
}

func mark(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:markBytes])
}

// A Checkpoint is the durable state of an import: the position in the export and the parts up to it.
type Checkpoint struct {
	Export Export          `json:"export"`
	Next   export.Position `json:"next"` // the first record without an outcome
	Done   bool            `json:"done"` // every record has an outcome; members may be pending: [Checkpoint.IsComplete]

	// Sent is the high-water mark: records up to it may have been sent, even if they have no outcome. Such a record must
	// not be sent again unless it has a GroupId.
	Sent int64 `json:"sent"`

	// Round is the round of retries, from 1. In a round, Export is the dead-letter file. Zero is the import itself.
	Round int `json:"round,omitzero"`

	// Assign is the seed of GroupIds for records without one. It is empty if no GroupIds are assigned. The first run
	// sets it. Later runs use it even if the configuration or the bucket changes: another ID would create another group.
	Assign string `json:"assign,omitzero"`

	// Mapping is the text of the jq program that maps the export's records to those of import_group. It is empty without
	// a mapping. The first run sets it. Later runs use it: another program could give another ID to a record that may
	// have been sent.
	Mapping string `json:"mapping,omitzero"`

	// Settings are the settings of the import's first run. Different settings make a new version of the import, like a
	// new version of the export. Settings are zero in a checkpoint of version 1.
	Settings Settings `json:"settings,omitzero"`

	// Ignored counts the entries up to Next that are not groups by the mapping. They have no outcome.
	Ignored int64 `json:"ignored,omitzero"`

	// Carry is nil if there are no outcomes of earlier versions.
	Carry *Carry `json:"carry,omitzero"`

	// Encoding is the configured character encoding of the export, see [export.Source], or empty. The first run that
	// reads a record sets it. Later runs use it: positions refer to the text in UTF-8.
	Encoding string `json:"encoding,omitzero"`

	Parts  []Parts        `json:"parts"`          // in order
	Ahead  int            `json:"ahead,omitzero"` // fencing token of the run that wrote out-of-order outcomes; 0 if none
	Counts outcome.Counts `json:"counts"`         // of the parts; see Total

	// Members is the state of the member pass. It is nil if no record so far has members.
	Members *MemberPass `json:"members,omitzero"`

	// Finishing is the fencing token of the run that saved the state of writing the results; 0 if none did.
	Finishing int `json:"finishing,omitzero"`

	Runs []Run `json:"runs"` // in order; the last one may be in progress

	held   []byte // outcomes that are counted but in no part, see [Dir.NewWriter]
	isHeld bool

	// isSaved is set if the run has written a checkpoint, to write ahead. A last one must then follow.
	isSaved bool
}

// IsHeld reports whether the import's outcomes are in memory only, see [Dir.NewWriter].
func (cp *Checkpoint) IsHeld() bool { return cp.isHeld }

// mayHaveResults reports whether a run that was killed may have written results without a manifest: the first run of an
// import, which has written ahead but no part, see [Dir.NewWriter]. There were no results before: otherwise there is
// a Carry. Version 1 has no Settings.
func (cp *Checkpoint) mayHaveResults() bool {
	return cp.Round == 0 && !cp.Done && cp.Next == export.Start && cp.Sent > 0 && len(cp.Parts) == 0 && cp.Ahead == 0 &&
		cp.Carry == nil && cp.Settings != (Settings{})
}

// Settings determine which records an export has and how they are validated.
type Settings struct {
	Mapping string       `json:"mapping"` // name of a built-in mapping, ProgramPrefix and a digest, or NoMapping
	Limits  group.Limits `json:"limits"`

	// IncludeArchived is whether the mapping includes archived groups. It is false without a mapping.
	IncludeArchived bool `json:"includeArchived,omitzero"`

	// Records is the text of the [export.Path] to the records of a JSON document, empty for none.
	Records string `json:"records,omitzero"`

	// TimeZone is the text of the time zone of dates without one, see [export.ParseTimeZone]. It is empty for none.
	TimeZone string `json:"timeZone,omitzero"`

	// Users identifies the table of users that translates accounts. It is empty without a table.
	Users string `json:"users,omitzero"`
}

// Values of [Settings.Mapping]: no mapping, and the prefix of the SHA-256 of a jq program in hex.
const (
	NoMapping     = "none"
	ProgramPrefix = "sha256:"
)

// A Run is one invocation's work on the import.
type Run struct {
	Lease    int            `json:"lease"`
	Start    time.Time      `json:"start"`
	End      time.Time      `json:"end,omitzero"`   // zero while the run is in progress, or if it died
	Why      string         `json:"why,omitzero"`   // why the run ended
	Cause    Cause          `json:"cause,omitzero"` // Why, for programs; empty in runs of version 1
	Code     int            `json:"code,omitzero"`  // ErrorCode of the service, with CauseService
	Stop     string         `json:"stop,omitzero"`  // why the run stopped the import until an operator acts
	Rate     float64        `json:"rate,omitzero"`  // rate limit, attempts per second
	Attempts int64          `json:"attempts"`
	Slowed   int            `json:"slowed,omitzero"` // number of throttled attempts
	Counts   outcome.Counts `json:"counts"`          // of this run
}

// LoadCheckpoint returns the latest checkpoint of a run whose fencing token is below before, or nil if there is none.
func (d Dir) LoadCheckpoint(ctx context.Context, before int) (*Checkpoint, error) {
	return d.loadCheckpoint(ctx, before, func(int) bool { return false })
}

// LoadLast returns the latest checkpoint before the run with the lease l, or nil if there is none. It costs one request
// for each run of the last hour that left no checkpoint, and one for the checkpoint.
func (d Dir) LoadLast(ctx context.Context, l *lease.Lease) (*Checkpoint, error) {
	return d.loadCheckpoint(ctx, l.Number, l.LeftNothing)
}

func (d Dir) loadCheckpoint(ctx context.Context, before int, skips func(token int) bool) (*Checkpoint, error) {
	for n := before - 1; n > 0; n-- {
		if skips(n) {
			continue
		}
		cp := &Checkpoint{}
		err := readJSON(ctx, d.Bucket, d.checkpoint(n), cp, func() error { return cp.check(n) })
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // the run died before its first checkpoint
		case errors.Is(err, ErrUnusable):
			return nil, fmt.Errorf("the checkpoint %w: restore it from an older version of the object or from a backup. "+
				"To start over, move the folder %q away: records without a GroupId may then be created twice", err, d.Work())
		case err != nil:
			return nil, err
		}
		for i := range cp.Runs {
			cp.Runs[i].clip()
		}
		return cp, nil
	}
	return nil, nil // no checkpoint before the first run
}

// LoadImportCheckpoint returns the latest checkpoint of a finished import, excluding rounds of retries, or nil if it
// was removed.
func (d Dir) LoadImportCheckpoint(ctx context.Context, m *Manifest) (*Checkpoint, error) {
	if len(m.Runs) == 0 {
		return nil, nil // none
	}
	return d.LoadCheckpoint(ctx, m.Runs[len(m.Runs)-1].Lease+1)
}

// maxSmall limits the bytes of an object that is read as a whole: checkpoints, manifests, progress.
const maxSmall = 8 << 20

// ErrUnusable is wrapped by errors about a checkpoint, manifest or progress that cannot be what a run has written.
var ErrUnusable = errors.New("not usable")

// readJSON reads an object into v and checks it. The error wraps [ErrUnusable] if the object can be read, but not used.
func readJSON(ctx context.Context, b blob.Bucket, key string, v any, check func() error) error {
	data, err := blob.ReadAll(ctx, b, key, maxSmall)
	switch {
	case errors.Is(err, blob.ErrTooLarge):
	case err != nil:
		return err
	default:
		if err = json.Unmarshal(data, v); err == nil {
			err = check()
		}
	}
	if err != nil {
		return fmt.Errorf("%q is %w: %w", key, ErrUnusable, err)
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
