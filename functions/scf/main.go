// Command scf is the program as a function of Tencent Cloud SCF: it turns events of the platform into calls of package
// scheduler, and the results into responses or errors. One binary handles COS triggers, the timers and the function
// URL; it tells events apart by their format.
//
// Build it as main, static and for linux/amd64, for the runtime Go1, as scripts/build does.
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
	// Without the variable the library would listen on a random port and wait without a message.
	if os.Getenv("_LAMBDA_SERVER_PORT") == "" {
		fmt.Fprintln(os.Stderr, "scf: _LAMBDA_SERVER_PORT is missing: this program is a function of Tencent Cloud SCF; "+
			"go run ./scripts/scf DIR runs it locally, and groupimport works on a folder")
		os.Exit(2)
	}
	frugal.Limit()
	log := invocation.NewLog(os.Stdout, "time")
	stdlog.Redirect(log)
	cloudfunction.StartHandler(&handler{invocation.Handler{
		Getenv:       environment(os.Getenv),
		Log:          log,
		Parse:        parse,
		Serve:        serveURL,
		Secret:       newSecrets(&secrets{getenv: os.Getenv}, log).Get,
		HidesCallers: true,
		Platform:     platform(os.Getenv),
		Scheme:       "cos",
		Open:         func(bucket string) (blob.Bucket, error) { return open(os.Getenv, bucket, log) },
	}})
}

// environment returns getenv, except that HTTP_AUTH may also have a word of the function URL's authType, so that one
// parameter sets both: NONE means token. CAM means platform-unverified, since requests do not show that the platform
// has authenticated the caller.
func environment(getenv func(string) string) func(string) string {
	return func(name string) string {
		value := getenv(name)
		if name != "HTTP_AUTH" {
			return value
		}
		switch value {
		case "NONE":
			return "token"
		case "CAM":
			return "platform-unverified"
		}
		return value
	}
}

// A handler receives events from the platform, which sends an instance one at a time.
type handler struct{ invocation.Handler }

// Invoke handles one event. The platform logs the error, and retries.
func (h *handler) Invoke(ctx context.Context, raw []byte) ([]byte, error) {
	var id invocation.ID
	if fc, ok := functioncontext.FromContext(ctx); ok {
		id.Request = fc.RequestID
		// Whether the platform always sends the deadline is not documented. Without one the library assumes 1970, and
		// ctx has ended.
		if deadline, _ := ctx.Deadline(); deadline.Unix() <= 0 && fc.TimeLimitInMs > 0 {
			var cancel context.CancelFunc
			limit := time.Duration(fc.TimeLimitInMs) * time.Millisecond
			ctx, cancel = context.WithTimeout(context.WithValue(context.WithoutCancel(ctx), noDeadlineKey{}, true), limit)
			defer cancel()
		}
	}
	return h.Do(ctx, id, raw)
}
