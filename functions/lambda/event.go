package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/functions/internal/invocation"
	"groupimport/pkg/scheduler"
)

// known ends the errors about events: it lists the kinds of events that this function handles.
const known = `: this function handles S3 notifications (also through EventBridge and SQS), requests of its function ` +
	`URL, {"action":"resume"} and {"action":"retry"} of a schedule, and {"action":"check"}`

func eventError(format string, args ...any) error {
	return &invocation.EventError{Text: fmt.Sprintf(format, args...), Known: known}
}

// A record is one of S3 or SQS. Each is decoded by itself: one that cannot be read does not affect the others.
type record struct {
	EventSource string `json:"eventSource"`
	EventName   string `json:"eventName"`
	S3          struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key string `json:"key"`
		} `json:"object"`
	} `json:"s3"`

	MessageID string `json:"messageId"` // SQS
	Body      string `json:"body"`      // SQS
}

// A payload has the fields that tell the kinds of events apart, and the fields that are needed of each. Events have
// many more, of types that vary: a field that is not needed is not decoded.
type payload struct {
	Records []jsontext.Value `json:"Records"` // each a record

	Event string `json:"Event"` // s3:TestEvent, which S3 sends when a notification is set up

	Source     string         `json:"source"` // EventBridge
	DetailType string         `json:"detail-type"`
	Detail     jsontext.Value `json:"detail"`

	RequestContext struct {
		HTTP jsontext.Value `json:"http"` // function URL
	} `json:"requestContext"`
	Kind string `json:"type"` // of an authorizer of API Gateway, which has a requestContext too

	Action string `json:"action"` // of the schedule, or of an operator
}

// lax are the options for JSON of the platform, which this program does not validate.
var lax = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// parse returns the task of an event. Formats: docs.aws.amazon.com/AmazonS3/latest/userguide
// notification-content-structure and ev-events, docs.aws.amazon.com/lambda/latest/dg with-s3, with-sqs and
// urls-invocation. The test data of aws-lambda-go has an example of each.
func parse(raw []byte) (invocation.Event, error) {
	var p payload
	if err := json.Unmarshal(raw, &p, lax); err != nil {
		return invocation.Event{}, eventError("cannot read the event (%v)", err)
	}
	switch {
	case p.RequestContext.HTTP != nil && p.Kind == "":
		return invocation.Event{Request: raw}, nil
	case p.Action == "resume":
		return invocation.Event{Action: &scheduler.Action{Resume: true, Retry: true}}, nil
	case p.Action == "retry":
		return invocation.Event{Action: &scheduler.Action{Retry: true}}, nil
	case p.Action == "check":
		return invocation.Event{Check: true}, nil
	case p.Action != "":
		return invocation.Event{}, eventError("unknown action %q", p.Action)
	case p.Event == "s3:TestEvent":
		return invocation.Event{}, nil
	case p.Source == "aws.s3":
		return p.eventBridge()
	case len(p.Records) > 0:
		return p.records()
	}
	return invocation.Event{}, eventError("unknown kind of event")
}

// records returns the task of a list of records. It skips a record that it cannot read. If it can read no record, it
// returns the error of the first.
func (p *payload) records() (invocation.Event, error) {
	var ev invocation.Event
	var first error
	unreadable := 0
	for n, raw := range p.Records {
		var r record
		e, err := r.parse(raw)
		ev.IsBatch = ev.IsBatch || r.EventSource == sqs
		if err != nil {
			first = cmp.Or(first, err)
			unreadable++
			text := err.Error()
			if e, ok := errors.AsType[*invocation.EventError](err); ok {
				text = e.Text
			}
			reason := fmt.Sprintf("record %d of the event: %s", n+1, text)
			ev.Skipped = append(ev.Skipped, invocation.Skipped{Reason: reason, Message: r.MessageID})
			continue
		}
		for _, o := range e.Objects {
			o.Message = r.MessageID
			ev.Objects = append(ev.Objects, o)
		}
		for _, s := range e.Skipped {
			s.Message = r.MessageID
			ev.Skipped = append(ev.Skipped, s)
		}
	}
	if unreadable == len(p.Records) {
		return invocation.Event{}, first
	}
	return ev, nil
}

const sqs = "aws:sqs" // source of a record

// parse decodes a record of S3 or SQS and returns its task.
func (r *record) parse(raw jsontext.Value) (invocation.Event, error) {
	if err := json.Unmarshal(raw, r, lax); err != nil {
		return invocation.Event{}, eventError("cannot read the record (%v)", err)
	}
	switch r.EventSource {
	case "aws:s3":
		return r.object()
	case sqs:
	default:
		return invocation.Event{}, eventError("unknown source of records %q", r.EventSource)
	}
	ev, err := parse([]byte(r.Body))
	if err == nil && (ev.Action != nil || ev.Request != nil || ev.Check) {
		err = eventError("the message is not an S3 notification")
	}
	return ev, err
}

// object returns the task of a record of S3. S3 sends an eventName without the prefix "s3:", some S3-compatible servers
// with the prefix.
func (r *record) object() (invocation.Event, error) {
	if !strings.HasPrefix(strings.TrimPrefix(r.EventName, "s3:"), "ObjectCreated:") {
		return invocation.Event{}, nil
	}
	bucket, key := r.S3.Bucket.Name, r.S3.Object.Key
	if bucket == "" || key == "" {
		return invocation.Event{}, eventError("the record of S3 has no bucket or key")
	}
	return invocation.Event{Objects: []invocation.Object{{Bucket: bucket, Keys: unescaped(key), Raw: key}}}, nil
}

func (p *payload) eventBridge() (invocation.Event, error) {
	if p.DetailType != "Object Created" {
		return invocation.Event{}, nil
	}
	var d struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key string `json:"key"`
		} `json:"object"`
	}
	if err := json.Unmarshal(p.Detail, &d, lax); err != nil {
		return invocation.Event{}, eventError("cannot read the detail of the event (%v)", err)
	}
	if d.Bucket.Name == "" || d.Object.Key == "" {
		return invocation.Event{}, eventError("the detail of the event has no bucket or key")
	}
	// EventBridge does not escape keys.
	keys := unescaped(d.Object.Key)
	slices.Reverse(keys)
	return invocation.Event{Objects: []invocation.Object{{Bucket: d.Bucket.Name, Keys: keys, Raw: d.Object.Key}}}, nil
}

// unescaped returns the possible keys of an object, most likely first. S3 escapes keys in notifications as in the query
// of a URL; compatible servers do not always.
func unescaped(key string) []string {
	plain, err := url.QueryUnescape(key)
	if err != nil || plain == key {
		return []string{key}
	}
	return []string{plain, key}
}

// batchResponse is the response to a batch of SQS:
// docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html. The event source mapping must have
// FunctionResponseTypes: [ReportBatchItemFailures]. Without it Lambda ignores the response and deletes all messages;
// the schedule then finds the exports.
func batchResponse(failed []string) any {
	type failure struct {
		ID string `json:"itemIdentifier"`
	}
	response := struct {
		Failures []failure `json:"batchItemFailures"`
	}{Failures: []failure{}}
	for _, id := range failed {
		response.Failures = append(response.Failures, failure{id})
	}
	return response
}
