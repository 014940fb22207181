package blob_test

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
)

func TestCheckKey(t *testing.T) {
	for _, key := range []string{"a", "a/b", ".a", "a..b", "...", "a b+c%d\"'#?&:*", "群组/导出.jsonl", strings.Repeat("k", 1024)} {
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
	// The two objects were asked for when they were created.
	if got := b.Counts(); got.Calls["Stat"] != 2+5 || got.Calls["Open"] != 2 || got.Unclosed != 0 {
		t.Errorf("counts are %+v", got)
	}
}

func TestReadAllBeginsAgainIfTheObjectIsReplaced(t *testing.T) {
	for _, test := range []struct {
		replaced int
		err      error
	}{{1, nil}, {4, nil}, {5, blob.ErrChanged}} {
		var b blobtest.Bucket
		create(t, &b, "object", "1")
		want := "1"
		b.Fail = func(op blobtest.Op) blobtest.Fault {
			if op.Method == blobtest.Open && op.N <= test.replaced {
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
	}
}

func TestReadAllNoticesAnEndTooEarly(t *testing.T) {
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
