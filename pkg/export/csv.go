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
	"unicode/utf8"

	"groupimport/pkg/group"
)

// rows finds a record in each row of CSV (RFC 4180) that is not blank. The first row names the columns, in any order;
// it also tells the separator, which is that of a comma, a semicolon and a tab that it has most of. Line ends may
// stand in quotes, and have any number of CRs before the LF. An empty cell is an absent field. A byte-order mark
// before a cell is no part of it, and a row that repeats the first one is none: files that were joined have both.
type rows struct {
	foreign bool // the columns are another system's

	head      []byte // the first row
	separator byte
	columns   []column
	cells     int // of a row; spreadsheets write columns without a name behind the others
	custom    []int

	cell, row []byte
	spans     [][]byte
}

// A column is what the header says of one.
type column struct {
	name   string // of the field
	key    string // of AppDefinedData, if the field is that
	quoted []byte // the name as JSON, and the colon
	number bool
}

// customPrefix begins the name of a column of custom fields; the key follows.
const customPrefix = "AppDefinedData."

func (*rows) resume() {}

// begin reads the header.
func (f *rows) begin(t *text) (finder, error) {
	for {
		t.skipMarks()
		pos := t.at
		end := &rowEnd{separators: [3]byte{',', ';', '\t'}}
		row, size, err := t.take(end.find)
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return f, err
		case end.open():
			return f, t.broken(pos, "a quoted cell of the header does not end")
		case row == nil || size > 64<<10:
			return f, t.broken(pos, "the header has %d bytes; the first row of CSV names the columns", size)
		case size == 0:
			return f, nil // next finds no row either
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

// header reads the row that names the columns.
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
	var wrong []string
	seen := map[string]bool{}
	for i, name := range names {
		c := column{name: name}
		key, custom := strings.CutPrefix(name, customPrefix)
		switch {
		case name == "":
			wrong = append(wrong, fmt.Sprintf("column %d has no name", i+1))
		case seen[name]:
			wrong = append(wrong, fmt.Sprintf("column %q stands more than once", name))
		case f.foreign:
		case custom && key != "":
			c.name, c.key = "AppDefinedData", key
			f.custom = append(f.custom, i)
		case name == "AppDefinedData":
			wrong = append(wrong, `column "AppDefinedData" needs the key behind it: AppDefinedData.KEY`)
		case !group.IsField(name):
			problem := group.UnknownField(name)
			wrong = append(wrong, strings.Replace(problem.Message, "unknown field", "unknown column", 1))
		default:
			c.number = group.IsNumber(name)
		}
		seen[name] = true
		c.quoted = append(appendQuoted(nil, []byte(c.name)), ':')
		f.columns = append(f.columns, c)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: the header of the CSV, line %d: %s; known columns are %s and AppDefinedData.KEY; a mapping reads others",
			ErrFormat, pos.Line, strings.Join(wrong, "; "), strings.Join(slices.DeleteFunc(group.Fields(), func(name string) bool { return name == "AppDefinedData" }), ", "))
	}
	return nil
}

// separatorOf returns the separator of which a header has most outside of quotes.
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
		t.skipMarks()
		pos := t.at
		end := &rowEnd{separators: [3]byte{f.separator, f.separator, f.separator}}
		row, size, err := t.take(end.find)
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return found{}, err
		case end.open():
			return found{}, t.broken(pos, "a quoted cell in the row that begins here does not end")
		case size == 0:
			return found{}, io.EOF
		case row == nil:
			return found{pos: pos, problem: tooLong("row", size)}, nil
		}
		row = trimRow(row)
		if isBlank(row, string(f.separator)) || bytes.Equal(row, f.head) {
			continue
		}
		if len(row) > MaxLine {
			return found{pos: pos, problem: tooLong("row", size)}, nil
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

// isFormula reports whether a cell is ="…", which is how programs keep spreadsheets from taking text for a number.
func isFormula(cell []byte) bool {
	return len(cell) > 2 && bytes.HasPrefix(cell, []byte(`="`)) && bytes.HasSuffix(cell, []byte(`"`))
}

// formula says that the i-th cell of a row is a formula.
func (f *rows) formula(i int, cell []byte) *group.Error {
	c := f.columns[i]
	name := c.name
	if c.key != "" {
		name = customPrefix + c.key
	}
	return &group.Error{Problems: []group.Problem{{
		Field: c.name, Rule: group.RuleRow,
		Message: fmt.Sprintf("%s is a formula, %s: format the column as text and export its values", name, shorten(cell)),
	}}}
}

// shorten returns a cell for messages.
func shorten(cell []byte) string {
	const most = 40 // characters
	text := []rune(strings.ToValidUTF8(string(cell[:min(len(cell), 4*most)]), "\uFFFD"))
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

// split returns the cells of a row. The problem is why it has none.
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
				return nil, fmt.Sprintf("cell %d has text behind its closing quote", len(cells)+1)
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

// unquote returns the cell that begins with a quote, and the rest of its row.
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

// object returns the cells of a row as a JSON object. It is valid until the next call.
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
		if c.number {
			dst = appendNumber(dst, cells[i])
		} else {
			dst = appendQuoted(dst, cells[i])
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

// decimal is a number with a point that can be nothing else: 500.0 and 1448357837.000, but not 1.000, which is a
// thousand in many countries.
var (
	decimal   = regexp.MustCompile(`^[+-]?[0-9]+\.[0-9]+$`)
	thousands = regexp.MustCompile(`^[+-]?[0-9]{1,3}(\.[0-9]{3})+$`)
)

// appendNumber appends a cell as a JSON number if it is one beyond doubt, and otherwise as a string, so that whoever
// decodes it says what is wrong. That is so for what a spreadsheet shows of a large number, 1.44836E+09: digits are
// lost.
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

// appendQuoted appends text as a JSON string. What is not UTF-8 stays as it is, so that whoever decodes it says so.
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

// trimRow returns a row without its line end: LF, CR LF, or CR CR LF, as Python's csv module leaves on Windows.
func trimRow(row []byte) []byte {
	return bytes.TrimRight(bytes.TrimSuffix(row, []byte("\n")), "\r")
}

// isBlank reports whether a row has empty cells only, as spreadsheets write below the others.
func isBlank(row []byte, separators string) bool {
	return len(row) == 0 || len(bytes.TrimLeft(row[:1], separators+" ")) == 0 && len(bytes.Trim(row, separators+" ")) == 0
}

// A rowEnd finds where a row of CSV ends: at the first line end that is not in quotes. A quote opens a cell only
// where the cell begins, or behind byte-order marks there.
type rowEnd struct {
	separators [3]byte
	quoted     bool // in quotes
	quote      bool // behind a quote in quotes: another one stands for itself, anything else is behind the cell
	inCell     bool // behind the first byte of a cell
	mark       int  // bytes of a byte-order mark before the cell
}

func (e *rowEnd) isSeparator(c byte) bool {
	return c == e.separators[0] || c == e.separators[1] || c == e.separators[2]
}

// open reports whether a cell has not been closed.
func (e *rowEnd) open() bool { return e.quoted && !e.quote }

// find is for [text.take].
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
			i-- // look at it again
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

// enter is find for a piece of a row without quotes and line ends, at whose beginning a cell begins.
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
