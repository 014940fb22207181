package lease_test

import (
	"context"
	"io"
	"iter"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
)

// A staleList bucket lists nothing.
type staleList struct{ *blobtest.Bucket }

func (staleList) List(context.Context, string, string) iter.Seq2[blob.Info, error] {
	return func(func(blob.Info, error) bool) {}
}

// A late bucket responds to Put after a delay, even if the context ends.
type late struct {
	*blobtest.Bucket

	delay time.Duration
}

func (l *late) Put(ctx context.Context, key string, body io.Reader) error {
	err := l.Bucket.Put(ctx, key, body)
	time.Sleep(l.delay)
	return err
}
