package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// newTestWatcher returns a watcher of a new folder, and the buffer of its messages. No service responds to its calls.
func newTestWatcher(t *testing.T) (s *watcher, stderr *bytes.Buffer) {
	t.Helper()
	stderr = &bytes.Buffer{}
	env := map[string]string{
		"TIM_ENDPOINT": "http://127.0.0.1:1", "TIM_SDKAPPID": "1400000000", "TIM_SECRET_KEY": "key",
	}
	tool := &tool{getenv: func(name string) string { return env[name] }, stdout: &bytes.Buffer{}, stderr: stderr}
	cfg, level, err := tool.config(&cli.Command{})
	if err != nil {
		t.Fatal(err)
	}
	s = tool.watcherOver(t.TempDir(), cfg, newMeter(stderr, manner{quiet: true}), level)
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close(t.Context()) })
	return s, stderr
}

// TestWatcher_IgnoredNameIsReportedOnce checks that an export with an unusable name is not an error of each pass.
func TestWatcher_IgnoredNameIsReportedOnce(t *testing.T) {
	s, stderr := newTestWatcher(t)
	d := scheduler.JobResult{Key: "a.jsonl", What: scheduler.Skip, Reason: "its name is too long"}
	for range 2 {
		s.tell(d)
	}
	if want := "groupimport: " + s.file(d.Key) + ": ignored: its name is too long\n"; stderr.String() != want {
		t.Errorf("got %q, want %q", stderr.String(), want)
	}
	if got := jobStatus(d); got != exitNotImported {
		t.Errorf("got exit status %d, want %d", got, exitNotImported)
	}
}

func TestWatcher_RepeatsOnlyWhatHasChanged(t *testing.T) {
	s, stderr := newTestWatcher(t)
	pass := func(want string) {
		t.Helper()
		for _, retry := range []bool{false, true} {
			action := scheduler.Action{Resume: true, Retry: retry, Missed: settled}
			if _, err := s.pass(t.Context(), action); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.ReplaceAll(stderr.String(), s.dir, ""); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		stderr.Reset()
	}
	bad := filepath.Join(s.dir, "a\n\\b.jsonl")
	if err := os.WriteFile(bad, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(bad+".import", 0o700); err != nil {
		t.Fatal(err)
	}
	const message = `groupimport: "/a\n\\b.jsonl": `
	if _, err := s.pass(t.Context(), scheduler.Action{Resume: true}); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(stderr.String(), s.dir, "")
	if !strings.HasPrefix(text, message) || strings.Count(text, "\n") != 1 {
		t.Errorf("got %q, want one line that begins with %q", text, message)
	}
	stderr.Reset()
	pass("")
	aside := filepath.Join(t.TempDir(), "aside")
	if err := os.Rename(bad, aside); err != nil {
		t.Fatal(err)
	}
	pass("")
	if err := os.Rename(aside, bad); err != nil {
		t.Fatal(err)
	}
	pass(text)
}

func TestWatcher_ForgetsMessagesOfFinishedImports(t *testing.T) {
	s, stderr := newTestWatcher(t)
	broken := scheduler.JobResult{Key: "a.jsonl", What: "resume", Error: "broken"}
	finished := scheduler.JobResult{Key: "a.jsonl", What: "resume", State: results.Finished}
	for _, d := range []scheduler.JobResult{broken, broken, finished, broken} {
		s.tell(d)
	}
	if got := strings.Count(stderr.String(), "a.jsonl: resume: broken\n"); got != 2 {
		t.Errorf("got %d messages, want 2: %q", got, stderr.String())
	}
}

func TestWatcher_NamesTheOwnerOfTheLease(t *testing.T) {
	busy := &lease.BusyError{Owner: "host machine boot a/b/pid:[1] pid 42 start 7"}
	s, stderr := newTestWatcher(t)
	s.tell(scheduler.JobResult{
		Key: "a.jsonl", What: "resume", State: results.Running, Reason: busy.Error(), Owner: busy.Owner,
	})
	want := fmt.Sprintf("groupimport: %s/a.jsonl: process 42 on machine is working on it\n", s.dir)
	if got := stderr.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWatcher_IgnoredFilesAreReportedOnce(t *testing.T) {
	s, stderr := newTestWatcher(t)
	outside := filepath.Join(t.TempDir(), "x.jsonl")
	inside := filepath.Join(s.dir, "folder", "kept")
	for _, err := range []error{
		os.WriteFile(outside, nil, 0o600), os.Mkdir(filepath.Dir(inside), 0o700), os.WriteFile(inside, nil, 0o600),
		os.Symlink(outside, filepath.Join(s.dir, "folder", "out.jsonl")),
		os.Symlink(inside, filepath.Join(s.dir, "whole.jsonl")),
		os.Symlink("folder/kept", filepath.Join(s.dir, "good.jsonl")),
		os.Symlink("nowhere", filepath.Join(s.dir, "nowhere.jsonl")),
		os.Symlink(outside, filepath.Join(s.dir, "other")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	// The folder may itself be a link: it does not lead outside.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(s.dir, link); err != nil {
		t.Fatal(err)
	}
	s.dir = link
	for range 2 {
		if _, err := s.pass(t.Context(), scheduler.Action{Retry: true}); err != nil {
			t.Fatal(err)
		}
	}
	name := " ignored: " + ignoredName + "\n"
	want := "groupimport: /folder/kept:" + name +
		"groupimport: /folder/out.jsonl: ignored: it is a link to outside its folder: name the file itself\n" +
		"groupimport: /other:" + name +
		"groupimport: /whole.jsonl: ignored: it is a link that is not relative: name the file itself\n"
	if got := strings.ReplaceAll(stderr.String(), s.dir, ""); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestWatcher_UnreadableNames(t *testing.T) {
	s, stderr := newTestWatcher(t)
	folder := filepath.Join(s.dir, `in\side`)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Skip(err) // such names are not possible here
	}
	for _, name := range []string{filepath.Join(s.dir, `a\b.jsonl`), filepath.Join(folder, "c.jsonl")} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var pass scheduler.Result
	for range 2 {
		var err error
		if pass, err = s.pass(t.Context(), scheduler.Action{Resume: true, Retry: true}); err != nil {
			t.Fatal(err)
		}
	}
	want := `groupimport: /a\b.jsonl: ignored: key "a\\b.jsonl" has a backslash: give the object another key` + "\n" +
		`groupimport: /in\side/c.jsonl: ignored: key "in\\side/c.jsonl" has a backslash: give the object another key` + "\n"
	if got := strings.ReplaceAll(stderr.String(), s.dir, ""); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	ends := tally{}
	if ends.add(pass); ends.worst() != exitNotImported {
		t.Errorf("got status %d, want %d: an operator has to rename them", ends.worst(), exitNotImported)
	}
}

func TestTally_WorstOfTheLastStatuses(t *testing.T) {
	broken := scheduler.JobResult{Key: "broken", Error: "broken"}
	waiting := scheduler.JobResult{Key: "long", State: results.Waiting}
	finished := scheduler.JobResult{Key: "long", State: results.Finished}
	notImported := scheduler.JobResult{Key: "long", State: results.Finished, Counts: outcome.Counts{Rejected: 1}}
	did := func(jobs ...scheduler.JobResult) scheduler.Result { return scheduler.Result{Done: jobs} }
	left := func(jobs ...scheduler.JobResult) scheduler.Result { return scheduler.Result{Done: jobs, Left: 1} }
	for _, row := range []struct {
		name   string
		passes []scheduler.Result
		want   int
	}{
		{"nothing", []scheduler.Result{{}}, exitOK},
		{
			"an error of one import, and another that is resumed",
			[]scheduler.Result{did(broken, waiting), did(finished)},
			exitError,
		},
		{"an import that is resumed", []scheduler.Result{did(waiting), did(finished)}, exitOK},
		{"records that are not imported, and exports left", []scheduler.Result{left(notImported)}, exitUnfinished},
		{"an error, and exports left", []scheduler.Result{left(broken)}, exitError},
		{"exports left that the next pass imports", []scheduler.Result{left(), did(finished)}, exitOK},
		{"an import that is stopped, though not due", []scheduler.Result{{Stopped: 1}}, exitUnfinished},
	} {
		t.Run(row.name, func(t *testing.T) {
			ends := tally{}
			for _, pass := range row.passes {
				ends.add(pass)
			}
			if got := ends.worst(); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}

func TestLeftReason_Interrupt(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	pass := scheduler.Result{Left: 2, Reason: "time is up"}
	if got := leftReason(ctx, pass); got != pass.Reason {
		t.Errorf("got %q, want %q", got, pass.Reason)
	}
	cancel(errors.New("interrupt signal received"))
	if got, want := leftReason(ctx, pass), "interrupt signal received"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
