package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"groupimport/pkg/config"
	"groupimport/pkg/importer"
	"groupimport/pkg/scheduler"
)

// stores opens each bucket of a command once, so that all its imports share the leases and the rate.
type stores struct {
	*tool
	log         *slog.Logger
	newImporter func() *importer.Importer

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
		i := s.newImporter()
		i.Bucket, i.BucketName = p.bucket, bucketOf(p.root)
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
