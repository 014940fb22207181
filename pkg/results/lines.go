package results

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"sync"

	"groupimport/pkg/blob"
)

const (
	// Objects are read ahead in slices. At 20 ms a request, 16 slices at once are 200 MB/s, or 800 small parts a second.
	// They hold up to 4 MiB.
	sliceBytes  = 256 << 10
	slicesAhead = 16
)

// A source is an object to read, from byte from on. size is the size of the object, 0 if it is not known.
type source struct {
	key        string
	from, size int64
}

// A slice is a piece of a source. Slices of a source are in order. An object has at least one slice.
type slice struct {
	source  int // number of the source, from 0
	key     string
	version string
	off     int64
	data    []byte
	isLast  bool // of its source
	err     error

	done chan struct{} // closed when the fields above are set
}

// readAhead yields the slices of the sources in order, and reads up to that many slices at the same time, at least 2.
// Their data is valid until the next iteration. A missing object has one slice with an error that wraps
// [fs.ErrNotExist].
func readAhead(ctx context.Context, b blob.Bucket, sources iter.Seq[source], ahead int) iter.Seq[*slice] {
	return func(yield func(*slice) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		// Besides the slices in the queue, one waits to enter it and one is being used.
		r := &sliceReader{bucket: b, queue: make(chan *slice, ahead-2), free: make(chan []byte, ahead)}
		running.Go(func() {
			defer close(r.queue)
			number := 0
			for s := range sources {
				if !r.readSource(ctx, &running, number, s) {
					return
				}
				number++
			}
		})
		for s := range r.queue {
			<-s.done
			if !yield(s) {
				return
			}
			select {
			case r.free <- s.data[:0]:
			default:
			}
		}
		if ctx.Err() != nil { // the queue may have ended early
			yield(&slice{err: context.Cause(ctx)})
		}
	}
}

// A sliceReader reads slices.
type sliceReader struct {
	bucket blob.Bucket
	queue  chan *slice
	free   chan []byte // buffers to reuse
}

// readSource starts to read the slices of a source. It returns false if ctx is done.
func (r *sliceReader) readSource(ctx context.Context, running *sync.WaitGroup, number int, s source) bool {
	size := s.size
	if size > 0 && s.from >= size {
		return true
	}
	for off := s.from; ; off += sliceBytes {
		x := &slice{source: number, key: s.key, off: off, isLast: off+sliceBytes >= size, done: make(chan struct{})}
		if size == 0 { // the first response has the size
			size = r.fetch(ctx, x, 0)
			x.isLast = off+sliceBytes >= size
			close(x.done)
		} else {
			running.Go(func() {
				defer close(x.done)
				r.fetch(ctx, x, size)
			})
		}
		select {
		case r.queue <- x:
		case <-ctx.Done():
			return false
		}
		if x.isLast {
			return true
		}
	}
}

// fetch reads a slice of an object of the given size, 0 if it is not known. It returns the size.
func (r *sliceReader) fetch(ctx context.Context, s *slice, size int64) int64 {
	n := int64(sliceBytes)
	if size > 0 {
		n = min(n, size-s.off)
	}
	var info blob.Info
	s.data, info, s.err = blob.ReadSlice(ctx, r.bucket, s.key, "", s.off, n, r.buffer(int(n)))
	s.version = info.Version
	if s.err == nil && size > 0 && info.Size != size {
		s.err = fmt.Errorf("read %q: %w: %d bytes expected, %d found", s.key, blob.ErrChanged, size, info.Size)
	}
	return info.Size
}

func (r *sliceReader) buffer(n int) []byte {
	select {
	case buf := <-r.free:
		if cap(buf) >= n {
			return buf
		}
	default:
	}
	return make([]byte, 0, n)
}

// A line is a line of a source, without its newline. Its text is valid until the next iteration.
type line struct {
	text   []byte
	source int   // number of the source, from 0
	end    int64 // where the next line begins
}

// readLines yields the lines of the sources in order. With skipMissing, missing objects count as empty.
func readLines(
	ctx context.Context, b blob.Bucket, sources iter.Seq[source], skipMissing bool,
) iter.Seq2[line, error] {
	return readLinesAhead(ctx, b, sources, skipMissing, slicesAhead)
}

// readLinesAhead is readLines with a number of slices that are read ahead, see [readAhead].
func readLinesAhead(
	ctx context.Context, b blob.Bucket, sources iter.Seq[source], skipMissing bool, ahead int,
) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		var begun []byte // of a line that the last slice did not end
		version, current := "", -1
		for s := range readAhead(ctx, b, sources, ahead) {
			switch {
			case errors.Is(s.err, fs.ErrNotExist) && skipMissing:
				begun = begun[:0]
				continue
			case s.err == nil && s.source == current && s.version != version:
				s.err = fmt.Errorf("read %q: %w", s.key, blob.ErrChanged)
			}
			if s.err != nil {
				yield(line{}, s.err)
				return
			}
			current, version = s.source, s.version
			at, rest := s.off, s.data
			for len(rest) > 0 {
				end := bytes.IndexByte(rest, '\n')
				if end < 0 && !s.isLast {
					begun = append(begun, rest...)
					break
				}
				text := rest
				if end >= 0 {
					text, rest = rest[:end], rest[end+1:]
					at++
				} else {
					rest = nil // the object does not end in a newline
				}
				at += int64(len(text))
				if len(begun) > 0 {
					begun = append(begun, text...)
					text = begun
				}
				if !yield(line{text, s.source, at}, nil) {
					return
				}
				begun = begun[:0]
			}
			if s.isLast && len(begun) > 0 { // the last slice is empty
				if !yield(line{begun, s.source, at}, nil) {
					return
				}
				begun = begun[:0]
			}
		}
	}
}

// Lines yields the lines of an object without the newlines. A line is valid until the next iteration.
func Lines(ctx context.Context, b blob.Bucket, key string) iter.Seq2[[]byte, error] {
	return texts(readLines(ctx, b, slices.Values([]source{{key: key}}), false))
}

// texts yields the texts of lines.
func texts(lines iter.Seq2[line, error]) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for l, err := range lines {
			if !yield(l.text, err) || err != nil {
				return
			}
		}
	}
}
