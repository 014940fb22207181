package cosblob_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/blob/blobtest/versitygw"
	"groupimport/pkg/blob/cosblob"
)

// TestBucket_Versitygw runs the suite against versitygw, an independent object store. A translator turns the requests
// of COS into those of S3. versitygw has neither the checksums nor the versioning of COS.
func TestBucket_Versitygw(t *testing.T) {
	t.Parallel()
	host := strings.TrimPrefix(versitygw.Start(t).Endpoint, "http://")
	transport := &http.Transport{MaxIdleConnsPerHost: 16} // as many as the suite's writers
	t.Cleanup(transport.CloseIdleConnections)
	var buckets atomic.Int32
	blobtest.TestBucket(t, func(t *testing.T) blob.Bucket {
		translator := &translator{host, fmt.Sprintf("bucket-%d", buckets.Add(1)), transport}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://cos.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := translator.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("making a bucket: %s", resp.Status)
		}
		return open(t, cosblob.Config{Transport: translator, NoCRC64: true})
	})
}

// A translator turns requests to COS into requests to S3, and the responses of S3 into those of COS.
type translator struct {
	host, bucket string
	next         http.RoundTripper
}

func (t *translator) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.Host = "http", t.host, t.host
	out.URL.Path = "/" + t.bucket + r.URL.Path // path style, and %2F becomes a slash
	out.URL.RawPath = strings.ReplaceAll(escape(out.URL.Path), "%2F", "/")
	out.URL.RawQuery = strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20")
	for name, values := range r.Header {
		if rest, ok := strings.CutPrefix(name, "X-Cos-"); ok {
			out.Header.Del(name)
			out.Header["X-Amz-"+rest] = values
		}
	}
	forbid := out.Header.Get("X-Amz-Forbid-Overwrite") == "true"
	if forbid {
		out.Header.Set("If-None-Match", "*")
	}
	for _, name := range []string{"X-Amz-Forbid-Overwrite", "X-Amz-Security-Token", "Authorization", "Host"} {
		out.Header.Del(name)
	}
	const hash = "UNSIGNED-PAYLOAD"
	out.Header.Set("X-Amz-Content-Sha256", hash)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	key := aws.Credentials{AccessKeyID: versitygw.AccessKey, SecretAccessKey: versitygw.SecretKey}
	if err := signer.SignHTTP(r.Context(), key, out, hash, "s3", versitygw.Region, time.Now()); err != nil {
		return nil, err
	}

	resp, err := t.next.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	resp.Request = r
	for name, values := range resp.Header {
		if rest, ok := strings.CutPrefix(name, "X-Amz-"); ok {
			resp.Header["X-Cos-"+rest] = values
		}
	}
	if forbid && resp.StatusCode == http.StatusPreconditionFailed {
		resp.Body.Close()
		resp.StatusCode = http.StatusConflict
		resp.Body = io.NopCloser(strings.NewReader("<Error><Code>FileAlreadyExists</Code></Error>"))
		resp.ContentLength = -1
	}
	return resp, nil
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
