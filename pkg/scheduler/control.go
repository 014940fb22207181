package scheduler

import (
	"context"
	"fmt"
	"io/fs"

	"groupimport/pkg/results"
)

// Control pauses, resumes or cancels the import of the export at key for who, see [results.Dir.Control], and returns
// its state. The error wraps [fs.ErrNotExist] also if key is not that of an export below [config.Config.Prefix].
func (s *Scheduler) Control(ctx context.Context, key string, a results.Action, who string) (results.State, error) {
	if reason := s.unfit(key); reason != "" {
		return "", fmt.Errorf("export %q: %w: %s", key, fs.ErrNotExist, reason)
	}
	return s.Importer.Dir(key).Control(ctx, a, who)
}
