package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// A text is the buffered UTF-8 text of an export, without its byte-order mark.
type text struct {
	src   io.Reader
	plain bool         // Offset counts bytes of the object
	read  func() int64 // returns the number of bytes of the object that were read and, if compressed, decompressed
	close func()       // closes the object and the decompressor
	name  string       // of the compression, "" if there is none
	cause func() error // returns the read error of the object, nil if there is none

	zip     *zipReader // nil unless the object is a zip archive
	marked  bool       // the text starts with a byte-order mark
	encoded string     // the original encoding, "" for UTF-8 and UTF-16
	notes   []string   // see [Reader.Notes]

	buf  []byte
	r, w int    // buf[r:w] is unread
	err  error  // of src, returned after the contents of buf
	lead []byte // the first bytes of the last piece that was longer than the buffer

	at        Position // of buf[r]
	lineStart int64    // offset of the start of the current line, -1 if unknown

	stopped func() error // returns why reading must end, nil if it must not
	blanks  blankLimits
	record  int64 // offset after the last record
	paused  int64 // offset of the last position that the Reader yielded
}

// blankLimits are the limits of text without records: blank lines, white space between JSON values, empty arrays. A few
// KB of compressed data can contain GB of it.
type blankLimits struct {
	pause int64 // bytes after which the Reader yields a blank [Entry]
	total int64 // bytes after which the export is an error
}

// defaultBlanks allow 1 GiB, which no program writes by mistake, and which takes some seconds to read.
var defaultBlanks = blankLimits{pause: 16 << 20, total: 1 << 30}

// bufSize is the size of the longest record and its line end. The buffer starts with bufFirst bytes and grows.
const (
	bufSize  = MaxLine + len("\r\n")
	bufFirst = 64 << 10
)

// fill reads more into the buffer. The caller must not call it with bufSize unread bytes.
func (t *text) fill() error {
	if t.err == nil {
		t.err = t.check()
	}
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

// check returns an error if reading must end: because of the context, or because no record was found for too long.
func (t *text) check() error {
	if err := t.stopped(); err != nil {
		return &stoppedError{t.at, err}
	}
	if t.at.Offset-t.record > t.blanks.total {
		return t.broken(t.at, "no record ends in the %d bytes of text after byte %d, limit %d: "+
			"remove blank lines and white space", t.at.Offset-t.record, t.record, t.blanks.total)
	}
	return nil
}

// A stoppedError reports that the context ended the reading.
type stoppedError struct {
	at  Position
	err error
}

func (e *stoppedError) Error() string {
	return fmt.Sprintf("read export: stopped after byte %d of its text: %v", e.at.Offset, e.err)
}

func (e *stoppedError) Unwrap() error { return e.err }

// isDue reports whether the Reader should yield the position, because it has yielded none for a while.
func (t *text) isDue() bool { return t.at.Offset-t.paused >= t.blanks.pause }

// manyLines are blank lines that skipLines compares at once.
var manyLines = bytes.Repeat([]byte("\n"), 256)

// skipLines consumes the complete lines in the buffer that have only bytes in blank, which must not contain LF.
func (t *text) skipLines(blank string) {
	window := t.buf[t.r:t.w]
	if len(window) == 0 || window[0] != '\n' && strings.IndexByte(blank, window[0]) < 0 {
		return
	}
	rest := window
	for bytes.HasPrefix(rest, manyLines) { // 20 times as fast as TrimLeft
		rest = rest[len(manyLines):]
	}
	lines := window[:len(window)-len(bytes.TrimLeft(rest, blank+"\n"))]
	t.advance(1 + bytes.LastIndexByte(lines, '\n'))
}

// position returns the position of the next byte, with [Position.Read].
func (t *text) position() Position {
	at := t.at
	if !t.plain {
		at.Read = t.read()
	}
	return at
}

// advance consumes n bytes of the buffer.
func (t *text) advance(n int) {
	piece := t.buf[t.r : t.r+n]
	if newlines := bytes.Count(piece, []byte("\n")); newlines > 0 {
		t.at.Line += int64(newlines)
		t.lineStart = t.at.Offset + int64(bytes.LastIndexByte(piece, '\n')) + 1
	}
	t.at.Offset += int64(n)
	t.r += n
}

// next consumes and returns the next piece of the text. It calls end with consecutive chunks; end returns the number of
// bytes of the last chunk that belong to the piece, or -1 for more. At the end of the text, next returns the rest and
// [io.EOF]. size is the length of the piece. The piece is nil if it is longer than the buffer, and is valid until the
// next call.
func (t *text) next(end func(chunk []byte) int) (piece []byte, size int64, err error) {
	scanned := 0 // unread bytes of the buffer that were passed to end
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

// headOf returns the first bytes of the last piece of [text.next], which may be nil.
func (t *text) headOf(piece []byte) []byte {
	if piece == nil {
		return t.lead
	}
	return piece[:min(len(piece), headSize)]
}

// head returns the next n bytes without consuming them, fewer at the end of the text.
func (t *text) head(n int) []byte {
	for t.w-t.r < n && t.fill() == nil {
	}
	return t.buf[t.r:min(t.w, t.r+n)]
}

// skipMarks consumes byte-order marks. Concatenated files contain them in the middle too.
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

// jump advances to a later position.
func (t *text) jump(src Source, at Position) error {
	total := t.blanks.total
	t.blanks.total = math.MaxInt64 // earlier runs have read the records
	defer func() { t.blanks.total, t.record, t.paused = total, t.at.Offset, t.at.Offset }()
	if t.plain && at.Offset-t.at.Offset > int64(t.w-t.r) {
		t.close()
		body := src.Open(at.Offset)
		t.close = func() { body.Close() }
		t.src, t.err, t.r, t.w = body, nil, 0, 0
		t.at, t.lineStart = at, -1
		t.at.In = ""
		return nil
	}
	for t.at.Offset < at.Offset {
		if t.r == t.w {
			if err := t.fill(); err != nil {
				if errors.Is(err, io.EOF) {
					return fmt.Errorf("read export at byte %d: it has only %d bytes", at.Offset, t.at.Offset)
				}
				return err
			}
		}
		t.advance(int(min(int64(t.w-t.r), at.Offset-t.at.Offset)))
	}
	return nil
}

// A brokenError reports the position beyond which an export cannot be parsed.
type brokenError struct{ text string }

func (e *brokenError) Error() string { return e.text }

// broken returns a brokenError for a position.
func (t *text) broken(at Position, format string, args ...any) error {
	place := fmt.Sprintf("line %d, ", at.Line)
	if t.lineStart >= 0 && at.Line == t.at.Line {
		place += fmt.Sprintf("column %d, ", at.Offset-t.lineStart+1)
	}
	return &brokenError{fmt.Sprintf("cannot parse the export beyond %sbyte %d: %s; "+fixExport,
		place, at.Offset, fmt.Sprintf(format, args...))}
}

// fixExport ends the messages of brokenErrors.
const fixExport = "earlier records were read; fix the file and import it again"

// explain adds the position to a read error, and reports corrupt compressed data.
func (t *text) explain(err error) error {
	_, explained := errors.AsType[*brokenError](err)
	_, stopped := errors.AsType[*stoppedError](err)
	if explained || stopped || errors.Is(err, ErrFormat) || err == io.EOF { //nolint:errorlint // a bare EOF is the end
		return err
	}
	if t.cause != nil && t.cause() != nil {
		return fmt.Errorf("read export at byte %d: %w", t.read(), t.cause())
	}
	if t.name != "" {
		what := "is corrupt (" + err.Error() + ")"
		if errors.Is(err, io.ErrUnexpectedEOF) {
			what = "is truncated"
		}
		return &brokenError{fmt.Sprintf("the %s stream %s after byte %d, at line %d, byte %d of its text; "+fixExport,
			t.name, what, t.read(), t.at.Line, t.at.Offset)}
	}
	return fmt.Errorf("read export at byte %d: %w", t.at.Offset+int64(t.w-t.r), err)
}
