package blob

import (
	"context"
	"io"
	"slices"
)

// ReadSlice reads up to n bytes of the object at key from byte off on, into buf if that is large enough, and
// describes the object. It reads fewer bytes only at the end of the object. It survives failed requests like a
// [Reader]. Of an empty object it returns no bytes.
func ReadSlice(
	ctx context.Context, b Bucket, key, version string, off, n int64, buf []byte,
) ([]byte, Info, error) {
	r := NewReader(ctx, b, key, version, off, -1)
	defer r.Close()
	r.rangeSize, r.buffer = n, buf[:0]
	r.fillBuffer()
	data := r.buffered
	if end := min(off+n, r.size); r.err == nil && r.offset < end { // the store has sent a part of the range
		data, r.buffer = slices.Grow(data, int(n)), nil
		have := int64(len(data))
		data = data[:end-off]
		r.buffered, r.size = nil, end
		if _, err := io.ReadFull(r, data[have:]); err != nil {
			return nil, Info{}, err
		}
	}
	if r.err != nil && len(data) == 0 {
		return nil, Info{}, r.err
	}
	return data, r.info(), nil
}

// ReadHead describes the object at key and reads up to n bytes from its beginning: [Bucket.Stat] and the first range in
// one request. It may read fewer bytes, if the response breaks off. It survives other failed requests like [ReadAll].
func ReadHead(ctx context.Context, b Bucket, key string, n int64) ([]byte, Info, error) {
	r := NewReader(ctx, b, key, "", 0, -1)
	defer r.Close()
	r.rangeSize, r.maxFailures = n, maxFailuresSmall
	r.fillBuffer()
	if len(r.buffered) == 0 && r.err != nil {
		return nil, Info{}, r.err
	}
	return r.buffered, r.info(), nil
}

// info describes the object after the first response.
func (r *Reader) info() Info {
	return Info{Key: r.key, Version: r.version, Size: r.full, Modified: r.modified}
}
