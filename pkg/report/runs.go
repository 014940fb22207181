package report

import (
	"strconv"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"

	"groupimport/pkg/results"
)

// maxRuns is how many runs of an import or a round are listed: the first and the last maxRuns/2.
const maxRuns = 60

// runColumns name the cells, too, where they are below one another on a narrow screen.
var runColumns = []struct {
	label
	number bool
}{
	{label{"Run", "序号"}, true},
	{label{"Start", "开始"}, false},
	{label{"Duration", "用时"}, false},
	{label{"Records", "记录"}, true},
	{label{"Attempts", "尝试次数"}, true},
	{label{"Throttled", "触发频率限制"}, true},
	{label{"Why it ended", "结束原因"}, false},
}

// runsSection lists the runs of an import and of its rounds of retries; nil if there are none.
func runsSection(runs []results.Run, rounds []results.Round, running bool) g.Node {
	var head g.Group
	for _, c := range runColumns {
		head = append(head, column(c.label, g.If(c.number, numeric)))
	}
	number := 0
	var bodies []g.Node
	put := func(title text, runs []results.Run, running bool) {
		if len(runs) > 0 {
			bodies = append(bodies, runsBody(title, runs, running, &number))
		}
	}
	put(say("The import", "导入"), runs, running)
	for i, r := range rounds {
		put(say("Round %s of retries", "第 %s 轮重试", int64(i+1)), r.Runs, false)
	}
	if len(bodies) == 0 {
		return nil
	}
	return section("runs", words("Runs", "运行记录"), h.Table(h.Class("runs"), lines(h.THead(h.Tr(head))), lines(bodies...)))
}

// runsBody lists runs under a title. number counts the runs of all bodies.
func runsBody(title text, runs []results.Run, running bool, number *int) g.Node {
	var rows g.Group
	for i, r := range runs {
		*number++
		if len(runs) > maxRuns && i >= maxRuns/2 && i < len(runs)-maxRuns/2 {
			continue
		}
		rows = append(rows, newline, runNode(*number, &r, running && i == len(runs)-1))
	}
	var left g.Node
	if n := len(runs) - maxRuns; n > 0 {
		left = g.Group{space, h.Span(quiet, say("(%s in the middle are not listed)", "（中间 %s 次未列出）", int64(n)).node())}
	}
	columns := strconv.Itoa(len(runColumns))
	return h.TBody(
		lines(h.Tr(h.Class("group"), h.Th(h.ColSpan(columns), h.Scope("rowgroup"), title.node(), left))), rows,
	)
}

func runNode(number int, r *results.Run, running bool) g.Node {
	took, why := say("…", "…"), causeText(r.Cause, r.Code, r.Why)
	switch {
	case running:
		why = say("%s", "%s", stateLabels[results.Running])
	case r.End.IsZero():
		why = say("died; the next run resumed", "异常终止；由下一次运行继续")
	default:
		took = say("%s", "%s", r.End.Sub(r.Start))
		if r.Why == "" {
			why = say("%s", "%s", stateLabels[results.Finished])
		}
	}
	var cells g.Group
	for i, cell := range []g.Node{
		g.Text(strconv.Itoa(number)), say("%s", "%s", r.Start).node(), took.node(), g.Text(thousands(r.Counts.Records())),
		g.Text(thousands(r.Attempts)), g.Text(thousands(int64(r.Slowed))), why.node(),
	} {
		c := runColumns[i]
		cells = append(cells, h.Td(g.If(c.number, numeric), h.Data("en", c.EN), h.Data("zh", c.ZH), cell))
	}
	return h.Tr(g.If(r.Stop != "", h.Class("stop")), cells)
}
