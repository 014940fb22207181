package report

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"groupimport/pkg/outcome"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// A text is said in both languages of the page.
type text struct{ EN, ZH g.Group }

// A label is a text without markup, for attributes.
type label struct{ EN, ZH string }

// Arguments of say that are not plain words.
type (
	foreign string // text from an export or a service
	code    string // a name of a file, a command, a variable
)

// say makes a text from formats, whose verbs are all %s, in the same or numbered order.
func say(en, zh string, args ...any) text {
	inEN, inZH := make(g.Group, len(args)), make(g.Group, len(args))
	both := func(i int, n g.Node) { inEN[i], inZH[i] = n, n }
	for i, arg := range args {
		switch a := arg.(type) {
		case text:
			inEN[i], inZH[i] = a.EN, a.ZH
		case int64:
			both(i, g.Text(thousands(a)))
		case time.Time:
			both(i, h.Time(h.DateTime(a.UTC().Format(time.RFC3339)), g.Text(a.UTC().Format("2006-01-02 15:04 UTC"))))
		case time.Duration:
			d := duration(a)
			inEN[i], inZH[i] = g.Text(d.EN), g.Text(d.ZH)
		case code:
			both(i, codeNode(shown(string(a), textMost)))
		case foreign:
			both(i, g.El("bdi", g.Text(shown(string(a), 3*textMost))))
		default:
			panic(fmt.Sprintf("say: %T", arg))
		}
	}
	return text{fill(en, inEN), fill(zh, inZH)}
}

// fill puts args in the place of a format's verbs: %s, or %[1]s to %[9]s.
func fill(format string, args g.Group) g.Group {
	var nodes g.Group
	from, next := 0, 0
	for _, at := range verb.FindAllStringSubmatchIndex(format, -1) {
		nodes = append(nodes, g.Text(format[from:at[0]]))
		from = at[1]
		if format[at[0]:at[1]] == "%%" {
			nodes = append(nodes, g.Text("%"))
			continue
		}
		if at[2] >= 0 {
			next = int(format[at[2]] - '1')
		}
		nodes = append(nodes, args[next])
		next++
	}
	return append(nodes, g.Text(format[from:]))
}

var verb = regexp.MustCompile(`%(?:%|s|\[([1-9])\]s)`)

// same is a text that is the same in both languages.
func same(s string) text { return say("%s", "%s", foreign(s)) }

// join joins texts.
func join(texts []text, en, zh string) text {
	var t text
	for i, x := range texts {
		if i > 0 {
			t.EN, t.ZH = append(t.EN, g.Text(en)), append(t.ZH, g.Text(zh))
		}
		t.EN, t.ZH = append(t.EN, x.EN...), append(t.ZH, x.ZH...)
	}
	return t
}

// plural chooses the English form.
func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// thousands writes n with commas, as both languages do.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// share writes what part n is of all. Only nothing is 0 % and only everything is 100 %.
func share(n, all int64) string {
	switch p := 100 * float64(n) / float64(max(all, 1)); {
	case n == 0:
		return "0%"
	case n >= all:
		return "100%"
	case p < 0.1:
		return "<0.1%"
	case p > 99.9:
		return ">99.9%"
	default:
		return fmt.Sprintf("%.1f%%", p)
	}
}

// duration says a time as exactly as people want it.
func duration(d time.Duration) label {
	switch {
	case d < time.Second:
		return label{fmt.Sprintf("%d ms", d.Milliseconds()), fmt.Sprintf("%d 毫秒", d.Milliseconds())}
	case d < 10*time.Second:
		return label{fmt.Sprintf("%.1f s", d.Seconds()), fmt.Sprintf("%.1f 秒", d.Seconds())}
	}
	d = d.Round(time.Second)
	hours, m, s := d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second
	switch {
	case d < time.Minute:
		return label{fmt.Sprintf("%d s", s), fmt.Sprintf("%d 秒", s)}
	case d < time.Hour:
		return label{fmt.Sprintf("%d min %d s", m, s), fmt.Sprintf("%d 分 %d 秒", m, s)}
	case d < 48*time.Hour:
		return label{fmt.Sprintf("%d h %d min", hours, m), fmt.Sprintf("%d 小时 %d 分", hours, m)}
	default:
		return label{fmt.Sprintf("%d days %d h", hours/24, hours%24), fmt.Sprintf("%d 天 %d 小时", hours/24, hours%24)}
	}
}

// bytesText says a size.
func bytesText(n int64) string {
	switch f := float64(n); {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%.1f kB", f/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", f/1e6)
	default:
		return fmt.Sprintf("%.1f GB", f/1e9)
	}
}

// A meaning is what the page says of a status.
type meaning struct {
	status outcome.Status
	name   label
	what   label
	count  func(outcome.Counts) int64
}

// meanings are in the order of the page.
var meanings = []meaning{
	{outcome.Imported, label{"imported", "已导入"}, label{"the group was made", "群组已创建"}, func(c outcome.Counts) int64 { return c.Imported }},
	{
		outcome.Exists,
		label{"exists", "已存在"},
		label{"it stood already and is the record's own", "群组原已存在，且与记录一致"},
		func(c outcome.Counts) int64 { return c.Exists },
	},
	{
		outcome.Rejected,
		label{"rejected", "被拒绝"},
		label{"it breaks a rule, or the service refused it for good", "不符合规则，或被服务明确拒绝"},
		func(c outcome.Counts) int64 { return c.Rejected },
	},
	{
		outcome.Failed,
		label{"failed", "失败"},
		label{"the service would not, after all attempts", "多次尝试后服务仍未接受"},
		func(c outcome.Counts) int64 { return c.Failed },
	},
	{
		outcome.Unknown,
		label{"unknown", "待确认"},
		label{"it has no GroupId and the answer was lost: the group may exist", "没有 GroupId 且应答丢失：群组可能已存在"},
		func(c outcome.Counts) int64 { return c.Unknown },
	},
	{outcome.Skipped, label{"skipped", "已跳过"}, label{"the mapping left it out", "按映射规则跳过"}, func(c outcome.Counts) int64 { return c.Skipped }},
}

// countsOf is counts by status.
func countsOf(c outcome.Counts) map[outcome.Status]int64 {
	counts := map[outcome.Status]int64{}
	for _, m := range meanings {
		if m.count != nil {
			counts[m.status] = m.count(c)
		}
	}
	return counts
}

// headline says what came of an import in one sentence.
func headline(in, all int64) text {
	switch {
	case all == 0:
		return say("The export holds no records.", "导出文件中没有记录。")
	case in == all && all == 1:
		return say("The one group is in.", "唯一的群组已导入。")
	case in == all:
		return say("All %s groups are in.", "全部 %s 个群组已导入。", all)
	case in == 0 && all == 1:
		return say("The one group is not in.", "唯一的群组未导入。")
	case in == 0:
		return say("None of the %s groups is in.", "%s 个群组均未导入。", all)
	default:
		return say("%s of %s groups "+plural(in, "is", "are")+" in.", "%[2]s 个群组中已导入 %[1]s 个。", in, all)
	}
}

// rest says what became of the others.
func rest(counts map[outcome.Status]int64, failed text) text {
	var parts []text
	for _, p := range []struct {
		status        outcome.Status
		one, many, zh string
	}{
		{outcome.Rejected, "%s was rejected", "%s were rejected", "%s 个被拒绝"},
		{outcome.Unknown, "%s needs a look", "%s need a look", "%s 个需要人工确认"},
		{outcome.Failed, "%s failed", "%s failed", "%s 个失败"},
		{outcome.Skipped, "%s was left out by the mapping", "%s were left out by the mapping", "%s 个按映射规则跳过"},
	} {
		if n := counts[p.status]; n > 0 {
			t := say(plural(n, p.one, p.many), p.zh, n)
			if p.status == outcome.Failed {
				t = join([]text{t, failed}, "", "")
			}
			parts = append(parts, t)
		}
	}
	if len(parts) == 0 {
		return text{}
	}
	return join([]text{join(parts, ", ", "，"), say(".", "。")}, "", "")
}

// nameOf is a status as people read it.
func nameOf(s outcome.Status) label {
	for _, m := range meanings {
		if m.status == s {
			return m.name
		}
	}
	return label{shown(string(s), 32), shown(string(s), 32)}
}

// classOf is the style class of a status.
func classOf(s outcome.Status) string {
	for _, m := range meanings {
		if m.status == s {
			return string(s)
		}
	}
	return "other"
}

// baseOf is the last part of a key.
func baseOf(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }
