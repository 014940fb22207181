// Command floor sends the lines of an export as they are, with the standard library's client and 64 requests in
// flight: it decodes, checks, paces, judges and writes nothing. No program in Go that makes one request a
// record can need less; scripts/bench compares with it.
//
//	floor [-rate N] FILE   sends each line, N a second if that is given
//	floor -url             prints the address of import_group with a UserSig of an hour
//	floor -targets FILE    prints the lines as targets of vegeta, in its JSON format
//
// TIM_ENDPOINT, TIM_SDKAPPID and TIM_SECRET_KEY are those of the program.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	tls "github.com/tencentyun/tls-sig-api-v2-golang/tencentyun"
)

const inFlight = 64

func main() {
	justURL := flag.Bool("url", false, "print the address and send nothing")
	targets := flag.Bool("targets", false, "print targets for vegeta and send nothing")
	rate := flag.Int("rate", 0, "requests a second; 0 for as many as go through")
	flag.Parse()
	if err := run(flag.Arg(0), *rate, *justURL, *targets); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(file string, rate int, justURL, targets bool) error {
	address, err := address()
	if err != nil || justURL {
		fmt.Println(address)
		return err
	}
	text, err := os.ReadFile(file) //nolint:gosec // named by whoever runs it
	if err != nil {
		return err
	}
	bodies := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if targets {
		return printTargets(os.Stdout, address, bodies)
	}
	return send(address, bodies, rate)
}

// address returns that of import_group, signed.
func address() (string, error) {
	app, err := strconv.Atoi(os.Getenv("TIM_SDKAPPID"))
	if err != nil {
		return "", fmt.Errorf("TIM_SDKAPPID: %w", err)
	}
	sig, err := tls.GenUserSig(app, os.Getenv("TIM_SECRET_KEY"), "administrator", 3600)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s/v4/group_open_http_svc/import_group?sdkappid=%d&identifier=administrator&usersig=%s&random=1&contenttype=json",
		os.Getenv("TIM_ENDPOINT"), app, url.QueryEscape(sig)), nil
}

func printTargets(w io.Writer, address string, bodies [][]byte) error {
	out := bufio.NewWriter(w)
	for _, body := range bodies {
		err := json.MarshalWrite(out, struct {
			Method string      `json:"method"`
			URL    string      `json:"url"`
			Body   []byte      `json:"body"`
			Header http.Header `json:"header"`
		}{http.MethodPost, address, body, http.Header{"Content-Type": {"application/json"}}}, jsontext.EscapeForHTML(false))
		if err != nil {
			return err
		}
		if err := out.WriteByte('\n'); err != nil {
			return err
		}
	}
	return out.Flush()
}

// send returns the first error, after the rest was sent.
func send(address string, bodies [][]byte, rate int) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = inFlight, inFlight
	client := &http.Client{Transport: transport}
	turn := func() {}
	if rate > 0 {
		ticks := time.NewTicker(time.Second / time.Duration(rate))
		defer ticks.Stop()
		turn = func() { <-ticks.C }
	}
	var next atomic.Int64
	errs := make([]error, inFlight)
	var senders sync.WaitGroup
	for i := range inFlight {
		senders.Go(func() {
			for n := next.Add(1); n <= int64(len(bodies)); n = next.Add(1) {
				turn()
				errs[i] = cmp.Or(errs[i], sendOne(client, address, bodies[n-1]))
			}
		})
	}
	senders.Wait()
	return cmp.Or(errs...)
}

func sendOne(client *http.Client, address string, body []byte) error {
	resp, err := client.Post(address, "application/json", bytes.NewReader(body)) //nolint:noctx // as bare as it gets
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
