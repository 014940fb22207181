package export

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/flate"
)

// A FileMapping is a [Mapping] that reads files of a zip archive.
type FileMapping interface {
	Mapping

	// Files returns the names of the files that have records, in the order in which they are read. Others are not read.
	// It is nil for a mapping that reads no archives. The result must not change during an import.
	Files() []string

	// InFile is called before the first record of a file, and before the first record after resuming in it.
	InFile(name string)
}

// archiveFormat is the name extension of an archive.
const archiveFormat = ".zip"

// Limits of a zip archive. A Slack export of 1,000,000 files has a directory of about 100 MB. It is not kept in memory.
const (
	maxZipFiles     = 5_000_000
	maxZipDirectory = 1 << 30
	maxZipFile      = 4 << 30 // bytes of a file after decompression
)

// Structures of the zip format: PKWARE, APPNOTE.TXT 6.3.10, section 4.3. Numbers are little-endian.
const (
	zipLocal     = "PK\x03\x04" // 4.3.7
	zipEntry     = "PK\x01\x02" // 4.3.12
	zipEnd       = "PK\x05\x06" // 4.3.16
	zipEnd64     = "PK\x06\x06" // 4.3.14
	zipLocator64 = "PK\x06\x07" // 4.3.15

	zipLocalSize     = 30
	zipEntrySize     = 46
	zipEndSize       = 22
	zipEnd64Size     = 56
	zipLocator64Size = 20

	zipExtra64 = 0x0001 // 4.5.3

	zipEncrypted = 1<<0 | 1<<6 | 1<<13 // 4.4.4: encryption, strong encryption, encryption of the directory
	zipAES       = 99                  // the method of AE-x encryption
	zipStored    = 0
	zipDeflated  = 8
)

// A zipFile is a file of a zip archive.
type zipFile struct {
	name       string // without its folder
	folder     string // "" or a folder with its slash
	flags      uint16
	method     uint16
	sum        uint32 // CRC-32
	compressed uint64
	size       uint64
	offset     uint64 // of the local header
}

// openZip returns the text of the files of a zip archive that the mapping reads, one after another, and the file of
// each offset in it.
func openZip(src Source) (*zipReader, error) {
	m, ok := src.Map.(FileMapping)
	if !ok || len(m.Files()) == 0 {
		return nil, fmt.Errorf("%w: it is a zip archive: unpack it and import the file in it, "+
			"or for a Slack export set MAPPING=slack (locally: --map slack)", ErrFormat)
	}
	z := &zipReader{src: src}
	found, nested, err := z.directory(m.Files())
	if err != nil {
		return nil, z.explain(err)
	}
	if z.files, err = choose(found, m.Files(), nested); err != nil {
		return nil, fmt.Errorf("%w: the zip archive %w", ErrFormat, err)
	}
	for _, f := range z.files {
		z.total += f.compressed
	}
	return z, nil
}

// choose returns the files to read in the order of names: those beside each other, at the top or in one folder.
func choose(found []zipFile, names []string, nested string) ([]zipFile, error) {
	folders := map[string]bool{}
	for _, f := range found {
		folders[f.folder] = true
	}
	switch {
	case len(found) == 0 && nested != "":
		return nil, fmt.Errorf("holds another one, %q: unpack it and import that", cut(nested, maxName))
	case len(found) == 0:
		return nil, fmt.Errorf("holds no %s: it is no export that the mapping reads", strings.Join(names, " or "))
	case len(folders) > 1 && !folders[""]:
		return nil, errors.New("holds several exports: unpack it and import one by one")
	}
	folder := found[0].folder
	if folders[""] {
		folder = ""
	}
	var files []zipFile
	for _, name := range names {
		for _, f := range found {
			if f.folder != folder || f.name != name {
				continue
			}
			if err := f.check(); err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	return files, nil
}

// check returns an error if the file cannot be read.
func (f *zipFile) check() error {
	switch {
	case f.flags&zipEncrypted != 0 || f.method == zipAES:
		return fmt.Errorf("is encrypted: unpack it with its password and import %s", f.name)
	case f.method != zipStored && f.method != zipDeflated:
		return fmt.Errorf("compresses %s by method %d: only deflate is read, unpack it and import the file in it", f.name,
			f.method)
	case f.size > maxZipFile:
		return fmt.Errorf("has %d bytes in %s, limit %d", f.size, f.name, int64(maxZipFile))
	case f.method == zipStored && f.compressed != f.size:
		return fmt.Errorf("is corrupt: %s has two sizes", f.name)
	}
	return nil
}

// A zipReader reads files of a zip archive by ranges, one after another with a line end between them.
type zipReader struct {
	src   Source
	files []zipFile
	total uint64 // compressed bytes of files

	body    io.ReadCloser // of the current file
	current *zipFile      // nil before the first file, between two and after the last one
	object  *counter      // of body
	data    io.Reader     // of the current file
	sum     hash.Hash32
	left    int64  // bytes of the current file that were not read
	next    int    // index of the next file
	done    uint64 // compressed bytes of the files before the current one
	at      int64  // bytes of the text so far
	starts  []int64
	between bool  // a line end comes next
	failure error // of the store
	err     error // of Read
}

// errZip is wrapped by errors about a corrupt archive.
var errZip = errors.New("corrupt zip archive")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errZip, fmt.Sprintf(format, args...))
}

// explain makes a corrupt directory an error about the format.
func (z *zipReader) explain(err error) error {
	switch {
	case z.failure != nil:
		return fmt.Errorf("read export: %w", z.failure)
	case errors.Is(err, errZip):
		return fmt.Errorf("%w: %w: copy it again", ErrFormat, err)
	}
	return err
}

// open opens a range of the archive.
func (z *zipReader) open(offset uint64, size int64) (*bufio.Reader, func(), error) {
	if offset > math.MaxInt64 || int64(offset) > z.src.Size {
		return nil, nil, corrupt("it refers to byte %d of %d", offset, z.src.Size)
	}
	body := z.src.Open(int64(offset))
	z.object = &counter{src: body}
	in := bufio.NewReaderSize(io.LimitReader(z.object, size), 64<<10)
	return in, func() { body.Close() }, nil
}

// read returns size bytes from offset on.
func (z *zipReader) read(offset uint64, size int64) ([]byte, error) {
	in, closeIt, err := z.open(offset, size)
	if err != nil {
		return nil, err
	}
	defer closeIt()
	data := make([]byte, size)
	return data, z.full(in, data)
}

// full reads all of data.
func (z *zipReader) full(in io.Reader, data []byte) error {
	_, err := io.ReadFull(in, data)
	if z.object.err != nil {
		z.failure = z.object.err
		return z.failure
	}
	if err != nil {
		return corrupt("it is truncated")
	}
	return nil
}

// directory returns the files with one of the names, at the top or in a folder there, and the name of an archive in the
// archive, "" if there is none.
func (z *zipReader) directory(names []string) (found []zipFile, nested string, err error) {
	offset, size, count, err := z.end()
	switch {
	case err != nil:
		return nil, "", err
	case count > maxZipFiles || size > maxZipDirectory:
		return nil, "", fmt.Errorf("%w: the zip archive has a directory of %d files in %d bytes, limits %d and %d: "+
			"unpack it and import the file in it", ErrFormat, count, size, maxZipFiles, maxZipDirectory)
	}
	in, closeIt, err := z.open(offset, int64(size))
	if err != nil {
		return nil, "", err
	}
	defer closeIt()
	header := make([]byte, zipEntrySize)
	var rest []byte
	for range count {
		if err := z.full(in, header); err != nil {
			return nil, "", err
		}
		if string(header[:4]) != zipEntry {
			return nil, "", corrupt("no entry of its directory is where it should be")
		}
		name, extra, comment := int(u16(header, 28)), int(u16(header, 30)), int(u16(header, 32))
		if rest = slices.Grow(rest[:0], name+extra+comment)[:name+extra+comment]; len(rest) > 0 {
			if err := z.full(in, rest); err != nil {
				return nil, "", err
			}
		}
		full := strings.ReplaceAll(string(rest[:name]), `\`, "/") // as some programs for Windows write it
		folder, base := path.Split(full)
		if nested == "" && strings.EqualFold(path.Ext(base), archiveFormat) {
			nested = full
		}
		if !slices.Contains(names, base) || strings.Count(folder, "/") > 1 || strings.HasPrefix(folder, "__MACOSX/") {
			continue
		}
		f := zipFile{
			name: base, folder: folder, flags: u16(header, 8), method: u16(header, 10), sum: u32(header, 16),
			compressed: uint64(u32(header, 20)), size: uint64(u32(header, 24)), offset: uint64(u32(header, 42)),
		}
		if err := f.wide(rest[name : name+extra]); err != nil {
			return nil, "", err
		}
		if slices.ContainsFunc(found, func(g zipFile) bool { return g.name == f.name && g.folder == f.folder }) {
			return nil, "", corrupt("it has two files %q", full)
		}
		if found = append(found, f); len(found) > 1000 {
			return nil, "", fmt.Errorf("%w: the zip archive holds more than 1000 exports", ErrFormat)
		}
	}
	return found, nested, nil
}

// wide replaces numbers of 32 bits by those of the extra field for 64 bits.
func (f *zipFile) wide(extra []byte) error {
	for len(extra) >= 4 {
		id, size := u16(extra, 0), int(u16(extra, 2))
		if extra = extra[4:]; size > len(extra) {
			break // as programs do
		}
		field := extra[:size]
		if extra = extra[size:]; id != zipExtra64 {
			continue
		}
		for _, n := range []*uint64{&f.size, &f.compressed, &f.offset} {
			if *n != math.MaxUint32 {
				continue
			}
			if len(field) < 8 {
				return corrupt("the size of %q is missing", f.name)
			}
			*n, field = binary.LittleEndian.Uint64(field), field[8:]
		}
		break
	}
	return nil
}

// end finds the end of the directory, and returns where the directory is.
func (z *zipReader) end() (offset, size, count uint64, err error) {
	tail := min(z.src.Size, zipEndSize+math.MaxUint16+zipLocator64Size)
	at := z.src.Size - tail
	data, err := z.read(uint64(at), tail) // not negative
	if err != nil {
		return 0, 0, 0, err
	}
	i := len(data) - zipEndSize
	for ; i >= 0; i-- {
		if string(data[i:i+4]) == zipEnd && i+zipEndSize+int(u16(data, i+20)) == len(data) {
			break
		}
	}
	if i < 0 {
		return 0, 0, 0, corrupt("it has no directory, as if it was not copied to its end")
	}
	count, size, offset = uint64(u16(data, i+10)), uint64(u32(data, i+12)), uint64(u32(data, i+16))
	if j := i - zipLocator64Size; j >= 0 && string(data[j:j+4]) == zipLocator64 {
		wide, err := z.read(binary.LittleEndian.Uint64(data[j+8:]), zipEnd64Size)
		if err != nil {
			return 0, 0, 0, err
		}
		if string(wide[:4]) != zipEnd64 {
			return 0, 0, 0, corrupt("its directory is not where it should be")
		}
		count, size, offset = binary.LittleEndian.Uint64(wide[32:]), binary.LittleEndian.Uint64(wide[40:]),
			binary.LittleEndian.Uint64(wide[48:])
	}
	return offset, size, count, nil
}

func u16(b []byte, i int) uint16 { return binary.LittleEndian.Uint16(b[i:]) }
func u32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }

// Read reads the text of the files.
func (z *zipReader) Read(p []byte) (n int, err error) {
	if z.err == nil {
		n, z.err = z.readFiles(p)
	}
	return n, z.err
}

func (z *zipReader) readFiles(p []byte) (int, error) {
	for {
		switch {
		case z.between && len(p) > 0:
			z.between = false
			p[0] = '\n'
			z.at++
			return 1, nil
		case z.current == nil && z.next == len(z.files):
			return 0, io.EOF
		case z.current == nil:
			if err := z.start(); err != nil {
				return 0, err
			}
		}
		n, err := z.data.Read(p[:min(int64(len(p)), z.left+1)])
		z.at += int64(n)
		z.sum.Write(p[:n])
		switch {
		case int64(n) > z.left:
			return 0, corrupt("%s is longer than the directory says", z.current.name)
		case z.object.err != nil:
			z.failure = z.object.err
			return n, z.failure
		case err != nil && !errors.Is(err, io.EOF):
			return n, err
		}
		z.left -= int64(n)
		if err != nil {
			if err := z.finish(); err != nil {
				return n, err
			}
		}
		if n > 0 {
			return n, nil
		}
	}
}

// start opens the next file.
func (z *zipReader) start() error {
	f := &z.files[z.next]
	if f.compressed > uint64(z.src.Size) { // not negative
		return corrupt("%s is longer than the archive", f.name)
	}
	in, closeIt, err := z.open(f.offset, math.MaxInt64)
	if err != nil {
		return err
	}
	z.body = closer(closeIt)
	header := make([]byte, zipLocalSize)
	if err := z.full(in, header); err != nil {
		return err
	}
	if string(header[:4]) != zipLocal {
		return corrupt("%s is not where it should be", f.name)
	}
	if _, err := in.Discard(int(u16(header, 26)) + int(u16(header, 28))); err != nil {
		return corrupt("it is truncated")
	}
	data := io.LimitReader(in, int64(f.compressed)) // at most the size of the archive
	if z.data = data; f.method == zipDeflated {
		z.data = flate.NewReader(data)
	}
	z.starts = append(z.starts, z.at)
	z.sum, z.left, z.current = crc32.NewIEEE(), int64(f.size), f // at most maxZipFile
	z.next++
	return nil
}

// finish checks and closes the current file.
func (z *zipReader) finish() error {
	f := z.current
	z.body.Close()
	z.body, z.current = nil, nil
	z.done += f.compressed
	z.between = z.next < len(z.files)
	if z.left > 0 {
		return corrupt("%s is shorter than the directory says", f.name)
	}
	if z.sum.Sum32() != f.sum {
		return corrupt("%s has another checksum than the directory says", f.name)
	}
	return nil
}

// file returns the name of the file at an offset of the text that was read.
func (z *zipReader) file(offset int64) string {
	i, isStart := slices.BinarySearch(z.starts, offset)
	if !isStart {
		i--
	}
	if i < 0 {
		return ""
	}
	return z.files[i].name
}

// progress returns the bytes read, as if the archive had only the files.
func (z *zipReader) progress() int64 {
	done := z.done
	if f := z.current; f != nil {
		if f.size > 0 {
			done += uint64(float64(f.compressed) * (float64(f.size) - float64(z.left)) / float64(f.size))
		}
	}
	if z.total == 0 {
		return z.src.Size
	}
	return max(1, int64(float64(z.src.Size)*(float64(min(done, z.total))/float64(z.total))))
}

// Close closes the current file.
func (z *zipReader) Close() {
	if z.body != nil {
		z.body.Close()
	}
}

// A closer is a body that is closed by a function.
type closer func()

func (closer) Read([]byte) (int, error) { return 0, io.EOF }

func (c closer) Close() error {
	c()
	return nil
}

// openZipText returns the text of a zip archive.
func openZipText(src Source, stopped func() error) (*text, error) {
	z, err := openZip(src)
	if err != nil {
		return nil, err
	}
	t := &text{
		src: z, buf: make([]byte, bufFirst), at: Start, read: z.progress, close: z.Close, name: "zip",
		cause: func() error { return z.failure }, stopped: stopped, blanks: defaultBlanks, zip: z,
	}
	in := bufio.NewReaderSize(z, 64<<10)
	first, err := in.Peek(sniffSize)
	if len(first) == 0 && err != nil && !errors.Is(err, io.EOF) {
		return t, t.explain(err)
	}
	if bytes.HasPrefix(first, []byte(zipLocal)) {
		return t, fmt.Errorf("%w: the file in the zip archive is another one", ErrFormat)
	}
	t.src = in
	return t, t.encoding(first, "")
}
