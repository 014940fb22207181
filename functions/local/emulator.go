package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"groupimport/pkg/emulator"
)

const (
	emulatorApp = 1400000000
	emulatorKey = "the-emulators-key-which-is-no-secret"
)

// emulator serves an IM service on this machine until it is interrupted.
func (t *tool) emulator(ctx context.Context, args []string) error {
	flags := newFlags("emulator [OPTION…]")
	addr := flags.String("addr", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	app := flags.Int("sdkappid", emulatorApp, "SDKAppID")
	key := flags.String("key", emulatorKey, "its secret key")
	limit := flags.Int("limit", 200, "requests any sliding second may hold, refused ones counted; negative for none")
	latency := flags.Duration("latency", 50*time.Millisecond, "time an answer takes")
	jitter := flags.Duration("jitter", 20*time.Millisecond, "and a random share of this")
	faults := flags.String("faults", "", "what goes wrong, as shares of the requests, for example drop-after=0.01,internal=0.02,seed=7")
	cert := flags.String("tls", "", "serve over TLS, with a certificate that is made now and written to this file")
	if done, err := t.parse(flags, args, false); done {
		return err
	}
	fail, err := emulator.ParseFaults(*faults)
	if err != nil {
		return usageError("-faults: %v", err)
	}
	service := &emulator.Service{
		SDKAppID: *app, Key: *key, Limit: *limit, Latency: *latency, Jitter: *jitter, Faults: fail,
	}
	var secure *tls.Config
	trust := ""
	if *cert != "" {
		file, err := filepath.Abs(*cert)
		if err != nil {
			return err
		}
		if secure, err = certified(*addr, file); err != nil {
			return err
		}
		trust = " SSL_CERT_FILE=" + quote(file)
	}
	url, stop, err := serveEmulator(ctx, service, *addr, secure)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintf(t.stderr, "local: an IM service is at %s; to use it:\n\n"+
		"  export TIM_ENDPOINT=%s TIM_SDKAPPID=%d TIM_SECRET_KEY=%s%s\n\n"+
		"what it has seen: %s/emulator/stats   its groups: %s/emulator/groups   Ctrl-C ends it\n", url, url, *app, quote(*key), trust, url, url)
	<-ctx.Done()
	stats := service.Stats()
	fmt.Fprintf(t.stdout, "requests %s, groups made %s, refused as too fast %s, busiest second %d\n", thousands(int64(stats.Requests)),
		thousands(int64(stats.Taken)), thousands(int64(stats.Refused)), stats.BusiestSecond)
	return nil
}

// quote quotes text for a shell where it needs that.
func quote(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@,+") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// serveEmulator serves at addr until stop is called, over TLS if secure is not nil. Over TLS too it speaks HTTP/1.1 only:
// the service breaks connections when a fault says so, and an HTTP/2 connection carries others' requests.
func serveEmulator(ctx context.Context, service *emulator.Service, addr string, secure *tls.Config) (url string, stop func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return "", nil, fmt.Errorf("start the emulator: %w", err)
	}
	url = "http://" + listener.Addr().String()
	if secure != nil {
		url = "https://" + listener.Addr().String()
		listener = tls.NewListener(listener, secure)
	}
	server := &http.Server{Handler: service, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // a listener on this machine that fails while it is open
		}
	}()
	return url, func() {
		server.Close()
		<-served
	}, nil
}
