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
	"strconv"
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

// chromium starts the headless Chromium that all tests share. Its context is nil on a machine without Chromium.
var chromium = sync.OnceValues(func() (context.Context, func()) {
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		return nil, func() {}
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.WSURLReadTimeout(2 * time.Minute),
	}
	for _, flag := range []string{
		"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars",
		// Several tabs are used at once.
		"disable-background-timer-throttling", "disable-backgrounding-occluded-windows", "disable-renderer-backgrounding",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	// A tab keeps its process when it shows another page.
	options = append(options, chromedp.Flag("disable-features", "BackForwardCache,SpareRendererForSitePerProcess"))
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

var isStarted atomic.Bool // the browser

func TestMain(m *testing.M) {
	status := m.Run()
	if isStarted.Load() {
		_, stop := chromium()
		stop()
	}
	os.Exit(status)
}

// browser returns the context of the browser. It skips the test on a machine without Chromium.
func browser(t testing.TB) context.Context {
	t.Helper()
	isStarted.Store(true)
	ctx, _ := chromium()
	if ctx == nil {
		t.Skip("there is no Chromium on this machine: scripts/setup installs it")
	}
	return ctx
}

// A look is a way to look at a page.
type look struct {
	language string // en, zh-CN
	isDark   bool
	width    int64 // pixels
}

func (l look) String() string {
	scheme := "light"
	if l.isDark {
		scheme = "dark"
	}
	return fmt.Sprintf("%s %s %d", l.language, scheme, l.width)
}

var usualLook = look{"en", false, 1280}

// A tab shows a page and records its complaints. Tests take turns with the tabs: opening one, and compiling the
// accessibility checker in it, takes half a second of a processor.
type tab struct {
	testing.TB                 // the test that has it
	ctx        context.Context // to the library a tab is a context
	close      func()
	last       look // zero before the first

	mu         sync.Mutex
	url        string   // of the page
	complaints []string // messages of the console, violations of the policy
	requests   []string // for other resources than the page
}

var idleTabs = make(chan *tab, 16)

// open opens the page at url in a tab.
func open(t testing.TB, url string, l look) *tab {
	t.Helper()
	b := newTab(t, url)
	b.look(l)
	b.do(chromedp.Navigate(url))
	return b
}

// newTab returns an empty tab, which will show the page at url. The test has it until its end.
func newTab(t testing.TB, url string) *tab {
	t.Helper()
	browser(t)
	var b *tab
	select {
	case b = <-idleTabs:
	default:
		b = startTab(t)
	}
	b.TB = t
	b.mu.Lock()
	defer b.mu.Unlock()
	b.url, b.complaints, b.requests = url, nil, nil
	t.Cleanup(b.release)
	return b
}

func startTab(t testing.TB) *tab {
	t.Helper()
	b := &tab{TB: t}
	b.ctx, b.close = chromedp.NewContext(browser(t))
	record := func(list *[]string, text string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		*list = append(*list, text)
	}
	err := chromedp.Listen(b.ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			record(&b.complaints, "console: "+string(e.Type))
		case *runtime.EventExceptionThrown:
			record(&b.complaints, fmt.Sprint("exception: ", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
		case *log.EventEntryAdded:
			record(&b.complaints, "log: "+e.Entry.Text)
		case *page.EventJavascriptDialogOpening:
			record(&b.complaints, "dialog: "+e.Message)
		case *network.EventRequestWillBeSent:
			b.mu.Lock()
			defer b.mu.Unlock()
			if e.Request.URL != b.url {
				b.requests = append(b.requests, e.Request.URL)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	call(b, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Shanghai"})
	return b
}

// release empties the tab for the next test. It closes the tab of a test that failed.
func (b *tab) release() {
	const forget = `try { sessionStorage.clear() } catch {}`
	err := chromedp.Do(b.ctx, chromedp.Evaluate[chromedp.Void](forget), chromedp.Navigate("about:blank"))
	if _, e := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{}); err != nil || e != nil || b.Failed() {
		b.close()
		return
	}
	select {
	case idleTabs <- b:
	default:
		b.close()
	}
}

// look sets how the tab shows pages. The page reads the language when it loads.
func (b *tab) look(l look) {
	b.Helper()
	scheme := "light"
	if l.isDark {
		scheme = "dark"
	}
	if l.width != b.last.width {
		call(b, emulation.SetDeviceMetricsOverride,
			emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: 900, DeviceScaleFactor: 1})
	}
	if l.language != b.last.language {
		call(b, emulation.SetUserAgentOverride,
			emulation.SetUserAgentOverrideParams{UserAgent: "test", AcceptLanguage: l.language})
	}
	if l.isDark != b.last.isDark || b.last.width == 0 {
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
	}
	b.last = l
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

// get runs an action and returns its value.
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

// await waits until an expression has a value.
func (b *tab) await(script, want string) {
	b.Helper()
	var got string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = b.eval(script); got == want {
			return
		}
	}
	b.Errorf("%s: got %q, want %q", script, got, want)
}

// checkQuiet fails the test if the page has complained or requested anything.
func (b *tab) checkQuiet() {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.complaints) > 0 {
		b.Errorf("the page complained: %s", strings.Join(b.complaints, "\n"))
	}
	if len(b.requests) > 0 {
		b.Errorf("the page requested %q", b.requests)
	}
}

// savePicture writes a picture of the whole page to the folder of -keep.
func (b *tab) savePicture(name string) {
	b.Helper()
	const maxHeight = 60_000 // pixels: Chromium has no pictures of higher pages
	if *keep == "" || b.eval(fmt.Sprint("document.documentElement.scrollHeight < ", maxHeight)) != "true" {
		return
	}
	png := get(b, chromedp.FullScreenshot(100))
	file := filepath.Join(*keep, strings.ReplaceAll(name, " ", "-")+".png")
	if err := os.WriteFile(file, png, 0o600); err != nil {
		b.Fatal(err)
	}
}

// urlOf writes a page to a file and returns its URL.
func urlOf(t testing.TB, page []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, page, 0o600); err != nil {
		t.Fatal(err)
	}
	return "file://" + file
}

func TestBrowser_EveryPageInEveryLook(t *testing.T) {
	t.Parallel()
	browser(t)
	axe, err := os.ReadFile(axeFile)
	if err != nil {
		t.Log("without the accessibility checker: npm ci in scripts/axe installs it")
	}
	for name, page := range pages(t) {
		for _, language := range []string{"en", "zh-CN"} {
			t.Run(name+" "+language, func(t *testing.T) {
				t.Parallel()
				p := open(t, urlOf(t, page), look{language, false, 1280})
				looks := []look{{language, false, 1280}, {language, true, 1280}, {language, true, 400}, {language, false, 400}}
				for _, l := range looks {
					p.look(l)
					p.checkLook(l)
					p.savePicture(name + " " + l.String())
				}
				for _, width := range []int64{800, 1060, 1100} { // between a phone and a desktop nothing is cut off either
					l := look{language, false, width}
					p.look(l)
					p.checkLook(l)
				}
				for _, l := range slices.Backward(looks) { // of pages with many rows the checker checks fewer looks: it is slow
					var isChecked bool
					switch name {
					case "usual", "stopped":
						isChecked = true
					case "wrong", "hostile":
						isChecked = l == usualLook
					default:
						isChecked = l == usualLook || l == look{"zh-CN", true, 400}
					}
					if isChecked && axe != nil {
						p.look(l)
						p.checkAccessibility(string(axe))
					}
				}
			})
		}
	}
}

// checkLook checks what all pages have in common.
func (b *tab) checkLook(l look) {
	b.Helper()
	hidden := map[string]string{"en": ".z", "zh-CN": ".e"}[l.language]
	background := map[bool]string{false: "rgb(250, 249, 246)", true: "rgb(21, 24, 28)"}[l.isDark]
	wants := map[string]string{
		`innerWidth`:                    strconv.FormatInt(l.width, 10),
		`document.documentElement.lang`: l.language,
		`[...document.querySelectorAll("body ` + hidden + `")].filter(e => e.offsetParent).length`: "0",
		`document.documentElement.scrollWidth <= document.documentElement.clientWidth`:             "true",
		`getComputedStyle(document.documentElement).backgroundColor`:                               background,
		`document.querySelectorAll("h1").length`:                                                   "1",
	}
	scripts := slices.Sorted(maps.Keys(wants))
	for i, got := range get(b, chromedp.Evaluate[[]string]("["+strings.Join(scripts, ", ")+"].map(String)")) {
		if want := wants[scripts[i]]; got != want {
			b.Errorf("%s: %s: got %q, want %q", l, scripts[i], got, want)
		}
	}
	b.checkQuiet()
}

// checkAccessibility fails the test on violations that the accessibility checker calls serious or critical.
func (b *tab) checkAccessibility(axe string) {
	b.Helper()
	// The checker takes seconds for hundreds of rows, which are alike.
	b.do(chromedp.Evaluate[chromedp.Void](
		`for (const row of document.querySelectorAll("#list tbody tr:nth-child(n+21)")) row.remove()`))
	b.do(chromedp.Evaluate[chromedp.Void]("if (!window.axe) {" + axe + "};0"))
	type violation struct {
		Impact string `json:"impact"`
		Help   string `json:"help"`
		Nodes  []struct {
			HTML           string `json:"html"`
			FailureSummary string `json:"failureSummary"`
		} `json:"nodes"`
	}
	const run = `axe.run({resultTypes: ["violations"]}).then(r => r.violations)`
	found := get(b, chromedp.Evaluate[[]violation](run, chromedp.EvalAwaitPromise))
	for _, f := range found {
		first := f.Nodes[0]
		if f.Impact == "serious" || f.Impact == "critical" {
			b.Errorf("%s: %s: %d times, first %s: %s", f.Impact, f.Help, len(f.Nodes), first.HTML, first.FailureSummary)
		} else {
			b.Logf("%s: %s: %d times, first %s", f.Impact, f.Help, len(f.Nodes), first.HTML)
		}
	}
}

// rows are the lines of the records that are shown.
const rows = `[...document.querySelectorAll("#list tbody tr")].filter(r => !r.hidden).map(r => ` +
	`r.cells[0].textContent).slice(0, 4)`

func TestBrowser_SearchAndSortByKeyboard(t *testing.T) {
	t.Parallel()
	p := open(t, urlOf(t, pages(t)["usual"]), usualLook)
	p.want(`document.getElementById("found").textContent`, "198 of 198 found, 1 to 100 shown")
	p.want(rows, "8,12,30,101")

	// With the Tab key alone: the search follows the heading of the list.
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
	p.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(" ")) // by GroupId: records without one come first
	if line, id := sorted(0), sorted(1); line != "null" || id != "ascending" {
		t.Errorf("got orders %s and %s, want null and ascending", line, id)
	}
	p.want(`[...document.querySelectorAll("#list tbody tr")].slice(0, 10).map(r => r.cells[1].textContent).join()`,
		",,,,,,,,g7,g11")

	// From a kind of error to its records.
	p.do(chromedp.Focus(chromedp.CSS(`.kind a.show`)), chromedp.KeyEvent(kb.Enter))
	p.want(`document.getElementById("found").textContent`, "90 of 198 found")
	p.want(`location.hash`, "#records")
	p.checkQuiet()
}

func TestBrowser_LanguageByKeyboard(t *testing.T) {
	t.Parallel()
	p := open(t, urlOf(t, pages(t)["usual"]), usualLook)
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
	p.checkQuiet()
}

func TestBrowser_LongListIsPaged(t *testing.T) {
	t.Parallel()
	p := open(t, urlOf(t, pages(t)["usual"]), usualLook)
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
	p.checkQuiet()
}

func TestBrowser_CopyCommandByKeyboard(t *testing.T) {
	t.Parallel()
	p := open(t, urlOf(t, pages(t)["usual"]), usualLook)
	command := p.eval(`document.querySelector(".command code").textContent`)
	// The page removes its message after some time.
	p.do(chromedp.Evaluate[chromedp.Void](`window.copied = window.message = "";
		document.addEventListener("copy", () => { window.copied = String(getSelection()); });
		if (navigator.clipboard) navigator.clipboard.writeText = async (text) => { window.copied = text; };
		const status = document.querySelector(".copy + [role=status]");
		new MutationObserver(() => { window.message += status.textContent; }).observe(status, { childList: true });`))
	p.do(chromedp.Focus(chromedp.CSS(".copy")), chromedp.KeyEvent(kb.Enter))
	p.await(`window.message`, "copied")
	p.want(`window.copied`, command)
	p.checkQuiet()
}

// TestBrowser_WithoutScript checks that without scripts the page is in English and shows all its records.
func TestBrowser_WithoutScript(t *testing.T) {
	t.Parallel()
	url := urlOf(t, pages(t)["usual"])
	p := newTab(t, url)
	p.look(usualLook)
	call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	p.do(chromedp.Navigate(url))
	p.want(`document.documentElement.lang`, "en")
	p.want(`[...document.querySelectorAll(".z")].filter(e => e.offsetParent).length`, "0")
	p.want(`[...document.querySelectorAll("#list tbody tr")].filter(e => e.offsetParent).length`, "198")
	p.want(`[...document.querySelectorAll("button, input, .show")].filter(e => e.offsetParent).length`, "0")
}

func TestBrowser_OverHTTP(t *testing.T) {
	t.Parallel()
	browser(t)
	all := pages(t)
	for _, name := range []string{"usual", "hostile", "stopped"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var requests []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				requests = append(requests, r.URL.Path)
				mu.Unlock()
				w.Header().Set("Content-Type", "text/html")
				w.Write(all[name])
			}))
			t.Cleanup(server.Close)
			p := open(t, server.URL+"/page", usualLook)
			p.want(`document.documentElement.lang`, "en")
			p.checkQuiet()
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Join(requests, " "); got != "/page" {
				t.Errorf("got requests for %s, want /page only", got)
			}
		})
	}
}

// TestBrowser_HostileText checks that the page shows data of an export as text, which does nothing.
func TestBrowser_HostileText(t *testing.T) {
	t.Parallel()
	p := open(t, urlOf(t, pages(t)["hostile"]), usualLook)
	p.want(`document.querySelectorAll("script").length`, "1")
	p.want(`document.querySelectorAll("img, iframe, object, embed, b, form:not(#search), svg[onload]").length`, "0")
	p.want(`[...document.querySelectorAll("a")].filter(a => !/^(#|\.\/)/.test(a.getAttribute("href"))).length`, "0")
	p.want(`[...document.querySelectorAll("*")].filter(e => [...e.attributes].some(a => a.name.startsWith("on"))).length`,
		"0")
	p.want(`[...document.querySelectorAll("#list td")].some(e => e.textContent === "<script>alert(1)</`+`script>")`,
		"true")
	p.want(`/[\u202A-\u202E\u2066-\u2069\u2028\u2029]/.test(document.body.textContent)`, "false")
	p.want(`document.body.textContent.includes("‹U+202E›gpj.exe‹U+202C›")`, "true")
	p.checkQuiet()
}

func TestBrowser_RefreshCanBePaused(t *testing.T) {
	t.Parallel()
	p := open(t, urlOf(t, pages(t)["running"]), usualLook)
	p.want(`document.documentElement.dataset.refresh`, "10")
	p.do(chromedp.Focus(chromedp.CSS("#pause")), chromedp.KeyEvent(kb.Enter))
	p.want(`document.getElementById("pause").getAttribute("aria-pressed")`, "true")
	p.checkQuiet()
}
