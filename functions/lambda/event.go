package main

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/functions/internal/invocation"
	"groupimport/pkg/scheduler"
)

// known names the shapes of events that this function knows.
const known = `: this function knows S3 notifications (also through EventBridge and SQS), requests of its function URL, ` +
	`and {"action":"resume"} and {"action":"retry"} of a schedule`

func eventError(format string, args ...any) error {
	return &invocation.EventError{Text: fmt.Sprintf(format, args...) + known}
}

// A record is one of S3 or SQS. Each is decoded by itself, as one may be strange and the others are not.
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

	Body string `json:"body"` // SQS
}

// A payload has the fields by which shapes are told apart and those that are needed of each. Events have
// many more, and their types vary: a field that is not needed is not decoded.
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

	Action string `json:"action"` // schedule
}

// lax: the platform's JSON is not ours to be strict with.
var lax = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// parse tells what an event asks for. Shapes: docs.aws.amazon.com/AmazonS3/latest/userguide
// notification-content-structure and ev-events, docs.aws.amazon.com/lambda/latest/dg with-s3, with-sqs
// and urls-invocation; the test data of aws-lambda-go has an example of each.
func parse(raw []byte) (invocation.Event, error) {
	var p payload
	if err := json.Unmarshal(raw, &p, lax); err != nil {
		return invocation.Event{}, eventError("the event cannot be read (%v)", err)
	}
	switch {
	case p.RequestContext.HTTP != nil && p.Kind == "":
		return invocation.Event{Request: raw}, nil
	case p.Action == "resume":
		return invocation.Event{Action: &scheduler.Action{Resume: true, Retry: true}}, nil
	case p.Action == "retry":
		return invocation.Event{Action: &scheduler.Action{Retry: true}}, nil
	case p.Action != "":
		return invocation.Event{}, eventError("unknown action %q", p.Action)
	case p.Event == "s3:TestEvent":
		return invocation.Event{}, nil
	case p.Source == "aws.s3":
		return p.eventBridge()
	case len(p.Records) > 0:
		return p.records()
	}
	return invocation.Event{}, eventError("the event has no shape that is known")
}

// records tells what a list of records asks for. A record that cannot be understood is skipped, so that it does not
// keep the others from being imported. If none can be understood, the error is that of the first.
func (p *payload) records() (invocation.Event, error) {
	var ev invocation.Event
	var first error
	unknown := 0
	for n, raw := range p.Records {
		e, err := parseRecord(raw)
		if err != nil {
			first = cmp.Or(first, err)
			unknown++
			why := strings.TrimSuffix(err.Error(), known)
			ev.Skipped = append(ev.Skipped, fmt.Sprintf("record %d of the event: %s", n+1, why))
			continue
		}
		ev.Objects = append(ev.Objects, e.Objects...)
		ev.Skipped = append(ev.Skipped, e.Skipped...)
	}
	if unknown == len(p.Records) {
		return invocation.Event{}, first
	}
	return ev, nil
}

// parseRecord tells what one record of S3 or SQS asks for.
func parseRecord(raw jsontext.Value) (invocation.Event, error) {
	var r record
	if err := json.Unmarshal(raw, &r, lax); err != nil {
		return invocation.Event{}, eventError("a record cannot be read (%v)", err)
	}
	switch r.EventSource {
	case "aws:s3":
		return r.object()
	case "aws:sqs":
	default:
		return invocation.Event{}, eventError("unknown source of records %q", r.EventSource)
	}
	e, err := parse([]byte(r.Body))
	if err == nil && (e.Action != nil || e.Request != nil) {
		err = eventError("a message in a queue holds what is no S3 notification")
	}
	return e, err
}

// object tells what a record of S3 asks for. eventName has no "s3:" in front as S3 sends it; some S3-compatible servers
// write one.
func (r *record) object() (invocation.Event, error) {
	if !strings.HasPrefix(strings.TrimPrefix(r.EventName, "s3:"), "ObjectCreated:") {
		return invocation.Event{}, nil
	}
	bucket, key := r.S3.Bucket.Name, r.S3.Object.Key
	if bucket == "" || key == "" {
		return invocation.Event{}, eventError("a record of S3 names no object")
	}
	return invocation.Event{Objects: []invocation.Object{{Bucket: bucket, Keys: escaped(key)}}}, nil
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
		return invocation.Event{}, eventError("the detail of the event cannot be read (%v)", err)
	}
	if d.Bucket.Name == "" || d.Object.Key == "" {
		return invocation.Event{}, eventError("the detail of the event names no object")
	}
	// Unlike the notifications, these hold the key as it is.
	keys := escaped(d.Object.Key)
	slices.Reverse(keys)
	return invocation.Event{Objects: []invocation.Object{{Bucket: d.Bucket.Name, Keys: keys}}}, nil
}

// escaped returns the keys that an escaped one may mean: S3 escapes those of its notifications as in the
// query of a URL, servers of its kind do not always.
func escaped(key string) []string {
	plain, err := url.QueryUnescape(key)
	if err != nil || plain == key {
		return []string{key}
	}
	return []string{plain, key}
}
