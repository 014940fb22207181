package report_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
	"groupimport/pkg/report"
	"groupimport/pkg/results"
)

// BenchmarkMillion writes the report of 1,000,000 records, of which one in notImported is rejected. It reports the size
// of the page and the largest size of the heap.
func BenchmarkMillion(b *testing.B) {
	for _, row := range []struct {
		name        string
		notImported int
	}{{"1 in 100 is rejected", 100}, {"all are rejected", 1}} {
		b.Run(row.name, func(b *testing.B) {
			line, failure := make([]byte, 0, 1024), make([]byte, 0, 1024)
			var peak uint64
			size := 0
			for b.Loop() {
				page := report.New(report.Options{})
				at := epoch
				for n := range int64(1_000_000) {
					at = at.Add(5 * time.Millisecond)
					o := outcome.Outcome{
						N: n + 1, Line: n + 1, Status: outcome.Imported, GroupID: "@TGS#2J4SZEAEL", Attempts: 1,
						MS: 40 + n%50, At: at,
					}
					if n%int64(row.notImported) == 0 {
						o.Status, o.Field, o.Rule, o.Error = outcome.Rejected, "Name", group.RuleLength,
							fmt.Sprintf("Name is %d bytes, limit 30", 31+n%60)
						failure = o.AppendRecordLine(failure[:0],
							[]byte(`{"Type":"Public","Name":"A name of a group that is too long for it","GroupId":"@TGS#2J4SZEAEL",`+
								`"Introduction":"Some words"}`))
						page.Failure(failure)
					}
					line = o.AppendLine(line[:0])
					page.Result(line)
					if n%200_000 == 0 {
						var m runtime.MemStats
						runtime.ReadMemStats(&m)
						peak = max(peak, m.HeapInuse)
					}
				}
				var html bytes.Buffer
				m := results.Manifest{Complete: true, Runs: []results.Run{run(epoch, at.Sub(epoch), 1_000_000, "", "")}}
				if err := page.Write(&html, names, &m); err != nil {
					b.Fatal(err)
				}
				size = html.Len()
			}
			b.ReportMetric(float64(size), "page-bytes")
			b.ReportMetric(float64(peak)/1e6, "heap-MB")
		})
	}
}

// BenchmarkFirstPaint measures when a browser first paints the largest page, and when it has loaded the page.
func BenchmarkFirstPaint(b *testing.B) {
	browser(b)
	page := pages(b)["wrong"]
	url := urlOf(b, page)
	tab := open(b, url, usualLook)
	const painted = `new Promise(done =>
		new PerformanceObserver(l => done(l.getEntries()[0].startTime)).observe({type: "paint", buffered: true}))`
	const loaded = `performance.getEntriesByType("navigation")[0].domComplete`
	var paint, load float64
	for b.Loop() {
		tab.do(chromedp.Navigate(url))
		paint += get(tab, chromedp.Evaluate[float64](painted, chromedp.EvalAwaitPromise))
		load += get(tab, chromedp.Evaluate[float64](loaded))
	}
	b.ReportMetric(paint/float64(b.N), "paint-ms")
	b.ReportMetric(load/float64(b.N), "load-ms")
	b.ReportMetric(float64(len(page)), "page-bytes")
}
