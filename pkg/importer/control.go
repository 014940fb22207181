package importer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/report"
	"groupimport/pkg/results"
)

// controlEvery is how often a run looks whether an operator has paused or cancelled its import, first after
// controlEvery: a run that is shorter costs no request. With the attempts in flight, the run obeys within 5 s.
const controlEvery = 3 * time.Second

// control returns the control of an import that is to obey it. The progress is not nil if the import has obeyed it: no
// run is necessary.
func (i *Importer) control(
	ctx context.Context, dir results.Dir, s *start,
) (control *results.Control, obeyed *results.Progress, err error) {
	if s.work.IsEmpty {
		return nil, nil, nil // the control object would be in the work folder
	}
	control, err = dir.LoadControl(ctx, infoOf(&s.exp))
	if control == nil || err != nil {
		return nil, nil, err
	}
	p, err := dir.LoadProgress(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		p, err = results.Progress{}, nil
	}
	if err != nil || p.State != control.State() {
		return control, nil, err
	}
	return control, &p, nil
}

func infoOf(e *results.Export) blob.Info {
	return blob.Info{Key: e.Key, Version: e.Version, Size: e.Size, Modified: e.Modified}
}

// summaryOfControl returns the summary of an import that is paused or cancelled.
func summaryOfControl(p *results.Progress) Summary {
	if p == nil {
		return Summary{}
	}
	return Summary{State: p.State, Reason: p.Reason, Counts: p.Counts}
}

// watchControl ends the run if an operator pauses or cancels its import. It ignores errors of the store and reads the
// control object again at the next tick.
func (r *run) watchControl(ctx context.Context, done <-chan struct{}) {
	tick := time.NewTicker(controlEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if c, err := r.controlNow(ctx); err == nil && c != nil {
				r.log().InfoContext(ctx, "pause or cancel requested", "action", c.Action, "who", c.Who, "when", c.When)
				r.stop(&controlError{c})
				return
			}
		case <-ctx.Done():
			return
		case <-done:
			return
		}
	}
}

// controlNow returns the control of the run's import. In a round of retries it is about the export, which may be gone.
func (r *run) controlNow(ctx context.Context) (*results.Control, error) {
	info := r.found
	if r.round > 0 {
		stat, err := blob.Peek(ctx, r.imp.Bucket, r.dir.Export, 0)
		if err != nil {
			return nil, err
		}
		info = stat
	}
	dir := r.dir
	dir.Bucket = r.imp.Bucket
	return dir.LoadControl(ctx, info)
}

// finishPart writes the results of a cancelled import, and returns the builder of their report, nil without results.
// It sets the counts of end to the counts of the results, which include the out-of-order outcomes. If finishPart fails,
// the import waits and the next run writes the results.
func (r *run) finishPart(end *ending) (builder *report.Builder) {
	if end.cp.Counts.Records() > 0 {
		builder = report.New(r.imp.options())
		counts, err := r.dir.FinishPart(r.writing, r.lease, end.cp, builder)
		if err != nil {
			end.state, end.reason = results.Waiting, end.reason+"; the results so far could not be written: "+err.Error()
			return nil
		}
		end.cp.Counts, end.cp.Members = counts, nil
	}
	p := results.Progress{Next: end.cp.Next, Export: end.cp.Export}
	work := p.Work()
	end.reason += fmt.Sprintf("; %d records have outcomes, %d of %d bytes of the export were not read",
		end.cp.Counts.Records(), max(0, work.Size-work.Done), work.Size)
	return builder
}

// A controlError is the cause of the end of a run whose import is paused or cancelled.
type controlError struct{ *results.Control }

func (e *controlError) Error() string { return e.Reason() }
