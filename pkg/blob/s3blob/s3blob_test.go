package s3blob_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/blob/blobtest/versitygw"
	"groupimport/pkg/blob/s3blob"
)

func TestBucket(t *testing.T) {
	server := versitygw.Start(t)
	for _, checksums := range []string{"when_required", "when_supported"} {
		t.Run(checksums, func(t *testing.T) {
			var buckets atomic.Int32
			blobtest.TestBucket(t, func(t *testing.T) blob.Bucket {
				name := fmt.Sprintf("%s-%d", checksums[5:], buckets.Add(1))
				server.MakeBucket(name)
				b, err := s3blob.Open(server.Getenv, name, nil)
				if checksums == "when_supported" {
					b, err = s3blob.OpenChecksums(server.Getenv, name)
				}
				if err != nil {
					t.Fatal(err)
				}
				return b
			})
		})
	}
}
