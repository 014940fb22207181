package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/blob/cosblob"
	"groupimport/pkg/blob/cosblob/costest"
	"groupimport/pkg/emulator"
	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/results"
)

// A deployment is serverless.yml, with the fields that the component's documents name and no others.
type deployment struct {
	Component, Name, App, Stage string
	Inputs                      struct {
		Src, Region, Runtime, Namespace string
		Functions                       map[string]function
		Triggers                        []trigger
	}
}

type function struct {
	Description, Handler, Role string
	MemorySize                 int `yaml:"memorySize"` // MB: 64, or 128 to 3072 in steps of 128
	Timeout                    int // seconds, 1 to 900
	Environment                struct{ Variables map[string]string }
}

type trigger struct {
	Type, Function string
	Parameters     map[string]any
}

// parameters returns those of .env.example, with what a user fills in.
func parameters(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	p := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(string(raw)))
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("cannot read %q", line)
		}
		p[name] = value
	}
	for name, value := range map[string]string{"BucketName": bucketName, "SdkAppId": "1400000000", "SecretKey": "k", "HttpToken": "0123456789abcdef0123"} {
		if old, ok := p[name]; !ok || old != "" {
			t.Errorf("%s must stand in .env.example for a user to fill in", name)
		}
		p[name] = value
	}
	return p
}

var variable = regexp.MustCompile(`\$\{env:([^}]+)\}`)

// load returns the deployment with these parameters filled in, as the platform's tool does.
func load(t *testing.T, p map[string]string) deployment {
	t.Helper()
	raw, err := os.ReadFile("../../serverless.yml")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{"TENCENT_SECRET_ID": true, "TENCENT_SECRET_KEY": true}
	text := variable.ReplaceAllStringFunc(string(raw), func(s string) string {
		name := variable.FindStringSubmatch(s)[1]
		used[name] = true
		value, ok := p[name]
		if !ok {
			t.Errorf("%s stands in serverless.yml and not in .env.example", name)
		}
		return value
	})
	for name := range p {
		if !used[name] {
			t.Errorf("%s stands in .env.example and not in serverless.yml", name)
		}
	}
	var d deployment
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&d); err != nil {
		t.Fatal(err)
	}
	return d
}

// starts reports whether the creation of an object starts a function: COS compares prefix and suffix.
func (d *deployment) starts(bucket, key string) bool {
	return slices.ContainsFunc(d.Inputs.Triggers, func(tr trigger) bool {
		filter, _ := tr.Parameters["filter"].(map[string]any)
		return tr.Type == "cos" && tr.Parameters["bucket"] == bucket+".cos.ap-guangzhou.myqcloud.com" &&
			strings.HasPrefix(key, fmt.Sprint(filter["prefix"])) && strings.HasSuffix(key, fmt.Sprint(filter["suffix"]))
	})
}

func TestFunctionsAreSetUpAsThePlatformNeedsThem(t *testing.T) {
	d := load(t, parameters(t))
	if d.Component != "multi-scf" || d.Name == "" || d.App == "" || d.Stage == "" || d.Inputs.Namespace == "" || d.Inputs.Region != "ap-guangzhou" {
		t.Errorf("got %+v", d)
	}
	// The program of scripts/build, linux/amd64 at the root of the package: 583/46774.
	if d.Inputs.Runtime != "Go1" || d.Inputs.Src != "./dist/scf" {
		t.Errorf("got runtime %s and code %s, want what scripts/build makes", d.Inputs.Runtime, d.Inputs.Src)
	}
	if got := slices.Sorted(maps.Keys(d.Inputs.Functions)); !slices.Equal(got, []string{"http", "import", "schedule"}) {
		t.Fatalf("got functions %v", got)
	}
	for name, f := range d.Inputs.Functions {
		if f.Handler != "main" || f.Role != "groupimport" || f.Description == "" {
			t.Errorf("%s: got %+v", name, f)
		}
		if f.MemorySize != 128 || f.Timeout < 1 || f.Timeout > 900 || (name == "http") == (f.Timeout == 900) {
			t.Errorf("%s: got %d MB and %d s", name, f.MemorySize, f.Timeout)
		}
		size := 0
		for name, value := range f.Environment.Variables {
			size += len(name) + len(value) + 2
			for _, reserved := range []string{"SCF_", "QCLOUD_", "TENCENTCLOUD_"} {
				if strings.HasPrefix(name, reserved) {
					t.Errorf("%s: the platform keeps such names to itself", name)
				}
			}
		}
		if size > 4096 {
			t.Errorf("%s: got %d bytes of environment, the platform takes 4 KB", name, size)
		}
	}
}

func TestTriggersHaveTheDocumentedFields(t *testing.T) {
	d := load(t, parameters(t))
	kinds := map[string]int{}
	actions := map[string]bool{}
	filters := map[string]bool{}
	for _, tr := range d.Inputs.Triggers {
		kinds[tr.Type]++
		if _, ok := d.Inputs.Functions[tr.Function]; !ok {
			t.Errorf("trigger of unknown function %q", tr.Function)
		}
		want := map[string][]string{
			"cos": {"bucket", "enable", "events", "filter"}, "timer": {"argument", "cronExpression", "enable", "name"}, "http": {"authType", "netConfig"},
		}[tr.Type]
		if got := slices.Sorted(maps.Keys(tr.Parameters)); !slices.Equal(got, want) {
			t.Errorf("%s: got parameters %v, want %v", tr.Type, got, want)
		}
		if tr.Type != "http" && tr.Parameters["enable"] != true {
			t.Errorf("%s: it is off", tr.Type)
		}
		switch tr.Type {
		case "cos":
			filter := tr.Parameters["filter"].(map[string]any)
			suffix := filter["suffix"].(string)
			if tr.Function != "import" || tr.Parameters["events"] != "cos:ObjectCreated:*" || filter["prefix"] != "exports/" || !strings.HasPrefix(suffix, ".") || filters[suffix] {
				t.Errorf("got trigger %+v", tr)
			}
			filters[suffix] = true
		case "timer":
			// second, minute, hour, day, month, day of the week, year: 583/9708
			cron := strings.Fields(tr.Parameters["cronExpression"].(string))
			if len(cron) != 7 || !regexp.MustCompile(`^[0-5]?\d$`).MatchString(cron[0]) || !regexp.MustCompile(`^(\*|\*/5)$`).MatchString(cron[1]) ||
				!slices.Equal(cron[2:], []string{"*", "*", "*", "*", "*"}) {
				t.Errorf("got cron %q, want one of seven fields, more than once an hour", cron)
			}
			message, err := json.Marshal(map[string]any{"Type": "Timer", "TriggerName": tr.Parameters["name"], "Message": tr.Parameters["argument"]})
			if err != nil {
				t.Fatal(err)
			}
			ev, err := parse(message)
			if err != nil || ev.Action == nil || tr.Function != "schedule" {
				t.Errorf("timer of %s: got %+v, %v, want an action of the schedule", tr.Function, ev, err)
				continue
			}
			actions[fmt.Sprint(*ev.Action)] = true
		case "http":
			if tr.Function != "http" || tr.Parameters["authType"] != "NONE" || !reflect.DeepEqual(tr.Parameters["netConfig"], map[string]any{"enableIntranet": false, "enableExtranet": true}) {
				t.Errorf("got trigger %+v", tr)
			}
		}
	}
	if !slices.Equal(slices.Sorted(maps.Keys(filters)), []string{".csv", ".csv.gz", ".csv.zst", ".json", ".json.gz", ".json.zst", ".jsonl", ".jsonl.gz", ".jsonl.zst"}) {
		t.Errorf("got filters %v", filters)
	}
	if kinds["cos"] == 0 || kinds["cos"] > 10 || kinds["timer"] != 2 || kinds["http"] != 1 || len(actions) != 2 {
		t.Errorf("got triggers %v with actions %v, want one for each ending (ten is the most), resume, retry, and a URL", kinds, actions)
	}
}

func TestNothingTheProgramWritesStartsIt(t *testing.T) {
	for _, prefix := range []string{"exports/", "a/b/"} {
		p := parameters(t)
		p["ExportPrefix"] = prefix
		d := load(t, p)
		for _, suffix := range export.Formats {
			if suffix == ".ndjson" || strings.HasPrefix(suffix, ".ndjson.") {
				continue // read where a user adds it to the triggers
			}
			if !d.starts(bucketName, prefix+"x/acme"+suffix) || d.starts(bucketName, "elsewhere/acme"+suffix) || d.starts("other-1250000000", prefix+"acme"+suffix) {
				t.Errorf("an export below %s that ends in %s must start the function, and no other", prefix, suffix)
			}
		}
		for _, name := range []string{"a.jsonl", "a.json", "a.csv", "a.csv.gz", "a.json.zst", ".jsonl", "x.import/a.jsonl", "a.jsonl.results.ndjson.jsonl"} {
			n := results.Names{Export: prefix + name}
			for _, key := range []string{
				n.Results(), n.Failures(), n.Report(), n.Manifest(), n.Progress(), n.Work() + "lease/000001", n.Work() + "checkpoint/000012",
				n.Work() + "parts/000001-000001", n.Work() + "parts/000001-ahead", n.Archived("v1", time.Time{}).Results(), n.Archived("v1", time.Time{}).Failures(),
				n.Archived("v1", time.Time{}).Report(), n.Archived("v1", time.Time{}).Manifest(), results.RateNames(prefix).Work() + "lease/000001", results.AnswersFolder(prefix) + "20261122/" + strings.Repeat("9f", 32),
			} {
				if !results.Own(key) || d.starts(bucketName, key) {
					t.Errorf("%s: the program writes it, so it is no export and must not start the function", key)
				}
			}
		}
	}
}

func TestEveryVariableIsSet(t *testing.T) {
	known := map[string]bool{"COS_REGION": true}
	importer.ConfigFromEnv(func(name string) string { known[name] = true; return "" })
	elsewhere := map[string]string{
		"TIM_SECRET_KEY_PARAMETER": "of AWS",
		"TIM_ENDPOINT":             "for tests and proxies, and an empty one may not be taken",
		"MAPPING":                  "for exports of other systems, and an empty one may not be taken",
		"HTTP_TOKEN":               "of the HTTP function",
		"HTTP_AUTH":                "of the HTTP function",
	}
	d := load(t, parameters(t))
	var configs []importer.Config
	for _, name := range []string{"import", "schedule", "http"} {
		env := d.Inputs.Functions[name].Environment.Variables
		for variable := range known {
			if _, ok := env[variable]; !ok && elsewhere[variable] == "" {
				t.Errorf("%s: %s is not set", name, variable)
			}
		}
		for variable := range env {
			if !known[variable] {
				t.Errorf("%s: %s is set, and the program does not know it", name, variable)
			}
		}
		config, err := importer.ConfigFromEnv(func(variable string) string { return env[variable] })
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		configs = append(configs, config)
	}
	http := d.Inputs.Functions["http"].Environment.Variables
	if http["HTTP_AUTH"] != "token" || http["ONE_AT_A_TIME"] != "false" || http["TIM_RATE"] != "2" || http["COS_REGION"] != "ap-guangzhou" {
		t.Errorf("got %v, want a token, since the URL is public, and a share of the rate for each instance", http)
	}
	if configs[0] != configs[1] {
		t.Errorf("import and schedule differ: %+v and %+v", configs[0], configs[1])
	}
	defaults, err := importer.ConfigFromEnv(func(name string) string {
		return map[string]string{"TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": "k"}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	got := configs[0]
	got.Bucket, got.Prefix, got.OneAtATime, got.Rate = "", "", false, 190
	if got != defaults {
		t.Errorf("got  %+v\nwant %+v, the defaults", got, defaults)
	}
	// The parameters have the names of those on AWS, and their defaults.
	raw, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range parameters(t) {
		switch name {
		case "TENCENT_SECRET_ID", "TENCENT_SECRET_KEY", "Region", "Role", "SecretKey": // of this platform
			continue
		}
		m := regexp.MustCompile(`(?m)^  ` + name + `:\n(?:    .*\n|      .*\n)+?    Default: '?([^'\n]*)'?\n`).FindStringSubmatch(string(raw))
		switch name {
		case "BucketName", "SdkAppId", "HttpToken":
			if !strings.Contains(string(raw), "\n  "+name+":\n") {
				t.Errorf("%s is no parameter of template.yaml", name)
			}
		default:
			if m == nil || m[1] != value {
				t.Errorf("%s: got %q, and in template.yaml %q", name, value, m)
			}
		}
	}
}

func TestRatesAddUpToTheServicesLimit(t *testing.T) {
	d := load(t, parameters(t))
	var turns, sum float64 // of those that take turns the highest counts
	for name, f := range d.Inputs.Functions {
		rate, err := strconv.ParseFloat(f.Environment.Variables["TIM_RATE"], 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if f.Environment.Variables["ONE_AT_A_TIME"] == "true" {
			turns = max(turns, rate)
			continue
		}
		sum += 5 * rate // instances, as README.md says to reserve
	}
	if sum+turns > 200 || turns < 100 {
		t.Errorf("got %v for imports and %v for others, want at most 200 together and most of it for imports", turns, sum)
	}
}

// A policy is what README.md gives the functions' role, in the form of 598/10603.
type policy struct {
	Version   string `json:"version"`
	Statement []struct {
		Effect   string   `json:"effect"`
		Action   []string `json:"action"`
		Resource []string `json:"resource"`
	} `json:"statement"`
}

func readPolicy(t *testing.T) policy {
	t.Helper()
	raw, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(raw), -1) {
		if strings.Contains(block[1], "name/cos:") {
			var p policy
			if err := json.Unmarshal([]byte(block[1]), &p); err != nil {
				t.Fatal(err)
			}
			return p
		}
	}
	t.Fatal("README.md has no policy of the role")
	return policy{}
}

func (p *policy) allows(action, resource string) bool {
	fits := func(pattern string) bool {
		parts := strings.Split(pattern, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		return regexp.MustCompile(`(?s)\A` + strings.Join(parts, ".*") + `\z`).MatchString("qcs::cos:ap-guangzhou:uid/1250000000:" + resource)
	}
	for _, s := range p.Statement {
		if s.Effect == "allow" && slices.Contains(s.Action, "name/cos:"+action) && slices.ContainsFunc(s.Resource, fits) {
			return true
		}
	}
	return false
}

func TestThePolicyCoversWhatTheCodeDoesAndNoMore(t *testing.T) {
	t.Parallel()
	p := readPolicy(t)
	var mu sync.Mutex
	done := map[string]string{} // an action, and a key
	objects := &blobtest.Bucket{}
	server := costest.New(costest.Options{
		Objects: objects, Keys: []costest.Key{{ID: "id", Secret: "secret"}},
		Fail: func(r costest.Request) costest.Fault {
			mu.Lock()
			defer mu.Unlock()
			if !p.allows(r.Action, bucketName+"/"+r.Key) {
				t.Errorf("the role may not %s %s, which the code does", r.Action, r.Key)
			}
			done[r.Action] = r.Key
			return costest.Fault{}
		},
	})
	t.Cleanup(func() { server.Close() })
	store := httptest.NewServer(server)
	t.Cleanup(store.Close)
	b, err := cosblob.Open(cosblob.Config{
		Bucket: bucketName, Region: "ap-guangzhou", Endpoint: store.URL, Credentials: func() (id, key, token string) { return "id", "secret", "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	service := &emulator.Service{SDKAppID: 1400000000, Key: "k", Limit: -1, Faults: emulator.Faults{Internal: 0.5}}
	im := httptest.NewServer(service)
	t.Cleanup(im.Close)
	if err := objects.Put(t.Context(), "exports/acme.jsonl", strings.NewReader(strings.Join(records(300), "\n"))); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": "k", "TIM_ENDPOINT": im.URL, "TIM_RATE": "2000", "EXPORT_PREFIX": "exports/", "ONE_AT_A_TIME": "true",
		"MAX_ATTEMPTS": "1", "RETRY_UNKNOWN": "true",
	}
	config, err := importer.ConfigFromEnv(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // records fail, and then are in
		i := &importer.Importer{Config: config, Bucket: b, BucketName: bucketName}
		if err := i.Dial(nil); err != nil {
			t.Fatal(err)
		}
		pass, err := i.Schedule(t.Context(), importer.Action{Resume: true, Retry: true, Now: true, Missed: time.Nanosecond})
		if err != nil || len(pass.Done) == 0 || pass.Err() != nil {
			t.Fatalf("got %+v, %v", pass, err)
		}
		service.SetFaults(emulator.Faults{})
	}
	if !p.allows("PutObject", bucketName+"/"+results.Names{Export: "exports/acme.csv"}.Report()) {
		t.Error("the role may not write the report")
	}
	// Results of some size go up in parts, and an upload that breaks off is removed.
	names := results.Names{Export: "exports/acme.jsonl"}
	if err := b.Put(t.Context(), names.Results(), strings.NewReader(strings.Repeat("x", 20<<20))); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(t.Context(), names.Results(), &breaking{left: 20 << 20}); err == nil {
		t.Error("got no error of a body that breaks off")
	}
	granted := map[string]bool{}
	for _, s := range p.Statement {
		for _, action := range s.Action {
			granted[strings.TrimPrefix(action, "name/cos:")] = true
		}
	}
	for action := range granted {
		if _, ok := done[action]; !ok {
			t.Errorf("the role may %s, which the code does not do", action)
		}
	}
	for _, no := range [][2]string{
		{"PutObject", "exports/acme.jsonl"},
		{"CompleteMultipartUpload", "exports/acme.jsonl"},
		{"DeleteObject", "exports/acme.jsonl"},
		{"DeleteObject", "exports/acme.jsonl.results.ndjson"},
		{"GetObject", "elsewhere/acme.jsonl"},
		{"PutObject", "elsewhere/acme.jsonl.results.ndjson"},
	} {
		if p.allows(no[0], bucketName+"/"+no[1]) {
			t.Errorf("the role may %s %s, which the code never does", no[0], no[1])
		}
	}
	if p.allows("GetBucket", "other-1250000000/exports/") {
		t.Error("the role may list another bucket")
	}
}

// A breaking reader gives some bytes and then fails.
type breaking struct{ left int }

func (b *breaking) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := min(len(p), b.left)
	b.left -= n
	return n, nil
}
