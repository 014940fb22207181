package functest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"

	"groupimport/pkg/notify"
)

// A Webhook records the notifications that it receives. Its URL is that of the server.
type Webhook struct {
	*httptest.Server

	mu    sync.Mutex
	texts []string
}

// NewWebhook starts a webhook for the time of the test. It calls respond after it has recorded a notification and
// before it responds; respond may be nil.
func NewWebhook(t *testing.T, respond func(*http.Request)) *Webhook {
	t.Helper()
	w := &Webhook{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m notify.Message
		if err := json.UnmarshalRead(r.Body, &m); err != nil {
			t.Errorf("got a notification that is not JSON: %v", err)
		}
		w.mu.Lock()
		w.texts = append(w.texts, m.Text)
		w.mu.Unlock()
		if respond != nil {
			respond(r)
		}
	}))
	t.Cleanup(w.Close)
	return w
}

// Texts returns the texts of the recorded notifications, a line each, and removes them.
func (w *Webhook) Texts() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	texts := strings.Join(w.texts, "\n")
	w.texts = nil
	return texts
}
