// Package stdlog redirects the standard logger (package log), to which libraries write past the program's logger.
package stdlog

import (
	"log"
	"log/slog"
	"regexp"
	"strings"

	"groupimport/pkg/tim"
)

// quoted matches text in double quotes, as the verb %q writes it.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"?`)

// Redirect sends the messages of the standard logger to l, as warnings. It removes quoted text and UserSigs: the
// transport of net/http quotes up to 4 KB of a response that no request asked for, and a proxy's error page may quote
// the request.
func Redirect(l *slog.Logger) {
	log.SetFlags(0)
	log.SetPrefix("")
	log.SetOutput(&writer{l})
}

type writer struct{ log *slog.Logger }

func (w *writer) Write(p []byte) (int, error) {
	text := quoted.ReplaceAllString(strings.TrimSpace(string(p)), `"…"`)
	w.log.Warn("message of a library", "text", tim.Redact(text))
	return len(p), nil
}
