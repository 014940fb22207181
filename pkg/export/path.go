package export

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Path leads to the records of a JSON document: names of members, each in the object of the one before. What the last
// name has is
//
//   - an array: its elements are the records
//   - an object: it is the only record
//   - a string: it holds the JSON text of an array of records
//
// After the last name there may be a "*". Then the records are the elements of an array, or the values of the members
// of an object. A nil Path leads nowhere.
type Path []string

// star is the last element of a Path to an object of records.
const star = "*"

// Limits of a [Path].
const (
	maxPathBytes = 256
	maxPathNames = 16
)

// ParsePath parses a path with dots between its names, such as "data.groups" or "groups.*". The path of an empty text is
// nil.
func ParsePath(text string) (Path, error) {
	if text == "" {
		return nil, nil
	}
	p := Path(strings.Split(text, "."))
	at := slices.Index(p, star)
	if len(text) > maxPathBytes || len(p) > maxPathNames || !utf8.ValidString(text) || slices.Contains(p, "") ||
		at >= 0 && at < len(p)-1 {
		return nil, fmt.Errorf("is %q, it must be names with dots between them, such as data.groups, "+
			"or groups.* for an object of records: at most %d names and %d bytes", cut(text, maxName), maxPathNames, maxPathBytes)
	}
	return p, nil
}

// String returns the text of p.
func (p Path) String() string { return strings.Join(p, ".") }

// isMap reports whether the records may be the values of an object.
func (p Path) isMap() bool { return len(p) > 0 && p[len(p)-1] == star }

// names returns p without the star.
func (p Path) names() []string {
	if p.isMap() {
		return p[:len(p)-1]
	}
	return p
}
