package importer

import (
	"log/slog"
	"math"
	"time"

	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

// Metrics are the metrics of one run.
type Metrics struct {
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

// LogValue returns the metrics as fields of a log line.
func (n Metrics) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Int64("imported", n.Counts.Imported), slog.Int64("exists", n.Counts.Exists),
		slog.Int64("rejected", n.Counts.Rejected), slog.Int64("failed", n.Counts.Failed),
		slog.Int64("unknown", n.Counts.Unknown), slog.Int64("skipped", n.Counts.Skipped),
		slog.Int64("given_up", n.GivenUp),
		slog.Int64("members_added", n.Counts.Members.Added), slog.Int64("members_already", n.Counts.Members.Already),
		slog.Int64("members_missing", n.MembersMissing), slog.Int64("member_records", n.Counts.MemberRecords),
		slog.Int64("attempts", n.Attempts), slog.Int("throttled", n.Throttled),
		slog.Float64("seconds", math.Round(n.Took.Seconds()*1000)/1000),
		slog.Int64("remaining_bytes", n.Remaining), slog.Float64("p50_ms", math.Round(n.P50)),
		slog.Float64("p95_ms", math.Round(n.P95)), slog.Float64("p99_ms", math.Round(n.P99)),
	)
}

// metrics returns the metrics of the run that ended with cp.
func (r *run) metrics(cp *results.Checkpoint, state results.State, reason string) Metrics {
	last := cp.Runs[len(cp.Runs)-1]
	total := cp.Total()
	work := outcome.Progress{Done: cp.Next.Done(), Size: cp.Export.Size}.Of(&total)
	return Metrics{
		Key: r.dir.Export, Round: cp.Round, State: state, Reason: reason, Counts: last.Counts,
		Attempts: last.Attempts, Throttled: last.Slowed,
		Took: time.Since(last.Start), Remaining: max(0, work.Size-work.Done),
		P50: r.latencies.Percentile(0.5), P95: r.latencies.Percentile(0.95), P99: r.latencies.Percentile(0.99),
	}
}
