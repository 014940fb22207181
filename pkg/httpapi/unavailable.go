package httpapi

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"time"

	"groupimport/pkg/config"
)

// Unavailable returns a handler for a program that cannot start, because its configuration is incomplete or its key
// cannot be read. It answers every request with 503, /healthz too. Callers whom c authorizes, by its token or the
// platform, are told detail. Others are told only that the log has it. If c has both, or
// neither, or a Token that [New] would refuse, nobody is authorized. It uses no other field of c.
func Unavailable(c Config, detail string) http.Handler {
	a := &api{platform: c.Config.HTTPPlatform, token: sha256.Sum256([]byte(c.Config.HTTPToken))}
	if len(c.Config.HTTPToken) < config.MinToken {
		a.token = sha256.Sum256([]byte(rand.Text())) // no caller has it
	}
	ambiguous := c.Config.HTTPPlatform && c.Config.HTTPToken != ""
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
