package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"groupimport/pkg/blob/cosblob"
)

const (
	maxFailures = 8   // in a row, before a deployment gives up
	maxPolls    = 600 // while a function is being created or updated
)

// pause is the time between two polls, and after a failure, where it doubles with each further failure.
var pause = 500 * time.Millisecond

// maxRepeats is how often one run makes the same change: more often means that the service does not keep it.
const maxRepeats = 3

// mark begins the description of each role, policy and log topic that this command made.
const mark = "Made by the deploy command of groupimport"

// A change is one call that brings the account nearer to the target.
type change struct {
	scope           string // the function it is about, or empty
	text            string // for the operator, without secrets
	service, action string
	parameters      map[string]any
	do              func(context.Context) error // instead of an action

	// settles says that what follows in the scope, or with an empty scope at all, depends on the state after it.
	settles bool
}

type deployer struct {
	api    *api
	bucket *cosblob.Bucket
	target *target
	out    io.Writer

	isChecked     bool              // checkAccount has found nothing wrong
	secrets       map[string]string // resources by name, from checkAccount
	logset, topic string            // IDs, empty for none

	sent    map[string]bool // functions whose code this process has updated
	deleted map[string]bool // functions that this process has deleted to create them anew
	made    map[string]int  // changes by their text
	noted   map[string]bool // roles that this command did not make
	count   int             // of changes
}

// converge reads the state, makes the changes that it asks for, and repeats that until there are none. So it heals lost
// responses, and what a killed deployment left. With plan it only prints the changes that it knows now.
func (d *deployer) converge(ctx context.Context, changes func(context.Context) ([]change, error), plan bool) error {
	failures := 0
	for {
		before := d.count
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
			fmt.Fprintf(d.out, "done, %d changes\n", d.count)
			return nil
		default:
			err = d.apply(ctx, list)
		}
		if d.count > before {
			failures = 0
		}
		if err == nil {
			continue
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

// apply makes the changes that do not depend on the state after another one.
func (d *deployer) apply(ctx context.Context, list []change) error {
	settled := map[string]bool{}
	for _, c := range list {
		if settled[c.scope] && c.scope != "" {
			continue
		}
		if d.made[c.text]++; d.made[c.text] > maxRepeats {
			return fmt.Errorf("%s: made %d times, and the service still returns the state before: see the console, and "+
				"report this", c.text, maxRepeats)
		}
		fmt.Fprintln(d.out, c.text)
		if err := d.make(ctx, c); err != nil {
			return err
		}
		d.count++
		if c.settles && c.scope == "" {
			return nil
		}
		settled[c.scope] = settled[c.scope] || c.settles
	}
	return nil
}

func (d *deployer) make(ctx context.Context, c change) error {
	if c.do != nil {
		return c.do(ctx)
	}
	if err := d.api.call(ctx, c.service, c.action, c.parameters, nil); err != nil {
		d.made[c.text]-- // the loop has its own limit of failures
		return err
	}
	switch c.action {
	case "UpdateFunctionCode":
		d.sent[c.scope] = true
	case "DeleteFunction":
		d.deleted[c.scope] = true
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// read calls an action that changes nothing, and repeats it while the response is lost or the service throttles.
func (d *deployer) read(ctx context.Context, service, action string, parameters map[string]any, result any) error {
	for failures := 0; ; failures++ {
		err := d.api.call(ctx, service, action, parameters, result)
		if ctx.Err() != nil || failures == maxFailures || isMissing(err) || !isTransient(err) {
			return err
		}
		if err := sleep(ctx, pause<<failures); err != nil {
			return err
		}
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
		err := d.read(ctx, "scf", "GetFunction", d.named(name, map[string]any{"ShowCode": "FALSE"}), &f)
		switch {
		case isMissing(err):
			return nil, nil //nolint:nilnil // nil says that there is none
		case err != nil:
			return nil, err
		}
		switch f.Status { // tencentcloud.com/document/product/583/37883, 2021-01-12
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

// checkAccount returns an error about what must exist before a deployment. It asks once.
func (d *deployer) checkAccount(ctx context.Context) error {
	if d.isChecked {
		return nil
	}
	t := d.target
	var account struct {
		OwnerUin string
		AppId    int64 //nolint:staticcheck,revive // the API's name
	}
	if err := d.read(ctx, "cam", "GetUserAppId", nil, &account); err != nil {
		return err
	}
	if id := strconv.FormatInt(account.AppId, 10); id != t.appID() {
		return fmt.Errorf("the keys are of an account with APPID %s, but BucketName ends in %s", id, t.appID())
	}
	// SCF reads the code, writes the triggers into the bucket and the logs into CLS by this role
	// (tencentcloud.com/document/product/583/31444).
	err := d.read(ctx, "cam", "GetRole", map[string]any{"RoleName": "SCF_QcsRole"}, nil)
	if isMissing(err) {
		return errors.New("the service role SCF_QcsRole does not exist: open the SCF console once and confirm the authorization, " +
			"which creates it")
	}
	if err != nil {
		return err
	}
	// Any key tells whether the bucket exists.
	if _, err := d.bucket.Stat(ctx, codeFolder+"none"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("bucket %s in %s: %w", t.bucket, t.region, err)
	}
	d.secrets = map[string]string{}
	for _, f := range t.functions {
		for _, name := range f.secrets {
			if d.secrets[name] != "" {
				continue
			}
			var secret struct {
				Status    string
				CreateUin int64
			}
			err := d.read(ctx, "ssm", "DescribeSecret", map[string]any{"SecretName": name}, &secret)
			if isMissing(err) {
				return fmt.Errorf("the secret %s does not exist in %s: create it in the Secrets Manager console", name, t.region)
			}
			if err != nil {
				return err
			}
			if secret.Status != "Enabled" {
				return fmt.Errorf("the secret %s is %s: enable it in the Secrets Manager console", name, secret.Status)
			}
			// tencentcloud.com/document/product/1078/38612, 2024-01-02
			d.secrets[name] = fmt.Sprintf("qcs::ssm:%s:uin/%s:secret/creatorUin/%d/%s", t.region, account.OwnerUin, secret.CreateUin, name)
		}
	}
	d.isChecked = true
	return nil
}

// changes returns what differs from the target, in the order in which to change it.
func (d *deployer) changes(ctx context.Context) ([]change, error) {
	if err := d.checkAccount(ctx); err != nil {
		return nil, err
	}
	roles, err := d.target.roles(d.secrets)
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
	logs, err := d.logChanges(ctx)
	if err != nil {
		return nil, err
	}
	list = append(list, logs...)
	var functions []change
	for _, f := range d.target.functions {
		more, err := d.functionChanges(ctx, f)
		if err != nil {
			return nil, err
		}
		functions = append(functions, more...)
	}
	if !d.target.throughCOS() {
		return append(list, functions...), nil
	}
	needed := slices.ContainsFunc(functions, func(c change) bool {
		return c.action == "CreateFunction" || c.action == "UpdateFunctionCode"
	})
	return d.codeChanges(ctx, list, functions, needed)
}

// codeChanges puts the zip into the bucket before functions that need it, and removes it after them.
func (d *deployer) codeChanges(ctx context.Context, before, functions []change, needed bool) ([]change, error) {
	key := d.target.codeKey()
	info, err := d.bucket.Stat(ctx, key)
	exists := err == nil && info.Size == int64(len(d.target.zip))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if needed && !exists {
		before = append(before, change{
			text: "put the code into the bucket, as " + key,
			do:   func(ctx context.Context) error { return d.bucket.Put(ctx, key, bytes.NewReader(d.target.zip)) },
		})
	}
	list := append(before, functions...)
	if !needed && exists {
		list = append(list, change{
			text: "remove the code from the bucket",
			do:   func(ctx context.Context) error { return d.bucket.Delete(ctx, key) },
		})
	}
	return list, nil
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
	if hasTopic && (d.topic == "" || state.ClsLogsetId != d.logset || state.ClsTopicId != d.topic) {
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
		err := d.read(ctx, "scf", "ListTriggers", d.named(name, map[string]any{"Offset": len(all), "Limit": 100}), &page)
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
	err := d.read(ctx, "scf", "GetReservedConcurrencyConfig", d.named(name, nil), &r)
	return r.ReservedMem, err
}

// triggerChanges deletes before it creates, since filters of one bucket may not overlap. UpdateTrigger takes timers and
// function URLs, which so keep their addresses; UpdateTriggerStatus takes COS triggers. A function has one URL, whose
// name may be one that the platform chose. It leaves triggers of other types alone.
func (d *deployer) triggerChanges(f function, state []triggerState) (list []change) {
	add := func(action, text string, tr trigger, qualifier string, more map[string]any) {
		p := d.named(f.name, map[string]any{"Type": tr.kind, "TriggerName": tr.name, "Qualifier": qualifier})
		maps.Copy(p, more)
		list = append(list, change{
			scope: f.name, text: fmt.Sprintf("%s: %s trigger %s %s %s", f.name, text, tr.kind, tr.name, tr.description),
			service: "scf", action: action, parameters: p,
		})
	}
	wanted := slices.Clone(f.triggers)
	for _, s := range state {
		if s.Type != "cos" && s.Type != "timer" && s.Type != "http" {
			continue
		}
		i := slices.IndexFunc(wanted, func(w trigger) bool {
			return w.kind == s.Type && (s.Type == "http" || w.name == s.TriggerName && (s.Type != "cos" || holds(s.TriggerDesc, w.description)))
		})
		if i < 0 {
			tr := trigger{s.Type, s.TriggerName, s.TriggerDesc, ""}
			add("DeleteTrigger", "delete", tr, s.Qualifier, map[string]any{"TriggerDesc": s.TriggerDesc})
			continue
		}
		w := wanted[i]
		wanted = slices.Delete(wanted, i, i+1)
		w.name = s.TriggerName
		switch {
		case w.isSame(s):
		case w.kind == "cos":
			add("UpdateTriggerStatus", "enable", w, s.Qualifier, map[string]any{"TriggerDesc": s.TriggerDesc, "Enable": "OPEN"})
		default:
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
	err = d.read(ctx, "cam", "GetRole", map[string]any{"RoleName": name}, &r)
	if err != nil && !isMissing(err) {
		return s, err
	}
	s.exists = err == nil
	s.isOurs = s.exists && strings.HasPrefix(r.RoleInfo.Description, mark)
	for page := 1; s.policy == nil; page++ {
		var p struct{ List []policyState }
		if err := d.read(ctx, "cam", "ListPolicies",
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
		if err := d.read(ctx, "cam", "GetPolicy", map[string]any{"PolicyId": s.policy.PolicyId}, s.policy); err != nil {
			return s, err
		}
	}
	if s.exists && s.policy != nil {
		var p struct{ List []policyState }
		if err := d.read(ctx, "cam", "ListAttachedRolePolicies",
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
	if err != nil {
		return nil, err
	}
	if s.exists && !s.isOurs {
		if !d.noted[name] {
			d.noted[name] = true
			fmt.Fprintf(d.out, "role %s: not made by this command, so its policies stay as they are\n", name)
		}
		return nil, nil
	}
	add := func(action, text string, p map[string]any) {
		list = append(list, change{text: "role " + name + ": " + text, service: "cam", action: action, parameters: p})
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
	if !s.attached { // by name, since the ID of a new policy is not known yet
		add("AttachRolePolicy", "attach its policy", map[string]any{"AttachRoleName": name, "PolicyName": name})
	}
	return list, nil
}

// removal returns what is left to remove: what this command made, and never the bucket.
func (d *deployer) removal(ctx context.Context) (list []change, err error) {
	var roles []string
	for _, f := range d.target.functions {
		if !slices.Contains(roles, f.role) {
			roles = append(roles, f.role)
		}
		state, err := d.function(ctx, f.name)
		if err != nil {
			return nil, err
		}
		if state == nil || !isOurs(state) {
			continue
		}
		triggers, err := d.triggers(ctx, f.name)
		if err != nil {
			return nil, err
		}
		none := f
		none.triggers = nil
		list = append(list, d.triggerChanges(none, triggers)...)
		list = append(list, change{
			scope: f.name, text: f.name + ": delete", service: "scf", action: "DeleteFunction", parameters: d.named(f.name, nil),
		})
	}
	logs, err := d.logRemoval(ctx)
	if err != nil {
		return nil, err
	}
	list = append(list, logs...)
	for _, name := range roles {
		s, err := d.role(ctx, name)
		if err != nil {
			return nil, err
		}
		add := func(action, text string, p map[string]any) {
			list = append(list, change{text: "role " + name + ": " + text, service: "cam", action: action, parameters: p})
		}
		isOurs := s.policy != nil && strings.HasPrefix(s.policy.Description, mark)
		if isOurs && s.isOurs && s.attached {
			add("DetachRolePolicy", "detach its policy", map[string]any{"PolicyId": s.policy.PolicyId, "DetachRoleName": name})
		}
		if s.isOurs {
			add("DeleteRole", "delete", map[string]any{"RoleName": name})
		}
		if isOurs {
			add("DeletePolicy", "delete its policy", map[string]any{"PolicyId": []int64{s.policy.PolicyId}})
		}
	}
	return list, nil
}

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
		// The form is that of an example of ListTriggers.
		var url struct {
			NetConfig struct {
				ExtranetUrl string //nolint:staticcheck,revive // the API's name
			}
		}
		for _, tr := range triggers {
			if tr.Type == "http" && url.NetConfig.ExtranetUrl == "" {
				_ = json.Unmarshal([]byte(tr.TriggerDesc), &url)
			}
		}
		switch address := url.NetConfig.ExtranetUrl; {
		case address == "":
			fmt.Fprintf(d.out, "The SCF console shows the URL of %s, under Trigger Management.\n", f.name)
		case d.target.auth == "CAM":
			fmt.Fprintf(d.out, "%s\nCallers sign requests by TC3-HMAC-SHA256, as functions/scf/README.md says.\n", address)
		default:
			fmt.Fprintf(d.out, "%s\nTry it, with the value of HttpToken:\n  curl -H \"Authorization: Bearer $HTTP_TOKEN\" %s/imports\n",
				address, address)
		}
	}
	return nil
}
