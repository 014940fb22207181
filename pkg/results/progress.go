package results

import (
	"context"
	"errors"
	"fmt"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/export"
	"groupimport/pkg/outcome"
)

// A State is the state of an import.
type State string

// The states.
const (
	Running  State = "running"  // a run is in progress, unless it died
	Waiting  State = "waiting"  // the next run starts or resumes the import
	Stopped  State = "stopped"  // an operator must act; see Reason
	Finished State = "finished" // the results are written

	Paused    State = "paused"    // an operator paused the import, see [Control]
	Cancelled State = "cancelled" // an operator cancelled the import; the results so far are written
)

// progressEvery is the shortest time between two writes of the progress during a run.
const progressEvery = 5 * time.Second

// refreshEvery is the longest time between two writes of the progress after the first.
const refreshEvery = 20 * time.Second

// A Progress is the progress of an import, for readers that need no checkpoint.
type Progress struct {
	State   State           `json:"state"`
	Reason  string          `json:"reason,omitzero"` // why the import is stopped or waiting
	Cause   Cause           `json:"cause,omitzero"`  // Reason, for programs; empty in older progress, see Why
	Export  Export          `json:"export"`
	Next    export.Position `json:"next"` // the first record without an outcome
	Counts  outcome.Counts  `json:"counts"`
	Ignored int64           `json:"ignored,omitzero"` // entries so far that are no records of a group, for the mapping
	Run     Run             `json:"run"`              // the latest
	Runs    int             `json:"runs"`
	Owner   string          `json:"holder,omitzero"` // of the lease, while the state is Running
	Until   time.Time       `json:"until,omitzero"`  // of the lease
	Updated time.Time       `json:"updated"`

	// Died counts the consecutive runs, with the one in progress, that ended unexpectedly before their first outcome. A
	// run raises it when it starts.
	Died int `json:"died,omitzero"`

	// Again is the earliest next run of a stopped import: one minute after the first of consecutive stops, doubled with
	// each stop, at most an hour. Zero is now.
	Again time.Time `json:"again,omitzero"`
}

var againWaits = backoff.Exponential{Base: time.Minute, Max: time.Hour}

// again returns the earliest time of the run after the last of runs.
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

// ProgressOf returns the progress of the import at checkpoint cp.
func ProgressOf(state State, cause Cause, reason string, cp *Checkpoint) Progress {
	return Progress{
		Again: again(cp.Runs), State: state, Reason: clipReason(reason), Cause: cause,
		Export: cp.Export, Next: cp.Next, Counts: cp.Total(), Ignored: cp.Ignored,
		Run: cp.Runs[len(cp.Runs)-1], Runs: len(cp.Runs), Updated: time.Now().UTC(),
	}
}

// Why returns why the import is not running, and the service's code for [CauseService]. The cause is empty if it is not
// known. Progress without a Cause, which earlier versions wrote, has that of its run if it has the reason of its run.
func (p *Progress) Why() (Cause, int) {
	cause := p.Cause
	switch {
	case CauseOf(p.State) != "":
		return CauseOf(p.State), 0
	case cause == "" && p.Reason == p.Run.Why:
		cause = p.Run.Cause
	}
	if cause == p.Run.Cause {
		return cause, p.Run.Code
	}
	return cause, 0
}

// Work returns how much of the export has outcomes, also of its members, see [outcome.Progress.Of].
func (p *Progress) Work() outcome.Progress {
	return outcome.Progress{Done: p.Next.Done(), Size: p.Export.Size}.Of(&p.Counts)
}

// Pace returns the records per second of runs, and the estimated time for the rest of the export. Both are zero if
// unknown. A last run without an end counts up to p.Updated. Without runs, Pace uses the latest run.
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

// LoadProgress returns the progress that the last run wrote.
func (d Dir) LoadProgress(ctx context.Context) (Progress, error) {
	var p Progress
	err := readJSON(ctx, d.Bucket, d.Progress(), &p, func() error { return p.check() })
	if errors.Is(err, ErrUnusable) {
		return Progress{}, fmt.Errorf("the progress %w: remove it, the next run writes it again", err)
	}
	return p, err
}

// Save writes the progress of an import without a run.
func (p *Progress) Save(ctx context.Context, d Dir) error {
	return writeJSON(ctx, d.Bucket, d.Progress(), p)
}

// SaveProgress writes the progress of an import at the end of a run.
func (d Dir) SaveProgress(
	ctx context.Context, state State, cause Cause, reason string, cp *Checkpoint,
) error {
	return writeJSON(ctx, d.Bucket, d.Progress(), ProgressOf(state, cause, reason, cp))
}
