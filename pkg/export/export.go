// Package export reads exports: the files that a user drops, one group a record.
//
// The format is told from the name. JSONL (.jsonl, .ndjson) holds one JSON object a line, with LF or
// CRLF at its end; blank lines and a byte-order mark are no records. A line that is not a group costs
// that record only: it comes out as an [Entry] with its problems, and the next line follows.
//
// A failures file that this program wrote is an export too: each of its lines holds the record as it
// came, see [AppendRecord].
package export

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"

	"groupimport/pkg/group"
)

// MaxLine is the length in bytes above which a line is rejected without being held in memory. A legal
// body of import_group has 31 KB at most, with every byte of its custom values escaped.
const MaxLine = 1 << 20

// A Position says where a record begins.
type Position struct {
	N      int64 `json:"n"`      // ordinal of the record, from 1
	Line   int64 `json:"line"`   // line, from 1
	Offset int64 `json:"offset"` // byte of the text, from 0
}

// Start is where the first record of an export begins, or its byte-order mark.
var Start = Position{N: 1, Line: 1}

// An Entry is one record of an export, valid or not.
type Entry struct {
	Pos  Position // where it begins
	Next Position // where to read on behind it

	// Failure is the whole line if it is one of a failures file, whose record Raw is; otherwise nil. It is
	// valid until the next entry is read.
	Failure []byte

	// Raw is the record as it came, without its line end. It is valid until the next entry is read, and
	// nil for a line longer than [MaxLine].
	Raw []byte

	Record  group.Record // valid if Problem is nil
	Problem *group.Error // what is wrong with the record, nil if nothing is
}

// ErrFormat is wrapped when an export is in no format that this package reads.
var ErrFormat = errors.New("unknown format")

// Formats are the endings of names that [NewReader] reads.
var Formats = []string{".jsonl", ".ndjson"}

// Reads reports whether the name ends as an export's does.
func Reads(name string) bool {
	for _, f := range Formats {
		if strings.HasSuffix(strings.ToLower(name), f) {
			return true
		}
	}
	return false
}

// A Reader reads the records of one export. It holds one line of at most [MaxLine] bytes in memory.
type Reader struct {
	src   *bufio.Reader
	at    Position
	group *group.Decoder
}

// NewReader returns a Reader of the export with this name. src gives its bytes from at.Offset on, and
// at is [Start] or the Next of an entry read before. The error wraps [ErrFormat].
func NewReader(name string, src io.Reader, at Position, limits group.Limits) (*Reader, error) {
	if !Reads(name) {
		return nil, fmt.Errorf("%w: %q: its name must end in one of %s", ErrFormat, path.Base(name), strings.Join(Formats, " "))
	}
	return &Reader{
		src:   bufio.NewReaderSize(src, MaxLine+len("\r\n")),
		at:    at,
		group: group.NewDecoder(limits),
	}, nil
}

// Records yields the entries in order. An error ends the export: it cannot be read on. What is wrong
// with a single record is no error but its [Entry.Problem].
func (r *Reader) Records() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := r.byteOrderMark(); err != nil {
			yield(Entry{}, err)
			return
		}
		for {
			e, err := r.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// byteOrderMark skips that of UTF-8 and refuses those of UTF-16.
func (r *Reader) byteOrderMark() error {
	if r.at.Offset != 0 {
		return nil
	}
	// An export shorter than a mark has none; another error meets the first line again.
	mark, _ := r.src.Peek(3)
	switch {
	case bytes.HasPrefix(mark, []byte("\xef\xbb\xbf")):
		n, _ := r.src.Discard(3)
		r.at.Offset += int64(n)
	case bytes.HasPrefix(mark, []byte("\xff\xfe")), bytes.HasPrefix(mark, []byte("\xfe\xff")):
		return fmt.Errorf("%w: the export is UTF-16: save it as UTF-8", ErrFormat)
	}
	return nil
}

// next returns the next line that is not blank.
func (r *Reader) next() (Entry, error) {
	for {
		pos := r.at
		line, size, err := r.line()
		if err != nil && (size == 0 || !errors.Is(err, io.EOF)) {
			if errors.Is(err, io.EOF) {
				return Entry{}, io.EOF
			}
			return Entry{}, fmt.Errorf("read export at byte %d: %w", pos.Offset+size, err)
		}
		r.at.Line++
		r.at.Offset += size
		if line != nil && len(bytes.TrimLeft(line, " \t\r")) == 0 {
			continue
		}
		r.at.N++
		return r.entry(pos, line, size), nil
	}
}

// line returns the next line without its end, nil if it is longer than MaxLine, and how many bytes it
// took from the source.
func (r *Reader) line() (line []byte, size int64, err error) {
	line, err = r.src.ReadSlice('\n')
	size = int64(len(line))
	if errors.Is(err, bufio.ErrBufferFull) {
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = r.src.ReadSlice('\n')
			size += int64(len(line))
		}
		return nil, size, err
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) > MaxLine {
		return nil, size, err
	}
	return line, size, err
}

func (r *Reader) entry(pos Position, line []byte, size int64) Entry {
	e := Entry{Pos: pos, Next: r.at}
	if line == nil {
		e.Problem = group.Problemf("the line has %d bytes, at most %d are read", size, MaxLine)
		return e
	}
	e.Raw = line
	rec, err := r.group.Decode(line)
	if err == nil {
		e.Record = rec
		return e
	}
	if raw, ok, problem := unwrap(line); ok {
		e.Failure, e.Raw = line, raw
		if problem != nil {
			e.Problem = problem
			return e
		}
		if rec, err = r.group.Decode(raw); err == nil {
			e.Record = rec
			return e
		}
	}
	e.Problem, _ = errors.AsType[*group.Error](err) // Decode returns no other
	return e
}
