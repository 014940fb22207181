// Package importer takes one export from its checkpoint to the end, or until time is up.
//
// One goroutine reads records, takes a turn for each and starts its call; another waits for the calls in
// the order of the export and writes their outcomes. Calls overlap, outcomes come out in order; that is
// the only concurrency. What is in between is bounded by [aheadRecords] and [aheadBytes].
//
// A run ends when the export is through, when the working time is up, when it is interrupted, when
// the service takes nothing ([tim.Stop]), or when it refuses too large a share. In all these cases
// nothing new starts, what is under way is waited for, and everything that is known is written. Then
// the next run goes on.
package importer

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/config"
	"groupimport/pkg/export"
	"groupimport/pkg/lease"
	"groupimport/pkg/mapping"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/tim"
)

const (
	// What may be read before the outcome of the record at the head is known. A call that is tried
	// again and again may take half a minute, in which 200 a second are 6,000 others.
	aheadRecords = 6000
	aheadBytes   = 8 << 20
	recordCost   = 512 // bytes a record needs beside its text

	// Reserve is how long before the deadline work on records ends, or a quarter of the time if that is shorter: the time of
	// one attempt without a response, and then writeTime, or half of it, for the last writes.
	Reserve   = tim.AttemptTimeout + writeTime
	writeTime = 5 * time.Second

	// A run without a deadline ends after runLength, and another may resume.
	runLength = 15 * time.Minute

	// LeaseMargin is how much longer than its run a lease lasts: functions have been seen to live a second beyond their
	// deadline.
	LeaseMargin = 10 * time.Second

	// Writing ends this long before the deadline, or an eighth of what the working time leaves, so that the run
	// can still say how it ended.
	lastWords = time.Second

	// A run looks this often whether its export has been replaced or removed.
	watchEvery = 5 * time.Second

	// Keep at most maxRuns entries: the first run and the most recent maxRuns/2. An import that is stopped for weeks has one
	// an hour.
	maxRuns = 400

	// A run gives up on an export that the service refuses once this many calls have been answered.
	stopCalls = 1000
)

// Reasons why a run ends before its export does, as causes of its context.
var (
	ErrTimeUp = errors.New("time is up")
	errUndone = errors.New("a record could not be done")
)

// An Importer imports exports from one bucket.
type Importer struct {
	Config config.Config
	Bucket blob.Bucket

	// BucketName goes into the IDs that are assigned, see [config.Config.AssignGroupIDs].
	BucketName string

	// Folder is the local folder that Bucket is, for the commands in reports; empty for an object store.
	Folder string

	// Mapping is the text of a jq program that takes the place of the one that the Config names.
	Mapping string

	// Owner names this process in leases, for people.
	Owner string

	// IsDead reports whether a lease's owner is known to have exited. Nil means unknown: wait for the lease to expire.
	IsDead func(owner string) bool

	// Grace is how long an attempt under way may go on once the run is to end; see [tim.Config].
	Grace time.Duration

	// OnRunEnd is called with the metrics of each run; it may be nil.
	OnRunEnd func(Metrics)

	Client *tim.Client  // not changed by the importer
	Log    *slog.Logger // nil discards

	mu       sync.Mutex
	progress Progress
}

// Work returns how much of the export has outcomes.
func (p *Progress) Work() outcome.Progress {
	return outcome.Progress{Done: p.Next.Done(), Size: p.Export.Size}
}

// Policy is what the configuration says about retries.
func (i *Importer) Policy() results.RetryPolicy {
	return results.RetryPolicy{Unknown: i.Config.RetryUnknown}
}

func (i *Importer) log() *slog.Logger {
	if i.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return i.Log
}

// A Progress is how far a run has come.
type Progress struct {
	Export results.Export
	Next   export.Position // behind the last outcome
	Counts outcome.Counts  // of all runs
	Run    outcome.Counts  // of this one
	Began  time.Time
}

// Progress returns how far the run under way, or the last one, has come.
func (i *Importer) Progress() Progress {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.progress
}

// A Summary says how a run ended.
type Summary struct {
	State    results.State
	Reason   string // why it is not Finished
	Already  bool   // it was Finished before, and nothing was done
	Counts   outcome.Counts
	Run      results.Run // zero if Already
	Manifest results.Manifest

	// Dropped says of the records of this run which fields of get_group_info import_group does not know, and how many
	// records had them.
	Dropped map[string]int64
}

// Import imports the export at key from where the last run left off. What it returns without an error is
// Finished, or Waiting or Stopped, in which case another run will go on; a single record that is refused
// is an outcome and no error. The error is not nil if another run would meet the same trouble at
// once: the export is missing ([fs.ErrNotExist]), has changed while it was read ([blob.ErrChanged]) or
// cannot be read, outcomes cannot be written, or another run is at work ([*lease.BusyError]).
func (i *Importer) Import(ctx context.Context, key string) (Summary, error) {
	dir := i.Dir(key)
	info, err := i.Bucket.Stat(ctx, key)
	if err != nil {
		return Summary{}, fmt.Errorf("find the export: %w", err)
	}
	manifest, err := dir.LoadManifest(ctx)
	switch {
	case err == nil && manifest.Export.Version == info.Version && i.isUnchanged(ctx, dir, &manifest):
		if err := i.Settle(ctx, dir, &manifest); err != nil {
			return Summary{}, err
		}
		i.remakeReport(ctx, dir)
		return Summary{State: results.Finished, Already: true, Counts: manifest.Counts, Manifest: manifest}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Summary{}, err
	}

	if err := i.Fits(dir.Names); err != nil {
		return Summary{}, err
	}
	return i.withLease(ctx, dir, func(ctx context.Context, r *run) (Summary, error) {
		return r.importExport(ctx, results.Export{Key: key, Version: info.Version, Size: info.Size, Modified: info.Modified})
	})
}

// Dir returns what is written beside the export at key.
func (i *Importer) Dir(key string) results.Dir {
	return results.Dir{Bucket: i.Bucket, Names: results.Names{Export: key}}
}

// isUnchanged reports whether a finished import began with the settings that it would begin with now.
func (i *Importer) isUnchanged(ctx context.Context, dir results.Dir, m *results.Manifest) bool {
	program, err := i.program(ctx)
	return err != nil || i.beganWith(ctx, dir, m, i.settings(program)) // without the mapping nothing could be imported anyway
}

// Fits returns why the export's name is too long for what an import writes beside it, nil if it is not.
func (i *Importer) Fits(names results.Names) error {
	for _, key := range names.Longest() {
		if err := blob.FitsKey(i.Bucket, key); err != nil {
			return fmt.Errorf("its name is too long for the names of its results: %w: give the export a shorter name", err)
		}
	}
	return nil
}

// TookOver lets nothing go out for a second if a lease was taken over from a run that has not released it.
func (i *Importer) TookOver(l *lease.Lease) {
	if l.TookOver {
		i.Client.AssumeFull()
	}
}

// RunUntil returns when a run that begins now ends at the latest.
func RunUntil(ctx context.Context) time.Time {
	until := time.Now().Add(runLength)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		return deadline
	}
	return until
}

// Reserved returns how long before its end a run that begins now stops working.
func Reserved(until time.Time) time.Duration { return min(Reserve, time.Until(until)/4) }

// LastMoment returns how long before its end a run that reserves left stops writing.
func LastMoment(left time.Duration) time.Duration { return min(lastWords, left/8) }

// OwnerName returns the name of this process in leases.
func (i *Importer) OwnerName() string { return cmp.Or(i.Owner, "run-"+rand.Text()) }

// In [results.Settings]: no mapping, and a jq program by its digest.
const (
	noMapping     = "none"
	programPrefix = "sha256:"
)

// settings returns what an import that begins now would begin with.
func (i *Importer) settings(program string) results.Settings {
	s := results.Settings{
		Mapping: noMapping, Limits: i.Config.Limits, IncludeArchived: i.Config.IncludeArchived && program != "",
	}
	switch sum := sha256.Sum256([]byte(program)); {
	case program == "":
	case i.Mapping == "" && !strings.HasSuffix(i.Config.Mapping, ".jq"):
		s.Mapping = i.Config.Mapping // another release may have another text of it
	default:
		s.Mapping = programPrefix + hex.EncodeToString(sum[:])
	}
	return s
}

// beganWith reports whether a finished import began with these settings. A manifest of version 1 does not tell, but the
// import's last checkpoint may.
func (i *Importer) beganWith(ctx context.Context, dir results.Dir, m *results.Manifest, s results.Settings) bool {
	if m.Settings != (results.Settings{}) {
		return m.Settings == s
	}
	cp, err := dir.LoadImportCheckpoint(ctx, m)
	return err != nil || cp == nil || (cp.Mapping == "") == (s.Mapping == noMapping)
}

// resumes reports whether an import that is not finished resumes though it would begin with other settings now. It does,
// with the mapping that it began with, so that a record that was sent is not sent again under another name; there are two
// exceptions. One is an import that began without a mapping, and now there is one, or the other way round. The other is a built-in
// mapping of version 1: those made private channels public, and gave each group an ID, so that nothing is created twice.
func resumes(cp *results.Checkpoint, program string, now results.Settings) bool {
	isBuiltIn := now.Mapping != noMapping && !strings.HasPrefix(now.Mapping, programPrefix)
	if cp.Settings == (results.Settings{}) && cp.Mapping != "" && isBuiltIn {
		return cp.Mapping == program
	}
	return (cp.Mapping == "") == (now.Mapping == noMapping)
}

// didNothing reports whether the runs of an import so far have ended before its first record.
func didNothing(cp *results.Checkpoint) bool {
	return cp.Round == 0 && !cp.Done && cp.Next == export.Start && cp.Sent == 0 && cp.Ahead == 0 &&
		len(cp.Runs) > 0 && !cp.Runs[len(cp.Runs)-1].End.IsZero()
}

// program returns the text of the mapping for an import that begins now, empty if there is none.
func (i *Importer) program(ctx context.Context) (string, error) {
	if i.Mapping != "" || i.Config.Mapping == "" {
		return i.Mapping, nil
	}
	return mapping.Find(i.Config.Mapping, func(key string) ([]byte, error) {
		return blob.ReadAll(ctx, i.Bucket, key, mapping.MaxProgram)
	})
}

// Settle makes the progress of an import that was finished before say so: it may tell of another version
// that came and went, or of a run that died after the manifest.
func (i *Importer) Settle(ctx context.Context, dir results.Dir, m *results.Manifest) error {
	p, err := dir.LoadProgress(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if p.State == results.Running && time.Now().Before(p.Until) {
		return nil
	}
	if p.State != results.Finished || p.Export.Version != m.Export.Version {
		cp := results.Checkpoint{Export: m.Export, Counts: m.Counts, Runs: m.Runs}
		if err := dir.SaveProgress(ctx, results.Finished, "", &cp); err != nil {
			return err
		}
	}
	return m.Mark(ctx, dir)
}

func (i *Importer) show(cp *results.Checkpoint) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.progress = Progress{Export: cp.Export, Next: cp.Next, Counts: cp.Counts, Run: cp.Runs[len(cp.Runs)-1].Counts, Began: time.Now()}
}

func (i *Importer) count(s outcome.Status, next export.Position) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.progress.Counts.Add(s)
	i.progress.Run.Add(s)
	i.progress.Next = next
}
