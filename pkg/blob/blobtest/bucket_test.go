package blobtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
)

func TestBucket_InMemory(t *testing.T) {
	blobtest.TestBucket(t, func(*testing.T) blob.Bucket {
		return new(blobtest.Bucket)
	})
}

func TestBucket_FaultsBeforeAndAfterTheEffect(t *testing.T) {
	ctx, errStore := t.Context(), errors.New("store failed")
	for _, applied := range []bool{false, true} {
		var b blobtest.Bucket
		must(t, b.Put(ctx, "old", strings.NewReader("old")))
		b.Fail = func(blobtest.Op) blobtest.Fault { return blobtest.Fault{Err: errStore, Applied: applied} }

		_, statErr := b.Stat(ctx, "old")
		_, _, readErr := b.ReadRange(ctx, "old", "", 0, 1, nil)
		var listed []string
		var listErr error
		for info, err := range b.List(ctx, "", "") {
			listed, listErr = append(listed, info.Key), err
		}
		body := strings.NewReader("new")
		for method, err := range map[string]error{
			"Stat": statErr, "ReadRange": readErr, "List": listErr,
			"Put":    b.Put(ctx, "put", body),
			"Create": b.Create(ctx, "created", []byte("new")),
			"Delete": b.Delete(ctx, "old"),
		} {
			if !errors.Is(err, errStore) {
				t.Errorf("applied %t: %s: error %v, want %v", applied, method, err, errStore)
			}
		}
		if body.Len() > 0 {
			t.Errorf("applied %t: Put left %d bytes of its body", applied, body.Len())
		}
		want, wantListed := map[string][]byte{"old": []byte("old")}, []string{""}
		if applied {
			want, wantListed = map[string][]byte{"put": []byte("new"), "created": []byte("new")}, []string{"old", ""}
		}
		if got := b.Snapshot(); !reflect.DeepEqual(got, want) {
			t.Errorf("applied %t: there is %q, want %q", applied, got, want)
		}
		if !reflect.DeepEqual(listed, wantListed) {
			t.Errorf("applied %t: List yields %q, want %q", applied, listed, wantListed)
		}
	}
}

func TestBucketReadRange_Faults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			fault blobtest.Fault
			data  string
			err   error
		}{
			{blobtest.Fault{CutAfter: 4}, "2345", io.ErrUnexpectedEOF},
			{blobtest.Fault{CutAfter: -1}, "", io.ErrUnexpectedEOF},
			{blobtest.Fault{EOFAfter: 4}, "2345", nil},
			{blobtest.Fault{EOFAfter: -1}, "", nil},
			{blobtest.Fault{HangAfter: 4}, "2345", context.DeadlineExceeded},
			{blobtest.Fault{HangAfter: -1}, "", context.DeadlineExceeded},
			{blobtest.Fault{CutAfter: 5, EOFAfter: 4, HangAfter: 6}, "2345", nil},
			{blobtest.Fault{CutAfter: 5, EOFAfter: 6, HangAfter: 4}, "2345", context.DeadlineExceeded},
			{blobtest.Fault{CutAfter: 100, EOFAfter: 100, HangAfter: 100}, "23456789", nil},
		} {
			b := blobtest.Bucket{Fail: func(blobtest.Op) blobtest.Fault { return test.fault }}
			must(t, b.Create(t.Context(), "object", []byte("0123456789")))
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			data, info, err := b.ReadRange(ctx, "object", "", 2, 100, nil)
			cancel()
			if string(data) != test.data || !errors.Is(err, test.err) {
				t.Errorf("%+v: read %q, %v; want %q, %v", test.fault, data, err, test.data, test.err)
			}
			if info.Size != 10 || info.Version == "" {
				t.Errorf("%+v: info is %+v", test.fault, info)
			}
			if n := b.Counts().Read; n != int64(len(test.data)) {
				t.Errorf("%+v: counted %d bytes", test.fault, n)
			}
		}
	})
}

func TestBucket_DelayPassesBeforeTheEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := blobtest.Bucket{Fail: func(blobtest.Op) blobtest.Fault { return blobtest.Fault{Delay: time.Minute} }}
		start := time.Now()
		must(t, b.Create(t.Context(), "first", nil))
		if took := time.Since(start); took != time.Minute {
			t.Errorf("took %v, want 1m", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if err := b.Create(ctx, "second", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want context.DeadlineExceeded", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
		if n := len(b.Snapshot()); n != 1 {
			t.Errorf("there are %d objects, want 1", n)
		}
	})
}

func TestBucket_OpsAndCounts(t *testing.T) {
	ctx := t.Context()
	var b blobtest.Bucket
	var ops []string
	b.Fail = func(op blobtest.Op) blobtest.Fault {
		ops = append(ops, fmt.Sprintf("%d: %s %s #%d", op.Seq, op.Method, op.Key, op.N))
		return blobtest.Fault{}
	}
	must(t, b.Put(ctx, "a", strings.NewReader("12345")))
	must(t, b.Put(ctx, "b", strings.NewReader("12")))
	must(t, b.Put(ctx, "a", strings.NewReader("123")))
	must(t, b.Create(ctx, "c", []byte("1")))
	if err := b.Create(ctx, "c", []byte("2")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want fs.ErrExist", err)
	}
	if _, err := blob.ReadAll(ctx, &b, "a", 3); err != nil {
		t.Error(err)
	}
	want := []string{"1: Put a #1", "2: Put b #1", "3: Put a #2", "4: Create c #1", "5: Create c #2", "6: ReadRange a #1"}
	if !reflect.DeepEqual(ops, want) {
		t.Errorf("ops are %q, want %q", ops, want)
	}
	wantCounts := blobtest.Counts{Calls: map[string]int{"Put": 3, "Create": 2, "ReadRange": 1}, Read: 3, Written: 12}
	if got := b.Counts(); !reflect.DeepEqual(got, wantCounts) {
		t.Errorf("counts are %+v, want %+v", got, wantCounts)
	}
}

func TestBucketList_OneCallForEachPage(t *testing.T) {
	var b blobtest.Bucket
	for i := range 2001 {
		must(t, b.Create(t.Context(), fmt.Sprintf("%02d/%04d", i%20, i), nil))
	}
	before := b.Counts().Calls["List"]
	for range b.List(t.Context(), "", "") {
	}
	if got := b.Counts().Calls["List"] - before; got != 3 {
		t.Errorf("2,001 objects take %d calls, want 3", got)
	}
	before = b.Counts().Calls["List"]
	for range b.List(t.Context(), "", "/") {
	}
	if got := b.Counts().Calls["List"] - before; got != 1 {
		t.Errorf("20 folders take %d calls, want 1", got)
	}
}

func TestBucketClone_IsIndependent(t *testing.T) {
	ctx := t.Context()
	b := blobtest.Bucket{}
	must(t, b.Create(ctx, "object", []byte("data")))
	b.Fail = func(blobtest.Op) blobtest.Fault { return blobtest.Fault{Err: io.ErrClosedPipe} }
	clone, snapshot := b.Clone(), b.Snapshot()
	must(t, clone.Put(ctx, "object", strings.NewReader("other")))
	must(t, clone.Put(ctx, "new", strings.NewReader("other")))
	clear(snapshot["object"])
	maps.Copy(snapshot, map[string][]byte{"new": nil})
	if got, want := b.Snapshot(), map[string][]byte{"object": []byte("data")}; !reflect.DeepEqual(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
	if got := clone.Counts().Calls; !reflect.DeepEqual(got, map[string]int{"Put": 2}) {
		t.Errorf("the clone counts %v", got)
	}
}

func TestBucket_RejectsKeysThatSomeStoreRejects(t *testing.T) {
	var b blobtest.Bucket
	if err := b.Put(t.Context(), "a//b", strings.NewReader("")); err == nil {
		t.Error("no error")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
