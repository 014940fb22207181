package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/config"
	"groupimport/pkg/notify"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
	"groupimport/pkg/tim"
)

const (
	// A file that is dropped into a folder is complete once nobody has it open for writing, if the system tells,
	// and it has not changed for settled.
	settled = 3 * time.Second

	// quiet replaces settled for a file of another user, for which the system does not tell this process who has it
	// open. It is longer than copies usually pause.
	quiet = 30 * time.Second
)

// A watcher runs passes of the scheduler over a folder, and says what they did.
type watcher struct {
	*tool
	dir      string
	bucket   *dirblob.Bucket
	cfg      config.Config
	mapping  string
	log      *slog.Logger
	meter    *meter
	notifier *notify.Notifier
	clients  func() (*tim.Client, error)
	client   *tim.Client // nil before the first pass
	resumed  string      // how an import that is not finished is resumed

	// What was last said of each key, and in this pass. watch runs a pass every few seconds, and repeats only what
	// has changed.
	said, saying map[string]string

	finished map[string]bool // imports whose end was said

	reading *identifier
}

// newWatcher returns a watcher over the one folder that the arguments name.
func (t *tool) newWatcher(c *cli.Command) (*watcher, error) {
	args, err := arguments(c, 1, 1)
	if err != nil {
		return nil, err
	}
	cfg, level, mapping, err := t.readingConfig(c)
	if err != nil {
		return nil, err
	}
	s := t.watcherOver(args[0], cfg, newMeter(t.stderr, mannerOf(c)), level)
	s.mapping = mapping
	if err := checkFolder(args[0]); err != nil {
		return nil, err
	}
	return s, s.open()
}

// open opens the folder.
func (s *watcher) open() (err error) {
	s.bucket, _, err = openFolder(s.dir)
	s.reading = &identifier{bucket: s.bucket, quiet: s.meter.quiet, report: func(key string, read, size int64) {
		fmt.Fprint(s.meter, readingText(s.file(key), read, size))
	}}
	return err
}

// watcherOver returns a watcher over a folder, which is not yet open.
func (t *tool) watcherOver(dir string, cfg config.Config, m *meter, level slog.Level) *watcher {
	log := m.logger(level)
	return &watcher{
		tool: t, dir: dir, cfg: cfg, log: log, clients: cfg.Clients(log, nil), meter: m,
		notifier: newNotifier(cfg, log),
		resumed:  "Run the same command again.",
		said:     map[string]string{}, saying: map[string]string{}, finished: map[string]bool{},
	}
}

// close ends the watcher. ctx is that of the command.
func (s *watcher) close(ctx context.Context) {
	waitFor(ctx, s.notifier)
	s.reading.wait() // it ends with the context of the passes
	if s.client != nil {
		s.client.Close()
	}
	s.bucket.Close()
}

// scheduler returns a scheduler over the folder, with a client that is not stopped.
func (s *watcher) scheduler() (*scheduler.Scheduler, error) {
	absolute, err := filepath.Abs(s.dir)
	if err != nil {
		return nil, err
	}
	if s.client == nil || s.client.Fatal() != nil {
		// A client that was stopped stays stopped, although the cause may be fixed.
		if s.client, err = s.clients(); err != nil {
			return nil, err
		}
	}
	i := newImporter(s.cfg, s.mapping, s.client, s.log)
	i.Bucket, i.BucketName, i.Folder = s.bucket, absolute, absolute
	i.OnChange = telling(s.notifier, absolute)
	return &scheduler.Scheduler{Importer: i}, nil
}

// pass runs one pass and says what it did.
func (s *watcher) pass(ctx context.Context, a scheduler.Action) (scheduler.Result, error) {
	s.saying = map[string]string{}
	sched, err := s.scheduler()
	if err != nil {
		return scheduler.Result{}, err
	}
	told := map[string]bool{}
	a.OnJob = func(key string) func(scheduler.JobResult, bool) {
		stop := s.meter.watch(sched.Importer, key, keyName(key))
		return func(done scheduler.JobResult, already bool) {
			stop()
			if ctx.Err() != nil {
				s.resumed = "Run the same command again to resume."
			}
			if !already {
				told[done.Key] = true
				s.tell(done)
			}
		}
	}
	pass, err := sched.Pass(ctx, a)
	for _, d := range pass.Done {
		if !told[d.Key] { // it had no job
			s.tell(d)
		}
	}
	if err != nil {
		return pass, err
	}
	s.tellIgnored(ctx)
	if a.Retry {
		s.tellAttention(ctx, sched)
	}
	// A key of which nothing was said is fine, if the pass looked at everything.
	if a.Resume && a.Retry && pass.Left == 0 {
		s.said = s.saying
	}
	delete(s.said, "") // the folder can be listed again
	return pass, nil
}

// tell says what was done about one import.
func (s *watcher) tell(d scheduler.JobResult) {
	switch {
	case d.Error != "":
		s.say(d.Key, "%s: %s", d.What, d.Error)
	case d.What == scheduler.Skip:
		s.say(d.Key, "ignored: %s", d.Reason)
	case d.State == results.Running:
		s.say(d.Key, "%s is working on it", ownerName(d.Owner))
	case d.State == results.Finished:
		delete(s.said, d.Key)
		s.finished[d.Key] = true
		if s.meter.json {
			s.meter.print(func() { writeLine(s.stdout, d) })
			return
		}
		counts := countsText(d.Counts)
		if d.Counts.Records() == 0 {
			counts = "the export is empty, there is no record in it"
		}
		s.meter.print(func() { fmt.Fprintf(s.stdout, "%s: %s: finished: %s\n", s.file(d.Key), d.What, counts) })
	case d.State == results.Paused, d.State == results.Cancelled:
		s.say(d.Key, "%s. To continue it: %s resume %s", d.Reason, program, s.file(d.Key))
	default:
		s.say(d.Key, "%s: stopped: %s. Progress is saved. %s", d.What, trimStop(d.Reason), s.resumed)
	}
}

// tellIgnored says which files of the folder are no exports.
func (s *watcher) tellIgnored(ctx context.Context) {
	var ignored ignoredFiles
	for c := range scan(ctx, s.dir, s.cfg.Prefix) {
		if c.ignored != "" && c.key != s.cfg.Mapping {
			ignored.add(filepath.Join(s.dir, filepath.FromSlash(c.key)), c.ignored)
		}
	}
	for _, message := range ignored.messages() {
		s.sayOnce("ignored "+message, message)
	}
}

// tellAttention says which imports an operator has to look at, if this pass has not said so yet: those that are
// stopped, and those with records in the dead-letter file.
func (s *watcher) tellAttention(ctx context.Context, sched *scheduler.Scheduler) {
	for c := range scan(ctx, s.dir, s.cfg.Prefix) {
		if c.ignored != "" || !c.unfinished && !c.deadLetter || s.finished[c.key] || s.saying[c.key] != "" {
			continue
		}
		im, err := sched.Status(ctx, c.key)
		if err != nil {
			continue // the pass has said so, or the import was removed meanwhile
		}
		if text := attentionText(im); text != "" {
			s.sayAttention(c.key, "%s", text)
		}
	}
}

// attentionText says what an operator has to do about an import that is stopped or has records in the dead-letter file.
// It is empty for other imports.
func attentionText(im scheduler.Status) string {
	switch {
	case im.State == results.Stopped:
		return fmt.Sprintf("stopped: %s. Fix the cause; %s", trimStop(im.Reason), againText(im.Again))
	case im.State == results.Finished && !im.Counts.IsWhole():
		return missingText(im, im.Key)
	}
	return ""
}

// againText says when a stopped import is tried again.
func againText(again time.Time) string {
	if again.IsZero() {
		return "then it is resumed"
	}
	return "it is tried again from " + again.Local().Format("15:04:05 MST") + " on, with retry --now at once"
}

// missingText says which records and members of a finished import are not imported, and what to do.
func missingText(im scheduler.Status, key string) string {
	var parts []string
	if n := im.Counts.Rejected; n > 0 {
		parts = append(parts, thousands(n)+" rejected: fix the records")
	}
	if n := im.Counts.Unknown; n > 0 {
		parts = append(parts, thousands(n)+" unknown: check whether the groups exist")
	}
	if n := im.Counts.Failed; n > 0 {
		parts = append(parts, thousands(n)+" failed"+retriedText(im.RetryAt))
	}
	if m := &im.Counts.Members; m.Failed > 0 {
		text := thousands(m.Failed) + " members missing (" + reasonsText(m) + ")"
		if im.Counts.Incomplete > 0 {
			text += retriedText(im.RetryAt)
		}
		parts = append(parts, text)
	}
	name := filepath.Base(filepath.FromSlash(results.Names{Export: key}.Failures()))
	return strings.Join(parts, "; ") + "; see " + shown(name)
}

// retriedText says when what failed is retried. A zero time is never.
func retriedText(at time.Time) string {
	if at.IsZero() {
		return ", no retry is left"
	}
	return ": retried from " + at.Local().Format("2006-01-02 15:04 MST") + " on"
}

// say writes a message about a key, unless it repeats the last one.
func (s *watcher) say(key, format string, args ...any) {
	s.sayOnce(key, fmt.Sprintf("%s: %s: %s\n", program, s.file(key), oneLine(fmt.Sprintf(format, args...))))
}

// sayAttention is say for what remains true beside other messages about the key.
func (s *watcher) sayAttention(key, format string, args ...any) {
	s.sayOnce("attention "+key, fmt.Sprintf("%s: %s: %s\n", program, s.file(key), oneLine(fmt.Sprintf(format, args...))))
}

func (s *watcher) sayOnce(topic, message string) {
	if s.said[topic] != message {
		fmt.Fprint(s.meter, message)
	}
	s.said[topic], s.saying[topic] = message, message
}

// file is the name of the file at key, for messages.
func (s *watcher) file(key string) string {
	return shown(filepath.Join(s.dir, filepath.FromSlash(key)))
}

// isReady returns a function that reports whether the export at key can be worked on: it has been written to its end,
// and its version is known. Until ctx ends, the version of a large export is computed beside other work.
func (s *watcher) isReady(ctx context.Context) func(key string) bool {
	return func(key string) bool { return s.isComplete(key) && s.reading.isKnown(ctx, key) }
}

// isComplete reports whether the file at key has been written to its end, as far as the system tells.
func (s *watcher) isComplete(key string) bool {
	name := filepath.Join(s.dir, filepath.FromSlash(key))
	open, known := openForWriting(name)
	if known {
		return !open
	}
	info, err := os.Stat(name)
	return err == nil && time.Since(info.ModTime()) >= quiet
}
