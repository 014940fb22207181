package report_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// axeFile is the accessibility checker, after npm ci in scripts/axe.
const axeFile = "../../scripts/axe/node_modules/axe-core/axe.min.js"

// shared is the one headless Chromium of all tests, and what ends it. It starts with the first test that needs it.
var shared = sync.OnceValues(func() (context.Context, func()) {
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		return nil, nil
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("hide-scrollbars", true), chromedp.WSURLReadTimeout(2 * time.Minute),
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(ctx)
	if err := chromedp.Do(ctx); err != nil {
		panic(err)
	}
	return ctx, func() {
		stop()
		cancel()
	}
})

var started atomic.Bool // the browser

func TestMain(m *testing.M) {
	status := m.Run()
	if started.Load() {
		if _, stop := shared(); stop != nil {
			stop()
		}
	}
	os.Exit(status)
}

// browser returns the headless Chromium that all tests share.
func browser(t testing.TB) context.Context {
	t.Helper()
	started.Store(true)
	ctx, _ := shared()
	if ctx == nil {
		t.Skip("there is no Chromium on this machine")
	}
	return ctx
}

// A look is how somebody looks at a page.
type look struct {
	language string // en, zh-CN
	dark     bool
	width    int64
}

func (l look) String() string {
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	return fmt.Sprintf("%s %s %d", l.language, scheme, l.width)
}

var usualLook = look{"en", false, 1280}

// A tab shows a page and hears what goes wrong in it.
type tab struct {
	testing.TB
	ctx context.Context //nolint:containedctx // to the library a tab is a context

	mu       sync.Mutex
	said     []string // by the console, or about the policy
	requests []string // but for the page itself
}

// open opens a tab with the page at url.
func open(browser context.Context, t testing.TB, url string, l look) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	b := &tab{TB: t, ctx: ctx}
	hear := func(s string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.said = append(b.said, s)
	}
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			hear("console: " + string(e.Type))
		case *runtime.EventExceptionThrown:
			hear("exception: " + fmt.Sprint(e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
		case *log.EventEntryAdded:
			hear("log: " + e.Entry.Text)
		case *page.EventJavascriptDialogOpening:
			hear("dialog: " + e.Message)
		case *network.EventRequestWillBeSent:
			b.mu.Lock()
			defer b.mu.Unlock()
			if e.Request.URL != url {
				b.requests = append(b.requests, e.Request.URL)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: 900, DeviceScaleFactor: 1})
	call(b, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: "test", AcceptLanguage: l.language})
	call(b, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Shanghai"})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	b.do(chromedp.Navigate(url))
	return b
}

// call sends a command of the protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.Fatal(err)
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.Fatal(err)
	}
}

// get runs an action that has a value.
func get[T any](b *tab, action chromedp.Action[T]) T {
	b.Helper()
	value, err := chromedp.Run(b.ctx, action)
	if err != nil {
		b.Fatal(err)
	}
	return value
}

// eval evaluates an expression and returns its value as a string.
func (b *tab) eval(script string) string {
	b.Helper()
	return get(b, chromedp.Evaluate[string]("String("+script+")"))
}

func (b *tab) want(script, want string) {
	b.Helper()
	if got := b.eval(script); got != want {
		b.Errorf("%s: got %q, want %q", script, got, want)
	}
}

// quiet fails the test if the page has complained or asked for anything.
func (b *tab) quiet() {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.said) > 0 {
		b.Errorf("the page said: %s", strings.Join(b.said, "\n"))
	}
	if len(b.requests) > 0 {
		b.Errorf("the page asked for %q", b.requests)
	}
}

// picture writes what the whole page looks like, if pictures are kept.
func (b *tab) picture(name string) {
	b.Helper()
	if *keep == "" || b.eval(`document.documentElement.scrollHeight < 60000`) != "true" { // more is no picture
		return
	}
	png := get(b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(*keep, strings.ReplaceAll(name, " ", "-")+".png"), png, 0o600); err != nil {
		b.Fatal(err)
	}
}

// files writes the pages, and returns their addresses.
func files(t testing.TB, pages map[string][]byte) map[string]string {
	t.Helper()
	dir := t.TempDir()
	urls := map[string]string{}
	for name, page := range pages {
		file := filepath.Join(dir, name+".html")
		if err := os.WriteFile(file, page, 0o600); err != nil {
			t.Fatal(err)
		}
		urls[name] = "file://" + file
	}
	return urls
}

// looks are all there are; each third of them has both languages, schemes and widths in it.
var looks = []look{
	{"en", false, 1280},
	{"en", true, 1280},
	{"zh-CN", false, 1280},
	{"zh-CN", true, 400},
	{"en", true, 400},
	{"zh-CN", false, 400},
	{"en", false, 400},
	{"zh-CN", true, 1280},
}

func TestPagesInABrowser(t *testing.T) {
	b := browser(t)
	all := pages(t)
	urls := files(t, all)
	axe, err := os.ReadFile(axeFile)
	if err != nil {
		t.Log("without the accessibility checker: npm ci in scripts/axe gets it")
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for n, l := range looks {
			if whole := []string{"usual", "hostile", "stopped"}; *keep == "" && !slices.Contains(whole, name) && n%3 != 0 {
				continue
			}
			t.Run(name+" "+l.String(), func(t *testing.T) {
				p := open(b, t, urls[name], l)
				p.want(`document.documentElement.lang`, l.language)
				hidden := map[string]string{"en": ".z", "zh-CN": ".e"}[l.language]
				p.want(`[...document.querySelectorAll("body `+hidden+`")].filter(e => e.offsetParent).length`, "0")
				p.want(`document.documentElement.scrollWidth <= document.documentElement.clientWidth`, "true")
				dark := map[bool]string{false: "rgb(250, 249, 246)", true: "rgb(21, 24, 28)"}[l.dark]
				p.want(`getComputedStyle(document.documentElement).backgroundColor`, dark)
				p.want(`document.querySelectorAll("h1").length`, "1")
				p.quiet()
				p.picture(name + " " + l.String())
				// It takes long over many rows.
				often := name != "wrong" && name != "hostile" && (n < 4 || name == "usual" || name == "stopped")
				if axe != nil && (often || l == usualLook) {
					p.check(string(axe))
				}
			})
		}
	}
}

// check fails the test on what the accessibility checker calls serious or critical.
func (b *tab) check(axe string) {
	b.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](axe + ";0"))
	type violation struct {
		Impact string `json:"impact"`
		Help   string `json:"help"`
		Nodes  []struct {
			HTML           string `json:"html"`
			FailureSummary string `json:"failureSummary"`
		} `json:"nodes"`
	}
	found := get(b, chromedp.Evaluate[[]violation](`axe.run().then(r => r.violations)`, chromedp.EvalAwaitPromise))
	for _, f := range found {
		if f.Impact == "serious" || f.Impact == "critical" {
			b.Errorf("%s: %s: %d times, first %s: %s", f.Impact, f.Help, len(f.Nodes), f.Nodes[0].HTML, f.Nodes[0].FailureSummary)
		} else {
			b.Logf("%s: %s: %d times, first %s", f.Impact, f.Help, len(f.Nodes), f.Nodes[0].HTML)
		}
	}
}

// rows are the lines of the records that are shown.
const rows = `[...document.querySelectorAll("#list tbody tr")].filter(r => !r.hidden).map(r => r.cells[0].textContent).slice(0, 4)`

func TestSearchAndSortByKeyboard(t *testing.T) {
	p := open(browser(t), t, files(t, map[string][]byte{"page": usual(50_000).page(t)})["page"], usualLook)
	p.want(`document.getElementById("found").textContent`, "198 of 198 found, 1 to 100 shown")
	p.want(rows, "8,12,30,101")

	// By the tabulator alone: what is behind the heading of the list is the search.
	p.do(chromedp.Focus(chromedp.CSS("#records")), chromedp.KeyEvent(kb.Tab))
	p.want(`document.activeElement.id`, "text")
	p.do(chromedp.KeyEvent("ACCOUNT does not"))
	p.want(`document.getElementById("found").textContent`, "80 of 198 found")
	p.want(rows, "12,637,1262,1887")
	p.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab))
	p.want(`document.activeElement.id`, "clear")
	p.do(chromedp.KeyEvent(kb.Enter))
	p.want(`document.getElementById("found").textContent`, "198 of 198 found, 1 to 100 shown")
	p.want(`document.activeElement.id`, "text")

	p.do(chromedp.KeyEvent("no such thing"))
	p.want(`document.getElementById("found").textContent`, "0 of 198 found")
	p.do(chromedp.KeyEvent(kb.Escape), chromedp.KeyEvent(kb.Tab))
	p.want(`document.activeElement.id`, "only")
	p.do(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.ArrowDown))
	p.want(`document.activeElement.value`, "unknown")
	p.want(`document.getElementById("found").textContent`, "8 of 198 found")
	p.do(chromedp.KeyEvent(kb.Home), chromedp.KeyEvent(kb.Tab))
	p.want(`document.activeElement.closest("th").cellIndex`, "0")

	sorted := func(column int) string {
		return p.eval(fmt.Sprintf(`document.querySelectorAll("#list thead th")[%d].getAttribute("aria-sort")`, column))
	}
	if got := sorted(0); got != "ascending" {
		t.Errorf("got order %s of lines, want ascending", got)
	}
	p.do(chromedp.KeyEvent(kb.Enter))
	if got := sorted(0); got != "descending" {
		t.Errorf("got order %s of lines, want descending", got)
	}
	p.want(rows, "49387,48762,48137,48030")
	p.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(" ")) // GroupId: those without come first
	if line, id := sorted(0), sorted(1); line != "null" || id != "ascending" {
		t.Errorf("got orders %s and %s, want null and ascending", line, id)
	}
	p.want(`[...document.querySelectorAll("#list tbody tr")].slice(0, 10).map(r => r.cells[1].textContent).join()`, ",,,,,,,,g7,g11")

	// From a kind of mistake to its records.
	p.do(chromedp.Focus(chromedp.CSS(`.kind a.show`)), chromedp.KeyEvent(kb.Enter))
	p.want(`document.getElementById("found").textContent`, "90 of 198 found")
	p.want(`location.hash`, "#records")
	p.quiet()
}

func TestSwitchOfLanguageByKeyboard(t *testing.T) {
	p := open(browser(t), t, files(t, map[string][]byte{"page": usual(50_000).page(t)})["page"], usualLook)
	p.do(chromedp.KeyEvent(kb.Tab))
	p.want(`document.activeElement.className`, "skip")
	p.do(chromedp.KeyEvent(kb.Tab))
	p.want(`document.activeElement.id`, "language")
	p.want(`document.activeElement.textContent`, "中文")
	status := `document.querySelector("#list tbody tr").cells[3].textContent`
	p.want(status, "rejected")
	p.want(`document.title`, "49,802 of 50,000 imported - acme.jsonl")
	p.do(chromedp.KeyEvent(kb.Enter))
	p.want(`document.documentElement.lang`, "zh-CN")
	p.want(`document.title`, "已导入 49,802/50,000 - acme.jsonl")
	p.want(status, "被拒绝")
	p.want(`document.getElementById("found").textContent`, "共 198 条，找到 198 条，显示第 1 至 100 条")
	p.want(`document.querySelector("svg.bar").getAttribute("aria-label").slice(0, 10)`, "已导入 49,752")
	p.want(`document.querySelector("time").title`, "2026年11月22日 GMT+8 18:07:32")
	p.do(chromedp.KeyEvent(kb.Enter))
	p.want(`document.documentElement.lang`, "en")
	p.want(status, "rejected")
	p.want(`document.querySelector("time").title`, "Nov 22, 2026, 6:07:32 PM GMT+8")
	p.quiet()
}

func TestLongListIsPaged(t *testing.T) {
	p := open(browser(t), t, files(t, map[string][]byte{"page": usual(50_000).page(t)})["page"], usualLook)
	const shown = `[...document.querySelectorAll("#list tbody tr")].filter(r => !r.hidden).length`
	p.want(shown, "100")
	p.want(`document.getElementById("previous").disabled`, "true")
	p.do(chromedp.Focus(chromedp.CSS("#following")), chromedp.KeyEvent(kb.Enter))
	p.want(`document.getElementById("found").textContent`, "198 of 198 found, 101 to 198 shown")
	p.want(shown, "98")
	p.want(`document.getElementById("following").disabled`, "true")
	p.do(chromedp.Focus(chromedp.CSS("#text")), chromedp.KeyEvent("ACCOUNT does not")) // a search begins at its first page
	p.want(shown, "80")
	p.want(`document.getElementById("pages").hidden`, "true")
	p.quiet()
}

func TestCopyCommandByKeyboard(t *testing.T) {
	p := open(browser(t), t, files(t, map[string][]byte{"page": usual(50_000).page(t)})["page"], usualLook)
	command := p.eval(`document.querySelector(".command code").textContent`)
	p.do(chromedp.Evaluate[chromedp.Void](`window.copied = ""; document.addEventListener("copy", () => { window.copied = String(getSelection()); });
		navigator.clipboard && (navigator.clipboard.writeText = async (text) => { window.copied = text; }); 0`))
	p.do(chromedp.Focus(chromedp.CSS(".copy")), chromedp.KeyEvent(kb.Enter))
	if got := get(p, chromedp.Evaluate[string](`new Promise(done => setTimeout(() => done(window.copied), 100))`, chromedp.EvalAwaitPromise)); got != command {
		t.Errorf("got %q copied, want %q", got, command)
	}
	p.want(`document.querySelector(".copy + [role=status]").textContent`, "copied")
	p.quiet()
}

// Without a script the page is in English and all of it can be read.
func TestPageWithoutAScript(t *testing.T) {
	b := browser(t)
	p := open(b, t, "about:blank", usualLook)
	call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	p.do(chromedp.Navigate(files(t, map[string][]byte{"page": usual(50_000).page(t)})["page"]))
	p.want(`document.documentElement.lang`, "en")
	p.want(`[...document.querySelectorAll(".z")].filter(e => e.offsetParent).length`, "0")
	p.want(`[...document.querySelectorAll("#list tbody tr")].filter(e => e.offsetParent).length`, "198")
	p.want(`[...document.querySelectorAll("button, input, .show")].filter(e => e.offsetParent).length`, "0")
}

// Over HTTP it is the same, and the browser asks for nothing else.
func TestPageOverHTTPAsksForNothing(t *testing.T) {
	b := browser(t)
	all := pages(t)
	for _, name := range []string{"usual", "hostile", "stopped"} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				asked = append(asked, r.URL.Path)
				mu.Unlock()
				w.Header().Set("Content-Type", "text/html")
				w.Write(all[name])
			}))
			t.Cleanup(server.Close)
			p := open(b, t, server.URL+"/page", usualLook)
			p.want(`document.documentElement.lang`, "en")
			p.quiet()
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Join(asked, " "); got != "/page" {
				t.Errorf("got requests for %s, want /page only", got)
			}
		})
	}
}

// What came from an export stands in the page as text, and does nothing.
func TestHostileTextIsText(t *testing.T) {
	p := open(browser(t), t, files(t, map[string][]byte{"page": hostile().page(t)})["page"], usualLook)
	p.want(`document.querySelectorAll("script").length`, "1")
	p.want(`document.querySelectorAll("img, iframe, object, embed, b, form:not(#search), svg[onload]").length`, "0")
	p.want(`[...document.querySelectorAll("a")].filter(a => !/^(#|\.\/)/.test(a.getAttribute("href"))).length`, "0")
	p.want(`[...document.querySelectorAll("*")].filter(e => [...e.attributes].some(a => a.name.startsWith("on"))).length`, "0")
	p.want(`[...document.querySelectorAll("#list td")].some(e => e.textContent === "<script>alert(1)</`+`script>")`, "true")
	p.want(`/[\u202A-\u202E\u2066-\u2069\u2028\u2029]/.test(document.body.textContent)`, "false")
	p.want(`document.body.textContent.includes("‹U+202E›gpj.exe‹U+202C›")`, "true")
	p.quiet()
}

func TestRefreshCanBePaused(t *testing.T) {
	p := open(browser(t), t, files(t, map[string][]byte{"page": pages(t)["running"]})["page"], usualLook)
	p.want(`document.documentElement.dataset.refresh`, "10")
	p.do(chromedp.Focus(chromedp.CSS("#pause")), chromedp.KeyEvent(kb.Enter))
	p.want(`document.getElementById("pause").getAttribute("aria-pressed")`, "true")
	p.quiet()
}
