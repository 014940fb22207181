package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v3"

	"groupimport/pkg/config"
	"groupimport/pkg/export"
	"groupimport/pkg/importer"
	"groupimport/pkg/scheduler"
)

// stores opens each bucket of a command once, so that all its imports share the leases and the rate.
type stores struct {
	*tool
	log         *slog.Logger
	newImporter func(root string) *importer.Importer

	mu   sync.Mutex
	open map[string]*scheduler.Scheduler // by the address of the bucket
}

// at returns the scheduler over the bucket of an address, and the key of the export.
func (s *stores) at(address string) (*scheduler.Scheduler, string, error) {
	p, err := s.openPlace(address, s.log)
	if err != nil {
		return nil, "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sched := s.open[p.root]
	if sched == nil {
		i := s.newImporter(p.root)
		i.Bucket, i.BucketName, i.Address = p.bucket, bucketOf(p.root), p.root
		sched = &scheduler.Scheduler{Importer: i}
		if s.open == nil {
			s.open = map[string]*scheduler.Scheduler{}
		}
		s.open[p.root] = sched
	}
	return sched, p.key, nil
}

// bucketOf returns the name of the bucket at an address. It is part of the seed of assigned GroupIds, so it is the
// name that a function knows.
func bucketOf(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// importAddress is importFile for an export in a bucket.
func (t *tool) importAddress(ctx context.Context, stores *stores, address string, meter *meter) int {
	start := time.Now()
	sched, key, err := stores.at(address)
	var s importer.Summary
	if err == nil {
		s, err = runs(ctx, sched, key, shown(address), meter)
	}
	return t.conclude(ctx, address, s, err, start, meter)
}

// expandAddresses replaces each folder of a bucket among the arguments by the exports in it. The error is one of usage
// if an export is not below EXPORT_PREFIX: a function would not import it, and the leases on the rate are there.
func (t *tool) expandAddresses(ctx context.Context, cfg config.Config, args []string) ([]string, error) {
	var all []string
	for _, arg := range args {
		if !isAddress(arg) {
			all = append(all, arg)
			continue
		}
		p, err := t.openPlace(arg, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(p.key, cfg.Prefix) {
			return nil, usageError("%s: it is not below EXPORT_PREFIX, %s", shown(arg), cfg.Prefix)
		}
		if p.isOne {
			all = append(all, p.name(p.key))
			continue
		}
		imports, err := p.statuses(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", shown(arg), err)
		}
		before := len(all)
		for _, im := range imports {
			if !im.Gone {
				all = append(all, p.name(im.Key))
			}
		}
		if len(all) == before {
			return nil, fmt.Errorf("%s: there is no export in this folder", shown(arg))
		}
	}
	return all, nil
}

// retryAddress runs the scheduler once over a folder of a bucket, as a function does each minute.
func (t *tool) retryAddress(ctx context.Context, c *cli.Command, address string) error {
	cfg, level, mapping, err := t.readingConfig(c)
	if err != nil {
		return err
	}
	m := newMeter(t.stderr, mannerOf(c))
	log := m.logger(level)
	p, err := t.openPlace(address, log)
	if err != nil {
		return err
	}
	if p.isOne {
		return usageError("%s: it is one export: name its folder, or import it", shown(address))
	}
	if t.getenv("EXPORT_PREFIX") != "" && cfg.Prefix != p.key {
		return usageError("%s: EXPORT_PREFIX is %s: name that folder, where the leases on the rate are", shown(address),
			cfg.Prefix)
	}
	cfg.Prefix = p.key
	client, err := cfg.Clients(log, nil)()
	if err != nil {
		return err
	}
	defer client.Close()
	defer announceInterrupt(ctx, m)()
	notifier := newNotifier(cfg, log)
	defer waitFor(ctx, notifier)
	i := newImporter(cfg, mapping, client, log)
	i.Bucket, i.BucketName, i.Address = p.bucket, bucketOf(p.root), p.root
	i.OnChange = telling(notifier, p.root)
	action := scheduler.Action{Resume: true, Retry: true, Now: c.Bool(flagNow)}
	action.OnJob = func(key string) func(scheduler.JobResult, bool) {
		stop := m.watch(i, key, keyName(key))
		return func(scheduler.JobResult, bool) { stop() }
	}
	pass, err := (&scheduler.Scheduler{Importer: i}).Pass(ctx, action)
	if err != nil {
		return err
	}
	worked := tally{}
	worked.add(pass)
	for _, d := range pass.Done {
		if m.json {
			writeLine(t.stdout, d)
			continue
		}
		reason := cmp.Or(d.Error, d.Reason, countsText(d.Counts))
		fmt.Fprintf(t.stdout, "%s: %s: %s %s\n", shown(p.name(d.Key)), d.What, d.State, oneLine(reason))
	}
	switch {
	case pass.Left > 0:
		fmt.Fprintf(m, "%s: %d more are due: %s\n", program, pass.Left, trimStop(leftReason(ctx, pass)))
	case len(worked) == 0 && !m.json:
		fmt.Fprintf(t.stdout, "%s: nothing is due\n", shown(address))
	}
	m.writeHeld(t.stdout, pass, shown(address))
	if ctx.Err() == nil {
		if err := p.tellAttention(ctx, m, worked); err != nil {
			return err
		}
	}
	return exitWith(worked.worst())
}

// tellAttention writes which imports below the place an operator has to look at, unless they were worked on, and which
// objects are no exports.
func (p *place) tellAttention(ctx context.Context, w io.Writer, worked tally) error {
	imports, err := p.statuses(ctx)
	if err != nil {
		return err
	}
	for _, im := range imports {
		if _, ok := worked[im.Key]; ok {
			continue
		}
		if text := attentionText(im); text != "" {
			fmt.Fprintf(w, "%s: %s: %s\n", program, shown(p.name(im.Key)), oneLine(text))
		}
	}
	var ignored ignoredFiles
	for info, err := range p.bucket.List(ctx, p.key, "") {
		if err != nil {
			return err
		}
		if !export.IsExport(info.Key) && !isLeftOut(info.Key) {
			ignored.add(p.name(info.Key), ignoredName)
		}
	}
	for _, message := range ignored.messages() {
		fmt.Fprint(w, message)
	}
	return nil
}
