package emulator

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"
)

// A userSig is the content of a UserSig: JSON, compressed with zlib, encoded in [userSigBase64]. This is the format of
// the module tls-sig-api-v2-golang v1.4.0.
type userSig struct {
	Version    string `json:"TLS.ver"`
	Identifier string `json:"TLS.identifier"`
	SDKAppID   int    `json:"TLS.sdkappid"`
	Expire     int64  `json:"TLS.expire"` // lifetime in seconds
	Time       int64  `json:"TLS.time"`   // Unix time in seconds
	Sig        []byte `json:"TLS.sig"`    // HMAC-SHA256
}

// userSigBase64 is standard base64 with three characters replaced, so that a query need not escape them.
var userSigBase64 = base64.
	NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-").WithPadding('_')

// A parsedSig is what parseUserSig made of a text.
type parsedSig struct {
	text string
	userSig

	err error
	key string // the service's when the UserSig was parsed
	mac []byte // with this key
}

// parseUserSig parses a UserSig and signs what it says, unless it is the one of the request before.
func (s *Service) parseUserSig(text string) *parsedSig {
	p := s.lastSig.Load()
	if p == nil || p.text != text || p.key != s.Key {
		p = &parsedSig{text: text, key: s.Key}
		p.userSig, p.err = parseUserSig(text)
		mac := hmac.New(sha256.New, []byte(s.Key))
		mac.Write(fmt.Appendf(nil, "TLS.identifier:%s\nTLS.sdkappid:%d\nTLS.time:%d\nTLS.expire:%d\n",
			p.Identifier, p.SDKAppID, p.Time, p.Expire))
		p.mac = mac.Sum(nil)
		s.lastSig.Store(p)
	}
	return p
}

// check validates a UserSig for an app and an identifier at a time.
func (sig *parsedSig) check(app int, identifier string, now time.Time) error {
	if sig.err != nil || sig.Version != "2.0" {
		return codeErrorf(70003, "usersig is invalid or truncated")
	}
	if sig.Identifier != identifier {
		return codeErrorf(70013, "identifier does not match usersig")
	}
	if sig.SDKAppID != app {
		return codeErrorf(70014, "sdkappid does not match usersig")
	}
	if !hmac.Equal(sig.mac, sig.Sig) {
		return codeErrorf(70009, "usersig was signed with another key")
	}
	if now.Unix() >= sig.Time+sig.Expire {
		return codeErrorf(70001, "usersig has expired")
	}
	return nil
}

func parseUserSig(text string) (userSig, error) {
	var sig userSig
	packed, err := userSigBase64.DecodeString(text)
	if err != nil {
		return sig, err
	}
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return sig, err
	}
	doc, err := io.ReadAll(io.LimitReader(z, 1<<16)) // a longer document is truncated and thus invalid JSON
	if err != nil {
		return sig, err
	}
	return sig, json.Unmarshal(doc, &sig)
}
