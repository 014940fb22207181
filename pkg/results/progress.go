package results

import (
	"context"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/export"
	"groupimport/pkg/outcome"
)

// A State says how an import is doing.
type State string

// The states.
const (
	Running  State = "running"  // a run is under way, if it has not died
	Waiting  State = "waiting"  // its time was up; the next run goes on
	Stopped  State = "stopped"  // the service or the store takes nothing until a person acts; see Reason
	Finished State = "finished" // the results are written
)

// progressEvery is how often a run says how it is doing, at most.
const progressEvery = 5 * time.Second

// A Progress says how an import is doing.
type Progress struct {
	State   State           `json:"state"`
	Reason  string          `json:"reason,omitzero"` // why it is stopped or waiting
	Export  Export          `json:"export"`
	Next    export.Position `json:"next"` // how far the outcomes reach; its [export.Position.Done] is of export.size
	Counts  outcome.Counts  `json:"counts"`
	Ignored int64           `json:"ignored,omitzero"` // entries so far that are no records of a group, for the mapping
	Run     Run             `json:"run"`              // the latest
	Runs    int             `json:"runs"`
	Owner   string          `json:"holder,omitzero"` // of the lease, while it is running
	Until   time.Time       `json:"until,omitzero"`  // of the lease
	Updated time.Time       `json:"updated"`

	// Again is when the schedule tries a stopped import again: ever more rarely, a minute after the first
	// stop in a row and at most an hour after a later one. Zero is at once.
	Again time.Time `json:"again,omitzero"`
}

var againWaits = backoff.Exponential{Base: time.Minute, Max: time.Hour}

// again returns when to try again after the last of runs.
func again(runs []Run) time.Time {
	stops := 0
	for i := len(runs) - 1; i >= 0 && runs[i].Stop != ""; i-- {
		stops++
	}
	if stops == 0 {
		return time.Time{}
	}
	return runs[len(runs)-1].End.Add(againWaits.Limit(stops))
}

// ProgressOf returns how the import stands that cp is about.
func ProgressOf(state State, reason string, cp *Checkpoint) Progress {
	return Progress{
		Again: again(cp.Runs), State: state, Reason: reason, Export: cp.Export, Next: cp.Next, Counts: cp.Counts, Ignored: cp.Ignored,
		Run: cp.Runs[len(cp.Runs)-1], Runs: len(cp.Runs), Updated: time.Now().UTC(),
	}
}

// Work returns how much of the export has outcomes.
func (p *Progress) Work() outcome.Progress {
	return outcome.Progress{Done: p.Next.Done(), Size: p.Export.Size}
}

// Pace returns how many records a second runs processed, and how long the rest of the export takes at that rate; zeros if
// that is unknown. A last run without an end counts up to p.Updated. Without runs, the latest one counts.
func (p *Progress) Pace(runs []Run) (rate float64, remaining time.Duration) {
	if len(runs) == 0 {
		runs = []Run{p.Run}
	}
	var worked time.Duration
	var records int64
	for i, r := range runs {
		end := r.End
		if end.IsZero() && i == len(runs)-1 {
			end = p.Updated
		}
		if end.After(r.Start) {
			worked += end.Sub(r.Start)
			records += r.Counts.Records()
		}
	}
	all := p.Counts.Records()
	if records == 0 || all == 0 {
		return 0, 0
	}
	work := p.Work()
	done := float64(work.Done) * min(1, float64(records)/float64(all)) // what these runs read
	return float64(records) / worked.Seconds(), work.Remaining(int64(done), worked)
}

// LoadProgress returns how the import is doing, as its last run wrote it.
func (d Dir) LoadProgress(ctx context.Context) (Progress, error) {
	var p Progress
	return p, readJSON(ctx, d.Bucket, d.Progress(), &p)
}

// Save writes the progress of an import that no run has begun.
func (p *Progress) Save(ctx context.Context, d Dir) error {
	return writeJSON(ctx, d.Bucket, d.Progress(), p)
}

// SaveProgress says how an import is doing that has just ended a run.
func (d Dir) SaveProgress(ctx context.Context, state State, reason string, cp *Checkpoint) error {
	return writeJSON(ctx, d.Bucket, d.Progress(), ProgressOf(state, reason, cp))
}
