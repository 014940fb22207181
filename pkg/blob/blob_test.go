package blob_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
)

func TestCheckKey(t *testing.T) {
	for _, key := range []string{
		"a", "a/b", ".a", "a..b", "...", "a b+c%d\"'#?&:*", "群组/导出.jsonl", strings.Repeat("k", 1024),
	} {
		if err := blob.CheckKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	for key, want := range map[string]string{
		"":        "is empty",
		"/":       "begins with a slash",
		"/a":      "begins with a slash",
		"a/":      "ends in a slash",
		`a\b`:     "backslash",
		"a\x00b":  "control character",
		"a\nb":    "control character",
		"a\x7f":   "control character",
		".":       `"." or ".."`,
		"..":      `"." or ".."`,
		"../a":    `"." or ".."`,
		"a/../b":  `"." or ".."`,
		"a/./b":   `"." or ".."`,
		"a//b":    "empty",
		"a\xffb":  "UTF-8",
		"a/b/..":  `"." or ".."`,
		"./a":     `"." or ".."`,
		"a\tb\\c": "backslash",
	} {
		if err := blob.CheckKey(key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %s", key, err, want)
		}
	}
}

func TestReadAll(t *testing.T) {
	var b blobtest.Bucket
	create(t, &b, "object", "12345")
	create(t, &b, "empty", "")
	for _, test := range []struct {
		key, want string
		limit     int64
	}{{"object", "12345", 5}, {"object", "12345", 100}, {"empty", "", 0}} {
		if got, err := blob.ReadAll(t.Context(), &b, test.key, test.limit); string(got) != test.want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, test.want)
		}
	}
	if got, err := blob.ReadAll(t.Context(), &b, "object", 4); got != nil || err == nil {
		t.Errorf("over the limit: %q, %v", got, err)
	}
	if got, err := blob.ReadAll(t.Context(), &b, "missing", 4); got != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %q, %v", got, err)
	}
	// create asked for the two objects by Stat.
	if got := b.Counts(); got.Calls["Stat"] != 2 || got.Calls["ReadRange"] != 5 {
		t.Errorf("counts are %+v, want one ReadRange for each ReadAll", got)
	}
}

func TestReadAll_LargerThanARange(t *testing.T) {
	var b blobtest.Bucket
	for _, test := range []struct{ size, requests int }{{8 << 20, 1}, {8<<20 + 1, 2}} {
		key, data := fmt.Sprint(test.size), strings.Repeat("0123456", 2<<20)[:test.size]
		create(t, &b, key, data)
		before := b.Counts().Calls["ReadRange"]
		if got, err := blob.ReadAll(t.Context(), &b, key, 16<<20); string(got) != data || err != nil {
			t.Errorf("read %d bytes, %v; want %d", len(got), err, len(data))
		}
		if n := b.Counts().Calls["ReadRange"] - before; n != test.requests {
			t.Errorf("%d bytes took %d requests, want %d", test.size, n, test.requests)
		}
	}
}

func TestReadAll_ObjectReplaced(t *testing.T) {
	for _, test := range []struct {
		replaced int
		err      error
	}{{1, nil}, {4, nil}, {5, blob.ErrChanged}} {
		synctest.Test(t, func(t *testing.T) {
			var b blobtest.Bucket
			create(t, &b, "object", "1")
			want := "1"
			b.Fail = func(op blobtest.Op) blobtest.Fault {
				switch {
				case op.Method != blobtest.ReadRange || op.N > 2*test.replaced:
				case op.N%2 == 1: // of two requests, which have to be of one version
					return blobtest.Fault{CutAfter: -1}
				default:
					want += "2"
					if err := b.Put(t.Context(), "object", strings.NewReader(want)); err != nil {
						t.Error(err)
					}
				}
				return blobtest.Fault{}
			}
			got, err := blob.ReadAll(t.Context(), &b, "object", 100)
			if !errors.Is(err, test.err) {
				t.Errorf("replaced %d times: error %v, want %v", test.replaced, err, test.err)
			}
			if err == nil && string(got) != want {
				t.Errorf("replaced %d times: %q, want %q", test.replaced, got, want)
			}
		})
	}
}

func TestReadAll_ResponseEndsEarly(t *testing.T) {
	var b blobtest.Bucket
	create(t, &b, "object", "0123456789")
	b.Fail = func(op blobtest.Op) blobtest.Fault {
		if op.N == 1 {
			return blobtest.Fault{EOFAfter: 4}
		}
		return blobtest.Fault{}
	}
	if got, err := blob.ReadAll(t.Context(), &b, "object", 100); string(got) != "0123456789" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func create(t *testing.T, b blob.Bucket, key, data string) blob.Info {
	t.Helper()
	if err := b.Create(t.Context(), key, []byte(data)); err != nil {
		t.Fatal(err)
	}
	info, err := b.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

var _ io.ReadCloser = (*blob.Reader)(nil)
