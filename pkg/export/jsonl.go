package export

import (
	"bytes"
	"errors"
	"io"
)

// lines finds a record in each line that is not blank. Byte-order marks before a line are no part of it.
type lines struct{}

func (lines) resume() {}

func (lines) next(t *text) (found, error) {
	for {
		t.skipMarks()
		pos := t.at
		line, size, err := t.take(lineEnd)
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
			return found{pos: pos, head: t.headOf(line), problem: tooLong("line", size)}, nil
		}
		return found{pos: pos, raw: line, line: true}, nil
	}
}

func lineEnd(chunk []byte) int {
	if i := bytes.IndexByte(chunk, '\n'); i >= 0 {
		return i + 1
	}
	return -1
}
