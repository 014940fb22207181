package report

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"time"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// A Finding is what one check of an account saw.
type Finding struct {
	Name             string
	State            string // ok, warning or failed
	Proves, ProvesZH string
	Seen             string // as it came
	Do, DoZH         string // what to do, empty for nothing
}

// checkLabels are what pages say of the state of a check, and its style class.
var checkLabels = map[string]struct {
	label
	class string
}{
	"ok":      {label{"ok", "正常"}, "finished"},
	"warning": {label{"warning", "警告"}, "missing"},
	"failed":  {label{"failed", "失败"}, "stopped"},
}

// WriteCheck writes the page about a check of an account. where is what was checked.
func WriteCheck(w io.Writer, where string, at time.Time, findings []Finding, o Options) error {
	return checkPage(where, at, findings, o).write(w)
}

func checkPage(where string, at time.Time, findings []Finding, o Options) *page {
	counts := map[string]int64{}
	var steps []step
	for _, f := range findings {
		counts[f.State]++
		if f.State == "ok" {
			continue
		}
		class := "failed" // amber, as that of records
		if f.State == "failed" {
			class = "rejected"
		}
		steps = append(steps, step{
			class: class, title: say("%s", "%s", code(f.Name)),
			body: join("", "", say("%s.", "%s。", label{capital(f.Do), f.DoZH}), say(" (Seen: %s)", "（所见：%s）", english(f.Seen))),
		})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(b.class, a.class) }) // rejected before failed
	head, worst := label{"All checks are ok", "检查全部正常"}, "ok"
	switch {
	case counts["failed"] > 0:
		head, worst = label{"Do not import yet: checks failed", "请先不要导入：有检查失败"}, "failed"
	case counts["warning"] > 0:
		head, worst = label{"Imports can work: there are warnings", "可以导入：有警告"}, "warning"
	}
	badge := checkLabels[worst]
	p := &page{
		Options: o, title: label{"Check", "检查"}, class: badge.class, badge: say("%s", "%s", badge.label), key: where,
	}
	p.add(h.Section(h.Aria("labelledby", "result"), lines(
		h.H1(h.ID("result"), head.node()),
		h.P(h.Class("lead"), say("%s ok, %s with a warning, %s failed. Checked at %s.", "正常 %s 项，警告 %s 项，失败 %s 项。检查时间 %s。",
			counts["ok"], counts["warning"], counts["failed"], at).node()),
	)))
	if len(steps) > 0 {
		p.add(nextSection(steps))
	}
	p.add(section("checks", words("Checks", "检查项"), h.Table(h.Class("imports"), lines(
		h.THead(h.Tr(
			column(label{"Check", "检查项"}), column(label{"State", "状态"}), column(label{"Proves that", "证明"}),
			column(label{"Seen", "所见"}),
		)),
		h.TBody(each(findings, func(f Finding) g.Node {
			l := checkLabels[f.State]
			return h.Tr(
				h.Th(ofRow, codeNode(f.Name)), h.Td(h.Span(h.Class("badge "+l.class), l.node())),
				h.Td(words(f.Proves, f.ProvesZH)), h.Td(english(f.Seen).node()),
			)
		})),
	))))
	return p
}

// capital returns a sentence that begins with a capital letter. It begins with a letter of ASCII.
func capital(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
