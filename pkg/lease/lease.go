// Package lease grants one process at a time the right to work on a folder. It needs only the store's conditional
// put.
//
// A lease is an object, FOLDER/lease/NNNNNN, created by one winner. The highest number is the current lease, and no
// number is used twice. The number is the fencing token: every object that an owner writes has the token in its name,
// so a previous owner that is still alive cannot overwrite the objects of its successor.
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

const maxLease = 64 << 10 // bytes read of a lease; a lease has a few hundred

// A Lease is the right to work on a folder until a point in time.
type Lease struct {
	Number   int       `json:"number"`
	Token    string    `json:"token"`    // random; identifies the caller's own lease after a lost response
	Owner    string    `json:"holder"`   // a name for operators, and for isDead of [Acquire]
	Until    time.Time `json:"until"`    // the owner writes and sends nothing after this
	Released bool      `json:"released"` // the owner has ended its run

	// TookOver is set if the previous owner has not released its lease. Its last calls may count against the rate limit
	// of the current second.
	TookOver bool `json:"-"`

	bucket blob.Bucket
	folder string
}

// ErrLost is wrapped when another owner has taken over.
var ErrLost = errors.New("another run has taken the import over")

// A BusyError names the current owner of the lease.
type BusyError struct {
	Owner string
	Until time.Time
}

func (b *BusyError) Error() string {
	return fmt.Sprintf("%s is working on it, until %s at the latest", b.Owner, b.Until.UTC().Format(time.RFC3339))
}

// Acquire acquires the lease of a folder until the given time. folder ends in a slash. isDead reports whether an
// owner is known to have exited; with nil, a lease of another owner is valid until it expires. The error is a
// [*BusyError] if another owner has the lease.
func Acquire(
	ctx context.Context, b blob.Bucket, folder, owner string, until time.Time, isDead func(owner string) bool,
) (*Lease, error) {
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
	// The create may have succeeded with its response lost.
	current, readErr := readLease(ctx, b, folder, l.Number)
	switch {
	case readErr == nil && current.Token == l.Token:
		return l, nil
	case readErr == nil:
		return nil, &BusyError{Owner: current.Owner, Until: current.Until}
	default:
		return nil, fmt.Errorf("acquire the lease: %w", err)
	}
}

// Release marks the lease as released, so that another owner need not wait for it to expire.
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

// Check returns an error that wraps [ErrLost] if another owner has taken the lease over, or if the lease has expired.
func (l *Lease) Check(ctx context.Context) error {
	if !time.Now().Before(l.Until) {
		return fmt.Errorf("%w, or may have: the lease expired at %s", ErrLost, l.Until.UTC().Format(time.RFC3339))
	}
	_, err := l.bucket.Stat(ctx, Key(l.folder, l.Number+1))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("check the lease: %w", err)
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

// lastLease returns the lease with the highest number, or nil if there is no lease. Numbers have no gaps, so a binary
// search finds it with two requests for each doubling of the number.
func lastLease(ctx context.Context, b blob.Bucket, folder string) (*Lease, error) {
	exists := func(n int) (bool, error) {
		_, err := b.Stat(ctx, Key(folder, n))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	low, high := 0, 1 // low exists or is 0, high does not exist
	for {
		ok, err := exists(high)
		if err != nil {
			return nil, fmt.Errorf("find the latest lease: %w", err)
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
			return nil, fmt.Errorf("find the latest lease: %w", err)
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

// leaseFromList returns the lease with the highest number in any name in the work folder, or nil if there is no
// number. It finds the latest lease if an operator or a lifecycle rule removed the first lease. A removed lease
// counts as released.
func leaseFromList(ctx context.Context, b blob.Bucket, folder string) (*Lease, error) {
	highest := 0
	for info, err := range b.List(ctx, folder, "") {
		if err != nil {
			return nil, fmt.Errorf("find the latest lease: %w", err)
		}
		folder, name, _ := strings.Cut(strings.TrimPrefix(info.Key, folder), "/")
		number, _, _ := strings.Cut(name, "-")
		if n, err := strconv.Atoi(number); err == nil && (folder == "lease" || folder == "checkpoint" || folder == "parts") {
			highest = max(highest, n)
		}
	}
	if highest == 0 {
		return nil, nil //nolint:nilnil // no lease before the first run
	}
	l, err := readLease(ctx, b, folder, highest)
	if errors.Is(err, fs.ErrNotExist) {
		return &Lease{Number: highest, Released: true}, nil
	}
	return l, err
}

// Key returns the key of the lease with this number.
func Key(folder string, number int) string { return fmt.Sprintf("%slease/%06d", folder, number) }
