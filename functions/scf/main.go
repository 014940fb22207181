// Command scf is the program as a function of Tencent Cloud SCF: it turns the events of the platform into
// what package importer does, and the outcome into an answer or an error. One binary serves the COS
// trigger, the timer and the function URL; which of them an event is, its shape tells.
//
// Build it as main, static and for linux/amd64, for the runtime Go1: scripts/build does.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tencentyun/scf-go-lib/cloudfunction"
	"github.com/tencentyun/scf-go-lib/functioncontext"

	"groupimport/functions/internal/frugal"
	"groupimport/functions/internal/invocation"
	"groupimport/functions/internal/stdlog"
	"groupimport/pkg/blob"
)

func main() {
	// Without it the library would listen somewhere and wait in silence.
	if os.Getenv("_LAMBDA_SERVER_PORT") == "" {
		fmt.Fprintln(os.Stderr, "scf: this is a function of Tencent Cloud SCF, and _LAMBDA_SERVER_PORT is missing; "+
			"go run ./scripts/scf runs it on this machine, go run ./functions/local works on a folder")
		os.Exit(2)
	}
	frugal.Limit()
	log := invocation.NewLog(os.Stdout)
	stdlog.Redirect(log)
	cloudfunction.StartHandler(&handler{invocation.Handler{
		Getenv: os.Getenv,
		Log:    log,
		Parse:  parse,
		Serve:  serveURL,
		Open:   func(bucket string) (blob.Bucket, error) { return open(os.Getenv, bucket, log) },
	}})
}

// A handler takes events from the platform, which gives one instance one at a time.
type handler struct{ invocation.Handler }

// Invoke does what one event asks for. The platform logs its error, and retries.
func (h *handler) Invoke(ctx context.Context, raw []byte) ([]byte, error) {
	id := ""
	if fc, ok := functioncontext.FromContext(ctx); ok {
		id = fc.RequestID
		// Whether the platform always sends the deadline is documented nowhere. Without it the library takes
		// 1970 for it, and ctx is done.
		if deadline, _ := ctx.Deadline(); deadline.Unix() <= 0 && fc.TimeLimitInMs > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), time.Duration(fc.TimeLimitInMs)*time.Millisecond)
			defer cancel()
		}
	}
	return h.Do(ctx, id, raw)
}
