package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/dirblob"
)

// maxSilent is the most, in bytes, that is read of an export for its version without a word: less than a second.
const maxSilent = 256 << 20

// An identifier reads large exports for their versions, one at a time and beside other work, before they are imported.
// It must not be copied.
type identifier struct {
	bucket *dirblob.Bucket
	quiet  bool
	report func(key string, read, size int64) // see identify

	mu      sync.Mutex
	waiting []string // the first is being read
	done    chan struct{}
}

// isKnown reports whether the version of the export at key is known. If it is not, the identifier reads the export, and
// the caller asks again later. ctx ends the reading of all exports.
func (i *identifier) isKnown(ctx context.Context, key string) bool {
	info, err := i.bucket.Peek(ctx, key, 0)
	if err != nil || info.Version != "" || info.Size <= maxSilent {
		return true // an error shows again when the export is imported
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if slices.Contains(i.waiting, key) {
		return false
	}
	i.waiting = append(i.waiting, key)
	if len(i.waiting) == 1 {
		i.done = make(chan struct{})
		go i.readAll(ctx, i.done)
	}
	return false
}

// readAll reads the waiting exports, and closes done once none is left.
func (i *identifier) readAll(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	for {
		i.mu.Lock()
		if len(i.waiting) == 0 {
			i.mu.Unlock()
			return
		}
		key := i.waiting[0]
		i.mu.Unlock()
		// An error shows again when the export is imported. One that was written to meanwhile is read again.
		_ = identify(ctx, i.bucket, key, i.quiet, func(read, size int64) { i.report(key, read, size) })
		i.mu.Lock()
		i.waiting = i.waiting[1:]
		i.mu.Unlock()
	}
}

// wait waits until no export is left to read, and reports whether there was any.
func (i *identifier) wait() bool {
	i.mu.Lock()
	done := i.done
	i.done = nil
	i.mu.Unlock()
	if done == nil {
		return false
	}
	<-done
	return true
}

// identify reads an export for its version, so that the bucket remembers it. It calls report at the beginning and,
// unless it is quiet, every lineEvery.
func identify(
	ctx context.Context, bucket *dirblob.Bucket, key string, quiet bool, report func(read, size int64),
) error {
	var last time.Time
	_, err := bucket.Identify(ctx, key, func(read, size int64) {
		if now := time.Now(); last.IsZero() || !quiet && now.Sub(last) >= lineEvery {
			report(read, size)
			last = now
		}
	})
	return err
}

// identifyNow is identify for the export of a command that has nothing else to do, if it is large and its version is
// not known.
func identifyNow(ctx context.Context, bucket *dirblob.Bucket, key, name string, m *meter) error {
	info, err := bucket.Peek(ctx, key, 0)
	// An error shows again when the export is imported.
	if isUnknown := err == nil && info.Version == "" && info.Size > maxSilent; !isUnknown {
		return nil
	}
	err = identify(ctx, bucket, key, m.quiet, func(read, size int64) { fmt.Fprint(m, readingText(name, read, size)) })
	if errors.Is(err, blob.ErrChanged) {
		return nil // the import says so
	}
	return err
}

// readingText says how much of an export was read for its version.
func readingText(name string, read, size int64) string {
	return fmt.Sprintf("%s: %s: reading it to see whether it has changed, %d%% of %s\n",
		program, name, 100*read/max(size, 1), sizeText(size))
}

// sizeText formats a number of bytes.
func sizeText(n int64) string {
	size, unit := float64(n)/1e6, "MB"
	if size >= 1e6 {
		size, unit = size/1e6, "TB"
	} else if size >= 1e3 {
		size, unit = size/1e3, "GB"
	}
	return fmt.Sprintf("%.1f %s", size, unit)
}
