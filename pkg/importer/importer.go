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

	"golang.org/x/sync/semaphore"

	"groupimport/pkg/blob"
	"groupimport/pkg/config"
	"groupimport/pkg/export"
	"groupimport/pkg/group"
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

	// The working time ends Reserve before the deadline, or a quarter of the time if that is shorter: one attempt
	// that gets no answer, and then the last writes, for which writeTime remains, or half of it.
	Reserve   = tim.AttemptTimeout + writeTime
	writeTime = 5 * time.Second

	// A run without a deadline ends by itself after runLength, and another may go on. A lease outlasts
	// its run by LeaseMargin: functions have been seen to live a second beyond their deadline.
	runLength   = 15 * time.Minute
	LeaseMargin = 10 * time.Second

	// Writing ends this long before the deadline, or an eighth of what the working time leaves, so that the run
	// can still say how it ended.
	lastWords = time.Second

	// A run looks this often whether its export has been replaced or removed.
	watchEvery = 5 * time.Second

	// More runs than these are told of by the first and the latest half: an import that is stopped for weeks
	// has one an hour.
	mostRuns = 400

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

	// Mapping is the text of a jq program that takes the place of the one that the Config names.
	Mapping string

	// Owner names this process in leases, for people.
	Owner string

	// Dead says whether the holder of a lease certainly does not live any more; nil means that nobody
	// knows, and a lease is waited out.
	IsDead func(holder string) bool

	// Grace is how long an attempt under way may go on once the run is to end; see [tim.Config].
	Grace time.Duration

	// Measured is told what each run came to; nil tells nobody.
	Measured func(Numbers)

	Client *tim.Client  // not changed by the importer
	Log    *slog.Logger // nil discards

	mu       sync.Mutex
	progress Progress
}

// Policy is what the configuration says about retries.
func (i *Importer) Policy() results.RetryPolicy {
	return results.RetryPolicy{Rounds: i.Config.RetryRounds, Unknown: i.Config.RetryUnknown}
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

// A Summary is what a run came to.
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
	names := results.Names{Export: key}
	info, err := i.Bucket.Stat(ctx, key)
	if err != nil {
		return Summary{}, fmt.Errorf("find the export: %w", err)
	}
	manifest, err := results.LoadManifest(ctx, i.Bucket, names)
	switch {
	case err == nil && manifest.Export.Version == info.Version && i.isUnchanged(ctx, names, &manifest):
		if err := i.Settle(ctx, names, &manifest); err != nil {
			return Summary{}, err
		}
		i.remakeReport(ctx, names)
		return Summary{State: results.Finished, Already: true, Counts: manifest.Counts, Manifest: manifest}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Summary{}, err
	}

	if err := i.Fits(names); err != nil {
		return Summary{}, err
	}
	return i.underLease(ctx, names, func(ctx, writing context.Context, lease *lease.Lease) (Summary, error) {
		return i.importExport(ctx, writing, names, results.Export{
			Key: key, Version: info.Version, Size: info.Size, Modified: info.Modified,
		}, lease)
	})
}

// isUnchanged reports whether a finished import began with the settings that it would begin with now.
func (i *Importer) isUnchanged(ctx context.Context, names results.Names, m *results.Manifest) bool {
	program, err := i.program(ctx)
	return err != nil || i.beganWith(ctx, names, m, i.settings(program)) // without the mapping nothing could be imported anyway
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

// underLease takes the lease of an import and does some work: on records until ctx ends, and on what has
// to be written until writing ends.
func (i *Importer) underLease(ctx context.Context, names results.Names,
	work func(ctx, writing context.Context, lease *lease.Lease) (Summary, error),
) (Summary, error) {
	until := RunUntil(ctx)
	held, err := lease.Acquire(ctx, i.Bucket, names.Work(), i.OwnerName(), until.Add(LeaseMargin), i.IsDead)
	if err != nil {
		return Summary{}, err
	}
	i.TookOver(held)
	// What is written at the end must not fail because the run was interrupted. It ends a little before the
	// time: a platform kills at that very moment, and then nobody is told anything.
	left := Reserved(until)
	writing, cancel := context.WithDeadline(context.WithoutCancel(ctx), until.Add(-LastMoment(left)))
	defer cancel()
	working, stop := context.WithDeadlineCause(ctx, until.Add(-left), ErrTimeUp)
	defer stop()
	i.Client.SetGrace(min(cmp.Or(i.Grace, tim.AttemptTimeout), left-min(writeTime, left/2)))
	summary, err := work(working, writing, held)
	if errors.Is(err, lease.ErrLost) {
		return summary, err // what follows is the successor's
	}
	if releaseErr := held.Release(writing); releaseErr != nil {
		i.log().WarnContext(ctx, "the import stays taken for a while", "key", names.Export, "until", held.Until, "err", releaseErr)
	}
	return summary, err
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

func (i *Importer) OwnerName() string { return cmp.Or(i.Owner, "run-"+rand.Text()) }

// importExport does a run on an export.
func (i *Importer) importExport(ctx, writing context.Context, names results.Names, exp results.Export, lease *lease.Lease) (Summary, error) {
	last, err := results.LoadCheckpoint(writing, i.Bucket, names, lease.Number)
	if err != nil {
		return Summary{}, err
	}
	program, programErr := i.program(writing)
	settings := i.settings(program)
	if last != nil && last.Export.Version == exp.Version && didNothing(last) && programErr == nil {
		last.Mapping, last.Settings = program, settings // so another mapping may be named
	}
	m, err := results.LoadManifest(writing, i.Bucket, names)
	switch {
	case err == nil && m.Export.Version == exp.Version && (programErr != nil || i.beganWith(writing, names, &m, settings)):
		// It was finished after Import had looked.
		return Summary{State: results.Finished, Already: true, Counts: m.Counts, Manifest: m}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Summary{}, err
	}
	finish := func(cp results.Checkpoint) (results.Manifest, error) {
		return results.Finish(writing, i.Bucket, names, names, cp, i.Policy(), i.page(names))
	}
	r := &run{Importer: i, names: names, lease: lease}
	if last != nil && last.Round == 0 && last.Export.Version == exp.Version && (programErr != nil || resumes(last, program, settings)) {
		if programErr != nil || program != last.Mapping {
			i.log().WarnContext(ctx, "the import resumes with the mapping that it began with", "key", exp.Key)
		}
		cp := *last
		cp.Export.Key = exp.Key // the folder may have been opened further up or down
		if last.Next == export.Start && last.Sent == 0 {
			cp.Encoding = i.Config.Encoding // nothing was read: it was refused, and its encoding may be named now
		}
		missing := 0
		if cp.Done {
			if missing, _, err = results.MissingParts(writing, i.Bucket, names, &cp); err != nil {
				return Summary{}, err
			}
		}
		if missing == 0 {
			return i.work(ctx, writing, r, cp, finish)
		}
		i.log().WarnContext(ctx, "parts were removed before the results were written: the import begins again and takes over what is left",
			"key", exp.Key, "missing", missing)
	}
	if programErr != nil {
		return Summary{}, programErr
	}
	cp := results.Checkpoint{Export: exp, Next: export.Start, Mapping: program, Encoding: i.Config.Encoding, Settings: settings}
	if i.Config.AssignGroupIDs {
		cp.Assign = newSeed(i.BucketName, exp.Key)
	}
	archived, carry, err := results.Archive(writing, i.Bucket, names, last)
	if err != nil {
		return Summary{}, fmt.Errorf("archive the results of the earlier version: %w", err)
	}
	if carry != nil {
		i.log().InfoContext(ctx, "a new version of the export", "key", exp.Key, "version", exp.Version, "archived", archived.Results())
		i.remakeReport(writing, archived) // it names the archived files
		cp.Carry = carry
	}
	return i.work(ctx, writing, r, cp, finish)
}

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
func (i *Importer) beganWith(ctx context.Context, names results.Names, m *results.Manifest, s results.Settings) bool {
	if m.Settings != (results.Settings{}) {
		return m.Settings == s
	}
	cp, err := results.LoadImportCheckpoint(ctx, i.Bucket, names, m)
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

// work does a run from cp on. finish is called once its export is through.
func (i *Importer) work(ctx, writing context.Context, r *run, cp results.Checkpoint, finish func(results.Checkpoint) (results.Manifest, error)) (Summary, error) {
	if len(cp.Runs) > mostRuns {
		cp.Runs = append(cp.Runs[:1:1], cp.Runs[len(cp.Runs)-mostRuns/2:]...)
	}
	cp.Runs = append(cp.Runs, results.Run{Lease: r.lease.Number, Start: time.Now().UTC(), Rate: i.Config.Rate})
	var program *mapping.Program
	if cp.Mapping != "" {
		var err error
		program, err = mapping.Compile(cp.Mapping, mapping.Settings{
			Limits: i.Config.Limits, Name: mapping.BaseName(r.names.Export), IncludeArchived: cp.Settings.IncludeArchived,
		})
		if err != nil {
			return Summary{}, err
		}
	}
	ahead, err := results.LoadAhead(writing, i.Bucket, r.names, &cp)
	if err != nil {
		return Summary{}, err // before anything is written that would forget them
	}
	i.show(&cp)
	log := i.log().With("key", r.names.Export, "lease", r.lease.Number, "round", cp.Round)
	log.InfoContext(ctx, "run starts", "records_done", cp.Counts.Records(), "offset", cp.Next.Offset, "size", cp.Export.Size)
	r.exp, r.round, r.began, r.ahead, r.program = cp.Export, cp.Round, cp.Sent, ahead, program
	r.encoding = cp.Encoding
	if cp.Round > 0 || cp.Counts.Imported > 0 && cp.Carry == nil {
		i.Client.Trust()
	}
	if err := r.prepare(writing, &cp); err != nil {
		return Summary{}, err
	}
	if r.earlier != nil {
		defer r.earlier.close()
	}
	r.guard = &mapping.Guard{}
	if cp.Round == 0 && cp.Next == export.Start && len(ahead) == 0 {
		r.guard = mapping.NewGuard(cp.Mapping)
	}
	r.writer = results.NewWriter(writing, i.Bucket, r.names, r.lease, cp, i.log())
	r.room = semaphore.NewWeighted(aheadBytes)
	r.queue = make(chan *item, aheadRecords)
	attempts, slowed := i.Client.Attempts(), i.Client.Slowdowns()
	var why error
	if !cp.Done {
		why, err = r.importRecords(ctx, cp.Next)
	}
	state, reason := r.ended(why, err)
	end, closeErr := r.writer.Close(writing, r.behind, func(cp *results.Checkpoint) {
		last := &cp.Runs[len(cp.Runs)-1]
		last.End, last.Why = time.Now().UTC(), reason
		if state == results.Stopped {
			last.Stop = reason
		}
		last.Attempts, last.Slowed = i.Client.Attempts()-attempts, i.Client.Slowdowns()-slowed
		cp.Done = state == results.Finished
	})
	if closeErr != nil {
		// What could not be written is as if it had not been done.
		state, reason = results.Stopped, closeErr.Error()
		if err == nil {
			err = closeErr
		}
	}
	i.show(&end)
	summary := Summary{State: state, Reason: reason, Counts: end.Counts, Run: end.Runs[len(end.Runs)-1], Dropped: r.dropped}
	if err == nil && end.Done {
		summary.Manifest, err = finish(end)
		switch {
		case err == nil:
			summary.Counts = summary.Manifest.Counts
			results.RemoveWork(writing, i.Bucket, r.names, &end)
		case errors.Is(err, context.DeadlineExceeded) && writing.Err() != nil:
			// The next run has only this left to do.
			summary.State, summary.Reason, err = results.Waiting, "time is up while the results are written", nil
		}
	} else if !errors.Is(err, lease.ErrLost) {
		saveErr := results.SaveProgress(writing, i.Bucket, r.names, state, reason, &end)
		if saveErr == nil && end.Round == 0 { // in a round, the report of the whole import stays
			i.reportProgress(writing, r.names, state, reason, &end)
		}
		if err == nil {
			err = saveErr
		}
	}
	numbers := r.numbers(&end, state, reason)
	log.InfoContext(ctx, "run ends", "state", state, "reason", reason, "err", err, "imported", end.Counts.Imported, "exists", end.Counts.Exists,
		"rejected", end.Counts.Rejected, "failed", end.Counts.Failed, "unknown", end.Counts.Unknown, "skipped", end.Counts.Skipped, "run", numbers)
	if i.Measured != nil {
		i.Measured(numbers)
	}
	return summary, err
}

// prepare opens the outcomes of earlier versions, and counts the records that this import has done already for the
// IDs of those to come.
func (r *run) prepare(ctx context.Context, cp *results.Checkpoint) (err error) {
	if cp.Round > 0 || cp.Done {
		return nil
	}
	if cp.Carry != nil {
		if r.earlier, err = openEarlier(ctx, r.Bucket, r.names, cp.Carry, r.Config.CreateUnmatched); err != nil {
			return err
		}
		if cp.Carry.Assign != "" && cp.Carry.Assign == cp.Assign {
			r.earlier.inDoubt = 0 // they would get the same IDs again
		}
		if cp.Carry.Earlier == 0 { // at the beginning
			cp.Carry.Earlier = r.earlier.total
		}
	}
	if cp.Assign == "" {
		return nil
	}
	r.assigner = newAssigner(cp.Assign)
	if !r.assigner.byIdentity() {
		return nil
	}
	for line, err := range results.PartLines(ctx, r.Bucket, r.names, cp) {
		if err != nil {
			return err
		}
		if o, _, err := outcome.Parse(line); err == nil && o.ID != (group.Digest{}) {
			r.assigner.count(o.ID, o.N, assignedID(&o))
		}
	}
	return nil
}

// Settle makes the progress of an import that was finished before say so: it may tell of another version
// that came and went, or of a run that died after the manifest.
func (i *Importer) Settle(ctx context.Context, names results.Names, m *results.Manifest) error {
	p, err := results.LoadProgress(ctx, i.Bucket, names)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if p.State == results.Running && time.Now().Before(p.Until) {
		return nil
	}
	if p.State != results.Finished || p.Export.Version != m.Export.Version {
		cp := results.Checkpoint{Export: m.Export, Counts: m.Counts, Runs: m.Runs}
		if err := results.SaveProgress(ctx, i.Bucket, names, results.Finished, "", &cp); err != nil {
			return err
		}
	}
	return m.Mark(ctx, i.Bucket, names)
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
