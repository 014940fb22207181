package export

import (
	"bufio"
	"bytes"
	"context"
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

// maxWindow is the maximum window size of zstd data, which the decompressor keeps in memory. RFC 8878, 3.1.1.1.2
// recommends to support at least 8 MiB, which zstd -19 uses. With 16 MiB an import needs less than 64 MB of memory;
// with the 128 MiB of zstd --long it needs more.
const maxWindow = 16 << 20

// A kind is a type of file, detected by its first bytes.
type kind struct {
	magic, name, advice string
}

// Magic numbers of compressed data, of unsupported files and of other encodings than UTF-8.
var (
	gzipMagic = "\x1f\x8b"
	zstdMagic = "\x28\xb5\x2f\xfd"

	archives = []kind{
		{"PK\x03\x04", "a zip archive", "unpack it and import the file in it"},
		{"PK\x05\x06", "an empty zip archive", "it is empty"},
		{"BZh", "compressed with bzip2", "compress it with gzip or zstd"},
		{"\xfd7zXZ\x00", "compressed with xz", "compress it with gzip or zstd"},
		{"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and import the file in it"},
		{"Rar!\x1a\x07", "a rar archive", "unpack it and import the file in it"},
		{"\x04\x22\x4d\x18", "compressed with lz4", "compress it with gzip or zstd"},
		{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook", "save it as CSV UTF-8"},
		{"%PDF-", "a PDF document", "it is not an export"},
		{"SQLite format 3\x00", "an SQLite database", "export a query's result as CSV or JSON"},
		{"PAR1", "a Parquet file", "convert it to CSV or JSON"},
	}
	encodings = []kind{ // advice is the name for [Source.Encoding]; UTF-32 before UTF-16, whose mark is a prefix
		{"\xff\xfe\x00\x00", "UTF-32", ""},
		{"\x00\x00\xfe\xff", "UTF-32", ""},
		{"\x84\x31\x95\x33", "GB18030", "gb18030"},
		{"\xdd\x73\x66\x73", "UTF-EBCDIC", ""},
		{"\x2b\x2f\x76\x38", "UTF-7", ""},
		{"\x2b\x2f\x76\x39", "UTF-7", ""},
		{"\xf7\x64\x4c", "UTF-1", ""},
	}
)

const sniffSize = 512 // bytes of an object for detection

// openText opens an export at its start. It decompresses it and converts UTF-16 to UTF-8. On error, the text is nil or
// the caller must close it.
func openText(ctx context.Context, src Source) (*text, error) {
	stopped := func() error { return context.Cause(ctx) }
	if format(src.Name) == archiveFormat {
		return openZipText(src, stopped)
	}
	body := src.Open(0)
	object := &counter{src: body}
	in := bufio.NewReaderSize(object, 64<<10)
	t := &text{
		src: in, buf: make([]byte, bufFirst), at: Start,
		read:  func() int64 { return object.n - int64(in.Buffered()) },
		close: func() { body.Close() }, cause: func() error { return object.err },
		stopped: stopped, blanks: defaultBlanks,
	}
	magic, _ := in.Peek(sniffSize) // the next read returns the error again
	if err := t.decompress(ctx, src, in, magic); err != nil {
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

// IsCompressed reports whether name has the extension of a compressed export. The content takes precedence.
func isCompressed(name string) bool {
	return slices.Contains(Compressions, strings.ToLower(path.Ext(name)))
}

// decompress makes t decompress the object, if the object's first bytes, magic, are those of compressed data.
func (t *text) decompress(ctx context.Context, src Source, in *bufio.Reader, magic []byte) error {
	name := src.Name
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
		t.src = &members{in: in, gzip: r, onTrailing: func() {
			t.notes = append(t.notes, fmt.Sprintf("ignored trailing data after the gzip data, from about byte %d", t.read()))
		}}
	case bytes.HasPrefix(magic, []byte(zstdMagic)),
		isSkippable(magic) && strings.HasSuffix(strings.ToLower(name), ".zst"):
		t.name = "zstd"
		if src.Window != nil {
			if err := src.Window(ctx, windowSize(in)); err != nil {
				return err
			}
		}
		r, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return t.explain(err)
		}
		t.src = &window{r}
		closeBody := t.close
		t.close = func() { r.Close(); closeBody() }
	case isCompressed(name) && isCut(gzipMagic):
		t.name = "gzip"
		return t.explain(io.ErrUnexpectedEOF)
	case isCompressed(name) && isCut(zstdMagic):
		t.name = "zstd"
		return t.explain(io.ErrUnexpectedEOF)
	}
	return nil
}

// windowSize returns the size in bytes of the window of the zstd frame that in starts with, or the maximum if it does
// not tell.
func windowSize(in *bufio.Reader) uint64 {
	first, _ := in.Peek(zstd.HeaderMaxSize) // a short frame has less
	var h zstd.Header
	if err := h.Decode(first); err != nil || h.Skippable {
		return maxWindow
	}
	if h.SingleSegment {
		return h.FrameContentSize
	}
	return h.WindowSize
}

// A members reads gzip data of one or more members (RFC 1952, 2.2). Like gzip itself, it skips zero padding after the
// last member and ignores other trailing data.
type members struct {
	in         *bufio.Reader
	gzip       *gzip.Reader
	onTrailing func() // called if there is trailing data
	done       bool
}

func (m *members) Read(p []byte) (int, error) {
	for !m.done {
		n, err := m.gzip.Read(p)
		isEnd := err == io.EOF //nolint:errorlint // a bare EOF is the end of a member; a wrapped one an error
		if n > 0 || !isEnd {
			if isEnd {
				err = nil // the next call returns it again
			}
			return n, err
		}
		if err := m.next(); err != nil {
			return 0, err
		}
	}
	return 0, io.EOF
}

// next advances to the next member.
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
			m.onTrailing()
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

// peek returns the first bytes of the decompressed text.
func peek(t *text, in *bufio.Reader) ([]byte, error) {
	if t.name == "" {
		first, _ := in.Peek(sniffSize) // the next read returns the error again
		return first, nil
	}
	decompressed := bufio.NewReaderSize(t.src, 64<<10)
	t.src = decompressed
	first, err := decompressed.Peek(sniffSize)
	if len(first) == 0 && err != nil && !errors.Is(err, io.EOF) {
		return nil, t.explain(err)
	}
	return first, nil
}

// archive returns an error if the object is an archive or another unsupported file.
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

// encoding skips a byte-order mark and converts UTF-16 to UTF-8. It returns an error for another encoding that it
// detects and that is not named.
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
		t.src, t.plain = &utf16Reader{src: t.src, bigEndian: first[0] == 0xfe}, false // it drops the mark
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

// isSkippable reports whether zstd data starts with a skippable frame (RFC 8878, 3.1.2), which some tools write.
func isSkippable(magic []byte) bool {
	return len(magic) >= 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:4], []byte("\x2a\x4d\x18"))
}

// A counter counts the bytes read, and keeps the read error.
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

// A window explains the error of zstd data with a too large window.
type window struct{ src io.Reader }

func (w *window) Read(p []byte) (int, error) {
	n, err := w.src.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = fmt.Errorf("%w: the zstd window is larger than %d MiB: "+
			"compress it again without --long and --ultra, or with --long=24", ErrFormat, maxWindow>>20)
	}
	return n, err
}

// A utf16Reader converts UTF-16 to UTF-8. A lone surrogate becomes three bytes that are not UTF-8, so that the record
// is rejected instead of silently changed.
type utf16Reader struct {
	src       io.Reader
	bigEndian bool
	in        [4096]byte
	n         int // bytes of in
	out       []byte
	rest      []byte // of out
	high      rune   // a high surrogate that waits for its low surrogate, 0 if there is none
	begun     bool   // the byte-order mark has been read
	err       error
}

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

// decode decodes the contents of in.
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
			out = appendSurrogate(out, u.high)
			u.high = 0
		}
		switch {
		case c >= 0xd800 && c < 0xdc00:
			u.high = c
		case utf16.IsSurrogate(c):
			out = appendSurrogate(out, c)
		default:
			out = utf8.AppendRune(out, c)
		}
	}
	u.n = copy(u.in[:], u.in[i:u.n])
	if errors.Is(u.err, io.EOF) {
		if u.high != 0 {
			out = appendSurrogate(out, u.high)
			u.high = 0
		}
		if u.n > 0 {
			u.n = 0
			u.err = fmt.Errorf("the UTF-16 text ends inside a character: %w", io.ErrUnexpectedEOF)
		}
	}
	u.out, u.rest = out, out
}

// appendSurrogate appends a lone surrogate in the three bytes that UTF-8 would have for it.
func appendSurrogate(dst []byte, c rune) []byte {
	return append(dst, 0xe0|byte(c>>12), 0x80|byte(c>>6)&0xbf, 0x80|byte(c)&0x3f) // 16 bits
}
