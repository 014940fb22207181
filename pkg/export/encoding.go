package export

import (
	"bytes"
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

// maxLookAhead is how many bytes of a text are read, and not held, before its first record is returned, to tell
// whether the text is UTF-8. Bytes that are not UTF-8 behind these cost the record they stand in.
const maxLookAhead = 16 << 20

// utf8Mark is the byte-order mark in UTF-8.
const utf8Mark = "\xef\xbb\xbf"

// notEncodings are names of the WHATWG index that [Source.Encoding] does not take: UTF-16 is told by its byte-order
// mark, ISO-2022-JP is ASCII by its bytes, and the others are no encodings of text.
var notEncodings = []string{"utf-16be", "utf-16le", "iso-2022-jp", "replacement", "x-user-defined"}

// ParseEncoding returns the canonical name of a character encoding, in any case and by any of its names in the WHATWG
// index (https://encoding.spec.whatwg.org/#names-and-labels, 2026-11): gbk, gb18030, big5, shift_jis, euc-kr,
// windows-1252 and others. UTF-8 and the empty name are "". An error names the likely ones.
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
		return "", fmt.Errorf("is %q, it must be the name of an encoding: gbk, gb18030, big5, shift_jis, euc-kr, windows-1252 "+
			"or another one of the WHATWG index (UTF-8, and UTF-16 with a byte-order mark, need no name)", name)
	case canonical == "utf-8":
		return "", nil
	}
	return canonical, nil
}

// openDecoded opens an export at its beginning as a text in UTF-8. begins says that no record of it has been read
// before. If the error is not nil the text is nil or must be closed.
//
// What the bytes say goes before src.Encoding: an export with a byte-order mark is in what the mark says, and one whose
// bytes can hardly be anything but UTF-8 is UTF-8. An export that is not UTF-8 is refused if no encoding is named,
// unless records of it have been read before.
func openDecoded(src Source, begins bool) (*text, error) {
	t, err := openText(src)
	if err != nil || t.marked || src.Encoding == "" && !begins {
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
		return t, t.explain(t.err) // what the text is must not depend on how far it could be read
	}
	if !small {
		t.close()
		if t, err = openText(src); err != nil {
			return t, err
		}
	}
	switch {
	case src.Encoding != "" && !c.isUTF8():
		return t, t.decode(src.Encoding)
	case src.Encoding != "":
		t.notes = append(t.notes, "the export is UTF-8 by its bytes, so the encoding "+src.Encoding+" is not applied")
	case begins:
		return t, c.refuse(t, src)
	}
	return t, nil
}

// decode makes UTF-8 of a text in the named encoding.
func (t *text) decode(name string) error {
	e, err := htmlindex.Get(name)
	if err != nil {
		return fmt.Errorf("%w: encoding %q: %w", ErrFormat, name, err)
	}
	head := bytes.Clone(t.buf[t.r:t.w])
	t.src = &decodedReader{src: io.MultiReader(bytes.NewReader(head), &resumedReader{t.src, t.err}), dec: e.NewDecoder()}
	t.r, t.w, t.err = 0, 0, nil
	t.plain, t.encoded = false, name
	return nil
}

// A resumedReader reads on where another reader of src has met err.
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

// A decodedReader makes UTF-8 of another encoding. Bytes that are no character in it become three bytes that are not
// UTF-8, so that the record is rejected: nothing is replaced. U+FFFD itself, which marks a loss in the text before,
// becomes these too.
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

// Read implements [io.Reader].
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
			d.err = err // out has room for 4 bytes a byte: no decoder errs
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

// A census counts what is not ASCII in the beginning of a text.
type census struct {
	size  int64 // bytes that were counted
	line  int64 // the line of the text that the next byte is in, from 1
	chars int64 // characters of UTF-8 that are not ASCII
	wide  int64 // of these, those of three or four bytes

	// broken counts bytes that are not UTF-8, save those of a character that is cut short, as programs leave when they
	// cut texts by bytes.
	broken int64

	first, last int64  // the first and the last line with broken bytes
	lines       int64  // how many lines have any
	sample      []byte // of the text, from shortly before the first of them
}

const maxSample = 4 << 10 // bytes

// read counts up to maxLookAhead bytes of a text, and takes them. An error of the text meets its next reader.
func (c *census) read(t *text) {
	for c.size < maxLookAhead {
		t.advance(c.add(t.buf[t.r:t.w]))
		if t.fill() != nil {
			return
		}
	}
}

// add counts the bytes of a piece of the text, and returns how many: not those of a character at the end of the piece
// that may go on behind it.
func (c *census) add(piece []byte) int {
	sampled := len(c.sample) > 0
	from, i := 0, 0
	for i < len(piece) {
		b := piece[i]
		if b < utf8.RuneSelf {
			if b == '\n' {
				c.line++
			}
			if b < '0' && !sampled { // no encoding has such a byte within a character
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

// char counts the character that a text begins with, or the byte if it is none, and returns its size.
func (c *census) char(text []byte) int {
	if r, n := utf8.DecodeRune(text); r != utf8.RuneError || n > 1 {
		c.chars++
		if n > 2 {
			c.wide++
		}
		return n
	}
	if n := cutShort(text); n > 0 {
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

// cutShort returns how many bytes a text begins with that are two or three of a longer character in UTF-8, and 0 if
// there are none.
func cutShort(text []byte) int {
	for n := 3; n > 1; n-- {
		if len(text) > n && !utf8.FullRune(text[:n]) {
			return n
		}
	}
	return 0
}

// isUTF8 reports whether a text for which an encoding is named is UTF-8 all the same. Few Chinese characters in GBK
// are by chance valid UTF-8 too, of two bytes: about one in six, so that 16 of them in a row, or one of three bytes,
// are none.
func (c *census) isUTF8() bool {
	return c.broken*8 <= c.chars && (c.wide > 0 || c.chars >= 16)
}

// refuse returns an error that wraps [ErrFormat] if the text is in another encoding than UTF-8: if most of what is
// not ASCII is not UTF-8, and is text in another encoding or stands in several lines. Otherwise records are damaged.
func (c *census) refuse(t *text, src Source) error {
	const several = 3
	if c.broken <= c.chars || c.broken == 1 {
		return nil
	}
	likely := guess(c.sample)
	if likely == "" && c.lines < several {
		return nil
	}
	if t.name == "" && Compressed(src.Name) && likely == "" {
		return fmt.Errorf("%w: it is named as if it were compressed, and is neither that nor text: "+
			"it is broken, or its name is wrong", ErrFormat)
	}
	where := fmt.Errorf("%w: the export is not UTF-8, from line %d on", ErrFormat, c.first)
	if likely == "" {
		return fmt.Errorf("%w: name its encoding with --encoding NAME (EXPORT_ENCODING), for example windows-1252, "+
			"or save it as UTF-8", where)
	}
	convert := fmt.Sprintf("iconv -f %s -t UTF-8 %s > NEW", iconvNames[likely], path.Base(src.Name))
	if t.name != "" {
		convert = fmt.Sprintf("iconv -f %s -t UTF-8 once it is decompressed", iconvNames[likely])
	}
	return fmt.Errorf("%w: it looks like %s: read it with --encoding %s (EXPORT_ENCODING=%[3]s), or convert it: %s", where,
		iconvNames[likely], likely, convert)
}

// A doubleByte is an encoding in which most characters are two bytes, and which of these its language uses most.
type doubleByte struct {
	name   string
	common func(lead, trail byte) bool
	single func(b byte) bool // a byte that is a character by itself; nil if only ASCII is
	pairs  int               // how many pairs of a sample tell it, at least
}

// high reports whether a byte is the second one of a pair in a set of 94 by 94 characters.
func high(b byte) bool { return b >= 0xa1 && b <= 0xfe }

// doubleBytes come in the order in which they win if they explain a text alike. EUC-KR has Hangul where GBK has the
// first half of its common characters, so that it takes some text to tell.
var doubleBytes = []doubleByte{
	{name: "euc-kr", common: func(lead, trail byte) bool { return lead >= 0xb0 && lead <= 0xc8 && high(trail) }, pairs: 8},
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

// iconvNames are the names of the encodings in messages.
var iconvNames = map[string]string{"gbk": "GBK", "big5": "BIG5", "shift_jis": "SHIFT_JIS", "euc-kr": "EUC-KR", "euc-jp": "EUC-JP"}

// guess returns the encoding that a sample of a text is most likely in, "" if that is none of doubleBytes.
func guess(sample []byte) string {
	best, name := 0.5, ""
	for _, d := range doubleBytes {
		if share := d.share(sample); share > best && d.decodes(sample) {
			best, name = share, d.name
		}
	}
	return name
}

// share returns which share of the pairs of a sample are common ones.
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
	if pairs == 0 || pairs < d.pairs {
		return 0
	}
	return float64(common) / float64(pairs)
}

// decodes reports whether a sample, which may end within a character, is text in the encoding.
func (d *doubleByte) decodes(sample []byte) bool {
	e, err := htmlindex.Get(d.name)
	if err != nil {
		return false
	}
	out := make([]byte, 4*len(sample)+4)
	n, _, err := e.NewDecoder().Transform(out, sample, false)
	return (err == nil || errors.Is(err, transform.ErrShortSrc)) && !bytes.Contains(out[:n], replacement)
}
