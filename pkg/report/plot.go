package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"groupimport/pkg/results"
)

// A plot is a figure: lines or areas over time, without words, which stand around it as HTML so that they
// keep their size on a narrow screen.
type plot struct {
	ID     string
	Title  text
	Legend []legend
	Alt    label    // what it shows, in words
	Axis   []string // of the values, from the top
	Start  time.Time
	End    time.Time
	Gaps   int64 // times in which nothing happened that are left out
	Path   []path
	Lines  []float64 // where gaps are, across
	Budget float64   // where the budget is, down; 0 if it is not shown
}

type legend struct {
	Class string
	Text  text
}

type path struct {
	Class string
	D     string
}

// The plots' coordinates.
const (
	plotWidth  = 1000.0
	plotHeight = 200.0
	gapWidth   = 14.0
)

// A scale maps times, without those in which nothing happened, to places across.
type scale struct {
	stretches []stretch
	starts    []float64 // where each begins
	perMS     float64
}

func newScale(stretches []stretch) *scale {
	s := &scale{stretches: stretches}
	var all int64
	for _, st := range stretches {
		all += st.to() - st.from()
	}
	gap := min(gapWidth, plotWidth/4/float64(max(1, len(stretches)-1)))
	s.perMS = (plotWidth - gap*float64(len(stretches)-1)) / float64(max(1, all))
	x := 0.0
	for _, st := range stretches {
		s.starts = append(s.starts, x)
		x += float64(st.to()-st.from())*s.perMS + gap
	}
	return s
}

func (s *stretch) from() int64 { return s.points[0].from }
func (s *stretch) to() int64   { return s.points[len(s.points)-1].to }

// gaps returns the places in the middle of what is left out.
func (s *scale) gaps() []float64 {
	var at []float64
	for i := 1; i < len(s.starts); i++ {
		before := s.starts[i-1] + float64(s.stretches[i-1].to()-s.stretches[i-1].from())*s.perMS
		at = append(at, (before+s.starts[i])/2)
	}
	return at
}

// steps draws value over time as steps, from the ground up and back to it if area is true. Where there is
// no bucket, the value is 0.
func (s *scale) steps(top float64, area bool, value func(*point) float64) string {
	var b strings.Builder
	for i, st := range s.stretches {
		at := func(unix int64) float64 { return s.starts[i] + float64(unix-st.from())*s.perMS }
		y := func(v float64) float64 { return plotHeight - min(v/top, 1)*plotHeight }
		open := false
		end := int64(0)
		for n := range st.points {
			p := &st.points[n]
			v := value(p)
			if v < 0 { // there is none
				open = false
				continue
			}
			switch {
			case open && p.from > end && area:
				fmt.Fprintf(&b, "V%.0fH%.1f", plotHeight, at(p.from))
			case !open && area:
				fmt.Fprintf(&b, "M%.1f %.0f", at(p.from), plotHeight)
			case !open || p.from > end:
				fmt.Fprintf(&b, "M%.1f %.1f", at(p.from), y(v))
			}
			open = true
			fmt.Fprintf(&b, "V%.1fH%.1f", y(v), at(p.to))
			end = p.to
		}
		if area && open {
			fmt.Fprintf(&b, "V%.0fZ", plotHeight)
		}
	}
	return b.String()
}

// niceTop is a round number not below v.
func niceTop(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10} {
		if f*unit >= v*0.9999 {
			return f * unit
		}
	}
	return 10 * unit
}

func tick(v float64) string {
	switch {
	case v >= 1000 || v == math.Trunc(v):
		return thousands(int64(math.Round(v)))
	case v < 10:
		return fmt.Sprintf("%.2g", v)
	default:
		return fmt.Sprintf("%.1f", v)
	}
}

func axis(top float64) []string { return []string{tick(top), tick(top / 2), "0"} }

// ratePlot draws records a second against the budget.
func ratePlot(stretches []stretch, budget float64) plot {
	sc := newScale(stretches)
	most, all, again, ms := 0.0, int64(0), int64(0), int64(0)
	for _, st := range stretches {
		ms += st.to() - st.from()
		for i := range st.points {
			most = max(most, st.points[i].rate())
			all += st.points[i].records
			again += st.points[i].again
		}
	}
	mean := float64(all) / (float64(max(1, ms)) / 1000)
	top := niceTop(max(most, budget) * 1.05)
	p := plot{
		ID: "rate", Title: say("Records a second", "每秒记录数"), Axis: axis(top), Lines: sc.gaps(),
		Path: []path{{"fill", sc.steps(top, true, (*point).rate)}},
		Legend: []legend{
			{"fill", say("records that were sent, %s a second on average", "已发送的记录，平均每秒 %s 条", foreign(tick(math.Round(mean*10)/10)))},
		},
		Alt: label{
			fmt.Sprintf("Records a second over time: %s on average, %s at most", tick(math.Round(mean*10)/10), tick(math.Round(most))),
			fmt.Sprintf("每秒记录数随时间变化：平均 %s，最高 %s", tick(math.Round(mean*10)/10), tick(math.Round(most))),
		},
	}
	if again > 0 {
		p.Path = append(p.Path, path{"again", sc.steps(top, true, func(p *point) float64 {
			return float64(p.again) / (float64(p.to-p.from) / 1000)
		})})
		p.Legend = append(p.Legend, legend{"again", say("of them took more than one attempt: %s", "其中经过多次尝试：%s", again)})
		p.Alt.EN += fmt.Sprintf("; %s records took more than one attempt", thousands(again))
		p.Alt.ZH += fmt.Sprintf("；%s 条记录经过多次尝试", thousands(again))
	}
	if budget > 0 {
		p.Budget = plotHeight - budget/top*plotHeight
		p.Legend = append(p.Legend, legend{"budget", say("the budget: %s attempts a second", "配额：每秒 %s 次", foreign(tick(budget)))})
		p.Alt.EN += "; the budget is " + tick(budget)
		p.Alt.ZH += "；配额为 " + tick(budget)
	}
	return p.over(stretches)
}

// latencyPlot draws percentiles of how long calls took.
func latencyPlot(stretches []stretch, total *results.Latencies) plot {
	sc := newScale(stretches)
	shares := []struct {
		class string
		share float64
		en    string
	}{{"p99", 0.99, "99%"}, {"p95", 0.95, "95%"}, {"p50", 0.5, "50%"}}
	most, most95 := 0.0, 0.0
	for _, st := range stretches {
		for i := range st.points {
			most = max(most, st.points[i].latency.Percentile(0.99))
			most95 = max(most95, st.points[i].latency.Percentile(0.95))
		}
	}
	// One call that got no answer for ten seconds must not press the rest to the ground.
	top := niceTop(min(most, max(4*total.Percentile(0.99), 1.5*most95)) * 1.05)
	p := plot{
		ID: "latency", Title: say("How long the service took, in milliseconds", "服务响应时间（毫秒）"), Axis: axis(top), Lines: sc.gaps(),
		Alt: label{"How long the last attempt of each record took, over time", "每条记录最后一次尝试的耗时随时间变化"},
	}
	for _, s := range shares {
		p.Path = append(p.Path, path{s.class, sc.steps(top, false, func(p *point) float64 { return p.latency.Percentile(s.share) })})
		ms := tick(math.Round(total.Percentile(s.share)))
		p.Legend = append(p.Legend, legend{s.class, say("%s of the calls took at most %s ms", "%s 的调用不超过 %s 毫秒", foreign(s.en), foreign(ms))})
		p.Alt.EN += fmt.Sprintf("; %s took at most %s ms", s.en, ms)
		p.Alt.ZH += fmt.Sprintf("；%s 不超过 %s 毫秒", s.en, ms)
	}
	if most > top {
		p.Axis[0] = "≥ " + p.Axis[0]
		p.Legend = append(p.Legend, legend{"cut", say("cut off at the top; the slowest took about %s ms", "超出部分已截去；最慢约 %s 毫秒", foreign(tick(math.Round(most))))})
	}
	return p.over(stretches)
}

// over completes a plot by the time that it is over.
func (p plot) over(stretches []stretch) plot {
	p.Start = time.UnixMilli(stretches[0].from()).UTC()
	p.End = time.UnixMilli(stretches[len(stretches)-1].to()).UTC()
	p.Gaps = int64(len(stretches) - 1)
	return p
}
