package s3blob_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/s3blob"
)

const (
	secret = "the-secret-key"
	token  = "the-session-token"
)

var variables = map[string]string{
	"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKIAKEY", "AWS_SECRET_ACCESS_KEY": secret,
	"AWS_SESSION_TOKEN": token,
	"AWS_ENDPOINT_URL":  "http://s3.test",
}

// served returns a bucket that a handler serves, over connections that synctest knows.
func served(t *testing.T, h http.HandlerFunc) *s3blob.Bucket {
	t.Helper()
	l := &listener{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: h}
	ended := make(chan error)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		<-ended
		time.Sleep(time.Second) // of the bubble's time: the server lingers over connections with unread requests
	})
	b, err := s3blob.OpenDial(func(name string) string { return variables[name] }, "bucket", l.dial)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type listener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *listener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { close(l.done); return nil }
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// object writes the header of a response with a range of data, as S3 does, and returns the range.
func object(w http.ResponseWriter, r *http.Request, data string) (from, to int) {
	to = len(data) - 1
	if v := r.Header.Get("Range"); v != "" {
		if _, err := fmt.Sscanf(v, "bytes=%d-%d", &from, &to); err != nil {
			panic(err)
		}
		to = min(to, len(data)-1)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(data)))
	}
	w.Header().Set("ETag", `"e"`)
	w.Header().Set("Content-Length", fmt.Sprint(to+1-from))
	if v := r.Header.Get("Range"); v != "" {
		w.WriteHeader(http.StatusPartialContent)
	}
	return from, to + 1
}

func hang(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func TestBucket_Hangs(t *testing.T) {
	const data = "0123456789"
	t.Run("in a range", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			b := served(t, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("If-Match"); got != `"e"` {
					t.Errorf("If-Match is %s", got)
				}
				from, to := object(w, r, data)
				if n.Add(1) == 1 {
					_, _ = io.WriteString(w, data[:3])
					hang(w, r)
					return
				}
				_, _ = io.WriteString(w, data[from:to])
			})
			start := time.Now()
			readAll(t, b, "key", "e", data)
			if got := time.Since(start); got < 20*time.Second || got > 21*time.Second || n.Load() != 2 {
				t.Errorf("took %v and %d requests, want 20 to 20.2 s and 2", got, n.Load())
			}
		})
	})
	t.Run("in each range", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			b := served(t, func(w http.ResponseWriter, r *http.Request) {
				n.Add(1)
				object(w, r, data)
				hang(w, r)
			})
			start := time.Now()
			_, _, err := b.ReadRange(t.Context(), "key", "", 0, 100, nil)
			if err == nil || blob.IsPermanent(err) || !strings.Contains(err.Error(), "broke off") {
				t.Errorf("error %v, want a transient one that says that the response broke off", err)
			}
			if got := time.Since(start); n.Load() != 1 || got != 20*time.Second {
				t.Errorf("took %v and %d requests, want 20s and 1", got, n.Load())
			}
			start = time.Now()
			_, err = blob.ReadAll(t.Context(), b, "key", 100)
			if err == nil || !strings.Contains(err.Error(), "6 failures in a row") {
				t.Errorf("error %v, want one that says 6 failures in a row", err)
			}
			if got := time.Since(start); n.Load() != 7 || got < 120*time.Second || got > 127*time.Second {
				t.Errorf("took %v and %d requests, want 120 to 126.2 s and 6 more", got, n.Load())
			}
		})
	})
	t.Run("before a response", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			b := served(t, func(_ http.ResponseWriter, r *http.Request) {
				n.Add(1)
				<-r.Context().Done()
			})
			start := time.Now()
			_, err := b.Stat(t.Context(), "key")
			if err == nil || !strings.Contains(err.Error(), "5 times") || strings.Contains(err.Error(), "s3.test") {
				t.Errorf("error %v, want one that says 5 times, and no URL", err)
			}
			if got := time.Since(start); n.Load() != 5 || got < 100*time.Second || got > 108*time.Second {
				t.Errorf("took %v and %d requests, want 100 to 107.5 s and 5", got, n.Load())
			}
		})
	})
	t.Run("in a response", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			b := served(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "<ListBucketResult>")
				if n.Add(1) == 1 {
					hang(w, r)
					return
				}
				_, _ = io.WriteString(w, "<Contents><Key>a</Key></Contents></ListBucketResult>")
			})
			start := time.Now()
			got := list(t, b, "", "")
			if d := time.Since(start); n.Load() != 2 || got != "a" || d < 20*time.Second || d > 21*time.Second {
				t.Errorf("took %v and %d requests to list %q, want 20 to 20.5 s, 2 and a", d, n.Load(), got)
			}
		})
	})
	t.Run("for less than 20 s each time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			pause := func() { time.Sleep(15 * time.Second) }
			b := served(t, func(w http.ResponseWriter, r *http.Request) {
				n.Add(1)
				for range r.ContentLength / (64 << 10) {
					pause()
					_, _ = io.CopyN(io.Discard, r.Body, 64<<10)
				}
				pause()
				w.Header().Set("ETag", `"e"`)
				for _, piece := range []string{
					"<ListBucketResult>", "<Contents><Key>a</Key></Contents>", "<Contents><Key>b</Key></Contents>",
					"</ListBucketResult>",
				} {
					_, _ = io.WriteString(w, piece)
					_ = http.NewResponseController(w).Flush()
					pause()
				}
			})
			put(t, b, "key", strings.Repeat("x", 256<<10))
			pause() // idle
			if got := list(t, b, "", ""); got != "a, b" || n.Load() != 2 {
				t.Errorf("listed %q, %d requests; want a, b and 2", got, n.Load())
			}
		})
	})
	t.Run("in a request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			end := make(chan struct{})
			b := served(t, func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1) == 1 {
					<-end // and does not read the body
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("ETag", `"e"`)
			})
			t.Cleanup(func() { close(end) })
			start := time.Now()
			put(t, b, "key", strings.Repeat("x", 1<<20))
			if got := time.Since(start); n.Load() != 2 || got < 20*time.Second || got > 21*time.Second {
				t.Errorf("took %v and %d requests, want 20 to 20.5 s and 2", got, n.Load())
			}
		})
	})
	t.Run("until the context ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := served(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			errTime := errors.New("time is up")
			start := time.Now()
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errTime)
			defer cancel()
			for method, err := range everything(ctx, b) {
				if !errors.Is(err, errTime) {
					t.Errorf("%s: error %v, want %v", method, err, errTime)
				}
			}
			if got := time.Since(start); got != time.Second {
				t.Errorf("took %v, want 1s", got)
			}
		})
	})
}

func TestPut_UploadIsAbortedWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var aborted atomic.Int32
		b := served(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Query().Has("uploads"):
				_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>")
			case r.Method == http.MethodDelete:
				aborted.Add(1)
				<-r.Context().Done() // and that hangs too
			default:
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
			}
		})
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := b.Put(ctx, "key", strings.NewReader(strings.Repeat("x", 9<<20)))
		if !errors.Is(err, context.DeadlineExceeded) || aborted.Load() != 1 {
			t.Errorf("error %v, aborted %d times; want context.DeadlineExceeded, once", err, aborted.Load())
		}
		if got := time.Since(start); got != 6*time.Second {
			t.Errorf("took %v, want 1s and 5s for the abort", got)
		}
	})
}

func TestBucket_PermanentFailures(t *testing.T) {
	for _, test := range []struct {
		name     string
		status   int
		code     string
		header   string // X-Amz-Bucket-Region
		attempts int    // of one request
		kind     error
		want     map[string]string // in the error of a method; "" of those not named
	}{
		{"a missing object, without s3:ListBucket", 403, "AccessDenied", "", 1, fs.ErrPermission, map[string]string{
			"Stat": "s3:ListBucket", "ReadRange": "without it S3 returns 403 for a missing object",
			"Create": "s3:PutObject", "Put": "s3:PutObject",
			"List": "s3:ListBucket", "Delete": "s3:DeleteObject",
		}},
		{"credentials that have expired", 400, "ExpiredToken", "", 1, fs.ErrPermission, map[string]string{"": "expired"}},
		{
			"an unknown key", 403, "InvalidAccessKeyId", "", 1, fs.ErrPermission,
			map[string]string{"": "AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is wrong"},
		},
		{
			"a bucket in another region", 301, "PermanentRedirect", "us-west-2", 1, nil,
			map[string]string{"": `bucket "bucket" is in region us-west-2, set AWS_REGION`},
		},
		{
			"a region in the signature", 400, "AuthorizationHeaderMalformed", "us-west-2", 1, nil,
			map[string]string{"": "is in region us-west-2"},
		},
		{
			"a response without the region", 301, "PermanentRedirect", "", 1, nil,
			map[string]string{"": "another region than eu-central-1"},
		},
		{
			"too many requests", 503, "SlowDown", "", 5, nil,
			map[string]string{"": "SlowDown: The words of the service (HTTP 503, request REQUEST1), 5 times"},
		},
		{"another writer", 409, "ConditionalRequestConflict", "", 5, nil, map[string]string{"": "5 times"}},
		{"a missing object", 404, "NoSuchKey", "", 1, fs.ErrNotExist, nil},
		{"an archived object", 403, "InvalidObjectState", "", 1, fs.ErrPermission, map[string]string{"": "restore it"}},
		{
			"what S3 does not say", 418, "Teapot", "", 1, nil,
			map[string]string{"": "Teapot: The words of the service (HTTP 418, request REQUEST1)"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				b := served(t, func(w http.ResponseWriter, r *http.Request) {
					n.Add(1)
					if test.header != "" {
						w.Header().Set("X-Amz-Bucket-Region", test.header)
					}
					respond(test.status, test.code)(w, r, nil)
				})
				for method, err := range everything(t.Context(), b) {
					if test.code == "NoSuchKey" && method == "Delete" {
						if err != nil {
							t.Errorf("Delete: %v", err)
						}
						n.Store(0)
						continue
					}
					want, ok := test.want[method]
					if !ok {
						want = test.want[""]
					}
					if method == "ReadRange" { // it makes one attempt
						want = strings.TrimSuffix(strings.TrimSuffix(want, "5 times"), ", ")
					}
					if method == "Stat" && test.status == 503 { // of a HEAD, which has no body and is not asked about
						want = "HTTP 503"
					}
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%s: error %v, want one that says %s", method, err, want)
					}
					if test.kind != nil && !errors.Is(err, test.kind) {
						t.Errorf("%s: error %v, want %v", method, err, test.kind)
					}
					if test.kind == nil && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
						t.Errorf("%s: error %v", method, err)
					}
					for _, s := range []string{secret, token, "Signature=", "s3.test"} {
						if strings.Contains(err.Error(), s) {
							t.Errorf("%s: error %v holds %q", method, err, s)
						}
					}
					attempts := test.attempts
					if method == "ReadRange" {
						attempts = 1
						if isTransient := test.attempts > 1; blob.IsPermanent(err) == isTransient {
							t.Errorf("ReadRange: error %v: permanent %t", err, !isTransient)
						}
					}
					if method == "Stat" && test.status < 500 {
						attempts *= 2 // the GET that returns the reason
						if test.code == "ConditionalRequestConflict" {
							attempts = 6 // a HEAD's 409 has no code
						}
					}
					if got := int(n.Swap(0)); got != attempts {
						t.Errorf("%s: %d requests, want %d", method, got, attempts)
					}
				}
			})
		})
	}
}

func TestBucket_RetriesHaveNoCommonLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		b := served(t, func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			respond(http.StatusServiceUnavailable, "SlowDown")(w, r, nil)
		})
		for range 50 {
			if err := b.Delete(t.Context(), "key"); err == nil {
				t.Error("no error")
			}
		}
		if n.Load() != 250 {
			t.Errorf("%d requests, want 250", n.Load())
		}
	})
}

func TestReadRange_UnusualServers(t *testing.T) {
	const data = "0123456789"
	for _, test := range []struct {
		name    string
		respond func(w http.ResponseWriter)
		offset  int64
		want    string // read, or in the error
		ok      bool
		err     error
	}{
		{
			"no ranges, from the beginning on", func(w http.ResponseWriter) { w.Header().Set("ETag", `"e"`) }, 0, data, true,
			nil,
		},
		{
			"no ranges, from further on", func(w http.ResponseWriter) { w.Header().Set("ETag", `"e"`) }, 3, "bytes from 3 on",
			false, nil,
		},
		{
			"If-Match ignored", func(w http.ResponseWriter) { w.Header().Set("ETag", `"other"`) }, 0, "", false, blob.ErrChanged,
		},
		{"another range", func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("Content-Range", "bytes 1-10/20")
			w.WriteHeader(http.StatusPartialContent)
		}, 0, "Content-Range", false, nil},
		{"no Content-Range to understand", func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("Content-Range", "bytes 0-9/*")
			w.WriteHeader(http.StatusPartialContent)
		}, 0, "Content-Range", false, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := served(t, func(w http.ResponseWriter, _ *http.Request) {
					test.respond(w)
					_, _ = io.WriteString(w, data)
				})
				got, _, err := b.ReadRange(t.Context(), "key", "e", test.offset, 100, nil)
				if !test.ok {
					if !blob.IsPermanent(err) || !strings.Contains(err.Error(), test.want) || test.err != nil &&
						!errors.Is(err, test.err) {
						t.Errorf("error %v, want %q, %v", err, test.want, test.err)
					}
					return
				}
				if string(got) != test.want || err != nil {
					t.Errorf("%q, %v; want %q", got, err, test.want)
				}
			})
		})
	}
}

func TestBucket_ObjectWithoutETag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := served(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "data") })
		_, err := b.Stat(t.Context(), "key")
		_, _, readErr := b.ReadRange(t.Context(), "key", "", 0, 4, nil)
		for _, err := range []error{err, readErr} {
			if err == nil || !strings.Contains(err.Error(), "has no ETag") {
				t.Errorf("got error %v, want one about the ETag", err)
			}
		}
		if !blob.IsPermanent(readErr) {
			t.Errorf("%v is transient", readErr)
		}
	})
}

func TestReadRange_EndOfAnotherVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A server that checks the range before the version.
		b := served(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				respond(http.StatusRequestedRangeNotSatisfiable, "InvalidRange")(w, r, nil)
				return
			}
			w.Header().Set("ETag", `"new"`)
			w.Header().Set("Content-Length", "3")
		})
		if _, _, err := b.ReadRange(t.Context(), "key", "old", 5, 100, nil); !errors.Is(err, blob.ErrChanged) {
			t.Errorf("error %v, want blob.ErrChanged", err)
		}
		if data, info, err := b.ReadRange(t.Context(), "key", "new", 5, 100, nil); len(data) != 0 || info.Size != 3 ||
			err != nil {
			t.Errorf("read %d bytes of %d, error %v; want none of 3", len(data), info.Size, err)
		}
		// It was written between the two requests: another attempt will read it.
		if _, _, err := b.ReadRange(t.Context(), "key", "new", 2, 100, nil); err == nil || blob.IsPermanent(err) {
			t.Errorf("error %v, want a transient one", err)
		}
	})
}

func TestPut_BodyIsNotReadAfterTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := served(t, func(http.ResponseWriter, *http.Request) { t.Error("a request") })
		ctx, cancel := context.WithCancel(t.Context())
		reads := 0
		err := b.Put(ctx, "key", readerFunc(func([]byte) (int, error) {
			if reads++; reads > 1 {
				return 0, io.EOF
			}
			cancel()
			return 1, nil
		}))
		if !errors.Is(err, context.Canceled) || reads != 1 {
			t.Errorf("error %v after %d reads, want context.Canceled after 1", err, reads)
		}
	})
}

func TestList_Responses(t *testing.T) {
	const encoded = "<EncodingType>url</EncodingType>"
	contents := func(keys ...string) string {
		var s strings.Builder
		for _, key := range keys {
			fmt.Fprintf(&s, "<Contents><Key>%s</Key><ETag>&quot;e&quot;</ETag><Size>1</Size></Contents>", key)
		}
		return s.String()
	}
	folder := func(prefix string) string { return "<CommonPrefixes><Prefix>" + prefix + "</Prefix></CommonPrefixes>" }
	for _, test := range []struct {
		name  string
		pages []string
		want  string
	}{
		{
			"keys are encoded",
			[]string{encoded + contents("a+b", "a%2Bb", "a%2520b", "%E7%BE%A4/%F0%9F%91%A5", "x%0Ay")},
			"a b, a%20b, a+b, x\ny, 群/👥",
		},
		{"keys are not", []string{contents("a+b", "a%20b", "a&amp;b")}, "a%20b, a&b, a+b"},
		{
			"folders are listed among objects",
			[]string{encoded + contents("a-", "a0", "b") + folder("a/") + folder("%E7%BE%A4+1/")},
			"a-, a/, a0, b, 群 1/",
		},
		{
			"what the console makes for a folder is no object",
			[]string{contents("folder/", "folder/a") + folder("folder/b/")},
			"folder/a, folder/b/",
		},
		{"a key that cannot be asked for", []string{contents("../a", "a/./b", "b")}, "../a, a/./b, b"},
		{"pages", []string{contents("a"), contents("b"), contents("c")}, "a, b, c"},
		{"an empty page", []string{contents("a"), "", contents("c")}, "a, c"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				b := served(t, func(w http.ResponseWriter, r *http.Request) {
					if got := r.URL.Query().Get("encoding-type"); got != "url" {
						t.Errorf("encoding-type %q, want url", got)
					}
					if got, want := r.URL.Query().Get("continuation-token"), []string{"", "T1/+=", "T2/+="}[n]; got != want {
						t.Errorf("token %q, want %q", got, want)
					}
					more := ""
					if n++; n < len(test.pages) {
						more = fmt.Sprintf("<IsTruncated>true</IsTruncated><NextContinuationToken>T%d/+=</NextContinuationToken>", n)
					}
					fmt.Fprintf(w, "<ListBucketResult>%s%s</ListBucketResult>", test.pages[n-1], more)
				})
				if got := list(t, b, "", "/"); got != test.want {
					t.Errorf("%q, want %q", got, test.want)
				}
			})
		})
	}
	t.Run("more, and no way to it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := served(t, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>")
			})
			var err error
			for _, err = range b.List(t.Context(), "", "") {
			}
			if err == nil {
				t.Error("no error")
			}
		})
	})
}

func TestBucket_Requests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		b := served(t, func(w http.ResponseWriter, r *http.Request) {
			got = append(got, r.Method+" "+r.URL.EscapedPath()+" "+r.Header.Get("Content-Type"))
			if r.Header.Get("X-Amz-Security-Token") != token {
				t.Error("no session token")
			}
			if v := r.Header.Get("X-Amz-Checksum-Crc32") + r.Header.Get("X-Amz-Trailer"); v != "" {
				t.Errorf("a checksum %q for a server that may not know it", v)
			}
			w.Header().Set("ETag", `"e"`)
		})
		for _, key := range []string{"/a//b", "a b+c%20d#e?f&g", "群/👥.report.html", "a.results.ndjson"} {
			put(t, b, key, "data")
		}
		want := []string{
			"PUT /bucket//a//b application/octet-stream",
			"PUT /bucket/a%20b%2Bc%2520d%23e%3Ff%26g application/octet-stream",
			"PUT /bucket/%E7%BE%A4/%F0%9F%91%A5.report.html text/html; charset=utf-8",
			"PUT /bucket/a.results.ndjson application/x-ndjson",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("requests\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, key := range []string{"", "a/", "a\xff", ".", "..", "a/../b", "./a"} {
			for method, err := range everythingAt(t.Context(), b, key) {
				if method != "List" && (err == nil || !strings.Contains(err.Error(), "key ")) {
					t.Errorf("%s(%q): error %v", method, key, err)
				}
			}
		}
	})
}

func TestOpen_Config(t *testing.T) {
	for _, test := range []struct {
		name    string
		changed map[string]string
		want    string // in the error
	}{
		{"all there", nil, ""},
		{"the other name for the region", map[string]string{"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-central-1"}, ""},
		{"no endpoint", map[string]string{"AWS_ENDPOINT_URL": ""}, ""},
		{
			"the service's own endpoint before a wrong one",
			map[string]string{"AWS_ENDPOINT_URL": "wrong", "AWS_ENDPOINT_URL_S3": "https://host"},
			"",
		},
		{"no region", map[string]string{"AWS_REGION": " "}, "AWS_REGION is missing"},
		{"no key", map[string]string{"AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID is missing"},
		{"no secret", map[string]string{"AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY is missing"},
		{"an endpoint without a scheme", map[string]string{"AWS_ENDPOINT_URL": "host:7070"}, "AWS_ENDPOINT_URL is wrong"},
		{
			"an endpoint with a password",
			map[string]string{"AWS_ENDPOINT_URL_S3": "http://user:" + secret + "@host"},
			"AWS_ENDPOINT_URL_S3 is wrong",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			vars := maps.Clone(variables)
			maps.Copy(vars, test.changed)
			_, err := s3blob.Open(func(name string) string { return vars[name] }, "bucket", nil)
			if got := fmt.Sprint(err); (err == nil) != (test.want == "") || !strings.Contains(got, test.want) ||
				strings.Contains(got, secret) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	_, err := s3blob.Open(func(string) string { return "" }, "bucket", nil)
	for _, name := range []string{"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want one that names %s", err, name)
		}
	}
	if _, err := s3blob.Open(func(name string) string { return variables[name] }, "", nil); err == nil {
		t.Error("a bucket without a name")
	}
	cfg,
		err := s3blob.Config(env(func(name string) string { return variables[name] }, "AWS_ENDPOINT_URL_SSM",
		"http://ssm.test"), "SSM")
	if err != nil || *cfg.BaseEndpoint != "http://ssm.test" {
		t.Errorf("the endpoint is %v, %v", cfg.BaseEndpoint, err)
	}
}

// everything calls one method after the other, and yields their names and errors.
func everything(ctx context.Context, b blob.Bucket) iter.Seq2[string, error] {
	return everythingAt(ctx, b, "key")
}

func everythingAt(ctx context.Context, b blob.Bucket, key string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		_, statErr := b.Stat(ctx, key)
		yield("Stat", statErr)
		_, _, readErr := b.ReadRange(ctx, key, "", 0, 1, nil)
		yield("ReadRange", readErr)
		yield("Create", b.Create(ctx, key, []byte("data")))
		yield("Put", b.Put(ctx, key, strings.NewReader("data")))
		var listErr error
		for _, listErr = range b.List(ctx, key, "") {
		}
		yield("List", listErr)
		yield("Delete", b.Delete(ctx, key))
	}
}

// list returns the keys with commas between.
func list(t *testing.T, b blob.Bucket, prefix, delimiter string) string {
	t.Helper()
	var keys []string
	for info, err := range b.List(t.Context(), prefix, delimiter) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return strings.Join(keys, ", ")
}
