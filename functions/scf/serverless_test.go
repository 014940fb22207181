package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
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

	"groupimport/functions/internal/functest"
	"groupimport/pkg/blob"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/blob/cosblob"
	"groupimport/pkg/blob/cosblob/costest"
	"groupimport/pkg/config"
	"groupimport/pkg/emulator"
	"groupimport/pkg/export"
	"groupimport/pkg/httpapi"
	"groupimport/pkg/importer"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// A deployment is serverless.yml with only the fields that the component multi-scf reads: src/formatter.ts and
// src/interface/inputs.ts of its version 0.3.14.
type deployment struct {
	Component, Name, App, Stage string
	Inputs                      struct {
		Src, Region, Runtime, Namespace string
		Environments                    []variable // of functions without environments of their own
		Functions                       map[string]function
		Triggers                        []trigger
	}
}

type variable struct{ Key, Value string }

type function struct {
	Description, Handler, Role string
	MemorySize                 int `yaml:"memorySize"` // MB: 64, or 128 to 3072 in steps of 128
	Timeout                    int // seconds, 1 to 900
	Environments               []variable
}

type trigger struct {
	Type, Function string
	Parameters     map[string]any
}

// parameters returns the parameters of .env.example, with values for those that a user must fill in.
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
	for name, value := range map[string]string{
		"BucketName": bucketName, "SdkAppId": "1400000000", "SecretKey": "k", "HttpToken": "0123456789abcdef0123",
	} {
		if old, ok := p[name]; !ok || old != "" {
			t.Errorf(".env.example must have %s without a value, for a user to fill in", name)
		}
		p[name] = value
	}
	return p
}

var parameter = regexp.MustCompile(`\$\{env:([^}]+)\}`)

// filledIn returns serverless.yml with these parameters filled in, as the platform's tool does.
func filledIn(t *testing.T, p map[string]string) string {
	t.Helper()
	raw, err := os.ReadFile("../../serverless.yml")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{
		"TENCENT_SECRET_ID": true, "TENCENT_SECRET_KEY": true, "SecretKeyParameter": true, "HttpTokenParameter": true,
	}
	text := parameter.ReplaceAllStringFunc(string(raw), func(s string) string {
		name := parameter.FindStringSubmatch(s)[1]
		used[name] = true
		value, ok := p[name]
		if !ok {
			t.Errorf("serverless.yml has %s, .env.example does not", name)
		}
		return value
	})
	for name := range p {
		if !used[name] {
			t.Errorf(".env.example has %s, serverless.yml does not", name)
		}
	}
	return text
}

// load returns the deployment with these parameters.
func load(t *testing.T, p map[string]string) deployment {
	t.Helper()
	var d deployment
	dec := yaml.NewDecoder(strings.NewReader(filledIn(t, p)))
	dec.KnownFields(true)
	if err := dec.Decode(&d); err != nil {
		t.Fatal(err)
	}
	return d
}

// environment returns the variables of a function. If the function has variables of its own, they replace all of the
// shared ones.
func (d *deployment) environment(name string) map[string]string {
	list := d.Inputs.Functions[name].Environments
	if list == nil {
		list = d.Inputs.Environments
	}
	env := map[string]string{}
	for _, v := range list {
		env[v.Key] = v.Value
	}
	return env
}

// starts reports whether the creation of an object starts a function: COS compares prefix and suffix.
func (d *deployment) starts(bucket, key string) bool {
	return slices.ContainsFunc(d.Inputs.Triggers, func(tr trigger) bool {
		filter, _ := tr.Parameters["filter"].(map[string]any)
		return tr.Type == "cos" && tr.Parameters["bucket"] == bucket+".cos.ap-guangzhou.myqcloud.com" &&
			strings.HasPrefix(key, fmt.Sprint(filter["prefix"])) && strings.HasSuffix(key, fmt.Sprint(filter["suffix"]))
	})
}

func TestServerless_FunctionsAreWhatThePlatformNeeds(t *testing.T) {
	d := load(t, parameters(t))
	if d.Component != "multi-scf" || d.Inputs.Region != "ap-guangzhou" {
		t.Errorf("got %+v", d)
	}
	if slices.Contains([]string{d.Name, d.App, d.Stage, d.Inputs.Namespace}, "") {
		t.Errorf("got %+v, want all names", d)
	}
	// The program of scripts/build, linux/amd64 at the root of the package: 583/46774.
	if d.Inputs.Runtime != "Go1" || d.Inputs.Src != "./dist/scf" {
		t.Errorf("got runtime %s and code %s, want those of scripts/build", d.Inputs.Runtime, d.Inputs.Src)
	}
	if got := slices.Sorted(maps.Keys(d.Inputs.Functions)); !slices.Equal(got, []string{"http", "import", "schedule"}) {
		t.Fatalf("got functions %v", got)
	}
	for name, f := range d.Inputs.Functions {
		role := "groupimport"
		if name == "http" {
			role = "groupimport-http"
		}
		if f.Handler != "main" || f.Role != role || f.Description == "" {
			t.Errorf("%s: got %+v", name, f)
		}
		if f.MemorySize != 256 || f.Timeout < 1 || f.Timeout > 900 || (name == "http") == (f.Timeout == 900) {
			t.Errorf("%s: got %d MB and %d s", name, f.MemorySize, f.Timeout)
		}
		size := 0
		for name, value := range d.environment(name) {
			size += len(name) + len(value) + 2
			for _, reserved := range []string{"SCF_", "QCLOUD_", "TENCENTCLOUD_"} {
				if strings.HasPrefix(name, reserved) {
					t.Errorf("%s: the platform reserves such names", name)
				}
			}
		}
		if size > 4096 {
			t.Errorf("%s: got %d bytes of environment, the platform accepts at most 4 KB", name, size)
		}
	}
}

func TestServerless_TriggersHaveTheDocumentedFields(t *testing.T) {
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
			"cos":   {"bucket", "enable", "events", "filter", "qualifier"},
			"timer": {"argument", "cronExpression", "enable", "name", "qualifier"},
			"http":  {"authType", "netConfig", "qualifier"},
		}[tr.Type]
		if got := slices.Sorted(maps.Keys(tr.Parameters)); !slices.Equal(got, want) {
			t.Errorf("%s: got parameters %v, want %v", tr.Type, got, want)
		}
		if tr.Type != "http" && tr.Parameters["enable"] != true {
			t.Errorf("%s: the trigger is disabled", tr.Type)
		}
		if tr.Parameters["qualifier"] != "$DEFAULT" {
			t.Errorf("%s: got qualifier %v: another deployment does not find the trigger", tr.Type, tr.Parameters["qualifier"])
		}
		switch tr.Type {
		case "cos":
			filter := tr.Parameters["filter"].(map[string]any)
			suffix := filter["suffix"].(string)
			if tr.Function != "import" || tr.Parameters["events"] != "cos:ObjectCreated:*" {
				t.Errorf("got trigger %+v", tr)
			}
			if filter["prefix"] != "exports/" || !strings.HasPrefix(suffix, ".") || filters[suffix] {
				t.Errorf("got filter %v of trigger %+v", filter, tr)
			}
			filters[suffix] = true
		case "timer":
			// second, minute, hour, day, month, day of the week, year: 583/9708
			cron := strings.Fields(tr.Parameters["cronExpression"].(string))
			often := regexp.MustCompile(`^[0-5]?\d (\*|\*/5) \* \* \* \* \*$`)
			if !often.MatchString(strings.Join(cron, " ")) {
				t.Errorf("got cron %q, want one of seven fields, more than once an hour", cron)
			}
			message, err := json.Marshal(map[string]any{
				"Type": "Timer", "TriggerName": tr.Parameters["name"], "Message": tr.Parameters["argument"],
			})
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
			network := map[string]any{"enableIntranet": false, "enableExtranet": true}
			if tr.Function != "http" || tr.Parameters["authType"] != "NONE" ||
				!reflect.DeepEqual(tr.Parameters["netConfig"], network) {
				t.Errorf("got trigger %+v", tr)
			}
		}
	}
	for one := range filters {
		for other := range filters {
			if one != other && strings.HasSuffix(one, other) {
				t.Errorf("filters %s and %s overlap, which COS refuses", one, other)
			}
		}
	}
	// At most ten of a type for a function: 583/11637, 2025-10-16.
	if kinds["cos"] == 0 || kinds["cos"] > 10 || kinds["timer"] != 1 || kinds["http"] != 1 || len(actions) != 1 {
		t.Errorf("got triggers %v with actions %v, want one for each ending (ten is the most), one timer, and a URL",
			kinds, actions)
	}
}

func TestServerless_NothingTheProgramWritesStartsIt(t *testing.T) {
	for _, prefix := range []string{"exports/", "a/b/"} {
		p := parameters(t)
		p["ExportPrefix"] = prefix
		d := load(t, p)
		// The schedule imports .ndjson files: results have the same ending.
		endings := []string{".jsonl", ".json", ".csv", ".JSONL", ".JSON", ".CSV"}
		for _, format := range export.Formats {
			for _, compression := range export.Compressions {
				endings = append(endings, format+compression)
			}
		}
		for _, suffix := range endings {
			if !export.IsExport("acme"+suffix) || !d.starts(bucketName, prefix+"x/acme"+suffix) {
				t.Errorf("an export below %s that ends in %s must start the function", prefix, suffix)
			}
			if d.starts(bucketName, "elsewhere/acme"+suffix) || d.starts("other-1250000000", prefix+"acme"+suffix) {
				t.Errorf("an object outside %s that ends in %s must not start the function", prefix, suffix)
			}
		}
		for _, name := range []string{
			"a.jsonl", "a.json", "a.csv", "a.csv.gz", "a.json.zst", ".jsonl", "x.import/a.jsonl",
			"a.jsonl.results.ndjson.jsonl",
		} {
			n := results.Names{Export: prefix + name}
			old := n.Archived("v1", time.Time{})
			mark := n.Export + ".finished-0123456789ab0123456789ab"
			for _, key := range []string{
				n.Results(), n.Failures(), n.Report(), n.Manifest(), n.Progress(), mark, mark + "-retry", mark + "_hsp2q",
				n.Work() + "lease/000001", n.Work() + "checkpoint/000012", n.Work() + "parts/000001-000001",
				n.Work() + "parts/000001-ahead", old.Results(), old.Failures(), old.Report(), old.Manifest(),
				results.RateNames(prefix).Work() + "lease/000001", results.WaitingFolder(prefix) + "ABCD2345",
				results.ResponsesFolder(prefix) + "20261122/" + strings.Repeat("9f", 32), results.CheckPage(prefix),
				results.CheckFolder(prefix) + "ABCDEFGHIJ-quiet", results.CheckFolder(prefix) + "ABCDEFGHIJ/lease/000001",
			} {
				if !results.IsOutput(key) || d.starts(bucketName, key) {
					t.Errorf("%s: the program writes it, so the object is not an export and must not start the function", key)
				}
			}
		}
	}
}

func TestServerless_EveryVariableIsSet(t *testing.T) {
	known := map[string]bool{"COS_REGION": true}
	config.FromEnv(func(name string) string { known[name] = true; return "" })
	elsewhere := map[string]string{
		"TIM_SECRET_KEY_PARAMETER": "instead of the secret itself, and the platform may not accept an empty value",
		"HTTP_TOKEN_PARAMETER":     "instead of the secret itself, and the platform may not accept an empty value",
		"TIM_ENDPOINT":             "for tests and proxies, and the platform may not accept an empty value",
		"MAPPING":                  "for exports of other systems, and the platform may not accept an empty value",
		"EXPORT_TIME_ZONE":         "for dates, and the platform may not accept an empty value",
		"RECORDS":                  "for documents, and the platform may not accept an empty value",
		"USERS":                    "for exports of other systems, and the platform may not accept an empty value",
		"NOTIFY_URL":               "for webhooks, and the platform may not accept an empty value",
		"NOTIFY_SECRET":            "of NOTIFY_URL",
		"NOTIFY_FORMAT":            "of NOTIFY_URL",
		"NOTIFY_PARAMETER":         "of AWS",
		"HTTP_TOKEN":               "of the HTTP function",
		"HTTP_AUTH":                "of the HTTP function",
	}
	d := load(t, parameters(t))
	var configs []config.Config
	for _, name := range []string{"import", "schedule", "http"} {
		env := d.environment(name)
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
		config, err := config.FromEnv(environment(func(variable string) string { return env[variable] }))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		configs = append(configs, config)
	}
	http := d.environment("http")
	for variable, want := range map[string]string{
		"HTTP_AUTH": "NONE", "ONE_AT_A_TIME": "true", "TIM_RATE": "10", "TIM_MEMBER_RATE": "10", "COS_REGION": "ap-guangzhou",
	} {
		if http[variable] != want {
			t.Errorf("%s: got %q, want %q: a token, since the URL is public, and a rate that the instances share",
				variable, http[variable], want)
		}
	}
	// One parameter tells both the platform and the function which of them checks callers.
	signed := parameters(t)
	signed["HttpAuth"], signed["HttpToken"] = "CAM", ""
	ofCAM := load(t, signed)
	variables := ofCAM.environment("http")
	ofCaller, err := config.FromEnv(environment(func(variable string) string { return variables[variable] }))
	if err != nil || !ofCaller.HTTPPlatform {
		t.Errorf("HttpAuth=CAM: got %+v, %v, want callers that the platform checks", ofCaller, err)
	}
	for _, tr := range ofCAM.Inputs.Triggers {
		if tr.Type == "http" && tr.Parameters["authType"] != "CAM" {
			t.Errorf("HttpAuth=CAM: got trigger %+v", tr)
		}
	}
	if configs[0] != configs[1] {
		t.Errorf("import and schedule differ: %+v and %+v", configs[0], configs[1])
	}
	ofHTTP := configs[2]
	if ofHTTP.OtherRates != configs[0].Rate || configs[0].OtherRates != ofHTTP.Rate {
		t.Errorf("got the other rates %v and %v of functions with %v and %v", configs[0].OtherRates, ofHTTP.OtherRates,
			configs[0].Rate, ofHTTP.Rate)
	}
	ofHTTP.Rate, ofHTTP.OneAtATime, ofHTTP.HTTPToken = configs[0].Rate, configs[0].OneAtATime, ""
	ofHTTP.MemberRate = configs[0].MemberRate
	ofHTTP.OtherRates = configs[0].OtherRates
	if ofHTTP != configs[0] {
		t.Errorf("import and http differ: %+v and %+v", configs[0], configs[2])
	}
	defaults, err := config.FromEnv(func(name string) string {
		return map[string]string{"TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": "k"}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	got := configs[0]
	got.Bucket, got.Prefix, got.OneAtATime = "", "", false
	got.Rate, got.MemberRate = 190, 190
	if got != defaults {
		t.Errorf("got  %+v\nwant %+v, the defaults", got, defaults)
	}
	// The parameters have the same names and defaults as on AWS.
	raw, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Parameters map[string]struct {
			Default string `yaml:"Default"`
		} `yaml:"Parameters"`
	}
	if err := yaml.Unmarshal(raw, &template); err != nil {
		t.Fatal(err)
	}
	for name, value := range parameters(t) {
		switch name {
		case "TENCENT_SECRET_ID", "TENCENT_SECRET_KEY", "Region", "Role", "HttpRole": // of this platform
			continue
		case "HttpAuth": // the same name with the words of this platform
			if ofAWS, ok := template.Parameters[name]; !ok || ofAWS.Default == "" || value != "NONE" {
				t.Errorf("%s: got %q, and in template.yaml %+v", name, value, ofAWS)
			}
			continue
		case "SecretKeyParameter", "HttpTokenParameter": // required there, optional here
			if _, ok := template.Parameters[name]; !ok || value != "" {
				t.Errorf("%s: got %q, want it empty and a parameter of template.yaml", name, value)
			}
			continue
		case "SecretKey", "HttpToken": // AWS keeps them as SSM parameters
			if _, ok := template.Parameters[name+"Parameter"]; !ok {
				t.Errorf("%sParameter is no parameter of template.yaml", name)
			}
			continue
		}
		ofAWS, ok := template.Parameters[name]
		switch name {
		case "BucketName", "SdkAppId":
			if !ok {
				t.Errorf("%s is no parameter of template.yaml", name)
			}
		default:
			if !ok || ofAWS.Default != value {
				t.Errorf("%s: got %q, and in template.yaml %q", name, value, ofAWS.Default)
			}
		}
	}
}

func TestServerless_RatesAddUpToTheServicesLimit(t *testing.T) {
	d := load(t, parameters(t))
	for _, variable := range []string{"TIM_RATE", "TIM_MEMBER_RATE"} { // the service limits each command by itself
		var imports, http float64 // import and schedule function share one rate, all instances over HTTP another
		for name := range d.Inputs.Functions {
			env := d.environment(name)
			rate, err := strconv.ParseFloat(env[variable], 64)
			switch {
			case err != nil:
				t.Fatalf("%s: %v", name, err)
			case env["ONE_AT_A_TIME"] != "true":
				t.Errorf("%s does not share a rate", name)
			case name == "http":
				http = rate
			default:
				imports = max(imports, rate)
			}
		}
		if imports+http > 200 || imports < 100 {
			t.Errorf("%s: got %v for imports and %v over HTTP, want at most 200 together and most of it for imports",
				variable, imports, http)
		}
	}
}

func TestServerless_ParameterLeftOutIsReported(t *testing.T) {
	for name := range parameters(t) {
		switch name {
		case "TENCENT_SECRET_ID", "TENCENT_SECRET_KEY": // of the tool
			continue
		case "SecretKeyParameter", "HttpTokenParameter": // the tool does not read these
			continue
		case "Role", "HttpRole": // the function has no role then: TestFunction_ErrorTypes
			continue
		}
		p := parameters(t)
		p[name] = "undefined" // the value that the tool uses for a line that .env does not have
		d := load(t, p)
		reported := false
		for _, function := range []string{"import", "http"} {
			env := d.environment(function)
			maps.Copy(env, map[string]string{"TENCENTCLOUD_SECRETID": "id", "TENCENTCLOUD_SECRETKEY": "key"})
			getenv := func(variable string) string { return env[variable] }
			_, err := config.FromEnv(getenv)
			if err == nil {
				_, err = open(getenv, env["EXPORT_BUCKET"], nil)
			}
			for variable, value := range env {
				reported = reported || err != nil && value == "undefined" && strings.Contains(err.Error(), variable)
			}
		}
		if !reported {
			t.Errorf("without %s the functions do not say which variable is missing", name)
		}
	}
}

// A policy is a policy of a role in README.md, in the format of 598/10603.
type policy struct {
	Version   string `json:"version"`
	Statement []struct {
		Effect   string   `json:"effect"`
		Action   []string `json:"action"`
		Resource []string `json:"resource"`
	} `json:"statement"`
}

// readPolicy returns the policy of a role from README.md in this folder: the first JSON block after the role's name.
func readPolicy(t *testing.T, role string) policy {
	t.Helper()
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)\n`" + role + "` is the role of.*?```json\n(.*?)```").FindStringSubmatch(string(raw))
	if m == nil {
		t.Fatalf("README.md has no policy of %s", role)
	}
	var p policy
	if err := json.Unmarshal([]byte(m[1]), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *policy) allows(action, resource string) bool {
	fits := func(pattern string) bool {
		parts := strings.Split(pattern, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		wildcard := regexp.MustCompile(`(?s)\A` + strings.Join(parts, ".*") + `\z`)
		return wildcard.MatchString("qcs::cos:ap-guangzhou:uid/1250000000:" + resource)
	}
	for _, s := range p.Statement {
		if s.Effect == "allow" && slices.Contains(s.Action, "name/cos:"+action) && slices.ContainsFunc(s.Resource, fits) {
			return true
		}
	}
	return false
}

// A guarded bucket refuses requests that a policy does not allow.
type guarded struct {
	t       *testing.T
	policy  policy
	objects *blobtest.Bucket

	mu   sync.Mutex
	done map[string]bool // actions
}

func newGuarded(t *testing.T, role string) *guarded {
	return &guarded{t: t, policy: readPolicy(t, role), objects: &blobtest.Bucket{}, done: map[string]bool{}}
}

// open returns a client of the bucket.
func (g *guarded) open() blob.Bucket {
	g.t.Helper()
	server := costest.New(costest.Options{
		Objects: g.objects, Keys: []costest.Key{{ID: "id", Secret: "secret"}},
		Fail: func(r costest.Request) costest.Fault {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.done[r.Action] = true
			if !g.policy.allows(r.Action, bucketName+"/"+r.Key) {
				g.t.Errorf("the role may not %s %s, which the code does", r.Action, r.Key)
				return costest.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
			}
			return costest.Fault{}
		},
	})
	g.t.Cleanup(func() { server.Close() })
	store := httptest.NewServer(server)
	g.t.Cleanup(store.Close)
	b, err := cosblob.Open(cosblob.Config{
		Bucket: bucketName, Region: "ap-guangzhou", Endpoint: store.URL,
		Credentials: func() (id, key, token string) { return "id", "secret", "" },
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

// check checks that the code has used every action of the policy, and that the policy allows none of the actions in
// never.
func (g *guarded) check(never ...[2]string) {
	g.t.Helper()
	for _, s := range g.policy.Statement {
		for _, action := range s.Action {
			if action = strings.TrimPrefix(action, "name/cos:"); !g.done[action] {
				g.t.Errorf("the role may %s, which the code does not do", action)
			}
		}
	}
	for _, no := range append(never, [][2]string{
		{"PutObject", "exports/acme.jsonl"},
		{"CompleteMultipartUpload", "exports/acme.jsonl"},
		{"DeleteObject", "exports/acme.jsonl"},
		{"DeleteObject", "exports/acme.jsonl.results.ndjson"},
		{"GetObject", "elsewhere/acme.jsonl"},
		{"PutObject", "elsewhere/acme.jsonl.results.ndjson"},
	}...) {
		if g.policy.allows(no[0], bucketName+"/"+no[1]) {
			g.t.Errorf("the role may %s %s, which the code never does", no[0], no[1])
		}
	}
	if g.policy.allows("GetBucket", "other-1250000000/exports/") {
		g.t.Error("the role may list another bucket")
	}
}

// newImporter returns an importer with the guarded bucket and an emulated service.
func (g *guarded) newImporter(service *emulator.Service, env map[string]string) *scheduler.Scheduler {
	g.t.Helper()
	im := httptest.NewServer(service)
	g.t.Cleanup(im.Close)
	maps.Copy(env, map[string]string{
		"TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": "k", "TIM_ENDPOINT": im.URL, "EXPORT_PREFIX": "exports/",
	})
	config, err := config.FromEnv(func(name string) string { return env[name] })
	if err != nil {
		g.t.Fatal(err)
	}
	i := &importer.Importer{Config: config, Bucket: g.open(), BucketName: bucketName}
	if i.Client, err = config.Clients(nil, nil)(); err != nil {
		g.t.Fatal(err)
	}
	return &scheduler.Scheduler{Importer: i}
}

func TestPolicyOfImports_CoversExactlyTheRequests(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, "groupimport")
	service := &emulator.Service{SDKAppID: 1400000000, Key: "k", Limit: -1, Faults: emulator.Faults{Internal: 0.5}}
	functest.Put(t, g.objects, "exports/acme.jsonl", functest.Records(300)...)
	var b blob.Bucket
	for range 2 { // records fail in the first pass and are imported in the second
		i := g.newImporter(service, map[string]string{
			"TIM_RATE": "2000", "ONE_AT_A_TIME": "true", "MAX_ATTEMPTS": "1", "RETRY_UNKNOWN": "true",
		})
		b = i.Importer.Bucket
		pass, err := i.Pass(t.Context(), scheduler.Action{Resume: true, Retry: true, Now: true, Missed: time.Nanosecond})
		if err != nil || len(pass.Done) == 0 || pass.Err() != nil {
			t.Fatalf("got %+v, %v", pass, err)
		}
		service.SetFaults(emulator.Faults{})
	}
	if !g.policy.allows("PutObject", bucketName+"/"+results.Names{Export: "exports/acme.csv"}.Report()) {
		t.Error("the role may not write the report")
	}
	// Large results are uploaded in parts. A failed upload is aborted.
	names := results.Names{Export: "exports/acme.jsonl"}
	if err := b.Put(t.Context(), names.Results(), strings.NewReader(strings.Repeat("x", 20<<20))); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(t.Context(), names.Results(), &breaking{left: 20 << 20}); err == nil {
		t.Error("got no error from a body that fails while it is read")
	}
	g.check([2]string{"PutObject", results.ResponsesFolder("exports/") + "20261122/x"})
}

func TestPolicyOfHTTP_CoversExactlyTheRequests(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, "groupimport-http")
	service := &emulator.Service{SDKAppID: 1400000000, Key: "k", Limit: -1}
	names := results.Names{Export: "exports/acme.jsonl"}
	for _, key := range []string{names.Export, names.Results(), names.Progress(), names.Manifest()} {
		if err := g.objects.Put(t.Context(), key, strings.NewReader("{}")); err != nil {
			t.Fatal(err)
		}
	}
	const token = "a-token-of-some-length"
	i := g.newImporter(service, map[string]string{"HTTP_TOKEN": token, "TIM_RATE": "100", "MAX_ATTEMPTS": "1"})
	h, err := httpapi.New(httpapi.Config{Config: i.Importer.Config, Bucket: i.Importer.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	send := func(method, path, body, key string, want int) {
		t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s %s: got %d %s, want %d", method, path, w.Code, w.Body, want)
		}
	}
	const group = `{"Type":"Public","Name":"x","GroupId":"x"}`
	send("POST", "/groups", group, "one", http.StatusCreated)
	send("POST", "/groups", group, "one", http.StatusCreated)
	service.SetFaults(emulator.Faults{Internal: 1})
	const other = `{"Type":"Public","Name":"y","GroupId":"y"}`
	send("POST", "/groups", other, "two", http.StatusBadGateway) // the program removes the claim of the key
	send("GET", "/imports", "", "", http.StatusOK)
	send("GET", "/imports/exports/acme.jsonl", "", "", http.StatusOK)
	var never [][2]string
	for _, key := range []string{
		names.Results(), names.Failures(), names.Report(), names.Manifest(), names.Progress(),
		names.Work() + "lease/000001",
	} {
		for _, action := range []string{
			"PutObject", "InitiateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "DeleteObject",
		} {
			never = append(never, [2]string{action, key})
		}
	}
	g.check(never...)
}

// A breaking reader returns some bytes and then fails.
type breaking struct{ left int }

func (b *breaking) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := min(len(p), b.left)
	b.left -= n
	return n, nil
}
