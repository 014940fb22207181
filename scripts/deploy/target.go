package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"groupimport/pkg/config"
)

// maxZip is the size of a zip, in bytes, that a request holds in base64: signed by TC3-HMAC-SHA256 a request has at
// most 10 MB (tencentcloud.com/document/api/608/33031, 2021-08-16). A larger one goes through COS.
var maxZip = 7_000_000

// maxCode is the size of a zip that SCF takes (data type Code).
const maxCode = 50_000_000

type options struct {
	oneRule       bool
	httpMemory    int64  // MB, 0 for no limit of instances
	logDays       int64  // that a log topic of our own keeps logs, 0 for none
	logset, topic string // IDs of those of the operator, instead of our own
}

// A target is what has to exist.
type target struct {
	options
	region, namespace, runtime string
	bucket, prefix             string
	prefixName                 string // of all functions, before their key; the name of the logset and the log topic
	auth                       string // of the function URL: NONE or CAM
	zip                        []byte
	digest                     string // of the zip, in the description of each function
	functions                  []function
}

// A function is a function that has to exist.
type function struct {
	key, name, description, handler, role string
	memory, timeout                       int64 // MB, seconds
	variables                             map[string]string
	secrets                               []string // names of secrets that the role reads
	triggers                              []trigger
}

// A trigger is a trigger as CreateTrigger names it.
type trigger struct{ kind, name, description, argument string }

// readParameters reads lines NAME=VALUE.
func readParameters(name string) (map[string]string, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w: copy .env.example to .env and fill it in", err)
	}
	parameters := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("%s: line %d is not NAME=VALUE", name, n)
		}
		value = strings.TrimSpace(value)
		if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		parameters[strings.TrimSpace(key)] = value
	}
	return parameters, lines.Err()
}

var parameter = regexp.MustCompile(`\$\{env:([^}]+)\}`)

// readTarget reads serverless.yml with these parameters. YAML is parsed before parameters are filled in, so that no
// value of a parameter is taken for YAML.
func readTarget(name string, parameters map[string]string, o options) (*target, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	type variable struct{ Key, Value string }
	var file struct {
		Name, App, Stage string
		Inputs           struct {
			Region, Runtime, Namespace string
			Environments               []variable
			Functions                  map[string]struct {
				Description, Handler, Role string
				MemorySize                 int64 `yaml:"memorySize"`
				Timeout                    int64
				Environments               []variable
			}
			Triggers []struct {
				Type, Function string
				Parameters     struct {
					Bucket, Events, Name, Argument string
					Filter                         struct{ Prefix, Suffix string }
					CronExpression                 string `yaml:"cronExpression"`
					AuthType                       string `yaml:"authType"`
					NetConfig                      struct {
						Intranet bool `yaml:"enableIntranet"`
						Extranet bool `yaml:"enableExtranet"`
					} `yaml:"netConfig"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	missing := map[string]bool{}
	fill := func(s string) string {
		return parameter.ReplaceAllStringFunc(s, func(s string) string {
			key := parameter.FindStringSubmatch(s)[1]
			value, ok := parameters[key]
			if !ok {
				missing[key] = true
			}
			return value
		})
	}
	in := file.Inputs
	t := &target{
		options: o, region: fill(in.Region), namespace: in.Namespace, runtime: in.Runtime,
		bucket: fill("${env:BucketName}"), prefix: fill("${env:ExportPrefix}"), auth: fill("${env:HttpAuth}"),
		prefixName: file.Name + "-" + file.Stage + "-" + file.App,
	}
	for _, key := range slices.Sorted(maps.Keys(in.Functions)) {
		f := in.Functions[key]
		list := f.Environments
		if list == nil {
			list = in.Environments
		}
		g := function{
			key: key, name: t.prefixName + "-" + key,
			description: f.Description, handler: f.Handler, role: fill(f.Role),
			memory: f.MemorySize, timeout: f.Timeout, variables: map[string]string{},
		}
		for _, v := range list {
			if value := fill(v.Value); value != "" { // an empty one is the same as none
				g.variables[v.Key] = value
			}
		}
		if err := g.readSecrets(parameters); err != nil {
			return nil, err
		}
		for _, tr := range in.Triggers {
			if tr.Function != key {
				continue
			}
			p := tr.Parameters
			var w trigger
			switch tr.Type {
			case "cos":
				filter := map[string]string{"Prefix": fill(p.Filter.Prefix), "Suffix": p.Filter.Suffix}
				if o.oneRule {
					filter["Suffix"] = ""
				}
				w = trigger{"cos", fill(p.Bucket), compact(map[string]any{"event": p.Events, "filter": filter}), ""}
			case "timer":
				w = trigger{"timer", p.Name, p.CronExpression, p.Argument}
			case "http":
				network := map[string]bool{"EnableIntranet": p.NetConfig.Intranet, "EnableExtranet": p.NetConfig.Extranet}
				description := compact(map[string]any{"AuthType": fill(p.AuthType), "NetConfig": network})
				w = trigger{"http", "url-trigger", description, ""}
			default:
				return nil, fmt.Errorf("%s: trigger of unknown type %q", name, tr.Type)
			}
			if !slices.Contains(g.triggers, w) {
				g.triggers = append(g.triggers, w)
			}
		}
		t.functions = append(t.functions, g)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf(".env lacks %s: copy the lines of .env.example",
			strings.Join(slices.Sorted(maps.Keys(missing)), ", "))
	}
	return t, nil
}

// readSecrets replaces the key and the token by the names of secrets, if .env has those.
func (f *function) readSecrets(parameters map[string]string) error {
	for _, s := range []struct{ parameter, value, variable string }{
		{"SecretKeyParameter", "SecretKey", "TIM_SECRET_KEY"},
		{"HttpTokenParameter", "HttpToken", "HTTP_TOKEN"},
	} {
		name := parameters[s.parameter]
		if name != "" && parameters[s.value] != "" {
			return fmt.Errorf("%s and %s are both set in .env: empty one of them", s.parameter, s.value)
		}
		if name != "" && (s.variable == "TIM_SECRET_KEY" || f.key == "http") {
			f.variables[s.variable+"_PARAMETER"] = name
		}
	}
	for _, variable := range []string{"TIM_SECRET_KEY_PARAMETER", "HTTP_TOKEN_PARAMETER", "NOTIFY_PARAMETER"} {
		if name, _, _ := strings.Cut(f.variables[variable], ":"); name != "" {
			f.secrets = append(f.secrets, name)
		}
	}
	return nil
}

var bucketName = regexp.MustCompile(`^[a-z0-9-]+-[0-9]+$`)

// check returns an error about parameters with which the functions would not work.
func (t *target) check(parameters map[string]string) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !bucketName.MatchString(t.bucket) {
		wrong("BucketName is %q: want the name with the APPID at its end, as groups-1250000000", t.bucket)
	}
	if parameters["SdkAppId"] == "" {
		wrong("SdkAppId is empty: want the SDKAppID of the IM app")
	}
	if parameters["SecretKey"] == "" && parameters["SecretKeyParameter"] == "" {
		wrong("SecretKey is empty: want the key of the IM app, or the name of a secret in SecretKeyParameter")
	}
	hasToken := parameters["HttpToken"] != "" || parameters["HttpTokenParameter"] != ""
	switch {
	case t.auth != "NONE" && t.auth != "CAM":
		wrong("HttpAuth is %q: want NONE or CAM", t.auth)
	case t.auth == "NONE" && !hasToken:
		wrong("HttpToken is empty: set one (openssl rand -hex 24), or the name of a secret in HttpTokenParameter, or " +
			"HttpAuth=CAM")
	case t.auth == "CAM" && hasToken:
		wrong("HttpAuth is CAM: empty HttpToken and HttpTokenParameter, since a request has room for one authorization")
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return t.checkVariables()
}

// checkVariables returns an error about variables that the functions would refuse.
func (t *target) checkVariables() error {
	var errs []error
	said := map[string]bool{} // the functions share most variables
	for _, f := range t.functions {
		_, err := config.FromEnv(func(name string) string {
			if name == "HTTP_AUTH" { // see functions/scf
				return map[string]string{"NONE": "token", "CAM": "platform-unverified"}[f.variables[name]]
			}
			return f.variables[name]
		})
		if err != nil && !said[err.Error()] {
			said[err.Error()] = true
			errs = append(errs, fmt.Errorf("function %s: %w", f.key, err))
		}
	}
	if len(errs) > 0 {
		errs = append(errs, errors.New("these are variables of serverless.yml, most with their values in .env: correct them "+
			"there"))
	}
	return errors.Join(errs...)
}

func (t *target) readCode(name string) error {
	var err error
	if t.zip, err = os.ReadFile(name); err != nil {
		return fmt.Errorf("%w: scripts/build writes it", err)
	}
	if len(t.zip) > maxCode {
		return fmt.Errorf("%s has %d bytes, limit %d: SCF takes no larger one", name, len(t.zip), maxCode)
	}
	if t.throughCOS() && t.prefix == "" {
		return fmt.Errorf("%s has %d bytes, and more than %d go through the bucket: set ExportPrefix, so that it does not "+
			"lie among the exports", name, len(t.zip), maxZip)
	}
	t.digest = fmt.Sprintf("%x", sha256.Sum256(t.zip))[:16]
	return nil
}

// throughCOS reports whether the zip is too large for a request.
func (t *target) throughCOS() bool { return len(t.zip) > maxZip }

// codeFolder is where in the bucket the zip lies during a deployment.
const codeFolder = "groupimport-code/"

func (t *target) codeKey() string { return codeFolder + t.digest + ".zip" }

// code returns the parameter Code. From COS it takes the bucket's name without its APPID, a slash before the key, and
// the region for Beijing alone (data type Code).
func (t *target) code() map[string]any {
	if !t.throughCOS() {
		return map[string]any{"ZipFile": base64.StdEncoding.EncodeToString(t.zip)}
	}
	code := map[string]any{
		"CosBucketName": t.bucket[:strings.LastIndexByte(t.bucket, '-')], "CosObjectName": "/" + t.codeKey(),
	}
	if strings.HasPrefix(t.region, "ap-beijing") {
		code["CosBucketRegion"] = t.region
	}
	return code
}

// values returns the values of variables that are secrets, the address of a webhook among them.
func (t *target) values() (all []string) {
	for _, f := range t.functions {
		for _, name := range []string{"TIM_SECRET_KEY", "HTTP_TOKEN", "NOTIFY_URL", "NOTIFY_SECRET"} {
			all = append(all, f.variables[name])
		}
	}
	return all
}

// mark is the description of the roles and policies of this deployment.
func (t *target) mark() string { return mark + " for " + t.prefixName + " in " + t.region }

func (t *target) appID() string { return t.bucket[strings.LastIndexByte(t.bucket, '-')+1:] }

// roles returns the policies of the roles. secrets has the resource of each secret.
func (t *target) roles(secrets map[string]string) (map[string]string, error) {
	roles := map[string]string{}
	for _, f := range t.functions {
		var resources []string
		for _, name := range f.secrets {
			resources = append(resources, secrets[name])
		}
		policy := t.policy(f.key == "http", resources)
		if old, ok := roles[f.role]; ok && old != policy {
			//nolint:staticcheck // names of parameters
			return nil, errors.New("Role and HttpRole are the same: give the HTTP function a role of its own")
		}
		roles[f.role] = policy
	}
	return roles, nil
}

// compact returns v as JSON without spaces. v holds only strings, numbers and booleans.
func compact(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}
