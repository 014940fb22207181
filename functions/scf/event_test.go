package main

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"groupimport/functions/internal/invocation"
	"groupimport/pkg/scheduler"
)

// cosEvent is an event as the documents and captured events show it, with a header that must not be in a log. COS
// misspells the value of cosNotificationId. The value is in two parts here so that spell checkers do not correct it.
func cosEvent(key string) []byte {
	return []byte(`{"Records":[{"cos":{"cosSchemaVersion":"1.0",` +
		`"cosObject":{"url":"http://groups-1250000000.cos.ap-guangzhou.myqcloud.com/x",` +
		`"meta":{"x-cos-request-id":"NWMx","Content-Type":""},"vid":"","key":"` + key + `","size":1029},` +
		`"cosBucket":{"region":"gz","name":"groups","appid":"1250000000"},"cosNotificationId":"unk` + `own"},` +
		`"event":{"eventName":"cos:ObjectCreated:Put","eventVersion":"1.0","eventTime":1545205770,"eventSource":"qcs::cos",` +
		`"requestParameters":{"requestSourceIP":"10.0.0.1","requestHeaders":{"Authorization":"q-sign-algorithm=sha1&q-ak=` +
		headerSecret + `"}},` +
		`"eventQueue":"qcs:0:scf:gz:appid/1250000000:default.import.$LATEST","reservedInfo":"","reqid":179398952}}]}`)
}

const headerSecret = "the-header-that-nobody-may-see"

// withoutRaw returns the event without the raw keys of its objects. It checks that each raw key is in the text of the
// event.
func withoutRaw(t *testing.T, raw []byte, ev invocation.Event) invocation.Event {
	t.Helper()
	ev.Objects = slices.Clone(ev.Objects)
	for n, o := range ev.Objects {
		if o.Raw == "" || utf8.Valid(raw) && !bytes.Contains(raw, []byte(o.Raw)) {
			t.Errorf("got the raw key %q of the event %s", o.Raw, raw)
		}
		ev.Objects[n].Raw = ""
	}
	return ev
}

func TestParse_KindsOfEvents(t *testing.T) {
	resume, retry := scheduler.Action{Resume: true, Retry: true}, scheduler.Action{Retry: true}
	object := func(keys ...string) invocation.Event {
		return invocation.Event{Objects: []invocation.Object{{Bucket: "groups-1250000000", Keys: keys}}}
	}
	skipping := func(ev invocation.Event, records ...int) invocation.Event {
		for _, n := range records {
			reason := fmt.Sprintf("record %d of the event: not a record of COS", n)
			ev.Skipped = append(ev.Skipped, invocation.Skipped{Reason: reason})
		}
		return ev
	}
	record := func(bucket, appID, key, name string) string {
		return `{"cos":{"cosObject":{"key":"` + key + `"},"cosBucket":{"name":"` + bucket + `","appid":` + appID +
			`}},"event":{"eventName":"` + name + `"}}`
	}
	for _, c := range []struct {
		name, raw string
		want      invocation.Event
		wrong     string // the error has it
	}{
		{"a plain key", string(cosEvent("/1250000000/groups/exports/a.jsonl")), object("exports/a.jsonl"), ""},
		{
			"the prefix is stripped once", string(cosEvent("/1250000000/groups/1250000000/groups/a.jsonl")),
			object("1250000000/groups/a.jsonl"), "",
		},
		{
			"a key that may be escaped", string(cosEvent("/1250000000/groups/a%20b+c.jsonl")),
			object("a%20b+c.jsonl", "a b+c.jsonl", "a b c.jsonl"), "",
		},
		{"a key in Chinese", string(cosEvent("/1250000000/groups/群组.jsonl")), object("群组.jsonl"), ""},
		{
			"the same, escaped", string(cosEvent("/1250000000/groups/%E7%BE%A4.jsonl")),
			object("%E7%BE%A4.jsonl", "群.jsonl"), "",
		},
		{"a percent sign that escapes nothing", string(cosEvent("/1250000000/groups/100%.jsonl")), object("100%.jsonl"), ""},
		{
			"a bucket with its APPID",
			`{"Records":[` +
				record("groups-1250000000", `"1250000000"`, "/1250000000/groups-1250000000/a.jsonl", "cos:ObjectCreated:Post") +
				`]}`,
			object("a.jsonl"), "",
		},
		{
			"an APPID that is a number",
			`{"Records":[` +
				record("groups", "1250000000", "/1250000000/groups/a.jsonl", "cos:ObjectCreated:CompleteMultipartUpload") + `]}`,
			object("a.jsonl"), "",
		},
		{
			"several, one of them removed",
			`{"Records":[` + record("groups", `"1250000000"`, "/1250000000/groups/a.jsonl", "cos:ObjectCreated:*") + `,` +
				record("groups", `"1250000000"`, "/1250000000/groups/b.jsonl", "cos:ObjectRemove:Delete") + `]}`,
			object("a.jsonl"), "",
		},
		{
			"a timer", `{"Type":"Timer","TriggerName":"resume","Time":"2019-02-21T11:49:00Z","Message":"resume"}`,
			invocation.Event{Action: &resume},
			"",
		},
		{
			"a timer with JSON",
			`{"Type":"Timer","TriggerName":"retry","Time":"2019-02-21T11:49:00Z","Message":"{\"action\":\"retry\"}"}`,
			invocation.Event{Action: &retry},
			"",
		},
		{
			"a timer with another message", `{"Type":"Timer","Message":"user define msg body"}`,
			invocation.Event{},
			`"user define msg body"`,
		},
		{"a timer without one", `{"Type":"Timer"}`, invocation.Event{}, "unknown message"},
		{"a record that is not of COS", `{"Records":[{"CMQ":{}}]}`, invocation.Event{}, "not a record of COS"},
		{
			"a record without a bucket",
			`{"Records":[{"cos":{"cosObject":{"key":"x"}},"event":{"eventName":"cos:ObjectCreated:Put"}}]}`,
			invocation.Event{},
			"no bucket or key",
		},
		{
			"a record without a key", `{"Records":[` + record("groups", `"1250000000"`, "", "cos:ObjectCreated:Put") + `]}`,
			invocation.Event{},
			"no bucket or key",
		},
		{
			"invalid records among valid ones", `{"Records":[5,{"CMQ":{}},{"cos":7},` +
				record("groups", `"1250000000"`, "/1250000000/groups/a.jsonl", "cos:ObjectCreated:Put") + `]}`,
			skipping(object("a.jsonl"), 1, 2, 3), "",
		},
		{"invalid records alone", `{"Records":[5,{"cos":"x"}]}`, invocation.Event{}, "not a record of COS"},
		{"nothing", `{}`, invocation.Event{}, "unknown kind of event"},
		{"null", `null`, invocation.Event{}, "unknown kind of event"},
		{"not JSON", `x`, invocation.Event{}, "cannot read"},
	} {
		got, err := parse([]byte(c.raw))
		got = withoutRaw(t, []byte(c.raw), got)
		if c.wrong == "" {
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, c.want)
			}
			continue
		}
		if _, ok := errors.AsType[*invocation.EventError](err); !ok || !strings.Contains(err.Error(), c.wrong) ||
			!strings.Contains(err.Error(), "timers whose message") {
			t.Errorf("%s: got %v, want an EventError with %q that names the known shapes", c.name, err, c.wrong)
		}
	}
}

func TestParse_Requests(t *testing.T) {
	for _, raw := range []string{
		`{"body":"","headers":{"x-scf-remote-addr":"10.0.0.1"},"httpMethod":"GET","path":"/healthz","queryString":{}}`,
		`{"requestContext":{"serviceId":"service-f94sy04v","path":"/test/{path}","httpMethod":"POST"},"headers":{},` +
			`"body":"{}","httpMethod":"POST","path":"/groups","queryString":{},"isBase64Encoded":false}`,
	} {
		if ev, err := parse([]byte(raw)); err != nil || string(ev.Request) != raw {
			t.Errorf("got %+v, %v, want the request unchanged", ev, err)
		}
	}
}

// FuzzParse: every event has a task or an EventError, every object has a bucket and a key, and no error quotes an
// event.
func FuzzParse(f *testing.F) {
	f.Add(cosEvent("/1250000000/groups/a%20b.jsonl"))
	for _, seed := range []string{
		`{"Records":[5,{"cos":{"cosObject":{"key":"/1/b/x"},"cosBucket":{"name":"b","appid":1}},` +
			`"event":{"eventName":"cos:ObjectCreated:Post"}}]}`,
		`{"Records":[{"cos":{"cosObject":{"key":"/"},"cosBucket":{"name":"b","appid":"1"}},` +
			`"event":{"eventName":"cos:ObjectCreated:Put"}}]}`,
		`{"Type":"Timer","Message":"\"resume\""}`,
		`{"Type":"Timer","Message":"{\"action\":\"retry\"}"}`,
		`{"httpMethod":"GET","path":"/","headers":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		ev, err := parse(raw)
		if _, ok := errors.AsType[*invocation.EventError](err); err != nil && !ok {
			t.Errorf("got %v, want an EventError or none", err)
		}
		if err != nil && strings.Contains(err.Error(), headerSecret) && !strings.Contains(err.Error(), "of a timer") {
			t.Errorf("got %v, want no quote of the event", err)
		}
		for _, o := range ev.Objects {
			if o.Bucket == "" || len(o.Keys) == 0 || slices.Contains(o.Keys, "") {
				t.Errorf("got an object without a bucket or a key: %+v", ev)
			}
		}
	})
}
