package blob_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
)

const letters = "abcdefghijklmnopqrstuvwxyz"

// inBubble runs test under virtual time, with an object of all letters in a bucket.
func inBubble(t *testing.T, test func(t *testing.T, b *blobtest.Bucket, info blob.Info)) {
	synctest.Test(t, func(t *testing.T) {
		b := new(blobtest.Bucket)
		info := create(t, b, "object", letters)
		test(t, b, info)
	})
}

// reads returns a Fail that gives all reads a fault.
func reads(f blobtest.Fault) func(blobtest.Op) blobtest.Fault {
	return func(op blobtest.Op) blobtest.Fault {
		if op.Method == blobtest.ReadRange {
			return f
		}
		return blobtest.Fault{}
	}
}

func TestReader_Resumes(t *testing.T) {
	for name, fault := range map[string]blobtest.Fault{
		"no fault":                          {},
		"cut at each byte":                  {CutAfter: 1},
		"cut at each 5 bytes":               {CutAfter: 5},
		"complete at each byte":             {EOFAfter: 1},
		"complete at each 13 bytes":         {EOFAfter: 13},
		"complete before the last byte":     {EOFAfter: 25},
		"cut after the end":                 {CutAfter: 26},
		"hangs at each 7 bytes":             {HangAfter: 7},
		"slow, and complete at each 10":     {Delay: 19 * time.Second, EOFAfter: 10},
		"slow, and hangs at each 10":        {Delay: 19 * time.Second, HangAfter: 10},
		"slow, and cut before the last one": {Delay: 19 * time.Second, CutAfter: 25},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
				b.Fail = reads(fault)
				for _, offset := range []int64{0, 1, 25, 26} {
					for _, size := range []int64{info.Size, -1} {
						r := blob.NewReader(t.Context(), b, info.Key, info.Version, offset, size)
						if err := iotest.TestReader(r, []byte(letters[offset:])); err != nil {
							t.Errorf("from %d on, size %d: %v", offset, size, err)
						}
						if err := r.Close(); err != nil {
							t.Error(err)
						}
					}
				}
			})
		})
	}
}

func TestReader_OneRequestAtTheFirstRead(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		for _, size := range []int64{info.Size, -1} {
			before := b.Counts().Calls["ReadRange"]
			r := blob.NewReader(t.Context(), b, info.Key, info.Version, 0, size)
			if n := b.Counts().Calls["ReadRange"] - before; n != 0 {
				t.Errorf("%d requests before the first Read", n)
			}
			if _, err := io.ReadAll(iotest.OneByteReader(r)); err != nil {
				t.Error(err)
			}
			if n := b.Counts().Calls["ReadRange"] - before; n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			r.Close()
			if _, err := r.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("closed: error %v, want fs.ErrClosed", err)
			}
		}
	})
}

func TestReader_RequestsRangesOf8MiB(t *testing.T) {
	var b blobtest.Bucket
	data := strings.Repeat("0123456", 3<<20) // 21 MiB
	info := create(t, &b, "object", data)
	for _, size := range []int64{info.Size, -1} {
		before := b.Counts()
		r := blob.NewReader(t.Context(), &b, info.Key, "", 0, size)
		if got, err := io.ReadAll(r); string(got) != data || err != nil {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		r.Close()
		after := b.Counts()
		if n := after.Calls["ReadRange"] - before.Calls["ReadRange"]; n != 3 || after.Read-before.Read != info.Size {
			t.Errorf("%d requests for %d bytes, want 3 for %d", n, after.Read-before.Read, info.Size)
		}
	}
}

// All ranges are of the version that the first response had.
func TestReader_WithoutVersion_ObjectReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		b.Fail = reads(blobtest.Fault{CutAfter: 10})
		r := blob.NewReader(t.Context(), b, info.Key, "", 0, -1)
		defer r.Close()
		if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		if err := b.Put(t.Context(), info.Key, strings.NewReader(strings.ToUpper(letters))); err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(r); len(data) > 0 || !errors.Is(err, blob.ErrChanged) {
			t.Errorf("read %q, %v; want ErrChanged", data, err)
		}
	})
}

var errStore = errors.New("store failed")

// This table says after how many attempts, and how long, a read gives up.
func TestReader_GivesUp(t *testing.T) {
	const sec = time.Second
	for _, test := range []struct {
		name     string
		fault    blobtest.Fault
		happen   func(ctx context.Context, b *blobtest.Bucket) error // instead
		err      error
		attempts int
		time     time.Duration // without the waits
		waits    bool          // between all attempts: at most 62.6 s
		small    int           // attempts of ReadAll, with waits of at most 6.2 s
	}{
		{"no fault", blobtest.Fault{}, nil, nil, 1, 0, false, 1},
		{"status 500", blobtest.Fault{Err: errStore}, nil, errStore, 12, 0, true, 6},
		{"status 500 after 5 s", blobtest.Fault{Err: errStore, Delay: 5 * sec}, nil, errStore, 12, 60 * sec, true, 6},
		{"cut before the first byte", blobtest.Fault{CutAfter: -1}, nil, io.ErrUnexpectedEOF, 12, 0, true, 6},
		{"complete before the first byte", blobtest.Fault{EOFAfter: -1}, nil, io.ErrUnexpectedEOF, 12, 0, true, 6},
		{"hangs before the response", blobtest.Fault{Delay: time.Hour}, nil, nil, 12, 240 * sec, true, 6},
		{"hangs before the first byte", blobtest.Fault{HangAfter: -1}, nil, nil, 12, 240 * sec, true, 6},
		{"permission denied", blobtest.Fault{Err: fs.ErrPermission}, nil, fs.ErrPermission, 1, 0, false, 1},
		{"object missing", blobtest.Fault{Err: fs.ErrNotExist}, nil, fs.ErrNotExist, 1, 0, false, 1},
		{"object replaced", blobtest.Fault{}, func(ctx context.Context, b *blobtest.Bucket) error {
			return b.Put(ctx, "object", strings.NewReader("other"))
		}, blob.ErrChanged, 1, 0, false, 1},
		{"object deleted", blobtest.Fault{}, func(ctx context.Context, b *blobtest.Bucket) error {
			return b.Delete(ctx, "object")
		}, fs.ErrNotExist, 1, 0, false, 1},
		{"no such bucket", blobtest.Fault{Err: blob.Permanent(errStore)}, nil, errStore, 1, 0, false, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
				if test.happen != nil {
					if err := test.happen(t.Context(), b); err != nil {
						t.Fatal(err)
					}
				}
				b.Fail = reads(test.fault)
				check := func(what string, err error, attempts int, took, fixed, waits time.Duration) {
					t.Helper()
					failed := test.err != nil || test.waits
					if (err != nil) != failed || test.err != nil && !errors.Is(err, test.err) {
						t.Errorf("%s: error %v, want %v", what, err, test.err)
					}
					if took < fixed || took > fixed+waits {
						t.Errorf("%s: took %v, want %v and waits of up to %v", what, took, fixed, waits)
					}
					if n := b.Counts().Calls["ReadRange"]; n != attempts {
						t.Errorf("%s: %d attempts, want %d", what, n, attempts)
					}
				}
				waits, waitsSmall := time.Duration(0), time.Duration(0)
				if test.waits {
					waits, waitsSmall = 62600*time.Millisecond, 6200*time.Millisecond
				}
				start := time.Now()
				r := blob.NewReader(t.Context(), b, info.Key, info.Version, 0, info.Size)
				defer r.Close()
				_, err := r.Read(make([]byte, 1))
				check("Reader", err, test.attempts, time.Since(start), test.time, waits)

				if errors.Is(test.err, blob.ErrChanged) { // ReadAll accepts every version
					return
				}
				start = time.Now()
				_, err = blob.ReadAll(t.Context(), b, info.Key, 100)
				check("ReadAll", err, test.attempts+test.small, time.Since(start),
					test.time*time.Duration(test.small)/time.Duration(test.attempts), waitsSmall)
			})
		})
	}
}

// A read that brought bytes before counts failures from there.
func TestReader_GivesUpInTheMiddle(t *testing.T) {
	for name, test := range map[string]struct {
		fault    blobtest.Fault
		err      error
		says     string
		attempts int
		time     time.Duration // without the waits
	}{
		"status 500": {blobtest.Fault{Err: errStore}, errStore, "12 failures in a row: store failed", 12, 0},
		"cut":        {blobtest.Fault{CutAfter: -1}, io.ErrUnexpectedEOF, "12 failures in a row: unexpected EOF", 12, 0},
		"complete":   {blobtest.Fault{EOFAfter: -1}, io.ErrUnexpectedEOF, "12 failures in a row: unexpected EOF", 12, 0},
		"hangs": {
			blobtest.Fault{HangAfter: -1}, nil, "12 failures in a row: the store sent nothing within 20s", 12, 220 * time.Second,
		},
		"denied": {blobtest.Fault{Err: fs.ErrPermission}, fs.ErrPermission, "permission denied", 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
				b.Fail = func(op blobtest.Op) blobtest.Fault {
					if op.Method == blobtest.ReadRange && op.N > 1 {
						return test.fault
					}
					return blobtest.Fault{CutAfter: 3}
				}
				start := time.Now()
				r := blob.NewReader(t.Context(), b, info.Key, info.Version, 0, info.Size)
				defer r.Close()
				data, err := io.ReadAll(r)
				if string(data) != "abc" || test.err != nil && !errors.Is(err, test.err) {
					t.Errorf("read %q, %v; want %q, %v", data, err, "abc", test.err)
				}
				if want := `read "object" at byte 3: ` + test.says; err == nil || err.Error() != want {
					t.Errorf("error %v, want %s", err, want)
				}
				// The first attempt returned bytes and then failed, so eleven more fail.
				if n := b.Counts().Calls["ReadRange"]; n != test.attempts {
					t.Errorf("%d attempts, want %d", n, test.attempts)
				}
				if took := time.Since(start); took < test.time || took > test.time+62600*time.Millisecond {
					t.Errorf("took %v, want %v and waits of up to 62.6 s", took, test.time)
				}
				if _, again := r.Read(make([]byte, 1)); !errors.Is(again, err) {
					t.Errorf("read again: %v, want %v", again, err)
				}
				if n := b.Counts().Calls["ReadRange"]; n != test.attempts {
					t.Errorf("%d attempts after the end", n)
				}
			})
		})
	}
}

func TestReader_ByteResetsFailures(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		b.Fail = func(op blobtest.Op) blobtest.Fault {
			if op.N == 12 { // eleven failures, and then one byte before the connection breaks: the first failure
				return blobtest.Fault{CutAfter: 1}
			}
			return blobtest.Fault{CutAfter: -1}
		}
		r := blob.NewReader(t.Context(), b, info.Key, info.Version, 0, info.Size)
		defer r.Close()
		data, err := io.ReadAll(r)
		if string(data) != "a" || err == nil {
			t.Errorf("read %q, %v; want %q and an error", data, err, "a")
		}
		if n := b.Counts().Calls["ReadRange"]; n != 23 {
			t.Errorf("%d attempts, want 12 and 11", n)
		}
	})
}

func TestReader_WaitsDouble(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		const rounds = 200
		longest := make([]time.Duration, 12)
		var total time.Duration
		for range rounds {
			n, last := 0, time.Now()
			b.Fail = func(blobtest.Op) blobtest.Fault {
				wait := time.Since(last)
				longest[n] = max(longest[n], wait)
				total += wait
				last = time.Now()
				n++
				return blobtest.Fault{Err: io.ErrUnexpectedEOF}
			}
			r := blob.NewReader(t.Context(), b, info.Key, info.Version, 0, info.Size)
			if _, err := r.Read(make([]byte, 1)); err == nil {
				t.Error("no error")
			}
			r.Close()
		}
		// Random over the whole range: the longest of 200 waits is short of 9/10 of it once in 10^9 times.
		for i, ms := range []int64{0, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000, 10_000} {
			limit := time.Duration(ms) * time.Millisecond
			if got := longest[i]; got > limit || got < limit*9/10 {
				t.Errorf("the longest wait before attempt %d is %v, want just under %v", i+1, got, limit)
			}
		}
		if mean := total / rounds; mean < 29*time.Second || mean > 34*time.Second {
			t.Errorf("gave up after %v on average, want 31.3s", mean)
		}
	})
}

func TestReader_HangsInTheMiddle(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		b.Fail = reads(blobtest.Fault{HangAfter: 20})
		r := blob.NewReader(t.Context(), b, info.Key, info.Version, 0, info.Size)
		defer r.Close()
		start := time.Now()
		if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // a slow caller keeps no request waiting
		if data, err := io.ReadAll(r); string(data) != letters[10:] || err != nil {
			t.Errorf("read %q, %v", data, err)
		}
		if took := time.Since(start) - time.Hour; took < 20*time.Second || took > 20200*time.Millisecond {
			t.Errorf("took %v, want 20s and a wait of up to 0.2s", took)
		}
		if n := b.Counts().Calls["ReadRange"]; n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

// slowBucket computes for a long time without the timeout of a request, as a folder does.
type slowBucket struct {
	blob.Bucket

	delay time.Duration
}

func (b slowBucket) ReadRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	untimed := blob.Untimed(ctx)
	select {
	case <-time.After(b.delay):
	case <-untimed.Done():
		return buf, blob.Info{}, context.Cause(untimed)
	}
	return b.Bucket.ReadRange(untimed, key, version, off, n, buf)
}

// deafBucket returns a permanent error of its own when the context of a request ends.
type deafBucket struct{ blob.Bucket }

func (b deafBucket) ReadRange(
	ctx context.Context, key, version string, off, n int64, buf []byte,
) ([]byte, blob.Info, error) {
	data, info, err := b.Bucket.ReadRange(ctx, key, version, off, n, buf)
	if ctx.Err() != nil {
		err = blob.Permanent(errStore)
	}
	return data, info, err
}

func TestReader_TimeoutIsNotPermanent(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		for _, after := range []int64{10, -1} {
			b.Fail = func(op blobtest.Op) blobtest.Fault {
				if op.N%2 == 1 {
					return blobtest.Fault{HangAfter: after}
				}
				return blobtest.Fault{}
			}
			r := blob.NewReader(t.Context(), deafBucket{b}, info.Key, info.Version, 0, info.Size)
			if data, err := io.ReadAll(r); string(data) != letters || err != nil {
				t.Errorf("hangs after %d bytes: read %q, %v", after, data, err)
			}
			r.Close()
		}
	})
}

func TestReader_UntimedBucket(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		slow := slowBucket{b, time.Hour}
		r := blob.NewReader(ctx, slow, info.Key, info.Version, 0, info.Size)
		if data, err := io.ReadAll(r); string(data) != letters || err != nil {
			t.Errorf("read %q, %v", data, err)
		}
		r.Close()
		slow.delay = 24 * time.Hour
		if _, err := blob.ReadAll(ctx, slow, info.Key, 100); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want context.DeadlineExceeded", err)
		}
		if took := time.Since(start); took != 2*time.Hour {
			t.Errorf("took %v, want 2h", took)
		}
	})
}

func TestReader_PermanentErrorInTheMiddle(t *testing.T) {
	for name, test := range map[string]struct {
		happen func(ctx context.Context, b *blobtest.Bucket) error
		err    error
	}{
		"if the object is replaced": {
			func(ctx context.Context, b *blobtest.Bucket) error {
				return b.Put(ctx, "object", strings.NewReader(strings.ToUpper(letters)))
			}, blob.ErrChanged,
		},
		"if the object is deleted": {
			func(ctx context.Context, b *blobtest.Bucket) error { return b.Delete(ctx, "object") }, fs.ErrNotExist,
		},
		"if it is forbidden": {
			func(_ context.Context, b *blobtest.Bucket) error {
				b.Fail = reads(blobtest.Fault{Err: fmt.Errorf("403: %w", fs.ErrPermission)})
				return nil
			}, fs.ErrPermission,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
				b.Fail = reads(blobtest.Fault{CutAfter: 10})
				r := blob.NewReader(t.Context(), b, info.Key, info.Version, 5, info.Size)
				defer r.Close()
				if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
					t.Fatal(err)
				}
				if err := test.happen(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				before := b.Counts().Calls["ReadRange"]
				_, err := io.ReadAll(r)
				if !errors.Is(err, test.err) || !strings.HasPrefix(err.Error(), `read "object" at byte 15: `) {
					t.Errorf("error %v, want %v at byte 15", err, test.err)
				}
				if n := b.Counts().Calls["ReadRange"] - before; n != 1 {
					t.Errorf("%d more requests, want 1", n)
				}
			})
		})
	}
}

func TestReader_ContextEnds(t *testing.T) {
	errTime := errors.New("time is up")
	for name, fault := range map[string]blobtest.Fault{
		"while it waits":      {CutAfter: -1},
		"during a response":   {HangAfter: -1},
		"before the response": {Delay: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
				b.Fail = reads(fault)
				start := time.Now()
				ctx, cancel := context.WithDeadlineCause(t.Context(), start.Add(50*time.Millisecond), errTime)
				defer cancel()
				r := blob.NewReader(ctx, b, info.Key, info.Version, 0, info.Size)
				defer r.Close()
				_, err := r.Read(make([]byte, 1))
				if want := `read "object" at byte 0: time is up`; !errors.Is(err, errTime) || err.Error() != want {
					t.Errorf("error %v, want %s", err, want)
				}
				if took := time.Since(start); took != 50*time.Millisecond {
					t.Errorf("took %v, want 50ms", took)
				}
			})
		})
	}
}

func TestReader_OffsetOutsideTheObject(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		for _, offset := range []int64{-1, 27} {
			r := blob.NewReader(t.Context(), b, info.Key, info.Version, offset, info.Size)
			if _, err := r.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("at %d: error %v", offset, err)
			}
			r.Close()
		}
		// With an unknown size it is at the end.
		r := blob.NewReader(t.Context(), b, info.Key, info.Version, 27, -1)
		if data, err := io.ReadAll(r); len(data) > 0 || err != nil {
			t.Errorf("read %q, %v; want nothing", data, err)
		}
		r.Close()
		if n := b.Counts().Calls["ReadRange"]; n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestReader_StopsAtSize(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		r := blob.NewReader(t.Context(), b, info.Key, "", 5, 20)
		defer r.Close()
		if data, err := io.ReadAll(r); string(data) != letters[5:20] || err != nil {
			t.Errorf("read %q, %v; want %q", data, err, letters[5:20])
		}
	})
}
