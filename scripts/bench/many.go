package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"groupimport/pkg/blob/s3blob"
)

var only = flag.String("only", "", "of many, measure `NAMES` only: small,mixed,beside,s3")

// manyParts are the parts of many, in order.
var manyParts = []struct {
	name string
	run  func(*bench)
}{
	{"small", manySmall},
	{"mixed", manyMixed},
	{"beside", manyBeside},
	{"s3", manyS3},
}

// many measures several exports at once.
func many(b *bench) {
	for range *runs {
		for _, p := range manyParts {
			if *only == "" || slices.Contains(strings.Split(*only, ","), p.name) {
				p.run(b)
			}
		}
	}
}

// manySmall imports a thousand small exports.
func manySmall(b *bench) {
	exports := limited(1000)
	dir := b.folder("many-small")
	for n := range exports {
		b.smallExport(filepath.Join(dir, fmt.Sprintf("%d.jsonl", n)), n, 10)
	}
	u, stats := b.against(false, nil, func(s *service) usage {
		return b.run(append(s.env, "TIM_RATE=190"), b.path("local"), "import", "--quiet", dir)
	})
	rate := float64(stats.Created) / u.took.Seconds()
	b.found("many", fmt.Sprintf("%d exports of 10 records", exports), "groupimport",
		fig("mean rate with start and end", rate, "/s"), fig("of 190", rate/190, ""),
		fig("busiest second", float64(stats.BusiestSecond), ""), fig("refused", float64(stats.Throttled), ""),
		fig("memory", u.memory, " MB"), fig("CPU", u.cpu.Seconds(), " s"))
}

// smallExport writes an export of records that no other export has.
func (b *bench) smallExport(path string, export, records int) {
	var text bytes.Buffer
	for n := range records {
		fmt.Fprintf(&text, `{"GroupId":"g-%d-%d","Type":"Public","Name":"Team %d"}`+"\n", export, n, n)
	}
	check(os.WriteFile(path, text.Bytes(), 0o600))
}

// manyMixed measures the memory of eight exports of different formats at once, without a budget that is reached.
func manyMixed(b *bench) {
	n := limited(100_000)
	dir := b.folder("many-mixed")
	u, stats := b.against(false, []string{"-limit", "-1"}, func(s *service) usage {
		for i, name := range []string{
			"a.jsonl", "b.ndjson", "c.json", "d.csv", "e.jsonl.gz", "f.json.zst", "g.csv.gz", "h.jsonl.zst",
		} {
			b.mixedExport(filepath.Join(dir, name), i, n)
		}
		return b.run(append(s.env, "TIM_RATE=50000", "FIELD_LIMITS=extended"), b.path("local"), "import", "--quiet", dir)
	})
	b.found("many", fmt.Sprintf("8 exports of mixed formats, %d records each, no budget", n), "groupimport",
		fig("memory", u.memory, " MB, at most 64"), fig("of 64 MB", u.memory/64, ""),
		fig("records", float64(stats.Created), ""), fig("mean rate", float64(stats.Created)/u.took.Seconds(), "/s"))
}

// mixedExport writes an export whose format its name tells. No other export has its records.
func (b *bench) mixedExport(path string, export, n int) {
	packing := filepath.Ext(path)
	name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".gz"), ".zst")
	plain := b.export("plain-"+name, n)
	defer os.Remove(plain)
	// GroupIds of its own, of the same length.
	text := bytes.ReplaceAll(must(os.ReadFile(plain)), []byte("g-"), fmt.Appendf(nil, "%c-", 'a'+export))
	if packing != ".gz" && packing != ".zst" {
		check(os.WriteFile(path, text, 0o600))
		return
	}
	check(os.WriteFile(plain, text, 0o600))
	command := map[string]string{".gz": "gzip", ".zst": "zstd"}[packing]
	out := must(os.Create(path))
	defer out.Close()
	pack := exec.CommandContext(b.ctx, command, "-q", "-c", plain)
	pack.Stdout = out
	check(pack.Run())
}

// manyBeside drops an export of 10 records into a folder in which one of 1,000,000 is imported.
func manyBeside(b *bench) {
	n := limited(1_000_000)
	dir := b.folder("many-beside")
	check(os.Rename(b.export("large.jsonl", n), filepath.Join(dir, "large.jsonl")))
	s := b.emulator(false)
	var out bytes.Buffer
	watch := b.start(append(s.env, "TIM_RATE=190"), &out, b.path("local"), "watch", "--quiet", dir)
	b.until(10*time.Minute, func() bool {
		_, err := os.Stat(filepath.Join(dir, "large.jsonl.import", "progress"))
		return err == nil
	})
	const drops = 5
	for drop := range drops {
		name := fmt.Sprintf("small-%d.jsonl", drop)
		hidden := b.path(name)
		b.smallExport(hidden, drop+1, 10)
		began := time.Now()
		check(os.Rename(hidden, filepath.Join(dir, name)))
		b.until(time.Minute, func() bool {
			_, err := os.Stat(filepath.Join(dir, name+".import", "manifest"))
			return err == nil
		})
		took := time.Since(began).Seconds()
		// A file is read once it has not changed for 3 s. A watch looks every 2 s, and while it imports every 3 s.
		const seen = 3 + 3
		b.found("many", fmt.Sprintf("10 records beside %d", n), "groupimport",
			fig("from the drop to the report", took, " s"), fig("of 5 s after it may be seen", max(0, took-seen)/5, ""))
	}
	check(watch.Process.Signal(syscall.SIGINT))
	_ = watch.Wait() // its status is that of an interrupt
	stats := s.stop()
	b.found("many", fmt.Sprintf("10 records beside %d", n), "the service",
		fig("busiest second", float64(stats.BusiestSecond), ""), fig("refused", float64(stats.Throttled), ""))
}

// until waits until something is so.
func (b *bench) until(limit time.Duration, isSo func() bool) {
	for began := time.Now(); !isSo(); time.Sleep(20 * time.Millisecond) {
		check(b.ctx.Err())
		if time.Since(began) > limit {
			check(fmt.Errorf("nothing happens for %v", limit))
		}
	}
}

// storeDelay is that of each request to the store in manyS3.
const storeDelay = 20 * time.Millisecond

// manyS3 imports 1,000 exports of 10 records from an S3 server whose requests take storeDelay longer.
func manyS3(b *bench) {
	exports := limited(1000)
	store, stop, err := b.storeServer()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: many s3 is left out:", err)
		return
	}
	defer stop()
	for n := range exports {
		file := b.path("small.jsonl")
		b.smallExport(file, n, 10)
		check(store.bucket.Put(b.ctx, fmt.Sprintf("exports/%d.jsonl", n), bytes.NewReader(must(os.ReadFile(file)))))
	}
	u, stats := b.against(false, nil, func(s *service) usage {
		env := append(append(s.env, store.env...), "TIM_RATE=190", "EXPORT_PREFIX=exports/")
		return b.run(env, b.path("local"), "import", "--quiet", "s3://bench/exports/")
	})
	rate := float64(stats.Created) / u.took.Seconds()
	b.found("many", fmt.Sprintf("%d exports of 10 records on S3, %v a request", exports, storeDelay), "groupimport",
		fig("mean rate with start and end", rate, "/s"), fig("of 190", rate/190, ""),
		fig("requests to S3 an export", float64(store.requests.Load())/float64(exports), ""),
		fig("busiest second", float64(stats.BusiestSecond), ""), fig("refused", float64(stats.Throttled), ""))
}

// A store is an S3 server behind a proxy that delays requests.
type store struct {
	env      []string
	bucket   *s3blob.Bucket // without the delay
	requests atomic.Int64
}

// storeServer starts versitygw and the proxy. The error says that there is no versitygw.
func (b *bench) storeServer() (s *store, stop func(), err error) {
	path, err := exec.LookPath("versitygw")
	if err != nil {
		goPath, _ := exec.CommandContext(b.ctx, "go", "env", "GOPATH").Output()
		path = filepath.Join(strings.TrimSpace(string(goPath)), "bin", "versitygw")
		if _, err = os.Stat(path); err != nil {
			return nil, nil, errors.New("versitygw is not installed: " +
				"go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
		}
	}
	const id, secret = "bench-key", "bench-secret"
	s = &store{}
	dir := b.folder("store")
	check(os.Mkdir(filepath.Join(dir, "bench"), 0o750)) // a bucket
	l := must(new(net.ListenConfig).Listen(b.ctx, "tcp", "127.0.0.1:0"))
	address := l.Addr().String()
	l.Close()
	var out bytes.Buffer
	server := b.start([]string{"ROOT_ACCESS_KEY_ID=" + id, "ROOT_SECRET_ACCESS_KEY=" + secret}, &out, path,
		"--port", address, "--region", "us-east-1", "--health", "/health", "--quiet", "--keep-alive", "posix", dir)
	target := &url.URL{Scheme: "http", Host: address}
	b.until(time.Minute, func() bool {
		r := must(http.NewRequestWithContext(b.ctx, http.MethodGet, target.String()+"/health", nil))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
		s.requests.Add(1)
		time.Sleep(storeDelay)
	}}
	front := must(new(net.ListenConfig).Listen(b.ctx, "tcp", "127.0.0.1:0"))
	web := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}
	go func() { _ = web.Serve(front) }() // until it is closed
	env := map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret,
		"AWS_ENDPOINT_URL_S3": target.String(),
	}
	s.bucket = must(s3blob.Open(func(name string) string { return env[name] }, "bench", nil))
	env["AWS_ENDPOINT_URL_S3"] = "http://" + front.Addr().String()
	for name, value := range env {
		s.env = append(s.env, name+"="+value)
	}
	return s, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), time.Second)
		defer cancel()
		_ = cmp.Or(web.Shutdown(ctx), web.Close())
		_ = server.Process.Kill()
		_ = server.Wait() // it was killed
	}, nil
}
