package main

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v3"

	"groupimport/functions/internal/functest"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/config"
	"groupimport/pkg/emulator"
	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
	"groupimport/pkg/tim"
)

// A template is template.yaml with its parameters filled in, as the platform does.
type template struct {
	t          *testing.T
	parameters map[string]any
	// The constraints of parameters, as the template has them.
	constraints map[string]any
	conditions  map[string]bool
	resources   map[string]bool
	doc         map[string]any
}

// loadTemplate returns the template with these parameters, and the defaults of the others. Required parameters that are
// not in set get valid values.
func loadTemplate(t *testing.T, set map[string]any) *template {
	t.Helper()
	raw, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil {
		t.Fatal(err)
	}
	tp := &template{t: t, conditions: map[string]bool{}, resources: map[string]bool{}, parameters: map[string]any{
		"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012",
		"AWS::StackName": "groups", "AWS::NoValue": nil,
	}}
	doc := root.Content[0]
	for name, p := range tp.value(child(doc, "Parameters")).(map[string]any) {
		tp.parameters[name] = p.(map[string]any)["Default"]
	}
	tp.parameters["BucketName"], tp.parameters["SdkAppId"] = "groups", 1400000000
	maps.Copy(tp.parameters, set)
	tp.constraints = tp.value(child(doc, "Parameters")).(map[string]any)
	for name, v := range set {
		if !tp.accepts(name, fmt.Sprint(v)) {
			t.Errorf("the template refuses %s=%v", name, v)
		}
	}
	for i, resources := 0, child(doc, "Resources").Content; i < len(resources); i += 2 {
		tp.resources[resources[i].Value] = true
		events := child(child(resources[i+1], "Properties"), "Events").Content
		for j := 0; j < len(events); j += 2 {
			tp.resources[resources[i].Value+events[j].Value] = true // as SAM names the rule or the schedule
		}
	}
	conditions := child(doc, "Conditions")
	for i := 0; i < len(conditions.Content); i += 2 {
		tp.conditions[conditions.Content[i].Value] = tp.value(conditions.Content[i+1]).(bool)
	}
	tp.doc = tp.value(doc).(map[string]any)
	return tp
}

func child(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return &yaml.Node{Kind: yaml.MappingNode}
}

// value evaluates the functions of a node and returns its value. A reference to a resource is its name.
func (tp *template) value(n *yaml.Node) any {
	switch n.Tag {
	case "!Ref":
		if v, ok := tp.parameters[n.Value]; ok {
			return v
		}
		return n.Value
	case "!GetAtt":
		return n.Value
	case "!Sub":
		return regexp.MustCompile(`\$\{([^}]+)\}`).ReplaceAllStringFunc(n.Value, func(s string) string {
			name := s[2 : len(s)-1]
			resource, _, _ := strings.Cut(name, ".")
			v, ok := tp.parameters[name]
			switch {
			case !ok && tp.resources[resource]:
				return name
			case !ok:
				tp.t.Errorf("line %d: unknown name %s", n.Line, name)
			}
			return fmt.Sprint(v)
		})
	case "!If":
		if tp.conditions[n.Content[0].Value] {
			return tp.value(n.Content[1])
		}
		return tp.value(n.Content[2])
	case "!Equals":
		return fmt.Sprint(tp.value(n.Content[0])) == fmt.Sprint(tp.value(n.Content[1]))
	case "!Not":
		return !tp.value(n.Content[0]).(bool)
	}
	if n.Kind == yaml.MappingNode {
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			if v := tp.value(n.Content[i+1]); v != nil {
				m[n.Content[i].Value] = v
			}
		}
		return m
	}
	if n.Kind == yaml.SequenceNode {
		l := []any{}
		for _, c := range n.Content {
			if v := tp.value(c); v != nil {
				l = append(l, v)
			}
		}
		return l
	}
	var v any
	if err := n.Decode(&v); err != nil || strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		tp.t.Fatalf("line %d: cannot read %s %s: %v", n.Line, n.Tag, n.Value, err)
	}
	return v
}

// at returns the value at a path of names in the document, or nil if there is none.
func (tp *template) at(path ...string) any {
	var v any = tp.doc
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

func (tp *template) list(path ...string) []any {
	l, _ := tp.at(path...).([]any)
	return l
}

// functions returns the names of the functions.
func (tp *template) functions() []string {
	var names []string
	for name := range tp.at("Resources").(map[string]any) {
		if tp.at("Resources", name, "Type") == "AWS::Serverless::Function" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// accepts reports whether a parameter may have a value: CloudFormation user guide, parameters-section-structure.
func (tp *template) accepts(name, value string) bool {
	c := tp.constraints[name].(map[string]any)
	isValue := func(v any) bool { return fmt.Sprint(v) == value }
	if allowed, ok := c["AllowedValues"].([]any); ok && !slices.ContainsFunc(allowed, isValue) {
		return false
	}
	if pattern, ok := c["AllowedPattern"].(string); ok && !regexp.MustCompile(`\A(?:`+pattern+`)\z`).MatchString(value) {
		return false
	}
	size := float64(utf8.RuneCountInString(value))
	low, high := "MinLength", "MaxLength"
	if c["Type"] == "Number" {
		var err error
		if size, err = strconv.ParseFloat(value, 64); err != nil {
			return false
		}
		low, high = "MinValue", "MaxValue"
	}
	bound := func(name string) (float64, bool) {
		n, err := strconv.ParseFloat(fmt.Sprint(c[name]), 64)
		return n, err == nil
	}
	if n, ok := bound(low); ok && size < n {
		return false
	}
	n, ok := bound(high)
	return !ok || size <= n
}

// env returns the variables of a function.
func (tp *template) env(function string) map[string]string {
	env := map[string]string{}
	for _, at := range [][]string{{"Globals", "Function"}, {"Resources", function, "Properties"}} {
		m, _ := tp.at(append(at, "Environment", "Variables")...).(map[string]any)
		for name, v := range m {
			env[name] = fmt.Sprint(v)
		}
	}
	return env
}

// wildcard reports whether text fits a pattern, in which * is any run of characters, and in a policy ? is any one.
func wildcard(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = strings.ReplaceAll(regexp.QuoteMeta(parts[i]), `\?`, ".")
	}
	return regexp.MustCompile(`(?s)\A` + strings.Join(parts, ".*") + `\z`).MatchString(text)
}

// patterns returns the wildcards of each rule that starts a function when an object is created in a bucket.
func (tp *template) patterns(bucket string) map[string][]string {
	rules := map[string][]string{}
	for _, function := range tp.functions() {
		events, _ := tp.at("Resources", function, "Properties", "Events").(map[string]any)
		for name := range events {
			at := []string{"Resources", function, "Properties", "Events", name}
			if tp.at(append(at, "Type")...) != "EventBridgeRule" {
				continue
			}
			if !reflect.DeepEqual(tp.list(append(at, "Properties", "Pattern", "source")...), []any{"aws.s3"}) ||
				!reflect.DeepEqual(tp.list(append(at, "Properties", "Pattern", "detail-type")...), []any{"Object Created"}) {
				tp.t.Errorf("%s: want a rule for \"Object Created\" events of S3 only", name)
			}
			if !slices.Contains(tp.list(append(at, "Properties", "Pattern", "detail", "bucket", "name")...), any(bucket)) {
				continue
			}
			for _, p := range tp.list(append(at, "Properties", "Pattern", "detail", "object", "key")...) {
				pattern, ok := p.(map[string]any)["wildcard"].(string)
				if !ok {
					tp.t.Fatalf("%s: unknown pattern %v", name, p)
				}
				rules[name] = append(rules[name], pattern)
			}
		}
	}
	return rules
}

// triggers reports whether the creation of an object starts a function. Two rules that match would start it twice.
func (tp *template) triggers(bucket, key string) bool {
	var matching []string
	for name, patterns := range tp.patterns(bucket) {
		if slices.ContainsFunc(patterns, func(p string) bool { return wildcard(p, key) }) {
			matching = append(matching, name)
		}
	}
	if len(matching) > 1 {
		tp.t.Errorf("%s matches the rules %v, want one at most", key, matching)
	}
	return len(matching) > 0
}

// complexity returns how many prefixes of the patterns one value may match at once, at most. EventBridge's
// open-source matcher rates rules by this number (aws/event-ruler, README, "Wildcard matching performance", 2026-07).
// Values and patterns include the quotes of a JSON string there.
func complexity(patterns []string) int {
	type prefix struct{ pattern, length int } // the first bytes of a pattern
	chars := map[byte]bool{0: true}           // 0 represents a byte that is in no pattern
	start := map[prefix]bool{}
	patterns = slices.Clone(patterns)
	for i, p := range patterns {
		patterns[i] = `"` + p + `"`
		start[prefix{i, 0}] = true
		for _, c := range []byte(patterns[i]) {
			chars[c] = c != '*'
		}
	}
	next := func(set map[prefix]bool, c byte) map[prefix]bool {
		after := map[prefix]bool{}
		for s := range set {
			p := patterns[s.pattern]
			if s.length > 0 && p[s.length-1] == '*' {
				after[s] = true
			}
			if s.length < len(p) && p[s.length] == c {
				after[prefix{s.pattern, s.length + 1}] = true
			}
		}
		for s := range maps.Clone(after) { // a wildcard may match nothing
			if p := patterns[s.pattern]; s.length < len(p) && p[s.length] == '*' {
				after[prefix{s.pattern, s.length + 1}] = true
			}
		}
		return after
	}
	seen := map[string]bool{}
	most := 0
	for todo := []map[prefix]bool{start}; len(todo) > 0; {
		set := todo[0]
		todo = todo[1:]
		for c, ok := range chars {
			after := next(set, c)
			if id := fmt.Sprint(after); ok && !seen[id] {
				seen[id] = true
				most = max(most, len(after))
				todo = append(todo, after)
			}
		}
	}
	return most
}

// maxComplexity is the complexity of a rule of three patterns with two wildcards each, which EventBridge accepted. It
// refused a rule of four such patterns, with a complexity of 12: https://github.com/vals-ai/Valkyrie/pull/278,
// 2026-04-15.
const maxComplexity = 9

func TestTemplate_RulesAreSimpleEnough(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		want     int // by aws/event-ruler 337e8d9, 2026-07-21
	}{
		{[]string{"*:stack/Aaaa/*", "*:stack/Bbbb/*", "*:stack/Ccccc/*"}, maxComplexity},
		{[]string{"*:stack/SharedStack/*", "*:stack/MonitoringStack/*", "*:stack/Ccccc/*", "*:stack/Ddddd/*"}, 12},
		{[]string{
			"x*.jsonl", "x*.jsonl.gz", "x*.jsonl.zst", "x*.json", "x*.json.gz", "x*.json.zst", "x*.csv", "x*.csv.gz",
			"x*.csv.zst",
		}, 20},
		{[]string{"*.jsonl.gz", "*.json.gz", "*.csv.gz"}, 7},
		{[]string{"x*.csv", "x*.csv.gz", "x*.csv.zst"}, 8},
		{[]string{"*.csv", "*.csv.gz", "*.csv.zst", "*.CSV", "*.CSV.gz"}, 12},
	} {
		if got := complexity(c.patterns); got != c.want {
			t.Errorf("%q: got a complexity of %d, want %d", c.patterns, got, c.want)
		}
	}
	for _, prefix := range []string{"exports/", "", "json.gz/", strings.Repeat("a/", 128)} {
		tp := loadTemplate(t, map[string]any{"ExportPrefix": prefix})
		rules := tp.patterns("groups")
		if len(rules) != 3 {
			t.Errorf("got %d rules, want 3", len(rules))
		}
		for name, patterns := range rules {
			if got := complexity(patterns); got > maxComplexity || strings.Count(strings.Join(patterns, ""), "*") > 4 {
				t.Errorf("%s has the patterns %q with a complexity of %d, want at most %d", name, patterns, got, maxComplexity)
			}
			// EventBridge user guide, quotas, 2026-11: 2,048 characters of a pattern, as JSON
			raw, err := json.Marshal(tp.at("Resources", "ImportFunction", "Properties", "Events", name, "Properties", "Pattern"))
			if err != nil || len(raw) > 2048 {
				t.Errorf("%s: got a pattern of %d characters, %v", name, len(raw), err)
			}
		}
	}
}

// allowed reports whether the policies of a function allow an action on a resource.
func (tp *template) allowed(function, action, resource string) bool {
	for _, policy := range tp.list("Resources", function, "Properties", "Policies") {
		for _, s := range tp.list("Resources", policy.(string), "Properties", "PolicyDocument", "Statement") {
			s := s.(map[string]any)
			resources, many := s["Resource"].([]any)
			if !many {
				resources = []any{s["Resource"]}
			}
			if s["Effect"] == "Allow" && slices.Contains(s["Action"].([]any), any(action)) &&
				slices.ContainsFunc(resources, func(r any) bool { return wildcard(r.(string), resource) }) {
				return true
			}
		}
	}
	return false
}

// An environment is a bucket, an IM service and an importer in virtual time.
type environment struct {
	t       *testing.T
	config  config.Config
	store   *blobtest.Bucket
	service *emulator.Service
	log     bytes.Buffer // what CloudWatch reads
}

// newEnvironment returns an environment with the configuration of ImportFunction.
func newEnvironment(t *testing.T, tp *template) *environment {
	t.Helper()
	e := &environment{t: t, config: tp.config("ImportFunction"), store: &blobtest.Bucket{}}
	e.config.SecretKey = "key"
	e.service = &emulator.Service{SDKAppID: e.config.SDKAppID, Key: e.config.SecretKey, Limit: -1}
	return e
}

// put puts an export below the prefix.
func (e *environment) put(key string, lines ...string) {
	e.t.Helper()
	if err := e.store.Put(e.t.Context(), e.config.Prefix+key, strings.NewReader(strings.Join(lines, "\n"))); err != nil {
		e.t.Fatal(err)
	}
	time.Sleep(time.Second)
}

// pass runs a scheduler pass with a deadline after length.
func (e *environment) pass(a scheduler.Action, length time.Duration) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), length)
	defer cancel()
	m := &metrics{w: &e.log}
	i := &importer.Importer{Config: e.config, Bucket: e.store, BucketName: e.config.Bucket}
	i.OnRunEnd = m.run
	var err error
	if i.Client, err = e.config.Clients(nil, func(c *tim.Config) { c.Transport = e.service })(); err != nil {
		e.t.Fatal(err)
	}
	result, err := (&scheduler.Scheduler{Importer: i}).Pass(ctx, a)
	if err != nil {
		e.t.Fatal(err)
	}
	m.pass(e.config.Bucket, a, result)
}

// all is an action that runs every kind of job at once.
var all = scheduler.Action{Resume: true, Retry: true, Now: true, Missed: time.Nanosecond}

// runAll runs imports with versions, retries and resumed runs, and returns the operations on the store and the keys
// that were written.
func (e *environment) runAll() (ops []blobtest.Op, written []string) {
	var mu sync.Mutex
	e.store.Fail = func(op blobtest.Op) blobtest.Fault {
		mu.Lock()
		defer mu.Unlock()
		ops = append(ops, op)
		return blobtest.Fault{}
	}
	for _, key := range []string{"a.jsonl", "sub/b.jsonl", "odd.import/c.jsonl"} {
		for version := range 2 {
			lines := functest.Records(2000)
			lines = append(lines, fmt.Sprintf(`{"Type":"Public","Name":"version %d","GroupId":"%s-%d"}`, version, key, version))
			if key == "a.jsonl" {
				lines[0] = "broken"
			}
			e.put(key, lines...)
			e.pass(all, 8*time.Second) // the deadline interrupts the run
			e.service.SetFaults(emulator.Faults{Internal: 0.5})
			e.pass(all, 15*time.Minute) // records fail
			e.service.SetFaults(emulator.Faults{})
			e.pass(all, 15*time.Minute)
			e.pass(all, 15*time.Minute)
		}
	}
	return ops, slices.Sorted(maps.Keys(e.store.Snapshot()))
}

// response returns the key of a response to a request with an Idempotency-Key.
func response(prefix string) string {
	return results.ResponsesFolder(prefix) + "20261122/" + strings.Repeat("9f", 32)
}

func TestTemplateRules_OwnObjectsStartNothing(t *testing.T) {
	for _, prefix := range []string{"exports/", "", "a/b/"} {
		tp := loadTemplate(t, map[string]any{"ExportPrefix": prefix})
		for _, format := range export.Formats {
			for _, compression := range append(slices.Clone(export.Compressions), "") {
				suffix := format + compression
				for _, suffix := range []string{suffix, strings.ToUpper(suffix), strings.ToUpper(format) + compression} {
					// README.md says that the schedule starts these: results have the same ending.
					want := suffix != ".ndjson"
					if got := tp.triggers("groups", prefix+"x/acme"+suffix); got != want {
						t.Errorf("%q: an export that ends in %s starts the function: %v, want %v", prefix, suffix, got, want)
					}
					if tp.triggers("other", prefix+"acme"+suffix) {
						t.Errorf("%q: an export in another bucket starts the function", prefix)
					}
				}
			}
		}
		if prefix != "" && tp.triggers("groups", "elsewhere/acme.jsonl") {
			t.Error("an object outside the prefix must not start the function")
		}
		for _, name := range []string{
			"a.jsonl", "a.json", "a.csv", "a.csv.gz", "a.json.zst", "a.ndjson", "A.CSV", "A.NDJSON.GZ", ".jsonl",
			"x.import/a.jsonl", "a.jsonl.results.ndjson.jsonl",
		} {
			n := results.Names{Export: prefix + name}
			old := n.Archived("v1", time.Time{})
			own := []string{
				n.Results(), n.Failures(), n.Report(), n.Manifest(), n.Progress(), n.Work() + "lease/000001",
				n.Work() + "checkpoint/000012", n.Work() + "parts/000001-000001", n.Work() + "parts/000001-ahead",
				old.Results(), old.Failures(), old.Report(), old.Manifest(),
				results.RateNames(prefix).Work() + "lease/000001", results.WaitingFolder(prefix) + "ABCD2345", response(prefix),
				results.CheckPage(prefix), results.CheckFolder(prefix) + "ABCDEFGHIJ-quiet",
				results.CheckFolder(prefix) + "ABCDEFGHIJ/lease/000001",
			}
			for _, key := range own {
				if !results.IsOutput(key) || tp.triggers("groups", key) {
					t.Errorf("%s: the program writes it, so the object is not an export and must not start the function", key)
				}
			}
		}
	}
}

func TestTemplatePolicies_CoverExactlyTheRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tp := loadTemplate(t, nil)
		e := newEnvironment(t, tp)
		e.config.Rate, e.config.RetryUnknown = 190, true
		ops, written := e.runAll()
		actions := map[string][]string{
			blobtest.Stat: {"s3:GetObject"}, blobtest.ReadRange: {"s3:GetObject"}, blobtest.Create: {"s3:PutObject"},
			blobtest.Put:  {"s3:PutObject", "s3:AbortMultipartUpload"},
			blobtest.List: {"s3:ListBucket"}, blobtest.Delete: {"s3:DeleteObject"},
		}
		writes := []string{blobtest.Put, blobtest.Create, blobtest.Delete}
		seen := map[string]bool{}
		for _, op := range ops {
			resource := "arn:aws:s3:::groups/" + op.Key
			switch {
			case op.Method == blobtest.List:
				resource = "arn:aws:s3:::groups"
			case !results.IsOutput(op.Key) && slices.Contains(writes, op.Method):
				continue // the export, which the test puts
			}
			seen[op.Method] = true
			for _, action := range actions[op.Method] {
				for _, function := range []string{"ImportFunction", "ScheduleFunction"} {
					if !tp.allowed(function, action, resource) {
						t.Errorf("%s may not %s %s, which the code does", function, action, resource)
					}
				}
			}
		}
		if len(seen) != len(actions) {
			t.Errorf("got only %v from all runs, want every method", seen)
		}
		for _, key := range written {
			if results.IsOutput(key) == strings.HasSuffix(key, ".jsonl") {
				t.Errorf("%s: want either an export or an object of the program", key)
			}
			if results.IsOutput(key) && tp.triggers("groups", key) {
				t.Errorf("%s: the program writes the object, so it must not start the function", key)
			}
		}
		for _, function := range tp.functions() {
			for _, no := range [][2]string{
				{"s3:PutObject", "groups/exports/a.jsonl"},
				{"s3:PutObject", "groups/exports/sub/b.json.gz"},
				{"s3:DeleteObject", "groups/exports/a.jsonl"},
				{"s3:DeleteObject", "groups/exports/a.jsonl.results.ndjson"},
				{"s3:DeleteObject", "groups/exports/a.jsonl.import/manifest"},
				{"s3:PutObject", "groups/exports/a.finished-2026.jsonl"},
				{"s3:DeleteObject", "groups/exports/a.finished-2026.jsonl"},
				{"s3:GetObject", "groups/elsewhere/a.jsonl"},
				{"s3:PutObject", "groups/elsewhere/a.jsonl.results.ndjson"},
				{"s3:GetObject", "other/exports/a.jsonl"},
				{"s3:ListBucket", "other"},
			} {
				if tp.allowed(function, no[0], "arn:aws:s3:::"+no[1]) {
					t.Errorf("%s may %s %s, which the code never does", function, no[0], no[1])
				}
			}
			const parameter = "arn:aws:ssm:eu-central-1:123456789012:parameter/groupimport/"
			for name, want := range map[string]bool{"secret-key": true, "http-token": false, "other": false} {
				if got := tp.allowed(function, "ssm:GetParameter", parameter+name); got != want {
					t.Errorf("%s may read %s: %v, want %v", function, name, got, want)
				}
			}
			token := loadTemplate(t, map[string]any{"HttpAuth": "NONE"})
			if got := token.allowed(function, "ssm:GetParameter", parameter+"http-token"); got != (function == "HttpFunction") {
				t.Errorf("%s may read the token: %v, want it readable only by the function that checks callers", function, got)
			}
		}
		report := results.Names{Export: "exports/a.csv"}.Report()
		if !tp.allowed("ImportFunction", "s3:PutObject", "arn:aws:s3:::groups/"+report) {
			t.Error("the report cannot be written")
		}
		key := "arn:aws:s3:::groups/" + response("exports/")
		for _, action := range []string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject"} {
			if !tp.allowed("HttpFunction", action, key) || tp.allowed("ImportFunction", "s3:PutObject", key) {
				t.Errorf("only HttpFunction must be allowed to %s %s", action, key)
			}
		}
	})
}

// The actions that S3's and SSM's calls need: docs.aws.amazon.com/service-authorization/latest/reference,
// list_amazons3 and list_awssystemsmanager.
var actionsOfCalls = map[string]string{
	"HeadObject": "s3:GetObject", "GetObject": "s3:GetObject", "PutObject": "s3:PutObject",
	"DeleteObject":          "s3:DeleteObject",
	"CreateMultipartUpload": "s3:PutObject", "UploadPart": "s3:PutObject", "CompleteMultipartUpload": "s3:PutObject",
	"AbortMultipartUpload": "s3:AbortMultipartUpload", "ListObjectsV2": "s3:ListBucket", "HeadBucket": "s3:ListBucket",
	"ListParts": "s3:ListMultipartUploadParts", "GetParameter": "ssm:GetParameter",
}

func TestTemplatePolicies_NameTheActionOfEveryCall(t *testing.T) {
	tp := loadTemplate(t, nil)
	granted := map[string]bool{}
	for _, policy := range tp.list("Resources", "ImportFunction", "Properties", "Policies") {
		for _, s := range tp.list("Resources", policy.(string), "Properties", "PolicyDocument", "Statement") {
			for _, action := range s.(map[string]any)["Action"].([]any) {
				granted[action.(string)] = true
			}
		}
	}
	calls := map[string]bool{}
	for _, dir := range []string{".", "../../pkg/blob/s3blob"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				// The input of a call is &s3.XInput{…}.
				if l, ok := n.(*ast.CompositeLit); ok {
					if s, ok := l.Type.(*ast.SelectorExpr); ok && strings.HasSuffix(s.Sel.Name, "Input") {
						calls[strings.TrimSuffix(s.Sel.Name, "Input")] = true
					}
				}
				return true
			})
		}
	}
	if len(calls) < 8 {
		t.Errorf("got only the calls %v, want all", calls)
	}
	for call := range calls {
		if action := actionsOfCalls[call]; action == "" || !granted[action] {
			t.Errorf("the code calls %s, which needs %q; the policy grants %v", call, action, slices.Sorted(maps.Keys(granted)))
		}
	}
	for action := range granted {
		needs := func(call string) bool { return actionsOfCalls[call] == action }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(calls)), needs) {
			t.Errorf("the policy grants %s, which no call in the code needs", action)
		}
	}
}

// config returns the configuration of a function.
func (tp *template) config(function string) config.Config {
	tp.t.Helper()
	env := tp.env(function)
	c, err := config.FromEnv(func(name string) string { return env[name] })
	if err != nil {
		tp.t.Errorf("%s: %v", function, err)
	}
	return c
}

func TestTemplate_EveryVariableIsSet(t *testing.T) {
	known := map[string]bool{}
	config.FromEnv(func(name string) string { known[name] = true; return "" })
	elsewhere := map[string]string{
		"TIM_SECRET_KEY":       "TIM_SECRET_KEY_PARAMETER names its parameter",
		"HTTP_TOKEN":           "HTTP_TOKEN_PARAMETER names its parameter",
		"HTTP_TOKEN_PARAMETER": "of the HTTP function",
		"HTTP_AUTH":            "of the HTTP function",
		"TIM_RATE_OTHERS":      "of the HTTP function; the default in the other functions is its rate",
		"MAPPING":              "of those that import exports",
		"USERS":                "of those that import exports",
		"USERS_STRICT":         "of those that import exports",
		"NOTIFY_URL":           "NOTIFY_PARAMETER leads to it",
		"NOTIFY_SECRET":        "NOTIFY_PARAMETER leads to it",
		"NOTIFY_PARAMETER":     "of those that import exports",
		"NOTIFY_FORMAT":        "of those that import exports",
	}
	tp := loadTemplate(t, nil)
	for _, function := range tp.functions() {
		env := tp.env(function)
		for name := range known {
			if _, ok := env[name]; !ok && elsewhere[name] == "" {
				t.Errorf("%s: %s is not set", function, name)
			}
		}
		for name := range env {
			if !known[name] {
				t.Errorf("%s: %s is set, and the program does not know it", function, name)
			}
		}
		tp.config(function)
	}
	// Each parameter has the default of its variable, so that one description serves both.
	defaults, err := config.FromEnv(func(name string) string {
		return map[string]string{"TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": "k"}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	got := tp.config("ImportFunction")
	got.SecretKey, got.SecretKeyParameter, got.Bucket, got.Prefix, got.OneAtATime, got.Rate = "k", "", "", "", false, 190
	got.MemberRate = 190
	if got != defaults {
		t.Errorf("got  %+v\nwant %+v, the defaults", got, defaults)
	}
	// The check adds up the rates of the functions.
	imports, http := tp.config("ImportFunction"), tp.config("HttpFunction")
	if imports.OtherRates != http.Rate || http.OtherRates != imports.Rate {
		t.Errorf("got the other rates %v and %v of functions with %v and %v", imports.OtherRates, http.OtherRates,
			imports.Rate, http.Rate)
	}
	regions := tp.list("Parameters", "TimRegion", "AllowedValues")
	if fmt.Sprint(sorted(regions)) != fmt.Sprint(tim.Regions()) {
		t.Errorf("got %v, want the regions %v", regions, tim.Regions())
	}
}

func sorted(l []any) []string {
	var s []string
	for _, v := range l {
		s = append(s, fmt.Sprint(v))
	}
	slices.Sort(s)
	return s
}

func TestTemplate_RatesAddUpToTheServicesLimit(t *testing.T) {
	for _, reserve := range []string{"true", "false"} {
		tp := loadTemplate(t, map[string]any{"ReserveConcurrency": reserve})
		tp = loadTemplate(t, map[string]any{
			"ReserveConcurrency": reserve, "Rate": tp.at("Parameters", "Rate", "MaxValue"),
			"MemberRate": tp.at("Parameters", "MemberRate", "MaxValue"),
		})
		// Import and schedule function share one rate of each command, all instances over HTTP another.
		var imports, http, members, httpMembers float64
		for _, function := range tp.functions() {
			c := tp.config(function)
			switch {
			case !c.OneAtATime:
				t.Errorf("%s does not share a rate", function)
			case function == "HttpFunction":
				http, httpMembers = c.Rate, c.MemberRate
			default:
				imports, members = max(imports, c.Rate), max(members, c.MemberRate)
			}
		}
		if imports+http > 200 || imports < 100 {
			t.Errorf("got %v for imports and %v over HTTP, want at most 200 together and most of it for imports", imports, http)
		}
		if members+httpMembers > 200 || members < 100 {
			t.Errorf("got %v calls for members and %v over HTTP, want at most 200 together", members, httpMembers)
		}
	}
}

func TestTemplate_Functions(t *testing.T) {
	tp := loadTemplate(t, nil)
	if got := tp.functions(); !slices.Equal(got, []string{"HttpFunction", "ImportFunction", "ScheduleFunction"}) {
		t.Fatalf("got %v", got)
	}
	global := func(name string) any { return tp.at("Globals", "Function", name) }
	for name, want := range map[string]string{
		"Runtime": "provided.al2023", "Handler": "bootstrap", "Architectures": "[arm64]", "CodeUri": "dist/lambda-arm64.zip",
		"MemorySize": "192",
	} {
		if got := fmt.Sprint(global(name)); got != want {
			t.Errorf("%s: got %s, want %s, as scripts/build creates it", name, got, want)
		}
	}
	for _, function := range tp.functions() {
		at := func(name ...string) any {
			return tp.at(append([]string{"Resources", function, "Properties"}, name...)...)
		}
		if loop := at("RecursiveLoop"); loop != nil || global("RecursiveLoop") != nil {
			t.Errorf("%s: got RecursiveLoop %v, want the default, which ends loops", function, loop)
		}
		if at("MemorySize") != nil {
			t.Errorf("%s: got %v MB of its own", function, at("MemorySize"))
		}
		log, _ := at("LoggingConfig", "LogGroup").(string)
		if days := tp.at("Resources", log, "Properties", "RetentionInDays"); days != 30 {
			t.Errorf("%s: got a log retention of %v days", function, days)
		}
	}
	if got := tp.at("Resources", "HttpFunction", "Properties", "FunctionUrlConfig", "AuthType"); got != "AWS_IAM" {
		t.Errorf("got a function URL with %v", got)
	}
	path := strings.Fields("Resources ImportFunction Properties EventInvokeConfig DestinationConfig OnFailure Destination")
	if tp.at(path...) != "FailureQueue.Arn" {
		t.Error("events that fail permanently need a destination")
	}
	inputs := map[string]bool{}
	for name := range tp.at("Resources", "ScheduleFunction", "Properties", "Events").(map[string]any) {
		at := func(n ...string) any {
			return tp.at(append([]string{"Resources", "ScheduleFunction", "Properties", "Events", name, "Properties"}, n...)...)
		}
		ev, err := parse([]byte(at("Input").(string)))
		if err != nil || ev.Action == nil {
			t.Errorf("%s: got input %v, %v, want an action", name, at("Input"), err)
		}
		inputs[at("Input").(string)] = true
		// One minute is "rate(1 minute)" and not "minutes": docs.aws.amazon.com/scheduler, schedule types.
		m := regexp.MustCompile(`^rate\((\d+) (minutes?)\)$`).FindStringSubmatch(at("ScheduleExpression").(string))
		if m == nil || (m[1] == "1") != (m[2] == "minute") {
			t.Errorf("%s: got %v", name, at("ScheduleExpression"))
		}
		if at("RetryPolicy", "MaximumRetryAttempts") != 0 {
			t.Errorf("%s: got %v, want no retries: the default are 185 over a day", name, at("RetryPolicy"))
		}
	}
	if len(inputs) != 1 {
		t.Errorf("got schedules %v, want one", inputs)
	}
	rules := tp.list("Resources", "Bucket", "Properties", "LifecycleConfiguration", "Rules")
	if !strings.Contains(fmt.Sprint(rules), "AbortIncompleteMultipartUpload:map[DaysAfterInitiation:2]") {
		t.Errorf("got %v, want incomplete uploads removed", rules)
	}
}

// references returns a node's text with its functions not evaluated, such as !Ref X.
func references(n *yaml.Node) string {
	if n.Kind == yaml.SequenceNode {
		var parts []string
		for _, c := range n.Content {
			parts = append(parts, references(c))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		return n.Tag + " " + n.Value
	}
	return n.Value
}

// The template's settings of each function, including defaults, so that a change to one fails here.
func TestTemplate_Settings(t *testing.T) {
	raw, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil {
		t.Fatal(err)
	}
	at := func(path ...string) *yaml.Node {
		n := root.Content[0]
		for _, name := range path {
			n = child(n, name)
		}
		return n
	}
	env := func(path ...string) map[string]string {
		m := map[string]string{}
		n := at(append(path, "Environment", "Variables")...)
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = references(n.Content[i+1])
		}
		return m
	}
	imports := map[string]string{
		"TIM_RATE": "!Ref Rate", "TIM_MEMBER_RATE": "!Ref MemberRate", "MAPPING": "!Ref Mapping", "ONE_AT_A_TIME": "true",
		"USERS": "!Ref Users", "USERS_STRICT": "!Ref UsersStrict",
		"NOTIFY_PARAMETER": "!Ref NotifyParameter", "NOTIFY_FORMAT": "!Ref NotifyFormat",
	}
	for _, c := range []struct {
		name string
		path []string
		want map[string]string
	}{
		{"all functions", []string{"Globals", "Function"}, map[string]string{
			"TIM_SDKAPPID": "!Ref SdkAppId", "TIM_ADMIN": "!Ref Admin", "TIM_REGION": "!Ref TimRegion",
			"TIM_SECRET_KEY_PARAMETER": "!Ref SecretKeyParameter", "TIM_ENDPOINT": "!Ref TimEndpoint",
			"MEMBERS_PER_CALL": "!Ref MembersPerCall", "MEMBERS": "!Ref Members",
			"IMPORT_ACCOUNTS": "!Ref ImportAccounts", "AVCHATROOM": "!Ref AvChatRoom",
			"FIELD_LIMITS": "!Ref FieldLimits", "ASSIGN_GROUP_IDS": "!Ref AssignGroupIds",
			"MAX_ATTEMPTS": "!Ref MaxAttempts", "PARALLEL_IMPORTS": "!Ref ParallelImports", "STOP_SHARE": "!Ref StopShare",
			"RETRY_UNKNOWN":    "!Ref RetryUnknown",
			"CREATE_UNMATCHED": "!Ref CreateUnmatched",
			"INCLUDE_ARCHIVED": "!Ref IncludeArchived", "EXPORT_ENCODING": "!Ref ExportEncoding", "RECORDS": "!Ref Records",
			"EXPORT_TIME_ZONE": "!Ref TimeZone",
			"EXPORT_BUCKET":    "!Ref BucketName", "EXPORT_PREFIX": "!Ref ExportPrefix", "LOG_LEVEL": "!Ref LogLevel",
		}},
		{"import", []string{"Resources", "ImportFunction", "Properties"}, imports},
		{"schedule", []string{"Resources", "ScheduleFunction", "Properties"}, imports},
		{"HTTP", []string{"Resources", "HttpFunction", "Properties"}, map[string]string{
			"TIM_RATE": "10", "TIM_RATE_OTHERS": "!Ref Rate", "TIM_MEMBER_RATE": "10", "ONE_AT_A_TIME": "true",
			"HTTP_AUTH":            "[TokenAuth, token, platform]",
			"HTTP_TOKEN_PARAMETER": "[TokenAuth, !Ref HttpTokenParameter, ]",
		}},
	} {
		if got := env(c.path...); !maps.Equal(got, c.want) {
			t.Errorf("variables of %s: got %v, want %v", c.name, got, c.want)
		}
	}
	if got := references(at("Conditions", "TokenAuth")); got != "[!Ref HttpAuth, NONE]" {
		t.Errorf("the function checks callers itself if %s", got)
	}

	tp := loadTemplate(t, nil)
	get := func(path ...string) string { return fmt.Sprint(tp.at(append([]string{"Resources"}, path...)...)) }
	for path, want := range map[string]string{
		"ImportFunction Properties Timeout":   "900",
		"ScheduleFunction Properties Timeout": "900",
		"HttpFunction Properties Timeout":     "30",

		"ImportFunction Properties ReservedConcurrentExecutions":   "1",
		"ScheduleFunction Properties ReservedConcurrentExecutions": "3",
		"HttpFunction Properties ReservedConcurrentExecutions":     "10",

		"ImportFunction Properties Policies":   "[ImportPolicy]",
		"ScheduleFunction Properties Policies": "[ImportPolicy]",
		"HttpFunction Properties Policies":     "[HttpPolicy]",

		"ImportFunction Properties LoggingConfig LogGroup":   "ImportLog",
		"ScheduleFunction Properties LoggingConfig LogGroup": "ScheduleLog",
		"HttpFunction Properties LoggingConfig LogGroup":     "HttpLog",

		"ImportFunction Properties EventInvokeConfig MaximumRetryAttempts":     "2",
		"ImportFunction Properties EventInvokeConfig MaximumEventAgeInSeconds": "21600",
		"ScheduleFunction Properties EventInvokeConfig MaximumRetryAttempts":   "0",

		"ImportFunction Properties Events Export Properties State":           "<nil>", // on
		"ImportFunction Properties Events ExportInCapitals Properties State": "<nil>",
		"ImportFunction Properties Events ExportCompressed Properties State": "<nil>",
		"ScheduleFunction Properties Events Resume Properties State":         "<nil>",

		"ScheduleFunction Properties Events Resume Properties ScheduleExpression": "rate(1 minute)",
		// The name of a stack may be too long for the name of a schedule.
		"ScheduleFunction Properties Events Resume Properties OmitName": "true",

		"Bucket Properties NotificationConfiguration EventBridgeConfiguration EventBridgeEnabled": "true",
		"FailureQueue Properties MessageRetentionPeriod":                                          "1209600",

		"HttpUrlPublic Condition":                           "TokenAuth",
		"HttpUrlPublic Properties Action":                   "lambda:InvokeFunctionUrl",
		"HttpUrlPublic Properties FunctionUrlAuthType":      "NONE",
		"HttpInvokePublic Condition":                        "TokenAuth",
		"HttpInvokePublic Properties Action":                "lambda:InvokeFunction",
		"HttpInvokePublic Properties InvokedViaFunctionUrl": "true",
	} {
		if got := get(strings.Fields(path)...); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	for name, want := range map[string]string{
		"ImportPolicy": "s3:GetObject s3:PutObject s3:AbortMultipartUpload s3:DeleteObject s3:ListBucket ssm:GetParameter",
		"HttpPolicy":   "s3:GetObject s3:PutObject s3:DeleteObject s3:ListBucket ssm:GetParameter",
	} {
		var actions []string
		for _, s := range tp.list("Resources", name, "Properties", "PolicyDocument", "Statement") {
			for _, a := range s.(map[string]any)["Action"].([]any) {
				actions = append(actions, a.(string))
			}
		}
		if got := strings.Join(actions, " "); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestTemplate_LinterFindsNothing(t *testing.T) {
	t.Parallel()
	lint, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Skip("cfn-lint is not installed: pip install cfn-lint==1.51.0")
	}
	if out, err := exec.Command(lint, "../../template.yaml").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
