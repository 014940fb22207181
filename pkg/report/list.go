package report

import (
	"fmt"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"

	"groupimport/pkg/results"
)

// listPage returns a page of imports.
func listPage(imports []Status, next string, o Options) *page {
	p := &page{Options: o, title: label{"Imports", "导入"}}
	p.List = "" // this is it
	body := h.P(words("There are no exports here.", "这里没有导出文件。"))
	if len(imports) > 0 {
		body = h.Table(h.Class("imports"), lines(
			h.THead(h.Tr(
				column(label{"Export", "导出文件"}), column(label{"State", "状态"}), column(label{"Imported", "已导入"}, numeric),
				column(label{"Records", "记录数"}, numeric), column(label{"Updated", "更新时间"}), column(label{"Files", "文件"}),
			)),
			h.TBody(each(imports, importRow)),
		))
	}
	var following g.Node
	if next != "" {
		following = h.P(h.A(h.Href(next), words("Next page", "下一页")))
	}
	p.add(h.Section(h.Aria("labelledby", "result"), lines(h.H1(h.ID("result"), words("Imports", "导入")), body, following)))
	return p
}

func importRow(s Status) g.Node {
	counts := list(&s.Counts)
	class, state := badgeClass(s.State, counts, s.Counts.Members.Failed),
		stateText(s.State, counts, s.Counts.Members.Failed)
	of := label{"of ", "共 "}
	if !s.isOver() {
		of = label{"processed ", "已处理 "}
	}
	if work := s.Work(); s.State == results.Running || !s.isOver() && work.Done > 0 {
		state = say("%s, %s", "%s，%s", state, foreign(fmt.Sprintf("%d%%", work.Percent())))
	}
	var why, gone, updated g.Node
	if s.State != results.Running && s.State != results.Finished {
		why = h.Div(quiet, s.why().node())
	}
	if s.Gone {
		gone = h.Div(quiet, words("the export was deleted", "导出文件已被删除"))
	}
	if !s.Updated.IsZero() {
		updated = say("%s", "%s", s.Updated).node()
	}
	all, imported := sum(counts)
	files := g.Group{}
	if s.Report != "" {
		files = append(files, h.A(h.Href(s.Report), words("report", "报告")), space)
	}
	for _, f := range s.Files {
		name := label{"results", "结果"}
		if _, kind := results.Sidecar(f.Key); kind == results.SidecarFailures {
			name = label{"dead-letter file", "失败记录文件"}
		}
		files = append(files, h.A(h.Href(f.Link), name.node()), space)
	}
	return h.Tr(
		h.Th(ofRow, h.A(h.Href(s.Link), g.El("bdi", g.Text(shown(s.Key, maxText)))), gone),
		h.Td(h.Span(h.Class("badge "+class), state.node()), why),
		number(label{"imported ", "已导入 "}, imported), number(of, all), h.Td(updated), h.Td(files),
	)
}

// number is a cell with a number. name stands before it on a narrow screen, which has no header.
func number(name label, n int64) g.Node {
	return h.Td(numeric, h.Data("en", name.EN), h.Data("zh", name.ZH), g.Text(thousands(n)))
}
