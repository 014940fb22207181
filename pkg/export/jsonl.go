package export

import (
	"bytes"
	"errors"
	"io"
)

// lines locates one record in each line. It skips blank lines, and byte-order marks at the start of a line.
type lines struct{}

func (lines) resume(string) {}

func (lines) next(t *text) (found, error) {
	for {
		if t.isDue() {
			return found{isBlank: true}, nil
		}
		t.skipMarks()
		t.skipLines(" \t\r")
		pos := t.at
		line, size, err := t.next(lineEnd)
		if err != nil && (size == 0 || !errors.Is(err, io.EOF)) {
			return found{}, err
		}
		if line != nil {
			line = bytes.TrimSuffix(line, []byte("\n"))
			line = bytes.TrimSuffix(line, []byte("\r"))
			if len(bytes.TrimLeft(line, " \t\r")) == 0 {
				continue
			}
		}
		if line == nil || len(line) > MaxLine {
			head := t.headOf(line)
			return found{pos: pos, head: head, problem: tooLong("line", size, head)}, nil
		}
		return found{pos: pos, raw: line, isLine: true}, nil
	}
}

func lineEnd(chunk []byte) int {
	if i := bytes.IndexByte(chunk, '\n'); i >= 0 {
		return i + 1
	}
	return -1
}
