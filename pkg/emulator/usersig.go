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

// A userSig is the document inside a UserSig: JSON, compressed with zlib, in [userSigBase64].
// It is what the module tls-sig-api-v2-golang v1.4.0 writes.
type userSig struct {
	Version    string `json:"TLS.ver"`
	Identifier string `json:"TLS.identifier"`
	SDKAppID   int    `json:"TLS.sdkappid"`
	Expire     int64  `json:"TLS.expire"` // lifetime in seconds
	Time       int64  `json:"TLS.time"`   // Unix time in seconds
	Sig        []byte `json:"TLS.sig"`    // HMAC-SHA256
}

// userSigBase64 is standard base64 with three signs replaced, so that no query has to escape them.
var userSigBase64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-").WithPadding('_')

// checkUserSig says why a UserSig is not good for this app and identifier now.
func checkUserSig(text string, app int, identifier, key string, now time.Time) error {
	sig, err := parseUserSig(text)
	if err != nil || sig.Version != "2.0" {
		return refuse(70003, "usersig is illegal or cut short")
	}
	if sig.Identifier != identifier {
		return refuse(70013, "identifier is not that of usersig")
	}
	if sig.SDKAppID != app {
		return refuse(70014, "sdkappid is not that of usersig")
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(fmt.Appendf(nil, "TLS.identifier:%s\nTLS.sdkappid:%d\nTLS.time:%d\nTLS.expire:%d\n",
		sig.Identifier, sig.SDKAppID, sig.Time, sig.Expire))
	if !hmac.Equal(mac.Sum(nil), sig.Sig) {
		return refuse(70009, "usersig was made with another key")
	}
	if now.Unix() >= sig.Time+sig.Expire {
		return refuse(70001, "usersig has expired")
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
	doc, err := io.ReadAll(io.LimitReader(z, 1<<16)) // cut off at 64 KB, it is no JSON any more
	if err != nil {
		return sig, err
	}
	return sig, json.Unmarshal(doc, &sig)
}
