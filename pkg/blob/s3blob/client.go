package s3blob

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"groupimport/pkg/backoff"
)

const (
	maxAttempts  = 5                // of a request
	stallTimeout = 20 * time.Second // without a byte in either direction
)

var waits = backoff.Exponential{Base: 500 * time.Millisecond, Max: 4 * time.Second}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// newHTTPClient returns a client whose requests fail when no byte is sent or received for 20 s. A request
// that makes progress has no time limit.
//
// The client follows no redirects: the signature is for one host, and the session token must not reach
// another.
func newHTTPClient(dial dialFunc) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dial(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return stallConn{conn}, nil
			},
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   10 * time.Second,
			ExpectContinueTimeout: time.Second,
			MaxIdleConnsPerHost:   16,   // the default of 2 would close what concurrent requests have opened
			DisableCompression:    true, // bytes must arrive as they are stored
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A stallConn is a connection that fails when no byte is sent or received for stallTimeout. The HTTP
// client reads from idle connections, so these are closed after that time too.
type stallConn struct{ net.Conn }

// Read fails if no byte is received for stallTimeout after the last byte in either direction.
func (c stallConn) Read(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(stallTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write fails if no byte is sent for stallTimeout. It extends the time of a Read that waits.
func (c stallConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(stallTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			return waits.Wait(attempt), nil
		})
		// The default limits the retries of all requests of a client together, and returns an error of its own
		// at that limit. There are few requests at a time here.
		o.RateLimiter = ratelimit.None
		o.Retryables = append(o.Retryables,
			retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{
				http.StatusRequestTimeout: {}, http.StatusTooManyRequests: {},
			}},
			retry.RetryableErrorCode{Codes: map[string]struct{}{
				"ConditionalRequestConflict": {}, "OperationAborted": {},
			}},
			retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
				if errors.Is(err, io.ErrUnexpectedEOF) {
					return aws.TrueTernary
				}
				return aws.UnknownTernary
			}))
	})
}
