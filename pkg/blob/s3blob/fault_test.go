package s3blob_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest/versitygw"
	"groupimport/pkg/blob/s3blob"
)

// A fault handles a request between the bucket and the server. next forwards it.
type fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// A proxy forwards requests or lets them fail, and records them.
type proxy struct {
	t     *testing.T
	next  http.Handler
	mu    sync.Mutex
	fault fault
	seen  []string // "PUT /key", "GET /key bytes=0-9", "POST /key?uploads"
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := ""
	for _, name := range []string{"uploadId", "partNumber", "uploads", "list-type"} {
		if r.URL.Query().Has(name) {
			query = "?" + name
		}
	}
	p.mu.Lock()
	p.seen = append(p.seen, strings.TrimSpace(r.Method+" /"+key+query+" "+r.Header.Get("Range")))
	f := p.fault
	p.mu.Unlock()
	if f != nil {
		f(w, r, p.next)
		return
	}
	p.next.ServeHTTP(w, r)
}

// set clears the record and sets another fault, nil for none.
func (p *proxy) set(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.seen = f, nil
}

func (p *proxy) check(want ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if got := strings.Join(p.seen, ", "); got != strings.Join(want, ", ") {
		p.t.Errorf("requests %s; want %s", got, strings.Join(want, ", "))
	}
}

// behind returns a bucket on the server, and the proxy between them.
func behind(t *testing.T, server *versitygw.Server) (*s3blob.Bucket, *proxy) {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, next: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // the signature covers it
	}}}
	front := httptest.NewServer(p)
	t.Cleanup(front.Close)
	name := strings.Trim(strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())), "-")
	server.MakeBucket(name)
	b, err := s3blob.Open(env(server.Getenv, "AWS_ENDPOINT_URL_S3", front.URL), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b, p
}

// env is an environment with other values, given in pairs.
func env(getenv func(string) string, pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if name == pairs[i] {
				return pairs[i+1]
			}
		}
		return getenv(name)
	}
}

// once lets the first request with this method and query fail. The others pass.
func once(method, query string, f fault) fault {
	var mu sync.Mutex
	done := false
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		hit := !done && r.Method == method && (query == "" || r.URL.Query().Has(query))
		done = done || hit
		mu.Unlock()
		if hit {
			f(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// lost lets the server handle the request, and loses the response.
func lost(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// respond replaces the response of the server.
func respond(status int, code string) fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Amz-Request-Id", "REQUEST1")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w,
				"<Error><Code>%s</Code><Message>The words of the service.</Message><RequestId>REQUEST1</RequestId></Error>", code)
		}
	}
}

// cut breaks a response off after n bytes of its body.
func cut(n int64) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		_, _ = io.CopyN(w, rec.Body, n)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func TestBucket_LostResponses(t *testing.T) {
	server := versitygw.Start(t)
	b, p := behind(t, server)
	ctx := t.Context()

	t.Run("of a Create", func(t *testing.T) {
		p.set(once("PUT", "", lost))
		if err := b.Create(ctx, "created", []byte("mine")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("error %v, want fs.ErrExist", err)
		}
		p.check("PUT /created", "PUT /created")
		check(t, b, "created", "mine")
	})
	t.Run("of a Put", func(t *testing.T) {
		p.set(once("PUT", "", lost))
		put(t, b, "put", "data")
		p.check("PUT /put", "PUT /put")
		check(t, b, "put", "data")
	})
	t.Run("of a part", func(t *testing.T) {
		data := random(9 << 20)
		p.set(once("PUT", "partNumber", lost))
		put(t, b, "large", data)
		p.check("POST /large?uploads", "PUT /large?partNumber", "PUT /large?partNumber", "PUT /large?partNumber",
			"POST /large?uploadId")
		check(t, b, "large", data)
	})
	t.Run("of the completion", func(t *testing.T) {
		data := random(9<<20 + 1)
		p.set(once("POST", "uploadId", lost))
		put(t, b, "large", data)
		p.check("POST /large?uploads", "PUT /large?partNumber", "PUT /large?partNumber", "POST /large?uploadId",
			"POST /large?uploadId")
		check(t, b, "large", data)
	})
	// The server above remembers a completed upload, others do not.
	forgotten := func(then func(r *http.Request)) fault {
		completed := false
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			switch {
			case r.Method != http.MethodPost || !r.URL.Query().Has("uploadId"):
				next.ServeHTTP(w, r)
			case completed:
				respond(http.StatusNotFound, "NoSuchUpload")(w, r, next)
			default:
				completed = true
				next.ServeHTTP(httptest.NewRecorder(), r)
				then(r)
				panic(http.ErrAbortHandler)
			}
		}
	}
	t.Run("of the completion, which the server forgets", func(t *testing.T) {
		data := random(9<<20 + 2)
		p.set(forgotten(func(*http.Request) {}))
		put(t, b, "large", data)
		p.check("POST /large?uploads", "PUT /large?partNumber", "PUT /large?partNumber", "POST /large?uploadId",
			"POST /large?uploadId", "HEAD /large")
		check(t, b, "large", data)
	})
	t.Run("of the completion, which the server forgets, and another writes", func(t *testing.T) {
		p.set(forgotten(func(r *http.Request) {
			other, err := s3blob.Open(server.Getenv, "testbucket-lostresponses", nil)
			if err == nil {
				err = other.Put(r.Context(), "large", strings.NewReader("other"))
			}
			if err != nil {
				t.Error(err)
			}
		}))
		if err := b.Put(ctx, "large", strings.NewReader(random(9<<20))); err == nil ||
			!strings.Contains(err.Error(), "NoSuchUpload") {
			t.Errorf("error %v, want NoSuchUpload", err)
		}
		check(t, b, "large", "other")
	})
	t.Run("of a Delete", func(t *testing.T) {
		p.set(once("DELETE", "", lost))
		if err := b.Delete(ctx, "put"); err != nil {
			t.Error(err)
		}
		p.check("DELETE /put", "DELETE /put")
	})
	t.Run("of a list, half-way", func(t *testing.T) {
		p.set(once("GET", "list-type", cut(300)))
		for info, err := range b.List(ctx, "c", "") {
			if err != nil || info.Key != "created" {
				t.Errorf("%v, %v", info, err)
			}
		}
		p.check("GET /?list-type", "GET /?list-type")
	})
}

func TestBucket_TransientFailures(t *testing.T) {
	server := versitygw.Start(t)
	b, p := behind(t, server)
	data := random(9 << 20)
	for _, test := range []struct {
		name          string
		method, query string
		status        int
		code          string
	}{
		{"too many requests", "PUT", "", 503, "SlowDown"},
		{"an internal error", "PUT", "partNumber", 500, "InternalError"},
		{"an internal error behind a status of 200", "POST", "uploadId", 200, "InternalError"},
		{"an internal error at the completion", "POST", "uploadId", 500, "InternalError"},
		{"another request for the same object", "PUT", "", 409, "ConditionalRequestConflict"},
		{"too many requests, on other servers", "GET", "", 429, "TooManyRequests"},
		{"a gateway's own response", "HEAD", "", 502, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			key := test.name
			p.set(once(test.method, test.query, respond(test.status, test.code)))
			if test.query != "" {
				put(t, b, key, data)
				check(t, b, key, data)
				return
			}
			if err := b.Create(t.Context(), key, []byte("data")); err != nil {
				t.Fatal(err)
			}
			check(t, b, key, "data")
		})
	}
}

func TestBucket_FailedConditionIsNotRepeated(t *testing.T) {
	server := versitygw.Start(t)
	b, p := behind(t, server)
	put(t, b, "key", "old")
	info := stat(t, b, "key")
	put(t, b, "key", "new")
	p.set(nil)
	if err := b.Create(t.Context(), "key", nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want fs.ErrExist", err)
	}
	if _, _, err := b.ReadRange(t.Context(), "key", info.Version, 0, 100, nil); !errors.Is(err, blob.ErrChanged) {
		t.Errorf("error %v, want blob.ErrChanged", err)
	}
	p.check("PUT /key", "GET /key bytes=0-99")
	p.set(nil)
	if data, err := blob.ReadAll(t.Context(), b, "key", 100); string(data) != "new" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
	p.check("GET /key bytes=0-100")
}

func TestReader_CutRanges(t *testing.T) {
	server := versitygw.Start(t)
	b, p := behind(t, server)
	data := random(17 << 20)
	put(t, b, "key", data)
	version := stat(t, b, "key").Version

	p.set(once("GET", "", cut(1000)))
	readAll(t, b, "key", version, data)
	p.check("GET /key bytes=0-8388607", "GET /key bytes=1000-8389607", "GET /key bytes=8389608-16778215",
		"GET /key bytes=16778216-17825791")

	p.set(once("GET", "", cut(0)))
	readAll(t, b, "key", "", data)
	p.check("GET /key bytes=0-8388607", "GET /key bytes=0-8388607", "GET /key bytes=8388608-16777215",
		"GET /key bytes=16777216-17825791")

	// Replaced between two ranges.
	p.set(nil)
	r := blob.NewReader(t.Context(), b, "key", "", 0, -1)
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	put(t, b, "key", random(17<<20+1))
	if n, err := io.Copy(io.Discard, r); n != 8<<20-1 || !errors.Is(err, blob.ErrChanged) {
		t.Errorf("read %d bytes, error %v; want 8 MiB less 1, blob.ErrChanged", n, err)
	}
}

func TestPut_SizesAroundAPart(t *testing.T) {
	server := versitygw.Start(t)
	b, p := behind(t, server)
	const part = 8 << 20
	for _, test := range []struct {
		size     int
		requests string // to write
		ranges   string // to read
	}{
		{part - 1, "PUT /key", "0-8388607"},
		{part, "POST /key?uploads, PUT /key?partNumber, POST /key?uploadId", "0-8388607"},
		{
			part + 1, "POST /key?uploads, PUT /key?partNumber, PUT /key?partNumber, POST /key?uploadId",
			"0-8388607 8388608-8388608",
		},
		{
			2 * part, "POST /key?uploads, PUT /key?partNumber, PUT /key?partNumber, POST /key?uploadId",
			"0-8388607 8388608-16777215",
		},
	} {
		data := random(test.size)
		for _, body := range []io.Reader{strings.NewReader(data), iotest.HalfReader(strings.NewReader(data))} {
			p.set(nil)
			if err := b.Put(t.Context(), "key", body); err != nil {
				t.Fatal(err)
			}
			p.check(test.requests)
		}
		p.set(nil)
		readAll(t, b, "key", "", data)
		var want []string
		for v := range strings.FieldsSeq(test.ranges) {
			want = append(want, "GET /key bytes="+v)
		}
		p.check(want...)
	}
}

func TestPut_FailedUploadLeavesNothing(t *testing.T) {
	server := versitygw.Start(t)
	b, p := behind(t, server)
	for _, test := range []struct {
		name, method, query string
	}{
		{"the last part", "PUT", "partNumber"},
		{"the completion", "POST", "uploadId"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.set(once(test.method, test.query, respond(http.StatusForbidden, "AccessDenied")))
			err := b.Put(t.Context(), "key", strings.NewReader(random(9<<20)))
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "s3:PutObject") {
				t.Errorf("error %v, want one that wraps fs.ErrPermission and names s3:PutObject", err)
			}
			if got := p.seen[len(p.seen)-1]; got != "DELETE /key?uploadId" {
				t.Errorf("the last request is %s", got)
			}
		})
	}
	t.Run("and cannot be aborted", func(t *testing.T) {
		p.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Query().Has("uploadId") {
				respond(http.StatusForbidden, "AccessDenied")(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
		err := b.Put(t.Context(), "key", strings.NewReader(random(9<<20)))
		if err == nil || !strings.Contains(err.Error(), "s3:AbortMultipartUpload") {
			t.Errorf("error %v, want one that names s3:AbortMultipartUpload", err)
		}
	})
	if _, err := b.Stat(t.Context(), "key"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
}

func TestBucket_ServerKilled(t *testing.T) {
	server := versitygw.Start(t)
	server.MakeBucket("bucket")
	b, err := s3blob.Open(server.Getenv, "bucket", nil)
	if err != nil {
		t.Fatal(err)
	}
	data := random(20 << 20)
	restart := func() {
		server.Kill()
		server.Restart()
	}

	t.Run("and started again during an upload", func(t *testing.T) {
		body := io.MultiReader(strings.NewReader(data[:9<<20]),
			readerFunc(func([]byte) (int, error) { restart(); return 0, io.EOF }),
			strings.NewReader(data[9<<20:]))
		if err := b.Put(t.Context(), "key", body); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("and started again while a Reader reads", func(t *testing.T) {
		info := stat(t, b, "key")
		r := blob.NewReader(t.Context(), b, "key", info.Version, 0, info.Size)
		defer r.Close()
		got := make([]byte, 1<<20)
		if _, err := io.ReadFull(r, got); err != nil {
			t.Fatal(err)
		}
		server.Kill()
		var wg sync.WaitGroup
		wg.Go(func() {
			rest, err := io.ReadAll(r)
			if err != nil {
				t.Error(err)
			}
			got = append(got, rest...)
		})
		server.Restart()
		wg.Wait()
		if string(got) != data {
			t.Errorf("read %d bytes, other ones than were written", len(got))
		}
	})
}

func TestBucket_MemoryIsIndependentOfSize(t *testing.T) {
	server := versitygw.Start(t)
	server.MakeBucket("bucket")
	b, err := s3blob.Open(server.Getenv, "bucket", nil)
	if err != nil {
		t.Fatal(err)
	}
	// The sum of all allocations limits the memory at any time. One buffer is 8 MiB.
	const size, limit = 200 << 20, 32 << 20
	before := allocated()
	if err := b.Put(t.Context(), "key", io.LimitReader(rand.NewChaCha8([32]byte{}), size)); err != nil {
		t.Fatal(err)
	}
	if got := allocated() - before; got > limit {
		t.Errorf("writing %d MiB allocated %d MiB, want at most %d", size>>20, got>>20, limit>>20)
	}
	before = allocated()
	r := blob.NewReader(t.Context(), b, "key", "", 0, -1)
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); n != size || err != nil {
		t.Errorf("read %d bytes, error %v", n, err)
	}
	if got := allocated() - before; got > limit {
		t.Errorf("reading %d MiB allocated %d MiB, want at most %d", size>>20, got>>20, limit>>20)
	}

	// A lease or a checkpoint needs no such buffer.
	before = allocated()
	for range 10 {
		if err := b.Put(t.Context(), "small", io.MultiReader(strings.NewReader("data"))); err != nil { // of unknown length
			t.Fatal(err)
		}
		check(t, b, "small", "data")
	}
	if got := (allocated() - before) / 10; got > 1<<20 {
		t.Errorf("a small object allocated %d KiB, want at most 1024", got>>10)
	}
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func TestBucket_MissingBucketOrSecret(t *testing.T) {
	server := versitygw.Start(t)
	for _, test := range []struct {
		name   string
		getenv func(string) string
		bucket string
		want   string
		kind   error // nil: neither fs.ErrNotExist nor fs.ErrPermission
	}{
		{"a bucket that is not there", server.Getenv, "nowhere", `there is no bucket "nowhere"`, nil},
		{
			"the right secret", env(server.Getenv, "AWS_SECRET_ACCESS_KEY", "another-secret"), "there",
			"AWS_SECRET_ACCESS_KEY is wrong", fs.ErrPermission,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.bucket != "nowhere" {
				_ = os.Mkdir(filepath.Join(server.Dir, test.bucket), 0o750)
			}
			b, err := s3blob.Open(test.getenv, test.bucket, nil)
			if err != nil {
				t.Fatal(err)
			}
			for method, err := range everything(t.Context(), b) {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: error %v, want one that says %s", method, err, test.want)
				}
				for _, kind := range []error{fs.ErrNotExist, fs.ErrPermission, fs.ErrExist} {
					if got, want := errors.Is(err, kind), errors.Is(test.kind, kind); got != want {
						t.Errorf("%s: error %v: wraps %v: %v, want %v", method, err, kind, got, want)
					}
				}
				for _, secret := range []string{versitygw.SecretKey, "another-secret", "Signature="} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("%s: error %v holds %q", method, err, secret)
					}
				}
			}
		})
	}
}

func put(t *testing.T, b blob.Bucket, key, data string) {
	t.Helper()
	if err := b.Put(t.Context(), key, strings.NewReader(data)); err != nil {
		t.Fatal(err)
	}
}

func stat(t *testing.T, b blob.Bucket, key string) blob.Info {
	t.Helper()
	info, err := b.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// check checks that the object at key is data.
func check(t *testing.T, b blob.Bucket, key, data string) {
	t.Helper()
	readAll(t, b, key, stat(t, b, key).Version, data)
}

func readAll(t *testing.T, b blob.Bucket, key, version, want string) {
	t.Helper()
	r := blob.NewReader(t.Context(), b, key, version, 0, -1)
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("at %q are %d bytes, %.20q; want %d, %.20q", key, len(got), got, len(want), want)
	}
}

func random(size int) string {
	var b bytes.Buffer
	_, _ = io.CopyN(&b, rand.NewChaCha8([32]byte{byte(size)}), int64(size))
	return b.String()
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
