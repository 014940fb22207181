package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"groupimport/pkg/backoff"
)

// A functionState is the response of GetFunction.
type functionState struct {
	Status, Runtime, Handler, Role, Description string
	LogsetID                                    string `json:"ClsLogsetId"`
	TopicID                                     string `json:"ClsTopicId"`
	MemorySize, Timeout                         int64
	Environment                                 struct {
		Variables []struct{ Key, Value string }
	}
	StatusReasons []struct{ ErrorMessage string }
}

// function returns the state of a function that is not being changed, or nil if there is none.
func (d *deployer) function(ctx context.Context, name string) (*functionState, error) {
	for range maxPolls {
		var f functionState
		err := d.read(ctx, "scf", "GetFunction", d.named(name, map[string]any{"ShowCode": "FALSE"}), &f)
		switch {
		case isMissing(err):
			return nil, nil // nil says that there is none
		case err != nil:
			return nil, err
		}
		switch f.Status { // tencentcloud.com/document/product/583/37883, 2021-01-12
		case "Creating", "Updating", "Publishing", "Deleting":
			if err := backoff.Sleep(ctx, pause); err != nil {
				return nil, err
			}
		default:
			return &f, nil
		}
	}
	return nil, fmt.Errorf("function %s is still being changed after %v: look at it in the SCF console",
		name, maxPolls*pause)
}

func (d *deployer) functionChanges(ctx context.Context, f function) ([]change, error) {
	t := d.target
	state, err := d.function(ctx, f.name)
	if err != nil {
		return nil, err
	}
	description := f.description + codeMark + t.digest + "."
	var list []change
	add := func(action, text string, p map[string]any) {
		settles := action != "PutReservedConcurrencyConfig" && action != "DeleteReservedConcurrencyConfig"
		list = append(list, change{
			scope: f.name, text: f.name + ": " + text, service: "scf", action: action, parameters: p, settles: settles,
		})
	}
	reason := ""
	if state != nil && len(state.StatusReasons) > 0 {
		reason = ", " + state.StatusReasons[0].ErrorMessage
	}
	var triggers []triggerState
	var reserved int64
	switch {
	case state == nil:
		settings := d.settings(f, description)
		settings["Runtime"], settings["Handler"], settings["Type"] = t.runtime, f.handler, "Event"
		settings["Code"] = t.code()
		add("CreateFunction", "create", settings)
	case state.Status == "CreateFailed" && isOurs(state) && !d.deleted[f.name]:
		add("DeleteFunction", "delete, since its creation failed"+reason, d.named(f.name, nil))
		return list, nil
	case strings.HasSuffix(state.Status, "Failed") && (state.Status != "UpdateFailed" || d.sent[f.name]):
		return nil, fmt.Errorf("function %s: %s%s: see the SCF console; delete the function there and run this again", f.name,
			state.Status, reason)
	case state.Runtime != t.runtime:
		return nil, fmt.Errorf("function %s has runtime %s, want %s, which cannot be changed: delete the function",
			f.name, state.Runtime, t.runtime)
	default:
		// The code first: its digest in the description says that it is there.
		isCurrent := strings.HasSuffix(state.Description, codeMark+t.digest+".") && state.Handler == f.handler &&
			state.Status != "UpdateFailed"
		if !isCurrent && !d.sent[f.name] {
			add("UpdateFunctionCode", "update the code", d.named(f.name, map[string]any{"Handler": f.handler, "Code": t.code()}))
		}
		if diff := d.settingsDiff(state, f, description); len(diff) > 0 {
			add("UpdateFunctionConfiguration", "change "+strings.Join(diff, ", "), d.settings(f, description))
		}
		if triggers, err = d.triggers(ctx, f.name); err != nil {
			return nil, err
		}
		if f.key == "http" {
			if reserved, err = d.reserved(ctx, f.name); err != nil {
				return nil, err
			}
		}
	}
	list = append(list, d.triggerChanges(f, triggers)...)
	if f.key == "http" && reserved != t.httpMemory {
		if t.httpMemory == 0 {
			add("DeleteReservedConcurrencyConfig", "remove the limit of instances", d.named(f.name, nil))
		} else {
			add("PutReservedConcurrencyConfig", fmt.Sprintf("reserve %d MB, %d before", t.httpMemory, reserved),
				d.named(f.name, map[string]any{"ReservedConcurrencyMem": t.httpMemory}))
		}
	}
	return list, nil
}

// settings returns the parameters that CreateFunction and UpdateFunctionConfiguration have in common.
func (d *deployer) settings(f function, description string) map[string]any {
	variables := []map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(f.variables)) {
		variables = append(variables, map[string]string{"Key": key, "Value": f.variables[key]})
	}
	settings := d.named(f.name, map[string]any{
		"Description": description, "MemorySize": f.memory, "Timeout": f.timeout, "Role": f.role,
		"Environment": map[string]any{"Variables": variables},
	})
	if d.topic != "" {
		settings["ClsLogsetId"], settings["ClsTopicId"] = d.logset, d.topic
	}
	return settings
}

// codeMark begins the digest of the code at the end of a function's description, which takes letters, digits, spaces,
// commas and full stops (CreateFunction, Description).
const codeMark = " Code "

var madeDescription = regexp.MustCompile(codeMark + `[0-9a-f]{16}\.$`)

// isOurs reports whether this command made the function, or took it over.
func isOurs(state *functionState) bool { return madeDescription.MatchString(state.Description) }

// settingsDiff names the settings that differ. It names variables without their values, which may be secrets.
func (d *deployer) settingsDiff(state *functionState, f function, description string) (diff []string) {
	if state.Description != description {
		diff = append(diff, "description")
	}
	if state.MemorySize != f.memory {
		diff = append(diff, fmt.Sprintf("memory from %d to %d MB", state.MemorySize, f.memory))
	}
	if state.Timeout != f.timeout {
		diff = append(diff, fmt.Sprintf("timeout from %d to %d s", state.Timeout, f.timeout))
	}
	if state.Role != f.role {
		diff = append(diff, fmt.Sprintf("role from %s to %s", state.Role, f.role))
	}
	hasTopic := d.target.topic != "" || d.target.logDays > 0
	if hasTopic && (d.topic == "" || state.LogsetID != d.logset || state.TopicID != d.topic) {
		diff = append(diff, "log topic")
	}
	variables := map[string]string{}
	for _, v := range state.Environment.Variables {
		variables[v.Key] = v.Value
	}
	names := maps.Clone(variables)
	maps.Copy(names, f.variables)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if variables[name] != f.variables[name] {
			diff = append(diff, "variable "+name)
		}
	}
	return diff
}
