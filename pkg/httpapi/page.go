package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// Pages hold their style and nothing else that a browser would run or fetch, and the policy says so.
var (
	//go:embed page.css
	pageStyle string

	pagePolicy = func() string {
		sum := sha256.Sum256([]byte(pageStyle))
		return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	}()
)

// How often a page loads itself again: that of one import costs two or three requests to the bucket, that of all
// a list.
const (
	refreshImport = 5
	refreshList   = 30
)

// A dictionary has the words of pages, by their English ones in short.
type dictionary map[string]string

// page returns a page in the language that the browser prefers.
func page(r *http.Request, show func(dictionary) content) answer {
	lang := language(r.Header.Get("Accept-Language"))
	var b bytes.Buffer
	if err := show(words[lang]).document(lang).Render(&b); err != nil {
		panic(err) // a buffer takes everything
	}
	return answer{status: http.StatusOK, kind: "text/html; charset=utf-8", body: b.Bytes()}.
		with("Content-Security-Policy", pagePolicy).with("Vary", "Accept, Accept-Language").with("Content-Language", lang)
}

// language is the one of those that pages are in that a browser names first.
func language(accepted string) string {
	for name := range strings.SplitSeq(accepted, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case strings.HasPrefix(name, "zh"):
			return "zh"
		case strings.HasPrefix(name, "en"):
			return "en"
		}
	}
	return "en"
}

var words = map[string]dictionary{
	"en": {
		"imports": "Imports", "export": "export", "state": "state", "records": "records", "none": "There are no exports here.", "next": "next page",
		"running": "running", "waiting": "waiting", "stopped": "stopped", "finished": "finished", "all": "all imports",
		"imported": "imported", "exists": "exists", "rejected": "rejected", "failed": "failed", "unknown": "unknown", "skipped": "skipped",
		"rate": "rate", "second": "a second", "left": "time left", "runs": "runs", "position": "next record", "line": "line", "round": "round of retries",
		"updated": "as of", "again": "tried again after", "retryAt": "failed records are due", "givenUp": "given up", "done": "finished at",
		"size": "size", "files": "Files", "gone": "the export was deleted", "refresh": "This page loads itself again.",
	},
	"zh": {
		"imports": "导入", "export": "导出文件", "state": "状态", "records": "记录", "none": "这里没有导出文件。", "next": "下一页",
		"running": "进行中", "waiting": "等待中", "stopped": "已停止", "finished": "已完成", "all": "全部导入",
		"imported": "已导入", "exists": "已存在", "rejected": "被拒绝", "failed": "失败", "unknown": "未知", "skipped": "已跳过",
		"rate": "速率", "second": "每秒", "left": "剩余时间", "runs": "运行次数", "position": "下一条记录", "line": "行", "round": "重试轮次",
		"updated": "截至", "again": "此时间之后重试", "retryAt": "失败记录的重试时间", "givenUp": "已放弃", "done": "完成时间",
		"size": "大小", "files": "文件", "gone": "导出文件已被删除", "refresh": "本页会自动刷新。",
	},
}

// A tally is one status and how many records came to it.
type tally struct {
	Status outcome.Status
	Count  int64
}

func outcomes(c outcome.Counts) []tally {
	all := []tally{
		{outcome.Imported, c.Imported},
		{outcome.Exists, c.Exists},
		{outcome.Rejected, c.Rejected},
		{outcome.Failed, c.Failed},
		{outcome.Unknown, c.Unknown},
	}
	if c.Skipped > 0 {
		all = append(all, tally{outcome.Skipped, c.Skipped})
	}
	return all
}

// link is the path of an import's page.
func link(key string) string { return (&url.URL{Path: "/imports/" + key}).EscapedPath() }

// count writes a number with commas.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// share is how much of the export has an outcome, in per cent.
func share(im scheduler.Status) int {
	switch {
	case im.State == results.Finished:
		return 100
	case im.Size == 0:
		return 0
	}
	return int(min(100, 100*im.Next.Done()/im.Size))
}

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func span(seconds float64) string {
	return (time.Duration(seconds) * time.Second).String()
}

// size writes bytes in the unit that fits.
func size(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}
