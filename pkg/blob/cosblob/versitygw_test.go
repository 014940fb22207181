package cosblob_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/blob/cosblob"
)

// TestBucketOnVersitygw runs the suite against an object store that was written by others. It speaks S3,
// so what differs is translated on the way; the checksums and the versioning of COS it does not have.
func TestBucket_Versitygw(t *testing.T) {
	t.Parallel()
	s3 := startVersitygw(t)
	var buckets atomic.Int32
	blobtest.TestBucket(t, func(t *testing.T) blob.Bucket {
		translator := &translator{s3, fmt.Sprintf("bucket-%d", buckets.Add(1)), http.DefaultTransport}
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

const accessKey, secretKey = "test", "testtest"

// startVersitygw starts the server on a folder of its own, and returns its host and port.
func startVersitygw(t *testing.T) string {
	t.Helper()
	binary, err := exec.LookPath("versitygw")
	if err != nil {
		gopath, err := exec.CommandContext(t.Context(), "go", "env", "GOPATH").Output()
		if err != nil {
			t.Fatal(err)
		}
		binary = filepath.Join(strings.TrimSpace(string(gopath)), "bin", "versitygw")
		if _, err := os.Stat(binary); err != nil {
			t.Skip("versitygw is missing: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()

	var output bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary,
		"--port", host, "--access", accessKey, "--secret", secretKey, "--quiet", "--health", "/health", "posix", t.TempDir())
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("versitygw said: %s", output.Bytes())
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; {
		resp, err := http.Get("http://" + host + "/health")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return host
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("versitygw does not start: %v", err)
		}
		time.Sleep(20 * time.Millisecond) // it tells nobody when it is ready
	}
}

// A translator turns requests to COS into requests to S3, and answers back.
type translator struct {
	host, bucket string
	next         http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
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
	if err := signer.SignHTTP(r.Context(), aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey},
		out, hash, "s3", "us-east-1", time.Now()); err != nil {
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
