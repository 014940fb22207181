package report

import (
	"fmt"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"

	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/shell"
)

// progressPage returns the page about an import that may not be finished. b has the results so far of a cancelled
// import that was run with limits, else it is nil.
func progressPage(s *Status, b *Builder, limits group.Limits, o Options) *page {
	counts := list(&s.Counts)
	all, imported := sum(counts)
	work := s.Work()
	percent := fmt.Sprintf("%d%%", work.Percent())
	name := shown(baseOf(s.Key), maxText)
	state := stateText(s.State, counts, s.Counts.Members.Failed)
	p := &page{
		Options: o, class: badgeClass(s.State, counts, s.Counts.Members.Failed), badge: state, key: shown(s.Key, maxText),
		title: label{percent + " - " + name, percent + " - " + name},
	}
	r := &result{
		class: stateClass(s.State), counts: counts, left: 1 - work.Fraction(), updated: say("As of %s.", "截至 %s。", s.Updated),
		head: soFar(imported, s.Counts.MemberRecords > 0), isMixed: s.Counts.MemberRecords > 0,
	}
	lead := []text{say("%s of the export is done.", "导出文件已处理 %s。", foreign(percent))}
	if s.isOver() {
		r.head, r.left, lead = headline(imported, all, r.isMixed), 0, nil
		title := fmt.Sprintf("%s/%s - %s", thousands(imported), thousands(all), name)
		p.title = label{title, title}
	}
	r.lead = join(" ", "",
		without(append(lead, restText(counts, !s.RetryAt.IsZero()), membersText(&s.Counts.Members),
			ignoredText(s.Ignored))...)...)
	why := s.why()
	switch {
	case s.State == results.Stopped:
		r.notes = append(r.notes, say("Stopped: %s", "已停止：%s", why))
	case s.State == results.Paused:
		r.notes = append(r.notes, say("Paused: %s.", "已暂停：%s。", why))
	case s.State == results.Cancelled:
		r.notes = append(r.notes, say("Cancelled: %s.", "已取消：%s。", why))
	case s.State == results.Waiting && !why.isEmpty() && s.Reason != "":
		r.notes = append(r.notes, say("Waiting: %s.", "等待中：%s。", why))
	}
	if s.Gone {
		r.notes = append(r.notes, say("The export was deleted.", "导出文件已被删除。"))
	}
	runs := s.All
	if runs == nil && !s.Run.Start.IsZero() {
		runs = []results.Run{s.Run}
	}
	var wrong, records g.Node
	members := membersSection(&s.Counts)
	if b != nil {
		names := results.Names{Export: s.Key}
		members, wrong, records = b.membersSection(), b.wrongSection(limits), b.recordsSection(names)
	}
	p.add(
		r.node(), s.reportSection(), nextSection(s.steps(o)),
		section("how", words("Progress", "过程"), figuresNode(s.figures(runs, all))), members, wrong,
		runsSection(s.All, nil, s.State == results.Running), records, filesSection(s.Files),
	)
	return p
}

// soFar says how many groups were imported. With isMixed, some of them are members.
func soFar(imported int64, isMixed bool) text {
	switch {
	case imported == 0:
		return say("No group was imported yet.", "目前尚无群组导入。")
	case isMixed:
		return say(
			plural(imported, "%s record was imported so far.", "%s records were imported so far."), "目前已导入 %s 条记录。", imported,
		)
	}
	return say(plural(imported, "%s group was imported so far.", "%s groups were imported so far."), "目前已导入 %s 个群组。",
		imported)
}

// reportSection links to the report of a finished import; nil if there is none.
func (s *Status) reportSection() g.Node {
	if s.Report == "" {
		return nil
	}
	return h.P(h.Class("lead"),
		h.A(h.Href(s.Report), words("Open the report: what is wrong, and all runs", "打开报告：问题所在与全部运行记录")))
}

func (s *Status) figures(runs []results.Run, all int64) []figure {
	var figures []figure
	if rate, left := s.Pace(runs); s.State == results.Running && rate > 0 {
		figures = append(figures,
			figure{say("records a second", "每秒记录数"), say("%s", "%s", foreign(fmt.Sprintf("%.1f", rate)))})
		if left > 0 {
			figures = append(figures, figure{say("time left, at this rate", "按此速度的剩余时间"), say("%s", "%s", left)})
		}
	} else if left > 0 && !s.isOver() {
		figures = append(figures, figure{say("time left, at the rate so far", "按目前速度的剩余时间"), say("%s", "%s", left)})
	}
	if len(runs) > 0 {
		figures = append(figures, runFigures(runs)...)
	}
	figures = append(figures, figure{say("records processed", "已处理记录"), say("%s", "%s", all)})
	put := func(is bool, en, zh string, value any) {
		if is {
			figures = append(figures, figure{say(en, zh), say("%s", "%s", value)})
		}
	}
	put(s.Next.N > 1 && !s.isOver(), "next record, at line", "下一条记录所在的行", s.Next.Line)
	put(s.Export.Size > 0, "size of the export", "导出文件大小", foreign(bytesText(s.Export.Size)))
	put(s.Runs > 0, "runs", "运行次数", int64(s.Runs))
	put(s.Round > 0, "round of retries", "重试轮次", int64(s.Round))
	put(!s.RetryAt.IsZero(), "failed records are due", "失败记录的重试时间", s.RetryAt)
	put(s.GivenUp > 0, "records that are not retried any more", "不再重试的记录", s.GivenUp)
	put(!s.Finished.IsZero(), "finished at", "完成时间", s.Finished)
	return figures
}

// steps returns what there is to do about an import that may not be finished.
func (s *Status) steps(o Options) []step {
	nothing := step{class: "imported", title: say("Nothing to do", "无需操作")}
	resume := ""
	if o.Root != "" {
		resume = "groupimport import " + shell.File(o.at(s.Key))
	}
	switch {
	case s.State == results.Stopped:
		fix := step{class: string(outcome.Rejected), title: say("Fix what stopped it", "解决停止的原因"), command: resume}
		switch {
		case resume != "":
			fix.body = say(
				"No record is affected and nothing is lost. Fix the cause and run the same command again:",
				"没有记录受影响，数据没有丢失。解决问题后，再次运行同一命令：",
			)
		case !s.Again.IsZero():
			fix.body = say(
				"No record is affected and nothing is lost. Fix the cause: the scheduler tries again at %s.",
				"没有记录受影响，数据没有丢失。请解决问题：计划任务将于 %s 再试。", s.Again,
			)
		default:
			fix.body = say(
				"No record is affected and nothing is lost. Fix the cause: the scheduler tries again by itself.",
				"没有记录受影响，数据没有丢失。请解决问题：计划任务会自动再试。",
			)
		}
		return []step{fix}
	case s.State == results.Paused, s.State == results.Cancelled:
		if o.Root != "" {
			resume = "groupimport resume " + shell.File(o.at(s.Key))
		}
		if s.isOver() {
			return []step{{
				class: "imported", title: say("Resume the retries", "继续重试"), command: resume,
				body: say("Failed records are not retried until the import is resumed.", "在恢复之前不会重试失败的记录。"),
			}}
		}
		return []step{{
			class: "imported", title: say("Resume the import", "继续导入"), command: resume,
			body: say(
				"Nothing is sent until the import is resumed. The results so far are kept.",
				"在恢复之前不会发送任何请求。已有的结果会保留。",
			),
		}}
	case s.State == results.Running:
		nothing.body = say(
			"The import is running. If the run dies, the next one resumes after the last checkpoint.",
			"导入正在运行。即使异常终止，下一次运行也会从最后的检查点继续。",
		)
	case s.State == results.Finished:
		return s.finishedSteps(nothing)
	case resume != "":
		return []step{{
			class: "imported", title: say("Resume the import", "继续导入"), command: resume,
			body: say("Progress is saved. Run the same command again:", "进度已保存。再次运行同一命令："),
		}}
	default:
		nothing.body = say("The scheduler resumes the import within a minute.", "计划任务会在一分钟内继续导入。")
	}
	return []step{nothing}
}

// finishedSteps returns what there is to do about a finished import: the report says it in full.
func (s *Status) finishedSteps(nothing step) []step {
	switch {
	case s.Counts.Missing() == 0 && !s.Counts.IsWhole():
		return []step{{
			class: string(outcome.Failed), title: say("See the report", "查看报告"),
			body: say("It says which members are missing, and how to add them.", "报告说明缺少哪些成员，以及如何添加。"),
		}}
	case s.Counts.Missing() > 0:
		return []step{{
			class: string(outcome.Rejected), title: say("See the report", "查看报告"),
			body: say(
				"It says what is wrong with the records that were not imported, and how to import them.",
				"报告说明未导入记录的问题，以及如何导入它们。",
			),
		}}
	}
	nothing.body = say(
		"Keep the results: GroupIds that the service assigned are recorded nowhere else.",
		"请保留结果文件：由服务分配的 GroupId 只记录在其中。",
	)
	return []step{nothing}
}
