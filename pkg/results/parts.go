package results

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// Parts is a series of parts that one run wrote.
type Parts struct {
	Lease  int  `json:"lease"`
	First  int  `json:"first,omitzero"` // number of the first part; 0 means 1
	Count  int  `json:"count"`
	Merged bool `json:"merged,omitzero"` // merged parts have numbers of their own

	// Members is set for parts of the member pass, which have numbers of their own.
	Members bool `json:"members,omitzero"`
}

// A partName identifies a part.
type partName struct {
	token, number int
	isMerged      bool
	isMembers     bool // of the member pass
}

// parts yields the parts in order.
func parts(all []Parts) iter.Seq[partName] {
	return func(yield func(partName) bool) {
		for _, p := range all {
			for n := range p.Count {
				if !yield(partName{p.Lease, max(p.First, 1) + n, p.Merged, p.Members}) {
					return
				}
			}
		}
	}
}

// appendPart adds a part to the end of all.
func appendPart(all []Parts, p partName) []Parts {
	if n := len(all); n > 0 {
		last := &all[n-1]
		isSeries := last.Lease == p.token && last.Merged == p.isMerged && last.Members == p.isMembers
		if isSeries && max(last.First, 1)+last.Count == p.number {
			last.Count++
			return all
		}
	}
	first := p.number
	if first == 1 {
		first = 0
	}
	return append(all, Parts{Lease: p.token, First: first, Count: 1, Merged: p.isMerged, Members: p.isMembers})
}

// count returns the number of parts.
func count(all []Parts) int {
	n := 0
	for _, p := range all {
		n += p.Count
	}
	return n
}

const partsFolder = "parts/"

// prefixes begin the number of a part, by isMembers and isMerged.
var prefixes = [2][2]string{{"", "m"}, {"p", "q"}}

func (p partName) prefix() string {
	member, merged := 0, 0
	if p.isMembers {
		member = 1
	}
	if p.isMerged {
		merged = 1
	}
	return prefixes[member][merged]
}

func (n Names) part(p partName) string {
	return fmt.Sprintf("%s%s%06d-%s%06d", n.Work(), partsFolder, p.token, p.prefix(), p.number)
}

// parsePart returns the part with this key. ok is false for other keys.
func (n Names) parsePart(key string) (p partName, ok bool) {
	token, number, _ := strings.Cut(strings.TrimPrefix(key, n.Work()+partsFolder), "-")
	if digits := strings.TrimLeft(number, "mpq"); len(digits) < len(number) {
		prefix := number[:len(number)-len(digits)]
		p.isMembers, p.isMerged = prefix != "m", prefix != "p"
		number = digits
	}
	var tokenErr, numberErr error
	p.token, tokenErr = strconv.Atoi(token)
	p.number, numberErr = strconv.Atoi(number)
	return p, tokenErr == nil && numberErr == nil && n.part(p) == key
}

// sizesAhead returns the sizes of the listed parts, so that they can be read ahead. It returns nil for a few parts,
// which cost less than a list.
func (d Dir) sizesAhead(ctx context.Context, all []Parts) (map[partName]int64, error) {
	if count(all) <= slicesAhead {
		return nil, nil // see above
	}
	return d.partSizes(ctx)
}

// partSizes returns the sizes of the listed parts. A part that is not listed may exist all the same.
func (d Dir) partSizes(ctx context.Context) (map[partName]int64, error) {
	sizes := map[partName]int64{}
	for info, err := range d.Bucket.List(ctx, d.Work()+partsFolder, "") {
		if err != nil {
			return nil, fmt.Errorf("list the parts: %w", err)
		}
		if p, ok := d.parsePart(info.Key); ok {
			sizes[p] = info.Size
		}
	}
	return sizes, nil
}

// IsMissingPart reports whether a part that cp counts was removed. It costs one request for 1,000 parts.
func (d Dir) IsMissingPart(ctx context.Context, cp *Checkpoint) (bool, error) {
	sizes, err := d.partSizes(ctx)
	if err != nil {
		return false, err
	}
	all := cp.Parts
	if cp.Members != nil {
		all = slices.Concat(cp.Parts, cp.Members.Parts)
	}
	for p := range parts(all) {
		if _, ok := sizes[p]; ok {
			continue
		}
		_, err := d.Bucket.Stat(ctx, d.part(p)) // the list may be old
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// hasPart reports whether a part that cp counts exists.
func (d Dir) hasPart(ctx context.Context, cp *Checkpoint) (bool, error) {
	sizes, err := d.partSizes(ctx)
	if err != nil {
		return false, err
	}
	var last partName
	for p := range parts(cp.Parts) {
		if _, ok := sizes[p]; ok {
			return true, nil
		}
		last = p
	}
	if last == (partName{}) {
		return false, nil
	}
	_, err = d.Bucket.Stat(ctx, d.part(last)) // the list may be old
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// sources yields the objects of parts, from byte offset of part number skip on. sizes may be nil.
func (d Dir) sources(names iter.Seq[partName], skip int, offset int64, sizes map[partName]int64) iter.Seq[source] {
	return func(yield func(source) bool) {
		number := 0
		for p := range names {
			number++
			if number <= skip {
				continue
			}
			s := source{key: d.part(p), size: sizes[p]}
			if number == skip+1 {
				s.from = offset
			}
			if !yield(s) {
				return
			}
		}
	}
}

// PartLines yields the lines of all parts that cp counts, in order. A line is valid until the next iteration.
func (d Dir) PartLines(ctx context.Context, cp *Checkpoint) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		sizes, err := d.sizesAhead(ctx, cp.Parts)
		if err != nil {
			yield(nil, err)
			return
		}
		texts(readLines(ctx, d.Bucket, d.sources(parts(cp.Parts), 0, 0, sizes), false))(yield)
	}
}

// A partsReader reads the bytes of parts in order.
type partsReader struct {
	next func() (*slice, bool)
	rest []byte
	size int64 // of all parts
}

// Len returns the size of all parts, for stores that allocate a buffer.
func (r *partsReader) Len() int { return int(r.size) }

func (r *partsReader) Read(buf []byte) (int, error) {
	for len(r.rest) == 0 {
		s, ok := r.next()
		if !ok {
			return 0, io.EOF
		}
		if s.err != nil {
			return 0, s.err
		}
		r.rest = s.data
	}
	n := copy(buf, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// mergeParts writes the parts as one part. It holds up to 16 MiB.
func (d Dir) mergeParts(ctx context.Context, names []partName, sizes map[partName]int64, to partName) (int64, error) {
	size := int64(0)
	for _, p := range names {
		size += sizes[p]
	}
	next, stop := iter.Pull(readAhead(ctx, d.Bucket, d.sources(slices.Values(names), 0, 0, sizes), slicesAhead))
	defer stop()
	return size, d.Bucket.Put(ctx, d.part(to), &partsReader{next: next, size: size})
}
