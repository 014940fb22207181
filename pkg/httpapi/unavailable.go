package httpapi

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"time"

	"groupimport/pkg/config"
)

// Unavailable returns a handler for a program that cannot start, because its configuration is incomplete or its key
// cannot be read. It answers every request with 503, /healthz too. Callers whom c authorizes, by its Token or its
// Platform, are told detail. Others are told only that the log has it. If c has both a Token and Platform, or
// neither, or a Token that [New] would refuse, nobody is authorized. It uses no other field of c.
func Unavailable(c Config, detail string) http.Handler {
	a := &api{platform: c.Platform, token: sha256.Sum256([]byte(c.Token))}
	if len(c.Token) < config.MinToken {
		a.token = sha256.Sum256([]byte(rand.Text())) // no caller has it
	}
	ambiguous := c.Platform && c.Token != ""
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := problem{
			Status: http.StatusServiceUnavailable, Detail: "the program is not set up: its log says what is missing",
			Retry: retrySafe,
		}
		if _, ok := a.admit(r); ok && !ambiguous {
			p.Detail = detail
		}
		p.answer().later(time.Minute).write(w, r.Method)
	})
}
