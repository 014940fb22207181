package main

import (
	"io"
	"maps"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/importer"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// namespace is that of the metrics, whose one dimension is the bucket: the functions of a stack share both.
const namespace = "groupimport"

// metrics writes lines that CloudWatch makes metrics of, in the embedded metric format: AmazonCloudWatch
// user guide, CloudWatch_Embedded_Metric_Format_Specification.
type metrics struct {
	mu sync.Mutex
	w  io.Writer
}

// A metric is one value with its unit, as CloudWatch names it.
type metric struct {
	name, unit string
	value      float64
}

// run writes the metrics of a run.
func (m *metrics) run(n importer.Metrics) {
	var stopped float64
	if n.State == results.Stopped {
		stopped = 1
	}
	all := []metric{
		{"Imported", "Count", float64(n.Counts.Imported)},
		{"Exists", "Count", float64(n.Counts.Exists)},
		{"Rejected", "Count", float64(n.Counts.Rejected)},
		{"Failed", "Count", float64(n.Counts.Failed)},
		{"Unknown", "Count", float64(n.Counts.Unknown)},
		{"Skipped", "Count", float64(n.Counts.Skipped)},
		{"GivenUp", "Count", float64(n.GivenUp)},
		{"Attempts", "Count", float64(n.Attempts)},
		{"Throttled", "Count", float64(n.Throttled)},
		{"Stopped", "Count", stopped},
		{"RunSeconds", "Seconds", n.Took.Seconds()},
		{"RemainingBytes", "Bytes", float64(n.Remaining)},
	}
	if m := n.Counts.Members; m.Total()+n.MembersMissing > 0 { // else there are none, and each metric costs money
		all = append(
			all, metric{"MembersAdded", "Count", float64(m.Added)}, metric{"MembersAlready", "Count", float64(m.Already)},
			metric{"MembersMissing", "Count", float64(n.MembersMissing)},
		)
	}
	if n.P50 > 0 { // else no call was made, and zeros would draw the average down
		all = append(all, metric{"LatencyP50", "Milliseconds", n.P50}, metric{"LatencyP95", "Milliseconds", n.P95},
			metric{"LatencyP99", "Milliseconds", n.P99})
	}
	m.write(n.Bucket, map[string]any{"key": n.Key, "round": n.Round, "state": n.State}, all)
}

// pass writes the metrics of a scheduler pass.
func (m *metrics) pass(bucket string, a scheduler.Action, p scheduler.Result) {
	all := []metric{
		{"Imports", "Count", float64(p.Imports)},
		{"StoppedImports", "Count", float64(p.Stopped)},
		{"OldestDueSeconds", "Seconds", p.OldestDue},
	}
	if a.Resume {
		all = append(all, metric{"ResumePasses", "Count", 1})
	}
	if a.Retry {
		all = append(all, metric{"RetryPasses", "Count", 1})
	}
	m.write(bucket, nil, all)
}

// denied writes that an HTTP request had wrong credentials.
func (m *metrics) denied(bucket string) {
	m.write(bucket, nil, []metric{{"DeniedRequests", "Count", 1}})
}

// write writes one line, with more members for people who search the log.
func (m *metrics) write(bucket string, more map[string]any, all []metric) {
	type definition struct{ Name, Unit string }
	type directive struct {
		Namespace  string
		Dimensions [][]string
		Metrics    []definition
	}
	d := directive{Namespace: namespace, Dimensions: [][]string{{"Bucket"}}}
	line := map[string]any{"Bucket": bucket}
	maps.Copy(line, more)
	for _, one := range all {
		d.Metrics = append(d.Metrics, definition{one.name, one.unit})
		line[one.name] = one.value
	}
	line["_aws"] = map[string]any{"Timestamp": time.Now().UnixMilli(), "CloudWatchMetrics": []directive{d}}
	b, err := json.Marshal(line, json.Deterministic(true))
	if err != nil {
		return // maps of numbers and strings can be written
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _ = m.w.Write(append(b, '\n')) // a write error cannot be reported
}
