package tim

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// ErrClearText is the error of an http endpoint on a host that is not this machine.
var ErrClearText = errors.New("http sends the UserSig in clear text to another machine: use https")

// CheckEndpoint returns an error if endpoint is not a base URL, or if requests to it would send the UserSig in clear
// text: over http to a host that is not this machine, unless insecure allows it ([ErrClearText]), or over http through
// the proxy of HTTP_PROXY.
func CheckEndpoint(endpoint string, insecure bool) error {
	base, err := parseEndpoint(endpoint)
	if err != nil {
		return err
	}
	return checkClearText(base, insecure)
}

// parseEndpoint parses a base URL. Its error quotes no password.
func parseEndpoint(endpoint string) (*url.URL, error) {
	base, err := url.Parse(endpoint)
	if err != nil {
		if parse, ok := errors.AsType[*url.Error](err); ok {
			err = parse.Err // the *url.Error would quote a password
		}
		return nil, err
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" {
		return nil, fmt.Errorf("%q is not of the form https://host/path", base.Redacted())
	}
	return base, nil
}

func checkClearText(base *url.URL, insecure bool) error {
	host := base.Hostname()
	if base.Scheme == "https" || host == "localhost" || net.ParseIP(host).IsLoopback() {
		return nil // HTTP_PROXY does not apply to this machine, and HTTPS_PROXY passes TLS on
	}
	if !insecure {
		return ErrClearText
	}
	switch proxy, err := http.ProxyFromEnvironment(&http.Request{URL: base}); {
	case err != nil:
		return errors.New("HTTP_PROXY is not a URL") // err may quote a password
	case proxy != nil:
		return errors.New("http sends the UserSig in clear text through the proxy of HTTP_PROXY: " +
			"use https, or add the host to NO_PROXY")
	}
	return nil
}
