package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/net/html"

	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/httpapi"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

func link(key string) string { return (&url.URL{Path: "/imports/" + key}).EscapedPath() }

func put(t *testing.T, w *world, key string, lines ...string) {
	t.Helper()
	if err := w.store.Put(t.Context(), key, strings.NewReader(strings.Join(lines, "\n"))); err != nil {
		t.Fatal(err)
	}
}

func records(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf(`{"Type":"Public","Name":"n-%d","GroupId":"g-%d"}`, i+1, i+1)
	}
	return lines
}

// look returns an import as GET /imports/{key} shows it.
func look(c *caller, key string) scheduler.Status {
	c.t.Helper()
	var im scheduler.Status
	r := c.get("/imports/" + key)
	if r.status != 200 {
		c.t.Fatalf("got %d: %s", r.status, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), &im); err != nil {
		c.t.Fatal(err)
	}
	return im
}

func TestImports_FromStartToFinish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.caller(direct)
		const key = "exports/a.jsonl"
		put(t, w, key, append(records(3000), `{"Type":"Publ","Name":"broken"}`)...)
		if im := look(c, key); im.State != results.Waiting || im.Reason != "not started" || im.Counts.Records() != 0 {
			t.Errorf("got %+v before the first run, want it waiting", im)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // it works for 15 of them
		defer cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := w.importer().Import(ctx, key); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(8 * time.Second)
		im := look(c, key)
		if im.State != results.Running || im.Counts.Imported < 500 || im.Rate < 150 || im.Rate > 191 || im.Left < 5 ||
			im.Left > 20 || im.Runs != 1 {
			t.Errorf("got %+v in the middle, want it running at 190 a second", im)
		}
		if im.Next.N != im.Counts.Records()+1 || im.Next.Offset == 0 {
			t.Errorf("got position %+v, want that behind %d records", im.Next, im.Counts.Records())
		}
		<-done
		if im := look(c, key); im.State != results.Waiting || im.Reason != "time is up" || im.Rate != 0 {
			t.Errorf("got %+v after the first run, want it waiting", im)
		}
		if _, err := w.importer().Import(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		im = look(c, key)
		if im.State != results.Finished || im.Counts != (outcome.Counts{Imported: 3000, Rejected: 1}) || im.Runs != 2 ||
			im.Finished.IsZero() {
			t.Errorf("got %+v, want it finished", im)
		}
		var files []string
		for _, f := range im.Files {
			files = append(files, f.Key)
		}
		want := key + ".results.ndjson " + key + ".failures.ndjson"
		if got := strings.Join(files, " "); !strings.HasPrefix(got, want) {
			t.Errorf("got files %s, want %s", got, want)
		}

		time.Sleep(time.Second)
		put(t, w, key, "another")
		if im := look(c, key); im.State != results.Waiting || !strings.Contains(im.Reason, "new version") {
			t.Errorf("got %+v with a new version of the export, want it waiting", im)
		}
		if err := w.store.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if im := look(c, key); im.State != results.Finished || !im.Gone {
			t.Errorf("got %+v without the export, want it gone", im)
		}
	})
}

func TestImports_Stopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.caller(direct)
		const key = "exports/a.jsonl"
		put(t, w, key, one)
		w.config.SecretKey = "another"
		if _, err := w.importer().Import(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if im := look(c, key); im.State != results.Stopped || !strings.Contains(im.Reason, "TIM_SECRET_KEY") ||
			im.Again.IsZero() {
			t.Errorf("got %+v, want it stopped for the key", im)
		}
		page := c.get("/imports/"+key, "Accept", "text/html").body
		if !strings.Contains(page, "TIM_SECRET_KEY") || !strings.Contains(page, `class="badge stopped"`) {
			t.Errorf("got a page without the reason:\n%s", page)
		}
	})
}

func TestImports_DeadRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const key = "exports/a.jsonl"
		put(t, w, key, records(3000)...)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		go func() { _, _ = w.importer().Import(ctx, key) }()
		time.Sleep(8 * time.Second)
		w.store = w.store.Clone() // what a process leaves that is killed now
		c := w.caller(direct)
		if im := look(c, key); im.State != results.Running {
			t.Errorf("got %s at once, want it running as far as anybody knows", im.State)
		}
		time.Sleep(time.Minute)
		if im := look(c, key); im.State != results.Waiting || !strings.Contains(im.Reason, "ended unexpectedly") {
			t.Errorf("got %s, %q after its lease, want it waiting", im.State, im.Reason)
		}
	})
}

func TestImports_UnusualKeys(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		for _, row := range []struct{ key, path string }{
			{"exports/a.jsonl", "exports/a.jsonl"},
			{"exports/a.jsonl", "exports%2Fa.jsonl"},
			{"exports/2026/b c.jsonl", "exports/2026/b%20c.jsonl"},
			{"exports/a+b.jsonl", "exports/a+b.jsonl"},
			{"exports/a+b.jsonl", "exports/a%2Bb.jsonl"},
			{"exports/群组.jsonl", "exports/%E7%BE%A4%E7%BB%84.jsonl"},
			{"exports/100%.jsonl", "exports/100%25.jsonl"},
			{"exports/<b>&'\".jsonl", "exports/%3Cb%3E&'%22.jsonl"},
		} {
			put(t, w, row.key, one)
			if got := look(c, row.path).Key; got != row.key {
				t.Errorf("got %q for %s, want %q", got, row.path, row.key)
			}
		}
		put(t, w, "secret/a.jsonl", one)
		put(t, w, "secret/a.jsonl.results.ndjson", "{}")
		put(t, w, "exports/a.jsonl.import/manifest", "{}")
		put(t, w, "exports/a.txt", "x")
		for _, path := range []string{
			"secret/a.jsonl", "exports/../secret/a.jsonl", "exports/%2e%2e/secret/a.jsonl", "exports%2F..%2Fsecret%2Fa.jsonl",
			"exports//a.jsonl",
			"exports/a.jsonl/", "/exports/a.jsonl", "exports/b.jsonl.results.ndjson", "exports/a.jsonl.import/manifest",
			"secret/a.jsonl.results.ndjson", "exports/a.txt", "exports/none.jsonl", "exports%5Ca.jsonl",
			"exports/a%00.jsonl", "exports/%ff.jsonl",
		} {
			if r := c.get("/imports/" + path); r.status != 404 {
				t.Errorf("got %d for %s, want 404: %s", r.status, path, r.body)
			}
		}
		for _, prefix := range []string{"secret/", "exports", "e", "/", "exports/../secret/"} {
			if r := c.get("/imports?prefix=" + prefix); r.status != 404 {
				t.Errorf("got %d for prefix %s, want 404: %s", r.status, prefix, r.body)
			}
		}
	})
}

func TestImports_Paging(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		var want []string
		for n := range 25 {
			key := fmt.Sprintf("exports/%d/%02d.jsonl", n%3, n)
			put(t, w, key, one)
			want = append(want, key)
		}
		put(t, w, "exports/0/00.jsonl.import/lease/000001", "{}")
		put(t, w, "secret/a.jsonl", one)
		// This leaves a folder that is none of the exports'.
		c.post(`{"Type":"Public","Name":"With a key"}`, "Idempotency-Key", "k")
		if _, err := w.importer().Import(t.Context(), "exports/1/01.jsonl"); err != nil {
			t.Fatal(err)
		}

		pages := func(path string) (keys []string, count int) {
			for path != "" {
				var l struct {
					Imports []scheduler.Status `json:"imports"`
					Next    string             `json:"next"`
				}
				r := c.get(path)
				if err := json.Unmarshal([]byte(r.body), &l); err != nil || r.status != 200 {
					t.Fatalf("got %d, %v: %s", r.status, err, r.body)
				}
				for _, im := range l.Imports {
					keys = append(keys, im.Key)
					if finished := im.Key == "exports/1/01.jsonl"; finished != (im.State == results.Finished) {
						t.Errorf("got %s for %s", im.State, im.Key)
					}
				}
				path = l.Next
				count++
			}
			return keys, count
		}
		sorted := func(all []string, prefix string) (below []string) {
			for folder := range 3 {
				for _, key := range all {
					if strings.HasPrefix(key, fmt.Sprintf("exports/%d/", folder)) && strings.HasPrefix(key, prefix) {
						below = append(below, key)
					}
				}
			}
			return below
		}
		for _, row := range []struct {
			path, prefix string
			pages        int
		}{
			{"/imports", "", 1},
			{"/imports?limit=10", "", 3},
			{"/imports?limit=25", "", 1},
			{"/imports?limit=24", "", 2},
			{"/imports?prefix=exports/2/&limit=3", "exports/2/", 3},
			{"/imports?prefix=exports/9/", "exports/9/", 1},
			{"/imports?after=exports/2/20.jsonl", "exports/2/23", 1},
		} {
			got, count := pages(row.path)
			if want := sorted(want, row.prefix); strings.Join(got, " ") != strings.Join(want, " ") || count != row.pages {
				t.Errorf("%s: got %d pages with %v, want %d with %v", row.path, count, got, row.pages, want)
			}
		}
		for _, bad := range []string{"0", "-1", "201", "x", "1e1"} {
			if got := c.get("/imports?limit=" + bad).status; got != 400 {
				t.Errorf("got %d for limit %s, want 400", got, bad)
			}
		}
		// People see the newest first.
		var shown []string
		row := regexp.MustCompile(`<th scope="row"><a href="/imports/([^"]+)">`)
		next := regexp.MustCompile(`<a href="(/imports\?after=[^"]+)">`)
		path, count := "/imports?limit=10", 0
		for ; path != "" && count < 5; count++ {
			page := c.get(path, "Accept", "text/html").body
			for _, m := range row.FindAllStringSubmatch(page, -1) {
				shown = append(shown, m[1])
			}
			path = ""
			if m := next.FindStringSubmatch(page); m != nil {
				path = html.UnescapeString(m[1])
			}
		}
		slices.Reverse(want)
		if strings.Join(shown, " ") != strings.Join(want, " ") || count != 3 {
			t.Errorf("got %d pages with %v, want 3 with %v", count, shown, want)
		}
	})
}

func TestHandler_RootRedirects(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, _ *world, c *caller) {
		r := c.get("/")
		if got := r.Header.Get("Location"); r.status != 302 || got != "/imports" {
			t.Errorf("got %d, %q, want 302 to /imports", r.status, got)
		}
	})
}

func TestImports_FilesBesideExport(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		const key = "exports/群 组.jsonl"
		put(t, w, key, append(records(2), `{"Type":"Publ","Name":"broken"}`)...)
		if _, err := w.importer().Import(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		list := c.get("/imports", "Accept", "text/html").body
		if !strings.Contains(list, `finished, 1 rejected`) || !strings.Contains(list, `已完成，被拒绝 1`) {
			t.Errorf("got a list without the state:\n%s", list)
		}
		for suffix, kind := range map[string]string{
			".results.ndjson": "application/x-ndjson", ".failures.ndjson": "application/x-ndjson",
			".report.html": "text/html; charset=utf-8",
		} {
			path := link(key + suffix)
			if !strings.Contains(list, `href="`+path+`"`) {
				t.Errorf("got a list without a link to %s", path)
			}
			r := c.get(path)
			if got := r.Header.Get("Content-Type"); r.status != 200 || got != kind ||
				r.body != string(w.store.Snapshot()[key+suffix]) {
				t.Errorf("%s: got %d, %s, %d bytes, want the file", suffix, r.status, got, len(r.body))
			}
		}
		put(t, w, "exports/large.jsonl.results.ndjson", strings.Repeat("x", 4<<20+1))
		if r := c.get("/imports/exports/large.jsonl.results.ndjson"); r.status != 404 ||
			!strings.Contains(r.body, "too large") {
			t.Errorf("got %d, %.200s for a large file, want 404 and why", r.status, r.body)
		}
	})
}

// What cannot be read in a folder is not there. No request waits for a pipe.
func TestImports_FolderWithLinksAndPipes(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	long := strings.Repeat("x", 300)
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "exports"), 0o700),
		os.WriteFile(filepath.Join(outside, "secret.jsonl"), []byte(one), 0o600),
		os.Symlink(filepath.Join(outside, "secret.jsonl"), filepath.Join(dir, "exports/link.jsonl")),
		os.Symlink(filepath.Join(outside, "secret.jsonl"), filepath.Join(dir, "exports/a.jsonl.results.ndjson")),
		os.Symlink(outside, filepath.Join(dir, "exports/folder")),
		os.Symlink("circle.jsonl", filepath.Join(dir, "exports/circle.jsonl")),
		os.Symlink("/dev/zero", filepath.Join(dir, "exports/device.jsonl")),
		syscall.Mkfifo(filepath.Join(dir, "exports/pipe.jsonl"), 0o600),
		syscall.Mkfifo(filepath.Join(dir, "exports/a.jsonl.report.html"), 0o600),
	} {
		if err != nil {
			t.Skip(err) // not on this platform
		}
	}
	bucket, err := dirblob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer bucket.Close()
	w := newWorld(t)
	h, err := httpapi.New(httpapi.Config{Config: w.config, Bucket: bucket, Folder: dir, Transport: w.service})
	if err != nil {
		t.Fatal(err)
	}
	c := &caller{t, recorded{h}}
	for _, name := range []string{
		"link.jsonl", "a.jsonl.results.ndjson", "folder/secret.jsonl", "circle.jsonl", "device.jsonl", "pipe.jsonl",
		"a.jsonl.report.html", long + ".jsonl", long + ".jsonl.results.ndjson", long + "/a.jsonl",
	} {
		for _, accept := range []string{"application/json", "text/html"} {
			if r := c.get("/imports/exports/"+name, "Accept", accept); r.status != 404 {
				t.Errorf("got %d for %.40s, want 404: %s", r.status, name, r.body)
			}
		}
	}
	if r := c.get("/imports"); r.status != 200 || strings.Contains(r.body, "secret") {
		t.Errorf("got %d for the list, want 200: %s", r.status, r.body)
	}
}

func TestPages_HiddenCharactersAreVisible(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		const key = "exports/\u202Egpj\u202C.\u2066x\u200b.jsonl"
		put(t, w, key, one)
		if _, err := w.importer().Import(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/imports", link(key), link(key + ".report.html")} {
			page := c.get(path, "Accept", "text/html").body
			if strings.ContainsAny(page, "\u202E\u202C\u2066\u200b") {
				t.Errorf("%s: got hidden characters in %q", path, page)
			}
			if !strings.Contains(page, "‹U+202E›gpj‹U+202C›.‹U+2066›x‹U+200B›.jsonl") {
				t.Errorf("%s: got no visible escapes in:\n%s", path, page)
			}
		}
	})
}

// A compressed export that is half done says so on all pages and in JSON: by the bytes of the object, not by those
// after decompression.
func TestImports_CompressedHalfDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.caller(direct)
		const key = "exports/a.jsonl.gz"
		random := rand.New(rand.NewPCG(1, 2))
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		const n = 30_000
		for i := range n { // compresses three to one, evenly
			fmt.Fprintf(z, `{"Type":"Public","Name":"n-%d","GroupId":"g-%d","FaceUrl":"http://example.com/%016x"}`+"\n", i, i,
				random.Uint64())
		}
		z.Close()
		put(t, w, key, b.String())
		ctx, cancel := context.WithTimeout(t.Context(), 94*time.Second) // 190 a second, and a reserve of 5 s
		defer cancel()
		if s, err := w.importer().Import(ctx, key); err != nil || s.Counts.Imported < n*45/100 ||
			s.Counts.Imported > n*55/100 {
			t.Fatalf("got %+v, %v, want half of it", s.Counts, err)
		}
		if im := look(c, key); im.Done < 0.45 || im.Done > 0.55 {
			t.Errorf("got %v done in JSON, want half", im.Done)
		}
		half := regexp.MustCompile(`>(4[5-9]|5[0-5])%</bdi> of the export is done`)
		if page := c.get("/imports/"+key, "Accept", "text/html").body; !half.MatchString(page) {
			t.Errorf("got a page that does not say half:\n%.600s", page[strings.Index(page, "<h1"):])
		}
		if page := string(w.store.Snapshot()[key+".report.html"]); !half.MatchString(page) {
			t.Errorf("got a report that does not say half:\n%.600s", page[strings.Index(page, "<h1"):])
		}
	})
}

func TestPages_NoScriptFromData(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, w *world, c *caller) {
		const key = `exports/<script>alert(1)</script>"'.jsonl`
		put(t, w, key, one)
		if _, err := w.importer().Import(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/imports", link(key), link(key + ".report.html")} {
			r := c.get(path, "Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
			got := r.Header.Get("Content-Type")
			if got != "text/html; charset=utf-8" || !strings.Contains(r.body, "finished") || !strings.Contains(r.body, "已完成") {
				t.Errorf("%s: got %d, %s, want a page in both languages:\n%s", path, r.status, got, r.body)
			}
			if strings.Count(r.body, "<script") != 1 || strings.Contains(r.body, "style=") || strings.Contains(r.body, "http:") {
				t.Errorf("%s: got what a browser would run or fetch:\n%s", path, r.body)
			}
			policy := r.Header.Get("Content-Security-Policy")
			for _, tag := range []string{"style", "script"} {
				content := regexp.MustCompile(`(?s)<` + tag + `>(.*)</` + tag + `>`).FindStringSubmatch(r.body)
				sum := sha256.Sum256([]byte(content[1]))
				want := tag + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"
				if !strings.Contains(policy, want) {
					t.Errorf("got policy %q, want %s", policy, want)
				}
			}
		}
		for accept, page := range map[string]bool{
			"*/*": false, "": false, "application/json, text/html": false, "text/html": true,
		} {
			r := c.get("/imports", "Accept", accept)
			if got := strings.HasPrefix(r.Header.Get("Content-Type"), "text/html"); got != page {
				t.Errorf("got a page %v for %q, want %v", got, accept, page)
			}
		}
		if r := c.get("/imports", "Accept", "text/html"); !strings.Contains(r.body, `data-refresh="30"`) {
			t.Error("got a list that does not load itself again")
		}
	})
}

// What came from elsewhere makes no element, attribute, class or link in a page: there are only those that pages about
// harmless text have, too.
func TestPages_NoMarkupFromData(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pages := func(text string) (parts []string, say string) {
			w := newWorld(t)
			c := w.caller(direct)
			now := time.Now()
			for i, p := range []results.Progress{
				{State: results.Stopped, Reason: text, Again: now.Add(time.Hour)},
				{
					State: results.Running, Until: now.Add(time.Hour), Updated: now,
					Run: results.Run{Start: now.Add(-time.Minute), Counts: outcome.Counts{Imported: 9}},
				},
				{State: results.Finished, Reason: text},
			} {
				key := fmt.Sprintf("exports/%s/%d%[1]s.jsonl", text, i)
				put(t, w, key, one)
				p.Export = results.Export{Key: key, Version: text, Size: 100}
				p.Next.N, p.Next.Line, p.Next.Offset = 10, 10, 50
				names := results.Names{Export: key}
				m := results.Manifest{
					Export: p.Export, Finished: now, RetryAt: now, GivenUp: 1, Counts: outcome.Counts{Skipped: 1},
					Files: []results.File{{Key: text, SHA256: text}, {Key: names.Results(), SHA256: text}},
				}
				for name, v := range map[string]any{names.Progress(): p, names.Manifest(): m} {
					b, err := json.Marshal(v)
					if err != nil {
						t.Fatal(err)
					}
					put(t, w, name, string(b))
				}
				page := c.get((&url.URL{Path: "/imports/" + key}).EscapedPath(), "Accept", "text/html").body
				parts = append(parts, partsOf(t, page)...)
				say += page
			}
			for _, path := range []string{"/imports", "/imports?limit=1&prefix=" + url.QueryEscape("exports/"+text+"/")} {
				page := c.get(path, "Accept", "text/html").body
				parts = append(parts, partsOf(t, page)...)
				say += page
			}
			return parts, html.UnescapeString(say)
		}
		known, _ := pages("harmless")
		for _, text := range []string{
			`<script>alert(1)<`, `"><img src=x onerror=alert(1)>`, `' onclick='alert(1)`, `" onclick="alert(1)`, `<b>`,
			`<!-- -->`, `javascript:alert(1)`,
			`<svg onload=alert(1)>`, `<a href=http:evil>`, "{{.}}${1}", `<title><style>`,
		} {
			parts, say := pages(text)
			for _, part := range parts {
				if !slices.Contains(known, part) {
					t.Errorf("%q: pages about harmless text have no %s", text, part)
				}
			}
			if !strings.Contains(say, text) {
				t.Errorf("%q is not shown as it is in:\n%s", text, say)
			}
		}
	})
}

// partsOf is each element of a page with its place, each of its attributes, what of these does something, and what else
// there is but text.
func partsOf(t *testing.T, page string) []string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	ours := regexp.MustCompile(`^/imports(/[^/"'<>]+)+$|^/imports\?[A-Za-z0-9=&%+._-]+$`)
	var all []string
	for n := range doc.Descendants() {
		place := n.Parent.Data + " > "
		switch n.Type {
		case html.TextNode:
			if n.Parent.Data == "style" || n.Parent.Data == "script" {
				all = append(all, place+n.Data)
			}
		case html.ElementNode:
			place += n.Data
			all = append(all, place)
			for _, a := range n.Attr {
				if a.Key == "class" || a.Key == "http-equiv" || a.Key == "href" && !ours.MatchString(a.Val) {
					a.Key += "=" + a.Val
				}
				all = append(all, place+" "+a.Key)
			}
		case html.CommentNode:
			all = append(all, "comment "+n.Data)
		default: // the others hold nothing
		}
	}
	return all
}
