package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"groupimport/functions/internal/invocation"
	"groupimport/pkg/scheduler"
)

func TestEventsAreToldApartByTheirShape(t *testing.T) {
	resume, retry := scheduler.Action{Resume: true, Retry: true}, scheduler.Action{Retry: true}
	s3 := func(key string) string {
		return `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"` + key + `"}}}]}`
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
		{"a plain key", s3("exports/a.jsonl"), invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"exports/a.jsonl"}}}}, ""},
		{"a key with a space and a plus", s3("a+b%2Bc.jsonl"), invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"a b+c.jsonl", "a+b%2Bc.jsonl"}}}}, ""},
		{"a key in Chinese", s3("%E7%BE%A4.jsonl"), invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"群.jsonl", "%E7%BE%A4.jsonl"}}}}, ""},
		{"a key that is not escaped, as no S3 sends it", s3("100%.jsonl"), invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"100%.jsonl"}}}}, ""},
		{
			"several objects",
			`{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Copy","s3":{"bucket":{"name":"b"},"object":{"key":"1.jsonl"}}},` +
				`{"eventSource":"aws:s3","eventName":"s3:ObjectCreated:CompleteMultipartUpload","s3":{"bucket":{"name":"b"},"object":{"key":"2.jsonl"}}},` +
				`{"eventSource":"aws:s3","eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"b"},"object":{"key":"3.jsonl"}}}]}`,
			invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"1.jsonl"}}, {Bucket: "b", Keys: []string{"2.jsonl"}}}},
			"",
		},
		{"the test event", `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2014-10-13T15:57:02.089Z","Bucket":"b"}`, invocation.Event{}, ""},
		{
			"through EventBridge, where keys are not escaped",
			`{"version":"0","detail-type":"Object Created","source":"aws.s3","detail":{"bucket":{"name":"b"},"object":{"key":"a+b.jsonl","size":5},"reason":"PutObject"}}`,
			invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"a+b.jsonl", "a b.jsonl"}}}},
			"",
		},
		{"another event of S3 through EventBridge", `{"detail-type":"Object Deleted","source":"aws.s3","detail":{}}`, invocation.Event{}, ""},
		{
			"in SQS", `{"Records":[{"eventSource":"aws:sqs","messageId":"1","body":` + text(s3("x.jsonl")) + `},{"eventSource":"aws:sqs","body":` + text(s3("y.jsonl")) + `}]}`,
			invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"x.jsonl"}}, {Bucket: "b", Keys: []string{"y.jsonl"}}}},
			"",
		},
		{"the test event in SQS", `{"Records":[{"eventSource":"aws:sqs","body":"{\"Event\":\"s3:TestEvent\"}"}]}`, invocation.Event{}, ""},
		{
			"through SNS", `{"Records":[{"EventSource":"aws:sns","Sns":{"Type":"Notification","Message":` + text(s3("x.jsonl")) + `}}]}`,
			invocation.Event{},
			"unknown source of records",
		},
		{"resume", `{"action":"resume"}`, invocation.Event{Action: &resume}, ""},
		{"retry", `{"action":"retry"}`, invocation.Event{Action: &retry}, ""},
		{"another action", `{"action":"remove"}`, invocation.Event{}, `unknown action "remove"`},
		{
			"strange records beside a good one",
			`{"Records":[5,{"eventSource":"aws:dynamodb"},{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":{}}}},` +
				`{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"object":{"key":"x.jsonl"}}},{"eventSource":"aws:sqs","body":"hello"},` +
				s3("x.jsonl")[len(`{"Records":[`):],
			invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"x.jsonl"}}}, Skipped: []string{
				"record 1 of the event: a record cannot be read", `record 2 of the event: unknown source of records "aws:dynamodb"`,
				"record 3 of the event: a record cannot be read", "record 4 of the event: a record of S3 names no object",
				"record 5 of the event: the event cannot be read",
			}},
			"",
		},
		{
			"a strange record in a message of SQS, beside a good one",
			`{"Records":[{"eventSource":"aws:sqs","body":` + text(`{"Records":[{},`+s3("x.jsonl")[len(`{"Records":[`):]) + `}]}`,
			invocation.Event{
				Objects: []invocation.Object{{Bucket: "b", Keys: []string{"x.jsonl"}}}, Skipped: []string{`record 1 of the event: unknown source of records ""`},
			},
			"",
		},
		{
			"a strange record beside one of what was removed",
			`{"Records":[5,{"eventSource":"aws:s3","eventName":"ObjectRemoved:Delete"}]}`,
			invocation.Event{Skipped: []string{"record 1 of the event: a record cannot be read"}},
			"",
		},
		{"a key that is not UTF-8", s3("%FF%0A.jsonl"), invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"\xff\n.jsonl", "%FF%0A.jsonl"}}}}, ""},
		{
			"bytes that are not UTF-8, and a name twice, through EventBridge",
			"{\"detail-type\":\"Object Created\",\"source\":\"aws.s3\",\"detail\":{\"x\":1,\"x\":2,\"bucket\":{\"name\":\"b\"},\"object\":{\"key\":\"\xff.jsonl\"}}}",
			invocation.Event{Objects: []invocation.Object{{Bucket: "b", Keys: []string{"\uFFFD.jsonl"}}}},
			"",
		},
		{"EventBridge without a key", `{"detail-type":"Object Created","source":"aws.s3","detail":{"bucket":{"name":"b"}}}`, invocation.Event{}, "names no object"},
		{"an action in SQS", `{"Records":[{"eventSource":"aws:sqs","body":"{\"action\":\"retry\"}"}]}`, invocation.Event{}, "no S3 notification"},
		{"a text in SQS", `{"Records":[{"eventSource":"aws:sqs","body":"hello"}]}`, invocation.Event{}, "cannot be read"},
		{"nothing", `{}`, invocation.Event{}, "no shape that is known"},
		{"not an object", `[1]`, invocation.Event{}, "cannot be read"},
		{"null", `null`, invocation.Event{}, "no shape that is known"},
		{"not JSON", `x`, invocation.Event{}, "cannot be read"},
		{"records of another service", `{"Records":[{"eventSource":"aws:dynamodb"}]}`, invocation.Event{}, `unknown source of records "aws:dynamodb"`},
	} {
		got, err := parse([]byte(c.raw))
		if c.wrong == "" {
			for n, reason := range got.Skipped { // their ends are words of the JSON package
				if n < len(c.want.Skipped) && strings.HasPrefix(reason, c.want.Skipped[n]) {
					got.Skipped[n] = c.want.Skipped[n]
				}
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, c.want)
			}
			continue
		}
		if _, ok := errors.AsType[*invocation.EventError](err); !ok || !strings.Contains(err.Error(), c.wrong) || !strings.Contains(err.Error(), `{"action":"resume"}`) {
			t.Errorf("%s: got %v, want an EventError with %q that names the known shapes", c.name, err, c.wrong)
		}
	}
}

// The test data of aws-lambda-go holds events that were captured from AWS.
func TestCapturedEvents(t *testing.T) {
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
	nothing := map[string]bool{ // S3's, about what is not created
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

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"Records":[{"eventSource":"aws:sqs","body":"{\"Records\":[]}"}]}`))
	f.Add([]byte(`{"Type":"Notification","Message":"{\"Type\":\"Notification\",\"Message\":\"{}\"}"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ev, err := parse(raw)
		if _, ok := errors.AsType[*invocation.EventError](err); err != nil && !ok {
			t.Errorf("got %v, want an EventError or none", err)
		}
		for _, o := range ev.Objects {
			if len(o.Keys) == 0 {
				t.Errorf("got an object without a key: %+v", ev)
			}
		}
	})
}
