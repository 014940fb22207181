package main

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"groupimport/functions/scf/scftest"
	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/check"
	"groupimport/pkg/emulator"
	"groupimport/pkg/results"
)

func TestParse_Check(t *testing.T) {
	for _, raw := range []string{`{"action":"check"}`, `{"Type":"Timer","Message":"check"}`} {
		if ev, err := parse([]byte(raw)); err != nil || !ev.Check {
			t.Errorf("%s: got %+v, %v, want a check", raw, ev, err)
		}
	}
	if ev, err := parse([]byte(`{"action":"resume"}`)); err != nil || ev.Action == nil || !ev.Action.Resume {
		t.Errorf("got %+v, %v", ev, err)
	}
}

// The check needs only the permissions that the policies of README.md grant.
func TestPolicies_CoverTheCheck(t *testing.T) {
	t.Parallel()
	for place, role := range map[check.Place]string{check.Function: "groupimport", check.HTTP: "groupimport-http"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			g := newGuarded(t, role)
			service := &emulator.Service{SDKAppID: 1400000000, Key: "k", Limit: -1}
			i := g.newImporter(service, map[string]string{"TIM_RATE": "100"}).Importer
			ctx := t.Context()
			var events sync.WaitGroup
			t.Cleanup(events.Wait)
			g.objects.Fail = func(op blobtest.Op) blobtest.Fault {
				if op.Method == blobtest.Put && strings.HasSuffix(op.Key, ".jsonl") {
					events.Go(func() {
						time.Sleep(100 * time.Millisecond)
						if _, err := check.Answer(ctx, i.Bucket, "exports/", op.Key, []string{op.Key}, "two"); err != nil {
							t.Error(err)
						}
					})
				}
				return blobtest.Fault{}
			}
			report, err := check.Run(ctx, check.Env{
				Place: place, Config: i.Config, Bucket: i.Bucket, Prefix: "exports/",
				Platform: &check.Platform{CPU: func() (float64, error) { return 1, nil }},
				Dial:     func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") },
			})
			if err == nil && place == check.Function {
				err = report.PutPage(ctx, i.Bucket, "exports/")
			}
			if err != nil {
				t.Error(err)
			}
			for _, found := range report.Checks {
				subject, _, _ := strings.Cut(found.Name, " ")
				if (subject == "bucket" || subject == "trigger") && found.State != check.OK {
					t.Errorf("got %+v", found)
				}
			}
			if g.policy.allows("PutObject", bucketName+"/exports/acme.check.html") {
				t.Error("the role may write pages of other names")
			}
		})
	}
}

func TestFunction_Check(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	d := load(t, parameters(t))
	schedule, imports := c.function(time.Minute, func(c *scftest.Config) { c.NoDeadline = true }),
		c.function(time.Minute, nil)
	var events sync.WaitGroup
	c.bucket.Fail = func(op blobtest.Op) blobtest.Fault {
		if op.Method == blobtest.Put && d.starts(bucketName, op.Key) {
			events.Go(func() {
				time.Sleep(time.Second)
				p, failure := invoke(t, imports, cosEvent("/1250000000/groups/"+op.Key))
				if failure != nil || len(p.Done) > 0 {
					t.Errorf("got %+v, %+v, want no import of the probe of a check", p, failure)
				}
			})
		}
		return blobtest.Fault{}
	}
	r := replyOf(t, schedule, []byte(`{"action":"check"}`))
	events.Wait()
	var report check.Report
	if err := json.Unmarshal(r.Response, &report); err != nil {
		t.Fatalf("got %+v: %v", r, err)
	}
	for _, found := range report.Checks {
		wants := map[string]check.State{"function deadline": check.Warning, "function role": check.OK}
		// This machine may be busy.
		isBusy := slices.Contains([]string{"function cpu", "im latency"}, found.Name)
		if found.State != check.OK && found.State != wants[found.Name] && !isBusy {
			t.Errorf("got %+v", found)
		}
		for name, says := range map[string]string{
			"function deadline": "sent none", "function time": "1m0s", "function region": "ap-guangzhou",
			"trigger export": "the key as it is", "trigger own objects": "no event came",
			"trigger two invocations": "was refused the lease", "bucket versioning": "never had versioning",
		} {
			if found.Name == name && !strings.Contains(found.Seen, says) {
				t.Errorf("got %+v, want %q", found, says)
			}
		}
	}
	want := results.CheckPage("exports/")
	if left := slices.Collect(maps.Keys(c.bucket.Snapshot())); len(left) != 1 || left[0] != want || report.Page != want {
		t.Errorf("got %v left, and the page %q, want only %s", left, report.Page, want)
	}
	if got := c.service.Stats().Created; got != 0 {
		t.Errorf("got %d groups, want none", got)
	}
}
