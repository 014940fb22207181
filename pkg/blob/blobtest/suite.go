package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/cespare/xxhash/v2"

	"groupimport/pkg/blob"
)

// TestBucket tests what [blob.Bucket] promises. newBucket returns an empty bucket for each subtest. Subtests run in
// parallel. With a real store behind the bucket, the test writes some 2,700 objects and 80 MB.
func TestBucket(t *testing.T, newBucket func(t *testing.T) blob.Bucket) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, blob.Bucket)
	}{
		{"missing object", testMissing},
		{"what is put is read", testRoundTrip},
		{"large object", testLarge},
		{"range", testRange},
		{"buffer of a range", testRangeBuffer},
		{"reader", testReader},
		{"version", testVersion},
		{"create", testCreate},
		{"create by many at once", testCreateRace},
		{"put replaces as a whole", testPutAtomic},
		{"failing body", testFailingBody},
		{"done context", testContext},
		{"reads end with the context", testContextWhileRead},
		{"keys", testKeys},
		{"list", testList},
		{"list of many", testListMany},
		{"delete", testDelete},
		{"upload", testUpload},
		{"upload that is forgotten", testUploadForgotten},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, newBucket(t))
		})
	}
}

func testMissing(t *testing.T, b blob.Bucket) {
	put(t, b, "folder/object", "data")
	for _, key := range []string{"missing", "missing/object", "folder", "folder/obj", "folder/object2"} {
		if _, err := b.Stat(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Stat(%q): error %v, want fs.ErrNotExist", key, err)
		}
		for _, version := range []string{"", stat(t, b, "folder/object").Version} {
			if _, _, err := b.ReadRange(t.Context(), key, version, 0, 1, nil); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("ReadRange(%q, %q): error %v, want fs.ErrNotExist", key, version, err)
			}
		}
	}
}

func testRoundTrip(t *testing.T, b blob.Bucket) {
	for _, data := range []string{"", "x", "line\nline\r\n\x00\xff", strings.Repeat("0123456789", 10_000)} {
		key := fmt.Sprintf("object of %d", len(data))
		put(t, b, key, data)
		check(t, b, key, data)
		create(t, b, key+", created", data)
		check(t, b, key+", created", data)
	}
}

func testLarge(t *testing.T, b blob.Bucket) {
	const size = 20<<20 + 1
	if err := b.Put(t.Context(), "large", random(size)); err != nil {
		t.Fatal(err)
	}
	info := stat(t, b, "large")
	if info.Size != size {
		t.Fatalf("Size is %d, want %d", info.Size, size)
	}
	for _, offset := range []int64{0, 8 << 20, 16<<20 + 1, size - 1} {
		want := bytes.NewReader(randomData()[offset:size])
		r := blob.NewReader(t.Context(), b, "large", info.Version, offset, -1)
		if got, want := sum(t, r), sum(t, want); got != want {
			t.Errorf("from %d on: read %s, want %s", offset, got, want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func testRange(t *testing.T, b blob.Bucket) {
	const data = "0123456789"
	put(t, b, "object", data)
	put(t, b, "empty", "")
	object, empty := stat(t, b, "object"), stat(t, b, "empty")
	for _, version := range []string{"", object.Version} {
		for _, off := range []int64{0, 1, 9, 10, 11, 1 << 40} {
			for _, n := range []int64{1, 3, 10, 1 << 40} {
				want := data[min(off, 10):]
				want = want[:min(n, int64(len(want)))]
				got, info, err := b.ReadRange(t.Context(), "object", version, off, n, nil)
				if string(got) != want || !sameInfo(info, object) || err != nil {
					t.Errorf("%d bytes from %d on, version %q: read %q of %+v, error %v; want %q of %+v",
						n, off, version, got, info, err, want, object)
				}
			}
		}
	}
	for _, version := range []string{"", empty.Version} {
		got, info, err := b.ReadRange(t.Context(), "empty", version, 0, 5, nil)
		if len(got) > 0 || !sameInfo(info, empty) || err != nil {
			t.Errorf("empty object: read %q of %+v, error %v; want none of %+v", got, info, err, empty)
		}
	}
	for _, r := range [][2]int64{{-1, 1}, {0, 0}, {0, -1}} {
		if _, _, err := b.ReadRange(t.Context(), "object", "", r[0], r[1], nil); !blob.IsPermanent(err) {
			t.Errorf("%d bytes from %d on: error %v, want a permanent one", r[1], r[0], err)
		}
	}
}

// sameInfo compares times in seconds, to which a header rounds them.
func sameInfo(a, b blob.Info) bool {
	isSameTime := a.Modified.Truncate(time.Second).Equal(b.Modified.Truncate(time.Second))
	a.Modified, b.Modified = time.Time{}, time.Time{}
	return isSameTime && a == b
}

// testRangeBuffer checks that the buffer is extended: reused if it is large enough, and never lost.
func testRangeBuffer(t *testing.T, b blob.Bucket) {
	put(t, b, "object", "0123456789")
	large := append(make([]byte, 0, 100), "before "...)
	for _, buf := range [][]byte{large, []byte("before ")} {
		got, _, err := b.ReadRange(t.Context(), "object", "", 2, 3, buf)
		if string(got) != "before 234" || err != nil {
			t.Errorf("read %q, %v; want %q", got, err, "before 234")
		}
		if cap(buf) == 100 && &got[0] != &buf[0] {
			t.Error("a large enough buffer was not used")
		}
		if got, _, err := b.ReadRange(t.Context(), "missing", "", 2, 3, buf); string(got) != "before " || err == nil {
			t.Errorf("missing: read %q, %v; want the buffer as it was and an error", got, err)
		}
	}
}

func testReader(t *testing.T, b blob.Bucket) {
	const data = "0123456789"
	put(t, b, "object", data)
	r := blob.NewReader(t.Context(), b, "object", stat(t, b, "object").Version, 3, 10)
	defer r.Close()
	if err := iotest.TestReader(r, []byte(data[3:])); err != nil {
		t.Error(err)
	}
}

func testVersion(t *testing.T, b blob.Bucket) {
	put(t, b, "object", "first")
	old := stat(t, b, "object").Version
	if again := stat(t, b, "object").Version; again != old || old == "" {
		t.Fatalf("versions of an object that stays: %q, %q", old, again)
	}
	for _, data := range []string{"other", "longer than that", ""} {
		put(t, b, "object", data)
		version := stat(t, b, "object").Version
		if version == old {
			t.Errorf("%q has the version of %q, %s", data, "first", old)
		}
		for _, offset := range []int64{0, 3, 100} {
			if _, _, err := b.ReadRange(t.Context(), "object", old, offset, 1, nil); !errors.Is(err, blob.ErrChanged) {
				t.Errorf("version replaced by %q, from %d on: error %v, want ErrChanged", data, offset, err)
			}
		}
		if got := read(t, b, "object", version); got != data {
			t.Errorf("read %q, want %q", got, data)
		}
	}
	remove(t, b, "object")
	if _, _, err := b.ReadRange(t.Context(), "object", old, 0, 1, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("deleted version: error %v, want fs.ErrNotExist", err)
	}
}

func testCreate(t *testing.T, b blob.Bucket) {
	create(t, b, "a/created", "first")
	put(t, b, "a/put", "first")
	for _, key := range []string{"a/created", "a/put"} {
		for _, data := range []string{"second", "first", ""} {
			if err := b.Create(t.Context(), key, []byte(data)); !errors.Is(err, fs.ErrExist) {
				t.Errorf("Create(%q) of an existing object: error %v, want fs.ErrExist", key, err)
			}
		}
		check(t, b, key, "first")
	}
	put(t, b, "a/created", "second")
	check(t, b, "a/created", "second")
	remove(t, b, "a/created")
	create(t, b, "a/created", "third")
	check(t, b, "a/created", "third")
}

func testCreateRace(t *testing.T, b blob.Bucket) {
	var rounds sync.WaitGroup
	for round := range 10 {
		rounds.Go(func() { TestCreateByMany(t, fmt.Sprintf("lease/%06d", round), b, b, b, b, b, b, b, b) })
	}
	rounds.Wait()
}

// TestCreateByMany creates one key from all buckets concurrently. Exactly one call must succeed, and the object must
// hold the data of that call. The buckets are the same, or have the same objects.
func TestCreateByMany(t *testing.T, key string, buckets ...blob.Bucket) {
	t.Helper()
	errs := make([]error, len(buckets))
	var wg sync.WaitGroup
	for i, b := range buckets {
		wg.Go(func() { errs[i] = b.Create(t.Context(), key, fmt.Appendf(nil, "writer %d", i)) })
	}
	wg.Wait()
	var winners []string
	for i, err := range errs {
		if err == nil {
			winners = append(winners, fmt.Sprintf("writer %d", i))
		} else if !errors.Is(err, fs.ErrExist) {
			t.Errorf("error %v, want fs.ErrExist", err)
		}
	}
	data, err := blob.ReadAll(t.Context(), buckets[0], key, 100)
	if got := string(data); err != nil || len(winners) != 1 || got != winners[0] {
		t.Errorf("won by %q, there is %q, error %v", winners, got, err)
	}
}

func testPutAtomic(t *testing.T, b blob.Bucket) {
	// Whole objects, each of one letter, of different sizes.
	object := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), 300_000+i) }
	put(t, b, "object", object(0))
	old := blob.NewReader(t.Context(), b, "object", "", 0, -1)
	defer old.Close()
	if _, err := io.ReadFull(old, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}

	written := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-written:
					return
				default:
				}
				r := blob.NewReader(t.Context(), b, "object", "", 0, -1)
				testWhole(t, r, 0)
				r.Close()
			}
		})
	}
	for i := range 30 {
		put(t, b, "object", object(i))
	}
	close(written)
	wg.Wait()
	testWhole(t, old, 1)
	check(t, b, "object", object(29))
}

// testWhole reads an object of testPutAtomic, from which skipped bytes were read before, or sees that it
// was replaced.
func testWhole(t *testing.T, r io.Reader, skipped int) {
	data, err := io.ReadAll(r)
	if len(data) > 0 && bytes.Count(data, data[:1]) != len(data) {
		t.Errorf("read a mix of %d bytes, beginning with %q", len(data), data[:1])
	}
	if errors.Is(err, blob.ErrChanged) {
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	if size := len(data) + skipped; size < 300_000 || (size-300_000)%26 != int(data[0]-'a') {
		t.Errorf("read %d bytes, beginning with %q", size, data[:min(1, len(data))])
	}
}

func testFailingBody(t *testing.T, b blob.Bucket) {
	errBody := errors.New("the body's error")
	put(t, b, "there", "old")
	for _, size := range []int64{0, 10, 12 << 20} {
		for _, key := range []string{"there", "missing"} {
			body := io.MultiReader(random(size), iotest.ErrReader(errBody))
			if err := b.Put(t.Context(), key, body); !errors.Is(err, errBody) {
				t.Errorf("Put of a body that fails after %d bytes: error %v, want %v", size, err, errBody)
			}
		}
	}
	check(t, b, "there", "old")
	if got, want := list(t, b, "", ""), []string{"there"}; !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
}

func testContext(t *testing.T, b blob.Bucket) {
	put(t, b, "object", "data")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, statErr := b.Stat(ctx, "object")
	_, _, readErr := b.ReadRange(ctx, "object", "", 0, 1, nil)
	var listErrs []error
	for _, err := range b.List(ctx, "", "") {
		listErrs = append(listErrs, err)
	}
	for method, err := range map[string]error{
		Stat:      statErr,
		ReadRange: readErr,
		Create:    b.Create(ctx, "created", []byte("data")),
		Put:       b.Put(ctx, "object", strings.NewReader("other")),
		List:      errors.Join(listErrs...),
		Delete:    b.Delete(ctx, "object"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v, want context.Canceled", method, err)
		}
	}
	if len(listErrs) != 1 {
		t.Errorf("List yielded %d times, want once", len(listErrs))
	}
	for _, err := range b.List(ctx, "nothing/begins/so", "/") {
		listErrs = append(listErrs, err)
	}
	if len(listErrs) != 2 {
		t.Error("List of what is not there yields no error")
	}
	check(t, b, "object", "data")
	if got, want := list(t, b, "", ""), []string{"object"}; !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}

	// A context that ends while the body is read.
	ctx, cancel = context.WithCancel(t.Context())
	body := io.MultiReader(random(1<<20), readerFunc(func([]byte) (int, error) { cancel(); return 0, io.EOF }), random(1))
	if err := b.Put(ctx, "object", body); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: error %v, want context.Canceled", err)
	}
	check(t, b, "object", "data")
}

func testContextWhileRead(t *testing.T, b blob.Bucket) {
	if err := b.Put(t.Context(), "object", random(8<<20)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := blob.NewReader(ctx, b, "object", "", 0, -1)
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func testKeys(t *testing.T, b blob.Bucket) {
	keys := []string{
		"a b", "a+b", "a%20b", "a%2Bb", "a%2fb", "a%", " a", "a ", "a  b",
		"it's", `a"b"`, "a#b?c=d&e", "a;b:c,d@e!$~*", "(a)[b]{c}<d>|^`", "-rf",
		".hidden", "a..b", "...", "a.", "A", "folder/.hidden", "folder/a b/c+d",
		"群组/导出 1.jsonl", "é", "e\u0301", "👥",
		strings.Repeat("k", 255), "long/" + strings.Repeat("群", 85) + "/" + strings.Repeat("l", 255),
	}
	// Write all objects before the first read, to detect two keys that name one object. A store may take half a second
	// to create an object.
	var wg sync.WaitGroup
	for i, key := range keys {
		if i%2 == 0 {
			put(t, b, key, "at "+key)
			continue
		}
		wg.Go(func() {
			if err := b.Create(t.Context(), key, []byte("at "+key)); err != nil {
				t.Errorf("Create(%q): %v", key, err)
			}
		})
	}
	wg.Wait()
	for _, key := range keys {
		check(t, b, key, "at "+key)
		if got := list(t, b, key, ""); !slices.Contains(got, key) {
			t.Errorf("List(%q) yields %q", key, got)
		}
	}
	slices.Sort(keys)
	if got := list(t, b, "", ""); !slices.Equal(got, keys) {
		t.Errorf("List yields %q, want %q", got, keys)
	}
	for _, key := range keys {
		remove(t, b, key)
	}
	if got := list(t, b, "", ""); len(got) > 0 {
		t.Errorf("left after Delete: %q", got)
	}
}

func testList(t *testing.T, b blob.Bucket) {
	if got := list(t, b, "", ""); len(got) > 0 {
		t.Fatalf("a new bucket has %q", got)
	}
	sizes := make(map[string]int64)
	for i, key := range []string{
		"x/a.jsonl", "x/a.jsonl.import/checkpoint", "x/a.jsonl.import/lease/000001", "x/a.jsonl.report.html",
		"x/a-b", "x/a/b", "x/a/c", "x/a0", "x/sub/b.jsonl", "x/sub/b.jsonl.import/checkpoint", "x-y", "y", "群/组",
	} {
		put(t, b, key, strings.Repeat("x", i))
		sizes[key] = int64(i)
	}
	all := slices.Sorted(maps.Keys(sizes)) // x-y, x/a-b, x/a.…, x/a/…, x/a0, …

	for _, prefix := range []string{
		"", "x", "x/", "x/a", "x/a.jsonl", "x/a.jsonl.import/", "x/a/", "x/s", "x/sub/", "y", "y/", "z", "z/z", "x/a/b",
		"x/a/b/",
		"群", "/", "//", "..", "../", "x/../", "x//", "\x00/",
	} {
		for _, delimiter := range []string{"", "/", "-", ".import/", "l.im"} {
			var want []string
			for _, key := range all {
				if rest, ok := strings.CutPrefix(key, prefix); ok {
					if name, _, ok := strings.Cut(rest, delimiter); ok && delimiter != "" {
						key = prefix + name + delimiter
					}
					want = append(want, key)
				}
			}
			want = slices.Compact(want)
			if got := list(t, b, prefix, delimiter); !slices.Equal(got, want) {
				t.Errorf("List(%q, %q) yields %q, want %q", prefix, delimiter, got, want)
			}
			const after = "x/a.jsonl.import0" // after the folder
			want = slices.DeleteFunc(want, func(key string) bool { return key <= after })
			var got []string
			for info, err := range blob.ListAfter(t.Context(), b, prefix, delimiter, after) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, info.Key)
			}
			if !slices.Equal(got, want) {
				t.Errorf("ListAfter(%q, %q, %q) yields %q, want %q", prefix, delimiter, after, got, want)
			}
		}
	}

	for _, delimiter := range []string{"", "/", ".import/"} {
		for info, err := range b.List(t.Context(), "x/", delimiter) {
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(info.Key, "/") {
				if want := (blob.Info{Key: info.Key}); info != want {
					t.Errorf("List yields %+v, want %+v", info, want)
				}
				continue
			}
			at := stat(t, b, info.Key)
			if info.Size != sizes[info.Key] || info.Modified.IsZero() || info.Version != "" && info.Version != at.Version {
				t.Errorf("List yields %+v, Stat says %+v", info, at)
			}
		}
	}

	for info, err := range b.List(t.Context(), "x/", "") {
		if info.Key != "x/a-b" || err != nil {
			t.Errorf("List yields %q, %v first", info.Key, err)
		}
		break
	}
}

func testListMany(t *testing.T, b blob.Bucket) {
	const n = 2500
	var want, folders []string
	for i := range n {
		folder := fmt.Sprintf("many/%04d.import/", i/2)
		want = append(want, fmt.Sprintf("%spart-%d", folder, i))
		if i%2 == 0 {
			folders = append(folders, folder)
		}
	}
	var wg sync.WaitGroup
	const writers = 16
	for w := range writers {
		wg.Go(func() {
			for i := w; i < n; i += writers {
				if err := b.Put(t.Context(), want[i], strings.NewReader("part")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := list(t, b, "many/", ""); !slices.Equal(got, want) {
		t.Errorf("List yields %d keys, want %d", len(got), len(want))
	}
	for _, delimiter := range []string{"/", ".import/"} {
		if got := list(t, b, "many/", delimiter); !slices.Equal(got, folders) {
			t.Errorf("List by %q yields %d folders, want %d", delimiter, len(got), len(folders))
		}
	}
	if got, want := list(t, b, "", "/"), []string{"many/"}; !slices.Equal(got, want) {
		t.Errorf("List yields %q, want %q", got, want)
	}
}

func testDelete(t *testing.T, b blob.Bucket) {
	put(t, b, "a/b", "data")
	put(t, b, "a/c", "data")
	remove(t, b, "a/b")
	remove(t, b, "a/b")
	remove(t, b, "a")
	remove(t, b, "missing/object")
	if _, err := b.Stat(t.Context(), "a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat after Delete: error %v, want fs.ErrNotExist", err)
	}
	if got, want := list(t, b, "", ""), []string{"a/c"}; !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
}

func put(t *testing.T, b blob.Bucket, key, data string) {
	t.Helper()
	// Behind a reader of no other methods, which cannot be sent twice nor asked for its length.
	if err := b.Put(t.Context(), key, io.MultiReader(strings.NewReader(data))); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, b blob.Bucket, key, data string) {
	t.Helper()
	given := []byte(data)
	if err := b.Create(t.Context(), key, given); err != nil {
		t.Fatal(err)
	}
	clear(given) // is the caller's again
}

func remove(t *testing.T, b blob.Bucket, key string) {
	t.Helper()
	if err := b.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

func stat(t *testing.T, b blob.Bucket, key string) blob.Info {
	t.Helper()
	info, err := b.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if info.Key != key || info.Version == "" || info.Modified.IsZero() {
		t.Errorf("Stat(%q) says %+v", key, info)
	}
	return info
}

func read(t *testing.T, b blob.Bucket, key, version string) string {
	t.Helper()
	r := blob.NewReader(t.Context(), b, key, version, 0, -1)
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// check checks that the object at key holds data.
func check(t *testing.T, b blob.Bucket, key, data string) {
	t.Helper()
	info := stat(t, b, key)
	if info.Size != int64(len(data)) {
		t.Errorf("Stat(%q): Size is %d, want %d", key, info.Size, len(data))
	}
	if got := read(t, b, key, info.Version); got != data {
		t.Errorf("at %q are %d bytes, %.20q; want %d, %.20q", key, len(got), got, len(data), data)
	}
}

func list(t *testing.T, b blob.Bucket, prefix, delimiter string) []string {
	t.Helper()
	var keys []string
	for info, err := range b.List(t.Context(), prefix, delimiter) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// random returns a stream of size bytes, always the same ones.
func random(size int64) io.Reader {
	if data := randomData(); size <= int64(len(data)) {
		return io.LimitReader(bytes.NewReader(data), size)
	}
	return io.LimitReader(rand.NewChaCha8([32]byte{}), size)
}

// randomData returns the beginning of the stream of random. It is generated once.
var randomData = sync.OnceValue(func() []byte {
	data := make([]byte, 21<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data) // never fails
	return data
})

func sum(t *testing.T, r io.Reader) string {
	t.Helper()
	h := xxhash.New()
	n, err := io.Copy(h, r)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d bytes with sum %016x", n, h.Sum64())
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// parts returns the parts of an object of more than two parts.
func parts() (all []byte, parts [][]byte) {
	all, _ = io.ReadAll(random(2*blob.UploadPartSize + 1000)) // a bytes.Reader does not fail
	return all, [][]byte{
		all[:blob.UploadPartSize], all[blob.UploadPartSize : 2*blob.UploadPartSize], all[2*blob.UploadPartSize:],
	}
}

func testUpload(t *testing.T, b blob.Bucket) {
	ctx := t.Context()
	u, ok := b.(blob.Uploader)
	if !ok {
		t.Fatal("the bucket is no blob.Uploader")
	}
	const key = "folder/an object.ndjson"
	put(t, b, key, "before")
	id, err := u.CreateUpload(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	all, parts := parts()
	tags := make([]string, len(parts))
	upload := func(i int, data []byte) {
		t.Helper()
		if tags[i], err = u.UploadPart(ctx, key, id, i+1, data); err != nil {
			t.Fatal(err)
		}
	}
	upload(0, parts[0])
	upload(1, bytes.Repeat([]byte("x"), blob.UploadPartSize)) // of a process that died before it kept the tag
	upload(2, bytes.Repeat([]byte("y"), 5000))
	upload(1, parts[1])
	upload(2, parts[2])
	check(t, b, key, "before")
	for info, err := range b.List(ctx, "folder/", "") {
		if err != nil || info.Key != key {
			t.Errorf("got %q, %v in the list during an upload, want only %q", info.Key, err, key)
		}
	}
	for range 2 { // the response to the first may be lost
		if err := u.CompleteUpload(ctx, key, id, tags); err != nil {
			t.Fatal(err)
		}
		check(t, b, key, string(all))
	}
	// A short part: a server that rejects a long part may close the connection before the client has sent it all.
	if _, err := u.UploadPart(ctx, key, id, 1, parts[0][:1000]); !errors.Is(err, blob.ErrNoUpload) {
		t.Errorf("upload a part after the end: got error %v, want blob.ErrNoUpload", err)
	}
	if err := u.AbortUpload(ctx, key, id); err != nil {
		t.Errorf("abort after the end: got error %v, want none", err)
	}
	check(t, b, key, string(all))
}

func testUploadForgotten(t *testing.T, b blob.Bucket) {
	ctx := t.Context()
	u := b.(blob.Uploader)
	const key = "object"
	put(t, b, key, "before")
	id, err := u.CreateUpload(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := u.UploadPart(ctx, key, id, 1, []byte("a part"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := u.AbortUpload(ctx, key, id); err != nil {
			t.Errorf("abort: got error %v, want none", err)
		}
	}
	if _, err := u.UploadPart(ctx, key, id, 1, []byte("a part")); !errors.Is(err, blob.ErrNoUpload) {
		t.Errorf("upload a part: got error %v, want blob.ErrNoUpload", err)
	}
	if err := u.CompleteUpload(ctx, key, id, []string{tag}); !errors.Is(err, blob.ErrNoUpload) {
		t.Errorf("complete: got error %v, want blob.ErrNoUpload", err)
	}
	check(t, b, key, "before")
}
