package results

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unicode"

	"groupimport/pkg/blob"
	"groupimport/pkg/export"
)

// An Action is what an operator asks of one import.
type Action string

// The actions.
const (
	Pause  Action = "pause"  // send nothing until Resume
	Resume Action = "resume" // removes the control object
	Cancel Action = "cancel" // end the import with the outcomes so far, until Resume or until the export is dropped again
)

// Errors of [Dir.Control].
var (
	ErrFinished  = errors.New("the import is finished: there is nothing to pause, resume or cancel")
	ErrNotPaused = errors.New("the import is neither paused nor cancelled")
)

const (
	maxWho = 200 // bytes of Control.Who

	// maxControlPeek is the most, in bytes, that [Dir.Control] reads of an export to learn its version.
	maxControlPeek = 16 << 20
)

// A Control is the content of the control object of an import: it is paused or cancelled. Without the object it is
// neither. The object is in the work folder, so that every process that works on the import sees it.
type Control struct {
	Action Action    `json:"action"` // Pause or Cancel
	Who    string    `json:"who"`    // at most maxWho bytes
	When   time.Time `json:"when"`

	// Export is the version that the action is about. Cancel ends with another version, or once the same is dropped
	// again. Pause does not.
	Export Export `json:"export"`
}

// State returns the state of an import that has obeyed.
func (c *Control) State() State {
	if c.Action == Cancel {
		return Cancelled
	}
	return Paused
}

// Cause returns the cause of the state.
func (c *Control) Cause() Cause { return CauseOf(c.State()) }

// CauseOf returns the cause of the states Paused and Cancelled, else "".
func CauseOf(s State) Cause {
	switch s {
	case Paused:
		return CausePaused
	case Cancelled:
		return CauseCancelled
	case Running, Waiting, Stopped, Finished:
	}
	return ""
}

// Reason says who paused or cancelled the import, and when.
func (c *Control) Reason() string {
	return fmt.Sprintf("%s by %s at %s", c.State(), c.Who, c.When.UTC().Format(time.RFC3339))
}

// Applies reports whether the control is about an export with this info. The zero info is that of a removed export.
func (c *Control) Applies(info blob.Info) bool {
	return c.Action == Pause || info.Key == "" || c.Export.isSame(info)
}

// isSame reports whether info is of the same version, written at the same time. The time of an object in a list may
// have another precision than in the response to a request for that object.
func (e *Export) isSame(info blob.Info) bool {
	if e.Version != "" && info.Version != "" && e.Version != info.Version {
		return false
	}
	return e.Size == info.Size && e.Modified.Truncate(time.Second).Equal(info.Modified.Truncate(time.Second))
}

// ControlKey is the key of the control object.
func (n Names) ControlKey() string { return n.Work() + controlName }

const controlName = "control"

// LoadControl returns the control object of the import if it is about an export with this info, else nil.
func (d Dir) LoadControl(ctx context.Context, info blob.Info) (*Control, error) {
	var c Control
	err := readJSON(ctx, d.Bucket, d.ControlKey(), &c, func() error { return c.check() })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // most imports have no control object
	case errors.Is(err, ErrUnusable):
		return nil, fmt.Errorf("the control object %w: remove it to resume the import", err)
	case err != nil:
		return nil, err
	case !c.Applies(info):
		return nil, nil // it is about an earlier version
	}
	return &c, nil
}

func (c *Control) check() error {
	x := &checker{}
	x.that(c.Action == Pause || c.Action == Cancel, "the action %q is unknown", clipReason(string(c.Action)))
	x.that(len(c.Who) <= maxWho, "the name of who did it has %d bytes, limit %d", len(c.Who), maxWho)
	x.time(c.When)
	x.export(&c.Export)
	return x.err
}

// Control pauses, resumes or cancels the import for who, and returns its state now.
//
// A run in progress obeys within some seconds; until then the state is Running. Other imports are paused at once. An
// import without a run in progress is cancelled at once if it has no outcome, else by the next run, which only writes
// the results so far. A resumed import waits for the next run. A finished import with another round of retries to come
// keeps its results: its rounds are paused or cancelled.
//
// The error is [ErrFinished], or [ErrNotPaused] with Resume. It wraps [fs.ErrNotExist] if there is no export.
func (d Dir) Control(ctx context.Context, a Action, who string) (State, error) {
	info, err := blob.Peek(ctx, d.Bucket, d.Export, maxControlPeek)
	if err != nil {
		return "", fmt.Errorf("find the export: %w", err)
	}
	exp := Export{Key: d.Export, Version: info.Version, Size: info.Size, Modified: info.Modified}
	p, err := d.LoadProgress(ctx)
	hasProgress := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	isFinished, hasRound := false, false
	if p.State == Finished && hasProgress {
		if isFinished, hasRound, err = d.finishedNow(ctx, &p, info); err != nil {
			return "", err
		}
		hasProgress = isFinished // else it is of an earlier version
	}
	if !hasProgress {
		p = Progress{State: Waiting, Next: export.Start, Export: exp}
	}
	old, err := d.LoadControl(ctx, info)
	if err != nil && !errors.Is(err, ErrUnusable) {
		return "", err
	}
	if isFinished && !hasRound && old == nil {
		return Finished, ErrFinished
	}
	isRunning := p.State == Running && time.Now().Before(p.Until)
	c := Control{Action: a, Who: cleanWho(who), When: time.Now().UTC().Truncate(time.Second), Export: exp}
	if a == Resume {
		if old == nil && err == nil && p.State != Paused && p.State != Cancelled {
			return p.State, ErrNotPaused
		}
		if err := d.Bucket.Delete(ctx, d.ControlKey()); err != nil {
			return "", fmt.Errorf("remove %q: %w", d.ControlKey(), err)
		}
		if isFinished {
			return Finished, nil
		}
		p.State, p.Cause = Waiting, CauseResumed
		p.Reason = fmt.Sprintf("resumed by %s at %s", c.Who, c.When.Format(time.RFC3339))
	} else {
		if err := writeJSON(ctx, d.Bucket, d.ControlKey(), c); err != nil {
			return "", err
		}
		if isFinished { // the progress stays: the control object is enough for the next round
			return c.State(), nil
		}
		p.State, p.Cause, p.Reason = c.State(), c.Cause(), c.Reason()
		_, kind := Sidecar(p.Export.Key)
		if a == Cancel && p.Counts.Records() > 0 && kind != SidecarFailures {
			p.State, p.Reason = Waiting, p.Reason+"; the next run writes the results so far"
		}
	}
	if isRunning {
		return Running, nil
	}
	p.Again, p.Updated = time.Time{}, time.Now().UTC()
	return p.State, p.Save(ctx, d)
}

// finishedNow reports whether the finished import whose progress is p is about an export with this info, and whether
// it has another round of retries to come.
func (d Dir) finishedNow(ctx context.Context, p *Progress, info blob.Info) (isFinished, hasRound bool, err error) {
	exp := p.Export
	m, err := d.LoadManifest(ctx)
	switch {
	case err == nil: // after a round of retries, the progress is about the dead-letter file
		exp = m.Export
	case !errors.Is(err, fs.ErrNotExist):
		return false, false, err
	}
	same, _ := exp.Is(info)
	return same && (exp.Version == info.Version || info.Version == ""), !m.RetryAt.IsZero(), nil
}

// cleanWho returns the name of a person without control characters, clipped.
func cleanWho(who string) string {
	who = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(who, ""))
	if len(who) > maxWho {
		who = strings.ToValidUTF8(who[:maxWho], "")
	}
	return cmp.Or(who, "somebody")
}
