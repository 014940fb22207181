package report

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/shell"
)

// page returns the report of a finished import.
func (b *Builder) page(names results.Names, m *results.Manifest, o Options) *page {
	counts := b.tallied()
	all, imported := sum(counts)
	members := &b.members.Counts
	name := shown(baseOf(names.Export), maxText)
	p := &page{
		Options: o, key: shown(names.Export, maxText),
		class: badgeClass(results.Finished, counts, members.Members.Failed),
		badge: stateText(results.Finished, counts, members.Members.Failed),
		title: label{
			fmt.Sprintf("%s of %s imported - %s", thousands(imported), thousands(all), name),
			fmt.Sprintf("已导入 %s/%s - %s", thousands(imported), thousands(all), name),
		},
	}
	finished := m.Finished
	if n := len(m.Rounds); n > 0 {
		finished = m.Rounds[n-1].End
	}
	r := &result{
		isMixed: members.MemberRecords > 0, counts: counts, updated: say("As of %s.", "截至 %s。", finished),
		lead: join(" ", "", without(
			restText(counts, !m.RetryAt.IsZero()), membersText(&members.Members), ignoredText(m.Ignored),
		)...),
	}
	r.head = headline(imported, all, r.isMixed)
	if m.Replaced {
		r.class = "replaced"
		p.class, p.badge = r.class, say("replaced", "已被取代")
		r.notes = append(r.notes, say(
			"A newer version of the export has replaced this one. This page is about the older version. Its results are "+
				"archived, because GroupIds that the service assigned are recorded nowhere else.",
			"该导出文件已被新版本取代。本页是旧版本的结果；结果文件予以归档，因为由服务分配的 GroupId 只记录在其中。",
		))
	}
	if !m.Complete {
		r.notes = append(r.notes, say(
			"The import of this version was not finished: the records that follow these were not processed.",
			"此版本的导入未完成：其后的记录未处理。",
		))
	}
	r.notes = append(r.notes, carryNotes(m.Carry)...)
	r.notes = append(r.notes, without(createdNote(members))...)
	limits := m.Settings.Limits
	if limits == (group.Limits{}) { // version 1 did not keep them
		limits = group.DocumentLimits
	}
	p.add(
		r.node(), nextSection(b.steps(names, m, counts, o)), b.membersSection(), b.wrongSection(limits), b.howSection(m),
		runsSection(m.Runs, m.Rounds, false), b.recordsSection(names), filesSection(filesBeside(names, m)),
	)
	return p
}

// without returns texts but for the empty ones.
func without(texts ...text) []text { return slices.DeleteFunc(texts, text.isEmpty) }

// tallied returns the counts in the order of the page: all known statuses, then others.
func (b *Builder) tallied() []tallied {
	var all []tallied
	for _, s := range outcome.Statuses() {
		all = append(all, tallied{s, b.counts[s]})
	}
	for _, s := range slices.Sorted(maps.Keys(b.counts)) {
		if !slices.Contains(outcome.Statuses(), s) {
			all = append(all, tallied{s, b.counts[s]})
		}
	}
	return all
}

// headline says in one sentence how an import ended. With isMixed, some records are members.
func headline(imported, all int64, isMixed bool) text {
	switch {
	case all == 0:
		return say("The export holds no records.", "导出文件中没有记录。")
	case isMixed && imported == all:
		return say(
			plural(all, "The one record, a member, was imported.", "All %s records, groups and members, were imported."),
			"全部 %s 条记录（群组与成员）已导入。", all,
		)
	case isMixed:
		return say(
			"%s of %s records, groups and members, "+plural(imported, "was", "were")+" imported.",
			"%[2]s 条记录（群组与成员）中已导入 %[1]s 条。", imported, all,
		)
	case imported == all && all == 1:
		return say("The one group was imported.", "唯一的群组已导入。")
	case imported == all:
		return say("All %s groups were imported.", "全部 %s 个群组已导入。", all)
	case imported == 0 && all == 1:
		return say("The one group was not imported.", "唯一的群组未导入。")
	case imported == 0:
		return say("No groups were imported (0 of %s).", "没有群组被导入（共 %s 个）。", all)
	default:
		return say("%s of %s groups "+plural(imported, "was", "were")+" imported.", "%[2]s 个群组中已导入 %[1]s 个。", imported, all)
	}
}

// carryNotes say what an import took over from earlier versions of its export.
func carryNotes(c *results.Carry) []text {
	if c == nil {
		return nil
	}
	notes := []text{say(
		"Carried over from an earlier version of the export: %s of %s outcomes. Not found again: %s. "+
			"New records without a GroupId that were created: %s.",
		"从此前版本沿用的结果：%s 条（共 %s 条）。本次未再出现：%s 条。新建的无 GroupId 记录：%s 条。",
		c.Carried, c.Earlier, c.NotFound(), c.Created,
	)}
	if c.NotFound() > 0 && c.Created > 0 {
		notes = append(notes, say(
			"If the export should hold the same groups as before, compare the two versions: the order or the contents differ.",
			"如果导出文件的群组应与之前相同，请比较两个版本：顺序或内容有差异。",
		))
	}
	if c.Differs > 0 {
		notes = append(notes, say(
			"%s groups that were carried over have changed in the export since. The import does not update existing groups.",
			"%s 个沿用的群组在导出文件中已有变化。导入不会更新已存在的群组。", c.Differs,
		))
	}
	return notes
}

// filesBeside returns the files of a finished import. Their keys may be from when the folder was opened elsewhere.
func filesBeside(names results.Names, m *results.Manifest) []File {
	var files []File
	for _, f := range m.Files {
		key := names.Results()
		if _, kind := results.Sidecar(f.Key); kind == results.SidecarFailures {
			key = names.Failures()
		}
		f.Key = key
		files = append(files, File{f, linkBeside(baseOf(key))})
	}
	return files
}

// fixedName proposes a name for a file of fixed records, one that is read as an export.
func fixedName(export string) string {
	name := baseOf(export)
	if i := strings.IndexByte(name, '.'); i > 0 {
		name = name[:i]
	}
	return name + ".fixed.jsonl"
}

// A repair is how lines of the dead-letter file are imported after their cause was fixed.
type repair struct {
	from, to string // the dead-letter file and the new file
	first    text   // empty if the dead-letter file is on this machine
	last     text   // what to do with the new file
}

func newRepair(names results.Names, o Options) repair {
	r := repair{from: baseOf(names.Failures()), to: fixedName(names.Export)}
	beside := func(name string) string { return o.at(path.Join(path.Dir(names.Export), name)) }
	switch {
	case o.Root == "" || o.isBucket():
		r.first = say("Download the dead-letter file first.", "请先下载失败记录文件。")
		r.last = say("upload it beside the export", "上传到导出文件所在的位置")
		if o.Root != "" {
			r.last = join(" ", "", r.last, say("and import it with %s", "，再用 %s 导入",
				code("groupimport import "+shell.File(beside(r.to)))))
		}
	default:
		r.from, r.to = beside(r.from), beside(r.to)
		r.last = say("import it with %s", "用 %s 导入", code("groupimport import "+shell.File(r.to)))
	}
	return r
}

// step adds to a step the command that copies the lines with one or two statuses, and body, which explains it.
func (r repair) step(s step, body text, statuses ...outcome.Status) step {
	s.body = join(" ", "", s.body, r.first, body)
	pattern := fmt.Sprintf(`'"status":"%s"'`, statuses[0])
	if len(statuses) > 1 {
		pattern = fmt.Sprintf(`-E '"status":"(%s|%s)"'`, statuses[0], statuses[1])
	}
	s.command = fmt.Sprintf("grep %s %s > %s", pattern, shell.File(r.from), shell.File(r.to))
	return s
}

// steps returns what there is to do about a finished import.
func (b *Builder) steps(names results.Names, m *results.Manifest, counts []tallied, o Options) []step {
	var steps []step
	repair := newRepair(names, o)
	if n := b.counts[outcome.Rejected]; n > 0 {
		steps = append(steps, repair.step(step{
			class: string(outcome.Rejected),
			title: say("Fix the "+plural(n, "%s rejected record", "%s rejected records"), "修正被拒绝的 %s 条记录", n),
		}, say(
			"The command copies "+plural(n, "its line", "their lines")+" from %s into a new file. Fix %s in each line of the "+
				"new file, then %s. Only these records are imported.",
			"下面的命令把这些行从 %s 复制到一个新文件。修正新文件每行中的 %s，然后%s。只会导入这些记录。",
			code(baseOf(names.Failures())), code("record"), repair.last,
		), outcome.Rejected))
	}
	if n := b.counts[outcome.Unknown]; n > 0 {
		steps = append(steps, step{
			string(outcome.Unknown),
			say("Review the "+plural(n, "%s unknown record", "%s unknown records"), "确认结果待确认的 %s 条记录", n),
			say(
				"They have no GroupId, and the response was lost: their groups may exist. Look for each by its name in the "+
					"console. They are sent again only with %s, by a round of retries or when the dead-letter file is imported as "+
					"an export. Groups that exist are then created twice.",
				"这些记录没有 GroupId，且响应丢失：群组可能已经存在。请在控制台按名称查找。只有设置 %s 后，重试或再次导入失败记录文件时才会重新发送；"+
					"已存在的群组会因此重复创建。",
				code("RETRY_UNKNOWN=true"),
			),
			"",
		})
	}
	if n := b.counts[outcome.Failed]; n > 0 {
		steps = append(steps, retryStep(n, names, m, o, repair))
	}
	if b.members.Counts.Members.Failed > 0 {
		steps = append(steps, b.membersStep(names, m, o, repair))
	}
	all, _ := sum(counts)
	switch {
	case all == 0:
		steps = append(steps, step{
			title: say("Look at the export", "检查导出文件"),
			body:  say("It was read to its end and holds no record. Was it written completely?", "文件已读到末尾，没有记录。导出是否已写完？"),
		})
	case len(steps) == 0:
		steps = append(steps, step{
			class: "imported", title: say("Nothing is left to do", "无需任何操作"),
			body: say(
				"Keep %s: GroupIds that the service assigned are recorded nowhere else.",
				"请保留 %s：由服务分配的 GroupId 只记录在其中。", code(baseOf(names.Results())),
			),
		})
	}
	return steps
}

// retrier names what retries an import of the command line without a command.
func retrier(o Options) text {
	if o.isBucket() {
		return say("A function with a schedule for this bucket, if there is one,", "为此存储桶部署的定时函数（如有）")
	}
	return say("A running %s", "正在运行的 %s", code("groupimport watch"))
}

// retryCommand retries what failed in the folder of an export, or in the whole local folder of the exports.
func retryCommand(names results.Names, o Options) string {
	root := o.Root
	if o.isBucket() {
		root = o.at(cmp.Or(o.Prefix, names.Export[:len(names.Export)-len(baseOf(names.Export))]))
	}
	return "groupimport retry --now " + shell.File(root)
}

// retryStep says what happens to n failed records.
func retryStep(n int64, names results.Names, m *results.Manifest, o Options, r repair) step {
	s := step{class: string(outcome.Failed)}
	switch {
	case m.RetryAt.IsZero():
		s.title = say("Import the "+plural(n, "%s failed record", "%s failed records")+" again", "重新导入失败的 %s 条记录", n)
		s.body = say(
			"They are not retried any more (after %s "+plural(int64(len(m.Rounds)), "round", "rounds")+
				"). See the service's responses below.",
			"它们不会再自动重试（已重试 %s 轮）。请看下文服务的响应。", int64(len(m.Rounds)),
		)
		return r.step(s, say(
			"Once the cause is fixed, copy their lines into a new file, then %s:", "问题解决后，把这些行复制到新文件，然后%s：", r.last,
		), outcome.Failed)
	case o.Root != "":
		s.title = say("Retry the "+plural(n, "%s failed record", "%s failed records"), "重试失败的 %s 条记录", n)
		s.body = say(
			"%s retries them, at the earliest at %s. To retry them now:",
			"%s 会重试这些记录，最早于 %s。立即重试：", retrier(o), m.RetryAt,
		)
		s.command = retryCommand(names, o)
	default:
		s.title = say(plural(n, "%s failed record is retried automatically", "%s failed records are retried automatically"),
			"失败的 %s 条记录将自动重试", n)
		s.body = say("Nothing to do. The scheduler retries them, at the earliest at %s.", "无需操作。计划任务会重试，最早于 %s。", m.RetryAt)
	}
	return s
}

// membersStep says what happens to missing members.
func (b *Builder) membersStep(names results.Names, m *results.Manifest, o Options, r repair) step {
	c := b.members.Counts
	n := c.Members.Failed
	s := step{
		class: string(outcome.Failed),
		title: say(plural(n, "Add the %s missing member", "Add the %s missing members"), "添加缺少的 %s 名成员", n),
		body: say(
			"Their groups exist. %s has a line for each group that lacks members, with only these in its MemberList.",
			"群组已存在。%s 中每个缺少成员的群组占一行，其 MemberList 只含缺少的成员。", code(baseOf(names.Failures())),
		),
	}
	add := func(t text) { s.body = join(" ", "", s.body, t) }
	if c.Members.NoAccount > 0 {
		add(say(
			"%s "+plural(c.Members.NoAccount, "has", "have")+" no account: import the accounts first.",
			"其中 %s 名没有账号：请先导入账号。", c.Members.NoAccount,
		))
	}
	if n := c.Members.Invalid + c.Members.Refused; n > 0 {
		add(say(
			"%s "+plural(n, "breaks a rule or was rejected", "break a rule or were rejected")+" by the service: fix them.",
			"%s 名不符合规则或被服务拒绝：请修正。", n,
		))
	}
	isRetried := c.Incomplete > 0 && !m.RetryAt.IsZero()
	switch {
	case isRetried && o.Root != "":
		add(say(
			"%s tries again, at the earliest at %s. To try now:",
			"%s 会再次尝试添加，最早于 %s。立即重试：", retrier(o), m.RetryAt,
		))
		s.command = retryCommand(names, o)
	case isRetried:
		add(say(
			"The scheduler tries again to add them, at the earliest at %s.", "计划任务会再次尝试添加，最早于 %s。", m.RetryAt,
		))
	default:
		s = r.step(s, say(
			"The command copies these lines into a new file. Then %s. Groups that exist are not created again.",
			"下面的命令把这些行复制到一个新文件。然后%s。已存在的群组不会重复创建。", r.last,
		), outcome.Imported, outcome.Exists)
	}
	return s
}

func (b *Builder) wrongSection(limits group.Limits) g.Node {
	kinds, others := b.kinds.Groups(maxGroups)
	if len(kinds) == 0 && others == 0 {
		return nil
	}
	listed := map[int]bool{}
	for _, r := range b.rows {
		listed[r.Kind] = true
	}
	var rest g.Node
	if others > 0 {
		rest = h.P(quiet, say("%s more records have other problems.", "另有 %s 条记录存在其他问题。", others).node())
	}
	node := func(k *outcome.Group[example]) g.Node {
		return kindNode(k, limits, float64(k.Count)/float64(kinds[0].Count), listed[k.Number])
	}
	return section("wrong", words("What is wrong", "问题所在"), each(kinds, node), rest)
}

// kindNode shows a kind of failure. part is its size against the largest kind, from 0 to 1. A kind of up to maxExamples
// records is shown by them alone.
func kindNode(k *outcome.Group[example], limits group.Limits, part float64, listed bool) g.Node {
	tag := func(name label, value string) g.Node {
		return g.Group{space, h.Span(h.Class("tag"), name.node(), space, codeNode(value))}
	}
	class := statusClass(k.Kind.Status)
	const maxCompact = 2
	isCompact := k.Count <= maxCompact
	var drawing, show g.Node
	if !isCompact {
		drawing = h.SVG(h.Class("share"), unseen, stretched, rect(class, 0, 100*part))
		if listed {
			show = g.Group{space, h.A(
				h.Class("show"), h.Href("#records"), h.Data("kind", strconv.Itoa(k.Number)), scripted,
				words("show them in the list", "在列表中查看"),
			)}
		}
	}
	kind := "kind "
	if isCompact {
		kind = "kind compact "
	}
	return h.Article(h.Class(kind+class), lines(
		h.H3(h.Span(numeric, g.Text(thousands(k.Count))), space, h.Span(kindTitle(k.Kind, limits).node())),
		drawing,
		h.P(
			h.Class("tags"), h.Span(h.Class("status "+class), statusName(k.Kind.Status).node()),
			g.If(k.Kind.Field != "", tag(label{"field", "字段"}, shown(k.Kind.Field, maxField))),
			g.If(k.Kind.Code != 0, tag(label{"code", "代码"}, strconv.Itoa(k.Kind.Code))),
			show,
		),
		h.P(h.Class("advice"), kindAdvice(k.Kind).node()),
		h.Ul(h.Class("examples"), each(k.Examples, exampleNode)),
	))
}

func exampleNode(e example) g.Node {
	return h.Li(
		h.P(
			h.Class("where"), say("line %s", "第 %s 行", e.Line).node(),
			g.If(e.GroupID != "", g.Group{g.Text(" · "), codeNode(e.GroupID)}),
		),
		g.If(e.Value != "", h.P(h.Class("value"), codeNode(e.Value))),
		h.P(h.Class("message"), h.Lang("en"), g.Text(e.Message)),
	)
}

func (b *Builder) howSection(m *results.Manifest) g.Node {
	runs := slices.Clone(m.Runs)
	for _, r := range m.Rounds {
		runs = append(runs, r.Runs...)
	}
	var worked time.Duration
	budget := 0.0
	for _, r := range runs {
		budget = max(budget, r.Rate)
		if !r.End.IsZero() {
			worked += r.End.Sub(r.Start)
		}
	}
	var figures []figure
	if worked > 0 {
		figures = append(figures, figure{say("working time", "工作时间"), say("%s", "%s", worked)})
	}
	figures = append(figures, runFigures(runs)...)
	return section("how", words("How it went", "过程"), figuresNode(figures), ratePlot(b.series.stretches(), budget))
}

func (b *Builder) recordsSection(names results.Names) g.Node {
	if len(b.rows) == 0 {
		return nil
	}
	where := say("All of them, with their original records, are in", "全部记录及其原始内容见")
	if n := int64(len(b.rows)); n < b.missing {
		where = join(" ", "", say("These are the first %s of %s.", "以下为 %[2]s 条中的前 %[1]s 条。", n, b.missing), where)
	}
	record := func(r row) g.Node {
		return h.Tr(
			h.Data("k", strconv.Itoa(r.Kind)), h.Th(ofRow, g.Text(strconv.FormatInt(r.Line, 10))), h.Td(g.Text(r.GroupID)),
			h.Td(g.Text(r.Name)), h.Td(h.Class(statusClass(r.Status)), g.Text(statusName(r.Status).EN)), h.Td(g.Text(r.Message)),
		)
	}
	return section(
		"records", g.Group{h.TabIndex("-1"), words("Records that were not imported", "未导入的记录")},
		h.P(where.node(), space, codeNode(shown(baseOf(names.Failures()), maxText))),
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
			h.Caption(aside, words("Records that were not imported; the headers sort", "未导入的记录；点击表头可排序")),
			h.THead(h.Tr(
				column(label{"Line", "行"}, h.Aria("sort", "ascending"), h.Data("sort", "number")),
				column(label{"GroupId", "GroupId"}),
				column(label{"Name", "名称"}), column(label{"Outcome", "结果"}), column(label{"Message", "原因"}),
			)),
			h.TBody(each(b.rows, record)),
		)),
		h.P(h.ID("pages"), scripted,
			h.Button(h.Type("button"), h.ID("previous"), words("Previous page", "上一页")), space,
			h.Button(h.Type("button"), h.ID("following"), words("Next page", "下一页")),
		),
	)
}
