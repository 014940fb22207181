package lease_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/lease"
)

const folder = "dir/a-b.jsonl.import/"

// wait is how long another process waits for a lease that is not renewed.
const wait = time.Minute

func acquire(t *testing.T, b *blobtest.Bucket, owner string) *lease.Lease {
	t.Helper()
	l, err := lease.Acquire(t.Context(), b, folder, owner, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t *testing.T, b *blobtest.Bucket, key, text string) {
	t.Helper()
	if err := b.Put(t.Context(), key, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

func TestLease_OneOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		ctx := t.Context()
		isFirst := func(owner string) bool { return owner == "first" }
		first := acquire(t, b, "first")
		if first.Number != 1 {
			t.Fatalf("got number %d, want 1", first.Number)
		}
		_, err := lease.Acquire(ctx, b, folder, "second", nil)
		busy, ok := errors.AsType[*lease.BusyError](err)
		if !ok || busy.Owner != "first" || !busy.Until.Equal(first.Until()) {
			t.Errorf("got %v, want the owner and the end of its lease", err)
		}
		if err := first.Check(ctx); err != nil {
			t.Errorf("got %v, want the lease to be valid", err)
		}
		second, err := lease.Acquire(ctx, b, folder, "second", isFirst)
		if err != nil || !second.TookOver {
			t.Errorf("got %v, want to take over the lease of a dead owner", err)
		}
		for _, check := range []func(context.Context) error{first.Check, first.CheckSuccessor} {
			if err := check(ctx); !errors.Is(err, lease.ErrLost) {
				t.Errorf("got %v, want %v", err, lease.ErrLost)
			}
		}
		time.Sleep(wait)
		third := acquire(t, b, "third")
		if third.Number != 3 || !third.TookOver {
			t.Fatalf("got %d, %v, want an expired lease taken over", third.Number, third.TookOver)
		}
		if err := third.Release(ctx); err != nil {
			t.Fatal(err)
		}
		fourth := acquire(t, b, "fourth")
		if fourth.Number != 4 || fourth.TookOver {
			t.Errorf("got %d, %v, want a released lease taken over", fourth.Number, fourth.TookOver)
		}
		time.Sleep(lease.Lifetime)
		if err := fourth.Check(ctx); !errors.Is(err, lease.ErrLost) {
			t.Errorf("got %v after the lease expired, want %v", err, lease.ErrLost)
		}
		if err := fourth.CheckSuccessor(ctx); err != nil {
			t.Errorf("got %v, want nil: no other owner has taken over", err)
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
				_, err := lease.Acquire(t.Context(), b, folder, fmt.Sprint(i), nil)
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
			if _, err := lease.Acquire(t.Context(), b, folder, "me", nil); err != nil {
				t.Errorf("after %v: got %v, want the lease", lost, err)
			}
		}
	})
}

// TestLeaseAcquire_SlowStore acquires a lease from a store that takes longer than a lease lasts.
func TestLeaseAcquire_SlowStore(t *testing.T) {
	for _, method := range []string{blobtest.List, blobtest.Create} {
		synctest.Test(t, func(t *testing.T) {
			b := &blobtest.Bucket{Fail: func(op blobtest.Op) blobtest.Fault {
				if op.Method == method {
					return blobtest.Fault{Delay: lease.Lifetime}
				}
				return blobtest.Fault{}
			}}
			l, err := lease.Acquire(t.Context(), b, folder, "me", nil)
			if err == nil && l.Valid() == nil {
				t.Errorf("%s took a minute: got a valid lease", method)
			}
		})
	}
}

// TestLeaseAcquire_NumbersAreUnique removes objects of a work folder.
func TestLeaseAcquire_NumbersAreUnique(t *testing.T) {
	const released = `{"number":1,"token":"x","holder":"x","until":"2000-01-01T00:00:00Z","released":true}`
	for name, row := range map[string]struct {
		names []string
		want  int
	}{
		"nothing is left":                     {nil, 1},
		"leases only":                         {[]string{"lease/000001", "lease/000002"}, 3},
		"the first lease was removed":         {[]string{"lease/000007", "manifest", "progress"}, 8},
		"a lease in the middle was removed":   {[]string{"lease/000001", "lease/000003"}, 4},
		"the latest lease was removed":        {[]string{"lease/000001", "checkpoint/000005"}, 6},
		"only a checkpoint is left":           {[]string{"checkpoint/000005", "progress"}, 6},
		"only parts are left":                 {[]string{"parts/000004-000001", "parts/000009-000022"}, 10},
		"only out-of-order outcomes are left": {[]string{"parts/000009-ahead"}, 10},
		"more than six digits":                {[]string{"lease/1000000", "lease/999999"}, 1000001},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &blobtest.Bucket{}
				for _, n := range row.names {
					put(t, b, folder+n, released)
				}
				if l := acquire(t, b, "me"); l.Number != row.want || l.TookOver {
					t.Errorf("got number %d, took over: %v, want %d", l.Number, l.TookOver, row.want)
				}
			})
		})
	}
}

// TestLeaseAcquire_StaleList acquires leases from a store whose list does not show the latest objects.
func TestLeaseAcquire_StaleList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &staleList{&blobtest.Bucket{}}
		for n := range 5 {
			l, err := lease.Acquire(t.Context(), b, folder, fmt.Sprint(n), nil)
			if err != nil || l.Number != n+1 {
				t.Fatalf("got %+v, %v, want number %d", l, err, n+1)
			}
			_, err = lease.Acquire(t.Context(), b, folder, "another", nil)
			if busy, ok := errors.AsType[*lease.BusyError](err); !ok || busy.Owner != fmt.Sprint(n) {
				t.Fatalf("got %v, want the latest owner named", err)
			}
			if err := l.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestLeaseAcquire_Version1 meets a lease that lasts until the deadline of its run and is not renewed.
func TestLeaseAcquire_Version1(t *testing.T) {
	text := func(until time.Duration) string {
		return fmt.Sprintf(`{"number":1,"token":"x","holder":"old","until":%q,"released":false}`,
			time.Now().Add(until).UTC().Format(time.RFC3339))
	}
	for name, row := range map[string]struct {
		lease string
		busy  time.Duration // for so long
	}{
		"a run on Lambda":         {text(15 * time.Minute), 15 * time.Minute},
		"a run on SCF":            {text(23 * time.Hour), 23 * time.Hour},
		"longer than any run":     {text(1e6 * time.Hour), 24 * time.Hour},
		"not JSON":                {"", 24 * time.Hour},
		"half of an object":       {`{"number":1,"token"`, 24 * time.Hour},
		"no end":                  {`{"number":1,"token":"x","holder":"old","released":false}`, 0},
		"released, with long end": {strings.Replace(text(1e6*time.Hour), "false", "true", 1), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if strings.Contains(row.lease, "until") && row.busy > 0 { // in the time of the bubble
					row.lease = text(row.busy)
					if row.busy == 24*time.Hour {
						row.lease = text(1e6 * time.Hour)
					}
				}
				b := &blobtest.Bucket{}
				put(t, b, lease.Key(folder, 1), row.lease)
				if row.busy > 0 {
					time.Sleep(row.busy - time.Second)
					_, err := lease.Acquire(t.Context(), b, folder, "me", nil)
					if _, ok := errors.AsType[*lease.BusyError](err); !ok {
						t.Errorf("got %v before the end, want a BusyError", err)
					}
					time.Sleep(12 * time.Second)
				}
				if l := acquire(t, b, "me"); l.Number != 2 {
					t.Errorf("got number %d, want 2", l.Number)
				}
			})
		})
	}
}

func TestLeaseAcquire_Cost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		for n := range 3000 {
			l := acquire(t, b, "x")
			if l.Number != n+1 {
				t.Fatalf("got number %d, want %d", l.Number, n+1)
			}
			if err := l.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		for n := range 22_000 { // of one run
			put(t, b, fmt.Sprintf("%sparts/000001-%06d", folder, n), "")
		}
		before := b.Counts().Calls
		acquire(t, b, "x")
		after := b.Counts().Calls
		for method, most := range map[string]int{
			blobtest.List: 1, blobtest.ReadRange: 1, blobtest.Create: 1, blobtest.Delete: 1, blobtest.Stat: 0, blobtest.Put: 0,
		} {
			if got := after[method] - before[method]; got > most {
				t.Errorf("got %d of %s to acquire lease 3001, want %d at most", got, method, most)
			}
		}
		var leases []string
		for key := range b.Snapshot() {
			if strings.Contains(key, "/lease/") {
				leases = append(leases, key)
			}
		}
		slices.Sort(leases)
		if len(leases) > 63 || leases[len(leases)-1] != lease.Key(folder, 3001) {
			t.Errorf("got %d leases up to %s, want those of the last hour", len(leases), leases[len(leases)-1])
		}
	})
}

func TestLeaseAcquire_KeepsTheTwoHighestLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		for range 20 {
			acquire(t, b, "x")
			time.Sleep(48 * time.Hour)
		}
		for _, n := range []int{19, 20} {
			if _, err := b.Stat(t.Context(), lease.Key(folder, n)); err != nil {
				t.Errorf("got %v", err)
			}
		}
		if got := len(b.Snapshot()); got != 2 {
			t.Errorf("got %d leases, want 2", got)
		}
	})
}

func TestLeaseKeep_RenewsUntilStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		l := acquire(t, b, "me")
		kept, stop := l.Keep(t.Context())
		for range 60 {
			time.Sleep(time.Minute)
			_, err := lease.Acquire(t.Context(), b, folder, "another", nil)
			if _, ok := errors.AsType[*lease.BusyError](err); !ok || kept.Err() != nil || l.Check(t.Context()) != nil {
				t.Fatalf("got %v, %v, want the lease kept", err, context.Cause(kept))
			}
		}
		stop()
		if got := b.Counts().Calls[blobtest.Put]; got < 230 || got > 240 {
			t.Errorf("got %d renewals in an hour, want one each 15 s", got)
		}
		time.Sleep(wait)
		if got := acquire(t, b, "another"); got.Number != 2 {
			t.Errorf("got number %d, want the lease to end once nobody renews it", got.Number)
		}
	})
}

func TestLeaseKeep_StoreUnavailable(t *testing.T) {
	for outage, survives := range map[time.Duration]bool{30 * time.Second: true, 3 * time.Minute: false} {
		t.Run(fmt.Sprint(outage), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &blobtest.Bucket{}
				l := acquire(t, b, "me")
				start := time.Now()
				b.Fail = func(op blobtest.Op) blobtest.Fault {
					if time.Since(start) < outage {
						return blobtest.Fault{Err: errors.New("unavailable"), Applied: op.N%2 == 0}
					}
					return blobtest.Fault{}
				}
				kept, stop := l.Keep(t.Context())
				defer stop()
				time.Sleep(5 * time.Minute)
				if lost := errors.Is(context.Cause(kept), lease.ErrLost); lost == survives {
					t.Errorf("got %v, want it to survive: %v", context.Cause(kept), survives)
				}
			})
		})
	}
}

// TestLeaseKeep_LateResponse lets a renewal succeed after the end of the lease: it does not count.
func TestLeaseKeep_LateResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &late{Bucket: &blobtest.Bucket{}, delay: lease.Lifetime}
		l, err := lease.Acquire(t.Context(), b, folder, "me", nil)
		if err != nil {
			t.Fatal(err)
		}
		kept, stop := l.Keep(t.Context())
		defer stop()
		for range 10 {
			time.Sleep(lease.Lifetime)
			if l.Valid() == nil {
				t.Error("got a valid lease after a late response")
			}
		}
		if !errors.Is(context.Cause(kept), lease.ErrLost) {
			t.Errorf("got %v, want the lease lost", context.Cause(kept))
		}
	})
}

func TestLeaseGuard_AfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		l := acquire(t, b, "me")
		g := l.Guard(b)
		ctx := t.Context()
		write := map[string]func(key string) error{
			"put":    func(key string) error { return g.Put(ctx, key, strings.NewReader("text")) },
			"create": func(key string) error { return g.Create(ctx, key, []byte("text")) },
			"delete": func(key string) error { return g.Delete(ctx, key) },
		}
		try := func(when string, want map[string]bool) {
			t.Helper()
			for key, ok := range want {
				for name, w := range write {
					before := len(b.Snapshot())
					if err := w(key); errors.Is(err, lease.ErrLost) == ok || !ok && len(b.Snapshot()) != before {
						t.Errorf("%s %s, %s: got %v, want it written: %v", name, key, when, err, ok)
					}
					_ = b.Delete(ctx, key)
				}
			}
		}
		shared, own, other := folder+"manifest", folder+"parts/000001-000002", folder+"checkpoint/000002"
		try("in time", map[string]bool{shared: true, own: true, other: true})
		time.Sleep(lease.Lifetime)
		try("after the end", map[string]bool{shared: false, own: true, folder + "checkpoint/000001": true, other: false})
		time.Sleep(time.Hour)
		try("an hour later", map[string]bool{shared: false, own: false, lease.Key(folder, 1): false})
		if err := l.Release(ctx); !errors.Is(err, lease.ErrLost) {
			t.Errorf("release an hour later: got %v, want %v", err, lease.ErrLost)
		}
	})
}

// TestLeaseGuard_FrozenDuringAPut freezes a process that has begun to write.
func TestLeaseGuard_FrozenDuringAPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		l := acquire(t, b, "me")
		b.Fail = func(blobtest.Op) blobtest.Fault { return blobtest.Fault{Delay: 2 * time.Minute} }
		err := l.Guard(b).Put(t.Context(), folder+"manifest", strings.NewReader("text"))
		if _, ok := b.Snapshot()[folder+"manifest"]; ok || !errors.Is(err, lease.ErrLost) {
			t.Errorf("got %v, written: %v, want it not written", err, ok)
		}
	})
}

// A peeker is a bucket that records whether bodies report their length, and that implements [blob.Peeker].
type peeker struct {
	*blobtest.Bucket

	lengths []int
}

func (p *peeker) Put(ctx context.Context, key string, body io.Reader) error {
	length := -1
	if sized, ok := body.(interface{ Len() int }); ok {
		length = sized.Len()
	}
	p.lengths = append(p.lengths, length)
	return p.Bucket.Put(ctx, key, body)
}

func (*peeker) Peek(context.Context, string, int64) (blob.Info, error) {
	return blob.Info{Size: 42}, nil
}

func TestLeaseGuard_OptionalMethods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := &blobtest.Bucket{}
		l := acquire(t, plain, "me")
		if _, ok := l.Guard(plain).(blob.Peeker); ok {
			t.Error("got a blob.Peeker of a bucket that is none: each read would cost a request more")
		}
		b := &peeker{Bucket: plain}
		g := l.Guard(b)
		if info, err := blob.Peek(t.Context(), g, "a", 0); err != nil || info.Size != 42 {
			t.Errorf("got %+v, %v, want the bucket's own Peek", info, err)
		}
		for _, body := range []io.Reader{strings.NewReader("text"), io.MultiReader(strings.NewReader("text"))} {
			if err := g.Put(t.Context(), "a", body); err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(b.lengths, []int{4, -1}) {
			t.Errorf("got lengths %v, want those of the bodies, or the store allocates for the largest part", b.lengths)
		}
		u, ok := g.(blob.Uploader)
		if !ok {
			t.Fatal("got no blob.Uploader")
		}
		id, err := u.CreateUpload(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		tag, err := u.UploadPart(t.Context(), "b", id, 1, []byte("text"))
		if err == nil {
			err = u.CompleteUpload(t.Context(), "b", id, []string{tag})
		}
		if got := string(plain.Snapshot()["b"]); err != nil || got != "text" {
			t.Errorf("got %q, %v, want the upload written", got, err)
		}
		time.Sleep(lease.Lifetime)
		if _, err := u.CreateUpload(t.Context(), "c"); !errors.Is(err, lease.ErrLost) {
			t.Errorf("got %v after the end, want %v", err, lease.ErrLost)
		}
	})
}

// TestLeaseCheckAgain_LimitsRequests lets a process whose clock is wrong take over a valid lease.
func TestLeaseCheckAgain_LimitsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		ctx := t.Context()
		l := acquire(t, b, "me")
		check := func(when string, requests int, want error) {
			t.Helper()
			before := b.Counts().Calls[blobtest.Stat]
			err := l.CheckAgain(ctx)
			if got := b.Counts().Calls[blobtest.Stat] - before; got != requests || !errors.Is(err, want) {
				t.Errorf("%s: got %d requests and %v, want %d and %v", when, got, err, requests, want)
			}
		}
		check("at first", 0, nil)
		time.Sleep(6 * time.Second)
		check("later", 1, nil)
		check("at once again", 0, nil)
		put(t, b, lease.Key(folder, 2), "{}")
		time.Sleep(6 * time.Second)
		check("with a successor", 1, lease.ErrLost)
		check("again", 1, lease.ErrLost)
		time.Sleep(lease.Lifetime)
		check("after the end", 1, lease.ErrLost)
	})
}

// TestLook_BesideTheFolder lists what lies beside a folder, unless that is too much.
func TestLook_BesideTheFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const prefix = "dir/a-b.jsonl."
		for others, most := range map[int]int{0: 1, 10: 1, 5000: 2} {
			b := &blobtest.Bucket{}
			for n := range others {
				put(t, b, fmt.Sprintf("%s%06d", prefix, n), "")
			}
			put(t, b, folder+"progress", "{}")
			before := b.Counts().Calls[blobtest.List]
			f, err := lease.Look(t.Context(), b, folder, prefix)
			if err != nil || !f.IsEmpty || (f.Beside == nil) != (others > 1000) || others == 10 && len(f.Beside) != 10 {
				t.Errorf("%d others: got %+v, %v", others, f, err)
			}
			if got := b.Counts().Calls[blobtest.List] - before; got > most {
				t.Errorf("%d others: got %d lists, want %d at most", others, got, most)
			}
			first, err := f.Acquire(t.Context(), "me", nil)
			if err != nil || !first.IsFirst {
				t.Errorf("%d others: got %+v, %v, want the first owner", others, first, err)
			}
			if second, err := f.Acquire(t.Context(), "you", func(string) bool { return true }); err != nil || second.IsFirst {
				t.Errorf("%d others: got %+v, %v, want the second owner, although the list is old", others, second, err)
			}
		}
	})
}

func TestLeaseLeftNothing_Age(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blobtest.Bucket{}
		for n := range 4 {
			l := acquire(t, b, "x")
			if n == 0 {
				put(t, b, folder+"checkpoint/000001", "{}")
			}
			if err := l.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(40 * time.Minute)
		}
		l := acquire(t, b, "me") // the leases before are 160, 120, 80 and 40 minutes old
		for number, want := range map[int]bool{1: false, 2: true, 3: true, 4: false} {
			if got := l.LeftNothing(number); got != want {
				t.Errorf("got %v for number %d, want %v", got, number, want)
			}
		}
	})
}
