package tim_test

import (
	"errors"
	"strings"
	"testing"

	"groupimport/pkg/tim"
)

func TestNew_ClearText(t *testing.T) {
	for endpoint, want := range map[string]error{
		"https://im.example":         nil,
		"http://127.0.0.1:8090":      nil,
		"http://127.8.9.1":           nil,
		"http://[::1]:8090":          nil,
		"http://localhost:8090":      nil,
		"http://im.example":          tim.ErrClearText,
		"http://192.168.1.1":         tim.ErrClearText,
		"http://127.0.0.1.example":   tim.ErrClearText,
		"http://localhost.example":   tim.ErrClearText,
		"http://0.0.0.0:8090":        tim.ErrClearText,
		"HTTP://im.example/a/folder": tim.ErrClearText,
	} {
		if err := tim.CheckEndpoint(endpoint, false); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", endpoint, err, want)
		}
		if err := tim.CheckEndpoint(endpoint, true); err != nil {
			t.Errorf("%s, insecure: got %v", endpoint, err)
		}
	}
	_, err := tim.New(tim.Config{Endpoint: "http://im.example", Rate: 1})
	if err == nil || !strings.Contains(err.Error(), "endpoint: http sends the UserSig in clear text") {
		t.Errorf("got %v", err)
	}
	_, err = tim.New(tim.Config{Endpoint: "https://im.example", Backup: "http://im.example", Rate: 1})
	if err == nil || !strings.Contains(err.Error(), "backup: http sends the UserSig in clear text") {
		t.Errorf("got %v", err)
	}
}
