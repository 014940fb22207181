package report

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"

	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

var (
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
)

// Policy is the Content-Security-Policy of all pages: their own style and script, by their hashes, and nothing else.
// For the header of a response, frame-ancestors can be added.
var Policy = func() string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; style-src " + hash(pageCSS) + "; script-src " + hash(pageJS) +
		"; base-uri 'none'; form-action 'none'"
}()

// A page is what all pages have in common. Text from elsewhere is in it by g.Text and in values of attributes, which
// escape it; g.Raw is for our own style and script. It is no template: those call methods by name, so that the linker
// keeps all methods of all types, and a function of AWS Lambda is a quarter larger.
type page struct {
	Options

	title    label
	class    string // of the badge
	badge    text   // empty for none
	key      string // of the export; empty for none
	sections []g.Node
}

func (p *page) write(w io.Writer) error {
	b := bufio.NewWriter(w)
	if err := p.document().Render(b); err != nil {
		return err
	}
	return b.Flush()
}

func (p *page) document() g.Node {
	seconds := strconv.Itoa(int(p.Refresh.Seconds()))
	return h.Doctype(g.Group{newline, h.HTML(
		h.Lang("en"), g.If(p.Refresh > 0, h.Data("refresh", seconds)),
		lines(
			h.Head(lines(
				h.Meta(h.Charset("utf-8")),
				h.Meta(g.Attr("http-equiv", "Content-Security-Policy"), h.Content(Policy)),
				h.Meta(h.Name("viewport"), h.Content("width=device-width, initial-scale=1")),
				h.Meta(h.Name("color-scheme"), h.Content("light dark")),
				h.Meta(h.Name("referrer"), h.Content("no-referrer")),
				g.If(p.Refresh > 0, h.NoScript(h.Meta(g.Attr("http-equiv", "refresh"), h.Content(seconds)))),
				h.TitleEl(h.Data("zh", p.title.ZH), g.Text(p.title.EN)),
				h.StyleEl(g.Raw(pageCSS)),
			)),
			h.Body(lines(
				h.A(h.Class("skip"), h.Href("#main"), words("Skip to the result", "跳到结果")),
				p.header(),
				h.Main(h.ID("main"), h.TabIndex("-1"), lines(p.sections...)),
				h.Footer(h.P(
					quiet, g.Text("groupimport. "),
					words(
						"Times are UTC; point at one to see yours. This page loads nothing from elsewhere.",
						"时间均为 UTC，指向时间可查看本地时间。本页不加载任何外部内容。",
					),
				)),
				h.Script(g.Raw(pageJS)),
			)),
		),
	)})
}

func (p *page) header() g.Node {
	var what, pause g.Node
	if p.key != "" {
		what = g.Group{
			h.Span(h.Class("badge "+p.class), p.badge.node()), space, g.El("bdi", h.Class("key"), g.Text(p.key)),
		}
	}
	if p.Refresh > 0 {
		pause = g.Group{
			h.Button(h.Type("button"), h.ID("pause"), scripted, h.Aria("pressed", "false"), words("Pause refreshing", "暂停刷新")),
			space,
		}
	}
	return h.Header(lines(
		h.P(h.Class("what"), g.If(p.List != "", g.Group{h.A(h.Href(p.List), words("All imports", "全部导入")), space}), what),
		h.P(h.Class("tools"), pause, h.Button(h.Type("button"), h.ID("language"), scripted, h.Lang("zh-CN"), g.Text("中文"))),
	))
}

// add adds sections that are not nil.
func (p *page) add(sections ...g.Node) {
	for _, s := range sections {
		if s != nil {
			p.sections = append(p.sections, s)
		}
	}
}

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
	scripted  = g.Attr("hidden") // until the script runs
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

func rect(class string, x, width float64) g.Node {
	return g.El("rect", h.Class(class), g.Attr("x", fmt.Sprintf("%.3f%%", x)), h.Width(fmt.Sprintf("%.3f%%", width)),
		h.Height("100%"))
}

// drawn is for what a drawing shows, in words.
func drawn(l label) g.Node { return g.Group{h.Role("img"), h.Aria("label", l.EN), h.Data("zh", l.ZH)} }

func section(id string, title g.Node, nodes ...g.Node) g.Node {
	return h.Section(h.Aria("labelledby", id), lines(h.H2(h.ID(id), title)), lines(nodes...))
}

// A tallied is a number of records by status, in the order of the page.
type tallied struct {
	status outcome.Status
	count  int64
}

// list returns counts in the order of the page.
func list(c *outcome.Counts) []tallied {
	var all []tallied
	for s, n := range c.All() {
		all = append(all, tallied{s, n})
	}
	return all
}

// sum returns how many records there are, and how many of them have a group.
func sum(counts []tallied) (all, imported int64) {
	for _, c := range counts {
		all += c.count
		if c.status.HasGroup() {
			imported += c.count
		}
	}
	return all, imported
}

// A result is the first section of a page about an import.
type result struct {
	head    text
	lead    text // empty for none
	notes   []text
	class   string // of the notes
	counts  []tallied
	left    float64 // part of the export without outcomes
	updated text
	isMixed bool // there are member records
}

func (r *result) node() g.Node {
	all, _ := sum(r.counts)
	row := func(c tallied) g.Node {
		name, class, meaning := statusName(c.status), statusClass(c.status), statusLabels[c.status].meaning
		if l := statusLabels[c.status].mixed; r.isMixed && l != (label{}) {
			meaning = l
		}
		return h.Tr(
			g.If(c.count == 0, h.Class("none")),
			h.Th(ofRow, h.Class("status "+class), h.Data("status", name.EN), h.Data("status-zh", name.ZH), name.node()),
			h.Td(numeric, g.Text(thousands(c.count))), h.Td(h.Class("n quiet"), g.Text(share(c.count, all))),
			h.Td(h.Class("meaning"), meaning.node()),
		)
	}
	rows := slices.DeleteFunc(slices.Clone(r.counts), func(c tallied) bool {
		return c.status == outcome.Pending && c.count == 0 // most imports have no member records
	})
	var lead g.Node
	if !r.lead.isEmpty() {
		lead = h.P(h.Class("lead"), r.lead.node())
	}
	return h.Section(h.Aria("labelledby", "result"), lines(
		h.H1(h.ID("result"), r.head.node()), lead,
		each(r.notes, func(t text) g.Node { return h.P(h.Class("note "+r.class), t.node()) }),
		bar(r.counts, r.left),
		h.Table(h.Class("counts"), lines(
			h.Caption(aside, r.updated.node()),
			h.THead(aside, h.Tr(
				column(label{"Outcome", "结果"}), column(label{"Records", "记录数"}), column(label{"Share", "占比"}),
				column(label{"Meaning", "含义"}),
			)),
			h.TBody(each(rows, row)),
			h.TFoot(h.Tr(
				h.Th(ofRow, words("records", "记录")), h.Td(numeric, g.Text(thousands(all))), h.Td(),
				h.Td(h.Class("meaning quiet"), r.updated.node()),
			)),
		)),
	))
}

// bar draws the counts as one stacked bar. left is the part of the export that has no outcomes.
func bar(counts []tallied, left float64) g.Node {
	const minWidth = 1.2 // percent: what is there must be seen, on a telephone too
	all, _ := sum(counts)
	type part struct {
		class string
		width float64
	}
	var parts []part
	var en, zh []string
	total := 0.0
	put := func(class string, share float64, e, z string) {
		width := max(100*share, minWidth)
		total += width
		parts, en, zh = append(parts, part{class, width}), append(en, e), append(zh, z)
	}
	for _, c := range counts {
		if c.count > 0 {
			name := statusName(c.status)
			put(statusClass(c.status), (1-left)*float64(c.count)/float64(all),
				thousands(c.count)+" "+name.EN, name.ZH+" "+thousands(c.count))
		}
	}
	if left > 0 {
		put("left", left, fmt.Sprintf("%.0f%% of the export remains", 100*left), fmt.Sprintf("导出文件还剩 %.0f%%", 100*left))
	}
	if len(parts) == 0 {
		return nil
	}
	var rects g.Group
	x := 0.0
	for _, p := range parts {
		width := 100 * p.width / total
		rects = append(rects, rect(p.class, x, width))
		x += width
	}
	return h.SVG(h.Class("bar"), drawn(label{strings.Join(en, ", "), strings.Join(zh, "，")}), stretched, rects)
}

// ignoredText says how many entries the mapping takes for no records of a group; empty if there are none.
func ignoredText(n int64) text {
	if n == 0 {
		return text{}
	}
	return say(
		plural(n, "%s entry of another kind, such as a message, was ignored.",
			"%s entries of other kinds, such as messages, were ignored."),
		"另有 %s 条其他类型的内容（如消息）未计入。", n,
	)
}

// restText says what happened to the records without a group; empty if there are none.
func restText(counts []tallied, retried bool) text {
	clauses := map[outcome.Status][3]string{
		outcome.Imported: {}, // have a group
		outcome.Exists:   {"%s of them already existed", "%s of them already existed", "其中 %s 个此前已存在"},
		outcome.Rejected: {"%s was rejected", "%s were rejected", "%s 个被拒绝"},
		outcome.Unknown:  {"%s needs manual review", "%s need manual review", "%s 个待确认"},
		outcome.Failed:   {"%s failed", "%s failed", "%s 个失败"},
		outcome.Skipped:  {"%s was left out by the mapping", "%s were left out by the mapping", "%s 个被映射规则排除"},
		outcome.Pending:  {"%s member record is pending", "%s member records are pending", "%s 条成员记录待发送"},
	}
	var parts []text
	for _, c := range counts {
		clause := clauses[c.status]
		if clause[0] == "" || c.count == 0 {
			continue
		}
		t := say(plural(c.count, clause[0], clause[1]), clause[2], c.count)
		if c.status == outcome.Failed && retried {
			t = join("", "", t, say(" and will be retried", "，将自动重试"))
		}
		parts = append(parts, t)
	}
	if len(parts) == 0 {
		return text{}
	}
	return join("", "", join(", ", "，", parts...), say(".", "。"))
}

// A step is something to do next.
type step struct {
	class   string
	title   text
	body    text
	command string // empty for none
}

func nextSection(steps []step) g.Node {
	item := func(s step) g.Node {
		var command g.Node
		if s.command != "" {
			command = h.Div(h.Class("command"),
				h.Pre(h.TabIndex("0"), codeNode(s.command)),
				h.Button(h.Type("button"), h.Class("copy"), scripted, words("Copy", "复制")),
			)
		}
		return h.Li(h.Class(s.class), h.H3(s.title.node()), h.P(s.body.node()), command)
	}
	return section("next", words("What to do next", "接下来做什么"), h.Ol(h.Class("steps"), each(steps, item)))
}

// A figure is a number with its name.
type figure struct {
	name, value text
}

func figuresNode(figures []figure) g.Node {
	return h.Dl(h.Class("figures"), g.Map(figures, func(f figure) g.Node {
		return h.Div(h.Dt(f.name.node()), h.Dd(f.value.node()))
	}))
}

// runFigures are the totals of runs.
func runFigures(runs []results.Run) []figure {
	var attempts, throttled int64
	for _, r := range runs {
		attempts += r.Attempts
		throttled += int64(r.Slowed)
	}
	return []figure{
		{say("attempts", "尝试次数"), say("%s", "%s", attempts)},
		{say("throttled by the service", "触发频率限制"), say(plural(throttled, "%s time", "%s times"), "%s 次", throttled)},
	}
}

func filesSection(files []File) g.Node {
	if len(files) == 0 {
		return nil
	}
	item := func(f File) g.Node {
		what := say("every record's outcome, in the order of the export", "每条记录的结果，按导出文件的顺序")
		if _, kind := results.Sidecar(f.Key); kind == results.SidecarFailures {
			what = say(
				"dead-letter file: the original records that were not imported, and groups that lack members",
				"失败记录文件：未导入的记录（附原始内容），以及缺少成员的群组",
			)
		}
		name := g.Text(shown(baseOf(f.Key), maxText))
		if f.Link != "" {
			name = h.A(h.Href(f.Link), name)
		}
		return h.Li(
			name, space, h.Span(quiet, g.Text(bytesText(f.Size))), h.Br(), what.node(), h.Br(),
			h.Span(h.Class("quiet hash"), g.Text("SHA-256 "+f.SHA256)),
		)
	}
	return section("files", words("Files beside the export", "导出文件旁的文件"), h.Ul(h.Class("files"), each(files, item)))
}
