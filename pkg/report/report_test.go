package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
	"groupimport/pkg/outcome"
	"groupimport/pkg/report"
	"groupimport/pkg/results"
)

var keep = flag.String("keep", "", "folder for the pages of the tests, and pictures of them, to look at")

var epoch = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

var names = results.Names{Export: "exports/acme.jsonl"}

// A story is an import that a page describes.
type story struct {
	*report.Builder
	options  report.Options
	names    results.Names
	n        int64
	m        results.Manifest
	counts   outcome.Counts
	failures int64
}

func newStory() *story {
	return &story{
		Builder: report.New(report.Options{}), names: names,
		m: results.Manifest{Complete: true, Export: results.Export{Key: names.Export, Version: "1", Size: 5_000_000}},
	}
}

// add adds one outcome, and its record unless it was imported.
func (s *story) add(o outcome.Outcome, record string) {
	s.n++
	o.N, o.Line = s.n, s.n
	s.counts.Add(&o)
	s.Result(o.AppendLine(nil))
	if !o.IsDone() {
		s.failures++
		s.Failure(o.AppendRecordLine(nil, []byte(record)))
	}
}

func (s *story) page(t testing.TB) []byte {
	t.Helper()
	s.m.Counts = s.counts
	state, err := s.State()
	if err != nil {
		t.Fatal(err)
	}
	builder := report.New(s.options)
	if err := builder.Restore(state); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := builder.Write(&b, s.names, &s.m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func run(start time.Time, took time.Duration, records int64, cause results.Cause, why string) results.Run {
	return results.Run{
		Start: start, End: start.Add(took), Cause: cause, Why: why, Attempts: records + records/100,
		Counts: outcome.Counts{Imported: records}, Rate: 190,
	}
}

// usual is an import of many records, most of which were imported.
func usual(total int) *story {
	s := newStory()
	random := rand.New(rand.NewPCG(1, 2))
	at := epoch
	runs := 0
	start, from := at, int64(0)
	for i := range total {
		at = at.Add(time.Second / 189)
		if i > 0 && i%(total/3+1) == 0 {
			s.m.Runs = append(s.m.Runs, run(start, at.Sub(start), s.n-from, results.CauseTimeUp, "time is up"))
			runs++
			s.m.Runs[runs-1].Slowed = 2
			at = at.Add(90 * time.Second)
			start, from = at, s.n
		}
		o := outcome.Outcome{
			Status: outcome.Imported, GroupID: fmt.Sprintf("g%d", i), Attempts: 1, At: at,
			MS: int64(35 + random.ExpFloat64()*18),
		}
		if i > total/2 && i < total/2+total/40 {
			o.MS, o.Attempts = o.MS*6, 1+random.IntN(3)
			at = at.Add(time.Second / 150)
		}
		record := fmt.Sprintf(`{"Type":"Public","Name":"Team %d","GroupId":"g%d"}`, i, i)
		switch {
		case i%500 == 7 && i < total*9/10:
			o = outcome.Outcome{
				Status: outcome.Rejected, GroupID: o.GroupID, Field: "Name", Rule: group.RuleLength, At: at,
				Error: fmt.Sprintf("Name is %d bytes, limit 30", 31+i%9),
			}
			record = fmt.Sprintf(`{"Type":"Public","Name":"%s %d","GroupId":"g%d"}`, "客户支持与销售协调小组", i, i)
		case i%625 == 11:
			o.Status, o.Code = outcome.Rejected, 10019
			o.Error = fmt.Sprintf("code 10019: the account does not exist: import the owner first (user-%d)", i)
		case i%3000 == 29:
			o.Status, o.Code, o.Attempts, o.MS = outcome.Rejected, 10021, 1, 61
			o.Error = fmt.Sprintf("another group has this GroupId: Name is %q there and %q in the record", "Old team",
				fmt.Sprint("Team ", i))
		case i%6250 == 100:
			o.Status, o.GroupID, o.Error = outcome.Unknown, "", "the answer was lost, the group may exist: no answer within 10s"
			o.MS = 10_000
		case i%20000 == 200:
			o.Status, o.Code, o.Attempts, o.Error = outcome.Failed, 10002, 5, "code 10002: internal error of the service"
		case i%1000 == 3:
			o.Status = outcome.Exists
		}
		s.add(o, record)
	}
	s.m.Runs = append(s.m.Runs, run(start, at.Sub(start), s.n-from, "", ""))
	s.m.Started, s.m.Finished = epoch, at
	if s.counts.Failed > 0 {
		s.m.RetryAt = at.Add(15 * time.Minute)
	}
	s.m.Files = []results.File{
		{Key: names.Results(), Size: 9_123_456, SHA256: strings.Repeat("ab", 32)},
		{Key: names.Failures(), Size: 45_678, SHA256: strings.Repeat("cd", 32)},
	}
	return s
}

// people is an import of groups with members, and of member records.
func people() *story {
	s := newStory()
	for i := range 2000 {
		at := epoch.Add(time.Duration(i) * time.Second / 190)
		o := outcome.Outcome{
			Status: outcome.Imported, GroupID: fmt.Sprintf("g%d", i), Attempts: 1, MS: 40, At: at,
			Members: outcome.Members{Added: 50, Demoted: int64(i % 2)},
		}
		record := ""
		switch {
		case i%100 == 7:
			o.Members = outcome.Members{Added: 47, Already: 1, Failed: 2, NoAccount: 1, Invalid: 1}
			o.Error = fmt.Sprintf("2 of 50 members are missing: user-%d (the account does not exist: import the account "+
				"first); "+
				"user-%[1]d-b (JoinTime 1 is before CreateTime 2)", i)
			record = fmt.Sprintf(`{"GroupId":"g%d","MemberList":[{"Member_Account":"user-%[1]d"},`+
				`{"Member_Account":"user-%[1]d-b","JoinTime":1}]}`, i)
		case i == 400:
			o.Created = true
		case i == 500:
			o.Members = outcome.Members{Added: 44, Failed: 6, Refused: 3}
			o.Error = "6 of 50 members are missing: u1 (not added, and the service gives no reason)"
			record = `{"GroupId":"g500","MemberList":[{"Member_Account":"u1"}]}`
		}
		s.add(o, record)
	}
	for i := range 300 {
		o := outcome.Outcome{
			Status: outcome.Imported, GroupID: "g1", Member: fmt.Sprintf("late-%d", i), Attempts: 1, MS: 40,
			At: epoch.Add(12 * time.Second),
		}
		switch {
		case i%50 == 1:
			o.Status = outcome.Exists
		case i%100 == 2:
			o.Status, o.Error = outcome.Failed, "the account does not exist: import the account first"
		}
		s.add(o, fmt.Sprintf(`{"GroupId":"g1","Member_Account":"late-%d"}`, i))
	}
	s.m.Runs, s.m.Finished = []results.Run{run(epoch, 13*time.Second, 2300, "", "")}, epoch.Add(13*time.Second)
	s.m.Files = []results.File{
		{Key: names.Results(), Size: 700_000, SHA256: strings.Repeat("ab", 32)},
		{Key: names.Failures(), Size: 7_000, SHA256: strings.Repeat("cd", 32)},
	}
	return s
}

// nasty are strings that have broken pages.
var nasty = []string{
	`<script>alert(1)</script>`, `</script><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'"&amp;<b>`,
	"\u2028line\u2029", "\u202Egpj.exe\u202C",
	"\u2066isolate", strings.Repeat("W", 400), "👩‍👩‍👧‍👦 family 🏳️‍🌈", "مرحبا بالعالم", "שלום", "{{.}} ${1} <!-- ]]>",
	"javascript:alert(1)", "nul\x00bell\x07\x1b[31m",
	strings.Repeat("é̴̛", 40), "a\nb\tc", "<svg/onload=alert(1)>", "</title></style>", "=cmd|'/c calc'!A1",
}

// hostile is an import with such a string in every field of every line, and in the names.
func hostile() *story {
	s := newStory()
	s.names = results.Names{Export: `exports/<script>alert("x")</script>'&` + "\u202E" + `evil` +
		strings.Repeat("x", 120) + `.jsonl`}
	at := epoch
	for i := range 200 {
		text := nasty[i%len(nasty)]
		quoted, other := fmt.Sprintf("%q", text), nasty[(i*7+3)%len(nasty)]
		o := outcome.Outcome{
			Status:  []outcome.Status{outcome.Rejected, outcome.Failed, outcome.Unknown, outcome.Status(text)}[i%4],
			GroupID: text, Field: "Name",
			Code: i % 3 * 10019, Error: other + " " + quoted, Attempts: i % 4, Member: text[:min(len(text), i%2*40)],
			MS: int64(i), At: at.Add(time.Duration(i) * time.Second),
		}
		record := fmt.Sprintf(`{"Name":%s,"GroupId":%s}`, jsonString(text), jsonString(other))
		if i%5 == 0 {
			record = text // not JSON
		}
		if i%10 == 9 {
			o.Status, o.Member, o.Members = outcome.Imported, "", outcome.Members{Failed: 1}
			record = fmt.Sprintf(`{"MemberList":[{"Member_Account":%s}]}`, jsonString(other))
		}
		s.add(o, record)
	}
	s.m.Runs = []results.Run{
		{
			Start: epoch, Stop: nasty[0] + nasty[5], Why: nasty[0] + nasty[5] + strings.Repeat("y", 500), Rate: 190,
			End: at.Add(time.Second),
		},
		{Start: epoch},
	}
	s.m.RetryAt = at
	s.m.Files = []results.File{
		{Key: s.names.Results(), SHA256: "<b>", Size: 1},
		{Key: s.names.Failures(), SHA256: "<b>", Size: 1},
	}
	return s
}

func jsonString(s string) string {
	var o outcome.Outcome
	o.Error = s
	line := string(o.AppendLine(nil))
	_, rest, _ := strings.Cut(line, `"error":`)
	return rest[:strings.Index(rest, `,"attempts"`)]
}

// sharedPages are the pages of all tests. They are written once, because they have many rows.
var sharedPages = struct {
	sync.Mutex

	all map[string][]byte
}{}

// pages returns the pages that the tests look at. The pages must not be changed.
func pages(t testing.TB) map[string][]byte {
	t.Helper()
	sharedPages.Lock()
	defer sharedPages.Unlock()
	if sharedPages.all == nil {
		sharedPages.all = newPages(t)
	}
	return maps.Clone(sharedPages.all)
}

func newPages(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{
		"usual":   usual(50_000).page(t),
		"hostile": hostile().page(t),
		"check":   checkPage(t),
	}
	empty := newStory()
	empty.m.Runs, empty.m.Finished = []results.Run{run(epoch, time.Second, 0, "", "")}, epoch
	all["empty"] = empty.page(t)

	fine := newStory()
	for i := range 4000 {
		fine.add(outcome.Outcome{
			Status: outcome.Imported, GroupID: "g", Attempts: 1, MS: 40,
			At: epoch.Add(time.Duration(i) * time.Second / 190),
		}, "")
	}
	fine.m.Runs, fine.m.Finished = []results.Run{run(epoch, 21*time.Second, 4000, "", "")}, epoch.Add(21*time.Second)
	fine.m.Files = []results.File{{Key: names.Results(), Size: 700_000, SHA256: strings.Repeat("ab", 32)}}
	all["fine"] = fine.page(t)

	wrong := newStory()
	for i := range 20_000 {
		wrong.add(outcome.Outcome{
			Status: outcome.Rejected, GroupID: fmt.Sprint("group-", i), Attempts: 1, MS: 40, Code: 10004,
			At:    epoch.Add(time.Duration(i) * time.Second / 190),
			Error: "code 10004: a parameter is not valid (invalid owner account for the group, see the document)",
		}, fmt.Sprintf(`{"Type":"Public","Name":"Team %d","GroupId":"group-%d"}`, i, i))
	}
	wrong.m.Runs, wrong.m.Finished = []results.Run{run(epoch, 106*time.Second, 20_000, "", "")}, epoch.Add(106*time.Second)
	all["wrong"] = wrong.page(t)

	retried := usual(5000)
	for i := range 3 {
		start := retried.m.Finished.Add(time.Duration(15<<i) * time.Minute)
		retried.m.Rounds = append(retried.m.Rounds, results.Round{
			Start: start, End: start.Add(4 * time.Second), Counts: outcome.Counts{Failed: 1},
			Runs: []results.Run{run(start, 4*time.Second, 1, "", "")},
		})
	}
	retried.m.RetryAt, retried.m.GivenUp = time.Time{}, 1
	all["retried"] = retried.page(t)

	members := people()
	all["members"] = members.page(t)
	members.m.RetryAt = epoch.Add(15 * time.Minute)
	all["members retried"] = members.page(t)
	members.options.Root = "/srv/groups"
	all["members on this machine"] = members.page(t)

	maps.Copy(all, progressPages(t))
	if *keep != "" {
		for name, page := range all {
			if err := os.WriteFile(filepath.Join(*keep, name+".html"), page, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

// progressPages are pages about imports that are not finished, and a list of imports.
func progressPages(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	s := report.Status{Key: names.Export, Progress: results.Progress{
		State: results.Waiting, Reason: "time is up", Export: results.Export{Key: names.Export, Size: 5_000_000},
		Counts: outcome.Counts{Imported: 11_800, Exists: 12, Rejected: 150, Unknown: 2}, Runs: 1,
		Updated: epoch.Add(time.Minute),
	}}
	s.Next.Offset = 1_200_000
	s.All = []results.Run{run(epoch, time.Minute, 11_964, results.CauseTimeUp, "time is up")}
	s.Run = s.All[0]
	waiting := s
	all["waiting"] = progressPage(t, &s, report.Options{})

	s.Reason, s.All = "interrupt signal received",
		[]results.Run{run(epoch, time.Minute, 11_964, results.CauseInterrupted, "interrupt signal received")}
	s.Run = s.All[0]
	all["interrupted"] = progressPage(t, &s, report.Options{Root: "/srv/my groups"})

	s.State, s.Reason = results.Stopped,
		"code 70009: the UserSig was made with another app's key: check that TIM_SDKAPPID and TIM_SECRET_KEY are of "+
			"the same app; check TIM_REGION: the SDKAppID belongs to another data center (invalid usersig)"
	s.Counts, s.Next.Offset, s.Again = outcome.Counts{}, 0, epoch.Add(time.Hour)
	stop := run(epoch, time.Minute, 0, results.CauseService, s.Reason)
	stop.Attempts, stop.Stop, stop.Code = 3, s.Reason, 70009
	s.All, s.Run = []results.Run{stop}, stop
	stopped := s
	all["stopped"] = progressPage(t, &s, report.Options{})

	s.State, s.Reason, s.Counts, s.Ignored = results.Running, "", outcome.Counts{Imported: 4_000_000, Rejected: 3}, 7
	s.Next = export.Position{Offset: 25_000_000, Read: 2_500_000, N: 4_000_004, Line: 4_000_004} // compressed 10 to 1
	s.Run = results.Run{Start: epoch.Add(-time.Hour), Counts: s.Counts, Rate: 190}
	s.All = nil
	running := s
	all["running"] = progressPage(t, &s, report.Options{Refresh: 10 * time.Second, List: "/imports"})

	s.Export.Size, s.Next = 5_000_000, export.Position{Offset: 5_000_000, N: 10_101, Line: 10_101}
	s.Counts = outcome.Counts{
		Imported: 9_990, Rejected: 10, Pending: 100, MemberRecords: 100,
		Members: outcome.Members{Added: 120_000, Already: 7, Failed: 5, NoAccount: 5, Pending: 380_000},
	}
	s.Run = results.Run{Start: epoch.Add(-time.Minute), Counts: s.Counts, Rate: 190}
	adding := s
	all["adding"] = progressPage(t, &s, report.Options{Refresh: 10 * time.Second, List: "/imports"})

	finished := report.Status{
		Key: "exports/2026/done.csv", Report: "/imports/exports/2026/done.csv.report.html",
		Finished: epoch,
	}
	finished.State, finished.Updated, finished.Ignored, finished.Runs = results.Finished, epoch, 7, 2
	finished.Counts = outcome.Counts{Imported: 9_598, Rejected: 402, Skipped: 3}
	finished.Files = []report.File{
		{
			File: results.File{Key: "exports/2026/done.csv.results.ndjson", Size: 1e6, SHA256: "ab"},
			Link: "/imports/exports/2026/done.csv.results.ndjson",
		},
		{
			File: results.File{Key: "exports/2026/done.csv.failures.ndjson", Size: 1e4, SHA256: "cd"},
			Link: "/imports/exports/2026/done.csv.failures.ndjson",
		},
	}
	all["finished"] = progressPage(t, &finished, report.Options{List: "/imports"})

	fresh := report.Status{Key: "exports/新导出.json.gz"}
	fresh.State, fresh.Cause, fresh.Gone = results.Waiting, results.CauseNotBegun, true
	var b bytes.Buffer
	lacking := finished
	lacking.Key, lacking.Counts = "exports/lacking.jsonl",
		outcome.Counts{Imported: 9, Incomplete: 1, Members: outcome.Members{Added: 9, Failed: 4}}
	all["lacking"] = progressPage(t, &lacking, report.Options{List: "/imports"})
	list := []report.Status{fresh, running, waiting, stopped, finished, adding, lacking}
	for i := range list {
		list[i].Link = "/imports/" + list[i].Key
	}
	options := report.Options{Refresh: 30 * time.Second, List: "/imports"}
	if err := report.WriteList(&b, list, "/imports?after=x", options); err != nil {
		t.Fatal(err)
	}
	all["list"] = b.Bytes()
	return all
}

func progressPage(t testing.TB, s *report.Status, o report.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := report.WriteProgress(&b, s, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// textOf returns the text of a page in one language, with single spaces.
func textOf(t *testing.T, page []byte, language string) string {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	hidden := map[string]string{"en": "z", "zh": "e"}[language]
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
		if n.Type == html.ElementNode {
			if n.Data == "script" || n.Data == "style" ||
				slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "class" && a.Val == hidden }) {
				return
			}
			if slices.Contains([]string{"p", "td", "th", "li", "h1", "h2", "h3", "div", "dt", "dd", "tr", "pre"}, n.Data) {
				b.WriteString(" ")
			}
		}
		for c := range n.ChildNodes() {
			walk(c)
		}
	}
	walk(doc)
	return strings.Join(strings.Fields(b.String()), " ")
}

func TestPages_Text(t *testing.T) {
	t.Parallel()
	all := pages(t)
	for _, row := range []struct {
		name, page, language string
		want                 []string
	}{
		{"an import with failures, in English", "usual", "en", []string{
			"49,802 of 50,000 groups were imported. 50 of them already existed, 187 were rejected, " +
				"3 failed and will be retried, 8 need manual review.",
			"imported 49,752", "exists 50", "records 50,000",
			"90 Name is too long: at most 30 bytes", "the account does not exist: import the owner first", "line 8 · g7",
			"Name is 38 bytes, limit 30",
			`grep '"status":"rejected"' acme.jsonl.failures.ndjson > acme.fixed.jsonl`, "upload it beside the export",
			"The scheduler retries them, at the earliest at 2026-11-22 10:",
		}},
		{
			"the same in Chinese", "usual", "zh",
			[]string{"50,000 个群组中已导入 49,802 个。 其中 50 个此前已存在，187 个被拒绝，3 个失败，将自动重试，8 个待确认。", "Name 过长：最多 30 字节", "账号不存在"},
		},
		{"no records", "empty", "en", []string{"The export holds no records.", "records 0", "Look at the export"}},
		{
			"all in", "fine", "en",
			[]string{"All 4,000 groups were imported.", "Nothing is left to do", "Keep acme.jsonl.results.ndjson"},
		},
		{
			"none in", "wrong", "en", []string{"No groups were imported (0 of 20,000).", "These are the first 5,000 of 20,000."},
		},
		{
			"a failed record given up", "retried", "en",
			[]string{"Round 3 of retries", "They are not retried any more (after 3 rounds)."},
		},
		{"an import whose time was up", "waiting", "en", []string{
			"11,812 groups were imported so far. 24% of the export is done. 12 of them already existed, 150 were rejected, " +
				"2 need manual review.",
			"Waiting: the working time ended.", "3 min 10 s", "The scheduler resumes the import within a minute.",
		}},
		{"one that was interrupted on this machine", "interrupted", "en", []string{
			"Waiting: it was interrupted.", "Run the same command again: groupimport import '/srv/my groups/exports/acme.jsonl'",
		}},
		{"a wrong key", "stopped", "en", []string{
			"No group was imported yet. 0% of the export is done.", "Stopped: code 70009: the UserSig was made",
			"the scheduler tries again at 2026-11-22 11:00 UTC",
		}},
		{"a wrong key, in Chinese", "stopped", "zh", []string{"已停止：UserSig 由其他应用的密钥生成", "code 70009"}},
		{"a compressed one under way", "running", "en", []string{
			"4,000,000 groups were imported so far. 50% of the export is done. 3 were rejected. 7 entries of other kinds, " +
				"such as messages, were ignored.",
			"running", "1 h 1 min", "Pause refreshing", "All imports",
		}},
		{
			"a finished one", "finished", "en",
			[]string{"finished, 402 rejected", "9,598 of 10,003 groups were imported.", "Open the report"},
		},
		{"members, in English", "members", "en", []string{
			"2,297 of 2,300 records, groups and members, were imported. 6 of them already existed, 3 failed. " +
				"99,934 members were added, 20 were members " +
				"before, 46 are missing.",
			"finished, 3 failed, 46 members missing", "the group was created, or the member was added",
			"Add the 46 missing members", "20 have no account: import the accounts first.",
			"23 break a rule or were rejected by the service: fix them.",
			`grep -E '"status":"(imported|exists)"' acme.jsonl.failures.ndjson > acme.fixed.jsonl`,
			"added 99,934 >99.9%", "already 20", "no account 20 <0.1% the account does not exist: import the accounts first",
			"invalid 20", "refused 3", "no reason given 3",
			"980 Admins of Private groups were sent as members",
			"1 AVChatRoom was created with create_group: the app's webhooks were fired, and CreateTime was not kept.",
			"300 member records: 291 members were added, 6 were members before. 3 are not members",
			"21 groups exist and lack members. These are the first 6:", "line 8 · g7", `[{"Member_Account":"user-7"},`,
			"2 of 50 members are missing: user-7 (the account",
			"3 the member could not be added", "If the account does not exist, import the account first.", "late-2",
		}},
		{"members, in Chinese", "members", "zh", []string{
			"2,300 条记录（群组与成员）中已导入 2,297 条。 其中 6 个此前已存在，3 个失败。已添加 99,934 名成员，20 名此前已是成员，46 名未能添加。", "已完成，失败 3，缺少 46 名成员",
			"添加缺少的 46 名成员", "账号不存在 20", "已通过 create_group 创建 1 个直播群", "21 个群组已存在，但缺少成员", "300 条成员记录：已添加 291 名成员",
		}},
		{
			"members that are retried", "members retried", "en",
			[]string{"The scheduler tries again to add them, at the earliest at 2026-11-22 10:15 UTC."},
		},
		{
			"members that are retried on this machine", "members on this machine", "en",
			[]string{"To try now: groupimport retry --now /srv/groups"},
		},
		{"members under way", "adding", "en", []string{
			"9,990 records were imported so far. 25% of the export is done. 10 were rejected, 100 member records are pending. " +
				"120,000 members were added, 7 were members before, 5 are missing, 380,000 are pending.",
			"pending 100", "pending 380,000 76.0% not sent yet",
		}},
		{
			"missing members of a finished one", "lacking", "en",
			[]string{"finished, 4 members missing", "It says which members are missing"},
		},
		{"the list", "list", "en", []string{
			"exports/新导出.json.gz the export was deleted waiting the import has not begun 0 0", "running, 50%",
			"waiting, 24% the working time ended", "stopped code 70009",
			"finished, 402 rejected 9,598 10,003", "report results dead-letter file", "Next page",
		}},
		{"the list in Chinese", "list", "zh", []string{"进行中，50%", "等待中，24%", "已完成，被拒绝 402", "报告 结果 失败记录", "等待中 导入尚未开始"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := textOf(t, all[row.page], row.language)
			for _, want := range row.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in:\n%s", want, clip(text))
				}
			}
		})
	}
}

func clip(s string) string { return s[:min(len(s), 3000)] }

// TestPages_Policy checks that the hashes of the policy are those of the page's script and style.
func TestPages_Policy(t *testing.T) {
	t.Parallel()
	for name, page := range pages(t) {
		policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindSubmatch(page)
		if policy == nil {
			t.Fatalf("%s: there is no policy", name)
		}
		text := html.UnescapeString(string(policy[1]))
		want := []string{"default-src 'none'"}
		for _, tag := range []string{"style", "script"} {
			found := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllSubmatch(page, -1)
			if len(found) != 1 {
				t.Fatalf("%s: got %d elements %s, want 1", name, len(found), tag)
			}
			sum := sha256.Sum256(found[0][1])
			want = append(want, tag+"-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
		}
		if want := strings.Join(append(want, "base-uri 'none'", "form-action 'none'"), "; "); text != want {
			t.Errorf("%s: got %s, want %s", name, text, want)
		}
	}
}

// TestPages_NoMarkupFromData checks that data adds no element, attribute, class or link to a page: there are only those
// of pages about harmless text.
func TestPages_NoMarkupFromData(t *testing.T) {
	t.Parallel()
	all := pages(t)
	hostile := all["hostile"]
	delete(all, "hostile")
	maps.Copy(all, filled(t, "harmless"))
	known := map[string]bool{}
	for _, page := range all {
		parts(t, page, func(part string) { known[part] = true })
	}
	check := func(name string, page []byte) {
		t.Helper()
		parts(t, page, func(part string) {
			if !known[part] {
				t.Errorf("%s: pages about harmless text have no %s", name, part)
			}
		})
	}
	check("hostile", hostile)
	if text := textOf(t, hostile, "en"); !strings.Contains(text, nasty[0]) || !strings.Contains(text, nasty[2]) {
		t.Errorf("the text is not shown as it is in:\n%s", clip(text))
	}
	for i, text := range nasty {
		for name, page := range filled(t, text+nasty[(i+1)%len(nasty)]) {
			check(fmt.Sprintf("%s with %q", name, text), page)
		}
	}
}

// filled returns a page of each kind with text in every field that can hold it.
func filled(t *testing.T, text string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	names := results.Names{Export: text + "/" + text}
	run := results.Run{Start: epoch, Stop: text, Why: text}
	var list []report.Status
	for _, state := range []results.State{
		results.Running, results.Waiting, results.Stopped, results.Finished, results.State(text),
	} {
		s := report.Status{
			Key: names.Export, Link: "/imports/x", Report: "/imports/y", Gone: true, Finished: epoch,
			RetryAt: epoch,
			GivenUp: 1, Round: 1, All: []results.Run{run, run},
			Files: []report.File{{File: results.File{Key: text, SHA256: text}, Link: "/imports/z"}},
			Progress: results.Progress{
				State: state, Reason: text, Cause: results.Cause(text),
				Export: results.Export{Key: names.Export, Version: text, Size: 9},
				Next:   export.Position{N: 2, Line: 2, Offset: 3},
				Counts: outcome.Counts{Imported: 1, Rejected: 1}, Run: run, Runs: 2, Owner: text, Updated: epoch, Ignored: 1,
			},
		}
		list = append(list, s)
		for _, folder := range []string{"", text} {
			all[string(state)+folder] = progressPage(t, &s,
				report.Options{Root: folder, Refresh: time.Minute, List: "/imports"})
		}
	}
	var b bytes.Buffer
	if err := report.WriteList(&b, list, "/imports?after=x", report.Options{Refresh: time.Minute}); err != nil {
		t.Fatal(err)
	}
	all["list"] = b.Bytes()
	s := story{Builder: report.New(report.Options{}), names: names, options: report.Options{Root: text}}
	for n, status := range []outcome.Status{
		outcome.Rejected, outcome.Failed, outcome.Unknown, outcome.Skipped, outcome.Status(text),
	} {
		s.add(outcome.Outcome{
			Status: outcome.Imported, GroupID: text, Error: text, At: epoch,
			Members: outcome.Members{Added: 1, Already: 1, Failed: 4, NoAccount: 1, Invalid: 1, Refused: 1, Demoted: 1},
		}, fmt.Sprintf(`{"MemberList":[%s]}`, jsonString(text)))
		for i := range 8 { // three of a kind and two alone; where there was an attempt, the service decided
			o := outcome.Outcome{
				Status: status, GroupID: text, Field: text, Code: n + 1, Error: text, Attempts: i % 2,
				At: epoch,
			}
			if n%2 == 0 {
				o.Rule = group.Rule(text)
			}
			if i >= 6 {
				o.Code, o.Field = 100+n, "Name"
			}
			s.add(o, fmt.Sprintf(`{"Name":%s,%[1]s:%[1]s}`, jsonString(text)))
		}
	}
	s.m.Runs, s.m.Rounds = []results.Run{run}, []results.Round{{Runs: []results.Run{run}}}
	s.m.Files = []results.File{{Key: text, SHA256: text}, {Key: names.Failures(), SHA256: text}}
	all["report"] = s.page(t)
	return all
}

// parts returns the elements of a page with their places, their attributes, the active ones among these, and all other
// nodes except text.
func parts(t *testing.T, page []byte, tell func(string)) {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	beside := regexp.MustCompile(`^\./[A-Za-z0-9._%-]+$`)
	for n := range doc.Descendants() {
		place := n.Parent.Data + " > "
		switch n.Type {
		case html.TextNode:
			if n.Parent.Data == "script" || n.Parent.Data == "style" {
				tell(place + n.Data)
			}
		case html.ElementNode:
			place += n.Data
			tell(place)
			for _, a := range n.Attr {
				switch {
				case slices.Contains([]string{"class", "id", "role", "hidden", "type", "http-equiv", "content", "for"}, a.Key),
					a.Key == "href" && !beside.MatchString(a.Val):
					a.Key += "=" + a.Val
				}
				tell(place + " " + a.Key)
			}
		case html.CommentNode:
			tell("comment " + n.Data)
		default: // the other nodes hold nothing
		}
	}
}

// TestReport_CommandWithUnusualNames runs the command of a report for unusual names. It finds the dead-letter file and
// writes a file of its rejected records.
// The command line imports from a bucket too. What is in the bucket has to be downloaded first, and nothing promises a
// scheduler.
func TestReport_CommandsOfABucket(t *testing.T) {
	t.Parallel()
	o := report.Options{Root: "s3://acme-groups/"}
	s := newStory()
	s.names, s.options = results.Names{Export: "exports/2026/acme.jsonl"}, o
	s.add(outcome.Outcome{Status: outcome.Rejected, Error: "wrong"}, `{"Name":"first"}`)
	s.add(outcome.Outcome{Status: outcome.Failed, Error: "down"}, `{"Name":"second"}`)
	s.m.RetryAt = epoch.Add(15 * time.Minute)
	finished := textOf(t, s.page(t), "en")
	status := report.Status{Key: s.names.Export, Progress: results.Progress{State: results.Waiting, Runs: 1}}
	interrupted := textOf(t, progressPage(t, &status, o), "en")
	for _, test := range []struct{ page, want string }{
		{finished, "Download the dead-letter file first. The command copies its line from acme.jsonl.failures.ndjson"},
		{finished, "upload it beside the export and import it with groupimport import " +
			"s3://acme-groups/exports/2026/acme.fixed.jsonl"},
		{finished, "A function with a schedule for this bucket, if there is one, retries them"},
		{finished, "groupimport retry --now s3://acme-groups/exports/2026/"},
		{interrupted, "groupimport import s3://acme-groups/exports/2026/acme.jsonl"},
	} {
		if !strings.Contains(test.page, test.want) {
			t.Errorf("got no %q in:\n%s", test.want, test.page)
		}
	}
	for _, page := range []string{finished, interrupted} {
		if strings.Contains(page, "The scheduler") || strings.Contains(page, "groupimport watch") {
			t.Errorf("got a promise of a scheduler in:\n%s", page)
		}
	}
}

func TestReport_CommandWithUnusualNames(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	command := regexp.MustCompile(`<pre tabindex="0"><code>(.*?)</code>`)
	for _, name := range []string{
		"a.jsonl", "-rf.jsonl", "--help.jsonl", "a b.jsonl", "it's.jsonl", `"q".jsonl`, "a\nb.jsonl", "\n.jsonl",
		"$(touch x).jsonl",
		"`touch x`.jsonl", "a;touch x.jsonl", `back\slash.jsonl`, `\n'` + "\n1.jsonl", "a\u202Eb.jsonl", "群组.jsonl",
		"a\xff1.jsonl", "*.jsonl",
		"!!.jsonl", "~.jsonl", "a&b<c>d|e#.jsonl",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, folder := range []string{"", dir} {
				s := newStory()
				s.names, s.options.Root = results.Names{Export: name}, folder
				s.add(outcome.Outcome{Status: outcome.Rejected, Error: "wrong"}, `{"Name":"first"}`)
				s.add(outcome.Outcome{Status: outcome.Failed, Error: "down"}, `{"Name":"second"}`)
				page := s.page(t)
				var lines []byte
				for _, status := range []string{"rejected", "failed"} {
					lines = fmt.Appendf(lines, `{"n":1,"status":"%s"}`+"\n", status)
				}
				if err := os.WriteFile(filepath.Join(dir, s.names.Failures()), lines, 0o600); err != nil {
					t.Fatal(err)
				}
				text := html.UnescapeString(string(command.FindSubmatch(page)[1]))
				cmd := exec.CommandContext(t.Context(), bash, "-c", text)
				cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s: %v: %s", text, err, out)
				}
				fixed := name[:strings.IndexByte(name, '.')] + ".fixed.jsonl"
				got, err := os.ReadFile(filepath.Join(dir, fixed))
				if want := `{"n":1,"status":"rejected"}` + "\n"; err != nil || string(got) != want {
					t.Errorf("%s: got %q, %v, want the rejected record", text, got, err)
				}
				os.Remove(filepath.Join(dir, fixed))
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
				t.Errorf("got %v, %v, want the dead-letter file only", files, err)
			}
		})
	}
}

func TestPages_Size(t *testing.T) {
	t.Parallel()
	for name, page := range pages(t) {
		if len(page) > 1_500_000 {
			t.Errorf("%s: got %d bytes, want at most 1,500,000", name, len(page))
		}
	}
	s := newStory()
	for range 2000 { // four times as many as fit; each byte takes five in the page
		s.add(outcome.Outcome{Status: outcome.Rejected, GroupID: strings.Repeat("<", 1000), Error: strings.Repeat(`"`, 5000)},
			`{"Name":"`+strings.Repeat("&", 500)+`"}`)
	}
	if n := len(s.page(t)); n > 1_500_000 {
		t.Errorf("got %d bytes, want at most 1,500,000", n)
	}
}

// TestReport_FrequentKindsAmongMany checks that a page with many kinds of errors shows the most frequent ones, and that
// the counts add up.
func TestReport_FrequentKindsAmongMany(t *testing.T) {
	t.Parallel()
	s := newStory()
	for i := range 20_000 {
		o := outcome.Outcome{
			Status: outcome.Rejected, Rule: group.RuleUnknown, Field: fmt.Sprint("field", i%1500),
			Error: "unknown field",
		}
		if i%10 == 9 {
			o.Rule, o.Field, o.Error = group.RuleLength, "Name", fmt.Sprintf("Name is %d bytes, limit 30", 31+i)
		}
		s.add(o, `{}`)
	}
	text := textOf(t, s.page(t), "en")
	got := regexp.MustCompile(`What is wrong ([\d,]+) Name is too long: at most 30 bytes`).FindStringSubmatch(text)
	if got == nil || got[1] != "2,000" {
		t.Errorf("got %q, want 2,000 as the first kind in:\n%s", got, clip(text))
	}
	sum := 0
	number := func(s string) int {
		n, err := strconv.Atoi(strings.ReplaceAll(s, ",", ""))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	title := regexp.MustCompile(`<h3><span class="n">([\d,]+)</span>`)
	for _, m := range title.FindAllStringSubmatch(string(s.page(t)), -1) {
		sum += number(m[1])
	}
	others := regexp.MustCompile(`([\d,]+) more records have other problems`).FindStringSubmatch(text)
	if others == nil || sum+number(others[1]) != 20_000 {
		t.Errorf("got %d of the kinds and %q others, want 20,000 together", sum, others)
	}
}

func TestReport_PlotOfRate(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		at   func(i int) time.Duration // after the epoch
		n    int
		want []string
	}{
		{
			"a steady rate", func(i int) time.Duration { return time.Duration(i) * 10 * time.Millisecond }, 5000,
			[]string{"100 on average, 100 at most"},
		},
		{
			"a last bucket with one record", func(i int) time.Duration { return time.Duration(i) * 10 * time.Millisecond }, 5001,
			[]string{"100 on average, 104 at most"},
		},
		{
			"an hour, in buckets that have become wider",
			func(i int) time.Duration { return time.Duration(i) * 10 * time.Millisecond }, 360_000,
			[]string{"100 on average, 100 at most", "10:00:00 UTC11:00:00 UTC"},
		},
		{
			"a month", func(i int) time.Duration { return time.Duration(i) * 30 * time.Second }, 86_400,
			[]string{"0 on average, 0 at most"},
		},
		{
			"a night between two runs is left out",
			func(i int) time.Duration {
				return time.Duration(i)*10*time.Millisecond + time.Duration(i/3000)*12*time.Hour
			},
			6000,
			[]string{"100 on average, 10", "dotted: 1 pause left out"},
		},
		{"all in one instant", func(int) time.Duration { return 0 }, 50, []string{"200 on average, 200 at most"}},
		{
			"a stall of a few seconds is none of rate 0", func(i int) time.Duration {
				return time.Duration(i)*10*time.Millisecond + time.Duration(i/3000)*20*time.Second
			},
			6000,
			[]string{"75 on average"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newStory()
			for i := range row.n {
				s.add(outcome.Outcome{Status: outcome.Imported, Attempts: 1, MS: 40, At: epoch.Add(row.at(i))}, "")
			}
			page := s.page(t)
			label := regexp.MustCompile(`aria-label="(Records a second[^"]*)"`).FindSubmatch(page)[1]
			alt := html.UnescapeString(string(label)) + " " + textOf(t, page, "en")
			for _, want := range row.want {
				if !strings.Contains(alt, want) {
					t.Errorf("%q is not in %.200s", want, alt)
				}
			}
			if len(page) > 50_000 {
				t.Errorf("got a page of %d bytes, want plots of bounded size", len(page))
			}
		})
	}
}

// Between two rounds of retries, a paused import has all its outcomes, and nothing is said about a next round.
func TestProgress_PausedBetweenRounds(t *testing.T) {
	status := report.Status{
		Key: "a.jsonl", Finished: epoch,
		Progress: results.Progress{
			State: results.Paused, Reason: "paused by li", Updated: epoch,
			Counts: outcome.Counts{Imported: 17, Failed: 3}, Export: results.Export{Size: 1000},
		},
	}
	page := progressPage(t, &status, report.Options{Root: "/data"})
	english, chinese := textOf(t, page, "en"), textOf(t, page, "zh")
	for _, want := range []string{
		"17 of 20 groups were imported.", "3 failed.", "Paused: paused by li.",
		"Failed records are not retried until the import is resumed.", "groupimport resume /data/a.jsonl",
	} {
		if !strings.Contains(english, want) {
			t.Errorf("got %q, want %q in it", english, want)
		}
	}
	for text, not := range map[string][]string{
		english: {"so far", "of the export is done", "will be retried"}, chinese: {"目前", "导出文件已处理", "将自动重试"},
	} {
		for _, n := range not {
			if strings.Contains(text, n) {
				t.Errorf("got %q, want no %q in it", text, n)
			}
		}
	}
	var b bytes.Buffer
	if err := report.WriteList(&b, []report.Status{status}, "", report.Options{}); err != nil {
		t.Fatal(err)
	}
	if list := textOf(t, b.Bytes(), "en"); strings.Contains(list, "%") || strings.Contains(list, "processed") {
		t.Errorf("got %q, want no progress", list)
	}
}
