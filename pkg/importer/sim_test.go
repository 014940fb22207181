package importer_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/config"
	"groupimport/pkg/emulator"
	"groupimport/pkg/group"
	"groupimport/pkg/importer"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/tim"
)

var (
	simSeeds   = flag.Int("sim.seeds", 60, "how many seeds the simulation runs")
	simVerbose = flag.Bool("sim.verbose", false, "log what the processes log")
	simFirst   = flag.Uint64("sim.first", 0, "the first of them")
)

// TestSimulation imports exports against a service and a store that both fail in every way, in
// processes that are killed or frozen at any instant and started again, two at once, with events delivered twice,
// until the import is finished. Then it checks the promises. Between runs, a lifecycle rule removes old leases.
func TestSimulation(t *testing.T) {
	var records, kills, freezes, unknown, runs, added int
	var lacking int64
	var mu sync.Mutex
	seeds := make(chan uint64)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for seed := range seeds {
				t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := newSim(seed)
						s.run(t)
						s.check(t)
						mu.Lock()
						defer mu.Unlock()
						records += len(s.records)
						kills += s.kills
						freezes += s.freezes
						unknown += s.unknown
						runs += s.runs
						added += s.service.Stats().Members
						lacking += s.lacking
					})
				})
			}
		})
	}
	for n := range *simSeeds {
		seeds <- *simFirst + uint64(n)
	}
	close(seeds)
	wg.Wait()
	t.Logf("%d seeds: %d records, %d runs, %d of them killed, %d frozen, %d records unknown, %d members added, "+
		"%d groups lack members", *simSeeds, records, runs, kills, freezes, unknown, added, lacking)
}

// A simRecord is what the export holds and what must become of it.
type simRecord struct {
	line   string
	name   string
	id     string
	broken bool
	left   bool // by the mapping

	members []string // accounts of the list of members, or the one of a member record
	of      string   // GroupId of a member record
}

// render writes the line of a record in import_group's format.
func (r *simRecord) render() {
	var b strings.Builder
	switch {
	case r.left:
		b.WriteString(`{"left":true`)
	case r.of != "":
		fmt.Fprintf(&b, `{"GroupId":"%s","Member_Account":"%s"`, r.of, r.members[0])
	case r.broken:
		fmt.Fprintf(&b, `{"Type":"Publik","Name":"%s"`, r.name)
	case r.id != "":
		fmt.Fprintf(&b, `{"Type":"Public","Name":"%s","GroupId":"%s","CreateTime":1400000000`, r.name, r.id)
	default:
		fmt.Fprintf(&b, `{"Type":"Public","Name":"%s"`, r.name)
	}
	for i, account := range r.members {
		if r.of != "" {
			break
		}
		sep := ","
		if i == 0 {
			sep = `,"MemberList":[`
		}
		late := ""
		if strings.HasPrefix(account, "late-") {
			late = `,"JoinTime":9999999999`
		}
		fmt.Fprintf(&b, `%s{"Member_Account":"%s"%s}`, sep, account, late)
		if i == len(r.members)-1 {
			b.WriteString("]")
		}
	}
	b.WriteString("}")
	r.line = b.String()
}

// simMembers returns up to 45 accounts. Some do not exist, and some join in the future.
func simMembers(r *rand.Rand) []string {
	var all []string
	for n := range 1 + r.IntN(45) {
		switch {
		case r.Float64() < 0.01:
			all = append(all, fmt.Sprintf("none-%d", n))
		case r.Float64() < 0.01:
			all = append(all, fmt.Sprintf("late-%d", n))
		default:
			all = append(all, fmt.Sprintf("m-%d", n))
		}
	}
	return all
}

// A sim is one simulated import.
type sim struct {
	seed    uint64
	rand    *rand.Rand // for the scenario; each fault has a source of its own, see draw, so that a seed repeats
	key     string
	mapping string
	records []simRecord
	before  int64 // lines before the first record
	text    []byte
	assign  bool
	store   *blobtest.Bucket
	service *emulator.Service

	storeFails   float64 // share of the store's operations that fail
	serviceFails float64 // share of the service's requests that fail
	throttled    float64

	form        simForm
	replacing   int  // how often another version of the export is still to be dropped
	uncertain   bool // a version was replaced while the sent records were not known: the operator set CREATE_UNMATCHED
	uncertainty int  // records that were created twice because of CREATE_UNMATCHED

	kills   int
	freezes int // processes that were frozen for a while
	broke   int // runs that ended with an error, because the store failed: as good as killed
	runs    int
	unknown int
	lacking int64           // groups that lack members
	killed  map[string]bool // owners of leases

	mu       sync.Mutex
	attempts map[string]int // by record, so that each attempt has a fault of its own
}

func newSim(seed uint64) *sim {
	r := rand.New(rand.NewPCG(seed, 1))
	s := &sim{seed: seed, rand: r, killed: map[string]bool{}, attempts: map[string]int{}}
	withID := []float64{0, 0.5, 1}[r.IntN(3)]
	s.assign = r.IntN(4) == 0
	s.storeFails = []float64{0, 0.02, 0.1}[r.IntN(3)]
	s.serviceFails = []float64{0, 0.01, 0.1}[r.IntN(3)]
	s.throttled = []float64{0, 0, 0.01}[r.IntN(3)]
	form := simForms[r.IntN(len(simForms))]
	s.key = "exports/acme" + form.ending
	s.form = form
	s.replacing = []int{0, 0, 1, 2}[r.IntN(4)]
	if form.mapped {
		s.mapping = `if .left then skip("so")
			else {Type, Name: .title, GroupId, CreateTime} | with_entries(select(.value != null)) end`
	}
	withMembers := 0.0 // share of the records that have members
	if form.hasMembers {
		withMembers = []float64{0, 0.1, 0.9}[r.IntN(3)]
	}
	for n := range 200 + r.IntN(1500) {
		rec := simRecord{name: fmt.Sprintf("n-%d", n+1)}
		switch {
		case r.Float64() < 0.01:
			rec.broken = true
		case form.mapped && r.Float64() < 0.1:
			rec.left = true
		case r.Float64() < withID:
			rec.id = fmt.Sprintf("g-%d", n+1)
		}
		if r.Float64() < withMembers && !rec.left {
			rec.members = simMembers(r)
		}
		rec.render()
		s.records = append(s.records, rec)
		for withMembers > 0 && rec.id != "" && r.Float64() < 0.3 {
			one := simRecord{of: rec.id, members: []string{fmt.Sprintf("one-%d", r.IntN(100))}}
			one.render()
			s.records = append(s.records, one)
		}
	}
	s.text = form.write(s.records)
	s.before = form.before
	s.service = &emulator.Service{
		SDKAppID: simApp, Key: simSign, Latency: time.Duration(5+r.IntN(200)) * time.Millisecond,
		Jitter: 20 * time.Millisecond,
		Faults: emulator.Faults{Plan: s.serviceFault}, OnlyAccounts: true,
	}
	s.service.AddAccounts("another-0", "another-1")
	for n := range 100 {
		s.service.AddAccounts(fmt.Sprint("m-", n), fmt.Sprint("late-", n), fmt.Sprint("one-", n))
	}
	s.store = &blobtest.Bucket{Fail: s.storeFault}
	return s
}

// replace drops another version of the export: some records are corrected, some added, some removed.
func (s *sim) replace(t *testing.T) {
	s.replacing--
	var records []simRecord
	for i, rec := range s.records {
		switch r := s.draw("replace", s.replacing, i); {
		case r.Float64() < 0.02:
			continue
		case r.Float64() < 0.02:
			name := fmt.Sprintf("x-%d-%d", s.replacing, i)
			records = append(records, simRecord{name: name}, rec)
			continue
		case len(rec.members) > 0 && rec.of == "" && r.Float64() < 0.1:
			rec.members = append(slices.Clone(rec.members), fmt.Sprint("another-", s.replacing))
		case rec.broken && r.Float64() < 0.5:
			rec.broken = false
		}
		records = append(records, rec)
	}
	for i := range records { // the lines of a mapped form are as the mapping writes them
		records[i].render()
	}
	s.records, s.text = records, s.form.write(records)
	for s.store.Put(t.Context(), s.key, bytes.NewReader(s.text)) != nil { // the user tries again
	}
}

// A simForm is a form in which an export comes.
type simForm struct {
	ending     string
	mapped     bool
	hasMembers bool
	before     int64
	write      func([]simRecord) []byte
}

var simForms = []simForm{
	{".jsonl", false, true, 0, simLines},
	{".jsonl", false, true, 0, simLines},
	{".jsonl.gz", false, true, 0, func(r []simRecord) []byte { return simZip(simLines(r)) }},
	{".json", false, true, 1, simArray},
	{".json.zst", false, false, 1, func(r []simRecord) []byte { return simZstd(simArray(r)) }},
	{".csv", false, false, 1, simRows},
	{".csv.gz", false, false, 1, func(r []simRecord) []byte { return simZip(simRows(r)) }},
	{".csv", false, false, 1, func(r []simRecord) []byte { return simWide(simRows(r)) }},
	{".ndjson", true, false, 0, simForeign},
}

func simLines(records []simRecord) []byte {
	var b bytes.Buffer
	for _, r := range records {
		b.WriteString(r.line + "\n")
	}
	return b.Bytes()
}

func simForeign(records []simRecord) []byte {
	for i, r := range records { // as the mapping writes it
		if r.id != "" {
			records[i].line = fmt.Sprintf(`{"CreateTime":1400000000,"GroupId":"%s","Name":"%s","Type":"Public"}`, r.id, r.name)
		} else if !r.left {
			records[i].line = fmt.Sprintf(`{"Name":"%s","Type":"%s"}`, r.name,
				map[bool]string{false: "Public", true: "Publik"}[r.broken])
		}
	}
	return bytes.ReplaceAll(simLines(records), []byte(`"Name"`), []byte(`"title"`))
}

func simArray(records []simRecord) []byte {
	text := bytes.ReplaceAll(bytes.TrimSuffix(simLines(records), []byte("\n")), []byte("\n"), []byte(",\n"))
	return append(append([]byte("{\"total\":1,\"groups\":[\n"), text...), "],\"next\":[]}"...)
}

func simRows(records []simRecord) []byte {
	b := bytes.NewBufferString("Type;Name;GroupId;CreateTime\r\n")
	for _, r := range records {
		kind, at := "Public", ""
		if r.broken {
			kind = "Publik"
		}
		if r.id != "" {
			at = "1400000000"
		}
		fmt.Fprintf(b, "%s;\"%s\";%s;%s\r\n", kind, r.name, r.id, at)
	}
	return b.Bytes()
}

func simZip(text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(text)
	w.Close()
	return b.Bytes()
}

func simZstd(text []byte) []byte {
	var b bytes.Buffer
	w, _ := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	w.Write(text)
	w.Close()
	return b.Bytes()
}

func simWide(text []byte) []byte {
	wide := []byte("\xff\xfe")
	for _, c := range text {
		wide = append(wide, c, 0)
	}
	return wide
}

// draw returns a random source that depends only on the seed and what.
func (s *sim) draw(what ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, what...)
	return rand.New(rand.NewPCG(s.seed, h.Sum64()))
}

func (s *sim) serviceFault(req emulator.Request) emulator.Fault {
	s.mu.Lock()
	s.attempts[req.Command+req.Name]++
	n := s.attempts[req.Command+req.Name]
	s.mu.Unlock()
	r := s.draw("service", req.Command, req.Name, n)
	if r.Float64() < s.throttled {
		return emulator.Fault([]int{60007, 60011, 60018, 60019, 10006}[r.IntN(5)])
	}
	if r.Float64() >= s.serviceFails {
		return emulator.None
	}
	return []emulator.Fault{
		emulator.DropBefore, emulator.DropAfter, emulator.Hang, emulator.HangAfter, emulator.BadGateway,
		emulator.BadGatewayAfter, emulator.Internal, emulator.InternalAfter, emulator.Garbage, emulator.GarbageAfter,
	}[r.IntN(10)]
}

var errStore = errors.New("the store fails")

func (s *sim) storeFault(op blobtest.Op) blobtest.Fault {
	if op.Seq == 1 {
		return blobtest.Fault{} // the export is put there
	}
	r := s.draw("store", op.Method, op.Key, op.N)
	f := blobtest.Fault{Delay: time.Duration(r.IntN(50)) * time.Millisecond}
	if r.Float64() >= s.storeFails {
		return f
	}
	switch r.IntN(4) {
	case 0:
		f.Delay = time.Duration(r.IntN(5000)) * time.Millisecond
	case 1:
		f.Err = errStore
	case 2:
		f.Err, f.Applied = errStore, true
		if op.Method == blobtest.Create {
			f.Err = fs.ErrExist // sent twice, because the first response was lost
		}
	case 3:
		if op.Method == blobtest.ReadRange {
			switch r.IntN(3) {
			case 0:
				f.CutAfter = int64(1 + r.IntN(20000))
			case 1:
				f.EOFAfter = int64(1 + r.IntN(20000))
			case 2:
				f.HangAfter = int64(1 + r.IntN(20000))
			}
		}
	}
	return f
}

// run starts processes until the import is finished.
func (s *sim) run(t *testing.T) {
	ctx := t.Context()
	if err := s.store.Put(ctx, s.key, bytes.NewReader(s.text)); err != nil {
		t.Fatal(err)
	}
	maxKills := s.rand.IntN(12)
	knowsDead := s.rand.IntN(2) == 0
	finished := 0
	var frozen sync.WaitGroup // processes that the next ones do not wait for
	defer frozen.Wait()
	for n := 0; finished < 2; n++ { // the event comes again after the end
		if n == 400 {
			t.Fatalf("not finished after %d runs", n)
		}
		var both sync.WaitGroup
		replaced := false
		size := float64(len(s.records)) // before they are replaced
		if s.replacing > 0 && s.rand.IntN(3) == 0 {
			replaced, finished = true, 0
			at := time.Duration(s.rand.IntN(12000)) * time.Millisecond
			both.Go(func() {
				time.Sleep(at)
				s.replace(t)
			})
		}
		ends := make(chan results.State, 2)
		for i := range 1 + s.rand.IntN(2) {
			killAfter := int64(0)
			s.mu.Lock()
			kills := s.kills
			s.mu.Unlock()
			if kills < maxKills && s.rand.IntN(3) > 0 {
				killAfter = 1 + int64(s.rand.ExpFloat64()*size/4)
			}
			timeout := []time.Duration{4 * time.Second, time.Minute, 15 * time.Minute}[s.rand.IntN(3)]
			late := time.Duration(s.rand.IntN(2000)) * time.Millisecond * time.Duration(i)
			p := newProcess(s, fmt.Sprintf("process %d.%d", n, i), killAfter)
			if s.rand.IntN(4) == 0 {
				p.freezeAfter.Store(1 + int64(s.rand.ExpFloat64()*size/4))
				p.freezeFor = []time.Duration{
					20 * time.Second, lease.Lifetime + time.Second, 5 * time.Minute, 3 * time.Hour,
				}[s.rand.IntN(4)]
			}
			frozen.Go(func() {
				time.Sleep(late)
				state := p.importExport(t, timeout, knowsDead)
				if p.thaw.Load() == 0 { // otherwise the loop does not wait for it
					ends <- state
				}
				close(p.ended)
			})
			both.Go(func() {
				select {
				case <-p.ended:
				case <-p.frozen:
					time.Sleep(min(p.freezeFor, 2*time.Minute)) // so that the next ones find its lease expired
				}
			})
			s.runs++
		}
		both.Wait()
		close(ends)
		isFinished := false
		for state := range ends {
			isFinished = isFinished || state == results.Finished
		}
		if isFinished && !replaced && s.replacing == 0 {
			finished++
		}
		time.Sleep([]time.Duration{0, time.Second, 10 * time.Minute, 20 * time.Minute}[s.rand.IntN(4)])
		if s.rand.IntN(12) == 0 {
			time.Sleep(30 * time.Hour)
			s.expire(t)
		}
	}
}

// expire removes any of the leases that are older than a day, in any order, as a lifecycle rule may.
func (s *sim) expire(t *testing.T) {
	t.Helper()
	var old []string
	for info, err := range s.store.Clone().List(t.Context(), results.Names{Export: s.key}.Work()+"lease/", "") {
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(info.Modified) > 24*time.Hour && s.rand.IntN(2) == 0 {
			old = append(old, info.Key)
		}
	}
	s.rand.Shuffle(len(old), func(i, j int) { old[i], old[j] = old[j], old[i] })
	for _, key := range old {
		for s.store.Delete(t.Context(), key) != nil { // the rule tries again
		}
	}
}

// A process is one invocation. Once killed nothing of it reaches the store or the service any more.
type process struct {
	*sim
	name   string
	ctx    context.Context // it is the process's life
	die    context.CancelFunc
	budget atomic.Int64 // operations until it is killed; 0 at the start means never
	mortal bool

	ended, frozen chan struct{} // closed when it ends, and when it is frozen

	freezeAfter atomic.Int64 // operations until it is frozen; 0 at the start means never
	freezeFor   time.Duration
	thaw        atomic.Int64 // when it resumes, in Unix nanoseconds; 0 before it was frozen

	errorf func(format string, args ...any) // of the test
	number atomic.Int64                     // of its lease, 0 if it has none
	end    atomic.Int64                     // of its lease as it knows it, in Unix nanoseconds
}

func newProcess(s *sim, name string, killAfter int64) *process {
	p := &process{
		sim: s, name: name, mortal: killAfter > 0, ended: make(chan struct{}), frozen: make(chan struct{}),
	}
	p.ctx, p.die = context.WithCancel(context.Background())
	p.budget.Store(killAfter)
	return p
}

// errKilled is a permanent error for the code under test. Only its end matters, not what it does after the kill.
var errKilled = fmt.Errorf("killed: %w", fs.ErrPermission)

// step is one instant at which the process may be killed. The context it returns ends with the process.
func (p *process) step(ctx context.Context) (context.Context, func(), error) {
	if p.mortal && p.budget.Add(-1) == 0 {
		p.die()
		p.mu.Lock()
		p.kills++
		p.killed[p.name] = true
		p.mu.Unlock()
	}
	if p.freezeFor > 0 && p.freezeAfter.Add(-1) == 0 {
		p.thaw.Store(time.Now().Add(p.freezeFor).UnixNano())
		close(p.frozen)
		p.mu.Lock()
		p.freezes++
		p.mu.Unlock()
	}
	if p.ctx.Err() != nil {
		return nil, nil, errKilled
	}
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(p.ctx, cancel)
	return ctx, func() { p.freeze(); unhook(); cancel() }, nil
}

// freeze returns when the process is not frozen, and reports whether it was. Clocks continue while it is frozen.
func (p *process) freeze() bool {
	wait := time.Until(time.Unix(0, p.thaw.Load()))
	time.Sleep(wait)
	return wait > 0
}

// thawed waits while the process is frozen. What it was about to send then goes out before its timers can stop it.
func (p *process) thawed(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.freeze() {
		ctx = context.WithoutCancel(ctx)
	}
	return context.WithTimeout(ctx, tim.AttemptTimeout)
}

// errFrozen is the end of a connection that was open while the process was frozen.
var errFrozen = errors.New("connection reset by peer")

// isOwner reports an error if the process is about to do something without a lease.
func (p *process) isOwner(what string) {
	if now := time.Now(); p.number.Load() > 0 && now.UnixNano() >= p.end.Load() {
		p.errorf("%s, lease %d: %s at %v, but its lease ended at %v", p.name, p.number.Load(), what,
			now.Format(time.TimeOnly), time.Unix(0, p.end.Load()).UTC().Format(time.TimeOnly))
	}
}

// mayOverwrite reports an error if the process is about to write an object that its successor may have written.
func (p *process) mayOverwrite(ctx context.Context, key string) {
	number := int(p.number.Load())
	work := results.Names{Export: p.key}.Work()
	if number == 0 || strings.HasPrefix(key, work) && strings.Contains(key, fmt.Sprintf("/%06d", number)) {
		return
	}
	if _, err := p.store.Clone().Stat(ctx, lease.Key(work, number+1)); err == nil {
		p.errorf("%s, lease %d: writes %q of its successor", p.name, number, key)
	}
}

// leased notes what the process knows of its lease after it wrote the lease's object.
func (p *process) leased(key string, data []byte, created bool) {
	if !strings.HasPrefix(key, results.Names{Export: p.key}.Work()+"lease/") {
		return
	}
	var l struct {
		Number   int64     `json:"number"`
		Until    time.Time `json:"until"`
		Released bool      `json:"released"`
	}
	if err := json.Unmarshal(data, &l); err != nil {
		p.errorf("%s: %v", key, err)
	}
	switch now := time.Now(); {
	case l.Number == 0:
		p.errorf("%s: %s has no number", key, data)
	case created:
		p.number.Store(l.Number)
		p.end.Store(l.Until.UnixNano())
	case l.Released:
		p.end.Store(now.UnixNano())
	case now.UnixNano() < p.end.Load():
		p.end.Store(l.Until.UnixNano())
	}
}

// A hookedBody calls a function when it was read to its end.
type hookedBody struct {
	io.Reader

	atEnd func()
}

func (h hookedBody) Read(b []byte) (int, error) {
	n, err := h.Reader.Read(b)
	if errors.Is(err, io.EOF) {
		h.atEnd()
	}
	return n, err
}

func (hookedBody) Close() error { return nil }

func (p *process) importExport(t *testing.T, timeout time.Duration, knowsDead bool) results.State {
	defer p.die()
	p.errorf = t.Errorf
	p.mu.Lock()
	uncertain := p.uncertain
	p.mu.Unlock()
	i := &importer.Importer{
		Config: config.Config{
			SDKAppID: simApp, Admin: "administrator", SecretKey: simSign, Endpoint: "https://im.invalid", Rate: simRate,
			Limits: group.DocumentLimits, MaxAttempts: 5, StopShare: 0.5, AssignGroupIDs: p.assign, CreateUnmatched: uncertain,
		},
		Bucket: p, BucketName: "bucket", Owner: p.name, Mapping: p.mapping,
	}
	if *simVerbose {
		i.Log = slog.New(slog.NewTextHandler(t.Output(), nil)).With("process", p.name)
	}
	if knowsDead {
		i.IsDead = func(owner string) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.killed[owner]
		}
	}
	if err := importertest.Dial(i, func(c *tim.Config) { c.Transport = p }); err != nil {
		t.Error(err)
		return ""
	}
	ctx, cancel := context.WithTimeout(p.ctx, timeout)
	defer cancel()
	start := time.Now()
	summary, err := i.Import(ctx, p.key)
	if took := time.Since(start); took > timeout && p.ctx.Err() == nil && p.thaw.Load() == 0 {
		t.Errorf("got an end after %v, want it within %v: %+v, %v", took, timeout, summary, err)
	}
	if *simVerbose {
		t.Logf("%s: %v %+v %v", p.name, time.Now().Format(time.TimeOnly), summary, err)
	}
	if err != nil {
		if _, busy := errors.AsType[*lease.BusyError](err); !busy && p.ctx.Err() == nil {
			p.mu.Lock()
			p.broke++
			p.mu.Unlock()
		}
		return ""
	}
	if strings.Contains(summary.Reason, "CREATE_UNMATCHED") {
		p.mu.Lock()
		p.uncertain = true
		p.mu.Unlock()
	}
	return summary.State
}

func (p *process) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, done, err := p.step(r.Context())
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := p.thawed(ctx)
	defer cancel()
	r = r.WithContext(ctx)
	r.Body = hookedBody{r.Body, func() { p.isOwner("a call") }}
	return p.service.RoundTrip(r)
}

func (p *process) Stat(ctx context.Context, key string) (blob.Info, error) {
	ctx, done, err := p.step(ctx)
	if err != nil {
		return blob.Info{}, err
	}
	defer done()
	p.freeze()
	return p.store.Stat(ctx, key)
}

func (p *process) ReadRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	ctx, done, err := p.step(ctx)
	if err != nil {
		return buf, blob.Info{}, err
	}
	defer done()
	p.freeze()
	return p.store.ReadRange(ctx, key, version, off, n, buf)
}

func (p *process) Create(ctx context.Context, key string, data []byte) error {
	ctx, done, err := p.step(ctx)
	if err != nil {
		return err
	}
	defer done()
	if p.freeze() {
		return errFrozen
	}
	err = p.store.Create(ctx, key, data)
	p.freeze()
	p.leased(key, data, true)
	return err
}

func (p *process) Put(ctx context.Context, key string, body io.Reader) error {
	ctx, done, err := p.step(ctx)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := p.thawed(ctx)
	defer cancel()
	var data bytes.Buffer
	body = hookedBody{io.TeeReader(body, &data), func() { p.mayOverwrite(ctx, key) }}
	err = p.store.Put(ctx, key, body)
	p.freeze()
	if err == nil {
		p.leased(key, data.Bytes(), false)
	}
	return err
}

func (p *process) List(ctx context.Context, prefix, delimiter string) iter.Seq2[blob.Info, error] {
	return p.store.List(ctx, prefix, delimiter)
}

func (p *process) Delete(ctx context.Context, key string) error {
	ctx, done, err := p.step(ctx)
	if err != nil {
		return err
	}
	defer done()
	if p.freeze() {
		return errFrozen
	}
	return p.store.Delete(ctx, key)
}

// checkMember checks the promises for the outcome of a member record.
func (s *sim) checkMember(t *testing.T, o *outcome.Outcome, rec simRecord) {
	t.Helper()
	g, _ := s.service.Group(rec.of)
	isIn := slices.ContainsFunc(g.Members, func(m emulator.Member) bool { return m.Account == rec.members[0] })
	switch {
	case o.Member != rec.members[0] || o.GroupID != rec.of:
		t.Errorf("got %+v for %s", o, rec.line)
	case o.Status.HasGroup() && !isIn, o.Status != outcome.Failed && !o.Status.HasGroup():
		t.Errorf("got %s for %s, but it is a member: %v", o.Status, rec.line, isIn)
	}
}

// checkMembers checks the promises for the members of a group: each is added or named. missing is the record in the
// dead-letter file.
func (s *sim) checkMembers(t *testing.T, o *outcome.Outcome, rec simRecord, missing string) {
	t.Helper()
	if len(rec.members) == 0 || !o.Status.HasGroup() {
		if o.Members != (outcome.Members{}) {
			t.Errorf("got members %+v of %s", o.Members, rec.line)
		}
		return
	}
	if !o.IsDone() {
		s.lacking++
	}
	added := map[string]bool{}
	g, _ := s.service.Group(o.GroupID)
	for _, m := range g.Members {
		added[m.Account] = true
	}
	failed, invalid := int64(0), int64(0)
	for _, account := range rec.members {
		isNamed := strings.Contains(missing, `"`+account+`"`)
		if !added[account] && !isNamed {
			t.Errorf("%s is neither a member of %s nor named in %s", account, o.GroupID, missing)
		}
		if isNamed {
			failed++
		}
		if strings.HasPrefix(account, "late-") {
			invalid++
		}
	}
	if m := o.Members; m.Total() != int64(len(rec.members)) || m.Pending > 0 || m.Failed != failed ||
		m.Invalid != invalid {
		t.Errorf("got %+v for %s, with %d missing and %d invalid in %s", m, rec.line, failed, invalid, missing)
	}
}

// check checks the promises for the objects in the store and the groups in the service.
func (s *sim) check(t *testing.T) {
	objects := s.store.Snapshot()
	names := results.Names{Export: s.key}
	if !bytes.Equal(objects[s.key], s.text) {
		t.Error("the export was touched")
	}
	made := s.service.Names()
	for name, n := range made {
		if n > 1 && !s.uncertain {
			t.Errorf("%s was made %d times", name, n)
		}
		s.uncertainty += n - 1
	}
	if most := 500 * (s.kills + s.broke + s.freezes); s.uncertainty > most {
		t.Errorf("got %d groups created twice because the sent records were not known, want at most %d", s.uncertainty, most)
	}
	var counts outcome.Counts
	lines := bytes.Split(bytes.TrimSuffix(objects[names.Results()], []byte("\n")), []byte("\n"))
	if len(lines) != len(s.records) {
		t.Fatalf("got %d lines of results, want %d", len(lines), len(s.records))
	}
	named := map[int64]string{} // records of the dead-letter file
	for line := range bytes.Lines(objects[names.Failures()]) {
		if o, raw, err := outcome.Parse(line); err == nil {
			named[o.N] = string(raw)
		}
	}
	lost := 0
	for i, line := range lines {
		o, _, err := outcome.Parse(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		rec := s.records[i]
		counts.Add(&o)
		if rec.of != "" {
			s.checkMember(t, &o, rec)
			continue
		}
		s.checkMembers(t, &o, rec, named[o.N])
		exists := made[rec.name] > 0
		switch {
		case o.N != int64(i+1) || o.Line != o.N+s.before:
			t.Fatalf("got %s at line %d", line, i+1)
		case rec.broken != (o.Status == outcome.Rejected), rec.left != (o.Status == outcome.Skipped):
			t.Errorf("got %s for %s", line, rec.line)
		case o.Status.HasGroup() != exists && o.Status != outcome.Unknown &&
			(rec.id == "" && !s.assign || o.Status.HasGroup()):
			t.Errorf("got %s, but the group exists: %v", line, exists)
		case o.Status == outcome.Unknown && (rec.id != "" || s.assign):
			t.Errorf("got %s for a record that has a GroupId", line)
		case s.assign && rec.id == "" && !rec.broken && !rec.left && (!o.Assigned || o.GroupID == ""):
			t.Errorf("got %s, want an assigned GroupId", line)
		}
		if o.Status == outcome.Unknown {
			s.unknown++
			if o.Attempts > 0 || o.Carried { // when it was carried over, it counted in the version before
				lost++
			}
		}
	}
	if most := 500 * (s.kills + s.broke + s.freezes); s.unknown-lost > most {
		t.Errorf("got %d unknown for other reasons than a lost response, want at most %d", s.unknown-lost, most)
	}
	if s.kills+s.freezes == 0 && s.storeFails == 0 && s.unknown != lost {
		t.Errorf("got %d unknown without a lost response, and nothing was killed", s.unknown-lost)
	}
	m, err := (results.Dir{Bucket: s.store.Clone(), Names: names}).LoadManifest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.Counts != counts || m.Counts.Records() != int64(len(s.records)) {
		t.Errorf("got counts %+v in the manifest, want %+v", m.Counts, counts)
	}
	var failures [][]byte
	if text := bytes.TrimSuffix(objects[names.Failures()], []byte("\n")); len(text) > 0 {
		failures = bytes.Split(text, []byte("\n"))
	}
	if int64(len(failures)) != counts.Missing()+s.lacking {
		t.Errorf("got %d lines of failures, want %d and %d", len(failures), counts.Missing(), s.lacking)
	}
	for _, line := range failures {
		o, raw, err := outcome.Parse(line)
		if o.Status.HasGroup() {
			continue
		}
		if err != nil || string(raw) != s.records[o.N-1].line {
			t.Errorf("got %s, want the record %s in it", line, s.records[o.N-1].line)
		}
	}
	if stats := s.service.Stats(); stats.BusiestSecond > simRate {
		t.Errorf("got %d requests in the busiest second, want %d at most", stats.BusiestSecond, simRate)
	}
	for command, c := range s.service.Stats().Commands {
		if c.BusiestSecond > simRate {
			t.Errorf("got %d requests of %s in the busiest second, want %d at most", c.BusiestSecond, command, simRate)
		}
	}
	for key := range maps.Keys(objects) {
		if key != s.key && !results.IsOutput(key) {
			t.Errorf("got an object %q that looks like an export", key)
		}
		for _, suffix := range []string{".jsonl", ".json", ".csv", ".gz", ".zst"} {
			if key != s.key && strings.HasSuffix(key, suffix) {
				t.Errorf("got an object %q that triggers", key)
			}
		}
	}
}
