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
		if n := b.Counts().Unclosed; n != 0 {
			t.Errorf("%d bodies are not closed", n)
		}
	})
}

func opens(f blobtest.Fault) func(blobtest.Op) blobtest.Fault {
	return func(op blobtest.Op) blobtest.Fault {
		if op.Method == blobtest.Open {
			return f
		}
		return blobtest.Fault{}
	}
}

func TestReaderReadsOn(t *testing.T) {
	for name, fault := range map[string]blobtest.Fault{
		"no fault":                 {},
		"broken off each byte":     {CutAfter: 1},
		"broken off each 5 bytes":  {CutAfter: 5},
		"ended each byte":          {EOFAfter: 1},
		"ended each 13 bytes":      {EOFAfter: 13},
		"ended before the last":    {EOFAfter: 25},
		"broken off after the end": {CutAfter: 26},
		"hung each 7 bytes":        {HangAfter: 7},
		"slow to open":             {Delay: time.Hour, EOFAfter: 10},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
				b.Fail = opens(fault)
				for _, offset := range []int64{0, 1, 25, 26} {
					r := blob.NewReader(t.Context(), b, info.Key, info.Version, offset, info.Size)
					if err := iotest.TestReader(r, []byte(letters[offset:])); err != nil {
						t.Errorf("from %d on: %v", offset, err)
					}
					if err := r.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

func TestReaderOpensOnceAtTheFirstRead(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		r := blob.NewReader(t.Context(), b, info.Key, info.Version, 0, info.Size)
		if n := b.Counts().Calls["Open"]; n != 0 {
			t.Errorf("opened %d times before it is read", n)
		}
		if _, err := io.ReadAll(iotest.OneByteReader(r)); err != nil {
			t.Error(err)
		}
		if n := b.Counts().Calls["Open"]; n != 1 {
			t.Errorf("opened %d times, want 1", n)
		}
		r.Close()
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("closed: error %v, want fs.ErrClosed", err)
		}
	})
}

func TestReaderGivesUpAtTheEighthFailureInARow(t *testing.T) {
	errStore := errors.New("store failed")
	for name, test := range map[string]struct {
		fault blobtest.Fault
		err   error
	}{
		"not opened": {blobtest.Fault{Err: errStore}, errStore},
		"broken off": {blobtest.Fault{CutAfter: -1}, io.ErrUnexpectedEOF},
		"ended":      {blobtest.Fault{EOFAfter: -1}, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
				b.Fail = func(op blobtest.Op) blobtest.Fault {
					if op.Method == blobtest.Open && op.N > 1 {
						return test.fault
					}
					return blobtest.Fault{CutAfter: 3}
				}
				r := blob.NewReader(t.Context(), b, info.Key, info.Version, 0, info.Size)
				defer r.Close()
				data, err := io.ReadAll(r)
				if string(data) != "abc" || !errors.Is(err, test.err) {
					t.Errorf("read %q, %v; want %q, %v", data, err, "abc", test.err)
				}
				if want := `read "object" at byte 3: 8 failures in a row: `; err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("error %v, want one that begins with %s", err, want)
				}
				// The first open brought bytes and then failed, so seven more fail.
				if n := b.Counts().Calls["Open"]; n != 8 {
					t.Errorf("opened %d times, want 8", n)
				}
				if _, again := r.Read(make([]byte, 1)); !errors.Is(again, err) {
					t.Errorf("read again: %v, want %v", again, err)
				}
				if n := b.Counts().Calls["Open"]; n != 8 {
					t.Errorf("opened %d times after it gave up", n)
				}
			})
		})
	}
}

func TestReaderForgetsFailuresOnceAByteComes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		b.Fail = func(op blobtest.Op) blobtest.Fault {
			if op.N%8 == 0 { // seven failures, and then one byte, whose body breaks off: the first failure
				return blobtest.Fault{CutAfter: 1}
			}
			return blobtest.Fault{CutAfter: -1}
		}
		// Bodies 1 to 7 fail; 8 brings a byte and then fails, 9 to 14 fail, 15 would be the eighth.
		r := blob.NewReader(t.Context(), b, info.Key, info.Version, 0, info.Size)
		defer r.Close()
		data, err := io.ReadAll(r)
		if string(data) != "a" || err == nil {
			t.Errorf("read %q, %v; want %q and an error", data, err, "a")
		}
		if n := b.Counts().Calls["Open"]; n != 15 {
			t.Errorf("opened %d times, want 15", n)
		}
	})
}

func TestReaderWaitsLongerAndLonger(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		const rounds = 200
		longest := make([]time.Duration, 8)
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
		for i, ms := range []int64{0, 200, 400, 800, 1600, 3200, 6400, 10_000} {
			limit := time.Duration(ms) * time.Millisecond
			if got := longest[i]; got > limit || got < limit*9/10 {
				t.Errorf("the longest wait before open %d is %v, want just under %v", i+1, got, limit)
			}
		}
		if mean := total / rounds; mean < 10*time.Second || mean > 12600*time.Millisecond {
			t.Errorf("gave up after %v on average, want 11.3s", mean)
		}
	})
}

func TestReaderTakesHalfAMinuteWithoutAByteForAHangUp(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		b.Fail = opens(blobtest.Fault{HangAfter: 20})
		r := blob.NewReader(t.Context(), b, info.Key, info.Version, 0, info.Size)
		defer r.Close()
		start := time.Now()
		// The time of a slow caller does not count.
		if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if data, err := io.ReadAll(r); string(data) != letters[10:] || err != nil {
			t.Errorf("read %q, %v", data, err)
		}
		if took := time.Since(start) - time.Hour; took < 30*time.Second || took > 30200*time.Millisecond {
			t.Errorf("took %v, want 30s and a wait of up to 0.2s", took)
		}
		if n := b.Counts().Calls["Open"]; n != 2 {
			t.Errorf("opened %d times, want 2", n)
		}
	})
}

func TestReaderThatHangsForEverGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		b.Fail = opens(blobtest.Fault{HangAfter: -1})
		r := blob.NewReader(t.Context(), b, info.Key, info.Version, 0, info.Size)
		defer r.Close()
		want := `read "object" at byte 0: 8 failures in a row: no byte came for 30s`
		if _, err := r.Read(make([]byte, 1)); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
}

func TestReaderEndsAtOnce(t *testing.T) {
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
				b.Fail = opens(blobtest.Fault{Err: fmt.Errorf("403: %w", fs.ErrPermission)})
				return nil
			}, fs.ErrPermission,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
				b.Fail = opens(blobtest.Fault{CutAfter: 10})
				r := blob.NewReader(t.Context(), b, info.Key, info.Version, 5, info.Size)
				defer r.Close()
				if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
					t.Fatal(err)
				}
				if err := test.happen(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				before := b.Counts().Calls["Open"]
				_, err := io.ReadAll(r)
				if !errors.Is(err, test.err) || !strings.HasPrefix(err.Error(), `read "object" at byte 15: `) {
					t.Errorf("error %v, want %v at byte 15", err, test.err)
				}
				if n := b.Counts().Calls["Open"] - before; n != 1 {
					t.Errorf("opened %d times more, want 1", n)
				}
			})
		})
	}
}

func TestReaderEndsWithItsContext(t *testing.T) {
	errTime := errors.New("time is up")
	for name, fault := range map[string]blobtest.Fault{
		"while it waits":        {CutAfter: -1},
		"while a body hangs":    {HangAfter: -1},
		"while the store opens": {Delay: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
				b.Fail = opens(fault)
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

func TestReaderRefusesAnOffsetOutsideTheObject(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		for _, offset := range []int64{-1, 27} {
			r := blob.NewReader(t.Context(), b, info.Key, info.Version, offset, info.Size)
			if _, err := r.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("at %d: error %v", offset, err)
			}
			r.Close()
		}
		if n := b.Counts().Calls["Open"]; n != 0 {
			t.Errorf("opened %d times, want 0", n)
		}
	})
}

func TestReaderReadsNoMoreThanTheSize(t *testing.T) {
	inBubble(t, func(t *testing.T, b *blobtest.Bucket, info blob.Info) {
		r := blob.NewReader(t.Context(), b, info.Key, "", 5, 20)
		defer r.Close()
		if data, err := io.ReadAll(r); string(data) != letters[5:20] || err != nil {
			t.Errorf("read %q, %v; want %q", data, err, letters[5:20])
		}
	})
}
