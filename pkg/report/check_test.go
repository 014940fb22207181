package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"groupimport/pkg/report"
)

// TestCheckPage_States checks that the page says the worst state and what to do, in both languages, and escapes the
// findings.
func TestCheckPage_States(t *testing.T) {
	at := time.Date(2026, 11, 28, 9, 30, 0, 0, time.UTC)
	finding := func(state string) report.Finding {
		return report.Finding{
			Name: "bucket write", State: state, Proves: "objects can be written", ProvesZH: "对象可写入",
			Seen: `wrote <script>alert("x")</script>`, Do: "allow it", DoZH: "请授权",
		}
	}
	for _, test := range []struct {
		states []string
		en, zh string
	}{
		{[]string{"ok"}, "All checks are ok", "检查全部正常"},
		{[]string{"ok", "warning"}, "Imports can work: there are warnings", "可以导入：有警告"},
		{[]string{"failed", "warning"}, "Do not import yet: checks failed", "请先不要导入：有检查失败"},
	} {
		var findings []report.Finding
		for _, s := range test.states {
			findings = append(findings, finding(s))
		}
		var b strings.Builder
		if err := report.WriteCheck(&b, "groups/exports/", at, findings, report.Options{}); err != nil {
			t.Fatal(err)
		}
		page := b.String()
		for _, want := range []string{
			test.en, test.zh, "objects can be written", "对象可写入", "groups/exports/", "2026-11-28 09:30 UTC",
			"wrote &lt;script&gt;",
		} {
			if !strings.Contains(page, want) {
				t.Errorf("%v: got no %q", test.states, want)
			}
		}
		if strings.Contains(page, "<script>alert") {
			t.Errorf("%v: what was seen is not escaped", test.states)
		}
		if isDo := strings.Contains(page, "Allow it."); isDo == (len(test.states) == 1) ||
			isDo != strings.Contains(page, "请授权。") {
			t.Errorf("%v: got what to do: %v", test.states, isDo)
		}
	}
}

// checkPage returns a page about a check with all states and long words.
func checkPage(t testing.TB) []byte {
	t.Helper()
	long := "no event about the new object \"exports/.check.import/parts/ABCDEFGHIJ-loud a+b%20c&群组.jsonl\" within 20s"
	var b bytes.Buffer
	err := report.WriteCheck(&b, "groups-1250000000/exports/", epoch, []report.Finding{
		{
			Name: "bucket create after delete", State: "ok", Proves: "a key can be created again once its object is deleted",
			ProvesZH: "对象删除后可再次条件创建", Seen: "a key was created, deleted and created again",
		},
		{
			Name: "trigger export", State: "warning", Proves: "a new export with any name reaches the function",
			ProvesZH: "新导出文件无论名称如何都能触发函数", Seen: long,
			Do: "compare the triggers of the import function with the template", DoZH: "请对照模板检查导入函数的触发器",
		},
		{
			Name: "im access", State: "failed", Proves: "the service accepts the app", ProvesZH: "服务接受应用",
			Seen: "code 70009: the UserSig was made with another app's key", Do: "do what the message says", DoZH: "请按提示处理",
		},
	}, report.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
