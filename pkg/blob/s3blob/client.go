package s3blob

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

const (
	maxAttempts = 5                      // of a request
	firstWait   = 500 * time.Millisecond // at most, before the second attempt; doubled with each
	stallAfter  = 20 * time.Second       // no byte gets in or out for so long, or no answer comes
)

var errStalled = fmt.Errorf("nothing came for %v", stallAfter)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// newHTTPClient returns a client that notices when a request no longer gets on, wherever it is. There is
// no limit to how long one takes that does get on.
//
// It follows no redirects: the signature is for one host, and the session token for nobody else.
func newHTTPClient(dial dialFunc) *http.Client {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return writeStallConn{conn}, nil
		},
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: stallAfter,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   16,   // the default of 2 would close what concurrent requests have opened
		DisableCompression:    true, // bytes are to arrive as they are stored
	}
	return &http.Client{
		Transport:     stallTransport{t},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A writeStallConn fails a write that does not get on.
type writeStallConn struct{ net.Conn }

// Write implements [net.Conn].
func (c writeStallConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(stallAfter)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// A stallTransport returns bodies whose reads fail when they do not get on.
type stallTransport struct{ *http.Transport }

// RoundTrip implements [http.RoundTripper].
func (t stallTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := t.Transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = &stallBody{resp.Body, cancel}
	return resp, nil
}

type stallBody struct {
	io.ReadCloser

	cancel context.CancelCauseFunc
}

// Read implements [io.Reader].
func (b *stallBody) Read(p []byte) (int, error) {
	t := time.AfterFunc(stallAfter, func() { b.cancel(errStalled) })
	defer t.Stop()
	return b.ReadCloser.Read(p) // whose error is the cause
}

// Close implements [io.Closer].
func (b *stallBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			return rand.N(firstWait << (attempt - 1)), nil
		})
		// The default is a stock of retries for all requests of a client, and an error of its own when it is
		// used up. There are few requests at a time here.
		o.RateLimiter = ratelimit.None
		o.Retryables = append(o.Retryables,
			retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{http.StatusRequestTimeout: {}, http.StatusTooManyRequests: {}}},
			retry.RetryableErrorCode{Codes: map[string]struct{}{"ConditionalRequestConflict": {}, "OperationAborted": {}}},
			retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
				if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errStalled) {
					return aws.TrueTernary
				}
				return aws.UnknownTernary
			}))
	})
}
