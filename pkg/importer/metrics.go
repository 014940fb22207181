package importer

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"math"
	"strings"
	"time"

	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

// Metrics are the metrics of one run.
type Metrics struct {
	Bucket    string // name
	Key       string
	Round     int // of retries, 0 for the import itself
	State     results.State
	Reason    string         // why the State is not Finished
	Counts    outcome.Counts // of this run
	Attempts  int64
	Throttled int           // throttled attempts
	Took      time.Duration // duration of the run, with the time of writing the results
	Remaining int64         // bytes of the export without outcomes, or of the dead-letter file in a round
	GivenUp   int64         // records that are not retried any more, if this run finished the last round

	// MembersMissing counts the members that groups of the import lack, if this run finished the import or a round.
	// Member records have a status of their own in Counts.
	MembersMissing int64

	// P50, P95 and P99 are percentiles of the durations of calls in milliseconds, zero without calls.
	P50, P95, P99 float64
}

// A Change is a new state of an import that people may want to know.
type Change struct {
	ID      string // the same for no two changes
	Key     string
	State   results.State  // Finished, Stopped or Cancelled
	Reason  string         // why the State is not Finished
	Counts  outcome.Counts // of the whole import
	GivenUp int64          // records that are not retried any more
	Report  string         // key of the HTML report; empty if the import has not begun
	At      time.Time
}

// changed calls OnChange if the state of the import is news.
func (r *run) changed(s *Summary, cp *results.Checkpoint) {
	if r.imp.OnChange == nil {
		return
	}
	switch s.State {
	case results.Finished:
		if cp.Round > 0 && !s.Manifest.RetryAt.IsZero() {
			return // another round follows
		}
	case results.Stopped:
		if s.Run.Cause == results.CauseRemoved || r.stoppedAgain(s, cp) {
			return // an operator need not act, or an earlier Change was reported
		}
	case results.Cancelled:
	case results.Running, results.Waiting, results.Paused:
		return
	}
	r.imp.OnChange(Change{
		ID: changeID(r.dir.Export, string(s.State), s.Run.Start.String()), Key: r.dir.Export, State: s.State,
		Reason: s.Reason, Counts: s.Counts, GivenUp: s.Manifest.GivenUp, Report: r.dir.Report(), At: time.Now().UTC(),
	})
}

// stoppedAgain reports whether the import was stopped before for the same cause, and was tried again in vain.
func (r *run) stoppedAgain(s *Summary, cp *results.Checkpoint) bool {
	before := &r.before
	if before.State != results.Stopped || s.Run.Counts.Records() > 0 ||
		before.Run.Cause != s.Run.Cause || before.Run.Code != s.Run.Code {
		return false
	}
	isSameError := before.Reason == results.ProgressOf(s.State, "", s.Reason, cp).Reason
	return s.Run.Cause != results.CauseError || isSameError
}

// changeID returns the ID of a change.
func changeID(of ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// Fail calls OnChange because an import cannot begin or resume, for a reason that no run has written to its progress.
func (i *Importer) Fail(key, reason string) {
	if i.OnChange == nil {
		return
	}
	now := time.Now().UTC()
	i.OnChange(Change{
		ID: changeID(key, reason, now.String()), Key: key, State: results.Stopped, Reason: reason, At: now,
	})
}

// LogValue returns the metrics as fields of a log line.
func (n Metrics) LogValue() slog.Value {
	return slog.GroupValue(append(countAttrs(&n.Counts),
		slog.Int64("given_up", n.GivenUp),
		slog.Int64("members_added", n.Counts.Members.Added), slog.Int64("members_already", n.Counts.Members.Already),
		slog.Int64("members_missing", n.MembersMissing), slog.Int64("member_records", n.Counts.MemberRecords),
		slog.Int64("attempts", n.Attempts), slog.Int("throttled", n.Throttled),
		slog.Float64("seconds", math.Round(n.Took.Seconds()*1000)/1000),
		slog.Int64("remaining_bytes", n.Remaining), slog.Float64("p50_ms", math.Round(n.P50)),
		slog.Float64("p95_ms", math.Round(n.P95)), slog.Float64("p99_ms", math.Round(n.P99)),
	)...)
}

// countAttrs returns the count of each status as a field of a log line.
func countAttrs(c *outcome.Counts) []slog.Attr {
	var attrs []slog.Attr
	for status, n := range c.All() {
		attrs = append(attrs, slog.Int64(string(status), n))
	}
	return attrs
}

// metrics returns the metrics of the run that ended with cp.
func (r *run) metrics(cp *results.Checkpoint, state results.State, reason string) Metrics {
	last := cp.Runs[len(cp.Runs)-1]
	total := cp.Total()
	work := outcome.Progress{Done: cp.Next.Done(), Size: cp.Export.Size}.Of(&total)
	return Metrics{
		Bucket: r.imp.BucketName, Key: r.dir.Export, Round: cp.Round, State: state, Reason: reason, Counts: last.Counts,
		Attempts: last.Attempts, Throttled: last.Slowed,
		Took: time.Since(last.Start), Remaining: max(0, work.Size-work.Done),
		P50: r.latencies.percentile(0.5), P95: r.latencies.percentile(0.95), P99: r.latencies.percentile(0.99),
	}
}
