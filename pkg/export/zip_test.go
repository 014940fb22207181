package export_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"groupimport/pkg/export"
	"groupimport/pkg/group"
)

// A filed is a mapping that reads two files of an archive, and names them in the record.
type filed struct{ name string }

func (f *filed) Map(raw []byte) (export.Mapped, error) {
	return export.Mapped{Record: slices.Clone(raw), Source: f.name}, nil
}

func (*filed) Ignores([]byte) bool { return false }

func (*filed) Records() []export.Path { return nil }

func (*filed) Files() []string { return []string{"channels.json", "groups.json"} }

func (f *filed) InFile(name string) { f.name = name }

// A packed is a file to put into an archive.
type packed struct {
	name   string
	text   string
	stored bool
}

// pack returns a zip archive.
func pack(t testing.TB, files ...packed) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		if f.stored {
			h.Method = zip.Store
		}
		out, err := w.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(out, f.text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.SetComment("a comment PK\x05\x06"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// archive returns an archive as a source.
func archive(object []byte) export.Source {
	src := in("a.zip", object)
	src.Size, src.Map = int64(len(object)), &filed{}
	return src
}

func list(names ...string) string {
	var records []string
	for _, name := range names {
		records = append(records, rec(name))
	}
	return "[" + strings.Join(records, ",\n") + "]"
}

// slackLike is an archive as Slack writes it.
func slackLike(t testing.TB) []byte {
	return pack(t,
		packed{name: "users.json", text: "[]"}, packed{name: "groups.json", text: list("p", "q")},
		packed{name: "general/2024-01-01.json", text: `[{"type":"message"}]`},
		packed{name: "general/channels.json/x.json", text: "[1]"},
		packed{name: "channels.json", text: list("a", "b", "c"), stored: true},
		packed{name: "__MACOSX/channels.json", text: "x"},
	)
}

// An archive's files are read in the mapping's order, nothing else is, and each position resumes in its file.
func TestReader_Zip(t *testing.T) {
	src := archive(slackLike(t))
	whole := entries(t, src, export.Start)
	want := []string{
		"1 a [] channels.json", "2 b [] channels.json", "3 c [] channels.json", "4 p [] groups.json", "5 q [] groups.json",
	}
	if got := texts(whole); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i, e := range whole {
		if e.Next.Done() <= 0 || e.Next.Done() > src.Size {
			t.Errorf("got %d bytes read of %d", e.Next.Done(), src.Size)
		}
		slow := archive(slackLike(t))
		open := slow.Open
		slow.Open = func(offset int64) io.ReadCloser { return io.NopCloser(iotest.OneByteReader(open(offset))) }
		if got := texts(entries(t, slow, e.Next)); !slices.Equal(got, want[i+1:]) {
			t.Errorf("from %+v: got %q, want %q", e.Next, got, want[i+1:])
		}
	}
	lines, _ := all(t, src, export.Start)
	checkBlanks(t, src, lines)
}

// Only ranges of the directory and of the two files are read.
func TestReader_ZipRanges(t *testing.T) {
	noise := make([]byte, 2<<20)
	for i := range noise {
		noise[i] = byte(i * i >> 7)
	}
	object := pack(t,
		packed{name: "a/2024.json", text: string(noise), stored: true}, packed{name: "channels.json", text: list("a")},
		packed{name: "b/2024.json", text: string(noise), stored: true}, packed{name: "groups.json", text: list("p")},
		packed{name: "c/2024.json", text: string(noise), stored: true},
	)
	src := archive(object)
	read := int64(0)
	open := src.Open
	src.Open = func(offset int64) io.ReadCloser { return io.NopCloser(&metered{open(offset), &read}) }
	if got := texts(entries(t, src, export.Start)); len(got) != 2 {
		t.Errorf("got %q, want two records", got)
	}
	if read > 512<<10 {
		t.Errorf("got %d bytes read of %d, want little", read, len(object))
	}
}

type metered struct {
	io.Reader
	n *int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	*m.n += int64(n)
	return n, err
}

// An archive that cannot be read says why, and that of another program what to do.
func TestReader_ZipRefused(t *testing.T) {
	good := slackLike(t)
	mangled := func(change func(b []byte)) []byte {
		b := bytes.Clone(good)
		change(b)
		return b
	}
	directory := func(b []byte, name string) []byte { // the entry of the directory
		for at := 0; ; at++ {
			at += bytes.Index(b[at:], []byte("PK\x01\x02"))
			if bytes.HasPrefix(b[at+46:], []byte(name)) {
				return b[at:]
			}
		}
	}
	channels := packed{name: "channels.json", text: list("a")}
	for name, row := range map[string]struct {
		object []byte
		want   string
	}{
		"no file of the mapping": {pack(t, packed{name: "users.json"}), "holds no channels.json or groups.json"},
		"another archive in it": {
			pack(t, packed{name: "b/export.ZIP", text: "PK"}),
			`holds another one, "b/export.ZIP": unpack it`,
		},
		"several exports": {
			pack(t, packed{name: "a/channels.json"}, packed{name: "b/channels.json"}), "holds several exports",
		},
		"two of one name": {pack(t, channels, channels), "it has two files"},
		"encrypted": {
			mangled(func(b []byte) { directory(b, "channels.json")[8] |= 1 }),
			"is encrypted: unpack it with its password",
		},
		"AES": {mangled(func(b []byte) { directory(b, "channels.json")[10] = 99 }), "is encrypted"},
		"LZMA": {
			mangled(func(b []byte) { directory(b, "channels.json")[10] = 14 }),
			"compresses channels.json by method 14",
		},
		"a bomb": {
			mangled(func(b []byte) { copy(directory(b, "groups.json")[24:28], "\xfe\xff\xff\xff") }),
			"groups.json is shorter than the directory says",
		},
		"longer than said": {
			mangled(func(b []byte) { copy(directory(b, "groups.json")[24:28], "\x05\x00\x00\x00") }),
			"groups.json is longer than the directory says",
		},
		"another checksum": {mangled(func(b []byte) { directory(b, "channels.json")[16] ^= 1 }), "has another checksum"},
		"a wrong place":    {mangled(func(b []byte) { directory(b, "channels.json")[42] ^= 1 }), "is not where it should be"},
		"cut off":          {good[:len(good)-3], "it has no directory, as if it was not copied to its end"},
		"no directory": {
			mangled(func(b []byte) { directory(b, "users.json")[0] = 'X' }),
			"no entry of its directory is where it should be",
		},
		"not a zip": {[]byte("hello"), "it has no directory"},
		"nothing":   {nil, "it has no directory"},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := all(t, archive(row.object), export.Start)
			if len(got) == 0 || !strings.Contains(got[len(got)-1], row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
	src := archive(good)
	for _, m := range []export.Mapping{nil, mapFunc(nil)} {
		src.Map = m
		if got, _ := all(t, src, export.Start); len(got) != 1 ||
			!strings.Contains(got[0], "for a Slack export set MAPPING=slack") {
			t.Errorf("got %q, want the mapping named", got)
		}
	}
}

// A file in a folder, as an archive of an unpacked one has it.
func TestReader_ZipFolder(t *testing.T) {
	object := pack(t,
		packed{name: "Acme export/channels.json", text: list("a")},
		packed{name: "Acme export/general/channels.json", text: list("x")},
	)
	if got := texts(entries(t, archive(object), export.Start)); !slices.Equal(got, []string{"1 a [] channels.json"}) {
		t.Errorf("got %q", got)
	}
}

// White space without end, which compresses well, ends with an error.
func TestReader_ZipBlanks(t *testing.T) {
	object := pack(t, packed{name: "channels.json", text: "[" + strings.Repeat(" ", 4<<20) + "]"})
	src := archive(object)
	r, err := export.NewReader(src, export.Start, group.DocumentLimits)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBlanks(1<<20, 2<<20)
	var last error
	for _, err := range r.Records(t.Context()) {
		last = err
	}
	if last == nil || !strings.Contains(last.Error(), "no record ends in the ") {
		t.Errorf("got %v, want the end", last)
	}
}

// A store's error is the store's, wherever it is.
func TestReader_ZipReadError(t *testing.T) {
	object := slackLike(t)
	broken := errors.New("broken")
	for after := range 4 {
		src := archive(object)
		opened := 0
		src.Open = func(offset int64) io.ReadCloser {
			if opened++; opened > after {
				return io.NopCloser(iotest.ErrReader(broken))
			}
			return io.NopCloser(bytes.NewReader(object[offset:]))
		}
		r, err := export.NewReader(src, export.Start, group.DocumentLimits)
		if err != nil {
			t.Fatal(err)
		}
		for _, err = range r.Records(t.Context()) {
			if err != nil {
				break
			}
		}
		if !errors.Is(err, broken) {
			t.Errorf("after %d ranges: got %v, want %v", after, err, broken)
		}
	}
}

// FuzzZip checks that no archive makes the Reader panic, read beyond its ends, or keep other records when it resumes.
func FuzzZip(f *testing.F) {
	f.Add(slackLike(f))
	f.Add(pack(f, packed{name: "a/groups.json", text: `{"groups":` + list("a") + `}`}))
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, object []byte) {
		src := archive(object)
		open := src.Open
		src.Open = func(offset int64) io.ReadCloser {
			if offset < 0 || offset > int64(len(object)) {
				t.Fatalf("got a range from byte %d of %d", offset, len(object))
			}
			return open(offset)
		}
		whole, next := all(t, src, export.Start)
		for i, at := range next {
			if rest, _ := all(t, src, at); fmt.Sprintf("%q", rest) != fmt.Sprintf("%q", whole[i+1:]) {
				t.Errorf("from %+v: got %q, want %q", at, rest, whole[i+1:])
			}
		}
	})
}

// Archives of other programs: with sizes of 64 bits, with or without data descriptors, backslashes and a folder, and
// those that are cut off at any byte.
func TestReader_ZipForms(t *testing.T) {
	wide := func(descriptor bool) []byte { // one file, all sizes and offsets of 64 bits
		var b bytes.Buffer
		text := []byte(list("a", "b"))
		sum, size := crc32.ChecksumIEEE(text), uint64(len(text))
		le, name := binary.LittleEndian, "channels.json"
		u16 := func(n uint16) { b.Write(le.AppendUint16(nil, n)) }
		u32 := func(n uint32) { b.Write(le.AppendUint32(nil, n)) }
		u64 := func(n uint64) { b.Write(le.AppendUint64(nil, n)) }
		flags, localSum := uint16(0), sum
		if descriptor {
			flags, localSum = 8, 0
		}
		b.WriteString("PK\x03\x04\x2d\x00")
		u16(flags)
		b.Write(make([]byte, 6))
		u32(localSum)
		u32(math.MaxUint32)
		u32(math.MaxUint32)
		u16(uint16(len(name)))
		u16(20)
		b.WriteString(name + "\x01\x00\x10\x00")
		u64(size)
		u64(size)
		b.Write(text)
		if descriptor {
			b.WriteString("PK\x07\x08")
			u32(sum)
			u64(size)
			u64(size)
		}
		directory := uint64(b.Len())
		b.WriteString("PK\x01\x02\x2d\x03\x2d\x00")
		u16(flags)
		b.Write(make([]byte, 6))
		u32(sum)
		u32(math.MaxUint32)
		u32(math.MaxUint32)
		u16(uint16(len(name)))
		u16(28)
		b.Write(make([]byte, 10))
		u32(math.MaxUint32)
		b.WriteString(name + "\x01\x00\x18\x00")
		u64(size)
		u64(size)
		u64(0)
		end := uint64(b.Len())
		b.WriteString("PK\x06\x06")
		u64(44)
		b.WriteString("\x2d\x00\x2d\x00")
		b.Write(make([]byte, 8))
		u64(1)
		u64(1)
		u64(end - directory)
		u64(directory)
		b.WriteString("PK\x06\x07\x00\x00\x00\x00")
		u64(end)
		u32(1)
		b.WriteString("PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff")
		u32(math.MaxUint32)
		u32(math.MaxUint32)
		u16(0)
		return b.Bytes()
	}
	two := []string{"1 a [] channels.json", "2 b [] channels.json"}
	for name, object := range map[string][]byte{
		"64 bits":                   wide(false),
		"64 bits with a descriptor": wide(true),
		"backslashes":               pack(t, packed{name: `Acme\channels.json`, text: list("a", "b")}),
		"a folder of the name": pack(t,
			packed{name: "channels.json/"}, packed{name: "x/channels.json", text: list("a", "b")}),
		"a byte behind the end": append(pack(t, packed{name: "channels.json", text: list("a", "b")}), 0),
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := all(t, archive(object), export.Start)
			if strings.HasPrefix(name, "a byte") {
				if len(got) != 1 || !strings.Contains(got[0], "has no directory") {
					t.Errorf("got %q, want the directory missing", got)
				}
				return
			}
			if got := texts(entries(t, archive(object), export.Start)); !slices.Equal(got, two) {
				t.Errorf("got %q, want %q", got, two)
			}
			for n := range len(object) { // an archive has its directory at its end
				got, next := all(t, archive(object[:n]), export.Start)
				if len(next) > 0 || len(got) != 1 {
					t.Fatalf("cut at byte %d: got %q, want an error", n, got)
				}
			}
		})
	}
}
