package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/importer"
	"groupimport/pkg/results"
)

// grace is how long attempts under way are waited for after Ctrl-C: longer than the service takes for
// nearly all of them, and short enough to leave within two seconds.
const grace = 1500 * time.Millisecond

func (t *tool) importFiles(ctx context.Context, args []string) error {
	fs := t.flags("import [-quiet] FILE…")
	quiet := fs.Bool("quiet", false, "no progress")
	if done, err := parse(fs, args); done {
		return err
	}
	if fs.NArg() == 0 {
		fs.Usage()
		return &exit{status: exitUsage}
	}
	cfg, level, err := t.config()
	if err != nil {
		return err
	}
	return t.importAll(ctx, cfg, level, fs.Args(), *quiet)
}

// config reads the configuration; its error is one of usage and names every mistake.
func (t *tool) config() (importer.Config, slog.Level, error) {
	cfg, err := importer.ConfigFromEnv(t.getenv)
	var level slog.Level
	if v := t.getenv("LOG_LEVEL"); v != "" {
		if levelErr := level.UnmarshalText([]byte(v)); levelErr != nil {
			err = errors.Join(err, fmt.Errorf("LOG_LEVEL is %q, it must be debug, info, warn or error", v))
		}
	} else {
		level = slog.LevelWarn // what a run does, its progress and summary say
	}
	if err != nil {
		return cfg, level, usageError("the configuration is not complete:\n  %s", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	return cfg, level, nil
}

// importAll imports files one after another and writes a summary of each. Its error has the worst of
// their exit statuses.
func (t *tool) importAll(ctx context.Context, cfg importer.Config, level slog.Level, files []string, quiet bool) error {
	meter := newMeter(t.stderr, quiet)
	log := slog.New(slog.NewTextHandler(meter, &slog.HandlerOptions{Level: level}))
	first := &importer.Importer{Config: cfg, Grace: grace, Log: log}
	if err := first.Dial(nil); err != nil {
		return err
	}
	defer first.Client.Close()

	worst := exitOK
	for _, file := range files {
		i := &importer.Importer{
			Config: cfg, Holder: holder(), Dead: dead, Grace: grace, Log: log,
			Client: first.Client, // one budget for all
		}
		status := t.importFile(ctx, i, file, meter)
		if rank[status] > rank[worst] {
			worst = status
		}
		if ctx.Err() != nil || first.Client.Stopped() != nil {
			break
		}
	}
	if worst != exitOK {
		return &exit{status: worst}
	}
	return nil
}

// rank orders exit statuses from best to worst.
var rank = map[int]int{exitOK: 0, exitNotIn: 1, exitUnfinished: 2, exitError: 3}

// importFile imports one file, in as many runs as it takes, and returns the exit status.
func (t *tool) importFile(ctx context.Context, i *importer.Importer, file string, meter *meter) int {
	dir, key := filepath.Split(file)
	if dir == "" {
		dir = "."
	}
	failed := func(err error) int {
		fmt.Fprintf(t.stderr, "local: %s: %v\n", file, err)
		return exitError
	}
	bucket, err := dirblob.Open(dir)
	if err != nil {
		return failed(err)
	}
	defer bucket.Close()
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return failed(err)
	}
	i.Bucket, i.BucketName = bucket, absolute

	start := time.Now()
	var s importer.Summary
	for {
		stop := meter.watch(i, file)
		s, err = i.Run(ctx, key)
		stop()
		if err != nil || s.State != results.Waiting || ctx.Err() != nil {
			break
		}
	}
	if busy, ok := errors.AsType[*results.Busy](err); ok {
		fmt.Fprintf(t.stderr, "local: %s: %v\n", file, busy)
		return exitUnfinished
	}
	if err != nil {
		return failed(err)
	}
	t.summary(file, s, time.Since(start))
	switch {
	case s.State != results.Finished:
		fmt.Fprintf(t.stderr, "local: %s: unfinished: %s; nothing is lost, the same command goes on\n", file, s.Reason)
		return exitUnfinished
	case s.Counts.NotIn() > 0:
		return exitNotIn
	}
	return exitOK
}

// meanings says what each status means, in the order of the summary.
var meanings = []struct {
	status results.Status
	text   string
	count  func(results.Counts) int64
}{
	{results.Imported, "the group was made", func(c results.Counts) int64 { return c.Imported }},
	{results.Exists, "it stood already and is the record's own", func(c results.Counts) int64 { return c.Exists }},
	{results.Rejected, "it breaks a rule, or the service refused it for good: mend it", func(c results.Counts) int64 { return c.Rejected }},
	{results.Failed, "the service would not, after all attempts: try again", func(c results.Counts) int64 { return c.Failed }},
	{results.Unknown, "no GroupId and the answer was lost: look whether it exists", func(c results.Counts) int64 { return c.Unknown }},
}

// summary writes what a file's import came to.
func (t *tool) summary(file string, s importer.Summary, took time.Duration) {
	w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	how := fmt.Sprintf("%s in %s", s.State, took.Round(100*time.Millisecond))
	if s.Already {
		how = "finished before, nothing to do: this version of the export was imported at " +
			s.Manifest.Finished.Format(time.RFC3339)
	}
	fmt.Fprintf(w, "%s: %s\n", file, how)
	for _, m := range meanings {
		text := m.text
		if m.count(s.Counts) == 0 {
			text = ""
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", m.status, thousands(m.count(s.Counts)), text)
	}
	fmt.Fprintf(w, "  %s\t%s\t%s\n", "records", thousands(s.Counts.Records()), "")
	dir, _ := filepath.Split(file)
	for _, f := range s.Manifest.Files {
		what := "results"
		if strings.HasSuffix(f.Key, ".failures.ndjson") {
			what = "failures"
		}
		fmt.Fprintf(w, "%s:\t%s\n", what, dir+f.Key)
	}
}

// thousands writes n with commas.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
