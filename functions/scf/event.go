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

// known ends the errors about events: it lists the kinds of events that this function handles.
const known = `: this function handles COS triggers, requests of its function URL, ` +
	`timers whose message is resume, retry or check, and {"action":"check"}`

// eventError never quotes an event: events of COS contain a signed header.
func eventError(format string, args ...any) error {
	return &invocation.EventError{Text: fmt.Sprintf(format, args...), Known: known}
}

// A payload has the fields that tell the kinds of events apart, and the fields that are needed of each.
type payload struct {
	Records []jsontext.Value `json:"Records"` // each a record

	Type    string         `json:"Type"` // Timer
	Message jsontext.Value `json:"Message"`

	Method string `json:"httpMethod"` // function URL, and API Gateway as it was

	Action string `json:"action"` // of an operator
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

// lax are the options for JSON of the platform, which this program does not validate.
var lax = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// parse returns the task of an event. Formats: cloud.tencent.com/document/product/583/9707 (COS), 583/9708 (timer),
// 583/96099 (function URL) and 583/12513 (API Gateway), as of 2024 and 2025.
func parse(raw []byte) (invocation.Event, error) {
	var p payload
	if json.Unmarshal(raw, &p, lax) != nil {
		return invocation.Event{}, eventError("cannot read the event")
	}
	switch {
	case p.Method != "":
		return invocation.Event{Request: raw}, nil
	case p.Type == "Timer":
		return timer(p.Message)
	case p.Action != "":
		return action(p.Action)
	case len(p.Records) == 0:
		return invocation.Event{}, eventError("unknown kind of event")
	}
	return objects(p.Records)
}

// objects returns the task of the records of a COS trigger. It skips a record that it cannot read. If it can read no
// record, it returns an error.
func objects(records []jsontext.Value) (invocation.Event, error) {
	var ev invocation.Event
	first := "" // problem
	for n, raw := range records {
		object, problem := created(raw)
		switch {
		case problem != "":
			first = cmp.Or(first, problem)
			reason := fmt.Sprintf("record %d of the event: %s", n+1, problem)
			ev.Skipped = append(ev.Skipped, invocation.Skipped{Reason: reason})
		case object.Bucket != "":
			ev.Objects = append(ev.Objects, object)
		}
	}
	if len(ev.Skipped) == len(records) {
		return invocation.Event{}, eventError("%s", first)
	}
	return ev, nil
}

// created returns the object that a record names, the zero Object if the record is not about a new object, or the
// problem of the record.
func created(raw jsontext.Value) (object invocation.Object, problem string) {
	var r record
	switch err := json.Unmarshal(raw, &r, lax); {
	case err != nil, r.COS == nil:
		return object, "not a record of COS"
	case !strings.HasPrefix(r.Event.Name, "cos:ObjectCreated:"):
		return object, ""
	}
	appID := strings.Trim(string(r.COS.Bucket.AppID), `"`)
	short := strings.TrimSuffix(r.COS.Bucket.Name, "-"+appID)
	all := keys(r.COS.Object.Key, appID, short)
	if short == "" || appID == "" || appID == "null" || all[0] == "" {
		return object, "the record has no bucket or key"
	}
	return invocation.Object{Bucket: short + "-" + appID, Keys: all, Raw: r.COS.Object.Key}, ""
}

// timer returns the task of a timer. Its message is a word, or JSON as on other platforms.
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
	return action(text)
}

// action returns the task that a word names.
func action(word string) (invocation.Event, error) {
	switch strings.TrimSpace(word) {
	case "resume":
		return invocation.Event{Action: &scheduler.Action{Resume: true, Retry: true}}, nil
	case "retry":
		return invocation.Event{Action: &scheduler.Action{Retry: true}}, nil
	case "check":
		return invocation.Event{Check: true}, nil
	}
	return invocation.Event{}, eventError("unknown message %q of a timer, or unknown action", word)
}

// keys returns the possible keys of an object, most likely first. The key in an event begins with the APPID and the
// bucket, once. Whether it is escaped is not documented: examples of the vendor use it as it is, others unescape it.
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
