package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"groupimport/pkg/config"
	"groupimport/pkg/importer"
	"groupimport/pkg/notify"
)

const (
	// A command waits for notifyTimeout at most for notifications that are not sent, and for interruptedTimeout once it is
	// interrupted: it has to end within two seconds then.
	notifyTimeout      = 10 * time.Second
	interruptedTimeout = 300 * time.Millisecond
)

// newNotifier returns the notifier of a configuration, nil without a webhook.
func newNotifier(cfg config.Config, log *slog.Logger) *notify.Notifier {
	if cfg.NotifyURL == "" {
		return nil
	}
	return notify.New(notify.Fixed(notify.Target{URL: cfg.NotifyURL, Secret: cfg.NotifySecret}), cfg.NotifyFormat, log)
}

// telling returns what sends the changes of an importer's imports to a webhook, nil without one. root is the absolute
// path of a folder, or the address of a bucket.
func telling(n *notify.Notifier, root string) func(importer.Change) {
	if n == nil {
		return nil
	}
	name := func(key string) string {
		if isAddress(root) {
			return root + key
		}
		return filepath.Join(root, filepath.FromSlash(key))
	}
	bucket := root
	if isAddress(root) {
		bucket = bucketOf(root)
	}
	return func(c importer.Change) {
		m := notify.Message{
			ID: c.ID, State: string(c.State), Bucket: bucket, Key: c.Key, Reason: c.Reason, Counts: c.Counts,
			GivenUp: c.GivenUp, Export: name(c.Key), At: c.At,
		}
		if c.Report != "" {
			m.Report = name(c.Report)
		}
		n.Send(m)
	}
}

// waitFor waits for notifications that are not sent, for as long as a user may wait. ctx is that of the command.
func waitFor(ctx context.Context, n *notify.Notifier) {
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), notifyTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(interruptedTimeout, cancel) })
	defer stop()
	n.Wait(waiting)
}
