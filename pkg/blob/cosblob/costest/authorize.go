package costest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tencentyun/cos-go-sdk-v5"
)

// authorize checks who sends a request: the secret ID, its token, and the signature, which the SDK computes again. What
// a signature must cover is the SDK's task and not checked here (cloud.tencent.com/document/product/436/7778).
func (s *Server) authorize(r *http.Request) error {
	sent := r.Header.Get("Authorization")
	fields, _ := url.ParseQuery(strings.ReplaceAll(sent, ";", "%3B")) // what cannot be parsed is missing
	s.mu.Lock()
	key, ok := s.keys[fields.Get("q-ak")]
	s.mu.Unlock()
	switch {
	case sent == "":
		return &failure{http.StatusForbidden, "AccessDenied", "there is no signature"}
	case !ok:
		return &failure{http.StatusForbidden, "InvalidAccessKeyId", "there is no such secret ID"}
	case r.Header.Get("x-cos-security-token") != key.Token:
		return &failure{http.StatusForbidden, "AccessDenied", "the token is not that of the secret ID"}
	case key.Expired:
		return &failure{http.StatusBadRequest, "ExpiredToken", "the token has expired"}
	}
	var start, end int64
	_, err := fmt.Sscanf(fields.Get("q-sign-time"), "%d;%d", &start, &end)
	if now := time.Now().Unix(); err != nil || now < start || now > end {
		return &failure{http.StatusForbidden, "AccessDenied", "the request has expired"}
	}
	again := r.Clone(r.Context())
	if strings.Contains(fields.Get("q-header-list"), "content-length") { // net/http keeps it outside of the header
		again.Header.Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
	}
	from, to := time.Unix(start, 0), time.Unix(end, 0)
	cos.AddAuthorizationHeader(key.ID, key.Secret, key.Token, again, &cos.AuthTime{
		SignStartTime: from, SignEndTime: to, KeyStartTime: from, KeyEndTime: to,
	})
	if again.Header.Get("Authorization") != sent {
		return &failure{http.StatusForbidden, "SignatureDoesNotMatch", "the signature is another"}
	}
	return nil
}
