// Package lease gives one process at a time the right to work on something, over a store's conditional put alone.
//
// A lease is an object of its own, FOLDER/lease/NNNNNN, that one winner creates; the highest number counts and no number is
// used twice. The number is the fencing token: everything that an owner writes carries it in its name, so that an owner that
// was given up for dead cannot spoil what its successor writes.
package lease

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

const maxLease = 64 << 10 // bytes of a lease; it has some hundred

// A Lease is the right to work until a time.
type Lease struct {
	Number   int       `json:"number"`
	Token    string    `json:"token"`    // random, tells one's own lease from another's when an answer was lost
	Owner    string    `json:"holder"`   // for people, and to tell whether a process is alive
	Until    time.Time `json:"until"`    // nothing of its run is written or sent after this
	Released bool      `json:"released"` // the run has ended

	// TookOver is set if the run before has not released its lease: it may have died a moment ago, and its last calls count
	// in the second that begins now.
	TookOver bool `json:"-"`

	bucket blob.Bucket
	folder string
}

// ErrLost is wrapped when another owner has taken over.
var ErrLost = errors.New("another run has taken the import over")

// A BusyError says who owns the lease now.
type BusyError struct {
	Owner string
	Until time.Time
}

func (b *BusyError) Error() string {
	return fmt.Sprintf("%s is working on it, until %s at the latest", b.Owner, b.Until.UTC().Format(time.RFC3339))
}

// Acquire takes the lease of a folder, with its slash, until the given time. isDead may say that an owner is known to have
// exited; nil waits for the lease to expire. If another owner has the lease, the error is a [*BusyError].
func Acquire(ctx context.Context, b blob.Bucket, folder string, owner string, until time.Time, isDead func(owner string) bool) (*Lease, error) {
	last, err := lastLease(ctx, b, folder)
	if err != nil {
		return nil, err
	}
	if last != nil && !last.Released && time.Now().Before(last.Until) && (isDead == nil || !isDead(last.Owner)) {
		return nil, &BusyError{Owner: last.Owner, Until: last.Until}
	}
	l := &Lease{Number: 1, Token: rand.Text(), Owner: owner, Until: until, bucket: b, folder: folder}
	if last != nil {
		l.Number, l.TookOver = last.Number+1, !last.Released
	}
	data, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	err = b.Create(ctx, Key(folder, l.Number), data)
	if err == nil {
		return l, nil
	}
	// The answer to one's own success may have been lost.
	there, readErr := readLease(ctx, b, folder, l.Number)
	switch {
	case readErr == nil && there.Token == l.Token:
		return l, nil
	case readErr == nil:
		return nil, &BusyError{Owner: there.Owner, Until: there.Until}
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
	if err := l.bucket.Put(ctx, Key(l.folder, l.Number), strings.NewReader(string(data))); err != nil {
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
	_, err := l.bucket.Stat(ctx, Key(l.folder, l.Number+1))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look whether the lease is still ours: %w", err)
	}
	return ErrLost
}

func readLease(ctx context.Context, b blob.Bucket, folder string, number int) (*Lease, error) {
	data, err := blob.ReadAll(ctx, b, Key(folder, number), maxLease)
	if err != nil {
		return nil, err
	}
	l := &Lease{bucket: b, folder: folder}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("read %q: %w", Key(folder, number), err)
	}
	l.Number = number
	return l, nil
}

// lastLease returns the lease with the highest number, nil if there is none. As numbers have no gaps, it
// is found by asking for some of them: two requests and then two more for each doubling of the number.
func lastLease(ctx context.Context, b blob.Bucket, folder string) (*Lease, error) {
	exists := func(n int) (bool, error) {
		_, err := b.Stat(ctx, Key(folder, n))
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
		return leaseFromList(ctx, b, folder)
	}
	return readLease(ctx, b, folder, low)
}

// leaseFromList returns the lease with the highest number that any name in the work folder carries, nil if there is none.
// The first lease may have been removed, by an operator or a lifecycle rule, while the work that later ones did is there. A
// lease that was removed itself counts as released.
func leaseFromList(ctx context.Context, b blob.Bucket, folder string) (*Lease, error) {
	highest := 0
	for info, err := range b.List(ctx, folder, "") {
		if err != nil {
			return nil, fmt.Errorf("look for leases: %w", err)
		}
		folder, name, _ := strings.Cut(strings.TrimPrefix(info.Key, folder), "/")
		number, _, _ := strings.Cut(name, "-")
		if n, err := strconv.Atoi(number); err == nil && (folder == "lease" || folder == "checkpoint" || folder == "parts") {
			highest = max(highest, n)
		}
	}
	if highest == 0 {
		return nil, nil //nolint:nilnil // no lease and no error is what there is before the first run
	}
	l, err := readLease(ctx, b, folder, highest)
	if errors.Is(err, fs.ErrNotExist) {
		return &Lease{Number: highest, Released: true}, nil
	}
	return l, err
}

// Key returns the key of a lease by its number.
func Key(folder string, number int) string { return fmt.Sprintf("%slease/%06d", folder, number) }
