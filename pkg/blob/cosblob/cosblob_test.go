package cosblob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/blob/blobtest/versitygw"
	"groupimport/pkg/blob/cosblob"
	"groupimport/pkg/blob/cosblob/costest"
	"groupimport/pkg/blob/dirblob"
)

var key = costest.Key{ID: "AKIDsecretid", Secret: "secret/key", Token: "temporary+token"}

func credentials() (id, secret, token string) { return key.ID, key.Secret, key.Token }

func TestBucket(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]costest.Options{
		"strict":                     {},
		"lists without a NextMarker": {NoNextMarker: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blobtest.TestBucket(t, func(t *testing.T) blob.Bucket {
				o := options // of this bucket only
				o.Objects, o.Keys = new(blobtest.Bucket), []costest.Key{key}
				server := costest.New(o)
				t.Cleanup(func() { server.Close() })
				s := httptest.NewServer(server)
				t.Cleanup(s.Close)
				return open(t, cosblob.Config{Endpoint: s.URL})
			})
		})
	}
}

// TestList_LongDelimiter lists with a delimiter of several characters, which the documents do not mention.
func TestList_LongDelimiter(t *testing.T) {
	t.Parallel()
	objects := new(blobtest.Bucket)
	for n := range 1500 {
		key := fmt.Sprintf("x.y/%04d.jsonl.import/%d", n/3, n)
		if n%7 == 0 {
			key = fmt.Sprintf("x.y/%04d.jsonl", n/3)
		}
		if err := objects.Put(t.Context(), key, strings.NewReader("")); err != nil {
			t.Fatal(err)
		}
	}
	keys := func(b blob.Bucket) (keys []string) {
		for info, err := range b.List(t.Context(), "x", ".import/") {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, info.Key)
		}
		return keys
	}
	want := keys(objects)
	for _, long := range []costest.LongDelimiter{"", costest.Refused, costest.Ignored, costest.FirstCounts} {
		for _, noMarker := range []bool{false, true} {
			server := costest.New(costest.Options{
				Objects: objects, Keys: []costest.Key{key}, LongDelimiter: long, NoNextMarker: noMarker,
			})
			t.Cleanup(func() { server.Close() })
			s := httptest.NewServer(server)
			t.Cleanup(s.Close)
			b := open(t, cosblob.Config{Endpoint: s.URL})
			for range 2 {
				if got := keys(b); !slices.Equal(got, want) {
					t.Errorf("%q, no marker %v: got %d keys, want %d", long, noMarker, len(got), len(want))
				}
			}
		}
	}
}

func open(t *testing.T, config cosblob.Config) *cosblob.Bucket {
	t.Helper()
	config.Bucket, config.Region = "groups-1250000000", "ap-guangzhou"
	if config.Endpoint == "" {
		config.Endpoint = "http://127.0.0.1:1"
	}
	if config.Credentials == nil {
		config.Credentials = credentials
	}
	b, err := cosblob.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A bench is a bucket over a fake COS in a bubble of virtual time. A test may write to objects directly, without the
// bucket and the server.
type bench struct {
	*cosblob.Bucket

	server  *costest.Server
	objects *blobtest.Bucket
	config  cosblob.Config
}

// bubble runs a test in virtual time. Requests go through net/http on both sides, over pipes.
func bubble(t *testing.T, options costest.Options, run func(t *testing.T, b bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		objects := new(blobtest.Bucket)
		options.Objects = objects
		if options.Keys == nil {
			options.Keys = []costest.Key{key}
		}
		server := costest.New(options)
		defer server.Close()
		config := cosblob.Config{Transport: pipe(t, server), NoCRC64: options.NoCRC64}
		b := open(t, config)
		cosblob.SetPartSize(b, partSize)
		run(t, bench{b, server, objects, config})
	})
}

// pipe returns a transport whose connections all lead to h.
func pipe(t *testing.T, h http.Handler) http.RoundTripper {
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	var wg sync.WaitGroup // of the server, and of its handlers, which may wait longer than their client
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wg.Add(1)
		defer wg.Done()
		h.ServeHTTP(w, r)
	})}
	wg.Go(func() { s.Serve(l) })
	transport := &http.Transport{DialContext: l.dial, DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.Close()
		wg.Wait()
		time.Sleep(time.Second) // for which net/http's server lingers at most
	})
	return transport
}

type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// first returns a Fail function with a fault for the first request of an action.
func first(action string, fault costest.Fault) func(costest.Request) costest.Fault {
	return func(r costest.Request) costest.Fault {
		if r.Action == action && r.N == 1 {
			return fault
		}
		return costest.Fault{}
	}
}

// always returns a Fail function with a fault for all requests of an action, or of all actions if action is empty.
func always(action string, fault costest.Fault) func(costest.Request) costest.Fault {
	return func(r costest.Request) costest.Fault {
		if action == "" || r.Action == action {
			return fault
		}
		return costest.Fault{}
	}
}

const (
	large    = 20<<20 + 1   // bytes, three ranges
	partSize = 1 << 20      // bytes of a part in a bubble; TestPut_PartSize tests the size in production
	smaller  = partSize + 1 // bytes, two parts in a bubble
)

// methods lists the methods of a bucket with the actions that each sends, in order. They need an object "there" of 10
// bytes.
var methods = []struct {
	name    string
	actions []string
	do      func(ctx context.Context, b blob.Bucket) error
}{
	{"Stat", []string{"HeadObject"}, func(ctx context.Context, b blob.Bucket) error {
		_, err := b.Stat(ctx, "there")
		return err
	}},
	{"Stat of what is not there", []string{"HeadObject", "GetObject"}, func(ctx context.Context, b blob.Bucket) error {
		if _, err := b.Stat(ctx, "missing"); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}},
	{"ReadRange", []string{"GetObject"}, func(ctx context.Context, b blob.Bucket) error {
		_, err := blob.ReadAll(ctx, b, "there", 100)
		return err
	}},
	{"ReadRange at the end", []string{"GetObject", "HeadObject"}, func(ctx context.Context, b blob.Bucket) error {
		_, err := readAll(ctx, b, "there", "a version", 1<<30)
		if errors.Is(err, blob.ErrChanged) {
			return nil
		}
		return err
	}},
	{"Create", []string{"GetBucketVersioning", "PutObject", "HeadObject"}, func(ctx context.Context, b blob.Bucket) error {
		return b.Create(ctx, "new", []byte("data"))
	}},
	{"Put", []string{"PutObject"}, func(ctx context.Context, b blob.Bucket) error {
		return b.Put(ctx, "new", strings.NewReader("data"))
	}},
	{
		"Put of much",
		[]string{"InitiateMultipartUpload", "UploadPart", "UploadPart", "CompleteMultipartUpload"},
		func(ctx context.Context, b blob.Bucket) error { return b.Put(ctx, "new", random(smaller)) },
	},
	{"List", []string{"GetBucket"}, func(ctx context.Context, b blob.Bucket) error {
		for _, err := range b.List(ctx, "", "") {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"Delete", []string{"DeleteObject"}, func(ctx context.Context, b blob.Bucket) error { return b.Delete(ctx, "there") }},
}

func TestBucket_ActionsOfMethods(t *testing.T) {
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			var got []string
			var mu sync.Mutex
			fail := func(r costest.Request) costest.Fault {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, r.Action)
				if m.name == "ReadRange at the end" && r.Action == "GetObject" {
					return costest.Fault{Status: 416, Code: "InvalidRange"} // before it checks the version
				}
				return costest.Fault{}
			}
			bubble(t, costest.Options{Fail: fail}, func(t *testing.T, b bench) {
				seed(t, b.objects, "there", "some bytes")
				if err := m.do(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, m.actions) {
					t.Errorf("got %q, want %q", got, m.actions)
				}
			})
		})
	}
}

// TestBucket_RetriesOneFailure checks that each method succeeds, and leaves the same objects, if the first request of
// one of its actions fails.
func TestBucket_RetriesOneFailure(t *testing.T) {
	faults := map[string]costest.Fault{
		"429":                    {Status: 429, Code: "TooManyRequests"},
		"500":                    {Status: 500, Code: "InternalError"},
		"503":                    {Status: 503, Code: "SlowDown"},
		"503 after the effect":   {Status: 503, Code: "ServiceUnavailable", Applied: true},
		"409 of two writers":     {Status: 409, Code: "UploadConflict"},
		"no response":            {Cut: true},
		"a lost response":        {Cut: true, Applied: true},
		"a hanging request":      {Delay: time.Hour},
		"a bit flips on its way": {FlipIn: true, FlipOut: true},
	}
	for _, m := range methods {
		for _, action := range slices.Compact(slices.Clone(m.actions)) {
			for name, fault := range faults {
				// Only TLS detects a changed bit in a request without Content-MD5 or in the text of a response.
				if fault.FlipIn && action != "PutObject" && action != "UploadPart" {
					continue
				}
				if m.name == "ReadRange at the end" {
					continue
				}
				t.Run(m.name+"/"+action+"/"+name, func(t *testing.T) {
					bubble(t, costest.Options{Fail: first(action, fault)}, func(t *testing.T, b bench) {
						seed(t, b.objects, "there", "some bytes")
						start := time.Now()
						if err := m.do(t.Context(), b); err != nil {
							t.Fatal(err)
						}
						limit := 2 * time.Minute
						if action == "CompleteMultipartUpload" {
							limit = 10 * time.Minute
						}
						if took := time.Since(start); took > limit+time.Second {
							t.Errorf("took %v, want at most %v and a wait", took, limit)
						}
						want := map[string]int{"there": 10}
						switch m.name {
						case "Delete":
							want = map[string]int{}
						case "Put of much":
							want["new"] = smaller
						case "Put", "Create":
							want["new"] = 4
						}
						got := make(map[string]int)
						for key, data := range b.objects.Snapshot() {
							got[key] = len(data)
						}
						if !maps.Equal(got, want) {
							t.Errorf("got %v, want %v", got, want)
						}
						if strings.HasPrefix(m.name, "Put") && !sameAs(b.objects.Snapshot()["new"], m.name) {
							t.Error("other bytes than those that were put")
						}
						// The client does not know the ID of an upload if the response to its creation was lost: it cannot abort it.
						lost := action == "InitiateMultipartUpload" && (fault.Applied || fault.Delay > 0)
						if n := b.server.Uploads(); n > 0 && !lost {
							t.Errorf("%d uploads are left", n)
						}
					})
				})
			}
		}
	}
}

func sameAs(data []byte, method string) bool {
	want := []byte("data")
	if method == "Put of much" {
		want, _ = io.ReadAll(random(smaller))
	}
	return bytes.Equal(data, want)
}

func TestBucket_AttemptsAreBounded(t *testing.T) {
	for _, m := range methods {
		for name, fault := range map[string]costest.Fault{
			"503":         {Status: 503, Code: "SlowDown"},
			"429":         {Status: 429, Code: "TooManyRequests"},
			"no response": {Cut: true},
		} {
			t.Run(m.name+"/"+name, func(t *testing.T) {
				bubble(t, costest.Options{Fail: always(m.actions[0], fault)}, func(t *testing.T, b bench) {
					seed(t, b.objects, "there", "some bytes")
					start := time.Now()
					err := m.do(t.Context(), b)
					if err == nil {
						t.Fatal("no error")
					}
					if fault.Status != 0 && !strings.Contains(err.Error(), fmt.Sprint(fault.Status)) {
						t.Errorf("error %q does not say %d", err, fault.Status)
					}
					attempts, longest := 5, 3750*time.Millisecond
					switch m.name { // those of blob.Reader
					case "ReadRange":
						attempts, longest = 6, 6200*time.Millisecond
					case "ReadRange at the end":
						attempts, longest = 12, 62600*time.Millisecond
					}
					if got := b.server.Calls()[m.actions[0]]; got != attempts {
						t.Errorf("%d attempts, want %d", got, attempts)
					}
					if took := time.Since(start); took > longest || took < 100*time.Millisecond {
						t.Errorf("gave up after %v", took)
					}
				})
			})
		}
	}
}

func TestBucket_ContextEndsWaits(t *testing.T) {
	errEnd := errors.New("time is up")
	for _, m := range methods {
		bubble(t, costest.Options{Fail: always("", costest.Fault{Delay: time.Minute, Status: 503, Code: "SlowDown"})},
			func(t *testing.T, b bench) {
				for _, after := range []time.Duration{time.Second, time.Minute + time.Nanosecond} {
					ctx, cancel := context.WithTimeoutCause(t.Context(), after, errEnd)
					start := time.Now()
					if err := m.do(ctx, b); !errors.Is(err, errEnd) {
						t.Errorf("%s: error %v, want %v", m.name, err, errEnd)
					}
					if took := time.Since(start); took != after {
						t.Errorf("%s: took %v, want %v", m.name, took, after)
					}
					cancel()
				}
			})
	}
}

func TestCreate_LostResponse(t *testing.T) {
	t.Run("own object after a lost response", func(t *testing.T) {
		fail := first("PutObject", costest.Fault{Cut: true, Applied: true})
		bubble(t, costest.Options{Fail: fail}, func(t *testing.T, b bench) {
			if err := b.Create(t.Context(), "lease", []byte("mine")); err != nil {
				t.Error(err)
			}
			if err := b.Create(t.Context(), "lease", []byte("mine")); !errors.Is(err, fs.ErrExist) {
				t.Errorf("the second: error %v, want fs.ErrExist", err)
			}
		})
	})
	t.Run("same bytes of another writer, after a request that was not applied", func(t *testing.T) {
		fail := first("PutObject", costest.Fault{Cut: true})
		bubble(t, costest.Options{Fail: fail}, func(t *testing.T, b bench) {
			seed(t, b.objects, "lease", "mine")
			if err := b.Create(t.Context(), "lease", []byte("mine")); !errors.Is(err, fs.ErrExist) {
				t.Errorf("error %v, want fs.ErrExist", err)
			}
		})
	})
	t.Run("damaged object", func(t *testing.T) {
		fail := func(r costest.Request) costest.Fault {
			return costest.Fault{BadCRC: r.Action == "HeadObject"}
		}
		bubble(t, costest.Options{Fail: fail}, func(t *testing.T, b bench) {
			if err := b.Create(t.Context(), "lease", []byte("mine")); err == nil || errors.Is(err, fs.ErrExist) {
				t.Errorf("error %v", err)
			}
		})
	})
}

// TestCreate_OneOfConcurrentWritersSucceeds checks that exactly one writer succeeds, and that the object is the one of
// that writer, even if COS accepts the requests of several writers.
func TestCreate_OneOfConcurrentWritersSucceeds(t *testing.T) {
	const writers = 16
	for name, options := range map[string]costest.Options{
		"atomic check and write": {},
		"time between check and write": {Fail: func(r costest.Request) costest.Fault {
			if r.Action != "PutObject" {
				return costest.Fault{}
			}
			return costest.Fault{Window: rand.N(400 * time.Millisecond)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, options, func(t *testing.T, b bench) {
				for round := range 20 {
					var buckets [writers]blob.Bucket
					for i := range buckets {
						buckets[i] = open(t, b.config) // a process each
					}
					blobtest.TestCreateByMany(t, fmt.Sprintf("lease/%06d", round), buckets[:]...)
				}
			})
		})
	}
}

func TestCreate_VersionedBucket(t *testing.T) {
	for _, versioning := range []string{"Enabled", "Suspended"} {
		bubble(t, costest.Options{Versioning: versioning}, func(t *testing.T, b bench) {
			seed(t, b.objects, "lease", "another's")
			for range 2 {
				err := b.Create(t.Context(), "lease", []byte("mine"))
				if err == nil || !strings.Contains(err.Error(), versioning) {
					t.Errorf("error %v", err)
				}
			}
			if got := string(b.objects.Snapshot()["lease"]); got != "another's" {
				t.Errorf("there is %q", got)
			}
			if n := b.server.Calls()["PutObject"]; n != 0 {
				t.Errorf("%d PUTs", n)
			}

			if n := b.server.Calls()["GetBucketVersioning"]; n != 2 {
				t.Errorf("asked %d times, want 2", n)
			}
		})
	}
}

func TestCreate_RequestsVersioningOnce(t *testing.T) {
	denied := first("GetBucketVersioning", costest.Fault{Status: 403, Code: "AccessDenied"})
	bubble(t, costest.Options{Fail: denied}, func(t *testing.T, b bench) {
		err := b.Create(t.Context(), "lease/0", []byte("mine"))
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "name/cos:GetBucketVersioning") {
			t.Errorf("error %v", err)
		}
		for i := range 3 {
			if err := b.Create(t.Context(), fmt.Sprint("lease/", i), []byte("mine")); err != nil {
				t.Error(err)
			}
		}
		if n := b.server.Calls()["GetBucketVersioning"]; n != 2 {
			t.Errorf("asked %d times, want once more than was denied", n)
		}
	})
}

func TestCreate_OtherConflicts(t *testing.T) {
	bubble(t, costest.Options{Fail: always("PutObject", costest.Fault{Status: 409, Code: "PathConflict"})},
		func(t *testing.T, b bench) {
			err := b.Create(t.Context(), "a/b", []byte("mine"))
			if err == nil || errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "PathConflict") {
				t.Errorf("error %v", err)
			}
			if n := b.server.Calls()["PutObject"]; n != 1 {
				t.Errorf("%d attempts, want 1", n)
			}
		})
	bubble(t, costest.Options{Fail: always("PutObject", costest.Fault{Status: 409, Code: "UploadConflict"})},
		func(t *testing.T, b bench) {
			if err := b.Create(t.Context(), "a/b", []byte("mine")); err == nil || errors.Is(err, fs.ErrExist) {
				t.Errorf("error %v", err)
			}
		})
}

func TestReadRange_FailuresWhileRead(t *testing.T) {
	for name, c := range map[string]struct {
		fault costest.Fault
		gets  int
		took  time.Duration // without the waits between attempts
	}{
		"no fault":                        {costest.Fault{}, 3, 0},
		"a response is cut":               {costest.Fault{CutAfter: 1 << 20}, 4, 0},
		"a response is cut before a byte": {costest.Fault{CutAfter: -1}, 4, 0},
		"a response hangs":                {costest.Fault{HangAfter: 1 << 20}, 4, 20 * time.Second},
		"a response hangs before a byte":  {costest.Fault{HangAfter: -1}, 4, 20 * time.Second},
		"a request hangs":                 {costest.Fault{Delay: time.Hour}, 4, 20 * time.Second},
		"the service has a failure":       {costest.Fault{Status: 500, Code: "InternalError"}, 4, 0},
		"the service throttles":           {costest.Fault{Status: 503, Code: "SlowDown"}, 4, 0},
	} {
		t.Run(name, func(t *testing.T) {
			fail := func(r costest.Request) costest.Fault {
				if r.N == 2 {
					return c.fault
				}
				return costest.Fault{}
			}
			bubble(t, costest.Options{Fail: fail}, func(t *testing.T, b bench) {
				want, _ := io.ReadAll(random(large))
				seed(t, b.objects, "object", string(want))
				start := time.Now()
				got, err := readAll(t.Context(), b, "object", "", 0)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Error("other bytes than those of the object")
				}
				if n := b.server.Calls()["GetObject"]; n != c.gets {
					t.Errorf("%d GETs, want %d", n, c.gets)
				}
				if took := time.Since(start); took < c.took || took > c.took+time.Second {
					t.Errorf("took %v, want %v", took, c.took)
				}
			})
		})
	}
}

func TestReadRange_SlowResponse(t *testing.T) {
	bubble(t, costest.Options{}, func(t *testing.T, b bench) {
		seed(t, b.objects, "object", strings.Repeat("x", 4<<20))
		b.config.Transport = &throttled{b.config.Transport, 100_000}
		r := blob.NewReader(t.Context(), open(t, b.config), "object", "", 0, -1)
		defer r.Close()
		var longest time.Duration
		buf, total := make([]byte, 1<<20), 0
		for {
			start := time.Now()
			n, err := r.Read(buf)
			longest = max(longest, time.Since(start))
			total += n
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if total != 4<<20 || longest > 22*time.Second {
			t.Errorf("read %d bytes, longest Read %v", total, longest)
		}
	})
}

// throttled limits the bodies of responses to rate bytes a second.
type throttled struct {
	http.RoundTripper

	rate int
}

func (t *throttled) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		body := resp.Body
		resp.Body = struct {
			io.Reader
			io.Closer
		}{readerFunc(func(p []byte) (int, error) {
			time.Sleep(time.Second)
			return body.Read(p[:min(len(p), t.rate)])
		}), body}
	}
	return resp, err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestReadRange_DamagedOrReplaced(t *testing.T) {
	t.Run("a flipped bit in an object of one range", func(t *testing.T) {
		bubble(t, costest.Options{Fail: first("GetObject", costest.Fault{FlipOut: true})}, func(t *testing.T, b bench) {
			if err := b.Put(t.Context(), "object", strings.NewReader("some bytes")); err != nil {
				t.Fatal(err)
			}
			got, err := readAll(t.Context(), b, "object", "", 0)
			if string(got) != "some bytes" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
		})
	})
	t.Run("always", func(t *testing.T) {
		bubble(t, costest.Options{Fail: always("GetObject", costest.Fault{FlipOut: true})}, func(t *testing.T, b bench) {
			if err := b.Put(t.Context(), "object", strings.NewReader("some bytes")); err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(t.Context(), b, "object", "", 0); err == nil {
				t.Errorf("read %q", got)
			}
		})
	})
	t.Run("an object that is replaced", func(t *testing.T) {
		for _, data := range []string{"shorter", strings.Repeat("y", large)} {
			bubble(t, costest.Options{}, func(t *testing.T, b bench) {
				seed(t, b.objects, "object", strings.Repeat("x", large))
				r := blob.NewReader(t.Context(), b, "object", "", 0, -1)
				defer r.Close()
				if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				seed(t, b.objects, "object", data)
				got, err := io.ReadAll(r)
				if !errors.Is(err, blob.ErrChanged) || strings.Trim(string(got), "x") != "" {
					t.Errorf("read %d bytes, error %v, want ErrChanged", len(got), err)
				}
			})
		}
	})
	t.Run("an object that has become shorter, where COS checks the range before the version", func(t *testing.T) {
		fail := func(r costest.Request) costest.Fault {
			if r.N == 2 {
				return costest.Fault{Status: 416, Code: "InvalidRange"}
			}
			return costest.Fault{}
		}
		bubble(t, costest.Options{Fail: fail}, func(t *testing.T, b bench) {
			seed(t, b.objects, "object", strings.Repeat("x", large))
			r := blob.NewReader(t.Context(), b, "object", "", 0, -1)
			defer r.Close()
			if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			seed(t, b.objects, "object", "shorter")
			if n, err := io.Copy(io.Discard, r); n != 8<<20-1 || !errors.Is(err, blob.ErrChanged) {
				t.Errorf("read %d bytes, error %v, want ErrChanged", n, err)
			}
		})
	})
	t.Run("another version, by one request", func(t *testing.T) {
		bubble(t, costest.Options{}, func(t *testing.T, b bench) {
			seed(t, b.objects, "object", "some bytes")
			for _, offset := range []int64{0, 100} {
				_, _, err := b.ReadRange(t.Context(), "object", "another", offset, 1, nil)
				if !errors.Is(err, blob.ErrChanged) || !strings.Contains(err.Error(), "412") {
					t.Errorf("error %v, want ErrChanged by a 412", err)
				}
			}
		})
	})
	t.Run("a range beyond the end of another version", func(t *testing.T) {
		beyond := always("GetObject", costest.Fault{Status: 416, Code: "InvalidRange"})
		bubble(t, costest.Options{Fail: beyond}, func(t *testing.T, b bench) {
			seed(t, b.objects, "object", "some bytes")
			if _, _, err := b.ReadRange(t.Context(), "object", "another", 10, 1, nil); !errors.Is(err, blob.ErrChanged) {
				t.Errorf("error %v, want ErrChanged", err)
			}
			if _, _, err := b.ReadRange(t.Context(), "missing", "another", 10, 1, nil); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error %v, want fs.ErrNotExist", err)
			}
			info, err := b.Stat(t.Context(), "object")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(t.Context(), b, "object", info.Version, 10); len(got) > 0 || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
		})
	})
}

func TestPut_UploadIsCompletedOrAborted(t *testing.T) {
	masked := costest.Fault{Status: 200, Code: "InternalError", Masked: true}
	appliedAndMasked := masked
	appliedAndMasked.Applied = true
	errBody := errors.New("the body's error")
	for name, c := range map[string]struct {
		fail func(costest.Request) costest.Fault
		body io.Reader
		ok   bool
		says string
	}{
		"an error in a 200, once":            {first("CompleteMultipartUpload", masked), random(smaller), true, ""},
		"an error in a 200 after the effect": {first("CompleteMultipartUpload", appliedAndMasked), random(smaller), true, ""},
		"always an error in a 200": {
			always("CompleteMultipartUpload", masked), random(smaller), false,
			"InternalError",
		},
		"a part that is refused": {
			always("UploadPart", costest.Fault{Status: 403, Code: "AccessDenied"}),
			random(smaller), false, "part 1: COS returned 403",
		},
		"a body that fails": {
			nil, io.MultiReader(random(smaller), iotest.ErrReader(errBody)), false,
			errBody.Error(),
		},
		"a whole number of parts":   {nil, random(2 * partSize), true, ""},
		"one byte more than a part": {nil, random(partSize + 1), true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, costest.Options{Fail: c.fail}, func(t *testing.T, b bench) {
				err := b.Put(t.Context(), "object", c.body)
				if (err == nil) != c.ok || !c.ok && !strings.Contains(err.Error(), c.says) {
					t.Errorf("error %v", err)
				}
				if n := b.server.Uploads(); n > 0 {
					t.Errorf("%d uploads are left", n)
				}
				if _, there := b.objects.Snapshot()["object"]; there != c.ok {
					t.Errorf("there is an object: %t", there)
				}
			})
		})
	}

	t.Run("the context ends", func(t *testing.T) {
		bubble(t, costest.Options{}, func(t *testing.T, b bench) {
			ctx, cancel := context.WithCancel(t.Context())
			body := io.MultiReader(random(smaller), readerFunc(func([]byte) (int, error) { cancel(); return 0, io.EOF }))
			if err := b.Put(ctx, "object", body); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want context.Canceled", err)
			}
			if n := b.server.Uploads(); n > 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	})
	t.Run("the abort fails", func(t *testing.T) {
		fail := always("AbortMultipartUpload", costest.Fault{Status: 403, Code: "AccessDenied"})
		bubble(t, costest.Options{Fail: fail}, func(t *testing.T, b bench) {
			err := b.Put(t.Context(), "object", io.MultiReader(random(smaller), iotest.ErrReader(errBody)))
			if !errors.Is(err, errBody) || !strings.Contains(err.Error(), "are charged") ||
				!strings.Contains(err.Error(), "name/cos:AbortMultipartUpload") {
				t.Errorf("error %v", err)
			}
		})
	})
	t.Run("more parts than the limit of COS", func(t *testing.T) {
		bubble(t, costest.Options{}, func(t *testing.T, b bench) {
			cosblob.LimitParts(b.Bucket, 2)
			if err := b.Put(t.Context(), "object", random(2*partSize)); err != nil {
				t.Error(err)
			}
			if err := b.Put(t.Context(), "too large", random(2*partSize+1)); err == nil ||
				!strings.Contains(err.Error(), "more than 2 parts") {
				t.Errorf("error %v", err)
			}
			if n := b.server.Uploads(); n > 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	})
}

// TestPut_PartSize counts the requests of objects around the size of a part in production.
func TestPut_PartSize(t *testing.T) {
	for size, want := range map[int64]map[string]int{
		8 << 20:    {"PutObject": 1},
		8<<20 + 1:  {"InitiateMultipartUpload": 1, "UploadPart": 2, "CompleteMultipartUpload": 1},
		16 << 20:   {"InitiateMultipartUpload": 1, "UploadPart": 2, "CompleteMultipartUpload": 1},
		16<<20 + 1: {"InitiateMultipartUpload": 1, "UploadPart": 3, "CompleteMultipartUpload": 1},
	} {
		bubble(t, costest.Options{}, func(t *testing.T, b bench) {
			if err := open(t, b.config).Put(t.Context(), "object", random(size)); err != nil {
				t.Fatal(err)
			}
			if got := b.server.Calls(); !maps.Equal(got, want) {
				t.Errorf("%d bytes: got requests %v, want %v", size, got, want)
			}
			got, want := b.objects.Snapshot()["object"], make([]byte, size)
			io.ReadFull(random(size), want)
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes: the object has other bytes than the body", size)
			}
		})
	}
}

func TestPut_ChecksumOfResponse(t *testing.T) {
	for _, size := range []int64{1, smaller} {
		bubble(t, costest.Options{Fail: always("", costest.Fault{BadCRC: true})}, func(t *testing.T, b bench) {
			if err := b.Put(t.Context(), "object", random(size)); err == nil ||
				!strings.Contains(err.Error(), "x-cos-hash-crc64ecma") {
				t.Errorf("another checksum: error %v", err)
			}
		})
		bubble(t, costest.Options{NoCRC64: true}, func(t *testing.T, b bench) {
			if err := b.Put(t.Context(), "object", random(size)); err != nil {
				t.Errorf("none, and none is expected: error %v", err)
			}
			b.config.NoCRC64 = false
			checked := open(t, b.config)
			cosblob.SetPartSize(checked, partSize)
			if err := checked.Put(t.Context(), "object", random(size)); err == nil ||
				!strings.Contains(err.Error(), "is not COS") {
				t.Errorf("none: error %v", err)
			}
		})
	}
}

func TestList_Responses(t *testing.T) {
	t.Run("shows objects late", func(t *testing.T) {
		bubble(t, costest.Options{ListLag: time.Minute}, func(t *testing.T, b bench) {
			if err := b.Put(t.Context(), "object", strings.NewReader("data")); err != nil {
				t.Fatal(err)
			}
			if got := keys(t, b, "", ""); len(got) > 0 {
				t.Errorf("got %q at once", got)
			}
			if _, err := b.Stat(t.Context(), "object"); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
			for info, err := range b.List(t.Context(), "", "") {
				stat, _ := b.Stat(t.Context(), "object")
				if err != nil || info.Version != stat.Version || info.Size != stat.Size ||
					!info.Modified.Truncate(time.Second).Equal(stat.Modified) {
					t.Errorf("got %+v, %v, want %+v", info, err, stat)
				}
			}
		})
	})
	t.Run("leaves the console's folders out", func(t *testing.T) {
		xml := `<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>` +
			`<Contents><Key>a%2F</Key><Size>0</Size><LastModified>2026-11-22T10:00:00.000Z</LastModified></Contents>` +
			`<Contents><Key>a%2Fb+c%2B%25</Key><Size>3</Size></Contents></ListBucketResult>`
		b := responding(t, xml)
		if got, want := keys(t, b, "a/", ""), []string{"a/b c+%"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("a marker that does not advance", func(t *testing.T) {
		b := responding(t, `<ListBucketResult><IsTruncated>true</IsTruncated><NextMarker>a</NextMarker>`+
			`<Contents><Key>a</Key></Contents></ListBucketResult>`)
		var got []string
		var errs []error
		for info, err := range b.List(t.Context(), "", "") {
			if err != nil {
				errs = append(errs, err)
				continue
			}
			got = append(got, info.Key)
		}
		if len(got) != 1 || len(errs) != 1 {
			t.Errorf("got %q, %v", got, errs)
		}
	})
}

// responding returns a bucket whose response to every request is text.
func responding(t *testing.T, text string) *cosblob.Bucket {
	return open(t, cosblob.Config{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		io.WriteString(w, text)
		resp := w.Result()
		resp.Request = r
		return resp, nil
	})})
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestReadRange_InvalidResponses(t *testing.T) {
	header := func(pairs ...string) http.Header {
		h := http.Header{"Etag": {`"v"`}, "Last-Modified": {"Sun, 22 Nov 2026 10:00:00 GMT"}}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	for name, c := range map[string]struct {
		status int
		header http.Header
		is     error
	}{
		"the beginning instead of the range": {200, header(), nil},
		"another range":                      {206, header("Content-Range", "bytes 0-3/8"), nil},
		"no range":                           {206, header("Content-Range", "bytes"), nil},
		"another version":                    {206, header("Content-Range", "bytes 4-7/8", "ETag", `"w"`), blob.ErrChanged},
		"no version":                         {206, header("Content-Range", "bytes 4-7/8", "ETag", ""), nil},
	} {
		requests := 0
		b := open(t, cosblob.Config{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
			requests++
			return &http.Response{
				StatusCode: c.status, Header: c.header, Request: r, ContentLength: 4,
				Body: io.NopCloser(strings.NewReader("4567")),
			}, nil
		})})
		_, _, err := b.ReadRange(t.Context(), "object", "v", 4, 4, nil)
		if !blob.IsPermanent(err) || requests != 1 || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: error %v after %d requests, want %v", name, err, requests, c.is)
		}
	}
}

func TestBucket_CredentialsChange(t *testing.T) {
	bubble(t, costest.Options{}, func(t *testing.T, b bench) {
		seed(t, b.objects, "there", "some bytes")
		now := key
		b.config.Credentials = func() (string, string, string) { return now.ID, now.Secret, now.Token }
		bucket := open(t, b.config)
		stat := func() error {
			_, err := bucket.Stat(t.Context(), "there")
			return err
		}
		get := func() error {
			_, err := readAll(t.Context(), bucket, "there", "", 0)
			return err
		}
		if err := stat(); err != nil {
			t.Error(err)
		}

		old := key
		old.Expired = true
		renewed := costest.Key{ID: "AKIDrenewed", Secret: "another", Token: "renewed"}
		b.server.SetKeys(old, renewed)
		for name, do := range map[string]func() error{"get": get, "stat": stat} {
			if err := do(); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "expired") ||
				strings.Contains(err.Error(), "allow name/cos:") {
				t.Errorf("%s with expired keys: error %v", name, err)
			}
		}
		now = renewed
		if err := stat(); err != nil {
			t.Errorf("renewed: error %v", err)
		}

		for name, k := range map[string]costest.Key{
			"another ID":     {ID: "AKIDother", Secret: renewed.Secret, Token: renewed.Token},
			"another secret": {ID: renewed.ID, Secret: "wrong", Token: renewed.Token},
			"another token":  {ID: renewed.ID, Secret: renewed.Secret, Token: "wrong"},
			"no token":       {ID: renewed.ID, Secret: renewed.Secret},
		} {
			now = k
			if err := stat(); !errors.Is(err, fs.ErrPermission) || k.Token == renewed.Token &&
				strings.Contains(err.Error(), "allow name/cos:") {
				t.Errorf("%s: error %v, want fs.ErrPermission, and no advice about the policy", name, err)
			}
		}
		now = costest.Key{}
		if err := stat(); err == nil || !strings.Contains(err.Error(), "no credentials") {
			t.Errorf("none: error %v", err)
		}
		now = costest.Key{ID: "a", Secret: "b", Token: "c\nd"}
		if err := stat(); err == nil {
			t.Error("a token of two lines: no error")
		}
	})
}

// TestServer_ChecksSignatures checks that the fake COS rejects a request that changed after it was signed.
func TestServer_ChecksSignatures(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"a header that is not signed": func(r *http.Request) { r.Header.Set("x-cos-meta-writer", "another") },
		"a parameter":                 func(r *http.Request) { r.URL.RawQuery = "uploads" },
		"the key":                     func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/another", "" },
		"the method":                  func(r *http.Request) { r.Method = http.MethodDelete },
		"a header that is signed":     func(r *http.Request) { r.Header.Set("Range", "bytes=0-1") },
		"no signature":                func(r *http.Request) { r.Header.Del("Authorization") },
	} {
		bubble(t, costest.Options{}, func(t *testing.T, b bench) {
			seed(t, b.objects, "there", "some bytes")
			next := b.config.Transport
			b.config.Transport = transportFunc(func(r *http.Request) (*http.Response, error) {
				change(r)
				return next.RoundTrip(r)
			})
			_, _, err := open(t, b.config).ReadRange(t.Context(), "there", "", 0, 100, nil)
			if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s: error %v, want fs.ErrPermission", name, err)
			}
			if n := len(b.objects.Snapshot()); n != 1 || len(b.server.Calls()) > 0 {
				t.Errorf("%s: the server executed the request", name)
			}
		})
	}
	bubble(t, costest.Options{}, func(t *testing.T, b bench) {
		next := b.config.Transport
		b.config.Transport = transportFunc(func(r *http.Request) (*http.Response, error) {
			time.Sleep(2 * time.Hour)
			return next.RoundTrip(r)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		for _, err := range open(t, b.config).List(ctx, "", "") {
			if err == nil {
				t.Error("the server accepted a request that was signed two hours ago")
			}
		}
	})
}

func TestBucket_ExpiredSignature(t *testing.T) {
	b := open(t, cosblob.Config{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
		body := "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
		if r.Method == http.MethodHead {
			body = ""
		}
		return &http.Response{
			StatusCode: http.StatusForbidden, Header: http.Header{}, Request: r,
			Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	})})
	_, statErr := b.Stat(t.Context(), "object")
	_, _, readErr := b.ReadRange(t.Context(), "object", "", 0, 1, nil)
	for _, err := range []error{statErr, readErr} {
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "have expired") ||
			strings.Contains(err.Error(), "allow name/cos:") {
			t.Errorf("error %v, want that something has expired", err)
		}
	}
}

func TestBucket_MissingPermission(t *testing.T) {
	for _, m := range methods {
		for _, action := range m.actions {
			fail := func(r costest.Request) costest.Fault {
				if m.name == "ReadRange at the end" && r.Action == "GetObject" && action != "GetObject" {
					return costest.Fault{Status: 416, Code: "InvalidRange"}
				}
				return always(action, costest.Fault{Status: 403, Code: "AccessDenied"})(r)
			}
			bubble(t, costest.Options{Fail: fail}, func(t *testing.T, b bench) {
				seed(t, b.objects, "there", "some bytes")
				err := m.do(t.Context(), b)
				if !errors.Is(err, fs.ErrPermission) ||
					!strings.Contains(err.Error(), "allow name/cos:"+action+" on groups-1250000000") {
					t.Errorf("%s without %s: error %v", m.name, action, err)
				}
				if n := b.server.Calls()[action]; n != 1 {
					t.Errorf("%s without %s: %d attempts, want 1", m.name, action, n)
				}
			})
		}
	}
}

func TestBucket_MissingBucket(t *testing.T) {
	for _, m := range methods {
		bubble(t, costest.Options{NoBucket: true}, func(t *testing.T, b bench) {
			err := m.do(t.Context(), b)
			if err == nil || errors.Is(err, fs.ErrNotExist) ||
				!strings.Contains(err.Error(), "no bucket groups-1250000000 in ap-guangzhou") {
				t.Errorf("%s: error %v", m.name, err)
			}
		})
	}
	// After one successful response from the bucket, Stat of a missing object sends one request.
	bubble(t, costest.Options{}, func(t *testing.T, b bench) {
		for range 3 {
			if _, err := b.Stat(t.Context(), "missing"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error %v, want fs.ErrNotExist", err)
			}
		}
		if got, want := b.server.Calls(), (map[string]int{"HeadObject": 3, "GetObject": 1}); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestBucket_ErrorsContainNoSecrets(t *testing.T) {
	faults := []costest.Fault{
		{Cut: true},
		{Applied: true, Cut: true},
		{BadCRC: true},
		{Delay: time.Hour},
		{Status: 200, Code: "InternalError", Masked: true},
	}
	for _, status := range []int{301, 400, 403, 404, 409, 412, 416, 429, 500, 503} {
		faults = append(faults, costest.Fault{Status: status, Code: "SomeCode"},
			costest.Fault{Status: status, Code: "a code with " + key.Secret + key.Token})
	}
	seen := 0
	look := func(err error) {
		if err == nil {
			return
		}
		seen++
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%v", errors.Unwrap(err))} {
			for _, secret := range []string{key.ID, key.Secret, key.Token, "q-sign", "Authorization", "http://", "127.0.0.1"} {
				if strings.Contains(text, secret) {
					t.Errorf("error %q holds %q", text, secret)
				}
			}
		}
	}
	for _, m := range methods {
		for _, fault := range faults {
			bubble(t, costest.Options{Fail: always("", fault)}, func(t *testing.T, b bench) {
				seed(t, b.objects, "there", "some bytes")
				look(m.do(t.Context(), b))
			})
		}
		bubble(t, costest.Options{Keys: []costest.Key{{ID: key.ID, Secret: "another", Token: key.Token}}},
			func(t *testing.T, b bench) {
				look(m.do(t.Context(), b))
			})
	}
	if seen < len(methods)*len(faults)/2 {
		t.Errorf("%d errors", seen)
	}
}

func TestOpen_InvalidConfig(t *testing.T) {
	good := cosblob.Config{Bucket: "groups-1250000000", Region: "ap-guangzhou", Credentials: credentials}
	for name, change := range map[string]func(*cosblob.Config){
		"bucket without APPID": func(c *cosblob.Config) { c.Bucket = "groups" },
		"no bucket":            func(c *cosblob.Config) { c.Bucket = "" },
		"bucket with a host":   func(c *cosblob.Config) { c.Bucket = "a.example/b-1" },
		"no region":            func(c *cosblob.Config) { c.Region = "" },
		"region of a host":     func(c *cosblob.Config) { c.Region = "ap-x.example.org/" },
		"no credentials":       func(c *cosblob.Config) { c.Credentials = nil },
		"endpoint with a path": func(c *cosblob.Config) { c.Endpoint = "https://proxy.example/cos" },
		"endpoint of no host":  func(c *cosblob.Config) { c.Endpoint = "proxy.example" },
		"endpoint of files":    func(c *cosblob.Config) { c.Endpoint = "file:///tmp" },
	} {
		c := good
		change(&c)
		if _, err := cosblob.Open(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	_, err := cosblob.Open(cosblob.Config{Endpoint: "https://user:pass@host"})
	for _, want := range []string{"bucket", "region", "credentials", "endpoint"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pass") {
			t.Errorf("all wrong: error %v", err)
		}
	}

	var urls []string
	good.Transport = transportFunc(func(r *http.Request) (*http.Response, error) {
		urls = append(urls, r.URL.String())
		return &http.Response{StatusCode: http.StatusForbidden, Body: http.NoBody, Request: r}, nil
	})
	for _, region := range []string{"ap-guangzhou", "na-siliconvalley", "ap-beijing-1", "ap-shenzhen-fsi", "eu-west-2"} {
		good.Region = region
		b, err := cosblob.Open(good)
		if err != nil {
			t.Error(err)
			continue
		}
		b.Stat(t.Context(), "a b/c")
		if got, want := urls[len(urls)-1], "https://groups-1250000000.cos."+region+".myqcloud.com/a%20b%2Fc"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestBucket_MemoryIsIndependentOfSize(t *testing.T) {
	// Two parts fit into the limit, and a copy of a sixth of the object does not.
	const size, limit = 96 << 20, 16 << 20
	objects, err := dirblob.Open(versitygw.TempDir(t))
	if err != nil {
		t.Fatal(err)
	}
	defer objects.Close()
	server := costest.New(costest.Options{Objects: objects, Keys: []costest.Key{key}})
	defer server.Close()
	s := httptest.NewServer(server)
	defer s.Close()
	b := open(t, cosblob.Config{Endpoint: s.URL})

	randomData()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	var most atomic.Uint64
	var passed int64
	watch := func(n int) {
		if before := passed; before>>23 != (before+int64(n))>>23 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapAlloc))
		}
		passed += int64(n)
	}
	src := random(size)
	if err := b.Put(t.Context(), "object", readerFunc(func(p []byte) (int, error) {
		n, err := src.Read(p)
		watch(n)
		return n, err
	})); err != nil {
		t.Fatal(err)
	}
	r := blob.NewReader(t.Context(), b, "object", "", 0, -1)
	defer r.Close()
	want, buf, other := random(size), make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		watch(n)
		io.ReadFull(want, other[:n])
		if !bytes.Equal(buf[:n], other[:n]) {
			t.Fatal("other bytes than those that were put")
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if passed != 2*size {
		t.Errorf("%d bytes passed, want %d", passed, 2*size)
	}
	grown := max(most.Load(), before) - before
	t.Logf("the heap grew by at most %d MiB", grown>>20)
	if grown > limit {
		t.Errorf("the heap grew by %d MiB, want at most %d", grown>>20, limit>>20)
	}
}

func seed(t *testing.T, b blob.Bucket, key, data string) {
	t.Helper()
	if err := b.Put(t.Context(), key, strings.NewReader(data)); err != nil {
		t.Fatal(err)
	}
}

func readAll(ctx context.Context, b blob.Bucket, key, version string, offset int64) ([]byte, error) {
	r := blob.NewReader(ctx, b, key, version, offset, -1)
	defer r.Close()
	return io.ReadAll(r)
}

func keys(t *testing.T, b blob.Bucket, prefix, delimiter string) []string {
	t.Helper()
	var keys []string
	for info, err := range b.List(t.Context(), prefix, delimiter) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// random returns a stream of size bytes, always the same ones.
func random(size int64) io.Reader {
	if data := randomData(); size <= int64(len(data)) {
		return io.LimitReader(bytes.NewReader(data), size)
	}
	return io.LimitReader(rand.NewChaCha8([32]byte{}), size)
}

// randomData returns the beginning of the stream of random. It is generated once.
var randomData = sync.OnceValue(func() []byte {
	data := make([]byte, large)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data) // never fails
	return data
})
