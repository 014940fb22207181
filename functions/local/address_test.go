package main

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"groupimport/pkg/blob/blobtest"
	"groupimport/pkg/blob/blobtest/versitygw"
	"groupimport/pkg/blob/cosblob/costest"
	"groupimport/pkg/config"
	"groupimport/pkg/emulator"
	"groupimport/pkg/group"
	"groupimport/pkg/importer"
	"groupimport/pkg/importer/importertest"
	"groupimport/pkg/lease"
	"groupimport/pkg/results"
	"groupimport/pkg/tim"
)

// addresses returns a folder in each kind of bucket, and the variables that lead there.
func addresses(t *testing.T) map[string]func(t *testing.T) (address string, getenv func(string) string) {
	t.Helper()
	return map[string]func(t *testing.T) (string, func(string) string){
		"s3": func(t *testing.T) (string, func(string) string) {
			s := versitygw.Start(t)
			s.MakeBucket("exports-of-acme")
			return "s3://exports-of-acme/", s.Getenv
		},
		"cos": func(t *testing.T) (string, func(string) string) {
			key := costest.Key{ID: "AKID-user", Secret: "user-secret", Token: "user-token"}
			cos := costest.New(costest.Options{Objects: &blobtest.Bucket{}, Keys: []costest.Key{key}})
			t.Cleanup(func() { cos.Close() })
			store := httptest.NewServer(cos)
			t.Cleanup(store.Close)
			env := map[string]string{
				"TENCENTCLOUD_SECRETID": key.ID, "TENCENTCLOUD_SECRETKEY": key.Secret, "TENCENTCLOUD_SESSIONTOKEN": key.Token,
				"COS_REGION": "ap-guangzhou", "COS_ENDPOINT": store.URL,
			}
			return "cos://groups-1250000000/", func(name string) string { return env[name] }
		},
	}
}

// TestAddress_StatusControlReport shows and controls an import that a function runs in the same bucket.
func TestAddress_StatusControlReport(t *testing.T) {
	t.Parallel()
	for name, open := range addresses(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, getenv := open(t)
			env := func(name string) string {
				if name == "USER" {
					return "li"
				}
				return getenv(name)
			}
			var out bytes.Buffer
			run := func(want string, args ...string) {
				t.Helper()
				out.Reset()
				tool := newTool(env, strings.NewReader(""), &out, &out)
				status := tool.status(tool.run(t.Context(), args))
				if !strings.Contains(out.String(), want) {
					t.Errorf("%v: got status %d and %q, want %q", args, status, out.String(), want)
				}
			}
			file := root + "exports/a.jsonl"
			run("there is no export", "status", root+"exports/")
			run("there is no such export", "pause", file)

			tool := newTool(env, nil, &out, &out)
			p, err := tool.openPlace(file, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			text := strings.Join(importertest.WithIDs(3), "\n")
			if err := p.bucket.Put(t.Context(), p.key, strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			service := &emulator.Service{SDKAppID: importertest.App, Key: importertest.Sign}
			function := func() importer.Summary {
				t.Helper()
				i := &importer.Importer{Bucket: p.bucket, Config: config.Config{
					SDKAppID: importertest.App, Admin: "administrator", SecretKey: importertest.Sign, Rate: 190,
					Endpoint: "https://im.invalid", Limits: group.DocumentLimits, MaxAttempts: 5, StopShare: 0.5,
				}}
				if err := importertest.Dial(i, func(c *tim.Config) { c.Transport = service }); err != nil {
					t.Fatal(err)
				}
				defer i.Client.Close()
				s, err := i.Import(t.Context(), p.key)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			run(file+"  waiting", "status", root)
			run(file+": paused\n", "pause", file)
			if s := function(); s.State != results.Paused || service.Stats().Imports != 0 {
				t.Errorf("got %+v and %d calls, want it paused", s, service.Stats().Imports)
			}
			run("paused by li@", "status", root+"exports/")
			run(`"state":"paused"`, "status", "--json", file)
			run(": resumed", "resume", file)
			if s := function(); s.State != results.Finished || s.Counts.Imported != 3 {
				t.Errorf("got %+v, want it finished", s)
			}
			run("finished  100%  3 imported", "status", file)
			run(file+".report.html\n", "report", root+"exports/")
			run("the import is finished", "cancel", file)
		})
	}
}

// TestAddress_Import imports one export with the command and with a function. Each resumes where the other stopped.
func TestAddress_Import(t *testing.T) {
	t.Parallel()
	for name, open := range addresses(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, getenv := open(t)
			service := &emulator.Service{SDKAppID: 1400000000, Key: "key", Limit: -1}
			url, stop, err := serveEmulator(t.Context(), service, "127.0.0.1:0", nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			settings := map[string]string{
				"TIM_ENDPOINT": url, "TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": "key", "EXPORT_PREFIX": "exports/",
				"ONE_AT_A_TIME": "true", "USER": "li",
			}
			env := func(name string) string { return cmp.Or(settings[name], getenv(name)) }
			run := func(want int, text string, args ...string) {
				t.Helper()
				var out bytes.Buffer
				tool := newTool(env, strings.NewReader(""), &out, &out)
				if got := tool.status(tool.run(t.Context(), args)); got != want || !strings.Contains(out.String(), text) {
					t.Errorf("%v: got status %d and %q, want %d and %q", args, got, out.String(), want, text)
				}
			}
			var out bytes.Buffer
			p, err := newTool(env, nil, &out, &out).openPlace(root, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			for n, key := range []string{"exports/a.jsonl", "exports/sub/b.jsonl"} {
				line := fmt.Sprintf(`{"Type":"Public","Name":"n","GroupId":"g-%d"}`, n)
				if err := p.bucket.Put(t.Context(), key, strings.NewReader(line)); err != nil {
					t.Fatal(err)
				}
			}
			run(exitUsage, "not below EXPORT_PREFIX", "import", root+"elsewhere/a.jsonl")
			run(exitError, "find the export", "import", "--quiet", root+"exports/none.jsonl")

			// A function has the lease.
			l, err := lease.Acquire(t.Context(), p.bucket, results.Names{Export: "exports/a.jsonl"}.Work(), "invocation 1", nil)
			if err != nil {
				t.Fatal(err)
			}
			run(exitUnfinished, "invocation 1 is working on it", "import", "--quiet", root+"exports/a.jsonl")
			if err := l.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			run(exitOK, "exports/a.jsonl.results.ndjson", "import", "--quiet", root+"exports/")
			run(exitOK, "already imported", "import", "--quiet", root+"exports/sub/b.jsonl")
			if got := service.Stats().Created; got != 2 {
				t.Errorf("got %d groups, want 2", got)
			}

			run(exitOK, "1 valid, 0 invalid", "validate", root+"exports/a.jsonl")
			run(exitUsage, "name its folder", "retry", root+"exports/a.jsonl")
			run(exitUsage, "EXPORT_PREFIX is exports/", "retry", root+"exports/sub/")
			run(exitOK, "nothing is due", "retry", "--quiet", root+"exports/")
			reject := emulator.Faults{Plan: func(emulator.Request) emulator.Fault { return emulator.Internal }}
			service.SetFaults(reject)
			if err := p.bucket.Put(t.Context(), "exports/c.jsonl", strings.NewReader(
				`{"Type":"Public","Name":"n","GroupId":"c"}`)); err != nil {
				t.Fatal(err)
			}
			settings["MAX_ATTEMPTS"] = "1"
			run(exitNotImported, "1", "import", "--quiet", root+"exports/c.jsonl")
			service.SetFaults(emulator.Faults{})
			run(exitOK, "exports/c.jsonl: retry: finished 1 imported", "retry", "--now", "--quiet", root+"exports/")

			// What needs an operator, and what is no export, is named.
			for key, text := range map[string]string{
				"exports/d.jsonl": `{"Type":"public","Name":"n","GroupId":"d"}`, "exports/notes.txt": "text", "exports/own.jq": ".",
			} {
				if err := p.bucket.Put(t.Context(), key, strings.NewReader(text)); err != nil {
					t.Fatal(err)
				}
			}
			run(exitNotImported, "1", "import", "--quiet", root+"exports/d.jsonl")
			run(exitOK, "exports/d.jsonl: 1 rejected: fix the records; see d.jsonl.failures.ndjson\ngroupimport: "+
				root+"exports/notes.txt: ignored: its name does not end in", "retry", "--quiet", root+"exports/")
		})
	}
}
