package export

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is how far back zstd data may refer, which is what its decompressor has to hold. RFC 8878, 3.1.1.1.2
// recommends at least 8 MiB, which is what zstd -19 writes. With twice that an import stays below 64 MB; what
// zstd --long asks for, 128 MiB, does not.
const maxWindow = 16 << 20

// A kind is what the first bytes of an object tell.
type kind struct {
	magic, name, advice string
}

// The kinds that are not read, and those that are and by what.
var (
	gzipMagic = "\x1f\x8b"
	zstdMagic = "\x28\xb5\x2f\xfd"

	archives = []kind{
		{"PK\x03\x04", "a zip archive", "unpack it and import the file in it"},
		{"PK\x05\x06", "an empty zip archive", "there is nothing in it"},
		{"BZh", "compressed with bzip2", "compress it with gzip or zstd"},
		{"\xfd7zXZ\x00", "compressed with xz", "compress it with gzip or zstd"},
		{"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and import the file in it"},
		{"Rar!\x1a\x07", "a rar archive", "unpack it and import the file in it"},
		{"\x04\x22\x4d\x18", "compressed with lz4", "compress it with gzip or zstd"},
		{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook", "save it as CSV UTF-8"},
		{"%PDF-", "a PDF document", "it is no export"},
		{"SQLite format 3\x00", "an SQLite database", "write a query's answer as CSV or JSON"},
		{"PAR1", "a Parquet file", "write it as CSV or JSON"},
	}
	encodings = []kind{ // with the name that reads it; the longer mark first: UTF-32's begins with UTF-16's
		{"\xff\xfe\x00\x00", "UTF-32", ""},
		{"\x00\x00\xfe\xff", "UTF-32", ""},
		{"\x84\x31\x95\x33", "GB18030", "gb18030"},
		{"\xdd\x73\x66\x73", "UTF-EBCDIC", ""},
		{"\x2b\x2f\x76\x38", "UTF-7", ""},
		{"\x2b\x2f\x76\x39", "UTF-7", ""},
		{"\xf7\x64\x4c", "UTF-1", ""},
	}
)

const sniffed = 512 // bytes of an object that tell what it is

// openText opens an export at its beginning: decompressed, and UTF-16 as UTF-8. If the error is not nil the text is
// nil or must be closed.
func openText(src Source) (*text, error) {
	body := src.Open(0)
	object := &counter{src: body}
	in := bufio.NewReaderSize(object, 64<<10)
	t := &text{
		src: in, buf: make([]byte, bufFirst), at: Start, read: func() int64 { return object.n },
		close: func() { body.Close() }, cause: func() error { return object.err },
	}
	magic, _ := in.Peek(sniffed) // an error meets the first record again
	if err := t.decompress(src.Name, in, magic); err != nil {
		return t, err
	}
	if len(magic) == 0 && object.err != nil {
		return t, t.explain(object.err)
	}
	first, err := peek(t, in)
	if err != nil {
		return t, err
	}
	if err := archive(first); err != nil {
		return t, err
	}
	t.plain = t.name == ""
	return t, t.encoding(first, src.Encoding)
}

// Compressed reports whether the name says that an export is compressed. What its bytes say goes before.
func Compressed(name string) bool {
	return slices.Contains(Compressions, strings.ToLower(path.Ext(name)))
}

// decompress makes t read what the object holds, which begins with magic, if it is compressed.
func (t *text) decompress(name string, in *bufio.Reader, magic []byte) error {
	isCut := func(whole string) bool {
		return len(magic) > 0 && len(magic) < len(whole) && strings.HasPrefix(whole, string(magic))
	}
	switch {
	case bytes.HasPrefix(magic, []byte(gzipMagic)):
		t.name = "gzip"
		r, err := gzip.NewReader(in)
		if err != nil {
			return t.explain(err)
		}
		r.Multistream(false)
		t.src = &members{in: in, gzip: r, behind: func() {
			from := t.read() - int64(in.Buffered())
			t.notes = append(t.notes, fmt.Sprintf("what stands from about byte %d on, behind the gzip data, was not read", from))
		}}
	case bytes.HasPrefix(magic, []byte(zstdMagic)), isSkippable(magic) && strings.HasSuffix(strings.ToLower(name), ".zst"):
		t.name = "zstd"
		r, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return t.explain(err)
		}
		t.src = &window{r}
		closeBody := t.close
		t.close = func() { r.Close(); closeBody() }
	case Compressed(name) && isCut(gzipMagic):
		t.name = "gzip"
		return t.explain(io.ErrUnexpectedEOF)
	case Compressed(name) && isCut(zstdMagic):
		t.name = "zstd"
		return t.explain(io.ErrUnexpectedEOF)
	}
	return nil
}

// A members reads gzip data, which is one member or several (RFC 1952, 2.2), as gzip itself does: zero bytes behind the
// last one pad it, and other bytes there are garbage that is not read.
type members struct {
	in     *bufio.Reader
	gzip   *gzip.Reader
	behind func() // is called if something stands behind the last member that is not read
	done   bool
}

// Read implements [io.Reader].
func (m *members) Read(p []byte) (int, error) {
	for !m.done {
		n, err := m.gzip.Read(p)
		if n > 0 || err != io.EOF { //nolint:errorlint // a bare EOF is the end of a member; a wrapped one an error
			if n > 0 && err == io.EOF { //nolint:errorlint // see above
				err = nil // it comes again
			}
			return n, err
		}
		if err := m.next(); err != nil {
			return 0, err
		}
	}
	return 0, io.EOF
}

// next goes to the next member.
func (m *members) next() error {
	for {
		b, err := m.in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			m.done = true
			return nil
		case err != nil:
			return err
		case b == 0:
			continue
		}
		if err := m.in.UnreadByte(); err != nil {
			return err
		}
		magic, err := m.in.Peek(len(gzipMagic))
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return err
		case string(magic) != gzipMagic[:len(magic)]:
			m.behind()
			m.done = true
			return nil
		}
		if err := m.gzip.Reset(m.in); err != nil {
			return err
		}
		m.gzip.Multistream(false)
		return nil
	}
}

// peek returns the first bytes of the text as they are.
func peek(t *text, in *bufio.Reader) ([]byte, error) {
	if t.name == "" {
		first, _ := in.Peek(sniffed) // an error meets the first record again
		return first, nil
	}
	decompressed := bufio.NewReaderSize(t.src, 64<<10)
	t.src = decompressed
	first, err := decompressed.Peek(sniffed)
	if len(first) == 0 && err != nil && !errors.Is(err, io.EOF) {
		return nil, t.explain(err)
	}
	return first, nil
}

// archive says what an object is that holds no export.
func archive(first []byte) error {
	for _, k := range archives {
		if bytes.HasPrefix(first, []byte(k.magic)) {
			return fmt.Errorf("%w: it is %s: %s", ErrFormat, k.name, k.advice)
		}
	}
	const tarAt = 257 // of the magic "ustar", POSIX.1-1988
	if len(first) > tarAt+5 && string(first[tarAt:tarAt+5]) == "ustar" {
		return fmt.Errorf("%w: it is a tar archive: unpack it and import the file in it", ErrFormat)
	}
	return nil
}

// encoding makes UTF-16 UTF-8 and skips the mark of either; another encoding that can be told, and is not the named
// one, is refused.
func (t *text) encoding(first []byte, named string) error {
	for _, k := range encodings {
		if bytes.HasPrefix(first, []byte(k.magic)) && (k.advice == "" || k.advice != named) {
			way := "save it as UTF-8"
			if k.advice != "" {
				way = fmt.Sprintf("read it with --encoding %s (EXPORT_ENCODING=%[1]s), or %s", k.advice, way)
			}
			return fmt.Errorf("%w: the export is %s: %s", ErrFormat, k.name, way)
		}
	}
	switch {
	case t.name != "" && (bytes.HasPrefix(first, []byte(gzipMagic)) || bytes.HasPrefix(first, []byte(zstdMagic))):
		return fmt.Errorf("%w: the export is compressed twice: decompress it once", ErrFormat)
	case bytes.HasPrefix(first, []byte("\xff\xfe")), bytes.HasPrefix(first, []byte("\xfe\xff")):
		t.src, t.plain = &utf16Reader{src: t.src, bigEndian: first[0] == 0xfe}, false // the mark is no part of what comes out
		t.marked = true
		return nil
	case len(first) >= 2 && (first[0] == 0) != (first[1] == 0):
		return fmt.Errorf("%w: the export looks like UTF-16 without a byte-order mark: save it as UTF-8", ErrFormat)
	}
	if bytes.HasPrefix(first, []byte(utf8Mark)) {
		t.marked = true
		t.skipMarks()
	}
	return nil
}

// isSkippable reports whether zstd data begins with a frame that holds no data, as some tools write
// (RFC 8878, 3.1.2).
func isSkippable(magic []byte) bool {
	return len(magic) >= 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:4], []byte("\x2a\x4d\x18"))
}

// A counter counts what is read, and keeps why it could not be read on.
type counter struct {
	src io.Reader
	n   int64
	err error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// A window says what to do about zstd data that refers back too far.
type window struct{ src io.Reader }

func (w *window) Read(p []byte) (int, error) {
	n, err := w.src.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = fmt.Errorf("%w: its zstd data refers back over more than %d MiB, which would have to be held in memory: "+
			"compress it again without --long and --ultra, or with --long=24", ErrFormat, maxWindow>>20)
	}
	return n, err
}

// A utf16Reader makes UTF-8 of UTF-16. Half of a surrogate pair becomes three bytes that are not UTF-8, so that
// the record is refused: nothing is replaced.
type utf16Reader struct {
	src       io.Reader
	bigEndian bool
	in        [4096]byte
	n         int // bytes of in
	out       []byte
	rest      []byte // of out
	high      rune   // half of a pair, waiting for the other
	begun     bool   // the mark has been read
	err       error
}

// Read implements [io.Reader].
func (u *utf16Reader) Read(p []byte) (int, error) {
	for len(u.rest) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		var n int
		n, u.err = u.src.Read(u.in[u.n:])
		u.n += n
		u.decode()
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// decode decodes what in holds.
func (u *utf16Reader) decode() {
	out := u.out[:0]
	i := 0
	for ; i+1 < u.n; i += 2 {
		c := rune(u.in[i]) | rune(u.in[i+1])<<8
		if u.bigEndian {
			c = rune(u.in[i])<<8 | rune(u.in[i+1])
		}
		if !u.begun {
			u.begun = true
			continue
		}
		if u.high != 0 {
			if whole := utf16.DecodeRune(u.high, c); whole != utf8.RuneError {
				out = utf8.AppendRune(out, whole)
				u.high = 0
				continue
			}
			out = appendHalf(out, u.high)
			u.high = 0
		}
		switch {
		case c >= 0xd800 && c < 0xdc00:
			u.high = c
		case utf16.IsSurrogate(c):
			out = appendHalf(out, c)
		default:
			out = utf8.AppendRune(out, c)
		}
	}
	u.n = copy(u.in[:], u.in[i:u.n])
	if errors.Is(u.err, io.EOF) {
		if u.high != 0 {
			out = appendHalf(out, u.high)
			u.high = 0
		}
		if u.n > 0 {
			u.n = 0
			u.err = fmt.Errorf("the UTF-16 text ends in the middle of a character: %w", io.ErrUnexpectedEOF)
		}
	}
	u.out, u.rest = out, out
}

// appendHalf appends half of a surrogate pair as UTF-8 would write it if it were a character.
func appendHalf(dst []byte, c rune) []byte {
	return append(dst, 0xe0|byte(c>>12), 0x80|byte(c>>6)&0xbf, 0x80|byte(c)&0x3f) //nolint:gosec // 16 bits
}
