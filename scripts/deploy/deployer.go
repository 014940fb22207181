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
	"slices"
	"strconv"
	"time"

	"groupimport/pkg/backoff"
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

// mark begins the description of each role, policy and log topic that this command made. In roles and policies, which
// all regions of the account share, the name of the deployment follows.
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
	deleted map[string]bool // functions that this process has deleted to create them once more
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
			//nolint:revive,staticcheck // a sentence of its own
			return fmt.Errorf("%w\nRun the same command again to resume.", err)
		}
		fmt.Fprintf(d.out, "  reads the state once more: %v\n", err)
		if err := backoff.Sleep(ctx, delay(failures)); err != nil {
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

// delay is the wait after the n-th failure in a row.
func delay(n int) time.Duration {
	return backoff.Exponential{Base: pause, Max: pause << maxFailures}.Limit(n)
}

// read calls an action that changes nothing, and repeats it while the response is lost or the service throttles.
func (d *deployer) read(ctx context.Context, service, action string, parameters map[string]any, result any) error {
	for failures := 0; ; failures++ {
		err := d.api.call(ctx, service, action, parameters, result)
		if ctx.Err() != nil || failures == maxFailures || isMissing(err) || !isTransient(err) {
			return err
		}
		if err := backoff.Sleep(ctx, delay(failures+1)); err != nil {
			return err
		}
	}
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
		AppID    int64 `json:"AppId"`
	}
	if err := d.read(ctx, "cam", "GetUserAppId", nil, &account); err != nil {
		return err
	}
	if id := strconv.FormatInt(account.AppID, 10); id != t.appID() {
		return fmt.Errorf("the keys are of an account with APPID %s, but BucketName ends in %s", id, t.appID())
	}
	// SCF reads the code, writes the triggers into the bucket and the logs into CLS by this role
	// (tencentcloud.com/document/product/583/31444).
	err := d.read(ctx, "cam", "GetRole", map[string]any{"RoleName": "SCF_QcsRole"}, nil)
	if isMissing(err) {
		return errors.New("the service role SCF_QcsRole does not exist: open the SCF console once and confirm the " +
			"authorization, which creates it")
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
			d.secrets[name] = fmt.Sprintf("qcs::ssm:%s:uin/%s:secret/creatorUin/%d/%s",
				t.region, account.OwnerUin, secret.CreateUin, name)
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
				ExtranetURL string `json:"ExtranetUrl"`
			} `json:"NetConfig"`
		}
		for _, tr := range triggers {
			if tr.Type == "http" && url.NetConfig.ExtranetURL == "" {
				_ = json.Unmarshal([]byte(tr.TriggerDesc), &url)
			}
		}
		switch address := url.NetConfig.ExtranetURL; {
		case address == "":
			fmt.Fprintf(d.out, "The SCF console shows the URL of %s, under Trigger Management.\n", f.name)
		case d.target.auth == "CAM":
			fmt.Fprintf(d.out, "%s\nCallers sign requests by TC3-HMAC-SHA256, as functions/scf/README.md says.\n", address)
		default:
			fmt.Fprintf(d.out, "%s\nTry it, with the value of HttpToken:\n"+
				"  curl -H \"Authorization: Bearer $HTTP_TOKEN\" %s/imports\n", address, address)
		}
	}
	return nil
}
