package scheduler_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/emulator"
	"groupimport/pkg/importer"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
	"groupimport/pkg/tim"
)

var (
	simSeeds = flag.Int("sim.seeds", 6, "number of seeds of the simulation")
	simFirst = flag.Uint64("sim.first", 0, "first seed")
)

// TestSimulation drops several exports with an event each, lost events and markers among them, and runs a scheduler
// pass every minute. The store and the service fail. Processes are killed, or frozen for longer than a lease lasts. An
// operator pauses and cancels imports and resumes them later. In between no group is created. At the end every record
// of every export has one outcome, no group was created twice, and no second had more calls than the rate.
func TestSimulation(t *testing.T) {
	var total manySim
	seeds := make(chan uint64)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for seed := range seeds {
				t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := newManySim(t, seed)
						s.run()
						s.check()
						total.mu.Lock()
						defer total.mu.Unlock()
						total.kills += s.kills
						total.freezes += s.freezes
						total.lostMarkers += s.lostMarkers
						total.controls, total.checked = total.controls+s.controls, total.checked+s.checked
						total.sizes = append(total.sizes, s.sizes...)
					})
				})
			}
		})
	}
	for n := range *simSeeds {
		seeds <- *simFirst + uint64(n)
	}
	close(seeds)
	workers.Wait()
	t.Logf("%d seeds: %d exports, %d processes killed, %d frozen, %d markers lost, %d imports paused or cancelled, %d of "+
		"them in part", *simSeeds, len(total.sizes), total.kills, total.freezes, total.lostMarkers, total.controls,
		total.checked)
}

// A manySim is a simulated bucket with several exports.
type manySim struct {
	*importertest.World
	seed  uint64
	rand  *rand.Rand // for the scenario
	sizes []int      // records of each export
	fails float64    // share of the operations of store and service that fail

	mu          sync.Mutex
	attempts    map[string]int
	kills       int
	freezes     int
	lostMarkers int
	maxKills    int
	controls    int // imports that were paused or cancelled
	checked     int // of these, imports with some and not all groups
}

func newManySim(t *testing.T, seed uint64) *manySim {
	r := rand.New(rand.NewPCG(seed, 2))
	s := &manySim{World: importertest.New(t), seed: seed, rand: r, attempts: map[string]int{}, maxKills: r.IntN(8)}
	s.Config.OneAtATime, s.Config.Prefix = true, "exports/"
	s.Config.ParallelImports = []int{1, 3, 8}[r.IntN(3)]
	s.fails = []float64{0, 0.01, 0.05}[r.IntN(3)]
	for range 2 + r.IntN(8) {
		s.sizes = append(s.sizes, []int{0, 10, 10, 300, 1500}[r.IntN(5)])
	}
	s.Service.SetFaults(emulator.Faults{Plan: s.serviceFault})
	s.Store.Fail = s.storeFault
	return s
}

func (s *manySim) draw(what ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, what...)
	return rand.New(rand.NewPCG(s.seed, h.Sum64()))
}

func (s *manySim) serviceFault(req emulator.Request) emulator.Fault {
	s.mu.Lock()
	s.attempts[req.Command+req.Name]++
	n := s.attempts[req.Command+req.Name]
	s.mu.Unlock()
	r := s.draw("service", req.Command, req.Name, n)
	if r.Float64() >= s.fails {
		return emulator.None
	}
	return []emulator.Fault{
		emulator.DropBefore, emulator.DropAfter, emulator.Hang, emulator.BadGatewayAfter, emulator.InternalAfter,
	}[r.IntN(5)]
}

func (s *manySim) storeFault(op blobtest.Op) blobtest.Fault {
	if strings.HasSuffix(op.Key, ".jsonl") && op.Method == blobtest.Put {
		return blobtest.Fault{} // the export is dropped
	}
	r := s.draw("store", op.Method, op.Key, op.N)
	f := blobtest.Fault{Delay: time.Duration(r.IntN(50)) * time.Millisecond}
	if strings.Contains(op.Key, "/waiting/") && op.Method == blobtest.Create && s.fails > 0 && r.IntN(4) == 0 {
		s.mu.Lock()
		s.lostMarkers++
		s.mu.Unlock()
		f.Err = errStore
		return f
	}
	if r.Float64() < s.fails {
		f.Err, f.Applied = errStore, r.IntN(2) == 0
		if op.Method == blobtest.Create && f.Applied {
			f.Err = fs.ErrExist
		}
	}
	return f
}

var errStore = errors.New("the store fails")

func (s *manySim) key(n int) string { return fmt.Sprintf("exports/%d.jsonl", n) }

// run drops the exports and runs passes until all are finished.
func (s *manySim) run() {
	var processes sync.WaitGroup
	var operator sync.WaitGroup
	var isResumed atomic.Bool
	operator.Go(func() {
		s.operate()
		isResumed.Store(true)
	})
	for n, size := range s.sizes {
		time.Sleep(time.Duration(s.rand.IntN(4000)) * time.Millisecond)
		s.PutAt(s.key(n), lines(fmt.Sprint(n), size)...)
		if s.rand.IntN(8) > 0 { // otherwise the event is lost
			p := s.process(fmt.Sprint("event ", n))
			processes.Go(func() {
				p.do(func(ctx context.Context, sched *scheduler.Scheduler) {
					sched.HandleEvent(ctx, []string{s.key(n)})
				})
			})
		}
	}
	for n := 0; ; n++ {
		time.Sleep(time.Minute)
		if n > 3*60 {
			s.T.Fatal("not finished after three hours of passes")
		}
		p := s.process(fmt.Sprint("pass ", n))
		processes.Go(func() {
			p.do(func(ctx context.Context, sched *scheduler.Scheduler) {
				_, _ = sched.Pass(ctx, scheduler.Action{Resume: true, Retry: true}) // the next pass tries again
			})
		})
		if isResumed.Load() && s.isFinished() {
			break
		}
	}
	operator.Wait()
	processes.Wait()
}

// operate pauses and cancels imports, and resumes each after some minutes.
func (s *manySim) operate() {
	r := s.draw("operator")
	var all sync.WaitGroup
	for _, n := range r.Perm(len(s.sizes))[:r.IntN(min(4, len(s.sizes)+1))] {
		wait := time.Duration(r.Int64N(int64(30 * time.Second)))
		length := time.Duration(r.Int64N(int64(5 * time.Minute)))
		action := []results.Action{results.Pause, results.Cancel}[r.IntN(2)]
		all.Go(func() {
			time.Sleep(wait)
			for range 60 { // most often until the import is in progress
				if got := s.groupsOf(n); got > 0 && got < s.sizes[n] {
					break
				}
				time.Sleep(time.Second)
			}
			s.control(n, action, length)
		})
	}
	all.Wait()
}

// An import obeys within obeyedWithin, or within obeyedLate if the store or the service fails or a process was frozen
// for the lifetime of its lease.
const (
	obeyedWithin = 6 * time.Second
	obeyedLate   = 2 * time.Minute
)

// control does an action and resumes the import after some time. It checks that no group is created in between.
func (s *manySim) control(n int, a results.Action, length time.Duration) {
	ctx := s.T.Context()
	dir := results.Dir{Bucket: s.Store, Names: results.Names{Export: s.key(n)}}
	_, err := dir.Control(ctx, a, "operator")
	if err == nil {
		s.mu.Lock()
		s.controls++
		s.mu.Unlock()
		time.Sleep(obeyedWithin)
	}
	early := s.groupsOf(n)
	time.Sleep(obeyedLate)
	before := s.groupsOf(n)
	time.Sleep(length)
	s.mu.Lock()
	isSmooth := s.fails == 0 && s.freezes == 0
	s.mu.Unlock()
	if isSmooth {
		before = early
	}
	if after := s.groupsOf(n); err == nil && after != before {
		s.T.Errorf("%s: got %d groups more after %s", s.key(n), after-before, a)
	}
	if err == nil && before > 0 && before < s.sizes[n] {
		s.mu.Lock()
		s.checked++
		s.mu.Unlock()
	}
	for try := 0; ; try++ { // the store may fail
		_, err := dir.Control(ctx, results.Resume, "operator")
		if err == nil || errors.Is(err, results.ErrNotPaused) || errors.Is(err, results.ErrFinished) ||
			errors.Is(err, fs.ErrNotExist) {
			return
		}
		if try > 100 {
			s.T.Errorf("%s: %v", s.key(n), err)
			return
		}
		time.Sleep(10 * time.Second)
	}
}

// groupsOf returns the number of groups of an export.
func (s *manySim) groupsOf(n int) (count int) {
	for g := range s.Service.Groups() {
		if strings.HasPrefix(g.GroupID, fmt.Sprint(n, "-")) {
			count++
		}
	}
	return count
}

// isFinished reports whether all exports are finished and no marker is left.
func (s *manySim) isFinished() bool {
	objects := s.Store.Snapshot()
	for n := range s.sizes {
		dir := results.Dir{Bucket: s.Store.Clone(), Names: results.Names{Export: s.key(n)}}
		m, err := dir.LoadManifest(s.T.Context())
		if err != nil || m.Counts.Failed > 0 || objects[dir.Results()] == nil {
			return false
		}
	}
	return !hasMarker(objects)
}

// check checks the promises.
func (s *manySim) check() {
	s.T.Helper()
	for name, n := range s.Service.Names() {
		if n > 1 && name != "n" {
			s.T.Errorf("%s was created %d times", name, n)
		}
	}
	sum := 0
	for n, size := range s.sizes {
		sum += size
		all := s.Outcomes(results.Names{Export: s.key(n)})
		if len(all) != size {
			s.T.Errorf("%s: got %d outcomes, want %d", s.key(n), len(all), size)
		}
		for i, o := range all {
			if o.N != int64(i+1) || o.GroupID != fmt.Sprintf("%d-%d", n, i+1) ||
				o.Status != outcome.Imported && o.Status != outcome.Exists {
				s.T.Errorf("%s: got %+v at line %d", s.key(n), o, i+1)
			}
		}
	}
	stats := s.Service.Stats()
	if stats.Created != sum {
		s.T.Errorf("got %d groups, want %d", stats.Created, sum)
	}
	if stats.BusiestSecond > importertest.Rate {
		s.T.Errorf("got %d calls in the busiest second, want at most %d", stats.BusiestSecond, importertest.Rate)
	}
	for key := range s.Store.Snapshot() {
		if !strings.HasSuffix(key, ".jsonl") && !results.IsOutput(key) {
			s.T.Errorf("got object %q, which looks like an export", key)
		}
	}
}

// A manyProcess is one invocation. Nothing that it does after its end has an effect.
type manyProcess struct {
	*blobtest.Bucket
	s       *manySim
	ctx     context.Context // the life of the process
	kill    context.CancelFunc
	name    string
	left    atomic.Int64 // operations until it is killed or frozen, negative for never
	freeze  time.Duration
	thawsAt atomic.Int64 // in Unix nanoseconds
}

// process returns a process that may be killed or frozen.
func (s *manySim) process(name string) *manyProcess {
	p := &manyProcess{Bucket: s.Store, s: s, name: name}
	p.ctx, p.kill = context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kills+s.freezes < s.maxKills && s.rand.IntN(2) == 0 {
		p.left.Store(1 + int64(s.rand.ExpFloat64()*200))
		if s.rand.IntN(3) == 0 {
			p.freeze = []time.Duration{5 * time.Second, lease.Lifetime + time.Second, 5 * time.Minute}[s.rand.IntN(3)]
		}
	}
	return p
}

// do calls work with a scheduler of the process.
func (p *manyProcess) do(work func(context.Context, *scheduler.Scheduler)) {
	defer p.kill()
	i := &importer.Importer{Config: p.s.Config, Bucket: p, BucketName: "bucket", Owner: p.name}
	if err := importertest.Dial(i, func(c *tim.Config) { c.Transport = p }); err != nil {
		p.s.T.Error(err)
		return
	}
	timeout := []time.Duration{20 * time.Second, 5 * time.Minute}[p.s.draw("timeout", p.name).IntN(2)]
	ctx, cancel := context.WithTimeout(p.ctx, timeout)
	defer cancel()
	work(ctx, importertest.Scheduler(i))
}

var errKilled = fmt.Errorf("killed: %w", fs.ErrPermission)

// step is one operation, before which the process may be killed or frozen.
func (p *manyProcess) step() error {
	if p.left.Add(-1) == 0 {
		p.s.mu.Lock()
		if p.freeze == 0 {
			p.s.kills++
			p.kill()
		} else {
			p.s.freezes++
			p.thawsAt.Store(time.Now().Add(p.freeze).UnixNano())
		}
		p.s.mu.Unlock()
	}
	time.Sleep(time.Until(time.Unix(0, p.thawsAt.Load())))
	if p.ctx.Err() != nil {
		return errKilled
	}
	return nil
}

// A frozenBody is read once the process is not frozen.
type frozenBody struct {
	io.ReadCloser

	p *manyProcess
}

func (b frozenBody) Read(buf []byte) (int, error) {
	time.Sleep(time.Until(time.Unix(0, b.p.thawsAt.Load())))
	return b.ReadCloser.Read(buf)
}

func (p *manyProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := p.step(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), tim.AttemptTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	r.Body = frozenBody{r.Body, p}
	return p.s.Service.RoundTrip(r)
}

func (p *manyProcess) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := p.step(); err != nil {
		return blob.Info{}, err
	}
	return p.Bucket.Stat(ctx, key)
}

func (p *manyProcess) ReadRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	if err := p.step(); err != nil {
		return buf, blob.Info{}, err
	}
	return p.Bucket.ReadRange(ctx, key, version, off, n, buf)
}

func (p *manyProcess) Create(ctx context.Context, key string, data []byte) error {
	if err := p.step(); err != nil {
		return err
	}
	return p.Bucket.Create(ctx, key, data)
}

func (p *manyProcess) Put(ctx context.Context, key string, body io.Reader) error {
	if err := p.step(); err != nil {
		return err
	}
	return p.Bucket.Put(ctx, key, body)
}

func (p *manyProcess) List(ctx context.Context, prefix, delimiter string) iter.Seq2[blob.Info, error] {
	if err := p.step(); err != nil {
		return func(yield func(blob.Info, error) bool) { yield(blob.Info{}, err) }
	}
	return p.Bucket.List(ctx, prefix, delimiter)
}

func (p *manyProcess) Delete(ctx context.Context, key string) error {
	if err := p.step(); err != nil {
		return err
	}
	return p.Bucket.Delete(ctx, key)
}
