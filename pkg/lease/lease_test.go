package lease_test

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/lease"
)

const folder = "dir/a.jsonl.import/"

func TestLease_OneOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		ctx := t.Context()
		isFirst := func(owner string) bool { return owner == "first" }
		first, err := lease.Acquire(ctx, b, folder, "first", time.Now().Add(time.Minute), nil)
		if err != nil || first.Number != 1 {
			t.Fatalf("got %+v, %v", first, err)
		}
		_, err = lease.Acquire(ctx, b, folder, "second", time.Now().Add(time.Minute), nil)
		if busy, ok := errors.AsType[*lease.BusyError](err); !ok || busy.Owner != "first" || !busy.Until.Equal(first.Until) {
			t.Errorf("got %v, want the owner and the end of its lease", err)
		}
		if err := first.Check(ctx); err != nil {
			t.Errorf("got %v, want the lease to be valid", err)
		}
		_, err = lease.Acquire(ctx, b, folder, "second", time.Now().Add(time.Minute), isFirst)
		if err != nil {
			t.Errorf("got %v, want to take over the lease of a dead owner", err)
		}
		if err := first.Check(ctx); !errors.Is(err, lease.ErrLost) {
			t.Errorf("got %v, want %v", err, lease.ErrLost)
		}
		time.Sleep(time.Minute)
		third, err := lease.Acquire(ctx, b, folder, "third", time.Now().Add(time.Minute), nil)
		if err != nil || third.Number != 3 {
			t.Fatalf("got %+v, %v, want an expired lease taken over", third, err)
		}
		if err := third.Release(ctx); err != nil {
			t.Fatal(err)
		}
		fourth, err := lease.Acquire(ctx, b, folder, "fourth", time.Now().Add(time.Minute), nil)
		if err != nil || fourth.Number != 4 {
			t.Errorf("got %+v, %v, want a released lease taken over", fourth, err)
		}
		time.Sleep(time.Minute)
		if err := fourth.Check(ctx); !errors.Is(err, lease.ErrLost) {
			t.Errorf("got %v after the lease expired, want %v", err, lease.ErrLost)
		}
	})
}

func TestLeaseAcquire_Concurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for i := range 20 {
			wg.Go(func() {
				_, err := lease.Acquire(t.Context(), b, folder, fmt.Sprint(i), time.Now().Add(time.Minute), nil)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else if _, ok := errors.AsType[*lease.BusyError](err); !ok {
					t.Errorf("got %v, want a BusyError", err)
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Errorf("got %d winners, want 1", won)
		}
	})
}

func TestLeaseAcquire_LostResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, lost := range []error{fs.ErrExist, errors.New("connection reset")} {
			b := &blobtest.Bucket{Fail: func(op blobtest.Op) blobtest.Fault {
				if op.Method == blobtest.Create {
					return blobtest.Fault{Err: lost, Applied: true}
				}
				return blobtest.Fault{}
			}}
			if _, err := lease.Acquire(t.Context(), b, folder, "me", time.Now().Add(time.Minute), nil); err != nil {
				t.Errorf("after %v: got %v, want the lease", lost, err)
			}
		}
	})
}

func TestLeaseAcquire_Cost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		for n := range 1000 {
			l, err := lease.Acquire(t.Context(), b, folder, "x", time.Now().Add(time.Minute), nil)
			if err != nil || l.Number != n+1 {
				t.Fatalf("got %+v, %v, want number %d", l, err, n+1)
			}
			if err := l.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		before := b.Counts().Calls[blobtest.Stat]
		if _, err := lease.Acquire(t.Context(), b, folder, "x", time.Now().Add(time.Minute), nil); err != nil {
			t.Fatal(err)
		}
		if got := b.Counts().Calls[blobtest.Stat] - before; got > 25 {
			t.Errorf("got %d requests to find lease 1000, want 25 at most", got)
		}
	})
}
