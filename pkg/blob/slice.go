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
	return data, Info{Key: key, Version: r.version, Size: r.full}, nil
}
