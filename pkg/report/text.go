package report

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// A text is said in both languages of a page.
type text struct{ EN, ZH g.Group }

// A label is a text without markup, for tables and attributes.
type label struct{ EN, ZH string }

// Arguments of say that are not plain words.
type (
	foreign string // text from an export or the service
	code    string // the name of a file, a command, a variable
)

// say makes a text from formats, whose verbs are all %s, in the same or numbered order.
func say(en, zh string, args ...any) text {
	inEN, inZH := make(g.Group, len(args)), make(g.Group, len(args))
	both := func(i int, n g.Node) { inEN[i], inZH[i] = n, n }
	for i, arg := range args {
		switch a := arg.(type) {
		case text:
			inEN[i], inZH[i] = a.EN, a.ZH
		case label:
			inEN[i], inZH[i] = g.Text(a.EN), g.Text(a.ZH)
		case int64:
			both(i, g.Text(thousands(a)))
		case time.Time:
			both(i, h.Time(h.DateTime(a.UTC().Format(time.RFC3339)), g.Text(a.UTC().Format("2006-01-02 15:04 UTC"))))
		case time.Duration:
			d := duration(a)
			inEN[i], inZH[i] = g.Text(d.EN), g.Text(d.ZH)
		case code:
			both(i, codeNode(shown(string(a), maxText)))
		case foreign:
			both(i, g.El("bdi", g.Text(shown(string(a), 3*maxText))))
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
		if at[2] >= 0 {
			next = int(format[at[2]] - '1')
		}
		nodes = append(nodes, args[next])
		next++
	}
	return append(nodes, g.Text(format[from:]))
}

var verb = regexp.MustCompile(`%(?:s|\[([1-9])\]s)`)

// english is a message that there is in English only, as it came.
func english(message string) text {
	t := say("%s", "%s", foreign(message))
	return text{t.EN, g.Group{h.Span(h.Lang("en"), t.ZH)}}
}

// join joins texts.
func join(en, zh string, texts ...text) text {
	var t text
	for _, x := range texts {
		if x.isEmpty() {
			continue
		}
		if !t.isEmpty() {
			t.EN, t.ZH = append(t.EN, g.Text(en)), append(t.ZH, g.Text(zh))
		}
		t.EN, t.ZH = append(t.EN, x.EN...), append(t.ZH, x.ZH...)
	}
	return t
}

func (t text) isEmpty() bool { return len(t.EN) == 0 }

// node is the text in both languages, one of which is shown.
func (t text) node() g.Node {
	return g.Group{h.Span(h.Class("e"), h.Lang("en"), t.EN), h.Span(h.Class("z"), h.Lang("zh-CN"), t.ZH)}
}

func (l label) node() g.Node { return say("%s", "%s", l).node() }

func words(en, zh string) g.Node { return label{en, zh}.node() }

// plural chooses the English form.
func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// thousands writes n with commas, as both languages do.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
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

// duration writes a time as exactly as people need it.
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

// bytesText writes a size.
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
