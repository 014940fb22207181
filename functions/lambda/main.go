// Command lambda is the program as a function of AWS Lambda: it turns the events of the platform into
// what package importer does, and the outcome into an answer or an error. One binary serves the S3
// trigger, the schedule and the function URL; which of them an event is, its shape tells.
//
// Build it with -tags lambda.norpc, and name it bootstrap, for the runtime provided.al2023:
// scripts/build does.
package main

import (
	"context"
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
	log := invocation.NewLog(os.Stderr)
	stdlog.Redirect(log)
	metrics := &metrics{w: os.Stdout}
	lambda.StartWithOptions(&handler{invocation.Handler{
		Getenv:   os.Getenv,
		Log:      log,
		Parse:    parse,
		Open:     func(bucket string) (blob.Bucket, error) { return s3blob.Open(os.Getenv, bucket, log) },
		Secret:   newSecrets(os.Getenv, log).get,
		Serve:    serveURL,
		OnRunEnd: metrics.run,
		OnPass:   metrics.pass,
		OnDenied: metrics.denied,
	}})
}

// A handler takes events from the platform.
type handler struct{ invocation.Handler }

// Invoke does what one event asks for. The platform shows the type of its error, and retries.
func (h *handler) Invoke(ctx context.Context, raw []byte) ([]byte, error) {
	id := ""
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		id = lc.AwsRequestID
	}
	return h.Do(ctx, id, raw)
}
