package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/httpapi"
)

const (
	// A client that takes longer than these to send its request is cut off. The handler answers within 26 s.
	headerTime = 5 * time.Second
	readTime   = 10 * time.Second
	writeTime  = 40 * time.Second
	idleTime   = time.Minute
	maxHeaders = 16 << 10

	// What is under way when serve is to end has this long: an attempt of a call, and then the answer.
	endTime = 8 * time.Second
)

// serve answers HTTP requests until it is interrupted.
func (t *tool) serve(ctx context.Context, args []string) error {
	flags := newFlags("serve [-listen ADDRESS] DIR")
	listen := flags.String("listen", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	if done, err := t.parse(flags, args, true); done {
		return err
	}
	if flags.NArg() != 1 {
		return usageError("name one folder")
	}
	cfg, level, err := t.config()
	switch {
	case err != nil:
		return err
	case cfg.HTTPPlatform:
		return usageError("HTTP_AUTH is platform, and on a desk there is none that checks callers: set HTTP_TOKEN")
	case cfg.HTTPToken == "":
		return usageError("HTTP_TOKEN is missing: what callers send as Authorization: Bearer; openssl rand -hex 24 makes one")
	}
	dir, err := filepath.Abs(flags.Arg(0))
	if err != nil {
		return err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%s: there is no such folder", flags.Arg(0))
	}
	bucket, err := dirblob.Open(dir)
	if err != nil {
		return err
	}
	defer bucket.Close()
	log := slog.New(slog.NewTextHandler(t.stderr, &slog.HandlerOptions{Level: level}))
	handler, err := httpapi.New(httpapi.Config{Config: cfg, Bucket: bucket, Folder: dir, Clients: cfg.Clients(log, nil), Log: log})
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeaders, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		// Requests end with ctx: what waits for its turn is sent away, what is sent gets its answer.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	fmt.Fprintf(t.stderr, "local: serving %s at http://%s; Ctrl-C ends in good order\n", flags.Arg(0), listener.Addr())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err // the listener failed
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		server.Close() // who is left sends or reads too slowly
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
