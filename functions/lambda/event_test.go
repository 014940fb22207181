package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"groupimport/functions/internal/invocation"
	"groupimport/pkg/scheduler"
)

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
	s3 := func(key string) string {
		return `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},` +
			`"object":{"key":"` + key + `"}}}]}`
	}
	text := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range []struct {
		name, raw string
		want      invocation.Event
		wrong     string // the error has it
	}{
		{
			"a plain key", s3("exports/a.jsonl"),
			invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"exports/a.jsonl"}}}},
			"",
		},
		{
			"a key with a space and a plus", s3("a+b%2Bc.jsonl"),
			invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"a b+c.jsonl", "a+b%2Bc.jsonl"}}}},
			"",
		},
		{
			"a key in Chinese", s3("%E7%BE%A4.jsonl"),
			invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"群.jsonl", "%E7%BE%A4.jsonl"}}}},
			"",
		},
		{
			"a key that is not escaped, as no S3 sends it", s3("100%.jsonl"),
			invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"100%.jsonl"}}}},
			"",
		},
		{
			"several objects",
			`{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Copy","s3":{"bucket":{"name":"b"},` +
				`"object":{"key":"1.jsonl"}}},` +
				`{"eventSource":"aws:s3","eventName":"s3:ObjectCreated:CompleteMultipartUpload","s3":{"bucket":{"name":"b"},` +
				`"object":{"key":"2.jsonl"}}},` +
				`{"eventSource":"aws:s3","eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"b"},` +
				`"object":{"key":"3.jsonl"}}}]}`,
			invocation.Event{Objects: []invocation.Object{
				{Bucket: "b", Keys: []string{"1.jsonl"}},
				{Bucket: "b", Keys: []string{"2.jsonl"}},
			}},
			"",
		},
		{
			"the test event", `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2014-10-13T15:57:02.089Z","Bucket":"b"}`,
			invocation.Event{},
			"",
		},
		{
			"through EventBridge, where keys are not escaped",
			`{"version":"0","detail-type":"Object Created","source":"aws.s3","detail":{"bucket":{"name":"b"},` +
				`"object":{"key":"a+b.jsonl","size":5},"reason":"PutObject"}}`,
			invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"a+b.jsonl", "a b.jsonl"}}}},
			"",
		},
		{
			"another event of S3 through EventBridge", `{"detail-type":"Object Deleted","source":"aws.s3","detail":{}}`,
			invocation.Event{},
			"",
		},
		{
			"in SQS", `{"Records":[{"eventSource":"aws:sqs","messageId":"1","body":` + text(s3("x.jsonl")) +
				`},{"eventSource":"aws:sqs","messageId":"2","body":` + text(s3("y.jsonl")) + `}]}`,
			invocation.Event{IsBatch: true, Objects: []invocation.Object{
				{Bucket: "b", Keys: []string{"x.jsonl"}, Message: "1"}, {Bucket: "b", Keys: []string{"y.jsonl"}, Message: "2"},
			}},
			"",
		},
		{
			"the test event in SQS",
			`{"Records":[{"eventSource":"aws:sqs","messageId":"1","body":"{\"Event\":\"s3:TestEvent\"}"}]}`,
			invocation.Event{IsBatch: true},
			"",
		},
		{
			"through SNS", `{"Records":[{"EventSource":"aws:sns","Sns":{"Type":"Notification","Message":` + text(s3("x.jsonl")) +
				`}}]}`,
			invocation.Event{},
			"unknown source of records",
		},
		{"resume", `{"action":"resume"}`, invocation.Event{Action: &resume}, ""},
		{"retry", `{"action":"retry"}`, invocation.Event{Action: &retry}, ""},
		{"another action", `{"action":"remove"}`, invocation.Event{}, `unknown action "remove"`},
		{
			"invalid records beside a valid one",
			`{"Records":[5,{"eventSource":"aws:dynamodb"},{"eventSource":"aws:s3","eventName":"ObjectCreated:Put",` +
				`"s3":{"bucket":{"name":"b"},"object":{"key":{}}}},` +
				`{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"object":{"key":"x.jsonl"}}},` +
				s3("x.jsonl")[len(`{"Records":[`):],
			invocation.Event{
				Objects: []invocation.Object{{Bucket: "b", Keys: []string{"x.jsonl"}}},
				Skipped: []invocation.Skipped{
					{Reason: "record 1 of the event: cannot read the record"},
					{Reason: `record 2 of the event: unknown source of records "aws:dynamodb"`},
					{Reason: "record 3 of the event: cannot read the record"},
					{Reason: "record 4 of the event: the record of S3 has no bucket or key"},
				},
			},
			"",
		},
		{
			"a batch of SQS: invalid messages, and an invalid record beside a valid one",
			`{"Records":[{"eventSource":"aws:sqs","messageId":"m1","body":"hello"},` +
				`{"eventSource":"aws:sqs","messageId":"m2","body":` + text(`{"Records":[{},`+s3("x.jsonl")[len(`{"Records":[`):]) +
				`},` +
				`{"eventSource":"aws:sqs","messageId":"m3","body":` + text(s3("y.jsonl")) + `}]}`,
			invocation.Event{
				IsBatch: true,
				Objects: []invocation.Object{
					{Bucket: "b", Keys: []string{"x.jsonl"}, Message: "m2"}, {Bucket: "b", Keys: []string{"y.jsonl"}, Message: "m3"},
				},
				Skipped: []invocation.Skipped{
					{Reason: "record 1 of the event: cannot read the event", Message: "m1"},
					{Reason: `record 1 of the event: unknown source of records ""`, Message: "m2"},
				},
			},
			"",
		},
		{
			"an invalid record beside one about a removed object",
			`{"Records":[5,{"eventSource":"aws:s3","eventName":"ObjectRemoved:Delete"}]}`,
			invocation.Event{Skipped: []invocation.Skipped{{Reason: "record 1 of the event: cannot read the record"}}},
			"",
		},
		{
			"a key that is not UTF-8", s3("%FF%0A.jsonl"),
			invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"\xff\n.jsonl", "%FF%0A.jsonl"}}}},
			"",
		},
		{
			"bytes that are not UTF-8, and a name twice, through EventBridge",
			`{"detail-type":"Object Created","source":"aws.s3","detail":{"x":1,"x":2,"bucket":{"name":"b"},` +
				"\"object\":{\"key\":\"\xff.jsonl\"}}}",
			invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"\uFFFD.jsonl"}}}},
			"",
		},
		{
			"EventBridge without a key", `{"detail-type":"Object Created","source":"aws.s3","detail":{"bucket":{"name":"b"}}}`,
			invocation.Event{},
			"no bucket or key",
		},
		{
			"an action in SQS", `{"Records":[{"eventSource":"aws:sqs","body":"{\"action\":\"retry\"}"}]}`,
			invocation.Event{},
			"not an S3 notification",
		},
		{"a text in SQS", `{"Records":[{"eventSource":"aws:sqs","body":"hello"}]}`, invocation.Event{}, "cannot read"},
		{"a check", `{"action":"check"}`, invocation.Event{Check: true}, ""},
		{
			"a check in SQS", `{"Records":[{"eventSource":"aws:sqs","body":"{\"action\":\"check\"}"}]}`,
			invocation.Event{},
			"not an S3 notification",
		},
		{"nothing", `{}`, invocation.Event{}, "unknown kind of event"},
		{"not an object", `[1]`, invocation.Event{}, "cannot read"},
		{"null", `null`, invocation.Event{}, "unknown kind of event"},
		{"not JSON", `x`, invocation.Event{}, "cannot read"},
		{
			"records of another service", `{"Records":[{"eventSource":"aws:dynamodb"}]}`,
			invocation.Event{},
			`unknown source of records "aws:dynamodb"`,
		},
	} {
		got, err := parse([]byte(c.raw))
		got = withoutRaw(t, []byte(c.raw), got)
		if c.wrong == "" {
			for n, skipped := range got.Skipped { // the JSON package words the ends
				if n < len(c.want.Skipped) && strings.HasPrefix(skipped.Reason, c.want.Skipped[n].Reason) {
					got.Skipped[n].Reason = c.want.Skipped[n].Reason
				}
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, c.want)
			}
			continue
		}
		if _, ok := errors.AsType[*invocation.EventError](err); !ok || !strings.Contains(err.Error(), c.wrong) ||
			!strings.Contains(err.Error(), `{"action":"resume"}`) {
			t.Errorf("%s: got %v, want an EventError with %q that names the known shapes", c.name, err, c.wrong)
		}
	}
}

// The test data of aws-lambda-go has events that were captured from AWS.
func TestParse_CapturedEvents(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-lambda-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(string(bytes.TrimSpace(dir)), "events", "testdata", "*.json"))
	if err != nil || len(files) < 50 {
		t.Fatalf("got %d files, %v, want many", len(files), err)
	}
	object := func(key ...string) invocation.Event {
		return invocation.Event{Objects: []invocation.Object{{Bucket: "sourcebucket", Keys: key}}}
	}
	known := map[string]invocation.Event{
		"s3-event.json":              object("Happy Face.jpg", "Happy%20Face.jpg"),
		"s3-event-with-decoded.json": object("Happy Face.jpg", "Happy%20Face.jpg"),
	}
	nothing := map[string]bool{ // events of S3 that do not create an object
		"s3-glacier-event.json": true, "s3-intelligenttier-event.json": true, "s3-lifecycle-event.json": true,
		"s3-replication-event.json": true, "s3-restore-event.json": true,
	}
	for _, file := range files {
		name := filepath.Base(file)
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parse(raw)
		got = withoutRaw(t, raw, got)
		want, isS3 := known[name]
		switch {
		case isS3:
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
			}
		case strings.HasPrefix(name, "lambda-urls-request"), strings.HasPrefix(name, "apigw-v2-request"):
			if err != nil || got.Request == nil {
				t.Errorf("%s: got %+v, %v, want a request", name, got, err)
			}
		case nothing[name] && err == nil:
			if got.Objects != nil || got.Action != nil || got.Request != nil {
				t.Errorf("%s: got %+v, want nothing", name, got)
			}
		default:
			if _, ok := errors.AsType[*invocation.EventError](err); !ok {
				t.Errorf("%s: got %+v, %v, want an EventError", name, got, err)
			}
		}
	}
}

// FuzzParse: every event has a task or an EventError, every object has a bucket and a key, and reasons are texts.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"Records":[{"eventSource":"aws:sqs","messageId":"1","body":"{\"Records\":[]}"},{}]}`,
		`{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},` +
			`"object":{"key":"a+%E7%BE%A4.jsonl"}}}]}`,
		`{"detail-type":"Object Created","source":"aws.s3","detail":{"bucket":{"name":"b"},"object":{"key":"a+b.jsonl"}}}`,
		`{"Service":"Amazon S3","Event":"s3:TestEvent"}`,
		`{"requestContext":{"http":{"method":"GET"}},"rawPath":"/"}`,
		`{"action":"resume"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		ev, err := parse(raw)
		if _, ok := errors.AsType[*invocation.EventError](err); err != nil && !ok {
			t.Errorf("got %v, want an EventError or none", err)
		}
		if err != nil && !reflect.DeepEqual(ev, invocation.Event{}) {
			t.Errorf("got %+v with an error", ev)
		}
		for _, o := range ev.Objects {
			if o.Bucket == "" || len(o.Keys) == 0 || slices.Contains(o.Keys, "") {
				t.Errorf("got an object without a bucket or a key: %+v", ev)
			}
		}
		for _, s := range ev.Skipped {
			if s.Reason == "" {
				t.Errorf("got a record skipped without a reason: %+v", ev)
			}
		}
	})
}
