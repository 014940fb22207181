package tim

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/tencentyun/tls-sig-api-v2-golang/tencentyun"
)

// A UserSig lives for sigLife and is renewed after half of it. The documentation asks for a day at
// least (cloud.tencent.com/document/product/269/1664); an invocation lasts 15 minutes at most.
const (
	sigLife  = 48 * time.Hour
	sigRenew = sigLife / 2
)

// A signer makes the UserSig that every attempt carries, and keeps it while it is fresh.
type signer struct {
	sdkAppID int
	admin    string
	key      string

	mu   sync.Mutex
	sig  string // empty if the next one is to be made
	made time.Time
}

// sign returns a UserSig.
func (s *signer) sign() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The wall clock, which also counts while a function is frozen.
	now := time.Now().Round(0)
	if s.sig != "" && now.Sub(s.made) < sigRenew {
		return s.sig, nil
	}
	sig, err := tencentyun.GenUserSig(s.sdkAppID, s.key, s.admin, int(sigLife/time.Second))
	if err != nil {
		return "", fmt.Errorf("make a UserSig: %w", err)
	}
	s.sig, s.made = sig, now
	return sig, nil
}

// refused notes that the service does not accept sig. It holds the second it was made in, so only in
// another second the next one is another.
func (s *signer) refused(sig string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sig == sig {
		s.sig = ""
	}
}

const hidden = "(secret)"

// sigIn finds what a URL or another text calls a UserSig, also cut short or escaped in a way of its own.
var sigIn = regexp.MustCompile(`(?i)(usersig["']?\s*(?:=|:|%3d)\s*["']?)[^&\s"'<>]+`)

// hide returns text without secrets. sig is the UserSig that it may hold.
func (s *signer) hide(text, sig string) string {
	for _, secret := range []string{sig, url.QueryEscape(sig), s.key} {
		if len(secret) >= 8 { // shorter it is no real one, and half of the text would be hidden
			text = strings.ReplaceAll(text, secret, hidden)
		}
	}
	return sigIn.ReplaceAllString(text, "${1}"+hidden)
}
