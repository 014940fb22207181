package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/httpapi"
)

const (
	// A client that takes longer than these to send its request is disconnected. The handler responds within 26 s.
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 40 * time.Second
	idleTimeout   = time.Minute
	maxHeader     = 16 << 10 // bytes

	// Requests in flight have this long when serve ends: an attempt of a call, and then the response.
	shutdownTimeout = 8 * time.Second
)

// serve serves HTTP until it is interrupted.
func (t *tool) serve(ctx context.Context, c *cli.Command) error {
	args, err := arguments(c, 1, 1)
	if err != nil {
		return err
	}
	cfg, level, err := t.config(c)
	switch {
	case err != nil:
		return err
	case cfg.HTTPPlatform:
		return usageError("HTTP_AUTH is platform, and no platform checks callers here: set HTTP_TOKEN instead")
	case cfg.HTTPToken == "":
		return usageError("HTTP_TOKEN is missing: the token that callers send as Authorization: Bearer; " +
			"\"openssl rand -hex 24\" prints one")
	}
	tlsConfig, err := serveTLS(ctx, c)
	if err != nil {
		return err
	}
	if err := checkFolder(args[0]); err != nil {
		return err
	}
	bucket, dir, err := openFolder(args[0])
	if err != nil {
		return err
	}
	defer bucket.Close()
	log := slog.New(slog.NewTextHandler(t.stderr, &slog.HandlerOptions{Level: level}))
	handler, err := httpapi.New(httpapi.Config{Config: cfg, Bucket: bucket, Folder: dir, Log: log})
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.String(flagListen))
	if err != nil {
		return err
	}
	scheme := "http"
	if tlsConfig != nil {
		scheme, listener = "https", tls.NewListener(listener, tlsConfig)
	}
	fmt.Fprintf(t.stderr, "%s: serving %s at %s://%s; Ctrl-C stops gracefully\n",
		program, shown(args[0]), scheme, listener.Addr())
	return serveHTTP(ctx, listener, handler, log)
}

// serveTLS returns the TLS configuration that the flags of serve name, nil for none, which only clients on this machine
// may have unless a flag says so: the token would cross the network for all to read.
func serveTLS(ctx context.Context, c *cli.Command) (*tls.Config, error) {
	cert, key := c.String(flagTLSCert), c.String(flagTLSKey)
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, usageError("--%s and --%s: %v", flagTLSCert, flagTLSKey, err)
		}
		return &tls.Config{
			Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		}, nil
	}
	address := c.String(flagListen)
	if c.Bool(flagInsecure) || isLoopback(ctx, address) {
		return nil, nil // no TLS
	}
	return nil, usageError("--%s %s lets other machines call, which would send the token for all to read: "+
		"add --%s FILE and --%s FILE, or --%s behind a proxy that has TLS",
		flagListen, address, flagTLSCert, flagTLSKey, flagInsecure)
}

// isLoopback reports whether only this machine reaches an address. An address that is not valid is reported when it is
// listened at.
func isLoopback(ctx context.Context, address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return true
	}
	if host == "" {
		return false
	}
	addresses, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return true
	}
	isOther := func(a net.IPAddr) bool { return !a.IP.IsLoopback() }
	return !slices.ContainsFunc(addresses, isOther)
}

// serveHTTP serves until ctx ends, and then waits for the requests in flight.
func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		// Requests end with ctx: those that wait for a permit are turned away, those that are sent get their response.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err // the listener failed
	case <-ctx.Done():
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(draining); err != nil {
		server.Close() // the remaining clients send or read too slowly
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
