package costest

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what COS signs with
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// authorize checks a request's signature by cloud.tencent.com/document/product/436/7778. Beyond that
// document, which leaves it to the client what is signed, all parameters must be, and all headers that
// change what is done.
func (s *Server) authorize(r *http.Request) error {
	denied := func(message string) error {
		return &failure{http.StatusForbidden, "AccessDenied", message}
	}
	mismatch := func(message string) error {
		return &failure{http.StatusForbidden, "SignatureDoesNotMatch", message}
	}
	fields := make(map[string]string)
	for field := range strings.SplitSeq(r.Header.Get("Authorization"), "&") {
		name, value, _ := strings.Cut(field, "=")
		fields[name] = value
	}
	if fields["q-sign-algorithm"] != "sha1" {
		return denied("there is no signature")
	}
	s.mu.Lock()
	key, ok := s.keys[fields["q-ak"]]
	s.mu.Unlock()
	switch {
	case !ok:
		return &failure{http.StatusForbidden, "InvalidAccessKeyId", "there is no such secret ID"}
	case r.Header.Get("x-cos-security-token") != key.Token:
		return denied("the token is not that of the secret ID")
	case key.Expired:
		return &failure{http.StatusBadRequest, "ExpiredToken", "the token has expired"}
	}
	for _, name := range []string{"q-sign-time", "q-key-time"} {
		from, to, _ := strings.Cut(fields[name], ";")
		start, err1 := strconv.ParseInt(from, 10, 64)
		end, err2 := strconv.ParseInt(to, 10, 64)
		if now := time.Now().Unix(); err1 != nil || err2 != nil || now < start || now > end {
			return denied("the request has expired")
		}
	}

	headers := split(fields["q-header-list"])
	required := []string{"host"}
	for name := range r.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-cos-") || slices.Contains([]string{"range", "if-match", "content-md5"}, name) {
			required = append(required, name)
		}
	}
	for _, name := range required {
		if !slices.Contains(headers, name) {
			return mismatch("header " + name + " is not signed")
		}
	}
	query := r.URL.Query()
	params := split(fields["q-url-param-list"])
	values := make(map[string]string)
	for name, value := range query {
		name = strings.ToLower(encodeKey(name))
		if len(value) != 1 || !slices.Contains(params, name) {
			return mismatch("parameter " + name + " is not signed")
		}
		values[name] = value[0]
	}
	if !slices.IsSorted(headers) || !slices.IsSorted(params) {
		return mismatch("a list is not sorted")
	}

	var httpParams, httpHeaders []string
	for _, name := range params {
		value, ok := values[name]
		if !ok {
			return mismatch("there is no parameter " + name)
		}
		httpParams = append(httpParams, name+"="+encodeKey(value))
	}
	for _, name := range headers {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.Host
		case "content-length": // which net/http keeps elsewhere
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		httpHeaders = append(httpHeaders, name+"="+encodeKey(value))
	}
	httpString := strings.ToLower(r.Method) + "\n" + r.URL.Path + "\n" +
		strings.Join(httpParams, "&") + "\n" + strings.Join(httpHeaders, "&") + "\n"
	hash := sha1.Sum([]byte(httpString)) //nolint:gosec // see the import
	stringToSign := "sha1\n" + fields["q-sign-time"] + "\n" + hex.EncodeToString(hash[:]) + "\n"
	signature := sign(sign(key.Secret, fields["q-key-time"]), stringToSign)
	if subtle.ConstantTimeCompare([]byte(signature), []byte(fields["q-signature"])) != 1 {
		return mismatch("the signature is another")
	}
	return nil
}

func sign(key, text string) string {
	mac := hmac.New(sha1.New, []byte(key))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ";")
}
