package check_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/check"
	"groupimport/pkg/config"
	"groupimport/pkg/emulator"
	"groupimport/pkg/results"
)

const secretKey = "a key for tests, which is no secret"

// A world is what is checked, in virtual time.
type world struct {
	check.Env

	t       *testing.T
	store   *blobtest.Bucket
	service *emulator.Service
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: &blobtest.Bucket{}, service: &emulator.Service{SDKAppID: 1400000000, Key: secretKey}}
	w.service.Latency = 50 * time.Millisecond
	cfg, err := config.FromEnv(func(name string) string {
		return map[string]string{"TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": secretKey}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Env = check.Env{Config: cfg, Bucket: w.store, Prefix: "exports/", Transport: w.dated(0)}
	return w
}

// A transport is a function that sends requests.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// dated returns a transport to the service, whose clock is so far ahead.
func (w *world) dated(ahead time.Duration) transport {
	return func(r *http.Request) (*http.Response, error) {
		resp, err := w.service.RoundTrip(r)
		if err == nil {
			resp.Header.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		}
		return resp, err
	}
}

// to sends the requests to a host to f, and the others to the service.
func (w *world) to(host string, f transport) {
	next := w.dated(0)
	w.Transport = transport(func(r *http.Request) (*http.Response, error) {
		if strings.HasPrefix(r.URL.Host, host) {
			return f(r)
		}
		return next(r)
	})
}

func (w *world) run() map[string]check.Result {
	w.t.Helper()
	all, err := check.Run(w.t.Context(), w.Env)
	if err != nil {
		w.t.Fatal(err)
	}
	found := map[string]check.Result{}
	for _, r := range all {
		found[r.Name] = r
		if r.Seen == "" || r.Proves == "" || (r.Do == "") != (r.State == check.OK) {
			w.t.Errorf("incomplete result: %+v", r)
		}
		if strings.Contains(fmt.Sprint(r), secretKey) || strings.Contains(fmt.Sprint(r), "eJ") {
			w.t.Errorf("%s shows a secret: %+v", r.Name, r)
		}
	}
	if len(found) != len(check.Checks()) {
		w.t.Errorf("got %d results, want %d", len(found), len(check.Checks()))
	}
	return found
}

func TestRun_AllHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, r := range w.run() {
			if r.State != check.OK {
				t.Errorf("got %+v", r)
			}
		}
		if left := w.store.Snapshot(); len(left) > 0 || w.store.Uploads() > 0 {
			t.Errorf("left behind: %v and %d uploads", left, w.store.Uploads())
		}
		if n := w.service.Stats().Created; n != 0 {
			t.Errorf("%d groups were created", n)
		}
	})
}

// Every key that a check writes is an output: it starts no import.
func TestRun_WritesOutputsOnly(t *testing.T) {
	for _, prefix := range []string{"", "exports/", "a/b/"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.Prefix = prefix
			w.store.Fail = func(op blobtest.Op) blobtest.Fault {
				isInFolder := strings.HasPrefix(op.Key, check.Folder(prefix))
				if !isInFolder || op.Method != blobtest.List && !results.IsOutput(op.Key) {
					t.Errorf("%s of %q", op.Method, op.Key)
				}
				return blobtest.Fault{}
			}
			w.run()
		})
	}
}

// A store misbehaves where a function is set.
type store struct {
	*blobtest.Bucket

	put    func(key string, data []byte) error
	create func(ctx context.Context, key string, data []byte) error
	read   func(ctx context.Context, key, version string, off, n int64, buf []byte) ([]byte, blob.Info, error)
	list   func() bool // whether objects are listed
	remove func(key string) error
	abort  func() error
}

func (s *store) Put(ctx context.Context, key string, body io.Reader) error {
	data, err := io.ReadAll(body)
	if err == nil && s.put != nil {
		err = s.put(key, data)
	}
	if errors.Is(err, errIgnored) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.Bucket.Put(ctx, key, bytes.NewReader(data))
}

// errIgnored makes an operation succeed without an effect.
var errIgnored = errors.New("ignored")

func (s *store) Create(ctx context.Context, key string, data []byte) error {
	if s.create != nil {
		return s.create(ctx, key, data)
	}
	return s.Bucket.Create(ctx, key, data)
}

func (s *store) ReadRange(ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	if s.read != nil {
		return s.read(ctx, key, version, off, n, buf)
	}
	return s.Bucket.ReadRange(ctx, key, version, off, n, buf)
}

func (s *store) List(ctx context.Context, prefix, delimiter string) iter.Seq2[blob.Info, error] {
	if s.list != nil && !s.list() {
		return func(func(blob.Info, error) bool) {}
	}
	return s.Bucket.List(ctx, prefix, delimiter)
}

func (s *store) Delete(ctx context.Context, key string) error {
	if s.remove != nil {
		if err := s.remove(key); errors.Is(err, errIgnored) {
			return nil
		}
	}
	return s.Bucket.Delete(ctx, key)
}

func (s *store) AbortUpload(ctx context.Context, key, id string) error {
	if s.abort != nil {
		return s.abort()
	}
	return s.Bucket.AbortUpload(ctx, key, id)
}

// Each check fails with a store or a service that misbehaves in just that way.
func TestRun_Misbehaviour(t *testing.T) {
	for _, test := range []struct {
		check string
		want  check.State
		seen  string // part of what is seen
		what  string
		set   func(w *world, s *store)
	}{
		{"bucket write", check.Failed, "permission", "writes are denied", func(_ *world, s *store) {
			s.put = func(string, []byte) error { return fs.ErrPermission }
		}},
		{"bucket write", check.Failed, `read "first"`, "reads are late", func(_ *world, s *store) {
			s.put = func(_ string, data []byte) error {
				if strings.HasPrefix(string(data), "second") {
					return errIgnored
				}
				return nil
			}
		}},
		{"bucket list", check.Warning, "listed after 7s", "lists are late", func(_ *world, s *store) {
			var first time.Time
			s.list = func() bool {
				if first.IsZero() {
					first = time.Now()
				}
				return time.Since(first) >= 7*time.Second
			}
		}},
		{"bucket list", check.Failed, "not listed within", "lists are empty", func(_ *world, s *store) {
			s.list = func() bool { return false }
		}},
		{"bucket range", check.Failed, "earlier version", "If-Match is ignored", func(_ *world, s *store) {
			s.read = func(ctx context.Context, key, _ string, off, n int64, buf []byte) ([]byte, blob.Info, error) {
				return s.Bucket.ReadRange(ctx, key, "", off, n, buf)
			}
		}},
		{"bucket range", check.Failed, "4 bytes from byte 3", "Range is ignored", func(_ *world, s *store) {
			s.read = func(ctx context.Context, key, version string, _, n int64, buf []byte) ([]byte, blob.Info, error) {
				return s.Bucket.ReadRange(ctx, key, version, 0, n, buf)
			}
		}},
		{"bucket create", check.Failed, "replaced an existing", "conditions are ignored", func(_ *world, s *store) {
			s.create = func(ctx context.Context, key string, data []byte) error {
				return s.Bucket.Put(ctx, key, bytes.NewReader(data))
			}
		}},
		{"bucket create", check.Failed, "Enabled", "the bucket has versioning", func(_ *world, s *store) {
			s.create = func(context.Context, string, []byte) error { return errors.New("versioning is Enabled") }
		}},
		{
			"bucket races", check.Failed, "race 10 of 10: both", "the check of the condition is not atomic",
			func(_ *world, s *store) {
				s.create = func(ctx context.Context, key string, data []byte) error {
					if !strings.Contains(key, "race-9") {
						return s.Bucket.Create(ctx, key, data)
					}
					_, err := s.Stat(ctx, key)
					time.Sleep(time.Millisecond) // here the other one passes
					if err == nil {
						return fs.ErrExist
					}
					return s.Bucket.Put(ctx, key, bytes.NewReader(data))
				}
			},
		},
		{
			"bucket create after delete", check.Failed, "conditional write 2", "deleted keys stay taken",
			func(_ *world, s *store) {
				s.create = func(ctx context.Context, key string, data []byte) error {
					if string(data) == "life 2" {
						return fs.ErrExist
					}
					return s.Bucket.Create(ctx, key, data)
				}
			},
		},
		{"bucket upload", check.Failed, "another part", "aborts are ignored", func(_ *world, s *store) {
			s.abort = func() error { return nil }
		}},
		{"bucket upload", check.Failed, "abort: permission denied", "aborts are denied", func(_ *world, s *store) {
			s.abort = func() error { return fmt.Errorf("permission denied") }
		}},
		{"bucket keys", check.Failed, `read "a b"`, "a plus is a space", func(_ *world, s *store) {
			s.put = func(key string, data []byte) error {
				if !strings.Contains(key, "+") {
					return nil
				}
				_ = s.Bucket.Put(t.Context(), strings.ReplaceAll(key, "+", " "), bytes.NewReader(data))
				return errIgnored
			}
		}},
		{"bucket delete", check.Failed, "still there", "deletes are ignored", func(_ *world, s *store) {
			s.remove = func(string) error { return errIgnored }
		}},
		{"im host", check.Failed, "no such host", "the host does not resolve", func(w *world, _ *store) {
			w.to("console.", func(*http.Request) (*http.Response, error) { return nil, errors.New("no such host") })
		}},
		{"im backup host", check.Warning, "no such host", "the backup does not resolve", func(w *world, _ *store) {
			w.to("adminapi.", func(*http.Request) (*http.Response, error) { return nil, errors.New("no such host") })
		}},
		{"im clock", check.Failed, "20m0s", "the clock is wrong", func(w *world, _ *store) {
			w.Transport = w.dated(20 * time.Minute)
		}},
		{"im clock", check.Warning, "1m0s", "the clock is late", func(w *world, _ *store) {
			w.Transport = w.dated(-time.Minute)
		}},
		{"im clock", check.Warning, "no readable Date", "a response without a date", func(w *world, _ *store) {
			w.Transport = w.service
		}},
		{"im access", check.Failed, "code 7", "another key", func(w *world, _ *store) { w.Config.SecretKey = "another" }},
		{"im access", check.Failed, "TIM_ADMIN", "no administrator", func(w *world, _ *store) {
			w.service.Faults.Plan = func(emulator.Request) emulator.Fault { return 60010 }
		}},
		{"im access", check.Failed, "60020", "the plan has expired", func(w *world, _ *store) {
			w.service.Faults.Plan = func(emulator.Request) emulator.Fault { return 60020 }
		}},
		{"im unknown group", check.Warning, "[10015]", "another code", func(w *world, _ *store) {
			w.Transport = w.rewritten("10010", "10015")
		}},
		{"im latency", check.Failed, "gives up", "slow responses", func(w *world, _ *store) {
			w.service.Latency = 4 * time.Second
			w.Config.Rate = 190
		}},
		{"im latency", check.Failed, "look-ups", "responses fail after a while", func(w *world, _ *store) {
			w.service.Faults.Plan = func(r emulator.Request) emulator.Fault {
				if r.Ordinal > 10 {
					return emulator.Forbidden
				}
				return emulator.None
			}
		}},
		{"rate", check.Warning, "leaves 2 of 200", "the rate leaves nothing to HTTP", func(w *world, _ *store) {
			w.Config.Rate = 198
		}},
		{"rate", check.Warning, "the service allows 200", "the rate is above the limit", func(w *world, _ *store) {
			w.Config.Rate = 250
		}},
	} {
		t.Run(test.check+": "+test.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := &store{Bucket: w.store}
				w.Bucket = s
				test.set(w, s)
				got := w.run()[test.check]
				if got.State != test.want || !strings.Contains(got.Seen, test.seen) {
					t.Errorf("got %+v, want %s with %q", got, test.want, test.seen)
				}
			})
		})
	}
}

// rewritten returns a transport whose responses have another text.
func (w *world) rewritten(before, after string) transport {
	next := w.dated(0)
	return func(r *http.Request) (*http.Response, error) {
		resp, err := next(r)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(strings.NewReader(strings.ReplaceAll(string(body), before, after)))
		return resp, err
	}
}

// Objects are removed also if the context ends before the last check.
func TestRun_RemovesAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		w.store.Fail = func(op blobtest.Op) blobtest.Fault {
			if op.Method == blobtest.Create && strings.Contains(op.Key, "race-3") {
				cancel()
			}
			return blobtest.Fault{}
		}
		if _, err := check.Run(ctx, w.Env); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if left := w.store.Snapshot(); len(left) > 0 || w.store.Uploads() > 0 {
			t.Errorf("left behind: %v and %d uploads", left, w.store.Uploads())
		}
	})
}

func TestWorst_States(t *testing.T) {
	for _, test := range []struct {
		states []check.State
		want   check.State
	}{
		{nil, check.OK},
		{[]check.State{check.OK, check.Warning, check.OK}, check.Warning},
		{[]check.State{check.Warning, check.Failed, check.Warning}, check.Failed},
	} {
		var all []check.Result
		for _, s := range test.states {
			all = append(all, check.Result{State: s})
		}
		if got := check.Worst(all); got != test.want {
			t.Errorf("%v: got %s, want %s", test.states, got, test.want)
		}
	}
}
