package report

import (
	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"

	"groupimport/pkg/outcome"
)

// A memberRow is a row of the table of members.
type memberRow struct {
	class         string // of the status that it is like
	name, meaning label
	count         int64
}

// memberRows returns how the members in the lists of groups arrived, in the order of the page. Rows without a member
// are left out, but for the first.
func memberRows(m *outcome.Members) []memberRow {
	all := []memberRow{
		{
			"imported",
			label{"added", "已添加"},
			label{"added to their groups; owners in the list count", "已添加到群组；列表中的群主计入"},
			m.Added,
		},
		{"exists", label{"already", "已是成员"}, label{"were members of their groups before", "此前已是群成员"}, m.Already},
		{
			"failed",
			label{"no account", "账号不存在"},
			label{"the account does not exist: import the accounts first, then the members again", "账号不存在：请先导入账号，再重新导入成员"},
			m.NoAccount,
		},
		{"rejected", label{"invalid", "无效"}, label{"break a rule and were not sent: fix them", "不符合规则，未发送：请修正"}, m.Invalid},
		{
			"rejected",
			label{"refused", "被服务拒绝"},
			label{"rejected by the service with an error code", "服务返回错误码，永久拒绝"},
			m.Refused,
		},
		{
			"failed",
			label{"no reason given", "未说明原因"},
			label{
				"the service did not add them and gave no reason, or failed after all retries",
				"服务未添加且未说明原因，或多次重试后仍失败",
			},
			m.Failed - m.NoAccount - m.Invalid - m.Refused,
		},
		{"pending", label{"pending", "待发送"}, label{"not sent yet", "尚未发送"}, m.Pending},
	}
	rows := all[:1]
	for _, r := range all[1:] {
		if r.count > 0 {
			rows = append(rows, r)
		}
	}
	return rows
}

// membersText says in one sentence how members arrived; empty if there are none.
func membersText(m *outcome.Members) text {
	if m.Total() == 0 {
		return text{}
	}
	parts := []text{say(plural(m.Added, "%s member was added", "%s members were added"), "已添加 %s 名成员", m.Added)}
	if m.Already > 0 {
		parts = append(parts,
			say(plural(m.Already, "%s was a member before", "%s were members before"), "%s 名此前已是成员", m.Already))
	}
	if m.Failed > 0 {
		parts = append(parts, say(plural(m.Failed, "%s is missing", "%s are missing"), "%s 名未能添加", m.Failed))
	}
	if m.Pending > 0 {
		parts = append(parts, say(plural(m.Pending, "%s is pending", "%s are pending"), "%s 名待发送", m.Pending))
	}
	return join("", "", join(", ", "，", parts...), say(".", "。"))
}

// membersSection says what became of members; nil if the import has none. more are nodes below the table.
func membersSection(c *outcome.Counts, more ...g.Node) g.Node {
	m := &c.Members
	if m.Total() == 0 && c.MemberRecords == 0 {
		return nil
	}
	var nodes []g.Node
	if all := m.Total(); all > 0 {
		row := func(r memberRow) g.Node {
			return h.Tr(
				g.If(r.count == 0, h.Class("none")), h.Th(ofRow, h.Class("status "+r.class), r.name.node()),
				h.Td(numeric, g.Text(thousands(r.count))), h.Td(h.Class("n quiet"), g.Text(share(r.count, all))),
				h.Td(h.Class("meaning"), r.meaning.node()),
			)
		}
		nodes = append(nodes, h.Table(h.Class("counts"), lines(
			h.Caption(aside, words("Members in the lists of groups that exist", "已存在群组的成员列表中的成员")),
			h.THead(aside, h.Tr(
				column(label{"Result", "结果"}), column(label{"Members", "成员数"}), column(label{"Share", "占比"}),
				column(label{"Meaning", "含义"}),
			)),
			h.TBody(each(memberRows(m), row)),
			h.TFoot(h.Tr(
				h.Th(ofRow, words("members", "成员")), h.Td(numeric, g.Text(thousands(all))), h.Td(),
				h.Td(h.Class("meaning quiet"), words("in the lists of groups that exist", "已存在群组的成员列表")),
			)),
		)))
	}
	if n := m.Demoted; n > 0 {
		nodes = append(nodes, h.P(say(
			plural(n, "%s Admin of a Private group was sent as a member", "%s Admins of Private groups were sent as members")+
				": such groups have no administrators.",
			"Private 群组中的 %s 名管理员已作为普通成员导入：此类群组没有管理员。", n,
		).node()))
	}
	return section("members", words("Members", "成员"), append(nodes, more...)...)
}

// createdNote says how many groups create_group created; empty if none.
func createdNote(c *outcome.Counts) text {
	if c.Created == 0 {
		return text{}
	}
	return say(
		plural(c.Created, "%s AVChatRoom was created", "%s AVChatRooms were created")+
			" with create_group: the app's webhooks were fired, and CreateTime was not kept.",
		"已通过 create_group 创建 %s 个直播群（AVChatRoom）：会触发应用的回调，且无法保留 CreateTime。", c.Created,
	)
}

// recordsText says what became of member records; empty if there are none.
func (b *Builder) recordsText() text {
	records := b.members.Records
	all, added, before := int64(0), records[outcome.Imported], records[outcome.Exists]
	for _, n := range records {
		all += n
	}
	if all == 0 {
		return text{}
	}
	t := say(
		plural(all, "%s member record: ", "%s member records: ")+
			plural(added, "%s member was added, ", "%s members were added, ")+
			plural(before, "%s was a member before.", "%s were members before."),
		"%s 条成员记录：已添加 %s 名成员，%s 名此前已是成员。", all, added, before,
	)
	if rest := all - added - before; rest > 0 {
		t = join(" ", "", t, say(
			plural(rest, "%s is not a member: it is among the records below.",
				"%s are not members: they are among the records below."),
			"%s 条未能添加，见下文的记录。", rest,
		))
	}
	return t
}

// membersSection says what became of members, with examples of groups that lack some.
func (b *Builder) membersSection() g.Node {
	var more []g.Node
	if t := b.recordsText(); !t.isEmpty() {
		more = append(more, h.P(t.node()))
	}
	if n := b.members.Lacking; n > 0 {
		title := say(plural(n, "%s group exists and lacks members", "%s groups exist and lack members"), "%s 个群组已存在，但缺少成员", n)
		if shown := int64(len(b.members.Examples)); shown < n {
			title = join("", "", title, say(". These are the first %s:", "。前 %s 个：", shown))
		} else {
			title = join("", "", title, say(":", "："))
		}
		more = append(more, h.H3(title.node()), h.Ul(h.Class("examples"), each(b.members.Examples, exampleNode)))
	}
	return membersSection(&b.members.Counts, more...)
}
