package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/config"
	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/lease"
	"groupimport/pkg/outcome"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
)

// grace is how long attempts under way are waited for after Ctrl-C: longer than the service takes for
// nearly all of them, and short enough to leave within two seconds.
const grace = 1500 * time.Millisecond

func (t *tool) importFiles(ctx context.Context, args []string) error {
	flags := newFlags("import [-quiet] [-json] [-map MAPPING] [-encoding NAME] FILE…")
	how := mannerOf(flags)
	mapped := mapFlag(flags)
	encoding := encodingFlag(flags)
	if done, err := t.parse(flags, args, true); done {
		return err
	}
	cfg, level, err := t.config()
	if err != nil {
		return err
	}
	if cfg.Encoding, err = encoding.parse(cfg.Encoding); err != nil {
		return err
	}
	mapping, err := mapped.text(cfg.Limits)
	if err != nil {
		return err
	}
	return t.importAll(ctx, cfg, level, mapping, flags.Args(), *how)
}

// mannerOf adds the options of how a command speaks.
func mannerOf(flags *flag.FlagSet) *manner {
	how := &manner{}
	flags.BoolVar(&how.quiet, "quiet", false, "no progress, only messages and the summary")
	flags.BoolVar(&how.json, "json", false, "progress and messages (standard error) and summaries (standard output) as JSON, one object a line")
	return how
}

// config reads the configuration; its error is one of usage and names every mistake.
func (t *tool) config() (config.Config, slog.Level, error) {
	for _, line := range config.Removed(t.getenv) {
		fmt.Fprintf(t.stderr, "local: %s\n", line)
	}
	cfg, err := config.FromEnv(t.getenv)
	level := cfg.LogLevel
	if t.getenv("LOG_LEVEL") == "" {
		level = slog.LevelWarn // what a run does, its progress and summary say
	}
	if err != nil {
		return cfg, level, usageError("the configuration is not complete:\n  %s", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	return cfg, level, nil
}

// importAll imports files one after another, with the text of a mapping or none, and writes a summary of each. Its error has the worst of
// their exit statuses.
func (t *tool) importAll(ctx context.Context, cfg config.Config, level slog.Level, mapping string, files []string, how manner) error {
	meter := newMeter(t.stderr, how)
	log := meter.logger(level)
	client, err := cfg.Clients(log, nil)()
	if err != nil {
		return err
	}
	defer client.Close()

	defer context.AfterFunc(ctx, func() {
		fmt.Fprintf(meter, "local: %v: ending in good order; once more ends at once\n", context.Cause(ctx))
	})()

	worst := exitOK
	for n, file := range files {
		i := &importer.Importer{
			Config: cfg, Mapping: mapping, Owner: holder(), IsDead: dead, Grace: grace, Log: log,
			Client: client, // one budget for all
		}
		status := t.importFile(ctx, i, file, meter)
		if rank[status] > rank[worst] {
			worst = status
		}
		if ctx.Err() != nil || client.Stopped() != nil {
			if rest := files[n+1:]; len(rest) > 0 {
				fmt.Fprintf(meter, "local: not begun: %s\n", strings.Join(shownAll(rest), " "))
			}
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
	name := shown(file)
	failed := func(err error) int {
		fmt.Fprintf(meter, "local: %s: %v\n", name, err)
		return exitError
	}
	if err := checkFile(file); err != nil {
		return failed(err)
	}
	if results.Own(key) {
		return failed(errors.New("an import wrote it; to import its records, copy it to a name of its own, for example " +
			strings.TrimSuffix(file, ".ndjson") + ".again.ndjson"))
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return failed(err)
	}
	if err := checkLink(absolute, key); err != nil {
		return failed(err)
	}
	bucket, err := dirblob.Open(absolute)
	if err != nil {
		return failed(err)
	}
	defer bucket.Close()
	i.Bucket, i.BucketName, i.Folder = bucket, absolute, absolute

	start := time.Now()
	var s importer.Summary
	for {
		stop := meter.watch(i, name)
		s, err = (&scheduler.Scheduler{Importer: i}).Import(ctx, key)
		stop()
		if err != nil || s.State != results.Waiting || ctx.Err() != nil {
			break
		}
	}
	if busy, ok := errors.AsType[*lease.BusyError](err); ok {
		fmt.Fprintf(meter, "local: %s: %s is working on it, until %s at the latest; wait, or stop that one and then run this again\n",
			name, who(busy.Owner), busy.Until.Local().Format("15:04:05 MST"))
		return exitUnfinished
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		// Before there was anything to do: no checkpoint, no summary.
		fmt.Fprintf(meter, "local: %s: unfinished: %v; nothing is lost, the same command goes on\n", name, err)
		return exitUnfinished
	}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: results go beside the export, so its folder must be writable: copy it to one that is", err)
	}
	if err != nil {
		return failed(err)
	}
	if meter.json {
		t.summaryLine(file, s, time.Since(start))
	} else {
		t.summary(file, s, time.Since(start))
	}
	switch {
	case s.State == results.Stopped:
		fmt.Fprintf(meter, "local: %s: unfinished: %s; nothing is lost: mend that, and the same command goes on\n", name, s.Reason)
		return exitUnfinished
	case s.State != results.Finished:
		fmt.Fprintf(meter, "local: %s: unfinished: %s; nothing is lost, the same command goes on\n", name, s.Reason)
		return exitUnfinished
	case s.Counts.Missing() > 0:
		return exitNotIn
	}
	return exitOK
}

// checkFile says why a file is no export, before anything is done with it.
func checkFile(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file")
	case err != nil:
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err // the name stands before it
		}
		return err
	case info.IsDir():
		return errors.New("it is a folder: name the files in it")
	case !info.Mode().IsRegular():
		return errors.New("it is no regular file: an export is read more than once, so write it to a file first")
	case !export.Reads(file):
		return fmt.Errorf("its name must end in %s, which is how the format is told", export.FormatsText)
	}
	return nil
}

// checkLink says why the file at key below the folder dir, which is there, cannot be read as a part of it.
func checkLink(dir, key string) error {
	name := filepath.Join(dir, filepath.FromSlash(key))
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil // who opens it as a bucket says so
	}
	defer root.Close()
	if _, err := root.Stat(filepath.FromSlash(key)); err == nil {
		return nil
	}
	if _, err := os.Stat(name); err != nil {
		return nil // it leads nowhere, which is not about the folder
	}
	folder, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	if way, err := filepath.Rel(folder, target); err == nil && filepath.IsLocal(way) {
		return errors.New("it is a link that is not relative: name the file itself")
	}
	return errors.New("it is a link to outside its folder: name the file itself")
}

// shown is a name as it stands in messages: as it is, or quoted if it would tear the line.
func shown(name string) string {
	if strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name) {
		return fmt.Sprintf("%q", name)
	}
	return name
}

func shownAll(names []string) []string {
	all := make([]string, 0, len(names))
	for _, name := range names {
		all = append(all, shown(name))
	}
	return all
}

// meanings says what each status means, in the order of the summary.
var meanings = []struct {
	status outcome.Status
	text   string
	count  func(outcome.Counts) int64
}{
	{outcome.Imported, "the group was made", func(c outcome.Counts) int64 { return c.Imported }},
	{outcome.Exists, "it stood already and is the record's own", func(c outcome.Counts) int64 { return c.Exists }},
	{outcome.Rejected, "it breaks a rule, or the service refused it for good: mend it", func(c outcome.Counts) int64 { return c.Rejected }},
	{outcome.Failed, "the service would not, after all attempts: try again", func(c outcome.Counts) int64 { return c.Failed }},
	{outcome.Unknown, "no GroupId and the answer was lost: look whether it exists", func(c outcome.Counts) int64 { return c.Unknown }},
	{outcome.Skipped, "the mapping leaves it out", func(c outcome.Counts) int64 { return c.Skipped }},
}

// summary writes what a file's import came to.
func (t *tool) summary(file string, s importer.Summary, took time.Duration) {
	var how string
	switch {
	case s.Already:
		how = "finished before, nothing to do: this version of the export was imported at " +
			s.Manifest.Finished.Local().Format("2006-01-02 15:04:05 MST")
	case s.State == results.Finished:
		how = "finished in " + took.Round(100*time.Millisecond).String()
	default:
		how = "not finished, after " + took.Round(100*time.Millisecond).String()
	}
	rows := make([][]string, 0, len(meanings)+1)
	for _, m := range meanings {
		if m.status == outcome.Skipped && m.count(s.Counts) == 0 {
			continue // there is no mapping
		}
		row := []string{string(m.status), thousands(m.count(s.Counts))}
		if m.count(s.Counts) > 0 {
			row = append(row, m.text)
		}
		rows = append(rows, row)
	}
	rows = append(rows, []string{"records", thousands(s.Counts.Records())})
	if c := s.Manifest.Carry; c != nil && !s.Already {
		rows = append(rows, []string{"carried", thousands(c.Carried), "from an earlier version of the export, without a call"})
		if n := c.NotFound(); n > 0 {
			rows = append(rows, []string{"missing", thousands(n), "groups of an earlier version are not in this one"})
		}
		if c.Created > 0 {
			rows = append(rows, []string{"new", thousands(c.Created), "records without a GroupId that no earlier version had"})
		}
		if c.Differs > 0 {
			rows = append(rows, []string{"differs", thousands(c.Differs), "carried over, but changed since: existing groups are not updated"})
		}
	}
	fmt.Fprintf(t.stdout, "%s: %s\n", shown(file), how)
	if s.State == results.Finished && s.Counts.Records() == 0 {
		fmt.Fprintln(t.stdout, "  the export is empty, there is no record in it")
	}
	writeTable(t.stdout, rows)
	for _, f := range beside(file, s.Manifest) {
		gone := ""
		if f.gone {
			gone = "  gone: deleted or moved since"
		}
		fmt.Fprintf(t.stdout, "  %-8s  %s%s\n", f.what, shown(f.name), gone)
	}
	t.dropped(s.Dropped)
}

// A written is a file that an import wrote beside its export.
type written struct {
	what, name string
	gone       bool // deleted or moved since
}

// beside returns what an import wrote: what the manifest tells of, and the report if there is one.
func beside(file string, m results.Manifest) []written {
	dir, name := filepath.Split(file)
	var all []written
	put := func(what, key string, must bool) {
		// The key may have been written when the folder was opened further up or down; the file lies here.
		f := written{what: what, name: dir + path.Base(key)}
		_, err := os.Lstat(f.name)
		f.gone = errors.Is(err, fs.ErrNotExist)
		if must || !f.gone {
			all = append(all, f)
		}
	}
	for _, f := range m.Files {
		what := "results"
		if _, kind := results.Beside(f.Key); kind == results.BesideFailures {
			what = "failures"
		}
		put(what, f.Key, true)
	}
	put("report", results.Names{Export: name}.Report(), false)
	return all
}

// summaryLine writes what a file's import came to as a line of JSON.
func (t *tool) summaryLine(file string, s importer.Summary, took time.Duration) {
	line := struct {
		File    string            `json:"file"`
		State   results.State     `json:"state"`
		Reason  string            `json:"reason,omitzero"`
		Already bool              `json:"already,omitzero"` // it was finished before, and nothing was done
		Records int64             `json:"records"`
		Counts  outcome.Counts    `json:"counts"`
		Seconds float64           `json:"seconds"`
		Files   map[string]string `json:"files"` // results, failures, report
	}{file, s.State, s.Reason, s.Already, s.Counts.Records(), s.Counts, took.Round(time.Millisecond).Seconds(), map[string]string{}}
	for _, f := range beside(file, s.Manifest) {
		if !f.gone {
			line.Files[f.what] = f.name
		}
	}
	writeLine(t.stdout, line)
}

// writeTable writes rows of up to three cells, the second of which are numbers.
func writeTable(w io.Writer, rows [][]string) {
	var wide [2]int
	for _, row := range rows {
		for i := range min(len(row), len(wide)) {
			wide[i] = max(wide[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		cells := append(row, "", "", "")
		line := fmt.Sprintf("  %-*s  %*s  %s", wide[0], cells[0], wide[1], cells[1], cells[2])
		fmt.Fprintln(w, strings.TrimRight(line, " "))
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
