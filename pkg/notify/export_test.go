package notify

import (
	"net/http"
	"time"

	"groupimport/pkg/backoff"
)

// Use replaces the transport.
func (n *Notifier) Use(t http.RoundTripper) { n.client.Transport = t }

// Hurry replaces the time limit of an attempt, and shortens the waits between attempts.
func (n *Notifier) Hurry(limit time.Duration) {
	n.limit, n.waits = limit, backoff.Exponential{Base: time.Millisecond, Max: 4 * time.Millisecond}
}
