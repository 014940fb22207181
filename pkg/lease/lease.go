// Package lease grants one process at a time the right to work on a folder. It needs only the store's conditional
// put.
//
// A lease is an object, FOLDER/lease/NNNNNN, created by one winner. The highest number is the current lease, and no
// number is used twice. The number is the fencing token: every object that an owner writes has the token in its name,
// so a previous owner that is still alive cannot overwrite the objects of its successor.
//
// A lease lasts for [Lifetime]. Its owner renews it by writing the object again with a later end, so a dead owner
// blocks others for a minute at most, however long its run would have been. An owner trusts its own clock alone: it
// sends and writes nothing once its lease has ended by that clock, see [Lease.Valid] and [Lease.Guard].
package lease

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/blob"
)

const (
	// Lifetime is how long a lease lasts after the owner began to acquire or renew it.
	Lifetime = 50 * time.Second

	renewEvery = 15 * time.Second // so that two renewals may fail
	renewAgain = 3 * time.Second  // after a renewal that failed
	checkEvery = 5 * time.Second  // see [Lease.CheckAgain]

	// margin is how much longer others wait than the lease lasts, by their clock. It covers the difference of two
	// clocks, less than a second with NTP, and a request that a store's client was repeating when the lease ended: it
	// gives up after about 6 s, see [blob.ReadAll].
	margin = 10 * time.Second

	// maxLife is the longest life of a lease of version 1, which did not renew: that of the longest run. A run lasts 15
	// minutes on Lambda (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, 2026-11) and 24 hours on SCF
	// (cloud.tencent.com/document/product/583/51519, asynchronous execution, 2026-11).
	maxLife = 24 * time.Hour

	// An owner removes at most maxRemoved leases that are older than keepFor. It keeps the two highest. A list that
	// misses leases misses only younger ones (COS says that a list may miss a new object), so that their numbers are
	// never used again.
	keepFor    = time.Hour
	maxRemoved = 10

	// For graceTime after the lease has ended, its owner may still write the objects with its fencing token in their
	// names. It is shorter than keepFor, so that the lease of a successor is still there.
	graceTime = 30 * time.Minute

	maxLease = 64 << 10 // bytes read of a lease; a lease has a few hundred
)

// A Lease is the right to work on a folder until it ends. It is safe for concurrent use.
type Lease struct {
	Number int
	Owner  string // a name for operators, and for isDead of [Acquire]

	// TookOver is set if the previous owner has not released its lease. Its last calls may count against the rate limit
	// of the current second.
	TookOver bool

	// IsFirst is set if no run has written to the folder before: the list showed nothing in the folder, and the owner
	// created lease 1. A list that misses an object does not matter, because the create would have failed.
	IsFirst bool

	bucket blob.Bucket
	folder string
	token  string
	found  *Folder // before the lease was acquired

	mu      sync.Mutex
	began   moment // of the last renewal
	checked moment // when there was no successor
}

// A record is the content of a lease's object.
type record struct {
	Number   int       `json:"number"`
	Token    string    `json:"token"` // random; identifies the caller's own lease after a lost response
	Owner    string    `json:"holder"`
	Until    time.Time `json:"until"`
	Released bool      `json:"released"` // the owner has ended its run
}

// ErrLost is wrapped when the lease has ended or another owner has taken over.
var ErrLost = errors.New("another run has taken the import over")

// A BusyError names the current owner of the lease.
type BusyError struct {
	Owner string
	Until time.Time // the end of the lease, unless its owner renews it
}

func (b *BusyError) Error() string {
	return b.Owner + " is working on it"
}

// Acquire acquires the lease of a folder. folder ends in a slash. isDead reports whether an owner is known to have
// exited; with nil, a lease of another owner is valid until it expires. The error is a [*BusyError] if another owner
// has the lease.
//
// Acquire costs a list of the folder, in which all parts of one run count as one object, and two requests.
func Acquire(
	ctx context.Context, b blob.Bucket, folder, owner string, isDead func(owner string) bool,
) (*Lease, error) {
	f, err := Look(ctx, b, folder, folder)
	if err != nil {
		return nil, err
	}
	return f.Acquire(ctx, owner, isDead)
}

// Acquire acquires the lease of the folder, see [Acquire]. It costs one request if no run has written to the folder
// before, else two. It may remove old leases.
func (f *Folder) Acquire(ctx context.Context, owner string, isDead func(owner string) bool) (*Lease, error) {
	l := &Lease{Owner: owner, bucket: f.bucket, folder: f.name, token: rand.Text(), found: f, began: f.looked}
	var last record
	if len(f.leases) > 0 && f.leases[len(f.leases)-1].number == f.highest {
		var err error
		if last, err = readLease(ctx, f.bucket, f.name, f.highest); err != nil {
			return nil, fmt.Errorf("read the latest lease: %w", err)
		}
	} else {
		last.Number, last.Released = f.highest, true // an operator or a lifecycle rule has removed it
	}
	for {
		if !last.Released && time.Now().Before(last.Until.Add(margin)) && (isDead == nil || !isDead(last.Owner)) {
			return nil, &BusyError{Owner: last.Owner, Until: last.Until}
		}
		if err := l.Valid(); err != nil {
			return nil, fmt.Errorf("acquire the lease: the store took more than %v", Lifetime)
		}
		l.Number, l.TookOver = last.Number+1, !last.Released
		l.checked = now()
		err := l.create(ctx)
		if err == nil {
			break
		}
		// The list was stale, or the create has succeeded and its response was lost.
		current, readErr := readLease(ctx, f.bucket, f.name, l.Number)
		if readErr != nil || current.Token == "" {
			return nil, fmt.Errorf("acquire the lease: %w", err)
		}
		if current.Token == l.token {
			break
		}
		last = current
	}
	l.IsFirst = f.IsEmpty && l.Number == 1
	l.removeOld(ctx, f.leases)
	return l, nil
}

// create creates the object of the lease.
func (l *Lease) create(ctx context.Context) error {
	data, err := l.record(l.began, false)
	if err != nil {
		return err
	}
	return l.bucket.Create(ctx, Key(l.folder, l.Number), data)
}

// record returns the content of a lease that began then.
func (l *Lease) record(began moment, released bool) ([]byte, error) {
	return json.Marshal(record{
		Number: l.Number, Token: l.token, Owner: l.Owner, Until: began.wall.Add(Lifetime).UTC(), Released: released,
	})
}

// Until returns the end of the lease by the clock of this process, unless it is renewed.
func (l *Lease) Until() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.began.wall.Add(Lifetime)
}

// left returns how much of the lease is left by the clock of this process. It is negative after the end.
func (l *Lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Lifetime - now().since(l.began)
}

// Valid returns an error that wraps [ErrLost] if the lease has ended by the clock of this process. It costs no request.
func (l *Lease) Valid() error {
	if l.left() > 0 {
		return nil
	}
	return fmt.Errorf("%w, or may have: the lease expired at %s", ErrLost, l.Until().UTC().Format(time.RFC3339))
}

// Check returns an error that wraps [ErrLost] if another owner has taken the lease over, or if the lease has expired.
func (l *Lease) Check(ctx context.Context) error {
	if err := l.Valid(); err != nil {
		return err
	}
	return l.CheckSuccessor(ctx)
}

// CheckSuccessor returns an error that wraps [ErrLost] if another owner has taken the lease over. The lease may have
// expired: see [Lease.Guard] for what its owner may still write.
func (l *Lease) CheckSuccessor(ctx context.Context) error {
	at := now()
	_, err := l.bucket.Stat(ctx, Key(l.folder, l.Number+1))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.mu.Lock()
		defer l.mu.Unlock()
		l.checked = at
		return nil
	case err != nil:
		return fmt.Errorf("check the lease: %w", err)
	}
	return ErrLost
}

// CheckAgain is CheckSuccessor, but costs no request within checkEvery of the last check, or after the lease was
// acquired. While the lease is valid there is no successor, unless two clocks differ by more than others wait: so it is
// enough to look now and then. After the lease has ended, CheckAgain always looks.
func (l *Lease) CheckAgain(ctx context.Context) error {
	l.mu.Lock()
	checked := l.checked
	l.mu.Unlock()
	if now().since(checked) < checkEvery && l.Valid() == nil {
		return nil
	}
	return l.CheckSuccessor(ctx)
}

// Keep renews the lease in the background until stop is called. kept ends with ctx, or with a cause that wraps
// [ErrLost] when the lease ends because no renewal succeeded in time.
func (l *Lease) Keep(ctx context.Context) (kept context.Context, stop func()) {
	kept, lose := context.WithCancelCause(ctx)
	renewing, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the last writes follow the end of ctx
	done := make(chan struct{})
	go func() {
		defer close(done)
		lose(l.renew(renewing))
	}()
	return kept, func() { cancel(); <-done }
}

// renew renews the lease until ctx ends. The error says that the lease was lost.
func (l *Lease) renew(ctx context.Context) error {
	wait := renewEvery
	for {
		timer := time.NewTimer(min(wait, l.left()))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		if err := l.Valid(); err != nil {
			return err
		}
		wait = renewAgain
		if l.renewOnce(ctx) == nil {
			wait = renewEvery
		}
	}
}

// renewOnce writes the lease again. Only a response before the end of the lease counts: until then, another process
// that reads the lease sees the earlier end or the later one, and waits for either.
func (l *Lease) renewOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.left())
	defer cancel()
	began := now()
	data, err := l.record(began, false)
	if err != nil {
		return err
	}
	if err := l.Guard(l.bucket).Put(ctx, Key(l.folder, l.Number), strings.NewReader(string(data))); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now().since(l.began) < Lifetime {
		l.began = began
	}
	return nil
}

// Release marks the lease as released, so that another owner need not wait for it to expire. Renewals must have been
// stopped.
func (l *Lease) Release(ctx context.Context) error {
	data, err := l.record(now(), true)
	if err == nil {
		err = l.Guard(l.bucket).Put(ctx, Key(l.folder, l.Number), strings.NewReader(string(data)))
	}
	if err != nil {
		return fmt.Errorf("release the lease: %w", err)
	}
	return nil
}

// removeOld removes leases that are older than keepFor, except the two highest, and the latest of the old ones, which
// [Lease.LeftNothing] needs. It ignores errors: the next owner removes the rest.
func (l *Lease) removeOld(ctx context.Context, leases []listed) {
	removed := 0
	for i, old := range leases {
		isLast := i == len(leases)-1 || !leases[i+1].isOld()
		if removed == maxRemoved || old.number >= l.Number-1 || !old.isOld() || isLast {
			return
		}
		if l.bucket.Delete(ctx, Key(l.folder, old.number)) != nil {
			return
		}
		removed++
	}
}

// A listed lease is what a list says about a lease.
type listed struct {
	number   int
	modified time.Time
}

// isOld reports whether the lease was last written more than keepFor ago.
func (l *listed) isOld() bool { return !l.modified.IsZero() && time.Since(l.modified) > keepFor }

// A Folder is what a list showed of a work folder.
type Folder struct {
	// IsEmpty is set if the list showed no object in the folder but perhaps the progress, which the scheduler writes for
	// an export that waits.
	IsEmpty bool

	// Beside are the listed keys that begin with the prefix of [Look] and are not in the folder. It is nil unless the
	// list had all of them.
	Beside []string

	bucket  blob.Bucket
	name    string
	looked  moment
	highest int          // fencing token in a name, 0 if there is none
	leases  []listed     // in the order of their numbers
	states  map[int]bool // fencing tokens of checkpoints
}

// maxBeside limits the entries of a list of a folder and of the objects beside it: one request on S3 and COS.
const maxBeside = 1000

// Look lists a work folder. folder ends in a slash, and begins with prefix: the list also has the keys beside the
// folder that begin with prefix. If they are too many for one request, it lists the folder alone.
func Look(ctx context.Context, b blob.Bucket, folder, prefix string) (*Folder, error) {
	f := &Folder{IsEmpty: true, bucket: b, name: folder, looked: now(), states: map[int]bool{}}
	isAlone := prefix == folder
	n := 0
	// The names of parts are TOKEN-NUMBER. The delimiter makes one entry of all parts of a run.
	for info, err := range b.List(ctx, prefix, "-") {
		if err != nil {
			return nil, fmt.Errorf("find the latest lease: %w", err)
		}
		if n++; !isAlone && n >= maxBeside {
			return Look(ctx, b, folder, folder)
		}
		if !strings.HasPrefix(info.Key, folder) {
			f.Beside = append(f.Beside, info.Key)
			continue
		}
		f.IsEmpty = f.IsEmpty && info.Key == folder+"progress"
		f.add(info)
	}
	if !isAlone && f.Beside == nil {
		f.Beside = []string{}
	}
	slices.SortFunc(f.leases, func(a, b listed) int { return cmp.Compare(a.number, b.number) })
	return f, nil
}

// add adds an object of the folder. An operator or a lifecycle rule may have removed any other.
func (f *Folder) add(info blob.Info) {
	kind, name, _ := strings.Cut(strings.TrimPrefix(info.Key, f.name), "/")
	token, _, _ := strings.Cut(name, "-")
	number, err := strconv.Atoi(token)
	if err != nil || !slices.Contains([]string{"lease", "checkpoint", "parts"}, kind) {
		return
	}
	f.highest = max(f.highest, number)
	switch kind {
	case "lease":
		f.leases = append(f.leases, listed{number, info.Modified})
	case "checkpoint":
		f.states[number] = true
	}
}

// LeftNothing reports whether an earlier owner, with this number, has left no checkpoint: the list of the folder showed
// none, and the owner's lease ended so long ago that a list shows everything that the owner wrote. An owner that is not
// known to have left nothing may have left nothing all the same.
func (l *Lease) LeftNothing(number int) bool {
	if l.found.states[number] {
		return false
	}
	for _, later := range l.found.leases { // an owner ends before the next one begins
		if later.number >= number && later.isOld() {
			return true
		}
	}
	return false
}

// readLease returns a lease. A lease that was removed counts as released. A lease that cannot be read, or whose end is
// later than a run can last, is damaged: it ends maxLife after it was written.
func readLease(ctx context.Context, b blob.Bucket, folder string, number int) (record, error) {
	r := record{Number: number, Released: true}
	data, err := blob.ReadAll(ctx, b, Key(folder, number), maxLease)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	r = record{}
	unreadable := json.Unmarshal(data, &r) != nil
	r.Number = number
	if unreadable {
		r.Token, r.Owner, r.Released = "-", "an unknown process", false
	}
	if !unreadable && (r.Released || r.Until.Before(time.Now().Add(maxLife))) {
		return r, nil
	}
	info, err := b.Stat(ctx, Key(folder, number))
	if errors.Is(err, fs.ErrNotExist) {
		return record{Number: number, Released: true}, nil
	}
	r.Until = info.Modified.Add(maxLife)
	return r, err
}

// Key returns the key of the lease with this number.
func Key(folder string, number int) string { return fmt.Sprintf("%slease/%06d", folder, number) }
