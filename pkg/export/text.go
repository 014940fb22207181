package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// A text is an export in UTF-8, without its byte-order mark, of which a window is held in memory. Everything is
// read in pieces that end where a function says.
type text struct {
	src   io.Reader
	plain bool         // Offset counts bytes of the object
	read  func() int64 // bytes of the object that have been read
	close func()       // what was opened
	name  string       // of the compression, "" if there is none
	cause func() error // why the object could not be read, nil if that is not why an error came

	marked  bool     // it begins with a byte-order mark
	encoded string   // the encoding that UTF-8 is made of, "" if that is UTF-8 or UTF-16
	notes   []string // see [Reader.Notes]

	buf  []byte
	r, w int    // buf[r:w] has been read and not been taken
	err  error  // of src; what is in buf comes before it
	lead []byte // the first bytes of the last piece that was longer than the window

	at        Position // of buf[r]
	lineStart int64    // offset at which the line of at begins, -1 if that is not known
}

// bufSize holds the longest record and its line end. The window begins with bufFirst and grows up to that.
const (
	bufSize  = MaxLine + len("\r\n")
	bufFirst = 64 << 10
)

// fill reads more into the window. If that is full, bufSize has not been reached.
func (t *text) fill() error {
	if t.err != nil {
		return t.err
	}
	switch {
	case t.r == t.w:
		t.r, t.w = 0, 0
	case t.w == len(t.buf):
		into := t.buf
		if t.w-t.r > len(t.buf)/2 && len(t.buf) < bufSize {
			into = make([]byte, min(2*len(t.buf), bufSize))
		}
		t.w = copy(into, t.buf[t.r:t.w])
		t.buf, t.r = into, 0
	}
	for range 100 {
		var n int
		n, t.err = t.src.Read(t.buf[t.w:])
		t.w += n
		if n > 0 {
			return nil
		}
		if t.err != nil {
			return t.err
		}
	}
	t.err = io.ErrNoProgress
	return t.err
}

// advance takes n bytes of the window.
func (t *text) advance(n int) {
	piece := t.buf[t.r : t.r+n]
	if newlines := bytes.Count(piece, []byte("\n")); newlines > 0 {
		t.at.Line += int64(newlines)
		t.lineStart = t.at.Offset + int64(bytes.LastIndexByte(piece, '\n')) + 1
	}
	t.at.Offset += int64(n)
	t.r += n
}

// take takes what stands up to where end says. end is given the text in consecutive chunks and returns how
// many bytes of the last one belong to it, or -1 if more follow. If the text ends before, it takes what is left, and the error
// is [io.EOF]. size is how long the piece is, which is nil if that is longer than the window. It is valid until the
// next call.
func (t *text) take(end func(chunk []byte) int) (piece []byte, size int64, err error) {
	scanned := 0 // bytes of the window that end has seen
	whole := true
	for {
		if n := end(t.buf[t.r+scanned : t.w]); n >= 0 {
			n += scanned
			size += int64(n)
			if whole {
				piece = t.buf[t.r : t.r+n]
			}
			t.advance(n)
			return piece, size, nil
		}
		scanned = t.w - t.r
		if scanned == bufSize {
			if whole {
				t.lead = append(t.lead[:0], t.buf[t.r:t.r+headSize]...)
			}
			size += int64(scanned)
			t.advance(scanned)
			whole, scanned = false, 0
		}
		if err := t.fill(); err != nil {
			size += int64(scanned)
			if whole {
				piece = t.buf[t.r : t.r+scanned]
			}
			t.advance(scanned)
			return piece, size, err
		}
	}
}

// headOf returns the first bytes of a piece that [text.take] has returned, also of one longer than the window.
func (t *text) headOf(piece []byte) []byte {
	if piece == nil {
		return t.lead
	}
	return piece[:min(len(piece), headSize)]
}

// head returns the next n bytes without taking them, fewer if the text ends before.
func (t *text) head(n int) []byte {
	for t.w-t.r < n && t.fill() == nil {
	}
	return t.buf[t.r:min(t.w, t.r+n)]
}

// skipMarks takes the byte-order marks that stand next: files that were joined have them in the middle too.
func (t *text) skipMarks() {
	for t.r == t.w || t.buf[t.r] == utf8Mark[0] {
		if string(t.head(len(utf8Mark))) != utf8Mark {
			return
		}
		t.advance(len(utf8Mark))
		if t.at.Line == 1 {
			t.lineStart = t.at.Offset
		}
	}
}

// jump goes to a position further on.
func (t *text) jump(src Source, at Position) error {
	if t.plain && at.Offset-t.at.Offset > int64(t.w-t.r) {
		t.close()
		body := src.Open(at.Offset)
		t.close = func() { body.Close() }
		t.src, t.err, t.r, t.w = body, nil, 0, 0
		t.at, t.lineStart = at, -1
		return nil
	}
	for t.at.Offset < at.Offset {
		if t.r == t.w {
			if err := t.fill(); err != nil {
				if errors.Is(err, io.EOF) {
					return fmt.Errorf("read export at byte %d: it has %d", at.Offset, t.at.Offset)
				}
				return err
			}
		}
		t.advance(int(min(int64(t.w-t.r), at.Offset-t.at.Offset)))
	}
	return nil
}

// A brokenError says where an export can be read no further.
type brokenError struct{ text string }

func (e *brokenError) Error() string { return e.text }

// broken returns an error about what stands at a position.
func (t *text) broken(at Position, format string, args ...any) error {
	place := fmt.Sprintf("line %d, ", at.Line)
	if t.lineStart >= 0 && at.Line == t.at.Line {
		place += fmt.Sprintf("column %d, ", at.Offset-t.lineStart+1)
	}
	return &brokenError{fmt.Sprintf("the export breaks off at %sbyte %d: %s; the records before are read: mend it and import it again",
		place, at.Offset, fmt.Sprintf(format, args...))}
}

// explain says where a read error struck, and whether it is the compression's.
func (t *text) explain(err error) error {
	_, said := errors.AsType[*brokenError](err)
	if said || errors.Is(err, ErrFormat) || err == io.EOF { //nolint:errorlint // a bare EOF is the end; a wrapped one an error
		return err
	}
	if t.cause != nil && t.cause() != nil {
		return fmt.Errorf("read export at byte %d: %w", t.read(), t.cause())
	}
	if t.name != "" {
		what := "is corrupt (" + err.Error() + ")"
		if errors.Is(err, io.ErrUnexpectedEOF) {
			what = "is cut off"
		}
		return &brokenError{fmt.Sprintf("the %s stream %s after byte %d, which is line %d, byte %d of the text in it; the records before are read: "+
			"mend it and import it again", t.name, what, t.read(), t.at.Line, t.at.Offset)}
	}
	return fmt.Errorf("read export at byte %d: %w", t.at.Offset+int64(t.w-t.r), err)
}
