package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/emulator"
	"groupimport/pkg/shell"
)

const (
	emulatorApp = 1400000000
	emulatorKey = "the-emulators-key-which-is-no-secret"
)

// emulator serves an IM service on this machine until it is interrupted.
func (t *tool) emulator(ctx context.Context, c *cli.Command) error {
	if _, err := arguments(c, 0, 0); err != nil {
		return err
	}
	faults, err := emulator.ParseFaults(c.String("faults"))
	if err != nil {
		return usageError("--faults: %v", err)
	}
	service := &emulator.Service{
		SDKAppID: c.Int("sdkappid"), Key: c.String("key"), Limit: c.Int("limit"), Latency: c.Duration("latency"),
		Jitter: c.Duration("jitter"), Faults: faults,
	}
	address := cmp.Or(c.String(flagAddr), c.String(flagListen))
	config, trust, err := emulatorTLS(address, c.String("tls"))
	if err != nil {
		return err
	}
	url, stop, err := serveEmulator(ctx, service, address, config)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintf(t.stderr, "%s: an emulated IM service is at %s; to use it:\n\n"+
		"  export TIM_ENDPOINT=%s TIM_SDKAPPID=%d TIM_SECRET_KEY=%s%s\n\n"+
		"Its counters: %s/emulator/stats\nIts groups:   %s/emulator/groups\nCtrl-C stops it.\n",
		program, url, url, service.SDKAppID, shell.Quote(service.Key), trust, url, url)
	<-ctx.Done()
	writeStats(t.stdout, service.Stats())
	return nil
}

// emulatorTLS returns the TLS configuration with a new certificate for the address, and the variable that makes
// clients trust the certificate, with a space before it. Without a file for the certificate both are zero.
func emulatorTLS(address, file string) (config *tls.Config, trust string, err error) {
	if file == "" {
		return nil, "", nil
	}
	if file, err = filepath.Abs(file); err != nil {
		return nil, "", err
	}
	config, err = newCertificate(address, file)
	return config, " SSL_CERT_FILE=" + shell.Quote(file), err
}

// writeStats writes what the service has seen.
func writeStats(w io.Writer, stats emulator.Stats) {
	fmt.Fprintf(w, "the service received %s requests, created %s groups, throttled %s requests; busiest second: %s\n",
		thousands(int64(stats.Requests)), thousands(int64(stats.Created)), thousands(int64(stats.Throttled)),
		thousands(int64(stats.BusiestSecond)))
}

// serveEmulator serves at an address until stop is called, over TLS if config is not nil. Over TLS too it speaks
// HTTP/1.1 only: the service breaks connections when a fault says so, and an HTTP/2 connection carries the requests of
// others.
func serveEmulator(
	ctx context.Context, service *emulator.Service, address string, config *tls.Config,
) (url string, stop func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return "", nil, fmt.Errorf("start the emulator: %w", err)
	}
	url = "http://" + listener.Addr().String()
	if config != nil {
		url = "https://" + listener.Addr().String()
		listener = tls.NewListener(listener, config)
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
