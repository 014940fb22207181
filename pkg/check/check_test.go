package check_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	s       *store
	store   *blobtest.Bucket // below s
	service *emulator.Service
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: &blobtest.Bucket{}, service: &emulator.Service{SDKAppID: 1400000000, Key: secretKey}}
	w.service.Latency = 50 * time.Millisecond
	w.s = &store{Bucket: w.store}
	cfg, err := config.FromEnv(func(name string) string {
		return map[string]string{"TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": secretKey}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Env = check.Env{
		Place: check.Local, Config: cfg, Bucket: w.s, Prefix: "exports/", Transport: w.dated(0),
		Sample: &check.Sample{Name: "a.jsonl", Records: 3}, Dial: w.dial(nil),
	}
	return w
}

// dial returns a dialer that connects, unless refuse returns an error for the network and the address.
func (*world) dial(refuse func(network, address string) error) func(context.Context, string, string) (net.Conn, error) {
	return func(_ context.Context, network, address string) (net.Conn, error) {
		if refuse != nil {
			if err := refuse(network, address); err != nil {
				return nil, err
			}
		}
		here, there := net.Pipe()
		there.Close()
		return here, nil
	}
}

// inFunction makes the world that of a function with all that it needs, whose triggers work.
func (w *world) inFunction() {
	w.Place, w.Sample = check.Function, nil
	w.Platform = &check.Platform{
		Name: "a cloud", Function: "schedule", Invoked: "one", Memory: 192, TimeLimit: 15 * time.Minute, HasDeadline: true,
		Region: "ap-guangzhou", TempDir: w.t.TempDir(), Secret: "/groupimport/secret-key",
		Role: func(context.Context) (string, error) { return "arn:aws:sts::1:assumed-role/schedule", nil },
		CPU:  func() (float64, error) { return 0.109, nil },
	}
	w.trigger(&triggers{starts: isExport, bucket: w.s})
}

func isExport(key string) bool { return strings.HasSuffix(key, ".jsonl") }

// triggers say which objects start an invocation, and what it gets.
type triggers struct {
	starts func(key string) bool
	raw    func(key string) string // key in events; nil for that of the object
	bucket blob.Bucket             // of the invocation
}

// trigger invokes another instance of the function three seconds after an object was written.
func (w *world) trigger(tr *triggers) {
	var invocations sync.WaitGroup
	w.t.Cleanup(invocations.Wait)
	w.s.written = func(ctx context.Context, key string) {
		if !tr.starts(key) {
			return
		}
		invocations.Go(func() {
			time.Sleep(3 * time.Second)
			raw := key
			if tr.raw != nil {
				raw = tr.raw(key)
			}
			keys := []string{raw}
			if plain, err := url.QueryUnescape(raw); err == nil {
				keys = append(keys, plain)
			}
			if _, err := check.Answer(context.WithoutCancel(ctx), tr.bucket, "exports/", raw, keys, "two"); err != nil {
				w.t.Errorf("answer: %v", err)
			}
		})
	}
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
	report, err := check.Run(w.t.Context(), w.Env)
	if err != nil {
		w.t.Fatal(err)
	}
	found := map[string]check.Result{}
	for _, r := range report.Checks {
		found[r.Name] = r
		if r.Seen == "" || r.Proves == "" || (r.Do == "") != (r.State == check.OK) {
			w.t.Errorf("incomplete result: %+v", r)
		}
		if strings.Contains(fmt.Sprint(r), secretKey) || strings.Contains(fmt.Sprint(r), "eJ") {
			w.t.Errorf("%s shows a secret: %+v", r.Name, r)
		}
	}
	if worst := worst(report.Checks); report.State != worst {
		w.t.Errorf("got the state %s, want %s", report.State, worst)
	}
	return found
}

// places are the places with a world in which all holds.
var places = map[string]func(w *world){
	"local":    func(*world) {},
	"function": (*world).inFunction,
	"HTTP": func(w *world) {
		w.inFunction()
		w.Place, w.Platform.TimeLimit = check.HTTP, 30*time.Second
	},
}

// Each check runs in some place and is ok where all holds, and nothing is left.
func TestRun_AllHolds(t *testing.T) {
	ran := map[string]bool{}
	for name, set := range places {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				set(w)
				start := time.Now()
				for _, r := range w.run() {
					ran[r.Name] = true
					if r.State != check.OK {
						t.Errorf("got %+v", r)
					}
				}
				if took := time.Since(start); w.Place == check.HTTP && took > 20*time.Second {
					t.Errorf("it took %v, and a request over HTTP has 26 s", took)
				}
				w.checkClean()
				if n := w.service.Stats().Created; n != 0 {
					t.Errorf("%d groups were created", n)
				}
			})
		})
	}
	for _, c := range check.Checks() {
		if !ran[c.Name] {
			t.Errorf("%s runs nowhere", c.Name)
		}
	}
}

// checkClean checks that nothing of a check is left in the store.
func (w *world) checkClean() {
	w.t.Helper()
	synctest.Wait()
	if left := w.store.Snapshot(); len(left) > 0 || w.store.Uploads() > 0 {
		w.t.Errorf("left behind: %v and %d uploads", slices.Sorted(maps.Keys(left)), w.store.Uploads())
	}
}

// Every key that a check writes is an output: it starts no import. Over HTTP it is one that the door's role may write.
func TestRun_WritesOutputsOnly(t *testing.T) {
	for name, set := range places {
		for _, prefix := range []string{"", "exports/", "a/b/"} {
			t.Run(name+" "+prefix, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					set(w)
					w.Prefix = prefix
					folder := results.CheckFolder(prefix)
					if w.Place == check.HTTP {
						folder = results.ResponsesFolder(prefix)
					}
					w.store.Fail = func(op blobtest.Op) blobtest.Fault {
						if !strings.HasPrefix(op.Key, folder) || op.Method != blobtest.List && !results.IsOutput(op.Key) {
							t.Errorf("%s of %q", op.Method, op.Key)
						}
						return blobtest.Fault{}
					}
					w.run()
				})
			})
		}
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

	written func(ctx context.Context, key string) // called after each Put
}

// A versioned store has had versioning.
type versioned struct{ *store }

func (versioned) CheckVersioning(context.Context) error { return errors.New("versioning is Suspended") }

// forgetful returns a store of the same objects in which two can have the same lease: its list misses leases, and its
// conditional writes replace objects.
func (s *store) forgetful() *store {
	lost := &store{Bucket: s.Bucket, list: func() bool { return false }}
	lost.create = func(ctx context.Context, key string, data []byte) error {
		return s.Bucket.Put(ctx, key, bytes.NewReader(data))
	}
	return lost
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
	if err := s.Bucket.Put(ctx, key, bytes.NewReader(data)); err != nil {
		return err
	}
	if s.written != nil {
		s.written(ctx, key)
	}
	return nil
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
		if err := s.remove(key); err != nil {
			if errors.Is(err, errIgnored) {
				return nil
			}
			return err
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
		{"bucket range", check.Failed, "earlier version returned", "If-Match is ignored", func(_ *world, s *store) {
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
		{"bucket range", check.Warning, "may not write", "writes are denied", func(_ *world, s *store) {
			s.put = func(string, []byte) error { return fs.ErrPermission }
		}},
		{"bucket list", check.Warning, "can be listed", "writes are denied", func(_ *world, s *store) {
			s.put = func(string, []byte) error { return fs.ErrPermission }
		}},
		{"bucket delete", check.OK, "nothing of this check", "each delete takes 2 s", func(_ *world, s *store) {
			s.remove = func(string) error { time.Sleep(2 * time.Second); return nil }
		}},
		{"bucket delete", check.Warning, "not all of this check was removed", "the marker stays", func(_ *world, s *store) {
			s.remove = func(key string) error {
				if strings.HasSuffix(key, "-running") {
					return fs.ErrPermission
				}
				return nil
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
		{"im clock", check.Failed, "20m0.", "the clock is wrong", func(w *world, _ *store) {
			w.Transport = w.dated(20 * time.Minute)
		}},
		{"im clock", check.Warning, "59.", "the clock is late", func(w *world, _ *store) {
			w.Transport = w.dated(-time.Minute)
		}},
		{"im clock", check.OK, "ms at most", "the clocks agree", func(w *world, _ *store) { w.inFunction() }},
		{"im clock", check.OK, "2.", "a clock on a laptop is ahead", func(w *world, _ *store) {
			w.Transport = w.dated(2 * time.Second)
		}},
		{
			"im clock", check.Warning, "by 1.5s to", "instances share their rate by clocks that differ",
			func(w *world, _ *store) {
				w.inFunction()
				w.Transport = w.dated(1500 * time.Millisecond)
			},
		},
		{"im clock", check.Warning, "no readable Date", "a response without a date", func(w *world, _ *store) {
			w.Transport = w.service
		}},
		{"im access", check.Failed, "code 7", "another key", func(w *world, _ *store) { w.Config.SecretKey = "another" }},
		{"im access", check.Failed, "TIM_ADMIN", "no administrator", func(w *world, _ *store) {
			w.service.Faults.Plan = func(emulator.Request) emulator.Fault { return 60010 }
		}},
		{"im access", check.Failed, "HTTP 502", "a proxy has no service behind it", func(w *world, _ *store) {
			w.Transport = transport(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusBadGateway, Body: http.NoBody, Request: r}, nil
			})
		}},
		{"im latency", check.OK, "over 10 look-ups", "a low rate", func(w *world, _ *store) { w.Config.Rate = 0.5 }},
		{"im commands", check.OK, "import_group", "the lowest rate", func(w *world, _ *store) { w.Config.Rate = 0.1 }},
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
		{"im addresses", check.Failed, "IPv4 does not connect", "no route", func(w *world, _ *store) {
			w.Dial = w.dial(func(string, string) error { return errors.New("no route to host") })
		}},
		{"im addresses", check.Warning, "IPv6 does not connect", "no route for IPv6", func(w *world, _ *store) {
			w.Dial = w.dial(func(network, _ string) error {
				if network == "tcp6" {
					return errors.New("no route to host")
				}
				return nil
			})
		}},
		{"im addresses", check.OK, "no address of IPv6", "no IPv6 addresses", func(w *world, _ *store) {
			w.Dial = w.dial(func(network, _ string) error {
				if network == "tcp6" {
					return &net.DNSError{Err: "no such host"}
				}
				return nil
			})
		}},
		{"im commands", check.Failed, "10007", "the account may not import", func(w *world, _ *store) {
			w.onImport(`{"ActionStatus":"FAIL","ErrorCode":10007,"ErrorInfo":"no permission"}`)
		}},
		{"im commands", check.Failed, "10026", "the command is not enabled", func(w *world, _ *store) {
			w.onImport(`{"ActionStatus":"FAIL","ErrorCode":10026,"ErrorInfo":"disabled"}`)
		}},
		{"im commands", check.Warning, "10002", "the service has internal errors", func(w *world, _ *store) {
			w.onImport(`{"ActionStatus":"FAIL","ErrorCode":10002,"ErrorInfo":"internal"}`)
		}},
		{"im commands", check.Failed, "unreadable", "a proxy responds", func(w *world, _ *store) {
			w.onImport(`<html>`)
		}},
		{"rate", check.Failed, "together 205", "the rates of the deployment are above the limit", func(w *world, _ *store) {
			w.Config.Rate, w.Config.OtherRates = 195, 10
		}},
		{"rate", check.Failed, "together 205", "the rates of members are above the limit", func(w *world, _ *store) {
			w.Config.Rate, w.Config.MemberRate, w.Config.OtherRates = 10, 195, 10
		}},
		{"rate", check.Warning, "the service allows 200", "the rate is above the limit", func(w *world, _ *store) {
			w.Config.Rate, w.Config.OtherRates = 250, 0
		}},
		{"export custom fields", check.Warning, "not checked", "an export has custom fields", func(w *world, _ *store) {
			w.Sample.CustomFields = []string{"department"}
		}},
		{"bucket versioning", check.Failed, "Suspended", "the bucket had versioning", func(w *world, s *store) {
			w.Bucket = versioned{s}
		}},
		{
			"bucket lease", check.Failed, "two owners", "leases are lost", func(w *world, s *store) { w.Bucket = s.forgetful() },
		},
		{"function memory", check.Failed, "32 MB", "too little memory", func(w *world, _ *store) { w.Platform.Memory = 32 }},
		{
			"function memory", check.Warning, "does not tell", "unknown memory",
			func(w *world, _ *store) { w.Platform.Memory = 0 },
		},
		{"function time", check.Warning, "3s", "the default time limit", func(w *world, _ *store) {
			w.Platform.TimeLimit = 3 * time.Second
		}},
		{"function deadline", check.Warning, "sent none", "no deadline", func(w *world, _ *store) {
			w.Platform.HasDeadline = false
		}},
		{"function temporary folder", check.Warning, "no such file", "no temporary folder", func(w *world, _ *store) {
			w.Platform.TempDir = "/nowhere"
		}},
		{"function region", check.Warning, "does not tell", "no region", func(w *world, _ *store) { w.Platform.Region = "" }},
		{"function region", check.Warning, "the bucket in ap-beijing", "two regions", func(w *world, _ *store) {
			w.Platform.BucketRegion = "ap-beijing"
		}},
		{"function role", check.Warning, "no role", "no role", func(w *world, _ *store) {
			w.Platform.Role = func(context.Context) (string, error) { return "", errors.New("the function has no role") }
		}},
		{"function secret", check.Failed, "denied", "the key cannot be read", func(w *world, _ *store) {
			w.Config.SecretKey, w.Config.SecretKeyParameter = "", "/groupimport/secret-key"
			w.Platform.SecretErr = errors.New("access denied to /groupimport/secret-key")
		}},
		{"function cpu", check.Warning, "5 % of a processor", "too small a share", func(w *world, _ *store) {
			w.Platform.CPU = func() (float64, error) { return 0.05, nil }
		}},
		{"function cpu", check.Warning, "not measured", "no measurement", func(w *world, _ *store) {
			w.Platform.CPU = func() (float64, error) { return 0, errors.ErrUnsupported }
		}},
		{"trigger export", check.Warning, "no event", "no trigger", func(_ *world, s *store) { s.written = nil }},
		{"trigger export", check.OK, "escaped: \"exports%2F", "escaped keys", func(w *world, s *store) {
			w.trigger(&triggers{starts: isExport, bucket: s, raw: url.QueryEscape})
		}},
		{"trigger export", check.Failed, "the event said", "keys without what stands behind an &", func(w *world, s *store) {
			w.trigger(&triggers{starts: isExport, bucket: s, raw: func(key string) string {
				return strings.ReplaceAll(strings.ReplaceAll(key, "+", " "), "%20", " ")
			}})
		}},
		{
			"trigger own objects", check.Warning, "which the program wrote", "a trigger without a suffix",
			func(w *world, s *store) {
				w.trigger(&triggers{starts: func(string) bool { return true }, bucket: s})
			},
		},
		{"trigger own objects", check.Warning, "not seen", "no trigger", func(_ *world, s *store) { s.written = nil }},
		{"trigger two invocations", check.Failed, "got the lease", "leases are lost", func(w *world, s *store) {
			w.trigger(&triggers{starts: isExport, bucket: s.forgetful()})
		}},
		{
			"trigger two invocations", check.Failed, "no lists today", "the other instance may not list",
			func(w *world, s *store) {
				w.trigger(&triggers{starts: isExport, bucket: denied{s}})
			},
		},
		{"trigger two invocations", check.Warning, "not seen", "no trigger", func(_ *world, s *store) { s.written = nil }},
	} {
		t.Run(test.check+": "+test.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				for _, subject := range []string{"function", "trigger"} {
					if strings.HasPrefix(test.check, subject) {
						w.inFunction()
					}
				}
				test.set(w, w.s)
				got := w.run()[test.check]
				if got.State != test.want || !strings.Contains(got.Seen, test.seen) {
					t.Errorf("got %+v, want %s with %q", got, test.want, test.seen)
				}
			})
		})
	}
}

// A denied store cannot be listed.
type denied struct{ *store }

func (denied) List(context.Context, string, string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) { yield(blob.Info{}, errors.New("no lists today")) }
}

// onImport makes the service respond to import_group with a body.
func (w *world) onImport(body string) {
	next := w.dated(0)
	w.Transport = transport(func(r *http.Request) (*http.Response, error) {
		resp, err := next(r)
		if err == nil && strings.HasSuffix(r.URL.Path, "/import_group") {
			resp.Body.Close()
			resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}
		return resp, err
	})
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

// Whenever the check is interrupted, it removes what it wrote.
func TestRun_RemovesAfterInterrupts(t *testing.T) {
	for name, set := range places {
		t.Run(name, func(t *testing.T) {
			for n := 0; ; n += 3 {
				isInterrupted := false
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					set(w)
					ctx, cancel := context.WithCancelCause(t.Context())
					interrupt := errors.New("interrupted")
					var operations atomic.Int64
					w.store.Fail = func(blobtest.Op) blobtest.Fault {
						if operations.Add(1) == int64(n) {
							cancel(interrupt)
						}
						return blobtest.Fault{}
					}
					report, err := check.Run(ctx, w.Env)
					isInterrupted = errors.Is(err, interrupt)
					if isInterrupted && report.State == check.OK {
						t.Errorf("interrupted at operation %d, and all is ok", n)
					}
					w.store.Fail = nil
					w.checkClean()
				})
				if n > 0 && !isInterrupted {
					return
				}
			}
		})
	}
}

// An upload that was begun when the check was interrupted is aborted.
func TestRun_AbortsUploadAfterInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		w.Bucket = interrupting{w.s, cancel}
		if _, err := check.Run(ctx, w.Env); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want it interrupted", err)
		}
		w.checkClean()
	})
}

// An interrupting store interrupts the check once an upload has begun.
type interrupting struct {
	*store

	interrupt func()
}

func (s interrupting) UploadPart(ctx context.Context, _, _ string, _ int, _ []byte) (string, error) {
	s.interrupt()
	return "", context.Cause(ctx)
}

func (s interrupting) AbortUpload(ctx context.Context, key, id string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.store.AbortUpload(ctx, key, id)
}

// A check removes what a killed one left an hour ago, and nothing of one that is running.
func TestRun_RemovesWhatAKilledCheckLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, name := range []string{"old", "young"} {
			if err := w.store.Put(t.Context(), results.CheckFolder("exports/")+name, strings.NewReader("x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(59 * time.Minute)
		}
		w.run()
		if left := slices.Collect(maps.Keys(w.store.Snapshot())); len(left) != 1 || !strings.HasSuffix(left[0], "young") {
			t.Errorf("got %v, want the younger object only", left)
		}
	})
}

// Where nothing can be written, one line says so, and no advice is about anything else.
func TestRun_ReadOnly(t *testing.T) {
	for name, set := range places {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				set(w)
				w.s.put = func(string, []byte) error { return fs.ErrPermission }
				w.s.create = func(context.Context, string, []byte) error { return fs.ErrPermission }
				w.s.written = nil
				for name, r := range w.run() {
					isOfStore := strings.HasPrefix(name, "bucket") || strings.HasPrefix(name, "trigger")
					switch {
					case name == "bucket write":
						if r.State != check.Failed || !strings.Contains(r.Seen, "may only read, so nothing was written") {
							t.Errorf("got %+v", r)
						}
					case isOfStore && name != "bucket versioning":
						if r.State != check.Warning || !strings.Contains(r.Seen, "not checked") || r.Do != "see bucket write" {
							t.Errorf("got %+v", r)
						}
					}
				}
				w.checkClean()
			})
		})
	}
}

// A denied or lost request is no fault of the store.
func TestRun_BlamesTheRightOne(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fs.ErrPermission, "the permissions of the bucket"},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, "repeat the check"},
		{io.ErrUnexpectedEOF, "repeat the check"},
		{errors.New("no such condition"), "leases need conditional writes"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.s.create = func(context.Context, string, []byte) error { return tt.err }
			got := w.run()
			for _, name := range []string{"bucket create", "bucket races", "bucket lease"} {
				if r := got[name]; r.State != check.Failed || !strings.Contains(r.Do, tt.want) {
					t.Errorf("%v: got %+v, want %q", tt.err, r, tt.want)
				}
			}
		})
	}
}

// Where a check is killed, its objects and its upload are removed by the next one: at once if the process is known to
// have ended, and else when its marker is old. Those of a check that runs stay.
func TestRun_RemovesWhatAKillLeft(t *testing.T) {
	for _, tt := range []struct {
		isDead bool
		after  time.Duration
		want   bool // removed
	}{
		{true, time.Second, true},
		{false, time.Second, false},
		{false, 4 * time.Minute, false},
		{false, 6 * time.Minute, true},
	} {
		isKilled := true
		step := 7
		if tt.isDead {
			step = 2
		}
		for n := 5; isKilled; n += step {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Owner = "killed"
				killed := &killedStore{store: w.s, left: n}
				w.Bucket = killed
				_, _ = check.Run(t.Context(), w.Env)
				left := len(w.store.Snapshot())
				if isKilled = killed.left < 0; !isKilled {
					return
				}
				if killed.uploadBegan { // the process died before it could write down the ID of the upload
					_ = w.store.AbortUpload(t.Context(), killed.upload, killed.id)
				}
				time.Sleep(tt.after)
				w.Bucket, w.Owner = w.s, "next"
				w.IsDead = func(owner string) bool { return owner == "killed" && tt.isDead }
				for name, r := range w.run() {
					if r.State == check.Failed {
						t.Errorf("killed at operation %d: %s: %+v", n, name, r)
					}
				}
				if tt.want {
					w.checkClean()
				} else if got := len(w.store.Snapshot()); got != left {
					t.Errorf("killed at operation %d: %d objects are left of %d of a check that may run", n, got, left)
				}
			})
		}
	}
}

// A killedStore makes every operation without an effect once so many were made: the process is dead.
type killedStore struct {
	*store

	counting    sync.Mutex // guards left and uploadBegan; uploads begin one after another
	left        int
	uploadBegan bool // by the last operation
	upload, id  string
}

var errKilled = errors.New("killed")

func (s *killedStore) isDead() bool {
	s.counting.Lock()
	defer s.counting.Unlock()
	s.left--
	if s.left >= 0 {
		s.uploadBegan = false
	}
	return s.left < 0
}

func (s *killedStore) Put(ctx context.Context, key string, body io.Reader) error {
	if s.isDead() {
		return errKilled
	}
	return s.store.Put(ctx, key, body)
}

func (s *killedStore) Create(ctx context.Context, key string, data []byte) error {
	if s.isDead() {
		return errKilled
	}
	return s.store.Create(ctx, key, data)
}

func (s *killedStore) Delete(ctx context.Context, key string) error {
	if s.isDead() {
		return errKilled
	}
	return s.store.Delete(ctx, key)
}

func (s *killedStore) CreateUpload(ctx context.Context, key string) (string, error) {
	if s.isDead() {
		return "", errKilled
	}
	var err error
	s.uploadBegan, s.upload = true, key
	s.id, err = s.store.CreateUpload(ctx, key)
	return s.id, err
}

func (s *killedStore) UploadPart(ctx context.Context, key, id string, n int, data []byte) (string, error) {
	if s.isDead() {
		return "", errKilled
	}
	return s.store.UploadPart(ctx, key, id, n, data)
}

func (s *killedStore) CompleteUpload(ctx context.Context, key, id string, tags []string) error {
	if s.isDead() {
		return errKilled
	}
	return s.store.CompleteUpload(ctx, key, id, tags)
}

func (s *killedStore) AbortUpload(ctx context.Context, key, id string) error {
	if s.isDead() {
		return errKilled
	}
	return s.store.AbortUpload(ctx, key, id)
}

// An event that comes after the check has ended leaves nothing, and an event about anything else is none of a check.
func TestAnswer_OtherEvents(t *testing.T) {
	folder := results.CheckFolder("exports/")
	for key, want := range map[string]bool{
		folder + "ABCDEFGHIJ-quiet":                      true, // the object is gone
		folder + "ABCDEFGHIJ-loud a+b%20c&群组.jsonl":      true,
		folder + "ABCDEFGHIJ-seen-loud":                  false, // it would answer itself
		folder + "abc-quiet":                             false,
		"exports/ABCDEFGHIJ-quiet":                       false,
		"elsewhere/.check.import/parts/ABCDEFGHIJ-quiet": false,
		"exports/acme.jsonl":                             false,
	} {
		b := &blobtest.Bucket{}
		got, err := check.Answer(t.Context(), b, "exports/", key, []string{"x", key}, "one")
		if got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", key, got, err, want)
		}
		if left := b.Snapshot(); len(left) > 0 {
			t.Errorf("%s: left behind: %v", key, left)
		}
	}
}

// worst returns the worst state of results.
func worst(all []check.Result) check.State {
	worst := check.OK
	for _, r := range all {
		if r.State == check.Failed || r.State == check.Warning && worst == check.OK {
			worst = r.State
		}
	}
	return worst
}
