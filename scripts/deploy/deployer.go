package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	maxFailures = 8   // in a row, before a deployment gives up
	maxPolls    = 600 // while a function is being created or updated
)

// pause is the time between two polls, and after a failure, where it doubles with each further failure.
var pause = 500 * time.Millisecond

// mark begins the description of each role and policy that this command made.
const mark = "Made by groupimport's scripts/deploy"

// A change is one call that brings the account nearer to the target.
type change struct {
	text            string // for the operator, without secrets
	service, action string
	parameters      map[string]any
}

type deployer struct {
	api    *api
	target *target
	out    io.Writer
	sent   map[string]bool // functions whose code this process has updated
}

// converge reads the state, makes the first change and repeats that until there is none. So it heals lost responses,
// and what a killed deployment left. With plan it only prints the changes that it knows now.
func (d *deployer) converge(ctx context.Context, changes func(context.Context) ([]change, error), plan bool) error {
	failures, made := 0, 0
	for {
		list, err := changes(ctx)
		switch {
		case err != nil:
		case plan:
			for _, c := range list {
				fmt.Fprintln(d.out, c.text)
			}
			if len(list) == 0 {
				fmt.Fprintln(d.out, "nothing to change")
			}
			return nil
		case len(list) == 0:
			fmt.Fprintf(d.out, "done, %d changes\n", made)
			return nil
		default:
			fmt.Fprintln(d.out, list[0].text)
			if err = d.api.call(ctx, list[0].service, list[0].action, list[0].parameters, nil); err == nil {
				failures = 0
				made++
				if name, ok := list[0].parameters["FunctionName"].(string); ok && list[0].action == "UpdateFunctionCode" {
					d.sent[name] = true
				}
				continue
			}
		}
		if failures++; ctx.Err() != nil || !isTransient(err) || failures == maxFailures {
			return fmt.Errorf("%w\nRun the same command again to resume.", err) //nolint:revive,staticcheck // a sentence of its own
		}
		fmt.Fprintf(d.out, "  reads the state once more: %v\n", err)
		if err := sleep(ctx, pause<<(failures-1)); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// A functionState is the response of GetFunction.
type functionState struct {
	Status, Runtime, Handler, Role, Description, ClsLogsetId, ClsTopicId string //nolint:staticcheck // the API's names
	MemorySize, Timeout                                                  int64
	Environment                                                          struct {
		Variables []struct{ Key, Value string }
	}
	StatusReasons []struct{ ErrorMessage string }
}

// function returns the state of a function that is not being changed, or nil if there is none.
func (d *deployer) function(ctx context.Context, name string) (*functionState, error) {
	for range maxPolls {
		var f functionState
		err := d.api.call(ctx, "scf", "GetFunction", d.named(name, map[string]any{"ShowCode": "FALSE"}), &f)
		switch {
		case isMissing(err):
			return nil, nil //nolint:nilnil // nil says that there is none
		case err != nil:
			return nil, err
		}
		switch f.Status {
		case "Creating", "Updating", "Publishing", "Deleting":
			if err := sleep(ctx, pause); err != nil {
				return nil, err
			}
		default:
			return &f, nil
		}
	}
	return nil, fmt.Errorf("function %s is still being changed after %v: look at it in the SCF console",
		name, maxPolls*pause)
}

// named adds the names of a function to parameters.
func (d *deployer) named(name string, parameters map[string]any) map[string]any {
	p := map[string]any{"FunctionName": name, "Namespace": d.target.namespace}
	maps.Copy(p, parameters)
	return p
}

// changes returns what differs from the target, in the order in which to change it.
func (d *deployer) changes(ctx context.Context) ([]change, error) {
	roles, err := d.target.roles()
	if err != nil {
		return nil, err
	}
	var list []change
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		more, err := d.roleChanges(ctx, role, roles[role])
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	for _, f := range d.target.functions {
		more, err := d.functionChanges(ctx, f)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

func (d *deployer) functionChanges(ctx context.Context, f function) ([]change, error) {
	t := d.target
	state, err := d.function(ctx, f.name)
	if err != nil {
		return nil, err
	}
	description := f.description + codeMark + t.digest + "]"
	variables := []map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(f.variables)) {
		variables = append(variables, map[string]string{"Key": key, "Value": f.variables[key]})
	}
	settings := d.named(f.name, map[string]any{
		"Description": description, "MemorySize": f.memory, "Timeout": f.timeout, "Role": f.role,
		"Environment": map[string]any{"Variables": variables},
	})
	if t.topic != "" {
		settings["ClsLogsetId"], settings["ClsTopicId"] = t.logset, t.topic
	}
	var list []change
	add := func(action, text string, p map[string]any) {
		list = append(list, change{f.name + ": " + text, "scf", action, p})
	}
	var triggers []triggerState
	var reserved int64
	switch {
	case state == nil:
		settings["Runtime"], settings["Handler"], settings["Type"] = t.runtime, f.handler, "Event"
		settings["Code"] = t.code()
		add("CreateFunction", "create", settings)
	case strings.HasSuffix(state.Status, "Failed"):
		reason := state.Status
		if len(state.StatusReasons) > 0 {
			reason += ", " + state.StatusReasons[0].ErrorMessage
		}
		return nil, fmt.Errorf("function %s: %s: delete it in the SCF console and run this again", f.name, reason)
	case state.Runtime != t.runtime:
		return nil, fmt.Errorf("function %s has runtime %s, want %s, which cannot be changed: delete the function",
			f.name, state.Runtime, t.runtime)
	default:
		// The code first: its digest in the description says that it is there.
		isCurrent := d.sent[f.name] || strings.HasSuffix(state.Description, codeMark+t.digest+"]")
		if !isCurrent || state.Handler != f.handler {
			add("UpdateFunctionCode", "update the code", d.named(f.name, map[string]any{"Handler": f.handler, "Code": t.code()}))
		}
		if diff := settingsDiff(state, f, description, t); len(diff) > 0 {
			add("UpdateFunctionConfiguration", "change "+strings.Join(diff, ", "), settings)
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

// codeMark begins the digest of the code at the end of a function's description.
const codeMark = " [code "

// settingsDiff names the settings that differ. It names variables without their values, which may be secrets.
func settingsDiff(state *functionState, f function, description string, t *target) (diff []string) {
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
	if t.topic != "" && (state.ClsLogsetId != t.logset || state.ClsTopicId != t.topic) {
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

// A triggerState is one of the Triggers of ListTriggers.
type triggerState struct {
	Type, TriggerName, TriggerDesc, CustomArgument, Qualifier string
	Enable                                                    int64
}

func (d *deployer) triggers(ctx context.Context, name string) (all []triggerState, err error) {
	for {
		var page struct{ Triggers []triggerState }
		err := d.api.call(ctx, "scf", "ListTriggers", d.named(name, map[string]any{"Offset": len(all), "Limit": 100}), &page)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Triggers...)
		if len(page.Triggers) < 100 {
			return all, nil
		}
	}
}

func (d *deployer) reserved(ctx context.Context, name string) (int64, error) {
	var r struct{ ReservedMem int64 }
	err := d.api.call(ctx, "scf", "GetReservedConcurrencyConfig", d.named(name, nil), &r)
	return r.ReservedMem, err
}

// triggerChanges deletes before it creates, since filters of one bucket may not overlap. It updates timers and the URL,
// which so keeps its address. It leaves triggers of other types alone.
func (d *deployer) triggerChanges(f function, state []triggerState) (list []change) {
	add := func(action, text string, tr trigger, qualifier string, more map[string]any) {
		p := d.named(f.name, map[string]any{"Type": tr.kind, "TriggerName": tr.name, "Qualifier": qualifier})
		maps.Copy(p, more)
		list = append(list, change{
			fmt.Sprintf("%s: %s trigger %s %s %s", f.name, text, tr.kind, tr.name, tr.description), "scf", action, p,
		})
	}
	wanted := slices.Clone(f.triggers)
	for _, s := range state {
		if s.Type != "cos" && s.Type != "timer" && s.Type != "http" {
			continue
		}
		i := slices.IndexFunc(wanted, func(w trigger) bool {
			return w.kind == s.Type && w.name == s.TriggerName && (s.Type != "cos" || holds(s.TriggerDesc, w.description))
		})
		if i < 0 {
			tr := trigger{s.Type, s.TriggerName, s.TriggerDesc, ""}
			add("DeleteTrigger", "delete", tr, s.Qualifier, map[string]any{"TriggerDesc": s.TriggerDesc})
			continue
		}
		w := wanted[i]
		wanted = slices.Delete(wanted, i, i+1)
		if !w.isSame(s) {
			add("UpdateTrigger", "update", w, s.Qualifier, w.settings())
		}
	}
	for _, w := range wanted {
		add("CreateTrigger", "create", w, "$DEFAULT", w.settings())
	}
	return list
}

func (w trigger) settings() map[string]any {
	p := map[string]any{"TriggerDesc": w.description, "Enable": "OPEN"}
	if w.argument != "" {
		p["CustomArgument"] = w.argument
	}
	return p
}

// isSame reports whether the trigger is as wanted. The service returns a timer's description as JSON.
func (w trigger) isSame(s triggerState) bool {
	if s.Enable != 1 || s.CustomArgument != w.argument {
		return false
	}
	if w.kind == "timer" {
		return s.TriggerDesc == w.description || holds(s.TriggerDesc, compact(map[string]string{"cron": w.description}))
	}
	return holds(s.TriggerDesc, w.description)
}

// holds reports whether the JSON object got has all values of want. The service adds values of its own.
func holds(got, want string) bool {
	var g, w any
	return json.Unmarshal([]byte(got), &g) == nil && json.Unmarshal([]byte(want), &w) == nil && includes(g, w)
}

func includes(got, want any) bool {
	w, ok := want.(map[string]any)
	if !ok {
		return reflect.DeepEqual(got, want)
	}
	g, ok := got.(map[string]any)
	for key, value := range w {
		ok = ok && includes(g[key], value)
	}
	return ok
}

// A policyState is a policy of CAM, as ListPolicies and GetPolicy return it.
type policyState struct {
	PolicyId                                int64 //nolint:staticcheck // the API's name
	PolicyName, Description, PolicyDocument string
}

// A roleState is what exists of a role and of the policy with the role's name.
type roleState struct {
	exists, isOurs, attached bool
	policy                   *policyState // nil if there is none
}

func (d *deployer) role(ctx context.Context, name string) (s roleState, err error) {
	var r struct {
		RoleInfo struct{ Description string }
	}
	err = d.api.call(ctx, "cam", "GetRole", map[string]any{"RoleName": name}, &r)
	if err != nil && !isMissing(err) {
		return s, err
	}
	s.exists = err == nil
	s.isOurs = s.exists && strings.HasPrefix(r.RoleInfo.Description, mark)
	for page := 1; s.policy == nil; page++ {
		var p struct{ List []policyState }
		if err := d.api.call(ctx, "cam", "ListPolicies",
			map[string]any{"Page": page, "Rp": 200, "Scope": "Local", "Keyword": name}, &p); err != nil {
			return s, err
		}
		if i := slices.IndexFunc(p.List, func(p policyState) bool { return p.PolicyName == name }); i >= 0 {
			s.policy = &p.List[i]
		} else if len(p.List) < 200 {
			break
		}
	}
	if s.policy != nil {
		if err := d.api.call(ctx, "cam", "GetPolicy", map[string]any{"PolicyId": s.policy.PolicyId}, s.policy); err != nil {
			return s, err
		}
	}
	if s.exists && s.policy != nil {
		var p struct{ List []policyState }
		if err := d.api.call(ctx, "cam", "ListAttachedRolePolicies",
			map[string]any{"Page": 1, "Rp": 200, "RoleName": name}, &p); err != nil {
			return s, err
		}
		s.attached = slices.ContainsFunc(p.List, func(p policyState) bool { return p.PolicyName == name })
	}
	return s, nil
}

// roleChanges leaves a role alone that this command did not make.
func (d *deployer) roleChanges(ctx context.Context, name, policy string) (list []change, err error) {
	s, err := d.role(ctx, name)
	if err != nil || s.exists && !s.isOurs {
		return nil, err
	}
	add := func(action, text string, p map[string]any) {
		list = append(list, change{"role " + name + ": " + text, "cam", action, p})
	}
	if !s.exists {
		add("CreateRole", "create", map[string]any{"RoleName": name, "PolicyDocument": trustPolicy, "Description": mark})
	}
	switch {
	case s.policy == nil:
		add("CreatePolicy", "create its policy", map[string]any{
			"PolicyName": name, "PolicyDocument": policy, "Description": mark,
		})
	case !strings.HasPrefix(s.policy.Description, mark):
		return nil, errors.New("the policy " + name + " exists, but not by this command: rename it, or choose other names " +
			"for Role and HttpRole")
	case !holds(s.policy.PolicyDocument, policy):
		add("UpdatePolicy", "update its policy", map[string]any{"PolicyId": s.policy.PolicyId, "PolicyDocument": policy})
	}
	if !s.attached {
		p := map[string]any{"AttachRoleName": name}
		if s.policy != nil { // otherwise the ID is known once the policy exists
			p["PolicyId"] = s.policy.PolicyId
		}
		add("AttachRolePolicy", "attach its policy", p)
	}
	return list, nil
}

// removal returns what is left to remove: what this command made, and never the bucket.
func (d *deployer) removal(ctx context.Context) (list []change, err error) {
	for _, f := range d.target.functions {
		state, err := d.function(ctx, f.name)
		if err != nil {
			return nil, err
		}
		if state == nil || !strings.Contains(state.Description, codeMark) {
			continue
		}
		triggers, err := d.triggers(ctx, f.name)
		if err != nil {
			return nil, err
		}
		none := f
		none.triggers = nil
		list = append(list, d.triggerChanges(none, triggers)...)
		list = append(list, change{f.name + ": delete", "scf", "DeleteFunction", d.named(f.name, nil)})
	}
	roles, err := d.target.roles()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		s, err := d.role(ctx, name)
		if err != nil {
			return nil, err
		}
		isOurs := s.policy != nil && strings.HasPrefix(s.policy.Description, mark)
		if isOurs && s.isOurs && s.attached {
			list = append(list, change{
				"role " + name + ": detach its policy", "cam", "DetachRolePolicy",
				map[string]any{"PolicyId": s.policy.PolicyId, "DetachRoleName": name},
			})
		}
		if s.isOurs {
			list = append(list, change{"role " + name + ": delete", "cam", "DeleteRole", map[string]any{"RoleName": name}})
		}
		if isOurs {
			list = append(list, change{
				"role " + name + ": delete its policy", "cam", "DeletePolicy",
				map[string]any{"PolicyId": []int64{s.policy.PolicyId}},
			})
		}
	}
	return list, nil
}

var urlPattern = regexp.MustCompile(`https://[A-Za-z0-9.-]+\.tencentscf\.com`)

// printURL prints the address of the HTTP function and a request to try.
func (d *deployer) printURL(ctx context.Context) error {
	for _, f := range d.target.functions {
		if f.key != "http" {
			continue
		}
		triggers, err := d.triggers(ctx, f.name)
		if err != nil {
			return err
		}
		url := ""
		for _, tr := range triggers {
			if tr.Type == "http" && url == "" {
				url = urlPattern.FindString(tr.TriggerDesc)
			}
		}
		if url == "" {
			fmt.Fprintf(d.out, "The SCF console shows the URL of %s, under Trigger Management.\n", f.name)
			continue
		}
		fmt.Fprintf(d.out, "%s\nTry it, with the value of HttpToken:\n  curl -H \"Authorization: Bearer $HTTP_TOKEN\" %s/imports\n",
			url, url)
	}
	return nil
}
