package dirblob_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/blob/blobtest/versitygw"
	"groupimport/pkg/blob/dirblob"
)

func TestBucket(t *testing.T) {
	blobtest.TestBucket(t, func(t *testing.T) blob.Bucket {
		b, dir := open(t)
		t.Cleanup(func() { noLeftovers(t, dir) })
		return b
	})
}

// TestBucket_WithoutHardLinks runs the suite in memory where there is room, and TestBucket runs it on the disk.
func TestBucket_WithoutHardLinks(t *testing.T) {
	blobtest.TestBucket(t, func(t *testing.T) blob.Bucket {
		b, dir := openBelow(t, versitygw.TempDir(t))
		t.Cleanup(func() { noLeftovers(t, dir) })
		return dirblob.WithoutLinks(b)
	})
}

func TestOpen_FolderMissing(t *testing.T) {
	if _, err := dirblob.Open(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
}

func TestBucket_ObjectsAreFiles(t *testing.T) {
	b, dir := open(t)
	must(t, b.Put(t.Context(), "exports/acme.jsonl.import/checkpoint", strings.NewReader("data")))
	if got := readFile(t, dir, "exports/acme.jsonl.import/checkpoint"); got != "data" {
		t.Errorf("the file holds %q", got)
	}
	writeFile(t, dir, "exports/dropped.jsonl", "by hand")
	if got, err := blob.ReadAll(t.Context(), b, "exports/dropped.jsonl", 100); string(got) != "by hand" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestBucket_NoKeyLeavesTheFolder(t *testing.T) {
	b, dir := open(t)
	ctx := t.Context()
	outside := filepath.Join(filepath.Dir(dir), "outside")
	must(t, os.Mkdir(outside, 0o777))
	writeFile(t, outside, "secret", "secret")
	must(t, os.Symlink(outside, filepath.Join(dir, "link")))
	must(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "secret")))

	for _, key := range []string{
		"", "/", "/etc/passwd", "..", "../outside/secret", "a/../../outside/secret", "a/..", "a//b", "./a", ".", "a/",
		`..\outside\secret`,
		"a\x00b", ".0123456789abcdef.tmp", "link/secret",
	} {
		_, statErr := b.Stat(ctx, key)
		_, _, readErr := b.ReadRange(ctx, key, "", 0, 1, nil)
		if !blob.IsPermanent(readErr) {
			t.Errorf("ReadRange(%q): error %v, want a permanent one", key, readErr)
		}
		for method, err := range map[string]error{
			"Stat":   statErr,
			"Read":   readErr,
			"Create": b.Create(ctx, key, []byte("data")),
			"Put":    b.Put(ctx, key, strings.NewReader("data")),
			"Delete": b.Delete(ctx, key),
		} {
			if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
				t.Errorf("%s(%q): error %v", method, key, err)
			}
		}
	}
	if _, err := blob.ReadAll(ctx, b, "secret", 100); !blob.IsPermanent(err) || strings.Contains(err.Error(), "in a row") {
		t.Errorf("link to outside: error %v, want a permanent one", err)
	}
	must(t, b.Put(ctx, "secret", strings.NewReader("data"))) // replaces the link
	if got := readFile(t, outside, "secret"); got != "secret" {
		t.Errorf("outside is %q", got)
	}
	if got, want := keys(t, b, "", ""), []string{"secret"}; !slices.Equal(got, want) {
		t.Errorf("List yields %q, want %q", got, want)
	}
	for info, err := range b.List(ctx, "link/", "") {
		if err == nil {
			t.Errorf("List yields %q", info.Key)
		}
	}
}

func TestBucket_LinksInsideAreFollowed(t *testing.T) {
	b, dir := open(t)
	writeFile(t, dir, "folder/file", "data")
	must(t, os.Symlink("folder/file", filepath.Join(dir, "link")))
	must(t, os.Symlink("folder", filepath.Join(dir, "linked")))
	for _, key := range []string{"link", "linked/file"} {
		if got, err := blob.ReadAll(t.Context(), b, key, 100); string(got) != "data" || err != nil {
			t.Errorf("%q: read %q, %v", key, got, err)
		}
	}
	if got, want := keys(t, b, "", ""), []string{"folder/file", "link"}; !slices.Equal(got, want) {
		t.Errorf("List yields %q, want %q", got, want)
	}
}

// large is as much as a file may hold whose version is not remembered.
var large = strings.Repeat("x", 64<<10)

func TestVersion_FollowsTheContent(t *testing.T) {
	b, dir := open(t)
	path := filepath.Join(dir, "object")
	longAgo := time.Now().Add(-time.Hour)
	version := func() string {
		t.Helper()
		info, err := b.Stat(t.Context(), "object")
		must(t, err)
		return info.Version
	}

	writeFile(t, dir, "object", large+"12345")
	must(t, os.Chtimes(path, longAgo, longAgo))
	first := version()
	if want := fmt.Sprintf("-%d", len(large)+5); !strings.HasSuffix(first, want) || len(first) != 16+len(want) {
		t.Errorf("version is %q, want 16 digits and %q", first, want)
	}
	must(t, os.Chtimes(path, longAgo, longAgo.Add(time.Minute)))
	if got := version(); got != first {
		t.Errorf("touched: %s, want %s", got, first)
	}
	writeFile(t, dir, "copy", large+"12345")
	must(t, os.Rename(filepath.Join(dir, "copy"), path))
	if got := version(); got != first {
		t.Errorf("copied: %s, want %s", got, first)
	}

	// One of size, modification time and identity changes. The others stay.
	writeFile(t, dir, "object", large+"123456")
	must(t, os.Chtimes(path, longAgo, longAgo))
	second := version()
	writeFile(t, dir, "object", large+"1234567")
	must(t, os.Chtimes(path, longAgo, longAgo))
	if got := version(); got == second {
		t.Errorf("another size: still %s", got)
	}
	writeFile(t, dir, "object", large+"7654321")
	must(t, os.Chtimes(path, longAgo, longAgo.Add(time.Nanosecond)))
	third := version()
	writeFile(t, dir, "copy", large+"abcdefg")
	must(t, os.Chtimes(filepath.Join(dir, "copy"), longAgo, longAgo.Add(time.Nanosecond)))
	must(t, os.Rename(filepath.Join(dir, "copy"), path))
	if got := version(); got == third {
		t.Errorf("another file: still %s", got)
	}
	fourth := version()
	writeFile(t, dir, "object", large+"gfedcba")
	must(t, os.Chtimes(path, longAgo, longAgo.Add(time.Minute)))
	if got := version(); got == fourth {
		t.Errorf("another time: still %s", got)
	}
}

func TestVersion_UnchangedFileIsHashedOnce(t *testing.T) {
	b, dir := open(t)
	path := filepath.Join(dir, "object")
	longAgo := time.Now().Add(-time.Hour)
	writeFile(t, dir, "object", large+"12345")
	must(t, os.Chtimes(path, longAgo, longAgo))
	first, err := b.Stat(t.Context(), "object")
	must(t, err)

	// A rewrite that keeps size and modification time goes unnoticed: the file is not read again.
	writeFile(t, dir, "object", large+"54321")
	must(t, os.Chtimes(path, longAgo, longAgo))
	again, err := b.Stat(t.Context(), "object")
	must(t, err)
	if again.Version != first.Version || again.Size != first.Size {
		t.Errorf("Stat says %+v, want the version of %+v", again, first)
	}
	_, _, err = b.ReadRange(t.Context(), "object", first.Version, 0, 1, nil)
	must(t, err)
}

func TestVersion_FreshFileIsNotRemembered(t *testing.T) {
	b, dir := open(t)
	path := filepath.Join(dir, "object")
	now := time.Now()
	for _, modified := range []time.Time{now, now.Add(-time.Second), now.Add(time.Hour)} {
		writeFile(t, dir, "object", large+"12345")
		must(t, os.Chtimes(path, modified, modified))
		first, err := b.Stat(t.Context(), "object")
		must(t, err)
		writeFile(t, dir, "object", large+"54321") // in the same tick of the clock
		must(t, os.Chtimes(path, modified, modified))
		again, err := b.Stat(t.Context(), "object")
		must(t, err)
		if again.Version == first.Version {
			t.Errorf("modified %v from now: the version stays, and the content has changed", modified.Sub(now))
		}
		if _, _, err := b.ReadRange(t.Context(), "object", first.Version, 0, 1, nil); !errors.Is(err, blob.ErrChanged) {
			t.Errorf("modified %v from now: error %v, want ErrChanged", modified.Sub(now), err)
		}
	}
}

func TestVersion_OnlyLargeFilesAreRemembered(t *testing.T) {
	b, dir := open(t)
	longAgo := time.Now().Add(-time.Hour)
	for name, data := range map[string]string{"large": large + "1", "limit": large, "small": "1", "a/b": large + "2"} {
		writeFile(t, dir, name, data)
		must(t, os.Chtimes(filepath.Join(dir, name), longAgo, longAgo))
		_, err := b.Stat(t.Context(), name)
		must(t, err)
	}
	if got := dirblob.Remembered(b); got != 2 {
		t.Errorf("%d versions are remembered, want 2", got)
	}

	// The first has shrunk, and the second was deleted.
	writeFile(t, dir, "large", "1")
	_, err := b.Stat(t.Context(), "large")
	must(t, err)
	must(t, b.Delete(t.Context(), "a/b"))
	if got := dirblob.Remembered(b); got != 0 {
		t.Errorf("%d versions are remembered, want 0", got)
	}
}

func TestReadRange_FileReplaced(t *testing.T) {
	b, dir := open(t)
	data := strings.Repeat("0123456789", 30_000) // two ranges
	writeFile(t, dir, "object", data)
	r := blob.NewReader(t.Context(), b, "object", "", 0, -1)
	defer r.Close()
	_, err := io.ReadFull(r, make([]byte, 100))
	must(t, err)
	must(t, b.Put(t.Context(), "object", strings.NewReader(data))) // the same version in another file
	_, err = io.ReadFull(r, make([]byte, 270_000))
	must(t, err)

	r = blob.NewReader(t.Context(), b, "object", "", 0, -1)
	defer r.Close()
	_, err = io.ReadFull(r, make([]byte, 100))
	must(t, err)
	must(t, b.Put(t.Context(), "object", strings.NewReader("other")))
	rest, err := io.ReadAll(r)
	if !errors.Is(err, blob.ErrChanged) || !strings.HasPrefix(data[100:], string(rest)) {
		t.Errorf("read %d bytes, %v; want the rest of a range and ErrChanged", len(rest), err)
	}
}

func TestReadRange_FileRewrittenInPlace(t *testing.T) {
	const size = 300_000 // two ranges
	for name, rewrite := range map[string]func(f *os.File) error{
		"truncated":           func(f *os.File) error { return f.Truncate(5000) },
		"emptied":             func(f *os.File) error { return f.Truncate(0) },
		"longer":              func(f *os.File) error { _, err := f.WriteAt([]byte("b"), size); return err },
		"written":             func(f *os.File) error { _, err := f.WriteAt([]byte("b"), size-1); return err },
		"written where it is": func(f *os.File) error { _, err := f.WriteAt([]byte("b"), 200); return err },
	} {
		b, dir := open(t)
		writeFile(t, dir, "object", strings.Repeat("a", size))
		path := filepath.Join(dir, "object")
		longAgo := time.Now().Add(-time.Hour)
		must(t, os.Chtimes(path, longAgo, longAgo))
		info, err := b.Stat(t.Context(), "object")
		must(t, err)
		r := blob.NewReader(t.Context(), b, "object", info.Version, 0, info.Size)
		_, err = io.ReadFull(r, make([]byte, 100))
		must(t, err)

		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		must(t, rewrite(f))
		must(t, f.Close())
		rest, err := io.ReadAll(r)
		if !errors.Is(err, blob.ErrChanged) || strings.Trim(string(rest), "a") != "" || len(rest) > 256<<10 {
			t.Errorf("%s: read %d bytes, %v; want no byte of another version and ErrChanged", name, len(rest), err)
		}
		r.Close()
		for _, off := range []int64{0, 100} {
			if _, _, err := b.ReadRange(t.Context(), "object", info.Version, off, 10, nil); !errors.Is(err, blob.ErrChanged) {
				t.Errorf("%s: from %d on: error %v, want ErrChanged", name, off, err)
			}
		}
	}
}

func TestReadRange_HasLimit(t *testing.T) {
	b, dir := open(t)
	writeFile(t, dir, "object", strings.Repeat("x", 1<<20))
	data, info, err := b.ReadRange(t.Context(), "object", "", 0, 8<<20, nil)
	if len(data) != 256<<10 || info.Size != 1<<20 || err != nil {
		t.Errorf("read %d bytes of %d, %v; want 256 KiB", len(data), info.Size, err)
	}
}

// A file whose modification time is always in the future, as on a server whose clock is ahead, is not
// hashed for each range.
func TestVersion_ModifiedInTheFuture(t *testing.T) {
	b, dir := open(t)
	path := filepath.Join(dir, "object")
	future := time.Now().Add(24 * time.Hour)
	write := func(data string) {
		t.Helper()
		writeFile(t, dir, "object", large+data)
		must(t, os.Chtimes(path, future, future))
	}
	version := func() string {
		t.Helper()
		info, err := b.Stat(t.Context(), "object")
		must(t, err)
		return info.Version
	}
	write("12345")
	first := version()
	write("54321")
	second := version()
	if second == first {
		t.Error("the version is remembered right after the file was first seen")
	}
	time.Sleep(2100 * time.Millisecond)
	version() // remembered, as the file has not changed for 2 s
	// A rewrite that keeps size and modification time goes unnoticed now: the file is not read again.
	write("abcde")
	if got := version(); got != second {
		t.Errorf("version %s, want %s: the file was read again", got, second)
	}
}

func TestStat_FileBeingWritten(t *testing.T) {
	b, dir := open(t)
	path := filepath.Join(dir, "object")
	must(t, os.WriteFile(path, make([]byte, 64<<20), 0o666))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	must(t, err)
	defer f.Close()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				f.WriteString("x")
			}
		}
	}()
	info, err := b.Stat(t.Context(), "object")
	close(stop)
	<-stopped
	if !errors.Is(err, blob.ErrChanged) {
		t.Errorf("%+v, error %v, want ErrChanged", info, err)
	}
}

func TestStat_HashingEndsWithTheContext(t *testing.T) {
	b, dir := open(t)
	f, err := os.Create(filepath.Join(dir, "object"))
	must(t, err)
	must(t, f.Truncate(1<<40)) // without blocks; it would take minutes to read
	must(t, f.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := b.Stat(ctx, "object"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want context.DeadlineExceeded", err)
	}
}

const (
	temp      = ".0123456789abcdef.tmp"
	otherTemp = ".fedcba9876543210.tmp"
)

func TestList_OmitsTemporaryFilesAndRemovesNothing(t *testing.T) {
	b, dir := open(t)
	longAgo := time.Now().Add(-48 * time.Hour)
	all := []string{".0123456789ABCDEF.tmp", ".0123456789abcde.tmp", temp, ".cache.tmp", "a/" + temp, "a/x.tmp"}
	for _, name := range all {
		writeFile(t, dir, name, "data")
		must(t, os.Chtimes(filepath.Join(dir, name), longAgo, longAgo))
	}
	want := []string{".0123456789ABCDEF.tmp", ".0123456789abcde.tmp", ".cache.tmp", "a/x.tmp"}
	if got := keys(t, b, "", ""); !slices.Equal(got, want) {
		t.Errorf("List yields %q, want %q", got, want)
	}
	if got := files(t, dir); !slices.Equal(got, all) {
		t.Errorf("left are %q, want %q", got, all)
	}
}

// inWork says that temporary files of what is written about a.jsonl belong into its work folder.
func inWork(key string) string {
	if strings.HasPrefix(key, "a.jsonl.") {
		return "a.jsonl.import/"
	}
	return ""
}

func TestKeepTempFilesIn_OldOnesAreRemovedThereOnly(t *testing.T) {
	b, dir := open(t)
	b.KeepTempFilesIn(inWork)
	longAgo := time.Now().Add(-25 * time.Hour)
	for _, name := range []string{
		temp, "other/" + temp, "a.jsonl.import/" + temp, "a.jsonl.import/parts/" + temp, "a.jsonl.import/.cache.tmp",
	} {
		writeFile(t, dir, name, "data")
		must(t, os.Chtimes(filepath.Join(dir, name), longAgo, longAgo))
	}
	writeFile(t, dir, "a.jsonl.import/"+otherTemp, "a writer at work")
	must(t, b.Put(t.Context(), "a.jsonl.results", strings.NewReader("data")))
	want := []string{
		temp, "a.jsonl.import/.cache.tmp", "a.jsonl.import/" + otherTemp, "a.jsonl.results", "other/" + temp,
	}
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
}

func TestKeepTempFilesIn_WhereTheyAreWritten(t *testing.T) {
	b, dir := open(t)
	b.KeepTempFilesIn(inWork)
	outside := t.TempDir()
	written := func(key string) []string {
		t.Helper()
		var names []string
		must(t, b.Put(t.Context(), key, readerFunc(func([]byte) (int, error) {
			for _, name := range files(t, dir) {
				if strings.HasSuffix(name, ".tmp") {
					names = append(names, filepath.Dir(name))
				}
			}
			return 0, io.EOF
		})))
		return names
	}
	check := func(name, key, want string) {
		t.Helper()
		if got := written(key); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	check("without a work folder", "a.jsonl.results", ".")
	check("in the work folder", "a.jsonl.import/parts/1", "a.jsonl.import")
	check("with a work folder", "a.jsonl.results", "a.jsonl.import")
	check("of another file", "other", ".")
	must(t, os.RemoveAll(filepath.Join(dir, "a.jsonl.import")))
	must(t, os.Symlink(outside, filepath.Join(dir, "a.jsonl.import")))
	check("with a link in its place", "a.jsonl.results", ".")
}

func TestKeepTempFilesIn_Uploads(t *testing.T) {
	b, dir := open(t)
	b.KeepTempFilesIn(inWork)
	writeFile(t, dir, "a.jsonl.import/checkpoint", "data")
	ctx := t.Context()
	const key = "a.jsonl.results"
	begin := func() string {
		id, err := b.CreateUpload(ctx, key)
		must(t, err)
		if _, err := os.Stat(filepath.Join(dir, "a.jsonl.import", id)); err != nil {
			t.Errorf("no temporary file in the work folder: %v", err)
		}
		return id
	}
	must(t, b.AbortUpload(ctx, key, begin()))
	id := begin()
	tag, err := b.UploadPart(ctx, key, id, 1, []byte("results"))
	must(t, err)
	must(t, b.CompleteUpload(ctx, key, id, []string{tag}))
	if got, err := os.ReadFile(filepath.Join(dir, key)); err != nil || string(got) != "results" {
		t.Errorf("got %q, error %v", got, err)
	}
	if got, want := files(t, dir), []string{"a.jsonl.import/checkpoint", key}; !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestBucket_NamesThatAreTooLong(t *testing.T) {
	b, _ := open(t)
	ctx := t.Context()
	for _, key := range []string{strings.Repeat("x", 256), "a/" + strings.Repeat("群", 86) + "/b"} {
		_, statErr := b.Stat(ctx, key)
		_, peekErr := b.Peek(ctx, key, 0)
		_, _, readErr := b.ReadRange(ctx, key, "", 0, 1, nil)
		for method, err := range map[string]error{"Stat": statErr, "Peek": peekErr, "ReadRange": readErr} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: error %v, want fs.ErrNotExist", method, err)
			}
		}
		must(t, b.Delete(ctx, key))
		if got := keys(t, b, key+"/", "/"); got != nil {
			t.Errorf("List yields %q", got)
		}
		if err := b.Put(ctx, key, strings.NewReader("data")); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Put: error %v, want one about the name", err)
		}
	}
}

func TestBucket_LinksInACircle(t *testing.T) {
	b, dir := open(t)
	must(t, os.Symlink("other", filepath.Join(dir, "one")))
	must(t, os.Symlink("one", filepath.Join(dir, "other")))
	_, err := blob.ReadAll(t.Context(), b, "one", 100)
	if !blob.IsPermanent(err) || strings.Contains(err.Error(), "in a row") {
		t.Errorf("error %v, want a permanent one at once", err)
	}
}

// sparse makes a file of 8 TB that takes no space. Reading it takes hours.
func sparse(t *testing.T, dir, name string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, name))
	must(t, err)
	defer f.Close()
	if err := f.Truncate(8e12); err != nil {
		t.Skip("no file of 8 TB is possible here: ", err)
	}
}

func TestPeek_DoesNotReadLargeFiles(t *testing.T) {
	b, dir := open(t)
	sparse(t, dir, "sparse")
	info, err := b.Peek(t.Context(), "sparse", 1<<20)
	if err != nil || info.Version != "" || info.Size != 8e12 || info.Modified.IsZero() {
		t.Errorf("got %+v, %v", info, err)
	}
	_, err = blob.ReadAll(t.Context(), b, "sparse", 1<<20)
	if err == nil || !strings.Contains(err.Error(), "limit 1048576") {
		t.Errorf("ReadAll: got error %v, want the limit", err)
	}

	writeFile(t, dir, "object", large+"12345")
	longAgo := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(filepath.Join(dir, "object"), longAgo, longAgo))
	if info, err := b.Peek(t.Context(), "object", 1000); err != nil || info.Version != "" {
		t.Errorf("a version that is not known: got %+v, %v", info, err)
	}
	want, err := b.Stat(t.Context(), "object")
	must(t, err)
	for _, limit := range []int64{0, 1000, 1 << 20} {
		if info, err := b.Peek(t.Context(), "object", limit); err != nil || info != want {
			t.Errorf("up to %d bytes: got %+v, %v, want %+v", limit, info, err, want)
		}
	}
	writeFile(t, dir, "small", "data")
	if info, err := b.Peek(t.Context(), "small", 4); err != nil || info.Version == "" {
		t.Errorf("a small file: got %+v, %v", info, err)
	}
}

func TestIdentify_TellsHowFarItHasRead(t *testing.T) {
	b, dir := open(t)
	writeFile(t, dir, "object", large+"12345")
	var last int64
	got, err := b.Identify(t.Context(), "object", func(read, size int64) {
		if read < last || size != int64(len(large)+5) {
			t.Errorf("got %d of %d bytes after %d", read, size, last)
		}
		last = read
	})
	must(t, err)
	if want, err := b.Stat(t.Context(), "object"); err != nil || got != want || last != got.Size {
		t.Errorf("got %+v after %d bytes, Stat says %+v, %v", got, last, want, err)
	}

	sparse(t, dir, "sparse")
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := b.Identify(ctx, "sparse", func(int64, int64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want context.Canceled", err)
	}
}

func TestList_FilesVanish(t *testing.T) {
	b, dir := open(t)
	for i := range 10 {
		writeFile(t, dir, fmt.Sprintf("%d/file", i), "data")
		writeFile(t, dir, fmt.Sprintf("%d-file", i), "data")
	}
	var got []string
	for info, err := range b.List(t.Context(), "", "") {
		must(t, err)
		got = append(got, info.Key)
		must(t, os.RemoveAll(filepath.Join(dir, "7")))
		must(t, os.RemoveAll(filepath.Join(dir, "8-file")))
	}
	if len(got) != 18 {
		t.Errorf("List yields %q", got)
	}
}

func TestPut_ConcurrentWriters(t *testing.T) {
	b, dir := open(t)
	errs := make(chan error)
	for i := range 8 {
		go func() {
			var err error
			for range 10 {
				err = errors.Join(err, b.Put(t.Context(), "a/b/c/object", strings.NewReader(strings.Repeat(fmt.Sprint(i), 1000))))
			}
			errs <- err
		}()
	}
	for range 8 {
		must(t, <-errs)
	}
	if got := readFile(t, dir, "a/b/c/object"); len(got) != 1000 || strings.Count(got, got[:1]) != 1000 {
		t.Errorf("there are %d bytes, %.20q", len(got), got)
	}
	noLeftovers(t, dir)
}

func open(t *testing.T) (b *dirblob.Bucket, dir string) {
	t.Helper()
	return openBelow(t, t.TempDir())
}

func openBelow(t *testing.T, parent string) (b *dirblob.Bucket, dir string) {
	t.Helper()
	dir = filepath.Join(parent, "bucket")
	must(t, os.Mkdir(dir, 0o777))
	b, err := dirblob.Open(dir)
	must(t, err)
	t.Cleanup(func() { must(t, b.Close()) })
	return b, dir
}

func noLeftovers(t *testing.T, dir string) {
	t.Helper()
	for _, name := range files(t, dir) {
		if strings.HasSuffix(name, ".tmp") {
			t.Errorf("%s is left", name)
		}
	}
}

// files returns all files below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	}))
	slices.Sort(names)
	return names
}

func keys(t *testing.T, b blob.Bucket, prefix, delimiter string) []string {
	t.Helper()
	var keys []string
	for info, err := range b.List(t.Context(), prefix, delimiter) {
		must(t, err)
		keys = append(keys, info.Key)
	}
	return keys
}

func writeFile(t *testing.T, dir, name, data string) {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o777))
	must(t, os.WriteFile(path, []byte(data), 0o666))
}

func readFile(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	return string(data)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
