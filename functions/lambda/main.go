// Command lambda is the program as a function of AWS Lambda: it turns events of the platform into calls of package
// scheduler, and the results into responses or errors. One binary handles S3 notifications, the schedule and the
// function URL; it tells events apart by their format.
//
// Build it with -tags lambda.norpc and the name bootstrap for the runtime provided.al2023, as scripts/build does.
package main

import (
	"context"
	"log"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"groupimport/functions/internal/frugal"
	"groupimport/functions/internal/invocation"
	"groupimport/functions/internal/stdlog"
	"groupimport/pkg/blob"
	"groupimport/pkg/blob/s3blob"
)

func main() {
	frugal.Limit()
	logger := newLog(os.Stderr)
	stdlog.Redirect(logger)
	failures := &failureFilter{w: log.Writer()}
	log.SetOutput(failures)
	metrics := &metrics{w: os.Stdout}
	lambda.StartWithOptions(&handler{failures, invocation.Handler{
		Batch:    batchResponse,
		Scheme:   "s3",
		Getenv:   os.Getenv,
		Log:      logger,
		Parse:    parse,
		Open:     func(bucket string) (blob.Bucket, error) { return s3blob.Open(os.Getenv, bucket, logger) },
		Secret:   newSecrets(os.Getenv, logger).Get,
		Serve:    serveURL,
		Platform: platform(os.Getenv),
		OnRunEnd: metrics.run,
		OnPass:   metrics.pass,
		OnDenied: metrics.denied,
	}})
}

// A handler receives events from the platform.
type handler struct {
	failures *failureFilter
	invocation.Handler
}

// Invoke handles one event. The platform shows the type of the error, and retries.
func (h *handler) Invoke(ctx context.Context, raw []byte) ([]byte, error) {
	var id invocation.ID
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		id.Request = lc.AwsRequestID
	}
	// The library also sets _X_AMZN_TRACE_ID, but only if the process handles one event at a time.
	id.Trace, _ = ctx.Value("x-amzn-trace-id").(string)
	response, err := h.Do(ctx, id, raw)
	if err != nil {
		h.failures.logged.Add(1)
	}
	return response, err
}
