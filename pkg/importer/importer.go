// Package importer imports one export, from its last checkpoint to the end or until time is up.
//
// One goroutine reads records and starts a call for each. Another waits for the calls in record order and writes
// their outcomes. Calls overlap; outcomes are in order. [maxAheadRecords] and [maxAheadBytes] limit the records in
// between.
//
// A run ends at the end of the export, when the working time is up, on an interrupt, when the service accepts no
// request ([tim.FatalError]), or when the service rejects too large a share. The run then starts no further call,
// waits for the calls in flight, and writes all outcomes. The next run resumes.
package importer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
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
	// Limits of the records that are read beyond the first record without an outcome. A call with retries may take half
	// a minute, in which a rate of 200 per second sends 6,000 others.
	maxAheadRecords = 6000
	maxAheadBytes   = 8 << 20
	recordCost      = 512 // memory of a record in bytes, without its text

	// Reserve is how long before the deadline work on records ends, or a quarter of the time if that is shorter. It is
	// enough for one attempt without a response and then for the last writes, which have writeTime, or half of it.
	Reserve   = tim.AttemptTimeout + writeTime
	writeTime = 5 * time.Second

	// A run without a deadline ends after runLength.
	runLength = 15 * time.Minute

	// Writing ends finalizeReserve before the deadline, or an eighth of the reserve if that is shorter, so that the run
	// can still report how it ended.
	finalizeReserve = time.Second

	// A run checks every watchEvery whether its export was replaced or removed.
	watchEvery = 5 * time.Second

	// Keep at most maxRuns entries: the first run and the most recent maxRuns/2. An import that is stopped for weeks has
	// one run per hour.
	maxRuns = 400

	// A run applies STOP_SHARE after minShareCalls calls.
	minShareCalls = 1000
)

// Reasons why a run ends before the end of the export, as causes of its context.
var (
	ErrTimeUp = errors.New("time is up")
	errUndone = errors.New("a record has no outcome")
)

// An Importer imports exports from one bucket. It may import several at the same time.
type Importer struct {
	Config config.Config
	Bucket blob.Bucket

	// BucketName is part of the seed of assigned GroupIds, see [config.Config.AssignGroupIDs].
	BucketName string

	// Folder is the local folder of Bucket, for the commands in reports. It is empty for an object store.
	Folder string

	// Address is the address of Bucket (s3://BUCKET) where the command line imports from an object store, for the
	// commands in reports. It is empty in a function: there the scheduler does what else they say.
	Address string

	// Mapping is the text of a jq program. If set, it replaces Config.Mapping.
	Mapping string

	// Owner is the name of this process in leases. A random name replaces an empty one.
	Owner string

	// IsDead reports whether a lease's owner is known to have exited. Nil means unknown: wait for the lease to expire.
	IsDead func(owner string) bool

	// DrainTimeout is how long an attempt in flight may continue after the working time; see [tim.Config].
	DrainTimeout time.Duration

	// OnRunEnd is called with the metrics of each run; it may be nil.
	OnRunEnd func(Metrics)

	// OnChange is called when an import finishes, stops or is cancelled, by the process that works on it and at most once
	// for each change. A round of retries counts when no other round follows. An import that is stopped and tried again in
	// vain counts once. OnChange must return soon. It may be nil.
	OnChange func(Change)

	Client *tim.Client
	Log    *slog.Logger // nil discards

	// Memory is shared with the other importers of the process. If it is nil, the importer has its own.
	Memory *Memory

	mu       sync.Mutex
	progress map[string]*Progress // by key
	users    userTable
}

// memory returns the Memory of the importer.
func (i *Importer) memory() *Memory {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.Memory == nil {
		i.Memory = NewMemory()
	}
	return i.Memory
}

// Work returns the part of the export that has outcomes, also of its members, see [outcome.Progress.Of].
func (p *Progress) Work() outcome.Progress {
	return outcome.Progress{Done: p.Next.Done(), Size: p.Export.Size}.Of(&p.Counts)
}

// Policy returns the retry policy of the configuration.
func (i *Importer) Policy() results.RetryPolicy {
	return results.RetryPolicy{Unknown: i.Config.RetryUnknown}
}

func (i *Importer) log() *slog.Logger {
	if i.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return i.Log
}

// A Progress is the progress of a run.
type Progress struct {
	Export results.Export
	Next   export.Position // the first record without an outcome
	Counts outcome.Counts  // of all runs
	Run    outcome.Counts  // of this run
	Began  time.Time

	Attempts int64 // of this run

	// Nil if the run has ended.
	share  *tim.Share
	writer *results.Writer
}

// maxEnded is for how many runs that have ended an Importer keeps the progress.
const maxEnded = 100

// Progress returns the progress of the run for the export at key, or of its last run. The zero Progress is that of no
// run. Progress is safe for concurrent use.
func (i *Importer) Progress(key string) Progress {
	i.mu.Lock()
	defer i.mu.Unlock()
	p := i.progress[key]
	if p == nil {
		return Progress{}
	}
	return p.now()
}

// now returns the progress at this moment.
func (p *Progress) now() Progress {
	now := *p
	if p.share != nil {
		now.Attempts = p.share.Attempts()
		now.Next, now.Counts, now.Run = p.writer.Now()
	}
	return now
}

// A Summary is the result of a run.
type Summary struct {
	State    results.State
	Reason   string // why the State is not Finished
	Already  bool   // the import was Finished before, and no run was necessary
	Counts   outcome.Counts
	Run      results.Run // zero if Already
	Manifest results.Manifest

	// Dropped counts the records of this run by fields of get_group_info that import_group does not have.
	Dropped map[string]int64
}

// Import starts or resumes the import of the export at key. Without an error, the State is Finished, or Waiting or
// Stopped if another run will resume. A rejected record is an outcome, not an error.
//
// The error is not nil if another run would fail in the same way: the export is missing ([fs.ErrNotExist]), was
// replaced during the run ([blob.ErrChanged]) or cannot be read, outcomes cannot be written, or another run has the
// lease ([*lease.BusyError]).
func (i *Importer) Import(ctx context.Context, key string) (Summary, error) {
	dir := i.Dir(key)
	start, err := i.open(ctx, dir)
	if err != nil {
		return Summary{}, err
	}
	if start.isNew != nil {
		defer func() { _, _ = start.isNew() }() // it only must not outlive the import
	}
	if !start.work.IsEmpty { // otherwise the owner of lease 1 runs first
		manifest, err := dir.LoadManifest(ctx)
		switch {
		case err == nil && manifest.Export.Version == start.exp.Version && i.isUnchanged(ctx, dir, &manifest):
			if err := i.completeFinished(ctx, dir, &manifest); err != nil {
				return Summary{}, err
			}
			return Summary{State: results.Finished, Already: true, Counts: manifest.Counts, Manifest: manifest}, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return Summary{}, err
		}
	}
	if err := dir.Fits(); err != nil {
		return Summary{}, err
	}
	control, obeyed, err := i.control(ctx, dir, &start)
	if err != nil || obeyed != nil {
		return summaryOfControl(obeyed), err
	}
	return i.withLease(ctx, dir, start.work, func(ctx context.Context, r *run) (Summary, error) {
		r.control, r.found = control, infoOf(&start.exp)
		return r.importExport(ctx, start)
	})
}

// completeFinished writes the missing objects of a finished import. It does not look up the mark if the progress is
// correct: the scheduler needs the mark and writes it.
func (i *Importer) completeFinished(ctx context.Context, dir results.Dir, m *results.Manifest) error {
	p, err := i.saveFinished(ctx, dir, m)
	if err == nil && !p.isRunning() && !p.isOf(m) {
		err = m.Mark(ctx, dir)
	}
	if err == nil {
		i.remakeReport(ctx, dir)
	}
	return err
}

// Dir returns the objects beside the export at key.
func (i *Importer) Dir(key string) results.Dir {
	return results.Dir{Bucket: i.Bucket, Names: results.Names{Export: key}, Memory: i.memory().writing, Log: i.Log}
}

// isUnchanged reports whether a finished import has the settings of an import that starts now.
func (i *Importer) isUnchanged(ctx context.Context, dir results.Dir, m *results.Manifest) bool {
	if i.detects() && m.Settings != (results.Settings{}) && !strings.HasPrefix(m.Settings.Mapping, results.ProgramPrefix) {
		users, err := i.loadUsers(ctx)
		s := i.settings("", users)
		s.Mapping = m.Settings.Mapping // what was detected in the same export
		s.IncludeArchived = i.Config.IncludeArchived && s.Mapping != results.NoMapping
		return err != nil || m.Settings == s
	}
	_, settings, err := i.current(ctx, m.Export, nil)
	return err != nil || i.hasSettings(ctx, dir, m, settings) // no import can start without its mapping and users
}

// Hold renews a lease until stop is called. Calls with the context are sent only while the lease is valid, see
// [tim.WithGate], and the context ends when the lease is lost. Hold pauses the client for one second if l was taken
// over from a run that has not released it.
func (i *Importer) Hold(ctx context.Context, l *lease.Lease) (held context.Context, stop func()) {
	if l.TookOver {
		i.Client.AssumeFull()
	}
	held, stop = l.Keep(ctx)
	return Gated(held, l), stop
}

// Gated returns a context for calls that are sent only while a lease is valid, see [tim.WithGate].
func Gated(ctx context.Context, l *lease.Lease) context.Context { return tim.WithGate(ctx, l.Valid) }

// RunUntil returns the latest end of a run that starts now.
func RunUntil(ctx context.Context) time.Time {
	until := time.Now().Add(runLength)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		return deadline
	}
	return until
}

// Reserved returns how long before until a run that starts now ends its working time.
func Reserved(until time.Time) time.Duration { return min(Reserve, time.Until(until)/4) }

// FinalizeReserve returns how long before its end a run stops writing. reserve is the result of [Reserved].
func FinalizeReserve(reserve time.Duration) time.Duration { return min(finalizeReserve, reserve/8) }

// OwnerName returns the name of this process in leases.
func (i *Importer) OwnerName() string { return cmp.Or(i.Owner, "run-"+rand.Text()) }

// current returns the text of the mapping and the settings of an import of exp that starts now. head is the export, or
// nil if it was not read yet.
func (i *Importer) current(
	ctx context.Context, exp results.Export, head []byte,
) (program string, s results.Settings, err error) {
	if program, err = i.program(ctx, exp, head); err != nil {
		return "", i.settings("", nil), err
	}
	users, err := i.loadUsers(ctx)
	return program, i.settings(program, users), err
}

// settings returns the settings of an import that starts now.
func (i *Importer) settings(program string, users *mapping.Users) results.Settings {
	s := results.Settings{
		Mapping: results.NoMapping, Limits: i.Config.Limits, IncludeArchived: i.Config.IncludeArchived && program != "",
		Records: i.Config.Records, TimeZone: i.Config.TimeZone,
	}
	if users != nil {
		s.Users = i.usersSetting(users)
	}
	switch sum := sha256.Sum256([]byte(program)); {
	case program == "":
	case i.detects():
		s.Mapping = mapping.NameOf(program)
	case i.Mapping == "" && !strings.HasSuffix(i.Config.Mapping, ".jq"):
		s.Mapping = i.Config.Mapping // the name: another release may have another text
	default:
		s.Mapping = results.ProgramPrefix + hex.EncodeToString(sum[:])
	}
	return s
}

// hasSettings reports whether a finished import has these settings. A manifest of version 1 has none; the import's
// last checkpoint may say whether there was a mapping.
func (i *Importer) hasSettings(ctx context.Context, dir results.Dir, m *results.Manifest, s results.Settings) bool {
	if m.Settings != (results.Settings{}) {
		return m.Settings == s
	}
	cp, err := dir.LoadImportCheckpoint(ctx, m)
	return err != nil || cp == nil || (cp.Mapping == "") == (s.Mapping == results.NoMapping)
}

// resumes reports whether an unfinished import resumes with its own mapping, although the settings have changed. It
// does, so that a record that was sent is not sent again under another ID. There are two exceptions:
//
//   - A mapping, or a table of users, was added or removed.
//   - The mapping is a built-in one of version 1, which made private channels public. It gave each group an ID, so no
//     group is created twice.
func resumes(cp *results.Checkpoint, program string, now results.Settings) bool {
	isBuiltIn := now.Mapping != results.NoMapping && !strings.HasPrefix(now.Mapping, results.ProgramPrefix)
	if cp.Settings == (results.Settings{}) && cp.Mapping != "" && isBuiltIn {
		return cp.Mapping == program
	}
	return (cp.Mapping == "") == (now.Mapping == results.NoMapping) && (cp.Settings.Users == "") == (now.Users == "")
}

// didNothing reports whether the runs of an import so far ended before the first record.
func didNothing(cp *results.Checkpoint) bool {
	return cp.Round == 0 && !cp.Done && cp.Next == export.Start && cp.Sent == 0 && cp.Ahead == 0 &&
		len(cp.Runs) > 0 && !cp.Runs[len(cp.Runs)-1].End.IsZero()
}

// detects reports whether the first records of an export decide which mapping it needs.
func (i *Importer) detects() bool { return i.Mapping == "" && i.Config.Mapping == mapping.Auto }

// program returns the text of the mapping for an import of exp that starts now, or "" without a mapping. head is the
// export, or nil if it was not read yet.
func (i *Importer) program(ctx context.Context, exp results.Export, head []byte) (string, error) {
	switch {
	case i.Mapping != "" || i.Config.Mapping == "":
		return i.Mapping, nil
	case i.detects():
		return i.detect(ctx, exp, head)
	}
	return mapping.Find(i.Config.Mapping, func(key string) ([]byte, error) {
		return blob.ReadAll(ctx, i.Bucket, key, mapping.MaxProgram)
	})
}

// detect returns the text of the built-in mapping that an export needs, or "" if it needs none.
func (i *Importer) detect(ctx context.Context, exp results.Export, head []byte) (string, error) {
	src := i.source(ctx, exp, head)
	src.Encoding = i.Config.Encoding
	var err error
	if src.Records, err = export.ParsePath(i.Config.Records); err != nil {
		return "", err
	}
	name, err := mapping.DetectExport(ctx, src)
	if err != nil {
		return "", fmt.Errorf("detect the mapping: %w", err)
	}
	text, _ := mapping.Builtin(name)
	return text, nil
}

// source returns an export to read. head is the export, or nil if it was not read yet.
func (i *Importer) source(ctx context.Context, exp results.Export, head []byte) export.Source {
	return export.Source{Name: exp.Key, Size: exp.Size, Open: func(offset int64) io.ReadCloser {
		if head != nil && offset >= 0 && offset <= int64(len(head)) {
			return io.NopCloser(bytes.NewReader(head[offset:]))
		}
		return blob.NewReader(ctx, i.Bucket, exp.Key, exp.Version, offset, exp.Size)
	}}
}

// MarkFinished writes the progress and the mark of a finished import, if they are missing or of another version: a
// run may have died after the manifest, or another version of the export may have existed for a while.
func (i *Importer) MarkFinished(ctx context.Context, dir results.Dir, m *results.Manifest) error {
	p, err := i.saveFinished(ctx, dir, m)
	if err != nil || p.isRunning() {
		return err
	}
	return m.Mark(ctx, dir)
}

// A before is the progress of a finished import before it was made to say so.
type before struct{ results.Progress }

// isRunning reports whether a run is in progress.
func (p *before) isRunning() bool { return p.State == results.Running && time.Now().Before(p.Until) }

// isOf reports whether the progress says that the import of the manifest is finished.
func (p *before) isOf(m *results.Manifest) bool {
	return p.State == results.Finished && p.Export.Version == m.Export.Version
}

// saveFinished writes the progress of a finished import, unless it is correct or a run is in progress.
func (i *Importer) saveFinished(ctx context.Context, dir results.Dir, m *results.Manifest) (p before, err error) {
	p.Progress, err = dir.LoadProgress(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || p.isRunning() || p.isOf(m) {
		return p, err
	}
	cp := results.Checkpoint{Export: m.Export, Counts: m.Counts, Runs: m.Runs}
	return p, dir.SaveProgress(ctx, results.Finished, "", "", &cp)
}

// begin begins the progress of a run.
func (i *Importer) begin(key string, exp results.Export, share *tim.Share, writer *results.Writer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	ended := 0
	for _, p := range i.progress {
		if p.share == nil {
			ended++
		}
	}
	if ended >= maxEnded {
		maps.DeleteFunc(i.progress, func(_ string, p *Progress) bool { return p.share == nil })
	}
	if i.progress == nil {
		i.progress = map[string]*Progress{}
	}
	i.progress[key] = &Progress{Export: exp, Began: time.Now(), share: share, writer: writer}
}

// end ends the progress of a run.
func (i *Importer) end(key string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	last := i.progress[key].now()
	last.share, last.writer = nil, nil
	i.progress[key] = &last
}
