package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/config"
	"groupimport/pkg/importer"
	"groupimport/pkg/lease"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
	"groupimport/pkg/shell"
	"groupimport/pkg/tim"
)

// drainTimeout is how long attempts in flight are waited for after Ctrl-C: longer than the service takes for
// nearly all of them, and short enough to exit within two seconds.
const drainTimeout = 1500 * time.Millisecond

func (t *tool) importFiles(ctx context.Context, c *cli.Command) error {
	args, err := arguments(c, 1, anyNumber)
	if err != nil {
		return err
	}
	if slices.Contains(args, standardInput) {
		return usageError("standard input cannot be imported: results are written beside the export, and the next run " +
			"resumes at a position in it. Save it to a file and import that; validate reads standard input")
	}
	cfg, level, mapping, err := t.readingConfig(c)
	if err != nil {
		return err
	}
	m := newMeter(t.stderr, mannerOf(c))
	args, err = t.expandAddresses(ctx, cfg, args)
	if err != nil {
		return err
	}
	files, err := expand(ctx, m, args)
	if err != nil {
		return err
	}
	return t.importAll(ctx, cfg, level, mapping, files, m)
}

// config reads the configuration; its error is one of usage and names every mistake.
func (t *tool) config(c *cli.Command) (config.Config, slog.Level, error) {
	for _, line := range config.Removed(t.getenv) {
		fmt.Fprintf(t.stderr, "groupimport: %s\n", line)
	}
	cfg, err := config.FromEnv(t.getenv)
	level := cfg.LogLevel
	if t.getenv("LOG_LEVEL") == "" {
		level = slog.LevelWarn // progress and summary say what a run does
	}
	if err != nil {
		return cfg, level, configError(err)
	}
	if cfg.NotifyParameter != "" {
		return cfg, level, usageError("NOTIFY_PARAMETER is not read here: set NOTIFY_URL and NOTIFY_SECRET")
	}
	cfg.Insecure = c.Bool(flagInsecure)
	switch err := tim.CheckEndpoint(cfg.Endpoint, cfg.Insecure); {
	case errors.Is(err, tim.ErrClearText):
		return cfg, level, usageError("TIM_ENDPOINT: %v, or allow it with --%s", err, flagInsecure)
	case err != nil:
		return cfg, level, usageError("TIM_ENDPOINT: %v", err)
	}
	return cfg, level, nil
}

// readingConfig reads the configuration of a command that reads exports, and the text of the mapping that --map
// names, if any.
func (t *tool) readingConfig(c *cli.Command) (cfg config.Config, level slog.Level, mapping string, err error) {
	if cfg, level, err = t.config(c); err != nil {
		return cfg, level, "", err
	}
	cfg.NoMembers = cfg.NoMembers || c.Bool(flagNoMembers)
	if cfg.Encoding, err = encodingOf(c, cfg.Encoding); err != nil {
		return cfg, level, "", err
	}
	if cfg.Records, err = recordsOf(c, cfg.Records); err != nil {
		return cfg, level, "", err
	}
	if cfg.TimeZone, err = timeZoneOf(c, cfg.TimeZone); err != nil {
		return cfg, level, "", err
	}
	if cfg.UserTable, cfg.UsersStrict, err = t.usersOf(c, cfg.UsersStrict); err != nil {
		return cfg, level, "", err
	}
	if detects(c) {
		cfg.Mapping = c.String(flagMap)
		return cfg, level, "", nil
	}
	mapping, err = mappingOf(c, cfg.Limits)
	return cfg, level, mapping, err
}

// newImporter returns an importer without a bucket. mapping is the text of a mapping, empty for none.
func newImporter(cfg config.Config, mapping string, client *tim.Client, log *slog.Logger) *importer.Importer {
	return &importer.Importer{
		Config: cfg, Mapping: mapping, Client: client, Owner: leaseOwner(), IsDead: isDead,
		DrainTimeout: drainTimeout, Log: log,
	}
}

// maxSummaries is how many files a command imports at most to write a whole summary of each.
const maxSummaries = 5

// importAll imports files, several at once, with the text of a mapping or none, and writes a summary of each. Its error
// has the worst of their exit statuses.
func (t *tool) importAll(
	ctx context.Context, cfg config.Config, level slog.Level, mapping string, files []string, meter *meter,
) error {
	log := meter.logger(level)
	client, err := cfg.Clients(log, nil)()
	if err != nil {
		return err
	}
	defer client.Close() // one for all files, which share the rate

	defer announceInterrupt(ctx, meter)()
	memory := importer.NewMemory()
	notifier := newNotifier(cfg, log)
	defer waitFor(ctx, notifier)
	folders := &folders{open: map[string]*folder{}, importer: func(root string) *importer.Importer {
		i := newImporter(cfg, mapping, client, log)
		i.Memory, i.OnChange = memory, telling(notifier, root)
		return i
	}}
	defer folders.close()
	meter.brief = len(files) > maxSummaries
	mayStart := func() bool { return ctx.Err() == nil && client.Fatal() == nil }
	worst := exitOK
	stores := &stores{tool: t, log: log, newImporter: folders.importer}
	rest := eachFile(files, cfg.ParallelImports, mayStart, func(file string) int {
		if isAddress(file) {
			return t.importAddress(ctx, stores, file, meter)
		}
		return t.importFile(ctx, folders, file, meter)
	}, func(status int) { worst = worse(worst, status) })
	if len(rest) > 0 {
		fmt.Fprintf(meter, "%s: not started: %s\n", program, strings.Join(shownAll(rest), " "))
		for _, file := range rest {
			t.summarizeError(file, "not started", meter)
		}
		worst = worse(worst, exitUnfinished)
	}
	return exitWith(worst)
}

// eachFile calls do for each file, in order and for up to n files at once, while mayStart returns true, and ended with
// each result. Calls of ended do not overlap. It returns the files that were not started. A file that is named twice
// waits.
func eachFile(
	files []string, n int, mayStart func() bool, do func(file string) int, ended func(status int),
) (rest []string) {
	type result struct {
		file   string
		status int
	}
	rest = slices.Clone(files)
	results := make(chan result)
	running := map[string]bool{}
	for {
		for len(running) < max(1, n) && mayStart() {
			next := slices.IndexFunc(rest, func(file string) bool { return !running[filepath.Clean(file)] })
			if next < 0 {
				break
			}
			file := rest[next]
			rest = slices.Delete(rest, next, next+1)
			running[filepath.Clean(file)] = true
			go func() { results <- result{file, do(file)} }()
		}
		if len(running) == 0 {
			return rest
		}
		r := <-results
		delete(running, filepath.Clean(r.file))
		ended(r.status)
	}
}

// announceInterrupt writes a message once ctx ends, unless the caller calls cancel before.
func announceInterrupt(ctx context.Context, w io.Writer) (cancel func() bool) {
	return context.AfterFunc(ctx, func() {
		fmt.Fprintf(w, "%s: %v: stopping gracefully; Ctrl-C again exits\n", program, context.Cause(ctx))
	})
}

// importFile imports one file, in as many runs as it takes, and returns the exit status.
func (t *tool) importFile(ctx context.Context, folders *folders, file string, meter *meter) int {
	start := time.Now()
	dir, key := filepath.Split(file)
	name := shown(file)
	f, err := folders.openExport(file, dir, key)
	if err == nil {
		err = identifyNow(ctx, f.bucket, key, name, meter)
	}
	var s importer.Summary
	if err == nil {
		s, err = runs(ctx, f.scheduler, key, name, meter)
	}
	return t.conclude(ctx, file, s, err, start, meter)
}

// conclude says how the import of a file that began at start ended, and returns the exit status.
func (t *tool) conclude(
	ctx context.Context, file string, s importer.Summary, err error, start time.Time, meter *meter,
) int {
	say := func(format string, args ...any) string {
		text := oneLine(fmt.Sprintf(format, args...))
		fmt.Fprintf(meter, "%s: %s: %s\n", program, shown(file), text)
		return text
	}
	fail := func(status int, format string, args ...any) int {
		t.summarizeError(file, say(format, args...), meter)
		return status
	}
	if busy, ok := errors.AsType[*lease.BusyError](err); ok {
		return fail(exitUnfinished, "%s is working on it. Wait, or stop that process and run this command again",
			ownerName(busy.Owner))
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		// Interrupted before there was anything to do: no checkpoint, no summary.
		return fail(exitUnfinished, "stopped: %v. %s", err, resumeHint)
	}
	if errors.Is(err, fs.ErrPermission) && !isAddress(file) {
		err = fmt.Errorf("%w: results are written beside the export, so its folder must be writable. "+
			"Copy the export to a folder that is", err)
	}
	if err != nil {
		return fail(exitError, "%v", err)
	}
	if s.State == results.Paused || s.State == results.Cancelled {
		if meter.json {
			meter.print(func() { t.summarize(file, s, time.Since(start), meter.manner) })
		}
		say("%s. To continue it: %s resume %s", s.Reason, program, shell.File(file))
		return exitUnfinished
	}
	meter.print(func() { t.summarize(file, s, time.Since(start), meter.manner) })
	switch {
	case s.State == results.Stopped:
		say("stopped: %s. Progress is saved. Fix the cause and run the same command again.", trimStop(s.Reason))
		return exitUnfinished
	case s.State != results.Finished:
		say("stopped: %s. %s", trimStop(s.Reason), resumeHint)
		return exitUnfinished
	case !s.Counts.IsWhole():
		return exitNotImported
	}
	return exitOK
}

// resumeHint follows the reason of an import that was interrupted.
const resumeHint = "Progress is saved. Run the same command again to resume."

// trimStop cuts the full stop from a reason, which another sentence follows.
func trimStop(reason string) string { return strings.TrimSuffix(reason, ".") }

// folders are the folders of the files that a command imports. All files of one folder have one scheduler, because they
// share its lease on the rate, see [config.Config.OneAtATime].
type folders struct {
	importer func(root string) *importer.Importer // returns one without a bucket, see telling

	mu   sync.Mutex
	open map[string]*folder // by absolute path
}

// A folder is open.
type folder struct {
	bucket    *dirblob.Bucket
	scheduler *scheduler.Scheduler
}

func (f *folders) close() {
	for _, open := range f.open {
		open.bucket.Close()
	}
}

// openExport checks that a file is an export and returns its folder.
func (f *folders) openExport(file, dir, key string) (*folder, error) {
	if err := checkFile(file); err != nil {
		return nil, err
	}
	if results.IsOutput(key) {
		return nil, errors.New("an import wrote it. To import its records, copy it to a name of its own, for example " +
			strings.TrimSuffix(file, ".ndjson") + ".again.ndjson")
	}
	bucket, absolute, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if open := f.open[absolute]; open != nil {
		bucket.Close()
		return open, checkLink(absolute, key)
	}
	i := f.importer(absolute)
	i.Bucket, i.BucketName, i.Folder = bucket, absolute, absolute
	open := &folder{bucket, &scheduler.Scheduler{Importer: i}}
	f.open[absolute] = open
	return open, checkLink(absolute, key)
}

// runs imports the export at key in as many runs as it takes, and shows its progress under a name.
func runs(
	ctx context.Context, s *scheduler.Scheduler, key, name string, meter *meter,
) (importer.Summary, error) {
	for {
		stop := meter.watch(s.Importer, key, name)
		sum, err := s.Import(ctx, key)
		stop()
		if err != nil || sum.State != results.Waiting || ctx.Err() != nil {
			return sum, err
		}
	}
}
