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

// A UserSig is valid for sigLife and renewed after sigRenew. The documentation asks for at least a day
// (cloud.tencent.com/document/product/269/1664); an invocation lasts at most 15 minutes.
const (
	sigLife  = 48 * time.Hour
	sigRenew = sigLife / 2
)

// A signer creates the UserSig of the attempts and caches it.
type signer struct {
	sdkAppID int
	admin    string
	key      string

	mu       sync.Mutex
	sig      string // empty to create a new one
	signedAt time.Time
}

// sign returns a UserSig.
func (s *signer) sign() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The wall clock, which also counts while a function is frozen.
	now := time.Now().Round(0)
	if s.sig != "" && now.Sub(s.signedAt) < sigRenew {
		return s.sig, nil
	}
	sig, err := tencentyun.GenUserSig(s.sdkAppID, s.key, s.admin, int(sigLife/time.Second))
	if err != nil {
		return "", fmt.Errorf("create a UserSig: %w", err)
	}
	s.sig, s.signedAt = sig, now
	return sig, nil
}

// invalidate removes sig from the cache, because the service rejected it. A UserSig contains the second of its
// creation: a new one within the same second is the same.
func (s *signer) invalidate(sig string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sig == sig {
		s.sig = ""
	}
}

const hidden = "(secret)"

// sigIn matches a UserSig after its name in a URL or another text, even if it is truncated or escaped in another way.
var sigIn = regexp.MustCompile(`(?i)(usersig["']?\s*(?:=|:|%3d)\s*["']?)[^&\s"'<>]+`)

// hide returns text without secrets. sig is the UserSig that text may contain.
func (s *signer) hide(text, sig string) string {
	for _, secret := range []string{sig, url.QueryEscape(sig), s.key} {
		if len(secret) >= 8 { // a shorter one is not a real secret, and may be part of any text
			text = strings.ReplaceAll(text, secret, hidden)
		}
	}
	return sigIn.ReplaceAllString(text, "${1}"+hidden)
}
