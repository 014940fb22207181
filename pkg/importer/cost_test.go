package importer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/blob/blobtest/versitygw"
	"groupimport/pkg/blob/s3blob"
	"groupimport/pkg/emulator"
	"groupimport/pkg/importer"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/tim"
)

// storeLatency is that of a request to a store.
const storeLatency = 20 * time.Millisecond

// A smallCase is an import of ten records and the requests that it may cost, in groups that overlap.
type smallCase struct {
	name     string
	lines    []string
	rejected bool   // the service rejects one record
	want     string // methods and keys; a comma joins requests that are sent at the same time
	took     time.Duration
}

// smallCases have the reason for each request:
//
//	List                       which lease is the latest, and which objects are beside the export
//	ReadRange                  the version of the export, and all of a small one
//	Create lease               one run at a time, and the proof that no run came before
//	Stat results               no outcomes of an earlier import are overlooked if the list is old
//	Put checkpoint             what is sent without a GroupId is written ahead, and never sent again
//	Stat                       the export was not replaced during the import
//	Put results, failures      the outcomes
//	Create report              the outcomes; Create does not replace an object that the list has missed
//	Put manifest               the results are complete
//	Put progress, mark         for readers, and for a pass of the scheduler that reads nothing else
//	Put checkpoint             how many outcomes there were, should an operator remove the results
//	Put lease                  the next version does not wait for the lease to expire
//
// Two of the requests look superfluous and are not. Without the last Stat, an export that is removed or replaced
// during a small import would be reported as finished (TestImport_ExportRemovedDuringTheRun). Without the last
// checkpoint, an import of which an operator removed everything else would end with records that are all unknown,
// instead of stopping before the first (TestCarry_OnlyCheckpointsLeft).
var smallCases = []smallCase{
	{
		"with GroupIds", withIDs(10), false,
		smallStart + "; Stat; Create .report.html,Put .results.ndjson; Put .import/manifest; " +
			"Put .finished-*,Put .import/progress; Put .import/lease/000001",
		210 * time.Millisecond,
	}, {
		"with GroupIds and a failure", withIDs(10), true,
		smallStart + "; Stat; Create .failures.ndjson,Create .report.html,Put .results.ndjson; Put .import/manifest; " +
			"Put .finished-*,Put .import/progress; Put .import/lease/000001",
		210 * time.Millisecond,
	}, {
		"without GroupIds", withoutIDs(10), false,
		smallStart + "; Put .import/checkpoint/000001; Stat; Create .report.html,Put .results.ndjson; " +
			"Put .import/manifest; Put .finished-*,Put .import/checkpoint/000001,Put .import/progress; " +
			"Put .import/lease/000001",
		230 * time.Millisecond,
	}, {
		"without GroupIds and with a failure", withoutIDs(10), true,
		smallStart + "; Put .import/checkpoint/000001; Stat; " +
			"Create .failures.ndjson,Create .report.html,Put .results.ndjson; " +
			"Put .import/manifest; Put .finished-*,Put .import/checkpoint/000001,Put .import/progress; " +
			"Put .import/lease/000001",
		230 * time.Millisecond,
	},
}

const smallStart = "List .,ReadRange; Create .import/lease/000001,Stat .results.ndjson"

// rejecting makes the service permanently reject the seventh record.
func (w *world) rejecting() {
	w.Service.SetFaults(emulator.Faults{Plan: func(r emulator.Request) emulator.Fault {
		if r.Command == "import_group" && strings.HasSuffix(r.Name, "7") {
			return emulator.Fault(10004)
		}
		return emulator.None
	}})
}

// A requestLog has the requests to a store by the time at which they were sent.
type requestLog struct {
	mu       sync.Mutex
	at       []time.Time
	requests map[time.Time][]string
}

func (l *requestLog) add(op blobtest.Op) blobtest.Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := strings.TrimPrefix(op.Key, simKey)
	if _, _, isMark := results.ParseMark(op.Key); isMark {
		key = ".finished-*"
	}
	now := time.Now()
	if l.requests == nil {
		l.requests = map[time.Time][]string{}
	}
	if len(l.requests[now]) == 0 {
		l.at = append(l.at, now)
	}
	l.requests[now] = append(l.requests[now], strings.TrimSpace(op.Method+" "+key))
	return blobtest.Fault{Delay: storeLatency}
}

// text returns the requests: a comma between those that were sent at the same time.
func (l *requestLog) text() string {
	var all []string
	for _, at := range l.at {
		slices.Sort(l.requests[at])
		all = append(all, strings.Join(l.requests[at], ","))
	}
	return strings.Join(all, "; ")
}

// TestImport_Requests counts the requests of a small import, and takes their time.
func TestImport_Requests(t *testing.T) {
	for _, row := range smallCases {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if row.rejected {
					w.rejecting()
				}
				w.Put(row.lines...)
				var log requestLog
				w.Store.Fail = log.add
				start := time.Now()
				s, err := w.Run(t.Context())
				took := time.Since(start)
				if err != nil || s.State != results.Finished || (s.Counts.Rejected == 1) != row.rejected {
					t.Fatalf("got %+v, %v, want it finished", s, err)
				}
				got := log.text()
				if got != row.want {
					t.Errorf("got the requests\n%s, want\n%s", got, row.want)
				}
				if took > row.took {
					t.Errorf("got an import of %v, want %v at most", took, row.took)
				}
				t.Logf("%d requests, %v", strings.Count(got, ",")+strings.Count(got, ";")+1, took)
			})
		})
	}
}

// TestImport_RequestsOfTheSameVersion imports a finished export again.
func TestImport_RequestsOfTheSameVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withIDs(10)...)
		w.Finish()
		var log requestLog
		w.Store.Fail = log.add
		s, err := w.Run(t.Context())
		const want = "List .,ReadRange; ReadRange .import/manifest; ReadRange .import/progress; Stat .report.html"
		if got := log.text(); err != nil || !s.Already || got != want {
			t.Errorf("got %+v, %v and the requests\n%s, want\n%s", s, err, got, want)
		}
	})
}

// TestImport_RequestsOnS3 counts the HTTP requests of small imports at an S3 server.
func TestImport_RequestsOnS3(t *testing.T) {
	server := versitygw.Start(t)
	server.MakeBucket("bucket")
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var requests []string
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
		mu.Lock()
		defer mu.Unlock()
		requests = append(requests, r.In.Method+" "+r.In.URL.Path)
	}})
	t.Cleanup(proxy.Close)
	bucket, err := s3blob.Open(func(name string) string {
		if name == "AWS_ENDPOINT_URL_S3" {
			return proxy.URL
		}
		return server.Getenv(name)
	}, "bucket", nil)
	if err != nil {
		t.Fatal(err)
	}
	for n, row := range smallCases {
		w := newWorld(t)
		if row.rejected {
			w.rejecting()
		}
		key := fmt.Sprintf("exports/%d.jsonl", n)
		if err := bucket.Put(t.Context(), key, strings.NewReader(strings.Join(row.lines, "\n"))); err != nil {
			t.Fatal(err)
		}
		requests = nil
		i := &importer.Importer{Config: w.Config, Bucket: bucket, BucketName: "bucket"}
		if err := importertest.Dial(i, func(c *tim.Config) { c.Transport = w.Service }); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		s, err := i.Import(t.Context(), key)
		if err != nil || s.State != results.Finished || (s.Counts.Rejected == 1) != row.rejected {
			t.Fatalf("%s: got %+v, %v, want it finished", row.name, s, err)
		}
		mu.Lock()
		got, want := len(requests), strings.Count(row.want, ",")+strings.Count(row.want, ";")+1
		if time.Since(start) < time.Second && got > want { // after a second it writes the progress
			t.Errorf("%s: got %d requests, want %d:\n%s", row.name, got, want, strings.Join(requests, "\n"))
		}
		t.Logf("%s: %d requests", row.name, got)
		mu.Unlock()
	}
}

// A mortal is a process that is killed at one of its requests to the store or the service.
type mortal struct {
	*importertest.World

	mu      sync.Mutex
	left    int  // requests until it is killed; negative means never
	applied bool // the request at which it is killed has its effect
	dead    bool
	die     context.CancelFunc
}

// step counts a request. It reports whether the request is lost before it has an effect, and whether it is the last.
func (m *mortal) step() (lost, last bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return true, false
	}
	m.left--
	if m.left != 0 {
		return false, false
	}
	m.dead = true
	m.die()
	return !m.applied, true
}

func (m *mortal) storeFault(blobtest.Op) blobtest.Fault {
	lost, last := m.step()
	if lost || last {
		return blobtest.Fault{Err: blob.Permanent(errKilled), Applied: !lost}
	}
	return blobtest.Fault{}
}

func (m *mortal) RoundTrip(r *http.Request) (*http.Response, error) {
	lost, last := m.step()
	if lost {
		return nil, errKilled
	}
	resp, err := m.Service.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
	if last {
		return nil, errKilled
	}
	return resp, err
}

// changed passes on the changes of the process until it is killed.
func (m *mortal) changed(c importer.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dead && m.OnChange != nil {
		m.OnChange(c)
	}
}

// run imports until the process is killed or the run ends. It reports whether the process was killed.
func (m *mortal) run() (killed bool) {
	m.T.Helper()
	ctx, cancel := context.WithCancel(m.T.Context())
	defer cancel()
	m.die = cancel
	m.Store.Fail = m.storeFault
	defer func() { m.Store.Fail = nil }()
	i := &importer.Importer{Config: m.Config, Bucket: m.Store, BucketName: "bucket", OnChange: m.changed}
	if err := importertest.Dial(i, func(c *tim.Config) { c.Transport = m }); err != nil {
		m.T.Fatal(err)
	}
	if s, err := i.Import(ctx, simKey); !m.dead && (err != nil || s.State != results.Finished) {
		m.T.Fatalf("got %+v, %v, want it finished", s, err)
	}
	return m.dead
}

// TestImport_KilledAtAnyRequest kills the first process, and the second too, at each of its requests, before and after
// the request has its effect.
func TestImport_KilledAtAnyRequest(t *testing.T) {
	for _, row := range smallCases {
		for _, applied := range []bool{false, true} {
			for _, again := range []int{-1, 8, 20, 30, 40} {
				t.Run(fmt.Sprint(row.name, " applied=", applied, " again=", again), func(t *testing.T) {
					isKilled := true
					for at := 1; isKilled; at++ {
						synctest.Test(t, func(t *testing.T) {
							w := newWorld(t)
							if row.rejected {
								w.rejecting()
							}
							w.Put(row.lines...)
							isKilled = (&mortal{World: w.World, left: at, applied: applied}).run()
							time.Sleep(2 * time.Minute) // until the lease has expired
							written := w.Outcomes(simNames)
							(&mortal{World: w.World, left: again, applied: applied}).run()
							time.Sleep(2 * time.Minute)
							w.checkSmall(row, fmt.Sprint("killed at request ", at))
							for n, o := range w.Outcomes(simNames) {
								if n < len(written) && written[n].Status.HasGroup() && !o.Status.HasGroup() {
									t.Errorf("killed at request %d: got %+v, want the written %+v", at, o, written[n])
								}
							}
						})
					}
				})
			}
		}
	}
}

// checkSmall finishes the import and checks that nothing is lost or created twice.
func (w *world) checkSmall(row smallCase, when string) {
	w.T.Helper()
	s := w.Finish()
	for name, made := range w.Service.Names() {
		if made > 1 {
			w.T.Errorf("%s: %s was created %d times", when, name, made)
		}
	}
	got := w.Outcomes(simNames)
	if len(got) != len(row.lines) {
		w.T.Fatalf("%s: got %d outcomes, want %d", when, len(got), len(row.lines))
	}
	var counts outcome.Counts
	for n, o := range got {
		counts.Add(&o)
		exists := w.Service.Names()[fmt.Sprintf("n-%d", n+1)] == 1
		hasID := strings.Contains(row.lines[n], "GroupId")
		isRight := o.Status.HasGroup() && exists || o.Status == outcome.Rejected && !exists ||
			o.Status == outcome.Unknown && !hasID
		if o.N != int64(n+1) || !isRight {
			w.T.Errorf("%s: got %+v, and the group exists: %v", when, o, exists)
		}
	}
	if counts != s.Counts || counts != s.Manifest.Counts {
		w.T.Errorf("%s: got counts %+v, want %+v", when, s.Counts, counts)
	}
	letters := strings.Count(string(w.Store.Object(simNames.Failures())), "\n")
	if int64(letters) != counts.Missing() {
		w.T.Errorf("%s: got %d lines of the dead-letter file, want %d", when, letters, counts.Missing())
	}
	if _, ok := w.Store.Snapshot()[simNames.Report()]; !ok {
		w.T.Errorf("%s: there is no report", when)
	}
	if again, err := w.Run(w.T.Context()); err != nil || !again.Already {
		w.T.Errorf("%s: got %+v, %v, want nothing left to do", when, again, err)
	}
}

// A blind bucket lists nothing below a prefix, as a store may that lists new objects late.
type blind struct {
	*blobtest.Bucket

	prefix string
}

func (b blind) List(ctx context.Context, prefix, delimiter string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range b.Bucket.List(ctx, prefix, delimiter) {
			if (err != nil || !strings.HasPrefix(info.Key, b.prefix)) && !yield(info, err) {
				return
			}
		}
	}
}

// TestImport_OldList imports an export whose list omits all objects beside it.
func TestImport_OldList(t *testing.T) {
	const foreign = "of another program"
	for name, row := range map[string]struct {
		before func(w *world) // makes the objects that exist before the import
		check  func(w *world, s importer.Summary, err error) bool
	}{
		"finished before": {func(w *world) { w.Finish() }, func(_ *world, s importer.Summary, err error) bool {
			return err == nil && s.Already
		}},
		"interrupted before": {func(w *world) {
			(&mortal{World: w.World, left: 10}).run()
			time.Sleep(2 * time.Minute)
		}, func(_ *world, s importer.Summary, err error) bool {
			return err == nil && s.State == results.Finished && s.Counts.Unknown > 0 // of those that may have been sent
		}},
		"finished before, without its work folder": {func(w *world) {
			w.Finish()
			for key := range w.Store.Snapshot() {
				if strings.HasPrefix(key, simNames.Work()) {
					w.delete(key)
				}
			}
		}, func(_ *world, s importer.Summary, err error) bool {
			return err == nil && s.State == results.Finished && s.Manifest.Carry != nil && s.Manifest.Carry.Carried == 10
		}},
		"a report of another program": {
			func(w *world) { w.PutAt(simNames.Report(), foreign) },
			func(w *world, s importer.Summary, err error) bool {
				return err == nil && s.State == results.Finished && string(w.Store.Object(simNames.Report())) == foreign
			},
		},
		"a dead-letter file of another program": {func(w *world) {
			w.rejecting()
			w.PutAt(simNames.Failures(), foreign)
		}, func(w *world, s importer.Summary, err error) bool {
			return err != nil && s.State == results.Stopped && strings.Contains(s.Reason, "move it away") &&
				string(w.Store.Object(simNames.Failures())) == foreign
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Put(withoutIDs(10)...)
				row.before(w)
				i := w.Importer()
				i.Bucket = blind{w.Store, simKey + "."}
				s, err := i.Import(t.Context(), simKey)
				if !row.check(w, s, err) {
					t.Errorf("got %+v, %v", s, err)
				}
				for name, made := range w.Service.Names() {
					if made > 1 {
						t.Errorf("%s was created %d times", name, made)
					}
				}
			})
		})
	}
}

func (w *world) delete(key string) {
	w.T.Helper()
	if err := w.Store.Delete(w.T.Context(), key); err != nil {
		w.T.Fatal(err)
	}
}

// TestImport_ResultsNotWritable lets the store refuse the results of a small import, or not respond: the outcomes must
// then be durable as a part.
func TestImport_ResultsNotWritable(t *testing.T) {
	for name, fault := range map[string]blobtest.Fault{
		"refused":     {Err: errors.New("the store fails")},
		"no response": {Delay: time.Hour, Err: errors.New("the store fails")},
		"once":        {Err: errors.New("the store fails"), Applied: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Put(withoutIDs(10)...)
				w.Store.Fail = func(op blobtest.Op) blobtest.Fault {
					if op.Key == simNames.Results() && op.Method == blobtest.Put && (op.N == 1 || !fault.Applied) {
						return fault
					}
					return blobtest.Fault{}
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				done := make(chan importer.Summary)
				go func() {
					s, _ := w.Run(ctx)
					done <- s
				}()
				time.Sleep(5 * time.Second)
				part := string(w.Store.Snapshot()[simNames.Work()+"parts/000001-000001"])
				if lines := strings.Count(part, "\n"); lines != 10 && !fault.Applied {
					t.Errorf("got %d outcomes in a part after 5 s, want 10", lines)
				}
				s := <-done
				if (s.State == results.Finished) != fault.Applied {
					t.Errorf("got %+v after %v, want it finished: %v", s, time.Since(start), fault.Applied)
				}
				w.Store.Fail = nil
				time.Sleep(2 * time.Minute)
				if s := w.Finish(); s.Counts.Imported != 10 || w.Service.Stats().Imports != 10 {
					t.Errorf("got %+v and %d calls, want 10 imported by 10", s.Counts, w.Service.Stats().Imports)
				}
			})
		})
	}
}

// TestImport_ProgressOfTheFirstRun looks at an import before its first outcome is durable.
func TestImport_ProgressOfTheFirstRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withoutIDs(3000)...)
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.Finish()
		}()
		for _, row := range []struct {
			after time.Duration
			died  int // of the progress; negative without progress
		}{{500 * time.Millisecond, -1}, {1500 * time.Millisecond, 1}, {5 * time.Second, 0}} {
			time.Sleep(row.after - time.Since(synctestEpoch))
			p, err := w.Dir(simKey).LoadProgress(t.Context())
			isRight := p.State == results.Running && p.Died == row.died && time.Now().Before(p.Until)
			if row.died < 0 {
				isRight = errors.Is(err, fs.ErrNotExist)
			}
			if !isRight {
				t.Errorf("after %v: got %+v, %v, want %d runs that died", row.after, p, err, row.died)
			}
		}
		<-done
	})
}

// TestImport_ProgressWithoutAnOutcome lets the service throttle every call: readers must not take the run for dead.
func TestImport_ProgressWithoutAnOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withIDs(100)...)
		w.Service.SetFaults(emulator.Faults{Plan: func(emulator.Request) emulator.Fault { return emulator.Fault(60018) }})
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = w.Run(ctx)
		}()
		for range 10 {
			time.Sleep(20 * time.Second)
			if p, err := w.Dir(simKey).LoadProgress(t.Context()); err != nil || p.State != results.Running ||
				time.Now().After(p.Until) || p.Died != 1 {
				t.Errorf("got %+v, %v, want a run in progress without an outcome", p, err)
			}
		}
		<-done
	})
}

// killedAfter kills the first run of a small import without GroupIds once it has written the object at key.
func (w *world) killedAfter(key string) {
	w.T.Helper()
	w.Put(withoutIDs(10)...)
	m := &mortal{World: w.World, left: -1, applied: true}
	ctx, cancel := context.WithCancel(w.T.Context())
	defer cancel()
	m.die = cancel
	i := w.Importer()
	i.Bucket = killing{w.Store, key, m}
	w.Store.Fail = m.storeFault
	s, err := i.Import(ctx, simKey)
	if _, ok := w.Store.Snapshot()[key]; !ok || !m.dead {
		w.T.Fatalf("got %+v, %v, want it killed after it has written %q", s, err, key)
	}
	w.Store.Fail = nil
	time.Sleep(2 * time.Minute)
}

// A killing bucket kills a process once an object is written.
type killing struct {
	*blobtest.Bucket

	key     string
	process *mortal
}

func (k killing) Put(ctx context.Context, key string, body io.Reader) error {
	err := k.Bucket.Put(ctx, key, body)
	if key == k.key {
		k.process.mu.Lock()
		k.process.dead = true
		k.process.mu.Unlock()
		k.process.die()
	}
	return err
}

// TestImport_CorrectedAfterAKill drops another version of an export whose first run was killed after it had written the
// results, before the manifest.
func TestImport_CorrectedAfterAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.killedAfter(simNames.Results())
		w.Put(withoutIDs(11)...)
		if s := w.Finish(); s.Counts.Imported != 11 || s.Manifest.Carry.Carried != 10 || w.Service.Stats().Imports != 11 {
			t.Errorf("got %+v and %d calls, want 10 outcomes carried over and one call more", s.Counts,
				w.Service.Stats().Imports)
		}
	})
}

// TestImport_OtherSettingsAfterAKill imports with another limit after the first run was killed between its manifest and
// its last checkpoint.
func TestImport_OtherSettingsAfterAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.killedAfter(simNames.Manifest())
		w.Config.Limits.Name++
		if s := w.Finish(); s.Counts.Imported != 10 || s.Manifest.Carry == nil || w.Service.Stats().Imports != 10 {
			t.Errorf("got %+v and %d calls, want the outcomes carried over", s.Counts, w.Service.Stats().Imports)
		}
	})
}

// TestImport_CountsTheRunsThatDied kills runs before their first outcome.
func TestImport_CountsTheRunsThatDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withIDs(40)...)
		for died := range 4 {
			p, err := w.Dir(simKey).LoadProgress(t.Context())
			if died > 1 && (err != nil || p.Died != died) {
				t.Errorf("got %+v, %v after %d runs that died", p, err, died)
			}
			if !(&mortal{World: w.World, left: 17}).run() {
				t.Fatal("got a run that ended, want it killed")
			}
			time.Sleep(2 * time.Minute)
		}
	})
}

// TestImport_ManyRunsWithoutACheckpoint resumes an import that was interrupted, after many runs that found no mapping.
func TestImport_ManyRunsWithoutACheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withoutIDs(3000)...)
		w.within(12 * time.Second)
		created := w.Service.Stats().Imports
		for range 300 {
			time.Sleep(time.Minute)
			l, err := lease.Acquire(t.Context(), w.Store, simNames.Work(), "a run that ends early", nil)
			if err == nil {
				err = l.Release(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		asked := 0
		w.Store.Fail = func(op blobtest.Op) blobtest.Fault {
			if op.Method == blobtest.ReadRange && strings.Contains(op.Key, "/checkpoint/") {
				asked++
			}
			return blobtest.Fault{}
		}
		if s := w.Finish(); s.Counts.Imported != 3000 || w.Service.Stats().Imports != 3000 || created == 0 {
			t.Errorf("got %+v and %d calls, want 3000 imported by 3000", s.Counts, w.Service.Stats().Imports)
		}
		if asked > 62 {
			t.Errorf("asked for %d checkpoints, want those of the last hour and the latest", asked)
		}
	})
}

// TestImport_RequestsInAFolder lists the work folder alone: a folder may have many exports.
func TestImport_RequestsInAFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(withIDs(10)...)
		var log requestLog
		w.Store.Fail = log.add
		i := w.Importer()
		i.Folder = "folder"
		s, err := i.Import(t.Context(), simKey)
		const want = "List .import/,ReadRange; Create .import/lease/000001,Stat .failures.ndjson,Stat .report.html," +
			"Stat .results.ndjson; Stat; Put .report.html,Put .results.ndjson; Put .import/manifest; " +
			"Put .finished-*,Put .import/progress; Put .import/lease/000001"
		if got := log.text(); err != nil || s.State != results.Finished || got != want {
			t.Errorf("got %+v, %v and the requests\n%s, want\n%s", s, err, got, want)
		}
	})
}

// TestImport_ForeignOutputInAFolder finds an object of another program before it sends anything.
func TestImport_ForeignOutputInAFolder(t *testing.T) {
	for _, key := range []string{simNames.Results(), simNames.Failures(), simNames.Report()} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.Put(withIDs(10)...)
			w.PutAt(key, "of another program")
			i := w.Importer()
			i.Folder = "folder"
			s, err := i.Import(t.Context(), simKey)
			if err == nil || !strings.Contains(err.Error(), "move it away") || w.Service.Stats().Imports != 0 {
				t.Errorf("%s: got %+v, %v and %d calls, want an error before the first", key, s, err, w.Service.Stats().Imports)
			}
		})
	}
}
