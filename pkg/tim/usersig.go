package tim

import (
	"fmt"
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
	sig  string
	made time.Time
}

// sign returns a UserSig. stale is one that the service has refused, or empty: it is not returned
// again.
func (s *signer) sign(stale string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sig != "" && s.sig != stale && time.Since(s.made) < sigRenew {
		return s.sig, nil
	}
	// The signature holds the second it was made in; made twice within one it is the same again.
	sig, err := tencentyun.GenUserSig(s.sdkAppID, s.key, s.admin, int(sigLife/time.Second))
	if err != nil {
		return "", fmt.Errorf("make a UserSig: %w", err)
	}
	s.sig, s.made = sig, time.Now()
	return sig, nil
}
