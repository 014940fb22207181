package httpapi

import (
	"fmt"
	"path"
	"strconv"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"

	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// A content is what differs between pages. Text from elsewhere stands in it by g.Text and in values of attributes only,
// which escape it, and links begin with our own path: [link].
type content struct {
	title   string
	refresh int // seconds; 0 is never
	body    g.Group
}

func (c content) document(lang string) g.Node {
	return h.Doctype(h.HTML(
		h.Lang(lang),
		h.Head(
			h.Meta(h.Charset("utf-8")), h.Meta(h.Name("viewport"), h.Content("width=device-width,initial-scale=1")),
			g.If(c.refresh > 0, h.Meta(g.Attr("http-equiv", "refresh"), h.Content(strconv.Itoa(c.refresh)))),
			h.StyleEl(g.Raw(pageStyle)), h.TitleEl(g.Text(c.title)),
		),
		h.Body(c.body),
	))
}

var (
	dim     = h.Class("dim")
	numeric = h.Class("n")
)

func listPage(l list, t dictionary) content {
	row := func(im scheduler.Status) g.Node {
		var done g.Node
		if im.State == results.Running {
			done = g.Text(fmt.Sprintf(" %d%%", share(im)))
		}
		return h.Tr(
			h.Td(h.A(h.Href(link(im.Key)), g.Text(im.Key))),
			h.Td(h.Span(h.Class(string(im.State)), g.Text(t[string(im.State)])), done),
			h.Td(numeric, g.Text(count(im.Counts.Records()))),
		)
	}
	imports := h.P(g.Text(t["none"]))
	if len(l.Imports) > 0 {
		column := func(name string, attributes ...g.Node) g.Node {
			return h.Th(h.Scope("col"), g.Group(attributes), g.Text(t[name]))
		}
		imports = h.Table(h.THead(h.Tr(column("export"), column("state"), column("records", numeric))), h.TBody(g.Map(l.Imports, row)))
	}
	return content{t["imports"], refreshList, g.Group{
		h.H1(g.Text(t["imports"])),
		imports,
		g.If(l.Next != "", h.P(h.A(h.Href(l.Next), g.Text(t["next"])))),
		h.P(dim, g.Text(t["refresh"])),
	}}
}

func importPage(im scheduler.Status, t dictionary) content {
	state, done := t[string(im.State)], share(im)
	c := content{title: fmt.Sprintf("%s %d%% %s", state, done, path.Base(im.Key))}
	if im.Finished.IsZero() {
		c.refresh = refreshImport
	}
	row := func(name, value string) g.Node {
		return h.Tr(h.Th(h.Scope("row"), g.Text(t[name])), h.Td(numeric, g.Text(value)))
	}
	var counts, facts g.Group
	for _, o := range outcomes(im.Counts) {
		counts = append(counts, row(string(o.Status), count(o.Count)))
	}
	counts = append(counts, row("records", count(im.Counts.Records())))
	fact := func(is bool, name, value string) { facts = append(facts, g.If(is, row(name, value))) }
	fact(im.Round > 0, "round", strconv.Itoa(im.Round))
	fact(im.Rate > 0, "rate", fmt.Sprintf("%.1f %s", im.Rate, t["second"]))
	fact(im.Rate > 0, "left", span(im.Left))
	fact(im.Next.N > 0, "position", fmt.Sprintf("%s (%s %s)", count(im.Next.N), t["line"], count(im.Next.Line)))
	fact(true, "size", size(im.Size))
	fact(true, "runs", strconv.Itoa(im.Runs))
	fact(!im.Again.IsZero(), "again", when(im.Again))
	fact(!im.RetryAt.IsZero(), "retryAt", when(im.RetryAt))
	fact(im.GivenUp > 0, "givenUp", count(im.GivenUp))
	fact(!im.Finished.IsZero(), "done", when(im.Finished))
	fact(!im.Updated.IsZero(), "updated", when(im.Updated))
	file := func(f results.File) g.Node {
		return h.Tr(h.Td(g.Text(f.Key), h.Br(), h.Code(dim, g.Text("SHA-256 "+f.SHA256))), h.Td(numeric, g.Text(size(f.Size))))
	}
	percent := strconv.Itoa(done)
	c.body = g.Group{
		h.P(h.A(h.Href("/imports"), g.Text(t["all"]))),
		h.Main(
			h.H1(g.Text(im.Key)),
			h.P(
				h.Role("status"), h.Strong(h.Class(string(im.State)), g.Text(state)),
				g.If(im.Gone, g.Text(" · "+t["gone"])), g.If(im.Reason != "", g.Group{h.Br(), g.Text(im.Reason)}),
			),
			h.Progress(h.Max("100"), h.Value(percent), h.Aria("label", t["state"]), g.Text(percent+"%")),
			h.Table(counts),
			h.Table(facts),
			g.If(len(im.Files) > 0, g.Group{h.H2(g.Text(t["files"])), h.Table(g.Map(im.Files, file))}),
		),
		g.If(c.refresh > 0, h.P(dim, g.Text(t["refresh"]))),
	}
	return c
}
