package main

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdaurl"
	"github.com/go-json-experiment/json"

	"groupimport/pkg/httpapi"
)

// serveURL serves a request of a function URL with h. The platform names the caller that it has authenticated (AuthType
// AWS_IAM). The error says that the event is not a request.
//
// Responses are whole and not streamed (InvokeMode BUFFERED): the same function answers events of S3 and the schedule.
func serveURL(ctx context.Context, h http.Handler, raw []byte) ([]byte, error) {
	var e events.LambdaFunctionURLRequest
	if err := json.Unmarshal(raw, &e, lax); err != nil {
		return nil, errors.New("the event is not a request of a function URL") // err would quote it
	}
	if a := e.RequestContext.Authorizer; a != nil && a.IAM != nil {
		ctx = httpapi.Authenticated(ctx, principal(a.IAM.UserARN))
	}
	streamed, err := lambdaurl.Wrap(h)(ctx, &e)
	if err != nil { // err would quote the path
		refuse := httpapi.BadRequest("the event's method or path is not valid")
		streamed, err = lambdaurl.Wrap(refuse)(ctx, &events.LambdaFunctionURLRequest{})
	}
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(streamed.Body)
	if err != nil {
		return nil, err
	}
	resp := events.LambdaFunctionURLResponse{
		StatusCode: streamed.StatusCode, Headers: streamed.Headers,
		Body: string(body),
	}
	if !utf8.Valid(body) {
		resp.Body, resp.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return json.Marshal(resp)
}

// principal returns the ARN of the user or role of a caller. Each process that assumes a role may have a session of its
// own (docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html, 2026-11), and repeats the requests of
// another:
//
//	arn:aws:sts::123456789012:assumed-role/app/session
func principal(arn string) string {
	if prefix, role, ok := strings.Cut(arn, ":assumed-role/"); ok {
		role, _, _ = strings.Cut(role, "/")
		return prefix + ":assumed-role/" + role
	}
	return arn
}
