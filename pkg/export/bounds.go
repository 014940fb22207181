package export

import (
	"fmt"
	"strings"
)

// Bounds of what messages and counts quote of an export, in bytes. A record has up to [MaxLine], and names in it too.
const (
	maxName    = 64
	maxMessage = 1 << 10
)

// cut returns the first maxBytes bytes of text at a character boundary, and replaces invalid UTF-8. The result does not
// keep text in memory.
func cut(text string, maxBytes int) string {
	if len(text) <= maxBytes {
		return strings.Clone(strings.ToValidUTF8(text, "\uFFFD"))
	}
	return strings.ToValidUTF8(text[:maxBytes], "") + "…"
}

// joinSome joins the first ten items and the number of the others.
func joinSome(items []string) string {
	const maxItems = 10
	more := ""
	if n := len(items) - maxItems; n > 0 {
		items, more = items[:maxItems], fmt.Sprintf("; and %d more", n)
	}
	return strings.Join(items, "; ") + more
}
