package httpapi

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"time"

	"groupimport/pkg/config"
)

// Unavailable returns a handler for a program that cannot start, because its configuration is incomplete or its key
// cannot be read. Every response is a 503, also of /healthz. Callers with valid credentials by c, a token or those of
// the platform, get detail. Others are referred to the log. No credentials are valid if c has a token and the
// platform, neither, or a token that [New] rejects. Unavailable uses no other field of c.
func Unavailable(c Config, detail string) http.Handler {
	a := &api{platform: c.Config.HTTPPlatform, token: sha256.Sum256([]byte(c.Config.HTTPToken))}
	if len(c.Config.HTTPToken) < config.MinToken {
		a.token = sha256.Sum256([]byte(rand.Text())) // no caller has it
	}
	ambiguous := c.Config.HTTPPlatform && c.Config.HTTPToken != ""
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := problem{
			Status: http.StatusServiceUnavailable, Detail: "the program is not configured: see the log",
			Retry: retrySafe,
		}
		if _, ok := a.authorize(r); ok && !ambiguous {
			p.Detail = detail
		}
		p.response().later(time.Minute).write(w, r.Method)
	})
}
