package main

import (
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
const known = `: this function knows COS triggers, requests of its function URL, and timers whose message is resume or retry`

// eventError never quotes an event: those of COS carry a signed header.
func eventError(format string, args ...any) error {
	return &invocation.EventError{Text: fmt.Sprintf(format, args...) + known}
}

// A payload has the fields by which shapes are told apart and those that are needed of each.
type payload struct {
	Records []jsontext.Value `json:"Records"` // each a record

	Type    string         `json:"Type"` // Timer
	Message jsontext.Value `json:"Message"`

	Method string `json:"httpMethod"` // function URL, and API Gateway as it was
}

// A record is one object of a COS trigger.
type record struct {
	COS *struct {
		Object struct {
			Key string `json:"key"`
		} `json:"cosObject"`
		Bucket struct {
			Name  string         `json:"name"`
			AppID jsontext.Value `json:"appid"` // a string or a number
		} `json:"cosBucket"`
	} `json:"cos"`
	Event struct {
		Name string `json:"eventName"`
	} `json:"event"`
}

// lax reads what comes, which is not ours to be strict with.
var lax = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// parse tells what an event asks for. Shapes: cloud.tencent.com/document/product/583/9707 (COS), 583/9708
// (timer), 583/96099 (function URL) and 583/12513 (API Gateway), as of 2024 and 2025.
func parse(raw []byte) (invocation.Event, error) {
	var p payload
	if json.Unmarshal(raw, &p, lax) != nil {
		return invocation.Event{}, eventError("the event cannot be read")
	}
	switch {
	case p.Method != "":
		return invocation.Event{Request: raw}, nil
	case p.Type == "Timer":
		return timer(p.Message)
	case len(p.Records) == 0:
		return invocation.Event{}, eventError("the event has no shape that is known")
	}
	return objects(p.Records)
}

// objects tells which objects the records of a COS trigger name. A record that cannot be read does not keep the
// others from being imported; an event of such records alone is an error.
func objects(records []jsontext.Value) (invocation.Event, error) {
	var ev invocation.Event
	for _, raw := range records {
		object, wrong := created(raw)
		switch {
		case wrong != "":
			ev.Skipped = append(ev.Skipped, wrong)
		case object.Bucket != "":
			ev.Objects = append(ev.Objects, object)
		}
	}
	if len(ev.Skipped) == len(records) {
		return invocation.Event{}, eventError("%s", ev.Skipped[0])
	}
	return ev, nil
}

// created returns the object that a record tells of, none if it was not created, or what is wrong with the record.
func created(raw jsontext.Value) (object invocation.Object, wrong string) {
	var r record
	switch err := json.Unmarshal(raw, &r, lax); {
	case err != nil, r.COS == nil:
		return object, "a record of the event is none of COS"
	case !strings.HasPrefix(r.Event.Name, "cos:ObjectCreated:"):
		return object, ""
	}
	appID := strings.Trim(string(r.COS.Bucket.AppID), `"`)
	short := strings.TrimSuffix(r.COS.Bucket.Name, "-"+appID)
	if short == "" || appID == "" || appID == "null" || r.COS.Object.Key == "" {
		return object, "a record of the event does not name its bucket and key"
	}
	return invocation.Object{Bucket: short + "-" + appID, Keys: keys(r.COS.Object.Key, appID, short)}, ""
}

// timer tells what a timer asks for by its message, which is a word, or as on other platforms JSON.
func timer(message jsontext.Value) (invocation.Event, error) {
	var text string
	var object struct {
		Action string `json:"action"`
	}
	if json.Unmarshal(message, &text) != nil {
		text = string(message)
	}
	if json.Unmarshal([]byte(text), &object) == nil {
		text = object.Action
	}
	switch strings.TrimSpace(text) {
	case "resume":
		return invocation.Event{Action: &scheduler.Action{Resume: true, Retry: true}}, nil
	case "retry":
		return invocation.Event{Action: &scheduler.Action{Retry: true}}, nil
	}
	return invocation.Event{}, eventError("unknown message of a timer, %q", text)
}

// keys returns the keys that the key of an event may mean. It begins with the APPID and the bucket, once.
// Whether it is escaped is documented nowhere: vendor's examples take it as it is, others unescape it.
func keys(key, appID, bucket string) []string {
	for _, name := range []string{bucket, bucket + "-" + appID} {
		if rest, ok := strings.CutPrefix(key, "/"+appID+"/"+name+"/"); ok {
			key = rest
			break
		}
	}
	all := []string{strings.TrimPrefix(key, "/")}
	for _, unescape := range []func(string) (string, error){url.PathUnescape, url.QueryUnescape} {
		if plain, err := unescape(all[0]); err == nil && !slices.Contains(all, plain) {
			all = append(all, plain)
		}
	}
	return all
}
