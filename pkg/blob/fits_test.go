package blob_test

import (
	"strings"
	"testing"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/blob/cosblob"
	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/blob/s3blob"
)

func TestFitsKey(t *testing.T) {
	dir, err := dirblob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	long := strings.Repeat("群", 2000)
	for name, row := range map[string]struct {
		bucket     blob.Bucket
		fits, over string // a key that fits, and one that is too long
	}{
		"S3":        {&s3blob.Bucket{}, long[:1024], long[:1025]},
		"COS":       {&cosblob.Bucket{}, long[:850], long[:851]},
		"folder":    {dir, "a/" + long[:99] + "/" + strings.Repeat("x", 143), "a/" + strings.Repeat("x", 5000)},
		"no limit":  {&blobtest.Bucket{}, long, ""},
		"with none": {struct{ blob.Bucket }{}, long, ""},
	} {
		if err := blob.FitsKey(row.bucket, row.fits); err != nil {
			t.Errorf("%s: got %v, want %d bytes to fit", name, err, len(row.fits))
		}
		if err := blob.FitsKey(row.bucket, row.over); row.over != "" &&
			(err == nil || !strings.Contains(err.Error(), " bytes, ")) {
			t.Errorf("%s: got %v, want %d bytes to be too many", name, err, len(row.over))
		}
	}
}
