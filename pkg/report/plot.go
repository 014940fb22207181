package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// The plot's coordinates.
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

func (s stretch) from() int64 { return s[0].from }
func (s stretch) to() int64   { return s[len(s)-1].to }

// gaps returns the places in the middle of what is left out.
func (s *scale) gaps() []float64 {
	var at []float64
	for i := 1; i < len(s.starts); i++ {
		before := s.starts[i-1] + float64(s.stretches[i-1].to()-s.stretches[i-1].from())*s.perMS
		at = append(at, (before+s.starts[i])/2)
	}
	return at
}

// area draws the rate over time as steps. Where there is no bucket, it is 0.
func (s *scale) area(top float64) string {
	var b strings.Builder
	for i, st := range s.stretches {
		x := func(unix int64) float64 { return s.starts[i] + float64(unix-st.from())*s.perMS }
		fmt.Fprintf(&b, "M%.1f %.0f", x(st.from()), plotHeight)
		end := st.from()
		for _, p := range st {
			if p.from > end {
				fmt.Fprintf(&b, "V%.0fH%.1f", plotHeight, x(p.from))
			}
			fmt.Fprintf(&b, "V%.1fH%.1f", plotHeight*(1-min(p.rate()/top, 1)), x(p.to))
			end = p.to
		}
		fmt.Fprintf(&b, "V%.0fZ", plotHeight)
	}
	return b.String()
}

// niceTop returns a round number not below v.
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

// ratePlot draws records a second against the budget; nil if nothing was sent. The words are beside the drawing as
// HTML, so that they keep their size on a narrow screen.
func ratePlot(stretches []stretch, budget float64) g.Node {
	if len(stretches) == 0 {
		return nil
	}
	highest, all, ms := 0.0, int64(0), int64(0)
	for _, st := range stretches {
		ms += st.to() - st.from()
		for _, p := range st {
			highest = max(highest, p.rate())
			all += p.records
		}
	}
	mean := tick(math.Round(float64(all)/(float64(max(1, ms))/1000)*10) / 10)
	top := niceTop(max(highest, budget) * 1.05)
	alt := label{
		fmt.Sprintf("Records a second over time: %s on average, %s at most", mean, tick(math.Round(highest))),
		fmt.Sprintf("每秒记录数随时间变化：平均 %s，最高 %s", mean, tick(math.Round(highest))),
	}
	draw := func(class, d string) g.Node { return g.El("path", h.Class(class), g.Attr("d", d)) }
	legend := g.Group{h.Li(h.Class("fill"),
		say("records that were sent, %s a second on average", "已发送的记录，平均每秒 %s 条", foreign(mean)).node())}
	var line, gaps, pauses g.Node
	if budget > 0 {
		line = draw("budget", fmt.Sprintf("M0 %.1fH1000", plotHeight-budget/top*plotHeight))
		legend = append(legend, h.Li(h.Class("budget"),
			say("the budget: %s attempts a second", "配额：每秒 %s 次", foreign(tick(budget))).node()))
		alt.EN += "; the budget is " + tick(budget)
		alt.ZH += "；配额为 " + tick(budget)
	}
	sc := newScale(stretches)
	if n := int64(len(stretches) - 1); n > 0 {
		pauses = h.Span(quiet,
			say(plural(n, "dotted: %s pause left out", "dotted: %s pauses left out"), "虚线：省略了 %s 段停顿", n).node())
		gaps = g.Map(sc.gaps(), func(x float64) g.Node { return draw("gap", fmt.Sprintf("M%.1f 0V200", x)) })
	}
	instant := func(unix int64, layout string) g.Node {
		at := time.UnixMilli(unix).UTC()
		return h.Time(h.DateTime(at.Format(time.RFC3339)), g.Text(at.Format(layout)))
	}
	return h.Figure(h.Class("plot"), lines(
		h.FigCaption(h.H3(words("Records a second", "每秒记录数")), h.Ul(h.Class("legend"), legend)),
		h.Div(
			h.Class("drawing"),
			h.Div(h.Class("axis"), unseen, h.Span(g.Text(tick(top))), h.Span(g.Text(tick(top/2))), h.Span(g.Text("0"))),
			lines(
				h.SVG(
					drawn(alt), g.Attr("viewBox", "0 0 1000 200"), stretched,
					draw("grid", "M0 .5H1000M0 100H1000M0 199.5H1000"), draw("fill", sc.area(top)), gaps, line,
				),
				h.Div(
					h.Class("times"), instant(stretches[0].from(), "2006-01-02 15:04:05 UTC"), pauses,
					instant(stretches[len(stretches)-1].to(), "15:04:05 UTC"),
				),
			),
		),
	))
}
