package report

import (
	"fmt"
	"io"
	"strconv"
	"time"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// document is the page. Text from elsewhere stands in it by g.Text and in values of attributes, which escape it; g.Raw
// is for our own style and script. It is no template: those call methods by name, so that the linker keeps all methods
// of all types, and a function of AWS Lambda is a quarter larger.
func (v *view) document() g.Node {
	return h.Doctype(g.Group{newline, h.HTML(
		h.Lang("en"), g.If(v.Refresh > 0, h.Data("refresh", strconv.Itoa(v.Refresh))),
		lines(
			h.Head(lines(
				h.Meta(h.Charset("utf-8")),
				h.Meta(g.Attr("http-equiv", "Content-Security-Policy"), h.Content(policy())),
				h.Meta(h.Name("viewport"), h.Content("width=device-width, initial-scale=1")),
				h.Meta(h.Name("color-scheme"), h.Content("light dark")),
				h.Meta(h.Name("referrer"), h.Content("no-referrer")),
				h.TitleEl(h.Data("zh", v.Title.ZH), g.Text(v.Title.EN)),
				h.StyleEl(g.Raw(pageCSS)),
			)),
			h.Body(lines(
				h.A(h.Class("skip"), h.Href("#main"), words("Skip to the result", "跳到结果")),
				v.header(),
				h.Main(h.ID("main"), h.TabIndex("-1"), lines(
					v.resultSection(), v.nextSection(), v.wrongSection(), v.howSection(), v.runsSection(), v.recordsSection(), v.filesSection(),
				)),
				h.Footer(h.P(
					quiet, g.Text("groupimport. "),
					words("Times are UTC; point at one to see yours. This page loads nothing from anywhere.", "时间均为 UTC，指向时间可查看本地时间。本页不加载任何外部内容。"),
				)),
				h.Script(g.Raw(pageJS)),
			)),
		),
	)})
}

// node is the text in both languages, one of which is shown.
func (t text) node() g.Node {
	return g.Group{h.Span(h.Class("e"), h.Lang("en"), t.EN), h.Span(h.Class("z"), h.Lang("zh-CN"), t.ZH)}
}

func (l label) node() g.Node { return words(l.EN, l.ZH) }

func words(en, zh string) g.Node { return text{g.Group{g.Text(en)}, g.Group{g.Text(zh)}}.node() }

// lines puts each node on a line of its own.
func lines(nodes ...g.Node) g.Group {
	var all g.Group
	for _, n := range nodes {
		if n != nil {
			all = append(all, newline, n)
		}
	}
	return all
}

// each makes a node of each item when it is written, on a line of its own: the nodes of a long table are not all held
// at once.
func each[T any](items []T, node func(T) g.Node) g.Node {
	return g.NodeFunc(func(w io.Writer) error {
		for _, item := range items {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
			if err := node(item).Render(w); err != nil {
				return err
			}
		}
		return nil
	})
}

var (
	newline   = g.Text("\n")
	space     = g.Text(" ")
	scripted  = g.Attr("hidden") // until the script runs, which it is for
	unseen    = h.Aria("hidden", "true")
	stretched = g.Attr("preserveAspectRatio", "none")
	quiet     = h.Class("quiet")
	aside     = h.Class("aside")
	numeric   = h.Class("n")
	ofRow     = h.Scope("row")
)

func column(name label, attributes ...g.Node) g.Node {
	return h.Th(h.Scope("col"), g.Group(attributes), name.node())
}

func codeNode(s string) g.Node { return h.Code(g.Text(s)) }

// drawShare draws how much of the widest something is.
func drawShare(class, width string) g.Node {
	return h.SVG(h.Class("share"), unseen, stretched, rect(class, "", width))
}

func rect(class, x, width string) g.Node {
	return g.El("rect", g.If(class != "", h.Class(class)), g.If(x != "", g.Attr("x", x)), h.Width(width), h.Height("100%"))
}

// drawn is for what a drawing shows, in words.
func drawn(l label) g.Node { return g.Group{h.Role("img"), h.Aria("label", l.EN), h.Data("zh", l.ZH)} }

func section(id string, title g.Node, nodes ...g.Node) g.Node {
	return h.Section(h.Aria("labelledby", id), lines(h.H2(h.ID(id), title)), lines(nodes...))
}

func (v *view) header() g.Node {
	return h.Header(lines(
		h.P(h.Class("what"), h.Span(h.Class("badge "+v.State), v.Badge.node()), space, g.El("bdi", h.Class("key"), g.Text(v.Key))),
		h.P(
			h.Class("tools"),
			g.If(v.Refresh > 0, g.Group{
				h.Button(h.Type("button"), h.ID("pause"), scripted, h.Aria("pressed", "false"), words("Pause refreshing", "暂停刷新")), space,
			}),
			h.Button(h.Type("button"), h.ID("language"), scripted, h.Lang("zh-CN"), g.Text("中文")),
		),
	))
}

func (v *view) resultSection() g.Node {
	notes := func(t text) g.Node { return h.P(h.Class("note "+v.State), t.node()) }
	row := func(s statusRow) g.Node {
		return h.Tr(
			g.If(s.Count == "0", h.Class("none")),
			h.Th(ofRow, h.Class("status "+s.Class), h.Data("status", s.Name.EN), h.Data("status-zh", s.Name.ZH), s.Name.node()),
			h.Td(numeric, g.Text(s.Count)), h.Td(h.Class("n quiet"), g.Text(s.Share)), h.Td(h.Class("meaning"), s.What.node()),
		)
	}
	var bar, lead g.Node
	if len(v.Segments) > 0 {
		bar = h.SVG(h.Class("bar"), drawn(v.BarAlt), stretched, g.Map(v.Segments, func(s segment) g.Node { return rect(s.Class, s.X, s.W) }))
	}
	if len(v.Rest.EN) > 0 {
		lead = h.P(h.Class("lead"), v.Rest.node())
	}
	return h.Section(h.Aria("labelledby", "result"), lines(
		h.H1(h.ID("result"), v.Head.node()), lead, each(v.Notes, notes), bar,
		h.Table(h.Class("counts"), lines(
			h.Caption(aside, v.Updated.node()),
			h.THead(aside, h.Tr(
				column(label{"Outcome", "结果"}), column(label{"Records", "记录数"}), column(label{"Share", "占比"}), column(label{"Meaning", "含义"}),
			)),
			h.TBody(each(v.Statuses, row)),
			h.TFoot(h.Tr(
				h.Th(ofRow, words("records", "记录")), h.Td(numeric, g.Text(v.Records)), h.Td(), h.Td(h.Class("meaning quiet"), v.Updated.node()),
			)),
		)),
	))
}

func (v *view) nextSection() g.Node {
	item := func(s step) g.Node {
		return h.Li(
			h.Class(s.Class), h.H3(s.Title.node()), h.P(s.Body.node()),
			g.If(s.Command != "", h.Pre(h.TabIndex("0"), codeNode(s.Command))),
		)
	}
	return section("next", words("What to do next", "接下来做什么"), h.Ol(h.Class("steps"), each(v.Steps, item)))
}

func (v *view) wrongSection() g.Node {
	if len(v.Kinds) == 0 && v.Others == 0 {
		return nil
	}
	var others g.Node
	if v.Others > 0 {
		others = h.P(quiet, say("%s more records are wrong in other ways.", "另有 %s 条记录存在其他问题。", v.Others).node())
	}
	return section("wrong", words("What is wrong", "问题所在"), each(v.Kinds, kindView.node), others)
}

func (k kindView) node() g.Node {
	tag := func(name label, value string) g.Node {
		return g.Group{space, h.Span(h.Class("tag"), name.node(), space, codeNode(value))}
	}
	example := func(e exampleView) g.Node {
		return h.Li(
			h.P(h.Class("where"), say("line %s", "第 %s 行", e.Line).node(), g.If(e.GroupID != "", g.Group{g.Text(" · "), codeNode(e.GroupID)})),
			g.If(e.Value != "", h.P(h.Class("value"), codeNode(e.Value))),
			h.P(h.Class("message"), e.Text.node()),
		)
	}
	return h.Article(h.Class("kind "+k.Class), lines(
		h.H3(h.Span(numeric, g.Text(thousands(k.Count))), space, h.Span(k.Title.node())),
		drawShare(k.Class, k.Share),
		h.P(
			h.Class("tags"), h.Span(h.Class("status "+k.Class), k.Status.node()),
			g.If(k.Field != "", tag(label{"field", "字段"}, k.Field)),
			g.If(k.Code != 0, tag(label{"code", "代码"}, strconv.Itoa(k.Code))),
			g.If(k.Listed, g.Group{space, h.A(
				h.Class("show"), h.Href("#records"), h.Data("kind", strconv.Itoa(k.Number)), scripted, words("show them in the list", "在列表中查看"),
			)}),
		),
		h.P(k.Advice.node()),
		h.Ul(h.Class("examples"), each(k.Examples, example)),
	))
}

func (v *view) howSection() g.Node {
	if len(v.Figures) == 0 && len(v.Plots) == 0 {
		return nil
	}
	title := words("How it went", "过程")
	if v.Open {
		title = words("How it goes", "过程")
	}
	var tries g.Node
	if len(v.Tries) > 0 {
		row := func(t try) g.Node {
			return h.Tr(h.Th(ofRow, t.Name.node()), h.Td(numeric, g.Text(t.Count)), h.Td(h.Class("wide"), drawShare("", t.Wide)))
		}
		tries = h.Div(h.Class("plot"), lines(
			h.H3(words("Attempts a record took", "每条记录的尝试次数")),
			h.Table(
				h.Class("tries"),
				h.THead(aside, h.Tr(column(label{"Attempts", "次数"}), column(label{"Records", "记录数"}), h.Td())),
				h.TBody(each(v.Tries, row)),
			),
		))
	}
	return section(
		"how", title,
		h.Dl(h.Class("figures"), g.Map(v.Figures, func(f figure) g.Node { return h.Div(h.Dt(f.Name.node()), h.Dd(f.Value.node())) })),
		h.Div(h.Class("plots"), each(v.Plots, plot.node), lines(tries)),
	)
}

func (p plot) node() g.Node {
	draw := func(class, d string) g.Node { return g.El("path", h.Class(class), g.Attr("d", d)) }
	instant := func(at time.Time, layout string) g.Node {
		return h.Time(h.DateTime(at.Format(time.RFC3339)), g.Text(at.Format(layout)))
	}
	var gaps, budget g.Node
	if p.Gaps > 0 {
		gaps = h.Span(quiet, say(plural(p.Gaps, "dotted: %s pause left out", "dotted: %s pauses left out"), "虚线：省略了 %s 段停顿", p.Gaps).node())
	}
	if p.Budget > 0 {
		budget = draw("budget", fmt.Sprintf("M0 %.1fH1000", p.Budget))
	}
	return h.Figure(h.Class("plot "+p.ID), lines(
		h.FigCaption(
			h.H3(p.Title.node()),
			h.Ul(h.Class("legend"), g.Map(p.Legend, func(l legend) g.Node { return h.Li(h.Class(l.Class), l.Text.node()) })),
		),
		h.Div(
			h.Class("drawing"),
			h.Div(h.Class("axis"), unseen, g.Map(p.Axis, func(s string) g.Node { return h.Span(g.Text(s)) })),
			lines(
				h.SVG(
					drawn(p.Alt), g.Attr("viewBox", "0 0 1000 200"), stretched,
					draw("grid", "M0 .5H1000M0 100H1000M0 199.5H1000"),
					g.Map(p.Path, func(p path) g.Node { return draw(p.Class, p.D) }),
					g.Map(p.Lines, func(x float64) g.Node { return draw("gap", fmt.Sprintf("M%.1f 0V200", x)) }),
					budget,
				),
				h.Div(h.Class("times"), instant(p.Start, "2006-01-02 15:04:05 UTC"), gaps, instant(p.End, "15:04:05 UTC")),
			),
		),
	))
}

// runColumns name the cells, too, where they stand below one another on a narrow screen.
var runColumns = []struct {
	label
	number bool
}{
	{label{"Run", "序号"}, true},
	{label{"Start", "开始"}, false},
	{label{"Took", "用时"}, false},
	{label{"Records", "记录"}, true},
	{label{"Attempts", "尝试"}, true},
	{label{"Too fast", "过快"}, true},
	{label{"Why it ended", "结束原因"}, false},
}

func (v *view) runsSection() g.Node {
	if len(v.Runs) == 0 {
		return nil
	}
	var head g.Group
	for _, c := range runColumns {
		head = append(head, column(c.label, g.If(c.number, numeric)))
	}
	run := func(r runView) g.Node {
		var cells g.Group
		for i, cell := range []g.Node{
			g.Text(strconv.Itoa(r.Number)), r.Start.node(), r.Took.node(), g.Text(r.Records), g.Text(r.Attempts), g.Text(r.Slowed), r.Why.node(),
		} {
			c := runColumns[i]
			cells = append(cells, h.Td(g.If(c.number, numeric), h.Data("en", c.EN), h.Data("zh", c.ZH), cell))
		}
		return h.Tr(g.If(r.Stopped, h.Class("stop")), cells)
	}
	group := func(r runGroup) g.Node {
		var left g.Node
		if r.Left > 0 {
			left = g.Group{space, h.Span(quiet, say("(%s in the middle are not listed)", "（中间 %s 次未列出）", r.Left).node())}
		}
		return h.TBody(
			lines(h.Tr(h.Class("group"), h.Th(h.ColSpan(strconv.Itoa(len(runColumns))), h.Scope("rowgroup"), r.Title.node(), left))),
			each(r.Runs, run),
		)
	}
	return section("runs", words("Runs", "运行记录"), h.Table(h.Class("runs"), lines(h.THead(h.Tr(head))), each(v.Runs, group)))
}

func (v *view) recordsSection() g.Node {
	if len(v.Rows) == 0 {
		return nil
	}
	where := say("Each with its record as it came is in", "每条记录及其原始内容见")
	if n := int64(len(v.Rows)); n < v.RowsAll {
		where = say("These are the first %s of %s. All of them, each with its record as it came, are in", "以下为 %[2]s 条中的前 %[1]s 条。全部记录及其原始内容见", n, v.RowsAll)
	}
	record := func(r row) g.Node {
		return h.Tr(
			h.Data("k", strconv.Itoa(r.Kind)), h.Th(ofRow, g.Text(strconv.FormatInt(r.Line, 10))), h.Td(g.Text(r.GroupID)), h.Td(g.Text(r.Name)),
			h.Td(h.Class(classOf(r.Status)), g.Text(nameOf(r.Status).EN)), h.Td(g.Text(r.Why)),
		)
	}
	return section(
		"records", g.Group{h.TabIndex("-1"), words("Records that are not in", "未导入的记录")},
		h.P(where.node(), space, codeNode(v.Failures)),
		h.Form(h.ID("search"), h.Role("search"), scripted, lines(
			g.Group{
				h.Label(h.For("text"), words("Search", "搜索")), space,
				h.Input(h.ID("text"), h.Type("search"), h.AutoComplete("off"), g.Attr("spellcheck", "false")),
			},
			g.Group{
				h.Label(h.For("only"), words("Outcome", "结果")), space,
				h.Select(h.ID("only"), h.Option(h.Value(""), h.Data("zh", "全部"), g.Text("all"))),
			},
			h.Button(h.Type("button"), h.ID("clear"), scripted, words("Show all", "显示全部")),
		)),
		h.P(h.ID("found"), h.Role("status"), quiet),
		h.Table(h.ID("list"), h.Class("records"), lines(
			h.Caption(aside, words("Records that are not in; the headers sort", "未导入的记录；点击表头可排序")),
			h.THead(h.Tr(
				column(label{"Line", "行"}, h.Aria("sort", "ascending"), h.Data("sort", "number")), column(label{"GroupId", "GroupId"}),
				column(label{"Name", "名称"}), column(label{"Outcome", "结果"}), column(label{"Why", "原因"}),
			)),
			h.TBody(each(v.Rows, record)),
		)),
	)
}

func (v *view) filesSection() g.Node {
	if len(v.Files) == 0 {
		return nil
	}
	item := func(f file) g.Node {
		return h.Li(
			h.A(h.Href(f.Link), g.Text(f.Name)), space, h.Span(quiet, g.Text(f.Size)), h.Br(), f.What.node(), h.Br(),
			h.Span(h.Class("quiet hash"), g.Text("SHA-256 "+f.SHA256)),
		)
	}
	return section("files", words("Files beside this page", "同目录文件"), h.Ul(h.Class("files"), each(v.Files, item)))
}
