package tim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"groupimport/pkg/pacer"
	"groupimport/pkg/tim"
)

// A sink collects all output, and the secrets that must not be in it.
type sink struct {
	mu      sync.Mutex
	text    bytes.Buffer
	secrets []string
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// hush adds the UserSig of a request to the secrets, in the forms in which a program may quote it.
func (s *sink) hush(r *http.Request) string {
	sig := r.URL.Query().Get("usersig")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = append(s.secrets, sig, url.QueryEscape(sig), strings.ToLower(url.QueryEscape(sig)))
	return sig
}

// check looks for secrets and for parts of secrets.
func (s *sink) check(t *testing.T) {
	t.Helper()
	const part = 20
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.text.String()
	if len(s.secrets) == 0 || text == "" {
		t.Error("got no secrets or no output")
	}
	for _, secret := range append(s.secrets, testKey) {
		for i := range len(secret) - part {
			if strings.Contains(text, secret[i:i+part]) {
				t.Fatalf("got %q in %s", secret[i:i+part], text)
			}
		}
	}
}

func TestSecrets_NeverInErrorsMessagesLogs(t *testing.T) {
	t.Parallel()
	ok := func(info string) string {
		return `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":` + strconv.Quote(info) + `}`
	}
	fail := func(code int, info string) string {
		return fmt.Sprintf(`{"ActionStatus":"FAIL","ErrorCode":%d,"ErrorInfo":%q}`, code, info)
	}
	requestURL := func(r *http.Request) string { return r.URL.String() }
	rows := map[string]func(r *http.Request, sig string) (*http.Response, error){
		"error with the URL": func(r *http.Request, _ string) (*http.Response, error) {
			return nil, errors.New("cannot reach " + requestURL(r))
		},
		"url.Error": func(r *http.Request, _ string) (*http.Response, error) {
			return nil, &url.Error{Op: "Post", URL: requestURL(r), Err: io.ErrUnexpectedEOF}
		},
		"error that wraps one with the URL": func(r *http.Request, _ string) (*http.Response, error) {
			return nil, fmt.Errorf("proxy: %w", &url.Error{Op: "Post", URL: requestURL(r), Err: io.EOF})
		},
		"dial with the URL": func(r *http.Request, _ string) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: errors.New(requestURL(r))}
		},
		"error with the URL escaped": func(r *http.Request, _ string) (*http.Response, error) {
			return nil, errors.New("cannot reach " + url.QueryEscape(requestURL(r)))
		},
		"error with the URL cut short": func(r *http.Request, _ string) (*http.Response, error) {
			u := requestURL(r)
			return nil, errors.New("cannot reach " + u[:strings.Index(u, "usersig=")+100])
		},
		"error with the URL in lower-case escapes": func(r *http.Request, _ string) (*http.Response, error) {
			return nil, errors.New("cannot reach " + strings.ToLower(requestURL(r)))
		},
		"error with the UserSig alone": func(_ *http.Request, sig string) (*http.Response, error) {
			return nil, errors.New("bad " + sig)
		},
		"error with the key": func(*http.Request, string) (*http.Response, error) {
			return nil, errors.New("bad " + testKey)
		},
		"page that quotes the URL": func(r *http.Request, _ string) (*http.Response, error) {
			return respond(200, "<html>Cannot POST "+requestURL(r)+"</html>"), nil
		},
		"page that quotes the UserSig at its cut": func(_ *http.Request, sig string) (*http.Response, error) {
			return respond(200, strings.Repeat("x", 150)+sig), nil
		},
		"JSON without the fields of a response": func(_ *http.Request, sig string) (*http.Response, error) {
			return respond(200, `{"usersig":"`+sig[:100]+`"}`), nil
		},
		"bad gateway": func(r *http.Request, _ string) (*http.Response, error) {
			return respond(502, requestURL(r)), nil
		},
		"redirect": func(r *http.Request, _ string) (*http.Response, error) {
			resp := respond(302, requestURL(r))
			resp.Header.Set("Location", requestURL(r))
			return resp, nil
		},
		"status that quotes the URL": func(r *http.Request, _ string) (*http.Response, error) {
			return respond(200, `{"ActionStatus":`+strconv.Quote(requestURL(r))+`,"ErrorCode":0}`), nil
		},
		"OK with the URL": func(r *http.Request, _ string) (*http.Response, error) {
			return respond(200, ok(requestURL(r))), nil
		},
		"body that breaks": func(r *http.Request, _ string) (*http.Response, error) {
			resp := respond(200, "")
			resp.Body = io.NopCloser(readFunc(func([]byte) (int, error) { return 0, errors.New("read " + requestURL(r)) }))
			return resp, nil
		},
		"existing group that quotes the URL": func(r *http.Request, _ string) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "import_group") {
				return respond(200, fail(10021, requestURL(r))), nil
			}
			return respond(200, `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[{"GroupId":"g","ErrorCode":10007,"ErrorInfo":`+
				strconv.Quote(requestURL(r))+`}]}`), nil
		},
		"look-up that quotes the URL": func(r *http.Request, _ string) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "import_group") {
				return respond(200, fail(10021, "in use")), nil
			}
			return respond(200, `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":`+strconv.Quote(requestURL(r))+`}`), nil
		},
	}
	for _, code := range []int{10002, 10004, 10006, 10021, 60007, 70001, 70009} {
		rows[fmt.Sprint("code ", code)] = func(r *http.Request, _ string) (*http.Response, error) {
			return respond(200, fail(code, "rejected: "+requestURL(r))), nil
		}
	}
	for name, respondTo := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := &sink{}
				see(t, out, transport(func(r *http.Request) (*http.Response, error) {
					return respondTo(r, out.hush(r))
				}), "https://im.example")
				out.check(t)
			})
		})
	}

	// The real transport, with every way in which a server can fail.
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	handlers := map[string]http.HandlerFunc{
		"dropped connection": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		},
		"response that is not HTTP": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "SSH-2.0-"+r.URL.String()+"\r\n")
				_ = conn.Close()
			}
		},
		"body that ends early": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "4096")
			_, _ = io.WriteString(w, r.URL.String())
		},
		"redirect to itself": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
		},
	}
	for name, handler := range handlers {
		t.Run("server: "+name, func(t *testing.T) {
			t.Parallel()
			out := &sink{}
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				out.hush(r)
				handler(w, r)
			}))
			t.Cleanup(srv.Close)
			see(t, out, nil, srv.URL)
			out.check(t)
		})
	}
	for _, endpoint := range []string{"http://" + dead.Addr().String(), "http://127.0.0.1:99999"} {
		t.Run("endpoint "+endpoint, func(t *testing.T) {
			t.Parallel()
			out := &sink{secrets: []string{"&usersig="}} // no server receives a request
			see(t, out, nil, endpoint)
			out.check(t)
		})
	}
}

// see drives a client into an error and writes all its output to out.
func see(t *testing.T, out *sink, transport http.RoundTripper, endpoint string) {
	t.Helper()
	cfg := tim.Config{
		SDKAppID: testApp, Admin: "administrator", SecretKey: testKey, Endpoint: endpoint, Pacer: pacer.New(1000), Rate: 1000,
		MaxAttempts: 1, Transport: transport,
		Log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	c, err := tim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond) // throttling codes are retried forever
	defer cancel()
	for _, id := range []string{"g", ""} {
		r := c.ImportGroup(ctx, record(id, "n")).Wait()
		fmt.Fprintf(out, "%+v\n", r)
	}
	_, err = c.LookUp(ctx, "g")
	fmt.Fprintf(out, "%v %+v %#v\n", err, err, err)
	for e := err; e != nil; e = errors.Unwrap(e) {
		fmt.Fprintf(out, "%#v\n", e)
	}
	fmt.Fprintf(out, "%+v %v\n", c.Fatal(), c.Fatal())
	fmt.Fprintf(out, "%v %+v %#v %v %+v %#v\n", c, c, c, cfg, cfg, &cfg)
	cfg.Log.DebugContext(ctx, "all", "config", cfg, "pointer", &cfg, "client", c)
	cfg.Log, cfg.Transport = nil, nil // neither has a JSON form
	nested := struct{ C tim.Config }{cfg}
	slog.New(slog.NewJSONHandler(out, nil)).InfoContext(ctx, "all", "config", cfg, "nested", nested)
}
