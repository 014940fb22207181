package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"groupimport/pkg/backoff"
	"groupimport/pkg/blob/dirblob"
	"groupimport/pkg/config"
	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/results"
	"groupimport/pkg/scheduler"
	"groupimport/pkg/tim"
)

const (
	// A file that is dropped into a folder counts as whole once nobody has it open for writing, where the
	// system tells, and it has not changed for settled.
	settled = 3 * time.Second

	// quiet takes the place of settled for a file of somebody else, of which the system does not tell this
	// process who has it open: longer than copies usually pause.
	quiet = 30 * time.Second

	watchEvery = 2 * time.Second
	retryEvery = time.Minute // how often watch looks for rounds of retries that are due
)

// retry does what the schedule does, once.
func (t *tool) retry(ctx context.Context, args []string) error {
	flags := newFlags("retry [-now] [-quiet] [-json] [-map MAPPING] [-encoding NAME] DIR")
	now := flags.Bool("now", false, "leave out the waits: of records that failed, and of imports that are stopped")
	how := mannerOf(flags)
	mapped := mapFlag(flags)
	encoding := encodingFlag(flags)
	if done, err := t.parse(flags, args, true); done {
		return err
	}
	s, err := t.schedule(flags.Args(), mapped, encoding, *how)
	if err != nil {
		return err
	}
	defer s.close()
	action := scheduler.Action{Resume: true, Retry: true, Now: *now, Missed: settled, Whole: s.whole}
	ends := tally{}
	for {
		pass, err := s.pass(ctx, action)
		if err != nil {
			return err
		}
		again := ends.add(pass)
		if pass.Left > 0 {
			fmt.Fprintf(s.meter, "local: %d more are due: %s\n", pass.Left, leftReason(ctx, pass))
		}
		if !again || ctx.Err() != nil {
			break
		}
		action.Now = false // what a run of 15 minutes has left goes on
	}
	worst := ends.worst()
	if len(ends) == 0 && !how.json {
		fmt.Fprintf(t.stdout, "%s: nothing is due\n", s.dir)
	}
	if worst != exitOK {
		return &exit{status: worst}
	}
	return nil
}

// A tally holds, by key, the exit status of what was last done about each import. At the key "", which
// none has, it says that the last pass left some.
type tally map[string]int

// add adds what a pass did, and reports whether something goes on at once.
func (t tally) add(pass scheduler.Result) (again bool) {
	for _, d := range pass.Done {
		t[d.Key] = doingStatus(d)
		again = again || d.State == results.Waiting
	}
	delete(t, "")
	if pass.Left > 0 {
		t[""] = exitUnfinished
	}
	return again
}

func (t tally) worst() int {
	worst := exitOK
	for _, status := range t {
		if rank[status] > rank[worst] {
			worst = status
		}
	}
	return worst
}

// leftReason says why a pass has left something.
func leftReason(ctx context.Context, pass scheduler.Result) string {
	if ctx.Err() != nil {
		return context.Cause(ctx).Error()
	}
	return pass.Reason
}

// watch takes a folder for the bucket: what is dropped into it is imported, what is unfinished goes on, and
// what failed is tried again, until it is interrupted.
func (t *tool) watch(ctx context.Context, args []string) error {
	flags := newFlags("watch [-quiet] [-json] [-map MAPPING] [-encoding NAME] DIR")
	how := mannerOf(flags)
	mapped := mapFlag(flags)
	encoding := encodingFlag(flags)
	if done, err := t.parse(flags, args, true); done {
		return err
	}
	s, err := t.schedule(flags.Args(), mapped, encoding, *how)
	if err != nil {
		return err
	}
	defer s.close()
	fmt.Fprintf(s.meter, "local: watching %s: drop exports into it; Ctrl-C ends in good order\n", s.dir)
	var retried time.Time
	for {
		action := scheduler.Action{Resume: true, Missed: settled, Whole: s.whole}
		if time.Since(retried) >= retryEvery {
			action.Retry, retried = true, time.Now()
		}
		if _, err := s.pass(ctx, action); err != nil && ctx.Err() == nil {
			s.say("", fmt.Sprintf("local: %v\n", err)) // it may pass: a folder on a network
		}
		if backoff.Sleep(ctx, watchEvery) != nil {
			return nil
		}
	}
}

// A watcher does passes of the schedule over a folder.
type watcher struct {
	*tool
	dir     string
	bucket  *dirblob.Bucket
	cfg     config.Config
	mapping string
	log     *slog.Logger
	meter   *meter
	clients func() (*tim.Client, error)
	client  *tim.Client // nil before the first pass

	// What was last said of each key, and in this pass. A watch does a pass every few seconds, and says
	// again only what has changed. The key "" is that of the folder.
	said, saying map[string]string
}

// schedule returns a scheduler over the one folder that is named.
func (t *tool) schedule(args []string, mapped mapOption, encoding encodingOption, how manner) (*watcher, error) {
	if len(args) != 1 {
		return nil, usageError("name one folder")
	}
	cfg, level, err := t.config()
	if err != nil {
		return nil, err
	}
	if cfg.Encoding, err = encoding.parse(cfg.Encoding); err != nil {
		return nil, err
	}
	mapping, err := mapped.text(cfg.Limits)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(args[0])
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s: there is no such folder", args[0])
	}
	bucket, err := dirblob.Open(dir)
	if err != nil {
		return nil, err
	}
	m := newMeter(t.stderr, how)
	return &watcher{
		tool: t, dir: args[0], bucket: bucket, cfg: cfg, mapping: mapping, log: m.logger(level), clients: cfg.Clients(m.logger(level), nil), meter: m, said: make(map[string]string), saying: make(map[string]string),
	}, nil
}

func (s *watcher) close() {
	if s.client != nil {
		s.client.Close()
	}
	s.bucket.Close()
}

// pass does one pass and says what it did.
func (s *watcher) pass(ctx context.Context, a scheduler.Action) (scheduler.Result, error) {
	s.saying = make(map[string]string)
	absolute, err := filepath.Abs(s.dir)
	if err != nil {
		return scheduler.Result{}, err
	}
	i := &importer.Importer{
		Config: s.cfg, Mapping: s.mapping, Bucket: s.bucket, BucketName: absolute, Folder: absolute,
		Owner: holder(), IsDead: dead, Grace: grace, Log: s.log,
	}
	if s.client == nil || s.client.Stopped() != nil {
		// A client that was stopped stays so; the cause may be fixed by now.
		if s.client, err = s.clients(); err != nil {
			return scheduler.Result{}, err
		}
	}
	i.Client = s.client
	stop := s.meter.watch(i, shown(s.dir))
	pass, err := (&scheduler.Scheduler{Importer: i}).Pass(ctx, a)
	stop()
	for _, d := range pass.Done {
		s.tell(d)
	}
	if err != nil {
		return pass, err
	}
	s.tellLinks(ctx)
	// A key of which nothing was said is fine, if the pass looked at everything.
	if a.Resume && a.Retry && pass.Left == 0 {
		s.said = s.saying
	}
	delete(s.said, "") // the list could be read
	return pass, nil
}

// tell says what was done about one import.
func (s *watcher) tell(d scheduler.JobResult) {
	file := s.file(d.Key)
	switch {
	case d.Error != "":
		s.say(d.Key, fmt.Sprintf("local: %s: %s: %s\n", file, d.What, d.Error))
	case d.What == scheduler.Skip:
		s.say(d.Key, fmt.Sprintf("local: %s: left out: %s\n", file, d.Reason))
	case d.State == results.Running:
		s.say(d.Key, fmt.Sprintf("local: %s: %s\n", file, strings.Replace(d.Reason, d.Owner, who(d.Owner), 1)))
	case d.State == results.Finished:
		delete(s.said, d.Key)
		if s.meter.json {
			writeLine(s.stdout, d)
			return
		}
		counts := countsText(d.Counts)
		if d.Counts.Records() == 0 {
			counts = "the export is empty, there is no record in it"
		}
		fmt.Fprintf(s.stdout, "%s: %s: finished: %s\n", file, d.What, counts)
	default:
		s.say(d.Key, fmt.Sprintf("local: %s: %s: unfinished: %s; nothing is lost, it goes on later\n", file, d.What, d.Reason))
	}
}

// tellLinks says which files that look like exports are left out, because they are links out of the folder.
func (s *watcher) tellLinks(ctx context.Context) {
	// What cannot be read here, the list has complained of, or it has vanished.
	_ = fs.WalkDir(os.DirFS(s.dir), ".", func(key string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return fs.SkipAll
		case err != nil || key == ".":
			return nil //nolint:nilerr // see above
		case entry.IsDir():
			folder := key + "/"
			owner, kind := results.Beside(folder)
			if kind == results.BesideWork && export.Reads(owner) ||
				!strings.HasPrefix(folder, s.cfg.Prefix) && !strings.HasPrefix(s.cfg.Prefix, folder) {
				return fs.SkipDir
			}
			return nil
		case entry.Type()&fs.ModeSymlink == 0 || !strings.HasPrefix(key, s.cfg.Prefix) || !export.Reads(key) ||
			results.Own(key) || strings.HasPrefix(entry.Name(), "."):
			return nil
		}
		name := filepath.Join(s.dir, filepath.FromSlash(key))
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			return nil //nolint:nilerr // it leads nowhere
		}
		if err := checkLink(s.dir, key); err != nil {
			s.say(key, fmt.Sprintf("local: %s: left out: %v\n", s.file(key), err))
		}
		return nil
	})
}

// say writes a message about key, unless it is the last one that was written.
func (s *watcher) say(key, message string) {
	if s.said[key] != message {
		fmt.Fprint(s.meter, message)
	}
	s.said[key], s.saying[key] = message, message
}

// file is the name of the file at key, for messages.
func (s *watcher) file(key string) string {
	return shown(filepath.Join(s.dir, filepath.FromSlash(key)))
}

// whole reports whether the file at key has been written to its end, as far as the system tells.
func (s *watcher) whole(key string) bool {
	name := filepath.Join(s.dir, filepath.FromSlash(key))
	open, told := openForWriting(name)
	if told {
		return !open
	}
	info, err := os.Stat(name)
	return err == nil && time.Since(info.ModTime()) >= quiet
}

// doingStatus is the exit status of what a pass did about one import.
func doingStatus(d scheduler.JobResult) int {
	switch {
	case d.Error != "":
		return exitError
	case d.What == scheduler.Skip:
		return exitNotIn
	case d.State != results.Finished:
		return exitUnfinished
	case d.Counts.Missing() > 0:
		return exitNotIn
	}
	return exitOK
}
