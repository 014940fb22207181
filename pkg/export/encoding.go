package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/transform"
)

// maxLookAhead is the number of bytes that are scanned, and not kept, before the first record to detect whether a text
// is UTF-8. Invalid UTF-8 after them only rejects its record.
const maxLookAhead = 16 << 20

// utf8Mark is the byte-order mark in UTF-8.
const utf8Mark = "\xef\xbb\xbf"

// notEncodings are names of the WHATWG index that [Source.Encoding] does not accept: UTF-16 is detected by its
// byte-order mark, ISO-2022-JP consists of ASCII bytes, and the others are not text encodings.
var notEncodings = []string{"utf-16be", "utf-16le", "iso-2022-jp", "replacement", "x-user-defined"}

// ParseEncoding returns the canonical name of a character encoding, such as gbk, gb18030, big5, shift_jis, euc-kr or
// windows-1252. It accepts all labels of the WHATWG index (https://encoding.spec.whatwg.org/#names-and-labels, 2026-11)
// and ignores case. It returns "" for UTF-8 and for the empty name.
func ParseEncoding(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	e, err := htmlindex.Get(name)
	var canonical string
	if err == nil {
		canonical, err = htmlindex.Name(e)
	}
	switch {
	case err != nil || slices.Contains(notEncodings, canonical):
		return "", fmt.Errorf("is %q, must be an encoding: gbk, gb18030, big5, shift_jis, euc-kr, windows-1252 "+
			"or another name of the WHATWG index (UTF-8, and UTF-16 with a byte-order mark, need no name)", name)
	case canonical == "utf-8":
		return "", nil
	}
	return canonical, nil
}

// openDecoded opens an export at its start as UTF-8 text. isFirst means that no record of the export has been read
// before. On error, the text is nil or the caller must close it.
//
// The content takes precedence over src.Encoding: a byte-order mark determines the encoding, and text that is very
// likely UTF-8 is read as UTF-8. If isFirst is set and src.Encoding is empty, an export that is not UTF-8 is an error.
func openDecoded(ctx context.Context, src Source, isFirst bool) (*text, error) {
	t, err := openText(ctx, src)
	if err != nil || t.marked || src.Encoding == "" && !isFirst || t.zip != nil {
		return t, err
	}
	c := census{line: 1}
	small := len(t.head(bufFirst)) < bufFirst
	if small {
		c.add(t.buf[t.r:t.w])
	} else {
		c.read(t)
	}
	if src.Encoding != "" && t.cause() != nil {
		return t, t.explain(t.err) // a read error must not affect the detection
	}
	if !small {
		t.close()
		if t, err = openText(ctx, src); err != nil {
			return t, err
		}
	}
	switch {
	case src.Encoding != "" && !c.isUTF8():
		return t, t.decode(src.Encoding)
	case src.Encoding != "":
		t.notes = append(t.notes, "the export is UTF-8, so the encoding "+src.Encoding+" is not applied")
	case isFirst:
		return t, c.check(t, src)
	}
	return t, nil
}

// decode converts the text from the named encoding to UTF-8.
func (t *text) decode(name string) error {
	e, err := htmlindex.Get(name)
	if err != nil {
		return fmt.Errorf("%w: encoding %q: %w", ErrFormat, name, err)
	}
	head := bytes.Clone(t.buf[t.r:t.w])
	rest := &resumedReader{t.src, t.err}
	t.src = &decodedReader{src: io.MultiReader(bytes.NewReader(head), rest), dec: e.NewDecoder()}
	t.r, t.w, t.err = 0, 0, nil
	t.plain, t.encoded = false, name
	return nil
}

// A resumedReader continues reading src. err is the error of the earlier reader, nil if it had none.
type resumedReader struct {
	src io.Reader
	err error
}

func (r *resumedReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	return r.src.Read(p)
}

// A decodedReader converts another encoding to UTF-8. It converts invalid bytes, and U+FFFD itself, to three bytes that
// are not UTF-8: the record is rejected instead of silently changed.
type decodedReader struct {
	src  io.Reader
	dec  *encoding.Decoder
	in   [4096]byte
	n    int // bytes of in
	out  [4 * 4096]byte
	rest []byte // of out
	err  error
}

var (
	replacement = []byte("\uFFFD")
	notUTF8     = []byte("\xff\xff\xff") // as long as replacement
)

func (d *decodedReader) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		var n int
		n, d.err = d.src.Read(d.in[d.n:])
		d.n += n
		written, read, err := d.dec.Transform(d.out[:], d.in[:d.n], errors.Is(d.err, io.EOF))
		if err != nil && !errors.Is(err, transform.ErrShortSrc) {
			d.err = err // out has 4 bytes for each byte of in, so ErrShortDst is impossible
		}
		d.n = copy(d.in[:], d.in[read:d.n])
		d.rest = d.out[:written]
		for rest := d.rest; ; {
			i := bytes.Index(rest, replacement)
			if i < 0 {
				break
			}
			copy(rest[i:], notUTF8)
			rest = rest[i+len(notUTF8):]
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// A census counts the non-ASCII characters and invalid bytes at the start of a text.
type census struct {
	size  int64 // bytes scanned
	line  int64 // line of the next byte, from 1
	chars int64 // non-ASCII characters of valid UTF-8
	wide  int64 // those of three or four bytes

	// broken counts invalid bytes. It does not count truncated characters, because programs often truncate text at a
	// byte limit.
	broken int64

	first, last int64  // the first and the last line with broken bytes
	lines       int64  // number of lines with broken bytes
	sample      []byte // of the text, from shortly before the first broken byte
}

const maxSample = 4 << 10 // bytes

// read consumes and counts up to maxLookAhead bytes of a text. The next read of the text returns its error.
func (c *census) read(t *text) {
	for c.size < maxLookAhead {
		t.advance(c.add(t.buf[t.r:t.w]))
		if t.fill() != nil {
			return
		}
	}
}

// add counts the bytes of a piece of the text and returns their number. It leaves out an incomplete character at the
// end of the piece.
func (c *census) add(piece []byte) int {
	sampled := len(c.sample) > 0
	from, i := 0, 0
	for i < len(piece) {
		b := piece[i]
		if b < utf8.RuneSelf {
			if b == '\n' {
				c.line++
			}
			if b < '0' && !sampled { // in no encoding is such a byte part of a character
				from = i
			}
			i++
			continue
		}
		if !utf8.FullRune(piece[i:]) {
			break
		}
		n := c.char(piece[i:])
		sampled = sampled || c.broken > 0
		i += n
	}
	if c.broken > 0 && len(c.sample) < maxSample {
		c.sample = append(c.sample, piece[from:min(i, from+maxSample-len(c.sample))]...)
	}
	c.size += int64(i)
	return i
}

// char counts the first character of text, or its first byte if it is invalid, and returns the size.
func (c *census) char(text []byte) int {
	if r, n := utf8.DecodeRune(text); r != utf8.RuneError || n > 1 {
		c.chars++
		if n > 2 {
			c.wide++
		}
		return n
	}
	if n := truncatedLen(text); n > 0 {
		return n
	}
	c.broken++
	if c.last != c.line {
		c.last = c.line
		c.lines++
	}
	if c.first == 0 {
		c.first = c.line
	}
	return 1
}

// truncatedLen returns the length, 2 or 3, of a truncated UTF-8 character at the start of text, 0 if there is none.
func truncatedLen(text []byte) int {
	for n := 3; n > 1; n-- {
		if len(text) > n && !utf8.FullRune(text[:n]) {
			return n
		}
	}
	return 0
}

// isUTF8 reports whether a text is UTF-8 although another encoding is named. About one in six Chinese characters in GBK
// is by chance also valid UTF-8, of two bytes. Therefore 16 such characters, or one of three bytes, mean UTF-8.
func (c *census) isUTF8() bool {
	return c.broken*8 <= c.chars && (c.wide > 0 || c.chars >= 16)
}

// check returns an error that wraps [ErrFormat] if the text is not UTF-8: most of its non-ASCII content is invalid, and
// either another encoding is likely or at least minLines lines are affected. Otherwise single records are damaged.
func (c *census) check(t *text, src Source) error {
	const minLines = 3
	if c.broken <= c.chars || c.broken == 1 {
		return nil
	}
	likely := guess(c.sample)
	if likely == "" && c.lines < minLines {
		return nil
	}
	if t.name == "" && isCompressed(src.Name) && likely == "" {
		return fmt.Errorf("%w: the name says that it is compressed, but it is neither compressed data nor text: "+
			"the file is corrupt or has the wrong name", ErrFormat)
	}
	where := fmt.Errorf("%w: the export is not UTF-8, from line %d on", ErrFormat, c.first)
	if likely == "" {
		return fmt.Errorf("%w: set its encoding with --encoding NAME (EXPORT_ENCODING), for example windows-1252, "+
			"or save it as UTF-8", where)
	}
	convert := fmt.Sprintf("iconv -f %s -t UTF-8 %s > NEW", iconvNames[likely], path.Base(src.Name))
	if t.name != "" {
		convert = fmt.Sprintf("decompress it, then iconv -f %s -t UTF-8", iconvNames[likely])
	}
	return fmt.Errorf("%w: it looks like %s: read it with --encoding %s (EXPORT_ENCODING=%[3]s), or convert it: %s",
		where, iconvNames[likely], likely, convert)
}

// A doubleByte is an encoding in which most characters are two bytes.
type doubleByte struct {
	name     string
	common   func(lead, trail byte) bool // reports whether the pair is a common character
	single   func(b byte) bool           // reports whether a non-ASCII byte is a character; nil if none is
	minPairs int                         // pairs in a sample needed for detection
}

// high reports whether b is the second byte of a pair in a set of 94 by 94 characters.
func high(b byte) bool { return b >= 0xa1 && b <= 0xfe }

// doubleBytes is in order of preference for samples that fit several encodings. EUC-KR needs minPairs, because its
// Hangul overlaps the first half of GBK's common characters.
var doubleBytes = []doubleByte{
	{
		name: "euc-kr", common: func(lead, trail byte) bool { return lead >= 0xb0 && lead <= 0xc8 && high(trail) },
		minPairs: 8,
	},
	{name: "gbk", common: func(lead, trail byte) bool { return lead >= 0xb0 && lead <= 0xd7 && high(trail) }},
	{name: "big5", common: func(lead, trail byte) bool {
		return lead >= 0xa4 && lead <= 0xc6 && (high(trail) || trail >= 0x40 && trail <= 0x7e)
	}},
	{
		name:   "shift_jis",
		common: func(lead, _ byte) bool { return lead == 0x82 || lead == 0x83 || lead >= 0x88 && lead <= 0x97 },
		single: func(b byte) bool { return b >= 0xa1 && b <= 0xdf },
	},
	{name: "euc-jp", common: func(lead, trail byte) bool {
		return (lead == 0xa4 || lead == 0xa5 || lead >= 0xb0 && lead <= 0xcf) && high(trail)
	}},
}

// iconvNames are iconv's names of the encodings.
var iconvNames = map[string]string{
	"gbk": "GBK", "big5": "BIG5", "shift_jis": "SHIFT_JIS", "euc-kr": "EUC-KR", "euc-jp": "EUC-JP",
}

// guess returns the most likely encoding of a sample, "" if none of doubleBytes is likely.
func guess(sample []byte) string {
	best, name := 0.5, ""
	for _, d := range doubleBytes {
		if share := d.share(sample); share > best && d.decodes(sample) {
			best, name = share, d.name
		}
	}
	return name
}

// share returns the share of common pairs in a sample, 0 to 1.
func (d *doubleByte) share(sample []byte) float64 {
	pairs, common := 0, 0
	for i := 0; i+1 < len(sample); i++ {
		if sample[i] < utf8.RuneSelf || d.single != nil && d.single(sample[i]) {
			continue
		}
		pairs++
		if d.common(sample[i], sample[i+1]) {
			common++
		}
		i++
	}
	if pairs == 0 || pairs < d.minPairs {
		return 0
	}
	return float64(common) / float64(pairs)
}

// decodes reports whether a sample is valid in the encoding. The sample may end inside a character.
func (d *doubleByte) decodes(sample []byte) bool {
	e, err := htmlindex.Get(d.name)
	if err != nil {
		return false
	}
	out := make([]byte, 4*len(sample)+4)
	n, _, err := e.NewDecoder().Transform(out, sample, false)
	return (err == nil || errors.Is(err, transform.ErrShortSrc)) && !bytes.Contains(out[:n], replacement)
}
