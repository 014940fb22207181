package tim_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"groupimport/pkg/tim"
)

// A rawServer responds to every request with what respond writes to the connection, without net/http.
type rawServer struct {
	url     string
	written atomic.Int64 // bytes of responses
}

func newRawServer(t *testing.T, respond func(io.Writer) error) *rawServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &rawServer{url: "http://" + l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn, respond)
		}
	}()
	return s
}

func (s *rawServer) serve(conn net.Conn, respond func(io.Writer) error) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		if respond(&counter{conn, &s.written}) != nil {
			return
		}
	}
}

type counter struct {
	w io.Writer
	n *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n.Add(int64(n))
	return n, err
}

const okBody = `{"ActionStatus":"OK","ErrorCode":0,"GroupId":"g"}`

// text responds with a text.
func text(format string, args ...any) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := fmt.Fprintf(w, format, args...)
		return err
	}
}

// body responds with 200 and a body.
func body(s string) func(io.Writer) error {
	return text("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(s), s)
}

// forever responds with a text, and then with another one until the client disconnects.
func forever(first, rest string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, first)
		for err == nil {
			_, err = io.WriteString(w, rest)
		}
		return err
	}
}

// withID returns a successful response with a GroupId.
func withID(id string) string {
	return `{"ActionStatus":"OK","ErrorCode":0,"GroupId":"` + id + `"}`
}

func TestResponse_HostileServer(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = io.Copy(z, io.LimitReader(zeros{}, 8<<20))
	_ = z.Close()
	chunk := "1000\r\n" + strings.Repeat(" ", 0x1000) + "\r\n"
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	chunkedOK := fmt.Sprintf("%s%x\r\n%s\r\n0\r\n", chunked, len(okBody), okBody)
	long := strings.Repeat("x", 4<<10)
	for _, test := range []struct {
		name    string
		respond func(io.Writer) error
		end     string
		message string // a part
	}{
		{"GroupId of 64 bytes", body(withID(strings.Repeat("x", 64))), "imported", ""},
		{"GroupId of 65 bytes", body(withID(strings.Repeat("x", 65))), "unknown", "GroupId of 65 bytes"},
		{"GroupId of 15 KB", body(withID(strings.Repeat("x", 15<<10))), "unknown", "GroupId of 15360 bytes"},
		{"GroupId of 1 MB", body(withID(strings.Repeat("x", 1<<20))), "unknown", "longer than 16 KB"},
		{"GroupId with a line break", body(withID(`a\nb`)), "unknown", "not printable"},
		{"GroupId in Chinese", body(withID("群组")), "unknown", "not printable"},
		{"endless body", forever("HTTP/1.1 200 OK\r\n\r\n", long), "unknown", "longer than 16 KB"},
		{"endless chunks", forever(chunked, chunk), "unknown", "longer than 16 KB"},
		{"endless chunk extension", forever(chunked+"1;", long), "unknown", "too long"},
		{"endless trailer", forever(chunkedOK+"X: ", long), "unknown", "trailer"},
		{"a trailer", text("%s", chunkedOK+"ErrorCode: 10004\r\n\r\n"), "imported", ""},
		{"endless header", forever("HTTP/1.1 200 OK\r\nX: ", long), "unknown", "header"},
		{"endless status line", forever("HTTP/1.1 200 ", long), "unknown", "header"},
		{
			"header of 100 KB", text("HTTP/1.1 200 OK\r\nX: %s\r\nContent-Length: %d\r\n\r\n%s", strings.Repeat("x", 100<<10),
				len(okBody), okBody), "unknown", "header",
		},
		{"endless 1xx", forever("", "HTTP/1.1 103 Early Hints\r\nX: "+long[:100]+"\r\n\r\n"), "unknown", "header"},
		{"some 1xx", func(w io.Writer) error {
			_, _ = io.WriteString(w, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 3))
			return body(okBody)(w)
		}, "imported", ""},
		{
			"switches protocols", text("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
			"unknown", "HTTP 101",
		},
		{"HTTP/2", text("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "unknown", "malformed"},
		{
			"gzip bomb", text("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", bomb.Len(), &bomb),
			"unknown", "unreadable response",
		},
		{"two lengths", text("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), "unknown", "Length"},
		{"long page with a status", forever("HTTP/1.1 502 Bad Gateway\r\n\r\n", long), "unknown", "HTTP 502"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newRawServer(t, test.respond)
			c := newClient(t, nil, endpoint(s.url))
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
			defer cancel()
			got := c.ImportGroup(ctx, record("", "n")).Wait()
			if endNames[got.End] != test.end || !strings.Contains(got.Message, test.message) {
				t.Errorf("got %s %q, want %s with %q", short(got), got.Message, test.end, test.message)
			}
			if len(got.Message) > 1024 || len(got.GroupID) > 64 {
				t.Errorf("got a message of %d bytes and a GroupId of %d", len(got.Message), len(got.GroupID))
			}
			if n := s.written.Load(); n > 16<<20 { // mostly the buffers of the sockets
				t.Errorf("got %d bytes from the server", n)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestResponse_SlowBody(t *testing.T) {
	t.Parallel()
	s := newRawServer(t, func(w io.Writer) error {
		_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
		for err == nil {
			time.Sleep(10 * time.Millisecond)
			_, err = io.WriteString(w, " ")
		}
		return err
	})
	c := newClient(t, nil, endpoint(s.url), func(cfg *tim.Config) { cfg.DrainTimeout = 100 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	got := c.ImportGroup(ctx, record("", "n")).Wait()
	if took := time.Since(start); got.End != tim.Unknown || took > 3*time.Second {
		t.Errorf("got %s %q after %v", short(got), got.Message, took)
	}
}

// A long name of an existing group goes into a message.
func TestReconcile_HugeFields(t *testing.T) {
	name := strings.Repeat("x", 100<<10) + `\u0007`
	c := newClient(t, transport(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/import_group") {
			return respond(200, `{"ActionStatus":"FAIL","ErrorCode":10021,"ErrorInfo":"`+strings.Repeat("x", 8000)+`"}`), nil
		}
		return respond(200, `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[{"GroupId":"g","ErrorCode":0,"Type":"`+name+
			`","Name":"`+name+`","Owner_Account":"`+name[:100]+`usersig=0123456789"}]}`), nil
	}))
	got := c.ImportGroup(t.Context(), record("g", "n")).Wait()
	if got.End != tim.Rejected || len(got.Message) > 1024 || strings.Contains(got.Message, "0123456789") {
		t.Errorf("got %s with %d bytes: %.2000s", short(got), len(got.Message), got.Message)
	}
}
