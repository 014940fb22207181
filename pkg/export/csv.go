package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"groupimport/pkg/group"
)

// rows finds the records of CSV (RFC 4180). The first row is the header:
//
//   - It names the columns, in any order.
//   - The separator is its most frequent character of comma, semicolon and tab.
//
// Each other row is a record, except blank rows and repetitions of the header. An empty cell is an absent field. A cell
// of MemberList is a JSON array. Quoted cells may contain line ends. A line end may have any number of CRs before the
// LF. A byte-order mark before a cell is skipped, because concatenated files contain them.
type rows struct {
	foreign bool           // the columns are those of another system
	zone    *time.Location // of dates, nil if none is stated

	head      []byte // the header
	separator byte
	columns   []column
	cells     int   // of the header, including unnamed trailing columns, which spreadsheets write
	custom    []int // indexes of the columns of custom fields

	cell, row []byte
	spans     [][]byte
}

// A column is a column of the header.
type column struct {
	name   string // of the field
	key    string // of the custom field, if name is AppDefinedData
	quoted []byte // the name as JSON, and the colon
	number bool
	list   bool // the cell is a JSON array
	time   bool // the cell may be a date
	words  map[string]string
}

// customPrefix starts the name of a custom field's column. The key follows.
const customPrefix = "AppDefinedData."

func (*rows) resume(string) {}

// begin reads the header.
func (f *rows) begin(t *text) (finder, error) {
	for {
		t.skipMarks()
		pos := t.at
		end := &rowEnd{separators: [3]byte{',', ';', '\t'}}
		row, size, err := t.next(end.find)
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return f, err
		case end.open():
			return f, t.broken(pos, "unterminated quoted cell in the header")
		case row == nil || size > 64<<10:
			return f, t.broken(pos, "the header is %d bytes, limit 65536; the first row of CSV must name the columns", size)
		case size == 0:
			return f, nil // next returns io.EOF
		}
		row = trimRow(row)
		if separator, ok := bytes.CutPrefix(row, []byte("sep=")); ok && len(separator) == 1 && f.separator == 0 {
			f.separator = separator[0] // as Excel writes it
			continue
		}
		if isBlank(row, ",;\t") {
			continue
		}
		f.head = bytes.Clone(row)
		return f, f.header(t, pos, row)
	}
}

// header parses the header.
func (f *rows) header(t *text, pos Position, row []byte) error {
	if f.separator == 0 {
		f.separator = separatorOf(row)
	}
	cells, problem := f.split(row)
	if problem != "" {
		return t.broken(pos, "the header: %s", problem)
	}
	f.cells = len(cells)
	var names []string
	for _, cell := range cells {
		if !utf8.Valid(cell) {
			return fmt.Errorf("%w: the header is not UTF-8: save the export as CSV UTF-8", ErrFormat)
		}
		names = append(names, strings.TrimSpace(string(cell)))
	}
	for len(names) > 0 && names[len(names)-1] == "" {
		names = names[:len(names)-1]
	}
	var wrong, renamed []string
	seen := map[string]bool{}
	for i, name := range names {
		given := name
		if field := fieldOf(name); field != "" && field != name && !f.foreign {
			renamed = append(renamed, fmt.Sprintf("%q as %s", cut(name, maxName), field))
			name = field
		}
		c := column{name: name}
		key, custom := strings.CutPrefix(name, customPrefix)
		switch {
		case name == "":
			wrong = append(wrong, fmt.Sprintf("column %d has no name", i+1))
		case seen[name]:
			wrong = append(wrong, fmt.Sprintf("duplicate column %q", cut(given, maxName)))
		case f.foreign:
		case custom && key != "":
			c.name, c.key = "AppDefinedData", key
			f.custom = append(f.custom, i)
		case name == "AppDefinedData":
			wrong = append(wrong, `column "AppDefinedData" needs a key: AppDefinedData.KEY`)
		case !group.IsField(name):
			wrong = append(wrong, group.UnknownField("column", name).Message)
		default:
			c.number, c.list, c.words = group.IsNumber(name), name == memberList, words[name]
			c.time = slices.Contains(timeFields, name)
		}
		seen[name] = true
		c.quoted = append(appendQuoted(nil, []byte(c.name)), ':')
		f.columns = append(f.columns, c)
	}
	if len(renamed) > 0 {
		t.notes = append(t.notes, "columns were read as fields: "+strings.Join(renamed, ", "))
	}
	if len(wrong) > 0 {
		known := slices.DeleteFunc(group.Fields(), func(name string) bool { return name == "AppDefinedData" })
		return fmt.Errorf("%w: the CSV header, line %d: %s; "+
			"known columns are %s and AppDefinedData.KEY; use a mapping for other columns",
			ErrFormat, pos.Line, joinSome(wrong), strings.Join(known, ", "))
	}
	return nil
}

// separatorOf returns the most frequent separator outside quotes in a header.
func separatorOf(row []byte) byte {
	counts := map[byte]int{}
	quoted := false
	for _, c := range row {
		if c == '"' {
			quoted = !quoted
		}
		if !quoted {
			counts[c]++
		}
	}
	best := byte(',')
	for _, c := range []byte(";\t") {
		if counts[c] > counts[best] {
			best = c
		}
	}
	return best
}

// next returns the next row.
func (f *rows) next(t *text) (found, error) {
	for {
		if t.isDue() {
			return found{isBlank: true}, nil
		}
		t.skipMarks()
		t.skipLines("\r")
		pos := t.at
		end := &rowEnd{separators: [3]byte{f.separator, f.separator, f.separator}}
		row, size, err := t.next(end.find)
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return found{}, err
		case end.open():
			return found{}, t.broken(pos, "unterminated quoted cell in the row that starts here")
		case size == 0:
			return found{}, io.EOF
		case row == nil:
			return found{pos: pos, problem: tooLong("row", size, f.head)}, nil
		}
		row = trimRow(row)
		if isBlank(row, string(f.separator)) || bytes.Equal(row, f.head) {
			continue
		}
		if len(row) > MaxLine {
			return found{pos: pos, problem: tooLong("row", size, f.head)}, nil
		}
		cells, problem := f.split(row)
		for len(cells) > len(f.columns) && len(cells) <= f.cells && len(cells[len(cells)-1]) == 0 {
			cells = cells[:len(cells)-1]
		}
		if problem == "" && len(cells) != len(f.columns) {
			problem = fmt.Sprintf("the row has %d cells, the header has %d", len(cells), len(f.columns))
		}
		if problem != "" {
			return found{pos: pos, raw: row, problem: problemf(group.RuleRow, "%s", problem)}, nil
		}
		if i := slices.IndexFunc(cells, isFormula); i >= 0 {
			return found{pos: pos, raw: row, problem: f.formula(i, cells[i])}, nil
		}
		return found{pos: pos, raw: f.object(cells)}, nil
	}
}

// isFormula reports whether a cell is ="…". Programs write it so that spreadsheets do not convert text to a number.
func isFormula(cell []byte) bool {
	return len(cell) > 2 && bytes.HasPrefix(cell, []byte(`="`)) && bytes.HasSuffix(cell, []byte(`"`))
}

// formula returns the problem of a formula in the i-th cell of a row.
func (f *rows) formula(i int, cell []byte) *group.Error {
	c := f.columns[i]
	name := c.name
	if c.key != "" {
		name = customPrefix + c.key
	}
	return &group.Error{Problems: []group.Problem{{
		Field: c.name, Rule: group.RuleRow,
		Message: fmt.Sprintf("%s is a formula, %s: format the column as text and export its values",
			cut(name, maxName), cut(string(cell), maxName)),
	}}}
}

// split returns the cells of a row, or the problem of a malformed row.
func (f *rows) split(row []byte) (cells [][]byte, problem string) {
	cells, f.cell = f.spans[:0], f.cell[:0]
	for {
		for bytes.HasPrefix(row, []byte(utf8Mark)) {
			row = row[len(utf8Mark):]
		}
		var cell []byte
		if len(row) > 0 && row[0] == '"' {
			var ok bool
			if cell, row, ok = f.unquote(row); !ok {
				return nil, fmt.Sprintf("cell %d has text after its closing quote", len(cells)+1)
			}
		} else if i := bytes.IndexByte(row, f.separator); i >= 0 {
			cell, row = row[:i], row[i:]
		} else {
			cell, row = row, nil
		}
		for bytes.HasPrefix(cell, []byte(utf8Mark)) { // in quotes
			cell = cell[len(utf8Mark):]
		}
		cells = append(cells, cell)
		if len(row) == 0 {
			f.spans = cells
			return cells, ""
		}
		row = row[1:] // the separator
	}
}

// unquote returns the quoted cell at the start of row, and the rest of the row.
func (f *rows) unquote(row []byte) (cell, rest []byte, ok bool) {
	rest = row[1:]
	i := bytes.IndexByte(rest, '"')
	if i < 0 {
		return nil, nil, false
	}
	cell, rest = rest[:i], rest[i+1:]
	if len(rest) > 0 && rest[0] == '"' {
		start := len(f.cell)
		f.cell = append(f.cell, cell...)
		for len(rest) > 0 && rest[0] == '"' {
			f.cell = append(f.cell, '"')
			if i = bytes.IndexByte(rest[1:], '"'); i < 0 {
				return nil, nil, false
			}
			f.cell = append(f.cell, rest[1:1+i]...)
			rest = rest[i+2:]
		}
		cell = f.cell[start:]
	}
	return cell, rest, len(rest) == 0 || rest[0] == f.separator
}

// object returns the cells of a row as a JSON object, which is valid until the next call.
func (f *rows) object(cells [][]byte) []byte {
	dst := append(f.row[:0], '{')
	sep := func() {
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
	}
	for i, c := range f.columns {
		if c.key != "" || len(cells[i]) == 0 {
			continue
		}
		sep()
		dst = append(dst, c.quoted...)
		cell := cells[i]
		if word, ok := c.words[string(cell)]; ok {
			cell = []byte(word)
		}
		if c.time {
			if unix, ok := ParseDate(string(cell), f.zone); ok {
				cell = strconv.AppendInt(nil, unix, 10)
			}
		}
		switch {
		case c.time && IsCompactDate(string(cell)):
			dst = appendQuoted(dst, cell) // the decoder rejects a string: as Unix seconds it would be in 1970
		case c.number:
			dst = appendNumber(dst, cell)
		case c.list && jsontext.Value(cell).IsValid(tolerant):
			dst = append(dst, cell...)
		default: // the decoder rejects a string that should be a list
			dst = appendQuoted(dst, cell)
		}
	}
	open := false
	for _, i := range f.custom {
		if len(cells[i]) == 0 {
			continue
		}
		if !open {
			sep()
			dst = append(dst, `"AppDefinedData":[`...)
			open = true
		} else {
			dst = append(dst, ',')
		}
		dst = appendQuoted(append(dst, `{"Key":`...), []byte(f.columns[i].key))
		dst = append(appendQuoted(append(dst, `,"Value":`...), cells[i]), '}')
	}
	if open {
		dst = append(dst, ']')
	}
	f.row = append(dst, '}')
	return f.row
}

// decimal matches a number with a decimal point, such as 500.0. thousands matches ambiguous numbers: 1.000 is one
// thousand in many countries.
var (
	decimal   = regexp.MustCompile(`^[+-]?[0-9]+\.[0-9]+$`)
	thousands = regexp.MustCompile(`^[+-]?[0-9]{1,3}(\.[0-9]{3})+$`)
)

// appendNumber appends a cell as a JSON number if it is unambiguous. Otherwise it appends a string, which the decoder
// rejects: for example 1.44836E+09, a number that a spreadsheet has rounded.
func appendNumber(dst, cell []byte) []byte {
	text := string(bytes.TrimSpace(cell))
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return strconv.AppendInt(dst, n, 10)
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && decimal.MatchString(text) && !thousands.MatchString(text) {
		return strconv.AppendFloat(dst, n, 'f', -1, 64)
	}
	return appendQuoted(dst, cell)
}

const hex = "0123456789abcdef"

// appendQuoted appends text as a JSON string. It keeps invalid UTF-8, which the decoder rejects.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	from := 0
	for i, c := range text {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[from:i]...)
		from = i + 1
		if c < ' ' {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, '\\', c)
		}
	}
	return append(append(dst, text[from:]...), '"')
}

// trimRow removes the line end: LF, CR LF, or CR CR LF, which Python's csv module can write on Windows.
func trimRow(row []byte) []byte {
	return bytes.TrimRight(bytes.TrimSuffix(row, []byte("\n")), "\r")
}

// isBlank reports whether all cells of a row are empty. Spreadsheets write such rows at the end.
func isBlank(row []byte, separators string) bool {
	return len(row) == 0 ||
		len(bytes.TrimLeft(row[:1], separators+" ")) == 0 && len(bytes.Trim(row, separators+" ")) == 0
}

// A rowEnd finds the end of a CSV row: the first line end outside quotes. A quote opens a quoted cell only at the start
// of the cell, or after byte-order marks there.
type rowEnd struct {
	separators [3]byte
	quoted     bool // in quotes
	quote      bool // after a quote in quotes: a second quote is an escaped quote, anything else ends the cell
	inCell     bool // after the first byte of a cell
	mark       int  // bytes of a byte-order mark before the cell
}

func (e *rowEnd) isSeparator(c byte) bool {
	return c == e.separators[0] || c == e.separators[1] || c == e.separators[2]
}

// open reports whether a quoted cell is unterminated.
func (e *rowEnd) open() bool { return e.quoted && !e.quote }

// find implements the end function of [text.next].
func (e *rowEnd) find(chunk []byte) int {
	i := 0
	if !e.quoted && !e.inCell && !e.quote && e.mark == 0 {
		end := bytes.IndexByte(chunk, '\n')
		line := chunk
		if end >= 0 {
			line = chunk[:end]
		}
		if bytes.IndexByte(line, '"') < 0 { // most rows
			if end < 0 {
				e.enter(line)
				return -1
			}
			return end + 1
		}
	}
	for ; i < len(chunk); i++ {
		c := chunk[i]
		switch {
		case e.quoted && e.quote && c == '"':
			e.quote = false
		case e.quoted && e.quote:
			e.quoted, e.quote = false, false
			i-- // process c again, outside quotes
		case e.quoted && c == '"':
			e.quote = true
		case e.quoted:
			n := bytes.IndexByte(chunk[i:], '"')
			if n < 0 {
				return -1
			}
			i += n - 1
		case c == '\n':
			return i + 1
		case e.isSeparator(c):
			e.inCell, e.mark = false, 0
		case !e.inCell && c == utf8Mark[e.mark]:
			e.mark = (e.mark + 1) % len(utf8Mark)
		case c == '"' && !e.inCell && e.mark == 0:
			e.quoted, e.inCell = true, true
		default:
			e.inCell = true
		}
	}
	return -1
}

// enter updates the state for a chunk without quotes and line ends that starts at the start of a cell.
func (e *rowEnd) enter(piece []byte) {
	cell := piece[1+bytes.LastIndexAny(piece, string(e.separators[:])):]
	for bytes.HasPrefix(cell, []byte(utf8Mark)) {
		cell = cell[len(utf8Mark):]
	}
	e.inCell = !strings.HasPrefix(utf8Mark, string(cell[:min(len(cell), len(utf8Mark))]))
	if !e.inCell {
		e.mark = len(cell)
	}
}
