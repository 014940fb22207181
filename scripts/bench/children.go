package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	tls "github.com/tencentyun/tls-sig-api-v2-golang/tencentyun"

	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/config"
	"groupimport/pkg/importer"
	"groupimport/pkg/tim"
)

// baselineInFlight is how many requests Benthos and the baseline have in flight.
const baselineInFlight = 64

// importFile imports a file as functions/local does, but for more in flight than a service nearby needs.
func importFile(args []string) error {
	cfg, err := config.FromEnv(os.Getenv)
	if err != nil {
		return err
	}
	dir, key := filepath.Split(args[0])
	bucket, err := dirblob.Open(dir)
	if err != nil {
		return err
	}
	defer bucket.Close()
	client, err := cfg.Clients(nil, func(c *tim.Config) { c.MaxInFlight = 2 * baselineInFlight })()
	if err != nil {
		return err
	}
	i := &importer.Importer{Config: cfg, Bucket: bucket, BucketName: dir, Client: client}
	summary, err := i.Import(context.Background(), key)
	if err == nil && summary.Reason != "" {
		err = fmt.Errorf("unfinished: %s", summary.Reason)
	}
	return err
}

// baseline sends the lines of an export as they are, with the standard library's client: it decodes, checks, judges and
// writes nothing. No program in Go that makes one request a record can need less.
func baseline(args []string) error {
	flags := flag.NewFlagSet("baseline", flag.ExitOnError)
	rate := flags.Int("rate", 0, "requests a second; 0 for as many as go through")
	_ = flags.Parse(args) // it exits with an error
	address, err := importGroupURL(os.Getenv)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(flags.Arg(0))
	if err != nil {
		return err
	}
	bodies := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = baselineInFlight, baselineInFlight
	client := &http.Client{Transport: transport}
	pause := func() {}
	if *rate > 0 {
		ticks := time.NewTicker(time.Second / time.Duration(*rate))
		pause = func() { <-ticks.C }
	}
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var senders sync.WaitGroup
	for range baselineInFlight {
		senders.Go(func() {
			for n := next.Add(1); n <= int64(len(bodies)); n = next.Add(1) {
				pause()
				if err := send(client, address, bodies[n-1]); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	senders.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func send(client *http.Client, address string, body []byte) error {
	resp, err := client.Post(address, "application/json", bytes.NewReader(body)) // as bare as it gets
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// importGroupURL returns the URL of import_group, with a UserSig of an hour.
func importGroupURL(getenv func(string) string) (string, error) {
	app, err := strconv.Atoi(getenv("TIM_SDKAPPID"))
	if err != nil {
		return "", fmt.Errorf("TIM_SDKAPPID: %w", err)
	}
	sig, err := tls.GenUserSig(app, getenv("TIM_SECRET_KEY"), "administrator", 3600)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s/v4/group_open_http_svc/import_group?"+
		"sdkappid=%d&identifier=administrator&usersig=%s&random=1&contenttype=json",
		getenv("TIM_ENDPOINT"), app, url.QueryEscape(sig)), nil
}
