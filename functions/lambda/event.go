package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"groupimport/functions/internal/invocation"
	"groupimport/pkg/importer"
)

// known names the shapes of events that this function knows.
const known = `: this function knows S3 notifications (also through EventBridge, SNS and SQS), requests of its function URL, ` +
	`and {"action":"resume"} and {"action":"retry"} of a schedule`

func eventError(format string, args ...any) error {
	return &invocation.EventError{Text: fmt.Sprintf(format, args...) + known}
}

// A payload has the fields by which shapes are told apart and those that are needed of each. Events have
// many more, and their types vary: a field that is not needed is not decoded.
type payload struct {
	Records []struct {
		EventSource string `json:"eventSource"` // S3 and SQS
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

		Source string                   `json:"EventSource"` // SNS
		SNS    struct{ Message string } `json:"Sns"`
	} `json:"Records"`

	Event string `json:"Event"` // s3:TestEvent, which S3 sends when a notification is set up

	Source     string         `json:"source"` // EventBridge
	DetailType string         `json:"detail-type"`
	Detail     jsontext.Value `json:"detail"`

	Type    string `json:"Type"` // SNS, in SQS
	Message string `json:"Message"`

	RequestContext struct {
		HTTP jsontext.Value `json:"http"` // function URL
	} `json:"requestContext"`
	Kind string `json:"type"` // of an authorizer of API Gateway, which has a requestContext too

	Action string `json:"action"` // schedule
}

// parse tells what an event asks for. Shapes: docs.aws.amazon.com/AmazonS3/latest/userguide
// notification-content-structure and ev-events, docs.aws.amazon.com/lambda/latest/dg with-s3, with-sqs,
// with-sns and urls-invocation; the test data of aws-lambda-go has an example of each.
func parse(raw []byte) (invocation.Event, error) {
	var p payload
	// What comes is not ours to be strict with.
	lax := json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err := json.Unmarshal(raw, &p, lax); err != nil {
		return invocation.Event{}, eventError("the event cannot be read (%v)", err)
	}
	switch {
	case p.RequestContext.HTTP != nil && p.Kind == "":
		return invocation.Event{Request: raw}, nil
	case p.Action == "resume":
		return invocation.Event{Action: &importer.Action{Resume: true}}, nil
	case p.Action == "retry":
		return invocation.Event{Action: &importer.Action{Retry: true}}, nil
	case p.Action != "":
		return invocation.Event{}, eventError("unknown action %q", p.Action)
	case p.Event == "s3:TestEvent":
		return invocation.Event{}, nil
	case p.Source == "aws.s3":
		return p.eventBridge()
	case p.Type == "Notification" && p.Message != "":
		return parse([]byte(p.Message))
	case len(p.Records) > 0:
		return p.records()
	}
	return invocation.Event{}, eventError("the event has no shape that is known")
}

// records tells what a list of records asks for. All are from one source.
func (p *payload) records() (invocation.Event, error) {
	var ev invocation.Event
	for _, r := range p.Records {
		var inner string
		switch {
		case r.EventSource == "aws:s3":
			// eventName has no "s3:" in front as S3 sends it; some servers of its kind write one.
			if !strings.HasPrefix(strings.TrimPrefix(r.EventName, "s3:"), "ObjectCreated:") {
				continue
			}
			ev.Objects = append(ev.Objects, invocation.Object{Bucket: r.S3.Bucket.Name, Keys: escaped(r.S3.Object.Key)})
			continue
		case r.EventSource == "aws:sqs":
			inner = r.Body
		case r.Source == "aws:sns":
			inner = r.SNS.Message
		default:
			return invocation.Event{}, eventError("unknown source of records %q", r.EventSource+r.Source)
		}
		e, err := parse([]byte(inner))
		if err != nil {
			return invocation.Event{}, err
		}
		if e.Action != nil || e.Request != nil {
			return invocation.Event{}, eventError("a message in a queue holds what is no S3 notification")
		}
		ev.Objects = append(ev.Objects, e.Objects...)
	}
	return ev, nil
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
	if err := json.Unmarshal(p.Detail, &d); err != nil {
		return invocation.Event{}, eventError("the detail of the event cannot be read (%v)", err)
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
