package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/functions/internal/functest"
	"groupimport/pkg/emulator"
	"groupimport/pkg/scheduler"
)

// A source is a metric, of one value of one dimension.
type source struct{ namespace, metric, dimension, value string }

// documented has the metrics of AWS that alarms and dashboard use, and the dimension of each: Lambda developer guide,
// monitoring-metrics-types and urls-monitoring; SQS developer guide, sqs-available-cloudwatch-metrics; EventBridge user
// guide, eb-monitoring. Read 2026-11.
var documented = map[string]string{
	"AWS/Lambda Invocations":                     "FunctionName",
	"AWS/Lambda Errors":                          "FunctionName",
	"AWS/Lambda UrlRequestCount":                 "FunctionName",
	"AWS/Lambda Url5xxCount":                     "FunctionName",
	"AWS/SQS ApproximateNumberOfMessagesVisible": "QueueName",
	"AWS/Events FailedInvocations":               "RuleName",
	"AWS/Events InvocationsFailedToBeSentToDlq":  "RuleName",
}

// check returns an error if AWS does not document a metric, or if the template has no such resource. It checks a metric
// that an alarm or the dashboard uses, unless the program writes it.
func (tp *template) check(s source) error {
	name := s.value
	var types []string
	switch s.dimension {
	case "FunctionName":
		types = []string{"AWS::Serverless::Function"}
	case "QueueName":
		types = []string{"AWS::SQS::Queue"}
		name = strings.TrimSuffix(name, ".QueueName")
	case "RuleName":
		types = []string{"EventBridgeRule"}
	}
	if want := documented[s.namespace+" "+s.metric]; want == "" || s.dimension != want {
		return fmt.Errorf("%s %s has the dimension %q, want %q, as documented", s.namespace, s.metric, s.dimension, want)
	}
	kind, _ := tp.at("Resources", name, "Type").(string)
	if rule, ok := strings.CutPrefix(name, "ImportFunction"); ok && s.dimension == "RuleName" {
		kind, _ = tp.at("Resources", "ImportFunction", "Properties", "Events", rule, "Type").(string)
	}
	if !slices.Contains(types, kind) {
		return fmt.Errorf("%s %s is of %s, a %q", s.namespace, s.metric, name, kind)
	}
	return nil
}

// An alarm is an alarm of the template.
type alarm struct {
	name, about, statistic string
	sources                []source // whose values are added up
	low                    bool     // it fires below the threshold
	threshold              float64
	period, periods        int // seconds, and how many
	missing                string
	actions                []any
}

// alarms returns the alarms, by name.
func (tp *template) alarms() map[string]alarm {
	found := map[string]alarm{}
	for name, r := range tp.at("Resources").(map[string]any) {
		if r.(map[string]any)["Type"] != "AWS::CloudWatch::Alarm" {
			continue
		}
		p := r.(map[string]any)["Properties"].(map[string]any)
		text := func(m map[string]any, key string) string { s, _ := m[key].(string); return s }
		a := alarm{name: name, about: text(p, "AlarmDescription"), missing: text(p, "TreatMissingData")}
		a.actions, _ = p["AlarmActions"].([]any)
		a.periods = p["EvaluationPeriods"].(int)
		a.threshold, _ = strconv.ParseFloat(fmt.Sprint(p["Threshold"]), 64)
		switch op := text(p, "ComparisonOperator"); op {
		case "LessThanThreshold":
			a.low = true
		case "GreaterThanOrEqualToThreshold":
		default:
			tp.t.Errorf("%s: got the operator %s", name, op)
		}
		add := func(metric map[string]any) {
			for _, d := range metric["Dimensions"].([]any) {
				d := d.(map[string]any)
				s := source{text(metric, "Namespace"), text(metric, "MetricName"), text(d, "Name"), text(d, "Value")}
				a.sources = append(a.sources, s)
			}
		}
		if p["MetricName"] != nil {
			a.statistic, a.period = text(p, "Statistic"), p["Period"].(int)
			add(p)
		}
		list, _ := p["Metrics"].([]any)
		for _, m := range list {
			m := m.(map[string]any)
			if stat, ok := m["MetricStat"].(map[string]any); ok && m["ReturnData"] == false {
				a.statistic, a.period = text(stat, "Stat"), stat["Period"].(int)
				add(stat["Metric"].(map[string]any))
			} else if text(m, "Expression") != "SUM(METRICS())" {
				tp.t.Errorf("%s: got %v, want a sum of metrics", name, m)
			}
		}
		found[name] = a
	}
	return found
}

// readMetrics returns the values of each metric in lines of the embedded metric format: AmazonCloudWatch user guide,
// CloudWatch_Embedded_Metric_Format_Specification.
func readMetrics(t *testing.T, lines []byte) map[source][]float64 {
	t.Helper()
	all := map[source][]float64{}
	for line := range bytes.Lines(lines) {
		var e struct {
			AWS struct {
				Timestamp         int64
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct{ Name, Unit string }
				}
			} `json:"_aws"`
		}
		var values map[string]any
		if err := errors.Join(json.Unmarshal(line, &e), json.Unmarshal(line, &values)); err != nil {
			t.Fatal(err)
		}
		if len(e.AWS.CloudWatchMetrics) != 1 || e.AWS.Timestamp < 9e11 {
			t.Fatalf("got %s", line)
		}
		d := e.AWS.CloudWatchMetrics[0]
		if len(d.Dimensions) != 1 || len(d.Dimensions[0]) != 1 {
			t.Fatalf("got %s, want one dimension", line)
		}
		for _, m := range d.Metrics {
			v, ok := values[m.Name].(float64)
			if !ok || !slices.Contains([]string{"Count", "Seconds", "Bytes", "Milliseconds"}, m.Unit) {
				t.Errorf("%s has no value, or CloudWatch does not have the unit %q", m.Name, m.Unit)
			}
			dimension := d.Dimensions[0][0]
			s := source{d.Namespace, m.Name, dimension, fmt.Sprint(values[dimension])}
			all[s] = append(all[s], v)
		}
	}
	return all
}

// fires reports whether an alarm on the program's metrics fires, given their values in one period.
func (a alarm) fires(t *testing.T, values map[source][]float64) bool {
	t.Helper()
	all := values[a.sources[0]]
	switch {
	case len(a.sources) != 1:
		t.Fatalf("%s: an alarm on the program's metrics has a form that this test does not support", a.name)
	case len(all) == 0 && strings.HasPrefix(a.sources[0].metric, "Members"):
		return false // written only for imports with members
	case len(all) == 0 && a.missing == "notBreaching":
		t.Errorf("%s: the program did not write %v", a.name, a.sources[0])
		return false
	case len(all) == 0:
		return a.missing == "breaching"
	}
	value := slices.Max(all)
	if a.statistic == "Sum" {
		value = 0
		for _, v := range all {
			value += v
		}
	}
	return value >= a.threshold != a.low
}

// Each alarm on the program's metrics fires on its condition only. The metrics come from the lines that the function
// logs.
func TestTemplateAlarms_FireOnLoggedMetrics(t *testing.T) {
	const long = 15 * time.Minute
	const plain = `{"Type":"Public","Name":"n","GroupId":"g"}`
	for _, story := range []struct {
		about string
		do    func(e *environment)
		want  string // alarms
	}{
		{"a successful import in two runs", func(e *environment) {
			e.put("a.jsonl", functest.Records(4000)...)
			time.Sleep(scheduler.MissedAfter)
			e.pass(scheduler.Action{Resume: true}, 12*time.Second)
			time.Sleep(time.Minute)
			e.pass(scheduler.Action{Resume: true}, long)
			e.pass(scheduler.Action{Retry: true}, long)
		}, ""},
		{"an import takes four hours, run after run", func(e *environment) {
			e.config.Rate = 0.5
			e.put("a.jsonl", functest.Records(7200)...)
			for range 16 {
				e.pass(all, long)
			}
		}, ""},
		{"the service creates no groups", func(e *environment) {
			e.put("a.jsonl", plain)
			e.service.SetFaults(emulator.Faults{Internal: 1})
			e.pass(all, long)
		}, "RecordsFailed"},
		{"all retries fail", func(e *environment) {
			e.put("a.jsonl", plain)
			e.service.SetFaults(emulator.Faults{Internal: 1})
			for range 11 {
				e.pass(all, long)
			}
		}, "RecordsFailed RecordsGivenUp"},
		{"a member has no account", func(e *environment) {
			e.service.OnlyAccounts = true
			e.put("a.jsonl", `{"Type":"Public","Name":"n","GroupId":"g","MemberList":[{"Member_Account":"u"}]}`)
			e.pass(all, long)
		}, "MembersMissing"},
		{"the response for a record without a GroupId is lost", func(e *environment) {
			e.put("a.jsonl", `{"Type":"Public","Name":"n"}`)
			e.service.SetFaults(emulator.Faults{DropAfter: 1})
			e.pass(all, long)
		}, "RecordsUnknown"},
		{"the key is wrong", func(e *environment) {
			e.put("a.jsonl", plain)
			e.config.SecretKey = "another"
			e.pass(all, long)
		}, "ImportsStopped"},
		{"an export waits for four hours", func(e *environment) {
			e.put("a.jsonl", plain)
			time.Sleep(4 * time.Hour)
			e.pass(scheduler.Action{Resume: true, Retry: true}, long)
		}, "ImportsWaiting"},
		{"an interrupted import waits for four hours", func(e *environment) {
			e.put("a.jsonl", functest.Records(4000)...)
			e.pass(all, 12*time.Second)
			time.Sleep(4 * time.Hour)
			e.pass(scheduler.Action{Resume: true, Retry: true}, long)
		}, "ImportsWaiting"},
		{"a round of retries has been due for four hours", func(e *environment) {
			e.put("a.jsonl", plain)
			e.service.SetFaults(emulator.Faults{Internal: 1})
			e.pass(all, long)
			e.log.Reset()
			e.service.SetFaults(emulator.Faults{})
			time.Sleep(5 * time.Hour)
			e.pass(scheduler.Action{Resume: true, Retry: true}, long)
		}, "ImportsWaiting"},
		{"imports are resumed, and records are never retried", func(e *environment) {
			e.put("a.jsonl", plain)
			e.pass(scheduler.Action{Resume: true, Missed: time.Nanosecond}, long)
		}, "RetrySilent"},
		{"records are retried, and imports are never resumed", func(e *environment) {
			e.put("a.jsonl", plain)
			e.pass(scheduler.Action{Resume: true, Missed: time.Nanosecond}, long)
			runs := bytes.Clone(e.log.Bytes())
			e.log.Reset()
			e.log.Write(runs[:bytes.IndexByte(runs, '\n')+1])
			e.pass(scheduler.Action{Retry: true}, long)
		}, "ResumeSilent"},
	} {
		synctest.Test(t, func(t *testing.T) {
			tp := loadTemplate(t, nil)
			e := newEnvironment(t, tp)
			story.do(e)
			values := readMetrics(t, e.log.Bytes())
			var fired []string
			for name, a := range tp.alarms() {
				if a.sources[0].namespace == namespace && a.fires(t, values) {
					fired = append(fired, name)
				}
			}
			slices.Sort(fired)
			if got := strings.Join(fired, " "); got != story.want {
				t.Errorf("%s: got the alarms %q, want %q", story.about, got, story.want)
			}
		})
	}
}

// The other alarms use metrics that AWS documents.
func TestTemplateAlarms_UseDocumentedMetrics(t *testing.T) {
	tp := loadTemplate(t, map[string]any{"AlarmEmail": "ops@example.com"})
	for name, a := range tp.alarms() {
		if fmt.Sprint(a.actions) != "[Alarms]" || a.about == "" || a.periods != 1 {
			t.Errorf("%s: got %+v, want one period, a description, and the topic", name, a)
		}
		for _, s := range a.sources {
			if err := tp.check(s); s.namespace != namespace && err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	silent := loadTemplate(t, nil).alarms()
	if got := silent["ImportsStopped"].actions; len(got) != 0 {
		t.Errorf("got alarm actions %v without an address, want none", got)
	}
}

// Each alarm's metric and threshold. Missing data fires only the alarms on passes that must happen all the time.
func TestTemplateAlarms_CoverEachFailure(t *testing.T) {
	tp := loadTemplate(t, nil)
	rules := slices.Sorted(maps.Keys(tp.patterns("groups")))
	sources := func(namespace, metric, dimension string, values ...string) []source {
		var all []source
		for _, value := range values {
			all = append(all, source{namespace, metric, dimension, value})
		}
		return all
	}
	for i := range rules {
		rules[i] = "ImportFunction" + rules[i]
	}
	undelivered := append(sources("AWS/Events", "FailedInvocations", "RuleName", rules...),
		sources("AWS/Events", "InvocationsFailedToBeSentToDlq", "RuleName", rules...)...)
	own := func(metric string) []source { return sources("groupimport", metric, "Bucket", "groups") }
	want := map[string]alarm{
		"ImportErrors":     {sources: sources("AWS/Lambda", "Errors", "FunctionName", "ImportFunction")},
		"ScheduleErrors":   {sources: sources("AWS/Lambda", "Errors", "FunctionName", "ScheduleFunction")},
		"HttpErrors":       {sources: sources("AWS/Lambda", "Url5xxCount", "FunctionName", "HttpFunction")},
		"DeliveriesFailed": {sources: undelivered},
		"EventsFailed": {statistic: "Maximum", sources: sources(
			"AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "FailureQueue.QueueName")},
		"ResumeSilent":   {sources: own("ResumePasses"), low: true, period: 900, missing: "breaching"},
		"RetrySilent":    {sources: own("RetryPasses"), low: true, period: 900, missing: "breaching"},
		"ImportsStopped": {sources: own("StoppedImports"), statistic: "Maximum"},
		"ImportsWaiting": {sources: own("OldestDueSeconds"), statistic: "Maximum", threshold: 3 * 3600},
		"RecordsFailed":  {sources: own("Failed")},
		"RecordsUnknown": {sources: own("Unknown")},
		"MembersMissing": {sources: own("MembersMissing")},
		"RecordsGivenUp": {sources: own("GivenUp")},
	}
	got := tp.alarms()
	if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) {
		t.Fatalf("got the alarms %v, want %v", a, b)
	}
	for name, w := range want {
		w.name, w.about, w.actions, w.periods = name, got[name].about, got[name].actions, 1
		if w.statistic == "" {
			w.statistic = "Sum"
		}
		if w.threshold == 0 {
			w.threshold = 1
		}
		if w.period == 0 {
			w.period = 300
		}
		if w.missing == "" {
			w.missing = "notBreaching"
		}
		bySource := func(a, b source) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
		slices.SortFunc(w.sources, bySource)
		slices.SortFunc(got[name].sources, bySource)
		if g, w := fmt.Sprintf("%+v", got[name]), fmt.Sprintf("%+v", w); g != w {
			t.Errorf("got  %s\nwant %s", g, w)
		}
	}
}

// Lambda's Errors does not count responses of 500 and more: a function that returns a response has not failed.
func TestTemplateAlarms_ErrorsOfHTTPAreResponses(t *testing.T) {
	response, err := serveURL(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}), []byte(`{"requestContext":{"http":{"method":"GET","path":"/"}}}`))
	if err != nil || !strings.Contains(string(response), `"statusCode":503`) {
		t.Fatalf("got %s, %v, want a response and no error", response, err)
	}
	for name, a := range loadTemplate(t, nil).alarms() {
		for _, s := range a.sources {
			if s.value == "HttpFunction" && s.metric != "Url5xxCount" {
				t.Errorf("%s uses %s, want Url5xxCount", name, s.metric)
			}
		}
	}
}

// The dashboard shows only metrics that are written, and every metric that an alarm uses.
func TestTemplateDashboard_ShowsMetricsOfAlarms(t *testing.T) {
	var written map[source][]float64
	synctest.Test(t, func(t *testing.T) {
		e := newEnvironment(t, loadTemplate(t, nil))
		const withMember = `{"Type":"Public","Name":"n","GroupId":"g","MemberList":[{"Member_Account":"u"}]}`
		e.put("a.jsonl", append(functest.Records(3), withMember)...)
		e.pass(all, time.Minute)
		written = readMetrics(t, e.log.Bytes())
	})
	tp := loadTemplate(t, nil)
	var body struct {
		Widgets []struct {
			Properties struct {
				Metrics [][]any `json:"metrics"`
			} `json:"properties"`
		} `json:"widgets"`
	}
	dashboard := tp.at("Resources", "Dashboard", "Properties", "DashboardBody").(string)
	if err := json.Unmarshal([]byte(dashboard), &body); err != nil {
		t.Fatal(err)
	}
	shown := map[source]bool{}
	for _, w := range body.Widgets {
		var row [4]string // "." repeats the value of the row above
		for _, m := range w.Properties.Metrics {
			for i := range row {
				if m[i] != "." {
					row[i] = m[i].(string)
				}
			}
			s := source{row[0], row[1], row[2], strings.TrimSuffix(row[3], ".QueueName")}
			shown[s] = true
			if s.namespace == namespace && written[s] == nil {
				t.Errorf("the dashboard shows %v, which is never written", s)
			}
			if err := tp.check(s); s.namespace != namespace && err != nil {
				t.Errorf("the dashboard: %v", err)
			}
		}
	}
	for name, a := range tp.alarms() {
		for _, s := range a.sources {
			s.value = strings.TrimSuffix(s.value, ".QueueName")
			if !shown[s] {
				t.Errorf("%s uses %v, which the dashboard does not show", name, s)
			}
		}
	}
	if len(shown) < 20 {
		t.Errorf("the dashboard shows only %v", shown)
	}
}
