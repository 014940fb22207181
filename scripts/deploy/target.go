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
)

// maxZip is the size of a zip that a request of at most 10 MB holds in base64.
const maxZip = 7_000_000

type options struct {
	oneRule       bool
	httpMemory    int64
	logset, topic string
}

// A target is what has to exist.
type target struct {
	options
	region, namespace, runtime string
	bucket, prefix             string
	zip                        []byte
	digest                     string // of the zip, in the description of each function
	functions                  []function
}

// A function is a function that has to exist.
type function struct {
	key, name, description, handler, role string
	memory, timeout                       int64 // MB, seconds
	variables                             map[string]string
	triggers                              []trigger
}

// A trigger is a trigger as CreateTrigger names it.
type trigger struct{ kind, name, description, argument string }

// readParameters reads lines NAME=VALUE.
func readParameters(name string) (map[string]string, error) {
	raw, err := os.ReadFile(name) //nolint:gosec // the operator names the file
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
	raw, err := os.ReadFile(name) //nolint:gosec // the operator names the file
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
		bucket: fill("${env:BucketName}"), prefix: fill("${env:ExportPrefix}"),
	}
	for _, key := range slices.Sorted(maps.Keys(in.Functions)) {
		f := in.Functions[key]
		list := f.Environments
		if list == nil {
			list = in.Environments
		}
		g := function{
			key: key, name: file.Name + "-" + file.Stage + "-" + file.App + "-" + key,
			description: f.Description, handler: f.Handler, role: fill(f.Role),
			memory: f.MemorySize, timeout: f.Timeout, variables: map[string]string{},
		}
		for _, v := range list {
			if value := fill(v.Value); value != "" { // an empty one is the same as none
				g.variables[v.Key] = value
			}
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
				w = trigger{"http", "url-trigger", compact(map[string]any{"AuthType": p.AuthType, "NetConfig": map[string]bool{
					"EnableIntranet": p.NetConfig.Intranet, "EnableExtranet": p.NetConfig.Extranet,
				}}), ""}
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
	if !regexp.MustCompile(`^[a-z0-9-]+-[0-9]+$`).MatchString(t.bucket) {
		return nil, fmt.Errorf("BucketName is %q: want the name with the APPID at its end, as groups-1250000000", t.bucket)
	}
	return t, nil
}

func (t *target) readCode(name string) error {
	var err error
	if t.zip, err = os.ReadFile(name); err != nil { //nolint:gosec // the operator names the file
		return fmt.Errorf("%w: scripts/build writes it", err)
	}
	if len(t.zip) > maxZip {
		return fmt.Errorf("%s has %d bytes, limit %d: the API takes no larger request", name, len(t.zip), maxZip)
	}
	t.digest = fmt.Sprintf("%x", sha256.Sum256(t.zip))[:16]
	return nil
}

func (t *target) code() map[string]any {
	return map[string]any{"ZipFile": base64.StdEncoding.EncodeToString(t.zip)}
}

// roles returns the roles of the functions, with their policies.
func (t *target) roles() (map[string]string, error) {
	roles := map[string]string{}
	for _, f := range t.functions {
		policy := t.policy(f.key == "http")
		if old, ok := roles[f.role]; ok && old != policy {
			return nil, errors.New("Role and HttpRole are the same: give the HTTP function a role of its own") //nolint:staticcheck // names of parameters
		}
		roles[f.role] = policy
	}
	return roles, nil
}

// compact returns v as JSON without spaces. v holds only strings, numbers and booleans.
func compact(v any) string {
	raw, _ := json.Marshal(v) //nolint:errchkjson // it holds nothing that can fail
	return string(raw)
}
