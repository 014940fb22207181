package report

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
)

var (
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
)

// policy allows the page its own style and script, by their hashes, and nothing else.
func policy() string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; style-src " + hash(pageCSS) + "; script-src " + hash(pageJS) + "; base-uri 'none'; form-action 'none'"
}

// A view is what the page shows. [view.document] is the page.
type view struct {
	Title label
	Name  string // of the export
	Key   string
	State string // class of the state's badge
	Badge text
	Head  text
	Rest  text
	Notes []text

	Segments []segment
	BarAlt   label
	Statuses []statusRow
	Records  string

	Steps    []step
	Kinds    []kindView
	Others   int64 // records that are not in, of kinds that are not listed
	Figures  []figure
	Plots    []plot
	Tries    []try
	Runs     []runGroup
	Rows     []row
	RowsAll  int64
	Failures string // name of the file
	Files    []file
	Updated  text
	Refresh  int  // seconds
	Open     bool // the import is not through
}

type segment struct {
	Class string
	X, W  string // percent
}

type statusRow struct {
	Class, Count, Share string
	Name, What          label
}

type step struct {
	Class   string
	Title   text
	Body    text
	Command string
}

type kindView struct {
	Number   int
	Class    string
	Status   label
	Code     int
	Field    string
	Title    text
	Advice   text
	Count    int64
	Share    string // of the largest kind, percent
	Examples []exampleView
	Listed   bool // some of its records are in the table
}

type exampleView struct {
	Line    int64
	GroupID string
	Field   string
	Value   string
	Text    text
}

type figure struct {
	Name  text
	Value text
}

type try struct {
	Name  label
	Count string
	Wide  string
}

type runGroup struct {
	Title text
	Runs  []runView
	Left  int64 // of the middle, that are not listed
}

type runView struct {
	Number   int
	Start    text
	Took     text
	Records  string
	Attempts string
	Slowed   string
	Why      text
	Stopped  bool
}

type file struct {
	Name, Link, Size, SHA256 string
	What                     text
}

func (v *view) write(w io.Writer) error {
	b := bufio.NewWriter(w)
	if err := v.document().Render(b); err != nil {
		return err
	}
	return b.Flush()
}

// newView returns what both pages have.
func newView(names results.Names, counts map[outcome.Status]int64) *view {
	v := &view{Name: shown(baseOf(names.Export), textMost), Key: shown(names.Export, textMost), Failures: shown(baseOf(names.Failures()), textMost)}
	all := sum(counts)
	v.Records = thousands(all)
	for _, m := range meanings {
		if n := counts[m.status]; n > 0 || m.count != nil {
			v.Statuses = append(v.Statuses, statusRow{Class: classOf(m.status), Count: thousands(n), Share: share(n, all), Name: m.name, What: m.what})
		}
	}
	for _, s := range slices.Sorted(maps.Keys(counts)) { // that this version of the page does not know
		if classOf(s) == "other" {
			v.Statuses = append(v.Statuses, statusRow{Class: "other", Count: thousands(counts[s]), Share: share(counts[s], all), Name: nameOf(s)})
		}
	}
	return v
}

// bar sets the stacked bar. left is the share of the export that nothing is known of yet.
func (v *view) bar(counts map[outcome.Status]int64, left float64) {
	const least = 1.2 // percent: what is there must be seen, on a telephone too
	type part struct {
		class string
		wide  float64
	}
	var parts []part
	all := float64(max(1, sum(counts)))
	total := 0.0
	put := func(class string, wide float64) {
		wide = max(wide, least)
		total += wide
		parts = append(parts, part{class, wide})
	}
	var en, zh []string
	other := sum(counts)
	for _, m := range meanings {
		other -= counts[m.status]
		if n := counts[m.status]; n > 0 {
			put(classOf(m.status), 100*(1-left)*float64(n)/all)
			en, zh = append(en, thousands(n)+" "+m.name.EN), append(zh, m.name.ZH+" "+thousands(n))
		}
	}
	if other > 0 {
		put("other", 100*(1-left)*float64(other)/all)
		en, zh = append(en, thousands(other)+" other"), append(zh, "其他 "+thousands(other))
	}
	if left > 0 {
		put("left", 100*left)
		en, zh = append(en, fmt.Sprintf("%.0f%% of the export is left", 100*left)), append(zh, fmt.Sprintf("导出文件还剩 %.0f%%", 100*left))
	}
	x := 0.0
	for _, p := range parts {
		wide := 100 * p.wide / total
		v.Segments = append(v.Segments, segment{p.class, fmt.Sprintf("%.3f%%", x), fmt.Sprintf("%.3f%%", wide)})
		x += wide
	}
	v.BarAlt = label{strings.Join(en, ", "), strings.Join(zh, "，")}
}

func sum(counts map[outcome.Status]int64) int64 {
	var all int64
	for _, n := range counts {
		all += n
	}
	return all
}

func inOf(counts map[outcome.Status]int64) int64 {
	var in int64
	for s, n := range counts {
		if s.HasGroup() {
			in += n
		}
	}
	return in
}

// view returns what the page of an import says that is through.
func (b *Builder) view(names results.Names, m *results.Manifest) *view {
	v := newView(names, b.counts)
	all, in := sum(b.counts), inOf(b.counts)
	v.bar(b.counts, 0)
	v.Head = headline(in, all)
	v.Badge, v.State = say("finished", "已完成"), "finished"
	var failed text
	if !m.RetryAt.IsZero() {
		failed = say(" and will be tried again", "，将自动重试")
	}
	v.Rest = rest(b.counts, failed)
	v.Title = label{fmt.Sprintf("%s of %s in - %s", thousands(in), thousands(all), v.Name), fmt.Sprintf("已导入 %s/%s - %s", thousands(in), thousands(all), v.Name)}
	if m.Replaced {
		v.Badge, v.State = say("replaced", "已被取代"), "replaced"
		v.Notes = append(v.Notes, say("A newer version of the export has taken its place. This page is about the older one; its results are kept, because GroupIds that the service chose stand nowhere else.",
			"该导出文件已被新版本取代。本页是旧版本的结果；结果文件予以保留，因为由服务分配的 GroupId 只记录在其中。"))
	}
	if !m.Complete {
		v.Notes = append(v.Notes, say("The import of this version was not finished: records behind these were not looked at.", "此版本的导入未完成：其后的记录未处理。"))
	}
	v.Notes = append(v.Notes, carried(m.Carry)...)
	v.Steps = b.steps(names, m)
	b.viewKinds(v)
	b.viewPlots(v, m)
	v.runs(m.Runs, m.Rounds, false)
	v.Rows, v.RowsAll = b.rows, b.missing
	for _, f := range m.Files {
		key, what := names.Results(), say("every record's outcome, in the order of the export", "每条记录的结果，按导出文件的顺序")
		if _, kind := results.Beside(f.Key); kind == results.BesideFailures {
			key, what = names.Failures(), say("the records that are not in, each as it came", "未导入的记录，附原始内容")
		}
		v.Files = append(v.Files, file{Name: shown(baseOf(key), textMost), Link: "./" + escapePath(baseOf(key)), Size: bytesText(f.Size), SHA256: f.SHA256, What: what})
	}
	finished := m.Finished
	if n := len(m.Rounds); n > 0 {
		finished = m.Rounds[n-1].End
	}
	v.Updated = say("As of %s.", "截至 %s。", finished)
	return v
}

// carried says what an import took over from earlier versions of its export.
func carried(c *results.Carry) []text {
	if c == nil {
		return nil
	}
	notes := []text{say("Carried over from an earlier version of the export: %s of %s outcomes. Not found again: %s. New records without a GroupId that were created: %s.",
		"从此前版本沿用的结果：%s 条（共 %s 条）。本次未再出现：%s 条。新建的无 GroupId 记录：%s 条。", c.Carried, c.Earlier, c.NotFound(), c.Created)}
	if c.NotFound() > 0 && c.Created > 0 {
		notes = append(notes, say("If the export should hold the same groups as before, compare the two versions: the order or the contents differ.",
			"如果导出文件的群组应与之前相同，请比较两个版本：顺序或内容有差异。"))
	}
	if c.Differs > 0 {
		notes = append(notes, say("%s groups that were carried over have changed in the export since. The import does not update existing groups.",
			"%s 个沿用的群组在导出文件中已有变化。导入不会更新已存在的群组。", c.Differs))
	}
	return notes
}

// escapePath escapes a name for a link that stands beside it.
func escapePath(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c == '-' || c == '.' || c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// steps says what there is to do.
func (b *Builder) steps(names results.Names, m *results.Manifest) []step {
	var steps []step
	failures := code(baseOf(names.Failures()))
	again := againName(names.Export)
	only := func(s outcome.Status, to string) string {
		return fmt.Sprintf(`grep '"status":"%s"' %s > %s`, s, quote(string(failures)), quote(to))
	}
	if n := b.counts[outcome.Rejected]; n > 0 {
		steps = append(steps, step{
			string(outcome.Rejected),
			say("Mend what was rejected: "+plural(n, "%s record", "%s records"), "修正被拒绝的 %s 条记录", n),
			say("Take their lines from %s into a file of a new name, mend what stands under %s in each, and drop the file where the export was dropped. Only those records are imported. The command takes the lines:",
				"从 %s 中取出这些行，存为一个新名字的文件，修改每行 %s 下的内容，再把文件放到导出文件所在的位置。只会导入这些记录。取出这些行的命令：", failures, code("record")),
			only(outcome.Rejected, again),
		})
	}
	if n := b.counts[outcome.Unknown]; n > 0 {
		steps = append(steps, step{
			string(outcome.Unknown),
			say("Look for what is unknown: "+plural(n, "%s record", "%s records"), "确认结果未知的 %s 条记录", n),
			say("They have no GroupId, and the response was lost: their groups may exist. Look for each by its name in the console. They are sent again only with %s, by a round of retries or when the dead-letter file is dropped as an export. Groups that exist are then created twice.",
				"这些记录没有 GroupId，且应答已丢失：群组可能已经存在。请在控制台按名称查找；只有设置 %s 后，重试或再次导入失败记录文件时才会重新发送这些记录；已存在的群组会因此重复创建。", code("RETRY_UNKNOWN=true")),
			"",
		})
	}
	if n := b.counts[outcome.Failed]; n > 0 {
		s := step{Class: string(outcome.Failed)}
		switch {
		case !m.RetryAt.IsZero():
			s.Title = say(plural(n, "Nothing to do about the %s that failed", "Nothing to do about the %s that failed"), "失败的 %s 条无需处理", n)
			s.Body = say("The schedule tries again, at the earliest at %s. On a desk:", "计划任务会自动重试，最早于 %s。在本机上可立即重试：", m.RetryAt)
			s.Command = "go run ./functions/local retry -now FOLDER"
		default:
			s.Title = say("Try the %s that failed again yourself", "自行重试失败的 %s 条", n)
			s.Body = say("They are not tried again by themselves (%s "+plural(int64(len(m.Rounds)), "round", "rounds")+" of retries). See below what the service said; once that is mended, drop their lines as a file of a new name:",
				"它们不会再自动重试（已重试 %s 轮）。请看下文服务的说明；问题解决后，把这些行存为新名字的文件再导入：", int64(len(m.Rounds)))
			s.Command = only(outcome.Failed, again)
		}
		steps = append(steps, s)
	}
	switch {
	case sum(b.counts) == 0:
		steps = append(steps, step{
			"", say("Look at the export", "检查导出文件"),
			say("It was read to its end and holds no record. Was it written to its end?", "文件已读到末尾，没有记录。导出是否已写完？"), "",
		})
	case len(steps) == 0:
		steps = append(steps, step{
			"imported", say("Nothing is left to do", "无需任何操作"),
			say("Keep %s: GroupIds that the service chose stand nowhere else.", "请保留 %s：由服务分配的 GroupId 只记录在其中。", code(baseOf(names.Results()))), "",
		})
	}
	return steps
}

// againName proposes a name for a file of mended records that is read as an export of outcomes.
func againName(export string) string {
	name := baseOf(export)
	if i := strings.IndexByte(name, '.'); i > 0 {
		name = name[:i]
	}
	return name + ".mended.jsonl"
}

// quote quotes a name for a shell, if it must be. Characters that cannot be seen are written as numbers,
// which bash and zsh understand.
func quote(name string) string {
	plain := func(r rune) bool {
		return r == '-' || r == '.' || r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
	}
	switch {
	case strings.ContainsFunc(name, hidden):
		var b strings.Builder
		for _, r := range name {
			switch {
			case hidden(r):
				fmt.Fprintf(&b, `\U%08X`, r)
			case r == '\'' || r == '\\':
				b.WriteString(`\` + string(r))
			default:
				b.WriteRune(r)
			}
		}
		return "$'" + b.String() + "'"
	case strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }), strings.HasPrefix(name, "-"):
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	return name
}

func (b *Builder) viewKinds(v *view) {
	listed := map[int]bool{}
	for _, r := range b.rows {
		listed[r.Kind] = true
	}
	list, others := b.kinds.list()
	v.Others = others
	for _, k := range list {
		title := translated(shown(k.title(), textMost))
		view := kindView{
			Number: k.number, Class: classOf(k.status), Status: nameOf(k.status), Code: k.code, Field: shown(k.field, 64), Count: k.count,
			Share: fmt.Sprintf("%.1f%%", 100*float64(k.count)/float64(list[0].count)), Listed: listed[k.number],
			Title: title, Advice: advice(k),
		}
		if k.sent {
			view.Title = say("the service answered with code %s", "服务返回代码 %s", foreign(fmt.Sprint(k.code)))
			if meaning := b.explain(k.code); meaning != "" {
				view.Title = translated(meaning)
			}
		}
		for _, e := range k.examples {
			view.Examples = append(view.Examples, exampleView{Line: e.line, GroupID: e.groupID, Field: e.field, Value: e.value, Text: translated(e.text)})
		}
		v.Kinds = append(v.Kinds, view)
	}
}

// advice says what to do about records of a kind.
func advice(k *kind) text {
	switch k.status {
	case outcome.Rejected:
		if k.sent {
			return say("The service refused it for good. Mend the record, or what it depends on, and import it again.", "服务明确拒绝。请修正记录或其依赖的内容后重新导入。")
		}
		if k.field == "" {
			return say("It was not sent. Mend the line and import it again.", "未发送。请修正该行后重新导入。")
		}
		return say("It was not sent. Mend %s and import the record again.", "未发送。请修正 %s 后重新导入。", code(k.field))
	case outcome.Failed:
		return say("Nothing is wrong with the record itself. It may be sent again as it is.", "记录本身没有问题，可原样重新发送。")
	case outcome.Unknown:
		return say("Look in the console whether the group exists before you import it again.", "重新导入之前，请先在控制台确认群组是否存在。")
	case outcome.Imported, outcome.Exists, outcome.Skipped:
	}
	return text{}
}

func (b *Builder) viewPlots(v *view, m *results.Manifest) {
	runs := slices.Clone(m.Runs)
	for _, r := range m.Rounds {
		runs = append(runs, r.Runs...)
	}
	var attempts, slowed int64
	var worked time.Duration
	budget := 0.0
	for _, r := range runs {
		attempts += r.Attempts
		slowed += int64(r.Slowed)
		budget = max(budget, r.Rate)
		if !r.End.IsZero() {
			worked += r.End.Sub(r.Start)
		}
	}
	stretches := b.series.stretches()
	if worked > 0 {
		v.Figures = append(v.Figures, figure{say("time at work", "工作时间"), say("%s", "%s", worked)})
	}
	v.Figures = append(v.Figures,
		figure{say("attempts", "尝试次数"), say("%s", "%s", attempts)},
		figure{say("the service said “too fast”", "服务提示“过快”"), say(plural(slowed, "%s time", "%s times"), "%s 次", slowed)},
	)
	if len(stretches) == 0 {
		return
	}
	total := &results.Latencies{}
	for _, s := range stretches {
		for i := range s.points {
			total.Merge(&s.points[i].latency)
		}
	}
	ms := func(share float64) string { return tick(math.Round(total.Percentile(share))) }
	v.Figures = append(v.Figures, figure{
		say("answers within: half, 95%%, 99%%", "响应时间：50%%、95%%、99%%"),
		say("%s, %s, %s ms", "%s、%s、%s 毫秒", foreign(ms(0.5)), foreign(ms(0.95)), foreign(ms(0.99))),
	})
	v.Plots = []plot{ratePlot(stretches, budget), latencyPlot(stretches, total)}
	most := slices.Max(b.tries[:])
	for i, n := range b.tries {
		if n == 0 {
			continue
		}
		name := label{fmt.Sprintf("%d attempts", i), fmt.Sprintf("%d 次", i)}
		switch i {
		case 0:
			name = label{"not sent", "未发送"}
		case 1:
			name = label{"1 attempt", "1 次"}
		case len(b.tries) - 1:
			name = label{fmt.Sprintf("%d and more", i), fmt.Sprintf("%d 次及以上", i)}
		}
		v.Tries = append(v.Tries, try{name, thousands(n), fmt.Sprintf("%.2f%%", max(0.4, 100*float64(n)/float64(most)))})
	}
}

// runsShown is how many runs of an import or a round are listed: the first and the last half.
const runsShown = 60

func (v *view) runs(runs []results.Run, rounds []results.Round, running bool) {
	number := 0
	put := func(title text, runs []results.Run, running bool) {
		g := runGroup{Title: title}
		for i, r := range runs {
			number++
			if len(runs) > runsShown && i >= runsShown/2 && i < len(runs)-runsShown/2 {
				g.Left++
				continue
			}
			g.Runs = append(g.Runs, viewRun(number, r, running && i == len(runs)-1))
		}
		if len(runs) > 0 {
			v.Runs = append(v.Runs, g)
		}
	}
	put(say("The import", "导入"), runs, running)
	for i, r := range rounds {
		put(say("Round %s of retries", "第 %s 轮重试", int64(i+1)), r.Runs, false)
	}
}

func viewRun(number int, r results.Run, running bool) runView {
	v := runView{
		Number: number, Start: say("%s", "%s", r.Start), Records: thousands(r.Counts.Records()), Attempts: thousands(r.Attempts),
		Slowed: thousands(int64(r.Slowed)), Stopped: r.Stop != "", Why: translated(cmp.Or(r.Why, "it was through")),
	}
	switch {
	case running:
		v.Why, v.Took = say("it is at work", "进行中"), say("…", "…")
	case r.End.IsZero():
		v.Why, v.Took = say("it died; the next one went on", "异常终止；由下一次运行继续"), say("…", "…")
	default:
		v.Took = say("%s", "%s", r.End.Sub(r.Start))
	}
	return v
}

// progressView returns what the page of an import says that is not through.
func progressView(names results.Names, p *results.Progress, runs []results.Run, refresh time.Duration) *view {
	counts := countsOf(p.Counts)
	all, in := sum(counts), inOf(counts)
	v := newView(names, counts)
	v.Refresh = int(refresh / time.Second)
	done := 0.0
	if p.Export.Size > 0 {
		done = min(1, float64(p.Next.Offset)/float64(p.Export.Size))
	}
	v.bar(counts, 1-done)
	percent := foreign(fmt.Sprintf("%d%%", min(99, int(100*done))))
	v.Title = label{string(percent) + " - " + v.Name, string(percent) + " - " + v.Name}
	v.Head = say("%s "+plural(in, "group is", "groups are")+" in so far.", "目前已导入 %s 个群组。", in)
	if in == 0 {
		v.Head = say("No group is in yet.", "目前尚无群组导入。")
	}
	v.Rest = join([]text{say("%s of the export is done.", "导出文件已处理 %s。", percent), rest(counts, text{})}, " ", "")
	v.Open = true
	reason := translated(p.Reason)
	folder := code("go run ./functions/local import " + quote(baseOf(names.Export)))
	switch p.State {
	case results.Stopped:
		v.Badge, v.State = say("stopped", "已停止"), "stopped"
		v.Notes = append(v.Notes, say("Stopped: %s", "已停止：%s", reason))
		s := step{Class: string(outcome.Rejected), Title: say("Mend what stopped it", "解决停止的原因")}
		s.Body = say("No record is blamed and nothing is lost. Once it is mended the schedule goes on by itself, at the latest at its next try. On a desk, the same command goes on:",
			"没有记录因此被判失败，数据没有丢失。问题解决后，计划任务会自动继续。在本机上，再次运行同一命令即可继续：")
		if !p.Again.IsZero() {
			s.Body = say("No record is blamed and nothing is lost. Once it is mended it goes on: the schedule tries again at %s. On a desk, the same command goes on at once:",
				"没有记录因此被判失败，数据没有丢失。问题解决后会继续：计划任务将于 %s 再试。在本机上，再次运行同一命令可立即继续：", p.Again)
		}
		s.Command = string(folder)
		v.Steps = append(v.Steps, s)
	case results.Running:
		v.Badge, v.State = say("running", "进行中"), "running"
		v.Steps = append(v.Steps, step{Class: "imported", Title: say("Nothing to do", "无需操作"), Body: say("A run is at work. If it dies, the next one goes on behind what is written.", "正在运行。即使意外终止，下一次运行也会接着继续。")})
	case results.Waiting, results.Finished:
		v.Badge, v.State = say("goes on by itself", "将自动继续"), "waiting"
		if p.Reason != "" {
			v.Notes = append(v.Notes, say("The last run has ended: %s.", "上一次运行已结束：%s。", reason))
		}
		v.Steps = append(v.Steps, step{
			Class: "imported", Title: say("Nothing to do", "无需操作"),
			Body:    say("The schedule goes on within a minute. On a desk, the same command goes on:", "计划任务会在一分钟内继续。在本机上，再次运行同一命令即可继续："),
			Command: string(folder),
		})
	}
	if left := timeLeft(p, runs); left > 0 {
		v.Figures = append(v.Figures, figure{say("time left, at the rate so far", "按目前速度的剩余时间"), say("%s", "%s", left)})
	}
	var attempts, slowed int64
	for _, r := range runs {
		attempts += r.Attempts
		slowed += int64(r.Slowed)
	}
	if attempts > 0 {
		v.Figures = append(v.Figures,
			figure{say("attempts", "尝试次数"), say("%s", "%s", attempts)},
			figure{say("the service said “too fast”", "服务提示“过快”"), say(plural(slowed, "%s time", "%s times"), "%s 次", slowed)},
		)
	}
	v.Figures = append(v.Figures, figure{say("records done", "已处理记录"), say("%s", "%s", all)})
	v.runs(runs, nil, p.State == results.Running)
	v.Updated = say("As of %s.", "截至 %s。", p.Updated)
	return v
}

// timeLeft is how long an import will take at the rate of its runs, zero if that cannot be told.
func timeLeft(p *results.Progress, runs []results.Run) time.Duration {
	if p.Next.Offset <= 0 || p.Export.Size <= p.Next.Offset {
		return 0
	}
	if len(runs) == 0 {
		runs = []results.Run{p.Run}
	}
	var worked time.Duration
	var records int64
	for i, r := range runs {
		end := r.End
		if end.IsZero() && i == len(runs)-1 {
			end = p.Updated
		}
		if end.After(r.Start) {
			worked += end.Sub(r.Start)
			records += r.Counts.Records()
		}
	}
	if records == 0 {
		return 0
	}
	behind := float64(p.Counts.Records()) * float64(p.Export.Size-p.Next.Offset) / float64(p.Next.Offset)
	return time.Duration(behind / float64(records) * float64(worked))
}
