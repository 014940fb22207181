package results

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/blob"
)

// maxSmall bounds what is read as a whole: leases, checkpoints, manifests.
const maxSmall = 8 << 20

// A Lease is the right to work on an import. Each is an object of its own that one winner created: a
// number is never used twice, and the highest one counts.
type Lease struct {
	Number   int       `json:"number"`
	Token    string    `json:"token"`    // random, tells one's own lease from another's when an answer was lost
	Holder   string    `json:"holder"`   // for people, and for telling whether a process still lives
	Until    time.Time `json:"until"`    // nothing of its run is written or sent after this
	Released bool      `json:"released"` // the run has ended

	// TookOver is set if the run before has not released its lease: it may have died a moment ago, and its last calls count
	// in the second that begins now.
	TookOver bool `json:"-"`

	bucket blob.Bucket
	names  Names
}

// ErrLost is wrapped when somebody else has taken the import over.
var ErrLost = errors.New("another run has taken the import over")

// BusyError says who works on an import now.
type BusyError struct {
	Holder string
	Until  time.Time
}

func (b *BusyError) Error() string {
	return fmt.Sprintf("%s is working on it, until %s at the latest", b.Holder, b.Until.UTC().Format(time.RFC3339))
}

// Acquire takes the lease on an import until the given time. dead may say that a holder certainly does
// not live any more; it may be nil. If somebody else holds the lease, the error is a [*BusyError].
func Acquire(ctx context.Context, b blob.Bucket, names Names, holder string, until time.Time, dead func(holder string) bool) (*Lease, error) {
	last, err := lastLease(ctx, b, names)
	if err != nil {
		return nil, err
	}
	if last != nil && !last.Released && time.Now().Before(last.Until) && (dead == nil || !dead(last.Holder)) {
		return nil, &BusyError{Holder: last.Holder, Until: last.Until}
	}
	l := &Lease{Number: 1, Token: rand.Text(), Holder: holder, Until: until, bucket: b, names: names}
	if last != nil {
		l.Number, l.TookOver = last.Number+1, !last.Released
	}
	data, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	err = b.Create(ctx, names.lease(l.Number), data)
	if err == nil {
		return l, nil
	}
	// The answer to one's own success may have been lost.
	there, readErr := readLease(ctx, b, names, l.Number)
	switch {
	case readErr == nil && there.Token == l.Token:
		return l, nil
	case readErr == nil:
		return nil, &BusyError{Holder: there.Holder, Until: there.Until}
	default:
		return nil, fmt.Errorf("take the lease: %w", err)
	}
}

// Release says that the run has ended.
func (l *Lease) Release(ctx context.Context) error {
	l.Released = true
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := l.bucket.Put(ctx, l.names.lease(l.Number), strings.NewReader(string(data))); err != nil {
		return fmt.Errorf("release the lease: %w", err)
	}
	return nil
}

// Check returns an error that wraps [ErrLost] if the lease has been taken over, or has run out so that
// it may be at any moment.
func (l *Lease) Check(ctx context.Context) error {
	if !time.Now().Before(l.Until) {
		return fmt.Errorf("%w, or may have: the lease ended at %s", ErrLost, l.Until.UTC().Format(time.RFC3339))
	}
	_, err := l.bucket.Stat(ctx, l.names.lease(l.Number+1))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look whether the lease is still ours: %w", err)
	}
	return ErrLost
}

func readLease(ctx context.Context, b blob.Bucket, names Names, number int) (*Lease, error) {
	data, err := blob.ReadAll(ctx, b, names.lease(number), maxSmall)
	if err != nil {
		return nil, err
	}
	l := &Lease{bucket: b, names: names}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("read %q: %w", names.lease(number), err)
	}
	l.Number = number
	return l, nil
}

// lastLease returns the lease with the highest number, nil if there is none. As numbers have no gaps, it
// is found by asking for some of them: two requests and then two more for each doubling of the number.
func lastLease(ctx context.Context, b blob.Bucket, names Names) (*Lease, error) {
	exists := func(n int) (bool, error) {
		_, err := b.Stat(ctx, names.lease(n))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	low, high := 0, 1 // low exists or is 0, high does not
	for {
		ok, err := exists(high)
		if err != nil {
			return nil, fmt.Errorf("look for leases: %w", err)
		}
		if !ok {
			break
		}
		low, high = high, 2*high
	}
	for high-low > 1 {
		mid := (low + high) / 2
		ok, err := exists(mid)
		if err != nil {
			return nil, fmt.Errorf("look for leases: %w", err)
		}
		if ok {
			low = mid
		} else {
			high = mid
		}
	}
	if low == 0 {
		return leaseFromList(ctx, b, names)
	}
	return readLease(ctx, b, names, low)
}

// leaseFromList returns the lease with the highest number that any name in the work folder carries, nil if there is none.
// The first lease may have been removed, by an operator or a lifecycle rule, while the work that later ones did is there. A
// lease that was removed itself counts as released.
func leaseFromList(ctx context.Context, b blob.Bucket, names Names) (*Lease, error) {
	highest := 0
	for info, err := range b.List(ctx, names.Work(), "") {
		if err != nil {
			return nil, fmt.Errorf("look for leases: %w", err)
		}
		folder, name, _ := strings.Cut(strings.TrimPrefix(info.Key, names.Work()), "/")
		number, _, _ := strings.Cut(name, "-")
		if n, err := strconv.Atoi(number); err == nil && (folder == "lease" || folder == "checkpoint" || folder == "parts") {
			highest = max(highest, n)
		}
	}
	if highest == 0 {
		return nil, nil //nolint:nilnil // no lease and no error is what there is before the first run
	}
	l, err := readLease(ctx, b, names, highest)
	if errors.Is(err, fs.ErrNotExist) {
		return &Lease{Number: highest, Released: true}, nil
	}
	return l, err
}
